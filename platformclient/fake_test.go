package platformclient

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// authority signs server certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(t testing.TB) authority {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, private}
}

func (a authority) serverCert(t testing.TB) (tls.Certificate, wallet.Hex) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "platform"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, api.SPKIHash(leaf)
}

// seen is one request as it arrived.
type seen struct {
	method, path, key, authorization, signature, nonce, mark, thumbprint string
	body                                                                 []byte
}

// fakePlatform answers over real TLS with real signatures and no rules at all. A
// test replaces single routes ("POST /v1/loads"); everything else is refused.
type fakePlatform struct {
	t       testing.TB
	server  *httptest.Server
	signer  ed25519.PrivateKey
	sealKey hpke.PrivateKey
	profile api.Profile

	mu       sync.Mutex
	log      []seen
	routes   map[string]http.HandlerFunc
	nonce    string
	epoch    int
	devices  map[string]ed25519.PublicKey // by thumbprint
	tokens   map[string]string            // access token → thumbprint
	refresh  string
	sessions int
	leases   int
	open     []wallet.OpenOrder
}

const (
	testPhone    = "13300000001"
	testPassword = "login password of this test"
	testPIN      = "246813"
	testOrder    = "L000000000001"
)

func newFake(t testing.TB) *fakePlatform { return newFakeTLS(t, tls.VersionTLS13) }

func newFakeTLS(t testing.TB, version uint16) *fakePlatform {
	ca := newAuthority(t)
	cert, pin := ca.serverCert(t)
	_, signer, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	spare, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	sealKey, err := api.NewSealKey()
	require.NoError(t, err)
	p := &fakePlatform{t: t, signer: signer, sealKey: sealKey, nonce: "nonce-1", epoch: 1, leases: 8,
		routes: map[string]http.HandlerFunc{}, devices: map[string]ed25519.PublicKey{}, tokens: map[string]string{}}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version}
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	p.profile = api.Profile{CA: ca.cert, URL: p.server.URL, SPKI: []wallet.Hex{pin, make(wallet.Hex, 32)},
		Signers: []wallet.Hex{wallet.Hex(signer.Public().(ed25519.PublicKey)), wallet.Hex(spare)},
		HPKE:    sealKey.PublicKey().Bytes(), Demo: true}
	require.True(t, p.profile.Complete())
	return p
}

func (p *fakePlatform) sign(domain wallet.Domain, value any) wallet.Signed {
	signed, err := wallet.Sign(domain, value, p.signer)
	require.NoError(p.t, err)
	return signed
}

// handle replaces one route; the body was read and the signature verified before.
func (p *fakePlatform) handle(route string, handler func(w http.ResponseWriter, s seen)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[route] = func(w http.ResponseWriter, r *http.Request) {
		handler(w, r.Context().Value(seenKey{}).(seen))
	}
}

type seenKey struct{}

func (p *fakePlatform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s := seen{method: r.Method, path: r.URL.Path, key: r.Header.Get(api.HeaderIdempotencyKey), body: body,
		authorization: r.Header.Get("Authorization"), signature: r.Header.Get("Signature"), mark: r.Header.Get(api.HeaderJournal)}
	p.mu.Lock()
	handler := p.routes[r.Method+" "+r.URL.Path]
	nonce := p.nonce
	p.mu.Unlock()
	w.Header().Set(api.HeaderNonce, nonce)
	code := p.authenticate(r, &s)
	p.mu.Lock()
	p.log = append(p.log, s)
	p.mu.Unlock()
	switch {
	case code != "":
		refuse(w, http.StatusUnauthorized, code)
	case handler != nil:
		handler(w, r.WithContext(context.WithValue(r.Context(), seenKey{}, s)))
	default:
		p.standard(w, s)
	}
}

