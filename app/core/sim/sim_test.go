package sim

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/store/faultfs"
)

var (
	flagSeed       = flag.Uint64("sim.seed", 0, "play this one seed, with its whole trace on failure")
	flagSeeds      = flag.Int("sim.seeds", 0, "play so many seeds")
	flagSeconds    = flag.Int("sim.seconds", 0, "play seeds for so many seconds")
	flagOperations = flag.Int("sim.operations", 300, "operations of one seed")
	flagFirst      = flag.Uint64("sim.first", 1, "the first seed")
)

func TestMain(m *testing.M) {
	if err := faultfs.Install(); err != nil { // before the first database is opened
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestOneSeed(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = 1
	}
	began := time.Now()
	keptEvents = 1_000_000
	report, err := Run(t, seed, *flagOperations)
	for _, e := range report.Events {
		fmt.Println(e)
	}
	t.Log(table(report.Counts))
	t.Logf("%d operations, %v, trace %x", report.Operations, time.Since(began), report.Trace)
	require.NoError(t, err)
}

// table prints counters, sorted.
func table(counts map[string]int) string {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	text := ""
	for _, name := range names {
		text += fmt.Sprintf("\n  %-50s %8d", name, counts[name])
	}
	return text
}

// TestReplay plays one seed twice: the same events must happen.
func TestReplay(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		first, _ := Run(t, seed, 60)
		second, _ := Run(t, seed, 60)
		require.NotZero(t, first.Trace)
		require.Equal(t, first.Events, second.Events)
		require.Equal(t, first.Trace, second.Trace, "seed %d", seed)
	}
}

func TestMany(t *testing.T) {
	began := time.Now()
	operations := 0
	for seed := *flagFirst; seed < *flagFirst+uint64(*flagSeeds); seed++ {
		report, err := Run(t, seed, *flagOperations)
		operations += report.Operations
		if testing.Verbose() {
			fmt.Println(seed, time.Since(began))
		}
		if err != nil {
			fmt.Printf("seed %d op %d: %v\n", seed, report.Failed, err)
		}
	}
	fmt.Printf("%d operations in %v\n", operations, time.Since(began))
}
