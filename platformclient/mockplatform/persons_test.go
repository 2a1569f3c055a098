package mockplatform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// What a person chooses who is not seeded.
const (
	newcomer      = "13955512345"
	newcomerLogin = "Kingfisher at 6"
	newcomerPay   = "370482"
)

// quick takes hashes that protect nothing: these tests log in often.
func quick(config *Config) { config.HashCost = HashCost{MemoryKiB: 8, Passes: 1} }

// seal seals a password for one request.
func (c *teller) seal(use, route, key, password string) []byte {
	return c.sealFor(c.phone, use, route, key, password)
}

func (c *teller) sealFor(phone, use, route, key, password string) []byte {
	seal, err := api.SealPassword(c.w.p.Profile().HPKE, api.PasswordBinding{
		Use: use, Route: route, Thumbprint: api.Thumbprint(c.public()), Key: key, Phone: phone,
	}, password)
	require.NoError(c.w.t, err)
	return seal
}

// askCode asks for a code and reads the telephone.
func (c *teller) askCode(purpose string) api.SMSCode {
	c.w.t.Helper()
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, c.w.newKey(), api.SMSRequest{Phone: c.phone, Purpose: purpose}), &sent)
	return api.SMSCode{CodeID: sent.CodeID, Code: c.w.codeOnPhone(c.phone, sent.CodeID)}
}

// codeOnPhone is the code that the telephone shows; "" where it shows none.
func (w *world) codeOnPhone(phone, codeID string) string {
	w.t.Helper()
	for _, message := range w.inbox(phone) {
		if message.Facts.CodeID == codeID {
			return message.Facts.Code
		}
	}
	return ""
}

func (w *world) inbox(phone string) []api.Message {
	w.t.Helper()
	messages, err := w.p.Inbox(w.t.Context(), phone)
	require.NoError(w.t, err)
	return messages
}

// noticed counts the messages of one kind to a phone.
func (w *world) noticed(phone, kind string) (count int) {
	for _, message := range w.inbox(phone) {
		if message.Kind == kind {
			count++
		}
	}
	return count
}

// registration is a request that would be accepted.
func (c *teller) registration(key string, sms api.SMSCode) api.Registration {
	return api.Registration{
		Phone: c.phone, SMS: sms, AgreementVersion: agreementVersion, DeviceKey: wallet.Hex(c.public()), DeviceName: "desk",
		LoginPWSeal: c.seal(api.UseNewLogin, api.PathRegistrations, key, newcomerLogin),
		PayPWSeal:   c.seal(api.UseNewPayment, api.PathRegistrations, key, newcomerPay),
	}
}

// registered is a person who has come by the front door.
func (w *world) registered(phone string) *teller {
	w.t.Helper()
	c, key := w.stranger(phone), w.newKey()
	request := c.registration(key, c.askCode(api.PurposeRegister))
	c.freshNonce()
	c.must(http.StatusOK, c.post(api.PathRegistrations, key, request), nil)
	c.must(http.StatusOK, c.tryLogin(newcomerLogin), &c.session)
	c.readSession()
	return c
}

