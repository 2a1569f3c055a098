package diag

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

var noon = time.Date(2026, 3, 15, 4, 0, 0, 0, time.UTC)

func lineOf(t testing.TB, line Line) string {
	t.Helper()
	raw, err := json.Marshal(line)
	require.NoError(t, err)
	return string(raw) + "\n"
}

func TestParseTrace(t *testing.T) {
	good := lineOf(t, Line{At: noon, Run: "r", N: 1, Kind: KindCard, Command: "805200000B20260315180102********04", SW: "9000", Answer: "C1C2C3C4"})
	for _, test := range []struct {
		name, text     string
		lines, skipped int
		fails          bool
	}{
		{"nothing", "", 0, 0, false},
		{"one line", good, 1, 0, false},
		{"the last line is cut short", good + good[:40], 1, 1, false},
		{"a field of a newer version", good + strings.Replace(good, `{`, `{"colour":"red",`, 1), 2, 0, false},
		{"text", "hello\nworld\n", 0, 2, true},
		{"mostly text", good + "a\nb\n", 0, 2, true},
		{"another kind", good + strings.Replace(good, `"card"`, `"music"`, 1), 1, 1, false},
		{"lower-case hex", good + strings.Replace(good, "C1C2", "c1c2", 1), 1, 1, false},
		{"half a byte", good + strings.Replace(good, "C1C2C3C4", "C1C2C3C", 1), 1, 1, false},
		{"a short command", good + strings.Replace(good, "805200000B20260315180102********04", "8052", 1), 1, 1, false},
		{"a long status", good + strings.Replace(good, `"9000"`, `"900000"`, 1), 1, 1, false},
		{"no time", good + strings.Replace(good, noon.Format(time.RFC3339Nano), "0001-01-01T00:00:00Z", 1), 1, 1, false},
		{"too large", strings.Repeat(" ", maxTraceBytes+1), 0, 0, true},
		{"too many lines", strings.Repeat("x\n", maxTraceLines+2), 0, 0, true},
		{"a line that is too long", good + strings.Replace(good, `"r"`, `"`+strings.Repeat("r", maxLineBytes)+`"`, 1), 1, 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines, skipped, err := ParseTrace([]byte(test.text))
			if test.fails {
				require.ErrorIs(t, err, ErrNoTrace)
				return
			}
			require.NoError(t, err)
			require.Len(t, lines, test.lines)
			require.Equal(t, test.skipped, skipped)
		})
	}
	lines, _, err := ParseTrace([]byte(lineOf(t, Line{At: noon, Kind: KindEnd, Code: "X\x1b[2J\u202e", Cause: strings.Repeat("字", 1000)})))
	require.NoError(t, err)
	require.NotContains(t, lines[0].Code, "\x1b")
	require.NotContains(t, lines[0].Code, "\u202e")
	require.LessOrEqual(t, len([]rune(lines[0].Cause)), maxTextRunes+1)
}

func TestRecorder(t *testing.T) {
	dir := t.TempDir()
	recorder := NewRecorder(dir)
	recorder.patience = time.Minute
	require.NoFileExists(t, filepath.Join(dir, TraceName), "nothing is made before the first line")
	recorder.Add(Line{Kind: KindRequest, Method: "GET", Route: "/v1/hello", Status: 200})
	end := recorder.Begin(core.OperationTopUp, Line{AmountFen: 5000})
	recorder.Add(CardLine(reader.Exchange{At: noon, Command: "805C000204", Answer: "000016FC", SW: 0x9000}))
	end(EndLine(core.Ending{Entry: wallet.Entry{Key: "k", Order: "o", Amount: 5000},
		Failure: &core.Failure{Code: "ORDER_OPEN", Order: &wallet.Entry{}, Err: errors.New("gone")}}))
	recorder.Add(Line{Kind: KindRequest, Method: "GET", Route: "/v1/account"})
	lines, skipped, err := ReadTrace(dir)
	require.NoError(t, err)
	require.Zero(t, skipped)
	require.Equal(t, recorder.Recent(), lines, "what is on disk is what was recorded, before Close")
	var ops []string
	for i, line := range lines {
		ops = append(ops, line.Op)
		require.Equal(t, i+1, line.N)
	}
	require.Equal(t, []string{"", "topup-1", "topup-1", "topup-1", ""}, ops)
	require.Equal(t, "ORDER_OPEN", lines[3].Code)
	require.Equal(t, core.ExitOpen, lines[3].Exit)
	info, err := os.Stat(filepath.Join(dir, TraceName))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	recorder.Close()
	recorder.Close()
	recorder.Add(Line{Kind: KindRequest})
	require.Equal(t, 1, recorder.Lost(), "a line after the end is lost, and nothing worse")
}

