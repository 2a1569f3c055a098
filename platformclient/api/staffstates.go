package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of the counter's work on the state of accounts and cards (protocol §2.15).
const (
	PathStaffAccounts     = "/v1/staff/accounts"         // GET ?phone= → StaffAccount; POST StaffAccountAct → StaffAccount
	PathStaffCardState    = "/v1/staff/cards/{asn}/acts" // POST StaffCardAct → StaffCard
	PathStaffReplacements = "/v1/staff/replacements"     // POST StaffReplace → StaffReplacement; GET ?asn= → StaffReplacements
)

// Acts of the counter on an account.
const (
	ActPhoneState  = "phone-state"  // what the operator says of the number; PhoneState
	ActRenamePhone = "rename-phone" // change of number; NewPhone
	ActChangeSIM   = "change-sim"   // change of SIM without change of number
	ActChangeOwner = "change-owner" // the number has another owner: this account is being closed
	ActUpgrade     = "upgrade"      // to real-name; IDCheck
	ActFreeze      = "freeze"       // until staff thaw it
	ActThaw        = "thaw"
	ActLoss        = "loss"  // in writing
	ActFound       = "found" // lifts a loss, the one in writing too
	ActClose       = "close"
)

// States of a phone number as the operator tells them (BOSS).
const (
	PhoneActive    = "active"
	PhoneSuspended = "suspended" // by its owner, or for a bill that was not paid
	PhoneCancelled = "cancelled"
)

// StaffAccountAct is one act on the account of a phone number, or of a user identifier
// where the number is somebody else's by now.
type StaffAccountAct struct {
	Phone      string `json:"phone"`
	Act        string `json:"act"`
	Reason     string `json:"reason"`
	PhoneState string `json:"phone_state,omitempty"` // phone-state: active, suspended, cancelled
	NewPhone   string `json:"new_phone,omitempty"`   // rename-phone
	IDCheck    string `json:"id_check,omitempty"`    // upgrade: what was checked; no number of a document
}

// StaffAccount is an account as the counter sees it.
type StaffAccount struct {
	User       string      `json:"user"`
	Phone      string      `json:"phone"` // masked
	State      string      `json:"state"`
	Standing   string      `json:"standing"` // as in Account
	StateSince *time.Time  `json:"state_since,omitempty"`
	StateUntil *time.Time  `json:"state_until,omitempty"`
	By         string      `json:"by,omitempty"`
	Holds      []StaffHold `json:"holds"` // everything that holds it, not only what gives the state
	Tier       string      `json:"tier"`
	IDCheck    string      `json:"id_check,omitempty"`
	Owed       Owed        `json:"owed"`
	Cards      []StaffCard `json:"cards"`
}

// StaffHold is one reason that holds an account.
type StaffHold struct {
	Hold   string     `json:"hold"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitempty"`
	By     string     `json:"by"`
	Reason string     `json:"reason,omitempty"`
}

// StaffCard is a card as the counter sees it.
type StaffCard struct {
	ASN        wallet.ASN `json:"asn"`
	State      string     `json:"state"`
	Standing   string     `json:"standing"` // as in Card
	StateSince *time.Time `json:"state_since,omitempty"`
	StateUntil *time.Time `json:"state_until,omitempty"`
	Proven     wallet.Fen `json:"proven"` // what the books say it holds at most
	OpenOrders int        `json:"open_orders"`
}

// StaffCardAct is one act on a card: loss, found.
type StaffCardAct struct {
	Act    string `json:"act"` // loss (in writing), found
	Reason string `json:"reason"`
}

// StaffReplace puts a fresh card in the place of one that was reported lost in writing.
type StaffReplace struct {
	Lost   wallet.ASN `json:"lost"`
	Fresh  wallet.ASN `json:"fresh"` // issued and in nobody's account, or already in the same one
	Reason string     `json:"reason"`
}

// StaffReplacement is a replacement on its way. When it is READY, MOVED is proposed and
// confirmed like the end of an order (PathStaffProposals).
type StaffReplacement struct {
	Replacement string     `json:"replacement"`
	Lost        wallet.ASN `json:"lost"`
	Fresh       wallet.ASN `json:"fresh"`
	State       string     `json:"state"`       // WAITING, READY, MOVED
	WindowEnds  time.Time  `json:"window_ends"` // shops may upload until then
	Proven      wallet.Fen `json:"proven"`      // what would move now
	Moved       wallet.Fen `json:"moved"`
	OpenOrders  int        `json:"open_orders"` // of the lost card; they are settled first
	Created     time.Time  `json:"created"`
}

// StaffReplacements lists replacements, newest first.
type StaffReplacements struct {
	Replacements []StaffReplacement `json:"replacements"`
}

// TargetMoved is the outcome that two persons choose for a replacement.
const TargetMoved = "MOVED"
