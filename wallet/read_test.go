package wallet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

func read(t *testing.T, card wallet.Card) wallet.Reading {
	t.Helper()
	reading, err := wallet.Read(context.Background(), card, wallet.ReadOptions{})
	require.NoError(t, err)
	return reading
}

func TestRead_StandardCardTakesThirteenCommands(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1234, 10)
	before := *chip
	var told []wallet.Purse
	reading, err := wallet.Read(context.Background(), chip, wallet.ReadOptions{OnBalance: func(p wallet.Purse) {
		require.Len(t, chip.Sent, 2)
		told = append(told, p)
	}})
	require.NoError(t, err)
	require.Equal(t, 13, reading.APDUs)
	require.Equal(t, 2, reading.APDUsToBalance)
	require.Equal(t, len(chip.Sent)-13, reading.APDUsProbe)
	require.Equal(t, []string{
		"00A4040009A0000000038698070100", "805C000204", "00B095001E",
		"00B201C417", "00B202C417",
	}, chip.Sent[:5])
	require.Equal(t, "00B20AC417", chip.Sent[12])
	require.Len(t, told, 1)
	require.EqualValues(t, 1234, told[0].Balance)

	require.Len(t, reading.Purses, 1)
	purse := reading.Purses[0]
	require.True(t, purse.Complete)
	require.Empty(t, purse.Problems)
	require.Equal(t, "pboc-ep", purse.Profile.Name)
	require.Equal(t, testASN, purse.ASN)
	require.Equal(t, "6210000112345678", purse.Number)
	require.Len(t, purse.Records, 10)
	require.Equal(t, 1, purse.Records[0].Index)
	require.Equal(t, "2026-03-01T12:00:00+08:00", purse.Records[0].Time.Format(time.RFC3339))
	require.Equal(t, "2040-12-31", purse.ValidUntil.Format(time.DateOnly))

	for _, command := range chip.Sent {
		require.Contains(t, []string{"A4", "B0", "B2", "5C"}, command[2:4], "a query sends reading commands only")
	}
	require.Equal(t, before.Balance, chip.Balance)
	require.Equal(t, before.Seq, chip.Seq)
}

func TestRead_T0CountsTheSame(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1234, 10)
	chip.T0 = true
	reading := read(t, chip)
	require.Equal(t, 13, reading.APDUs)
	require.Equal(t, 2, reading.APDUsToBalance)
	require.NotZero(t, countINS(chip.Sent, "C0"))
}

func TestRead_RecordedCards(t *testing.T) {
	tests := []struct {
		file, profile, number string
		from, until           string
		balance               wallet.Fen
		high                  bool
		records               int
		last                  string // the oldest record
	}{
		{"city-union", "city-union", "0102030405060708", "2017-01-01", "2027-12-31", 5710, true, 3, "0001 01 200.00"},
		{"t-union", "t-union", "3105170000000000017", "2019-07-18", "2040-12-31", 5710, true, 3, "0001 01 200.00"},
		{"t-union-beijing", "t-union", "3105170056789012345", "2019-08-06", "2040-12-31", 11042, false, 10, "0002 09 0.90"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			replay, err := wallettest.LoadReplay(filepath.Join("testdata", "cards", tt.file+".json"))
			require.NoError(t, err)
			reading := read(t, replay)
			require.Len(t, reading.Purses, 1)
			purse := reading.Purses[0]
			require.Equal(t, tt.profile, purse.Profile.Name)
			require.Equal(t, tt.balance, purse.Balance)
			require.Equal(t, tt.high, purse.BalanceHighBit)
			require.True(t, purse.Complete, purse.Problems)
			require.Len(t, purse.Records, tt.records)
			oldest := purse.Records[len(purse.Records)-1]
			require.Equal(t, tt.last, fmt.Sprintf("%04X %02X %s", oldest.Counter, oldest.Type, oldest.Amount.Yuan()))
			require.Equal(t, tt.number, purse.Number)
			require.Equal(t, tt.from, purse.ValidFrom.Format(time.DateOnly))
			require.Equal(t, tt.until, purse.ValidUntil.Format(time.DateOnly))
			require.Equal(t, len(replay.Sent), reading.APDUs+reading.APDUsProbe)
		})
	}
}

