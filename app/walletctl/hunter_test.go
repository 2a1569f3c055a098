package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// secret is something that must not lie about. raw are its bytes as they are used:
// the characters of a password, the bytes of a key.
type secret struct {
	name    string
	raw     []byte
	allowed []string // names of files that may hold it, by design
}

// hunter looks for secrets in everything that a run left behind.
type hunter struct {
	secrets []secret
}

// plant adds a secret to be looked for. A digit string is looked for in BCD as well.
func (h *hunter) plant(name string, raw []byte, allowed ...string) {
	for _, known := range h.secrets {
		if bytes.Equal(known.raw, raw) {
			return
		}
	}
	h.secrets = append(h.secrets, secret{name, append([]byte(nil), raw...), allowed})
}

// form is one way to write a secret down.
type form struct {
	name    string
	bytes   []byte
	bounded bool // too short to be looked for inside other digits
}

// forms are the ways in which a secret may be written: as it is, in hexadecimal of
// both cases, in base64 of both alphabets at each of the three alignments, and digits
// in BCD.
func (s secret) forms() []form {
	forms := []form{
		{"raw", s.raw, isDigits(s.raw) && len(s.raw) < 10},
		{"hex", []byte(strings.ToUpper(hex.EncodeToString(s.raw))), len(s.raw) < 4},
		{"hex, lower case", []byte(hex.EncodeToString(s.raw)), len(s.raw) < 4},
	}
	for shift := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, shift), s.raw...))
			// The characters at the ends are shared with what stands beside the secret.
			from, to := (shift*8+5)/6, (shift+len(s.raw))*8/6
			// Four characters of base64 occur by chance in a database full of signatures.
			if inner := text[from:to]; len(inner) >= 5 {
				forms = append(forms, form{fmt.Sprintf("%s, shifted by %d", name, shift), []byte(inner), false})
			}
		}
	}
	if isDigits(s.raw) {
		digits := string(s.raw)
		if len(digits)%2 == 1 {
			digits += "F"
		}
		if packed, err := hex.DecodeString(digits); err == nil && len(packed) >= 4 {
			forms = append(forms, form{"BCD", packed, false})
		}
	}
	return forms
}

func isDigits(raw []byte) bool { return len(raw) > 0 && strings.Trim(string(raw), "0123456789") == "" }

// search returns one line for every secret that stands in content.
func (h *hunter) search(name string, content []byte) (found []string) {
	for _, each := range h.secrets {
		for _, form := range each.forms() {
			if occurs(content, form) && !each.allows(name) {
				found = append(found, fmt.Sprintf("%s holds %s (%s)", name, each.name, form.name))
			}
		}
	}
	return found
}

func (s secret) allows(name string) bool {
	for _, allowed := range s.allowed {
		if match, _ := filepath.Match(allowed, name); match {
			return true
		}
	}
	return false
}

// occurs finds a form; a short one only where no digit or hexadecimal digit stands
// beside it, since six digits occur in many numbers.
func occurs(content []byte, form form) bool {
	for at := 0; ; {
		next := bytes.Index(content[at:], form.bytes)
		if next < 0 {
			return false
		}
		at += next
		if !form.bounded || !beside(content, at-1) && !beside(content, at+len(form.bytes)) {
			return true
		}
		at++
	}
}

func beside(content []byte, at int) bool {
	return at >= 0 && at < len(content) && unicode.Is(unicode.ASCII_Hex_Digit, rune(content[at]))
}

// folder searches every file below a folder, and the members of every bundle.
func (h *hunter) folder(t *testing.T, folder string) (found []string, files int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(folder, path)
		require.NoError(t, err)
		files++
		found = append(found, h.search(name, content)...)
		if bytes.HasPrefix(content, []byte("PK")) {
			archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
			require.NoError(t, err)
			for _, member := range archive.File {
				reader, err := member.Open()
				require.NoError(t, err)
				unpacked, err := io.ReadAll(reader)
				require.NoError(t, err)
				files++
				found = append(found, h.search(name+"!"+member.Name, unpacked)...)
			}
		}
		return nil
	}))
	sort.Strings(found)
	return found, files
}

// TestHunterFindsWhatIsPlanted: a hunter that finds nothing would be worth nothing.
func TestHunterFindsWhatIsPlanted(t *testing.T) {
	var h hunter
	h.plant("password", []byte("kx7-Qm2_pW9z"))
	h.plant("code", []byte("914257"))
	h.plant("PIN", []byte("731984620573"))
	h.plant("MAC", []byte{0xA1, 0xB2, 0xC3, 0xD4})
	h.plant("key", []byte("0123456789abcdef"), "device.key")
	for _, each := range h.secrets {
		for _, form := range each.forms() {
			content := append(append([]byte("…{\"x\":\""), form.bytes...), "\"}"...)
			require.NotEmpty(t, h.search("file", content), "%s in %s", each.name, form.name)
		}
		for shift := range 3 { // inside something longer, as a sealed box or a picture would be
			if shift > 0 && len(each.raw) < 6 {
				continue // too few characters of its own are left
			}
			blob := append(append(bytes.Repeat([]byte{7}, shift), each.raw...), 9, 9, 9)
			require.NotEmpty(t, h.search("file", []byte(base64.StdEncoding.EncodeToString(blob))), "%s at %d", each.name, shift)
		}
	}
	require.Empty(t, h.search("file", []byte("19142573 0x914257A, kx7-Qm2_pW9")), "digits inside other digits are no code")
	require.Empty(t, h.search("device.key", []byte("0123456789abcdef")))
	require.NotEmpty(t, h.search("other.key", []byte("0123456789abcdef")))

	folder := t.TempDir()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	member, err := w.Create("trace.jsonl")
	require.NoError(t, err)
	_, err = member.Write(bytes.Repeat([]byte("805200000B20260315180102A1B2C3D404\n"), 50))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(filepath.Join(folder, "b.zip"), archive.Bytes(), 0o600))
	found, files := h.folder(t, folder)
	require.Equal(t, 2, files)
	require.Equal(t, []string{"b.zip!trace.jsonl holds MAC (hex)"}, found)
}
