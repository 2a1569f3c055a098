package mockplatform

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// repeatingNot is real randomness under a name that says what it is not.
type repeatingNot struct{}

func (repeatingNot) Read(p []byte) (int, error) { return rand.Read(p) }

func TestLedger_RandomPostingsKeepTheBooks(t *testing.T) {
	w := newWorld(t)
	accounts := []string{"main:a", "main:b", "held:a", accountPurseFloat, accountFeeIncome, accountCashIn}
	shadow := map[string]wallet.Fen{}
	rapid.Check(t, func(r *rapid.T) {
		legs := []leg{}
		var sum wallet.Fen
		for range rapid.IntRange(1, 3).Draw(r, "legs") {
			one := leg{rapid.SampledFrom(accounts).Draw(r, "account"), wallet.Fen(rapid.IntRange(-500, 500).Draw(r, "amount"))}
			sum += one.amount
			legs = append(legs, one)
		}
		if rapid.IntRange(0, 4).Draw(r, "balanced") > 0 {
			legs = append(legs, leg{rapid.SampledFrom(accounts).Draw(r, "last"), -sum})
			sum = 0
		}
		after := map[string]wallet.Fen{}
		for _, one := range legs {
			after[one.account] += one.amount
		}
		allowed := sum == 0 && len(legs) >= 2
		for account, change := range after {
			// A leg that takes is refused when the account ends below zero.
			if ofPerson(account) && shadow[account]+change < 0 {
				allowed = false
			}
		}
		err := w.p.store.Update(context.Background(), func(tx *Tx) error { return w.p.post(tx, transfer{kind: "test", legs: legs}) })
		require.Equal(r, allowed, err == nil, "%v: %v", legs, err)
		if err != nil {
			require.True(r, errors.Is(err, errUnbalanced) || errors.Is(err, errNegative))
		} else {
			for account, change := range after {
				shadow[account] += change
			}
		}
		for _, account := range accounts {
			if account != accountCashIn { // Seed has posted there
				require.Equal(r, shadow[account], w.balance(account), account)
			}
		}
		report, err := w.p.Check(context.Background())
		require.NoError(r, err)
		require.Zero(r, report.ImbalanceFen)
		require.Zero(r, report.Negative)
	})
}

func TestAudit_EveryEditShows(t *testing.T) {
	for name, edit := range map[string]string{
		"changed text":   `UPDATE audit SET detail = 'other' WHERE seq = 2`,
		"changed time":   `UPDATE audit SET time = time + 1 WHERE seq = 2`,
		"removed row":    `DELETE FROM audit WHERE seq = 2`,
		"removed first":  `DELETE FROM audit WHERE seq = 1`,
		"moved boundary": `UPDATE audit SET subject = subject || substr(detail, 1, 1), detail = substr(detail, 2) WHERE seq = 2`,
		"renumbered":     `UPDATE audit SET seq = 99 WHERE seq = 3`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range 3 {
				require.NoError(t, w.p.Seed(t.Context(), fmt.Sprintf("1380000%04d", i+2), 1, nil, ""))
			}
			require.Equal(t, "ok", w.check().AuditChain)
			w.exec(edit)
			report, err := w.p.Check(t.Context())
			require.NoError(t, err)
			require.NotEqual(t, "ok", report.AuditChain)
			require.False(t, report.OK())
		})
	}
}

func TestCheck_SeesABrokenLedger(t *testing.T) {
	for name, edit := range map[string]string{
		"one leg changed":      `UPDATE postings SET amount = amount + 1 WHERE id = 1`,
		"two legs, same sum":   `UPDATE postings SET amount = amount + CASE id WHEN 1 THEN 1 WHEN 3 THEN -1 ELSE 0 END`,
		"held without order":   `INSERT INTO postings (transfer, account, amount, type, order_id, day, time) VALUES ('x', 'main:y', -5, 't', '', '', 0), ('x', 'held:y', 5, 't', '', '', 0)`,
		"order without a hold": `INSERT INTO orders (id, key, user, device, asn, profile, key_index, amount, fee, source, state, attempt, probe_tid, probe_epoch, created, day) VALUES ('o', 'k', 'u', '', '00', '', 1, 5, 0, 'main', 'GRANTED', 1, '', 1, 0, '')`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			require.NoError(t, w.p.Seed(t.Context(), "13800000009", 100, nil, ""))
			w.check()
			w.exec(edit)
			report, err := w.p.Check(t.Context())
			require.NoError(t, err)
			require.False(t, report.OK(), "%+v", report)
		})
	}
}

