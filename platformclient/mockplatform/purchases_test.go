package mockplatform

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// payment is one confirmed purchase on its way.
type payment struct {
	c       *teller
	k       *chip
	key     string
	request api.PurchaseRequest
}

// shopOrder makes an order at the demo's merchant.
func (w *world) shopOrder(amount wallet.Fen) string {
	w.t.Helper()
	code, err := w.p.ShopOrder(w.t.Context(), "", "two cups of tea", amount, "")
	require.NoError(w.t, err)
	return code
}

// offer looks an order up and verifies it.
func (c *teller) offer(code string) wallet.MerchantOrder {
	c.w.t.Helper()
	key := c.w.newKey()
	request := c.request(http.MethodGet, strings.Replace(api.PathMerchantOrder, "{code}", code, 1), key, nil)
	offer := c.offerOf(c.do(request))
	require.Equal(c.w.t, key, offer.Request)
	return offer
}

func (c *teller) offerOf(answer *httptest.ResponseRecorder) wallet.MerchantOrder {
	c.w.t.Helper()
	var carried api.Offer
	c.must(http.StatusOK, answer, &carried)
	var offer wallet.MerchantOrder
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainOffer, carried.Offer, &offer))
	return offer
}

// pay confirms the order and asks the card, with a new lease.
func (c *teller) pay(k *chip, code string, amount wallet.Fen) *payment {
	pay := &payment{c: c, k: k, key: c.w.newKey(), request: api.PurchaseRequest{
		MerchantOrder: code, Amount: amount, Card: api.LoadCard{ASN: k.ASN(), KeyIndex: 1, Profile: profilePBOC},
	}}
	return pay.init()
}

func (y *payment) init() *payment {
	y.request.Open = *y.k.open(y.c.payScripts[profilePBOC], y.request.Amount, y.c.lease())
	return y
}

func (y *payment) send() *httptest.ResponseRecorder {
	return y.c.post(api.PathPurchases, y.key, y.request)
}

func (y *payment) authorised() (*wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	y.c.w.t.Helper()
	return y.c.purchaseGrantOf(y.send())
}

func (c *teller) purchaseGrantOf(answer *httptest.ResponseRecorder) (*wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	c.w.t.Helper()
	var told api.PurchaseAnswer
	c.must(http.StatusOK, answer, &told)
	require.NotNil(c.w.t, told.Grant, answer.Body.String())
	var grant wallet.PurchaseGrant
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainPurchaseGrant, told.Grant.Grant, &grant))
	c.addLeases(told.Leases)
	return told.Grant, grant
}

func (y *payment) refusedWith(code string) wallet.PurchaseStatement {
	y.c.w.t.Helper()
	answer := y.send()
	told := y.c.statementOf(answer)
	require.Equal(y.c.w.t, wallet.PurchaseDeclined, told.State)
	require.Equal(y.c.w.t, code, told.Code)
	require.Equal(y.c.w.t, y.key, told.Key)
	require.Equal(y.c.w.t, y.key, told.Request)
	require.NotEmpty(y.c.w.t, told.Text)
	require.GreaterOrEqual(y.c.w.t, answer.Code, 400)
	return told
}

// statementOf verifies and reads a signed statement; a receipt has its own domain.
func (c *teller) statementOf(answer *httptest.ResponseRecorder) wallet.PurchaseStatement {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer, "no answer")
	var told api.PurchaseAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &told), answer.Body.String())
	require.NotNil(c.w.t, told.State, answer.Body.String())
	var statement wallet.PurchaseStatement
	keys := c.w.p.signerKeys()
	if err := keys.Open(wallet.DomainPurchaseReceipt, *told.State, &statement); err != nil {
		require.NoError(c.w.t, keys.Open(wallet.DomainPurchaseState, *told.State, &statement))
		require.Nil(c.w.t, statement.ReceiptBody)
	} else {
		require.NotNil(c.w.t, statement.ReceiptBody)
	}
	return statement
}

// debit runs a grant's script to its end, as far as the card answers.
func (k *chip) debit(granted *wallet.PurchaseGrantedScript) []wallet.StepResult {
	var steps []wallet.Step
	require.NoError(k.t, json.Unmarshal(granted.Script, &steps))
	var results []wallet.StepResult
	for _, step := range steps {
		result, err := k.send(step.APDU)
		if err != nil {
			break
		}
		results = append(results, result)
		if step.OnError != "continue" && !accepted(result) {
			break
		}
	}
	return results
}

