package mockbank

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// The kinds of operations.
const (
	kindBind     = "BIND"
	kindConfirm  = "CONFIRM"
	kindUnbind   = "UNBIND"
	kindCode     = "CODE"
	kindDebit    = "DEBIT"
	kindCapture  = "CAPTURE"
	kindRelease  = "RELEASE"
	kindReversal = "REVERSAL"
	kindRefund   = "REFUND"
	kindPayout   = "PAYOUT"
	kindOrder    = "ORDER"

	// kindNone is an operation that a reversal names and that the bank has not seen:
	// it is kept, so that the request is refused when it comes late.
	kindNone = "NONE"
)

// operation is a row of operations.
type operation struct {
	partner, serial, kind string
	core                  []byte // SHA-256 of the request; empty for kindNone
	of, account           string
	amount, refunded      wallet.Fen
	state, code, journal  string
	token, codeMAC        []byte // sealed; keyed hash
	tries                 int
	goods, notify         string
	ca                    []byte
	expires, created      int64 // ms
}

// errSerial means that a serial came again with another request: nothing is decided.
var errSerial = errors.New("this serial belongs to another request")

func findOperation(tx *tx, partner, serial string) (*operation, error) {
	o := &operation{partner: partner, serial: serial}
	found, err := tx.row(`SELECT kind, core, of, account, amount, refunded, state, code, journal, token, code_mac, tries, goods, notify, ca, expires, created
		FROM operations WHERE partner = ? AND serial = ?`, []any{partner, serial},
		&o.kind, &o.core, &o.of, &o.account, &o.amount, &o.refunded, &o.state, &o.code, &o.journal, &o.token, &o.codeMAC, &o.tries,
		&o.goods, &o.notify, &o.ca, &o.expires, &o.created)
	if err != nil || !found {
		return nil, err
	}
	return o, nil
}

func saveOperation(tx *tx, o *operation) error {
	some := func(bytes []byte) []byte { return append([]byte{}, bytes...) } // never NULL
	return tx.exec(`INSERT INTO operations (partner, serial, kind, core, of, account, amount, refunded, state, code, journal, token, code_mac, tries,
		goods, notify, ca, expires, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (partner, serial) DO UPDATE SET account = excluded.account, amount = excluded.amount, refunded = excluded.refunded,
		state = excluded.state, code = excluded.code, journal = excluded.journal, token = excluded.token, tries = excluded.tries`,
		o.partner, o.serial, o.kind, some(o.core), o.of, o.account, int64(o.amount), int64(o.refunded), o.state, o.code, o.journal,
		some(o.token), some(o.codeMAC), o.tries, o.goods, o.notify, some(o.ca), o.expires, o.created)
}

// refuse is the end of an operation that is not done. It is final for its serial.
func (o *operation) refuse(code string) *operation {
	o.state, o.code = bankapi.StateRefused, code
	return o
}

// once runs decide for a serial that was not seen before, and keeps what it decided.
// A serial that was seen is answered as its operation stands now: a debit that was
// reversed since is REVERSED, whoever repeats it.
func (b *Bank) once(tx *tx, partner, kind, serial string, request any, decide func(*operation) error) (*operation, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	core := sha256.Sum256(append([]byte(kind+"\n"), raw...))
	known, err := findOperation(tx, partner, serial)
	if err != nil {
		return nil, err
	}
	if known != nil {
		if len(known.core) != 0 && string(known.core) != string(core[:]) {
			return nil, errSerial
		}
		return known, nil
	}
	o := &operation{partner: partner, serial: serial, kind: kind, core: core[:], created: b.now().UnixMilli()}
	if err := decide(o); err != nil {
		return nil, err
	}
	return o, saveOperation(tx, o)
}