func TestCheck_SeesPurchasesThatAreNotPosted(t *testing.T) {
	for name, edit := range map[string]string{
		"paid without a posting":   `UPDATE purchases SET state = 'PAID' WHERE state = 'AUTHORISED'`,
		"posted without a payment": `UPDATE purchases SET state = 'NOT_TAKEN' WHERE state = 'PAID'`,
		"paid as well as refunded": `UPDATE purchases SET state = 'REFUNDED' WHERE state = 'PAID'`,
		"posted twice":             `INSERT INTO postings (transfer, account, amount, type, order_id, day, time) SELECT 'x', account, amount, type, order_id, day, time FROM postings WHERE type = 'purchase'`,
		"upload without a posting": `DELETE FROM postings WHERE type = 'offline'`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, k, _, granted, grant := w.begin(virtualcard.Spec{Balance: 5000})
			require.Equal(t, wallet.PurchasePaid, c.statementOf(c.purchaseResult(grant, nil, k.debit(granted))).State)
			w.upload((&shop{terminal: cornerShop}).sell(w, k, 100))
			c.pay(k, w.shopOrder(100), 100).authorised()
			w.check()
			w.exec(edit)
			report, err := w.p.Check(t.Context())
			require.NoError(t, err)
			require.False(t, report.OK(), "%+v", report)
		})
	}
}

func TestSession_FiveWrongPasswordsLock(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	for range loginFails {
		answer := c.tryLogin("not the password")
		require.Equal(t, http.StatusForbidden, answer.Code)
		require.Equal(t, api.CodeLoginWrong, codeOf(t, answer))
	}
	good := w.p.Profile().DemoCredentials.LoginPassword
	require.Equal(t, api.CodeLoginLocked, codeOf(t, c.tryLogin(good)))
	w.clock = w.clock.Add(loginLock)
	require.Equal(t, http.StatusOK, c.tryLogin(good).Code)
}

func TestSession_SealIsBoundToRouteKeyAndNonce(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	seal := c.loginSeal(api.PathSession, w.p.Profile().DemoCredentials.LoginPassword)
	w.clock = w.clock.Add(time.Second)
	c.freshNonce()
	answer := c.post(api.PathSession, "", api.SessionRequest{Phone: testPhone, LoginPWSeal: seal, ClientVer: "1"})
	require.Equal(t, api.CodeLoginWrong, codeOf(t, answer))
	seal = c.loginSeal(api.PathDevices, w.p.Profile().DemoCredentials.LoginPassword)
	answer = c.post(api.PathSession, "", api.SessionRequest{Phone: testPhone, LoginPWSeal: seal, ClientVer: "1"})
	require.Equal(t, api.CodeLoginWrong, codeOf(t, answer))
}

func TestSession_NoncesLiveFiveMinutesAndManyRequests(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	for range 3 {
		require.Equal(t, http.StatusOK, c.get(api.PathAccount).Code)
	}
	w.clock = w.clock.Add(nonceLife + time.Second)
	answer := c.get(api.PathAccount)
	require.Equal(t, http.StatusUnauthorized, answer.Code)
	require.Contains(t, answer.Body.String(), api.CodeNonceExpired)
	c.nonce = answer.Header().Get(api.HeaderNonce)
	require.Equal(t, http.StatusOK, c.get(api.PathAccount).Code)
	c.nonce = strings.Map(func(r rune) rune { return map[bool]rune{true: 'B', false: 'A'}[r == 'A'] }, c.nonce)
	require.Equal(t, http.StatusUnauthorized, c.get(api.PathAccount).Code)
}

