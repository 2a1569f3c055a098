package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/store/faultfs"
	"walletcompanion/app/store/storetest"
	"walletcompanion/wallet"
)

// childRole, in the environment, makes the test program play another process of
// the same person: it works on the profile childDir and tells on standard output.
const (
	childRole = "WALLET_STORE_TEST_ROLE"
	childDir  = "WALLET_STORE_TEST_DIR"
)

func TestMain(m *testing.M) {
	if err := faultfs.Install(); err != nil { // before the first database is opened
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	role := os.Getenv(childRole)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := playChild(role, os.Getenv(childDir)); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func playChild(role, dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch role {
	case "stages": // writes a load, tells each stage once Write has returned, then waits for its end
		for _, stage := range allStages {
			if err := s.Write(ctx, storetest.Entry("k", stage)); err != nil {
				return err
			}
			fmt.Println(stage)
			if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
				return err
			}
		}
		return nil
	case "flood": // writes load after load without waiting, until it is killed
		for i := 0; ; i++ {
			for _, stage := range allStages {
				if err := s.Write(ctx, storetest.Entry(fmt.Sprint("k", i), stage)); err != nil {
					return err
				}
				fmt.Println(fmt.Sprint("k", i), stage)
			}
		}
	case "leases": // takes all there are, and not for ever where they never end
		for range 10 * leaseCount {
			lease, err := s.TakeLease(ctx, 1, time.Unix(0, 0))
			if errors.Is(err, ErrNoLease) {
				return s.Close()
			}
			if err != nil {
				return err
			}
			fmt.Println(lease.TID)
		}
		return errors.New("the leases do not end")
	case "open": // opens an empty profile together with others and makes the device key
		if err := s.Put(ctx, fmt.Sprint("secret", os.Getpid()), []byte("value")); err != nil {
			return err
		}
		fmt.Println("secret" + fmt.Sprint(os.Getpid()))
		return s.Close()
	case "lock":
		_, err := s.LockMoney(ctx)
		if errors.Is(err, ErrBusy) {
			fmt.Println("busy", err)
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println("locked", os.Getpid())
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed
		return nil
	}
	return errors.New("no such role")
}

var allStages = []wallet.Stage{wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited, wallet.StageConfirmed}

// child is another process.
type child struct {
	command *exec.Cmd
	input   io.WriteCloser
	lines   *bufio.Scanner
}

func startChild(t *testing.T, role, dir string) *child {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	c := &child{command: exec.Command(program)}
	c.command.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	c.command.Stderr = os.Stderr
	c.input, err = c.command.StdinPipe()
	require.NoError(t, err)
	output, err := c.command.StdoutPipe()
	require.NoError(t, err)
	c.lines = bufio.NewScanner(output)
	require.NoError(t, c.command.Start())
	t.Cleanup(func() { _ = c.command.Process.Kill(); _ = c.command.Wait() })
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	require.True(t, c.lines.Scan(), "the other process said nothing")
	return c.lines.Text()
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.command.Process.Kill())
	_ = c.command.Wait() // says that it was killed
}

// allLines waits for the end of the process, which must be a good one.
func (c *child) allLines(t *testing.T) []string {
	t.Helper()
	var lines []string
	for c.lines.Scan() {
		lines = append(lines, c.lines.Text())
	}
	require.NoError(t, c.command.Wait(), lines)
	return lines
}

// A process that is killed right after Write returned has written: the stage is
// there for the next one. The kill comes from outside, at every stage.
func TestKilledAfterWrite(t *testing.T) {
	for reached := range allStages {
		t.Run(string(allStages[reached]), func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, "stages", dir)
			for i := range reached + 1 {
				require.Equal(t, string(allStages[i]), c.line(t))
				if i < reached {
					_, err := c.input.Write([]byte{'\n'})
					require.NoError(t, err)
				}
			}
			c.kill(t)
			s := open(t, dir)
			require.Equal(t, allStages[reached], stageOf(t, s, "k"))
			require.NoError(t, s.VerifyChain(t.Context()))
			due, err := s.Due(t.Context(), time.Now())
			require.NoError(t, err)
			require.Equal(t, allStages[reached] == wallet.StageCredited, len(due) == 1, "the outbox must agree with the journal")
		})
	}
}

// A process that is killed in the middle of writing leaves a whole journal, in which
// everything is that it told of, and at most the one entry that it was writing.
func TestKilledWhileWriting(t *testing.T) {
	for _, lines := range []int{1, 40, 97, 200} {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, "flood", dir)
			for range lines {
				c.line(t)
			}
			require.NoError(t, c.command.Process.Kill())
			told := lines
			for c.lines.Scan() { // what it told before the kill reached it
				if strings.HasPrefix(c.lines.Text(), "k") && len(strings.Fields(c.lines.Text())) == 2 {
					told++
				}
			}
			_ = c.command.Wait() // says that it was killed
			s := open(t, dir)
			require.NoError(t, s.VerifyChain(t.Context()))
			mark, err := s.Mark(t.Context())
			require.NoError(t, err)
			require.Contains(t, []int64{int64(told), int64(told) + 1}, mark.Seq)
		})
	}
}

// leaseCount is how many leases the processes fight for.
const leaseCount = 60

func TestTwoProcessesNeverTakeTheSameLease(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var leases []wallet.Lease
	for i := range leaseCount {
		leases = append(leases, lease(byte(i), 1, i))
	}
	require.NoError(t, s.PutLeases(t.Context(), leases))
	children := []*child{startChild(t, "leases", dir), startChild(t, "leases", dir), startChild(t, "leases", dir)}
	taken := map[string]bool{}
	for _, c := range children {
		for _, tid := range c.allLines(t) {
			require.False(t, taken[tid], "%s was taken twice", tid)
			taken[tid] = true
		}
	}
	require.Len(t, taken, leaseCount)
}

func TestManyProcessesOpenAnEmptyProfile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile")
	var children []*child
	for range 4 {
		children = append(children, startChild(t, "open", dir))
	}
	var names []string
	for _, c := range children {
		names = append(names, c.allLines(t)...)
	}
	s := open(t, dir)
	require.Len(t, names, 4)
	for _, name := range names {
		value, err := s.Get(t.Context(), name)
		require.NoError(t, err, "two processes made a key each")
		require.Equal(t, "value", string(value))
	}
}

func TestMoneyLockAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	holder := startChild(t, "lock", dir)
	told := strings.Fields(holder.line(t))
	require.Equal(t, "locked", told[0])
	refused := startChild(t, "lock", dir)
	why := refused.line(t) // one that is not refused would wait for its end
	require.True(t, strings.HasPrefix(why, "busy"), why)
	require.Contains(t, why, "process "+told[1])
	require.Empty(t, refused.allLines(t))
	holder.kill(t)
	unlock, err := open(t, dir).LockMoney(t.Context())
	require.NoError(t, err, "a dead process must not hold the lock")
	unlock()
}

func TestSecretsAreNotInClear(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	secret := []byte("the-refresh-token-0123456789abcdef")
	require.NoError(t, s.Put(t.Context(), "refresh", secret))
	require.NoError(t, s.PutSetting(t.Context(), "probe", "a-plain-setting")) // shows that the search can find
	search := func(text []byte) (found bool) {
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(dir, file.Name()))
			require.NoError(t, err)
			found = found || bytes.Contains(content, text)
		}
		return found
	}
	require.True(t, search([]byte("a-plain-setting")))
	require.False(t, search(secret), "in the write-ahead log")
	require.NoError(t, s.Close())
	require.True(t, search([]byte("a-plain-setting")))
	require.False(t, search(secret), "in the database")
}
