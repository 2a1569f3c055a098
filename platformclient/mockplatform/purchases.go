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
	"walletcompanion/wallet"
)

// purchase is a row of purchases: one DEBIT FOR PURCHASE that was authorised.
type purchase struct {
	id, key, user, device string
	asn                   wallet.ASN
	profile               string
	merchantOrder         string
	merchant, goods       string
	amount                wallet.Fen
	unload                bool
	state                 wallet.PurchaseStateName
	cause                 rules.Cause
	evidence              string
	debit                 debitCommand
	claimed               wallet.Fen // balance as INITIALIZE FOR PURCHASE claimed it
	probe                 wallet.TerminalNumber
	probeEpoch            int
	unopened              bool   // the books did not know the balance of the card when it was authorised
	restored              bool   // a restore may have lost loads of the card
	floor                 uint16 // the card's proven counter when the books were known to be whole: at the first restore, if any
	tac                   []byte // once it has verified
	mac2Seen              bool
	probed                time.Time // zero: no balance was authenticated over the probe
	balance, unexplained  wallet.Fen
	wrongs                int
	created               time.Time
	receipt               []byte
}

const purchaseColumns = `id, key, user, device, asn, profile, merchant_order, merchant, goods, amount, unload, state, cause, evidence,
	terminal, terminal_serial, number, random, claimed, card_time, probe_tid, probe_epoch, unopened, restored, floor_seq, tac, mac2_seen,
	probed, balance, unexplained, wrongs, created, receipt`

func scanPurchase(scan func(...any) error) (*purchase, error) {
	b := &purchase{}
	var asn, state, cause, terminal, probe string
	var random []byte
	var cardTime, probed, created int64
	err := scan(&b.id, &b.key, &b.user, &b.device, &asn, &b.profile, &b.merchantOrder, &b.merchant, &b.goods, &b.amount, &b.unload,
		&state, &cause, &b.evidence, &terminal, &b.debit.serial, &b.debit.number, &random, &b.claimed, &cardTime, &probe,
		&b.probeEpoch, &b.unopened, &b.restored, &b.floor, &b.tac, &b.mac2Seen, &probed, &b.balance, &b.unexplained, &b.wrongs, &created, &b.receipt)
	if err != nil {
		return nil, err
	}
	b.state, b.cause = wallet.PurchaseStateName(state), rules.Cause(cause)
	b.debit.amount, b.debit.at, b.created = b.amount, time.UnixMilli(cardTime).UTC(), time.UnixMilli(created).UTC()
	if probed > 0 {
		b.probed = time.UnixMilli(probed).UTC()
	}
	copy(b.debit.random[:], random)
	if b.asn, err = wallet.ParseASN(asn); err != nil {
		return nil, err
	}
	if b.debit.terminal, err = wallet.ParseTerminalNumber(terminal); err != nil {
		return nil, err
	}
	b.probe, err = wallet.ParseTerminalNumber(probe)
	return b, err
}

// findPurchases lists the purchases that fit a condition, newest first.
func findPurchases(tx *Tx, where string, args ...any) (purchases []*purchase, err error) {
	err = tx.each(`SELECT `+purchaseColumns+` FROM purchases WHERE `+where+` ORDER BY created DESC, id DESC`, args, func(rows *sql.Rows) error {
		b, err := scanPurchase(rows.Scan)
		purchases = append(purchases, b)
		return err
	})
	return purchases, err
}

// findPurchase finds one purchase, or nil.
func findPurchase(tx *Tx, where string, args ...any) (*purchase, error) {
	purchases, err := findPurchases(tx, where, args...)
	if err != nil || len(purchases) == 0 {
		return nil, err
	}
	return purchases[0], nil
}

