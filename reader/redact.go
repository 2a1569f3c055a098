package reader

import (
	"bytes"
	"strings"
)

// Instructions whose fields RedactPurse knows (card dossier §1.6).
const (
	insVerify       = 0x20
	insUnblockPIN   = 0x24
	insInitialize   = 0x50
	insCredit       = 0x52
	insDebit        = 0x54
	insUpdateLimit  = 0x58
	insProve        = 0x5A
	insGetBalance   = 0x5C
	insPIN          = 0x5E
	insExternalAuth = 0x82
	insChallenge    = 0x84
	insInternalAuth = 0x88
	insSelect       = 0xA4
	insReadBinary   = 0xB0
	insReadRecord   = 0xB2
	insGetResponse  = 0xC0
	insGetData      = 0xCA

	headerBytes = 4
	macBytes    = 4

	sfiPublic = 0x15
	sfiLog    = 0x18

	// serialFrom and serialTo bound the application serial number, the card's
	// number, in SFI 15 (card dossier §1.2, bytes 11-20 counted from 1).
	serialFrom, serialTo = 10, 20
	// serialShown is how much of its end is left to read.
	serialShown = 2
	// publicShown is what is left to read of SFI 15 after the number, on every kind
	// of card: bytes 21-30. Some cards carry a number of another form further on.
	publicShown = 30
)

// RedactPurse hides what must never be kept of a purse's commands (protocol dossier
// §2.13), whatever the class byte: PIN data of VERIFY (20), PIN UNBLOCK (24), RELOAD
// and CHANGE PIN (5E); MAC2 in CREDIT FOR LOAD (52), MAC1 in DEBIT FOR PURCHASE (54)
// and MAC2 in its answer, MAC2 of DEBIT FOR UNLOAD and UPDATE OVERDRAFT LIMIT, the
// MAC of GET TRANSACTION PROVE; cryptograms. The card's number in SFI 15, and in the
// answer to SELECT, is masked but for its last four digits; holder information and
// files it does not know are hidden, for a record of a bank's application holds the
// account's number. What it does not know at all shows its header
// and its status word only.
func RedactPurse(command, answer []byte) (shownCommand, shownAnswer string) {
	if len(command) < headerBytes {
		return hidden(len(command)), hidden(max(len(answer)-2, 0))
	}
	data, well := dataField(command)
	shownAll := field{bytes: command}
	var answered field
	if len(answer) >= 2 {
		answered = field{bytes: answer[:len(answer)-2]}
	}
	hideData := func() { shownAll.hide(headerBytes, len(command)) }
	if !well {
		hideData()
		answered.hide(0, len(answered.bytes))
		return shownAll.String(), answered.String()
	}
	switch command[1] {
	case insSelect:
		answered.hideFCI()
	case insGetBalance, insInitialize, insChallenge:
	case insReadRecord:
		if command[3]>>3 != sfiLog {
			answered.hide(0, len(answered.bytes))
		}
	case insReadBinary:
		answered.hideFile(command[2], command[3])
	case insCredit, insUpdateLimit:
		shownAll.hide(data.to-macBytes, data.to)
	case insDebit:
		shownAll.hide(data.to-macBytes, data.to)
		answered.hide(4, len(answered.bytes)) // TAC ‖ MAC2
	case insProve:
		answered.hide(0, macBytes) // MAC ‖ TAC
	case insVerify, insUnblockPIN, insPIN, insExternalAuth, insInternalAuth:
		hideData()
		answered.hide(0, len(answered.bytes))
	default:
		// GET RESPONSE brings the rest of an answer that only its command could
		// name; GET DATA the number of the radio chip.
		if data.from < data.to {
			hideData()
		}
		answered.hide(0, len(answered.bytes))
	}
	return shownAll.String(), answered.String()
}

// span is a part of a command.
type span struct{ from, to int }

// dataField finds the data of a command of ISO 7816-4, short or extended; an empty
// span without data. It is not well if the lengths do not fit.
func dataField(command []byte) (span, bool) {
	body := len(command) - headerBytes
	switch {
	case body <= 1: // no data, or Le
		return span{}, true
	case command[headerBytes] != 0: // Lc in one byte, perhaps Le
		from := headerBytes + 1
		to := from + int(command[headerBytes])
		return span{from, to}, to == len(command) || to+1 == len(command)
	case body == 3: // Le in three bytes
		return span{}, true
	case body > 3: // Lc in three bytes, perhaps Le in two
		from := headerBytes + 3
		to := from + int(command[headerBytes+1])<<8 + int(command[headerBytes+2])
		return span{from, to}, to == len(command) || to+2 == len(command)
	}
	return span{}, false
}

// field is a run of bytes, some of them hidden.
type field struct {
	bytes  []byte
	hidden []bool
}

// hide hides the bytes from and up to, but not including, to. Both may lie outside.
func (f *field) hide(from, to int) {
	if f.hidden == nil {
		f.hidden = make([]bool, len(f.bytes))
	}
	for i := max(from, 0); i < min(to, len(f.bytes)); i++ {
		f.hidden[i] = true
	}
}

// hideFile hides what a READ BINARY with these parameters brought. P1 of 100xxxxx
// names the file and P2 the offset; otherwise the file was selected earlier.
func (f *field) hideFile(p1, p2 byte) {
	if p1 != 0x80|sfiPublic {
		f.hide(0, len(f.bytes))
		return
	}
	f.hidePublic(0, int(p2))
}

// hidePublic masks the numbers of public basic information that begins in the answer
// at start with its byte number offset.
func (f *field) hidePublic(start, offset int) {
	f.hide(start+serialFrom-offset, start+serialTo-serialShown-offset)
	f.hide(start+publicShown-offset, len(f.bytes))
}

// hideFCI masks the copy of SFI 15 that file control information carries under tag
// 9F0C. One of another length than the usual is hidden whole: cards that have it keep
// their number elsewhere in it (card dossier §4.2).
func (f *field) hideFCI() {
	at := bytes.Index(f.bytes, []byte{0x9F, 0x0C})
	if at < 0 {
		return
	}
	if value := at + 3; value < len(f.bytes) && f.bytes[at+2] == publicShown {
		f.hidePublic(value, 0)
		return
	}
	f.hide(at+3, len(f.bytes))
}

const hexDigits = "0123456789ABCDEF"

// String is upper-case hex with "**" for hidden bytes.
func (f *field) String() string {
	var b strings.Builder
	b.Grow(2 * len(f.bytes))
	for i, value := range f.bytes {
		if f.hidden != nil && f.hidden[i] {
			b.WriteString("**")
			continue
		}
		b.WriteByte(hexDigits[value>>4])
		b.WriteByte(hexDigits[value&0x0F])
	}
	return b.String()
}

func hidden(count int) string { return strings.Repeat("**", count) }
