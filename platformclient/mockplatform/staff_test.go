package mockplatform

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// person is a member of staff at a computer of the counter.
type person struct{ *teller }

// staff makes an account and logs in. The password is drawn, as every secret is.
func (w *world) staff(name, role string) person {
	w.t.Helper()
	password := w.p.newID("pw-")
	require.NoError(w.t, w.p.AddStaff(context.Background(), name, role, password))
	s := person{w.stranger(name)}
	s.must(http.StatusOK, s.tryStaff(password), &s.session)
	return s
}

func (s person) tryStaff(password string) *httptest.ResponseRecorder {
	s.freshNonce()
	s.session.AccessToken = ""
	return s.post(api.PathStaffSession, "", api.StaffLogin{
		Name: s.phone, PWSeal: s.loginSeal(api.PathStaffSession, password), DeviceKey: wallet.Hex(s.public()),
	})
}

func (s person) propose(order, as string) *httptest.ResponseRecorder {
	return s.post(api.PathStaffProposals, s.w.newKey(), api.StaffDecision{Order: order, As: as, Reason: "the customer's slip"})
}

func (s person) proposed(order, as string) api.StaffProposal {
	s.w.t.Helper()
	var told api.StaffProposal
	s.must(http.StatusOK, s.propose(order, as), &told)
	return told
}

func (s person) end(path, id string) *httptest.ResponseRecorder {
	return s.post(strings.Replace(path, "{id}", id, 1), s.w.newKey(), api.StaffReason{Reason: "seen the card"})
}

func (s person) refusedWith(code string, answer *httptest.ResponseRecorder) {
	s.w.t.Helper()
	refusedAs(s.w.t, code, answer)
}

func refusedAs(t testing.TB, code string, answer *httptest.ResponseRecorder) {
	t.Helper()
	var body api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	require.Equal(t, code, body.Error.Code, answer.Body.String())
	require.GreaterOrEqual(t, answer.Code, 400)
}

func (s person) orders(query string) api.StaffOrders {
	s.w.t.Helper()
	var told api.StaffOrders
	s.must(http.StatusOK, s.get(api.PathStaffOrders+"?"+query), &told)
	return told
}

// suspended leaves a granted top-up of 50 yuan in SUSPENSE.
func (w *world) suspended(cause string) (*teller, *chip, wallet.Grant) {
	w.t.Helper()
	k := w.card(serial, virtualcard.Spec{Balance: 1000})
	c := w.teller(testPhone)
	_, grant := c.order(k, 5000).init().granted()
	w.exec(`UPDATE orders SET state = 'SUSPENSE', cause = ? WHERE id = ?`, cause, grant.Order)
	return c, k, grant
}

func TestStaff_FourEyes(t *testing.T) {
	for _, target := range []wallet.LoadState{wallet.StateLoaded, wallet.StateVoided} {
		t.Run(string(target), func(t *testing.T) {
			w := newWorld(t)
			c, _, grant := w.suspended("REPEATED_RANDOM")
			before := w.balance(mainAccount(c.session.User))
			clerk, boss, other := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor), w.staff("wu", api.RoleClerk)

			line := clerk.orders("asn=" + grant.ASN.String()).Orders[0]
			require.Equal(t, "decide", line.Next)
			require.Equal(t, wallet.Fen(5000), line.Held)
			require.Equal(t, "*******0001", line.Payer)

			told := clerk.proposed(grant.Order, string(target))
			require.Equal(t, told, clerk.proposed(grant.Order, string(target)), "asked again after a lost answer")
			clerk.refusedWith(api.CodeSecondPerson, clerk.end(api.PathStaffConfirm, told.Proposal))
			clerk.refusedWith(api.CodeStaffRole, other.end(api.PathStaffConfirm, told.Proposal))
			clerk.refusedWith(api.CodeProposalOpen, other.propose(grant.Order, string(target)))
			require.Equal(t, wallet.Fen(5000), w.check().SuspenseFen, "nothing has moved")
			require.Equal(t, "confirm", boss.orders("order=" + grant.Order).Orders[0].Next)

			boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), &told)
			require.Equal(t, "CONFIRMED", told.State)
			require.Equal(t, "lin", told.Second)
			boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), nil) // again after a lost answer
			report := w.check()
			require.Zero(t, report.HeldFen)
			back := wallet.Fen(0)
			if target == wallet.StateVoided {
				back = 5000
			}
			require.Equal(t, before+back, w.balance(mainAccount(c.session.User)))
			clerk.refusedWith(api.CodeNotInSuspense, clerk.propose(grant.Order, "VOIDED"))

			// The customer hears of it, signed, with a receipt.
			state := c.stateOf(c.get(strings.Replace(api.PathLoad, "{id}", grant.Order, 1)))
			require.Equal(t, target, state.State)
			require.Equal(t, "staff", state.Evidence)
			require.Equal(t, target, state.ReceiptBody.State)
			require.Equal(t, wallet.Fen(1000), state.ReceiptBody.BalanceBefore)
		})
	}
}