// The story of one person: register, both passwords changed and reset, both locks.
func TestUser_Lifecycle(t *testing.T) {
	w := newWorld(t, quick)
	c := w.registered(newcomer)
	var account api.Account
	c.must(http.StatusOK, c.get(api.PathAccount), &account)
	require.Equal(t, "NORMAL", account.State)
	require.Equal(t, TierWeak, account.Tier)
	require.Zero(t, account.Main)
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeRegistered))
	var version string
	var accepted int64
	require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
		_, err := tx.row(`SELECT version, accepted FROM agreements WHERE user = ?`, []any{c.session.User}, &version, &accepted)
		return err
	}))
	require.Equal(t, agreementVersion, version)
	require.Equal(t, w.clock.UnixMilli(), accepted)

	// The login password: changed by the old one, which is none any more.
	second := "Nightjar at 7"
	c.must(http.StatusOK, c.changeLogin(newcomerLogin, second, nil), nil)
	require.Equal(t, api.CodeLoginWrong, codeOf(t, c.tryLogin(newcomerLogin)))
	c.must(http.StatusOK, c.tryLogin(second), &c.session)
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeLoginChanged))

	// Five wrong ones lock for 30 minutes; an SMS code ends the lock.
	for range loginFails {
		require.Equal(t, api.CodeLoginWrong, codeOf(t, c.tryLogin("not it at all")))
	}
	require.Equal(t, api.CodeLoginLocked, codeOf(t, c.tryLogin(second)))
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeLoginLocked))
	third, code := "Woodcock at 8", c.askCode(api.PurposePassword)
	c.must(http.StatusOK, c.changeLogin("", third, &code), nil)
	c.must(http.StatusOK, c.tryLogin(third), &c.session)
	c.readSession()
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeLoginReset))

	// The payment password: three wrong ones lock until the next business day, also
	// where it is changed; SMS code and login password end the lock.
	for left := payTries - 1; left >= 0; left-- {
		answer := c.changePayment("111222", "958203", nil, "")
		require.Equal(t, api.CodePasswordWrong, codeOf(t, answer))
		require.Equal(t, left, *triesLeft(t, answer))
	}
	require.Equal(t, api.CodePasswordLocked, codeOf(t, c.changePayment(newcomerPay, "958203", nil, "")))
	require.Equal(t, 1, w.noticed(newcomer, api.NoticePaymentLocked))
	code = c.askCode(api.PurposePassword)
	require.Equal(t, api.CodeLoginWrong, codeOf(t, c.changePayment("", "958203", &code, second)), "the login password as well")
	c.must(http.StatusOK, c.changePayment("", "958203", &code, third), nil)
	require.Equal(t, 1, w.noticed(newcomer, api.NoticePaymentReset))
	c.must(http.StatusOK, c.changePayment("958203", "407193", nil, ""), nil)
	require.Equal(t, api.CodePasswordWrong, codeOf(t, c.changePayment("958203", "407194", nil, "")))
	w.check()
}

func triesLeft(t *testing.T, answer *httptest.ResponseRecorder) *int {
	var body api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	require.NotNil(t, body.Error.TriesLeft)
	return body.Error.TriesLeft
}

func (c *teller) changeLogin(old, fresh string, sms *api.SMSCode) *httptest.ResponseRecorder {
	key := c.w.newKey()
	request := api.LoginPasswordChange{Phone: c.phone, SMS: sms, DeviceKey: wallet.Hex(c.public()),
		NewSeal: c.seal(api.UseNewLogin, api.PathPasswordLogin, key, fresh)}
	if sms == nil {
		request.OldSeal = c.seal(api.UseLogin, api.PathPasswordLogin, key, old)
	}
	return c.post(api.PathPasswordLogin, key, request)
}

func (c *teller) changePayment(old, fresh string, sms *api.SMSCode, login string) *httptest.ResponseRecorder {
	key := c.w.newKey()
	request := api.PaymentPasswordChange{SMS: sms, NewSeal: c.seal(api.UseNewPayment, api.PathPasswordPayment, key, fresh)}
	if sms == nil {
		request.OldSeal = c.seal(api.UsePayment, api.PathPasswordPayment, key, old)
	} else {
		request.LoginPWSeal = c.seal(api.UseLogin, api.PathPasswordPayment, key, login)
	}
	return c.post(api.PathPasswordPayment, key, request)
}

