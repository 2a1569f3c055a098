package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Accepted is a grant that passed every check. Commands are its script: CREDIT
// FOR LOAD first, which the guard lets pass once, then reading commands. They
// hold MAC2 and are never stored.
type Accepted struct {
	Grant    Grant
	Commands []Command
}

// Accept checks a grant against what the person confirmed and what this card
// answered in this session (protocol §2.9 rule 3), and if all agree lets its
// CREDIT pass once. arrived is the moment the platform's answer came.
//
// Errors: CodeGrantForged, CodeGrantExpired, CodeCapExceeded, CodeCardOther,
// CodeGuardRefused. The order is open after each of them.
func (g *Guard) Accept(granted GrantedScript, signers SignerKeys, arrived time.Time) (Accepted, error) {
	const op = "grant"
	if g.session.reads() || g.terms.noCredit {
		return Accepted{}, fail(CodeGuardRefused, op, errors.New("this session never credits"))
	}
	if !g.initFresh {
		return Accepted{}, fail(CodeGuardRefused, op, errors.New("no load session on the card"))
	}
	var grant Grant
	if err := signers.Open(DomainGrant, granted.Grant, &grant); err != nil {
		return Accepted{}, fail(CodeGrantForged, op, err)
	}
	if err := checkSigned(granted.Script, grant.ScriptSHA256); err != nil {
		return Accepted{}, fail(CodeGrantForged, op, err)
	}
	if err := g.terms.match(grant, g.init); err != nil {
		return Accepted{}, fail(CodeGrantForged, op, err)
	}
	if err := g.checkSerial(op); err != nil {
		return Accepted{}, err
	}
	if err := g.checkCap(); err != nil {
		return Accepted{}, err
	}
	usable, err := usableFor(grant.NotAfterS, arrived)
	if err != nil {
		return Accepted{}, fail(CodeGrantExpired, op, err)
	}
	commands, err := g.parseGrantScript(granted.Script)
	if err != nil {
		return Accepted{}, fail(CodeGrantForged, op, err)
	}
	g.permit = &permit{command: commands[0].Bytes(), arrived: arrived, usable: usable}
	return Accepted{Grant: grant, Commands: commands}, nil
}

// match compares a grant, field by field, with the terms and the card's answer.
func (t terms) match(grant Grant, init LoadInit) error {
	differs := func(field string) error { return fmt.Errorf("the grant names another %s", field) }
	switch {
	case grant.ASN != t.asn:
		return differs("card")
	case grant.Amount != t.amount:
		return differs("amount")
	case grant.TID != t.tid:
		return differs("terminal number")
	case grant.Seq != init.Seq:
		return differs("card counter")
	case grant.Attempt != t.attempt:
		return differs("attempt")
	case grant.Order == "" || t.order != "" && grant.Order != t.order:
		return differs("order")
	case t.key != "" && grant.Key != t.key:
		return differs("key")
	case t.priced && grant.Fee != t.fee:
		return differs("fee")
	case t.priced && grant.Source != t.source:
		return differs("source")
	case t.epoch != 0 && grant.Epoch != t.epoch:
		return differs("epoch")
	case grant.ProbeTID == (TerminalNumber{}) || grant.ProbeTID == grant.TID:
		return errors.New("the grant brings no probe number of its own")
	case t.order != "" && init.Seq != t.openSeq:
		// An order is granted anew only where the card proves that it was not
		// loaded, and the proof is the unchanged counter (card dossier §3.2).
		return errors.New("the card's counter has moved since the order was granted")
	}
	return nil
}

// checkCap compares the balance that the card answered to INITIALIZE FOR LOAD,
// plus the amount, with the cap and with what four bytes can hold.
func (g *Guard) checkCap() error {
	after := g.init.Balance + g.terms.amount
	if g.terms.cap > 0 && after > g.terms.cap || after > math.MaxInt32 {
		return fail(CodeCapExceeded, "cap", fmt.Errorf("%s + %s yuan", g.init.Balance.Yuan(), g.terms.amount.Yuan()))
	}
	return nil
}

// parseGrantScript reads the script of a grant: one CREDIT, first, then only what
// the session may read. A script that holds anything else is refused as a whole.
func (g *Guard) parseGrantScript(raw json.RawMessage) ([]Command, error) {
	commands, err := g.parseScript(raw)
	if err != nil {
		return nil, err
	}
	if !creditForm(commands[0]) {
		return nil, errors.New("the script does not begin with CREDIT FOR LOAD")
	}
	return commands, g.onlyReads(commands[1:], "CREDIT")
}

// creditForm recognises 80 52 00 00 0B ‹date 4›‹time 3›‹MAC2 4› 04, with date and time of
// the calendar. Le may be absent or 00, as T=0 cards have it.
func creditForm(c Command) bool {
	if c.CLA != 0x80 || c.INS != insCredit || c.P1 != 0 || c.P2 != 0 || len(c.Data) != 11 {
		return false
	}
	if c.Le != 4 && c.Le != NoLe && c.Le != LeAny {
		return false
	}
	_, valid := parseBCDTime([7]byte(c.Data[:7]))
	return valid
}

// checkSigned compares a script with the hash that its signed grant names.
func checkSigned(script json.RawMessage, want Hex) error {
	if sum := sha256.Sum256(script); !bytes.Equal(sum[:], want) {
		return errors.New("the script is not the one that was signed")
	}
	return nil
}

// usableFor is how long after its arrival a grant may be used: as long as it says
// itself, and never longer than grantUsable. The error says that this time is over.
func usableFor(notAfterS int, arrived time.Time) (time.Duration, error) {
	usable := min(grantUsable, time.Duration(notAfterS)*time.Second)
	if usable <= 0 || time.Since(arrived) > usable {
		return 0, errors.New("the grant is too old")
	}
	return usable, nil
}

// parseScript turns the script of a grant into commands, at least one and no more
// than this session may still send. What they may be is the caller's rule.
func (g *Guard) parseScript(raw json.RawMessage) ([]Command, error) {
	steps, err := decodeSteps(raw)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 || len(steps) > maxCommands-g.sent {
		return nil, fmt.Errorf("the script has %d steps", len(steps))
	}
	commands := make([]Command, len(steps))
	for i, step := range steps {
		apdu, err := hex.DecodeString(step.APDU)
		if err != nil {
			return nil, errors.New("the script holds a step that is not hexadecimal")
		}
		if commands[i], err = ParseCommand(apdu); err != nil {
			return nil, err
		}
	}
	return commands, nil
}

// decodeSteps reads the steps of a grant: a list, or a Script that holds the list.
func decodeSteps(raw json.RawMessage) ([]Step, error) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '{' {
		var script Script
		err := json.Unmarshal(trimmed, &script)
		return script.Steps, err
	}
	var steps []Step
	err := json.Unmarshal(raw, &steps)
	return steps, err
}

// onlyReads refuses everything but what the session may read. after names the
// command before, which is the only one of its script that moves money.
func (g *Guard) onlyReads(commands []Command, after string) error {
	for _, c := range commands {
		switch c.INS {
		case insReadBinary, insReadRecord, insGetBalance:
			if err := g.checkReading(c); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the script holds %s after %s", c.Name(), after)
		}
	}
	return nil
}
