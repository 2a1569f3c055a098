package mockplatform

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// These tests bring the platform into refusals that other tests only count by their
// HTTP status, and look at the code that people are told.

// codeOf is the code of an unsigned refusal.
func codeOf(t *testing.T, answer *httptest.ResponseRecorder) string {
	t.Helper()
	require.GreaterOrEqual(t, answer.Code, 400)
	var refused api.ErrorBody
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &refused))
	return refused.Error.Code
}

func TestPlatform_WrongEvidenceTooOftenSaysSo(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	good, err := k.credit(granted)
	require.NoError(t, err)
	wrong := wallet.StepResult{SW: good.SW, Data: wallet.Hex{1, 2, 3, 4}}
	for range rules.MaxWrong {
		c.result(grant, nil, wrong)
	}
	require.Equal(t, api.CodeTooManyWrong, c.stateOf(c.result(grant, nil, wrong)).Code)
}

func TestSession_RefusalsNameTheirCode(t *testing.T) {
	w := newWorld(t)
	c := w.stranger(testPhone)
	credentials := w.p.Profile().DemoCredentials
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: testPhone, Purpose: "device"}), &sent)
	answer := c.post(api.PathDevices, "", api.DeviceRequest{
		Phone: testPhone, SMS: api.SMSCode{CodeID: sent.CodeID, Code: "not it"}, LoginPWSeal: c.loginSeal(api.PathDevices, credentials.LoginPassword),
		DeviceKey: wallet.Hex(c.public()), DeviceName: "x",
	})
	require.Equal(t, api.CodeSMSCodeWrong, codeOf(t, answer))

	cloned := w.teller(testPhone)
	login := func(hash byte) *httptest.ResponseRecorder {
		cloned.freshNonce()
		cloned.session.AccessToken = ""
		return cloned.post(api.PathSession, "", api.SessionRequest{
			Phone: testPhone, LoginPWSeal: cloned.loginSeal(api.PathSession, credentials.LoginPassword), ClientVer: "1",
			Journal: api.JournalMark{Seq: 7, Hash: wallet.Hex{hash}},
		})
	}
	require.Equal(t, http.StatusOK, login(1).Code)
	require.Equal(t, api.CodeJournalConflict, codeOf(t, login(2)))

	w.p.secrets.Demo = false // a platform that is no demo has no telephone network here
	require.Equal(t, api.CodeServiceClosed, codeOf(t, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: testPhone, Purpose: "device"})))
}
