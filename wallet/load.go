package wallet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Desk is the place where a card, the platform and the journal meet. It holds no
// state of its own between two calls.
type Desk struct {
	Card    Card
	Issuer  Issuer  // of loads; not used by Pay and SettlePurchase
	Cashier Cashier // of purchases; not used by TopUp and Sync
	Journal Journal
	Signers SignerKeys

	// Epoch is that of the platform's session; a grant of another epoch is refused.
	// 0 means not known.
	Epoch int
	// PIN asks the person for the card's PIN, where the card wants one. triesLeft
	// is what the card said, 0 if it never said. The bytes are overwritten after
	// use. nil: no PIN can be asked for.
	PIN func(triesLeft int) ([]byte, error)
	// PINTriesLeft is what this card said after the last wrong PIN; 0: not known.
	// The last try is never used.
	PINTriesLeft int

	Progress func(Progress)  // may be nil
	Trace    func(TraceLine) // may be nil
}

// Progress tells how far an order has come. Stage is the one just reached.
type Progress struct {
	Key   string
	Stage Stage
}

// Outcome is how a top-up, a purchase or a sync ended.
type Outcome struct {
	Entry         Entry // as the journal holds it; after a Warning, as it should
	BalanceBefore Fen
	BalanceAfter  Fen
	TAC           Hex
	Warning       Code        // success, but this went wrong afterwards; "" for none
	State         *OrderState // the platform's signed answer, where it gave one instead of a grant
	OnCardLog     bool        // the card's newest log record carries our terminal number
	APDUs         int         // commands sent, GET RESPONSE not counted

	Purchase *PurchaseStatement // as State, of a purchase
}

// TopUp loads order onto the card (圈存): it asks the card, then the platform,
// then credits the card, and returns nil only when the card's TAC is on disk, or,
// with Outcome.Warning, at least in Outcome.Entry.
//
// script is the published open script of the profile, tid a leased number that
// was never used. The same order may be given again after an error that is not
// open, with a new tid. Errors are *Error and *Refused; IsOpen tells whether an
// order is or may be open, which only Sync can settle.
func (d Desk) TopUp(ctx context.Context, order Order, profile *Profile, script Script, tid TerminalNumber) (Outcome, error) {
	const op = "topup"
	run := &run{desk: d, op: op, entry: Entry{
		Key: order.Key, ASN: order.ASN, Amount: order.Amount, Fee: order.Fee, Source: order.Source,
		Attempt: 1, TID: tid, Epoch: d.Epoch,
	}}
	if err := run.write(ctx, StageIntent); err != nil {
		return run.outcome(), err
	}
	run.guard = NewLoadGuard(d.Card, profile, order, tid, d.Epoch, d.Trace)

	steps, err := run.open(ctx, profile, script, order.ASN)
	if err != nil {
		return run.outcome(), run.giveUp(ctx, err)
	}
	if err := run.write(ctx, StageOpened); err != nil {
		return run.outcome(), err
	}
	if err := run.write(ctx, StageAsked); err != nil {
		return run.outcome(), err
	}

	asking, cancel := context.WithDeadline(ctx, run.guard.initAt.Add(initToCredit))
	defer cancel()
	verdict, err := d.Issuer.RequestLoad(asking, LoadAsk{
		Order: order, Profile: profile.LoadName(), KeyIndex: profile.KeyIndex, TID: tid, Steps: steps,
	})
	arrived := time.Now()
	if err != nil {
		// The platform may have granted. The journal stays at ASKED, so that the
		// key can still be abandoned at the platform.
		return run.outcome(), asOpen(op, err)
	}
	if verdict.Granted == nil {
		return run.close(ctx, verdict.State)
	}
	return run.credit(ctx, *verdict.Granted, arrived)
}

