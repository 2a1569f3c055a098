package wallettest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
)

// KeptJournal is a journal that also tells what it holds, which the suite needs.
type KeptJournal interface {
	wallet.Journal
	// Latest returns the last entry of a key; false where there is none.
	Latest(ctx context.Context, key string) (wallet.Entry, bool, error)
}

// JournalSuite is the one conformance suite for implementations of wallet.Journal.
// open gives an empty journal; the suite does not close it. That entries survive a
// power cut is tested by each implementation that claims it.
func JournalSuite(t *testing.T, open func(t *testing.T) KeptJournal) {
	cases := []struct {
		name string
		run  func(t *testing.T, journal KeptJournal)
	}{
		{"whole entries", journalKeepsWholeEntries},
		{"every pair of stages", journalObeysTheTable},
		{"keys do not mix", journalKeepsKeysApart},
		{"ended context", journalHonoursContext},
		{"one CREDITING of many at once", journalAllowsOneCrediting},
		{"entries belong to the journal", journalCopies},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
	t.Run("any sequence of writes", func(t *testing.T) { journalFollowsAModel(t, open(t)) })
}

// kindStages are all stages of each kind of order.
var kindStages = map[string][]wallet.Stage{
	wallet.KindLoad: loadStages,
	wallet.KindPurchase: {
		wallet.StagePurchaseIntent, wallet.StageAsked, wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited, wallet.StageConfirmed,
		wallet.StageAbandoned, wallet.StageDeclined, wallet.StageDoubtful, wallet.StageNotTaken, wallet.StageRefunded,
	},
	wallet.KindFunding: {wallet.StageAsked, wallet.StageConfirmed, wallet.StageDeclined, wallet.StageVoided},
}

var loadStages = []wallet.Stage{
	wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited,
	wallet.StageConfirmed, wallet.StageAbandoned, wallet.StageDeclined, wallet.StageUnknown, wallet.StageVoided,
}

// journalEntry is an entry with every field that a load can have.
func journalEntry(key string, stage wallet.Stage) wallet.Entry {
	return wallet.Entry{
		Key: key, Order: "260315-01-000001", Stage: stage, ASN: wallet.ASN{0, 1, 0x31, 9: 0x34}, Amount: 5000, Fee: 10, Source: "main", Attempt: 2,
		TID: wallet.TerminalNumber{1, 2, 3, 4, 5, 6}, ProbeTID: wallet.TerminalNumber{6, 5, 4, 3, 2, 1}, Seq: 0xFFEF, Epoch: 3,
		BalanceBefore: 1234, BalanceAfter: 6234, TAC: wallet.Hex{0xA5, 0xC7, 0xEA, 0x2B},
		Grant:    &wallet.Signed{Payload: []byte(`{"order":"N"}`), Sig: []byte{1, 2, 3}, KID: "0011223344556677"},
		Executed: 1, Steps: []wallet.StepResult{{SW: wallet.Hex{0x90, 0x00}, Data: wallet.Hex{0xA5, 0xC7, 0xEA, 0x2B}}},
		Note: "NOTE", At: time.Date(2026, 3, 15, 1, 30, 45, 123456789, time.UTC),
	}
}

// kindEntry is an entry of a load or of a purchase.
func kindEntry(kind, key string, stage wallet.Stage) wallet.Entry {
	entry := journalEntry(key, stage)
	if kind == wallet.KindPurchase {
		entry.Kind, entry.Fee, entry.Source, entry.Attempt = kind, 0, "", 0
		entry.MerchantOrder, entry.Merchant, entry.Goods, entry.TerminalSerial = "M1", "Tea House", "tea", 7
		entry.MAC2, entry.Unload = wallet.Hex{1, 2, 3, 4}, true
	}
	if kind == wallet.KindFunding {
		entry = wallet.Entry{
			Kind: kind, Key: key, Order: entry.Order, Stage: stage, Amount: entry.Amount, Source: "voucher:000000000000000001",
			Epoch: entry.Epoch, Note: entry.Note, At: entry.At,
		}
	}
	return entry
}

// wayTo is a shortest sequence of stages that the table allows, ending with stage.
func wayTo(kind string, stage wallet.Stage) []wallet.Stage {
	ways := map[wallet.Stage][]wallet.Stage{"": nil}
	for queue := []wallet.Stage{""}; len(queue) > 0; queue = queue[1:] {
		for _, next := range kindStages[kind] {
			if _, seen := ways[next]; !seen && wallet.CheckFollows(queue[0], wallet.Entry{Kind: kind, Stage: next}) == nil {
				ways[next] = append(append([]wallet.Stage(nil), ways[queue[0]]...), next)
				queue = append(queue, next)
			}
		}
	}
	return ways[stage]
}

func writeStages(t *testing.T, journal wallet.Journal, key string, stages ...wallet.Stage) {
	t.Helper()
	for _, stage := range stages {
		require.NoError(t, journal.Write(t.Context(), journalEntry(key, stage)), stage)
	}
}

func journalKeepsWholeEntries(t *testing.T, journal KeptJournal) {
	_, found, err := journal.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, found)
	for kind, last := range map[string]wallet.Stage{wallet.KindLoad: wallet.StageCredited, wallet.KindPurchase: wallet.StageDebited,
		wallet.KindFunding: wallet.StageConfirmed} {
		for _, stage := range wayTo(kind, last) {
			require.NoError(t, journal.Write(t.Context(), kindEntry(kind, kind, stage)))
			entry, found, err := journal.Latest(t.Context(), kind)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, kindEntry(kind, kind, stage), entry)
		}
	}
}

