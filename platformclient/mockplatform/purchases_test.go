package mockplatform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

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
