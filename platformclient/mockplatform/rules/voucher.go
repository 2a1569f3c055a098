package rules

// VoucherState is the state of a recharge voucher (protocol §2.16).
type VoucherState string

// The states of a voucher.
const (
	VoucherNew     VoucherState = "NEW"     // known, not for use yet
	VoucherActive  VoucherState = "ACTIVE"  // may be redeemed once
	VoucherUsed    VoucherState = "USED"    // redeemed
	VoucherBlocked VoucherState = "BLOCKED" // taken out of use by staff
	VoucherExpired VoucherState = "EXPIRED" // its time was over before it was redeemed
)

// VoucherStates are all states of a voucher.
var VoucherStates = []VoucherState{VoucherNew, VoucherActive, VoucherUsed, VoucherBlocked, VoucherExpired}

// VoucherEvent is what happens to a voucher.
type VoucherEvent string

// The events of a voucher.
const (
	VoucherActivate VoucherEvent = "activate"
	VoucherRedeem   VoucherEvent = "redeem" // with the right PIN
	VoucherBlock    VoucherEvent = "block"
	VoucherUnblock  VoucherEvent = "unblock"
	VoucherExpire   VoucherEvent = "expire"
)

// VoucherEvents are all events of a voucher.
var VoucherEvents = []VoucherEvent{VoucherActivate, VoucherRedeem, VoucherBlock, VoucherUnblock, VoucherExpire}

// voucherSteps is the one table of a voucher's transitions; what is missing is
// refused. USED and EXPIRED are final.
var voucherSteps = map[VoucherState]map[VoucherEvent]VoucherState{
	VoucherNew:     {VoucherActivate: VoucherActive, VoucherBlock: VoucherBlocked, VoucherExpire: VoucherExpired},
	VoucherActive:  {VoucherRedeem: VoucherUsed, VoucherBlock: VoucherBlocked, VoucherExpire: VoucherExpired},
	VoucherBlocked: {VoucherUnblock: VoucherActive, VoucherExpire: VoucherExpired},
}

// NextVoucher tells which state an event leads to, and whether it may happen at all.
func NextVoucher(state VoucherState, event VoucherEvent) (next VoucherState, allowed bool) {
	next, allowed = voucherSteps[state][event]
	if !allowed {
		return state, false
	}
	return next, true
}
