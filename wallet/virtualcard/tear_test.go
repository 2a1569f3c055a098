package virtualcard

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// Every command, torn at every place, on every variant: balance, counter, log
// and what was saved move together or not at all.
func TestTearEveryCommand(t *testing.T) {
	commands := []struct {
		name    string
		ins     byte
		apdu    func(*bench) []byte
		changes bool
	}{
		{"SELECT", 0xA4, func(b *bench) []byte { return unhex(b.t, selectPurseAPDU) }, false},
		{"READ BINARY", 0xB0, func(b *bench) []byte { return unhex(b.t, "00B095001E") }, false},
		{"READ RECORD", 0xB2, func(b *bench) []byte { return unhex(b.t, "00B201C417") }, false},
		{"GET BALANCE", 0x5C, func(b *bench) []byte { return unhex(b.t, "805C000204") }, false},
		{"GET CHALLENGE", 0x84, func(b *bench) []byte { return unhex(b.t, "0084000004") }, false},
		{"VERIFY right", 0x20, func(b *bench) []byte { return unhex(b.t, "0020000003123456") }, false},
		{"VERIFY wrong", 0x20, func(b *bench) []byte { return unhex(b.t, "0020000003123457") }, true},
		{"INIT FOR LOAD", 0x50, func(b *bench) []byte { return initAPDU(0, 1, 5000) }, false},
		{"CREDIT FOR LOAD", 0x52, func(b *bench) []byte { return b.openLoad(5000) }, true},
		{"INIT FOR PURCHASE", 0x50, func(b *bench) []byte { return initAPDU(1, 1, 34) }, false},
		{"DEBIT FOR PURCHASE", 0x54, func(b *bench) []byte { return b.openPurchase(34) }, true},
		{"PROVE", 0x5A, func(b *bench) []byte { return unhex(b.t, "805A000202002208") }, false},
	}
	for _, variant := range Variants() {
		for _, command := range commands {
			for when, place := range []string{"before", "inside", "after"} {
				t.Run(fmt.Sprintf("%s/%s/%s", variant.Name, command.name, place), func(t *testing.T) {
					spec := testSpec(variant.Name)
					spec.Records = 3
					card, err := New(spec, seeded())
					require.NoError(t, err)
					card.SetDelay(nil)
					b := &bench{t, card}
					b.selectPurse()
					if variant.Name == PINForLoad {
						b.send("0020000003123456")
					}
					tearOnce(t, b, command.apdu(b), command.ins, TearWhen(when), command.changes)
				})
			}
		}
	}
}

func tearOnce(t *testing.T, b *bench, apdu []byte, ins byte, when TearWhen, changes bool) {
	image, err := b.card.Image()
	require.NoError(t, err)
	saves := 0
	b.card.SaveTo(func(next []byte) error { image = next; saves++; return nil })
	before := b.card.Snapshot()
	b.card.TearAt(Tear{INS: ins, When: when})
	_, err = b.card.Transmit(apdu)
	require.ErrorIs(t, err, ErrTorn)
	require.Equal(t, 1, b.card.TearsHit())
	_, err = b.card.Transmit(unhex(t, "805C000204"))
	require.ErrorIs(t, err, ErrNoPower)

	after := b.card.Snapshot()
	if changes && when == After {
		require.Equal(t, 1, saves)
		want := before
		switch ins {
		case 0x20:
			want.PINTriesLeft--
		case 0x52:
			want.Balance += 5000
		case 0x54:
			want.Balance -= 34
		}
		if ins == 0x52 || ins == 0x54 {
			if ins == 0x52 || b.card.Variant() == SharedCounter {
				want.OnlineCounter++
			}
			if ins == 0x54 || b.card.Variant() == SharedCounter {
				want.OfflineCounter++
			}
			require.Len(t, after.Log, len(before.Log)+1)
			require.Equal(t, before.Log, after.Log[1:])
			require.Equal(t, testTerminal, after.Log[0].Terminal())
			want.Log, want.Loads = after.Log, after.Loads
		}
		require.Equal(t, want, after)
	} else {
		require.Zero(t, saves)
		require.Equal(t, before, after)
	}
	chip, err := Parse(image)
	require.NoError(t, err)
	require.Equal(t, after, chip.(*Card).Snapshot(), "the file says what the chip says")

	// Everything volatile is gone, and the tear happens once.
	b.selectPurse()
	if ins == 0x52 || ins == 0x54 {
		_, sw := b.sendRaw(apdu)
		require.Equal(t, "6901", sw)
	}
	if b.card.Variant() == PINForLoad {
		_, sw := b.sendRaw(initAPDU(0, 1, 1))
		require.Equal(t, "6982", sw)
	}
	require.Equal(t, 1, b.card.TearsHit())
}

// Row 13 of the crash table, seen from the card: the answer is lost, the proof is not.
func TestTornAfterCommitIsProven(t *testing.T) {
	b := powered(t, Standard)
	b.card.TearAt(Tear{INS: 0x52, When: After})
	_, err := b.card.Transmit(b.openLoad(5000))
	require.ErrorIs(t, err, ErrTorn)
	b.selectPurse()
	_, sw := b.prove(2, 0x22)
	require.Equal(t, "9000", sw)
	require.Equal(t, wallet.Fen(6234), b.card.Balance())
}

func TestTearCountsCommands(t *testing.T) {
	b := powered(t, Standard)
	b.card.TearAt(Tear{INS: 0x5C, When: Before, Nth: 3})
	b.card.TearAt(Tear{When: Before, Nth: 6})
	b.send("805C000204")
	b.send("00B095001E")
	b.send("805C000204")
	_, err := b.card.Transmit(unhex(t, "805C000204"))
	require.ErrorIs(t, err, ErrTorn)
	b.selectPurse()
	_, err = b.card.Transmit(unhex(t, "805C000204"))
	require.ErrorIs(t, err, ErrTorn, "00 counts every command")
	require.Equal(t, 2, b.card.TearsHit())
}

// On T=0 the tear may hit the GET RESPONSE that would fetch the TAC.
func TestTearGetResponse(t *testing.T) {
	b := powered(t, T0)
	credit := b.openLoad(5000)
	b.card.TearAt(Tear{INS: 0xC0, When: Before})
	answer, err := b.card.Transmit(credit)
	require.NoError(t, err)
	require.Equal(t, []byte{0x61, 0x04}, answer)
	_, err = b.card.Transmit(unhex(t, "00C0000004"))
	require.ErrorIs(t, err, ErrTorn)
	require.Equal(t, wallet.Fen(6234), b.card.Balance())
}
