package wallettest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"walletcompanion/wallet"
)

// ErrTorn is what Transmit returns for a card that was taken away.
var ErrTorn = errors.New("the card is gone")

// Chip is a small purse chip for golden transcripts. Its MACs are plain digests
// without a key, so that a test can compute them; the real arithmetic is tested
// with the virtual card.
type Chip struct {
	AID     []byte
	Info    []byte // SFI 15
	FCI     []byte // answer to SELECT; nil: a standard one
	Balance uint32
	Seq     uint16
	Offline uint16   // number of the next purchase
	Records [][]byte // SFI 18, newest first
	PIN     []byte   // nil: loads need none
	T0      bool     // answers 61xx and serves GET RESPONSE

	// Hook sees every command first. A true handled makes answer and err the
	// chip's; otherwise the chip goes on.
	Hook func(command []byte) (answer []byte, err error, handled bool)
	// TearAfter loses the answer of the command with this INS after it was executed.
	TearAfter byte

	Sent []string // every command that arrived, upper-case hex

	selected, verified bool
	random             uint32
	init               []byte // data of the INITIALIZE whose session is open; nil: none
	pending            []byte // rest of an answer on T=0
	proofSeq           uint16
	proof              []byte
	purchase           bool   // init is that of a purchase
	debitProofNumber   uint16 // of debitProof
	debitProof         []byte // MAC2 ‖ TAC of the last purchase
	lost               bool
}

// NewChip makes a standard purse with n log records.
func NewChip(asn wallet.ASN, balance wallet.Fen, n int) *Chip {
	info := make([]byte, 30)
	copy(info, []byte{0x10, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x01})
	copy(info[10:], asn[:])
	copy(info[20:], []byte{0x20, 0x20, 0x01, 0x01, 0x20, 0x40, 0x12, 0x31, 0, 0})
	chip := &Chip{AID: mustHex("A00000000386980701"), Info: info, Balance: uint32(balance), Seq: 0x21, Offline: 0x07}
	for i := range n {
		chip.Records = append(chip.Records, Record(uint16(n-i), 100+wallet.Fen(i), wallet.TypePurchaseEP, wallet.TerminalNumber{0, 0, 0, 0, 9, byte(i)}, "20260301120000"))
	}
	return chip
}

// Record builds 23 bytes of a log record; at is YYYYMMDDHHMMSS.
func Record(counter uint16, amount wallet.Fen, kind byte, tid wallet.TerminalNumber, at string) []byte {
	raw := binary.BigEndian.AppendUint16(nil, counter)
	raw = append(raw, 0, 0, 0)
	raw = binary.BigEndian.AppendUint32(raw, uint32(amount))
	raw = append(raw, kind)
	raw = append(raw, tid[:]...)
	return append(raw, mustHex(at)...)
}

// Transmit implements wallet.Card.
func (c *Chip) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.lost {
		return nil, ErrTorn
	}
	c.Sent = append(c.Sent, strings.ToUpper(hex.EncodeToString(command)))
	if c.Hook != nil {
		if answer, err, handled := c.Hook(command); handled {
			return answer, err
		}
	}
	parsed, err := wallet.ParseCommand(command)
	if err != nil {
		return sw(0x6700), nil
	}
	data, status := c.execute(parsed)
	if c.TearAfter != 0 && parsed.INS == c.TearAfter {
		c.lost = true
		return nil, ErrTorn
	}
	if c.T0 && len(data) > 0 && len(parsed.Data) > 0 && status == 0x9000 {
		c.pending = data
		return sw(0x6100 | uint16(len(data))), nil
	}
	return append(slices.Clone(data), sw(status)...), nil
}

// Present puts the card back into the field: RAM is lost, everything else stays.
func (c *Chip) Present() {
	c.lost, c.TearAfter, c.selected, c.verified, c.init, c.pending = false, 0, false, false, nil, nil
}

