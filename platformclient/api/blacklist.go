package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// The blacklist file tells terminals in shops which cards they must not take (protocol
// §2.14). It is UTF-8, a line feed ends every line, a bar separates fields:
//
//	H|WALLET-BLACKLIST|1|number|since|FULL or DELTA|YYYYMMDD|RFC 3339
//	D|A|application serial|cause       the card is listed
//	D|R|application serial|            the card is listed no more; DELTA only
//	T|count of D lines|SHA-256 of everything before this line, lower-case hex
//
// A number stands for one state of the list. FULL holds that state and has since 0;
// DELTA holds what changed after the state since. The lines stand in the order of the
// serials, each card once. A signature of the platform lies in a file of its own.

// DomainBlacklist is the domain of the signature of a blacklist file.
const DomainBlacklist wallet.Domain = "wallet/blacklist/1"

// MaxBlacklist is how many bytes a blacklist file may have: about two million cards.
const MaxBlacklist = 96 << 20

const (
	blacklistName = "WALLET-BLACKLIST"
	blacklistForm = "1"
)

// Blacklist is a blacklist file.
type Blacklist struct {
	Number int
	Since  int // 0: the whole list
	Made   time.Time
	Lines  []BlacklistLine
}

// BlacklistLine is one card.
type BlacklistLine struct {
	ASN    wallet.ASN
	Listed bool   // false: listed no more
	Cause  string // of a listed card
}

// ErrBlacklist means that bytes are no blacklist file, or not the whole of one.
var ErrBlacklist = errors.New("this is no complete blacklist file")

func badBlacklist(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBlacklist, fmt.Sprintf(format, args...))
}

// Encode writes the file. It refuses what ParseBlacklist would refuse.
func (b Blacklist) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	kind := "FULL"
	if b.Since > 0 {
		kind = "DELTA"
	}
	made := b.Made.UTC().Truncate(time.Second)
	fmt.Fprintf(&out, "H|%s|%s|%d|%d|%s|%s|%s\n", blacklistName, blacklistForm, b.Number, b.Since, kind,
		made.In(businessZone).Format("20060102"), made.Format(time.RFC3339))
	out.Grow(len(b.Lines) * 40) // a million lines need no formatting of their own
	for _, line := range b.Lines {
		if line.Listed {
			out.WriteString("D|A|")
		} else {
			out.WriteString("D|R|")
		}
		out.WriteString(line.ASN.String())
		out.WriteByte('|')
		out.WriteString(line.Cause)
		out.WriteByte('\n')
	}
	sum := sha256.Sum256(out.Bytes())
	fmt.Fprintf(&out, "T|%d|%s\n", len(b.Lines), hex.EncodeToString(sum[:]))
	return out.Bytes(), nil
}

// businessZone is the zone of business days.
var businessZone = time.FixedZone("Asia/Shanghai", 8*60*60)

func (b Blacklist) check() error {
	if b.Number < 1 || b.Since < 0 || b.Since > b.Number {
		return badBlacklist("number %d since %d", b.Number, b.Since)
	}
	if year := b.Made.UTC().Year(); year < 2000 || year > 9998 {
		return badBlacklist("it was made in the year %d", year)
	}
	for i, line := range b.Lines {
		switch {
		case i > 0 && bytes.Compare(b.Lines[i-1].ASN[:], line.ASN[:]) >= 0:
			return badBlacklist("line %d is out of order", i+1)
		case line.Listed != validCause(line.Cause), !line.Listed && (line.Cause != "" || b.Since == 0):
			return badBlacklist("line %d has a wrong cause or action", i+1)
		}
	}
	return nil
}