func TestStaff_ASupervisorDoesNotConfirmTheOwnProposal(t *testing.T) {
	w := newWorld(t)
	_, _, grant := w.suspended("AGE")
	boss := w.staff("lin", api.RoleSupervisor)
	told := boss.proposed(grant.Order, "VOIDED")
	boss.refusedWith(api.CodeSecondPerson, boss.end(api.PathStaffConfirm, told.Proposal))
	require.Equal(t, wallet.Fen(5000), w.check().SuspenseFen)
}

// Two supervisors at the same moment: the money moves once.
func TestStaff_TwoConfirmationsCreditOnce(t *testing.T) {
	w := newWorld(t)
	c, _, grant := w.suspended("AGE")
	clerk, one, two := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor), w.staff("zhao", api.RoleSupervisor)
	told := clerk.proposed(grant.Order, "VOIDED")
	before := w.balance(mainAccount(c.session.User))
	one.freshNonce()
	two.freshNonce()
	requests := []*http.Request{}
	for _, s := range []person{one, two} {
		requests = append(requests, s.request(http.MethodPost, strings.Replace(api.PathStaffConfirm, "{id}", told.Proposal, 1), w.newKey(),
			mustJSON(t, api.StaffReason{Reason: "agreed"})))
	}
	statuses := make([]int, 2)
	var both sync.WaitGroup
	for i, request := range requests {
		both.Go(func() { statuses[i] = one.do(request).Code })
	}
	both.Wait()
	require.ElementsMatch(t, []int{http.StatusOK, http.StatusConflict}, statuses)
	require.Equal(t, before+5000, w.balance(mainAccount(c.session.User)))
	w.check()
}

// What changed since the proposal voids it: evidence, and a restore.
func TestStaff_AStaleProposalIsVoid(t *testing.T) {
	w := newWorld(t)
	c, k, grant := w.suspended("AGE")
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	told := clerk.proposed(grant.Order, "VOIDED")
	open := openOf(grant)
	answer, _ := c.evidence(k, open, wallet.IntentSettle) // the card speaks after all
	require.Equal(t, wallet.StateSuspense, c.stateOf(answer).State)
	wrong := api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Open: k.open(c.scripts[profilePBOC], 5000, grant.ProbeTID)}
	last := &wrong.Open.Steps[len(wrong.Open.Steps)-1]
	last.Data[len(last.Data)-1] ^= 1
	c.attempt(grant.Order, wrong)

	boss.refusedWith(api.CodeProposalStale, boss.end(api.PathStaffConfirm, told.Proposal))
	require.Equal(t, wallet.Fen(5000), w.check().SuspenseFen)
	boss.refusedWith(api.CodeProposalClosed, boss.end(api.PathStaffConfirm, told.Proposal))
	require.NotEqual(t, told.Proposal, clerk.proposed(grant.Order, "LOADED").Proposal, "a new one may be made")

	// The card proves in the end, and nobody can decide any more.
	answer, _ = c.evidence(k, open, wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
	for _, waiting := range boss.proposals() {
		boss.refusedWith(api.CodeProposalStale, boss.end(api.PathStaffConfirm, waiting.Proposal))
	}
	w.check()
}

func (s person) proposals() []api.StaffProposal {
	var told api.StaffProposals
	s.must(http.StatusOK, s.get(api.PathStaffProposals), &told)
	return told.Proposals
}

func TestStaff_ARejectedProposalMovesNothing(t *testing.T) {
	w := newWorld(t)
	_, _, grant := w.suspended("AGE")
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	told := clerk.proposed(grant.Order, "VOIDED")
	boss.must(http.StatusOK, boss.end(api.PathStaffReject, told.Proposal), &told)
	require.Equal(t, "REJECTED", told.State)
	boss.refusedWith(api.CodeProposalClosed, boss.end(api.PathStaffConfirm, told.Proposal))
	require.Equal(t, wallet.Fen(5000), w.check().SuspenseFen)
	require.Empty(t, boss.proposals())
}

