package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// staleSession is a login so old that its list of open orders misses the newest.
type staleSession struct{ core.Platform }

func (s staleSession) Session() core.Session {
	session := s.Platform.Session()
	session.OpenOrders = nil
	return session
}

// An order whose grant never arrived, and that the login does not list either, is
// known from the answer to abandon: the touch settles it and does not say that
// nothing is open.
func TestE2E_GrantedBehindTheLogin(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "grant-answer-lost")
	_, err := topUp(program, amount)
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))

	program = w.open(w.profile, "")
	program.Core.Platform = staleSession{program.Core.Platform}
	lines, err := settle(program, wallet.IntentComplete)
	program.Close()
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, wallet.StateLoaded, lines[0].To)
	require.Equal(t, opening+amount, w.chip().Balance)
	report, _ := w.books()
	require.Zero(t, report.OpenOrders)
}

func (s stalePurchases) Session() core.Session {
	session := s.Platform.Session()
	session.OpenPurchases = nil
	return session
}

// stalePurchases is the same for purchases.
type stalePurchases struct{ core.Platform }

// A purchase that was authorised behind the login is not said to be settled.
func TestE2E_AuthorisedBehindTheLogin(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "pay-grant-answer-lost")
	_, err := pay(program, w.offer(s, 12_50))
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))

	program = w.open(w.profile, "")
	program.Core.Platform = stalePurchases{program.Core.Platform}
	lines, err := settle(program, wallet.IntentComplete)
	program.Close()
	require.NoError(t, err)
	require.Len(t, lines, 1)
}
