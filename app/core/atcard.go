package core

import (
	"context"
	"errors"
	"fmt"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// cardTries is how often an order starts again from SELECT after the card left before
// the platform was asked. The order and its key stay the same.
const cardTries = 3

// beginMoney takes the profile's money lock and closes what an earlier process
// left behind before it asked the platform.
func (c *Core) beginMoney(ctx context.Context) (unlock func(), err error) {
	if c.Platform == nil {
		return nil, &Failure{Code: "PROFILE_INCOMPLETE", Err: errors.New("no platform is set up")}
	}
	free, err := c.LockMoney(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if unlock == nil { // also when the journal panics
			free()
		}
	}()
	if err := c.abandonUnasked(ctx); err != nil {
		return nil, err
	}
	return free, nil
}

// meetCard is what every order does before the person is asked: it greets the
// platform, finds the card, and settles or refuses what is still open for it.
func (c *Core) meetCard(ctx context.Context, kind string) (wallet.Purse, error) {
	if err := c.Platform.Connect(ctx); err != nil {
		return wallet.Purse{}, err
	}
	c.resendAfterRestore(ctx)
	purse, err := c.findMoneyCard(ctx)
	if err != nil {
		return wallet.Purse{}, err
	}
	return purse, c.refuseWhileOpen(ctx, purse.ASN, kind)
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

// scriptFor finds the published open script for orders of a kind: that of the card's
// own profile, or of the profile that it refines.
func scriptFor(session Session, kind string, profile *wallet.Profile) (wallet.Script, error) {
	scripts := session.Scripts
	if kind == wallet.KindPurchase {
		scripts = session.PurchaseScripts
	}
	script, known := scripts[profile.LoadName()]
	if !known {
		return script, &Failure{Code: "CARD_TYPE_REFUSED", Err: fmt.Errorf("no %s script for card profile %s", kind, profile.Name)}
	}
	return script, nil
}

// atCard runs the flow of an order over a new terminal number, again from SELECT as
// long as the card left before the platform was asked (row 3 of the crash table).
func (c *Core) atCard(ctx context.Context, key string, flow func(wallet.Desk, wallet.TerminalNumber) (wallet.Outcome, error)) (wallet.Outcome, error) {
	for try := 1; ; try++ {
		lease, err := c.Platform.TakeLease(ctx)
		if err != nil {
			return wallet.Outcome{}, err
		}
		var outcome wallet.Outcome
		err = c.withCard(ctx, func(session reader.Session, _ reader.Info) (err error) {
			outcome, err = flow(c.desk(session), lease.TID)
			if err == nil {
				c.rereadAfter(ctx, session)
			}
			return err
		})
		if err == nil || try == cardTries || !c.mayStartAgain(ctx, key, err) {
			return outcome, err
		}
	}
}

// desk is what the flows of package wallet work with. A flow of loads adds its issuer,
// which knows how to ask for the payment password.
func (c *Core) desk(session reader.Session) wallet.Desk {
	return wallet.Desk{
		Card: session, Cashier: c.Platform.Cashier(), Journal: c.journal(), Signers: c.Platform.Signers(),
		Epoch: c.Platform.Session().Epoch, Trace: c.Trace,
	}
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
// already safe, so nothing here may fail the order.
func (c *Core) rereadAfter(ctx context.Context, session reader.Session) {
	reading, err := wallet.Read(ctx, session, wallet.ReadOptions{FirstOnly: true, Trace: c.Trace})
	if err == nil {
		_ = c.keepReading(ctx, reading, c.Now())
	}
}
