package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// The day's statement is the last judge between bank and platform (§2.17): every line
// of it is paid money. Nothing is edited or deleted; what does not fit is a difference
// with a line of its own, and is set right by a posting or by a question to the bank.

// accountBankReceivable is what a bank owes us by our books and not by its own.
const accountBankReceivable = "bank-receivable"

// The kinds of differences.
const (
	differenceLong     = "LONG"     // the bank was paid for, and we know nothing of it
	differenceShort    = "SHORT"    // we credited, and the bank has nothing
	differenceAmount   = "AMOUNT"   // the bank's file is master: the difference is posted
	differenceKept     = "KEPT"     // the bank has the money of a payment that we told to be undone
	differenceReversed = "REVERSED" // the bank has undone what we credited
	differenceOut      = "OUT"      // the bank has paid out what we know nothing of: a restore lost it
)

const (
	postingBankShort  = "bank-short"
	postingBankAmount = "bank-correction"

	bankDaysBack = 10 // days that are caught up at once
	// bankDayOver is how long after its end a day's statement is fetched. By the bank's
	// clock the day must be over as well: a payment that is still to come on it would be
	// looked for in no later file.
	bankDayOver = time.Hour
)

// BankDayReport is what became of a statement.
type BankDayReport struct {
	Day         string
	Lines       int
	NetFen      wallet.Fen
	Settled     int // payments that were open and that the statement decided
	Differences int
	Again       bool // the same batch was imported before
}

// ImportBankDay fetches the statement of a business day (YYYYMMDD) and compares it
// with the books. It may be repeated: every line and every difference counts once.
func (p *Platform) ImportBankDay(ctx context.Context, day string) (BankDayReport, error) {
	channel, err := p.bank(ctx)
	if err != nil {
		return BankDayReport{}, err
	}
	content, err := channel.statement(ctx, day)
	if err != nil {
		return BankDayReport{}, err
	}
	report, err := p.importBankDay(ctx, content)
	if err != nil {
		return report, err
	}
	if err := p.undoKept(ctx); err != nil {
		return report, err
	}
	return report, p.checkMissing(ctx, channel, day, &report)
}

// undoKept tells the bank again to undo what we declined or reversed, until it
// acknowledges that, or refuses.
func (p *Platform) undoKept(ctx context.Context) error {
	var kept []string
	err := p.store.View(ctx, func(tx *Tx) error {
		kept = nil
		return tx.each(`SELECT serial FROM bank_differences WHERE kind = ? AND done = ''`, []any{differenceKept}, func(rows *sql.Rows) error {
			var serial string
			err := rows.Scan(&serial)
			kept = append(kept, serial)
			return err
		})
	})
	for _, serial := range kept {
		if err != nil {
			return err
		}
		news, silent := bankSource{p}.giveUp(ctx, funding{id: serial})
		if silent != nil || news.event == rules.FundingSilent {
			continue
		}
		done := "undone at the bank"
		if news.event != rules.FundingUndone {
			done = "the bank refuses to undo it"
		}
		err = p.store.Update(ctx, func(tx *Tx) error {
			return tx.exec(`UPDATE bank_differences SET done = ? WHERE kind = ? AND serial = ?`, done, differenceKept, serial)
		})
	}
	return err
}

// importBankDay books the lines in one commit.
func (p *Platform) importBankDay(ctx context.Context, content bankapi.Day) (report BankDayReport, err error) {
	err = p.store.Update(ctx, func(tx *Tx) error {
		report = BankDayReport{Day: content.Day, Lines: len(content.Lines), NetFen: content.Net()}
		var batch int
		if known, err := tx.row(`SELECT batch FROM bank_days WHERE bank = ? AND day = ?`, []any{content.Bank, content.Day}, &batch); err != nil {
			return err
		} else if known && batch >= content.Batch {
			report.Again = true
			return nil
		}
		undone := map[string]bool{}
		for _, line := range content.Lines {
			undone[line.Of] = undone[line.Of] || line.Kind == bankapi.LineReversal
			err := tx.exec(`INSERT INTO bank_lines (bank, journal, day, kind, serial, of, amount) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bank, journal) DO NOTHING`,
				content.Bank, line.Journal, content.Day, line.Kind, line.Serial, line.Of, int64(line.Amount))
			if err != nil {
				return err
			}
		}
		for _, line := range content.Lines {
			if err := p.judgeLine(tx, content, line, undone, &report); err != nil {
				return err
			}
		}
		if err := tx.exec(`INSERT INTO bank_days (bank, day, batch, lines, net, imported) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (bank, day) DO UPDATE SET batch = excluded.batch, lines = excluded.lines, net = excluded.net, imported = excluded.imported`,
			content.Bank, content.Day, content.Batch, len(content.Lines), int64(content.Net()), p.now().UnixMilli()); err != nil {
			return err
		}
		return p.audit(tx, "platform", "bank-day", content.Day, content.Net().Yuan())
	})
	return report, err
}

