package sim

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// bankLine is the bank with the wires between it and the platform. Its books are never
// restored, and its clock is right.
type bankLine struct {
	w     *world
	bank  *mockbank.Bank
	dieAt string
}

const atBankFen = 1_000_00

// account is a person's card at the bank, bound at the platform.
type account struct {
	number, binding string
}

func (w *world) openBank() {
	line := w.bank
	var err error
	line.bank, err = mockbank.Open(mockbank.Config{
		Dir: filepath.Join(w.dir, "bank"), URL: "https://bank.test", Now: time.Now, Freeze: w.luck.IntN(2) == 0,
		Hooks: mockbank.Hooks{
			BeforeCommit: func(string) error { return line.dies("before") },
			AfterCommit:  func(string) error { return line.dies("after") },
		},
		Notify: func(http.RoundTripper) http.RoundTripper { return notices{w} },
	})
	w.must(err)
}

func (l *bankLine) dies(where string) error {
	if l.dieAt != where {
		return nil
	}
	l.dieAt = ""
	return errDied
}

// RoundTrip implements http.RoundTripper for what the platform asks the bank.
func (l *bankLine) RoundTrip(request *http.Request) (*http.Response, error) {
	w := l.w
	switch {
	case w.happens("bank request lost", 60):
		return nil, errCut
	case w.happens("bank dies before commit", 30):
		l.dieAt = "before"
	case w.happens("bank dies after commit", 30):
		l.dieAt = "after"
	}
	answer, err := serve(l.bank.Handler(), request)
	l.dieAt = ""
	if err == nil && w.happens("bank answer lost", 80) {
		return nil, errCut
	}
	return answer, err
}

// notices carries the bank's callbacks to the platform.
type notices struct{ w *world }

// RoundTrip implements http.RoundTripper. A forged callback tells another amount under
// the bank's own signature.
func (n notices) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	n.w.must(err)
	send := func(content string) (*http.Response, error) {
		again := request.Clone(request.Context())
		again.Body = io.NopCloser(strings.NewReader(content))
		return serve(n.w.platform.Handler(), again)
	}
	switch {
	case n.w.happens("bank callback lost", 150):
		return nil, errCut
	case n.w.happens("bank callback forged", 150):
		return send(strings.Replace(string(body), "PAYMENT=", "PAYMENT=9", 1))
	case n.w.happens("bank callback twice", 200):
		_, _ = send(string(body))
	}
	return send(string(body))
}

// serve hands a request to a server, which may die over it.
func serve(handler http.Handler, request *http.Request) (answer *http.Response, err error) {
	defer func() {
		if trouble := recover(); trouble != nil && trouble != http.ErrAbortHandler {
			panic(trouble)
		} else if trouble != nil {
			err = errCut
		}
	}()
	inner := httptest.NewRequest(request.Method, request.URL.String(), request.Body).WithContext(request.Context())
	inner.Header = request.Header
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, inner)
	return recorder.Result(), nil
}

// bindBank gives an honest person a bank card and binds it, with the first payment that
// needs a code.
func (w *world) bindBank(c *computer) {
	p := c.owner
	number, err := w.bank.bank.NewCard(ctx(), "张三", p.phone, atBankFen, false)
	w.must(err)
	p.paid += atBankFen
	w.login(c)
	code := func(context.Context, api.BankBinding, bool) (string, error) { return w.bankText(c), nil }
	bound, err := c.core.BindBank(ctx(), api.BankCard{Number: number, Name: "张三", Phone: p.phone}, code)
	w.must(err)
	p.bank = &account{number: number, binding: bound.ID}
	sent, err := c.core.Platform.BankCode(ctx(), bound.ID, 100)
	w.must(err)
	from := w.fromBank(p)
	from.Source.Code = &api.SMSCode{CodeID: sent.CodeID, Code: w.bankText(c)}
	_, err = c.core.Fund(ctx(), core.FundAsk{Amount: 100, From: *from, Confirm: func(context.Context, core.FundConfirmation) error { return nil }})
	w.must(err)
}

// bankText is the code of the bank's newest message to a person.
func (w *world) bankText(c *computer) string {
	demo, err := c.core.BankDemo(ctx())
	w.must(err)
	if len(demo.Messages) == 0 {
		w.must(errors.New("the bank has sent nothing"))
	}
	return demo.Messages[0].Code
}

