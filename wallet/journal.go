package wallet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stage is how far an order has come on this computer (protocol §2.7, §2.19).
type Stage string

// The stages of a load. Those marked * are on disk before the program goes on.
// ASKED and the ends CONFIRMED, ABANDONED and DECLINED are those of a purchase too.
const (
	StageIntent    Stage = "INTENT"    // * the person confirmed
	StageOpened    Stage = "OPENED"    // the card answered INITIALIZE FOR LOAD
	StageAsked     Stage = "ASKED"     // * the request may have left
	StageGranted   Stage = "GRANTED"   // the grant passed every check
	StageCrediting Stage = "CREDITING" // * CREDIT FOR LOAD may have left
	StageCredited  Stage = "CREDITED"  // * the card answered with its TAC
	StageConfirmed Stage = "CONFIRMED" // the platform acknowledged LOADED, PAID or DONE
	StageAbandoned Stage = "ABANDONED" // nothing was granted, and nothing will be
	StageDeclined  Stage = "DECLINED"  // the platform's signed refusal
	StageUnknown   Stage = "UNKNOWN"   // only the card can say
	StageVoided    Stage = "VOIDED"    // the platform released the money on the card's proof
)

// The stages of a purchase alone. Those marked * are on disk before the program goes on.
const (
	StagePurchaseIntent Stage = "PINTENT"    // * the person confirmed
	StageAuthorised     Stage = "AUTHORISED" // the platform authorised the debit
	StageDebiting       Stage = "DEBITING"   // * DEBIT FOR PURCHASE may have left
	StageDebited        Stage = "DEBITED"    // * the card answered with TAC and MAC2
	StageDoubtful       Stage = "DOUBTFUL"   // the platform cannot tell yet whether the card was debited
	StageNotTaken       Stage = "NOT_TAKEN"  // the card proved that it was not debited
	StageRefunded       Stage = "REFUNDED"   // debited, not delivered, and the money came back
)

// nextStages is the one table of transitions, by kind of order. CONFIRMED, VOIDED,
// NOT_TAKEN and REFUNDED are reached from every open stage, because another
// computer may settle the order first. DEBITING follows itself only to note how the
// card's answer failed; a DEBIT is sent after AUTHORISED alone. An order of another computer, met here
// first, begins at UNKNOWN or, a purchase, at AUTHORISED.
var nextStages = map[string]map[Stage][]Stage{
	KindLoad: {
		"":             {StageIntent, StageUnknown},
		StageIntent:    {StageIntent, StageOpened, StageAsked, StageAbandoned},
		StageOpened:    {StageIntent, StageAsked, StageAbandoned},
		StageAsked:     {StageIntent, StageAsked, StageGranted, StageDeclined, StageAbandoned, StageUnknown, StageConfirmed, StageVoided},
		StageGranted:   {StageGranted, StageCrediting, StageUnknown, StageConfirmed, StageVoided},
		StageCrediting: {StageGranted, StageCredited, StageUnknown, StageConfirmed, StageVoided},
		StageUnknown:   {StageUnknown, StageGranted, StageConfirmed, StageVoided},
		StageCredited:  {StageUnknown, StageGranted, StageConfirmed, StageVoided},
		StageConfirmed: {},
		StageAbandoned: {},
		StageDeclined:  {},
		StageVoided:    {},
	},
	KindPurchase: {
		"":                  {StagePurchaseIntent, StageAuthorised},
		StagePurchaseIntent: {StagePurchaseIntent, StageAsked, StageAbandoned},
		StageAsked:          {StageAsked, StageAuthorised, StageDeclined, StageAbandoned, StageDoubtful, StageConfirmed, StageNotTaken, StageRefunded},
		StageAuthorised:     {StageAuthorised, StageDebiting, StageDoubtful, StageConfirmed, StageNotTaken, StageRefunded},
		StageDebiting:       {StageDebiting, StageDebited, StageDoubtful, StageConfirmed, StageNotTaken, StageRefunded},
		StageDebited:        {StageDebited, StageDoubtful, StageConfirmed, StageNotTaken, StageRefunded},
		StageDoubtful:       {StageDoubtful, StageConfirmed, StageNotTaken, StageRefunded},
		StageConfirmed:      {},
		StageAbandoned:      {},
		StageDeclined:       {},
		StageNotTaken:       {},
		StageRefunded:       {},
	},
	KindFunding: { // no card takes part: what the platform signs is all there is
		"":             {StageAsked},
		StageAsked:     {StageAsked, StageConfirmed, StageDeclined, StageVoided},
		StageConfirmed: {},
		StageDeclined:  {},
		StageVoided:    {},
	},
}

