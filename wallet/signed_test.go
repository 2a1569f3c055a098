package wallet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// Bytes that nobody signed are not even looked at: whoever forges an answer learns
// nothing from how it is read, and a target that a caller uses in spite of the error
// holds nothing of it.
func TestSignerKeys_ReadNothingBeforeTheSignature(t *testing.T) {
	s := newStage()
	signed, err := wallet.Sign(wallet.DomainGrant, wallet.Grant{Order: "20260301-01", Amount: 5000}, s.issuer.Key)
	require.NoError(t, err)
	var grant wallet.Grant
	require.NoError(t, s.issuer.Signers().Open(wallet.DomainGrant, signed, &grant))
	require.Equal(t, wallet.Fen(5000), grant.Amount, "what is signed is read, so that the test can fail")

	forged := map[string]wallet.Signed{
		"another payload":  {Payload: []byte(`{"order":"20260301-01","amount":1}`), Sig: signed.Sig, KID: signed.KID},
		"no JSON":          {Payload: []byte(`{"order":`), Sig: signed.Sig, KID: signed.KID},
		"nothing":          {Sig: signed.Sig, KID: signed.KID},
		"no signature":     {Payload: signed.Payload, KID: signed.KID},
		"an unknown key":   {Payload: signed.Payload, Sig: signed.Sig, KID: "0011223344556677"},
		"without key name": {Payload: signed.Payload, Sig: signed.Sig},
	}
	for name, carrier := range forged {
		t.Run(name, func(t *testing.T) {
			var target wallet.Grant
			require.ErrorIs(t, s.issuer.Signers().Open(wallet.DomainGrant, carrier, &target), wallet.ErrSignature)
			require.Zero(t, target)
		})
	}
	t.Run("another domain", func(t *testing.T) {
		var target wallet.Grant
		require.ErrorIs(t, s.issuer.Signers().Open(wallet.DomainOrder, signed, &target), wallet.ErrSignature)
		require.Zero(t, target)
	})
}
