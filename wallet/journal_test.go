package wallet_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// TestStages_EveryPair states the table of stages a second time, in the order of
// the columns, and compares all pairs: x means that the column may follow the row.
func TestStages_EveryPair(t *testing.T) {
	stages := []wallet.Stage{
		wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting,
		wallet.StageCredited, wallet.StageConfirmed, wallet.StageAbandoned, wallet.StageDeclined, wallet.StageUnknown, wallet.StageVoided,
	}
	rows := map[wallet.Stage]string{
		//                       I O A G C C C A D U V
		"":                    "x . . . . . . . . x .",
		wallet.StageIntent:    "x x x . . . . x . . .",
		wallet.StageOpened:    "x . x . . . . x . . .",
		wallet.StageAsked:     "x . x x . . x x x x x",
		wallet.StageGranted:   ". . . x x . x . . x x",
		wallet.StageCrediting: ". . . x . x x . . x x",
		wallet.StageCredited:  ". . . x . . x . . x x",
		wallet.StageUnknown:   ". . . x . . x . . x x",
		wallet.StageConfirmed: ". . . . . . . . . . .",
		wallet.StageAbandoned: ". . . . . . . . . . .",
		wallet.StageDeclined:  ". . . . . . . . . . .",
		wallet.StageVoided:    ". . . . . . . . . . .",
	}
	require.Len(t, rows, len(stages)+1)
	for from, row := range rows {
		for i, to := range stages {
			want := row[2*i] == 'x'
			require.Equal(t, want, from.CanFollow(wallet.KindLoad, to), "%s → %s", from, to)
			require.Equal(t, want, wallet.CheckFollows(from, wallet.Entry{Stage: to}) == nil)
		}
		require.Equal(t, from != "" && row == ". . . . . . . . . . .", from.Final(), from)
	}
	// CREDIT is sent after CREDITING only, and nothing but CREDITING leads to CREDITED.
	for _, from := range stages {
		require.Equal(t, from == wallet.StageCrediting, from.CanFollow(wallet.KindLoad, wallet.StageCredited), from)
		require.Equal(t, from == wallet.StageGranted, from.CanFollow(wallet.KindLoad, wallet.StageCrediting), from)
	}
	// Where money may be, no client's word ends an order: only signed answers do.
	for _, from := range stages {
		if from.MayHaveMoney() && from != wallet.StageAsked {
			require.False(t, from.CanFollow(wallet.KindLoad, wallet.StageAbandoned), from)
			require.False(t, from.CanFollow(wallet.KindLoad, wallet.StageDeclined), from)
		}
	}
}

