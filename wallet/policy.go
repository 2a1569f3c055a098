package wallet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// check is the whole policy: it allows, by returning nil, or refuses. It changes nothing.
func (g *Guard) check(c Command) error {
	switch {
	case g.broken != nil:
		return fail(CodeCardLost, c.Name(), g.broken)
	case g.sent >= g.most():
		return g.refuse(c, "too many commands")
	case !c.valid():
		return g.refuse(c, "malformed command")
	case g.session == SessionView:
		return g.checkView(c)
	}
	switch c.INS {
	case insSelect:
		return g.checkSelect(c)
	case insReadBinary, insReadRecord, insGetBalance:
		return g.checkReading(c)
	case insVerify:
		return g.checkVerify(c)
	case insProve:
		return g.checkProve(c)
	case insInitialize:
		return g.checkInitialize(c)
	case insCredit:
		return g.checkCredit(c)
	case insDebit:
		return g.checkDebit(c)
	}
	return g.refuse(c, "not a command of this session")
}

// checkSelect allows 00 A4 04 00 with a full listed name and, in a query,
// 00 A4 00 00 with 3F00 or 1001.
func (g *Guard) checkSelect(c Command) error {
	if c.CLA != 0x00 || c.P2 != 0x00 || c.Le != NoLe && c.Le != LeAny {
		return g.refuse(c, "form of SELECT")
	}
	if c.P1 == 0x04 && g.listed(c.Data) != nil {
		return nil
	}
	byID := c.P1 == 0x00 && len(c.Data) == 2 && g.session == SessionQuery
	if byID {
		if id := binary.BigEndian.Uint16(c.Data); id == fileMF || id == fileBeijing {
			return nil
		}
	}
	return g.refuse(c, "application not listed")
}

// listed returns the profile of this session that has the full name.
func (g *Guard) listed(name []byte) *Profile {
	if !g.session.reads() {
		if g.terms.profile.hasAID(name) {
			return g.terms.profile
		}
		return nil
	}
	for _, p := range profiles {
		if p.searched() && p.hasAID(name) {
			return p
		}
	}
	return nil
}

// checkReading allows 00 B0 of the information file, 00 B2 of the log files and
// 80 5C of the purse, each as the selected profile lists it.
func (g *Guard) checkReading(c Command) error {
	if len(c.Data) != 0 {
		return g.refuse(c, "reading carries no data")
	}
	if g.selectedMF {
		if c.INS == insReadBinary && c.CLA == 0 && c.P2 == 0 && isMFInfo(c.P1) {
			return nil
		}
		return g.refuse(c, "file not listed")
	}
	p := g.selected
	if p == nil {
		return g.refuse(c, "no application selected")
	}
	switch c.INS {
	case insReadBinary:
		if c.CLA == 0x00 && c.P1 == 0x80|p.InfoSFI && c.P2 == 0x00 {
			return nil
		}
	case insReadRecord:
		if c.CLA == 0x00 && c.P1 >= 1 && int(c.P1) <= p.MaxRecords && c.P2&0x07 == 0x04 && slices.Contains(p.allLogSFIs(), c.P2>>3) {
			return nil
		}
	case insGetBalance:
		other := p.otherPurse()
		listed := c.P2 == p.P2 || g.session == SessionQuery && other != nil && c.P2 == other.P2
		if c.CLA == 0x80 && c.P1 == 0x00 && listed {
			return nil
		}
	}
	return g.refuse(c, "file not listed")
}

func isMFInfo(p1 byte) bool {
	return slices.ContainsFunc(profiles, func(p *Profile) bool { return p.MFInfoSFI != 0 && p1 == 0x80|p.MFInfoSFI })
}

// checkVerify allows 00 20 00 00 with the PIN that the person typed in this
// session, once, and never on the last try.
func (g *Guard) checkVerify(c Command) error {
	switch {
	case c.CLA != 0 || c.P1 != 0 || c.P2 != 0 || c.Le != NoLe:
		return g.refuse(c, "form of VERIFY")
	case len(g.pin) < 2 || len(g.pin) > 6 || !bytes.Equal(c.Data, g.pin):
		return g.refuse(c, "PIN was not typed in this session")
	case g.pinUsed:
		return g.refuse(c, "second VERIFY")
	case g.triesLeft == 1:
		return g.refuse(c, "only one try is left")
	case g.selected == nil:
		return g.refuse(c, "no application selected")
	}
	return nil
}

