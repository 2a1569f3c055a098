package platformtest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// insDebit is the instruction byte of DEBIT FOR PURCHASE.
const insDebit = 0x54

// price is what the suite's goods cost; the suite's cards hold more.
const price = 150

// purchaseCases are the cases of online purchases and of the return of balance.
var purchaseCases = []testCase{
	{"purchase", testPurchase},
	{"purchase not taken", testPurchaseNotTaken},
	{"purchase whose answer was lost", testPurchaseLost},
	{"purchase is repeated byte for byte", testPurchaseReplay},
	{"purchase refusals", testPurchaseRefusals},
	{"abandon a purchase", testPurchaseAbandon},
	{"purchase result without a session", testPurchaseWithoutSession},
	{"return of balance", testUnload},
	{"merchants", testMerchants},
}

// shop sends a request as the merchant does, signed with its key, and returns
// status and body.
func (w *world) shop(method, path string, value any) (int, []byte) {
	w.t.Helper()
	var body []byte
	if value != nil {
		var err error
		body, err = json.Marshal(value)
		require.NoError(w.t, err)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.subject.Profile.URL+path, bytes.NewReader(body))
	require.NoError(w.t, err)
	key, err := platformclient.NewKey(time.Now(), rand.Reader)
	require.NoError(w.t, err)
	request.Header.Set(api.HeaderIdempotencyKey, key)
	require.NoError(w.t, api.SignRequest(request, body, w.subject.MerchantKey, w.lastExchange().AnswerHeader.Get(api.HeaderNonce), time.Now()))
	response, err := w.wire.send(request, body)
	require.NoError(w.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return response.StatusCode, answer
}

// offered makes an order of the merchant and reads it as the merchant is told of it.
func (w *world) offered() wallet.MerchantOrder {
	w.t.Helper()
	status, body := w.shop(http.MethodPost, api.PathShopOrders, api.ShopOrderRequest{Merchant: w.subject.Merchant, Goods: "tea", Amount: price})
	require.Equal(w.t, http.StatusOK, status, string(body))
	return w.offerIn(body)
}

func (w *world) offerIn(body []byte) wallet.MerchantOrder {
	var carried api.Offer
	decode(w, body, &carried)
	var offer wallet.MerchantOrder
	require.NoError(w.t, w.subject.Profile.SignerKeys().Open(wallet.DomainOffer, carried.Offer, &offer))
	return offer
}

// atMerchant is the state of an order as its merchant sees it.
func (w *world) atMerchant(code string) wallet.PurchaseStateName {
	w.t.Helper()
	status, body := w.shop(http.MethodGet, strings.Replace(api.PathShopOrder, "{code}", code, 1), nil)
	require.Equal(w.t, http.StatusOK, status, string(body))
	return w.offerIn(body).State
}

// known lets the platform see the card once: what it holds before its first
// purchase must be authenticated.
func (w *world) known() {
	w.t.Helper()
	tid := w.lease()
	_, err := w.client.AddCard(w.t.Context(), api.CardRequest{
		ASN: w.asn(), Profile: profileName, Open: api.Open{TID: tid, Amount: 1, Steps: w.opened(1, tid)}})
	require.NoError(w.t, err)
}

// confirmed looks an order up and makes the payment that a person confirms.
func (w *world) confirmed(code string) wallet.Payment {
	w.t.Helper()
	offer, err := w.client.MerchantOrder(w.t.Context(), code)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchaseOffered, offer.State)
	return w.payment(offer)
}

func (w *world) payment(offer wallet.MerchantOrder) wallet.Payment {
	key, err := platformclient.NewKey(time.Now(), rand.Reader)
	require.NoError(w.t, err)
	return wallet.Payment{Key: key, ASN: w.asn(), Amount: offer.Amount, MerchantOrder: offer.Code,
		Merchant: offer.Merchant, Goods: offer.Goods, Unload: offer.Unload}
}

func (w *world) pay(card wallet.Card, payment wallet.Payment) (wallet.Outcome, error) {
	script, published := w.client.Session().PurchaseScripts[profileName]
	require.True(w.t, published, "no open script of purchases for %s", profileName)
	desk := w.desk(card)
	desk.Cashier = w.client.Cashier()
	return desk.Pay(w.t.Context(), payment, w.profile, script, w.lease())
}

