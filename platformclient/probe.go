package platformclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Trouble names what kept a probe from the platform; empty where nothing did.
type Trouble string

// The troubles of a probe.
const (
	TroubleDNS      Trouble = "dns"       // the name is not known
	TroubleRefused  Trouble = "refused"   // nobody listens there
	TroubleTimeout  Trouble = "timeout"   // no answer in time
	TroubleNetwork  Trouble = "network"   // any other trouble on the way
	TroubleProxy    Trouble = "proxy"     // the proxy, and not the platform
	TroubleUnknown  Trouble = "tls-ca"    // a certificate of another authority: often a proxy or virus scanner that opens TLS
	TroubleName     Trouble = "tls-name"  // the certificate is for another name
	TroubleExpired  Trouble = "tls-time"  // the certificate is not valid now: often our clock
	TroublePin      Trouble = "tls-pin"   // the authority is right, the server's key is not
	TroubleTLS      Trouble = "tls"       // any other trouble with TLS, such as an old version
	TroubleStatus   Trouble = "status"    // somebody answered, and not as a platform does
	TroubleUnsigned Trouble = "signature" // a greeting that the platform's signer did not sign
)

// Probe is one greeting of the platform, for diagnosis.
type Probe struct {
	Trouble Trouble
	Err     error
	Status  int // HTTP; 0 without an answer
	// PlatformTime is what the greeting says, signed where the profile has signer keys,
	// else the Date of the answer. Ahead is the platform's clock minus ours in the
	// middle of the exchange.
	PlatformTime time.Time
	Signed       bool
	Ahead        time.Duration
	Took         time.Duration
}

// NewProbe asks the platform of the profile for its greeting: no login, no device
// key, nothing that is counted or kept. proxy chooses the way; it returns nil for none.
func NewProbe(ctx context.Context, profile api.Profile, version string, proxy func(*http.Request) (*url.URL, error), now func() time.Time) Probe {
	transport := newTransport(profile, proxy)
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+tlsTimeout+connectTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(profile.URL, "/")+api.PathHello, nil)
	if err != nil {
		return Probe{Trouble: TroubleNetwork, Err: err}
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "wallet-companion/"+version)
	began := now()
	clock := time.Now()
	response, err := transport.RoundTrip(request)
	probe := Probe{Took: time.Since(clock)}
	if err != nil {
		probe.Trouble, probe.Err = troubleOf(err), err
		return probe
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, api.MaxBody))
	probe.Status = response.StatusCode
	middle := began.Add(probe.Took / 2)
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		probe.PlatformTime = date
		probe.Ahead = date.Add(500 * time.Millisecond).Sub(middle) // whole seconds, cut off
	}
	if response.StatusCode != http.StatusOK {
		probe.Trouble = TroubleStatus
		probe.Err = errors.New(response.Status)
		if response.StatusCode == http.StatusProxyAuthRequired {
			probe.Trouble = TroubleProxy
		}
		return probe
	}
	probe.greeting(profile, body, middle)
	return probe
}

// greeting verifies the signed hello, where the profile has keys to do it.
func (p *Probe) greeting(profile api.Profile, body []byte, middle time.Time) {
	signers := profile.SignerKeys()
	if len(signers) == 0 {
		return
	}
	var carrier wallet.Signed
	var hello api.Hello
	if err := json.Unmarshal(body, &carrier); err != nil {
		p.Trouble, p.Err = TroubleStatus, err
		return
	}
	if err := signers.Open(wallet.DomainHello, carrier, &hello); err != nil {
		p.Trouble, p.Err = TroubleUnsigned, err
		return
	}
	p.PlatformTime, p.Signed, p.Ahead = hello.Time, true, hello.Time.Sub(middle)
}

// troubleOf names the cause of a round trip that failed.
func troubleOf(err error) Trouble {
	var dns *net.DNSError
	var network *net.OpError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &network) && network.Op == "proxyconnect", errors.Is(err, errProxyAddress),
		strings.Contains(err.Error(), "Proxy Authentication Required"):
		return TroubleProxy
	case errors.Is(err, errPin):
		return TroublePin
	case errors.As(err, &authority):
		return TroubleUnknown
	case errors.As(err, &name):
		return TroubleName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return TroubleExpired
	case errors.As(err, &verification), isTLSError(err):
		return TroubleTLS
	case errors.As(err, &dns) && !dns.IsTimeout:
		return TroubleDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return TroubleRefused
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return TroubleTimeout
	}
	return TroubleNetwork
}

func isTimeout(err error) bool {
	var timed interface{ Timeout() bool }
	return errors.As(err, &timed) && timed.Timeout()
}
