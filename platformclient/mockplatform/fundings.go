package mockplatform

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// A funding brings money into a main account. Whatever its source, it is one row,
// one table of transitions (rules.NextFunding) and one credit (creditFunding). What
// differs stands behind fundingSource.

const (
	fundingLimit   = 30 * time.Minute // PENDING, then it is given up (§2.11)
	fundingPause   = time.Second      // before the source is asked again, doubled each time
	fundingLongest = 15 * time.Minute // and never longer
)

// The accounts that money comes from, and the one for money without an owner.
const (
	accountBankClearing     = "bank-clearing"
	accountVoucherLiability = "voucher-liability"
	accountCashInHall       = "cash-in-hall"
	accountSuspense         = "suspense"
)

// fundingAccounts says which account a kind of source is booked from.
var fundingAccounts = map[string]string{
	api.FundingBank: accountBankClearing, api.FundingTransfer: accountBankClearing,
	api.FundingVoucher: accountVoucherLiability, api.FundingCash: accountCashInHall,
}

// postingAssigned moves money out of suspense once its owner is known.
const postingAssigned = "funding-assigned"

// fundingPosting is the type of the postings, one per kind of source.
func fundingPosting(kind string) string { return "funding-" + kind }

// funding is a row of fundings.
type funding struct {
	id, key, user, device string
	core                  []byte
	amount                wallet.Fen
	kind                  string // api.FundingBank …
	source                string // as people see it: bank:ID, voucher:SERIAL
	ref                   string // what the source is asked for
	serial                string // the source's own number of the payment
	state                 wallet.FundingState
	cause                 string
	tries                 int
	next                  time.Time // when the source is asked again; zero: never
	created               time.Time
	finished              time.Time // zero: open
	receipt               []byte
}

// fundingAsk is a person's request on its way to a source.
type fundingAsk struct {
	c        *call
	tx       *Tx
	account  *account
	request  api.FundingRequest
	core     api.FundingCore
	password openedSeal // of PaySeal
	pin      openedSeal // of Source.PINSeal
	funding  *funding   // not stored yet; start fills source, ref and, of a voucher, amount
}

// fundingNews is what a source says about a funding.
type fundingNews struct {
	event   rules.FundingEvent
	refusal *refusal // with FundingRefused: why
	serial  string   // with FundingPaid and FundingKept: the source's number of the payment, if it has one
	page    string   // with FundingSilent: address where the person pays, kept as the funding's ref
}

// fundingSource is one kind of source that a person can ask for. The funding's id is
// our serial number there: under it the source takes the money once, however often
// it is asked, and from however many processes.
type fundingSource interface {
	// start judges a request inside the transaction that stores it; nothing leaves the
	// platform yet. FundingRefused closes the key with the refusal, FundingPaid credits
	// in this very commit, FundingAsked commits PENDING and then calls ask.
	start(ask *fundingAsk) (fundingNews, error)
	// ask asks outside of any transaction, the first time (f.tries == 0) and again
	// while the funding is PENDING. After a restart it may ask what was asked before.
	// An error is FundingSilent.
	ask(ctx context.Context, f funding) (fundingNews, error)
	// giveUp tells the source, outside of any transaction and until it acknowledges,
	// to undo what it may have done and to do nothing more under this number:
	// FundingUndone, FundingKept where it refuses. An error is FundingSilent.
	giveUp(ctx context.Context, f funding) (fundingNews, error)
}

// fundingSources lists the sources by api.FundingSource.Kind.
func (p *Platform) fundingSources() map[string]fundingSource {
	return map[string]fundingSource{api.FundingVoucher: voucherSource{p}, api.FundingBank: bankSource{p}}
}

// fundingRoutes registers the routes of fundings.
func fundingRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("POST", api.PathFundings, authSession, requestFunding)
	handle("GET", api.PathFundings, authSession, listFundings)
	handle("GET", api.PathFunding, authSession, showFunding)
	handle("POST", api.PathFundingAbandon, authSession, abandonFunding)
}

