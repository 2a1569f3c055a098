package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// Money that goes back to a bound bank card (§2.18). It is held first and leaves with
// the bank's word: confirmed, it is posted; refused, it is released. A lost answer is
// asked for again under the same serial. What goes back is a refund of payments that
// came from this very card; only a real-name account may take out more than that.

// The postings of a return, under its number.
const (
	postingReturnHold = "bank-return-hold"
	postingReturnPost = "bank-return-post"
	postingReturnVoid = "bank-return-void"
)

// bankReturn is a row of bank_returns with its binding and legs.
type bankReturn struct {
	id, key, user, binding string
	core                   []byte
	amount                 wallet.Fen
	state, cause           string
	tries                  int
	next                   int64
	created                time.Time
	finished               int64
	bankName, last4        string
	legs                   []bankLeg
}

// bankLeg is one question to the bank: a refund of a payment, or a withdrawal.
type bankLeg struct {
	serial, funding string
	amount          wallet.Fen
	state           string
}

func findReturns(tx *Tx, where string, args ...any) (found []*bankReturn, err error) {
	err = tx.each(`SELECT r.id, r.key, r."user", r.binding, r.core, r.amount, r.state, r.cause, r.tries, r.next, r.created, r.finished, b.bank_name, b.last4
		FROM bank_returns r JOIN bank_bindings b ON b.id = r.binding WHERE `+where+` ORDER BY r.created DESC, r.id DESC`, args, func(rows *sql.Rows) error {
		r := &bankReturn{}
		var created int64
		err := rows.Scan(&r.id, &r.key, &r.user, &r.binding, &r.core, &r.amount, &r.state, &r.cause, &r.tries, &r.next, &created, &r.finished, &r.bankName, &r.last4)
		r.created = time.UnixMilli(created).UTC()
		found = append(found, r)
		return err
	})
	for _, r := range found {
		if err != nil {
			return nil, err
		}
		err = tx.each(`SELECT serial, funding, amount, state FROM bank_legs WHERE return_id = ? ORDER BY serial`, []any{r.id}, func(rows *sql.Rows) error {
			var leg bankLeg
			err := rows.Scan(&leg.serial, &leg.funding, &leg.amount, &leg.state)
			r.legs = append(r.legs, leg)
			return err
		})
	}
	return found, err
}

