package mockplatform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// owedIn reads what a refusal says is still there.
func owedIn(t testing.TB, answer *httptest.ResponseRecorder) api.Owed {
	t.Helper()
	refusedAs(t, api.CodeCloseRefused, answer)
	var body api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	require.NotNil(t, body.Error.Owed)
	return *body.Error.Owed
}

// TestAccount_Tiers: an account is upgraded on a checked document, and closed only when
// nothing is on its way and what is left was given up in so many words.
func TestAccount_Tiers(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 3000})
	c := w.teller(testPhone)
	w.exec(`UPDATE users SET tier = ?`, api.TierWeak)
	clerk := w.staff("mei", api.RoleClerk)
	upgrade := func(note string) *httptest.ResponseRecorder {
		return clerk.actOn(testPhone, api.ActUpgrade, func(a *api.StaffAccountAct) { a.IDCheck = note })
	}
	clerk.refusedWith(api.CodeBadRequest, upgrade(""))
	require.Equal(t, api.TierWeak, c.account("NORMAL").Tier)
	clerk.must(http.StatusOK, upgrade("identity card seen, photo compared"), nil)
	require.Equal(t, api.TierRealName, c.account("NORMAL").Tier)
	require.Equal(t, "identity card seen, photo compared", clerk.staffAccount(testPhone).IDCheck)

	script, grant := c.order(k, 2000).init().granted()
	require.Equal(t, api.Owed{Main: 498000, Held: 2000, Purse: 3000, OpenOrders: 1}, owedIn(t, c.close(true, true)))
	require.Equal(t, api.Owed{Main: 498000, Held: 2000, Purse: 3000, OpenOrders: 1}, owedIn(t, clerk.actOn(testPhone, api.ActClose)))
	step, err := k.credit(script)
	require.NoError(t, err)
	c.must(http.StatusOK, c.result(grant, nil, step), nil)
	require.Equal(t, api.Owed{Main: 498000, Purse: 5000}, owedIn(t, c.close(false, false)))
	owedIn(t, c.close(true, false))
	owedIn(t, c.close(false, true))
	c.account("NORMAL")

	refusedAs(t, api.CodeSMSCodeWrong, c.post(api.PathAccountClose, w.newKey(), api.CloseRequest{
		SMS: c.code(api.PurposeThaw), LoginPWSeal: c.loginSeal(api.PathAccountClose, w.p.Profile().DemoCredentials.LoginPassword),
		WaiveBalance: true, WaivePurse: true,
	}))
	var closed api.Account
	c.must(http.StatusOK, c.close(true, true), &closed)
	require.Equal(t, "CLOSED", closed.State)
	require.Zero(t, closed.Main)
	require.Equal(t, "RETURNED", closed.Cards[0].State)
	require.Equal(t, wallet.Fen(498000), w.balance(accountWaived))
	require.Equal(t, wallet.Fen(5000), w.check().Cards[0].ExpectedBalanceFen, "a shop may still upload what the card spends")
	refusedAs(t, api.CodeAccountState, c.close(true, true))
	refusedAs(t, api.CodeAccountState, c.freeze(nil))
	clerk.refusedWith(api.CodeAccountState, upgrade("identity card seen"))
	refusedAs(t, api.CodeAccountState, c.addCard(k))
}

// A frozen account is not closed by its person; the counter closes one that is lost.
func TestAccount_CloseFromOtherStates(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	clerk := w.staff("mei", api.RoleClerk)
	c.must(http.StatusOK, c.freeze(nil), nil)
	refusedAs(t, api.CodeAccountState, c.close(true, true))
	c.must(http.StatusOK, c.loss(api.LossWritten), nil)
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActClose), nil) // 挂失销户
	require.Equal(t, wallet.Fen(500000), c.account("CLOSING").Main)
	require.NoError(t, w.p.SettleStates(t.Context()))
	c.account("CLOSING") // its money is still there
	owedIn(t, c.close(false, true))
	c.must(http.StatusOK, c.close(true, true), nil)
	c.account("CLOSED")
	w.check()
}

