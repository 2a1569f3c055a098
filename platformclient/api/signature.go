package api

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests are signed in the form of RFC 9421 (HTTP Message Signatures) with
// Ed25519, in one fixed shape:
//
//	Content-Digest:  sha-256=:BASE64:
//	Signature-Input: wallet=("@method" "@authority" "@path" "@query" "content-digest"
//	                 "idempotency-key" "authorization" "wallet-journal")
//	                 ;created=SECONDS;keyid="THUMBPRINT";nonce="NONCE";tag="wallet/request/1"
//	Signature:       wallet=:BASE64 of 64 bytes:
//
// (one line each). Everything is always covered; a header that a request does not
// carry is signed as an empty value, so that none can be added on the way. This is
// stricter than the RFC, which would leave it out.

// SignatureTag is the tag parameter: a signature made for another purpose with the
// same key is not a request.
const SignatureTag = "wallet/request/1"

const (
	headerContentDigest  = "Content-Digest"
	headerSignatureInput = "Signature-Input"
	headerSignature      = "Signature"

	signatureLabel     = "wallet"
	maxSignatureHeader = 1024
	maxNonce           = 128
	thumbprintLen      = 43 // base64url of 32 bytes, without padding
)

// signedComponents are covered by every request signature, in this order.
var signedComponents = []string{
	"@method", "@authority", "@path", "@query",
	"content-digest", "idempotency-key", "authorization", "wallet-journal",
}

// ErrRequestSignature means that a request is not signed as this package signs.
// The wrapped text says which part was wrong and never holds a value of a header.
var ErrRequestSignature = errors.New("the request is not signed by the device")

// SignatureFacts is what a verified signature says. The caller still checks that
// the nonce is one of its own and not older than 5 minutes; Created is only for
// logs, because clocks of computers are wrong (protocol §2.10).
type SignatureFacts struct {
	KeyID   string
	Nonce   string
	Created time.Time
}