func (c *teller) purchaseResult(grant wallet.PurchaseGrant, signed *wallet.Signed, steps []wallet.StepResult) *httptest.ResponseRecorder {
	request := api.PurchaseResult{Steps: steps, Executed: len(steps), Grant: signed}
	if len(steps) > 0 && len(steps[0].Data) == 8 {
		request.TAC, request.MAC2 = steps[0].Data[:4], steps[0].Data[4:]
	}
	return c.post(strings.Replace(api.PathPurchaseResult, "{id}", grant.Purchase, 1), c.w.newKey(), request)
}

// touch presents the card over the probe, with GET TRANSACTION PROVE if asked.
func (c *teller) touch(k *chip, grant wallet.PurchaseGrant, prove bool) (*httptest.ResponseRecorder, api.PurchaseAttempt) {
	var attempt api.PurchaseAttempt
	if prove {
		attempt.Prove = k.provePurchase(c.payScripts[profilePBOC], grant.Number+1)
	}
	attempt.Open = k.open(c.scripts[profilePBOC], wallet.Fen(1), grant.ProbeTID)
	return c.purchaseAttempt(grant, attempt), attempt
}

func (c *teller) purchaseAttempt(grant wallet.PurchaseGrant, attempt api.PurchaseAttempt) *httptest.ResponseRecorder {
	return c.post(strings.Replace(api.PathPurchaseAttempts, "{id}", grant.Purchase, 1), c.w.newKey(), attempt)
}

func (k *chip) provePurchase(script wallet.Script, number uint16) *wallet.StepResult {
	_, err := k.PowerOn()
	require.NoError(k.t, err)
	_, err = k.send(script.Steps[0].APDU)
	require.NoError(k.t, err)
	result, err := k.send("805A000602" + wallet.Hex{byte(number >> 8), byte(number)}.String() + "08")
	require.NoError(k.t, err)
	return &result
}

// known makes the card's balance known to the books by a MAC1 that is refused.
func (c *teller) known(k *chip) {
	c.w.t.Helper()
	c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin)
}

