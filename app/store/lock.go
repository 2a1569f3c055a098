package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/gofrs/flock"
)

// LockMoney makes this process the only one that moves money with the profile.
// It does not wait: where another process holds the lock the error is ErrBusy,
// with that process's number where it can be read. Reading needs no lock. The
// system gives the lock back when the process dies. unlock may be called twice.
func (s *Store) LockMoney(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, moneyLockName)
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE), flock.SetPermissions(0o600))
	taken, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", moneyLockName, err)
	}
	if !taken {
		if holder := lockHolder(path); holder != 0 {
			return nil, fmt.Errorf("%w (process %d)", ErrBusy, holder)
		}
		return nil, ErrBusy
	}
	// The number is for the other's message only; where it cannot be written the
	// lock holds all the same.
	_ = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	var once sync.Once
	return func() {
		once.Do(func() {
			_ = os.Truncate(path, 0)
			_ = lock.Unlock()
		})
	}, nil
}

// lockHolder reads the number that the holder of the lock wrote, 0 if there is none.
func lockHolder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	holder, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return holder
}
