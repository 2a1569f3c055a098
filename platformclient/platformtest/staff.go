package platformtest

import (
	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// staffCases are the cases of the service counter.
var staffCases = []testCase{
	{"counter settles by card", testCounterSettles},
	{"two persons decide", testTwoPersons},
	{"counter settles a purchase", testCounterSettlesPurchase},
	{"companions", testCompanions},
	{"service closed and opened", testService},
	{"staff and customers are apart", testApart},
}

// staff logs a member of staff in, at a computer of the counter.
func (w *world) staff(role string) platformclient.Staff {
	w.t.Helper()
	name, password := w.subject.Staff(w.t, role)
	staff := w.newClient(newVault()).Staff()
	session, err := staff.Login(w.t.Context(), name, password)
	require.NoError(w.t, err)
	require.Equal(w.t, role, session.Role)
	require.Empty(w.t, session.AccessToken, "the token stays in the vault")
	told, err := staff.Connect(w.t.Context())
	require.NoError(w.t, err)
	require.NotEmpty(w.t, told.Scripts[profileName].Steps)
	require.NotEmpty(w.t, told.PurchaseScripts[profileName].Steps)
	return staff
}

func testCounterSettles(w *world) {
	w.login()
	before := w.main()
	open, _ := w.cut(false)
	clerk := w.staff(api.RoleClerk)
	pending, err := clerk.Pending(w.t.Context(), open.ASN)
	require.NoError(w.t, err)
	require.Len(w.t, pending, 1)
	desk := w.desk(w.field())
	desk.Issuer = clerk.Issuer()
	out, err := desk.Sync(w.t.Context(), pending[0], wallet.Entry{}, wallet.IntentCancel, w.profile, w.script())
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateVoided, out.State.State)
	require.Equal(w.t, before, w.main(), "the money is back with its payer")
	require.Zero(w.t, out.State.ReceiptBody.MainBalance, "the counter sees no balance of the payer")
	state, err := clerk.Load(w.t.Context(), open.Order)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateVoided, state.State)
	told, err := clerk.Orders(w.t.Context(), open.ASN, "")
	require.NoError(w.t, err)
	require.Equal(w.t, "none", told.Orders[0].Next)
}

func testTwoPersons(w *world) {
	w.login()
	before := w.main()
	open, _ := w.cut(false)
	clerk, boss := w.staff(api.RoleClerk), w.staff(api.RoleSupervisor)
	ctx := w.t.Context()
	ask := api.StaffDecision{Order: open.Order, As: string(wallet.StateVoided), Reason: "the card does not answer"}
	_, err := clerk.Propose(ctx, ask)
	require.Equal(w.t, api.CodeNotInSuspense, platformclient.CodeOf(err), "the card can still prove it")
	ask.WithoutCard = "blocked"
	first, err := clerk.Propose(ctx, ask)
	require.NoError(w.t, err)
	_, err = clerk.Confirm(ctx, first.Proposal, "mine")
	require.Equal(w.t, api.CodeSecondPerson, platformclient.CodeOf(err))
	rejected, err := boss.Reject(ctx, first.Proposal, "not yet")
	require.NoError(w.t, err)
	require.Equal(w.t, "REJECTED", rejected.State)
	second, err := clerk.Propose(ctx, ask)
	require.NoError(w.t, err)
	waiting, err := boss.Proposals(ctx)
	require.NoError(w.t, err)
	require.Len(w.t, waiting.Proposals, 1)
	confirmed, err := boss.Confirm(ctx, second.Proposal, "seen")
	require.NoError(w.t, err)
	require.Equal(w.t, "CONFIRMED", confirmed.State)
	require.Equal(w.t, before, w.main())
	state, err := w.client.Load(ctx, open.Order)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateVoided, state.State)
	require.Equal(w.t, "staff", state.Evidence)
	require.NoError(w.t, boss.Logout(ctx))
	_, err = boss.Proposals(ctx)
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err))
}

func testCounterSettlesPurchase(w *world) {
	payment := w.beginPurchase()
	card := w.field()
	card.cutBefore = insDebit
	_, err := w.pay(card, payment)
	require.Error(w.t, err)
	clerk := w.staff(api.RoleClerk)
	open, err := clerk.PendingPurchases(w.t.Context(), payment.ASN)
	require.NoError(w.t, err)
	require.Len(w.t, open, 1)
	desk := w.desk(w.field())
	desk.Cashier = clerk.Cashier()
	out, err := desk.SettlePurchase(w.t.Context(), open[0], wallet.Entry{}, w.profile, w.script())
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchaseNotTaken, out.Purchase.State)
	statement, err := clerk.Purchase(w.t.Context(), open[0].Purchase)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchaseNotTaken, statement.State)
}

func testCompanions(w *world) {
	w.login()
	clerk, ctx := w.staff(api.RoleClerk), w.t.Context()
	change := api.StaffCompanionChange{Phone: w.subject.Phone, Serial: "WC-0001", Register: true, Reason: "handed over"}
	told, err := clerk.Companion(ctx, change)
	require.NoError(w.t, err)
	require.Equal(w.t, []string{"WC-0001"}, told.Serials)
	order := w.order()
	w.refused(w.ask(order, w.lease()), api.CodeCompanionRefused)
	change.Register = false
	_, err = clerk.Companion(ctx, change)
	require.NoError(w.t, err)
	_, err = w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
}

func testService(w *world) {
	w.login()
	clerk, boss, ctx := w.staff(api.RoleClerk), w.staff(api.RoleSupervisor), w.t.Context()
	_, err := clerk.Service(ctx, api.StaffServiceChange{All: true, Reason: "night"})
	require.Equal(w.t, api.CodeStaffRole, platformclient.CodeOf(err))
	_, err = boss.Service(ctx, api.StaffServiceChange{All: true, Reason: "night"})
	require.NoError(w.t, err)
	w.refused(w.ask(w.order(), w.lease()), api.CodeServiceClosed)
	w.main() // queries go on
	_, err = boss.Service(ctx, api.StaffServiceChange{All: true, Open: true, Reason: "day"})
	require.NoError(w.t, err)
	_, err = w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
}

func testApart(w *world) {
	w.login()
	_, err := w.client.Staff().Proposals(w.t.Context())
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err), "a customer's session is none of staff")
	name, password := w.subject.Staff(w.t, api.RoleClerk)
	client := w.newClient(newVault())
	_, err = client.Staff().Login(w.t.Context(), name, password)
	require.NoError(w.t, err)
	_, err = client.Account(w.t.Context())
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err), "a session of staff is none of a customer")
	_, err = client.Staff().Login(w.t.Context(), name, flipped(password))
	require.Equal(w.t, api.CodePasswordWrong, platformclient.CodeOf(err))
}
