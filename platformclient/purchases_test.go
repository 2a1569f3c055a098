package platformclient

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

const (
	shopCode     = "823365543629"
	testPurchase = "P000000000001"
)

func buy() wallet.PurchaseAsk {
	load := ask()
	return wallet.PurchaseAsk{
		Payment: wallet.Payment{Key: load.Order.Key, ASN: load.Order.ASN, Amount: 1250, MerchantOrder: shopCode, Merchant: "Tea House", Goods: "tea"},
		Profile: load.Profile, KeyIndex: 1, TID: load.TID, Steps: load.Steps,
	}
}

// authorise signs a purchase grant for an ask.
func (p *fakePlatform) authorise(ask wallet.PurchaseAsk, change func(*wallet.PurchaseGrant)) api.PurchaseAnswer {
	script := json.RawMessage(`[{"apdu":"805401000F00C0FFEE202603150930450102030408"}]`)
	sum := sha256.Sum256(script)
	grant := wallet.PurchaseGrant{Purchase: testPurchase, Key: ask.Payment.Key, ASN: ask.Payment.ASN, Amount: ask.Payment.Amount, Epoch: p.epoch, ScriptSHA256: sum[:]}
	if change != nil {
		change(&grant)
	}
	return api.PurchaseAnswer{Grant: &wallet.PurchaseGrantedScript{Grant: p.sign(wallet.DomainPurchaseGrant, grant), Script: script}}
}

// statement signs what the platform says of a purchase, in the domain that fits.
func (p *fakePlatform) statement(statement wallet.PurchaseStatement) api.PurchaseAnswer {
	domain := wallet.DomainPurchaseState
	if statement.ReceiptBody != nil {
		domain = wallet.DomainPurchaseReceipt
	}
	signed := p.sign(domain, statement)
	return api.PurchaseAnswer{State: &signed}
}

// paid is the statement about the purchase of buy, asked under a key.
func paid(request string) wallet.PurchaseStatement {
	ask, yes := buy(), true
	return wallet.PurchaseStatement{
		Key: ask.Payment.Key, Purchase: testPurchase, Request: request, State: wallet.PurchasePaid, Debited: &yes, Delivered: true, Evidence: "tac",
		ReceiptBody: &wallet.PurchaseReceipt{Purchase: testPurchase, ASN: ask.Payment.ASN, Amount: 1250, MerchantOrder: shopCode, State: wallet.PurchasePaid},
	}
}

func TestSessionKnowsPurchases(t *testing.T) {
	p := newFake(t)
	session := p.loggedIn(t).Session()
	require.Equal(t, 3, session.PurchaseScripts["pboc"].Version, "the newest of its name")
	require.Equal(t, "load-open", session.Scripts["pboc"].Name)
}

func TestMerchantOrderIsSignedForThisQuestion(t *testing.T) {
	good := func(s seen) wallet.MerchantOrder {
		return wallet.MerchantOrder{Code: shopCode, Merchant: "Tea House", Goods: "tea", Amount: 1250, State: wallet.PurchaseOffered, Request: s.key}
	}
	for name, change := range map[string]func(*wallet.MerchantOrder, *wallet.Domain){
		"":                 nil,
		"another code":     func(o *wallet.MerchantOrder, _ *wallet.Domain) { o.Code = "1" },
		"another question": func(o *wallet.MerchantOrder, _ *wallet.Domain) { o.Request = "x" },
		"no question":      func(o *wallet.MerchantOrder, _ *wallet.Domain) { o.Request = "" },
		"no amount":        func(o *wallet.MerchantOrder, _ *wallet.Domain) { o.Amount = 0 },
		"another domain":   func(_ *wallet.MerchantOrder, d *wallet.Domain) { *d = wallet.DomainPurchaseState },
	} {
		t.Run(name, func(t *testing.T) {
			p := newFake(t)
			client := p.loggedIn(t)
			p.handle("GET /v1/merchant-orders/"+shopCode, func(w http.ResponseWriter, s seen) {
				order, domain := good(s), wallet.DomainOffer
				if change != nil {
					change(&order, &domain)
				}
				reply(w, 200, api.Offer{Offer: p.sign(domain, order)})
			})
			order, err := client.MerchantOrder(t.Context(), shopCode)
			require.Equal(t, change == nil, err == nil, err)
			require.Equal(t, 1, client.Requests())
			if change == nil {
				require.EqualValues(t, 1250, order.Amount)
				return
			}
			require.Equal(t, KindUnsigned, KindOf(err))
		})
	}
}

