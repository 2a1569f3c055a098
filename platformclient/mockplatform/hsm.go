package mockplatform

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// hsm is the software security module: it holds the master keys and computes and
// compares codes. Its functions give codes, never keys; the one way out is export,
// and only on a platform that says of itself that it is a demo.
type hsm struct {
	demo          bool
	dlk, dpk, dtk epcrypto.Key16
	sealer        sealer
}

// typeLoad and typePurchase are the transaction types of the purse (card dossier §1.5).
const (
	typeLoad     = 0x02
	typePurchase = 0x06
)

func newHSM(s *secrets, box sealer) (*hsm, error) {
	module := &hsm{demo: s.Demo, sealer: box}
	for _, master := range []struct {
		raw []byte
		key *epcrypto.Key16
	}{{s.MasterDLK, &module.dlk}, {s.MasterDPK, &module.dpk}, {s.MasterDTK, &module.dtk}} {
		if len(master.raw) != len(master.key) {
			return nil, errors.New("a master key is damaged")
		}
		copy(master.key[:], master.raw)
	}
	return module, nil
}

// CardKeys are the keys of one card, in hex, as `platform issue-card` exports them.
type CardKeys struct {
	Serial string `json:"serial"`
	AID    string `json:"aid"`
	DLK    string `json:"DLK"`
	DPK    string `json:"DPK"`
	DTK    string `json:"DTK"`
}

// cardKeySet is the opened form, three keys of 16 bytes.
type cardKeySet struct{ dlk, dpk, dtk epcrypto.Key16 }

// keysOf gives the keys of a card: imported ones where there are any, else derived
// from the masters by the card's factor (card dossier §2.2).
func (h *hsm) keysOf(tx *Tx, asn wallet.ASN) (cardKeySet, error) {
	var sealed []byte
	imported, err := tx.row(`SELECT sealed FROM card_keys WHERE asn = ?`, []any{asn.String()}, &sealed)
	if err != nil {
		return cardKeySet{}, err
	}
	if !imported {
		return h.derived(asn), nil
	}
	raw, err := h.sealer.open("card "+asn.String(), sealed)
	if err != nil || len(raw) != 48 {
		return cardKeySet{}, fmt.Errorf("keys of card %s: %w", asn.Masked(), errors.Join(err, errors.New("they cannot be opened")))
	}
	return cardKeySet{epcrypto.Key16(raw[:16]), epcrypto.Key16(raw[16:32]), epcrypto.Key16(raw[32:])}, nil
}

func (h *hsm) derived(asn wallet.ASN) cardKeySet {
	factor := asn.Factor()
	return cardKeySet{epcrypto.Diversify(h.dlk, factor), epcrypto.Diversify(h.dpk, factor), epcrypto.Diversify(h.dtk, factor)}
}

// importKeys seals card-level keys of a card that somebody else personalised.
func (h *hsm) importKeys(tx *Tx, asn wallet.ASN, keys CardKeys) error {
	raw := make([]byte, 0, 48)
	for _, text := range []string{keys.DLK, keys.DPK, keys.DTK} {
		key, err := epcrypto.ParseKey16(text)
		if err != nil {
			return err
		}
		raw = append(raw, key[:]...)
	}
	return tx.exec(`INSERT INTO card_keys (asn, sealed) VALUES (?, ?) ON CONFLICT (asn) DO UPDATE SET sealed = excluded.sealed`,
		asn.String(), h.sealer.seal("card "+asn.String(), raw))
}

// export gives the derived keys of a card. Only a demo has a reason to.
func (h *hsm) export(asn wallet.ASN, aid string) (CardKeys, error) {
	if !h.demo {
		return CardKeys{}, ErrNotDemo
	}
	keys := h.derived(asn)
	return CardKeys{
		Serial: asn.String(), AID: aid,
		DLK: wallet.Hex(keys.dlk[:]).String(), DPK: wallet.Hex(keys.dpk[:]).String(), DTK: wallet.Hex(keys.dtk[:]).String(),
	}, nil
}

// initAnswer is the 16 bytes that INITIALIZE FOR LOAD answers (card dossier §1.6):
// balance before 4 ‖ online counter 2 ‖ key version 1 ‖ algorithm 1 ‖ random 4 ‖ MAC1 4.
type initAnswer struct {
	balance   wallet.Fen
	seq       uint16
	version   byte
	algorithm byte
	random    [4]byte
	mac1      [4]byte
}

func parseInitAnswer(step wallet.StepResult) (initAnswer, bool) {
	raw := []byte(step.Data)
	if len(raw) != 16 || !accepted(step) {
		return initAnswer{}, false
	}
	return initAnswer{
		balance: wallet.Fen(binary.BigEndian.Uint32(raw)), seq: binary.BigEndian.Uint16(raw[4:]),
		version: raw[6], algorithm: raw[7], random: [4]byte(raw[8:12]), mac1: [4]byte(raw[12:]),
	}, true
}

// accepted tells whether the card answered 9000.
func accepted(step wallet.StepResult) bool {
	return len(step.SW) == 2 && step.SW[0] == 0x90 && step.SW[1] == 0x00
}

