package platformclient

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

const (
	testFunding = "F000000000001"
	testVoucher = "123456789012345678"
	testVPIN    = "876543210987654321"
	fundKey     = "0195f000-0000-7000-8000-0000000000f1"
)

func voucherRequest() api.FundingRequest {
	return api.FundingRequest{Amount: 5000, Source: api.FundingSource{Kind: api.FundingVoucher, Serial: testVoucher}}
}

// arrived is the statement that the voucher's money has arrived, as asked under a key.
func arrived(request string) wallet.FundingStatement {
	source := voucherRequest().Source.Name()
	return wallet.FundingStatement{
		Key: fundKey, Funding: testFunding, Request: request, State: wallet.FundingDone, Amount: 5000, Source: source,
		ReceiptBody: &wallet.FundingReceipt{Funding: testFunding, Amount: 5000, Source: source, MainBalance: 9000},
	}
}

// Whatever is not signed for this very question about this very funding proves nothing.
func TestFunding_OnlyItsOwnSignedStatementCounts(t *testing.T) {
	for name, change := range map[string]func(*wallet.FundingStatement, *wallet.Domain){
		"":                 nil,
		"another question": func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Request = "x" },
		"no question":      func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Request = "" },
		"another key":      func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Key = "x" },
		"no subject":       func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Key, s.Funding = "", "" },
		"another domain":   func(_ *wallet.FundingStatement, d *wallet.Domain) { *d = wallet.DomainReceipt },
		"no receipt":       func(s *wallet.FundingStatement, _ *wallet.Domain) { s.ReceiptBody = nil },
		"receipt and open": func(s *wallet.FundingStatement, _ *wallet.Domain) { s.State = wallet.FundingPending },
		"another funding":  func(s *wallet.FundingStatement, _ *wallet.Domain) { s.ReceiptBody.Funding = "F2" },
		"another amount":   func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Amount, s.ReceiptBody.Amount = 4999, 4999 },
		"two amounts":      func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Amount = 4999 },
		"no amount":        func(s *wallet.FundingStatement, _ *wallet.Domain) { s.Amount, s.ReceiptBody.Amount = 0, 0 },
		"another source":   func(s *wallet.FundingStatement, _ *wallet.Domain) { s.ReceiptBody.Source = "bank:1" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newFake(t)
			client := p.loggedIn(t)
			var kept []string
			client.config.OnReceipt = func(order string, _ wallet.Signed) { kept = append(kept, order) }
			p.handle("POST /v1/fundings", func(w http.ResponseWriter, s seen) {
				statement, domain := arrived(s.key), wallet.DomainFunding
				if change != nil {
					change(&statement, &domain)
				}
				signed := p.sign(domain, statement)
				reply(w, 200, api.FundingAnswer{State: &signed})
			})
			told, raw, err := client.Fund(t.Context(), fundKey, voucherRequest(), testVPIN)
			if change != nil {
				require.Equal(t, CodeAnswerForeign, CodeOf(err), name)
				require.Empty(t, kept)
				return
			}
			require.NoError(t, err)
			require.Equal(t, arrived(fundKey), told)
			require.Equal(t, []string{testFunding}, kept)
			require.NoError(t, client.signers.Open(wallet.DomainFunding, raw, &told))
		})
	}
}

// The PIN leaves this computer sealed to the platform, for this device, voucher and key
// alone; a payment password likewise for one amount, source and key.
func TestFunding_SecretsAreSealedToTheRequest(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	var asked []seen
	p.handle("POST /v1/fundings", func(w http.ResponseWriter, s seen) {
		asked = append(asked, s)
		signed := p.sign(wallet.DomainFunding, wallet.FundingStatement{Key: s.key, Request: s.key, State: wallet.FundingDeclined, Code: api.CodeVoucherWrong})
		reply(w, 403, api.FundingAnswer{State: &signed})
	})
	told, _, err := client.Fund(t.Context(), fundKey, voucherRequest(), testVPIN)
	require.NoError(t, err, "a signed refusal is an answer")
	require.Equal(t, api.CodeVoucherWrong, told.Code)
	bank := api.FundingRequest{Amount: 700, Source: api.FundingSource{Kind: api.FundingBank, ID: "b1"}}
	_, _, err = client.Fund(t.Context(), fundKey, bank, testPIN)
	require.NoError(t, err)

	var sent [2]api.FundingRequest
	for i := range sent {
		require.NotContains(t, string(asked[i].body), testVPIN)
		require.NotContains(t, string(asked[i].body), testPIN)
		require.NoError(t, json.Unmarshal(asked[i].body, &sent[i]))
	}
	binding := api.VoucherBinding{Serial: testVoucher, Thumbprint: asked[0].thumbprint, Key: fundKey}
	pin, err := api.OpenVoucher(p.sealKey, binding, sent[0].Source.PINSeal)
	require.NoError(t, err)
	require.Equal(t, testVPIN, pin)
	require.Empty(t, sent[0].PaySeal)
	for _, other := range []api.VoucherBinding{
		{Serial: "1", Thumbprint: binding.Thumbprint, Key: fundKey}, {Serial: testVoucher, Thumbprint: "x", Key: fundKey},
		{Serial: testVoucher, Thumbprint: binding.Thumbprint, Key: "x"},
	} {
		_, err = api.OpenVoucher(p.sealKey, other, sent[0].Source.PINSeal)
		require.ErrorIs(t, err, api.ErrSeal)
	}
	core := api.FundingCore{Amount: 700, Source: "bank:b1", Key: fundKey}
	password, err := api.OpenFunding(p.sealKey, core, sent[1].PaySeal)
	require.NoError(t, err)
	require.Equal(t, testPIN, password)
	for _, other := range []api.FundingCore{
		{Amount: 701, Source: "bank:b1", Key: fundKey}, {Amount: 700, Source: "bank:b2", Key: fundKey}, {Amount: 700, Source: "bank:b1", Key: "x"},
	} {
		_, err = api.OpenFunding(p.sealKey, other, sent[1].PaySeal)
		require.ErrorIs(t, err, api.ErrSeal)
	}
	_, err = api.OpenPayment(p.sealKey, api.OrderCore{Amount: 700, Source: "bank:b1", Key: fundKey}, sent[1].PaySeal)
	require.ErrorIs(t, err, api.ErrSeal, "no load is paid with it")
}

// An unsigned refusal means "unknown", and silence is asked again once, under one key.
func TestFunding_UnsignedMeansUnknown(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	p.handle("POST /v1/fundings", func(w http.ResponseWriter, _ seen) {
		reply(w, 422, api.ErrorBody{Error: api.Error{Code: api.CodeKeyReused}})
	})
	_, _, err := client.Fund(t.Context(), fundKey, voucherRequest(), testVPIN)
	require.Equal(t, api.CodeKeyReused, CodeOf(err))
	require.False(t, SurelyNotSent(err))

	keys := []string{}
	p.handle("POST /v1/fundings", func(w http.ResponseWriter, s seen) {
		if keys = append(keys, s.key); len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		signed := p.sign(wallet.DomainFunding, arrived(s.key))
		reply(w, 200, api.FundingAnswer{State: &signed})
	})
	told, _, err := client.Fund(t.Context(), fundKey, voucherRequest(), testVPIN)
	require.NoError(t, err)
	require.Equal(t, wallet.FundingDone, told.State)
	require.Equal(t, []string{fundKey, fundKey}, keys)
}
