package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of messages to a person.
const (
	PathMessages     = "/v1/messages"      // GET ?after= → Messages
	PathDemoMessages = "/v1/demo/messages" // GET ?phone=&after= → Messages: what a telephone would show, SMS codes included; of a demo alone
)

// Message is one message to a person: data, which whoever shows it puts into words.
// It holds no password and, but in the inbox of a demo, no code. A message may arrive
// twice; its identifier tells.
type Message struct {
	ID    string       `json:"id"`
	Time  time.Time    `json:"time"`
	Kind  string       `json:"kind"` // one of the Notice constants
	Facts MessageFacts `json:"facts"`
}

// MessageFacts are the parameters of a message; which are set depends on its kind.
type MessageFacts struct {
	Posting  string     `json:"posting,omitempty"`    // kind of the transfer, as in a statement
	Amount   wallet.Fen `json:"amount_fen,omitempty"` // signed: negative leaves the main account
	Balance  wallet.Fen `json:"balance_fen"`          // of the main account after it; 0 for other kinds
	Order    string     `json:"order,omitempty"`
	Device   string     `json:"device,omitempty"`   // the name that people gave it
	Replaced string     `json:"replaced,omitempty"` // name of the device that another one replaced
	Until    *time.Time `json:"until,omitempty"`    // end of a lock
	Purpose  string     `json:"purpose,omitempty"`  // of an SMS code
	CodeID   string     `json:"code_id,omitempty"`
	Code     string     `json:"code,omitempty"` // the SMS code, in the inbox of a demo and on its way to a telephone
}

// Kinds of messages.
const (
	NoticeBalance         = "balance"          // the main account changed
	NoticeLargeLoad       = "large-load"       // a top-up above the platform's threshold was begun
	NoticeRegistered      = "registered"       // the account was opened
	NoticeDeviceAdded     = "device-added"     // a computer was enrolled
	NoticeDeviceRevoked   = "device-revoked"   // a computer may no longer spend
	NoticeLoginChanged    = "login-changed"    // the login password was changed
	NoticeLoginReset      = "login-reset"      // the login password was reset with an SMS code
	NoticePaymentChanged  = "payment-changed"  // the payment password was changed
	NoticePaymentReset    = "payment-reset"    // the payment password was reset with an SMS code
	NoticeLoginLocked     = "login-locked"     // too many wrong login passwords
	NoticePaymentLocked   = "payment-locked"   // too many wrong payment passwords
	NoticeDeviceSuspected = "device-suspected" // a computer's profile exists twice
	NoticeSMSCode         = "sms-code"         // a code, which no notice ever holds
)

// Messages are the messages after the one that was named, oldest first, at most 100;
// without a name the newest 100.
type Messages struct {
	Messages []Message `json:"messages"`
}
