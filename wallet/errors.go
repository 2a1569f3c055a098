package wallet

import (
	"errors"
	"fmt"
)

// Code names one kind of trouble. Codes are stable: window, console and manual
// look up cause and remedy by them.
type Code string

// The codes of the purse.
const (
	CodeCardNoPurse     Code = "CARD_NO_PURSE"      // no purse application of a built-in profile
	CodeCardOther       Code = "CARD_OTHER"         // not the card that was confirmed or asked for
	CodeCardBlocked     Code = "CARD_BLOCKED"       // card or application blocked
	CodeCardLost        Code = "CARD_LOST"          // the conversation with the chip broke
	CodeCardProtocol    Code = "CARD_PROTOCOL"      // an answer that makes no sense
	CodeCardTypeRefused Code = "CARD_TYPE_REFUSED"  // this profile is never loaded
	CodePINNeeded       Code = "PIN_NEEDED"         // the card wants its PIN first
	CodePINWrong        Code = "PIN_WRONG"          // see WrongPIN
	CodePINLocked       Code = "PIN_LOCKED"         // no try left, or only the last one, which we never use
	CodeCapExceeded     Code = "CAP_EXCEEDED"       // balance + amount would be above the cap
	CodeGuardRefused    Code = "GUARD_REFUSED"      // a command outside what this session may send
	CodeGrantForged     Code = "GRANT_FORGED"       // the grant is not what was confirmed, or not signed
	CodeGrantExpired    Code = "GRANT_EXPIRED"      // too much time since the grant or since INITIALIZE FOR LOAD
	CodeOutcomeUnknown  Code = "OUTCOME_UNKNOWN"    // only the platform or the card can say
	CodeBalanceWrong    Code = "BALANCE_UNEXPECTED" // after CREDIT the card shows another balance
	CodeJournalFailed   Code = "JOURNAL_FAILED"     // the journal could not be written, so nothing was sent
	CodeDeclined        Code = "DECLINED"           // the platform's signed refusal
	CodePendingLoad     Code = "PENDING_LOAD"       // an earlier order of this card comes first
	CodePendingPurchase Code = "PENDING_PURCHASE"   // an earlier purchase of this card comes first
	CodePurseShort      Code = "CARD_BALANCE_SHORT" // the card holds less than the amount
	CodeCancelled       Code = "CANCELLED"          // stopped before anything was asked
)

// Error is trouble with a code.
type Error struct {
	Code Code
	Op   string // what was being done: "read", "topup", "pay", "sync", or the command's name
	Open bool   // an order is or may be open: it must be settled with the card
	Err  error  // the cause; may be nil
}

// Error tells operation, code and cause. It never holds a PIN, MAC2 or card number in clear.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Op, e.Code)
	}
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Code, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of err, or "" when it has none.
func CodeOf(err error) Code {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused.Code()
	}
	var trouble *Error
	if errors.As(err, &trouble) {
		return trouble.Code
	}
	return ""
}

// IsOpen reports whether err leaves an order that is or may be open.
func IsOpen(err error) bool {
	for err != nil {
		var trouble *Error
		if !errors.As(err, &trouble) {
			return false
		}
		if trouble.Open {
			return true
		}
		err = trouble.Err
	}
	return false
}

// ErrOtherCard means that the card on the reader is not the one of the order.
var ErrOtherCard = errors.New("this is another card")

// WrongPIN is the cause under CodePINWrong.
type WrongPIN struct {
	Left int // tries left, as the card said
}

// Error tells the tries left.
func (w *WrongPIN) Error() string { return fmt.Sprintf("wrong PIN, %d tries left", w.Left) }

// Refused is the platform's signed refusal of an order.
type Refused struct {
	State OrderState
	// Prove is what GET TRANSACTION PROVE answered before the INITIALIZE FOR LOAD of
	// this top-up, on profiles with a shared counter; some cards forget it then.
	Prove *StepResult
	// Purchase is the signed statement where a purchase was refused. State then
	// repeats what both kinds of refusals have in common.
	Purchase *PurchaseStatement
}

// Error tells the platform's code and text.
func (r *Refused) Error() string {
	return fmt.Sprintf("the platform refused: %s %s", r.State.Code, r.State.Text)
}

// Code is PENDING_LOAD or PENDING_PURCHASE where an earlier order must be settled
// first, and DECLINED otherwise; State.Code is the platform's own.
func (r *Refused) Code() Code {
	switch code := Code(r.State.Code); code {
	case CodePendingLoad, CodePendingPurchase:
		return code
	}
	return CodeDeclined
}

func fail(code Code, op string, err error) *Error { return &Error{Code: code, Op: op, Err: err} }

// asOpen marks err as one that leaves an order open. An error with a code keeps it.
func asOpen(op string, err error) error {
	var trouble *Error
	if errors.As(err, &trouble) {
		open := *trouble
		open.Open = true
		return &open
	}
	return &Error{Code: CodeOutcomeUnknown, Op: op, Open: true, Err: err}
}

var (
	errNotAsked = errors.New("a grant came that was not asked for")
	errNoProbe  = errors.New("the order has no probe number yet")
)
