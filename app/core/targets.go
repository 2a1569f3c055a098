package core

import (
	"context"
	"fmt"
	"slices"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// target is one open order with what this computer knows of it.
type target struct {
	open     wallet.OpenOrder
	purchase *wallet.OpenPurchase // in place of open
	kept     wallet.Entry         // zero: another computer's order
}

// asn is the card that the order is about.
func (t target) asn() wallet.ASN {
	if t.purchase != nil {
		return t.purchase.ASN
	}
	return t.open.ASN
}

// number is the platform's.
func (t target) number() string {
	if t.purchase != nil {
		return t.purchase.Purchase
	}
	return t.open.Order
}

// inDoubt reports a purchase of which the card has told what it can.
func (t target) inDoubt() bool {
	return t.purchase != nil && (t.purchase.State == wallet.PurchaseDoubtful || t.kept.Stage == wallet.StageDoubtful)
}

// keptOrNil is what this computer knows of an order, nil for one begun elsewhere.
func keptOrNil(t target) *wallet.Entry {
	if t.kept.Key == "" {
		return nil
	}
	return &t.kept
}

// targets joins the platform's open orders, those of the login and those learnt
// since, with the journal.
func (c *Core) targets(ctx context.Context, ask SyncAsk, learnt []wallet.OpenOrder) ([]target, error) {
	entries, err := c.Store.Entries(ctx, EntryFilter{})
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, open := range slices.Concat(c.Platform.Session().OpenOrders, learnt) {
		// The list is as old as the login: the journal knows what was settled since.
		kept := keptFor(open, entries)
		switch {
		case !kept.Stage.Final():
			targets = append(targets, target{open: open, kept: kept})
		case open.Epoch > kept.Epoch:
			// A restore lost how the order ended and opened it again. The journal's line
			// has its end; the order is met anew, like one of another computer.
			met := wallet.Entry{Key: fmt.Sprintf("%s/%d", open.Order, open.Epoch)}
			targets = append(targets, target{open: open, kept: met})
		}
	}
	for _, entry := range entries {
		known := slices.ContainsFunc(targets, func(t target) bool { return t.kept.Key == entry.Key })
		if !known && !entry.Stage.Final() && entry.Grant != nil && !entry.IsPurchase() {
			targets = append(targets, target{open: openOrderOf(entry), kept: entry})
		}
	}
	// Loads come first: a credit that is not posted yet would hide a debit.
	targets = append(targets, c.purchaseTargets(entries)...)
	if ask.card != nil {
		targets = slices.DeleteFunc(targets, func(t target) bool { return t.asn() != *ask.card })
	}
	if ask.Order != "" {
		targets = slices.DeleteFunc(targets, func(t target) bool { return t.number() != ask.Order })
	}
	return targets, nil
}

// foreignPending asks for orders of a card that is not in the person's account,
// only when such a card already lies on the reader and nothing else is open.
func (c *Core) foreignPending(ctx context.Context, targets []target) ([]target, error) {
	if len(targets) > 0 {
		return nil, nil
	}
	quick := *c
	quick.CardWait = 0
	var purse wallet.Purse
	err := quick.withCard(ctx, func(session reader.Session, _ reader.Info) (err error) {
		purse, err = c.identify(ctx, session)
		return err
	})
	if err != nil {
		return nil, nil // no card: nothing can be pending for it
	}
	for _, card := range c.Platform.Session().Cards {
		if card.ASN == purse.ASN {
			return nil, nil
		}
	}
	pending, err := c.Platform.Pending(ctx, purse.ASN)
	if err != nil {
		return nil, err
	}
	var found []target
	for _, open := range pending {
		found = append(found, target{open: open})
	}
	purchases, err := c.Platform.PendingPurchases(ctx, purse.ASN)
	if err != nil {
		return nil, err
	}
	for _, open := range purchases {
		found = append(found, target{purchase: &open})
	}
	return found, nil
}
