package main

import (
	"fmt"
	"sync"

	"walletcompanion/wallet/virtualcard"
)

// tearPoints are the losses of power to come that a control connection asked for. They
// outlive the chip, which is made anew whenever the card gets power.
type tearPoints struct {
	mu  sync.Mutex
	due []virtualcard.Tear
}

// arm takes one loss of power for the next command with the instruction ins.
func (p *tearPoints) arm(when string, ins byte) error {
	places := map[string]virtualcard.TearWhen{"before": virtualcard.Before, "inside": virtualcard.Inside, "after": virtualcard.After}
	place, known := places[when]
	if !known {
		return fmt.Errorf("a card is torn before, inside or after a command, not %q", when)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = append(p.due, virtualcard.Tear{INS: ins, When: place})
	return nil
}

// take gives the first loss of power that is due at ins, once.
func (p *tearPoints) take(ins byte) (tear virtualcard.Tear, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, each := range p.due {
		if each.INS == ins {
			p.due = append(p.due[:i], p.due[i+1:]...)
			return each, true
		}
	}
	return virtualcard.Tear{}, false
}

// tornCard is a card that loses power where its tear points say.
type tornCard struct {
	*virtualcard.Card
	tears *tearPoints
}

// Transmit implements reader.Chip.
func (c *tornCard) Transmit(command []byte) ([]byte, error) {
	if len(command) > 1 {
		if tear, due := c.tears.take(command[1]); due {
			c.TearAt(tear)
		}
	}
	return c.Card.Transmit(command)
}
