package rules_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModel_LoadAttacks holds the rows "attacks" of protocol §2.5.
func TestModel_LoadAttacks(t *testing.T) {
	base := setting{orders: 2, inits: 4, grants: 5}
	one := setting{orders: 1, inits: 5, grants: 5}

	t.Run("probe rule with floor", func(t *testing.T) { safe(t, base, 1000) })
	t.Run("stale MAC1 below the floor", func(t *testing.T) {
		w := base
		w.rules.IgnoreFloor = true
		broken(t, w, loss, 8)
	})
	t.Run("two probes of one order alive", func(t *testing.T) {
		w := one
		w.rules.KeepProbesAcrossGrant = true
		broken(t, w, gain, 6)
		w.rules.KeepProbesAcrossGrant = false
		safe(t, w, 100)
	})
	t.Run("counter shared with purchases", func(t *testing.T) {
		w := one
		w.shared, w.rides, w.opening = true, 2, 2
		w.rules.CounterProvesShared = true
		broken(t, w, loss, 5)
		w.rules.CounterProvesShared = false
		safe(t, w, 100)
		w.orders, w.inits, w.grants = 2, 4, 4
		safe(t, w, 1000)
	})
	t.Run("another host loads the card", func(t *testing.T) {
		w := one
		w.otherHost = true
		broken(t, w, loss, 5)
		w.toldOfHost = true
		safe(t, w, 100)
	})
	t.Run("card repeats its random", func(t *testing.T) {
		w := one
		w.randoms = 1
		w.rules.AllowRepeatedRandom = true
		broken(t, w, gain, 6)
		// A card with one random only is found out by its first probe. Nothing is
		// ever voided then, so this search is not asked for a VOIDED.
		w.rules.AllowRepeatedRandom = false
		found := search(t, w.start(), w.moves, w.judge)
		t.Log(found)
		require.Equal(t, none, found.kind, "%s", found)
		require.Greater(t, found.states, 100)
		// One that repeats when it suits the holder breaks every rule: the old MAC2
		// lives again after an honest proof. Such a kind of card is refused.
		w.randoms = 2
		broken(t, w, gain, 6)
		w.refused = true
		require.Equal(t, none, search(t, w.start(), w.moves, w.judge).kind)
	})
}

// TestModel_LoadAttacks_Restore holds the rows on restore, and more than their one
// order and one restore.
func TestModel_LoadAttacks_Restore(t *testing.T) {
	base := setting{orders: 2, inits: 4, grants: 4}
	one := setting{orders: 1, inits: 5, grants: 5}

	t.Run("restore, probes of before stay valid", func(t *testing.T) {
		w := one
		w.restores = 1
		w.rules.KeepProbesAcrossEpoch = true
		broken(t, w, gain, 8)
	})
	t.Run("restore, epoch rule", func(t *testing.T) {
		w := one
		w.restores = 1
		safe(t, w, 1000)
	})
	t.Run("two restores", func(t *testing.T) {
		w := one
		w.inits, w.grants, w.restores = 4, 4, 2
		safe(t, w, 1000)
	})
	t.Run("restore, two orders", func(t *testing.T) {
		w := base
		w.restores = 1
		w.rules.CounterAcrossEpoch = true
		// The first order is voided and the second loaded in the window that is lost:
		// the first, which is open again, would be charged for the second one's value.
		broken(t, w, loss, 11)
		w.rules.CounterAcrossEpoch = false
		safe(t, w, 1000)
		if !testing.Short() {
			w.inits, w.grants = 5, 3
			safe(t, w, 100_000)
			w.inits, w.grants = 4, 4
		}
		// Leases of before would let an answer of before open an order.
		w.oldLeases = true
		broken(t, w, loss, 8)
	})
}
