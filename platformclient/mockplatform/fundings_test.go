package mockplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// testBank is a source that does what a test says: whether it takes the money, and
// whether its answers arrive. It takes money once per number, as a bank must.
type testBank struct {
	mu      sync.Mutex
	silent  bool // answers do not arrive
	refuses bool
	keeps   bool // does not undo what it took
	taken   map[string]wallet.Fen
	undone  map[string]bool
	asked   int
}

func newTestBank() *testBank {
	return &testBank{taken: map[string]wallet.Fen{}, undone: map[string]bool{}}
}

func (b *testBank) start(ask *fundingAsk) (fundingNews, error) {
	found, err := ask.c.p.judgePassword(ask.tx, ask.account, ask.password)
	if err != nil || found != nil {
		return fundingNews{event: rules.FundingRefused, refusal: found}, err
	}
	return fundingNews{event: rules.FundingAsked}, nil
}

func (b *testBank) ask(_ context.Context, f funding) (fundingNews, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	switch {
	case b.refuses:
		return refuseFunding(api.CodeDeclined), nil
	case b.undone[f.id]:
		return fundingNews{event: rules.FundingUndone}, nil
	}
	b.taken[f.id] = f.amount
	if b.silent {
		return fundingNews{}, errors.New("no answer")
	}
	return fundingNews{event: rules.FundingPaid, serial: "B" + f.id}, nil
}

func (b *testBank) giveUp(_ context.Context, f funding) (fundingNews, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent {
		return fundingNews{}, errors.New("no answer")
	}
	if b.keeps {
		return fundingNews{event: rules.FundingKept, serial: "B" + f.id}, nil
	}
	delete(b.taken, f.id)
	b.undone[f.id] = true
	return fundingNews{event: rules.FundingUndone}, nil
}

// paidIn is one request for money from outside.
type paidIn struct {
	c       *teller
	key     string
	request api.FundingRequest
}

func (c *teller) fromBank(amount wallet.Fen) *paidIn {
	f := &paidIn{c: c, key: c.w.newKey(), request: api.FundingRequest{Amount: amount, Source: api.FundingSource{Kind: api.FundingBank, ID: "card1"}}}
	core := api.FundingCore{Amount: amount, Source: "bank:card1", Key: f.key}
	var err error
	f.request.PaySeal, err = api.SealFunding(c.w.p.Profile().HPKE, core, c.w.p.Profile().DemoCredentials.PaymentPassword)
	require.NoError(c.w.t, err)
	return f
}

func (c *teller) fromVoucher(serial, pin string) *paidIn {
	f := &paidIn{c: c, key: c.w.newKey(), request: api.FundingRequest{Source: api.FundingSource{Kind: api.FundingVoucher, Serial: serial}}}
	f.request.Source.PINSeal = c.voucherSeal(api.VoucherBinding{Serial: serial, Thumbprint: api.Thumbprint(c.public()), Key: f.key}, pin)
	return f
}

func (c *teller) voucherSeal(binding api.VoucherBinding, pin string) []byte {
	seal, err := api.SealVoucher(c.w.p.Profile().HPKE, binding, pin)
	require.NoError(c.w.t, err)
	return seal
}

func (f *paidIn) send() *httptest.ResponseRecorder {
	return f.c.post(api.PathFundings, f.key, f.request)
}

// is sends and expects a state.
func (f *paidIn) is(state wallet.FundingState) wallet.FundingStatement {
	f.c.w.t.Helper()
	answer := f.send()
	told := f.c.fundingOf(answer)
	require.Equal(f.c.w.t, state, told.State, told.Code)
	require.Equal(f.c.w.t, f.key, told.Key)
	require.Equal(f.c.w.t, f.key, told.Request)
	if state.Final() && state != wallet.FundingDeclined {
		require.Equal(f.c.w.t, http.StatusOK, answer.Code)
	} else if state != wallet.FundingDeclined {
		require.Equal(f.c.w.t, http.StatusAccepted, answer.Code)
	}
	return told
}

// refusedWith sends and expects a signed, final refusal.
func (f *paidIn) refusedWith(code string) wallet.FundingStatement {
	f.c.w.t.Helper()
	told := f.is(wallet.FundingDeclined)
	require.Equal(f.c.w.t, code, told.Code)
	require.NotEmpty(f.c.w.t, told.Text)
	require.Nil(f.c.w.t, told.ReceiptBody)
	return told
}

func (c *teller) fundingOf(answer *httptest.ResponseRecorder) (told wallet.FundingStatement) {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer, "no answer")
	var body api.FundingAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &body), answer.Body.String())
	require.NotNil(c.w.t, body.State, answer.Body.String())
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainFunding, *body.State, &told))
	return told
}

