package mockplatform

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// stateRoutes registers what persons and the counter do with states.
func (p *Platform) stateRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("POST", api.PathFreeze, authSession, freezeAccount)
	handle("POST", api.PathThaw, authSession, thawAccount)
	handle("POST", api.PathAccountLoss, authSession, loseAccount)
	handle("POST", api.PathAccountClose, authSession, closeAccount)
	handle("POST", api.PathCardRemove, authSession, removeCard)
	handle("POST", api.PathCardRename, authSession, renameCard)
	handle("POST", api.PathCardSuspend, authSession, suspendCard)
	handle("POST", api.PathCardResume, authSession, resumeCard)
	handle("POST", api.PathCardLoss, authSession, loseCard)
	handle("POST", api.PathCardFound, authSession, findLostCard)
	handle("GET", api.PathStaffAccounts, authStaff, showStaffAccount)
	handle("POST", api.PathStaffAccounts, authStaff, actOnAccount)
	handle("POST", api.PathStaffCardState, authStaff, actOnCard)
	handle("POST", api.PathStaffReplacements, authStaff, replaceCard)
	handle("GET", api.PathStaffReplacements, authStaff, listReplacements)
}

// changeKeyed runs a change under the idempotency key: what was done is answered again with
// the stored bytes, what was refused may be asked again. core is what must be the same
// under one key; a seal is not, since each nonce has its own.
func (c *call) changeKeyed(core any, work func(*Tx) (reply, error)) (reply, error) {
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	hash := coreHash([]any{c.req.URL.Path, core})
	scope := c.sender.user
	if c.sender.staff != "" {
		scope = staffActor(c.sender.staff)
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, scope, c.route, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		if answer, err = work(tx); err != nil || answer.status != http.StatusOK {
			return err
		}
		return c.p.storeAnswer(tx, scope, c.route, c.key, hash, answer)
	})
	return answer, err
}

// changeOwn applies an event to the sender's account and shows what became of it.
func (c *call) changeOwn(tx *Tx, change accountChange) (reply, error) {
	a, err := findAccount(tx, "user", c.sender.user)
	if err != nil || a == nil {
		return reply{}, errOr(err, errNoAccount)
	}
	change.by, change.actor = byUser, a.id
	done, err := c.p.changeAccount(tx, a, change)
	if err != nil {
		return reply{}, err
	}
	if !done {
		return c.p.accountHeld(tx, a)
	}
	return c.accountAnswer(tx, a)
}

// accountHeld refuses an event: the account's state is why.
func (p *Platform) accountHeld(tx *Tx, a *account) (reply, error) {
	told, err := accountStanding(tx, a)
	return standingFailure(api.CodeAccountState, told.Name, told.Until), err
}

func (c *call) accountAnswer(tx *Tx, a *account) (reply, error) {
	shown, err := c.p.accountShown(tx, a, c.sender.device)
	if err != nil {
		return reply{}, err
	}
	return success(shown)
}

// freezeAccount is POST /v1/account/freeze.
func freezeAccount(c *call) (reply, error) {
	var request api.FreezeRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	change := accountChange{event: states.FrozenByUser}
	if request.Until != nil {
		if !request.Until.After(c.p.now()) {
			return failure(http.StatusUnprocessableEntity, api.CodeDatePast, refusalText(api.CodeDatePast)), nil
		}
		change.until = request.Until.UTC()
	}
	return c.changeKeyed(request, func(tx *Tx) (reply, error) { return c.changeOwn(tx, change) })
}

// loseAccount is POST /v1/account/loss: of the account with all its cards. What is lost
// already, or worse, stays.
func loseAccount(c *call) (reply, error) {
	var request api.LossRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if request.Kind != api.LossOral && request.Kind != api.LossWritten {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a loss is oral or written"), nil
	}
	return c.changeKeyed(request, func(tx *Tx) (reply, error) {
		change, cardEvent := accountChange{event: states.LossWritten}, states.CardLossWritten
		if request.Kind == api.LossOral {
			change, cardEvent = accountChange{event: states.LossReported, until: c.p.now().Add(oralLossLife)}, states.CardLossReported
		}
		answer, err := c.changeOwn(tx, change)
		if err != nil || answer.status != http.StatusOK {
			return answer, err
		}
		if err := c.p.loseCards(tx, c.sender.user, cardEvent); err != nil {
			return reply{}, err
		}
		a, err := findAccount(tx, "user", c.sender.user)
		if err != nil {
			return reply{}, err
		}
		return c.accountAnswer(tx, a)
	})
}

