package platformtest

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// fundingCases are the cases of money that comes from outside.
var fundingCases = []testCase{
	{"voucher", testVoucher},
	{"voucher is answered byte for byte", testVoucherReplay},
	{"voucher refusals", testVoucherRefusals},
	{"abandon a funding", testFundingAbandon},
	{"cash at the counter", testCashIn},
}

// newKey is the key of a funding.
func (w *world) newKey() string {
	w.t.Helper()
	key, err := platformclient.NewKey(time.Now(), rand.Reader)
	require.NoError(w.t, err)
	return key
}

// redeem asks for a voucher's money under a key.
func (w *world) redeem(key, serial, pin string) (wallet.FundingStatement, error) {
	request := api.FundingRequest{Source: api.FundingSource{Kind: api.FundingVoucher, Serial: serial}}
	told, _, err := w.client.Fund(w.t.Context(), key, request, pin)
	return told, err
}

func testVoucher(w *world) {
	w.login()
	before := w.main()
	serial, pin, value := w.subject.Voucher(w.t)
	told, err := w.redeem(w.newKey(), serial, pin)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, told.State)
	require.Equal(w.t, value, told.Amount)
	require.Equal(w.t, before+value, told.ReceiptBody.MainBalance)
	require.Equal(w.t, before+value, w.main())
	shown, _, err := w.client.Funding(w.t.Context(), told.Funding)
	require.NoError(w.t, err)
	require.Equal(w.t, *told.ReceiptBody, *shown.ReceiptBody)
	listed, err := w.client.Fundings(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, told.Funding, listed.Fundings[0].Funding)
	require.NotContains(w.t, string(w.lastExchange().AnswerBody), pin)
}

func testVoucherReplay(w *world) {
	w.login()
	serial, pin, value := w.subject.Voucher(w.t)
	before := w.main()
	_, err := w.redeem(w.newKey(), serial, pin)
	require.NoError(w.t, err)
	first := w.lastExchange()
	status, body := w.again()
	require.Equal(w.t, first.Status, status)
	require.Equal(w.t, string(first.AnswerBody), string(body))
	require.Equal(w.t, before+value, w.main())
}

func testVoucherRefusals(w *world) {
	w.login()
	serial, pin, _ := w.subject.Voucher(w.t)
	before := w.main()
	told, err := w.redeem(w.newKey(), serial, "0"+pin[1:]+"x")
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDeclined, told.State)
	require.Equal(w.t, api.CodeVoucherWrong, told.Code)
	require.NotNil(w.t, told.WrongsLeft)
	require.Equal(w.t, before, w.main())
	key := w.newKey()
	told, err = w.redeem(key, serial, pin)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, told.State)
	told, err = w.redeem(w.newKey(), serial, pin)
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeVoucherUsed, told.Code)
	other, otherPIN, _ := w.subject.Voucher(w.t)
	_, err = w.redeem(key, other, otherPIN)
	require.Equal(w.t, api.CodeKeyReused, platformclient.CodeOf(err))
	told, _, err = w.client.Fund(w.t.Context(), w.newKey(), api.FundingRequest{Amount: 100, Source: api.FundingSource{Kind: "gold", ID: "1"}}, "x")
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeSourceRefused, told.Code)
}

func testFundingAbandon(w *world) {
	w.login()
	serial, pin, _ := w.subject.Voucher(w.t)
	key := w.newKey()
	told, _, err := w.client.AbandonFunding(w.t.Context(), key)
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeAbandoned, told.Code)
	told, err = w.redeem(key, serial, pin)
	require.NoError(w.t, err)
	require.Equal(w.t, api.CodeAbandoned, told.Code, "it came late")
	key = w.newKey()
	first, err := w.redeem(key, serial, pin)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, first.State)
	told, _, err = w.client.AbandonFunding(w.t.Context(), key)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, told.State)
	require.Equal(w.t, first.Funding, told.Funding)
}

func testCashIn(w *world) {
	w.login()
	before := w.main()
	clerk, boss := w.staff(api.RoleClerk), w.staff(api.RoleSupervisor)
	ctx := w.t.Context()
	receipt := w.newKey
	booking := api.StaffCashIn{Phone: w.subject.Phone, Amount: 12_34, Receipt: receipt()}
	for range 2 {
		told, err := clerk.CashIn(ctx, booking)
		require.NoError(w.t, err)
		require.Equal(w.t, wallet.FundingDone, told.State)
		require.Equal(w.t, before+12_34, w.main(), "one receipt is one credit")
	}
	booking.Amount++
	_, err := clerk.CashIn(ctx, booking)
	require.Equal(w.t, api.CodeKeyReused, platformclient.CodeOf(err))

	large := api.StaffCashIn{Phone: w.subject.Phone, Amount: 40_000_00, Receipt: receipt()}
	told, err := clerk.CashIn(ctx, large)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingReceived, told.State)
	waiting, err := boss.CashIns(ctx)
	require.NoError(w.t, err)
	require.Equal(w.t, told.Funding, waiting.CashIns[0].Funding)
	_, err = clerk.ConfirmCash(ctx, told.Funding, "mine")
	require.Equal(w.t, api.CodeStaffRole, platformclient.CodeOf(err))
	confirmed, err := boss.ConfirmCash(ctx, told.Funding, "counted again")
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDone, confirmed.State)
	require.Equal(w.t, before+12_34+40_000_00, w.main())
	large.Receipt = receipt()
	told, err = clerk.CashIn(ctx, large)
	require.NoError(w.t, err)
	rejected, err := boss.RejectCash(ctx, told.Funding, "false notes")
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.FundingDeclined, rejected.State)
	require.Equal(w.t, before+12_34+40_000_00, w.main())
	require.Equal(w.t, http.StatusOK, w.lastExchange().Status)
}