// The operator cancels a number while a top-up is open: it is settled, and the account
// ends by itself once nothing is owed.
func TestAccount_CancelledNumberSettlesFirst(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	w.exec(`DELETE FROM postings`)
	require.NoError(t, w.p.Seed(t.Context(), testPhone, 2000, nil, ""))
	c := w.teller(testPhone)
	script, grant := c.order(k, 2000).init().granted()
	state, err := w.p.PhoneState(t.Context(), testPhone, api.PhoneCancelled)
	require.NoError(t, err)
	require.Equal(t, "CLOSING", state)
	_, err = w.p.PhoneState(t.Context(), testPhone, "gone")
	require.ErrorIs(t, err, ErrPhoneState)
	_, err = w.p.PhoneState(t.Context(), "13900000009", api.PhoneActive)
	require.ErrorIs(t, err, ErrPhoneState)
	step, err := k.credit(script)
	require.NoError(t, err)
	c.must(http.StatusOK, c.result(grant, nil, step), nil)
	require.NoError(t, w.p.SettleStates(t.Context()))
	c.account("CLOSING") // the card holds 20 yuan that are its person's
	c.must(http.StatusOK, c.close(false, true), nil)
	c.account("CLOSED")
	w.check()

	// An account with nothing in it ends at the operator's word.
	const empty = "13800000003"
	require.NoError(t, w.p.Seed(t.Context(), empty, 0, nil, ""))
	state, err = w.p.PhoneState(t.Context(), empty, api.PhoneCancelled)
	require.NoError(t, err)
	require.Equal(t, "CLOSED", state)
}

// M5: the same person, another number. Money, companion and open orders go with it.
func TestAccount_ChangeOfNumber(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	const fresh = "13900000005"
	require.NoError(t, w.p.Seed(t.Context(), "13900000006", 0, nil, ""))
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", true), nil)
	_, grant := func() (*wallet.GrantedScript, wallet.Grant) {
		order := c.order(k, 2000)
		order.request.CompanionSN = "WC-0001"
		return order.init().granted()
	}()
	rename := func(to string) *httptest.ResponseRecorder {
		return clerk.actOn(testPhone, api.ActRenamePhone, func(a *api.StaffAccountAct) { a.NewPhone = to })
	}
	clerk.refusedWith(api.CodePhoneTaken, rename("13900000006"))
	clerk.refusedWith(api.CodeBadRequest, rename(testPhone))
	clerk.refusedWith(api.CodeBadRequest, rename("U1234"))
	clerk.must(http.StatusOK, rename(fresh), nil)
	refusedAs(t, api.CodeNotLoggedIn, c.get(api.PathAccount)) // log in with the new number
	refusedAs(t, api.CodeLoginWrong, c.tryLogin(w.p.Profile().DemoCredentials.LoginPassword))
	c.phone = fresh
	c.login()
	require.Equal(t, fresh, c.account("NORMAL").Phone)
	cancelled, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(cancelled).State)
	other := c.order(k, 2000)
	other.request.CompanionSN = "WC-0002"
	other.init().refusedWith(api.CodeCompanionRefused)
	require.Equal(t, wallet.Fen(500000), w.balance(mainAccount(c.session.User)))
	w.check()
}

// A new SIM under the same number: whoever goes on enrols again, with password and code.
func TestAccount_ChangeOfSIM(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	code := c.code("device") // sent to the old SIM
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActChangeSIM), nil)
	refusedAs(t, api.CodeDeviceUnknown, c.get(api.PathAccount))
	c.session.AccessToken = ""
	c.freshNonce()
	refusedAs(t, api.CodeSMSCodeWrong, c.post(api.PathDevices, "", api.DeviceRequest{
		Phone: c.phone, SMS: code, LoginPWSeal: c.loginSeal(api.PathDevices, w.p.Profile().DemoCredentials.LoginPassword),
		DeviceKey: wallet.Hex(c.public()), DeviceName: "test",
	}))
	c.enrol()
	c.login()
	c.account("NORMAL")
}

