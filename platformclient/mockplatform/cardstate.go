package mockplatform

import (
	"database/sql"
	"fmt"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// cardLife is a row of card_life: what a card's state alone does not tell.
type cardLife struct {
	label                 string
	since, until, written time.Time // zero: none
}

func findCardLife(tx *Tx, asn wallet.ASN) (cardLife, error) {
	var life cardLife
	var since, until, written int64
	_, err := tx.row(`SELECT label, since, until, written FROM card_life WHERE asn = ?`, []any{asn.String()},
		&life.label, &since, &until, &written)
	life.since, life.until, life.written = momentOf(since), momentOf(until), momentOf(written)
	return life, err
}

// momentOf reads a stored time; 0 is no time.
func momentOf(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}

func pointerTo(moment time.Time) *time.Time {
	if moment.IsZero() {
		return nil
	}
	return &moment
}

// placeOf is the card's place in the table of states.
func placeOf(tx *Tx, k *card) (states.Place, error) {
	life, err := findCardLife(tx, k.asn)
	return states.PlaceOf(states.CardState(k.state), !life.written.IsZero()), err
}

// tryCard applies an event to a card and reports whether the table takes it. The state
// is in k alone until the caller saves it.
func (p *Platform) tryCard(tx *Tx, k *card, event states.CardEvent) (bool, error) {
	before, err := placeOf(tx, k)
	if err != nil {
		return false, err
	}
	after, ok := states.NextCard(before, event)
	if !ok {
		return false, nil
	}
	k.state = string(after.State())
	now := p.now()
	if event == states.CardLossReported {
		return true, tx.exec(`INSERT INTO card_life (asn, since, until) VALUES (?1, ?2, ?3)
			ON CONFLICT (asn) DO UPDATE SET since = CASE WHEN ?4 THEN excluded.since ELSE since END, until = excluded.until`,
			k.asn.String(), now.UnixMilli(), now.Add(oralLossLife).UnixMilli(), before != after)
	}
	if before == after {
		return true, nil
	}
	// When a loss was reported in writing stays known: the window of a replacement
	// begins with it.
	var written int64
	switch after {
	case states.AtLostWritten:
		written = now.UnixMilli()
	case states.AtReplaced:
		life, err := findCardLife(tx, k.asn)
		if err != nil {
			return false, err
		}
		written = life.written.UnixMilli()
	}
	return true, tx.exec(`INSERT INTO card_life (asn, since, written) VALUES (?, ?, ?)
		ON CONFLICT (asn) DO UPDATE SET since = excluded.since, until = 0, written = excluded.written`, k.asn.String(), now.UnixMilli(), written)
}

// moveCard applies an event that no state refuses.
func (p *Platform) moveCard(tx *Tx, k *card, event states.CardEvent) error {
	ok, err := p.tryCard(tx, k, event)
	if err == nil && !ok {
		err = fmt.Errorf("a card in %s takes no %q", k.state, event)
	}
	return err
}

// standing is what a refusal names: LOST says how it was reported.
func (k *card) standing(life cardLife) string {
	return string(states.PlaceOf(states.CardState(k.state), !life.written.IsZero()))
}

// standingForeign is the standing of a card that is not the person's: whose it is, and
// how it stands there, is nobody else's business.
const standingForeign = "FOREIGN"

// cardRefusal is the signed refusal of an act that the card's state does not permit;
// nil lets pass. A card of somebody else tells nothing about its owner.
func (p *Platform) cardRefusal(tx *Tx, k *card, user string, act states.Act) (*refusal, error) {
	found := refuse(api.CodeCardState)
	if k == nil || k.user != user {
		found.state.Standing = standingForeign
		return found, nil
	}
	if k.allows(act) {
		return nil, nil
	}
	life, err := findCardLife(tx, k.asn)
	found.state.Standing, found.state.RetryAfter = k.standing(life), pointerTo(life.until)
	return found, err
}

// cardFailure is cardRefusal for routes whose refusals are not signed.
func (p *Platform) cardFailure(tx *Tx, k *card, user string, act states.Act) (*reply, error) {
	found, err := p.cardRefusal(tx, k, user, act)
	if err != nil || found == nil {
		return nil, err
	}
	answer := standingFailure(found.code, found.state.Standing, found.state.RetryAfter)
	return &answer, nil
}

// settleCardTimers lets losses end that were only told.
func (p *Platform) settleCardTimers(tx *Tx, user string, now time.Time) error {
	var due []wallet.ASN
	err := tx.each(`SELECT c.asn FROM cards c JOIN card_life l ON l.asn = c.asn WHERE c.user = ? AND l.until > 0 AND l.until <= ?`,
		[]any{user, now.UnixMilli()}, func(rows *sql.Rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			asn, err := wallet.ParseASN(text)
			due = append(due, asn)
			return err
		})
	for _, asn := range due {
		if err != nil {
			return err
		}
		err = p.endCardTimer(tx, asn)
	}
	return err
}

func (p *Platform) endCardTimer(tx *Tx, asn wallet.ASN) error {
	k, err := findCard(tx, asn)
	if err != nil || k == nil {
		return err
	}
	expired, err := p.tryCard(tx, k, states.CardLossExpired)
	if err != nil {
		return err
	}
	if !expired { // the card has gone another way since
		return tx.exec(`UPDATE card_life SET until = 0 WHERE asn = ?`, asn.String())
	}
	if err := p.recoverAgain(tx, k); err != nil {
		return err
	}
	if err := saveCard(tx, k); err != nil {
		return err
	}
	return p.audit(tx, byPlatform, "card-"+string(states.CardLossExpired), asn.Masked(), "")
}

// recoverAgain puts a card that is no longer lost back where a restore had left it.
func (p *Platform) recoverAgain(tx *Tx, k *card) error {
	if k.state != cardActive || k.excess <= 0 || k.touchedEpoch >= p.epoch {
		return nil
	}
	return p.moveCard(tx, k, states.BooksShort)
}

// movedOff is the balance of a lost card that moved to its owner's main account.
func movedOff(tx *Tx, asn wallet.ASN) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT moved FROM replacements WHERE lost = ?`, []any{asn.String()}, &sum)
	return wallet.Fen(sum), err
}

// show adds what card_life knows to a card as its owner sees it.
func (l cardLife) show(one *api.Card) {
	one.Label, one.StateSince, one.StateUntil = l.label, pointerTo(l.since), pointerTo(l.until)
	one.Standing = string(states.PlaceOf(states.CardState(one.State), !l.written.IsZero()))
	for _, act := range states.Acts() {
		if states.CardAllows(states.CardState(one.State), act) {
			one.Allowed = append(one.Allowed, string(act))
		}
	}
}

// cardShown is one card as its owner sees it.
func cardShown(tx *Tx, k *card) (api.Card, error) {
	one := api.Card{ASN: k.asn, State: k.state, Profile: k.profile, Named: k.named}
	life, err := findCardLife(tx, k.asn)
	life.show(&one)
	return one, err
}
