package sim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

// shop is all merchants: their orders, and what the platform tells them. It delivers
// goods when it is told of a payment, once for each purchase.
type shop struct {
	w     *world
	codes []string
	told  map[string]api.ShopCallback // by purchase
}

const shopAddress = "https://shop.test/paid"

// order offers something and returns the code that its customer sees.
func (s *shop) order(amount wallet.Fen) string {
	address := ""
	if s.w.luck.IntN(4) > 0 {
		address = shopAddress
	}
	code, err := s.w.platform.ShopOrder(ctx(), mockplatform.DemoMerchant, "tea", amount, address)
	s.w.must(err)
	s.codes = append(s.codes, code)
	return code
}

// RoundTrip implements http.RoundTripper for the platform's callbacks.
func (s *shop) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	s.w.must(err)
	if s.w.happens("callback lost", 150) {
		return nil, errCut
	}
	var carrier wallet.Signed
	var told api.ShopCallback
	s.w.must(json.Unmarshal(body, &carrier))
	if err := s.w.platform.Profile().SignerKeys().Open(api.DomainShopCallback, carrier, &told); err != nil {
		s.w.fail("a merchant was told something that the platform did not sign: %v", err)
	}
	s.deliver(told)
	if s.w.happens("callback answer lost", 150) {
		return nil, errCut
	}
	status := http.StatusOK
	if s.w.happens("merchant fails", 100) {
		status = http.StatusInternalServerError
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// deliver hands out goods: only for what a card paid, once, and never twice for one
// order, but for what a restore of the platform lost.
func (s *shop) deliver(told api.ShopCallback) {
	if _, again := s.told[told.Purchase]; again {
		s.w.count("end", "callback repeated")
		return
	}
	debited := s.w.debitedPurchases()
	if told.State != wallet.PurchasePaid || debited[told.Purchase] != told.Amount {
		s.w.fail("goods for purchase %s over %d, %s, but the card was debited %d", told.Purchase, told.Amount, told.State, debited[told.Purchase])
	}
	for _, other := range s.told {
		if other.Code == told.Code && s.w.restores == 0 {
			s.w.fail("order %s was delivered for %s and for %s", told.Code, other.Purchase, told.Purchase)
		}
	}
	s.told[told.Purchase] = told
	s.w.count("end", "delivered")
}

func (w *world) tellMerchants() {
	count, err := w.platform.DeliverCallbacks(ctx())
	w.must(err)
	w.say("  %d callbacks", count)
}

// settleDoubtful is what a serving platform does by itself from time to time.
func (w *world) settleDoubtful() {
	report, err := w.platform.SettleDoubtful(ctx())
	w.must(err)
	w.say("  sum rule: %+v", report)
	for name, count := range map[string]int{"REFUNDED": report.Refunded, "NOT_TAKEN": report.NotTaken, "SUSPENSE": report.Suspense} {
		w.report.Counts["settled "+name+" by sum rule"] += count
	}
}

// pay buys something with the card on the reader: mostly an order of one's own,
// sometimes one that somebody else pays or has paid, or none at all.
func (w *world) pay(c *computer) {
	amounts := []wallet.Fen{100, 250, 1000, 1000, 3000}
	amount := amounts[w.luck.IntN(len(amounts))]
	code := w.shop.order(amount)
	switch w.luck.IntN(20) {
	case 0:
		code = "000000000000"
	case 1, 2, 3:
		code = w.shop.codes[w.luck.IntN(len(w.shop.codes))]
	}
	var result core.PayResult
	var err error
	w.wishes("pay", func() { result, err = c.core.Pay(ctx(), core.PayAsk{OrderCode: code, PIN: c.pin, Confirm: w.agrees}) })
	w.paid("purchase", result, err)
}

// unload returns value from the card on the reader to the main account.
func (w *world) unload(c *computer) {
	amounts := []wallet.Fen{100, 1000, 5000}
	ask := core.UnloadAsk{Amount: amounts[w.luck.IntN(len(amounts))], PIN: c.pin, Confirm: w.agrees}
	var result core.PayResult
	var err error
	w.wishes("pay", func() { result, err = c.core.Unload(ctx(), ask) })
	w.paid("unload", result, err)
}

func (w *world) agrees(context.Context, core.PayConfirmation) error {
	if w.happens("person declines", 20) {
		return context.Canceled
	}
	return nil
}

// paid compares what the person is told with what is true.
func (w *world) paid(what string, result core.PayResult, err error) {
	w.note(err)
	entry := result.Entry
	if entry.Key == "" {
		return
	}
	w.say("  %s is at %s", entry.Order, entry.Stage)
	var state wallet.PurchaseStateName
	_ = w.books.QueryRow(`SELECT state FROM purchases WHERE id = ?`, entry.Order).Scan(&state)
	debited := w.debitedPurchases()[entry.Order] != 0
	switch {
	case result.Debited != nil && *result.Debited != debited:
		w.fail("purchase %s: the person was told debited %v", entry.Order, *result.Debited)
	case err == nil && (!debited || state != wallet.PurchasePaid || !result.Delivered):
		w.fail("success was shown for purchase %s, but it is %s, debited %v, shown as delivered %v", entry.Order, state, debited, result.Delivered)
	case result.Delivered && state != wallet.PurchasePaid:
		w.fail("purchase %s was shown as delivered, but it is %s", entry.Order, state)
	case err != nil && !core.Explain(err).Open() && debited && state != wallet.PurchaseRefunded:
		w.fail("the person was told %s with nothing open, but purchase %s was debited and is %s", core.Explain(err).Code, entry.Order, state)
	case err == nil:
		w.count("end", what+" success")
	}
}

// factsAreTrue: what a line of the synchronisation says of a card is so.
func (w *world) factsAreTrue(line core.SyncLine) {
	if line.Kind != wallet.KindPurchase || line.Debited == nil {
		return
	}
	if debited := w.debitedPurchases()[line.Order] != 0; debited != *line.Debited {
		w.fail("purchase %s: the person was told debited %v", line.Order, *line.Debited)
	}
}