func TestRecorderMakesRoom(t *testing.T) {
	dir := t.TempDir()
	old := lineOf(t, Line{At: noon, Kind: KindRequest, Run: "before"})
	write := func(name, text string, at time.Time) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	record := func(at time.Time) []Line {
		recorder := NewRecorder(dir)
		recorder.patience = time.Minute
		recorder.now = func() time.Time { return at }
		recorder.Add(Line{Kind: KindRequest})
		recorder.Close()
		require.Zero(t, recorder.Lost())
		lines, _, err := ReadTrace(dir)
		require.NoError(t, err)
		return lines
	}
	day := 24 * time.Hour

	write(TraceName, old+strings.Repeat("x", maxTraceFile), noon)
	record(noon)
	require.FileExists(t, filepath.Join(dir, TraceOldName), "a full file makes room")
	raw, err := os.ReadFile(filepath.Join(dir, TraceName))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "before")

	require.NoError(t, os.Remove(filepath.Join(dir, TraceOldName)))
	write(TraceName, old, noon)
	require.Len(t, record(noon.Add(80*day)), 2)
	require.NoFileExists(t, filepath.Join(dir, TraceOldName))
	require.Len(t, record(noon.Add(91*day)), 3, "lines of 90 days are moved aside")
	require.FileExists(t, filepath.Join(dir, TraceOldName))
	write(TraceOldName, old, noon.Add(91*day))
	lines := record(noon.Add(182 * day))
	for _, line := range lines {
		require.NotEqual(t, "before", line.Run, "and gone after 180")
	}
}

// brokenFile is a trace on a disk that fails or hangs.
type brokenFile struct {
	err  error
	hang chan struct{}
}

func (f *brokenFile) Write(line []byte) (int, error) {
	if f.hang != nil {
		<-f.hang
	}
	return len(line), f.err
}
func (f *brokenFile) Stat() (fs.FileInfo, error) { return os.Stat(".") }
func (f *brokenFile) Close() error               { return nil }

// TestRecorderNeverFails: a disk that is full, gone or silent costs lines and nothing else.
func TestRecorderNeverFails(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		recorder := NewRecorder(t.TempDir())
		recorder.patience = time.Minute
		recorder.open = func(string) (traceFile, error) { return &brokenFile{err: errors.New("no space")}, nil }
		for range 10 {
			recorder.Add(Line{Kind: KindRequest})
		}
		recorder.Close()
		require.Equal(t, 10, recorder.Lost())
		require.Len(t, recorder.Recent(), 10, "memory still has them")
	})
	t.Run("no folder", func(t *testing.T) {
		recorder := NewRecorder(filepath.Join(t.TempDir(), "missing"))
		recorder.patience = time.Minute
		recorder.Add(Line{Kind: KindRequest})
		recorder.Close()
		require.Equal(t, 1, recorder.Lost())
	})
	t.Run("silent", func(t *testing.T) {
		hang := make(chan struct{})
		recorder := NewRecorder(t.TempDir())
		recorder.open = func(string) (traceFile, error) { return &brokenFile{hang: hang}, nil }
		for range queued + ringLines {
			recorder.Add(Line{Kind: KindRequest}) // would hang here for ever
		}
		require.Positive(t, recorder.Lost())
		recent := recorder.Recent()
		require.Len(t, recent, ringLines)
		require.Equal(t, queued+1, recent[0].N, "the ring holds the newest")
		recorder.Close() // does not wait for the disk either
		close(hang)
	})
}

func TestRecordersShareAFile(t *testing.T) {
	dir := t.TempDir()
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			recorder := NewRecorder(dir)
			recorder.patience = time.Minute
			defer recorder.Close()
			for range 50 {
				recorder.Add(Line{Kind: KindRequest, Cause: strings.Repeat("x", 300)})
			}
		})
	}
	writers.Wait()
	lines, skipped, err := ReadTrace(dir)
	require.NoError(t, err)
	require.Zero(t, skipped)
	require.Len(t, lines, 200)
}

// FuzzTrace looks for a trace that breaks the parser, the story or the replay's
// stand-in, or that brings control characters to a screen.
func FuzzTrace(f *testing.F) {
	f.Add([]byte(tornTrace))
	f.Add([]byte(`{"at":"2026-03-15T04:00:00Z","kind":"card","command":"80500002","sw":"9000"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		lines, _, err := ParseTrace(raw)
		if err != nil {
			return
		}
		read := &Case{Seal: SealNone, Trace: lines}
		for _, story := range read.Stories() {
			for _, step := range story.Steps {
				require.True(t, strings.HasPrefix(step.Text.Key, "explain."))
				for _, value := range step.Text.Data {
					if text, is := value.(string); is { // at most two texts of a line are joined
						require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
						require.LessOrEqual(t, len([]rune(text)), 2*(maxTextRunes+1)+1)
					}
				}
			}
		}
		if op := read.toReplay(); op != nil {
			stand := newStandIn(op)
			_ = stand.Session()
			_, _ = stand.TakeLease(t.Context())
			_, _ = stand.RequestLoad(t.Context(), wallet.LoadAsk{Steps: []wallet.StepResult{{Data: make([]byte, 16)}}})
			_, _ = stand.RequestPurchase(t.Context(), wallet.PurchaseAsk{Steps: []wallet.StepResult{{Data: make([]byte, 15)}}})
			session := &recordedSession{card: &recordedCard{lines: cardLines(op)}}
			for _, line := range cardLines(op) {
				_, _ = session.Transmit(t.Context(), commandBytes(line))
			}
		}
	})
}
