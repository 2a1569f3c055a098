package mockplatform

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// A replacement (补卡) puts a fresh card in the place of one that was reported lost in
// writing. What the lost card holds is not known while shops may still upload what it
// spent: after that window the balance that the books prove moves to its owner's main
// account, once, by two persons. What is uploaded later still goes to the shop; what the
// books no longer have for it is a receivable of the platform.

// replacement is a row of replacements.
type replacement struct {
	id             string
	lost, fresh    wallet.ASN
	user           string
	since, created time.Time
	moved          wallet.Fen
	closed         time.Time // zero: not yet
}

func findReplacements(tx *Tx, where string, args ...any) (found []*replacement, err error) {
	err = tx.each(`SELECT id, lost, fresh, user, since, created, moved, closed FROM replacements WHERE `+where+` ORDER BY created DESC, id DESC`,
		args, func(rows *sql.Rows) error {
			r := &replacement{}
			var lost, fresh string
			var since, created, closed int64
			if err := rows.Scan(&r.id, &lost, &fresh, &r.user, &since, &created, &r.moved, &closed); err != nil {
				return err
			}
			r.since, r.created, r.closed = momentOf(since), momentOf(created), momentOf(closed)
			var err error
			if r.lost, err = wallet.ParseASN(lost); err != nil {
				return err
			}
			r.fresh, err = wallet.ParseASN(fresh)
			found = append(found, r)
			return err
		})
	return found, err
}

