package virtualcard

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"io"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// session is an open transaction between INITIALIZE and CREDIT or DEBIT.
type session struct {
	kind     byte // typeLoad or typePurchase
	amount   uint32
	terminal wallet.TerminalNumber
	random   [4]byte
	counter  uint16        // as INITIALIZE answered it
	key      epcrypto.Key8 // of a load; that of a purchase needs the terminal's serial
}

// sameRandom is what one published applet always draws.
var sameRandom = []byte("ABCD")

// draw fills four or eight random bytes.
func (c *Card) draw(into []byte) bool {
	if c.variant == SameRandom {
		for i := range into {
			into[i] = sameRandom[i%len(sameRandom)]
		}
		return true
	}
	_, err := io.ReadFull(c.random, into)
	return err == nil
}

// getChallenge is GET CHALLENGE 00 84 00 00 04 or 08.
func (c *Card) getChallenge(cmd command) ([]byte, uint16) {
	switch {
	case cmd.p1 != 0 || cmd.p2 != 0:
		return nil, swP1P2
	case cmd.data != nil || !cmd.hasLe || (cmd.le != 4 && cmd.le != 8):
		return nil, swLength
	}
	challenge := make([]byte, cmd.le)
	if !c.draw(challenge) {
		return nil, swInternal
	}
	return challenge, swOK
}

// verify is VERIFY 00 20 00 00 Lc PIN. A wrong PIN costs a try before the answer.
func (c *Card) verify(cmd command) ([]byte, uint16) {
	blocked := c.blockedSW()
	switch {
	case cmd.p1 != 0:
		return nil, swP1P2
	case cmd.p2 != 0:
		return nil, swNoKey
	case !c.ram.inPurse:
		return nil, swConditions
	case blocked != swOK:
		return nil, blocked
	case len(cmd.data) < 2 || len(cmd.data) > 6 || cmd.hasLe:
		return nil, swLength
	case c.ee.pinTriesLeft == 0:
		return nil, swPINLocked
	}
	next := c.ee.clone()
	right := subtle.ConstantTimeCompare(cmd.data, c.pin) == 1
	if right {
		next.pinTriesLeft = pinTries
	} else {
		next.pinTriesLeft--
	}
	if next.pinTriesLeft != c.ee.pinTriesLeft && c.commit(next) != nil {
		return nil, swEEPROM
	}
	c.ram.pinDone = right
	if !right {
		return nil, 0x63C0 | uint16(next.pinTriesLeft)
	}
	return nil, swOK
}

// getBalance is GET BALANCE 80 5C 00 02 04. These cards have no ED (P2 = 01).
func (c *Card) getBalance(cmd command) ([]byte, uint16) {
	switch {
	case cmd.p1 != 0 || cmd.p2 != 1 && cmd.p2 != 2:
		return nil, swP1P2
	case cmd.data != nil:
		return nil, swLength
	case !c.ram.inPurse || cmd.p2 == 1:
		return nil, swNoFile
	}
	if sw := c.checkLe(cmd, 4); sw != swOK {
		return nil, sw
	}
	return binary.BigEndian.AppendUint32(nil, c.ee.balance), swOK
}

// initialize is INITIALIZE FOR LOAD 80 50 00 02 0B ‹key index›‹amount 4›‹terminal
// 6› 10 and INITIALIZE FOR PURCHASE 80 50 01 02 0B … 0F. It changes nothing on
// the card, and ends the session before it.
func (c *Card) initialize(cmd command) ([]byte, uint16) {
	c.ram.session = nil
	blocked := c.blockedSW()
	switch {
	case cmd.p1 > 1 || cmd.p2 != 2:
		return nil, swP1P2
	case len(cmd.data) != 11:
		return nil, swLength
	case !c.ram.inPurse:
		return nil, swConditions
	case blocked != swOK:
		return nil, blocked
	}
	if sw := c.checkLe(cmd, 16-int(cmd.p1)); sw != swOK {
		return nil, sw
	}
	if cmd.data[0] != c.keyIndex {
		return nil, swKeyIndex
	}
	s := &session{amount: binary.BigEndian.Uint32(cmd.data[1:]), terminal: wallet.TerminalNumber(cmd.data[5:])}
	if cmd.p1 == 0 {
		return c.initializeForLoad(s)
	}
	return c.initializeForPurchase(s)
}

