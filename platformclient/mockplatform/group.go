package mockplatform

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"time"
)

// One commit costs one write that the disk must confirm, whether it holds one order
// or fifty. Changes that wait for the writer at the same moment are therefore put
// into one transaction, each behind a savepoint of its own, and all are told
// together, after the commit. A change that fails is undone alone; a commit that
// fails fails them all. A change that finds nobody waiting is committed at once.

const (
	maxGroup  = 64                    // changes in one commit
	groupTime = 50 * time.Millisecond // after which a commit waits for no further change
	commit    = "COMMIT"
	rollback  = "ROLLBACK"
)

var (
	errBadConn    = driver.ErrBadConn
	errUnfinished = errors.New("the change did not come to its end")
)

// change is one call of Update. Its function runs in the goroutine of its caller,
// when its turn comes.
type change struct {
	ctx  context.Context
	turn chan *Tx      // the transaction, when its turn has come
	ran  chan struct{} // closed when its function has ended
	done chan struct{} // closed when it was committed or undone
	err  error         // of the function, then of the commit

	decided atomic.Bool // taken from the queue, or given up by its caller
}

func (s *sqliteStore) Update(ctx context.Context, work func(*Tx) error) error {
	c := &change{ctx: ctx, turn: make(chan *Tx, 1), ran: make(chan struct{}), done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.queue = append(s.queue, c)
	first := !s.busy
	s.busy = true
	s.mu.Unlock()
	if first {
		go s.workQueue()
	}
	select {
	case tx := <-c.turn:
		c.run(tx, work)
	case <-c.done: // its turn never came
	case <-ctx.Done():
		if c.decided.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		select {
		case tx := <-c.turn:
			c.run(tx, work)
		case <-c.done:
		}
	}
	<-c.done
	return c.err
}

// run is the turn of a change. Whoever waits for it goes on also when the function
// panics or ends its goroutine.
func (c *change) run(tx *Tx, work func(*Tx) error) {
	defer close(c.ran)
	c.err = errUnfinished
	c.err = work(tx)
}

// workQueue commits one group after the other until nobody waits.
func (s *sqliteStore) workQueue() {
	for {
		group := s.nextGroup()
		if len(group) == 0 {
			return
		}
		for len(group) > 0 {
			ran := s.commitGroup(group)
			for _, c := range group[:ran] {
				close(c.done)
			}
			group = group[ran:]
		}
	}
}

func (s *sqliteStore) nextGroup() (group []*change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && len(group) < maxGroup {
		c := s.queue[0]
		s.queue[0], s.queue = nil, s.queue[1:]
		if !c.decided.CompareAndSwap(false, true) {
			continue
		}
		if s.closed {
			c.err = errClosed
			close(c.done)
			continue
		}
		group = append(group, c)
	}
	if len(group) == 0 {
		s.queue, s.busy = nil, false
		s.idle.Broadcast()
	}
	return group
}

// commitGroup runs changes of a group, from the first one on, and commits them. It
// returns how many it ran: slow ones are not collected, so that the first is not told
// late for the sake of the last. Their err is set when it returns.
func (s *sqliteStore) commitGroup(group []*change) (ran int) {
	if err := s.writer.open(); err != nil {
		fail(group, err)
		return len(group)
	}
	if len(group) == 1 {
		if s.runChange(group[0]); group[0].err != nil {
			_ = s.writer.end(rollback)
			return 1
		}
		s.commits.Add(1)
		group[0].err = s.writer.end(commit)
		return 1
	}
	began, kept := time.Now(), 0
	for ran < len(group) && time.Since(began) < s.patience {
		c := group[ran]
		ran++
		if err := s.runBehindSavepoint(c); err != nil {
			// SQLite has ended the transaction by itself, for a full disk perhaps:
			// nothing of it stands.
			s.writer.drop()
			fail(group[:ran], err)
			return ran
		}
		if c.err == nil {
			kept++
		}
	}
	if kept == 0 {
		_ = s.writer.end(rollback)
		return ran
	}
	s.commits.Add(1)
	if err := s.writer.end(commit); err != nil {
		fail(group[:ran], err)
	}
	return ran
}

// fail tells all that have no error of their own yet.
func fail(group []*change, err error) {
	for _, c := range group {
		if c.err == nil {
			c.err = err
		}
	}
}

func (s *sqliteStore) runChange(c *change) {
	c.turn <- &Tx{ctx: c.ctx, conn: s.writer}
	<-c.ran
}

// runBehindSavepoint runs one change of several and undoes it alone where it fails.
// An error means that the whole transaction is lost.
func (s *sqliteStore) runBehindSavepoint(c *change) error {
	if _, err := s.writer.exec("SAVEPOINT one_change", nil); err != nil {
		return err
	}
	s.runChange(c)
	if c.err != nil {
		if _, err := s.writer.exec("ROLLBACK TO one_change", nil); err != nil {
			return err
		}
	}
	_, err := s.writer.exec("RELEASE one_change", nil)
	return err
}