// authenticate gives the code of a refusal, or "".
func (p *fakePlatform) authenticate(r *http.Request, s *seen) string {
	if s.path == api.PathHello {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	facts, err := api.VerifyRequest(r, s.body, func(keyID string) (ed25519.PublicKey, error) {
		if s.path == api.PathDevices || s.path == api.PathRegistrations {
			var request struct {
				DeviceKey wallet.Hex `json:"device_key"`
			}
			err := json.Unmarshal(s.body, &request)
			return ed25519.PublicKey(request.DeviceKey), err
		}
		if key := p.devices[keyID]; key != nil {
			return key, nil
		}
		return nil, fmt.Errorf("unknown device")
	})
	s.nonce, s.thumbprint = facts.Nonce, facts.KeyID
	switch {
	case s.path == api.PathSMSCodes || s.path == api.PathDemoMessages:
		return ""
	case err != nil && strings.Contains(err.Error(), "unknown device"):
		return api.CodeDeviceUnknown
	case err != nil:
		return api.CodeSignature
	case facts.Nonce != p.nonce:
		return api.CodeNonceExpired
	case s.path == api.PathDevices || s.path == api.PathRegistrations || s.path == api.PathSession || s.path == api.PathRefresh:
		return ""
	case s.authorization == "" && strings.HasSuffix(s.path, "/result"):
		return ""
	}
	owner, known := p.tokens[strings.TrimPrefix(s.authorization, "Bearer ")]
	switch {
	case !known:
		return api.CodeNotLoggedIn
	case owner != facts.KeyID:
		return api.CodeTokenForeign
	}
	return ""
}

func (p *fakePlatform) standard(w http.ResponseWriter, s seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.method + " " + s.path {
	case "GET " + api.PathHello:
		reply(w, 200, p.sign(wallet.DomainHello, api.Hello{Time: time.Now(), Nonce: p.nonce, Epoch: p.epoch, MinVersion: "0.1.0", Demo: true}))
	case "POST " + api.PathSMSCodes:
		reply(w, 200, api.SMSSent{CodeID: "sms-1", ResendAfterS: 60})
	case "POST " + api.PathDevices:
		var request api.DeviceRequest
		require.NoError(p.t, json.Unmarshal(s.body, &request))
		password, err := api.OpenLogin(p.sealKey, api.LoginBinding{Route: s.path, Thumbprint: s.thumbprint, Nonce: s.nonce, Phone: request.Phone}, request.LoginPWSeal)
		if err != nil || password != testPassword || request.SMS != (api.SMSCode{CodeID: "sms-1", Code: "112233"}) {
			refuse(w, 403, api.CodeSMSCodeWrong)
			return
		}
		p.devices[s.thumbprint] = ed25519.PublicKey(request.DeviceKey)
		reply(w, 200, api.DeviceAnswer{Device: "D1"})
	case "POST " + api.PathSession:
		var request api.SessionRequest
		require.NoError(p.t, json.Unmarshal(s.body, &request))
		password, err := api.OpenLogin(p.sealKey, api.LoginBinding{Route: s.path, Thumbprint: s.thumbprint, Nonce: s.nonce, Phone: request.Phone}, request.LoginPWSeal)
		if err != nil || password != testPassword {
			refuse(w, 403, api.CodePasswordWrong)
			return
		}
		reply(w, 200, p.session(s))
	case "POST " + api.PathRefresh:
		var request api.RefreshRequest
		require.NoError(p.t, json.Unmarshal(s.body, &request))
		if request.Refresh != p.refresh {
			refuse(w, 401, api.CodeNotLoggedIn)
			return
		}
		reply(w, 200, p.session(s))
	case "POST " + api.PathSessionEnd:
		clear(p.tokens)
		reply(w, 200, struct{}{})
	default:
		refuse(w, 404, api.CodeNotFound)
	}
}

// session makes a whole answer; p.mu is held.
func (p *fakePlatform) session(s seen) api.SessionAnswer {
	p.sessions++
	token := fmt.Sprintf("access-%d", p.sessions)
	p.tokens[token] = s.thumbprint
	p.refresh = fmt.Sprintf("refresh-%d", p.sessions)
	answer := api.SessionAnswer{AccessToken: token, AccessExpires: time.Now().Add(15 * time.Minute), Refresh: p.refresh,
		Device: "D1", User: "U1", Phone: testPhone, Cards: []api.Card{{State: "ACTIVE"}}, Nonce: p.nonce, Epoch: p.epoch,
		Policy: p.sign(wallet.DomainPolicy, api.Policy{Version: 1, Expires: time.Now().Add(time.Hour)}),
		Scripts: []wallet.Signed{
			p.sign(wallet.DomainScript, wallet.Script{Name: "load-open", Profile: "pboc", Version: 1}),
			p.sign(wallet.DomainScript, wallet.Script{Name: "purchase-open", Profile: "pboc", Version: 3}),
			p.sign(wallet.DomainScript, wallet.Script{Name: "purchase-open", Profile: "pboc", Version: 2}),
			p.sign(wallet.DomainScript, wallet.Script{Name: "something-else", Profile: "pboc", Version: 9}),
		},
		OpenOrders: p.open}
	for i := range p.leases {
		lease := wallet.Lease{TID: wallet.TerminalNumber{1, byte(p.epoch), byte(p.sessions), 0, 0, byte(i)}, Device: "D1", Epoch: p.epoch, Expires: time.Now().Add(time.Hour)}
		answer.Leases = append(answer.Leases, p.sign(wallet.DomainLease, lease))
	}
	return answer
}

// requests lists what arrived on a route.
func (p *fakePlatform) requests(route string) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []seen
	for _, s := range p.log {
		if s.method+" "+s.path == route {
			found = append(found, s)
		}
	}
	return found
}

