package mockplatform

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

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
	ctx context.Context
	tx  *sql.Tx
}

func (t *Tx) exec(query string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, query, args...)
	return err
}

// changed runs a statement and tells how many rows it changed.
func (t *Tx) changed(query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row reads one row into targets and reports whether there was one.
func (t *Tx) row(query string, args []any, targets ...any) (bool, error) {
	err := t.tx.QueryRowContext(t.ctx, query, args...).Scan(targets...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each calls scan for every row.
func (t *Tx) each(query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := t.tx.QueryContext(t.ctx, query, args...)
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

// sqliteStore keeps one connection for writing, so that writers of this process
// queue in memory and never wake each other by polling, and a few for reading.
type sqliteStore struct {
	write *sql.DB
	read  *sql.DB
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
	store := &sqliteStore{write: write, read: read}
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

func transact(ctx context.Context, db *sql.DB, options *sql.TxOptions, work func(*Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit, also undoes a panic
	if err := work(&Tx{ctx: ctx, tx: tx}); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *sqliteStore) Backup(ctx context.Context, file string) error {
	_, err := s.read.ExecContext(ctx, "VACUUM INTO ?", file)
	return err
}

func (s *sqliteStore) Close() error { return errors.Join(s.write.Close(), s.read.Close()) }
