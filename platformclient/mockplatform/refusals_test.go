package mockplatform

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

func TestPlatform_Refuses(t *testing.T) {
	for code, row := range map[string]struct {
		spec   virtualcard.Spec
		amount wallet.Fen
		change func(w *world, o *topUp)
	}{
		api.CodeLimitLoadMin:  {amount: 999},
		api.CodeLimitLoadMax:  {amount: 50001},
		api.CodeLimitPurseCap: {amount: 50000, spec: virtualcard.Spec{Balance: 50001}},
		api.CodeBalanceShort: {amount: 5000, change: func(w *world, _ *topUp) {
			w.exec(`UPDATE postings SET amount = CASE WHEN amount > 0 THEN 4999 ELSE -4999 END`)
		}},
		api.CodeCardState:     {amount: 5000, change: func(w *world, _ *topUp) { w.exec(`UPDATE cards SET state = 'LOST'`) }},
		api.CodeAccountState:  {amount: 5000, change: func(w *world, _ *topUp) { w.exec(`UPDATE users SET state = 'FROZEN'`) }},
		api.CodeSourceRefused: {amount: 5000, change: func(_ *world, o *topUp) { o.request.Source = "bank" }},
		api.CodeFeeChanged:    {amount: 5000, change: func(_ *world, o *topUp) { o.request.Fee = 1 }},
		api.CodeCardCounter:   {amount: 5000, spec: virtualcard.Spec{OnlineCounter: 0xFFF0}},
		api.CodeCardTypeRefused: {amount: 5000, change: func(_ *world, o *topUp) {
			o.request.Card.Profile = profileShanghai
		}},
		api.CodeCardEvidence:  {amount: 5000, change: func(_ *world, o *topUp) { o.request.Open.Steps[2].Data[15] ^= 1 }},
		api.CodeLeaseInvalid:  {amount: 5000, change: func(_ *world, o *topUp) { o.request.Open.TID[5] ^= 1 }},
		api.CodePasswordWrong: {amount: 5000, change: func(_ *world, o *topUp) { o.request.PaySeal = o.seal("no such password") }},
		api.CodeDeclined: {amount: 5000, change: func(w *world, o *topUp) {
			other := *o
			other.core.Amount += 100
			o.request.PaySeal = other.seal(w.p.Profile().DemoCredentials.PaymentPassword)
		}},
	} {
		t.Run(code, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, row.spec)
			c := w.teller(testPhone)
			order := c.order(k, row.amount).init()
			if row.change != nil {
				row.change(w, order)
			}
			state := order.refusedWith(code)
			require.NotEmpty(t, state.Text)
			require.Zero(t, w.check().OpenOrders)
			if code != api.CodeLeaseInvalid {
				// Final for the key: the stored refusal, also from a new process.
				first := order.send().Body.String()
				w.reopen()
				require.Equal(t, first, order.send().Body.String())
			}
		})
	}
}

func TestPlatform_LimitsLetPassWhatTheyAllow(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	for i, amount := range []wallet.Fen{1000, 50000} {
		k := w.card([]string{"6210000100000001", "6210000100000002"}[i], virtualcard.Spec{Balance: 50000})
		c.order(k, amount).init().granted()
	}
	w.check()
}

func TestPlatform_DayLimitsOfACard(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	load := func() {
		granted, grant := c.order(k, 1000).init().granted()
		step, err := k.credit(granted)
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
	}
	for range 5 {
		load()
	}
	c.login() // new leases
	state := c.order(k, 1000).init().refusedWith(api.CodeLimitCardCount)
	require.Equal(t, wallet.Fen(5), state.LimitFen)
	require.Equal(t, time.Date(2026, 3, 16, 0, 0, 0, 0, shanghai).UTC(), state.RetryAfter.UTC())
	w.clock = *state.RetryAfter
	c.login()
	load()
	w.check()
}

func TestPlatform_DaySumOfACardCountsEveryFen(t *testing.T) {
	policy := DefaultPolicy()
	policy.Limits.PurseCap = 500000
	w := newWorld(t, func(config *Config) { config.Policy = &policy })
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	for _, amount := range []wallet.Fen{50000, 40000} {
		granted, grant := c.order(k, amount).init().granted()
		step, err := k.credit(granted)
		require.NoError(t, err)
		c.result(grant, nil, step)
	}
	c.order(k, 10001).init().refusedWith(api.CodeLimitCardSum)
	c.order(k, 10000).init().granted()
	w.check()
}