// OpenForCard proves that a card is here: a load session with one INITIALIZE FOR
// LOAD of 1 fen over the leased number tid, and no CREDIT. A zero asn accepts any
// card. The steps go to the platform, which checks the MAC1.
func (d Desk) OpenForCard(ctx context.Context, asn ASN, profile *Profile, script Script, tid TerminalNumber) ([]StepResult, ASN, error) {
	run := &run{desk: d, op: "add card", entry: Entry{Amount: 1, TID: tid}}
	run.guard = NewProbeGuard(d.Card, profile, asn, tid, d.Trace)
	steps, err := run.open(ctx, profile, script, asn)
	if err != nil {
		return nil, ASN{}, err
	}
	read, _ := run.guard.ASN()
	return steps, read, nil
}

// run is one order on its way through TopUp or Sync.
type run struct {
	desk   Desk
	op     string
	guard  *Guard
	entry  Entry
	prove  *StepResult
	cannot error // why the card starts no load any more, in a sync
	onCard bool  // newest log record carries our number
	after  Fen   // balance that the card showed after CREDIT
	warn   Code
	state  *OrderState

	statement *PurchaseStatement
}

// write brings the entry to a stage, on disk. An error means that the caller goes
// no further: CodeJournalFailed.
func (r *run) write(ctx context.Context, stage Stage) error {
	next := r.entry
	next.Stage, next.At = stage, time.Now().UTC()
	if err := r.desk.Journal.Write(ctx, next); err != nil {
		failed := fail(CodeJournalFailed, r.op, err)
		failed.Open = r.entry.Stage.MayHaveMoney()
		return failed
	}
	reached := next.Stage != r.entry.Stage
	r.entry = next
	if reached && r.desk.Progress != nil {
		r.desk.Progress(Progress{Key: next.Key, Stage: stage})
	}
	return nil
}

// note is write for what is worth knowing but decides nothing: the stage on disk
// before it is as true.
func (r *run) note(stage Stage, code Code) {
	r.entry.Note = string(code)
	_ = r.write(context.Background(), stage)
}

func (r *run) outcome() Outcome {
	out := Outcome{
		Entry: r.entry, BalanceBefore: r.entry.BalanceBefore, BalanceAfter: r.entry.BalanceAfter,
		TAC: r.entry.TAC, Warning: r.warn, State: r.state, OnCardLog: r.onCard, Purchase: r.statement,
	}
	if r.guard != nil {
		out.APDUs = r.guard.Sent()
	}
	return out
}

// giveUp ends an order of which nobody was asked anything. A lost card or a pause
// leaves INTENT, so that the same order may be tried again; the rest is ABANDONED.
func (r *run) giveUp(ctx context.Context, err error) error {
	switch CodeOf(err) {
	case CodeCardLost, CodeCancelled, CodePINWrong, CodePINNeeded:
		return err
	}
	r.note(StageAbandoned, CodeOf(err))
	return err
}

// open runs the open script up to INITIALIZE FOR LOAD and returns the raw answers,
// one for each step. VERIFY, where the card wants it, stands in no script and in
// no answer.
func (r *run) open(ctx context.Context, profile *Profile, script Script, asn ASN) ([]StepResult, error) {
	commands, err := fillScript(script, profile, r.entry.Amount, r.entry.TID)
	if err != nil {
		return nil, err
	}
	last := len(commands) - 1
	steps, err := r.readCard(ctx, script, commands[:last], asn)
	if err != nil {
		return nil, err
	}
	if profile.SharedCounter {
		if err := r.proveBefore(ctx, profile); err != nil {
			return nil, err
		}
	}
	initialized, err := r.initialize(ctx, commands[last])
	if err != nil {
		return nil, err
	}
	if err := r.guard.checkCap(); err != nil {
		return nil, err
	}
	return append(steps, initialized.Step()), nil
}

// readCard runs the reading commands that open a script and checks that the card is
// the wanted one.
func (r *run) readCard(ctx context.Context, script Script, commands []Command, asn ASN) ([]StepResult, error) {
	steps := make([]StepResult, 0, len(commands)+1)
	for i, c := range commands {
		response, err := r.guard.Send(ctx, c)
		if err != nil {
			return nil, err
		}
		steps = append(steps, response.Step())
		if !expected(script.Steps[i], response.SW) {
			return nil, statusError(c.Name(), response.SW)
		}
	}
	return steps, r.checkCard(asn)
}

