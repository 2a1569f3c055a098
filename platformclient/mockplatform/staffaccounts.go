package mockplatform

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// findForStaff finds an account by its phone number, or by its user identifier where
// the number is somebody else's by now.
func findForStaff(tx *Tx, phone string) (*account, error) {
	a, err := findAccount(tx, "phone", phone)
	if err == nil && a == nil {
		a, err = findAccount(tx, "user", phone)
	}
	return a, err
}

func noAccount() reply {
	return failure(http.StatusNotFound, api.CodeNotFound, "there is no account of this phone number")
}

// showStaffAccount is GET /v1/staff/accounts. That somebody looked is written down.
func showStaffAccount(c *call) (reply, error) {
	phone := c.req.URL.Query().Get("phone")
	answer := noAccount()
	err := c.update(func(tx *Tx) error {
		a, err := findForStaff(tx, phone)
		if err != nil || a == nil {
			return err
		}
		if err := c.p.settleTimers(tx, a.id); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.actor(), "staff-account", a.id, ""); err != nil {
			return err
		}
		answer, err = c.p.staffAccountAnswer(tx, a.id)
		return err
	})
	return answer, err
}

func (p *Platform) staffAccountAnswer(tx *Tx, user string) (reply, error) {
	a, err := findAccount(tx, "user", user)
	if err != nil || a == nil {
		return reply{}, errOr(err, errNoAccount)
	}
	told, err := accountStanding(tx, a)
	if err != nil {
		return reply{}, err
	}
	shown := api.StaffAccount{
		User: a.id, Phone: maskedPhone(a.phone), State: a.state, Standing: told.Name, StateSince: pointerTo(told.Since), StateUntil: told.Until,
		By: told.By, Tier: a.tier, Holds: []api.StaffHold{}, Cards: []api.StaffCard{},
	}
	_, rows, err := holdsOf(tx, a.id)
	if err != nil {
		return reply{}, err
	}
	for _, row := range rows {
		shown.Holds = append(shown.Holds, api.StaffHold{
			Hold: row.hold.String(), Since: row.since, Until: pointerTo(row.until), By: row.actor, Reason: row.reason,
		})
	}
	if _, err := tx.row(`SELECT id_check FROM account_life WHERE user = ?`, []any{a.id}, &shown.IDCheck); err != nil {
		return reply{}, err
	}
	if shown.Owed, err = owedTo(tx, a.id); err != nil {
		return reply{}, err
	}
	cards, err := ownedCards(tx, a.id)
	for _, k := range cards {
		if err != nil {
			return reply{}, err
		}
		var one api.StaffCard
		one, err = staffCard(tx, k)
		shown.Cards = append(shown.Cards, one)
	}
	if err != nil {
		return reply{}, err
	}
	return success(shown)
}

func staffCard(tx *Tx, k *card) (api.StaffCard, error) {
	life, err := findCardLife(tx, k.asn)
	if err != nil {
		return api.StaffCard{}, err
	}
	one := api.StaffCard{ASN: k.asn, State: k.state, Standing: k.standing(life), StateSince: pointerTo(life.since), StateUntil: pointerTo(life.until)}
	if one.Proven, err = shadowBalance(tx, k); err != nil {
		return one, err
	}
	loads, purchases, err := openOn(tx, k.asn)
	one.OpenOrders = loads + purchases
	return one, err
}

// staffAct is one act of the counter on an account; a reply is a refusal.
type staffAct func(*call, *Tx, *account, api.StaffAccountAct) (*reply, error)

// staffActs is the table of acts by their names.
var staffActs = map[string]staffAct{
	api.ActPhoneState:  staffPhoneState,
	api.ActRenamePhone: staffRenamePhone,
	api.ActChangeSIM:   staffChangeSIM,
	api.ActChangeOwner: staffChangeOwner,
	api.ActUpgrade:     staffUpgrade,
	api.ActFreeze:      staffFreeze,
	api.ActThaw:        staffEvent(states.ThawedByStaff),
	api.ActLoss:        staffLoss,
	api.ActFound:       staffEvent(states.FoundAtCounter),
	api.ActClose:       staffClose,
}

