package sim

import (
	"database/sql"
	"fmt"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// bookedOrder is an order as the platform has it.
type bookedOrder struct {
	id, user, asn, state, cause string
	amount, fee                 wallet.Fen
	created                     int64
}

// books is what the platform's database says, read beside the platform.
type books struct {
	orders    map[string]bookedOrder
	purchases map[string]bookedPurchase
	accounts  map[string]wallet.Fen
}

func (w *world) readBooks() books {
	b := books{orders: map[string]bookedOrder{}, accounts: map[string]wallet.Fen{}}
	w.rows(`SELECT id, user, asn, state, cause, amount, fee, created FROM orders`, func(rows *sql.Rows) error {
		var o bookedOrder
		err := rows.Scan(&o.id, &o.user, &o.asn, &o.state, &o.cause, &o.amount, &o.fee, &o.created)
		b.orders[o.id] = o
		return err
	})
	w.readPurchases(&b)
	w.rows(`SELECT account, SUM(amount) FROM postings GROUP BY account`, func(rows *sql.Rows) error {
		var name string
		var sum wallet.Fen
		err := rows.Scan(&name, &sum)
		b.accounts[name] = sum
		return err
	})
	return b
}

func (w *world) rows(query string, take func(*sql.Rows) error) {
	rows, err := w.books.Query(query)
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		w.must(take(rows))
	}
	w.must(rows.Err())
}

// creditedOrders maps every order to what the cards executed of it. An order that
// was credited twice, or a credit without a grant, breaks the first rule of all.
func (w *world) creditedOrders() map[string]wallet.Fen {
	credited := map[string]wallet.Fen{}
	for _, k := range w.chips {
		sum := k.opening
		for _, c := range k.credits {
			grant, known := w.grants[c.tid]
			switch {
			case !known:
				w.fail("card %d was credited %d without a grant", k.number, c.amount)
			case grant.Amount != c.amount || grant.ASN != k.ASN():
				w.fail("card %d was credited %d for a grant of %d", k.number, c.amount, grant.Amount)
			case credited[grant.Order] != 0:
				w.fail("order %s was credited twice", grant.Order)
			}
			credited[grant.Order] = c.amount
			sum += c.amount
		}
		sum -= k.offline
		for _, d := range k.debits {
			sum -= d.amount
		}
		if sum != k.Balance() {
			w.fail("card %d holds %d, its credits and debits say %d", k.number, k.Balance(), sum)
		}
	}
	return credited
}

// check holds the rules that are true after every operation.
func (w *world) check() {
	credited, debited, b := w.creditedOrders(), w.debitedPurchases(), w.readBooks()
	var all, held, openFen, lost wallet.Fen
	for name, sum := range b.accounts {
		all += sum
		if len(name) > 5 && (name[:5] == "main:" || name[:5] == "held:") && sum < 0 {
			w.fail("account %s is %d", name, sum)
		}
		if len(name) > 5 && name[:5] == "held:" {
			held += sum
		}
	}
	if all != 0 {
		w.fail("the postings add up to %d", all)
	}
	for _, o := range b.orders {
		amount := credited[o.id]
		switch o.state {
		case "GRANTED", "SUSPENSE":
			openFen += o.amount + o.fee
		case "LOADED":
			if amount == 0 && !w.byUser(o.user).dishonest {
				w.fail("order %s is LOADED, but the card has nothing", o.id)
			}
		case "VOIDED", "DECLINED":
			if amount != 0 {
				w.fail("order %s is %s, but the card was credited", o.id, o.state)
			}
		}
	}
	openFen += w.heldForReturns("")
	if held != openFen {
		w.fail("%d is held for open orders of %d", held, openFen)
	}
	for id, amount := range credited {
		if _, known := b.orders[id]; !known {
			lost += amount
		}
	}
	if lost != 0 && w.restores == 0 {
		w.fail("the platform does not know orders of %d that cards have", lost)
	}
	if b.accounts["recovery-receivable"] != 0 {
		w.fail("recovery receivable of %d", b.accounts["recovery-receivable"])
	}
	w.checkPurchases(b, debited)
	w.checkWanted()
	w.checkOutboxes(b)
	w.checkTold()
	for _, p := range w.persons {
		w.checkPerson(p, b, credited, debited)
	}
	if w.report.Operations%10 == 0 {
		w.checkReport()
	}
}

