package mockplatform

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// torn is an order whose card left the field at CREDIT FOR LOAD.
func torn(w *world, c *teller, k *chip, when virtualcard.TearWhen) (*wallet.GrantedScript, wallet.Grant) {
	granted, grant := c.order(k, 5000).init().granted()
	k.TearAt(virtualcard.Tear{INS: 0x52, When: when})
	_, err := k.credit(granted)
	require.Error(w.t, err)
	return granted, grant
}

func TestPlatform_SettlesWhatTheCardProves(t *testing.T) {
	for name, row := range map[string]struct {
		variant  string
		when     virtualcard.TearWhen
		intent   wallet.Intent
		prove    bool
		state    wallet.LoadState
		evidence string
	}{
		"12 torn inside, settle":          {virtualcard.Standard, virtualcard.Inside, wallet.IntentSettle, false, wallet.StateGranted, "counter-same"},
		"12 torn inside, cancel":          {virtualcard.Standard, virtualcard.Inside, wallet.IntentCancel, false, wallet.StateVoided, "counter-same"},
		"10 torn before, cancel":          {virtualcard.Standard, virtualcard.Before, wallet.IntentCancel, false, wallet.StateVoided, "counter-same"},
		"13 answer lost, by PROVE":        {virtualcard.Standard, virtualcard.After, wallet.IntentSettle, true, wallet.StateLoaded, "prove"},
		"13 answer lost, by counter":      {virtualcard.ProveNone, virtualcard.After, wallet.IntentSettle, true, wallet.StateLoaded, "counter-advanced"},
		"13 answer lost, PROVE is a stub": {virtualcard.ProveStub, virtualcard.After, wallet.IntentComplete, true, wallet.StateLoaded, "counter-advanced"},
		"13 answer lost, cancel loses":    {virtualcard.Standard, virtualcard.After, wallet.IntentCancel, false, wallet.StateLoaded, "counter-advanced"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 700, Variant: row.variant})
			c := w.teller(testPhone)
			main := w.balance(mainAccount(c.session.User))
			_, grant := torn(w, c, k, row.when)
			request := api.AttemptRequest{Attempt: 1, Intent: row.intent}
			if row.prove {
				request.Prove = k.prove(c.scripts[profilePBOC], grant.Seq+1)
			}
			request.Open = k.open(c.scripts[profilePBOC], grant.Amount, grant.ProbeTID)
			answer := c.attempt(grant.Order, request)
			state := c.stateOf(answer)
			require.Equal(t, row.state, state.State)
			require.Equal(t, row.evidence, state.Evidence)
			report := w.check()
			switch row.state {
			case wallet.StateLoaded:
				require.Equal(t, wallet.Fen(5700), k.Balance())
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
				require.Equal(t, wallet.Fen(5700), state.ReceiptBody.BalanceAfter)
			case wallet.StateVoided:
				require.Equal(t, wallet.Fen(700), k.Balance())
				require.Equal(t, main, w.balance(mainAccount(c.session.User)))
			default:
				require.False(t, *state.OnCard)
				require.Equal(t, wallet.Fen(5000), report.HeldFen)
			}
			// The same evidence again tells the same.
			again := c.stateOf(c.attempt(grant.Order, request))
			require.Equal(t, row.state, again.State)
			w.check()
		})
	}
}

