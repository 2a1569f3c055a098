package mockplatform

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

func voucherFileOf(t testing.TB, value wallet.Fen, count int) []byte {
	made := &voucherFile{
		recordHeader: recordHeader{party: "print", date: "20260315", batch: "B1"}, expires: time.Date(2027, 1, 1, 0, 0, 0, 0, shanghai),
	}
	for i := range count {
		made.vouchers = append(made.vouchers, fileVoucher{serial: fmt.Sprintf("%018d", i), pin: fmt.Sprintf("%018d", 7*i), value: value})
	}
	var file bytes.Buffer
	require.NoError(t, writeVoucherFile(&file, made))
	return file.Bytes()
}

func TestVoucherFile(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	good := voucherFileOf(t, 1000, 3)
	refusals := map[string]func(string) string{
		"empty":         func(string) string { return "" },
		"no line end":   func(s string) string { return strings.TrimSuffix(s, "\n") },
		"no trailer":    func(s string) string { return s[:strings.Index(s, "T|")] },
		"check sum":     func(s string) string { return s[:len(s)-3] + "zz\n" },
		"another PIN":   func(s string) string { return strings.Replace(s, "7|1000", "8|1000", 1) },
		"another value": func(s string) string { return strings.Replace(s, "7|1000", "7|2000", 1) },
		"a line less": func(s string) string {
			return strings.Replace(s, "D|000000000000000001|000000000000000007|1000\n", "", 1)
		},
		"a line twice":       func(s string) string { return strings.Replace(s, "D|000000000000000001|", "D|000000000000000000|", 1) },
		"short serial":       func(s string) string { return strings.Replace(s, "|000000000000000001|", "|00000000000000001|", 1) },
		"letters":            func(s string) string { return strings.Replace(s, "|000000000000000001|", "|00000000000000000x|", 1) },
		"no face value":      func(s string) string { return strings.ReplaceAll(s, "|1000\n", "|1001\n") },
		"sign":               func(s string) string { return strings.ReplaceAll(s, "|1000\n", "|+1000\n") },
		"version":            func(s string) string { return strings.Replace(s, "H|1", "H|2", 1) },
		"money":              func(s string) string { return strings.Replace(s, "CNY", "USD", 1) },
		"date":               func(s string) string { return strings.Replace(s, "20260315", "20261315", 1) },
		"batch with a path":  func(s string) string { return strings.Replace(s, "|B1|", "|../B|", 1) },
		"after the trailer":  func(s string) string { return s + "D|\n" },
		"long line":          func(s string) string { return strings.Replace(s, "|B1|", "|"+strings.Repeat("B", 600)+"|", 1) },
		"not UTF-8":          func(s string) string { return strings.Replace(s, "|B1|", "|\xff|", 1) },
		"count of nothing":   func(s string) string { return s[:strings.Index(s, "D|")] + s[strings.Index(s, "T|"):] },
		"carriage returns":   func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"trailer with zeros": func(s string) string { return strings.Replace(s, "T|3|", "T|03|", 1) },
	}
	for name, change := range refusals {
		bad := change(string(good))
		require.NotEqual(t, string(good), bad, name)
		_, err := w.p.ImportVouchers(ctx, strings.NewReader(bad), false)
		require.ErrorIs(t, err, ErrRecordFile, name)
		require.NotContains(t, err.Error(), "000000000000000007", "a PIN is never told")
	}
	told, err := w.p.ImportVouchers(ctx, bytes.NewReader(good), false)
	require.NoError(t, err)
	require.Equal(t, VoucherImport{Batch: "B1", Count: 3, Imported: 3, SumFen: 3000, State: "ACTIVE"}, told)
	told, err = w.p.ImportVouchers(ctx, bytes.NewReader(good), false)
	require.NoError(t, err)
	require.Zero(t, told.Imported, "the same batch again posts nothing")
	_, err = w.p.ImportVouchers(ctx, bytes.NewReader(voucherFileOf(t, 2000, 4)), false)
	require.ErrorIs(t, err, ErrVoucherBatch)
	other := bytes.Replace(voucherFileOf(t, 1000, 3), []byte("|B1|"), []byte("|B2|"), 1)
	_, err = w.p.ImportVouchers(ctx, bytes.NewReader(other), false)
	require.ErrorIs(t, err, ErrRecordFile, "the header is under the check sum")

	// No PIN stands in the database.
	for _, name := range []string{"platform.db", "platform.db-wal"} {
		raw, err := os.ReadFile(filepath.Join(w.dir, name))
		require.NoError(t, err)
		require.NotContains(t, string(raw), "000000000000000007")
	}
}

// A serial that another batch brought refuses the whole file.
func TestVoucherFile_SerialOfAnotherBatch(t *testing.T) {
	w := newWorld(t)
	_, err := w.p.ImportVouchers(context.Background(), bytes.NewReader(voucherFileOf(t, 1000, 1)), false)
	require.NoError(t, err)
	made := &voucherFile{recordHeader: recordHeader{party: "p", date: "20260315", batch: "B9"}, expires: w.clock.AddDate(1, 0, 0)}
	for _, serial := range []string{"000000000000000009", "000000000000000000"} {
		made.vouchers = append(made.vouchers, fileVoucher{serial: serial, pin: serial, value: 1000})
	}
	var file bytes.Buffer
	require.NoError(t, writeVoucherFile(&file, made))
	_, err = w.p.ImportVouchers(context.Background(), &file, false)
	require.ErrorIs(t, err, ErrVoucherSerial)
	require.NoError(t, w.p.store.View(context.Background(), func(tx *Tx) error {
		v, err := findVoucher(tx, "000000000000000009")
		require.Nil(t, v)
		return err
	}))
}

// 10^5 vouchers come in one file.
func TestVoucherFile_Large(t *testing.T) {
	if testing.Short() {
		t.Skip("a large file takes seconds")
	}
	w := newWorld(t)
	file := voucherFileOf(t, 1000, 100_000)
	began := time.Now()
	told, err := w.p.ImportVouchers(context.Background(), bytes.NewReader(file), false)
	require.NoError(t, err)
	require.Equal(t, 100_000, told.Imported)
	t.Logf("%d vouchers, %d bytes: %v", told.Imported, len(file), time.Since(began).Round(time.Millisecond))
}

// Whatever bytes come: a file that is accepted says what its trailer says, and writing
// it again gives the same bytes.
func FuzzVoucherFile(f *testing.F) {
	f.Add(voucherFileOf(f, 1000, 2))
	f.Add([]byte("H|1|p|20260315|b|CNY|20270101\nT|0|0|\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := readVoucherFile(bytes.NewReader(raw))
		if err != nil {
			require.ErrorIs(t, err, ErrRecordFile)
			return
		}
		var again bytes.Buffer
		require.NoError(t, writeVoucherFile(&again, file))
		require.Equal(t, string(raw), again.String())
	})
}