// initializeForLoad answers balance before 4 ‖ online counter 2 ‖ key version 1 ‖
// algorithm 1 ‖ random 4 ‖ MAC1 4.
func (c *Card) initializeForLoad(s *session) ([]byte, uint16) {
	s.kind, s.counter = typeLoad, c.ee.online
	switch {
	case c.variant == PINForLoad && !c.ram.pinDone:
		return nil, swSecurity
	case s.counter == 0xFFFF:
		return nil, swCounter
	case s.amount > c.limit()-c.ee.balance:
		return nil, swConditions
	case !c.draw(s.random[:]):
		return nil, swInternal
	}
	s.key = epcrypto.LoadSessionKey(c.keys.DLK, s.random, s.counter)
	mac1 := epcrypto.LoadMAC1(s.key, c.ee.balance, s.amount, s.kind, s.terminal)
	c.ram.session = s
	return bytes.Join([][]byte{c.opening(s, nil), mac1[:]}, nil), swOK
}

// initializeForPurchase answers balance before 4 ‖ offline counter 2 ‖ overdraft
// limit 3 ‖ key version 1 ‖ algorithm 1 ‖ random 4. No MAC covers it.
func (c *Card) initializeForPurchase(s *session) ([]byte, uint16) {
	s.kind, s.counter = typePurchase, c.offlineNumber(c.ee)
	switch {
	case s.counter == 0xFFFF:
		return nil, swCounter
	case s.amount > c.ee.balance:
		return nil, swMoney
	case !c.draw(s.random[:]):
		return nil, swInternal
	}
	c.ram.session = s
	return c.opening(s, []byte{0, 0, 0}), swOK
}

// opening is what both INITIALIZE answers begin with.
func (c *Card) opening(s *session, overdraft []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, c.ee.balance)
	out = binary.BigEndian.AppendUint16(out, s.counter)
	out = append(out, overdraft...)
	out = append(out, keyVersion, algorithm3DES)
	return append(out, s.random[:]...)
}

// creditForLoad is CREDIT FOR LOAD 80 52 00 00 0B ‹host date 4›‹host time
// 3›‹MAC2 4› 04 → TAC 4. All or nothing: balance += amount, online counter += 1,
// log record. The session is gone afterwards, also after a failure.
func (c *Card) creditForLoad(cmd command) ([]byte, uint16) {
	s := c.ram.session
	c.ram.session = nil
	if sw := c.checkFinish(cmd, s, typeLoad, 0, 11, 4); sw != swOK {
		return nil, sw
	}
	at, mac2 := epcrypto.CardTime(cmd.data[:7]), epcrypto.MAC4(cmd.data[7:])
	if !mac2.Equal(epcrypto.LoadMAC2(s.key, s.amount, s.kind, s.terminal, at)) {
		return nil, swMAC
	}
	// A session that stays open meets a card that its INITIALIZE did not see.
	if s.amount > c.limit()-c.ee.balance || c.ee.online == 0xFFFF {
		return nil, swConditions
	}
	next := c.ee.clone()
	next.balance += s.amount
	next.online++
	tac := epcrypto.LoadTAC(c.keys.DTK, next.balance, c.ee.online, s.amount, s.kind, s.terminal, at)
	record := c.record(c.ee.online, next.balance, s.amount, s.kind, s.terminal, at)
	next.log = pushRecord(next.log, record)
	if c.variant == SharedCounter {
		next.loads = pushRecord(next.loads, record)
	}
	next.lastLoad = &proof{counter: next.online, mac: mac2, tac: tac}
	if c.commit(next) != nil {
		return nil, swEEPROM
	}
	if c.variant == SessionStaysOpen {
		c.ram.session = s
	}
	if c.variant == EEPROMButCredited {
		return nil, swEEPROM
	}
	return tac[:], swOK
}

