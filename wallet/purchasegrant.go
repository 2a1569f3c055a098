package wallet

import (
	"encoding/json"
	"time"
)

// Domains of what the platform signs about purchases.
const (
	DomainOffer           Domain = "wallet/offer/1"
	DomainPurchaseGrant   Domain = "wallet/purchase-grant/1"
	DomainPurchaseState   Domain = "wallet/purchase/1"
	DomainPurchaseReceipt Domain = "wallet/purchase-receipt/1"
)

// Kinds of orders.
const (
	KindLoad     = "load"
	KindPurchase = "purchase"
)

// PurchaseProbeAmount stands in INITIALIZE FOR LOAD over the probe of a purchase. No
// CREDIT follows it, and the purchase's own amount might be more than the card
// still takes.
const PurchaseProbeAmount Fen = 1

// PurchaseStateName is the platform's state of an online purchase (protocol §2.19).
type PurchaseStateName string

// The states of a purchase.
const (
	PurchaseOffered    PurchaseStateName = "OFFERED"
	PurchaseAuthorised PurchaseStateName = "AUTHORISED"
	PurchaseDoubtful   PurchaseStateName = "DOUBTFUL"
	PurchasePaid       PurchaseStateName = "PAID"
	PurchaseRefunded   PurchaseStateName = "REFUNDED"
	PurchaseNotTaken   PurchaseStateName = "NOT_TAKEN"
	PurchaseDeclined   PurchaseStateName = "DECLINED"
	PurchaseSuspense   PurchaseStateName = "SUSPENSE"
)

// MerchantOrder is what a person confirms before paying (domain wallet/offer/1).
type MerchantOrder struct {
	Code     string            `json:"code"` // as shown by the merchant
	Merchant string            `json:"merchant"`
	Goods    string            `json:"goods"`
	Amount   Fen               `json:"amount"`
	State    PurchaseStateName `json:"state"`
	Expires  time.Time         `json:"expires"`
	Issued   time.Time         `json:"issued"`
	Request  string            `json:"request"`          // idempotency key of the look-up
	Unload   bool              `json:"unload,omitempty"` // return of purse balance to the main account
}

// PurchaseGrant is the platform's signed permission to debit one card once
// (domain wallet/purchase-grant/1). The script, bound by ScriptSHA256, holds DEBIT
// FOR PURCHASE with MAC1 first and is never stored; for a return of balance it ends
// with INITIALIZE FOR LOAD over the probe.
type PurchaseGrant struct {
	Purchase       string         `json:"purchase"`
	User           string         `json:"user"`
	Key            string         `json:"key"`
	ASN            ASN            `json:"asn"`
	Amount         Fen            `json:"amount"`
	MerchantOrder  string         `json:"merchant_order"`
	Merchant       string         `json:"merchant"`
	Goods          string         `json:"goods"`
	Terminal       TerminalNumber `json:"terminal"`
	TerminalSerial uint32         `json:"terminal_serial"`
	Number         uint16         `json:"number"`  // offline counter of the INITIALIZE FOR PURCHASE answer
	Random         Hex            `json:"random"`  // its random, 4 bytes: lets a restored platform verify MAC2
	Balance        Fen            `json:"balance"` // as that answer claimed it
	ProbeTID       TerminalNumber `json:"probe_tid"`
	Epoch          int            `json:"epoch"`
	Issued         time.Time      `json:"issued"`
	NotAfterS      int            `json:"not_after_s"`
	ScriptSHA256   Hex            `json:"script_sha256"`
	Unload         bool           `json:"unload,omitempty"`
}

// PurchaseGrantedScript is a signed purchase grant with the script that it covers.
type PurchaseGrantedScript struct {
	Grant  Signed          `json:"grant"`
	Script json.RawMessage `json:"script"`
}

// OpenPurchase is what a client needs to settle a purchase, also one that another
// computer began.
type OpenPurchase struct {
	Purchase string            `json:"purchase"`
	ASN      ASN               `json:"asn"`
	Amount   Fen               `json:"amount"`
	Number   uint16            `json:"number"`
	Type     byte              `json:"type"` // 06, or 09 on cards that log composite purchases
	ProbeTID TerminalNumber    `json:"probe_tid"`
	Epoch    int               `json:"epoch"`
	State    PurchaseStateName `json:"state"`
	Merchant string            `json:"merchant"`
	Goods    string            `json:"goods"`
}

// PurchaseStatement is a signed statement about one purchase or one key (domains
// wallet/purchase/1 and, with a receipt, wallet/purchase-receipt/1). Debited and
// Delivered are two facts; nil means that nobody knows yet.
type PurchaseStatement struct {
	Key       string            `json:"key,omitempty"`
	Purchase  string            `json:"purchase,omitempty"`
	Request   string            `json:"request"`
	Issued    time.Time         `json:"issued"`
	State     PurchaseStateName `json:"state"`
	Debited   *bool             `json:"debited,omitempty"`
	Delivered bool              `json:"delivered"`
	Evidence  string            `json:"evidence,omitempty"`
	DoubtEnds *time.Time        `json:"doubt_ends,omitempty"` // DOUBTFUL: when the settlement window closes

	// A refusal.
	Code         string        `json:"code,omitempty"`
	Text         string        `json:"text,omitempty"`
	RetryAfter   *time.Time    `json:"retry_after,omitempty"` // when a limit resets, or a state ends by itself
	Standing     string        `json:"standing,omitempty"`    // ACCOUNT_STATE, CARD_STATE: the state that refused
	LimitFen     Fen           `json:"limit_fen,omitempty"`
	PendingLoad  *OpenOrder    `json:"pending_load,omitempty"` // code PENDING_LOAD: settle this load first
	PendingOther *OpenPurchase `json:"pending,omitempty"`      // code PENDING_PURCHASE: settle this one first
	Authorised   *OpenPurchase `json:"authorised,omitempty"`   // answer to abandon: the purchase exists

	ReceiptBody *PurchaseReceipt `json:"receipt,omitempty"`
}

// PurchaseReceipt is what a person keeps; PAID and REFUNDED carry it.
type PurchaseReceipt struct {
	Purchase       string            `json:"purchase"`
	ASN            ASN               `json:"asn"`
	Amount         Fen               `json:"amount"`
	MerchantOrder  string            `json:"merchant_order"`
	Merchant       string            `json:"merchant"`
	Goods          string            `json:"goods"`
	Terminal       TerminalNumber    `json:"terminal"`
	TerminalSerial uint32            `json:"terminal_serial"`
	TAC            Hex               `json:"tac,omitempty"`
	BalanceAfter   Fen               `json:"balance_after"`
	MainBalance    *Fen              `json:"main_balance,omitempty"` // return of balance
	State          PurchaseStateName `json:"state"`
	Time           time.Time         `json:"time"`
	Demo           bool              `json:"demo,omitempty"`
}
