package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Charging (requirement R5). A billable event leaves a charging record (CDR) in the
// transaction that moves its fee: charged with the hold of a load, reversed in full
// with the release. A record is never changed or deleted.

// CDR is a charging record.
type CDR struct {
	ID       int64      `json:"id"`
	Order    string     `json:"order"`
	Party    string     `json:"party"` // who pays the fee: an account
	Event    string     `json:"event"`
	Source   string     `json:"source"`
	BaseFen  wallet.Fen `json:"baseFen"` // amount of the event
	Version  int        `json:"version"` // of the fee table
	FeeFen   wallet.Fen `json:"feeFen"`  // below 0: a reversal
	Reverses int64      `json:"reverses,omitempty"`
	Day      string     `json:"day"` // business day, YYYYMMDD
	Time     time.Time  `json:"time"`
}

const cdrColumns = `id, order_id, party, event, source, base, version, fee, reverses, day, time`

func scanCDR(rows *sql.Rows) (one CDR, err error) {
	var millis int64
	err = rows.Scan(&one.ID, &one.Order, &one.Party, &one.Event, &one.Source, &one.BaseFen, &one.Version, &one.FeeFen, &one.Reverses, &one.Day, &millis)
	one.Time = time.UnixMilli(millis).UTC()
	return one, err
}

// charged is the record of an order's event that is not reversed, or nil.
func charged(tx *Tx, order, event string) (found *CDR, err error) {
	err = tx.each(`SELECT `+cdrColumns+` FROM cdrs a WHERE order_id = ? AND event = ? AND reverses = 0
		AND NOT EXISTS (SELECT 1 FROM cdrs b WHERE b.order_id = a.order_id AND b.reverses = a.id) ORDER BY id LIMIT 1`,
		[]any{order, event}, func(rows *sql.Rows) error {
			one, err := scanCDR(rows)
			found = &one
			return err
		})
	return found, err
}

// charge writes the record of an order whose money is held again, unless one stands:
// a load is charged once.
func (p *Platform) charge(tx *Tx, o *order) error {
	standing, err := charged(tx, o.id, api.FeeEventLoad)
	if err != nil || standing != nil {
		return err
	}
	return p.chargeAnew(tx, o)
}

// chargeAnew writes the record of a load with the fee that it was granted for. An event
// without a tariff is no billable one, unless a fee was confirmed for it.
func (p *Platform) chargeAnew(tx *Tx, o *order) error {
	if _, billable := p.policy.Fees.Row(api.FeeEventLoad, o.source); !billable && o.fee == 0 {
		return nil
	}
	return p.record(tx, CDR{Order: o.id, Party: o.user, Event: api.FeeEventLoad, Source: o.source, BaseFen: o.amount, Version: p.policy.Fees.Version, FeeFen: o.fee})
}

// uncharge reverses the record of a load whose money was returned.
func (p *Platform) uncharge(tx *Tx, o *order) error {
	standing, err := charged(tx, o.id, api.FeeEventLoad)
	if err != nil || standing == nil {
		return err
	}
	reversal := *standing
	reversal.Reverses, reversal.FeeFen = standing.ID, -standing.FeeFen
	return p.record(tx, reversal)
}

func (p *Platform) record(tx *Tx, one CDR) error {
	now := p.now()
	return tx.exec(`INSERT INTO cdrs (order_id, party, event, source, base, version, fee, reverses, day, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		one.Order, one.Party, one.Event, one.Source, int64(one.BaseFen), one.Version, int64(one.FeeFen), one.Reverses, businessDay(now), now.UnixMilli())
}

// unchargedQuery sums, load by load, how far the fees in charging records differ from
// the fee that is held or was earned.
const unchargedQuery = `SELECT COALESCE(SUM(ABS(x.want - x.records)), 0) FROM (
	SELECT CASE WHEN o.state IN ('GRANTED', 'SUSPENSE', 'LOADED') THEN o.fee ELSE 0 END AS want,
		COALESCE((SELECT SUM(c.fee) FROM cdrs c WHERE c.order_id = o.id AND c.event = 'load'), 0) AS records FROM orders o) AS x`

// ErrDay means that a day is not one.
var ErrDay = errors.New("a day is written YYYY-MM-DD")

// dayOf turns YYYY-MM-DD into the form of business days; empty stays the bound none.
func dayOf(text, none string) (string, error) {
	if text == "" {
		return none, nil
	}
	if _, err := time.Parse(api.DayForm, text); err != nil {
		return "", ErrDay
	}
	return strings.ReplaceAll(text, "-", ""), nil
}

// CDRs calls each for the charging records of some business days, YYYY-MM-DD, both
// included and either empty, in the order of their making.
func (p *Platform) CDRs(ctx context.Context, from, to string, each func(CDR) error) error {
	first, err := dayOf(from, "00000000")
	if err != nil {
		return err
	}
	last, err := dayOf(to, "99999999")
	if err != nil {
		return err
	}
	return p.store.View(ctx, func(tx *Tx) error {
		return tx.each(`SELECT `+cdrColumns+` FROM cdrs WHERE day >= ? AND day <= ? ORDER BY id`, []any{first, last}, func(rows *sql.Rows) error {
			one, err := scanCDR(rows)
			if err != nil {
				return err
			}
			return each(one)
		})
	})
}
