package mockplatform

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// wideLimits stand in nobody's way; a row narrows one of them.
func wideLimits() api.Limits {
	return api.Limits{PurseCap: 1e7, LoadMin: 1, LoadMax: 1e7}
}

// loaded runs a whole load.
func (o *topUp) loaded() {
	o.c.w.t.Helper()
	granted, grant := o.init().granted()
	step, err := o.k.credit(granted)
	require.NoError(o.c.w.t, err)
	require.Equal(o.c.w.t, wallet.StateLoaded, o.c.stateOf(o.c.result(grant, nil, step)).State)
}

// setLimit sets a day limit of the person's own, without the payment password.
func (c *teller) setLimit(device string, day wallet.Fen) {
	c.w.t.Helper()
	c.must(http.StatusOK, c.post(api.PathLimits, c.w.newKey(), api.LimitsChange{Device: device, Day: &day}), nil)
}

// TestRisk_Limits holds every limit against the real handlers: one fen more is refused
// with the code, the limit and the time of its reset; the limit itself passes; and what
// was refused passes once the limit has reset.
func TestRisk_Limits(t *testing.T) {
	midnight := time.Date(2026, 3, 16, 0, 0, 0, 0, shanghai)
	for name, row := range map[string]struct {
		code   string
		limit  wallet.Fen // as told; a count for the count
		change func(*api.Limits)
		spec   virtualcard.Spec
		used   func(w *world, c *teller, k *chip) *teller // what was paid before; who asks
		most   wallet.Fen                                 // what still passes
		resets *time.Time
	}{
		"load-min": {code: api.CodeLimitLoadMin, limit: 1000, change: func(l *api.Limits) { l.LoadMin = 1000 }},
		"load-max": {code: api.CodeLimitLoadMax, limit: 50000, change: func(l *api.Limits) { l.LoadMax = 50000 }, most: 50000},
		"purse-cap": {code: api.CodeLimitPurseCap, limit: 100000, change: func(l *api.Limits) { l.PurseCap, l.PurseCapNamed = 100000, 500000 },
			spec: virtualcard.Spec{Balance: 60000}, most: 40000},
		"purse-cap of a named card": {code: api.CodeLimitPurseCap, limit: 500000, change: func(l *api.Limits) { l.PurseCap, l.PurseCapNamed = 100000, 500000 },
			spec: virtualcard.Spec{Balance: 460000}, most: 40000, used: func(w *world, c *teller, k *chip) *teller {
				require.NoError(w.t, w.p.NameCard(w.t.Context(), k.ASN()))
				return c
			}},
		"card-day-count": {code: api.CodeLimitCardCount, limit: 3, change: func(l *api.Limits) { l.CardDayCount = 3 }, resets: &midnight,
			used: func(_ *world, c *teller, k *chip) *teller {
				c.order(k, 100).loaded()
				c.order(k, 100).loaded()
				return c
			}},
		"card-day-sum": {code: api.CodeLimitCardSum, limit: 100000, change: func(l *api.Limits) { l.CardDaySum = 100000 }, resets: &midnight, most: 40000,
			used: func(_ *world, c *teller, k *chip) *teller { c.order(k, 60000).loaded(); return c }},
		"account-day-sum with two factors": {code: api.CodeLimitAccountSum, limit: 500000, resets: &midnight, most: 40000,
			change: func(l *api.Limits) { l.AccountDaySum, l.AccountDaySumOne = 500000, 100000 },
			used: func(w *world, c *teller, _ *chip) *teller {
				c.order(w.card(otherSerial, virtualcard.Spec{}), 460000).loaded()
				return c
			}},
		"account-day-sum with one factor": {code: api.CodeLimitAccountSum, limit: 100000, resets: &midnight, most: 40000,
			change: func(l *api.Limits) { l.AccountDaySum, l.AccountDaySumOne, l.NewDeviceS = 500000, 100000, 48*60*60 },
			used: func(w *world, c *teller, _ *chip) *teller {
				c.order(w.card(otherSerial, virtualcard.Spec{}), 60000).loaded()
				w.clock = w.clock.Add(time.Hour)
				return w.teller(testPhone) // a second device, whose key proves little yet
			}},
		"the person's own for the account": {code: api.CodeLimitAccountSum, limit: 30000, resets: &midnight, most: 10000,
			change: func(l *api.Limits) { l.AccountDaySum = 500000 },
			used: func(w *world, c *teller, _ *chip) *teller {
				c.setLimit("", 30000)
				c.order(w.card(otherSerial, virtualcard.Spec{}), 20000).loaded()
				return c
			}},
		"device-day-sum": {code: api.CodeLimitDeviceSum, limit: 30000, resets: &midnight, most: 10000,
			change: func(l *api.Limits) { l.DeviceDaySum = 30000 },
			used: func(w *world, c *teller, _ *chip) *teller {
				c.order(w.card(otherSerial, virtualcard.Spec{}), 20000).loaded()
				return c
			}},
		"the person's own for the device": {code: api.CodeLimitDeviceSum, limit: 30000, resets: &midnight, most: 10000,
			change: func(l *api.Limits) { l.AccountDaySum = 500000 },
			used: func(w *world, c *teller, _ *chip) *teller {
				c.setLimit(c.session.Device, 30000)
				other := w.teller(testPhone) // what another device pays does not count
				other.order(w.card(otherSerial, virtualcard.Spec{}), 40000).loaded()
				c.login()
				c.order(w.card("6210000100000003", virtualcard.Spec{}), 20000).loaded()
				return c
			}},
		"weak-life-sum": {code: api.CodeLimitLifeSum, limit: 100000, most: 40000, change: func(l *api.Limits) { l.WeakLifeSum = 100000 },
			used: func(w *world, c *teller, k *chip) *teller {
				w.exec(`UPDATE users SET tier = ?`, api.TierWeak)
				c.order(k, 60000).loaded()
				w.clock = w.clock.AddDate(0, 11, 0) // a life has no business day
				c.login()
				return c
			}},
		"new-device": {code: api.CodeLimitNewDevice, limit: 20000, most: 5000,
			change: func(l *api.Limits) { l.NewDeviceSum, l.NewDeviceS = 20000, 24*60*60 },
			resets: new(time.Date(2026, 3, 16, 2, 30, 45, 0, time.UTC)), // a day after it was enrolled
			used: func(w *world, c *teller, _ *chip) *teller {
				c.order(w.card(otherSerial, virtualcard.Spec{}), 50000).loaded() // the account's first device is not held to it
				w.clock = w.clock.Add(time.Hour)
				fresh := w.teller(testPhone)
				fresh.order(w.card("6210000100000003", virtualcard.Spec{}), 15000).loaded()
				return fresh
			}},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t, func(policy *api.Policy) {
				policy.Limits = wideLimits()
				row.change(&policy.Limits)
			})
			require.NoError(t, w.p.Seed(t.Context(), testPhone, 1e8, nil, ""))
			k, c := w.card(serial, row.spec), w.teller(testPhone)
			if row.used != nil {
				c = row.used(w, c, k)
			}
			most, over := row.most, row.most+1
			switch row.code {
			case api.CodeLimitLoadMin:
				most, over = 1000, 999
			case api.CodeLimitCardCount:
				most, over = 100, 100
				c.order(k, most).loaded()
			}
			state := c.order(k, over).init().refusedWith(row.code)
			require.Equal(t, row.limit, state.LimitFen)
			if row.resets == nil {
				require.Nil(t, state.RetryAfter, "it never resets")
			} else {
				require.Equal(t, row.resets.UTC(), state.RetryAfter.UTC())
			}
			if row.code != api.CodeLimitCardCount {
				c.order(k, most).loaded()
			}
			if row.resets != nil {
				w.clock = row.resets.Add(-time.Millisecond)
				c.login()
				c.order(k, over).init().refusedWith(row.code)
				w.clock = *row.resets
				c.login()
				c.order(k, over).loaded()
			}
			w.check()
		})
	}
}

