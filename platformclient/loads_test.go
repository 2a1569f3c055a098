package platformclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func TestRequestLoadSendsOneSignedRequest(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.grantFor(ask())) })
	verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.NoError(t, err)
	require.Nil(t, verdict.State)
	require.Contains(t, string(verdict.Granted.Script), "805200000B")
	sent := p.requests("POST /v1/loads")
	require.Len(t, sent, 1)
	require.Equal(t, ask().Order.Key, sent[0].key)
	var request api.LoadRequest
	require.NoError(t, json.Unmarshal(sent[0].body, &request))
	core := api.OrderCore{ASN: request.Card.ASN, Amount: request.Amount, Fee: request.Fee, Source: request.Source, Key: sent[0].key}
	opened, err := api.OpenPayment(p.sealKey, core, request.PaySeal)
	require.NoError(t, err)
	require.Equal(t, testPIN, opened)
	require.Equal(t, ask().TID, request.Open.TID)
	require.Equal(t, 1, client.Requests())
}

func TestIssuerAsksForThePasswordOncePerOrder(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.grantFor(ask())) })
	asked := 0
	issuer := client.Issuer(func(context.Context) (string, error) { asked++; return testPIN, nil })
	again := ask()
	again.TID = wallet.TerminalNumber{9} // INITIALIZE FOR LOAD repeated with another lease
	for _, question := range []wallet.LoadAsk{ask(), again} {
		_, err := issuer.RequestLoad(t.Context(), question)
		require.NoError(t, err)
	}
	require.Equal(t, 1, asked)
	other := ask()
	other.Order.Amount++
	_, err := issuer.RequestLoad(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, 2, asked, "another order needs a seal of its own")

	refused := errors.New("the person closed the window")
	_, err = client.Issuer(func(context.Context) (string, error) { return "", refused }).RequestLoad(t.Context(), ask())
	require.ErrorIs(t, err, refused)
	require.True(t, SurelyNotSent(err))
}

func TestRetryAfterSilenceSendsTheSameBytes(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var once atomic.Bool
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) {
		if once.CompareAndSwap(false, true) {
			cut()
		}
		reply(w, 200, p.grantFor(ask()))
	})
	verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.NoError(t, err)
	require.NotNil(t, verdict.Granted)
	sent := p.requests("POST /v1/loads")
	require.Len(t, sent, 2)
	require.Equal(t, sent[0], sent[1], "key, body, token, nonce and signature are those of the first transmission")
	require.Equal(t, 1, client.Requests())
	require.Equal(t, 2, client.Transmissions())
}

func TestOnlyOneRetry(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/loads", func(http.ResponseWriter, seen) { cut() })
	_, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.Equal(t, KindNetwork, KindOf(err))
	require.False(t, SurelyNotSent(err))
	require.Len(t, p.requests("POST /v1/loads"), 2)

	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { refuse(w, 503, api.CodeBusy) })
	_, err = client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.Equal(t, api.CodeBusy, CodeOf(err))
	require.Len(t, p.requests("POST /v1/loads"), 4)
}

// The second transmission finds nobody, but the first one may have arrived: a key
// that may be granted is never called unsent.
func TestSentOnceIsNeverUnsent(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/loads", func(http.ResponseWriter, seen) {
		_ = p.server.Listener.Close()
		cut()
	})
	_, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.Equal(t, KindNetwork, KindOf(err))
	require.Equal(t, 2, client.Transmissions())
	require.Len(t, p.requests("POST /v1/loads"), 1)
	require.False(t, SurelyNotSent(err), "%v", err)
}

