package mockplatform

import (
	"crypto/ed25519"
	_ "embed"
	"net/http"

	"walletcompanion/platformclient/api"
)

// agreementVersion is that of the texts below; a new text is a new version.
const agreementVersion = "2026-1"

//go:embed agreement/zh.txt
var agreementChinese string

//go:embed agreement/en.txt
var agreementEnglish string

// TierWeak is the tier of an account that nobody has verified by name.
const TierWeak = "weak"

// personRoutes are the routes by which a person comes to an account and looks after it.
func (p *Platform) personRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("GET", api.PathAgreement, authNone, showAgreement)
	handle("POST", api.PathSMSCodes, authNone, sendSMSCode)
	handle("POST", api.PathRegistrations, authNone, register) // signed by the key that it brings
	handle("POST", api.PathDevices, authNone, enrolDevice)    // signed by the key that it brings
	handle("GET", api.PathDevices, authSession, listDevices)
	handle("POST", api.PathDeviceRevoke, authSession, revokeDevice)
	handle("POST", api.PathDeviceRename, authSession, renameDevice)
	handle("POST", api.PathPasswordLogin, authNone, changeLoginPassword) // signed by the key that it brings
	handle("POST", api.PathPasswordPayment, authSession, changePaymentPassword)
	handle("GET", api.PathMessages, authSession, listMessages)
	handle("GET", api.PathDemoMessages, authNone, listDemoMessages)
}

// showAgreement is GET /v1/agreement.
func showAgreement(c *call) (reply, error) {
	text := agreementEnglish
	if c.req.URL.Query().Get("lang") == "zh" {
		text = agreementChinese
	}
	return success(api.Agreement{Version: agreementVersion, Text: text})
}

// bringsKey checks a request that is signed by the key that it brings.
func (c *call) bringsKey(raw []byte) (ed25519.PublicKey, *reply, error) {
	if len(raw) != ed25519.PublicKeySize {
		return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "the device key has another form"), nil
	}
	public := ed25519.PublicKey(raw)
	refusal, err := c.verify(func(string) (ed25519.PublicKey, error) { return public, nil })
	return public, refusal, err
}

// openSeal opens a seal that is bound to this very request.
func (c *call) openSeal(use, phone string, seal []byte) (string, bool) {
	password, err := api.OpenPassword(c.p.sealKey, api.PasswordBinding{
		Use: use, Route: c.req.URL.Path, Thumbprint: c.sender.thumbprint, Key: c.key, Phone: phone,
	}, seal)
	return password, err == nil
}

// register is POST /v1/registrations. Whether a number has an account is told only to
// whoever has shown the code that was sent to it.
func register(c *call) (reply, error) {
	var request api.Registration
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	if !api.ValidPhone(request.Phone) || !validDeviceName(request.DeviceName) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a mobile number and a name of the computer are needed"), nil
	}
	if refusal := c.limitHost(); refusal != nil {
		return *refusal, nil
	}
	public, refusal, err := c.bringsKey(request.DeviceKey)
	if err != nil || refusal != nil {
		return deref(refusal), err
	}
	if kept, err := c.keptAnswer(); err != nil || kept != nil {
		return deref(kept), err
	}
	fresh, refusal := c.chosen(request)
	if refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err = c.update(func(tx *Tx) (err error) {
		answer, err = c.once(tx, "device "+c.sender.thumbprint, func() (reply, bool, error) { return c.enter(tx, request, public, fresh) })
		return err
	})
	return answer, err
}

// credentials are the passwords of an account as they are kept.
type credentials struct{ loginSalt, loginHash, paySalt, payMAC []byte }

// chosen opens and judges both passwords and looks at the agreement. Nothing has changed
// when it refuses.
func (c *call) chosen(request api.Registration) (*credentials, *reply) {
	login, loginOpened := c.openSeal(api.UseNewLogin, request.Phone, request.LoginPWSeal)
	digits, digitsOpened := c.openSeal(api.UseNewPayment, request.Phone, request.PayPWSeal)
	if !loginOpened || !digitsOpened {
		return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "a seal was made for another request")
	}
	if request.AgreementVersion != agreementVersion {
		return nil, refused(http.StatusConflict, api.CodeAgreementChanged, refusalText(api.CodeAgreementChanged))
	}
	if weak := api.JudgeLoginPassword(login, request.Phone); weak != "" {
		return nil, refuseWeak("login password", weak)
	}
	if weak := api.JudgePaymentPassword(digits, request.Phone); weak != "" {
		return nil, refuseWeak("payment password", weak)
	}
	fresh := &credentials{loginSalt: c.p.draw(16), paySalt: c.p.draw(16)}
	fresh.loginHash = c.p.hashPassword(login, fresh.loginSalt)
	fresh.payMAC = c.p.peppered("payment", fresh.paySalt, digits)
	return fresh, nil
}

func refuseWeak(what string, weak api.Weakness) *reply {
	return refused(http.StatusUnprocessableEntity, api.CodePasswordWeak, "the "+what+" is refused: "+string(weak))
}

// enter makes the account, in one transaction with everything that it depends on. What
// it refuses after the code was looked at is kept as well: a repeated request tries the
// code once.
func (c *call) enter(tx *Tx, request api.Registration, public ed25519.PublicKey, fresh *credentials) (reply, bool, error) {
	good, err := c.p.useSMSCode(tx, request.Phone, api.PurposeRegister, request.SMS)
	if err != nil {
		return reply{}, false, err
	}
	if !good {
		return failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), true, nil
	}
	free, err := freePhone(tx, request.Phone)
	if err != nil {
		return reply{}, false, err
	}
	if !free {
		return failure(http.StatusConflict, api.CodePhoneRegistered, refusalText(api.CodePhoneRegistered)), true, nil
	}
	if fits, err := companionFits(tx, request.Phone, request.CompanionSN, c.sender.thumbprint); err != nil || !fits {
		return refuseCompanion(request.CompanionSN, c.sender.thumbprint), true, err
	}
	user, now := c.p.newID("U"), c.p.now().UnixMilli()
	err = tx.exec(`INSERT INTO users (user, phone, state, tier, companion, login_salt, login_hash, pay_salt, pay_mac, created)
		VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?)`, user, request.Phone, accountNormal, TierWeak,
		fresh.loginSalt, fresh.loginHash, fresh.paySalt, fresh.payMAC, now)
	if err != nil {
		return reply{}, false, err
	}
	if err := tx.exec(`INSERT INTO agreements (user, version, accepted) VALUES (?, ?, ?)`, user, request.AgreementVersion, now); err != nil {
		return reply{}, false, err
	}
	if err := c.p.audit(tx, user, "registered", user, "agreement "+request.AgreementVersion); err != nil {
		return reply{}, false, err
	}
	if err := c.p.tell(tx, user, api.NoticeRegistered, api.MessageFacts{Device: request.DeviceName}); err != nil {
		return reply{}, false, err
	}
	enrolled, err := c.p.addDevice(tx, user, api.DeviceRequest{DeviceName: request.DeviceName}, public)
	if err != nil {
		return reply{}, false, err
	}
	answer, err := success(api.Registered{User: user, Device: enrolled.Device})
	return answer, true, err
}
