package platformclient

import (
	"context"
	"errors"
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

// A busy platform is asked again when it wants to be, under the same key and in the
// same bytes, and not for longer than an answer may take.
func TestBusyPlatformIsAskedAgainWhenItSays(t *testing.T) {
	p := newFake(t)
	synctest.Test(t, func(t *testing.T) {
		var refusals, asked atomic.Int64
		var after string
		client := p.loggedIn(t, func(c *Config) {
			c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				recorder := httptest.NewRecorder()
				if asked.Add(1); refusals.Add(-1) >= 0 {
					if after != "" {
						recorder.Header().Set("Retry-After", after)
					}
					refuse(recorder, http.StatusServiceUnavailable, api.CodeBusy)
					return recorder.Result(), nil
				}
				if req.Body == nil {
					req.Body = http.NoBody
				}
				p.ServeHTTP(recorder, req)
				return recorder.Result(), nil
			})
		})
		p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) { reply(w, 200, p.grantFor(ask())) })
		for _, row := range []struct {
			name           string
			refusals       int64
			after          string
			transmissions  int64
			least, atMost  time.Duration
			granted        bool
			retryAfterTold time.Duration
		}{
			{"once", 1, "2", 2, 2 * time.Second, 3 * time.Second, true, 0},
			{"twice", 2, "2", 3, 4 * time.Second, 6 * time.Second, true, 0},
			{"too often", 100, "2", 4, 4 * time.Second, 7 * time.Second, false, 2 * time.Second},
			{"for too long", 100, "7", 1, 0, time.Millisecond, false, 7 * time.Second},
			{"without a word", 100, "", 2, 0, time.Second, false, 0},
		} {
			refusals.Store(row.refusals)
			asked.Store(0)
			after = row.after
			start := time.Now()
			verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
			took := time.Since(start)
			require.Equal(t, row.transmissions, asked.Load(), row.name)
			require.GreaterOrEqual(t, took, row.least, row.name)
			require.LessOrEqual(t, took, row.atMost, row.name)
			if row.granted {
				require.NoError(t, err, row.name)
				require.NotNil(t, verdict.Granted, row.name)
				continue
			}
			failure, ok := errors.AsType[*Error](err)
			require.True(t, ok, row.name)
			require.Equal(t, api.CodeBusy, failure.Code, row.name)
			require.Equal(t, row.retryAfterTold, failure.RetryAfter, row.name)
			require.False(t, SurelyNotSent(err), "an unsigned refusal proves nothing")
		}

		// The card goes while the platform is busy: the order may have been granted.
		refusals.Store(100)
		after = "3"
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Issuer(pin).RequestLoad(ctx, ask())
		require.Error(t, err)
		require.False(t, SurelyNotSent(err))
	})
}
