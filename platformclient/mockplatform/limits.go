package mockplatform

import (
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// maxCardFen keeps amounts inside what a card's four bytes hold as a positive number.
const maxCardFen wallet.Fen = 0x7FFFFFFF

// refusal is a signed DECLINED before it is signed. A nil refusal lets pass.
type refusal struct {
	code  string
	state wallet.OrderState // further fields: limit, reset time, tries left, pending order
}

func refuse(code string) *refusal { return &refusal{code: code} }

// refusalTexts are the words for people; clients translate the code.
var refusalTexts = map[string]string{
	api.CodePendingLoad:        "an earlier top-up of this card is still open; settle it first",
	api.CodeStaleCardState:     "the card's answer is older than its last known state; present the card again",
	api.CodeCardTypeRefused:    "cards of this kind cannot be topped up online",
	api.CodeCardState:          "this card cannot be topped up in its present state",
	api.CodeCardEvidence:       "the card's answer does not verify",
	api.CodeCardCounter:        "the card has used up its transaction numbers and must be replaced",
	api.CodeAccountState:       "the account does not allow this at present",
	api.CodeBalanceShort:       "the main account does not cover amount and fee",
	api.CodeFeeChanged:         "the fee has changed; confirm again",
	api.CodeSourceRefused:      "this source of money is not offered",
	api.CodeTIDUsed:            "the terminal number was used before",
	api.CodeLeaseInvalid:       "the terminal number is not leased to this device",
	api.CodeAbandoned:          "the order was abandoned",
	api.CodePasswordWrong:      "the payment password is not right",
	api.CodePasswordLocked:     "the payment password is locked until the next day",
	api.CodeDeclined:           "the platform declined this",
	api.CodeLimitLoadMin:       "the amount is below the smallest top-up",
	api.CodeLimitLoadMax:       "the amount is above the largest top-up",
	api.CodeLimitPurseCap:      "the card would hold more than it may",
	api.CodeLimitCardCount:     "this card was topped up often enough today",
	api.CodeLimitCardSum:       "this card's limit of the day is used up",
	api.CodeLimitAccountSum:    "this account's limit of the day is used up",
	api.CodeLimitDeviceSum:     "this device's limit of the day is used up",
	api.CodeAttemptSuperseded:  "this attempt was decided already; the answer shows the present state",
	api.CodeNotPayer:           "only who pays the order may complete it",
	api.CodeTooManyWrong:       "too much wrong evidence; the service counter must look at this order",
	api.CodePendingPurchase:    "an earlier purchase with this card is still open; settle it first",
	api.CodeMerchantOrder:      "the merchant's order cannot be paid: it is unknown, has expired, or is being paid already",
	api.CodeAmountDiffers:      "the confirmed amount is not that of the merchant's order",
	api.CodeCardBalance:        "the card does not hold this amount",
	api.CodeServiceClosed:      "the wallet service is closed; open orders can still be settled",
	api.CodeCompanionRefused:   "this account uses another companion; the service counter registers one",
	api.CodeCompanionTaken:     "this companion is registered for another phone number",
	api.CodeNotInSuspense:      "this order does not wait for a decision of staff",
	api.CodeDecisionRefused:    "this outcome contradicts what is proven about the order",
	api.CodeSecondPerson:       "who proposed a decision cannot confirm it",
	api.CodeStaffRole:          "this needs a supervisor",
	api.CodeProposalOpen:       "another proposal for this order waits for a second person",
	api.CodeProposalClosed:     "this proposal was confirmed or rejected already",
	api.CodeProposalStale:      "the order has changed since it was proposed; look at it again",
	api.CodeLimitLifeSum:       "an account without an identity check has paid all that it may; upgrade it",
	api.CodeLimitNewDevice:     "a new device may top up little on its first day",
	api.CodeLimitTooHigh:       "a limit of one's own may not be above that of the platform",
	api.CodeTierRefused:        "an account without an identity check pays nothing out; upgrade it",
	api.CodeRiskWatch:          "top-ups are paused because something unusual happened; everything else goes on",
	api.CodeRiskBlocked:        "this account or device is blocked; open orders can still be settled",
	api.CodeListRefused:        "a list is not entered or left this way; the black one is left by a decision of two persons",
	api.CodeLimitNeedsPassword: "raising a limit needs the payment password",
	api.CodeCloseRefused:       "the account cannot be closed while money or orders are left in it",
	api.CodeDatePast:           "the date is not in the future",
	api.CodePhoneTaken:         "another account has this phone number",
	api.CodeWindowOpen:         "shops may still upload what the lost card spent",
	api.CodeVoucherWrong:       "serial number or PIN of the voucher is not right",
	api.CodeVoucherLocked:      "too many wrong voucher PINs; try again in an hour",
	api.CodeVoucherUsed:        "this voucher was redeemed before",
	api.CodeVoucherBlocked:     "this voucher was taken out of use",
	api.CodeVoucherExpired:     "the last day of this voucher is over",
	api.CodeVoucherInactive:    "this voucher is not for use yet",
	api.CodeVoucherValue:       "the voucher is worth another amount than was confirmed",
	api.CodeBankCardData:       "card number, name and phone number do not belong together at the bank",
	api.CodeBankCreditCard:     "credit cards are not accepted",
	api.CodeBankCodeWrong:      "the bank's code is not right, or too old",
	api.CodeBankBinding:        "this bank card is not bound to the account",
	api.CodeBankInUse:          "a payment with this bank card is still open",
	api.CodeBankRefused:        "the bank refused this",
}

func refusalText(code string) string { return refusalTexts[code] }

// statusOf is the HTTP status of a signed state with this code.
func statusOf(code string) int {
	switch code {
	case "":
		return http.StatusOK
	case api.CodeBankUnreachable:
		return http.StatusFailedDependency // another one's failure: this platform is not busy
	case api.CodeBalanceShort, api.CodeCardBalance, api.CodeBankFunds:
		return http.StatusPaymentRequired
	case api.CodePendingLoad, api.CodeStaleCardState, api.CodeTIDUsed, api.CodeLeaseInvalid, api.CodeAbandoned, api.CodeAttemptSuperseded,
		api.CodeFeeChanged, api.CodePendingPurchase, api.CodeMerchantOrder, api.CodeAmountDiffers,
		api.CodeNotInSuspense, api.CodeProposalOpen, api.CodeProposalClosed, api.CodeProposalStale, api.CodeCompanionTaken,
		api.CodeCloseRefused, api.CodePhoneTaken, api.CodeWindowOpen,
		api.CodeVoucherUsed, api.CodeVoucherInactive, api.CodeBankInUse, api.CodeBankCodeNeeded, api.CodeListRefused:
		return http.StatusConflict
	case api.CodeLimitLoadMin, api.CodeLimitLoadMax, api.CodeLimitPurseCap, api.CodeCardEvidence, api.CodeTooManyWrong, api.CodeDecisionRefused,
		api.CodeDatePast,
		api.CodeVoucherExpired, api.CodeVoucherValue, api.CodeBankReturnOver, api.CodeLimitTooHigh:
		return http.StatusUnprocessableEntity
	case api.CodePasswordLocked, api.CodeLimitCardCount, api.CodeLimitCardSum, api.CodeLimitAccountSum, api.CodeLimitDeviceSum,
		api.CodeVoucherLocked, api.CodeBankLocked, api.CodeLimitLifeSum, api.CodeLimitNewDevice, api.CodeRiskWatch:
		return http.StatusLocked
	}
	return http.StatusForbidden
}
