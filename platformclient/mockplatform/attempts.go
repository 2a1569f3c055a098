package mockplatform

import (
	"crypto/subtle"
	"errors"
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// settling is one piece of evidence on its way to rules.Decide.
type settling struct {
	p     *Platform
	tx    *Tx
	c     *call
	order *order
	card  *card
	// attempts of the order, the live one first.
	attempts []attemptRow

	proof     rules.Evidence
	tac       []byte     // the TAC that verified
	proven    attemptRow // the attempt that it proves
	balance   wallet.Fen // authenticated or claimed balance after it
	sent      loadCommand
	answer    initAnswer
	hasAnswer bool
	companion string   // that the sender shows
	floor     uint16   // the card's proven counter before this evidence
	held      *refusal // what refuses a new grant, if a state does
}

// reportResult is POST /v1/loads/{id}/result: what CREDIT FOR LOAD answered.
func reportResult(c *call) (reply, error) {
	var request api.ResultRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		s, refusal, err := c.p.startSettling(tx, c, request.Grant)
		if err != nil || refusal != nil {
			answer = deref(refusal)
			return err
		}
		s.proof = rules.Evidence{Attempt: request.Attempt, Intent: wallet.IntentSettle, Payer: s.payer(), Counts: s.counts(request.Grant)}
		tac := []byte(request.TAC)
		if len(tac) == 0 && len(request.Steps) > 0 && accepted(request.Steps[0]) {
			tac = request.Steps[0].Data
		}
		if len(tac) > 0 {
			if err := s.checkTAC(tac, false, request.BalanceAfter, request.Grant); err != nil {
				return err
			}
		}
		answer, err = s.decide()
		return err
	})
	return answer, err
}

// settleLoad is POST /v1/loads/{id}/attempts: GET TRANSACTION PROVE and INITIALIZE
// FOR LOAD over the probe, with what the person wants.
func settleLoad(c *call) (reply, error) {
	var request api.AttemptRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	switch request.Intent {
	case wallet.IntentSettle, wallet.IntentComplete, wallet.IntentCancel:
	default:
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the intent is unknown"), nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		s, refusal, err := c.p.startSettling(tx, c, request.Grant)
		if err != nil || refusal != nil {
			answer = deref(refusal)
			return err
		}
		if stored, err := s.storedAnswer(request); err != nil || stored != nil {
			answer = deref(stored)
			return err
		}
		s.proof = rules.Evidence{
			Attempt: request.Attempt, Intent: request.Intent, Payer: s.payer(), Counts: s.counts(request.Grant),
			SaysNo: request.Prove == nil || !accepted(*request.Prove),
		}
		s.companion = request.CompanionSN
		if refusal, err := s.read(request); err != nil || refusal != nil {
			answer = deref(refusal)
			return err
		}
		if answer, err = s.decide(); err != nil {
			return err
		}
		return s.storeAnswer(request, answer)
	})
	return answer, err
}

func deref(r *reply) reply {
	if r == nil {
		return reply{}
	}
	return *r
}

// startSettling finds the order, by number or by the payer's key, and rebuilds it
// from its signed grant where a restore has lost it. Without a session the grant is
// what authenticates the sender.
func (p *Platform) startSettling(tx *Tx, c *call, signed *wallet.Signed) (*settling, *reply, error) {
	id := c.req.PathValue("id")
	var grant *wallet.Grant
	if signed != nil {
		grant = &wallet.Grant{}
		if err := p.signerKeys().Open(wallet.DomainGrant, *signed, grant); err != nil || (grant.Order != id && grant.Key != id) {
			return nil, refused(http.StatusUnprocessableEntity, api.CodeSignature, "the grant is not one of this platform for this order"), nil
		}
	}
	if c.sender.user == "" && c.sender.staff == "" && grant == nil {
		return nil, refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "evidence needs a session or the signed grant"), nil
	}
	o, err := findOrder(tx, `id = ? OR (key = ? AND user = ?)`, id, id, c.sender.user)
	if err != nil {
		return nil, nil, err
	}
	if grant != nil {
		if o, err = p.rebuild(tx, o, *grant); err != nil {
			if errors.Is(err, errOtherOpen) {
				return nil, refused(http.StatusConflict, api.CodePendingLoad, refusalText(api.CodePendingLoad)), nil
			}
			return nil, nil, err
		}
	}
	if o == nil {
		return nil, refused(http.StatusNotFound, api.CodeNotFound, "there is no such order"), nil
	}
	s := &settling{p: p, tx: tx, c: c, order: o}
	if s.card, err = findCard(tx, o.asn); err != nil {
		return nil, nil, err
	}
	if s.card == nil {
		s.card = &card{asn: o.asn, state: cardIssued}
	}
	s.floor = s.card.floor
	s.attempts, err = attemptsOf(tx, o.id)
	if err == nil && len(s.attempts) == 0 {
		err = errors.New("an order has no attempt")
	}
	return s, nil, err
}

