package wallet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// run is one order on its way through TopUp, Pay, Sync or SettlePurchase. Its methods
// in this file are the steps that those flows have in common.
type run struct {
	desk   Desk
	op     string
	guard  *Guard
	entry  Entry
	prove  *StepResult // before a top-up, on cards with a shared counter
	cannot error       // why the card starts no load any more, in a sync
	onCard bool        // newest log record carries our number
	warn   Code

	state     *OrderState
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

// finish is write for what is so whether or not it reaches the disk: a journal that
// keeps an open stage meets the same answer again.
func (r *run) finish(ctx context.Context, stage Stage) {
	if err := r.write(ctx, stage); err != nil {
		r.warn = CodeJournalFailed
	}
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

// stillOpen ends a run by an error that leaves its order open.
func (r *run) stillOpen(err error) (Outcome, error) { return r.outcome(), asOpen(r.op, err) }

// doubt is stillOpen, with the reason noted in the journal.
func (r *run) doubt(stage Stage, err error) (Outcome, error) {
	r.note(stage, CodeOf(err))
	return r.stillOpen(err)
}

// giveUp ends an order of which nobody was asked anything. A lost card or a pause
// leaves INTENT, so that the same order may be tried again; the rest is ABANDONED.
func (r *run) giveUp(err error) error {
	switch CodeOf(err) {
	case CodeCardLost, CodeCancelled, CodePINWrong, CodePINNeeded:
		return err
	}
	r.note(StageAbandoned, CodeOf(err))
	return err
}

// readCard fills the open script for this order, runs what it reads and checks that
// the card is the wanted one. It returns the raw answers, one for each step, and
// INITIALIZE, which is left to be sent. VERIFY, where the card wants it, stands in no
// script and in no answer.
func (r *run) readCard(ctx context.Context, profile *Profile, script Script, asn ASN) (steps []StepResult, initialize Command, err error) {
	commands, err := fillScript(script, profile, r.entry.Amount, r.entry.TID)
	if err != nil {
		return nil, initialize, err
	}
	last := len(commands) - 1
	for i, c := range commands[:last] {
		response, err := r.guard.Send(ctx, c)
		if err != nil {
			return nil, initialize, err
		}
		steps = append(steps, response.Step())
		if !expected(script.Steps[i], response.SW) {
			return nil, initialize, statusError(c.Name(), response.SW)
		}
	}
	return steps, commands[last], r.checkCard(asn)
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

// commitTo is the last step before the command that moves money. A wish to stop is
// heard for the last time; then the stage is on disk. Stopping later would only turn
// a known outcome into an unknown one: the context that it returns is never cancelled.
func (r *run) commitTo(ctx context.Context, stage Stage) (context.Context, error) {
	if err := ctx.Err(); err != nil {
		return ctx, fail(CodeCancelled, r.op, err)
	}
	return context.WithoutCancel(ctx), r.write(ctx, stage)
}

// move sends CREDIT or DEBIT, once, and keeps the card's answer. Anything but want
// bytes and 9000 is CodeOutcomeUnknown.
func (r *run) move(ctx context.Context, c Command, want int) (Response, error) {
	response, err := r.guard.Send(ctx, c)
	if err != nil {
		return response, err
	}
	r.entry.Steps, r.entry.Executed = []StepResult{response.Step()}, 1
	if response.SW != SWOK || len(response.Data) != want {
		return response, fail(CodeOutcomeUnknown, c.Name(), fmt.Errorf("%v, %s", response.SW, response.SW.Meaning()))
	}
	return response, nil
}

// proved writes that the card has answered with its proof. From here on the run is a
// success: if the write fails, it is one with a warning, and the entry tells the
// stage that the journal should hold.
func (r *run) proved(ctx context.Context, stage Stage) {
	if err := r.write(ctx, stage); err != nil {
		r.entry.Stage, r.entry.At = stage, time.Now().UTC()
		r.warn = CodeJournalFailed
	}
}

// compare looks at an answer to the reading rest of a grant's script. A balance that
// is readable and wrong is an alarm (protocol §2.9 rule 7); nothing else is.
func (r *run) compare(c Command, response Response) error {
	switch {
	case response.SW != SWOK:
	case c.INS == insGetBalance && len(response.Data) == 4:
		if shown := Fen(binary.BigEndian.Uint32(response.Data)); shown != r.entry.BalanceAfter {
			return fail(CodeBalanceWrong, c.Name(), fmt.Errorf("%s instead of %s yuan", shown.Yuan(), r.entry.BalanceAfter.Yuan()))
		}
	case c.INS == insReadRecord:
		record := ParseRecord(response.Data, c.P2>>3, int(c.P1), OverdraftUnknown)
		r.onCard = r.onCard || record.Problem == "" && record.Terminal == r.entry.TID
	}
	return nil
}
