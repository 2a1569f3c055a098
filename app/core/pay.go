package core

import (
	"context"
	"time"

	"walletcompanion/wallet"
)

// deliverWait is how long a purchase waits for the answer to its result: only that
// answer tells whether the goods are delivered (protocol §2.19).
const deliverWait = 10 * time.Second

// PayConfirmation is everything the person agrees to before a card is debited.
type PayConfirmation struct {
	Purse        wallet.Purse
	Order        wallet.MerchantOrder // merchant, goods and amount, as the platform signed them
	BalanceAfter wallet.Fen
}

// PayAsk is a wish to pay a merchant's order from the card.
type PayAsk struct {
	OrderCode string
	Confirm   func(ctx context.Context, confirmation PayConfirmation) error
	PIN       func(triesLeft int) ([]byte, error)
	Progress  func(wallet.Progress)
}

// UnloadAsk is a wish to return value from the card to the main account.
type UnloadAsk struct {
	Amount   wallet.Fen
	Confirm  func(ctx context.Context, confirmation PayConfirmation) error
	PIN      func(triesLeft int) ([]byte, error)
	Progress func(wallet.Progress)
}

// PayResult is what is known at the end of a purchase, also of one that failed.
// Debited and Delivered are two facts.
type PayResult struct {
	Entry           wallet.Entry // newest entry of the journal
	Order           wallet.MerchantOrder
	Statement       *wallet.PurchaseStatement
	Purse           wallet.Purse
	Outcome         wallet.Outcome
	Lookups         int   // requests before the confirmation, not among Requests
	Requests        int   // from the confirmation on
	RequestsToDebit int   // of them, answered before the card was debited
	RequestsWaited  int   // of them, answered before the end was told
	Debited         *bool // nil: nobody knows yet
	Delivered       bool
	APDUs           int
	Elapsed         time.Duration // from the confirmation to the end
	Warning         wallet.Code   // the card is debited, but this went wrong afterwards
}

// pay is Pay, untold.
func (c *Core) pay(ctx context.Context, ask PayAsk) (PayResult, error) {
	return c.purchase(ctx, ask, func(ctx context.Context, _ wallet.Purse) (wallet.MerchantOrder, error) {
		order, err := c.Platform.MerchantOrder(ctx, ask.OrderCode)
		if failure := Explain(err); failure != nil && failure.Code == "NOT_FOUND" {
			err = &Failure{Code: "MERCHANT_ORDER", Detail: map[string]any{"code": ask.OrderCode}, Err: err}
		}
		return order, err
	})
}

// unload is Unload, untold.
func (c *Core) unload(ctx context.Context, ask UnloadAsk) (PayResult, error) {
	steps := PayAsk{Confirm: ask.Confirm, PIN: ask.PIN, Progress: ask.Progress}
	return c.purchase(ctx, steps, func(ctx context.Context, purse wallet.Purse) (wallet.MerchantOrder, error) {
		return c.Platform.Unload(ctx, purse.ASN, ask.Amount)
	})
}

// purchase is Pay and Unload, which differ only in where the order comes from.
func (c *Core) purchase(ctx context.Context, ask PayAsk, lookUp func(context.Context, wallet.Purse) (wallet.MerchantOrder, error)) (PayResult, error) {
	var result PayResult
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return result, err
	}
	defer unlock()

	purse, err := c.meetCard(ctx, wallet.KindPurchase)
	result.Purse = purse
	if err != nil {
		return result, err
	}
	lookupsBefore := c.Platform.Requests()
	if result.Order, err = lookUp(ctx, purse); err != nil {
		return result, err
	}
	result.Lookups = c.Platform.Requests() - lookupsBefore
	payment, script, err := c.confirmPayment(ctx, purse, result.Order, ask)
	if err != nil {
		return result, err
	}

	began, requestsBefore := time.Now(), c.Platform.Requests()
	outcome, err := c.atCard(ctx, payment.Key, func(desk wallet.Desk, tid wallet.TerminalNumber) (wallet.Outcome, error) {
		desk.PIN, desk.Progress = ask.PIN, ask.Progress
		return desk.Pay(ctx, payment, purse.Profile, script, tid)
	})
	result.Outcome, result.Entry, result.APDUs, result.Warning = outcome, outcome.Entry, outcome.APDUs, outcome.Warning
	result.Statement = outcome.Purchase
	result.RequestsToDebit = c.Platform.Requests() - requestsBefore
	if err != nil {
		err = c.afterPurchaseFailure(ctx, payment.Key, err)
	} else {
		result.Statement, err = c.sendPurchase(ctx, outcome.Entry)
	}
	result.Requests = c.Platform.Requests() - requestsBefore
	result.RequestsWaited, result.Elapsed = result.Requests, time.Since(began)
	if latest, found, _ := c.Store.Latest(context.WithoutCancel(ctx), payment.Key); found && (outcome.Warning == "" || latest.Stage.Final()) {
		result.Entry = latest
	}
	result.Debited, result.Delivered = factsOf(result.Entry.Stage, result.Statement)
	return result, err
}

