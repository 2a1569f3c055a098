package readertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/reader"
)

// patience is how long the suite waits for what must happen; nothing is measured by
// it, a test that reaches it has failed.
const patience = 20 * time.Second

// watchdog is the deadline given to a command that is never answered.
const watchdog = 300 * time.Millisecond

// Field is the field of one reader under test.
type Field interface {
	// Name is the reader's name.
	Name() string
	// Insert puts a chip into the empty field.
	Insert(chip reader.Chip)
	// Remove takes the card out.
	Remove()
	// Swap exchanges the card as fast as the driver allows.
	Swap(chip reader.Chip)
}

// Subject is a driver with two readers, both empty.
type Subject struct {
	Driver reader.Driver
	Fields [2]Field
	// Kill and Restart end and start the service that the driver needs; nil where
	// there is none.
	Kill, Restart func()
	// Unplug takes away the first reader; nil where the test cannot.
	Unplug func()
}

// Run runs the suite. The function start makes a new subject for each case and
// cleans up after it with t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Subject) {
	cases := []struct {
		name string
		run  func(t *testing.T, s Subject)
	}{
		{"List", testList},
		{"ListEndsWithContext", testListCancelled},
		{"WatchSeesInsertAndRemove", testWatch},
		{"TwoWatchers", testTwoWatchers},
		{"ListWhileWatching", testListWhileWatching},
		{"OpenRefusals", testOpenRefusals},
		{"Transmit", testTransmit},
		{"CallerKeepsItsBuffer", testBuffer},
		{"Exclusive", testExclusive},
		{"CloseLeavesTheCard", testClose},
		{"CloseDuringCommand", testCloseDuringCommand},
		{"TornDuringCommand", testTorn},
		{"RemovedDuringCommand", testRemovedDuringCommand},
		{"RemovedWhileIdle", testRemovedWhileIdle},
		{"ReturnedCardNeedsOpen", testReturned},
		{"SilentCard", testSilent},
		{"CancelledCommand", testCancelled},
		{"ShortCommands", testShortCommands},
		{"ShortAnswers", testShortAnswers},
		{"LongAnswers", testLongAnswers},
		{"TwoReaders", testTwoReaders},
		{"SwappedCard", testSwapped},
		{"KeptAliveWhileIdle", testKeptAlive},
		{"ServiceKilled", testServiceKilled},
		{"ServiceKilledDuringCommand", testServiceKilledDuringCommand},
		{"Unplugged", testUnplugged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			t.Cleanup(func() {
				if !t.Failed() {
					goleak.VerifyNone(t, leaks)
				}
			})
			c.run(t, start(t))
		})
	}
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Await watches until the reader is in the state and returns what was told of it.
func Await(t *testing.T, driver reader.Driver, name string, state reader.State) reader.Info {
	t.Helper()
	return await(t, driver, name, func(info reader.Info) bool { return info.State == state })
}

func await(t *testing.T, driver reader.Driver, name string, good func(reader.Info) bool) reader.Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last []reader.Info
	var lastErr error
	var found reader.Info
	err := driver.Watch(ctx, func(infos []reader.Info, err error) {
		last, lastErr = infos, err
		for _, info := range infos {
			if info.Name == name && good(info) {
				found = info
				cancel()
			}
		}
	})
	require.Error(t, err, "Watch ends with its context only")
	require.NotEmpty(t, found.Name, "%s never came to the state; last told: %+v %v", name, last, lastErr)
	return found
}

// insert puts a chip in and waits until the driver shows it.
func insert(t *testing.T, s Subject, field Field, chip *Parrot) reader.Info {
	t.Helper()
	t.Cleanup(chip.Wake)
	field.Insert(chip)
	return Await(t, s.Driver, field.Name(), reader.StatePresent)
}

