package mockplatform

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// listRoutes serves the lists to staff.
func (p *Platform) listRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("GET", api.PathStaffLists, authStaff, showLists)
	handle("POST", api.PathStaffLists, authStaff, changeList)
	handle("POST", api.PathStaffListRemovals, authStaff, proposeRemoval)
	handle("GET", api.PathStaffListRemovals, authStaff, listRemovals)
	handle("POST", api.PathStaffListConfirm, authStaff, confirmRemoval)
	handle("POST", api.PathStaffListReject, authStaff, rejectRemoval)
}

// toldByStaff are the events that one member of staff may tell.
var toldByStaff = []rules.ListEvent{rules.ListFraud, rules.ListLoss, rules.ListChargeback, rules.ListStaffGrey, rules.ListStaffClear}

// listed is a subject as staff name it, found in the books.
type listedSubject struct {
	kind rules.Subject
	id   string // as in lists
	name string // as staff name it
	card *card
}

// findSubject finds a card by its serial, an account by its phone number, a device by
// its name in the books; nil where there is none.
func findSubject(tx *Tx, kind, subject string) (*listedSubject, error) {
	found := &listedSubject{kind: rules.Subject(kind), id: subject, name: subject}
	switch found.kind {
	case rules.SubjectCard:
		asn, err := wallet.ParseASN(subject)
		if err != nil {
			return nil, nil //nolint:nilerr // what is no serial is the serial of no card
		}
		found.id, found.name = asn.String(), asn.String()
		found.card, err = findCard(tx, asn)
		if err != nil || found.card == nil {
			return nil, err
		}
	case rules.SubjectUser:
		a, err := findAccount(tx, "phone", subject)
		if err != nil || a == nil {
			return nil, err
		}
		found.id = a.id
	case rules.SubjectDevice:
		var one int
		if known, err := tx.row(`SELECT 1 FROM devices WHERE device = ?`, []any{subject}, &one); err != nil || !known {
			return nil, err
		}
	default:
		return nil, nil
	}
	return found, nil
}

func noSubject() reply { return failure(http.StatusNotFound, api.CodeNotFound, ErrNoSubject.Error()) }

// stands is where the subject stands, its time on the grey list looked at.
func (s *listedSubject) stands(p *Platform, tx *Tx) (listing, error) {
	return p.standing(tx, s.kind, s.id, s.card)
}

func (s *listedSubject) shown(l listing) api.StaffListed {
	shown := api.StaffListed{Kind: string(s.kind), Subject: s.name, Standing: string(l.standing), Cause: string(l.cause), By: l.actor}
	if !l.since.IsZero() {
		shown.Since = &l.since
	}
	if !l.until.IsZero() {
		shown.Until = &l.until
	}
	return shown
}

// showLists is GET /v1/staff/lists. That somebody looked is written down as well.
func showLists(c *call) (reply, error) {
	query := c.req.URL.Query()
	kind, subject := query.Get("kind"), query.Get("subject")
	answer := noSubject()
	err := c.update(func(tx *Tx) error {
		lists := api.StaffLists{Listed: []api.StaffListed{}}
		if subject != "" {
			found, err := findSubject(tx, kind, subject)
			if err != nil || found == nil {
				return err
			}
			stands, err := found.stands(c.p, tx)
			if err != nil {
				return err
			}
			lists.Listed = append(lists.Listed, found.shown(stands))
		} else {
			var err error
			if lists.Listed, err = c.p.allListed(tx, kind); err != nil {
				return err
			}
		}
		if err := c.p.audit(tx, c.sender.actor(), "staff-lists", kind+" "+maskedListed(kind, subject), ""); err != nil {
			return err
		}
		var err error
		answer, err = success(lists)
		return err
	})
	return answer, err
}

func maskedListed(kind, subject string) string {
	return listing{kind: rules.Subject(kind), subject: subject}.shown()
}

// allListed lists every subject that stands on a list, of one kind or of all. The
// cards are those whose own state says so.
func (p *Platform) allListed(tx *Tx, kind string) ([]api.StaffListed, error) {
	now, listed := p.now().UnixMilli(), []api.StaffListed{}
	err := tx.each(`SELECT x.kind, x.name, x.standing, COALESCE(l.cause, ''), COALESCE(l.since, 0), COALESCE(l.until, 0), COALESCE(l.actor, '') FROM (
			SELECT 'card' AS kind, asn AS subject, asn AS name, CASE WHEN state = 'BLACK' THEN 'BLACK' ELSE 'GREY' END AS standing
				FROM cards WHERE state = 'BLACK' OR grey <> 0
			UNION ALL SELECT a.kind, a.subject, COALESCE((SELECT phone FROM users WHERE user = a.subject), a.subject), a.standing
				FROM lists a WHERE a.kind <> 'card'
		) AS x LEFT JOIN lists l ON l.kind = x.kind AND l.subject = x.subject AND l.standing = x.standing
		WHERE (? = '' OR x.kind = ?) AND NOT (x.standing = 'GREY' AND COALESCE(l.until, 0) > 0 AND l.until <= ?)
		ORDER BY x.kind, x.name`, []any{kind, kind, now}, func(rows *sql.Rows) error {
		var one api.StaffListed
		var since, until int64
		err := rows.Scan(&one.Kind, &one.Subject, &one.Standing, &one.Cause, &since, &until, &one.By)
		if since > 0 {
			moment := time.UnixMilli(since).UTC()
			one.Since = &moment
		}
		if until > 0 {
			moment := time.UnixMilli(until).UTC()
			one.Until = &moment
		}
		listed = append(listed, one)
		return err
	})
	return listed, err
}

