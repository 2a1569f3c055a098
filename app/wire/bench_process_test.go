package wire_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/reader/pcsc/pcsctest"
)

const (
	startRounds = 41
	peakRounds  = 5 // a card is topped up so often a day
)

// helloWorld is the least that a Go program can be.
const helloWorld = `package main

import "fmt"

func main() { fmt.Println("hello") }
`

// buildStripped builds a package or a file as ./dev build does.
func buildStripped(t *testing.T, what string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(what), ".go"))
	output, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, what).CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}

func buildHello(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hello.go")
	require.NoError(t, os.WriteFile(file, []byte(helloWorld), 0o600))
	return buildStripped(t, file)
}

// TestBench_ProcessStart measures the console program from start to end beside a Go
// program and a program that do nothing.
func TestBench_ProcessStart(t *testing.T) {
	onlyBench(t)
	programs := [][]string{{buildStripped(t, "walletcompanion/app/walletctl"), "version"}, {buildHello(t)}, {"true"}}
	took := make([][]time.Duration, len(programs))
	order := rand.New(rand.NewPCG(1, 2))
	for round := range startRounds + 1 {
		for _, at := range order.Perm(len(programs)) {
			command := exec.Command(programs[at][0], programs[at][1:]...)
			began := time.Now()
			require.NoError(t, command.Run())
			if round > 0 { // else warming up
				took[at] = append(took[at], time.Since(began))
			}
		}
	}
	compare("walletctl version, start to end", took[0], "Go hello world, same flags", took[1])
	compare("walletctl version, start to end", took[0], "true", took[2])
	compare("Go hello world, start to end", took[1], "true", took[2])
}

// TestBench_PeakMemory measures the largest resident set of the processes that read a
// card and top it up through the real smart card service, beside a Go program that does
// nothing. What pcscd and the platform use is theirs.
func TestBench_PeakMemory(t *testing.T) {
	onlyBench(t)
	pcsctest.Require(t)
	s := openCounter(t)
	s.console = buildStripped(t, "walletcompanion/app/walletctl")
	peak := filepath.Join(t.TempDir(), "peak")
	out, err := exec.Command("cc", "-O2", "-o", peak, filepath.Join("testdata", "peak.c")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.serve(s.card)
	s.json(0, s.on(s.profile, "login", "--phone", servedPhone)...)

	measured := []struct {
		name string
		run  []string
	}{
		{"Go hello world", []string{buildHello(t)}},
		{"walletctl version", []string{s.console, "version"}},
		{"walletctl query", append([]string{s.console}, s.on(s.profile, "query", "--json")...)},
		{"walletctl topup, whole", append([]string{s.console}, s.on(s.profile, "topup", "--amount", "10.00", "--yes", "--json")...)},
	}
	sizes := make([][]float64, len(measured)) // in MB, 2^20 bytes
	for range peakRounds {
		for at, each := range measured {
			sizes[at] = append(sizes[at], peakOf(t, peak, each.run))
		}
	}
	s.audit(0)
	hello := middle(sizes[0])
	for at, each := range measured[1:] {
		mine := sizes[at+1]
		benchLine("peak memory of "+each.name, fmt.Sprintf("%.1f MB", middle(mine)), fmt.Sprintf("%.1f MB (%s)", hello, measured[0].name),
			fmt.Sprintf("%.1f", middle(mine)/hello), fmt.Sprintf("%.1f…%.1f MB", slices.Min(mine), slices.Max(mine)), "-")
	}
}

func peakOf(t *testing.T, peak string, program []string) float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "size")
	out, err := exec.Command(peak, append([]string{file}, program...)...).Output()
	require.NoError(t, err, "%v: %s", program, out)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	kib, err := strconv.ParseFloat(strings.TrimSpace(string(raw)), 64)
	require.NoError(t, err)
	return kib / 1024
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// idleFor is how long an idle process is watched. The service is asked again after 60 s
// without an event, so a longer look would count one waking a minute.
const idleFor = 20 * time.Second

// TestBench_IdleWatch counts how often `walletctl readers --watch` wakes while a card
// lies in a reader and nothing happens.
func TestBench_IdleWatch(t *testing.T) {
	onlyBench(t)
	if runtime.GOOS != "linux" {
		t.Skip("counts what /proc tells")
	}
	pcsctest.Require(t)
	s := &counter{processes: processes{t: t, console: buildStripped(t, "walletcompanion/app/walletctl")}, service: pcsctest.Start(t)}
	s.serve(fullCard(t, t.TempDir()))
	watch := exec.Command(s.console, "readers", "--watch", "--profile", t.TempDir())
	require.NoError(t, watch.Start())
	defer func() {
		_ = watch.Process.Kill()
		_ = watch.Wait()
	}()
	time.Sleep(4 * time.Second) // starting, and the first, short wait
	before := voluntarySwitches(t, watch.Process.Pid)
	require.Positive(t, before, "starting alone takes some")
	time.Sleep(idleFor)
	count := voluntarySwitches(t, watch.Process.Pid) - before
	benchLine("context switches of idle walletctl readers --watch", fmt.Sprintf("%d in %v", count, idleFor), "-",
		fmt.Sprintf("%.2f per 10 s", float64(count)*10/idleFor.Seconds()), "-", "1 per 10 s")
}

// voluntarySwitches sums the voluntary context switches of a process's threads (proc(5)).
func voluntarySwitches(t *testing.T, pid int) (sum int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	require.NoError(t, err)
	require.NotEmpty(t, threads)
	for _, thread := range threads {
		content, err := os.ReadFile(thread)
		require.NoError(t, err)
		for line := range strings.Lines(string(content)) {
			if rest, found := strings.CutPrefix(line, "voluntary_ctxt_switches:"); found {
				count, err := strconv.Atoi(strings.TrimSpace(rest))
				require.NoError(t, err)
				sum += count
			}
		}
	}
	return sum
}
