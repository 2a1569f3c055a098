package reader

import "strings"

// Position is where a card is put on a reader.
type Position string

// The places of a card. The window has a drawing for each.
const (
	PositionTop     Position = "top"   // laid on the field, alone and flat
	PositionFront   Position = "front" // held against the front
	PositionSlot    Position = "slot"  // pushed into a slot, chip first
	PositionUnknown Position = ""
)

// Model is a reader that the free CCID driver of Linux and macOS supports by name
// (libccid 1.5.2, /etc/libccid_Info.plist), with a contactless field as far as its name
// says so. Name and identity are facts of that list; that a model stands here does not
// mean that it was tried with this program.
type Model struct {
	USB      string   // vendor and product, "072F:2200"
	Name     string   // as the driver calls it; the system's name of the reader begins with it
	Position Position // by the name: a contactless field is laid upon
	Note     string   // what is known of its troubles: a text of the catalogue; "" nothing
}

// NotePN533 is the note of readers that a driver of the Linux kernel takes for itself.
const NotePN533 = "reader.note.pn533"

// Models are common contactless readers. Positions follow from the names alone; a
// model whose name does not say is left out, however well known.
var Models = []Model{
	{"072F:2200", "ACS ACR122U PICC Interface", PositionTop, NotePN533},
	{"072F:221A", "ACS ACR1251 Dual Reader", PositionTop, ""},
	{"072F:223B", "ACS ACR1252 Dual Reader", PositionTop, ""},
	{"0DB5:0160", "Access IS NFC Smart Module", PositionTop, ""},
	{"25DD:3403", "BIT4ID miniLector AIR NFC v3", PositionTop, ""},
	{"1B0E:5A02", "BLUTRONICS TAURUS NFC", PositionTop, ""},
	{"31AA:2000", "Circle CIR215 PICC", PositionTop, ""},
	{"31AA:2001", "Circle CIR215 CL", PositionTop, ""},
	{"31AA:3002", "Circle CIR315 CL", PositionTop, ""},
	{"31AA:4001", "Circle CIR415 CL", PositionTop, ""},
	{"31AA:6001", "Circle CIR615 CL", PositionTop, ""},
	{"1DB2:088B", "DUALi DRAGON NFC READER", PositionTop, ""},
	{"09D8:0427", "Elatec TWN4 SmartCard NFC", PositionTop, ""},
	{"1FFA:0002", "ELYCTIS CL reader", PositionTop, ""},
	{"096E:0608", "Feitian 502-CL", PositionTop, ""},
	{"096E:0622", "Feitian VR504 VHBR Contactless & Contact Card Reader", PositionTop, ""},
	{"076B:502A", "HID OMNIKEY 5025-CL", PositionTop, ""},
	{"04E6:5790", "Identiv uTrust 3700 F CL Reader", PositionTop, ""},
	{"04E6:5791", "Identiv uTrust 3701 F CL Reader", PositionTop, ""},
	{"04E6:5612", "Identiv uTrust 3720 Contactless Reader", PositionTop, ""},
	{"04E6:5613", "Identiv uTrust 3721 Contactless Reader", PositionTop, ""},
	{"04E6:5725", "Identiv Identiv uTrust 4711 F CL + SAM Reader", PositionTop, ""},
	{"04E6:5721", "Identive Identive CLOUD 4510 F Contactless + SAM Reader", PositionTop, ""},
	{"21AB:0010", "Planeta RC700-NFC CCID", PositionTop, ""},
	{"1C6A:7050", "Regula RFID Reader", PositionTop, ""},
	{"0C4B:9102", "REINER SCT cyberJack RFID basis", PositionTop, ""},
	{"04E6:5291", "SCM Microsystems Inc. SCL010 Contactless Reader", PositionTop, ""},
	{"04E6:5293", "SCM Microsystems Inc. SCL01x Contactless Reader", PositionTop, ""},
	{"04E6:512B", "SCM Microsystems Inc. SDI011 Contactless Reader", PositionTop, ""},
	{"356F:22FC", "Sensyl SSC-NFC Reader", PositionTop, ""},
	{"054C:0DC8", "SONY FeliCa RC-S300/S", PositionTop, ""},
	{"054C:0DC9", "SONY FeliCa RC-S300/P", PositionTop, ""},
	{"054C:0D8F", "SONY FeliCa RC-S660/U", PositionTop, ""},
	{"1C34:8141", "SpringCard NFC'Roll", PositionTop, ""},
	{"349E:0430", "TOKEN2 MFA NFC Reader", PositionTop, ""},
	{"19A6:0009", "ubisys 13.56MHz RFID (CCID)", PositionTop, ""},
}

// ModelOf finds the model of a reader by the name that the system gives it: the
// driver's own, then an interface, a serial number and two numbers. The longest name
// that fits wins; systems with other drivers use names that fit none.
func ModelOf(readerName string) (found Model, known bool) {
	for _, model := range Models {
		if strings.HasPrefix(readerName, model.Name) && len(model.Name) > len(found.Name) {
			found, known = model, true
		}
	}
	return found, known
}

// PositionOf tells where a card is put on a reader, by its model or else by the words
// of its name; PositionUnknown where neither says.
func PositionOf(readerName string) Position {
	if model, known := ModelOf(readerName); known {
		return model.Position
	}
	for _, word := range strings.FieldsFunc(readerName, func(r rune) bool { return r == ' ' || r == '-' || r == '_' || r == '[' || r == ']' }) {
		switch strings.ToUpper(word) {
		case "PICC", "CL", "NFC", "RFID", "CONTACTLESS":
			return PositionTop
		case "ICC", "CONTACT":
			return PositionSlot
		}
	}
	return PositionUnknown
}
