package virtualcard

import (
	"bytes"
	"encoding/hex"
)

// Names and identifiers of card dossier §1.1.
var (
	namePSE    = []byte("1PAY.SYS.DDF01")
	aidEP      = []byte{0xA0, 0x00, 0x00, 0x00, 0x03, 0x86, 0x98, 0x07, 0x01}
	aidTUnion  = []byte{0xA0, 0x00, 0x00, 0x06, 0x32, 0x01, 0x01, 0x05}
	fidMF      = []byte{0x3F, 0x00}
	fidPurse   = []byte{0x3F, 0x01}
	labelEP    = []byte("PBOC EP")
	labelUnion = []byte("MOT_T_EP")
)

// AID is the name under which the purse is selected.
func (c *Card) AID() []byte {
	if c.profile == ProfileTUnion {
		return bytes.Clone(aidTUnion)
	}
	return bytes.Clone(aidEP)
}

// selectFile is SELECT 00 A4 04 00 by full name and 00 A4 00 00 by identifier
// (card dossier §1.6). A selection that succeeds ends every session and forgets
// the PIN; one that finds nothing leaves the selection as it was.
func (c *Card) selectFile(cmd command) ([]byte, uint16) {
	c.ram.session = nil
	if cmd.p2 != 0 || (cmd.p1 != 0x00 && cmd.p1 != 0x04) {
		return nil, swP1P2
	}
	switch {
	case cmd.p1 == 0x04 && bytes.Equal(cmd.data, namePSE),
		cmd.p1 == 0x00 && (len(cmd.data) == 0 || bytes.Equal(cmd.data, fidMF)):
		return c.selected(cmd, false)
	case cmd.p1 == 0x04 && bytes.Equal(cmd.data, c.AID()),
		cmd.p1 == 0x00 && bytes.Equal(cmd.data, fidPurse):
		return c.selected(cmd, true)
	case cmd.p1 == 0x00 && len(cmd.data) == 2 && cmd.data[0] == 0 && c.hasFile(cmd.data[1]):
		c.ram.currentEF = cmd.data[1]
		return nil, swOK
	}
	return nil, swNoFile
}

// selected enters a DF and answers with its FCI.
func (c *Card) selected(cmd command, purse bool) ([]byte, uint16) {
	fci := c.fci(purse)
	if sw := c.checkLe(cmd, len(fci)); sw != swOK {
		return nil, sw
	}
	c.ram.inPurse, c.ram.currentEF, c.ram.pinDone = purse, 0, false
	if sw := c.blockedSW(); purse && sw != swOK {
		return nil, sw
	}
	return fci, swOK
}

// blockedSW is swOK, or what a blocked application answers.
func (c *Card) blockedSW() uint16 {
	switch c.ee.blocked {
	case blockedForNow:
		return swBlocked
	case blockedForEver:
		return swBlockedForEver
	}
	return swOK
}

// tlv is tag ‖ length ‖ value for values below 128 bytes.
func tlv(tag []byte, value []byte) []byte {
	return append(append(bytes.Clone(tag), byte(len(value))), value...)
}

// fci is 6F len 84 len name A5 len […] (card dossier §1.1).
func (c *Card) fci(purse bool) []byte {
	name, inner := namePSE, tlv([]byte{0x88}, []byte{0x01})
	if purse {
		name, inner = c.AID(), tlv([]byte{0x9F, 0x0C}, c.basicInfo())
		if c.variant == T0 || c.profile == ProfileTUnion {
			inner = append(tlv([]byte{0x9F, 0x08}, []byte{0x02}), inner...)
		}
	}
	return tlv([]byte{0x6F}, append(tlv([]byte{0x84}, name), tlv([]byte{0xA5}, inner)...))
}

// basicInfo is SFI 15, 30 bytes (card dossier §1.2).
func (c *Card) basicInfo() []byte {
	file := make([]byte, 30)
	switch {
	case c.profile == ProfileTUnion:
		copy(file, []byte{0x01, 0x01, 0x10, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0x01})
	case c.variant == SharedCounter:
		copy(file, []byte{0x00, 0x01, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x01})
	default:
		copy(file, []byte{0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x02, 0x01})
	}
	copy(file[10:], c.asn[:])
	copy(file[20:], date(c.validFrom))
	copy(file[24:], date(c.validUntil))
	return file
}