func insertPurchase(tx *Tx, b *purchase) error {
	return tx.exec(`INSERT INTO purchases (id, key, user, device, asn, profile, merchant_order, merchant, goods, amount, unload, state,
		terminal, terminal_serial, number, random, claimed, card_time, probe_tid, probe_epoch, unopened, restored, floor_seq, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		b.id, b.key, b.user, b.device, b.asn.String(), b.profile, b.merchantOrder, b.merchant, b.goods, int64(b.amount), b.unload,
		string(b.state), b.debit.terminal.String(), b.debit.serial, b.debit.number, b.debit.random[:], int64(b.claimed),
		b.debit.at.UnixMilli(), b.probe.String(), b.probeEpoch, b.unopened, b.restored, b.floor, b.created.UnixMilli())
}

// savePurchase writes what can change about a purchase.
func savePurchase(tx *Tx, b *purchase, finished time.Time) error {
	var end, probed int64
	if finalPurchase(b.state) {
		end = finished.UnixMilli()
	}
	if !b.probed.IsZero() {
		probed = b.probed.UnixMilli()
	}
	return tx.exec(`UPDATE purchases SET state = ?, cause = ?, evidence = ?, probe_tid = ?, probe_epoch = ?, unopened = ?, restored = ?, floor_seq = ?,
		tac = ?, mac2_seen = ?, probed = ?, balance = ?, unexplained = ?, wrongs = ?, receipt = ?, finished = ? WHERE id = ?`,
		string(b.state), string(b.cause), b.evidence, b.probe.String(), b.probeEpoch, b.unopened, b.restored, b.floor, b.tac, b.mac2Seen, probed,
		int64(b.balance), int64(b.unexplained), b.wrongs, b.receipt, end, b.id)
}

func finalPurchase(state wallet.PurchaseStateName) bool {
	return state == wallet.PurchasePaid || state == wallet.PurchaseRefunded || state == wallet.PurchaseNotTaken
}

// isOpenPurchase is a purchase whose card must speak before it pays anything else.
const isOpenPurchase = `state IN ('AUTHORISED', 'DOUBTFUL', 'SUSPENSE')`

// openPurchases tells what a client needs to settle purchases that are not final.
func openPurchases(tx *Tx, where string, args ...any) ([]wallet.OpenPurchase, error) {
	purchases, err := findPurchases(tx, isOpenPurchase+` AND `+where, args...)
	open := []wallet.OpenPurchase{}
	for _, b := range purchases {
		open = append(open, b.open())
	}
	return open, err
}

func (b *purchase) open() wallet.OpenPurchase {
	return wallet.OpenPurchase{
		Purchase: b.id, ASN: b.asn, Amount: b.amount, Number: b.debit.number, Type: typePurchase, ProbeTID: b.probe,
		Epoch: b.probeEpoch, State: b.state, Merchant: b.merchant, Goods: b.goods,
	}
}

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

// signedPurchase is a PurchaseAnswer that holds one signed statement.
func (p *Platform) signedPurchase(status int, statement wallet.PurchaseStatement) (reply, error) {
	statement.Issued = p.now()
	domain := wallet.DomainPurchaseState
	if statement.ReceiptBody != nil {
		domain = wallet.DomainPurchaseReceipt
	}
	signed, err := p.sign(domain, statement)
	if err != nil {
		return reply{}, err
	}
	return encoded(status, api.PurchaseAnswer{State: &signed})
}

// check runs the checks in their order; the first refusal ends them.
func (y *paying) check() (*purchaseRefusal, error) {
	for _, step := range []func() (*purchaseRefusal, error){
		y.checkAccount, y.checkCard, y.checkOpen, y.checkTries, y.checkOrder, y.checkAnswers, y.checkClaims, y.checkNumber,
	} {
		if found, err := step(); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func (y *paying) checkAccount() (found *purchaseRefusal, err error) {
	y.account, err = findAccount(y.tx, "user", y.c.sender.user)
	if err == nil && (y.account == nil || y.account.state != accountNormal) {
		found = refusePurchase(api.CodeAccountState)
	}
	return found, err
}

// checkCard: a card on the watch list may pay, a card that repeats its randoms may
// not, since the probe would not end its purchase session.
func (y *paying) checkCard() (found *purchaseRefusal, err error) {
	if y.card, err = findCard(y.tx, y.request.Card.ASN); err != nil {
		return nil, err
	}
	if y.card == nil || y.card.user != y.account.id || y.card.state != cardActive {
		return refusePurchase(api.CodeCardState), nil
	}
	if _, known := profileNamed(y.request.Card.Profile); !known || y.card.typeRefused {
		return refusePurchase(api.CodeCardTypeRefused), nil
	}
	return nil, nil
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

// grantPurchase computes MAC1 for this very card session and signs the grant.
func (p *Platform) grantPurchase(tx *Tx, b *purchase, keyIndex byte) (*wallet.PurchaseGrantedScript, error) {
	mac1, err := p.hsm.purchaseMAC1(tx, b.asn, b.debit)
	if err != nil {
		return nil, err
	}
	script, err := json.Marshal(debitScript(b, keyIndex, mac1))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(script)
	signed, err := p.sign(wallet.DomainPurchaseGrant, wallet.PurchaseGrant{
		Purchase: b.id, User: b.user, Key: b.key, ASN: b.asn, Amount: b.amount, MerchantOrder: b.merchantOrder, Merchant: b.merchant,
		Goods: b.goods, Terminal: b.debit.terminal, TerminalSerial: b.debit.serial, Number: b.debit.number, Random: b.debit.random[:],
		Balance: b.claimed, ProbeTID: b.probe, Epoch: p.epoch, Issued: b.debit.at, NotAfterS: grantUsable, ScriptSHA256: sum[:], Unload: b.unload,
	})
	if err != nil {
		return nil, err
	}
	return &wallet.PurchaseGrantedScript{Grant: signed, Script: script}, nil
}

// debitScript is DEBIT FOR PURCHASE `80 54 01 00 0F terminal serial 4 date 4 time 3
// MAC1 4 08`, then GET BALANCE and the newest log record (card dossier §1.6). A
// return of balance ends with INITIALIZE FOR LOAD over the probe, whose MAC1 shows
// the lower balance.
func debitScript(b *purchase, keyIndex byte, mac1 [4]byte) []wallet.Step {
	serial := binary.BigEndian.AppendUint32(nil, b.debit.serial)
	steps := []wallet.Step{
		{
			APDU:   "805401000F" + wallet.Hex(serial).String() + b.debit.at.In(shanghai).Format("20060102150405") + wallet.Hex(mac1[:]).String() + "08",
			Expect: []string{"9000"}, Once: true,
		},
		{APDU: "805C000204", OnError: "continue"},
		{APDU: "00B201C417", OnError: "continue"},
	}
	if b.unload {
		steps = append(steps, wallet.Step{APDU: "805000020B" + wallet.Hex{keyIndex}.String() + "00000001" + b.probe.String() + "10", OnError: "continue", Once: true})
	}
	return steps
}

// notePurchaseProbe takes the probe's number out of circulation for this card.
func (p *Platform) notePurchaseProbe(tx *Tx, b *purchase) error {
	return tx.exec(`INSERT INTO card_tids (asn, tid, subject) VALUES (?, ?, ?)`, b.asn.String(), b.probe.String(), "probe "+b.id)
}

// presentPurchase is the signed statement about a purchase as it stands. Open ones
// carry what is needed to settle them. Who does not pay sees no balance of the payer.
func (p *Platform) presentPurchase(b *purchase, c *call) (wallet.PurchaseStatement, error) {
	statement := wallet.PurchaseStatement{
		Key: b.key, Purchase: b.id, Request: c.key, State: b.state, Debited: b.debited(), Delivered: b.state == wallet.PurchasePaid,
		Evidence: b.evidence,
	}
	switch b.state {
	case wallet.PurchaseDoubtful:
		ends := b.doubtEnds()
		statement.DoubtEnds = &ends
		fallthrough
	case wallet.PurchaseAuthorised, wallet.PurchaseSuspense:
		open := b.open()
		statement.Authorised = &open
	}
	if len(b.receipt) > 0 {
		statement.ReceiptBody = &wallet.PurchaseReceipt{}
		if err := json.Unmarshal(b.receipt, statement.ReceiptBody); err != nil {
			return statement, err
		}
		if c.sender.user != b.user {
			statement.ReceiptBody.MainBalance = nil
		}
	}
	return statement, nil
}

// debited is what is known of the card; nil while nobody knows.
func (b *purchase) debited() *bool {
	var known bool
	switch b.state {
	case wallet.PurchasePaid, wallet.PurchaseRefunded:
		known = true
	case wallet.PurchaseNotTaken:
	default:
		return nil
	}
	return &known
}

// shopClock is how far the clock of a shop's terminal may be from ours.
const shopClock = 15 * time.Minute

// uploadWindow is how long shops may take to upload offline purchases.
const uploadWindow = 30 * 24 * time.Hour

func (b *purchase) doubtEnds() time.Time {
	if b.probed.IsZero() {
		return b.created.Add(uploadWindow)
	}
	return b.probed.Add(uploadWindow)
}

func (p *Platform) answerPurchase(b *purchase, c *call, code string) (reply, error) {
	statement, err := p.presentPurchase(b, c)
	if err != nil {
		return reply{}, err
	}
	statement.Code, statement.Text = code, refusalText(code)
	return p.signedPurchase(statusOf(code), statement)
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

func showPurchase(c *call) (answer reply, err error) {
	id := c.req.PathValue("id")
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		b, err := findPurchase(tx, `(id = ? OR (key = ? AND user = ?)) AND (user = ? OR asn IN (SELECT asn FROM cards WHERE user = ?))`,
			id, id, c.sender.user, c.sender.user, c.sender.user)
		if err != nil {
			return err
		}
		if b != nil {
			answer, err = c.p.answerPurchase(b, c, "")
			return err
		}
		answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such purchase")
		return nil
	})
	return answer, err
}

func listPurchases(c *call) (reply, error) {
	list := api.Purchases{Purchases: []api.Purchase{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		purchases, err := findPurchases(tx, `user = ?`, c.sender.user)
		if err != nil {
			return err
		}
		for _, b := range purchases {
			line, err := c.p.purchaseLine(b, c)
			if err != nil {
				return err
			}
			list.Purchases = append(list.Purchases, line)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

func (p *Platform) purchaseLine(b *purchase, c *call) (api.Purchase, error) {
	statement, err := p.presentPurchase(b, c)
	return api.Purchase{
		Purchase: b.id, Key: b.key, State: b.state, ASN: b.asn, Amount: b.amount, Merchant: b.merchant, Goods: b.goods,
		Created: b.created.Format(time.RFC3339Nano), Debited: statement.Debited, Delivered: statement.Delivered,
		ReceiptBody: statement.ReceiptBody, Open: statement.Authorised,
	}, err
}

// listPendingPurchases tells the open purchases of a card, whoever pays them.
func listPendingPurchases(c *call) (reply, error) {
	asn, err := wallet.ParseASN(c.req.PathValue("asn"))
	if err != nil {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the application serial has another form"), nil
	}
	var pending api.PendingPurchases
	err = c.p.store.View(c.ctx, func(tx *Tx) (err error) {
		pending.Purchases, err = openPurchases(tx, `asn = ?`, asn.String())
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(pending)
}
