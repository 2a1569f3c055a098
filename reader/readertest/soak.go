package readertest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
)

// Footprint is what a process holds.
type Footprint struct {
	HeapBytes   uint64 // live, after two collections
	Goroutines  int
	Descriptors int // 0 where the system does not tell
}

// Measure takes the footprint of this process.
func Measure() Footprint {
	runtime.GC()
	runtime.GC() // what a finalizer has freed
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	open, _ := os.ReadDir("/proc/self/fd")
	return Footprint{memory.HeapAlloc, runtime.NumGoroutine(), len(open)}
}

// String tells the three numbers.
func (f Footprint) String() string {
	return fmt.Sprintf("%d KiB, %d goroutines, %d descriptors", f.HeapBytes/1024, f.Goroutines, f.Descriptors)
}

// settled waits until nothing of a tap is left that would still go away by itself.
func settled(t *testing.T, wanted Footprint) Footprint {
	t.Helper()
	var last Footprint
	for range 50 {
		if last = Measure(); last.near(wanted) {
			return last
		}
		time.Sleep(20 * time.Millisecond)
	}
	return last
}

const (
	// soakShare is how far a footprint may be from another that counts as the same.
	soakShare = 0.05
	// soakNoise is what the heap of a process of a few hundred KiB moves by without
	// any leak, mostly the runtime's own. Over 100,000 taps that is less than a byte
	// for each; over 200 taps a leak of 300 bytes for each could hide in it.
	soakNoise = 64 << 10
)

// near tells whether nothing has grown by more than soakShare. Shrinking is no leak.
func (f Footprint) near(first Footprint) bool {
	grown := func(now, before float64) bool { return now > before*(1+soakShare) }
	return !grown(float64(f.HeapBytes), float64(first.HeapBytes)+soakNoise) && !grown(float64(f.Goroutines), float64(first.Goroutines)) &&
		!grown(float64(f.Descriptors), float64(first.Descriptors))
}

// soakWarm is the number of taps after which a process holds what it will hold.
const soakWarm = 100

// Soak taps a card on a reader count times: lays it down, opens, reads and closes it,
// takes it away. What the process holds afterwards must be what it held after the
// first hundred. It prints one line for `./dev bench`.
func Soak(t *testing.T, name string, count int, driver reader.Driver, field Field) {
	t.Helper()
	chip := NewParrot(7)
	told := make(chan reader.State, 64)
	ctx, cancel := soakWatch(t, driver, field.Name(), told)
	defer cancel()
	began := time.Now()
	var first Footprint
	for tap := range count {
		if tap == soakWarm {
			first = Measure()
		}
		field.Insert(chip)
		awaitTold(t, told, reader.StatePresent)
		session := tapOpen(t, ctx, driver, field.Name(), tap)
		for _, command := range [][]byte{SelectPurse, GetBalance} { // the suite's helpers keep something for each call
			answer, err := session.Transmit(ctx, command)
			require.NoError(t, err, "tap %d", tap)
			require.Equal(t, []byte{0x90, 0x00}, answer[len(answer)-2:])
		}
		require.NoError(t, session.Close())
		field.Remove()
		awaitTold(t, told, reader.StateEmpty)
	}
	took := time.Since(began)
	last := settled(t, first)
	fmt.Printf("bench: %d taps on %s|%v|%v (after the first %d)|%.2f of the heap|%.1f ms a tap|1.05\n",
		count, name, last, first, soakWarm, float64(last.HeapBytes)/float64(first.HeapBytes), float64(took.Milliseconds())/float64(count))
	require.True(t, last.near(first), "%v is more than %v", last, first)
}

// tapOpen opens a card with more patience than a driver has of its own, so that a busy
// machine is not taken for a reader that hangs. Where it hangs it shows what every
// goroutine waits for.
func tapOpen(t *testing.T, ctx context.Context, driver reader.Driver, name string, tap int) reader.Session {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	session, err := driver.Open(limited, name)
	if err != nil {
		stacks := make([]byte, 1<<20)
		t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
	}
	require.NoError(t, err, "tap %d", tap)
	return session
}

// soakWatch reports the states of one reader, without those that nobody took.
func soakWatch(t *testing.T, driver reader.Driver, name string, told chan reader.State) (context.Context, func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = driver.Watch(ctx, func(infos []reader.Info, _ error) {
			for _, info := range infos {
				if info.Name == name {
					select {
					case told <- info.State:
					default:
					}
				}
			}
		})
	}()
	return ctx, func() {
		cancel()
		<-ended
	}
}

func awaitTold(t *testing.T, told <-chan reader.State, wanted reader.State) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case state := <-told:
			if state == wanted {
				return
			}
		case <-limit.C:
			require.FailNow(t, "the reader never came to the state", "%s", wanted)
		}
	}
}
