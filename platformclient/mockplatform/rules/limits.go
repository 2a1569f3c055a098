package rules

import (
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Shanghai is the zone of business days. It has had no summer time since 1991, so that
// no zone file is needed.
var Shanghai = time.FixedZone("Asia/Shanghai", 8*60*60)

// NextDay is when the business day of a moment ends and its limits reset.
func NextDay(moment time.Time) time.Time {
	local := moment.In(Shanghai)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, Shanghai)
}

// Payment is what limits are asked about: a new load of Amount onto a card that holds
// OnCard. Completing an open order is no new load and is never asked about.
type Payment struct {
	Amount, OnCard wallet.Fen
}

// Used is what the books say was paid already: granted and not voided.
type Used struct {
	CardCount int        // loads of the card on the business day
	CardDay   wallet.Fen // their sum
	UserDay   wallet.Fen // payments of the account on the business day
	DeviceDay wallet.Fen // those of them that this device asked for
	NewDevice wallet.Fen // loads of this device since it was enrolled
	Life      wallet.Fen // payments of the account, ever
}

// LimitFacts are everything that limits depend on.
type LimitFacts struct {
	Policy    api.Limits
	Tier      string      // of the account
	Named     bool        // the card
	Factors   int         // that the request proves: the payment password, a device that is not new
	UserDay   *wallet.Fen // the person's own limit for the account; nil: none
	DeviceDay *wallet.Fen // the person's own limit for this device; nil: none
	NewUntil  time.Time   // until when the device is new; zero: it is not
	Used      Used
	Now       time.Time
}

// Limit is one limit as it stands for an account, a device and a card.
type Limit struct {
	Name   string
	Code   string     // of the refusal
	Value  wallet.Fen // or a count
	Used   wallet.Fen
	Own    bool // the person's own is the lower one
	Count  bool
	Least  bool       // a smallest amount; all others are largest ones
	Alone  bool       // looks at one payment alone: Used means nothing
	OfCard bool       // belongs to the card
	Resets *time.Time // nil: never
}

// Left is what may still be used; never below 0.
func (l Limit) Left() wallet.Fen { return max(l.Value-l.Used, 0) }

// breaks tells whether a payment breaks the limit. The limit itself passes.
func (l Limit) breaks(p Payment) bool {
	switch {
	case l.Least:
		return p.Amount < l.Value
	case l.Count:
		return l.Used+1 > l.Value
	}
	return l.Used+p.Amount > l.Value
}

// limitRow is a line of the table: which limit applies to whom. A row whose value is
// nil does not apply.
type limitRow struct {
	name, code          string
	value               func(*LimitFacts) *wallet.Fen
	used                func(*LimitFacts, Payment) wallet.Fen
	own                 func(*LimitFacts) *wallet.Fen
	resets              func(*LimitFacts) *time.Time
	count, least, alone bool
	ofCard              bool
}

func nothing(*LimitFacts, Payment) wallet.Fen { return 0 }

func never(*LimitFacts) *time.Time { return nil }

func daily(f *LimitFacts) *time.Time {
	reset := NextDay(f.Now)
	return &reset
}

// unlessZero is a limit of the policy, where 0 means none.
func unlessZero(pick func(*LimitFacts) wallet.Fen) func(*LimitFacts) *wallet.Fen {
	return func(f *LimitFacts) *wallet.Fen {
		if value := pick(f); value > 0 {
			return &value
		}
		return nil
	}
}