// Whatever is wrong with a registration, nothing is registered.
func TestRegistration_Refusals(t *testing.T) {
	other := "13955500000"
	for name, one := range map[string]struct {
		change func(c *teller, key string, request *api.Registration)
		code   string
	}{
		"seals moved to another phone": {func(c *teller, _ string, r *api.Registration) {
			c.phone = other
			r.Phone, r.SMS = other, c.askCode(api.PurposeRegister)
		}, api.CodeBadRequest},
		"seal of another key": {func(c *teller, _ string, r *api.Registration) {
			r.LoginPWSeal = c.seal(api.UseNewLogin, api.PathRegistrations, "another key", newcomerLogin)
		}, api.CodeBadRequest},
		"seal of another route": {func(c *teller, key string, r *api.Registration) {
			r.LoginPWSeal = c.seal(api.UseNewLogin, api.PathPasswordLogin, key, newcomerLogin)
		}, api.CodeBadRequest},
		"login seal in the place of the payment seal": {func(_ *teller, _ string, r *api.Registration) {
			r.PayPWSeal = r.LoginPWSeal
		}, api.CodeBadRequest},
		"seal of another device": {func(c *teller, key string, r *api.Registration) {
			r.PayPWSeal = c.w.stranger(c.phone).seal(api.UseNewPayment, api.PathRegistrations, key, newcomerPay)
		}, api.CodeBadRequest},
		"key of another device": {func(c *teller, _ string, r *api.Registration) {
			r.DeviceKey = wallet.Hex(c.w.stranger(c.phone).public())
		}, api.CodeSignature},
		"old agreement": {func(_ *teller, _ string, r *api.Registration) { r.AgreementVersion = "1999-1" }, api.CodeAgreementChanged},
		"weak login password": {func(c *teller, key string, r *api.Registration) {
			r.LoginPWSeal = c.seal(api.UseNewLogin, api.PathRegistrations, key, "password123")
		}, api.CodePasswordWeak},
		"payment password from the phone number": {func(c *teller, key string, r *api.Registration) {
			r.PayPWSeal = c.seal(api.UseNewPayment, api.PathRegistrations, key, c.phone[3:9])
		}, api.CodePasswordWeak},
		"wrong code": {func(_ *teller, _ string, r *api.Registration) { r.SMS.Code = "nope" }, api.CodeSMSCodeWrong},
		"code of another purpose": {func(c *teller, _ string, r *api.Registration) {
			r.SMS = c.askCode(api.PurposeRegister)
			c.w.exec(`UPDATE sms_codes SET purpose = 'device' WHERE id = ?`, r.SMS.CodeID)
		}, api.CodeSMSCodeWrong},
		"the demo's well-known code": {func(c *teller, _ string, r *api.Registration) {
			r.SMS.Code = c.w.p.secrets.Credentials.SMSCode
		}, api.CodeSMSCodeWrong},
		"no number":           {func(_ *teller, _ string, r *api.Registration) { r.Phone = "1395551234" }, api.CodeBadRequest},
		"no name of computer": {func(_ *teller, _ string, r *api.Registration) { r.DeviceName = "a\nb" }, api.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, quick)
			c, key := w.stranger(newcomer), w.newKey()
			request := c.registration(key, c.askCode(api.PurposeRegister))
			one.change(c, key, &request)
			c.freshNonce()
			require.Equal(t, one.code, codeOf(t, c.post(api.PathRegistrations, key, request)))
			for _, phone := range []string{newcomer, other} {
				known, err := w.p.KnowsPhone(t.Context(), phone)
				require.NoError(t, err)
				require.False(t, known)
			}
		})
	}
}

// A lost answer is given again, byte for byte, also by another process; the same key with
// anything else is refused, and the request of somebody who only watched is worth nothing.
func TestRegistration_IsIdempotent(t *testing.T) {
	w := newWorld(t, quick)
	c, key := w.stranger(newcomer), w.newKey()
	request := c.registration(key, c.askCode(api.PurposeRegister))
	c.freshNonce()
	w.hooks.AfterCommit = func(string) error { return errDied }
	require.Nil(t, c.post(api.PathRegistrations, key, request), "the answer is lost")
	w.hooks.AfterCommit = nil
	w.reopen()
	first := c.post(api.PathRegistrations, key, request)
	require.Equal(t, http.StatusOK, first.Code, first.Body.String())
	w.clock = w.clock.Add(2 * nonceLife)
	c.freshNonce()
	require.Equal(t, first.Body.String(), c.post(api.PathRegistrations, key, request).Body.String(), "with another nonce as well")
	changed := request
	changed.DeviceName = "another desk"
	require.Equal(t, api.CodeKeyReused, codeOf(t, c.post(api.PathRegistrations, key, changed)))
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeRegistered))

	thief := w.stranger(newcomer)
	stolen := request
	stolen.DeviceKey = wallet.Hex(thief.public())
	require.Equal(t, api.CodeBadRequest, codeOf(t, thief.post(api.PathRegistrations, key, stolen)), "the seals belong to the other key")
}

// Nobody learns which numbers have an account: the answers to a request for a code are
// the same, and "registered already" is told only to who has the code.
func TestRegistration_NumbersCannotBeProbed(t *testing.T) {
	w := newWorld(t, quick)
	for _, purpose := range api.SMSPurposes {
		var shapes []string
		for _, phone := range []string{testPhone, "13955598765"} {
			c := w.stranger(phone)
			answer := c.post(api.PathSMSCodes, w.newKey(), api.SMSRequest{Phone: phone, Purpose: purpose})
			var sent api.SMSSent
			c.must(http.StatusOK, answer, &sent)
			shapes = append(shapes, strings.ReplaceAll(answer.Body.String(), sent.CodeID, "ID"))
		}
		require.Equal(t, shapes[0], shapes[1], purpose)
	}
	require.Equal(t, 1, w.noticed("13955598765", api.NoticeSMSCode), "a number without account gets no code but to register")

	for phone, want := range map[string][2]string{
		testPhone:     {api.CodeSMSCodeWrong, api.CodePhoneRegistered},
		"13955598764": {api.CodeSMSCodeWrong, ""},
	} {
		c := w.stranger(phone)
		wrong, key := c.askCode(api.PurposeRegister), w.newKey()
		right := wrong
		wrong.Code = "not it"
		c.freshNonce()
		require.Equal(t, want[0], codeOf(t, c.post(api.PathRegistrations, key, c.registration(key, wrong))))
		key = w.newKey()
		answer := c.post(api.PathRegistrations, key, c.registration(key, right))
		if want[1] == "" {
			require.Equal(t, http.StatusOK, answer.Code)
			continue
		}
		require.Equal(t, want[1], codeOf(t, answer))
	}
	// A reset for a number without account is a wrong code, as for any other.
	c := w.stranger("13955598766")
	code := c.askCode(api.PurposePassword)
	require.Empty(t, code.Code)
	code.Code = "123456"
	require.Equal(t, api.CodeSMSCodeWrong, codeOf(t, c.changeLogin("", "Nightjar at 7", &code)))
	c.phone = testPhone
	code = c.askCode(api.PurposePassword)
	code.Code = "nope"
	require.Equal(t, api.CodeSMSCodeWrong, codeOf(t, c.changeLogin("", "Nightjar at 7", &code)))
}

// Row F1 of the crash table: the request for a code is lost, or its answer.
func TestE2E_F1_ACodeIsSentAgainAfterAMinute(t *testing.T) {
	w := newWorld(t, quick)
	c := w.stranger(newcomer)
	ask := func(key string) (sent api.SMSSent) {
		c.must(http.StatusOK, c.post(api.PathSMSCodes, key, api.SMSRequest{Phone: newcomer, Purpose: api.PurposeRegister}), &sent)
		return sent
	}
	key := w.newKey()
	w.hooks.AfterCommit = func(string) error { return errDied }
	require.Nil(t, c.post(api.PathSMSCodes, key, api.SMSRequest{Phone: newcomer, Purpose: api.PurposeRegister}))
	w.hooks.AfterCommit = nil
	first := ask(key)
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeSMSCode), "the same request sends one message")
	w.clock = w.clock.Add(smsResendAfter - 10*time.Second)
	again := ask(w.newKey())
	require.Equal(t, api.SMSSent{CodeID: first.CodeID, ResendAfterS: 10}, again, "within the minute nothing more is sent")
	require.Equal(t, 1, w.noticed(newcomer, api.NoticeSMSCode))
	former := api.SMSCode{CodeID: first.CodeID, Code: w.codeOnPhone(newcomer, first.CodeID)}
	require.Len(t, former.Code, 6)

	w.clock = w.clock.Add(10 * time.Second)
	second := ask(w.newKey())
	require.NotEqual(t, first.CodeID, second.CodeID)
	require.Equal(t, 2, w.noticed(newcomer, api.NoticeSMSCode))
	require.Empty(t, w.codeOnPhone(newcomer, first.CodeID), "the former code is void")
	register := func(sms api.SMSCode) *httptest.ResponseRecorder {
		key := w.newKey()
		return c.post(api.PathRegistrations, key, c.registration(key, sms))
	}
	require.Equal(t, api.CodeSMSCodeWrong, codeOf(t, register(former)))
	good := api.SMSCode{CodeID: second.CodeID, Code: w.codeOnPhone(newcomer, second.CodeID)}
	require.Equal(t, http.StatusOK, register(good).Code)
	require.Empty(t, w.codeOnPhone(newcomer, second.CodeID), "a used code is forgotten")
}