func (c *teller) abandonFunding(key string) wallet.FundingStatement {
	return c.fundingOf(c.post(strings.Replace(api.PathFundingAbandon, "{id}", key, 1), c.w.newKey(), struct{}{}))
}

func (c *teller) main() wallet.Fen { return c.w.balance(mainAccount(c.session.User)) }

// vouchers imports new vouchers of a value and returns their serials and PINs.
func (w *world) vouchers(value wallet.Fen, count int) []fileVoucher {
	w.t.Helper()
	var file bytes.Buffer
	_, err := w.p.MakeVouchers(&file, value, count)
	require.NoError(w.t, err)
	read, err := readVoucherFile(bytes.NewReader(file.Bytes()))
	require.NoError(w.t, err)
	told, err := w.p.ImportVouchers(context.Background(), &file, false)
	require.NoError(w.t, err)
	require.Equal(w.t, count, told.Imported)
	return read.vouchers
}

func (w *world) alarmsOf(code string) (count int) {
	require.NoError(w.t, w.p.store.View(context.Background(), func(tx *Tx) error {
		_, err := tx.row(`SELECT COUNT(*) FROM alarms WHERE code = ?`, []any{code}, &count)
		return err
	}))
	return count
}

// ticking lets the platform's clock go on with every look at it, as clocks do.
func ticking() func(*Config) {
	looks := &atomic.Int64{}
	return func(config *Config) {
		now := config.Now
		config.Now = func() time.Time { return now().Add(time.Duration(looks.Add(1)) * time.Millisecond) }
	}
}

func TestFunding_VoucherCreditsOnce(t *testing.T) {
	w := newWorld(t, ticking())
	c := w.teller(testPhone)
	v := w.vouchers(5000, 1)[0]
	before := c.main()
	f := c.fromVoucher(v.serial, v.pin)
	first := f.send()
	told := c.fundingOf(first)
	require.Equal(t, wallet.FundingDone, told.State)
	require.Equal(t, wallet.Fen(5000), told.Amount)
	require.Equal(t, before+5000, told.ReceiptBody.MainBalance)
	require.Equal(t, "voucher:"+v.serial, told.ReceiptBody.Source)

	// Row F4: the answer was lost. The same key is the same answer, byte for byte, also
	// from a process that was started since.
	require.Equal(t, first.Body.String(), f.send().Body.String())
	w.reopen()
	require.Equal(t, first.Body.String(), f.send().Body.String())
	require.Equal(t, before+5000, c.main())

	// Another key finds the voucher used, and a forgotten key learns how it stands.
	c.fromVoucher(v.serial, v.pin).refusedWith(api.CodeVoucherUsed)
	require.Equal(t, wallet.FundingDone, c.abandonFunding(f.key).State)
	require.Equal(t, before+5000, c.main())
	report := w.check()
	require.Equal(t, wallet.Fen(5000), report.VoucherLiabilityFen)

	var list api.Fundings
	c.must(http.StatusOK, c.get(api.PathFundings), &list)
	require.Len(t, list.Fundings, 1)
	require.Equal(t, wallet.FundingDone, list.Fundings[0].State)
	require.Equal(t, *told.ReceiptBody, *list.Fundings[0].ReceiptBody)
	var statement api.Statement
	c.must(http.StatusOK, c.get(api.PathStatement+"?type=funding-voucher"), &statement)
	require.Len(t, statement.Lines, 1)
	require.Equal(t, told.Funding, statement.Lines[0].Order)
}

// Two redemptions of one voucher at once credit once: from two persons in one process,
// and from two processes over one directory.
func TestFunding_VoucherTwiceAtOnce(t *testing.T) {
	w := newWorld(t)
	const other = "13800000002"
	require.NoError(t, w.p.Seed(context.Background(), other, 0, nil, ""))
	a, b := w.teller(testPhone), w.teller(other)
	second, err := Open(w.p.config)
	require.NoError(t, err)
	defer second.Close()
	vouchers := w.vouchers(1000, 12)
	for round, v := range vouchers {
		requests := []*http.Request{}
		for _, c := range []*teller{a, b, a, b} {
			f := c.fromVoucher(v.serial, v.pin)
			requests = append(requests, c.request(http.MethodPost, api.PathFundings, f.key, mustJSON(t, f.request)))
		}
		answers := make([]*httptest.ResponseRecorder, len(requests))
		var wait sync.WaitGroup
		for i, request := range requests {
			platform := w.p
			if i >= 2 {
				platform = second
			}
			answers[i] = httptest.NewRecorder()
			wait.Go(func() { platform.Handler().ServeHTTP(answers[i], request) })
		}
		wait.Wait()
		done := 0
		for _, answer := range answers {
			told := a.fundingOf(answer)
			if told.State == wallet.FundingDone {
				done++
			} else {
				require.Equal(t, api.CodeVoucherUsed, told.Code)
			}
		}
		require.Equal(t, 1, done, "round %d", round)
	}
	require.Equal(t, wallet.Fen(500000+12*1000), a.main()+b.main())
	require.Equal(t, wallet.Fen(12*1000), w.check().VoucherLiabilityFen)
}