// What a front could do to an answer about money means "unknown": an error, never a
// refusal and never a success.
func TestAnswersThatProveNothing(t *testing.T) {
	p, foreign := newFake(t), newFake(t)
	client := p.loggedIn(t)
	otherKey := ask()
	otherKey.Order.Key = "0192f0c4-0000-7000-8000-000000000002"
	order := func(change func(*wallet.OrderState)) api.LoadAnswer {
		state := declined(ask(), api.CodeBalanceShort)
		change(&state)
		return stateAnswer(p.sign(wallet.DomainOrder, state))
	}
	receipt := func(change func(*wallet.OrderState)) api.LoadAnswer {
		state := loaded(ask(), ask().Order.Key)
		change(&state)
		return stateAnswer(p.sign(wallet.DomainReceipt, state))
	}
	altered := p.grantFor(ask())
	altered.Grant.Script = bytes.Replace(altered.Grant.Script, []byte("AABBCCDD"), []byte("AABBCCDE"), 1)
	both := p.grantFor(ask())
	both.State = order(func(*wallet.OrderState) {}).State
	answers := map[string]any{
		"grant of another platform":      foreign.grantFor(ask()),
		"grant for another key":          p.grantFor(otherKey),
		"grant with another script":      altered,
		"grant and refusal":              both,
		"nothing":                        api.LoadAnswer{},
		"no JSON object":                 "hello",
		"unsigned refusal":               api.ErrorBody{Error: api.Error{Code: api.CodeBalanceShort}},
		"refusal of another platform":    stateAnswer(foreign.sign(wallet.DomainOrder, declined(ask(), api.CodeBalanceShort))),
		"refusal for another key":        order(func(s *wallet.OrderState) { s.Key = otherKey.Order.Key }),
		"refusal without subject":        order(func(s *wallet.OrderState) { s.Key = "" }),
		"refusal of another question":    order(func(s *wallet.OrderState) { s.Request = otherKey.Order.Key }),
		"refusal of no question":         order(func(s *wallet.OrderState) { s.Request = "" }),
		"refusal signed as receipt":      stateAnswer(p.sign(wallet.DomainReceipt, declined(ask(), api.CodeBalanceShort))),
		"success signed as order":        stateAnswer(p.sign(wallet.DomainOrder, loaded(ask(), ask().Order.Key))),
		"success without receipt":        receipt(func(s *wallet.OrderState) { s.ReceiptBody = nil }),
		"receipt for another order":      receipt(func(s *wallet.OrderState) { s.ReceiptBody.Order = "L2" }),
		"receipt with another state":     receipt(func(s *wallet.OrderState) { s.ReceiptBody.State = wallet.StateVoided }),
		"receipt for another card":       receipt(func(s *wallet.OrderState) { s.ReceiptBody.ASN[0]++ }),
		"receipt over another amount":    receipt(func(s *wallet.OrderState) { s.ReceiptBody.Amount++ }),
		"receipt with another fee":       receipt(func(s *wallet.OrderState) { s.ReceiptBody.Fee++ }),
		"receipt with another source":    receipt(func(s *wallet.OrderState) { s.ReceiptBody.Source = "bank" }),
		"a lease in the place of states": stateAnswer(p.sign(wallet.DomainLease, declined(ask(), api.CodeBalanceShort))),
	}
	for name, content := range answers {
		for _, status := range []int{200, 402} {
			p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, status, content) })
			verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
			require.Error(t, err, name)
			require.Equal(t, wallet.Verdict{}, verdict, name)
			require.False(t, SurelyNotSent(err), name)
		}
	}
}

func TestSignedRefusalIsBelievedWithEveryStatus(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	for _, status := range []int{200, 402, 409, 423} {
		p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) {
			reply(w, status, stateAnswer(p.sign(wallet.DomainOrder, declined(ask(), api.CodeBalanceShort))))
		})
		verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
		require.NoError(t, err)
		require.Equal(t, wallet.StateDeclined, verdict.State.State)
		require.Equal(t, api.CodeBalanceShort, verdict.State.Code)
	}
}

func TestEveryBitOfASignedStateCounts(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	about := subject{request: ask().Order.Key, key: ask().Order.Key}
	good := p.sign(wallet.DomainOrder, declined(ask(), api.CodeBalanceShort))
	_, err := client.verifyState(good, about)
	require.NoError(t, err)
	for bit := range len(good.Payload) * 8 {
		altered := good
		altered.Payload = bytes.Clone(good.Payload)
		altered.Payload[bit/8] ^= 1 << (bit % 8)
		_, err := client.verifyState(altered, about)
		require.Equal(t, CodeAnswerUnsigned, CodeOf(err), "bit %d", bit)
	}
}