func TestPurchase_OfferGrantResultReceipt(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	code := w.shopOrder(1234)

	offer := c.offer(code)
	require.Equal(t, wallet.PurchaseOffered, offer.State)
	require.Equal(t, DemoMerchant, offer.Merchant)
	require.Equal(t, wallet.Fen(1234), offer.Amount)

	pay := c.pay(k, code, 1234)
	granted, grant := pay.authorised()
	require.Equal(t, pay.request.Open.TID, grant.Terminal)
	require.Equal(t, wallet.Fen(5000), grant.Balance)
	require.Equal(t, wallet.PurchaseAuthorised, c.offer(code).State)
	require.Equal(t, wallet.Fen(1234), w.check().AuthorisedFen)

	steps := k.debit(granted)
	require.Len(t, steps, 3)
	require.Equal(t, wallet.Fen(3766), k.Balance())
	told := c.statementOf(c.purchaseResult(grant, &granted.Grant, steps))
	require.Equal(t, wallet.PurchasePaid, told.State)
	require.Equal(t, "tac", told.Evidence)
	require.True(t, *told.Debited)
	require.True(t, told.Delivered)
	require.Equal(t, wallet.Fen(3766), told.ReceiptBody.BalanceAfter)
	require.Equal(t, steps[0].Data[:4], told.ReceiptBody.TAC)
	require.Equal(t, wallet.PurchasePaid, told.ReceiptBody.State)
	require.Nil(t, told.ReceiptBody.MainBalance)
	require.True(t, told.ReceiptBody.Demo)

	report := w.check()
	require.Equal(t, wallet.Fen(1234), report.MerchantPayableFen)
	require.Equal(t, wallet.Fen(1234), report.Cards[0].PurchasedFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
	require.Equal(t, wallet.PurchasePaid, c.offer(code).State)

	// The same result again is the same receipt, and nothing is posted twice.
	again := c.statementOf(c.purchaseResult(grant, nil, steps))
	require.Equal(t, told.ReceiptBody, again.ReceiptBody)
	require.Equal(t, wallet.Fen(1234), w.check().MerchantPayableFen)
}

// begin opens a purchase of 1234 fen on a card that the books know.
func (w *world) begin(spec virtualcard.Spec) (*teller, *chip, string, *wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	w.t.Helper()
	k := w.card(serial, spec)
	c := w.teller(testPhone)
	c.known(k)
	code := w.shopOrder(1234)
	granted, grant := c.pay(k, code, 1234).authorised()
	return c, k, code, granted, grant
}

// tornDebit lets the card leave the field at DEBIT FOR PURCHASE.
func tornDebit(k *chip, granted *wallet.PurchaseGrantedScript, when virtualcard.TearWhen) {
	k.TearAt(virtualcard.Tear{INS: 0x54, When: when})
	require.Empty(k.t, k.debit(granted))
}

// TestPurchase_EveryCrashRowSettlesInOneTouch plays the rows of protocol §2.19 that
// leave a card behind.
func TestPurchase_EveryCrashRowSettlesInOneTouch(t *testing.T) {
	for name, row := range map[string]struct {
		variant  string
		when     virtualcard.TearWhen
		prove    bool
		state    wallet.PurchaseStateName
		evidence string
	}{
		"P5 torn before":               {virtualcard.Standard, virtualcard.Before, true, wallet.PurchaseNotTaken, "balance"},
		"P6 torn inside":               {virtualcard.Standard, virtualcard.Inside, true, wallet.PurchaseNotTaken, "balance"},
		"P6 torn inside, no PROVE":     {virtualcard.ProveNone, virtualcard.Inside, true, wallet.PurchaseNotTaken, "balance"},
		"P7 answer lost, PROVE":        {virtualcard.Standard, virtualcard.After, true, wallet.PurchasePaid, "prove"},
		"P7 answer lost, not proven":   {virtualcard.Standard, virtualcard.After, false, wallet.PurchaseDoubtful, "balance"},
		"P7 answer lost, PROVE a stub": {virtualcard.ProveStub, virtualcard.After, true, wallet.PurchaseDoubtful, "balance"},
		"P7 answer lost, no PROVE":     {virtualcard.ProveNone, virtualcard.After, true, wallet.PurchaseDoubtful, "balance"},
		"P6 torn inside, PROVE a stub": {virtualcard.ProveStub, virtualcard.Inside, true, wallet.PurchaseNotTaken, "balance"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, code, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: row.variant})
			tornDebit(k, granted, row.when)
			answer, attempt := c.touch(k, grant, row.prove)
			told := c.statementOf(answer)
			require.Equal(t, row.state, told.State)
			require.Equal(t, row.evidence, told.Evidence)
			report := w.check()
			offer := c.offer(code)
			switch row.state {
			case wallet.PurchasePaid:
				require.True(t, *told.Debited)
				require.True(t, told.Delivered)
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
				require.Equal(t, wallet.PurchasePaid, offer.State)
				require.Equal(t, k.Balance(), told.ReceiptBody.BalanceAfter)
			case wallet.PurchaseNotTaken:
				require.False(t, *told.Debited)
				require.False(t, told.Delivered)
				require.Equal(t, wallet.Fen(5000), k.Balance())
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
				require.Equal(t, wallet.PurchaseOffered, offer.State)
			case wallet.PurchaseDoubtful:
				require.Nil(t, told.Debited, "nobody knows yet")
				require.False(t, told.Delivered)
				require.Equal(t, w.clock.Add(uploadWindow), *told.DoubtEnds)
				require.Equal(t, grant.Purchase, told.Authorised.Purchase)
				require.Equal(t, wallet.Fen(1234), report.DoubtfulFen)
				require.Equal(t, wallet.PurchaseAuthorised, offer.State, "nobody else may pay it")
			}
			// The same evidence again tells the same.
			require.Equal(t, row.state, c.statementOf(c.purchaseAttempt(grant, attempt)).State)
			require.Equal(t, report.MerchantPayableFen, w.check().MerchantPayableFen)
		})
	}
}

