package platformtest

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// stateCases are the cases of what a person and the counter do with states.
var stateCases = []testCase{
	{"freeze and thaw", testFreeze},
	{"loss of account and card", testLoss},
	{"life of a card", testCardLife},
	{"close", testClose},
	{"counter changes an account", testCounterAccount},
	{"replacement of a card", testReplacement},
}

// loaded tops the card up and reports it.
func (w *world) loaded() {
	w.t.Helper()
	order := w.order()
	_, err := w.topUp(w.field(), order)
	require.NoError(w.t, err)
	state, _, err := w.client.Result(w.t.Context(), w.journal.Entry(order.Key))
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, state.State)
}

func testFreeze(w *world) {
	w.login()
	w.loaded()
	ctx := w.t.Context()
	_, err := w.client.Freeze(ctx, time.Now().Add(-time.Hour))
	require.Equal(w.t, api.CodeDatePast, platformclient.CodeOf(err))
	until := time.Now().Add(24 * time.Hour)
	account, err := w.client.Freeze(ctx, until)
	require.NoError(w.t, err)
	require.Equal(w.t, "FROZEN", account.State)
	require.Equal(w.t, "FROZEN_BY_USER", account.Standing)
	require.WithinDuration(w.t, until, *account.StateUntil, time.Second)
	refused := w.refused(w.ask(w.order(), w.lease()), api.CodeAccountState)
	require.Equal(w.t, "FROZEN_BY_USER", refused.Standing)
	_, err = w.client.Unload(ctx, w.asn(), 100)
	require.NoError(w.t, err, "money may come in")
	_, err = w.client.Thaw(ctx, flipped(w.subject.LoginPassword), w.subject.SMSCode)
	require.Equal(w.t, api.CodeLoginWrong, platformclient.CodeOf(err))
	account, err = w.client.Thaw(ctx, w.subject.LoginPassword, w.subject.SMSCode)
	require.NoError(w.t, err)
	require.Equal(w.t, "NORMAL", account.State)
	_, err = w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
}

func testLoss(w *world) {
	w.login()
	ctx := w.t.Context()
	account, err := w.client.LoseAccount(ctx, api.LossOral)
	require.NoError(w.t, err)
	require.Equal(w.t, "LOST_ORAL", account.State)
	require.Equal(w.t, "LOST", account.Cards[0].State)
	_, err = w.client.Thaw(ctx, w.subject.LoginPassword, w.subject.SMSCode)
	require.NoError(w.t, err)
	refused := w.refused(w.ask(w.order(), w.lease()), api.CodeCardState)
	require.Equal(w.t, "LOST_ORAL", refused.Standing)
	card, err := w.client.FindCard(ctx, w.asn(), w.subject.SMSCode)
	require.NoError(w.t, err)
	require.Equal(w.t, "ACTIVE", card.State)
	card, err = w.client.LoseCard(ctx, w.asn(), api.LossWritten)
	require.NoError(w.t, err)
	require.Equal(w.t, "LOST_WRITTEN", card.Standing)
	_, err = w.client.FindCard(ctx, w.asn(), w.subject.SMSCode)
	require.Equal(w.t, api.CodeCardState, platformclient.CodeOf(err))
}

func testCardLife(w *world) {
	w.login()
	ctx := w.t.Context()
	card, err := w.client.RenameCard(ctx, w.asn(), "地铁卡")
	require.NoError(w.t, err)
	require.Equal(w.t, "地铁卡", card.Label)
	card, err = w.client.SuspendCard(ctx, w.asn())
	require.NoError(w.t, err)
	require.Equal(w.t, "SUSPENDED", card.State)
	w.refused(w.ask(w.order(), w.lease()), api.CodeCardState)
	_, err = w.client.ResumeCard(ctx, w.asn())
	require.NoError(w.t, err)
	w.cut(true)
	_, err = w.client.RemoveCard(ctx, w.asn())
	require.Equal(w.t, api.CodePendingLoad, platformclient.CodeOf(err))
	pending, err := w.client.Pending(ctx, w.asn())
	require.NoError(w.t, err)
	_, err = w.sync(pending[0], wallet.Order{}, wallet.IntentSettle)
	require.NoError(w.t, err)
	_, err = w.client.RemoveCard(ctx, w.asn())
	require.NoError(w.t, err)
	cards, err := w.client.Cards(ctx)
	require.NoError(w.t, err)
	require.NotContains(w.t, asns(cards), w.asn())
	_, err = w.client.SuspendCard(ctx, w.asn())
	require.Equal(w.t, api.CodeCardState, platformclient.CodeOf(err))
}