// beginPurchase logs in and confirms an order of the merchant.
func (w *world) beginPurchase() wallet.Payment {
	w.t.Helper()
	w.login()
	w.known()
	return w.confirmed(w.offered().Code)
}

// settlePurchase touches the card once more.
func (w *world) settlePurchase(payment wallet.Payment) wallet.PurchaseStatement {
	w.t.Helper()
	open, err := w.client.PendingPurchases(w.t.Context(), payment.ASN)
	require.NoError(w.t, err)
	require.Len(w.t, open, 1)
	require.Equal(w.t, wallet.PurchaseAuthorised, open[0].State)
	desk := w.desk(w.field())
	desk.Cashier = w.client.Cashier()
	out, err := desk.SettlePurchase(w.t.Context(), open[0], w.journal.Entry(payment.Key), w.profile, w.script())
	require.NoError(w.t, err)
	require.NotNil(w.t, out.Purchase)
	return *out.Purchase
}

func testPurchase(w *world) {
	payment := w.beginPurchase()
	out, err := w.pay(w.field(), payment)
	require.NoError(w.t, err)
	require.EqualValues(w.t, openingBalance-price, w.balance())
	told, _, err := w.client.PurchaseResult(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchasePaid, told.State)
	require.NotNil(w.t, told.Debited)
	require.True(w.t, *told.Debited)
	require.True(w.t, told.Delivered)
	require.NotNil(w.t, told.ReceiptBody)
	require.EqualValues(w.t, openingBalance-price, told.ReceiptBody.BalanceAfter)
	require.Equal(w.t, payment.MerchantOrder, told.ReceiptBody.MerchantOrder)
	require.Equal(w.t, wallet.PurchasePaid, w.atMerchant(payment.MerchantOrder))

	again, _, err := w.client.PurchaseResult(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, told.ReceiptBody, again.ReceiptBody, "the same result is the same receipt")
	shown, err := w.client.Purchase(w.t.Context(), out.Entry.Order)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchasePaid, shown.State)
	all, err := w.client.Purchases(w.t.Context())
	require.NoError(w.t, err)
	require.True(w.t, slices.ContainsFunc(all.Purchases, func(p api.Purchase) bool {
		return p.Key == payment.Key && p.State == wallet.PurchasePaid && p.Amount == price
	}))
}

func testPurchaseNotTaken(w *world) {
	payment := w.beginPurchase()
	field := w.field()
	field.cutBefore = insDebit
	_, err := w.pay(field, payment)
	require.True(w.t, wallet.IsOpen(err), "%v", err)
	told := w.settlePurchase(payment)
	require.Equal(w.t, wallet.PurchaseNotTaken, told.State)
	require.False(w.t, told.Delivered)
	require.EqualValues(w.t, openingBalance, w.balance())
	require.Equal(w.t, wallet.PurchaseOffered, w.atMerchant(payment.MerchantOrder), "somebody may pay it again")
}

func testPurchaseLost(w *world) {
	payment := w.beginPurchase()
	field := w.field()
	field.cutAfter = insDebit
	_, err := w.pay(field, payment)
	require.True(w.t, wallet.IsOpen(err), "%v", err)
	told := w.settlePurchase(payment)
	require.Equal(w.t, wallet.PurchasePaid, told.State)
	require.Equal(w.t, "prove", told.Evidence)
	require.True(w.t, told.Delivered)
	require.EqualValues(w.t, openingBalance-price, w.balance())
}

// asked is the question for an authorisation, with the card's answers.
func (w *world) asked(payment wallet.Payment) wallet.PurchaseAsk {
	w.t.Helper()
	tid := w.lease()
	script := w.client.Session().PurchaseScripts[profileName]
	guard := wallet.NewPurchaseGuard(w.field(), w.profile, payment, tid, 0, nil)
	return wallet.PurchaseAsk{Payment: payment, Profile: profileName, KeyIndex: w.profile.KeyIndex, TID: tid,
		Steps: w.run(guard, script, payment.Amount, tid)}
}