func (w *world) fromBank(p *person) *core.MoneySource {
	return &core.MoneySource{
		Source: api.FundingSource{Kind: api.FundingBank, ID: p.bank.binding}, Secret: w.paymentPassword,
	}
}

func (w *world) paymentPassword(context.Context) (string, error) {
	if w.happens("wrong password", 20) {
		return "000000", nil
	}
	return w.profile.DemoCredentials.PaymentPassword, nil
}

// fundFromBank brings money in from the person's bank card.
func (w *world) fundFromBank(c *computer) {
	amounts := []wallet.Fen{100, 1000, 5000, 10000}
	ask := core.FundAsk{Amount: amounts[w.luck.IntN(len(amounts))], From: *w.fromBank(c.owner), Confirm: w.agreesToFund}
	result, err := c.core.Fund(ctx(), ask)
	w.note(err)
	w.fundingToldTrue(result.Entry, err)
}

// fundingToldTrue: what a person is told of money that he brings in is so.
func (w *world) fundingToldTrue(entry wallet.Entry, err error) {
	if entry.Key == "" {
		return
	}
	var state wallet.FundingState
	_ = w.books.QueryRow(`SELECT state FROM fundings WHERE key = ?`, entry.Key).Scan(&state)
	switch {
	case err == nil && state != wallet.FundingDone:
		w.fail("success was shown for funding %s, but it is %q", entry.Order, state)
	case err != nil && !core.Explain(err).Open() && state != "" && state != wallet.FundingDeclined && state != wallet.FundingReversed:
		w.fail("the person was told %s with nothing open, but funding %s is %s", core.Explain(err).Code, entry.Order, state)
	case err == nil:
		w.count("end", "funding from bank success")
	}
}

// moneyBeside is a bank card that pays for a top-up, now and then.
func (w *world) moneyBeside(p *person) *core.MoneySource {
	if w.luck.IntN(15) > 0 || p.bank == nil {
		return nil
	}
	return w.fromBank(p)
}

// freeze freezes the account of a person, or thaws it again.
func (w *world) freeze(c *computer) {
	if account, err := c.core.Account(ctx()); err != nil || account.State == "NORMAL" && w.luck.IntN(2) == 0 {
		w.note(err)
		return
	} else if account.State == "NORMAL" {
		_, err = c.core.Freeze(ctx(), time.Time{})
		w.note(err)
		return
	}
	demo := w.profile.DemoCredentials
	_, err := c.core.Thaw(ctx(), demo.LoginPassword, func(context.Context, string) (string, error) { return demo.SMSCode, nil })
	w.note(err)
}

// fundAtGateway pays an order at the bank's own page, mostly, before or after the
// program has stopped to wait for it.
func (w *world) fundAtGateway(c *computer) {
	var number string
	pay := func() {
		if number == "" || w.happens("person leaves the bank's page", 200) {
			return
		}
		_, err := w.bank.bank.PayOrder(ctx(), number, c.owner.bank.number)
		w.say("  pays at the bank: %v", err == nil)
		_, err = w.bank.bank.DeliverNotices(ctx())
		w.must(err)
	}
	at := w.luck.IntN(3)
	from := core.MoneySource{
		Source: api.FundingSource{Kind: api.FundingBank, ID: api.BankGateway}, Wait: 10 * time.Second, Secret: w.paymentPassword,
		Page: func(string) {
			_ = w.books.QueryRow(`SELECT id FROM fundings WHERE "user" = ? AND state = 'PENDING' ORDER BY created DESC, id DESC`, c.owner.user).Scan(&number)
			if at > 0 {
				pay()
			}
		},
	}
	result, err := c.core.Fund(ctx(), core.FundAsk{Amount: 2000, From: from, Confirm: w.agreesToFund})
	w.note(err)
	w.fundingToldTrue(result.Entry, err)
	if at == 0 {
		pay()
	}
}

func (w *world) agreesToFund(context.Context, core.FundConfirmation) error {
	if w.happens("person declines", 20) {
		return context.Canceled
	}
	return nil
}

