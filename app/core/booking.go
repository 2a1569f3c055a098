package core

import (
	"context"

	"walletcompanion/wallet"
)

// deliver sends a result of either kind. The state of a purchase stands under
// its own name.
func (c *Core) deliver(ctx context.Context, entry wallet.Entry) (wallet.OrderState, error) {
	if !entry.IsPurchase() {
		return c.deliverLoad(ctx, entry)
	}
	statement, err := c.deliverPurchase(ctx, entry)
	return wallet.OrderState{Key: entry.Key, Order: statement.Purchase, State: wallet.LoadState(statement.State), Evidence: statement.Evidence}, err
}

// deliverLoad sends one credited entry and books the answer.
func (c *Core) deliverLoad(ctx context.Context, entry wallet.Entry) (wallet.OrderState, error) {
	state, raw, err := c.Platform.Result(ctx, entry)
	if err != nil {
		return state, err
	}
	c.bookLoad(context.WithoutCancel(ctx), entry, state, &raw)
	return state, nil
}

// bookLoad writes what the platform signed about an order into the journal.
func (c *Core) bookLoad(ctx context.Context, entry wallet.Entry, state wallet.OrderState, raw *wallet.Signed) {
	entry.Order = state.Order
	switch state.State {
	case wallet.StateLoaded:
		if receipt := state.ReceiptBody; receipt != nil && len(entry.TAC) == 0 && receipt.TID == entry.TID {
			// What the card proved elsewhere is evidence here too, should the platform
			// ever lose it. It fits the grant kept here only where the number is the same.
			entry.TAC, entry.BalanceBefore, entry.BalanceAfter = receipt.TAC, receipt.BalanceBefore, receipt.BalanceAfter
		}
		c.close(ctx, entry, wallet.StageConfirmed, state.Evidence)
	case wallet.StateVoided:
		c.close(ctx, entry, wallet.StageVoided, state.Evidence)
	case wallet.StateDeclined:
		c.close(ctx, entry, wallet.StageDeclined, state.Code)
	}
	if raw != nil && state.ReceiptBody != nil {
		_ = c.Store.PutReceipt(ctx, state.Order, *raw)
	}
}

// deliverPurchase sends one debited entry and books the answer.
func (c *Core) deliverPurchase(ctx context.Context, entry wallet.Entry) (wallet.PurchaseStatement, error) {
	statement, raw, err := c.Platform.PurchaseResult(ctx, entry)
	if err != nil {
		return statement, err
	}
	c.bookPurchase(context.WithoutCancel(ctx), entry, statement, &raw)
	return statement, nil
}

// bookPurchase writes what the platform signed about a purchase into the journal
// and returns the entry as it stands then.
func (c *Core) bookPurchase(ctx context.Context, entry wallet.Entry, statement wallet.PurchaseStatement, raw *wallet.Signed) wallet.Entry {
	before := entry
	if statement.Purchase != "" {
		entry.Order = statement.Purchase
	}
	if open := statement.Authorised; open != nil {
		entry.Order = open.Purchase
		if entry.Grant == nil {
			entry.Seq, entry.ProbeTID, entry.Epoch = open.Number, open.ProbeTID, open.Epoch
		}
	}
	next, decided := statement.State.StageOf()
	switch {
	case decided && next == wallet.StageDeclined:
		entry.Note = statement.Code
	case decided:
		entry.Note = statement.Evidence
	case statement.State == wallet.PurchaseAuthorised && entry.Stage == wallet.StageAsked:
		next, decided = wallet.StageAuthorised, true
	default: // nothing is decided: only the number is news
		next, decided = entry.Stage, entry.Order != before.Order || entry.ProbeTID != before.ProbeTID
	}
	if decided && entry.Stage.CanFollow(entry.Kind, next) {
		entry.Stage, entry.At = next, c.Now()
		if err := c.journal().Write(ctx, entry); err != nil {
			entry.Stage = before.Stage
		}
	}
	if raw != nil && statement.ReceiptBody != nil {
		_ = c.Store.PutReceipt(ctx, statement.Purchase, *raw)
	}
	return entry
}
