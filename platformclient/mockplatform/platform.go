// Package mockplatform is the embedded reference platform: real rules, real
// cryptography, real TLS and real storage behind one http.Handler, so that the
// demo, the simulation and the tests have a counterpart that cannot be fooled more
// easily than a production platform (protocol §2.3–§2.16).
//
// It is split by the nouns of the business: keys, hsm, store, ledger, audit,
// idempotency, session, cards, loads, attempts, limits, restore, merchants,
// callbacks, purchases, debits, uploads, fundings, vouchers, banks, staff, states of
// accounts and cards, replacements, clock, registration, passwords, devices, sms, outbox. What evidence proves is decided in the
// sub-package rules, and what a state permits and where an event leads in states, by pure
// functions and tables.
package mockplatform

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// Errors of the administration.
var (
	ErrNotDemo = errors.New("this is only possible on a demo platform")
	ErrInUse   = errors.New("another process uses the platform's directory")
)

// Hooks are the one place where tests let the platform die. An error before the
// commit rolls the transaction back; after it, what was committed stays. Either way
// the connection is cut and no answer leaves.
type Hooks struct {
	BeforeCommit func(route string) error
	AfterCommit  func(route string) error
}

// Config is what a platform is opened with.
type Config struct {
	Dir    string           // its directory; made at first start
	Demo   bool             // makes a demo platform at first start; later the directory decides
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // of terminal numbers, identifiers and tokens; nil: crypto/rand
	Hooks  Hooks
	Policy *api.Policy // nil: DefaultPolicy
	Rules  rules.Rules // the zero value is the platform's own set
	AtOnce int         // requests worked on at once, further ones wait or are refused; 0: 64

	URL string // where Handler is reached, if not by Serve, which finds out by itself

	// Callbacks carries what merchants are told; nil: the network.
	Callbacks http.RoundTripper

	// Bank finds the bank when it is first needed, and again when it has gone; nil: there
	// is none. BankTransport carries what it is asked; nil: the network.
	Bank          func(context.Context) (bankapi.Partner, error)
	BankTransport func(bankapi.Partner) http.RoundTripper
	// SMS carries messages to telephones; nil: nobody does. A demo shows them instead,
	// any other platform has then no codes by SMS.
	SMS       SMSChannel
	SMSLimits SMSLimits

	// HashCost of new and known passwords; the zero value is DefaultHashCost. It
	// belongs to the directory: hashes of another cost do not fit. Only tests whose
	// passwords protect nothing take less.
	HashCost HashCost
}

// Platform is a reference platform over one directory. Several processes may open
// the same directory; nothing but keys is kept in memory.
type Platform struct {
	config   Config
	policy   api.Policy
	store    Store
	lock     *flock.Flock
	secrets  *secrets
	sealer   sealer
	hsm      *hsm
	signers  [2]ed25519.PrivateKey
	scripts  []wallet.Signed // published, signed once
	sealKey  hpke.PrivateKey
	hashing  chan struct{} // two Argon2id at a time
	work     *gate         // of all requests but
	logins   *gate         // those that hash passwords
	senders  *senderLimit  // of evidence without a session
	visitors *senderLimit  // of what needs no account
	handler  http.Handler
	listed   []Route                  // what handler serves
	paid     chan struct{}            // wakes the delivery of callbacks
	queued   chan struct{}            // wakes the delivery of messages
	carried  bool                     // messages wait for a channel
	sources  map[string]fundingSource // of money that persons ask for, by kind
	banks    bankLink
	epoch    int // only a restore raises it, and that needs the directory for itself

	clock    *demoClock // of a demo, which can be moved
	sumsFrom time.Time  // from when on uploads that the last restore lost are in the books again

	mu  sync.Mutex // guards random and url
	url string
}

