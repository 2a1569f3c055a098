package api

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// Paths of bound bank cards and of money that goes back to them (protocol §2.16,
// §2.18; requirements M8, B1–B8).
const (
	PathBanks       = "/v1/banks"              // POST BankBindRequest → BankBinding; GET → Banks
	PathBankConfirm = "/v1/banks/{id}/confirm" // POST BankConfirmRequest → BankBinding
	PathBankUnbind  = "/v1/banks/{id}/unbind"  // POST {} → BankBinding
	PathBankCodes   = "/v1/banks/{id}/codes"   // POST BankCodeRequest → SMSSent
	PathBankDemo    = "/v1/bank-demo"          // GET → BankDemo: of a demo platform only
	PathBankReturns = "/v1/bank-returns"       // POST BankReturnRequest → BankReturnAnswer; GET → BankReturns
	PathBankReturn  = "/v1/bank-returns/{id}"  // GET → BankReturnAnswer
)

// BankGateway is the FundingSource.ID of a payment at the bank's own page.
const BankGateway = "gateway"

// States of a binding. Every binding is a version of its own: a card that is bound
// again gets another one.
const (
	BankBegun   = "BINDING" // the bank has sent a code
	BankBound   = "BOUND"
	BankLocked  = "LOCKED" // too many wrong codes: begin again
	BankUnbound = "UNBOUND"
)

// BankBindRequest begins a binding: the bank compares card number, name and phone
// with what its customer left there, and sends a code. The seal holds all three
// (SealBankCard); the platform passes them on and keeps the last four digits.
type BankBindRequest struct {
	CardSeal []byte `json:"card_seal"`
}

// BankConfirmRequest brings the bank's code.
type BankConfirmRequest struct {
	Code string `json:"code"`
}

// BankCodeRequest makes the bank send a code for one payment of this amount.
type BankCodeRequest struct {
	Amount wallet.Fen `json:"amount"`
}

// Bank is a bank that cards can be bound at.
type Bank struct {
	Bank      string `json:"bank"`
	Name      string `json:"name"`
	Reachable bool   `json:"reachable"`
}

// BankBinding is a bank card of the account, or one on its way to be bound.
type BankBinding struct {
	ID      string    `json:"id"` // FundingSource.ID
	Bank    string    `json:"bank"`
	Name    string    `json:"name"` // of the bank
	Last4   string    `json:"last4"`
	State   string    `json:"state"`
	Version int       `json:"version"` // how often this card was bound by this account
	Created time.Time `json:"created"`

	CodeAbove  wallet.Fen `json:"code_above"` // a payment above this needs a code of the bank; 0: every one
	Returnable wallet.Fen `json:"returnable"` // what came from this card and was not given back
}

// Banks lists the banks and the person's bound cards.
type Banks struct {
	Banks    []Bank        `json:"banks"`
	Bindings []BankBinding `json:"bindings"`
}

// BankDemo tells what a demo has for the person: made-up bank cards, and what the
// demo bank has sent to the person's phone, newest first.
type BankDemo struct {
	Cards    []BankDemoCard    `json:"cards"`
	Messages []BankDemoMessage `json:"messages"`
}

// BankDemoCard is a made-up bank card, complete, because there is nothing behind it.
type BankDemoCard struct {
	Card  string `json:"card"`
	Name  string `json:"name"`
	Phone string `json:"phone"`
}

// BankDemoMessage is a text message of the demo bank.
type BankDemoMessage struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
	Code string    `json:"code"`
}

// BankReturnRequest sends money from the main account back to a bound bank card. Its
// idempotency key is the return's key.
type BankReturnRequest struct {
	Binding string     `json:"binding"`
	Amount  wallet.Fen `json:"amount"`
	PaySeal []byte     `json:"pay_seal"` // SealBankReturn

	CompanionSN string `json:"companion_sn,omitempty"`
}

// BankReturnAnswer carries a signed BankReturnState (domain wallet/bank-return/1).
type BankReturnAnswer struct {
	State *wallet.Signed `json:"state,omitempty"`
}

// DomainBankReturn is the domain of what the platform signs about returns.
const DomainBankReturn wallet.Domain = "wallet/bank-return/1"

// States of a return: the money is held, has arrived, or is back in the main account.
const (
	BankReturnPending  = "PENDING"
	BankReturnDone     = "DONE"
	BankReturnDeclined = "DECLINED"
)

