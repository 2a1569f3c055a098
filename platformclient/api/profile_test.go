package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

func testCA(t testing.TB) *x509.Certificate {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	ca, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return ca
}

func testProfile(t testing.TB) Profile {
	key, err := NewSealKey()
	require.NoError(t, err)
	signerA, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signerB, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	ca := testCA(t)
	return Profile{
		CA: ca, URL: "https://127.0.0.1:8443",
		SPKI:    []wallet.Hex{SPKIHash(ca), make(wallet.Hex, 32)},
		Signers: []wallet.Hex{wallet.Hex(signerA), wallet.Hex(signerB)},
		HPKE:    key.PublicKey().Bytes(), Demo: true,
		DemoCredentials: &DemoCredentials{LoginPassword: "a", PaymentPassword: "b", SMSCode: "c"},
	}
}

func TestProfileSurvivesItsFile(t *testing.T) {
	profile := testProfile(t)
	require.True(t, profile.Complete())
	require.Len(t, profile.SignerKeys(), 2)
	file, err := profile.Marshal()
	require.NoError(t, err)
	read, err := ParseProfile(file)
	require.NoError(t, err)
	require.True(t, read.Complete())
	require.True(t, read.CA.Equal(profile.CA))
	read.CA = profile.CA
	require.Equal(t, profile, read)
}

func TestProfileWithACertificateOnlyIsIncomplete(t *testing.T) {
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCA(t).Raw})
	profile, err := ParseProfile(file)
	require.NoError(t, err)
	require.NotNil(t, profile.CA)
	require.False(t, profile.Complete())
	profile.URL = "https://127.0.0.1:1"
	require.False(t, profile.Complete())
	_, err = profile.Marshal()
	require.Error(t, err)
}

func TestProfileRefusesWhatIsWrong(t *testing.T) {
	changes := map[string]func(*Profile){
		"no CA":                                 func(p *Profile) { p.CA = nil },
		"no url":                                func(p *Profile) { p.URL = "" },
		"plain http":                            func(p *Profile) { p.URL = "http://127.0.0.1" },
		"url with a path":                       func(p *Profile) { p.URL = "https://127.0.0.1/v1" },
		"url with a user":                       func(p *Profile) { p.URL = "https://a:b@127.0.0.1" },
		"one pin":                               func(p *Profile) { p.SPKI = p.SPKI[:1] },
		"the same pin twice":                    func(p *Profile) { p.SPKI[1] = p.SPKI[0] },
		"short pin":                             func(p *Profile) { p.SPKI[1] = p.SPKI[1][:31] },
		"no signer":                             func(p *Profile) { p.Signers = nil },
		"short signer":                          func(p *Profile) { p.Signers[0] = p.Signers[0][:31] },
		"no hpke":                               func(p *Profile) { p.HPKE = nil },
		"demo secrets in a production platform": func(p *Profile) { p.Demo = false },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			profile := testProfile(t)
			change(&profile)
			require.False(t, profile.Complete())
			_, err := profile.Marshal()
			require.Error(t, err)
		})
	}
}

func TestParseProfileRefusesStrangeFiles(t *testing.T) {
	file, err := testProfile(t).Marshal()
	require.NoError(t, err)
	block := func(kind, content string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)})
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCA(t).Raw})
	files := map[string][]byte{
		"empty":               nil,
		"text":                []byte("hello"),
		"no certificate":      block("WALLET PLATFORM", "{}"),
		"two certificates":    append(append([]byte{}, cert...), file...),
		"a private key":       append(append([]byte{}, file...), block("PRIVATE KEY", "x")...),
		"not a certificate":   block("CERTIFICATE", "x"),
		"not JSON":            append(append([]byte{}, cert...), block("WALLET PLATFORM", "x")...),
		"an unknown field":    append(append([]byte{}, cert...), block("WALLET PLATFORM", `{"x":1}`)...),
		"two JSON objects":    append(append([]byte{}, cert...), block("WALLET PLATFORM", `{}{}`)...),
		"nothing in the JSON": append(append([]byte{}, cert...), block("WALLET PLATFORM", `{}`)...),
		"too large":           append(append([]byte{}, file...), make([]byte, maxProfile)...),
	}
	for name, content := range files {
		_, err := ParseProfile(content)
		require.Error(t, err, name)
	}
}

func FuzzParseProfile(f *testing.F) {
	file, err := testProfile(f).Marshal()
	require.NoError(f, err)
	f.Add(file)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCA(f).Raw}))
	f.Fuzz(func(t *testing.T, data []byte) {
		profile, err := ParseProfile(data)
		if err != nil || !profile.Complete() {
			return
		}
		written, err := profile.Marshal()
		require.NoError(t, err)
		again, err := ParseProfile(written)
		require.NoError(t, err)
		require.Equal(t, profile.SPKI, again.SPKI)
		require.Equal(t, profile.Signers, again.Signers)
		require.Equal(t, profile.URL, again.URL)
	})
}
