package bankapi

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// The kinds of a statement's lines. Money of DEBIT and ORDER came to the partner,
// money of the others left him.
const (
	LineDebit    = "DEBIT"
	LineOrder    = "ORDER"
	LineReversal = "REVERSAL"
	LineRefund   = "REFUND"
	LinePayout   = "PAYOUT"
)

// Line is one movement of money. Every line is paid money; what was refused, frozen
// or released does not stand in a statement (protocol §2.17).
type Line struct {
	Kind    string
	Serial  string // the caller's
	Of      string // serial of the operation that a REVERSAL or REFUND is about, else empty
	Journal string // the bank's
	Amount  wallet.Fen
	Time    time.Time
}

// In tells whether the line brings money to the partner.
func (l Line) In() bool { return l.Kind == LineDebit || l.Kind == LineOrder }

// Day is the content of a statement file: UTF-8, one line each, fields between bars.
//
//	H|1|BANK|MERCHANT|YYYYMMDD|BATCH|CNY
//	D|KIND|SERIAL|OF|JOURNAL|FEN|RFC 3339
//	T|LINES|NET FEN|SHA-256 of all bytes before, in hex
//
// A day that is asked for again has the same lines and a higher batch where lines
// were added.
type Day struct {
	Bank     string
	Merchant string
	Day      string // YYYYMMDD, Asia/Shanghai
	Batch    int
	Lines    []Line
}

const (
	statementVersion = "1"
	statementMoney   = "CNY"
	// MaxStatement is how many bytes a statement file may have.
	MaxStatement = 64 << 20
	maxLine      = 512
)

// ErrStatement means that a file is not a statement, or was changed.
var ErrStatement = errors.New("this is no statement of the bank")

// Net is what came in less what went out.
func (d Day) Net() (net wallet.Fen) {
	for _, line := range d.Lines {
		if line.In() {
			net += line.Amount
		} else {
			net -= line.Amount
		}
	}
	return net
}

// Marshal writes the file.
func (d Day) Marshal() []byte {
	var file bytes.Buffer
	fmt.Fprintf(&file, "H|%s|%s|%s|%s|%d|%s\n", statementVersion, d.Bank, d.Merchant, d.Day, d.Batch, statementMoney)
	for _, l := range d.Lines {
		fmt.Fprintf(&file, "D|%s|%s|%s|%s|%d|%s\n", l.Kind, l.Serial, l.Of, l.Journal, int64(l.Amount), l.Time.UTC().Format(time.RFC3339))
	}
	sum := sha256.Sum256(file.Bytes())
	fmt.Fprintf(&file, "T|%d|%d|%s\n", len(d.Lines), int64(d.Net()), hex.EncodeToString(sum[:]))
	return file.Bytes()
}

// ParseDay reads a file that Marshal wrote, and nothing else: what was read, written
// again, must be the same bytes, check sum included.
func ParseDay(file []byte) (Day, error) {
	if len(file) > MaxStatement {
		return Day{}, ErrStatement
	}
	var day Day
	for text := range strings.Lines(string(file)) {
		text = strings.TrimSuffix(text, "\n")
		switch {
		case day.Day == "":
			if !day.header(text) {
				return Day{}, ErrStatement
			}
		case strings.HasPrefix(text, "T|"):
			if !bytes.Equal(day.Marshal(), file) {
				return Day{}, ErrStatement
			}
			return day, nil
		default:
			line, ok := parseLine(text)
			if !ok {
				return Day{}, ErrStatement
			}
			day.Lines = append(day.Lines, line)
		}
	}
	return Day{}, ErrStatement // without a trailer
}

func (d *Day) header(text string) bool {
	fields := strings.Split(text, "|")
	if len(text) > maxLine || len(fields) != 7 || fields[0] != "H" || fields[1] != statementVersion || fields[6] != statementMoney ||
		!plain(fields[2]) || !plain(fields[3]) {
		return false
	}
	batch, err := strconv.Atoi(fields[5])
	if _, badDay := time.Parse("20060102", fields[4]); err != nil || badDay != nil || batch < 1 {
		return false
	}
	d.Bank, d.Merchant, d.Day, d.Batch = fields[2], fields[3], fields[4], batch
	return true
}

func parseLine(text string) (Line, bool) {
	fields := strings.Split(text, "|")
	if len(text) > maxLine || len(fields) != 7 || fields[0] != "D" {
		return Line{}, false
	}
	amount, err := strconv.ParseInt(fields[5], 10, 64)
	if err != nil || amount <= 0 || amount > maxLineFen || strconv.FormatInt(amount, 10) != fields[5] {
		return Line{}, false
	}
	moment, err := time.Parse(time.RFC3339, fields[6])
	if err != nil || moment.UTC().Format(time.RFC3339) != fields[6] {
		return Line{}, false
	}
	line := Line{Kind: fields[1], Serial: fields[2], Of: fields[3], Journal: fields[4], Amount: wallet.Fen(amount), Time: moment.UTC()}
	follows := line.Kind == LineReversal || line.Kind == LineRefund
	switch line.Kind {
	case LineDebit, LineOrder, LinePayout, LineReversal, LineRefund:
	default:
		return Line{}, false
	}
	return line, plain(line.Serial) && plain(line.Journal) && follows == (line.Of != "") && (line.Of == "" || plain(line.Of))
}

// maxLineFen keeps sums of a file inside an int64.
const maxLineFen = 1_000_000_000_00

func statementInput(file []byte) []byte {
	return append(append([]byte(DomainStatement), 0), file...)
}

// SignStatement is the detached signature of a statement file.
func SignStatement(file []byte, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, statementInput(file))
}

// VerifyStatement checks it.
func VerifyStatement(file, sig []byte, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, statementInput(file), sig)
}
