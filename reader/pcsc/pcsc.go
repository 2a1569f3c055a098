//go:build cgo || windows

package pcsc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ebfe/scard"

	"walletcompanion/reader"
	"walletcompanion/reader/internal/conversation"
)

// Driver is the connection to the system's smart card service. It implements
// reader.Driver.
type Driver struct {
	monitor monitor

	mu      sync.Mutex
	talks   map[string]*conversation.Conversation // last session of each reader
	opening map[string]chan struct{}              // attempts to open that have not returned
}

// New returns the driver of this process; there is one, since only one call in the
// process may wait for changes (reader dossier §1.5).
var New = sync.OnceValue(func() *Driver {
	d := &Driver{
		talks:   map[string]*conversation.Conversation{},
		opening: map[string]chan struct{}{},
	}
	d.monitor.overlay, d.monitor.establish = d.overlay, establish
	return d
})

// Released waits until the sessions that were closed have given their cards back, or
// ctx ends. A program calls it before it exits: a card that is still held then is
// reset by the service, and a reset that fails because the card is gone can leave the
// service blind for the next card (measured with pcscd 1.9.9).
func (d *Driver) Released(ctx context.Context) {
	d.mu.Lock()
	talks := slices.Collect(maps.Values(d.talks))
	d.mu.Unlock()
	for _, talk := range talks {
		if talk.Err() == nil {
			continue // still in use
		}
		select {
		case <-talk.Done():
		case <-ctx.Done():
			return
		}
	}
}

// List implements reader.Driver.
func (d *Driver) List(ctx context.Context) ([]reader.Info, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return d.monitor.list(ctx)
}

// Watch implements reader.Driver.
func (d *Driver) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	return d.monitor.watch(ctx, changed)
}

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callLimit)
}

// overlay corrects what the service says by what only this process knows: a card
// that we hold ourselves is not busy, and one that does not return from a command is
// mute.
func (d *Driver) overlay(info *reader.Info) {
	d.mu.Lock()
	talk := d.talks[info.Name]
	d.mu.Unlock()
	switch {
	case talk == nil:
	case talk.Stuck():
		info.State = reader.StateMute
	case info.State == reader.StateBusy && !isDone(talk):
		info.State = reader.StatePresent
	}
}

func isDone(talk *conversation.Conversation) bool {
	select {
	case <-talk.Done():
		return true
	default:
		return false
	}
}

// Open implements reader.Driver.
//
// The card is held with SCARD_SHARE_EXCLUSIVE: whoever has the card open makes us
// fail at once with Busy, and nobody can get between two of our commands, nor reset
// the card. Only where another program has it open shared, as a browser's or a mail
// program's card module does all day, it is opened shared and held by a transaction.
// A transaction of the other program makes that wait without limit; Open then ends
// with Busy at the deadline of ctx, or after 5 s.
func (d *Driver) Open(ctx context.Context, name string) (reader.Session, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	turn, err := d.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	var waitsForOther atomic.Bool
	opened := make(chan *conversation.Conversation)
	failed := make(chan error, 1)
	go func() {
		defer d.leave(name, turn)
		w, atr, err := connect(name, &waitsForOther)
		if err != nil {
			failed <- err
			return
		}
		talk := conversation.Start(w, atr, keepAlive, classifyTalk)
		d.mu.Lock()
		d.talks[name] = talk
		d.mu.Unlock()
		go d.tellWhenDone(talk)
		select {
		case opened <- talk:
		case <-ctx.Done(): // nobody waits any more
			_ = talk.Close()
		}
	}()
	select {
	case talk := <-opened:
		return talk, nil
	case err := <-failed:
		return nil, withHolder(classify("open", err))
	case <-ctx.Done():
		class := reader.Unresponsive
		if waitsForOther.Load() || d.usedByAnother(name) {
			class = reader.Busy
		}
		return nil, withHolder(&reader.Error{Class: class, Op: "open", Err: ctx.Err()})
	}
}

// withHolder names who holds the card, where the card is held and the system tells.
func withHolder(err error) error {
	var trouble *reader.Error
	if errors.As(err, &trouble) && trouble.Class == reader.Busy && trouble.Holder == "" {
		trouble.Holder = holderOfCard()
	}
	return err
}