// requestFunding is POST /v1/fundings. What is final is stored under the key and
// answered again byte for byte; while nobody knows, the same key asks the source
// again and tells how things stand.
func requestFunding(c *call) (reply, error) {
	var request api.FundingRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	name := request.Source.Name()
	if request.Amount < 0 || request.Amount > maxCardFen || len(name) > 100 {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "amount or source is not possible"), nil
	}
	ask := &fundingAsk{c: c, request: request, core: api.FundingCore{Amount: request.Amount, Source: name, Key: c.key}}
	ask.openSeals()
	var answer reply
	var open bool
	err := c.update(func(tx *Tx) error {
		ask.tx, open = tx, false
		kept, err := c.p.stored(tx, c.sender.user, api.PathFundings, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(api.FundingCoreHash(ask.core))
			return nil
		}
		f, err := findFunding(tx, `user = ? AND key = ?`, c.sender.user, c.key)
		if err != nil {
			return err
		}
		if f == nil {
			answer, open, err = c.p.startFunding(ask)
			return err
		}
		if !bytes.Equal(f.core, api.FundingCoreHash(ask.core)) {
			answer = failure(http.StatusUnprocessableEntity, api.CodeKeyReused, "this key belongs to another order")
			return nil
		}
		open = true
		return nil
	})
	if err != nil || !open {
		return answer, err
	}
	return c.pursued(`user = ? AND key = ?`, c.sender.user, c.key)
}

// openSeals opens what is sealed before others have to wait for the write lock.
func (a *fundingAsk) openSeals() {
	p := a.c.p
	if digits, err := api.OpenFunding(p.sealKey, a.core, a.request.PaySeal); err == nil {
		a.password = openedSeal{digits: digits, opened: true}
	}
	binding := api.VoucherBinding{Serial: a.request.Source.Serial, Thumbprint: a.c.sender.thumbprint, Key: a.c.key}
	if digits, err := api.OpenVoucher(p.sealKey, binding, a.request.Source.PINSeal); err == nil {
		a.pin = openedSeal{digits: digits, opened: true}
	}
}

// startFunding judges a new request and stores what came of it. open tells that the
// source is still to be asked.
func (p *Platform) startFunding(ask *fundingAsk) (answer reply, open bool, err error) {
	c, tx := ask.c, ask.tx
	if ask.account, err = findAccount(tx, "user", c.sender.user); err != nil {
		return reply{}, false, err
	}
	news, err := p.judgeFunding(ask)
	if err != nil {
		return reply{}, false, err
	}
	if news.event == rules.FundingRefused {
		answer, err = p.declineFunding(c.key, c.key, ask.core.Amount, news.refusal)
		if err == nil {
			err = p.audit(tx, c.sender.user, "funding-declined", c.key, news.refusal.code)
		}
		if err == nil {
			err = p.storeAnswer(tx, c.sender.user, api.PathFundings, c.key, api.FundingCoreHash(ask.core), answer)
		}
		return answer, false, err
	}
	f := ask.funding
	if err := insertFunding(tx, f); err != nil {
		return reply{}, false, err
	}
	if err := p.audit(tx, f.user, "funding-asked", f.id, f.source); err != nil {
		return reply{}, false, err
	}
	if err := p.noteFunding(tx, f, news); err != nil {
		return reply{}, false, err
	}
	if !f.state.Final() {
		return reply{}, true, nil
	}
	answer, err = p.keptFunding(tx, f)
	return answer, false, err
}

// keptFunding is the answer that the key of a final funding has from now on, byte for
// byte.
func (p *Platform) keptFunding(tx *Tx, f *funding) (reply, error) {
	kept, err := p.stored(tx, f.user, api.PathFundings, f.key)
	if err != nil || kept == nil {
		return reply{}, errOr(err, sql.ErrNoRows)
	}
	return kept.answer, nil
}

