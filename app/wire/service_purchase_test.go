package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/wallet"
)

// insDebit is DEBIT FOR PURCHASE (80 54, PBOC part 2 §7.5) for the control port.
const insDebit = "54"

// offer makes a merchant's order from the console, while another process serves the
// platform.
func (s *counter) offer(shop *merchantHost, amount wallet.Fen) (code string) {
	s.t.Helper()
	order := s.json(0, "platform", "shop-order", "--dir", s.platform, "--merchant", "Tea House", "--goods", "tea",
		"--amount", amount.Yuan(), "--callback", shop.address)
	require.Equal(s.t, "OFFERED", order["state"])
	return order["orderCode"].(string)
}

// pay pays an order with the card on the reader.
func (s *counter) pay(exit int, profile, code string) map[string]any {
	s.t.Helper()
	return s.json(exit, s.on(profile, "pay", "--order-code", code, "--yes")...)
}

// delivered waits until the platform's own process has told the merchant.
func (s *counter) delivered(shop *merchantHost, code string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return shop.deliveries(code) > 0 }, 10*time.Second, 10*time.Millisecond,
		"the merchant never heard that %s is paid", code)
	require.Equal(s.t, 1, shop.deliveries(code))
}

// mainFen is the balance of the main account.
func (s *counter) mainFen(profile string) float64 {
	s.t.Helper()
	return s.json(0, s.on(profile, "account")...)["account"].(map[string]any)["mainFen"].(float64)
}

// TestE2E_RealService_Purchase pays a merchant's orders with a card that lies in the
// system's own smart card service and that the platform only personalised. Client,
// platform, card and service are processes of their own; the card loses its power
// inside DEBIT FOR PURCHASE on the word of a third party, and the next touch settles.
func TestE2E_RealService_Purchase(t *testing.T) {
	pcsctest.Require(t)
	s, shop := openCounter(t), newMerchantHost(t)
	_, stop := s.serve(s.card)
	for _, profile := range []string{s.profile, s.other} {
		s.json(0, s.on(profile, "login", "--phone", servedPhone)...)
	}
	s.json(0, s.on(s.profile, "topup", "--amount", "150.00", "--yes")...)
	balance := wallet.Fen(150_00)

	code := s.offer(shop, price)
	paid := s.pay(0, s.profile, code)
	balance -= price
	require.Equal(t, []any{"PAID", "CONFIRMED", true, true, "Tea House", code},
		[]any{paid["state"], paid["stage"], paid["debited"], paid["delivered"], paid["merchant"], paid["orderCode"]})
	require.Equal(t, []any{1.0, 2.0, 1.0, 2.0}, []any{paid["lookups"], paid["requests"], paid["requestsToDebit"], paid["requestsWaited"]})
	require.EqualValues(t, balance, paid["balanceAfterFen"])
	require.Equal(t, balance, s.image().Balance)
	s.delivered(shop, code)
	s.audit(0)
	require.Equal(t, "MERCHANT_ORDER", s.pay(5, s.profile, code)["error"].(map[string]any)["code"], "a paid order is not paid again")
	require.Equal(t, balance, s.image().Balance)
	stop()

	for _, row := range []purchaseTear{
		{"before the command, settled on the same computer", "before", s.profile, false},
		{"before the chip's commit, settled on the same computer", "inside", s.profile, false},
		{"before the chip's commit, settled on another computer", "inside", s.other, false},
		{"after the commit, settled on the same computer", "after", s.profile, true},
		{"after the commit, settled on another computer", "after", s.other, true},
	} {
		if !t.Run(row.name, func(t *testing.T) {
			s.t = t
			s.tornPurchase(shop, row, &balance)
		}) {
			return // the next row begins where this one ended
		}
	}
	if !t.Run("return of balance", func(t *testing.T) {
		s.t = t
		s.tornUnload(&balance)
	}) {
		return
	}
	t.Run("after the commit, the merchant's reservation has lapsed", func(t *testing.T) {
		s.t = t
		s.lapsedPurchase(shop, balance)
	})
}

// purchaseTear is one way in which the card is torn in DEBIT FOR PURCHASE.
type purchaseTear struct {
	name    string
	when    string
	profile string // the computer that settles
	debited bool   // the card has paid already when it leaves
}

// cutPurchase pays an order with a card that is torn, and judges what everybody may
// know then. It gives the purchase's number.
func (s *counter) cutPurchase(control field, when, code string) (purchase string) {
	s.t.Helper()
	control.tearAt(when, insDebit)
	failure := s.pay(6, s.profile, code)["error"].(map[string]any)
	require.Equal(s.t, "ORDER_OPEN", failure["code"])
	detail := failure["detail"].(map[string]any)
	require.Equal(s.t, "Tea House", detail["merchant"])
	require.Equal(s.t, false, detail["delivered"])
	require.Nil(s.t, detail["debited"], "nobody knows yet")
	order := detail["order"].(map[string]any)
	require.Equal(s.t, "purchase", order["kind"])
	require.Equal(s.t, "DEBITING", order["stage"])

	require.Equal(s.t, "ok out", control.say("state"), "the card was not torn")
	open := s.json(0, s.on(s.profile, "orders", "--open")...)["orders"].([]any)
	require.Len(s.t, open, 1)
	require.Equal(s.t, "AUTHORISED", open[0].(map[string]any)["state"])
	books := s.json(0, "platform", "check", "--dir", s.platform)
	require.EqualValues(s.t, 0, books["imbalanceFen"])
	require.Equal(s.t, "ok", books["auditChain"])
	s.awaitCard("empty")
	return order["order"].(string)
}