// checkCard compares the serial that was read with the one that is wanted, which
// is zero where any card will do.
func (r *run) checkCard(asn ASN) error {
	r.guard.useFCISerial()
	read, ok := r.guard.ASN()
	switch {
	case r.guard.asn == nil:
		return fail(CodeCardProtocol, r.op, errors.New("the card does not tell its serial"))
	case !ok || asn != (ASN{}) && read != asn:
		return fail(CodeCardOther, r.op, fmt.Errorf("%w: please present %s", ErrOtherCard, asn.Masked()))
	}
	return nil
}

// initialize sends INITIALIZE FOR LOAD and notes counter and balance.
func (r *run) initialize(ctx context.Context, c Command) (Response, error) {
	response, err := r.startSession(ctx, c)
	if err != nil {
		return response, err
	}
	init, fresh := r.guard.Init()
	if !fresh {
		return Response{}, fail(CodeCardProtocol, c.Name(), errResponseWanted)
	}
	r.entry.Seq, r.entry.BalanceBefore = init.Seq, init.Balance
	return response, nil
}

// startSession sends either INITIALIZE, with VERIFY before a second one where the
// card wants its PIN first (card dossier §1.6).
func (r *run) startSession(ctx context.Context, c Command) (Response, error) {
	response, err := r.guard.Send(ctx, c)
	if err != nil {
		return Response{}, err
	}
	if response.SW == SWSecurity || response.SW == SWConditions {
		if err := r.verify(ctx); err != nil {
			return Response{}, err
		}
		if response, err = r.guard.Send(ctx, c); err != nil {
			return Response{}, err
		}
	}
	if response.SW != SWOK {
		return response, statusError(c.Name(), response.SW)
	}
	return response, nil
}

// verify asks the person for the PIN and sends VERIFY 00 20 00 00 (card dossier §1.6).
func (r *run) verify(ctx context.Context) error {
	return verifyPIN(ctx, r.guard, r.desk.PIN, r.desk.PINTriesLeft)
}

func verifyPIN(ctx context.Context, guard *Guard, ask func(int) ([]byte, error), triesLeft int) error {
	const op = "VERIFY"
	switch {
	case ask == nil:
		return fail(CodePINNeeded, op, nil)
	case triesLeft == 1:
		return fail(CodePINLocked, op, errors.New("only one try is left"))
	}
	pin, err := ask(triesLeft)
	if err != nil {
		return fail(CodePINNeeded, op, err)
	}
	guard.AllowPIN(pin, triesLeft)
	response, err := guard.Send(ctx, Command{INS: insVerify, Data: pin, Le: NoLe})
	clear(pin)
	if err != nil {
		return err
	}
	if left, told := response.SW.triesLeft(); told {
		if left == 0 {
			return fail(CodePINLocked, op, &WrongPIN{})
		}
		return fail(CodePINWrong, op, &WrongPIN{Left: left})
	}
	if response.SW != SWOK {
		return statusError(op, response.SW)
	}
	return nil
}

// proveBefore asks for the proof of the last load before a new INITIALIZE can wipe
// it. Only cards whose counter also moves with purchases need it: there the
// counter alone will not prove that load later (protocol §2.7).
func (r *run) proveBefore(ctx context.Context, profile *Profile) error {
	for _, sfi := range profile.allLogSFIs() {
		response, err := r.guard.Send(ctx, readRecordCommand(sfi, 1))
		if err != nil {
			return err
		}
		record := ParseRecord(response.Data, sfi, 1, profile.LogOverdraft)
		if response.SW != SWOK || record.Problem != "" || !record.IsLoad() {
			continue
		}
		answer, err := r.guard.Send(ctx, proveCommand(record.Counter))
		if err != nil {
			return err
		}
		step := answer.Step()
		r.prove = &step
		return nil
	}
	return nil
}

