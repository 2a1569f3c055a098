package core

import (
	"context"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// FundingPlatform is the wire to the platform for money that comes from outside. Every
// statement is signed and verified, and comes with its bytes to be kept.
type FundingPlatform interface {
	// Fund asks under the key. secret is the payment password for a bank, the PIN for a
	// voucher. A refusal is a statement; an error means that nobody knows.
	Fund(ctx context.Context, key string, request api.FundingRequest, secret string) (wallet.FundingStatement, wallet.Signed, error)
	// AbandonFunding closes a key whose answer never came, or tells how it stands.
	AbandonFunding(ctx context.Context, key string) (wallet.FundingStatement, wallet.Signed, error)
	// Funding tells how a funding stands, by the platform's number.
	Funding(ctx context.Context, funding string) (wallet.FundingStatement, wallet.Signed, error)
	Fundings(ctx context.Context) (api.Fundings, error)
}

// fundingPoll is how often a funding that nobody knows the end of is looked at while
// the person waits, for AckWait at most.
const fundingPoll = 300 * time.Millisecond

// MoneySource is where money comes from, outside of the main account.
type MoneySource struct {
	Source api.FundingSource // kind, and which bank card or voucher; without seals
	// Secret is asked once, after the confirmation: the payment password for a bank,
	// the PIN for a voucher.
	Secret func(ctx context.Context) (string, error)

	// Code is asked before a payment from a bank card for the code that the bank sends
	// where a limit wants one; nil where none is wanted, or nobody can be asked.
	Code func(ctx context.Context, binding string, amount wallet.Fen) (*api.SMSCode, error)
	// Page shows the address at which the person pays at a bank's gateway; Wait is for
	// how long the payment is waited for then.
	Page func(address string)
	Wait time.Duration
}

// Name is the source as journal and receipts name it.
func (s MoneySource) Name() string { return s.Source.Name() }

// FundAsk is a wish to bring money into the main account.
type FundAsk struct {
	Amount  wallet.Fen // 0: what the voucher is worth
	From    MoneySource
	Confirm func(ctx context.Context, confirmation FundConfirmation) error
}

// FundConfirmation is everything the person agrees to before money is asked for.
type FundConfirmation struct {
	Amount wallet.Fen // 0: only the voucher knows
	Source string
}

// FundResult is what is known at the end of a funding, also of one that failed.
type FundResult struct {
	Entry     wallet.Entry // newest entry of the journal
	Statement *wallet.FundingStatement
	Requests  int           // all of them are waited for
	Elapsed   time.Duration // from the confirmation to the end
}

// fund is Fund, untold.
func (c *Core) fund(ctx context.Context, ask FundAsk) (FundResult, error) {
	var result FundResult
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return result, err
	}
	defer unlock()
	if err := c.Platform.Connect(ctx); err != nil {
		return result, err
	}
	c.resendAfterRestore(ctx)
	if _, err := c.settleFundings(ctx, SyncAsk{}); err != nil {
		return result, c.openIfKept(ctx, err)
	}
	if err := ask.Confirm(ctx, FundConfirmation{Amount: ask.Amount, Source: ask.From.Name()}); err != nil {
		return result, err
	}
	began, requestsBefore := time.Now(), c.Platform.Requests()
	result.Entry, result.Statement, err = c.bringIn(ctx, ask.Amount, ask.From)
	result.Requests, result.Elapsed = c.Platform.Requests()-requestsBefore, time.Since(began)
	return result, err
}

// bringIn brings confirmed money into the main account: the key is on disk before the
// request may leave. It returns without error only when the main account has the
// money and the platform has signed so.
func (c *Core) bringIn(ctx context.Context, amount wallet.Fen, from MoneySource) (wallet.Entry, *wallet.FundingStatement, error) {
	secret, err := from.Secret(ctx)
	if err != nil {
		return wallet.Entry{}, nil, err
	}
	if from.Code != nil {
		if from.Source.Code, err = from.Code(ctx, from.Source.ID, amount); err != nil {
			return wallet.Entry{}, nil, err
		}
	}
	entry := wallet.Entry{
		Kind: wallet.KindFunding, Key: c.NewKey(), Stage: wallet.StageAsked, Amount: amount, Source: from.Name(),
		Epoch: c.Platform.Session().Epoch, At: c.Now(),
	}
	if err := c.journal().Write(ctx, entry); err != nil {
		return entry, nil, &Failure{Code: "JOURNAL_FAILED", Err: err}
	}
	statement, raw, err := c.Platform.Fund(ctx, entry.Key, api.FundingRequest{Amount: amount, Source: from.Source}, secret)
	if err != nil {
		return c.afterFundingFailure(ctx, entry, err)
	}
	entry = c.bookFunding(context.WithoutCancel(ctx), entry, statement, raw)
	wait := c.AckWait
	if statement.Page != "" && from.Page != nil {
		from.Page(statement.Page)
		wait = max(wait, from.Wait)
	}
	entry, statement = c.awaitFunding(ctx, entry, statement, wait)
	return entry, &statement, fundingEnd(entry, statement)
}

