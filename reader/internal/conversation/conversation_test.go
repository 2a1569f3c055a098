package conversation

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/reader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a driver whose calls are functions.
type wire struct {
	exchange func(command []byte) ([]byte, error)
	alive    func() error
	released atomic.Int32
}

func (w *wire) Exchange(command []byte) ([]byte, error) { return w.exchange(command) }
func (w *wire) Alive() error                            { return w.alive() }
func (w *wire) Release()                                { w.released.Add(1) }

func classify(op string, err error) error {
	return &reader.Error{Class: reader.CardGone, Op: op, Err: err}
}

var command = []byte{0x80, 0x5C, 0x00, 0x02, 0x04}

func TestPanicOfTheDriverIsAnError(t *testing.T) {
	w := &wire{exchange: func([]byte) ([]byte, error) { panic("index out of range") }}
	c := Start(w, nil, 0, classify)
	_, err := c.Transmit(context.Background(), command)
	require.ErrorIs(t, err, ErrPanic)
	<-c.Done()
	require.Equal(t, int32(1), w.released.Load())
}

func TestReleaseMayPanic(t *testing.T) {
	c := Start(panicking{}, nil, 0, classify)
	require.NoError(t, c.Close())
	<-c.Done()
}

type panicking struct{}

func (panicking) Exchange([]byte) ([]byte, error) { panic("exchange") }
func (panicking) Alive() error                    { panic("alive") }
func (panicking) Release()                        { panic("release") }

// The clock is a fake one: a card that is never touched fails at once, and the period
// is exact. Every command begins it anew.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const period = 2 * time.Second
		began := time.Now()
		var touched []time.Duration
		w := &wire{
			alive:    func() error { touched = append(touched, time.Since(began)); return nil },
			exchange: func([]byte) ([]byte, error) { return []byte{0x90, 0x00}, nil },
		}
		c := Start(w, nil, period, classify)
		time.Sleep(5 * time.Second)
		_, err := c.Transmit(context.Background(), command)
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		require.NoError(t, c.Err())
		require.NoError(t, c.Close())
		<-c.Done()
		require.Equal(t, []time.Duration{2 * time.Second, 4 * time.Second, 7 * time.Second}, touched)
	})
}

func TestFailedKeepAliveEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("removed")
		w := &wire{alive: func() error { return cause }}
		c := Start(w, nil, time.Second, classify)
		time.Sleep(1500 * time.Millisecond)
		defer c.Close()
		require.Error(t, c.Err(), "the card is known to be gone before the next command")
		_, err := c.Transmit(context.Background(), command)
		require.Equal(t, reader.CardGone, reader.ClassOf(err))
		require.ErrorIs(t, err, cause)
	})
}

// TestAbandonedCallReadsItsOwnCommand changes the caller's buffer while the driver
// still holds the command.
func TestAbandonedCallReadsItsOwnCommand(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	seen := make(chan byte, 1)
	w := &wire{exchange: func(command []byte) ([]byte, error) {
		close(arrived)
		<-goOn
		seen <- command[1]
		return []byte{0x90, 0x00}, nil
	}}
	c := Start(w, nil, 0, classify)
	ctx, cancel := context.WithCancel(context.Background())
	buffer := []byte{0x80, 0x52, 0x00, 0x00}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Transmit(ctx, buffer)
		failed <- err
	}()
	<-arrived
	cancel()
	require.Equal(t, reader.Unresponsive, reader.ClassOf(<-failed))
	require.True(t, c.Stuck())
	buffer[1] = 0
	close(goOn)
	require.Equal(t, byte(0x52), <-seen)
	<-c.Done()
	require.False(t, c.Stuck(), "a call that has come back is not stuck")
	require.Equal(t, int32(1), w.released.Load())
}

func TestClosedSession(t *testing.T) {
	c := Start(&wire{}, []byte{0x3B, 0x00}, 0, classify)
	require.Equal(t, []byte{0x3B, 0x00}, c.ATR())
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err := c.Transmit(context.Background(), command)
	require.ErrorIs(t, err, os.ErrClosed)
	<-c.Done()
}

// TestExpiredContextSendsNothing: the deadline has passed before the command left.
func TestExpiredContextSendsNothing(t *testing.T) {
	w := &wire{exchange: func([]byte) ([]byte, error) { t.Error("sent"); return nil, nil }}
	c := Start(w, nil, 0, classify)
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	_, err := c.Transmit(ctx, command)
	require.Equal(t, reader.Unresponsive, reader.ClassOf(err))
	<-c.Done()
}
