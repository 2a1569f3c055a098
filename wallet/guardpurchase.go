package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// PurchaseInit is the answer to INITIALIZE FOR PURCHASE (card dossier §1.6):
// balance 4, offline counter 2, overdraft limit 3, key version 1, algorithm 1,
// random 4. No MAC covers it: it is what the card claims.
type PurchaseInit struct {
	Balance    Fen
	Number     uint16
	KeyVersion byte
	Algorithm  byte
	Raw        Hex
}

const purchaseInitBytes = 15

// ParsePurchaseInit reads the 15 bytes.
func ParsePurchaseInit(raw []byte) (PurchaseInit, error) {
	if len(raw) != purchaseInitBytes {
		return PurchaseInit{}, fmt.Errorf("%w: INITIALIZE FOR PURCHASE gave %d bytes, not 15", errResponseWanted, len(raw))
	}
	return PurchaseInit{
		Balance:    Fen(binary.BigEndian.Uint32(raw)),
		Number:     binary.BigEndian.Uint16(raw[4:]),
		KeyVersion: raw[9],
		Algorithm:  raw[10],
		Raw:        append(Hex(nil), raw...),
	}, nil
}

// NewPurchaseGuard watches over a purchase as the person confirmed it, with the
// leased terminal number tid: one INITIALIZE FOR PURCHASE, one DEBIT as granted, and,
// for a return of balance, INITIALIZE FOR LOAD over the grant's probe after it.
// epoch is that of the platform's session; 0 means not known.
func NewPurchaseGuard(card Card, profile *Profile, payment Payment, tid TerminalNumber, epoch int, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionPurchase, trace: trace, terms: terms{
		profile: profile, asn: payment.ASN, amount: payment.Amount, tid: tid, key: payment.Key, epoch: epoch,
		noCredit: true, payment: &payment,
	}}
}

// NewPurchaseSettleGuard watches over the settling of an open purchase: GET
// TRANSACTION PROVE and INITIALIZE FOR LOAD over its probe, and nothing that
// debits or credits.
func NewPurchaseSettleGuard(card Card, profile *Profile, open OpenPurchase, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionPurchase, trace: trace, terms: terms{
		profile: profile, asn: open.ASN, amount: open.Amount, order: open.Purchase, openSeq: open.Number,
		noCredit: true, probe: open.ProbeTID,
	}}
}

// PurchaseInit is the answer to INITIALIZE FOR PURCHASE, if nothing was sent since.
func (g *Guard) PurchaseInit() (PurchaseInit, bool) {
	return g.purchaseInit, g.initFresh && !g.probed && len(g.purchaseInit.Raw) > 0
}

// checkPurchaseInitialize allows, in a purchase, 80 50 01 02 0B ‹key index›‹amount›
// ‹terminal› as confirmed, once, and 80 50 00 02 0B ‹key index› 00000001 ‹probe›, once
// and only where no DEBIT can follow any more.
func (g *Guard) checkPurchaseInitialize(c Command) error {
	t := g.terms
	amount, tid, again := t.amount, t.tid, g.initSent
	if c.P1 == initForLoad {
		amount, tid, again = PurchaseProbeAmount, t.probe, g.probed
	}
	switch {
	case !t.profile.Loadable || t.profile.P2 != 0x02:
		return fail(CodeCardTypeRefused, c.Name(), nil)
	case c.CLA != 0x80 || c.P1 > initForPurchase || c.P2 != t.profile.P2 || len(c.Data) != 11:
		return g.refuse(c, "form of INITIALIZE")
	case c.P1 == initForPurchase && (t.payment == nil || g.probed):
		return g.refuse(c, "this session pays nothing")
	case c.P1 == initForLoad && t.payment != nil && !g.debited:
		return g.refuse(c, "the probe comes after DEBIT")
	case c.Data[0] != t.profile.KeyIndex:
		return g.refuse(c, "key index")
	case amount <= 0 || Fen(binary.BigEndian.Uint32(c.Data[1:5])) != amount:
		return g.refuse(c, "amount is not the confirmed one")
	case tid == (TerminalNumber{}) || !bytes.Equal(c.Data[5:], tid[:]):
		return g.refuse(c, "terminal number is not the leased one")
	case g.selected == nil:
		return g.refuse(c, "no application selected")
	}
	if err := g.checkSerial(c.Name()); err != nil {
		return err
	}
	if again && !(g.pinWanted && g.pinPassed) {
		return g.refuse(c, "second INITIALIZE")
	}
	return nil
}

