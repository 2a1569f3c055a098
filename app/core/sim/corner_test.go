package sim

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// corner is a shop that sells offline, with a terminal of its own. The platform hears
// of it only by its uploads, within a month. To an online purchase that is in doubt, an
// equal one in this shop looks the same.
type corner struct {
	w        *world
	serial   uint32
	all      []mockplatform.OfflinePurchase // every line, to be sent again after a restore
	uploaded int
}

var cornerTerminal = wallet.TerminalNumber{0x00, 0x00, 0x00, 0x99, 0x05, 0x01}

// sell debits a card that its owner holds to the shop's terminal.
func (s *corner) sell(k *chip, amount wallet.Fen) {
	if k.in != nil {
		k.in.moved.Add(1)
		k.in.slot.Remove()
		k.in.card, k.in = nil, nil
	}
	s.serial++
	time.Sleep(time.Second)
	if _, err := k.PowerOn(); err != nil || k.Balance() < amount {
		return
	}
	raw := binary.BigEndian.AppendUint32(nil, uint32(amount))
	s.send(k, "00A40400"+wallet.Hex{byte(len(k.AID()))}.String()+wallet.Hex(k.AID()).String()+"00")
	init := s.send(k, "805001020B01"+wallet.Hex(raw).String()+cornerTerminal.String()+"0F")
	if len(init) != 15 { // balance 4, number 2, overdraft 3, key version and algorithm, random 4
		return
	}
	now := time.Now().Truncate(time.Second)
	at := epcrypto.CardTimeOf(now)
	session := epcrypto.PurchaseSessionKey(k.Keys().DPK, [4]byte(init[11:15]), binary.BigEndian.Uint16(init[4:6]), s.serial)
	mac1 := epcrypto.PurchaseMAC1(session, uint32(amount), wallet.TypePurchaseEP, cornerTerminal, at)
	serial := binary.BigEndian.AppendUint32(nil, s.serial)
	before := k.Balance()
	s.send(k, "805401000F"+wallet.Hex(serial).String()+wallet.Hex(at[:]).String()+wallet.Hex(mac1[:]).String()+"08")
	if k.Balance() == before {
		return // it was torn away in time
	}
	k.offline += amount
	// Where the answer was torn, the terminal gets the TAC from GET TRANSACTION PROVE.
	tac := epcrypto.PurchaseTAC(k.Keys().DTK, uint32(amount), wallet.TypePurchaseEP, cornerTerminal, s.serial, at)
	s.all = append(s.all, mockplatform.OfflinePurchase{ASN: k.ASN(), Terminal: cornerTerminal, TerminalSerial: s.serial, Amount: amount, Time: now, TAC: tac[:]})
	s.w.say("  card %d paid %d at the corner", k.number, amount)
	s.w.count("end", "offline purchase")
	if s.w.skew < -time.Hour {
		s.upload()
	}
}

// payOffline lets the person of a computer buy something at the corner.
func (w *world) payOffline(c *computer) {
	if w.plan.Without["corner shop"] {
		return
	}
	k := w.ownCard(c)
	w.count("fault", "corner shop")
	if amounts := []wallet.Fen{100, 250, 1000}; !k.Snapshot().Blocked {
		w.corner.sell(k, amounts[w.luck.IntN(len(amounts))])
	}
}

// send is one command at the shop's terminal; nil where the card refuses or is gone.
func (s *corner) send(k *chip, command string) []byte {
	raw, err := hex.DecodeString(command)
	s.w.must(err)
	answer, err := k.Card.Transmit(raw)
	if err == nil && len(answer) == 2 && answer[0] == 0x61 { // T=0
		answer, err = k.Card.Transmit([]byte{0x00, 0xC0, 0x00, 0x00, answer[1]})
	}
	if err != nil {
		return nil
	}
	if end := len(answer) - 2; end >= 0 && answer[end] == 0x90 {
		return answer[:end]
	}
	return nil
}

// upload brings the platform what it has not heard of, or after a restore everything.
func (s *corner) upload() {
	lines := s.all[s.uploaded:]
	if len(lines) == 0 {
		return
	}
	report, err := s.w.platform.UploadOffline(ctx(), lines)
	s.w.must(err)
	s.uploaded = len(s.all)
	s.w.say("  upload: %+v", report)
	if report.Refused > 0 {
		s.w.fail("the platform refused offline purchases: %+v", report)
	}
}
