package mockplatform

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// TestBank_Property: whatever answers are lost, whichever side restarts, and in which
// order people, clocks and callbacks come: the sum of both books is kept, no payment
// is taken twice, and every one ends when answers flow again.
func TestBank_Property(t *testing.T) {
	var templates []bankTemplate
	for _, name := range slices.Sorted(maps.Keys(bankProfiles)) {
		templates = append(templates, newBankTemplate(t, bankProfiles[name]))
	}
	rapid.Check(t, func(r *rapid.T) {
		template := templates[rapid.IntRange(0, len(templates)-1).Draw(r, "bank")]
		run := &bankRun{r: r, bankWorld: template.copied(t, r), id: template.id, keys: map[string]wallet.Fen{}, returns: map[string]wallet.Fen{}}
		defer run.close()
		person := *template.person
		person.w = run.world
		run.c = &person
		run.main, run.left = run.balance(mainAccount(person.session.User)), run.atBank()
		r.Repeat(map[string]func(*rapid.T){
			"":              func(*rapid.T) { run.check() },
			"pay":           run.pay,
			"pay again":     run.payAgain,
			"gateway":       run.gateway,
			"give back":     run.giveBack,
			"lose":          run.lose,
			"restart":       run.restart,
			"wait":          run.wait,
			"statement":     run.statement,
			"bank's notice": func(*rapid.T) { _, _ = run.bank.DeliverNotices(context.Background()) },
		})
		run.settle()
	})
}

// bankTemplate is what every history begins with: a person with a bound card, who has
// paid once and needs no code from now on.
type bankTemplate struct {
	*bankWorld
	person *teller
	id     string
}

func newBankTemplate(t *testing.T, profile func(*mockbank.Config)) bankTemplate {
	b := newBankWorld(t, profile)
	c := b.teller(testPhone)
	id := c.bind(b)
	require.Equal(t, wallet.FundingDone, c.payBank(b, id, 1_00).State)
	require.NoError(t, b.p.Close())
	require.NoError(t, b.bank.Close())
	return bankTemplate{b, c, id}
}

// bankRun is one history of both sides.
type bankRun struct {
	*bankWorld
	r       *rapid.T
	c       *teller
	id      string
	keys    map[string]wallet.Fen // fundings by key
	order   []string
	pages   []string
	returns map[string]wallet.Fen
	main    wallet.Fen // before
	left    wallet.Fen
	number  int
}

// copied is a world over copies of both directories.
func (b *bankWorld) copied(t *testing.T, r *rapid.T) *bankWorld {
	fresh := *b
	inner := *b.world
	fresh.world = &inner
	fresh.faults, fresh.asked = mockbank.NewFaults(), map[string]int{}
	for _, dir := range []*string{&fresh.dir, &fresh.bankDir} {
		made, err := os.MkdirTemp(t.TempDir(), "run")
		require.NoError(r, err)
		require.NoError(r, os.CopyFS(made, os.DirFS(*dir)))
		*dir = made
	}
	fresh.edit = fresh.config
	fresh.open()
	fresh.p.url = "https://" + testHost
	fresh.openBank()
	return &fresh
}

func (run *bankRun) close() {
	_ = run.p.Close()
	_ = run.bank.Close()
	_ = os.RemoveAll(run.dir)
	_ = os.RemoveAll(run.bankDir)
}

func (run *bankRun) newKey() string {
	run.number++
	return fmt.Sprintf("0195f000-0000-7000-9000-%012d", run.number)
}

// amounts differ, so that sums tell which payment was made how often.
func (run *bankRun) pay(*rapid.T) {
	key := run.newKey()
	run.keys[key] = wallet.Fen(1<<min(len(run.keys), 11)) + 1
	run.order = append(run.order, key)
	run.ask(key)
}

func (run *bankRun) ask(key string) *httptest.ResponseRecorder {
	return run.c.post(api.PathFundings, key, run.c.fundingRequest(key, run.id, run.keys[key], nil))
}

func (run *bankRun) payAgain(r *rapid.T) {
	if len(run.order) == 0 {
		r.Skip()
	}
	run.ask(rapid.SampledFrom(run.order).Draw(r, "key"))
}