func TestPurchase_TheOrderOfNotTakenIsPaidByAnotherPurchase(t *testing.T) {
	w := newWorld(t)
	c, k, code, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	tornDebit(k, granted, virtualcard.Before)
	answer, _ := c.touch(k, grant, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	again, second := c.pay(k, code, 1234).authorised()
	require.NotEqual(t, grant.Purchase, second.Purchase)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(second, nil, k.debit(again))).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func TestPurchase_LostAnswerIsReplayedByteForByte(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	pay := c.pay(k, w.shopOrder(1234), 1234)

	w.hooks.BeforeCommit = func(route string) error { return map[bool]error{true: errDied}[route == api.PathPurchases] }
	require.Nil(t, pay.send(), "the platform died before the commit")
	require.Zero(t, w.check().AuthorisedFen)
	w.hooks.BeforeCommit = nil
	w.hooks.AfterCommit = func(route string) error { return map[bool]error{true: errDied}[route == api.PathPurchases] }
	require.Nil(t, pay.send(), "the platform died after the commit")
	w.hooks.AfterCommit = nil
	require.Equal(t, wallet.Fen(1234), w.check().AuthorisedFen)

	first := pay.send()
	w.reopen()
	require.Equal(t, first.Body.String(), pay.send().Body.String())
	other := *pay
	other.request.Amount = 99
	require.Equal(t, http.StatusUnprocessableEntity, other.send().Code)
	require.Contains(t, other.send().Body.String(), api.CodeKeyReused)
	granted, grant := c.purchaseGrantOf(first)

	// P11: the result is committed and its acknowledgement lost.
	steps := k.debit(granted)
	w.hooks.AfterCommit = func(route string) error { return map[bool]error{true: errDied}[route == api.PathPurchaseResult] }
	require.Nil(t, c.purchaseResult(grant, nil, steps))
	w.hooks.AfterCommit = nil
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	require.Equal(t, wallet.Fen(1234), w.check().MerchantPayableFen)
}

func TestPurchase_KeepsNoMAC1InClear(t *testing.T) {
	w := newWorld(t)
	_, k, _, granted, _ := w.begin(virtualcard.Spec{Balance: 5000})
	var steps []wallet.Step
	require.NoError(t, json.Unmarshal(granted.Script, &steps))
	mac1 := steps[0].APDU[len(steps[0].APDU)-10 : len(steps[0].APDU)-2]
	raw, err := hex.DecodeString(mac1)
	require.NoError(t, err)
	found := false
	for _, name := range []string{fileDatabase, fileDatabase + "-wal"} {
		data, err := os.ReadFile(filepath.Join(w.dir, name))
		require.NoError(t, err)
		found = found || strings.Contains(string(data), k.ASN().String())
		require.NotContains(t, string(data), mac1)
		require.NotContains(t, string(data), string(raw))
	}
	require.True(t, found)
}

func TestPurchase_Refusals(t *testing.T) {
	for name, row := range map[string]struct {
		code string
		make func(*world, *teller, *chip) *payment
	}{
		"unknown order": {api.CodeMerchantOrder, func(w *world, c *teller, k *chip) *payment { return c.pay(k, "000000000000", 1234) }},
		"another amount": {api.CodeAmountDiffers, func(w *world, c *teller, k *chip) *payment {
			return c.pay(k, w.shopOrder(1234), 1233)
		}},
		"amount of INITIALIZE is another": {api.CodeCardEvidence, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Open.Amount = 1000
			return pay
		}},
		"another card answered": {api.CodeCardEvidence, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			other := w.card("6210000187654321", virtualcard.Spec{Balance: 5000})
			pay.request.Card.ASN = other.ASN()
			return pay
		}},
		"card of nobody": {api.CodeCardState, func(w *world, c *teller, k *chip) *payment {
			w.exec(`UPDATE cards SET user = ''`)
			return c.pay(k, w.shopOrder(1234), 1234)
		}},
		"black card": {api.CodeCardState, func(w *world, c *teller, k *chip) *payment {
			w.exec(`UPDATE cards SET state = 'BLACK'`)
			return c.pay(k, w.shopOrder(1234), 1234)
		}},
		"card that repeats its randoms": {api.CodeCardTypeRefused, func(w *world, c *teller, k *chip) *payment {
			w.exec(`UPDATE cards SET type_refused = 1`)
			return c.pay(k, w.shopOrder(1234), 1234)
		}},
		"unknown profile": {api.CodeCardTypeRefused, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Card.Profile = "none"
			return pay
		}},
		"frozen account": {api.CodeAccountState, func(w *world, c *teller, k *chip) *payment {
			w.exec(`UPDATE users SET state = 'FROZEN'`)
			return c.pay(k, w.shopOrder(1234), 1234)
		}},
		"order has expired": {api.CodeMerchantOrder, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			w.exec(`UPDATE merchant_orders SET expires = ?`, w.clock.UnixMilli())
			return pay
		}},
		"lease of another device": {api.CodeLeaseInvalid, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Open.TID = w.teller(testPhone).lease()
			return pay
		}},
		"card claims more than it can hold": {api.CodeCardState, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Open.Steps[2].Data[1] = 1
			return pay
		}},
		"card claims less than the amount": {api.CodeCardBalance, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Open.Steps[2].Data[2] = 0
			return pay
		}},
		"counter at its end": {api.CodeCardCounter, func(w *world, c *teller, k *chip) *payment {
			pay := c.pay(k, w.shopOrder(1234), 1234)
			pay.request.Open.Steps[2].Data[4], pay.request.Open.Steps[2].Data[5] = 0xFF, 0xFF
			return pay
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 5000})
			c := w.teller(testPhone)
			c.known(k)
			pay := row.make(w, c, k)
			pay.refusedWith(row.code)
			pay.refusedWith(row.code) // stored or not, it stays refused
			require.Zero(t, w.check().AuthorisedFen)
		})
	}
}

