package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// balanceNotices are the messages to a phone that tell of its main account.
func (w *world) balanceNotices(phone string) (found []api.Message) {
	for after := ""; ; {
		var page []api.Message
		require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) (err error) {
			page, err = w.p.readMessages(tx, inboxWhere, []any{phone, phone}, orFirst(after), false)
			return err
		}))
		if len(page) == 0 {
			return found
		}
		for _, message := range page {
			if message.Kind == api.NoticeBalance {
				found = append(found, message)
			}
		}
		after = page[len(page)-1].ID
	}
}

func orFirst(after string) string {
	if after == "" {
		return "M0-0"
	}
	return after
}

// requireTold: every transfer that changed the main account was told once, with its
// amount and the balance after it, in order.
func (w *world) requireTold(phone, user string) {
	w.t.Helper()
	type change struct{ amount, balance wallet.Fen }
	var want []change
	require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
		var running wallet.Fen
		return tx.each(`SELECT SUM(amount) FROM postings WHERE account = ? GROUP BY transfer ORDER BY MIN(id)`, []any{mainAccount(user)},
			func(rows *sql.Rows) error {
				var amount wallet.Fen
				err := rows.Scan(&amount)
				if running += amount; amount != 0 {
					want = append(want, change{amount, running})
				}
				return err
			})
	}))
	var told []change
	for _, message := range w.balanceNotices(phone) {
		told = append(told, change{message.Facts.Amount, message.Facts.Balance})
	}
	require.NotEmpty(w.t, want)
	require.Equal(w.t, want, told)
}

// Every way in which a main account changes is told once: money paid in, a top-up that
// is held, one that is voided, one that a restore lost, a purchase that is refunded, a
// return of balance; what is repeated, refused or rolled back is told no further time.
func TestNotify_Once(t *testing.T) {
	w := newWorld(t, quick)
	k := w.card(serial, virtualcard.Spec{Balance: 8000})
	c := w.teller(testPhone)
	user := c.session.User
	told := func() int { return len(w.balanceNotices(testPhone)) }
	require.Equal(t, 1, told(), "paid in by the administration")

	order := c.order(k, 5000).init()
	granted, grant := order.granted()
	require.Equal(t, 2, told())
	require.Equal(t, http.StatusOK, order.send().Code)
	require.Equal(t, 2, told(), "a repeated request")
	answer, err := k.credit(granted)
	require.NoError(t, err)
	c.result(grant, nil, answer)
	c.result(grant, nil, answer)
	require.Equal(t, 2, told(), "what was held is on the card: the main account did not change")

	_, grant = c.order(k, 2000).init().granted()
	c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, 4, told(), "held and given back")
	newest := w.balanceNotices(testPhone)[3]
	require.Equal(t, "load-void", newest.Facts.Posting)
	require.Equal(t, wallet.Fen(2000), newest.Facts.Amount)
	require.Equal(t, grant.Order, newest.Facts.Order)

	short := c.order(k, 5000).init()
	short.request.PaySeal = short.seal("000000")
	short.send()
	w.hooks.BeforeCommit = func(string) error { return errDied }
	require.Nil(t, c.order(k, 1000).init().send())
	w.hooks.BeforeCommit = nil
	require.Equal(t, 4, told(), "refused, or rolled back")

	require.NoError(t, w.p.Seed(t.Context(), testPhone, 600000, nil, ""))
	require.Equal(t, 5, told())
	w.requireTold(testPhone, user)
	w.check()
}

// The same for random transfers of every shape, unbalanced and uncovered ones among them.
func TestNotify_OnceForAnyTransfer(t *testing.T) {
	w := newWorld(t, quick)
	users := []string{}
	for i := range 3 {
		phone := fmt.Sprintf("1370000000%d", i)
		require.NoError(t, w.p.Seed(t.Context(), phone, 1000, nil, ""))
		require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
			found, err := findAccount(tx, "phone", phone)
			users = append(users, found.id)
			return err
		}))
	}
	accounts := []string{accountCashIn, accountPurseFloat}
	for _, user := range users {
		accounts = append(accounts, mainAccount(user), heldAccount(user))
	}
	rapid.Check(t, func(r *rapid.T) {
		var legs []leg
		var sum wallet.Fen
		for range rapid.IntRange(1, 5).Draw(r, "legs") {
			l := leg{rapid.SampledFrom(accounts).Draw(r, "account"), wallet.Fen(rapid.IntRange(-300, 300).Draw(r, "amount"))}
			legs, sum = append(legs, l), sum+l.amount
		}
		if rapid.IntRange(0, 9).Draw(r, "balanced") > 0 {
			legs = append(legs, leg{accountCashIn, -sum})
		}
		err := w.p.store.Update(t.Context(), func(tx *Tx) error { return w.p.post(tx, transfer{kind: "cash-in", legs: legs}) })
		if err != nil && !errors.Is(err, errUnbalanced) && !errors.Is(err, errNegative) {
			r.Fatal(err)
		}
	})
	for i, user := range users {
		w.requireTold(fmt.Sprintf("1370000000%d", i), user)
	}
}

