package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

const price wallet.Fen = 12_50

// merchantHost is a merchant's own computer: it delivers what the platform tells it is paid.
type merchantHost struct {
	address string

	mu   sync.Mutex
	paid map[string]map[string]bool // order code → purchases
}

func newMerchantHost(t *testing.T) *merchantHost {
	s := &merchantHost{paid: map[string]map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var signed wallet.Signed
		var told api.ShopCallback
		if json.NewDecoder(r.Body).Decode(&signed) != nil || json.Unmarshal(signed.Payload, &told) != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.paid[told.Code] == nil {
			s.paid[told.Code] = map[string]bool{}
		}
		s.paid[told.Code][told.Purchase] = true
	}))
	t.Cleanup(server.Close)
	s.address = server.URL
	return s
}

// deliveries counts the purchases for which the merchant hands out an order's goods.
func (s *merchantHost) deliveries(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paid[code])
}

// offer makes a merchant's order.
func (w *world) offer(s *merchantHost, amount wallet.Fen) string {
	w.t.Helper()
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(w.t, err)
	defer p.Close()
	code, err := p.ShopOrder(w.t.Context(), mockplatform.DemoMerchant, "tea", amount, s.address)
	require.NoError(w.t, err)
	return code
}

func pay(program *wire.Program, code string) (core.PayResult, error) {
	return program.Core.Pay(context.Background(), core.PayAsk{
		OrderCode: code,
		Confirm:   func(context.Context, core.PayConfirmation) error { return nil },
		PIN:       func(int) ([]byte, error) { return program.DemoPIN(), nil },
	})
}

// TestE2E_Pay_TwoRequests: one look-up before the confirmation, then the card is
// debited after one request and the goods are delivered after two.
func TestE2E_Pay_TwoRequests(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.Standard)
	code := w.offer(s, price)
	program := w.open(w.profile, "")
	result, err := pay(program, code)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 1, 2}, []int{result.Lookups, result.Requests, result.RequestsToDebit, result.RequestsWaited})
	require.True(t, *result.Debited && result.Delivered)
	require.Equal(t, wallet.StageConfirmed, result.Entry.Stage)
	receipt, err := program.Core.PurchaseReceipt(t.Context(), result.Entry.Order)
	require.NoError(t, err)
	require.Equal(t, result.Entry.TAC, receipt.TAC)

	_, err = pay(program, code)
	require.Equal(t, "MERCHANT_ORDER", core.Explain(err).Code, "a paid order is not paid again")
	_, err = pay(program, "000000000000")
	require.Equal(t, "MERCHANT_ORDER", core.Explain(err).Code)
	program.Close()
	require.Equal(t, opening-price, w.chip().Balance)
	_, books := w.books()
	require.Equal(t, opening-price, books.ExpectedBalanceFen)

	_, err = pay(w.reopened(), w.offer(s, 500_00))
	require.Equal(t, "CARD_BALANCE_SHORT", core.Explain(err).Code)
}

// reopened is a program that ends with the test.
func (w *world) reopened() *wire.Program {
	w.t.Helper()
	program := w.open(w.profile, "")
	w.t.Cleanup(program.Close)
	return program
}

func TestE2E_Unload_EveryVariant(t *testing.T) {
	for _, variant := range variants() {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t)
			w.newCard(variant)
			program := w.open(w.profile, "")
			before, err := program.Core.Account(t.Context())
			require.NoError(t, err)
			result, err := program.Core.Unload(t.Context(), core.UnloadAsk{
				Amount:  price,
				Confirm: func(context.Context, core.PayConfirmation) error { return nil },
				PIN:     func(int) ([]byte, error) { return program.DemoPIN(), nil },
			})
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, []int{result.Lookups, result.Requests})
			require.Equal(t, before.Main+price, *result.Statement.ReceiptBody.MainBalance)
			after, err := program.Core.Account(t.Context())
			program.Close()
			require.NoError(t, err)
			require.Equal(t, before.Main+price, after.Main)
			require.Equal(t, opening-price, w.chip().Balance)
			_, books := w.books()
			require.Equal(t, opening-price, books.ExpectedBalanceFen)
		})
	}
}

