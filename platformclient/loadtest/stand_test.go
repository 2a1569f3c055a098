package loadtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

const (
	cardProfile  = "pboc-ep"
	typeLoad     = 0x02 // transaction type of a load (card dossier §1.5)
	loadFen      = wallet.Fen(1_00)
	customerFen  = wallet.Fen(1_000_000_00) // on each main account at the start
	firstPhone   = 13900000000
	personsAtOne = 8 // persons who log in at once
)

// stand is a platform that listens, and everybody who tops up there.
type stand struct {
	platform *mockplatform.Platform
	server   *mockplatform.Server
	persons  []*person
	cards    []*card
	free     chan *card // cards that no order is under way for
	wire     *wire
}

// person is a customer with one device: a client with its own key and session.
type person struct {
	client *platformclient.Client
	phone  string
	demo   api.DemoCredentials
	script wallet.Script

	entering sync.Mutex // one login at a time
}

// login logs in, unless another order of the same person has just done so.
func (p *person) login(ctx context.Context) error {
	p.entering.Lock()
	defer p.entering.Unlock()
	if p.client.Session().LoggedIn {
		return nil
	}
	return p.client.Login(ctx, p.phone, p.demo.LoginPassword, func(context.Context, string) (string, error) { return p.demo.SMSCode, nil })
}

// card is a chip on a reader, and what its holder knows of it.
type card struct {
	*virtualcard.Card
	owner   *person
	journal journal
	unsure  wallet.Entry // an order that may be open; its Key is empty where there is none
	late    int          // loads whose receipt came only when they were settled
}

// Transmit is the reader: the chip stands in the field for the whole run.
func (k *card) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return k.Card.Transmit(command)
}

// size says how large a stand is.
type size struct{ persons, cardsEach, connections int }

// policy is what rates are measured under, and is printed beside them: no limit of
// a day stands in the way of a card that is topped up every other second.
func policy() api.Policy {
	open := mockplatform.DefaultPolicy()
	open.Limits = api.Limits{PurseCap: 1 << 30, LoadMin: 1, LoadMax: 1000_00}
	return open
}

// newStand opens a platform in a directory, serves it over TLS 1.3 on loopback, and
// lets everybody log in before a clock starts.
func newStand(t testing.TB, dir string, wanted size, edit ...func(*mockplatform.Config)) *stand {
	t.Helper()
	rules := policy()
	config := mockplatform.Config{Dir: dir, Demo: true, Policy: &rules,
		SMSLimits: mockplatform.SMSLimits{HostMinute: 1 << 30}} // all of these persons live on one host
	for _, change := range edit {
		change(&config)
	}
	platform, err := mockplatform.Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = platform.Close() })
	server, err := platform.Serve(context.WithoutCancel(t.Context()), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	count := wanted.persons * wanted.cardsEach
	s := &stand{platform: platform, server: server, free: make(chan *card, count), cards: make([]*card, count)}
	s.wire = &wire{profile: platform.Profile()}
	s.wire.use(wanted.connections)
	t.Cleanup(func() { s.wire.use(0) })
	s.persons = make([]*person, wanted.persons)
	failed := make([]error, wanted.persons)
	places := make(chan struct{}, personsAtOne)
	var all sync.WaitGroup
	for i := range s.persons {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			failed[i] = s.join(t.Context(), i, wanted.cardsEach)
		})
	}
	all.Wait()
	for _, err := range failed {
		require.NoError(t, err)
	}
	for _, k := range s.cards {
		s.free <- k
	}
	return s
}

// wire is what all persons share, so that the number of connections is that of the
// measurement. It counts what a busy platform answers.
type wire struct {
	profile api.Profile
	inner   atomic.Pointer[http.Transport]
	busy    atomic.Int64 // answers with 503
	vague   atomic.Int64 // of these, without Retry-After
}

// use closes the connections and allows a new number of them; 0 only closes.
func (w *wire) use(connections int) {
	if before := w.inner.Swap(newTransport(w.profile, connections)); before != nil {
		before.CloseIdleConnections()
	}
}

// warm opens most of the connections, so that no handshakes are measured.
func (w *wire) warm(t testing.TB) {
	var all sync.WaitGroup
	for range w.inner.Load().MaxConnsPerHost {
		all.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.profile.URL+api.PathHello, nil)
			if err != nil {
				return
			}
			if response, err := w.inner.Load().RoundTrip(request); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
	all.Wait()
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.inner.Load().RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusServiceUnavailable {
		w.busy.Add(1)
		if response.Header.Get("Retry-After") == "" {
			w.vague.Add(1)
		}
	}
	return response, err
}

