// Package bankapi holds what a bank publishes to its partners, one Go type for each
// message: HTTPS and JSON under /bank/v1, requests signed by the partner in the form
// of api.SignRequest, answers signed by the bank; the gateway's forms for a browser
// and the callback of the older kind; the file of a day's statement. Amounts are fen.
//
// Every operation is idempotent by the serial that its caller gives it, for ever, and
// can be asked for by that serial. What is not signed by the bank says nothing: the
// caller asks again. A refusal that is signed is final for its serial.
package bankapi

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of the interface. Every one is a POST whose answer is a wallet.Signed.
const (
	PathBindings    = "/bank/v1/bindings"         // BindRequest → Outcome SENT: the bank sends a code to the phone
	PathBindConfirm = "/bank/v1/bindings/confirm" // BindConfirm → Outcome BOUND with a token
	PathUnbind      = "/bank/v1/unbindings"       // UnbindRequest → Outcome UNBOUND
	PathCodes       = "/bank/v1/codes"            // CodeRequest → Outcome SENT: a code for one payment
	PathDebits      = "/bank/v1/debits"           // DebitRequest → Outcome PAID, or FROZEN
	PathCaptures    = "/bank/v1/captures"         // FollowRequest → Outcome CAPTURED
	PathReleases    = "/bank/v1/releases"         // FollowRequest → Outcome RELEASED
	PathReversals   = "/bank/v1/reversals"        // FollowRequest → Outcome REVERSED: advice, repeated until answered
	PathRefunds     = "/bank/v1/refunds"          // FollowRequest → Outcome REFUNDED
	PathPayouts     = "/bank/v1/payouts"          // PayoutRequest → Outcome REFUNDED
	PathOrders      = "/bank/v1/orders"           // OrderRequest → Outcome OPEN with a page for a browser
	PathQueries     = "/bank/v1/queries"          // QueryRequest → Outcome of the operation with that serial
	PathStatements  = "/bank/v1/statements"       // StatementRequest → Statement
	PathDemoCards   = "/bank/v1/demo/cards"       // DemoRequest → DemoCards: of a demo bank only
	PathDemoTexts   = "/bank/v1/demo/messages"    // DemoRequest → DemoMessages: of a demo bank only

	PathGateway    = "/gateway/pay"     // GET with the fields of GatewayRequest: the page for a browser
	PathGatewayPay = "/gateway/confirm" // POST of that page's forms
)

// Domains of what a bank signs.
const (
	DomainAnswer    wallet.Domain = "wallet/bank-answer/1"    // Outcome, Statement, DemoCards, DemoMessages
	DomainStatement wallet.Domain = "wallet/bank-statement/1" // the bytes of a statement file
)

// The states of an operation. UNKNOWN is the answer to a query for a serial that the
// bank has not seen; it proves nothing, because the request may still be on its way.
// Only a reversal, which a bank keeps for a serial that it does not know, closes it.
const (
	StateSent     = "SENT"
	StateBound    = "BOUND"
	StateLocked   = "LOCKED" // of a binding: three wrong codes
	StateUnbound  = "UNBOUND"
	StatePaid     = "PAID"
	StateFrozen   = "FROZEN"
	StateCaptured = "CAPTURED"
	StateReleased = "RELEASED"
	StateReversed = "REVERSED"
	StateRefunded = "REFUNDED"
	StateOpen     = "OPEN"
	StateExpired  = "EXPIRED"
	StateRefused  = "REFUSED"
	StateUnknown  = "UNKNOWN"
)

// Codes of refusals.
const (
	CodeCardData   = "CARD_DATA"      // card number, name and phone do not belong together, or there is no such card
	CodeCreditCard = "CREDIT_CARD"    // a credit card is no source
	CodeWrongCode  = "CODE_WRONG"     // TriesLeft says how many remain
	CodeCodeLocked = "CODE_LOCKED"    // too many wrong codes: begin again
	CodeCodeOld    = "CODE_EXPIRED"   // the code is of another payment, used or too old
	CodeFunds      = "FUNDS_SHORT"    // the customer's account does not cover the amount
	CodeNoBinding  = "NO_BINDING"     // the token is unknown or was unbound
	CodeReversed   = "REVERSED"       // the reversal came first
	CodeOver       = "AMOUNT_OVER"    // more than was paid and not yet given back
	CodeOnce       = "REFUNDED_ONCE"  // this bank refunds every payment once
	CodeState      = "STATE"          // the operation is in a state that does not allow this
	CodeExpired    = "ORDER_EXPIRED"  // nobody paid the order in time
	CodeSettlement = "SETTLEMENT_LOW" // the partner's own account does not cover it
)

// BindRequest asks for a binding. The bank compares all three with what its customer
// left there, and sends a code to that phone.
type BindRequest struct {
	Serial string `json:"serial"`
	Card   string `json:"card"` // the whole number; it goes nowhere but to the bank
	Name   string `json:"name"`
	Phone  string `json:"phone"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r BindRequest) CallerSerial() string { return r.Serial }

// BindConfirm brings the code. Every try has a serial of its own; Of is that of the
// BindRequest.
type BindConfirm struct {
	Serial string `json:"serial"`
	Of     string `json:"of"`
	Code   string `json:"code"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r BindConfirm) CallerSerial() string { return r.Serial }

