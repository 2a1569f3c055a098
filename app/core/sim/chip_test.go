package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// The commands that the simulation looks at.
const (
	insInitialize = 0x50
	insCredit     = 0x52
	insDebit      = 0x54
)

// credit is one load, or one purchase, that a chip executed.
type credit struct {
	tid    wallet.TerminalNumber
	amount wallet.Fen
}

// chip is a card with what the world alone can know of it: every credit and every
// debit that it ever executed. It is also where cards leave the field.
type chip struct {
	*virtualcard.Card
	w       *world
	number  int
	owner   *person
	opening wallet.Fen
	in      *computer // whose reader holds it
	credits []credit
	debits  []credit
	offline wallet.Fen // paid at the corner
	inited  credit     // terminal number and amount of the last INITIALIZE
}

// Transmit implements reader.Chip. It runs on the goroutine that owns the card, while
// the program waits for it.
func (k *chip) Transmit(command []byte) ([]byte, error) {
	ins := command[1]
	before := k.Balance()
	if ins == insInitialize && len(command) >= 16 {
		k.inited = credit{wallet.TerminalNumber(command[10:16]), wallet.Fen(binary.BigEndian.Uint32(command[6:10]))}
	}
	if k.Variant() == virtualcard.Slow {
		time.Sleep(150 * time.Millisecond) // here, where no lock is held that another goroutine waits for
	}
	torn := k.tear(ins)
	answer, err := k.Card.Transmit(command)
	k.noteChange(ins, k.Balance()-before)
	if torn {
		k.comeBack()
	}
	return answer, err
}

// noteChange writes down what a command did to the balance.
func (k *chip) noteChange(ins byte, change wallet.Fen) {
	switch {
	case change == 0:
		return
	case ins == insCredit && change == k.inited.amount:
		k.credits = append(k.credits, k.inited)
		k.w.wanted(k, k.inited, false)
	case ins == insDebit && change == -k.inited.amount:
		k.debits = append(k.debits, k.inited)
		k.w.wanted(k, k.inited, true)
	default:
		k.w.say("  card %d: nothing of that kind at %02X", k.number, ins) // its sum no longer fits, which check tells
	}
	k.w.say("  card %d changed by %d", k.number, change)
}

// tear lets the card leave the field before, inside or after this command.
func (k *chip) tear(ins byte) bool {
	perMille := 8
	if ins == insCredit || ins == insDebit || ins == insInitialize {
		perMille = 60
	}
	for when, kind := range []string{"card torn before", "card torn inside", "card torn after"} {
		if !k.w.happens(kind, perMille) {
			continue
		}
		k.w.say("    card %d at %02X", k.number, ins)
		k.TearAt(virtualcard.Tear{INS: ins, When: virtualcard.TearWhen(when)})
		return true
	}
	return false
}

// comeBack: the person puts the card back at once, or another one by mistake, or
// walks away.
func (k *chip) comeBack() {
	c := k.in
	if c == nil {
		return
	}
	moved := c.moved.Load()
	later := func(wait time.Duration, do func()) {
		time.AfterFunc(wait, func() {
			if c.moved.Load() == moved {
				do()
			}
		})
	}
	switch k.w.luck.IntN(5) {
	case 0, 1:
		later(301*time.Millisecond, c.slot.Return)
	case 2:
		other := k.w.chips[k.w.luck.IntN(len(k.w.chips))]
		if other.in == nil && other != k && !other.owner.dishonest && !k.w.plan.Without["wrong card"] {
			k.w.count("fault", "wrong card")
			k.w.say("  card %d is put where card %d was", other.number, k.number)
			k.in, other.in, c.card = nil, c, other
			later(307*time.Millisecond, func() { c.slot.Insert(other) })
		}
	}
}

// has tells whether the chip executed the MAC2 of this terminal number.
func (k *chip) has(tid wallet.TerminalNumber) bool { return executed(k.credits, tid) }

// paid tells whether the chip was debited over this terminal number.
func (k *chip) paid(tid wallet.TerminalNumber) bool { return executed(k.debits, tid) }

func executed(all []credit, tid wallet.TerminalNumber) bool {
	return slices.ContainsFunc(all, func(c credit) bool { return c.tid == tid })
}

// lastCredit is the terminal number of the newest credit.
func (k *chip) lastCredit() wallet.TerminalNumber {
	if len(k.credits) == 0 {
		return wallet.TerminalNumber{}
	}
	return k.credits[len(k.credits)-1].tid
}
