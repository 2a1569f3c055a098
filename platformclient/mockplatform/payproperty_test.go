package mockplatform

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"

	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// life is one card between shops, an online merchant, top-ups and accidents. What
// the test knows of the truth stands beside what the platform may conclude.
type life struct {
	*rapid.T
	w      *world
	c      *teller
	k      *chip
	corner *shop

	waiting []OfflinePurchase // sold, not uploaded

	granted *wallet.PurchaseGrantedScript // the open purchase, if any
	grant   wallet.PurchaseGrant
	steps   []wallet.StepResult // what DEBIT answered, if it reached the client
	debited bool
	loads   int
}

// TestPurchase_AnyLifeKeepsTheBooks: whatever happens in whatever order, the books
// differ from the card by exactly what is in flight, and a final state says what the
// card did.
func TestPurchase_AnyLifeKeepsTheBooks(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		policy := DefaultPolicy()
		policy.Limits.CardDayCount, policy.Limits.CardDaySum, policy.Limits.AccountDaySum = 0, 0, 0
		policy.Limits.Velocity = api.Velocity{} // one device sees every card
		c.Policy = &policy
	})
	require.NoError(t, w.p.Seed(t.Context(), testPhone, 1_000_000_00, nil, ""))
	c := w.teller(testPhone)
	born := 0
	rapid.Check(t, func(r *rapid.T) {
		born++
		variant := rapid.SampledFrom([]string{virtualcard.Standard, virtualcard.ProveNone, virtualcard.ProveStub}).Draw(r, "variant")
		x := &life{T: r, w: w, c: c, corner: &shop{terminal: cornerShop}}
		x.k = w.card(fmt.Sprintf("62200001%08d", born), virtualcard.Spec{Balance: 5000, Variant: variant})
		c.login()
		c.known(x.k)
		for range rapid.IntRange(4, 14).Draw(r, "moves") {
			move := rapid.SampledFrom([]func(*life){
				(*life).pay, (*life).pay, (*life).debit, (*life).debit, (*life).result, (*life).touch, (*life).touch, (*life).sell,
				(*life).upload, (*life).topUp, (*life).monthPasses,
			}).Draw(r, "move")
			move(x)
			w.clock = w.clock.Add(time.Minute)
			if x.check() == wallet.PurchaseSuspense {
				return // people must look at it
			}
		}
	})
}

// check compares books and truth.
func (x *life) check() (state wallet.PurchaseStateName) {
	report := x.w.check()
	inFlight := wallet.Fen(0)
	for _, line := range x.waiting {
		inFlight += line.Amount
	}
	if x.granted != nil {
		require.NoError(x, x.w.p.store.View(x.w.t.Context(), func(tx *Tx) error {
			b, err := findPurchase(tx, `id = ?`, x.grant.Purchase)
			state = b.state
			return err
		}))
		switch state {
		case wallet.PurchasePaid, wallet.PurchaseRefunded:
			require.True(x, x.debited, "%s without a debit", state)
		case wallet.PurchaseNotTaken:
			require.False(x, x.debited, "NOT_TAKEN after a debit")
		default:
			if x.debited {
				inFlight += x.grant.Amount
			}
		}
		if finalPurchase(state) {
			x.granted, x.steps, x.debited = nil, nil, false
		}
	}
	for _, one := range report.Cards {
		if one.ASN == x.k.ASN() {
			require.Equal(x, one.ExpectedBalanceFen, x.k.Balance()+inFlight)
			return state
		}
	}
	x.Fatal("the card is not in the books")
	return state
}

func (x *life) pay() {
	if x.granted != nil || x.k.Balance() < 200 {
		return
	}
	x.renew()
	amount := wallet.Fen(rapid.SampledFrom([]int{100, 200}).Draw(x.T, "amount"))
	x.granted, x.grant = x.c.pay(x.k, x.w.shopOrder(amount), amount).authorised()
}

// renew logs in where nonce, token or leases have run out.
func (x *life) renew() {
	x.c.freshNonce()
	if len(x.c.leases) < 2 || !x.w.clock.Before(x.c.session.AccessExpires) {
		x.c.login()
	}
}

func (x *life) debit() {
	if x.granted == nil || x.debited {
		return
	}
	when := rapid.SampledFrom([]string{"", "before", "inside", "after"}).Draw(x.T, "torn")
	for name, tear := range map[string]virtualcard.TearWhen{"before": virtualcard.Before, "inside": virtualcard.Inside, "after": virtualcard.After} {
		if name == when {
			x.k.TearAt(virtualcard.Tear{INS: 0x54, When: tear})
		}
	}
	before := x.k.Balance()
	steps := x.k.debit(x.granted)
	x.debited = x.k.Balance() < before
	if x.debited && len(steps) > 0 {
		x.steps = steps
	}
	_, err := x.k.PowerOn() // ends what is left of a tear that was not reached
	require.NoError(x, err)
}

func (x *life) result() {
	if x.steps != nil {
		x.renew()
		x.c.must(200, x.c.purchaseResult(x.grant, &x.granted.Grant, x.steps), nil)
	}
}

func (x *life) touch() {
	if x.granted == nil {
		return
	}
	x.renew()
	x.c.must(200, first(x.c.touch(x.k, x.grant, rapid.Bool().Draw(x.T, "prove"))), nil)
}

func first[A, B any](a A, _ B) A { return a }

func (x *life) sell() {
	amount := wallet.Fen(rapid.SampledFrom([]int{100, 200}).Draw(x.T, "price"))
	if x.k.Balance() >= amount {
		x.waiting = append(x.waiting, x.corner.sell(x.w, x.k, amount))
	}
}

func (x *life) upload() {
	if len(x.waiting) > 0 {
		require.Equal(x, UploadReport{Accepted: 1}, x.w.upload(x.waiting[0]))
		x.waiting = x.waiting[1:]
	}
}

func (x *life) topUp() {
	if x.loads == 2 {
		return
	}
	x.loads++
	x.renew()
	script, grant := x.c.order(x.k, 1000).init().granted()
	step, err := x.k.credit(script)
	require.NoError(x, err)
	require.Equal(x, wallet.StateLoaded, x.c.stateOf(x.c.result(grant, nil, step)).State)
}

// monthPasses: the shops upload what they sold, the window closes, and the card that
// is in doubt is settled.
func (x *life) monthPasses() {
	for len(x.waiting) > 0 {
		x.upload()
	}
	x.w.clock = x.w.clock.Add(uploadWindow + time.Minute)
	x.w.settleDoubtful()
	x.c.login()
}