func (run *bankRun) gateway(r *rapid.T) {
	if len(run.pages) > 0 && rapid.Bool().Draw(r, "pays") {
		parts := run.pages[0]
		run.pages = run.pages[1:]
		_, _ = run.bank.PayOrder(context.Background(), parts, run.card) // one that is closed is refused
		return
	}
	key := run.newKey()
	run.keys[key] = wallet.Fen(1<<min(len(run.keys), 11)) + 1
	request := api.FundingRequest{Amount: run.keys[key], Source: api.FundingSource{Kind: api.FundingBank, ID: api.BankGateway}}
	run.pages = append(run.pages, run.c.told(run.c.post(api.PathFundings, key, request)).Funding)
}

func (run *bankRun) giveBack(r *rapid.T) {
	key := run.newKey()
	run.returns[key] = wallet.Fen(rapid.IntRange(1, 50).Draw(r, "fen"))
	run.c.post(api.PathBankReturns, key, run.c.returnRequest(key, run.id, run.returns[key]))
}

func (run *bankRun) lose(r *rapid.T) {
	fault := rapid.SampledFrom([]mockbank.Fault{
		mockbank.FaultLostBefore, mockbank.FaultLostAfter, mockbank.FaultDown, mockbank.FaultNoticeLost, mockbank.FaultNoticeTwice, mockbank.FaultNoticeForged,
	}).Draw(r, "fault")
	require.NoError(r, run.faults.Arm(fault, rapid.IntRange(0, 4).Draw(r, "times")))
}

func (run *bankRun) restart(r *rapid.T) {
	if rapid.Bool().Draw(r, "bank") {
		run.reopenBank()
	} else {
		run.reopen()
	}
}

// wait lets time pass in steps that a session survives; what is due is done.
func (run *bankRun) wait(r *rapid.T) {
	run.clock = run.clock.Add(time.Duration(rapid.IntRange(1, 1200).Draw(r, "seconds")) * time.Second)
	_, err := run.p.PursueFundings(context.Background())
	require.NoError(r, err)
	require.NoError(r, run.p.PursueReturns(context.Background()))
	run.c.freshNonce()
	run.exec(`UPDATE tokens SET expires = ? WHERE kind = 'access'`, run.clock.Add(time.Hour).UnixMilli()) // the person stays logged in
}

func (run *bankRun) statement(*rapid.T) {
	_, _ = run.p.ImportBankDay(context.Background(), businessDay(run.clock)) // a bank that is down is asked tomorrow
}

// settle lets answers flow again until nothing is due any more.
func (run *bankRun) settle() {
	for _, fault := range mockbank.AllFaults {
		require.NoError(run.r, run.faults.Arm(fault, 0))
	}
	for range 12 {
		run.clock = run.clock.Add(16 * time.Minute)
		_, err := run.p.PursueFundings(context.Background())
		require.NoError(run.r, err)
		require.NoError(run.r, run.p.PursueReturns(context.Background()))
		_, err = run.bank.DeliverNotices(context.Background())
		require.NoError(run.r, err)
	}
	_, err := run.p.ImportBankDay(context.Background(), businessDay(run.clock))
	require.NoError(run.r, err)
	var in, out wallet.Fen
	require.NoError(run.r, run.p.store.View(context.Background(), func(tx *Tx) error {
		fundings, err := findFundings(tx, `kind = 'bank' AND key <> ''`)
		if err != nil {
			return err
		}
		for _, f := range fundings {
			require.True(run.r, f.state.Final(), "%s is %s", f.id, f.state)
			if amount, ours := run.keys[f.key]; ours && f.state == wallet.FundingDone {
				require.Equal(run.r, amount, f.amount)
				in += amount
			}
		}
		returns, err := findReturns(tx, `r.state <> ''`)
		for _, told := range returns {
			require.NotEqual(run.r, api.BankReturnPending, told.state)
			out += told.tell("").Returned
		}
		return err
	}))
	require.Equal(run.r, run.main+in-out, run.balance(mainAccount(run.c.session.User)), "credited what was paid")
	require.Equal(run.r, run.left-in+out, run.atBank(), "debited what was credited, each once")
	require.Zero(run.r, run.balance(heldAccount(run.c.session.User)))
	run.checkBoth()
}

// check holds at every moment: both books are in order, and together they hold what
// the bank's vault gave out.
func (run *bankRun) check() {
	report, err := run.p.Check(context.Background())
	require.NoError(run.r, err)
	require.True(run.r, report.OK(), "books: %+v", report)
	bank, err := run.bank.Check(context.Background())
	require.NoError(run.r, err)
	require.True(run.r, bank.OK(), "books of the bank: %+v", bank)
}
