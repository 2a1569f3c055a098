package reader

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func raw(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return b
}

func TestRedactPurse(t *testing.T) {
	const public = "0102030405060708 02 01 00112233445566778899 20200101 20301231 0000"
	cases := []struct{ name, command, answer, shownCommand, shownAnswer string }{
		{"verify", "0020000003 123456", "9000", "00200000******** ", ""},
		{"verify, class of a channel", "0120000003 123456", "9000", "01200000********", ""},
		{"unblock", "8424010008 0102030405060708", "9000", "84240100******************", ""},
		{"change PIN", "805E010007 123456FF654321", "9000", "805E0100****************", ""},
		{"reload PIN", "805E000007 12345601020304", "9000", "805E0000****************", ""},
		{"credit", "805200000B 20260315180102 A1A2A3A4 04", "C1C2C3C4 9000", "805200000B20260315180102********04", "C1C2C3C4"},
		{"credit without Le", "805200000B 20260315180102 A1A2A3A4", "9302", "805200000B20260315180102********", ""},
		{"debit", "805401000F 00000001 20260315180102 B1B2B3B4 08", "C1C2C3C4 D1D2D3D4 9000",
			"805401000F0000000120260315180102********08", "C1C2C3C4********"},
		{"prove", "805A000202 0001 08", "D1D2D3D4 C1C2C3C4 9000", "805A000202000108", "********C1C2C3C4"},
		{"balance", "805C000204", "000016FC 9000", "805C000204", "000016FC"},
		{"public", "00B095001E", public + "9000", "00B095001E", "01020304050607080201" + "****************8899" + "20200101203012310000"},
		{"public from byte 9", "00B0950816", "0201 00112233445566778899 20200101 20301231 0000 9000", "00B0950816",
			"0201" + "****************8899" + "20200101203012310000"},
		{"public, longer", "00B0950000", public + "A1A2A3A4 9000", "00B0950000", "01020304050607080201" + "****************8899" + "20200101203012310000********"},
		{"holder", "00B0960002", "4142 9000", "00B0960002", "****"},
		{"selected file", "00B0000002", "4142 9000", "00B0000002", "****"},
		{"log", "00B201C417", strings.Repeat("11", 23) + "9000", "00B201C417", strings.Repeat("11", 23)},
		{"record of another file", "00B2010C00", "5A0162 9000", "00B2010C00", "******"},
		{"select", "00A4040002 5041 00", "6F26 8402 5041 A520 9F0C1E" + public + "9000", "00A4040002504100",
			"6F2684025041A5209F0C1E" + "01020304050607080201" + "****************8899" + "20200101203012310000"},
		{"select, other length", "00A4040002 5041", "9F0C03 010203 9000", "00A40400025041", "9F0C03******"},
		{"radio chip", "FFCA000000", "01020304 9000", "FFCA000000", "********"},
		{"write key", "84D4010004 01020304", "9000", "84D40100**********", ""},
		{"no command", "0020", "", "****", ""},
		{"lengths do not fit", "0020000009 1234", "9000", "00200000******", ""},
		{"credit whose lengths do not fit", "805200000C 20260315180102 A1A2A3A4", "9000", "80520000" + strings.Repeat("**", 12), ""},
		{"extended", "80520000 00000B 20260315180102 A1A2A3A4 0004", "9000", "8052000000000B20260315180102********0004", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			command, answer := RedactPurse(raw(t, c.command), raw(t, c.answer))
			require.Equal(t, strings.TrimSpace(c.shownCommand), command)
			require.Equal(t, c.shownAnswer, answer)
		})
	}
}