// A top-up above the threshold is told as such, besides the change of the balance.
func TestNotify_LargeLoad(t *testing.T) {
	w := newWorld(t, quick)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	for _, amount := range []wallet.Fen{largeLoad, largeLoad + 1} {
		granted, grant := c.order(k, amount).init().granted()
		answer, err := k.credit(granted)
		require.NoError(t, err)
		c.result(grant, nil, answer)
	}
	require.Equal(t, 1, w.noticed(testPhone, api.NoticeLargeLoad))
	w.requireTold(testPhone, c.session.User)
}

// A copied profile is told to its owner.
func TestNotify_ClonedProfile(t *testing.T) {
	w := newWorld(t, quick)
	c := w.teller(testPhone)
	for _, hash := range []byte{1, 2} {
		c.journal = ""
		c.freshNonce()
		c.session.AccessToken = ""
		c.post(api.PathSession, "", api.SessionRequest{
			Phone: testPhone, LoginPWSeal: c.loginSeal(api.PathSession, w.p.Profile().DemoCredentials.LoginPassword), ClientVer: "1",
			Journal: api.JournalMark{Seq: 7, Hash: wallet.Hex{hash}},
		})
	}
	require.Equal(t, 1, w.noticed(testPhone, api.NoticeDeviceSuspected))
}

// Messages are read page by page, by their owner alone, and without codes.
func TestMessages_Pages(t *testing.T) {
	w := newWorld(t, quick)
	c := w.teller(testPhone)
	require.NoError(t, w.p.store.Update(t.Context(), func(tx *Tx) error {
		for range 250 {
			legs := []leg{{accountCashIn, -1}, {mainAccount(c.session.User), 1}}
			if err := w.p.post(tx, transfer{kind: "cash-in", legs: legs}); err != nil {
				return err
			}
		}
		return nil
	}))
	var page api.Messages
	c.must(http.StatusOK, c.get(api.PathMessages), &page)
	require.Len(t, page.Messages, messagesAtOnce, "the newest")
	require.Equal(t, wallet.Fen(500250), page.Messages[messagesAtOnce-1].Facts.Balance)
	seen := map[string]bool{}
	for after := "M0-0"; ; after = page.Messages[len(page.Messages)-1].ID {
		c.must(http.StatusOK, c.get(api.PathMessages+"?after="+after), &page)
		if len(page.Messages) == 0 {
			break
		}
		for _, message := range page.Messages {
			require.False(t, seen[message.ID])
			require.NotEqual(t, api.NoticeSMSCode, message.Kind)
			require.Empty(t, message.Facts.Code)
			seen[message.ID] = true
		}
	}
	require.Equal(t, 250+2, len(seen), "with the first deposit and the computer")
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathMessages+"?after=M1")))

	stranger := w.registered(newcomer)
	stranger.must(http.StatusOK, stranger.get(api.PathMessages), &page)
	require.Len(t, page.Messages, 1)
	require.Equal(t, api.NoticeRegistered, page.Messages[0].Kind)

	// What went to a number stays with the account that had it.
	w.exec(`UPDATE users SET phone = '13955500001' WHERE user = ?`, stranger.session.User)
	require.NoError(t, w.p.Seed(t.Context(), newcomer, 100, nil, ""))
	for _, message := range w.inbox(newcomer) {
		require.NotEqual(t, api.NoticeRegistered, message.Kind)
	}
}

// Only a demo shows what telephones receive.
func TestMessages_InboxOfADemoOnly(t *testing.T) {
	w := newWorld(t, quick)
	c := w.stranger(newcomer)
	c.askCode(api.PurposeRegister)
	w.p.secrets.Demo = false
	require.Equal(t, api.CodeNotFound, codeOf(t, c.get(api.PathDemoMessages+"?phone="+newcomer)))
	_, err := w.p.Inbox(t.Context(), newcomer)
	require.ErrorIs(t, err, ErrNotDemo)
	w.p.secrets.Demo = true
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathDemoMessages+"?phone=x")))
}

// gateway is a channel whose trouble the test decides.
type gateway struct {
	fail  func(message api.Message) error
	taken []api.Message
}

func (g *gateway) Send(_ context.Context, _ string, message api.Message) error {
	if g.fail != nil {
		if err := g.fail(message); err != nil {
			return err
		}
	}
	g.taken = append(g.taken, message)
	return nil
}

var errGateway = errors.New("the gateway is down")

