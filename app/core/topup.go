package core

import (
	"context"
	"errors"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// cardTries is how often a top-up starts again from SELECT after the card left
// before the platform was asked. The order and its key stay the same.
const cardTries = 3

// Confirmation is everything the person agrees to, on one screen.
type Confirmation struct {
	Purse        wallet.Purse
	Amount, Fee  wallet.Fen
	Source       string
	BalanceAfter wallet.Fen
	MainBalance  *wallet.Fen // where it is known
}

// TopUpAsk is a wish to load value.
type TopUpAsk struct {
	Amount   wallet.Fen
	Source   string // "main"
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
}

// topUp is TopUp, untold.
func (c *Core) topUp(ctx context.Context, ask TopUpAsk) (TopUpResult, error) {
	var result TopUpResult
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return result, err
	}
	defer unlock()

	if err := c.Platform.Connect(ctx); err != nil {
		return result, err
	}
	c.resendAfterRestore(ctx)
	purse, err := c.findMoneyCard(ctx)
	if err != nil {
		return result, err
	}
	result.Purse = purse
	if err := c.refuseWhileOpen(ctx, purse.ASN, wallet.KindLoad); err != nil {
		return result, err
	}
	order, script, err := c.confirm(ctx, purse, ask)
	if err != nil {
		return result, err
	}

	began, requestsBefore := time.Now(), c.Platform.Requests()
	outcome, err := c.load(ctx, order, purse.Profile, script, ask)
	result.Outcome, result.Entry, result.APDUs, result.Warning = outcome, outcome.Entry, outcome.APDUs, outcome.Warning
	result.RequestsWaited, result.Elapsed = c.Platform.Requests()-requestsBefore, time.Since(began)
	if err != nil {
		err = c.afterFailure(ctx, order, err)
		result.State = outcome.State
	} else {
		result.State, result.Acknowledged = c.sendResult(ctx, outcome.Entry)
	}
	result.Requests = c.Platform.Requests() - requestsBefore
	if latest, found, _ := c.Store.Latest(ctx, order.Key); found && err != nil {
		result.Entry = latest
	}
	return result, err
}

