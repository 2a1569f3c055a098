package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store/storetest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) core.Store { return open(t, t.TempDir()) })
}

func TestJournalConformance(t *testing.T) {
	wallettest.JournalSuite(t, func(t *testing.T) wallettest.KeptJournal { return open(t, t.TempDir()) })
}

func writeStages(t *testing.T, s *Store, key string, stages ...wallet.Stage) {
	t.Helper()
	for _, stage := range stages {
		require.NoError(t, s.Write(t.Context(), storetest.Entry(key, stage)))
	}
}

func stageOf(t *testing.T, s *Store, key string) wallet.Stage {
	t.Helper()
	entry, _, err := s.Latest(t.Context(), key)
	require.NoError(t, err)
	return entry.Stage
}

// The promise of the journal rests on these settings, on every connection.
func TestEveryConnectionFlushes(t *testing.T) {
	s := open(t, t.TempDir())
	var connections []*sql.Conn
	for range 4 {
		conn, err := s.db.Conn(t.Context())
		require.NoError(t, err)
		connections = append(connections, conn)
	}
	for _, conn := range connections {
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000"} {
			var got string
			require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
		require.NoError(t, conn.Close())
	}
}

func TestOpenAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile 50% #1?", "钱包")
	s := open(t, dir)
	writeStages(t, s, "k", wallet.StageIntent, wallet.StageAsked)
	before, err := s.Mark(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s = open(t, dir)
	after, err := s.Mark(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.FileExists(t, filepath.Join(dir, "wallet.db"))
	require.NoError(t, s.VerifyChain(t.Context()))
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps its own lists")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	var warnings []string
	s, err := Open(dir, Options{Warn: func(text string) { warnings = append(warnings, text) }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	require.Len(t, warnings, 1)
	writeStages(t, s, "k", wallet.StageIntent)
	require.NoError(t, s.Put(t.Context(), "refresh", []byte("x")))
	unlock, err := s.LockMoney(t.Context())
	require.NoError(t, err)
	defer unlock()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s is %s", path, info.Mode())
		return nil
	}))
	require.NoError(t, os.Chmod(filepath.Join(dir, "device.key"), 0o644))
	value, err := s.Get(t.Context(), "refresh")
	require.NoError(t, err)
	require.Equal(t, "x", string(value))
	require.Len(t, warnings, 2, "an open device.key must be repaired and told")
	info, err := os.Stat(filepath.Join(dir, "device.key"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
}

// Somebody may name a directory that holds other things: its permissions are his.
func TestForeignDirectoryKeepsItsPermissions(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600))
	require.NoError(t, os.Chmod(dir, 0o755))
	open(t, dir)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode().Perm())
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	writeStages(t, s, "k", wallet.StageIntent)
	_, err := s.db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, schemaVersion+1)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrNewer)
}

func TestSchemaVersionIsTheNewestMigration(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	require.NoError(t, err)
	require.Contains(t, files[len(files)-1], fmt.Sprintf("%05d_", schemaVersion))
}

func TestCorruptDatabase(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, content []byte) []byte
	}{
		{"no database at all", func(t *testing.T, _ []byte) []byte { return bytes.Repeat([]byte("not a database "), 1000) }},
		{"header", func(t *testing.T, content []byte) []byte { copy(content, "XXXXXXXX"); return content }},
		{"every page but the first", func(t *testing.T, content []byte) []byte {
			for i := 4096; i < len(content); i++ {
				content[i] = 0xA7
			}
			return content
		}},
		{"cut short", func(t *testing.T, content []byte) []byte { return content[:len(content)/2] }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			writeStages(t, s, "k", wallet.StageIntent, wallet.StageAsked)
			require.NoError(t, s.Close())
			path := filepath.Join(dir, "wallet.db")
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			damaged := test.damage(t, content)
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err = Open(dir, Options{})
			require.ErrorIs(t, err, ErrCorrupt)
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, damaged, kept, "a damaged file is evidence and must stay as it is")
		})
	}
}

func TestVerifyChainSeesEveryChange(t *testing.T) {
	tests := map[string]string{
		"a changed entry":     `UPDATE journal SET entry = CAST(replace(CAST(entry AS TEXT), '"amount":5000', '"amount":5001') AS BLOB) WHERE seq = 2`,
		"a changed hash":      `UPDATE journal SET hash = zeroblob(32) WHERE seq = 2`,
		"a missing row":       `DELETE FROM journal WHERE seq = 2`,
		"a changed column":    `UPDATE journal SET stage = 'CONFIRMED' WHERE seq = 3`,
		"a head turned back":  `UPDATE journal_head SET last_seq = 2`,
		"a head made final":   `UPDATE journal_head SET is_final = 1`,
		"a head lost":         `DELETE FROM journal_head`,
		"a head of nothing":   `INSERT INTO journal_head VALUES ('x', 1, 1, 0, '', '')`,
		"another card's name": `UPDATE journal SET asn = '00000000000000000000' WHERE seq = 1`,
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			writeStages(t, s, "k", wallet.StageIntent, wallet.StageOpened, wallet.StageAsked)
			require.NoError(t, s.VerifyChain(t.Context()))
			result, err := s.db.Exec(change)
			require.NoError(t, err)
			changed, err := result.RowsAffected()
			require.NoError(t, err)
			require.NotZero(t, changed)
			require.ErrorIs(t, s.VerifyChain(t.Context()), ErrCorrupt)
		})
	}
}

