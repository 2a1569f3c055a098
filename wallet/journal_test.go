package wallet_test

import (
	"context"
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
			require.Equal(t, want, from.CanFollow(to), "%s → %s", from, to)
			require.Equal(t, want, wallet.CheckFollows(from, wallet.Entry{Stage: to}) == nil)
		}
		require.Equal(t, from != "" && row == ". . . . . . . . . . .", from.Final(), from)
	}
	// CREDIT is sent after CREDITING only, and nothing but CREDITING leads to CREDITED.
	for _, from := range stages {
		require.Equal(t, from == wallet.StageCrediting, from.CanFollow(wallet.StageCredited), from)
		require.Equal(t, from == wallet.StageGranted, from.CanFollow(wallet.StageCrediting), from)
	}
	// Where money may be, no client's word ends an order: only signed answers do.
	for _, from := range stages {
		if from.MayHaveMoney() && from != wallet.StageAsked {
			require.False(t, from.CanFollow(wallet.StageAbandoned), from)
			require.False(t, from.CanFollow(wallet.StageDeclined), from)
		}
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
