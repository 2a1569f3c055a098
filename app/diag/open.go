package diag

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"walletcompanion/wallet"
)

// Bounds of what somebody sends in. A bundle of ours is far below each of them.
const (
	maxFile    = 8 << 20
	maxMember  = 6 << 20
	maxTotal   = 12 << 20
	maxMembers = 16
)

// Errors of Open.
var (
	// ErrNoBundle means that a file is neither a bundle nor a trace of this program.
	ErrNoBundle = errors.New("this is neither a bundle nor a trace of this program")
	// ErrDamaged means that a bundle is not as it was made: a member is missing, was
	// changed, or the signature is wrong.
	ErrDamaged = errors.New("the bundle was changed after it was made")
)

// Seal says what is known of a file's origin.
type Seal string

// What a signature can say.
const (
	SealSigned   Seal = "signed"   // by the device keys named, and whole
	SealUnsigned Seal = "unsigned" // whole, but anybody may have made it
	SealDamaged  Seal = "damaged"
	SealNone     Seal = "none" // a bare trace
)

// Case is what a bundle or a bare trace says, read and checked.
type Case struct {
	Seal      Seal
	Devices   []string // identifiers of the device keys that signed: first 8 bytes of SHA-256, hex
	Reference string
	Made      time.Time
	Order     string
	Machine   Machine
	Checks    []BundleCheck
	Settings  map[string]string
	Journal   []JournalLine
	Trace     []Line
	Skipped   int // lines of the trace that are none
	Told      *Told
}

// Open reads a bundle or a bare trace from a file. Nothing is unpacked to disk.
//
// Errors: ErrNoBundle with the reason; ErrDamaged, and then the case holds what can
// be read all the same; those of the system.
func Open(path string) (*Case, error) {
	raw, err := readBounded(path, maxFile)
	if err != nil {
		return nil, err
	}
	return Read(raw)
}

// readBounded reads a file that is not larger than it may be.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for somebody to write
		return nil, fmt.Errorf("%w: not a file", ErrNoBundle)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%w: larger than %d bytes", ErrNoBundle, most)
	}
	return raw, err
}

// Read is Open for bytes.
func Read(raw []byte) (*Case, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrNoBundle, maxFile)
	}
	if !bytes.HasPrefix(raw, []byte("PK")) {
		lines, skipped, err := ParseTrace(raw)
		if err != nil || len(lines) == 0 {
			return nil, ErrNoBundle
		}
		return &Case{Seal: SealNone, Trace: lines, Skipped: skipped}, nil
	}
	files, err := unzip(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	return readMembers(files)
}

// readMembers is Read for what was unpacked.
func readMembers(files map[string][]byte) (*Case, error) {
	var list manifest
	if err := json.Unmarshal(files[memberManifest], &list); err != nil || list.Format == 0 {
		return nil, fmt.Errorf("%w: it has no list of contents", ErrNoBundle)
	}
	if list.Format > bundleFormat {
		return nil, fmt.Errorf("%w: it was made by a newer version (%s)", ErrNoBundle, printable(list.Version))
	}
	read := &Case{Reference: printable(list.Reference), Made: list.Made.UTC(), Order: printable(list.Order)}
	damage := read.verify(list, files)
	if err := read.decode(files); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	if damage != nil {
		read.Seal = SealDamaged
		return read, fmt.Errorf("%w: %w", ErrDamaged, damage)
	}
	return read, nil
}

// unzip reads the members into memory. It refuses names that a bundle never has, so
// that no path is ever followed, and everything larger than a bundle ever is, however
// small it is packed.
func unzip(raw []byte) (map[string][]byte, error) {
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, errors.New("the file is damaged or was cut short")
	}
	if len(archive.File) > maxMembers {
		return nil, fmt.Errorf("it holds %d files", len(archive.File))
	}
	files := map[string][]byte{}
	total := 0
	for _, member := range archive.File {
		if member.Name != memberManifest && member.Name != memberSignature && !slices.Contains(contents, member.Name) {
			return nil, fmt.Errorf("it holds a file %q, which no bundle has", printable(member.Name))
		}
		if _, twice := files[member.Name]; twice {
			return nil, fmt.Errorf("it holds %s twice", member.Name)
		}
		content, err := unpack(member)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member.Name, err)
		}
		if total += len(content); total > maxTotal {
			return nil, fmt.Errorf("it unpacks to more than %d bytes", maxTotal)
		}
		files[member.Name] = content
	}
	return files, nil
}

