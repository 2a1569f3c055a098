package virtualcard

import (
	"encoding/hex"
	"errors"
	"slices"
	"sync"

	"walletcompanion/wallet"
)

// maxMissed bounds the list of Missed; the count goes on.
const maxMissed = 100

// Recorded plays the recorded answers of a real card. It changes nothing, and
// what was not recorded it does not know.
type Recorded struct {
	source  string
	answers map[string][]byte // command → answer

	mu      sync.Mutex
	powered bool
	missed  []string
	count   int
}

func parseRecorded(file []byte) (*Recorded, error) {
	var in struct {
		Kind      string            `json:"kind"`
		Source    string            `json:"source"`
		Responses map[string]string `json:"responses"`
	}
	if err := strict(file, &in); err != nil {
		return nil, err
	}
	if len(in.Responses) == 0 {
		return nil, errors.New("card file: the recording is empty")
	}
	card := &Recorded{source: in.Source, answers: map[string][]byte{}}
	for asked, answered := range in.Responses {
		command, errAsked := hex.DecodeString(asked)
		answer, errAnswered := hex.DecodeString(answered)
		if errAsked != nil || errAnswered != nil || len(command) < 4 || len(command) > 261 || len(answer) < 2 || len(answer) > 258 {
			return nil, errors.New("card file: a recorded command or answer is damaged")
		}
		if _, twice := card.answers[string(command)]; twice {
			return nil, errors.New("card file: a command is recorded twice")
		}
		card.answers[string(command)] = answer
	}
	return card, nil
}

// Source says where the recording comes from.
func (r *Recorded) Source() string { return r.source }

// PowerOn answers as an FM1208 whose chip number was not recorded.
func (r *Recorded) PowerOn() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.powered = true
	return contactlessATR([8]byte{}), nil
}

// PowerOff takes the power away.
func (r *Recorded) PowerOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.powered = false
}

// Reset answers as PowerOn.
func (r *Recorded) Reset() ([]byte, error) { return r.PowerOn() }

// Transmit answers the recorded bytes to exactly the recorded command; to any
// other 6A82 (SELECT, READ) or 6D00.
func (r *Recorded) Transmit(command []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.powered {
		return nil, ErrNoPower
	}
	if answer, known := r.answers[string(command)]; known {
		return slices.Clone(answer), nil
	}
	r.count++
	if len(r.missed) < maxMissed {
		r.missed = append(r.missed, wallet.Hex(command).String())
	}
	if len(command) > 1 && (command[1] == 0xA4 || command[1] == 0xB0 || command[1] == 0xB2) {
		return status(nil, swNoFile), nil
	}
	return status(nil, swINS), nil
}

// Missed lists the first 100 commands that were not recorded, in upper-case hex.
func (r *Recorded) Missed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.missed)
}

// MissedCount counts all of them.
func (r *Recorded) MissedCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}
