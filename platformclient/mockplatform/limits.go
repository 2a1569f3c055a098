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

// daySums are what counts against the limits of one business day: everything that
// was granted and not voided. Completing an open order is not a new load.
type daySums struct {
	cardCount                    int
	cardSum, accountSum, devices wallet.Fen
}

func sumsOfDay(tx *Tx, asn wallet.ASN, user, device, day string) (sums daySums, err error) {
	const counted = ` AND day = ? AND state IN ('GRANTED', 'LOADED', 'SUSPENSE')`
	if _, err = tx.row(`SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM orders WHERE asn = ?`+counted,
		[]any{asn.String(), day}, &sums.cardCount, &sums.cardSum); err != nil {
		return sums, err
	}
	if _, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ?`+counted, []any{user, day}, &sums.accountSum); err != nil {
		return sums, err
	}
	_, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ? AND device = ?`+counted, []any{user, device, day}, &sums.devices)
	return sums, err
}

// checkLimits names the first limit that the load would break, and when it resets.
func (p *Platform) checkLimits(tx *Tx, o *order, onCard wallet.Fen) (*refusal, error) {
	limits, now := p.policy.Limits, p.now()
	sums, err := sumsOfDay(tx, o.asn, o.user, o.device, businessDay(now))
	if err != nil {
		return nil, err
	}
	reset := nextDay(now)
	broken := func(code string, limit wallet.Fen, daily bool) *refusal {
		found := &refusal{code: code, state: wallet.OrderState{LimitFen: limit}}
		if daily {
			found.state.RetryAfter = &reset
		}
		return found
	}
	switch {
	case o.amount < limits.LoadMin:
		return broken(api.CodeLimitLoadMin, limits.LoadMin, false), nil
	case o.amount > limits.LoadMax:
		return broken(api.CodeLimitLoadMax, limits.LoadMax, false), nil
	case onCard+o.amount > limits.PurseCap:
		return broken(api.CodeLimitPurseCap, limits.PurseCap, false), nil
	case limits.CardDayCount > 0 && sums.cardCount+1 > limits.CardDayCount:
		return broken(api.CodeLimitCardCount, wallet.Fen(limits.CardDayCount), true), nil
	case limits.CardDaySum > 0 && sums.cardSum+o.amount > limits.CardDaySum:
		return broken(api.CodeLimitCardSum, limits.CardDaySum, true), nil
	case limits.AccountDaySum > 0 && sums.accountSum+o.amount > limits.AccountDaySum:
		return broken(api.CodeLimitAccountSum, limits.AccountDaySum, true), nil
	case limits.DeviceDaySum > 0 && sums.devices+o.amount > limits.DeviceDaySum:
		return broken(api.CodeLimitDeviceSum, limits.DeviceDaySum, true), nil
	}
	return nil, nil
}

// refusalTexts are the words for people; clients translate the code.
var refusalTexts = map[string]string{
	api.CodePendingLoad:       "an earlier top-up of this card is still open; settle it first",
	api.CodeStaleCardState:    "the card's answer is older than its last known state; present the card again",
	api.CodeCardTypeRefused:   "cards of this kind cannot be topped up online",
	api.CodeCardState:         "this card cannot be topped up in its present state",
	api.CodeCardEvidence:      "the card's answer does not verify",
	api.CodeCardCounter:       "the card has used up its transaction numbers and must be replaced",
	api.CodeAccountState:      "the account does not allow this at present",
	api.CodeBalanceShort:      "the main account does not cover amount and fee",
	api.CodeFeeChanged:        "the fee has changed; confirm again",
	api.CodeSourceRefused:     "this source of money is not offered",
	api.CodeTIDUsed:           "the terminal number was used before",
	api.CodeLeaseInvalid:      "the terminal number is not leased to this device",
	api.CodeAbandoned:         "the order was abandoned",
	api.CodePasswordWrong:     "the payment password is not right",
	api.CodePasswordLocked:    "the payment password is locked until the next day",
	api.CodeDeclined:          "the platform declined this",
	api.CodeLimitLoadMin:      "the amount is below the smallest top-up",
	api.CodeLimitLoadMax:      "the amount is above the largest top-up",
	api.CodeLimitPurseCap:     "the card would hold more than it may",
	api.CodeLimitCardCount:    "this card was topped up often enough today",
	api.CodeLimitCardSum:      "this card's limit of the day is used up",
	api.CodeLimitAccountSum:   "this account's limit of the day is used up",
	api.CodeLimitDeviceSum:    "this device's limit of the day is used up",
	api.CodeAttemptSuperseded: "this attempt was decided already; the answer shows the present state",
	api.CodeNotPayer:          "only who pays the order may complete it",
	api.CodeTooManyWrong:      "too much wrong evidence; the service counter must look at this order",
	api.CodePendingPurchase:   "an earlier purchase with this card is still open; settle it first",
	api.CodeMerchantOrder:     "the merchant's order cannot be paid: it is unknown, has expired, or is being paid already",
	api.CodeAmountDiffers:     "the confirmed amount is not that of the merchant's order",
	api.CodeCardBalance:       "the card does not hold this amount",
	api.CodeServiceClosed:     "the wallet service is closed; open orders can still be settled",
	api.CodeCompanionRefused:  "this account uses another companion; the service counter registers one",
	api.CodeCompanionTaken:    "this companion is registered for another phone number",
	api.CodeNotInSuspense:     "this order does not wait for a decision of staff",
	api.CodeDecisionRefused:   "this outcome contradicts what is proven about the order",
	api.CodeSecondPerson:      "who proposed a decision cannot confirm it",
	api.CodeStaffRole:         "this needs a supervisor",
	api.CodeProposalOpen:      "another proposal for this order waits for a second person",
	api.CodeProposalClosed:    "this proposal was confirmed or rejected already",
	api.CodeProposalStale:     "the order has changed since it was proposed; look at it again",
	api.CodePhoneRegistered:   "this phone number has an account already; log in, or reset the password",
	api.CodeAgreementChanged:  "the agreement has another version now; read it and accept it",
}

func refusalText(code string) string { return refusalTexts[code] }

// statusOf is the HTTP status of a signed state with this code.
func statusOf(code string) int {
	switch code {
	case "":
		return http.StatusOK
	case api.CodeBalanceShort, api.CodeCardBalance:
		return http.StatusPaymentRequired
	case api.CodePendingLoad, api.CodeStaleCardState, api.CodeTIDUsed, api.CodeLeaseInvalid, api.CodeAbandoned, api.CodeAttemptSuperseded,
		api.CodeFeeChanged, api.CodePendingPurchase, api.CodeMerchantOrder, api.CodeAmountDiffers,
		api.CodeNotInSuspense, api.CodeProposalOpen, api.CodeProposalClosed, api.CodeProposalStale, api.CodeCompanionTaken:
		return http.StatusConflict
	case api.CodeLimitLoadMin, api.CodeLimitLoadMax, api.CodeLimitPurseCap, api.CodeCardEvidence, api.CodeTooManyWrong, api.CodeDecisionRefused:
		return http.StatusUnprocessableEntity
	case api.CodePasswordLocked, api.CodeLimitCardCount, api.CodeLimitCardSum, api.CodeLimitAccountSum, api.CodeLimitDeviceSum:
		return http.StatusLocked
	}
	return http.StatusForbidden
}
