package platformtest

import (
	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// bankCases are the cases of bank cards. The subject is a demo with a demo bank, which
// tells a made-up card and its own messages.
var bankCases = []testCase{
	{"bind a bank card", testBankBind},
	{"pay in from a bank card, and give it back", testBankPay},
}

// bindBank binds the demo's bank card and gives its name.
func (w *world) bindBank() string {
	w.t.Helper()
	demo, err := w.client.BankDemo(w.t.Context())
	require.NoError(w.t, err)
	require.NotEmpty(w.t, demo.Cards)
	own := demo.Cards[0]
	begun, err := w.client.BindBank(w.t.Context(), api.BankCard{Number: own.Card, Name: own.Name, Phone: own.Phone})
	require.NoError(w.t, err)
	require.Equal(w.t, api.BankBegun, begun.State)
	require.NotContains(w.t, string(w.lastExchange().RequestBody), own.Card, "the number travels sealed")
	_, err = w.client.ConfirmBank(w.t.Context(), begun.ID, "no code")
	require.Equal(w.t, api.CodeBankCodeWrong, platformclient.CodeOf(err))
	bound, err := w.client.ConfirmBank(w.t.Context(), begun.ID, w.bankCode())
	require.NoError(w.t, err)
	require.Equal(w.t, api.BankBound, bound.State)
	require.Equal(w.t, own.Card[len(own.Card)-4:], bound.Last4)
	return bound.ID
}

func (w *world) bankCode() string {
	demo, err := w.client.BankDemo(w.t.Context())
	require.NoError(w.t, err)
	require.NotEmpty(w.t, demo.Messages)
	return demo.Messages[0].Code
}

func testBankBind(w *world) {
	w.login()
	_, err := w.client.BindBank(w.t.Context(), api.BankCard{Number: "6230519999999999999", Name: "nobody", Phone: w.subject.Phone})
	require.Error(w.t, err)
	id := w.bindBank()
	banks, err := w.client.Banks(w.t.Context())
	require.NoError(w.t, err)
	require.NotEmpty(w.t, banks.Banks)
	require.Equal(w.t, id, banks.Bindings[len(banks.Bindings)-1].ID)
	unbound, err := w.client.UnbindBank(w.t.Context(), id)
	require.NoError(w.t, err)
	require.Equal(w.t, api.BankUnbound, unbound.State)
	_, err = w.client.UnbindBank(w.t.Context(), "K0")
	require.Equal(w.t, api.CodeBankBinding, platformclient.CodeOf(err))
}

func testBankPay(w *world) {
	w.login()
	id, before := w.bindBank(), w.main()
	const amount = wallet.Fen(30_00)
	request := api.FundingRequest{Amount: amount, Source: api.FundingSource{Kind: api.FundingBank, ID: id}}
	told, _, err := w.client.Fund(w.t.Context(), w.newKey(), request, w.subject.PaymentPassword)
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeBankCodeNeeded, told.Code)
	sent, err := w.client.BankCode(w.t.Context(), id, amount)
	require.NoError(w.t, err)
	request.Source.Code = &api.SMSCode{CodeID: sent.CodeID, Code: w.bankCode()}
	told, _, err = w.client.Fund(w.t.Context(), w.newKey(), request, w.subject.PaymentPassword)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, told.State)
	require.Equal(w.t, before+amount, w.main())

	over, err := w.client.ReturnToBank(w.t.Context(), w.newKey(), id, amount+1, w.subject.PaymentPassword)
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeBankReturnOver, over.Code)
	require.Equal(w.t, amount, over.LimitFen)
	key := w.newKey()
	returned, err := w.client.ReturnToBank(w.t.Context(), key, id, amount, w.subject.PaymentPassword)
	require.NoError(w.t, err)
	require.Equal(w.t, api.BankReturnDone, returned.State)
	require.Equal(w.t, before, w.main())
	for _, name := range []string{key, returned.Return} {
		shown, err := w.client.BankReturn(w.t.Context(), name)
		require.NoError(w.t, err)
		require.Equal(w.t, amount, shown.Returned)
	}
	listed, err := w.client.BankReturns(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, returned.Return, listed.Returns[0].Return)
	_, err = w.client.ReturnToBank(w.t.Context(), key, id, 1, w.subject.PaymentPassword)
	require.Equal(w.t, api.CodeKeyReused, platformclient.CodeOf(err))
}
