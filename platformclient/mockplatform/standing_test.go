package mockplatform

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

func (c *teller) code(purpose string) api.SMSCode {
	c.w.t.Helper()
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: c.phone, Purpose: purpose}), &sent)
	return api.SMSCode{CodeID: sent.CodeID, Code: c.w.p.Profile().DemoCredentials.SMSCode}
}

func (c *teller) thaw() *httptest.ResponseRecorder {
	c.w.t.Helper()
	code := c.code(api.PurposeThaw)
	c.freshNonce()
	return c.post(api.PathThaw, c.w.newKey(), api.ThawRequest{
		SMS: code, LoginPWSeal: c.loginSeal(api.PathThaw, c.w.p.Profile().DemoCredentials.LoginPassword),
	})
}

func (c *teller) close(waiveBalance, waivePurse bool) *httptest.ResponseRecorder {
	c.w.t.Helper()
	code := c.code(api.PurposeClose)
	c.freshNonce()
	return c.post(api.PathAccountClose, c.w.newKey(), api.CloseRequest{
		SMS: code, LoginPWSeal: c.loginSeal(api.PathAccountClose, c.w.p.Profile().DemoCredentials.LoginPassword),
		WaiveBalance: waiveBalance, WaivePurse: waivePurse,
	})
}

func (c *teller) loss(kind string) *httptest.ResponseRecorder {
	return c.post(api.PathAccountLoss, c.w.newKey(), api.LossRequest{Kind: kind})
}

func (c *teller) freeze(until *time.Time) *httptest.ResponseRecorder {
	return c.post(api.PathFreeze, c.w.newKey(), api.FreezeRequest{Until: until})
}

// account asks for the account and expects a state.
func (c *teller) account(state string) api.Account {
	c.w.t.Helper()
	var shown api.Account
	c.must(http.StatusOK, c.get(api.PathAccount), &shown)
	require.Equal(c.w.t, state, shown.State)
	return shown
}

// onCard sends one of the routes of a card.
func (c *teller) onCard(path string, k *chip, body any) *httptest.ResponseRecorder {
	return c.post(strings.Replace(path, "{asn}", k.ASN().String(), 1), c.w.newKey(), body)
}

func (c *teller) found(k *chip) *httptest.ResponseRecorder {
	return c.onCard(api.PathCardFound, k, api.FoundRequest{SMS: c.code(api.PurposeLoss)})
}

// cardState asks for the cards and expects the state of one.
func (c *teller) cardState(k *chip, standing string) api.Card {
	c.w.t.Helper()
	var cards []api.Card
	c.must(http.StatusOK, c.get(api.PathCards), &cards)
	for _, one := range cards {
		if one.ASN == k.ASN() {
			require.Equal(c.w.t, standing, one.Standing)
			return one
		}
	}
	require.Fail(c.w.t, "the card is not in the account")
	return api.Card{}
}

func (s person) actOn(phone, act string, edit ...func(*api.StaffAccountAct)) *httptest.ResponseRecorder {
	request := api.StaffAccountAct{Phone: phone, Act: act, Reason: "seen at the counter"}
	for _, each := range edit {
		each(&request)
	}
	return s.post(api.PathStaffAccounts, s.w.newKey(), request)
}

func (s person) phoneState(state string) *httptest.ResponseRecorder {
	return s.actOn(testPhone, api.ActPhoneState, func(a *api.StaffAccountAct) { a.PhoneState = state })
}

func (s person) staffAccount(phone string) (shown api.StaffAccount) {
	s.w.t.Helper()
	s.must(http.StatusOK, s.get(api.PathStaffAccounts+"?phone="+phone), &shown)
	return shown
}

// noDayLimits leaves the limits of a day out, where a test is about something else.
func noDayLimits(c *Config) {
	policy := DefaultPolicy()
	policy.Limits.CardDayCount, policy.Limits.CardDaySum, policy.Limits.AccountDaySum = 0, 0, 0
	policy.Limits.Velocity = api.Velocity{} // one device sees many cards, and many refusals
	c.Policy = &policy
}

