package platformclient

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/url"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// SMSAnswer gives the code that was sent under an identifier.
type SMSAnswer = func(ctx context.Context, codeID string) (string, error)

// Agreement is what a person accepts when registering; language is "zh" or "en".
func (c *Client) Agreement(ctx context.Context, language string) (told api.Agreement, err error) {
	err = c.askOpen(ctx, call{method: http.MethodGet, route: api.PathAgreement, path: api.PathAgreement, query: url.Values{"lang": {language}}}, &told)
	return told, err
}

// Register opens an account for a phone number, enrols this computer and logs in. Both
// passwords are judged before anything is sent; sms is asked for the code that came to
// the phone. The passwords are sealed and not kept.
func (c *Client) Register(ctx context.Context, phone, loginPassword, paymentPassword, agreement string, sms SMSAnswer) error {
	if err := c.needProfile(); err != nil {
		return err
	}
	if weak := api.JudgeLoginPassword(loginPassword, phone); weak != "" {
		return weakPassword(weak)
	}
	if weak := api.JudgePaymentPassword(paymentPassword, phone); weak != "" {
		return weakPassword(weak)
	}
	if err := c.greet(ctx); err != nil {
		return err
	}
	code, err := c.askCode(ctx, phone, api.PurposeRegister, sms)
	if err != nil {
		return err
	}
	seal, err := c.bind(ctx, api.PathRegistrations, phone)
	if err != nil {
		return err
	}
	request := api.Registration{Phone: phone, SMS: code, AgreementVersion: agreement,
		DeviceKey: wallet.Hex(seal.public), DeviceName: c.config.DeviceName, CompanionSN: c.companion(ctx)}
	if request.LoginPWSeal, err = seal.password(api.UseNewLogin, loginPassword); err != nil {
		return localError(err)
	}
	if request.PayPWSeal, err = seal.password(api.UseNewPayment, paymentPassword); err != nil {
		return localError(err)
	}
	err = c.askOpen(ctx, call{method: http.MethodPost, route: api.PathRegistrations, path: api.PathRegistrations,
		body: request, key: seal.key, retry: true}, &api.Registered{})
	if err != nil {
		return err
	}
	return c.openSession(ctx, phone, loginPassword)
}

// ChangeLoginPassword puts another login password in the place of the old one; the
// sessions of the account's other computers end.
func (c *Client) ChangeLoginPassword(ctx context.Context, phone, old, fresh string) error {
	return c.chooseLogin(ctx, phone, fresh, func(seal sealing, request *api.LoginPasswordChange) (err error) {
		request.OldSeal, err = seal.password(api.UseLogin, old)
		return err
	})
}

// ResetLoginPassword chooses another login password with an SMS code. This computer need
// not be enrolled, and is not by that.
func (c *Client) ResetLoginPassword(ctx context.Context, phone, fresh string, sms SMSAnswer) error {
	return c.chooseLogin(ctx, phone, fresh, func(_ sealing, request *api.LoginPasswordChange) error {
		code, err := c.askCode(ctx, phone, api.PurposePassword, sms)
		request.SMS = &code
		return err
	})
}

func (c *Client) chooseLogin(ctx context.Context, phone, fresh string, prove func(sealing, *api.LoginPasswordChange) error) error {
	if err := c.needProfile(); err != nil {
		return err
	}
	if weak := api.JudgeLoginPassword(fresh, phone); weak != "" {
		return weakPassword(weak)
	}
	seal, err := c.bind(ctx, api.PathPasswordLogin, phone)
	if err != nil {
		return err
	}
	request := api.LoginPasswordChange{Phone: phone, DeviceKey: wallet.Hex(seal.public)}
	if err := prove(seal, &request); err != nil {
		return err
	}
	if request.NewSeal, err = seal.password(api.UseNewLogin, fresh); err != nil {
		return localError(err)
	}
	return c.askOpen(ctx, call{method: http.MethodPost, route: api.PathPasswordLogin, path: api.PathPasswordLogin,
		body: request, key: seal.key, retry: true}, nil)
}

// ChangePaymentPassword puts another payment password in the place of the old one.
func (c *Client) ChangePaymentPassword(ctx context.Context, old, fresh string) error {
	return c.choosePayment(ctx, fresh, func(_ string, seal sealing, request *api.PaymentPasswordChange) (err error) {
		request.OldSeal, err = seal.password(api.UsePayment, old)
		return err
	})
}

// ResetPaymentPassword chooses another payment password with an SMS code and the login
// password.
func (c *Client) ResetPaymentPassword(ctx context.Context, loginPassword, fresh string, sms SMSAnswer) error {
	return c.choosePayment(ctx, fresh, func(phone string, seal sealing, request *api.PaymentPasswordChange) (err error) {
		code, err := c.askCode(ctx, phone, api.PurposePassword, sms)
		if err != nil {
			return err
		}
		request.SMS = &code
		request.LoginPWSeal, err = seal.password(api.UseLogin, loginPassword)
		return err
	})
}

func (c *Client) choosePayment(ctx context.Context, fresh string, prove func(phone string, seal sealing, request *api.PaymentPasswordChange) error) error {
	if err := c.needProfile(); err != nil {
		return err
	}
	if _, err := c.token(ctx, accessToken, ""); err != nil {
		return err
	}
	phone := c.Session().Phone
	if phone == "" { // the token is another process's: this one has not asked for its session yet
		if err := c.renew(ctx, "", true); err != nil {
			return err
		}
		phone = c.Session().Phone
	}
	if weak := api.JudgePaymentPassword(fresh, phone); weak != "" {
		return weakPassword(weak)
	}
	seal, err := c.bind(ctx, api.PathPasswordPayment, phone)
	if err != nil {
		return err
	}
	request := api.PaymentPasswordChange{}
	if err := prove(phone, seal, &request); err != nil {
		return err
	}
	if request.NewSeal, err = seal.password(api.UseNewPayment, fresh); err != nil {
		return localError(err)
	}
	return c.ask(ctx, call{method: http.MethodPost, route: api.PathPasswordPayment, path: api.PathPasswordPayment,
		body: request, key: seal.key, retry: true}, nil)
}

