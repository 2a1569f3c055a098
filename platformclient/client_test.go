package platformclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoginEnrolsAnUnknownDevice(t *testing.T) {
	p := newFake(t)
	client := p.client(t, newVault(), func(c *Config) {
		c.Journal = func(context.Context) (api.JournalMark, error) {
			return api.JournalMark{Seq: 4, Hash: wallet.Hex{0xAB}}, nil
		}
	})
	asked := ""
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, func(_ context.Context, id string) (string, error) {
		asked = id
		return "112233", nil
	}))
	require.Equal(t, "sms-1", asked)
	session := client.Session()
	require.True(t, session.LoggedIn)
	require.True(t, session.Demo)
	require.Equal(t, "U1", session.User)
	require.Equal(t, 1, session.Epoch)
	require.Contains(t, session.Scripts, "pboc")
	require.Equal(t, 1, session.Policy.Version)
	require.Equal(t, "4:AB", p.requests("POST /v1/session")[1].mark)
	require.Zero(t, client.Requests(), "greeting, enrolment and login are not counted")
	require.Zero(t, client.Transmissions())

	lease, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	require.Equal(t, "D1", lease.Device)
}

func TestLoginSaysWhatThePlatformSaid(t *testing.T) {
	p := newFake(t)
	client := p.client(t, newVault())
	err := client.Login(t.Context(), testPhone, testPassword, nil)
	require.Equal(t, api.CodeDeviceUnknown, CodeOf(err))
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, typedCode))
	err = client.Login(t.Context(), testPhone, "wrong", typedCode)
	require.Equal(t, api.CodePasswordWrong, CodeOf(err))
	require.Equal(t, KindStatus, KindOf(err))
}

func TestLoginIsKeptAndRenewed(t *testing.T) {
	p, vault := newFake(t), newVault()
	require.NoError(t, p.client(t, vault).Login(t.Context(), testPhone, testPassword, typedCode))

	later := p.client(t, vault)
	require.False(t, later.Session().LoggedIn)
	require.NoError(t, later.Connect(t.Context()))
	require.True(t, later.Session().LoggedIn)
	require.Len(t, p.requests("POST /v1/devices"), 1, "the device key was kept")
	require.Zero(t, later.Requests())

	require.NoError(t, later.Logout(t.Context()))
	require.False(t, later.Session().LoggedIn)
	require.Len(t, p.requests("POST /v1/session/end"), 1)
	for name, value := range vault.values {
		require.NotContains(t, string(value), "access-", name)
		require.NotContains(t, string(value), "refresh-", name)
	}
	require.Equal(t, KindNotLoggedIn, KindOf(later.Connect(t.Context())))
	_, err := later.Account(t.Context())
	require.Equal(t, KindNotLoggedIn, KindOf(err))
	require.True(t, SurelyNotSent(err))
}

func TestExpiredTokenIsRenewedOnce(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { reply(w, 200, api.Account{Main: 70}) })
	p.mu.Lock()
	clear(p.tokens) // the platform forgot the access token before its time
	p.mu.Unlock()
	account, err := client.Account(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 70, account.Main)
	require.Equal(t, 1, client.Requests())
	require.Equal(t, 2, client.Transmissions())

	p.mu.Lock()
	clear(p.tokens)
	p.refresh = "gone"
	p.mu.Unlock()
	_, err = client.Account(t.Context())
	require.Equal(t, KindNotLoggedIn, KindOf(err))
	require.False(t, client.Session().LoggedIn)
}

func TestTwoProcessesShareOneLogin(t *testing.T) {
	p, vault := newFake(t), newVault()
	first := p.client(t, vault)
	require.NoError(t, first.Login(t.Context(), testPhone, testPassword, typedCode))
	second := p.client(t, vault)
	require.NoError(t, second.Connect(t.Context())) // uses up the first one's refresh token
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { reply(w, 200, api.Account{Main: 70}) })
	p.mu.Lock()
	delete(p.tokens, "access-1")
	p.mu.Unlock()
	_, err := first.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer access-2", p.requests("GET /v1/account")[1].authorization)
}

func TestStolenTokenIsRefusedOnAnotherKey(t *testing.T) {
	p := newFake(t)
	owner := p.loggedIn(t)
	thief := p.loggedIn(t)
	thief.mu.Lock()
	thief.access = owner.access
	thief.mu.Unlock()
	_, err := thief.Account(t.Context())
	require.Equal(t, api.CodeTokenForeign, CodeOf(err))
}

