package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// Seed makes a ready user with the demo credentials of the platform's profile: main
// account brought up to balance, cards (of this platform's masters) in the account.
// A user who exists keeps what he has. It works while another process serves.
func (p *Platform) Seed(ctx context.Context, phone string, balanceFen wallet.Fen, cards []wallet.ASN, companion string) error {
	if !p.secrets.Demo {
		return ErrNotDemo
	}
	if phone == "" || balanceFen < 0 {
		return errors.New("a user needs a phone number and a balance of 0 or more")
	}
	salt := p.draw(16)
	hash := p.hashPassword(p.secrets.Credentials.LoginPassword, salt)
	return p.store.Update(ctx, func(tx *Tx) error {
		user, err := p.seedUser(tx, phone, companion, salt, hash)
		if err != nil {
			return err
		}
		has, err := balance(tx, mainAccount(user))
		if err != nil {
			return err
		}
		if more := balanceFen - has; more > 0 {
			if err := p.post(tx, transfer{kind: "cash-in", legs: []leg{{accountCashIn, -more}, {mainAccount(user), more}}}); err != nil {
				return err
			}
		}
		for _, asn := range cards {
			if err := p.giveCard(tx, user, asn, profilePBOC); err != nil {
				return err
			}
		}
		return p.audit(tx, "admin", "seed", user, balanceFen.Yuan())
	})
}

func (p *Platform) seedUser(tx *Tx, phone, companion string, salt, hash []byte) (string, error) {
	existing, err := findAccount(tx, "phone", phone)
	if err != nil {
		return "", err
	}
	if existing != nil && existing.state == string(states.Closed) {
		if _, err := freePhone(tx, phone); err != nil {
			return "", err
		}
		existing = nil // somebody new under an old number
	}
	if existing != nil {
		if companion == "" {
			return existing.id, nil
		}
		return existing.id, p.seedCompanion(tx, phone, companion)
	}
	if companion != "" {
		if err := p.seedCompanion(tx, phone, companion); err != nil {
			return "", err
		}
	}
	user, paySalt := p.newID("U"), p.draw(16)
	return user, tx.exec(`INSERT INTO users (user, phone, state, tier, companion, login_salt, login_hash, pay_salt, pay_mac, created, seeded)
		VALUES (?, ?, ?, 'demo', ?, ?, ?, ?, ?, ?, 1)`, user, phone, accountNormal, companion, salt, hash, paySalt,
		p.peppered("payment", paySalt, p.secrets.Credentials.PaymentPassword), p.now().UnixMilli())
}

// seedCompanion registers a companion as staff would.
func (p *Platform) seedCompanion(tx *Tx, phone, serial string) error {
	return tx.exec(`INSERT INTO companions (serial, phone, state, changed) VALUES (?, ?, ?, ?)
		ON CONFLICT (serial) DO UPDATE SET phone = excluded.phone, state = excluded.state, changed = excluded.changed`,
		serial, phone, companionRegistered, p.now().UnixMilli())
}

// giveCard makes a user the owner of a card that nobody else owns.
func (p *Platform) giveCard(tx *Tx, user string, asn wallet.ASN, profile string) error {
	k, err := findCard(tx, asn)
	if err != nil {
		return err
	}
	if k == nil {
		k = &card{asn: asn, profile: profile, touchedEpoch: p.epoch}
	}
	if k.user != "" && k.user != user {
		return fmt.Errorf("card %s belongs to another account", asn.Masked())
	}
	k.user = user
	if k.state == "" || k.state == cardIssued {
		k.state = cardActive
	}
	if k.profile == "" {
		k.profile = profile
	}
	return saveCard(tx, k)
}

// IssueCard personalises a card: it writes down that the card exists and lets the
// card-level keys out of the security module, which only a demo platform does.
func (p *Platform) IssueCard(ctx context.Context, asn wallet.ASN) (CardKeys, error) {
	keys, err := p.hsm.export(asn, cardProfiles[0].aid)
	if err != nil {
		return CardKeys{}, err
	}
	return keys, p.store.Update(ctx, func(tx *Tx) error {
		k, err := findCard(tx, asn)
		if err != nil {
			return err
		}
		if k == nil {
			k = &card{asn: asn, state: cardIssued, profile: profilePBOC, touchedEpoch: p.epoch}
			if err := saveCard(tx, k); err != nil {
				return err
			}
		}
		return p.audit(tx, "admin", "issue-card", asn.Masked(), "")
	})
}

