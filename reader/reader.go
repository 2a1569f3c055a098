// Package reader is the wire to the card: it finds readers, tells their state and
// holds one card at a time for one unbroken conversation. It knows nothing of
// purses; what is sent is decided by the purse's guard.
//
// Backends: pcsc (the system's smart card service), virtual (a chip in memory) and,
// as pcsc's counterpart, vpcd (a chip of ours in the real service). All of them
// pass the one suite in readertest.
package reader

import (
	"context"
	"errors"
	"fmt"
)

// State is what a reader says of its slot.
type State string

// The states of a reader.
const (
	StateEmpty       State = "empty"       // no card
	StatePresent     State = "present"     // a card that can be opened
	StateBusy        State = "busy"        // another program holds the card exclusively
	StateMute        State = "mute"        // a card that does not answer
	StateUnavailable State = "unavailable" // the reader is going away
)

// Info is one reader as a moment saw it.
type Info struct {
	Name   string
	Driver string // "pcsc", "virtual"
	State  State
	ATR    []byte // answer to reset, empty without a card
	Serial string // from the USB descriptor; empty where the system does not tell
	Holder string // program that holds the card; empty where the system does not tell
	Events uint32 // counts insertions and removals, so that a swap within one poll shows
}

// Driver lists readers, watches them and opens cards.
type Driver interface {
	// List tells the readers now. Errors have class NoService or NoAccess; no
	// reader is an empty list and no error.
	List(ctx context.Context) ([]Info, error)

	// Watch calls changed with the whole list at once and after every change until
	// ctx ends. A service that stops is reported (nil list and the error) and
	// waited for; Watch returns only ctx.Err().
	Watch(ctx context.Context, changed func([]Info, error)) error

	// Open holds the card in the named reader: exclusive transaction, kept alive
	// every 2 s while idle, until Close or until the card is lost.
	Open(ctx context.Context, name string) (Session, error)
}

// Session is one unbroken conversation with one card. After the first error every
// later call fails: selection, and any load session, are gone, and the caller
// starts anew with Open.
type Session interface {
	// Transmit sends one command of at least 4 bytes and returns data ‖ SW1 SW2.
	// The deadline of ctx is the watchdog: past it the error has class Unresponsive
	// and the reader is left alone. Any error after the command may have left means
	// that its outcome is unknown.
	Transmit(ctx context.Context, command []byte) ([]byte, error)
	// ATR is the answer to reset.
	ATR() []byte
	// Close releases the card without resetting it. It never blocks.
	Close() error
}

// Class is a kind of trouble that has its own cause and remedy.
type Class string

// The classes of reader trouble (reader dossier §6).
const (
	NoService    Class = "no-service"   // the smart card service does not run
	NoAccess     Class = "no-access"    // the system refuses access to it
	NoReader     Class = "no-reader"    // no reader, or not the named one
	ReaderGone   Class = "reader-gone"  // unplugged during the conversation
	NoCard       Class = "no-card"      // nothing in the field
	CardGone     Class = "card-gone"    // taken away during the conversation
	CardReset    Class = "card-reset"   // another program reset it
	Busy         Class = "busy"         // another program holds it
	Unresponsive Class = "unresponsive" // the watchdog expired
	Protocol     Class = "protocol"     // an answer that is none: shorter than two bytes, bad ATR
)

// Error is reader trouble of a class.
type Error struct {
	Class  Class
	Op     string // "list", "open", "transmit"
	Holder string // class Busy: programs that hold the card; empty where the system does not tell
	Err    error  // what the system said; may be nil
}

// Error tells operation, class and cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Op, e.Class)
	}
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Class, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// HolderOf returns who holds the card that err could not have, or "".
func HolderOf(err error) string {
	var trouble *Error
	if errors.As(err, &trouble) {
		return trouble.Holder
	}
	return ""
}

// ClassOf returns the class of err, or "" when it has none.
func ClassOf(err error) Class {
	var trouble *Error
	if errors.As(err, &trouble) {
		return trouble.Class
	}
	return ""
}