func (c *Chip) execute(p wallet.Command) ([]byte, uint16) {
	switch p.INS {
	case 0xA4:
		c.init, c.verified = nil, false
		c.selected = bytes.Equal(p.Data, c.AID)
		if !c.selected {
			return nil, 0x6A82
		}
		return c.fci(), 0x9000
	case 0xC0:
		data := c.pending
		c.pending = nil
		return data, 0x9000
	}
	if !c.selected {
		return nil, 0x6985
	}
	switch p.INS {
	case 0xB0:
		if p.P1 != 0x95 {
			return nil, 0x6A82
		}
		if p.Le > 0 && p.Le < len(c.Info) {
			return c.Info[:p.Le], 0x9000
		}
		return c.Info, 0x9000
	case 0xB2:
		if p.P2 != 0xC4 {
			return nil, 0x6A82
		}
		if int(p.P1) > len(c.Records) {
			return nil, 0x6A83
		}
		return c.Records[p.P1-1], 0x9000
	case 0x5C:
		if p.P2 != 0x02 {
			return nil, 0x6A82
		}
		return binary.BigEndian.AppendUint32(nil, c.Balance), 0x9000
	case 0x20:
		c.verified = bytes.Equal(p.Data, c.PIN)
		if !c.verified {
			return nil, 0x63C2
		}
		return nil, 0x9000
	case 0x50:
		return c.initialize(p)
	case 0x52:
		return c.credit(p)
	case 0x54:
		return c.debit(p)
	case 0x5A:
		if p.P2 == wallet.TypePurchaseEP {
			if c.debitProof != nil && binary.BigEndian.Uint16(p.Data) == c.debitProofNumber {
				return c.debitProof, 0x9000
			}
			return nil, 0x9406
		}
		if c.proof != nil && binary.BigEndian.Uint16(p.Data) == c.proofSeq {
			return c.proof, 0x9000
		}
		return nil, 0x9406
	}
	return nil, 0x6D00
}

func (c *Chip) initialize(p wallet.Command) ([]byte, uint16) {
	c.init = nil
	if c.PIN != nil && !c.verified {
		return nil, 0x6982
	}
	if len(p.Data) != 11 || p.P1 > 1 || p.P2 != 2 {
		return nil, 0x6A86
	}
	if c.purchase = p.P1 == 1; c.purchase {
		return c.initializePurchase(p)
	}
	c.random = binary.BigEndian.Uint32(digest("random", p.Data, c.seqBytes(), []byte{byte(len(c.Sent))}))
	c.init = slices.Clone(p.Data)
	answer := binary.BigEndian.AppendUint32(nil, c.Balance)
	answer = append(answer, c.seqBytes()...)
	answer = append(answer, 1, 0)
	answer = binary.BigEndian.AppendUint32(answer, c.random)
	return append(answer, digest("mac1", answer, p.Data)...), 0x9000
}

func (c *Chip) credit(p wallet.Command) ([]byte, uint16) {
	init := c.init
	c.init = nil
	switch {
	case init == nil || c.purchase:
		return nil, 0x6901
	case len(p.Data) != 11:
		return nil, 0x6700
	case !bytes.Equal(p.Data[7:], mac2(c.random, c.Seq, init, p.Data[:7])):
		return nil, 0x9302
	}
	amount := binary.BigEndian.Uint32(init[1:])
	c.Balance += amount
	tac := digest("tac", binary.BigEndian.AppendUint32(nil, c.Balance), c.seqBytes(), init, p.Data[:7])
	c.Seq++
	c.proofSeq, c.proof = c.Seq, append(slices.Clone(p.Data[7:]), tac...)
	var tid wallet.TerminalNumber
	copy(tid[:], init[5:])
	record := Record(c.Seq, wallet.Fen(amount), wallet.TypeLoadEP, tid, hex.EncodeToString(p.Data[:7]))
	c.Records = append([][]byte{record}, c.Records...)
	return tac, 0x9000
}