// Completing an open order is no new load: limits that it has used up itself do not
// stand in its way.
func TestRisk_CompletingIsNoNewLoad(t *testing.T) {
	w := limited(t, func(policy *api.Policy) {
		policy.Limits = wideLimits()
		policy.Limits.CardDayCount, policy.Limits.CardDaySum, policy.Limits.AccountDaySum = 1, 5000, 5000
	})
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	_, grant := torn(w, c, k, virtualcard.Before)
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentComplete)
	granted, second := c.grantOf(answer)
	require.Equal(t, 2, second.Attempt)
	step, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(second, nil, step)).State)
	c.order(k, 1).init().refusedWith(api.CodeLimitCardCount)
	w.check()
}

// What is shown is what the handlers hold a payment against.
func TestRisk_ShownLimitsAreThoseThatAct(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	c.order(k, 12345).loaded()
	var shown api.LimitsShown
	c.must(http.StatusOK, c.get(api.PathLimits), &shown)
	byName := map[string]api.LimitState{}
	for _, limit := range shown.Limits {
		byName[limit.Name] = limit
	}
	require.Equal(t, wallet.Fen(500000), byName["account-day-sum"].Limit)
	require.Equal(t, wallet.Fen(12345), *byName["account-day-sum"].Used)
	require.Equal(t, wallet.Fen(500000-12345), *byName["account-day-sum"].Left)
	require.Equal(t, nextDay(w.clock).UTC(), byName["card-day-sum"].Resets.UTC())
	require.Equal(t, k.ASN(), *byName["card-day-count"].Card)
	require.Equal(t, wallet.Fen(4), *byName["card-day-count"].Left)
	require.Nil(t, byName["purse-cap"].Used)
	require.NotContains(t, byName, "new-device", "the account's first device")
	require.NotContains(t, byName, "weak-life-sum")
	require.Len(t, shown.Devices, 1)
	require.True(t, shown.Devices[0].This)
	require.Equal(t, wallet.Fen(12345), shown.Devices[0].Used)

	var account api.Account
	c.must(http.StatusOK, c.get(api.PathAccount), &account)
	require.Equal(t, shown.Limits, account.LimitStates)
}

