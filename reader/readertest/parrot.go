// Package readertest is the one conformance suite that every driver passes, with a
// chip made for it.
package readertest

import (
	"bytes"
	"errors"
	"sync"
	"time"
)

// Commands of a Parrot, each complete with what it must be sent with.
var (
	// SelectPurse selects; without it GetBalance answers 6985.
	SelectPurse = []byte{0x00, 0xA4, 0x04, 0x00, 0x02, 0x50, 0x41, 0x00}
	// GetBalance answers the chip's four bytes and 9000 (card dossier §1.6).
	GetBalance = []byte{0x80, 0x5C, 0x00, 0x02, 0x04}
	// StaySilent never answers, until Wake.
	StaySilent = []byte{0x80, 0xE4, 0x00, 0x00, 0x00}
)

// AnswerBytes is the command for an answer of that many bytes in all, status word
// included; below two there is none.
func AnswerBytes(count int) []byte {
	return []byte{0x80, 0xE0, byte(count >> 8), byte(count), 0x00}
}

// Parrot is a chip that does what it is told.
type Parrot struct {
	balance [4]byte

	mu       sync.Mutex
	powered  bool
	selected bool
	tear     bool
	powerOns int
	resets   int
	commands int
	silent   chan struct{} // closed by Wake
	atr      []byte
	slow     time.Duration
}

// NewParrot returns a chip that answers the given balance in fen to GetBalance, by
// which chips are told apart.
func NewParrot(balanceFen byte) *Parrot {
	return &Parrot{balance: [4]byte{3: balanceFen}, silent: make(chan struct{}), atr: parrotATR}
}

var (
	parrotATR = []byte{0x3B, 0x80, 0x80, 0x01, 0x01} // T=0 and T=1, with check byte
	errTorn   = errors.New("torn out of the field")
)

// ATR is the answer to reset: the same for every parrot, unless SetATR changed it.
func (p *Parrot) ATR() []byte { return bytes.Clone(p.atr) }

// SetATR gives the parrot another answer to reset. It is set before the chip is used.
func (p *Parrot) SetATR(atr []byte) { p.atr = bytes.Clone(atr) }

// SetSlow makes every command take that long. It is set before the chip is used.
func (p *Parrot) SetSlow(each time.Duration) { p.slow = each }

// PowerOn implements reader.Chip.
func (p *Parrot) PowerOn() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.powered, p.selected = true, false
	p.powerOns++
	return p.ATR(), nil
}

// PowerOff implements reader.Chip.
func (p *Parrot) PowerOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.powered, p.selected = false, false
}

// Reset implements reader.Chip.
func (p *Parrot) Reset() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.selected = false
	p.resets++
	return p.ATR(), nil
}

// TearNext makes the chip leave the field after it has executed the next command.
func (p *Parrot) TearNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tear = true
}

// Wake lets a silent chip answer.
func (p *Parrot) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.silent:
	default:
		close(p.silent)
	}
}

// Commands counts the commands that the chip has executed.
func (p *Parrot) Commands() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands
}

// Resets counts the resets.
func (p *Parrot) Resets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resets
}

// Transmit implements reader.Chip.
func (p *Parrot) Transmit(command []byte) ([]byte, error) {
	p.mu.Lock()
	if !p.powered {
		p.mu.Unlock()
		return nil, errors.New("the chip has no power")
	}
	p.commands++
	silent := p.silent
	p.mu.Unlock()
	if p.slow > 0 {
		time.Sleep(p.slow)
	}
	if bytes.Equal(command, StaySilent) {
		<-silent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tear {
		p.tear = false
		return nil, errTorn
	}
	switch command[1] {
	case 0xA4:
		p.selected = true
		return []byte{0x90, 0x00}, nil
	case 0x5C:
		if !p.selected {
			return []byte{0x69, 0x85}, nil
		}
		return append(p.balance[:4:4], 0x90, 0x00), nil
	case 0xE0:
		count := int(command[2])<<8 | int(command[3])
		answer := bytes.Repeat([]byte{0xA5}, count)
		if count >= 2 {
			answer[count-2], answer[count-1] = 0x90, 0x00
		}
		return answer, nil
	}
	return []byte{0x6D, 0x00}, nil
}
