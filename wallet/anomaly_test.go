package wallet_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

var lookedAt = time.Date(2026, 6, 15, 12, 0, 0, 0, wallet.Shanghai)

// logged is one record for a table: newest first.
type logged struct {
	counter uint16
	amount  wallet.Fen
	kind    byte
	at      string // YYYYMMDDHHMMSS
	after   wallet.Fen
}

var tollGate = wallet.TerminalNumber{0, 0, 0, 0x99, 5, 1}

func purseWith(profile string, balance wallet.Fen, records ...logged) wallet.Purse {
	p, _ := wallet.ProfileByName(profile)
	purse := wallet.Purse{
		Profile: p, Balance: balance, BalanceKnown: true, Info: make(wallet.Hex, 30),
		ValidFrom: time.Date(2024, 1, 1, 0, 0, 0, 0, wallet.Shanghai), ValidUntil: time.Date(2030, 1, 1, 0, 0, 0, 0, wallet.Shanghai),
	}
	for i, one := range records {
		raw := wallettest.Record(one.counter, one.amount, one.kind, tollGate, one.at)
		after := binary.BigEndian.AppendUint32(nil, uint32(one.after))
		copy(raw[2:5], after[1:])
		purse.Records = append(purse.Records, wallet.ParseRecord(raw, 0x18, i+1, p.LogOverdraft))
	}
	return purse
}

