// Package conversation is what every driver's session has in common: one goroutine
// that owns the card, a watchdog, a keep-alive, and an end after the first error.
package conversation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"walletcompanion/reader"
)

// Watchdog ends a Transmit whose context has no deadline of its own. It is the
// longest time-out of a command (protocol dossier §2.11).
const Watchdog = 15 * time.Second

// shortestCommand is CLA INS P1 P2. The virtual reader of the real service takes a
// single byte for a control message and hangs (reader dossier §1.2).
const shortestCommand = 4

// Wire is the driver's end of a conversation. All its functions are called from the
// owner goroutine; any of them may block for ever or panic.
type Wire interface {
	// Exchange sends a command and returns data ‖ SW1 SW2.
	Exchange(command []byte) ([]byte, error)
	// Alive touches the card so that the system does not reset it.
	Alive() error
	// Release gives the card back without resetting it. It is called once.
	Release()
}

// Conversation is a reader.Session over a Wire.
//
// The owner goroutine lives as long as the session, so a command costs two hand-overs
// and not a new goroutine. When a command outlives its watchdog the goroutine is
// abandoned: it ends, and releases the wire, whenever the driver call comes back.
type Conversation struct {
	wire      Wire
	atr       []byte
	keepAlive time.Duration
	classify  func(op string, err error) error

	turn     sync.Mutex // one Transmit at a time
	commands chan []byte
	answers  chan reply // holds one, so that an abandoned owner never blocks

	mu    sync.Mutex
	err   error // why the session is over
	stuck bool  // a driver call outlived its watchdog

	over chan struct{} // closed with the first error or Close
	done chan struct{} // closed when the wire is released
}

type reply struct {
	answer []byte
	err    error
}

// Start begins a conversation. A keepAlive of 0 means none. The function classify
// turns what the wire said into a *reader.Error.
func Start(wire Wire, atr []byte, keepAlive time.Duration, classify func(op string, err error) error) *Conversation {
	c := &Conversation{
		wire: wire, atr: slices.Clone(atr), keepAlive: keepAlive, classify: classify,
		commands: make(chan []byte), answers: make(chan reply, 1),
		over: make(chan struct{}), done: make(chan struct{}),
	}
	go c.own()
	return c
}

// own is the goroutine that alone touches the wire.
func (c *Conversation) own() {
	defer close(c.done)
	defer func() { _ = Guard(func() error { c.wire.Release(); return nil }) }()
	var idle <-chan time.Time
	var timer *time.Timer
	if c.keepAlive > 0 {
		timer = time.NewTimer(c.keepAlive)
		defer timer.Stop()
		idle = timer.C
	}
	for {
		select {
		case <-c.over:
			return
		case command := <-c.commands:
			answer, err := c.exchange(command)
			c.answers <- reply{answer, err}
		case <-idle:
			if err := Guard(c.wire.Alive); err != nil {
				c.Lose(c.classify("keep alive", err))
			}
		}
		if timer != nil {
			timer.Reset(c.keepAlive)
		}
	}
}

func (c *Conversation) exchange(command []byte) (answer []byte, err error) {
	defer recovered(&err)
	return c.wire.Exchange(command)
}

// Transmit implements reader.Session.
func (c *Conversation) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Watchdog)
		defer cancel()
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if err := c.Err(); err != nil {
		return nil, err
	}
	if len(command) < shortestCommand {
		return nil, c.Lose(&reader.Error{Class: reader.Protocol, Op: "transmit",
			Err: fmt.Errorf("a command of %d bytes is none", len(command))})
	}
	if ctx.Err() != nil {
		return nil, c.Lose(&reader.Error{Class: reader.Unresponsive, Op: "transmit", Err: ctx.Err()})
	}
	// The copy belongs to the owner goroutine: an abandoned driver call may read it
	// long after the caller has used its buffer again.
	select {
	case c.commands <- slices.Clone(command):
	case <-c.over:
		return nil, c.Err()
	case <-ctx.Done():
		return nil, c.abandon(ctx)
	}
	select {
	case r := <-c.answers:
		return c.accept(r)
	case <-c.over:
	case <-ctx.Done():
	}
	select { // an answer that has arrived is never thrown away
	case r := <-c.answers:
		return c.accept(r)
	default:
		return nil, c.abandon(ctx)
	}
}

// accept judges what the wire gave. Closing the card's end in the middle of a
// command can come through as success with an empty answer (reader dossier §1.2).
func (c *Conversation) accept(r reply) ([]byte, error) {
	if r.err != nil {
		return nil, c.Lose(c.classify("transmit", r.err))
	}
	if len(r.answer) < 2 {
		return nil, c.Lose(&reader.Error{Class: reader.Protocol, Op: "transmit",
			Err: fmt.Errorf("an answer of %d bytes has no status word", len(r.answer))})
	}
	return r.answer, nil
}

// abandon leaves a driver call to itself.
func (c *Conversation) abandon(ctx context.Context) error {
	c.mu.Lock()
	c.stuck = true
	c.mu.Unlock()
	return c.Lose(&reader.Error{Class: reader.Unresponsive, Op: "transmit", Err: ctx.Err()})
}

// Lose ends the conversation for the given reason, unless it is over already, and
// returns the reason that holds. A Transmit in flight returns at once.
func (c *Conversation) Lose(reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = reason
		close(c.over)
	}
	return c.err
}

// Err is why the conversation is over, or nil while it lasts.
func (c *Conversation) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stuck tells whether a driver call outlived its watchdog and has not come back.
func (c *Conversation) Stuck() bool {
	select {
	case <-c.done:
		return false
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stuck
}

// Done is closed when the card has been given back.
func (c *Conversation) Done() <-chan struct{} { return c.done }

// ATR implements reader.Session.
func (c *Conversation) ATR() []byte { return slices.Clone(c.atr) }

// Close implements reader.Session. The card is given back by the owner goroutine;
// an Open of the same reader waits for that.
func (c *Conversation) Close() error {
	_ = c.Lose(fmt.Errorf("transmit: the session was closed: %w", os.ErrClosed))
	return nil
}

// Guard calls a driver function and turns a panic into an error.
func Guard(call func() error) (err error) {
	defer recovered(&err)
	return call()
}

// ErrPanic marks an error that was a panic of the driver's library.
var ErrPanic = errors.New("the driver failed")

func recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %v", ErrPanic, cause)
	}
}
