//go:build cgo && linux

package pcsc_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// The accidents of the reader dossier §1.4 that the conformance suite does not know,
// each brought about at the real service.

// views are what a watch that nobody restarts is told.
type views struct {
	t    *testing.T
	told chan view
}

type view struct {
	infos []reader.Info
	err   error
}

func watching(t *testing.T) views {
	ctx, cancel := context.WithCancel(context.Background())
	v := views{t, make(chan view, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = pcsc.New().Watch(ctx, func(infos []reader.Info, err error) { v.told <- view{infos, err} })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return v
}

func (v views) until(what string, good func(view) bool) view {
	v.t.Helper()
	limit := time.After(2 * patience)
	var last view
	for {
		select {
		case last = <-v.told:
			if good(last) {
				return last
			}
		case <-limit:
			require.FailNow(v.t, "the watch was not told", "%s; last %+v", what, last)
		}
	}
}

// stateIs holds where the first reader is in the state.
func stateIs(name string, state reader.State) func(view) bool {
	return func(v view) bool {
		for _, info := range v.infos {
			if info.Name == name {
				return v.err == nil && info.State == state
			}
		}
		return false
	}
}

func classIs(class reader.Class) func(view) bool {
	return func(v view) bool { return v.infos == nil && reader.ClassOf(v.err) == class }
}

// TestServiceStopsAndStarts: whether it ends in order or is killed, the watch says so,
// and it and the next command go on by themselves once the service is back.
func TestServiceStopsAndStarts(t *testing.T) {
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	f.Insert(readertest.NewParrot(7))
	v := watching(t)
	v.until("a card", stateIs(f.Name(), reader.StatePresent))
	for name, end := range map[string]func(){"SIGTERM": service.Stop, "SIGKILL": service.Kill} {
		session, err := pcsc.New().Open(within(t, patience), f.Name())
		require.NoError(t, err, name)
		end()
		v.until("no service after "+name, classIs(reader.NoService))
		_, err = session.Transmit(within(t, patience), readertest.GetBalance)
		require.Equal(t, reader.NoService, reader.ClassOf(err), "%s: %v", name, err)
		_, err = pcsc.New().Open(within(t, patience), f.Name())
		require.Equal(t, reader.NoService, reader.ClassOf(err), "%s: %v", name, err)
		service.Restart()
		v.until("a card again after "+name, stateIs(f.Name(), reader.StatePresent))
		again, err := pcsc.New().Open(within(t, patience), f.Name())
		require.NoError(t, err, name)
		_, err = again.Transmit(within(t, patience), readertest.SelectPurse)
		require.NoError(t, err, name)
		require.NoError(t, again.Close())
	}
}

// TestReaderDisappears: the service comes back without the reader, and with others.
func TestReaderDisappears(t *testing.T) {
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	f.Insert(readertest.NewParrot(7))
	v := watching(t)
	v.until("a card", stateIs(f.Name(), reader.StatePresent))
	session, err := pcsc.New().Open(within(t, patience), f.Name())
	require.NoError(t, err)
	service.RestartWithOthers()
	others := v.until("other readers", func(v view) bool {
		return v.err == nil && len(v.infos) == pcsctest.Slots && v.infos[0].Name != f.Name()
	})
	require.Equal(t, reader.StateEmpty, others.infos[0].State)
	_, err = session.Transmit(within(t, patience), readertest.GetBalance)
	require.Contains(t, []reader.Class{reader.NoService, reader.ReaderGone}, reader.ClassOf(err), "%v", err)
	require.NoError(t, session.Close())
	_, err = pcsc.New().Open(within(t, patience), f.Name())
	require.Equal(t, reader.NoReader, reader.ClassOf(err), "%v", err)
}

// TestResetByAnother: a program that resets the card under an open handle. Our own
// sessions cannot be reset (exclusive, or in a transaction), so the handle is bare.
func TestResetByAnother(t *testing.T) {
	_, name, _ := present(t)
	ours, theirs := other(t, name, scard.ShareShared), other(t, name, scard.ShareShared)
	require.NoError(t, theirs.Reconnect(scard.ShareShared, scard.ProtocolAny, scard.ResetCard))
	_, err := ours.Transmit(readertest.SelectPurse)
	require.ErrorIs(t, err, scard.ErrResetCard)
	require.Equal(t, reader.CardReset, reader.ClassOf(pcsc.ClassifyTalk(err)))
}

// TestSlowCard: a card that takes longer than most is waited for, not given up.
func TestSlowCard(t *testing.T) {
	if testing.Short() {
		t.Skip("the card takes 8 s")
	}
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	chip := readertest.NewParrot(7)
	chip.SetSlow(8 * time.Second)
	f.Insert(chip)
	readertest.Await(t, pcsc.New(), f.Name(), reader.StatePresent)
	session, err := pcsc.New().Open(within(t, patience), f.Name())
	require.NoError(t, err)
	answer, err := session.Transmit(within(t, 3*patience), readertest.SelectPurse)
	require.NoError(t, err)
	require.Equal(t, []byte{0x90, 0x00}, answer)
	require.Equal(t, 1, chip.Commands())
	require.NoError(t, session.Close())
}

// TestStrangeATR: what is wrong with an answer to reset and can still be talked to is
// talked to; the rest has one class.
func TestStrangeATR(t *testing.T) {
	for _, c := range []struct {
		name  string
		atr   []byte
		class reader.Class // "" where the card can be opened
	}{
		{"wrong check byte", []byte{0x3B, 0x80, 0x80, 0x01, 0x55}, ""},
		{"cut short", []byte{0x3B, 0x8F, 0x80, 0x01}, ""},
		{"T=15 alone", []byte{0x3B, 0x80, 0x0F, 0x8F}, reader.Protocol},
		{"nonsense", []byte{0xAA, 0xBB, 0xCC, 0xDD}, reader.Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := pcsctest.Start(t)
			f := newField(t, service, 0)
			chip := readertest.NewParrot(7)
			chip.SetATR(c.atr)
			f.Insert(chip)
			watching(t).until("a card", func(v view) bool {
				return stateIs(f.Name(), reader.StatePresent)(v) || stateIs(f.Name(), reader.StateMute)(v)
			})
			session, err := pcsc.New().Open(within(t, patience), f.Name())
			require.Equal(t, c.class, reader.ClassOf(err), "%v", err)
			if c.class == "" {
				require.NoError(t, err)
				_, err = session.Transmit(within(t, patience), readertest.SelectPurse)
				require.NoError(t, err)
				require.NoError(t, session.Close())
			}
		})
	}
}

// strangerVariable makes the test program list the readers and say what it got.
const strangerVariable = "PCSCTEST_STRANGER"

func TestAccidentStranger(t *testing.T) {
	if os.Getenv(strangerVariable) == "" {
		return // started by another test only
	}
	_, err := pcsc.New().List(within(t, patience))
	fmt.Printf("stranger: class=%s error=%v\n", reader.ClassOf(err), err)
	_, err = pcsc.New().Open(within(t, patience), "x")
	fmt.Printf("stranger: class=%s error=%v\n", reader.ClassOf(err), err)
}

// TestAccessDenied: a user who may not use the service's socket. The library calls
// that "no service"; people need another remedy.
func TestAccessDenied(t *testing.T) {
	service := pcsctest.Start(t)
	const nobody = 65534
	binary := filepath.Join(filepath.Dir(filepath.Dir(service.Socket())), "stranger.test")
	copyProgram(t, binary)
	list := func() string {
		command := exec.Command(binary, "-test.run=^TestAccidentStranger$", "-test.v")
		command.Env = append(os.Environ(), strangerVariable+"=1")
		command.Dir = "/"
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: true}}
		out, err := command.CombinedOutput()
		if err != nil && strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("only one user is known in this namespace")
		}
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Contains(t, list(), "class= ", "an ordinary user may use the service")
	require.NoError(t, os.Chmod(service.Socket(), 0o600))
	out := list()
	require.Equal(t, 2, strings.Count(out, "class=no-access "), "%s", out)
}

