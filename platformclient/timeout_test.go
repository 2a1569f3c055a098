package platformclient

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
)

// The times of protocol §2.11, in a bubble where the clock is a fake one: a wire
// that stays silent, not one that breaks.
func TestSilence(t *testing.T) {
	p := newFake(t)
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Int64 // transmissions to swallow
		client := p.loggedIn(t, func(c *Config) {
			c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				if silent.Add(-1) >= 0 {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				if req.Body == nil {
					req.Body = http.NoBody
				}
				recorder := httptest.NewRecorder()
				p.ServeHTTP(recorder, req)
				return recorder.Result(), nil
			})
		})
		p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.grantFor(ask())) })

		silent.Store(1)
		start := time.Now()
		verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
		require.NoError(t, err)
		require.NotNil(t, verdict.Granted)
		require.InDelta(t, 6, time.Since(start).Seconds(), 0.5, "6 s, then the second transmission is answered")

		silent.Store(2)
		start = time.Now()
		_, err = client.Issuer(pin).RequestLoad(t.Context(), ask())
		require.Equal(t, KindNetwork, KindOf(err))
		require.False(t, SurelyNotSent(err))
		require.InDelta(t, 12, time.Since(start).Seconds(), 0.5)
		require.Less(t, time.Since(start), 15*time.Second, "a card session lives 15 s")

		silent.Store(1)
		start = time.Now()
		_, err = client.Account(t.Context())
		require.Equal(t, KindNetwork, KindOf(err))
		require.InDelta(t, 10, time.Since(start).Seconds(), 0.1, "10 s and no second transmission")
	})
}

// A nonce that is older than its five minutes costs one more transmission and no
// greeting; one that dies young is a sign of a restore and costs a greeting.
func TestOldNonceNeedsNoGreeting(t *testing.T) {
	p := newFake(t)
	now := time.Now()
	client := p.loggedIn(t, func(c *Config) { c.Now = func() time.Time { return now } })
	p.handle("GET /v1/account", func(w http.ResponseWriter, _ seen) { reply(w, 200, api.Account{}) })
	greetings := func() int { return len(p.requests("GET " + api.PathHello)) }
	before := greetings()
	now = now.Add(6 * time.Minute)
	p.setNonce("nonce-2")
	_, err := client.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, greetings())
	p.setNonce("nonce-3")
	_, err = client.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, before+1, greetings())
	require.False(t, strings.Contains(p.requests("GET /v1/account")[0].nonce, "3"))
}