// loadCommand is what INITIALIZE FOR LOAD was sent with.
type loadCommand struct {
	amount wallet.Fen
	tid    wallet.TerminalNumber
}

// verifyMAC1 tells whether the card made this answer for this amount and number.
func (h *hsm) verifyMAC1(tx *Tx, asn wallet.ASN, sent loadCommand, answer initAnswer) (bool, error) {
	keys, err := h.keysOf(tx, asn)
	if err != nil {
		return false, err
	}
	session := epcrypto.LoadSessionKey(keys.dlk, answer.random, answer.seq)
	want := epcrypto.LoadMAC1(session, uint32(answer.balance), uint32(sent.amount), typeLoad, sent.tid)
	return subtle.ConstantTimeCompare(want[:], answer.mac1[:]) == 1, nil
}

// credit computes MAC2 for the card session of answer, and the TAC with which the
// card will prove that it took the value.
func (h *hsm) credit(tx *Tx, asn wallet.ASN, sent loadCommand, answer initAnswer, at time.Time) (mac2, tac [4]byte, err error) {
	keys, err := h.keysOf(tx, asn)
	if err != nil {
		return mac2, tac, err
	}
	session := epcrypto.LoadSessionKey(keys.dlk, answer.random, answer.seq)
	moment := epcrypto.CardTimeOf(at)
	mac2 = epcrypto.LoadMAC2(session, uint32(sent.amount), typeLoad, sent.tid, moment)
	tac = epcrypto.LoadTAC(keys.dtk, uint32(answer.balance+sent.amount), answer.seq, uint32(sent.amount), typeLoad, sent.tid, moment)
	return mac2, tac, nil
}

// verifyTAC tells whether the card made this TAC. It is used where no expectation
// is stored, for a grant that a restore lost; the balance afterwards is the
// sender's claim then, and the TAC itself authenticates it.
func (h *hsm) verifyTAC(tx *Tx, asn wallet.ASN, sent loadCommand, seq uint16, balanceAfter wallet.Fen, at time.Time, tac []byte) (bool, error) {
	keys, err := h.keysOf(tx, asn)
	if err != nil {
		return false, err
	}
	want := epcrypto.LoadTAC(keys.dtk, uint32(balanceAfter), seq, uint32(sent.amount), typeLoad, sent.tid, epcrypto.CardTimeOf(at))
	return subtle.ConstantTimeCompare(want[:], tac) == 1, nil
}

// purchaseAnswer is the 15 bytes that INITIALIZE FOR PURCHASE answers (card dossier
// §1.6): balance 4 ‖ offline counter 2 ‖ overdraft limit 3 ‖ key version 1 ‖
// algorithm 1 ‖ random 4. No MAC is under it.
type purchaseAnswer struct {
	balance wallet.Fen
	number  uint16
	random  [4]byte
}

func parsePurchaseAnswer(step wallet.StepResult) (purchaseAnswer, bool) {
	raw := []byte(step.Data)
	if len(raw) != 15 || !accepted(step) {
		return purchaseAnswer{}, false
	}
	return purchaseAnswer{
		balance: wallet.Fen(binary.BigEndian.Uint32(raw)), number: binary.BigEndian.Uint16(raw[4:]), random: [4]byte(raw[11:]),
	}, true
}

// debitCommand is what DEBIT FOR PURCHASE is computed for and with.
type debitCommand struct {
	amount   wallet.Fen
	terminal wallet.TerminalNumber
	serial   uint32
	number   uint16
	random   [4]byte
	at       time.Time
}

// purchaseMAC1 is what a PSAM computes for DEBIT FOR PURCHASE.
func (h *hsm) purchaseMAC1(tx *Tx, asn wallet.ASN, sent debitCommand) (mac1 [4]byte, err error) {
	keys, err := h.keysOf(tx, asn)
	if err != nil {
		return mac1, err
	}
	session := epcrypto.PurchaseSessionKey(keys.dpk, sent.random, sent.number, sent.serial)
	return epcrypto.PurchaseMAC1(session, uint32(sent.amount), typePurchase, sent.terminal, epcrypto.CardTimeOf(sent.at)), nil
}

// verifyDebit tells whether the card made this TAC and this MAC2.
func (h *hsm) verifyDebit(tx *Tx, asn wallet.ASN, sent debitCommand, tac, mac2 []byte) (tacGood, mac2Good bool, err error) {
	keys, err := h.keysOf(tx, asn)
	if err != nil {
		return false, false, err
	}
	wantTAC := epcrypto.PurchaseTAC(keys.dtk, uint32(sent.amount), typePurchase, sent.terminal, sent.serial, epcrypto.CardTimeOf(sent.at))
	session := epcrypto.PurchaseSessionKey(keys.dpk, sent.random, sent.number, sent.serial)
	wantMAC2 := epcrypto.PurchaseMAC2(session, uint32(sent.amount))
	return subtle.ConstantTimeCompare(wantTAC[:], tac) == 1, subtle.ConstantTimeCompare(wantMAC2[:], mac2) == 1, nil
}
