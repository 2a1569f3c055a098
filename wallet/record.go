package wallet

import (
	"encoding/binary"
	"time"
)

// RecordBytes is the size of a transaction record (card dossier §1.4).
const RecordBytes = 23

// Types of transactions as cards log them (card dossier §1.5).
const (
	TypeLoadED          = 0x01
	TypeLoadEP          = 0x02
	TypeUnload          = 0x03
	TypeCashWithdrawal  = 0x04
	TypePurchaseED      = 0x05
	TypePurchaseEP      = 0x06
	TypeOverdraftChange = 0x07
	TypeCreditPurchase  = 0x08
	TypeComposite       = 0x09
	TypeGreyLock        = 0x91
	TypeGreyUnlock      = 0x92
)

// Problems of a record. A record with a problem is shown as far as it can be read.
const (
	ProblemRecordLength = "RECORD_LENGTH" // not 23 bytes
	ProblemRecordDate   = "RECORD_DATE"   // no date or time of the calendar
	ProblemRecordType   = "RECORD_TYPE"   // a type that nobody has described
)

// Record is one line of a card's own transaction log. Bytes from 0:
//
//	0–1    transaction counter
//	2–4    overdraft limit, or on some cards the balance after the transaction
//	5–8    amount, fen; the top bit is a flag on some cards
//	9      type
//	10–15  terminal number
//	16–22  date and time, BCD
type Record struct {
	Index           int  // record number in its file, 1 is the newest
	SFI             byte // file that holds it
	Counter         uint16
	Overdraft       Fen // where the profile says that bytes 2–4 are the limit
	BalanceAfter    Fen // where the profile says that they are the balance
	HasBalanceAfter bool
	Amount          Fen // without the top bit
	AmountHighBit   bool
	Type            byte
	Terminal        TerminalNumber
	Time            time.Time // Asia/Shanghai; zero where the card holds no valid time
	Raw             Hex
	Problem         string // "" or one of the Problem constants
}

// unusedRecord reports a record that was never written: 23 bytes of 00 or of FF.
// Cards that answer 6A83 instead never get here.
func unusedRecord(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	for _, b := range raw {
		if b != raw[0] {
			return false
		}
	}
	return raw[0] == 0x00 || raw[0] == 0xFF
}

// ParseRecord reads one record. It never fails: what cannot be read is named in Problem.
func ParseRecord(raw []byte, sfi byte, index int, meaning OverdraftMeaning) Record {
	record := Record{Index: index, SFI: sfi, Raw: append(Hex(nil), raw...)}
	if len(raw) != RecordBytes {
		record.Problem = ProblemRecordLength
		return record
	}
	record.Counter = binary.BigEndian.Uint16(raw)
	middle := Fen(raw[2])<<16 | Fen(raw[3])<<8 | Fen(raw[4])
	switch meaning {
	case OverdraftIsLimit:
		record.Overdraft = middle
	case OverdraftIsBalance:
		record.BalanceAfter, record.HasBalanceAfter = middle, true
	}
	record.Amount, record.AmountHighBit = splitHighBit(raw[5:9])
	record.Type = raw[9]
	copy(record.Terminal[:], raw[10:16])
	var valid bool
	record.Time, valid = parseBCDTime([7]byte(raw[16:23]))
	switch {
	case !valid:
		record.Problem = ProblemRecordDate
	case !knownType(record.Type):
		record.Problem = ProblemRecordType
	}
	return record
}

// splitHighBit reads four bytes of money apart from their top bit, which some
// cards use as a sign or flag (card dossier §4.1).
func splitHighBit(raw []byte) (Fen, bool) {
	value := binary.BigEndian.Uint32(raw)
	return Fen(value & 0x7FFFFFFF), value>>31 == 1
}

func knownType(code byte) bool {
	return code >= TypeLoadED && code <= TypeComposite || code == TypeGreyLock || code == TypeGreyUnlock
}

// IsLoad reports whether value came onto the card.
func (r Record) IsLoad() bool { return r.Type == TypeLoadED || r.Type == TypeLoadEP }

// MayBe reports whether the record can be the transaction that started at counter
// seq: some cards log the counter before, others after their +1 (card dossier §1.4).
// The number alone proves nothing; compare terminal, amount and time as well.
func (r Record) MayBe(seq uint16) bool { return r.Counter == seq || r.Counter == seq+1 }
