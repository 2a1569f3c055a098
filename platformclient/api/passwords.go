package api

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The rules for passwords (requirements M25), judged by client and platform with the
// same functions, so that both say the same.

// Weakness says why a password is refused; "" is none.
type Weakness string

// What a password may be refused for.
const (
	WeakShort      Weakness = "short"      // fewer characters than LoginPasswordMin
	WeakLong       Weakness = "long"       // more characters than LoginPasswordMax, or more bytes than a seal holds
	WeakCharacters Weakness = "characters" // control characters, or not UTF-8
	WeakCommon     Weakness = "common"     // on the list of passwords that everybody tries first
	WeakRepeated   Weakness = "repeated"   // a character or a short group over and over
	WeakRun        Weakness = "run"        // digits or letters in a row, such as 123456
	WeakPhone      Weakness = "phone"      // taken from the phone number
	WeakDigits     Weakness = "digits"     // a payment password has six digits
	WeakUnchanged  Weakness = "unchanged"  // the new password is the old one
)

// Bounds of a login password, in characters.
const (
	LoginPasswordMin = 8
	LoginPasswordMax = 64
)

// PaymentDigits is how many digits a payment password has.
const PaymentDigits = 6

// commonList holds the passwords that guessing begins with, one a line, in lower case.
// It was written for this program, from what is obvious on a Chinese and on an English
// keyboard; nothing was taken from a published list. It is under the licence of the
// program.
//
//go:embed commonpasswords.txt
var commonList string

var commonPasswords = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{}
	for line := range strings.Lines(commonList) {
		if word := strings.TrimSpace(line); word != "" && !strings.HasPrefix(word, "#") {
			known[word] = true
		}
	}
	return known
})

// JudgeLoginPassword tells why a login password is refused for an account with this
// phone number; "" where it is not.
func JudgeLoginPassword(password, phone string) Weakness {
	count := utf8.RuneCountInString(password)
	plain := strings.ToLower(password)
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return WeakCharacters
	case count < LoginPasswordMin:
		return WeakShort
	case count > LoginPasswordMax || len(password) > MaxPasswordLen:
		return WeakLong
	case phone != "" && strings.Contains(plain, phone):
		return WeakPhone
	case repeats(plain):
		return WeakRepeated
	case isRun(plain):
		return WeakRun
	case commonPasswords()[plain] || commonPasswords()[bare(plain)]:
		return WeakCommon
	}
	return ""
}

// JudgePaymentPassword tells why six digits are refused as the payment password of an
// account with this phone number; "" where they are not.
func JudgePaymentPassword(digits, phone string) Weakness {
	switch {
	case len(digits) != PaymentDigits || !onlyDigits(digits):
		return WeakDigits
	case repeats(digits) || distinct(digits) < 3:
		return WeakRepeated
	case isRun(digits):
		return WeakRun
	case phone != "" && strings.Contains(phone, digits):
		return WeakPhone
	}
	return ""
}

// repeats tells whether a text is one group of at most three characters over and over.
func repeats(text string) bool {
	runes := []rune(text)
	for period := 1; period <= 3 && period*2 <= len(runes); period++ {
		same := true
		for i := period; i < len(runes); i++ {
			same = same && runes[i] == runes[i-period]
		}
		if same {
			return true
		}
	}
	return false
}

// isRun tells whether every character is the neighbour of the one before, always up or
// always down. The digit after 9 is 0.
func isRun(text string) bool {
	runes := []rune(text)
	for _, step := range []rune{1, -1} {
		run := len(runes) > 1
		for i := 1; i < len(runes); i++ {
			run = run && follows(runes[i-1], runes[i], step)
		}
		if run {
			return true
		}
	}
	return false
}

func follows(before, after, step rune) bool {
	if isDigit(before) && isDigit(after) {
		return (before-'0'+step+10)%10 == after-'0'
	}
	return before+step == after
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// bare is a password without the digits and marks that people put around a word to
// satisfy rules: password2026! is password. What is left must be most of it.
func bare(plain string) string {
	word := strings.TrimFunc(plain, func(r rune) bool { return !unicode.IsLetter(r) })
	if utf8.RuneCountInString(word)*2 < utf8.RuneCountInString(plain) {
		return ""
	}
	return word
}
