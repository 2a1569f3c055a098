package wallettest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"walletcompanion/wallet"
)

// Cashier is a platform in memory that authorises whatever the Chip can pay. The
// hooks let a test forge an answer at the last moment.
type Cashier struct {
	Key ed25519.PrivateKey

	// Forge may change the grant and its steps before they are hashed and signed.
	Forge func(grant *wallet.PurchaseGrant, steps *[]wallet.Step)
	// Answer may change the finished answer.
	Answer func(granted *wallet.PurchaseGrantedScript)
	// Refuse, if set, is the statement that RequestPurchase answers.
	Refuse *wallet.PurchaseStatement
	// Lost makes every answer an error after the platform has done its part.
	Lost error
	// MAC1 replaces the arithmetic of Chip, ValidProof its proofs. nil: those of Chip,
	// which never lies.
	MAC1       func(initAnswer, initData, at []byte) []byte
	ValidProof func(purchase Purchase, tac, mac2 []byte) bool
	// Slow is waited before every answer, in the clock of the test.
	Slow time.Duration

	Asks      []wallet.PurchaseAsk
	Evidence  []wallet.PurchaseEvidence
	Purchases map[string]*Purchase // by number
}

// Purchase is a purchase as the cashier keeps it. Shadow is what the books say that
// the card held before it.
type Purchase struct {
	wallet.PurchaseGrant
	Shadow wallet.Fen
	State  wallet.PurchaseStateName
	At     []byte // terminal serial 4 ‖ date 4 ‖ time 3 of DEBIT
}

// NewCashier makes a cashier that signs with a key.
func NewCashier(key ed25519.PrivateKey) *Cashier {
	return &Cashier{Key: key, Purchases: map[string]*Purchase{}}
}

// Open tells a purchase as a session answer does.
func (k *Cashier) Open(number string) wallet.OpenPurchase {
	p := k.Purchases[number]
	return wallet.OpenPurchase{
		Purchase: p.Purchase, ASN: p.ASN, Amount: p.Amount, Number: p.Number, Type: wallet.TypePurchaseEP, ProbeTID: p.ProbeTID,
		Epoch: p.Epoch, State: p.State, Merchant: p.Merchant, Goods: p.Goods,
	}
}

// RequestPurchase implements wallet.Cashier.
func (k *Cashier) RequestPurchase(ctx context.Context, ask wallet.PurchaseAsk) (wallet.PurchaseVerdict, error) {
	k.Asks = append(k.Asks, ask)
	if k.Refuse != nil {
		statement := *k.Refuse
		statement.Key = ask.Payment.Key
		return wallet.PurchaseVerdict{State: &statement}, k.deliver(ctx)
	}
	init := ask.Steps[len(ask.Steps)-1].Data
	number := fmt.Sprintf("P20260301-%02d", len(k.Purchases)+1)
	grant := wallet.PurchaseGrant{
		Purchase: number, User: "u1", Key: ask.Payment.Key, ASN: ask.Payment.ASN, Amount: ask.Payment.Amount,
		MerchantOrder: ask.Payment.MerchantOrder, Merchant: ask.Payment.Merchant, Goods: ask.Payment.Goods, Unload: ask.Payment.Unload,
		Terminal: ask.TID, TerminalSerial: 0x00C0FFEE, Number: binary.BigEndian.Uint16(init[4:]), Random: append(wallet.Hex(nil), init[11:]...),
		Balance:  wallet.Fen(binary.BigEndian.Uint32(init)),
		ProbeTID: wallet.TerminalNumber{0x60, 0, 0, 0, 1, byte(len(k.Purchases) + 1)}, Epoch: 1, NotAfterS: 60,
	}
	at := append(binary.BigEndian.AppendUint32(nil, grant.TerminalSerial), mustHex("20260315093045")...)
	k.Purchases[number] = &Purchase{PurchaseGrant: grant, Shadow: grant.Balance, State: wallet.PurchaseAuthorised, At: at}
	granted := k.grant(grant, init, ask.KeyIndex, at)
	return wallet.PurchaseVerdict{Granted: &granted}, k.deliver(ctx)
}