func (s *settling) payer() bool { return s.c.sender.user != "" && s.c.sender.user == s.order.user }

// counts tells whether wrong evidence of this sender counts against the order: from
// the payer, from the card's holder, from the counter, or with the order's own grant.
func (s *settling) counts(grant *wallet.Signed) bool {
	user := s.c.sender.user
	return grant != nil || s.c.sender.staff != "" || user != "" && (user == s.order.user || user == s.card.user)
}

// checkTAC compares with the expectation that was stored before MAC2 left. For an
// attempt that only the signed grant still knows it is computed; the balance that
// the sender claims is then authenticated by the TAC itself.
func (s *settling) checkTAC(tac []byte, fromProve bool, claimed wallet.Fen, signed *wallet.Signed) error {
	s.proof.TAC = &rules.TAC{FromProve: fromProve}
	for _, a := range s.attempts {
		if len(a.tac) == len(tac) && subtle.ConstantTimeCompare(a.tac, tac) == 1 {
			s.proof.TAC.Valid, s.tac, s.proven = true, tac, a
			s.balance = claimed
			if a.balanceBefore != nil {
				s.balance = *a.balanceBefore + s.order.amount
			}
			return nil
		}
	}
	if signed == nil {
		return nil
	}
	var grant wallet.Grant
	if err := s.p.signerKeys().Open(wallet.DomainGrant, *signed, &grant); err != nil || grant.Order != s.order.id {
		return nil // startSettling has checked it; nothing to verify against otherwise
	}
	balance := claimed
	if s.hasAnswer {
		balance = s.answer.balance
	}
	good, err := s.p.hsm.verifyTAC(s.tx, s.order.asn, loadCommand{grant.Amount, grant.TID}, grant.Seq, balance, grant.Issued, tac)
	if err == nil && good {
		s.proof.TAC.Valid, s.tac, s.balance = true, tac, balance
		s.proven = attemptRow{number: grant.Attempt, tid: grant.TID, seq: grant.Seq}
	}
	return err
}

// read takes TAC and MAC1 out of the raw answers.
func (s *settling) read(request api.AttemptRequest) (*reply, error) {
	if request.Open != nil {
		asn, answer, ok := readOpen(request.Open)
		if !ok || asn != s.order.asn || request.Open.Amount != s.order.amount {
			return refused(http.StatusUnprocessableEntity, api.CodeCardEvidence, "the card's answers do not fit this order"), nil
		}
		s.sent, s.answer, s.hasAnswer = loadCommand{request.Open.Amount, request.Open.TID}, answer, true
	}
	if request.Prove != nil && accepted(*request.Prove) {
		// MAC 4 ‖ TAC 4, or the TAC alone on some cards (card dossier §3.1).
		data := []byte(request.Prove.Data)
		if len(data) == 8 {
			data = data[4:]
		}
		if len(data) == 4 {
			if err := s.checkTAC(data, true, 0, request.Grant); err != nil {
				return nil, err
			}
			if s.proof.TAC.Valid {
				return nil, nil // nothing can prove more
			}
			if err := s.tx.exec(`UPDATE orders SET proves_bad = proves_bad + 1 WHERE id = ?`, s.order.id); err != nil {
				return nil, err
			}
		}
	}
	if !s.hasAnswer {
		return nil, nil
	}
	// Only an answer over the live probe is looked at: any other proves nothing, may
	// be a recording, and must not raise the floor of the card.
	live := s.sent.tid == s.order.probe && s.order.probeEpoch == s.p.epoch && request.Attempt == s.order.attempt
	live = live || s.p.config.Rules != rules.Rules{} // a platform with rules off believes what the rules would not
	good, repeated := false, false
	var err error
	if live {
		if good, err = s.p.hsm.verifyMAC1(s.tx, s.order.asn, s.sent, s.answer); err != nil {
			return nil, err
		}
	}
	if good {
		if repeated, err = s.p.seen(s.tx, s.card, s.sent, s.answer); err != nil {
			return nil, err
		}
	}
	s.proof.MAC1 = &rules.MAC1{
		Terminal: s.sent.tid, Valid: good, Seq: s.answer.seq, Balance: s.answer.balance, RepeatedRandom: repeated,
	}
	return nil, nil
}