func TestPurchase_TerminalNumberIsForOneUse(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	c.purchaseResult(grant, nil, k.debit(granted))
	pay := c.pay(k, w.shopOrder(100), 100)
	tid := pay.request.Open.TID
	pay.request.Open.TID = grant.Terminal
	pay.refusedWith(api.CodeTIDUsed)
	// The same order may come with another number under the same key.
	pay.request.Open.TID = tid
	again, second := pay.authorised()
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(second, nil, k.debit(again))).State)
}

func TestPurchase_OneThingAtATimePerCard(t *testing.T) {
	w := newWorld(t)
	c, k, code, _, grant := w.begin(virtualcard.Spec{Balance: 5000})
	told := c.pay(k, w.shopOrder(100), 100).refusedWith(api.CodePendingPurchase)
	require.Equal(t, grant.Purchase, told.PendingOther.Purchase)
	require.Equal(t, grant.ProbeTID, told.PendingOther.ProbeTID)
	require.Equal(t, byte(typePurchase), told.PendingOther.Type)

	// Another card cannot pay the order that this one holds.
	other := w.card("6210000187654321", virtualcard.Spec{Balance: 5000})
	c.pay(other, code, 1234).refusedWith(api.CodeMerchantOrder)

	var pending api.PendingPurchases
	c.must(http.StatusOK, c.get(strings.Replace(api.PathPendingPurchases, "{asn}", k.ASN().String(), 1)), &pending)
	require.Equal(t, []wallet.OpenPurchase{*told.PendingOther}, pending.Purchases)
	fresh := w.teller(testPhone)
	require.Equal(t, pending.Purchases, fresh.session.OpenPurchases)
	answer, _ := fresh.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, fresh.statementOf(answer).State)

	// An open load comes first.
	order := c.order(k, 5000).init()
	_, loadGrant := order.granted()
	refused := c.pay(other, code, 1234)
	refused.authorised()
	told = c.pay(k, w.shopOrder(100), 100).refusedWith(api.CodePendingLoad)
	require.Equal(t, loadGrant.Order, told.PendingLoad.Order)
	require.Equal(t, loadGrant.ProbeTID, told.PendingLoad.ProbeTID)
	w.check()
}

// A credit that is not posted yet would hide the debit: the probe decides nothing
// while a load of the card is open.
func TestPurchase_OpenLoadHidesNoDebit(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.After)
	script, load := c.order(k, 5000).init().granted()
	step, err := k.credit(script)
	require.NoError(t, err)
	answer, _ := c.touch(k, grant, false)
	told := c.statementOf(answer)
	require.Equal(t, api.CodePendingLoad, told.Code)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	require.Equal(t, load.Order, told.PendingLoad.Order)

	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.check()
}

