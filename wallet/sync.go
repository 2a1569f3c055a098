package wallet

import (
	"context"
	"time"
)

// Sync settles an open order with its card (充值同步): it collects what the card
// proves, sends it, and does what the platform answers. intent "settle" moves
// nothing but LOADED; "complete" may bring a new grant, which is credited as in
// TopUp; "cancel" gives the money back where the card proves "not loaded".
//
// kept is what the journal of this computer knows of the order; the zero Entry
// where it knows nothing, and the journal's key is then the platform's number.
// Without an error Outcome.State or, after a completed load, Outcome.TAC tells the
// end; a State of GRANTED means: not on the card, still open, the person decides.
func (d Desk) Sync(ctx context.Context, open OpenOrder, kept Entry, intent Intent, profile *Profile, script Script) (Outcome, error) {
	const op = "sync"
	run := &run{desk: d, op: op, entry: syncEntry(open, kept)}
	run.guard = NewSyncGuard(d.Card, profile, open, kept, d.Epoch, d.Trace)
	if run.entry.Stage == "" {
		if err := run.write(ctx, StageUnknown); err != nil {
			return run.stillOpen(err)
		}
	}
	prove, steps, err := run.gather(ctx, profile, script, inquiry{
		asn: open.ASN, kind: TypeLoadEP, number: open.Seq, balance: true, amount: open.Amount, probe: open.ProbeTID,
	})
	if err != nil {
		return run.stillOpen(err)
	}
	if steps != nil && run.entry.Stage == StageUnknown && run.entry.TID == (TerminalNumber{}) {
		// The order was met here first. Of one that was begun here, the journal keeps
		// counter and balance of the attempt that is being settled.
		run.noteInit()
	}

	asking, cancel := ctx, context.CancelFunc(func() {})
	if steps != nil {
		asking, cancel = context.WithDeadline(ctx, run.guard.initAt.Add(initToCredit))
	}
	defer cancel()
	verdict, err := d.Issuer.Settle(asking, Evidence{Order: open, Intent: intent, Prove: prove, Steps: steps, Grant: run.entry.Grant})
	arrived := time.Now()
	if err != nil {
		return run.stillOpen(err)
	}
	if verdict.Granted == nil {
		return run.close(ctx, verdict.State)
	}
	if intent != IntentComplete {
		return run.doubt(StageUnknown, fail(CodeGrantForged, op, errNotAsked))
	}
	return run.credit(ctx, *verdict.Granted, arrived)
}

// syncEntry joins what the platform and this computer know of an order.
func syncEntry(open OpenOrder, kept Entry) Entry {
	entry := kept
	if entry.Key == "" {
		entry.Key = open.Order
	}
	entry.Order, entry.ASN, entry.Amount = open.Order, open.ASN, open.Amount
	if entry.Stage == "" {
		entry.Attempt, entry.Seq, entry.Epoch, entry.ProbeTID = open.Attempt, open.Seq, open.Epoch, open.ProbeTID
	}
	return entry
}
