package mockplatform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A demo cannot wait thirty days for shops to upload: its clock can be moved forward.
// How far stands in a file of the directory, beside the books: a restore of the books
// does not set the clock back, and every process that has the directory open goes by it.

// fileClock holds how far a demo's clock is ahead, in milliseconds.
const fileClock = "clock"

// clockLook is how long a process may go on without looking at the file.
const clockLook = 50 * time.Millisecond

// advanceMost is the farthest that one step moves the clock.
const advanceMost = 10 * 366

// clockMost bounds what all steps together make.
const clockMost = 10 * advanceMost * 24 * time.Hour

// Errors of the clock.
var ErrAdvance = fmt.Errorf("the clock of a demo moves by 1 to %d days", advanceMost)

// demoClock is how far the clock of a demo is ahead of the computer's.
type demoClock struct {
	file string // empty: the clock is the computer's

	mu     sync.Mutex
	looked time.Time // by the computer's own clock
	ahead  time.Duration
}

// offset reads the file from time to time. A file that cannot be read leaves the clock
// where it was: it never goes back.
func (c *demoClock) offset() time.Duration {
	if c == nil || c.file == "" {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < clockLook && !c.looked.IsZero() {
		return c.ahead
	}
	c.looked = time.Now()
	if ahead, err := readClock(c.file); err == nil {
		c.ahead = max(c.ahead, ahead)
	}
	return c.ahead
}

func readClock(file string) (time.Duration, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	millis, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil || millis < 0 || millis > clockMost.Milliseconds() {
		return 0, fmt.Errorf("the file %s of the platform is damaged", fileClock)
	}
	return time.Duration(millis) * time.Millisecond, nil
}

// Advance moves the clock of a demo forward, for this process and every other one that
// has the directory open, and does what has become due. It gives the platform's time.
func (p *Platform) Advance(ctx context.Context, days int) (time.Time, error) {
	if !p.secrets.Demo {
		return time.Time{}, ErrNotDemo
	}
	if days < 1 || days > advanceMost {
		return time.Time{}, ErrAdvance
	}
	file := filepath.Join(p.config.Dir, fileClock)
	err := p.store.Update(ctx, func(tx *Tx) error { // two that advance at once wait for each other here
		ahead, err := readClock(file)
		if err != nil {
			return err
		}
		if ahead += time.Duration(days) * 24 * time.Hour; ahead > clockMost {
			return ErrAdvance
		}
		if err := p.audit(tx, "admin", "clock-advanced", strconv.Itoa(days), ahead.String()); err != nil {
			return err
		}
		return writeSecret(file, []byte(strconv.FormatInt(ahead.Milliseconds(), 10)+"\n"))
	})
	if err != nil {
		return time.Time{}, err
	}
	p.clock.mu.Lock()
	p.clock.looked = time.Time{}
	p.clock.mu.Unlock()
	return p.now(), p.catchUp(ctx)
}

// catchUp does what time alone brings about.
func (p *Platform) catchUp(ctx context.Context) error {
	_, err := p.SuspendOld(ctx)
	if err == nil {
		_, err = p.SettleDoubtful(ctx)
	}
	if err == nil {
		err = p.SettleStates(ctx)
	}
	return err
}