// newTransport speaks TLS 1.3 and checks chain and pin like a client's own.
func newTransport(profile api.Profile, connections int) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(profile.CA)
	return &http.Transport{
		DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute,
		DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, VerifyConnection: func(state tls.ConnectionState) error {
			pin := api.SPKIHash(state.PeerCertificates[0])
			if slices.ContainsFunc(profile.SPKI, func(known wallet.Hex) bool { return bytes.Equal(known, pin) }) {
				return nil
			}
			return fmt.Errorf("the server's key is not pinned")
		}},
	}
}

// join makes customer number i: account, cards, device and login.
func (s *stand) join(ctx context.Context, i, cards int) error {
	profile := s.platform.Profile()
	who := &person{demo: *profile.DemoCredentials, phone: fmt.Sprint(firstPhone + i)}
	s.persons[i] = who
	var owned []wallet.ASN
	for j := range cards {
		k, err := s.issue(ctx, i*cards+j)
		if err != nil {
			return err
		}
		k.owner = who
		s.cards[i*cards+j], owned = k, append(owned, k.ASN())
	}
	err := s.platform.Seed(ctx, who.phone, customerFen, owned, "")
	if err != nil {
		return err
	}
	who.client, err = platformclient.New(platformclient.Config{
		Profile: profile, Vault: newVault(), Version: "1.0.0", DeviceName: "load generator", Transport: s.wire,
	})
	if err != nil {
		return err
	}
	if err := who.login(ctx); err != nil {
		return err
	}
	script, published := who.client.Session().Scripts[cardProfile]
	if !published {
		return fmt.Errorf("the platform publishes no script for %s", cardProfile)
	}
	who.script = script
	return nil
}

// issue makes a chip with the keys that the platform gives it.
func (s *stand) issue(ctx context.Context, number int) (*card, error) {
	asn, err := wallet.ParseASN(fmt.Sprintf("62100002%012d", number))
	if err != nil {
		return nil, err
	}
	exported, err := s.platform.IssueCard(ctx, asn)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(exported)
	if err != nil {
		return nil, err
	}
	_, keys, err := virtualcard.ParseKeys(raw)
	if err != nil {
		return nil, err
	}
	chip, err := virtualcard.New(virtualcard.Spec{ASN: asn, Keys: &keys}, rand.Reader)
	if err != nil {
		return nil, err
	}
	if _, err := chip.PowerOn(); err != nil {
		return nil, err
	}
	return &card{Card: chip}, nil
}

// wantTAC is the TAC that the chip's own key gives for a grant that it took.
func (k *card) wantTAC(grant wallet.Grant, balanceAfter wallet.Fen) []byte {
	tac := epcrypto.LoadTAC(k.Keys().DTK, uint32(balanceAfter), grant.Seq, uint32(grant.Amount), typeLoad, grant.TID, epcrypto.CardTimeOf(grant.Issued))
	return tac[:]
}

// audit compares the books with the chips: nothing held, nothing out of balance, and
// on every card exactly what the platform expects there. It returns how many orders
// were loaded, by the books, without those that completed late.
func (s *stand) audit(t testing.TB) (loaded int) {
	t.Helper()
	report, err := s.platform.Check(t.Context())
	require.NoError(t, err)
	require.True(t, report.OK(), "%d fen out of balance, %d held, chain %s", report.ImbalanceFen, report.HeldFen, report.AuditChain)
	require.Zero(t, report.ImbalanceFen)
	require.Zero(t, report.HeldFen, "no money may be left between account and card")
	require.Zero(t, report.OpenOrders+report.Suspense)
	byASN := map[wallet.ASN]mockplatform.CardCheck{}
	for _, one := range report.Cards {
		byASN[one.ASN] = one
	}
	for _, k := range s.cards {
		books, known := byASN[k.ASN()]
		require.True(t, known)
		require.Equal(t, books.ExpectedBalanceFen, k.Balance(), "card %s", k.ASN().Masked())
		require.Equal(t, int(books.LoadedFen/loadFen), int(k.OnlineCounter()), "every load moved the counter once")
		loaded += int(books.LoadedFen/loadFen) - k.late
	}
	return loaded
}

// journal is one holder's journal in memory. It keeps the rule of the stages for
// the order that is under way.
type journal struct {
	key   string
	stage wallet.Stage
}

// Write implements wallet.Journal.
func (j *journal) Write(ctx context.Context, entry wallet.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if entry.Key != j.key {
		j.key, j.stage = entry.Key, ""
	}
	if err := wallet.CheckFollows(j.stage, entry); err != nil {
		return err
	}
	j.stage = entry.Stage
	return nil
}
