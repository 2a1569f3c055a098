package api

import (
	"time"
)

// Paths of the grey and the black list (protocol §2.14). Staff alone see them.
const (
	PathStaffLists        = "/v1/staff/lists"                       // GET ?kind=&subject= → StaffLists; POST StaffListChange → StaffListed
	PathStaffListRemovals = "/v1/staff/lists/removals"              // POST StaffListRemoval → StaffListProposal; GET → StaffListProposals
	PathStaffListConfirm  = "/v1/staff/lists/removals/{id}/confirm" // POST StaffReason → StaffListProposal
	PathStaffListReject   = "/v1/staff/lists/removals/{id}/reject"  // POST StaffReason → StaffListProposal
)

// StaffLists are the subjects that are listed, or the one that was asked for.
type StaffLists struct {
	Listed []StaffListed `json:"listed"`
}

// StaffListed is where a subject stands.
type StaffListed struct {
	Kind     string     `json:"kind"`    // card, user, device
	Subject  string     `json:"subject"` // application serial, phone number, device
	Standing string     `json:"standing"`
	Cause    string     `json:"cause,omitempty"` // the event that led there
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty"` // none: no time ends it
	By       string     `json:"by,omitempty"`
}

// StaffListChange is an event that staff tell. FRAUD and LOSS (of a card) lead to the
// black list, CHARGEBACK (of an account) and STAFF to the grey one; STAFF_CLEAR takes
// off the grey one.
type StaffListChange struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Event   string `json:"event"`
	Reason  string `json:"reason"`
}

// StaffListRemoval proposes that a subject leaves the black list.
type StaffListRemoval struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
}

// StaffListProposal is a removal from the black list by two persons on its way.
type StaffListProposal struct {
	Removal  string    `json:"removal"`
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	Reason   string    `json:"reason"`
	Proposer string    `json:"proposer"`         // name
	Second   string    `json:"second,omitempty"` // name of who confirmed or rejected
	State    string    `json:"state"`            // OPEN, CONFIRMED, REJECTED, STALE
	Created  time.Time `json:"created"`
}

// StaffListProposals are the removals that wait for a second person.
type StaffListProposals struct {
	Removals []StaffListProposal `json:"removals"`
}
