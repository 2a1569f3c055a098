package mockplatform

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// TestPlatform_RefusesAttacks plays what a dishonest owner of a real card can do.
// The last line of each is the same: value on the card is paid for.
func TestPlatform_RefusesAttacks(t *testing.T) {
	for name, attack := range map[string]func(*world, *teller, *chip){
		"replay of a MAC1 for a second grant": func(w *world, c *teller, k *chip) {
			order := c.order(k, 5000).init()
			granted, grant := order.granted()
			step, err := k.credit(granted)
			require.NoError(w.t, err)
			c.result(grant, nil, step)
			again := c.order(k, 5000)
			again.request.Open = order.request.Open
			again.refusedWith(api.CodeTIDUsed)
			// Over a fresh lease the old answer does not verify.
			again = c.order(k, 5000)
			again.request.Open = order.request.Open
			again.request.Open.TID = c.lease()
			again.refusedWith(api.CodeCardEvidence)
		},
		"MAC1 recorded beforehand as proof of not loaded": func(w *world, c *teller, k *chip) {
			recorded := k.open(c.scripts[profilePBOC], 5000, c.lease())
			granted, grant := c.order(k, 5000).init().granted()
			_, err := k.credit(granted)
			require.NoError(w.t, err)
			request := api.AttemptRequest{Attempt: 1, Intent: wallet.IntentCancel, Open: recorded}
			require.Equal(w.t, api.CodeAttemptSuperseded, c.stateOf(c.attempt(grant.Order, request)).Code)
			relabelled := *recorded
			relabelled.TID = grant.ProbeTID
			request.Open = &relabelled
			require.Equal(w.t, api.CodeCardEvidence, c.stateOf(c.attempt(grant.Order, request)).Code)
		},
		"credit, then a bare no": func(w *world, c *teller, k *chip) {
			granted, grant := c.order(k, 5000).init().granted()
			_, err := k.credit(granted)
			require.NoError(w.t, err)
			for _, prove := range []*wallet.StepResult{nil, {SW: wallet.Hex{0x94, 0x06}}} {
				state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentCancel, Prove: prove}))
				require.Equal(w.t, wallet.StateGranted, state.State)
			}
		},
		"two probes: complete with one, cancel with the other": func(w *world, c *teller, k *chip) {
			_, grant := c.order(k, 5000).init().granted()
			answer, first := c.evidence(k, openOf(grant), wallet.IntentComplete)
			granted, second := c.grantOf(answer)
			_, err := k.credit(granted)
			require.NoError(w.t, err)
			first.Intent = wallet.IntentCancel
			require.Equal(w.t, api.CodeAttemptSuperseded, c.stateOf(c.attempt(grant.Order, first)).Code)
			first.Attempt = 2
			require.Equal(w.t, api.CodeAttemptSuperseded, c.stateOf(c.attempt(grant.Order, first)).Code)
			require.Equal(w.t, 2, second.Attempt)
		},
		"order from an answer below the proven counter": func(w *world, c *teller, k *chip) {
			delayed := c.order(k, 5000).init() // INITIALIZE FOR LOAD at counter n, kept back
			granted, grant := c.order(k, 6000).init().granted()
			step, err := k.credit(granted)
			require.NoError(w.t, err)
			c.result(grant, nil, step)
			delayed.refusedWith(api.CodeStaleCardState)
		},
		"another card's answer": func(w *world, c *teller, k *chip) {
			other := w.card("6210000100000009", virtualcard.Spec{})
			order := c.order(k, 5000)
			order.request.Open = *other.open(c.scripts[profilePBOC], 5000, c.lease())
			order.refusedWith(api.CodeCardEvidence)
		},
		"answer for a smaller amount": func(w *world, c *teller, k *chip) {
			order := c.order(k, 5000)
			order.request.Open = *k.open(c.scripts[profilePBOC], 4000, c.lease())
			order.refusedWith(api.CodeCardEvidence)
			order = c.order(k, 5000)
			order.request.Open = *k.open(c.scripts[profilePBOC], 4000, c.lease())
			order.request.Open.Amount = 5000
			order.refusedWith(api.CodeCardEvidence)
		},
		"TAC of one order for another": func(w *world, c *teller, k *chip) {
			granted, grant := c.order(k, 5000).init().granted()
			step, err := k.credit(granted)
			require.NoError(w.t, err)
			c.result(grant, nil, step)
			_, second := c.order(k, 5000).init().granted()
			require.Equal(w.t, api.CodeCardEvidence, c.stateOf(c.result(second, nil, step)).Code)
			require.Equal(w.t, wallet.Fen(5000), w.check().HeldFen)
		},
		"lease of another device": func(w *world, c *teller, k *chip) {
			other := w.teller(testPhone)
			order := c.order(k, 5000)
			order.request.Open = *k.open(c.scripts[profilePBOC], 5000, other.lease())
			order.refusedWith(api.CodeLeaseInvalid)
		},
		"token of another device": func(w *world, c *teller, k *chip) {
			other := w.teller(testPhone)
			other.session.AccessToken = c.session.AccessToken
			require.Equal(w.t, http.StatusUnauthorized, other.get(api.PathAccount).Code)
		},
		"changed body, path and authority": func(w *world, c *teller, k *chip) {
			order := c.order(k, 5000).init()
			body := mustJSON(w.t, order.request)
			for _, change := range []func(*http.Request){
				func(r *http.Request) { r.Body = http.NoBody },
				func(r *http.Request) { r.Host = "elsewhere.test" },
				func(r *http.Request) { r.URL.RawQuery = "a=b" },
				func(r *http.Request) { r.Header.Set(api.HeaderIdempotencyKey, w.newKey()) },
				func(r *http.Request) { r.Header.Set(api.HeaderJournal, "1:00") },
				func(r *http.Request) { r.Header.Del("Signature") },
			} {
				request := c.request(http.MethodPost, api.PathLoads, order.core.Key, body)
				change(request)
				require.Equal(w.t, http.StatusUnauthorized, c.do(request).Code)
			}
		},
		"value out of nothing is seen at the next touch": func(w *world, c *teller, k *chip) {
			granted, grant := c.order(k, 5000).init().granted()
			step, err := k.credit(granted)
			require.NoError(w.t, err)
			c.result(grant, nil, step)
			// Somebody who has the keys loads the card elsewhere.
			w.exec(`UPDATE cards SET opening = 0`)
			w.exec(`UPDATE orders SET amount = amount - 100 WHERE state = 'LOADED'`)
			c.order(k, 5000).init().refusedWith(api.CodeCardState)
			w.exec(`UPDATE orders SET amount = amount + 100 WHERE state = 'LOADED'`)
			var state string
			require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
				_, err := tx.row(`SELECT state FROM cards`, nil, &state)
				return err
			}))
			require.Equal(w.t, cardBlack, state)
		},
		"five forged MAC1 make the card grey": func(w *world, c *teller, k *chip) {
			for range wrongMAC1PerDay {
				order := c.order(k, 5000).init()
				order.request.Open.Steps[2].Data[15] ^= 1
				order.refusedWith(api.CodeCardEvidence)
			}
			c.order(k, 5000).init().refusedWith(api.CodeCardState)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{})
			c := w.teller(testPhone)
			attack(w, c, k)
			// Whatever is on the card is posted or still held: nobody got it for nothing.
			report := w.check()
			require.LessOrEqual(t, int64(k.Balance()), int64(w.balance(accountPurseFloat)+report.HeldFen))
		})
	}
}

