package mockplatform

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// shop is a terminal with keys of its own, which sells offline.
type shop struct {
	terminal wallet.TerminalNumber
	serial   uint32
}

var cornerShop = wallet.TerminalNumber{0x00, 0x00, 0x00, 0x99, 0x05, 0x01}

// sell debits the card offline and gives the line of the shop's upload.
func (s *shop) sell(w *world, k *chip, amount wallet.Fen) OfflinePurchase {
	w.t.Helper()
	s.serial++
	_, err := k.PowerOn()
	require.NoError(w.t, err)
	_, err = k.send("00A4040009A0000000038698070100")
	require.NoError(w.t, err)
	raw := wallet.Hex{byte(amount >> 24), byte(amount >> 16), byte(amount >> 8), byte(amount)}
	init, err := k.send("805001020B01" + raw.String() + s.terminal.String() + "0F")
	require.NoError(w.t, err)
	answer, ok := parsePurchaseAnswer(init)
	require.True(w.t, ok)
	at := epcrypto.CardTimeOf(w.clock)
	session := epcrypto.PurchaseSessionKey(k.Keys().DPK, answer.random, answer.number, s.serial)
	mac1 := epcrypto.PurchaseMAC1(session, uint32(amount), typePurchase, s.terminal, at)
	serial := wallet.Hex{byte(s.serial >> 24), byte(s.serial >> 16), byte(s.serial >> 8), byte(s.serial)}
	debit, err := k.send("805401000F" + serial.String() + wallet.Hex(at[:]).String() + wallet.Hex(mac1[:]).String() + "08")
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.Hex{0x90, 0x00}, debit.SW)
	return OfflinePurchase{ASN: k.ASN(), Terminal: s.terminal, TerminalSerial: s.serial, Amount: amount, Time: w.clock, TAC: debit.Data[:4]}
}

func (w *world) upload(lines ...OfflinePurchase) UploadReport {
	w.t.Helper()
	report, err := w.p.UploadOffline(w.t.Context(), lines)
	require.NoError(w.t, err)
	return report
}

func (w *world) settleDoubtful() SettleReport {
	w.t.Helper()
	report, err := w.p.SettleDoubtful(w.t.Context())
	require.NoError(w.t, err)
	return report
}