// FuzzRedactPurse looks for a command that makes it fail, that grows or shrinks, or
// that shows a byte of a PIN or MAC.
func FuzzRedactPurse(f *testing.F) {
	f.Add(raw(f, "0020000003123456"), raw(f, "9000"))
	f.Add(raw(f, "805200000B20260315180102A1A2A3A404"), raw(f, "C1C2C3C49000"))
	f.Add(raw(f, "8052000000000B20260315180102A1A2A3A40004"), raw(f, "C1C2C3C49000"))
	f.Fuzz(func(t *testing.T, command, answer []byte) {
		shown, shownAnswer := RedactPurse(command, answer)
		require.Len(t, shown, 2*len(command))
		require.Len(t, shownAnswer, 2*max(len(answer)-2, 0))
		if len(command) < headerBytes {
			return
		}
		body := shown[2*headerBytes:]
		switch command[1] {
		case insVerify, insUnblockPIN, insPIN:
			require.Empty(t, strings.ReplaceAll(body, "*", ""))
		case insCredit, insDebit:
			if len(command) >= headerBytes+2+macBytes {
				require.GreaterOrEqual(t, strings.Count(body, "**"), macBytes-1)
			}
		}
	})
}

type script struct{ answers [][]byte }

func (s *script) Transmit(context.Context, []byte) ([]byte, error) {
	if len(s.answers) == 0 {
		return nil, &Error{Class: CardGone, Op: "transmit", Err: errors.New("gone")}
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer, nil
}
func (s *script) ATR() []byte  { return nil }
func (s *script) Close() error { return nil }

func TestTrace(t *testing.T) {
	var log bytes.Buffer
	trace := NewTrace(2, &log, nil)
	session := trace.Wrap(&script{answers: [][]byte{raw(t, "9000"), raw(t, "000016FC9000")}}, "Reader 1")
	for _, command := range []string{"0020000003123456", "805C000204", "805C000204"} {
		_, _ = session.Transmit(context.Background(), raw(t, command))
	}
	recent := trace.Recent()
	require.Len(t, recent, 2, "the ring holds the newest")
	require.Equal(t, 2, recent[0].Sequence)
	require.Equal(t, "000016FC", recent[0].Answer)
	require.Equal(t, uint16(0x9000), recent[0].SW)
	require.Equal(t, CardGone, recent[1].Trouble)
	require.Zero(t, recent[1].SW)
	require.NoError(t, trace.Err())
	require.Equal(t, 3, strings.Count(log.String(), "\n"))
	require.NotContains(t, log.String(), "123456", "no PIN reaches the writer")
	require.Contains(t, log.String(), `"Reader 1" 805C000204 -> 9000 000016FC`)
}

// TestTraceOfGetResponse: on a T=0 card the answer comes with a command of its own,
// and is shown as far as that of the command which it continues.
func TestTraceOfGetResponse(t *testing.T) {
	trace := NewTrace(8, nil, nil)
	var told []Exchange
	trace.Tell(func(e Exchange) { told = append(told, e) })
	session := trace.Wrap(&script{answers: [][]byte{
		raw(t, "6104"), raw(t, "000016FC9000"), // GET BALANCE
		raw(t, "6108"), raw(t, "D1D2D3D4C1C2C3C49000"), // GET TRANSACTION PROVE
		raw(t, "C1C2C3C49000"), // GET RESPONSE that continues nothing
	}}, "T=0")
	for _, command := range []string{"805C0002", "00C0000004", "805A0002020001", "00C0000008", "00C0000004"} {
		_, err := session.Transmit(context.Background(), raw(t, command))
		require.NoError(t, err)
	}
	var answers []string
	for _, e := range told {
		answers = append(answers, e.Answer)
	}
	require.Equal(t, []string{"", "000016FC", "", "********C1C2C3C4", "********"}, answers)
	require.Equal(t, trace.Recent(), told)
}

func TestTraceGoesOnWithoutItsWriter(t *testing.T) {
	trace := NewTrace(4, full{}, nil)
	session := trace.Wrap(&script{answers: [][]byte{raw(t, "9000"), raw(t, "9000")}}, "r")
	for range 2 {
		_, err := session.Transmit(context.Background(), raw(t, "805C000204"))
		require.NoError(t, err)
	}
	require.ErrorIs(t, trace.Err(), errFull)
	require.Len(t, trace.Recent(), 2)
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }
