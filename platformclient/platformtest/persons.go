package platformtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
)

// personCases are what a person does with the own account.
var personCases = []testCase{
	{"register", testRegister},
	{"change and reset the login password", testLoginPassword},
	{"change and reset the payment password", testPaymentChange},
	{"devices", testDevices},
	{"messages", testMessages},
}

// newPhone is a number that nobody has.
func newPhone(t *testing.T) string {
	n, err := rand.Int(rand.Reader, big.NewInt(1e8))
	require.NoError(t, err)
	return fmt.Sprintf("139%08d", n)
}

// newPassword passes the rules.
func newPassword(t *testing.T) string {
	raw := make([]byte, 8)
	_, err := rand.Read(raw)
	require.NoError(t, err)
	return "Wren." + hex.EncodeToString(raw)
}

// newDigits passes the rules for whatever number begins with 139.
const newDigits = "370482"

// sms answers a code out of what the telephone of a demo shows.
func (w *world) sms(phone string) platformclient.SMSAnswer { return w.client.DemoAnswer(phone) }

func testRegister(w *world) {
	if !w.subject.Profile.Demo {
		w.t.Skip("only a demo shows what a telephone receives")
	}
	phone, password := newPhone(w.t), newPassword(w.t)
	agreement, err := w.client.Agreement(w.t.Context(), "en")
	require.NoError(w.t, err)
	require.NotEmpty(w.t, agreement.Version)
	require.NotEmpty(w.t, agreement.Text)
	require.NoError(w.t, w.client.Register(w.t.Context(), phone, password, newDigits, agreement.Version, w.sms(phone)))
	session := w.client.Session()
	require.True(w.t, session.LoggedIn)
	require.Equal(w.t, phone, session.Phone)
	account, err := w.client.Account(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, "NORMAL", account.State)
	require.Zero(w.t, account.Main)

	other := w.newClient(newVault())
	err = other.Register(w.t.Context(), phone, password, newDigits, agreement.Version, w.sms(phone))
	require.Equal(w.t, api.CodePhoneRegistered, platformclient.CodeOf(err))
	err = other.Register(w.t.Context(), newPhone(w.t), password, newDigits, "of another time", w.sms(phone))
	require.Error(w.t, err)
}

func testLoginPassword(w *world) {
	w.login()
	fresh := newPassword(w.t)
	other := w.newClient(newVault())
	require.NoError(w.t, other.Login(w.t.Context(), w.subject.Phone, w.subject.LoginPassword, w.subject.SMSCode))
	err := w.client.ChangeLoginPassword(w.t.Context(), w.subject.Phone, w.subject.LoginPassword+"x", fresh)
	require.Equal(w.t, api.CodeLoginWrong, platformclient.CodeOf(err))
	require.NoError(w.t, w.client.ChangeLoginPassword(w.t.Context(), w.subject.Phone, w.subject.LoginPassword, fresh))
	_, err = w.client.Account(w.t.Context())
	require.NoError(w.t, err, "this computer stays logged in")
	_, err = other.Account(w.t.Context())
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err), "all others do not")

	third, again := w.newClient(newVault()), newPassword(w.t)
	require.NoError(w.t, third.ResetLoginPassword(w.t.Context(), w.subject.Phone, again, w.subject.SMSCode))
	require.NoError(w.t, third.Login(w.t.Context(), w.subject.Phone, again, w.subject.SMSCode))
}

func testPaymentChange(w *world) {
	w.login()
	err := w.client.ChangePaymentPassword(w.t.Context(), "000000", newDigits)
	require.Equal(w.t, api.CodePasswordWrong, platformclient.CodeOf(err))
	require.NoError(w.t, w.client.ChangePaymentPassword(w.t.Context(), w.subject.PaymentPassword, newDigits))
	const again = "958203"
	require.NoError(w.t, w.client.ResetPaymentPassword(w.t.Context(), w.subject.LoginPassword, again, w.subject.SMSCode))
	w.subject.PaymentPassword = again
	_, err = w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
}

func testDevices(w *world) {
	w.login()
	other := w.newClient(newVault())
	require.NoError(w.t, other.Login(w.t.Context(), w.subject.Phone, w.subject.LoginPassword, w.subject.SMSCode))
	devices, err := w.client.Devices(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, devices, 2)
	require.True(w.t, devices[0].Current)
	renamed, err := w.client.RenameDevice(w.t.Context(), devices[1].Device, "the other one")
	require.NoError(w.t, err)
	require.Equal(w.t, "the other one", renamed.Name)
	for range 2 { // revoking twice is revoking once
		revoked, err := w.client.RevokeDevice(w.t.Context(), devices[1].Device)
		require.NoError(w.t, err)
		require.Equal(w.t, api.DeviceRevoked, revoked.State)
	}
	_, err = other.Account(w.t.Context())
	require.Error(w.t, err)
	_, err = w.client.RevokeDevice(w.t.Context(), "D-of-somebody-else")
	require.Equal(w.t, api.CodeNotFound, platformclient.CodeOf(err))
}

func testMessages(w *world) {
	w.login()
	_, err := w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
	messages, err := w.client.Messages(w.t.Context(), "")
	require.NoError(w.t, err)
	newest := messages[len(messages)-1]
	require.Equal(w.t, api.NoticeBalance, newest.Kind)
	require.Equal(w.t, -w.amount-w.client.Session().Policy.LoadFee("main", w.amount), newest.Facts.Amount)
	require.Equal(w.t, w.main(), newest.Facts.Balance)
	for _, message := range messages {
		require.NotEqual(w.t, api.NoticeSMSCode, message.Kind, "a person's messages hold no code")
	}
	later, err := w.client.Messages(w.t.Context(), newest.ID)
	require.NoError(w.t, err)
	require.Empty(w.t, later)
	if w.subject.Profile.Demo {
		inbox, err := w.client.Inbox(w.t.Context(), w.subject.Phone)
		require.NoError(w.t, err)
		require.Greater(w.t, len(inbox), len(messages)-1)
	}
}
