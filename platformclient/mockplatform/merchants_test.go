package mockplatform

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// sampleMerchant is all that a merchant needs on its side: it verifies what the
// platform's signer says and delivers once per purchase.
type sampleMerchant struct {
	mu        sync.Mutex
	keys      wallet.SignerKeys
	delivered map[string]api.ShopCallback // by purchase
	calls     int
	refuse    int // how many calls to answer 500
}

func (m *sampleMerchant) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	var signed wallet.Signed
	var told api.ShopCallback
	if m.refuse > 0 {
		m.refuse--
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || json.Unmarshal(body, &signed) != nil || m.keys.Open(api.DomainShopCallback, signed, &told) != nil ||
		told.Purchase != req.Header.Get(api.HeaderIdempotencyKey) || told.State != wallet.PurchasePaid {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	m.delivered[told.Purchase] = told
}

func (w *world) sampleMerchant() (*sampleMerchant, string) {
	m := &sampleMerchant{keys: w.p.signerKeys(), delivered: map[string]api.ShopCallback{}}
	server := httptest.NewServer(m)
	w.t.Cleanup(server.Close)
	return m, server.URL + "/paid"
}

func (w *world) deliver() int {
	w.t.Helper()
	delivered, err := w.p.DeliverCallbacks(w.t.Context())
	require.NoError(w.t, err)
	return delivered
}

// paidOrder pays an order with this callback.
func (w *world) paidOrder(callback string) (code string, grant wallet.PurchaseGrant) {
	w.t.Helper()
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	code, err := w.p.ShopOrder(w.t.Context(), DemoMerchant, "tea", 1234, callback)
	require.NoError(w.t, err)
	granted, grant := c.pay(k, code, 1234).authorised()
	require.Equal(w.t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, k.debit(granted))).State)
	return code, grant
}

func TestMerchant_IsToldUntilItHasHeard(t *testing.T) {
	w := newWorld(t)
	m, address := w.sampleMerchant()
	m.refuse = 2
	require.Zero(t, w.deliver())
	code, grant := w.paidOrder(address)
	require.Zero(t, w.deliver(), "it answered 500")
	require.Zero(t, w.deliver(), "not before the pause is over")
	require.Equal(t, 1, m.calls)
	w.clock = w.clock.Add(callbackPause)
	require.Zero(t, w.deliver())
	w.clock = w.clock.Add(callbackPause)
	require.Zero(t, w.deliver(), "the pause grows")
	w.reopen()
	w.clock = w.clock.Add(callbackPause)
	require.Equal(t, 1, w.deliver())
	require.Equal(t, code, m.delivered[grant.Purchase].Code)
	require.Equal(t, wallet.Fen(1234), m.delivered[grant.Purchase].Amount)
	w.clock = w.clock.Add(24 * time.Hour)
	require.Zero(t, w.deliver(), "it has heard")
	require.Equal(t, 3, m.calls)
}

// P11: the merchant did what it had to and its answer was lost. It hears again, and
// knows the purchase.
func TestMerchant_LostAnswerIsOneDelivery(t *testing.T) {
	w := newWorld(t)
	m, address := w.sampleMerchant()
	lose := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		m.ServeHTTP(httptest.NewRecorder(), req)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(lose.Close)
	w.paidOrder(lose.URL)
	require.Zero(t, w.deliver())
	w.exec(`UPDATE callbacks SET url = ?`, address)
	w.clock = w.clock.Add(callbackPause)
	require.Equal(t, 1, w.deliver())
	require.Equal(t, 2, m.calls)
	require.Len(t, m.delivered, 1)
}

func TestMerchant_RefusesWhatThePlatformDidNotSign(t *testing.T) {
	w := newWorld(t)
	m, address := w.sampleMerchant()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	forged, err := wallet.Sign(api.DomainShopCallback, api.ShopCallback{Purchase: "P1", State: wallet.PurchasePaid}, key)
	require.NoError(t, err)
	require.False(t, w.p.postCallback(t.Context(), address, "P1", mustJSON(t, forged)))
	other, err := w.p.sign(wallet.DomainOffer, api.ShopCallback{Purchase: "P1", State: wallet.PurchasePaid})
	require.NoError(t, err)
	require.False(t, w.p.postCallback(t.Context(), address, "P1", mustJSON(t, other)), "signed for another purpose")
	require.Empty(t, m.delivered)
}

