package rules

import (
	"slices"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Causes of SUSPENSE that a member of staff writes down, because the card can no
// longer prove anything (protocol §2.7, rows 22 and 31). Evidence that comes after
// all still resolves them.
const (
	CauseCardBlocked Cause = "CARD_BLOCKED" // it starts no load any more
	CauseCardLost    Cause = "CARD_LOST"    // lost or broken
)

// WithoutCard says why the card cannot speak, as staff found it.
type WithoutCard string

// The reasons; the empty one says that nobody claims that.
const (
	CardSpeaks  WithoutCard = ""
	CardBlocked WithoutCard = "blocked"
	CardLost    WithoutCard = "lost"
)

// StaffOrder is what the platform knows of an order that people are to decide.
// State is that of a load or of a purchase.
type StaffOrder struct {
	Purchase     bool
	State        string
	Cause        Cause
	WindowClosed bool // shops have had their time to upload what the card spent
	TACSeen      bool // purchase: the card's TAC has verified
	Holds        bool // purchase: the merchant's order is still kept for it
}

// StaffTargets are the outcomes that people may choose, for a load and a purchase.
func StaffTargets(purchase bool) []string {
	if purchase {
		return []string{string(wallet.PurchasePaid), string(wallet.PurchaseRefunded), string(wallet.PurchaseNotTaken)}
	}
	return []string{string(wallet.StateLoaded), string(wallet.StateVoided)}
}

// MaySuspend gives the code why staff may not take an order out of the card's hands,
// or "". Only a top-up that waits for its card can be: a purchase in doubt has its
// own clock, and a final state is final.
func MaySuspend(order StaffOrder, without WithoutCard) string {
	known := without == CardBlocked || without == CardLost
	if known && !order.Purchase && order.State == string(wallet.StateGranted) {
		return ""
	}
	return api.CodeNotInSuspense
}

// MayDecide gives the code why people may not choose an outcome, or "". Only
// SUSPENSE is decided by people, and never against what the card has proven:
//
//   - VALUE_CREATED: a TAC proved the value on the card, so it is LOADED;
//   - CARD_LOST: no money goes back before shops had their time to show that the
//     card spent more than it held;
//   - a purchase is PAID only while the merchant's order is kept for it, and not
//     NOT_TAKEN once its TAC has verified.
func MayDecide(order StaffOrder, target string) string {
	switch {
	case order.State != string(wallet.StateSuspense):
		return api.CodeNotInSuspense
	case !slices.Contains(StaffTargets(order.Purchase), target):
		return api.CodeDecisionRefused
	case order.Purchase:
		if target == string(wallet.PurchasePaid) && !order.Holds || target == string(wallet.PurchaseNotTaken) && order.TACSeen {
			return api.CodeDecisionRefused
		}
	case target == string(wallet.StateVoided):
		if order.Cause == CauseValueCreated || order.Cause == CauseCardLost && !order.WindowClosed {
			return api.CodeDecisionRefused
		}
	}
	return ""
}

// Second is the person who confirms a proposal, and how the proposal stands.
type Second struct {
	Proposer, Confirmer string // accounts of staff
	Supervisor          bool   // the confirmer's role
	Open                bool   // the proposal was neither confirmed nor rejected
	Changed             bool   // the order is not as it was when it was proposed
}

// MayConfirm gives the code why a proposal may not be confirmed, or "". Two persons
// decide, the second one a supervisor, about the order that the first one saw.
func MayConfirm(s Second) string {
	switch {
	case s.Confirmer == "" || s.Confirmer == s.Proposer:
		return api.CodeSecondPerson
	case !s.Supervisor:
		return api.CodeStaffRole
	case !s.Open:
		return api.CodeProposalClosed
	case s.Changed:
		return api.CodeProposalStale
	}
	return ""
}
