package mockplatform

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newStore(t *testing.T) *sqliteStore {
	store, err := openStore(t.Context(), filepath.Join(t.TempDir(), fileDatabase))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	own, ok := store.(*sqliteStore)
	require.True(t, ok)
	own.patience = time.Hour // however busy this machine is
	return own
}

func write(name string) func(*Tx) error {
	return func(tx *Tx) error { return setMeta(tx, name, "written") }
}

// names lists what stands in the database, by a connection of its own: only what
// was committed.
func names(t *testing.T, s *sqliteStore) (found []string) {
	rows, err := s.read.QueryContext(t.Context(), `SELECT name FROM meta WHERE value = 'written' ORDER BY name`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		found = append(found, name)
	}
	require.NoError(t, rows.Err())
	return found
}

// together lets all changes wait for the writer at once, so that they become one
// group, and returns what each of them was told.
func together(t *testing.T, s *sqliteStore, changes ...func(*Tx) error) []error {
	t.Helper()
	told := make([]error, len(changes))
	running, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		require.NoError(t, s.Update(t.Context(), func(*Tx) error {
			close(running)
			<-release
			return nil
		}))
	})
	<-running
	for i, change := range changes {
		all.Go(func() {
			told[i] = errUnfinished
			defer func() {
				if value := recover(); value != nil {
					told[i] = fmt.Errorf("panic: %v", value)
				}
			}()
			told[i] = s.Update(context.WithoutCancel(t.Context()), change)
		})
		for waiting := 0; waiting <= i; runtime.Gosched() { // one after the other, in this order
			s.mu.Lock()
			waiting = len(s.queue)
			s.mu.Unlock()
		}
	}
	close(release)
	all.Wait()
	return told
}

func TestStore_ChangesOfAGroupFailAlone(t *testing.T) {
	s := newStore(t)
	refused := errors.New("refused")
	told := together(t, s,
		write("a"),
		func(tx *Tx) error { return errors.Join(write("b")(tx), refused) },
		func(tx *Tx) error {
			var value string
			known, err := tx.row(`SELECT value FROM meta WHERE name = 'a'`, nil, &value)
			require.True(t, known, "later changes see earlier ones of their group")
			known, _ = tx.row(`SELECT value FROM meta WHERE name = 'b'`, nil, &value)
			require.False(t, known, "but not those that failed")
			return errors.Join(err, write("c")(tx))
		},
		func(tx *Tx) error { _ = write("d")(tx); panic("broken") },
		func(tx *Tx) error { _ = write("e")(tx); runtime.Goexit(); return nil },
		func(tx *Tx) error { return tx.exec(`INSERT INTO no_such_table VALUES (1)`) },
		write("f"),
	)
	require.NoError(t, told[0])
	require.ErrorIs(t, told[1], refused)
	require.NoError(t, told[2])
	require.ErrorContains(t, told[3], "panic: broken")
	require.ErrorIs(t, told[4], errUnfinished)
	require.ErrorContains(t, told[5], "no_such_table")
	require.NoError(t, told[6])
	require.Equal(t, []string{"a", "c", "f"}, names(t, s))
}

// A commit that fails fails everybody: nobody is told of what does not stand.
func TestStore_FailedCommitFailsTheWholeGroup(t *testing.T) {
	s := newStore(t)
	told := together(t, s,
		write("a"),
		func(tx *Tx) error { // a foreign key that is looked at when the group commits
			return errors.Join(tx.exec(`PRAGMA defer_foreign_keys = ON`),
				tx.exec(`INSERT INTO tokens (hash, kind, device, expires) VALUES (X'00', 'access', 'nobody', 0)`))
		},
		write("b"),
	)
	for _, err := range told {
		require.ErrorContains(t, err, "FOREIGN KEY")
	}
	require.Empty(t, names(t, s))
	require.NoError(t, s.Update(t.Context(), write("c")), "the next one finds a working store")
	require.Equal(t, []string{"c"}, names(t, s))
}

// SQLite ends a transaction by itself when the disk is full, for instance.
func TestStore_LostTransactionFailsWhatRanInIt(t *testing.T) {
	s := newStore(t)
	told := together(t, s, write("a"), func(tx *Tx) error { return tx.exec(`ROLLBACK`) }, write("b"))
	require.Error(t, told[0], "it was undone")
	require.Error(t, told[1])
	require.NoError(t, told[2], "it had not run yet, and got a transaction of its own")
	require.Equal(t, []string{"b"}, names(t, s))
	require.Error(t, s.Update(t.Context(), func(tx *Tx) error { return tx.exec(`ROLLBACK`) }), "alone as well")
	require.NoError(t, s.Update(t.Context(), write("c")))
	require.Equal(t, []string{"b", "c"}, names(t, s))
}

// Slow changes do not keep each other's answers.
func TestStore_SlowChangesAreNotCollected(t *testing.T) {
	s := newStore(t)
	s.patience = time.Millisecond
	before := s.commits.Load()
	told := together(t, s, slices.Repeat([]func(*Tx) error{func(tx *Tx) error {
		time.Sleep(s.patience)
		return write("a")(tx)
	}}, 3)...)
	for _, err := range told {
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, s.commits.Load()-before)
}

func TestStore_GroupIsOneCommit(t *testing.T) {
	s := newStore(t)
	before := s.commits.Load()
	told := together(t, s, slices.Repeat([]func(*Tx) error{write("a")}, 20)...)
	for _, err := range told {
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, s.commits.Load()-before, "one before the group, to let it gather, and one for the group")
}

func TestStore_WhoGivesUpWaitingChangesNothing(t *testing.T) {
	s := newStore(t)
	running, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = s.Update(context.Background(), func(tx *Tx) error { close(running); <-release; return write("first")(tx) })
	})
	<-running
	gone, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, s.Update(gone, write("gone")), context.Canceled)
	close(release)
	all.Wait()
	require.ErrorIs(t, s.Update(t.Context(), func(tx *Tx) error {
		stopped, stop := context.WithCancel(tx.ctx)
		tx.ctx = stopped
		err := write("half")(tx)
		stop()
		return errors.Join(err, write("other half")(tx))
	}), context.Canceled, "a change that is told to stop leaves nothing behind")
	require.Equal(t, []string{"first"}, names(t, s))
}

func TestStore_ClosedStoreRefuses(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Update(t.Context(), write("a")))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Update(t.Context(), write("b")), errClosed)
	require.ErrorIs(t, s.View(t.Context(), func(*Tx) error { return nil }), errClosed)
}

// A statement whose rows are being read may be asked for again by what reads them.
func TestStore_SameStatementInsideItself(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return errors.Join(write("a")(tx), write("b")(tx)) }))
	const query = `SELECT name FROM meta WHERE value = 'written' ORDER BY name`
	var pairs []string
	read := func(tx *Tx) error {
		return tx.each(query, nil, func(outer *sql.Rows) error {
			var first string
			if err := outer.Scan(&first); err != nil {
				return err
			}
			return tx.each(query, nil, func(inner *sql.Rows) error {
				var second string
				err := inner.Scan(&second)
				pairs = append(pairs, first+second)
				return err
			})
		})
	}
	require.NoError(t, s.View(t.Context(), read))
	require.NoError(t, s.View(t.Context(), read), "with the statements that were kept")
	require.Equal(t, []string{"aa", "ab", "ba", "bb", "aa", "ab", "ba", "bb"}, pairs)
}
