package wallet

import (
	"encoding/hex"
	"errors"
)

// ErrPINFormat means that what was typed cannot be a card PIN.
var ErrPINFormat = errors.New("a card PIN has 4 to 12 digits, an even number of them")

// PINBytes turns the digits that a person typed into the bytes of VERIFY: two
// digits to a byte, 123456 = 12 34 56 (card dossier §1.6).
func PINBytes(digits string) ([]byte, error) {
	if !isDigits(digits) || len(digits) < 4 || len(digits) > 12 || len(digits)%2 != 0 {
		return nil, ErrPINFormat
	}
	return hex.DecodeString(digits)
}