func TestPurchase_AbandonLeavesATombstone(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	code := w.shopOrder(1234)
	pay := c.pay(k, code, 1234)
	abandon := func(key string) wallet.PurchaseStatement {
		return c.statementOf(c.post(strings.Replace(api.PathPurchaseAbandon, "{id}", key, 1), w.newKey(), struct{}{}))
	}
	for range 2 {
		told := abandon(pay.key)
		require.Equal(t, api.CodeAbandoned, told.Code)
		require.Equal(t, wallet.PurchaseDeclined, told.State)
	}
	pay.refusedWith(api.CodeAbandoned) // the request that arrives late
	require.Equal(t, wallet.PurchaseOffered, c.offer(code).State)

	// A key that was seen tells its purchase.
	seen := c.pay(k, code, 1234)
	_, grant := seen.authorised()
	told := abandon(seen.key)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	require.Equal(t, grant.Purchase, told.Authorised.Purchase)
	require.Equal(t, grant.Number, told.Authorised.Number)
	w.check()
}

func TestPurchase_ForgedEvidence(t *testing.T) {
	for name, forge := range map[string]func(*teller, *chip, wallet.PurchaseGrant, []wallet.StepResult) *httptest.ResponseRecorder{
		"wrong TAC": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			steps[0].Data[0] ^= 1
			return c.purchaseResult(grant, nil, steps)
		},
		"wrong MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			steps[0].Data[7] ^= 1
			return c.purchaseResult(grant, nil, steps)
		},
		"no MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.post("/v1/purchases/"+grant.Purchase+"/result", c.w.newKey(), api.PurchaseResult{TAC: steps[0].Data[:4]})
		},
		"MAC2 without TAC": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.post("/v1/purchases/"+grant.Purchase+"/result", c.w.newKey(), api.PurchaseResult{MAC2: steps[0].Data[4:]})
		},
		"TAC in the place of MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			copy(steps[0].Data[4:], steps[0].Data[:4])
			return c.purchaseResult(grant, nil, steps)
		},
		"a bare word": func(c *teller, _ *chip, grant wallet.PurchaseGrant, _ []wallet.StepResult) *httptest.ResponseRecorder {
			return c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: &wallet.StepResult{SW: wallet.Hex{0x94, 0x06}}})
		},
		"PROVE with TAC alone": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: &wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: steps[0].Data[:4]}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
			steps := k.debit(granted)
			copied := append([]wallet.StepResult{}, steps...)
			copied[0].Data = append(wallet.Hex{}, steps[0].Data...)
			told := c.statementOf(forge(c, k, grant, copied))
			require.Contains(t, []wallet.PurchaseStateName{wallet.PurchaseAuthorised, wallet.PurchaseDoubtful}, told.State)
			require.False(t, told.Delivered)
			require.Zero(t, w.check().MerchantPayableFen)
			// The whole proof still pays.
			require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
		})
	}
}

// Every single bit of TAC and MAC2 matters.
func TestPurchase_BitFlipsPayNothing(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	for bit := range 64 {
		flipped := append(wallet.Hex{}, steps[0].Data...)
		flipped[bit/8] ^= 1 << (bit % 8)
		told := c.statementOf(c.purchaseResult(grant, nil, []wallet.StepResult{{SW: steps[0].SW, Data: flipped}}))
		require.NotEqual(t, wallet.PurchasePaid, told.State, "bit %d", bit)
		w.exec(`UPDATE purchases SET wrongs = 0, state = 'AUTHORISED', tac = NULL`)
	}
	require.Zero(t, w.check().MerchantPayableFen)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
}

