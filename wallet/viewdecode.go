package wallet

import (
	"encoding/binary"
	"time"
)

// Files whose content this program knows (card dossier §1.1, §4.1, §4.4).
const (
	sfiECashLog = 0x0B // electronic cash: records by the format of 9F4F
	sfiInfo     = 0x15
	sfiHolder   = 0x16
	sfiRegion   = 0x17
	sfiJourneys = 0x1E
)

// logSFIs are the files that hold records of 23 bytes on some card.
var logSFIs = []byte{0x06, 0x10, 0x18, 0x1A, 0x1F}

// FileKind says what a file holds.
type FileKind string

// The kinds of files.
const (
	FileInfo     FileKind = "info"     // public basic information, ParseInfo
	FileHolder   FileKind = "holder"   // ParseHolder
	FileRegion   FileKind = "region"   // ParseRegion
	FileLog      FileKind = "log"      // transactions, ParseRecord
	FileJourneys FileKind = "journeys" // ParseJourney
	FileECashLog FileKind = "ecash"    // ParseDOL and SplitByDOL
	FileUnknown  FileKind = ""         // shown as bytes
)

// Kind tells from identifier and form what a file holds. A file of another form than
// the usual is unknown, whatever its number.
func (f File) Kind() FileKind {
	switch {
	case f.SFI == sfiInfo && len(f.Content) >= minInfoBytes && len(f.Content) <= maxInfoBytes:
		return FileInfo
	case f.SFI == sfiHolder && len(f.Content) >= holderBytes:
		return FileHolder
	case f.SFI == sfiRegion && len(f.Content) >= regionBytes && f.Content[2] == 0x01 && f.Content[3] == 0x56:
		return FileRegion
	case len(f.Records) == 0:
		return FileUnknown
	case f.SFI == sfiECashLog:
		return FileECashLog
	case f.SFI == sfiJourneys && len(f.Records[0].Raw) == journeyBytes:
		return FileJourneys
	case len(f.Records[0].Raw) == RecordBytes:
		return FileLog
	}
	return FileUnknown
}

const (
	holderBytes  = 39
	regionBytes  = 11
	journeyBytes = 48
)

// Holder is the holder's file, SFI 16 (card dossier §1.3). Bytes from 0: 0 card type,
// 1 staff flag, 2–21 name in GBK, 22–37 number of the document, 38 its type. It is
// personal: it is shown to whoever holds the card and asks for it, and never kept.
type Holder struct {
	CardType     byte
	Staff        byte
	Name         Hex // GBK, without padding
	Document     Hex // without padding
	DocumentType byte
}

// ParseHolder reads SFI 16. The error means that it is too short.
func ParseHolder(raw []byte) (Holder, error) {
	if len(raw) < holderBytes {
		return Holder{}, errNoField
	}
	return Holder{
		CardType: raw[0], Staff: raw[1], Name: unpadded(raw[2:22]), Document: unpadded(raw[22:38]), DocumentType: raw[38],
	}, nil
}

// unpadded drops 00, FF and blanks from the end.
func unpadded(raw []byte) Hex {
	for len(raw) > 0 && (raw[len(raw)-1] == 0x00 || raw[len(raw)-1] == 0xFF || raw[len(raw)-1] == ' ') {
		raw = raw[:len(raw)-1]
	}
	return append(Hex(nil), raw...)
}

// Region is SFI 17 of T-Union (card dossier §4.1). Bytes from 0: 2–3 country 0156,
// 4–5 province, 6–7 city, both as codes of UnionPay's regions, 10 card type.
type Region struct {
	Country, Province, City Hex
	CardType                byte
}

// ParseRegion reads SFI 17. The error means that it is too short.
func ParseRegion(raw []byte) (Region, error) {
	if len(raw) < regionBytes {
		return Region{}, errNoField
	}
	return Region{Country: raw[2:4], Province: raw[4:6], City: raw[6:8], CardType: raw[10]}, nil
}

// Journey is a travel record, SFI 1E of T-Union, 48 bytes (card dossier §4.1). Bytes
// from 0: 0 type, 1–8 terminal, 9 means of transport, 10–16 station, 17–20 amount,
// 21–24 balance, 25–31 date and time, 32–33 city, 34–41 institution.
type Journey struct {
	Index       int
	Type        byte
	Terminal    Hex
	Mode        byte
	Station     Hex
	Amount      Fen
	Balance     Fen
	Time        time.Time // Asia/Shanghai; zero where the digits are no time
	City        Hex
	Institution Hex
	Raw         Hex
}

// ParseJourney reads one travel record. The error means that it has another length.
func ParseJourney(raw []byte, index int) (Journey, error) {
	if len(raw) != journeyBytes {
		return Journey{}, errNoField
	}
	journey := Journey{
		Index: index, Type: raw[0], Terminal: raw[1:9], Mode: raw[9], Station: raw[10:17],
		Amount: Fen(binary.BigEndian.Uint32(raw[17:])), Balance: Fen(binary.BigEndian.Uint32(raw[21:])),
		City: raw[32:34], Institution: raw[34:42], Raw: raw,
	}
	journey.Time, _ = parseBCDTime([7]byte(raw[25:32]))
	return journey, nil
}

// DOLField is one element of a data object list: a tag and how many bytes it has.
type DOLField struct {
	Tag    int
	Length int
}

// ParseDOL reads a list of tags and lengths, such as 9F4F, the format of the log of
// electronic cash (card dossier §4.4). The error means that it ends in the middle.
func ParseDOL(raw []byte) ([]DOLField, error) {
	var fields []DOLField
	for len(raw) > 0 {
		tag, at := int(raw[0]), 1
		if raw[0]&0x1F == 0x1F {
			if len(raw) < 2 {
				return fields, errNoField
			}
			tag, at = tag<<8|int(raw[1]), 2
		}
		if len(raw) <= at {
			return fields, errNoField
		}
		fields = append(fields, DOLField{Tag: tag, Length: int(raw[at])})
		raw = raw[at+1:]
	}
	return fields, nil
}

// SplitByDOL cuts a record into the values of the list; false where the lengths do
// not fit.
func SplitByDOL(fields []DOLField, record []byte) (map[int]Hex, bool) {
	values := map[int]Hex{}
	for _, field := range fields {
		if len(record) < field.Length {
			return nil, false
		}
		values[field.Tag], record = record[:field.Length], record[field.Length:]
	}
	return values, len(record) == 0
}

// ECashRecord is one record of the log of electronic cash, as far as its format names
// the usual elements.
type ECashRecord struct {
	Index    int
	Time     time.Time // 9A YYMMDD and 9F21 HHMMSS; zero where they are no time
	Amount   Fen       // 9F02, BCD
	Merchant Hex       // 9F4E, GBK, without padding
	Type     byte      // 9C
	Counter  uint16    // 9F36
	Raw      Hex
	Known    bool // the format fits the record
}

// ParseECashRecord reads a record by its format.
func ParseECashRecord(fields []DOLField, raw []byte, index int) ECashRecord {
	record := ECashRecord{Index: index, Raw: raw}
	values, fits := SplitByDOL(fields, raw)
	if !fits || len(fields) == 0 {
		return record
	}
	record.Known = true
	if date, clock := values[0x9A], values[0x9F21]; len(date) == 3 && len(clock) == 3 {
		record.Time, _ = parseBCDTime([7]byte{0x20, date[0], date[1], date[2], clock[0], clock[1], clock[2]})
	}
	record.Amount, _ = ParseBCDAmount(values[0x9F02])
	record.Merchant = unpadded(values[0x9F4E])
	if kind := values[0x9C]; len(kind) == 1 {
		record.Type = kind[0]
	}
	if counter := values[0x9F36]; len(counter) == 2 {
		record.Counter = binary.BigEndian.Uint16(counter)
	}
	return record
}

// ParseBCDAmount reads fen as decimal digits, two in a byte; 9F02 and 9F79 have six
// bytes.
func ParseBCDAmount(raw []byte) (Fen, bool) {
	value := Fen(0)
	for _, b := range raw {
		if b>>4 > 9 || b&0xF > 9 {
			return 0, false
		}
		value = value*100 + Fen(b>>4)*10 + Fen(b&0xF)
	}
	return value, len(raw) > 0 && len(raw) <= 8
}

// DataObject returns an answer to GET DATA.
func (a Application) DataObject(tag uint16) (Hex, bool) {
	for _, object := range a.Data {
		if object.Tag == tag {
			return object.Value, true
		}
	}
	return nil, false
}

// PINTries is what tag 9F17 says, without a VERIFY being spent on it.
func (a Application) PINTries() (int, bool) {
	value, known := a.DataObject(0x9F17)
	if !known || len(value) != 1 {
		return 0, false
	}
	return int(value[0]), true
}

// MaskedContent is a transparent file as hex for whoever has no need of the card's
// number: of the basic information its last two digits stay, of the region all, and
// of the holder and of files that nobody has described nothing but the length.
func (f File) MaskedContent() string {
	switch f.Kind() {
	case FileInfo:
		return hideBytes(f.Content, infoSerialAt, infoSerialShownAt)
	case FileRegion:
		return f.Content.String()
	}
	return hideBytes(f.Content, 0, len(f.Content))
}

// MaskedRecord is the same for one record of the file. Records of logs hold no number
// of the card.
func (f File) MaskedRecord(record FileRecord) string {
	switch f.Kind() {
	case FileLog, FileJourneys, FileECashLog:
		return record.Raw.String()
	}
	return hideBytes(record.Raw, 0, len(record.Raw))
}

// MaskedFCI is what SELECT answered, with the copy of the basic information masked.
func (a Application) MaskedFCI() string {
	return redactAnswer(Command{INS: insSelect}, a.FCI)
}