// Thumbprint is the key identifier of a device key: base64url, without padding,
// of the SHA-256 of the 32 bytes of the public key.
func Thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// SignRequest sets Content-Digest, Signature-Input and Signature. All other
// covered headers must be set before; nonce is the platform's latest one.
func SignRequest(req *http.Request, body []byte, key ed25519.PrivateKey, nonce string, now time.Time) error {
	if !validNonce(nonce) {
		return errors.New("the platform's nonce is not usable in a signature")
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return errors.New("the device key is not an Ed25519 key")
	}
	req.Header.Set(headerContentDigest, contentDigest(body))
	params := signatureParams(SignatureFacts{KeyID: Thumbprint(public), Nonce: nonce, Created: now})
	base, err := signatureBase(req, signedComponents, params)
	if err != nil {
		return err
	}
	req.Header.Set(headerSignatureInput, signatureLabel+"="+params)
	req.Header.Set(headerSignature, signatureLabel+"=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(base)))+":")
	return nil
}

// VerifyRequest checks the body's digest and the signature over every component.
// lookup gives the public key of a key identifier; it is asked only for
// identifiers of the right form, and the key it gives must have that identifier.
func VerifyRequest(req *http.Request, body []byte, lookup func(keyID string) (ed25519.PublicKey, error)) (SignatureFacts, error) {
	input, err := singleHeader(req, headerSignatureInput)
	if err != nil {
		return SignatureFacts{}, err
	}
	params, labelled := strings.CutPrefix(input, signatureLabel+"=")
	facts, err := parseSignatureParams(params)
	if !labelled || err != nil {
		return SignatureFacts{}, signatureError("Signature-Input has another form")
	}
	signature, err := parseSignature(req)
	if err != nil {
		return SignatureFacts{}, err
	}
	digest, err := singleHeader(req, headerContentDigest)
	if err != nil {
		return SignatureFacts{}, err
	}
	if subtle.ConstantTimeCompare([]byte(digest), []byte(contentDigest(body))) != 1 {
		return SignatureFacts{}, signatureError("the digest is of another body")
	}
	base, err := signatureBase(req, signedComponents, params)
	if err != nil {
		return SignatureFacts{}, err
	}
	key, err := lookup(facts.KeyID)
	if err != nil {
		return SignatureFacts{}, err
	}
	if len(key) != ed25519.PublicKeySize || Thumbprint(key) != facts.KeyID || !ed25519.Verify(key, []byte(base), signature) {
		return SignatureFacts{}, signatureError("the signature does not verify")
	}
	return facts, nil
}

func signatureError(text string) error { return fmt.Errorf("%w: %s", ErrRequestSignature, text) }

// signatureParams writes the value of @signature-params in its one fixed form.
func signatureParams(facts SignatureFacts) string {
	return fmt.Sprintf(`%s;created=%d;keyid="%s";nonce="%s";tag="%s"`,
		componentList(signedComponents), facts.Created.Unix(), facts.KeyID, facts.Nonce, SignatureTag)
}

// parseSignatureParams accepts exactly what signatureParams writes: it takes the
// three values out, writes the line again and compares. What a lenient parser
// would have to think about (order, spaces, doubles) is refused that way.
func parseSignatureParams(params string) (SignatureFacts, error) {
	bad := signatureError("Signature-Input has another form")
	rest, found := strings.CutPrefix(params, componentList(signedComponents)+";created=")
	if !found {
		return SignatureFacts{}, bad
	}
	created, rest, found := strings.Cut(rest, `;keyid="`)
	seconds, err := strconv.ParseInt(created, 10, 48)
	if !found || err != nil || seconds < 0 {
		return SignatureFacts{}, bad
	}
	keyID, rest, found := strings.Cut(rest, `";nonce="`)
	if !found || !validThumbprint(keyID) {
		return SignatureFacts{}, bad
	}
	nonce, _, found := strings.Cut(rest, `";tag="`)
	if !found || !validNonce(nonce) {
		return SignatureFacts{}, bad
	}
	facts := SignatureFacts{KeyID: keyID, Nonce: nonce, Created: time.Unix(seconds, 0).UTC()}
	if signatureParams(facts) != params {
		return SignatureFacts{}, bad
	}
	return facts, nil
}

func parseSignature(req *http.Request) ([]byte, error) {
	value, err := singleHeader(req, headerSignature)
	if err != nil {
		return nil, err
	}
	encoded, opened := strings.CutPrefix(value, signatureLabel+"=:")
	encoded, closed := strings.CutSuffix(encoded, ":")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !opened || !closed || err != nil || len(raw) != ed25519.SignatureSize {
		return nil, signatureError("Signature has another form")
	}
	return raw, nil
}

func componentList(components []string) string {
	return `("` + strings.Join(components, `" "`) + `")`
}

// signatureBase builds the lines that are signed (RFC 9421 §2.5).
func signatureBase(req *http.Request, components []string, params string) (string, error) {
	var base strings.Builder
	for _, name := range components {
		value, err := componentValue(req, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&base, "\"%s\": %s\n", name, value)
	}
	fmt.Fprintf(&base, "\"@signature-params\": %s", params)
	return base.String(), nil
}

// componentValue is the value of one component: RFC 9421 §2.2 for those that begin
// with @, the field itself for all others.
func componentValue(req *http.Request, name string) (string, error) {
	switch name {
	case "@method":
		return req.Method, nil
	case "@authority":
		host := req.Host
		if host == "" && req.URL != nil {
			host = req.URL.Host
		}
		return strings.TrimSuffix(strings.ToLower(host), ":443"), nil
	case "@path":
		if path := req.URL.EscapedPath(); path != "" {
			return path, nil
		}
		return "/", nil
	case "@query":
		return "?" + req.URL.RawQuery, nil
	}
	values := req.Header.Values(name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", signatureError(name + " stands there more than once")
	case strings.ContainsAny(values[0], "\r\n"):
		return "", signatureError(name + " has more than one line")
	}
	return strings.TrimSpace(values[0]), nil
}

func singleHeader(req *http.Request, name string) (string, error) {
	values := req.Header.Values(name)
	if len(values) != 1 || len(values[0]) > maxSignatureHeader {
		return "", signatureError(name + " is missing, repeated or too long")
	}
	return values[0], nil
}

// contentDigest is the one algorithm of RFC 9530 that is used here.
func contentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// validNonce keeps a nonce inside what a quoted string can hold without escapes.
func validNonce(nonce string) bool {
	if nonce == "" || len(nonce) > maxNonce {
		return false
	}
	for _, c := range []byte(nonce) {
		if c <= ' ' || c >= 0x7F || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func validThumbprint(keyID string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(keyID)
	return len(keyID) == thumbprintLen && err == nil && len(raw) == sha256.Size
}
