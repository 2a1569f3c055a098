package mockplatform

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// What no proof decides is decided by two persons: one proposes, a supervisor who
// is somebody else confirms, and the order must still be as the first one saw it.
// The postings are those of every other ending, so that an order never pays more
// than it held.

// States of a proposal.
const (
	proposalOpen      = "OPEN"
	proposalConfirmed = "CONFIRMED"
	proposalRejected  = "REJECTED"
	proposalStale     = "STALE"
)

// proposal is a row of proposals, with the names of its persons.
type proposal struct {
	id, order, target, reason, proposer, second, state string
	proposerName, secondName                           string
	mark                                               []byte
	created                                            time.Time
}

func findProposals(tx *Tx, where string, args ...any) (found []*proposal, err error) {
	err = tx.each(`SELECT id, order_id, target, reason, proposer, second, state, mark, created,
		(SELECT name FROM staff WHERE staff = proposer), COALESCE((SELECT name FROM staff WHERE staff = second), '')
		FROM proposals WHERE `+where+` ORDER BY created, id`, args, func(rows *sql.Rows) error {
		f := &proposal{}
		var created int64
		err := rows.Scan(&f.id, &f.order, &f.target, &f.reason, &f.proposer, &f.second, &f.state, &f.mark, &created, &f.proposerName, &f.secondName)
		f.created = time.UnixMilli(created).UTC()
		found = append(found, f)
		return err
	})
	return found, err
}

func findProposal(tx *Tx, where string, args ...any) (*proposal, error) {
	found, err := findProposals(tx, where, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func (f *proposal) shown() api.StaffProposal {
	return api.StaffProposal{
		Proposal: f.id, Order: f.order, As: f.target, Reason: f.reason, Proposer: f.proposerName, Second: f.secondName,
		State: f.state, Created: f.created,
	}
}

// close ends a proposal.
func (f *proposal) close(tx *Tx, c *call, state string) error {
	f.state, f.second, f.secondName = state, c.sender.staff, c.sender.staffName
	return tx.exec(`UPDATE proposals SET state = ?, second = ?, closed = ? WHERE id = ?`, state, f.second, c.p.now().UnixMilli(), f.id)
}

// decided is what a proposal is about, one of the three.
type decided struct {
	load        *order
	purchase    *purchase
	replacement *replacement
	facts       replacementFacts // of the replacement
}

func (p *Platform) findDecided(tx *Tx, id string) (d decided, err error) {
	if d.load, err = findOrder(tx, `id = ?`, id); err == nil && d.load == nil {
		d.purchase, err = findPurchase(tx, `id = ?`, id)
	}
	if err == nil && d.load == nil && d.purchase == nil {
		if d.replacement, err = findReplacement(tx, `id = ?`, id); err == nil && d.replacement != nil {
			d.facts, err = p.replacementFacts(tx, d.replacement)
		}
	}
	return d, err
}

func (d decided) none() bool { return d.load == nil && d.purchase == nil && d.replacement == nil }

func (d decided) state() string {
	switch {
	case d.purchase != nil:
		return string(d.purchase.state)
	case d.load != nil:
		return string(d.load.state)
	case d.replacement.closed.IsZero():
		return replacementWaiting
	}
	return replacementMoved
}

// mark is the hash of everything that evidence, a restore or a decision changes.
func (d decided) mark(epoch int) []byte {
	if d.replacement != nil {
		return d.replacement.mark(d.facts, epoch)
	}
	var facts string
	if b := d.purchase; b != nil {
		facts = fmt.Sprint(epoch, b.state, b.cause, b.evidence, b.probe, b.probeEpoch, b.wrongs, len(b.tac), b.mac2Seen, b.probed.UnixMilli(), b.balance, b.unexplained, b.amount)
	} else {
		o := d.load
		facts = fmt.Sprint(epoch, o.state, o.cause, o.evidence, o.attempt, o.probe, o.probeEpoch, o.wrongs, o.amount, o.fee)
	}
	sum := sha256.Sum256([]byte(facts))
	return sum[:]
}

// staffFacts collects what the rules must know.
func (p *Platform) staffFacts(tx *Tx, d decided) (rules.StaffOrder, error) {
	if o := d.load; o != nil {
		return rules.StaffOrder{State: string(o.state), Cause: o.cause, WindowClosed: p.now().After(p.windowCloses(o.created))}, nil
	}
	b := d.purchase
	facts := rules.StaffOrder{Purchase: true, State: string(b.state), Cause: b.cause, TACSeen: len(b.tac) > 0, WindowClosed: p.now().After(p.doubtEnds(b))}
	held, err := findMerchantOrder(tx, b.merchantOrder)
	facts.Holds = held != nil && held.purchase == b.id
	return facts, err
}

// proposeDecision is POST /v1/staff/proposals.
func proposeDecision(c *call) (reply, error) {
	var request api.StaffDecision
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		d, err := c.p.findDecided(tx, request.Order)
		if err != nil {
			return err
		}
		if d.none() {
			answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such order")
			return nil
		}
		code, err := c.mayPropose(tx, d, request)
		if err != nil {
			return err
		}
		if code != "" {
			answer = d.refusal(code)
			return nil
		}
		if answer, err = c.propose(tx, d, request); err != nil {
			return err
		}
		return nil
	})
	return answer, err
}