// TestPurchaseStages_EveryPair does the same for purchases, whose stages the rule of
// loads knows nothing of, and the other way round.
func TestPurchaseStages_EveryPair(t *testing.T) {
	stages := []wallet.Stage{
		wallet.StagePurchaseIntent, wallet.StageAsked, wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited, wallet.StageConfirmed,
		wallet.StageAbandoned, wallet.StageDeclined, wallet.StageDoubtful, wallet.StageNotTaken, wallet.StageRefunded,
	}
	rows := map[wallet.Stage]string{
		//                            P A A D D C A D D N R
		"":                         "x . x . . . . . . . .",
		wallet.StagePurchaseIntent: "x x . . . . x . . . .",
		wallet.StageAsked:          ". x x . . x x x x x x",
		wallet.StageAuthorised:     ". . x x . x . . x x x",
		wallet.StageDebiting:       ". . . x x x . . x x x",
		wallet.StageDebited:        ". . . . x x . . x x x",
		wallet.StageDoubtful:       ". . . . . x . . x x x",
		wallet.StageConfirmed:      ". . . . . . . . . . .",
		wallet.StageAbandoned:      ". . . . . . . . . . .",
		wallet.StageDeclined:       ". . . . . . . . . . .",
		wallet.StageNotTaken:       ". . . . . . . . . . .",
		wallet.StageRefunded:       ". . . . . . . . . . .",
	}
	require.Len(t, rows, len(stages)+1)
	shared := []wallet.Stage{wallet.StageAsked, wallet.StageConfirmed, wallet.StageAbandoned, wallet.StageDeclined}
	for from, row := range rows {
		for i, to := range stages {
			want := row[2*i] == 'x'
			require.Equal(t, want, from.CanFollow(wallet.KindPurchase, to), "%s → %s", from, to)
			require.Equal(t, want, wallet.CheckFollows(from, wallet.Entry{Kind: wallet.KindPurchase, Stage: to}) == nil)
			if !slices.Contains(shared, from) || !slices.Contains(shared, to) {
				require.False(t, from.CanFollow(wallet.KindLoad, to), "%s → %s in a load", from, to)
			}
		}
		require.Equal(t, from != "" && row == ". . . . . . . . . . .", from.Final(), from)
	}
	for _, load := range []wallet.Stage{
		wallet.StageIntent, wallet.StageOpened, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited, wallet.StageUnknown, wallet.StageVoided,
	} {
		for from := range rows {
			require.False(t, from.CanFollow(wallet.KindPurchase, load), "%s → %s in a purchase", from, load)
		}
	}
	require.True(t, wallet.StageIntent.CanFollow("", wallet.StageOpened), "entries without a kind are loads")
	require.False(t, wallet.StageAsked.CanFollow("gift", wallet.StageAsked), "an unknown kind goes nowhere")
	for _, from := range stages {
		require.Equal(t, from == wallet.StageDebiting || from == wallet.StageDebited, from.CanFollow(wallet.KindPurchase, wallet.StageDebited), from)
		if from.MayHaveMoney() && from != wallet.StageAsked {
			require.False(t, from.CanFollow(wallet.KindPurchase, wallet.StageAbandoned), from)
			require.False(t, from.CanFollow(wallet.KindPurchase, wallet.StageDeclined), from)
		}
	}
}

// Every pair of a funding's stages: asked first, and then one of three ends.
func TestFundingStages_EveryPair(t *testing.T) {
	stages := []wallet.Stage{wallet.StageAsked, wallet.StageConfirmed, wallet.StageDeclined, wallet.StageVoided}
	every := []wallet.Stage{
		wallet.StageIntent, wallet.StageOpened, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited, wallet.StageAbandoned,
		wallet.StageUnknown, wallet.StagePurchaseIntent, wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited,
		wallet.StageDoubtful, wallet.StageNotTaken, wallet.StageRefunded,
	}
	for _, from := range append([]wallet.Stage{""}, stages...) {
		for _, to := range stages {
			want := from == "" && to == wallet.StageAsked || from == wallet.StageAsked
			require.Equal(t, want, from.CanFollow(wallet.KindFunding, to), "%s → %s", from, to)
		}
		for _, other := range every {
			require.False(t, from.CanFollow(wallet.KindFunding, other), "%s → %s", from, other)
		}
	}
	for _, state := range wallet.FundingStates {
		stage, final := state.StageOf()
		require.Equal(t, state.Final(), final, state)
		require.Equal(t, final, stage.Final(), state)
	}
}

func TestJournalConformance(t *testing.T) {
	wallettest.JournalSuite(t, func(*testing.T) wallettest.KeptJournal { return &wallettest.Journal{} })
}

func TestJournalInMemory(t *testing.T) {
	journal := &wallettest.Journal{}
	write := func(stage wallet.Stage) error {
		return journal.Write(context.Background(), wallet.Entry{Key: "k", Stage: stage})
	}
	require.Error(t, write(wallet.StageCrediting))
	require.NoError(t, write(wallet.StageIntent))
	require.Error(t, write(wallet.StageCredited))
	require.Equal(t, wallet.StageIntent, journal.Entry("k").Stage)
	journal.Fail = func(wallet.Entry) error { return errDisk }
	require.ErrorIs(t, write(wallet.StageAsked), errDisk)
	require.Equal(t, []wallet.Stage{wallet.StageIntent}, journal.Stages())
}
