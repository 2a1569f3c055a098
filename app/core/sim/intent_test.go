package sim

import (
	"slices"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// wish is what a person asked for: the innermost call of the program that may move money
// on a card, also where another process or computer works between its requests.
type wish struct {
	what string   // topup, pay, complete, settle, cancel
	keys []string // of the orders that it began
}

// wishes runs a call of the program as what the person asked for.
func (w *world) wishes(what string, do func()) {
	w.wish = append(w.wish, &wish{what: what})
	defer func() { w.wish = w.wish[:len(w.wish)-1] }()
	do()
}

// begins notes the key of an order that the present call begins.
func (w *world) begins(key string) {
	if len(w.wish) > 0 {
		now := w.wish[len(w.wish)-1]
		now.keys = append(now.keys, key)
	}
}

// wanted compares what a card of an honest person executed with what was asked for: a
// top-up credits its own order and no older one, a synchronisation credits only to
// complete, and a card is debited only for the purchase that its person asked for. It
// runs on the goroutine of the card; check tells what it found.
func (w *world) wanted(k *chip, done credit, debit bool) {
	if k.owner.dishonest || w.unwanted != "" {
		return
	}
	asked, key, what := &wish{what: "nothing"}, w.grants[done.tid].Key, "credited"
	if debit {
		key, what = w.authorised[done.tid].Key, "debited"
	}
	if len(w.wish) > 0 {
		asked = w.wish[len(w.wish)-1]
	}
	own := slices.Contains(asked.keys, key)
	switch {
	case debit && asked.what == "pay" && own, !debit && asked.what == "topup" && own:
	case !debit && asked.what == string(wallet.IntentComplete) && !own && w.grants[done.tid].Attempt > 1:
	default:
		order := w.grants[done.tid].Order + w.authorised[done.tid].Purchase
		w.unwanted = "card was " + what + " for " + order + ", but its person asked for " + asked.what
	}
}

// checkWanted tells what wanted found.
func (w *world) checkWanted() {
	if w.unwanted != "" {
		w.fail("%s", w.unwanted)
	}
}

// checkOutboxes: whatever a card answered, and the platform has not acknowledged, waits
// in the outbox of its computer. An acknowledged result of a return of balance may leave
// the purchase open, with its TAC in the books, and what a restore forgets of a card is
// sent again otherwise.
func (w *world) checkOutboxes(b books) {
	for _, c := range w.computers {
		entries, err := c.store.Entries(ctx(), core.EntryFilter{OpenOnly: true})
		w.must(err)
		rows, err := c.store.Due(ctx(), c.now().Add(100*365*24*time.Hour))
		w.must(err)
		waits := map[string]wallet.Stage{}
		for _, row := range rows {
			waits[row.Key] = row.Entry.Stage
		}
		for _, entry := range entries {
			executed := entry.Stage == wallet.StageCredited || entry.Stage == wallet.StageDebited
			if executed && waits[entry.Key] != entry.Stage && !w.acknowledged(b, entry) && !w.lost[entry.ASN.String()] {
				w.fail("computer %d has %s at %s, and nothing of it in the outbox", c.number, entry.Order, entry.Stage)
			}
		}
	}
}

// acknowledged tells whether the platform has what the card answered.
func (w *world) acknowledged(b books, entry wallet.Entry) bool {
	if entry.IsPurchase() {
		o := b.purchases[entry.Order]
		return o.proven || o.state == wallet.PurchaseSuspense
	}
	state := b.orders[entry.Order].state
	return state == "LOADED" || state == "SUSPENSE"
}