// The number has another owner: sessions and computers of the former one end, an open
// order is settled by whoever holds the card, and its money returns to who paid.
func TestAccount_ChangeOfOwner(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 1000})
	c := w.teller(testPhone)
	c.known(k)
	_, grant := c.order(k, 2000).init().granted()
	former := c.session.User
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", true), nil)
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActChangeOwner), nil)
	refusedAs(t, api.CodeDeviceUnknown, c.get(api.PathAccount))
	clerk.refusedWith(api.CodeNotFound, clerk.get(api.PathStaffAccounts+"?phone="+testPhone))
	require.Equal(t, "CLOSING", clerk.staffAccount(former).State)

	require.NoError(t, w.p.Seed(t.Context(), testPhone, 0, nil, ""))
	next := w.teller(testPhone) // no companion of the former owner is asked for
	require.NotEqual(t, former, next.session.User)
	require.Empty(t, next.session.OpenOrders)
	next.must(http.StatusOK, next.addCard(k), nil)
	var pending api.PendingAnswer
	next.must(http.StatusOK, next.get(strings.Replace(api.PathPending, "{asn}", k.ASN().String(), 1)), &pending)
	require.Len(t, pending.Orders, 1)
	complete, _ := next.evidence(k, pending.Orders[0], wallet.IntentComplete)
	require.Equal(t, api.CodeNotPayer, next.stateOf(complete).Code)
	cancelled, _ := next.evidence(k, pending.Orders[0], wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, next.stateOf(cancelled).State)
	require.Equal(t, wallet.Fen(500000), w.balance(mainAccount(former)), "who paid has it back")
	require.Zero(t, w.balance(mainAccount(next.session.User)))
	require.Equal(t, grant.Order, pending.Orders[0].Order)
	w.check()
}

// The number of a closed account is free again; its books keep their identifier.
func TestAccount_ClosedNumberIsFree(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	c.must(http.StatusOK, c.close(true, true), nil)
	const other = "13900000007"
	require.NoError(t, w.p.Seed(t.Context(), other, 700, nil, ""))
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.actOn(other, api.ActRenamePhone, func(a *api.StaffAccountAct) { a.NewPhone = testPhone }), nil)
	require.Equal(t, "CLOSED", clerk.staffAccount(c.session.User).State)
	require.Equal(t, wallet.Fen(700), clerk.staffAccount(testPhone).Owed.Main)
}

// A restore brings an order back to an account that was closed meanwhile: it is settled,
// and what it gives back is owed.
func TestAccount_OwedAgainAfterARestore(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	copied := w.backup()
	granted, grant := c.order(k, 2000).init().granted()
	w.restore(copied)
	c.login()
	c.must(http.StatusOK, c.close(true, true), nil)
	request := api.AttemptRequest{Attempt: grant.Attempt, Intent: wallet.IntentCancel, Grant: &granted.Grant}
	pending := c.stateOf(c.attempt(grant.Order, request)).Pending
	require.NotNil(t, pending)
	c.account("CLOSING")
	request.Attempt, request.Open = pending.Attempt, k.open(c.scripts[profilePBOC], grant.Amount, pending.ProbeTID)
	require.Equal(t, wallet.StateVoided, c.stateOf(c.attempt(grant.Order, request)).State)
	require.Equal(t, wallet.Fen(2000), c.account("CLOSING").Main)
	w.check()
}

