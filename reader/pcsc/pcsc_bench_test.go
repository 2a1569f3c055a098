//go:build cgo && linux

package pcsc_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/readertest"
	"walletcompanion/reader/vpcd"
)

const (
	// benchVariable switches the measurements on.
	benchVariable = "WALLET_BENCH"
	// cardVariable makes the test program a card and nothing else: it holds the
	// address of the reader. Card and measured program share no scheduler then.
	cardVariable = "PCSCTEST_CARD"

	benchBlocks   = 150
	benchCommands = 50 // few: on a busy machine some blocks are then not disturbed
	idleFor       = 15 * time.Second
)

func TestBenchCardProcess(t *testing.T) {
	addr := os.Getenv(cardVariable)
	if addr == "" {
		t.Skip("started by the measurements only")
	}
	_ = vpcd.Serve(context.Background(), addr, readertest.NewParrot(7))
}

// cardProcess serves a card from a process of its own until the end of the test.
func cardProcess(t *testing.T, addr string) {
	t.Helper()
	command := exec.Command("/proc/self/exe", "-test.run=^TestBenchCardProcess$")
	command.Env = append(os.Environ(), cardVariable+"="+addr)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
}

func requireBench(t *testing.T) {
	t.Helper()
	if os.Getenv(benchVariable) != "1" {
		t.Skip("a measurement; " + benchVariable + "=1 runs it")
	}
	pcsctest.Require(t)
}

// cLoop is the baseline program.
type cLoop struct {
	t       *testing.T
	in      *os.File
	answers *bufio.Scanner
}

func startCLoop(t *testing.T, name string) *cLoop {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cloop")
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "libpcsclite").Output()
	require.NoError(t, err)
	arguments := append([]string{"-O2", "-o", binary, filepath.Join("testdata", "cloop.c")},
		strings.Fields(string(flags))...)
	out, err := exec.Command("cc", arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	command := exec.Command(binary, name)
	command.Stderr = os.Stderr
	in, write, err := os.Pipe()
	require.NoError(t, err)
	command.Stdin = in
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	_ = in.Close()
	t.Cleanup(func() {
		_ = write.Close()
		_ = command.Wait()
	})
	return &cLoop{t: t, in: write, answers: bufio.NewScanner(stdout)}
}

func (c *cLoop) block() float64 {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, benchCommands)
	require.NoError(c.t, err)
	require.True(c.t, c.answers.Scan(), "the C program ended")
	perCommand, err := strconv.ParseFloat(c.answers.Text(), 64)
	require.NoError(c.t, err)
	return perCommand
}

func goBlock(t *testing.T, driver *pcsc.Driver, name string) float64 {
	t.Helper()
	session, err := driver.Open(within(t, patience), name)
	require.NoError(t, err)
	_, err = session.Transmit(within(t, patience), readertest.SelectPurse)
	require.NoError(t, err)
	start := time.Now()
	for range benchCommands {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer, err := session.Transmit(ctx, readertest.GetBalance)
		cancel()
		require.NoError(t, err)
		require.Len(t, answer, 6)
	}
	took := time.Since(start)
	require.NoError(t, session.Close())
	waitFree(t, driver, name)
	return float64(took.Nanoseconds()) / benchCommands
}

// waitFree waits until the card has been given back: an Open does so.
func waitFree(t *testing.T, driver *pcsc.Driver, name string) {
	t.Helper()
	require.Eventually(t, func() bool { return !driver.Holds(name) }, patience, time.Millisecond)
}

// bareBlock calls the service from this goroutine, or from another one with nothing
// but two channels between.
func bareBlock(t *testing.T, name string, handOver bool) float64 {
	t.Helper()
	transmit, release, err := pcsc.Bare(name)
	require.NoError(t, err)
	defer release()
	if handOver {
		commands, answers, inner := make(chan []byte), make(chan []byte), transmit
		defer close(commands)
		go func() {
			for command := range commands {
				answer, _ := inner(command)
				answers <- answer
			}
		}()
		transmit = func(command []byte) ([]byte, error) {
			commands <- command
			return <-answers, nil
		}
	}
	_, err = transmit(readertest.SelectPurse)
	require.NoError(t, err)
	start := time.Now()
	for range benchCommands {
		answer, err := transmit(readertest.GetBalance)
		require.NoError(t, err)
		require.Len(t, answer, 6)
	}
	return float64(time.Since(start).Nanoseconds()) / benchCommands
}