// judgeLine compares one line with our books.
func (p *Platform) judgeLine(tx *Tx, content bankapi.Day, line bankapi.Line, undone map[string]bool, report *BankDayReport) error {
	if line.Kind == bankapi.LineReversal {
		return p.judgeReversal(tx, content, line, report)
	}
	if !line.In() {
		return p.judgeOutgoing(tx, content, line, report)
	}
	f, err := findFunding(tx, `id = ? AND kind = ?`, line.Serial, api.FundingBank)
	if err != nil {
		return err
	}
	switch {
	case f == nil:
		return p.bookUnknown(tx, content, line, report)
	case f.state == wallet.FundingDone:
		return p.correctAmount(tx, content, line, f, report)
	case undone[line.Serial]:
		return nil // the same file takes it back
	case f.state == wallet.FundingDeclined || f.state == wallet.FundingReversed:
		_, err := p.noteDifference(tx, content, differenceKept, line.Serial, 0, line.Amount, "", report) // undoKept goes on
		return err
	case f.state == wallet.FundingReversing || line.Amount != f.amount:
		return nil // the advice is under way; another amount is given up by the next question
	}
	report.Settled++
	return p.noteFunding(tx, f, fundingNews{event: rules.FundingPaid, serial: line.Journal})
}

// bookUnknown books money that nobody here asked for: to suspense, like a transfer
// without an owner.
func (p *Platform) bookUnknown(tx *Tx, content bankapi.Day, line bankapi.Line, report *BankDayReport) error {
	fresh, err := p.noteDifference(tx, content, differenceLong, line.Serial, 0, line.Amount, "booked to suspense", report)
	if err != nil || !fresh {
		return err
	}
	f := &funding{
		key: "bank:" + content.Bank + ":" + line.Serial, core: []byte{}, amount: line.Amount, kind: api.FundingBank, source: "bank:" + content.Bank,
		ref: line.Serial, serial: line.Journal, state: wallet.FundingReceived, created: p.now(),
	}
	if f.id, err = p.newOrderID(tx); err != nil {
		return err
	}
	if err := insertFunding(tx, f); err != nil {
		return err
	}
	return p.noteFunding(tx, f, fundingNews{event: rules.FundingPaid})
}

// correctAmount posts the difference to a payment that was credited with another
// amount. What the main account does not cover stays a receivable: nobody's account
// goes below zero.
func (p *Platform) correctAmount(tx *Tx, content bankapi.Day, line bankapi.Line, f *funding, report *BankDayReport) error {
	more := line.Amount - f.amount
	if more == 0 {
		return nil
	}
	fresh, err := p.noteDifference(tx, content, differenceAmount, f.id, f.amount, line.Amount, "the difference was posted", report)
	if err != nil || !fresh {
		return err
	}
	covered := more
	if more < 0 {
		main, err := balance(tx, mainAccount(f.user))
		if err != nil {
			return err
		}
		covered = -min(main, -more)
	}
	return p.post(tx, transfer{kind: postingBankAmount, order: f.id, legs: []leg{
		{accountBankClearing, -more}, {mainAccount(f.user), covered}, {accountBankReceivable, more - covered},
	}})
}

