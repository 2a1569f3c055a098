//go:build cgo || windows

package pcsc

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/ebfe/scard"

	"walletcompanion/reader"
	"walletcompanion/reader/internal/conversation"
)

const (
	// longestWait bounds a wait for changes. Between waits readers are listed
	// again, so that nothing that was missed is missed for longer.
	longestWait = 60 * time.Second
	// settleWait is the first wait after a change. pcsc-lite compares the number of
	// readers with that at the start of the wait, so a reader that comes between the
	// listing and the wait is not told; the listing after this one finds it.
	settleWait = time.Second
	// macOS has no event for readers that come and go.
	listPause = time.Second

	retryFirst = 500 * time.Millisecond
	retryMax   = time.Second

	// looks is how often one look is tried: a context may be dead, and a single
	// "unknown reader" may be false (reader dossier §1.5).
	looks = 3
	// restless is the number of waits that end without news after which the
	// monitor pauses, so that a reader that always reports a change costs little.
	restless      = 10
	restlessPause = 200 * time.Millisecond

	pnpReader = `\\?PnP?\Notification`

	// eventShift places the counter of insertions and removals in a state's upper
	// half; not on macOS.
	eventShift = 16
	stateMask  = scard.StateFlag(1<<eventShift - 1)
)

// monitor is the one place where the process asks for the states of readers. Its
// goroutine runs while somebody watches or lists.
type monitor struct {
	overlay   func(*reader.Info)
	establish func() (stateContext, error)

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	requests []chan view
	wanted   bool          // somebody waits for a fresh look
	waiting  stateContext  // the context that blocks for changes
	round    int           // counts the waits
	wake     chan struct{} // ends a pause without a context; holds one
	inUse    map[string]bool
	stopped  chan struct{} // closed when the goroutine has ended; nil when none runs
}

// stateContext is what the monitor needs of a context of the service; *scard.Context,
// or in tests one with the faults of the binding.
type stateContext interface {
	ListReaders() ([]string, error)
	GetStatusChange(states []scard.ReaderState, timeout time.Duration) error
	Cancel() error
	Release() error
}

// view is what one look at the service gave.
type view struct {
	infos []reader.Info
	err   error
}

// same compares views. The texts of errors differ between attempts only by accident,
// so their class decides.
func (v view) same(other view) bool {
	return (v.err == nil) == (other.err == nil) && reader.ClassOf(v.err) == reader.ClassOf(other.err) &&
		reflect.DeepEqual(v.infos, other.infos)
}

// watcher is one caller of Watch.
type watcher struct {
	latest chan view // holds the newest view that was not taken
	last   view
	told   bool
}

func (m *monitor) list(ctx context.Context) ([]reader.Info, error) {
	answer := make(chan view, 1)
	m.mu.Lock()
	m.requests = append(m.requests, answer)
	m.start()
	m.mu.Unlock()
	select {
	case v := <-answer:
		return v.infos, v.err
	case <-ctx.Done():
		return nil, &reader.Error{Class: reader.NoService, Op: "list", Err: ctx.Err()}
	}
}

func (m *monitor) watch(ctx context.Context, changed func([]reader.Info, error)) error {
	w := &watcher{latest: make(chan view, 1)}
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = map[*watcher]struct{}{}
	}
	m.watchers[w] = struct{}{}
	m.start()
	stopped := m.stopped
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, w)
		last := len(m.watchers) == 0
		m.attend()
		m.mu.Unlock()
		if last { // leave no goroutine behind, unless the service hangs
			select {
			case <-stopped:
			case <-time.After(retryMax):
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v := <-w.latest:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			changed(v.infos, v.err)
		}
	}
}

// look asks for a fresh look if anybody watches.
func (m *monitor) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped != nil {
		m.attend()
	}
}

// start makes sure that the goroutine runs and looks again. The caller holds m.mu.
func (m *monitor) start() {
	if m.stopped == nil {
		m.stopped = make(chan struct{})
		m.wake = make(chan struct{}, 1)
		go m.run(m.stopped)
	}
	m.attend()
}

// attend ends whatever the goroutine waits for. The caller holds m.mu.
func (m *monitor) attend() {
	m.wanted = true
	select {
	case m.wake <- struct{}{}:
	default:
	}
	if m.waiting != nil {
		go m.cancel(m.round)
	}
}

// cancel ends the wait of the given round, by as many cancels as it takes: one that
// comes before the wait has begun is lost.
func (m *monitor) cancel(round int) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		m.mu.Lock()
		waiting := m.waiting
		current := m.round == round
		m.mu.Unlock()
		if waiting == nil || !current {
			return
		}
		_ = conversation.Guard(waiting.Cancel)
		time.Sleep(pause)
	}
}

// run is the monitor's goroutine. It ends when nobody is interested any more.
func (m *monitor) run(stopped chan struct{}) {
	defer close(stopped)
	var c stateContext
	defer func() { release(c) }()
	retry, limit, idleEnds := retryFirst, settleWait, 0
	for {
		requests, interested := m.take()
		if !interested {
			return
		}
		states, err := m.fresh(&c)
		if err != nil {
			m.publish(view{err: err}, requests)
			m.pause(retry)
			retry = min(2*retry, retryMax)
			continue
		}
		retry = retryFirst
		if m.publish(view{infos: m.describe(states)}, requests) {
			limit, idleEnds = settleWait, 0
		}
		err = m.wait(c, states, limit)
		limit = longestWait
		switch {
		case errors.Is(err, scard.ErrTimeout):
			idleEnds = 0
			continue
		case errors.Is(err, scard.ErrCancelled):
			limit = settleWait
			continue
		case err == nil, errors.Is(err, scard.ErrUnknownReader):
			// A reader that is not known has gone, or its name was mangled on the
			// way (reader dossier §1.5): in both cases list again.
			limit = settleWait
		default:
			release(c)
			c = nil
		}
		if idleEnds++; idleEnds > restless {
			m.pause(restlessPause)
		}
	}
}