func TestUnloadOfferIsOverTheWishedAmount(t *testing.T) {
	for amount, unload := range map[wallet.Fen]bool{1000: true, 1001: true, 999: false} {
		p := newFake(t)
		client := p.loggedIn(t)
		p.handle("POST /v1/unloads", func(w http.ResponseWriter, s seen) {
			reply(w, 200, api.Offer{Offer: p.sign(wallet.DomainOffer, wallet.MerchantOrder{Code: "9", Amount: amount, Request: s.key, Unload: unload})})
		})
		_, err := client.Unload(t.Context(), ask().Order.ASN, 1000)
		require.Equal(t, amount == 1000, err == nil, err)
	}
}

func TestRequestPurchaseIsRepeatedOnceUnderItsKey(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var once atomic.Bool
	p.handle("POST /v1/purchases", func(w http.ResponseWriter, _ seen) {
		if once.CompareAndSwap(false, true) {
			cut()
		}
		reply(w, 200, p.authorise(buy(), nil))
	})
	verdict, err := client.Cashier().RequestPurchase(t.Context(), buy())
	require.NoError(t, err)
	require.NotNil(t, verdict.Granted)
	sent := p.requests("POST /v1/purchases")
	require.Len(t, sent, 2)
	require.Equal(t, sent[0], sent[1])
	require.Equal(t, buy().Payment.Key, sent[0].key)
	require.Equal(t, []int{1, 2}, []int{client.Requests(), client.Transmissions()})
	var request api.PurchaseRequest
	require.NoError(t, json.Unmarshal(sent[0].body, &request))
	require.Equal(t, shopCode, request.MerchantOrder)
	require.Equal(t, buy().TID, request.Open.TID)
	require.EqualValues(t, 1250, request.Open.Amount)

	p.handle("POST /v1/purchases", func(http.ResponseWriter, seen) { cut() })
	_, err = client.Cashier().RequestPurchase(t.Context(), buy())
	require.Equal(t, KindNetwork, KindOf(err))
	require.False(t, SurelyNotSent(err))
	require.Len(t, p.requests("POST /v1/purchases"), 4, "two more, and no third")
}

