package mockplatform

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
)

// What a state permits is asked here and nowhere else: a.allows for an account,
// k.allows for a card. Where the answer is no, accountRefusal says which state refused
// and when it ends.

// The acts by the names that the routes use (protocol §2.15).
const (
	actLoad     = states.Load
	actPay      = states.Pay
	actCreditIn = states.CreditIn
	actPayOut   = states.PayOut
	actQuery    = states.Query
	actComplete = states.Complete
)

// allows tells whether the account's state permits an act. What ends a state by itself
// was done when the request came in (settleTimers).
func (a *account) allows(act states.Act) bool {
	return a != nil && states.AccountAllows(states.AccountState(a.state), act)
}

// allows tells whether the card's state permits an act.
func (k *card) allows(act states.Act) bool {
	return k != nil && states.CardAllows(states.CardState(k.state), act)
}

// accountRefusal is the signed refusal of an act that the account's state does not
// permit; nil lets pass. It names what refused and when that ends by itself.
func (p *Platform) accountRefusal(tx *Tx, a *account, act states.Act) (*refusal, error) {
	if a.allows(act) {
		return nil, nil
	}
	found := refuse(api.CodeAccountState)
	if a == nil {
		return found, nil
	}
	standing, err := accountStanding(tx, a)
	found.state.Standing, found.state.RetryAfter = standing.Name, standing.Until
	return found, err
}

// accountFailure is accountRefusal for routes whose refusals are not signed.
func (p *Platform) accountFailure(tx *Tx, a *account, act states.Act) (*reply, error) {
	found, err := p.accountRefusal(tx, a, act)
	if err != nil || found == nil {
		return nil, err
	}
	answer := standingFailure(found.code, found.state.Standing, found.state.RetryAfter)
	return &answer, nil
}

// standingFailure is a refusal without signature that names a state.
func standingFailure(code, standing string, until *time.Time) reply {
	answer, _ := encoded(statusOf(code), api.ErrorBody{Error: api.Error{
		Code: code, Text: refusalText(code), Standing: standing, Until: until,
	}}) // strings and a time always encode
	return answer
}

// accountHold is a row of account_holds.
type accountHold struct {
	hold          states.Hold
	since, until  time.Time // until zero: it does not end by itself
	actor, reason string
}

func holdsOf(tx *Tx, user string) (all states.Hold, rows []accountHold, err error) {
	err = tx.each(`SELECT hold, since, until, actor, reason FROM account_holds WHERE user = ?`, []any{user}, func(found *sql.Rows) error {
		var row accountHold
		var name string
		var since, until int64
		if err := found.Scan(&name, &since, &until, &row.actor, &row.reason); err != nil {
			return err
		}
		hold, known := states.HoldNamed(name)
		if !known {
			return fmt.Errorf("an account has the unknown hold %q", name)
		}
		row.hold, row.since = hold, time.UnixMilli(since).UTC()
		if until > 0 {
			row.until = time.UnixMilli(until).UTC()
		}
		all, rows = all|hold, append(rows, row)
		return nil
	})
	return all, rows, err
}

// standing is the one thing that gives an account or a card its state.
type standing struct {
	Name  string     // of the weightiest hold, or of the state
	Since time.Time  //
	Until *time.Time // when it ends by itself
	By    string     // user, staff, operator, platform
}

// accountStanding tells what gives an account its state.
func accountStanding(tx *Tx, a *account) (standing, error) {
	told := standing{Name: a.state}
	var since int64
	if _, err := tx.row(`SELECT since FROM account_life WHERE user = ?`, []any{a.id}, &since); err != nil {
		return told, err
	}
	if since > 0 {
		told.Since = time.UnixMilli(since).UTC()
	}
	all, rows, err := holdsOf(tx, a.id)
	if err != nil || states.PhaseOf(states.AccountState(a.state)) != states.PhaseOpen {
		return told, err
	}
	weightiest := states.Account{Phase: states.PhaseOpen, Holds: all}.Weightiest()
	for _, row := range rows {
		if row.hold == weightiest {
			told.Name, told.Since, told.By = row.hold.String(), row.since, row.actor
			if !row.until.IsZero() {
				told.Until = &row.until
			}
		}
	}
	return told, nil
}

