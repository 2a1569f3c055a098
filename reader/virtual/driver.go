// Package virtual is a reader without hardware: named slots, each of which holds a
// chip in memory or none. Cards come, go and are swapped while programs watch and
// talk, as on a real reader, and nothing polls.
package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"walletcompanion/reader"
	"walletcompanion/reader/internal/conversation"
)

// DriverName is the value of reader.Info.Driver.
const DriverName = "virtual"

// Driver is a set of slots. It implements reader.Driver.
type Driver struct {
	mu      sync.Mutex
	slots   []*Slot
	changed chan struct{} // closed and replaced at every change
}

// New returns a driver without slots.
func New() *Driver { return &Driver{changed: make(chan struct{})} }

// AddSlot plugs in a reader with an empty slot. A name that is taken gives the slot
// that has it.
func (d *Driver) AddSlot(name string) *Slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, slot := range d.slots {
		if slot.name == name {
			return slot
		}
	}
	slot := &Slot{driver: d, name: name}
	d.slots = append(d.slots, slot)
	d.announce()
	return slot
}

// Unplug takes a reader away, with the card in it. A session on it ends with class
// ReaderGone.
func (d *Driver) Unplug(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots = slices.DeleteFunc(d.slots, func(slot *Slot) bool {
		if slot.name != name {
			return false
		}
		slot.pull(reader.ReaderGone)
		return true
	})
	d.announce()
}

// announce tells every watcher that something changed. The caller holds d.mu.
func (d *Driver) announce() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// List implements reader.Driver. It never fails while ctx lasts.
func (d *Driver) List(ctx context.Context) ([]reader.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	infos, _ := d.snapshot()
	return infos, nil
}

func (d *Driver) snapshot() ([]reader.Info, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	infos := make([]reader.Info, 0, len(d.slots))
	for _, slot := range d.slots {
		infos = append(infos, slot.info())
	}
	return infos, d.changed
}

// Watch implements reader.Driver. It sleeps until a slot changes. That another
// process takes or leaves the file of a card is seen by Open, not by Watch.
func (d *Driver) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	var last []reader.Info
	for first := true; ; first = false {
		infos, next := d.snapshot()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first || !slices.EqualFunc(infos, last, same) {
			changed(infos, nil)
			last = infos
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}

func same(a, b reader.Info) bool {
	return a.Name == b.Name && a.State == b.State && a.Events == b.Events && bytes.Equal(a.ATR, b.ATR)
}

// Open implements reader.Driver. A card is powered from Open to Close, so each
// session starts without a selected application.
func (d *Driver) Open(ctx context.Context, name string) (reader.Session, error) {
	for {
		d.mu.Lock()
		session, closing, err := d.open(name)
		d.mu.Unlock()
		if closing == nil {
			return session, err
		}
		select { // the former session is giving the card back
		case <-closing:
		case <-ctx.Done():
			return nil, &reader.Error{Class: reader.Unresponsive, Op: "open", Err: ctx.Err()}
		}
	}
}

// open returns a session, or an error, or the channel that says when to try again.
// The caller holds d.mu.
func (d *Driver) open(name string) (reader.Session, <-chan struct{}, error) {
	refuse := func(class reader.Class, err error) (reader.Session, <-chan struct{}, error) {
		return nil, nil, &reader.Error{Class: class, Op: "open", Err: err}
	}
	index := slices.IndexFunc(d.slots, func(slot *Slot) bool { return slot.name == name })
	if index < 0 {
		return refuse(reader.NoReader, fmt.Errorf("no reader is called %q", name))
	}
	slot := d.slots[index]
	if slot.held == nil {
		return refuse(reader.NoCard, nil)
	}
	if talk := slot.talk; talk != nil {
		switch {
		case talk.Stuck():
			return refuse(reader.Unresponsive, errors.New("the card has not come back from an earlier command"))
		case talk.Err() == nil:
			return refuse(reader.Busy, nil)
		}
		select {
		case <-talk.Done():
		default:
			return nil, talk.Done(), nil
		}
	}
	held := slot.held
	if !held.inUse.TryLock() { // being powered once by Insert or Return
		return refuse(reader.Unresponsive, errors.New("the card still executes an earlier command"))
	}
	atr, err := held.chip.PowerOn()
	if err != nil {
		held.inUse.Unlock()
		return refuse(classOfPower(err), err)
	}
	held.atr = slices.Clone(atr)
	slot.talk = conversation.Start(&wire{slot: slot, held: held}, atr, 0, classify)
	slot.driver.announceWhenDone(slot.talk)
	return slot.talk, nil, nil
}

// announceWhenDone lets watchers see that a stuck card has come back.
func (d *Driver) announceWhenDone(talk *conversation.Conversation) {
	go func() {
		<-talk.Done()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.announce()
	}()
}

func classOfPower(err error) reader.Class {
	if errors.Is(err, reader.ErrChipBusy) {
		return reader.Busy
	}
	return reader.Unresponsive
}

// classify gives the class of what a chip said in the middle of a conversation. A
// chip fails by leaving the field and in no other way.
func classify(op string, err error) error {
	if reader.ClassOf(err) != "" {
		return err
	}
	return &reader.Error{Class: reader.CardGone, Op: op, Err: err}
}
