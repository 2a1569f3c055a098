package rules

import "walletcompanion/platformclient/api"

// Subject is what stands on a list.
type Subject string

// The subjects.
const (
	SubjectCard   Subject = "card"   // by application serial
	SubjectUser   Subject = "user"   // an account
	SubjectDevice Subject = "device" // an enrolled device
)

// Standing is where a subject stands (protocol §2.14).
type Standing string

// The standings. GREY is a watch: no loads, purchases and evidence as ever. BLACK: no
// new money in either direction; evidence as ever.
const (
	Clear Standing = "NONE"
	Grey  Standing = "GREY"
	Black Standing = "BLACK"
)

// ListEvent is what enters or leaves a list.
type ListEvent string

// The events. The first three come by themselves and make GREY, the next three make
// BLACK; the others are people and time.
const (
	ListWrongMACs    ListEvent = "WRONG_MACS"    // too many wrong MAC1 on a day
	ListVelocity     ListEvent = "VELOCITY"      // too many declines, or cards, in a short time
	ListChargeback   ListEvent = "CHARGEBACK"    // a bank took paid-in money back
	ListLoss         ListEvent = "LOSS"          // the card was lost
	ListFraud        ListEvent = "FRAUD"         // staff saw fraud
	ListValueCreated ListEvent = "VALUE_CREATED" // the card holds more than was put on it
	ListStaffGrey    ListEvent = "STAFF"         // staff want to watch
	ListStaffClear   ListEvent = "STAFF_CLEAR"   // one member of staff takes it off
	ListTwoClear     ListEvent = "TWO_CLEAR"     // two persons take it off
	ListCleanDays    ListEvent = "CLEAN_DAYS"    // its time on the list is over
)

// Subjects, Standings and ListEvents are all of them, for tests and texts.
var (
	Subjects   = []Subject{SubjectCard, SubjectUser, SubjectDevice}
	Standings  = []Standing{Clear, Grey, Black}
	ListEvents = []ListEvent{
		ListWrongMACs, ListVelocity, ListChargeback, ListLoss, ListFraud, ListValueCreated, ListStaffGrey, ListStaffClear, ListTwoClear, ListCleanDays,
	}
)

// listTable is the one table of entry and exit. What is not in it is refused with
// LIST_REFUSED.
var listTable = map[Standing]map[ListEvent]Standing{
	Clear: {
		ListWrongMACs: Grey, ListVelocity: Grey, ListChargeback: Grey, ListStaffGrey: Grey,
		ListLoss: Black, ListFraud: Black, ListValueCreated: Black,
	},
	Grey: {
		ListWrongMACs: Grey, ListVelocity: Grey, ListChargeback: Grey, ListStaffGrey: Grey, // the time begins anew
		ListLoss: Black, ListFraud: Black, ListValueCreated: Black,
		ListStaffClear: Clear, ListCleanDays: Clear,
	},
	Black: {
		ListWrongMACs: Black, ListVelocity: Black, ListChargeback: Black,
		ListLoss: Black, ListFraud: Black, ListValueCreated: Black,
		ListTwoClear: Clear, ListCleanDays: Black, // no time ends it
	},
}

// listSubjects says which events a subject can meet; the four of people and time meet
// all of them.
var listSubjects = map[ListEvent][]Subject{
	ListWrongMACs:    {SubjectCard},
	ListVelocity:     {SubjectUser, SubjectDevice},
	ListChargeback:   {SubjectUser},
	ListLoss:         {SubjectCard},
	ListFraud:        Subjects,
	ListValueCreated: {SubjectCard},
	ListStaffGrey:    Subjects,
	ListStaffClear:   Subjects,
	ListTwoClear:     Subjects,
	ListCleanDays:    Subjects,
}

// NextStanding is where a subject stands after an event, or the code why the event is
// refused; the standing stays then.
func NextStanding(subject Subject, now Standing, event ListEvent) (next Standing, code string) {
	for _, allowed := range listSubjects[event] {
		if next, known := listTable[now][event]; known && allowed == subject {
			return next, ""
		}
	}
	return now, api.CodeListRefused
}

// Use is what a listed subject may want to do.
type Use string

// The uses.
const (
	UseLoad     Use = "load"     // value onto a card
	UseComplete Use = "complete" // an open load
	UsePurchase Use = "purchase" // and the return of a balance
	UsePayIn    Use = "pay-in"   // money into the main account
	UsePayOut   Use = "pay-out"  // money out of the main account to a bank
	UseEvidence Use = "evidence" // result, attempts with settle and cancel, PROVE
	UseLook     Use = "look"     // query, statement
)

// Uses are all of them.
var Uses = []Use{UseLoad, UseComplete, UsePurchase, UsePayIn, UsePayOut, UseEvidence, UseLook}

// useTable says what is refused to whom; everything else is allowed.
var useTable = map[Standing][]Use{
	Grey:  {UseLoad, UseComplete, UsePayOut},
	Black: {UseLoad, UseComplete, UsePurchase, UsePayIn, UsePayOut},
}

// MayUse tells whether a subject of this standing may do something. Evidence and
// looking are never refused: a listed card must still be able to settle.
func MayUse(standing Standing, use Use) bool {
	for _, refused := range useTable[standing] {
		if refused == use {
			return false
		}
	}
	return true
}