// A unique index stands behind the code: a second credit of a funding cannot be
// written at all.
func TestFunding_IndexRefusesASecondCredit(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	v := w.vouchers(5000, 1)[0]
	told := c.fromVoucher(v.serial, v.pin).is(wallet.FundingDone)
	err := w.p.store.Update(context.Background(), func(tx *Tx) error {
		f, err := findFunding(tx, `id = ?`, told.Funding)
		require.NoError(t, err)
		return w.p.creditFunding(tx, f)
	})
	require.ErrorContains(t, err, "UNIQUE")
	w.check()
}

func TestFunding_VoucherRefused(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	ctx := context.Background()
	v := w.vouchers(2000, 5)
	before := c.main()

	wrong := c.fromVoucher(v[0].serial, "000000000000000000")
	require.Equal(t, voucherTries-1, *wrong.refusedWith(api.CodeVoucherWrong).WrongsLeft)
	wrong.refusedWith(api.CodeVoucherWrong) // the stored answer: not counted again
	require.Equal(t, voucherTries-2, *c.fromVoucher("999999999999999999", v[0].pin).refusedWith(api.CodeVoucherWrong).WrongsLeft, "unknown looks like wrong")
	c.fromVoucher("12345", v[0].pin).refusedWith(api.CodeVoucherWrong)

	changed, err := w.p.ChangeVouchers(ctx, rules.VoucherBlock, v[1].serial, "", "stolen")
	require.NoError(t, err)
	require.Equal(t, 1, changed)
	c.fromVoucher(v[1].serial, v[1].pin).refusedWith(api.CodeVoucherBlocked)
	_, err = w.p.ChangeVouchers(ctx, rules.VoucherUnblock, v[1].serial, "", "found")
	require.NoError(t, err)
	c.fromVoucher(v[1].serial, v[1].pin).is(wallet.FundingDone)

	other := c.fromVoucher(v[2].serial, v[2].pin)
	other.request.Amount = 3000
	other.refusedWith(api.CodeVoucherValue)
	other = c.fromVoucher(v[2].serial, v[2].pin)
	other.request.Amount = 2000
	other.is(wallet.FundingDone)

	// A seal of another device, serial or key opens nothing and costs no try.
	for _, binding := range []api.VoucherBinding{
		{Serial: v[3].serial, Thumbprint: "another", Key: "k"}, {Serial: v[2].serial, Thumbprint: api.Thumbprint(c.public())},
	} {
		moved := c.fromVoucher(v[3].serial, v[3].pin)
		moved.request.Source.PINSeal = c.voucherSeal(binding, v[3].pin)
		moved.refusedWith(api.CodeDeclined)
	}

	w.clock = w.clock.AddDate(voucherLife, 0, 2)
	c.freshNonce()
	c.login()
	c.fromVoucher(v[4].serial, v[4].pin).refusedWith(api.CodeVoucherExpired)
	c.fromVoucher(v[4].serial, v[4].pin).refusedWith(api.CodeVoucherExpired)
	require.Equal(t, before+4000, c.main())
	w.check()
}

func TestFunding_HeldVoucherIsNotForUse(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	var file bytes.Buffer
	batch, err := w.p.MakeVouchers(&file, 1000, 1)
	require.NoError(t, err)
	read, err := readVoucherFile(bytes.NewReader(file.Bytes()))
	require.NoError(t, err)
	_, err = w.p.ImportVouchers(context.Background(), &file, true)
	require.NoError(t, err)
	v := read.vouchers[0]
	c.fromVoucher(v.serial, v.pin).refusedWith(api.CodeVoucherInactive)
	changed, err := w.p.ChangeVouchers(context.Background(), rules.VoucherActivate, "", batch, "sold")
	require.NoError(t, err)
	require.Equal(t, 1, changed)
	c.fromVoucher(v.serial, v.pin).is(wallet.FundingDone)
}

