package api

import (
	"time"

	"walletcompanion/wallet"
)

// Limits that concern loads, in fen; 0 is none where it says nothing else (protocol
// §2.14). A day is the business day of Asia/Shanghai.
type Limits struct {
	PurseCap      wallet.Fen `json:"purse_cap"` // of a card whose holder nobody knows
	LoadMin       wallet.Fen `json:"load_min"`
	LoadMax       wallet.Fen `json:"load_max"`
	CardDayCount  int        `json:"card_day_count"`
	CardDaySum    wallet.Fen `json:"card_day_sum"`
	AccountDaySum wallet.Fen `json:"account_day_sum"` // payments from the main account with two factors
	DeviceDaySum  wallet.Fen `json:"device_day_sum"`

	PurseCapNamed    wallet.Fen `json:"purse_cap_named"`     // of a named card; 0: as others
	AccountDaySumOne wallet.Fen `json:"account_day_sum_one"` // with fewer than two factors
	WeakLifeSum      wallet.Fen `json:"weak_life_sum"`       // payments of a weak real-name account over its life
	NewDeviceSum     wallet.Fen `json:"new_device_sum"`      // loads by a device that is new and not the account's first
	NewDeviceS       int        `json:"new_device_s"`        // how long a device is new, in seconds

	Velocity Velocity `json:"velocity"`
}

// Velocity says from when on haste looks like abuse (protocol §2.14), and how long a
// subject then stays on the grey list. 0: not watched.
type Velocity struct {
	Declines       int `json:"declines"`         // in the window: one more puts the account on the grey list
	DeclineWindowS int `json:"decline_window_s"` // seconds
	DeviceCards    int `json:"device_cards"`     // different cards of a device and day: one more puts the device there
	WatchS         int `json:"watch_s"`          // stay after haste, in seconds
	GreyS          int `json:"grey_s"`           // stay after anything else, counted from the last bad event
}

// Cap is what a card may hold.
func (l Limits) Cap(named bool) wallet.Fen {
	if named && l.PurseCapNamed > 0 {
		return l.PurseCapNamed
	}
	return l.PurseCap
}

// PathLimits shows and sets limits.
const PathLimits = "/v1/limits" // GET → LimitsShown; POST LimitsChange → LimitsShown

// LimitsShown tells every limit that applies to the account now, and the day limits
// that the person has set.
type LimitsShown struct {
	Limits  []LimitState  `json:"limits"`
	UserDay *wallet.Fen   `json:"user_day,omitempty"` // set by the person; none: as the policy
	Devices []DeviceLimit `json:"devices"`
}

// LimitState is one limit with what is used up.
type LimitState struct {
	Name   string      `json:"name"` // purse-cap, load-min, load-max, card-day-count, …
	Code   string      `json:"code"` // of the refusal
	Limit  wallet.Fen  `json:"limit"`
	Used   *wallet.Fen `json:"used,omitempty"` // none where every payment is looked at alone
	Left   *wallet.Fen `json:"left,omitempty"`
	Count  bool        `json:"count,omitempty"` // the numbers are times, not money
	Card   *wallet.ASN `json:"card,omitempty"`
	Resets *time.Time  `json:"resets,omitempty"`
	Own    bool        `json:"own,omitempty"` // the person's own limit is the lower one
}

// DeviceLimit is a device with the day limit that the person has set for it.
type DeviceLimit struct {
	Device string      `json:"device"`
	Name   string      `json:"name"`
	This   bool        `json:"this"` // the one that asks
	Day    *wallet.Fen `json:"day,omitempty"`
	Used   wallet.Fen  `json:"used"`
}

// LimitsChange sets one day limit: of the account, or of a device. Lowering acts at
// once; raising, or taking the own limit away, needs the payment password, sealed to
// LimitCore.
type LimitsChange struct {
	Device  string      `json:"device,omitempty"` // empty: of the account
	Day     *wallet.Fen `json:"day,omitempty"`    // none: as the policy
	PaySeal []byte      `json:"pay_seal,omitempty"`
}

// LimitCore is the order core that the payment password of a change is sealed to: it
// moves no money, and fits no order of another kind.
func LimitCore(change LimitsChange, key string) OrderCore {
	core := OrderCore{Source: "limit:" + change.Device, Key: key, Amount: -1}
	if change.Day != nil {
		core.Amount = *change.Day
	}
	return core
}

// Codes of limits and of risk control, besides those of messages. Signed where an
// order is concerned.
const (
	CodeLimitLifeSum       = "LIMIT_LIFE_SUM"       // payments of a weak real-name account
	CodeLimitNewDevice     = "LIMIT_NEW_DEVICE"     // loads by a new device; RetryAfter: when it is new no more
	CodeLimitTooHigh       = "LIMIT_TOO_HIGH"       // the person's own limit would be above the policy's
	CodeTierRefused        = "TIER_REFUSED"         // a weak real-name account pays nothing out
	CodeRiskWatch          = "RISK_WATCH"           // account or device is on the grey list; RetryAfter: until when
	CodeRiskBlocked        = "RISK_BLOCKED"         // account or device is on the black list
	CodeListRefused        = "LIST_REFUSED"         // a list is not entered or left this way
	CodeLimitNeedsPassword = "LIMIT_NEEDS_PASSWORD" // raising a limit needs the payment password
)