func findReplacement(tx *Tx, where string, args ...any) (*replacement, error) {
	found, err := findReplacements(tx, where, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// States of a replacement.
const (
	replacementWaiting = "WAITING" // for shops, or for an open order of the lost card
	replacementReady   = "READY"
	replacementMoved   = api.TargetMoved
)

// replacementFacts are what decides about the balance of the lost card.
type replacementFacts struct {
	ends       time.Time // of the window
	proven     wallet.Fen
	openOrders int
	owner      *account
}

func (p *Platform) replacementFacts(tx *Tx, r *replacement) (facts replacementFacts, err error) {
	facts.ends = p.windowCloses(r.since)
	k, err := findCard(tx, r.lost)
	if err != nil || k == nil {
		return facts, errOr(err, sql.ErrNoRows)
	}
	shadow, err := shadowBalance(tx, k)
	if err != nil {
		return facts, err
	}
	facts.proven = max(shadow, 0)
	loads, purchases, err := openOn(tx, r.lost)
	if err != nil {
		return facts, err
	}
	facts.openOrders = loads + purchases
	facts.owner, err = findAccount(tx, "user", r.user)
	return facts, err
}

// mayMove gives the code why the balance may not move now, or "".
func (p *Platform) mayMove(r *replacement, facts replacementFacts) string {
	switch {
	case !r.closed.IsZero():
		return api.CodeNotInSuspense
	case facts.openOrders > 0:
		return api.CodePendingLoad
	case !p.now().After(facts.ends):
		return api.CodeWindowOpen
	case facts.owner == nil || facts.owner.state == string(states.Closed):
		return api.CodeDecisionRefused
	}
	return ""
}

// mark is the hash of what the first person saw.
func (r *replacement) mark(facts replacementFacts, epoch int) []byte {
	sum := sha256.Sum256([]byte(fmt.Sprint(epoch, r.id, r.moved, r.closed.UnixMilli(), facts.proven, facts.openOrders)))
	return sum[:]
}

func (p *Platform) replacementShown(tx *Tx, r *replacement) (api.StaffReplacement, error) {
	facts, err := p.replacementFacts(tx, r)
	shown := api.StaffReplacement{
		Replacement: r.id, Lost: r.lost, Fresh: r.fresh, State: replacementWaiting, WindowEnds: facts.ends, Proven: facts.proven, Moved: r.moved,
		OpenOrders: facts.openOrders, Created: r.created,
	}
	switch {
	case !r.closed.IsZero():
		shown.State = replacementMoved
	case p.mayMove(r, facts) == "":
		shown.State = replacementReady
	}
	return shown, err
}

// replaceCard is POST /v1/staff/replacements: the lost card is REPLACED from now on, and
// the fresh one is its owner's. No money moves.
func replaceCard(c *call) (reply, error) {
	var request api.StaffReplace
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	return c.changeKeyed(request, func(tx *Tx) (reply, error) {
		lost, fresh, refusal, err := replacementCards(tx, request)
		if err != nil || refusal != nil {
			return deref(refusal), err
		}
		life, err := findCardLife(tx, lost.asn)
		if err != nil {
			return reply{}, err
		}
		r := &replacement{
			id: c.p.newID("R"), lost: lost.asn, fresh: fresh.asn, user: lost.user, since: life.written, created: c.p.now(),
		}
		if refusal, err := c.changeCard(tx, lost, states.CardReplaced); err != nil || refusal != nil {
			return deref(refusal), err
		}
		fresh.user = lost.user
		if refusal, err := c.changeCard(tx, fresh, states.CardAdded); err != nil || refusal != nil {
			return deref(refusal), err
		}
		for _, k := range []*card{lost, fresh} {
			if err := saveCard(tx, k); err != nil {
				return reply{}, err
			}
		}
		err = tx.exec(`INSERT INTO replacements (id, lost, fresh, user, since, created) VALUES (?, ?, ?, ?, ?, ?)`,
			r.id, r.lost.String(), r.fresh.String(), r.user, r.since.UnixMilli(), r.created.UnixMilli())
		if err != nil {
			return reply{}, err
		}
		if err := c.act(tx, "card-replaced", r.id, request.Reason, lost.asn.Masked(), fresh.asn.Masked()); err != nil {
			return reply{}, err
		}
		shown, err := c.p.replacementShown(tx, r)
		if err != nil {
			return reply{}, err
		}
		return success(shown)
	})
}

// replacementCards finds both cards: one that is lost in writing and somebody's, one
// that is fresh or the same person's.
func replacementCards(tx *Tx, request api.StaffReplace) (lost, fresh *card, refusal *reply, err error) {
	if lost, err = findCard(tx, request.Lost); err != nil {
		return nil, nil, nil, err
	}
	if fresh, err = findCard(tx, request.Fresh); err != nil {
		return nil, nil, nil, err
	}
	if lost == nil || fresh == nil || lost.asn == fresh.asn {
		return nil, nil, refused(http.StatusNotFound, api.CodeNotFound, "one of the cards is not known; a fresh card must be issued first"), nil
	}
	for _, one := range []struct {
		k    *card
		fits bool
	}{
		{lost, lost.user != "" && lost.state == string(states.Lost)},
		{fresh, fresh.user == "" && fresh.state == cardIssued || fresh.user == lost.user && fresh.state == cardActive},
	} {
		if one.fits {
			continue
		}
		life, err := findCardLife(tx, one.k.asn)
		answer := standingFailure(api.CodeCardState, one.k.standing(life), pointerTo(life.until))
		return nil, nil, &answer, err
	}
	return lost, fresh, nil, nil
}

// listReplacements is GET /v1/staff/replacements: of a card, lost or fresh, or all that
// have not moved yet.
func listReplacements(c *call) (reply, error) {
	where, args := `closed = 0`, []any{}
	if text := c.req.URL.Query().Get("asn"); text != "" {
		asn, err := wallet.ParseASN(text)
		if err != nil {
			return failure(http.StatusBadRequest, api.CodeBadRequest, "the application serial has another form"), nil
		}
		where, args = `lost = ?1 OR fresh = ?1`, []any{asn.String()}
	}
	list := api.StaffReplacements{Replacements: []api.StaffReplacement{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		found, err := findReplacements(tx, where, args...)
		for _, r := range found {
			if err != nil {
				return err
			}
			var shown api.StaffReplacement
			shown, err = c.p.replacementShown(tx, r)
			list.Replacements = append(list.Replacements, shown)
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

// moveBalance posts what the books prove of the lost card to its owner. It runs once:
// the row is closed in the same transaction, also where nothing is left to move.
func (p *Platform) moveBalance(tx *Tx, r *replacement) error {
	facts, err := p.replacementFacts(tx, r)
	if err != nil {
		return err
	}
	if code := p.mayMove(r, facts); code != "" {
		return fmt.Errorf("the balance of a replaced card cannot move: %s", code)
	}
	r.moved, r.closed = facts.proven, p.now()
	moved, err := tx.changed(`UPDATE replacements SET moved = ?, closed = ? WHERE id = ? AND closed = 0`, int64(r.moved), r.closed.UnixMilli(), r.id)
	if err != nil || moved != 1 {
		return errOr(err, sql.ErrNoRows)
	}
	if r.moved == 0 {
		return nil
	}
	return p.post(tx, transfer{kind: postingReplacement, order: r.id, legs: []leg{
		{accountPurseFloat, -r.moved}, {mainAccount(r.user), r.moved},
	}})
}

// postUpload pays a shop for an offline purchase. Of a card whose balance has moved the
// purse float covers what is left; the rest is a receivable, and no account of a person
// goes below zero for it.
func (p *Platform) postUpload(tx *Tx, line OfflinePurchase) error {
	covered := line.Amount
	moved, err := movedOff(tx, line.ASN)
	if err != nil {
		return err
	}
	if moved > 0 {
		k, err := findCard(tx, line.ASN)
		if err != nil || k == nil {
			return errOr(err, sql.ErrNoRows)
		}
		shadow, err := shadowBalance(tx, k) // this line is in it already
		if err != nil {
			return err
		}
		covered = min(max(shadow+line.Amount, 0), line.Amount)
		if covered < line.Amount {
			if err := p.alarm(tx, "LATE_USE", line.ASN.Masked()); err != nil {
				return err
			}
		}
	}
	return p.post(tx, transfer{kind: postingOffline, order: "offline " + line.ASN.Masked(), legs: []leg{
		{accountPurseFloat, -covered}, {accountLateUse, covered - line.Amount}, {accountOffline, line.Amount},
	}})
}

// compareReplaced looks for value on a replaced card. Before its balance has moved the
// card may hold what the books say; afterwards nothing, and the alarm is raised once for
// each amount that is found.
func (p *Platform) compareReplaced(tx *Tx, k *card, authenticated wallet.Fen) error {
	shadow, err := shadowBalance(tx, k)
	if err != nil {
		return err
	}
	excess := authenticated - max(shadow, 0)
	if excess <= 0 || excess == k.excess {
		return nil
	}
	k.excess = excess
	return p.alarm(tx, "VALUE_CREATED", k.asn.Masked())
}
