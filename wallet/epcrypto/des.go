// Package epcrypto is the arithmetic of a purse that uses DES: card keys from
// master keys, session keys, MAC1, MAC2, TAC and the MACs of secure messaging
// (card dossier §2). Only a chip in memory, a platform and tests may import it: a
// client holds no keys and computes no MAC.
//
// The block cipher is crypto/des; what stands here is only how a purse chains it.
// All numbers are big-endian; amounts and balances are fen in four bytes.
package epcrypto

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Key8 is a single DES key, such as the session key of one transaction.
type Key8 [8]byte

// Key16 is a two-key 3DES key (EDE, K1 K2 K1), such as DLK, DPK and DTK.
type Key16 [16]byte

// MAC4 is what a purse keeps of a MAC: the first four bytes of the last block.
type MAC4 [4]byte

// redacted stands for every key that reaches a log or an error text by mistake.
const redacted = "[key]"

// Format prints no key, whatever the verb.
func (Key8) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// Format prints no key, whatever the verb.
func (Key16) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText keeps keys out of JSON, which is how structured logs print values.
func (Key8) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalText keeps keys out of JSON; a key file asks for Hex.
func (Key16) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ParseKey16 reads 32 hex digits. The error does not repeat them.
func ParseKey16(text string) (Key16, error) {
	var key Key16
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(key) {
		return key, errors.New("a key has 32 hexadecimal digits")
	}
	copy(key[:], raw)
	return key, nil
}

// Hex returns 32 upper-case digits. It is for key files alone: a key that is
// merely printed says [key].
func (k Key16) Hex() string { return strings.ToUpper(hex.EncodeToString(k[:])) }

// String returns eight upper-case hex digits.
func (m MAC4) String() string { return strings.ToUpper(hex.EncodeToString(m[:])) }

// Equal compares in constant time.
func (m MAC4) Equal(other MAC4) bool { return subtle.ConstantTimeCompare(m[:], other[:]) == 1 }

// block returns the cipher of a single DES key.
func (k Key8) block() cipher.Block { return must(des.NewCipher(k[:])) }

// block returns the cipher of a two-key 3DES key.
func (k Key16) block() cipher.Block {
	var three [24]byte
	copy(three[:], k[:])
	copy(three[16:], k[:8])
	return must(des.NewTripleDESCipher(three[:]))
}

// must is safe because crypto/des fails only for a key of another length, and
// the array types fix the length.
func must(block cipher.Block, err error) cipher.Block {
	if err != nil {
		panic("epcrypto: " + err.Error())
	}
	return block
}

// Encrypt encrypts one block with single DES.
func (k Key8) Encrypt(block [8]byte) (out [8]byte) {
	k.block().Encrypt(out[:], block[:])
	return out
}

// Decrypt decrypts one block with single DES.
func (k Key8) Decrypt(block [8]byte) (out [8]byte) {
	k.block().Decrypt(out[:], block[:])
	return out
}

// Encrypt encrypts one block with two-key 3DES.
func (k Key16) Encrypt(block [8]byte) (out [8]byte) {
	k.block().Encrypt(out[:], block[:])
	return out
}

// Decrypt decrypts one block with two-key 3DES.
func (k Key16) Decrypt(block [8]byte) (out [8]byte) {
	k.block().Decrypt(out[:], block[:])
	return out
}

// Fold is left half XOR right half: the key of every TAC, from DTK (card dossier
// §2.4), and of the RELOAD PIN MAC, from DRPK (§2.6).
func (k Key16) Fold() (folded Key8) {
	subtle.XORBytes(folded[:], k[:8], k[8:])
	return folded
}

// MAC is single DES in CBC mode over data ‖ 80 ‖ 00… (always at least the 80),
// first four bytes of the last block (card dossier §2.4).
func (k Key8) MAC(start [8]byte, data []byte) MAC4 {
	last := cbc(k.block(), start, data)
	return MAC4(last[:4])
}

// MAC is single DES in CBC mode under the left half; the last block then goes
// through D(right) and E(left): the "3DES finish" of ISO 9797-1 algorithm 3.
func (k Key16) MAC(start [8]byte, data []byte) MAC4 {
	left, right := Key8(k[:8]), Key8(k[8:])
	last := left.Encrypt(right.Decrypt(cbc(left.block(), start, data)))
	return MAC4(last[:4])
}

// cbc returns the last block of the padded data.
func cbc(block cipher.Block, start [8]byte, data []byte) [8]byte {
	padded := make([]byte, (len(data)/8+1)*8)
	copy(padded, data)
	padded[len(data)] = 0x80
	cipher.NewCBCEncrypter(block, start[:]).CryptBlocks(padded, padded)
	return [8]byte(padded[len(padded)-8:])
}
