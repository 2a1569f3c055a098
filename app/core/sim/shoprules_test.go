package sim

import (
	"database/sql"
	"strings"

	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// bookedPurchase is a purchase as the platform has it.
type bookedPurchase struct {
	id, user, asn, cause, order, merchant string
	state                                 wallet.PurchaseStateName
	amount                                wallet.Fen
	unload                                bool
	proven                                bool // its TAC has verified
	blind                                 bool // restored, and the card had never proven its counter before
}

func (o bookedPurchase) open() bool {
	switch o.state {
	case wallet.PurchaseAuthorised, wallet.PurchaseDoubtful, wallet.PurchaseSuspense:
		return true
	}
	return false
}

func (w *world) readPurchases(b *books) {
	b.purchases = map[string]bookedPurchase{}
	w.rows(`SELECT id, user, asn, cause, merchant_order, merchant, state, amount, unload, tac IS NOT NULL,
		restored = 1 AND floor_seq = 0 FROM purchases`, func(rows *sql.Rows) error {
		var o bookedPurchase
		err := rows.Scan(&o.id, &o.user, &o.asn, &o.cause, &o.order, &o.merchant, &o.state, &o.amount, &o.unload, &o.proven, &o.blind)
		b.purchases[o.id] = o
		return err
	})
}

// debitedPurchases maps every purchase to what a card was debited for it. A debit
// that the platform did not authorise, over another amount, or a second one for one
// purchase breaks the first rule of all.
func (w *world) debitedPurchases() map[string]wallet.Fen {
	debited := map[string]wallet.Fen{}
	for _, k := range w.chips {
		for _, d := range k.debits {
			grant, known := w.authorised[d.tid]
			switch {
			case !known:
				w.fail("card %d was debited %d without a grant", k.number, d.amount)
			case grant.Amount != d.amount || grant.ASN != k.ASN():
				w.fail("card %d was debited %d for a grant of %d", k.number, d.amount, grant.Amount)
			case debited[grant.Purchase] != 0:
				w.fail("purchase %s was debited twice", grant.Purchase)
			}
			debited[grant.Purchase] = d.amount
		}
	}
	return debited
}

// checkPurchases: PAID and REFUNDED mean that the card was debited, NOT_TAKEN that it
// was not; merchants have what is PAID and nothing else, and one order is paid once.
func (w *world) checkPurchases(b books, debited map[string]wallet.Fen) {
	payable, paidBy := map[string]wallet.Fen{}, map[string]string{}
	for _, o := range b.purchases {
		switch o.state {
		case wallet.PurchasePaid, wallet.PurchaseRefunded:
			if debited[o.id] != o.amount {
				w.fail("purchase %s is %s, but the card was not debited", o.id, o.state)
			}
		case wallet.PurchaseNotTaken:
			if debited[o.id] != 0 {
				w.fail("purchase %s is NOT_TAKEN, but the card was debited", o.id)
			}
		}
		if o.state != wallet.PurchasePaid {
			if _, told := w.shop.told[o.id]; told && w.restores == 0 {
				w.fail("purchase %s is %s, but its goods are delivered", o.id, o.state)
			}
			continue
		}
		if !o.unload {
			payable["merchant-payable:"+o.merchant] += o.amount
		}
		if other := paidBy[o.order]; other != "" {
			w.fail("order %s was paid by %s and by %s", o.order, other, o.id)
		}
		paidBy[o.order] = o.id
	}
	for name, sum := range b.accounts {
		if strings.HasPrefix(name, "merchant-payable:") && sum != payable[name] {
			w.fail("%s is %d, and PAID are %d", name, sum, payable[name])
		}
	}
	for id, amount := range debited {
		if _, known := b.purchases[id]; !known && w.restores == 0 {
			w.fail("the platform does not know purchase %s of %d that a card paid", id, amount)
		}
	}
}

// spentOf is what a person gave for goods, or is about to: offline, and debits that are
// PAID or that a restore lost. Those that are open are still his, as money in flight.
func (w *world) spentOf(p *person, b books, debited map[string]wallet.Fen) (spent, inFlight wallet.Fen) {
	for _, k := range w.chips {
		if k.owner != p {
			continue
		}
		spent += k.offline
		for _, d := range k.debits {
			id := w.authorised[d.tid].Purchase
			o, known := b.purchases[id]
			switch {
			case !known, o.state == wallet.PurchasePaid && !o.unload:
				spent += debited[id]
			case o.open():
				inFlight += debited[id]
			}
		}
	}
	return spent, inFlight
}

// checkPurchasesQuiet: nothing is open but what staff must look at, whatever a card
// paid is known, and merchants have heard of it.
func (w *world) checkPurchasesQuiet(b books, staff map[string]bool) {
	for _, o := range b.purchases {
		w.count("end", string(o.state)+" "+o.cause)
		honest := !w.byUser(o.user).dishonest
		switch {
		case o.state == wallet.PurchaseSuspense:
			staff[o.asn] = true
			if honest && !w.purchaseEndsWithStaff(o) {
				w.fail("purchase %s is in SUSPENSE for %s", o.id, o.cause)
			}
		case o.state == wallet.PurchaseDoubtful && (w.purchaseEndsWithStaff(o) || w.lost[o.asn] && staff[o.asn]):
			staff[o.asn] = true // people looked, or look at a load first, and the card came back without more to say
		case o.open() && honest:
			w.fail("purchase %s is still %s", o.id, o.state)
		}
	}
	for _, k := range w.chips {
		for _, d := range k.debits {
			id := w.authorised[d.tid].Purchase
			if _, known := b.purchases[id]; !known && !staff[k.ASN().String()] {
				w.fail("purchase %s of %d was debited and the platform does not know it any more", id, d.amount)
			}
		}
	}
	var waiting int
	w.must(w.books.QueryRow(`SELECT COUNT(*) FROM callbacks WHERE delivered = 0`).Scan(&waiting))
	if waiting != 0 {
		w.fail("%d callbacks are not delivered", waiting)
	}
}

// purchaseEndsWithStaff names the purchases of honest people that only staff can end: a
// card that repeats its random cannot end a purchase session by the probe, and after a
// restore the balance of a card may also lack what other lost purchases took.
func (w *world) purchaseEndsWithStaff(o bookedPurchase) bool {
	if o.blind && w.lost[o.asn] {
		return true // nothing tells whether the restore lost loads of this card
	}
	for _, k := range w.chips {
		if k.ASN().String() != o.asn {
			continue
		}
		if k.offline > 0 && o.cause == string(rules.CauseSum) {
			return true // clocks do not tell whether the shop or the touch was first
		}
		switch k.Variant() {
		case virtualcard.SameRandom:
			return o.cause == string(rules.CauseRepeatedRandom) || o.cause == string(rules.CauseAge)
		case virtualcard.SharedCounter:
			if w.restores > 0 && (o.state == wallet.PurchaseDoubtful || o.cause == string(rules.CauseAge)) {
				return true // nothing tells whether a restore lost loads of this card, also where it lost none
			}
		}
	}
	switch rules.Cause(o.cause) {
	case rules.CauseSum, rules.CauseBalance, rules.CauseAge, rules.CauseOtherOpen:
		return w.lost[o.asn]
	}
	return false
}