// beginMoney takes the profile's money lock and closes what an earlier process
// left behind before it asked the platform.
func (c *Core) beginMoney(ctx context.Context) (unlock func(), err error) {
	if c.Platform == nil {
		return nil, &Failure{Code: "PROFILE_INCOMPLETE", Err: errors.New("no platform is set up")}
	}
	unlock, err = c.LockMoney(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.abandonUnasked(ctx); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// findMoneyCard reads which card lies on the reader and asks Prepare about it.
func (c *Core) findMoneyCard(ctx context.Context) (wallet.Purse, error) {
	var purse wallet.Purse
	err := c.withCard(ctx, func(session reader.Session, _ reader.Info) (err error) {
		purse, err = c.identify(ctx, session)
		return err
	})
	if err != nil {
		return purse, err
	}
	notice, err := c.Prepare(ctx, purse)
	c.notice(notice)
	return purse, err
}

// confirm checks what can be checked before the person is asked, asks, and makes
// the order that never changes afterwards.
func (c *Core) confirm(ctx context.Context, purse wallet.Purse, ask TopUpAsk) (wallet.Order, wallet.Script, error) {
	session := c.Platform.Session()
	script, err := scriptFor(session, purse.Profile)
	if err != nil {
		return wallet.Order{}, script, err
	}
	limits := session.Policy.Limits
	after := purse.Balance + ask.Amount
	if limits.PurseCap > 0 && after > limits.PurseCap {
		return wallet.Order{}, script, &Failure{Code: "CAP_EXCEEDED", Detail: map[string]any{"capFen": limits.PurseCap, "balanceFen": purse.Balance}}
	}
	source := ask.Source
	if source == "" {
		source = "main"
	}
	order := wallet.Order{ASN: purse.ASN, Amount: ask.Amount, Fee: session.Policy.FeeFen, Source: source, Cap: limits.PurseCap}
	if err := ask.Confirm(ctx, Confirmation{Purse: purse, Amount: order.Amount, Fee: order.Fee, Source: source, BalanceAfter: after}); err != nil {
		return order, script, err
	}
	order.Key = c.NewKey()
	return order, script, nil
}

// scriptFor finds the published open script of a card: that of its own profile, or
// of the profile that it refines.
func scriptFor(session Session, profile *wallet.Profile) (wallet.Script, error) {
	script, known := session.Scripts[profile.LoadName()]
	if !known {
		return script, &Failure{Code: "CARD_TYPE_REFUSED", Err: errors.New("no load script for card profile " + profile.Name)}
	}
	return script, nil
}

// load runs the load, again from SELECT as long as the card left before the
// platform was asked (row 3 of the crash table).
func (c *Core) load(ctx context.Context, order wallet.Order, profile *wallet.Profile, script wallet.Script, ask TopUpAsk) (wallet.Outcome, error) {
	issuer := c.Platform.Issuer(ask.Password)
	for try := 1; ; try++ {
		lease, err := c.Platform.TakeLease(ctx)
		if err != nil {
			return wallet.Outcome{}, err
		}
		var outcome wallet.Outcome
		err = c.withCard(ctx, func(session reader.Session, _ reader.Info) (err error) {
			desk := c.desk(session, issuer)
			desk.PIN, desk.Progress = ask.PIN, ask.Progress
			outcome, err = desk.TopUp(ctx, order, profile, script, lease.TID)
			if err == nil {
				c.rereadAfter(ctx, session)
			}
			return err
		})
		if err == nil || try == cardTries || !c.mayStartAgain(ctx, order.Key, err) {
			return outcome, err
		}
	}
}

// desk is what the flows of package wallet work with.
func (c *Core) desk(session reader.Session, issuer wallet.Issuer) wallet.Desk {
	return wallet.Desk{Card: session, Issuer: issuer, Journal: c.journal(), Signers: c.Platform.Signers(), Epoch: c.Platform.Session().Epoch, Trace: c.Trace}
}

// mayStartAgain: the card left, and the journal shows that nothing was asked.
func (c *Core) mayStartAgain(ctx context.Context, key string, err error) bool {
	if !cardLeft(err) || ctx.Err() != nil {
		return false
	}
	latest, found, lookErr := c.Store.Latest(ctx, key)
	return lookErr == nil && found && !latest.Stage.MayHaveMoney() && !latest.Stage.Final()
}

func cardLeft(err error) bool {
	switch reader.ClassOf(err) {
	case reader.CardGone, reader.NoCard, reader.CardReset, reader.ReaderGone:
		return true
	}
	return false
}

// rereadAfter brings the new balance and record into the history. The money is
// already safe, so nothing here may fail the top-up.
func (c *Core) rereadAfter(ctx context.Context, session reader.Session) {
	reading, err := wallet.Read(ctx, session, wallet.ReadOptions{FirstOnly: true, Trace: c.Trace})
	if err == nil {
		_ = c.keepReading(ctx, reading, c.Now())
	}
}

// afterFailure settles at once what can be settled without the card: an order
// that the platform never granted is abandoned with a tombstone, so that a late
// request is refused. Everything else stays open for sync.
func (c *Core) afterFailure(ctx context.Context, order wallet.Order, err error) error {
	latest, found, lookErr := c.Store.Latest(ctx, order.Key)
	if lookErr != nil || !found {
		return err
	}
	switch latest.Stage {
	case wallet.StageIntent, wallet.StageOpened:
		c.close(ctx, latest, wallet.StageAbandoned, "")
		return err
	case wallet.StageAsked:
		// Also after Ctrl+C: a few seconds here save the person a second touch.
		asking, stop := context.WithTimeout(context.WithoutCancel(ctx), c.AckWait)
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
