package reader

import "errors"

// Chip is a card without a reader, as the virtual drivers hold one: contacts for
// power, reset and commands. A chip is used by one goroutine at a time.
type Chip interface {
	// PowerOn gives the card power and returns its answer to reset. A chip that
	// somebody else is using answers with an error that wraps ErrChipBusy.
	PowerOn() (atr []byte, err error)
	// PowerOff takes the power away: selection, verified PIN and any load session
	// are gone.
	PowerOff()
	// Reset starts the card anew without taking it from the field.
	Reset() (atr []byte, err error)
	// Transmit answers one command with data ‖ SW1 SW2. An error means that the
	// card left the field in the middle of it: the command may or may not have
	// been executed.
	Transmit(command []byte) ([]byte, error)
}

// ErrChipBusy says that a chip is powered elsewhere, for example by another
// process that holds the lock of the card's file.
var ErrChipBusy = errors.New("the card is in use by another program")