// Value that a card proved after its money went back cannot be given back again.
func TestStaff_ValueCreatedIsNeverVoidedAgain(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	answer, err := k.credit(granted)
	require.NoError(t, err)
	w.exec(`UPDATE orders SET state = 'VOIDED' WHERE id = ?`, grant.Order)
	require.NoError(t, w.p.store.Update(context.Background(), func(tx *Tx) error {
		o, err := findOrder(tx, `id = ?`, grant.Order)
		if err != nil {
			return err
		}
		return w.p.releaseHold(tx, o)
	}))
	require.Equal(t, wallet.StateSuspense, c.stateOf(c.result(grant, &granted.Grant, answer)).State)
	before := w.balance(mainAccount(c.session.User))

	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	clerk.refusedWith(api.CodeDecisionRefused, clerk.propose(grant.Order, "VOIDED"))
	told := clerk.proposed(grant.Order, "LOADED")
	boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), nil)
	require.Equal(t, before, w.balance(mainAccount(c.session.User)), "nobody is charged without asking")
	require.Equal(t, wallet.Fen(-5000), w.balance(accountRecovery), "it stays a receivable")
	w.check()
}

func TestStaff_PurchasesEndByTwo(t *testing.T) {
	for _, target := range []wallet.PurchaseStateName{wallet.PurchasePaid, wallet.PurchaseRefunded, wallet.PurchaseNotTaken} {
		t.Run(string(target), func(t *testing.T) {
			w := newWorld(t)
			c, _, _, _, grant := w.begin(virtualcard.Spec{Balance: 9000})
			before := w.balance(mainAccount(c.session.User))
			clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
			clerk.refusedWith(api.CodeNotInSuspense, clerk.propose(grant.Purchase, string(target)))
			w.exec(`UPDATE purchases SET state = 'SUSPENSE', cause = 'SUM' WHERE id = ?`, grant.Purchase)
			clerk.refusedWith(api.CodeDecisionRefused, clerk.propose(grant.Purchase, "VOIDED"))
			told := clerk.proposed(grant.Purchase, string(target))
			boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), nil)
			w.check()
			back := wallet.Fen(0)
			if target == wallet.PurchaseRefunded {
				back = grant.Amount
			}
			require.Equal(t, before+back, w.balance(mainAccount(c.session.User)))
			statement := c.statementOf(c.get(strings.Replace(api.PathPurchase, "{id}", grant.Purchase, 1)))
			require.Equal(t, target, statement.State)
			require.Equal(t, "staff", statement.Evidence)
			boss.refusedWith(api.CodeNotInSuspense, boss.propose(grant.Purchase, "REFUNDED"))
		})
	}
}

// Rows 22 and 31: the card can prove nothing any more.
func TestStaff_WithoutCard(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := c.order(k, 5000).init().granted()
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	ask := func(as, without string) *httptest.ResponseRecorder {
		return clerk.post(api.PathStaffProposals, w.newKey(), api.StaffDecision{Order: grant.Order, As: as, Reason: "no answer", WithoutCard: without})
	}
	clerk.refusedWith(api.CodeNotInSuspense, clerk.propose(grant.Order, "VOIDED"))
	clerk.refusedWith(api.CodeDecisionRefused, ask("VOIDED", "lost")) // shops may still prove that it was loaded
	require.Equal(t, 1, w.check().OpenOrders, "a refused proposal suspends nothing")

	w.clock = w.clock.Add(uploadWindow + time.Hour)
	clerk.must(http.StatusUnauthorized, ask("VOIDED", "lost"), nil)
	clerk, boss = w.staff("mei2", api.RoleClerk), w.staff("lin2", api.RoleSupervisor)
	var told api.StaffProposal
	clerk.must(http.StatusOK, ask("VOIDED", "lost"), &told)
	require.Equal(t, "CARD_LOST", clerk.orders("order=" + grant.Order).Orders[0].Cause)
	boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), nil)
	require.Zero(t, w.check().HeldFen)
	c.login()
	c.order(k, 5000).init().refusedWith(api.CodeCardState) // a lost card is black
}