// A TAC and MAC2 of another purchase, also of the same amount on the same card, pay
// nothing a second time.
func TestPurchase_ReplayOfAnotherPurchase(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	first := k.debit(granted)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, first)).State)
	again, second := c.pay(k, w.shopOrder(1234), 1234).authorised()
	told := c.statementOf(c.purchaseResult(second, nil, first))
	require.Equal(t, api.CodeCardEvidence, told.Code)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	// An INITIALIZE FOR LOAD over the probe of the first one proves nothing here.
	stale := k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)
	told = c.statementOf(c.purchaseAttempt(second, api.PurchaseAttempt{Open: stale}))
	require.Equal(t, api.CodeAttemptSuperseded, told.Code)
	relabelled := *stale
	relabelled.TID = second.ProbeTID
	told = c.statementOf(c.purchaseAttempt(second, api.PurchaseAttempt{Open: &relabelled}))
	require.Equal(t, api.CodeCardEvidence, told.Code)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	// The INITs have ended the purchase session: the card refuses the old DEBIT.
	require.Equal(t, wallet.Hex{0x69, 0x01}, k.debit(again)[0].SW)
	answer, _ := c.touch(k, second, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func TestPurchase_FiveWrongAreSuspense(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	wrong := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: wallet.Hex{1, 2, 3, 4, 5, 6, 7, 8}}}
	const strangerPhone = "13700000000"
	require.NoError(t, w.p.Seed(t.Context(), strangerPhone, 0, nil, ""))
	stranger := w.teller(strangerPhone)
	for range rules.MaxWrong + 1 {
		require.Equal(t, wallet.PurchaseAuthorised, stranger.statementOf(stranger.purchaseResult(grant, nil, wrong)).State)
	}
	for i := range rules.MaxWrong {
		told := c.statementOf(c.purchaseResult(grant, nil, wrong))
		if i < rules.MaxWrong-1 {
			require.Equal(t, wallet.PurchaseAuthorised, told.State)
			require.Equal(t, api.CodeCardEvidence, told.Code)
		} else {
			require.Equal(t, wallet.PurchaseSuspense, told.State)
		}
	}
	// Guessing has ended: not even the right one moves it now, people must.
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	require.Equal(t, 1, w.check().PurchaseSuspense)
	c.pay(k, w.shopOrder(1), 1).refusedWith(api.CodePendingPurchase)
}

func TestPurchase_ProveStubIsNeverCounted(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveStub})
	tornDebit(k, granted, virtualcard.Before)
	for range rules.MaxWrong + 2 {
		prove := k.provePurchase(c.payScripts[profilePBOC], grant.Number+1)
		require.Equal(t, wallet.PurchaseAuthorised, c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: prove})).State)
	}
	answer, _ := c.touch(k, grant, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
}

func TestPurchase_EvidenceNeedsNoSession(t *testing.T) {
	w := newWorld(t)
	_, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	anybody := w.stranger("13900000000")
	require.Equal(t, http.StatusUnauthorized, anybody.purchaseResult(grant, nil, steps).Code)
	forged := granted.Grant
	forged.Payload = append([]byte(nil), forged.Payload...)
	forged.Payload[10] ^= 1
	require.Equal(t, http.StatusUnprocessableEntity, anybody.purchaseResult(grant, &forged, steps).Code)
	require.Equal(t, wallet.PurchasePaid, anybody.statementOf(anybody.purchaseResult(grant, &granted.Grant, steps)).State)
	w.check()
}

func TestPurchase_ProofAfterTheReservationRefunds(t *testing.T) {
	w := newWorld(t)
	c, k, code, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	main := w.balance(mainAccount(c.session.User))
	steps := k.debit(granted)
	w.clock = w.clock.Add(reservation + time.Second)
	c.login()
	told := c.statementOf(c.purchaseResult(grant, nil, steps))
	require.Equal(t, wallet.PurchaseRefunded, told.State)
	require.True(t, *told.Debited)
	require.False(t, told.Delivered)
	require.Equal(t, main+1234, *told.ReceiptBody.MainBalance)
	require.Equal(t, main+1234, w.balance(mainAccount(c.session.User)))
	require.Equal(t, wallet.PurchaseRefunded, c.offer(code).State)
	// For ever: the same proof again is the same answer and no goods.
	require.Equal(t, told.ReceiptBody, c.statementOf(c.purchaseResult(grant, nil, steps)).ReceiptBody)
	report := w.check()
	require.Zero(t, report.MerchantPayableFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
}

func TestPurchase_LateTACAfterNotTaken(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	// A card that cheats: it was debited and shows its balance of before. Only keys
	// can do that, which this test has.
	before := *k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)
	told := c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Open: &before}))
	require.Equal(t, wallet.PurchaseNotTaken, told.State)
	tac, mac2 := k.forgeDebit(grant)
	result := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: append(append(wallet.Hex{}, tac...), mac2...)}}
	told = c.statementOf(c.purchaseResult(grant, nil, result))
	require.Equal(t, wallet.PurchaseSuspense, told.State)
	require.Nil(t, told.Debited)
	require.Equal(t, []string{string(rules.CauseLateTAC)}, w.alarms())
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(c.purchaseResult(grant, nil, result)).State)
	w.check()
	_ = granted
}