// date packs YYYYMMDD, which check has looked at.
func date(digits string) []byte {
	packed, err := hex.DecodeString(digits)
	if err != nil {
		return nil
	}
	return packed
}

// binaryFile returns a transparent file of the selected DF.
func (c *Card) binaryFile(sfi byte) ([]byte, bool) {
	if !c.ram.inPurse {
		return nil, false
	}
	switch {
	case sfi == 0x15:
		return c.basicInfo(), true
	case sfi == 0x16: // holder: nobody, so that no card of ours carries personal data
		return make([]byte, 39), true
	case sfi == 0x17 && c.profile == ProfileTUnion: // country 0156, province and city, card type
		file := make([]byte, 60)
		copy(file, []byte{0x00, 0x00, 0x01, 0x56, 0x10, 0x00, 0x10, 0x00, 0x00, 0x01, 0x01})
		return file, true
	}
	return nil, false
}

// recordFile returns the records of a record file of the selected DF.
func (c *Card) recordFile(sfi byte) ([][]byte, bool) {
	if !c.ram.inPurse {
		if sfi != 0x01 {
			return nil, false
		}
		label := labelEP
		if c.profile == ProfileTUnion {
			label = labelUnion
		}
		entry := append(tlv([]byte{0x4F}, c.AID()), tlv([]byte{0x50}, label)...)
		return [][]byte{tlv([]byte{0x61}, entry)}, true
	}
	switch {
	case sfi == 0x18:
		return c.records(c.ee.log), true
	case sfi == 0x06 && c.variant == SharedCounter:
		return c.records(c.ee.loads), true
	}
	return nil, false
}

// records gives a log as its file shows it. The variant t0 has zeros in unused
// records, as a real contact chip; the others have no such record.
func (c *Card) records(log []Record) [][]byte {
	var out [][]byte
	for _, record := range log {
		out = append(out, bytes.Clone(record[:]))
	}
	for c.variant == T0 && len(out) < logRecords {
		out = append(out, make([]byte, len(Record{})))
	}
	return out
}

func (c *Card) hasFile(sfi byte) bool {
	_, binary := c.binaryFile(sfi)
	_, record := c.recordFile(sfi)
	return binary || record
}

// readBinary is READ BINARY 00 B0 (80+SFI) offset Le, or 00 B0 offset of the
// file that was selected by its identifier.
func (c *Card) readBinary(cmd command) ([]byte, uint16) {
	sfi, offset := c.ram.currentEF, int(cmd.p1)<<8|int(cmd.p2)
	if cmd.p1&0x80 != 0 {
		if cmd.p1&0x60 != 0 {
			return nil, swP1P2
		}
		sfi, offset = cmd.p1&0x1F, int(cmd.p2)
	}
	if cmd.data != nil {
		return nil, swLength
	}
	file, found := c.binaryFile(sfi)
	switch {
	case !found && c.hasFile(sfi):
		return nil, swFileType
	case !found:
		return nil, swNoFile
	case offset >= len(file):
		return nil, swOffset
	}
	file = file[offset:]
	switch {
	case !cmd.hasLe || cmd.le == 256 && c.variant != T0:
		return file, swOK
	case cmd.le > len(file):
		return nil, 0x6C00 | uint16(len(file))
	}
	return file[:cmd.le], swOK
}

// readRecord is READ RECORD 00 B2 number (SFI·8+4) Le; record 01 is the newest.
func (c *Card) readRecord(cmd command) ([]byte, uint16) {
	sfi := cmd.p2 >> 3
	if sfi == 0 {
		sfi = c.ram.currentEF
	}
	switch {
	case cmd.p2&0x07 != 4:
		return nil, swP1P2
	case cmd.data != nil:
		return nil, swLength
	}
	file, found := c.recordFile(sfi)
	switch {
	case !found && c.hasFile(sfi):
		return nil, swFileType
	case !found:
		return nil, swNoFile
	case cmd.p1 == 0 || int(cmd.p1) > len(file):
		return nil, swNoRecord
	}
	record := file[cmd.p1-1]
	if sw := c.checkLe(cmd, len(record)); sw != swOK {
		return nil, 0x6C00 | uint16(len(record))
	}
	return record, swOK
}
