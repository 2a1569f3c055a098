package mockbank

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database of the virtual bank
)

//go:embed migrations/*.sql
var migrations embed.FS

// store is the bank's database: one connection, every change on the disk when update
// returns, also beside other processes.
type store struct{ db *sql.DB }

// tx is one transaction.
type tx struct {
	ctx context.Context
	tx  *sql.Tx
}

func openStore(file string) (*store, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(15000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: query.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err == nil {
		_, err = provider.Up(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

// update runs change in a transaction; an error undoes it.
func (s *store) update(ctx context.Context, change func(*tx) error) error {
	begun, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := change(&tx{ctx, begun}); err != nil {
		return errors.Join(err, begun.Rollback())
	}
	return begun.Commit()
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, query, args...)
	return err
}

// row reads one row into targets and tells whether there was one.
func (t *tx) row(query string, args []any, targets ...any) (bool, error) {
	err := t.tx.QueryRowContext(t.ctx, query, args...).Scan(targets...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each calls scan for every row.
func (t *tx) each(query string, args []any, scan func(*sql.Rows) error) error {
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
