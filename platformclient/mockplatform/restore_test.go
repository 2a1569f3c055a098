package mockplatform

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// restore puts the backup back and opens the platform again.
func (w *world) restore(backup string) BackupReport {
	w.t.Helper()
	require.NoError(w.t, w.p.Close())
	report, err := Restore(w.dir, backup)
	require.NoError(w.t, err)
	w.open()
	return report
}

func (w *world) backup() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "backup.db")
	report, err := w.p.Backup(w.t.Context(), file)
	require.NoError(w.t, err)
	require.Equal(w.t, w.clock, report.Watermark)
	return file
}

func TestPlatform_RestoreVoidsProbesLeasesAndNonces(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)
	// The eight steps of the model: INIT over the probe kept, restored, kept MAC1 → void?
	kept := k.open(c.scripts[profilePBOC], grant.Amount, grant.ProbeTID)
	backup := w.backup()
	granted, second := c.grantOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentComplete, Open: kept}))
	credited, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(5000), k.Balance())

	require.Equal(t, 2, w.restore(backup).Epoch)
	// Both are void, and each by itself.
	former := c.get(api.PathAccount)
	require.Equal(t, http.StatusUnauthorized, former.Code)
	require.Contains(t, former.Body.String(), api.CodeNonceExpired, "the nonce of the former epoch")
	c.freshNonce()
	former = c.get(api.PathAccount)
	require.Equal(t, http.StatusUnauthorized, former.Code)
	require.Contains(t, former.Body.String(), api.CodeNotLoggedIn, "the token of the former epoch")
	stale := c.lease()
	c.login()
	require.Equal(t, 2, c.session.Epoch)
	require.Len(t, c.session.OpenOrders, 1)
	fresh := c.session.OpenOrders[0]
	require.NotEqual(t, grant.ProbeTID, fresh.ProbeTID)

	state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentCancel, Open: kept}))
	require.Equal(t, api.CodeAttemptSuperseded, state.Code, "the kept MAC1 voids nothing")
	order := c.order(k, 5000)
	order.request.Open = *k.open(c.scripts[profilePBOC], 5000, stale)
	order.refusedWith(api.CodeLeaseInvalid)

	answer, _ := c.evidence(k, fresh, wallet.IntentCancel)
	require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State, "another order, which the restore lost, may have moved the counter")
	request := api.ResultRequest{
		Attempt: 2, Steps: []wallet.StepResult{credited}, Executed: 1, TAC: credited.Data, BalanceAfter: 5000, Grant: &granted.Grant,
	}
	state = c.stateOf(c.post("/v1/loads/"+grant.Order+"/result", w.newKey(), request))
	require.Equal(t, wallet.StateLoaded, state.State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
	require.Equal(t, 2, second.Attempt)
}

func TestPlatform_RestoreRebuildsALostOrderFromItsGrant(t *testing.T) {
	for name, row := range map[string]struct {
		when  virtualcard.TearWhen
		state wallet.LoadState
	}{
		"loaded":     {virtualcard.After, wallet.StateLoaded},
		"not loaded": {virtualcard.Before, wallet.StateVoided},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 300})
			c := w.teller(testPhone)
			c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin) // makes opening balance and floor known
			backup := w.backup()
			granted, grant := torn(w, c, k, row.when)
			w.restore(backup)
			c.login()
			require.Empty(t, c.session.OpenOrders)

			prove := k.prove(c.scripts[profilePBOC], 0) // says 9406 and proves nothing
			state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Prove: prove, Grant: &granted.Grant}))
			require.Equal(t, wallet.StateGranted, state.State)
			require.Equal(t, 2, state.Pending.Attempt)
			require.NotEqual(t, grant.ProbeTID, state.Pending.ProbeTID)
			require.Equal(t, wallet.Fen(5000), w.check().HeldFen)
			// The grant again brings no older probe back, and no second order.
			again := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Grant: &granted.Grant}))
			require.Equal(t, state.Pending, again.Pending)

			tac := k.prove(c.scripts[profilePBOC], grant.Seq+1) // before INITIALIZE FOR LOAD makes the card forget it
			answer, sent := c.evidence(k, *state.Pending, wallet.IntentCancel)
			if row.state == wallet.StateLoaded {
				require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State, "the counter alone proves nothing over a restore")
				sent.Intent, sent.Grant = wallet.IntentSettle, &granted.Grant
				sent.Prove = tac
				answer = c.attempt(grant.Order, sent)
			}
			require.Equal(t, row.state, c.stateOf(answer).State)
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
		})
	}
}