// TestBenchTransmitOverhead compares the cost of a command through the driver, with its
// watchdog, with a bare loop in C, and shows what it consists of. Blocks of all of them
// alternate, so that a slow machine is slow for all.
func TestBenchTransmitOverhead(t *testing.T) {
	requireBench(t)
	service := pcsctest.Start(t)
	cardProcess(t, service.Addr(0))
	driver, name := pcsc.New(), service.Name(0)
	readertest.Await(t, driver, name, reader.StatePresent)
	baseline := startCLoop(t, name)
	kinds := []struct {
		name  string
		aim   string
		block func() float64
	}{
		{"bare C loop", "", baseline.block},
		{"command through the smart card service", "1.10", func() float64 { return goBlock(t, driver, name) }},
		{"… of it the call from Go alone", "-", func() float64 { return bareBlock(t, name, false) }},
		{"… and a hand-over to another goroutine", "-", func() float64 { return bareBlock(t, name, true) }},
	}
	order := rand.New(rand.NewPCG(1, 2))
	took, ratios := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for round := range benchBlocks + 2 {
		now := make([]float64, len(kinds))
		for _, kind := range order.Perm(len(kinds)) { // nobody always comes after the same other
			now[kind] = kinds[kind].block()
		}
		if round < 2 { // warming up
			continue
		}
		for kind := range kinds {
			took[kind] = append(took[kind], now[kind])
			ratios[kind] = append(ratios[kind], now[kind]/now[0])
		}
	}
	line := func(name string, q float64, kind int, ratio float64, spread, aim string) {
		fmt.Printf("bench: %s|%.0f us|%.0f us (%s)|%.2f|%s|%s\n",
			name, quantile(took[kind], q)/1000, quantile(took[0], q)/1000, kinds[0].name, ratio, spread, aim)
	}
	for kind := 1; kind < len(kinds); kind++ {
		spread := fmt.Sprintf("%.2f…%.2f over %d blocks of %d", quantile(ratios[kind], 0.1), quantile(ratios[kind], 0.9), benchBlocks, benchCommands)
		line(kinds[kind].name, 0.5, kind, quantile(ratios[kind], 0.5), spread, kinds[kind].aim)
	}
	for kind := 1; kind < len(kinds); kind++ { // what a machine without other work shows
		line(kinds[kind].name+", undisturbed tenth", 0.1, kind, quantile(took[kind], 0.1)/quantile(took[0], 0.1), "-", kinds[kind].aim)
	}
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

// TestBenchIdleWatch counts how often a process that only watches wakes up.
func TestBenchIdleWatch(t *testing.T) {
	requireBench(t)
	service := pcsctest.Start(t)
	cardProcess(t, service.Addr(0))
	readertest.Await(t, pcsc.New(), service.Name(0), reader.StatePresent)
	command := exec.Command("/proc/self/exe", "-test.run=^TestBenchWatchProcess$")
	command.Env = append(os.Environ(), watchVariable+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, command.Start())
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	time.Sleep(4 * time.Second) // starting and the first, short wait
	before := switches(t, command.Process.Pid)
	time.Sleep(idleFor)
	count := switches(t, command.Process.Pid) - before
	fmt.Printf("bench: context switches of an idle watch|%d in %v|-|%.2f per 10 s|-|1 per 10 s\n",
		count, idleFor, float64(count)*10/idleFor.Seconds())
	require.LessOrEqual(t, float64(count)*10/idleFor.Seconds(), 1.0)
}

const watchVariable = "PCSCTEST_WATCH"

func TestBenchWatchProcess(t *testing.T) {
	if os.Getenv(watchVariable) == "" {
		t.Skip("started by the measurements only")
	}
	_ = pcsc.New().Watch(context.Background(), func([]reader.Info, error) {})
}

// switches sums the voluntary context switches of a process's threads (proc(5)).
func switches(t *testing.T, pid int) int {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	require.NoError(t, err)
	require.NotEmpty(t, threads)
	sum := 0
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
