package wallet

import (
	"fmt"
	"time"
)

// Shanghai is the zone of every card: dates and times on cards know no zone.
var Shanghai = time.FixedZone("CST", 8*60*60)

// Bounds of the public basic information file (card dossier §1.2).
const (
	minInfoBytes = 28
	maxInfoBytes = 34
)

// Info is the public basic information file, SFI 15 (card dossier §1.2). Offsets from 0:
//
//	0–7    issuer identifier; on city cards 0–1 issuer, 2–3 city, 4–5 industry
//	8      application type
//	9      application version; on T-Union "enabled"
//	10–19  application serial number
//	20–23  valid from, BCD
//	24–27  valid until, BCD
//	28–33  issuer's own, absent on some cards
type Info struct {
	Issuer     [8]byte
	Type       byte
	Version    byte
	ASN        ASN
	ValidFrom  time.Time // zero where the card holds no date
	ValidUntil time.Time
	Raw        Hex
}

// ParseInfo reads SFI 15, or its copy in tag 9F0C of the FCI.
func ParseInfo(raw []byte) (Info, error) {
	if len(raw) < minInfoBytes || len(raw) > maxInfoBytes {
		return Info{}, fmt.Errorf("basic information has %d bytes, not %d to %d", len(raw), minInfoBytes, maxInfoBytes)
	}
	info := Info{Type: raw[8], Version: raw[9], Raw: append(Hex(nil), raw...)}
	copy(info.Issuer[:], raw)
	copy(info.ASN[:], raw[10:20])
	info.ValidFrom, _ = parseBCDDate(raw[20:24])
	info.ValidUntil, _ = parseBCDDate(raw[24:28])
	return info, nil
}

// City is the city code of a city card, four BCD digits.
func (i Info) City() uint16 { return uint16(i.Issuer[2])<<8 | uint16(i.Issuer[3]) }

// parseBCDDate reads YYYYMMDD. A date that no calendar has is refused.
func parseBCDDate(raw []byte) (time.Time, bool) {
	return parseBCDTime([7]byte{raw[0], raw[1], raw[2], raw[3]})
}

// parseBCDTime reads YYYYMMDD HHMMSS as Asia/Shanghai.
func parseBCDTime(raw [7]byte) (time.Time, bool) {
	var n [7]int
	for i, b := range raw {
		if b>>4 > 9 || b&0xF > 9 {
			return time.Time{}, false
		}
		n[i] = int(b>>4)*10 + int(b&0xF)
	}
	year, month, day := n[0]*100+n[1], n[2], n[3]
	hour, minute, second := n[4], n[5], n[6]
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, Shanghai)
	same := t.Year() == year && int(t.Month()) == month && t.Day() == day &&
		t.Hour() == hour && t.Minute() == minute && t.Second() == second
	if !same || year == 0 {
		return time.Time{}, false
	}
	return t, true
}
