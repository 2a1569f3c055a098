package mockbank

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
)

// The files of a bank's directory.
const (
	fileKeys     = "bank-keys.json" // 0600
	fileDatabase = "bank.db"
	filePartner  = "partner.json" // 0600: what the partner is given
)

// ErrNoKeys means that a directory has a database but not the keys for it.
var ErrNoKeys = errors.New("the key file of this bank's directory is missing: its cards cannot be opened")

// keys are all secrets of a bank and its profile, made at first start.
type keys struct {
	Seal    []byte // AES-256: what rests in the database
	MAC     []byte // of card numbers and codes
	Answer  []byte // Ed25519 seed: answers and statements
	Gateway []byte // RSA, PKCS #8: callbacks
	CACert  []byte // DER
	CAKey   []byte // PKCS #8
	Leaf    []byte // PKCS #8
	Partner []byte // Ed25519 seed, for the partner's file

	Freeze, RefundOnce, Legacy bool

	aead    cipher.AEAD
	gateway *rsa.PrivateKey
}

// loadKeys reads the keys of a directory or makes them. Two processes may start at
// once: the lock lets one of them make the keys.
func loadKeys(config Config) (*keys, error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(config.Dir, fileKeys+".lock"))
	if err := lock.Lock(); err != nil {
		return nil, err
	}
	defer func() { _ = lock.Unlock() }()
	file := filepath.Join(config.Dir, fileKeys)
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if Exists(config.Dir) {
			return nil, ErrNoKeys
		}
		made, err := makeKeys(config)
		if err != nil {
			return nil, err
		}
		if raw, err = json.Marshal(made); err != nil {
			return nil, err
		}
		if err := writeSecret(file, raw); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	k := &keys{}
	if err := json.Unmarshal(raw, k); err != nil || len(k.Answer) != ed25519.SeedSize || len(k.Partner) != ed25519.SeedSize {
		return nil, errors.New("the key file of the bank is damaged")
	}
	return k, k.open()
}

func (k *keys) open() error {
	block, err := aes.NewCipher(k.Seal)
	if err != nil {
		return errors.New("the key file of the bank is damaged")
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(k.Gateway)
	if err != nil {
		return err
	}
	gateway, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return errors.New("the gateway key of the bank is not RSA")
	}
	k.gateway = gateway
	return nil
}

func makeKeys(config Config) (*keys, error) {
	k := &keys{
		Seal: randomBytes(32), MAC: randomBytes(32), Answer: randomBytes(ed25519.SeedSize), Partner: randomBytes(ed25519.SeedSize),
		Freeze: config.Freeze, RefundOnce: config.RefundOnce, Legacy: config.Legacy,
	}
	gateway, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	if k.Gateway, err = x509.MarshalPKCS8PrivateKey(gateway); err != nil {
		return nil, err
	}
	return k, k.makeTLS()
}

func (k *keys) makeTLS() error {
	var made [2]*ecdsa.PrivateKey
	for i, into := range []*[]byte{&k.CAKey, &k.Leaf} {
		var err error
		if made[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		if *into, err = x509.MarshalPKCS8PrivateKey(made[i]); err != nil {
			return err
		}
	}
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // clocks of computers are wrong
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Demo Bank CA"}, NotBefore: start, NotAfter: start.AddDate(40, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	var err error
	k.CACert, err = x509.CreateCertificate(rand.Reader, template, template, made[0].Public(), made[0])
	return err
}

func (k *keys) answerKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Answer) }

func (k *keys) partnerPublic() ed25519.PublicKey {
	public, _ := ed25519.NewKeyFromSeed(k.Partner).Public().(ed25519.PublicKey)
	return public
}

func (k *keys) partnerThumbprint() string { return api.Thumbprint(k.partnerPublic()) }

func (k *keys) partner(address string) bankapi.Partner {
	gateway, _ := x509.MarshalPKIXPublicKey(k.gateway.Public())
	answer, _ := k.answerKey().Public().(ed25519.PublicKey)
	return bankapi.Partner{
		Bank: BankID, Name: BankName, MerchantID: PartnerID, URL: address, CA: k.CACert, AnswerKey: answer, GatewayKey: gateway,
		Key: k.Partner, Freeze: k.Freeze, RefundOnce: k.RefundOnce, Legacy: k.Legacy, Demo: true,
	}
}

// mac is a keyed hash of what must be found or compared without being readable.
func (k *keys) mac(purpose string, parts ...string) []byte {
	mac := hmac.New(sha256.New, k.MAC)
	for _, part := range append([]string{purpose}, parts...) {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)
}

// seal and open keep what rests in the database: 12 bytes nonce ‖ AES-256-GCM with
// its purpose authenticated.
func (k *keys) seal(purpose, plain string) []byte {
	nonce := randomBytes(k.aead.NonceSize())
	return k.aead.Seal(nonce, nonce, []byte(plain), []byte(purpose))
}

func (k *keys) unseal(purpose string, sealed []byte) (string, error) {
	size := k.aead.NonceSize()
	if len(sealed) < size {
		return "", fmt.Errorf("sealed %s is damaged", purpose)
	}
	plain, err := k.aead.Open(nil, sealed[:size], sealed[size:], []byte(purpose))
	if err != nil {
		return "", fmt.Errorf("sealed %s does not open with the key file of this directory", purpose)
	}
	return string(plain), nil
}

// writeSecret writes a 0600 file completely or not at all.
func writeSecret(file string, data []byte) error {
	handle, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = handle.Write(data)
	if err := errors.Join(err, handle.Sync(), handle.Close()); err != nil {
		return errors.Join(err, os.Remove(handle.Name()))
	}
	return os.Rename(handle.Name(), file)
}
