// Package mocktest presents the reference platform, served over TLS, to the
// conformance suite of platforms.
package mocktest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/platformclient/platformtest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// The person and the merchant whom the suite plays.
const (
	phone    = "13800000001"
	merchant = "Tea House"
)

// Subject starts a reference platform that listens on the loopback interface.
func Subject(t *testing.T) platformtest.Subject {
	platform, err := mockplatform.Open(mockplatform.Config{Dir: t.TempDir(), Demo: true, Bank: bank(t)})
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
	merchantKey := ed25519.NewKeyFromSeed(random(t, ed25519.SeedSize))
	require.NoError(t, platform.RegisterMerchant(t.Context(), merchant, merchantKey.Public().(ed25519.PublicKey)))
	credentials := platform.Profile().DemoCredentials
	return platformtest.Subject{
		Profile: platform.Profile(), Phone: phone,
		LoginPassword: credentials.LoginPassword, PaymentPassword: credentials.PaymentPassword,
		Merchant: merchant, MerchantKey: merchantKey,
		SMSCode: func(context.Context, string) (string, error) { return credentials.SMSCode, nil },
		Staff: func(t *testing.T, role string) (name, password string) {
			name, password = role+"-"+hex.EncodeToString(random(t, 4)), hex.EncodeToString(random(t, 8))
			require.NoError(t, platform.AddStaff(t.Context(), name, role, password))
			return name, password
		},
		Voucher: func(t *testing.T) (serial, pin string, value wallet.Fen) {
			return Voucher(t, platform)
		},
		Card: func(t *testing.T, balance wallet.Fen) platformtest.Chip {
			return Card(t, platform, balance)
		},
	}
}

// Voucher puts a new voucher into use.
func Voucher(t *testing.T, platform *mockplatform.Platform) (serial, pin string, value wallet.Fen) {
	value = mockplatform.VoucherValues[0]
	var file bytes.Buffer
	_, err := platform.MakeVouchers(&file, value, 1)
	require.NoError(t, err)
	for line := range strings.Lines(file.String()) {
		if fields := strings.Split(line, "|"); fields[0] == "D" {
			serial, pin = fields[1], fields[2]
		}
	}
	_, err = platform.ImportVouchers(t.Context(), &file, false)
	require.NoError(t, err)
	return serial, pin, value
}

// bank serves a virtual bank when it is first needed.
func bank(t *testing.T) func(context.Context) (bankapi.Partner, error) {
	dir := t.TempDir()
	open := sync.OnceValues(func() (*mockbank.Bank, error) {
		made, err := mockbank.Open(mockbank.Config{Dir: dir})
		if err != nil {
			return nil, err
		}
		server, err := made.Serve(context.Background(), "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			require.NoError(t, server.Close())
			report, err := made.Check(context.Background())
			require.NoError(t, err)
			require.True(t, report.OK(), "books of the bank: %+v", report)
			require.NoError(t, made.Close())
		})
		return made, nil
	})
	return func(context.Context) (bankapi.Partner, error) {
		made, err := open()
		if err != nil {
			return bankapi.Partner{}, err
		}
		return made.Partner()
	}
}

func random(t *testing.T, count int) []byte {
	drawn := make([]byte, count)
	_, err := rand.Read(drawn)
	require.NoError(t, err)
	return drawn
}

// Card makes a chip whose keys the platform's masters give, in the person's account.
func Card(t *testing.T, platform *mockplatform.Platform, balance wallet.Fen) *virtualcard.Card {
	asn := wallet.ASN(append([]byte{0, 0}, random(t, 8)...))
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
