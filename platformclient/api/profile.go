package api

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"

	"walletcompanion/wallet"
)

// The PEM blocks of a platform profile file.
const (
	pemCertificate = "CERTIFICATE"
	pemPlatform    = "WALLET PLATFORM"

	maxProfile = 64 << 10
)

// Profile is what a client is given to start from (protocol §2.3): a PEM file with
// one CERTIFICATE block, the CA, and one WALLET PLATFORM block, whose bytes are the
// JSON of all other fields. A file with only the certificate gives TLS and nothing
// else: Complete is false then, because a password could not be sealed and a signed
// answer not be told from a forged one.
type Profile struct {
	CA      *x509.Certificate `json:"-"`
	URL     string            `json:"url"`    // https://HOST[:PORT], no path
	SPKI    []wallet.Hex      `json:"spki"`   // SHA-256 of the servers' public keys: current and spare
	Signers []wallet.Hex      `json:"signer"` // Ed25519 public keys, 32 bytes: current and spare
	HPKE    wallet.Hex        `json:"hpke"`   // X25519 public key, 32 bytes, for passwords
	Demo    bool              `json:"demo"`

	// DemoCredentials stand in the profile of a demo platform only. They are made
	// with the platform's directory, so that no password is a constant anywhere.
	DemoCredentials *DemoCredentials `json:"demo_credentials,omitempty"`
}

// DemoCredentials are the well-known secrets of one demo platform.
type DemoCredentials struct {
	LoginPassword   string `json:"login_password"`
	PaymentPassword string `json:"payment_password"`
	SMSCode         string `json:"sms_code"`
}

// keysEach is how many pins and signer keys a profile holds: current and spare.
const keysEach = 2

// SPKIHash is the pin of a certificate: SHA-256 of its SubjectPublicKeyInfo.
func SPKIHash(cert *x509.Certificate) wallet.Hex {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return sum[:]
}

// ParseProfile reads a profile file and refuses anything that it does not know.
func ParseProfile(data []byte) (Profile, error) {
	if len(data) > maxProfile {
		return Profile{}, errors.New("platform profile: the file is too large")
	}
	var certificate, platform *pem.Block
	for rest := data; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		switch {
		case block.Type == pemCertificate && certificate == nil:
			certificate = block
		case block.Type == pemPlatform && platform == nil:
			platform = block
		default:
			return Profile{}, errors.New("platform profile: a block is unknown or stands there twice")
		}
	}
	if certificate == nil {
		return Profile{}, errors.New("platform profile: there is no CA certificate")
	}
	var profile Profile
	if platform != nil {
		decoder := json.NewDecoder(bytes.NewReader(platform.Bytes))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&profile); err != nil {
			return Profile{}, fmt.Errorf("platform profile: %w", err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return Profile{}, errors.New("platform profile: something follows the fields")
		}
	}
	ca, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return Profile{}, fmt.Errorf("platform profile: CA certificate: %w", err)
	}
	profile.CA = ca
	if platform == nil {
		return profile, nil
	}
	return profile, profile.check()
}

// Marshal writes the file that ParseProfile reads.
func (p Profile) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	fields, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: p.CA.Raw})
	return append(file, pem.EncodeToMemory(&pem.Block{Type: pemPlatform, Bytes: fields})...), nil
}

// Complete reports whether login and money functions are possible. Where it is
// false they answer PROFILE_INCOMPLETE.
func (p Profile) Complete() bool { return p.check() == nil }

// SignerKeys are the keys against which answers are verified.
func (p Profile) SignerKeys() wallet.SignerKeys {
	keys := wallet.SignerKeys{}
	for _, raw := range p.Signers {
		if len(raw) == ed25519.PublicKeySize {
			keys[wallet.KeyID(ed25519.PublicKey(raw))] = ed25519.PublicKey(raw)
		}
	}
	return keys
}

func (p Profile) check() error {
	if p.CA == nil {
		return errors.New("platform profile: there is no CA certificate")
	}
	if err := checkURL(p.URL); err != nil {
		return err
	}
	if !twoDifferent(p.SPKI, sha256.Size) {
		return errors.New("platform profile: spki holds two different SHA-256 values")
	}
	if !twoDifferent(p.Signers, ed25519.PublicKeySize) {
		return errors.New("platform profile: signer holds two different Ed25519 keys")
	}
	if _, err := sealKEM().NewPublicKey(p.HPKE); err != nil {
		return errors.New("platform profile: hpke is not an X25519 key")
	}
	if p.DemoCredentials != nil && !p.Demo {
		return errors.New("platform profile: only a demo platform has demo credentials")
	}
	return nil
}

// checkURL accepts https://HOST[:PORT] and nothing more.
func checkURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" || parsed.User != nil ||
		(parsed.Path != "" && parsed.Path != "/") || parsed.RawQuery != "" || parsed.Fragment != "" {
		return errors.New("platform profile: url is not of the form https://HOST:PORT")
	}
	return nil
}

func twoDifferent(values []wallet.Hex, size int) bool {
	if len(values) != keysEach || bytes.Equal(values[0], values[1]) {
		return false
	}
	return len(values[0]) == size && len(values[1]) == size
}