// TestE2E_Unload_WithoutItsLastProof: the card leaves after DEBIT and before the probe.
// The main account gets nothing on TAC and MAC2 alone; the next touch brings the
// lower balance.
func TestE2E_Unload_WithoutItsLastProof(t *testing.T) {
	for _, variant := range []string{virtualcard.Standard, virtualcard.ProveNone, virtualcard.PINForLoad} {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t)
			w.newCard(variant)
			program := w.open(w.profile, "pay-card-leaves-after-debit")
			main := mainOf(t, program)
			result, err := program.Core.Unload(t.Context(), core.UnloadAsk{
				Amount:  price,
				Confirm: func(context.Context, core.PayConfirmation) error { return nil },
				PIN:     func(int) ([]byte, error) { return program.DemoPIN(), nil },
			})
			require.Equal(t, core.ExitOpen, exitOf(err), "%v", err)
			require.Equal(t, wallet.StageDebited, result.Entry.Stage)
			require.Equal(t, main, mainOf(t, program))
			program.Close()

			program = w.open(w.profile, "")
			lines, err := settle(program, wallet.IntentSettle)
			require.NoError(t, err)
			require.Len(t, lines, 1, "%+v", lines)
			require.Equal(t, wallet.LoadState(wallet.PurchasePaid), lines[0].To)
			require.Equal(t, main+price, mainOf(t, program))
			program.Close()
			require.Equal(t, opening-price, w.chip().Balance)
			_, books := w.books()
			require.Equal(t, opening-price, books.ExpectedBalanceFen)
			w.purchaseIsClosed(w.profile)
		})
	}
}

// TestE2E_CrashMatrix_Purchase cuts a purchase at every in-process fault, on every
// card variant, and lets one later touch settle it: once on the same computer and
// once on another one with nothing but the login. Card, books, journal and merchant
// must then agree.
func TestE2E_CrashMatrix_Purchase(t *testing.T) {
	for _, variant := range variants() {
		t.Run(variant, func(t *testing.T) {
			w, s := newWorld(t), newMerchantHost(t)
			for _, fault := range inProcess(wallet.KindPurchase) {
				if variant != virtualcard.Standard && fault.ExpectState == string(wallet.PurchaseDeclined) {
					continue // the platform authorises nothing: no card has a part in what follows
				}
				t.Run(fault.Name+"/same-profile", func(t *testing.T) {
					w.t = t
					w.purchaseRow(s, fault, variant, "")
				})
				t.Run(fault.Name+"/empty-profile", func(t *testing.T) {
					w.t = t
					w.purchaseRow(s, fault, variant, t.TempDir())
				})
			}
		})
	}
}

// purchaseRow is one cell of the matrix.
func (w *world) purchaseRow(s *merchantHost, fault wire.Fault, variant, touchProfile string) {
	t := w.t
	t.Cleanup(func() { w.renew = w.renew || t.Failed() })
	if w.renew {
		w.forgive()
	}
	sameProfile := touchProfile == ""
	if sameProfile {
		touchProfile = w.profile
	}
	w.newCard(variant)
	if fault.Row == "P12" && fault.Name != "pay-card-blocked" {
		if !sameProfile {
			return // only the computer that made the purchase still knows of it
		}
		w.makeKnown()
	}
	start, code := w.chip().Balance, w.offer(s, price)
	program := w.open(w.profile, fault.Name)
	main := mainOf(t, program)
	result, err := pay(program, code)
	program.Close()
	hit, armed := wire.FaultHit()
	require.True(t, armed && hit, "the fault was not reached: %v", err)
	if variant == virtualcard.Standard {
		require.Equal(t, fault.ExpectExit, exitOf(err), "%v", err)
	}
	require.False(t, err == nil && !result.Delivered, "success was shown without delivery")
	require.False(t, err == nil && result.Entry.Stage != wallet.StageConfirmed, "%s", result.Entry.Stage)
	touch := purchaseTouch{shop: s, fault: fault, variant: variant, profile: touchProfile, same: sameProfile, code: code, start: start, main: main}
	w.touchPurchase(touch)
}