// An order is voided and the next one loaded in the window that a restore loses. The
// first is open again and the counter has moved, but not by it: the customer who
// paid once must not be charged twice.
func TestPlatform_RestoreDoesNotChargeAVoidedOrderForTheNext(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, first := torn(w, c, k, virtualcard.Before)
	backup := w.backup()
	answer, _ := c.evidence(k, openOf(first), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
	granted, _ := c.order(k, 5000).init().granted()
	_, err := k.credit(granted)
	require.NoError(t, err)

	w.restore(backup)
	c.login()
	require.Len(t, c.session.OpenOrders, 1)
	answer, _ = c.evidence(k, c.session.OpenOrders[0], wallet.IntentSettle)
	require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State)
}

func TestPlatform_RestoreTakesTheTACOfALostOrder(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin)
	backup := w.backup()
	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)
	c.result(grant, nil, step)
	w.restore(backup)
	c.login()

	// A touch before the order is known again shows more than the books explain.
	c.order(k, 5000).init().refusedWith(api.CodeCardState)
	c.order(k, 5000).init().refusedWith(api.CodeCardState)
	request := api.ResultRequest{Attempt: 1, Steps: []wallet.StepResult{step}, Executed: 1, TAC: step.Data, BalanceAfter: 4999, Grant: &granted.Grant}
	require.Equal(t, wallet.StateGranted, c.stateOf(c.post("/v1/loads/"+grant.Order+"/result", w.newKey(), request)).State)
	request.BalanceAfter = 5000
	state := c.stateOf(c.post("/v1/loads/"+grant.Order+"/result", w.newKey(), request))
	require.Equal(t, wallet.StateLoaded, state.State)
	require.Equal(t, wallet.Fen(0), state.ReceiptBody.BalanceBefore)
	w.check()
	c.order(k, 5000).init().granted() // RECOVER has ended
}

func TestPlatform_RestoreShortfallIsAReceivable(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	backup := w.backup()
	granted, grant := c.order(k, 5000).init().granted()
	w.restore(backup)
	w.exec(`UPDATE postings SET amount = CASE WHEN amount > 0 THEN 2000 ELSE -2000 END`)
	c.login()
	state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Grant: &granted.Grant}))
	require.Equal(t, wallet.StateGranted, state.State)
	require.Equal(t, wallet.Fen(-3000), w.balance(accountRecovery))
	require.Zero(t, w.balance(mainAccount(c.session.User)))
	require.Equal(t, wallet.Fen(5000), w.check().HeldFen)
}

func TestPlatform_EveryRestoreIsItsOwnEpoch(t *testing.T) {
	w := newWorld(t)
	backup := w.backup()
	_, err := Restore(w.dir, backup)
	require.ErrorIs(t, err, ErrInUse)
	require.Equal(t, 2, w.restore(backup).Epoch)
	require.Equal(t, 3, w.restore(backup).Epoch)
	require.NoError(t, w.p.Close())
	require.NoError(t, os.Remove(filepath.Join(w.dir, fileDatabase)))
	report, err := Restore(w.dir, backup)
	require.NoError(t, err)
	require.Equal(t, 4, report.Epoch)
	w.open()
	require.Equal(t, "ok", w.check().AuditChain)
}

func TestPlatform_EveryLostLoadMustBeExplained(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin)
	backup := w.backup()
	type loaded struct {
		grant  wallet.Grant
		signed wallet.Signed
		step   wallet.StepResult
	}
	var lost []loaded
	for range 2 {
		granted, grant := c.order(k, 5000).init().granted()
		step, err := k.credit(granted)
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
		lost = append(lost, loaded{grant, granted.Grant, step})
	}
	w.restore(backup)
	c.login()
	for i, one := range lost {
		c.order(k, 5000).init().refusedWith(api.CodeCardState)
		request := api.ResultRequest{
			Attempt: 1, Steps: []wallet.StepResult{one.step}, Executed: 1, TAC: one.step.Data, BalanceAfter: wallet.Fen(5000 * (i + 1)), Grant: &one.signed,
		}
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+one.grant.Order+"/result", w.newKey(), request)).State)
		// Once more explains nothing more.
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+one.grant.Order+"/result", w.newKey(), request)).State)
	}
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
	c.order(k, 5000).init().granted()
	w.check()
}