func open(t *testing.T, s Subject, field Field) reader.Session {
	t.Helper()
	session, err := s.Driver.Open(patient(t), field.Name())
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// opened inserts a chip, opens it and selects.
func opened(t *testing.T, s Subject, chip *Parrot) reader.Session {
	t.Helper()
	insert(t, s, s.Fields[0], chip)
	session := open(t, s, s.Fields[0])
	answers(t, session, SelectPurse, 0x90, 0x00)
	return session
}

func answers(t *testing.T, session reader.Session, command []byte, expected ...byte) {
	t.Helper()
	answer, err := session.Transmit(patient(t), command)
	require.NoError(t, err)
	require.Equal(t, expected, answer)
}

// over checks that a session fails with one of the classes, and goes on failing.
func over(t *testing.T, session reader.Session, chip *Parrot, classes ...reader.Class) {
	t.Helper()
	_, err := session.Transmit(patient(t), GetBalance)
	require.Error(t, err)
	require.Contains(t, classes, reader.ClassOf(err), "%v", err)
	before := chip.Commands()
	for range 3 {
		_, again := session.Transmit(patient(t), GetBalance)
		require.Error(t, again, "a session that has failed stays failed")
	}
	require.Equal(t, before, chip.Commands(), "nothing reaches the card after the first error")
}

// testList lists both readers with their states, and the answer to reset of the card
// that is there.
func testList(t *testing.T, s Subject) {
	chip := NewParrot(1)
	insert(t, s, s.Fields[0], chip)
	infos, err := s.Driver.List(patient(t))
	require.NoError(t, err)
	require.Len(t, infos, 2)
	for i, info := range infos {
		require.Equal(t, s.Fields[i].Name(), info.Name)
		require.NotEmpty(t, info.Driver)
	}
	require.Equal(t, reader.StatePresent, infos[0].State)
	require.Equal(t, chip.ATR(), infos[0].ATR)
	require.Equal(t, reader.StateEmpty, infos[1].State)
	require.Empty(t, infos[1].ATR)
}

// testListCancelled ends with its context.
func testListCancelled(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Driver.List(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// testWatch tells a card that comes and a card that goes.
func testWatch(t *testing.T, s Subject) {
	chip := NewParrot(1)
	there := insert(t, s, s.Fields[0], chip)
	require.Equal(t, chip.ATR(), there.ATR)
	s.Fields[0].Remove()
	gone := Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	require.Empty(t, gone.ATR)
	require.NotEqual(t, there.Events, gone.Events, "the counter shows the removal")
	s.Fields[0].Insert(chip)
	back := Await(t, s.Driver, s.Fields[0].Name(), reader.StatePresent)
	require.NotEqual(t, there.Events, back.Events, "the counter shows the tap")
}

// testTwoWatchers tells two watchers the same.
func testTwoWatchers(t *testing.T, s Subject) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const watchers = 2
	seen := make(chan struct{}, watchers)
	ended := make(chan error, watchers)
	for range watchers {
		go func() {
			told := false
			ended <- s.Driver.Watch(ctx, func(infos []reader.Info, _ error) {
				there := slices.ContainsFunc(infos, func(info reader.Info) bool {
					return info.Name == s.Fields[1].Name() && info.State == reader.StatePresent
				})
				if there && !told {
					told = true
					seen <- struct{}{}
				}
			})
		}()
	}
	s.Fields[1].Insert(NewParrot(1))
	for range watchers {
		select {
		case <-seen:
		case <-ctx.Done():
			t.Fatal("a watcher was not told")
		}
	}
	cancel()
	for range watchers {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}

// testListWhileWatching lists while a watch is asleep: the watch must not make the
// list wait for its own end.
func testListWhileWatching(t *testing.T, s Subject) {
	insert(t, s, s.Fields[0], NewParrot(1))
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan struct{}, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Driver.Watch(ctx, func([]reader.Info, error) { told <- struct{}{} })
	}()
	<-told
	for range 20 {
		short, stop := context.WithTimeout(context.Background(), patience/2)
		infos, err := s.Driver.List(short)
		stop()
		require.NoError(t, err)
		require.Len(t, infos, 2)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// testOpenRefusals refuses an empty reader and a reader that does not exist, each with
// its class.
func testOpenRefusals(t *testing.T, s Subject) {
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	_, err := s.Driver.Open(patient(t), "no reader of that name")
	require.Equal(t, reader.NoReader, reader.ClassOf(err), "%v", err)
	_, err = s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.NoCard, reader.ClassOf(err), "%v", err)
}

// testTransmit carries commands and answers unchanged.
func testTransmit(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	require.Equal(t, chip.ATR(), session.ATR())
	for range 100 {
		answers(t, session, GetBalance, 0, 0, 0, 7, 0x90, 0x00)
	}
	answers(t, session, []byte{0x80, 0x01, 0x00, 0x00}, 0x6D, 0x00)
}

// testBuffer leaves the command in the caller's buffer as it was.
func testBuffer(t *testing.T, s Subject) {
	session := opened(t, s, NewParrot(7))
	buffer := slices.Clone(GetBalance)
	first, err := session.Transmit(patient(t), buffer)
	require.NoError(t, err)
	kept := slices.Clone(first)
	_, err = session.Transmit(patient(t), AnswerBytes(20))
	require.NoError(t, err)
	require.Equal(t, kept, first, "an answer belongs to the caller")
	require.Equal(t, GetBalance, buffer, "the command is not changed")
}

// testExclusive lets nobody else open a card that is held; to ourselves it is not busy.
func testExclusive(t *testing.T, s Subject) {
	chip := NewParrot(7)
	first := opened(t, s, chip)
	_, err := s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)
	answers(t, first, GetBalance, 0, 0, 0, 7, 0x90, 0x00)
	infos, err := s.Driver.List(patient(t))
	require.NoError(t, err)
	require.Equal(t, reader.StatePresent, infos[0].State, "a card that we hold ourselves is not busy")
	require.NoError(t, first.Close())
	second := open(t, s, s.Fields[0])
	answers(t, second, SelectPurse, 0x90, 0x00)
}

// testClose releases the card without resetting it; calls after Close fail.
func testClose(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	resets := chip.Resets()
	for range 3 {
		require.NoError(t, session.Close())
	}
	before := chip.Commands()
	_, err := session.Transmit(patient(t), GetBalance)
	require.Error(t, err)
	require.Equal(t, before, chip.Commands())
	again := open(t, s, s.Fields[0])
	answers(t, again, SelectPurse, 0x90, 0x00)
	require.Equal(t, resets, chip.Resets(), "a card is given back without a reset")
}

// testCloseDuringCommand closes while a command is on its way, without blocking.
func testCloseDuringCommand(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	failed := make(chan error, 1)
	go func() {
		_, err := session.Transmit(context.Background(), StaySilent)
		failed <- err
	}()
	commands(t, chip, 2)
	require.NoError(t, session.Close())
	require.Error(t, <-failed)
	chip.Wake()
}

// commands waits until the chip has received that many.
func commands(t *testing.T, chip *Parrot, count int) {
	t.Helper()
	require.Eventually(t, func() bool { return chip.Commands() >= count }, patience, time.Millisecond)
}

// testTorn loses the card inside a command: an error, and the session is over.
func testTorn(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	chip.TearNext()
	before := chip.Commands()
	_, err := session.Transmit(patient(t), GetBalance)
	require.Equal(t, reader.CardGone, reader.ClassOf(err), "%v", err)
	require.Equal(t, before+1, chip.Commands(), "the chip did execute the command")
	over(t, session, chip, reader.CardGone)
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
}

// testRemovedDuringCommand takes the card out while the chip works on a command.
func testRemovedDuringCommand(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	failed := make(chan error, 1)
	go func() {
		_, err := session.Transmit(context.Background(), StaySilent)
		failed <- err
	}()
	commands(t, chip, 2)
	s.Fields[0].Remove()
	err := <-failed
	require.Equal(t, reader.CardGone, reader.ClassOf(err), "%v", err)
	chip.Wake()
	over(t, session, chip, reader.CardGone)
}

// testRemovedWhileIdle takes the card out between two commands: the next one fails.
func testRemovedWhileIdle(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	s.Fields[0].Remove()
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	over(t, session, chip, reader.CardGone)
	_, err := s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.NoCard, reader.ClassOf(err), "%v", err)
}

// testReturned puts the card back: the old session stays dead, Open begins anew and
// nothing is selected.
func testReturned(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	s.Fields[0].Remove()
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	s.Fields[0].Insert(chip)
	Await(t, s.Driver, s.Fields[0].Name(), reader.StatePresent)
	over(t, session, chip, reader.CardGone)
	require.NoError(t, session.Close())
	again := open(t, s, s.Fields[0])
	answers(t, again, GetBalance, 0x69, 0x85)
	answers(t, again, SelectPurse, 0x90, 0x00)
	answers(t, again, GetBalance, 0, 0, 0, 7, 0x90, 0x00)
}

// testSilent meets a card that never answers: the deadline ends the call with class
// Unresponsive.
func testSilent(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	_, err := session.Transmit(ctx, StaySilent)
	require.Equal(t, reader.Unresponsive, reader.ClassOf(err), "%v", err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	over(t, session, chip, reader.Unresponsive)
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateMute)
	_, err = s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.Unresponsive, reader.ClassOf(err), "%v", err)
	require.NoError(t, session.Close())
	chip.Wake()
	Await(t, s.Driver, s.Fields[0].Name(), reader.StatePresent)
	again := open(t, s, s.Fields[0])
	answers(t, again, SelectPurse, 0x90, 0x00)
}

