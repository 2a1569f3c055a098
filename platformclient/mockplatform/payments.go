package mockplatform

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// coreHash is what a stored answer is bound to.
func coreHash(core any) []byte {
	body, _ := json.Marshal(core) // structures of this package always encode
	sum := sha256.Sum256(body)
	return sum[:]
}

// purchaseCore is what must be the same under one key; the card's answers may come
// again with another lease.
type purchaseCore struct {
	MerchantOrder string
	Amount        wallet.Fen
	ASN           wallet.ASN
}

// purchaseRefusal is a signed DECLINED before it is signed. A nil one lets pass.
type purchaseRefusal struct {
	code      string
	statement wallet.PurchaseStatement // further fields: pending load or purchase
}

func refusePurchase(code string) *purchaseRefusal { return &purchaseRefusal{code: code} }

// requestPurchase is POST /v1/purchases: one request, one transaction, one answer.
// Either MAC1, terminal serial, number, random and probe are stored with the answer
// in one commit, or a signed refusal is, which is final for the key.
func requestPurchase(c *call) (reply, error) {
	var request api.PurchaseRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Amount <= 0 || request.Amount > maxCardFen {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	hash := coreHash(purchaseCore{request.MerchantOrder, request.Amount, request.Card.ASN})
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, c.sender.user, api.PathPurchases, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		answer, err = (&paying{p: c.p, tx: tx, c: c, request: request}).decide(hash)
		return err
	})
	return answer, err
}

// paying is one request for MAC1 on its way through the checks of §2.19.
type paying struct {
	p       *Platform
	tx      *Tx
	c       *call
	request api.PurchaseRequest

	account *account
	card    *card
	order   *merchantOrder
	answer  purchaseAnswer
}

// decide authorises or declines, and stores the answer under the key. As for loads,
// an unusable terminal number is declined but not stored: the same order may come
// with another number.
func (y *paying) decide(hash []byte) (reply, error) {
	found, err := y.check()
	if err != nil {
		return reply{}, err
	}
	p, user, key := y.p, y.c.sender.user, y.c.key
	if found == nil {
		answer, err := y.authorise()
		if err != nil {
			return reply{}, err
		}
		return answer, p.storeAnswer(y.tx, user, api.PathPurchases, key, hash, answer)
	}
	answer, err := p.declinePurchase(key, key, found)
	if err != nil {
		return reply{}, err
	}
	if err := p.audit(y.tx, user, "purchase-declined", key, found.code); err != nil {
		return reply{}, err
	}
	if found.code == api.CodeTIDUsed || found.code == api.CodeLeaseInvalid {
		return answer, nil
	}
	return answer, p.storeAnswer(y.tx, user, api.PathPurchases, key, hash, answer)
}

// declinePurchase signs a refusal.
func (p *Platform) declinePurchase(key, request string, found *purchaseRefusal) (reply, error) {
	statement := found.statement
	statement.Key, statement.Request, statement.State = key, request, wallet.PurchaseDeclined
	statement.Code, statement.Text = found.code, refusalText(found.code)
	return p.signedPurchase(statusOf(found.code), statement)
}