// judgeFunding asks the account, the service and then the source.
func (p *Platform) judgeFunding(ask *fundingAsk) (fundingNews, error) {
	c := ask.c
	source, known := p.sources[ask.request.Source.Kind]
	found, err := p.accountRefusal(ask.tx, ask.account, actCreditIn)
	if err != nil || found != nil {
		return fundingNews{event: rules.FundingRefused, refusal: found}, err
	}
	if !known {
		return refuseFunding(api.CodeSourceRefused), nil
	}
	code, err := p.moneyRefused(ask.tx, ask.account.phone, ask.request.CompanionSN, c.sender.thumbprint)
	if err != nil || code != "" {
		return refuseFunding(code), err
	}
	if found, err = p.listRefusal(ask.tx, rules.UsePayIn, ask.account.id, c.sender.device, nil); err != nil || found != nil {
		return fundingNews{event: rules.FundingRefused, refusal: found}, err
	}
	id, err := p.newOrderID(ask.tx)
	if err != nil {
		return fundingNews{}, err
	}
	ask.funding = &funding{
		id: id, key: c.key, user: ask.account.id, device: c.sender.device, core: api.FundingCoreHash(ask.core), amount: ask.request.Amount,
		kind: ask.request.Source.Kind, source: ask.request.Source.Name(), state: wallet.FundingReceived, created: p.now(), next: p.now(),
	}
	return source.start(ask)
}

func refuseFunding(code string) fundingNews {
	return fundingNews{event: rules.FundingRefused, refusal: refuse(code)}
}

// noteFunding applies what became known to a funding that this transaction has read.
// It is the one way to a credit, and answers, callbacks and files all come here.
func (p *Platform) noteFunding(tx *Tx, f *funding, news fundingNews) error {
	step := rules.NextFunding(f.state, news.event)
	if step.Alarm {
		return p.alarm(tx, "FUNDING_CONTRADICTION", f.id)
	}
	before := f.state
	f.state = step.Next
	if f.serial == "" {
		f.serial = news.serial
	}
	if news.page != "" {
		f.ref = news.page
	}
	if news.refusal != nil && step.Next != before {
		f.cause = news.refusal.code
	}
	if step.Credit {
		if err := p.creditFunding(tx, f); err != nil {
			return err
		}
	}
	if f.state == before {
		return saveFunding(tx, f)
	}
	if err := p.audit(tx, fundingActor(f), "funding-"+string(f.state), f.id, f.cause); err != nil {
		return err
	}
	if !f.state.Final() {
		return saveFunding(tx, f)
	}
	f.finished = p.now()
	return p.finishFunding(tx, f)
}

func fundingActor(f *funding) string {
	if f.user == "" {
		return "platform"
	}
	return f.user
}

// creditFunding is the one posting of a funding: its source to the main account, or
// to suspense where nobody knows whose the money is. A unique index over the postings
// refuses a second one.
func (p *Platform) creditFunding(tx *Tx, f *funding) error {
	to := accountSuspense
	if f.user != "" {
		to = mainAccount(f.user)
	}
	err := p.post(tx, transfer{kind: fundingPosting(f.kind), order: f.id, legs: []leg{{fundingAccounts[f.kind], -f.amount}, {to, f.amount}}})
	if err != nil || f.user == "" {
		return err
	}
	return p.writeFundingReceipt(tx, f)
}

// writeFundingReceipt notes what the person keeps, with the balance of this moment.
func (p *Platform) writeFundingReceipt(tx *Tx, f *funding) error {
	main, err := balance(tx, mainAccount(f.user))
	if err != nil {
		return err
	}
	f.receipt, err = json.Marshal(wallet.FundingReceipt{
		Funding: f.id, Amount: f.amount, Source: f.source, Reference: f.serial, MainBalance: main, Time: p.now(), Demo: p.secrets.Demo,
	})
	return err
}

