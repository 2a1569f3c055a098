package wallet_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// recordedCard is a recording with power.
func recordedCard(t *testing.T, name string) *watched {
	t.Helper()
	raw, err := os.ReadFile("testdata/cards/" + name + ".json")
	require.NoError(t, err)
	chip, err := virtualcard.Parse(raw)
	require.NoError(t, err)
	_, err = chip.PowerOn()
	require.NoError(t, err)
	return &watched{chip: chip}
}

// watched notes what is sent, and may lose its card.
type watched struct {
	chip  virtualcard.Chip
	sent  [][]byte
	until int // commands until the card leaves; 0: it stays
}

func (w *watched) Transmit(ctx context.Context, c []byte) ([]byte, error) {
	w.sent = append(w.sent, append([]byte(nil), c...))
	if w.until > 0 && len(w.sent) > w.until {
		return nil, context.DeadlineExceeded
	}
	return w.chip.Transmit(c)
}

func view(t *testing.T, card wallet.Card) wallet.View {
	t.Helper()
	v, err := wallet.ViewCard(t.Context(), card, nil)
	require.NoError(t, err)
	return v
}

func app(t *testing.T, v wallet.View, name string) wallet.Application {
	t.Helper()
	for _, a := range v.Applications {
		if a.Name.String() == name {
			return a
		}
	}
	require.Fail(t, "no such application", name)
	return wallet.Application{}
}

func fileOf(t *testing.T, a wallet.Application, sfi byte) wallet.File {
	t.Helper()
	for _, f := range a.Files {
		if f.SFI == sfi {
			return f
		}
	}
	require.Fail(t, "no such file", "%02X", sfi)
	return wallet.File{}
}

// Every variant shows its purse, and nothing that a card is sent may change it.
func TestViewCard_EveryVariant(t *testing.T) {
	readOnly := map[byte]bool{0xA4: true, 0xB0: true, 0xB2: true, 0x5C: true, 0xC0: true, 0xCA: true}
	for _, variant := range virtualcard.Variants() {
		t.Run(variant.Name, func(t *testing.T) {
			spec := virtualcard.Spec{ASN: testASN, Balance: 1234, Records: 12, Variant: variant.Name}
			card := must(virtualcard.New(spec, rand.NewChaCha8([32]byte{7})))
			card.SetDelay(nil)
			_, err := card.PowerOn()
			require.NoError(t, err)
			before := must(card.Image())
			w := &watched{chip: card}
			v := view(t, w)
			require.Equal(t, before, must(card.Image()), "a view changes nothing")
			for _, command := range w.sent {
				require.True(t, readOnly[command[1]], "% X", command)
			}
			require.Empty(t, v.Problems)
			require.Empty(t, v.Trouble)
			require.Len(t, v.Reading.Purses, 1)
			require.Empty(t, wallet.Anomalies(v.Reading.Purses[0], lookedAt))

			purse := app(t, v, "A00000000386980701")
			require.Equal(t, wallet.SourceDirectory, purse.Source)
			require.Equal(t, "PBOC EP", purse.Label)
			require.Equal(t, v.Reading.Purses[0].Profile, purse.Profile)
			require.Contains(t, purse.Balances, wallet.Balance{P1: 0, P2: 2, Amount: 1234})
			require.Equal(t, wallet.FileInfo, fileOf(t, purse, 0x15).Kind())
			require.Equal(t, wallet.FileHolder, fileOf(t, purse, 0x16).Kind())
			log := fileOf(t, purse, 0x18)
			require.Equal(t, wallet.FileLog, log.Kind())
			require.Len(t, log.Records, 10)
			require.False(t, log.Records[0].Unused())
			require.True(t, wallet.FileRecord{Raw: make(wallet.Hex, 23)}.Unused())
		})
	}
}

