package diag

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets/lang"
	"walletcompanion/wallet"
)

// change edits the trace of the torn top-up.
func change(t *testing.T, pairs ...string) []Line {
	t.Helper()
	text := tornTrace
	for i := 0; i+1 < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	lines, skipped, err := ParseTrace([]byte(text))
	require.NoError(t, err)
	require.Zero(t, skipped)
	return lines
}

// journalOf is the journal of the torn top-up up to a stage.
func journalOf(last wallet.Stage) []JournalLine {
	var journal []JournalLine
	for i, stage := range []wallet.Stage{wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageUnknown} {
		journal = append(journal, JournalLine{At: noon, Key: "key-1", Order: "20260315-01", Kind: wallet.KindLoad, Stage: stage, AmountFen: 5000, Counter: uint16(i)})
		if stage == last {
			return journal
		}
	}
	return append(journal, JournalLine{At: noon, Key: "key-1", Order: "20260315-01", Kind: wallet.KindLoad, Stage: last, AmountFen: 5000})
}

const (
	lostCredit = `"trouble":"card-gone","tookUS":162`
)

// TestStoryNamesTheBreak has a line for every point at which a load can break.
func TestStoryNamesTheBreak(t *testing.T) {
	const creditLine = `{"at":"2026-03-15T04:00:01.6Z","run":"aa","n":9,"op":"topup-1","kind":"card","reader":"R","command":"805200000B20260315120001********04","trouble":"card-gone","tookUS":162}` + "\n"
	const askLine = `{"at":"2026-03-15T04:00:01.5Z","run":"aa","n":8,"op":"topup-1","kind":"request","tookUS":48574,"method":"POST","route":"/v1/loads","status":200,"sent":673,"received":845,"subject":"key-1"}` + "\n"
	for _, test := range []struct {
		name  string
		stage wallet.Stage // "" for a bare trace
		trace []Line
		broke Break
		open  bool
		doubt bool
		next  string
	}{
		{"torn in CREDIT", wallet.StageUnknown, change(t), BreakWriteTorn, true, true, "explain.next.touch.load"},
		{"torn in CREDIT, trace alone", "", change(t), BreakWriteTorn, true, true, "explain.next.touch.load"},
		{"killed before CREDIT's answer", wallet.StageCrediting, change(t, creditLine, ""), BreakWriteUnsure, true, true, "explain.next.touch.load"},
		{"proof not on disk", wallet.StageCrediting, change(t, lostCredit, `"answer":"C1C2C3C4","sw":"9000"`), BreakProofUnkept, true, false, "explain.next.touch.load"},
		{"result not acknowledged", wallet.StageCredited, change(t, lostCredit, `"answer":"C1C2C3C4","sw":"9000"`), BreakUnreported, true, false, "explain.next.online"},
		{"MAC wrong", wallet.StageUnknown, change(t, lostCredit, `"sw":"9302"`), BreakWriteRefused, true, false, "explain.next.touch.load"},
		{"memory fault", wallet.StageUnknown, change(t, lostCredit, `"sw":"6581"`), BreakWriteFault, true, true, "explain.next.touch.load"},
		{"granted, not written", wallet.StageGranted, change(t, creditLine, ""), BreakBeforeWrite, true, false, "explain.next.touch.load"},
		{"answer lost", wallet.StageAsked, change(t, creditLine, "", `"status":200,"sent":673,"received":845`, `"code":"NETWORK"`), BreakRequestLost, true, true, "explain.next.touch.load"},
		{"answer lost, trace alone", "", change(t, creditLine, "", `"status":200,"sent":673,"received":845`, `"code":"NETWORK"`), BreakRequestLost, true, true, "explain.next.touch.load"},
		{"killed before the request", wallet.StageAsked, change(t, creditLine, "", askLine, ""), BreakRequestUnsure, true, true, "explain.next.touch.load"},
		{"answer forged", wallet.StageUnknown, change(t, creditLine, ""), BreakAnswer, true, false, "explain.next.touch.load"},
		{"refused", wallet.StageDeclined, change(t, creditLine, "", `"status":200`, `"status":403`), BreakRefused, false, false, "explain.next.again"},
		{"nobody asked", wallet.StageOpened, change(t, creditLine, "", askLine, ""), BreakBeforeAsking, true, false, "explain.next.startAgain"},
		{"torn, settled since", wallet.StageConfirmed, change(t), BreakWriteTorn, false, false, "explain.next.settled"},
		{"went well", wallet.StageConfirmed, change(t, lostCredit, `"answer":"C1C2C3C4","sw":"9000"`), BreakNone, false, false, "explain.next.settled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read := &Case{Trace: test.trace}
			if test.stage != "" {
				read.Journal = journalOf(test.stage)
			}
			stories := read.Stories()
			require.Len(t, stories, 1)
			story := stories[0]
			require.Equal(t, test.broke, story.Broke)
			require.Equal(t, test.open, story.Open)
			require.Equal(t, test.doubt, len(story.Doubt) > 0)
			require.Equal(t, test.next, story.Next[0].Key)
			require.Equal(t, "20260315-01", story.Order)
			require.Equal(t, wallet.Fen(5000), story.AmountFen)
			texts := lang.Texts(lang.English)
			for _, sentence := range append(append(story.Known, story.Doubt...), story.Next...) {
				require.True(t, texts.Has(sentence.Key), sentence.Key)
			}
			for _, step := range story.Steps {
				require.True(t, texts.Has(step.Text.Key), step.Text.Key)
			}
		})
	}
}

