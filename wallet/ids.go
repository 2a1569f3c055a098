package wallet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ASN is the application serial number of a purse: bytes 11–20 of the public
// basic information file (SFI 15). In text it is 20 upper-case hex digits.
type ASN [10]byte

// ParseASN reads 20 hex digits, or 16, which are the key factor alone; the
// first two bytes are zero then.
func ParseASN(text string) (ASN, error) {
	var asn ASN
	raw, err := hex.DecodeString(text)
	switch {
	case err != nil:
		return asn, fmt.Errorf("application serial %q is not hexadecimal", text)
	case len(raw) == 10:
		copy(asn[:], raw)
	case len(raw) == 8:
		copy(asn[2:], raw)
	default:
		return asn, fmt.Errorf("application serial %q has %d digits, not 16 or 20", text, len(text))
	}
	return asn, nil
}

// Factor returns the rightmost eight bytes, from which an issuer derives the
// keys of this card (bytes 13–20 of SFI 15).
func (a ASN) Factor() [8]byte { return [8]byte(a[2:]) }

// String returns the 20 digits. It is not for screens or logs: use Masked.
func (a ASN) String() string { return strings.ToUpper(hex.EncodeToString(a[:])) }

// Masked shows the last four digits only.
func (a ASN) Masked() string { return MaskNumber(a.String()) }

// MarshalText and UnmarshalText give JSON the 20 digits.
func (a ASN) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts what ParseASN accepts.
func (a *ASN) UnmarshalText(text []byte) (err error) { *a, err = ParseASN(string(text)); return }

// MaskNumber replaces all but the last four characters of a card number.
func MaskNumber(number string) string {
	if len(number) <= 4 {
		return number
	}
	return strings.Repeat("*", len(number)-4) + number[len(number)-4:]
}

// TerminalNumber is the six-byte terminal number of a transaction. For loads it
// is a number for one use that the platform leased: it makes MAC1 fresh.
type TerminalNumber [6]byte

// ParseTerminalNumber reads 12 hex digits.
func ParseTerminalNumber(text string) (TerminalNumber, error) {
	var t TerminalNumber
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(t) {
		return t, fmt.Errorf("terminal number %q is not 12 hexadecimal digits", text)
	}
	copy(t[:], raw)
	return t, nil
}

// String returns 12 upper-case hex digits.
func (t TerminalNumber) String() string { return strings.ToUpper(hex.EncodeToString(t[:])) }

// MarshalText gives JSON the 12 digits.
func (t TerminalNumber) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads 12 digits.
func (t *TerminalNumber) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTerminalNumber(string(text))
	return
}

// Hex is a byte string that is upper-case hex in JSON.
type Hex []byte

// MarshalText gives JSON upper-case hex.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hex of either case.
func (h *Hex) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		return errors.New("not hexadecimal")
	}
	*h = raw
	return nil
}

// String returns upper-case hex.
func (h Hex) String() string { return strings.ToUpper(hex.EncodeToString(h)) }
