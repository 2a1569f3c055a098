package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Pay pays a merchant's order from the card (消费): it asks the card, then the
// platform, then debits the card, and returns nil only when the card's TAC and MAC2
// are on disk, or, with Outcome.Warning, at least in Outcome.Entry. The card is
// debited then; that the goods are delivered is another fact, which only the
// platform's answer to the result tells.
//
// script is the published open script of the profile for purchases, tid a leased
// number that was never used. The same payment may be given again after an error
// that is not open, with a new tid. Errors are *Error and *Refused; IsOpen tells
// whether a purchase is or may be open, which only SettlePurchase can settle.
func (d Desk) Pay(ctx context.Context, payment Payment, profile *Profile, script Script, tid TerminalNumber) (Outcome, error) {
	const op = "pay"
	run := &run{desk: d, op: op, entry: Entry{
		Kind: KindPurchase, Key: payment.Key, ASN: payment.ASN, Amount: payment.Amount, MerchantOrder: payment.MerchantOrder,
		Merchant: payment.Merchant, Goods: payment.Goods, Unload: payment.Unload, TID: tid, Epoch: d.Epoch,
	}}
	if err := run.write(ctx, StagePurchaseIntent); err != nil {
		return run.outcome(), err
	}
	run.guard = NewPurchaseGuard(d.Card, profile, payment, tid, d.Epoch, d.Trace)

	steps, err := run.openPurchase(ctx, profile, script, payment.ASN)
	if err != nil {
		return run.outcome(), run.giveUp(err)
	}
	if err := run.write(ctx, StageAsked); err != nil {
		return run.outcome(), err
	}

	asking, cancel := context.WithDeadline(ctx, run.guard.initAt.Add(initToCredit))
	defer cancel()
	verdict, err := d.Cashier.RequestPurchase(asking, PurchaseAsk{
		Payment: payment, Profile: profile.LoadName(), KeyIndex: profile.KeyIndex, TID: tid, Steps: steps,
	})
	arrived := time.Now()
	if err != nil {
		// The platform may have authorised. The journal stays at ASKED, so that the key
		// can still be abandoned at the platform.
		return run.stillOpen(err)
	}
	if verdict.Granted == nil {
		return run.closePurchase(ctx, verdict.State)
	}
	return run.debit(ctx, *verdict.Granted, arrived)
}

// openPurchase runs the open script up to INITIALIZE FOR PURCHASE and returns the raw
// answers, one for each step.
func (r *run) openPurchase(ctx context.Context, profile *Profile, script Script, asn ASN) ([]StepResult, error) {
	steps, initialize, err := r.readCard(ctx, profile, script, asn)
	if err != nil {
		return nil, err
	}
	answer, err := r.startSession(ctx, initialize)
	if err != nil {
		return nil, err
	}
	init, fresh := r.guard.PurchaseInit()
	if !fresh {
		return nil, fail(CodeCardProtocol, initialize.Name(), errResponseWanted)
	}
	r.entry.Seq, r.entry.BalanceBefore = init.Number, init.Balance
	return append(steps, answer.Step()), r.guard.checkPurse()
}

// debit is the second half of Pay: it checks the grant and sends its one DEBIT.
// Every error it returns is open, and nothing that fails after the card's TAC and
// MAC2 are known turns "debited" into anything else.
func (r *run) debit(ctx context.Context, granted PurchaseGrantedScript, arrived time.Time) (Outcome, error) {
	accepted, err := r.guard.AcceptPurchase(granted, r.desk.Signers, arrived)
	if err != nil {
		return r.doubt(StageAuthorised, err)
	}
	r.adoptPurchase(accepted.Grant, granted.Grant)
	if err := r.write(ctx, StageAuthorised); err != nil {
		return r.stillOpen(err)
	}
	ctx, err = r.commitTo(ctx, StageDebiting)
	if err != nil {
		return r.stillOpen(err)
	}
	response, err := r.move(ctx, accepted.Commands[0], 8)
	if err != nil {
		return r.doubt(StageDebiting, err)
	}
	r.entry.TAC, r.entry.MAC2 = append(Hex(nil), response.Data[:4]...), append(Hex(nil), response.Data[4:]...)
	r.entry.BalanceAfter = r.entry.BalanceBefore - r.entry.Amount
	r.proved(ctx, StageDebited)
	return r.afterDebit(ctx, accepted)
}

// adoptPurchase takes over what the grant fixes.
func (r *run) adoptPurchase(grant PurchaseGrant, signed Signed) {
	r.entry.Order, r.entry.Epoch, r.entry.ProbeTID = grant.Purchase, grant.Epoch, grant.ProbeTID
	r.entry.TerminalSerial = grant.TerminalSerial
	r.entry.Grant = &signed
	r.entry.TAC, r.entry.MAC2, r.entry.Steps, r.entry.Executed, r.entry.Note = nil, nil, nil, 0, ""
}

// afterDebit runs the rest of the grant's script: what it reads, and for a return
// of balance INITIALIZE FOR LOAD over the probe, whose MAC1 proves the lower
// balance. A step that fails only ends the script.
func (r *run) afterDebit(ctx context.Context, accepted AcceptedPurchase) (Outcome, error) {
	commands := accepted.Commands
	for i, c := range commands[1:] {
		response, err := r.afterStep(ctx, c)
		if err != nil {
			break
		}
		if accepted.Grant.Unload {
			r.entry.Steps, r.entry.Executed = append(r.entry.Steps, response.Step()), i+2
		}
		if err := r.compare(c, response); err != nil {
			return r.doubt(StageDebited, err)
		}
	}
	if accepted.Grant.Unload && r.warn == "" {
		// The result of a return of balance needs the answer to the probe as well.
		r.finish(ctx, StageDebited)
	}
	return r.outcome(), nil
}

