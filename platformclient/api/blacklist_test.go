package api

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
)

var listMade = time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)

func twoCards() Blacklist {
	return Blacklist{Number: 7, Made: listMade, Lines: []BlacklistLine{
		{ASN: wallet.ASN{9: 1}, Listed: true, Cause: "FRAUD"}, {ASN: wallet.ASN{9: 2}, Listed: true, Cause: "VALUE_CREATED"},
	}}
}

// withTrailer ends a file as it must be ended.
func withTrailer(body string) []byte {
	sum := sha256.Sum256([]byte(body))
	return fmt.Appendf(nil, "%sT|%d|%x\n", body, strings.Count(body, "\n")-1, sum)
}

func TestBlacklist_File(t *testing.T) {
	raw, err := twoCards().Encode()
	require.NoError(t, err)
	require.Equal(t, string(withTrailer("H|WALLET-BLACKLIST|1|7|0|FULL|20260315|2026-03-15T01:30:45Z\n"+
		"D|A|00000000000000000001|FRAUD\nD|A|00000000000000000002|VALUE_CREATED\n")), string(raw))
	read, err := ParseBlacklist(raw)
	require.NoError(t, err)
	require.Equal(t, twoCards(), read)
	for name, change := range map[string]func(string) string{
		"cut":             func(s string) string { return s[:len(s)-1] },
		"no trailer":      func(s string) string { return s[:strings.LastIndex(s, "T|")] },
		"line lost":       func(s string) string { return strings.Replace(s, "D|A|00000000000000000001|FRAUD\n", "", 1) },
		"card changed":    func(s string) string { return strings.Replace(s, "00000001|", "00000003|", 1) },
		"count changed":   func(s string) string { return strings.Replace(s, "T|2|", "T|3|", 1) },
		"carriage return": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"empty":           func(string) string { return "" },
		"two files":       func(s string) string { return s + s },
	} {
		_, err := ParseBlacklist([]byte(change(string(raw))))
		require.ErrorIs(t, err, ErrBlacklist, name)
	}
}

// A file whose sum is right is still refused where it is not what the platform writes.
func TestBlacklist_RefusesWhatIsNotWrittenSo(t *testing.T) {
	for name, change := range map[string]func(*Blacklist){
		"out of order":     func(b *Blacklist) { slices.Reverse(b.Lines) },
		"twice":            func(b *Blacklist) { b.Lines[1] = b.Lines[0] },
		"removal in full":  func(b *Blacklist) { b.Lines[0] = BlacklistLine{ASN: b.Lines[0].ASN} },
		"no cause":         func(b *Blacklist) { b.Lines[0].Cause = "" },
		"bar in a cause":   func(b *Blacklist) { b.Lines[0].Cause = "A|B" },
		"number 0":         func(b *Blacklist) { b.Number = 0 },
		"since the future": func(b *Blacklist) { b.Since = 8 },
		"no time":          func(b *Blacklist) { b.Made = time.Time{} },
	} {
		list := twoCards()
		change(&list)
		_, err := list.Encode()
		require.ErrorIs(t, err, ErrBlacklist, name)
	}
}

// Every flipped bit of file or signature is refused, and so is a foreign key.
func TestBlacklist_Signature(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	raw, err := twoCards().Encode()
	require.NoError(t, err)
	signed := wallet.SignBytes(DomainBlacklist, raw, private)
	signature, err := json.Marshal(BlacklistSignature{Domain: DomainBlacklist, KID: signed.KID, Sig: signed.Sig})
	require.NoError(t, err)
	keys := wallet.NewSignerKeys(public)
	list, err := OpenBlacklist(keys, raw, signature)
	require.NoError(t, err)
	require.Equal(t, twoCards(), list)
	for i := range len(raw) * 8 {
		flipped := bytes.Clone(raw)
		flipped[i/8] ^= 1 << (i % 8)
		_, err := OpenBlacklist(keys, flipped, signature)
		require.ErrorIs(t, err, wallet.ErrSignature)
	}
	other := wallet.SignBytes(wallet.DomainReceipt, raw, private)
	wrongDomain, err := json.Marshal(BlacklistSignature{Domain: DomainBlacklist, KID: other.KID, Sig: other.Sig})
	require.NoError(t, err)
	_, err = OpenBlacklist(keys, raw, wrongDomain)
	require.ErrorIs(t, err, wallet.ErrSignature)
	_, err = OpenBlacklist(wallet.SignerKeys{}, raw, signature)
	require.ErrorIs(t, err, wallet.ErrSignature)
	_, err = OpenBlacklist(keys, raw, []byte("{"))
	require.ErrorIs(t, err, ErrBlacklist)
}

// A full list and the changes after it give the list of the later number.
func TestBlacklist_FullAndDelta(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		draw := func(name string) map[byte]string {
			return rapid.MapOf(rapid.Byte(), rapid.SampledFrom([]string{"FRAUD", "LOSS"})).Draw(r, name)
		}
		list := func(number int, cards map[byte]string) Blacklist {
			b := Blacklist{Number: number, Made: listMade}
			for card := range 256 {
				if cause, listed := cards[byte(card)]; listed {
					b.Lines = append(b.Lines, BlacklistLine{ASN: wallet.ASN{9: byte(card)}, Listed: true, Cause: cause})
				}
			}
			return b
		}
		before, after := draw("before"), draw("after")
		delta := Blacklist{Number: 5, Since: 3, Made: listMade}
		for card := range 256 {
			was, listedBefore := before[byte(card)]
			is, listedAfter := after[byte(card)]
			if listedBefore != listedAfter || was != is {
				delta.Lines = append(delta.Lines, BlacklistLine{ASN: wallet.ASN{9: byte(card)}, Listed: listedAfter, Cause: is})
			}
		}
		raw, err := delta.Encode()
		require.NoError(r, err)
		read, err := ParseBlacklist(raw)
		require.NoError(r, err)
		result, err := list(3, before).Apply(read)
		require.NoError(r, err)
		require.Equal(r, list(5, after), result)
		_, err = list(2, before).Apply(read)
		require.ErrorIs(r, err, ErrBlacklist, "a gap")
		_, err = list(5, after).Apply(list(5, after))
		require.ErrorIs(r, err, ErrBlacklist, "no delta")
	})
}

// FuzzBlacklist: whatever is read is what would be written, byte for byte.
func FuzzBlacklist(f *testing.F) {
	raw, err := twoCards().Encode()
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte("H|WALLET-BLACKLIST|1|1|0|FULL|20261122|2026-11-22T12:05:23Z\nT|0|1a6a99cff1a5734fb6ba8b95d8e71c2fb28bca25c65c56274752610f91ecb7cd\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ParseBlacklist(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrBlacklist)
			return
		}
		again, err := list.Encode()
		require.NoError(t, err)
		require.Equal(t, raw, again)
	})
}

// FuzzBlacklistLine puts arbitrary lines into a file whose trailer is right, so that
// what stands behind the sum is reached.
func FuzzBlacklistLine(f *testing.F) {
	f.Add("H|WALLET-BLACKLIST|1|7|0|FULL|20260315|2026-03-15T01:30:45Z", "D|A|00000000000000000001|FRAUD")
	f.Add("H|WALLET-BLACKLIST|1|7|3|DELTA|20260315|2026-03-15T01:30:45Z", "D|R|00000000000000000001|")
	f.Fuzz(func(t *testing.T, head, line string) {
		raw := withTrailer(head + "\n" + line + "\n")
		list, err := ParseBlacklist(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrBlacklist)
			return
		}
		again, err := list.Encode()
		require.NoError(t, err)
		require.Equal(t, raw, again)
	})
}
