package wallet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// Domain names the type of a signed object, so that a signature made for one
// type can never be read as another (protocol §2.6).
type Domain string

// The domain words of everything that the platform's signer signs.
const (
	DomainHello   Domain = "wallet/hello/1"
	DomainGrant   Domain = "wallet/grant/1"
	DomainOrder   Domain = "wallet/order/1"
	DomainReceipt Domain = "wallet/receipt/1"
	DomainScript  Domain = "wallet/script/1"
	DomainLease   Domain = "wallet/lease/1"
	DomainPolicy  Domain = "wallet/policy/1"
)

// Signed carries a payload with the platform's signature over
// domain ‖ 00 ‖ the exact payload bytes. The bytes are verified before they are
// parsed; whatever is not signed means "unknown" and closes nothing.
type Signed struct {
	Payload []byte `json:"payload"`
	Sig     []byte `json:"sig"`
	KID     string `json:"kid"`
}

// ErrSignature means that the bytes were not signed by a key of the profile.
var ErrSignature = errors.New("the answer is not signed by the platform")

// SignerKeys are the platform's public signer keys by key identifier. They come
// from the platform profile, never over the connection that they check.
type SignerKeys map[string]ed25519.PublicKey

// NewSignerKeys indexes public keys by their identifier.
func NewSignerKeys(public ...ed25519.PublicKey) SignerKeys {
	keys := SignerKeys{}
	for _, key := range public {
		keys[KeyID(key)] = key
	}
	return keys
}

// KeyID is the first 8 bytes of the SHA-256 of a public key, in hex.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Open verifies the signature and then decodes the payload into target.
func (k SignerKeys) Open(domain Domain, signed Signed, target any) error {
	if err := k.Verify(domain, signed); err != nil {
		return err
	}
	return json.Unmarshal(signed.Payload, target)
}

// Verify checks the signature of a payload that need not be JSON, such as a file.
func (k SignerKeys) Verify(domain Domain, signed Signed) error {
	key, known := k[signed.KID]
	if !known || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signingInput(domain, signed.Payload), signed.Sig) {
		return ErrSignature
	}
	return nil
}

// Sign encodes value and signs it. Only a platform has the private key.
func Sign(domain Domain, value any, key ed25519.PrivateKey) (Signed, error) {
	payload, err := json.Marshal(value)
	if err != nil {
		return Signed{}, err
	}
	return SignBytes(domain, payload, key), nil
}

// SignBytes signs bytes as they are.
func SignBytes(domain Domain, payload []byte, key ed25519.PrivateKey) Signed {
	public, _ := key.Public().(ed25519.PublicKey)
	return Signed{Payload: payload, Sig: ed25519.Sign(key, signingInput(domain, payload)), KID: KeyID(public)}
}

func signingInput(domain Domain, payload []byte) []byte {
	input := make([]byte, 0, len(domain)+1+len(payload))
	input = append(input, domain...)
	input = append(input, 0)
	return append(input, payload...)
}
