// Package store keeps what must outlive the process: the journal of loads, the
// outbox of results, receipts, the history of all cards, settings, and the secrets
// and leased terminal numbers of the platform client. It is one SQLite database,
// wallet.db, in the profile's directory; several processes may share it.
//
// Files of the directory:
//
//	wallet.db, wallet.db-wal, wallet.db-shm   the database (0600)
//	device.key                                 32 random bytes that seal the secrets (0600)
//	money.lock                                 held while a process moves money; its number inside
//	open.lock                                  held while a process opens the database
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Names of the files in the profile's directory.
const (
	databaseName  = "wallet.db"
	deviceKeyName = "device.key"
	moneyLockName = "money.lock"
	openLockName  = "open.lock"
)

// schemaVersion is the number of the newest file in migrations.
const schemaVersion = 1

// defaultBusyTimeout is longer than any transaction of ours takes, and shorter than
// a person's patience.
const defaultBusyTimeout = 5 * time.Second

// Errors that callers tell apart.
var (
	// ErrNewer means that a newer version of the program has written the database.
	ErrNewer = errors.New("the data was written by a newer version of this program; install that version again")
	// ErrCorrupt means that the database file is damaged. It is never deleted.
	ErrCorrupt = errors.New("the database file is damaged; move it away to start anew, open orders are settled by touching the card after login")
	// ErrBusy means that another process moves money with this profile.
	ErrBusy = errors.New("another window or command is working with a card; wait until it has finished")
	// ErrNoLease means that no valid terminal number is left for this epoch.
	ErrNoLease = errors.New("no leased terminal number is left; log in to get new ones")
	// ErrDeviceKey means that device.key is gone or is not the one that sealed the
	// secrets, so that the login has to be made again.
	ErrDeviceKey = errors.New("the file device.key is missing or was changed, the kept login cannot be read; log in again")
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of Open. The zero value is right for the program.
type Options struct {
	// BusyTimeout is how long a write waits for another process; 0 means 5 s.
	BusyTimeout time.Duration
	// Warn is told what was repaired, such as the permissions of device.key. It may be nil.
	Warn func(text string)
}

// Store is the database of one profile. Its methods may be called by several
// goroutines, and several processes may have the same directory open.
type Store struct {
	dir  string
	db   *sql.DB
	warn func(text string)

	// writing lets one goroutine write at a time: SQLite would make the others
	// wait by polling.
	writing sync.Mutex

	// The holes of all cards as of one version of the history.
	holesMutex   sync.Mutex
	holes        []hole
	holesVersion int64
}

// Open opens the profile in dir, makes it where it is missing (0700), and brings
// its tables up to date. Errors: ErrNewer, ErrCorrupt, or the system's.
func Open(dir string, opts Options) (*Store, error) {
	if opts.BusyTimeout == 0 {
		opts.BusyTimeout = defaultBusyTimeout
	}
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("profile directory: %w", err)
	}
	if err := prepareFiles(dir, opts.Warn); err != nil {
		return nil, fmt.Errorf("profile directory: %w", err)
	}
	db, err := sql.Open("sqlite", dataSource(filepath.Join(dir, databaseName), opts.BusyTimeout))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", databaseName, err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	s := &Store{dir: dir, db: db, warn: opts.Warn}
	if err := s.prepareTables(opts.BusyTimeout); err != nil {
		_ = db.Close() // the first error is the one that tells something
		return nil, fmt.Errorf("open %s: %w", filepath.Join(dir, databaseName), explain(err))
	}
	return s, nil
}

// Close gives the files back. What was promised is on disk already.
func (s *Store) Close() error { return s.db.Close() }

// Dir is the profile's directory.
func (s *Store) Dir() string { return s.dir }

// prepareFiles makes the directory and an empty database file for the owner only;
// SQLite gives its helper files the permissions of the database.
func prepareFiles(dir string, warn func(string)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, databaseName)
	ours, err := isOurs(dir, path)
	if err != nil {
		return err
	}
	if ours {
		if err := ownerOnly(dir, 0o700, warn); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := ownerOnly(path, 0o600, warn); err != nil {
		return err
	}
	return syncDir(dir)
}

