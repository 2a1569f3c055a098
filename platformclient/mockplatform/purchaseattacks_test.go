package mockplatform

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

func TestPurchase_ForgedEvidence(t *testing.T) {
	for name, forge := range map[string]func(*teller, *chip, wallet.PurchaseGrant, []wallet.StepResult) *httptest.ResponseRecorder{
		"wrong TAC": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			steps[0].Data[0] ^= 1
			return c.purchaseResult(grant, nil, steps)
		},
		"wrong MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			steps[0].Data[7] ^= 1
			return c.purchaseResult(grant, nil, steps)
		},
		"no MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.post("/v1/purchases/"+grant.Purchase+"/result", c.w.newKey(), api.PurchaseResult{TAC: steps[0].Data[:4]})
		},
		"MAC2 without TAC": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.post("/v1/purchases/"+grant.Purchase+"/result", c.w.newKey(), api.PurchaseResult{MAC2: steps[0].Data[4:]})
		},
		"TAC in the place of MAC2": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			copy(steps[0].Data[4:], steps[0].Data[:4])
			return c.purchaseResult(grant, nil, steps)
		},
		"a bare word": func(c *teller, _ *chip, grant wallet.PurchaseGrant, _ []wallet.StepResult) *httptest.ResponseRecorder {
			return c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: &wallet.StepResult{SW: wallet.Hex{0x94, 0x06}}})
		},
		"PROVE with TAC alone": func(c *teller, _ *chip, grant wallet.PurchaseGrant, steps []wallet.StepResult) *httptest.ResponseRecorder {
			return c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: &wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: steps[0].Data[:4]}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
			steps := k.debit(granted)
			copied := append([]wallet.StepResult{}, steps...)
			copied[0].Data = append(wallet.Hex{}, steps[0].Data...)
			told := c.statementOf(forge(c, k, grant, copied))
			require.Contains(t, []wallet.PurchaseStateName{wallet.PurchaseAuthorised, wallet.PurchaseDoubtful}, told.State)
			require.False(t, told.Delivered)
			require.Zero(t, w.check().MerchantPayableFen)
			// The whole proof still pays.
			require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
			require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
		})
	}
}

// Every single bit of TAC and MAC2 matters.
func TestPurchase_BitFlipsPayNothing(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	for bit := range 64 {
		flipped := append(wallet.Hex{}, steps[0].Data...)
		flipped[bit/8] ^= 1 << (bit % 8)
		told := c.statementOf(c.purchaseResult(grant, nil, []wallet.StepResult{{SW: steps[0].SW, Data: flipped}}))
		require.NotEqual(t, wallet.PurchasePaid, told.State, "bit %d", bit)
		w.exec(`UPDATE purchases SET wrongs = 0, state = 'AUTHORISED', tac = NULL`)
	}
	require.Zero(t, w.check().MerchantPayableFen)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
}

// A TAC and MAC2 of another purchase, also of the same amount on the same card, pay
// nothing a second time.
func TestPurchase_ReplayOfAnotherPurchase(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	first := k.debit(granted)
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, first)).State)
	again, second := c.pay(k, w.shopOrder(1234), 1234).authorised()
	told := c.statementOf(c.purchaseResult(second, nil, first))
	require.Equal(t, api.CodeCardEvidence, told.Code)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	// An INITIALIZE FOR LOAD over the probe of the first one proves nothing here.
	stale := k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)
	told = c.statementOf(c.purchaseAttempt(second, api.PurchaseAttempt{Open: stale}))
	require.Equal(t, api.CodeAttemptSuperseded, told.Code)
	relabelled := *stale
	relabelled.TID = second.ProbeTID
	told = c.statementOf(c.purchaseAttempt(second, api.PurchaseAttempt{Open: &relabelled}))
	require.Equal(t, api.CodeCardEvidence, told.Code)
	require.Equal(t, wallet.PurchaseAuthorised, told.State)
	// The INITs have ended the purchase session: the card refuses the old DEBIT.
	require.Equal(t, wallet.Hex{0x69, 0x01}, k.debit(again)[0].SW)
	answer, _ := c.touch(k, second, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	require.Equal(t, k.Balance(), w.check().Cards[0].ExpectedBalanceFen)
}

func TestPurchase_FiveWrongAreSuspense(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	wrong := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: wallet.Hex{1, 2, 3, 4, 5, 6, 7, 8}}}
	const strangerPhone = "13700000000"
	require.NoError(t, w.p.Seed(t.Context(), strangerPhone, 0, nil, ""))
	stranger := w.teller(strangerPhone)
	for range rules.MaxWrong + 1 {
		require.Equal(t, wallet.PurchaseAuthorised, stranger.statementOf(stranger.purchaseResult(grant, nil, wrong)).State)
	}
	for i := range rules.MaxWrong {
		told := c.statementOf(c.purchaseResult(grant, nil, wrong))
		if i < rules.MaxWrong-1 {
			require.Equal(t, wallet.PurchaseAuthorised, told.State)
			require.Equal(t, api.CodeCardEvidence, told.Code)
		} else {
			require.Equal(t, wallet.PurchaseSuspense, told.State)
		}
	}
	// Guessing has ended: not even the right one moves it now, people must.
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(c.purchaseResult(grant, nil, steps)).State)
	require.Equal(t, 1, w.check().PurchaseSuspense)
	c.pay(k, w.shopOrder(1), 1).refusedWith(api.CodePendingPurchase)
}