// Lowering acts at once and asks nothing; raising needs the payment password, sealed to
// this very change; nothing goes above the policy.
func TestRisk_OwnLimits(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	set := func(key string, day *wallet.Fen, digits string) *api.LimitsShown {
		t.Helper()
		change := api.LimitsChange{Day: day}
		if digits != "" {
			seal, err := api.SealPayment(w.p.Profile().HPKE, api.LimitCore(change, key), digits)
			require.NoError(t, err)
			change.PaySeal = seal
		}
		answer := c.post(api.PathLimits, key, change)
		if answer.Code != http.StatusOK {
			t.Logf("refused: %s", answer.Body)
			return nil
		}
		var shown api.LimitsShown
		c.must(http.StatusOK, answer, &shown)
		return &shown
	}
	refused := func(code, key string, change api.LimitsChange) {
		t.Helper()
		require.Equal(t, code, codeOf(t, c.post(api.PathLimits, key, change)))
	}
	digits := w.p.Profile().DemoCredentials.PaymentPassword
	require.Equal(t, wallet.Fen(20000), *set(w.newKey(), new(wallet.Fen(20000)), "").UserDay)
	c.order(k, 20001).init().refusedWith(api.CodeLimitAccountSum)

	require.Equal(t, api.CodeLimitNeedsPassword, codeOf(t, c.post(api.PathLimits, w.newKey(), api.LimitsChange{Day: new(wallet.Fen(20001))})))
	refused(api.CodeLimitNeedsPassword, w.newKey(), api.LimitsChange{}) // taking it away is raising it
	require.Nil(t, set(w.newKey(), new(wallet.Fen(20001)), "not it"))
	refused(api.CodeLimitTooHigh, w.newKey(), api.LimitsChange{Day: new(wallet.Fen(500001))})
	refused(api.CodeNotFound, w.newKey(), api.LimitsChange{Device: "no such device", Day: new(wallet.Fen(1))})
	refused(api.CodeBadRequest, w.newKey(), api.LimitsChange{Day: new(wallet.Fen(-1))})

	// A seal of one change fits no other, and no order.
	key := w.newKey()
	change := api.LimitsChange{Day: new(wallet.Fen(30000))}
	seal, err := api.SealPayment(w.p.Profile().HPKE, api.LimitCore(change, key), digits)
	require.NoError(t, err)
	refused(api.CodeDeclined, w.newKey(), api.LimitsChange{Day: new(wallet.Fen(30000)), PaySeal: seal})
	refused(api.CodeDeclined, key, api.LimitsChange{Day: new(wallet.Fen(40000)), PaySeal: seal})
	refused(api.CodeKeyReused, key, api.LimitsChange{Day: new(wallet.Fen(30000)), PaySeal: seal})

	key = w.newKey()
	require.Equal(t, wallet.Fen(30000), *set(key, new(wallet.Fen(30000)), digits).UserDay)
	set(w.newKey(), new(wallet.Fen(100)), "")
	require.Equal(t, wallet.Fen(30000), *set(key, new(wallet.Fen(30000)), digits).UserDay, "the stored answer")
	c.order(k, 1000).init().refusedWith(api.CodeLimitAccountSum)
	require.Nil(t, set(w.newKey(), nil, digits).UserDay)
	c.order(k, 1000).init().granted()
	w.check()
}