func testPurchaseReplay(w *world) {
	payment := w.beginPurchase()
	verdict, err := w.client.Cashier().RequestPurchase(w.t.Context(), w.asked(payment))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
	first := w.lastExchange()
	status, body := w.again()
	require.Equal(w.t, first.Status, status)
	require.Equal(w.t, string(first.AnswerBody), string(body), "the second answer is the stored bytes")
}

func testPurchaseRefusals(w *world) {
	payment := w.beginPurchase()
	refused := func(code string, change func(*wallet.Payment)) {
		w.t.Helper()
		other := w.payment(wallet.MerchantOrder{Code: payment.MerchantOrder, Amount: payment.Amount})
		change(&other)
		verdict, err := w.client.Cashier().RequestPurchase(w.t.Context(), w.asked(other))
		require.NoError(w.t, err)
		require.NotNil(w.t, verdict.State)
		require.Equal(w.t, wallet.PurchaseDeclined, verdict.State.State)
		require.Equal(w.t, code, verdict.State.Code)
	}
	refused(api.CodeMerchantOrder, func(p *wallet.Payment) { p.MerchantOrder = "no such order" })
	refused(api.CodeAmountDiffers, func(p *wallet.Payment) { p.Amount++ })
	verdict, err := w.client.Cashier().RequestPurchase(w.t.Context(), w.asked(payment))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted, "after these refusals a right purchase is authorised")
}

func testPurchaseAbandon(w *world) {
	payment := w.beginPurchase()
	told, err := w.client.AbandonPurchase(w.t.Context(), payment.Key)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchaseDeclined, told.State)
	require.Equal(w.t, api.CodeAbandoned, told.Code)
	verdict, err := w.client.Cashier().RequestPurchase(w.t.Context(), w.asked(payment)) // the late request
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.State)
	require.Equal(w.t, api.CodeAbandoned, verdict.State.Code)
}

func testPurchaseWithoutSession(w *world) {
	payment := w.beginPurchase()
	out, err := w.pay(w.field(), payment)
	require.NoError(w.t, err)
	stranger := w.newClient(newVault())
	told, _, err := stranger.PurchaseResult(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Empty(w.t, w.lastExchange().RequestHeader.Get("Authorization"))
	require.Equal(w.t, wallet.PurchasePaid, told.State)
}

func testUnload(w *world) {
	w.login()
	w.known()
	before := w.main()
	offer, err := w.client.Unload(w.t.Context(), w.asn(), price)
	require.NoError(w.t, err)
	out, err := w.pay(w.field(), w.payment(offer))
	require.NoError(w.t, err)
	told, _, err := w.client.PurchaseResult(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.PurchasePaid, told.State)
	require.EqualValues(w.t, openingBalance-price, w.balance())
	require.Equal(w.t, before+price, w.main())
}

func testMerchants(w *world) {
	w.login()
	order := w.offered()
	require.Equal(w.t, w.subject.Merchant, order.Merchant)
	require.EqualValues(w.t, price, order.Amount)
	require.Equal(w.t, wallet.PurchaseOffered, w.atMerchant(order.Code))
	status, _ := w.shop(http.MethodPost, api.PathShopOrders, api.ShopOrderRequest{Merchant: w.subject.Merchant + "x", Goods: "tea", Amount: price})
	require.Equal(w.t, http.StatusForbidden, status, "the key belongs to another merchant")
	status, _ = w.shop(http.MethodGet, strings.Replace(api.PathShopOrder, "{code}", "no-such-order", 1), nil)
	require.Equal(w.t, http.StatusNotFound, status)
	stolen := w.subject.MerchantKey
	w.subject.MerchantKey = w.vault.deviceKey(w.t) // a person's key is no merchant's
	status, _ = w.shop(http.MethodPost, api.PathShopOrders, api.ShopOrderRequest{Merchant: w.subject.Merchant, Goods: "tea", Amount: price})
	w.subject.MerchantKey = stolen
	require.Equal(w.t, http.StatusForbidden, status)
}
