package rules

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

var (
	everyLoadState = []wallet.LoadState{
		wallet.StateReceived, wallet.StateGranted, wallet.StateLoaded, wallet.StateVoided, wallet.StateDeclined, wallet.StateSuspense,
	}
	everyPurchaseState = []wallet.PurchaseStateName{
		wallet.PurchaseOffered, wallet.PurchaseAuthorised, wallet.PurchaseDoubtful, wallet.PurchasePaid, wallet.PurchaseRefunded,
		wallet.PurchaseNotTaken, wallet.PurchaseDeclined, wallet.PurchaseSuspense,
	}
	everyCause = []Cause{
		"", CauseAge, CauseWrongEvidence, CauseBelowGrant, CauseBelowFloor, CauseJump, CauseSharedCounter, CauseOtherHost, CauseBalance,
		CauseRestored, CauseRepeatedRandom, CauseValueCreated, CauseLateTAC, CauseSum, CauseOtherOpen, CauseCardBlocked, CauseCardLost,
	}
	everyTarget = []string{"", "LOADED", "VOIDED", "PAID", "REFUNDED", "NOT_TAKEN", "GRANTED", "SUSPENSE", "DECLINED"}
)

// everyStaffOrder lists every combination of what MayDecide looks at.
func everyStaffOrder() (orders []StaffOrder) {
	states := []string{}
	for _, state := range everyLoadState {
		states = append(states, "load "+string(state))
	}
	for _, state := range everyPurchaseState {
		states = append(states, "purchase "+string(state))
	}
	for _, state := range states {
		var kind, name string
		_, _ = fmt.Sscan(state, &kind, &name)
		for _, cause := range everyCause {
			for bits := range 8 {
				orders = append(orders, StaffOrder{Purchase: kind == "purchase", State: name, Cause: cause,
					WindowClosed: bits&1 != 0, TACSeen: bits&2 != 0, Holds: bits&4 != 0})
			}
		}
	}
	return orders
}

// The whole table: state × cause × what is known × outcome. What is allowed is
// written down here in other words than in the rules.
func TestStaff_EveryStateCauseAndOutcome(t *testing.T) {
	allowed := 0
	for _, order := range everyStaffOrder() {
		for _, target := range everyTarget {
			code := MayDecide(order, target)
			about := fmt.Sprintf("%+v as %s", order, target)
			if order.State != "SUSPENSE" {
				require.Equal(t, api.CodeNotInSuspense, code, about)
				continue
			}
			loadTarget, payTarget := target == "LOADED" || target == "VOIDED", target == "PAID" || target == "REFUNDED" || target == "NOT_TAKEN"
			if order.Purchase && !payTarget || !order.Purchase && !loadTarget {
				require.Equal(t, api.CodeDecisionRefused, code, about)
				continue
			}
			want := ""
			switch target {
			case "VOIDED":
				if order.Cause == CauseValueCreated || order.Cause == CauseCardLost && !order.WindowClosed {
					want = api.CodeDecisionRefused
				}
			case "PAID":
				if !order.Holds {
					want = api.CodeDecisionRefused
				}
			case "NOT_TAKEN":
				if order.TACSeen {
					want = api.CodeDecisionRefused
				}
			}
			require.Equal(t, want, code, about)
			if code == "" {
				allowed++
			}
		}
	}
	require.Positive(t, allowed)
	// Somebody can always end what is in SUSPENSE.
	for _, order := range everyStaffOrder() {
		if order.State == "SUSPENSE" {
			require.True(t, slices.ContainsFunc(StaffTargets(order.Purchase), func(target string) bool { return MayDecide(order, target) == "" }), "%+v", order)
		}
	}
}

func TestStaff_OnlyAGrantedTopUpIsTakenFromItsCard(t *testing.T) {
	for _, order := range everyStaffOrder() {
		for _, without := range []WithoutCard{CardSpeaks, CardBlocked, CardLost, "eaten"} {
			code := MaySuspend(order, without)
			if !order.Purchase && order.State == "GRANTED" && (without == CardBlocked || without == CardLost) {
				require.Empty(t, code)
				continue
			}
			require.Equal(t, api.CodeNotInSuspense, code, "%+v %s", order, without)
		}
	}
}

// Never one person, never a clerk, never twice, never about an order that changed.
func TestStaff_FourEyesTable(t *testing.T) {
	for bits := range 8 {
		s := Second{Proposer: "P1", Supervisor: bits&1 != 0, Open: bits&2 != 0, Changed: bits&4 != 0}
		for _, confirmer := range []string{"", "P1", "P2"} {
			s.Confirmer = confirmer
			good := confirmer == "P2" && s.Supervisor && s.Open && !s.Changed
			require.Equal(t, good, MayConfirm(s) == "", "%+v", s)
			if confirmer != "P2" {
				require.Equal(t, api.CodeSecondPerson, MayConfirm(s))
			}
		}
	}
}

// What staff suspended is still resolved by evidence that comes after all.
func TestStaff_EvidenceStillResolvesWhatStaffSuspended(t *testing.T) {
	for _, cause := range []Cause{CauseCardBlocked, CauseCardLost} {
		order := Order{State: wallet.StateSuspense, Cause: cause, Attempt: 1, Amount: 5000}
		require.Equal(t, Load, Decide(order, Evidence{Attempt: 1, Intent: wallet.IntentSettle, TAC: &TAC{Valid: true}}, Rules{}).Outcome)
	}
}
