package mockplatform

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// browser pays at the bank's page as a person would: it fills the two forms in.
func (b *bankWorld) browser(page string) (text string) {
	b.t.Helper()
	open := func(method, address string, form url.Values) string {
		request := httptest.NewRequest(method, address, strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		b.bank.Handler().ServeHTTP(recorder, request)
		body, err := io.ReadAll(recorder.Body)
		require.NoError(b.t, err)
		return string(body)
	}
	first := open(http.MethodGet, page, nil)
	hidden := regexp.MustCompile(`name="ORDER" value="([^"]*)"`).FindStringSubmatch(first)
	if hidden == nil {
		return first
	}
	second := open(http.MethodPost, bankHost+bankapi.PathGatewayPay, url.Values{
		"ORDER": {strings.ReplaceAll(hidden[1], "&amp;", "&")}, "CARD": {b.card}, "NAME": {cardName}, "PHONE": {testPhone},
	})
	attempt := regexp.MustCompile(`name="ATTEMPT" value="([^"]*)"`).FindStringSubmatch(second)
	require.NotNil(b.t, attempt, second)
	return open(http.MethodPost, bankHost+bankapi.PathGatewayPay, url.Values{"ATTEMPT": {attempt[1]}, "CODE": {b.latestCode()}})
}

// gatewayOrder begins a payment at the bank's page.
func (c *teller) gatewayOrder(amount wallet.Fen) wallet.FundingStatement {
	c.w.t.Helper()
	key := c.w.newKey()
	state := c.told(c.post(api.PathFundings, key, api.FundingRequest{Amount: amount, Source: api.FundingSource{Kind: api.FundingBank, ID: api.BankGateway}}))
	require.Equal(c.w.t, wallet.FundingPending, state.State)
	require.Contains(c.w.t, state.Page, "MAGIC=")
	return state
}

// callback posts a callback of the bank to the platform.
func (b *bankWorld) callback(callback bankapi.Callback) int {
	request := httptest.NewRequest(http.MethodPost, "https://"+testHost+BankCallbackPath, strings.NewReader(callback.Form()))
	recorder := httptest.NewRecorder()
	b.p.Handler().ServeHTTP(recorder, request)
	return recorder.Code
}

// TestBank_Gateway: a person pays at the bank's page; callbacks that were forged,
// repeated or lost credit nothing, once, and once.
func TestBank_Gateway(t *testing.T) {
	for name, legacy := range map[string]bool{"strong callbacks": false, "callbacks of old": true} {
		for _, fault := range []mockbank.Fault{"", mockbank.FaultNoticeTwice, mockbank.FaultNoticeForged, mockbank.FaultNoticeLost} {
			t.Run(name+" "+string(fault), func(t *testing.T) {
				b := newBankWorld(t, func(c *mockbank.Config) { c.Legacy = legacy })
				c := b.teller(testPhone)
				before := b.balance(mainAccount(c.session.User))
				order := c.gatewayOrder(80_00)
				if fault != "" {
					require.NoError(t, b.faults.Arm(fault, 1))
				}
				b.clock = b.clock.Add(2 * time.Second)
				require.Contains(t, b.browser(order.Page), "Paid")
				queries := b.asked[bankapi.PathQueries]
				_, err := b.bank.DeliverNotices(context.Background())
				require.NoError(t, err)
				switch {
				case fault == mockbank.FaultNoticeForged || fault == mockbank.FaultNoticeLost:
					require.Equal(t, before, b.balance(mainAccount(c.session.User)), "nothing was believed")
				case legacy:
					require.Greater(t, b.asked[bankapi.PathQueries], queries, "a weak callback is a reason to ask")
				default:
					require.Equal(t, queries, b.asked[bankapi.PathQueries], "a strong one is believed")
				}
				b.later(time.Minute) // silence means nothing: the bank is asked anyway
				state := c.told(c.get("/v1/fundings/" + order.Funding))
				require.Equal(t, wallet.FundingDone, state.State)
				require.Empty(t, state.Page)
				require.Equal(t, before+80_00, b.balance(mainAccount(c.session.User)))
				require.Equal(t, wallet.Fen(1920_00), b.atBank())
				require.NotContains(t, b.browser(order.Page), "Paid", "an order is paid once")
				b.checkBoth()
			})
		}
	}
}

// TestBank_GatewayForgedAmount: the request of old can be made anew with another
// amount, and the bank takes that. The platform credits its own order or nothing, and
// what was paid goes back.
func TestBank_GatewayForgedAmount(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	before := b.balance(mainAccount(c.session.User))
	order := c.gatewayOrder(80_00)
	page := bankHost + bankapi.PathGateway + "?" + bankapi.GatewayRequest{
		MerchantID: mockbank.PartnerID, OrderID: order.Funding, Payment: "0.01", Magic: bankapi.Magic(mockbank.PartnerID, order.Funding, "0.01"),
	}.Query()
	require.Contains(t, b.browser(page), "Paid")
	require.Equal(t, wallet.Fen(1999_99), b.atBank())
	_, err := b.bank.DeliverNotices(context.Background()) // a genuine callback, of another amount
	require.NoError(t, err)
	require.Equal(t, before, b.balance(mainAccount(c.session.User)))
	b.later(time.Minute)
	b.later(time.Minute)
	state := c.told(c.get("/v1/fundings/" + order.Funding))
	require.Equal(t, wallet.FundingReversed, state.State)
	require.Equal(t, api.CodeAmountDiffers, state.Code)
	require.Equal(t, before, b.balance(mainAccount(c.session.User)))
	require.Equal(t, wallet.Fen(2000_00), b.atBank())
	b.checkBoth()
}

// TestBank_GatewayForgedCallback: what is not signed by the bank credits nothing, and
// a signature that the bank made for another order does not either.
func TestBank_GatewayForgedCallback(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	before := b.balance(mainAccount(c.session.User))
	paid, open := c.gatewayOrder(80_00), c.gatewayOrder(80_00)
	stranger := newBankWorld(t) // another bank of the same kind has another key
	stranger.browser(stranger.teller(testPhone).gatewayOrder(80_00).Page)

	forged := bankapi.Callback{
		MerchantID: mockbank.PartnerID, OrderID: open.Funding, Payment: 80_00, Journal: "J2026031500000099", Success: true, Profile: bankapi.ProfileStrong, Sign: []byte{1, 2, 3},
	}
	require.Equal(t, http.StatusForbidden, b.callback(forged))
	forged.Profile = bankapi.ProfileLegacy
	require.Equal(t, http.StatusForbidden, b.callback(forged))
	require.Zero(t, b.asked[bankapi.PathQueries], "a forged callback does not even make us ask")

	// The bank's own callback for the order that was paid, bent to the one that was not.
	var genuine bankapi.Callback
	require.NoError(t, b.faults.Arm(mockbank.FaultNoticeLost, 1))
	require.Contains(t, b.browser(paid.Page), "Paid")
	_, err := b.bank.DeliverNotices(context.Background())
	require.NoError(t, err)
	genuine = b.lostCallback(t)
	bent := genuine
	bent.OrderID = open.Funding
	require.Equal(t, http.StatusForbidden, b.callback(bent))
	bent = genuine
	bent.Payment = 800_00
	require.Equal(t, http.StatusForbidden, b.callback(bent))
	bent = genuine
	bent.Profile = bankapi.ProfileLegacy
	require.Equal(t, http.StatusForbidden, b.callback(bent), "a strong signature is none of the old kind")
	require.Equal(t, before, b.balance(mainAccount(c.session.User)))

	for range 3 { // the genuine one, and its replays
		require.Equal(t, http.StatusOK, b.callback(genuine))
		require.Equal(t, before+80_00, b.balance(mainAccount(c.session.User)))
	}
	b.checkBoth()
}

// lostCallback is the callback that the wire lost, as the bank sends it again.
func (b *bankWorld) lostCallback(t *testing.T) (found bankapi.Callback) {
	b.clock = b.clock.Add(time.Minute)
	b.onNotice = func(body []byte) {
		var err error
		found, err = bankapi.ParseCallback(body)
		require.NoError(t, err)
	}
	defer func() { b.onNotice = nil }()
	_, err := b.bank.DeliverNotices(context.Background())
	require.NoError(t, err)
	require.NotEmpty(t, found.Journal)
	return found
}

// TestBank_GatewayExpired: a page that nobody paid in time closes the order.
func TestBank_GatewayExpired(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	order := c.gatewayOrder(80_00)
	for range 12 {
		b.later(5 * time.Minute)
	}
	require.NotContains(t, b.browser(order.Page), "Paid")
	c.login()
	require.Contains(t, []wallet.FundingState{wallet.FundingDeclined, wallet.FundingReversed}, c.told(c.get("/v1/fundings/"+order.Funding)).State)
	b.checkBoth()
}

func FuzzBankCallback(f *testing.F) {
	callback := bankapi.Callback{MerchantID: "1", OrderID: "2", Payment: 80_00, Journal: "J1", Success: true, Profile: bankapi.ProfileStrong, Sign: []byte{1}}
	f.Add([]byte(callback.Form()))
	callback.Profile = bankapi.ProfileLegacy
	f.Add([]byte(callback.Form()))
	f.Add([]byte("MERCHANTID=1&MERCHANTID=2"))
	b := newBankWorld(f)
	c := b.teller(testPhone)
	order := c.gatewayOrder(80_00)
	before := b.balance(mainAccount(c.session.User))
	f.Fuzz(func(t *testing.T, body []byte) {
		b.t = t                        // its own belongs to no input
		b.p.senders = newSenderLimit() // what is refused for its number is not looked at
		parsed, err := bankapi.ParseCallback(body)
		if err == nil {
			again, err := bankapi.ParseCallback([]byte(parsed.Form()))
			require.NoError(t, err)
			require.Equal(t, parsed, again)
			parsed.OrderID = order.Funding
			b.callback(parsed)
		}
		request := httptest.NewRequest(http.MethodPost, "https://"+testHost+BankCallbackPath, strings.NewReader(string(body)))
		b.p.Handler().ServeHTTP(httptest.NewRecorder(), request)
		require.Equal(t, before, b.balance(mainAccount(c.session.User)), "no bytes of a stranger are money")
	})
}
