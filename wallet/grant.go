package wallet

import (
	"encoding/json"
	"time"
)

// Step is one command of a script that the platform publishes. APDU is upper-case
// hex; an open script may hold the placeholders {amount} (8 digits), {tid} (12)
// and {key_idx} (2), which the client fills from the confirmed order.
type Step struct {
	APDU    string   `json:"apdu"`
	Expect  []string `json:"expect,omitempty"` // status word masks such as "9000", "63CX"; none means 9000
	Once    bool     `json:"once,omitempty"`
	OnError string   `json:"on_error,omitempty"` // "stop" (also when empty) or "continue"
}

// Script is a signed list of steps for one card profile (domain wallet/script/1).
type Script struct {
	Name    string `json:"name"`    // "load-open"
	Profile string `json:"profile"` // name of a built-in card profile
	Version int    `json:"version"`
	Steps   []Step `json:"steps"`
}

// StepResult is the raw answer of the card to one step.
type StepResult struct {
	SW   Hex `json:"sw"`
	Data Hex `json:"data"`
}

// Lease is a terminal number for one use (domain wallet/lease/1).
type Lease struct {
	TID     TerminalNumber `json:"tid"`
	Device  string         `json:"device"`
	Epoch   int            `json:"epoch"`
	Expires time.Time      `json:"expires"`
}

// Grant is the platform's signed permission to credit one card once
// (domain wallet/grant/1, protocol §2.6). It binds order, card, amount, terminal
// number and online counter; ScriptSHA256 binds the script, which holds MAC2 and
// is therefore never stored.
type Grant struct {
	Order        string         `json:"order"`
	User         string         `json:"user"`
	ASN          ASN            `json:"asn"`
	Amount       Fen            `json:"amount"`
	Fee          Fen            `json:"fee"`
	Source       string         `json:"source"`
	Key          string         `json:"key"`
	Attempt      int            `json:"attempt"`
	TID          TerminalNumber `json:"tid"`
	Seq          uint16         `json:"seq"`
	ProbeTID     TerminalNumber `json:"probe_tid"`
	Epoch        int            `json:"epoch"`
	Issued       time.Time      `json:"issued"`
	NotAfterS    int            `json:"not_after_s"`
	ScriptSHA256 Hex            `json:"script_sha256"`
}

// GrantedScript is a signed grant with the script that it covers. Script is kept
// as the bytes that arrived, because the grant holds their SHA-256.
type GrantedScript struct {
	Grant  Signed          `json:"grant"`
	Script json.RawMessage `json:"script"`
}

// LoadState is the platform's state of a load order (protocol §2.7).
type LoadState string

// The states of a load order.
const (
	StateReceived LoadState = "RECEIVED"
	StateGranted  LoadState = "GRANTED"
	StateLoaded   LoadState = "LOADED"
	StateVoided   LoadState = "VOIDED"
	StateDeclined LoadState = "DECLINED"
	StateSuspense LoadState = "SUSPENSE"
)

// OpenOrder is what a client needs to settle an order, also one that another
// computer began.
type OpenOrder struct {
	Order    string         `json:"order"`
	Key      string         `json:"key,omitempty"` // of the request that began it
	ASN      ASN            `json:"asn"`
	Attempt  int            `json:"attempt"`
	Seq      uint16         `json:"seq"`
	Amount   Fen            `json:"amount"`
	ProbeTID TerminalNumber `json:"probe_tid"`
	Epoch    int            `json:"epoch"`
	State    LoadState      `json:"state"`
}

// OrderState is a signed statement about one order or one key (domains
// wallet/order/1 and, with the receipt's fields, wallet/receipt/1). Key or Order
// names its subject; Request names the idempotency key of the question that it
// answers, so that an old answer cannot be served for a new question.
type OrderState struct {
	Key     string    `json:"key,omitempty"`
	Order   string    `json:"order,omitempty"`
	Request string    `json:"request"`
	Issued  time.Time `json:"issued"`
	State   LoadState `json:"state"`

	// A refusal.
	Code        string     `json:"code,omitempty"`
	Text        string     `json:"text,omitempty"`
	RetryAfter  *time.Time `json:"retry_after,omitempty"` // when a limit resets, or a state ends by itself
	Standing    string     `json:"standing,omitempty"`    // ACCOUNT_STATE, CARD_STATE: the state that refused
	Pending     *OpenOrder `json:"pending,omitempty"`     // code PENDING_LOAD: settle this one first
	LimitFen    Fen        `json:"limit_fen,omitempty"`   // the limit that refused; a count for LIMIT_CARD_DAY_COUNT
	WrongsLeft  *int       `json:"wrongs_left,omitempty"` // code PASSWORD_WRONG
	OnCard      *bool      `json:"on_card,omitempty"`     // settle: the card proves that it has (not) the value
	Evidence    string     `json:"evidence,omitempty"`    // tac, prove, counter-same, counter-advanced, balance, uploads, staff, none
	ReceiptBody *Receipt   `json:"receipt,omitempty"`
}

// Receipt is what a person keeps; final states carry it.
type Receipt struct {
	Order         string         `json:"order"`
	ASN           ASN            `json:"asn"`
	Amount        Fen            `json:"amount"`
	Fee           Fen            `json:"fee"`
	Source        string         `json:"source"`
	Attempt       int            `json:"attempt"`
	TID           TerminalNumber `json:"tid"`
	TAC           Hex            `json:"tac,omitempty"`
	BalanceBefore Fen            `json:"balance_before"`
	BalanceAfter  Fen            `json:"balance_after"`
	MainBalance   Fen            `json:"main_balance"`
	State         LoadState      `json:"state"`
	Time          time.Time      `json:"time"`
	Demo          bool           `json:"demo,omitempty"`
}