func evidence() wallet.Evidence {
	return wallet.Evidence{Intent: wallet.IntentCancel, Steps: ask().Steps,
		Order: wallet.OpenOrder{Order: testOrder, ASN: ask().Order.ASN, Attempt: 1, Amount: 5000, ProbeTID: wallet.TerminalNumber{5}, Epoch: 1}}
}

func TestSettle(t *testing.T) {
	p := newFake(t)
	var kept []string
	client := p.loggedIn(t, func(c *Config) { c.OnReceipt = func(order string, _ wallet.Signed) { kept = append(kept, order) } })
	route := "POST /v1/loads/" + testOrder + "/attempts"
	p.handle(route, func(w http.ResponseWriter, s seen) {
		var request api.AttemptRequest
		require.NoError(t, json.Unmarshal(s.body, &request))
		require.Equal(t, wallet.IntentCancel, request.Intent)
		require.Equal(t, wallet.TerminalNumber{5}, request.Open.TID)
		reply(w, 200, stateAnswer(p.sign(wallet.DomainReceipt, loaded(ask(), s.key))))
	})
	verdict, err := client.Issuer(nil).Settle(t.Context(), evidence())
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, verdict.State.State)
	require.Equal(t, []string{testOrder}, kept)
	require.Equal(t, 1, client.Requests())

	wrong := map[string]func(*wallet.OrderState){
		"order":  func(s *wallet.OrderState) { s.Order, s.ReceiptBody.Order = "L2", "L2" },
		"card":   func(s *wallet.OrderState) { s.ReceiptBody.ASN[3]++ },
		"amount": func(s *wallet.OrderState) { s.ReceiptBody.Amount-- },
		"fee":    func(s *wallet.OrderState) { s.ReceiptBody.Fee++ },
	}
	withGrant := evidence()
	withGrant.Grant = &p.grantFor(ask()).Grant.Grant
	for name, change := range wrong {
		p.handle(route, func(w http.ResponseWriter, s seen) {
			state := loaded(ask(), s.key)
			change(&state)
			reply(w, 200, stateAnswer(p.sign(wallet.DomainReceipt, state)))
		})
		_, err := client.Issuer(nil).Settle(t.Context(), withGrant)
		require.Equal(t, CodeAnswerForeign, CodeOf(err), name)
	}
	require.Len(t, kept, 1)
}

func TestSettleAsksAgainUnderTheSameKeyUntilAnswered(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	route := "POST /v1/loads/" + testOrder + "/attempts"
	p.handle(route, func(http.ResponseWriter, seen) { cut() })
	_, err := client.Issuer(nil).Settle(t.Context(), evidence())
	require.Equal(t, KindNetwork, KindOf(err))
	p.handle(route, func(w http.ResponseWriter, s seen) {
		reply(w, 200, stateAnswer(p.sign(wallet.DomainReceipt, loaded(ask(), s.key))))
	})
	for range 2 {
		_, err = client.Issuer(nil).Settle(t.Context(), evidence())
		require.NoError(t, err)
	}
	sent := p.requests(route)
	require.Len(t, sent, 4)
	require.Equal(t, sent[0].key, sent[1].key)
	require.Equal(t, sent[1].key, sent[2].key, "never answered: the same question")
	require.NotEqual(t, sent[2].key, sent[3].key, "answered: a new question")
	require.Equal(t, 2, client.Requests())
}

func creditedEntry(p *fakePlatform) wallet.Entry {
	grant := p.grantFor(ask()).Grant.Grant
	return wallet.Entry{Key: ask().Order.Key, Order: testOrder, Stage: wallet.StageCredited, ASN: ask().Order.ASN, Amount: 5000, Fee: 50,
		Source: "main", Attempt: 1, BalanceAfter: 6000, TAC: wallet.Hex{1, 2, 3, 4}, Grant: &grant, Executed: 1, Steps: ask().Steps}
}

