package mockplatform

import (
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// debiting is one piece of evidence about a purchase on its way to
// rules.DecidePurchase.
type debiting struct {
	p        *Platform
	tx       *Tx
	c        *call
	purchase *purchase
	grant    *wallet.PurchaseGrant // as the sender brought it; nil: none
	card     *card
	load     *order // an open load of the card

	proof     rules.PurchaseEvidence
	tac       []byte // the TAC that verified
	sent      loadCommand
	answer    initAnswer // of INITIALIZE FOR LOAD over the probe
	authentic bool       // its MAC1 verified
	floor     uint16     // the card's proven counter before this evidence
}

// reportDebit is POST /v1/purchases/{id}/result: what DEBIT FOR PURCHASE answered,
// and for a return of balance INITIALIZE FOR LOAD over the probe.
func reportDebit(c *call) (reply, error) {
	var request api.PurchaseResult
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	return c.settle(request.Grant, func(s *debiting) (*reply, error) {
		tac, mac2 := []byte(request.TAC), []byte(request.MAC2)
		if len(tac) == 0 && len(request.Steps) > 0 && accepted(request.Steps[0]) && len(request.Steps[0].Data) == 8 {
			tac, mac2 = request.Steps[0].Data[:4], request.Steps[0].Data[4:]
		}
		if len(tac) > 0 {
			if err := s.checkDebit(tac, mac2, false); err != nil {
				return nil, err
			}
		}
		const lowerBalance = 3 // place of INITIALIZE FOR LOAD in debitScript
		if !s.purchase.unload || len(request.Steps) <= lowerBalance || !accepted(request.Steps[lowerBalance]) {
			return nil, nil
		}
		answer, ok := parseInitAnswer(request.Steps[lowerBalance])
		if !ok {
			return nil, nil
		}
		// The card was asked over the probe of the grant, which a restore has replaced
		// since, where there was one: the answer proves nothing then, and is no wrong
		// evidence either.
		probe := s.purchase.probe
		if s.grant != nil {
			probe = s.grant.ProbeTID
		}
		return nil, s.checkProbe(loadCommand{probeAmount, probe}, answer)
	})
}

// probeAmount stands in the INITIALIZE FOR LOAD that ends a return of balance.
const probeAmount wallet.Fen = 1

// settlePurchase is POST /v1/purchases/{id}/attempts: GET TRANSACTION PROVE and
// INITIALIZE FOR LOAD over the probe.
func settlePurchase(c *call) (reply, error) {
	var request api.PurchaseAttempt
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	return c.settle(request.Grant, func(s *debiting) (*reply, error) {
		if request.Prove != nil && accepted(*request.Prove) {
			if err := s.readProve(request.Prove.Data); err != nil {
				return nil, err
			}
		}
		if request.Open == nil {
			return nil, nil
		}
		asn, answer, ok := readOpen(request.Open)
		if !ok || asn != s.purchase.asn || request.Open.Amount <= 0 || request.Open.Amount > maxCardFen {
			return refused(http.StatusUnprocessableEntity, api.CodeCardEvidence, "the card's answers do not fit this purchase"), nil
		}
		return nil, s.checkProbe(loadCommand{request.Open.Amount, request.Open.TID}, answer)
	})
}

// readProve takes MAC2 4 ‖ TAC 4 out of GET TRANSACTION PROVE, or the TAC alone.
// That the first half is MAC2 is not certain on every card (card dossier §3.1): one
// that does not verify is no wrong evidence.
func (s *debiting) readProve(data []byte) error {
	switch len(data) {
	case 8:
		if err := s.checkDebit(data[4:], data[:4], true); err != nil {
			return err
		}
	case 4:
		if err := s.checkDebit(data, nil, true); err != nil {
			return err
		}
	default:
		return nil
	}
	if s.proof.TAC.Valid {
		return nil
	}
	return s.tx.exec(`UPDATE purchases SET proves_bad = proves_bad + 1 WHERE id = ?`, s.purchase.id)
}

// settle runs one contact: read it, decide, carry out, all in one transaction.
func (c *call) settle(signed *wallet.Signed, read func(*debiting) (*reply, error)) (reply, error) {
	var answer reply
	paid := false
	err := c.update(func(tx *Tx) error {
		s, refusal, err := c.p.startDebiting(tx, c, signed)
		if err != nil || refusal != nil {
			answer = deref(refusal)
			return err
		}
		if refusal, err := read(s); err != nil || refusal != nil {
			answer = deref(refusal)
			return err
		}
		answer, err = s.decide()
		paid = s.purchase.state == wallet.PurchasePaid
		return err
	})
	if err == nil && paid {
		c.p.wakeCallbacks()
	}
	return answer, err
}

// startDebiting finds the purchase, by number or by the payer's key, and rebuilds it
// from its signed grant where a restore has lost it. Without a session the grant is
// what authenticates the sender.
func (p *Platform) startDebiting(tx *Tx, c *call, signed *wallet.Signed) (*debiting, *reply, error) {
	id := c.req.PathValue("id")
	var grant *wallet.PurchaseGrant
	if signed != nil {
		grant = &wallet.PurchaseGrant{}
		if err := p.signerKeys().Open(wallet.DomainPurchaseGrant, *signed, grant); err != nil || (grant.Purchase != id && grant.Key != id) {
			return nil, refused(http.StatusUnprocessableEntity, api.CodeSignature, "the grant is not one of this platform for this purchase"), nil
		}
	}
	if c.sender.user == "" && c.sender.staff == "" && grant == nil {
		return nil, refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "evidence needs a session or the signed grant"), nil
	}
	b, err := findPurchase(tx, `id = ? OR (key = ? AND user = ?)`, id, id, c.sender.user)
	if err == nil && grant != nil {
		b, err = findPurchase(tx, `id = ?`, grant.Purchase) // a key without a session names nothing
		if err == nil && b == nil {
			b, err = p.rebuildPurchase(tx, *grant)
		}
	}
	switch {
	case err != nil:
		return nil, nil, err
	case b == nil:
		return nil, refused(http.StatusNotFound, api.CodeNotFound, "there is no such purchase"), nil
	}
	s := &debiting{p: p, tx: tx, c: c, purchase: b, grant: grant}
	if s.card, err = findCard(tx, b.asn); err != nil {
		return nil, nil, err
	}
	if s.card == nil {
		s.card = &card{asn: b.asn, state: cardIssued}
	}
	s.floor = s.card.floor
	user := c.sender.user
	s.proof.Counts = grant != nil || c.sender.staff != "" || user != "" && (user == b.user || user == s.card.user)
	s.load, err = findOrder(tx, isOpen+` AND asn = ?`, b.asn.String())
	return s, nil, err
}

