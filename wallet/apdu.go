package wallet

import (
	"errors"
	"fmt"
)

// Lengths of a short APDU (ISO 7816-3 §12).
const (
	NoLe             = -1  // Command.Le: no Le byte
	LeAny            = 256 // Command.Le: Le byte 00, up to 256 bytes
	maxCommandBytes  = 261 // 4 + Lc + 255 + Le
	maxResponseBytes = 258 // 256 + SW1 SW2
)

// Errors of ParseCommand and ParseResponse.
var (
	ErrCommandForm    = errors.New("not a short command APDU")
	ErrResponseShort  = errors.New("the answer has no status word")
	ErrResponseLong   = errors.New("the answer is longer than a short APDU can be")
	ErrResponseChain  = errors.New("the card announces more data without end")
	errResponseWanted = errors.New("the answer has the wrong length")
)

// Command is a short command APDU: CLA INS P1 P2 [Lc data] [Le].
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte // up to 255 bytes
	Le               int    // NoLe, 1 … 255, or LeAny
}

// ParseCommand reads a short APDU strictly: every byte belongs to a field, and
// extended lengths are refused.
func ParseCommand(raw []byte) (Command, error) {
	if len(raw) < 4 || len(raw) > maxCommandBytes {
		return Command{}, ErrCommandForm
	}
	c := Command{CLA: raw[0], INS: raw[1], P1: raw[2], P2: raw[3], Le: NoLe}
	switch {
	case len(raw) == 4:
		return c, nil
	case len(raw) == 5:
		c.Le = leFromByte(raw[4])
		return c, nil
	}
	lc := int(raw[4])
	if lc == 0 || len(raw) < 5+lc || len(raw) > 6+lc {
		return Command{}, ErrCommandForm
	}
	c.Data = append([]byte(nil), raw[5:5+lc]...)
	if len(raw) == 6+lc {
		c.Le = leFromByte(raw[5+lc])
	}
	return c, nil
}

func leFromByte(b byte) int {
	if b == 0 {
		return LeAny
	}
	return int(b)
}

// Bytes gives the command as it is sent. Data beyond 255 bytes cannot be sent;
// the guard refuses such a command before.
func (c Command) Bytes() []byte {
	raw := []byte{c.CLA, c.INS, c.P1, c.P2}
	if len(c.Data) > 0 {
		raw = append(raw, byte(len(c.Data)))
		raw = append(raw, c.Data...)
	}
	if c.Le != NoLe {
		raw = append(raw, byte(c.Le))
	}
	return raw
}

// valid reports whether every field fits its place.
func (c Command) valid() bool {
	return len(c.Data) <= 255 && (c.Le == NoLe || c.Le >= 1 && c.Le <= LeAny)
}

// Instruction bytes that this program knows (card dossier §1.6).
const (
	insVerify      = 0x20
	insInitialize  = 0x50
	insCredit      = 0x52
	insDebit       = 0x54
	insProve       = 0x5A
	insGetBalance  = 0x5C
	insSelect      = 0xA4
	insReadBinary  = 0xB0
	insReadRecord  = 0xB2
	insGetResponse = 0xC0
	insGetData     = 0xCA
)

// P1 of INITIALIZE.
const (
	initForLoad     = 0x00
	initForPurchase = 0x01
)

// Name is the command's name as the standards write it, for traces and errors.
func (c Command) Name() string {
	switch c.INS {
	case insVerify:
		return "VERIFY"
	case insInitialize:
		switch c.P1 {
		case initForLoad:
			return "INITIALIZE FOR LOAD"
		case initForPurchase:
			return "INITIALIZE FOR PURCHASE"
		}
		return "INITIALIZE"
	case insCredit:
		return "CREDIT FOR LOAD"
	case insDebit:
		return "DEBIT FOR PURCHASE"
	case insProve:
		return "GET TRANSACTION PROVE"
	case insGetBalance:
		return "GET BALANCE"
	case insSelect:
		return "SELECT"
	case insReadBinary:
		return "READ BINARY"
	case insReadRecord:
		return "READ RECORD"
	case insGetResponse:
		return "GET RESPONSE"
	case insGetData:
		return "GET DATA"
	}
	return fmt.Sprintf("INS %02X", c.INS)
}

// readClass reports whether the command changes nothing on the card, so that it
// may be sent once more in another form. INITIALIZE, CREDIT, DEBIT and VERIFY may not:
// 6Cxx to one of them leaves open whether it was executed.
func (c Command) readClass() bool {
	switch c.INS {
	case insSelect, insReadBinary, insReadRecord, insGetBalance, insProve, insGetData:
		return true
	}
	return false
}

// otherLe is the form to try once after 6700: cards disagree on whether SELECT
// carries Le, and on whether reading names a length.
func (c Command) otherLe() Command {
	switch {
	case c.Le == LeAny && len(c.Data) > 0:
		c.Le = NoLe
	default:
		c.Le = LeAny
	}
	return c
}

// SW is a status word SW1 SW2.
type SW uint16

