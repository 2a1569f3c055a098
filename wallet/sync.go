package wallet

import (
	"context"
	"time"
)

// Sync settles an open order with its card (充值同步): it collects what the card
// proves, sends it, and does what the platform answers. intent "settle" moves
// nothing but LOADED; "complete" may bring a new grant, which is credited as in
// TopUp; "cancel" gives the money back where the card proves "not loaded".
//
// kept is what the journal of this computer knows of the order; the zero Entry
// where it knows nothing, and the journal's key is then the platform's number.
// Without an error Outcome.State or, after a completed load, Outcome.TAC tells the
// end; a State of GRANTED means: not on the card, still open, the person decides.
func (d Desk) Sync(ctx context.Context, open OpenOrder, kept Entry, intent Intent, profile *Profile, script Script) (Outcome, error) {
	const op = "sync"
	run := &run{desk: d, op: op, entry: syncEntry(open, kept)}
	run.guard = NewSyncGuard(d.Card, profile, open, kept, d.Epoch, d.Trace)
	if run.entry.Stage == "" {
		if err := run.write(ctx, StageUnknown); err != nil {
			return run.outcome(), asOpen(op, err)
		}
	}
	evidence, err := run.gather(ctx, open, profile, script)
	if err != nil {
		return run.outcome(), asOpen(op, err)
	}
	evidence.Intent = intent

	asking, cancel := ctx, context.CancelFunc(func() {})
	if evidence.Steps != nil {
		asking, cancel = context.WithDeadline(ctx, run.guard.initAt.Add(initToCredit))
	}
	defer cancel()
	verdict, err := d.Issuer.Settle(asking, evidence)
	arrived := time.Now()
	if err != nil {
		return run.outcome(), asOpen(op, err)
	}
	if verdict.Granted == nil {
		return run.close(ctx, verdict.State)
	}
	if intent != IntentComplete {
		run.note(StageUnknown, CodeGrantForged)
		return run.outcome(), asOpen(op, fail(CodeGrantForged, op, errNotAsked))
	}
	return run.credit(ctx, *verdict.Granted, arrived)
}

// syncEntry joins what the platform and this computer know of an order.
func syncEntry(open OpenOrder, kept Entry) Entry {
	entry := kept
	if entry.Key == "" {
		entry.Key = open.Order
	}
	entry.Order, entry.ASN, entry.Amount = open.Order, open.ASN, open.Amount
	if entry.Stage == "" {
		entry.Attempt, entry.Seq, entry.Epoch, entry.ProbeTID = open.Attempt, open.Seq, open.Epoch, open.ProbeTID
	}
	return entry
}

// gather collects evidence: the open script up to its INITIALIZE, then GET
// TRANSACTION PROVE, then GET BALANCE, and INITIALIZE FOR LOAD over the probe last,
// since on some cards it wipes the proof (card dossier §3.3). A card that cannot
// start a load any more gives the proof alone.
func (r *run) gather(ctx context.Context, open OpenOrder, profile *Profile, script Script) (Evidence, error) {
	evidence := Evidence{Order: open, Grant: r.entry.Grant}
	commands, err := fillScript(script, profile, open.Amount, open.ProbeTID)
	if err != nil {
		return evidence, err
	}
	last := len(commands) - 1
	steps, err := r.readForEvidence(ctx, script, commands[:last], open.ASN)
	if err != nil {
		return evidence, err
	}
	if evidence.Prove, err = r.askProof(ctx, TypeLoadEP, open.Seq); err != nil {
		return evidence, err
	}
	if _, err := r.guard.Send(ctx, balanceCommand(profile.P2)); err != nil {
		return evidence, err
	}
	initialized, err := r.probe(ctx, open, commands[last])
	switch {
	case err == nil:
		evidence.Steps = append(steps, initialized.Step())
	case evidence.Prove == nil || r.guard.broken != nil || CodeOf(err) == CodeCancelled:
		return evidence, err
	default:
		r.cannot = err
	}
	return evidence, nil
}

// readForEvidence runs the reading commands of an open script on a card that may be
// blocked: what matters is whether it is the card of the order.
func (r *run) readForEvidence(ctx context.Context, script Script, commands []Command, asn ASN) ([]StepResult, error) {
	var steps []StepResult
	var worst *Error
	for i, c := range commands {
		response, err := r.guard.Send(ctx, c)
		if CodeOf(err) == CodeGuardRefused && worst != nil {
			return nil, worst // reading was refused because SELECT had failed
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, response.Step())
		if !expected(script.Steps[i], response.SW) && worst == nil {
			worst = statusError(c.Name(), response.SW)
		}
	}
	if err := r.checkCard(asn); err != nil {
		if worst != nil && CodeOf(err) != CodeCardOther {
			return nil, worst
		}
		return nil, err
	}
	return steps, nil
}

// probe sends INITIALIZE FOR LOAD over the order's probe number. The journal keeps
// the counter and balance of the attempt that is being settled.
func (r *run) probe(ctx context.Context, open OpenOrder, c Command) (Response, error) {
	if open.ProbeTID == (TerminalNumber{}) {
		return Response{}, fail(CodeCardProtocol, c.Name(), errNoProbe)
	}
	seq, before, known := r.entry.Seq, r.entry.BalanceBefore, r.entry.Stage != StageUnknown || r.entry.TID != (TerminalNumber{})
	response, err := r.initialize(ctx, c)
	if known {
		r.entry.Seq, r.entry.BalanceBefore = seq, before
	}
	return response, err
}

// askProof asks for the proof of a transaction with number seq+1 and, where there is
// none, of seq: cards disagree on which of the two they mean (card dossier §3.1). An answer of
// another kind means that the card does not know the command.
func (r *run) askProof(ctx context.Context, kind byte, seq uint16) (*StepResult, error) {
	for _, number := range []uint16{seq + 1, seq} {
		response, err := r.guard.Send(ctx, proveOf(kind, number))
		if err != nil {
			return nil, err
		}
		step := response.Step()
		switch response.SW {
		case SWOK:
			return &step, nil
		case SWNoProof:
			continue
		}
		return nil, nil
	}
	return nil, nil
}