// checkProve allows 80 5A 00 ‹type› 02 ‹number› 08: in sync, and when a purchase is
// settled, the order's number + 1 and then the number itself; in a load only
// before INITIALIZE on shared counters.
func (g *Guard) checkProve(c Command) error {
	kind := byte(TypeLoadEP)
	if g.session == SessionPurchase {
		kind = g.terms.profile.PurchaseType
	}
	if c.CLA != 0x80 || c.P1 != 0 || c.P2 != kind || len(c.Data) != 2 || g.selected == nil {
		return g.refuse(c, "form of GET TRANSACTION PROVE")
	}
	number := binary.BigEndian.Uint16(c.Data)
	switch g.session {
	case SessionSync:
		if number == g.terms.openSeq+1 && len(g.proofs) == 0 || number == g.terms.openSeq && len(g.proofs) == 1 {
			return nil
		}
	case SessionPurchase:
		first := number == g.terms.openSeq+1 && len(g.proofs) == 0
		if g.terms.payment == nil && !g.probed && (first || number == g.terms.openSeq && len(g.proofs) == 1) {
			return nil
		}
	case SessionLoad:
		if g.terms.profile.SharedCounter && !g.initSent && len(g.proofs) == 0 {
			return nil
		}
	}
	return g.refuse(c, "number not asked for")
}

// checkInitialize allows, on the card that was confirmed: in a load or sync, 80 50 00 02 0B
// ‹key index›‹amount›‹terminal› as confirmed, once; in a purchase, 80 50 01 02 0B ‹key index›‹amount›
// ‹terminal› as confirmed, once, and 80 50 00 02 0B ‹key index› 00000001 ‹probe›, once and only
// where no DEBIT can follow any more.
func (g *Guard) checkInitialize(c Command) error {
	profile := g.terms.profile
	switch {
	case g.session == SessionQuery:
		return g.refuse(c, "a query changes nothing")
	case !profile.Loadable || profile.P2 != 0x02:
		return fail(CodeCardTypeRefused, c.Name(), nil)
	case c.CLA != 0x80 || c.P1 > initForPurchase || c.P2 != profile.P2 || len(c.Data) != 11:
		return g.refuse(c, "form of INITIALIZE")
	}
	amount, tid, again, err := g.mayInitialize(c)
	switch {
	case err != nil:
		return err
	case c.Data[0] != profile.KeyIndex:
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

// mayInitialize tells with which amount and terminal number this session may send
// this kind of INITIALIZE, and whether it was sent already. The only one that a
// purchase sends FOR LOAD is the probe, which would end the card's purchase session:
// it comes after DEBIT, or where nothing is debited.
func (g *Guard) mayInitialize(c Command) (amount Fen, tid TerminalNumber, again bool, err error) {
	t, forLoad := g.terms, c.P1 == initForLoad
	switch {
	case g.session != SessionPurchase && forLoad:
		return t.amount, t.tid, g.initSent, nil
	case g.session != SessionPurchase:
		return 0, tid, false, g.refuse(c, "form of INITIALIZE FOR LOAD")
	case forLoad && t.payment != nil && !g.debited:
		return 0, tid, false, g.refuse(c, "the probe comes after DEBIT")
	case forLoad:
		return PurchaseProbeAmount, t.probe, g.probed, nil
	case t.payment == nil || g.probed:
		return 0, tid, false, g.refuse(c, "this session pays nothing")
	}
	return t.amount, t.tid, g.initSent, nil
}

// checkSerial compares the card in the field with the confirmed one.
func (g *Guard) checkSerial(op string) error {
	switch {
	case g.asn == nil:
		return fail(CodeGuardRefused, op, errors.New("card serial was not read in this session"))
	case g.swapped:
		return fail(CodeCardOther, op, fmt.Errorf("%w: its serial changed during the conversation", ErrOtherCard))
	case !g.terms.anyASN && *g.asn != g.terms.asn:
		return fail(CodeCardOther, op, fmt.Errorf("%w: please present %s", ErrOtherCard, g.terms.asn.Masked()))
	}
	return nil
}

// checkCredit allows the one command of an accepted grant, directly after the
// INITIALIZE that the grant answers, and in time.
func (g *Guard) checkCredit(c Command) error {
	switch {
	case g.permit == nil || !bytes.Equal(c.Bytes(), g.permit.command):
		return g.refuse(c, "no grant for this CREDIT")
	case !g.initFresh:
		return g.refuse(c, "the load session is over")
	}
	return g.checkInTime(c)
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

// checkInTime compares the age of the grant and of the INITIALIZE that it answers
// with their limits, and the card with the confirmed one.
func (g *Guard) checkInTime(c Command) error {
	switch {
	case time.Since(g.permit.arrived) > g.permit.usable:
		return fail(CodeGrantExpired, c.Name(), errors.New("the grant is too old"))
	case time.Since(g.initAt) > initToCredit:
		return fail(CodeGrantExpired, c.Name(), errors.New("too long since INITIALIZE"))
	}
	return g.checkSerial(c.Name())
}