// A restore may have lost what shops had uploaded of a lost card: its money waits until
// they have had a window to send it again.
func TestStaff_LostCardWaitsForUploadsAfterARestore(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := c.order(k, 5000).init().granted()
	w.clock = w.clock.Add(uploadWindow + time.Hour)
	w.restore(w.backup())
	clerk := w.staff("mei", api.RoleClerk)
	ask := func() *httptest.ResponseRecorder {
		return clerk.post(api.PathStaffProposals, w.newKey(), api.StaffDecision{Order: grant.Order, As: "VOIDED", Reason: "no answer", WithoutCard: "lost"})
	}
	clerk.refusedWith(api.CodeDecisionRefused, ask())
	require.Equal(t, 1, w.check().OpenOrders)
	w.clock = w.clock.Add(uploadWindow + time.Second)
	clerk = w.staff("mei2", api.RoleClerk)
	clerk.must(http.StatusOK, ask(), nil)
}

// At the counter the card settles without the customer; it completes nothing.
func TestStaff_SettlesByCardAlone(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	_, grant := c.order(k, 5000).init().granted()
	before := w.balance(mainAccount(c.session.User))
	clerk := w.staff("mei", api.RoleClerk)
	clerk.scripts = c.scripts
	var pending api.PendingAnswer
	clerk.must(http.StatusOK, clerk.get(strings.Replace(api.PathStaffPending, "{asn}", k.ASN().String(), 1)), &pending)
	require.Len(t, pending.Orders, 1)
	settle := func(intent wallet.Intent) wallet.OrderState {
		request := api.AttemptRequest{Attempt: 1, Intent: intent, Open: k.open(c.scripts[profilePBOC], 5000, grant.ProbeTID)}
		return clerk.stateOf(clerk.post(strings.Replace(api.PathStaffAttempts, "{id}", grant.Order, 1), w.newKey(), request))
	}
	require.Equal(t, api.CodeNotPayer, settle(wallet.IntentComplete).Code)
	require.Equal(t, wallet.StateGranted, settle(wallet.IntentSettle).State)
	state := settle(wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, state.State)
	require.Zero(t, state.ReceiptBody.MainBalance, "the counter sees no balance of the payer")
	require.Equal(t, before+5000, w.balance(mainAccount(c.session.User)))
	w.check()
}

// No session of one kind opens a route of the other, and no forged token any.
func TestStaff_SessionsAreApart(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	clerk := w.staff("mei", api.RoleClerk)
	for _, route := range w.p.Routes() {
		path := strings.NewReplacer("{id}", "X", "{asn}", "00006210000112345678", "{code}", "X").Replace(route.Path)
		call := func(s *teller) int {
			if route.Method == http.MethodGet {
				return s.get(path).Code
			}
			return s.post(path, w.newKey(), struct{}{}).Code
		}
		switch route.Auth {
		case "staff":
			require.Equal(t, http.StatusUnauthorized, call(c), "a customer at %s", route.Path)
			require.Equal(t, http.StatusUnauthorized, call(w.stranger("nobody")), route.Path)
		case "session", "device", "evidence":
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, call(clerk.teller), "staff at %s", route.Path)
		}
	}

	// The token under another key, another token under the key, and both of another.
	thief := w.stranger("mei")
	thief.session.AccessToken = clerk.session.AccessToken
	require.GreaterOrEqual(t, thief.get(api.PathStaffProposals).Code, 401)
	forged := person{w.stranger("mei")}
	forged.key, forged.session.AccessToken = clerk.key, clerk.session.AccessToken[:len(clerk.session.AccessToken)-1]+"_"
	forged.refusedWith(api.CodeNotLoggedIn, forged.get(api.PathStaffProposals))
	clerk.must(http.StatusOK, clerk.get(api.PathStaffProposals), nil)

	w.clock = w.clock.Add(staffLife)
	clerk.freshNonce()
	clerk.refusedWith(api.CodeNotLoggedIn, clerk.get(api.PathStaffProposals))
}

func TestStaff_LoginLocksAndEnds(t *testing.T) {
	w := newWorld(t)
	password := w.p.newID("pw-")
	require.NoError(t, w.p.AddStaff(context.Background(), "mei", api.RoleClerk, password))
	require.ErrorIs(t, w.p.AddStaff(context.Background(), "mei", api.RoleClerk, password), ErrStaffKnown)
	require.ErrorIs(t, w.p.AddStaff(context.Background(), "me i", api.RoleClerk, password), ErrStaffName)
	require.ErrorIs(t, w.p.AddStaff(context.Background(), "lin", "boss", password), ErrStaffRole)
	require.ErrorIs(t, w.p.AddStaff(context.Background(), "lin", api.RoleClerk, password[:9]), ErrStaffPassword)
	s := person{w.stranger("mei")}
	for range loginFails {
		s.refusedWith(api.CodePasswordWrong, s.tryStaff(password+"x"))
	}
	s.refusedWith(api.CodePasswordLocked, s.tryStaff(password))
	require.Contains(t, w.alarms(), "STAFF_LOCKED")
	w.clock = w.clock.Add(loginLock + time.Second)
	s.must(http.StatusOK, s.tryStaff(password), &s.session)
	s.must(http.StatusOK, s.get(api.PathStaffSession), nil)
	require.NoError(t, w.p.DismissStaff(context.Background(), "mei"))
	s.refusedWith(api.CodeNotLoggedIn, s.get(api.PathStaffSession))
	s.refusedWith(api.CodePasswordWrong, s.tryStaff(password))
	unknown := person{w.stranger("nobody")}
	unknown.refusedWith(api.CodePasswordWrong, unknown.tryStaff(password))
	w.check()
}