func asns(cards []api.Card) (numbers []wallet.ASN) {
	for _, card := range cards {
		numbers = append(numbers, card.ASN)
	}
	return numbers
}

func testClose(w *world) {
	w.login()
	ctx := w.t.Context()
	w.loaded() // the books know what the card holds
	_, err := w.client.CloseAccount(ctx, w.subject.LoginPassword, false, false, w.subject.SMSCode)
	require.Equal(w.t, api.CodeCloseRefused, platformclient.CodeOf(err))
	require.Equal(w.t, http.StatusConflict, w.lastExchange().Status)
	account, err := w.client.CloseAccount(ctx, w.subject.LoginPassword, true, true, w.subject.SMSCode)
	require.NoError(w.t, err)
	require.Equal(w.t, "CLOSED", account.State)
	require.Zero(w.t, account.Main)
	_, err = w.client.Freeze(ctx, time.Time{})
	require.Equal(w.t, api.CodeAccountState, platformclient.CodeOf(err))
}

func testCounterAccount(w *world) {
	w.login()
	ctx, clerk := w.t.Context(), w.staff(api.RoleClerk)
	act := api.StaffAccountAct{Phone: w.subject.Phone, Act: api.ActPhoneState, PhoneState: api.PhoneSuspended, Reason: "told by the operator"}
	told, err := clerk.ActOnAccount(ctx, act)
	require.NoError(w.t, err)
	require.Equal(w.t, "PHONE_SUSPENDED", told.State)
	w.refused(w.ask(w.order(), w.lease()), api.CodeAccountState)
	act.PhoneState = api.PhoneActive
	_, err = clerk.ActOnAccount(ctx, act)
	require.NoError(w.t, err)
	told, err = clerk.Account(ctx, w.subject.Phone)
	require.NoError(w.t, err)
	require.Equal(w.t, "NORMAL", told.State)
	require.NotContains(w.t, told.Phone, w.subject.Phone)
	_, err = w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
}

func testReplacement(w *world) {
	w.login()
	ctx, clerk, lost := w.t.Context(), w.staff(api.RoleClerk), w.asn()
	w.loaded()
	w.chip = w.subject.Card(w.t, 0)
	fresh := w.asn()
	request := api.StaffReplace{Lost: lost, Fresh: fresh, Reason: "lost in the sea"}
	_, err := clerk.ReplaceCard(ctx, request)
	require.Equal(w.t, api.CodeCardState, platformclient.CodeOf(err), "nobody reported it lost")
	card, err := clerk.ActOnCard(ctx, lost, api.StaffCardAct{Act: api.ActLoss, Reason: "signed form"})
	require.NoError(w.t, err)
	require.Equal(w.t, "LOST_WRITTEN", card.Standing)
	told, err := clerk.ReplaceCard(ctx, request)
	require.NoError(w.t, err)
	require.Equal(w.t, "WAITING", told.State)
	require.Positive(w.t, told.Proven)
	list, err := clerk.Replacements(ctx, &lost)
	require.NoError(w.t, err)
	require.Len(w.t, list.Replacements, 1)
	_, err = clerk.Propose(ctx, api.StaffDecision{Order: told.Replacement, As: api.TargetMoved, Reason: "too early"})
	require.Equal(w.t, api.CodeWindowOpen, platformclient.CodeOf(err))
	w.login()
	_, err = w.topUp(w.field(), w.order()) // with the fresh card
	require.NoError(w.t, err)
}