// checkDebit allows the one command of an accepted purchase grant, directly after
// the INITIALIZE FOR PURCHASE that the grant answers, and in time.
func (g *Guard) checkDebit(c Command) error {
	switch {
	case g.session != SessionPurchase || g.debited:
		return g.refuse(c, "no DEBIT in this session")
	case g.permit == nil || !bytes.Equal(c.Bytes(), g.permit.command):
		return g.refuse(c, "no grant for this DEBIT")
	case !g.initFresh:
		return g.refuse(c, "the purchase session is over")
	}
	return g.checkInTime(c)
}

// AcceptedPurchase is a purchase grant that passed every check. Commands are its
// script: DEBIT FOR PURCHASE first, which the guard lets pass once, then reading
// commands and, for a return of balance, INITIALIZE FOR LOAD over the probe last.
// They hold MAC1 and are never stored.
type AcceptedPurchase struct {
	Grant    PurchaseGrant
	Commands []Command
	Steps    []Step
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
	if sum := sha256.Sum256(granted.Script); !bytes.Equal(sum[:], grant.ScriptSHA256) {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, errors.New("the script is not the one that was signed"))
	}
	if err := g.terms.matchPurchase(grant, init); err != nil {
		return AcceptedPurchase{}, fail(CodeGrantForged, op, err)
	}
	if err := g.checkSerial(op); err != nil {
		return AcceptedPurchase{}, err
	}
	if err := g.CheckPurse(); err != nil {
		return AcceptedPurchase{}, err
	}
	usable := min(grantUsable, time.Duration(grant.NotAfterS)*time.Second)
	if usable <= 0 || time.Since(arrived) > usable {
		return AcceptedPurchase{}, fail(CodeGrantExpired, op, errors.New("the grant is too old"))
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

// CheckPurse compares the balance that the card claimed in INITIALIZE FOR PURCHASE
// with the amount.
func (g *Guard) CheckPurse() error {
	if g.purchaseInit.Balance < g.terms.amount {
		return fail(CodePurseShort, "balance", fmt.Errorf("%s yuan, %s wanted", g.purchaseInit.Balance.Yuan(), g.terms.amount.Yuan()))
	}
	return nil
}

// parsePurchaseScript reads the script of a purchase grant: one DEBIT, first, then
// only what the session may read and, for a return of balance, INITIALIZE FOR LOAD
// over the probe, last. A script that holds anything else is refused as a whole.
func (g *Guard) parsePurchaseScript(raw json.RawMessage, grant PurchaseGrant) (AcceptedPurchase, error) {
	steps, err := decodeSteps(raw)
	if err != nil {
		return AcceptedPurchase{}, err
	}
	if len(steps) == 0 || len(steps) > maxCommands-g.sent {
		return AcceptedPurchase{}, fmt.Errorf("the script has %d steps", len(steps))
	}
	commands := make([]Command, len(steps))
	for i, step := range steps {
		apdu, err := hex.DecodeString(step.APDU)
		if err != nil {
			return AcceptedPurchase{}, errors.New("the script holds a step that is not hexadecimal")
		}
		if commands[i], err = ParseCommand(apdu); err != nil {
			return AcceptedPurchase{}, err
		}
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
	for _, c := range reading {
		switch c.INS {
		case insReadBinary, insReadRecord, insGetBalance:
			if err := g.checkReading(c); err != nil {
				return AcceptedPurchase{}, err
			}
		default:
			return AcceptedPurchase{}, fmt.Errorf("the script holds %s after DEBIT", c.Name())
		}
	}
	return AcceptedPurchase{Grant: grant, Commands: commands, Steps: steps}, nil
}

// isProbe recognises INITIALIZE FOR LOAD of 1 fen over a probe number.
func (g *Guard) isProbe(c Command, probe TerminalNumber) bool {
	want := probeCommand(g.terms.profile, probe)
	if c.Le == NoLe || c.Le == LeAny {
		want.Le = c.Le
	}
	return bytes.Equal(c.Bytes(), want.Bytes())
}

// probeCommand is INITIALIZE FOR LOAD 80 50 00 ‹purse› 0B ‹key index› 00000001 ‹probe› 10
// (card dossier §1.6). No CREDIT follows it.
func probeCommand(profile *Profile, probe TerminalNumber) Command {
	data := binary.BigEndian.AppendUint32([]byte{profile.KeyIndex}, uint32(PurchaseProbeAmount))
	return Command{CLA: 0x80, INS: insInitialize, P1: initForLoad, P2: profile.P2, Data: append(data, probe[:]...), Le: loadInitBytes}
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
