package api

import "crypto/hpke"

// Seals of passwords that are chosen, or shown to choose another one. They are HPKE
// seals as those of seal.go, with
//
//	info = SHA-256(domain ‖ use ‖ route ‖ device key thumbprint ‖ idempotency key ‖ phone)
//
// so that a seal opens for one use, in one request, of one device, for one account. The
// idempotency key stands where a login has the nonce: the same bytes may be sent again
// after a lost answer, when the nonce is another one.
const domainPasswordSeal = "wallet/password-seal/1"

// Uses of a sealed password.
const (
	UseLogin      = "login"       // the login password as it is
	UseNewLogin   = "new-login"   // as it is to be
	UsePayment    = "payment"     // the payment password as it is
	UseNewPayment = "new-payment" // as it is to be
)

// PasswordBinding is what such a seal is bound to.
type PasswordBinding struct {
	Use        string // one of the Use constants
	Route      string // path of the request that carries the seal
	Thumbprint string // of the device key that signs this request
	Key        string // idempotency key of this request
	Phone      string // of the account
}

func (b PasswordBinding) info() []byte {
	return sealInfo(domainPasswordSeal, []byte(b.Use), []byte(b.Route), []byte(b.Thumbprint), []byte(b.Key), []byte(b.Phone))
}

// SealPassword seals a password to the platform's public key (32 bytes).
func SealPassword(pub []byte, binding PasswordBinding, password string) ([]byte, error) {
	return sealPassword(pub, binding.info(), password)
}

// OpenPassword is the platform's side of SealPassword; any difference gives ErrSeal.
func OpenPassword(key hpke.PrivateKey, binding PasswordBinding, seal []byte) (string, error) {
	return openPassword(key, binding.info(), seal)
}