// askOpen asks without a login.
func (c *Client) askOpen(ctx context.Context, question call, target any) error {
	result, err := c.do(ctx, question)
	if err != nil {
		return err
	}
	return decode(result, target)
}

// askCode has a code sent and asks the person for it.
func (c *Client) askCode(ctx context.Context, phone, purpose string, sms SMSAnswer) (api.SMSCode, error) {
	key, err := NewKey(c.now(), c.config.Random) // a person who asks again later wants another code
	if err != nil {
		return api.SMSCode{}, localError(err)
	}
	var sent api.SMSSent
	err = c.askOpen(ctx, call{method: http.MethodPost, route: api.PathSMSCodes, path: api.PathSMSCodes, key: key, retry: true,
		body: api.SMSRequest{Phone: phone, Purpose: purpose}}, &sent)
	if err != nil {
		return api.SMSCode{}, err
	}
	code, err := sms(ctx, sent.CodeID)
	if err != nil {
		return api.SMSCode{}, localError(err)
	}
	return api.SMSCode{CodeID: sent.CodeID, Code: code}, nil
}

// sealing seals passwords for one request.
type sealing struct {
	platform []byte
	public   ed25519.PublicKey
	binding  api.PasswordBinding
	key      string
}

// bind makes the idempotency key of a request, to which its seals are bound.
func (c *Client) bind(ctx context.Context, route, phone string) (sealing, error) {
	device, err := c.deviceKey(ctx)
	if err != nil {
		return sealing{}, localError(err)
	}
	key, err := NewKey(c.now(), c.config.Random)
	if err != nil {
		return sealing{}, localError(err)
	}
	public, _ := device.Public().(ed25519.PublicKey)
	return sealing{platform: c.config.Profile.HPKE, public: public, key: key,
		binding: api.PasswordBinding{Route: route, Thumbprint: api.Thumbprint(public), Key: key, Phone: phone}}, nil
}

func (s sealing) password(use, password string) ([]byte, error) {
	binding := s.binding
	binding.Use = use
	return api.SealPassword(s.platform, binding, password)
}

// WeakPassword is the error of a password that the rules refuse; nothing was sent.
type WeakPassword struct{ Why api.Weakness }

func weakPassword(why api.Weakness) error { return &WeakPassword{Why: why} }

// Error names the reason, never the password.
func (w *WeakPassword) Error() string { return "the password is refused: " + string(w.Why) }

// ErrorCode is api.CodePasswordWeak.
func (w *WeakPassword) ErrorCode() string { return api.CodePasswordWeak }

// Facts name the reason, and the key of the text that explains it.
func (w *WeakPassword) Facts() map[string]any {
	return map[string]any{"weakness": string(w.Why), "reasonKey": "password.weak." + string(w.Why)}
}

// Devices lists the computers of the account.
func (c *Client) Devices(ctx context.Context) ([]api.Device, error) {
	var told api.Devices
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathDevices, path: api.PathDevices}, &told)
	return told.Devices, err
}

// RevokeDevice takes the right to spend from a computer. Where it is this one, its login
// is over.
func (c *Client) RevokeDevice(ctx context.Context, device string) (told api.Device, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathDeviceRevoke, path: fill(api.PathDeviceRevoke, device),
		body: struct{}{}, retry: true}, &told)
	if err == nil && told.Current {
		err = c.forgetLogin(ctx)
	}
	return told, err
}

// RenameDevice gives a computer of the account another name.
func (c *Client) RenameDevice(ctx context.Context, device, name string) (told api.Device, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathDeviceRename, path: fill(api.PathDeviceRename, device),
		body: api.DeviceName{Name: name}, retry: true}, &told)
	return told, err
}

// Messages are the messages to the person behind the one that after names, oldest
// first; without a name the newest.
func (c *Client) Messages(ctx context.Context, after string) ([]api.Message, error) {
	query := url.Values{}
	if after != "" {
		query.Set("after", after)
	}
	var told api.Messages
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathMessages, path: api.PathMessages, query: query}, &told)
	return told.Messages, err
}

// Inbox is what the telephone with this number shows; only a demo tells.
func (c *Client) Inbox(ctx context.Context, phone string) ([]api.Message, error) {
	var told api.Messages
	err := c.askOpen(ctx, call{method: http.MethodGet, route: api.PathDemoMessages, path: api.PathDemoMessages,
		query: url.Values{"phone": {phone}}}, &told)
	return told.Messages, err
}

// DemoAnswer answers the codes that a demo sends to a telephone, as whoever holds that
// telephone would.
func (c *Client) DemoAnswer(phone string) SMSAnswer {
	return func(ctx context.Context, codeID string) (string, error) {
		messages, err := c.Inbox(ctx, phone)
		if err != nil {
			return "", err
		}
		for _, message := range messages {
			if message.Facts.CodeID == codeID && message.Facts.Code != "" {
				return message.Facts.Code, nil
			}
		}
		return "", errNoCode
	}
}

var errNoCode = errors.New("the telephone shows no such code")
