package sim

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// Plan says what to simulate. Seed and Operations are all that a person names; the
// rest is for finding the smallest run that still fails.
type Plan struct {
	Seed       uint64
	Operations int
	Without    map[string]bool // kinds of faults that never happen
	Skip       map[int]bool    // operations that are left out
	Rules      rules.Rules     // of the platform, taken away to see that it is noticed
}

// Report is what a run did.
type Report struct {
	Operations int
	Failed     int            // number of the operation after which a rule was broken, -1: none
	Trace      uint64         // hash over all events
	Events     []string       // the last ones
	Counts     map[string]int // "fault …", "kill …", "end …", "op …"
}

// violation is a broken rule.
type violation struct{ text string }

func (v violation) Error() string { return v.text }

// person owns cards and an account.
type person struct {
	name, phone, user string
	paid              wallet.Fen // into the main account
	opening           wallet.Fen // on the cards when they became known
	dishonest         bool
	bank              *account // nil: he has none
}

// world is everything that a seed makes.
type world struct {
	t       *testing.T
	plan    Plan
	dir     string
	luck    *rand.Rand // of the present operation
	storm   int        // how likely accidents are in it, 0: none
	report  Report
	hash    uint64
	nesting int

	platform   *mockplatform.Platform
	profile    api.Profile
	policy     api.Policy
	skew       time.Duration // of the platform's clock
	backups    []string
	restores   int
	mayRestore bool
	books      *sql.DB

	persons   []*person
	chips     []*chip
	computers []*computer
	rogue     *rogue // nil in most worlds
	grants    map[wallet.TerminalNumber]wallet.Grant
	shop      *shop
	bank      *bankLine
	corner    *corner
	// authorised are the debits that the platform allowed, by the terminal number over
	// which the card opened its purchase.
	authorised map[wallet.TerminalNumber]wallet.PurchaseGrant
	late       []lateRequest
	vouchers   []voucher
	downFor    int // requests that find the network cut
	dieAt      string
	rescued    int // times that staff had to be called
	wish       []*wish
	unwanted   string // the first thing that a card did and nobody asked for
	// lost are the cards of which a restore forgot an order, a purchase, or how it went on.
	lost map[string]bool
}

// stream makes an independent source of randomness for one part of the world.
func (w *world) stream(part uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i], key[8+i] = byte(w.plan.Seed>>(8*i)), byte(part>>(8*i))
	}
	return rand.NewChaCha8(key)
}

// keptEvents is how many events a report holds; replaying one seed raises it.
var keptEvents = 50

// say adds an event to the trace.
func (w *world) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d\n%s\n", w.hash, line)
	w.hash = hash.Sum64()
	w.report.Events = append(w.report.Events, line)
	if over := len(w.report.Events) - keptEvents; over > 0 {
		w.report.Events = w.report.Events[over:]
	}
}

func (w *world) count(kind, name string) { w.report.Counts[kind+" "+name]++ }

// happens decides about one accident. The draw is made in any case, so that a kind
// that is left out changes as little as possible of what follows.
func (w *world) happens(kind string, perMille int) bool {
	hit := w.luck.IntN(1000) < perMille*w.storm/100
	if !hit || w.plan.Without[kind] {
		return false
	}
	w.count("fault", kind)
	w.say("  fault %s", kind)
	return true
}

// fail ends the run: a rule of the world is broken.
func (w *world) fail(format string, args ...any) { panic(violation{fmt.Sprintf(format, args...)}) }

// must ends the run over something that the simulation itself needs.
func (w *world) must(err error) {
	if err != nil {
		panic(violation{"the simulation itself: " + err.Error()})
	}
}

// Run plays one seed in virtual time.
func Run(t *testing.T, seed uint64, operations int) (Report, error) {
	return run(t, Plan{Seed: seed, Operations: operations})
}