// UnbindRequest ends a binding.
type UnbindRequest struct {
	Serial string `json:"serial"`
	Token  string `json:"token"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r UnbindRequest) CallerSerial() string { return r.Serial }

// CodeRequest makes the bank send a code for one payment of this amount.
type CodeRequest struct {
	Serial string     `json:"serial"`
	Token  string     `json:"token"`
	Amount wallet.Fen `json:"amount"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r CodeRequest) CallerSerial() string { return r.Serial }

// DebitRequest takes the amount from the bound card now, or freezes it until a
// capture. CodeOf and Code are those of a CodeRequest, where the partner's rules want
// one; a code that is given must be right.
type DebitRequest struct {
	Serial string     `json:"serial"`
	Token  string     `json:"token"`
	Amount wallet.Fen `json:"amount"`
	Freeze bool       `json:"freeze"`
	CodeOf string     `json:"code_of,omitempty"`
	Code   string     `json:"code,omitempty"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r DebitRequest) CallerSerial() string { return r.Serial }

// FollowRequest is about an earlier operation, Of. Amount counts in captures and
// refunds; it is zero elsewhere.
type FollowRequest struct {
	Serial string     `json:"serial"`
	Of     string     `json:"of"`
	Amount wallet.Fen `json:"amount"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r FollowRequest) CallerSerial() string { return r.Serial }

// PayoutRequest pays from the partner's account to a bound card.
type PayoutRequest struct {
	Serial string     `json:"serial"`
	Token  string     `json:"token"`
	Amount wallet.Fen `json:"amount"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r PayoutRequest) CallerSerial() string { return r.Serial }

// OrderRequest makes an order at the gateway, which a person pays in a browser.
type OrderRequest struct {
	Serial   string     `json:"serial"`
	Amount   wallet.Fen `json:"amount"`
	Goods    string     `json:"goods"`
	Expires  time.Time  `json:"expires"`
	Notify   string     `json:"notify,omitempty"`    // https, or http on loopback: told of success only
	NotifyCA []byte     `json:"notify_ca,omitempty"` // DER of the authority that the bank is to trust there
}

// CallerSerial is the serial that the caller gave the operation.
func (r OrderRequest) CallerSerial() string { return r.Serial }

// QueryRequest asks how the operation with a serial stands.
type QueryRequest struct {
	Serial string `json:"serial"`
}

// CallerSerial is the serial that the caller gave the operation.
func (r QueryRequest) CallerSerial() string { return r.Serial }

// Outcome is the signed answer to every request about an operation.
type Outcome struct {
	Request   string     `json:"request"` // nonce of the request that it answers
	Serial    string     `json:"serial"`
	State     string     `json:"state"`
	Code      string     `json:"code,omitempty"`
	Amount    wallet.Fen `json:"amount"`
	Refunded  wallet.Fen `json:"refunded,omitempty"` // given back of it so far
	Journal   string     `json:"journal,omitempty"`  // the bank's own number, unique
	Token     string     `json:"token,omitempty"`    // of a binding
	Account   string     `json:"account,omitempty"`  // of a binding: the same for the same card and partner, and nothing else
	Last4     string     `json:"last4,omitempty"`
	Page      string     `json:"page,omitempty"`       // of an order: address for a browser
	TriesLeft *int       `json:"tries_left,omitempty"` // after a wrong code
	Time      time.Time  `json:"time"`
}

// StatementRequest asks for the statement of a business day (YYYYMMDD, Shanghai).
type StatementRequest struct {
	Day string `json:"day"`
}

// Statement carries a statement file with its detached signature: Ed25519 over
// DomainStatement ‖ 00 ‖ file.
type Statement struct {
	Request string `json:"request"`
	File    []byte `json:"file"`
	Sig     []byte `json:"sig"`
}

// DemoRequest names a customer of a demo bank by phone number.
type DemoRequest struct {
	Phone string `json:"phone"`
}

// DemoCards are the cards that a demo bank has for a customer. It opens an account
// for whoever has none.
type DemoCards struct {
	Request string     `json:"request"`
	Cards   []DemoCard `json:"cards"`
}

// DemoCard is a made-up bank card.
type DemoCard struct {
	Card  string `json:"card"`
	Name  string `json:"name"`
	Phone string `json:"phone"`
}

// DemoMessages are the latest text messages of a demo bank to one phone, newest first.
type DemoMessages struct {
	Request  string        `json:"request"`
	Messages []DemoMessage `json:"messages"`
}

// DemoMessage is one text message.
type DemoMessage struct {
	Time time.Time `json:"time"`
	Of   string    `json:"of"` // serial of the request that it was sent for
	Text string    `json:"text"`
	Code string    `json:"code"`
}
