package mockplatform

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// queueAt puts one request into a lane of a gate and tells its end, by name.
func queueAt(g *gate, in lane, name string, told chan<- string) {
	go func() {
		if g.enter(context.Background(), in) {
			told <- name
			return
		}
		told <- name + " refused"
	}()
	synctest.Wait()
}

func TestGate_SettlingGoesFirstAndNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, told := newGate(1), make(chan string, 20)
		require.True(t, g.enter(t.Context(), laneBegin), "nobody was there")
		for _, name := range []string{"new 1", "new 2"} {
			queueAt(g, laneBegin, name, told)
		}
		for _, name := range []string{"result 1", "result 2", "result 3", "result 4"} {
			queueAt(g, laneSettle, name, told)
		}
		for _, want := range []string{"result 1", "result 2", "result 3", "new 1", "result 4", "new 2"} {
			g.leave(0)
			require.Equal(t, want, <-told)
		}
		g.leave(0)
		require.Zero(t, g.working)
	})
}

func TestGate_WaitsForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, told := newGate(1), make(chan string, 3)
		require.True(t, g.enter(t.Context(), laneBegin))
		queueAt(g, laneBegin, "new", told)
		queueAt(g, laneSettle, "result", told)
		began := time.Now()
		require.Equal(t, "new refused", <-told)
		require.Equal(t, maxWait, time.Since(began))
		require.Equal(t, "result refused", <-told)
		require.Equal(t, maxWaitSettle, time.Since(began))

		gone, leave := context.WithCancel(t.Context())
		go func() { told <- strconv.FormatBool(g.enter(gone, laneBegin)) }()
		synctest.Wait()
		leave()
		require.Equal(t, "false", <-told, "who has gone waits no longer")
		g.leave(0)
		require.True(t, g.enter(t.Context(), laneBegin), "who gave up holds no place")
	})
}

func TestGate_WaitingRoomsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, told := newGate(2), make(chan string, 100)
		for range 2 {
			require.True(t, g.enter(t.Context(), laneBegin))
		}
		for range 2 * waitingPerWork {
			queueAt(g, laneBegin, "new", told)
		}
		require.False(t, g.enter(t.Context(), laneBegin), "the room is full")
		for range 2 * waitingPerWork * settlingShare {
			queueAt(g, laneSettle, "result", told)
		}
		require.False(t, g.enter(t.Context(), laneSettle), "so is this one")
		require.Contains(t, []string{"1", "2", "3"}, g.retryAfter())
		for range 2 + 2*waitingPerWork*(1+settlingShare) {
			g.leave(0)
		}
		synctest.Wait()
		require.Zero(t, g.working)
	})
}

// Slow work takes places away, quick work gives them back, one by one.
func TestGate_PlacesFollowTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(64)
		work := func(took time.Duration) {
			require.True(t, g.enter(t.Context(), laneBegin))
			time.Sleep(took)
			g.leave(took)
		}
		for range 10 { // ten that ended at the same moment are one sign, not ten
			require.True(t, g.enter(t.Context(), laneBegin))
		}
		for range 10 {
			g.leave(2 * workTarget)
		}
		require.Equal(t, 32, g.places)
		for range 20 {
			work(2 * workTarget)
		}
		require.Equal(t, leastAtOnce, g.places, "never fewer")
		told := make(chan string, 10)
		for range leastAtOnce {
			require.True(t, g.enter(t.Context(), laneBegin))
		}
		queueAt(g, laneBegin, "next", told)
		require.Empty(t, told, "the places are fewer in earnest")
		g.leave(0)
		require.Equal(t, "next", <-told)
		for range leastAtOnce {
			g.leave(0)
		}
		require.Zero(t, g.working)
		for range 64 * 64 {
			work(workTarget)
		}
		require.Equal(t, 64, g.places, "never more")

		few := newGate(1)
		require.True(t, few.enter(t.Context(), laneBegin))
		few.leave(time.Minute)
		require.Equal(t, 1, few.places, "a gate that was made narrow stays so")
	})
}

// While new orders are told to come back, a result is still taken: the money in
// flight settles. Nothing of what was refused is in the books, and the same request
// under the same key is granted later.
func TestHandler_OverloadIsToldToComeBack(t *testing.T) {
	w := newWorld(t, func(config *Config) { config.AtOnce = 1 })
	c := w.teller(testPhone)
	first, second := w.card("6210000100000001", virtualcard.Spec{}), w.card("6210000100000002", virtualcard.Spec{})
	granted, grant := c.order(first, 1000).init().granted()
	step, err := first.credit(granted)
	require.NoError(t, err)
	order := c.order(second, 1000).init()

	// The one place is taken and the room for new orders is full.
	gate := w.p.work
	require.True(t, gate.enter(t.Context(), laneBegin))
	for range waitingPerWork {
		gate.waiting[0] = append(gate.waiting[0], make(chan struct{}))
	}
	answer := order.send()
	require.Equal(t, http.StatusServiceUnavailable, answer.Code)
	require.Contains(t, []string{"1", "2", "3"}, answer.Header().Get("Retry-After"))
	var body api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	require.Equal(t, api.CodeBusy, body.Error.Code)

	settled := make(chan wallet.OrderState, 1)
	go func() { settled <- c.stateOf(c.result(grant, nil, step)) }()
	require.Eventually(t, func() bool {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return len(gate.waiting[1]) == 1
	}, 10*time.Second, time.Millisecond)
	gate.leave(0)
	require.Equal(t, wallet.StateLoaded, (<-settled).State, "before the four who came earlier")
	for range waitingPerWork {
		gate.leave(0)
	}
	require.Zero(t, w.check().OpenOrders, "nothing was begun")
	require.Equal(t, http.StatusOK, order.send().Code, "the same request, the same key")
	require.Equal(t, 1, w.check().OpenOrders)
}

// Logins wait for each other and not for money, nor money for them.
func TestHandler_LoginsHaveAGateOfTheirOwn(t *testing.T) {
	w := newWorld(t, func(config *Config) { config.AtOnce = 1 })
	c := w.teller(testPhone)
	require.True(t, w.p.work.enter(t.Context(), laneBegin))
	w.p.work.waiting[0] = make([]chan struct{}, waitingPerWork)
	c.nonce = w.p.newNonce(w.p.now(), w.p.epoch)
	c.session.AccessToken = ""
	login := c.post(api.PathSession, "", api.SessionRequest{
		Phone: c.phone, ClientVer: "1.0.0", LoginPWSeal: c.loginSeal(api.PathSession, w.p.Profile().DemoCredentials.LoginPassword),
	})
	require.Equal(t, http.StatusOK, login.Code)
}
