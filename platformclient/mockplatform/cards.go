package mockplatform

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// The states of a card that the platform looks at by name (§2.15); package states has
// them all.
const (
	cardIssued  = string(states.Issued)
	cardActive  = string(states.Active)
	cardBlack   = string(states.Black)
	cardRecover = string(states.Recover)
)

const (
	leasesPerSession = 8
	leaseLife        = 24 * time.Hour
	wrongMAC1PerDay  = 5
)

// openScript is the cached conversation up to INITIALIZE FOR LOAD: SELECT the
// purse, READ BINARY SFI 15, INITIALIZE FOR LOAD (card dossier §1.6). The client
// fills the placeholders from the order that the person confirmed.
func openScript(profile cardProfile) wallet.Script {
	aid, _ := hex.DecodeString(profile.aid) // constants of this package
	return wallet.Script{
		Name: "load-open", Profile: profile.name, Version: 1,
		Steps: []wallet.Step{
			{APDU: "00A40400" + wallet.Hex{byte(len(aid))}.String() + profile.aid + "00"},
			{APDU: "00B095001E"},
			{APDU: "805000020B{key_idx}{amount}{tid}10", Once: true},
		},
	}
}

// purchaseScript is the same up to INITIALIZE FOR PURCHASE.
func purchaseScript(profile cardProfile) wallet.Script {
	script := openScript(profile)
	script.Name = "purchase-open"
	script.Steps[openStepInit] = wallet.Step{APDU: "805001020B{key_idx}{amount}{tid}0F", Once: true}
	return script
}

// signScripts signs what every session answer publishes. The scripts change only with
// the program, so that once for each start is enough.
func (p *Platform) signScripts() (signed []wallet.Signed, err error) {
	for _, profile := range cardProfiles {
		for _, script := range []wallet.Script{openScript(profile), purchaseScript(profile)} {
			one, err := p.sign(wallet.DomainScript, script)
			if err != nil {
				return nil, err
			}
			signed = append(signed, one)
		}
	}
	return signed, nil
}

// openStepASN and openStepInit are places in the answers to openScript.
const (
	openStepASN  = 1
	openStepInit = 2
)

// readOpen takes application serial and INITIALIZE FOR LOAD answer out of the raw
// conversation. SFI 15 has 28 to 34 bytes; the serial is bytes 11–20.
func readOpen(open *api.Open) (asn wallet.ASN, answer initAnswer, ok bool) {
	if asn, ok = readSerial(open); !ok {
		return asn, answer, false
	}
	answer, ok = parseInitAnswer(open.Steps[openStepInit])
	return asn, answer, ok
}

// readPurchaseOpen does the same for INITIALIZE FOR PURCHASE, whose answer nothing
// authenticates: it is what the card claims.
func readPurchaseOpen(open *api.Open) (asn wallet.ASN, answer purchaseAnswer, ok bool) {
	if asn, ok = readSerial(open); !ok {
		return asn, answer, false
	}
	answer, ok = parsePurchaseAnswer(open.Steps[openStepInit])
	return asn, answer, ok
}

func readSerial(open *api.Open) (asn wallet.ASN, ok bool) {
	if open == nil || len(open.Steps) != openStepInit+1 {
		return asn, false
	}
	info := open.Steps[openStepASN]
	if !accepted(info) || len(info.Data) < 28 || len(info.Data) > 34 {
		return asn, false
	}
	copy(asn[:], info.Data[10:20])
	return asn, true
}

// card is a row of cards.
type card struct {
	asn          wallet.ASN
	user, state  string
	grey         bool
	typeRefused  bool
	profile      string
	opening      *wallet.Fen
	floor        uint16
	restoredSeq  *uint16 // proven counter at the first restore; nil: there was none
	touchedEpoch int
	excess       wallet.Fen
	wrongDay     string
	wrongs       int
	named        bool // the issuer knows its holder
}

