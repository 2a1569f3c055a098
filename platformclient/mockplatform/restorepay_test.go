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

// P12: the platform was restored to a time before the purchase was authorised, and
// knows it again from its own signed grant.
func TestPurchase_RebuiltFromItsGrant(t *testing.T) {
	for name, row := range map[string]struct {
		paid  bool // DEBIT was answered and paid
		when  virtualcard.TearWhen
		prove bool
		late  bool
		state wallet.PurchaseStateName
	}{
		"paid before, result again": {paid: true, state: wallet.PurchasePaid},
		"paid before, too late":     {paid: true, late: true, state: wallet.PurchaseRefunded},
		"torn before":               {when: virtualcard.Before, state: wallet.PurchaseNotTaken},
		"answer lost, PROVE":        {when: virtualcard.After, prove: true, state: wallet.PurchasePaid},
		"answer lost, balance":      {when: virtualcard.After, state: wallet.PurchaseDoubtful},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 5000})
			c := w.teller(testPhone)
			c.known(k)
			backup := w.backup()
			code := w.shopOrder(1234)
			granted, grant := c.pay(k, code, 1234).authorised()
			var steps []wallet.StepResult
			if row.paid {
				steps = k.debit(granted)
				require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
			} else {
				tornDebit(k, granted, row.when)
			}
			w.restore(backup)
			if row.late {
				w.clock = w.clock.Add(reservation + time.Second)
			}
			c.login()
			require.Equal(t, http.StatusNotFound, c.purchaseResult(grant, nil, steps).Code)
			if row.paid {
				told := c.statementOf(c.purchaseResult(grant, &granted.Grant, steps))
				require.Equal(t, row.state, told.State)
			} else {
				told := c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Grant: &granted.Grant}))
				require.Equal(t, wallet.PurchaseAuthorised, told.State)
				fresh := told.Authorised
				require.NotEqual(t, grant.ProbeTID, fresh.ProbeTID)
				require.Equal(t, 2, fresh.Epoch)
				// A recording over the old probe proves nothing.
				old := c.purchaseAttempt(grant, api.PurchaseAttempt{Open: k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)})
				require.Equal(t, api.CodeAttemptSuperseded, c.statementOf(old).Code)
				grant.ProbeTID = fresh.ProbeTID
				answer, _ := c.touch(k, grant, row.prove)
				require.Equal(t, row.state, c.statementOf(answer).State)
			}
			report := w.check()
			if row.state != wallet.PurchaseDoubtful {
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
			}
		})
	}
}

// A load that the restore lost hides a debit behind its own value: the balance
// alone closes nothing then.
func TestPurchase_LostLoadHidesNoDebit(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	c := w.teller(testPhone)
	c.known(k)
	backup := w.backup()
	script, load := c.order(k, 1300).init().granted()
	step, err := k.credit(script)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)
	granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
	tornDebit(k, granted, virtualcard.After)
	w.restore(backup)
	c.login()
	told := c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Grant: &granted.Grant}))
	grant.ProbeTID = told.Authorised.ProbeTID
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)

	// Once the load is known again, the same touch shows the debit.
	c.result(load, &script.Grant, step)
	request := api.ResultRequest{Attempt: 1, Steps: []wallet.StepResult{step}, TAC: step.Data, BalanceAfter: 6300, Grant: &script.Grant}
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+load.Order+"/result", w.newKey(), request)).State)
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.check()
}

// Of two lost loads the later one may come back first. The counter that it proves must
// not make the books look whole: the earlier one still hides the debit.
func TestPurchase_LaterLoadComesBackFirst(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	c := w.teller(testPhone)
	c.known(k)
	backup := w.backup()
	load := func(amount wallet.Fen) (wallet.Grant, api.ResultRequest) {
		script, grant := c.order(k, amount).init().granted()
		step, err := k.credit(script)
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
		return grant, api.ResultRequest{Attempt: 1, Steps: []wallet.StepResult{step}, TAC: step.Data, BalanceAfter: k.Balance(), Grant: &script.Grant}
	}
	early, earlyResult := load(1000)
	late, lateResult := load(1100)
	granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
	tornDebit(k, granted, virtualcard.After)
	w.restore(backup)
	c.login()
	again := func(grant wallet.Grant, result api.ResultRequest) {
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+grant.Order+"/result", w.newKey(), result)).State)
	}
	again(late, lateResult)
	told := c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Grant: &granted.Grant}))
	grant.ProbeTID = told.Authorised.ProbeTID
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)

	again(early, earlyResult) // the books are whole, and the balance shows the debit
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.clock = w.clock.Add(uploadWindow + time.Minute)
	require.Equal(t, SettleReport{Refunded: 1}, w.settleDoubtful())
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// A return of balance was paid with the lower balance over its old probe. Sent again
// after a restore, that answer is out of date, not wrong: the card's next touch shows
// the lower balance over the new probe.
func TestPurchase_ReturnOfBalanceComesBack(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	backup := w.backup()
	offer := c.offerOf(c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: k.ASN(), Amount: 1234}))
	granted, grant := c.pay(k, offer.Code, 1234).authorised()
	steps := k.debit(granted)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, &granted.Grant, steps)).State)
	w.restore(backup)
	c.login()
	for range 6 { // as often as a client likes: five wrong ones would end it
		told := c.statementOf(c.purchaseResult(grant, &granted.Grant, steps))
		require.Equal(t, wallet.PurchaseAuthorised, told.State)
		grant.ProbeTID = told.Authorised.ProbeTID
	}
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(answer).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// A lost purchase took what a later one of the same card seems to have taken. It comes
// back beside that one: paid at once with its whole proof, else in SUSPENSE, so that
// nobody is refunded what another purchase took.
func TestPurchase_LostOneIsNotRefundedToTheNext(t *testing.T) {
	for name, row := range map[string]struct {
		proof, again bool // the next one is touched again
		first, next  wallet.PurchaseStateName
	}{
		"with its proof":                        {true, true, wallet.PurchasePaid, wallet.PurchaseNotTaken},
		"with its proof, and no touch after it": {true, false, wallet.PurchasePaid, wallet.PurchaseNotTaken},
		"with its grant alone":                  {false, true, wallet.PurchaseSuspense, wallet.PurchaseSuspense},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
			c := w.teller(testPhone)
			c.known(k)
			backup := w.backup()
			granted, lost := c.pay(k, w.shopOrder(1234), 1234).authorised()
			steps := k.debit(granted)
			require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(lost, nil, steps)).State)
			w.restore(backup)
			c.login()
			torn, next := c.pay(k, w.shopOrder(1234), 1234).authorised()
			tornDebit(k, torn, virtualcard.Before)
			answer, _ := c.touch(k, next, false)
			require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)

			if !row.proof {
				steps = nil
			}
			require.Equal(t, row.first, c.statementOf(c.purchaseResult(lost, &granted.Grant, steps)).State)
			if row.again {
				c.touch(k, next, false)
			}
			w.clock = w.clock.Add(uploadWindow + time.Minute)
			w.settleDoubtful()
			c.login()
			require.Equal(t, row.next, c.statementOf(c.purchaseResult(next, nil, nil)).State)
			w.check()
		})
	}
}