// refusal is why nothing is decided; of a replacement it says how long shops have.
func (d decided) refusal(code string) reply {
	if code == api.CodeWindowOpen {
		return standingFailure(code, "", &d.facts.ends)
	}
	return failure(statusOf(code), code, refusalText(code))
}

// mayDecideReplacement asks whether the balance of a lost card may move; ok is false
// where the proposal is about something else.
func (p *Platform) mayDecideReplacement(d decided, target string) (code string, ok bool) {
	switch {
	case d.replacement == nil:
		return "", false
	case target != api.TargetMoved:
		return api.CodeDecisionRefused, true
	}
	return p.mayMove(d.replacement, d.facts), true
}

// mayPropose asks the rules, as the order will be once its card is out of the way.
func (c *call) mayPropose(tx *Tx, d decided, request api.StaffDecision) (string, error) {
	if code, ok := c.p.mayDecideReplacement(d, request.As); ok {
		return code, nil
	}
	facts, err := c.p.staffFacts(tx, d)
	if err != nil {
		return "", err
	}
	if request.WithoutCard != "" && facts.State != string(wallet.StateSuspense) {
		if code := rules.MaySuspend(facts, rules.WithoutCard(request.WithoutCard)); code != "" {
			return code, nil
		}
		facts.State, facts.Cause = string(wallet.StateSuspense), withoutCause(request.WithoutCard)
	}
	return rules.MayDecide(facts, request.As), nil
}

func withoutCause(without string) rules.Cause {
	if rules.WithoutCard(without) == rules.CardLost {
		return rules.CauseCardLost
	}
	return rules.CauseCardBlocked
}