// checkReport lets the platform audit itself, the chain of its log included.
func (w *world) checkReport() {
	report, err := w.platform.Check(ctx())
	w.must(err)
	if !report.OK() {
		w.fail("the platform's own check: %+v", report)
	}
}

func (w *world) byUser(user string) *person {
	for _, p := range w.persons {
		if p.user == user {
			return p
		}
	}
	w.fail("an order of nobody")
	return nil
}

// checkPerson: cards, main account and held money are what was there at the start,
// less fees and goods. Each open order counts once: on the card if the card executed its
// MAC2, else as held. Money that a restore forgot is on the card without having been
// charged, until its grant and TAC come back.
func (w *world) checkPerson(p *person, b books, credited, debited map[string]wallet.Fen) {
	has, should := b.accounts["main:"+p.user]+w.atBank(p)+w.heldForReturns(p.user), p.paid+p.opening+w.redeemed(p)
	spent, inFlight := w.spentOf(p, b, debited)
	for _, k := range w.chips {
		if k.owner == p {
			has += k.Balance()
		}
	}
	if p.dishonest {
		if has+spent > should {
			w.fail("the dishonest person has %d, goods for %d, and came with %d", has, spent, should)
		}
		return
	}
	has, should = has+inFlight, should-spent
	for _, o := range b.orders {
		if o.user != p.user {
			continue
		}
		switch o.state {
		case "GRANTED", "SUSPENSE":
			has += o.amount + o.fee - credited[o.id]
		case "LOADED":
			should -= o.fee
		}
	}
	for _, k := range w.chips {
		for _, c := range k.credits {
			if _, known := b.orders[w.grants[c.tid].Order]; !known && k.owner == p {
				should += c.amount
			}
		}
	}
	if has != should {
		w.fail("person %s has %d and should have %d", p.name, has, should)
	}
}

// settleAll ends the weather and lets every person present every card, until
// nothing is open that a touch can settle. Then it holds the rules of a quiet world.
func (w *world) settleAll() {
	w.storm, w.downFor, w.skew = 0, 0, 0
	for _, c := range w.computers {
		c.skew = 0
	}
	for _, k := range w.chips {
		if k.Snapshot().Blocked {
			w.must(k.Unblock())
		}
	}
	w.say("quiet")
	for len(w.late) > 0 {
		w.arrive()
	}
	time.Sleep(time.Hour)
	for round := range 7 {
		if round == 3 || round == 5 { // what cards cannot tell is left to the upload window
			w.corner.upload()
			time.Sleep(31 * 24 * time.Hour)
			w.settleDoubtful()
		}
		w.corner.upload()
		w.tellMerchants()
		w.attendBank()
		for _, c := range w.computers {
			for _, k := range w.chips {
				// One's own computers are enough; nobody depends on a stranger's.
				if k.owner == c.owner && !k.owner.dishonest {
					w.settleWith(c, k, round)
				}
			}
		}
		w.check()
	}
	for range 100 { // months of statements may be missing, and some are fetched at a time
		w.must(w.platform.ImportBankDays(ctx()))
	}
	for range 3 {
		w.tellMerchants()
		w.attendBank()
		time.Sleep(time.Hour)
	}
	w.checkReport()
	w.checkQuiet()
	w.checkUnchanged()
	w.staffDecides()
}

func (w *world) settleWith(c *computer, k *chip, round int) {
	w.login(c)
	c.place(k)
	lines := w.sync(c, wallet.IntentSettle)
	for _, line := range lines {
		switch {
		case line.To != wallet.StateGranted && line.To != wallet.StateSuspense:
		case round > 2: // the others only learn how it ended
		case round == 2 || w.luck.IntN(2) == 0:
			w.sync(c, wallet.IntentCancel)
		default:
			w.sync(c, wallet.IntentComplete)
		}
	}
}