// outcome is what the bank tells of an operation.
func (b *Bank) outcome(o *operation) (bankapi.Outcome, error) {
	told := bankapi.Outcome{
		Serial: o.serial, State: o.state, Code: o.code, Amount: o.amount, Refunded: o.refunded, Journal: o.journal, Time: b.now(),
	}
	if o.kind == kindConfirm && o.state == bankapi.StateBound {
		token, err := b.keys.unseal("token", o.token)
		if err != nil {
			return bankapi.Outcome{}, err
		}
		told.Token = token
		told.Account = hex.EncodeToString(b.keys.mac("account", o.partner, o.account)[:12])
	}
	if o.kind == kindConfirm || o.kind == kindBind {
		told.Last4 = o.goods
	}
	if o.kind == kindOrder && o.state == bankapi.StateOpen {
		told.Page = b.page(o)
		if b.now().UnixMilli() >= o.expires {
			told.State, told.Code, told.Page = bankapi.StateExpired, bankapi.CodeExpired, ""
		}
	}
	if o.code == bankapi.CodeWrongCode {
		left := maxCodeTries - o.tries
		told.TriesLeft = &left
	}
	return told, nil
}

// debit takes or freezes money of a bound card.
func (b *Bank) debit(tx *tx, partner string, r bankapi.DebitRequest) (*operation, error) {
	return b.once(tx, partner, kindDebit, r.Serial, r, func(o *operation) error {
		o.amount = r.Amount
		holder, err := b.boundAccount(tx, partner, r.Token)
		if err != nil {
			return err
		}
		if holder == nil {
			o.refuse(bankapi.CodeNoBinding)
			return nil
		}
		o.account = holder.id
		if holder.credit {
			o.refuse(bankapi.CodeCreditCard)
			return nil
		}
		if r.CodeOf != "" || r.Code != "" {
			if good, err := b.useCode(tx, o, r); err != nil || !good {
				return err
			}
		}
		to, state := prefixPartner+partner, bankapi.StatePaid
		if r.Freeze {
			to, state = prefixFrozen+holder.id, bankapi.StateFrozen
		}
		return b.move(tx, o, state, movement{
			partner: partner, kind: kindDebit, serial: o.serial, from: prefixCustomer + holder.id, to: to, amount: r.Amount,
		}, bankapi.CodeFunds)
	})
}

// move posts and notes the journal number; an account that does not cover it is a
// refusal with the code short. The balance is looked at first: a posting that fails
// takes its whole transaction with it.
func (b *Bank) move(tx *tx, o *operation, state string, m movement, short string) error {
	if m.from != accountVault && !m.overdraw {
		left, err := balance(tx, m.from)
		if err != nil {
			return err
		}
		if left < m.amount {
			o.refuse(short)
			return nil
		}
	}
	journal, err := b.post(tx, m)
	o.journal, o.state = journal, state
	return err
}

// useCode checks the code of a payment. A wrong one refuses this debit; the next
// debit, under its own serial, may bring the right one.
func (b *Bank) useCode(tx *tx, o *operation, r bankapi.DebitRequest) (good bool, err error) {
	sent, err := findOperation(tx, o.partner, r.CodeOf)
	if err != nil {
		return false, err
	}
	fits := sent != nil && sent.kind == kindCode && sent.state == bankapi.StateSent && sent.account == o.account && sent.amount == r.Amount &&
		b.now().Sub(time.UnixMilli(sent.created)) <= codeLife
	if !fits {
		o.refuse(bankapi.CodeCodeOld)
		return false, nil
	}
	if !b.rightCode(sent, r.Code) {
		sent.tries++
		o.tries = sent.tries
		o.refuse(bankapi.CodeWrongCode)
		if sent.tries >= maxCodeTries {
			sent.state = bankapi.StateLocked
			o.refuse(bankapi.CodeCodeLocked)
		}
		return false, saveOperation(tx, sent)
	}
	sent.state = bankapi.StateExpired // used
	return true, saveOperation(tx, sent)
}