// refusalOf reads the code of a refusal, signed or not; "" for a success.
func refusalOf(t testing.TB, answer *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Error api.Error       `json:"error"`
		State json.RawMessage `json:"state"`
	}
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body), answer.Body.String())
	var signed wallet.Signed
	if json.Unmarshal(body.State, &signed) != nil {
		require.Equal(t, answer.Code >= 400, body.Error.Code != "", answer.Body.String())
		return body.Error.Code
	}
	var told struct {
		Code string `json:"code"`
	}
	require.NoError(t, json.Unmarshal(signed.Payload, &told))
	return told.Code
}

// TestAccount_StateMatrix brings an account into every state and asks every route for
// what protocol §2.15 says.
func TestAccount_StateMatrix(t *testing.T) {
	set := func(state string) func(*world, *teller, person) {
		return func(w *world, _ *teller, _ person) { w.exec(`UPDATE users SET state = ?`, state) }
	}
	for _, row := range []struct {
		state, standing string
		enter           func(w *world, c *teller, boss person)
	}{
		{"OPENING", "OPENING", set("OPENING")},
		{"NORMAL", "NORMAL", func(*world, *teller, person) {}},
		{"FROZEN", "FROZEN_BY_USER", func(_ *world, c *teller, _ person) { c.must(http.StatusOK, c.freeze(nil), nil) }},
		{"FROZEN", "FROZEN_BY_STAFF", func(_ *world, _ *teller, boss person) {
			boss.must(http.StatusOK, boss.actOn(testPhone, api.ActFreeze), nil)
		}},
		{"LOST_ORAL", "LOST_ORAL", func(_ *world, c *teller, _ person) { c.must(http.StatusOK, c.loss(api.LossOral), nil) }},
		{"LOST_WRITTEN", "LOST_WRITTEN", func(_ *world, c *teller, _ person) { c.must(http.StatusOK, c.loss(api.LossWritten), nil) }},
		{"SILENT", "SILENT", func(w *world, c *teller, _ person) {
			w.clock = w.clock.AddDate(1, 0, 0)
			c.login()
		}},
		{"PHONE_SUSPENDED", "PHONE_SUSPENDED", func(_ *world, _ *teller, boss person) {
			boss.must(http.StatusOK, boss.phoneState(api.PhoneSuspended), nil)
		}},
		{"CLOSING", "CLOSING", func(_ *world, _ *teller, boss person) {
			boss.must(http.StatusOK, boss.phoneState(api.PhoneCancelled), nil)
		}},
		{"CLOSED", "CLOSED", set("CLOSED")}, // with an order that a restore brought back
	} {
		t.Run(row.standing, func(t *testing.T) {
			w := newWorld(t, noDayLimits)
			c := w.teller(testPhone)
			cards := map[states.Act]*chip{}
			for i, act := range states.Acts() {
				cards[act] = w.card(fmt.Sprintf("62200001000000%02d", i+10), virtualcard.Spec{Balance: 5000})
			}
			c.login()
			for _, act := range []states.Act{states.Load, states.Pay, states.CreditIn} {
				c.known(cards[act])
			}
			grants := map[states.Act]wallet.Grant{}
			var proof wallet.StepResult
			for _, act := range []states.Act{states.Complete, states.Cancel, states.Evidence} {
				script, grant := c.order(cards[act], 2000).init().granted()
				grants[act] = grant
				if act == states.Evidence {
					var err error
					proof, err = cards[act].credit(script)
					require.NoError(t, err)
				}
			}
			row.enter(w, c, w.staff("lin", api.RoleSupervisor))
			w.exec(`UPDATE cards SET state = 'ACTIVE'`) // those of a lost account are lost, too: here the account alone is asked
			shown := c.account(row.state)
			require.Equal(t, row.standing, shown.Standing)
			allowed := func(act states.Act) bool {
				may := states.AccountAllows(states.AccountState(row.state), act)
				require.Equal(t, may, strings.Contains(" "+strings.Join(shown.Allowed, " ")+" ", " "+string(act)+" "), act)
				return may
			}
			expect := func(act states.Act, answer *httptest.ResponseRecorder) {
				t.Helper()
				code := refusalOf(t, answer)
				if allowed(act) {
					require.Empty(t, code, "%s in %s", act, row.state)
					return
				}
				require.Equal(t, api.CodeAccountState, code, "%s in %s", act, row.state)
			}
			load := c.order(cards[states.Load], 2000).init().send()
			expect(states.Load, load)
			if !allowed(states.Load) {
				require.Equal(t, row.standing, c.stateOf(load).Standing)
			}
			pay := c.pay(cards[states.Pay], w.shopOrder(100), 100).send()
			expect(states.Pay, pay)
			if !allowed(states.Pay) {
				require.Equal(t, row.standing, c.statementOf(pay).Standing)
			}
			expect(states.CreditIn, c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: cards[states.CreditIn].ASN(), Amount: 100}))
			expect(states.Query, c.get(api.PathAccount))
			complete, _ := c.evidence(cards[states.Complete], openOf(grants[states.Complete]), wallet.IntentComplete)
			expect(states.Complete, complete)
			if !allowed(states.Complete) {
				require.Equal(t, row.standing, c.stateOf(complete).Standing)
			}
			cancel, _ := c.evidence(cards[states.Cancel], openOf(grants[states.Cancel]), wallet.IntentCancel)
			if row.state != "OPENING" { // nothing was ever granted there
				expect(states.Cancel, cancel)
				require.Equal(t, wallet.StateVoided, c.stateOf(cancel).State)
			}
			result := c.result(grants[states.Evidence], nil, proof)
			expect(states.Evidence, result)
			require.Equal(t, wallet.StateLoaded, c.stateOf(result).State)
			w.check()
		})
	}
}