func TestPurchase_ProveStubIsNeverCounted(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000, Variant: virtualcard.ProveStub})
	tornDebit(k, granted, virtualcard.Before)
	for range rules.MaxWrong + 2 {
		prove := k.provePurchase(c.payScripts[profilePBOC], grant.Number+1)
		require.Equal(t, wallet.PurchaseAuthorised, c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Prove: prove})).State)
	}
	answer, _ := c.touch(k, grant, true)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
}

func TestPurchase_EvidenceNeedsNoSession(t *testing.T) {
	w := newWorld(t)
	_, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	steps := k.debit(granted)
	anybody := w.stranger("13900000000")
	require.Equal(t, http.StatusUnauthorized, anybody.purchaseResult(grant, nil, steps).Code)
	forged := granted.Grant
	forged.Payload = append([]byte(nil), forged.Payload...)
	forged.Payload[10] ^= 1
	require.Equal(t, http.StatusUnprocessableEntity, anybody.purchaseResult(grant, &forged, steps).Code)
	require.Equal(t, wallet.PurchasePaid, anybody.statementOf(anybody.purchaseResult(grant, &granted.Grant, steps)).State)
	w.check()
}

func TestPurchase_ProofAfterTheReservationRefunds(t *testing.T) {
	w := newWorld(t)
	c, k, code, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	main := w.balance(mainAccount(c.session.User))
	steps := k.debit(granted)
	w.clock = w.clock.Add(reservation + time.Second)
	c.login()
	told := c.statementOf(c.purchaseResult(grant, nil, steps))
	require.Equal(t, wallet.PurchaseRefunded, told.State)
	require.True(t, *told.Debited)
	require.False(t, told.Delivered)
	require.Equal(t, main+1234, *told.ReceiptBody.MainBalance)
	require.Equal(t, main+1234, w.balance(mainAccount(c.session.User)))
	require.Equal(t, wallet.PurchaseRefunded, c.offer(code).State)
	// For ever: the same proof again is the same answer and no goods.
	require.Equal(t, told.ReceiptBody, c.statementOf(c.purchaseResult(grant, nil, steps)).ReceiptBody)
	report := w.check()
	require.Zero(t, report.MerchantPayableFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
}

func TestPurchase_LateTACAfterNotTaken(t *testing.T) {
	w := newWorld(t)
	c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
	// A card that cheats: it was debited and shows its balance of before. Only keys
	// can do that, which this test has.
	before := *k.open(c.scripts[profilePBOC], 1, grant.ProbeTID)
	told := c.statementOf(c.purchaseAttempt(grant, api.PurchaseAttempt{Open: &before}))
	require.Equal(t, wallet.PurchaseNotTaken, told.State)
	tac, mac2 := k.forgeDebit(grant)
	result := []wallet.StepResult{{SW: wallet.Hex{0x90, 0}, Data: append(append(wallet.Hex{}, tac...), mac2...)}}
	told = c.statementOf(c.purchaseResult(grant, nil, result))
	require.Equal(t, wallet.PurchaseSuspense, told.State)
	require.Nil(t, told.Debited)
	require.Equal(t, []string{string(rules.CauseLateTAC)}, w.alarms())
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(c.purchaseResult(grant, nil, result)).State)
	w.check()
	_ = granted
}

// A TAC that an exhaustive search forged meets the authenticated balance.
func TestPurchase_ForgedTACAgainstTheBalanceIsSuspense(t *testing.T) {
	w := newWorld(t)
	c, k, _, _, grant := w.begin(virtualcard.Spec{Balance: 5000})
	tac, _ := k.forgeDebit(grant)
	told := c.statementOf(c.post("/v1/purchases/"+grant.Purchase+"/result", w.newKey(), api.PurchaseResult{TAC: tac}))
	require.Equal(t, wallet.PurchaseDoubtful, told.State)
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseSuspense, c.statementOf(answer).State)
	require.Equal(t, []string{string(rules.CauseBalance)}, w.alarms())
	w.check()
}

// Nothing authenticates the answer to INITIALIZE FOR PURCHASE, and MAC2 covers only
// the amount: a client that claims the session of an earlier purchase again is
// refused before it could hope for the same terminal serial.
func TestPurchase_OldSessionIsNotClaimedAgain(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 5000})
	c := w.teller(testPhone)
	first := c.pay(k, w.shopOrder(1234), 1234)
	granted, grant := first.authorised()
	require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, k.debit(granted))).State)
	again := c.pay(k, w.shopOrder(1234), 1234)
	again.request.Open.Steps = first.request.Open.Steps
	again.refusedWith(api.CodeStaleCardState)
	c.pay(k, w.shopOrder(1234), 1234).authorised()
}

func TestPurchase_NobodyTriesSerialsThrough(t *testing.T) {
	w := newWorld(t)
	c, k, _, _, grant := w.begin(virtualcard.Spec{Balance: 5000})
	answer, _ := c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	copyRow := strings.ReplaceAll(purchaseColumns, "\n", " ")
	from := strings.Replace(strings.Replace(copyRow, "id, key,", "n.i || id, n.i || key,", 1), "merchant_order", "n.i || merchant_order", 1)
	w.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO purchases (`+copyRow+`) SELECT `+from+` FROM purchases, n`, triesPerDay-2)
	code := w.shopOrder(100)
	_, grant = c.pay(k, code, 100).authorised()
	answer, _ = c.touch(k, grant, false)
	require.Equal(t, wallet.PurchaseNotTaken, c.statementOf(answer).State)
	told := c.pay(k, code, 100).refusedWith(api.CodeLimitCardCount)
	require.Equal(t, nextDay(w.clock).UTC(), told.RetryAfter.UTC())
	w.clock = nextDay(w.clock)
	c.login()
	c.pay(k, code, 100).authorised()
}