// TestStoryOfALaterTouch: the counter that the card showed later says what the torn
// command did.
func TestStoryOfALaterTouch(t *testing.T) {
	touch := func(counter string) []Line {
		more, _, err := ParseTrace([]byte(`{"at":"2026-03-15T05:00:00Z","run":"bb","n":1,"op":"sync-1","kind":"card","command":"805A000202000308","sw":"9406"}
{"at":"2026-03-15T05:00:01Z","run":"bb","n":2,"op":"sync-1","kind":"card","command":"805000020B0100001388C11132F31F4210","answer":"00001B58` + counter + `0100DD563F2614BB914E","sw":"9000"}
{"at":"2026-03-15T05:00:02Z","run":"bb","n":3,"op":"sync-1","kind":"request","method":"POST","route":"/v1/loads/{id}/attempts","status":200,"subject":"20260315-01"}
`))
		require.NoError(t, err)
		return append(change(t), more...)
	}
	for counter, want := range map[string]string{"0003": "explain.known.later.same", "0004": "explain.known.later.moved"} {
		read := &Case{Trace: touch(counter), Journal: journalOf(wallet.StageUnknown)}
		stories := read.Stories()
		require.Len(t, stories, 1)
		require.Equal(t, BreakWriteTorn, stories[0].Broke)
		require.Empty(t, stories[0].Doubt, "the touch has answered it")
		var keys []string
		for _, sentence := range stories[0].Known {
			keys = append(keys, sentence.Key)
		}
		require.Contains(t, keys, want)
		require.Contains(t, keys, "explain.known.noProof")
	}
}

// TestStoryOfAKilledProgram: an operation without an end says so.
func TestStoryOfAKilledProgram(t *testing.T) {
	lines := change(t)
	story := (&Case{Trace: lines[:len(lines)-2], Journal: journalOf(wallet.StageCrediting)}).Stories()[0]
	last := story.Steps[len(story.Steps)-1]
	require.Equal(t, "explain.step.silent", last.Text.Key)
	require.True(t, last.Broke)
	journal := journalOf(wallet.StageCrediting)
	for i := range journal { // written after the last line of the trace
		journal[i].At = lines[7].At.Add(time.Duration(i) * time.Millisecond)
	}
	story = (&Case{Trace: lines[:len(lines)-2], Journal: journal}).Stories()[0]
	require.Equal(t, last.Text.Key, story.Steps[len(story.Steps)-1].Text.Key)
}

// TestEverySentenceHasItsText: explain shows no key, whatever the break or the stage.
func TestEverySentenceHasItsText(t *testing.T) {
	for _, name := range []string{lang.English, lang.Chinese} {
		texts := lang.Texts(name)
		for _, broke := range []Break{BreakNone, BreakBeforeAsking, BreakRequestLost, BreakRequestUnsure, BreakRefused, BreakAnswer, BreakBeforeWrite,
			BreakWriteUnsure, BreakWriteTorn, BreakWriteRefused, BreakWriteFault, BreakProofUnkept, BreakUnreported} {
			require.True(t, texts.Has("explain.broke."+string(broke)), "%s in %s", broke, name)
		}
		for _, stage := range []wallet.Stage{wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited,
			wallet.StageConfirmed, wallet.StageAbandoned, wallet.StageDeclined, wallet.StageUnknown, wallet.StageVoided, wallet.StagePurchaseIntent,
			wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited, wallet.StageDoubtful, wallet.StageNotTaken, wallet.StageRefunded} {
			require.True(t, texts.Has("explain.state."+string(stage)), "%s in %s", stage, name)
			require.True(t, texts.Has("explain.noted."+string(stage)), "%s in %s", stage, name)
		}
		for sw := 0x6200; sw <= 0x9FFF; sw++ { // card dossier §1.7
			meaning := wallet.SW(sw).Meaning()
			if sw>>8 != 0x61 && sw>>8 != 0x6C && sw>>4 != 0x63C && meaning != "unknown status" {
				require.True(t, texts.Has("explain.sw."+wallet.SW(sw).String()), "%04X, %s, in %s", sw, meaning, name)
			}
		}
		for _, key := range []string{"killed", "hidden", "unmatched", "skipped", "platform", "refusal", "policy", "disk", "signature", "earlier"} {
			require.True(t, texts.Has("explain.limit."+key), "%s in %s", key, name)
		}
	}
}