// giveBack sends money back to the person's bank card.
func (w *world) giveBack(c *computer) {
	amounts := []wallet.Fen{100, 700, 3000}
	before := w.bankBalance(c.owner)
	told, err := c.core.ReturnToBank(ctx(), core.BankReturnAsk{
		Amount: amounts[w.luck.IntN(len(amounts))], Secret: w.paymentPassword,
		Confirm: func(context.Context, wallet.Fen, api.BankBinding) error { return nil },
	})
	w.note(err)
	if err == nil && w.bankBalance(c.owner) < before+told.Amount {
		w.fail("%d were shown as given back, the bank card has %d, before %d", told.Amount, w.bankBalance(c.owner), before)
	}
	if err == nil {
		w.count("end", "return success")
	}
}

func (w *world) bankBalance(p *person) wallet.Fen {
	balance, err := w.bank.bank.Balance(ctx(), p.bank.number)
	w.must(err)
	return balance
}

// attendBank is what a serving platform and a serving bank do by themselves.
func (w *world) attendBank() {
	settled, err := w.platform.PursueFundings(ctx())
	w.must(err)
	w.must(w.platform.PursueReturns(ctx()))
	_ = w.platform.ImportBankDays(ctx()) // a statement that did not come is fetched the next time
	_, err = w.bank.bank.ReleaseOld(ctx())
	w.must(err)
	_, err = w.bank.bank.DeliverNotices(ctx())
	w.must(err)
	w.say("  %d fundings settled", settled)
}

// atBank is what a person has at the bank by the platform's books: what he came with,
// less what was credited, and what went back. On the way, bank and books differ.
func (w *world) atBank(p *person) (sum wallet.Fen) {
	if p.bank == nil {
		return 0
	}
	sum = atBankFen
	w.rows(`SELECT f."user", f.amount FROM fundings f WHERE f.kind = 'bank' AND f.state = 'DONE'
		UNION ALL SELECT r."user", -l.amount FROM bank_legs l JOIN bank_returns r ON r.id = l.return_id WHERE l.state = 'DONE'`,
		func(rows *sql.Rows) error {
			var user string
			var amount wallet.Fen
			err := rows.Scan(&user, &amount)
			if user == p.user {
				sum -= amount
			}
			return err
		})
	// What the bank gave back and a restore lost was taken from the main account again.
	w.rows(`SELECT account, amount FROM postings WHERE type = 'bank-correction'`, func(rows *sql.Rows) error {
		var name string
		var amount wallet.Fen
		err := rows.Scan(&name, &amount)
		if name == "main:"+p.user {
			sum -= amount
		}
		return err
	})
	return sum
}

// heldForReturns is the held money that belongs to no order of a card.
func (w *world) heldForReturns(user string) (sum wallet.Fen) {
	w.rows(`SELECT r."user", l.amount FROM bank_legs l JOIN bank_returns r ON r.id = l.return_id WHERE l.state = 'PENDING'`, func(rows *sql.Rows) error {
		var owner string
		var amount wallet.Fen
		err := rows.Scan(&owner, &amount)
		if user == "" || owner == user {
			sum += amount
		}
		return err
	})
	return sum
}

// checkBankQuiet: what the platform's books say of the bank is what the bank says.
func (w *world) checkBankQuiet() {
	report, err := w.bank.bank.Check(ctx())
	w.must(err)
	if !report.OK() {
		w.fail("the bank's own check: %+v", report)
	}
	var bank, books wallet.Fen
	for _, p := range w.persons {
		if p.bank == nil {
			continue
		}
		bank, books = bank+w.bankBalance(p), books+w.atBank(p)
		if w.restores == 0 && w.bankBalance(p) != w.atBank(p) {
			w.fail("%s has %d at the bank, the platform's books say %d", p.name, w.bankBalance(p), w.atBank(p))
		}
	}
	// What a restore lost stands in the bank's statements: money that nobody here asked
	// for, and money that the main account did not cover any more.
	accounts := w.readBooks().accounts
	unclaimed, owed := accounts["suspense"], -accounts["bank-receivable"]
	if bank != books-unclaimed+owed || w.restores == 0 && (unclaimed != 0 || owed != 0) {
		w.fail("the bank's cards hold %d, the platform's books say %d, with %d nobody's and %d receivable", bank, books, unclaimed, owed)
	}
}

var _ http.RoundTripper = (*bankLine)(nil)
