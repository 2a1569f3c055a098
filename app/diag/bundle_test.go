package diag

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// tornTrace is a top-up of 50.00 yuan whose CREDIT got no answer.
const tornTrace = `{"at":"2026-03-15T04:00:00Z","run":"aa","n":1,"op":"topup-1","kind":"begin","version":"1.0","amountFen":5000}
{"at":"2026-03-15T04:00:00.1Z","run":"aa","n":2,"op":"topup-1","kind":"card","reader":"R","command":"00A4040009A0000000038698070100","answer":"6F0B8409A00000000386980701","sw":"9000","tookUS":10}
{"at":"2026-03-15T04:00:00.2Z","run":"aa","n":3,"op":"topup-1","kind":"card","reader":"R","command":"805C000204","answer":"000007D0","sw":"9000","tookUS":1}
{"at":"2026-03-15T04:00:00.3Z","run":"aa","n":4,"op":"topup-1","kind":"card","reader":"R","command":"00B095001E","answer":"00000001000000000201****************971220240101204412310000","sw":"9000","tookUS":1}
{"at":"2026-03-15T04:00:01.1Z","run":"aa","n":5,"op":"topup-1","kind":"card","reader":"R","command":"00A4040009A0000000038698070100","answer":"6F0B8409A00000000386980701","sw":"9000","tookUS":10}
{"at":"2026-03-15T04:00:01.3Z","run":"aa","n":6,"op":"topup-1","kind":"card","reader":"R","command":"00B095001E","answer":"00000001000000000201****************971220240101204412310000","sw":"9000","tookUS":1}
{"at":"2026-03-15T04:00:01.4Z","run":"aa","n":7,"op":"topup-1","kind":"card","reader":"R","command":"805000020B0100001388C11132F31F4110","answer":"000007D000030100DD563F2614BB914E","sw":"9000","tookUS":61}
{"at":"2026-03-15T04:00:01.5Z","run":"aa","n":8,"op":"topup-1","kind":"request","tookUS":48574,"method":"POST","route":"/v1/loads","status":200,"sent":673,"received":845,"subject":"key-1"}
{"at":"2026-03-15T04:00:01.6Z","run":"aa","n":9,"op":"topup-1","kind":"card","reader":"R","command":"805200000B20260315120001********04","trouble":"card-gone","tookUS":162}
{"at":"2026-03-15T04:00:01.7Z","run":"aa","n":10,"op":"topup-1","kind":"end","subject":"20260315-01","code":"ORDER_OPEN","amountFen":5000,"key":"key-1","exit":6,"cause":"ORDER_OPEN: CREDIT FOR LOAD: CARD_LOST: transmit: card-gone"}
`

func tornInput(t testing.TB) Input {
	t.Helper()
	lines, _, err := ParseTrace([]byte(tornTrace))
	require.NoError(t, err)
	asn, err := wallet.ParseASN("00001234567890129712")
	require.NoError(t, err)
	entry := func(stage wallet.Stage, at int) wallet.Entry {
		return wallet.Entry{Key: "key-1", Order: "20260315-01", Stage: stage, ASN: asn, Amount: 5000, At: lines[at].At,
			Grant: &wallet.Signed{Payload: []byte("the grant"), Sig: []byte("s")}, MAC2: wallet.Hex{0xDE, 0xAD, 0xBE, 0xEF}}
	}
	return Input{
		Machine: Machine{Version: "1.0", OS: "linux"}, Checks: []BundleCheck{{Name: "reader", Status: "ok"}}, Settings: map[string]string{"ui.theme": "dark"},
		Trails: [][]wallet.Entry{{entry(wallet.StageIntent, 4), entry(wallet.StageAsked, 7), entry(wallet.StageCrediting, 8), entry(wallet.StageUnknown, 9)}},
		Trace:  lines, Told: LastTold(lines), Order: "20260315-01", Now: noon,
	}
}

