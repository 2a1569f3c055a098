package core

import (
	"context"
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

// SyncLine is what became of one order. Of a purchase or funding From and To hold the
// names of its own states, and Intent is always settle: its proof decides alone.
type SyncLine struct {
	Order          string
	Kind           string // wallet.KindLoad, KindPurchase or KindFunding
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

	Refused  string     // code why it was not completed, though the card proves that it could be; empty: nothing refused it
	Standing string     // the state of account or card that refused
	Until    *time.Time // when that ends by itself
}

// Open reports whether the order is still to be settled.
func (l SyncLine) Open() bool {
	switch l.To {
	case wallet.StateGranted, wallet.StateReceived, wallet.StateSuspense,
		wallet.LoadState(wallet.PurchaseAuthorised), wallet.LoadState(wallet.PurchaseDoubtful),
		wallet.LoadState(wallet.FundingPending), wallet.LoadState(wallet.FundingReversing):
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
	funded, err := c.settleFundings(ctx, ask)
	lines = append(lines, funded...)
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
			if waitsBehind(err) {
				continue
			}
			if err != nil {
				return lines, err
			}
			lines = append(lines, c.purchaseLine(entry, wallet.PurchaseAuthorised, statement, before))
		}
		if entry.Stage != wallet.StageCredited {
			continue
		}
		state, err := c.deliverLoad(ctx, entry)
		if waitsBehind(err) {
			continue
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, c.loadLine(entry, wallet.StateGranted, state, ask.Intent, before))
	}
	return lines, nil
}

// waitsBehind reports a result that the platform cannot take yet: a restore lost its
// order and opened another one of the same card again, which the card settles first. The
// result stays in the outbox.
func waitsBehind(err error) bool {
	failure := Explain(err)
	return failure != nil && (failure.Code == "PENDING_LOAD" || failure.Code == "PENDING_PURCHASE")
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
	for _, entry := range entries {
		var line *SyncLine
		var found *wallet.OpenOrder
		if entry.IsFunding() {
			continue // asked already, and no card knows of it
		}
		if entry.IsPurchase() {
			line, err = c.askAboutPurchase(ctx, entry)
		} else {
			line, found, err = c.askAboutLoad(ctx, entry, ask.Intent)
		}
		if err != nil {
			return lines, learnt, err
		}
		if line != nil {
			lines = append(lines, *line)
		}
		if found != nil {
			learnt = append(learnt, *found)
		}
	}
	return lines, learnt, nil
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
			settle := c.syncLoad
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

func orNone(evidence string) string {
	if evidence == "" {
		return "none"
	}
	return evidence
}