// loseCards reports every card of a person lost; those whose state takes no such report
// stay where they are.
func (p *Platform) loseCards(tx *Tx, user string, event states.CardEvent) error {
	cards, err := ownedCards(tx, user)
	for _, k := range cards {
		if err != nil {
			return err
		}
		if _, err = p.tryCard(tx, k, event); err == nil {
			err = saveCard(tx, k)
		}
	}
	return err
}

// strongly checks the sender's login password and an SMS code, which together are a
// strong login.
func (c *call) strongly(purpose string, sms api.SMSCode, seal []byte) (check func(*Tx) (*account, *reply, error), refusal *reply, err error) {
	var phone string
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		a, err := findAccount(tx, "user", c.sender.user)
		if a != nil {
			phone = a.phone
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	known, refusal, err := c.checkLogin(phone, seal)
	if err != nil || refusal != nil {
		return nil, refusal, err
	}
	return func(tx *Tx) (*account, *reply, error) {
		good, err := c.p.useSMSCode(tx, phone, purpose, sms)
		if err != nil {
			return nil, nil, err
		}
		if !good {
			return nil, refused(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), nil
		}
		a, err := findAccount(tx, "user", known.id)
		return a, nil, err
	}, nil, nil
}

// thawAccount is POST /v1/account/thaw. It ends whatever the person can end; what staff,
// paper or the operator laid stays, and the answer shows it.
func thawAccount(c *call) (reply, error) {
	var request api.ThawRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	check, refusal, err := c.strongly(api.PurposeThaw, request.SMS, request.LoginPWSeal)
	if err != nil || refusal != nil {
		return deref(refusal), err
	}
	return c.changeKeyed(request.SMS.CodeID, func(tx *Tx) (reply, error) {
		a, refusal, err := check(tx)
		if err != nil || refusal != nil {
			return deref(refusal), err
		}
		if err := c.p.touchAccount(tx, a.id); err != nil {
			return reply{}, err
		}
		if a.state == accountNormal {
			return c.accountAnswer(tx, a)
		}
		return c.changeOwn(tx, accountChange{event: states.ThawedByUser})
	})
}

// closeAccount is POST /v1/account/close. Nothing may be owed, or what is left is waived
// in so many words.
func closeAccount(c *call) (reply, error) {
	var request api.CloseRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	check, refusal, err := c.strongly(api.PurposeClose, request.SMS, request.LoginPWSeal)
	if err != nil || refusal != nil {
		return deref(refusal), err
	}
	core := []any{request.SMS.CodeID, request.WaiveBalance, request.WaivePurse}
	return c.changeKeyed(core, func(tx *Tx) (reply, error) {
		a, refusal, err := check(tx)
		if err != nil || refusal != nil {
			return deref(refusal), err
		}
		if refusal, err := c.p.closeRefused(tx, a, request.WaiveBalance, request.WaivePurse); err != nil || refusal != nil {
			return deref(refusal), err
		}
		if a.state != string(states.Closing) {
			done, err := c.p.changeAccount(tx, a, accountChange{event: states.CloseAsked, by: byUser, actor: a.id})
			if err != nil {
				return reply{}, err
			}
			if !done {
				return c.p.accountHeld(tx, a)
			}
		}
		if err := c.p.waiveBalance(tx, a); err != nil {
			return reply{}, err
		}
		if err := c.p.endAccount(tx, a); err != nil {
			return reply{}, err
		}
		return c.accountAnswer(tx, a)
	})
}

// closeRefused tells what is still there; nil lets pass.
func (p *Platform) closeRefused(tx *Tx, a *account, waiveBalance, waivePurse bool) (*reply, error) {
	owed, err := owedTo(tx, a.id)
	if err != nil {
		return nil, err
	}
	if owed.Held == 0 && owed.OpenOrders == 0 && (owed.Main == 0 || waiveBalance) && (owed.Purse == 0 || waivePurse) {
		return nil, nil
	}
	answer, err := encoded(statusOf(api.CodeCloseRefused), api.ErrorBody{Error: api.Error{
		Code: api.CodeCloseRefused, Text: refusalText(api.CodeCloseRefused), Owed: &owed,
	}})
	return &answer, err
}

// waiveBalance posts what a person gave up. What cards hold stays in the purse float:
// it can still be spent in shops.
func (p *Platform) waiveBalance(tx *Tx, a *account) error {
	left, err := balance(tx, mainAccount(a.id))
	if err != nil || left == 0 {
		return err
	}
	return p.post(tx, transfer{kind: postingWaiver, order: "close " + a.id, legs: []leg{{mainAccount(a.id), -left}, {accountWaived, left}}})
}

// The postings of states.
const (
	postingWaiver      = "waiver"
	postingReplacement = "replacement"

	accountWaived  = "waived-income"
	accountLateUse = "late-use-receivable" // spent with a lost card after its balance had moved
)

// cardAct finds a card of the sender, and applies an event to it. A card of somebody
// else is told apart from one that does not exist by nothing.
func (c *call) cardAct(core any, work func(*Tx, *card) (*reply, error)) (reply, error) {
	asn, err := wallet.ParseASN(c.req.PathValue("asn"))
	if err != nil {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the application serial has another form"), nil
	}
	return c.changeKeyed(core, func(tx *Tx) (reply, error) {
		k, err := findCard(tx, asn)
		if err != nil {
			return reply{}, err
		}
		if refusal, err := c.p.cardFailure(tx, k, c.sender.user, actQuery); err != nil || refusal != nil {
			return deref(refusal), err
		}
		if refusal, err := work(tx, k); err != nil || refusal != nil {
			return deref(refusal), err
		}
		if err := saveCard(tx, k); err != nil {
			return reply{}, err
		}
		shown, err := cardShown(tx, k)
		if err != nil {
			return reply{}, err
		}
		return success(shown)
	})
}

// changeCard applies an event and writes it down; a reply is the refusal of the state.
func (c *call) changeCard(tx *Tx, k *card, event states.CardEvent) (*reply, error) {
	before := k.state
	done, err := c.p.tryCard(tx, k, event)
	if err != nil {
		return nil, err
	}
	if !done {
		life, err := findCardLife(tx, k.asn)
		answer := standingFailure(api.CodeCardState, k.standing(life), pointerTo(life.until))
		return &answer, err
	}
	return nil, c.p.audit(tx, c.sender.actor(), "card-"+string(event), k.asn.Masked(), before+" -> "+k.state)
}

// needAccount refuses where the account's state does not permit an act.
func (c *call) needAccount(tx *Tx, act states.Act) (*reply, error) {
	a, err := findAccount(tx, "user", c.sender.user)
	if err != nil {
		return nil, err
	}
	return c.p.accountFailure(tx, a, act)
}

// removeCard is POST /v1/cards/{asn}/remove. The books keep what they know of the card:
// whoever holds it may add it again.
func removeCard(c *call) (reply, error) {
	return c.cardAct(nil, func(tx *Tx, k *card) (*reply, error) {
		if refusal, err := c.needAccount(tx, actLoad); err != nil || refusal != nil {
			return refusal, err
		}
		if refusal, err := cardBusy(tx, k.asn); err != nil || refusal != nil {
			return refusal, err
		}
		if refusal, err := c.changeCard(tx, k, states.CardRemoved); err != nil || refusal != nil {
			return refusal, err
		}
		k.user = ""
		return nil, tx.exec(`UPDATE card_life SET label = '' WHERE asn = ?`, k.asn.String())
	})
}

// cardBusy refuses while an order of the card is open.
func cardBusy(tx *Tx, asn wallet.ASN) (*reply, error) {
	loads, purchases, err := openOn(tx, asn)
	switch {
	case err != nil:
		return nil, err
	case loads > 0:
		return refused(statusOf(api.CodePendingLoad), api.CodePendingLoad, refusalText(api.CodePendingLoad)), nil
	case purchases > 0:
		return refused(statusOf(api.CodePendingPurchase), api.CodePendingPurchase, refusalText(api.CodePendingPurchase)), nil
	}
	return nil, nil
}

// openOn counts the orders of a card that are not settled.
func openOn(tx *Tx, asn wallet.ASN) (loads, purchases int, err error) {
	_, err = tx.row(`SELECT (SELECT COUNT(*) FROM orders WHERE `+isOpen+` AND asn = ?1), (SELECT COUNT(*) FROM purchases WHERE `+isOpenPurchase+` AND asn = ?1)`,
		[]any{asn.String()}, &loads, &purchases)
	return loads, purchases, err
}

// suspendCard is POST /v1/cards/{asn}/suspend (钱包暂停).
func suspendCard(c *call) (reply, error) {
	return c.cardAct(nil, func(tx *Tx, k *card) (*reply, error) { return c.changeCard(tx, k, states.CardSuspended) })
}

// resumeCard is POST /v1/cards/{asn}/resume.
func resumeCard(c *call) (reply, error) {
	return c.cardAct(nil, func(tx *Tx, k *card) (*reply, error) {
		if refusal, err := c.needAccount(tx, actLoad); err != nil || refusal != nil {
			return refusal, err
		}
		return c.changeCard(tx, k, states.CardResumed)
	})
}

// renameCard is POST /v1/cards/{asn}/rename.
func renameCard(c *call) (reply, error) {
	var request api.CardLabel
	if refusal := firstOf(c.decode(&request), needLabel(request.Label)); refusal != nil {
		return *refusal, nil
	}
	return c.cardAct(request, func(tx *Tx, k *card) (*reply, error) {
		if err := tx.exec(`INSERT INTO card_life (asn, label) VALUES (?, ?) ON CONFLICT (asn) DO UPDATE SET label = excluded.label`,
			k.asn.String(), request.Label); err != nil {
			return nil, err
		}
		return nil, c.p.audit(tx, c.sender.actor(), "card-renamed", k.asn.Masked(), "") // the word is its owner's alone
	})
}

// loseCard is POST /v1/cards/{asn}/loss.
func loseCard(c *call) (reply, error) {
	var request api.LossRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	event, known := map[string]states.CardEvent{api.LossOral: states.CardLossReported, api.LossWritten: states.CardLossWritten}[request.Kind]
	if !known {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a loss is oral or written"), nil
	}
	return c.cardAct(request, func(tx *Tx, k *card) (*reply, error) { return c.changeCard(tx, k, event) })
}

// findLostCard is POST /v1/cards/{asn}/found: of a loss that was only told.
func findLostCard(c *call) (reply, error) {
	var request api.FoundRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	return c.cardAct(request.SMS.CodeID, func(tx *Tx, k *card) (*reply, error) {
		a, err := findAccount(tx, "user", c.sender.user)
		if err != nil || a == nil {
			return nil, errOr(err, errNoAccount)
		}
		good, err := c.p.useSMSCode(tx, a.phone, api.PurposeLoss, request.SMS)
		if err != nil {
			return nil, err
		}
		if !good {
			return refused(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), nil
		}
		if refusal, err := c.changeCard(tx, k, states.CardFound); err != nil || refusal != nil {
			return refusal, err
		}
		return nil, c.p.recoverAgain(tx, k)
	})
}

// needLabel refuses what is no short line of text.
func needLabel(label string) *reply {
	if utf8.ValidString(label) && utf8.RuneCountInString(label) <= api.MaxLabel && !strings.ContainsFunc(label, unprintable) && strings.TrimSpace(label) == label {
		return nil
	}
	return refused(http.StatusBadRequest, api.CodeBadRequest, "a label is one line of at most 32 characters")
}

// unprintable are controls, and marks that steer the direction of a line: a label must
// not be able to make one card look like another one.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

var errNoAccount = errors.New("the sender of a session has no account")
