package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of cash that is paid in at a hall's counter (M7). They want a session of staff.
const (
	PathStaffCashIns     = "/v1/staff/cash-ins"              // POST StaffCashIn → StaffCash; GET → StaffCashIns: those that wait
	PathStaffCashConfirm = "/v1/staff/cash-ins/{id}/confirm" // POST StaffReason → StaffCash
	PathStaffCashReject  = "/v1/staff/cash-ins/{id}/reject"  // POST StaffReason → StaffCash
)

// StaffCashIn books cash that a teller has counted. The till's receipt number makes it
// one booking, however often it is sent.
type StaffCashIn struct {
	Phone   string     `json:"phone"`
	Amount  wallet.Fen `json:"amount"`
	Receipt string     `json:"receipt"` // 1 to 40 letters, digits, dots, dashes, underscores
}

// StaffCash is how such a booking stands: DONE, or RECEIVED while a large amount
// waits for a second person, or DECLINED where that person rejected it.
type StaffCash struct {
	Funding string              `json:"funding"`
	State   wallet.FundingState `json:"state"`
	Payee   string              `json:"payee"` // phone number, masked
	Amount  wallet.Fen          `json:"amount"`
	Receipt string              `json:"receipt"`
	Teller  string              `json:"teller"`
	Created time.Time           `json:"created"`
}

// StaffCashIns lists the bookings that wait for a second person.
type StaffCashIns struct {
	CashIns []StaffCash `json:"cash_ins"`
}
