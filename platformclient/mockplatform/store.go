package mockplatform

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database of the reference platform
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store runs transactions. It is all that the rest of the platform knows of the
// database: the statements are plain SQL that PostgreSQL understands as well, and
// Tx is the one place where placeholders would be rewritten for it.
//
// Update holds the write lock from its first statement on, so that whatever a
// handler reads is still true when it commits, also against other processes; what
// it committed is on the disk when it returns. An error of change undoes what this
// change did, and nothing else. View reads one snapshot.
type Store interface {
	Update(ctx context.Context, change func(*Tx) error) error
	View(ctx context.Context, read func(*Tx) error) error
	// Backup writes a consistent copy into a file that must not exist.
	Backup(ctx context.Context, file string) error
	Close() error
}

// Tx is one transaction.
type Tx struct {
	ctx  context.Context
	conn *connection
}

func (t *Tx) exec(query string, args ...any) error {
	_, err := t.changed(query, args...)
	return err
}

// changed runs a statement and tells how many rows it changed.
func (t *Tx) changed(query string, args ...any) (int64, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	result, err := t.conn.exec(query, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row reads one row into targets and reports whether there was one.
func (t *Tx) row(query string, args []any, targets ...any) (found bool, err error) {
	if err := t.ctx.Err(); err != nil {
		return false, err
	}
	err = t.conn.query(query, args, func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		found = true
		return errEnough
	})
	if found {
		return true, nil
	}
	return false, err
}

// errEnough ends the reading of rows before the last one.
var errEnough = errors.New("no more rows are wanted")

// each calls scan for every row.
func (t *Tx) each(query string, args []any, scan func(*sql.Rows) error) error {
	return t.conn.query(query, args, func(rows *sql.Rows) error {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		return scan(rows)
	})
}

// maxReaders is how many snapshots are read at once.
const maxReaders = 4

// sqliteStore keeps one connection for writing, whose users queue in memory and
// share commits (group), and a few for reading.
type sqliteStore struct {
	write, read *sql.DB
	writer      *connection
	readers     chan *connection // those that nobody uses

	mu     sync.Mutex
	queue  []*change
	idle   *sync.Cond // of mu: nobody writes
	busy   bool       // somebody works the queue
	closed bool

	patience time.Duration // groupTime
	commits  atomic.Int64  // so far
}

// openStore opens or makes the database and brings it to the present schema.
func openStore(ctx context.Context, file string) (Store, error) {
	write, err := sql.Open("sqlite", sqliteDSN(file, "FULL"))
	if err != nil {
		return nil, err
	}
	read, err := sql.Open("sqlite", sqliteDSN(file, "FULL"))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	store := &sqliteStore{
		write: write, read: read, readers: make(chan *connection, maxReaders), writer: newConnection(write, "BEGIN IMMEDIATE"),
		patience: groupTime,
	}
	store.idle = sync.NewCond(&store.mu)
	for range maxReaders {
		store.readers <- newConnection(read, "BEGIN")
	}
	if err := migrate(ctx, write); err != nil {
		return nil, errors.Join(fmt.Errorf("database of the platform: %w", err), store.Close())
	}
	return store, nil
}

// sqliteDSN: WAL lets readers work beside the one writer; FULL puts every commit on
// the disk before the answer leaves; the busy time-out makes processes wait for
// each other.
func sqliteDSN(file, synchronous string) string {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(15000)", "journal_mode(WAL)", "synchronous(" + synchronous + ")", "foreign_keys(1)",
	}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: query.Encode()}).String()
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

func (s *sqliteStore) View(ctx context.Context, read func(*Tx) error) error {
	select {
	case conn := <-s.readers:
		defer func() { s.readers <- conn }()
		return conn.snapshot(ctx, read)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sqliteStore) Backup(ctx context.Context, file string) error {
	_, err := s.read.ExecContext(ctx, "VACUUM INTO ?", file)
	return err
}

// Close lets the commit that is under way end, and refuses what waits behind it.
func (s *sqliteStore) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	for s.busy {
		s.idle.Wait()
	}
	s.mu.Unlock()
	if already {
		return nil
	}
	s.writer.drop()
	for range maxReaders {
		conn := <-s.readers
		conn.drop()
		conn.closed = true
		defer func() { s.readers <- conn }()
	}
	return errors.Join(s.write.Close(), s.read.Close())
}
