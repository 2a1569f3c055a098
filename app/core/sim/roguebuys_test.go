package sim

import (
	"encoding/json"
	"fmt"
	"strings"

	"walletcompanion/platformclient"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// What the dishonest person does with purchases: he holds codes of orders, answers to
// INITIALIZE FOR PURCHASE, grants with their MAC1, TAC and MAC2 of any time, and puts
// them together as he likes, from two computers.

// rogueBuy is a grant to pay in his hands.
type rogueBuy struct {
	wallet.PurchaseGrant
	signed wallet.Signed
	debit  string   // the command
	rest   []string // the commands after it
}

// rogueDebit is what a card answered to DEBIT FOR PURCHASE and what came after.
type rogueDebit struct {
	buy   string // purchase whose MAC1 it took
	steps []wallet.StepResult
}

// buys is one move with purchases.
func (r *rogue) buys() {
	r.client = r.c.client
	if r.w.luck.IntN(3) == 0 {
		r.w.login(r.second)
		r.client = r.second.client
	}
	switch r.w.luck.IntN(18) {
	case 17:
		r.forgeTAC()
	case 16: // the card is debited for something else
		r.w.corner.sell(r.card, 100)
	case 0, 1:
		r.openPurchase()
	case 2, 3:
		r.askToPay()
	case 4, 5:
		r.debit()
	case 6, 7:
		r.reportDebit()
	case 8:
		r.probeBuy()
		r.settleBuy()
	case 9:
		r.settleBuy()
	case 10:
		r.proveBuy()
	case 11:
		r.abandonBuy()
	default: // the honest order of things, so that there is something to abuse
		r.newest = true
		r.proveBuy()
		r.probeBuy()
		r.settleBuy()
		r.openPurchase()
		r.askToPay()
		r.debit()
		if r.w.luck.IntN(3) > 0 {
			r.reportDebit()
		}
		r.newest = false
	}
	r.client = r.c.client
}

// openPurchase runs the open script for purchases over a leased number or an old one.
func (r *rogue) openPurchase() {
	lease, err := r.client.TakeLease(ctx())
	if err != nil {
		return
	}
	init := rogueInit{tid: lease.TID, amount: []wallet.Fen{100, 1000}[r.w.luck.IntN(2)]}
	if old, ok := pick(r, r.opened); ok && !r.newest && r.w.luck.IntN(4) == 0 {
		init.tid, init.amount = old.tid, old.amount
	}
	if init.steps = r.script(r.client.Session().PurchaseScripts["pboc-ep"], init.tid, init.amount); len(init.steps) == 3 {
		r.opened = append(r.opened, init)
		r.say("INIT FOR PURCHASE", nil)
	}
}

// script plays an open script from SELECT on.
func (r *rogue) script(script wallet.Script, tid wallet.TerminalNumber, amount wallet.Fen) (steps []wallet.StepResult) {
	if _, err := r.card.PowerOn(); err != nil {
		return nil
	}
	fill := strings.NewReplacer("{key_idx}", "01", "{amount}", fmt.Sprintf("%08X", int64(amount)), "{tid}", tid.String())
	for _, step := range script.Steps {
		result, ok := r.send(fill.Replace(step.APDU))
		if !ok {
			return nil
		}
		steps = append(steps, result)
	}
	return steps
}

// askToPay asks for MAC1 with any INITIALIZE answer: for a new order, one that was
// paid, one of somebody else, or a return of balance.
func (r *rogue) askToPay() {
	init, ok := pick(r, r.opened)
	if !ok {
		return
	}
	key, err := platformclient.NewKey(r.c.now(), r.c.random)
	r.w.must(err)
	if old, ok := pick(r, r.bought); ok && !r.newest && r.w.luck.IntN(5) == 0 {
		key = old.Key
	}
	code := ""
	switch {
	case r.w.luck.IntN(3) == 0:
		offer, err := r.client.Unload(ctx(), r.card.ASN(), init.amount)
		if err != nil {
			return
		}
		code = offer.Code
	case !r.newest && len(r.w.shop.codes) > 0 && r.w.luck.IntN(2) == 0:
		code = r.w.shop.codes[r.w.luck.IntN(len(r.w.shop.codes))]
	default:
		code = r.w.shop.order(init.amount)
	}
	verdict, err := r.client.Cashier().RequestPurchase(ctx(), wallet.PurchaseAsk{
		Payment: wallet.Payment{Key: key, ASN: r.card.ASN(), Amount: init.amount, MerchantOrder: code},
		Profile: "pboc-ep", KeyIndex: 1, TID: init.tid, Steps: init.steps,
	})
	if verdict.Granted != nil {
		buy := rogueBuy{signed: verdict.Granted.Grant}
		var steps []wallet.Step
		r.w.must(json.Unmarshal(verdict.Granted.Grant.Payload, &buy.PurchaseGrant))
		r.w.must(json.Unmarshal(verdict.Granted.Script, &steps))
		for _, step := range steps {
			buy.rest = append(buy.rest, step.APDU)
		}
		buy.debit, buy.rest = buy.rest[0], buy.rest[1:]
		r.bought = append(r.bought, buy)
	}
	r.say("ask to pay", err)
}

// debit sends any MAC1 to the card, in whatever session it is.
func (r *rogue) debit() {
	buy, ok := pick(r, r.bought)
	if !ok {
		return
	}
	result, ok := r.send(buy.debit)
	if !ok || len(result.Data) != 8 {
		return
	}
	done := rogueDebit{buy: buy.Purchase, steps: []wallet.StepResult{result}}
	for _, command := range buy.rest {
		if result, ok = r.send(command); ok {
			done.steps = append(done.steps, result)
		}
	}
	r.debits = append(r.debits, done)
	r.say("DEBIT", nil)
}

// reportDebit sends the answer of any DEBIT as the result of any purchase. A wrong one
// costs one of five tries, so he seldom sends one.
func (r *rogue) reportDebit() {
	buy, ok := pick(r, r.bought)
	done, some := pick(r, r.debits)
	if !ok || !some || done.buy != buy.Purchase && r.w.luck.IntN(8) > 0 {
		return
	}
	tac, mac2 := done.steps[0].Data[:4], done.steps[0].Data[4:]
	steps := done.steps
	switch r.w.luck.IntN(12) {
	case 0: // another debit's MAC2
		if other, ok := pick(r, r.debits); ok {
			mac2 = other.steps[0].Data[4:]
		}
	case 1: // the lower balance of another time
		if other, ok := pick(r, r.debits); ok {
			steps = other.steps
		}
	case 2: // a TAC alone
		mac2, steps = nil, nil
	}
	entry := wallet.Entry{
		Kind: wallet.KindPurchase, Key: buy.Key, Order: buy.Purchase, ASN: buy.ASN, Amount: buy.Amount, MerchantOrder: buy.MerchantOrder,
		TAC: tac, MAC2: mac2, Steps: steps, Executed: len(steps),
	}
	if r.w.luck.IntN(2) == 0 {
		entry.Grant = &buy.signed
	}
	_, _, err := r.client.PurchaseResult(ctx(), entry)
	r.say("result of a debit", err)
}

// forgeTAC claims a debit that never was. Nothing covers a TAC but one DES key of his
// card, and he has searched it through; MAC2 he can only guess.
func (r *rogue) forgeTAC() {
	buy, ok := pick(r, r.bought)
	if !ok || r.w.luck.IntN(3) > 0 { // it ends with staff, who block his card
		return
	}
	tac := epcrypto.PurchaseTAC(r.card.Keys().DTK, uint32(buy.Amount), wallet.TypePurchaseEP, buy.Terminal, buy.TerminalSerial, epcrypto.CardTimeOf(buy.Issued))
	entry := wallet.Entry{
		Kind: wallet.KindPurchase, Key: buy.Key, Order: buy.Purchase, ASN: buy.ASN, Amount: buy.Amount, MerchantOrder: buy.MerchantOrder,
		TAC: tac[:], Executed: 1,
	}
	if r.w.luck.IntN(2) == 0 {
		entry.MAC2 = wallet.Hex{1, 2, 3, 4}
	}
	_, _, err := r.client.PurchaseResult(ctx(), entry)
	r.say("forge a TAC", err)
}

// probeBuy asks the card over the probe of any purchase, mostly the newest.
func (r *rogue) probeBuy() {
	if buy, ok := pick(r, r.bought); ok {
		steps := r.script(r.c.client.Session().Scripts["pboc-ep"], buy.ProbeTID, wallet.PurchaseProbeAmount)
		if len(steps) == 3 {
			r.probes = append(r.probes, rogueInit{tid: buy.ProbeTID, amount: wallet.PurchaseProbeAmount, steps: steps})
		}
	}
}

// proveBuy lets the card repeat the proof of a purchase.
func (r *rogue) proveBuy() {
	if buy, ok := pick(r, r.bought); ok {
		if result, ok := r.send(fmt.Sprintf("805A000602%04X08", buy.Number+uint16(r.w.luck.IntN(2)))); ok && len(result.Data) > 0 {
			r.proofs = append(r.proofs, result)
			r.say("PROVE a purchase", nil)
		}
	}
}

// settleBuy sends evidence about any purchase: an answer over its probe, over another
// one, or one in which he changed the balance, with or without a proof.
func (r *rogue) settleBuy() {
	buy, ok := pick(r, r.bought)
	probe, some := pick(r, r.probes)
	if !ok || !some {
		return
	}
	evidence := wallet.PurchaseEvidence{
		Purchase: wallet.OpenPurchase{Purchase: buy.Purchase, ASN: buy.ASN, Amount: buy.Amount, ProbeTID: probe.tid},
		Steps:    append([]wallet.StepResult(nil), probe.steps...),
	}
	if r.w.luck.IntN(6) == 0 {
		evidence.Purchase.ProbeTID = buy.ProbeTID // as if the old answer were over this probe
	}
	if r.w.luck.IntN(10) == 0 { // a balance that he would like
		forged := append(wallet.Hex(nil), probe.steps[2].Data...)
		if len(forged) > 3 {
			forged[3] ^= 0x40
			evidence.Steps[2].Data = forged
		}
	}
	if proof, ok := pick(r, r.proofs); ok && r.w.luck.IntN(3) == 0 {
		evidence.Prove = &proof
	}
	if r.w.luck.IntN(3) == 0 {
		evidence.Grant = &buy.signed
	}
	_, err := r.client.Cashier().SettlePurchase(ctx(), evidence)
	r.say("settle a purchase", err)
}

// abandonBuy says of a purchase that it never was, also after the card was debited.
func (r *rogue) abandonBuy() {
	if buy, ok := pick(r, r.bought); ok {
		_, err := r.client.AbandonPurchase(ctx(), buy.Key)
		r.say("abandon a purchase", err)
	}
}
