package mockplatform

import (
	"database/sql"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// The order of risk control is limits, lists, velocity, shadow balance (§2.14). What
// is allowed and who is listed is decided in package rules; here the facts come
// together and the decisions are written down.

// daySums are what counts against the limits of one business day: everything that
// was granted and not voided. Completing an open order is not a new load.
type daySums struct {
	cardCount                    int
	cardSum, accountSum, devices wallet.Fen
}

// counted are the orders that use limits up.
const counted = ` AND state IN ('GRANTED', 'LOADED', 'SUSPENSE')`

func sumsOfDay(tx *Tx, asn wallet.ASN, user, device, day string) (sums daySums, err error) {
	const today = ` AND day = ?` + counted
	if _, err = tx.row(`SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM orders WHERE asn = ?`+today,
		[]any{asn.String(), day}, &sums.cardCount, &sums.cardSum); err != nil {
		return sums, err
	}
	if _, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ?`+today, []any{user, day}, &sums.accountSum); err != nil {
		return sums, err
	}
	_, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ? AND device = ?`+today, []any{user, device, day}, &sums.devices)
	return sums, err
}

// limitFacts collects what the limits of a payment depend on. password says that the
// request brings the sealed payment password.
func (p *Platform) limitFacts(tx *Tx, payer *account, device string, asn wallet.ASN, password bool) (rules.LimitFacts, error) {
	now := p.now()
	f := rules.LimitFacts{Policy: p.policy.Limits, Tier: payer.tier, Now: now}
	sums, err := sumsOfDay(tx, asn, payer.id, device, businessDay(now))
	if err != nil {
		return f, err
	}
	f.Used = rules.Used{CardCount: sums.cardCount, CardDay: sums.cardSum, UserDay: sums.accountSum, DeviceDay: sums.devices}
	if f.UserDay, f.DeviceDay, err = ownLimits(tx, payer.id, device); err != nil {
		return f, err
	}
	if payer.tier == api.TierWeak && f.Policy.WeakLifeSum > 0 {
		if _, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ?`+counted, []any{payer.id}, &f.Used.Life); err != nil {
			return f, err
		}
	}
	if err := p.deviceAge(tx, &f, payer.id, device); err != nil {
		return f, err
	}
	if password {
		f.Factors++
	}
	if !now.Before(f.NewUntil) {
		f.Factors++ // the device's key is something that the person has
	}
	return f, nil
}

// deviceAge tells until when a device is new. A key that was enrolled a moment ago
// proves no more than one SMS that somebody read; but the first device of an account
// is as old as what it is to protect.
func (p *Platform) deviceAge(tx *Tx, f *rules.LimitFacts, user, device string) error {
	if f.Policy.NewDeviceS <= 0 {
		return nil
	}
	var enrolled int64
	later, err := tx.row(`SELECT d.enrolled FROM devices d WHERE d.device = ? AND d.user = ?
		AND EXISTS (SELECT 1 FROM devices e WHERE e.user = d.user AND e.enrolled < d.enrolled)`, []any{device, user}, &enrolled)
	if err != nil || !later {
		return err
	}
	f.NewUntil = time.UnixMilli(enrolled).UTC().Add(time.Duration(f.Policy.NewDeviceS) * time.Second)
	if !f.Now.Before(f.NewUntil) {
		return nil
	}
	_, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE user = ? AND device = ? AND created >= ?`+counted,
		[]any{user, device, enrolled}, &f.Used.NewDevice)
	return err
}

// ownLimits are the day limits that the person has set: of the account and of a device.
func ownLimits(tx *Tx, user, device string) (ofUser, ofDevice *wallet.Fen, err error) {
	err = tx.each(`SELECT device, day_sum FROM own_limits WHERE user = ? AND device IN ('', ?)`, []any{user, device}, func(rows *sql.Rows) error {
		var whose string
		var sum wallet.Fen
		if err := rows.Scan(&whose, &sum); err != nil {
			return err
		}
		if whose == "" {
			ofUser = &sum
		} else {
			ofDevice = &sum
		}
		return nil
	})
	return ofUser, ofDevice, err
}

