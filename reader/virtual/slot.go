package virtual

import (
	"errors"
	"slices"
	"sync"

	"walletcompanion/reader"
	"walletcompanion/reader/internal/conversation"
)

// Slot is the field of one virtual reader. Its methods may be called at any time
// from any goroutine.
type Slot struct {
	driver *Driver
	name   string

	// Guarded by driver.mu.
	held    *holding // nil without a card
	removed *holding // the card that Return puts back
	talk    *conversation.Conversation
	events  uint32
}

// holding is a chip in a slot.
type holding struct {
	chip  reader.Chip
	inUse *sync.Mutex // held from PowerOn to PowerOff, also past the chip's removal
	atr   []byte
	state reader.State
}

// Name is the reader's name.
func (s *Slot) Name() string { return s.name }

// Insert puts a chip into the field; a card that is there leaves it. The chip is
// powered once to learn its answer to reset. One that cannot be powered shows as
// mute, one that another process holds as busy. A chip that was in this slot before
// (chips are compared as pointers) is waited for while it still executes a command;
// one chip must not be in two slots.
func (s *Slot) Insert(chip reader.Chip) {
	held := s.holdingOf(chip)
	held.inUse.Lock()
	held.probe()
	held.inUse.Unlock()
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	s.pull(reader.CardGone)
	s.place(held)
	s.driver.announce()
}

// holdingOf finds the chip among those of the slot, or makes a new holding. The
// present session of the same chip ends, so that it can be waited for.
func (s *Slot) holdingOf(chip reader.Chip) *holding {
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	if s.held != nil && s.held.chip == chip {
		s.pull(reader.CardGone)
		s.driver.announce()
	}
	if s.removed != nil && s.removed.chip == chip {
		return s.removed
	}
	return &holding{chip: chip, inUse: &sync.Mutex{}}
}

// Remove takes the card out of the field and returns its chip, or nil without a
// card. A session ends with class CardGone, a command in flight as well: whether
// the chip executed it is unknown, and it is left without power afterwards.
func (s *Slot) Remove() reader.Chip {
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	held := s.held
	s.pull(reader.CardGone)
	s.driver.announce()
	if held == nil {
		return nil
	}
	return held.chip
}

// Return puts back the card that was removed or torn last. It waits for a command
// that the chip is still executing. Without such a card it does nothing.
func (s *Slot) Return() {
	s.driver.mu.Lock()
	held := s.removed
	s.driver.mu.Unlock()
	if held == nil {
		return
	}
	held.inUse.Lock()
	held.probe()
	held.inUse.Unlock()
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	if s.held != nil || s.removed != held {
		return
	}
	s.place(held)
	s.driver.announce()
}

// probe learns the answer to reset. The caller holds inUse.
func (h *holding) probe() {
	atr, err := h.chip.PowerOn()
	switch {
	case errors.Is(err, reader.ErrChipBusy):
		h.state, h.atr = reader.StateBusy, nil
	case err != nil:
		h.state, h.atr = reader.StateMute, nil
	default:
		h.state, h.atr = reader.StatePresent, slices.Clone(atr)
		h.chip.PowerOff()
	}
}

// place puts a card into the empty field. The caller holds driver.mu.
func (s *Slot) place(held *holding) {
	s.held, s.removed = held, nil
	s.events++
}

// pull empties the field and ends the session. The caller holds driver.mu.
func (s *Slot) pull(class reader.Class) {
	if s.held == nil {
		return
	}
	s.removed, s.held = s.held, nil
	s.events++
	if s.talk != nil {
		_ = s.talk.Lose(&reader.Error{Class: class, Op: "transmit", Err: errRemoved})
	}
}

var errRemoved = errors.New("the card left the field")

// info describes the slot. The caller holds driver.mu.
func (s *Slot) info() reader.Info {
	info := reader.Info{Name: s.name, Driver: DriverName, State: reader.StateEmpty, Events: s.events}
	if s.held == nil {
		return info
	}
	info.State, info.ATR = s.held.state, slices.Clone(s.held.atr)
	if s.talk != nil && s.talk.Stuck() {
		info.State = reader.StateMute
	}
	return info
}

// wire is the owner goroutine's end of a conversation with a chip.
type wire struct {
	slot *Slot
	held *holding
}

// Exchange implements conversation.Wire. A chip that fails was torn: it is out of
// the field until it is inserted again.
func (w *wire) Exchange(command []byte) ([]byte, error) {
	answer, err := w.held.chip.Transmit(command)
	if err == nil {
		return answer, nil
	}
	d := w.slot.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.slot.held == w.held {
		w.slot.pull(reader.CardGone)
		d.announce()
	}
	return nil, err
}

// Alive implements conversation.Wire; a virtual card needs no keep-alive.
func (w *wire) Alive() error { return nil }

// Release implements conversation.Wire.
func (w *wire) Release() {
	defer w.held.inUse.Unlock()
	w.held.chip.PowerOff()
}
