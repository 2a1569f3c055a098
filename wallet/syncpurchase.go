package wallet

import "context"

// SettlePurchase settles an open purchase with its card: it collects what the card
// proves and sends it. Nothing is debited or credited by it, and the platform moves
// nothing but what the card proves.
//
// kept is what the journal of this computer knows of the purchase; the zero Entry
// where it knows nothing, and the journal's key is then the platform's number.
// script is the published open script for loads: its INITIALIZE FOR LOAD goes over
// the purchase's probe. Without an error Outcome.Purchase tells the state; AUTHORISED
// and DOUBTFUL are still open.
func (d Desk) SettlePurchase(ctx context.Context, open OpenPurchase, kept Entry, profile *Profile, script Script) (Outcome, error) {
	const op = "sync"
	run := &run{desk: d, op: op, entry: purchaseEntry(open, kept)}
	run.guard = NewPurchaseSettleGuard(d.Card, profile, open, d.Trace)
	if run.entry.Stage == "" {
		if err := run.write(ctx, StageAuthorised); err != nil {
			return run.stillOpen(err)
		}
	}
	prove, steps, err := run.gather(ctx, profile, script, inquiry{
		asn: open.ASN, kind: profile.PurchaseType, number: open.Number, amount: PurchaseProbeAmount, probe: open.ProbeTID,
	})
	if err != nil {
		return run.stillOpen(err)
	}
	run.prove = prove
	statement, err := d.Cashier.SettlePurchase(ctx, PurchaseEvidence{Purchase: open, Prove: prove, Steps: steps, Grant: run.entry.Grant})
	if err != nil {
		return run.stillOpen(err)
	}
	return run.closePurchase(ctx, &statement)
}

// purchaseEntry joins what the platform and this computer know of a purchase.
func purchaseEntry(open OpenPurchase, kept Entry) Entry {
	entry := kept
	entry.Kind = KindPurchase
	if entry.Key == "" {
		entry.Key = open.Purchase
	}
	entry.Order, entry.ASN, entry.Amount = open.Purchase, open.ASN, open.Amount
	if entry.Grant == nil {
		entry.Seq, entry.Epoch, entry.ProbeTID = open.Number, open.Epoch, open.ProbeTID
		entry.Merchant, entry.Goods = open.Merchant, open.Goods
	}
	return entry
}
