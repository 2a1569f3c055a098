package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of online purchases (protocol §2.19).
const (
	PathMerchantOrder    = "/v1/merchant-orders/{code}"     // GET → Offer
	PathUnloads          = "/v1/unloads"                    // POST UnloadRequest → Offer: a merchant order of the platform itself
	PathPurchases        = "/v1/purchases"                  // POST PurchaseRequest → PurchaseAnswer; GET ?from=&to=&state=&open=&min=&max=&text=&order=&card=&limit=&cursor= → Purchases
	PathPurchase         = "/v1/purchases/{id}"             // GET → PurchaseAnswer
	PathPurchaseResult   = "/v1/purchases/{id}/result"      // POST PurchaseResult → PurchaseAnswer
	PathPurchaseAttempts = "/v1/purchases/{id}/attempts"    // POST PurchaseAttempt → PurchaseAnswer
	PathPurchaseAbandon  = "/v1/purchases/{id}/abandon"     // POST {} → PurchaseAnswer; id is the key here
	PathPendingPurchases = "/v1/cards/{asn}/purchases/open" // GET → PendingPurchases

	// The merchant's side. Requests are signed with the merchant's Ed25519 key
	// (SignRequest), callbacks with the platform's signer.
	PathShopOrders = "/shop/v1/orders"        // POST ShopOrderRequest → Offer
	PathShopOrder  = "/shop/v1/orders/{code}" // GET → Offer
)

// Offer carries a signed wallet.MerchantOrder (domain wallet/offer/1).
type Offer struct {
	Offer wallet.Signed `json:"offer"`
}

// UnloadRequest asks for a return of purse balance to the main account; the answer
// is an order to be paid like any other.
type UnloadRequest struct {
	ASN    wallet.ASN `json:"asn"`
	Amount wallet.Fen `json:"amount"`

	CompanionSN string `json:"companion_sn,omitempty"`
}

// PurchaseRequest asks for MAC1. Its idempotency key is the purchase's key. Steps
// are the answers to SELECT, SFI 15 and INITIALIZE FOR PURCHASE.
type PurchaseRequest struct {
	MerchantOrder string     `json:"merchant_order"`
	Amount        wallet.Fen `json:"amount"`
	Card          LoadCard   `json:"card"`
	Open          Open       `json:"open"` // TID: the terminal number of INITIALIZE FOR PURCHASE, leased

	CompanionSN string `json:"companion_sn,omitempty"`
}

// PurchaseAnswer answers every request about a purchase: a grant with its script,
// or a signed wallet.PurchaseStatement (domain wallet/purchase-receipt/1 where it
// holds a receipt, wallet/purchase/1 otherwise).
type PurchaseAnswer struct {
	Grant  *wallet.PurchaseGrantedScript `json:"granted,omitempty"`
	State  *wallet.Signed                `json:"state,omitempty"`
	Leases []wallet.Signed               `json:"leases,omitempty"`
}

// PurchaseResult reports what DEBIT FOR PURCHASE answered. It authenticates itself
// by TAC, MAC2 and grant; a session is not needed.
type PurchaseResult struct {
	Steps    []wallet.StepResult `json:"steps"`
	Executed int                 `json:"executed"`
	TAC      wallet.Hex          `json:"tac,omitempty"`
	MAC2     wallet.Hex          `json:"mac2,omitempty"`
	Grant    *wallet.Signed      `json:"grant,omitempty"`
}

// PurchaseAttempt brings the card's evidence about an open purchase.
type PurchaseAttempt struct {
	Prove *wallet.StepResult `json:"prove,omitempty"` // GET TRANSACTION PROVE: MAC2?(4) ‖ TAC(4)
	Open  *Open              `json:"open,omitempty"`  // INITIALIZE FOR LOAD over the probe
	Grant *wallet.Signed     `json:"grant,omitempty"`
}

// PendingPurchases lists open purchases of a card.
type PendingPurchases struct {
	Purchases []wallet.OpenPurchase `json:"purchases"`
}

// Purchases is a page of the person's purchases, newest first.
type Purchases struct {
	Purchases []Purchase `json:"purchases"`
	Page      PageInfo   `json:"page"`
}

// Purchase is one line of "where is my money".
type Purchase struct {
	Purchase    string                   `json:"purchase"`
	Key         string                   `json:"key"`
	State       wallet.PurchaseStateName `json:"state"`
	ASN         wallet.ASN               `json:"asn"`
	Amount      wallet.Fen               `json:"amount"`
	Merchant    string                   `json:"merchant"`
	Goods       string                   `json:"goods"`
	Created     string                   `json:"created"` // RFC 3339
	Debited     *bool                    `json:"debited"`
	Delivered   bool                     `json:"delivered"`
	ReceiptBody *wallet.PurchaseReceipt  `json:"receipt,omitempty"`
	Open        *wallet.OpenPurchase     `json:"open,omitempty"`
}

// ShopOrderRequest is a merchant's new order.
type ShopOrderRequest struct {
	Merchant string     `json:"merchant"`
	Goods    string     `json:"goods"`
	Amount   wallet.Fen `json:"amount"`
	Callback string     `json:"callback,omitempty"` // https, or http on loopback for a demo
}

// DomainShopCallback is the domain of what the platform tells a merchant.
const DomainShopCallback wallet.Domain = "wallet/shop-callback/1"

// ShopCallback is the payload of a callback to a merchant: a POST whose body is a
// wallet.Signed and whose Idempotency-Key is the purchase. The same purchase may be
// told several times and is one payment; a status of 2xx ends the repetition.
type ShopCallback struct {
	Purchase string                   `json:"purchase"`
	Code     string                   `json:"code"` // the merchant's order
	Merchant string                   `json:"merchant"`
	Amount   wallet.Fen               `json:"amount"`
	State    wallet.PurchaseStateName `json:"state"` // PAID
	Time     time.Time                `json:"time"`
}

// Codes of refused purchases: signed, in wallet.PurchaseStatement.Code, and final
// for the key. Those of loads are used where they fit.
const (
	CodePendingPurchase = "PENDING_PURCHASE"   // another purchase of the card is open; PendingOther names it
	CodeMerchantOrder   = "MERCHANT_ORDER"     // unknown, expired, being paid or paid
	CodeAmountDiffers   = "AMOUNT_DIFFERS"     // the confirmed amount is not that of the merchant's order
	CodeCardBalance     = "CARD_BALANCE_SHORT" // the card does not hold the amount
)
