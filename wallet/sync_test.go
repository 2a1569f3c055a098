package wallet_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// torn runs a top-up that is cut at the given command and puts the card back.
func torn(t *testing.T, ins byte) *stage {
	t.Helper()
	s := newStage()
	s.chip.TearAfter = ins
	_, err := s.topUp()
	require.True(t, wallet.IsOpen(err))
	s.chip.Present()
	s.chip.Sent = nil
	return s
}

// ungranted runs a top-up whose answer is lost: the platform has granted, the
// card knows nothing.
func ungranted(t *testing.T) *stage {
	t.Helper()
	s := newStage()
	s.issuer.Lost = errNet
	_, err := s.topUp()
	require.True(t, wallet.IsOpen(err))
	s.issuer.Lost = nil
	s.chip.Present()
	s.chip.Sent = nil
	return s
}

func TestSync_LoadedIsShownByTheCard(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := torn(t, 0x52)
		var kept wallet.Entry
		if known {
			kept = s.journal.Entry("key-1")
		}
		out, err := s.sync(kept, wallet.IntentSettle)
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, out.State.State)
		require.Equal(t, wallet.StageConfirmed, out.Entry.Stage)
		require.Equal(t, []string{
			"00A4040009A0000000038698070100",
			"00B095001E",
			"805A0002020022" + "08",
			"805C000204",
			"805000020B0100001388500000000101" + "10",
		}, s.chip.Sent)
		key := "20260301-01"
		if known {
			key = "key-1"
		}
		require.Equal(t, wallet.StageConfirmed, s.journal.Entry(key).Stage)
		require.EqualValues(t, 6234, s.chip.Balance)
		require.NotNil(t, s.issuer.Evidence[0].Prove)
	}
}

func TestSync_NotLoaded(t *testing.T) {
	t.Run("settle moves nothing", func(t *testing.T) {
		s := ungranted(t)
		out, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		require.NoError(t, err)
		require.Equal(t, wallet.StateGranted, out.State.State)
		require.Equal(t, wallet.StageAsked, s.journal.Entry("key-1").Stage)
		require.Equal(t, 2, countINS(s.chip.Sent, "5A"), "number+1, then number after 9406")
		require.Nil(t, s.issuer.Evidence[0].Prove)
		require.Zero(t, s.credits())
	})
	t.Run("cancel", func(t *testing.T) {
		s := ungranted(t)
		_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentCancel)
		require.NoError(t, err)
		require.Equal(t, wallet.StageVoided, s.journal.Entry("key-1").Stage)
		require.Zero(t, s.credits())
	})
	for name, known := range map[string]bool{"complete": true, "complete on another computer": false} {
		t.Run(name, func(t *testing.T) {
			s := ungranted(t)
			key, kept := "20260301-01", wallet.Entry{}
			if known {
				key, kept = "key-1", s.journal.Entry("key-1")
			}
			out, err := s.sync(kept, wallet.IntentComplete)
			require.NoError(t, err)
			require.Len(t, out.TAC, 4)
			require.Equal(t, 2, out.Entry.Attempt)
			require.EqualValues(t, 1234, out.BalanceBefore)
			require.EqualValues(t, 6234, s.chip.Balance)
			require.Equal(t, wallet.StageCredited, s.journal.Entry(key).Stage)
			require.Equal(t, 1, s.credits())
			require.Equal(t, "500000000101", out.Entry.TID.String(), "the probe became the terminal number")
		})
	}
}

func TestSync_OtherCard(t *testing.T) {
	s := ungranted(t)
	copy(s.chip.Info[10:], otherASN[:])
	_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentComplete)
	require.ErrorIs(t, err, wallet.ErrOtherCard)
	require.True(t, wallet.IsOpen(err))
	require.Contains(t, err.Error(), testASN.Masked())
	require.NotContains(t, err.Error(), testASN.String())
	require.Empty(t, s.issuer.Evidence)
	require.Zero(t, countINS(s.chip.Sent, "50"))
}