// checkLimits names the first limit that the load would break, and when it resets.
func (l *loading) checkLimits() (*refusal, error) {
	if err := l.makeOrder(); err != nil {
		return nil, err
	}
	facts, err := l.p.limitFacts(l.tx, l.account, l.c.sender.device, l.card.asn, l.password.opened)
	if err != nil {
		return nil, err
	}
	facts.Named = l.card.named
	broken := rules.Broken(facts, rules.Payment{Amount: l.order.amount, OnCard: l.answer.balance})
	if broken == nil {
		return nil, nil
	}
	return &refusal{code: broken.Code, state: wallet.OrderState{LimitFen: broken.Value, RetryAfter: broken.Resets}}, nil
}

// checkLists refuses what a listed account, device or card may not do.
func (l *loading) checkLists() (*refusal, error) {
	return l.p.listRefusal(l.tx, rules.UseLoad, l.account.id, l.c.sender.device, l.card)
}

// checkVelocity counts the cards of a device on one day.
func (l *loading) checkVelocity() (*refusal, error) {
	limit := l.p.policy.Limits.Velocity.DeviceCards
	if limit <= 0 {
		return nil, nil
	}
	device, day := l.c.sender.device, businessDay(l.p.now())
	if err := l.tx.exec(`DELETE FROM device_cards WHERE device = ? AND day < ?`, device, day); err != nil {
		return nil, err
	}
	err := l.tx.exec(`INSERT INTO device_cards (device, day, asn) VALUES (?, ?, ?) ON CONFLICT (device, day, asn) DO NOTHING`,
		device, day, l.card.asn.String())
	if err != nil {
		return nil, err
	}
	var cards int
	if _, err := l.tx.row(`SELECT COUNT(*) FROM device_cards WHERE device = ? AND day = ?`, []any{device, day}, &cards); err != nil || cards <= limit {
		return nil, err
	}
	if _, _, err := l.p.meet(l.tx, rules.SubjectDevice, device, rules.ListVelocity, "platform", "cards of one day"); err != nil {
		return nil, err
	}
	return l.checkLists()
}

// checkShadow refuses a card that has just shown more than the books explain. That it
// did was written down when its balance was authenticated, whatever was asked for.
func (l *loading) checkShadow() (*refusal, error) {
	if l.card.state != cardActive {
		return refuse(api.CodeCardState), nil
	}
	return nil, nil
}

// hasty are the refusals that somebody gets who tries what is not his. Limits, a short
// balance, a changed fee or an open order happen to anybody and are not counted.
var hasty = map[string]bool{
	api.CodePasswordWrong: true, api.CodeDeclined: true, api.CodeCardEvidence: true, api.CodeCardState: true, api.CodeCompanionRefused: true,
}

// noteDecline counts a refusal; too many in a short time put the account on the grey
// list for a while.
func (p *Platform) noteDecline(tx *Tx, user, device, code string) error {
	velocity, now := p.policy.Limits.Velocity, p.now()
	if velocity.Declines <= 0 || !hasty[code] {
		return nil
	}
	since := now.Add(-time.Duration(velocity.DeclineWindowS) * time.Second).UnixMilli()
	if err := tx.exec(`DELETE FROM declines WHERE user = ? AND time <= ?`, user, since); err != nil {
		return err
	}
	if err := tx.exec(`INSERT INTO declines (user, device, code, time) VALUES (?, ?, ?, ?)`, user, device, code, now.UnixMilli()); err != nil {
		return err
	}
	var count int
	if _, err := tx.row(`SELECT COUNT(*) FROM declines WHERE user = ? AND time > ?`, []any{user, since}, &count); err != nil || count <= velocity.Declines {
		return err
	}
	_, _, err := p.meet(tx, rules.SubjectUser, user, rules.ListVelocity, "platform", "declines")
	return err
}

// checkPayOut gives the refusal of money that would leave the platform to a bank
// account, or nil.
func (p *Platform) checkPayOut(tx *Tx, payer *account, device string) (*refusal, error) {
	if code := rules.MayPayOut(payer.tier); code != "" {
		return refuse(code), nil
	}
	return p.listRefusal(tx, rules.UsePayOut, payer.id, device, nil)
}
