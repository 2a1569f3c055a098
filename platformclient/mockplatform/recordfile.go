package mockplatform

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"walletcompanion/wallet"
)

// The files that reach the platform from others (protocol §2.17) have one form:
// UTF-8, one record per line, fields separated by "|", every line ended by LF. The
// first line is a header (H), the last one a trailer (T) with the count and the sum of
// the details between them (D) and the SHA-256 of all bytes before it, in hex:
//
//	H|1|PARTY|DATE|BATCH|CNY…
//	D|…
//	T|COUNT|SUM|SHA256
const (
	recordVersion   = "1"
	recordLineMax   = 512
	recordsMax      = 200_000
	recordNameMax   = 40
	recordDate      = "20060102"
	recordHeaderMin = 6
)

// ErrRecordFile means that a file was refused whole; the text says which line is wrong.
var ErrRecordFile = errors.New("the file is refused")

// recordHeader is what every file says of itself.
type recordHeader struct {
	party, batch string
	date         string   // YYYYMMDD
	further      []string // fields of one kind of file
}

// recordForm is one kind of file.
type recordForm struct {
	headerFields, detailFields int
	header                     func(h recordHeader) error
	detail                     func(fields []string) (wallet.Fen, error) // fields without the D
}

// readRecords reads a file of bounded size and refuses it whole where a line, the
// order of the lines, the count, the sum or the check sum is not right. It returns the
// check sum. Nothing of the file may be used before.
func readRecords(source io.Reader, form recordForm) (sum string, err error) {
	r := &recordReader{lines: bufio.NewReaderSize(source, recordLineMax), hash: sha256.New(), form: form}
	if err := r.read(); err != nil {
		return "", fmt.Errorf("%w: line %d: %w", ErrRecordFile, r.number, err)
	}
	return r.sum, nil
}

type recordReader struct {
	lines  *bufio.Reader
	hash   hash.Hash
	form   recordForm
	number int // of the line
	count  int
	total  wallet.Fen
	sum    string
}

func (r *recordReader) read() error {
	fields, raw, err := r.line()
	if err != nil {
		return err
	}
	if err := r.header(fields); err != nil {
		return err
	}
	r.hash.Write(raw)
	for {
		fields, raw, err := r.line()
		switch {
		case err != nil:
			return err
		case fields[0] == "T":
			return r.trailer(fields)
		case fields[0] != "D" || len(fields) != r.form.detailFields:
			return errors.New("this is neither a detail nor the trailer")
		case r.count >= recordsMax:
			return fmt.Errorf("there are more than %d details", recordsMax)
		}
		amount, err := r.form.detail(fields[1:])
		if err != nil {
			return err
		}
		r.count++
		r.total += amount
		r.hash.Write(raw)
	}
}

// line reads one line with its LF and cuts it into fields. The bytes are good until
// the next line is read.
func (r *recordReader) line() (fields []string, raw []byte, err error) {
	r.number++
	raw, err = r.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, nil, errors.New("the line is too long")
	case errors.Is(err, io.EOF):
		return nil, nil, errors.New("the file ends before its trailer does")
	case err != nil:
		return nil, nil, err
	case !utf8.Valid(raw):
		return nil, nil, errors.New("this is not UTF-8")
	}
	return strings.Split(string(bytes.TrimSuffix(raw, []byte("\n"))), "|"), raw, nil
}

func (r *recordReader) header(fields []string) error {
	if len(fields) != r.form.headerFields || fields[0] != "H" || fields[1] != recordVersion || fields[5] != "CNY" {
		return errors.New("this is no header of version 1 in CNY")
	}
	h := recordHeader{party: fields[2], date: fields[3], batch: fields[4], further: fields[recordHeaderMin:]}
	if !plainName(h.party) || !plainName(h.batch) {
		return errors.New("party and batch are 1 to 40 letters, digits, dots, dashes or underscores")
	}
	if _, err := time.ParseInLocation(recordDate, h.date, shanghai); err != nil {
		return errors.New("the date is not YYYYMMDD")
	}
	return r.form.header(h)
}

// trailer compares what the trailer says with what was read. Nothing may follow it.
func (r *recordReader) trailer(fields []string) error {
	r.sum = hex.EncodeToString(r.hash.Sum(nil))
	switch {
	case len(fields) != 4:
		return errors.New("this is no trailer")
	case fields[1] != strconv.Itoa(r.count):
		return errors.New("the trailer counts other lines")
	case fields[2] != strconv.FormatInt(int64(r.total), 10):
		return errors.New("the trailer has another sum")
	case fields[3] != r.sum:
		return errors.New("the check sum is wrong")
	}
	if _, err := r.lines.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the trailer")
	}
	return nil
}

// plainName tells whether a text is a name in a file or on a receipt of a till.
func plainName(name string) bool {
	if name == "" || len(name) > recordNameMax {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("._-", c)
	})
}

// recordAmount reads an amount in fen above zero, written without signs or zeros in
// front.
func recordAmount(text string) (wallet.Fen, error) {
	amount, err := strconv.ParseInt(text, 10, 32)
	if err != nil || amount <= 0 || text != strconv.FormatInt(amount, 10) {
		return 0, errors.New("this is no amount in fen")
	}
	return wallet.Fen(amount), nil
}

// recordWriter writes a file that readRecords reads.
type recordWriter struct {
	out   *bufio.Writer
	both  io.Writer
	hash  hash.Hash
	count int
	total wallet.Fen
}

func writeRecords(target io.Writer, h recordHeader) *recordWriter {
	w := &recordWriter{out: bufio.NewWriter(target), hash: sha256.New()}
	w.both = io.MultiWriter(w.out, w.hash)
	fields := append([]string{"H", recordVersion, h.party, h.date, h.batch, "CNY"}, h.further...)
	fmt.Fprintln(w.both, strings.Join(fields, "|"))
	return w
}

func (w *recordWriter) detail(amount wallet.Fen, fields ...string) {
	fmt.Fprintln(w.both, "D|"+strings.Join(fields, "|"))
	w.count++
	w.total += amount
}

// close writes the trailer and tells the first error of all writes.
func (w *recordWriter) close() error {
	fmt.Fprintf(w.out, "T|%d|%d|%x\n", w.count, int64(w.total), w.hash.Sum(nil))
	return w.out.Flush()
}