func TestPlatform_CompleteGivesANewGrantForThisVeryInit(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)

	answer, request := c.evidence(k, openOf(grant), wallet.IntentComplete)
	granted, second := c.grantOf(answer)
	require.Equal(t, 2, second.Attempt)
	require.Equal(t, grant.ProbeTID, second.TID)
	require.NotEqual(t, grant.ProbeTID, second.ProbeTID)
	require.Equal(t, grant.Order, second.Order)

	// A lost answer is given again, byte for byte, and moves nothing.
	require.Equal(t, answer.Body.String(), c.attempt(grant.Order, request).Body.String())
	// The same MAC1 with another intent is superseded.
	cancel := request
	cancel.Intent = wallet.IntentCancel
	state := c.stateOf(c.attempt(grant.Order, cancel))
	require.Equal(t, api.CodeAttemptSuperseded, state.Code)
	require.Equal(t, wallet.StateGranted, state.State)
	require.Equal(t, second.ProbeTID, state.Pending.ProbeTID)
	require.Equal(t, wallet.Fen(5000), w.check().HeldFen)

	step, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.Hex{0x90, 0x00}, step.SW)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(second, nil, step)).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func TestPlatform_EvidenceNeedsNoSession(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)

	anybody := w.stranger("13900000000")
	require.Equal(t, http.StatusUnauthorized, anybody.result(grant, nil, step).Code)
	forged := granted.Grant
	forged.Payload = append([]byte(nil), forged.Payload...)
	forged.Payload[10] ^= 1
	require.Equal(t, http.StatusUnprocessableEntity, anybody.result(grant, &forged, step).Code)
	state := anybody.stateOf(anybody.result(grant, &granted.Grant, step))
	require.Equal(t, wallet.StateLoaded, state.State)
	require.Zero(t, state.ReceiptBody.MainBalance, "who does not pay sees no balance of the payer")
	w.check()
}

func TestPlatform_HolderSettlesButDoesNotComplete(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	payer := w.teller(testPhone)
	_, grant := torn(w, payer, k, virtualcard.Before)
	const holderPhone = "13700000000"
	require.NoError(t, w.p.Seed(t.Context(), holderPhone, 0, nil, ""))
	holder := w.teller(holderPhone)

	answer, request := holder.evidence(k, openOf(grant), wallet.IntentComplete)
	require.Equal(t, api.CodeNotPayer, holder.stateOf(answer).Code)
	request.Intent = wallet.IntentCancel
	require.Equal(t, wallet.StateVoided, holder.stateOf(holder.attempt(grant.Order, request)).State)
	require.Equal(t, wallet.Fen(500000), w.balance(mainAccount(payer.session.User)), "the payer has the money again")
	w.check()
}

func TestPlatform_FiveWrongTACsAreSuspense(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	good, err := k.credit(granted)
	require.NoError(t, err)
	wrong := wallet.StepResult{SW: good.SW, Data: wallet.Hex{1, 2, 3, 4}}

	const strangerPhone = "13700000000"
	require.NoError(t, w.p.Seed(t.Context(), strangerPhone, 0, nil, ""))
	stranger := w.teller(strangerPhone)
	for range rules.MaxWrong + 1 {
		require.Equal(t, wallet.StateGranted, stranger.stateOf(stranger.result(grant, nil, wrong)).State, "strangers cannot push")
	}
	for i := range rules.MaxWrong {
		state := c.stateOf(c.result(grant, nil, wrong))
		if i < rules.MaxWrong-1 {
			require.Equal(t, wallet.StateGranted, state.State)
			require.Equal(t, api.CodeCardEvidence, state.Code)
		} else {
			require.Equal(t, wallet.StateSuspense, state.State)
		}
	}
	// Guessing has ended: not even the right one moves it now, people must.
	require.Equal(t, wallet.StateSuspense, c.stateOf(c.result(grant, nil, good)).State)
	report := w.check()
	require.Equal(t, wallet.Fen(5000), report.SuspenseFen)
	require.Equal(t, 1, report.Suspense)
}

func TestPlatform_ProveStubIsNeverCounted(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Variant: virtualcard.ProveStub})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)
	for range rules.MaxWrong + 2 {
		prove := k.prove(c.scripts[profilePBOC], grant.Seq+1)
		state := c.stateOf(c.attempt(grant.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Prove: prove}))
		require.Equal(t, wallet.StateGranted, state.State)
	}
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
	w.check()
}

func TestPlatform_FrozenPayerMayOnlyCancel(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)
	w.exec(`UPDATE users SET state = 'FROZEN'`)
	answer, request := c.evidence(k, openOf(grant), wallet.IntentComplete)
	require.Equal(t, api.CodeAccountState, c.stateOf(answer).Code)
	request.Intent = wallet.IntentCancel
	require.Equal(t, wallet.StateVoided, c.stateOf(c.attempt(grant.Order, request)).State)
	c.order(k, 5000).init().refusedWith(api.CodeAccountState)
	w.check()
}