// CanFollow reports whether the table lets next follow stage in an order of a
// kind; "" is KindLoad, as entries without a kind are.
func (s Stage) CanFollow(kind string, next Stage) bool {
	return slices.Contains(nextStages[kindOf(kind)][s], next)
}

// kindOf names the kind of an entry: those written before there were purchases
// name none.
func kindOf(kind string) string {
	if kind == "" {
		return KindLoad
	}
	return kind
}

// Final reports whether nothing is open any more.
func (s Stage) Final() bool {
	switch s {
	case StageConfirmed, StageAbandoned, StageDeclined, StageVoided, StageNotTaken, StageRefunded:
		return true
	}
	return false
}

// MayHaveMoney reports whether a grant may exist, so that only the platform or
// the card can close the order.
func (s Stage) MayHaveMoney() bool {
	switch s {
	case StageAsked, StageGranted, StageCrediting, StageUnknown, StageCredited,
		StageAuthorised, StageDebiting, StageDebited, StageDoubtful:
		return true
	}
	return false
}

// Entry is one line of the journal: the whole of what this computer knows about
// one order at one stage. It never holds the MAC2 of a load, the MAC1 of a
// purchase, a password, a voucher's PIN or a seal.
//
// In a funding Order is the funding's number and Source where the money comes from,
// bank:ID or voucher:SERIAL; Amount is 0 while only the voucher knows it, and
// everything about a card is empty.
//
// In a purchase Order is the purchase's number, TID the terminal number of
// INITIALIZE FOR PURCHASE, Seq the card's offline number, and Grant the purchase
// grant; Fee, Source and Attempt are empty.
type Entry struct {
	Key           string         `json:"key"`             // idempotency key, a UUIDv7; the journal's subject
	Order         string         `json:"order,omitempty"` // the platform's number, once known
	Stage         Stage          `json:"stage"`
	ASN           ASN            `json:"asn"`
	Amount        Fen            `json:"amount"`
	Fee           Fen            `json:"fee"`
	Source        string         `json:"source"`
	Attempt       int            `json:"attempt,omitempty"`
	TID           TerminalNumber `json:"tid"`
	ProbeTID      TerminalNumber `json:"probe_tid"`
	Seq           uint16         `json:"seq"`
	Epoch         int            `json:"epoch"`
	BalanceBefore Fen            `json:"balance_before"`
	BalanceAfter  Fen            `json:"balance_after"`
	TAC           Hex            `json:"tac,omitempty"`
	Grant         *Signed        `json:"grant,omitempty"`
	Executed      int            `json:"executed,omitempty"` // commands of the grant's script that were sent
	Steps         []StepResult   `json:"steps,omitempty"`    // their raw answers
	Note          string         `json:"note,omitempty"`     // an error code, for people who look
	At            time.Time      `json:"at"`

	Kind           string `json:"kind,omitempty"` // KindLoad, also when empty, KindPurchase or KindFunding
	MerchantOrder  string `json:"merchant_order,omitempty"`
	Merchant       string `json:"merchant,omitempty"`
	Goods          string `json:"goods,omitempty"`
	TerminalSerial uint32 `json:"terminal_serial,omitempty"`
	MAC2           Hex    `json:"mac2,omitempty"`   // the card's proof in DEBIT FOR PURCHASE
	Unload         bool   `json:"unload,omitempty"` // return of purse balance to the main account
}

// MetUnder reports that a journal's key stands for an order that this computer met
// without having begun it: it is the platform's number, or, for an order that a
// restore of the platform opened again, number/epoch.
func MetUnder(key, order string) bool {
	return order != "" && (key == order || strings.HasPrefix(key, order+"/"))
}

// IsPurchase reports whether the entry is about a purchase.
func (e Entry) IsPurchase() bool { return e.Kind == KindPurchase }

// IsFunding reports whether the entry is about a funding.
func (e Entry) IsFunding() bool { return e.Kind == KindFunding }

// Journal makes entries durable.
//
// Write returns nil only when the entry is on disk for good (fsync), so that a
// power cut right after it loses nothing. It refuses an entry whose stage may not
// follow the stage stored for the same key. An error means that nobody knows
// whether the entry is stored: the caller goes no further with money.
type Journal interface {
	Write(ctx context.Context, entry Entry) error
}

// CheckFollows is the rule that every Journal applies before it stores.
func CheckFollows(stored Stage, next Entry) error {
	if !stored.CanFollow(next.Kind, next.Stage) {
		return fmt.Errorf("journal of %s: %s may not follow %q in a %s", next.Key, next.Stage, stored, kindOf(next.Kind))
	}
	return nil
}