// awaitFunding looks again while nobody knows, for so long.
func (c *Core) awaitFunding(ctx context.Context, entry wallet.Entry, statement wallet.FundingStatement, wait time.Duration) (wallet.Entry, wallet.FundingStatement) {
	waiting, stop := context.WithTimeout(ctx, wait)
	defer stop()
	for !statement.State.Final() {
		select {
		case <-waiting.Done():
			return entry, statement
		case <-time.After(fundingPoll):
		}
		told, raw, err := c.Platform.Funding(waiting, entry.Order)
		if err != nil {
			return entry, statement
		}
		statement = told
		entry = c.bookFunding(context.WithoutCancel(ctx), entry, statement, raw)
	}
	return entry, statement
}

// fundingEnd is the failure of a funding that did not bring the money.
func fundingEnd(entry wallet.Entry, statement wallet.FundingStatement) error {
	detail := fundingDetail(entry)
	switch statement.State {
	case wallet.FundingDone:
		return nil
	case wallet.FundingDeclined:
		return statement.Refusal()
	case wallet.FundingReversed:
		return &Failure{Code: "FUNDING_REVERSED", Detail: detail}
	}
	return &Failure{Code: "FUNDING_PENDING", Order: &entry, Detail: detail}
}

// fundingDetail is what a failure tells of a funding, as far as it is known.
func fundingDetail(entry wallet.Entry) map[string]any {
	detail := map[string]any{}
	if entry.Order != "" {
		detail["order"] = entry.Order
	}
	if entry.Amount > 0 {
		detail["amountFen"] = entry.Amount
	}
	return detail
}

// afterFundingFailure asks at once what became of a request without an answer: a key
// that the platform has not seen gets its tombstone, so that a late request is
// refused; one that it has seen tells its end. It is done also after Ctrl+C.
func (c *Core) afterFundingFailure(ctx context.Context, entry wallet.Entry, err error) (wallet.Entry, *wallet.FundingStatement, error) {
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), c.AckWait)
	defer stop()
	statement, raw, askErr := c.Platform.AbandonFunding(asking, entry.Key)
	if askErr != nil {
		return entry, nil, &Failure{Code: "FUNDING_PENDING", Order: &entry, Detail: fundingDetail(entry), Err: err}
	}
	entry = c.bookFunding(asking, entry, statement, raw)
	if statement.Code == api.CodeAbandoned {
		return entry, &statement, nothingPaid(err)
	}
	return entry, &statement, fundingEnd(entry, statement)
}

// bookFunding writes what the platform signed about a funding into the journal and
// returns the entry as it stands then. A write that fails loses nothing: the next
// start asks again.
func (c *Core) bookFunding(ctx context.Context, entry wallet.Entry, statement wallet.FundingStatement, raw wallet.Signed) wallet.Entry {
	before := entry
	if statement.Funding != "" {
		entry.Order = statement.Funding
	}
	if statement.State == wallet.FundingDone {
		entry.Amount = statement.Amount // a voucher tells it at the end
	}
	next, final := statement.State.StageOf()
	if final {
		entry.Stage, entry.Note = next, statement.Code
	}
	if statement.ReceiptBody != nil {
		_ = c.Store.PutReceipt(ctx, statement.Funding, raw)
	}
	if !final && entry.Order == before.Order {
		return entry
	}
	entry.At = c.Now()
	if err := c.journal().Write(ctx, entry); err != nil {
		return before
	}
	return entry
}

