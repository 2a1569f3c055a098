package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// SyncAsk says what may be settled, and how.
type SyncAsk struct {
	Intent   wallet.Intent
	Order    string // only this order; empty: every open order of the card
	PIN      func(triesLeft int) ([]byte, error)
	Progress func(wallet.Progress)
	card     *wallet.ASN // only orders of this card
}

func (a SyncAsk) openEntries() EntryFilter {
	return EntryFilter{OpenOnly: true, Order: a.Order, ASN: a.card}
}

// SyncLine is what became of one order. Of a purchase From and To hold the names of
// its own states, and Intent is always settle: its card's proof decides alone.
type SyncLine struct {
	Order          string
	Kind           string // wallet.KindLoad or wallet.KindPurchase
	Key            string
	From, To       wallet.LoadState
	Intent         wallet.Intent
	Amount         wallet.Fen
	Requests       int
	RequestsWaited int
	Evidence       string
	OnCard         *bool

	Debited   *bool // purchase: nil means that nobody knows yet
	Delivered bool
	DoubtEnds *time.Time // DOUBTFUL: when the settlement window closes
}

// Open reports whether the order is still to be settled.
func (l SyncLine) Open() bool {
	switch l.To {
	case wallet.StateGranted, wallet.StateReceived, wallet.StateSuspense,
		wallet.LoadState(wallet.PurchaseAuthorised), wallet.LoadState(wallet.PurchaseDoubtful):
		return true
	}
	return false
}

// sync is Sync, untold.
func (c *Core) sync(ctx context.Context, ask SyncAsk) ([]SyncLine, error) {
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.Platform.Connect(ctx); err != nil {
		return nil, c.openIfKept(ctx, err)
	}
	c.resendAfterRestore(ctx)

	lines, err := c.syncOutbox(ctx, ask)
	if err != nil {
		return lines, c.openIfKept(ctx, err)
	}
	more, learnt, err := c.syncUnanswered(ctx, ask)
	lines = append(lines, more...)
	if err != nil {
		return lines, c.openIfKept(ctx, err)
	}
	targets, err := c.targets(ctx, ask, learnt)
	if err != nil {
		return lines, err
	}
	more, err = c.syncByCard(ctx, ask, targets)
	return merged(lines, more), err
}

// merged joins what the first questions and the card told: of an order that both
// name, the card's line stands, with the requests of both.
func merged(lines, byCard []SyncLine) []SyncLine {
	var all []SyncLine
	for _, line := range lines {
		at := slices.IndexFunc(byCard, func(l SyncLine) bool { return l.Order == line.Order })
		if at < 0 {
			all = append(all, line)
			continue
		}
		byCard[at].Requests += line.Requests
		byCard[at].RequestsWaited += line.RequestsWaited
	}
	return append(all, byCard...)
}

// openIfKept turns an error into ORDER_OPEN when an order may be open.
func (c *Core) openIfKept(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	entries, lookErr := c.Store.Entries(ctx, EntryFilter{OpenOnly: true})
	if lookErr != nil || len(entries) == 0 {
		return err
	}
	return &Failure{Code: "ORDER_OPEN", Order: &entries[0], Err: err}
}

// syncOutbox sends the results that this computer still holds.
func (c *Core) syncOutbox(ctx context.Context, ask SyncAsk) ([]SyncLine, error) {
	entries, err := c.Store.Entries(ctx, ask.openEntries())
	if err != nil {
		return nil, err
	}
	var lines []SyncLine
	for _, entry := range entries {
		before := c.Platform.Requests()
		if entry.Stage == wallet.StageDebited {
			statement, err := c.deliverPurchase(ctx, entry)
			if err != nil {
				return lines, err
			}
			lines = append(lines, c.purchaseLine(entry, wallet.PurchaseAuthorised, statement, before))
		}
		if entry.Stage != wallet.StageCredited {
			continue
		}
		state, err := c.deliver(ctx, entry)
		if err != nil {
			return lines, err
		}
		lines = append(lines, c.line(entry, wallet.StateGranted, state, ask.Intent, before))
	}
	return lines, nil
}

