package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of what a person does with the state of account and cards (protocol §2.15).
const (
	PathFreeze       = "/v1/account/freeze"      // POST FreezeRequest → Account
	PathThaw         = "/v1/account/thaw"        // POST ThawRequest → Account: ends a freeze of one's own, an oral loss and silence
	PathAccountLoss  = "/v1/account/loss"        // POST LossRequest → Account: of the account with all its cards
	PathAccountClose = "/v1/account/close"       // POST CloseRequest → Account
	PathCardRemove   = "/v1/cards/{asn}/remove"  // POST {} → Card
	PathCardRename   = "/v1/cards/{asn}/rename"  // POST CardLabel → Card
	PathCardSuspend  = "/v1/cards/{asn}/suspend" // POST {} → Card
	PathCardResume   = "/v1/cards/{asn}/resume"  // POST {} → Card
	PathCardLoss     = "/v1/cards/{asn}/loss"    // POST LossRequest → Card
	PathCardFound    = "/v1/cards/{asn}/found"   // POST FoundRequest → Card
)

// Kinds of losses.
const (
	LossOral    = "oral"    // ends after 5 days unless it is made written
	LossWritten = "written" // the counter lifts it, or replaces the card
)

// Tiers of an account: what is known of its person.
const (
	TierWeak     = "weak"      // weak real-name (弱实名): the phone number alone; the one with limits of its own
	TierRealName = "real-name" // a document was checked at the counter
	TierDemo     = "demo"      // made by a demo; counts as real-name
)

// FreezeRequest freezes the account. Until thaws it by itself then.
type FreezeRequest struct {
	Until *time.Time `json:"until,omitempty"`
}

// ThawRequest is a strong login: password and SMS code (purpose thaw).
type ThawRequest struct {
	SMS         SMSCode `json:"sms"`
	LoginPWSeal []byte  `json:"login_pw_seal"`
}

// LossRequest reports a loss.
type LossRequest struct {
	Kind string `json:"kind"` // oral, written
}

// FoundRequest lifts a loss that was only told (purpose loss).
type FoundRequest struct {
	SMS SMSCode `json:"sms"`
}

// CloseRequest closes the account. What is left is either gone before, or waived here
// for ever: nobody waives by mistake (purpose close).
type CloseRequest struct {
	SMS          SMSCode `json:"sms"`
	LoginPWSeal  []byte  `json:"login_pw_seal"`
	WaiveBalance bool    `json:"waive_balance"` // the main account
	WaivePurse   bool    `json:"waive_purse"`   // what the cards hold
}

// CardLabel is a person's own word for a card.
type CardLabel struct {
	Label string `json:"label"` // at most 32 characters; empty: none
}

// MaxLabel is how many characters a label may have.
const MaxLabel = 32

// Owed is what keeps an account from being closed.
type Owed struct {
	Main       wallet.Fen `json:"main"`        // on the main account
	Held       wallet.Fen `json:"held"`        // for orders that are not settled
	Purse      wallet.Fen `json:"purse"`       // on the cards, as far as the books know
	OpenOrders int        `json:"open_orders"` // top-ups and purchases that are not settled
}

// Codes of states. ACCOUNT_STATE and CARD_STATE name what refused, in Error.Standing or
// in the signed state.
const (
	CodeCloseRefused = "CLOSE_REFUSED" // Owed says what is still there
	CodeDatePast     = "DATE_PAST"     // a date that should be to come is not
	CodePhoneTaken   = "PHONE_TAKEN"   // another account has this phone number
	CodeWindowOpen   = "WINDOW_OPEN"   // shops may still upload what the lost card spent; Until says how long
)
