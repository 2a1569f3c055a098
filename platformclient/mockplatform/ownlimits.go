package mockplatform

import (
	"context"
	"database/sql"
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// limitRoutes serves limits (§2.14).
func (p *Platform) limitRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("GET", api.PathLimits, authSession, showLimits)
	handle("POST", api.PathLimits, authSession, changeLimit)
}

// limitStates tells the limits of an account and a device, as a payment of now with the
// payment password would meet them, and after them those of each card.
func (p *Platform) limitStates(tx *Tx, payer *account, device string) ([]api.LimitState, error) {
	facts, err := p.limitFacts(tx, payer, device, wallet.ASN{}, true)
	if err != nil {
		return nil, err
	}
	states := []api.LimitState{}
	for _, limit := range rules.Limits(facts, rules.Payment{}) {
		if !limit.OfCard {
			states = append(states, limitState(limit, nil))
		}
	}
	cards, err := cardsOf(tx, payer.id)
	if err != nil {
		return nil, err
	}
	for _, k := range cards {
		if k.State == stateReplaced { // it is never loaded again
			continue
		}
		sums, err := sumsOfDay(tx, k.ASN, payer.id, device, businessDay(facts.Now))
		if err != nil {
			return nil, err
		}
		facts.Named, facts.Used.CardCount, facts.Used.CardDay = k.Named, sums.cardCount, sums.cardSum
		for _, limit := range rules.Limits(facts, rules.Payment{}) {
			if !limit.OfCard {
				continue
			}
			// What a card holds is known to the card alone: its cap is told without what is left.
			limit.Alone = limit.Code == api.CodeLimitPurseCap
			states = append(states, limitState(limit, &k.ASN))
		}
	}
	return states, nil
}

func limitState(limit rules.Limit, card *wallet.ASN) api.LimitState {
	state := api.LimitState{Name: limit.Name, Code: limit.Code, Limit: limit.Value, Count: limit.Count, Card: card, Resets: limit.Resets, Own: limit.Own}
	if !limit.Alone {
		used, left := limit.Used, limit.Left()
		state.Used, state.Left = &used, &left
	}
	return state
}

// showLimits is GET /v1/limits.
func showLimits(c *call) (answer reply, err error) {
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		shown, err := c.limits(tx)
		if err != nil {
			return err
		}
		answer, err = success(shown)
		return err
	})
	return answer, err
}

func (c *call) limits(tx *Tx) (api.LimitsShown, error) {
	shown := api.LimitsShown{Devices: []api.DeviceLimit{}}
	payer, err := findAccount(tx, "user", c.sender.user)
	if err != nil || payer == nil {
		return shown, errOr(err, sql.ErrNoRows)
	}
	if shown.Limits, err = c.p.limitStates(tx, payer, c.sender.device); err != nil {
		return shown, err
	}
	if shown.UserDay, _, err = ownLimits(tx, payer.id, ""); err != nil {
		return shown, err
	}
	err = tx.each(`SELECT device, name FROM devices WHERE user = ? AND state = ? ORDER BY enrolled, device`,
		[]any{payer.id, stateActive}, func(rows *sql.Rows) error {
			var one api.DeviceLimit
			err := rows.Scan(&one.Device, &one.Name)
			one.This = one.Device == c.sender.device
			shown.Devices = append(shown.Devices, one)
			return err
		})
	if err != nil {
		return shown, err
	}
	for i := range shown.Devices {
		one := &shown.Devices[i]
		if _, one.Day, err = ownLimits(tx, payer.id, one.Device); err != nil {
			return shown, err
		}
		sums, err := sumsOfDay(tx, wallet.ASN{}, payer.id, one.Device, businessDay(c.p.now()))
		if err != nil {
			return shown, err
		}
		one.Used = sums.devices
	}
	return shown, nil
}

// changeLimit is POST /v1/limits: one day limit of the person's own.
func changeLimit(c *call) (reply, error) {
	var request api.LimitsChange
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Day != nil && (*request.Day < 0 || *request.Day > maxCardFen) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	core := api.LimitCore(request, c.key)
	password := c.p.openPayment(core, request.PaySeal)
	var answer reply
	err := c.update(func(tx *Tx) (err error) {
		answer, err = c.forGood(tx, c.sender.user, api.PathLimits, api.OrderCoreHash(core), func() (reply, error) {
			return c.changeLimit(tx, request, password)
		})
		return err
	})
	return answer, err
}

