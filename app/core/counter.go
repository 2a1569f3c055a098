package core

import (
	"context"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// SettleAtCounter settles what is open for the card on the reader, whoever pays it:
// the card is the proof, and no password of the customer is asked for. Money that a
// cancelled order held goes back to its payer. Platform must be the counter's, which
// lists the open orders of any card.
func (c *Core) SettleAtCounter(ctx context.Context, ask SyncAsk) ([]SyncLine, error) {
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.Platform.Connect(ctx); err != nil {
		return nil, err
	}
	var asn wallet.ASN
	err = c.withCard(ctx, func(session reader.Session, _ reader.Info) error {
		purse, err := c.identify(ctx, session)
		asn = purse.ASN
		return err
	})
	if err != nil {
		return nil, err
	}
	targets, err := c.counterTargets(ctx, asn, ask)
	if err != nil || len(targets) == 0 {
		return nil, err
	}
	return c.syncByCard(ctx, ask, targets)
}

// counterTargets are the open orders of one card as the platform lists them. The
// counter's own journal only adds what it knows of them.
func (c *Core) counterTargets(ctx context.Context, asn wallet.ASN, ask SyncAsk) ([]target, error) {
	entries, err := c.Store.Entries(ctx, EntryFilter{ASN: &asn})
	if err != nil {
		return nil, err
	}
	loads, err := c.Platform.Pending(ctx, asn)
	if err != nil {
		return nil, err
	}
	purchases, err := c.Platform.PendingPurchases(ctx, asn)
	if err != nil {
		return nil, err
	}
	var targets []target
	add := func(t target) {
		if t.asn() == asn && (ask.Order == "" || t.number() == ask.Order) {
			targets = append(targets, t)
		}
	}
	for _, open := range loads { // loads first: a credit that is not posted yet would hide a debit
		add(target{open: open, kept: unlessFinal(keptFor(open, entries))})
	}
	for _, open := range purchases {
		add(target{purchase: &open, kept: unlessFinal(keptPurchase(open, entries))})
	}
	return targets, nil
}

// unlessFinal forgets an entry whose end the platform no longer knows.
func unlessFinal(entry wallet.Entry) wallet.Entry {
	if entry.Stage.Final() {
		return wallet.Entry{}
	}
	return entry
}