// finishFunding stores a final state, and what the key is answered from now on.
func (p *Platform) finishFunding(tx *Tx, f *funding) error {
	if err := saveFunding(tx, f); err != nil {
		return err
	}
	if f.user == "" || p.sources[f.kind] == nil {
		return nil // nobody asked for it under a key of his own
	}
	answer, err := p.fundingAnswer(f, f.key)
	if err != nil {
		return err
	}
	return p.storeAnswer(tx, f.user, api.PathFundings, f.key, f.core, answer)
}

// pursued asks the source of an open funding and answers how it stands then.
func (c *call) pursued(where string, args ...any) (answer reply, err error) {
	var f *funding
	read := func(tx *Tx) (err error) {
		if f, err = findFunding(tx, where, args...); err == nil && f != nil && f.state.Final() && f.key == c.key {
			answer, err = c.p.keptFunding(tx, f)
		}
		return err
	}
	if err = c.p.store.View(c.ctx, read); err != nil {
		return reply{}, err
	}
	if f != nil && !f.state.Final() && !f.next.After(c.p.now()) {
		if err := c.p.pursueFunding(c.ctx, c.route, f.id); err != nil {
			return reply{}, err
		}
		if err = c.p.store.View(c.ctx, read); err != nil {
			return reply{}, err
		}
	}
	if f == nil {
		return failure(http.StatusNotFound, api.CodeNotFound, "there is no such order"), nil
	}
	if answer.body != nil {
		return answer, nil
	}
	return c.p.fundingAnswer(f, c.key)
}

// pursueFunding asks the source of one open funding once, and books what it says.
// That it is going to be asked is on the disk before it is.
func (p *Platform) pursueFunding(ctx context.Context, route, id string) error {
	var f *funding
	err := p.update(ctx, route, func(tx *Tx) (err error) {
		if f, err = findFunding(tx, `id = ?`, id); err != nil || f == nil || f.state.Final() {
			return err
		}
		if f.state != wallet.FundingReversing && p.now().Sub(f.created) > fundingLimit {
			err = p.noteFunding(tx, f, fundingNews{event: rules.FundingExpired})
			if err != nil || f.state.Final() {
				return err
			}
			f.tries = 0
		}
		asked := *f
		f.next, f.tries = p.now().Add(min(fundingPause<<min(f.tries, 16), fundingLongest)), f.tries+1
		err = saveFunding(tx, f)
		f = &asked
		return err
	})
	if err != nil || f == nil || f.state.Final() {
		return err
	}
	news := p.askSource(ctx, f)
	return p.update(ctx, route, func(tx *Tx) error {
		present, err := findFunding(tx, `id = ?`, id)
		if err != nil || present == nil {
			return err
		}
		return p.noteFunding(tx, present, news)
	})
}

func (p *Platform) askSource(ctx context.Context, f *funding) fundingNews {
	source := p.sources[f.kind]
	if source == nil {
		return fundingNews{event: rules.FundingSilent}
	}
	ask := source.ask
	if f.state == wallet.FundingReversing {
		ask = source.giveUp
	}
	news, err := ask(ctx, *f)
	if err != nil {
		return fundingNews{event: rules.FundingSilent}
	}
	return news
}

// PursueFundings asks the sources of all fundings that are due, and tells how many
// became final. Serve calls it all the time.
func (p *Platform) PursueFundings(ctx context.Context) (settled int, err error) {
	var due []string
	err = p.store.View(ctx, func(tx *Tx) error {
		due = nil
		return tx.each(`SELECT id FROM fundings WHERE state IN ('RECEIVED', 'PENDING', 'REVERSING') AND next > 0 AND next <= ?
			ORDER BY next LIMIT 50`,
			[]any{p.now().UnixMilli()}, func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				due = append(due, id)
				return err
			})
	})
	for _, id := range due {
		if err == nil {
			err = p.pursueFunding(ctx, "fundings", id)
		}
		if err == nil {
			err = p.store.View(ctx, func(tx *Tx) error {
				f, err := findFunding(tx, `id = ?`, id)
				if f != nil && f.state.Final() {
					settled++
				}
				return err
			})
		}
	}
	return settled, err
}
