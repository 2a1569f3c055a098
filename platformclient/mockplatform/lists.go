package mockplatform

import (
	"context"
	"errors"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// listing is where a subject stands on the lists, and why. Of a card the standing is
// in cards (grey, state), where everything that looks at a card finds it, and the row
// in lists adds cause and time.
type listing struct {
	kind         rules.Subject
	subject      string // application serial, user, device
	standing     rules.Standing
	cause        rules.ListEvent
	since, until time.Time // until: zero where no time ends it
	actor        string
}

// over tells whether the time on the grey list has passed.
func (l listing) over(now time.Time) bool {
	return l.standing == rules.Grey && !l.until.IsZero() && !now.Before(l.until)
}

// readListing reads the row of a subject.
func readListing(tx *Tx, kind rules.Subject, subject string) (listing, error) {
	found := listing{kind: kind, subject: subject, standing: rules.Clear}
	var since, until int64
	known, err := tx.row(`SELECT standing, cause, since, until, actor FROM lists WHERE kind = ? AND subject = ?`,
		[]any{string(kind), subject}, &found.standing, &found.cause, &since, &until, &found.actor)
	if err != nil || !known {
		return found, err
	}
	found.since = time.UnixMilli(since).UTC()
	if until > 0 {
		found.until = time.UnixMilli(until).UTC()
	}
	return found, nil
}

// cardListing is where a card stands.
func cardListing(tx *Tx, k *card) (listing, error) {
	found, err := readListing(tx, rules.SubjectCard, k.asn.String())
	standing := rules.Clear
	switch {
	case k.state == cardBlack:
		standing = rules.Black
	case k.grey:
		standing = rules.Grey
	}
	if standing != found.standing { // the card was changed by what knows no list
		found = listing{kind: found.kind, subject: found.subject, standing: standing}
	}
	return found, err
}

// meet lets a subject that is no card meet an event, and writes what comes of it. The
// code says why the event is refused; nothing is written then.
func (p *Platform) meet(tx *Tx, kind rules.Subject, subject string, event rules.ListEvent, actor, detail string) (listing, string, error) {
	now, err := readListing(tx, kind, subject)
	if err != nil {
		return now, "", err
	}
	return p.move(tx, now, event, actor, detail)
}

// meetCard does the same for a card. The card is saved.
func (p *Platform) meetCard(tx *Tx, k *card, event rules.ListEvent, actor, detail string) (listing, string, error) {
	now, err := cardListing(tx, k)
	if err != nil {
		return now, "", err
	}
	next, code, err := p.move(tx, now, event, actor, detail)
	if err != nil || code != "" {
		return next, code, err
	}
	k.grey = next.standing == rules.Grey
	switch {
	case event == rules.ListValueCreated:
		err = p.moveCard(tx, k, states.ValueCreated)
	case next.standing == rules.Black:
		err = p.moveCard(tx, k, states.CardBlacklisted)
	case now.standing == rules.Black:
		if err = p.moveCard(tx, k, states.CardCleared); k.user == "" {
			k.state = cardIssued // and in nobody's account
		}
	}
	return next, "", errors.Join(err, saveCard(tx, k))
}

// move writes the row that an event leads to, and tells those who must know.
func (p *Platform) move(tx *Tx, now listing, event rules.ListEvent, actor, detail string) (listing, string, error) {
	standing, code := rules.NextStanding(now.kind, now.standing, event)
	if code != "" {
		return now, code, nil
	}
	next := now
	next.standing = standing
	switch {
	case standing == rules.Clear:
		next = listing{kind: now.kind, subject: now.subject, standing: rules.Clear}
		if err := tx.exec(`DELETE FROM lists WHERE kind = ? AND subject = ?`, string(now.kind), now.subject); err != nil {
			return now, "", err
		}
	case standing == rules.Black && now.standing == rules.Black && !now.since.IsZero():
		return now, "", nil // it stands there already
	default:
		next = p.stay(next, event, actor)
		if err := saveListing(tx, next); err != nil {
			return now, "", err
		}
	}
	if now.standing != standing && standing != rules.Clear && actor == "platform" && now.kind != rules.SubjectCard {
		if err := p.alarm(tx, "LISTED_"+string(standing), now.shown()); err != nil {
			return now, "", err
		}
	}
	return next, "", p.audit(tx, actor, "list "+string(event), string(now.kind)+" "+now.shown(), string(now.standing)+" -> "+string(standing)+" "+detail)
}

// stay is how a subject stands after an event that lists it. Every bad event begins
// the clean days of the grey list anew; haste alone is forgiven sooner.
func (p *Platform) stay(next listing, event rules.ListEvent, actor string) listing {
	now, velocity := p.now(), p.policy.Limits.Velocity
	former := next.until
	next.cause, next.since, next.until, next.actor = event, now, time.Time{}, actor
	if next.standing == rules.Black {
		return next
	}
	seconds := velocity.GreyS
	if event == rules.ListVelocity {
		seconds = velocity.WatchS
	}
	next.until = now.Add(time.Duration(seconds) * time.Second)
	if former.After(next.until) {
		next.until = former
	}
	return next
}

func saveListing(tx *Tx, l listing) error {
	var until int64
	if !l.until.IsZero() {
		until = l.until.UnixMilli()
	}
	return tx.exec(`INSERT INTO lists (kind, subject, standing, cause, since, until, actor) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (kind, subject) DO UPDATE SET standing = excluded.standing, cause = excluded.cause, since = excluded.since,
		until = excluded.until, actor = excluded.actor`,
		string(l.kind), l.subject, string(l.standing), string(l.cause), l.since.UnixMilli(), until, l.actor)
}

// shown names a subject for logs: cards masked.
func (l listing) shown() string {
	if asn, err := wallet.ParseASN(l.subject); l.kind == rules.SubjectCard && err == nil {
		return asn.Masked()
	}
	return l.subject
}

// standing is where a subject stands now; a grey listing whose time is over is ended.
// k is nil for what is no card.
func (p *Platform) standing(tx *Tx, kind rules.Subject, subject string, k *card) (found listing, err error) {
	switch {
	case k == nil:
		found, err = readListing(tx, kind, subject)
	case k.grey || k.state == cardBlack:
		found, err = cardListing(tx, k)
	default: // most cards are on no list, and the card itself says so
		return listing{kind: kind, subject: k.asn.String(), standing: rules.Clear}, nil
	}
	if err != nil || !found.over(p.now()) {
		return found, err
	}
	if k != nil {
		found, _, err = p.meetCard(tx, k, rules.ListCleanDays, "platform", "")
	} else {
		found, _, err = p.meet(tx, kind, subject, rules.ListCleanDays, "platform", "")
	}
	return found, err
}

// listRefusal refuses what a listed account, device or card may not do. Evidence is
// never asked about. An empty device and a nil card are left out.
func (p *Platform) listRefusal(tx *Tx, use rules.Use, user, device string, k *card) (*refusal, error) {
	for _, each := range []struct {
		kind    rules.Subject
		subject string
		card    *card
	}{{rules.SubjectCard, "", k}, {rules.SubjectUser, user, nil}, {rules.SubjectDevice, device, nil}} {
		if each.subject == "" && each.card == nil {
			continue
		}
		found, err := p.standing(tx, each.kind, each.subject, each.card)
		if err != nil {
			return nil, err
		}
		if rules.MayUse(found.standing, use) {
			continue
		}
		code := api.CodeRiskWatch
		switch {
		case each.card != nil:
			code = api.CodeCardState
		case found.standing == rules.Black:
			code = api.CodeRiskBlocked
		}
		refused := refuse(code)
		if !found.until.IsZero() {
			refused.state.RetryAfter = &found.until
		}
		return refused, nil
	}
	return nil, nil
}

// ErrNoSubject means that a list was asked about nobody.
var ErrNoSubject = errors.New("there is no such card, account or device")

// ChargedBack puts an account on the grey list because a bank took money back that had
// been paid in; reference names the funding.
func (p *Platform) ChargedBack(ctx context.Context, user, reference string) error {
	return p.store.Update(ctx, func(tx *Tx) error { return p.chargedBack(tx, user, reference) })
}

func (p *Platform) chargedBack(tx *Tx, user, reference string) error {
	found, err := findAccount(tx, "user", user)
	if err != nil || found == nil {
		return errOr(err, ErrNoSubject)
	}
	_, _, err = p.meet(tx, rules.SubjectUser, user, rules.ListChargeback, "platform", reference)
	return err
}