// The clock of a demo moves for every process that has the directory open, only forward,
// and survives a restore; any other platform keeps the computer's.
func TestClock_Advance(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	until := w.clock.Add(36 * time.Hour)
	c.must(http.StatusOK, c.freeze(&until), nil)
	beside, err := Open(Config{Dir: w.dir, Demo: true, Now: func() time.Time { return w.clock }})
	require.NoError(t, err)
	before := w.p.now()
	now, err := beside.Advance(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, before.Add(48*time.Hour), now)
	require.NoError(t, beside.Close())
	require.Eventually(t, func() bool { return w.p.now().Equal(now) }, 5*time.Second, 10*time.Millisecond)
	refusedAs(t, api.CodeNonceExpired, c.get(api.PathAccount))
	c.login()
	c.account("NORMAL") // what was due has happened

	for _, days := range []int{0, -1, advanceMost + 1} {
		_, err := w.p.Advance(t.Context(), days)
		require.ErrorIs(t, err, ErrAdvance)
	}
	file := filepath.Join(w.dir, fileClock)
	require.NoError(t, os.WriteFile(file, []byte("-1\n"), 0o600))
	w.p.clock.looked = time.Time{}
	require.Equal(t, now, w.p.now(), "a damaged file moves nothing back")
	_, err = w.p.Advance(t.Context(), 1)
	require.ErrorContains(t, err, "damaged")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprint((48*time.Hour).Milliseconds())), 0o600))
	copied := filepath.Join(t.TempDir(), "copy")
	_, err = w.p.Backup(t.Context(), copied)
	require.NoError(t, err)
	require.NoError(t, w.p.Close())
	_, err = Restore(w.dir, copied)
	require.NoError(t, err)
	w.open()
	require.Equal(t, now, w.p.now())

	w.p.secrets.Demo = false
	_, err = w.p.Advance(t.Context(), 1)
	require.ErrorIs(t, err, ErrNotDemo)
}

// standings is one account between its person, its card, the counter and the operator.
type standings struct {
	*rapid.T
	w      *world
	c      *teller
	clerk  person
	k      *chip
	corner *shop

	open   bool // an order is
	grant  wallet.Grant
	loaded bool              // the card executed it
	proof  wallet.StepResult // what it answered then
}

// TestAccount_AnyLifeKeepsTheMoney: whatever happens to account and card in whatever
// order, no money appears or vanishes, what is held is what is open, and evidence is
// taken in every state.
func TestAccount_AnyLifeKeepsTheMoney(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		noDayLimits(c)
		c.HashCost = HashCost{MemoryKiB: 64, Passes: 1} // these passwords protect nothing
	})
	born := 0
	rapid.Check(t, func(r *rapid.T) {
		born++
		phone := fmt.Sprintf("137%08d", born)
		require.NoError(r, w.p.Seed(t.Context(), phone, 50000, nil, ""))
		x := &standings{T: r, w: w, corner: &shop{terminal: cornerShop}, clerk: w.staff(fmt.Sprintf("mei-%d", born), api.RoleClerk)}
		x.k = w.issued(fmt.Sprintf("62200002%08d", born))
		x.c = w.teller(phone)
		x.c.must(http.StatusOK, x.c.addCard(x.k), nil)
		moves := []func(*standings){
			(*standings).topUp, (*standings).topUp, (*standings).prove, (*standings).prove, (*standings).cancel, (*standings).person,
			(*standings).person, (*standings).counter, (*standings).card, (*standings).card, (*standings).time,
		}
		for range rapid.IntRange(5, 18).Draw(r, "moves") {
			rapid.SampledFrom(moves).Draw(r, "move")(x)
			x.check()
		}
		x.cancel() // whatever became of account and card, the card's proof settles what is open
		x.check()
	})
}

// check: the books balance, what is held is what is open, and main, held and card are
// all the money that there ever was.
func (x *standings) check() {
	report, err := x.w.p.Check(x.w.t.Context())
	require.NoError(x, err)
	require.True(x, report.OK(), "%+v", report)
	user := x.c.session.User
	sum := x.w.balance(mainAccount(user)) + x.w.balance(heldAccount(user)) + x.k.Balance()
	if x.open && x.loaded {
		sum -= x.grant.Amount // on the card and still held
	}
	require.Equal(x, wallet.Fen(50000), sum)
}

func (x *standings) renew() {
	x.c.freshNonce()
	x.clerk.freshNonce()
	if len(x.c.leases) < 2 || !x.w.clock.Before(x.c.session.AccessExpires) {
		x.c.login()
	}
}