// usedByAnother tells whether the card of a reader that did not open in time is open
// elsewhere: a transaction of another program blocks even an exclusive connect, just
// as a reader does that does not answer.
func (d *Driver) usedByAnother(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	_, err := d.monitor.list(ctx)
	return err == nil && d.monitor.used(name)
}

// tellWhenDone lets watchers see that a stuck reader has come back, or that a card
// which was ours is anybody's.
func (d *Driver) tellWhenDone(talk *conversation.Conversation) {
	<-talk.Done()
	d.monitor.look()
}

// enter waits until no other call of this process is opening the reader or giving
// its card back, and takes the turn. A stuck reader is refused at once.
func (d *Driver) enter(ctx context.Context, name string) (chan struct{}, error) {
	for {
		d.mu.Lock()
		talk, busy := d.talks[name], d.opening[name]
		var closing <-chan struct{}
		if talk != nil && talk.Err() != nil && !isDone(talk) {
			closing = talk.Done()
		}
		if talk != nil && talk.Stuck() {
			d.mu.Unlock()
			return nil, &reader.Error{Class: reader.Unresponsive, Op: "open",
				Err: errors.New("the reader has not come back from an earlier command")}
		}
		if busy == nil && closing == nil {
			turn := make(chan struct{})
			d.opening[name] = turn
			d.mu.Unlock()
			return turn, nil
		}
		d.mu.Unlock()
		select { // a channel that is nil is not waited for
		case <-busy:
		case <-closing:
		case <-ctx.Done():
			return nil, &reader.Error{Class: reader.Unresponsive, Op: "open", Err: ctx.Err()}
		}
	}
}

func (d *Driver) leave(name string, turn chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.opening, name)
	close(turn)
}

// connect opens the card with a context of its own.
func connect(name string, waitsForOther *atomic.Bool) (w *wire, atr []byte, err error) {
	w = &wire{}
	defer func() {
		if err != nil {
			w.Release()
		}
	}()
	err = conversation.Guard(func() error {
		var err error
		if w.context, err = scard.EstablishContext(); err != nil {
			return err
		}
		w.card, err = w.context.Connect(name, scard.ShareExclusive, scard.ProtocolAny)
		if errors.Is(err, scard.ErrSharingViolation) {
			waitsForOther.Store(true)
			err = w.connectShared(name)
			waitsForOther.Store(err != nil)
		}
		if err != nil {
			return err
		}
		status, err := w.card.Status()
		if err != nil {
			return err
		}
		atr = status.Atr
		if w.card.ActiveProtocol()&scard.ProtocolAny == 0 {
			return &reader.Error{Class: reader.Protocol, Op: "open",
				Err: fmt.Errorf("the card speaks neither T=0 nor T=1")}
		}
		return nil
	})
	return w, atr, err
}

// wire is a card of the service, for the owner goroutine alone.
type wire struct {
	context     *scard.Context
	card        *scard.Card
	transaction bool
	answer      []byte // room for one answer, made at the first command
}

func (w *wire) connectShared(name string) error {
	card, err := w.context.Connect(name, scard.ShareShared, scard.ProtocolAny)
	if err != nil {
		return err
	}
	w.card = card
	if err := card.BeginTransaction(); err != nil {
		return err
	}
	w.transaction = true
	return nil
}

// Exchange implements conversation.Wire with SCardTransmit.
func (w *wire) Exchange(command []byte) ([]byte, error) { return w.transmit(command) }

// Alive implements conversation.Wire with SCardStatus, which restarts the timer by
// which Windows resets idle cards, and tells that the card was removed or reset.
func (w *wire) Alive() error {
	_, err := w.card.Status()
	return err
}

// Release implements conversation.Wire. Errors mean that service, reader or card
// have gone, and then there is nothing left to give back.
func (w *wire) Release() {
	if w.card != nil {
		if w.transaction {
			_ = conversation.Guard(func() error { return w.card.EndTransaction(scard.LeaveCard) })
		}
		_ = conversation.Guard(func() error { return w.card.Disconnect(scard.LeaveCard) })
	}
	if w.context != nil {
		_ = conversation.Guard(w.context.Release)
	}
}