// debitForPurchase is DEBIT FOR PURCHASE 80 54 01 00 0F ‹terminal serial 4›‹date
// 4›‹time 3›‹MAC1 4› 08 → TAC 4 ‖ MAC2 4. All or nothing: balance −= amount,
// offline counter += 1, log record.
func (c *Card) debitForPurchase(cmd command) ([]byte, uint16) {
	s := c.ram.session
	c.ram.session = nil
	if sw := c.checkFinish(cmd, s, typePurchase, 1, 15, 8); sw != swOK {
		return nil, sw
	}
	serial := binary.BigEndian.Uint32(cmd.data)
	at, mac1 := epcrypto.CardTime(cmd.data[4:11]), epcrypto.MAC4(cmd.data[11:])
	key := epcrypto.PurchaseSessionKey(c.keys.DPK, s.random, s.counter, serial)
	if !mac1.Equal(epcrypto.PurchaseMAC1(key, s.amount, s.kind, s.terminal, at)) {
		return nil, swMAC
	}
	next := c.ee.clone()
	next.balance -= s.amount
	if c.variant == SharedCounter {
		next.online++
	} else {
		next.offline++
	}
	mac2 := epcrypto.PurchaseMAC2(key, s.amount)
	tac := epcrypto.PurchaseTAC(c.keys.DTK, s.amount, s.kind, s.terminal, serial, at)
	next.log = pushRecord(next.log, c.record(s.counter, next.balance, s.amount, s.kind, s.terminal, at))
	next.lastPurchase = &proof{counter: s.counter + 1, mac: mac2, tac: tac}
	if c.commit(next) != nil {
		return nil, swEEPROM
	}
	return bytes.Join([][]byte{tac[:], mac2[:]}, nil), swOK
}

// checkFinish checks what CREDIT and DEBIT have in common before their MAC.
func (c *Card) checkFinish(cmd command, s *session, kind, p1 byte, dataBytes, answerBytes int) uint16 {
	blocked := c.blockedSW()
	switch {
	case cmd.p1 != p1 || cmd.p2 != 0:
		return swP1P2
	case len(cmd.data) != dataBytes:
		return swLength
	case blocked != swOK:
		return blocked
	case s == nil || s.kind != kind:
		return swState
	}
	return c.checkLe(cmd, answerBytes)
}

// pushRecord puts a record in front of a cyclic log.
func pushRecord(log []Record, record Record) []Record {
	log = append([]Record{record}, log...)
	return log[:min(len(log), logRecords)]
}

// getTransactionProve is GET TRANSACTION PROVE 80 5A 00 ‹type› 02 ‹counter 2› 08
// → MAC 4 ‖ TAC 4. It knows the last transaction of each type under its number
// after +1, also after a loss of power; 9406 otherwise (card dossier §3.1). That
// the first half is MAC2 is our assumption.
func (c *Card) getTransactionProve(cmd command) ([]byte, uint16) {
	if c.variant == ProveNone {
		return nil, swINS
	}
	switch {
	case cmd.p1 != 0:
		return nil, swP1P2
	case len(cmd.data) != 2:
		return nil, swLength
	case !c.ram.inPurse:
		return nil, swConditions
	}
	if sw := c.checkLe(cmd, 8); sw != swOK {
		return nil, sw
	}
	if c.variant == ProveStub {
		garbage := make([]byte, 8)
		if !c.draw(garbage) {
			return nil, swInternal
		}
		return garbage, swOK
	}
	var last *proof
	switch cmd.p2 {
	case typeLoad:
		last = c.ee.lastLoad
	case typePurchase:
		last = c.ee.lastPurchase
	}
	if last == nil || last.counter != binary.BigEndian.Uint16(cmd.data) {
		return nil, swNoProof
	}
	return bytes.Join([][]byte{last.mac[:], last.tac[:]}, nil), swOK
}