// DefaultPolicy is what a platform allows unless it is told otherwise (§2.14).
func DefaultPolicy() api.Policy {
	return api.Policy{
		Version: 1,
		Limits: api.Limits{
			PurseCap: 100000, LoadMin: 1000, LoadMax: 50000,
			CardDayCount: 5, CardDaySum: 100000, AccountDaySum: 500000,
			PurseCapNamed: 500000, AccountDaySumOne: 100000, WeakLifeSum: 100000, NewDeviceSum: 20000, NewDeviceS: 24 * 60 * 60,
			Velocity: api.Velocity{Declines: 3, DeclineWindowS: 10 * 60, DeviceCards: 3, WatchS: 24 * 60 * 60, GreyS: 30 * 24 * 60 * 60},
		},
		Fees: api.FeeTable{Version: 1, Rows: []api.FeeRow{
			{Event: api.FeeEventLoad, Source: "main"}, {Event: api.FeeEventLoad, Source: "bank"}, {Event: api.FeeEventLoad, Source: "voucher"},
		}},
		LoadRefuse: []string{profileShanghai},
	}
}

// Exists tells whether a directory holds a platform already; Open would make one.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileDatabase))
	return err == nil
}

// Open opens the platform of a directory, and makes keys and database at first
// start. A directory that has lost its key file gives ErrNoKeyFile.
func Open(config Config) (*Platform, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if config.HashCost == (HashCost{}) {
		config.HashCost = DefaultHashCost()
	}
	p := &Platform{config: config, policy: DefaultPolicy(), senders: newSenderLimit(), visitors: newSenderLimit(), paid: make(chan struct{}, 1),
		queued: make(chan struct{}, 1)}
	if config.AtOnce <= 0 {
		config.AtOnce = defaultAtOnce
	}
	p.hashing, p.work, p.logins = make(chan struct{}, 2), newGate(config.AtOnce), newGate(loginsAtOnce)
	var err error
	if p.secrets, p.sealer, err = loadSecrets(config.Dir, config.Demo); err != nil {
		return nil, err
	}
	p.clock = &demoClock{}
	if p.secrets.Demo {
		p.clock.file = filepath.Join(config.Dir, fileClock)
	}
	if p.hsm, err = newHSM(p.secrets, p.sealer); err != nil {
		return nil, err
	}
	for i, seed := range p.secrets.Signers {
		p.signers[i] = ed25519.NewKeyFromSeed(seed)
	}
	if p.sealKey, err = api.ParseSealKey(p.secrets.HPKE); err != nil {
		return nil, err
	}
	p.lock = flock.New(filepath.Join(config.Dir, fileLock))
	if locked, err := p.lock.TryRLock(); err != nil || !locked {
		return nil, errors.Join(ErrInUse, err)
	}
	if p.store, err = openStore(context.Background(), filepath.Join(config.Dir, fileDatabase)); err != nil {
		return nil, errors.Join(err, p.lock.Unlock())
	}
	p.sources = p.fundingSources()
	p.url = config.URL
	p.banks.open, p.banks.transport = config.Bank, config.BankTransport
	if err := p.loadPolicy(context.Background()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.handler = p.routes()
	if p.scripts, err = p.signScripts(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err = p.store.View(context.Background(), func(tx *Tx) (err error) { p.epoch, err = readEpoch(tx); return err }); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.openOutbox(context.Background()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.waitForUploads(context.Background()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.seedDemoMerchant(context.Background()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close ends the use of the directory.
func (p *Platform) Close() error { return errors.Join(p.store.Close(), p.lock.Unlock()) }

// Handler serves the interface of api; TLS is Serve's part.
func (p *Platform) Handler() http.Handler { return p.handler }

// Profile is what a client is given to start from. Its URL is empty before Serve.
func (p *Platform) Profile() api.Profile {
	ca, err := x509.ParseCertificate(p.secrets.CACert)
	if err != nil {
		return api.Profile{}
	}
	profile := api.Profile{
		CA: ca, HPKE: p.sealKey.PublicKey().Bytes(), Demo: p.secrets.Demo, DemoCredentials: p.secrets.Credentials,
	}
	for _, signer := range p.signers {
		public, _ := signer.Public().(ed25519.PublicKey)
		profile.Signers = append(profile.Signers, wallet.Hex(public))
	}
	for _, key := range [][]byte{p.secrets.LeafKey, p.secrets.SpareKey} {
		profile.SPKI = append(profile.SPKI, spkiOf(key))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	profile.URL = p.url
	return profile
}

// sign signs with the current signer key.
func (p *Platform) sign(domain wallet.Domain, value any) (wallet.Signed, error) {
	return wallet.Sign(domain, value, p.signers[0])
}

// signerKeys verify what this platform signed earlier, such as kept grants.
func (p *Platform) signerKeys() wallet.SignerKeys {
	var public []ed25519.PublicKey
	for _, signer := range p.signers {
		key, _ := signer.Public().(ed25519.PublicKey)
		public = append(public, key)
	}
	return wallet.NewSignerKeys(public...)
}

// now is the platform's clock in UTC, in whole milliseconds as stored.
func (p *Platform) now() time.Time {
	return p.config.Now().Add(p.clock.offset()).UTC().Truncate(time.Millisecond)
}

// draw reads from the injected random source, which need not be safe for several
// callers at once.
func (p *Platform) draw(count int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes := make([]byte, count)
	if _, err := io.ReadFull(p.config.Random, bytes); err != nil {
		panic(fmt.Sprintf("the random source failed: %v", err)) // no number may be predictable
	}
	return bytes
}

func (p *Platform) newID(prefix string) string { return prefix + hex.EncodeToString(p.draw(10)) }

// channelByte is the first byte of every terminal number of this platform; the
// other five are random (§0.4).
const channelByte = 0xC1

// newTID draws a terminal number that this card, if one is named, has never seen.
func (p *Platform) newTID(tx *Tx, asn string) (wallet.TerminalNumber, error) {
	for {
		tid := wallet.TerminalNumber(append([]byte{channelByte}, p.draw(5)...))
		var found int
		known, err := tx.row(`SELECT 1 FROM card_tids WHERE asn = ? AND tid = ? UNION ALL SELECT 1 FROM leases WHERE tid = ?`,
			[]any{asn, tid.String(), tid.String()}, &found)
		if err != nil || !known {
			return tid, err
		}
	}
}

// readEpoch counts the restores of this platform (§2.7.1).
func readEpoch(tx *Tx) (int, error) {
	value, err := meta(tx, "epoch")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

func meta(tx *Tx, name string) (string, error) {
	var value string
	_, err := tx.row(`SELECT value FROM meta WHERE name = ?`, []any{name}, &value)
	return value, err
}

func setMeta(tx *Tx, name, value string) error {
	return tx.exec(`INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
}

// shanghai is the zone of business days and of card times.
var shanghai = rules.Shanghai

func businessDay(moment time.Time) string { return moment.In(shanghai).Format("20060102") }

// nextDay is when the business day's limits reset.
func nextDay(moment time.Time) time.Time { return rules.NextDay(moment) }

// The card profiles that this platform knows, by the names of the purse's own list.
const (
	profilePBOC     = "pboc-ep"
	profileTUnion   = "t-union"
	profileD156     = "wallet-d156"
	profileShanghai = "shanghai"
)

// cardProfile is what loading needs to know of a kind of card.
type cardProfile struct {
	name          string
	aid           string
	sharedCounter bool // purchases move the online counter too
}

var cardProfiles = []cardProfile{
	{name: profilePBOC, aid: "A00000000386980701"},
	{name: profileTUnion, aid: "A000000632010105"},
	{name: profileD156, aid: "D1560001018003800000000100000000"},
	{name: profileShanghai, aid: "A00000000386980701", sharedCounter: true},
}

func profileNamed(name string) (cardProfile, bool) {
	i := slices.IndexFunc(cardProfiles, func(c cardProfile) bool { return c.name == name })
	if i < 0 {
		return cardProfile{}, false
	}
	return cardProfiles[i], true
}
