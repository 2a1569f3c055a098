// Package states holds the life of accounts and cards as tables: which event leads
// where, and what each state permits (protocol §2.15). It reads no clock, no database
// and no request, so that every state can be tried with every event.
package states

import "slices"

// AccountState is what people and requests see of an account.
type AccountState string

// The states of an account (protocol §2.15).
const (
	Opening        AccountState = "OPENING"         // registered, not verified
	Normal         AccountState = "NORMAL"          //
	Frozen         AccountState = "FROZEN"          // by the person, until a date perhaps, or by staff
	LostOral       AccountState = "LOST_ORAL"       // reported lost; ends by itself unless it is made written
	LostWritten    AccountState = "LOST_WRITTEN"    // reported lost in writing; the counter lifts it
	Silent         AccountState = "SILENT"          // unused for a year; password and SMS code wake it
	PhoneSuspended AccountState = "PHONE_SUSPENDED" // the operator has suspended the phone number
	Closing        AccountState = "CLOSING"         // until nothing is owed any more
	Closed         AccountState = "CLOSED"          //
)

// AccountStates lists every state.
func AccountStates() []AccountState {
	return []AccountState{Opening, Normal, Frozen, LostOral, LostWritten, Silent, PhoneSuspended, Closing, Closed}
}

// Hold is one reason that keeps an account from working as usual. Several may stand
// at once: a frozen account whose phone number is suspended and resumed is still
// frozen, so that holds are kept and the state is told from them.
type Hold uint8

// The holds.
const (
	HoldUser    Hold = 1 << iota // frozen by the person
	HoldStaff                    // frozen by staff or by the system
	HoldOral                     // reported lost by word of mouth
	HoldWritten                  // reported lost in writing
	HoldSilent                   // not used for long
	HoldPhone                    // the phone number is suspended
)

// holdNames are how holds are stored and shown.
var holdNames = map[Hold]string{
	HoldUser: "FROZEN_BY_USER", HoldStaff: "FROZEN_BY_STAFF", HoldOral: string(LostOral), HoldWritten: string(LostWritten),
	HoldSilent: string(Silent), HoldPhone: string(PhoneSuspended),
}

// Holds lists every hold, the weightiest first: the first one that stands gives the
// account its state.
func Holds() []Hold {
	return []Hold{HoldWritten, HoldOral, HoldStaff, HoldUser, HoldPhone, HoldSilent}
}

// String is the name of one hold.
func (h Hold) String() string { return holdNames[h] }

// HoldNamed finds a hold by its name; false where there is none.
func HoldNamed(name string) (Hold, bool) {
	for hold, known := range holdNames {
		if known == name {
			return hold, true
		}
	}
	return 0, false
}

// stateOf is the state that a hold gives.
func (h Hold) stateOf() AccountState {
	switch h {
	case HoldUser, HoldStaff:
		return Frozen
	}
	return AccountState(h.String())
}

// Phase is where an account stands in its life, whatever holds it.
type Phase string

// The phases. Opening, Closing and Closed are states as well; an open account has the
// state that its holds give.
const (
	PhaseOpening Phase = "OPENING"
	PhaseOpen    Phase = "OPEN"
	PhaseClosing Phase = "CLOSING"
	PhaseClosed  Phase = "CLOSED"
)

// Account is what the table knows of an account.
type Account struct {
	Phase Phase
	Holds Hold // all that stand, ored
}

// State is the one state that is shown and asked for permissions.
func (a Account) State() AccountState {
	if a.Phase != PhaseOpen {
		return AccountState(a.Phase)
	}
	if hold := a.Weightiest(); hold != 0 {
		return hold.stateOf()
	}
	return Normal
}

// Weightiest is the hold that gives the account its state, or 0.
func (a Account) Weightiest() Hold {
	for _, hold := range Holds() {
		if a.Holds&hold != 0 {
			return hold
		}
	}
	return 0
}

// PhaseOf is the phase of an account that is in a state.
func PhaseOf(state AccountState) Phase {
	switch state {
	case Opening, Closing, Closed:
		return Phase(state)
	}
	return PhaseOpen
}

// AccountEvent is what happens to an account.
type AccountEvent string