func TestSync_CardThatCannotInitialize(t *testing.T) {
	refuse := func(s *stage) {
		s.chip.Hook = func(c []byte) ([]byte, error, bool) { return mustHex("9303"), nil, c[1] == 0x50 }
	}
	t.Run("proof alone", func(t *testing.T) {
		s := torn(t, 0x52)
		refuse(s)
		_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		require.NoError(t, err)
		require.Nil(t, s.issuer.Evidence[0].Steps)
		require.NotNil(t, s.issuer.Evidence[0].Prove)
		require.Equal(t, wallet.StageConfirmed, s.journal.Entry("key-1").Stage)
	})
	t.Run("nothing", func(t *testing.T) {
		s := ungranted(t)
		refuse(s)
		_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		require.Equal(t, wallet.CodeCardBlocked, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Empty(t, s.issuer.Evidence)
	})
}

func TestSync_CardWithoutProof(t *testing.T) {
	s := torn(t, 0x52)
	s.chip.Hook = func(c []byte) ([]byte, error, bool) { return mustHex("6D00"), nil, c[1] == 0x5A }
	_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
	require.NoError(t, err)
	require.Equal(t, 1, countINS(s.chip.Sent, "5A"), "the second number is asked for only after 9406")
	require.Equal(t, wallet.StageConfirmed, s.journal.Entry("key-1").Stage, "the counter has moved")
}

func TestSync_GrantThatNobodyAskedFor(t *testing.T) {
	for _, intent := range []wallet.Intent{wallet.IntentSettle, wallet.IntentCancel} {
		s := ungranted(t)
		granted := s.issuer.Sign(s.issuer.Orders["20260301-01"].Grant, []wallet.Step{{APDU: "805200000B202603150930450102030404"}})
		s.desk.Issuer = verdicts{wallet.Verdict{Granted: &granted}}
		_, err := s.sync(s.journal.Entry("key-1"), intent)
		require.Equal(t, wallet.CodeGrantForged, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Zero(t, s.credits())
	}
}

// Settling and cancelling never credit, not even by a grant in which every field is
// right: the person did not ask for it.
func TestSync_RightGrantThatNobodyAskedFor(t *testing.T) {
	for intent, credits := range map[wallet.Intent]int{wallet.IntentSettle: 0, wallet.IntentCancel: 0, wallet.IntentComplete: 1} {
		s := ungranted(t)
		s.desk.Issuer = regrant{s}
		_, err := s.sync(s.journal.Entry("key-1"), intent)
		require.Equal(t, credits, s.credits(), "%s: %v", intent, err)
	}
}

// The platform's word about another order says nothing about this one, whatever key
// it bears.
func TestSync_StateOfAnotherOrderSettlesNothing(t *testing.T) {
	for _, order := range []string{"20260301-02", ""} {
		for _, state := range []wallet.LoadState{wallet.StateLoaded, wallet.StateVoided} {
			s := ungranted(t)
			s.desk.Issuer = verdicts{wallet.Verdict{State: &wallet.OrderState{Order: order, Key: "key-1", State: state}}}
			_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
			require.Equal(t, wallet.CodeOutcomeUnknown, wallet.CodeOf(err))
			require.True(t, wallet.IsOpen(err))
			require.True(t, s.journal.Entry("key-1").Stage.MayHaveMoney())
		}
	}
}

// A platform that grants an order anew although the card's counter has moved
// would load twice. The counter is the card's word, and the guard takes it.
func TestSync_NoSecondCreditAfterAnAdvancedCounter(t *testing.T) {
	s := torn(t, 0x52)
	s.desk.Issuer = regrant{s}
	_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentComplete)
	require.Equal(t, wallet.CodeGrantForged, wallet.CodeOf(err))
	require.Zero(t, s.credits())
	require.EqualValues(t, 6234, s.chip.Balance)
}

// regrant grants whatever the evidence says, with every field right.
type regrant struct{ s *stage }

func (r regrant) RequestLoad(ctx context.Context, ask wallet.LoadAsk) (wallet.Verdict, error) {
	return r.s.issuer.RequestLoad(ctx, ask)
}

func (r regrant) Settle(ctx context.Context, evidence wallet.Evidence) (wallet.Verdict, error) {
	init := must(wallet.ParseLoadInit(evidence.Steps[len(evidence.Steps)-1].Data))
	grant := r.s.issuer.Orders[evidence.Order.Order].Grant
	grant.Attempt, grant.TID, grant.Seq = 2, evidence.Order.ProbeTID, init.Seq
	grant.ProbeTID = wallet.TerminalNumber{9, 9}
	at := mustHex("20260315093045")
	initData := append([]byte{1, 0, 0, 0x13, 0x88}, grant.TID[:]...)
	credit := wallet.Command{CLA: 0x80, INS: 0x52, Data: append(at, wallettest.MAC2(init.Raw, initData, at)...), Le: 4}
	granted := r.s.issuer.Sign(grant, []wallet.Step{{APDU: wallet.Hex(credit.Bytes()).String()}})
	return wallet.Verdict{Granted: &granted}, nil
}

func TestSync_NetworkLost(t *testing.T) {
	s := torn(t, 0x52)
	s.issuer.Lost = errNet
	_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
	require.True(t, wallet.IsOpen(err))
	require.ErrorIs(t, err, errNet)
	require.Equal(t, wallet.StageUnknown, s.journal.Entry("key-1").Stage)

	s.issuer.Lost = nil
	s.chip.Present()
	_, err = s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
	require.NoError(t, err, "repeating settles")
	require.Equal(t, wallet.StageConfirmed, s.journal.Entry("key-1").Stage)
}

func TestSync_Receipt(t *testing.T) {
	tests := []struct {
		name   string
		change func(*wallet.Receipt)
		open   bool
	}{
		{"right", func(*wallet.Receipt) {}, false},
		{"other fee", func(r *wallet.Receipt) { r.Fee = 100 }, true},
		{"other source", func(r *wallet.Receipt) { r.Source = "bank:1" }, true},
		{"other amount", func(r *wallet.Receipt) { r.Amount++ }, true},
		{"other card", func(r *wallet.Receipt) { r.ASN = otherASN }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := torn(t, 0x52)
			receipt := wallet.Receipt{Order: "20260301-01", ASN: testASN, Amount: 5000, Source: "main", BalanceBefore: 1234, BalanceAfter: 6234, TAC: wallet.Hex{1, 2, 3, 4}}
			tt.change(&receipt)
			s.desk.Issuer = verdicts{wallet.Verdict{State: &wallet.OrderState{Order: "20260301-01", State: wallet.StateLoaded, ReceiptBody: &receipt}}}
			_, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
			require.Equal(t, tt.open, wallet.IsOpen(err))
			require.Equal(t, tt.open, s.journal.Entry("key-1").Stage != wallet.StageConfirmed)
		})
	}
}