// syncUnanswered asks the platform about orders that are open here and not there.
// Those whose answer never came get its tombstone, unless it knows them after all;
// the others were settled on another computer, or lost in a restore, which the
// card's evidence and the kept grant will mend.
//
// learnt are orders that turn out to be open although the login did not list them:
// granted since, or by a request that arrived late.
func (c *Core) syncUnanswered(ctx context.Context, ask SyncAsk) (lines []SyncLine, learnt []wallet.OpenOrder, err error) {
	entries, err := c.Store.Entries(ctx, ask.openEntries())
	if err != nil {
		return nil, nil, err
	}
	open := c.Platform.Session().OpenOrders
	for _, entry := range entries {
		if entry.IsPurchase() {
			line, err := c.askAboutPurchase(ctx, entry)
			if err != nil {
				return lines, learnt, err
			}
			if line != nil {
				lines = append(lines, *line)
			}
			continue
		}
		if entry.Stage == wallet.StageCredited || slices.ContainsFunc(open, func(o wallet.OpenOrder) bool { return o.Order == entry.Order || o.Key == entry.Key }) {
			continue
		}
		before := c.Platform.Requests()
		state, err := c.askAbout(ctx, entry)
		if Explain(err) != nil && Explain(err).Code == "NOT_FOUND" {
			continue
		}
		if err != nil {
			return lines, learnt, err
		}
		c.book(ctx, entry, state, nil)
		if state.State == wallet.StateGranted && state.Pending != nil && state.Pending.ASN == entry.ASN {
			found := *state.Pending
			found.Key = entry.Key
			learnt = append(learnt, found)
			continue
		}
		if state.State != wallet.StateGranted {
			from := wallet.StateGranted // settled on another computer since
			if entry.Stage == wallet.StageAsked {
				from = wallet.StateReceived
			}
			lines = append(lines, c.line(entry, from, state, ask.Intent, before))
		}
	}
	return lines, learnt, nil
}

// askAbout asks what became of an order that this computer holds open.
func (c *Core) askAbout(ctx context.Context, entry wallet.Entry) (wallet.OrderState, error) {
	if entry.Stage == wallet.StageAsked {
		return c.Platform.Abandon(ctx, entry.Key)
	}
	return c.Platform.Load(ctx, entry.Order)
}

func (c *Core) line(entry wallet.Entry, from wallet.LoadState, state wallet.OrderState, intent wallet.Intent, before int) SyncLine {
	spent := c.Platform.Requests() - before
	return SyncLine{
		Order: state.Order, Kind: wallet.KindLoad, Key: entry.Key, From: from, To: state.State, Intent: intent, Amount: entry.Amount,
		Requests: spent, RequestsWaited: spent, Evidence: orNone(state.Evidence), OnCard: state.OnCard,
	}
}

func orNone(evidence string) string {
	if evidence == "" {
		return "none"
	}
	return evidence
}

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

// keptFor finds what this computer knows of an open order. An entry whose answer
// never came has no order number yet, but its key.
func keptFor(open wallet.OpenOrder, entries []wallet.Entry) wallet.Entry {
	for _, entry := range entries {
		if entry.IsPurchase() {
			continue
		}
		if entry.Order == open.Order || entry.Order == "" && entry.Key == open.Key {
			return entry
		}
	}
	return wallet.Entry{}
}

// openOrderOf rebuilds what the platform would say of an order that it does not
// list (any more): settled elsewhere, or lost in a restore.
func openOrderOf(entry wallet.Entry) wallet.OpenOrder {
	return wallet.OpenOrder{
		Order: entry.Order, ASN: entry.ASN, Attempt: entry.Attempt, Seq: entry.Seq, Amount: entry.Amount,
		ProbeTID: entry.ProbeTID, Epoch: entry.Epoch, State: wallet.StateGranted,
	}
}

