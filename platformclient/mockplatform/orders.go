package mockplatform

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// order is a row of orders: a top-up with numbered attempts.
type order struct {
	id, key, user, device string
	asn                   wallet.ASN
	profile               string
	keyIndex              byte
	amount, fee           wallet.Fen
	source                string
	state                 wallet.LoadState
	cause                 rules.Cause
	evidence              string
	attempt               int
	probe                 wallet.TerminalNumber
	probeEpoch            int
	wrongs                int
	created               time.Time
	receipt               []byte
}

const orderColumns = `id, key, user, device, asn, profile, key_index, amount, fee, source, state, cause, evidence,
	attempt, probe_tid, probe_epoch, wrongs, created, receipt`

func scanOrder(scan func(...any) error) (*order, error) {
	o := &order{}
	var asn, probe, state, cause string
	var created int64
	err := scan(&o.id, &o.key, &o.user, &o.device, &asn, &o.profile, &o.keyIndex, &o.amount, &o.fee, &o.source, &state, &cause,
		&o.evidence, &o.attempt, &probe, &o.probeEpoch, &o.wrongs, &created, &o.receipt)
	if err != nil {
		return nil, err
	}
	o.state, o.cause, o.created = wallet.LoadState(state), rules.Cause(cause), time.UnixMilli(created).UTC()
	if o.asn, err = wallet.ParseASN(asn); err != nil {
		return nil, err
	}
	o.probe, err = wallet.ParseTerminalNumber(probe)
	return o, err
}

// findOrders lists the orders that fit a condition, newest first.
func findOrders(tx *Tx, where string, args ...any) (orders []*order, err error) {
	return someOrders(tx, where, -1, args...)
}

// someOrders lists no more than limit of them; -1: all.
func someOrders(tx *Tx, where string, limit int, args ...any) (orders []*order, err error) {
	query := `SELECT ` + orderColumns + ` FROM orders WHERE ` + where + ` ORDER BY created DESC, id DESC`
	if limit >= 0 {
		query, args = query+` LIMIT ?`, append(args, limit)
	}
	err = tx.each(query, args, func(rows *sql.Rows) error {
		o, err := scanOrder(rows.Scan)
		orders = append(orders, o)
		return err
	})
	return orders, err
}

// findOrder finds one order, or nil.
func findOrder(tx *Tx, where string, args ...any) (*order, error) {
	orders, err := findOrders(tx, where, args...)
	if err != nil || len(orders) == 0 {
		return nil, err
	}
	return orders[0], nil
}

func (p *Platform) insertOrder(tx *Tx, o *order) error {
	return tx.exec(`INSERT INTO orders (id, key, user, device, asn, profile, key_index, amount, fee, source, state, attempt,
		probe_tid, probe_epoch, created, day) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.id, o.key, o.user, o.device, o.asn.String(), o.profile, o.keyIndex, int64(o.amount), int64(o.fee), o.source, string(o.state),
		o.attempt, o.probe.String(), o.probeEpoch, o.created.UnixMilli(), businessDay(o.created))
}

// saveOrder writes what can change about an order.
func saveOrder(tx *Tx, o *order, finished time.Time) error {
	var end int64
	if o.state == wallet.StateLoaded || o.state == wallet.StateVoided {
		end = finished.UnixMilli()
	}
	return tx.exec(`UPDATE orders SET state = ?, cause = ?, evidence = ?, attempt = ?, probe_tid = ?, probe_epoch = ?, wrongs = ?,
		receipt = ?, finished = ? WHERE id = ?`, string(o.state), string(o.cause), o.evidence, o.attempt, o.probe.String(), o.probeEpoch,
		o.wrongs, o.receipt, end, o.id)
}

// newOrderID is date, epoch and counter: after a restore the counter may run again
// over numbers that were given before, and the epoch keeps them apart.
func (p *Platform) newOrderID(tx *Tx) (string, error) {
	last, err := meta(tx, "order_counter")
	if err != nil {
		return "", err
	}
	counter, err := strconv.Atoi(last)
	if err != nil {
		return "", err
	}
	counter++
	return fmt.Sprintf("%s-%02d-%06d", businessDay(p.now()), p.epoch, counter), setMeta(tx, "order_counter", strconv.Itoa(counter))
}

// attemptRow is what an attempt was granted for.
type attemptRow struct {
	number        int
	tid           wallet.TerminalNumber
	seq           uint16
	floor         uint16
	balanceBefore *wallet.Fen // nil: rebuilt from a signed grant
	cardTime      time.Time
	tac           []byte // expected; empty: rebuilt from a signed grant
	probe         wallet.TerminalNumber
	epoch         int
	granted       time.Time
}

func insertAttempt(tx *Tx, orderID string, a attemptRow) error {
	var before any
	if a.balanceBefore != nil {
		before = int64(*a.balanceBefore)
	}
	return tx.exec(`INSERT INTO attempts (order_id, attempt, tid, seq, floor_seq, balance_before, card_time, tac, probe_tid, epoch, granted)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, orderID, a.number, a.tid.String(), a.seq, a.floor, before, a.cardTime.UnixMilli(), a.tac,
		a.probe.String(), a.epoch, a.granted.UnixMilli())
}