// afterStep sends one command after DEBIT; the probe may want the card's PIN first.
func (r *run) afterStep(ctx context.Context, c Command) (Response, error) {
	if c.INS != insInitialize {
		return r.guard.Send(ctx, c)
	}
	return r.startSession(ctx, c)
}

// stageOfPurchase is the stage to which a signed state brings the journal. AUTHORISED
// and SUSPENSE decide nothing and are not in it.
var stageOfPurchase = map[PurchaseStateName]Stage{
	PurchasePaid:     StageConfirmed,
	PurchaseRefunded: StageRefunded,
	PurchaseNotTaken: StageNotTaken,
	PurchaseDoubtful: StageDoubtful,
}

// StageOf is the stage to which the platform's signed state of a purchase brings
// the journal, and false where it decides nothing.
func (s PurchaseStateName) StageOf() (Stage, bool) {
	if s == PurchaseDeclined {
		return StageDeclined, true
	}
	stage, decided := stageOfPurchase[s]
	return stage, decided
}

// closePurchase ends a run by a signed statement instead of a grant.
func (r *run) closePurchase(ctx context.Context, statement *PurchaseStatement) (Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	if statement == nil || !r.concernsPurchase(*statement) {
		err := errors.New("the platform's answer concerns another purchase")
		return r.stillOpen(fail(CodeOutcomeUnknown, r.op, err))
	}
	if err := checkPurchaseReceipt(r.entry, *statement); err != nil {
		return r.stillOpen(fail(CodeOutcomeUnknown, r.op, err))
	}
	r.statement = statement
	if statement.Purchase != "" {
		r.entry.Order = statement.Purchase
	}
	if stage, settled := stageOfPurchase[statement.State]; settled {
		if body := statement.ReceiptBody; body != nil && len(body.TAC) > 0 {
			r.entry.TAC, r.entry.BalanceAfter = body.TAC, body.BalanceAfter
			r.keepProvenMAC2()
		}
		r.entry.Note = statement.Evidence
		r.finish(ctx, stage)
		return r.outcome(), nil
	}
	switch statement.State {
	case PurchaseAuthorised:
		if statement.Code != "" {
			return r.refusedPurchase(ctx, *statement)
		}
		if r.cannot != nil {
			// The proof convinced nobody and the card gives no other: no touch will.
			return r.stillOpen(r.cannot)
		}
		return r.outcome(), nil
	case PurchaseSuspense:
		if r.entry.Stage != StageDebited {
			r.note(r.entry.Stage, Code(statement.State))
		}
		return r.outcome(), nil
	}
	if statement.Code == "" {
		return r.stillOpen(fail(CodeOutcomeUnknown, r.op, fmt.Errorf("state %q", statement.State)))
	}
	return r.refusedPurchase(ctx, *statement)
}

// keepProvenMAC2 keeps the MAC2 that GET TRANSACTION PROVE gave beside the TAC that
// the platform verified: should the platform lose the purchase in a restore, only
// both together pay it again.
func (r *run) keepProvenMAC2() {
	if r.prove != nil && len(r.prove.Data) == 8 && bytes.Equal(r.prove.Data[4:], r.entry.TAC) {
		r.entry.MAC2 = append(Hex(nil), r.prove.Data[:4]...)
	}
}

// refusedPurchase ends a run by a signed refusal. A refused purchase is final for
// its key; refused evidence leaves the purchase as it was.
func (r *run) refusedPurchase(ctx context.Context, statement PurchaseStatement) (Outcome, error) {
	refusal := &Refused{Purchase: &statement, State: OrderState{
		Key: statement.Key, Order: statement.Purchase, Request: statement.Request, Issued: statement.Issued, State: StateDeclined,
		Code: statement.Code, Text: statement.Text, RetryAfter: statement.RetryAfter, Standing: statement.Standing, LimitFen: statement.LimitFen, Pending: statement.PendingLoad,
	}}
	if r.guard.terms.payment == nil || statement.State != PurchaseDeclined && statement.State != "" {
		return r.outcome(), &Error{Code: refusal.Code(), Op: r.op, Open: true, Err: refusal}
	}
	r.entry.Note = statement.Code
	r.finish(ctx, StageDeclined)
	return r.outcome(), refusal
}

// checkPurchaseReceipt compares a receipt with what was confirmed.
func checkPurchaseReceipt(entry Entry, statement PurchaseStatement) error {
	body := statement.ReceiptBody
	if body == nil {
		return nil
	}
	named := entry.MerchantOrder != ""
	if body.ASN != entry.ASN || body.Amount != entry.Amount || named && body.MerchantOrder != entry.MerchantOrder {
		return errors.New("the receipt names another card, amount or merchant order")
	}
	return nil
}

// concernsPurchase reports whether a signed statement is about this purchase. The key
// of an entry that was only met here (MetUnder) is not the purchase's own.
func (r *run) concernsPurchase(statement PurchaseStatement) bool {
	byNumber := r.entry.Order != "" && statement.Purchase == r.entry.Order
	byKey := statement.Key != "" && statement.Key == r.entry.Key
	if statement.Key != "" && !byKey && !MetUnder(r.entry.Key, r.entry.Order) {
		return false
	}
	return byNumber || byKey && r.guard.terms.payment != nil
}
