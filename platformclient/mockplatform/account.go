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
		now := c.p.now()
		shown = api.Account{User: a.id, Phone: a.phone, State: a.state, Tier: a.tier, Limits: c.p.policy.Limits, LimitsReset: nextDay(now)}
		if shown.Main, err = balance(tx, mainAccount(a.id)); err != nil {
			return err
		}
		if shown.Held, err = balance(tx, heldAccount(a.id)); err != nil {
			return err
		}
		sums, err := sumsOfDay(tx, wallet.ASN{}, a.id, c.sender.device, businessDay(now))
		if err != nil {
			return err
		}
		shown.LoadedToday = sums.accountSum
		if shown.LimitStates, err = c.p.limitStates(tx, a, c.sender.device); err != nil {
			return err
		}
		shown.Cards, err = cardsOf(tx, a.id)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(shown)
}