func TestWriteHonoursContext(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Write(ctx, storetest.Entry("k", wallet.StageIntent)), context.Canceled)
	require.Empty(t, stageOf(t, s, "k"))
}

func TestConcurrentWritersAndReaders(t *testing.T) {
	dir := t.TempDir()
	stores := []*Store{open(t, dir), open(t, dir)}
	var group sync.WaitGroup
	errs := make(chan error, 1000)
	for i := range 8 {
		s := stores[i%2]
		group.Go(func() {
			key := fmt.Sprint("k", i)
			for _, stage := range []wallet.Stage{wallet.StageIntent, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited, wallet.StageConfirmed} {
				errs <- s.Write(t.Context(), storetest.Entry(key, stage))
				_, err := s.Entries(t.Context(), core.EntryFilter{OpenOnly: true})
				errs <- err
				_, err = s.History(t.Context(), core.HistoryFilter{})
				errs <- err
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	mark, err := stores[0].Mark(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 48, mark.Seq)
	require.NoError(t, stores[1].VerifyChain(t.Context()))
}

func TestLockMoney(t *testing.T) {
	dir := t.TempDir()
	first, second := open(t, dir), open(t, dir)
	unlock, err := first.LockMoney(t.Context())
	require.NoError(t, err)
	_, err = second.LockMoney(t.Context())
	require.ErrorIs(t, err, ErrBusy)
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	}
	_, err = second.History(t.Context(), core.HistoryFilter{})
	require.NoError(t, err, "reading needs no lock")
	unlock()
	unlock()
	unlock, err = second.LockMoney(t.Context())
	require.NoError(t, err)
	unlock()
}

// A hundred thousand records are about thirty years of a busy card. No time is
// asserted; what is asserted is that paging does not sort or scan the table.
func TestLargeHistoryUsesIndexes(t *testing.T) {
	s := open(t, t.TempDir())
	asn := wallet.ASN{9}
	var records []core.SavedRecord
	for i := 60000; i > 0; i-- {
		raw := make(wallet.Hex, 23)
		raw[0], raw[1], raw[2] = byte(i>>16), byte(i>>8), byte(i)
		records = append(records, core.SavedRecord{ASN: asn, SFI: 0x18, Counter: uint16(i), Type: 6, Amount: 200, Time: time.Unix(int64(1e9+i*60), 0), Raw: raw})
	}
	require.NoError(t, s.SaveReading(t.Context(), core.SavedReading{At: time.Unix(2e9, 0), ASN: asn, Records: records}))
	page, err := s.History(t.Context(), core.HistoryFilter{Limit: 50, Offset: 30000})
	require.NoError(t, err)
	require.Equal(t, 60000, page.Total)
	require.Len(t, page.Records, 50)
	require.EqualValues(t, 30000, page.Records[0].Counter)
	require.Empty(t, page.Gaps)

	for _, filter := range []core.HistoryFilter{{}, {ASN: &asn}, {From: time.Unix(1e9, 0)}} {
		where, args := recordConditions(filter)
		rows, err := s.db.Query(`EXPLAIN QUERY PLAN SELECT r.counter FROM record r WHERE `+where+` ORDER BY r.sort_s DESC, r.id DESC LIMIT 50`, args...)
		require.NoError(t, err)
		require.NoError(t, each(rows, func(row scanner) error {
			var id, parent, unused int
			var detail string
			require.NoError(t, row.Scan(&id, &parent, &unused, &detail))
			require.Contains(t, detail, "INDEX record_")
			require.NotContains(t, detail, "TEMP B-TREE")
			return nil
		}))
	}
}

func FuzzOutboxRow(f *testing.F) {
	seed, err := encodeEntry(storetest.Entry("k", wallet.StageCredited))
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"at":"2026-03-15T09:30:45+08:00"}`))
	f.Add([]byte(`{"tac":"zz"}`))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		entry, err := decodeEntry(encoded)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := encodeEntry(entry)
		require.NoError(t, err)
		require.True(t, json.Valid(again))
		second, err := decodeEntry(again)
		require.NoError(t, err)
		third, err := encodeEntry(second)
		require.NoError(t, err)
		require.Equal(t, again, third, "the canonical form is not stable")
	})
}

// BenchmarkHistory pages in a hundred thousand records of two cards.
func BenchmarkHistory(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	for card := range 2 {
		reading := core.SavedReading{At: time.Unix(2e9, 0), ASN: wallet.ASN{byte(card)}}
		for i := 50000; i > 0; i-- {
			raw := wallet.Hex{byte(i >> 8), byte(i)}
			reading.Records = append(reading.Records, core.SavedRecord{SFI: 0x18, Counter: uint16(i), Type: 6, Amount: 200, Time: time.Unix(int64(1e9+i*60), 0), Raw: raw})
		}
		require.NoError(b, s.SaveReading(b.Context(), reading))
	}
	for name, filter := range map[string]core.HistoryFilter{
		"page": {Limit: 50}, "late page": {Limit: 50, Offset: 90000}, "text": {Limit: 50, Text: "ABCD"}, "all": {},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := s.History(b.Context(), filter)
				require.NoError(b, err)
			}
		})
	}
}
