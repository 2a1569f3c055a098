package wallet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// AcceptedPurchase is a purchase grant that passed every check. Commands are its
// script: DEBIT FOR PURCHASE first, which the guard lets pass once, then reading
// commands and, for a return of balance, INITIALIZE FOR LOAD over the probe last.
// They hold MAC1 and are never stored.
type AcceptedPurchase struct {
	Grant    PurchaseGrant
	Commands []Command
}

// AcceptPurchase checks a purchase grant against what the person confirmed and what
// this card answered in this session, and if all agree lets its DEBIT pass once.
// arrived is the moment the platform's answer came.
//
// Errors: CodeGrantForged, CodeGrantExpired, CodePurseShort, CodeCardOther,
// CodeGuardRefused. The purchase is open after each of them.
func (g *Guard) AcceptPurchase(granted PurchaseGrantedScript, signers SignerKeys, arrived time.Time) (AcceptedPurchase, error) {
	const op = "purchase grant"
	if g.session != SessionPurchase || g.terms.payment == nil {
		return AcceptedPurchase{}, fail(CodeGuardRefused, op, errors.New("this session never debits"))
	}
	init, fresh := g.PurchaseInit()
	if !fresh {
		return AcceptedPurchase{}, fail(CodeGuardRefused, op, errors.New("no purchase session on the card"))
	}
	var grant PurchaseGrant
	if err := signers.Open(DomainPurchaseGrant, granted.Grant, &grant); err != nil {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, err)
	}
	if err := checkSigned(granted.Script, grant.ScriptSHA256); err != nil {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, err)
	}
	if err := g.terms.matchPurchase(grant, init); err != nil {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, err)
	}
	if err := g.checkSerial(op); err != nil {
		return AcceptedPurchase{}, err
	}
	if err := g.checkPurse(); err != nil {
		return AcceptedPurchase{}, err
	}
	usable, err := usableFor(grant.NotAfterS, arrived)
	if err != nil {
		return AcceptedPurchase{}, fail(CodeGrantExpired, op, err)
	}
	accepted, err := g.parsePurchaseScript(granted.Script, grant)
	if err != nil {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, err)
	}
	g.permit = &permit{command: accepted.Commands[0].Bytes(), arrived: arrived, usable: usable}
	if grant.Unload {
		g.terms.probe = grant.ProbeTID
	}
	return accepted, nil
}

// matchPurchase compares a grant, field by field, with the confirmed payment and
// the card's answer.
func (t terms) matchPurchase(grant PurchaseGrant, init PurchaseInit) error {
	differs := func(field string) error { return fmt.Errorf("the grant names another %s", field) }
	switch p := t.payment; {
	case grant.ASN != t.asn:
		return differs("card")
	case grant.Amount != t.amount:
		return differs("amount")
	case grant.MerchantOrder != p.MerchantOrder:
		return differs("merchant order")
	case grant.Merchant != p.Merchant || grant.Goods != p.Goods:
		return differs("merchant or goods")
	case grant.Unload != p.Unload:
		return differs("purpose")
	case grant.Terminal != t.tid:
		return differs("terminal number")
	case grant.Number != init.Number:
		return differs("card counter")
	case grant.Balance != init.Balance:
		return differs("balance")
	case !bytes.Equal(grant.Random, init.Raw[11:]):
		return differs("random of the card")
	case grant.Purchase == "":
		return differs("purchase")
	case grant.Key != t.key:
		return differs("key")
	case t.epoch != 0 && grant.Epoch != t.epoch:
		return differs("epoch")
	case grant.ProbeTID == (TerminalNumber{}) || grant.ProbeTID == grant.Terminal:
		return errors.New("the grant brings no probe number of its own")
	}
	return nil
}

// checkPurse compares the balance that the card claimed in INITIALIZE FOR PURCHASE
// with the amount.
func (g *Guard) checkPurse() error {
	if g.purchaseInit.Balance < g.terms.amount {
		return fail(CodePurseShort, "balance", fmt.Errorf("%s yuan, %s wanted", g.purchaseInit.Balance.Yuan(), g.terms.amount.Yuan()))
	}
	return nil
}

// parsePurchaseScript reads the script of a purchase grant: one DEBIT, first, then
// only what the session may read and, for a return of balance, INITIALIZE FOR LOAD
// over the probe, last. A script that holds anything else is refused as a whole.
func (g *Guard) parsePurchaseScript(raw json.RawMessage, grant PurchaseGrant) (AcceptedPurchase, error) {
	commands, err := g.parseScript(raw)
	if err != nil {
		return AcceptedPurchase{}, err
	}
	if !debitForm(commands[0], grant.TerminalSerial) {
		return AcceptedPurchase{}, errors.New("the script does not begin with DEBIT FOR PURCHASE of the granted terminal serial")
	}
	reading := commands[1:]
	if grant.Unload {
		if len(reading) == 0 || !g.isProbe(reading[len(reading)-1], grant.ProbeTID) {
			return AcceptedPurchase{}, errors.New("the script of a return of balance does not end with the probe")
		}
		reading = reading[:len(reading)-1]
	}
	return AcceptedPurchase{Grant: grant, Commands: commands}, g.onlyReads(reading, "DEBIT")
}

// isProbe recognises INITIALIZE FOR LOAD of 1 fen over a probe number.
func (g *Guard) isProbe(c Command, probe TerminalNumber) bool {
	want := probeCommand(g.terms.profile, probe)
	if c.Le == NoLe || c.Le == LeAny {
		want.Le = c.Le
	}
	return bytes.Equal(c.Bytes(), want.Bytes())
}

// debitForm recognises 80 54 01 00 0F ‹terminal serial 4›‹date 4›‹time 3›‹MAC1 4› 08, with
// the granted serial and date and time of the calendar. Le may be absent or 00, as
// T=0 cards have it.
func debitForm(c Command, serial uint32) bool {
	if c.CLA != 0x80 || c.INS != insDebit || c.P1 != 0x01 || c.P2 != 0 || len(c.Data) != 15 {
		return false
	}
	if c.Le != 8 && c.Le != NoLe && c.Le != LeAny {
		return false
	}
	_, valid := parseBCDTime([7]byte(c.Data[4:11]))
	return valid && binary.BigEndian.Uint32(c.Data) == serial
}
