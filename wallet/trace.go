package wallet

import (
	"encoding/hex"
	"strings"
	"time"
)

// TraceLine is one exchange with a card as a transcript keeps it: the PIN, the
// platform's MAC in CREDIT and DEBIT, the card's MAC2 in the answers to DEBIT and to
// GET TRANSACTION PROVE, and most of the card number are written as ** in place of their hex digits.
type TraceLine struct {
	Session Session
	Name    string // the command's name
	Command string // upper-case hex
	Answer  string // data ‖ SW1 SW2, upper-case hex; empty when none came
	At      time.Time
	Took    time.Duration
	Err     string
}

// tell passes one exchange to the transcript.
func (g *Guard) tell(c Command, r *Response, took time.Duration, at time.Time, err error) {
	if g.trace == nil {
		return
	}
	line := TraceLine{Session: g.session, Name: c.Name(), Command: redactCommand(c), At: at, Took: took}
	if r != nil {
		redact := redactAnswer
		if g.session == SessionView {
			redact = redactView
		}
		line.Answer = redact(c, r.Data) + r.SW.String()
	}
	if err != nil {
		line.Err = err.Error()
	}
	g.trace(line)
}

// redactCommand hides what only the card may see: the PIN of VERIFY and the last
// four data bytes of CREDIT FOR LOAD, which are MAC2, and of DEBIT FOR PURCHASE,
// which are MAC1.
func redactCommand(c Command) string {
	raw := c.Bytes()
	switch {
	case c.INS == insVerify:
		return hideBytes(raw, 5, 5+len(c.Data))
	case c.INS == insCredit && len(c.Data) > 7:
		return hideBytes(raw, 12, 5+len(c.Data))
	case c.INS == insDebit && len(c.Data) > 11:
		return hideBytes(raw, 16, 5+len(c.Data))
	}
	return hideBytes(raw, 0, 0)
}

// Where the basic information has the serial, and from where on it is shown.
const infoSerialAt, infoSerialShownAt = 10, 18

// redactAnswer masks the serial wherever an answer holds the basic information:
// in SFI 15 itself and in tag 9F0C of the FCI. The last two bytes stay. Of other
// transparent files nothing is shown. The answer to GET RESPONSE may be either. Of the
// answers to DEBIT, TAC 4 ‖ MAC2 4, and to GET TRANSACTION PROVE, MAC2 4 ‖ TAC 4, the
// TAC is shown: alone it proves no debit.
func redactAnswer(c Command, data []byte) string {
	const serialAt, shownAt = infoSerialAt, infoSerialShownAt
	switch c.INS {
	case insDebit:
		return hideBytes(data, 4, len(data))
	case insProve: // MAC2 of a purchase, or a load's MAC, 4 ‖ TAC 4
		return hideBytes(data, 0, 4)
	case insReadBinary:
		if c.P1&0x1F != sfiInfo { // such as the file of the MF that holds an old card's number
			return hideBytes(data, 0, len(data))
		}
		return hideBytes(data, serialAt, shownAt)
	case insSelect, insGetResponse:
		fci, _ := ParseFCI(data)
		if at := strings.Index(string(data), string(fci.IssuerData)); len(fci.IssuerData) >= minInfoBytes && at >= 0 {
			return hideBytes(data, at+serialAt, at+shownAt)
		}
		if c.INS == insGetResponse && len(data) == 8 { // of DEBIT or of GET TRANSACTION PROVE
			return hideBytes(data, 0, len(data))
		}
		if c.INS == insGetResponse && len(data) >= minInfoBytes && len(data) <= maxInfoBytes {
			return hideBytes(data, serialAt, shownAt)
		}
	}
	return hideBytes(data, 0, 0)
}

// redactView is redactAnswer for a session that reads files of any content, the
// holder's name and the account of a bank's application among them: it shows the
// basic information, masked, and log records; of every other file it shows how long
// it is.
func redactView(c Command, data []byte) string {
	switch {
	case c.INS == insReadRecord && len(data) != RecordBytes:
		return hideBytes(data, 0, len(data))
	case c.INS == insGetResponse && (len(data) == 0 || data[0] != 0x6F):
		return hideBytes(data, 0, len(data))
	}
	return redactAnswer(c, data)
}

// hideBytes gives upper-case hex with the bytes from … to-1 as **.
func hideBytes(raw []byte, from, to int) string {
	from, to = min(from, len(raw)), min(to, len(raw))
	upper := func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
	return upper(raw[:from]) + strings.Repeat("**", to-from) + upper(raw[to:])
}