// unpack never holds more than maxMember bytes, whatever the header says.
func unpack(member *zip.File) ([]byte, error) {
	reader, err := member.Open()
	if err != nil {
		return nil, errors.New("it is packed in a way that no bundle uses")
	}
	defer func() { _ = reader.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(reader, maxMember+1))
	if len(content) > maxMember {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxMember)
	}
	if err != nil {
		return nil, errors.New("it is damaged")
	}
	return content, nil
}

// verify compares the members with the manifest and the manifest with its signature.
func (c *Case) verify(list manifest, files map[string][]byte) error {
	listed := map[string]bool{memberManifest: true, memberSignature: true}
	for _, member := range list.Members {
		content, has := files[member.Name]
		sum := sha256.Sum256(content)
		switch {
		case !has:
			return fmt.Errorf("%s is missing", printable(member.Name))
		case hex.EncodeToString(sum[:]) != member.SHA256:
			return fmt.Errorf("%s is not the one that was listed", member.Name)
		}
		listed[member.Name] = true
	}
	for name := range files {
		if !listed[name] {
			return fmt.Errorf("%s was added", name)
		}
	}
	raw, has := files[memberSignature]
	if !has {
		c.Seal = SealUnsigned
		return nil
	}
	var signatures []signature
	if json.Unmarshal(raw, &signatures) != nil || len(signatures) == 0 || len(signatures) > maxMembers {
		return errors.New("the signature cannot be read")
	}
	for _, each := range signatures {
		key, keyErr := hex.DecodeString(each.Key)
		sig, sigErr := hex.DecodeString(each.Sig)
		if keyErr != nil || sigErr != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signingInput(files[memberManifest]), sig) {
			return errors.New("the signature is wrong")
		}
		c.Devices = append(c.Devices, wallet.KeyID(key))
	}
	c.Seal = SealSigned
	return nil
}

// decode reads the members. Unknown fields are left out, so that a newer version may
// say more.
func (c *Case) decode(files map[string][]byte) error {
	for name, target := range map[string]any{
		memberMachine: &c.Machine, memberChecks: &c.Checks, memberSettings: &c.Settings, memberJournal: &c.Journal, memberError: &c.Told,
	} {
		raw, has := files[name]
		if has && json.Unmarshal(raw, target) != nil {
			return fmt.Errorf("%s cannot be read", name)
		}
	}
	var err error
	if raw, has := files[memberTrace]; has {
		if c.Trace, c.Skipped, err = ParseTrace(raw); err != nil {
			return fmt.Errorf("%s: %w", memberTrace, err)
		}
	}
	c.clean()
	return nil
}

// clean makes every text fit for a screen.
func (c *Case) clean() {
	for _, text := range []*string{&c.Machine.Version, &c.Machine.OS, &c.Machine.Arch, &c.Machine.Go, &c.Machine.Language} {
		*text = printable(*text)
	}
	for i := range c.Checks {
		check := &c.Checks[i]
		check.Name, check.Status, check.Text, check.Remedy = printable(check.Name), printable(check.Status), printable(check.Text), printable(check.Remedy)
	}
	settings := map[string]string{}
	for name, value := range c.Settings {
		settings[printable(name)] = printable(value)
	}
	c.Settings = settings
	for i := range c.Journal {
		line := &c.Journal[i]
		line.At, line.Stage = line.At.UTC(), wallet.Stage(printable(string(line.Stage)))
		for _, text := range []*string{&line.Key, &line.Order, &line.Kind, &line.Card, &line.Terminal, &line.Note} {
			*text = printable(*text)
		}
	}
	if t := c.Told; t != nil {
		t.Op, t.Code, t.Cause, t.Order = printable(t.Op), printable(t.Code), printable(t.Cause), printable(t.Order)
	}
}