// capture takes what was frozen; less than that leaves the rest with the customer.
func (b *Bank) capture(tx *tx, partner string, r bankapi.FollowRequest) (*operation, error) {
	return b.once(tx, partner, kindCapture, r.Serial, r, func(o *operation) error {
		o.amount, o.of = r.Amount, r.Of
		frozen, err := findOperation(tx, partner, r.Of)
		switch {
		case err != nil:
			return err
		case frozen == nil || frozen.kind != kindDebit || frozen.state != bankapi.StateFrozen:
			o.refuse(bankapi.CodeState)
			return nil
		case r.Amount > frozen.amount:
			o.refuse(bankapi.CodeOver)
			return nil
		}
		from := prefixFrozen + frozen.account
		if rest := frozen.amount - r.Amount; rest > 0 {
			_, err := b.post(tx, movement{partner: partner, kind: kindRelease, serial: o.serial, of: frozen.serial, from: from, to: prefixCustomer + frozen.account, amount: rest})
			if err != nil {
				return err
			}
		}
		o.account = frozen.account
		err = b.move(tx, o, bankapi.StateCaptured, movement{
			partner: partner, kind: kindCapture, serial: frozen.serial, from: from, to: prefixPartner + partner, amount: r.Amount,
		}, bankapi.CodeState)
		if err != nil || o.state != bankapi.StateCaptured {
			return err
		}
		frozen.state, frozen.amount = bankapi.StateCaptured, r.Amount
		return saveOperation(tx, frozen)
	})
}

// release gives what was frozen back to the customer.
func (b *Bank) release(tx *tx, partner string, r bankapi.FollowRequest) (*operation, error) {
	return b.once(tx, partner, kindRelease, r.Serial, r, func(o *operation) error {
		o.of = r.Of
		frozen, err := findOperation(tx, partner, r.Of)
		if err != nil {
			return err
		}
		if frozen == nil || frozen.state != bankapi.StateFrozen {
			o.refuse(bankapi.CodeState)
			return nil
		}
		o.account, o.amount = frozen.account, frozen.amount
		frozen.state = bankapi.StateReleased
		if err := saveOperation(tx, frozen); err != nil {
			return err
		}
		return b.move(tx, o, bankapi.StateReleased, movement{
			partner: partner, kind: kindRelease, serial: o.serial, of: frozen.serial, from: prefixFrozen + frozen.account,
			to: prefixCustomer + frozen.account, amount: frozen.amount,
		}, bankapi.CodeState)
	})
}

// freezeLife is how long money stays frozen that nobody captures or releases. A partner
// whose books a restore set back asks for neither.
const freezeLife = 7 * 24 * time.Hour

// ReleaseOld gives money back to customers that was frozen for longer than freezeLife,
// and tells how many payments that were. A capture that comes after all is refused.
// Serve calls it all the time.
func (b *Bank) ReleaseOld(ctx context.Context) (released int, err error) {
	err = b.store.update(ctx, func(tx *tx) error {
		var old [][2]string // partner and serial
		err := tx.each(`SELECT partner, serial FROM operations WHERE kind = ? AND state = ? AND created <= ?`,
			[]any{kindDebit, bankapi.StateFrozen, b.now().Add(-freezeLife).UnixMilli()}, func(rows *sql.Rows) error {
				var one [2]string
				err := rows.Scan(&one[0], &one[1])
				old = append(old, one)
				return err
			})
		for _, one := range old {
			if err != nil {
				return err
			}
			var frozen *operation
			if frozen, err = findOperation(tx, one[0], one[1]); err != nil {
				return err
			}
			frozen.state = bankapi.StateReleased
			_, err = b.post(tx, movement{
				partner: frozen.partner, kind: kindRelease, serial: frozen.serial, of: frozen.serial,
				from: prefixFrozen + frozen.account, to: prefixCustomer + frozen.account, amount: frozen.amount,
			})
			if err == nil {
				err = saveOperation(tx, frozen)
			}
		}
		released = len(old)
		return err
	})
	return released, err
}

