package wallet_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

func TestRun_StoppingBeforeTheMoneyCommandSaysSo(t *testing.T) {
	t.Run("load", func(t *testing.T) {
		s := newStage()
		ctx, cancel := context.WithCancel(context.Background())
		s.desk.Progress = func(p wallet.Progress) {
			if p.Stage == wallet.StageGranted {
				cancel()
			}
		}
		_, err := s.desk.TopUp(ctx, s.order, s.profile, wallettest.OpenScript(s.profile), leasedTID)
		require.Equal(t, wallet.CodeCancelled, wallet.CodeOf(err), "not a trouble of the journal")
		require.True(t, wallet.IsOpen(err))
		require.Equal(t, wallet.StageGranted, s.journal.Entry("key-1").Stage)
		require.Zero(t, s.credits())
	})
	t.Run("purchase", func(t *testing.T) {
		s := newTill()
		ctx, cancel := context.WithCancel(context.Background())
		s.desk.Progress = func(p wallet.Progress) {
			if p.Stage == wallet.StageAuthorised {
				cancel()
			}
		}
		_, err := s.desk.Pay(ctx, s.payment, s.profile, wallettest.OpenPurchaseScript(s.profile), leasedTID)
		require.Equal(t, wallet.CodeCancelled, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Equal(t, wallet.StageAuthorised, s.entry().Stage)
		require.Zero(t, s.debits())
	})
}

func TestRun_AnEndThatIsNotOnDiskIsAWarning(t *testing.T) {
	t.Run("load", func(t *testing.T) {
		s := torn(t, 0x52)
		s.journal.Fail = failAt(wallet.StageConfirmed)
		out, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, out.State.State)
		require.Equal(t, wallet.CodeJournalFailed, out.Warning)
		require.False(t, out.Entry.Stage.Final(), "the journal meets the same answer again")
	})
	t.Run("purchase", func(t *testing.T) {
		s := tornPurchase(t, 0x54)
		s.journal.Fail = failAt(wallet.StageConfirmed)
		out, err := s.settle(s.entry())
		require.NoError(t, err)
		require.Equal(t, wallet.PurchasePaid, out.Purchase.State)
		require.Equal(t, wallet.CodeJournalFailed, out.Warning)
		require.False(t, out.Entry.Stage.Final())
	})
}

func TestRun_TheProbeDoesNotRewriteTheAttemptThatIsSettled(t *testing.T) {
	for name, known := range map[string]bool{"begun here": true, "met here first": false} {
		t.Run(name, func(t *testing.T) {
			s := torn(t, 0x52)
			before := s.journal.Entry("key-1")
			var kept wallet.Entry
			if known {
				kept = before
			}
			s.issuer.Lost = errNet // the platform's answer must not be what fills the entry
			out, err := s.sync(kept, wallet.IntentSettle)
			require.True(t, wallet.IsOpen(err))
			if known {
				require.Equal(t, before.Seq, out.Entry.Seq)
				require.Equal(t, before.BalanceBefore, out.Entry.BalanceBefore)
				return
			}
			require.Equal(t, s.chip.Seq, out.Entry.Seq)
			require.EqualValues(t, 6234, out.Entry.BalanceBefore)
		})
	}
}

// A proof that was given before the card left is not sent alone: only a card that is
// here and refuses lets its proof speak for it.
func TestRun_ACardThatLeftWhileItProvedProvesNothing(t *testing.T) {
	t.Run("load", func(t *testing.T) {
		s := torn(t, 0x52)
		s.chip.TearAfter = 0x50
		_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Empty(t, s.issuer.Evidence)
	})
	t.Run("purchase", func(t *testing.T) {
		s := tornPurchase(t, 0x54)
		s.chip.TearAfter = 0x50
		_, err := s.settle(s.entry())
		require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Empty(t, s.cashier.Evidence)
	})
}
