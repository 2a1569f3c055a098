package sim

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// scenario is a world without weather: one person, one standard card, two computers.
func scenario(t *testing.T, play func(t *testing.T, w *world, c *computer, k *chip)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		w.mayRestore, w.luck = true, rand.New(rand.NewPCG(1, 1))
		defer w.close()
		defer func() {
			if trouble := recover(); trouble != nil {
				if broken, is := trouble.(violation); is {
					t.Error(broken)
					return
				}
				panic(trouble)
			}
		}()
		w.policy = mockplatform.DefaultPolicy()
		w.policy.Limits = api.Limits{PurseCap: 50_000_00, LoadMin: 1, LoadMax: 2_000_00}
		w.bank = &bankLine{w: w}
		w.openBank()
		w.openPlatform()
		p := &person{name: "A", phone: "13800000000", paid: 1_000_00}
		w.addPerson(p)
		k := w.addChip(p, virtualcard.Standard)
		w.profile = w.platform.Profile()
		w.profile.URL = "https://platform.test"
		for i := range 2 {
			w.computers = append(w.computers, newComputer(w, i, p))
			w.login(w.computers[i])
		}
		c := w.computers[0]
		c.place(k)
		play(t, w, c, k)
		w.settleAll()
	})
}

// tornTopUp leaves an order open: the card left before or after it executed CREDIT.
func (w *world) tornTopUp(c *computer, when virtualcard.TearWhen) {
	c.place(c.card)
	c.card.TearAt(virtualcard.Tear{INS: insCredit, When: when})
	w.topUp(c)
	c.place(c.card)
}

// goBack restores the newest backup and logs everybody in again.
func (w *world) goBack() {
	w.restores = 0
	w.backups = w.backups[:1]
	w.restore(nil)
	for _, c := range w.computers {
		w.note(c.core.Logout(ctx()))
		w.login(c)
	}
}

// A backup that is made after a restore says nothing about what the restore lost.
func TestScenario_NewBackupHidesNoLostLoad(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.backup(c)
		w.topUp(c)
		require.Len(t, k.credits, 1)
		w.goBack()
		w.timePasses(c)
		w.backup(c) // its watermark lies behind the load
	})
}

// A load that was proven by a touch comes back after a restore, too: its TAC stood in
// no answer of CREDIT, but in the receipt.
func TestScenario_ProvenLoadIsSentAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.backup(c)
		w.tornTopUp(c, virtualcard.After)
		other := w.computers[1]
		other.place(k)
		w.sync(other, wallet.IntentSettle)
		w.sync(c, wallet.IntentSettle) // hears how it ended, without the card
		entries, err := c.store.Entries(ctx(), core.EntryFilter{OpenOnly: true})
		require.NoError(t, err)
		require.Empty(t, entries)
		w.goBack()
	})
}

// A result waits in the outbox for a load that a restore lost, behind a cancelled order
// that the same restore opened again. The card is asked about that one; its counter has
// moved on for the lost load, so that people decide, and then the result is taken.
func TestScenario_ResultWaitsBehindAReopenedOrder(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.tornTopUp(c, virtualcard.Before)
		w.backup(c)
		w.sync(c, wallet.IntentCancel)
		ask := core.TopUpAsk{
			Amount: 1000, PIN: c.pin, Confirm: func(context.Context, core.Confirmation) error { return nil }, Password: w.paymentPassword,
			Progress: func(p wallet.Progress) {
				if p.Stage == wallet.StageCrediting {
					w.downFor = 3 // the result does not leave
				}
			},
		}
		var err error
		w.wishes("topup", func() { _, err = c.core.TopUp(ctx(), ask) })
		require.NoError(t, err)
		require.Len(t, k.credits, 1)
		w.downFor = 0
		w.goBack()
		lines := w.sync(c, wallet.IntentCancel)
		require.NotEmpty(t, lines)
		require.Equal(t, wallet.StateSuspense, lines[0].To)
	})
}