// An open purchase that the backup still knows gets a fresh probe.
func TestPurchase_RestoreRenewsProbes(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	kept := k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)
	backup := w.backup()
	w.restore(backup)
	c.login()
	require.Len(t, c.session.OpenPurchases, 1)
	fresh := c.session.OpenPurchases[0]
	require.NotEqual(t, grant.ProbeTID, fresh.ProbeTID)
	require.Equal(t, api.CodeAttemptSuperseded, c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Open: kept})).Code)
	grant.ProbeTID = fresh.ProbeTID
	answer, _ := c.touch(k, grant, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	w.check()
	_ = granted
}

// Meanwhile somebody else has paid the order: the proof of debit is refunded.
func TestPurchase_RebuiltAfterAnotherPaidIsRefunded(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	other := w.card("6210000187654321", virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	c.known(other)
	code := w.shopOrder(1234)
	backup := w.backup()
	granted, grant := c.pay(k, code, 1234).authorised()
	steps := k.debit(granted)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	w.restore(backup)
	c.login()
	again, second := c.pay(other, code, 1234).authorised()
	require.Equal(t, wallet.PurchaseRefunded, c.statementOf(c.purchaseResult(grant, &granted.Grant, steps)).State)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(second, nil, other.debit(again))).State)
	report := w.check()
	require.Equal(t, wallet.Fen(1234), report.MerchantPayableFen)
	for i, chip := range []*chip{k, other} {
		require.Equal(t, chip.Balance(), report.Cards[i].ExpectedBalanceFen)
	}
}

// A purchase that begins after a restore, on a card that has not been touched since,
// does not trust the books either: a load may be missing from them.
func TestPurchase_FirstContactAfterARestore(t *testing.T) {
	for name, row := range map[string]struct {
		lost  bool
		state wallet.PurchaseStateName
	}{
		"nothing was lost": {false, wallet.PurchaseNotTaken},
		"a load was lost":  {true, wallet.PurchaseDoubtful},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
			c := w.teller(testPhone)
			c.known(k)
			backup := w.backup()
			if row.lost {
				script, load := c.order(k, 1300).init().granted()
				step, err := k.credit(script)
				require.NoError(t, err)
				require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)
				(&shop{terminal: cornerShop}).sell(w, k, 1300) // or the claim alone would tell
			}
			w.restore(backup)
			c.login()
			granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
			tornDebit(k, granted, virtualcard.Before)
			answer, _ := c.touch(k, grant, false)
			require.Equal(t, row.state, c.statementOf(answer).State)
			w.check()
		})
	}
}

// A restore loses what a shop has uploaded. The doubt is not ended before shops have had
// a whole window to send it again: what the card spent there would be taken for the
// purchase, and refunded though the card was never debited for it.
func TestPurchase_SumsWaitForUploadsAfterARestore(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.Before)
	line := (&shop{terminal: cornerShop}).sell(w, k, 1234)
	w.clock = w.clock.Add(shopClock)
	c.login()
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	backup := w.backup()
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(line))
	w.clock = w.clock.Add(uploadWindow + time.Hour)

	w.restore(backup)
	require.Equal(t, SettleReport{}, w.settleDoubtful(), "the upload is lost, and nobody knows")
	c.login()
	statement := c.statementOf(c.get(strings.Replace(api.PathPurchase, "{id}", grant.Purchase, 1)))
	require.Equal(t, w.clock.Add(uploadWindow), *statement.DoubtEnds, "the person is told when")
	w.clock = w.clock.Add(uploadWindow - time.Hour)
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(line), "the shop sends it again")
	require.Equal(t, SettleReport{}, w.settleDoubtful())
	w.clock = w.clock.Add(time.Hour)
	require.Equal(t, SettleReport{NotTaken: 1}, w.settleDoubtful())
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}
