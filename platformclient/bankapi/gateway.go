package bankapi

import (
	"crypto"
	"crypto/md5" //nolint:gosec // the old profile has nothing better, and is never believed
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"walletcompanion/wallet"
)

// TxCode is the transaction code of order pay at the gateway.
const TxCode = "MP6000"

// GatewayRequest is the request of old with which a browser comes to the gateway.
// MAGIC is an MD5 over public fields: anybody can compute it anew after changing the
// amount. A bank may accept it; nobody may believe it, and least of all the partner
// whose order it claims to be.
type GatewayRequest struct {
	MerchantID  string
	OrderID     string
	Payment     string // yuan
	InvalidTime string
	Remark1     string
	Remark2     string
	WapVer      string
	Magic       string
}

// Magic computes the field MAGIC.
func Magic(merchantID, orderID, payment string) string {
	sum := md5.Sum([]byte(TxCode + merchantID + orderID + payment))
	return hex.EncodeToString(sum[:])
}

// Query writes the request as the query of an address.
func (g GatewayRequest) Query() string {
	return url.Values{
		"TXCODE": {TxCode}, "MERCHANTID": {g.MerchantID}, "ORDERID": {g.OrderID}, "PAYMENT": {g.Payment}, "INVALIDTIME": {g.InvalidTime},
		"REMARK1": {g.Remark1}, "REMARK2": {g.Remark2}, "WAPVER": {g.WapVer}, "MAGIC": {g.Magic},
	}.Encode()
}

// ParseGateway reads the fields of an address and checks MAGIC.
func ParseGateway(query url.Values) (GatewayRequest, error) {
	g := GatewayRequest{
		MerchantID: query.Get("MERCHANTID"), OrderID: query.Get("ORDERID"), Payment: query.Get("PAYMENT"), InvalidTime: query.Get("INVALIDTIME"),
		Remark1: query.Get("REMARK1"), Remark2: query.Get("REMARK2"), WapVer: query.Get("WAPVER"), Magic: query.Get("MAGIC"),
	}
	if query.Get("TXCODE") != TxCode || !plain(g.MerchantID) || !plain(g.OrderID) || len(g.Remark1)+len(g.Remark2) > 256 {
		return GatewayRequest{}, errors.New("this is no payment request")
	}
	if amount, err := wallet.ParseYuan(g.Payment); err != nil || amount <= 0 {
		return GatewayRequest{}, errors.New("PAYMENT is not an amount in yuan")
	}
	if !strings.EqualFold(g.Magic, Magic(g.MerchantID, g.OrderID, g.Payment)) {
		return GatewayRequest{}, errors.New("MAGIC does not fit")
	}
	return g, nil
}

// The signature profiles of a callback.
const (
	ProfileStrong = "RSA-SHA256" // RSA 2048 with SHA-256 over lines that cannot run into each other
	ProfileLegacy = "RSA-MD5"    // RSA with MD5 over joined fields: a reason to ask the bank, and no more
)

// callbackDomain begins what the strong profile signs.
const callbackDomain = "wallet/bank-callback/1"

// MaxCallback is how many bytes a callback may have.
const MaxCallback = 4 << 10

// Callback is what the gateway tells a partner's address after a payment: a POST of
// a form with MERCHANTID, ORDERID, PAYMENT, BJOURNAL, SUCCESS, SIGNTYPE and SIGNBANK.
// Success alone is told; silence means nothing.
type Callback struct {
	MerchantID string
	OrderID    string
	Payment    wallet.Fen
	Journal    string
	Success    bool
	Profile    string
	Sign       []byte
}

// Errors of a callback.
var (
	ErrCallback     = errors.New("this is no callback of the bank")
	ErrCallbackSign = errors.New("SIGNBANK does not verify")
)

func (c Callback) success() string {
	if c.Success {
		return "Y"
	}
	return "N"
}

// signed is what SIGNBANK covers. Of old the fields were joined without anything
// between them, so that order 12 of 3.00 and order 1 of 23.00 have one signature.
func (c Callback) signed() []byte {
	fields := []string{c.MerchantID, c.OrderID, c.Payment.Yuan(), c.Journal, c.success()}
	if c.Profile == ProfileLegacy {
		return []byte(strings.Join(fields, ""))
	}
	return []byte(callbackDomain + "\n" + strings.Join(fields, "\n"))
}

func (c Callback) digest() (crypto.Hash, []byte) {
	if c.Profile == ProfileLegacy {
		sum := md5.Sum(c.signed())
		return crypto.MD5, sum[:]
	}
	sum := sha256.Sum256(c.signed())
	return crypto.SHA256, sum[:]
}

// SignCallback fills SIGNBANK in.
func SignCallback(c Callback, key *rsa.PrivateKey) (Callback, error) {
	hash, digest := c.digest()
	var err error
	c.Sign, err = rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	return c, err
}

// Verify checks SIGNBANK. A callback of ProfileLegacy that verifies is still no proof.
func (c Callback) Verify(key *rsa.PublicKey) error {
	hash, digest := c.digest()
	if key == nil || rsa.VerifyPKCS1v15(key, hash, digest, c.Sign) != nil {
		return ErrCallbackSign
	}
	return nil
}

// Form writes the body of the POST.
func (c Callback) Form() string {
	return url.Values{
		"MERCHANTID": {c.MerchantID}, "ORDERID": {c.OrderID}, "PAYMENT": {c.Payment.Yuan()}, "BJOURNAL": {c.Journal},
		"SUCCESS": {c.success()}, "SIGNTYPE": {c.Profile}, "SIGNBANK": {hex.EncodeToString(c.Sign)},
	}.Encode()
}

// callbackFields are all that a callback may hold, each once.
var callbackFields = []string{"MERCHANTID", "ORDERID", "PAYMENT", "BJOURNAL", "SUCCESS", "SIGNTYPE", "SIGNBANK"}

// ParseCallback reads a body. It checks the form, not the signature.
func ParseCallback(body []byte) (Callback, error) {
	if len(body) > MaxCallback {
		return Callback{}, ErrCallback
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form) != len(callbackFields) {
		return Callback{}, ErrCallback
	}
	for _, name := range callbackFields {
		if len(form[name]) != 1 {
			return Callback{}, ErrCallback
		}
	}
	c := Callback{
		MerchantID: form.Get("MERCHANTID"), OrderID: form.Get("ORDERID"), Journal: form.Get("BJOURNAL"),
		Success: form.Get("SUCCESS") == "Y", Profile: form.Get("SIGNTYPE"),
	}
	amount, err := wallet.ParseYuan(form.Get("PAYMENT"))
	if err != nil && !errors.Is(err, wallet.ErrAmountNeedsPoint) || amount <= 0 || amount.Yuan() != form.Get("PAYMENT") {
		return Callback{}, ErrCallback
	}
	c.Payment = amount
	if c.Sign, err = hex.DecodeString(form.Get("SIGNBANK")); err != nil || len(c.Sign) == 0 {
		return Callback{}, ErrCallback
	}
	known := c.Profile == ProfileStrong || c.Profile == ProfileLegacy
	if !known || !plain(c.MerchantID) || !plain(c.OrderID) || !plain(c.Journal) || form.Get("SUCCESS") != c.success() {
		return Callback{}, ErrCallback
	}
	return c, nil
}