func TestPurchaseAnswersThatProveNothing(t *testing.T) {
	key := buy().Payment.Key
	with := func(change func(*wallet.PurchaseStatement)) func(*fakePlatform) (int, any) {
		return func(p *fakePlatform) (int, any) {
			statement := paid(key)
			change(&statement)
			return 200, p.statement(statement)
		}
	}
	for name, answer := range map[string]func(*fakePlatform) (int, any){
		"nothing":  func(*fakePlatform) (int, any) { return 200, api.PurchaseAnswer{} },
		"unsigned": func(*fakePlatform) (int, any) { return 409, api.ErrorBody{Error: api.Error{Code: "MERCHANT_ORDER"}} },
		"foreign grant": func(p *fakePlatform) (int, any) {
			return 200, p.authorise(buy(), func(g *wallet.PurchaseGrant) { g.Key = "x" })
		},
		"other script": func(p *fakePlatform) (int, any) {
			return 200, p.authorise(buy(), func(g *wallet.PurchaseGrant) { g.ScriptSHA256[0] ^= 1 })
		},
		"grant of a load": func(p *fakePlatform) (int, any) {
			answer := p.authorise(buy(), nil)
			answer.Grant.Grant = p.sign(wallet.DomainGrant, json.RawMessage(answer.Grant.Grant.Payload))
			return 200, answer
		},
		"both": func(p *fakePlatform) (int, any) {
			answer := p.authorise(buy(), nil)
			answer.State = p.statement(paid(key)).State
			return 200, answer
		},
		"another question":     with(func(s *wallet.PurchaseStatement) { s.Request = "x" }),
		"another purchase":     with(func(s *wallet.PurchaseStatement) { s.Key = "x" }),
		"no subject":           with(func(s *wallet.PurchaseStatement) { s.Key, s.Purchase = "", "" }),
		"no receipt":           with(func(s *wallet.PurchaseStatement) { s.ReceiptBody = nil }),
		"other card":           with(func(s *wallet.PurchaseStatement) { s.ReceiptBody.ASN[9] ^= 1 }),
		"other amount":         with(func(s *wallet.PurchaseStatement) { s.ReceiptBody.Amount++ }),
		"other merchant order": with(func(s *wallet.PurchaseStatement) { s.ReceiptBody.MerchantOrder = "1" }),
		"other state":          with(func(s *wallet.PurchaseStatement) { s.ReceiptBody.State = wallet.PurchaseRefunded }),
		"delivered, unpaid":    with(func(s *wallet.PurchaseStatement) { s.State, s.ReceiptBody = wallet.PurchaseDoubtful, nil }),
		"refund without receipt": with(func(s *wallet.PurchaseStatement) {
			s.State, s.Delivered, s.ReceiptBody = wallet.PurchaseRefunded, false, nil
		}),
		"receipt as a mere state": func(p *fakePlatform) (int, any) {
			signed := p.sign(wallet.DomainPurchaseState, paid(key))
			return 200, api.PurchaseAnswer{State: &signed}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newFake(t)
			client := p.loggedIn(t)
			kept := 0
			client.config.OnReceipt = func(string, wallet.Signed) { kept++ }
			p.handle("POST /v1/purchases", func(w http.ResponseWriter, _ seen) {
				status, body := answer(p)
				reply(w, status, body)
			})
			_, err := client.Cashier().RequestPurchase(t.Context(), buy())
			require.Error(t, err)
			require.False(t, SurelyNotSent(err), "the platform may have authorised")
			require.Zero(t, kept)
		})
	}
	t.Run("untouched it is believed", func(t *testing.T) {
		p := newFake(t)
		client := p.loggedIn(t)
		p.handle("POST /v1/purchases", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.statement(paid(key))) })
		verdict, err := client.Cashier().RequestPurchase(t.Context(), buy())
		require.NoError(t, err)
		require.True(t, verdict.State.Delivered)
	})
}

func TestEveryBitOfASignedStatementCounts(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	about := purchaseSubject{request: "r", purchase: testPurchase}
	signed := *p.statement(paid("r")).State
	_, err := client.verifyStatement(signed, about)
	require.NoError(t, err)
	for bit := range len(signed.Payload) * 8 {
		forged := signed
		forged.Payload = append([]byte(nil), signed.Payload...)
		forged.Payload[bit/8] ^= 1 << (bit % 8)
		_, err := client.verifyStatement(forged, about)
		require.Equal(t, CodeAnswerUnsigned, CodeOf(err))
	}
}

