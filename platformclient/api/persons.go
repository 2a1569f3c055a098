package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of what a person does with the own account: register, choose passwords, look
// after devices (protocol §2.6, §2.10).
const (
	PathAgreement       = "/v1/agreement"           // GET ?lang= → Agreement
	PathPasswordLogin   = "/v1/passwords/login"     // POST LoginPasswordChange → {}: signed by the key that it brings
	PathPasswordPayment = "/v1/passwords/payment"   // POST PaymentPasswordChange → {}
	PathDeviceRevoke    = "/v1/devices/{id}/revoke" // POST {} → Device
	PathDeviceRename    = "/v1/devices/{id}/rename" // POST DeviceName → Device
)

// What an SMS code is asked for. A code serves its own purpose only.
const (
	PurposeRegister = "register"
	PurposeDevice   = "device"
	PurposePassword = "password"
	PurposeBank     = "bank"
	PurposeThaw     = "thaw"
	PurposeLoss     = "loss"
	PurposeClose    = "close"
)

// SMSPurposes are all purposes that a code may be asked for.
var SMSPurposes = []string{PurposeRegister, PurposeDevice, PurposePassword, PurposeBank, PurposeThaw, PurposeLoss, PurposeClose}

// States of a device.
const (
	DeviceActive   = "ACTIVE"
	DeviceReplaced = "REPLACED" // by a fourth one
	DeviceRevoked  = "REVOKED"  // by the person
	DeviceCloned   = "CLONED"   // its profile exists twice
)

// PhoneDigits is how many digits a phone number has.
const PhoneDigits = 11

// ValidPhone tells whether a text has the form of a mobile number of mainland China:
// eleven digits that begin with 1.
func ValidPhone(phone string) bool {
	return len(phone) == PhoneDigits && phone[0] == '1' && onlyDigits(phone)
}

func onlyDigits(text string) bool {
	for _, b := range []byte(text) {
		if b < '0' || b > '9' {
			return false
		}
	}
	return text != ""
}

// Agreement is what a person accepts when registering. The platform keeps which
// version was accepted, and when.
type Agreement struct {
	Version string `json:"version"`
	Text    string `json:"text"`
}

// Registration makes an account and enrols the computer that asks. The request is
// signed by the key that it brings; both seals are bound to this very request
// (PasswordBinding with UseNewLogin and UseNewPayment).
type Registration struct {
	Phone            string     `json:"phone"`
	SMS              SMSCode    `json:"sms"` // purpose register
	LoginPWSeal      []byte     `json:"login_pw_seal"`
	PayPWSeal        []byte     `json:"pay_pw_seal"`
	AgreementVersion string     `json:"agreement_version"`
	DeviceKey        wallet.Hex `json:"device_key"` // Ed25519 public key, 32 bytes
	DeviceName       string     `json:"device_name"`
	CompanionSN      string     `json:"companion_sn,omitempty"`
}

// Registered names the new account and its first device.
type Registered struct {
	User   string `json:"user"`
	Device string `json:"device"`
}

// LoginPasswordChange chooses another login password: by the old one, on an enrolled
// device, or by a code of purpose password, on any. Exactly one of OldSeal and SMS is
// set. The request is signed by the key that it brings.
type LoginPasswordChange struct {
	Phone     string     `json:"phone"`
	OldSeal   []byte     `json:"old_seal,omitempty"` // UseLogin
	SMS       *SMSCode   `json:"sms,omitempty"`
	NewSeal   []byte     `json:"new_seal"`   // UseNewLogin
	DeviceKey wallet.Hex `json:"device_key"` // Ed25519 public key, 32 bytes
}

// PaymentPasswordChange chooses another payment password: by the old one, or by a
// code of purpose password together with the login password.
type PaymentPasswordChange struct {
	OldSeal     []byte   `json:"old_seal,omitempty"` // UsePayment
	SMS         *SMSCode `json:"sms,omitempty"`
	LoginPWSeal []byte   `json:"login_pw_seal,omitempty"` // UseLogin, with SMS
	NewSeal     []byte   `json:"new_seal"`                // UseNewPayment
}

// Devices are the computers of an account, those that may spend first.
type Devices struct {
	Devices []Device `json:"devices"`
}

// Device is one computer of an account. Enrolled is when its key was last admitted
// with an SMS code; what a young device may spend counts from there.
type Device struct {
	Device     string    `json:"device"`
	Name       string    `json:"name"`
	State      string    `json:"state"` // ACTIVE REPLACED REVOKED CLONED
	Current    bool      `json:"current"`
	Thumbprint string    `json:"thumbprint"` // of its key
	Enrolled   time.Time `json:"enrolled"`
	LastUsed   time.Time `json:"last_used"`
}

// DeviceName names a device anew.
type DeviceName struct {
	Name string `json:"name"`
}

// Codes about accounts, passwords and SMS codes.
const (
	CodeLoginWrong       = "LOGIN_WRONG"       // phone number or login password
	CodeLoginLocked      = "LOGIN_LOCKED"      // for 30 minutes, after five wrong ones
	CodePhoneRegistered  = "PHONE_REGISTERED"  // said only to who has shown the right SMS code
	CodePasswordWeak     = "PASSWORD_WEAK"     // the rules refuse this password; the text names the Weakness
	CodeAgreementChanged = "AGREEMENT_CHANGED" // the agreement has another version now
	CodeSMSTooSoon       = "SMS_TOO_SOON"      // 429: another code can be had after retry_after_s
)