// journalObeysTheTable brings a key to each stage and tries every stage after it.
func journalObeysTheTable(t *testing.T, journal KeptJournal) {
	for kind, stages := range kindStages {
		tried := 0
		for _, from := range append([]wallet.Stage{""}, stages...) {
			way := wayTo(kind, from)
			require.True(t, from == "" || len(way) > 0, "%s cannot be reached in a %s", from, kind)
			for _, to := range stages {
				tryStage(t, journal, kind, way, from, to)
				tried++
			}
		}
		require.Equal(t, (len(stages)+1)*len(stages), tried)
	}
}

// tryStage brings a key of its own to a stage and writes another one.
func tryStage(t *testing.T, journal KeptJournal, kind string, way []wallet.Stage, from, to wallet.Stage) {
	t.Helper()
	key := kind + " " + string(from+">"+to)
	for _, stage := range way {
		require.NoError(t, journal.Write(t.Context(), kindEntry(kind, key, stage)))
	}
	entry := kindEntry(kind, key, to)
	want := wallet.CheckFollows(from, entry)
	err := journal.Write(t.Context(), entry)
	require.Equal(t, want == nil, err == nil, "%s then %s in a %s: %v", from, to, kind, err)
	last, found, err := journal.Latest(t.Context(), key)
	require.NoError(t, err)
	if want == nil {
		require.Equal(t, to, last.Stage)
		return
	}
	require.Equal(t, from, last.Stage, "a refused entry was stored")
	require.Equal(t, from != "", found)
}

func journalKeepsKeysApart(t *testing.T, journal KeptJournal) {
	writeStages(t, journal, "a", wallet.StageIntent, wallet.StageAsked)
	writeStages(t, journal, "b", wallet.StageIntent)
	require.Error(t, journal.Write(t.Context(), journalEntry("b", wallet.StageGranted)))
	a, _, err := journal.Latest(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, journalEntry("a", wallet.StageAsked), a)
}

func journalHonoursContext(t *testing.T, journal KeptJournal) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, journal.Write(ended, journalEntry("k", wallet.StageIntent)))
	_, found, err := journal.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, found, "an error before anything was written leaves nothing")
}

// journalAllowsOneCrediting lets several writers try to begin the one CREDIT of a
// grant: more than one success would be more than one CREDIT.
func journalAllowsOneCrediting(t *testing.T, journal KeptJournal) {
	writeStages(t, journal, "k", wayTo(wallet.KindLoad, wallet.StageGranted)...)
	const writers = 8
	var group sync.WaitGroup
	failures := make(chan error, writers)
	for range writers {
		group.Go(func() { failures <- journal.Write(t.Context(), journalEntry("k", wallet.StageCrediting)) })
	}
	group.Wait()
	close(failures)
	succeeded := 0
	for err := range failures {
		if err == nil {
			succeeded++
		}
	}
	require.Equal(t, 1, succeeded)
}

// journalCopies changes an entry after it was written: what is kept stays.
func journalCopies(t *testing.T, journal KeptJournal) {
	entry := journalEntry("k", wallet.StageIntent)
	require.NoError(t, journal.Write(t.Context(), entry))
	entry.TAC[0], entry.Steps[0].SW[0], entry.Grant.KID = 0xFF, 0xFF, "changed"
	kept, _, err := journal.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, journalEntry("k", wallet.StageIntent), kept)
}

// journalFollowsAModel writes at random and compares with the rule alone.
func journalFollowsAModel(t *testing.T, journal KeptJournal) {
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		model := map[string]wallet.Stage{}
		for _, key := range rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y"}), 1, 12).Draw(r, "keys") {
			stage := rapid.SampledFrom(loadStages).Draw(r, "stage")
			entry := journalEntry(key+time.Duration(round).String(), stage)
			want := wallet.CheckFollows(model[key], entry)
			if got := journal.Write(context.Background(), entry); (got == nil) != (want == nil) {
				r.Fatalf("%s after %q: %v, the rule says %v", stage, model[key], got, want)
			}
			if want == nil {
				model[key] = stage
			}
			last, _, err := journal.Latest(context.Background(), entry.Key)
			if err != nil || last.Stage != model[key] {
				r.Fatalf("the journal holds %q (%v) instead of %q", last.Stage, err, model[key])
			}
		}
	})
}