func TestLoginSealOpensNothingOnAnotherDevice(t *testing.T) {
	p := newFake(t)
	owner := p.loggedIn(t)
	thief := p.loggedIn(t)
	arrived := p.requests("POST /v1/session")
	var request api.SessionRequest
	require.NoError(t, json.Unmarshal(arrived[1].body, &request))
	// The owner's sealed password, sent again and signed by another enrolled device.
	result, err := thief.do(t.Context(), call{method: "POST", route: api.PathSession, path: api.PathSession, body: request})
	require.NoError(t, err)
	require.Equal(t, api.CodePasswordWrong, unsignedCode(result))
	// The same bytes from the owner's own device are still a login with this nonce.
	result, err = owner.do(t.Context(), call{method: "POST", route: api.PathSession, path: api.PathSession, body: request})
	require.NoError(t, err)
	require.Equal(t, 200, result.status)
}

func TestSessionAnswerMustBeSigned(t *testing.T) {
	_, foreign := newFake(t), newFake(t)
	parts := map[string]func(a *api.SessionAnswer){
		"policy of another platform": func(a *api.SessionAnswer) {
			a.Policy = foreign.sign(wallet.DomainPolicy, api.Policy{Expires: time.Now().Add(time.Hour)})
		},
		"policy altered":    func(a *api.SessionAnswer) { a.Policy.Payload[5] ^= 1 },
		"script altered":    func(a *api.SessionAnswer) { a.Scripts[0].Payload[5] ^= 1 },
		"script as policy":  func(a *api.SessionAnswer) { a.Scripts[0] = a.Policy },
		"epoch that fell":   func(a *api.SessionAnswer) { a.Epoch = 0 },
		"no token":          func(a *api.SessionAnswer) { a.AccessToken = "" },
		"no signature":      func(a *api.SessionAnswer) { a.Policy.Sig = nil },
		"policy expired":    nil,
		"signer not listed": func(a *api.SessionAnswer) { a.Policy.KID = "0000000000000000" },
	}
	for name, change := range parts {
		t.Run(name, func(t *testing.T) {
			p := newFake(t)
			if change == nil {
				change = func(a *api.SessionAnswer) {
					a.Policy = p.sign(wallet.DomainPolicy, api.Policy{Expires: time.Now().Add(-time.Hour)})
				}
			}
			p.handle("POST /v1/session", func(w http.ResponseWriter, s seen) {
				p.mu.Lock()
				answer := p.session(s)
				p.mu.Unlock()
				change(&answer)
				reply(w, 200, answer)
			})
			vault := newVault()
			client := p.client(t, vault)
			err := client.Login(t.Context(), testPhone, testPassword, typedCode)
			require.Equal(t, KindUnsigned, KindOf(err), "%v", err)
			require.False(t, client.Session().LoggedIn)
			require.Empty(t, vault.leases)
		})
	}
}

// The greeting brings time and epoch, which decide what is void: only the platform's
// own signature makes it one.
func TestGreetingMustBeSigned(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	stranger := newFake(t)
	p.handle("GET "+api.PathHello, func(w http.ResponseWriter, _ seen) {
		reply(w, 200, stranger.sign(wallet.DomainHello, api.Hello{Time: time.Now().Add(time.Hour), Nonce: "n", Epoch: 9}))
	})
	require.Equal(t, CodeAnswerUnsigned, CodeOf(client.Connect(t.Context())))
	require.Equal(t, 1, client.Session().Epoch)
}

func TestForeignLeasesAreDropped(t *testing.T) {
	p := newFake(t)
	vault := newVault()
	p.handle("POST /v1/session", func(w http.ResponseWriter, s seen) {
		p.mu.Lock()
		defer p.mu.Unlock()
		answer := p.session(s)
		answer.Leases = answer.Leases[:1]
		for _, lease := range []wallet.Lease{
			{TID: wallet.TerminalNumber{9}, Device: "D2", Epoch: 1}, {TID: wallet.TerminalNumber{8}, Device: "D1", Epoch: 2}} {
			lease.Expires = time.Now().Add(time.Hour)
			answer.Leases = append(answer.Leases, p.sign(wallet.DomainLease, lease))
		}
		altered := answer.Leases[0]
		altered.Payload = bytes.Replace(altered.Payload, []byte("0101"), []byte("0102"), 1)
		answer.Leases = append(answer.Leases, altered)
		reply(w, 200, answer)
	})
	require.NoError(t, p.client(t, vault).Login(t.Context(), testPhone, testPassword, typedCode))
	require.Len(t, vault.leases, 1)
}