// Who acts on an account, as account_holds keeps it.
const (
	byUser     = "user"
	byStaff    = "staff"
	byOperator = "operator"
	byPlatform = "platform"
)

// accountChange is an event on its way to an account.
type accountChange struct {
	event  states.AccountEvent
	until  time.Time // of the hold that the event lays; zero: it does not end by itself
	by     string    // user, staff, operator, platform
	actor  string    // for the audit log
	reason string
}

// changeAccount applies an event. It reports false where the table refuses it; nothing
// has changed then.
func (p *Platform) changeAccount(tx *Tx, a *account, change accountChange) (bool, error) {
	holds, _, err := holdsOf(tx, a.id)
	if err != nil {
		return false, err
	}
	before := states.Account{Phase: states.PhaseOf(states.AccountState(a.state)), Holds: holds}
	after, ok := states.NextAccount(before, change.event)
	if !ok {
		return false, nil
	}
	if before == after && states.Lays(change.event) == 0 {
		return true, nil
	}
	if err := p.writeHolds(tx, a.id, before, after, change); err != nil {
		return false, err
	}
	was, now := a.state, string(after.State())
	if now != was {
		a.state = now
		if err := tx.exec(`UPDATE users SET state = ? WHERE user = ?`, now, a.id); err != nil {
			return false, err
		}
		millis := p.now().UnixMilli()
		if err := tx.exec(`INSERT INTO account_life (user, since, last_active) VALUES (?1, ?2, ?2)
			ON CONFLICT (user) DO UPDATE SET since = excluded.since`, a.id, millis); err != nil {
			return false, err
		}
	}
	detail := fmt.Sprintf("%q -> %q", was, now)
	if change.reason != "" {
		detail = change.reason + ": " + detail
	}
	if change.actor == "" {
		change.actor = byPlatform
	}
	return true, p.audit(tx, change.actor, "account-"+string(change.event), a.id, detail)
}

