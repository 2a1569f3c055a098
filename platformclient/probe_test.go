package platformclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func probe(t *testing.T, profile api.Profile) Probe {
	return NewProbe(t.Context(), profile, "1.0", noProxy, time.Now)
}

func TestProbe(t *testing.T) {
	p := newFake(t)
	found := probe(t, p.profile)
	require.Empty(t, found.Trouble)
	require.Equal(t, http.StatusOK, found.Status)
	require.True(t, found.Signed)
	require.Len(t, p.requests("GET "+api.PathHello), 1)
	require.Empty(t, p.requests("POST "+api.PathSession), "nobody logs in")

	// A profile that is only a certificate: nothing is verified but TLS, and the clock
	// is that of the answer.
	found = probe(t, api.Profile{CA: p.profile.CA, URL: p.profile.URL})
	require.Empty(t, found.Trouble)
	require.False(t, found.Signed)
	require.Less(t, found.Ahead.Abs(), time.Minute)
}

// Ahead is the platform's clock minus ours, whichever clock is wrong.
func TestProbe_Clock(t *testing.T) {
	p := newFake(t)
	for _, wrong := range []time.Duration{-time.Hour, 0, 90 * time.Minute} {
		p.handle("GET "+api.PathHello, func(w http.ResponseWriter, _ seen) {
			reply(w, http.StatusOK, p.sign(wallet.DomainHello, api.Hello{Time: time.Now().UTC(), Nonce: "n", Epoch: 1}))
		})
		ours := func() time.Time { return time.Now().Add(wrong) }
		found := NewProbe(t.Context(), p.profile, "1.0", noProxy, ours)
		require.Empty(t, found.Trouble)
		require.InDelta(t, -wrong.Seconds(), found.Ahead.Seconds(), 30)
	}
}

func TestProbe_Troubles(t *testing.T) {
	p := newFake(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := closed.Addr().String()
	require.NoError(t, closed.Close())
	profile := func(change func(*api.Profile)) api.Profile {
		changed := p.profile
		change(&changed)
		return changed
	}
	require.Equal(t, TroubleRefused, probe(t, profile(func(p *api.Profile) { p.URL = "https://" + nobody })).Trouble)
	require.Equal(t, TroubleUnknown, probe(t, profile(func(p *api.Profile) { p.CA = newAuthority(t).cert })).Trouble)
	require.Equal(t, TroublePin, probe(t, profile(func(p *api.Profile) { p.SPKI = []wallet.Hex{make(wallet.Hex, 32), make(wallet.Hex, 32)} })).Trouble)
	require.Equal(t, TroubleUnsigned, probe(t, profile(func(p *api.Profile) { p.Signers = []wallet.Hex{make(wallet.Hex, 32), make(wallet.Hex, 32)} })).Trouble)
	require.Equal(t, TroubleTLS, probe(t, newFakeTLS(t, tls.VersionTLS12).profile).Trouble)

	_, port, err := net.SplitHostPort(p.server.Listener.Addr().String())
	require.NoError(t, err)
	// The unspecified address reaches this machine, needs no resolver, and is not the
	// one that the certificate names.
	require.Equal(t, TroubleName, probe(t, profile(func(p *api.Profile) { p.URL = "https://0.0.0.0:" + port })).Trouble)

	p.handle("GET "+api.PathHello, func(w http.ResponseWriter, _ seen) { w.WriteHeader(http.StatusServiceUnavailable) })
	found := probe(t, p.profile)
	require.Equal(t, TroubleStatus, found.Trouble)
	require.Equal(t, http.StatusServiceUnavailable, found.Status)
	p.handle("GET "+api.PathHello, func(w http.ResponseWriter, _ seen) { _, _ = io.WriteString(w, "<html>welcome to this hotel</html>") })
	require.Equal(t, TroubleStatus, probe(t, p.profile).Trouble)

	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	require.Equal(t, TroubleTimeout, NewProbe(ctx, p.profile, "1.0", noProxy, time.Now).Trouble)
}

// A proxy that is not there, one that wants a password, and one that works.
func TestProbe_Proxy(t *testing.T) {
	p := newFake(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := closed.Addr().String()
	require.NoError(t, closed.Close())
	through := func(address string) Probe {
		return NewProbe(t.Context(), p.profile, "1.0", func(*http.Request) (*url.URL, error) { return url.Parse("http://" + address) }, time.Now)
	}
	require.Equal(t, TroubleProxy, through(nobody).Trouble)
	unreadable := NewProbe(t.Context(), p.profile, "1.0", func(*http.Request) (*url.URL, error) { return nil, errors.New("http://li:secret@[proxy is no address") }, time.Now)
	require.Equal(t, TroubleProxy, unreadable.Trouble)
	require.NotContains(t, unreadable.Err.Error(), "secret")

	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer refusing.Close()
	require.Equal(t, TroubleProxy, through(refusing.Listener.Addr().String()).Trouble)

	asked := 0
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
	defer tunnel.Close()
	found := through(tunnel.Listener.Addr().String())
	require.Empty(t, found.Trouble, found.Err)
	require.True(t, found.Signed)
	require.Equal(t, 1, asked)
}

func TestTroubleOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Trouble
	}{
		{&net.DNSError{Err: "no such host", Name: "pay.example", IsNotFound: true}, TroubleDNS},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, TroubleTimeout},
		{x509.CertificateInvalidError{Reason: x509.Expired}, TroubleExpired},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, TroubleNetwork},
		{errPin, TroublePin},
		{io.ErrUnexpectedEOF, TroubleNetwork},
		{errors.New("Proxy Authentication Required"), TroubleProxy},
	} {
		require.Equal(t, test.want, troubleOf(test.err), test.err)
	}
}