// purchaseTouch is what a later touch is judged by.
type purchaseTouch struct {
	shop          *merchantHost
	fault         wire.Fault
	variant       string
	profile, code string
	same          bool
	start, main   wallet.Fen
}

// touchPurchase presents the card once more and compares everybody's view with what
// the card really did.
func (w *world) touchPurchase(touch purchaseTouch) {
	t := w.t
	chip := w.chip()
	debited := chip.Balance == touch.start-price
	require.True(t, debited || chip.Balance == touch.start, "the card holds %s", chip.Balance.Yuan())

	program := w.open(touch.profile, "")
	lines, err := settle(program, wallet.IntentComplete)
	order, lookErr := program.Core.Platform.MerchantOrder(t.Context(), touch.code)
	purchases, listErr := program.Core.Platform.Purchases(t.Context())
	views, _ := program.Core.Orders(t.Context(), false)
	main := mainOf(t, program)
	program.Close()
	require.NoError(t, errors.Join(lookErr, listErr))
	for _, line := range lines {
		require.LessOrEqual(t, line.Requests, 2, "%+v", line)
	}
	require.Equal(t, chip.Balance, w.chip().Balance, "settling a purchase never moves the card's money")

	state := wallet.PurchaseDeclined
	if at := slices.IndexFunc(purchases.Purchases, func(p api.Purchase) bool { return p.ASN == chip.ASN }); at >= 0 {
		state = purchases.Purchases[at].State
		w.viewAgrees(views, purchases.Purchases[at], debited)
	}
	require.Contains(t, w.endsAllowed(touch, debited), state, "%v %+v", err, lines)
	w.judgePurchase(touch, state, order.State, debited, main)
	if open := state == wallet.PurchaseDoubtful || state == wallet.PurchaseSuspense || state == wallet.PurchaseAuthorised; open {
		require.Equal(t, core.ExitOpen, exitOfTouch(lines, err), "%v %+v", err, lines)
		w.renew = true // the card or the books will decide later: it is no part of the next row
		return
	}
	require.NoError(t, err)
	w.purchaseIsClosed(touch.profile)
}

// endsAllowed says, from what the card really did and what can prove it, which states
// the table allows after one touch.
func (w *world) endsAllowed(touch purchaseTouch, debited bool) []wallet.PurchaseStateName {
	provable := touch.variant != virtualcard.ProveNone && touch.variant != virtualcard.ProveStub
	// What the card answered is on this computer's disk, or reached the platform.
	told := slices.Contains([]string{"pay-result-answer-lost", "pay-result-late"}, touch.fault.Name) || touch.fault.ExpectExit == core.ExitOK
	onDisk := touch.same && slices.Contains([]string{"pay-result-lost", "pay-result-dies-before-commit", "pay-killed-at-debited", "pay-platform-restored"}, touch.fault.Name)
	switch {
	case touch.fault.Name == "pay-result-late":
		return []wallet.PurchaseStateName{wallet.PurchaseRefunded}
	case touch.fault.Name == "pay-card-blocked":
		return []wallet.PurchaseStateName{wallet.PurchaseAuthorised}
	case touch.fault.ExpectState == "" || touch.fault.ExpectState == string(wallet.PurchaseDeclined):
		return []wallet.PurchaseStateName{wallet.PurchaseDeclined}
	case debited && (provable || told || onDisk):
		return []wallet.PurchaseStateName{wallet.PurchasePaid}
	case debited && touch.variant != virtualcard.SameRandom:
		return []wallet.PurchaseStateName{wallet.PurchaseDoubtful}
	case touch.variant == virtualcard.SameRandom: // the probe of such a card may prove nothing
		return []wallet.PurchaseStateName{wallet.PurchaseNotTaken, wallet.PurchaseSuspense}
	}
	return []wallet.PurchaseStateName{wallet.PurchaseNotTaken}
}