func TestViewCard_Recorded(t *testing.T) {
	v := view(t, recordedCard(t, "t-union-beijing"))
	require.Len(t, v.Directories, 1)
	require.Contains(t, v.Directories[0].Entries, wallet.DirectoryEntry{AID: unhexed("A000000632010105"), Label: "MOT_T_EP", Priority: 2})
	purse := app(t, v, "A000000632010105")
	require.Equal(t, "t-union", purse.Profile.Name)
	journeys := fileOf(t, purse, 0x1E)
	require.Equal(t, wallet.FileJourneys, journeys.Kind())
	require.Len(t, journeys.Records, 30)
	first, err := wallet.ParseJourney(journeys.Records[0].Raw, 1)
	require.NoError(t, err)
	require.Equal(t, "2021-10-01 11:51:12", first.Time.Format("2006-01-02 15:04:05"))
	require.Equal(t, wallet.Fen(0x44C), first.Balance)
	region, err := wallet.ParseRegion(fileOf(t, purse, 0x17).Content)
	require.NoError(t, err)
	require.Equal(t, "1000", region.Province.String())

	v = view(t, recordedCard(t, "t-union"))
	purse = app(t, v, "A000000632010105")
	require.Equal(t, wallet.SourceKnown, purse.Source)
	tries, known := purse.PINTries()
	require.True(t, known)
	require.Equal(t, 1, tries)
	format, known := purse.DataObject(0x9F4F)
	require.True(t, known)
	fields, err := wallet.ParseDOL(format)
	require.NoError(t, err)
	require.Len(t, fields, 9)
	ecash := fileOf(t, purse, 0x0B)
	require.Equal(t, wallet.FileECashLog, ecash.Kind())
	record := wallet.ParseECashRecord(fields, ecash.Records[0].Raw, 1)
	require.True(t, record.Known)
	require.Equal(t, wallet.Fen(5000), record.Amount)
	require.Equal(t, "2018-11-25 13:20:07", record.Time.Format("2006-01-02 15:04:05"))
	require.Equal(t, uint16(10), record.Counter)
	require.Equal(t, "156", strings.TrimLeft(fileOf(t, purse, 0x17).Content[2:4].String(), "0"))

	v = view(t, recordedCard(t, "city-union"))
	require.Equal(t, "pboc-ep", app(t, v, "A00000000386980701").Profile.Base)
	last := v.Applications[len(v.Applications)-1]
	require.Equal(t, wallet.SourceFile, last.Source, "the recording knows the file 1001")
}

// Whenever the card leaves, what was read until then is shown.
func TestViewCard_CardLeaves(t *testing.T) {
	whole := recordedCard(t, "t-union")
	all := view(t, whole)
	reading := all.Reading.APDUs
	for until := 1; until < len(whole.sent); until++ {
		w := recordedCard(t, "t-union")
		w.until = until
		v, err := wallet.ViewCard(t.Context(), w, nil)
		switch {
		case err != nil:
			require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err), "after %d commands", until)
			require.LessOrEqual(t, until, reading+1)
		default:
			require.NotEmpty(t, append(v.Problems, v.Reading.Problems...), "after %d commands", until)
			require.Equal(t, all.Reading.Purses, v.Reading.Purses)
		}
	}
	require.Empty(t, all.Problems)
}

// A card without any purse, and one whose purse is blocked, are what staff look at.
func TestViewCard_WithoutAPurse(t *testing.T) {
	v := view(t, &watched{chip: deaf{}})
	require.Equal(t, wallet.CodeCardNoPurse, v.Trouble)
	require.Empty(t, v.Applications)

	card := must(virtualcard.New(virtualcard.Spec{ASN: testASN, Balance: 1234, Records: 3}, rand.NewChaCha8([32]byte{7})))
	card.Block()
	_, err := card.PowerOn()
	require.NoError(t, err)
	v = view(t, &watched{chip: card})
	require.True(t, v.Reading.Purses[0].Blocked)
	require.Equal(t, wallet.AnomalyBlocked, wallet.Anomalies(v.Reading.Purses[0], lookedAt)[0].Code)
	require.NotEmpty(t, v.Applications)
}

// deaf answers to nothing.
type deaf struct{ virtualcard.Chip }

func (deaf) Transmit([]byte) ([]byte, error) { return []byte{0x6A, 0x82}, nil }

