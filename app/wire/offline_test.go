package wire_test

import (
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// fullCard makes a card whose log is full: ten records.
func fullCard(t *testing.T, dir string) string {
	t.Helper()
	card, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{2: 0x10, 9: 0x99}, Balance: opening, Records: 10}, rand.Reader)
	require.NoError(t, err)
	image, err := card.Image()
	require.NoError(t, err)
	file := filepath.Join(dir, "card.json")
	require.NoError(t, os.WriteFile(file, image, 0o600))
	return file
}

// TestE2E_OfflineQuery_ReadOnly reads a card while a platform is configured that
// must not be talked to. The card's file stays as it was, byte for byte.
func TestE2E_OfflineQuery_ReadOnly(t *testing.T) {
	dir := t.TempDir()
	card := fullCard(t, dir)
	before, err := os.ReadFile(card)
	require.NoError(t, err)
	stat, err := os.Stat(card)
	require.NoError(t, err)

	platform, dialled := countingPlatform(t)
	program, err := wire.Open(t.Context(), wire.Options{Reader: "virtual:" + card, Platform: platform, ProfileDir: filepath.Join(dir, "profile")})
	require.NoError(t, err)
	defer program.Close()
	require.Nil(t, program.Core.Platform, "a program that is not online has no platform to ask")
	require.Nil(t, program.Demo)

	var early wallet.Purse
	result, err := program.Core.Query(t.Context(), func(purse wallet.Purse) { early = purse })
	require.NoError(t, err)
	require.NoError(t, result.Warning)
	reading := result.Reading
	require.Equal(t, opening, early.Balance, "the balance is told before the records are read")
	require.Empty(t, early.Records)
	require.Len(t, reading.Purses, 1)
	require.Len(t, reading.Purses[0].Records, 10)
	require.True(t, reading.Purses[0].Complete)
	require.Equal(t, 13, reading.APDUs)
	require.Equal(t, 2, reading.APDUsToBalance)

	after, err := os.ReadFile(card)
	require.NoError(t, err)
	require.Equal(t, before, after)
	again, err := os.Stat(card)
	require.NoError(t, err)
	require.True(t, os.SameFile(stat, again), "the card's file was written anew")
	require.Zero(t, dialled.Load())
}

// countingPlatform is an address that counts who dials it.
func countingPlatform(t *testing.T) (url string, dialled *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	dialled = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			conn.Close()
		}
	}()
	return "https://" + listener.Addr().String(), dialled
}