// A restore ends the sessions of staff: a token of before is void.
func TestStaff_ARestoreEndsSessions(t *testing.T) {
	w := newWorld(t)
	clerk := w.staff("mei", api.RoleClerk)
	file := t.TempDir() + "/backup.db"
	_, err := w.p.Backup(context.Background(), file)
	require.NoError(t, err)
	require.NoError(t, w.p.Close())
	_, err = Restore(w.dir, file)
	require.NoError(t, err)
	w.open()
	clerk.freshNonce()
	clerk.refusedWith(api.CodeNotLoggedIn, clerk.get(api.PathStaffProposals))
}

func (s person) companion(phone, serial string, register bool) *httptest.ResponseRecorder {
	return s.post(api.PathStaffCompanions, s.w.newKey(), api.StaffCompanionChange{Phone: phone, Serial: serial, Register: register, Reason: "handed over"})
}

// enrolWith is enrol with a companion's serial.
func (c *teller) enrolWith(serial string) *httptest.ResponseRecorder {
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: c.phone, Purpose: "device"}), &sent)
	c.freshNonce()
	credentials := c.w.p.Profile().DemoCredentials
	return c.post(api.PathDevices, "", api.DeviceRequest{
		Phone: c.phone, SMS: api.SMSCode{CodeID: sent.CodeID, Code: credentials.SMSCode}, LoginPWSeal: c.loginSeal(api.PathDevices, credentials.LoginPassword),
		DeviceKey: wallet.Hex(c.public()), DeviceName: "test", CompanionSN: serial,
	})
}

func TestCompanion_Register(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	clerk := w.staff("mei", api.RoleClerk)
	early := w.teller(testPhone) // enrolled before anything was registered
	var told api.StaffCompanions
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", true), &told)
	require.Equal(t, []string{"WC-0001"}, told.Serials)
	clerk.refusedWith(api.CodeCompanionTaken, clerk.companion("13900000009", "WC-0001", true))
	clerk.refusedWith(api.CodeNotFound, clerk.companion("13900000009", "WC-0001", false))

	// Enrolment: another companion and none at all fail, the registered one works.
	c := w.stranger(testPhone)
	refusedAs(t, api.CodeCompanionRefused, c.enrolWith("WC-0002"))
	answer := c.enrolWith("")
	refusedAs(t, api.CodeCompanionRefused, answer)
	require.Contains(t, answer.Body.String(), api.Thumbprint(c.public()), "it says what the counter may register")
	c.must(http.StatusOK, c.enrolWith("WC-0001"), nil)
	c.login()

	// Money: only from the registered one. Queries work from any.
	order := c.order(k, 5000).init()
	order.request.CompanionSN = "WC-0001"
	_, grant := order.granted()
	early.must(http.StatusOK, early.get(api.PathAccount), nil)
	other := early.order(k, 5000)
	other.request.CompanionSN = "WC-0002"
	other.init().refusedWith(api.CodeCompanionRefused)
	early.order(k, 5000).init().refusedWith(api.CodeCompanionRefused)

	// Settling works from any; completing is a new grant, and does not.
	complete, _ := early.evidence(k, openOf(grant), wallet.IntentComplete)
	require.Equal(t, api.CodeCompanionRefused, early.stateOf(complete).Code)
	cancelled, _ := early.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, early.stateOf(cancelled).State)

	// Where a reader tells no serial, the key of the computer is registered instead.
	clerk.must(http.StatusOK, clerk.companion(testPhone, api.Thumbprint(early.public()), true), nil)
	early.order(k, 5000).init().granted()
	// Without any registration nothing is asked.
	clerk.must(http.StatusOK, clerk.companion(testPhone, api.Thumbprint(early.public()), false), nil)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", false), &told)
	require.Empty(t, told.Serials)
	fresh := w.stranger(testPhone)
	fresh.must(http.StatusOK, fresh.enrolWith(""), nil)
	w.check()
}

