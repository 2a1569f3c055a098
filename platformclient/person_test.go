package platformclient

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
)

const (
	freshLogin = "Kingfisher at 6"
	freshPay   = "370482"
)

// registering is a fake that takes registrations and codes.
func registering(t *testing.T) (*fakePlatform, *Client) {
	p := newFake(t)
	p.handle("POST "+api.PathSMSCodes, func(w http.ResponseWriter, _ seen) { reply(w, 200, api.SMSSent{CodeID: "sms-1", ResendAfterS: 60}) })
	p.handle("POST "+api.PathRegistrations, func(w http.ResponseWriter, _ seen) { reply(w, 200, api.Registered{User: "U1", Device: "D1"}) })
	return p, p.client(t, newVault())
}

// A password that the rules refuse is never sent, nor is a code asked for it.
func TestWeakPasswordsAreNotSent(t *testing.T) {
	p, client := registering(t)
	for _, err := range []error{
		client.Register(t.Context(), testPhone, "password", freshPay, "1", typedCode),
		client.Register(t.Context(), testPhone, freshLogin, "123456", "1", typedCode),
		client.ChangeLoginPassword(t.Context(), testPhone, "whatever it was", "short"),
		client.ResetLoginPassword(t.Context(), testPhone, testPhone, typedCode),
	} {
		weak, is := err.(*WeakPassword)
		require.True(t, is, "%v", err)
		require.Equal(t, api.CodePasswordWeak, weak.ErrorCode())
		require.Equal(t, "password.weak."+string(weak.Why), weak.Facts()["reasonKey"])
		require.NotContains(t, err.Error(), testPhone)
	}
	require.Empty(t, p.log)
}

// After an expired nonce the same bytes go out under the same key: the seals hang on the
// key, not on the nonce, so that one registration stays one.
func TestRegistrationKeepsItsKey(t *testing.T) {
	p, client := registering(t)
	p.handle("POST "+api.PathSMSCodes, func(w http.ResponseWriter, _ seen) {
		reply(w, 200, api.SMSSent{CodeID: "sms-1", ResendAfterS: 60})
		p.setNonce("nonce-2")
	})
	_ = client.Register(t.Context(), testPhone, freshLogin, freshPay, "1", typedCode) // the fake logs no stranger in
	sent := p.requests("POST " + api.PathRegistrations)
	require.Len(t, sent, 2)
	require.NotEmpty(t, sent[0].key)
	require.Equal(t, sent[0].key, sent[1].key)
	require.Equal(t, sent[0].body, sent[1].body)
	require.NotEqual(t, sent[0].nonce, sent[1].nonce)

	var request api.Registration
	require.NoError(t, json.Unmarshal(sent[0].body, &request))
	binding := api.PasswordBinding{Use: api.UseNewLogin, Route: api.PathRegistrations, Thumbprint: sent[0].thumbprint, Key: sent[0].key, Phone: testPhone}
	login, err := api.OpenPassword(p.sealKey, binding, request.LoginPWSeal)
	require.NoError(t, err)
	require.Equal(t, freshLogin, login)
	binding.Use = api.UseNewPayment
	digits, err := api.OpenPassword(p.sealKey, binding, request.PayPWSeal)
	require.NoError(t, err)
	require.Equal(t, freshPay, digits)
	require.Equal(t, api.SMSCode{CodeID: "sms-1", Code: "112233"}, request.SMS)
}

// Each time that a person asks for a code is a question of its own; the same question is
// only repeated after silence.
func TestCodesAreAskedForAnew(t *testing.T) {
	p, client := registering(t)
	for range 2 {
		_, err := client.askCode(t.Context(), testPhone, api.PurposeThaw, typedCode)
		require.NoError(t, err)
	}
	sent := p.requests("POST " + api.PathSMSCodes)
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].key, sent[1].key)
}

// What a refusal says of waiting and of tries that are left reaches whoever tells people.
func TestRefusalsTellWhenToComeBack(t *testing.T) {
	p, client := registering(t)
	left := 2
	p.handle("POST "+api.PathSMSCodes, func(w http.ResponseWriter, _ seen) {
		reply(w, 429, api.ErrorBody{Error: api.Error{Code: api.CodeSMSTooSoon, Text: "later", RetryAfterS: 90, TriesLeft: &left}})
	})
	_, err := client.askCode(t.Context(), testPhone, api.PurposeThaw, typedCode)
	require.Equal(t, api.CodeSMSTooSoon, CodeOf(err))
	failure := err.(*Error)
	require.Equal(t, 90*time.Second, failure.RetryAfter)
	require.Equal(t, map[string]any{"waitS": 90, "triesLeft": 2}, failure.Facts())
}

// A demo's code is the one with the identifier that was named, and only while it is there.
func TestDemoAnswer(t *testing.T) {
	p, client := registering(t)
	p.handle("GET "+api.PathDemoMessages, func(w http.ResponseWriter, _ seen) {
		reply(w, 200, api.Messages{Messages: []api.Message{
			{ID: "M1-1", Kind: api.NoticeSMSCode, Facts: api.MessageFacts{CodeID: "sms-0", Code: "000000"}},
			{ID: "M1-2", Kind: api.NoticeSMSCode, Facts: api.MessageFacts{CodeID: "sms-1", Code: "370482"}},
			{ID: "M1-3", Kind: api.NoticeSMSCode, Facts: api.MessageFacts{CodeID: "sms-2"}},
		}})
	})
	answer := client.DemoAnswer(testPhone)
	code, err := answer(context.Background(), "sms-1")
	require.NoError(t, err)
	require.Equal(t, "370482", code)
	for _, gone := range []string{"sms-2", "sms-3"} {
		_, err = answer(context.Background(), gone)
		require.Error(t, err)
	}
}