func TestPurchaseResultAuthenticatesItself(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var kept string
	client.config.OnReceipt = func(number string, _ wallet.Signed) { kept = number }
	p.handle("POST /v1/purchases/"+testPurchase+"/result", func(w http.ResponseWriter, s seen) { reply(w, 200, p.statement(paid(s.key))) })
	ask := buy()
	entry := wallet.Entry{Kind: wallet.KindPurchase, Key: ask.Payment.Key, Order: testPurchase, ASN: ask.Payment.ASN, Amount: 1250, MerchantOrder: shopCode,
		TAC: wallet.Hex{1, 2, 3, 4}, MAC2: wallet.Hex{5, 6, 7, 8}, Executed: 1, Grant: &p.authorise(ask, nil).Grant.Grant}
	statement, raw, err := client.PurchaseResult(t.Context(), entry)
	require.NoError(t, err)
	require.True(t, *statement.Debited && statement.Delivered)
	require.Equal(t, testPurchase, kept)
	require.NoError(t, client.signers.Open(wallet.DomainPurchaseReceipt, raw, &wallet.PurchaseStatement{}))
	var request api.PurchaseResult
	require.NoError(t, json.Unmarshal(p.requests("POST /v1/purchases/" + testPurchase + "/result")[0].body, &request))
	require.Equal(t, entry.TAC, request.TAC)
	require.Equal(t, entry.MAC2, request.MAC2)
	require.NotNil(t, request.Grant)
}

func TestSettleAndAbandonPurchase(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	ends := time.Date(2026, 4, 14, 0, 0, 0, 0, time.UTC)
	p.handle("POST /v1/purchases/"+testPurchase+"/attempts", func(w http.ResponseWriter, s seen) {
		reply(w, 200, p.statement(wallet.PurchaseStatement{Purchase: testPurchase, Request: s.key, State: wallet.PurchaseDoubtful, DoubtEnds: &ends}))
	})
	open := wallet.OpenPurchase{Purchase: testPurchase, ASN: buy().Payment.ASN, Amount: 1250, ProbeTID: wallet.TerminalNumber{9}}
	prove := wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: make(wallet.Hex, 8)}
	statement, err := client.Cashier().SettlePurchase(t.Context(), wallet.PurchaseEvidence{Purchase: open, Prove: &prove, Steps: buy().Steps})
	require.NoError(t, err)
	require.Nil(t, statement.Debited)
	require.Equal(t, ends, *statement.DoubtEnds)
	var request api.PurchaseAttempt
	require.NoError(t, json.Unmarshal(p.requests("POST /v1/purchases/" + testPurchase + "/attempts")[0].body, &request))
	require.Equal(t, open.ProbeTID, request.Open.TID)
	require.Equal(t, wallet.PurchaseProbeAmount, request.Open.Amount)
	require.NotNil(t, request.Prove)

	key := buy().Payment.Key
	p.handle("POST /v1/purchases/"+key+"/abandon", func(w http.ResponseWriter, s seen) {
		reply(w, 200, p.statement(wallet.PurchaseStatement{Key: key, Request: s.key, State: wallet.PurchaseDeclined, Code: api.CodeAbandoned}))
	})
	statement, err = client.AbandonPurchase(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, wallet.PurchaseDeclined, statement.State)

	p.handle("GET /v1/purchases/"+testPurchase, func(w http.ResponseWriter, s seen) { reply(w, 200, p.statement(paid(s.key))) })
	statement, err = client.Purchase(t.Context(), testPurchase)
	require.NoError(t, err)
	require.Equal(t, wallet.PurchasePaid, statement.State)
	p.handle("GET /v1/cards/"+open.ASN.String()+"/purchases/open", func(w http.ResponseWriter, _ seen) {
		reply(w, 200, api.PendingPurchases{Purchases: []wallet.OpenPurchase{open}})
	})
	pending, err := client.PendingPurchases(t.Context(), open.ASN)
	require.NoError(t, err)
	require.Equal(t, []wallet.OpenPurchase{open}, pending)
	p.handle("GET /v1/purchases", func(w http.ResponseWriter, _ seen) {
		reply(w, 200, api.Purchases{Purchases: []api.Purchase{{Purchase: testPurchase, State: wallet.PurchasePaid}}})
	})
	list, err := client.Purchases(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Purchases, 1)
}
