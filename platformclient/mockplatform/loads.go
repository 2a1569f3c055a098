package mockplatform

import (
	"errors"
	"net/http"
	"slices"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// payTries is how many wrong payment passwords a business day allows.
const payTries = 3

// accountNormal is the state of an account that a demo seeds.
const accountNormal = "NORMAL"

// requestLoad is POST /v1/loads: one request, one transaction, one answer. Either
// the order is granted (held money, MAC2, probe and stored answer in one commit) or
// a signed refusal is stored, which is final for the key.
func requestLoad(c *call) (reply, error) {
	var request api.LoadRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Amount <= 0 || request.Amount > maxCardFen || request.Fee < 0 || request.Fee > maxCardFen {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	core := api.OrderCore{ASN: request.Card.ASN, Amount: request.Amount, Fee: request.Fee, Source: request.Source, Key: c.key}
	hash := api.OrderCoreHash(core)
	// The seal costs most of what needs no database: it is opened before others have
	// to wait for the write lock, and judged in its turn.
	password := c.p.openPayment(core, request.PaySeal)
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, c.sender.user, api.PathLoads, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		conflict, err := c.p.noteJournal(tx, c.sender.device, journalMark(c.req.Header.Get(api.HeaderJournal)))
		if err != nil {
			return err
		}
		if conflict {
			answer = failure(http.StatusForbidden, api.CodeJournalConflict, "this profile exists twice; enrol the device again with an SMS code")
			return nil
		}
		answer, err = c.p.decideLoad(tx, &loading{p: c.p, tx: tx, c: c, request: request, core: core, password: password})
		return err
	})
	return answer, err
}

// decideLoad grants or declines, and stores the answer under the key. A terminal
// number that cannot be used is signed as declined but not stored: the very same
// request can never be granted, and the same order may come with another number.
func (p *Platform) decideLoad(tx *Tx, load *loading) (reply, error) {
	found, err := load.check()
	if err != nil {
		return reply{}, err
	}
	c, hash := load.c, api.OrderCoreHash(load.core)
	if found == nil {
		answer, err := load.grant()
		if err != nil {
			return reply{}, err
		}
		return answer, p.storeAnswer(tx, c.sender.user, api.PathLoads, c.key, hash, answer)
	}
	answer, err := p.decline(c.key, c.key, found)
	if err != nil {
		return reply{}, err
	}
	if err := p.audit(tx, c.sender.user, "load-declined", c.key, found.code); err != nil {
		return reply{}, err
	}
	if err := p.noteDecline(tx, c.sender.user, c.sender.device, found.code); err != nil {
		return reply{}, err
	}
	if found.code == api.CodeTIDUsed || found.code == api.CodeLeaseInvalid {
		return answer, nil
	}
	return answer, p.storeAnswer(tx, c.sender.user, api.PathLoads, c.key, hash, answer)
}

// decline signs a refusal.
func (p *Platform) decline(key, request string, found *refusal) (reply, error) {
	state := found.state
	state.Key, state.Request, state.State = key, request, wallet.StateDeclined
	state.Code, state.Text = found.code, refusalText(found.code)
	return p.signedState(statusOf(found.code), state)
}

// loading is one request for a grant on its way through the checks of §2.14.
type loading struct {
	p        *Platform
	tx       *Tx
	c        *call
	request  api.LoadRequest
	core     api.OrderCore
	password openedSeal

	account *account
	card    *card
	answer  initAnswer
	order   *order
	floor   uint16 // the card's proven counter before this request
}