// A broken channel delays messages and nothing else; each arrives at least once, under
// one name.
func TestOutbox_AtLeastOnce(t *testing.T) {
	channel := &gateway{fail: func(api.Message) error { return errGateway }}
	w := newWorld(t, func(config *Config) { config.SMS = channel })
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	answer, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, answer)).State, "a broken channel holds up no money")

	delivered, err := w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Zero(t, delivered)
	channel.fail = nil
	delivered, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Zero(t, delivered, "not before the pause is over")
	w.clock = w.clock.Add(deliverPause)
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	kinds := func() (kinds []string) {
		for _, message := range channel.taken {
			kinds = append(kinds, message.Kind)
		}
		return kinds
	}
	require.Equal(t, []string{api.NoticeBalance, api.NoticeDeviceAdded, api.NoticeBalance}, kinds(), "in order, and no code that was used")
	delivered, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Zero(t, delivered, "once is enough")

	// The channel has taken it, and the platform dies before it could write that down:
	// the message comes again, under the same name.
	require.NoError(t, w.p.Seed(t.Context(), testPhone, 600000, nil, ""))
	ctx, cancel := context.WithCancel(t.Context())
	channel.fail = func(message api.Message) error {
		channel.taken = append(channel.taken, message)
		cancel()
		return errGateway
	}
	_, _ = w.p.DeliverMessages(ctx)
	channel.fail = nil
	w.reopen()
	w.clock = w.clock.Add(deliverLongest)
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	last := len(channel.taken) - 1
	require.Equal(t, channel.taken[last-1], channel.taken[last])
	names := map[string]bool{}
	for _, message := range channel.taken {
		names[message.ID] = true
	}
	require.Len(t, names, 4)
	w.check()
}

// A code travels with its digits while it can be used, and no longer; a notice is given
// up after days.
func TestOutbox_GivesUpWhatIsOfNoUse(t *testing.T) {
	channel := &gateway{}
	w := newWorld(t, func(config *Config) { config.SMS = channel })
	c := w.stranger(newcomer)
	code := c.askCode(api.PurposeRegister)
	_, err := w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, code.Code, channel.taken[len(channel.taken)-1].Facts.Code)

	channel.taken, channel.fail = nil, func(api.Message) error { return errGateway }
	w.clock = w.clock.Add(smsResendAfter)
	c.askCode(api.PurposeRegister)
	require.NoError(t, w.p.Seed(t.Context(), testPhone, 600000, nil, ""))
	for range 40 { // many failures, and pauses that grow
		_, err = w.p.DeliverMessages(t.Context())
		require.NoError(t, err)
		w.clock = w.clock.Add(deliverLongest)
	}
	channel.fail = nil
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Len(t, channel.taken, 1, "the notice; the code is too old")
	require.Equal(t, api.NoticeBalance, channel.taken[0].Kind)

	channel.taken, channel.fail = nil, func(api.Message) error { return errGateway }
	require.NoError(t, w.p.Seed(t.Context(), testPhone, 700000, nil, ""))
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	channel.fail = nil
	w.clock = w.clock.Add(noticeUsable + time.Minute)
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Empty(t, channel.taken)
}

// What another process of the directory makes waits for the channel as well.
func TestOutbox_OtherProcesses(t *testing.T) {
	channel := &gateway{}
	w := newWorld(t, func(config *Config) { config.SMS = channel })
	other, err := Open(Config{Dir: w.dir, Now: func() time.Time { return w.clock }})
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.Seed(t.Context(), testPhone, 600000, nil, ""))
	_, err = w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(channel.taken, func(m api.Message) bool { return m.Facts.Balance == 600000 }))
}

// A platform that is no demo sends codes where it has a channel, and shows them nowhere.
func TestOutbox_NoDemo(t *testing.T) {
	channel := &gateway{}
	w := newWorld(t, func(config *Config) { config.SMS = channel })
	w.p.secrets.Demo, w.p.secrets.Credentials = false, nil
	c := w.stranger(newcomer)
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, w.newKey(), api.SMSRequest{Phone: newcomer, Purpose: api.PurposeRegister}), &sent)
	_, err := w.p.DeliverMessages(t.Context())
	require.NoError(t, err)
	key := w.newKey()
	code := channel.taken[len(channel.taken)-1].Facts.Code
	require.Equal(t, http.StatusOK, c.post(api.PathRegistrations, key, c.registration(key, api.SMSCode{CodeID: sent.CodeID, Code: code})).Code)
}

// arrivals is a channel whose messages a test waits for.
type arrivals chan api.Message

func (a arrivals) Send(_ context.Context, _ string, message api.Message) error {
	a <- message
	return nil
}

// A platform that serves carries what is queued by itself, and stops when it is closed.
func TestServer_CarriesMessages(t *testing.T) {
	channel := make(arrivals, 100)
	w := newWorld(t, func(config *Config) { config.SMS = channel })
	server, err := w.p.Serve(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, api.NoticeBalance, (<-channel).Kind, "what waited before it served")
	c := w.stranger(newcomer)
	code := c.askCode(api.PurposeRegister)
	require.Equal(t, code.Code, (<-channel).Facts.Code)
	require.NoError(t, server.Close())
	c.phone = "13955500002"
	c.askCode(api.PurposeRegister)
	require.Empty(t, channel)
}
