package mockplatform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
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
)

// The files of a platform's directory.
const (
	fileKey      = "hsm.key"      // 32 bytes in hex, 0600: whoever lacks it can open nothing
	fileSecrets  = "keys.sealed"  // secrets, AES-GCM under hsm.key
	fileDatabase = "platform.db"  // SQLite
	fileProfile  = "platform.pem" // what a client starts from
	fileLock     = "platform.lock"
	fileEpoch    = "epoch" // highest epoch that this directory has seen
)

// ErrNoKeyFile means that a directory holds sealed keys but not the key file.
var ErrNoKeyFile = errors.New("the key file of this platform's directory is missing: its cards and keys cannot be opened")

// sealer seals what rests on the disk: 12 bytes nonce ‖ AES-256-GCM. The purpose is
// authenticated, so that a sealed thing cannot take another one's place.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, errors.New("the key file is damaged")
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

func (s sealer) seal(purpose string, plain []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return s.aead.Seal(nonce, nonce, plain, []byte(purpose))
}

func (s sealer) open(purpose string, sealed []byte) ([]byte, error) {
	size := s.aead.NonceSize()
	if len(sealed) < size {
		return nil, fmt.Errorf("sealed %s is damaged", purpose)
	}
	plain, err := s.aead.Open(nil, sealed[:size], sealed[size:], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("sealed %s does not open with the key file of this directory", purpose)
	}
	return plain, nil
}

// secrets are all keys of a platform but those of imported cards. They are made at
// first start; none of them is a constant anywhere.
type secrets struct {
	Demo        bool
	MasterDLK   []byte // 16 bytes
	MasterDPK   []byte // 16 bytes
	MasterDTK   []byte // 16 bytes
	Signers     [2][]byte
	HPKE        []byte
	Pepper      []byte
	NonceKey    []byte
	CACert      []byte // DER
	CAKey       []byte // PKCS #8
	LeafKey     []byte // PKCS #8; its public key is pinned
	SpareKey    []byte // PKCS #8; pinned as well, for the day when the first one must go
	Credentials *api.DemoCredentials
}

// loadSecrets reads the keys of a directory or makes them at first start. Two
// processes may start at once: the lock lets one of them make the keys.
func loadSecrets(dir string, demo bool) (*secrets, sealer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, sealer{}, err
	}
	lock := flock.New(filepath.Join(dir, fileSecrets+".lock"))
	if err := lock.Lock(); err != nil {
		return nil, sealer{}, err
	}
	defer func() { _ = lock.Unlock() }()
	sealed, err := os.ReadFile(filepath.Join(dir, fileSecrets))
	switch {
	case err == nil:
		return openSecrets(dir, sealed)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, sealer{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, fileDatabase)); err == nil {
		return nil, sealer{}, fmt.Errorf("%s is missing although there is a database", fileSecrets)
	}
	return makeSecrets(dir, demo)
}

func openSecrets(dir string, sealed []byte) (*secrets, sealer, error) {
	text, err := os.ReadFile(filepath.Join(dir, fileKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sealer{}, ErrNoKeyFile
	}
	if err != nil {
		return nil, sealer{}, err
	}
	key, err := hex.DecodeString(string(text))
	if err != nil {
		return nil, sealer{}, errors.New("the key file is damaged")
	}
	box, err := newSealer(key)
	if err != nil {
		return nil, sealer{}, err
	}
	plain, err := box.open("secrets", sealed)
	if err != nil {
		return nil, sealer{}, err
	}
	kept := &secrets{}
	return kept, box, json.Unmarshal(plain, kept)
}

func makeSecrets(dir string, demo bool) (*secrets, sealer, error) {
	made := &secrets{
		Demo: demo, MasterDLK: randomBytes(16), MasterDPK: randomBytes(16), MasterDTK: randomBytes(16),
		Signers: [2][]byte{randomBytes(ed25519.SeedSize), randomBytes(ed25519.SeedSize)},
		Pepper:  randomBytes(32), NonceKey: randomBytes(32),
	}
	if demo {
		made.Credentials = &api.DemoCredentials{
			LoginPassword:   base64.RawURLEncoding.EncodeToString(randomBytes(9)),
			PaymentPassword: strongDigits(), SMSCode: randomDigits(6),
		}
	}
	sealKey, err := api.NewSealKey()
	if err != nil {
		return nil, sealer{}, err
	}
	if made.HPKE, err = sealKey.Bytes(); err != nil {
		return nil, sealer{}, err
	}
	if err := made.makeTLS(); err != nil {
		return nil, sealer{}, err
	}
	key := randomBytes(32)
	box, err := newSealer(key)
	if err != nil {
		return nil, sealer{}, err
	}
	plain, err := json.Marshal(made)
	if err != nil {
		return nil, sealer{}, err
	}
	if err := writeSecret(filepath.Join(dir, fileKey), []byte(hex.EncodeToString(key))); err != nil {
		return nil, sealer{}, err
	}
	return made, box, writeSecret(filepath.Join(dir, fileSecrets), box.seal("secrets", plain))
}

// makeTLS makes the platform's own certificate authority and two server keys.
func (s *secrets) makeTLS() error {
	keys := make([]*ecdsa.PrivateKey, 3)
	encoded := make([][]byte, len(keys))
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		if encoded[i], err = x509.MarshalPKCS8PrivateKey(keys[i]); err != nil {
			return err
		}
	}
	// A generous validity: clocks of computers are wrong, and the pins decide.
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Wallet Platform CA"},
		NotBefore: start, NotAfter: start.AddDate(40, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, keys[0].Public(), keys[0])
	if err != nil {
		return err
	}
	s.CACert, s.CAKey, s.LeafKey, s.SpareKey = der, encoded[0], encoded[1], encoded[2]
	return nil
}

// writeSecret writes a 0600 file completely or not at all.
func writeSecret(file string, data []byte) error {
	temporary := file + ".new"
	handle, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = handle.Write(data)
	if err := errors.Join(err, handle.Sync(), handle.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

func randomBytes(count int) []byte {
	bytes := make([]byte, count)
	_, _ = rand.Read(bytes) // never fails: crypto/rand ends the program instead
	return bytes
}

// strongDigits draws a payment password that the rules accept.
func strongDigits() string {
	for {
		if digits := randomDigits(api.PaymentDigits); api.JudgePaymentPassword(digits, "") == "" {
			return digits
		}
	}
}

func randomDigits(count int) string {
	digits := make([]byte, count)
	for i := range digits {
		n, err := rand.Int(rand.Reader, big.NewInt(10))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		digits[i] = '0' + byte(n.Int64())
	}
	return string(digits)
}
