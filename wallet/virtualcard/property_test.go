package virtualcard

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
)

// host drives a card with random commands and knows what each may change.
type host struct {
	*bench
	open   []byte // the CREDIT or DEBIT that the next command may be
	amount int64  // what it adds to the balance
}

// TestOnlyMoneyCommandsMoveMoney: in any sequence of commands, resets and tears,
// the balance changes only by a valid CREDIT or DEBIT right after its INITIALIZE,
// by its amount; counters never fall and move by one with the balance; the saved
// file always says what the chip says.
func TestOnlyMoneyCommandsMoveMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		variant := rapid.SampledFrom(Variants()).Draw(t, "variant").Name
		if variant == SessionStaysOpen { // its second credit is the peculiarity
			variant = Standard
		}
		card, err := New(testSpec(variant), seeded())
		require.NoError(t, err)
		card.SetDelay(nil)
		image, err := card.Image()
		require.NoError(t, err)
		card.SaveTo(func(next []byte) error { image = next; return nil })
		h := &host{bench: &bench{t, card}}
		h.selectPurse()
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			before := card.Snapshot()
			moved := h.step(t)
			after := card.Snapshot()
			require.Equal(t, before.Balance+wallet.Fen(moved.amount), after.Balance)
			require.Equal(t, before.OnlineCounter+moved.online, after.OnlineCounter)
			require.Equal(t, before.OfflineCounter+moved.offline, after.OfflineCounter)
			if moved == (movement{}) {
				require.Equal(t, before.Log, after.Log)
			} else {
				require.Len(t, after.Log, min(len(before.Log)+1, logRecords))
			}
			chip, err := Parse(image)
			require.NoError(t, err)
			require.Equal(t, after, chip.(*Card).Snapshot())
		}
	})
}

// movement is what one step should do to the chip.
type movement struct {
	amount          int64
	online, offline uint16
}

// step sends one command and says what must have happened.
func (h *host) step(t *rapid.T) movement {
	open, amount := h.open, h.amount
	h.open = nil
	switch rapid.IntRange(0, 11).Draw(t, "step") {
	case 0:
		h.sendRaw(rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "bytes"))
	case 1:
		h.send(rapid.SampledFrom([]string{"805C000204", "00B201C417", "00B095001E", "0084000008", "805A000202002208", "80CA000000"}).Draw(t, "reading"))
	case 2:
		h.selectPurse()
	case 3:
		h.send(rapid.SampledFrom([]string{"0020000003123456", "0020000003999999"}).Draw(t, "PIN"))
	case 4:
		h.finishWrong(t, open)
	case 5, 6, 7:
		h.initialize(rapid.Uint32Range(0, 3000).Draw(t, "amount"), byte(rapid.IntRange(0, 1).Draw(t, "kind")))
	default:
		if open != nil {
			return h.finish(t, open, amount)
		}
		h.initialize(rapid.Uint32Range(0, 3000).Draw(t, "amount"), byte(rapid.IntRange(0, 1).Draw(t, "kind")))
	}
	return movement{}
}

func (h *host) initialize(amount uint32, p1 byte) {
	answer, sw := h.sendRaw(initAPDU(p1, 1, amount))
	if sw != "9000" {
		return
	}
	if p1 == 0 {
		h.open, h.amount = h.creditAPDU(answer, amount), int64(amount)
	} else {
		h.open, h.amount = h.debitAPDU(answer, amount), -int64(amount)
	}
}

// finishWrong flips one bit of an open CREDIT or DEBIT: dates, serial and MAC are
// all under the MAC or in the key, and the header is checked.
func (h *host) finishWrong(t *rapid.T, open []byte) {
	if open == nil {
		return
	}
	bit := rapid.IntRange(0, 8*(len(open)-1)-1).Draw(t, "bit")
	if open[1] == 0x54 && bit/8 >= 5 && bit/8 < 7 { // the upper half of the serial is in no MAC1
		bit += 16
	}
	open[bit/8] ^= 0x80 >> (bit % 8)
	_, sw := h.sendRaw(open)
	require.NotEqual(h.t, "9000", sw)
}

// finish sends the open command, sometimes torn, and says what must have moved.
func (h *host) finish(t *rapid.T, open []byte, amount int64) movement {
	moved := movement{amount: amount}
	shared := h.card.Variant() == SharedCounter
	if open[1] == 0x52 || shared {
		moved.online = 1
	}
	if open[1] == 0x54 || shared {
		moved.offline = 1
	}
	if !rapid.Bool().Draw(t, "torn") {
		_, sw := h.sendRaw(open)
		if open[1] == 0x52 && h.card.Variant() == EEPROMButCredited {
			require.Equal(t, "6581", sw)
		} else {
			require.Equal(t, "9000", sw)
		}
		return moved
	}
	when := rapid.SampledFrom([]TearWhen{Before, Inside, After}).Draw(t, "when")
	h.card.TearAt(Tear{INS: open[1], When: when})
	_, err := h.card.Transmit(open)
	require.ErrorIs(t, err, ErrTorn)
	h.selectPurse()
	if when != After {
		return movement{}
	}
	return moved
}

// Bytes 5-6 of a terminal serial are the only ones of a DEBIT that MAC1 does not
// cover: they are in the TAC alone.
func TestUpperSerialIsInTheTACAlone(t *testing.T) {
	b := powered(t, Standard)
	debit := b.openPurchase(1)
	debit[5] ^= 0x01
	first, sw := b.sendRaw(debit)
	require.Equal(t, "9000", sw)
	debit = b.openPurchase(1)
	second, sw := b.sendRaw(debit)
	require.Equal(t, "9000", sw)
	require.NotEqual(t, first[:4], second[:4])
}

// A slot is asked from several goroutines: the window removes the card while a
// command runs.
func TestConcurrentUse(t *testing.T) {
	b := powered(t, Standard)
	apdus := [][]byte{unhex(t, selectPurseAPDU), unhex(t, "805C000204"), initAPDU(0, 1, 1)}
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := range 50 {
				switch {
				case i == 0 && n%10 == 0:
					b.card.PowerOff()
				case i == 1 && n%5 == 0:
					_, _ = b.card.PowerOn()
				default:
					_, _ = b.card.Transmit(apdus[n%len(apdus)])
				}
				b.card.Snapshot()
			}
		})
	}
	group.Wait()
	require.Equal(t, wallet.Fen(1234), b.card.Balance())
}