func findCard(tx *Tx, asn wallet.ASN) (*card, error) {
	k := &card{asn: asn}
	var opening sql.NullInt64
	found, err := tx.row(`SELECT user, state, grey, type_refused, profile, opening, floor_seq, restored_seq, touched_epoch, excess, wrong_day, wrongs, named
		FROM cards WHERE asn = ?`, []any{asn.String()}, &k.user, &k.state, &k.grey, &k.typeRefused, &k.profile, &opening, &k.floor,
		&k.restoredSeq, &k.touchedEpoch, &k.excess, &k.wrongDay, &k.wrongs, &k.named)
	if err != nil || !found {
		return nil, err
	}
	if opening.Valid {
		balance := wallet.Fen(opening.Int64)
		k.opening = &balance
	}
	return k, nil
}

func saveCard(tx *Tx, k *card) error {
	var opening any
	if k.opening != nil {
		opening = int64(*k.opening)
	}
	return tx.exec(`INSERT INTO cards (asn, user, state, grey, type_refused, profile, opening, floor_seq, touched_epoch, excess, wrong_day, wrongs)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (asn) DO UPDATE SET user = excluded.user, state = excluded.state,
		grey = excluded.grey, type_refused = excluded.type_refused, profile = excluded.profile, opening = excluded.opening,
		floor_seq = excluded.floor_seq, touched_epoch = excluded.touched_epoch, excess = excluded.excess,
		wrong_day = excluded.wrong_day, wrongs = excluded.wrongs`,
		k.asn.String(), k.user, k.state, k.grey, k.typeRefused, k.profile, opening, k.floor, k.touchedEpoch, int64(k.excess), k.wrongDay, k.wrongs)
}

// countWrongMAC1 counts; the fifth of a day makes the card GREY: no loads until
// staff or 30 clean days clear it, evidence as ever. Each further one begins the clean
// days anew.
func (p *Platform) countWrongMAC1(tx *Tx, k *card) error {
	if today := businessDay(p.now()); k.wrongDay != today {
		k.wrongDay, k.wrongs = today, 0
	}
	k.wrongs++
	if k.wrongs < wrongMAC1PerDay {
		return saveCard(tx, k)
	}
	if !k.grey && k.state != cardBlack {
		if err := p.alarm(tx, "CARD_GREY", k.asn.Masked()); err != nil {
			return err
		}
	}
	_, _, err := p.meetCard(tx, k, rules.ListWrongMACs, "platform", "")
	return err
}

// seen notes what a verified MAC1 proves: the counter, which becomes the floor, and
// the random. It reports a random that this card showed before under the same
// counter in another answer: its old MAC2 can live again.
func (p *Platform) seen(tx *Tx, k *card, sent loadCommand, answer initAnswer) (repeated bool, err error) {
	digest := sha256.New()
	digest.Write(sent.tid[:])
	digest.Write([]byte(sent.amount.Yuan()))
	digest.Write(answer.mac1[:])
	sum := digest.Sum(nil)
	var kept []byte
	known, err := tx.row(`SELECT answer FROM card_randoms WHERE asn = ? AND seq = ? AND random = ?`,
		[]any{k.asn.String(), answer.seq, answer.random[:]}, &kept)
	if err != nil {
		return false, err
	}
	if !known {
		err = tx.exec(`INSERT INTO card_randoms (asn, seq, random, answer) VALUES (?, ?, ?, ?)`, k.asn.String(), answer.seq, answer.random[:], sum)
	}
	repeated = known && string(kept) != string(sum)
	k.floor = max(k.floor, answer.seq)
	if repeated && !p.config.Rules.AllowRepeatedRandom {
		k.typeRefused = true
		if err == nil {
			err = p.alarm(tx, "RANDOM_REPEATED", k.asn.Masked())
		}
	}
	return repeated, err
}

// shadowBalance is what the books say is on a card at most: opening balance plus
// posted loads minus known purchases (purchases in shops that are not uploaded yet
// only lower it).
func shadowBalance(tx *Tx, k *card) (wallet.Fen, error) {
	if k.opening == nil {
		return 0, nil
	}
	loaded, err := loadedOn(tx, k.asn)
	if err != nil {
		return 0, err
	}
	purchased, err := purchasedOn(tx, k.asn)
	if err != nil {
		return 0, err
	}
	moved, err := movedOff(tx, k.asn)
	return *k.opening + loaded - purchased - moved, err
}

