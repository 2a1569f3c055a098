package loadtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

// TestBench_Load measures the platform under load, over one platform, one after the
// other: each part ends with an audit of the books against the chips.
func TestBench_Load(t *testing.T) {
	if os.Getenv("WALLET_BENCH") != "1" {
		t.Skip("a measurement: run ./dev bench")
	}
	began := time.Now()
	s := newStand(t, t.TempDir(), size{persons: 100, cardsEach: 8, connections: 200})
	fmt.Printf("%d persons with %d cards logged in after %v; policy: %+v\n", len(s.persons), len(s.cards), time.Since(began).Round(time.Second), policy())
	t.Run("open loop", func(t *testing.T) { benchOpenLoop(t, s) })
	t.Run("saturation", func(t *testing.T) { benchSaturation(t, s) })
}

const openLoopRate = 200

func seconds(name string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(name)); err == nil {
		return d
	}
	return otherwise
}

func benchOpenLoop(t *testing.T, s *stand) {
	before := s.audit(t)
	sum := count(s.openLoop(t.Context(), openLoopRate, seconds("WALLET_LOAD_TIME", time.Minute)))
	fmt.Printf("open loop: %d complete, %d refused, %d errors %s\n", sum.complete, sum.refused, len(sum.errors), sum.failures())
	benchLine("open loop of 200 top-ups/s for 60 s: complete top-ups/s", fmt.Sprintf("%.1f", sum.perSecond), "-", "-", "-", 200)
	for _, row := range []struct {
		name  string
		times []time.Duration
		aim   string
	}{{"authorise", sum.grants, "p99 ≤ 1 s"}, {"result", sum.results, "-"}} {
		benchLine("  "+row.name+" p50, p95, p99", fmt.Sprintf("%s, %s, %s", milliseconds(percentile(row.times, 50)),
			milliseconds(percentile(row.times, 95)), milliseconds(percentile(row.times, 99))), "-", "-", "max "+milliseconds(percentile(row.times, 100)), row.aim)
	}
	require.NoError(t, s.settleAll(t.Context()))
	require.Equal(t, before+sum.complete, s.audit(t))
}

func benchSaturation(t *testing.T, s *stand) {
	for _, atOnce := range []int{8, 32, 64, 200} {
		sum := count(s.closedLoop(t.Context(), atOnce, seconds("WALLET_LOAD_SATURATION", 6*time.Second)))
		benchLine(fmt.Sprintf("saturation, %d connections", atOnce), fmt.Sprintf("%.0f top-ups/s, p50 %s, p99 %s; refused %d, errors %s", sum.perSecond, milliseconds(percentile(sum.grants, 50)), milliseconds(percentile(sum.grants, 99)), sum.refused, sum.failures()))
	}
	require.NoError(t, s.settleAll(t.Context()))
	s.audit(t)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