// facts collects what Decide must know of the order.
func (s *settling) facts() (rules.Order, error) {
	o, live := s.order, s.attempts[0]
	profile, _ := profileNamed(o.profile)
	facts := rules.Order{
		State: o.state, Cause: o.cause, Attempt: o.attempt, Amount: o.amount, Seq: live.seq, Floor: live.floor,
		Probe: o.probe, ProbeEpoch: o.probeEpoch, GrantEpoch: live.epoch, Epoch: s.p.epoch, Grants: 1, SharedCounter: profile.sharedCounter, Wrongs: o.wrongs,
	}
	if live.balanceBefore != nil {
		facts.BalanceKnown, facts.BalanceBefore = true, *live.balanceBefore
	}
	for _, former := range s.attempts[1:] {
		facts.Retired = append(facts.Retired, former.probe)
	}
	payer, err := findAccount(s.tx, "user", o.user)
	if err != nil {
		return facts, err
	}
	if s.held, err = s.p.accountRefusal(s.tx, payer, actComplete); err == nil && s.held == nil {
		s.held, err = s.p.cardRefusal(s.tx, s.card, s.card.user, actComplete)
	}
	if err != nil {
		return facts, err
	}
	switch {
	case s.held != nil:
		facts.CompleteRefused = s.held.code
	case s.card.typeRefused || s.p.profileRefused(o.profile):
		facts.CompleteRefused = api.CodeCardTypeRefused
	default:
		facts.CompleteRefused, err = s.completeRefused(payer)
	}
	return facts, err
}

// completeRefused gives the code why the payer may not complete the order: what staff
// has closed or bound, and the lists. Limits are not asked: it is no new load.
func (s *settling) completeRefused(payer *account) (string, error) {
	code, err := s.p.moneyRefused(s.tx, payer.phone, s.companion, s.c.sender.thumbprint)
	if err != nil || code != "" {
		return code, err
	}
	refused, err := s.p.listRefusal(s.tx, rules.UseComplete, payer.id, s.c.sender.device, s.card)
	if err != nil || refused == nil {
		return "", err
	}
	return refused.code, nil
}

// decide asks the rules and carries their decision out.
func (s *settling) decide() (reply, error) {
	facts, err := s.facts()
	if err != nil {
		return reply{}, err
	}
	decision := rules.Decide(facts, s.proof, s.p.config.Rules)
	if decision.CountWrong {
		s.order.wrongs++
	}
	if decision.RefuseCard {
		s.card.typeRefused = true
	}
	s.card.floor = max(s.card.floor, decision.RaiseFloor)
	if decision.Alarm {
		if err := s.p.alarm(s.tx, string(decision.Cause), s.order.id); err != nil {
			return reply{}, err
		}
	}
	answer, err := s.carryOut(decision)
	if err != nil {
		return reply{}, err
	}
	if err := s.compareBooks(); err != nil {
		return reply{}, err
	}
	return answer, saveCard(s.tx, s.card)
}

// compareBooks compares an authenticated balance with the books once the decision
// is posted. What an open order may have added is left out of account.
func (s *settling) compareBooks() error {
	var unposted wallet.Fen
	if s.order.state == wallet.StateSuspense || s.order.state == wallet.StateGranted {
		unposted = s.order.amount
	}
	if s.proof.MAC1 == nil || !s.proof.MAC1.Valid {
		return nil
	}
	if s.c.sender.nonce == "" {
		// The grant alone authenticates such evidence, and no nonce bounds its age: it may
		// tell of a balance that the card has long spent.
		return nil
	}
	return s.p.compareShadow(s.tx, s.card, s.answer.balance, unposted, s.p.answered())
}

// explain lets a TAC explain what a card in RECOVER shows beyond the books. The
// last unexplained fen ends that state.
func (s *settling) explain() error {
	if s.card.state != cardRecover || s.proof.MAC1 != nil && s.proof.MAC1.Valid {
		return nil
	}
	s.card.excess -= s.order.amount
	if s.card.excess > 0 {
		return nil
	}
	s.card.excess, s.card.touchedEpoch = 0, s.p.epoch
	return s.p.moveCard(s.tx, s.card, states.BooksExplained)
}

func (s *settling) carryOut(decision rules.Decision) (reply, error) {
	o := s.order
	switch decision.Outcome {
	case rules.Load:
		return s.load(decision)
	case rules.Void:
		return s.void(decision)
	case rules.Regrant:
		return s.regrant()
	case rules.Suspend:
		return s.suspend(decision)
	case rules.Keep:
		state, err := s.p.presentState(s.tx, o, s.c)
		if err != nil {
			return reply{}, err
		}
		state.OnCard, state.Evidence = decision.OnCard, decision.Evidence
		return s.p.signedState(http.StatusOK, state)
	}
	if err := saveOrder(s.tx, o, s.p.now()); err != nil { // the count of wrong evidence
		return reply{}, err
	}
	code := decision.Code
	if o.state == wallet.StateSuspense && o.cause == rules.CauseWrongEvidence {
		code = api.CodeTooManyWrong
	}
	state, err := s.p.presentState(s.tx, o, s.c)
	if err != nil {
		return reply{}, err
	}
	state.Code, state.Text = code, refusalText(code)
	if s.held != nil && s.held.code == code {
		state.Standing, state.RetryAfter = s.held.state.Standing, s.held.state.RetryAfter
	}
	return s.p.signedState(statusOf(code), state)
}