// Five wrong PINs in an hour lock the person for every voucher, and the voucher for
// every person; an hour later both are free again.
func TestFunding_WrongPINsLock(t *testing.T) {
	w := newWorld(t)
	const other = "13800000002"
	require.NoError(t, w.p.Seed(context.Background(), other, 0, nil, ""))
	c, stranger := w.teller(testPhone), w.teller(other)
	v := w.vouchers(1000, 3)
	for left := voucherTries - 1; left >= 0; left-- {
		told := c.fromVoucher(v[0].serial, "000000000000000000").refusedWith(api.CodeVoucherWrong)
		require.Equal(t, left, *told.WrongsLeft)
	}
	require.Equal(t, 1, w.alarmsOf(api.CodeVoucherLocked))
	told := c.fromVoucher(v[1].serial, v[1].pin).refusedWith(api.CodeVoucherLocked)
	require.Equal(t, w.clock.Add(voucherTryTime), *told.RetryAfter)
	stranger.fromVoucher(v[0].serial, v[0].pin).refusedWith(api.CodeVoucherLocked)
	stranger.fromVoucher(v[2].serial, v[2].pin).is(wallet.FundingDone)
	w.clock = w.clock.Add(voucherTryTime + time.Second)
	for _, one := range []*teller{c, stranger} {
		one.freshNonce()
		one.login()
	}
	stranger.fromVoucher(v[0].serial, v[0].pin).is(wallet.FundingDone)
	c.fromVoucher(v[1].serial, v[1].pin).is(wallet.FundingDone)
	w.check()
}

func TestFunding_KeyIsForOneRequest(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	v := w.vouchers(1000, 2)
	f := c.fromVoucher(v[0].serial, v[0].pin)
	f.is(wallet.FundingDone)
	moved := c.fromVoucher(v[1].serial, v[1].pin)
	moved.key = f.key
	refusedAs(t, api.CodeKeyReused, moved.send())

	// A key that was given up is refused when it comes late.
	late := c.fromVoucher(v[1].serial, v[1].pin)
	require.Equal(t, api.CodeAbandoned, c.abandonFunding(late.key).Code)
	require.Equal(t, api.CodeAbandoned, c.abandonFunding(late.key).Code)
	late.refusedWith(api.CodeAbandoned)
	c.fromVoucher(v[1].serial, v[1].pin).is(wallet.FundingDone)
}

func TestFunding_AccountAndService(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	v := w.vouchers(1000, 1)[0]
	unknown := c.fromBank(1000)
	unknown.request.Source.Kind = "gold"
	require.Equal(t, api.CodeSourceRefused, c.fundingOf(unknown.send()).Code)
	for state, code := range map[string]string{"CLOSED": api.CodeAccountState, "OPENING": api.CodeAccountState, "something new": api.CodeAccountState} {
		w.exec(`UPDATE users SET state = ? WHERE phone = ?`, state, testPhone)
		c.fromVoucher(v.serial, v.pin).refusedWith(code)
	}
	w.exec(`UPDATE users SET state = 'NORMAL'`)
	w.exec(`INSERT INTO closed_services (phone, since, staff, reason) VALUES (?, 0, '', '')`, testPhone)
	c.fromVoucher(v.serial, v.pin).refusedWith(api.CodeServiceClosed)
	w.exec(`DELETE FROM closed_services`)
	w.exec(`UPDATE users SET state = 'FROZEN'`) // money may still come in (§2.15)
	c.fromVoucher(v.serial, v.pin).is(wallet.FundingDone)
}

func withBank(w *world) *testBank {
	bank := newTestBank()
	w.p.sources[api.FundingBank] = bank
	return bank
}

func TestFunding_BankCreditsOnce(t *testing.T) {
	w := newWorld(t, ticking())
	bank := withBank(w)
	c := w.teller(testPhone)
	before := c.main()
	f := c.fromBank(3000)
	first := f.send()
	require.Equal(t, wallet.FundingDone, c.fundingOf(first).State)
	require.Equal(t, first.Body.String(), f.send().Body.String())
	require.Equal(t, 1, bank.asked)
	require.Equal(t, before+3000, c.main())
	require.Equal(t, wallet.Fen(3000), w.check().BankClearingFen)

	bank.refuses = true
	f = c.fromBank(3000)
	first = f.send()
	require.Equal(t, first.Body.String(), f.send().Body.String())
	told := f.refusedWith(api.CodeDeclined)
	require.NotEmpty(t, told.Funding, "it was asked for, and is listed")
	require.Equal(t, wallet.FundingDeclined, f.is(wallet.FundingDeclined).State)
	moved := c.fromBank(3000)
	moved.request.Amount = 9000 // the password was sealed to another amount
	moved.refusedWith(api.CodeDeclined)
	require.Equal(t, before+3000, c.main())
}