// syncByCard lets the card on the reader prove what became of its open orders.
func (c *Core) syncByCard(ctx context.Context, ask SyncAsk, targets []target) ([]SyncLine, error) {
	foreign, err := c.foreignPending(ctx, targets)
	if err != nil {
		return nil, err
	}
	targets = append(targets, foreign...)
	if len(targets) == 0 {
		return nil, nil
	}
	var lines []SyncLine
	err = c.withCard(ctx, func(session reader.Session, _ reader.Info) error {
		purse, err := c.identify(ctx, session)
		if err != nil {
			return err
		}
		mine := slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return t.asn() != purse.ASN })
		if len(mine) == 0 {
			return &Failure{Code: "CARD_OTHER", Detail: map[string]any{"wanted": targets[0].asn().Masked(), "found": purse.ASN.Masked()}}
		}
		for _, each := range mine {
			settle := c.syncOne
			if each.purchase != nil {
				settle = c.syncPurchase
			}
			line, err := settle(ctx, session, purse.Profile, each, ask)
			lines = append(lines, line)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !isOpen(err) {
		err = &Failure{Code: "ORDER_OPEN", Order: keptOrNil(targets[0]), Err: err}
	}
	return lines, err
}

// keptOrNil is what this computer knows of an order, nil for one begun elsewhere.
func keptOrNil(t target) *wallet.Entry {
	if t.kept.Key == "" {
		return nil
	}
	return &t.kept
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

// syncOne settles one order in one card session.
func (c *Core) syncOne(ctx context.Context, session reader.Session, profile *wallet.Profile, each target, ask SyncAsk) (SyncLine, error) {
	line := SyncLine{Order: each.open.Order, Kind: wallet.KindLoad, Key: each.kept.Key, From: each.open.State, To: each.open.State, Intent: ask.Intent, Amount: each.open.Amount, Evidence: "none"}
	script, err := scriptFor(c.Platform.Session(), profile)
	if err != nil {
		return line, err
	}
	before := c.Platform.Requests()
	desk := c.desk(session, c.Platform.Issuer(nil))
	desk.PIN, desk.Progress = ask.PIN, ask.Progress
	outcome, err := desk.Sync(ctx, each.open, each.kept, ask.Intent, profile, script)
	line.Requests = c.Platform.Requests() - before
	line.RequestsWaited = line.Requests
	if outcome.State != nil {
		line.To, line.Evidence, line.OnCard = outcome.State.State, orNone(outcome.State.Evidence), outcome.State.OnCard
	}
	if err != nil {
		return line, err
	}
	if outcome.Entry.Stage == wallet.StageCredited { // completed: the card has it, the platform hears of it
		c.rereadAfter(ctx, session)
		if state, ok := c.sendResult(ctx, outcome.Entry); ok {
			line.To, line.Evidence = state.State, orNone(state.Evidence)
		}
		line.Requests = c.Platform.Requests() - before
	}
	if line.To == wallet.StateSuspense {
		return line, &Failure{Code: "ORDER_SUSPENSE", Order: &outcome.Entry}
	}
	return line, nil
}

// refuseWhileOpen settles, before a new order of a kind, what the card proves by
// itself, and refuses while an order of this card stays open. A purchase in doubt
// does not keep value from being loaded: the books decide about it, and they know
// of the load.
func (c *Core) refuseWhileOpen(ctx context.Context, asn wallet.ASN, kind string) error {
	ask := SyncAsk{Intent: wallet.IntentSettle, card: &asn}
	if _, err := c.syncOutbox(ctx, ask); err != nil {
		return c.openIfKept(ctx, err)
	}
	_, learnt, err := c.syncUnanswered(ctx, ask)
	if err != nil {
		return c.openIfKept(ctx, err)
	}
	targets, err := c.targets(ctx, ask, learnt)
	if err != nil {
		return err
	}
	if kind == wallet.KindLoad {
		targets = slices.DeleteFunc(targets, target.inDoubt)
	}
	if len(targets) == 0 {
		return nil
	}
	settled, err := c.syncByCard(ctx, ask, targets)
	if err != nil {
		return err
	}
	for i, line := range settled {
		if !line.Open() || kind == wallet.KindLoad && line.To == wallet.LoadState(wallet.PurchaseDoubtful) {
			continue
		}
		code := "PENDING_LOAD"
		if line.Kind == wallet.KindPurchase {
			code = "PENDING_PURCHASE"
		}
		return &Failure{Code: code, Order: keptOrNil(targets[i]), Detail: map[string]any{"order": line.Order, "amountFen": line.Amount}}
	}
	return nil
}
