package sim

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

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
