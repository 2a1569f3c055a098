package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/store/faultfs"
	"walletcompanion/platformclient/mockplatform/rules"
)

var (
	flagSeed       = flag.Uint64("sim.seed", 0, "play this one seed and show all its events")
	flagSeeds      = flag.Int("sim.seeds", 0, "play so many seeds, however long it takes")
	flagSeconds    = flag.Int("sim.seconds", 0, "play seeds for so many seconds")
	flagOperations = flag.Int("sim.operations", 250, "operations of one seed")
	flagAll        = flag.Bool("sim.all", false, "go on after a seed that breaks a rule, and make none small")
	flagFirst      = flag.Uint64("sim.first", 1, "the first seed")
)

func TestMain(m *testing.M) {
	if err := faultfs.Install(); err != nil { // before the first database is opened
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// workers play seeds side by side; one world is a single conversation.
const workers = 2

// TestSimulation plays seeds until its time is over: 20 s, 120 s where CI=true, or
// WALLET_SIM_SECONDS. A seed that breaks a rule is made small and shown.
func TestSimulation(t *testing.T) {
	if *flagSeed != 0 {
		replay(t, *flagSeed)
		return
	}
	began := time.Now()
	end := began.Add(budget(t))
	total := totals{counts: map[string]int{}, next: *flagFirst}
	t.Run("worlds", func(t *testing.T) {
		for worker := range workers {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for {
					seed, more := total.take(end)
					if !more || t.Failed() && !*flagAll {
						return
					}
					report, err := Run(t, seed, *flagOperations)
					total.add(report)
					if err != nil {
						fmt.Printf("seed %d, after operation %d: %v\n", seed, report.Failed, err)
						if *flagAll {
							t.Errorf("seed %d: %v", seed, err)
							continue
						}
						explain(t, seed)
					}
				}
			})
		}
	})
	took := time.Since(began)
	fmt.Printf("simulation: %d operations, %d seeds from %d on, %v, %.0f operations/s%s\n", total.operations, total.seeds, *flagFirst,
		took.Round(time.Second), float64(total.operations)/took.Seconds(), table(total.counts))
	if !t.Failed() {
		total.coverage(t)
	}
}

// budget is how long the simulation goes on.
func budget(t *testing.T) time.Duration {
	seconds := 20
	if os.Getenv("CI") == "true" {
		seconds = 120
	}
	if text := os.Getenv("WALLET_SIM_SECONDS"); text != "" {
		var err error
		seconds, err = strconv.Atoi(text)
		require.NoError(t, err, "WALLET_SIM_SECONDS")
	}
	if *flagSeconds > 0 {
		seconds = *flagSeconds
	}
	if *flagSeeds > 0 && *flagSeconds == 0 {
		seconds = 24 * 60 * 60
	}
	return time.Duration(seconds) * time.Second
}

// totals adds up what all workers did.
type totals struct {
	mu                sync.Mutex
	next              uint64
	seeds, operations int
	counts            map[string]int
}

func (a *totals) take(end time.Time) (seed uint64, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().After(end) || *flagSeeds > 0 && a.seeds >= *flagSeeds {
		return 0, false
	}
	a.next++
	a.seeds++
	return a.next - 1, true
}

func (a *totals) add(report Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.operations += report.Operations
	for name, count := range report.Counts {
		a.counts[name] += count
	}
}

