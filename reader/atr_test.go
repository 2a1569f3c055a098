package reader

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseATR(t *testing.T) {
	tests := []struct {
		name, atr   string
		err         error
		names       []string // of interface bytes with their meaning
		protocols   []int
		historical  string
		checked     bool
		extra       string
		kind        string
		contactless *Contactless
	}{
		{
			name: "contact purse chip with T=0 (card dossier §1.8)", atr: "3B9F95803FC6A08031E073FE211357C2051B86986019D1",
			names:     []string{"TA1 95 Fi=512 Di=16", "TD1 80 T=0", "TD2 3F T=15", "TA3 C6 class B (3 V), C (1.8 V)", "TB3 A0 "},
			protocols: []int{0}, historical: "8031E073FE211357C2051B86986019", checked: true,
		},
		{
			name: "recorded cards answer as an FM1208", atr: "3B8C8001209000000000000000000000BD",
			names: []string{"TD1 80 T=0", "TD2 01 T=1"}, protocols: []int{0, 1}, historical: "209000000000000000000000", checked: true,
			kind: "FM1208 (FMCOS)", contactless: &Contactless{Standard: "ISO 14443-4"},
		},
		{
			name: "memory card", atr: "3B8F8001804F0CA000000306030001000000006A",
			names: []string{"TD1 80 T=0", "TD2 01 T=1"}, protocols: []int{0, 1}, historical: "804F0CA0000003060300010000" + "0000", checked: true,
			kind: "MIFARE Classic 1K", contactless: &Contactless{Storage: true, StandardCode: 3, Standard: "ISO 14443 A, part 3", NameCode: 1, Name: "MIFARE Classic 1K"},
		},
		{name: "shortest card", atr: "3B00", protocols: []int{0}},
		{name: "inverse convention", atr: "3F00", protocols: []int{0}},
		{name: "T=0 alone has no check byte", atr: "3B020102", protocols: []int{0}, historical: "0102"},
		{name: "bytes behind the end", atr: "3B02010299", protocols: []int{0}, historical: "0102", extra: "99"},
		{name: "T=1 with IFSC and waiting times", atr: "3BF01100FF8131FE4515", checked: true,
			names: []string{"TA1 11 Fi=372 Di=1", "TB1 00 ", "TC1 FF N=255: shortest guard time", "TD1 81 T=1", "TD2 31 T=1", "TA3 FE IFSC=254", "TB3 45 BWI=4 CWI=5"}, protocols: []int{1}},
		{name: "reserved rates", atr: "3B107F", names: []string{"TA1 7F Fi/Di reserved"}, protocols: []int{0}},
		{name: "nothing", atr: "", err: ErrATRShort},
		{name: "TS alone", atr: "3B", err: ErrATRShort},
		{name: "no TS", atr: "0000", err: ErrATRStart},
		{name: "interface byte missing", atr: "3B80", err: ErrATRShort},
		{name: "historical bytes missing", atr: "3B0501", err: ErrATRShort, protocols: []int{0}, historical: "01"},
		{name: "check byte missing", atr: "3B8001", err: ErrATRShort, names: []string{"TD1 01 T=1"}, protocols: []int{1}},
		{name: "check byte wrong", atr: "3B8C80012090000000000000000000003C", err: ErrATRCheck,
			names: []string{"TD1 80 T=0", "TD2 01 T=1"}, protocols: []int{0, 1}, historical: "209000000000000000000000", checked: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			atr, err := ParseATR(raw(t, test.atr))
			require.ErrorIs(t, err, test.err)
			var names []string
			for _, b := range atr.Interface {
				names = append(names, b.Name+" "+hexOf([]byte{b.Value})+" "+b.Meaning)
			}
			require.Equal(t, test.names, names)
			require.Equal(t, test.protocols, atr.Protocols)
			require.Equal(t, test.historical, hexOf(atr.Historical))
			require.Equal(t, test.checked, atr.HasCheck)
			require.Equal(t, test.extra, hexOf(atr.Extra))
			require.Equal(t, test.kind, atr.Kind())
			require.Equal(t, test.contactless, atr.Contactless)
		})
	}
	_, err := ParseATR(make([]byte, 34))
	require.ErrorIs(t, err, ErrATRLong)
}

func TestHistoricalObjects(t *testing.T) {
	atr, err := ParseATR(raw(t, "3B9F95803FC6A08031E073FE211357C2051B86986019D1"))
	require.NoError(t, err)
	require.Equal(t, []HistoricalObject{
		{Tag: 3, Value: []byte{0xE0}, Meaning: "card service data"},
		{Tag: 7, Value: []byte{0xFE, 0x21, 0x13}, Meaning: "card capabilities"},
		{Tag: 5, Value: []byte{0xC2, 0x05, 0x1B, 0x86, 0x98, 0x60, 0x19}, Meaning: "card issuer's data"},
	}, atr.Objects)

	for _, test := range []struct {
		historical string
		want       []HistoricalObject
	}{
		{"00" + "51AA" + "059000", []HistoricalObject{{5, []byte{0xAA}, "card issuer's data"}, {8, []byte{0x05, 0x90, 0x00}, "status"}}},
		{"0090", nil},
		{"80", nil},
		{"805F01", nil},
		{"209000", nil},
	} {
		require.Equal(t, test.want, compactObjects(raw(t, test.historical)), test.historical)
	}
}

func hexOf(b []byte) string { return (&field{bytes: b}).String() }

// FuzzParseATR: whatever a card sends, nothing panics, every byte is accounted for,
// and the check byte is believed only where it fits.
func FuzzParseATR(f *testing.F) {
	for _, seed := range []string{
		"3B9F95803FC6A08031E073FE211357C2051B86986019D1", "3B8C8001209000000000000000000000BD",
		"3B8F8001804F0CA000000306030001000000006A", "3F00", "3B", "3BFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
		"3BF01100FF8131FE4515", "3B0F805F80", "3B04008131",
	} {
		f.Add(raw(f, seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		atr, err := ParseATR(input)
		require.Equal(t, len(input), len(atr.Raw))
		_ = atr.Kind()
		if err != nil && !errors.Is(err, ErrATRCheck) {
			return
		}
		parts := 2 + len(atr.Interface) + len(atr.Historical) + len(atr.Extra)
		if atr.HasCheck {
			parts++
		}
		require.Equal(t, len(input), parts)
		require.NotEmpty(t, atr.Protocols)
		if err == nil && atr.HasCheck {
			var sum byte
			for _, b := range input[1 : len(input)-len(atr.Extra)] {
				sum ^= b
			}
			require.Zero(t, sum)
		}
		objects := 0
		for _, object := range atr.Objects {
			objects += len(object.Value)
		}
		require.LessOrEqual(t, objects, len(atr.Historical))
	})
}
