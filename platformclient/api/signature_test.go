package api

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test key and the signature of RFC 9421, appendices B.1.4 and B.2.6.
const rfcEd25519Key = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----`

const rfcSignature = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="

func rfcKey(t testing.TB) ed25519.PrivateKey {
	block, _ := pem.Decode([]byte(rfcEd25519Key))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	return parsed.(ed25519.PrivateKey)
}

func TestSignatureBaseOfTheRFC(t *testing.T) {
	req, err := http.NewRequest("POST", "https://example.com/foo?param=Value&Pet=dog", nil)
	require.NoError(t, err)
	req.Header.Set("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Length", "18")
	components := []string{"date", "@method", "@path", "@authority", "content-type", "content-length"}
	base, err := signatureBase(req, components, componentList(components)+`;created=1618884473;keyid="test-key-ed25519"`)
	require.NoError(t, err)
	require.Equal(t, `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`, base)
	require.Equal(t, rfcSignature, base64.StdEncoding.EncodeToString(ed25519.Sign(rfcKey(t), []byte(base))))
}

// signedRequest returns a request as a server receives it.
func signedRequest(t testing.TB, key ed25519.PrivateKey, body []byte) *http.Request {
	req := httptest.NewRequest("POST", "https://platform.example:8443/v1/loads?a=b%20c&d", bytes.NewReader(body))
	req.Header.Set(HeaderIdempotencyKey, "0192f0c4-0000-7000-8000-000000000001")
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set(HeaderJournal, "4:AB")
	require.NoError(t, SignRequest(req, body, key, "n0nce", time.Unix(1700000000, 0)))
	return req
}

func only(key ed25519.PrivateKey) func(string) (ed25519.PublicKey, error) {
	public := key.Public().(ed25519.PublicKey)
	return func(id string) (ed25519.PublicKey, error) {
		if id != Thumbprint(public) {
			return nil, errors.New("unknown device")
		}
		return public, nil
	}
}

func TestSignRequestVerifies(t *testing.T) {
	key, body := rfcKey(t), []byte(`{"amount":5000}`)
	facts, err := VerifyRequest(signedRequest(t, key, body), body, only(key))
	require.NoError(t, err)
	require.Equal(t, SignatureFacts{KeyID: Thumbprint(key.Public().(ed25519.PublicKey)), Nonce: "n0nce", Created: time.Unix(1700000000, 0).UTC()}, facts)
}

func TestVerifyRequestRefusesEveryChange(t *testing.T) {
	key, body := rfcKey(t), []byte(`{"amount":5000}`)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	changes := map[string]func(*http.Request){
		"method":                 func(r *http.Request) { r.Method = "PUT" },
		"host":                   func(r *http.Request) { r.Host = "platform.example" },
		"path":                   func(r *http.Request) { r.URL.Path = "/v1/cards" },
		"query":                  func(r *http.Request) { r.URL.RawQuery = "a=c" },
		"key":                    set(HeaderIdempotencyKey, "0192f0c4-0000-7000-8000-000000000002"),
		"key removed":            func(r *http.Request) { r.Header.Del(HeaderIdempotencyKey) },
		"key twice":              func(r *http.Request) { r.Header.Add(HeaderIdempotencyKey, "x") },
		"token":                  set("Authorization", "Bearer other"),
		"journal removed":        func(r *http.Request) { r.Header.Del(HeaderJournal) },
		"no digest":              func(r *http.Request) { r.Header.Del("Content-Digest") },
		"other digest":           set("Content-Digest", contentDigest([]byte("x"))),
		"no signature":           func(r *http.Request) { r.Header.Del("Signature") },
		"no input":               func(r *http.Request) { r.Header.Del("Signature-Input") },
		"two inputs":             func(r *http.Request) { r.Header.Add("Signature-Input", r.Header.Get("Signature-Input")) },
		"fewer components":       replace("Signature-Input", ` "authorization"`, ""),
		"other order":            replace("Signature-Input", `"@method" "@authority"`, `"@authority" "@method"`),
		"other nonce":            replace("Signature-Input", "n0nce", "m0nce"),
		"other time":             replace("Signature-Input", "1700000000", "1700000001"),
		"time with sign":         replace("Signature-Input", "1700000000", "+1700000000"),
		"other tag":              replace("Signature-Input", SignatureTag, "wallet/else/1"),
		"one more parameter":     replace("Signature-Input", ";tag", `;alg="none";tag`),
		"trailing space":         func(r *http.Request) { r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")+" ") },
		"other label":            replace("Signature", "wallet=", "sig="),
		"short signature":        set("Signature", "wallet=:AAAA:"),
		"a header of 2000 bytes": set("Signature", "wallet=:"+strings.Repeat("A", 2000)+":"),
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			req := signedRequest(t, key, body)
			change(req)
			_, err := VerifyRequest(req, body, only(key))
			require.ErrorIs(t, err, ErrRequestSignature)
		})
	}
}

func replace(header, old, with string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set(header, strings.Replace(r.Header.Get(header), old, with, 1))
	}
}

func TestVerifyRequestRefusesEveryBit(t *testing.T) {
	key, body := rfcKey(t), []byte(`{"amount":5000}`)
	for bit := range len(body) * 8 {
		altered := bytes.Clone(body)
		altered[bit/8] ^= 1 << (bit % 8)
		_, err := VerifyRequest(signedRequest(t, key, body), altered, only(key))
		require.ErrorIs(t, err, ErrRequestSignature, "bit %d of the body", bit)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(signedRequest(t, key, body).Header.Get("Signature"), "wallet=:"), ":"))
	require.NoError(t, err)
	for bit := range len(raw) * 8 {
		altered := bytes.Clone(raw)
		altered[bit/8] ^= 1 << (bit % 8)
		req := signedRequest(t, key, body)
		req.Header.Set("Signature", "wallet=:"+base64.StdEncoding.EncodeToString(altered)+":")
		_, err := VerifyRequest(req, body, only(key))
		require.ErrorIs(t, err, ErrRequestSignature, "bit %d of the signature", bit)
	}
}

func TestVerifyRequestRefusesAKeyOfAnotherName(t *testing.T) {
	key, body := rfcKey(t), []byte("{}")
	other, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	_, err = VerifyRequest(signedRequest(t, key, body), body, func(string) (ed25519.PublicKey, error) { return other, nil })
	require.ErrorIs(t, err, ErrRequestSignature)
	unknown := errors.New("unknown device")
	_, err = VerifyRequest(signedRequest(t, key, body), body, func(string) (ed25519.PublicKey, error) { return nil, unknown })
	require.ErrorIs(t, err, unknown)
}

func TestSignRequestRefusesUnusableNonces(t *testing.T) {
	for _, nonce := range []string{"", `a"b`, `a\b`, "a b", "a\nb", "ä", strings.Repeat("a", maxNonce+1)} {
		req := httptest.NewRequest("GET", "https://platform.example/", nil)
		require.Error(t, SignRequest(req, nil, rfcKey(t), nonce, time.Now()), "%q", nonce)
	}
}

func FuzzVerifyRequest(f *testing.F) {
	key, body := rfcKey(f), []byte("{}")
	req := signedRequest(f, key, body)
	good := []string{req.Header.Get("Signature-Input"), req.Header.Get("Signature"), req.Header.Get("Content-Digest")}
	f.Add(good[0], good[1], good[2])
	f.Add("wallet=();created=1", "wallet=::", "sha-256=::")
	f.Fuzz(func(t *testing.T, input, signature, digest string) {
		req := signedRequest(t, key, body)
		req.Header.Set("Signature-Input", input)
		req.Header.Set("Signature", signature)
		req.Header.Set("Content-Digest", digest)
		_, err := VerifyRequest(req, body, only(key))
		if unchanged := input == good[0] && signature == good[1] && digest == good[2]; (err == nil) != unchanged {
			t.Fatalf("unchanged %v, error %v", unchanged, err)
		}
	})
}