// A code serves once, for its purpose and number, for five minutes and five tries.
func TestSMS_CodesServeOnce(t *testing.T) {
	use := func(w *world, phone, purpose string, code api.SMSCode) (good bool) {
		require.NoError(t, w.p.store.Update(t.Context(), func(tx *Tx) (err error) {
			good, err = w.p.useSMSCode(tx, phone, purpose, code)
			return err
		}))
		return good
	}
	w := newWorld(t, quick)
	w.registered(newcomer)
	c := w.stranger(newcomer)
	for _, purpose := range api.SMSPurposes {
		code := c.askCode(purpose)
		require.Regexp(t, `^\d{6}$`, code.Code, purpose)
		for _, other := range api.SMSPurposes {
			if other != purpose {
				require.False(t, use(w, newcomer, other, code), "%s as %s", purpose, other)
			}
		}
		require.False(t, use(w, testPhone, purpose, code), "of another number")
		require.True(t, use(w, newcomer, purpose, code))
		require.False(t, use(w, newcomer, purpose, code), "a second time")
		w.clock = w.clock.Add(time.Hour) // past the limit of codes an hour
	}

	code := c.askCode(api.PurposeThaw)
	w.clock = w.clock.Add(smsLife + time.Second)
	require.False(t, use(w, newcomer, api.PurposeThaw, code), "five minutes")
	require.Empty(t, w.codeOnPhone(newcomer, code.CodeID))

	code = c.askCode(api.PurposeThaw)
	for range smsTries {
		require.False(t, use(w, newcomer, api.PurposeThaw, api.SMSCode{CodeID: code.CodeID, Code: "not it"}))
	}
	require.False(t, use(w, newcomer, api.PurposeThaw, code), "the sixth try")
	answer := c.post(api.PathSMSCodes, w.newKey(), api.SMSRequest{Phone: newcomer, Purpose: api.PurposeThaw})
	require.Equal(t, api.CodeSMSTooSoon, codeOf(t, answer), "a code that was tried to its end is not named again")
	require.Equal(t, http.StatusTooManyRequests, answer.Code)
}

// Codes are drawn, each digit as often as another, and not from one constant.
func TestSMS_CodesAreRandom(t *testing.T) {
	w := newWorld(t, quick)
	seen, digits := map[string]bool{}, map[rune]int{}
	for range 2000 {
		code := w.p.drawCode()
		require.Regexp(t, `^\d{6}$`, code)
		seen[code] = true
		for _, digit := range code {
			digits[digit]++
		}
	}
	require.Greater(t, len(seen), 1980)
	for digit, count := range digits { // 1200 expected, standard deviation 33
		require.InDelta(t, 1200, count, 200, string(digit))
	}
	require.False(t, seen[w.p.secrets.Credentials.SMSCode] && len(seen) == 1)
}

func TestSMS_Limits(t *testing.T) {
	limited := func(config *Config) { config.SMSLimits = SMSLimits{} }
	w := newWorld(t, limited)
	c := w.stranger(newcomer)
	for range smsPerHour {
		c.askCode(api.PurposeRegister)
		w.clock = w.clock.Add(smsResendAfter)
	}
	answer := c.post(api.PathSMSCodes, w.newKey(), api.SMSRequest{Phone: newcomer, Purpose: api.PurposeRegister})
	require.Equal(t, api.CodeSMSTooSoon, codeOf(t, answer))
	var body api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	wait := time.Hour - smsPerHour*smsResendAfter
	require.Equal(t, int(wait/time.Second), body.Error.RetryAfterS)
	w.clock = w.clock.Add(wait)
	c.askCode(api.PurposeRegister)

	w = newWorld(t, limited)
	c = w.stranger(newcomer)
	last := 0
	for i := range smsPerHost + 1 {
		last = c.post(api.PathSMSCodes, w.newKey(), api.SMSRequest{Phone: fmt.Sprintf("1395550%04d", i), Purpose: api.PurposeRegister}).Code
	}
	require.Equal(t, http.StatusTooManyRequests, last, "one host for many numbers")
	for _, request := range []api.SMSRequest{{Phone: "x", Purpose: "device"}, {Phone: newcomer, Purpose: "lottery"}, {Phone: newcomer + "0", Purpose: "device"}} {
		w.clock = w.clock.Add(time.Minute)
		require.Equal(t, api.CodeBadRequest, codeOf(t, c.post(api.PathSMSCodes, w.newKey(), request)))
	}
}