// A freeze with a date ends by itself at the next request; one without ends by password
// and SMS code.
func TestAccount_FreezeAndThaw(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	past := w.clock
	refusedAs(t, api.CodeDatePast, c.freeze(&past))
	until := w.clock.Add(2 * time.Hour)
	var shown api.Account
	c.must(http.StatusOK, c.freeze(&until), &shown)
	require.Equal(t, "FROZEN", shown.State)
	require.True(t, until.Equal(*shown.StateUntil))
	require.Equal(t, "user", shown.By)
	state := c.order(k, 2000).init().refusedWith(api.CodeAccountState)
	require.True(t, until.Equal(*state.RetryAfter), "the refusal says when it ends")

	w.clock = until.Add(-time.Millisecond)
	c.login()
	c.account("FROZEN")
	w.clock = until
	c.freshNonce()
	require.Nil(t, c.account("NORMAL").StateUntil)
	c.order(k, 2000).init().granted()

	// Without a date only the person's password and code end it.
	c.must(http.StatusOK, c.freeze(nil), nil)
	w.clock = w.clock.AddDate(0, 6, 0)
	c.login()
	c.account("FROZEN")
	code := c.code(api.PurposeThaw)
	c.freshNonce()
	password := w.p.Profile().DemoCredentials.LoginPassword
	refusedAs(t, api.CodeLoginWrong, c.post(api.PathThaw, w.newKey(), api.ThawRequest{SMS: code, LoginPWSeal: c.loginSeal(api.PathThaw, password+"x")}))
	wrong := api.SMSCode{CodeID: code.CodeID, Code: code.Code + "0"}
	refusedAs(t, api.CodeSMSCodeWrong, c.post(api.PathThaw, w.newKey(), api.ThawRequest{SMS: wrong, LoginPWSeal: c.loginSeal(api.PathThaw, password)}))
	foreign := c.code("device") // a code for something else opens nothing
	refusedAs(t, api.CodeSMSCodeWrong, c.post(api.PathThaw, w.newKey(), api.ThawRequest{SMS: foreign, LoginPWSeal: c.loginSeal(api.PathThaw, password)}))
	c.account("FROZEN")
	c.must(http.StatusOK, c.thaw(), nil)
	c.account("NORMAL")
	c.must(http.StatusOK, c.thaw(), nil) // an account that is not frozen stays as it is
	w.check()
}

// The same request under the same key is one freeze; under the key with another date it
// is refused.
func TestAccount_ChangesAreIdempotent(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	key, until := w.newKey(), w.clock.Add(time.Hour)
	first := c.post(api.PathFreeze, key, api.FreezeRequest{Until: &until})
	c.must(http.StatusOK, c.thaw(), nil)
	second := c.post(api.PathFreeze, key, api.FreezeRequest{Until: &until})
	require.Equal(t, first.Body.String(), second.Body.String())
	c.account("NORMAL") // a repetition freezes nothing again
	refusedAs(t, api.CodeKeyReused, c.post(api.PathFreeze, key, api.FreezeRequest{}))
	require.Equal(t, http.StatusBadRequest, c.post(api.PathFreeze, "", api.FreezeRequest{}).Code)
}