// actOnAccount is POST /v1/staff/accounts. No act moves money: what is owed to a closed
// account stays owed until it is paid out or waived by its person.
func actOnAccount(c *call) (reply, error) {
	var request api.StaffAccountAct
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	act, known := staffActs[request.Act]
	if !known {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the act is unknown"), nil
	}
	return c.changeKeyed(request, func(tx *Tx) (reply, error) {
		a, err := findForStaff(tx, request.Phone)
		if err != nil {
			return reply{}, err
		}
		if a == nil {
			return noAccount(), nil
		}
		if err := c.p.settleTimers(tx, a.id); err != nil {
			return reply{}, err
		}
		if a, err = findAccount(tx, "user", a.id); err != nil {
			return reply{}, err
		}
		before := a.state
		if refusal, err := act(c, tx, a, request); err != nil || refusal != nil {
			return deref(refusal), err
		}
		if err := c.act(tx, "account-act "+request.Act, a.id, request.Reason, before, a.state); err != nil {
			return reply{}, err
		}
		if err := c.p.closeIfNothingOwed(tx, a.id); err != nil {
			return reply{}, err
		}
		return c.p.staffAccountAnswer(tx, a.id)
	})
}

// byCounter applies an event as staff; a reply says which state refuses it.
func (c *call) byCounter(tx *Tx, a *account, change accountChange) (*reply, error) {
	change.actor = c.sender.actor()
	if change.by == "" {
		change.by = byStaff
	}
	done, err := c.p.changeAccount(tx, a, change)
	if err != nil || done {
		return nil, err
	}
	answer, err := c.p.accountHeld(tx, a)
	return &answer, err
}

func staffEvent(event states.AccountEvent) staffAct {
	return func(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
		return c.byCounter(tx, a, accountChange{event: event, reason: request.Reason})
	}
}

func staffFreeze(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	return c.byCounter(tx, a, accountChange{event: states.FrozenByStaff, reason: request.Reason})
}

// staffLoss takes a loss in writing, of the account with all its cards.
func staffLoss(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	if refusal, err := c.byCounter(tx, a, accountChange{event: states.LossWritten, reason: request.Reason}); err != nil || refusal != nil {
		return refusal, err
	}
	return nil, c.p.loseCards(tx, a.id, states.CardLossWritten)
}

// phoneEvents is what the operator's word for a phone number does to its account (M28).
var phoneEvents = map[string]states.AccountEvent{
	api.PhoneActive:    states.PhoneIsResumed,
	api.PhoneSuspended: states.PhoneIsSuspended,
	api.PhoneCancelled: states.PhoneIsCancelled,
}

func staffPhoneState(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	event, known := phoneEvents[request.PhoneState]
	if !known {
		return refused(http.StatusBadRequest, api.CodeBadRequest, "a phone number is active, suspended or cancelled"), nil
	}
	return c.byCounter(tx, a, accountChange{event: event, by: byOperator, reason: request.Reason})
}

// staffRenamePhone is a change of number: the same person, the same money, another
// number. Companion and service go with it; the person logs in again.
func staffRenamePhone(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	if !plain(request.NewPhone, 32) || request.NewPhone == a.phone || !isDigits(request.NewPhone) {
		return refused(http.StatusBadRequest, api.CodeBadRequest, "another phone number is needed"), nil
	}
	if a.state == string(states.Closed) {
		answer, err := c.p.accountHeld(tx, a)
		return &answer, err
	}
	if free, err := freePhone(tx, request.NewPhone); err != nil || !free {
		return refused(statusOf(api.CodePhoneTaken), api.CodePhoneTaken, refusalText(api.CodePhoneTaken)), err
	}
	old := a.phone
	for _, change := range []string{
		`UPDATE companions SET phone = ?2 WHERE phone = ?1`,
		`UPDATE closed_services SET phone = ?2 WHERE phone = ?1`,
		`UPDATE sms_codes SET used = 1 WHERE phone IN (?1, ?2)`,
		`UPDATE users SET phone = ?2 WHERE phone = ?1`,
	} {
		if err := tx.exec(change, old, request.NewPhone); err != nil {
			return nil, err
		}
	}
	a.phone = request.NewPhone
	return nil, endSessions(tx, a.id, false)
}

