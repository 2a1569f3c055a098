package reader

import (
	"errors"
	"fmt"
)

// maxATRBytes is the length of TS and the 32 characters that may follow it
// (ISO/IEC 7816-3 §8.2).
const maxATRBytes = 33

// Errors of ParseATR. What was read up to the fault is returned with them.
var (
	ErrATRShort = errors.New("the answer to reset ends too early")
	ErrATRLong  = errors.New("the answer to reset is longer than it can be")
	ErrATRStart = errors.New("the answer to reset begins neither with 3B nor with 3F")
	ErrATRCheck = errors.New("the check byte of the answer to reset is wrong")
)

// ATR is an answer to reset, taken apart (ISO/IEC 7816-3 §8.2):
//
//	TS  T0  [TA1 TB1 TC1 TD1 [TA2 …]]  historical bytes 0…15  [TCK]
//
// The upper half of T0 and of every TDi says which of the next four interface
// bytes follow, the lower half of T0 how many historical bytes there are, and that
// of TDi the protocol that the next bytes belong to.
type ATR struct {
	Raw        []byte
	Inverse    bool // TS 3F: inverse convention
	Interface  []InterfaceByte
	Protocols  []int // T=… in the order offered; T=0 where none is named
	Historical []byte
	HasCheck   bool // a TCK is there: every card but those of T=0 alone has one
	Check      byte
	Extra      []byte // bytes behind the end, which some cards have

	// Objects are the COMPACT-TLV objects that a first historical byte of 80 or 00
	// announces (ISO/IEC 7816-4 §8.1.1).
	Objects []HistoricalObject
	// Contactless is set where a reader built the answer for a card without contacts
	// (PC/SC part 3 §3.1.3.2.3); there is no answer to reset on the air.
	Contactless *Contactless
}

// InterfaceByte is one of TA1, TB1 … with its value.
type InterfaceByte struct {
	Name    string // "TA1"
	Value   byte
	Meaning string // in the words of ISO/IEC 7816-3; empty where it says nothing to people
}

// HistoricalObject is a COMPACT-TLV object: tag and length share one byte.
type HistoricalObject struct {
	Tag     byte // upper half of the first byte, 1 … 15
	Value   []byte
	Meaning string
}

// Contactless is what an answer to reset tells about a card without contacts.
type Contactless struct {
	// Storage: a memory card; Standard and Name are the codes SS and NN of PC/SC part 3.
	// Otherwise a card of ISO/IEC 14443-4, whose historical bytes are those of its ATS
	// (type A) or stand for its ATQB (type B).
	Storage      bool
	StandardCode byte
	Standard     string
	NameCode     uint16
	Name         string
}

// ParseATR takes an answer to reset apart. It never panics, whatever a card sends.
// Errors: ErrATRShort, ErrATRLong, ErrATRStart, ErrATRCheck; the ATR holds what
// could be read.
func ParseATR(raw []byte) (ATR, error) {
	atr := ATR{Raw: append([]byte(nil), raw...)}
	switch {
	case len(raw) < 2:
		return atr, ErrATRShort
	case len(raw) > maxATRBytes:
		return atr, ErrATRLong
	case raw[0] != 0x3B && raw[0] != 0x3F:
		return atr, ErrATRStart
	}
	atr.Inverse = raw[0] == 0x3F
	rest, err := atr.readInterface(raw[2:], raw[1]>>4)
	if err != nil {
		return atr, err
	}
	count := int(raw[1] & 0x0F)
	if len(rest) < count {
		atr.Historical = append([]byte(nil), rest...)
		return atr, ErrATRShort
	}
	atr.Historical, rest = append([]byte(nil), rest[:count]...), rest[count:]
	atr.Objects = compactObjects(atr.Historical)
	if err := atr.readCheck(rest); err != nil {
		return atr, err
	}
	atr.Contactless = atr.contactless()
	return atr, nil
}