// What staff laid the person does not lift, and what the operator laid nobody but the
// operator lifts; what stood below comes up again.
func TestAccount_HoldsStandBesideEachOther(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	clerk := w.staff("mei", api.RoleClerk)
	c.must(http.StatusOK, c.freeze(nil), nil)
	clerk.must(http.StatusOK, clerk.phoneState(api.PhoneSuspended), nil)
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActFreeze), nil)
	shown := clerk.staffAccount(testPhone)
	require.Equal(t, "FROZEN_BY_STAFF", shown.Standing)
	require.Len(t, shown.Holds, 3)
	require.Equal(t, "*******0001", shown.Phone)

	c.must(http.StatusOK, c.thaw(), nil)
	require.Equal(t, "FROZEN_BY_STAFF", c.account("FROZEN").Standing)
	refusedAs(t, api.CodeAccountState, c.thaw())
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActThaw), nil)
	c.account("PHONE_SUSPENDED")
	refusedAs(t, api.CodeAccountState, c.thaw())
	clerk.must(http.StatusOK, clerk.phoneState(api.PhoneActive), nil)
	c.account("NORMAL")
	clerk.refusedWith(api.CodeAccountState, clerk.actOn(testPhone, api.ActThaw))
	clerk.refusedWith(api.CodeAccountState, clerk.actOn(testPhone, api.ActFound))
	clerk.refusedWith(api.CodeNotFound, clerk.actOn("13900000009", api.ActFreeze))
	clerk.refusedWith(api.CodeBadRequest, clerk.actOn(testPhone, "make-rich"))
	clerk.refusedWith(api.CodeBadRequest, clerk.phoneState("engaged"))
	w.check()
}

// A loss that was only told ends after five days, for the account and for each card; one
// in writing stays until the counter lifts it.
func TestAccount_Loss(t *testing.T) {
	w := newWorld(t)
	k, other := w.card(serial, virtualcard.Spec{}), w.card("6220000100000099", virtualcard.Spec{})
	c := w.teller(testPhone)
	c.must(http.StatusOK, c.loss(api.LossOral), nil)
	shown := c.account("LOST_ORAL")
	require.Equal(t, w.clock.Add(oralLossLife), *shown.StateUntil)
	require.Equal(t, "LOST_ORAL", c.cardState(k, "LOST_ORAL").Standing)

	// One card is in its drawer after all: the account thaws, the other card stays lost.
	c.must(http.StatusOK, c.thaw(), nil)
	c.account("NORMAL")
	c.cardState(k, "LOST_ORAL")
	state := c.order(k, 2000).init().refusedWith(api.CodeCardState)
	require.Equal(t, "LOST_ORAL", state.Standing)
	c.must(http.StatusOK, c.found(k), nil)
	c.cardState(k, "ACTIVE")
	c.order(k, 2000).init().granted()

	// The other one is made written, and does not come back by itself.
	c.must(http.StatusOK, c.onCard(api.PathCardLoss, other, api.LossRequest{Kind: api.LossWritten}), nil)
	c.must(http.StatusOK, c.loss(api.LossOral), nil)
	w.clock = w.clock.Add(oralLossLife)
	c.login()
	c.account("NORMAL")
	c.cardState(k, "ACTIVE")
	lost := c.cardState(other, "LOST_WRITTEN")
	require.Nil(t, lost.StateUntil)
	refusedAs(t, api.CodeCardState, c.found(other))
	clerk := w.staff("mei", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.onCard(api.PathStaffCardState, other, api.StaffCardAct{Act: api.ActFound, Reason: "brought to the counter"}), nil)
	c.cardState(other, "ACTIVE")

	// In writing for the account: neither time nor the person lifts it.
	c.must(http.StatusOK, c.loss(api.LossWritten), nil)
	refusedAs(t, api.CodeAccountState, c.loss(api.LossOral))
	w.clock = w.clock.AddDate(0, 1, 0)
	c.login()
	c.account("LOST_WRITTEN")
	refusedAs(t, api.CodeAccountState, c.thaw())
	clerk = w.staff("mei2", api.RoleClerk)
	clerk.must(http.StatusOK, clerk.actOn(testPhone, api.ActFound), nil)
	c.account("NORMAL")
	w.check()
}