// several is a card with more than one application.
type several struct {
	chips   []*wallettest.Chip
	current *wallettest.Chip
	sent    int
}

func (s *several) Transmit(ctx context.Context, c []byte) ([]byte, error) {
	s.sent++
	if c[1] == 0xA4 {
		for _, chip := range s.chips {
			if bytes.Contains(c, chip.AID) {
				s.current = chip
			}
		}
	}
	return s.current.Transmit(ctx, c)
}

func TestRead_EveryPurseOfACardIsFound(t *testing.T) {
	card := &several{}
	var want []string
	for _, p := range wallet.Profiles() {
		if p.Base != "" || p.MFInfoSFI != 0 || p.AIDFirst != nil {
			continue
		}
		chip := wallettest.NewChip(testASN, 100, 10)
		chip.AID = p.AIDs[len(p.AIDs)-1]
		chip.Info[19] = byte(len(want)) // each with a serial of its own
		card.chips = append(card.chips, chip)
		want = append(want, p.Name)
	}
	card.current = card.chips[0]
	reading := read(t, card)
	var got []string
	for _, purse := range reading.Purses {
		require.Len(t, purse.Records, 10)
		got = append(got, purse.Profile.Name)
	}
	require.Equal(t, want, got)
	require.Greater(t, len(got), 5)
	require.Equal(t, 13, reading.APDUs)
	require.Equal(t, card.sent, reading.APDUs+reading.APDUsProbe)
}

func TestRead_ProfileRefinedByInfo(t *testing.T) {
	tests := []struct {
		name   string
		change func(info []byte)
		want   string
	}{
		{"standard", func([]byte) {}, "pboc-ep"},
		{"Shanghai", func(i []byte) { i[2], i[3] = 0x29, 0x00 }, "shanghai"},
		{"Chongqing", func(i []byte) { i[2], i[3] = 0x40, 0x00 }, "chongqing"},
		{"interlinked city", func(i []byte) { i[2], i[3], i[10], i[11] = 0x12, 0x34, 0, 1 }, "city-union"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chip := wallettest.NewChip(testASN, 1234, 10)
			tt.change(chip.Info)
			purse := read(t, chip).Purses[0]
			require.Equal(t, tt.want, purse.Profile.Name)
			require.True(t, purse.Profile.Accepts("pboc-ep"))
		})
	}
}

func TestRead_ShanghaiRecords(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1020, 0)
	chip.Info[2], chip.Info[3] = 0x29, 0x00
	load := wallettest.Record(10, 1000, wallet.TypeLoadEP, leasedTID, "20260302080000")
	copy(load[2:], []byte{0x00, 0x03, 0xFC})
	chip.Records = [][]byte{load}
	older := wallettest.Record(2, 500, wallet.TypeLoadEP, leasedTID, "20250302080000")
	chip.Hook = func(c []byte) ([]byte, error, bool) {
		if c[1] != 0xB2 || c[3] != 0x06<<3|4 || c[2] > 2 {
			return nil, nil, false
		}
		return append(append([]byte{}, [][]byte{load, older}[c[2]-1]...), 0x90, 0), nil, true
	}
	purse := read(t, chip).Purses[0]
	require.Len(t, purse.Records, 2, "the load in both files is one load")
	require.EqualValues(t, 1020, purse.Records[0].BalanceAfter)
	require.True(t, purse.Records[0].HasBalanceAfter)
	require.Zero(t, purse.Records[0].Overdraft)
	require.EqualValues(t, 0x06, purse.Records[1].SFI)
}

