package virtualcard

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// usedCard has something in every field of its image.
func usedCard(t testing.TB, variant string) *Card {
	t.Helper()
	spec := testSpec(variant)
	spec.Records = 4
	card, err := New(spec, seeded())
	require.NoError(t, err)
	card.SetDelay(nil)
	b := &bench{t, card}
	b.selectPurse()
	b.send("0020000003123456")
	b.sendRaw(b.openLoad(5000))
	b.sendRaw(b.openPurchase(17))
	b.send("0020000003000000")
	return card
}

func TestImageRoundTrip(t *testing.T) {
	for _, variant := range Variants() {
		t.Run(variant.Name, func(t *testing.T) {
			card := usedCard(t, variant.Name)
			require.NoError(t, card.Block())
			image, err := card.Image()
			require.NoError(t, err)
			chip, err := Parse(image)
			require.NoError(t, err)
			again, ok := chip.(*Card)
			require.True(t, ok)
			require.Equal(t, card.Snapshot(), again.Snapshot())
			require.True(t, card.Keys() == again.Keys())
			require.Equal(t, card.PIN(), again.PIN())
			require.Equal(t, card.ATR(), again.ATR())
			second, err := again.Image()
			require.NoError(t, err)
			require.Equal(t, string(image), string(second))
			require.NoError(t, again.Unblock())

			// The card that comes back from its file is the same chip in every answer.
			b := &bench{t, again}
			b.selectPurse()
			if variant.Name == PINForLoad {
				b.send("0020000003123456")
			}
			_, sw := b.sendRaw(b.openLoad(1))
			if variant.Name == EEPROMButCredited {
				require.Equal(t, "6581", sw)
			} else {
				require.Equal(t, "9000", sw)
			}
		})
	}
}

func TestImageSpeaksUpperCaseHex(t *testing.T) {
	image, err := usedCard(t, Standard).Image()
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(image, &fields))
	require.Equal(t, "virtual-card", fields["kind"])
	require.Equal(t, "00006210000112345678", fields["asn"])
	require.Equal(t, vectorKeys.DLK.Hex(), fields["DLK"])
	require.Equal(t, "123456", fields["pin"])
	require.EqualValues(t, 1234+5000-17, fields["balanceFen"])
}

// A damaged card file is refused as a whole, and the error repeats no key.
func TestParseRefuses(t *testing.T) {
	image, err := usedCard(t, Standard).Image()
	require.NoError(t, err)
	good := string(image)
	change := func(old, new string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, new, 1)
	}
	tests := map[string]string{
		"empty":           "",
		"not JSON":        "hello",
		"null":            "null",
		"array":           "[]",
		"other kind":      change(`"virtual-card"`, `"debit-card"`),
		"no kind":         `{}`,
		"cut":             good[:len(good)/2],
		"two cards":       good + good,
		"unknown field":   change(`"version"`, `"vresion"`),
		"version 2":       change(`"version": 1`, `"version": 2`),
		"variant":         change(`"variant": "standard"`, `"variant": "gold"`),
		"profile":         change(`"pboc-ep"`, `"paper"`),
		"short key":       change(vectorKeys.DLK.Hex(), vectorKeys.DLK.Hex()[2:]),
		"key not hex":     change(vectorKeys.DLK.Hex(), "X"+vectorKeys.DLK.Hex()[1:]),
		"short serial":    change("00006210000112345678", "6210000112345678"),
		"negative":        change(`"balanceFen": 6217`, `"balanceFen": -1`),
		"too much":        change(`"balanceFen": 6217`, `"balanceFen": 2147483648`),
		"beyond 32 bits":  change(`"balanceFen": 6217`, `"balanceFen": 4294967296`),
		"counter":         change(`"onlineCounter": 34`, `"onlineCounter": 65536`),
		"tries":           change(`"pinTriesLeft": 2`, `"pinTriesLeft": 4`),
		"negative tries":  change(`"pinTriesLeft": 2`, `"pinTriesLeft": -1`),
		"date":            change(`"20441231"`, `"20449931"`),
		"key index":       change(`"keyIndex": 1`, `"keyIndex": 0`),
		"PIN":             change(`"pin": "123456"`, `"pin": "12"`),
		"blocked":         change(`"balanceFen"`, `"blocked": "a bit", "balanceFen"`),
		"record":          change(`"log": [`, `"log": ["00",`),
		"eleven records":  change(`"log": [`, `"log": [`+strings.Repeat(`"`+strings.Repeat("00", 23)+`",`, 5)),
		"proof":           change(`"mac": "`, `"mac": "00`),
		"oversized":       change(`"version"`, strings.Repeat(" ", maxImage)+`"version"`),
		"shared, offline": change(`"variant": "standard"`, `"variant": "shared-counter"`),
	}
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			chip, err := Parse([]byte(file))
			require.Error(t, err)
			require.Nil(t, chip)
			for _, secret := range []string{vectorKeys.DLK.Hex()[2:12], vectorKeys.DPK.Hex()[2:12], vectorKeys.DTK.Hex()[2:12], "123456"} {
				require.NotContains(t, strings.ToUpper(err.Error()), secret)
			}
		})
	}
}