func TestLastTold(t *testing.T) {
	lines := []Line{{Kind: KindEnd, Code: "A", Key: "k1", Subject: "o1"}, {Kind: KindEnd, Code: "B", Key: "k2"}, {Kind: KindEnd, Key: "k1"}}
	require.Equal(t, "B", LastTold(lines).Code)
	require.Equal(t, "A", LastTold(lines, "o1", "k1").Code)
	require.Equal(t, "B", LastTold(lines, "o2", "k2").Code, "the number was not known then")
	require.Nil(t, LastTold(lines, "o3", ""))
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func TestBundleSaysWhatWasPutIn(t *testing.T) {
	in := tornInput(t)
	in.Keys = []ed25519.PrivateKey{newKey(t), newKey(t)}
	bundle, err := MakeBundle(in)
	require.NoError(t, err)
	require.True(t, ValidReference(bundle.Reference))
	path := filepath.Join(t.TempDir(), "b.zip")
	require.NoError(t, os.WriteFile(path, []byte("an older file"), 0o644))
	require.NoError(t, bundle.Save(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)

	read, err := Open(path)
	require.NoError(t, err)
	require.Equal(t, SealSigned, read.Seal)
	require.Len(t, read.Devices, 2)
	require.Equal(t, bundle.Reference, read.Reference)
	require.Equal(t, in.Trace, read.Trace)
	require.Equal(t, in.Checks, read.Checks)
	require.Equal(t, in.Settings, read.Settings)
	require.Equal(t, in.Told, read.Told)
	require.Equal(t, in.Machine, read.Machine)
	require.Len(t, read.Journal, 4)
	require.Equal(t, "****************9712", read.Journal[0].Card)
	require.True(t, read.Journal[0].HasGrant)

	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	files, err := unzip(raw)
	require.NoError(t, err)
	for name, content := range files {
		for _, hidden := range []string{"00001234567890129712", "the grant", "DEADBEEF", "dGhlIGdyYW50"} {
			require.NotContains(t, string(content), hidden, name)
		}
	}
	require.Error(t, bundle.Save(filepath.Join(t.TempDir(), "missing", "b.zip")))
}

// TestBundleEveryByteCounts flips every byte of every member of a signed bundle.
func TestBundleEveryByteCounts(t *testing.T) {
	in := tornInput(t)
	in.Keys = []ed25519.PrivateKey{newKey(t)}
	bundle, err := MakeBundle(in)
	require.NoError(t, err)
	files, err := unzip(bundle.raw)
	require.NoError(t, err)
	order := append([]string{memberManifest, memberSignature}, contents...)
	for _, name := range order {
		content := files[name]
		for i := range content {
			content[i] ^= 0x01
			read, err := readMembers(files)
			require.Error(t, err, "%s, byte %d", name, i)
			require.True(t, read == nil || read.Seal == SealDamaged)
			content[i] ^= 0x01
		}
	}
	whole, err := zipped(order, files, noon)
	require.NoError(t, err)
	_, err = Read(whole)
	require.NoError(t, err)

	t.Run("without its signature", func(t *testing.T) {
		bare, err := zipped(append([]string{memberManifest}, contents...), files, noon)
		require.NoError(t, err)
		read, err := Read(bare)
		require.NoError(t, err)
		require.Equal(t, SealUnsigned, read.Seal)
		require.Empty(t, read.Devices)
	})
	t.Run("a member added", func(t *testing.T) {
		in.Told = nil
		other, err := MakeBundle(in)
		require.NoError(t, err)
		more, err := unzip(other.raw)
		require.NoError(t, err)
		more[memberError] = files[memberError]
		raw, err := zipped(order, more, noon)
		require.NoError(t, err)
		_, err = Read(raw)
		require.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("a member taken away", func(t *testing.T) {
		raw, err := zipped([]string{memberManifest, memberSignature, memberTrace}, files, noon)
		require.NoError(t, err)
		_, err = Read(raw)
		require.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("signed as a request would be", func(t *testing.T) {
		forged := map[string][]byte{}
		for name, content := range files {
			forged[name] = content
		}
		key := newKey(t)
		public, _ := key.Public().(ed25519.PublicKey)
		forged[memberSignature], err = encode([]signature{{wallet.Hex(public).String(), wallet.Hex(ed25519.Sign(key, files[memberManifest])).String()}})
		require.NoError(t, err)
		raw, err := zipped(order, forged, noon)
		require.NoError(t, err)
		_, err = Read(raw)
		require.ErrorIs(t, err, ErrDamaged, "the domain word is part of what is signed")
	})
}

// archive packs names and contents, whatever they are.
func archive(t testing.TB, members ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i+1 < len(members); i += 2 {
		member, err := w.Create(members[i])
		require.NoError(t, err)
		_, err = member.Write([]byte(members[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestHostileFilesAreRefused(t *testing.T) {
	bundle, err := MakeBundle(tornInput(t))
	require.NoError(t, err)
	many := []string{}
	for range maxMembers + 1 {
		many = append(many, memberTrace, "")
	}
	const list = `{"format":1,"members":[]}`
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	future, err := json.Marshal(manifest{Format: bundleFormat + 1, Version: "9"})
	require.NoError(t, err)
	for name, raw := range map[string][]byte{
		"empty":                 {},
		"no zip":                []byte("PK\x03\x04 but nothing more"),
		"cut short":             bundle.raw[:len(bundle.raw)/2],
		"only its end":          bundle.raw[len(bundle.raw)/2:],
		"a path upwards":        archive(t, memberManifest, list, "../../etc/passwd", "x"),
		"an absolute path":      archive(t, memberManifest, list, "/etc/passwd", "x"),
		"a path of Windows":     archive(t, memberManifest, list, `..\trace.jsonl`, "x"),
		"a folder":              archive(t, memberManifest, list, "trace.jsonl/", ""),
		"an unknown file":       archive(t, memberManifest, list, "notes.txt", "x"),
		"a name twice":          archive(t, memberManifest, list, memberTrace, "", memberTrace, ""),
		"too many files":        archive(t, many...),
		"a bomb":                archive(t, memberManifest, list, memberTrace, strings.Repeat("\x00", maxMember+1)),
		"a bomb in two":         archive(t, memberManifest, list, memberTrace, strings.Repeat("\n", maxMember), memberJournal, strings.Repeat(" ", maxMember), memberChecks, "[]"),
		"no list":               archive(t, memberTrace, tornTrace),
		"garbage for a list":    archive(t, memberManifest, "{{{"),
		"a list without format": archive(t, memberManifest, "{}"),
		"of a newer version":    archive(t, memberManifest, string(future)),
		"garbage for a journal": archive(t, memberManifest, list, memberJournal, "garbage"),
		"deep JSON":             archive(t, memberManifest, list, memberJournal, deep),
		"garbage for a trace":   archive(t, memberManifest, list, memberTrace, "a\nb\n"),
		"too large":             make([]byte, maxFile+1),
		"text":                  []byte("dear customer service,\nmy card does not work\n"),
	} {
		t.Run(name, func(t *testing.T) {
			read, err := Read(raw)
			require.ErrorIs(t, err, ErrNoBundle)
			require.Nil(t, read)
			path := filepath.Join(t.TempDir(), "f")
			require.NoError(t, os.WriteFile(path, raw, 0o600))
			_, err = Open(path)
			require.ErrorIs(t, err, ErrNoBundle)
			left, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, left, 1, "nothing is unpacked to disk")
		})
	}
	_, err = Open(t.TempDir())
	require.ErrorIs(t, err, ErrNoBundle)
	if runtime.GOOS != "windows" {
		_, err = Open("/dev/zero")
		require.ErrorIs(t, err, ErrNoBundle)
	}
	_, err = Open(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	read, err := Read([]byte(tornTrace))
	require.NoError(t, err)
	require.Equal(t, SealNone, read.Seal)
}

func TestReferenceCanBeReadOut(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		reference, err := NewReference()
		require.NoError(t, err)
		require.Regexp(t, `^\d{3}-\d{3}-\d{4}$`, reference)
		require.True(t, ValidReference(reference))
		require.True(t, ValidReference(strings.ReplaceAll(reference, "-", " ")))
		for i := range reference { // every misheard digit is noticed
			if reference[i] == '-' {
				continue
			}
			wrong := []byte(reference)
			wrong[i] = '0' + (wrong[i]-'0'+1)%10
			require.False(t, ValidReference(string(wrong)))
		}
		seen[reference] = true
	}
	require.Len(t, seen, 200)
	require.Equal(t, byte('3'), luhn("7992739871"), "the published example")
	for _, wrong := range []string{"", "1", "799-273-987", "799-273-98711", "799-27A-9871"} {
		require.False(t, ValidReference(wrong), wrong)
	}
}

// FuzzBundle looks for a file that breaks the reader, or that passes for signed though
// its list was changed.
func FuzzBundle(f *testing.F) {
	in := tornInput(f)
	plain, err := MakeBundle(in)
	require.NoError(f, err)
	f.Add(plain.raw)
	in.Keys = []ed25519.PrivateKey{newKey(f)}
	signed, err := MakeBundle(in)
	require.NoError(f, err)
	f.Add(signed.raw)
	f.Add(archive(f, memberManifest, `{"format":1,"members":[]}`, memberTrace, tornTrace))
	f.Add([]byte(tornTrace))
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := Read(raw)
		if read == nil {
			require.ErrorIs(t, err, ErrNoBundle)
			return
		}
		require.Equal(t, err != nil, read.Seal == SealDamaged)
		require.Equal(t, read.Seal == SealSigned, len(read.Devices) > 0 && read.Seal != SealDamaged)
		for _, story := range read.Stories() {
			require.Equal(t, printable(story.Order), story.Order)
			for _, sentence := range story.Known {
				require.True(t, strings.HasPrefix(sentence.Key, "explain."))
			}
		}
	})
}
