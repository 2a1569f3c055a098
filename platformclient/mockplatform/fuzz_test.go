package mockplatform

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// FuzzHandler sends bodies to every route, as a stranger and as a person who is
// logged in. No body makes the platform fail, hold money without the payment
// password, or answer in another form than the interface has.
func FuzzHandler(f *testing.F) {
	w := newWorld(f, func(c *Config) { c.HashCost = HashCost{MemoryKiB: 8, Passes: 1} }) // the most inputs for its time
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	main := w.balance(mainAccount(c.session.User))
	routes := w.p.Routes()
	order := c.order(k, 5000).init()
	order.request.PaySeal = []byte("no seal")
	asn := k.ASN().String()
	for i, route := range routes {
		f.Add(byte(i), true, asn, "", []byte(`{}`))
		f.Add(byte(i), false, "0195f000-0000-7000-8000-000000000001", "from=2026-01-01&to=2026-02-01", []byte(`{"a":1}`))
		if route.Path == api.PathLoads && route.Method == http.MethodPost {
			f.Add(byte(i), true, "", "", mustJSON(f, order.request))
		}
	}
	seeds := map[string]any{
		api.PathAttempts:  api.AttemptRequest{Attempt: 1, Intent: wallet.IntentSettle, Prove: &wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: make([]byte, 8)}, Open: &order.request.Open},
		api.PathResult:    api.ResultRequest{Attempt: 1, Executed: 1, TAC: wallet.Hex{1, 2, 3, 4}, Grant: &wallet.Signed{Payload: []byte(`{"order":"x"}`), Sig: make([]byte, 64), KID: "0011223344556677"}},
		api.PathCards:     api.CardRequest{ASN: k.ASN(), Profile: profilePBOC, Open: order.request.Open},
		api.PathDevices:   api.DeviceRequest{Phone: testPhone, DeviceKey: wallet.Hex(c.public()), LoginPWSeal: make([]byte, 176)},
		api.PathSession:   api.SessionRequest{Phone: testPhone, LoginPWSeal: make([]byte, 176), ClientVer: "1.0.0"},
		api.PathPurchases: api.PurchaseRequest{MerchantOrder: w.shopOrder(150), Amount: 150, Card: order.request.Card, Open: order.request.Open},
		api.PathPurchaseResult: api.PurchaseResult{Executed: 1, Steps: order.request.Open.Steps, TAC: wallet.Hex{1, 2, 3, 4}, MAC2: wallet.Hex{5, 6, 7, 8},
			Grant: &wallet.Signed{Payload: []byte(`{"purchase":"x"}`), Sig: make([]byte, 64), KID: "0011223344556677"}},
		api.PathPurchaseAttempts: api.PurchaseAttempt{Prove: &wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: make([]byte, 8)}, Open: &order.request.Open},
		api.PathUnloads:          api.UnloadRequest{ASN: k.ASN(), Amount: 100},
		api.PathShopOrders:       api.ShopOrderRequest{Merchant: "x", Goods: "tea", Amount: 150, Callback: "http://127.0.0.1:1/"},
		api.PathSMSCodes:         api.SMSRequest{Phone: testPhone, Purpose: "device"},
		api.PathRegistrations: api.Registration{Phone: newcomer, DeviceKey: wallet.Hex(c.public()), DeviceName: "x", AgreementVersion: agreementVersion,
			LoginPWSeal: make([]byte, 176), PayPWSeal: make([]byte, 176)},
		api.PathPasswordLogin: api.LoginPasswordChange{Phone: testPhone, DeviceKey: wallet.Hex(c.public()), OldSeal: make([]byte, 176), NewSeal: make([]byte, 176)},
		api.PathPasswordPayment: api.PaymentPasswordChange{SMS: &api.SMSCode{CodeID: "S1", Code: "370482"}, LoginPWSeal: make([]byte, 176),
			NewSeal: make([]byte, 176)},
		api.PathDeviceRename: api.DeviceName{Name: "x"},
	}
	for i, route := range routes {
		if value, known := seeds[route.Path]; known && route.Method == http.MethodPost {
			f.Add(byte(i), true, "260315-01-000001", "", mustJSON(f, value))
			f.Add(byte(i), false, "260315-01-000001", "", mustJSON(f, value))
		}
	}
	f.Fuzz(func(t *testing.T, index byte, signed bool, element, query string, body []byte) {
		route := routes[int(index)%len(routes)]
		if route.Path == api.PathSessionEnd && signed {
			return // it would end the session of this target
		}
		w.t = t // helpers of the world speak to the test that runs
		w.p.senders, w.p.visitors = newSenderLimit(), newSenderLimit()
		request := fuzzRequest(route, element, query, body)
		if request == nil {
			return
		}
		if signed {
			request.Header.Set("Authorization", "Bearer "+c.session.AccessToken)
			request.Header.Set(api.HeaderIdempotencyKey, w.newKey())
			require.NoError(t, api.SignRequest(request, body, c.key, w.p.newNonce(w.p.now(), w.p.epoch), w.clock))
		}
		answer := c.do(request)
		require.NotNil(t, answer)
		require.Less(t, answer.Code, 500, "%s %s\n%s", route.Method, request.URL, body)
		require.NotEmpty(t, answer.Header().Get(api.HeaderNonce))
		if answer.Code >= 400 {
			mustBeRefusal(t, answer.Body.Bytes())
		}
		if !signed && route.Auth != "none" {
			require.GreaterOrEqual(t, answer.Code, 400, "%s was served to a stranger", route.Path)
		}
		require.Equal(t, main, w.balance(mainAccount(c.session.User)), "money moved without the payment password")
	})
}

// fuzzRequest is nil where net/http would not bring such a request to a handler.
func fuzzRequest(route Route, element, query string, body []byte) *http.Request {
	path := route.Path
	if begin := strings.IndexByte(path, '{'); begin >= 0 {
		end := strings.IndexByte(path, '}')
		path = path[:begin] + "x" + path[end+1:]
	}
	request := httptest.NewRequest(route.Method, "https://"+testHost+path, bytes.NewReader(body))
	for _, r := range element {
		if r <= ' ' || r >= 0x7F || r == '/' || r == '.' {
			return nil
		}
	}
	if element != "" {
		request.URL.Path = strings.Replace(request.URL.Path, "/x", "/"+element, 1)
	}
	request.URL.RawQuery = query
	return request
}

// mustBeRefusal reads an error body or a signed state: nothing else is a refusal.
func mustBeRefusal(t *testing.T, body []byte) {
	var load api.LoadAnswer
	if json.Unmarshal(body, &load) == nil && load.State != nil {
		return
	}
	var failure api.ErrorBody
	require.NoError(t, json.Unmarshal(body, &failure), "%s", body)
	require.NotEmpty(t, failure.Error.Code, "%s", body)
}