// BankReturnState is a signed statement about one return (domain
// wallet/bank-return/1). Request names the idempotency key of the question.
type BankReturnState struct {
	Key      string     `json:"key,omitempty"`
	Return   string     `json:"return,omitempty"` // the platform's number; a refused one has none
	Request  string     `json:"request"`
	Issued   time.Time  `json:"issued"`
	State    string     `json:"state"`
	Amount   wallet.Fen `json:"amount"`
	Returned wallet.Fen `json:"returned"` // what the bank has confirmed so far
	Binding  string     `json:"binding"`
	Bank     string     `json:"bank,omitempty"` // its name
	Last4    string     `json:"last4,omitempty"`
	Created  time.Time  `json:"created,omitzero"`

	Code       string     `json:"code,omitempty"`
	Text       string     `json:"text,omitempty"`
	RetryAfter *time.Time `json:"retry_after,omitempty"`
	LimitFen   wallet.Fen `json:"limit_fen,omitempty"`
	WrongsLeft *int       `json:"wrongs_left,omitempty"`
	Standing   string     `json:"standing,omitempty"` // ACCOUNT_STATE: the state that refused
}

// BankReturns lists the person's returns, newest first.
type BankReturns struct {
	Returns []BankReturnState `json:"returns"`
}

const (
	domainBankReturnSeal = "wallet/bank-return-seal/1"
	domainBankCardSeal   = "wallet/bank-card-seal/1"
)

// BankReturnCore is what the payment password's seal of a return is bound to.
type BankReturnCore struct {
	Binding string
	Amount  wallet.Fen
	Key     string
}

// BankReturnCoreHash is the info of SealBankReturn.
func BankReturnCoreHash(core BankReturnCore) []byte {
	amount := binary.BigEndian.AppendUint64(nil, uint64(core.Amount))
	return sealInfo(domainBankReturnSeal, []byte(core.Binding), amount, []byte(core.Key))
}

// SealBankReturn seals a payment password for one return and no other order.
func SealBankReturn(pub []byte, core BankReturnCore, pin string) ([]byte, error) {
	return sealPassword(pub, BankReturnCoreHash(core), pin)
}

// OpenBankReturn is the platform's side of SealBankReturn.
func OpenBankReturn(key hpke.PrivateKey, core BankReturnCore, seal []byte) (string, error) {
	return openPassword(key, BankReturnCoreHash(core), seal)
}

// BankCard is what a person types to bind a bank card.
type BankCard struct {
	Number string // 12 to 19 digits
	Name   string
	Phone  string // the one that the bank knows
}

// ErrBankCard means that a bank card's facts cannot be right.
var ErrBankCard = errors.New("card number, name or phone number cannot be right")

// BankCardBinding is what sealed facts of a bank card are bound to.
type BankCardBinding struct {
	Thumbprint string // of the device key that signs the request
	Key        string // idempotency key of the request
}

func (b BankCardBinding) info() []byte {
	return sealInfo(domainBankCardSeal, []byte(b.Thumbprint), []byte(b.Key))
}

// SealBankCard seals the facts of a bank card to the platform's public key.
func SealBankCard(pub []byte, binding BankCardBinding, card BankCard) ([]byte, error) {
	plain := strings.Join([]string{card.Number, card.Phone, card.Name}, "\n")
	if !card.plausible() || len(plain) > MaxPasswordLen {
		return nil, ErrBankCard
	}
	return sealPassword(pub, binding.info(), plain)
}

// OpenBankCard is the platform's side of SealBankCard.
func OpenBankCard(key hpke.PrivateKey, binding BankCardBinding, seal []byte) (BankCard, error) {
	plain, err := openPassword(key, binding.info(), seal)
	if err != nil {
		return BankCard{}, err
	}
	parts := strings.Split(plain, "\n")
	if len(parts) != 3 {
		return BankCard{}, ErrBankCard
	}
	card := BankCard{Number: parts[0], Phone: parts[1], Name: parts[2]}
	if !card.plausible() {
		return BankCard{}, ErrBankCard
	}
	return card, nil
}

func (c BankCard) plausible() bool {
	digits := len(c.Number) >= 12 && len(c.Number) <= 19 && strings.Trim(c.Number, "0123456789") == ""
	return digits && c.Name != "" && c.Phone != "" && !strings.ContainsAny(c.Name+c.Phone, "\n\r")
}

// Codes of refusals about bank cards.
const (
	CodeBankUnreachable = "BANK_UNREACHABLE" // the bank does not answer, or there is none; nothing is known
	CodeBankCardData    = "BANK_CARD_DATA"   // number, name and phone do not belong together at the bank
	CodeBankCreditCard  = "BANK_CREDIT_CARD" // credit cards are no source (§2.14)
	CodeBankCodeNeeded  = "BANK_CODE_NEEDED" // ask for a code of the bank first
	CodeBankCodeWrong   = "BANK_CODE_WRONG"  // wrong, used or too old; WrongsLeft
	CodeBankLocked      = "BANK_LOCKED"      // too many wrong entries
	CodeBankFunds       = "BANK_FUNDS_SHORT" // the card's account does not cover the amount
	CodeBankBinding     = "BANK_BINDING"     // no such bound card
	CodeBankInUse       = "BANK_IN_USE"      // a payment with this card is still open
	CodeBankReturnOver  = "BANK_RETURN_OVER" // more than came from this card: LimitFen; withdrawals need a real-name account
	CodeBankRefused     = "BANK_REFUSED"     // the bank gave another reason
)
