package api

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Passwords travel sealed with HPKE (RFC 9180: DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, AES-256-GCM) to a key that only the platform's signer has. A seal
// is encapsulated key (32 bytes) ‖ ciphertext. What it may be used for stands in
// HPKE's info, so that a seal seen elsewhere opens nothing (protocol §2.10):
//
//	login:   info = SHA-256(domain ‖ route ‖ device key thumbprint ‖ nonce ‖ phone)
//	payment: info = SHA-256(domain ‖ asn ‖ amount ‖ fee ‖ source ‖ key)
//
// Each part is preceded by its length in two bytes, so that no two lists of parts
// have the same bytes. Amounts are 8 bytes, big endian.
//
// The plaintext is always 128 bytes: length of the password (1 byte), the password
// in UTF-8, zeros. The seal's size therefore says nothing about the password.
const (
	domainLoginSeal   = "wallet/login-seal/1"
	domainPaymentSeal = "wallet/payment-seal/1"

	sealedLen = 128
)

// MaxPasswordLen is how many bytes a password may have.
const MaxPasswordLen = sealedLen - 1

// Errors of sealing and opening.
var (
	ErrPasswordLength = errors.New("a password has 1 to 127 bytes")
	ErrSeal           = errors.New("the seal does not open: it was made for another purpose, or damaged")
)

// LoginBinding is what a seal of a login password is bound to.
type LoginBinding struct {
	Route      string // path of the request that carries the seal, such as PathSession
	Thumbprint string // of the device key that signs this request
	Nonce      string // the nonce in this request's signature
	Phone      string
}

func (b LoginBinding) info() []byte {
	return sealInfo(domainLoginSeal, []byte(b.Route), []byte(b.Thumbprint), []byte(b.Nonce), []byte(b.Phone))
}

// OrderCoreHash is the info of a payment seal: whoever moves the seal to another
// card, amount, fee, source or key gets ErrSeal.
func OrderCoreHash(core OrderCore) []byte {
	amount := binary.BigEndian.AppendUint64(nil, uint64(core.Amount))
	fee := binary.BigEndian.AppendUint64(nil, uint64(core.Fee))
	return sealInfo(domainPaymentSeal, core.ASN[:], amount, fee, []byte(core.Source), []byte(core.Key))
}

func sealInfo(domain string, parts ...[]byte) []byte {
	var input []byte
	for _, part := range append([][]byte{[]byte(domain)}, parts...) {
		input = binary.BigEndian.AppendUint16(input, uint16(len(part)))
		input = append(input, part...)
	}
	sum := sha256.Sum256(input)
	return sum[:]
}

// NewSealKey makes the key of a platform to which passwords are sealed. Its public
// bytes, PublicKey().Bytes(), are Profile.HPKE; Bytes() is kept by the signer.
func NewSealKey() (hpke.PrivateKey, error) { return sealKEM().GenerateKey() }

// ParseSealKey reads the bytes of a key that NewSealKey made.
func ParseSealKey(raw []byte) (hpke.PrivateKey, error) { return sealKEM().NewPrivateKey(raw) }

func sealKEM() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// SealLogin seals a login password to the platform's public key (32 bytes).
func SealLogin(pub []byte, binding LoginBinding, password string) ([]byte, error) {
	return sealPassword(pub, binding.info(), password)
}

// OpenLogin is the platform's side of SealLogin; any difference gives ErrSeal.
func OpenLogin(key hpke.PrivateKey, binding LoginBinding, seal []byte) (string, error) {
	return openPassword(key, binding.info(), seal)
}

// SealPayment seals a payment password to the platform's public key (32 bytes).
func SealPayment(pub []byte, core OrderCore, pin string) ([]byte, error) {
	return sealPassword(pub, OrderCoreHash(core), pin)
}

// OpenPayment is the platform's side of SealPayment; any difference gives ErrSeal.
func OpenPayment(key hpke.PrivateKey, core OrderCore, seal []byte) (string, error) {
	return openPassword(key, OrderCoreHash(core), seal)
}

func sealPassword(pub, info []byte, password string) ([]byte, error) {
	if password == "" || len(password) > MaxPasswordLen {
		return nil, ErrPasswordLength
	}
	key, err := sealKEM().NewPublicKey(pub)
	if err != nil {
		return nil, errors.New("the key for passwords in the platform profile is not usable")
	}
	padded := make([]byte, sealedLen)
	padded[0] = byte(len(password))
	copy(padded[1:], password)
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, padded)
}

func openPassword(key hpke.PrivateKey, info, seal []byte) (string, error) {
	padded, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, seal)
	if err != nil || len(padded) != sealedLen || padded[0] == 0 || int(padded[0]) > MaxPasswordLen {
		return "", ErrSeal
	}
	return string(padded[1 : 1+int(padded[0])]), nil
}