// copyProgram puts this test program where every user can start it.
func copyProgram(t *testing.T, to string) {
	from, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer from.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(file, from)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Cleanup(func() { _ = os.Remove(to) })
}

// holdVariable makes the test program hold the card of the named reader until its
// standard input ends.
const holdVariable = "PCSCTEST_HOLD"

func TestAccidentHolder(t *testing.T) {
	name := os.Getenv(holdVariable)
	if name == "" {
		return // started by another test only
	}
	other(t, name, scard.ShareExclusive)
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// holder is another process that holds the card until its input ends.
func holder(t *testing.T, name string) (*exec.Cmd, io.Closer) {
	t.Helper()
	command := exec.Command("/proc/self/exe", "-test.run=^TestAccidentHolder$")
	command.Env = append(os.Environ(), holdVariable+"="+name)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	first := make([]byte, 5)
	_, err = io.ReadFull(out, first)
	require.NoError(t, err)
	require.Equal(t, "held\n", string(first))
	return command, in
}

// TestHolderIsKilled: the service takes the card back from a program that died with it.
func TestHolderIsKilled(t *testing.T) {
	driver, name, _ := present(t)
	command, _ := holder(t, name)
	_, err := driver.Open(within(t, patience), name)
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)
	require.NoError(t, command.Process.Kill())
	_ = command.Wait()
	readertest.Await(t, driver, name, reader.StatePresent)
	session, err := driver.Open(within(t, patience), name)
	require.NoError(t, err)
	_, err = session.Transmit(within(t, patience), readertest.SelectPurse)
	require.NoError(t, err)
	require.NoError(t, session.Close())
}

// TestHolderIsNamed: another process holds the card, and the reader's state as well
// as the refusal name its program.
func TestHolderIsNamed(t *testing.T) {
	driver, name, _ := present(t)
	command, in := holder(t, name)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", command.Process.Pid))
	require.NoError(t, err)
	program := strings.TrimSpace(string(comm))
	info := readertest.Await(t, driver, name, reader.StateBusy)
	require.Equal(t, program, info.Holder)
	_, err = driver.Open(within(t, patience), name)
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)
	require.Equal(t, program, reader.HolderOf(err))
	require.NoError(t, in.Close())
	require.NoError(t, command.Wait())
	info = readertest.Await(t, driver, name, reader.StatePresent)
	require.Empty(t, info.Holder)
}