// An account that nobody used for a year answers questions and pays nothing until
// password and SMS code wake it: by thaw, or by enrolling a computer.
func TestAccount_Silence(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	w.clock = w.clock.AddDate(1, 0, 0).Add(-time.Second)
	c.login()
	c.account("NORMAL")
	w.clock = w.clock.AddDate(1, 0, 0)
	require.NoError(t, w.p.SettleStates(t.Context())) // without anybody asking
	c.login()
	c.account("SILENT")
	c.order(k, 2000).init().refusedWith(api.CodeAccountState)
	c.must(http.StatusOK, c.thaw(), nil)
	c.account("NORMAL")
	c.order(k, 2000).init().granted()

	w.clock = w.clock.AddDate(1, 0, 0)
	c.login() // nobody swept: the login finds it
	c.account("SILENT")
	fresh := w.teller(testPhone)
	fresh.account("NORMAL")
	w.check()
}

// What ends by itself ends without anybody asking, too.
func TestAccount_SweepEndsWhatIsDue(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	until := w.clock.Add(time.Hour)
	c.must(http.StatusOK, c.freeze(&until), nil)
	c.must(http.StatusOK, c.onCard(api.PathCardLoss, k, api.LossRequest{Kind: api.LossOral}), nil)
	read := func() (account, card string) {
		require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
			_, err := tx.row(`SELECT (SELECT state FROM users), (SELECT state FROM cards)`, nil, &account, &card)
			return err
		}))
		return account, card
	}
	require.NoError(t, w.p.SettleStates(t.Context()))
	account, card := read()
	require.Equal(t, []string{"FROZEN", "LOST"}, []string{account, card})
	w.clock = w.clock.Add(oralLossLife)
	require.NoError(t, w.p.SettleStates(t.Context()))
	account, card = read()
	require.Equal(t, []string{"NORMAL", "ACTIVE"}, []string{account, card})
}

// Every act of the counter stands in the audit log with who, what, why, before and after.
func TestAccount_ActsAreWrittenDown(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	clerk := w.staff("mei", api.RoleClerk)
	for _, act := range []string{api.ActFreeze, api.ActThaw, api.ActLoss, api.ActFound, api.ActChangeSIM} {
		clerk.must(http.StatusOK, clerk.actOn(testPhone, act), nil)
	}
	clerk.must(http.StatusOK, clerk.onCard(api.PathStaffCardState, k, api.StaffCardAct{Act: api.ActFound, Reason: "brought"}), nil)
	user := clerk.staffAccount(testPhone).User
	details := map[string]string{}
	require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
		return tx.each(`SELECT action, actor, subject, detail FROM audit WHERE action LIKE '%-act %' OR action = 'staff-account'`, nil, func(rows *sql.Rows) error {
			var action, actor, subject, detail string
			err := rows.Scan(&action, &actor, &subject, &detail)
			details[action] = actor + " | " + subject + " | " + detail
			return err
		})
	}))
	require.Equal(t, map[string]string{
		"staff-account":          "staff mei | " + user + " | ",
		"account-act freeze":     "staff mei | " + user + ` | seen at the counter: "NORMAL" -> "FROZEN"`,
		"account-act thaw":       "staff mei | " + user + ` | seen at the counter: "FROZEN" -> "NORMAL"`,
		"account-act loss":       "staff mei | " + user + ` | seen at the counter: "NORMAL" -> "LOST_WRITTEN"`,
		"account-act found":      "staff mei | " + user + ` | seen at the counter: "LOST_WRITTEN" -> "NORMAL"`,
		"account-act change-sim": "staff mei | " + user + ` | seen at the counter: "NORMAL" -> "NORMAL"`,
		"card-act found":         "staff mei | " + k.ASN().Masked() + ` | brought: "LOST" -> "ACTIVE"`,
	}, details)
	w.check()
}
