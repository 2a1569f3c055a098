package core

import (
	"context"
	"fmt"
	"slices"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// purchaseLine is what an answer made of a purchase.
func (c *Core) purchaseLine(entry wallet.Entry, from wallet.PurchaseStateName, statement wallet.PurchaseStatement, before int) SyncLine {
	spent := c.Platform.Requests() - before
	line := SyncLine{
		Order: entry.Order, Kind: wallet.KindPurchase, Key: entry.Key, From: wallet.LoadState(from), Intent: wallet.IntentSettle,
		Amount: entry.Amount, Requests: spent, RequestsWaited: spent,
	}
	return line.told(statement)
}

// told takes over what the platform signed.
func (l SyncLine) told(statement wallet.PurchaseStatement) SyncLine {
	if statement.Purchase != "" {
		l.Order = statement.Purchase
	}
	l.To, l.Evidence = wallet.LoadState(statement.State), orNone(statement.Evidence)
	l.Debited, l.Delivered, l.DoubtEnds = statement.Debited, statement.Delivered, statement.DoubtEnds
	if statement.State == wallet.PurchaseDeclined && l.Debited == nil {
		l.Debited = new(bool) // never authorised, so never debited
	}
	return l
}

// askAboutPurchase asks what became of a purchase that is open here and not there:
// one whose answer never came gets its tombstone, unless the platform knows it after
// all; one that the platform does not list was settled on another computer, or lost
// in a restore, which the card's evidence and the kept grant will mend.
func (c *Core) askAboutPurchase(ctx context.Context, entry wallet.Entry) (*SyncLine, error) {
	listed := slices.ContainsFunc(c.Platform.Session().OpenPurchases, func(o wallet.OpenPurchase) bool { return isAbout(o, entry) })
	if entry.Stage == wallet.StageDebited || listed {
		return nil, nil
	}
	before, from := c.Platform.Requests(), wallet.PurchaseAuthorised
	var statement wallet.PurchaseStatement
	var err error
	if entry.Order == "" {
		from = wallet.PurchaseOffered
		statement, err = c.Platform.AbandonPurchase(ctx, entry.Key)
	} else {
		statement, err = c.Platform.Purchase(ctx, entry.Order)
	}
	if failure := Explain(err); failure != nil && failure.Code == "NOT_FOUND" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entry = c.bookPurchase(ctx, entry, statement, nil)
	if !entry.Stage.Final() {
		return nil, nil // the card will tell
	}
	line := c.purchaseLine(entry, from, statement, before)
	return &line, nil
}

// purchaseTargets joins the platform's open purchases with the journal.
func (c *Core) purchaseTargets(entries []wallet.Entry) []target {
	var targets []target
	for _, open := range c.Platform.Session().OpenPurchases {
		// The list is as old as the login: the journal knows what was settled since.
		kept := keptPurchase(open, entries)
		switch {
		case !kept.Stage.Final():
			targets = append(targets, target{purchase: &open, kept: kept})
		case open.Epoch > kept.Epoch:
			// A restore lost how the purchase ended and opened it again: it is met anew,
			// like one of another computer, and brings what is kept of it as evidence.
			targets = append(targets, target{purchase: &open, kept: wallet.Entry{Key: fmt.Sprintf("%s/%d", open.Purchase, open.Epoch)}})
		}
	}
	for _, entry := range entries {
		known := slices.ContainsFunc(targets, func(t target) bool { return t.kept.Key == entry.Key })
		if !known && entry.IsPurchase() && !entry.Stage.Final() && entry.Order != "" {
			targets = append(targets, target{purchase: openPurchaseOf(entry), kept: entry})
		}
	}
	return targets
}

// keptPurchase finds what this computer knows of an open purchase.
func keptPurchase(open wallet.OpenPurchase, entries []wallet.Entry) wallet.Entry {
	for _, entry := range entries {
		if isAbout(open, entry) {
			return entry
		}
	}
	return wallet.Entry{}
}

// isAbout reports whether an entry is this computer's view of an open purchase. One
// whose answer never came has no number yet, and must agree in everything else:
// another computer may have begun a purchase with the same card.
func isAbout(open wallet.OpenPurchase, entry wallet.Entry) bool {
	if !entry.IsPurchase() || entry.Order != "" {
		return entry.IsPurchase() && entry.Order == open.Purchase
	}
	return entry.Stage.MayHaveMoney() && entry.ASN == open.ASN && entry.Amount == open.Amount && entry.Merchant == open.Merchant && entry.Goods == open.Goods
}

// openPurchaseOf rebuilds what the platform would say of a purchase that it does not
// list (any more).
func openPurchaseOf(entry wallet.Entry) *wallet.OpenPurchase {
	state := wallet.PurchaseAuthorised
	if entry.Stage == wallet.StageDoubtful {
		state = wallet.PurchaseDoubtful
	}
	return &wallet.OpenPurchase{
		Purchase: entry.Order, ASN: entry.ASN, Amount: entry.Amount, Number: entry.Seq, ProbeTID: entry.ProbeTID,
		Epoch: entry.Epoch, State: state, Merchant: entry.Merchant, Goods: entry.Goods,
	}
}

// syncPurchase settles one purchase in one card session.
func (c *Core) syncPurchase(ctx context.Context, session reader.Session, profile *wallet.Profile, each target, ask SyncAsk) (SyncLine, error) {
	open := *each.purchase
	line := SyncLine{
		Order: open.Purchase, Kind: wallet.KindPurchase, Key: each.kept.Key, From: wallet.LoadState(open.State), To: wallet.LoadState(open.State),
		Intent: wallet.IntentSettle, Amount: open.Amount, Evidence: "none",
	}
	script, err := scriptFor(c.Platform.Session(), wallet.KindLoad, profile)
	if err != nil {
		return line, err
	}
	before := c.Platform.Requests()
	desk := c.desk(session)
	desk.PIN, desk.Progress = ask.PIN, ask.Progress
	outcome, err := desk.SettlePurchase(ctx, open, each.kept, profile, script)
	if fresh := freshProbe(open, outcome); fresh != nil {
		outcome, err = desk.SettlePurchase(ctx, *fresh, outcome.Entry, profile, script)
	}
	line.Requests = c.Platform.Requests() - before
	line.RequestsWaited = line.Requests
	if outcome.Purchase != nil {
		line = line.told(*outcome.Purchase)
	}
	if err != nil {
		return line, err
	}
	if outcome.Purchase.State == wallet.PurchaseSuspense {
		return line, &Failure{Code: "ORDER_SUSPENSE", Order: &outcome.Entry, Detail: map[string]any{"order": line.Order}}
	}
	return line, nil
}

// freshProbe is the purchase with the probe that the platform wants now, where it
// refused the evidence because it knew another one: after a restore the old probe is
// void, and the card, which is still here, can answer the new one at once.
func freshProbe(open wallet.OpenPurchase, outcome wallet.Outcome) *wallet.OpenPurchase {
	if outcome.Purchase == nil || outcome.Purchase.Code == "" || outcome.Purchase.Authorised == nil {
		return nil
	}
	fresh := *outcome.Purchase.Authorised
	if fresh.Purchase != open.Purchase || fresh.ASN != open.ASN || fresh.ProbeTID == open.ProbeTID {
		return nil
	}
	return &fresh
}