// forGood answers a key with what was answered to it before, and keeps the answer of work
// where it is the first. What failed for good is kept as well: the same key never
// succeeds later.
func (c *call) forGood(tx *Tx, owner, route string, core []byte, work func() (reply, error)) (reply, error) {
	kept, err := c.p.stored(tx, owner, route, c.key)
	if err != nil {
		return reply{}, err
	}
	if kept != nil {
		return kept.replay(core), nil
	}
	answer, err := work()
	if err != nil {
		return reply{}, err
	}
	return answer, c.p.storeAnswer(tx, owner, route, c.key, core, answer)
}

func (c *call) changeLimit(tx *Tx, request api.LimitsChange, password openedSeal) (reply, error) {
	payer, err := findAccount(tx, "user", c.sender.user)
	if err != nil || payer == nil {
		return reply{}, errOr(err, sql.ErrNoRows)
	}
	before, beforeDevice, err := ownLimits(tx, payer.id, request.Device)
	if err != nil {
		return reply{}, err
	}
	policy := c.p.policy.Limits
	most := rules.AccountDay(policy, 2)
	if request.Device != "" {
		before = beforeDevice
		if policy.DeviceDaySum > 0 {
			most = policy.DeviceDaySum
		}
		var found int
		mine, err := tx.row(`SELECT 1 FROM devices WHERE device = ? AND user = ? AND state = ?`, []any{request.Device, payer.id, stateActive}, &found)
		if err != nil || !mine {
			return failure(http.StatusNotFound, api.CodeNotFound, "there is no such device in the account"), err
		}
	}
	if request.Day != nil && most > 0 && *request.Day > most {
		return failure(statusOf(api.CodeLimitTooHigh), api.CodeLimitTooHigh, refusalText(api.CodeLimitTooHigh)), nil
	}
	if rules.Raises(before, request.Day) {
		if len(request.PaySeal) == 0 {
			return failure(statusOf(api.CodeLimitNeedsPassword), api.CodeLimitNeedsPassword, refusalText(api.CodeLimitNeedsPassword)), nil
		}
		if found, err := c.p.judgePassword(tx, payer, password); err != nil || found != nil {
			return refusedUnsigned(found), err
		}
	}
	if err := c.saveLimit(tx, payer.id, request, before); err != nil {
		return reply{}, err
	}
	shown, err := c.limits(tx)
	if err != nil {
		return reply{}, err
	}
	return success(shown)
}

func (c *call) saveLimit(tx *Tx, user string, request api.LimitsChange, before *wallet.Fen) error {
	var err error
	if request.Day == nil {
		err = tx.exec(`DELETE FROM own_limits WHERE user = ? AND device = ?`, user, request.Device)
	} else {
		err = tx.exec(`INSERT INTO own_limits (user, device, day_sum, changed) VALUES (?, ?, ?, ?)
			ON CONFLICT (user, device) DO UPDATE SET day_sum = excluded.day_sum, changed = excluded.changed`,
			user, request.Device, int64(*request.Day), c.p.now().UnixMilli())
	}
	if err != nil {
		return err
	}
	subject := user
	if request.Device != "" {
		subject = request.Device
	}
	return c.p.audit(tx, c.sender.actor(), "limit", subject, yuanOrNone(before)+" -> "+yuanOrNone(request.Day))
}

func yuanOrNone(amount *wallet.Fen) string {
	if amount == nil {
		return "none"
	}
	return amount.Yuan()
}

// refusedUnsigned is a refusal that closes no order.
func refusedUnsigned(found *refusal) reply {
	if found == nil {
		return reply{}
	}
	return failure(statusOf(found.code), found.code, refusalText(found.code))
}

// NameCard writes down that the issuer knows who holds a card: it may hold more
// (protocol §2.14). A card that was issued stays as it is otherwise.
func (p *Platform) NameCard(ctx context.Context, asn wallet.ASN) error {
	return p.store.Update(ctx, func(tx *Tx) error {
		known, err := tx.changed(`UPDATE cards SET named = 1 WHERE asn = ?`, asn.String())
		if err != nil || known == 0 {
			return errOr(err, ErrNoSubject)
		}
		return p.audit(tx, "admin", "card-named", asn.Masked(), "")
	})
}
