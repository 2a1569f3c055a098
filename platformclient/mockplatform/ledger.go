package mockplatform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"walletcompanion/wallet"
)

// The accounts. Money that the platform owes is positive, where it came from is
// negative; all postings together are zero.
const (
	accountPurseFloat = "purse-float" // value on cards
	accountFeeIncome  = "fee-income"
	accountOpening    = "opening" // value that stood on cards when they became known
	accountCashIn     = "cash-in" // money that was paid in
	accountRecovery   = "recovery-receivable"
	accountOffline    = "offline-payable" // owed to shops for uploaded purchases

	prefixMain    = "main:"
	prefixHeld    = "held:"
	prefixPayable = "merchant-payable:"
)

func mainAccount(user string) string { return prefixMain + user }
func heldAccount(user string) string { return prefixHeld + user }

// leg is one side of a transfer.
type leg struct {
	account string
	amount  wallet.Fen
}

// transfer is what post writes: legs whose sum is zero.
type transfer struct {
	kind  string // opening, cash-in, load-hold, load-post, load-void, recovery, purchase, purchase-refund, unload, offline, waiver, replacement
	order string
	legs  []leg
}

// Errors of the ledger.
var (
	errUnbalanced = errors.New("the legs of a transfer do not add up to zero")
	errNegative   = errors.New("the account does not cover this")
)

// post is the one function that writes postings. It refuses a transfer that is not
// balanced, and one after which an account of a person would be below zero. Whoever's
// main account it changes is told, once, in the same transaction.
func (p *Platform) post(tx *Tx, t transfer) error {
	var sum wallet.Fen
	for _, l := range t.legs {
		sum += l.amount
	}
	if sum != 0 || len(t.legs) < 2 {
		return errUnbalanced
	}
	now, id := p.now(), p.newID("T")
	for _, l := range t.legs {
		if l.amount == 0 {
			continue
		}
		err := tx.exec(`INSERT INTO postings (transfer, account, amount, type, order_id, day, time) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, l.account, int64(l.amount), t.kind, t.order, businessDay(now), now.UnixMilli())
		if err != nil {
			return err
		}
	}
	for _, l := range netLegs(t.legs) {
		main := strings.HasPrefix(l.account, prefixMain)
		if l.amount == 0 || !main && (l.amount > 0 || !ofPerson(l.account)) {
			continue
		}
		left, err := balance(tx, l.account)
		if err != nil {
			return err
		}
		if l.amount < 0 && left < 0 {
			return fmt.Errorf("%s: %w", t.kind, errNegative)
		}
		if !main {
			continue
		}
		if err := p.tellBalance(tx, t, l, left); err != nil {
			return err
		}
	}
	return nil
}

// netLegs adds up the legs of each account, in the order of their first appearance.
func netLegs(legs []leg) (net []leg) {
	for _, l := range legs {
		if i := slices.IndexFunc(net, func(n leg) bool { return n.account == l.account }); i >= 0 {
			net[i].amount += l.amount
		} else {
			net = append(net, l)
		}
	}
	return net
}

func ofPerson(account string) bool {
	return strings.HasPrefix(account, prefixMain) || strings.HasPrefix(account, prefixHeld)
}

// balance is the sum of an account's postings.
func balance(tx *Tx, account string) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = ?`, []any{account}, &sum)
	return wallet.Fen(sum), err
}

// hold reserves amount and fee of a granted order, and charges the fee.
func (p *Platform) hold(tx *Tx, o *order) error {
	total := o.amount + o.fee
	err := p.post(tx, transfer{kind: postingLoadHold, order: o.id, legs: []leg{
		{mainAccount(o.user), -total}, {heldAccount(o.user), total},
	}})
	if err != nil {
		return err
	}
	return p.chargeAnew(tx, o)
}

// postLoaded moves the held money to the purse float and the fee to income.
func (p *Platform) postLoaded(tx *Tx, o *order) error {
	return p.post(tx, transfer{kind: "load-post", order: o.id, legs: []leg{
		{heldAccount(o.user), -(o.amount + o.fee)}, {accountPurseFloat, o.amount}, {accountFeeIncome, o.fee},
	}})
}

// releaseHold gives amount and fee back to the payer's main account.
func (p *Platform) releaseHold(tx *Tx, o *order) error {
	total := o.amount + o.fee
	err := p.post(tx, transfer{kind: "load-void", order: o.id, legs: []leg{
		{heldAccount(o.user), -total}, {mainAccount(o.user), total},
	}})
	if err != nil {
		return err
	}
	return p.uncharge(tx, o)
}

// holdAgain reserves the money of an order that a restore lost, or that turned out
// to be loaded after it was voided. What the main account does not cover is a
// receivable, never a negative account of a person.
func (p *Platform) holdAgain(tx *Tx, o *order, fromPerson bool) error {
	total := o.amount + o.fee
	var covered wallet.Fen
	if fromPerson {
		main, err := balance(tx, mainAccount(o.user))
		if err != nil {
			return err
		}
		covered = min(main, total)
	}
	err := p.post(tx, transfer{kind: "recovery", order: o.id, legs: []leg{
		{mainAccount(o.user), -covered}, {accountRecovery, covered - total}, {heldAccount(o.user), total},
	}})
	if err != nil {
		return err
	}
	return p.charge(tx, o)
}

// postingLoadHold reserves the money of a top-up.
const postingLoadHold = "load-hold"

// The transfers that take value off a card.
const (
	postingPurchase = "purchase"
	postingRefund   = "purchase-refund"
	postingUnload   = "unload"
	postingOffline  = "offline"
)

// postPurchase moves value that left the card to the merchant, or to the main
// account of the payer where it is returned or refunded.
func (p *Platform) postPurchase(tx *Tx, b *purchase) error {
	kind, to := postingPurchase, prefixPayable+b.merchant
	switch {
	case b.state == wallet.PurchaseRefunded:
		kind, to = postingRefund, mainAccount(b.user)
	case b.unload:
		kind, to = postingUnload, mainAccount(b.user)
	}
	return p.post(tx, transfer{kind: kind, order: b.id, legs: []leg{{accountPurseFloat, -b.amount}, {to, b.amount}}})
}
