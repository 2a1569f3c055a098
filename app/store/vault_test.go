package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// lease builds a lease that expires some minutes after 2026-03-15 00:00 UTC.
func lease(number byte, epoch, minute int) wallet.Lease {
	return wallet.Lease{
		TID: wallet.TerminalNumber{5, 4, 3, 2, 1, number}, Device: "device-1", Epoch: epoch,
		Expires: time.Date(2026, 3, 15, 0, minute, 0, 5, time.UTC),
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	value, err := s.Get(t.Context(), "refresh")
	require.NoError(t, err)
	require.Nil(t, value)
	require.NoFileExists(t, filepath.Join(dir, "device.key"), "reading makes no key")
	require.NoError(t, s.Put(t.Context(), "refresh", []byte("one")))
	require.NoError(t, s.Put(t.Context(), "refresh", []byte("two")))
	require.NoError(t, s.Put(t.Context(), "empty", []byte{}))
	require.NoError(t, s.Close())
	s = open(t, dir)
	value, err = s.Get(t.Context(), "refresh")
	require.NoError(t, err)
	require.Equal(t, "two", string(value))
	value, err = s.Get(t.Context(), "empty")
	require.NoError(t, err)
	require.NotNil(t, value)
	require.Empty(t, value)
	require.NoError(t, s.Put(t.Context(), "refresh", nil))
	value, err = s.Get(t.Context(), "refresh")
	require.NoError(t, err)
	require.Nil(t, value)
}

func TestSecretIsBoundToItsName(t *testing.T) {
	s := open(t, t.TempDir())
	require.NoError(t, s.Put(t.Context(), "a", []byte("one")))
	require.NoError(t, s.Put(t.Context(), "b", []byte("two")))
	_, err := s.db.Exec(`UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE name = 'a') WHERE name = 'b'`)
	require.NoError(t, err)
	_, err = s.Get(t.Context(), "b")
	require.ErrorIs(t, err, ErrDeviceKey)
}

func TestLostDeviceKey(t *testing.T) {
	lose := map[string]func(path string) error{
		"gone":  os.Remove,
		"short": func(path string) error { return os.Truncate(path, 7) },
		"other": func(path string) error { return os.WriteFile(path, make([]byte, 32), 0o600) },
	}
	for name, lose := range lose {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			require.NoError(t, s.Put(t.Context(), "refresh", []byte("one")))
			require.NoError(t, s.Put(t.Context(), "key", []byte("two")))
			require.NoError(t, s.Close())
			require.NoError(t, lose(filepath.Join(dir, "device.key")))
			s = open(t, dir)
			_, err := s.Get(t.Context(), "refresh")
			require.ErrorIs(t, err, ErrDeviceKey)
			require.ErrorContains(t, err, "log in again")
			require.ErrorIs(t, s.CheckSecrets(t.Context()), ErrDeviceKey)
			require.NoError(t, s.Put(t.Context(), "refresh", []byte("new")), "a new login must be possible")
			value, err := s.Get(t.Context(), "refresh")
			require.NoError(t, err)
			require.Equal(t, "new", string(value))
			_, err = s.Get(t.Context(), "key")
			require.ErrorIs(t, err, ErrDeviceKey, "what the lost key sealed stays unreadable")
			require.ErrorIs(t, s.CheckSecrets(t.Context()), ErrDeviceKey)
			require.NoError(t, s.ForgetSecrets(t.Context()))
			require.NoError(t, s.CheckSecrets(t.Context()))
			value, err = s.Get(t.Context(), "key")
			require.NoError(t, err)
			require.Nil(t, value)
		})
	}
}

func TestLeases(t *testing.T) {
	s := open(t, t.TempDir())
	now := lease(0, 1, 10).Expires
	leases := []wallet.Lease{lease(1, 1, 30), lease(2, 1, 20), lease(3, 1, 10), lease(4, 2, 15)}
	require.NoError(t, s.PutLeases(t.Context(), leases))
	count, err := s.LeaseCount(t.Context(), 1, now)
	require.NoError(t, err)
	require.Equal(t, 2, count, "an expired one and one of another epoch do not count")
	taken, err := s.TakeLease(t.Context(), 1, now)
	require.NoError(t, err)
	require.Equal(t, leases[1], taken, "the one that expires first")
	require.NoError(t, s.PutLeases(t.Context(), leases), "a repeated answer of the platform")
	taken, err = s.TakeLease(t.Context(), 1, now)
	require.NoError(t, err)
	require.Equal(t, leases[0], taken, "a used number came back")
	_, err = s.TakeLease(t.Context(), 1, now)
	require.ErrorIs(t, err, ErrNoLease)
	count, err = s.LeaseCount(t.Context(), 1, now)
	require.NoError(t, err)
	require.Zero(t, count)
	taken, err = s.TakeLease(t.Context(), 2, now)
	require.NoError(t, err)
	require.Equal(t, leases[3], taken)
}