func TestUpload_CountsEachLineOnce(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	c.known(k)
	corner := &shop{terminal: cornerShop}
	first, second := corner.sell(w, k, 700), corner.sell(w, k, 700)
	require.Equal(t, UploadReport{Accepted: 2}, w.upload(first, second))
	require.Equal(t, UploadReport{Duplicate: 2}, w.upload(first, second))
	again := first
	again.Amount = 1 // its TAC is of another amount
	stranger := first
	stranger.ASN = wallet.ASN{9}
	moved := second
	moved.TerminalSerial = 99
	require.Equal(t, UploadReport{Refused: 3}, w.upload(again, stranger, moved))
	report := w.check()
	require.Equal(t, wallet.Fen(1400), report.Cards[0].PurchasedFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
	require.Equal(t, wallet.Fen(1400), w.balance(accountOffline))
}

// The TAC of an online purchase, handed in as an offline one, is paid no second time.
func TestUpload_RefusesOnlinePurchases(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	line := OfflinePurchase{
		ASN: k.ASN(), Terminal: grant.Terminal, TerminalSerial: grant.TerminalSerial, Amount: 1234, Time: grant.Issued, TAC: steps[0].Data[:4],
	}
	require.Equal(t, UploadReport{Refused: 1}, w.upload(line))
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	require.Equal(t, UploadReport{Refused: 1}, w.upload(line))
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// TestPurchase_SumRule leaves a purchase in doubt, lets shops upload what they sold,
// and looks at the end of the window.
func TestPurchase_SumRule(t *testing.T) {
	type world2 struct {
		w      *world
		c      *teller
		k      *chip
		grant  wallet.PurchaseGrant
		corner *shop
	}
	for name, row := range map[string]struct {
		when   virtualcard.TearWhen
		before func(world2) []OfflinePurchase // before the touch
		after  func(world2) []OfflinePurchase // after it
		state  wallet.PurchaseStateName
	}{
		"debited, nothing else": {when: virtualcard.After, state: wallet.PurchaseRefunded},
		"not debited, an equal purchase in a shop": {
			when: virtualcard.Before, state: wallet.PurchaseNotTaken,
			before: func(x world2) []OfflinePurchase { return []OfflinePurchase{x.corner.sell(x.w, x.k, 1234)} },
		},
		"not debited, a bigger purchase in a shop": {
			when: virtualcard.Before, state: wallet.PurchaseNotTaken,
			before: func(x world2) []OfflinePurchase { return []OfflinePurchase{x.corner.sell(x.w, x.k, 2000)} },
		},
		"debited, and an equal purchase in a shop": {
			when: virtualcard.After, state: wallet.PurchaseRefunded,
			before: func(x world2) []OfflinePurchase { return []OfflinePurchase{x.corner.sell(x.w, x.k, 1234)} },
		},
		"debited, and purchases after the touch": {
			when: virtualcard.After, state: wallet.PurchaseRefunded,
			after: func(x world2) []OfflinePurchase {
				return []OfflinePurchase{x.corner.sell(x.w, x.k, 1234), x.corner.sell(x.w, x.k, 1)}
			},
		},
		"a shop that never uploads, of another amount": {
			when: virtualcard.Before, state: wallet.PurchaseSuspense,
			before: func(x world2) []OfflinePurchase { x.corner.sell(x.w, x.k, 2000); return nil },
		},
		"debited, and a shop that never uploads": {
			when: virtualcard.After, state: wallet.PurchaseSuspense,
			before: func(x world2) []OfflinePurchase { x.corner.sell(x.w, x.k, 5); return nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, code, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
			x := world2{w, c, k, grant, &shop{terminal: cornerShop}}
			tornDebit(k, granted, row.when)
			var lines []OfflinePurchase
			if row.before != nil {
				lines = row.before(x)
			}
			w.clock = w.clock.Add(shopClock)
			c.login()
			main := w.balance(mainAccount(c.session.User))
			answer, _ := c.touch(k, grant, false)
			require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
			w.clock = w.clock.Add(shopClock + time.Second)
			if row.after != nil {
				lines = append(lines, row.after(x)...)
			}
			w.clock = w.clock.Add(24 * time.Hour)
			require.Equal(t, UploadReport{Accepted: len(lines)}, w.upload(lines...))
			require.Equal(t, SettleReport{}, w.settleDoubtful(), "the window is open")
			require.Equal(t, wallet.Fen(1234), w.check().DoubtfulFen)
			w.clock = w.clock.Add(uploadWindow)
			w.settleDoubtful()
			require.Equal(t, SettleReport{}, w.settleDoubtful(), "once")

			c.login()
			var told api.PurchaseAnswer
			shown := c.get(strings.Replace(api.PathPurchase, "{id}", grant.Purchase, 1))
			c.must(http.StatusOK, shown, &told)
			statement := c.statementOf(shown)
			require.Equal(t, row.state, statement.State)
			report := w.check()
			switch row.state {
			case wallet.PurchaseRefunded:
				require.Equal(t, "uploads", statement.Evidence)
				require.Equal(t, main+1234, w.balance(mainAccount(c.session.User)))
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
				// PAID and REFUNDED exclude each other for ever.
				tac, mac2 := k.forgeDebit(grant)
				late := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: append(append(wallet.Hex{}, tac...), mac2...)}}
				require.Equal(t, wallet.PurchaseRefunded, c.statementOf(c.purchaseResult(grant, nil, late)).State)
			case wallet.PurchaseNotTaken:
				require.False(t, *statement.Debited)
				require.Equal(t, main, w.balance(mainAccount(c.session.User)))
				require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
				require.Equal(t, wallet.PurchaseOffered, c.offer(code).State)
			case wallet.PurchaseSuspense:
				require.Equal(t, 1, report.PurchaseSuspense)
				require.Equal(t, main, w.balance(mainAccount(c.session.User)))
				require.Equal(t, []string{string(rules.CauseSum)}, w.alarms())
			}
			require.Zero(t, w.check().MerchantPayableFen)
		})
	}
}