// checkDebit verifies TAC and MAC2 against what was authorised.
func (s *debiting) checkDebit(tac, mac2 []byte, fromProve bool) error {
	tacGood, mac2Good, err := s.p.hsm.verifyDebit(s.tx, s.purchase.asn, s.purchase.debit, tac, mac2)
	if err != nil {
		return err
	}
	s.proof.TAC = &rules.TAC{Valid: tacGood, FromProve: fromProve}
	if tacGood {
		s.tac = tac
	}
	if len(mac2) > 0 {
		s.proof.MAC2 = &rules.MAC2{Valid: mac2Good}
	}
	return nil
}

// checkProbe verifies an INITIALIZE FOR LOAD answer. Only one over the live probe is
// looked at: any other proves nothing, may be a recording, and must not raise the
// floor of the card.
func (s *debiting) checkProbe(sent loadCommand, answer initAnswer) (err error) {
	b := s.purchase
	s.sent, s.answer = sent, answer
	mac1 := &rules.MAC1{Terminal: sent.tid, Seq: answer.seq, Balance: answer.balance}
	s.proof.MAC1 = mac1
	if sent.tid != b.probe || b.probeEpoch != s.p.epoch || finalPurchase(b.state) {
		return nil
	}
	if mac1.Valid, err = s.p.hsm.verifyMAC1(s.tx, b.asn, sent, answer); err != nil || !mac1.Valid {
		return err
	}
	s.authentic = true
	mac1.RepeatedRandom, err = s.p.seen(s.tx, s.card, sent, answer)
	return err
}