// judgePurchase compares books and merchant with the state.
func (w *world) judgePurchase(touch purchaseTouch, state, seen wallet.PurchaseStateName, debited bool, main wallet.Fen) {
	t := w.t
	_, books := w.booksAndCallbacks()
	chip := w.chip()
	merchantSees := map[wallet.PurchaseStateName]wallet.PurchaseStateName{
		wallet.PurchasePaid: wallet.PurchasePaid, wallet.PurchaseRefunded: wallet.PurchaseRefunded,
		wallet.PurchaseNotTaken: wallet.PurchaseOffered, wallet.PurchaseDeclined: wallet.PurchaseOffered,
		wallet.PurchaseDoubtful: wallet.PurchaseAuthorised, wallet.PurchaseAuthorised: wallet.PurchaseAuthorised, wallet.PurchaseSuspense: wallet.PurchaseAuthorised,
	}
	require.Equal(t, merchantSees[state], seen)
	deliveries := touch.shop.deliveries(touch.code)
	switch state {
	case wallet.PurchasePaid:
		require.True(t, debited, "paid without a debit")
		require.Equal(t, 1, deliveries)
		require.Equal(t, touch.main, main, "paid and refunded")
	case wallet.PurchaseRefunded:
		require.True(t, debited, "refunded without a debit")
		require.Zero(t, deliveries)
		require.Equal(t, touch.main+price, main)
	default:
		require.Zero(t, deliveries, "delivered without proof")
		require.Equal(t, touch.main, main)
	}
	final := state == wallet.PurchasePaid || state == wallet.PurchaseRefunded || state == wallet.PurchaseNotTaken || state == wallet.PurchaseDeclined
	if final && books.ASN == chip.ASN { // else the platform never met the card
		require.Equal(t, chip.Balance, books.ExpectedBalanceFen, "the books say what the card holds")
	}
}

// purchaseIsClosed: what this computer knows is settled, too, and a second touch
// changes nothing.
func (w *world) purchaseIsClosed(profile string) {
	t := w.t
	chip := w.chip()
	before, _ := w.books()
	program := w.open(profile, "")
	entries, lookErr := program.Core.Store.Entries(t.Context(), core.EntryFilter{OpenOnly: true})
	lines, err := settle(program, wallet.IntentComplete)
	program.Close()
	require.NoError(t, errors.Join(lookErr, err))
	require.Empty(t, entries)
	require.Empty(t, lines)
	after, _ := w.books()
	require.Equal(t, chip, w.chip())
	require.Equal(t, before, after)
}

// exitOfTouch is the exit code that the console's sync would end with.
func exitOfTouch(lines []core.SyncLine, err error) int {
	if err == nil && slices.ContainsFunc(lines, core.SyncLine.Open) {
		return core.ExitOpen
	}
	return exitOf(err)
}

// viewAgrees: "where is my money" never says more than is known, and nothing false.
func (w *world) viewAgrees(views []core.OrderLine, purchase api.Purchase, debited bool) {
	t := w.t
	at := slices.IndexFunc(views, func(line core.OrderLine) bool { return line.Order == purchase.Purchase })
	require.GreaterOrEqual(t, at, 0)
	line := views[at]
	require.Equal(t, wallet.KindPurchase, line.Kind)
	require.Equal(t, purchase.State == wallet.PurchasePaid, line.Delivered)
	if line.Debited != nil {
		require.Equal(t, debited, *line.Debited)
		require.Equal(t, debited, line.Paid)
		require.Equal(t, !debited, *line.OnCard)
	}
}

// booksAndCallbacks lets the merchant hear what is still on its way to it, and audits.
func (w *world) booksAndCallbacks() (mockplatform.CheckReport, mockplatform.CardCheck) {
	w.t.Helper()
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(w.t, err)
	_, err = p.DeliverCallbacks(w.t.Context())
	p.Close()
	require.NoError(w.t, err)
	return w.books()
}