// testCancelled cancels a command on its way: the outcome is unknown and the session
// over.
func testCancelled(t *testing.T, s Subject) {
	chip := NewParrot(7)
	session := opened(t, s, chip)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := session.Transmit(ctx, StaySilent)
		failed <- err
	}()
	commands(t, chip, 2)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	chip.Wake()
	_, err := session.Transmit(patient(t), GetBalance)
	require.Error(t, err)
}

// testShortCommands sends nothing that is shorter than a command.
func testShortCommands(t *testing.T, s Subject) {
	chip := NewParrot(7)
	insert(t, s, s.Fields[0], chip)
	for length := range 4 {
		session := open(t, s, s.Fields[0])
		before := chip.Commands()
		_, err := session.Transmit(patient(t), make([]byte, length))
		require.Equal(t, reader.Protocol, reader.ClassOf(err), "%d bytes: %v", length, err)
		require.Equal(t, before, chip.Commands())
		require.NoError(t, session.Close())
	}
}

// testShortAnswers takes an answer without a status word for class Protocol.
func testShortAnswers(t *testing.T, s Subject) {
	for length := range 2 {
		chip := NewParrot(7)
		insert(t, s, s.Fields[0], chip)
		session := open(t, s, s.Fields[0])
		_, err := session.Transmit(patient(t), AnswerBytes(length))
		require.Equal(t, reader.Protocol, reader.ClassOf(err), "%d bytes: %v", length, err)
		over(t, session, chip, reader.Protocol)
		require.NoError(t, session.Close())
		s.Fields[0].Remove()
		Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	}
}