// SettlePurchase implements wallet.Cashier by the rules of protocol §2.19: TAC and
// MAC2 pay; a balance that leaves less than the amount unexplained proves that nothing
// was taken; anything else is in doubt.
func (k *Cashier) SettlePurchase(ctx context.Context, evidence wallet.PurchaseEvidence) (wallet.PurchaseStatement, error) {
	k.Evidence = append(k.Evidence, evidence)
	p := k.Purchases[evidence.Purchase.Purchase]
	proven := evidence.Prove != nil && len(evidence.Prove.Data) == 8 &&
		(k.ValidProof == nil || k.ValidProof(*p, evidence.Prove.Data[4:], evidence.Prove.Data[:4]))
	switch {
	case proven:
		p.State = wallet.PurchasePaid
	case len(evidence.Steps) == 0:
	case p.Shadow-wallet.Fen(binary.BigEndian.Uint32(evidence.Steps[len(evidence.Steps)-1].Data)) < p.Amount:
		p.State = wallet.PurchaseNotTaken
	default:
		p.State = wallet.PurchaseDoubtful
	}
	debited := p.State == wallet.PurchasePaid
	statement := wallet.PurchaseStatement{Purchase: p.Purchase, State: p.State, Delivered: debited}
	if debited || p.State == wallet.PurchaseNotTaken {
		statement.Debited = &debited
	}
	return statement, k.deliver(ctx)
}

func (k *Cashier) deliver(ctx context.Context) error {
	if k.Slow > 0 {
		select {
		case <-time.After(k.Slow):
		case <-ctx.Done():
			return errors.New("no answer in time")
		}
	}
	return k.Lost
}

// grant signs the DEBIT for the INITIALIZE that answered init.
func (k *Cashier) grant(grant wallet.PurchaseGrant, init []byte, keyIndex byte, at []byte) wallet.PurchaseGrantedScript {
	initData := append([]byte{keyIndex}, binary.BigEndian.AppendUint32(nil, uint32(grant.Amount))...)
	initData = append(initData, grant.Terminal[:]...)
	mac := PurchaseMAC1
	if k.MAC1 != nil {
		mac = k.MAC1
	}
	debit := wallet.Command{CLA: 0x80, INS: 0x54, P1: 0x01, Data: append(append([]byte(nil), at...), mac(init, initData, at)...), Le: 8}
	steps := []wallet.Step{
		{APDU: wallet.Hex(debit.Bytes()).String(), Expect: []string{"9000"}, Once: true},
		{APDU: "805C000204", OnError: "continue"},
		{APDU: "00B201C417", OnError: "continue"},
	}
	if grant.Unload {
		steps = append(steps, wallet.Step{APDU: "805000020B" + wallet.Hex{keyIndex}.String() + "00000001" + grant.ProbeTID.String() + "10", Once: true})
	}
	if k.Forge != nil {
		k.Forge(&grant, &steps)
	}
	return k.Sign(grant, steps)
}

// Sign makes the answer that carries a grant and its steps.
func (k *Cashier) Sign(grant wallet.PurchaseGrant, steps []wallet.Step) wallet.PurchaseGrantedScript {
	script, err := json.Marshal(steps)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(script)
	grant.ScriptSHA256 = sum[:]
	signed, err := wallet.Sign(wallet.DomainPurchaseGrant, grant, k.Key)
	if err != nil {
		panic(err)
	}
	granted := wallet.PurchaseGrantedScript{Grant: signed, Script: script}
	if k.Answer != nil {
		k.Answer(&granted)
	}
	return granted
}

// OpenPurchaseScript is the open script for purchases as a platform publishes it.
func OpenPurchaseScript(profile *wallet.Profile) wallet.Script {
	script := OpenScript(profile)
	script.Name = "purchase-open"
	script.Steps[2].APDU = "805001020B{key_idx}{amount}{tid}0F"
	return script
}