// reverse makes an operation as if it had never been. It is advice: the caller
// repeats it until it is answered, and the answer is always the same. What the bank
// has not seen yet is kept as reversed, so that it is refused when it comes.
func (b *Bank) reverse(tx *tx, partner string, r bankapi.FollowRequest) (*operation, error) {
	return b.once(tx, partner, kindReversal, r.Serial, r, func(o *operation) error {
		o.of, o.state = r.Of, bankapi.StateReversed
		target, err := findOperation(tx, partner, r.Of)
		if err != nil {
			return err
		}
		if target == nil {
			return saveOperation(tx, &operation{
				partner: partner, serial: r.Of, kind: kindNone, state: bankapi.StateReversed, code: bankapi.CodeReversed, created: o.created,
			})
		}
		if target.kind != kindDebit && target.kind != kindOrder && target.kind != kindNone || target.refunded > 0 {
			o.refuse(bankapi.CodeState)
			return nil
		}
		o.account, o.amount = target.account, target.amount
		back := movement{partner: partner, kind: kindReversal, serial: o.serial, of: target.serial, to: prefixCustomer + target.account, amount: target.amount, overdraw: true}
		switch target.state {
		case bankapi.StatePaid, bankapi.StateCaptured:
			back.from = prefixPartner + partner
			err = b.move(tx, o, bankapi.StateReversed, back, "")
		case bankapi.StateFrozen:
			back.from, back.kind = prefixFrozen+target.account, kindRelease // nothing was paid, so that no line of a statement tells of it
			err = b.move(tx, o, bankapi.StateReversed, back, "")
		case bankapi.StateOpen:
		default: // refused, released or reversed: nothing to give back
			return nil
		}
		if err != nil {
			return err
		}
		target.state, target.code = bankapi.StateReversed, bankapi.CodeReversed
		return saveOperation(tx, target)
	})
}

// refund gives back a part of what was paid, or all of it.
func (b *Bank) refund(tx *tx, partner string, r bankapi.FollowRequest) (*operation, error) {
	return b.once(tx, partner, kindRefund, r.Serial, r, func(o *operation) error {
		o.of, o.amount = r.Of, r.Amount
		paid, err := findOperation(tx, partner, r.Of)
		if err != nil {
			return err
		}
		switch {
		case paid == nil || paid.kind != kindDebit && paid.kind != kindOrder || paid.state != bankapi.StatePaid && paid.state != bankapi.StateCaptured:
			o.refuse(bankapi.CodeState)
			return nil
		case b.keys.RefundOnce && paid.refunded > 0:
			o.refuse(bankapi.CodeOnce)
			return nil
		case r.Amount > paid.amount-paid.refunded:
			o.refuse(bankapi.CodeOver)
			return nil
		}
		o.account = paid.account
		err = b.move(tx, o, bankapi.StateRefunded, movement{
			partner: partner, kind: kindRefund, serial: o.serial, of: paid.serial, from: prefixPartner + partner, to: prefixCustomer + paid.account, amount: r.Amount,
		}, bankapi.CodeSettlement)
		if err != nil || o.state != bankapi.StateRefunded {
			return err
		}
		paid.refunded += r.Amount
		return saveOperation(tx, paid)
	})
}

// payout pays from the partner's account to a bound card.
func (b *Bank) payout(tx *tx, partner string, r bankapi.PayoutRequest) (*operation, error) {
	return b.once(tx, partner, kindPayout, r.Serial, r, func(o *operation) error {
		o.amount = r.Amount
		holder, err := b.boundAccount(tx, partner, r.Token)
		if err != nil {
			return err
		}
		if holder == nil {
			o.refuse(bankapi.CodeNoBinding)
			return nil
		}
		o.account = holder.id
		return b.move(tx, o, bankapi.StateRefunded, movement{
			partner: partner, kind: kindPayout, serial: o.serial, from: prefixPartner + partner, to: prefixCustomer + holder.id, amount: r.Amount,
		}, bankapi.CodeSettlement)
	})
}