func (c *call) propose(tx *Tx, d decided, request api.StaffDecision) (reply, error) {
	if d.load != nil && d.load.state == wallet.StateGranted {
		if err := c.takeFromCard(tx, d.load, request); err != nil {
			return reply{}, err
		}
	}
	mark := d.mark(c.p.epoch)
	former, err := findProposal(tx, `order_id = ? AND state = ?`, request.Order, proposalOpen)
	if err != nil {
		return reply{}, err
	}
	switch {
	case former == nil:
	case string(former.mark) != string(mark): // nobody can confirm it any more
		if err := former.close(tx, c, proposalStale); err != nil {
			return reply{}, err
		}
	case former.proposer == c.sender.staff && former.target == request.As:
		return success(former.shown()) // asked again after a lost answer
	default:
		return failure(http.StatusConflict, api.CodeProposalOpen, refusalText(api.CodeProposalOpen)), nil
	}
	fresh := &proposal{
		id: c.p.newID("E"), order: request.Order, target: request.As, reason: request.Reason, proposer: c.sender.staff,
		proposerName: c.sender.staffName, state: proposalOpen, created: c.p.now(),
	}
	err = tx.exec(`INSERT INTO proposals (id, order_id, target, reason, proposer, state, mark, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		fresh.id, fresh.order, fresh.target, fresh.reason, fresh.proposer, fresh.state, mark, fresh.created.UnixMilli())
	if err != nil {
		return reply{}, err
	}
	if err := c.act(tx, "decision-proposed", fresh.order, request.Reason, d.state(), fresh.target); err != nil {
		return reply{}, err
	}
	return success(fresh.shown())
}

// takeFromCard moves a top-up whose card can prove nothing any more to SUSPENSE
// (rows 22 and 31). No money moves, and evidence that comes after all still counts.
func (c *call) takeFromCard(tx *Tx, o *order, request api.StaffDecision) error {
	before := string(o.state)
	o.state, o.cause, o.evidence = wallet.StateSuspense, withoutCause(request.WithoutCard), "none"
	if err := saveOrder(tx, o, c.p.now()); err != nil {
		return err
	}
	if o.cause == rules.CauseCardLost {
		if err := c.noteLost(tx, o.asn); err != nil {
			return err
		}
	}
	return c.act(tx, "load-suspense "+string(o.cause), o.id, request.Reason, before, string(o.state))
}

// noteLost writes down that a card is lost: it may be loaded no more, and can be replaced.
// A card that is worse off already stays where it is.
func (c *call) noteLost(tx *Tx, asn wallet.ASN) error {
	k, err := findCard(tx, asn)
	if err != nil || k == nil {
		return err
	}
	if _, err := c.p.tryCard(tx, k, states.CardLossWritten); err != nil {
		return err
	}
	return saveCard(tx, k)
}

// listProposals is GET /v1/staff/proposals: what waits for a second person.
func listProposals(c *call) (reply, error) {
	list := api.StaffProposals{Proposals: []api.StaffProposal{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		found, err := findProposals(tx, `state = ?`, proposalOpen)
		for _, f := range found {
			list.Proposals = append(list.Proposals, f.shown())
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

// confirmDecision is POST /v1/staff/proposals/{id}/confirm. Two confirmations wait
// for each other at the write lock; the second finds the proposal closed.
func confirmDecision(c *call) (reply, error) {
	paid := false
	answer, err := c.second(func(tx *Tx, f *proposal, reason string) (reply, error) {
		d, err := c.p.findDecided(tx, f.order)
		if err != nil {
			return reply{}, err
		}
		if f.state == proposalConfirmed && f.second == c.sender.staff {
			return success(f.shown()) // asked again after a lost answer
		}
		code, err := c.mayConfirm(tx, f, d)
		if err != nil {
			return reply{}, err
		}
		if code != "" {
			if code == api.CodeProposalStale {
				err = f.close(tx, c, proposalStale)
			}
			return d.refusal(code), err
		}
		before := d.state()
		if err := c.p.endByStaff(tx, c, d, f.target); err != nil {
			return reply{}, err
		}
		if err := f.close(tx, c, proposalConfirmed); err != nil {
			return reply{}, err
		}
		paid = f.target == string(wallet.PurchasePaid)
		if err := c.act(tx, "decision-confirmed", f.order, reason, before, f.target); err != nil {
			return reply{}, err
		}
		return success(f.shown())
	})
	if err == nil && paid {
		c.p.wakeCallbacks()
	}
	return answer, err
}

// mayConfirm asks the rules twice: about the persons, and about the order as it is
// now.
func (c *call) mayConfirm(tx *Tx, f *proposal, d decided) (string, error) {
	code := rules.MayConfirm(rules.Second{
		Proposer: f.proposer, Confirmer: c.sender.staff, Supervisor: c.sender.role == api.RoleSupervisor,
		Open: f.state == proposalOpen, Changed: string(d.mark(c.p.epoch)) != string(f.mark),
	})
	if code != "" {
		return code, nil
	}
	if code, ok := c.p.mayDecideReplacement(d, f.target); ok {
		return code, nil
	}
	facts, err := c.p.staffFacts(tx, d)
	if err != nil {
		return "", err
	}
	return rules.MayDecide(facts, f.target), nil
}

// rejectDecision is POST /v1/staff/proposals/{id}/reject. Nothing moves, so that any
// member of staff may, the proposer too.
func rejectDecision(c *call) (reply, error) {
	return c.second(func(tx *Tx, f *proposal, reason string) (reply, error) {
		switch {
		case f.state == proposalRejected && f.second == c.sender.staff:
			return success(f.shown())
		case f.state != proposalOpen:
			return failure(http.StatusConflict, api.CodeProposalClosed, refusalText(api.CodeProposalClosed)), nil
		}
		if err := f.close(tx, c, proposalRejected); err != nil {
			return reply{}, err
		}
		if err := c.act(tx, "decision-rejected", f.order, reason, proposalOpen, proposalRejected); err != nil {
			return reply{}, err
		}
		return success(f.shown())
	})
}

// second runs what a second person does with a proposal, in one transaction.
func (c *call) second(work func(*Tx, *proposal, string) (reply, error)) (reply, error) {
	var request api.StaffReason
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		f, err := findProposal(tx, `id = ?`, c.req.PathValue("id"))
		if err != nil {
			return err
		}
		if f == nil {
			answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such proposal")
			return nil
		}
		answer, err = work(tx, f, request.Reason)
		return err
	})
	return answer, err
}

// evidenceStaff stands in the state of an order that two persons decided.
const evidenceStaff = "staff"

// endByStaff posts and signs an ending, with the functions of every other ending.
func (p *Platform) endByStaff(tx *Tx, c *call, d decided, target string) error {
	if d.replacement != nil {
		return p.moveBalance(tx, d.replacement)
	}
	asn := wallet.ASN{}
	if d.purchase != nil {
		asn = d.purchase.asn
	} else {
		asn = d.load.asn
	}
	k, err := findCard(tx, asn)
	if err != nil {
		return err
	}
	if k == nil {
		k = &card{asn: asn, state: cardIssued}
	}
	if d.purchase != nil {
		if err := p.finishPurchase(tx, d.purchase, k, wallet.PurchaseStateName(target), evidenceStaff, c.sender.actor()); err != nil {
			return err
		}
		return saveCard(tx, k)
	}
	return p.endLoadByStaff(tx, c, d.load, k, wallet.LoadState(target))
}

// endLoadByStaff ends a top-up. The balances of its receipt are those that the card
// authenticated when it was granted, or those of the books.
func (p *Platform) endLoadByStaff(tx *Tx, c *call, o *order, k *card, target wallet.LoadState) error {
	attempts, err := attemptsOf(tx, o.id)
	if err != nil || len(attempts) == 0 {
		return errOr(err, sql.ErrNoRows)
	}
	before, err := shadowBalance(tx, k)
	if err != nil {
		return err
	}
	if known := attempts[0].balanceBefore; known != nil {
		before = *known
	}
	s := &settling{p: p, tx: tx, c: c, order: o, card: k, attempts: attempts}
	o.state, o.cause, o.evidence = target, "", evidenceStaff
	after := before
	if target == wallet.StateLoaded {
		after += o.amount
		if err = s.explain(); err == nil {
			err = p.postLoaded(tx, o)
		}
	} else {
		err = p.releaseHold(tx, o)
	}
	if err != nil {
		return err
	}
	if err := p.receipt(tx, o, attempts[0], nil, before, after); err != nil {
		return err
	}
	if err := saveOrder(tx, o, p.now()); err != nil {
		return err
	}
	return saveCard(tx, k)
}
