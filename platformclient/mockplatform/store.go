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
// it committed is on the disk when it returns. View reads one snapshot.
type Store interface {
	Update(ctx context.Context, change func(*Tx) error) error
	View(ctx context.Context, read func(*Tx) error) error
	// Backup writes a consistent copy into a file that must not exist.
	Backup(ctx context.Context, file string) error
	Close() error
}

// Tx is one transaction.
type Tx struct {
	ctx      context.Context
	tx       *sql.Tx
	prepared *statements
}

func (t *Tx) exec(query string, args ...any) error {
	_, err := t.run(query, args)
	return err
}

func (t *Tx) run(query string, args []any) (sql.Result, error) {
	if statement := t.prepared.of(t, query); statement != nil {
		return statement.ExecContext(t.ctx, args...)
	}
	return t.tx.ExecContext(t.ctx, query, args...)
}

func (t *Tx) query(query string, args []any) (*sql.Rows, error) {
	if statement := t.prepared.of(t, query); statement != nil {
		return statement.QueryContext(t.ctx, args...)
	}
	return t.tx.QueryContext(t.ctx, query, args...)
}

// changed runs a statement and tells how many rows it changed.
func (t *Tx) changed(query string, args ...any) (int64, error) {
	result, err := t.run(query, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row reads one row into targets and reports whether there was one.
func (t *Tx) row(query string, args []any, targets ...any) (bool, error) {
	rows, err := t.query(query, args)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(targets...); err != nil {
		return false, err
	}
	return true, rows.Close() // an error of the database may come this late
}

// each calls scan for every row.
func (t *Tx) each(query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := t.query(query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// maxStatements bounds what is kept prepared; the program has fewer.
const maxStatements = 400

// statements keeps the statements of one pool prepared: parsing them anew took a
// fifth of the platform's time. A statement that is met for the first time runs
// unprepared, because its transaction may hold the only connection; it is prepared
// before the next one begins.
type statements struct {
	db *sql.DB

	mu     sync.Mutex
	byText map[string]*sql.Stmt // nil: met, not prepared yet
	met    []string             // to be prepared
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, byText: map[string]*sql.Stmt{}}
}

// of is the prepared statement inside of a transaction, or nil.
func (s *statements) of(t *Tx, query string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	statement, met := s.byText[query]
	if !met && len(s.byText) < maxStatements {
		s.byText[query] = nil
		s.met = append(s.met, query)
	}
	if statement == nil {
		return nil
	}
	return t.tx.StmtContext(t.ctx, statement)
}

// prepareMet prepares what was met since the last time. It holds no lock while it
// waits for a connection. What cannot be prepared runs unprepared for ever.
func (s *statements) prepareMet(ctx context.Context) {
	s.mu.Lock()
	met := s.met
	s.met = nil
	s.mu.Unlock()
	for _, query := range met {
		statement, err := s.db.PrepareContext(ctx, query)
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.byText[query] = statement
		s.mu.Unlock()
	}
}

// sqliteStore keeps one connection for writing, so that writers of this process
// queue in memory and never wake each other by polling, and a few for reading.
type sqliteStore struct {
	write *statements
	read  *statements
}

// openStore opens or makes the database and brings it to the present schema.
func openStore(ctx context.Context, file string) (Store, error) {
	write, err := sql.Open("sqlite", sqliteDSN(file, "immediate", "FULL"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", sqliteDSN(file, "deferred", "FULL"))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(4)
	store := &sqliteStore{write: newStatements(write), read: newStatements(read)}
	if err := migrate(ctx, write); err != nil {
		return nil, errors.Join(fmt.Errorf("database of the platform: %w", err), store.Close())
	}
	return store, nil
}

// sqliteDSN: WAL lets readers work beside the one writer; FULL puts every commit on
// the disk before the answer leaves; the busy time-out makes processes wait for
// each other.
func sqliteDSN(file, lock, synchronous string) string {
	query := url.Values{"_txlock": {lock}, "_pragma": {
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

func (s *sqliteStore) Update(ctx context.Context, change func(*Tx) error) error {
	return transact(ctx, s.write, nil, change)
}

func (s *sqliteStore) View(ctx context.Context, read func(*Tx) error) error {
	return transact(ctx, s.read, &sql.TxOptions{ReadOnly: true}, read)
}

func transact(ctx context.Context, pool *statements, options *sql.TxOptions, work func(*Tx) error) error {
	pool.prepareMet(ctx)
	tx, err := pool.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit, also undoes a panic
	if err := work(&Tx{ctx: ctx, tx: tx, prepared: pool}); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *sqliteStore) Backup(ctx context.Context, file string) error {
	_, err := s.read.db.ExecContext(ctx, "VACUUM INTO ?", file)
	return err
}

func (s *sqliteStore) Close() error { return errors.Join(s.write.db.Close(), s.read.db.Close()) }