// isDigits tells a phone number from an identifier: only digits, and a plus before them.
func isDigits(text string) bool {
	text = strings.TrimPrefix(text, "+")
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// freePhone tells whether nobody has a phone number. A closed account gives its number
// up to whoever asks for it: the books know it by its identifier.
func freePhone(tx *Tx, phone string) (bool, error) {
	holder, err := findAccount(tx, "phone", phone)
	if err != nil || holder == nil {
		return err == nil, err
	}
	if holder.state != string(states.Closed) {
		return false, nil
	}
	if err := endSessions(tx, holder.id, true); err != nil {
		return false, err
	}
	return true, leavePhone(tx, holder)
}

// leavePhone takes the number from an account that keeps nothing but its books.
func leavePhone(tx *Tx, a *account) error {
	a.phone = "former " + a.id
	return tx.exec(`UPDATE users SET phone = ? WHERE user = ?`, a.phone, a.id)
}

// endSessions ends the sessions of a person; forget also ends the computers, so that
// each must be enrolled again with an SMS code.
func endSessions(tx *Tx, user string, forget bool) error {
	if err := tx.exec(`DELETE FROM tokens WHERE device IN (SELECT device FROM devices WHERE user = ?)`, user); err != nil || !forget {
		return err
	}
	return tx.exec(`UPDATE devices SET state = ? WHERE user = ? AND state = ?`, stateReplaced, user, stateActive)
}

// staffChangeSIM ends sessions and computers: a SIM in other hands must not go on where
// the former one stopped. An enrolment with password and SMS code brings them back.
func staffChangeSIM(c *call, tx *Tx, a *account, _ api.StaffAccountAct) (*reply, error) {
	if a.state == string(states.Closed) {
		answer, err := c.p.accountHeld(tx, a)
		return &answer, err
	}
	if err := tx.exec(`UPDATE sms_codes SET used = 1 WHERE phone = ?`, a.phone); err != nil {
		return nil, err
	}
	return nil, endSessions(tx, a.id, true)
}

// staffChangeOwner gives the number up: sessions and computers of the former owner end,
// the account is being closed, and its cards are nobody's until they prove themselves
// to somebody. Open orders stay the former owner's: whoever holds the card settles them,
// and their money returns to who paid.
func staffChangeOwner(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	if refusal, err := c.byCounter(tx, a, accountChange{event: states.OwnerChanged, by: byOperator, reason: request.Reason}); err != nil || refusal != nil {
		return refusal, err
	}
	cards, err := ownedCards(tx, a.id)
	if err != nil {
		return nil, err
	}
	for _, k := range cards {
		if err := c.p.moveCard(tx, k, states.CardReleased); err != nil {
			return nil, err
		}
		if k.state == cardIssued {
			k.user = ""
		}
		if err := saveCard(tx, k); err != nil {
			return nil, err
		}
		if err := tx.exec(`UPDATE card_life SET label = '' WHERE asn = ?`, k.asn.String()); err != nil {
			return nil, err
		}
	}
	if err := endSessions(tx, a.id, true); err != nil {
		return nil, err
	}
	for _, change := range []string{
		`UPDATE sms_codes SET used = 1 WHERE phone = ?`, `DELETE FROM closed_services WHERE phone = ?`,
		`UPDATE companions SET state = 'REVOKED' WHERE phone = ?`,
	} {
		if err := tx.exec(change, a.phone); err != nil {
			return nil, err
		}
	}
	return nil, leavePhone(tx, a)
}

// staffUpgrade makes an account real-name. What was checked is noted in words, without
// the number of a document.
func staffUpgrade(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	if refusal := needReason(request.IDCheck); refusal != nil {
		return refused(http.StatusBadRequest, api.CodeBadRequest, "which document was checked must be noted in one line"), nil
	}
	if states.PhaseOf(states.AccountState(a.state)) != states.PhaseOpen {
		answer, err := c.p.accountHeld(tx, a)
		return &answer, err
	}
	if err := c.act(tx, "account-tier", a.id, request.IDCheck, a.tier, api.TierRealName); err != nil {
		return nil, err
	}
	if err := tx.exec(`UPDATE users SET tier = ? WHERE user = ?`, api.TierRealName, a.id); err != nil {
		return nil, err
	}
	now := c.p.now().UnixMilli()
	return nil, tx.exec(`INSERT INTO account_life (user, since, last_active, id_check) VALUES (?1, ?2, ?2, ?3)
		ON CONFLICT (user) DO UPDATE SET id_check = excluded.id_check`, a.id, now, request.IDCheck)
}

// staffClose closes an account at the counter, also one that is lost (挂失销户). What is
// owed stays owed: it is CLOSED when nothing is.
func staffClose(c *call, tx *Tx, a *account, request api.StaffAccountAct) (*reply, error) {
	if a.state == string(states.Closing) {
		return nil, nil // looked at again after this
	}
	owed, err := owedTo(tx, a.id)
	if err != nil {
		return nil, err
	}
	if owed.Held != 0 || owed.OpenOrders != 0 {
		answer, err := encoded(statusOf(api.CodeCloseRefused), api.ErrorBody{Error: api.Error{
			Code: api.CodeCloseRefused, Text: refusalText(api.CodeCloseRefused), Owed: &owed,
		}})
		return &answer, err
	}
	return c.byCounter(tx, a, accountChange{event: states.CloseAtCounter, reason: request.Reason})
}

// actOnCard is POST /v1/staff/cards/{asn}/acts.
func actOnCard(c *call) (reply, error) {
	var request api.StaffCardAct
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	asn, err := wallet.ParseASN(c.req.PathValue("asn"))
	event, known := map[string]states.CardEvent{api.ActLoss: states.CardLossWritten, api.ActFound: states.CardFoundAtCounter}[request.Act]
	if err != nil || !known {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the act or the card's serial has another form"), nil
	}
	return c.changeKeyed(request, func(tx *Tx) (reply, error) {
		k, err := findCard(tx, asn)
		if err != nil {
			return reply{}, err
		}
		if k == nil {
			return failure(http.StatusNotFound, api.CodeNotFound, "there is no such card"), nil
		}
		before := k.state
		if refusal, err := c.changeCard(tx, k, event); err != nil || refusal != nil {
			return deref(refusal), err
		}
		if err := c.p.recoverAgain(tx, k); err != nil {
			return reply{}, err
		}
		if err := saveCard(tx, k); err != nil {
			return reply{}, err
		}
		if err := c.act(tx, "card-act "+request.Act, asn.Masked(), request.Reason, before, k.state); err != nil {
			return reply{}, err
		}
		shown, err := staffCard(tx, k)
		if err != nil {
			return reply{}, err
		}
		return success(shown)
	})
}

// ErrPhoneState is a word of the operator, or a number, that nobody knows.
var ErrPhoneState = errors.New("a known phone number is active, suspended or cancelled")

// PhoneState takes the operator's word for a phone number (BOSS, M28) and gives the state
// of its account. It works while another process serves.
func (p *Platform) PhoneState(ctx context.Context, phone, phoneState string) (state string, err error) {
	event, known := phoneEvents[phoneState]
	if !known {
		return "", ErrPhoneState
	}
	err = p.store.Update(ctx, func(tx *Tx) error {
		a, err := findAccount(tx, "phone", phone)
		if err != nil || a == nil {
			return errOr(err, ErrPhoneState)
		}
		if err := p.settleTimers(tx, a.id); err != nil {
			return err
		}
		if a, err = findAccount(tx, "phone", phone); err != nil {
			return err
		}
		if _, err := p.changeAccount(tx, a, accountChange{event: event, by: byOperator, actor: byOperator}); err != nil {
			return err
		}
		if err := p.closeIfNothingOwed(tx, a.id); err != nil {
			return err
		}
		if a, err = findAccount(tx, "user", a.id); err == nil {
			state = a.state
		}
		return err
	})
	return state, err
}