// isOurs reports whether the directory is a profile or empty. The permissions of
// any other directory that somebody names are left alone: our files are private by
// their own.
func isOurs(dir, database string) (bool, error) {
	if _, err := os.Stat(database); err == nil {
		return true, nil
	}
	files, err := os.ReadDir(dir)
	return len(files) == 0, err
}

// ownerOnly takes away permissions that others have. Windows keeps its own lists,
// which a profile inherits from the person's directory.
func ownerOnly(path string, mode fs.FileMode, warn func(string)) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" || info.Mode().Perm()&^mode == 0 {
		return nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("others may read %s, and that cannot be changed: %w", filepath.Base(path), err)
	}
	warn(fmt.Sprintf("others could read %s; its permissions were %#o and are %#o now", filepath.Base(path), info.Mode().Perm(), mode))
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be flushed there, and need not be
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// dataSource names the database and what every connection to it is set to.
// synchronous=FULL makes each COMMIT an fsync of the write-ahead log, without which
// the journal's promise is empty.
func dataSource(path string, busy time.Duration) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // C:/… becomes /C:/…
	}
	settings := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
			"journal_mode(WAL)",
			"synchronous(FULL)",
			"foreign_keys(1)",
		},
	}
	location := url.URL{Scheme: "file", Path: slashed, RawQuery: settings.Encode()}
	return location.String()
}

// prepareTables refuses a newer database, brings an older one up to date, one
// process at a time, and looks whether the journal's pages are whole.
func (s *Store) prepareTables(busy time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*busy+time.Minute)
	defer cancel()
	lock := flock.New(filepath.Join(s.dir, openLockName), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("wait for another process that opens the profile: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return fmt.Errorf("%w (tables of version %d, this program knows %d)", ErrNewer, version, schemaVersion)
	}
	if version < schemaVersion {
		if err := s.migrate(ctx); err != nil {
			return err
		}
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
	for _, table := range []string{"journal", "journal_head", "outbox"} {
		if err := s.checkPages(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

// version is the number of the newest migration in the database, 0 in an empty one.
func (s *Store) version(ctx context.Context) (int, error) {
	var tables int
	const find = `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version'`
	if err := s.db.QueryRowContext(ctx, find).Scan(&tables); err != nil || tables == 0 {
		return 0, err
	}
	var version sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return int(version.Int64), err
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.db, files)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the tables up to date: %w", err)
	}
	return nil
}

func (s *Store) checkPages(ctx context.Context, table string) error {
	var answer string
	if err := s.db.QueryRowContext(ctx, `PRAGMA quick_check(`+table+`)`).Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fmt.Errorf("%w: table %s: %s", ErrCorrupt, table, answer)
	}
	return nil
}

// write runs change in one transaction that no other process interleaves, and
// returns nil only after the commit has reached the disk.
//
// Once begun, a transaction is not given up because ctx ended: a cancelled caller
// would not know what became of it. It lasts a few milliseconds.
func (s *Store) write(ctx context.Context, change func(ctx context.Context, tx *sql.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	if err := change(ctx, tx); err != nil {
		_ = tx.Rollback() // change's error is the one that matters
		return explain(err)
	}
	return explain(tx.Commit())
}

// read runs look on one unchanging view of the database.
func (s *Store) read(ctx context.Context, look func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return explain(err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return explain(look(tx))
}

// explain marks the errors of SQLite that mean a damaged file.
func explain(err error) error {
	var cause *sqlite.Error
	if errors.As(err, &cause) && !errors.Is(err, ErrCorrupt) {
		switch cause.Code() & 0xFF {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return err
}

// scanner is a row of a query, or its only row.
type scanner interface{ Scan(targets ...any) error }

// each calls take for every row and closes rows.
func each(rows *sql.Rows, take func(row scanner) error) error {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
