package mockplatform

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

const fundingColumns = `id, key, user, device, core, amount, kind, source, source_ref, bank_serial, state, cause, tries, next, created, finished, receipt`

func scanFunding(scan func(...any) error) (*funding, error) {
	f := &funding{}
	var state string
	var next, created, finished int64
	err := scan(&f.id, &f.key, &f.user, &f.device, &f.core, &f.amount, &f.kind, &f.source, &f.ref, &f.serial, &state, &f.cause, &f.tries,
		&next, &created, &finished, &f.receipt)
	if err != nil {
		return nil, err
	}
	f.state, f.created = wallet.FundingState(state), time.UnixMilli(created).UTC()
	f.next, f.finished = timeOrNone(next), timeOrNone(finished)
	return f, nil
}

// timeOrNone and millisOrNone keep the zero time as 0.
func timeOrNone(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}

func millisOrNone(moment time.Time) int64 {
	if moment.IsZero() {
		return 0
	}
	return moment.UnixMilli()
}

// findFundings lists the fundings that fit a condition, newest first.
func findFundings(tx *Tx, where string, args ...any) (fundings []*funding, err error) {
	err = tx.each(`SELECT `+fundingColumns+` FROM fundings WHERE `+where+` ORDER BY created DESC, id DESC`, args, func(rows *sql.Rows) error {
		f, err := scanFunding(rows.Scan)
		fundings = append(fundings, f)
		return err
	})
	return fundings, err
}

// findFunding finds one funding, or nil.
func findFunding(tx *Tx, where string, args ...any) (*funding, error) {
	fundings, err := findFundings(tx, where, args...)
	if err != nil || len(fundings) == 0 {
		return nil, err
	}
	return fundings[0], nil
}

func insertFunding(tx *Tx, f *funding) error {
	return tx.exec(`INSERT INTO fundings (`+fundingColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)`,
		f.id, f.key, f.user, f.device, f.core, int64(f.amount), f.kind, f.source, f.ref, f.serial, string(f.state), f.cause, f.tries,
		millisOrNone(f.next), f.created.UnixMilli())
}

// saveFunding writes what can change about a funding.
func saveFunding(tx *Tx, f *funding) error {
	return tx.exec(`UPDATE fundings SET source_ref = ?, bank_serial = ?, state = ?, cause = ?, tries = ?, next = ?, finished = ?, receipt = ?
		WHERE id = ?`, f.ref, f.serial, string(f.state), f.cause, f.tries, millisOrNone(f.next), millisOrNone(f.finished), f.receipt, f.id)
}

// fundingStatement is what a person is told of a funding.
func fundingStatement(f *funding, request string) (wallet.FundingStatement, error) {
	told := wallet.FundingStatement{
		Key: f.key, Funding: f.id, Request: request, State: f.state, Amount: f.amount, Source: f.source,
		Code: f.cause, Text: refusalText(f.cause),
	}
	if f.state == wallet.FundingPending && isPage(f.ref) {
		told.Page = f.ref
	}
	if len(f.receipt) == 0 {
		return told, nil
	}
	told.ReceiptBody = &wallet.FundingReceipt{}
	return told, json.Unmarshal(f.receipt, told.ReceiptBody)
}

// fundingAnswer signs how a funding stands: 200 where that is final, 202 otherwise.
func (p *Platform) fundingAnswer(f *funding, request string) (reply, error) {
	told, err := fundingStatement(f, request)
	if err != nil {
		return reply{}, err
	}
	status := http.StatusAccepted
	if f.state.Final() {
		status = http.StatusOK
	}
	return p.signedFunding(status, told)
}

func (p *Platform) signedFunding(status int, told wallet.FundingStatement) (reply, error) {
	told.Issued = p.now()
	signed, err := p.sign(wallet.DomainFunding, told)
	if err != nil {
		return reply{}, err
	}
	return encoded(status, api.FundingAnswer{State: &signed})
}

// declineFunding signs a refusal, which is final for the key.
func (p *Platform) declineFunding(key, request string, amount wallet.Fen, found *refusal) (reply, error) {
	return p.signedFunding(statusOf(found.code), wallet.FundingStatement{
		Key: key, Request: request, State: wallet.FundingDeclined, Amount: amount, Code: found.code, Text: refusalText(found.code),
		RetryAfter: found.state.RetryAfter, LimitFen: found.state.LimitFen, WrongsLeft: found.state.WrongsLeft, Standing: found.state.Standing,
	})
}

// showFunding is GET /v1/fundings/{id}, by number or key. An open one asks its source
// first, unless that was done a moment ago.
func showFunding(c *call) (reply, error) {
	id := c.req.PathValue("id")
	return c.pursued(`user = ? AND (id = ? OR key = ?)`, c.sender.user, id, id)
}

func listFundings(c *call) (reply, error) {
	list := api.Fundings{Fundings: []api.Funding{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		fundings, err := findFundings(tx, `user = ?`, c.sender.user)
		if err != nil {
			return err
		}
		for _, f := range fundings {
			line := api.Funding{
				Funding: f.id, Key: f.key, Kind: f.kind, Source: f.source, State: f.state, Amount: f.amount, Created: f.created,
			}
			if !f.finished.IsZero() {
				line.Finished = &f.finished
			}
			told, err := fundingStatement(f, "")
			if err != nil {
				return err
			}
			line.ReceiptBody = told.ReceiptBody
			list.Fundings = append(list.Fundings, line)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

// abandonFunding closes a key that was never seen with a tombstone, so that a request
// which arrives late is refused. A key that was seen tells how it stands.
func abandonFunding(c *call) (reply, error) {
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	key := c.req.PathValue("id")
	var answer reply
	var seen bool
	err := c.update(func(tx *Tx) error {
		f, err := findFunding(tx, `user = ? AND key = ?`, c.sender.user, key)
		if err != nil || f != nil {
			seen = f != nil
			return err
		}
		kept, err := c.p.stored(tx, c.sender.user, api.PathFundings, key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer, err = c.p.repeatFundingRefusal(kept, c.key)
			return err
		}
		tombstone, err := c.p.declineFunding(key, key, 0, refuse(api.CodeAbandoned))
		if err != nil {
			return err
		}
		if err := c.p.storeAnswer(tx, c.sender.user, api.PathFundings, key, nil, tombstone); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.user, "funding-abandoned", key, ""); err != nil {
			return err
		}
		answer, err = c.p.declineFunding(key, c.key, 0, refuse(api.CodeAbandoned))
		answer.status = http.StatusOK
		return err
	})
	if err != nil || !seen {
		return answer, err
	}
	return c.pursued(`user = ? AND key = ?`, c.sender.user, key)
}

// repeatFundingRefusal signs a stored refusal anew, as an answer to this request.
func (p *Platform) repeatFundingRefusal(kept *storedAnswer, request string) (reply, error) {
	var told api.FundingAnswer
	var state wallet.FundingStatement
	if err := json.Unmarshal(kept.answer.body, &told); err != nil {
		return reply{}, err
	}
	if err := p.signerKeys().Open(wallet.DomainFunding, *told.State, &state); err != nil {
		return reply{}, err
	}
	state.Request = request
	return p.signedFunding(http.StatusOK, state)
}