// Status words as a purse uses them (card dossier §1.7).
const (
	SWOK                SW = 0x9000
	SWDataMayBeDamaged  SW = 0x6281
	SWEndOfFile         SW = 0x6282
	SWInvalidated       SW = 0x6283
	SWMemory            SW = 0x6581
	SWWrongLength       SW = 0x6700
	SWWrongState        SW = 0x6901
	SWWrongFileType     SW = 0x6981
	SWSecurity          SW = 0x6982
	SWPINLocked         SW = 0x6983
	SWConditions        SW = 0x6985
	SWNotSupported      SW = 0x6A81 // also: card or application locked
	SWFileNotFound      SW = 0x6A82
	SWRecordNotFound    SW = 0x6A83
	SWWrongP1P2         SW = 0x6A86
	SWOffsetOutside     SW = 0x6B00
	SWUnknownINS        SW = 0x6D00
	SWUnknownCLA        SW = 0x6E00
	SWMACWrong          SW = 0x9302
	SWApplicationLocked SW = 0x9303
	SWBalanceTooSmall   SW = 0x9401
	SWCounterFull       SW = 0x9402
	SWKeyAbsent         SW = 0x9403
	SWNoProof           SW = 0x9406
)

var swMeanings = map[SW]string{
	SWOK: "done", 0x6200: "data may be damaged", SWDataMayBeDamaged: "data may be damaged",
	SWEndOfFile: "end of file before the wanted length", SWInvalidated: "file or application invalidated",
	0x6400: "nothing changed", SWMemory: "memory failure", SWWrongLength: "wrong length",
	0x6900: "secure messaging class wrong", SWWrongState: "not in this state", SWWrongFileType: "command does not fit the file",
	SWSecurity: "PIN or authentication missing", SWPINLocked: "PIN or key locked", SWConditions: "conditions not met",
	0x6987: "secure messaging data missing", 0x6988: "secure messaging data wrong", 0x6A80: "data field wrong",
	SWNotSupported: "not supported, or card or application locked", SWFileNotFound: "file or application absent",
	SWRecordNotFound: "record absent", 0x6A84: "no room", SWWrongP1P2: "P1 P2 wrong", 0x6A88: "key absent",
	SWOffsetOutside: "offset outside", SWUnknownINS: "INS unknown", SWUnknownCLA: "CLA unknown", 0x6F00: "internal error of the card",
	0x9301: "balance too small", SWMACWrong: "MAC wrong", SWApplicationLocked: "application locked for ever",
	SWBalanceTooSmall: "balance too small", SWCounterFull: "transaction counter at its end", SWKeyAbsent: "key index or version absent",
	SWNoProof: "no proof for that type and number", 0x9501: "balance would overflow", 0x9317: "sub-application absent",
}

// Meaning says in a few words what the status word means on a purse.
func (sw SW) Meaning() string {
	if text, known := swMeanings[sw]; known {
		return text
	}
	switch {
	case sw>>8 == 0x61:
		return fmt.Sprintf("%d more bytes", byte(sw))
	case sw>>8 == 0x6C:
		return fmt.Sprintf("the right length is %d", byte(sw))
	case sw&0xFFF0 == 0x63C0:
		return fmt.Sprintf("wrong PIN, %d tries left", sw&0xF)
	}
	return "unknown status"
}

// String gives four hex digits.
func (sw SW) String() string { return fmt.Sprintf("%04X", uint16(sw)) }

// Bytes gives SW1 SW2.
func (sw SW) Bytes() Hex { return Hex{byte(sw >> 8), byte(sw)} }

// triesLeft tells x of 63Cx.
func (sw SW) triesLeft() (int, bool) { return int(sw & 0xF), sw&0xFFF0 == 0x63C0 }

// blocked reports whether the status says that card or application is blocked.
func (sw SW) blocked() bool {
	return sw == SWInvalidated || sw == SWNotSupported || sw == SWApplicationLocked
}

// Response is an answer: data and status word.
type Response struct {
	Data []byte
	SW   SW
}

// ParseResponse splits data ‖ SW1 SW2.
func ParseResponse(raw []byte) (Response, error) {
	switch {
	case len(raw) < 2:
		return Response{}, ErrResponseShort
	case len(raw) > maxResponseBytes:
		return Response{}, fmt.Errorf("%w: %d bytes", ErrResponseLong, len(raw))
	}
	n := len(raw) - 2
	return Response{Data: append([]byte(nil), raw[:n]...), SW: SW(raw[n])<<8 | SW(raw[n+1])}, nil
}

// Step gives the answer in the form in which it travels to the platform.
func (r Response) Step() StepResult { return StepResult{SW: r.SW.Bytes(), Data: r.Data} }

// statusError turns a status word into an error with the fitting code.
func statusError(op string, sw SW) *Error {
	code := CodeCardProtocol
	switch {
	case sw.blocked():
		code = CodeCardBlocked
	case sw == SWSecurity:
		code = CodePINNeeded
	case sw == SWPINLocked:
		code = CodePINLocked
	case sw == SWBalanceTooSmall || sw == 0x9301:
		code = CodePurseShort
	}
	return fail(code, op, fmt.Errorf("%v, %s", sw, sw.Meaning()))
}
