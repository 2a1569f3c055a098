package wallet

import "context"

// Card is one chip in one unbroken conversation.
//
// Transmit sends a command APDU and returns data ‖ SW1 SW2. After an error nobody
// knows whether the chip executed the command, and the conversation is over.
type Card interface {
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// Intent says what settling an order may do (protocol §2.6).
type Intent string

// The intents. The automatic touch settles; the person completes or cancels.
const (
	IntentSettle   Intent = "settle"   // moves nothing but LOADED
	IntentComplete Intent = "complete" // a new grant where the card proves "not loaded"
	IntentCancel   Intent = "cancel"   // VOIDED where the card proves "not loaded"
)

// Order is a top-up as the person confirmed it. It never changes afterwards.
type Order struct {
	Key    string // idempotency key, UUIDv7, made at the confirmation
	ASN    ASN    // of the card that the confirmation showed
	Amount Fen
	Fee    Fen
	Source string // "main"
	Cap    Fen    // the purse may not hold more than this afterwards; 0: no cap known
}

// LoadAsk is what the platform must know to grant a load.
type LoadAsk struct {
	Order    Order
	Profile  string
	KeyIndex byte
	TID      TerminalNumber
	Steps    []StepResult // raw answers to the open script, INITIALIZE FOR LOAD last
}

// Evidence is what the card proves about an open order. Prove and Steps are each
// absent where the card could not answer.
type Evidence struct {
	Order  OpenOrder
	Intent Intent
	Prove  *StepResult  // GET TRANSACTION PROVE
	Steps  []StepResult // open script with INITIALIZE FOR LOAD over the order's probe, last
	Grant  *Signed      // kept grant, if this computer has it
}

// Verdict is the platform's answer: a grant still to be checked by the guard, or
// a state whose signature has been verified. Exactly one is set.
type Verdict struct {
	Granted *GrantedScript
	State   *OrderState
}

// Issuer is the platform as a load sees it.
//
// RequestLoad and Settle send one request and may repeat it once under the same
// key while ctx lives. An error means "unknown": the platform may have granted.
type Issuer interface {
	RequestLoad(ctx context.Context, ask LoadAsk) (Verdict, error)
	Settle(ctx context.Context, evidence Evidence) (Verdict, error)
}

// Payment is a purchase as the person confirmed it. It never changes afterwards.
type Payment struct {
	Key           string // idempotency key, UUIDv7, made at the confirmation
	ASN           ASN    // of the card that the confirmation showed
	Amount        Fen
	MerchantOrder string // its code
	Merchant      string
	Goods         string
	Unload        bool // return of purse balance to the main account
}

// PurchaseAsk is what the platform must know to authorise a debit.
type PurchaseAsk struct {
	Payment  Payment
	Profile  string
	KeyIndex byte
	TID      TerminalNumber
	Steps    []StepResult // raw answers to the open script, INITIALIZE FOR PURCHASE last
}

// PurchaseEvidence is what the card proves about an open purchase. Prove and Steps
// are each absent where the card could not answer.
type PurchaseEvidence struct {
	Purchase OpenPurchase
	Prove    *StepResult  // GET TRANSACTION PROVE: MAC2 4 ‖ TAC 4
	Steps    []StepResult // open script with INITIALIZE FOR LOAD of 1 fen over the purchase's probe, last
	Grant    *Signed      // kept grant, if this computer has it
}

// PurchaseVerdict is the platform's answer to a PurchaseAsk: a grant still to be
// checked by the guard, or a statement whose signature has been verified. Exactly
// one is set.
type PurchaseVerdict struct {
	Granted *PurchaseGrantedScript
	State   *PurchaseStatement
}

// Cashier is the platform as a purchase sees it.
//
// Both send one request and may repeat it once under the same key while ctx lives.
// An error means "unknown": the platform may have authorised. SettlePurchase never
// brings a new authorisation; its statement's signature has been verified.
type Cashier interface {
	RequestPurchase(ctx context.Context, ask PurchaseAsk) (PurchaseVerdict, error)
	SettlePurchase(ctx context.Context, evidence PurchaseEvidence) (PurchaseStatement, error)
}