func TestResult(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	route := "POST /v1/loads/" + testOrder + "/result"
	p.handle(route, func(w http.ResponseWriter, s seen) {
		var request api.ResultRequest
		require.NoError(t, json.Unmarshal(s.body, &request))
		require.Equal(t, wallet.Hex{1, 2, 3, 4}, request.TAC)
		reply(w, 200, stateAnswer(p.sign(wallet.DomainReceipt, loaded(ask(), s.key))))
	})
	state, signed, err := client.Result(t.Context(), creditedEntry(p))
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, state.State)
	var again wallet.OrderState
	require.NoError(t, client.Session().Signers.Open(wallet.DomainReceipt, signed, &again))

	// Evidence goes out without a login too.
	require.NoError(t, client.Logout(t.Context()))
	_, _, err = client.Result(t.Context(), creditedEntry(p))
	require.NoError(t, err)
	sent := p.requests(route)
	require.Empty(t, sent[len(sent)-1].authorization)

	p.handle(route, func(w http.ResponseWriter, s seen) { refuse(w, 500, api.CodeInternal) })
	_, _, err = client.Result(t.Context(), creditedEntry(p))
	require.Equal(t, KindStatus, KindOf(err))
}

func TestAbandonAndLoad(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	key := ask().Order.Key
	p.handle("POST /v1/loads/"+key+"/abandon", func(w http.ResponseWriter, s seen) {
		state := declined(ask(), api.CodeAbandoned)
		state.Request = s.key
		reply(w, 409, stateAnswer(p.sign(wallet.DomainOrder, state)))
	})
	state, err := client.Abandon(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, api.CodeAbandoned, state.Code)

	// A stored refusal of another question is no answer to this one.
	p.handle("POST /v1/loads/"+key+"/abandon", func(w http.ResponseWriter, _ seen) {
		reply(w, 409, stateAnswer(p.sign(wallet.DomainOrder, declined(ask(), api.CodeAbandoned))))
	})
	_, err = client.Abandon(t.Context(), key)
	require.Equal(t, CodeAnswerForeign, CodeOf(err))

	p.handle("GET /v1/loads/"+testOrder, func(w http.ResponseWriter, s seen) {
		reply(w, 200, stateAnswer(p.sign(wallet.DomainReceipt, loaded(ask(), s.key))))
	})
	state, err = client.Load(t.Context(), testOrder)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, state.State)
	_, err = client.Load(t.Context(), "../../v1/account?x")
	require.Equal(t, api.CodeNotFound, CodeOf(err), "an order number stays one path element")
}

func TestTheHookOfTheWireCountsAsSent(t *testing.T) {
	p := newFake(t)
	var armed atomic.Bool
	client := p.loggedIn(t, func(c *Config) {
		c.WrapTransport = func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				if armed.Load() && strings.HasPrefix(req.URL.Path, api.PathLoads) {
					return nil, errors.New("cut")
				}
				return inner.RoundTrip(req)
			})
		}
	})
	armed.Store(true)
	_, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.Equal(t, KindNetwork, KindOf(err))
	require.False(t, SurelyNotSent(err))
	require.Equal(t, 1, client.Requests())
	require.Equal(t, 2, client.Transmissions())
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestLeasesOfALoadAnswerAreKept(t *testing.T) {
	p, vault := newFake(t), newVault()
	client := p.client(t, vault)
	require.NoError(t, client.Login(t.Context(), testPhone, testPassword, typedCode))
	before := len(vault.leases)
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) {
		answer := p.grantFor(ask())
		answer.Leases = []wallet.Signed{p.sign(wallet.DomainLease, wallet.Lease{TID: wallet.TerminalNumber{7}, Device: "D1", Epoch: 1})}
		reply(w, 200, answer)
	})
	_, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.NoError(t, err)
	require.Len(t, vault.leases, before+1)
}