// AdoptCard takes an unknown virtual card into a demo: its keys go into the security
// module, sealed at rest, its balance into the books as opening balance, and the
// user, named by identifier or phone, becomes its owner. A card that is known keeps
// its opening balance: what it holds is a matter of evidence then.
func (p *Platform) AdoptCard(ctx context.Context, userOrPhone string, asn wallet.ASN, keys CardKeys, balanceFen wallet.Fen, profile string) error {
	if !p.secrets.Demo {
		return ErrNotDemo
	}
	if _, known := profileNamed(profile); !known {
		return fmt.Errorf("the card profile %q is not one that this platform loads", profile)
	}
	return p.store.Update(ctx, func(tx *Tx) error {
		user, err := findAccount(tx, "user", userOrPhone)
		if err == nil && user == nil {
			user, err = findAccount(tx, "phone", userOrPhone)
		}
		if err != nil || user == nil {
			return errOr(err, errors.New("there is no such user"))
		}
		if err := p.giveCard(tx, user.id, asn, profile); err != nil {
			return err
		}
		if err := p.hsm.importKeys(tx, asn, keys); err != nil {
			return err
		}
		k, err := findCard(tx, asn)
		if err != nil {
			return err
		}
		if k.opening == nil {
			if err := p.openBalance(tx, k, balanceFen); err != nil {
				return err
			}
			if err := saveCard(tx, k); err != nil {
				return err
			}
		}
		return p.audit(tx, "admin", "adopt-card", asn.Masked(), profile)
	})
}

// CheckReport is what an audit of the books found.
type CheckReport struct {
	ImbalanceFen wallet.Fen `json:"imbalanceFen"` // sum of all postings, plus every transfer that is not zero
	HeldFen      wallet.Fen `json:"heldFen"`      // sum of the held accounts
	GrantedFen   wallet.Fen `json:"grantedFen"`   // amount and fee of orders in GRANTED
	SuspenseFen  wallet.Fen `json:"suspenseFen"`  // the same of orders in SUSPENSE
	OpenOrders   int        `json:"openOrders"`   // orders in GRANTED
	Suspense     int        `json:"suspense"`     // orders in SUSPENSE
	Negative     int        `json:"negative"`     // accounts of persons below zero
	AuditChain   string     `json:"auditChain"`   // "ok", or the first row that was changed
	Epoch        int        `json:"epoch"`

	AuthorisedFen      wallet.Fen `json:"authorisedFen"`      // purchases that a card may or may not have been debited for
	DoubtfulFen        wallet.Fen `json:"doubtfulFen"`        // the same, after a lower balance
	PurchaseSuspense   int        `json:"purchaseSuspense"`   // purchases that wait for people
	MerchantPayableFen wallet.Fen `json:"merchantPayableFen"` // owed to merchants for online purchases
	UnpostedFen        wallet.Fen `json:"unpostedFen"`        // purchases whose state and posting differ
	FloatFen           wallet.Fen `json:"floatFen"`           // purse float, less what all cards should hold

	FundingCheck
	BankCheck
	UnchargedFen wallet.Fen `json:"unchargedFen"` // loads whose fee and charging records differ

	Cards []CardCheck `json:"cards"`
}

// CardCheck is what the books say of a card.
type CardCheck struct {
	ASN                wallet.ASN `json:"asn"`
	LoadedFen          wallet.Fen `json:"loadedFen"`
	PurchasedFen       wallet.Fen `json:"purchasedFen"`
	MovedFen           wallet.Fen `json:"movedFen"`           // to the main account, when the card was replaced
	ExpectedBalanceFen wallet.Fen `json:"expectedBalanceFen"` // opening + loaded − purchased − moved
}

// OK tells whether the books are in order.
func (r CheckReport) OK() bool {
	return r.ImbalanceFen == 0 && r.Negative == 0 && r.HeldFen == r.GrantedFen+r.SuspenseFen+r.ReturningFen && r.ReturnUnbookedFen == 0 &&
		r.UnpostedFen == 0 && r.FundingUnbookedFen == 0 && r.FloatFen == 0 && r.UnchargedFen == 0 && r.AuditChain == "ok"
}

// Check audits the books in one snapshot, also while another process serves.
func (p *Platform) Check(ctx context.Context) (CheckReport, error) {
	report := CheckReport{Cards: []CardCheck{}}
	err := p.store.View(ctx, func(tx *Tx) (err error) {
		for _, sum := range []struct {
			target any
			query  string
		}{
			{&report.ImbalanceFen, `SELECT COALESCE(SUM(ABS(total)), 0) FROM (SELECT SUM(amount) AS total FROM postings GROUP BY transfer) AS t`},
			{&report.HeldFen, `SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account LIKE 'held:%'`},
			{&report.GrantedFen, `SELECT COALESCE(SUM(amount + fee), 0) FROM orders WHERE state = 'GRANTED'`},
			{&report.SuspenseFen, `SELECT COALESCE(SUM(amount + fee), 0) FROM orders WHERE state = 'SUSPENSE'`},
			{&report.OpenOrders, `SELECT COUNT(*) FROM orders WHERE state = 'GRANTED'`},
			{&report.Suspense, `SELECT COUNT(*) FROM orders WHERE state = 'SUSPENSE'`},
			{&report.Negative, `SELECT COUNT(*) FROM (SELECT account FROM postings WHERE account LIKE 'main:%' OR account LIKE 'held:%'
				GROUP BY account HAVING SUM(amount) < 0) AS n`},
			{&report.AuthorisedFen, `SELECT COALESCE(SUM(amount), 0) FROM purchases WHERE state = 'AUTHORISED'`},
			{&report.DoubtfulFen, `SELECT COALESCE(SUM(amount), 0) FROM purchases WHERE state = 'DOUBTFUL'`},
			{&report.PurchaseSuspense, `SELECT COUNT(*) FROM purchases WHERE state = 'SUSPENSE'`},
			{&report.MerchantPayableFen, `SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account LIKE 'merchant-payable:%'`},
			{&report.UnpostedFen, unpostedQuery},
			{&report.FloatFen, floatQuery},
			{&report.UnchargedFen, unchargedQuery},
		} {
			if _, err := tx.row(sum.query, nil, sum.target); err != nil {
				return err
			}
		}
		if err := report.FundingCheck.read(tx); err != nil {
			return err
		}
		if err := report.BankCheck.read(tx); err != nil {
			return err
		}
		if report.Epoch, err = readEpoch(tx); err != nil {
			return err
		}
		if report.AuditChain, err = auditChain(tx); err != nil {
			return err
		}
		report.Cards, err = checkCards(tx)
		return err
	})
	return report, err
}

