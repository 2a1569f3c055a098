package core

import (
	"context"

	"walletcompanion/platformclient/api"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Login opens a session; sms answers the code that enrolling a new computer needs.
func (c *Core) Login(ctx context.Context, phone, password string, sms func(ctx context.Context, codeID string) (string, error)) error {
	if c.Platform == nil {
		return &Failure{Code: "PROFILE_INCOMPLETE"}
	}
	return c.Platform.Login(ctx, phone, password, sms)
}

// Logout ends the session on both sides.
func (c *Core) Logout(ctx context.Context) error {
	if c.Platform == nil {
		return nil
	}
	return c.Platform.Logout(ctx)
}

// Account tells state, money and limits of the person's account.
func (c *Core) Account(ctx context.Context) (api.Account, error) {
	if err := c.connect(ctx); err != nil {
		return api.Account{}, err
	}
	return c.Platform.Account(ctx)
}

// addCardAmount stands in the INITIALIZE FOR LOAD that proves a card; no CREDIT
// follows it.
const addCardAmount wallet.Fen = 1

// AddCard binds the card on the reader to the account: its MAC1 over a leased
// terminal number proves that it is here, and with which balance. pin is asked where
// the card wants its PIN first; nil: nobody knows it.
func (c *Core) AddCard(ctx context.Context, pin func(triesLeft int) ([]byte, error)) (api.Card, error) {
	if err := c.connect(ctx); err != nil {
		return api.Card{}, err
	}
	purse, err := c.findMoneyCard(ctx)
	if err != nil {
		return api.Card{}, err
	}
	script, err := scriptFor(c.Platform.Session(), wallet.KindLoad, purse.Profile)
	if err != nil {
		return api.Card{}, err
	}
	lease, err := c.Platform.TakeLease(ctx)
	if err != nil {
		return api.Card{}, err
	}
	var steps []wallet.StepResult
	err = c.withCard(ctx, func(session reader.Session, _ reader.Info) (err error) {
		desk := c.desk(session)
		desk.PIN = pin
		steps, _, err = desk.OpenForCard(ctx, purse.ASN, purse.Profile, script, lease.TID)
		return err
	})
	if err != nil {
		return api.Card{}, err
	}
	open := api.Open{TID: lease.TID, Amount: addCardAmount, Steps: steps}
	return c.Platform.AddCard(ctx, api.CardRequest{ASN: purse.ASN, Profile: purse.Profile.LoadName(), Open: open})
}

func (c *Core) connect(ctx context.Context) error {
	if c.Platform == nil {
		return &Failure{Code: "PROFILE_INCOMPLETE"}
	}
	return c.Platform.Connect(ctx)
}