// checkQuiet: nothing is open but what staff must look at, here and there.
func (w *world) checkQuiet() {
	b := w.readBooks()
	staff := map[string]bool{}
	for _, o := range b.orders {
		w.count("end", o.state+" "+o.cause)
		switch o.state {
		case "SUSPENSE":
			if o.cause == "VALUE_CREATED" {
				w.fail("order %s: value was created", o.id)
			}
			staff[o.asn] = true
			if p := w.byUser(o.user); !p.dishonest && !w.endsWithStaff(o) {
				w.fail("order %s of %s is in SUSPENSE for %s", o.id, p.name, o.cause)
			}
		case "GRANTED":
			if !w.byUser(o.user).dishonest {
				w.fail("order %s is still GRANTED", o.id)
			}
		}
	}
	w.checkPurchasesQuiet(b, staff)
	w.checkFundingsQuiet()
	w.checkBankQuiet()
	w.checkCards(staff)
	for _, k := range w.chips {
		for _, c := range k.credits {
			order := w.grants[c.tid].Order
			if _, known := b.orders[order]; !known && !staff[k.ASN().String()] {
				w.fail("order %s was credited and the platform does not know it any more", order)
			}
		}
	}
	for _, c := range w.computers {
		w.must(c.store.VerifyChain(ctx()))
		entries, err := c.store.Entries(ctx(), core.EntryFilter{OpenOnly: true})
		w.must(err)
		for _, entry := range entries {
			if entry.IsFunding() {
				continue // checkFundingsQuiet has looked
			}
			order, known := b.orders[entry.Order]
			payer := order.user
			if entry.IsPurchase() {
				bought, found := b.purchases[entry.Order]
				payer, known = bought.user, found
			}
			if entry.Grant == nil && (!known || payer != c.owner.user) {
				// Met here as an order of somebody else, or of another computer before a
				// restore lost it: the platform tells this person nothing about its end.
				w.count("end", "entry that only another computer can close")
				continue
			}
			if !staff[entry.ASN.String()] {
				w.fail("computer %d still has %s at %s", c.number, entry.Order, entry.Stage)
			}
		}
	}
	report, err := w.platform.Check(ctx())
	w.must(err)
	for _, book := range report.Cards {
		for _, k := range w.chips {
			if k.ASN() == book.ASN && !staff[book.ASN.String()] && k.Balance() != book.ExpectedBalanceFen && !k.owner.dishonest {
				w.fail("card %d holds %d, the books say %d", k.number, k.Balance(), book.ExpectedBalanceFen)
			}
		}
	}
}

// endsWithStaff: a card that repeats its random proves nothing about a load that it has
// not got, and after a restore an advanced counter proves nothing (rules.CauseRestored).
func (w *world) endsWithStaff(o bookedOrder) bool {
	for _, k := range w.chips {
		if k.ASN().String() == o.asn && k.Variant() == virtualcard.SameRandom {
			return o.cause == string(rules.CauseRepeatedRandom) || o.cause == string(rules.CauseAge)
		}
	}
	return o.cause == string(rules.CauseRestored) && w.lost[o.asn]
}

// checkCards: no honest card is called a forgery, or is for ever one whose value is to be
// explained, unless a restore lost something of it and staff look at an order of it anyway.
func (w *world) checkCards(staff map[string]bool) {
	states := map[string]string{}
	w.rows(`SELECT asn, state FROM cards`, func(rows *sql.Rows) error {
		var asn, state string
		err := rows.Scan(&asn, &state)
		states[asn] = state
		return err
	})
	for _, k := range w.chips {
		state := states[k.ASN().String()]
		w.count("end", "card "+state)
		asn := k.ASN().String()
		if !k.owner.dishonest && (state == "BLACK" || state == "RECOVER" && !(staff[asn] && w.lost[asn])) {
			w.fail("card %d of %s ends %s", k.number, k.owner.name, state)
		}
	}
}

// checkUnchanged: touching every card once more changes nothing.
func (w *world) checkUnchanged() {
	before := w.fingerprint()
	for _, c := range w.computers {
		for _, k := range w.chips {
			if k.owner == c.owner {
				c.place(k)
				w.sync(c, wallet.IntentCancel)
			}
		}
	}
	if after := w.fingerprint(); after != before {
		w.fail("another touch changed something: %s, before %s", after, before)
	}
}

// fingerprint is all money and all states.
func (w *world) fingerprint() string {
	var postings, orders, purchases int64
	w.must(w.books.QueryRow(`SELECT COUNT(*) FROM postings`).Scan(&postings))
	w.must(w.books.QueryRow(`SELECT COUNT(*) FROM orders WHERE state IN ('LOADED', 'VOIDED')`).Scan(&orders))
	w.must(w.books.QueryRow(`SELECT COUNT(*) FROM purchases WHERE state IN ('PAID', 'REFUNDED', 'NOT_TAKEN')`).Scan(&purchases))
	text := fmt.Sprintf("%d postings, %d and %d settled", postings, orders, purchases)
	for _, k := range w.chips {
		text += fmt.Sprintf(", card %d: %d", k.number, k.Balance())
	}
	return text
}