func TestPlatform_SecondComputerFindsTheOpenOrder(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.After)
	other := w.teller(testPhone)
	require.Len(t, other.session.OpenOrders, 1)
	found := other.session.OpenOrders[0]
	require.Equal(t, grant.Order, found.Order)
	require.Equal(t, grant.ProbeTID, found.ProbeTID)

	state := other.order(k, 5000).init().refusedWith(api.CodePendingLoad)
	require.Equal(t, found, *state.Pending)

	var pending api.PendingAnswer
	other.must(http.StatusOK, other.get("/v1/cards/"+k.ASN().String()+"/pending"), &pending)
	require.Equal(t, []wallet.OpenOrder{found}, pending.Orders)
	answer, _ := other.evidence(k, found, wallet.IntentSettle)
	require.Equal(t, wallet.StateLoaded, other.stateOf(answer).State)
	require.Equal(t, wallet.Fen(5000), k.Balance())
	w.check()
}

func TestPlatform_OldOrdersAreSuspenseAndATouchStillResolves(t *testing.T) {
	for intent, end := range map[wallet.Intent]wallet.LoadState{
		wallet.IntentSettle: wallet.StateSuspense, wallet.IntentComplete: wallet.StateSuspense, wallet.IntentCancel: wallet.StateVoided,
	} {
		t.Run(string(intent), func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{})
			c := w.teller(testPhone)
			_, grant := torn(w, c, k, virtualcard.Before)
			w.clock = w.clock.Add(orderAge)
			count, err := w.p.SuspendOld(t.Context())
			require.NoError(t, err)
			require.Zero(t, count)
			w.clock = w.clock.Add(time.Second)
			count, err = w.p.SuspendOld(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, count)
			require.Equal(t, wallet.Fen(5000), w.check().SuspenseFen)
			c.login()
			answer, _ := c.evidence(k, openOf(grant), intent)
			require.Equal(t, end, c.stateOf(answer).State)
			w.check()
		})
	}
}

func TestPlatform_RefusedKindOfCardMayOnlyCancel(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)
	w.p.policy.LoadRefuse = []string{profilePBOC}
	answer, request := c.evidence(k, openOf(grant), wallet.IntentComplete)
	require.Equal(t, api.CodeCardTypeRefused, c.stateOf(answer).Code)
	request.Intent = wallet.IntentCancel
	require.Equal(t, wallet.StateVoided, c.stateOf(c.attempt(grant.Order, request)).State)
	w.check()
}

func TestPlatform_EveryVerifiedMAC1RaisesTheFloor(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{OnlineCounter: 9})
	c := w.teller(testPhone)
	floor := func() (floor int) {
		require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
			_, err := tx.row(`SELECT floor_seq FROM cards`, nil, &floor)
			return err
		}))
		return floor
	}
	forged := c.order(k, 5000).init()
	forged.request.Open.Steps[2].Data[15] ^= 1
	forged.refusedWith(api.CodeCardEvidence)
	require.Zero(t, floor())
	c.order(k, 1).init().refusedWith(api.CodeLimitLoadMin)
	require.Equal(t, 9, floor())
}

// A grant opens the door to its own order only: nobody counts wrong evidence against
// another one with it.
func TestPlatform_GrantOfAnotherOrderIsNoPass(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	own, _ := c.order(w.card(serial, virtualcard.Spec{}), 5000).init().granted()
	_, other := c.order(w.card(otherSerial, virtualcard.Spec{}), 5000).init().granted()
	for _, session := range []string{c.session.AccessToken, ""} {
		c.session.AccessToken = session
		answer := c.result(other, &own.Grant, wallet.StepResult{Data: wallet.Hex{1, 2, 3, 4}, SW: wallet.Hex{0x90, 0x00}})
		require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
		require.Contains(t, answer.Body.String(), api.CodeSignature)
		answer = c.attempt(other.Order, api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Grant: &own.Grant})
		require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
	}
	w.check()
}