func TestLeasesAreBroughtByAnUncountedRenewal(t *testing.T) {
	p := newFake(t)
	p.leases = 1
	client := p.loggedIn(t)
	first, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	second, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.TID, second.TID)
	require.Zero(t, client.Requests())
	p.leases = 0
	_, err = client.TakeLease(t.Context())
	require.Equal(t, CodeNoLease, CodeOf(err))
}

func TestNewEpochIsNoticed(t *testing.T) {
	p, vault := newFake(t), newVault()
	var told [][2]int
	note := func(c *Config) { c.OnEpoch = func(old, new int) { told = append(told, [2]int{old, new}) } }
	client := p.client(t, vault, note)
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, typedCode))
	require.Empty(t, told, "the first epoch is no change")
	p.mu.Lock()
	p.epoch, p.nonce = 2, "nonce-of-epoch-2"
	p.mu.Unlock()
	// The restored platform knows no nonce of before: the client notices and greets.
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { reply(w, 200, api.Account{}) })
	_, err := client.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, [][2]int{{1, 2}}, told)
	require.Equal(t, 2, client.Session().Epoch)
	lease, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, lease.Epoch, "leases of the old epoch are void")

	told = nil
	require.NoError(t, p.client(t, vault, note).Connect(t.Context()))
	require.Empty(t, told, "the epoch was kept")
	p.mu.Lock()
	p.epoch = 1
	p.mu.Unlock()
	require.Equal(t, KindUnsigned, KindOf(p.client(t, vault, note).Connect(t.Context())), "an epoch never goes back")
}

func TestExpiredNonceIsReplacedOnce(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.grantFor(ask())) })
	p.setNonce("nonce-2")
	verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.NoError(t, err)
	require.NotNil(t, verdict.Granted)
	sent := p.requests("POST /v1/loads")
	require.Len(t, sent, 2)
	require.Equal(t, "nonce-1", sent[0].nonce)
	require.Equal(t, "nonce-2", sent[1].nonce)
	require.Equal(t, sent[0].key, sent[1].key)
	require.Equal(t, sent[0].body, sent[1].body)
	require.Equal(t, 1, client.Requests())
	require.Equal(t, 2, client.Transmissions())

	// A platform that never accepts a nonce is not asked for ever.
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { refuse(w, 401, api.CodeNonceExpired) })
	_, err = client.Account(t.Context())
	require.Equal(t, api.CodeNonceExpired, CodeOf(err))
	require.Len(t, p.requests("GET /v1/account"), 2)
}

func TestLoginAfterAnExpiredNonceSealsAgain(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var once atomic.Bool
	p.handle("POST /v1/session", func(w http.ResponseWriter, s seen) {
		if once.CompareAndSwap(false, true) {
			refuse(w, 401, api.CodeNonceExpired)
			return
		}
		p.standard(w, s)
	})
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, nil))
	sent := p.requests("POST /v1/session")
	last := sent[len(sent)-2:]
	require.NotEqual(t, last[0].key, last[1].key)
	require.NotEqual(t, last[0].body, last[1].body)
}

func TestIncompleteProfile(t *testing.T) {
	p := newFake(t)
	p.profile = api.Profile{CA: p.profile.CA, URL: p.profile.URL}
	client := p.client(t, newVault())
	ctx := t.Context()
	require.Equal(t, api.CodeProfileIncomplete, CodeOf(client.Connect(ctx)))
	require.Len(t, p.requests("GET /v1/hello"), 1, "the platform is reached over TLS")
	calls := map[string]func() error{
		"login":  func() error { return client.Login(ctx, testPhone, testPassword, typedCode) },
		"lease":  func() error { _, err := client.TakeLease(ctx); return err },
		"load":   func() error { _, err := client.Issuer(pin).RequestLoad(ctx, ask()); return err },
		"settle": func() error { _, err := client.Issuer(pin).Settle(ctx, wallet.Evidence{}); return err },
		"result": func() error { _, _, err := client.Result(ctx, wallet.Entry{}); return err },
		"abandon": func() error {
			_, err := client.Abandon(ctx, "k")
			return err
		},
		"account": func() error { _, err := client.Account(ctx); return err },
	}
	for name, f := range calls {
		err := f()
		require.Equal(t, api.CodeProfileIncomplete, CodeOf(err), name)
		require.True(t, SurelyNotSent(err), name)
	}
	require.Len(t, p.log, 1)
}