func TestPlatform_ThreeWrongPasswordsLockUntilTheNextDay(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	for left := 2; left >= 0; left-- {
		order := c.order(k, 5000).init()
		order.request.PaySeal = order.seal("not the password")
		require.Equal(t, left, *order.refusedWith(api.CodePasswordWrong).WrongsLeft)
	}
	state := c.order(k, 5000).init().refusedWith(api.CodePasswordLocked)
	w.clock = *state.RetryAfter
	c.login()
	c.order(k, 5000).init().granted()
	w.check()
}

func TestPlatform_KeyBelongsToOneOrderCore(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	order := c.order(k, 5000).init()
	order.granted()
	other := c.order(k, 6000)
	other.core.Key = order.core.Key
	other.request.PaySeal = other.seal(w.p.Profile().DemoCredentials.PaymentPassword)
	answer := other.init().send()
	require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
	require.Contains(t, answer.Body.String(), api.CodeKeyReused)
	w.check()
}

func TestPlatform_TwoRequestsWithOneKeyGetOneGrant(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	order := c.order(k, 5000).init()
	answers := make([]string, 8)
	requests := make([]*http.Request, len(answers))
	for i := range requests {
		requests[i] = c.request(http.MethodPost, api.PathLoads, order.core.Key, mustJSON(t, order.request))
	}
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = c.do(requests[i]).Body.String() })
	}
	all.Wait()
	for _, answer := range answers {
		require.Equal(t, answers[0], answer)
		require.Contains(t, answer, `"granted"`)
	}
	report := w.check()
	require.Equal(t, 1, report.OpenOrders)
	require.Equal(t, wallet.Fen(5000), report.HeldFen)
}

func TestPlatform_AbandonLeavesATombstone(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	order := c.order(k, 5000).init()
	state := c.stateOf(c.post("/v1/loads/"+order.core.Key+"/abandon", w.newKey(), struct{}{}))
	require.Equal(t, wallet.StateDeclined, state.State)
	require.Equal(t, api.CodeAbandoned, state.Code)
	order.refusedWith(api.CodeAbandoned) // the request that was on the way arrives
	again := c.stateOf(c.post("/v1/loads/"+order.core.Key+"/abandon", w.newKey(), struct{}{}))
	require.Equal(t, api.CodeAbandoned, again.Code)

	seen := c.order(k, 5000).init()
	_, grant := seen.granted()
	state = c.stateOf(c.post("/v1/loads/"+seen.core.Key+"/abandon", w.newKey(), struct{}{}))
	require.Equal(t, wallet.StateGranted, state.State)
	require.Equal(t, grant.ProbeTID, state.Pending.ProbeTID)
	w.check()
}

func TestPlatform_UsedTerminalNumberLeavesTheKeyOpen(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	wrong := c.order(k, 5000).init()
	wrong.request.PaySeal = wrong.seal("not the password")
	wrong.refusedWith(api.CodePasswordWrong)

	order := c.order(k, 5000)
	order.request.Open = wrong.request.Open
	order.refusedWith(api.CodeTIDUsed)
	order.init().granted()
	w.check()
}

func TestPlatform_FeeIsHeldPostedAndReturned(t *testing.T) {
	policy := DefaultPolicy()
	policy.Fees = api.FlatFee(50)
	w := newWorld(t, func(config *Config) { config.Policy = &policy })
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	main := w.balance(mainAccount(c.session.User))
	_, grant := torn(w, c, k, virtualcard.Before)
	require.Equal(t, wallet.Fen(5050), w.check().HeldFen)
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.Fen(50), c.stateOf(answer).ReceiptBody.Fee)
	require.Equal(t, main, w.balance(mainAccount(c.session.User)))

	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)
	c.result(grant, nil, step)
	require.Equal(t, main-5050, w.balance(mainAccount(c.session.User)))
	require.Equal(t, wallet.Fen(50), w.balance(accountFeeIncome))
	w.check()
}
