//go:build cgo && linux

package pcsc_test

import (
	"context"
	"testing"
	"time"

	"github.com/ebfe/scard"
	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/readertest"
)

// other is another program that has the card open.
func other(t *testing.T, name string, mode scard.ShareMode) *scard.Card {
	t.Helper()
	c, err := scard.EstablishContext()
	require.NoError(t, err)
	card, err := c.Connect(name, mode, scard.ProtocolAny)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = card.Disconnect(scard.LeaveCard)
		_ = c.Release()
	})
	return card
}

// present starts a service with a card in its first reader.
func present(t *testing.T) (*pcsc.Driver, string, *readertest.Parrot) {
	t.Helper()
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	chip := readertest.NewParrot(7)
	t.Cleanup(chip.Wake)
	f.Insert(chip)
	readertest.Await(t, pcsc.New(), f.Name(), reader.StatePresent)
	return pcsc.New(), f.Name(), chip
}

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

const patience = 20 * time.Second

func TestHeldExclusivelyByAnother(t *testing.T) {
	driver, name, _ := present(t)
	card := other(t, name, scard.ShareExclusive)
	_, err := driver.Open(within(t, patience), name)
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)
	readertest.Await(t, driver, name, reader.StateBusy)
	require.NoError(t, card.Disconnect(scard.LeaveCard))
	session, err := driver.Open(within(t, patience), name)
	require.NoError(t, err)
	require.NoError(t, session.Close())
}

// TestSharedWithAnother: a program that merely has the card open does not keep us
// out, and it cannot reset the card under us.
func TestSharedWithAnother(t *testing.T) {
	driver, name, chip := present(t)
	card := other(t, name, scard.ShareShared)
	session, err := driver.Open(within(t, patience), name)
	require.NoError(t, err)
	_, err = session.Transmit(within(t, patience), readertest.SelectPurse)
	require.NoError(t, err)
	resets := chip.Resets()
	reset := make(chan error, 1)
	go func() { reset <- card.Disconnect(scard.ResetCard) }()
	for range 50 {
		answer, err := session.Transmit(within(t, patience), readertest.GetBalance)
		require.NoError(t, err)
		require.Equal(t, []byte{0, 0, 0, 7, 0x90, 0x00}, answer)
	}
	require.Equal(t, resets, chip.Resets(), "the reset waits for the end of our transaction")
	require.NoError(t, session.Close())
	<-reset
}

func TestTransactionOfAnother(t *testing.T) {
	driver, name, _ := present(t)
	card := other(t, name, scard.ShareShared)
	require.NoError(t, card.BeginTransaction())
	_, err := driver.Open(within(t, 300*time.Millisecond), name)
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)
	infos, err := driver.List(within(t, patience))
	require.NoError(t, err, "a blocked Open does not block the list")
	require.Len(t, infos, pcsctest.Slots)
	require.NoError(t, card.EndTransaction(scard.LeaveCard))
	session, err := driver.Open(within(t, patience), name)
	require.NoError(t, err, "the Open that was left behind gives the card back")
	_, err = session.Transmit(within(t, patience), readertest.SelectPurse)
	require.NoError(t, err)
	require.NoError(t, session.Close())
}

// TestIdleCardIsTouched: a session that says nothing touches its card all the same, and
// so learns that it has left. Windows would reset a card that is never touched.
func TestIdleCardIsTouched(t *testing.T) {
	service := pcsctest.Start(t)
	f := newField(t, service, 0)
	f.Insert(readertest.NewParrot(7))
	readertest.Await(t, pcsc.New(), f.Name(), reader.StatePresent)
	session, err := pcsc.New().Open(within(t, patience), f.Name())
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	f.Remove()
	talk, ok := session.(interface{ Done() <-chan struct{} })
	require.True(t, ok)
	select {
	case <-talk.Done():
	case <-within(t, patience).Done():
		require.FailNow(t, "the session never looked after its card")
	}
}

func TestNoService(t *testing.T) {
	service := pcsctest.Start(t)
	service.Kill()
	_, err := pcsc.New().List(within(t, patience))
	require.Equal(t, reader.NoService, reader.ClassOf(err), "%v", err)
	_, err = pcsc.New().Open(within(t, patience), service.Name(0))
	require.Equal(t, reader.NoService, reader.ClassOf(err), "%v", err)
}