// attemptsOf lists the attempts of an order, the last one first.
func attemptsOf(tx *Tx, orderID string) (attempts []attemptRow, err error) {
	err = tx.each(`SELECT attempt, tid, seq, floor_seq, balance_before, card_time, tac, probe_tid, epoch, granted FROM attempts
		WHERE order_id = ? ORDER BY attempt DESC`, []any{orderID}, func(rows *sql.Rows) error {
		var a attemptRow
		var tid, probe string
		var before sql.NullInt64
		var cardTime, granted int64
		if err := rows.Scan(&a.number, &tid, &a.seq, &a.floor, &before, &cardTime, &a.tac, &probe, &a.epoch, &granted); err != nil {
			return err
		}
		if before.Valid {
			balance := wallet.Fen(before.Int64)
			a.balanceBefore = &balance
		}
		a.cardTime, a.granted = time.UnixMilli(cardTime).UTC(), time.UnixMilli(granted).UTC()
		var err error
		if a.tid, err = wallet.ParseTerminalNumber(tid); err != nil {
			return err
		}
		a.probe, err = wallet.ParseTerminalNumber(probe)
		attempts = append(attempts, a)
		return err
	})
	return attempts, err
}

const isOpen = `state IN ('GRANTED', 'SUSPENSE')`

// openOrders tells what a client needs to settle orders that are not final.
func openOrders(tx *Tx, where string, args ...any) ([]wallet.OpenOrder, error) {
	orders, err := findOrders(tx, isOpen+` AND `+where, args...)
	if err != nil {
		return nil, err
	}
	open := []wallet.OpenOrder{}
	for _, o := range orders {
		one, err := openOrder(tx, o)
		if err != nil {
			return nil, err
		}
		open = append(open, one)
	}
	return open, nil
}

func openOrder(tx *Tx, o *order) (wallet.OpenOrder, error) {
	attempts, err := attemptsOf(tx, o.id)
	if err != nil || len(attempts) == 0 {
		return wallet.OpenOrder{}, fmt.Errorf("order %s has no attempt: %w", o.id, errOr(err, sql.ErrNoRows))
	}
	return wallet.OpenOrder{
		Order: o.id, Key: o.key, ASN: o.asn, Attempt: o.attempt, Seq: attempts[0].seq, Amount: o.amount,
		ProbeTID: o.probe, Epoch: o.probeEpoch, State: o.state,
	}, nil
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// presentState is the signed state of an order as it stands. Open orders carry what
// is needed to settle them. Who does not pay sees no balance of the payer's account.
func (p *Platform) presentState(tx *Tx, o *order, c *call) (wallet.OrderState, error) {
	state := wallet.OrderState{Key: o.key, Order: o.id, Request: c.key, State: o.state, Evidence: o.evidence}
	if len(o.receipt) > 0 {
		state.ReceiptBody = &wallet.Receipt{}
		if err := json.Unmarshal(o.receipt, state.ReceiptBody); err != nil {
			return state, err
		}
		if c.sender.user != o.user {
			state.ReceiptBody.MainBalance = 0
		}
	}
	if o.state == wallet.StateGranted || o.state == wallet.StateSuspense {
		open, err := openOrder(tx, o)
		if err != nil {
			return state, err
		}
		state.Pending = &open
	}
	return state, nil
}

func (p *Platform) answerPresent(tx *Tx, o *order, c *call, code string) (reply, error) {
	state, err := p.presentState(tx, o, c)
	if err != nil {
		return reply{}, err
	}
	state.Code, state.Text = code, refusalText(code)
	return p.signedState(statusOf(code), state)
}

func showLoad(c *call) (answer reply, err error) {
	id := c.req.PathValue("id")
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		o, err := findOrder(tx, `id = ? OR (key = ? AND user = ?)`, id, id, c.sender.user)
		if err != nil {
			return err
		}
		if o != nil {
			known, err := concerns(tx, o, c.sender.user)
			if err != nil {
				return err
			}
			if known {
				answer, err = c.p.answerPresent(tx, o, c, "")
				return err
			}
		}
		answer = failure(404, api.CodeNotFound, "there is no such order")
		return nil
	})
	return answer, err
}

// concerns tells whether a person pays the order or holds its card.
func concerns(tx *Tx, o *order, user string) (bool, error) {
	if user == "" {
		return false, nil
	}
	if o.user == user {
		return true, nil
	}
	var found int
	return tx.row(`SELECT 1 FROM cards WHERE asn = ? AND user = ?`, []any{o.asn.String(), user}, &found)
}
