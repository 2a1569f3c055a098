package core

import (
	"context"
	"errors"
	"slices"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Failure is trouble with a code of the one error table. Order is the order that
// is or may be open because of it.
type Failure struct {
	Code   string
	Order  *wallet.Entry
	Detail map[string]any
	Err    error
}

// Error tells code and cause, for logs; people read the table's text.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Code
	}
	return f.Code + ": " + f.Err.Error()
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Open reports whether an order is or may be open because of it.
func (f *Failure) Open() bool { return f.Order != nil || wallet.IsOpen(f.Err) }

// Exit is the console's exit code.
func (f *Failure) Exit() int { return ExitOf(f.Code, f.Open()) }

// coded is what errors of the other packages offer: a code of the table.
type coded interface{ ErrorCode() string }

// factual is what some of them offer besides: facts that the text of the code names.
type factual interface{ Facts() map[string]any }

// readerCodes gives each class of reader trouble its code.
var readerCodes = map[reader.Class]string{
	reader.NoService:    "READER_SERVICE_STOPPED",
	reader.NoAccess:     "READER_DENIED",
	reader.NoReader:     "READER_NONE",
	reader.ReaderGone:   "READER_GONE",
	reader.NoCard:       "CARD_NONE",
	reader.CardGone:     "CARD_LOST",
	reader.CardReset:    "CARD_RESET",
	reader.Busy:         "READER_BUSY",
	reader.Unresponsive: "READER_STUCK",
	reader.Protocol:     "CARD_PROTOCOL",
}

// Explain turns any error of the program into a Failure with a code of the table.
func Explain(err error) *Failure {
	if err == nil {
		return nil
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	var refused *wallet.Refused
	if errors.As(err, &refused) {
		return refusal(refused, err)
	}
	if class := reader.ClassOf(err); class != "" {
		failure := &Failure{Code: readerCodes[class], Err: err}
		if holder := reader.HolderOf(err); holder != "" {
			failure.Detail = map[string]any{"holder": holder}
		}
		return failure
	}
	var withCode coded // the cause deep inside tells more than "outcome unknown" around it
	if errors.As(err, &withCode) {
		return &Failure{Code: InfoOf(withCode.ErrorCode()).Code, Detail: detailOf(withCode), Err: err}
	}
	if code := wallet.CodeOf(err); code != "" {
		return &Failure{Code: string(code), Detail: statusOf(err), Err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Failure{Code: "TIMEOUT", Err: err}
	}
	if errors.Is(err, context.Canceled) {
		return &Failure{Code: "CANCELLED", Err: err}
	}
	return &Failure{Code: "INTERNAL", Err: err}
}

// detailOf is what an error of another package tells besides its code; nil without.
func detailOf(err coded) map[string]any {
	if facts, tells := err.(factual); tells && len(facts.Facts()) > 0 {
		return facts.Facts()
	}
	return nil
}

// statusOf carries the status word by which the card refused a command, the command,
// and the key of the text that says what the one means after the other; nil without.
func statusOf(err error) map[string]any {
	var bad *wallet.BadStatus
	if !errors.As(err, &bad) {
		return nil
	}
	return map[string]any{"command": bad.Command, "sw": bad.SW.String(), "statusKey": wallet.StatusKey(bad.Command, bad.SW)}
}

// countedLimits are refusals whose limit is a number of times, not money. The field
// limit_fen carries either.
var countedLimits = []string{"LIMIT_CARD_DAY_COUNT"}

// refusal carries the platform's signed facts into the detail.
func refusal(refused *wallet.Refused, err error) *Failure {
	state := refused.State
	detail := map[string]any{}
	if state.RetryAfter != nil {
		detail["resets"] = *state.RetryAfter
	}
	switch code := InfoOf(state.Code).Code; {
	case state.LimitFen == 0:
	case slices.Contains(countedLimits, code):
		detail["limit"] = int(state.LimitFen)
	default:
		detail["limitFen"] = state.LimitFen
	}
	if state.Standing != "" {
		detail["standing"] = state.Standing
	}
	if state.WrongsLeft != nil {
		detail["triesLeft"] = *state.WrongsLeft
	}
	if state.Pending != nil {
		detail["order"], detail["amountFen"] = state.Pending.Order, state.Pending.Amount
	}
	if refused.Purchase != nil && refused.Purchase.PendingOther != nil {
		detail["order"], detail["amountFen"] = refused.Purchase.PendingOther.Purchase, refused.Purchase.PendingOther.Amount
	}
	return &Failure{Code: state.Code, Detail: detail, Err: err}
}

// nothingPaid is the failure of an order that the platform has closed since: what
// went wrong stays, that an order may be open does not.
func nothingPaid(err error) error {
	failure := Explain(err)
	return &Failure{Code: failure.Code, Detail: failure.Detail, Err: errors.New(failure.Error())}
}

// isOpen reports whether the failure leaves an order open.
func isOpen(err error) bool {
	failure := Explain(err)
	return failure != nil && (failure.Open() || InfoOf(failure.Code).Exit == ExitOpen)
}