func TestRead_LogEnds(t *testing.T) {
	good := wallettest.Record(1, 100, wallet.TypePurchaseEP, leasedTID, "20260301120000")
	badDate := wallettest.Record(1, 100, wallet.TypePurchaseEP, leasedTID, "20261301120000")
	badType := wallettest.Record(1, 100, 0x77, leasedTID, "20260301120000")
	tests := []struct {
		name     string
		records  [][]byte
		problems []string // of the records, in order
	}{
		{"empty: 6A83", nil, nil},
		{"empty: 00", [][]byte{make([]byte, 23)}, nil},
		{"empty: FF", [][]byte{bytes.Repeat([]byte{0xFF}, 23)}, nil},
		{"two, then 00", [][]byte{good, good, make([]byte, 23), good}, []string{"", ""}},
		{"bad date between", [][]byte{good, badDate, good}, []string{"", wallet.ProblemRecordDate, ""}},
		{"bad type between", [][]byte{good, badType, good}, []string{"", wallet.ProblemRecordType, ""}},
		{"short between", [][]byte{good, good[:7], good}, []string{"", wallet.ProblemRecordLength, ""}},
		{"no data between", [][]byte{good, {}, good}, []string{"", wallet.ProblemRecordLength, ""}},
		{"long between", [][]byte{good, append(append([]byte{}, good...), 1), good}, []string{"", wallet.ProblemRecordLength, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chip := wallettest.NewChip(testASN, 1234, 0)
			chip.Records = tt.records
			purse := read(t, chip).Purses[0]
			var problems []string
			for _, record := range purse.Records {
				problems = append(problems, record.Problem)
			}
			require.Equal(t, tt.problems, problems)
			require.True(t, purse.Complete, "a bad record does not make the reading incomplete")
		})
	}
}

func TestRead_LogElsewhere(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1234, 0)
	record := wallettest.Record(1, 100, wallet.TypeLoadEP, leasedTID, "20260301120000")
	chip.Hook = func(c []byte) ([]byte, error, bool) {
		return append(append([]byte{}, record...), 0x90, 0), nil, c[1] == 0xB2 && c[3] == 0x1A<<3|4 && c[2] == 1
	}
	purse := read(t, chip).Purses[0]
	require.Len(t, purse.Records, 1)
	require.EqualValues(t, 0x1A, purse.Records[0].SFI)
}

func TestRead_Trouble(t *testing.T) {
	answer := func(ins byte, raw string) func([]byte) ([]byte, error, bool) {
		return func(c []byte) ([]byte, error, bool) { return mustHex(raw), nil, c[1] == ins }
	}
	record3 := func(raw string) func([]byte) ([]byte, error, bool) {
		return func(c []byte) ([]byte, error, bool) { return mustHex(raw), nil, c[1] == 0xB2 && c[2] == 3 }
	}
	tests := []struct {
		name     string
		hook     func([]byte) ([]byte, error, bool)
		records  int
		blocked  bool
		problems []string
	}{
		{"PIN for records", answer(0xB2, "6982"), 0, false, []string{wallet.ProblemPINNeeded}},
		{"log cut short", record3("6F00"), 2, false, []string{wallet.ProblemRecordsCutShort}},
		{"application blocked", answer(0x5C, "9303"), 10, true, []string{wallet.ProblemBalance, wallet.ProblemApplicationBlock}},
		{"selected but invalidated", answer(0xB2, "6A81"), 0, true, []string{wallet.ProblemRecordsCutShort, wallet.ProblemApplicationBlock}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chip := wallettest.NewChip(testASN, 1234, 10)
			chip.Hook = tt.hook
			reading := read(t, chip)
			purse := reading.Purses[0]
			require.Equal(t, tt.problems, purse.Problems)
			require.Len(t, purse.Records, tt.records)
			require.Equal(t, tt.blocked, purse.Blocked)
			require.False(t, purse.Complete)
			require.Equal(t, testASN, purse.ASN)
		})
	}
}

func TestRead_RecordsBehindAPIN(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1234, 10)
	chip.PIN = []byte{0x12, 0x34}
	verified := false
	chip.Hook = func(c []byte) ([]byte, error, bool) {
		verified = verified || c[1] == 0x20
		return mustHex("6982"), nil, c[1] == 0xB2 && !verified
	}
	asked := 0
	reading, err := wallet.Read(context.Background(), chip, wallet.ReadOptions{PIN: func(int) ([]byte, error) {
		asked++
		return []byte{0x12, 0x34}, nil
	}})
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.Len(t, reading.Purses[0].Records, 10)
	require.True(t, reading.Purses[0].Complete)
}