// readInterface reads TA1 … until a TD says that no more follow. follow is the
// upper half of T0.
func (a *ATR) readInterface(rest []byte, follow byte) ([]byte, error) {
	protocol := 0 // that the bytes of this group belong to
	for group := 1; follow != 0; group++ {
		next := byte(0)
		for i, letter := range []string{"A", "B", "C", "D"} {
			if follow&(1<<i) == 0 {
				continue
			}
			if len(rest) == 0 {
				return nil, ErrATRShort
			}
			value := rest[0]
			rest = rest[1:]
			a.Interface = append(a.Interface, InterfaceByte{
				Name: fmt.Sprintf("T%s%d", letter, group), Value: value, Meaning: interfaceMeaning(letter, group, protocol, value),
			})
			if letter == "D" {
				next, protocol = value>>4, int(value&0x0F)
				a.addProtocol(protocol)
			}
		}
		follow = next
	}
	if len(a.Protocols) == 0 {
		a.Protocols = []int{0} // nothing said means T=0
	}
	return rest, nil
}

// addProtocol keeps each protocol once. T=15 is no protocol: it announces bytes that
// hold for all of them.
func (a *ATR) addProtocol(protocol int) {
	if protocol == 15 {
		return
	}
	for _, known := range a.Protocols {
		if known == protocol {
			return
		}
	}
	a.Protocols = append(a.Protocols, protocol)
}

// wantsCheck: TCK is absent only where T=0 is the only thing that a TD names.
func (a *ATR) wantsCheck() bool {
	for _, b := range a.Interface {
		if b.Name[1] == 'D' && b.Value&0x0F != 0 {
			return true
		}
	}
	return false
}

// readCheck compares TCK: all bytes from T0 to TCK give 00 by exclusive or.
func (a *ATR) readCheck(rest []byte) error {
	if !a.wantsCheck() {
		a.Extra = append([]byte(nil), rest...)
		return nil
	}
	if len(rest) == 0 {
		return ErrATRShort
	}
	a.HasCheck, a.Check, a.Extra = true, rest[0], append([]byte(nil), rest[1:]...)
	var sum byte
	for _, b := range a.Raw[1 : len(a.Raw)-len(a.Extra)] {
		sum ^= b
	}
	if sum != 0 {
		return ErrATRCheck
	}
	return nil
}

// clockRates and bitRates are Fi and Di of TA1 (ISO/IEC 7816-3 §8.3, tables 7 and 8);
// 0 is reserved.
var (
	clockRates = [16]int{372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048, 0, 0}
	bitRates   = [16]int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0}
)

// interfaceMeaning says what an interface byte means, as far as it helps a person.
func interfaceMeaning(letter string, group, protocol int, value byte) string {
	switch {
	case letter == "A" && group == 1:
		fi, di := clockRates[value>>4], bitRates[value&0x0F]
		if fi == 0 || di == 0 {
			return "Fi/Di reserved"
		}
		return fmt.Sprintf("Fi=%d Di=%d", fi, di)
	case letter == "C" && group == 1 && value == 0xFF:
		return "N=255: shortest guard time"
	case letter == "C" && group == 1:
		return fmt.Sprintf("N=%d: extra guard time", value)
	case letter == "A" && group == 2:
		return fmt.Sprintf("specific mode, T=%d", value&0x0F)
	case letter == "C" && group == 2 && protocol == 0:
		return fmt.Sprintf("WI=%d: waiting time of T=0", value)
	case letter == "D":
		return fmt.Sprintf("T=%d", value&0x0F)
	case group > 2 && protocol == 15 && letter == "A":
		return "class " + cardClass(value&0x3F)
	case group > 2 && protocol == 1 && letter == "A":
		return fmt.Sprintf("IFSC=%d", value)
	case group > 2 && protocol == 1 && letter == "B":
		return fmt.Sprintf("BWI=%d CWI=%d", value>>4, value&0x0F)
	case group > 2 && protocol == 1 && letter == "C" && value&1 == 1:
		return "CRC"
	case group > 2 && protocol == 1 && letter == "C":
		return "LRC"
	}
	return ""
}

// cardClass is the supply voltages of TA behind T=15.
func cardClass(bits byte) string {
	text := ""
	for i, name := range []string{"A (5 V)", "B (3 V)", "C (1.8 V)"} {
		if bits&(1<<i) != 0 {
			if text != "" {
				text += ", "
			}
			text += name
		}
	}
	if text == "" {
		return "reserved"
	}
	return text
}