// An upload that leaves less than the amount unexplained ends the doubt at the next
// touch, without waiting for the window.
func TestPurchase_UploadEndsTheDoubtAtTheNextTouch(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.Before)
	corner := &shop{terminal: cornerShop}
	line := corner.sell(w, k, 1234)
	w.clock = w.clock.Add(time.Minute)
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.clock = w.clock.Add(time.Minute)
	corner.sell(w, k, 900) // after the touch, and not uploaded yet
	w.upload(line)
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	w.check()
}

// A second touch must not make purchases between the touches count against an
// earlier balance.
func TestPurchase_LaterTouchTakesNothingFromTheFirst(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.After)
	corner := &shop{terminal: cornerShop}
	first := corner.sell(w, k, 500)
	w.clock = w.clock.Add(shopClock + time.Second)
	c.login()
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.clock = w.clock.Add(shopClock + time.Second)
	c.login()
	w.upload(first)
	second := corner.sell(w, k, 700)
	w.clock = w.clock.Add(shopClock + time.Second)
	c.login()
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.clock = w.clock.Add(shopClock + time.Second)
	c.login()
	w.upload(second)
	w.clock = w.clock.Add(uploadWindow)
	require.Equal(t, SettleReport{Refunded: 1}, w.settleDoubtful())
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// The result of a return of balance may come late, after a shop has uploaded what the
// card paid there since: its balance is that of the moment of the debit.
func TestUnload_ResultAfterAnUpload(t *testing.T) {
	w := newWorld(t)
	c, k, granted, grant := w.unload(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	w.clock = w.clock.Add(time.Minute)
	w.upload((&shop{terminal: cornerShop}).sell(w, k, 700))
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
	require.Equal(t, cardActive, w.cardState(k), "the answer is older than the upload")
}

// The platform's own clock may be set back: uploads of before a touch were in the books
// when it came, and do not explain a debit away.
func TestPurchase_ClockSetBackKeepsTheOrder(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	c := w.teller(testPhone)
	c.known(k)
	earlier := w.clock
	w.clock = earlier.Add(-72 * time.Hour)
	line := (&shop{terminal: cornerShop}).sell(w, k, 1234)
	w.clock = earlier.Add(26 * time.Hour)
	w.upload(line)
	w.clock = earlier
	granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
	tornDebit(k, granted, virtualcard.After)
	for range 2 {
		answer, _ := c.touch(k, grant, false)
		require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	}
	w.check()
}

// The clock of a shop may be minutes slow: what it sold right after the touch seems to
// have been sold before it. That must not explain the debit away, nor refund what was
// never debited.
func TestPurchase_ShopClockDecidesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		when         virtualcard.TearWhen
		before, slow bool
	}{
		"debited, sold after the touch by a slow clock":      {when: virtualcard.After, slow: true},
		"debited, sold before the touch":                     {when: virtualcard.After, before: true},
		"not debited, sold before the touch by a fast clock": {when: virtualcard.Before, before: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
			tornDebit(k, granted, row.when)
			corner := &shop{terminal: cornerShop}
			sell := func() OfflinePurchase {
				shown := w.clock
				defer func() { w.clock = shown }()
				w.clock = w.clock.Add(5 * time.Minute)
				if row.slow {
					w.clock = w.clock.Add(-10 * time.Minute)
				}
				return corner.sell(w, k, 1234)
			}
			var line OfflinePurchase
			if row.before {
				line = sell()
			}
			answer, _ := c.touch(k, grant, false)
			require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
			w.clock = w.clock.Add(time.Second)
			if !row.before {
				line = sell()
			}
			w.clock = w.clock.Add(time.Hour)
			require.Equal(t, UploadReport{Accepted: 1}, w.upload(line))
			w.clock = w.clock.Add(uploadWindow)
			require.Equal(t, SettleReport{Suspense: 1}, w.settleDoubtful())
			w.check()
		})
	}
}

