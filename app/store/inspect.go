package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrLocked means that another program keeps the whole database to itself.
var ErrLocked = errors.New("another program has locked the database")

// Inspection is what a look into a profile tells without changing anything: no
// folder is made, no table brought up to date, no permission mended. SQLite may leave
// its helper files beside the database, as every reader does.
type Inspection struct {
	Exists      bool   // there is a database
	Version     int    // of its tables
	Known       int    // that this program knows
	JournalMode string // "wal" is right
	MoneyHeld   bool   // another process moves money with this profile
	MoneyHolder int    // its number, where it can be read
	LastWrite   time.Time

	Cards      int // that were ever read here
	Secrets    int // of logins
	Entries    int // of the journal
	OpenOrders int

	PlatformURL     string // that was named last, empty: none
	PlatformProfile string // its profile file
}

// Inspect looks into the profile of a folder. Errors: ErrNewer, ErrCorrupt, ErrLocked, or
// the system's; what could be read until then is returned with them. A profile that does
// not exist yet is no error.
func Inspect(ctx context.Context, dir string) (found Inspection, err error) {
	found.Known = schemaVersion
	path := filepath.Join(dir, databaseName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	file, err := os.Open(path) // says "permission denied" more plainly than SQLite
	if err != nil {
		return found, err
	}
	_ = file.Close()
	found.Exists, found.LastWrite = true, info.ModTime()
	if log, err := os.Stat(path + "-wal"); err == nil && log.ModTime().After(found.LastWrite) {
		found.LastWrite = log.ModTime()
	}
	found.MoneyHeld, found.MoneyHolder = moneyHeld(filepath.Join(dir, moneyLockName))
	if info.Size() == 0 {
		return found, nil // made, and not filled yet
	}
	db, err := sql.Open("sqlite", readOnlySource(path))
	if err != nil {
		return found, err
	}
	defer db.Close()
	if err := found.look(ctx, db); err != nil {
		var cause *sqlite.Error
		if errors.As(err, &cause) && cause.Code()&0xFF == sqlite3.SQLITE_BUSY {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return found, fmt.Errorf("look into %s: %w", databaseName, explain(err))
	}
	return found, nil
}

// readOnlySource names the database for looking only.
func readOnlySource(path string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	settings := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}
	location := url.URL{Scheme: "file", Path: slashed, RawQuery: settings.Encode()}
	return location.String()
}

func (i *Inspection) look(ctx context.Context, db *sql.DB) error {
	view := &Store{db: db}
	var err error
	if err = db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&i.JournalMode); err != nil {
		return err
	}
	if i.Version, err = view.version(ctx); err != nil {
		return err
	}
	if i.Version > schemaVersion {
		return ErrNewer
	}
	var answer string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fmt.Errorf("%w: %s", ErrCorrupt, answer)
	}
	if i.Version == 0 {
		return nil
	}
	for _, count := range []struct {
		into  *int
		query string
	}{
		{&i.Cards, `SELECT count(*) FROM card`},
		{&i.Secrets, `SELECT count(*) FROM secret`},
		{&i.Entries, `SELECT count(*) FROM journal`},
		{&i.OpenOrders, `SELECT count(*) FROM journal_head WHERE is_final = 0`},
	} {
		if err := db.QueryRowContext(ctx, count.query).Scan(count.into); err != nil {
			return err
		}
	}
	if i.PlatformURL, err = view.Setting(ctx, "platform.url"); err != nil {
		return err
	}
	i.PlatformProfile, err = view.Setting(ctx, "platform.profile")
	return err
}

// moneyHeld looks whether the money lock is taken. Only where its file names a process
// is the lock tried, so that looking never stands in the way of one that takes it: a
// number is there while it is held, and after a holder was killed.
func moneyHeld(path string) (held bool, holder int) {
	holder = lockHolder(path)
	if holder == 0 {
		return false, 0
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if err == nil && free {
		_ = lock.Unlock()
		return false, 0 // a process that was killed left its number behind
	}
	return true, holder
}