// purchasedOn is what is known to have left a card: purchases whose debit was
// proven, and uploads.
func purchasedOn(tx *Tx, asn wallet.ASN) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT COALESCE((SELECT SUM(amount) FROM purchases WHERE asn = ? AND state IN ('PAID', 'REFUNDED')), 0)
		+ COALESCE((SELECT SUM(amount) FROM uploads WHERE asn = ?), 0)`, []any{asn.String(), asn.String()}, &sum)
	return wallet.Fen(sum), err
}

func loadedOn(tx *Tx, asn wallet.ASN) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM orders WHERE asn = ? AND state = 'LOADED'`, []any{asn.String()}, &sum)
	return wallet.Fen(sum), err
}

// compareShadow checks an authenticated balance against the books; unposted is what
// an open order may have added. The first balance ever seen becomes the opening
// balance. More than the books explain is BLACK, or RECOVER where a restore has
// lost commits since this card's last touch (§2.7.1), or has lost loads that did not
// show then, because lost purchases hid them.
func (p *Platform) compareShadow(tx *Tx, k *card, authenticated, unposted wallet.Fen, since time.Time) error {
	if k.opening == nil {
		purchased, err := purchasedOn(tx, k.asn)
		if err != nil {
			return err
		}
		opening := max(authenticated-unposted, 0) + purchased
		if err := p.openBalance(tx, k, opening); err != nil {
			return err
		}
	}
	shadow, err := shadowBalance(tx, k)
	if err != nil {
		return err
	}
	excess := authenticated - shadow - unposted
	if excess <= 0 {
		if k.state == cardRecover {
			k.excess = 0
			if err := p.moveCard(tx, k, states.BooksExplained); err != nil {
				return err
			}
		}
		k.touchedEpoch = p.epoch
		return nil
	}
	later, err := bookedSince(tx, k.asn, since)
	if err != nil || excess <= later {
		return err
	}
	k.excess = excess
	recovering := k.touchedEpoch < p.epoch && p.epoch > 1
	if !recovering {
		if recovering, err = loadsMissing(tx, k); err != nil {
			return err
		}
	}
	if recovering {
		if err := p.moveCard(tx, k, states.BooksShort); err != nil {
			return err
		}
		return p.alarm(tx, "CARD_RECOVER", k.asn.Masked())
	}
	if _, _, err := p.meetCard(tx, k, rules.ListValueCreated, "platform", ""); err != nil {
		return err
	}
	return p.alarm(tx, "VALUE_CREATED", k.asn.Masked())
}

