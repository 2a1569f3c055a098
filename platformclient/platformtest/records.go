package platformtest

import (
	"context"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// recordCases are the cases of limits, lists and what the platform has written down.
var recordCases = []testCase{
	{"limits of one's own", testOwnLimits},
	{"lists are cut into pages", testPages},
	{"grey and black list", testLists},
}

func testOwnLimits(w *world) {
	w.login()
	ctx := w.t.Context()
	shown, err := w.client.Limits(ctx)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, shown.Limits)
	require.Len(w.t, shown.Devices, 1)
	require.True(w.t, shown.Devices[0].This)
	low, high := w.amount-1, w.amount
	shown, err = w.client.SetLimit(ctx, api.LimitsChange{Device: shown.Devices[0].Device, Day: &low}, nil)
	require.NoError(w.t, err, "lowering asks nothing")
	require.Equal(w.t, low, *shown.Devices[0].Day)
	w.refused(w.ask(w.order(), w.lease()), api.CodeLimitDeviceSum)
	raise := api.LimitsChange{Device: shown.Devices[0].Device, Day: &high}
	_, err = w.client.SetLimit(ctx, raise, nil)
	require.Equal(w.t, api.CodeLimitNeedsPassword, platformclient.CodeOf(err))
	_, err = w.client.SetLimit(ctx, raise, func(context.Context) (string, error) { return flipped(w.subject.PaymentPassword), nil })
	require.Equal(w.t, api.CodePasswordWrong, platformclient.CodeOf(err))
	shown, err = w.client.SetLimit(ctx, raise, func(context.Context) (string, error) { return w.subject.PaymentPassword, nil })
	require.NoError(w.t, err)
	require.Equal(w.t, high, *shown.Devices[0].Day)
	verdict, err := w.issuer().RequestLoad(ctx, w.ask(w.order(), w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted, "the limit itself passes")
}

func testPages(w *world) {
	w.login()
	ctx := w.t.Context()
	for range 2 {
		w.cutAndCancel()
	}
	all, err := w.client.FindStatement(ctx, api.Selection{})
	require.NoError(w.t, err)
	require.GreaterOrEqual(w.t, len(all.Lines), 5, "paid in, and two loads that were returned")
	var paged []api.StatementLine
	for selection := (api.Selection{Limit: 2}); ; {
		page, err := w.client.FindStatement(ctx, selection)
		require.NoError(w.t, err)
		require.LessOrEqual(w.t, len(page.Lines), 2)
		paged = append(paged, page.Lines...)
		if page.Page.Next == "" {
			break
		}
		selection.Cursor = page.Page.Next
	}
	require.Equal(w.t, all.Lines, paged, "the same lines with the same balances")
	require.Equal(w.t, w.main(), all.Lines[0].Balance)
	orders, err := w.client.FindOrders(ctx, api.Selection{Limit: 1, State: string(wallet.StateVoided)})
	require.NoError(w.t, err)
	require.Len(w.t, orders.Orders, 1)
	older, err := w.client.FindOrders(ctx, api.Selection{Limit: 1, Cursor: orders.Page.Next})
	require.NoError(w.t, err)
	require.NotEqual(w.t, orders.Orders[0].Order, older.Orders[0].Order)
	none, err := w.client.FindPurchases(ctx, api.Selection{Open: true})
	require.NoError(w.t, err)
	require.Empty(w.t, none.Purchases)
	_, err = w.client.FindStatement(ctx, api.Selection{State: "LOADED"})
	require.Equal(w.t, api.CodeBadRequest, platformclient.CodeOf(err), "what a list does not know is refused")
}

// cutAndCancel takes a load that the card did not get back.
func (w *world) cutAndCancel() {
	w.t.Helper()
	open, _ := w.cut(false)
	desk := w.desk(w.field())
	desk.Issuer = w.issuer()
	out, err := desk.Sync(w.t.Context(), open, wallet.Entry{}, wallet.IntentCancel, w.profile, w.script())
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateVoided, out.State.State)
}

func testLists(w *world) {
	w.login()
	ctx := w.t.Context()
	clerk, boss := w.staff(api.RoleClerk), w.staff(api.RoleSupervisor)
	card := w.asn().String()
	told, err := clerk.TellList(ctx, api.StaffListChange{Kind: "card", Subject: card, Event: "FRAUD", Reason: "seen in a shop"})
	require.NoError(w.t, err)
	require.Equal(w.t, "BLACK", told.Standing)
	w.refused(w.ask(w.order(), w.lease()), api.CodeCardState)
	listed, err := boss.Lists(ctx, "card", card)
	require.NoError(w.t, err)
	require.Equal(w.t, "FRAUD", listed.Listed[0].Cause)

	_, err = clerk.TellList(ctx, api.StaffListChange{Kind: "card", Subject: card, Event: "STAFF_CLEAR", Reason: "alone"})
	require.Equal(w.t, api.CodeListRefused, platformclient.CodeOf(err))
	first, err := clerk.ProposeRemoval(ctx, api.StaffListRemoval{Kind: "card", Subject: card, Reason: "a mistake"})
	require.NoError(w.t, err)
	_, err = clerk.ConfirmRemoval(ctx, first.Removal, "mine")
	require.Equal(w.t, api.CodeSecondPerson, platformclient.CodeOf(err))
	rejected, err := boss.RejectRemoval(ctx, first.Removal, "not yet")
	require.NoError(w.t, err)
	require.Equal(w.t, "REJECTED", rejected.State)
	second, err := clerk.ProposeRemoval(ctx, api.StaffListRemoval{Kind: "card", Subject: card, Reason: "a mistake indeed"})
	require.NoError(w.t, err)
	waiting, err := boss.Removals(ctx)
	require.NoError(w.t, err)
	require.Len(w.t, waiting.Removals, 1)
	confirmed, err := boss.ConfirmRemoval(ctx, second.Removal, "seen")
	require.NoError(w.t, err)
	require.Equal(w.t, "CONFIRMED", confirmed.State)
	verdict, err := w.issuer().RequestLoad(ctx, w.ask(w.order(), w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
}
