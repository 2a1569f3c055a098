package rules

import "walletcompanion/wallet"

// FundingEvent is what became known about a funding (protocol §2.7, rows F1–F4).
type FundingEvent string

// The events of a funding.
const (
	FundingAsked   FundingEvent = "asked"   // the source is about to be asked: it may take the money from now on
	FundingPaid    FundingEvent = "paid"    // the source has taken the money
	FundingRefused FundingEvent = "refused" // the source has taken nothing and will take nothing
	FundingSilent  FundingEvent = "silent"  // no answer, or one that says nothing
	FundingExpired FundingEvent = "expired" // nobody knew for too long: it is given up
	FundingUndone  FundingEvent = "undone"  // the source has given back what it took, and will take nothing more
	FundingKept    FundingEvent = "kept"    // the source refuses to undo what it took
)

// FundingEvents are all events of a funding.
var FundingEvents = []FundingEvent{
	FundingAsked, FundingPaid, FundingRefused, FundingSilent, FundingExpired, FundingUndone, FundingKept,
}

// FundingStep is what an event does to a funding.
type FundingStep struct {
	Next   wallet.FundingState
	Credit bool // the main account gets the money now
	Alarm  bool // the event contradicts what was decided: people must look
}

// fundingSteps holds what changes a state; every other pair leaves it as it is. While
// a funding is being given up, "paid" changes nothing: the reversal is under way, and
// only the source's refusal to undo it makes the money ours.
var fundingSteps = map[wallet.FundingState]map[FundingEvent]FundingStep{
	wallet.FundingReceived: {
		FundingAsked:   {Next: wallet.FundingPending},
		FundingPaid:    {Next: wallet.FundingDone, Credit: true},
		FundingRefused: {Next: wallet.FundingDeclined},
		FundingExpired: {Next: wallet.FundingDeclined}, // the source was never asked
	},
	wallet.FundingPending: {
		FundingPaid:    {Next: wallet.FundingDone, Credit: true},
		FundingKept:    {Next: wallet.FundingDone, Credit: true},
		FundingRefused: {Next: wallet.FundingDeclined},
		FundingExpired: {Next: wallet.FundingReversing},
		FundingUndone:  {Next: wallet.FundingReversed},
	},
	wallet.FundingReversing: {
		FundingKept:    {Next: wallet.FundingDone, Credit: true},
		FundingRefused: {Next: wallet.FundingReversed}, // there is nothing to undo
		FundingUndone:  {Next: wallet.FundingReversed},
	},
}

// fundingContradictions are events that should not happen in a state. They change
// nothing: a decision that a person was told of stands, and reconciliation posts the
// difference.
var fundingContradictions = map[wallet.FundingState][]FundingEvent{
	wallet.FundingReceived: {FundingUndone, FundingKept},
	wallet.FundingDone:     {FundingRefused, FundingUndone},
	wallet.FundingDeclined: {FundingPaid, FundingKept},
	wallet.FundingReversed: {FundingPaid, FundingKept},
}

// NextFunding is the one table of a funding's transitions. Money is credited on the
// way into DONE and nowhere else, and no final state is left.
func NextFunding(state wallet.FundingState, event FundingEvent) FundingStep {
	if step, found := fundingSteps[state][event]; found {
		return step
	}
	step := FundingStep{Next: state}
	for _, wrong := range fundingContradictions[state] {
		step.Alarm = step.Alarm || wrong == event
	}
	return step
}