// Row F2: the bank took the money and its answer was lost. The platform asks again
// under the same number until it knows; the same key does too.
func TestFunding_BankAnswerLost(t *testing.T) {
	for name, again := range map[string]func(*world, *teller, *paidIn){
		"the same key": func(_ *world, _ *teller, f *paidIn) { f.is(wallet.FundingDone) },
		"looked at": func(_ *world, c *teller, f *paidIn) {
			require.Equal(t, wallet.FundingDone, c.fundingOf(c.get(strings.Replace(api.PathFunding, "{id}", f.key, 1))).State)
		},
		"given up": func(_ *world, c *teller, f *paidIn) {
			require.Equal(t, wallet.FundingDone, c.abandonFunding(f.key).State)
		},
		"by itself": func(w *world, _ *teller, _ *paidIn) {
			settled, err := w.p.PursueFundings(context.Background())
			require.NoError(t, err)
			require.Equal(t, 1, settled)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bank := withBank(w)
			c := w.teller(testPhone)
			before := c.main()
			bank.silent = true
			f := c.fromBank(3000)
			f.is(wallet.FundingPending)
			require.Equal(t, before, c.main())
			require.Equal(t, wallet.Fen(3000), w.check().FundingPendingFen)
			f.is(wallet.FundingPending)
			require.Equal(t, 1, bank.asked, "not twice within a second")
			other := c.fromBank(4000)
			other.key = f.key
			refusedAs(t, api.CodeKeyReused, other.send())
			bank.silent = false
			w.clock = w.clock.Add(2 * fundingPause)
			again(w, c, f)
			require.Equal(t, before+3000, c.main())
			f.is(wallet.FundingDone)
			require.Len(t, bank.taken, 1)
			require.Equal(t, before+3000, c.main())
			w.check()
		})
	}
}

// A bank that says nothing for half an hour is told to undo it, until it acknowledges.
func TestFunding_GivenUp(t *testing.T) {
	for name, keeps := range map[string]bool{"undone": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bank := withBank(w)
			c := w.teller(testPhone)
			before := c.main()
			bank.silent = true
			f := c.fromBank(3000)
			f.is(wallet.FundingPending)
			w.clock = w.clock.Add(fundingLimit + time.Second)
			c.freshNonce()
			c.login()
			f.is(wallet.FundingReversing)
			bank.silent, bank.keeps = false, keeps
			w.clock = w.clock.Add(fundingLongest)
			_, err := w.p.PursueFundings(context.Background())
			require.NoError(t, err)
			c.freshNonce()
			c.login()
			if keeps {
				f.is(wallet.FundingDone)
				require.Equal(t, before+3000, c.main())
			} else {
				f.is(wallet.FundingReversed)
				require.Equal(t, before, c.main())
				require.Empty(t, bank.taken)
			}
			w.check()

			// What contradicts the end changes nothing and is told to people.
			event := rules.FundingPaid
			if keeps {
				event = rules.FundingUndone
			}
			require.NoError(t, w.p.store.Update(context.Background(), func(tx *Tx) error {
				row, err := findFunding(tx, `key = ?`, f.key)
				require.NoError(t, err)
				return w.p.noteFunding(tx, row, fundingNews{event: event})
			}))
			require.Equal(t, 1, w.alarmsOf("FUNDING_CONTRADICTION"))
			w.check()
		})
	}
}

// The platform dies around every commit of a funding; whoever asks again ends it once.
func TestFunding_PlatformDies(t *testing.T) {
	for _, kind := range []string{api.FundingBank, api.FundingVoucher} {
		for point := range 8 {
			w := newWorld(t)
			withBank(w)
			c := w.teller(testPhone)
			v := w.vouchers(3000, 1)[0]
			before := c.main()
			f := c.fromBank(3000)
			if kind == api.FundingVoucher {
				f = c.fromVoucher(v.serial, v.pin)
			}
			passed := 0
			die := func(string) error {
				if passed++; passed == point+1 {
					return errors.New("now")
				}
				return nil
			}
			w.hooks = Hooks{BeforeCommit: die, AfterCommit: die}
			_ = f.send()
			w.hooks = Hooks{}
			bank := w.p.sources[api.FundingBank]
			w.reopen()
			w.p.sources[api.FundingBank] = bank
			w.clock = w.clock.Add(2 * fundingPause)
			f.is(wallet.FundingDone)
			require.Equal(t, before+3000, c.main(), "%s, point %d", kind, point)
			w.check()
		}
	}
}