// The events of accounts.
const (
	Verified         AccountEvent = "verified"         // the registration is complete
	FrozenByUser     AccountEvent = "frozen-by-user"   //
	ThawedByUser     AccountEvent = "thawed-by-user"   // with login password and SMS code
	ThawDue          AccountEvent = "thaw-due"         // the date that the person set
	FrozenByStaff    AccountEvent = "frozen-by-staff"  //
	ThawedByStaff    AccountEvent = "thawed-by-staff"  //
	LossReported     AccountEvent = "loss-reported"    // by word of mouth
	LossWritten      AccountEvent = "loss-written"     //
	LossExpired      AccountEvent = "loss-expired"     // nobody made it written
	FoundAtCounter   AccountEvent = "found-at-counter" //
	FellSilent       AccountEvent = "fell-silent"      // unused for long
	StrongLogin      AccountEvent = "strong-login"     // login password and SMS code
	PhoneIsSuspended AccountEvent = "phone-suspended"  // the operator says so
	PhoneIsResumed   AccountEvent = "phone-resumed"    // likewise
	PhoneIsCancelled AccountEvent = "phone-cancelled"  // likewise
	OwnerChanged     AccountEvent = "owner-changed"    // the phone number has another owner
	CloseAsked       AccountEvent = "close-asked"      // by the person
	CloseAtCounter   AccountEvent = "close-at-counter" //
	NothingOwed      AccountEvent = "nothing-owed"     // no open order, no money
	OwedAgain        AccountEvent = "owed-again"       // an order came back after a restore
)

// AccountEvents lists every event.
func AccountEvents() []AccountEvent {
	return []AccountEvent{
		Verified, FrozenByUser, ThawedByUser, ThawDue, FrozenByStaff, ThawedByStaff, LossReported, LossWritten, LossExpired, FoundAtCounter,
		FellSilent, StrongLogin, PhoneIsSuspended, PhoneIsResumed, PhoneIsCancelled, OwnerChanged, CloseAsked, CloseAtCounter, NothingOwed, OwedAgain,
	}
}

// accountRule is one line of the table.
type accountRule struct {
	in    []Phase // where the event has its effect
	lays  Hold
	lifts Hold
	needs Hold  // one of these must stand
	never Hold  // none of these may stand
	to    Phase // empty: the phase stays
	fact  bool  // nobody can refuse it: outside of in it changes nothing
}

const everyHold = HoldUser | HoldStaff | HoldOral | HoldWritten | HoldSilent | HoldPhone

var (
	open      = []Phase{PhaseOpen}
	unclosed  = []Phase{PhaseOpening, PhaseOpen}
	anyAccess = []Phase{PhaseOpening, PhaseOpen, PhaseClosing}
)

// accountTable is the one table of transitions. A person lifts what that person laid,
// silence, and a loss that was only told; what staff or paper laid the counter lifts;
// what the operator laid the operator lifts.
var accountTable = map[AccountEvent]accountRule{
	Verified:         {in: []Phase{PhaseOpening}, to: PhaseOpen},
	FrozenByUser:     {in: open, lays: HoldUser},
	ThawedByUser:     {in: open, lifts: HoldUser | HoldOral | HoldSilent, needs: HoldUser | HoldOral | HoldSilent},
	ThawDue:          {in: open, lifts: HoldUser, needs: HoldUser},
	FrozenByStaff:    {in: open, lays: HoldStaff},
	ThawedByStaff:    {in: open, lifts: HoldUser | HoldStaff, needs: HoldUser | HoldStaff},
	LossReported:     {in: open, lays: HoldOral, never: HoldWritten},
	LossWritten:      {in: open, lays: HoldWritten, lifts: HoldOral},
	LossExpired:      {in: open, lifts: HoldOral, needs: HoldOral},
	FoundAtCounter:   {in: open, lifts: HoldOral | HoldWritten, needs: HoldOral | HoldWritten},
	FellSilent:       {in: open, lays: HoldSilent},
	StrongLogin:      {in: anyAccess, lifts: HoldSilent},
	PhoneIsSuspended: {in: open, lays: HoldPhone, fact: true},
	PhoneIsResumed:   {in: open, lifts: HoldPhone, fact: true},
	PhoneIsCancelled: {in: unclosed, lifts: everyHold &^ HoldStaff, to: PhaseClosing, fact: true},
	OwnerChanged:     {in: unclosed, lifts: everyHold &^ HoldStaff, to: PhaseClosing, fact: true},
	CloseAsked:       {in: open, never: everyHold, to: PhaseClosing},
	CloseAtCounter:   {in: open, never: HoldStaff, lifts: everyHold, to: PhaseClosing},
	NothingOwed:      {in: []Phase{PhaseClosing}, to: PhaseClosed},
	OwedAgain:        {in: []Phase{PhaseClosed}, to: PhaseClosing, fact: true},
}

// NextAccount tells what an event makes of an account. It reports false where the
// event is refused in this state; the account is then as it was.
func NextAccount(a Account, event AccountEvent) (Account, bool) {
	rule, known := accountTable[event]
	if !known {
		return a, false
	}
	if !slices.Contains(rule.in, a.Phase) {
		return a, rule.fact
	}
	if rule.needs != 0 && a.Holds&rule.needs == 0 || a.Holds&rule.never != 0 {
		return a, false
	}
	a.Holds = a.Holds&^rule.lifts | rule.lays
	if rule.to != "" {
		a.Phase = rule.to
	}
	return a, true
}

// Lays are the holds that an event lays.
func Lays(event AccountEvent) Hold { return accountTable[event].lays }