func TestMerchant_CallbacksStayOnHTTPSAndLoopback(t *testing.T) {
	w := newWorld(t)
	for address, allowed := range map[string]bool{
		"":                                            true,
		"https://shop.example/paid":                   true,
		"http://127.0.0.1:8080/paid":                  true,
		"http://[::1]:8080/paid":                      true,
		"http://localhost/paid":                       true,
		"http://shop.example/paid":                    false,
		"http://10.0.0.1/paid":                        false,
		"http://127.0.0.1.example/paid":               false,
		"http://user@127.0.0.1/paid":                  false,
		"file:///etc/passwd":                          false,
		"ftp://127.0.0.1/x":                           false,
		"https://":                                    false,
		"https://" + strings.Repeat("x", maxShopText): false,
	} {
		_, err := w.p.ShopOrder(t.Context(), "", "tea", 1, address)
		require.Equal(t, allowed, err == nil, address)
	}
	// Nor does a redirection lead anywhere else.
	m, address := w.sampleMerchant()
	redirect := httptest.NewServer(http.RedirectHandler(address, http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	require.False(t, w.p.postCallback(t.Context(), redirect.URL, "P1", []byte("{}")))
	require.Zero(t, m.calls)
}

func TestMerchant_OrdersOverHTTP(t *testing.T) {
	w := newWorld(t)
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.NoError(t, w.p.RegisterMerchant(t.Context(), "tea house", public))
	shop := &teller{w: w, key: key}
	create := api.ShopOrderRequest{Merchant: "tea house", Goods: "tea", Amount: 300}
	first := shop.post(api.PathShopOrders, "k1", create)
	offer := shop.offerOf(first)
	require.Equal(t, wallet.PurchaseOffered, offer.State)
	require.Equal(t, first.Body.String(), shop.post(api.PathShopOrders, "k1", create).Body.String())
	changed := create
	changed.Amount = 301
	require.Equal(t, http.StatusUnprocessableEntity, shop.post(api.PathShopOrders, "k1", changed).Code)

	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	granted, grant := c.pay(k, offer.Code, 300).authorised()
	show := strings.Replace(api.PathShopOrder, "{code}", offer.Code, 1)
	require.Equal(t, wallet.PurchaseAuthorised, shop.offerOf(shop.get(show)).State)
	c.purchaseResult(grant, nil, k.debit(granted))
	require.Equal(t, wallet.PurchasePaid, shop.offerOf(shop.get(show)).State)
	require.Equal(t, wallet.Fen(300), w.balance(prefixPayable+"tea house"))

	// Others see and make nothing in its name.
	for _, refused := range []api.ShopOrderRequest{
		{Merchant: DemoMerchant, Goods: "tea", Amount: 1}, {Merchant: "tea house", Amount: 1}, {Merchant: "tea house", Goods: "tea"},
		{Merchant: "tea house", Goods: "tea", Amount: 1, Callback: "http://10.0.0.1/"},
	} {
		require.GreaterOrEqual(t, shop.post(api.PathShopOrders, w.newKey(), refused).Code, 400)
	}
	require.Equal(t, http.StatusForbidden, c.post(api.PathShopOrders, w.newKey(), create).Code, "a device is no merchant")
	require.Equal(t, http.StatusForbidden, c.get(show).Code)
	require.Equal(t, http.StatusForbidden, shop.get(api.PathAccount).Code, "a merchant is no device")
	otherPublic, otherKey, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.NoError(t, w.p.RegisterMerchant(t.Context(), "other", otherPublic))
	require.Equal(t, http.StatusNotFound, (&teller{w: w, key: otherKey}).get(show).Code)
	require.Error(t, w.p.RegisterMerchant(t.Context(), "third", otherPublic), "a key names one merchant")
	require.Error(t, w.p.RegisterMerchant(t.Context(), unloadMerchant, nil))
	require.NoError(t, w.p.RegisterMerchant(t.Context(), "tea house", nil))
	require.Equal(t, wallet.PurchasePaid, shop.offerOf(shop.get(show)).State, "it keeps its key")
	_, err = w.p.ShopOrder(t.Context(), "nobody", "tea", 1, "")
	require.ErrorIs(t, err, ErrNoMerchant)
}

// A serving platform delivers by itself, and leaves nothing running behind.
func TestMerchant_ServerDeliversByItself(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Now = time.Now })
	w.clock = time.Now()
	m, address := w.sampleMerchant()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, err := w.p.Serve(ctx, "127.0.0.1:0")
	require.NoError(t, err)
	_, grant := w.paidOrder(address)
	require.Eventually(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.delivered) == 1
	}, 30*time.Second, 10*time.Millisecond)
	require.Contains(t, m.delivered, grant.Purchase)
	require.NoError(t, server.Close())
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}