func TestPurchase_CardThatNeverComesBackIsSuspense(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	tornDebit(k, granted, virtualcard.After)
	w.clock = w.clock.Add(uploadWindow)
	require.Equal(t, SettleReport{}, w.settleDoubtful())
	w.clock = w.clock.Add(time.Second)
	require.Equal(t, SettleReport{Suspense: 1}, w.settleDoubtful())
	c.login()
	// A late touch still resolves it.
	answer, _ := c.touch(k, grant, true)
	require.Equal(t, wallet.PurchaseRefunded, c.statementOf(answer).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func TestPurchase_LateTouchOfAgedPurchaseMayBeInDoubt(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveNone})
	tornDebit(k, granted, virtualcard.After)
	w.clock = w.clock.Add(uploadWindow + time.Second)
	require.Equal(t, SettleReport{Suspense: 1}, w.settleDoubtful())
	c.login()
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseDoubtful, c.statementOf(answer).State)
	w.clock = w.clock.Add(uploadWindow + time.Second)
	require.Equal(t, SettleReport{Refunded: 1}, w.settleDoubtful())
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// unload begins a return of 1234 fen.
func (w *world) unload(spec virtualcard.Spec) (*teller, *chip, *wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	w.t.Helper()
	k := w.card(serial, spec)
	c := w.teller(testPhone)
	c.known(k)
	key := w.newKey()
	first := c.post(api.PathUnloads, key, api.UnloadRequest{ASN: k.ASN(), Amount: 1234})
	offer := c.offerOf(first)
	require.Equal(w.t, first.Body.String(), c.post(api.PathUnloads, key, api.UnloadRequest{ASN: k.ASN(), Amount: 1234}).Body.String())
	require.Equal(w.t, key, offer.Request)
	require.True(w.t, offer.Unload)
	granted, grant := c.pay(k, offer.Code, 1234).authorised()
	require.True(w.t, grant.Unload)
	return c, k, granted, grant
}

func TestUnload_ReturnsTheBalanceToTheMainAccount(t *testing.T) {
	w := newWorld(t)
	c, k, granted, grant := w.unload(virtualcard.Spec{Balance: 5000})
	main := w.balance(mainAccount(c.session.User))
	steps := k.debit(granted)
	require.Len(t, steps, 4)
	told := c.statementOf(c.purchaseResult(grant, nil, steps))
	require.Equal(t, wallet.PurchasePaid, told.State)
	require.True(t, *told.Debited)
	require.Equal(t, main+1234, *told.ReceiptBody.MainBalance)
	require.Equal(t, wallet.Fen(3766), told.ReceiptBody.BalanceAfter)
	require.Equal(t, main+1234, w.balance(mainAccount(c.session.User)))
	report := w.check()
	require.Zero(t, report.MerchantPayableFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
}

// TAC and MAC2 alone move no money to the main account; the touch brings the rest.
func TestUnload_NeedsTheLowerBalance(t *testing.T) {
	w := newWorld(t)
	c, k, granted, grant := w.unload(virtualcard.Spec{Balance: 5000})
	main := w.balance(mainAccount(c.session.User))
	steps := k.debit(granted)
	told := c.statementOf(c.purchaseResult(grant, nil, steps[:1]))
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	require.Equal(t, main, w.balance(mainAccount(c.session.User)))
	w.check()
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(answer).State)
	require.Equal(t, main+1234, w.balance(mainAccount(c.session.User)))
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

// Whoever forges TAC and MAC2 still meets the balance.
func TestUnload_ForgedProofBuysNothing(t *testing.T) {
	w := newWorld(t)
	c, k, _, grant := w.unload(virtualcard.Spec{Balance: 5000})
	main := w.balance(mainAccount(c.session.User))
	tac, mac2 := k.forgeDebit(grant)
	forged := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: append(append(wallet.Hex{}, tac...), mac2...)}}
	require.Equal(t, wallet.PurchaseAuthorised, c.statementOf(c.purchaseResult(grant, nil, forged)).State)
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(answer).State)
	(&shop{terminal: cornerShop}).sell(w, k, 1234)
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(answer).State, "only people decide now")
	require.Equal(t, main, w.balance(mainAccount(c.session.User)))
	w.check()
}

