// Package wallettest holds what tests of the purse share: a player of recorded
// cards, a small scripted chip, a journal in memory and an issuer that signs.
// None of it computes a real MAC.
package wallettest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Replay is a recorded card: it answers what was recorded, and 6A82 (SELECT and
// READ) or 6D00 to everything else, which it counts.
type Replay struct {
	Responses map[string]string `json:"responses"` // upper-case hex of command and answer
	Sent      []string          `json:"-"`
	Missed    []string          `json:"-"` // commands that were not recorded
}

// LoadReplay reads a recording from a file.
func LoadReplay(path string) (*Replay, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var replay Replay
	if err := json.Unmarshal(raw, &replay); err != nil {
		return nil, fmt.Errorf("recording %s: %w", path, err)
	}
	return &replay, nil
}

// Transmit implements wallet.Card.
func (r *Replay) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := strings.ToUpper(hex.EncodeToString(command))
	r.Sent = append(r.Sent, key)
	if answer, recorded := r.Responses[key]; recorded {
		return hex.DecodeString(answer)
	}
	r.Missed = append(r.Missed, key)
	switch command[1] {
	case 0xA4, 0xB0, 0xB2:
		return []byte{0x6A, 0x82}, nil
	}
	return []byte{0x6D, 0x00}, nil
}