func TestTLSRefusesEverybodyElse(t *testing.T) {
	t.Run("a pin that does not fit", func(t *testing.T) {
		p := newFake(t)
		p.profile.SPKI[0] = bytes.Repeat([]byte{1}, 32)
		err := p.client(t, newVault()).Connect(t.Context())
		require.Equal(t, KindTLS, KindOf(err), "%v", err)
		require.True(t, SurelyNotSent(err))
		require.Empty(t, p.log)
	})
	t.Run("the spare pin fits", func(t *testing.T) {
		p := newFake(t)
		p.profile.SPKI[0], p.profile.SPKI[1] = p.profile.SPKI[1], p.profile.SPKI[0]
		require.Equal(t, KindNotLoggedIn, KindOf(p.client(t, newVault()).Connect(t.Context())))
	})
	t.Run("another key under the same CA", func(t *testing.T) {
		p := newFake(t)
		ca := newAuthority(t)
		p.profile.CA = ca.cert
		other, _ := ca.serverCert(t)
		front := startFront(t, p, other, tls.VersionTLS13)
		err := front.Connect(t.Context())
		require.Equal(t, KindTLS, KindOf(err), "%v", err)
		require.ErrorIs(t, err, errPin)
	})
	t.Run("a valid certificate of another CA", func(t *testing.T) {
		p := newFake(t)
		other, pin := newAuthority(t).serverCert(t)
		p.profile.SPKI[1] = pin // even with the right pin the chain must hold
		err := startFront(t, p, other, tls.VersionTLS13).Connect(t.Context())
		require.Equal(t, KindTLS, KindOf(err), "%v", err)
		require.True(t, SurelyNotSent(err))
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		p := newFakeTLS(t, tls.VersionTLS12)
		err := p.client(t, newVault()).Connect(t.Context())
		require.Equal(t, KindTLS, KindOf(err), "%v", err)
		require.True(t, SurelyNotSent(err))
		require.Empty(t, p.log)
	})
	t.Run("no TLS at all", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		go func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				_ = conn.Close()
			}
		}()
		p := newFake(t)
		p.profile.URL = "https://" + listener.Addr().String()
		err = p.client(t, newVault()).Connect(t.Context())
		require.Equal(t, KindTLS, KindOf(err), "%v", err)
	})
}

// startFront runs another TLS server before the fake's handler and returns a
// client whose profile points there.
func startFront(t *testing.T, p *fakePlatform, cert tls.Certificate, version uint16) *Client {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version})
	require.NoError(t, err)
	server := &http.Server{Handler: p, ErrorLog: p.server.Config.ErrorLog}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	p.profile.URL = "https://" + listener.Addr().String()
	return p.client(t, newVault())
}

func TestNobodyThereIsSurelyNotSent(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.server.Close()
	client.Close() // no idle connection, on which the request might seem to leave
	_, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.Equal(t, KindNetwork, KindOf(err))
	require.True(t, SurelyNotSent(err), "%v", err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Account(ctx)
	require.Equal(t, KindNetwork, KindOf(err))
	require.ErrorIs(t, err, context.Canceled)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	p, elsewhere := newFake(t), newFake(t)
	client := p.loggedIn(t)
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) {
		w.Header().Set("Location", elsewhere.server.URL+"/v1/account")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := client.Account(t.Context())
	require.Equal(t, KindStatus, KindOf(err))
	require.Empty(t, elsewhere.log)
	require.Len(t, p.requests("GET /v1/account"), 1)
}

func TestEndlessBodyIsBounded(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var written atomic.Int64
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) {
		chunk := make([]byte, 64<<10)
		for {
			n, err := w.Write(chunk)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	})
	_, err := client.Account(t.Context())
	require.Equal(t, CodeAnswerBroken, CodeOf(err))
	require.False(t, SurelyNotSent(err))
}

func TestUnsignedTextIsCutToSize(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) {
		w.Header().Set("Retry-After", "7")
		reply(w, 503, api.ErrorBody{Error: api.Error{Code: "BUSY", Text: "\x1b[2J" + strings.Repeat("x", 5000)}})
	})
	_, err := client.Account(t.Context())
	failure, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	require.Equal(t, 7*time.Second, failure.RetryAfter)
	require.Len(t, failure.Text, 300)
	require.NotContains(t, failure.Text, "\x1b")
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { refuse(w, 400, "lower case; or worse") })
	_, err = client.Account(t.Context())
	require.Equal(t, CodeAnswerBroken, CodeOf(err))
}

