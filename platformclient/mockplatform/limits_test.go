package mockplatform

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// limited is a world whose policy a test has changed.
func limited(t *testing.T, change func(*api.Policy)) *world {
	policy := DefaultPolicy()
	change(&policy)
	return newWorld(t, func(config *Config) { config.Policy, config.HashCost = &policy, HashCost{MemoryKiB: 64, Passes: 1} })
}

// otherSerial is a second card of the same person.
const otherSerial = "6210000100000002"

// The sums of an account and of a device run over all cards, to the fen: another
// card is no way around them.
func TestPlatform_DaySumsRunOverAllCards(t *testing.T) {
	for code, set := range map[string]func(*api.Policy){
		api.CodeLimitAccountSum: func(policy *api.Policy) { policy.Limits.AccountDaySum = 30000 },
		api.CodeLimitDeviceSum:  func(policy *api.Policy) { policy.Limits.DeviceDaySum = 30000 },
	} {
		t.Run(code, func(t *testing.T) {
			w := limited(t, set)
			first, second := w.card(serial, virtualcard.Spec{}), w.card(otherSerial, virtualcard.Spec{})
			c := w.teller(testPhone)
			c.order(first, 20000).init().granted()
			state := c.order(second, 10001).init().refusedWith(code)
			require.Equal(t, wallet.Fen(30000), state.LimitFen)
			require.Equal(t, time.Date(2026, 3, 16, 0, 0, 0, 0, shanghai).UTC(), state.RetryAfter.UTC())
			c.order(second, 10000).init().granted()
			w.check()
		})
	}
}

// What was voided is free again on the same day; what staff must look at is not.
func TestPlatform_DaySumsForgetOnlyWhatWasVoided(t *testing.T) {
	open := func(t *testing.T) (*world, *teller, *chip, wallet.Grant) {
		w := limited(t, func(policy *api.Policy) { policy.Limits.CardDaySum, policy.Limits.AccountDaySum = 30000, 30000 })
		k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
		_, grant := c.order(k, 20000).init().granted()
		return w, c, k, grant
	}
	t.Run("voided", func(t *testing.T) {
		w, c, k, grant := open(t)
		answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
		require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
		c.order(k, 30000).init().granted()
		w.check()
	})
	t.Run("in suspense", func(t *testing.T) {
		w, c, _, _ := open(t)
		w.exec(`UPDATE orders SET state = 'SUSPENSE', cause = 'AGE'`)
		other := w.card(otherSerial, virtualcard.Spec{})
		c.order(other, 10001).init().refusedWith(api.CodeLimitAccountSum)
		c.order(other, 10000).init().granted()
		w.check()
	})
}

// The main account must cover the fee as well, to the fen.
func TestPlatform_MainAccountCoversTheFee(t *testing.T) {
	w := limited(t, func(policy *api.Policy) {
		policy.Fees = api.FlatFee(100)
		policy.Limits = api.Limits{PurseCap: 1000000, LoadMin: 1, LoadMax: 1000000}
	})
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	main := mainAccount(c.session.User)
	require.Equal(t, wallet.Fen(500000), w.balance(main))
	c.order(k, 499901).init().refusedWith(api.CodeBalanceShort)
	require.Equal(t, wallet.Fen(500000), w.balance(main))
	c.order(k, 499900).init().granted()
	require.Zero(t, w.balance(main))
	require.Equal(t, wallet.Fen(500000), w.balance(heldAccount(c.session.User)))
	w.check()
}