// mainOf is the balance of the main account, as a program sees it.
func mainOf(t *testing.T, program *wire.Program) wallet.Fen {
	t.Helper()
	account, err := program.Core.Account(t.Context())
	require.NoError(t, err)
	return account.Main
}

// main is the balance of the main account.
func (w *world) main() wallet.Fen {
	w.t.Helper()
	program := w.open(w.profile, "")
	defer program.Close()
	return mainOf(w.t, program)
}

// TestE2E_DoubtEndsOnTheComputerThatHoldsTheProof: another computer's touch leaves a
// purchase in doubt, because the card gives no proof again; the proof is on the disk
// of the computer that paid.
func TestE2E_DoubtEndsOnTheComputerThatHoldsTheProof(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.ProveNone)
	code := w.offer(s, price)
	program := w.open(w.profile, "pay-result-lost")
	_, err := pay(program, code)
	program.Close()
	require.Equal(t, "PURCHASE_UNDELIVERED", core.Explain(err).Code)

	program = w.open(t.TempDir(), "")
	lines, err := settle(program, wallet.IntentSettle)
	require.NoError(t, err)
	require.Equal(t, wallet.LoadState(wallet.PurchaseDoubtful), lines[0].To)
	require.NotNil(t, lines[0].DoubtEnds)
	_, err = pay(program, w.offer(s, 1_00))
	require.Equal(t, "PENDING_PURCHASE", core.Explain(err).Code, "%v", err)
	_, err = topUp(program, amount)
	require.NoError(t, err, "doubt about a purchase does not keep value from being loaded")
	program.Close()

	program = w.open(w.profile, "")
	defer program.Close()
	lines, err = settle(program, wallet.IntentSettle)
	require.NoError(t, err)
	require.Equal(t, wallet.LoadState(wallet.PurchasePaid), lines[0].To)
	require.True(t, lines[0].Delivered)
}

// TestE2E_TwoComputersOneCard: a request of this computer was lost, another computer
// paid with the same card and was interrupted. Each journal ends with what became of
// its own purchase.
func TestE2E_TwoComputersOneCard(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.Standard)
	other := t.TempDir()
	program := w.open(w.profile, "pay-request-lost")
	_, err := pay(program, w.offer(s, price))
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))
	program = w.open(other, "debit-answer-lost")
	_, err = pay(program, w.offer(s, 1_00))
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))

	program = w.open(w.profile, "")
	lines, err := settle(program, wallet.IntentSettle)
	program.Close()
	require.NoError(t, err)
	ends := map[wallet.Fen]wallet.LoadState{}
	for _, line := range lines {
		ends[line.Amount] = line.To
	}
	require.Equal(t, map[wallet.Fen]wallet.LoadState{price: wallet.LoadState(wallet.PurchaseDeclined), 1_00: wallet.LoadState(wallet.PurchasePaid)}, ends)
	w.purchaseIsClosed(w.profile)

	program = w.open(other, "")
	lines, err = settle(program, wallet.IntentSettle)
	program.Close()
	require.NoError(t, err)
	require.Equal(t, wallet.LoadState(wallet.PurchasePaid), lines[0].To, "settled elsewhere, and told here")
	w.purchaseIsClosed(other)
	require.Equal(t, opening-1_00, w.chip().Balance)
}

// TestE2E_OpenOrdersComeFirst: an open load is settled before a purchase and the
// other way round, by the same card on the reader.
func TestE2E_OpenOrdersComeFirst(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "credit-answer-lost")
	_, err := topUp(program, amount)
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))
	program = w.open(w.profile, "")
	result, err := pay(program, w.offer(s, price))
	require.NoError(t, err)
	require.True(t, result.Delivered)
	program.Close()

	program = w.open(w.profile, "debit-answer-lost")
	_, err = pay(program, w.offer(s, price))
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))
	program = w.open(w.profile, "")
	_, err = topUp(program, amount)
	require.NoError(t, err)
	program.Close()
	require.Equal(t, opening+2*amount-2*price, w.chip().Balance)
	_, books := w.books()
	require.Equal(t, w.chip().Balance, books.ExpectedBalanceFen)

	program = w.open(w.profile, "credit-torn") // not on the card: the person decides
	_, err = topUp(program, amount)
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))
	program = w.open(w.profile, "")
	defer program.Close()
	_, err = pay(program, w.offer(s, price))
	require.Equal(t, "PENDING_LOAD", core.Explain(err).Code, "%v", err)
}