// A weak real-name account pays nothing out, and neither does a listed one.
func TestRisk_PayOut(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	ask := func() (found *refusal) {
		require.NoError(t, w.p.store.Update(t.Context(), func(tx *Tx) error {
			a, err := findAccount(tx, "phone", testPhone)
			if err == nil {
				found, err = w.p.checkPayOut(tx, a, c.session.Device)
			}
			return err
		}))
		return found
	}
	require.Nil(t, ask())
	w.exec(`UPDATE users SET tier = ?`, api.TierWeak)
	require.Equal(t, api.CodeTierRefused, ask().code)
	w.exec(`UPDATE users SET tier = 'real'`)
	require.NoError(t, w.p.ChargedBack(t.Context(), c.session.User, "F1"))
	require.Equal(t, api.CodeRiskWatch, ask().code)
	require.ErrorIs(t, w.p.ChargedBack(t.Context(), "nobody", "F1"), ErrNoSubject)
}

// More than three suspicious declines in ten minutes put the account on the grey list
// for a day. Limits and a short balance are no reason.
func TestRisk_Declines(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	forge := func() *topUp {
		order := c.order(k, 5000).init()
		order.request.Open.Steps[2].Data[15] ^= 1
		return order
	}
	for range 6 {
		c.order(k, 50001).init().refusedWith(api.CodeLimitLoadMax)
		c.login()
	}
	for range 3 {
		forge().refusedWith(api.CodeCardEvidence)
	}
	w.clock = w.clock.Add(10 * time.Minute) // the first three are out of the window
	c.login()
	forge().refusedWith(api.CodeCardEvidence)
	c.order(k, 5000).loaded()

	w.exec(`UPDATE cards SET wrongs = 0`) // the card itself is not what this is about
	for range 3 {
		forge().refusedWith(api.CodeCardEvidence)
	}
	c.login()
	state := c.order(k, 5000).init().refusedWith(api.CodeRiskWatch)
	require.Equal(t, w.clock.Add(24*time.Hour), state.RetryAfter.UTC())
	require.Zero(t, state.LimitFen)
	w.clock = *state.RetryAfter
	c.login()
	c.order(k, 5000).loaded()
	w.check()
}