// testLongAnswers carries answers of 2 to 65,535 bytes unchanged.
func testLongAnswers(t *testing.T, s Subject) {
	session := opened(t, s, NewParrot(7))
	for _, length := range []int{2, 3, 256, 257, 258, 259, 4096, 65535} {
		answer, err := session.Transmit(patient(t), AnswerBytes(length))
		require.NoError(t, err)
		require.Len(t, answer, length)
		require.Equal(t, []byte{0x90, 0x00}, answer[length-2:])
	}
}

// testTwoReaders talks to two cards at once without mixing them.
func testTwoReaders(t *testing.T, s Subject) {
	chips := [2]*Parrot{NewParrot(1), NewParrot(2)}
	var sessions [2]reader.Session
	for i, chip := range chips {
		insert(t, s, s.Fields[i], chip)
		sessions[i] = open(t, s, s.Fields[i])
		answers(t, sessions[i], SelectPurse, 0x90, 0x00)
	}
	done := make(chan error, len(sessions))
	for i, session := range sessions {
		go func() {
			for range 100 {
				answer, err := session.Transmit(context.Background(), GetBalance)
				if err == nil && !slices.Equal(answer, []byte{0, 0, 0, byte(i + 1), 0x90, 0x00}) {
					err = errors.New("an answer of the other card")
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range sessions {
		require.NoError(t, <-done)
	}
	s.Fields[0].Remove()
	Await(t, s.Driver, s.Fields[0].Name(), reader.StateEmpty)
	over(t, sessions[0], chips[0], reader.CardGone)
	answers(t, sessions[1], GetBalance, 0, 0, 0, 2, 0x90, 0x00)
}

// testSwapped exchanges the card behind an open session. A driver that notices ends
// the session; one that cannot lets the new card answer, without the selection of the
// old one. The old card is never written to again, and a fresh Open has the new one.
func testSwapped(t *testing.T, s Subject) {
	old, fresh := NewParrot(1), NewParrot(2)
	t.Cleanup(fresh.Wake)
	session := opened(t, s, old)
	before := old.Commands()
	s.Fields[0].Swap(fresh)
	answer, err := session.Transmit(patient(t), GetBalance)
	if err == nil {
		require.Equal(t, []byte{0x69, 0x85}, answer)
	} else {
		require.Equal(t, reader.CardGone, reader.ClassOf(err), "%v", err)
	}
	require.Equal(t, before, old.Commands())
	require.NoError(t, session.Close())
	Await(t, s.Driver, s.Fields[0].Name(), reader.StatePresent)
	again := open(t, s, s.Fields[0])
	answers(t, again, SelectPurse, 0x90, 0x00)
	answers(t, again, GetBalance, 0, 0, 0, 2, 0x90, 0x00)
}

// testKeptAlive lets the session idle past the first keep-alive: neither the
// selection nor the session may be lost, and the card receives nothing.
func testKeptAlive(t *testing.T, s Subject) {
	if testing.Short() {
		t.Skip("idles for some seconds")
	}
	chip := NewParrot(7)
	session := opened(t, s, chip)
	before := chip.Commands()
	time.Sleep(2500 * time.Millisecond)
	require.Equal(t, before, chip.Commands())
	answers(t, session, GetBalance, 0, 0, 0, 7, 0x90, 0x00)
}

// testServiceKilled ends the service under an open session, and works again once it is
// back.
func testServiceKilled(t *testing.T, s Subject) {
	if s.Kill == nil {
		t.Skip("this driver needs no service")
	}
	chip := NewParrot(7)
	session := opened(t, s, chip)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	type told struct {
		infos []reader.Info
		err   error
	}
	views := make(chan told, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Driver.Watch(ctx, func(infos []reader.Info, err error) { views <- told{infos, err} })
	}()
	awaitView := func(good func(told) bool) {
		t.Helper()
		for {
			select {
			case v := <-views:
				if good(v) {
					return
				}
			case <-ctx.Done():
				t.Fatal("the watcher was not told")
			}
		}
	}
	awaitView(func(v told) bool { return len(v.infos) == 2 })
	s.Kill()
	awaitView(func(v told) bool { return v.infos == nil && reader.ClassOf(v.err) == reader.NoService })
	over(t, session, chip, reader.NoService)
	_, err := s.Driver.List(patient(t))
	require.Equal(t, reader.NoService, reader.ClassOf(err), "%v", err)
	_, err = s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.NoService, reader.ClassOf(err), "%v", err)
	s.Restart()
	awaitView(func(v told) bool {
		return v.err == nil && len(v.infos) == 2 && v.infos[0].State == reader.StatePresent
	})
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	over(t, session, chip, reader.NoService)
	require.NoError(t, session.Close())
	again := open(t, s, s.Fields[0])
	answers(t, again, SelectPurse, 0x90, 0x00)
}

// testServiceKilledDuringCommand ends the service inside a command: the outcome is
// unknown.
func testServiceKilledDuringCommand(t *testing.T, s Subject) {
	if s.Kill == nil {
		t.Skip("this driver needs no service")
	}
	chip := NewParrot(7)
	session := opened(t, s, chip)
	failed := make(chan error, 1)
	go func() {
		_, err := session.Transmit(context.Background(), StaySilent)
		failed <- err
	}()
	commands(t, chip, 2)
	s.Kill()
	err := <-failed
	require.Equal(t, reader.NoService, reader.ClassOf(err), "%v", err)
	chip.Wake()
}

// testUnplugged takes the reader away under an open session.
func testUnplugged(t *testing.T, s Subject) {
	if s.Unplug == nil {
		t.Skip("the test cannot unplug this reader")
	}
	chip := NewParrot(7)
	session := opened(t, s, chip)
	s.Unplug()
	over(t, session, chip, reader.ReaderGone)
	infos, err := s.Driver.List(patient(t))
	require.NoError(t, err)
	require.Len(t, infos, 1)
	_, err = s.Driver.Open(patient(t), s.Fields[0].Name())
	require.Equal(t, reader.NoReader, reader.ClassOf(err), "%v", err)
}
