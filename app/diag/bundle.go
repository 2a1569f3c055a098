package diag

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// Names of a bundle's members. No other name is ever written or read.
const (
	memberManifest  = "manifest.json"
	memberSignature = "manifest.sig"
	memberMachine   = "machine.json"
	memberChecks    = "checks.json"
	memberSettings  = "settings.json"
	memberJournal   = "journal.json"
	memberTrace     = "trace.jsonl"
	memberError     = "error.json"
)

// contents are the members that a manifest lists, in their order in the file.
var contents = []string{memberMachine, memberChecks, memberSettings, memberJournal, memberTrace, memberError}

// bundleFormat is the number of this form of bundle.
const bundleFormat = 1

// bundleDomain precedes the manifest in what the device key signs, so that the
// signature of a bundle can never be that of a request.
const bundleDomain = "wallet/bundle/1\n"

// BundleCheck is one check of this computer with its outcome.
type BundleCheck struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Machine is what a bundle tells of the computer and the program.
type Machine struct {
	Version    string `json:"version"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Go         string `json:"go"`
	Language   string `json:"language"`
	Processors int    `json:"processors"`
	TraceLost  int    `json:"traceLost,omitempty"`    // lines of this process that reached no file
	TraceSkip  int    `json:"traceSkipped,omitempty"` // lines of the file that could not be read
}

// JournalLine is an entry of the journal without what only platform and card need:
// the grant, the card's MAC2, most of the card number.
type JournalLine struct {
	At            time.Time    `json:"at"`
	Key           string       `json:"key"`
	Order         string       `json:"order,omitempty"`
	Kind          string       `json:"kind"`
	Unload        bool         `json:"unload,omitempty"`
	Stage         wallet.Stage `json:"stage"`
	Card          string       `json:"card"` // masked
	AmountFen     wallet.Fen   `json:"amountFen"`
	FeeFen        wallet.Fen   `json:"feeFen,omitempty"`
	Attempt       int          `json:"attempt,omitempty"`
	Counter       uint16       `json:"counter"`
	Epoch         int          `json:"epoch,omitempty"`
	Terminal      string       `json:"terminal"`
	BalanceBefore wallet.Fen   `json:"balanceBeforeFen"`
	BalanceAfter  wallet.Fen   `json:"balanceAfterFen,omitempty"`
	TAC           wallet.Hex   `json:"tac,omitempty"`
	SWs           []string     `json:"sws,omitempty"` // of the grant's commands that were answered
	HasGrant      bool         `json:"hasGrant,omitempty"`
	Note          string       `json:"note,omitempty"` // an error code, or the platform's evidence
}

// journalLine takes from an entry what may leave this computer.
func journalLine(entry wallet.Entry) JournalLine {
	line := JournalLine{
		At: entry.At.UTC(), Key: entry.Key, Order: entry.Order, Kind: wallet.KindLoad, Unload: entry.Unload, Stage: entry.Stage,
		Card: entry.ASN.Masked(), AmountFen: entry.Amount, FeeFen: entry.Fee, Attempt: entry.Attempt, Counter: entry.Seq,
		Epoch: entry.Epoch, Terminal: entry.TID.String(), BalanceBefore: entry.BalanceBefore, BalanceAfter: entry.BalanceAfter,
		TAC: entry.TAC, HasGrant: entry.Grant != nil, Note: entry.Note,
	}
	if entry.Kind != "" {
		line.Kind = entry.Kind
	}
	for _, step := range entry.Steps {
		line.SWs = append(line.SWs, step.SW.String())
	}
	return line
}

// Told is the trouble that the person was told, by its code: the texts are everybody's.
type Told struct {
	At    time.Time `json:"at,omitzero"`
	Op    string    `json:"op,omitempty"` // operation, as in the trace
	Code  string    `json:"code"`
	Exit  int       `json:"exit"`
	Cause string    `json:"cause,omitempty"`
	Order string    `json:"order,omitempty"`
}

// Input is what a bundle is made from.
type Input struct {
	Machine  Machine
	Checks   []BundleCheck
	Settings map[string]string // by name; the caller leaves out what holds a secret
	Trails   [][]wallet.Entry  // of the orders concerned, each oldest first
	Trace    []Line
	Told     *Told  // nil: nothing went wrong
	Order    string // that the person asks about; may be empty
	Keys     []ed25519.PrivateKey
	Now      time.Time
}

// manifest is what the device key signs.
type manifest struct {
	Format    int              `json:"format"`
	Reference string           `json:"reference"`
	Made      time.Time        `json:"made"`
	Version   string           `json:"version"`
	Order     string           `json:"order,omitempty"`
	Members   []manifestMember `json:"members"`
}

type manifestMember struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// signature is one line of manifest.sig: Ed25519 over bundleDomain ‖ manifest.json.
// A computer that knows several platforms has a key for each, and signs with all.
type signature struct {
	Key string `json:"key"` // public key, hex
	Sig string `json:"sig"`
}

// Bundle is a finished bundle that is not saved yet.
type Bundle struct {
	Reference string
	Members   []Member
	Signed    bool
	raw       []byte
}

// Member is one file in a bundle, for the list that the person agrees to.
type Member struct {
	Name  string
	Bytes int
	Lines int // of a trace, and entries of a list; 0 elsewhere
}

// Bytes is the size of the file.
func (b *Bundle) Bytes() int { return len(b.raw) }

// MakeBundle puts a bundle together. Nothing is written before Save.
func MakeBundle(in Input) (*Bundle, error) {
	reference, err := NewReference()
	if err != nil {
		return nil, err
	}
	files, counts, err := in.files()
	if err != nil {
		return nil, err
	}
	bundle := &Bundle{Reference: reference, Signed: len(in.Keys) > 0}
	list := manifest{Format: bundleFormat, Reference: reference, Made: in.Now.UTC(), Version: in.Machine.Version, Order: in.Order}
	for _, name := range contents {
		content, has := files[name]
		if !has {
			continue
		}
		sum := sha256.Sum256(content)
		list.Members = append(list.Members, manifestMember{name, len(content), hex.EncodeToString(sum[:])})
		bundle.Members = append(bundle.Members, Member{name, len(content), counts[name]})
	}
	if files[memberManifest], err = encode(list); err != nil {
		return nil, err
	}
	order := append([]string{memberManifest}, contents...)
	if len(in.Keys) > 0 {
		if files[memberSignature], err = encode(sign(in.Keys, files[memberManifest])); err != nil {
			return nil, err
		}
		order = append([]string{memberManifest, memberSignature}, contents...)
	}
	bundle.raw, err = zipped(order, files, in.Now)
	return bundle, err
}

// files makes the members that the manifest lists.
func (in Input) files() (files map[string][]byte, counts map[string]int, err error) {
	var entries []JournalLine
	for _, trail := range in.Trails {
		for _, entry := range trail {
			entries = append(entries, journalLine(entry))
		}
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].At.Before(entries[j].At) })
	files = map[string][]byte{}
	counts = map[string]int{memberChecks: len(in.Checks), memberSettings: len(in.Settings), memberJournal: len(entries), memberTrace: len(in.Trace)}
	parts := map[string]any{memberMachine: in.Machine, memberJournal: notNull(entries), memberSettings: in.Settings, memberChecks: notNull(in.Checks)}
	if in.Told != nil {
		parts[memberError] = in.Told
	}
	for name, part := range parts {
		if files[name], err = encode(part); err != nil {
			return nil, nil, err
		}
	}
	files[memberTrace], err = encodeTrace(in.Trace)
	return files, counts, err
}

func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// encodeTrace writes the newest lines that fit into a bundle.
func encodeTrace(lines []Line) ([]byte, error) {
	const most = maxMember - maxLineBytes
	var encoded [][]byte
	size := 0
	for i := len(lines) - 1; i >= 0 && len(encoded) < maxTraceLines; i-- {
		raw, err := json.Marshal(lines[i])
		if err != nil {
			return nil, err
		}
		if size += len(raw) + 1; size > most {
			break
		}
		encoded = append(encoded, raw)
	}
	var out bytes.Buffer
	for i := len(encoded) - 1; i >= 0; i-- {
		out.Write(encoded[i])
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(value)
	return out.Bytes(), err
}

func sign(keys []ed25519.PrivateKey, manifest []byte) []signature {
	var signatures []signature
	for _, key := range keys {
		public, _ := key.Public().(ed25519.PublicKey)
		signatures = append(signatures, signature{hex.EncodeToString(public), hex.EncodeToString(ed25519.Sign(key, signingInput(manifest)))})
	}
	return signatures
}

func signingInput(manifest []byte) []byte { return append([]byte(bundleDomain), manifest...) }

func zipped(order []string, files map[string][]byte, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, name := range order {
		content, has := files[name]
		if !has {
			continue
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at.UTC()})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return out.Bytes(), err
}

// Save writes the bundle for its owner only (0600), at once: path holds all of it or
// what it held before.
func (b *Bundle) Save(path string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if _, err := io.Copy(file, bytes.NewReader(b.raw)); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Sync(); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// referenceDigits is the length of a reference number: nine random digits and one to
// check them by.
const referenceDigits = 10

// NewReference makes a reference number that can be read out over the phone:
// 482-915-7306. The last digit checks the others (Luhn).
func NewReference() (string, error) {
	number, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000))
	if err != nil {
		return "", err
	}
	digits := fmt.Sprintf("%09d", number)
	return grouped(digits + string(luhn(digits))), nil
}

func grouped(digits string) string { return digits[:3] + "-" + digits[3:6] + "-" + digits[6:] }

// luhn is the check digit of digits.
func luhn(digits string) byte {
	sum := 0
	for i := range digits {
		value := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if value *= 2; value > 9 {
				value -= 9
			}
		}
		sum += value
	}
	return byte('0' + (10-sum%10)%10)
}

// ValidReference reports whether a reference number was heard right.
func ValidReference(text string) bool {
	digits := strings.NewReplacer("-", "", " ", "").Replace(text)
	if len(digits) != referenceDigits || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	return luhn(digits[:referenceDigits-1]) == digits[referenceDigits-1]
}
