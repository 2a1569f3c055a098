package states

// Act is what somebody wants to do with an account or a card.
type Act string

// The acts (protocol §2.15).
const (
	Load     Act = "load"      // begin a top-up of a card
	Pay      Act = "pay"       // pay: from the main account, or with a card
	CreditIn Act = "credit-in" // bring money into the main account: fundings, returns of purse balance
	PayOut   Act = "pay-out"   // take money out of the main account, to the bank card that is bound
	Query    Act = "query"     // look at balances, orders and statements
	Complete Act = "complete"  // give an open top-up another grant
	Cancel   Act = "cancel"    // give an open top-up up, on the card's proof
	Evidence Act = "evidence"  // bring what a card proves
)

// Acts lists every act.
func Acts() []Act { return []Act{Load, Pay, CreditIn, PayOut, Query, Complete, Cancel, Evidence} }

type permissions map[Act]bool

func may(acts ...Act) permissions {
	allowed := permissions{Evidence: true} // of a card is taken in every state (protocol §2.14)
	for _, act := range acts {
		allowed[act] = true
	}
	return allowed
}

// accountMay is the one table of what an account's state permits. Of the column "sync"
// of protocol §2.15, "yes" is Complete, Cancel and Evidence, and "LOADED/cancel only"
// is Cancel and Evidence. What takes money for granted that nobody verified (OPENING)
// or adds money to what is being paid out (CLOSING) is not permitted.
var accountMay = map[AccountState]permissions{
	Opening:        may(Query),
	Normal:         may(Load, Pay, CreditIn, PayOut, Query, Complete, Cancel),
	Frozen:         may(CreditIn, Query, Cancel),
	LostOral:       may(CreditIn, Query, Cancel),
	LostWritten:    may(CreditIn, Query, Cancel),
	Silent:         may(CreditIn, Query, Complete, Cancel),
	PhoneSuspended: may(CreditIn, Query, Complete, Cancel),
	Closing:        may(PayOut, Query, Cancel),
	Closed:         may(Query, Cancel),
}

// AccountAllows tells whether an account in a state permits an act. A state that
// nobody knows permits evidence alone.
func AccountAllows(state AccountState, act Act) bool {
	if act == Evidence {
		return true
	}
	return accountMay[state][act]
}