// An order that was cancelled, and that a restore opened again, can be settled on the
// very computer whose journal has it closed, as often as that happens.
func TestScenario_ReopenedOrderIsSettledAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.tornTopUp(c, virtualcard.Before)
		w.backup(c)
		for range 3 {
			lines := w.sync(c, wallet.IntentCancel)
			require.Len(t, lines, 1)
			require.Equal(t, wallet.StateVoided, lines[0].To)
			w.goBack()
		}
		w.topUp(c) // refuses, because the earlier order is still open
		require.Empty(t, k.credits)
	})
}

// The same on a computer that met the order as another one's, and for completing it.
func TestScenario_ReopenedOrderIsCompletedElsewhere(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.tornTopUp(c, virtualcard.Before)
		w.backup(c)
		other := w.computers[1]
		other.place(k)
		require.Len(t, w.sync(other, wallet.IntentCancel), 1)
		w.goBack()
		lines := w.sync(other, wallet.IntentComplete)
		require.Len(t, lines, 1)
		require.Equal(t, wallet.StateLoaded, lines[0].To)
		require.Len(t, k.credits, 1)
	})
}

// tornPayment leaves a purchase open: the card left before or after its debit.
func (w *world) tornPayment(c *computer, when virtualcard.TearWhen) {
	c.place(c.card)
	c.card.TearAt(virtualcard.Tear{INS: insDebit, When: when})
	w.payment(c)
	c.place(c.card)
}

// payment pays a new order of 10.00.
func (w *world) payment(c *computer) {
	var result core.PayResult
	var err error
	w.wishes("pay", func() {
		result, err = c.core.Pay(ctx(), core.PayAsk{OrderCode: w.shop.order(1000), PIN: c.pin, Confirm: w.agrees})
	})
	w.paid("purchase", result, err)
}

// states counts the purchases in a state.
func (w *world) states(state wallet.PurchaseStateName) (count int) {
	for _, o := range w.readBooks().purchases {
		if o.state == state {
			count++
		}
	}
	return count
}

// A purchase that was found not taken, and that a restore opened again, can be settled
// on the very computer whose journal has it closed, as often as that happens.
func TestScenario_ReopenedPurchaseIsSettledAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.topUp(c)
		w.tornPayment(c, virtualcard.Before)
		w.backup(c)
		for range 3 {
			lines := w.sync(c, wallet.IntentSettle)
			require.Len(t, lines, 1)
			require.Equal(t, wallet.LoadState(wallet.PurchaseNotTaken), lines[0].To)
			w.goBack()
		}
		require.Empty(t, k.debits)
	})
}

// The same where another computer settled it, and where it was paid.
func TestScenario_ReopenedPurchaseIsPaidAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.topUp(c)
		w.tornPayment(c, virtualcard.After)
		w.backup(c)
		other := w.computers[1]
		other.place(k)
		require.Len(t, w.sync(other, wallet.IntentSettle), 1)
		w.goBack()
		lines := w.sync(other, wallet.IntentSettle)
		require.Len(t, lines, 1)
		require.Equal(t, wallet.LoadState(wallet.PurchasePaid), lines[0].To)
	})
}

// A purchase that a touch proved comes back after a restore with TAC and MAC2, although
// the card has done other things since and proves it no more.
func TestScenario_ProvenPurchaseIsSentAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.topUp(c)
		w.backup(c)
		w.tornPayment(c, virtualcard.After)
		w.sync(c, wallet.IntentSettle)
		w.payment(c)
		require.Equal(t, 2, w.states(wallet.PurchasePaid))
		w.goBack()
		w.sync(c, wallet.IntentSettle)
		require.Equal(t, 2, w.states(wallet.PurchasePaid))
	})
}

// A refund that a restore lost comes back too: the money left the card for good.
func TestScenario_RefundIsSentAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world, c *computer, k *chip) {
		w.topUp(c)
		w.backup(c)
		w.tornPayment(c, virtualcard.After)
		time.Sleep(time.Hour) // the merchant waits no longer
		w.sync(c, wallet.IntentSettle)
		require.Equal(t, 1, w.states(wallet.PurchaseRefunded))
		w.payment(c)
		w.goBack()
		w.sync(c, wallet.IntentSettle)
		require.Equal(t, 1, w.states(wallet.PurchaseRefunded))
	})
}
