package wallet

import (
	"encoding/binary"
	"slices"
)

// maxViewCommands bounds one application of a view: 30 files asked for in two ways,
// the records of several logs, balances and data objects.
const maxViewCommands = 320

// viewDataObjects are the tags that a view asks for by GET DATA (card dossier §4.4):
// balance of electronic cash, where its log is and how it is written, counters, and
// the PIN tries, which cost none when they are only asked for.
var viewDataObjects = []uint16{0x9F79, 0x9F4D, 0x9F4F, 0x9F36, 0x9F13, 0x9F17}

// NewViewGuard watches over a look at everything that a card lets be read. It lets
// nothing pass that changes a card: no VERIFY, no INITIALIZE, no GET CHALLENGE.
func NewViewGuard(card Card, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionView, trace: trace}
}

// most is how many commands the session may send.
func (g *Guard) most() int {
	if g.session == SessionView {
		return maxViewCommands
	}
	return maxCommands
}

// checkView allows, in a view, 00 A4 04 00 with any full name of 5 to 16 bytes, 00 A4
// 00 00 with 3F00 or 1001, 00 B0 and 00 B2 of any file by its short identifier, 80 5C
// of any purse, and 80 CA of the data objects that are listed for a view.
func (g *Guard) checkView(c Command) error {
	allowed := false
	switch c.INS {
	case insSelect:
		byName := c.P1 == 0x04 && len(c.Data) >= 5 && len(c.Data) <= 16
		byID := c.P1 == 0x00 && len(c.Data) == 2 && slices.Contains([]uint16{fileMF, fileBeijing}, binary.BigEndian.Uint16(c.Data))
		allowed = c.CLA == 0x00 && c.P2 == 0x00 && (c.Le == NoLe || c.Le == LeAny) && (byName || byID)
	case insReadBinary:
		allowed = c.CLA == 0x00 && c.P1&0xE0 == 0x80 && isShortFile(c.P1&0x1F) && len(c.Data) == 0
	case insReadRecord:
		allowed = c.CLA == 0x00 && c.P1 >= 1 && c.P2&0x07 == 0x04 && isShortFile(c.P2>>3) && len(c.Data) == 0
	case insGetBalance:
		allowed = c.CLA == 0x80 && c.P1 <= 0x03 && (c.P2 == 0x01 || c.P2 == 0x02) && len(c.Data) == 0
	case insGetData:
		allowed = c.CLA == 0x80 && slices.Contains(viewDataObjects, uint16(c.P1)<<8|uint16(c.P2)) && len(c.Data) == 0
	}
	if !allowed {
		return g.refuse(c, "a view reads, and only what it lists")
	}
	return nil
}

// isShortFile reports a short file identifier: 1 to 30 (ISO/IEC 7816-4 §8.2.1.1).
func isShortFile(sfi byte) bool { return sfi >= 1 && sfi <= 30 }
