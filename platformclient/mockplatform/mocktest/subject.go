// Package mocktest presents the reference platform, served over TLS, to the
// conformance suite of platforms.
package mocktest

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/platformclient/platformtest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// phone is that of the person whom the suite plays.
const phone = "13800000001"

// Subject starts a reference platform that listens on the loopback interface.
func Subject(t *testing.T) platformtest.Subject {
	platform, err := mockplatform.Open(mockplatform.Config{Dir: t.TempDir(), Demo: true})
	require.NoError(t, err)
	server, err := platform.Serve(context.Background(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		report, err := platform.Check(context.Background())
		require.NoError(t, err)
		require.True(t, report.OK(), "books: %+v", report)
		require.NoError(t, platform.Close())
	})
	require.NoError(t, platform.Seed(t.Context(), phone, 500000, nil, ""))
	credentials := platform.Profile().DemoCredentials
	return platformtest.Subject{
		Profile: platform.Profile(), Phone: phone,
		LoginPassword: credentials.LoginPassword, PaymentPassword: credentials.PaymentPassword,
		SMSCode: func(context.Context, string) (string, error) { return credentials.SMSCode, nil },
		Card: func(t *testing.T, balance wallet.Fen) platformtest.Chip {
			return Card(t, platform, balance)
		},
	}
}

// Card makes a chip whose keys the platform's masters give, in the person's account.
func Card(t *testing.T, platform *mockplatform.Platform, balance wallet.Fen) *virtualcard.Card {
	var asn wallet.ASN
	_, err := rand.Read(asn[2:])
	require.NoError(t, err)
	exported, err := platform.IssueCard(t.Context(), asn)
	require.NoError(t, err)
	keys := &virtualcard.Keys{}
	for text, key := range map[*string]*epcrypto.Key16{&exported.DLK: &keys.DLK, &exported.DPK: &keys.DPK, &exported.DTK: &keys.DTK} {
		parsed, err := epcrypto.ParseKey16(*text)
		require.NoError(t, err)
		*key = parsed
	}
	card, err := virtualcard.New(virtualcard.Spec{ASN: asn, Balance: balance, Keys: keys}, rand.Reader)
	require.NoError(t, err)
	card.SetDelay(nil)
	require.NoError(t, platform.Seed(t.Context(), phone, 0, []wallet.ASN{asn}, ""))
	return card
}