// writeHolds writes what an event has laid and lifted. A hold that is laid again keeps
// its beginning and takes the new end.
func (p *Platform) writeHolds(tx *Tx, user string, before, after states.Account, change accountChange) error {
	for _, hold := range states.Holds() {
		switch {
		case before.Holds&hold != 0 && after.Holds&hold == 0:
			if err := tx.exec(`DELETE FROM account_holds WHERE user = ? AND hold = ?`, user, hold.String()); err != nil {
				return err
			}
		case after.Holds&hold != 0 && states.Lays(change.event)&hold != 0:
			var until int64
			if !change.until.IsZero() {
				until = change.until.UnixMilli()
			}
			err := tx.exec(`INSERT INTO account_holds (user, hold, since, until, actor, reason) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (user, hold) DO UPDATE SET until = excluded.until, actor = excluded.actor, reason = excluded.reason`,
				user, hold.String(), p.now().UnixMilli(), until, change.by, change.reason)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// silentAfter is how many years without a login make an account SILENT (M27).
const silentAfter = 1

// oralLossLife is how long a loss stands that was only told (§2.15).
const oralLossLife = 5 * 24 * time.Hour

// timersDue tells whether something of a person ends by itself now.
func timersDue(tx *Tx, user string, now time.Time) (bool, error) {
	var found int
	return tx.row(`SELECT 1 FROM account_holds WHERE user = ?1 AND until > 0 AND until <= ?2
		UNION ALL SELECT 1 FROM card_life l JOIN cards c ON c.asn = l.asn WHERE c.user = ?1 AND l.until > 0 AND l.until <= ?2`,
		[]any{user, now.UnixMilli()}, &found)
}

// settleTimers ends what ends by itself for one person. It loses nothing: what is due
// and was not done yet is done at the next request.
func (p *Platform) settleTimers(tx *Tx, user string) error {
	now := p.now()
	a, err := findAccount(tx, "user", user)
	if err != nil || a == nil {
		return err
	}
	_, rows, err := holdsOf(tx, user)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.until.IsZero() || row.until.After(now) {
			continue
		}
		event := states.ThawDue
		if row.hold == states.HoldOral {
			event = states.LossExpired
		}
		if _, err := p.changeAccount(tx, a, accountChange{event: event, by: byPlatform}); err != nil {
			return err
		}
	}
	return p.settleCardTimers(tx, user, now)
}

// noteActivity is called when a person logs in or renews a login: an account that was
// not used for a year falls silent first, and queries stay possible.
func (p *Platform) noteActivity(tx *Tx, user string) error {
	now := p.now()
	var last int64
	if _, err := tx.row(`SELECT last_active FROM account_life WHERE user = ?`, []any{user}, &last); err != nil {
		return err
	}
	if last > 0 && !time.UnixMilli(last).AddDate(silentAfter, 0, 0).After(now) {
		if err := p.fallSilent(tx, user); err != nil {
			return err
		}
	}
	return p.touchAccount(tx, user)
}

// strongLogin wakes a silent account: password and SMS code were right.
func (p *Platform) strongLogin(tx *Tx, a *account) error {
	if _, err := p.changeAccount(tx, a, accountChange{event: states.StrongLogin, by: byUser, actor: a.id}); err != nil {
		return err
	}
	return p.touchAccount(tx, a.id)
}

// touchAccount writes down that an account is used.
func (p *Platform) touchAccount(tx *Tx, user string) error {
	return tx.exec(`INSERT INTO account_life (user, since, last_active) VALUES (?1, ?2, ?2)
		ON CONFLICT (user) DO UPDATE SET last_active = excluded.last_active`, user, p.now().UnixMilli())
}

func (p *Platform) fallSilent(tx *Tx, user string) error {
	a, err := findAccount(tx, "user", user)
	if err != nil || a == nil {
		return err
	}
	_, err = p.changeAccount(tx, a, accountChange{event: states.FellSilent, by: byPlatform})
	return err
}

// SettleStates ends what ends by itself for everybody, lets unused accounts fall
// silent, and closes accounts that nothing is owed to. Serve calls it by itself; a
// request of a person does the same for that person.
func (p *Platform) SettleStates(ctx context.Context) error {
	now := p.now()
	var due []string
	err := p.store.View(ctx, func(tx *Tx) error {
		return tx.each(`SELECT user FROM account_holds WHERE until > 0 AND until <= ?1
			UNION SELECT c.user FROM card_life l JOIN cards c ON c.asn = l.asn WHERE l.until > 0 AND l.until <= ?1
			UNION SELECT user FROM users WHERE state = 'CLOSING'
			UNION SELECT l.user FROM account_life l JOIN users u ON u.user = l.user WHERE l.last_active <= ?2
				AND u.state NOT IN ('OPENING', 'CLOSING', 'CLOSED')
				AND NOT EXISTS (SELECT 1 FROM account_holds h WHERE h.user = l.user AND h.hold = 'SILENT')`,
			[]any{now.UnixMilli(), now.AddDate(-silentAfter, 0, 0).UnixMilli()}, func(rows *sql.Rows) error {
				var user string
				err := rows.Scan(&user)
				due = append(due, user)
				return err
			})
	})
	for _, user := range due {
		if err != nil {
			return err
		}
		err = p.store.Update(ctx, func(tx *Tx) error { return p.settleStatesOf(tx, user) })
	}
	return err
}

func (p *Platform) settleStatesOf(tx *Tx, user string) error {
	if err := p.settleTimers(tx, user); err != nil {
		return err
	}
	var last int64
	known, err := tx.row(`SELECT last_active FROM account_life WHERE user = ?`, []any{user}, &last)
	if err != nil {
		return err
	}
	if known && !time.UnixMilli(last).AddDate(silentAfter, 0, 0).After(p.now()) {
		if err := p.fallSilent(tx, user); err != nil {
			return err
		}
	}
	return p.closeIfNothingOwed(tx, user)
}

// showStanding adds to an account what gives it its state, and what that permits.
func showStanding(tx *Tx, a *account, shown *api.Account) error {
	told, err := accountStanding(tx, a)
	if err != nil {
		return err
	}
	shown.Standing, shown.By, shown.StateUntil = told.Name, told.By, told.Until
	if !told.Since.IsZero() {
		shown.StateSince = &told.Since
	}
	shown.Allowed = []string{}
	for _, act := range states.Acts() {
		if a.allows(act) {
			shown.Allowed = append(shown.Allowed, string(act))
		}
	}
	return nil
}