func (s person) service(change api.StaffServiceChange) *httptest.ResponseRecorder {
	change.Reason = "end of contract"
	return s.post(api.PathStaffServices, s.w.newKey(), change)
}

func TestService_Close(t *testing.T) {
	w := newWorld(t)
	k, second := w.card(serial, virtualcard.Spec{}), w.card("6210000112345679", virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	c.known(second)
	_, grant := c.order(k, 5000).init().granted()
	for _, change := range []api.StaffServiceChange{{Phone: testPhone}, {All: true}} {
		clerk.refusedWith(api.CodeBadRequest, clerk.service(api.StaffServiceChange{Phone: testPhone, All: true}))
		if change.All {
			clerk.refusedWith(api.CodeStaffRole, clerk.service(change))
		}
		boss.must(http.StatusOK, boss.service(change), nil)
		boss.must(http.StatusOK, boss.service(change), nil)
		c.order(second, 1000).init().refusedWith(api.CodeServiceClosed)
		c.pay(second, w.shopOrder(1000), 1000).init().refusedWith(api.CodeServiceClosed)
		refusedAs(t, api.CodeServiceClosed, c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: second.ASN(), Amount: 1000}))
		c.must(http.StatusOK, c.get(api.PathAccount), nil)
		complete, _ := c.evidence(k, openOf(grant), wallet.IntentComplete)
		require.Equal(t, api.CodeServiceClosed, c.stateOf(complete).Code)
		settled, _ := c.evidence(k, openOf(grant), wallet.IntentSettle)
		require.Equal(t, wallet.StateGranted, c.stateOf(settled).State)
		change.Open = true
		boss.must(http.StatusOK, boss.service(change), nil)
		c.login()
	}
	boss.must(http.StatusOK, boss.service(api.StaffServiceChange{Phone: "13900000009"}), nil) // somebody else's
	boss.must(http.StatusOK, boss.service(api.StaffServiceChange{All: true}), nil)
	cancelled, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(cancelled).State, "an open order still settles")
	boss.must(http.StatusOK, boss.service(api.StaffServiceChange{All: true, Open: true}), nil)
	c.order(k, 1000).init().granted()
	w.check()
}

// Every act of staff stands in the audit log with who, what, why, before and after.
func TestStaff_EveryActIsWrittenDown(t *testing.T) {
	w := newWorld(t)
	_, _, grant := w.suspended("AGE")
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	clerk.orders("asn=" + grant.ASN.String())
	told := clerk.proposed(grant.Order, "VOIDED")
	boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, told.Proposal), nil)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", true), nil)
	boss.must(http.StatusOK, boss.service(api.StaffServiceChange{All: true}), nil)
	found := map[string]string{}
	require.NoError(t, w.p.store.View(context.Background(), func(tx *Tx) error {
		for _, action := range []string{"staff-added", "staff-login", "staff-orders", "decision-proposed", "decision-confirmed", "companion", "service"} {
			var actor, subject, detail string
			if _, err := tx.row(`SELECT actor, subject, detail FROM audit WHERE action = ? ORDER BY seq DESC LIMIT 1`, []any{action}, &actor, &subject, &detail); err != nil {
				return err
			}
			found[action] = actor + " | " + subject + " | " + detail
		}
		return nil
	}))
	require.Equal(t, map[string]string{
		"staff-added":        "admin | lin | supervisor",
		"staff-login":        "staff lin | lin | supervisor",
		"staff-orders":       "staff mei | " + grant.ASN.Masked() + " | ",
		"decision-proposed":  "staff mei | " + grant.Order + ` | the customer's slip: "SUSPENSE" -> "VOIDED"`,
		"decision-confirmed": "staff lin | " + grant.Order + ` | seen the card: "SUSPENSE" -> "VOIDED"`,
		"companion":          `staff mei | WC-0001 | handed over: " " -> "13800000001 REGISTERED"`,
		"service":            `staff lin | all services | end of contract: "OPEN" -> "CLOSED"`,
	}, found)
	require.Equal(t, "ok", w.check().AuditChain)
	clerk.refusedWith(api.CodeBadRequest, clerk.post(api.PathStaffProposals, "", api.StaffDecision{Order: grant.Order, As: "VOIDED"}))
}
