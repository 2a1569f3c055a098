package wallet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

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
		return run.outcome(), run.giveUp(err)
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
		return run.stillOpen(err)
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

// open runs the open script up to INITIALIZE FOR LOAD and returns the raw answers,
// one for each step.
func (r *run) open(ctx context.Context, profile *Profile, script Script, asn ASN) ([]StepResult, error) {
	steps, initialize, err := r.readCard(ctx, profile, script, asn)
	if err != nil {
		return nil, err
	}
	if profile.SharedCounter {
		if err := r.proveBefore(ctx, profile); err != nil {
			return nil, err
		}
	}
	answer, err := r.startLoad(ctx, initialize)
	if err != nil {
		return nil, err
	}
	r.noteInit()
	return append(steps, answer.Step()), r.guard.checkCap()
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
		answer, err := r.guard.Send(ctx, proveCommand(TypeLoadEP, record.Counter))
		if err != nil {
			return err
		}
		step := answer.Step()
		r.prove = &step
		return nil
	}
	return nil
}

// startLoad sends INITIALIZE FOR LOAD.
func (r *run) startLoad(ctx context.Context, c Command) (Response, error) {
	response, err := r.startSession(ctx, c)
	if err != nil {
		return response, err
	}
	if _, fresh := r.guard.Init(); !fresh {
		return response, fail(CodeCardProtocol, c.Name(), errResponseWanted)
	}
	return response, nil
}

// noteInit takes over counter and balance from INITIALIZE FOR LOAD.
func (r *run) noteInit() { r.entry.Seq, r.entry.BalanceBefore = r.guard.init.Seq, r.guard.init.Balance }

// credit is the second half of TopUp and of a completing Sync: it checks the
// grant and sends its one CREDIT. Every error it returns is open, and nothing
// that fails after the card's TAC turns success into failure.
func (r *run) credit(ctx context.Context, granted GrantedScript, arrived time.Time) (Outcome, error) {
	accepted, err := r.guard.Accept(granted, r.desk.Signers, arrived)
	if err != nil {
		return r.doubt(StageUnknown, err)
	}
	r.adopt(accepted.Grant, granted.Grant)
	if err := r.write(ctx, StageGranted); err != nil {
		return r.stillOpen(err)
	}
	ctx, err = r.commitTo(ctx, StageCrediting)
	if err != nil {
		return r.stillOpen(err)
	}
	response, err := r.move(ctx, accepted.Commands[0], 4)
	if err != nil {
		return r.doubt(StageUnknown, err)
	}
	r.entry.TAC = append(Hex(nil), response.Data...)
	r.entry.BalanceAfter = r.entry.BalanceBefore + r.entry.Amount
	r.proved(ctx, StageCredited)
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

// lookAfter runs the reading rest of the grant's script, with GET BALANCE where the
// script does not ask for it. A step that fails only ends the script.
func (r *run) lookAfter(ctx context.Context, commands []Command) (Outcome, error) {
	if !slices.ContainsFunc(commands, func(c Command) bool { return c.INS == insGetBalance }) {
		commands = append([]Command{balanceCommand(r.guard.terms.profile.P2)}, commands...)
	}
	for _, c := range commands {
		response, err := r.guard.Send(ctx, c)
		if err != nil {
			break
		}
		if err := r.compare(c, response); err != nil {
			return r.doubt(StageUnknown, err)
		}
	}
	return r.outcome(), nil
}

// close ends a run by a signed state instead of a grant.
func (r *run) close(ctx context.Context, state *OrderState) (Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	if state == nil || !r.concerns(*state) {
		err := errors.New("the platform's answer concerns another order")
		return r.stillOpen(fail(CodeOutcomeUnknown, r.op, err))
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
			return r.stillOpen(r.cannot)
		}
		return r.outcome(), nil
	case StateSuspense:
		if r.entry.Stage != StageCredited {
			r.note(StageUnknown, Code(state.State))
		}
		return r.outcome(), nil
	}
	if state.Code == "" {
		return r.stillOpen(fail(CodeOutcomeUnknown, r.op, fmt.Errorf("state %q", state.State)))
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
		r.finish(ctx, StageDeclined)
	}
	return r.outcome(), refusal
}

// settled writes a final stage.
func (r *run) settled(ctx context.Context, stage Stage) (Outcome, error) {
	if body := r.state.ReceiptBody; body != nil {
		priced := r.entry.Source != ""
		if body.Amount != r.entry.Amount || body.ASN != r.entry.ASN || priced && (body.Fee != r.entry.Fee || body.Source != r.entry.Source) {
			err := errors.New("the receipt names another card, amount, fee or source")
			return r.stillOpen(fail(CodeOutcomeUnknown, r.op, err))
		}
		r.entry.BalanceBefore, r.entry.BalanceAfter = body.BalanceBefore, body.BalanceAfter
		if len(body.TAC) > 0 && (r.entry.Grant == nil || body.TID == r.entry.TID) {
			r.entry.TAC = body.TAC // of another attempt it would not fit the grant kept here
		}
	}
	r.finish(ctx, stage)
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
