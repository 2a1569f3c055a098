package rules

// LastSeq is the first online counter at which no new load is opened: at FFFF
// INITIALIZE FOR LOAD answers 9402, so the last load could never be probed.
const LastSeq = 0xFFF0

// CardFacts is what the platform knows of a card when a load is asked for.
type CardFacts struct {
	Floor     uint16 // highest counter that the card has proven
	OpenOrder bool   // an order of this card is in GRANTED or SUSPENSE
	Refused   bool   // its kind repeats randoms, or its profile may not be loaded
}

// Init is the verified INITIALIZE FOR LOAD answer of a request.
type Init struct {
	Seq            uint16
	RepeatedRandom bool
}

// MayOpen gives the code why no load may be opened on this answer, or "".
//
// An answer below the proven counter was recorded earlier: an order opened with it
// would later be called LOADED by the counter although the card got nothing.
func MayOpen(card CardFacts, init Init, rules Rules) string {
	switch {
	case card.Refused, init.RepeatedRandom && !rules.AllowRepeatedRandom:
		return CodeCardType
	case init.Seq < card.Floor && !rules.IgnoreFloor:
		return CodeStale
	case init.Seq >= LastSeq:
		return CodeExhausted
	case card.OpenOrder:
		return CodePending
	}
	return ""
}
