package mockplatform

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// A client that lives on while the platform's clock moves: nonce, token and leases are
// of another day all at once, its own clock is not the platform's any more, and it goes
// on. After a month its login is over, as it would be without a jump.
func TestClock_LivingClientGoesOn(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	client := connect(t, w)
	credentials := w.p.Profile().DemoCredentials
	topUp := func() {
		t.Helper()
		lease, err := client.TakeLease(t.Context())
		require.NoError(t, err)
		order := wallet.Order{Key: w.newKey(), ASN: k.ASN(), Amount: 1000, Source: "main"}
		open := k.open(client.Session().Scripts[profilePBOC], order.Amount, lease.TID)
		issuer := client.Issuer(func(context.Context) (string, error) { return credentials.PaymentPassword, nil })
		verdict, err := issuer.RequestLoad(t.Context(), wallet.LoadAsk{Order: order, Profile: profilePBOC, KeyIndex: 1, TID: lease.TID, Steps: open.Steps})
		require.NoError(t, err)
		require.NotNil(t, verdict.Granted, "%+v", verdict.State)
		var grant wallet.Grant
		require.NoError(t, client.Session().Signers.Open(wallet.DomainGrant, verdict.Granted.Grant, &grant))
		step, err := k.credit(verdict.Granted)
		require.NoError(t, err)
		state, _, err := client.Result(t.Context(), wallet.Entry{
			Key: order.Key, Order: grant.Order, Attempt: 1, ASN: order.ASN, Amount: order.Amount, Source: order.Source,
			Steps: []wallet.StepResult{step}, Executed: 1, TAC: step.Data, Grant: &verdict.Granted.Grant,
		})
		require.NoError(t, err)
		require.Equal(t, wallet.StateLoaded, state.State)
	}
	topUp()
	_, err := w.p.Advance(t.Context(), 3)
	require.NoError(t, err)
	account, err := client.Account(t.Context()) // no greeting in between
	require.NoError(t, err)
	require.Zero(t, account.LoadedToday, "it is another day for the platform")
	topUp()

	_, err = w.p.Advance(t.Context(), 40)
	require.NoError(t, err)
	_, err = client.Account(t.Context())
	require.Equal(t, platformclient.KindNotLoggedIn, platformclient.KindOf(err))
	sms := func(context.Context, string) (string, error) { return credentials.SMSCode, nil }
	require.NoError(t, client.Login(t.Context(), testPhone, credentials.LoginPassword, sms))
	topUp()
	w.check()
}

// TestCompanion_Binding: with another companion no function of money begins, whatever it
// is; questions, evidence and what protects the account work from everywhere.
func TestCompanion_Binding(t *testing.T) {
	w := newWorld(t, noDayLimits)
	k, open := w.card(serial, virtualcard.Spec{Balance: 5000}), w.card("6220000100000088", virtualcard.Spec{})
	c := w.teller(testPhone)
	c.known(k)
	script, grant := c.order(open, 2000).init().granted()
	step, err := open.credit(script)
	require.NoError(t, err)
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", true), nil)

	for _, shown := range []string{"WC-0002", "", "wc-0001", "WC-0001 "} {
		c.login() // which tells no companion, and brings terminal numbers
		load := c.order(k, 2000)
		load.request.CompanionSN = shown
		load.init().refusedWith(api.CodeCompanionRefused)
		pay := c.pay(k, w.shopOrder(100), 100)
		pay.request.CompanionSN = shown
		pay.refusedWith(api.CodeCompanionRefused)
		refusedAs(t, api.CodeCompanionRefused, c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: k.ASN(), Amount: 100, CompanionSN: shown}))
	}
	c.account("NORMAL")
	c.must(http.StatusOK, c.get(api.PathStatement), nil)
	c.must(http.StatusOK, c.get(api.PathCards), nil)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
	c.must(http.StatusOK, c.freeze(nil), nil)
	c.must(http.StatusOK, c.thaw(), nil)
	c.must(http.StatusOK, c.onCard(api.PathCardLoss, open, api.LossRequest{Kind: api.LossOral}), nil)

	load := c.order(k, 2000)
	load.request.CompanionSN = "WC-0001"
	load.init().granted()
	// One that was taken away is another one.
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0001", false), nil)
	clerk.must(http.StatusOK, clerk.companion(testPhone, "WC-0003", true), nil)
	refusedAs(t, api.CodeCompanionRefused, c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: k.ASN(), Amount: 100, CompanionSN: "WC-0001"}))
	w.check()
}