func validCause(cause string) bool {
	return cause != "" && len(cause) <= 32 && strings.Trim(cause, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// ParseBlacklist reads a file strictly: whatever it returns, Encode writes back byte
// for byte. It does not look at the signature; see OpenBlacklist.
func ParseBlacklist(raw []byte) (Blacklist, error) {
	var b Blacklist
	if len(raw) > MaxBlacklist {
		return b, badBlacklist("it is too large")
	}
	if len(raw) == 0 || raw[len(raw)-1] != '\n' {
		return b, badBlacklist("it does not end with a line")
	}
	trailer := bytes.LastIndexByte(raw[:len(raw)-1], '\n') + 1
	body := raw[:trailer]
	if err := checkTrailer(body, string(raw[trailer:len(raw)-1]), bytes.Count(body, []byte{'\n'})-1); err != nil {
		return b, err
	}
	head, rest, _ := bytes.Cut(body, []byte{'\n'})
	if err := b.parseHead(strings.Split(string(head), "|")); err != nil {
		return b, err
	}
	for number := 1; len(rest) > 0; number++ {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte{'\n'})
		line, ok := parseBlacklistLine(string(text))
		if !ok {
			return b, badBlacklist("line %d cannot be read", number+1)
		}
		b.Lines = append(b.Lines, line)
	}
	again, err := b.Encode()
	if err == nil && !bytes.Equal(again, raw) {
		err = badBlacklist("it is not written as it should be")
	}
	return b, err
}

// checkTrailer compares count and sum before anything else is read.
func checkTrailer(body []byte, trailer string, lines int) error {
	fields := strings.Split(trailer, "|")
	if len(fields) != 3 || fields[0] != "T" {
		return badBlacklist("it has no trailer")
	}
	if count, err := strconv.Atoi(fields[1]); err != nil || count != lines {
		return badBlacklist("the trailer counts %q of %d lines", shortText(fields[1]), lines)
	}
	if sum := sha256.Sum256(body); fields[2] != hex.EncodeToString(sum[:]) {
		return badBlacklist("the sum of the trailer is another one")
	}
	return nil
}

func shortText(text string) string { return text[:min(len(text), 20)] }

func (b *Blacklist) parseHead(fields []string) (err error) {
	if len(fields) != 8 || fields[0] != "H" || fields[1] != blacklistName || fields[2] != blacklistForm {
		return badBlacklist("it has no header of this version")
	}
	if b.Number, err = strconv.Atoi(fields[3]); err != nil {
		return badBlacklist("it has no number")
	}
	if b.Since, err = strconv.Atoi(fields[4]); err != nil {
		return badBlacklist("it does not say since when")
	}
	if b.Made, err = time.Parse(time.RFC3339, fields[7]); err != nil {
		return badBlacklist("it does not say when it was made")
	}
	return nil
}

func parseBlacklistLine(text string) (line BlacklistLine, ok bool) {
	fields := strings.Split(text, "|")
	if len(fields) != 4 || fields[0] != "D" || fields[1] != "A" && fields[1] != "R" || len(fields[2]) != 20 {
		return line, false
	}
	asn, err := wallet.ParseASN(fields[2])
	return BlacklistLine{ASN: asn, Listed: fields[1] == "A", Cause: fields[3]}, err == nil
}

// Apply gives the list after a delta: both must fit together without a gap. The result
// is the full list of the delta's number.
func (b Blacklist) Apply(delta Blacklist) (Blacklist, error) {
	if b.Since != 0 || delta.Since == 0 || delta.Since > b.Number || delta.Number < b.Number {
		return b, badBlacklist("changes from %d to %d do not follow list %d", delta.Since, delta.Number, b.Number)
	}
	lines := map[wallet.ASN]BlacklistLine{}
	for _, line := range b.Lines {
		lines[line.ASN] = line
	}
	for _, line := range delta.Lines {
		if line.Listed {
			lines[line.ASN] = line
		} else {
			delete(lines, line.ASN)
		}
	}
	after := Blacklist{Number: delta.Number, Made: delta.Made}
	for _, line := range lines {
		after.Lines = append(after.Lines, line)
	}
	slices.SortFunc(after.Lines, func(a, b BlacklistLine) int { return bytes.Compare(a.ASN[:], b.ASN[:]) })
	return after, nil
}

// BlacklistSignature is the file beside a blacklist file: an Ed25519 signature of the
// platform's signer over DomainBlacklist ‖ 00 ‖ the bytes of the file.
type BlacklistSignature struct {
	Domain wallet.Domain `json:"domain"`
	KID    string        `json:"kid"`
	Sig    []byte        `json:"sig"`
}

// OpenBlacklist verifies the signature over the bytes, and then reads them.
func OpenBlacklist(keys wallet.SignerKeys, raw, signature []byte) (Blacklist, error) {
	var sig BlacklistSignature
	if len(signature) > 4096 || json.Unmarshal(signature, &sig) != nil || sig.Domain != DomainBlacklist {
		return Blacklist{}, badBlacklist("the signature file cannot be read")
	}
	if err := keys.Verify(DomainBlacklist, wallet.Signed{Payload: raw, Sig: sig.Sig, KID: sig.KID}); err != nil {
		return Blacklist{}, err
	}
	return ParseBlacklist(raw)
}