func (p *fakePlatform) setNonce(nonce string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nonce = nonce
}

func reply(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, status int, code string) {
	reply(w, status, api.ErrorBody{Error: api.Error{Code: code, Text: "words"}})
}

// cut breaks the connection without an answer.
func cut() { panic(http.ErrAbortHandler) }

// memoryVault is the second Vault; app/store has the one on disk.
type memoryVault struct {
	mu     sync.Mutex
	values map[string][]byte
	leases []wallet.Lease
	broken error
}

func newVault() *memoryVault { return &memoryVault{values: map[string][]byte{}} }

func (v *memoryVault) Get(_ context.Context, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.values[name]), v.broken
}

func (v *memoryVault) Put(_ context.Context, name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values[name] = bytes.Clone(value)
	return v.broken
}

func (v *memoryVault) PutLeases(_ context.Context, leases []wallet.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leases = append(v.leases, leases...)
	return v.broken
}

func (v *memoryVault) TakeLease(_ context.Context, epoch int, now time.Time) (wallet.Lease, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, lease := range v.leases {
		if lease.Epoch == epoch && lease.Expires.After(now) {
			v.leases = append(v.leases[:i], v.leases[i+1:]...)
			return lease, v.broken
		}
	}
	return wallet.Lease{}, fmt.Errorf("no lease")
}

func (v *memoryVault) LeaseCount(_ context.Context, epoch int, now time.Time) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	count := 0
	for _, lease := range v.leases {
		if lease.Epoch == epoch && lease.Expires.After(now) {
			count++
		}
	}
	return count, v.broken
}

func (p *fakePlatform) client(t testing.TB, vault Vault, change ...func(*Config)) *Client {
	config := Config{Profile: p.profile, Vault: vault, Version: "1.0.0", DeviceName: "test computer"}
	for _, f := range change {
		f(&config)
	}
	client, err := New(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func typedCode(context.Context, string) (string, error) { return "112233", nil }

func pin(context.Context) (string, error) { return testPIN, nil }

// loggedIn returns a client after its first login.
func (p *fakePlatform) loggedIn(t testing.TB, change ...func(*Config)) *Client {
	client := p.client(t, newVault(), change...)
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, typedCode))
	return client
}

// ask is a load of 50 yuan.
func ask() wallet.LoadAsk {
	return wallet.LoadAsk{
		Order:   wallet.Order{Key: "0192f0c4-0000-7000-8000-000000000001", ASN: wallet.ASN{9: 7}, Amount: 5000, Fee: 50, Source: "main"},
		Profile: "pboc", KeyIndex: 1, TID: wallet.TerminalNumber{1, 2},
		Steps: []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: wallet.Hex{1}}},
	}
}

// grantFor is the grant that a right platform gives to ask.
func (p *fakePlatform) grantFor(ask wallet.LoadAsk) api.LoadAnswer {
	script := json.RawMessage(`[{"apdu":"805200000B20261122120000AABBCCDD","once":true}]`)
	sum := sha256.Sum256(script)
	return api.LoadAnswer{Grant: &wallet.GrantedScript{Script: script, Grant: p.sign(wallet.DomainGrant, wallet.Grant{
		Order: testOrder, User: "U1", ASN: ask.Order.ASN, Amount: ask.Order.Amount, Fee: ask.Order.Fee, Source: ask.Order.Source,
		Key: ask.Order.Key, Attempt: 1, TID: ask.TID, Epoch: 1, Issued: time.Now(), NotAfterS: 60, ScriptSHA256: sum[:]})}}
}

// loaded is the signed state that a right platform gives to the question request.
func loaded(ask wallet.LoadAsk, request string) wallet.OrderState {
	return wallet.OrderState{Key: ask.Order.Key, Order: testOrder, Request: request, Issued: time.Now(), State: wallet.StateLoaded, Evidence: "tac",
		ReceiptBody: &wallet.Receipt{Order: testOrder, ASN: ask.Order.ASN, Amount: ask.Order.Amount, Fee: ask.Order.Fee,
			Source: ask.Order.Source, Attempt: 1, State: wallet.StateLoaded, Time: time.Now()}}
}

func declined(ask wallet.LoadAsk, code string) wallet.OrderState {
	return wallet.OrderState{Key: ask.Order.Key, Request: ask.Order.Key, Issued: time.Now(), State: wallet.StateDeclined, Code: code}
}

func stateAnswer(signed wallet.Signed) api.LoadAnswer { return api.LoadAnswer{State: &signed} }