// unpostedQuery sums, purchase by purchase and upload by upload, how far the value
// that left the purse float differs from what the states say. A purchase that is
// PAID or REFUNDED has one posting of its amount, every other none.
const unpostedQuery = `SELECT COALESCE((SELECT SUM(ABS(b.want + COALESCE(
		(SELECT SUM(t.amount) FROM postings t WHERE t.order_id = b.id AND t.account = 'purse-float'), 0)))
		FROM (SELECT id, CASE WHEN state IN ('PAID', 'REFUNDED') THEN amount ELSE 0 END AS want FROM purchases) AS b), 0)
	+ ABS(COALESCE((SELECT SUM(amount) FROM uploads), 0) - COALESCE((SELECT SUM(amount) FROM postings WHERE account = 'offline-payable'), 0))
	+ ABS(COALESCE((SELECT SUM(amount) FROM postings WHERE account LIKE 'merchant-payable:%'), 0)
		- COALESCE((SELECT SUM(amount) FROM purchases WHERE state = 'PAID' AND unload = 0), 0))`

// floatQuery compares the value on cards by the ledger with that by the cards' own
// histories. What shops were paid for a card whose balance had moved is a receivable.
const floatQuery = `SELECT COALESCE((SELECT SUM(amount) FROM postings WHERE account IN ('purse-float', 'late-use-receivable')), 0)
	- COALESCE((SELECT SUM(opening) FROM cards), 0) - COALESCE((SELECT SUM(amount) FROM orders WHERE state = 'LOADED'), 0)
	+ COALESCE((SELECT SUM(amount) FROM purchases WHERE state IN ('PAID', 'REFUNDED')), 0)
	+ COALESCE((SELECT SUM(amount) FROM uploads), 0) + COALESCE((SELECT SUM(moved) FROM replacements), 0)`

func checkCards(tx *Tx) ([]CardCheck, error) {
	cards := []CardCheck{}
	err := tx.each(`SELECT c.asn, COALESCE(c.opening, 0), COALESCE((SELECT SUM(o.amount) FROM orders o WHERE o.asn = c.asn AND o.state = 'LOADED'), 0),
		COALESCE((SELECT SUM(b.amount) FROM purchases b WHERE b.asn = c.asn AND b.state IN ('PAID', 'REFUNDED')), 0)
		+ COALESCE((SELECT SUM(u.amount) FROM uploads u WHERE u.asn = c.asn), 0),
		COALESCE((SELECT r.moved FROM replacements r WHERE r.lost = c.asn), 0)
		FROM cards c ORDER BY c.asn`, nil, func(rows *sql.Rows) error {
		var one CardCheck
		var asn string
		var opening wallet.Fen
		if err := rows.Scan(&asn, &opening, &one.LoadedFen, &one.PurchasedFen, &one.MovedFen); err != nil {
			return err
		}
		var err error
		one.ASN, err = wallet.ParseASN(asn)
		one.ExpectedBalanceFen = opening + one.LoadedFen - one.PurchasedFen - one.MovedFen
		cards = append(cards, one)
		return err
	})
	return cards, err
}

// KnowsPhone tells whether an account that is not closed has this phone number.
func (p *Platform) KnowsPhone(ctx context.Context, phone string) (known bool, err error) {
	err = p.store.View(ctx, func(tx *Tx) error {
		found, err := findAccount(tx, "phone", phone)
		known = found != nil && found.state != string(states.Closed)
		return err
	})
	return known, err
}

// KnowsCard tells whether the platform has issued or adopted a card.
func (p *Platform) KnowsCard(ctx context.Context, asn wallet.ASN) (known bool, err error) {
	err = p.store.View(ctx, func(tx *Tx) error {
		k, err := findCard(tx, asn)
		known = k != nil
		return err
	})
	return known, err
}