// forgeDebit computes what the card would have answered.
func (k *chip) forgeDebit(grant wallet.PurchaseGrant) (tac, mac2 []byte) {
	at := epcrypto.CardTimeOf(grant.Issued)
	session := epcrypto.PurchaseSessionKey(k.Keys().DPK, [4]byte(grant.Random), grant.Number, grant.TerminalSerial)
	one := epcrypto.PurchaseTAC(k.Keys().DTK, uint32(grant.Amount), typePurchase, grant.Terminal, grant.TerminalSerial, at)
	two := epcrypto.PurchaseMAC2(session, uint32(grant.Amount))
	return one[:], two[:]
}

func (w *world) alarms() (codes []string) {
	require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
		return tx.each(`SELECT code FROM alarms ORDER BY id`, nil, func(rows *sql.Rows) error {
			var code string
			err := rows.Scan(&code)
			codes = append(codes, code)
			return err
		})
	}))
	return codes
}

// A TAC that an exhaustive search forged meets the authenticated balance.
func TestPurchase_ForgedTACAgainstTheBalanceIsSuspense(t *testing.T) {
	w := newWorld(t)
	c, k, _, _, grant := w.begin(virtualcard.Spec{Balance: 5000})
	tac, _ := k.forgeDebit(grant)
	told := c.statementOf(c.post("/v1/purchases/"+grant.Purchase+"/result", w.newKey(), api.PurchaseResult{TAC: tac}))
	require.Equal(t, wallet.PurchaseDoubtful, told.State)
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(answer).State)
	require.Equal(t, []string{string(rules.CauseBalance)}, w.alarms())
	w.check()
}

// Nothing authenticates the answer to INITIALIZE FOR PURCHASE, and MAC2 covers only
// the amount: a client that claims the session of an earlier purchase again is
// refused before it could hope for the same terminal serial.
func TestPurchase_OldSessionIsNotClaimedAgain(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	first := c.pay(k, w.shopOrder(1234), 1234)
	granted, grant := first.authorised()
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, k.debit(granted))).State)
	again := c.pay(k, w.shopOrder(1234), 1234)
	again.request.Open.Steps = first.request.Open.Steps
	again.refusedWith(api.CodeStaleCardState)
	c.pay(k, w.shopOrder(1234), 1234).authorised()
}

func TestPurchase_NobodyTriesSerialsThrough(t *testing.T) {
	w := newWorld(t)
	c, k, _, _, grant := w.begin(virtualcard.Spec{Balance: 5000})
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	copyRow := strings.ReplaceAll(purchaseColumns, "\n", " ")
	from := strings.Replace(strings.Replace(copyRow, "id, key,", "n.i || id, n.i || key,", 1), "merchant_order", "n.i || merchant_order", 1)
	w.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO purchases (`+copyRow+`) SELECT `+from+` FROM purchases, n`, triesPerDay-2)
	code := w.shopOrder(100)
	_, grant = c.pay(k, code, 100).authorised()
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	told := c.pay(k, code, 100).refusedWith(api.CodeLimitCardCount)
	require.Equal(t, nextDay(w.clock).UTC(), told.RetryAfter.UTC())
	w.clock = nextDay(w.clock)
	c.login()
	c.pay(k, code, 100).authorised()
}

// Whatever a client says that a card answered, it is read or refused.
func FuzzReadPurchaseOpen(f *testing.F) {
	good := make([]byte, 15)
	good[3] = 200
	f.Add(make([]byte, 30), good, []byte{0x90, 0x00}, 3)
	f.Add(make([]byte, 28), good[:14], []byte{0x90, 0x00}, 3)
	f.Add([]byte{}, []byte{}, []byte{}, 0)
	f.Fuzz(func(t *testing.T, info, init, sw []byte, count int) {
		steps := []wallet.StepResult{{SW: wallet.Hex{0x90, 0x00}}, {SW: wallet.Hex{0x90, 0x00}, Data: info}, {SW: sw, Data: init}}
		open := &api.Open{Steps: steps[:max(0, min(count, 3))]}
		asn, answer, ok := readPurchaseOpen(open)
		want := count >= 3 && len(info) >= 28 && len(info) <= 34 && len(init) == 15 && bytes.Equal(sw, []byte{0x90, 0x00})
		require.Equal(t, want, ok)
		if ok {
			require.Equal(t, info[10:20], asn[:])
			require.Equal(t, init[11:15], answer.random[:])
			require.GreaterOrEqual(t, answer.balance, wallet.Fen(0))
		}
	})
}