func TestRead_CardBlocked(t *testing.T) {
	_, err := wallet.Read(context.Background(), cardFunc(func(context.Context, []byte) ([]byte, error) {
		return []byte{0x6A, 0x81}, nil
	}), wallet.ReadOptions{})
	require.Equal(t, wallet.CodeCardBlocked, wallet.CodeOf(err))
}

func TestRead_NoPurse(t *testing.T) {
	for _, status := range []string{"6A82", "6D00", "6E00"} {
		replay := &wallettest.Replay{}
		_, err := wallet.Read(context.Background(), cardFunc(func(context.Context, []byte) ([]byte, error) {
			return mustHex(status), nil
		}), wallet.ReadOptions{})
		require.Equal(t, wallet.CodeCardNoPurse, wallet.CodeOf(err))
		require.Empty(t, replay.Sent)
	}
}

// A card taken away in the middle gives what was read, and says that it is not all.
func TestRead_CardLostMidway(t *testing.T) {
	for n := 1; n <= 13; n++ {
		chip := wallettest.NewChip(testASN, 1234, 10)
		chip.Hook = func([]byte) ([]byte, error, bool) { return nil, wallettest.ErrTorn, len(chip.Sent) >= n }
		reading, err := wallet.Read(context.Background(), chip, wallet.ReadOptions{})
		require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err), n)
		require.ErrorIs(t, err, wallettest.ErrTorn)
		if n > 1 {
			require.False(t, reading.Purses[0].Complete)
			require.NotEmpty(t, reading.Purses[0].Problems)
			require.Len(t, reading.Purses[0].Records, max(0, n-4))
		}
		require.Len(t, chip.Sent, n, "nothing is sent after an error")
	}
	t.Run("during the probe", func(t *testing.T) {
		chip := wallettest.NewChip(testASN, 1234, 10)
		chip.Hook = func([]byte) ([]byte, error, bool) { return nil, wallettest.ErrTorn, len(chip.Sent) >= 15 }
		reading, err := wallet.Read(context.Background(), chip, wallet.ReadOptions{})
		require.NoError(t, err)
		require.True(t, reading.Purses[0].Complete)
		require.Equal(t, []string{wallet.ProblemProbeIncomplete}, reading.Problems)
	})
}

func TestRead_OldBeijing(t *testing.T) {
	mf := make([]byte, 48)
	copy(mf, mustHex("12345678"))
	copy(mf[24:], mustHex("2008010120281231"))
	selected := ""
	sent := []string{}
	card := cardFunc(func(_ context.Context, c []byte) ([]byte, error) {
		command := wallet.Hex(c).String()
		sent = append(sent, command)
		switch {
		case command == "00A40000023F0000":
			selected = "MF"
			return mustHex("9000"), nil
		case command == "00A4000002100100":
			selected = "DF"
			return mustHex("6F08840450424F43A5009000"), nil
		case command == "00B0840000" && selected == "MF":
			return append(bytes.Clone(mf), 0x90, 0), nil
		case command == "805C000204" && selected == "DF":
			return mustHex("000004D29000"), nil
		case c[1] == 0xB2 && c[2] == 1 && selected == "DF":
			return append(wallettest.Record(1, 40, 6, leasedTID, "20260301120000"), 0x90, 0), nil
		}
		return mustHex("6A82"), nil
	})
	reading := read(t, card)
	require.Len(t, reading.Purses, 1)
	purse := reading.Purses[0]
	require.Equal(t, "beijing", purse.Profile.Name)
	require.Equal(t, "12345678", purse.Number)
	require.EqualValues(t, 1234, purse.Balance)
	require.Len(t, purse.Records, 1)
	require.Equal(t, "2028-12-31", purse.ValidUntil.Format(time.DateOnly))
}

