package wallet_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

func TestParseCommand(t *testing.T) {
	tests := []struct {
		name, raw string
		want      wallet.Command
		bad       bool
	}{
		{name: "case 1", raw: "00200000", want: wallet.Command{INS: 0x20, Le: wallet.NoLe}},
		{name: "case 2", raw: "805C000204", want: wallet.Command{CLA: 0x80, INS: 0x5C, P2: 2, Le: 4}},
		{name: "case 2, Le 00", raw: "00B0950000", want: wallet.Command{INS: 0xB0, P1: 0x95, Le: 256}},
		{name: "case 3", raw: "00A40000023F00", want: wallet.Command{INS: 0xA4, Data: []byte{0x3F, 0}, Le: wallet.NoLe}},
		{name: "case 4", raw: "00A40000023F0000", want: wallet.Command{INS: 0xA4, Data: []byte{0x3F, 0}, Le: 256}},
		{name: "empty", raw: "", bad: true},
		{name: "three bytes", raw: "00A400", bad: true},
		{name: "data cut short", raw: "00A40000033F00", bad: true},
		{name: "a byte too many", raw: "00A40000013F0000", bad: true},
		{name: "extended Le", raw: "00B09500000100", bad: true},
		{name: "extended Lc", raw: "00A40000000002" + "3F00", bad: true},
		{name: "262 bytes", raw: "00D60000FF" + repeat("00", 257), bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wallet.ParseCommand(mustHex(tt.raw))
			if tt.bad {
				require.ErrorIs(t, err, wallet.ErrCommandForm)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.raw, wallet.Hex(got.Bytes()).String())
		})
	}
}

func repeat(text string, n int) string { return string(bytes.Repeat([]byte(text), n)) }

func TestParseResponse(t *testing.T) {
	got, err := wallet.ParseResponse(mustHex("01029000"))
	require.NoError(t, err)
	require.Equal(t, wallet.Response{Data: []byte{1, 2}, SW: wallet.SWOK}, got)
	require.Equal(t, wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: wallet.Hex{1, 2}}, got.Step())
	for n := range 2 {
		_, err = wallet.ParseResponse(make([]byte, n))
		require.ErrorIs(t, err, wallet.ErrResponseShort)
	}
	_, err = wallet.ParseResponse(make([]byte, 258))
	require.NoError(t, err)
	_, err = wallet.ParseResponse(make([]byte, 259))
	require.ErrorIs(t, err, wallet.ErrResponseLong)
}

func TestSW_Meaning(t *testing.T) {
	for sw, want := range map[wallet.SW]string{
		0x9302: "MAC wrong", 0x63C2: "wrong PIN, 2 tries left", 0x610F: "15 more bytes",
		0x6C1E: "the right length is 30", 0x1234: "unknown status",
	} {
		require.Equal(t, want, sw.Meaning())
	}
	require.Equal(t, "6A82", wallet.SWFileNotFound.String())
}

func TestParseFCI(t *testing.T) {
	const info = "01011000FFFFFFFF020103105170056789012345201908062040123100" + "00"
	tests := []struct {
		name, raw, aid, version, issuer string
		bad                             bool
	}{
		{name: "T-Union", raw: "6F318408A000000632010105A5259F0801029F0C1E" + info, aid: "A000000632010105", version: "02", issuer: info},
		{name: "name only", raw: "6F08840450424F43A500", aid: "50424F43"},
		{name: "long form of length", raw: "6F8106840450424F43", aid: "50424F43"},
		{name: "padding", raw: "6F0800840450424F4300", aid: "50424F43"},
		{name: "empty", raw: "", bad: true},
		{name: "vendor data", raw: "0102030405", bad: true},
		{name: "cut short keeps what came", raw: "6F0A840450424F43A5059F0C", aid: "50424F43", bad: true},
		{name: "cut short outside", raw: "6F0B840450424F43A500", bad: true},
		{name: "cut inside", raw: "6F0A840450424F439F0C1E00", aid: "50424F43", bad: true},
		{name: "length of three bytes", raw: "6F83000001" + "00", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fci, err := wallet.ParseFCI(mustHex(tt.raw))
			require.Equal(t, tt.bad, err != nil)
			require.Equal(t, tt.aid, fci.AID.String())
			require.Equal(t, tt.version, fci.Version.String())
			require.Equal(t, tt.issuer, fci.IssuerData.String())
		})
	}
}

func TestParseInfo(t *testing.T) {
	raw := mustHex("0000290000000000010100010102030405060708201701012027123100000000" + "0000")
	for n := range 40 {
		data := append(bytes.Clone(raw), make([]byte, 8)...)[:n]
		info, err := wallet.ParseInfo(data)
		if n < 28 || n > 34 {
			require.Error(t, err, n)
			continue
		}
		require.NoError(t, err, n)
		require.EqualValues(t, 0x2900, info.City())
		require.Equal(t, "00010102030405060708", info.ASN.String())
		require.Equal(t, "20170101 20271231", info.ValidFrom.Format("20060102")+" "+info.ValidUntil.Format("20060102"))
	}
	raw[20] = 0xFF
	info, err := wallet.ParseInfo(raw)
	require.NoError(t, err, "a missing date is no reason to reject a card")
	require.True(t, info.ValidFrom.IsZero())
}