func TestUnload_TornSettlesLikeAPurchase(t *testing.T) {
	for when, state := range map[virtualcard.TearWhen]wallet.PurchaseStateName{
		virtualcard.Before: wallet.PurchaseNotTaken, virtualcard.Inside: wallet.PurchaseNotTaken, virtualcard.After: wallet.PurchasePaid,
	} {
		w := newWorld(t)
		c, k, granted, grant := w.unload(virtualcard.Spec{Balance: 5000})
		tornDebit(k, granted, when)
		w.clock = w.clock.Add(reservation + time.Minute) // nobody reserves anything here
		c.login()
		answer, _ := c.touch(k, grant, true)
		require.Equal(t, state, c.statementOf(answer).State)
		require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
	}
}

func TestUnload_IsForItsPersonAndCardOnly(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	ask := func(asn wallet.ASN) int {
		return c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: asn, Amount: 100}).Code
	}
	require.Equal(t, http.StatusForbidden, ask(k.ASN()), "its balance was never authenticated")
	c.known(k)
	require.Equal(t, http.StatusForbidden, ask(wallet.ASN{7}))
	offer := c.offerOf(c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: k.ASN(), Amount: 100}))
	other := w.card("6210000187654321", virtualcard.Spec{Balance: 5000})
	c.known(other)
	c.pay(other, offer.Code, 100).refusedWith(api.CodeMerchantOrder)
	const strangerPhone = "13700000000"
	require.NoError(t, w.p.Seed(t.Context(), strangerPhone, 0, nil, ""))
	require.Equal(t, http.StatusNotFound, w.teller(strangerPhone).get("/v1/merchant-orders/"+offer.Code).Code)
}

// A card that pays before the books know its balance is not taken for one that
// creates value afterwards.
func TestPurchase_CardThatBecomesKnownLater(t *testing.T) {
	for name, row := range map[string]struct {
		when  virtualcard.TearWhen
		prove bool
		state wallet.PurchaseStateName
	}{
		"torn before":          {virtualcard.Before, false, wallet.PurchaseNotTaken},
		"answer lost, PROVE":   {virtualcard.After, true, wallet.PurchasePaid},
		"answer lost, balance": {virtualcard.After, false, wallet.PurchaseDoubtful},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.card(serial, virtualcard.Spec{Balance: 5000})
			c := w.teller(testPhone)
			granted, grant := c.pay(k, w.shopOrder(1234), 1234).authorised()
			tornDebit(k, granted, row.when)
			answer, attempt := c.touch(k, grant, row.prove)
			require.Equal(t, row.state, c.statementOf(answer).State)
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
			if row.state == wallet.PurchaseDoubtful {
				attempt.Prove = k.provePurchase(c.payScripts[profilePBOC], grant.Number+1)
				require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseAttempt(grant, attempt)).State)
				require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
			}
			script, load := c.order(k, 5000).init().granted()
			step, err := k.credit(script)
			require.NoError(t, err)
			require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(load, nil, step)).State)
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
			require.Empty(t, w.alarms())
		})
	}
}