// A program that pays and ends at once still tells the merchant.
func TestMerchant_IsToldBeforeThePlatformStops(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Now = time.Now })
	w.clock = time.Now()
	m, address := w.sampleMerchant()
	w.paidOrder(address)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.p.attend(ctx)
	require.Len(t, m.delivered, 1)
}

// Many computers pay one order with many cards at once: one purchase is authorised.
func TestPurchase_OneOrderManyCardsAtOnce(t *testing.T) {
	w := newWorld(t)
	code := w.shopOrder(100)
	const count = 6
	var pays []*payment
	for i := range count {
		phone := fmt.Sprintf("1390000000%d", i)
		require.NoError(t, w.p.Seed(t.Context(), phone, 0, nil, ""))
		k := w.card(fmt.Sprintf("62100001123456%02d", i), virtualcard.Spec{Balance: 5000})
		w.exec(`UPDATE cards SET user = (SELECT user FROM users WHERE phone = ?) WHERE asn = ?`, phone, k.ASN().String())
		pays = append(pays, w.teller(phone).pay(k, code, 100))
	}
	results := make([]*http.Request, count)
	for i, pay := range pays {
		results[i] = pay.c.request(http.MethodPost, api.PathPurchases, pay.key, mustJSON(t, pay.request))
	}
	authorised := sendAtOnce(w, results)
	require.Equal(t, 1, authorised)
	require.Equal(t, wallet.Fen(100), w.check().AuthorisedFen)

	// One card, many requests for it: as well.
	w2 := newWorld(t)
	k := w2.card(serial, virtualcard.Spec{Balance: 5000})
	c := w2.teller(testPhone)
	var requests []*http.Request
	for range 6 {
		pay := c.pay(k, w2.shopOrder(100), 100)
		requests = append(requests, c.request(http.MethodPost, api.PathPurchases, pay.key, mustJSON(t, pay.request)))
	}
	require.Equal(t, 1, sendAtOnce(w2, requests))
	require.Equal(t, wallet.Fen(100), w2.check().AuthorisedFen)
}

// sendAtOnce counts the grants among the answers.
func sendAtOnce(w *world, requests []*http.Request) (granted int) {
	answers := make([]*httptest.ResponseRecorder, len(requests))
	var group sync.WaitGroup
	for i, request := range requests {
		answers[i] = httptest.NewRecorder()
		group.Go(func() { w.p.Handler().ServeHTTP(answers[i], request) })
	}
	group.Wait()
	for _, answer := range answers {
		if bytes.Contains(answer.Body.Bytes(), []byte(`"granted"`)) {
			granted++
		}
	}
	return granted
}

// One result sent many times at once is one payment.
func TestPurchase_OneResultManyTimesAtOnce(t *testing.T) {
	w := newWorld(t)
	m, address := w.sampleMerchant()
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	code, err := w.p.ShopOrder(t.Context(), "", "tea", 1234, address)
	require.NoError(t, err)
	granted, grant := c.pay(k, code, 1234).authorised()
	steps := k.debit(granted)
	var requests []*http.Request
	for range 8 {
		body := mustJSON(t, api.PurchaseResult{Steps: steps, Executed: 3})
		requests = append(requests, c.request(http.MethodPost, "/v1/purchases/"+grant.Purchase+"/result", w.newKey(), body))
	}
	sendAtOnce(w, requests)
	require.Equal(t, wallet.Fen(1234), w.check().MerchantPayableFen)
	require.Equal(t, 1, w.deliver())
	require.Len(t, m.delivered, 1)
}
