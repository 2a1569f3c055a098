package wallet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stage is how far a load has come on this computer (protocol §2.7).
type Stage string

// The stages of a load. Those marked * are on disk before the program goes on.
const (
	StageIntent    Stage = "INTENT"    // * the person confirmed
	StageOpened    Stage = "OPENED"    // the card answered INITIALIZE FOR LOAD
	StageAsked     Stage = "ASKED"     // * the request may have left
	StageGranted   Stage = "GRANTED"   // the grant passed every check
	StageCrediting Stage = "CREDITING" // * CREDIT FOR LOAD may have left
	StageCredited  Stage = "CREDITED"  // * the card answered with its TAC
	StageConfirmed Stage = "CONFIRMED" // the platform acknowledged LOADED
	StageAbandoned Stage = "ABANDONED" // nothing was granted, and nothing will be
	StageDeclined  Stage = "DECLINED"  // the platform's signed refusal
	StageUnknown   Stage = "UNKNOWN"   // only the card can say
	StageVoided    Stage = "VOIDED"    // the platform released the money on the card's proof
)

// nextStages is the one table of transitions. CONFIRMED and VOIDED are reached
// from every open stage, because another computer may settle the order first.
var nextStages = map[Stage][]Stage{
	"":             {StageIntent, StageUnknown}, // UNKNOWN: an order of another computer, met here first
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
}

// CanFollow reports whether the table lets next follow stage.
func (s Stage) CanFollow(next Stage) bool { return slices.Contains(nextStages[s], next) }

// Final reports whether nothing is open any more.
func (s Stage) Final() bool { return s != "" && len(nextStages[s]) == 0 }

// MayHaveMoney reports whether a grant may exist, so that only the platform or
// the card can close the order.
func (s Stage) MayHaveMoney() bool {
	switch s {
	case StageAsked, StageGranted, StageCrediting, StageUnknown, StageCredited:
		return true
	}
	return false
}

// Entry is one line of the journal: the whole of what this computer knows about
// one order at one stage. It never holds MAC2, a password or a seal.
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
}

// MetUnder reports that a journal's key stands for an order that this computer met
// without having begun it: it is the platform's number, or, for an order that a
// restore of the platform opened again, number/epoch.
func MetUnder(key, order string) bool {
	return order != "" && (key == order || strings.HasPrefix(key, order+"/"))
}

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
	if !stored.CanFollow(next.Stage) {
		return fmt.Errorf("journal of %s: %s may not follow %q", next.Key, next.Stage, stored)
	}
	return nil
}