// changeList is POST /v1/staff/lists: one event that one member of staff tells.
func changeList(c *call) (reply, error) {
	var request api.StaffListChange
	if refusal := firstOf(c.needKey(), c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	event := rules.ListEvent(request.Event)
	if !slices.Contains(toldByStaff, event) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "staff tell FRAUD, LOSS, CHARGEBACK, STAFF or STAFF_CLEAR"), nil
	}
	var answer reply
	err := c.update(func(tx *Tx) (err error) {
		answer, err = c.forGood(tx, "staff "+c.sender.staff, api.PathStaffLists, coreHash(request), func() (reply, error) {
			found, err := findSubject(tx, request.Kind, request.Subject)
			if err != nil || found == nil {
				return noSubject(), err
			}
			return c.tell(tx, found, event, request.Reason)
		})
		return err
	})
	return answer, err
}

// tell lets a subject meet an event.
func (c *call) tell(tx *Tx, found *listedSubject, event rules.ListEvent, reason string) (reply, error) {
	if _, err := found.stands(c.p, tx); err != nil { // what is over is over first
		return reply{}, err
	}
	var next listing
	var code string
	var err error
	if found.card != nil {
		next, code, err = c.p.meetCard(tx, found.card, event, c.sender.actor(), reason)
	} else {
		next, code, err = c.p.meet(tx, found.kind, found.id, event, c.sender.actor(), reason)
	}
	if err != nil {
		return reply{}, err
	}
	if code != "" {
		return failure(statusOf(code), code, refusalText(code)), nil
	}
	return success(found.shown(next))
}

// removal is a row of list_removals, with the names of its persons.
type removal struct {
	id, kind, subject, reason, proposer, second, state string
	proposerName, secondName                           string
	mark                                               []byte
	created                                            time.Time
}

func findRemovals(tx *Tx, where string, args ...any) (found []*removal, err error) {
	err = tx.each(`SELECT id, kind, subject, reason, proposer, second, state, mark, created,
		(SELECT name FROM staff WHERE staff = proposer), COALESCE((SELECT name FROM staff WHERE staff = second), '')
		FROM list_removals WHERE `+where+` ORDER BY created, id`, args, func(rows *sql.Rows) error {
		f := &removal{}
		var created int64
		err := rows.Scan(&f.id, &f.kind, &f.subject, &f.reason, &f.proposer, &f.second, &f.state, &f.mark, &created, &f.proposerName, &f.secondName)
		f.created = time.UnixMilli(created).UTC()
		found = append(found, f)
		return err
	})
	return found, err
}

