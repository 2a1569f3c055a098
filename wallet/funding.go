package wallet

import "time"

// DomainFunding is the domain word of what the platform signs about fundings.
const DomainFunding Domain = "wallet/funding/1"

// KindFunding is money on its way into the main account: from a bank, a voucher, a
// hall's counter, or a net-bank transfer. No card takes part in it.
const KindFunding = "funding"

// FundingState is the platform's state of a funding (protocol §2.7).
type FundingState string

// The states of a funding.
const (
	FundingReceived  FundingState = "RECEIVED"  // the key is stored; nothing was asked yet
	FundingPending   FundingState = "PENDING"   // the source was asked, and nobody knows yet
	FundingDone      FundingState = "DONE"      // the main account has the money
	FundingDeclined  FundingState = "DECLINED"  // nothing was taken, and nothing will be
	FundingReversing FundingState = "REVERSING" // given up: the source is told to undo what it may have done
	FundingReversed  FundingState = "REVERSED"  // undone at the source
)

// FundingStates are all states of a funding, in the order of console and window.
var FundingStates = []FundingState{
	FundingReceived, FundingPending, FundingDone, FundingDeclined, FundingReversing, FundingReversed,
}

// Final reports whether nothing will happen to the money any more.
func (s FundingState) Final() bool {
	return s == FundingDone || s == FundingDeclined || s == FundingReversed
}

// StageOf is the stage of this computer's journal that follows from a final state.
func (s FundingState) StageOf() (stage Stage, final bool) {
	switch s {
	case FundingDone:
		return StageConfirmed, true
	case FundingDeclined:
		return StageDeclined, true
	case FundingReversed:
		return StageVoided, true
	}
	return "", false
}

// Refusal is what a refused funding has in common with every refusal.
func (f FundingStatement) Refusal() *Refused {
	return &Refused{State: OrderState{
		Key: f.Key, Request: f.Request, Issued: f.Issued, State: StateDeclined, Code: f.Code, Text: f.Text,
		RetryAfter: f.RetryAfter, LimitFen: f.LimitFen, WrongsLeft: f.WrongsLeft, Standing: f.Standing,
	}}
}

// FundingStatement is a signed statement about one funding or one key (domain
// wallet/funding/1). Request names the idempotency key of the question that it
// answers, so that an old answer cannot be served for a new question.
type FundingStatement struct {
	Key     string       `json:"key,omitempty"`
	Funding string       `json:"funding,omitempty"` // the platform's number; a refused one has none
	Request string       `json:"request"`
	Issued  time.Time    `json:"issued"`
	State   FundingState `json:"state"`
	Amount  Fen          `json:"amount"`
	Source  string       `json:"source,omitempty"` // as FundingRequest.Source names it: voucher:SERIAL masked, bank:ID

	Page string `json:"page,omitempty"` // PENDING at a bank's gateway: where the person pays, in a browser

	// A refusal.
	Code       string     `json:"code,omitempty"`
	Text       string     `json:"text,omitempty"`
	RetryAfter *time.Time `json:"retry_after,omitempty"` // when a limit or a lock ends
	LimitFen   Fen        `json:"limit_fen,omitempty"`
	WrongsLeft *int       `json:"wrongs_left,omitempty"`
	Standing   string     `json:"standing,omitempty"` // ACCOUNT_STATE: the state that refused

	ReceiptBody *FundingReceipt `json:"receipt,omitempty"` // DONE
}

// FundingReceipt is what a person keeps of money that was paid in.
type FundingReceipt struct {
	Funding     string    `json:"funding"`
	Amount      Fen       `json:"amount"`
	Source      string    `json:"source"`
	Reference   string    `json:"reference,omitempty"` // the source's own number: bank serial, till receipt
	MainBalance Fen       `json:"main_balance"`        // right after the credit
	Time        time.Time `json:"time"`
	Demo        bool      `json:"demo,omitempty"`
}
