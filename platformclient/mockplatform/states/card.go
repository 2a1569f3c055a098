package states

// CardState is what people and requests see of a card.
type CardState string

// The states of a card (protocol §2.15).
const (
	Issued    CardState = "ISSUED"    // in nobody's account
	Active    CardState = "ACTIVE"    //
	Suspended CardState = "SUSPENDED" // by its owner (钱包暂停)
	Lost      CardState = "LOST"      // reported lost
	Black     CardState = "BLACK"     // no new money in either direction; two persons clear it
	Recover   CardState = "RECOVER"   // a restore lost what it holds; its own proofs explain it
	Replaced  CardState = "REPLACED"  // another card stands for it
	Returned  CardState = "RETURNED"  // handed in, or its account was closed
)

// Place is a state of a card with what the table must know besides: a loss that was
// only told ends by itself and by its owner, one in writing at the counter.
type Place string

// The places. All but two are named like their state.
const (
	AtIssued      = Place(Issued)
	AtActive      = Place(Active)
	AtSuspended   = Place(Suspended)
	AtLostOral    = Place(LostOral)
	AtLostWritten = Place(LostWritten)
	AtBlack       = Place(Black)
	AtRecover     = Place(Recover)
	AtReplaced    = Place(Replaced)
	AtReturned    = Place(Returned)
)

// Places lists every place.
func Places() []Place {
	return []Place{AtIssued, AtActive, AtSuspended, AtLostOral, AtLostWritten, AtBlack, AtRecover, AtReplaced, AtReturned}
}

// State is the state that a place is shown as.
func (p Place) State() CardState {
	if p == AtLostOral || p == AtLostWritten {
		return Lost
	}
	return CardState(p)
}

// PlaceOf is the place of a card in a state; written tells of a loss in writing.
func PlaceOf(state CardState, written bool) Place {
	switch {
	case state == Lost && written:
		return AtLostWritten
	case state == Lost:
		return AtLostOral
	}
	return Place(state)
}

// CardEvent is what happens to a card.
type CardEvent string

// The events of cards.
const (
	CardAdded          CardEvent = "added"            // to an account, on its own proof
	CardRemoved        CardEvent = "removed"          // by its owner
	CardReleased       CardEvent = "released"         // its owner's account ended
	CardSuspended      CardEvent = "suspended"        //
	CardResumed        CardEvent = "resumed"          //
	CardLossReported   CardEvent = "loss-reported"    // by word of mouth
	CardLossWritten    CardEvent = "loss-written"     //
	CardLossExpired    CardEvent = "loss-expired"     // nobody made it written
	CardFound          CardEvent = "found"            // by its owner, with an SMS code
	CardFoundAtCounter CardEvent = "found-at-counter" //
	CardBlacklisted    CardEvent = "blacklisted"      //
	CardCleared        CardEvent = "cleared"          // by two persons
	BooksShort         CardEvent = "books-short"      // a restore lost loads of it
	BooksExplained     CardEvent = "books-explained"  // its proofs brought them back
	ValueCreated       CardEvent = "value-created"    // it holds more than the books explain
	CardReplaced       CardEvent = "replaced"         //
	CardReturned       CardEvent = "returned"         //
)

// CardEvents lists every event.
func CardEvents() []CardEvent {
	return []CardEvent{
		CardAdded, CardRemoved, CardReleased, CardSuspended, CardResumed, CardLossReported, CardLossWritten, CardLossExpired, CardFound,
		CardFoundAtCounter, CardBlacklisted, CardCleared, BooksShort, BooksExplained, ValueCreated, CardReplaced, CardReturned,
	}
}

// cardRule is one line of the table: where an event leads to. A fact that names no
// target for a place leaves the card there; any other event is refused there.
type cardRule struct {
	fact bool
	to   map[Place]Place
}

// each gives several places one target.
func each(to Place, from ...Place) map[Place]Place {
	moves := map[Place]Place{}
	for _, place := range from {
		moves[place] = to
	}
	return moves
}

// cardTable is the one table of transitions. A card in REPLACED or RETURNED never
// leaves: it is BLACK for new money, whatever is found on it. A blacklisted one leaves
// by two persons alone.
var cardTable = map[CardEvent]cardRule{
	CardAdded: {to: map[Place]Place{
		AtIssued: AtActive, AtActive: AtActive, AtSuspended: AtSuspended, AtLostOral: AtLostOral, AtLostWritten: AtLostWritten,
		AtBlack: AtBlack, AtRecover: AtRecover,
	}},
	CardRemoved:        {to: each(AtIssued, AtActive, AtSuspended)},
	CardReleased:       {fact: true, to: each(AtIssued, AtActive, AtSuspended)},
	CardSuspended:      {to: each(AtSuspended, AtActive, AtSuspended)},
	CardResumed:        {to: each(AtActive, AtActive, AtSuspended)},
	CardLossReported:   {to: each(AtLostOral, AtActive, AtSuspended, AtRecover, AtLostOral)},
	CardLossWritten:    {to: each(AtLostWritten, AtActive, AtSuspended, AtRecover, AtLostOral, AtLostWritten)},
	CardLossExpired:    {to: each(AtActive, AtLostOral)},
	CardFound:          {to: each(AtActive, AtLostOral)},
	CardFoundAtCounter: {to: each(AtActive, AtLostOral, AtLostWritten)},
	CardBlacklisted:    {fact: true, to: each(AtBlack, AtIssued, AtActive, AtSuspended, AtLostOral, AtLostWritten, AtRecover)},
	CardCleared:        {to: each(AtActive, AtBlack)},
	BooksShort:         {fact: true, to: each(AtRecover, AtIssued, AtActive, AtSuspended)},
	BooksExplained:     {fact: true, to: each(AtActive, AtRecover)},
	ValueCreated:       {fact: true, to: each(AtBlack, AtIssued, AtActive, AtSuspended, AtLostOral, AtLostWritten, AtRecover)},
	CardReplaced:       {to: each(AtReplaced, AtLostWritten)},
	CardReturned:       {fact: true, to: each(AtReturned, AtIssued, AtActive, AtSuspended, AtLostOral, AtLostWritten, AtRecover)},
}

// NextCard tells where an event leads a card. It reports false where the event is
// refused; the card then stays.
func NextCard(place Place, event CardEvent) (Place, bool) {
	rule := cardTable[event]
	if to, moves := rule.to[place]; moves {
		return to, true
	}
	return place, rule.fact
}

// cardMay is the one table of what a card's state permits. A card that the books do
// not know (after a restore) is ISSUED: an open top-up of it may be completed.
var cardMay = map[CardState]permissions{
	Issued:    may(Query, Complete, Cancel),
	Active:    may(Load, Pay, CreditIn, Query, Complete, Cancel),
	Suspended: may(Query, Cancel),
	Lost:      may(Query, Cancel),
	Black:     may(Query, Cancel),
	Recover:   may(Query, Cancel),
	Replaced:  may(Query, Cancel),
	Returned:  may(Query, Cancel),
}

// CardAllows tells whether a card in a state permits an act; CreditIn is the return
// of its balance to the main account. A state that nobody knows permits evidence
// alone.
func CardAllows(state CardState, act Act) bool {
	if act == Evidence {
		return true
	}
	return cardMay[state][act]
}
