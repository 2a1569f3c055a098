package wallet

import "errors"

// FCI is what SELECT tells about an application:
// 6F len 84 len ‹AID› A5 len [9F08 01 ‹version›] 9F0C len ‹issuer data›
// (card dossier §1.1).
type FCI struct {
	AID        Hex // tag 84, the DF name; empty if absent
	Version    Hex // tag 9F08
	IssuerData Hex // tag 9F0C: the content of SFI 15 on most cards
}

// ErrFCI means that an answer to SELECT is no well-formed FCI. Old cards answer
// with vendor data; a reading goes on without it.
var ErrFCI = errors.New("not a file control information template")

const maxTLVDepth = 4

// ParseFCI reads an FCI. What it could read before a fault is returned with the error.
func ParseFCI(raw []byte) (FCI, error) {
	var fci FCI
	if len(raw) == 0 || raw[0] != 0x6F {
		return fci, ErrFCI
	}
	err := fci.walk(raw, 0)
	return fci, err
}

func (f *FCI) walk(raw []byte, depth int) error {
	for len(raw) > 0 {
		if raw[0] == 0x00 || raw[0] == 0xFF {
			raw = raw[1:] // padding between objects (ISO 7816-4 §5.2.2.1)
			continue
		}
		tag, value, rest, ok := cutTLV(raw)
		if !ok {
			return ErrFCI
		}
		switch tag {
		case 0x84:
			f.AID = value
		case 0x9F08:
			f.Version = value
		case 0x9F0C:
			f.IssuerData = value
		case 0x6F, 0xA5:
			if depth == maxTLVDepth {
				return ErrFCI
			}
			if err := f.walk(value, depth+1); err != nil {
				return err
			}
		}
		raw = rest
	}
	return nil
}

// cutTLV takes one BER-TLV object with a tag of one or two bytes and a length of
// up to two bytes.
func cutTLV(raw []byte) (tag int, value, rest []byte, ok bool) {
	tag, at := int(raw[0]), 1
	if raw[0]&0x1F == 0x1F {
		if len(raw) < 2 {
			return 0, nil, nil, false
		}
		tag, at = tag<<8|int(raw[1]), 2
	}
	if len(raw) <= at {
		return 0, nil, nil, false
	}
	length := int(raw[at])
	at++
	if length > 0x7F {
		count := length & 0x7F
		if count < 1 || count > 2 || len(raw) < at+count {
			return 0, nil, nil, false
		}
		length = 0
		for _, b := range raw[at : at+count] {
			length = length<<8 | int(b)
		}
		at += count
	}
	if len(raw) < at+length {
		return 0, nil, nil, false
	}
	return tag, raw[at : at+length : at+length], raw[at+length:], true
}