// The guard of a view refuses everything that changes a card, or that it does not list.
func TestViewGuard(t *testing.T) {
	for _, test := range []struct {
		apdu    string
		allowed bool
	}{
		{"00A4040007A0000003330101", true}, {"00A40400054142434445", true}, {"00A40000023F0000", true}, {"00A40000021001", true},
		{"00B0810000", true}, {"00B09E0000", true}, {"00B2010C00", true}, {"00B2FFF400", true}, // SFI 1 to 1E
		{"805C000104", true}, {"805C030204", true}, {"80CA9F1700", true}, {"80CA9F7900", true},
		{"00A404000441424344", false}, {"00A40000023F01", false}, {"00A4020002000100", false}, {"01A4040007A0000003330101", false},
		{"00B0000000", false}, {"00B09F0000", false}, {"00B0800000", false}, {"04B0950000", false},
		{"00B2000C00", false}, {"00B2010D00", false}, {"00B2010400", false},
		{"805C000304", false}, {"805C050210", false}, {"00CA9F1700", false}, {"80CA9F1300", true}, {"80CA000009", false},
		{"0020000003123456", false}, {"0084000004", false}, {"805000020B0100001388C1010203040510", false}, {"805200000B20260315093045AABBCCDD04", false},
		{"805001020B0100000096C101020304050F", false}, {"805401000F0000000720260315093045AABBCCDD08", false}, {"805A000202000108", false},
		{"00D6950001FF", false}, {"00DC01C401FF", false}, {"84D4010001FF", false}, {"0082000108" + "0102030405060708", false},
		{"00E2000001FF", false}, {"841E000004AABBCCDD", false}, {"805E000007123456801339A1", false}, {"0070000001", false},
	} {
		command, err := wallet.ParseCommand(unhexed(test.apdu))
		require.NoError(t, err, test.apdu)
		w := &watched{chip: deaf{}}
		_, err = wallet.NewViewGuard(w, nil).Send(t.Context(), command)
		if test.allowed {
			require.NoError(t, err, test.apdu)
			require.NotEmpty(t, w.sent)
			continue
		}
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err), test.apdu)
		require.Empty(t, w.sent)
	}
}

// No class and instruction but the six of reading passes, with whatever parameters.
func TestViewGuard_Sweep(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	allowed := map[[2]byte]bool{{0x00, 0xA4}: true, {0x00, 0xB0}: true, {0x00, 0xB2}: true, {0x80, 0x5C}: true, {0x80, 0xCA}: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the guard judges and sends nothing
	for range 50_000 {
		command := wallet.Command{CLA: byte(random.UintN(256)), INS: byte(random.UintN(256)), P1: byte(random.UintN(256)), P2: byte(random.UintN(256)), Le: wallet.NoLe}
		if random.UintN(2) == 0 {
			command.Data = make([]byte, random.UintN(17))
		}
		_, err := wallet.NewViewGuard(deaf{}.card(), nil).Send(ctx, command)
		if wallet.CodeOf(err) == wallet.CodeCancelled {
			require.True(t, allowed[[2]byte{command.CLA, command.INS}], "% X", command.Bytes())
		}
	}
}

func (d deaf) card() wallet.Card { return &watched{chip: d} }

// What a view writes into a transcript holds no name, no document and no account.
func TestViewCard_TraceIsRedacted(t *testing.T) {
	var lines []string
	w := &watched{chip: chatty{}}
	_, err := wallet.ViewCard(t.Context(), w, func(line wallet.TraceLine) {
		if line.Session == wallet.SessionView || line.Name == "READ BINARY" {
			lines = append(lines, line.Answer)
		}
	})
	require.NoError(t, err)
	require.Greater(t, len(lines), 20)
	for _, line := range lines {
		require.NotContains(t, line, "5345435245")
	}
}

// chatty answers every command with a secret.
type chatty struct{ virtualcard.Chip }

func (chatty) Transmit(command []byte) ([]byte, error) {
	switch command[1] {
	case 0xA4:
		return unhexed("6F0B8409A000000003869807019000"), nil
	case 0x5C:
		return unhexed("000000019000"), nil
	case 0xB2:
		if command[2] > 1 {
			return unhexed("6A83"), nil
		}
	case 0xCA:
		return unhexed("6A88"), nil
	}
	if command[1] == 0xB0 && command[2] == 0x95 {
		return unhexed("6A82"), nil
	}
	return append([]byte("SECRETSECRETSECRETSECRETSECRETSECRETSECRET"), 0x90, 0x00), nil
}

func unhexed(text string) wallet.Hex {
	var h wallet.Hex
	if err := h.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return h
}
