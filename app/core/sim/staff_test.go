package sim

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"

	"walletcompanion/app/core"
	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// counterLine is the service counter's own line to the platform: nothing is lost on
// it, because what it may lose is the customers' part of the simulation.
type counterLine struct{ w *world }

// RoundTrip implements http.RoundTripper.
func (l counterLine) RoundTrip(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if request.Body == nil {
		request.Body = http.NoBody
	}
	l.w.platform.Handler().ServeHTTP(recorder, request)
	return recorder.Result(), nil
}

// drawer is the vault of a computer of the counter; it takes no leases.
type drawer struct {
	platformclient.Vault
	values map[string][]byte
}

func (d drawer) Get(_ context.Context, name string) ([]byte, error) { return d.values[name], nil }

func (d drawer) Put(_ context.Context, name string, value []byte) error {
	d.values[name] = value
	return nil
}

// member makes a member of staff and logs in.
func (w *world) member(name, role string) platformclient.Staff {
	const password = "of the simulated counter"
	w.must(w.platform.AddStaff(ctx(), name, role, password))
	client, err := platformclient.New(platformclient.Config{
		Profile: w.profile, Vault: drawer{values: map[string][]byte{}}, Version: "sim", Transport: counterLine{w}, Now: w.now,
	})
	w.must(err)
	_, err = client.Staff().Login(ctx(), name, password)
	w.must(err)
	return client.Staff()
}

// staffDecides lets two persons end what only people can, as it truly was: the
// simulation has seen every card. Afterwards nothing is held for it, the books
// balance, and honest customers' journals learn how it ended.
func (w *world) staffDecides() {
	clerk, boss := w.member("clerk", api.RoleClerk), w.member("boss", api.RoleSupervisor)
	credited, debited, b := w.creditedOrders(), w.debitedPurchases(), w.readBooks()
	for _, id := range slices.Sorted(maps.Keys(b.orders)) {
		if b.orders[id].state != "SUSPENSE" {
			continue
		}
		as := wallet.StateVoided
		if credited[id] != 0 {
			as = wallet.StateLoaded
		}
		w.decide(clerk, boss, id, string(as))
	}
	for _, id := range slices.Sorted(maps.Keys(b.purchases)) {
		if b.purchases[id].state != wallet.PurchaseSuspense {
			continue
		}
		if debited[id] == 0 && w.byUser(b.purchases[id].user).dishonest && w.isForgedProof(clerk, id) {
			continue
		}
		as := wallet.PurchaseNotTaken
		if debited[id] != 0 {
			as = wallet.PurchaseRefunded
		}
		w.decide(clerk, boss, id, string(as))
	}
	w.checkDecided(b)
	w.customersLearn(b)
}

// customersLearn lets honest customers sync once more: no journal keeps an order open
// that people have ended.
func (w *world) customersLearn(before books) {
	for _, c := range w.computers {
		if c.owner.dishonest {
			continue
		}
		for _, k := range w.chips {
			if k.owner == c.owner {
				w.login(c)
				c.place(k)
				w.sync(c, wallet.IntentSettle)
			}
		}
		entries, err := c.store.Entries(ctx(), core.EntryFilter{OpenOnly: true})
		w.must(err)
		for _, entry := range entries {
			load, purchase := before.orders[entry.Order], before.purchases[entry.Order]
			mine := load.state == "SUSPENSE" && w.byUser(load.user) == c.owner
			if mine || purchase.state == wallet.PurchaseSuspense && w.byUser(purchase.user) == c.owner {
				w.fail("computer %d keeps order %s open in %s, which people have ended", c.number, entry.Order, entry.Stage)
			}
		}
	}
	w.check()
}

// isForgedProof tells whether the platform holds a verified TAC of a purchase that the
// card never made: the dishonest person has his card's key. Nobody may call it NOT_TAKEN
// then, and honest staff do not call it anything else: it stays where it is.
func (w *world) isForgedProof(clerk platformclient.Staff, purchase string) bool {
	_, err := clerk.Propose(ctx(), api.StaffDecision{Order: purchase, As: string(wallet.PurchaseNotTaken), Reason: "not debited"})
	if err == nil {
		return false // decide proposes the same, which is this proposal again
	}
	if code := platformclient.CodeOf(err); code != api.CodeDecisionRefused {
		w.fail("purchase %s cannot be decided: %s", purchase, code)
	}
	w.count("staff", "leave a forged proof")
	return true
}

func (w *world) decide(clerk, boss platformclient.Staff, order, as string) {
	proposed, err := clerk.Propose(ctx(), api.StaffDecision{Order: order, As: as, Reason: "seen"})
	w.must(err)
	if _, err := clerk.Confirm(ctx(), proposed.Proposal, "alone"); platformclient.CodeOf(err) != api.CodeSecondPerson {
		w.fail("one person decided order %s: %v", order, err)
	}
	for range 2 { // the answer may be lost: confirmed again, it ends once
		_, err = boss.Confirm(ctx(), proposed.Proposal, "agreed")
		w.must(err)
	}
	w.count("staff", as)
}

// checkDecided compares with the books before the decisions.
func (w *world) checkDecided(before books) {
	w.check()
	after := w.readBooks()
	for id, o := range after.orders {
		if o.state == "SUSPENSE" {
			w.fail("order %s is still in SUSPENSE", id)
		}
	}
	for _, p := range w.persons {
		user := ""
		for _, o := range before.orders {
			if found := w.byUser(o.user); found == p {
				user = o.user
			}
		}
		var back wallet.Fen
		for id, o := range before.orders {
			if o.user == user && o.state == "SUSPENSE" && after.orders[id].state == "VOIDED" {
				back += o.amount + o.fee
			}
		}
		for id, o := range before.purchases {
			if o.user == user && o.state == wallet.PurchaseSuspense && after.purchases[id].state == wallet.PurchaseRefunded {
				back += o.amount
			}
		}
		if got := after.accounts["main:"+user] - before.accounts["main:"+user]; user != "" && got != back {
			w.fail("%s got %d back, not %d", p.name, got, back)
		}
	}
}