// TestE2E_TheOutboxDeliversWithoutTheCard: a result that could not be sent is sent
// later from the disk, and the goods are delivered.
func TestE2E_TheOutboxDeliversWithoutTheCard(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.Standard)
	code := w.offer(s, price)
	program := w.open(w.profile, "pay-result-lost")
	result, err := pay(program, code)
	require.Equal(t, "PURCHASE_UNDELIVERED", core.Explain(err).Code)
	require.True(t, *result.Debited)
	require.False(t, result.Delivered)
	views, stale := program.Core.Orders(t.Context(), true)
	program.Close()
	require.Error(t, stale, "the network is gone")
	require.Equal(t, "wait", views[0].Next)
	require.True(t, *views[0].Debited && !views[0].Delivered)

	require.NoError(t, os.Remove(w.card)) // the card may be anywhere
	w.newCard(virtualcard.Standard)
	program = w.open(w.profile, "")
	acknowledged, err := program.Core.FlushOutbox(t.Context())
	require.NoError(t, err)
	require.Len(t, acknowledged, 1)
	require.Equal(t, wallet.LoadState(wallet.PurchasePaid), acknowledged[0].State)
	acknowledged, err = program.Core.FlushOutbox(t.Context())
	require.NoError(t, err)
	require.Empty(t, acknowledged)
	program.Close()
	w.booksAndCallbacks()
	require.Equal(t, 1, s.deliveries(code))
}

// TestE2E_BooksEndTheDoubt: what the card cannot prove, the books decide when the
// upload window has closed; the next contact tells this computer.
func TestE2E_BooksEndTheDoubt(t *testing.T) {
	w, s := newWorld(t), newMerchantHost(t)
	w.newCard(virtualcard.ProveNone)
	code, main := w.offer(s, price), w.main()
	program := w.open(w.profile, "debit-answer-lost")
	_, err := pay(program, code)
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))
	program = w.open(w.profile, "")
	lines, err := settle(program, wallet.IntentSettle)
	program.Close()
	require.NoError(t, err)
	require.Equal(t, wallet.LoadState(wallet.PurchaseDoubtful), lines[0].To)

	later, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true, Now: func() time.Time { return time.Now().AddDate(0, 0, 31) }})
	require.NoError(t, err)
	report, err := later.SettleDoubtful(t.Context())
	require.NoError(t, errors.Join(err, later.Close()))
	require.Equal(t, 1, report.Refunded)

	program = w.open(w.profile, "")
	lines, err = settle(program, wallet.IntentSettle)
	program.Close()
	require.NoError(t, err)
	require.Equal(t, wallet.LoadState(wallet.PurchaseRefunded), lines[0].To)
	require.True(t, *lines[0].Debited)
	require.False(t, lines[0].Delivered)
	require.Equal(t, main+price, w.main())
	w.booksAndCallbacks()
	require.Zero(t, s.deliveries(code))
	w.journalIsClosed(w.profile, lines)
}

// TestFaults_EveryPurchaseRow: each row of the crash table of purchases can be shown.
func TestFaults_EveryPurchaseRow(t *testing.T) {
	rows, names := map[string]int{}, map[string]bool{}
	for _, fault := range wire.Faults() {
		require.False(t, names[fault.Name], "%s stands twice", fault.Name)
		names[fault.Name] = true
		require.NotEmpty(t, fault.Text["en"], fault.Name)
		require.NotEmpty(t, fault.Text["zh"], fault.Name)
		if fault.Flow == wallet.KindPurchase {
			rows[fault.Row]++
		}
	}
	for row := 1; row <= 12; row++ {
		require.Positive(t, rows[fmt.Sprint("P", row)], "P%d", row)
	}
	require.Len(t, rows, 12)
}
