//go:build cgo && linux

package pcsc_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ebfe/scard"
	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/readertest"
)

const (
	benchRestarts = 7
	benchEvents   = 30

	// soakVariable asks for the long form of a measurement.
	soakVariable = "WALLET_BENCH_SOAK"
	// rawVariable makes the test program a bare loop over SCardGetStatusChange on the
	// named reader. It prints the state and the time of each change.
	rawVariable = "PCSCTEST_RAW"
)

// TestBenchSoak taps a card through the real service: 2,000 times (about half an
// hour: the virtual reader looks every 400 ms) with WALLET_BENCH_SOAK=1, else 200 times.
func TestBenchSoak(t *testing.T) {
	requireBench(t)
	taps := 200
	if os.Getenv(soakVariable) == "1" {
		taps = 2000
	}
	service := pcsctest.Start(t)
	readertest.Soak(t, "the smart card service", taps, pcsc.New(), newField(t, service, 0))
}

// TestBenchRecovery measures how long after a killed service takes connections again
// a watch that was running shows the readers.
func TestBenchRecovery(t *testing.T) {
	requireBench(t)
	service := pcsctest.Start(t)
	v := watching(t)
	both := func(v view) bool { return v.err == nil && len(v.infos) == pcsctest.Slots }
	v.until("the readers", both)
	var took []float64
	for range benchRestarts {
		service.Kill()
		v.until("no service", classIs(reader.NoService))
		time.Sleep(2 * time.Second) // the pause between tries has grown to its longest
		service.Restart()
		began := time.Now()
		v.until("the readers again", both)
		took = append(took, float64(time.Since(began).Milliseconds()))
	}
	worst := quantile(took, 1)
	fmt.Printf("bench: recovery after a restart of the smart card service|%.0f ms, worst %.0f ms|-|-|%.0f…%.0f ms over %d restarts|2000 ms\n",
		quantile(took, 0.5), worst, quantile(took, 0), worst, benchRestarts)
	require.LessOrEqual(t, worst, 2000.0)
}

func TestBenchRawWatch(t *testing.T) {
	name := os.Getenv(rawVariable)
	if name == "" {
		t.Skip("started by the measurements only")
	}
	c, err := scard.EstablishContext()
	require.NoError(t, err)
	states := []scard.ReaderState{{Reader: name}}
	for {
		if err := c.GetStatusChange(states, time.Minute); err != nil {
			return
		}
		fmt.Println(states[0].EventState&scard.StatePresent != 0, time.Now().UnixNano())
		states[0].CurrentState = states[0].EventState &^ scard.StateChanged
	}
}

// TestBenchCardEvent compares when the driver tells a card that came or went with when
// a bare loop over the service's own call, in a process of its own, hears of it.
func TestBenchCardEvent(t *testing.T) {
	requireBench(t)
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	v := watching(t)
	v.until("an empty reader", stateIs(f.Name(), reader.StateEmpty))
	raw := exec.Command("/proc/self/exe", "-test.run=^TestBenchRawWatch$")
	raw.Env = append(os.Environ(), rawVariable+"="+f.Name())
	raw.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := raw.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, raw.Start())
	defer func() {
		_ = raw.Process.Kill()
		_ = raw.Wait()
	}()
	lines := bufio.NewScanner(out)
	rawSaw := func(present bool) int64 {
		t.Helper()
		for lines.Scan() {
			var state string
			var at string
			if _, err := fmt.Sscan(lines.Text(), &state, &at); err == nil && state == strconv.FormatBool(present) {
				nano, err := strconv.ParseInt(at, 10, 64)
				require.NoError(t, err)
				return nano
			}
		}
		require.FailNow(t, "the bare loop ended")
		return 0
	}
	rawSaw(false)
	var later []float64
	for event := range benchEvents {
		present := event%2 == 0
		if present {
			f.Insert(readertest.NewParrot(7))
			v.until("a card", stateIs(f.Name(), reader.StatePresent))
		} else {
			f.Remove()
			v.until("no card", stateIs(f.Name(), reader.StateEmpty))
		}
		ours := time.Now().UnixNano()
		later = append(later, float64(ours-rawSaw(present))/1e6)
	}
	fmt.Printf("bench: card event told later than SCardGetStatusChange returns|%.2f ms|0 ms (bare loop)|-|%.2f…%.2f ms over %d events|20 ms\n",
		quantile(later, 0.5), quantile(later, 0.1), quantile(later, 0.9), benchEvents)
}