// repeating is a source of randomness that always says the same.
type repeating struct{}

func (repeating) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{0x41}, len(p))), nil
}

func TestPlatform_RepeatedRandomRefusesTheCard(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	k.SetRandom(repeating{})
	c := w.teller(testPhone)
	_, grant := c.order(k, 5000).init().granted()
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State)
	k.SetRandom(rand.Reader)
	c.order(k, 5000).init().refusedWith(api.CodeCardTypeRefused)
	require.Equal(t, 1, w.check().Suspense)
}

func TestPlatform_SessionThatStaysOpenIsSuspense(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Variant: virtualcard.SessionStaysOpen})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	for range 2 {
		_, err := k.credit(granted)
		require.NoError(t, err)
	}
	require.Equal(t, grant.Seq+2, k.OnlineCounter(), "this variant credits twice")
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentSettle)
	require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State)
	require.Equal(t, 1, w.check().Suspense)
}

func TestPlatform_LateTACAfterVoidIsValueCreated(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)
	// Unreachable with the rules in force: the books are forced into the state.
	w.p.config.Rules = rules.Rules{TrustClient: true}
	state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentCancel}))
	require.Equal(t, wallet.StateVoided, state.State)
	w.p.config.Rules = rules.Rules{}

	state = c.stateOf(c.result(grant, nil, step))
	require.Equal(t, wallet.StateSuspense, state.State)
	report := w.check()
	require.Equal(t, wallet.Fen(5000), report.SuspenseFen)
	require.Equal(t, wallet.Fen(-5000), w.balance(accountRecovery))
	c.order(k, 5000).init().refusedWith(api.CodeCardState)
}

func TestPlatform_SharedCounterNeedsTACOrBalance(t *testing.T) {
	policy := DefaultPolicy()
	policy.LoadRefuse = nil
	for name, row := range map[string]struct {
		purchase bool
		when     virtualcard.TearWhen
		state    wallet.LoadState
		evidence string
	}{
		"loaded, balance higher":       {false, virtualcard.After, wallet.StateLoaded, "balance"},
		"not loaded, counter the same": {false, virtualcard.Before, wallet.StateVoided, "counter-same"},
		"a ride moved the counter":     {true, virtualcard.Before, wallet.StateSuspense, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(config *Config) { config.Policy = &policy })
			k := w.card(serial, virtualcard.Spec{Balance: 2000, Variant: virtualcard.SharedCounter})
			w.exec(`UPDATE cards SET profile = ?`, profileShanghai)
			c := w.teller(testPhone)
			granted, grant := c.orderAs(k, 5000, profileShanghai).init().granted()
			k.TearAt(virtualcard.Tear{INS: 0x52, When: row.when})
			_, err := k.credit(granted)
			require.Error(t, err)
			if row.purchase {
				shopPurchase(t, w, k)
			}
			answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
			state := c.stateOf(answer)
			require.Equal(t, row.state, state.State)
			require.Equal(t, row.evidence, state.Evidence)
			w.check()
		})
	}
}