func TestSession_TokenEndsAndIsRefreshedOnce(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	w.clock = w.clock.Add(accessLife)
	c.freshNonce()
	require.Contains(t, c.get(api.PathAccount).Body.String(), api.CodeNotLoggedIn)
	refresh := api.RefreshRequest{Refresh: c.session.Refresh, ClientVer: "1"}
	c.must(http.StatusOK, c.post(api.PathRefresh, "", refresh), &c.session)
	require.Equal(t, http.StatusOK, c.get(api.PathAccount).Code)
	require.Equal(t, http.StatusUnauthorized, c.post(api.PathRefresh, "", refresh).Code)
	require.Equal(t, http.StatusOK, c.post(api.PathSessionEnd, "", struct{}{}).Code)
	require.Equal(t, http.StatusUnauthorized, c.get(api.PathAccount).Code)
}

func TestSession_FourthDeviceReplacesTheLongestIdle(t *testing.T) {
	w := newWorld(t)
	var devices []*teller
	for range maxDevices {
		w.clock = w.clock.Add(time.Second)
		devices = append(devices, w.teller(testPhone))
	}
	w.clock = w.clock.Add(time.Second)
	devices[0].login()
	fourth := w.stranger(testPhone)
	require.Equal(t, devices[1].session.Device, fourth.enrol().Replaced)
	devices[1].freshNonce()
	require.Contains(t, devices[1].get(api.PathAccount).Body.String(), api.CodeDeviceUnknown)
	devices[0].freshNonce()
	require.Equal(t, http.StatusOK, devices[0].get(api.PathAccount).Code)
}

func TestSession_ClonedJournalNeedsAnSMSCode(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	login := func(hash byte) int {
		c.freshNonce()
		c.session.AccessToken = ""
		answer := c.post(api.PathSession, "", api.SessionRequest{
			Phone: testPhone, LoginPWSeal: c.loginSeal(api.PathSession, w.p.Profile().DemoCredentials.LoginPassword), ClientVer: "1",
			Journal: api.JournalMark{Seq: 7, Hash: wallet.Hex{hash}},
		})
		return answer.Code
	}
	require.Equal(t, http.StatusOK, login(1))
	require.Equal(t, http.StatusOK, login(1))
	require.Equal(t, http.StatusForbidden, login(2))
	require.Equal(t, http.StatusForbidden, login(1), "neither of the two may go on")
	c.enrol()
	require.Equal(t, http.StatusOK, login(2))
}

func TestSession_WrongSMSCodeEnrolsNothing(t *testing.T) {
	w := newWorld(t)
	c := w.stranger(testPhone)
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: testPhone, Purpose: "device"}), &sent)
	credentials := w.p.Profile().DemoCredentials
	enrol := func(code string) int {
		return c.post(api.PathDevices, "", api.DeviceRequest{
			Phone: testPhone, SMS: api.SMSCode{CodeID: sent.CodeID, Code: code}, LoginPWSeal: c.loginSeal(api.PathDevices, credentials.LoginPassword),
			DeviceKey: wallet.Hex(c.public()), DeviceName: "x",
		}).Code
	}
	for range smsTries {
		require.Equal(t, http.StatusForbidden, enrol("not it"))
	}
	require.Equal(t, http.StatusForbidden, enrol(credentials.SMSCode), "five tries use a code up")
}

func TestHandler_LimitsSendersWithoutSession(t *testing.T) {
	w := newWorld(t)
	c := w.stranger("x")
	last := 0
	for range evidencePerHost + 1 {
		last = c.post("/v1/loads/none/result", w.newKey(), api.ResultRequest{}).Code
	}
	require.Equal(t, http.StatusTooManyRequests, last)
}

func TestHandler_UnknownFieldsAndRoutesAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	require.Equal(t, http.StatusBadRequest, c.post(api.PathLoads, w.newKey(), map[string]any{"amount": 5000, "surprise": 1}).Code)
	require.Equal(t, http.StatusBadRequest, c.post(api.PathLoads, "", api.LoadRequest{Amount: 5000}).Code)
	require.Equal(t, http.StatusNotFound, c.post("/v1/no-such-route", w.newKey(), struct{}{}).Code)
	require.Equal(t, http.StatusNotFound, c.get("/v1/loads/none").Code)
}