func TestAnomalies(t *testing.T) {
	const load, buy = wallet.TypeLoadEP, wallet.TypePurchaseEP
	sound := []logged{
		{7, 200, buy, "20260301120000", 0}, {3, 5000, load, "20260301110000", 0}, {6, 100, buy, "20260228120000", 0},
	}
	shanghai := []logged{
		{0x0A, 1000, load, "20260301120000", 1020}, {9, 80, buy, "20260228120000", 20}, {8, 100, buy, "20260227120000", 100},
	}
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, wallet.Shanghai)
	}
	change := func(base []logged, what func([]logged)) []logged {
		list := append([]logged(nil), base...)
		what(list)
		return list
	}
	tests := []struct {
		name  string
		purse wallet.Purse
		alter func(*wallet.Purse)
		want  []string // code, record, older, expected, found
	}{
		{name: "nothing odd", purse: purseWith("pboc-ep", 9000, sound...)},
		{name: "no records", purse: purseWith("pboc-ep", 0)},
		{name: "balances of the log close", purse: purseWith("shanghai", 1020, shanghai...)},
		{name: "blocked", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.Blocked = true }, want: []string{"BLOCKED 0 0 0 0"}},
		{name: "expired yesterday", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidUntil = day(2026, 6, 14) }, want: []string{"EXPIRED 0 0 0 0"}},
		{name: "the last day counts", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidUntil = day(2026, 6, 15) }},
		{name: "not yet valid", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidFrom = day(2026, 6, 16) }, want: []string{"NOT_YET_VALID 0 0 0 0"}},
		{name: "the first day counts", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidFrom = day(2026, 6, 15) }},
		{name: "dates that are none", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidFrom = time.Time{} }, want: []string{"NO_VALIDITY 0 0 0 0"}},
		{name: "ends before it begins", purse: purseWith("pboc-ep", 0), alter: func(p *wallet.Purse) { p.ValidFrom, p.ValidUntil = day(2028, 1, 1), day(2027, 1, 1) },
			want: []string{"VALIDITY_TURNED 0 0 0 0", "NOT_YET_VALID 0 0 0 0"}},
		{name: "flag in the balance", purse: purseWith("pboc-ep", 5710), alter: func(p *wallet.Purse) { p.BalanceHighBit = true }, want: []string{"BALANCE_FLAG 0 0 0 5710"}},
		{name: "purchases are missing", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[2].counter = 4 })...), want: []string{"COUNTER_GAP 1 3 5 7"}},
		{name: "a number twice", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[2].counter = 7 })...), want: []string{"COUNTER_BACK 1 3 8 7"}},
		{name: "numbers go back", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[2].counter = 9 })...), want: []string{"COUNTER_BACK 1 3 10 7"}},
		{name: "entrance and exit of a journey share a number", purse: purseWith("t-union", 100, logged{1, 150, wallet.TypeComposite, "20260301120000", 0}, logged{1, 0, wallet.TypeComposite, "20260301110000", 0})},
		{name: "loads and purchases have numbers of their own", purse: purseWith("pboc-ep", 9000, logged{900, 100, buy, "20260301120000", 0}, logged{3, 100, load, "20260301110000", 0})},
		{name: "one number for both, with a gap", purse: purseWith("shanghai", 1020, change(shanghai, func(l []logged) { l[0].counter = 0x0C })...), want: []string{"COUNTER_GAP 1 2 10 12"}},
		{name: "times go back", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[1].at = "20260302110000" })...), want: []string{"TIME_BACK 1 2 0 0"}},
		{name: "from the future", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[0].at = "20260701110000" })...), want: []string{"RECORD_FUTURE 1 0 0 0"}},
		{name: "no date", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[1].at = "20261399110000" })...), want: []string{"RECORD_GARBAGE 2 0 0 0"}},
		{name: "no such type", purse: purseWith("pboc-ep", 9000, change(sound, func(l []logged) { l[1].kind = 0x77 })...), want: []string{"RECORD_GARBAGE 2 0 0 0"}},
		{name: "terminal of zeros", purse: purseWith("pboc-ep", 9000, sound...), alter: func(p *wallet.Purse) { p.Records[1].Terminal = wallet.TerminalNumber{} }, want: []string{"TERMINAL_ZERO 2 0 0 0"}},
		{name: "the newest balance is not the purse's", purse: purseWith("shanghai", 1021, shanghai...), want: []string{"ARITHMETIC 1 0 1020 1021"}},
		{name: "a sum that does not close", purse: purseWith("shanghai", 1020, change(shanghai, func(l []logged) { l[1].after = 21 })...),
			want: []string{"ARITHMETIC 1 2 1021 1020", "ARITHMETIC 2 3 20 21"}},
		{name: "less than nothing before a load", purse: purseWith("pboc-ep", 1000, sound...), want: []string{"NEGATIVE_BEFORE 2 0 0 -3800"}},
		{name: "a log of loads alone proves nothing", purse: purseWith("pboc-ep", 1000, logged{3, 5000, load, "20260301110000", 0})},
		{name: "behind a gap nothing is known", purse: purseWith("pboc-ep", 100, logged{9, 100, buy, "20260301120000", 0}, logged{5, 100, buy, "20260228120000", 0}, logged{3, 5000, load, "20260227110000", 0}),
			want: []string{"COUNTER_GAP 1 2 6 9"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.alter != nil {
				test.alter(&test.purse)
			}
			var got []string
			for _, a := range wallet.Anomalies(test.purse, lookedAt) {
				require.NotEmpty(t, a.Severity)
				got = append(got, fmt.Sprintf("%s %d %d %d %d", a.Code, a.Record, a.Older, a.Expected, a.Found))
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestLoggedCounters(t *testing.T) {
	log := []logged{{7, 200, wallet.TypePurchaseEP, "20260301120000", 0}, {3, 5000, wallet.TypeLoadEP, "20260301110000", 0}, {900, 1, 0x77, "20260301110000", 0}}
	online, offline, hasOnline, hasOffline := wallet.LoggedCounters(purseWith("pboc-ep", 0, log...))
	require.Equal(t, []any{uint16(3), uint16(7), true, true}, []any{online, offline, hasOnline, hasOffline})
	online, _, hasOnline, hasOffline = wallet.LoggedCounters(purseWith("shanghai", 0, log...))
	require.Equal(t, []any{uint16(7), true, false}, []any{online, hasOnline, hasOffline})
	_, _, hasOnline, hasOffline = wallet.LoggedCounters(purseWith("pboc-ep", 0))
	require.False(t, hasOnline || hasOffline)
}

func TestPINAnomalies(t *testing.T) {
	require.Empty(t, wallet.PINAnomalies(3))
	require.Equal(t, wallet.AnomalyPINLastTry, wallet.PINAnomalies(1)[0].Code)
	require.Equal(t, wallet.AnomalyPINLocked, wallet.PINAnomalies(0)[0].Code)
}

// A log made by honest arithmetic, whatever its amounts, has no anomaly of numbers or
// sums; one that is changed in one balance always has.
func TestAnomalies_HonestLogs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		balance := wallet.Fen(rapid.IntRange(0, 100_000).Draw(t, "opening"))
		count := rapid.IntRange(1, 10).Draw(t, "records")
		var log []logged
		for i := range count {
			one := logged{counter: uint16(i + 1), kind: wallet.TypePurchaseEP, at: fmt.Sprintf("202603%02d120000", i+1)}
			one.amount = wallet.Fen(rapid.IntRange(1, 5000).Draw(t, "amount"))
			if balance < one.amount || rapid.Bool().Draw(t, "load") {
				one.kind = wallet.TypeLoadEP
				balance += one.amount
			} else {
				balance -= one.amount
			}
			one.after = balance
			log = append([]logged{one}, log...)
		}
		for _, profile := range []string{"shanghai", "pboc-ep"} {
			for _, a := range wallet.Anomalies(purseWith(profile, balance, log...), lookedAt) {
				require.Contains(t, []wallet.AnomalyCode{wallet.AnomalyCounterGap}, a.Code, "one number for both kinds looks like gaps on a card with two")
				require.Equal(t, "pboc-ep", profile)
			}
		}
		wrong := rapid.IntRange(0, count-1).Draw(t, "wrong")
		log[wrong].after++
		require.NotEmpty(t, wallet.Anomalies(purseWith("shanghai", balance, log...), lookedAt))
	})
}