// take gives the requests that the coming look answers, and tells whether anybody is
// interested in it. If not, the goroutine is forgotten.
func (m *monitor) take() (requests []chan view, interested bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = false
	requests, m.requests = m.requests, nil
	if len(m.watchers) == 0 && len(requests) == 0 {
		m.stopped = nil
		return nil, false
	}
	return requests, true
}

// fresh looks at the readers, with a new context if the old one is dead.
func (m *monitor) fresh(c *stateContext) ([]scard.ReaderState, error) {
	var err error
	for range looks {
		if *c == nil {
			if *c, err = m.establish(); err != nil {
				break
			}
		}
		var states []scard.ReaderState
		if states, err = look(*c); err == nil {
			return states, nil
		}
		if !errors.Is(err, scard.ErrUnknownReader) {
			release(*c)
			*c = nil
		}
	}
	err = classify("list", err)
	if runtime.GOOS == "windows" && reader.ClassOf(err) == reader.NoService {
		// Windows stops the service with the last reader and starts it with the
		// next one: no service there means no reader.
		return nil, nil
	}
	return nil, err
}

// establish makes a context. With an error it is nil, without a type.
func establish() (c stateContext, err error) {
	err = conversation.Guard(func() error {
		made, err := scard.EstablishContext()
		if err == nil {
			c = made
		}
		return err
	})
	return c, err
}

// look lists the readers with their states.
func look(c stateContext) (states []scard.ReaderState, err error) {
	err = conversation.Guard(func() error {
		var names []string
		var err error
		for range 5 { // a reader that comes between asking the length and the names
			if names, err = c.ListReaders(); !errors.Is(err, scard.ErrInsufficientBuffer) {
				break
			}
		}
		if errors.Is(err, scard.ErrNoReadersAvailable) || err == nil && len(names) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			states = append(states, scard.ReaderState{Reader: name})
		}
		return c.GetStatusChange(states, 0)
	})
	return states, err
}

// wait blocks until a state is another than in states, or readers come or go, or
// somebody wants attention, or limit has passed.
func (m *monitor) wait(c stateContext, states []scard.ReaderState, limit time.Duration) error {
	if c == nil {
		m.pause(min(limit, retryMax))
		return nil
	}
	watched := make([]scard.ReaderState, 0, len(states)+1)
	for _, state := range states {
		watched = append(watched, scard.ReaderState{Reader: state.Reader,
			CurrentState: state.EventState &^ scard.StateChanged, Atr: nil})
	}
	if runtime.GOOS == "darwin" {
		limit = min(limit, listPause)
	} else {
		pnp := scard.ReaderState{Reader: pnpReader}
		if runtime.GOOS == "windows" { // there it holds the number of readers known
			pnp.CurrentState = scard.StateFlag(len(states)) << eventShift
		}
		watched = append(watched, pnp)
	}
	if len(watched) == 0 {
		m.pause(limit)
		return nil
	}
	m.mu.Lock()
	if m.wanted {
		m.mu.Unlock()
		return scard.ErrCancelled
	}
	m.round++
	m.waiting = c
	m.mu.Unlock()
	err := conversation.Guard(func() error { return c.GetStatusChange(watched, limit) })
	m.mu.Lock()
	m.waiting = nil
	m.mu.Unlock()
	return err
}

// pause waits without a context.
func (m *monitor) pause(limit time.Duration) {
	m.mu.Lock()
	wanted := m.wanted
	m.mu.Unlock()
	if wanted {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.wake:
	}
}

// describe turns states into the reader package's terms.
func (m *monitor) describe(states []scard.ReaderState) []reader.Info {
	infos := make([]reader.Info, 0, len(states))
	inUse := map[string]bool{}
	for _, state := range states {
		inUse[state.Reader] = state.EventState&(scard.StateInuse|scard.StateExclusive) != 0
		info := reader.Info{
			Name: state.Reader, Driver: DriverName, State: stateOf(state.EventState),
			Events: uint32(state.EventState >> eventShift),
		}
		if state.EventState&scard.StatePresent != 0 {
			info.ATR = state.Atr
		}
		m.overlay(&info)
		if info.State == reader.StateBusy { // ours is not busy
			info.Holder = holderOfCard()
		}
		infos = append(infos, info)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inUse = inUse
	return infos
}

// used tells whether the card of a reader was open anywhere at the last look.
func (m *monitor) used(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inUse[name]
}

// stateOf reads the flags of an event state.
func stateOf(flags scard.StateFlag) reader.State {
	flags &= stateMask
	switch {
	case flags&(scard.StateUnknown|scard.StateUnavailable|scard.StateIgnore) != 0:
		return reader.StateUnavailable
	case flags&scard.StatePresent == 0:
		return reader.StateEmpty
	case flags&scard.StateMute != 0:
		return reader.StateMute
	case flags&scard.StateExclusive != 0:
		return reader.StateBusy
	default:
		return reader.StatePresent
	}
}

// publish answers the requests and tells the watchers that have not seen this view.
// It reports whether there was news.
func (m *monitor) publish(v view, requests []chan view) (news bool) {
	for _, request := range requests {
		request <- v
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watchers {
		if w.told && w.last.same(v) {
			continue
		}
		news = true
		w.last, w.told = v, true
		select { // what was not taken is out of date
		case <-w.latest:
		default:
		}
		w.latest <- v
	}
	return news
}

func release(c stateContext) {
	if c != nil {
		_ = conversation.Guard(c.Release)
	}
}
