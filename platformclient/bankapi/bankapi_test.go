package bankapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

func day() Day {
	at := time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)
	return Day{Bank: "demo-bank", Merchant: "105", Day: "20260315", Batch: 5, Lines: []Line{
		{Kind: LineDebit, Serial: "260315-01-000001", Journal: "J1", Amount: 100_00, Time: at},
		{Kind: LineOrder, Serial: "260315-01-000002", Journal: "J2", Amount: 20_00, Time: at},
		{Kind: LineReversal, Serial: "260315-01-000002R", Of: "260315-01-000002", Journal: "J3", Amount: 20_00, Time: at},
		{Kind: LineRefund, Serial: "r-001", Of: "260315-01-000001", Journal: "J4", Amount: 1, Time: at},
		{Kind: LinePayout, Serial: "r-002", Journal: "J5", Amount: 2, Time: at},
	}}
}

func TestStatement(t *testing.T) {
	file := day().Marshal()
	read, err := ParseDay(file)
	require.NoError(t, err)
	require.Equal(t, day(), read)
	require.Equal(t, wallet.Fen(100_00-3), read.Net())

	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	sig := SignStatement(file, private)
	require.True(t, VerifyStatement(file, sig, public))
	for i := range file { // no byte of it can be changed
		changed := append([]byte{}, file...)
		changed[i] ^= 1
		_, err := ParseDay(changed)
		require.Error(t, err, "byte %d", i)
		require.False(t, VerifyStatement(changed, sig, public))
	}
	for cut := range file {
		_, err := ParseDay(file[:cut])
		require.Error(t, err, "cut at %d", cut)
	}
	_, err = ParseDay(append(file, "D|DEBIT|a||J9|1|2026-03-15T01:30:45Z\n"...))
	require.Error(t, err)
}

func FuzzStatement(f *testing.F) {
	f.Add(day().Marshal())
	f.Add(Day{Bank: "b", Merchant: "m", Day: "20260315", Batch: 1}.Marshal())
	f.Add([]byte("H|1|b|m|20260315|1|CNY\nT|0|0|\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		read, err := ParseDay(file)
		if err == nil {
			require.Equal(t, file, read.Marshal(), "what was read is what was written")
		}
	})
}

func TestCallback(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, profile := range []string{ProfileStrong, ProfileLegacy} {
		signed, err := SignCallback(Callback{MerchantID: "105", OrderID: "12", Payment: 300, Journal: "J1", Success: true, Profile: profile}, key)
		require.NoError(t, err)
		read, err := ParseCallback([]byte(signed.Form()))
		require.NoError(t, err)
		require.Equal(t, signed, read)
		require.NoError(t, read.Verify(&key.PublicKey))
		for _, change := range []func(*Callback){
			func(c *Callback) { c.Payment++ }, func(c *Callback) { c.OrderID = "13" }, func(c *Callback) { c.Journal = "J2" },
			func(c *Callback) { c.Success = false }, func(c *Callback) { c.MerchantID = "106" }, func(c *Callback) { c.Sign[0] ^= 1 },
		} {
			changed := read
			changed.Sign = append([]byte{}, read.Sign...)
			change(&changed)
			require.ErrorIs(t, changed.Verify(&key.PublicKey), ErrCallbackSign)
		}
		// Fields that run into each other have one signature of old, and two of ours.
		moved := read
		moved.MerchantID, moved.OrderID = "1051", "2"
		require.Equal(t, profile == ProfileLegacy, moved.Verify(&key.PublicKey) == nil)
	}
	for _, bad := range []string{"", "MERCHANTID=1", "a=%zz"} {
		_, err := ParseCallback([]byte(bad))
		require.ErrorIs(t, err, ErrCallback)
	}
}

func FuzzCallback(f *testing.F) {
	f.Add([]byte(Callback{MerchantID: "105", OrderID: "12", Payment: 300, Journal: "J1", Success: true, Profile: ProfileStrong, Sign: []byte{1, 2}}.Form()))
	f.Add([]byte(Callback{MerchantID: "105", OrderID: "12", Payment: 1, Journal: "J1", Profile: ProfileLegacy, Sign: []byte{1, 2}}.Form()))
	f.Add([]byte("MERCHANTID=1&MERCHANTID=2"))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte) {
		read, err := ParseCallback(body)
		if err != nil {
			return
		}
		again, err := ParseCallback([]byte(read.Form()))
		require.NoError(t, err)
		require.Equal(t, read, again)
		require.Error(t, read.Verify(&key.PublicKey), "no bytes of a stranger are signed")
	})
}

func FuzzGatewayRequest(f *testing.F) {
	f.Add(GatewayRequest{MerchantID: "105", OrderID: "o-1", Payment: "80.00", Magic: Magic("105", "o-1", "80.00")}.Query())
	f.Add("TXCODE=MP6000&MERCHANTID=1&ORDERID=2&PAYMENT=-1")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		read, err := ParseGateway(values)
		if err != nil {
			return
		}
		amount, err := wallet.ParseYuan(read.Payment)
		require.NoError(t, err)
		require.Positive(t, amount)
	})
}

func TestGatewayRequest(t *testing.T) {
	request := GatewayRequest{MerchantID: "105", OrderID: "o-1", Payment: "1234.50", InvalidTime: "20260315120000", Remark1: "充值", WapVer: "1.2", Magic: Magic("105", "o-1", "1234.50")}
	values, err := url.ParseQuery(request.Query())
	require.NoError(t, err)
	read, err := ParseGateway(values)
	require.NoError(t, err)
	require.Equal(t, request, read)
	values.Set("PAYMENT", "0.01")
	_, err = ParseGateway(values)
	require.Error(t, err, "MAGIC notices a slip of a finger")
	values.Set("MAGIC", Magic("105", "o-1", "0.01"))
	_, err = ParseGateway(values)
	require.NoError(t, err, "and nobody who computes it anew, which is why nobody believes it")
}

func TestPartnerFile(t *testing.T) {
	_, err := ParsePartner([]byte(`{"bank":"b","unknown":1}`))
	require.Error(t, err)
	_, err = ParsePartner([]byte(`{"bank":"b","name":"n","merchant_id":"m","url":"http://x"}`))
	require.ErrorContains(t, err, "https")
	_, err = ParsePartner(make([]byte, maxPartner+1))
	require.Error(t, err)
}