func run(t *testing.T, plan Plan) (report Report, err error) {
	dir, err := os.MkdirTemp(scratch(), "wallet-sim-")
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		w.plan, w.report.Failed = plan, -1
		defer func() { report = w.report }()
		defer w.close()
		defer func() {
			trouble := recover()
			w.report.Trace = w.hash
			if broken, is := trouble.(violation); is {
				w.report.Failed, err = w.report.Operations, broken
				return
			}
			if trouble != nil {
				panic(trouble)
			}
		}()
		w.build()
		w.play()
		w.settleAll()
	})
	return report, err
}

func newWorld(t *testing.T, dir string) *world {
	w := &world{
		t: t, dir: dir, lost: map[string]bool{}, grants: map[wallet.TerminalNumber]wallet.Grant{}, authorised: map[wallet.TerminalNumber]wallet.PurchaseGrant{},
	}
	w.shop = &shop{w: w, told: map[string]api.ShopCallback{}}
	w.corner = &corner{w: w}
	w.report.Counts = map[string]int{}
	return w
}

// scratch is a folder in memory where the system has one: the promise that a commit
// is on the disk is tested elsewhere, and time is better spent on more seeds.
func scratch() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// close gives everything back, so that no goroutine outlives the bubble.
func (w *world) close() {
	w.storm = 0
	for _, c := range w.computers {
		c.close()
	}
	if w.rogue != nil {
		w.rogue.c.close()
		w.rogue.second.close()
	}
	if w.books != nil {
		w.books.Close()
	}
	if w.platform != nil {
		w.platform.Close()
	}
	if w.bank != nil && w.bank.bank != nil {
		w.bank.bank.Close()
	}
}

// now is the time of day for everybody whose clock is right.
func (w *world) now() time.Time { return time.Now() }

// variants that honest people hold, those with surprises more often than once.
var honestVariants = []string{
	virtualcard.Standard, virtualcard.Standard, virtualcard.LogBefore, virtualcard.ProveStub, virtualcard.ProveNone,
	virtualcard.SessionStaysOpen, virtualcard.PINForLoad, virtualcard.PINForLoad, virtualcard.T0, virtualcard.EEPROMButCredited,
	virtualcard.Slow, virtualcard.SameRandom, virtualcard.SharedCounter,
}

// simFees are the tariffs of worlds: none, flat ones, and one by rate.
func simFees(choice int) api.FeeTable {
	if choice < 3 {
		return api.FlatFee(wallet.Fen(choice * 50))
	}
	return api.FeeTable{Version: 1, Rows: []api.FeeRow{{Event: api.FeeEventLoad, Source: "main", BaseFen: 3, RateBP: 37, MinFen: 5, MaxFen: 500}}}
}

// build makes platform, persons, cards and computers.
func (w *world) build() {
	time.Sleep(time.Until(time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)))
	w.luck = rand.New(w.stream(2000))
	w.policy = mockplatform.DefaultPolicy()
	w.policy.Fees = simFees(w.luck.IntN(4))
	if w.luck.IntN(4) > 0 { // most worlds have room for many loads
		w.policy.Limits = api.Limits{PurseCap: 50_000_00, LoadMin: 1, LoadMax: 2_000_00}
	}
	withRogue := w.luck.IntN(3) == 0
	w.mayRestore = !withRogue && w.luck.IntN(2) == 0
	w.bank = &bankLine{w: w}
	w.openBank()
	w.openPlatform()
	for i, cards := range []int{2, 1} {
		p := &person{name: string(rune('A' + i)), phone: fmt.Sprintf("1380000000%d", i), paid: 200_000_00}
		w.addPerson(p)
		for range cards {
			w.addChip(p, honestVariants[w.luck.IntN(len(honestVariants))])
		}
	}
	w.profile = w.platform.Profile()
	w.profile.URL = "https://platform.test"
	for i, owner := range []int{0, 0, 1} {
		w.computers = append(w.computers, newComputer(w, i, w.persons[owner]))
	}
	w.showCards()
	w.addVouchers()
	for _, number := range []int{0, 2} {
		w.bindBank(w.computers[number])
	}
	if withRogue {
		w.addRogue()
	}
	w.say("world: policy %+v, restores %v, rogue %v", w.policy, w.mayRestore, withRogue)
}