func (s *settling) load(decision rules.Decision) (reply, error) {
	o := s.order
	o.state, o.cause, o.evidence = wallet.StateLoaded, "", decision.Evidence
	if err := s.explain(); err != nil {
		return reply{}, err
	}
	if err := s.p.postLoaded(s.tx, o); err != nil {
		return reply{}, err
	}
	proven, after := s.attempts[0], s.answer.balance
	if len(s.tac) > 0 {
		proven, after = s.proven, s.balance
	} else if proven.balanceBefore != nil {
		after = *proven.balanceBefore + o.amount
	}
	if err := s.p.receipt(s.tx, o, proven, s.tac, after-o.amount, after); err != nil {
		return reply{}, err
	}
	return s.finish("load-loaded")
}

func (s *settling) void(decision rules.Decision) (reply, error) {
	o := s.order
	o.state, o.cause, o.evidence = wallet.StateVoided, "", decision.Evidence
	if err := s.p.releaseHold(s.tx, o); err != nil {
		return reply{}, err
	}
	if err := s.p.receipt(s.tx, o, s.attempts[0], nil, s.answer.balance, s.answer.balance); err != nil {
		return reply{}, err
	}
	return s.finish("load-voided")
}

func (s *settling) finish(action string) (reply, error) {
	if err := saveOrder(s.tx, s.order, s.p.now()); err != nil {
		return reply{}, err
	}
	if err := s.p.audit(s.tx, s.actor(), action, s.order.id, s.order.evidence); err != nil {
		return reply{}, err
	}
	return s.p.answerPresent(s.tx, s.order, s.c, "")
}

func (s *settling) actor() string {
	return s.c.sender.actor()
}

// suspend leaves the decision to people. An order that was voided holds its money
// again, from a receivable: nothing is taken from the person without a decision.
func (s *settling) suspend(decision rules.Decision) (reply, error) {
	o := s.order
	if o.state == wallet.StateVoided {
		if err := s.p.holdAgain(s.tx, o, false); err != nil {
			return reply{}, err
		}
		if _, _, err := s.p.meetCard(s.tx, s.card, rules.ListValueCreated, "platform", o.id); err != nil {
			return reply{}, err
		}
	}
	o.state, o.cause, o.evidence, o.receipt = wallet.StateSuspense, decision.Cause, "none", nil
	return s.finish("load-suspense " + string(decision.Cause))
}

// regrant gives the next attempt: the probe's number is the terminal number of the
// new grant, which answers this very INITIALIZE FOR LOAD, and the old probe dies.
func (s *settling) regrant() (reply, error) {
	o := s.order
	probe, err := s.p.newTID(s.tx, o.asn.String())
	if err != nil {
		return reply{}, err
	}
	o.attempt++
	o.probe, o.probeEpoch = probe, s.p.epoch
	if err := saveOrder(s.tx, o, s.p.now()); err != nil {
		return reply{}, err
	}
	granted, err := s.p.grantAttempt(s.tx, o, s.sent, s.answer, s.floor)
	if err != nil {
		return reply{}, err
	}
	return success(api.LoadAnswer{Grant: granted})
}

// storedAnswer finds what was answered to (order, attempt, probe, intent). A grant
// is repeated byte for byte; a state is told as it stands now, for the question
// that asks now.
func (s *settling) storedAnswer(request api.AttemptRequest) (*reply, error) {
	if request.Open == nil || !s.payer() {
		return nil, nil
	}
	var kept reply
	var sealed []byte
	known, err := s.tx.row(`SELECT status, sealed FROM attempt_answers WHERE order_id = ? AND attempt = ? AND probe = ? AND intent = ?`,
		[]any{s.order.id, request.Attempt, request.Open.TID.String(), string(request.Intent)}, &kept.status, &sealed)
	if err != nil || !known {
		return nil, err
	}
	kept.body, err = s.p.sealer.open("attempt "+s.order.id, sealed)
	return &kept, err
}

// storeAnswer keeps a new grant under (order, attempt, probe, intent). States need
// no copy: the order itself is what answers the same question again.
func (s *settling) storeAnswer(request api.AttemptRequest, answer reply) error {
	if request.Open == nil || request.Attempt == s.order.attempt || answer.status != http.StatusOK || request.Intent != wallet.IntentComplete ||
		s.order.state != wallet.StateGranted {
		return nil
	}
	return s.tx.exec(`INSERT INTO attempt_answers (order_id, attempt, probe, intent, status, sealed) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (order_id, attempt, probe, intent) DO NOTHING`, s.order.id, request.Attempt, request.Open.TID.String(),
		string(request.Intent), answer.status, s.p.sealer.seal("attempt "+s.order.id, answer.body))
}
