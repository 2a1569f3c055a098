package api

import (
	"crypto/hpke"
	"encoding/binary"
	"time"

	"walletcompanion/wallet"
)

// Paths of fundings: money on its way into the main account (protocol §2.6, §2.16).
const (
	PathFundings       = "/v1/fundings"              // POST FundingRequest → FundingAnswer; GET → Fundings
	PathFunding        = "/v1/fundings/{id}"         // GET → FundingAnswer
	PathFundingAbandon = "/v1/fundings/{id}/abandon" // POST {} → FundingAnswer; id is the key here
)

// Kinds of sources of a funding. The first two are asked for by a person; cash and
// transfers reach the platform from the counter and from the bank.
const (
	FundingBank     = "bank"
	FundingVoucher  = "voucher"
	FundingCash     = "cash"
	FundingTransfer = "transfer"
)

// FundingRequest asks for money from outside. Its idempotency key is the funding's
// key. The answer is 200 where it is final, 202 while nobody knows yet.
type FundingRequest struct {
	Amount  wallet.Fen    `json:"amount"` // of a voucher: what stands on it, or 0
	Source  FundingSource `json:"source"`
	PaySeal []byte        `json:"pay_seal,omitempty"` // SealFunding; a voucher needs none

	CompanionSN string `json:"companion_sn,omitempty"`
}

// FundingSource names where the money comes from.
type FundingSource struct {
	Kind string `json:"kind"` // bank or voucher

	ID   string   `json:"id,omitempty"`   // bank: which of the person's bound cards
	Code *SMSCode `json:"code,omitempty"` // bank: where a limit asks for one

	Serial  string `json:"serial,omitempty"`   // voucher: 18 digits
	PINSeal []byte `json:"pin_seal,omitempty"` // voucher: SealVoucher
}

// Name is the source as order core, journal and receipts name it: bank:ID or
// voucher:SERIAL. The serial alone opens no voucher.
func (s FundingSource) Name() string {
	if s.Kind == FundingVoucher {
		return s.Kind + ":" + s.Serial
	}
	return s.Kind + ":" + s.ID
}

// FundingAnswer carries a signed wallet.FundingStatement (domain wallet/funding/1).
type FundingAnswer struct {
	State *wallet.Signed `json:"state,omitempty"`
}

// Fundings lists the person's fundings, newest first.
type Fundings struct {
	Fundings []Funding `json:"fundings"`
}

// Funding is one line of "where is my money".
type Funding struct {
	Funding     string                 `json:"funding"`
	Key         string                 `json:"key"`
	Kind        string                 `json:"kind"`   // bank, voucher, cash, transfer
	Source      string                 `json:"source"` // as in the receipt
	State       wallet.FundingState    `json:"state"`
	Amount      wallet.Fen             `json:"amount"`
	Created     time.Time              `json:"created"`
	Finished    *time.Time             `json:"finished,omitempty"`
	ReceiptBody *wallet.FundingReceipt `json:"receipt,omitempty"`
}

const (
	domainFundingSeal = "wallet/funding-seal/1"
	domainVoucherSeal = "wallet/voucher-seal/1"
)

// FundingCore is what the payment password's seal is bound to where money is taken
// from a bank, and what tells two requests under one key apart.
type FundingCore struct {
	Amount wallet.Fen
	Source string // FundingSource.Name
	Key    string
}

// FundingCoreHash is the info of SealFunding: SHA-256(domain ‖ amount ‖ source ‖ key),
// each behind its length.
func FundingCoreHash(core FundingCore) []byte {
	amount := binary.BigEndian.AppendUint64(nil, uint64(core.Amount))
	return sealInfo(domainFundingSeal, amount, []byte(core.Source), []byte(core.Key))
}

// SealFunding seals a payment password for one funding and no other order.
func SealFunding(pub []byte, core FundingCore, pin string) ([]byte, error) {
	return sealPassword(pub, FundingCoreHash(core), pin)
}

// OpenFunding is the platform's side of SealFunding; any difference gives ErrSeal.
func OpenFunding(key hpke.PrivateKey, core FundingCore, seal []byte) (string, error) {
	return openPassword(key, FundingCoreHash(core), seal)
}

// VoucherBinding is what a sealed voucher PIN is bound to: whoever sees the seal can
// redeem it neither from another device nor under another key.
type VoucherBinding struct {
	Serial     string
	Thumbprint string // of the device key that signs the request
	Key        string // of the funding
}

func (b VoucherBinding) info() []byte {
	return sealInfo(domainVoucherSeal, []byte(b.Serial), []byte(b.Thumbprint), []byte(b.Key))
}

// SealVoucher seals the PIN of a voucher to the platform's public key (32 bytes).
func SealVoucher(pub []byte, binding VoucherBinding, pin string) ([]byte, error) {
	return sealPassword(pub, binding.info(), pin)
}

// OpenVoucher is the platform's side of SealVoucher; any difference gives ErrSeal.
func OpenVoucher(key hpke.PrivateKey, binding VoucherBinding, seal []byte) (string, error) {
	return openPassword(key, binding.info(), seal)
}

// Codes of refused fundings: signed, in wallet.FundingStatement.Code, and final for
// the key. Those of loads are used where they fit.
const (
	CodeVoucherWrong    = "VOUCHER_WRONG"    // unknown serial or wrong PIN; WrongsLeft
	CodeVoucherLocked   = "VOUCHER_LOCKED"   // too many wrong PINs; RetryAfter
	CodeVoucherUsed     = "VOUCHER_USED"     // redeemed before
	CodeVoucherBlocked  = "VOUCHER_BLOCKED"  // taken out of use by staff
	CodeVoucherExpired  = "VOUCHER_EXPIRED"  // its last day is over
	CodeVoucherInactive = "VOUCHER_INACTIVE" // not for use yet
	CodeVoucherValue    = "VOUCHER_VALUE"    // its face value is not the confirmed amount
)