// judgeReversal looks for payments that the bank has undone and that we credited.
func (p *Platform) judgeReversal(tx *Tx, content bankapi.Day, line bankapi.Line, report *BankDayReport) error {
	f, err := findFunding(tx, `id = ? AND kind = ?`, line.Of, api.FundingBank)
	if err != nil || f == nil {
		return err
	}
	switch f.state {
	case wallet.FundingDone:
		return p.bookReceivable(tx, content, differenceReversed, f, line.Amount, report)
	case wallet.FundingReversing:
		report.Settled++
		return p.noteFunding(tx, f, fundingNews{event: rules.FundingUndone})
	}
	return nil
}

// judgeOutgoing settles a leg of a return that is still open. What the bank has given
// to a person and we know nothing of was lost by a restore: it leaves the main account
// now, as far as that covers it.
func (p *Platform) judgeOutgoing(tx *Tx, content bankapi.Day, line bankapi.Line, report *BankDayReport) error {
	var id, state string
	known, err := tx.row(`SELECT return_id, state FROM bank_legs WHERE serial = ? AND amount = ?`, []any{line.Serial, int64(line.Amount)}, &id, &state)
	switch {
	case err != nil:
		return err
	case known && state == api.BankReturnPending:
		report.Settled++
		return p.bookLeg(tx, id, line.Serial, bankapi.Outcome{State: bankapi.StateRefunded})
	case known && state == api.BankReturnDone:
		return nil
	}
	fresh, err := p.noteDifference(tx, content, differenceOut, line.Serial, 0, line.Amount, "taken from the main account it went to", report)
	if err != nil || !fresh {
		return err
	}
	legs := []leg{{accountBankClearing, line.Amount}}
	f, err := findFunding(tx, `id = ? AND kind = ? AND user <> ''`, line.Of, api.FundingBank)
	if err != nil {
		return err
	}
	covered := wallet.Fen(0)
	if f != nil {
		main, err := balance(tx, mainAccount(f.user))
		if err != nil {
			return err
		}
		covered = min(main, line.Amount)
		legs = append(legs, leg{mainAccount(f.user), -covered})
	}
	return p.post(tx, transfer{kind: postingBankAmount, order: line.Serial, legs: append(legs, leg{accountBankReceivable, covered - line.Amount})})
}

// bookReceivable takes money that the bank does not have out of what it owes us by
// our books. The person keeps what was credited: people look (§2.17, 短款).
func (p *Platform) bookReceivable(tx *Tx, content bankapi.Day, kind string, f *funding, amount wallet.Fen, report *BankDayReport) error {
	fresh, err := p.noteDifference(tx, content, kind, f.id, f.amount, f.amount-amount, "booked as a receivable", report)
	if err != nil || !fresh {
		return err
	}
	if f.user != "" {
		if err := p.chargedBack(tx, f.user, f.id); err != nil {
			return err
		}
	}
	return p.post(tx, transfer{kind: postingBankShort, order: f.id, legs: []leg{{accountBankClearing, amount}, {accountBankReceivable, -amount}}})
}

// noteDifference writes a difference once. fresh tells that it is new.
func (p *Platform) noteDifference(tx *Tx, content bankapi.Day, kind, serial string, ours, theirs wallet.Fen, done string, report *BankDayReport) (fresh bool, err error) {
	changed, err := tx.changed(`INSERT INTO bank_differences (bank, day, kind, serial, ours, theirs, done, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (bank, kind, serial) DO NOTHING`, content.Bank, content.Day, kind, serial, int64(ours), int64(theirs), done, p.now().UnixMilli())
	if err != nil || changed == 0 {
		return false, err
	}
	report.Differences++
	return true, p.alarm(tx, "BANK_"+kind, serial)
}

