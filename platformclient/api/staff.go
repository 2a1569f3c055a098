package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of service staff. Every one but the login wants a session of staff, and no
// session of a customer opens any of them (protocol §2.10, §2.17).
const (
	PathStaffSession          = "/v1/staff/session"                    // POST StaffLogin → StaffSession: signed by the key that it brings; GET → StaffSession
	PathStaffSessionEnd       = "/v1/staff/session/end"                // POST {} → {}
	PathStaffOrders           = "/v1/staff/orders"                     // GET ?asn=&order= → StaffOrders
	PathStaffPending          = "/v1/staff/cards/{asn}/pending"        // GET → PendingAnswer
	PathStaffPendingPurchases = "/v1/staff/cards/{asn}/purchases/open" // GET → PendingPurchases
	PathStaffLoad             = "/v1/staff/loads/{id}"                 // GET → LoadAnswer
	PathStaffAttempts         = "/v1/staff/loads/{id}/attempts"        // POST AttemptRequest → LoadAnswer
	PathStaffPurchase         = "/v1/staff/purchases/{id}"             // GET → PurchaseAnswer
	PathStaffPurchaseAttempts = "/v1/staff/purchases/{id}/attempts"    // POST PurchaseAttempt → PurchaseAnswer
	PathStaffProposals        = "/v1/staff/proposals"                  // POST StaffDecision → StaffProposal; GET → StaffProposals
	PathStaffConfirm          = "/v1/staff/proposals/{id}/confirm"     // POST StaffReason → StaffProposal
	PathStaffReject           = "/v1/staff/proposals/{id}/reject"      // POST StaffReason → StaffProposal
	PathStaffCompanions       = "/v1/staff/companions"                 // POST StaffCompanionChange → StaffCompanions
	PathStaffServices         = "/v1/staff/services"                   // POST StaffServiceChange → StaffService
)

// Roles of staff.
const (
	RoleClerk      = "clerk"      // serves the counter and proposes
	RoleSupervisor = "supervisor" // also confirms, and closes the whole service
)

// StaffLogin logs a member of staff in. The request is signed by the key that it
// brings; the password is sealed as that of a customer is, to this route.
type StaffLogin struct {
	Name      string     `json:"name"`
	PWSeal    []byte     `json:"pw_seal"`
	DeviceKey wallet.Hex `json:"device_key"` // Ed25519 public key, 32 bytes
}

// StaffSession is what the counter needs to work. It is short and not renewed.
type StaffSession struct {
	AccessToken string          `json:"access_token,omitempty"` // at login only; bound to the device key
	Expires     time.Time       `json:"expires"`
	Staff       string          `json:"staff"`
	Name        string          `json:"name"`
	Role        string          `json:"role"` // clerk, supervisor
	Epoch       int             `json:"epoch"`
	Scripts     []wallet.Signed `json:"scripts"` // wallet.Script
}

// StaffOrders lists the orders of a card, or one order, newest first.
type StaffOrders struct {
	Orders []StaffOrder `json:"orders"`
}

// StaffOrder is a top-up or purchase as the counter sees it: what the platform
// knows, what it holds, and what can be done next. The payer's number is masked.
type StaffOrder struct {
	Order       string         `json:"order"`
	Kind        string         `json:"kind"`  // load, purchase
	State       string         `json:"state"` // of a load or a purchase
	Cause       string         `json:"cause,omitempty"`
	ASN         wallet.ASN     `json:"asn"`
	Payer       string         `json:"payer"`
	Amount      wallet.Fen     `json:"amount"`
	Fee         wallet.Fen     `json:"fee"`
	Held        wallet.Fen     `json:"held"` // of the payer's money, for this order
	Attempt     int            `json:"attempt"`
	Evidence    string         `json:"evidence,omitempty"` // that decided, or came last
	WrongSeen   int            `json:"wrong_seen"`         // proofs of the card that did not verify
	TACSeen     bool           `json:"tac_seen"`
	BalanceSeen bool           `json:"balance_seen"` // the card authenticated its balance before or after
	Created     time.Time      `json:"created"`
	Next        string         `json:"next"` // none, touch, decide, confirm
	Proposal    *StaffProposal `json:"proposal,omitempty"`
}

// StaffDecision proposes how an order ends. WithoutCard takes a top-up whose card
// can prove nothing any more out of the card's hands first.
type StaffDecision struct {
	Order       string `json:"order"`
	As          string `json:"as"` // LOADED, VOIDED; PAID, REFUNDED, NOT_TAKEN
	Reason      string `json:"reason"`
	WithoutCard string `json:"without_card,omitempty"` // blocked, lost
}

// StaffReason is why a proposal is confirmed or rejected.
type StaffReason struct {
	Reason string `json:"reason"`
}

// StaffProposal is a decision of two persons on its way.
type StaffProposal struct {
	Proposal string    `json:"proposal"`
	Order    string    `json:"order"`
	As       string    `json:"as"`
	Reason   string    `json:"reason"`
	Proposer string    `json:"proposer"`         // name
	Second   string    `json:"second,omitempty"` // name of who confirmed or rejected
	State    string    `json:"state"`            // OPEN, CONFIRMED, REJECTED, STALE
	Created  time.Time `json:"created"`
}

// StaffProposals lists the proposals that wait for a second person.
type StaffProposals struct {
	Proposals []StaffProposal `json:"proposals"`
}

// StaffCompanionChange registers a companion for a phone number, or takes it away.
// Where a reader tells no serial the thumbprint of the computer's device key stands
// for it.
type StaffCompanionChange struct {
	Phone    string `json:"phone"`
	Serial   string `json:"serial"`
	Register bool   `json:"register"`
	Reason   string `json:"reason"`
}

// StaffCompanions are the companions that a phone number has now.
type StaffCompanions struct {
	Phone   string   `json:"phone"`
	Serials []string `json:"serials"`
}

// StaffServiceChange closes or opens the wallet service of a phone number, or the
// whole service where Phone is empty and All is set.
type StaffServiceChange struct {
	Phone  string `json:"phone,omitempty"`
	All    bool   `json:"all,omitempty"`
	Open   bool   `json:"open"`
	Reason string `json:"reason"`
}

// StaffService is how a service stands now.
type StaffService struct {
	Phone string `json:"phone,omitempty"`
	All   bool   `json:"all,omitempty"`
	Open  bool   `json:"open"`
}

// Codes of staff's work, and of what staff has closed or bound.
const (
	CodeNotInSuspense    = "NOT_IN_SUSPENSE"   // the order does not wait for people
	CodeDecisionRefused  = "DECISION_REFUSED"  // this outcome contradicts what is proven
	CodeSecondPerson     = "SECOND_PERSON"     // who proposed cannot confirm
	CodeStaffRole        = "STAFF_ROLE"        // this needs a supervisor
	CodeProposalOpen     = "PROPOSAL_OPEN"     // another proposal for this order waits
	CodeProposalClosed   = "PROPOSAL_CLOSED"   // it was confirmed or rejected already
	CodeProposalStale    = "PROPOSAL_STALE"    // the order has changed since it was proposed
	CodeCompanionRefused = "COMPANION_REFUSED" // the account has registered another companion
	CodeCompanionTaken   = "COMPANION_TAKEN"   // the companion is registered for another phone number
)