// proveCommand is GET TRANSACTION PROVE of a load: 80 5A 00 02 02 ‹number› 08
// (card dossier §3.1).
func proveCommand(number uint16) Command { return proveOf(TypeLoadEP, number) }

// proveOf is GET TRANSACTION PROVE of a transaction type: 80 5A 00 ‹type› 02 ‹number› 08.
func proveOf(kind byte, number uint16) Command {
	return Command{CLA: 0x80, INS: insProve, P2: kind, Data: binary.BigEndian.AppendUint16(nil, number), Le: 8}
}

// credit is the second half of TopUp and of a completing Sync: it checks the
// grant and sends its one CREDIT. Every error it returns is open, and nothing
// that fails after the card's TAC turns success into failure.
func (r *run) credit(ctx context.Context, granted GrantedScript, arrived time.Time) (Outcome, error) {
	accepted, err := r.guard.Accept(granted, r.desk.Signers, arrived)
	if err != nil {
		r.note(StageUnknown, CodeOf(err))
		return r.outcome(), asOpen(r.op, err)
	}
	r.adopt(accepted.Grant, granted.Grant)
	if err := r.write(ctx, StageGranted); err != nil {
		return r.outcome(), asOpen(r.op, err)
	}
	if err := ctx.Err(); err != nil {
		return r.outcome(), asOpen(r.op, fail(CodeCancelled, r.op, err))
	}
	if err := r.write(ctx, StageCrediting); err != nil {
		return r.outcome(), asOpen(r.op, err)
	}

	// From here on the person's wish to stop comes too late: stopping would only
	// turn a known outcome into an unknown one.
	ctx = context.WithoutCancel(ctx)
	response, err := r.guard.Send(ctx, accepted.Commands[0])
	if err == nil && (response.SW != SWOK || len(response.Data) != 4) {
		err = fail(CodeOutcomeUnknown, "CREDIT FOR LOAD", fmt.Errorf("%v, %s", response.SW, response.SW.Meaning()))
		r.entry.Steps, r.entry.Executed = []StepResult{response.Step()}, 1
	}
	if err != nil {
		r.note(StageUnknown, CodeOf(err))
		return r.outcome(), asOpen(r.op, err)
	}
	r.entry.TAC = append(Hex(nil), response.Data...)
	r.entry.Steps, r.entry.Executed = []StepResult{response.Step()}, 1
	r.entry.BalanceAfter = r.entry.BalanceBefore + r.entry.Amount
	if err := r.write(ctx, StageCredited); err != nil {
		r.entry.Stage, r.entry.At = StageCredited, time.Now().UTC()
		r.warn = CodeJournalFailed
	}
	return r.lookAfter(ctx, accepted.Commands[1:])
}

// adopt takes over what the grant fixes.
func (r *run) adopt(grant Grant, signed Signed) {
	r.entry.Order, r.entry.Attempt, r.entry.Epoch = grant.Order, grant.Attempt, grant.Epoch
	r.entry.TID, r.entry.ProbeTID, r.entry.Seq = grant.TID, grant.ProbeTID, grant.Seq
	r.entry.Fee, r.entry.Source = grant.Fee, grant.Source
	r.entry.BalanceBefore = r.guard.init.Balance
	r.entry.Grant = &signed
	r.entry.TAC, r.entry.Steps, r.entry.Executed, r.entry.Note = nil, nil, 0, ""
}

// lookAfter runs the reading rest of the grant's script. A balance that is
// readable and wrong is an alarm (protocol §2.9 rule 7); everything else is noted only.
func (r *run) lookAfter(ctx context.Context, commands []Command) (Outcome, error) {
	balance := balanceCommand(r.guard.terms.profile.P2)
	asksBalance := false
	for _, c := range commands {
		asksBalance = asksBalance || c.INS == insGetBalance
	}
	if !asksBalance {
		commands = append([]Command{balance}, commands...)
	}
	for _, c := range commands {
		response, err := r.guard.Send(ctx, c)
		if err != nil {
			break
		}
		if response.SW != SWOK {
			continue
		}
		switch {
		case c.INS == insGetBalance && len(response.Data) == 4:
			shown := Fen(binary.BigEndian.Uint32(response.Data))
			if shown != r.entry.BalanceAfter {
				r.note(StageUnknown, CodeBalanceWrong)
				err := fmt.Errorf("%s instead of %s yuan", shown.Yuan(), r.entry.BalanceAfter.Yuan())
				return r.outcome(), asOpen(r.op, fail(CodeBalanceWrong, "GET BALANCE", err))
			}
		case c.INS == insReadRecord:
			record := ParseRecord(response.Data, c.P2>>3, int(c.P1), OverdraftUnknown)
			r.onCard = r.onCard || record.Problem == "" && record.Terminal == r.entry.TID
		}
	}
	return r.outcome(), nil
}