// showCards lets each card prove its counter once, as cards do when they are added to
// an account: from a platform that never knew it a restore could hide anything.
func (w *world) showCards() {
	for _, k := range w.chips {
		for _, c := range w.computers {
			if k.owner != c.owner {
				continue
			}
			w.login(c)
			c.place(k)
			_, err := c.core.AddCard(ctx(), c.pin)
			w.note(err)
			break
		}
	}
}

func (w *world) addPerson(p *person) {
	w.must(w.platform.Seed(w.t.Context(), p.phone, p.paid, nil, ""))
	w.must(w.books.QueryRow(`SELECT user FROM users WHERE phone = ?`, p.phone).Scan(&p.user))
	w.persons = append(w.persons, p)
}

// addChip makes a card whose keys the platform adopts.
func (w *world) addChip(owner *person, variant string) *chip {
	number := len(w.chips)
	random := w.stream(100 + uint64(number))
	var asn wallet.ASN
	_, _ = random.Read(asn[2:])
	spec := virtualcard.Spec{ASN: asn, Balance: wallet.Fen(w.luck.IntN(100)) * 100, Records: w.luck.IntN(12), Variant: variant, PIN: "123456"}
	card, err := virtualcard.New(spec, random)
	w.must(err)
	card.SetDelay(nil) // chip.Transmit waits
	exported, err := card.ExportKeys()
	w.must(err)
	var keys mockplatform.CardKeys
	w.must(json.Unmarshal(exported, &keys))
	profile := "pboc-ep"
	if variant == virtualcard.SharedCounter {
		profile = "shanghai"
	}
	w.must(w.platform.AdoptCard(w.t.Context(), owner.phone, asn, keys, card.Balance(), profile))
	owner.opening += card.Balance()
	k := &chip{Card: card, w: w, number: number, owner: owner, opening: card.Balance()}
	w.chips = append(w.chips, k)
	w.say("card %d of %s: %s, %d fen", number, owner.name, variant, card.Balance())
	return k
}

// openPlatform starts the platform, also again after it died.
func (w *world) openPlatform() {
	dir := filepath.Join(w.dir, "platform")
	random := w.stream(1000 + uint64(w.report.Counts["platform starts"]))
	w.count("platform", "starts")
	p, err := mockplatform.Open(mockplatform.Config{
		Dir: dir, Demo: true, Policy: &w.policy, Random: random, Rules: w.plan.Rules,
		Callbacks:     w.shop,
		URL:           "https://platform.test",
		Bank:          func(context.Context) (bankapi.Partner, error) { return w.bank.bank.Partner() },
		BankTransport: func(bankapi.Partner) http.RoundTripper { return w.bank },
		SMSLimits:     mockplatform.SMSLimits{PhoneHour: 1 << 30, HostMinute: 1 << 30}, // a life of computers in an hour
		HashCost:      mockplatform.HashCost{MemoryKiB: 8, Passes: 1},                  // nobody guesses passwords here
		Now:           func() time.Time { return time.Now().Add(w.skew) },
		Hooks: mockplatform.Hooks{
			BeforeCommit: func(route string) error { return w.dies("before") },
			AfterCommit:  func(route string) error { return w.dies("after") },
		},
	})
	w.must(err)
	w.platform = p
	w.books, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "platform.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	w.must(err)
	w.books.SetMaxOpenConns(1)
}

func (w *world) stopPlatform() {
	w.must(w.books.Close())
	w.must(w.platform.Close())
	w.books, w.platform = nil, nil
}

// dies is the hook around a commit of the platform.
func (w *world) dies(where string) error {
	if w.dieAt != where {
		return nil
	}
	w.dieAt = "died"
	return errDied
}
