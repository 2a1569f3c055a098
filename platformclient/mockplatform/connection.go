package mockplatform

import (
	"context"
	"database/sql"
	"errors"
)

// maxPrepared bounds the statements that a connection keeps. The platform has fewer
// texts than that; one with a text for every call would only lose the saving.
const maxPrepared = 256

// errClosed is the answer of a store that was closed.
var errClosed = errors.New("the platform's database is closed")

// connection is one connection to the database, with the statements that it has
// prepared: parsing SQL is a third of the database's work otherwise. It has one
// user at a time.
//
// Statements run without a context: SQLite undoes a whole transaction when one of its
// statements is interrupted, and with it the changes of others that share it. Tx
// looks at the context between statements.
type connection struct {
	db       *sql.DB
	begin    string
	conn     *sql.Conn // nil until it is used
	prepared map[string]*statement
	closed   bool
}

// statement is a prepared statement. One whose rows are being read cannot be run
// again before they end.
type statement struct {
	*sql.Stmt
	reading bool
}

func newConnection(db *sql.DB, begin string) *connection { return &connection{db: db, begin: begin} }

// drop gives the connection up, and whatever transaction is open on it; the next
// use opens another one.
func (c *connection) drop() {
	if c.conn == nil {
		return
	}
	for _, kept := range c.prepared {
		_ = kept.Close()
	}
	// Raw with driver.ErrBadConn is how database/sql is told not to use it again.
	_ = c.conn.Raw(func(any) error { return errBadConn })
	_ = c.conn.Close()
	c.conn, c.prepared = nil, nil
}

// open begins a transaction.
func (c *connection) open() (err error) {
	if c.closed {
		return errClosed
	}
	if c.conn == nil {
		if c.conn, err = c.db.Conn(context.Background()); err != nil {
			return err
		}
		c.prepared = map[string]*statement{}
	}
	_, err = c.exec(c.begin, nil)
	return err
}

// end runs COMMIT or ROLLBACK. A transaction that cannot be ended takes its
// connection with it.
func (c *connection) end(how string) error {
	_, err := c.exec(how, nil)
	if err == nil {
		return nil
	}
	if how == rollback {
		c.drop()
		return err
	}
	if _, undone := c.exec(rollback, nil); undone != nil {
		c.drop()
	}
	return err
}

// snapshot runs a function in a transaction that reads.
func (c *connection) snapshot(ctx context.Context, read func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // a panic
			_ = c.end(rollback)
		}
	}()
	err := read(&Tx{ctx: ctx, conn: c})
	done = true
	return errors.Join(err, c.end(rollback))
}

func (c *connection) exec(query string, args []any) (sql.Result, error) {
	kept, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return c.conn.ExecContext(context.Background(), query, args...)
	}
	return kept.ExecContext(context.Background(), args...)
}

// query calls scan for every row.
func (c *connection) query(query string, args []any, scan func(*sql.Rows) error) error {
	kept, err := c.prepare(query)
	if err != nil {
		return err
	}
	var rows *sql.Rows
	if kept == nil {
		rows, err = c.conn.QueryContext(context.Background(), query, args...)
	} else {
		rows, err = kept.QueryContext(context.Background(), args...)
	}
	if err != nil {
		return err
	}
	if kept != nil {
		kept.reading = true
		defer func() { kept.reading = false }()
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// prepare gives a statement that is not in use, or nil where the text must be parsed
// for this one time.
func (c *connection) prepare(query string) (*statement, error) {
	kept, known := c.prepared[query]
	switch {
	case known && kept.reading, !known && len(c.prepared) >= maxPrepared:
		return nil, nil
	case known:
		return kept, nil
	}
	made, err := c.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	kept = &statement{Stmt: made}
	c.prepared[query] = kept
	return kept, nil
}