// settle touches the card once more and gives the line of the one purchase that was open.
func (s *counter) settle(profile, purchase string) map[string]any {
	s.t.Helper()
	synced := s.json(0, s.on(profile, "sync")...)["orders"].([]any)
	require.Len(s.t, synced, 1)
	line := synced[0].(map[string]any)
	require.Equal(s.t, purchase, line["order"])
	require.Equal(s.t, "purchase", line["kind"])
	require.LessOrEqual(s.t, line["requests"], 2.0)
	return line
}

func (s *counter) tornPurchase(shop *merchantHost, row purchaseTear, balance *wallet.Fen) {
	t := s.t
	control, stop := s.serve(s.card)
	defer stop()
	code, main := s.offer(shop, price), s.mainFen(s.profile)
	purchase := s.cutPurchase(control, row.when, code)
	if row.debited {
		*balance -= price
	}
	require.Equal(t, *balance, s.image().Balance)
	require.Zero(t, shop.deliveries(code), "delivered without proof")

	control.putBack()
	s.awaitCard("present")
	line := s.settle(row.profile, purchase)
	require.Equal(t, map[bool]string{true: "PAID", false: "NOT_TAKEN"}[row.debited], line["to"])
	require.Equal(t, *balance, s.image().Balance, "settling a purchase never moves the card's money")
	s.audit(0)
	if row.profile != s.profile { // the first computer hears what became of its purchase
		require.Equal(t, line["to"], s.settle(s.profile, purchase)["to"])
	}
	for _, profile := range []string{s.profile, s.other} {
		require.Empty(t, s.json(0, s.on(profile, "sync")...)["orders"])
	}
	if row.debited {
		s.delivered(shop, code)
		require.Equal(t, "MERCHANT_ORDER", s.pay(5, s.profile, code)["error"].(map[string]any)["code"])
	} else {
		require.Zero(t, shop.deliveries(code), "delivered without a debit")
		require.Equal(t, "PAID", s.pay(0, s.profile, code)["state"], "an order that was not taken can still be paid")
		*balance -= price
		s.delivered(shop, code)
	}
	require.Equal(t, *balance, s.image().Balance)
	require.Equal(t, main, s.mainFen(s.profile), "a purchase from the card leaves the main account alone")
	s.audit(0)
}

// tornUnload returns value to the main account: once undisturbed, once torn before the
// chip's commit, and once after it, when the main account may have the value only after
// the next touch.
func (s *counter) tornUnload(balance *wallet.Fen) {
	t := s.t
	control, stop := s.serve(s.card)
	defer stop()
	unload := s.on(s.profile, "unload", "--amount", price.Yuan(), "--yes")
	main := s.mainFen(s.profile)
	done := s.json(0, unload...)
	*balance -= price
	main += float64(price)
	require.Equal(t, []any{"PAID", true, main}, []any{done["state"], done["unload"], done["mainFen"]})
	for _, row := range []struct{ when, to string }{{"inside", "NOT_TAKEN"}, {"after", "PAID"}} {
		control.tearAt(row.when, insDebit)
		failure := s.json(6, unload...)["error"].(map[string]any)
		require.Equal(t, "ok out", control.say("state"), "the card was not torn")
		require.Equal(t, main, s.mainFen(s.profile), "credited without proof")
		s.awaitCard("empty")
		control.putBack()
		s.awaitCard("present")
		purchase := failure["detail"].(map[string]any)["order"].(map[string]any)["order"].(string)
		require.Equal(t, row.to, s.settle(s.profile, purchase)["to"])
		if row.to == "PAID" {
			*balance -= price
			main += float64(price)
		}
		require.Equal(t, *balance, s.image().Balance)
		require.Equal(t, main, s.mainFen(s.profile))
		s.audit(0)
	}
}

// lapsedPurchase settles a debit after the merchant has stopped waiting for it: the
// platform comes back with a clock that is past the reservation. The goods are not
// delivered and the price goes to the main account.
func (s *counter) lapsedPurchase(shop *merchantHost, balance wallet.Fen) {
	t := s.t
	control, stop := s.serve(s.card)
	defer stop()
	code, main := s.offer(shop, price), s.mainFen(s.profile)
	purchase := s.cutPurchase(control, "after", code)
	balance -= price
	require.Equal(t, balance, s.image().Balance)

	s.stopPlatform()
	platform, err := mockplatform.Open(mockplatform.Config{Dir: s.platform, Demo: true, Now: func() time.Time { return time.Now().Add(pastReservation) }})
	require.NoError(t, err)
	defer platform.Close()
	server, err := platform.Serve(t.Context(), strings.TrimPrefix(s.url, "https://"))
	require.NoError(t, err)
	defer server.Close()

	control.putBack()
	s.awaitCard("present")
	require.Equal(t, "REFUNDED", s.settle(s.profile, purchase)["to"])
	require.Equal(t, balance, s.image().Balance)
	require.Equal(t, main+float64(price), s.mainFen(s.profile))
	require.Zero(t, shop.deliveries(code), "refunded and delivered")
	require.Empty(t, s.json(0, s.on(s.profile, "sync")...)["orders"])
	s.audit(0)
}

// pastReservation is longer than a merchant waits for an authorised purchase (30 min).
const pastReservation = 31 * time.Minute