// initializePurchase answers balance 4 ‖ offline counter 2 ‖ overdraft limit 3 ‖ key
// version 1 ‖ algorithm 1 ‖ random 4.
func (c *Chip) initializePurchase(p wallet.Command) ([]byte, uint16) {
	if binary.BigEndian.Uint32(p.Data[1:]) > c.Balance {
		return nil, 0x9401
	}
	c.random = binary.BigEndian.Uint32(digest("random", p.Data, []byte{byte(c.Offline), byte(len(c.Sent))}))
	c.init = slices.Clone(p.Data)
	answer := binary.BigEndian.AppendUint32(nil, c.Balance)
	answer = binary.BigEndian.AppendUint16(answer, c.Offline)
	answer = append(answer, 0, 0, 0, 1, 0)
	return binary.BigEndian.AppendUint32(answer, c.random), 0x9000
}

// debit takes the amount, once, and answers TAC ‖ MAC2.
func (c *Chip) debit(p wallet.Command) ([]byte, uint16) {
	init := c.init
	c.init = nil
	switch {
	case init == nil || !c.purchase:
		return nil, 0x6901
	case len(p.Data) != 15:
		return nil, 0x6700
	case !bytes.Equal(p.Data[11:], mac1(c.random, c.Offline, init, p.Data[:11])):
		return nil, 0x9302
	}
	amount := binary.BigEndian.Uint32(init[1:])
	c.Balance -= amount
	tac := digest("purchase tac", init, p.Data[:11])
	mac := digest("purchase mac2", binary.BigEndian.AppendUint32(nil, c.random), init[1:5])
	var tid wallet.TerminalNumber
	copy(tid[:], init[5:])
	record := Record(c.Offline, wallet.Fen(amount), wallet.TypePurchaseEP, tid, hex.EncodeToString(p.Data[4:11]))
	c.Records = append([][]byte{record}, c.Records...)
	c.Offline++
	c.debitProofNumber, c.debitProof = c.Offline, append(slices.Clone(mac), tac...)
	return append(tac, mac...), 0x9000
}

// PurchaseMAC1 is what the chip expects in DEBIT after the INITIALIZE that answered
// initAnswer to initData, with the 11 bytes of terminal serial, date and time.
func PurchaseMAC1(initAnswer, initData, at []byte) []byte {
	return mac1(binary.BigEndian.Uint32(initAnswer[11:]), binary.BigEndian.Uint16(initAnswer[4:]), initData, at)
}

func mac1(random uint32, number uint16, init, at []byte) []byte {
	return digest("purchase mac1", binary.BigEndian.AppendUint32(nil, random), binary.BigEndian.AppendUint16(nil, number), init, at)
}

// MAC2 is what the chip expects in CREDIT after the INITIALIZE that answered
// initAnswer to initData (key index, amount, terminal), with the 7 bytes at.
func MAC2(initAnswer, initData, at []byte) []byte {
	random, seq := binary.BigEndian.Uint32(initAnswer[8:]), binary.BigEndian.Uint16(initAnswer[4:])
	return mac2(random, seq, initData, at)
}

func mac2(random uint32, seq uint16, init, at []byte) []byte {
	return digest("mac2", binary.BigEndian.AppendUint32(nil, random), binary.BigEndian.AppendUint16(nil, seq), init, at)
}

func (c *Chip) seqBytes() []byte { return binary.BigEndian.AppendUint16(nil, c.Seq) }

func (c *Chip) fci() []byte {
	if c.FCI != nil {
		return c.FCI
	}
	proprietary := append([]byte{0x9F, 0x0C, byte(len(c.Info))}, c.Info...)
	body := append([]byte{0x84, byte(len(c.AID))}, c.AID...)
	body = append(body, 0xA5, byte(len(proprietary)))
	body = append(body, proprietary...)
	return append([]byte{0x6F, byte(len(body))}, body...)
}

func digest(word string, parts ...[]byte) []byte {
	hash := sha256.New()
	hash.Write([]byte(word))
	for _, part := range parts {
		hash.Write(part)
	}
	return hash.Sum(nil)[:4]
}

func sw(status uint16) []byte { return []byte{byte(status >> 8), byte(status)} }

func mustHex(text string) []byte {
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return raw
}
