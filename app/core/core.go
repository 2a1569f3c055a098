package core

import (
	"context"
	"errors"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Config is what a Core works with. Platform may be nil: reading needs none.
type Config struct {
	Readers  reader.Driver
	Wanted   func(reader.Info) bool // which readers count; nil: all
	Store    Store
	Platform Platform
	Demo     bool // the platform is a demo: no real money

	// LockMoney keeps a second process with the same profile away from money. It
	// fails at once when another process holds the lock.
	LockMoney func(ctx context.Context) (unlock func(), err error)
	// Prepare runs before a money function touches the card that was found: it
	// refuses real cards under a default demo, and lets an embedded demo adopt a
	// virtual card. What it did is told to the person.
	Prepare func(ctx context.Context, purse wallet.Purse) (notice string, err error)

	Now      func() time.Time
	NewKey   func() string          // UUIDv7
	CardWait time.Duration          // how long a command waits for a card
	Notice   func(text string)      // something the person should read; may be nil
	Waiting  func(reader.State)     // called when the program waits for a card; may be nil
	Trace    func(wallet.TraceLine) // every command, redacted; may be nil
	AckWait  time.Duration          // how long success waits for the acknowledged result; 3 s in the console
	// Began is told every operation, and what it returns how that ended: a trace then
	// says what its commands and requests were for. Either may be nil.
	Began func(Operation) func(Ending)
	// BeforeStage and AfterStage are called around every write of the journal; the
	// window shows progress with them. Either may be nil.
	BeforeStage func(wallet.Stage)
	AfterStage  func(wallet.Stage)
}

// Core is the program without a window. Its methods may be called from any
// goroutine; those that use the card run one at a time.
type Core struct {
	Config
	card     chan struct{} // holds one token: the right to use the card
	credited chan struct{} // a result waits to be sent
	again    chan struct{} // asks Run for another reading
}

// New makes a Core.
func New(config Config) *Core {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.AckWait == 0 {
		config.AckWait = 3 * time.Second
	}
	if config.Wanted == nil {
		config.Wanted = func(reader.Info) bool { return true }
	}
	core := &Core{Config: config, card: make(chan struct{}, 1), credited: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	core.card <- struct{}{}
	return core
}

// useCard waits for the right to use the card.
func (c *Core) useCard(ctx context.Context) (release func(), err error) {
	select {
	case <-c.card:
		return func() { c.card <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Readers lists the readers now.
func (c *Core) Readers(ctx context.Context) ([]reader.Info, error) {
	return c.Config.Readers.List(ctx)
}

// WatchReaders reports the readers until ctx ends.
func (c *Core) WatchReaders(ctx context.Context, changed func([]reader.Info, error)) error {
	return c.Config.Readers.Watch(ctx, changed)
}

// openCard holds the first card in a wanted reader, waiting up to CardWait for one.
func (c *Core) openCard(ctx context.Context) (reader.Session, reader.Info, error) {
	infos, err := c.Config.Readers.List(ctx)
	if err != nil {
		return nil, reader.Info{}, err
	}
	session, info, err := c.openSoon(ctx, infos)
	if err == nil || !worthWaiting(err) || c.CardWait <= 0 {
		return session, info, err
	}
	if c.Waiting != nil {
		c.Waiting(info.State)
	}
	return c.awaitCard(ctx, err)
}

// busyGrace is how long a card that another program holds is tried again: one that
// has just ended gives its card back a moment later.
const (
	busyGrace = time.Second
	busyPause = 50 * time.Millisecond
)

// openSoon is openFirst with patience for a card that is just being given back.
func (c *Core) openSoon(ctx context.Context, infos []reader.Info) (reader.Session, reader.Info, error) {
	for began := time.Now(); ; {
		session, info, err := c.openFirst(ctx, infos)
		if reader.ClassOf(err) != reader.Busy || time.Since(began) > busyGrace {
			return session, info, err
		}
		select {
		case <-ctx.Done():
			return nil, info, ctx.Err()
		case <-time.After(busyPause):
		}
		if infos, err = c.Config.Readers.List(ctx); err != nil {
			return nil, info, err
		}
	}
}

// awaitCard tries again after every change of the readers.
func (c *Core) awaitCard(ctx context.Context, last error) (reader.Session, reader.Info, error) {
	watching, stop := context.WithTimeout(ctx, c.CardWait)
	defer stop()
	changes := make(chan []reader.Info, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Config.Readers.Watch(watching, func(infos []reader.Info, err error) {
			select { // only the newest list matters
			case <-changes:
			default:
			}
			changes <- infos
		})
	}()
	defer func() { stop(); <-done }()
	for {
		select {
		case infos := <-changes:
			session, info, err := c.openFirst(ctx, infos)
			if err == nil || !worthWaiting(err) {
				return session, info, err
			}
			last = err
		case <-watching.Done():
			if ctx.Err() != nil {
				return nil, reader.Info{}, ctx.Err()
			}
			return nil, reader.Info{}, last
		}
	}
}

func worthWaiting(err error) bool {
	switch reader.ClassOf(err) {
	case reader.NoCard, reader.CardGone, reader.CardReset:
		return true
	}
	return false
}

// openFirst opens the first present card among the wanted readers. Without one it
// tells the most useful trouble: busy before empty before no reader.
func (c *Core) openFirst(ctx context.Context, infos []reader.Info) (reader.Session, reader.Info, error) {
	trouble := &reader.Error{Class: reader.NoReader, Op: "open"}
	var seen reader.Info
	for _, info := range infos {
		if !c.Wanted(info) {
			continue
		}
		switch info.State {
		case reader.StatePresent:
			session, err := c.Config.Readers.Open(ctx, info.Name)
			return session, info, err
		case reader.StateBusy:
			// The state is as old as the last look; only Open knows.
			if session, err := c.Config.Readers.Open(ctx, info.Name); err == nil {
				return session, info, nil
			}
			trouble, seen = &reader.Error{Class: reader.Busy, Op: "open", Err: holderOf(info)}, info
		case reader.StateMute:
			trouble, seen = &reader.Error{Class: reader.Protocol, Op: "open", Err: errors.New("the card does not answer")}, info
		default:
			if trouble.Class == reader.NoReader {
				trouble, seen = &reader.Error{Class: reader.NoCard, Op: "open"}, info
			}
		}
	}
	return nil, seen, trouble
}

func holderOf(info reader.Info) error {
	if info.Holder == "" {
		return nil
	}
	return errors.New("held by " + info.Holder)
}

// withCard opens a card, hands it to use, and lets it go.
func (c *Core) withCard(ctx context.Context, use func(reader.Session, reader.Info) error) error {
	release, err := c.useCard(ctx)
	if err != nil {
		return err
	}
	defer release()
	session, info, err := c.openCard(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return use(session, info)
}

// identify reads the purse that money functions would use: profile, serial,
// balance and validity, but no records.
func (c *Core) identify(ctx context.Context, session reader.Session) (wallet.Purse, error) {
	reading, err := wallet.Read(ctx, session, wallet.ReadOptions{Brief: true, Trace: c.Trace})
	if err != nil {
		return wallet.Purse{}, err
	}
	return reading.Purses[0], nil
}

func (c *Core) notice(text string) {
	if c.Notice != nil && text != "" {
		c.Notice(text)
	}
}