func TestParseRecord(t *testing.T) {
	valid := "0022" + "000064" + "00001388" + "02" + "313233343536" + "20260315093045"
	change := func(at int, text string) []byte {
		raw := mustHex(valid)
		copy(raw[at:], mustHex(text))
		return raw
	}
	tests := []struct {
		name    string
		raw     []byte
		problem string
	}{
		{"valid", mustHex(valid), ""},
		{"composite", change(9, "09"), ""},
		{"fuel card", change(9, "91"), ""},
		{"leap day", change(16, "20240229"), ""},
		{"type 00", change(9, "00"), wallet.ProblemRecordType},
		{"type 0A", change(9, "0A"), wallet.ProblemRecordType},
		{"month 13", change(16, "20261315"), wallet.ProblemRecordDate},
		{"no leap day", change(16, "20260229"), wallet.ProblemRecordDate},
		{"not BCD", change(16, "2026031A"), wallet.ProblemRecordDate},
		{"hour 24", change(20, "240000"), wallet.ProblemRecordDate},
		{"no date", change(16, "00000000000000"), wallet.ProblemRecordDate},
		{"short", mustHex(valid)[:22], wallet.ProblemRecordLength},
		{"long", append(mustHex(valid), 0), wallet.ProblemRecordLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record := wallet.ParseRecord(tt.raw, 0x18, 3, wallet.OverdraftIsLimit)
			require.Equal(t, tt.problem, record.Problem)
			require.Equal(t, wallet.Hex(tt.raw), record.Raw)
			require.Equal(t, 3, record.Index)
			if tt.problem == wallet.ProblemRecordLength {
				return
			}
			require.EqualValues(t, 0x22, record.Counter)
			require.EqualValues(t, 5000, record.Amount, "a bad date spoils no amount")
			require.EqualValues(t, 100, record.Overdraft)
			require.Equal(t, leasedTID, record.Terminal)
		})
	}
	t.Run("top bit", func(t *testing.T) {
		record := wallet.ParseRecord(change(5, "8000164E"), 0x18, 1, wallet.OverdraftUnknown)
		require.EqualValues(t, 5710, record.Amount)
		require.True(t, record.AmountHighBit)
		require.Zero(t, record.Overdraft)
		require.False(t, record.HasBalanceAfter)
	})
	t.Run("both habits of the counter", func(t *testing.T) {
		record := wallet.ParseRecord(mustHex(valid), 0x18, 1, wallet.OverdraftUnknown)
		require.True(t, record.MayBe(0x21), "logged after +1")
		require.True(t, record.MayBe(0x22), "logged before +1")
		require.False(t, record.MayBe(0x20))
		require.False(t, record.MayBe(0x23))
	})
}

func TestProfiles(t *testing.T) {
	names := map[string]bool{}
	aids := map[string]string{}
	for _, p := range wallet.Profiles() {
		require.False(t, names[p.Name], p.Name)
		names[p.Name] = true
		require.NotEmpty(t, p.LogSFIs)
		require.EqualValues(t, 0x15, p.InfoSFI)
		require.Positive(t, p.MaxRecords)
		if p.Base == "" {
			for _, aid := range p.AIDs {
				require.Empty(t, aids[aid.String()], "two searched profiles with one name")
				aids[aid.String()] = p.Name
				require.LessOrEqual(t, len(aid), 16)
			}
		} else {
			require.True(t, names[p.Base], "%s refines %s", p.Name, p.Base)
		}
	}
	for _, want := range []string{
		"pboc-ep", "t-union", "city-union", "beijing", "shanghai", "shenzhen", "wuhan", "chongqing",
		"lingnan", "suzhou", "macau", "tsinghua", "wallet-d156",
	} {
		require.True(t, names[want], want)
	}
	require.True(t, profile("shanghai").SharedCounter)
	require.True(t, profile("shanghai").Loadable, "the platform's policy decides")
	_, found := wallet.ProfileByName("no such")
	require.False(t, found)
}

func FuzzAPDU(f *testing.F) {
	for _, raw := range commandsRefused {
		f.Add(mustHex(raw))
	}
	f.Add(mustHex("805000020B010000138831323334353610"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = wallet.ParseResponse(raw)
		c, err := wallet.ParseCommand(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), raw) {
			t.Fatalf("%X became %X", raw, c.Bytes())
		}
		_ = c.Name()
	})
}

func FuzzFCI(f *testing.F) {
	f.Add(mustHex("6F318408A000000632010105A5259F0801029F0C1E01011000FFFFFFFF0201031051700567890123452019080620401231" + "0000"))
	f.Add(mustHex("6F08840450424F43A500"))
	f.Add(mustHex("6F8106840450424F43"))
	f.Add(bytes.Repeat(mustHex("6F8200F0"), 60))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		fci, _ := wallet.ParseFCI(raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the input was changed")
		}
		for _, part := range []wallet.Hex{fci.AID, fci.Version, fci.IssuerData} {
			if !bytes.Contains(raw, part) {
				t.Fatalf("%X is not in the answer", part)
			}
		}
		if info, err := wallet.ParseInfo(fci.IssuerData); err == nil && !bytes.Equal(info.Raw, fci.IssuerData) {
			t.Fatal("information differs")
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(wallettest.Record(0x22, 5000, 2, leasedTID, "20260315093045"))
	f.Add(make([]byte, 23))
	f.Add(bytes.Repeat([]byte{0xFF}, 23))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, meaning := range []wallet.OverdraftMeaning{wallet.OverdraftIsLimit, wallet.OverdraftIsBalance, wallet.OverdraftUnknown} {
			record := wallet.ParseRecord(raw, 0x18, 1, meaning)
			if !bytes.Equal(record.Raw, raw) {
				t.Fatal("the raw bytes are lost")
			}
			if (len(raw) == wallet.RecordBytes) == (record.Problem == wallet.ProblemRecordLength) {
				t.Fatalf("%d bytes: %q", len(raw), record.Problem)
			}
			if record.Problem == "" && record.Time.IsZero() {
				t.Fatal("no problem and no time")
			}
			if record.Amount < 0 || record.Amount > 0x7FFFFFFF {
				t.Fatalf("amount %d", record.Amount)
			}
		}
	})
}
