package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestJudgeLoginPassword(t *testing.T) {
	const phone = "13955512345"
	for password, want := range map[string]Weakness{
		"Kingfisher at 6": "", "correct horse battery": "", "翠鸟站在第六根枝头": "", "xK9#mQ2v": "",
		"": WeakShort, "1234567": WeakShort, "翠鸟站在枝": WeakShort,
		strings.Repeat("ab3", 21) + "x": "", strings.Repeat("aB3.", 17): WeakLong, strings.Repeat("翠鸟在", 15): WeakLong,
		"tab\there now": WeakCharacters, "\xff\xfe broken": WeakCharacters,
		"password": WeakCommon, "PassWord": WeakCommon, "password2026!": WeakCommon, "!!qwerty123": WeakCommon,
		"woaini1314": WeakCommon, "a123456789": WeakCommon,
		"aaaaaaaa": WeakRepeated, "abababab": WeakRepeated, "abcabcabc": WeakRepeated, "12121212": WeakRepeated,
		"12345678": WeakRun, "87654321": WeakRun, "78901234": WeakRun, "abcdefgh": WeakRun, "ZYXWVUTS": WeakRun,
		phone: WeakPhone, "my" + phone + "!": WeakPhone,
	} {
		require.Equal(t, want, JudgeLoginPassword(password, phone), password)
	}
}

func TestJudgePaymentPassword(t *testing.T) {
	const phone = "13955512345"
	for digits, want := range map[string]Weakness{
		"370482": "", "958203": "", "102938": "",
		"": WeakDigits, "12345": WeakDigits, "1234567": WeakDigits, "12345a": WeakDigits, "１２３４５６": WeakDigits, "37 482": WeakDigits,
		"111111": WeakRepeated, "121212": WeakRepeated, "123123": WeakRepeated, "111222": WeakRepeated, "989989": WeakRepeated,
		"123456": WeakRun, "654321": WeakRun, "890123": WeakRun, "210987": WeakRun,
		"139555": WeakPhone, "512345": WeakPhone, "555123": WeakPhone,
	} {
		require.Equal(t, want, JudgePaymentPassword(digits, phone), digits)
	}
}

// Whatever is accepted has the form that the rules promise, and a run, a repetition or a
// part of the phone number is never accepted.
func TestJudgedPasswordsKeepTheRules(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		phone := rapid.StringMatching(`1[3-9][0-9]{9}`).Draw(r, "phone")
		require.True(r, ValidPhone(phone))
		at := rapid.IntRange(0, PhoneDigits-PaymentDigits).Draw(r, "at")
		require.NotEmpty(r, JudgePaymentPassword(phone[at:at+PaymentDigits], phone))
		start, step := rapid.IntRange(0, 9).Draw(r, "start"), rapid.SampledFrom([]int{1, 9, 0}).Draw(r, "step")
		run := make([]byte, PaymentDigits)
		for i := range run {
			run[i] = '0' + byte((start+i*step)%10)
		}
		require.NotEmpty(r, JudgePaymentPassword(string(run), ""))

		text := rapid.String().Draw(r, "password")
		if JudgeLoginPassword(text, phone) == "" {
			require.GreaterOrEqual(r, len([]rune(text)), LoginPasswordMin)
			require.LessOrEqual(r, len([]rune(text)), LoginPasswordMax)
			require.LessOrEqual(r, len(text), MaxPasswordLen)
		}
	})
}

// Each line of the list is a password that reaches it: long enough, in lower case, and
// not refused by a rule before.
func TestCommonPasswordsAreReached(t *testing.T) {
	require.Greater(t, len(commonPasswords()), 150)
	for word := range commonPasswords() {
		require.Equal(t, strings.ToLower(word), word)
		long := word
		for len(long) < LoginPasswordMin { // a short word counts with what people add to it
			long += "!"
		}
		require.Contains(t, []Weakness{WeakCommon, WeakRepeated}, JudgeLoginPassword(long, ""), word)
	}
}

func TestValidPhone(t *testing.T) {
	for phone, want := range map[string]bool{
		"13955512345": true, "19900000000": true, "": false, "1395551234": false, "139555123456": false, "23955512345": false,
		"1395551234a": false, "+8613955512": false, "１３９５５５１２３４５": false,
	} {
		require.Equal(t, want, ValidPhone(phone), phone)
	}
}

// A seal opens for its own use, request, device and account, and for nothing else.
func TestPasswordSealOpensForItsRequestOnly(t *testing.T) {
	key, err := NewSealKey()
	require.NoError(t, err)
	good := PasswordBinding{Use: UseNewLogin, Route: PathRegistrations, Thumbprint: "thumb", Key: "key", Phone: "13955512345"}
	seal, err := SealPassword(key.PublicKey().Bytes(), good, "Kingfisher at 6")
	require.NoError(t, err)
	password, err := OpenPassword(key, good, seal)
	require.NoError(t, err)
	require.Equal(t, "Kingfisher at 6", password)
	for name, change := range map[string]func(*PasswordBinding){
		"use": func(b *PasswordBinding) { b.Use = UseLogin }, "route": func(b *PasswordBinding) { b.Route = PathPasswordLogin },
		"device": func(b *PasswordBinding) { b.Thumbprint = "thumc" }, "key": func(b *PasswordBinding) { b.Key = "" },
		"phone": func(b *PasswordBinding) { b.Phone = "13955512346" },
		"parts": func(b *PasswordBinding) { b.Thumbprint, b.Key = "thumbk", "ey" },
	} {
		other := good
		change(&other)
		_, err := OpenPassword(key, other, seal)
		require.ErrorIs(t, err, ErrSeal, name)
	}
	_, err = OpenLogin(key, LoginBinding{Route: PathRegistrations, Thumbprint: "thumb", Nonce: "key", Phone: good.Phone}, seal)
	require.ErrorIs(t, err, ErrSeal, "a seal for a registration logs nobody in")
	for i := range seal {
		damaged := append([]byte(nil), seal...)
		damaged[i] ^= 1
		_, err := OpenPassword(key, good, damaged)
		require.ErrorIs(t, err, ErrSeal)
	}
}