// coverage: an empty simulation would break no rule either. What every run of some
// thousand operations must have met stands here.
func (a *totals) coverage(t *testing.T) {
	if a.operations < 8000 {
		t.Logf("only %d operations: too few to ask for their variety", a.operations)
		return
	}
	for _, kind := range faultKinds {
		if kind == "restore" {
			kind = "platform restored"
		}
		require.GreaterOrEqual(t, a.counts["fault "+kind], max(1, a.operations/4000), "fault %s", kind)
	}
	for _, name := range []string{"end top-up success", "end LOADED ", "end VOIDED ", "settled LOADED by prove", "settled LOADED by tac",
		"settled LOADED by counter-advanced", "settled VOIDED by counter-same", "settled DECLINED by none", "told PENDING_LOAD", "rogue CREDIT",
		"end purchase success", "end unload success", "end funding success", "settled DONE by none", "told VOUCHER_USED", "end PAID ", "end REFUNDED ", "end NOT_TAKEN ", "settled PAID by prove", "settled PAID by tac",
		"settled NOT_TAKEN by balance", "settled DOUBTFUL by balance", "end delivered", "end callback repeated", "told PENDING_PURCHASE",
		"told PURCHASE_UNDELIVERED", "told PROFILE_BUSY", "rogue DEBIT", "rogue forge a TAC", "kill after PINTENT", "kill after AUTHORISED",
		"kill after DEBITING", "kill after DEBITED", "kill before DEBITING", "kill before DEBITED", "kill after DEBIT FOR PURCHASE",
		"kill after INTENT", "kill after ASKED", "kill after GRANTED", "kill after CREDITING", "kill after CREDITED", "kill after CONFIRMED",
		"kill before CREDITING", "kill before CREDITED", "kill after CREDIT FOR LOAD"} {
		if a.operations > 20_000 || !strings.HasPrefix(name, "kill") {
			require.Positive(t, a.counts[name], name)
		}
	}
	require.Greater(t, a.counts["end top-up success"]*20, a.operations, "too few top-ups succeed")
}

// explain shows the smallest run found that still breaks the rule.
func explain(t *testing.T, seed uint64) {
	plan, report, err := shrink(t, Plan{Seed: seed, Operations: *flagOperations}, 60)
	left := slices.DeleteFunc(slices.Clone(faultKinds), func(kind string) bool { return plan.Without[kind] })
	t.Errorf("seed %d, after operation %d: %v\nsmallest: %d operations, faults %v\nlast events:\n%s\nreplay: ./dev sim --seed %d", seed, report.Failed, err,
		plan.Operations-len(plan.Skip), left, strings.Join(report.Events, "\n"), seed)
}

// replay shows one seed from the beginning to the end.
func replay(t *testing.T, seed uint64) {
	keptEvents = 1_000_000
	report, err := Run(t, seed, *flagOperations)
	fmt.Println(strings.Join(report.Events, "\n") + table(report.Counts))
	fmt.Printf("\nseed %d: %d operations, events %016x\n", seed, report.Operations, report.Trace)
	require.NoError(t, err)
}

// table prints counters, sorted.
func table(counts map[string]int) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf("\n  %-50s %8d", name, counts[name])
	}
	return text
}

// TestSimulation_OneSeedOneTrace plays seeds twice: the same events must happen,
// with a dishonest person, with restores and with neither.
func TestSimulation_OneSeedOneTrace(t *testing.T) {
	different := map[uint64]bool{}
	for seed := uint64(1); seed <= 4; seed++ {
		first, firstErr := Run(t, seed, 80)
		second, secondErr := Run(t, seed, 80)
		require.Equal(t, firstErr, secondErr)
		require.Equal(t, first.Events, second.Events, "seed %d", seed)
		require.Equal(t, first.Trace, second.Trace, "seed %d", seed)
		different[first.Trace] = true
	}
	require.Len(t, different, 4)
}

// TestSimulation_FindsPlantedFaults takes rules away from the platform. A simulation
// that does not notice would be worth nothing.
func TestSimulation_FindsPlantedFaults(t *testing.T) {
	if testing.Short() {
		return // the race detector finds nothing here that it does not find in TestSimulation
	}
	tests := []struct {
		name    string
		missing rules.Rules
		from    uint64 // where a short search finds it; it goes on, should the world change
	}{
		{"believes any MAC1", rules.Rules{AnyMAC1: true}, 36},
		{"takes counters over a restore", rules.Rules{CounterAcrossEpoch: true}, 38},
		{"pays without MAC2", rules.Rules{PayWithoutMAC2: true}, 35},
		{"refunds on a lower balance", rules.Rules{RefundOnBalance: true}, 1},
		{"refunds what no upload explains", rules.Rules{RefundByNumber: true}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for seed := test.from; seed < test.from+60; seed++ {
				_, err := run(t, Plan{Seed: seed, Operations: 250, Rules: test.missing})
				if err == nil {
					continue
				}
				_, sound := run(t, Plan{Seed: seed, Operations: 250})
				require.NoError(t, sound, "seed %d breaks a rule without the fault, too", seed)
				t.Logf("seed %d: %v", seed, err)
				return
			}
			t.Fatal("nobody noticed")
		})
	}
}