// check runs the checks in their order; the first refusal ends them. What the card
// proved on the way (floor, random, opening balance) is kept either way.
func (l *loading) check() (*refusal, error) {
	for _, step := range []func() (*refusal, error){
		l.checkAccount, l.checkService, l.checkCard, l.checkAnswers, l.checkMAC1, l.checkCounter, // what the request is
		l.checkLimits, l.checkLists, l.checkVelocity, l.checkShadow, l.checkPassword, l.checkBalance, // whether it may
	} {
		if found, err := step(); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func (l *loading) checkAccount() (found *refusal, err error) {
	if l.account, err = findAccount(l.tx, "user", l.c.sender.user); err != nil {
		return nil, err
	}
	if found, err := l.p.accountRefusal(l.tx, l.account, actLoad); err != nil || found != nil {
		return found, err
	}
	switch {
	case l.request.Source != "main":
		return refuse(api.CodeSourceRefused), nil
	case l.request.Fee != l.p.policy.LoadFee(l.request.Source, l.request.Amount):
		return refuse(api.CodeFeeChanged), nil
	}
	// After a restore, money waits for the touch of a card whose lost loads are known.
	var other string
	waiting, err := l.tx.row(`SELECT asn FROM cards WHERE user = ? AND state = ?`, []any{l.account.id, cardRecover}, &other)
	if err == nil && waiting {
		found := refuse(api.CodeCardState)
		found.state.Standing = cardRecover
		return found, nil
	}
	return nil, err
}

// checkService looks at what staff has closed or bound.
func (l *loading) checkService() (*refusal, error) {
	code, err := l.p.moneyRefused(l.tx, l.account.phone, l.request.CompanionSN, l.c.sender.thumbprint)
	if err != nil || code == "" {
		return nil, err
	}
	return refuse(code), nil
}

func (l *loading) checkCard() (found *refusal, err error) {
	if l.card, err = findCard(l.tx, l.request.Card.ASN); err != nil {
		return nil, err
	}
	if found, err := l.p.cardRefusal(l.tx, l.card, l.account.id, actLoad); err != nil || found != nil {
		return found, errors.Join(err, l.lookAtReplaced())
	}
	if l.card.typeRefused || l.p.profileRefused(l.request.Card.Profile) || l.p.profileRefused(l.card.profile) {
		return refuse(api.CodeCardTypeRefused), nil
	}
	return nil, nil
}

// lookAtReplaced compares what a replaced card holds with the books, where its balance
// has moved already: value that is found on it was spent twice, and people must know.
func (l *loading) lookAtReplaced() error {
	if l.card == nil || l.card.state != string(states.Replaced) {
		return nil
	}
	asn, answer, ok := readOpen(&l.request.Open)
	if !ok || asn != l.card.asn || l.request.Open.Amount != l.request.Amount {
		return nil
	}
	l.answer = answer
	good, err := l.p.hsm.verifyMAC1(l.tx, l.card.asn, l.sent(), l.answer)
	if err != nil || !good {
		return err
	}
	if err := l.p.compareReplaced(l.tx, l.card, answer.balance); err != nil {
		return err
	}
	return saveCard(l.tx, l.card)
}

// profileRefused tells whether a kind of card may not be loaded. A card that is
// registered without a profile leaves the answer to the request's.
func (p *Platform) profileRefused(name string) bool {
	if name == "" {
		return false
	}
	_, known := profileNamed(name)
	return !known || slices.Contains(p.policy.LoadRefuse, name)
}

// checkAnswers looks at the raw conversation: the card that answered is the card
// that the person confirmed, for the amount that the person confirmed.
func (l *loading) checkAnswers() (*refusal, error) {
	asn, answer, ok := readOpen(&l.request.Open)
	if !ok || asn != l.request.Card.ASN || l.request.Open.Amount != l.request.Amount {
		return refuse(api.CodeCardEvidence), nil
	}
	l.answer = answer
	code, err := l.p.takeLease(l.tx, l.c.sender.device, l.c.key, asn, l.request.Open.TID)
	if err != nil || code == "" {
		return nil, err
	}
	return refuse(code), nil
}

func (l *loading) checkMAC1() (*refusal, error) {
	good, err := l.p.hsm.verifyMAC1(l.tx, l.card.asn, l.sent(), l.answer)
	if err != nil || good {
		return nil, err
	}
	return refuse(api.CodeCardEvidence), l.p.countWrongMAC1(l.tx, l.card)
}

func (l *loading) sent() loadCommand { return loadCommand{l.request.Amount, l.request.Open.TID} }

// checkCounter compares with what the card has proven before, and the balance with
// the books. With an order open the books cannot be compared: it may be loaded.
func (l *loading) checkCounter() (*refusal, error) {
	l.floor = l.card.floor
	repeated, err := l.p.seen(l.tx, l.card, l.sent(), l.answer)
	if err != nil {
		return nil, err
	}
	open, err := findOrder(l.tx, isOpen+` AND asn = ?`, l.card.asn.String())
	if err != nil {
		return nil, err
	}
	facts := rules.CardFacts{Floor: l.floor, OpenOrder: open != nil, Refused: l.card.typeRefused && !l.p.config.Rules.AllowRepeatedRandom}
	code := rules.MayOpen(facts, rules.Init{Seq: l.answer.seq, RepeatedRandom: repeated}, l.p.config.Rules)
	if open == nil && code == "" {
		if err := l.p.compareShadow(l.tx, l.card, l.answer.balance, 0, l.p.answered()); err != nil {
			return nil, err
		}
	}
	if err := saveCard(l.tx, l.card); err != nil {
		return nil, err
	}
	switch {
	case open != nil && repeated && code == api.CodeCardTypeRefused:
		// An old MAC2 of the open order may live again: people must look at it.
		open.state, open.cause = wallet.StateSuspense, rules.CauseRepeatedRandom
		if err := saveOrder(l.tx, open, l.p.now()); err != nil {
			return nil, err
		}
	case code == api.CodePendingLoad:
		pending, err := openOrder(l.tx, open)
		return &refusal{code: code, state: wallet.OrderState{Pending: &pending}}, err
	case code == "":
		return l.p.cardRefusal(l.tx, l.card, l.account.id, actLoad) // the comparison may have changed it
	}
	return refuse(code), nil
}

// makeOrder is what the grant will enter, once everything has passed.
func (l *loading) makeOrder() error {
	id, err := l.p.newOrderID(l.tx)
	if err != nil {
		return err
	}
	profile := l.card.profile
	if asked, _ := profileNamed(l.request.Card.Profile); profile == "" || asked.sharedCounter {
		profile = l.request.Card.Profile // the more careful of the two decides what a counter proves
	}
	l.order = &order{
		id: id, key: l.c.key, user: l.account.id, device: l.c.sender.device, asn: l.card.asn, profile: profile,
		keyIndex: l.request.Card.KeyIndex, amount: l.request.Amount, fee: l.request.Fee, source: l.request.Source,
		state: wallet.StateGranted, attempt: 1, probeEpoch: l.p.epoch, created: l.p.now(),
	}
	return nil
}

// openedSeal is what a payment seal held.
type openedSeal struct {
	digits string
	opened bool
}

// openPayment opens a seal, which fits its very own order only.
func (p *Platform) openPayment(core api.OrderCore, seal []byte) openedSeal {
	digits, err := api.OpenPayment(p.sealKey, core, seal)
	return openedSeal{digits: digits, opened: err == nil}
}

// checkPassword compares the payment password of the request.
func (l *loading) checkPassword() (*refusal, error) {
	return l.p.judgePassword(l.tx, l.account, l.password)
}

func lockedUntil(p *Platform) *refusal {
	reset, none := nextDay(p.now()), 0
	return &refusal{code: api.CodePasswordLocked, state: wallet.OrderState{RetryAfter: &reset, WrongsLeft: &none}}
}

func (l *loading) checkBalance() (*refusal, error) {
	main, err := balance(l.tx, mainAccount(l.account.id))
	if err != nil || main >= l.order.amount+l.order.fee {
		return nil, err
	}
	return refuse(api.CodeBalanceShort), nil
}

// grant holds the money and gives MAC2, in the transaction that checked everything.
func (l *loading) grant() (reply, error) {
	probe, err := l.p.newTID(l.tx, l.card.asn.String())
	if err != nil {
		return reply{}, err
	}
	l.order.probe = probe
	if err := l.p.insertOrder(l.tx, l.order); err != nil {
		return reply{}, err
	}
	if err := l.p.hold(l.tx, l.order); err != nil {
		return reply{}, err
	}
	granted, err := l.p.grantAttempt(l.tx, l.order, l.sent(), l.answer, l.floor)
	if err != nil {
		return reply{}, err
	}
	leases, err := l.p.moreLeases(l.tx, l.c.sender.device)
	if err != nil {
		return reply{}, err
	}
	return success(api.LoadAnswer{Grant: granted, Leases: leases})
}

// abandonLoad closes a key that was never seen with a tombstone, so that a request
// which arrives late gets the stored refusal. A key that was seen tells its state.
func abandonLoad(c *call) (reply, error) {
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	key := c.req.PathValue("id")
	var answer reply
	err := c.update(func(tx *Tx) error {
		o, err := findOrder(tx, `key = ? AND user = ?`, key, c.sender.user)
		if err != nil {
			return err
		}
		if o != nil {
			answer, err = c.p.answerPresent(tx, o, c, "")
			return err
		}
		kept, err := c.p.stored(tx, c.sender.user, api.PathLoads, key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer, err = c.p.repeatRefusal(kept, c.key)
			return err
		}
		tombstone, err := c.p.decline(key, key, refuse(api.CodeAbandoned))
		if err != nil {
			return err
		}
		if err := c.p.storeAnswer(tx, c.sender.user, api.PathLoads, key, nil, tombstone); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.user, "load-abandoned", key, ""); err != nil {
			return err
		}
		// The answer names the question that it answers, which is this request's.
		answer, err = c.p.decline(key, c.key, refuse(api.CodeAbandoned))
		answer.status = http.StatusOK
		return err
	})
	return answer, err
}