// Neither codes nor passwords stand in the platform's files in clear.
func TestPersons_KeepNoSecretInClear(t *testing.T) {
	w := newWorld(t, quick)
	c := w.registered(newcomer)
	code := c.askCode(api.PurposeThaw)
	require.NoError(t, w.p.Close())
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for name, secret := range map[string]string{"login password": newcomerLogin, "payment password": newcomerPay, "code": `"` + code.Code + `"`} {
			require.False(t, bytes.Contains(raw, []byte(secret)), "%s in %s", name, filepath.Base(file))
		}
		require.False(t, strings.HasSuffix(file, ".db") && !bytes.Contains(raw, []byte(code.CodeID)), "the search looks where it should")
	}
	w.open()
}

// A revoked device spends nothing from that moment on, and what its cards have to prove
// is still taken.
func TestDevices_RevokedSpendsNothing(t *testing.T) {
	w := newWorld(t, quick)
	k := w.card(serial, virtualcard.Spec{})
	lost := w.teller(testPhone)
	enrolled := w.clock
	w.clock = w.clock.Add(time.Second)
	kept := w.teller(testPhone)
	granted, grant := lost.order(k, 5000).init().granted()
	answer, err := k.credit(granted)
	require.NoError(t, err)

	var devices api.Devices
	kept.must(http.StatusOK, kept.get(api.PathDevices), &devices)
	require.Len(t, devices.Devices, 2)
	require.Equal(t, lost.session.Device, devices.Devices[0].Device)
	require.Equal(t, enrolled, devices.Devices[0].Enrolled)
	require.True(t, devices.Devices[1].Current)
	path := strings.Replace(api.PathDeviceRevoke, "{id}", lost.session.Device, 1)
	stranger := w.registered(newcomer)
	require.Equal(t, api.CodeNotFound, codeOf(t, stranger.post(path, w.newKey(), struct{}{})), "of another account")
	kept.must(http.StatusOK, kept.post(path, w.newKey(), struct{}{}), nil)
	kept.must(http.StatusOK, kept.post(path, w.newKey(), struct{}{}), nil)
	require.Equal(t, 1, w.noticed(testPhone, api.NoticeDeviceRevoked), "revoked twice is revoked once")

	require.Equal(t, api.CodeDeviceUnknown, codeOf(t, lost.get(api.PathAccount)))
	require.Equal(t, api.CodeDeviceUnknown, codeOf(t, lost.order(k, 1000).init().send()))
	require.Equal(t, api.CodeDeviceUnknown, codeOf(t, lost.post(api.PathRefresh, w.newKey(), api.RefreshRequest{Refresh: lost.session.Refresh, ClientVer: "1"})))
	require.Equal(t, api.CodeDeviceUnknown, codeOf(t, lost.tryLogin(w.p.Profile().DemoCredentials.LoginPassword)))
	state := lost.stateOf(lost.result(grant, &granted.Grant, answer))
	require.Equal(t, wallet.StateLoaded, state.State, "evidence is taken without a session")

	w.clock = w.clock.Add(time.Hour)
	lost.freshNonce()
	lost.enrol()
	kept.login()
	kept.must(http.StatusOK, kept.get(api.PathDevices), &devices)
	for _, device := range devices.Devices {
		if device.Device == lost.session.Device {
			require.Equal(t, w.clock, device.Enrolled, "what was revoked comes back as new")
		}
	}
	w.check()
}

func TestDevices_Rename(t *testing.T) {
	w := newWorld(t, quick)
	c := w.teller(testPhone)
	path := strings.Replace(api.PathDeviceRename, "{id}", c.session.Device, 1)
	var device api.Device
	c.must(http.StatusOK, c.post(path, w.newKey(), api.DeviceName{Name: "书房的电脑"}), &device)
	require.Equal(t, "书房的电脑", device.Name)
	for _, name := range []string{"", " ", "a\x1b[2J", strings.Repeat("x", deviceNameMax+1)} {
		require.Equal(t, api.CodeBadRequest, codeOf(t, c.post(path, w.newKey(), api.DeviceName{Name: name})), "%q", name)
	}
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.post(path, "", api.DeviceName{Name: "x"})), "without a key")
}