// close ends a run by a signed state instead of a grant.
func (r *run) close(ctx context.Context, state *OrderState) (Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	if state == nil || !r.concerns(*state) {
		err := errors.New("the platform's answer concerns another order")
		return r.outcome(), asOpen(r.op, fail(CodeOutcomeUnknown, r.op, err))
	}
	r.state = state
	if state.Order != "" {
		r.entry.Order = state.Order
	}
	switch state.State {
	case StateLoaded:
		return r.settled(ctx, StageConfirmed)
	case StateVoided:
		return r.settled(ctx, StageVoided)
	case StateGranted:
		if r.cannot != nil {
			// The proof convinced nobody and the card gives no other: no touch will.
			return r.outcome(), asOpen(r.op, r.cannot)
		}
		return r.outcome(), nil
	case StateSuspense:
		if r.entry.Stage != StageCredited {
			r.note(StageUnknown, Code(state.State))
		}
		return r.outcome(), nil
	}
	if state.Code == "" {
		return r.outcome(), asOpen(r.op, fail(CodeOutcomeUnknown, r.op, fmt.Errorf("state %q", state.State)))
	}
	return r.refused(ctx, *state)
}

// refused ends a run by a signed refusal. A refused load is final for its key; a
// refused attempt leaves its order as it was.
func (r *run) refused(ctx context.Context, state OrderState) (Outcome, error) {
	refusal := &Refused{State: state, Prove: r.prove}
	if state.State != StateDeclined && r.guard.session == SessionSync {
		return r.outcome(), &Error{Code: refusal.Code(), Op: r.op, Open: true, Err: refusal}
	}
	r.entry.Note = state.Code
	if r.entry.Stage.CanFollow(KindLoad, StageDeclined) {
		if err := r.write(ctx, StageDeclined); err != nil {
			r.warn = CodeJournalFailed
		}
	}
	return r.outcome(), refusal
}

// settled writes a final stage. If that fails the order is settled all the same:
// the journal keeps an open stage and meets the same answer again.
func (r *run) settled(ctx context.Context, stage Stage) (Outcome, error) {
	if body := r.state.ReceiptBody; body != nil {
		priced := r.entry.Source != ""
		if body.Amount != r.entry.Amount || body.ASN != r.entry.ASN || priced && (body.Fee != r.entry.Fee || body.Source != r.entry.Source) {
			err := errors.New("the receipt names another card, amount, fee or source")
			return r.outcome(), asOpen(r.op, fail(CodeOutcomeUnknown, r.op, err))
		}
		r.entry.BalanceBefore, r.entry.BalanceAfter = body.BalanceBefore, body.BalanceAfter
		if len(body.TAC) > 0 && (r.entry.Grant == nil || body.TID == r.entry.TID) {
			r.entry.TAC = body.TAC // of another attempt it would not fit the grant kept here
		}
	}
	if err := r.write(ctx, stage); err != nil {
		r.warn = CodeJournalFailed
	}
	return r.outcome(), nil
}

// concerns reports whether a signed state is about this order.
func (r *run) concerns(state OrderState) bool {
	order := r.entry.Order
	byOrder := order != "" && state.Order == order
	byKey := state.Key != "" && state.Key == r.entry.Key
	if r.guard.session == SessionSync {
		return byOrder
	}
	return byKey || byOrder
}
