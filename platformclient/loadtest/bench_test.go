package loadtest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // whose own commits the platform's are measured beside

	"walletcompanion/platformclient/mockplatform"
)

// The sizes of the measurements.
var (
	openLoopLength   = time.Minute
	saturationLength = 6 * time.Second
	commitLength     = 2 * time.Second
	overloadLength   = 15 * time.Second
	overloadRate     = 75                    // orders a second: three times what slowCommit lets through
	slowCommit       = 20 * time.Millisecond // of each change, while overload is measured
	probeRate        = 5
)

const (
	openLoopRate  = 200
	openLoopWires = 200
	overloadWires = 1000
	probeBefore   = 4 * time.Second
	probeAfter    = 14 * time.Second
	probeCards    = 40
)

// benchLine prints one line of the table that `./dev bench` collects:
// measure|value|baseline|ratio or median|spread|aim.
func benchLine(cells ...any) {
	line := "bench: "
	for i, cell := range cells {
		if i > 0 {
			line += "|"
		}
		line += fmt.Sprint(cell)
	}
	fmt.Println(line)
}

// failed tells what did not complete.
func (t tally) failed() string {
	return fmt.Sprintf("%d refused as busy, %d without an answer in time, %d logged out, %d errors", t.refused, t.silent, t.loggedOut, len(t.errors))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// TestBench_Load measures one platform under load, one part after the other; each
// ends with an audit of the books against the chips. Generator and platform share
// the processors of this machine.
func TestBench_Load(t *testing.T) {
	if os.Getenv("WALLET_BENCH") != "1" {
		t.Skip("a measurement: run ./dev bench")
	}
	dir := t.TempDir()
	if testing.Short() { // a look at it, not a measurement
		openLoopLength, saturationLength, commitLength, overloadLength = openLoopLength/6, saturationLength/3, commitLength/4, overloadLength/2
		overloadRate, slowCommit, probeRate = overloadRate/5, slowCommit*5, probeRate/5
	}
	var slow atomic.Bool
	s := newStand(t, dir, size{persons: 100, cardsEach: 8, connections: openLoopWires}, func(config *mockplatform.Config) {
		config.Hooks.BeforeCommit = func(string) error {
			if slow.Load() {
				time.Sleep(slowCommit)
			}
			return nil
		}
	})
	fmt.Printf("policy of these measurements: %+v\n", policy())
	t.Run("open loop", func(t *testing.T) { benchOpenLoop(t, s) })
	t.Run("saturation", func(t *testing.T) { benchSaturation(t, s) })
	slow.Store(true)
	t.Run("overload", func(t *testing.T) { benchOverload(t, s) })
	slow.Store(false)
	t.Run("restart", func(t *testing.T) { benchRestart(t, s, dir) })
}

func benchOpenLoop(t *testing.T, s *stand) {
	before, used := s.audit(t), cpuTime()
	sum := count(openLoop(t.Context(), s.free, openLoopRate, openLoopLength))
	used = cpuTime() - used
	require.Empty(t, sum.errors, sum.failures())
	name := fmt.Sprintf("open loop, %d top-ups/s offered for %v over %d connections", openLoopRate, openLoopLength, openLoopWires)
	benchLine(name+": completed", fmt.Sprintf("%.1f/s", sum.perSecond), fmt.Sprintf("%d/s (offered)", openLoopRate),
		fmt.Sprintf("%.2f", sum.perSecond/openLoopRate), sum.failed(), openLoopRate)
	benchTimes("  authorise, from the intended start, p50 / p95 / p99", sum.grants, "p99 ≤ 1 s")
	benchTimes("  result, p50 / p95 / p99", sum.results, "-")
	benchLine("  processor time of one top-up, generator included", milliseconds(used/time.Duration(max(sum.complete, 1))), "-", "-", "-", "-")
	require.NoError(t, s.settleAll(t.Context()))
	require.Equal(t, before+sum.complete, s.audit(t), "every order that was reported complete is in the books, and no other")
}

func benchTimes(name string, sorted []time.Duration, aim string) {
	benchLine(name, milliseconds(percentile(sorted, 50))+" / "+milliseconds(percentile(sorted, 95))+" / "+milliseconds(percentile(sorted, 99)),
		"-", "-", "longest "+milliseconds(percentile(sorted, 100)), aim)
}

func benchSaturation(t *testing.T, s *stand) {
	commits := newCommitter(t)
	for _, atOnce := range []int{8, 32, 64, 200} {
		bare := commits.rate(t, commitLength)
		before := s.audit(t)
		sum := count(s.closedLoop(t.Context(), atOnce, saturationLength))
		require.Empty(t, sum.errors, sum.failures())
		require.NoError(t, s.settleAll(t.Context()))
		require.Equal(t, before+sum.complete, s.audit(t))
		benchLine(fmt.Sprintf("saturation, %d connections: complete top-ups", atOnce), fmt.Sprintf("%.0f/s", sum.perSecond),
			fmt.Sprintf("%.0f/s (SQLite's own commits, FULL, one after the other)", bare), fmt.Sprintf("%.2f", sum.perSecond/bare),
			fmt.Sprintf("authorise p50 %s, p99 %s; %s", milliseconds(percentile(sum.grants, 50)), milliseconds(percentile(sum.grants, 99)), sum.failed()), "-")
	}
}

// committer is a database that does next to nothing, beside the platform's.
type committer struct{ db *sql.DB }

func newCommitter(t *testing.T) *committer {
	file := filepath.Join(t.TempDir(), "commits.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), `CREATE TABLE counter (n INTEGER NOT NULL); INSERT INTO counter VALUES (0)`)
	require.NoError(t, err)
	return &committer{db}
}

// rate is how many transactions of one changed number are on the disk in a second.
func (c *committer) rate(t *testing.T, length time.Duration) float64 {
	began, done := time.Now(), 0
	for ; time.Since(began) < length; done++ {
		_, err := c.db.ExecContext(t.Context(), `UPDATE counter SET n = n + 1`)
		require.NoError(t, err)
	}
	return float64(done) / time.Since(began).Seconds()
}

// benchOverload offers three times what the platform can carry, with a thin stream of
// probes before, during and after it that tells what a person would see. The
// platform's disk is made slow for it: the generator needs the same processors, and
// would be the one that is overloaded otherwise.
func benchOverload(t *testing.T, s *stand) {
	s.wire.use(overloadWires)
	s.wire.warm(t)
	busyBefore, before := s.wire.busy.Load(), s.audit(t)
	probes := make(chan *card, probeCards)
	for range probeCards {
		probes <- <-s.free
	}
	crowd := make(chan *card, len(s.free))
	for range cap(crowd) {
		crowd <- <-s.free
	}
	var thin, thick []trip
	var ended time.Time
	began := time.Now().Add(probeBefore)
	var all sync.WaitGroup
	all.Go(func() { thin = openLoop(t.Context(), probes, probeRate, probeBefore+overloadLength+probeAfter) })
	all.Go(func() {
		time.Sleep(time.Until(began))
		ended = began.Add(overloadLength)
		thick = openLoop(t.Context(), crowd, overloadRate, overloadLength)
	})
	all.Wait()
	for _, one := range thick { // a load that had to wait for its cards ends later
		if one.started.After(ended) {
			ended = one.started
		}
	}
	for range probeCards {
		s.free <- <-probes
	}
	for range cap(crowd) {
		s.free <- <-crowd
	}
	sum, probed := count(thick), count(thin)
	require.Empty(t, sum.errors, sum.failures())
	require.Empty(t, probed.errors, probed.failures())
	require.Zero(t, s.wire.vague.Load(), "every 503 says when to come back")
	require.NoError(t, s.settleAll(t.Context()))
	require.Equal(t, before+sum.complete+probed.complete, s.audit(t), "nothing lost, nothing doubled")

	carries := float64(time.Second) / float64(2*slowCommit) // an order is two changes
	benchLine(fmt.Sprintf("overload, %d top-ups/s offered for %v over a slow disk: completed while it lasted", overloadRate, overloadLength),
		fmt.Sprintf("%.1f/s", float64(finished(thick, ended))/ended.Sub(began).Seconds()), fmt.Sprintf("%.0f/s (what that disk carries)", carries), "-",
		fmt.Sprintf("%s; %d × 503", sum.failed(), s.wire.busy.Load()-busyBefore), "-")
	normal := percentile(count(during(thin, began.Add(-probeBefore), began)).grants, 50)
	benchLine("  authorise of a probe before, median", milliseconds(normal), "-", "-", "-", "-")
	benchTimes("  authorise of a probe during the load, p50 / p95 / p99", count(during(thin, began, ended)).grants, "-")
	benchTimes("  result of a probe during the load, p50 / p95 / p99", count(during(thin, began, ended)).results, "-")
	benchLine("  back to normal after the load", recovery(thin, ended, normal), "-", "-", "median of a second ≤ twice the normal one", "≤ 10 s")
}

// finished counts what was complete at a moment.
func finished(trips []trip, by time.Time) (complete int) {
	for _, one := range trips {
		if one.err == nil && one.result > 0 && !one.done.After(by) {
			complete++
		}
	}
	return complete
}

func during(trips []trip, from, to time.Time) (part []trip) {
	for _, one := range trips {
		if !one.intended.Before(from) && one.intended.Before(to) {
			part = append(part, one)
		}
	}
	return part
}

// recovery is the first second after the load from which on every second's median
// is at most twice what it was before the load, or 20 ms where that is more.
func recovery(thin []trip, ended time.Time, normal time.Duration) string {
	bound := max(2*normal, 20*time.Millisecond)
	var medians []string
	recovered := 0
	for second := range int(probeAfter.Seconds()) {
		sum := count(during(thin, ended.Add(time.Duration(second)*time.Second), ended.Add(time.Duration(second+1)*time.Second)))
		median := percentile(sum.grants, 50)
		if medians = append(medians, milliseconds(median)); median > bound || sum.refused+sum.silent+sum.loggedOut > 0 {
			recovered = second + 1
		}
	}
	fmt.Printf("medians of each second after the load: %v\n", medians)
	if recovered == int(probeAfter.Seconds()) {
		return "not within " + probeAfter.String()
	}
	return fmt.Sprintf("%d s", recovered)
}

// benchRestart closes the platform and opens it again over all that was written.
func benchRestart(t *testing.T, s *stand, dir string) {
	orders := s.audit(t)
	require.NoError(t, s.server.Close())
	require.NoError(t, s.platform.Close())
	var size int64
	files, err := filepath.Glob(filepath.Join(dir, "platform.db*"))
	require.NoError(t, err)
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		size += info.Size()
	}
	var times []time.Duration
	for range 5 {
		began := time.Now()
		platform, err := mockplatform.Open(mockplatform.Config{Dir: dir})
		require.NoError(t, err)
		server, err := platform.Serve(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		times = append(times, time.Since(began))
		require.NoError(t, server.Close())
		require.NoError(t, platform.Close())
	}
	slices.Sort(times)
	benchLine(fmt.Sprintf("restart of a platform with %d orders, until it listens", orders), milliseconds(times[len(times)/2]), "-", "-",
		"longest "+milliseconds(times[len(times)-1]), "≤ 10 s")
	benchLine("disk for one order, with its ledger, audit and answers", fmt.Sprintf("%.1f KB", float64(size)/1000/float64(max(orders, 1))), "-", "-", "-", "≤ 1 GB for 1,000,000")
}