func TestRead_MacauUnits(t *testing.T) {
	chip := wallettest.NewChip(testASN, 623, 1)
	chip.AID = mustHex("B0C4C3C5CDA8C7AEB0FC")
	purse := read(t, chip).Purses[0]
	require.Equal(t, "macau", purse.Profile.Name)
	require.EqualValues(t, 5230, purse.Balance, "62.3 MOP, of which 10 are the deposit")
}

func TestRead_ElectronicDepositOnly(t *testing.T) {
	chip := wallettest.NewChip(testASN, 0, 2)
	chip.Hook = func(c []byte) ([]byte, error, bool) {
		switch {
		case c[1] == 0x5C && c[3] == 2:
			return mustHex("6A82"), nil, true
		case c[1] == 0x5C && c[3] == 1:
			return mustHex("000003E89000"), nil, true
		}
		return nil, nil, false
	}
	purse := read(t, chip).Purses[0]
	require.Equal(t, "tsinghua", purse.Profile.Name)
	require.EqualValues(t, 1000, purse.Balance)
}

// Hostile cards: whatever they answer, a reading ends with an error or a Reading,
// after a bounded number of commands, and without a panic.
func TestRead_HostileCards(t *testing.T) {
	tests := []struct {
		name string
		card func(n int, c []byte) []byte
		code wallet.Code
	}{
		{"endless 61xx", func(int, []byte) []byte { return mustHex("6110") }, wallet.CodeCardProtocol},
		{"endless 61xx with data", func(int, []byte) []byte { return append(make([]byte, 16), 0x61, 0x00) }, wallet.CodeCardProtocol},
		{"endless 6Cxx", func(int, []byte) []byte { return mustHex("6C10") }, wallet.CodeCardNoPurse},
		{"endless 6700", func(int, []byte) []byte { return mustHex("6700") }, wallet.CodeCardNoPurse},
		{"nothing", func(int, []byte) []byte { return nil }, wallet.CodeCardProtocol},
		{"one byte", func(int, []byte) []byte { return []byte{0x90} }, wallet.CodeCardProtocol},
		{"64 KB", func(int, []byte) []byte { return append(make([]byte, 65536), 0x90, 0x00) }, wallet.CodeCardProtocol},
		{"259 bytes", func(int, []byte) []byte { return append(make([]byte, 257), 0x90, 0x00) }, wallet.CodeCardProtocol},
		{"9000 to everything", func(int, []byte) []byte { return mustHex("9000") }, wallet.CodeCardNoPurse},
		{"deep FCI", func(int, []byte) []byte {
			return append(bytes.Repeat([]byte{0x6F, 0x82, 0x00, 0xC0}, 60), 0x90, 0x00)
		}, wallet.CodeCardNoPurse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sent := 0
			card := cardFunc(func(_ context.Context, c []byte) ([]byte, error) {
				sent++
				return tt.card(sent, c), nil
			})
			_, err := wallet.Read(context.Background(), card, wallet.ReadOptions{})
			require.Equal(t, tt.code, wallet.CodeOf(err), err)
			require.Less(t, sent, 300)
		})
	}
}

func TestRead_SameAnswerToEveryCommandIsNotTwelvePurses(t *testing.T) {
	chip := wallettest.NewChip(testASN, 1234, 10)
	chip.FCI = []byte{}
	card := cardFunc(func(ctx context.Context, c []byte) ([]byte, error) {
		if c[1] == 0xA4 {
			c = mustHex("00A4040009A0000000038698070100")
		}
		return chip.Transmit(ctx, c)
	})
	require.Len(t, read(t, card).Purses, 1)
}

func TestRead_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		_, err := wallet.Read(context.Background(), silent{}, wallet.ReadOptions{})
		require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(started))
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := wallet.Read(ctx, silent{}, wallet.ReadOptions{})
	require.Equal(t, wallet.CodeCancelled, wallet.CodeOf(err))
	require.True(t, errors.Is(err, context.Canceled))
}