// check runs the checks in their order; the first refusal ends them.
func (y *paying) check() (*purchaseRefusal, error) {
	for _, step := range []func() (*purchaseRefusal, error){
		y.checkAccount, y.checkService, y.checkCard, y.checkOpen, y.checkTries, y.checkOrder, y.checkAnswers, y.checkClaims, y.checkNumber,
	} {
		if found, err := step(); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func (y *paying) checkAccount() (found *purchaseRefusal, err error) {
	if y.account, err = findAccount(y.tx, "user", y.c.sender.user); err != nil {
		return nil, err
	}
	act, err := y.act()
	if err != nil {
		return nil, err
	}
	return asPurchaseRefusal(y.p.accountRefusal(y.tx, y.account, act))
}

// act is what the purchase is to account and card: a return of balance brings money
// into the main account.
func (y *paying) act() (states.Act, error) {
	o, err := findMerchantOrder(y.tx, y.request.MerchantOrder)
	if err == nil && o != nil && o.unload {
		return actCreditIn, nil
	}
	return actPay, err
}

// asPurchaseRefusal turns the refusal of a state into that of a purchase.
func asPurchaseRefusal(found *refusal, err error) (*purchaseRefusal, error) {
	if err != nil || found == nil {
		return nil, err
	}
	return &purchaseRefusal{found.code, wallet.PurchaseStatement{Standing: found.state.Standing, RetryAfter: found.state.RetryAfter}}, nil
}

// checkService looks at what staff has closed or bound.
func (y *paying) checkService() (*purchaseRefusal, error) {
	code, err := y.p.moneyRefused(y.tx, y.account.phone, y.request.CompanionSN, y.c.sender.thumbprint)
	if err != nil || code == "" {
		return nil, err
	}
	return refusePurchase(code), nil
}

// checkCard: a card on the watch list may pay, a card that repeats its randoms may
// not, since the probe would not end its purchase session.
func (y *paying) checkCard() (found *purchaseRefusal, err error) {
	if y.card, err = findCard(y.tx, y.request.Card.ASN); err != nil {
		return nil, err
	}
	if found, err := asPurchaseRefusal(y.p.cardRefusal(y.tx, y.card, y.account.id, actPay)); err != nil || found != nil {
		return found, err
	}
	if _, known := profileNamed(y.request.Card.Profile); !known || y.card.typeRefused {
		return refusePurchase(api.CodeCardTypeRefused), nil
	}
	listed, err := y.p.listRefusal(y.tx, rules.UsePurchase, y.account.id, y.c.sender.device, y.card)
	if err != nil || listed == nil {
		return nil, err
	}
	return &purchaseRefusal{listed.code, wallet.PurchaseStatement{RetryAfter: listed.state.RetryAfter}}, nil
}

// checkOpen: a load that is not settled would hide a debit, and a second purchase
// would be taken for the first one's missing money.
func (y *paying) checkOpen() (*purchaseRefusal, error) {
	asn := y.card.asn.String()
	load, err := findOrder(y.tx, isOpen+` AND asn = ?`, asn)
	if err != nil {
		return nil, err
	}
	if load != nil {
		pending, err := openOrder(y.tx, load)
		return &purchaseRefusal{api.CodePendingLoad, wallet.PurchaseStatement{PendingLoad: &pending}}, err
	}
	other, err := findPurchase(y.tx, isOpenPurchase+` AND asn = ?`, asn)
	if err != nil || other == nil {
		return nil, err
	}
	pending := other.open()
	return &purchaseRefusal{api.CodePendingPurchase, wallet.PurchaseStatement{PendingOther: &pending}}, nil
}

// triesPerDay is how many purchases of one card may end in NOT_TAKEN on a business
// day. MAC2 covers no terminal and no time, and only 16 bits of the terminal serial
// keep an old one from fitting a new purchase: nobody may try them through.
const triesPerDay = 100

func (y *paying) checkTries() (*purchaseRefusal, error) {
	reset := nextDay(y.p.now())
	var tries int
	_, err := y.tx.row(`SELECT COUNT(*) FROM purchases WHERE asn = ? AND state = 'NOT_TAKEN' AND created >= ?`,
		[]any{y.card.asn.String(), reset.AddDate(0, 0, -1).UnixMilli()}, &tries)
	if err != nil || tries < triesPerDay {
		return nil, err
	}
	return &purchaseRefusal{api.CodeLimitCardCount, wallet.PurchaseStatement{LimitFen: triesPerDay, RetryAfter: &reset}}, nil
}

func (y *paying) checkOrder() (found *purchaseRefusal, err error) {
	if y.order, err = findMerchantOrder(y.tx, y.request.MerchantOrder); err != nil {
		return nil, err
	}
	o := y.order
	switch {
	case o == nil || o.state != wallet.PurchaseOffered || !y.p.now().Before(o.expires):
		return refusePurchase(api.CodeMerchantOrder), nil
	case o.unload && (o.user != y.account.id || o.asn != y.card.asn.String() || y.card.opening == nil):
		return refusePurchase(api.CodeMerchantOrder), nil
	case o.amount != y.request.Amount:
		return refusePurchase(api.CodeAmountDiffers), nil
	}
	return nil, nil
}

// checkAnswers looks at the raw conversation: the card that answered is the card
// that the person confirmed, over a number that is used once.
func (y *paying) checkAnswers() (*purchaseRefusal, error) {
	asn, answer, ok := readPurchaseOpen(&y.request.Open)
	if !ok || asn != y.card.asn || y.request.Open.Amount != y.request.Amount {
		return refusePurchase(api.CodeCardEvidence), nil
	}
	y.answer = answer
	code, err := y.p.takeLease(y.tx, y.c.sender.device, y.c.key, asn, y.request.Open.TID)
	if err != nil || code == "" {
		return nil, err
	}
	return refusePurchase(code), nil
}

// checkClaims compares what the card says of itself with the books. It proves
// nothing, but a card that claims more than it can hold is not asked to pay.
func (y *paying) checkClaims() (*purchaseRefusal, error) {
	switch {
	case y.answer.balance < y.request.Amount:
		return refusePurchase(api.CodeCardBalance), nil
	case y.answer.number == 0xFFFF:
		return refusePurchase(api.CodeCardCounter), nil
	case y.card.opening == nil:
		return nil, nil
	}
	shadow, err := shadowBalance(y.tx, y.card)
	if err != nil || y.answer.balance <= shadow {
		return nil, err
	}
	return refusePurchase(api.CodeCardState), nil
}

// checkNumber refuses an offline number that the card has used up: a MAC2 proves the
// number of its purchase, since the session key hangs on it, and the card counts
// every debit. An old session cannot be claimed again to make its MAC2 fit.
func (y *paying) checkNumber() (*purchaseRefusal, error) {
	var used sql.NullInt64
	_, err := y.tx.row(`SELECT MAX(number) FROM purchases WHERE asn = ? AND mac2_seen = 1 AND state IN ('PAID', 'REFUNDED')`,
		[]any{y.card.asn.String()}, &used)
	if err != nil || !used.Valid || int64(y.answer.number) > used.Int64 {
		return nil, err
	}
	return refusePurchase(api.CodeStaleCardState), nil
}

// authorise draws terminal serial and probe, and gives MAC1.
func (y *paying) authorise() (reply, error) {
	p, tx := y.p, y.tx
	id, err := p.newOrderID(tx)
	if err != nil {
		return reply{}, err
	}
	probe, err := p.newTID(tx, y.card.asn.String())
	if err != nil {
		return reply{}, err
	}
	b := &purchase{
		id: "P" + id, key: y.c.key, user: y.account.id, device: y.c.sender.device, asn: y.card.asn, profile: y.request.Card.Profile,
		merchantOrder: y.order.code, merchant: y.order.merchant, goods: y.order.goods, amount: y.order.amount, unload: y.order.unload,
		state: wallet.PurchaseAuthorised, claimed: y.answer.balance, probe: probe, probeEpoch: p.epoch, created: p.now(),
		unopened: y.card.opening == nil,
		debit: debitCommand{
			amount: y.order.amount, terminal: y.request.Open.TID, serial: binary.BigEndian.Uint32(p.draw(4)), number: y.answer.number,
			random: y.answer.random, at: p.now().Truncate(time.Second), // what the card writes has no fractions
		},
	}
	b.restoredOn(y.card)
	granted, err := p.grantPurchase(tx, b, y.request.Card.KeyIndex)
	if err != nil {
		return reply{}, err
	}
	if err := insertPurchase(tx, b); err != nil {
		return reply{}, err
	}
	if err := holdMerchantOrder(tx, y.order.code, wallet.PurchaseAuthorised, b.id); err != nil {
		return reply{}, err
	}
	if err := p.notePurchaseProbe(tx, b); err != nil {
		return reply{}, err
	}
	if err := p.audit(tx, b.user, "purchase-authorised", b.id, b.amount.Yuan()); err != nil {
		return reply{}, err
	}
	leases, err := p.moreLeases(tx, y.c.sender.device)
	if err != nil {
		return reply{}, err
	}
	return success(api.PurchaseAnswer{Grant: granted, Leases: leases})
}

// abandonPurchase closes a key that was never seen with a tombstone. A key that was
// seen tells its state.
func abandonPurchase(c *call) (reply, error) {
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	key := c.req.PathValue("id")
	var answer reply
	err := c.update(func(tx *Tx) error {
		b, err := findPurchase(tx, `key = ? AND user = ?`, key, c.sender.user)
		if err != nil {
			return err
		}
		if b != nil {
			answer, err = c.p.answerPurchase(b, c, "")
			return err
		}
		kept, err := c.p.stored(tx, c.sender.user, api.PathPurchases, key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer, err = c.p.repeatPurchaseRefusal(kept, c.key)
			return err
		}
		tombstone, err := c.p.declinePurchase(key, key, refusePurchase(api.CodeAbandoned))
		if err != nil {
			return err
		}
		if err := c.p.storeAnswer(tx, c.sender.user, api.PathPurchases, key, nil, tombstone); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.user, "purchase-abandoned", key, ""); err != nil {
			return err
		}
		// The answer names the question that it answers, which is this request's.
		answer, err = c.p.declinePurchase(key, c.key, refusePurchase(api.CodeAbandoned))
		answer.status = http.StatusOK
		return err
	})
	return answer, err
}

// repeatPurchaseRefusal signs a stored refusal anew for the question that asks now.
func (p *Platform) repeatPurchaseRefusal(kept *storedAnswer, request string) (reply, error) {
	var answer api.PurchaseAnswer
	if err := json.Unmarshal(kept.answer.body, &answer); err != nil || answer.State == nil {
		return failure(http.StatusConflict, api.CodeDeclined, refusalText(api.CodeDeclined)), err
	}
	var statement wallet.PurchaseStatement
	if err := json.Unmarshal(answer.State.Payload, &statement); err != nil {
		return reply{}, err
	}
	statement.Request = request
	return p.signedPurchase(http.StatusOK, statement)
}