// A key that another account enrols leaves its former one, which is told.
func TestDevices_AKeyBelongsToOneAccount(t *testing.T) {
	w := newWorld(t, quick)
	c := w.teller(testPhone)
	device := c.session.Device
	c.phone, c.session.AccessToken = newcomer, ""
	key := w.newKey()
	request := c.registration(key, c.askCode(api.PurposeRegister))
	c.freshNonce()
	c.must(http.StatusOK, c.post(api.PathRegistrations, key, request), nil)
	require.Equal(t, 1, w.noticed(testPhone, api.NoticeDeviceRevoked))
	c.must(http.StatusOK, c.tryLogin(newcomerLogin), &c.session)
	require.Equal(t, device, c.session.Device)
}

// Changing the login password ends the sessions of the other devices; a device of
// nobody, or of another account, can neither change nor lock.
func TestPasswords_OthersAreLoggedOut(t *testing.T) {
	w := newWorld(t, quick)
	c, other := w.teller(testPhone), w.teller(testPhone)
	good := w.p.Profile().DemoCredentials.LoginPassword
	for _, foreign := range []*teller{w.stranger(testPhone), w.registered(newcomer)} {
		foreign.phone, foreign.session.AccessToken = testPhone, ""
		foreign.freshNonce()
		for range loginFails + 1 {
			require.Equal(t, api.CodeDeviceUnknown, codeOf(t, foreign.changeLogin("not it at all", "Nightjar at 7", nil)))
		}
		require.Equal(t, api.CodeDeviceUnknown, codeOf(t, foreign.changeLogin(good, "Nightjar at 7", nil)))
	}
	for weak, password := range map[string]string{"unchanged": good, "short": "Night", "common": "woaini1314"} {
		answer := c.changeLogin(good, password, nil)
		require.Equal(t, api.CodePasswordWeak, codeOf(t, answer))
		require.Contains(t, answer.Body.String(), weak)
	}
	c.must(http.StatusOK, c.changeLogin(good, "Nightjar at 7", nil), nil)
	require.Equal(t, http.StatusOK, c.get(api.PathAccount).Code)
	require.Equal(t, api.CodeNotLoggedIn, codeOf(t, other.get(api.PathAccount)))
	require.Equal(t, api.CodeNotLoggedIn, codeOf(t, other.post(api.PathRefresh, w.newKey(), api.RefreshRequest{Refresh: other.session.Refresh, ClientVer: "1"})))
}

// A change whose answer was lost is answered again, and not tried again with a password
// that is the old one by then.
func TestPasswords_LostAnswers(t *testing.T) {
	w := newWorld(t, quick)
	c := w.teller(testPhone)
	credentials := w.p.Profile().DemoCredentials
	key := w.newKey()
	for path, request := range map[string]any{
		api.PathPasswordLogin: api.LoginPasswordChange{Phone: testPhone, DeviceKey: wallet.Hex(c.public()),
			OldSeal: c.seal(api.UseLogin, api.PathPasswordLogin, key, credentials.LoginPassword),
			NewSeal: c.seal(api.UseNewLogin, api.PathPasswordLogin, key, "Nightjar at 7")},
		api.PathPasswordPayment: api.PaymentPasswordChange{
			OldSeal: c.seal(api.UsePayment, api.PathPasswordPayment, key, credentials.PaymentPassword),
			NewSeal: c.seal(api.UseNewPayment, api.PathPasswordPayment, key, "407193")},
	} {
		w.hooks.AfterCommit = func(string) error { return errDied }
		require.Nil(t, c.post(path, key, request))
		w.hooks.AfterCommit = nil
		require.Equal(t, `{}`, c.post(path, key, request).Body.String(), path)
		require.Equal(t, `{}`, c.post(path, key, request).Body.String(), path)
	}
	require.Equal(t, 1, w.noticed(testPhone, api.NoticeLoginChanged))
	require.Equal(t, 1, w.noticed(testPhone, api.NoticePaymentChanged))
	c.must(http.StatusOK, c.tryLogin("Nightjar at 7"), nil)
}