// topUp asks for a grant; the card executes it or is taken away before.
func (x *standings) topUp() {
	x.renew()
	if x.open || x.k.Balance() > 30000 {
		return
	}
	answer := x.c.order(x.k, 1000).init().send()
	if refusalOf(x.w.t, answer) != "" {
		return
	}
	script, grant := x.c.grantOf(answer)
	x.open, x.grant, x.loaded = true, grant, rapid.Bool().Draw(x.T, "credited")
	if x.loaded {
		var err error
		x.proof, err = x.k.credit(script)
		require.NoError(x, err)
	}
}

// prove brings the TAC, in whatever state account and card are by now.
func (x *standings) prove() {
	if x.open && x.loaded {
		x.renew()
		require.Equal(x, wallet.StateLoaded, x.c.stateOf(x.c.result(x.grant, nil, x.proof)).State)
		x.open = false
	}
}

// cancel settles by the card.
func (x *standings) cancel() {
	if !x.open {
		return
	}
	x.renew()
	answer, _ := x.c.evidence(x.k, openOf(x.grant), wallet.IntentCancel)
	want := wallet.StateVoided
	if x.loaded {
		want = wallet.StateLoaded
	}
	require.Equal(x, want, x.c.stateOf(answer).State)
	x.open = false
}

func (x *standings) person() {
	x.renew()
	until := x.w.clock.Add(time.Duration(rapid.IntRange(1, 400).Draw(x.T, "hours")) * time.Hour)
	rapid.SampledFrom([]func(){
		func() { x.c.freeze(nil) }, func() { x.c.freeze(&until) }, func() { x.c.thaw() },
		func() { x.c.loss(api.LossOral) }, func() { x.c.loss(api.LossWritten) }, func() { owedOrOther(x, x.c.close(false, false)) },
	}).Draw(x.T, "person")()
}

// owedOrOther: an account with money in it is never closed by a request that waives nothing.
func owedOrOther(x *standings, answer *httptest.ResponseRecorder) {
	require.NotEqual(x, http.StatusOK, answer.Code)
}

func (x *standings) counter() {
	x.renew()
	act := rapid.SampledFrom([]string{api.ActFreeze, api.ActThaw, api.ActLoss, api.ActFound, api.ActChangeSIM, api.ActPhoneState}).Draw(x.T, "act")
	answer := x.clerk.actOn(x.c.phone, act, func(a *api.StaffAccountAct) {
		if act == api.ActPhoneState {
			a.PhoneState = rapid.SampledFrom([]string{api.PhoneActive, api.PhoneSuspended, api.PhoneCancelled}).Draw(x.T, "phone")
		}
	})
	if act == api.ActChangeSIM && answer.Code == http.StatusOK {
		x.c.session.AccessToken = ""
		x.c.enrol()
		x.c.login()
	}
}

func (x *standings) card() {
	x.renew()
	rapid.SampledFrom([]func(){
		func() { x.c.onCard(api.PathCardSuspend, x.k, struct{}{}) }, func() { x.c.onCard(api.PathCardResume, x.k, struct{}{}) },
		func() { x.c.onCard(api.PathCardLoss, x.k, api.LossRequest{Kind: api.LossOral}) }, func() { x.c.found(x.k) },
		func() {
			x.clerk.onCard(api.PathStaffCardState, x.k, api.StaffCardAct{Act: api.ActFound, Reason: "here"})
		},
		func() {
			if answer := x.c.onCard(api.PathCardRemove, x.k, struct{}{}); answer.Code == http.StatusOK {
				require.False(x, x.open, "no card leaves with an open order")
				x.c.must(http.StatusOK, x.c.addCard(x.k), nil)
			}
		},
	}).Draw(x.T, "card")()
}

func (x *standings) time() {
	x.w.clock = x.w.clock.Add(time.Duration(rapid.IntRange(1, 24).Draw(x.T, "days")) * 24 * time.Hour)
	require.NoError(x, x.w.p.SettleStates(x.w.t.Context()))
	x.clerk = x.w.staff(x.w.p.newID("c"), api.RoleClerk)
	x.c.login()
}
