package api

// Codes of refusals, in Error.Code and in wallet.OrderState.Code. Those marked
// "signed" come as a signed state where an order is concerned and then close it;
// without a signature they mean "unknown" like everything else.
const (
	// Money: signed, final for the key.
	CodePendingLoad     = "PENDING_LOAD"      // another order of the card is open; Pending names it
	CodeStaleCardState  = "STALE_CARD_STATE"  // INIT answer older than the card's last proven number
	CodeCardTypeRefused = "CARD_TYPE_REFUSED" // this card profile may not be loaded
	CodeCardState       = "CARD_STATE"        // card suspended, lost, black, replaced or not the person's
	CodeCardEvidence    = "CARD_EVIDENCE"     // the MAC1 or TAC does not verify
	CodeCardCounter     = "CARD_COUNTER"      // the counter is at FFF0 or above: replace the card
	CodeAccountState    = "ACCOUNT_STATE"     // account frozen, lost, closing …
	CodeServiceClosed   = "SERVICE_CLOSED"    // the wallet service is closed
	CodeBalanceShort    = "BALANCE_SHORT"     // the main account does not cover amount and fee
	CodeFeeChanged      = "FEE_CHANGED"       // the confirmed fee is not the present one
	CodeSourceRefused   = "SOURCE_REFUSED"    // this source of money is not offered
	CodeTIDUsed         = "TID_USED"          // take a new lease, same order core
	CodeLeaseInvalid    = "LEASE_INVALID"     // terminal number not leased to this device, expired, or of another epoch
	CodeAbandoned       = "ABANDONED"         // the key was abandoned
	CodePasswordWrong   = "PASSWORD_WRONG"    // WrongsLeft says how many tries remain
	CodePasswordLocked  = "PASSWORD_LOCKED"
	CodeDeclined        = "DECLINED" // no other code says more

	// Limits (protocol §2.14): signed; LimitFen and RetryAfter say more.
	CodeLimitLoadMin    = "LIMIT_LOAD_MIN"
	CodeLimitLoadMax    = "LIMIT_LOAD_MAX"
	CodeLimitPurseCap   = "LIMIT_PURSE_CAP"
	CodeLimitCardCount  = "LIMIT_CARD_DAY_COUNT" // LimitFen is a count here, not money
	CodeLimitCardSum    = "LIMIT_CARD_DAY_SUM"
	CodeLimitAccountSum = "LIMIT_ACCOUNT_DAY_SUM"
	CodeLimitDeviceSum  = "LIMIT_DEVICE_DAY_SUM"

	// Orders and evidence.
	CodeKeyReused         = "KEY_REUSED"         // 422: same idempotency key, other order core
	CodeAttemptSuperseded = "ATTEMPT_SUPERSEDED" // signed, with the present state
	CodeProbeUnknown      = "PROBE_UNKNOWN"      // evidence is not over the order's living probe
	CodeEpochChanged      = "EPOCH_CHANGED"      // the platform was restored; connect again (protocol §2.7.1)
	CodeNotPayer          = "NOT_PAYER"          // complete is the payer's choice alone
	CodeTooManyWrong      = "TOO_MANY_WRONG"     // wrong evidence too often
	CodeNotFound          = "NOT_FOUND"          // proves nothing and closes nothing

	// Session, device and protocol.
	CodeNonceExpired      = "NONCE_EXPIRED"  // 401: sign again with the nonce of this answer
	CodeNotLoggedIn       = "NOT_LOGGED_IN"  // 401: no token, or expired
	CodeTokenForeign      = "TOKEN_FOREIGN"  // 401: the token belongs to another device key
	CodeSignature         = "SIGNATURE"      // 401: the request's signature does not verify
	CodeDeviceUnknown     = "DEVICE_UNKNOWN" // 403: enrol the device first
	CodeDeviceLimit       = "DEVICE_LIMIT"
	CodeJournalConflict   = "JOURNAL_CONFLICT" // a cloned profile: log in with an SMS code
	CodeSMSCodeWrong      = "SMS_CODE_WRONG"
	CodeVersionTooOld     = "VERSION_TOO_OLD"
	CodeProfileIncomplete = "PROFILE_INCOMPLETE" // made by the client itself
	CodeBadRequest        = "BAD_REQUEST"
	CodeTooLarge          = "TOO_LARGE"
	CodeBusy              = "BUSY" // 503 with Retry-After
	CodeInternal          = "INTERNAL"
)

// MaxBody is how many bytes a body may have, in either direction.
const MaxBody = 1 << 20
