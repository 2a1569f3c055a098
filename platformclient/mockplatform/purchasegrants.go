package mockplatform

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"walletcompanion/wallet"
)

// grantPurchase computes MAC1 for this very card session and signs the grant.
func (p *Platform) grantPurchase(tx *Tx, b *purchase, keyIndex byte) (*wallet.PurchaseGrantedScript, error) {
	mac1, err := p.hsm.purchaseMAC1(tx, b.asn, b.debit)
	if err != nil {
		return nil, err
	}
	script, err := json.Marshal(debitScript(b, keyIndex, mac1))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(script)
	signed, err := p.sign(wallet.DomainPurchaseGrant, wallet.PurchaseGrant{
		Purchase: b.id, User: b.user, Key: b.key, ASN: b.asn, Amount: b.amount, MerchantOrder: b.merchantOrder, Merchant: b.merchant,
		Goods: b.goods, Terminal: b.debit.terminal, TerminalSerial: b.debit.serial, Number: b.debit.number, Random: b.debit.random[:],
		Balance: b.claimed, ProbeTID: b.probe, Epoch: p.epoch, Issued: b.debit.at, NotAfterS: grantUsable, ScriptSHA256: sum[:], Unload: b.unload,
	})
	if err != nil {
		return nil, err
	}
	return &wallet.PurchaseGrantedScript{Grant: signed, Script: script}, nil
}

// debitScript is DEBIT FOR PURCHASE `80 54 01 00 0F terminal serial 4 date 4 time 3
// MAC1 4 08`, then GET BALANCE and the newest log record (card dossier §1.6). A
// return of balance ends with INITIALIZE FOR LOAD over the probe, whose MAC1 shows
// the lower balance.
func debitScript(b *purchase, keyIndex byte, mac1 [4]byte) []wallet.Step {
	serial := binary.BigEndian.AppendUint32(nil, b.debit.serial)
	steps := []wallet.Step{
		{
			APDU:   "805401000F" + wallet.Hex(serial).String() + b.debit.at.In(shanghai).Format("20060102150405") + wallet.Hex(mac1[:]).String() + "08",
			Expect: []string{"9000"}, Once: true,
		},
		{APDU: "805C000204", OnError: "continue"},
		{APDU: "00B201C417", OnError: "continue"},
	}
	if b.unload {
		steps = append(steps, wallet.Step{APDU: "805000020B" + wallet.Hex{keyIndex}.String() + "00000001" + b.probe.String() + "10", OnError: "continue", Once: true})
	}
	return steps
}

// notePurchaseProbe takes the probe's number out of circulation for this card.
func (p *Platform) notePurchaseProbe(tx *Tx, b *purchase) error {
	return tx.exec(`INSERT INTO card_tids (asn, tid, subject) VALUES (?, ?, ?)`, b.asn.String(), b.probe.String(), "probe "+b.id)
}