// checkMissing looks for payments of the day before that we credited and that stand
// in no statement up to this day: times differ by a day around midnight (跨日). The
// bank is asked; what it does not confirm is a receivable.
func (p *Platform) checkMissing(ctx context.Context, channel bankChannel, day string, report *BankDayReport) error {
	before, err := time.Parse("20060102", day)
	if err != nil {
		return err
	}
	var missing []*funding
	err = p.store.View(ctx, func(tx *Tx) (err error) {
		missing, err = findFundings(tx, `kind = 'bank' AND "user" <> '' AND state = 'DONE'
			AND id IN (SELECT order_id FROM postings WHERE type = 'funding-bank' AND day = ?) AND id NOT IN (SELECT serial FROM bank_lines)
			AND id NOT IN (SELECT serial FROM bank_differences)`, before.AddDate(0, 0, -1).Format("20060102"))
		return err
	})
	if err != nil {
		return err
	}
	content := bankapi.Day{Bank: channel.facts().Bank, Day: day}
	for _, f := range missing {
		outcome, err := channel.do(ctx, bankapi.PathQueries, bankapi.QueryRequest{Serial: f.id})
		if err != nil {
			return err
		}
		if news := fundingOutcome(*f, outcome); news.event == rules.FundingPaid {
			continue
		}
		err = p.store.Update(ctx, func(tx *Tx) error { return p.bookReceivable(tx, content, differenceShort, f, f.amount, report) })
		if err != nil {
			return err
		}
	}
	return nil
}

// ImportBankDays fetches the statements of all days since the first payment, up to
// yesterday, that are not there yet. Serve calls it all the time; without a payment
// no bank is asked.
func (p *Platform) ImportBankDays(ctx context.Context) error {
	var first, last string
	err := p.store.View(ctx, func(tx *Tx) error {
		if _, err := tx.row(`SELECT COALESCE(MIN(day), '') FROM bank_asks`, nil, &first); err != nil {
			return err
		}
		_, err := tx.row(`SELECT COALESCE(MAX(day), '') FROM bank_days`, nil, &last)
		return err
	})
	if err != nil || first == "" {
		return err
	}
	day := first
	if last != "" {
		if day, err = dayAfter(last); err != nil {
			return err
		}
	}
	for range bankDaysBack {
		if day >= businessDay(p.now().Add(-bankDayOver)) {
			return nil
		}
		if _, err := p.ImportBankDay(ctx, day); err != nil {
			return err
		}
		if day, err = dayAfter(day); err != nil {
			return err
		}
	}
	return nil
}

func dayAfter(day string) (string, error) {
	parsed, err := time.Parse("20060102", day)
	return parsed.AddDate(0, 0, 1).Format("20060102"), err
}

// attendBanks is the work with banks that waits for nobody's request.
func (p *Platform) attendBanks(ctx context.Context) {
	if p.banks.open == nil {
		return
	}
	_ = errors.Join(p.PursueReturns(ctx), p.undoKept(ctx), p.ImportBankDays(ctx)) // what fails now stays, and is tried again
}

// BankCheck is what an audit found about money on its way to bank cards.
type BankCheck struct {
	ReturningFen      wallet.Fen `json:"returningFen"`      // held for returns that the bank has not decided
	ReturnUnbookedFen wallet.Fen `json:"returnUnbookedFen"` // returns whose legs and postings differ
	BankReceivableFen wallet.Fen `json:"bankReceivableFen"` // owed by banks by our books alone
	BankDifferences   int        `json:"bankDifferences"`
}

func (r *BankCheck) read(tx *Tx) error {
	for _, sum := range []struct {
		target any
		query  string
	}{
		{&r.ReturningFen, `SELECT COALESCE(SUM(amount), 0) FROM bank_legs WHERE state = 'PENDING'`},
		{&r.ReturnUnbookedFen, `SELECT COALESCE(SUM(ABS(l.want - COALESCE((SELECT SUM(t.amount) FROM postings t
			WHERE t.order_id = l.return_id AND t.type = 'bank-return-post' AND t.account = 'bank-clearing'), 0))), 0)
			FROM (SELECT return_id, SUM(CASE WHEN state = 'DONE' THEN amount ELSE 0 END) AS want FROM bank_legs GROUP BY return_id) AS l`},
		{&r.BankReceivableFen, `SELECT -COALESCE(SUM(amount), 0) FROM postings WHERE account = 'bank-receivable'`},
		{&r.BankDifferences, `SELECT COUNT(*) FROM bank_differences`},
	} {
		if _, err := tx.row(sum.query, nil, sum.target); err != nil {
			return err
		}
	}
	return nil
}