func TestKeyFile(t *testing.T) {
	card := usedCard(t, Standard)
	file, err := card.ExportKeys()
	require.NoError(t, err)
	var fields map[string]string
	require.NoError(t, json.Unmarshal(file, &fields))
	require.Equal(t, map[string]string{
		"serial": "00006210000112345678", "aid": "A00000000386980701",
		"DLK": vectorKeys.DLK.Hex(), "DPK": vectorKeys.DPK.Hex(), "DTK": vectorKeys.DTK.Hex(),
	}, fields)
	asn, keys, err := ParseKeys(file)
	require.NoError(t, err)
	require.Equal(t, testASN, asn)
	require.True(t, keys == vectorKeys)
	for _, bad := range []string{"", "{}", strings.Replace(string(file), "DTK", "DTX", 1), strings.Replace(string(file), "0000621", "0X00621", 1)} {
		_, keys, err = ParseKeys([]byte(bad))
		require.Error(t, err)
		require.True(t, keys == Keys{})
	}
}

// Recorded cards answer every recorded command and nothing else.
func TestRecordedCards(t *testing.T) {
	files, err := filepath.Glob("testdata/cards/*.json")
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := os.ReadFile(name)
			require.NoError(t, err)
			chip, err := Parse(file)
			require.NoError(t, err)
			card, ok := chip.(*Recorded)
			require.True(t, ok)
			_, err = card.Transmit(unhex(t, "805C000204"))
			require.ErrorIs(t, err, ErrNoPower)
			atr, err := card.PowerOn()
			require.NoError(t, err)
			require.Equal(t, unhex(t, "3B8C8001209000"), atr[:7])

			var recording struct {
				Source    string            `json:"source"`
				Responses map[string]string `json:"responses"`
			}
			require.NoError(t, json.Unmarshal(file, &recording))
			require.NotEmpty(t, card.Source())
			require.Equal(t, recording.Source, card.Source())
			for command, want := range recording.Responses {
				answer, err := card.Transmit(unhex(t, command))
				require.NoError(t, err)
				require.Equal(t, want, wallet.Hex(answer).String())
				answer[0] ^= 0xFF // an answer is a copy
			}
			require.Zero(t, card.MissedCount())

			for command, want := range map[string]string{
				"00A4040002AABB": "6A82", "00B0990000": "6A82", "00B20B0C00": "6A82",
				"805000020B010000138831323334353610": "6D00", "805200000B2026031509304500000000": "6D00", "00": "6D00",
			} {
				answer, err := card.Transmit(unhex(t, command))
				require.NoError(t, err)
				require.Equal(t, want, wallet.Hex(answer).String())
			}
			require.Equal(t, 6, card.MissedCount())
			require.Contains(t, card.Missed(), "00A4040002AABB")
			for range 200 {
				_, err := card.Transmit(unhex(t, "00B0990000"))
				require.NoError(t, err)
			}
			require.Equal(t, 206, card.MissedCount())
			require.Len(t, card.Missed(), maxMissed)
			card.PowerOff()
			_, err = card.Transmit(unhex(t, "805C000204"))
			require.ErrorIs(t, err, ErrNoPower)
		})
	}
}

func TestParseRefusesRecordings(t *testing.T) {
	for name, responses := range map[string]string{
		"empty":         `{}`,
		"not hex":       `{"00B0950XYZ":"9000"}`,
		"short command": `{"00B0":"9000"}`,
		"no status":     `{"00B095001E":"90"}`,
		"twice":         `{"00b095001e":"9000","00B095001E":"6A82"}`,
		"long answer":   `{"00B095001E":"` + strings.Repeat("00", 300) + `"}`,
		"array":         `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			chip, err := Parse([]byte(`{"kind":"apdu-replay","source":"s","responses":` + responses + `}`))
			require.Error(t, err)
			require.Nil(t, chip)
		})
	}
}

// Whatever Parse accepts is a card that writes the same card again and survives
// a few commands.
func FuzzParse(f *testing.F) {
	for _, variant := range []string{Standard, SharedCounter, T0} {
		image, err := usedCard(f, variant).Image()
		require.NoError(f, err)
		f.Add(image)
	}
	files, err := filepath.Glob("testdata/cards/*.json")
	require.NoError(f, err)
	for _, name := range files {
		file, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		chip, err := Parse(file)
		if err != nil {
			return
		}
		if card, ok := chip.(*Card); ok {
			card.SetDelay(nil)
			image, err := card.Image()
			require.NoError(t, err)
			again, err := Parse(image)
			require.NoError(t, err)
			second, err := again.(*Card).Image()
			require.NoError(t, err)
			require.True(t, bytes.Equal(image, second))
		}
		_, err = chip.PowerOn()
		require.NoError(t, err)
		for _, apdu := range []string{selectPurseAPDU, "00B095001E", "00B201C417", "805C000204", "805000020B010000138831323334353610"} {
			answer, err := chip.Transmit(unhex(t, apdu))
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(answer), 2)
		}
	})
}

// No command, however damaged, breaks the chip or moves money.
func FuzzTransmit(f *testing.F) {
	for _, apdu := range []string{selectPurseAPDU, "805000020B010000138831323334353610", "805200000B202603150930450000000004", "00C0000010", "00B0F50000", ""} {
		f.Add(unhex(f, apdu), byte(0))
		f.Add(unhex(f, apdu), byte(6))
	}
	f.Fuzz(func(t *testing.T, apdu []byte, variant byte) {
		card := usedCard(t, variants[int(variant)%len(variants)].Name)
		b := &bench{t, card}
		b.selectPurse()
		before := card.Snapshot()
		if before.Variant == PINForLoad {
			b.send("0020000003123456")
		}
		b.sendRaw(initAPDU(0, 1, 100))
		answer, err := card.Transmit(apdu)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(answer), 2)
		after := card.Snapshot()
		after.PINTriesLeft = before.PINTriesLeft
		require.Equal(t, before, after)
	})
}
