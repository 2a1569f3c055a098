package core

import (
	"context"
	"slices"

	"walletcompanion/platformclient/api"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// loadLine is what an answer made of a load.
func (c *Core) loadLine(entry wallet.Entry, from wallet.LoadState, state wallet.OrderState, intent wallet.Intent, before int) SyncLine {
	spent := c.Platform.Requests() - before
	return SyncLine{
		Order: state.Order, Kind: wallet.KindLoad, Key: entry.Key, From: from, To: state.State, Intent: intent, Amount: entry.Amount,
		Requests: spent, RequestsWaited: spent, Evidence: orNone(state.Evidence), OnCard: state.OnCard,
	}
}

// askAboutLoad asks what became of a load that is open here and not there. It returns
// the line of one that is settled by the answer, or the order of one that turns out to
// be open.
func (c *Core) askAboutLoad(ctx context.Context, entry wallet.Entry, intent wallet.Intent) (*SyncLine, *wallet.OpenOrder, error) {
	listed := slices.ContainsFunc(c.Platform.Session().OpenOrders, func(o wallet.OpenOrder) bool { return o.Order == entry.Order || o.Key == entry.Key })
	if entry.Stage == wallet.StageCredited || listed {
		return nil, nil, nil
	}
	before, from := c.Platform.Requests(), wallet.StateGranted // settled on another computer since
	var state wallet.OrderState
	var err error
	if entry.Stage == wallet.StageAsked {
		from = wallet.StateReceived
		state, err = c.Platform.Abandon(ctx, entry.Key)
	} else {
		state, err = c.Platform.Load(ctx, entry.Order)
	}
	if failure := Explain(err); failure != nil && failure.Code == "NOT_FOUND" {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	c.bookLoad(ctx, entry, state, nil)
	if state.State != wallet.StateGranted {
		line := c.loadLine(entry, from, state, intent, before)
		return &line, nil, nil
	}
	if state.Pending == nil || state.Pending.ASN != entry.ASN {
		return nil, nil, nil
	}
	found := *state.Pending
	found.Key = entry.Key
	return nil, &found, nil
}

// keptFor finds what this computer knows of an open order. An entry whose answer
// never came has no order number yet, but its key.
func keptFor(open wallet.OpenOrder, entries []wallet.Entry) wallet.Entry {
	for _, entry := range entries {
		if entry.IsPurchase() || entry.IsFunding() {
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

// refusingCompletion are the codes with which the platform gives no new grant.
var refusingCompletion = []string{
	api.CodeAccountState, api.CodeCardState, api.CodeCardTypeRefused, api.CodeServiceClosed, api.CodeCompanionRefused, api.CodeNotPayer,
}

// syncLoad settles one load in one card session.
func (c *Core) syncLoad(ctx context.Context, session reader.Session, profile *wallet.Profile, each target, ask SyncAsk) (SyncLine, error) {
	line := SyncLine{Order: each.open.Order, Kind: wallet.KindLoad, Key: each.kept.Key, From: each.open.State, To: each.open.State, Intent: ask.Intent, Amount: each.open.Amount, Evidence: "none"}
	script, err := scriptFor(c.Platform.Session(), wallet.KindLoad, profile)
	if err != nil {
		return line, err
	}
	before := c.Platform.Requests()
	desk := c.desk(session)
	desk.Issuer, desk.PIN, desk.Progress = c.Platform.Issuer(nil), ask.PIN, ask.Progress
	outcome, err := desk.Sync(ctx, each.open, each.kept, ask.Intent, profile, script)
	line.Requests = c.Platform.Requests() - before
	line.RequestsWaited = line.Requests
	if outcome.State != nil {
		line.To, line.Evidence, line.OnCard = outcome.State.State, orNone(outcome.State.Evidence), outcome.State.OnCard
		if slices.Contains(refusingCompletion, outcome.State.Code) {
			line.Refused, line.Standing, line.Until = outcome.State.Code, outcome.State.Standing, outcome.State.RetryAfter
		}
	}
	if err != nil {
		return line, err
	}
	if outcome.Entry.Stage == wallet.StageCredited { // completed: the card has it, the platform hears of it
		c.rereadAfter(ctx, session)
		if state, ok := c.sendLoad(ctx, outcome.Entry); ok {
			line.To, line.Evidence = state.State, orNone(state.Evidence)
		}
		line.Requests = c.Platform.Requests() - before
	}
	if line.To == wallet.StateSuspense {
		return line, &Failure{Code: "ORDER_SUSPENSE", Order: &outcome.Entry}
	}
	return line, nil
}
