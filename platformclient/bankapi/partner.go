package bankapi

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/url"
)

// Partner is the file that a bank gives to a partner: where the bank is, its public
// keys, and the key with which this partner signs. It is a secret (0600); the bank
// keeps the public part alone.
type Partner struct {
	Bank       string `json:"bank"` // identifier, such as demo-bank
	Name       string `json:"name"` // for people
	MerchantID string `json:"merchant_id"`
	URL        string `json:"url"`         // https://HOST:PORT
	CA         []byte `json:"ca"`          // DER
	AnswerKey  []byte `json:"answer_key"`  // Ed25519, 32 bytes: signs answers and statements
	GatewayKey []byte `json:"gateway_key"` // RSA, PKIX: signs callbacks
	Key        []byte `json:"key"`         // Ed25519 seed of the partner

	Freeze     bool `json:"freeze"`      // payments are frozen and captured instead of debited at once
	RefundOnce bool `json:"refund_once"` // every payment can be refunded once
	Legacy     bool `json:"legacy"`      // callbacks are signed as of old, which proves nothing
	Demo       bool `json:"demo"`        // offers PathDemoCards and PathDemoTexts
}

const (
	maxPartner = 16 << 10
	maxName    = 64
	leastRSA   = 2048
)

// ParsePartner reads a partner file and refuses whatever it does not know.
func ParsePartner(data []byte) (Partner, error) {
	var p Partner
	if len(data) > maxPartner {
		return p, errors.New("the bank's partner file is too large")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return Partner{}, errors.New("the bank's partner file cannot be read")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Partner{}, errors.New("the bank's partner file holds more than one object")
	}
	return p, p.check()
}

// Marshal writes the file that ParsePartner reads.
func (p Partner) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.MarshalIndent(p, "", "  ")
}

// PrivateKey signs requests to the bank.
func (p Partner) PrivateKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(p.Key) }

// CallbackKey verifies callbacks.
func (p Partner) CallbackKey() *rsa.PublicKey {
	key, _ := parseRSA(p.GatewayKey) // checked when the file was read
	return key
}

func (p Partner) check() error {
	address, err := url.Parse(p.URL)
	if err != nil || address.Scheme != "https" || address.Hostname() == "" || address.User != nil || address.Path != "" || address.RawQuery != "" {
		return errors.New("partner file: url is not of the form https://HOST:PORT")
	}
	if !plain(p.Bank) || !plain(p.MerchantID) || p.Name == "" || len(p.Name) > maxName {
		return errors.New("partner file: bank, name or merchant_id is missing or has another form")
	}
	if _, err := x509.ParseCertificate(p.CA); err != nil {
		return errors.New("partner file: ca is not a certificate")
	}
	if len(p.AnswerKey) != ed25519.PublicKeySize || len(p.Key) != ed25519.SeedSize {
		return errors.New("partner file: a key has another length")
	}
	if _, err := parseRSA(p.GatewayKey); err != nil {
		return errors.New("partner file: gateway_key is not an RSA key of 2048 bits or more")
	}
	return nil
}

func parseRSA(pkix []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(pkix)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < leastRSA {
		return nil, errors.New("not an RSA key of 2048 bits or more")
	}
	return key, nil
}

// plain is what identifiers may hold: it keeps separators out of signed lines and
// statement files.
func plain(text string) bool {
	if text == "" || len(text) > maxName {
		return false
	}
	for _, c := range []byte(text) {
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// ValidSerial tells whether a text can be the serial of an operation.
func ValidSerial(serial string) bool { return plain(serial) }