// confirmPayment checks what can be checked before the person is asked, asks, and
// makes the payment that never changes afterwards.
func (c *Core) confirmPayment(ctx context.Context, purse wallet.Purse, order wallet.MerchantOrder, ask PayAsk) (wallet.Payment, wallet.Script, error) {
	script, err := scriptFor(c.Platform.Session(), wallet.KindPurchase, purse.Profile)
	if err != nil {
		return wallet.Payment{}, script, err
	}
	detail := map[string]any{"code": order.Code, "amountFen": order.Amount, "balanceFen": purse.Balance}
	switch {
	case order.State != wallet.PurchaseOffered || !order.Expires.IsZero() && order.Expires.Before(order.Issued):
		return wallet.Payment{}, script, &Failure{Code: "MERCHANT_ORDER", Detail: detail}
	case purse.Balance < order.Amount:
		return wallet.Payment{}, script, &Failure{Code: "CARD_BALANCE_SHORT", Detail: detail}
	}
	if err := ask.Confirm(ctx, PayConfirmation{Purse: purse, Order: order, BalanceAfter: purse.Balance - order.Amount}); err != nil {
		return wallet.Payment{}, script, err
	}
	return wallet.Payment{
		Key: c.NewKey(), ASN: purse.ASN, Amount: order.Amount, MerchantOrder: order.Code,
		Merchant: order.Merchant, Goods: order.Goods, Unload: order.Unload,
	}, script, nil
}

// afterPurchaseFailure settles at once what can be settled without the card: a key
// that the platform never authorised is abandoned with a tombstone, so that a late
// request is refused. Everything else stays open for sync. It is done also after
// Ctrl+C, as for a load.
func (c *Core) afterPurchaseFailure(ctx context.Context, key string, err error) error {
	ctx = context.WithoutCancel(ctx)
	latest, found, lookErr := c.Store.Latest(ctx, key)
	if lookErr != nil || !found {
		return err
	}
	if latest.Stage == wallet.StagePurchaseIntent {
		c.close(ctx, latest, wallet.StageAbandoned, "")
		return err
	}
	if latest.Stage.MayHaveMoney() && latest.Order == "" { // no number: the platform may not even know the key
		asking, stop := context.WithTimeout(ctx, c.AckWait)
		defer stop()
		if statement, abandonErr := c.Platform.AbandonPurchase(asking, key); abandonErr == nil {
			latest = c.bookPurchase(ctx, latest, statement, nil)
		}
		if latest.Stage == wallet.StageDeclined {
			return nothingPaid(err)
		}
	}
	if !latest.Stage.MayHaveMoney() {
		return err
	}
	return &Failure{Code: "ORDER_OPEN", Order: &latest, Err: err}
}

// sendPurchase reports a debited purchase and waits for the answer, which alone
// tells whether the goods are delivered. Without it the outbox keeps the result.
func (c *Core) sendPurchase(ctx context.Context, entry wallet.Entry) (*wallet.PurchaseStatement, error) {
	waiting, stop := context.WithTimeout(ctx, deliverWait)
	defer stop()
	detail := map[string]any{"order": entry.Order, "amountFen": entry.Amount, "debited": true, "delivered": false}
	statement, err := c.deliverPurchase(waiting, entry)
	if err != nil {
		return nil, &Failure{Code: "PURCHASE_UNDELIVERED", Order: &entry, Detail: detail, Err: err}
	}
	switch statement.State {
	case wallet.PurchasePaid:
		return &statement, nil
	case wallet.PurchaseRefunded:
		return &statement, &Failure{Code: "PURCHASE_REFUNDED", Detail: detail}
	}
	return &statement, stillOpenPurchase(entry, statement)
}

// stillOpenPurchase is the failure of a purchase that the platform has not settled.
func stillOpenPurchase(entry wallet.Entry, statement wallet.PurchaseStatement) error {
	detail := map[string]any{"order": entry.Order, "amountFen": entry.Amount, "delivered": false}
	if statement.Debited != nil {
		detail["debited"] = *statement.Debited
	}
	code := "ORDER_OPEN"
	switch statement.State {
	case wallet.PurchaseDoubtful:
		code = "PURCHASE_DOUBTFUL"
		if statement.DoubtEnds != nil {
			detail["resets"] = *statement.DoubtEnds
		}
	case wallet.PurchaseSuspense:
		code = "ORDER_SUSPENSE"
	}
	return &Failure{Code: code, Order: &entry, Detail: detail}
}

// factsOf tells the two facts of a purchase. The platform's signed word counts
// first; without it the journal knows what the card answered.
func factsOf(stage wallet.Stage, statement *wallet.PurchaseStatement) (debited *bool, delivered bool) {
	yes, no := true, false
	if statement != nil && statement.Debited != nil {
		return statement.Debited, statement.Delivered
	}
	switch stage {
	case wallet.StageDebited, wallet.StageRefunded:
		return &yes, false
	case wallet.StageConfirmed:
		return &yes, true
	case wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDoubtful:
		return nil, false
	}
	return &no, false
}