func TestNoSecretReachesErrorsOrObservers(t *testing.T) {
	p := newFake(t)
	var facts []RequestFacts
	client := p.loggedIn(t, func(c *Config) { c.OnRequest = func(f RequestFacts) { facts = append(facts, f) } })
	_, err := client.Pending(t.Context(), ask().Order.ASN)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "access-")
	require.Equal(t, api.PathPending, facts[len(facts)-1].Route)
	for _, fact := range facts {
		require.NotContains(t, fact.Route+fact.Subject, ask().Order.ASN.String())
	}
}

func TestObserversLearnWhichOrder(t *testing.T) {
	for _, test := range []struct {
		call call
		want string
	}{
		{call{method: "POST", route: api.PathLoads, path: api.PathLoads, key: "k-1"}, "k-1"},
		{call{method: "GET", route: api.PathLoads, path: api.PathLoads, key: "k-2"}, ""},
		{call{method: "POST", route: api.PathResult, path: fill(api.PathResult, "L17"), key: "k-3"}, "L17"},
		{call{method: "GET", route: api.PathLoad, path: fill(api.PathLoad, "L17")}, "L17"},
		{call{method: "POST", route: api.PathPurchaseAbandon, path: fill(api.PathPurchaseAbandon, "k-4")}, "k-4"},
		{call{method: "GET", route: api.PathPending, path: fill(api.PathPending, "00001234567890123456")}, ""},
		{call{method: "GET", route: api.PathMerchantOrder, path: fill(api.PathMerchantOrder, "4711")}, ""},
		{call{method: "POST", route: api.PathSession, path: api.PathSession, key: "k-5"}, ""},
		{call{method: "POST", route: api.PathDeviceRevoke, path: fill(api.PathDeviceRevoke, "D17"), key: "k-6"}, ""},
	} {
		require.Equal(t, test.want, subjectOf(test.call), "%s %s", test.call.method, test.call.route)
	}
}

func TestVaultFailureStopsLogin(t *testing.T) {
	p, vault := newFake(t), newVault()
	vault.broken = errors.New("disk full")
	err := p.client(t, vault).Login(t.Context(), testPhone, testPassword, typedCode)
	require.Equal(t, KindLocal, KindOf(err))
	require.ErrorIs(t, err, vault.broken)
	require.Empty(t, p.requests("POST /v1/session"))
}

func TestPlatformsDoNotShareSecrets(t *testing.T) {
	a, b, vault := newFake(t), newFake(t), newVault()
	require.NoError(t, a.client(t, vault).Login(t.Context(), testPhone, testPassword, typedCode))
	require.Equal(t, KindNotLoggedIn, KindOf(b.client(t, vault).Connect(t.Context())))
	require.Empty(t, b.requests("POST /v1/session/refresh"))
}

func TestNewKeyIsAUUIDv7(t *testing.T) {
	at := time.UnixMilli(0x0192F0C41234)
	key, err := NewKey(at, bytes.NewReader(bytes.Repeat([]byte{0xFF}, 10)))
	require.NoError(t, err)
	require.Equal(t, "0192f0c4-1234-7fff-bfff-ffffffffffff", key)
	other, err := NewKey(at, rand.Reader)
	require.NoError(t, err)
	require.Regexp(t, `^0192f0c4-1234-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, other)
	_, err = NewKey(at, io.LimitReader(rand.Reader, 3))
	require.Error(t, err)
}

func TestProxyCarriesTheTunnelAndSeesNothing(t *testing.T) {
	p := newFake(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var tunnelled atomic.Int64
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		target, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		defer target.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		_, _ = client.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		tunnelled.Add(1)
		go func() { _, _ = io.Copy(target, client); _ = target.Close() }()
		_, _ = io.Copy(client, target)
	})}
	go func() { _ = proxy.Serve(listener) }()
	t.Cleanup(func() { _ = proxy.Close() })
	client := p.loggedIn(t, func(c *Config) {
		c.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	})
	require.True(t, client.Session().LoggedIn)
	require.Positive(t, tunnelled.Load())
	client.Close()
	p.server.CloseClientConnections()
}