// bookedSince is what the books heard that a card paid from a moment on.
func bookedSince(tx *Tx, asn wallet.ASN, since time.Time) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT COALESCE((SELECT SUM(amount) FROM purchases WHERE asn = ?1 AND state IN ('PAID', 'REFUNDED') AND finished >= ?2), 0)
		+ COALESCE((SELECT SUM(amount) FROM uploads WHERE asn = ?1 AND received >= ?2), 0)`, []any{asn.String(), since.UnixMilli()}, &sum)
	return wallet.Fen(sum), err
}

// answered is how far back the answer in a request of now may have been given: it came
// with a nonce.
func (p *Platform) answered() time.Time { return p.now().Add(-nonceLife) }

// loadsMissing tells of a card whose books were restored that its counter has moved by
// more than the loads that the books know: the others were lost and may come back.
func loadsMissing(tx *Tx, k *card) (bool, error) {
	if k.restoredSeq == nil {
		return false, nil
	}
	loads, err := loadsSince(tx, k.asn, *k.restoredSeq)
	return int(k.floor) > int(*k.restoredSeq)+loads, err
}

// loadsSince counts the loads in the books that moved a card's counter from seq on.
func loadsSince(tx *Tx, asn wallet.ASN, seq uint16) (loads int, err error) {
	_, err = tx.row(`SELECT COUNT(*) FROM orders o WHERE o.asn = ? AND o.state = 'LOADED'
		AND (SELECT MAX(a.seq) FROM attempts a WHERE a.order_id = o.id) >= ?`, []any{asn.String(), seq}, &loads)
	return loads, err
}

// openBalance enters the balance with which a card becomes known.
func (p *Platform) openBalance(tx *Tx, k *card, opening wallet.Fen) error {
	k.opening = &opening
	if opening == 0 {
		return nil
	}
	return p.post(tx, transfer{kind: "opening", legs: []leg{{accountOpening, -opening}, {accountPurseFloat, opening}}})
}

// newLeases gives a device terminal numbers for one use.
func (p *Platform) newLeases(tx *Tx, device string, count int) ([]wallet.Signed, error) {
	var signed []wallet.Signed
	for range count {
		tid, err := p.newTID(tx, "")
		if err != nil {
			return nil, err
		}
		lease := wallet.Lease{TID: tid, Device: device, Epoch: p.epoch, Expires: p.now().Add(leaseLife)}
		one, err := p.sign(wallet.DomainLease, lease)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		if err := tx.exec(`INSERT INTO leases (tid, device, epoch, expires, signed) VALUES (?, ?, ?, ?, ?)`,
			tid.String(), device, p.epoch, lease.Expires.UnixMilli(), raw); err != nil {
			return nil, err
		}
		signed = append(signed, one)
	}
	return signed, nil
}

// moreLeases refills the stock of a device that runs low.
func (p *Platform) moreLeases(tx *Tx, device string) ([]wallet.Signed, error) {
	var left int
	_, err := tx.row(`SELECT COUNT(*) FROM leases WHERE device = ? AND epoch = ? AND expires > ? AND used_by = ''`,
		[]any{device, p.epoch, p.now().UnixMilli()}, &left)
	if err != nil || left >= leasesPerSession/2 {
		return nil, err
	}
	return p.newLeases(tx, device, leasesPerSession-left)
}

// takeLease uses a leased number up for a card and a request. The code says why not.
func (p *Platform) takeLease(tx *Tx, device, key string, asn wallet.ASN, tid wallet.TerminalNumber) (code string, err error) {
	var owner, usedBy string
	var leasedIn int
	var expires int64
	known, err := tx.row(`SELECT device, epoch, expires, used_by FROM leases WHERE tid = ?`, []any{tid.String()}, &owner, &leasedIn, &expires, &usedBy)
	switch {
	case err != nil:
		return "", err
	case !known || owner != device || leasedIn != p.epoch || p.now().UnixMilli() >= expires:
		return api.CodeLeaseInvalid, nil
	case usedBy != "":
		return api.CodeTIDUsed, nil
	}
	if err := tx.exec(`UPDATE leases SET used_by = ? WHERE tid = ?`, key, tid.String()); err != nil {
		return "", err
	}
	return "", tx.exec(`INSERT INTO card_tids (asn, tid, subject) VALUES (?, ?, ?)`, asn.String(), tid.String(), "lease "+key)
}

func cardsOf(tx *Tx, user string) ([]api.Card, error) {
	cards := []api.Card{}
	err := tx.each(`SELECT c.asn, c.state, c.profile, c.named, COALESCE((SELECT o.id FROM orders o WHERE o.asn = c.asn AND o.`+isOpen+`), ''),
		COALESCE(l.label, ''), COALESCE(l.since, 0), COALESCE(l.until, 0), COALESCE(l.written, 0)
		FROM cards c LEFT JOIN card_life l ON l.asn = c.asn WHERE c.user = ? ORDER BY c.asn`, []any{user}, func(rows *sql.Rows) error {
		var one api.Card
		var asn string
		var life cardLife
		var since, until, written int64
		if err := rows.Scan(&asn, &one.State, &one.Profile, &one.Named, &one.OpenOrder, &life.label, &since, &until, &written); err != nil {
			return err
		}
		life.since, life.until, life.written = momentOf(since), momentOf(until), momentOf(written)
		var err error
		one.ASN, err = wallet.ParseASN(asn)
		life.show(&one)
		cards = append(cards, one)
		return err
	})
	return cards, err
}

func listCards(c *call) (reply, error) {
	var cards []api.Card
	err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { cards, err = cardsOf(tx, c.sender.user); return err })
	if err != nil {
		return reply{}, err
	}
	return success(cards)
}

// listPending tells the open orders of a card, whoever pays them: the card's holder
// may settle them, and learns nothing else about the payer.
func listPending(c *call) (reply, error) {
	asn, err := wallet.ParseASN(c.req.PathValue("asn"))
	if err != nil {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the application serial has another form"), nil
	}
	var pending api.PendingAnswer
	err = c.p.store.View(c.ctx, func(tx *Tx) (err error) {
		pending.Orders, err = openOrders(tx, `asn = ?`, asn.String())
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return success(pending)
}

// addCard adds the card that proves its presence with a MAC1 over a leased number.
func addCard(c *call) (reply, error) {
	var request api.CardRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	core := sha256.Sum256(append(request.ASN[:], request.Profile...))
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, c.sender.user, api.PathCards, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(core[:])
			return nil
		}
		if answer, err = c.p.addCard(tx, c, request); err != nil || answer.status != http.StatusOK {
			return err
		}
		return c.p.storeAnswer(tx, c.sender.user, api.PathCards, c.key, core[:], answer)
	})
	return answer, err
}

func firstOf(refusals ...*reply) *reply {
	for _, refusal := range refusals {
		if refusal != nil {
			return refusal
		}
	}
	return nil
}

func (p *Platform) addCard(tx *Tx, c *call, request api.CardRequest) (reply, error) {
	if _, known := profileNamed(request.Profile); !known {
		return failure(http.StatusForbidden, api.CodeCardTypeRefused, refusalText(api.CodeCardTypeRefused)), nil
	}
	if refusal, err := c.needAccount(tx, actLoad); err != nil || refusal != nil {
		return deref(refusal), err
	}
	k, err := findCard(tx, request.ASN)
	if err != nil {
		return reply{}, err
	}
	if k == nil {
		k = &card{asn: request.ASN, state: cardIssued, touchedEpoch: p.epoch}
	}
	if k.user != "" && k.user != c.sender.user {
		return standingFailure(api.CodeCardState, standingForeign, nil), nil
	}
	asn, answer, ok := readOpen(&request.Open)
	if !ok || asn != request.ASN || request.Open.Amount < 0 || request.Open.Amount > maxCardFen {
		return failure(http.StatusForbidden, api.CodeCardEvidence, "the card's answers do not fit the card"), nil
	}
	if code, err := p.takeLease(tx, c.sender.device, c.key, asn, request.Open.TID); err != nil || code != "" {
		return failure(http.StatusConflict, code, refusalText(code)), err
	}
	sent := loadCommand{request.Open.Amount, request.Open.TID}
	good, err := p.hsm.verifyMAC1(tx, asn, sent, answer)
	if err != nil {
		return reply{}, err
	}
	if !good {
		if k.user != "" {
			err = p.countWrongMAC1(tx, k)
		}
		return failure(http.StatusForbidden, api.CodeCardEvidence, refusalText(api.CodeCardEvidence)), err
	}
	if _, err := p.seen(tx, k, sent, answer); err != nil {
		return reply{}, err
	}
	if open, err := openOrders(tx, `asn = ?`, asn.String()); err != nil {
		return reply{}, err
	} else if len(open) == 0 {
		if err := p.compareShadow(tx, k, answer.balance, 0, p.answered()); err != nil {
			return reply{}, err
		}
	}
	k.user, k.profile = c.sender.user, request.Profile
	if refusal, err := c.changeCard(tx, k, states.CardAdded); err != nil || refusal != nil {
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
}