// limitTable holds every limit, in the order in which a payment is held against them
// (protocol §2.14). The first three are looked at also where they are 0.
var limitTable = []limitRow{
	{name: "load-min", code: api.CodeLimitLoadMin, least: true, alone: true, resets: never, used: nothing,
		value: func(f *LimitFacts) *wallet.Fen { return &f.Policy.LoadMin }},
	{name: "load-max", code: api.CodeLimitLoadMax, alone: true, resets: never, used: nothing,
		value: func(f *LimitFacts) *wallet.Fen { return &f.Policy.LoadMax }},
	{name: "purse-cap", code: api.CodeLimitPurseCap, ofCard: true, resets: never,
		used:  func(_ *LimitFacts, p Payment) wallet.Fen { return p.OnCard },
		value: func(f *LimitFacts) *wallet.Fen { limit := f.Policy.Cap(f.Named); return &limit }},
	{name: "card-day-count", code: api.CodeLimitCardCount, ofCard: true, count: true, resets: daily,
		used:  func(f *LimitFacts, _ Payment) wallet.Fen { return wallet.Fen(f.Used.CardCount) },
		value: unlessZero(func(f *LimitFacts) wallet.Fen { return wallet.Fen(f.Policy.CardDayCount) })},
	{name: "card-day-sum", code: api.CodeLimitCardSum, ofCard: true, resets: daily,
		used:  func(f *LimitFacts, _ Payment) wallet.Fen { return f.Used.CardDay },
		value: unlessZero(func(f *LimitFacts) wallet.Fen { return f.Policy.CardDaySum })},
	{name: "weak-life-sum", code: api.CodeLimitLifeSum, resets: never,
		used: func(f *LimitFacts, _ Payment) wallet.Fen { return f.Used.Life },
		value: unlessZero(func(f *LimitFacts) wallet.Fen {
			if f.Tier != api.TierWeak {
				return 0
			}
			return f.Policy.WeakLifeSum
		})},
	{name: "account-day-sum", code: api.CodeLimitAccountSum, resets: daily,
		used:  func(f *LimitFacts, _ Payment) wallet.Fen { return f.Used.UserDay },
		own:   func(f *LimitFacts) *wallet.Fen { return f.UserDay },
		value: unlessZero(func(f *LimitFacts) wallet.Fen { return AccountDay(f.Policy, f.Factors) })},
	{name: "device-day-sum", code: api.CodeLimitDeviceSum, resets: daily,
		used:  func(f *LimitFacts, _ Payment) wallet.Fen { return f.Used.DeviceDay },
		own:   func(f *LimitFacts) *wallet.Fen { return f.DeviceDay },
		value: unlessZero(func(f *LimitFacts) wallet.Fen { return f.Policy.DeviceDaySum })},
	{name: "new-device", code: api.CodeLimitNewDevice,
		used:   func(f *LimitFacts, _ Payment) wallet.Fen { return f.Used.NewDevice },
		resets: func(f *LimitFacts) *time.Time { return &f.NewUntil },
		value: unlessZero(func(f *LimitFacts) wallet.Fen {
			if !f.Now.Before(f.NewUntil) {
				return 0
			}
			return f.Policy.NewDeviceSum
		})},
}

// AccountDay is what an account may pay on a day with so many factors; 0: no limit.
func AccountDay(policy api.Limits, factors int) wallet.Fen {
	if factors < 2 && policy.AccountDaySumOne > 0 {
		return policy.AccountDaySumOne
	}
	return policy.AccountDaySum
}

// Limits tells every limit that applies, in the order of the table.
func Limits(f LimitFacts, p Payment) []Limit {
	var all []Limit
	for _, row := range limitTable {
		limit := Limit{Name: row.name, Code: row.code, Count: row.count, Least: row.least, Alone: row.alone, OfCard: row.ofCard}
		value := row.value(&f)
		if row.own != nil {
			if own := row.own(&f); own != nil && (value == nil || *own < *value) {
				value, limit.Own = own, true
			}
		}
		if value == nil {
			continue
		}
		limit.Value, limit.Used, limit.Resets = *value, row.used(&f, p), row.resets(&f)
		all = append(all, limit)
	}
	return all
}

// Broken names the first limit that a payment would break, or nil.
func Broken(f LimitFacts, p Payment) *Limit {
	for _, limit := range Limits(f, p) {
		if limit.breaks(p) {
			return &limit
		}
	}
	return nil
}

// MayPayOut gives the code why money may not leave the platform to a bank account, or
// "": a weak real-name account pays nothing out (protocol §2.14).
func MayPayOut(tier string) string {
	if tier == api.TierWeak {
		return api.CodeTierRefused
	}
	return ""
}

// Raises tells whether a person's own limit would let more pass than it does now. nil
// is no own limit.
func Raises(now, wanted *wallet.Fen) bool {
	switch {
	case now == nil:
		return false
	case wanted == nil:
		return true
	}
	return *wanted > *now
}
