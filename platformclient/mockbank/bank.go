// Package mockbank is a virtual bank as a peer of its own: customers' accounts in a
// ledger of sums of postings, bound cards, payments, a gateway with a page for a
// browser, statements. It speaks the messages of bankapi over TLS 1.3 and knows
// nothing of the platforms that are its partners (protocol §2.16–§2.18; requirements
// B1–B8).
//
// All of its keys are made at first start; a directory without its key file cannot
// open its own cards. Money is made-up money of a demo: it comes from the vault, an
// account of the bank that may be below zero.
package mockbank

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// Config is what a bank is opened with.
type Config struct {
	Dir string           // its directory; made at first start
	Now func() time.Time // nil: time.Now
	URL string           // where Handler is reached, if not by Serve

	// Profile of the bank; it belongs to the directory from the first start on.
	Freeze     bool // payments are frozen and captured
	RefundOnce bool // every payment can be refunded once
	Legacy     bool // callbacks are signed as of old

	// Hooks and Notify are the boundaries at which tests and named faults act: the
	// process dies around a commit, and what leaves as a callback goes through Notify
	// (nil: the network). Wrap stands before the handler of all requests.
	Hooks  Hooks
	Notify func(http.RoundTripper) http.RoundTripper
	Wrap   func(http.Handler) http.Handler
}

// Hooks let the bank die around a commit. An error before it undoes the change; after
// it, what was committed stays. Either way the connection is cut without an answer.
type Hooks struct {
	BeforeCommit func(path string) error
	AfterCommit  func(path string) error
}

// Names of the bank and of the one partner that every bank has from its first start.
const (
	BankID      = "demo-bank"
	BankName    = "演示银行"
	PartnerID   = "105000000000001"
	partnerName = "手机支付平台"
)

// Bank is a bank over one directory. Several processes may open the same directory.
type Bank struct {
	config  Config
	keys    *keys
	store   *store
	handler http.Handler
	wake    chan struct{} // wakes the delivery of callbacks
	url     string        // of the serving process; "" before Serve
}

// Exists tells whether a directory holds a bank already; Open would make one.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileDatabase))
	return err == nil
}

// Open opens the bank of a directory, and makes keys and database at first start.
func Open(config Config) (*Bank, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	b := &Bank{config: config, wake: make(chan struct{}, 1), url: config.URL}
	var err error
	if b.keys, err = loadKeys(config); err != nil {
		return nil, err
	}
	if b.store, err = openStore(filepath.Join(config.Dir, fileDatabase)); err != nil {
		return nil, fmt.Errorf("database of the bank: %w", err)
	}
	err = b.store.update(context.Background(), func(tx *tx) error {
		return tx.exec(`INSERT INTO partners (partner, name, thumbprint, public_key) VALUES (?, ?, ?, ?) ON CONFLICT (partner) DO NOTHING`,
			PartnerID, partnerName, b.keys.partnerThumbprint(), []byte(b.keys.partnerPublic()))
	})
	if err != nil {
		return nil, errors.Join(err, b.store.close())
	}
	b.handler = b.routes()
	return b, nil
}

// Close ends the use of the directory.
func (b *Bank) Close() error { return b.store.close() }

// Handler serves the bank's interface and its gateway; TLS is Serve's part.
func (b *Bank) Handler() http.Handler { return b.handler }

// Partner is what the bank gives to its partner. Its address is that of the serving
// process, or of the last one.
func (b *Bank) Partner() (bankapi.Partner, error) {
	address := b.url
	if address == "" {
		kept, err := os.ReadFile(filepath.Join(b.config.Dir, filePartner))
		if err != nil {
			return bankapi.Partner{}, errors.New("the bank was never served")
		}
		return bankapi.ParsePartner(kept)
	}
	return b.keys.partner(address), nil
}

func (b *Bank) now() time.Time { return b.config.Now().UTC().Truncate(time.Millisecond) }

// shanghai is the zone of business days; it has had no summer time since 1991.
var shanghai = time.FixedZone("Asia/Shanghai", 8*60*60)

func businessDay(moment time.Time) string { return moment.In(shanghai).Format("20060102") }

func randomBytes(count int) []byte {
	bytes := make([]byte, count)
	_, _ = rand.Read(bytes) // never fails: crypto/rand ends the program instead
	return bytes
}

// Errors of the ledger.
var (
	errUnbalanced = errors.New("the legs of a posting do not add up to zero")
	errFunds      = errors.New("the account does not cover this")
	errDied       = errors.New("the bank died")
)

// The accounts: money that the bank owes is positive.
const (
	accountVault   = "vault"
	prefixCustomer = "customer:"
	prefixFrozen   = "frozen:"
	prefixPartner  = "partner:"
)

// movement is one posting of money between two accounts.
type movement struct {
	partner, kind, serial, of string
	from, to                  string
	amount                    wallet.Fen
	overdraw                  bool // reversals are never refused for lack of cover
}

// post is the one function that writes postings; it gives the journal number. No
// account but the vault goes below zero, except a partner's by a reversal.
func (b *Bank) post(tx *tx, m movement) (journal string, err error) {
	if m.amount <= 0 || m.from == m.to {
		return "", errUnbalanced
	}
	if journal, err = b.nextJournal(tx); err != nil {
		return "", err
	}
	now := b.now()
	for _, leg := range []struct {
		account string
		amount  wallet.Fen
	}{{m.from, -m.amount}, {m.to, m.amount}} {
		err := tx.exec(`INSERT INTO postings (journal, account, amount, partner, kind, serial, of, day, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			journal, leg.account, int64(leg.amount), m.partner, m.kind, m.serial, m.of, businessDay(now), now.UnixMilli())
		if err != nil {
			return "", err
		}
	}
	if m.from == accountVault || m.overdraw {
		return journal, nil
	}
	left, err := balance(tx, m.from)
	if err == nil && left < 0 {
		err = errFunds
	}
	return journal, err
}

func (b *Bank) nextJournal(tx *tx) (string, error) {
	if err := tx.exec(`UPDATE meta SET value = value + 1 WHERE name = 'journal'`); err != nil {
		return "", err
	}
	var number int64
	_, err := tx.row(`SELECT value FROM meta WHERE name = 'journal'`, nil, &number)
	return fmt.Sprintf("J%s%08d", businessDay(b.now()), number), err
}

func balance(tx *tx, account string) (wallet.Fen, error) {
	var sum int64
	_, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = ?`, []any{account}, &sum)
	return wallet.Fen(sum), err
}
