package wallet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Fen is an amount of money in fen (0.01 CNY), the unit of the card.
type Fen int64

// Errors of ParseYuan.
var (
	ErrAmountFormat     = errors.New("an amount is written in yuan with at most two decimals, such as 50.00")
	ErrAmountNeedsPoint = errors.New("a whole amount of 1000 or more needs a decimal point, so that fen are never taken for yuan")
)

// maxYuanDigits keeps every amount far inside the four bytes that a card has.
const maxYuanDigits = 7

// ParseYuan reads an amount in yuan as people type it: "50", "12.5", "50.00".
// A whole number of 1000 or more without a point gives the amount together with
// ErrAmountNeedsPoint, so that a caller may ask the person.
func ParseYuan(text string) (Fen, error) {
	whole, fraction, pointed := strings.Cut(text, ".")
	if !isDigits(whole) || len(whole) > maxYuanDigits {
		return 0, ErrAmountFormat
	}
	if pointed && (!isDigits(fraction) || len(fraction) > 2) {
		return 0, ErrAmountFormat
	}
	yuan, err := strconv.Atoi(whole)
	if err != nil {
		return 0, ErrAmountFormat
	}
	fen, err := strconv.Atoi((fraction + "00")[:2])
	if err != nil {
		return 0, ErrAmountFormat
	}
	amount := Fen(yuan*100 + fen)
	if !pointed && yuan >= 1000 {
		return amount, ErrAmountNeedsPoint
	}
	return amount, nil
}

// Yuan shows the amount with two decimals: "50.00", "-3.20".
func (f Fen) Yuan() string {
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	return fmt.Sprintf("%s%d.%02d", sign, f/100, f%100)
}

func isDigits(text string) bool {
	if text == "" {
		return false
	}
	for _, r := range text {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}
