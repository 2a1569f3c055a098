package wallet

import (
	"context"
	"encoding/binary"
)

// inquiry is what a card is asked about an open order.
type inquiry struct {
	asn     ASN
	kind    byte           // GET TRANSACTION PROVE: type of the transaction
	number  uint16         // GET TRANSACTION PROVE: counter before it
	balance bool           // GET BALANCE is asked, too
	amount  Fen            // INITIALIZE FOR LOAD
	probe   TerminalNumber // INITIALIZE FOR LOAD
}

// gather collects evidence: the open script up to its INITIALIZE, then GET
// TRANSACTION PROVE, and INITIALIZE FOR LOAD over the probe last, since on some cards
// it wipes the proof (card dossier §3.3). prove is nil where there is none. A card that
// cannot start a load any more gives the proof alone: steps is nil then, and
// run.cannot says why.
func (r *run) gather(ctx context.Context, profile *Profile, script Script, ask inquiry) (prove *StepResult, steps []StepResult, err error) {
	commands, err := fillScript(script, profile, ask.amount, ask.probe)
	if err != nil {
		return nil, nil, err
	}
	last := len(commands) - 1
	steps, err = r.readForEvidence(ctx, script, commands[:last], ask.asn)
	if err != nil {
		return nil, nil, err
	}
	if prove, err = r.askProof(ctx, ask.kind, ask.number); err != nil {
		return nil, nil, err
	}
	if ask.balance {
		if _, err := r.guard.Send(ctx, balanceCommand(profile.P2)); err != nil {
			return nil, nil, err
		}
	}
	initialized, err := r.startProbe(ctx, ask.probe, commands[last])
	switch {
	case err == nil:
		return prove, append(steps, initialized.Step()), nil
	case prove == nil || r.guard.broken != nil || CodeOf(err) == CodeCancelled:
		return nil, nil, err
	}
	r.cannot = err
	return prove, nil, nil
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

// askProof asks for the proof of a transaction with number seq+1 and, where there is
// none, of seq: cards disagree on which of the two they mean (card dossier §3.1). An answer of
// another kind means that the card does not know the command.
func (r *run) askProof(ctx context.Context, kind byte, seq uint16) (*StepResult, error) {
	for _, number := range []uint16{seq + 1, seq} {
		response, err := r.guard.Send(ctx, proveCommand(kind, number))
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

// proveCommand is GET TRANSACTION PROVE of a transaction type: 80 5A 00 ‹type› 02
// ‹number› 08 (card dossier §3.1).
func proveCommand(kind byte, number uint16) Command {
	return Command{CLA: 0x80, INS: insProve, P2: kind, Data: binary.BigEndian.AppendUint16(nil, number), Le: 8}
}

// startProbe sends INITIALIZE FOR LOAD over the probe number of an order. No CREDIT
// follows it but that of a new grant.
func (r *run) startProbe(ctx context.Context, probe TerminalNumber, c Command) (Response, error) {
	if probe == (TerminalNumber{}) {
		return Response{}, fail(CodeCardProtocol, c.Name(), errNoProbe)
	}
	return r.startLoad(ctx, c)
}