// facts collects what DecidePurchase must know.
func (s *debiting) facts() (rules.Purchase, error) {
	facts, err := s.p.purchaseFacts(s.tx, s.purchase, s.card)
	facts.Floor, facts.OpenLoad = s.floor, s.load != nil
	if err == nil && s.authentic {
		facts.Incomplete, err = s.p.booksIncomplete(s.tx, s.purchase, s.answer.seq)
	}
	return facts, err
}

// purchaseFacts are those that do not depend on a contact with the card.
func (p *Platform) purchaseFacts(tx *Tx, b *purchase, k *card) (rules.Purchase, error) {
	facts := rules.Purchase{
		State: b.state, Cause: b.cause, Amount: b.amount, Unload: b.unload, Probe: b.probe, ProbeEpoch: b.probeEpoch, Epoch: p.epoch,
		TACSeen: len(b.tac) > 0, MAC2Seen: b.mac2Seen, Shadow: b.claimed, ShadowKnown: k.opening != nil && !b.unopened, Probed: !b.probed.IsZero(),
		Incomplete: b.restored, Wrongs: b.wrongs,
	}
	o, err := findMerchantOrder(tx, b.merchantOrder)
	if err != nil {
		return facts, err
	}
	facts.Lapsed = o == nil || o.purchase != b.id || p.now().After(b.created.Add(reservation))
	if facts.ShadowKnown {
		if facts.Shadow, err = shadowBalance(tx, k); err != nil {
			return facts, err
		}
	}
	_, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM uploads WHERE asn = ? AND received >= ?`, []any{b.asn.String(), b.created.UnixMilli()}, &facts.Uploaded)
	if err != nil {
		return facts, err
	}
	if facts.Probed {
		// Purchases made before the touch and uploaded since explain a part. Those that
		// the clocks cannot place before or after it explain it perhaps.
		var surely, perhaps int64
		_, err = tx.row(`SELECT COALESCE(SUM(CASE WHEN time <= ? THEN amount ELSE 0 END), 0), COALESCE(SUM(amount), 0)
			FROM uploads WHERE asn = ? AND received > ? AND time <= ?`,
			[]any{b.probed.Add(-shopClock).UnixMilli(), b.asn.String(), b.probed.UnixMilli(), b.probed.Add(shopClock).UnixMilli()}, &surely, &perhaps)
		if err != nil {
			return facts, err
		}
		// So do purchases of before the touch that came back after a restore: the touch
		// ended their sessions, so that their debits were before it.
		var returned int64
		_, err = tx.row(`SELECT COALESCE(SUM(amount), 0) FROM purchases WHERE asn = ? AND id <> ? AND state IN ('PAID', 'REFUNDED')
			AND finished > ? AND created <= ?`, []any{b.asn.String(), b.id, b.probed.UnixMilli(), b.probed.UnixMilli()}, &returned)
		if err != nil {
			return facts, err
		}
		facts.Unexplained, facts.UnexplainedLeast = b.unexplained-wallet.Fen(surely+returned), b.unexplained-wallet.Fen(perhaps+returned)
	}
	if facts.Overtaken, err = overtaken(tx, b); err != nil {
		return facts, err
	}
	facts.OldProbe = p.now().Sub(b.probeSince) > probeFresh
	var other string
	facts.OtherDoubt, err = tx.row(`SELECT id FROM purchases WHERE asn = ? AND state = 'SUSPENSE' AND id <> ?`, []any{b.asn.String(), b.id}, &other)
	if err != nil {
		return facts, err
	}
	facts.OtherOpen, err = tx.row(`SELECT id FROM purchases WHERE asn = ? AND state IN ('AUTHORISED', 'DOUBTFUL') AND id <> ?`, []any{b.asn.String(), b.id}, &other)
	return facts, err
}

// overtaken tells whether the books heard of another purchase of the card since the
// probe was drawn. The card may have made it after it answered.
func overtaken(tx *Tx, b *purchase) (bool, error) {
	since := b.probeSince.UnixMilli()
	var known int
	_, err := tx.row(`SELECT (SELECT COUNT(*) FROM uploads WHERE asn = ? AND received >= ?)
		+ (SELECT COUNT(*) FROM purchases WHERE asn = ? AND id <> ? AND state IN ('PAID', 'REFUNDED') AND finished >= ?)`,
		[]any{b.asn.String(), since, b.asn.String(), b.id, since}, &known)
	return known > 0, err
}

// booksIncomplete tells whether loads of the card may be missing from the books. A
// load that a restore lost hides a debit, but it moved the card's counter, unless
// purchases move that too: then nothing tells.
func (p *Platform) booksIncomplete(tx *Tx, b *purchase, seq uint16) (bool, error) {
	if !b.restored {
		return false, nil
	}
	if profile, _ := profileNamed(b.profile); profile.sharedCounter {
		return true, nil
	}
	loads, err := loadsSince(tx, b.asn, b.floor)
	return int(seq) != int(b.floor)+loads, err
}

// decide asks the rules and carries their decision out.
func (s *debiting) decide() (reply, error) {
	facts, err := s.facts()
	if err != nil {
		return reply{}, err
	}
	b := s.purchase
	since := b.probeSince // of the probe that was answered
	decision := rules.DecidePurchase(facts, s.proof, s.p.config.Rules)
	if err := s.remember(decision); err != nil {
		return reply{}, err
	}
	if decision.Alarm {
		if err := s.p.alarm(s.tx, string(decision.Cause), b.id); err != nil {
			return reply{}, err
		}
	}
	code, err := s.carryOut(decision)
	if err != nil {
		return reply{}, err
	}
	if err := s.compareBooks(since); err != nil {
		return reply{}, err
	}
	if err := saveCard(s.tx, s.card); err != nil {
		return reply{}, err
	}
	if code == api.CodePendingLoad {
		return s.pendingLoad()
	}
	return s.p.answerPurchase(b, s.c, code)
}

// remember writes down what this contact has proven for later ones.
func (s *debiting) remember(decision rules.PurchaseDecision) (err error) {
	b := s.purchase
	if decision.CountWrong {
		b.wrongs++
	}
	if decision.RefuseCard {
		s.card.typeRefused = true
	}
	if decision.KeepTAC && len(s.tac) > 0 {
		b.tac = s.tac
	}
	b.mac2Seen = b.mac2Seen || decision.KeepMAC2
	s.card.floor = max(s.card.floor, decision.RaiseFloor)
	if decision.Unexplained != nil && s.authentic {
		b.unexplained, b.balance = *decision.Unexplained, s.answer.balance
		b.probed, err = s.p.afterBookings(s.tx, b.asn.String())
	}
	if err == nil && decision.RenewProbe {
		err = s.p.freshPurchaseProbe(s.tx, b)
	}
	return err
}

// carryOut moves the purchase and gives the code of the answer.
func (s *debiting) carryOut(decision rules.PurchaseDecision) (string, error) {
	b := s.purchase
	switch decision.Outcome {
	case rules.Pay:
		return "", s.p.finishPurchase(s.tx, b, s.card, wallet.PurchasePaid, decision.Evidence, s.actor())
	case rules.Refund:
		return "", s.p.finishPurchase(s.tx, b, s.card, wallet.PurchaseRefunded, decision.Evidence, s.actor())
	case rules.NotTaken:
		return "", s.p.finishPurchase(s.tx, b, s.card, wallet.PurchaseNotTaken, decision.Evidence, s.actor())
	case rules.Doubt:
		if b.state != wallet.PurchaseDoubtful { // also when a card comes back after its purchase was given up
			b.state, b.cause = wallet.PurchaseDoubtful, ""
			if err := s.p.audit(s.tx, s.actor(), "purchase-doubtful", b.id, decision.Evidence); err != nil {
				return "", err
			}
		}
		b.evidence = decision.Evidence
	case rules.Suspend:
		return "", s.p.suspendPurchase(s.tx, b, decision.Cause, s.actor())
	}
	if err := savePurchase(s.tx, b, s.p.now()); err != nil {
		return "", err
	}
	if b.state == wallet.PurchaseSuspense && b.cause == rules.CauseWrongEvidence {
		return api.CodeTooManyWrong, nil
	}
	return decision.Code, nil
}

func (s *debiting) actor() string {
	return s.c.sender.actor()
}

// compareBooks compares an authenticated balance with the books once the decision is
// posted. What an open load may have added is left out of account.
func (s *debiting) compareBooks(since time.Time) error {
	if !s.authentic {
		return nil
	}
	var unposted wallet.Fen
	if s.load != nil {
		unposted = s.load.amount
	}
	return s.p.compareShadow(s.tx, s.card, s.answer.balance, unposted, since)
}

// pendingLoad tells the purchase as it stands and which load must be settled first.
func (s *debiting) pendingLoad() (reply, error) {
	statement, err := s.p.presentPurchase(s.purchase, s.c)
	if err != nil {
		return reply{}, err
	}
	pending, err := openOrder(s.tx, s.load)
	if err != nil {
		return reply{}, err
	}
	statement.PendingLoad, statement.Code, statement.Text = &pending, api.CodePendingLoad, refusalText(api.CodePendingLoad)
	return s.p.signedPurchase(statusOf(statement.Code), statement)
}

// finishPurchase writes a final state once, with its posting and receipt, and tells
// the merchant. An order that was not paid may be paid by somebody again. The caller
// saves the card.
func (p *Platform) finishPurchase(tx *Tx, b *purchase, k *card, state wallet.PurchaseStateName, evidence, actor string) error {
	b.state, b.cause, b.evidence = state, "", evidence
	o, err := findMerchantOrder(tx, b.merchantOrder)
	if err != nil {
		return err
	}
	if o != nil && o.purchase == b.id {
		shown, holder := state, b.id
		if state == wallet.PurchaseNotTaken {
			shown, holder = wallet.PurchaseOffered, ""
		}
		if err := holdMerchantOrder(tx, o.code, shown, holder); err != nil {
			return err
		}
	}
	if state != wallet.PurchaseNotTaken {
		if err := p.openDebited(tx, b, k); err != nil {
			return err
		}
		if err := p.postPurchase(tx, b); err != nil {
			return err
		}
		if err := p.purchaseReceipt(tx, b); err != nil {
			return err
		}
	}
	if state == wallet.PurchasePaid {
		if err := p.tellMerchant(tx, o, b); err != nil {
			return err
		}
	}
	finished, err := p.afterTouches(tx, b.asn.String())
	if err != nil {
		return err
	}
	if err := savePurchase(tx, b, finished); err != nil {
		return err
	}
	return p.audit(tx, actor, "purchase-"+string(state), b.id, evidence)
}

// openDebited corrects the opening balance of a card that became known between
// authorisation and proof: what was authenticated then was the balance after the
// debit, and this amount came onto the card before.
func (p *Platform) openDebited(tx *Tx, b *purchase, k *card) error {
	if !b.unopened || k.opening == nil {
		return nil
	}
	opening := *k.opening + b.amount
	k.opening, b.unopened = &opening, false
	return p.post(tx, transfer{kind: "opening", legs: []leg{{accountOpening, -b.amount}, {accountPurseFloat, b.amount}}})
}

// suspendPurchase leaves the decision to people. The merchant's order, if this
// purchase still holds it, stays held: nobody else may pay it meanwhile.
func (p *Platform) suspendPurchase(tx *Tx, b *purchase, cause rules.Cause, actor string) error {
	b.state, b.cause, b.evidence, b.receipt = wallet.PurchaseSuspense, cause, "none", nil
	if err := savePurchase(tx, b, p.now()); err != nil {
		return err
	}
	return p.audit(tx, actor, "purchase-suspense "+string(cause), b.id, "")
}

// purchaseReceipt is what the person keeps of PAID and REFUNDED. The balance is the
// authenticated one, or what the card claimed less the amount.
func (p *Platform) purchaseReceipt(tx *Tx, b *purchase) (err error) {
	after := b.claimed - b.amount
	if !b.probed.IsZero() {
		after = b.balance
	}
	receipt := wallet.PurchaseReceipt{
		Purchase: b.id, ASN: b.asn, Amount: b.amount, MerchantOrder: b.merchantOrder, Merchant: b.merchant, Goods: b.goods,
		Terminal: b.debit.terminal, TerminalSerial: b.debit.serial, TAC: b.tac, BalanceAfter: after, State: b.state, Time: p.now(),
		Demo: p.secrets.Demo,
	}
	if b.unload || b.state == wallet.PurchaseRefunded {
		main, err := balance(tx, mainAccount(b.user))
		if err != nil {
			return err
		}
		receipt.MainBalance = &main
	}
	b.receipt, err = json.Marshal(receipt)
	return err
}