func findReturn(tx *Tx, where string, args ...any) (*bankReturn, error) {
	found, err := findReturns(tx, where, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// returnable lists what came from this very card, under whichever version of its
// binding, and was not given back; youngest first. A bank that refunds a payment once
// has nothing more for one that was refunded in part.
func returnable(tx *Tx, b *binding, once bool) (payments []bankPayment, err error) {
	err = tx.each(`SELECT f.id, f.amount, COALESCE((SELECT SUM(l.amount) FROM bank_legs l WHERE l.funding = f.id AND l.state <> 'DECLINED'), 0)
		FROM bank_asks a JOIN fundings f ON f.id = a.funding
		WHERE f."user" = ? AND f.state = 'DONE' AND a.card_ref = ? AND a.binding <> '' ORDER BY f.created DESC, f.id DESC`,
		[]any{b.user, b.cardRef}, func(rows *sql.Rows) error {
			var one bankPayment
			var given wallet.Fen
			if err := rows.Scan(&one.funding, &one.left, &given); err != nil {
				return err
			}
			if one.left -= given; one.left > 0 && !(once && given > 0) {
				payments = append(payments, one)
			}
			return nil
		})
	return payments, err
}

// requestBankReturn is POST /v1/bank-returns.
func requestBankReturn(c *call) (reply, error) {
	var request api.BankReturnRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Amount <= 0 || request.Amount > maxCardFen || len(request.Binding) > 64 {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	core := api.BankReturnCore{Binding: request.Binding, Amount: request.Amount, Key: c.key}
	digits, err := api.OpenBankReturn(c.p.sealKey, core, request.PaySeal)
	password := openedSeal{digits: digits, opened: err == nil}
	hash := api.BankReturnCoreHash(core)
	channel, bankErr := c.p.bank(c.ctx)
	var answer reply
	var id string
	err = c.update(func(tx *Tx) error {
		id = ""
		kept, err := c.p.stored(tx, c.sender.user, api.PathBankReturns, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		r, err := findReturn(tx, `r."user" = ? AND r.key = ?`, c.sender.user, c.key)
		if err != nil {
			return err
		}
		if r != nil {
			id = r.id
			if string(r.core) != string(hash) {
				id, answer = "", failure(http.StatusUnprocessableEntity, api.CodeKeyReused, "this key belongs to another order")
			}
			return nil
		}
		if bankErr != nil { // nothing is begun without a bank; a key that is known was answered above
			answer = bankUnreachable()
			return nil
		}
		r, found, err := c.p.judgeReturn(tx, c, request, password, channel.facts().RefundOnce)
		if err != nil {
			return err
		}
		if found != nil {
			answer, err = c.p.declineReturn(c, request, found)
			if err != nil {
				return err
			}
			return c.p.storeAnswer(tx, c.sender.user, api.PathBankReturns, c.key, hash, answer)
		}
		r.core, id = hash, r.id
		return c.p.holdReturn(tx, r)
	})
	if err != nil || id == "" {
		return answer, err
	}
	return c.pursuedReturn(id)
}

// judgeReturn decides whether a return may begin, and from which payments.
func (p *Platform) judgeReturn(tx *Tx, c *call, request api.BankReturnRequest, password openedSeal, once bool) (*bankReturn, *refusal, error) {
	holder, err := findAccount(tx, "user", c.sender.user)
	if err != nil {
		return nil, nil, err
	}
	if wrong, err := p.accountRefusal(tx, holder, actPayOut); err != nil || wrong != nil {
		return nil, wrong, err
	}
	if code, err := p.moneyRefused(tx, holder.phone, request.CompanionSN, c.sender.thumbprint); err != nil || code != "" {
		return nil, refuse(code), err
	}
	if found, err := p.listRefusal(tx, rules.UsePayOut, holder.id, c.sender.device, nil); err != nil || found != nil {
		return nil, found, err
	}
	b, err := findBinding(tx, holder.id, request.Binding)
	if err != nil {
		return nil, nil, err
	}
	if b == nil || b.state != api.BankBound {
		return nil, refuse(api.CodeBankBinding), nil
	}
	if wrong, err := p.judgePassword(tx, holder, password); err != nil || wrong != nil {
		return nil, wrong, err
	}
	main, err := balance(tx, mainAccount(holder.id))
	if err != nil {
		return nil, nil, err
	}
	if main < request.Amount {
		return nil, refuse(api.CodeBalanceShort), nil
	}
	r := &bankReturn{key: c.key, user: holder.id, binding: b.id, amount: request.Amount, state: api.BankReturnPending, created: p.now()}
	if r.id, err = p.newOrderID(tx); err != nil {
		return nil, nil, err
	}
	found, err := r.split(tx, b, once, holder.tier == api.TierRealName)
	return r, found, err
}

// split divides the amount into refunds of single payments and, for an account that
// may withdraw, a rest.
func (r *bankReturn) split(tx *Tx, b *binding, once, withdraws bool) (*refusal, error) {
	payments, err := returnable(tx, b, once)
	if err != nil {
		return nil, err
	}
	rest := r.amount
	add := func(funding string, amount wallet.Fen) {
		r.legs = append(r.legs, bankLeg{serial: fmt.Sprintf("%s-%03d", r.id, len(r.legs)+1), funding: funding, amount: amount, state: api.BankReturnPending})
		rest -= amount
	}
	for _, one := range payments {
		if rest > 0 {
			add(one.funding, min(rest, one.left))
		}
	}
	switch {
	case rest == 0:
	case withdraws:
		add("", rest)
	default:
		found := refuse(api.CodeBankReturnOver)
		found.state.LimitFen = r.amount - rest
		return found, nil
	}
	return nil, nil
}

// holdReturn begins a return: the money is held in the commit that stores it, before
// the bank hears of it.
func (p *Platform) holdReturn(tx *Tx, r *bankReturn) error {
	err := p.post(tx, transfer{kind: postingReturnHold, order: r.id, legs: []leg{{mainAccount(r.user), -r.amount}, {heldAccount(r.user), r.amount}}})
	if err != nil {
		return err
	}
	err = tx.exec(`INSERT INTO bank_returns (id, key, "user", binding, core, amount, state, next, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.id, r.key, r.user, r.binding, r.core, int64(r.amount), r.state, r.created.UnixMilli(), r.created.UnixMilli())
	for _, leg := range r.legs {
		if err == nil {
			err = tx.exec(`INSERT INTO bank_legs (serial, return_id, funding, amount, state) VALUES (?, ?, ?, ?, ?)`, leg.serial, r.id, leg.funding, int64(leg.amount), leg.state)
		}
	}
	if err != nil {
		return err
	}
	return p.audit(tx, r.user, "bank-return", r.id, r.amount.Yuan())
}

// pursueReturn asks the bank for every leg that is open, and books what it says. That
// it is going to ask is on the disk before it does.
func (p *Platform) pursueReturn(ctx context.Context, route, id string) error {
	var r *bankReturn
	var b *binding
	err := p.update(ctx, route, func(tx *Tx) (err error) {
		if r, err = findReturn(tx, `r.id = ?`, id); err != nil || r == nil || r.state != api.BankReturnPending {
			return err
		}
		if b, err = findBinding(tx, r.user, r.binding); err != nil {
			return err
		}
		pause := min(fundingPause<<min(r.tries, 16), fundingLongest)
		return tx.exec(`UPDATE bank_returns SET tries = tries + 1, next = ? WHERE id = ?`, p.now().Add(pause).UnixMilli(), id)
	})
	if err != nil || r == nil || r.state != api.BankReturnPending {
		return err
	}
	channel, err := p.bank(ctx)
	if err != nil {
		return nil // it stays and is asked for again
	}
	for _, leg := range r.legs {
		if leg.state != api.BankReturnPending {
			continue
		}
		outcome, err := p.askLeg(ctx, channel, b, leg)
		if err != nil || outcome.State != bankapi.StateRefunded && outcome.State != bankapi.StateRefused {
			continue
		}
		if err := p.update(ctx, route, func(tx *Tx) error { return p.bookLeg(tx, id, leg.serial, outcome) }); err != nil {
			return err
		}
	}
	return nil
}

// askLeg asks for a refund or a withdrawal. The serial makes it one, so that asking
// again is how a lost answer is found.
func (p *Platform) askLeg(ctx context.Context, channel bankChannel, b *binding, leg bankLeg) (bankapi.Outcome, error) {
	if leg.funding != "" {
		return channel.do(ctx, bankapi.PathRefunds, bankapi.FollowRequest{Serial: leg.serial, Of: leg.funding, Amount: leg.amount})
	}
	token, err := p.bankToken(b)
	if err != nil {
		return bankapi.Outcome{}, err
	}
	return channel.do(ctx, bankapi.PathPayouts, bankapi.PayoutRequest{Serial: leg.serial, Token: token, Amount: leg.amount})
}

// bookLeg posts or releases the money of one leg, once, and ends the return with its
// last one.
func (p *Platform) bookLeg(tx *Tx, id, serial string, outcome bankapi.Outcome) error {
	r, err := findReturn(tx, `r.id = ?`, id)
	if err != nil || r == nil {
		return err
	}
	open, done := 0, wallet.Fen(0)
	for i := range r.legs {
		leg := &r.legs[i]
		if leg.serial == serial && leg.state == api.BankReturnPending {
			if err := p.postLeg(tx, r, leg, outcome); err != nil {
				return err
			}
		}
		switch leg.state {
		case api.BankReturnPending:
			open++
		case api.BankReturnDone:
			done += leg.amount
		}
	}
	if open > 0 || r.state != api.BankReturnPending {
		return nil
	}
	r.state = api.BankReturnDone
	if done == 0 {
		r.state = api.BankReturnDeclined
	}
	r.finished = p.now().UnixMilli()
	err = tx.exec(`UPDATE bank_returns SET state = ?, cause = ?, finished = ? WHERE id = ?`, r.state, r.cause, r.finished, r.id)
	if err != nil {
		return err
	}
	if err := p.audit(tx, r.user, "bank-return-"+r.state, r.id, done.Yuan()); err != nil {
		return err
	}
	answer, err := p.returnAnswer(r, r.key)
	if err != nil {
		return err
	}
	return p.storeAnswer(tx, r.user, api.PathBankReturns, r.key, r.core, answer)
}

func (p *Platform) postLeg(tx *Tx, r *bankReturn, one *bankLeg, outcome bankapi.Outcome) error {
	kind, to := postingReturnVoid, mainAccount(r.user)
	one.state = api.BankReturnDeclined
	if outcome.State == bankapi.StateRefunded {
		kind, to, one.state = postingReturnPost, accountBankClearing, api.BankReturnDone
	} else {
		r.cause = bankRefusal(outcome).code
		if err := tx.exec(`UPDATE bank_returns SET cause = ? WHERE id = ?`, r.cause, r.id); err != nil {
			return err
		}
	}
	if err := tx.exec(`UPDATE bank_legs SET state = ? WHERE serial = ?`, one.state, one.serial); err != nil {
		return err
	}
	return p.post(tx, transfer{kind: kind, order: r.id, legs: []leg{{heldAccount(r.user), -one.amount}, {to, one.amount}}})
}

// tell is what a person is told of a return.
func (r *bankReturn) tell(request string) api.BankReturnState {
	told := api.BankReturnState{
		Key: r.key, Return: r.id, Request: request, State: r.state, Amount: r.amount, Binding: r.binding, Bank: r.bankName, Last4: r.last4, Created: r.created,
		Code: r.cause, Text: refusalText(r.cause),
	}
	for _, leg := range r.legs {
		if leg.state == api.BankReturnDone {
			told.Returned += leg.amount
		}
	}
	return told
}

func (p *Platform) returnAnswer(r *bankReturn, request string) (reply, error) {
	status := http.StatusAccepted
	if r.state != api.BankReturnPending {
		status = http.StatusOK
	}
	return p.signedReturn(status, r.tell(request))
}

func (p *Platform) signedReturn(status int, told api.BankReturnState) (reply, error) {
	told.Issued = p.now()
	signed, err := p.sign(api.DomainBankReturn, told)
	if err != nil {
		return reply{}, err
	}
	return encoded(status, api.BankReturnAnswer{State: &signed})
}

// declineReturn signs a refusal, which is final for the key.
func (p *Platform) declineReturn(c *call, request api.BankReturnRequest, found *refusal) (reply, error) {
	return p.signedReturn(statusOf(found.code), api.BankReturnState{
		Key: c.key, Request: c.key, State: api.BankReturnDeclined, Amount: request.Amount, Binding: request.Binding, Code: found.code, Text: refusalText(found.code),
		RetryAfter: found.state.RetryAfter, LimitFen: found.state.LimitFen, WrongsLeft: found.state.WrongsLeft, Standing: found.state.Standing,
	})
}

// pursuedReturn asks the bank about an open return and answers how it stands then.
func (c *call) pursuedReturn(id string) (reply, error) {
	var r *bankReturn
	read := func(tx *Tx) (err error) {
		r, err = findReturn(tx, `r."user" = ? AND (r.id = ? OR r.key = ?)`, c.sender.user, id, id)
		return err
	}
	if err := c.p.store.View(c.ctx, read); err != nil {
		return reply{}, err
	}
	if r != nil && r.state == api.BankReturnPending && r.next <= c.p.now().UnixMilli() {
		if err := c.p.pursueReturn(c.ctx, c.route, r.id); err != nil {
			return reply{}, err
		}
		if err := c.p.store.View(c.ctx, read); err != nil {
			return reply{}, err
		}
	}
	if r == nil {
		return failure(http.StatusNotFound, api.CodeNotFound, "there is no such order"), nil
	}
	return c.p.returnAnswer(r, c.key)
}

// showBankReturn is GET /v1/bank-returns/{id}, by number or key.
func showBankReturn(c *call) (reply, error) { return c.pursuedReturn(c.req.PathValue("id")) }

func listBankReturns(c *call) (reply, error) {
	list := api.BankReturns{Returns: []api.BankReturnState{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		found, err := findReturns(tx, `r."user" = ?`, c.sender.user)
		for _, r := range found {
			list.Returns = append(list.Returns, r.tell(c.key))
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

// PursueReturns asks the bank about every return that is due.
func (p *Platform) PursueReturns(ctx context.Context) (err error) {
	var due []string
	err = p.store.View(ctx, func(tx *Tx) error {
		due = nil
		return tx.each(`SELECT id FROM bank_returns WHERE state = 'PENDING' AND next <= ? ORDER BY next LIMIT 50`, []any{p.now().UnixMilli()}, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			due = append(due, id)
			return err
		})
	})
	for _, id := range due {
		err = errors.Join(err, p.pursueReturn(ctx, "bank-returns", id))
	}
	return err
}
