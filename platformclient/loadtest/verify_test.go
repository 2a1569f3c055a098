package loadtest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

// The generator itself: what it counts as complete is on the cards and in the books.
func TestGenerator_FiftyTopUps(t *testing.T) {
	s := newStand(t, t.TempDir(), size{persons: 3, cardsEach: 4, connections: 8})
	sum := count(openLoop(t.Context(), s.free, 100, 500*time.Millisecond))
	require.Equal(t, 50, sum.complete, sum.failures())
	require.Zero(t, sum.refused)
	require.Equal(t, 50, s.audit(t))
	require.Positive(t, percentile(sum.grants, 50))
	require.LessOrEqual(t, percentile(sum.results, 50), percentile(sum.results, 100))
}

// The checks of the generator can fail.
func TestGenerator_NoticesWhatIsWrong(t *testing.T) {
	s := newStand(t, t.TempDir(), size{persons: 1, cardsEach: 2, connections: 2})
	right, other := s.cards[0], s.cards[1]
	made := right.topUp(t.Context(), time.Now())
	require.NoError(t, made.err)

	entry := wallet.Entry{TAC: wallet.Hex{1, 2, 3, 4}, TID: wallet.TerminalNumber{0xC1}}
	receipt := wallet.Receipt{TAC: entry.TAC, TID: entry.TID, Amount: loadFen, BalanceAfter: right.Balance()}
	state := wallet.OrderState{State: wallet.StateLoaded, ReceiptBody: &receipt}
	require.NoError(t, right.checkReceipt(state, entry))
	require.Error(t, other.checkReceipt(state, entry), "another balance")
	for name, change := range map[string]func(*wallet.OrderState, *wallet.Receipt){
		"state":  func(state *wallet.OrderState, _ *wallet.Receipt) { state.State = wallet.StateVoided },
		"none":   func(state *wallet.OrderState, _ *wallet.Receipt) { state.ReceiptBody = nil },
		"TAC":    func(_ *wallet.OrderState, receipt *wallet.Receipt) { receipt.TAC = wallet.Hex{1, 2, 3, 5} },
		"number": func(_ *wallet.OrderState, receipt *wallet.Receipt) { receipt.TID[5]++ },
		"amount": func(_ *wallet.OrderState, receipt *wallet.Receipt) { receipt.Amount++ },
	} {
		changed := receipt
		altered := state
		altered.ReceiptBody = &changed
		change(&altered, &changed)
		require.Error(t, right.checkReceipt(altered, entry), name)
	}
	grant := wallet.Grant{ASN: right.ASN(), Amount: loadFen, Seq: 0, Issued: time.Now()}
	require.False(t, bytes.Equal(right.wantTAC(grant, 100), other.wantTAC(grant, 100)), "every card has keys of its own")
	require.False(t, bytes.Equal(right.wantTAC(grant, 100), right.wantTAC(grant, 101)))
}

// Four times more than the platform can carry: it refuses, says when to come back,
// and the clients do. Nothing is lost and nothing is doubled.
func TestGenerator_BusyPlatform(t *testing.T) {
	var disk sync.Mutex
	s := newStand(t, t.TempDir(), size{persons: 5, cardsEach: 6, connections: 30}, func(config *mockplatform.Config) {
		config.AtOnce = 1
		config.Hooks.BeforeCommit = func(route string) error {
			if route == "/v1/loads" || route == "/v1/loads/{id}/result" {
				disk.Lock()
				defer disk.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
	})
	sum := count(openLoop(t.Context(), s.free, 100, 300*time.Millisecond))
	require.Empty(t, sum.errors, sum.failures())
	require.Equal(t, 30, sum.complete+sum.refused+sum.silent)
	require.Positive(t, sum.complete)
	require.Positive(t, s.wire.busy.Load(), "there was no overload to speak of")
	require.Zero(t, s.wire.vague.Load(), "every 503 says when to come back")
	require.NoError(t, s.settleAll(t.Context()))
	require.Equal(t, sum.complete, s.audit(t))
	for _, k := range s.cards {
		require.Empty(t, k.unsure.Key)
	}
}
