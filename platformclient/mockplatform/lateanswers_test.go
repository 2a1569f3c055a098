package mockplatform

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// An answer over the probe may be sent long after it was given. What the card paid in
// shops since, and what is in the books by then, must not explain the debit away: the
// card is asked again over another probe, and the old answer proves nothing any more.
func TestPurchase_UploadAfterTheAnswerHidesNoDebit(t *testing.T) {
	for name, told := range map[string]bool{"told before": true, "kept back": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
			tornDebit(k, granted, virtualcard.After)
			kept := api.PurchaseAttempt{Open: k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)}
			if told {
				require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(c.purchaseAttempt(grant, kept)).State)
			}
			w.clock = w.clock.Add(shopClock + time.Second)
			line := (&shop{terminal: cornerShop}).sell(w, k, 1234)
			w.clock = w.clock.Add(24 * time.Hour)
			require.Equal(t, UploadReport{Accepted: 1}, w.upload(line))
			c.login()
			statement := c.statementOf(c.purchaseAttempt(grant, kept))
			require.Equal(t, api.CodeAttemptSuperseded, statement.Code)
			require.NotEqual(t, grant.ProbeTID, statement.Authorised.ProbeTID)
			require.Equal(t, api.CodeAttemptSuperseded, c.statementOf(c.purchaseAttempt(grant, kept)).Code, "the old probe is void")

			grant.ProbeTID = statement.Authorised.ProbeTID
			answer, _ := c.touch(k, grant, false)
			require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
			w.clock = w.clock.Add(uploadWindow + time.Minute)
			require.Equal(t, SettleReport{Refunded: 1}, w.settleDoubtful())
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
		})
	}
}

// An answer over an old probe that leaves the amount unexplained is asked for again: by
// the time it arrives, clocks of shops could no longer tell what was sold before it.
func TestPurchase_OldAnswerKeepsNoDoubt(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.After)
	kept := api.PurchaseAttempt{Open: k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)}
	line := (&shop{terminal: cornerShop}).sell(w, k, 1234)
	w.clock = w.clock.Add(24 * time.Hour)
	c.login()
	statement := c.statementOf(c.purchaseAttempt(grant, kept))
	require.Equal(t, api.CodeAttemptSuperseded, statement.Code)
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(line))
	w.clock = w.clock.Add(uploadWindow + time.Minute)
	require.Equal(t, SettleReport{Suspense: 1}, w.settleDoubtful(), "no balance is known: not NOT_TAKEN")
	w.check()
}

// An answer that was given before a load of the card, and came after it, is late and no
// sign of a second card: the purchase stays as it is, and the next touch decides it.
func TestPurchase_AnswerOfBeforeALoadIsOnlyLate(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.After)
	late := api.PurchaseAttempt{Open: k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)}
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	script, load := c.order(k, 1300).init().granted()
	step, err := k.credit(script)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)

	answer = c.purchaseAttempt(grant, late)
	require.Equal(t, http.StatusConflict, answer.Code)
	statement := c.statementOf(answer)
	require.Equal(t, wallet.PurchaseDoubtful, statement.State)
	require.Equal(t, api.CodeAttemptSuperseded, statement.Code)
	require.Empty(t, w.alarms())
	w.clock = w.clock.Add(uploadWindow + time.Minute)
	require.Equal(t, SettleReport{Refunded: 1}, w.settleDoubtful())
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// A load and a purchase of one card may both be lost, and their sums hide each other.
// When the purchase comes back first, the card shows more than the books explain: the
// load will explain it, and nobody forged anything.
func TestRestore_LostLoadAndPurchaseHideEachOther(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	backup := w.backup()
	script, load := c.order(k, 1234).init().granted()
	step, err := k.credit(script)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)
	result := api.ResultRequest{Attempt: 1, Steps: []wallet.StepResult{step}, TAC: step.Data, BalanceAfter: k.Balance(), Grant: &script.Grant}
	granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
	steps := k.debit(granted)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	w.restore(backup)
	c.login()
	c.known(k) // 5000, as the books have it
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, &granted.Grant, steps)).State)
	w.clock = w.clock.Add(nonceLife + time.Second) // until then the answer may be older than the purchase
	c.login()
	c.order(k, 1000).init().refusedWith(api.CodeCardState)
	require.Equal(t, cardRecover, w.cardState(k))
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+load.Order+"/result", w.newKey(), result)).State)
	require.Equal(t, cardActive, w.cardState(k))
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func (w *world) cardState(k *chip) string {
	w.t.Helper()
	var state string
	require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
		one, err := findCard(tx, k.ASN())
		state = one.state
		return err
	}))
	return state
}

// An answer over a load's probe that arrives when its session has long ended is
// authenticated by the grant alone and may be of any age. What the card paid since does
// not make it a forgery.
func TestLoad_LateAnswerWithoutNonceIsNoForgery(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	script, grant := c.order(k, 1000).init().granted()
	open := openOf(grant)
	late := c.request(http.MethodPost, strings.Replace(api.PathAttempts, "{id}", grant.Order, 1), w.newKey(), mustJSON(t, api.AttemptRequest{
		Attempt: 1, Intent: wallet.IntentSettle, Open: k.open(c.scripts[profilePBOC], open.Amount, open.ProbeTID), Grant: &script.Grant,
	}))
	answer, _ := c.evidence(k, open, wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
	granted, bought := c.pay(k, w.shopOrder(1234), 1234).authorised()
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(bought, nil, k.debit(granted))).State)

	w.clock = w.clock.Add(26 * time.Hour)
	require.Equal(t, wallet.StateVoided, c.stateOf(c.do(late)).State)
	require.Equal(t, cardActive, w.cardState(k))
	require.Empty(t, w.alarms())
	w.check()
}
