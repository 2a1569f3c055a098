package mockplatform

import (
	"database/sql"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func showAccount(c *call) (reply, error) {
	var shown api.Account
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		a, err := findAccount(tx, "user", c.sender.user)
		if err != nil || a == nil {
			return errOr(err, sql.ErrNoRows)
		}
		shown, err = c.p.accountShown(tx, a, c.sender.device)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(shown)
}

// accountShown is an account as its person sees it from one of the computers.
func (p *Platform) accountShown(tx *Tx, a *account, device string) (shown api.Account, err error) {
	now := p.now()
	shown = api.Account{User: a.id, Phone: a.phone, State: a.state, Tier: a.tier, Limits: p.policy.Limits, LimitsReset: nextDay(now)}
	if shown.Main, err = balance(tx, mainAccount(a.id)); err != nil {
		return shown, err
	}
	if shown.Held, err = balance(tx, heldAccount(a.id)); err != nil {
		return shown, err
	}
	sums, err := sumsOfDay(tx, wallet.ASN{}, a.id, device, businessDay(now))
	if err != nil {
		return shown, err
	}
	shown.LoadedToday = sums.accountSum
	if shown.LimitStates, err = p.limitStates(tx, a, device); err != nil {
		return shown, err
	}
	if shown.Cards, err = cardsOf(tx, a.id); err != nil {
		return shown, err
	}
	return shown, showStanding(tx, a, &shown)
}