// historicalTags are the objects of ISO/IEC 7816-4 §8.1.1.2.
var historicalTags = map[byte]string{
	1: "country and national data", 2: "issuer identification", 3: "card service data", 4: "initial access data",
	5: "card issuer's data", 6: "pre-issuing data", 7: "card capabilities", 8: "status", 15: "application identifier",
}

// compactObjects reads historical bytes that begin with 80 or 00. Those of 00 end
// with three bytes of status without a tag. A fault ends the list.
func compactObjects(historical []byte) []HistoricalObject {
	if len(historical) == 0 || historical[0] != 0x80 && historical[0] != 0x00 {
		return nil
	}
	rest := historical[1:]
	var status []byte
	if historical[0] == 0x00 {
		if len(rest) < 3 {
			return nil
		}
		rest, status = rest[:len(rest)-3], rest[len(rest)-3:]
	}
	var objects []HistoricalObject
	for len(rest) > 0 {
		tag, length := rest[0]>>4, int(rest[0]&0x0F)
		if length > len(rest)-1 {
			return objects
		}
		objects = append(objects, HistoricalObject{Tag: tag, Value: append([]byte(nil), rest[1:1+length]...), Meaning: historicalTags[tag]})
		rest = rest[1+length:]
	}
	if status != nil {
		objects = append(objects, HistoricalObject{Tag: 8, Value: append([]byte(nil), status...), Meaning: historicalTags[8]})
	}
	return objects
}

// storagePrefix begins the historical bytes of a memory card: category 80, initial
// access data 4F of 12 bytes, and the registered identifier of the PC/SC workgroup.
var storagePrefix = []byte{0x80, 0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06}

// storageStandards are the values of SS, and storageNames of NN (PC/SC part 3,
// supplemental document).
var (
	storageStandards = map[byte]string{
		0x01: "ISO 14443 A, part 1", 0x02: "ISO 14443 A, part 2", 0x03: "ISO 14443 A, part 3",
		0x05: "ISO 14443 B, part 1", 0x06: "ISO 14443 B, part 2", 0x07: "ISO 14443 B, part 3",
		0x09: "ISO 15693, part 1", 0x0A: "ISO 15693, part 2", 0x0B: "ISO 15693, part 3", 0x0C: "ISO 15693, part 4",
		0x11: "FeliCa",
	}
	storageNames = map[uint16]string{
		0x0001: "MIFARE Classic 1K", 0x0002: "MIFARE Classic 4K", 0x0003: "MIFARE Ultralight", 0x0026: "MIFARE Mini",
		0x003A: "MIFARE Ultralight C", 0x003B: "FeliCa",
	}
)

// contactless recognises what a reader makes for a card without contacts: 3B 8n 80
// 01, then n historical bytes. T=0 and T=1 are both named and nothing else is.
func (a *ATR) contactless() *Contactless {
	built := !a.Inverse && len(a.Interface) == 2 && a.Interface[0] == (InterfaceByte{"TD1", 0x80, "T=0"}) && a.Interface[1].Name == "TD2" && a.Interface[1].Value == 0x01
	if !built {
		return nil
	}
	if len(a.Historical) != 15 || string(a.Historical[:len(storagePrefix)]) != string(storagePrefix) {
		return &Contactless{Standard: "ISO 14443-4"}
	}
	card := &Contactless{Storage: true, StandardCode: a.Historical[8], NameCode: uint16(a.Historical[9])<<8 | uint16(a.Historical[10])}
	card.Standard, card.Name = storageStandards[card.StandardCode], storageNames[card.NameCode]
	return card
}

// Kind names the chip where its historical bytes tell it, or "". An FM1208 of Fudan
// answers 20 90 00 and then its own number (card dossier §1.8).
func (a ATR) Kind() string {
	switch {
	case a.Contactless != nil && a.Contactless.Storage:
		return a.Contactless.Name
	case a.Contactless != nil && len(a.Historical) >= 3 && string(a.Historical[:3]) == "\x20\x90\x00":
		return "FM1208 (FMCOS)"
	}
	return ""
}
