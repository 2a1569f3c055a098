package platformclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
)

// Times of protocol §2.11.
const (
	connectTimeout = 3 * time.Second
	tlsTimeout     = 3 * time.Second
	moneyTimeout   = 6 * time.Second  // answer of loads, purchases and attempts, then one retry
	answerTimeout  = 10 * time.Second // answer of everything else
	busyPatience   = 6 * time.Second  // how long a busy platform is asked again: a card session lives 15 s
	nonceLife      = 5 * time.Minute
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 64 << 10
)

// errPin means that the certificate is valid but not the platform's.
var errPin = errors.New("the server's key is none of the two in the platform profile")

// errProxyAddress means that the environment names a proxy in a form that nobody reads.
var errProxyAddress = errors.New("the address of the proxy in the environment cannot be read")

// newTransport speaks TLS 1.3 only, trusts the profile's CA only, and accepts only
// a server whose key is pinned. The certificate chain and the host name are checked
// as usual before the pin is.
func newTransport(profile api.Profile, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	roots := x509.NewCertPool()
	if profile.CA != nil {
		roots.AddCert(profile.CA)
	}
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	chosen := proxy
	proxy = func(request *http.Request) (*url.URL, error) {
		address, err := chosen(request)
		if err != nil { // its text holds the address with user and password
			return nil, errProxyAddress
		}
		return address, nil
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		TLSClientConfig: &tls.Config{
			RootCAs:          roots,
			MinVersion:       tls.VersionTLS13,
			VerifyConnection: func(state tls.ConnectionState) error { return checkPin(profile, state) },
		},
	}
}

// checkPin runs on every connection, resumed ones included. A profile that is only
// a certificate has no pins; login and money functions are refused before they get
// here.
func checkPin(profile api.Profile, state tls.ConnectionState) error {
	if len(profile.SPKI) == 0 {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return errPin
	}
	pin := api.SPKIHash(state.PeerCertificates[0])
	for _, known := range profile.SPKI {
		if bytes.Equal(pin, known) {
			return nil
		}
	}
	return errPin
}

// isTLSError tells a server that is not the platform from a network that fails.
func isTLSError(err error) bool {
	if errors.Is(err, errPin) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	remote, ok := errors.AsType[*net.OpError](err)
	return ok && remote.Op == "remote error" // an alert of the server, such as protocol version
}

// uncounted are the routes that greet and log in: requests are counted after login
// (protocol §2.4).
var uncounted = []string{
	api.PathHello, api.PathSMSCodes, api.PathRegistrations, api.PathDevices,
	api.PathSession, api.PathRefresh, api.PathSessionEnd, api.PathAgreement, api.PathDemoMessages,
}

// counter counts on the wire's side of everything that repeats requests.
type counter struct {
	inner http.RoundTripper

	mu            sync.Mutex
	keys          map[string]bool // idempotency keys seen
	requests      int
	transmissions int
}

// RoundTrip counts one transmission and, where its key is new, one request.
func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	if !slices.Contains(uncounted, req.URL.Path) {
		c.mu.Lock()
		c.transmissions++
		if key := req.Header.Get(api.HeaderIdempotencyKey); key == "" || !c.keys[key] {
			c.keys[key] = true
			c.requests++
		}
		c.mu.Unlock()
	}
	return c.inner.RoundTrip(req)
}

func (c *counter) counts() (requests, transmissions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.transmissions
}

// networkError maps what a round trip returned. Sent says whether a connection
// stood; before that nothing of a request can have left.
func networkError(ctx context.Context, err error, sent bool) *Error {
	if isTLSError(err) {
		return &Error{Kind: KindTLS, Code: CodeTLS, Sent: sent, Err: err}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return &Error{Kind: KindNetwork, Code: CodeNetwork, Sent: sent, Err: err}
}
