package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

func TestLoginSealOpensForItsBindingOnly(t *testing.T) {
	key, err := NewSealKey()
	require.NoError(t, err)
	binding := LoginBinding{Route: PathSession, Thumbprint: "device-a", Nonce: "nonce", Phone: "13300000001"}
	seal, err := SealLogin(key.PublicKey().Bytes(), binding, "correct horse")
	require.NoError(t, err)
	password, err := OpenLogin(key, binding, seal)
	require.NoError(t, err)
	require.Equal(t, "correct horse", password)

	others := map[string]LoginBinding{
		"route":                    {PathDevices, "device-a", "nonce", "13300000001"},
		"device":                   {PathSession, "device-b", "nonce", "13300000001"},
		"nonce":                    {PathSession, "device-a", "nonc2", "13300000001"},
		"phone":                    {PathSession, "device-a", "nonce", "13300000002"},
		"boundary between two":     {PathSession, "device-an", "once", "13300000001"},
		"boundary before the last": {PathSession, "device-a", "nonce1", "3300000001"},
	}
	for name, other := range others {
		_, err := OpenLogin(key, other, seal)
		require.ErrorIs(t, err, ErrSeal, name)
	}
	_, err = OpenPayment(key, OrderCore{}, seal)
	require.ErrorIs(t, err, ErrSeal)
	foreign, err := NewSealKey()
	require.NoError(t, err)
	_, err = OpenLogin(foreign, binding, seal)
	require.ErrorIs(t, err, ErrSeal)
}

func TestPaymentSealOpensForItsOrderOnly(t *testing.T) {
	key, err := NewSealKey()
	require.NoError(t, err)
	raw, err := key.Bytes()
	require.NoError(t, err)
	kept, err := ParseSealKey(raw)
	require.NoError(t, err)
	core := OrderCore{ASN: wallet.ASN{9: 1}, Amount: 5000, Fee: 100, Source: "main", Key: "k1"}
	seal, err := SealPayment(key.PublicKey().Bytes(), core, "123456")
	require.NoError(t, err)
	pin, err := OpenPayment(kept, core, seal)
	require.NoError(t, err)
	require.Equal(t, "123456", pin)

	changes := map[string]func(*OrderCore){
		"asn":    func(c *OrderCore) { c.ASN[0] = 1 },
		"amount": func(c *OrderCore) { c.Amount++ },
		"fee":    func(c *OrderCore) { c.Fee-- },
		"source": func(c *OrderCore) { c.Source = "mai" },
		"key":    func(c *OrderCore) { c.Key = "k2" },
		"moved":  func(c *OrderCore) { c.Source, c.Key = "maink", "1" },
	}
	for name, change := range changes {
		other := core
		change(&other)
		require.NotEqual(t, OrderCoreHash(core), OrderCoreHash(other), name)
		_, err := OpenPayment(key, other, seal)
		require.ErrorIs(t, err, ErrSeal, name)
	}
	for bit := range len(seal) * 8 {
		altered := bytes.Clone(seal)
		altered[bit/8] ^= 1 << (bit % 8)
		pin, err := OpenPayment(key, core, altered)
		// X25519 ignores the top bit of its input, but HPKE mixes the bytes in.
		require.ErrorIs(t, err, ErrSeal, "bit %d", bit)
		require.Empty(t, pin)
	}
}

func TestSealsHaveOneSize(t *testing.T) {
	key, err := NewSealKey()
	require.NoError(t, err)
	sizes := map[int]bool{}
	for _, n := range []int{1, 6, 20, MaxPasswordLen} {
		password := strings.Repeat("p", n)
		seal, err := SealLogin(key.PublicKey().Bytes(), LoginBinding{}, password)
		require.NoError(t, err)
		sizes[len(seal)] = true
		opened, err := OpenLogin(key, LoginBinding{}, seal)
		require.NoError(t, err)
		require.Equal(t, password, opened)
	}
	require.Len(t, sizes, 1)
	for _, n := range []int{0, MaxPasswordLen + 1} {
		_, err := SealLogin(key.PublicKey().Bytes(), LoginBinding{}, strings.Repeat("p", n))
		require.ErrorIs(t, err, ErrPasswordLength)
	}
	_, err = SealLogin([]byte("short"), LoginBinding{}, "p")
	require.Error(t, err)
}