// settleFundings asks what became of the fundings that are open here. No card is
// needed: what the platform signs is all there is.
func (c *Core) settleFundings(ctx context.Context, ask SyncAsk) ([]SyncLine, error) {
	entries, err := c.Store.Entries(ctx, ask.openEntries())
	if err != nil {
		return nil, err
	}
	var lines []SyncLine
	for _, entry := range entries {
		if !entry.IsFunding() {
			continue
		}
		line, err := c.askAboutFunding(ctx, entry)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// askAboutFunding asks about one open funding, by number where the platform has given
// one, and by key, with the tombstone, where its answer never came.
func (c *Core) askAboutFunding(ctx context.Context, entry wallet.Entry) (SyncLine, error) {
	before := c.Platform.Requests()
	line := SyncLine{
		Order: entry.Order, Kind: wallet.KindFunding, Key: entry.Key, From: wallet.LoadState(wallet.FundingReceived),
		Intent: wallet.IntentSettle, Evidence: "none",
	}
	ask := func() (wallet.FundingStatement, wallet.Signed, error) {
		return c.Platform.AbandonFunding(ctx, entry.Key)
	}
	if entry.Order != "" {
		line.From = wallet.LoadState(wallet.FundingPending)
		ask = func() (wallet.FundingStatement, wallet.Signed, error) { return c.Platform.Funding(ctx, entry.Order) }
	}
	statement, raw, err := ask()
	if failure := Explain(err); failure != nil && failure.Code == "NOT_FOUND" {
		// A restore of the platform lost it. Only the source's own books can tell.
		line.To, line.Amount = line.From, entry.Amount
		return line, nil
	}
	if err != nil {
		return line, err
	}
	entry = c.bookFunding(context.WithoutCancel(ctx), entry, statement, raw)
	line.Order, line.To, line.Amount = entry.Order, wallet.LoadState(statement.State), entry.Amount
	line.Requests = c.Platform.Requests() - before
	line.RequestsWaited = line.Requests
	return line, nil
}

// settleFundingsAlone is what a start-up does, without a person who waits: while
// another command works with money it leaves everything alone. It reports whether a
// funding is still open.
func (c *Core) settleFundingsAlone(ctx context.Context) (open bool, err error) {
	waiting := func() (bool, error) {
		entries, err := c.Store.Entries(ctx, EntryFilter{OpenOnly: true})
		for _, entry := range entries {
			if entry.IsFunding() {
				return true, nil
			}
		}
		return false, err
	}
	if open, err = waiting(); err != nil || !open {
		return false, err
	}
	unlock, err := c.LockMoney(ctx)
	if err != nil {
		return true, err
	}
	defer unlock()
	if err := c.Platform.Connect(ctx); err != nil {
		return true, err
	}
	if _, err := c.settleFundings(ctx, SyncAsk{}); err != nil {
		return true, err
	}
	return waiting()
}

// FundingReceipt returns the signed receipt of a funding, as Receipt does of a load.
func (c *Core) FundingReceipt(ctx context.Context, funding string) (wallet.FundingReceipt, error) {
	signed, found, err := c.Store.Receipt(ctx, funding)
	if err != nil {
		return wallet.FundingReceipt{}, err
	}
	if found && c.Platform != nil {
		var statement wallet.FundingStatement
		if err := c.Platform.Signers().Open(wallet.DomainFunding, signed, &statement); err == nil && statement.ReceiptBody != nil {
			return *statement.ReceiptBody, nil
		}
	}
	if err := c.connect(ctx); err != nil {
		return wallet.FundingReceipt{}, err
	}
	listed, err := c.Platform.Fundings(ctx)
	if err != nil {
		return wallet.FundingReceipt{}, err
	}
	for _, each := range listed.Fundings {
		if each.Funding == funding && each.ReceiptBody != nil {
			return *each.ReceiptBody, nil
		}
	}
	return wallet.FundingReceipt{}, &Failure{Code: "ORDER_UNKNOWN", Detail: map[string]any{"order": funding}}
}

// lineOfFunding is what the platform says of a funding.
func lineOfFunding(funding api.Funding, stage wallet.Stage) OrderLine {
	line := OrderLine{
		Order: funding.Funding, Key: funding.Key, Kind: wallet.KindFunding, State: wallet.LoadState(funding.State), Stage: stage,
		Amount: funding.Amount, Created: funding.Created, Source: funding.Source, Funding: funding.ReceiptBody,
	}
	line.decideFunding()
	return line
}

var fundingOfStage = map[wallet.Stage]wallet.FundingState{
	wallet.StageAsked: wallet.FundingReceived, wallet.StageConfirmed: wallet.FundingDone,
	wallet.StageDeclined: wallet.FundingDeclined, wallet.StageVoided: wallet.FundingReversed,
}

// fundingEntryLine speaks for a funding that the platform does not list.
func fundingEntryLine(entry wallet.Entry) OrderLine {
	line := OrderLine{
		Order: entry.Order, Key: entry.Key, Kind: wallet.KindFunding, State: wallet.LoadState(fundingOfStage[entry.Stage]), Stage: entry.Stage,
		Amount: entry.Amount, Created: entry.At, Source: entry.Source,
	}
	if entry.Stage == wallet.StageAsked && entry.Order != "" {
		line.State = wallet.LoadState(wallet.FundingPending)
	}
	line.decideFunding()
	return line
}

// decideFunding: the money is paid in or it is not; it is on no card either way. What
// this computer has asked for and does not know the end of, sync asks about.
func (l *OrderLine) decideFunding() {
	no, state := false, wallet.FundingState(l.State)
	l.Paid, l.OnCard, l.Next = state == wallet.FundingDone, &no, "none"
	switch {
	case state.Final():
	case l.Stage == wallet.StageAsked:
		l.Next = "sync"
	default:
		l.Next = "wait"
	}
}
