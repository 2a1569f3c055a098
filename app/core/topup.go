package core

import (
	"context"
	"time"

	"walletcompanion/wallet"
)

// Confirmation is everything the person agrees to, on one screen.
type Confirmation struct {
	Purse        wallet.Purse
	Amount, Fee  wallet.Fen
	Source       string
	BalanceAfter wallet.Fen

	// Money that comes from outside first; FundSource is empty where none does. Of a
	// voucher FundAmount is 0: it is worth what it is worth.
	FundSource string
	FundAmount wallet.Fen
}

// Total is what leaves the main account.
func (c Confirmation) Total() wallet.Fen { return c.Amount + c.Fee }

// TopUpAsk is a wish to load value.
type TopUpAsk struct {
	Amount wallet.Fen
	Source string // "main"

	// From brings money into the main account before the card is asked; nil: what is
	// there has to do. Where From is nil and the main account does not cover amount and
	// fee, Shortfall says where the missing part comes from (补款); nil, or nil as its
	// answer: nowhere. A bank without a Secret of its own takes the Password, which is
	// asked once.
	From      *MoneySource
	Shortfall func(ctx context.Context, missing wallet.Fen) (*MoneySource, error)

	Confirm  func(ctx context.Context, confirmation Confirmation) error
	Password func(ctx context.Context) (string, error)
	PIN      func(triesLeft int) ([]byte, error)
	Progress func(wallet.Progress)
}

// TopUpResult is what is known at the end of a top-up, also of one that failed.
type TopUpResult struct {
	Entry          wallet.Entry // newest entry of the journal
	State          *wallet.OrderState
	Purse          wallet.Purse
	Outcome        wallet.Outcome
	Requests       int
	RequestsWaited int
	APDUs          int
	Elapsed        time.Duration // from the confirmation to success
	Acknowledged   bool          // the platform has the result
	Warning        wallet.Code   // success, but this went wrong afterwards
	Funding        *FundResult   // what came from outside first; nil: nothing
}

// topUp is TopUp, untold.
func (c *Core) topUp(ctx context.Context, ask TopUpAsk) (TopUpResult, error) {
	var result TopUpResult
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return result, err
	}
	defer unlock()

	purse, err := c.meetCard(ctx, wallet.KindLoad)
	result.Purse = purse
	if err != nil {
		return result, err
	}
	if _, err := c.settleFundings(ctx, SyncAsk{}); err != nil {
		return result, c.openIfKept(ctx, err)
	}
	order, script, plan, err := c.confirmLoad(ctx, purse, ask)
	if err != nil {
		return result, err
	}

	began, requestsBefore := time.Now(), c.Platform.Requests()
	password := once(ask.Password)
	if result.Funding, err = c.bringMoney(ctx, plan, password); err != nil {
		result.Entry, result.Requests = result.Funding.Entry, c.Platform.Requests()-requestsBefore
		return result, err
	}
	issuer := c.Platform.Issuer(password)
	outcome, err := c.atCard(ctx, order.Key, func(desk wallet.Desk, tid wallet.TerminalNumber) (wallet.Outcome, error) {
		desk.Issuer, desk.PIN, desk.Progress = issuer, ask.PIN, ask.Progress
		return desk.TopUp(ctx, order, purse.Profile, script, tid)
	})
	result.Outcome, result.Entry, result.APDUs, result.Warning = outcome, outcome.Entry, outcome.APDUs, outcome.Warning
	result.RequestsWaited, result.Elapsed = c.Platform.Requests()-requestsBefore, time.Since(began)
	if err != nil {
		err = c.afterLoadFailure(ctx, order, err)
		result.State = outcome.State
	} else {
		result.State, result.Acknowledged = c.sendLoad(ctx, outcome.Entry)
	}
	result.Requests = c.Platform.Requests() - requestsBefore
	if latest, found, _ := c.Store.Latest(context.WithoutCancel(ctx), order.Key); found && err != nil {
		result.Entry = latest
	}
	return result, funded(err, result.Funding)
}

// confirmLoad checks what can be checked before the person is asked, asks, and makes
// the order that never changes afterwards.
func (c *Core) confirmLoad(ctx context.Context, purse wallet.Purse, ask TopUpAsk) (wallet.Order, wallet.Script, money, error) {
	session := c.Platform.Session()
	script, err := scriptFor(session, wallet.KindLoad, purse.Profile)
	if err != nil {
		return wallet.Order{}, script, money{}, err
	}
	most := capOf(session, purse.ASN)
	after := purse.Balance + ask.Amount
	if most > 0 && after > most {
		return wallet.Order{}, script, money{}, &Failure{Code: "CAP_EXCEEDED", Detail: map[string]any{"capFen": most, "balanceFen": purse.Balance}}
	}
	source := ask.Source
	if source == "" {
		source = "main"
	}
	order := wallet.Order{ASN: purse.ASN, Amount: ask.Amount, Fee: session.Policy.LoadFee(source, ask.Amount), Source: source, Cap: most}
	plan, err := c.planMoney(ctx, ask, order.Amount+order.Fee)
	if err != nil {
		return order, script, plan, err
	}
	shown := Confirmation{Purse: purse, Amount: order.Amount, Fee: order.Fee, Source: source, BalanceAfter: after}
	if plan.from != nil {
		shown.FundSource, shown.FundAmount = plan.from.Name(), plan.amount
	}
	if err := ask.Confirm(ctx, shown); err != nil {
		return order, script, plan, err
	}
	order.Key = c.NewKey()
	return order, script, plan, nil
}

// afterLoadFailure settles at once what can be settled without the card: an order
// that the platform never granted is abandoned with a tombstone, so that a late
// request is refused. Everything else stays open for sync. It is done also after
// Ctrl+C: a few seconds here save the person a second touch.
func (c *Core) afterLoadFailure(ctx context.Context, order wallet.Order, err error) error {
	ctx = context.WithoutCancel(ctx)
	latest, found, lookErr := c.Store.Latest(ctx, order.Key)
	if lookErr != nil || !found {
		return err
	}
	switch latest.Stage {
	case wallet.StageIntent, wallet.StageOpened:
		c.close(ctx, latest, wallet.StageAbandoned, "")
		return err
	case wallet.StageAsked:
		asking, stop := context.WithTimeout(ctx, c.AckWait)
		defer stop()
		state, abandonErr := c.Platform.Abandon(asking, order.Key)
		if abandonErr == nil && state.State == wallet.StateDeclined {
			c.close(ctx, latest, wallet.StageDeclined, state.Code)
			return nothingPaid(err)
		}
	}
	if !latest.Stage.MayHaveMoney() {
		return err
	}
	return &Failure{Code: "ORDER_OPEN", Order: &latest, Err: err}
}

// sendLoad reports a credited load and waits up to AckWait for the receipt.
// Without it the outbox keeps the result.
func (c *Core) sendLoad(ctx context.Context, entry wallet.Entry) (*wallet.OrderState, bool) {
	waiting, stop := context.WithTimeout(ctx, c.AckWait)
	defer stop()
	state, err := c.deliverLoad(waiting, entry)
	if err != nil {
		return nil, false
	}
	return &state, state.State == wallet.StateLoaded
}
