package mockplatform

import (
	"database/sql"
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
	probeSince            time.Time // when the live probe was drawn, in the order of touches and uploads of the card
	unopened              bool      // the books did not know the balance of the card when it was authorised
	restored              bool      // a restore may have lost loads of the card
	floor                 uint16    // the card's proven counter when the books were known to be whole: at the first restore, if any
	tac                   []byte    // once it has verified
	mac2Seen              bool
	probed                time.Time // zero: no balance was authenticated over the probe
	balance, unexplained  wallet.Fen
	wrongs                int
	created               time.Time
	receipt               []byte
}

const purchaseColumns = `id, key, user, device, asn, profile, merchant_order, merchant, goods, amount, unload, state, cause, evidence,
	terminal, terminal_serial, number, random, claimed, card_time, probe_tid, probe_epoch, unopened, restored, floor_seq, tac, mac2_seen,
	probed, balance, unexplained, wrongs, created, receipt, probe_since`

func scanPurchase(scan func(...any) error) (*purchase, error) {
	b := &purchase{}
	var asn, state, cause, terminal, probe string
	var random []byte
	var cardTime, probed, created, probeSince int64
	err := scan(&b.id, &b.key, &b.user, &b.device, &asn, &b.profile, &b.merchantOrder, &b.merchant, &b.goods, &b.amount, &b.unload,
		&state, &cause, &b.evidence, &terminal, &b.debit.serial, &b.debit.number, &random, &b.claimed, &cardTime, &probe,
		&b.probeEpoch, &b.unopened, &b.restored, &b.floor, &b.tac, &b.mac2Seen, &probed, &b.balance, &b.unexplained, &b.wrongs, &created, &b.receipt,
		&probeSince)
	if err != nil {
		return nil, err
	}
	b.state, b.cause = wallet.PurchaseStateName(state), rules.Cause(cause)
	b.debit.amount, b.debit.at, b.created = b.amount, time.UnixMilli(cardTime).UTC(), time.UnixMilli(created).UTC()
	if b.probeSince = b.created; probeSince > 0 {
		b.probeSince = time.UnixMilli(probeSince).UTC()
	}
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
	return somePurchases(tx, where, -1, args...)
}

// somePurchases lists no more than limit of them; -1: all.
func somePurchases(tx *Tx, where string, limit int, args ...any) (purchases []*purchase, err error) {
	query := `SELECT ` + purchaseColumns + ` FROM purchases WHERE ` + where + ` ORDER BY created DESC, id DESC`
	if limit >= 0 {
		query, args = query+` LIMIT ?`, append(args, limit)
	}
	err = tx.each(query, args, func(rows *sql.Rows) error {
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
	if b.probeSince.IsZero() {
		b.probeSince = b.created
	}
	return tx.exec(`INSERT INTO purchases (id, key, user, device, asn, profile, merchant_order, merchant, goods, amount, unload, state,
		terminal, terminal_serial, number, random, claimed, card_time, probe_tid, probe_epoch, unopened, restored, floor_seq, created,
		probe_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		b.id, b.key, b.user, b.device, b.asn.String(), b.profile, b.merchantOrder, b.merchant, b.goods, int64(b.amount), b.unload,
		string(b.state), b.debit.terminal.String(), b.debit.serial, b.debit.number, b.debit.random[:], int64(b.claimed),
		b.debit.at.UnixMilli(), b.probe.String(), b.probeEpoch, b.unopened, b.restored, b.floor, b.created.UnixMilli(),
		b.probeSince.UnixMilli())
}

// savePurchase writes what can change about a purchase. When it was finished stays, as
// what the order of touches and bookings of a card is told by.
func savePurchase(tx *Tx, b *purchase, finished time.Time) error {
	var end, probed int64
	if finalPurchase(b.state) {
		end = finished.UnixMilli()
	}
	if !b.probed.IsZero() {
		probed = b.probed.UnixMilli()
	}
	return tx.exec(`UPDATE purchases SET state = ?, cause = ?, evidence = ?, probe_tid = ?, probe_epoch = ?, unopened = ?, restored = ?, floor_seq = ?,
		tac = ?, mac2_seen = ?, probed = ?, balance = ?, unexplained = ?, wrongs = ?, receipt = ?,
		finished = CASE WHEN ? > 0 AND finished > 0 THEN finished ELSE ? END,
		probe_since = ? WHERE id = ?`,
		string(b.state), string(b.cause), b.evidence, b.probe.String(), b.probeEpoch, b.unopened, b.restored, b.floor, b.tac, b.mac2Seen, probed,
		int64(b.balance), int64(b.unexplained), b.wrongs, b.receipt, end, end, b.probeSince.UnixMilli(), b.id)
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

// presentPurchase is the signed statement about a purchase as it stands. Open ones
// carry what is needed to settle them. Who does not pay sees no balance of the payer.
func (p *Platform) presentPurchase(b *purchase, c *call) (wallet.PurchaseStatement, error) {
	statement := wallet.PurchaseStatement{
		Key: b.key, Purchase: b.id, Request: c.key, State: b.state, Debited: b.debited(), Delivered: b.state == wallet.PurchasePaid,
		Evidence: b.evidence,
	}
	switch b.state {
	case wallet.PurchaseDoubtful:
		ends := p.doubtEnds(b)
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

// probeFresh is how old a probe may be for its answer to be taken for one of now, where
// the clocks of shops decide what was before it. It is less than shopClock.
const probeFresh = nonceLife

// uploadWindow is how long shops may take to upload offline purchases.
const uploadWindow = 30 * 24 * time.Hour

// doubtEnds is when the sum rule decides about a purchase.
func (p *Platform) doubtEnds(b *purchase) time.Time {
	if b.probed.IsZero() {
		return p.windowCloses(b.created)
	}
	return p.windowCloses(b.probed)
}

func (p *Platform) answerPurchase(b *purchase, c *call, code string) (reply, error) {
	statement, err := p.presentPurchase(b, c)
	if err != nil {
		return reply{}, err
	}
	statement.Code, statement.Text = code, refusalText(code)
	return p.signedPurchase(statusOf(code), statement)
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