func findRemoval(tx *Tx, where string, args ...any) (*removal, error) {
	found, err := findRemovals(tx, where, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func (f *removal) shown() api.StaffListProposal {
	return api.StaffListProposal{
		Removal: f.id, Kind: f.kind, Subject: f.subject, Reason: f.reason, Proposer: f.proposerName, Second: f.secondName, State: f.state, Created: f.created,
	}
}

func (f *removal) close(tx *Tx, c *call, state string) error {
	f.state, f.second, f.secondName = state, c.sender.staff, c.sender.staffName
	return tx.exec(`UPDATE list_removals SET state = ?, second = ?, closed = ? WHERE id = ?`, state, f.second, c.p.now().UnixMilli(), f.id)
}

// listMark is the hash of how a subject stands: whatever is told of it after a removal
// was proposed makes the proposal stale.
func listMark(l listing, epoch int) []byte {
	sum := sha256.Sum256([]byte(fmt.Sprint(epoch, l.kind, l.subject, l.standing, l.cause, l.since.UnixMilli(), l.actor)))
	return sum[:]
}

// proposeRemoval is POST /v1/staff/lists/removals.
func proposeRemoval(c *call) (reply, error) {
	var request api.StaffListRemoval
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	answer := noSubject()
	err := c.update(func(tx *Tx) error {
		found, err := findSubject(tx, request.Kind, request.Subject)
		if err != nil || found == nil {
			return err
		}
		stands, err := found.stands(c.p, tx)
		if err != nil {
			return err
		}
		if _, code := rules.NextStanding(found.kind, stands.standing, rules.ListTwoClear); code != "" {
			answer = failure(statusOf(code), code, refusalText(code))
			return nil
		}
		answer, err = c.proposeRemoval(tx, found, listMark(stands, c.p.epoch), request.Reason)
		return err
	})
	return answer, err
}

func (c *call) proposeRemoval(tx *Tx, found *listedSubject, mark []byte, reason string) (reply, error) {
	former, err := findRemoval(tx, `kind = ? AND subject = ? AND state = ?`, string(found.kind), found.name, proposalOpen)
	if err != nil {
		return reply{}, err
	}
	switch {
	case former == nil:
	case string(former.mark) != string(mark): // nobody can confirm it any more
		if err := former.close(tx, c, proposalStale); err != nil {
			return reply{}, err
		}
	case former.proposer == c.sender.staff:
		return success(former.shown()) // asked again after a lost answer
	default:
		return failure(http.StatusConflict, api.CodeProposalOpen, refusalText(api.CodeProposalOpen)), nil
	}
	fresh := &removal{
		id: c.p.newID("R"), kind: string(found.kind), subject: found.name, reason: reason, proposer: c.sender.staff, proposerName: c.sender.staffName,
		state: proposalOpen, created: c.p.now(),
	}
	err = tx.exec(`INSERT INTO list_removals (id, kind, subject, reason, proposer, state, mark, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		fresh.id, fresh.kind, fresh.subject, fresh.reason, fresh.proposer, fresh.state, mark, fresh.created.UnixMilli())
	if err != nil {
		return reply{}, err
	}
	if err := c.act(tx, "removal-proposed", fresh.kind+" "+maskedListed(fresh.kind, fresh.subject), reason, string(rules.Black), string(rules.Clear)); err != nil {
		return reply{}, err
	}
	return success(fresh.shown())
}

// listRemovals is GET /v1/staff/lists/removals: what waits for a second person.
func listRemovals(c *call) (reply, error) {
	list := api.StaffListProposals{Removals: []api.StaffListProposal{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		found, err := findRemovals(tx, `state = ?`, proposalOpen)
		for _, f := range found {
			list.Removals = append(list.Removals, f.shown())
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

// confirmRemoval is POST /v1/staff/lists/removals/{id}/confirm.
func confirmRemoval(c *call) (reply, error) {
	return c.secondForList(func(tx *Tx, f *removal, reason string) (reply, error) {
		if f.state == proposalConfirmed && f.second == c.sender.staff {
			return success(f.shown()) // asked again after a lost answer
		}
		found, err := findSubject(tx, f.kind, f.subject)
		if err != nil || found == nil {
			return noSubject(), err
		}
		stands, err := found.stands(c.p, tx)
		if err != nil {
			return reply{}, err
		}
		code := rules.MayConfirm(rules.Second{
			Proposer: f.proposer, Confirmer: c.sender.staff, Supervisor: c.sender.role == api.RoleSupervisor,
			Open: f.state == proposalOpen, Changed: string(listMark(stands, c.p.epoch)) != string(f.mark),
		})
		if code != "" {
			if code == api.CodeProposalStale {
				err = f.close(tx, c, proposalStale)
			}
			return failure(statusOf(code), code, refusalText(code)), err
		}
		if answer, err := c.tell(tx, found, rules.ListTwoClear, reason); err != nil || answer.status != http.StatusOK {
			return answer, err
		}
		if err := f.close(tx, c, proposalConfirmed); err != nil {
			return reply{}, err
		}
		return success(f.shown())
	})
}

// rejectRemoval is POST /v1/staff/lists/removals/{id}/reject. The subject stays where
// it is, so that any member of staff may, the proposer too.
func rejectRemoval(c *call) (reply, error) {
	return c.secondForList(func(tx *Tx, f *removal, reason string) (reply, error) {
		switch {
		case f.state == proposalRejected && f.second == c.sender.staff:
			return success(f.shown())
		case f.state != proposalOpen:
			return failure(http.StatusConflict, api.CodeProposalClosed, refusalText(api.CodeProposalClosed)), nil
		}
		if err := f.close(tx, c, proposalRejected); err != nil {
			return reply{}, err
		}
		if err := c.act(tx, "removal-rejected", f.kind+" "+maskedListed(f.kind, f.subject), reason, proposalOpen, proposalRejected); err != nil {
			return reply{}, err
		}
		return success(f.shown())
	})
}

// secondForList runs what a second person does with a removal, in one transaction.
func (c *call) secondForList(work func(*Tx, *removal, string) (reply, error)) (reply, error) {
	var request api.StaffReason
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	answer := failure(http.StatusNotFound, api.CodeNotFound, "there is no such proposal")
	err := c.update(func(tx *Tx) error {
		f, err := findRemoval(tx, `id = ?`, c.req.PathValue("id"))
		if err != nil || f == nil {
			return err
		}
		answer, err = work(tx, f, request.Reason)
		return err
	})
	return answer, err
}
