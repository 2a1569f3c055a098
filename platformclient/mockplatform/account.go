package mockplatform

import (
	"database/sql"
	"net/http"
	"slices"
	"strings"
	"time"

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
	if shown.Cards, err = cardsOf(tx, a.id); err != nil {
		return shown, err
	}
	return shown, showStanding(tx, a, &shown)
}

// showStatement lists the postings on the main account with the balance after each,
// newest first. from and to are business days (YYYY-MM-DD, both included).
func showStatement(c *call) (reply, error) {
	query := c.req.URL.Query()
	from, fromOK := dayParameter(query.Get("from"), "00000000")
	to, toOK := dayParameter(query.Get("to"), "99999999")
	if !fromOK || !toOK {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "from and to are dates such as 2026-01-31"), nil
	}
	kind := query.Get("type")
	statement := api.Statement{Lines: []api.StatementLine{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		var running wallet.Fen
		return tx.each(`SELECT amount, type, order_id, day, time FROM postings WHERE account = ? ORDER BY id`,
			[]any{mainAccount(c.sender.user)}, func(rows *sql.Rows) error {
				var line api.StatementLine
				var day string
				var millis int64
				if err := rows.Scan(&line.Amount, &line.Type, &line.Order, &day, &millis); err != nil {
					return err
				}
				running += line.Amount
				line.Balance, line.Time = running, time.UnixMilli(millis).UTC()
				if day >= from && day <= to && (kind == "" || kind == line.Type) {
					statement.Lines = append(statement.Lines, line)
				}
				return nil
			})
	})
	if err != nil {
		return reply{}, err
	}
	slices.Reverse(statement.Lines)
	return success(statement)
}

// dayParameter accepts a date or a full RFC 3339 time, of which the business day counts.
func dayParameter(text, none string) (string, bool) {
	if text == "" {
		return none, true
	}
	if moment, err := time.Parse(time.RFC3339, text); err == nil {
		return businessDay(moment), true
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", false
	}
	return strings.ReplaceAll(text, "-", ""), true
}
