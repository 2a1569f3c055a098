package store

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// A look finds what is there and makes nothing.
func TestInspect(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "profile")
	found, err := Inspect(ctx, dir)
	require.NoError(t, err)
	require.False(t, found.Exists)
	require.NoDirExists(t, dir, "looking makes no profile")

	kept, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, kept.Put(ctx, "session", []byte("secret")))
	require.NoError(t, kept.PutSetting(ctx, "platform.url", "https://pay.example"))
	asn, err := wallet.ParseASN("6210000012345678")
	require.NoError(t, err)
	require.NoError(t, kept.SaveReading(ctx, core.SavedReading{At: time.Now(), ASN: asn, Number: "6210", Profile: "pboc-ep", AID: wallet.Hex{0xA0}}))

	found, err = Inspect(ctx, dir) // while another one has it open
	require.NoError(t, err)
	require.True(t, found.Exists)
	require.Equal(t, "wal", found.JournalMode)
	require.Equal(t, found.Known, found.Version)
	require.Equal(t, 1, found.Cards)
	require.Equal(t, 1, found.Secrets)
	require.Equal(t, "https://pay.example", found.PlatformURL)
	require.False(t, found.MoneyHeld)
	require.WithinDuration(t, time.Now(), found.LastWrite, time.Minute)

	unlock, err := kept.LockMoney(ctx)
	require.NoError(t, err)
	found, err = Inspect(ctx, dir)
	require.NoError(t, err)
	require.True(t, found.MoneyHeld)
	require.Equal(t, os.Getpid(), found.MoneyHolder)
	unlock()
	unlock, err = kept.LockMoney(ctx)
	require.NoError(t, err, "looking leaves no lock behind")
	unlock()

	// A holder that was killed leaves its number and no lock.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "money.lock"), []byte("4711\n"), 0o600))
	found, err = Inspect(ctx, dir)
	require.NoError(t, err)
	require.False(t, found.MoneyHeld)
	require.NoError(t, kept.Close())
}

func TestInspect_Damage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wallet.db")
	require.NoError(t, os.WriteFile(path, []byte("this is no database, whatever its name says; it is only a text"), 0o600))
	_, err := Inspect(t.Context(), dir)
	require.ErrorIs(t, err, ErrCorrupt)

	require.NoError(t, os.WriteFile(path, nil, 0o600))
	found, err := Inspect(t.Context(), dir)
	require.NoError(t, err, "made, and not filled yet")
	require.True(t, found.Exists)

	kept, err := Open(filepath.Join(dir, "newer"), Options{})
	require.NoError(t, err)
	_, err = kept.db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, schemaVersion+1)
	require.NoError(t, err)
	require.NoError(t, kept.Close())
	_, err = Inspect(t.Context(), filepath.Join(dir, "newer"))
	require.ErrorIs(t, err, ErrNewer)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Inspect(ctx, filepath.Join(dir, "newer"))
	require.ErrorIs(t, err, context.Canceled)
}

// A page in the middle that was overwritten is found: opening alone does not find it.
func TestInspect_BrokenPage(t *testing.T) {
	dir := t.TempDir()
	kept, err := Open(dir, Options{})
	require.NoError(t, err)
	for range 50 {
		require.NoError(t, kept.PutSetting(t.Context(), time.Now().String(), "some text that fills pages, and more of it, and more"))
	}
	require.NoError(t, kept.Close())
	path := filepath.Join(dir, "wallet.db")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := len(raw) - 4096; at < len(raw); at++ {
		raw[at] = 0x5A
	}
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = Inspect(t.Context(), dir)
	require.ErrorIs(t, err, ErrCorrupt)
}

// A program that keeps the database to itself, as a browser for databases may.
func TestInspect_Locked(t *testing.T) {
	dir := t.TempDir()
	kept, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, kept.Close())
	other, err := sql.Open("sqlite", dataSource(filepath.Join(dir, "wallet.db"), time.Second))
	require.NoError(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err = other.Exec(`PRAGMA locking_mode = EXCLUSIVE`)
	require.NoError(t, err)
	_, err = other.Exec(`INSERT INTO setting (name, value) VALUES ('a', 'b')`)
	require.NoError(t, err)
	_, err = Inspect(t.Context(), dir)
	require.ErrorIs(t, err, ErrLocked)
}
