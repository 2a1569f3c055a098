package platformclient

import (
	"errors"
	"fmt"
	"time"

	"walletcompanion/platformclient/api"
)

// Kind says what went wrong on the way, which decides what may be concluded.
type Kind string

// The kinds of Error.
const (
	KindNetwork     Kind = "network"       // no answer arrived
	KindTLS         Kind = "tls"           // whoever answered is not the platform of the profile
	KindUnsigned    Kind = "unsigned"      // an answer that is not signed as it must be, or answers something else
	KindStatus      Kind = "status"        // a refusal without a signature; Code names it
	KindProfile     Kind = "profile"       // the platform profile lacks keys
	KindNotLoggedIn Kind = "not-logged-in" // nobody is logged in, or the login is over
	KindLocal       Kind = "local"         // this computer: vault, journal mark, password prompt
)

// Codes that the client makes itself, besides those of package api.
const (
	CodeNetwork        = "NETWORK"
	CodeTLS            = "TLS_REFUSED"
	CodeAnswerUnsigned = "ANSWER_UNSIGNED" // the signature is missing or foreign
	CodeAnswerForeign  = "ANSWER_FOREIGN"  // signed, but about another order or question
	CodeAnswerBroken   = "ANSWER_BROKEN"   // not the JSON that was expected, or too long
	CodeLocal          = "LOCAL"
	CodeNoLease        = "NO_LEASE"
)

// Error is what every call returns on failure. Where money is concerned every
// Error means "unknown", whatever its kind: only a signed state closes an order.
type Error struct {
	Kind Kind
	Code string // stable; of package api for KindStatus, else one of this package
	Text string // the platform's words, KindStatus only
	// Sent is false only when the request surely did not leave this computer: no
	// connection stood. True means that the platform may have acted on it.
	Sent       bool
	Status     int           // HTTP status, 0 without an answer
	RetryAfter time.Duration // what the platform asked to wait, 0 if it said nothing
	TriesLeft  *int          // before a password is locked; nil where that is not said
	Err        error

	// What an unsigned refusal tells besides: the state of account or card that refused,
	// when that ends by itself, and what keeps an account from being closed.
	Standing string
	Until    *time.Time
	Owed     *api.Owed
}

// Error names kind, code and cause. It never holds a password, token or seal.
func (e *Error) Error() string {
	text := fmt.Sprintf("platform: %s (%s)", e.Code, e.Kind)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// ErrorCode is the code, for whoever has one table for the codes of all parts.
func (e *Error) ErrorCode() string { return e.Code }

// Facts are what a text for people may name: waitS, seconds that the platform asked to
// wait; triesLeft; the standing that refused and when it ends; what an account still owes.
func (e *Error) Facts() map[string]any {
	facts := map[string]any{}
	if e.RetryAfter > 0 {
		facts["waitS"] = int(e.RetryAfter / time.Second)
	}
	if e.TriesLeft != nil {
		facts["triesLeft"] = *e.TriesLeft
	}
	if e.Standing != "" {
		facts["standing"] = e.Standing
	}
	if e.Until != nil {
		facts["resets"] = *e.Until
	}
	if e.Owed != nil {
		facts["mainFen"], facts["heldFen"], facts["purseFen"], facts["openOrders"] = e.Owed.Main, e.Owed.Held, e.Owed.Purse, e.Owed.OpenOrders
	}
	return facts
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of an Error anywhere in err's chain, or "".
func CodeOf(err error) string {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Code
	}
	return ""
}

// KindOf returns the kind of an Error anywhere in err's chain, or "".
func KindOf(err error) Kind {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Kind
	}
	return ""
}

// SurelyNotSent reports that err proves that the request never left, so that an
// order may still be dropped without asking the platform.
func SurelyNotSent(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	return ok && !failure.Sent
}

func localError(err error) *Error { return &Error{Kind: KindLocal, Code: CodeLocal, Err: err} }

// unsigned is the error for an answer that proves nothing. It was answered, so the
// request was sent.
func unsigned(code, text string) *Error {
	return &Error{Kind: KindUnsigned, Code: code, Sent: true, Err: errors.New(text)}
}