// The fourth card of a device on one day puts the device on the grey list; another
// device of the same account goes on.
func TestRisk_CardsOfADevice(t *testing.T) {
	w := newWorld(t)
	c, other := w.teller(testPhone), w.teller(testPhone)
	for i := range 3 {
		c.order(w.card(fmt.Sprintf("621000010000001%d", i), virtualcard.Spec{}), 1000).loaded()
	}
	k := w.card("6210000100000020", virtualcard.Spec{})
	c.login()
	state := c.order(k, 1000).init().refusedWith(api.CodeRiskWatch)
	require.Equal(t, w.clock.Add(24*time.Hour), state.RetryAfter.UTC())
	other.order(k, 1000).loaded()
	w.clock = *state.RetryAfter
	c.login()
	c.order(k, 1000).loaded()
	w.check()
}

// TestRisk_EvidenceInEveryState: whoever is on whichever list, what the card proves is
// accepted, completing is not, and no new money moves.
func TestRisk_EvidenceInEveryState(t *testing.T) {
	for _, subject := range rules.Subjects {
		for _, event := range []rules.ListEvent{rules.ListStaffGrey, rules.ListFraud} {
			for _, loaded := range []bool{false, true} {
				t.Run(fmt.Sprint(subject, " ", event, " ", loaded), func(t *testing.T) {
					w := newWorld(t)
					k, c := w.card(serial, virtualcard.Spec{Balance: 1000}), w.teller(testPhone)
					when := virtualcard.Before
					if loaded {
						when = virtualcard.After
					}
					_, grant := torn(w, c, k, when)
					listing := w.list(c, k, subject, event)
					code := map[bool]string{false: api.CodeRiskWatch, true: api.CodeRiskBlocked}[event == rules.ListFraud]
					if subject == rules.SubjectCard {
						code = api.CodeCardState
					}
					if loaded {
						answer, _ := c.evidence(k, openOf(grant), wallet.IntentSettle)
						require.Equal(t, wallet.StateLoaded, c.stateOf(answer).State)
					} else {
						answer, _ := c.evidence(k, openOf(grant), wallet.IntentComplete)
						require.Equal(t, code, c.stateOf(answer).Code)
						answer, _ = c.evidence(k, openOf(grant), wallet.IntentCancel)
						require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
					}
					state := c.order(k, 1000).init().refusedWith(code)
					require.Equal(t, event == rules.ListFraud || listing.until.IsZero(), state.RetryAfter == nil)
					c.must(http.StatusOK, c.get(api.PathStatement), nil)
					// Shops: grey pays, black does not.
					pay := c.pay(k, w.shopOrder(100), 100)
					if event == rules.ListFraud {
						pay.refusedWith(code)
					} else {
						pay.authorised()
					}
					w.check()
				})
			}
		}
	}
}

// list lets a subject of this world meet an event.
func (w *world) list(c *teller, k *chip, subject rules.Subject, event rules.ListEvent) (found listing) {
	w.t.Helper()
	require.NoError(w.t, w.p.store.Update(w.t.Context(), func(tx *Tx) (err error) {
		var code string
		switch subject {
		case rules.SubjectCard:
			known, err := findCard(tx, k.ASN())
			if err != nil {
				return err
			}
			found, code, err = w.p.meetCard(tx, known, event, "test", "")
			require.NoError(w.t, err)
		case rules.SubjectUser:
			found, code, err = w.p.meet(tx, subject, c.session.User, event, "test", "")
		default:
			found, code, err = w.p.meet(tx, subject, c.session.Device, event, "test", "")
		}
		require.Empty(w.t, code)
		return err
	}))
	return found
}
