package core

import (
	"context"

	"walletcompanion/wallet"
)

// Names of operations, as a trace tells them.
const (
	OperationQuery  = "query"
	OperationTopUp  = "topup"
	OperationPay    = "pay"
	OperationUnload = "unload"
	OperationSync   = "sync"
	OperationFund   = "fund"
)

// Operation is something that a person, or the automatic touch, began.
type Operation struct {
	Name   string
	Amount wallet.Fen    // of a top-up, a return of balance or a funding
	Intent wallet.Intent // of a sync
}

// Ending is how an operation ended. Failure is nil where it did not fail.
type Ending struct {
	Entry   wallet.Entry // the journal's newest entry of its order; zero where it made none
	Lines   []SyncLine   // what a sync settled
	Failure *Failure
}

// began tells a watcher that an operation begins and returns what tells it how the
// operation ended. An operation that panics never ends.
func (c *Core) began(operation Operation) func(Ending) {
	if c.Began == nil {
		return func(Ending) {}
	}
	if ended := c.Began(operation); ended != nil {
		return ended
	}
	return func(Ending) {}
}

// ending explains err the way that people are told it.
func ending(entry wallet.Entry, err error) Ending {
	end := Ending{Entry: entry, Failure: Explain(err)}
	if end.Failure != nil && end.Failure.Order != nil {
		end.Entry = *end.Failure.Order
	}
	return end
}

// Query reads the card without any network and merges it into the history.
// onBalance is called as soon as the balance is known; it may be nil.
func (c *Core) Query(ctx context.Context, onBalance func(wallet.Purse)) (QueryResult, error) {
	ended := c.began(Operation{Name: OperationQuery})
	result, err := c.query(ctx, onBalance)
	ended(ending(wallet.Entry{}, err))
	return result, err
}

// TopUp loads value onto the card (圈存). It returns without error only when the
// card has the value and its answer is on disk (or, with a Warning, is known).
// Failures that leave an order open say so: see Open.
func (c *Core) TopUp(ctx context.Context, ask TopUpAsk) (TopUpResult, error) {
	ended := c.began(Operation{Name: OperationTopUp, Amount: ask.Amount})
	result, err := c.topUp(ctx, ask)
	ended(ending(result.Entry, err))
	return result, err
}

// Pay pays a merchant's order from the card (消费). It returns without error only
// when the card is debited and the platform has signed that the goods are
// delivered. Failures that leave the purchase open say so: see Failure.Open.
func (c *Core) Pay(ctx context.Context, ask PayAsk) (PayResult, error) {
	ended := c.began(Operation{Name: OperationPay})
	result, err := c.pay(ctx, ask)
	ended(ending(result.Entry, err))
	return result, err
}

// Unload returns value from the card to the main account (取回余额). It is a purchase
// at the platform itself, delivered when the main account has the money.
func (c *Core) Unload(ctx context.Context, ask UnloadAsk) (PayResult, error) {
	ended := c.began(Operation{Name: OperationUnload, Amount: ask.Amount})
	result, err := c.unload(ctx, ask)
	ended(ending(result.Entry, err))
	return result, err
}

// Fund brings money from a bank or a voucher into the main account. It returns without
// error only when the platform has signed that the money is there. Failures that leave
// the funding open say so: see Failure.Open.
func (c *Core) Fund(ctx context.Context, ask FundAsk) (FundResult, error) {
	ended := c.began(Operation{Name: OperationFund, Amount: ask.Amount})
	result, err := c.fund(ctx, ask)
	ended(ending(result.Entry, err))
	return result, err
}

// Sync settles what is open for the card on the reader (充值同步): results that
// wait to be sent, orders whose grant never arrived, and, by the card's own proof,
// everything else. Nothing open is no error, and needs no card.
func (c *Core) Sync(ctx context.Context, ask SyncAsk) ([]SyncLine, error) {
	ended := c.began(Operation{Name: OperationSync, Intent: ask.Intent})
	lines, err := c.sync(ctx, ask)
	end := ending(wallet.Entry{}, err)
	end.Lines = lines
	ended(end)
	return lines, err
}
