package core

import (
	"context"
	"slices"
	"sync"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Service is what the system's smart card service says of itself.
type Service string

// The states of the service, named as the console names them.
const (
	ServiceOK         Service = "ok"
	ServiceNotRunning Service = "not-running"
	ServiceDenied     Service = "denied"
)

// CardPhase is how far the program is with the card on the reader.
type CardPhase string

// The phases of a card.
const (
	CardNone    CardPhase = "none"    // no card that could be read; Trouble says why
	CardReading CardPhase = "reading" // Purse holds the balance as soon as it is known
	CardRead    CardPhase = "read"    // Reading is complete
	CardBlocked CardPhase = "blocked" // card or purse is locked; Purse holds what it still tells
	CardLost    CardPhase = "lost"    // it left, or was reset, while it was read
	CardRefused CardPhase = "refused" // it is there, but cannot be read; Trouble says why
)

// State is everything that the window shows of readers and card. A State is never
// changed after it was published: the next one is a new value.
type State struct {
	Service Service
	Readers []reader.Info // those that count
	Reader  reader.Info   // the one whose card is shown, else the first; zero without readers

	Card    CardPhase
	Purse   *wallet.Purse   // what is known of the card on the reader; nil: nothing yet
	Reading *wallet.Reading // complete, or as far as it came; nil before
	ReadAt  time.Time       // of Purse

	// Cached is what was read last: of the card on the reader where it is known, else
	// of the card that was read last here. It is old, and says when it was read.
	Cached *SavedReading
	// Open are orders of this computer's journal that may have money on its way.
	Open []OrderLine
	// Settling: the card on the reader is being asked what became of its orders.
	Settling  bool
	Settled   []SyncLine // what the last touch settled
	Unsettled *Failure   // why the last touch could not settle; nil: it could

	Demo    bool     // the platform is a demo: no real money
	Trouble *Failure // of reader or card; nil: none
	Warning error    // the reading could not be kept in the history
}

// Run watches the readers until ctx ends, reads every card that comes, and
// publishes a State at once and after every change, always from one goroutine.
// It sleeps until a reader, a worker or Reread wakes it.
//
// Reading needs no network and waits for none. A card event during a reading waits
// until the reading has ended. A card with open orders is then asked what became of
// them (the touch): its proof may settle them, nothing is written to it.
func (c *Core) Run(ctx context.Context, publish func(State)) error {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{core: c, ctx: ctx, publish: publish, done: make(chan func()), state: State{Service: ServiceOK, Card: CardNone, Demo: c.Demo}}
	defer w.workers.Wait()
	defer stop()

	if c.Platform != nil {
		w.workers.Go(func() { c.keepSending(ctx) })
	}
	changes := make(chan readersSeen, 1)
	w.workers.Go(func() {
		_ = c.Config.Readers.Watch(ctx, func(infos []reader.Info, err error) {
			select { // only the newest list matters: counters of events tell of swaps
			case <-changes:
			default:
			}
			changes <- readersSeen{slices.Clone(infos), err}
		})
	})
	w.lookIntoStore()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case seen := <-changes:
			w.seen = seen
			w.look()
		case finish := <-w.done:
			finish()
		case <-c.again:
			w.read = cardKey{}
			w.look()
		}
	}
}

// Reread asks Run to read the card on the reader again, also after money moved.
func (c *Core) Reread() {
	select {
	case c.again <- struct{}{}:
	default: // asked already
	}
}

// readersSeen is one report of the readers.
type readersSeen struct {
	infos []reader.Info
	err   error
}

// cardKey is one stay of one card in one reader: a swap between two looks changes
// the reader's count of events.
type cardKey struct {
	reader string
	events uint32
}

// watcher is the state of Run. Only Run's goroutine touches it; workers send what
// they found as a function through done.
type watcher struct {
	core    *Core
	ctx     context.Context
	publish func(State)
	done    chan func()
	workers sync.WaitGroup

	seen  readersSeen
	read  cardKey            // the stay that is read, or was read last
	busy  bool               // a worker reads
	stop  context.CancelFunc // ends the touch that is under way; nil: none
	state State
}

// start runs work beside Run, and what it returns on Run's goroutine.
func (w *watcher) start(work func() (finish func())) {
	w.workers.Go(func() { w.tell(work()) })
}

func (w *watcher) tell(finish func()) {
	select {
	case w.done <- finish:
	case <-w.ctx.Done():
	}
}

// show publishes a copy, so that nobody sees a State change.
func (w *watcher) show() {
	state := w.state
	state.Readers, state.Open, state.Settled = slices.Clone(state.Readers), slices.Clone(state.Open), slices.Clone(state.Settled)
	w.publish(state)
}

// look compares what the readers say with what is shown, and starts a reading
// where a card came.
func (w *watcher) look() {
	if w.busy {
		return // the end of the reading looks again
	}
	w.state.Service, w.state.Readers = serviceOf(w.seen.err), w.wanted()
	if w.seen.err != nil {
		w.state.Reader = reader.Info{}
		w.empty(Explain(w.seen.err))
		return
	}
	info, present := w.choose()
	w.state.Reader = info
	key := cardKey{info.Name, info.Events}
	switch {
	case present && key == w.read:
		w.show() // the same card, read already
	case present:
		w.begin(info, key)
	case info.State == reader.StateBusy && key == w.read:
		w.show() // our own reading, or somebody else's, of the card that is shown
	case w.state.Card == CardLost && info.State == reader.StateEmpty:
		w.show() // why it could not be read stays until a card comes
	default:
		w.empty(troubleOf(info))
	}
}

// wanted are the readers that count.
func (w *watcher) wanted() []reader.Info {
	var infos []reader.Info
	for _, info := range w.seen.infos {
		if w.core.Wanted(info) {
			infos = append(infos, info)
		}
	}
	return infos
}

// choose prefers the card that is shown already, then any card, then the reader
// with the most telling trouble: busy before mute before empty.
func (w *watcher) choose() (chosen reader.Info, present bool) {
	rank := map[reader.State]int{reader.StatePresent: 4, reader.StateBusy: 3, reader.StateMute: 2, reader.StateEmpty: 1}
	best := -1
	for _, info := range w.state.Readers {
		worth := rank[info.State]
		if worth >= 3 && (cardKey{info.Name, info.Events}) == w.read {
			return info, info.State == reader.StatePresent
		}
		if worth > best {
			chosen, best = info, worth
		}
	}
	return chosen, chosen.State == reader.StatePresent
}

func serviceOf(err error) Service {
	switch reader.ClassOf(err) {
	case reader.NoService:
		return ServiceNotRunning
	case reader.NoAccess:
		return ServiceDenied
	}
	return ServiceOK
}

// troubleOf tells why a reader without a readable card has none.
func troubleOf(info reader.Info) *Failure {
	switch {
	case info.Name == "":
		return &Failure{Code: "READER_NONE"}
	case info.State == reader.StateBusy && info.Holder != "":
		return &Failure{Code: "READER_BUSY", Detail: map[string]any{"holder": info.Holder}}
	case info.State == reader.StateBusy:
		return &Failure{Code: "READER_BUSY"}
	case info.State == reader.StateMute:
		return &Failure{Code: "CARD_PROTOCOL"}
	}
	return &Failure{Code: "CARD_NONE"}
}

// empty shows that there is no card, and forgets the one that was shown: its values
// come back as cached ones, with their age.
func (w *watcher) empty(trouble *Failure) {
	w.stopTouch()
	w.read = cardKey{}
	w.clear()
	w.state.Card, w.state.Trouble = CardNone, trouble
	if trouble.Code != "CARD_NONE" && trouble.Code != "READER_NONE" && w.state.Service == ServiceOK {
		w.state.Card = CardRefused
	}
	w.lookIntoStore()
	w.show()
}

func (w *watcher) clear() {
	w.state.Purse, w.state.Reading, w.state.ReadAt = nil, nil, time.Time{}
	w.state.Trouble, w.state.Warning = nil, nil
	w.state.Settling, w.state.Settled, w.state.Unsettled = false, nil, nil
}

// begin reads the card in a worker.
func (w *watcher) begin(info reader.Info, key cardKey) {
	w.stopTouch()
	w.read, w.busy = key, true
	w.clear()
	w.state.Card = CardReading
	w.show()
	w.start(func() func() {
		onBalance := func(purse wallet.Purse) {
			at := w.core.Now()
			w.tell(func() {
				w.state.Purse, w.state.ReadAt = &purse, at
				w.show()
			})
		}
		result, err := w.core.queryOn(w.ctx, info, onBalance)
		return func() { w.finish(result, err) }
	})
}

// queryOn is Query on one reader, without waiting for a card.
func (c *Core) queryOn(ctx context.Context, info reader.Info, onBalance func(wallet.Purse)) (QueryResult, error) {
	release, err := c.useCard(ctx)
	if err != nil {
		return QueryResult{}, err
	}
	defer release()
	session, err := c.Config.Readers.Open(ctx, info.Name)
	if err != nil {
		return QueryResult{}, err
	}
	defer session.Close()
	began := time.Now()
	reading, err := wallet.Read(ctx, session, wallet.ReadOptions{OnBalance: onBalance, Trace: c.Trace})
	result := QueryResult{Reading: reading, Reader: info, At: c.Now(), Elapsed: time.Since(began)}
	if err == nil {
		result.Warning = c.keepReading(ctx, reading, result.At)
	}
	return result, err
}

// finish shows what a reading gave, and looks whether the readers changed meanwhile.
func (w *watcher) finish(result QueryResult, err error) {
	w.busy = false
	w.state.Reading, w.state.Warning = &result.Reading, result.Warning
	if len(result.Reading.Purses) > 0 {
		w.state.Purse, w.state.ReadAt = &result.Reading.Purses[0], result.At
	}
	w.state.Card, w.state.Trouble = phaseOf(result.Reading, err)
	w.lookIntoStore()
	if w.state.Card == CardRead {
		w.touch()
	}
	w.look()
}

// phaseOf judges the end of a reading.
func phaseOf(reading wallet.Reading, err error) (CardPhase, *Failure) {
	blocked := len(reading.Purses) > 0 && reading.Purses[0].Blocked
	if err == nil && !blocked {
		return CardRead, nil
	}
	if err == nil {
		return CardBlocked, &Failure{Code: "CARD_BLOCKED"}
	}
	failure := Explain(err)
	switch failure.Code {
	case "CARD_BLOCKED":
		return CardBlocked, failure
	case "CARD_LOST", "CARD_RESET", "CARD_NONE", "READER_GONE":
		if failure.Code == "CARD_NONE" { // it came and went before it could be held
			failure = &Failure{Code: "CARD_LOST", Err: err}
		}
		return CardLost, failure
	}
	return CardRefused, failure
}

// lookIntoStore refreshes what this computer remembers. A store that cannot be read
// takes nothing away from a reading.
func (w *watcher) lookIntoStore() {
	if cards, err := w.core.Store.Cards(w.ctx); err == nil {
		w.state.Cached = cachedFor(cards, w.state.Purse)
	}
	if entries, err := w.core.Store.Entries(w.ctx, EntryFilter{OpenOnly: true}); err == nil {
		w.state.Open = nil
		for _, entry := range entries {
			if entry.Stage.MayHaveMoney() {
				w.state.Open = append(w.state.Open, lineOfEntry(entry))
			}
		}
	}
}

// cachedFor is the kept reading of the card that is shown, or the newest of all.
// A card whose serial is not known shows nobody else's values.
func cachedFor(cards []SavedReading, purse *wallet.Purse) *SavedReading {
	for i := range cards {
		if purse == nil || cards[i].ASN == purse.ASN {
			return &cards[i]
		}
	}
	return nil
}

// touch lets the card that was just read prove what became of its open orders.
// Settling never writes to the card and never moves money that the card does not
// prove, so that it may be ended at any point when the card leaves.
func (w *watcher) touch() {
	mine := slices.ContainsFunc(w.state.Open, func(line OrderLine) bool { return line.ASN == w.state.Purse.ASN })
	if !mine || w.core.Platform == nil {
		return
	}
	ctx, stop := context.WithCancel(w.ctx)
	w.stop = stop
	w.state.Settling = true
	key := w.read
	w.start(func() func() {
		defer stop()
		lines, err := w.core.Sync(ctx, SyncAsk{Intent: wallet.IntentSettle})
		return func() { w.touched(key, lines, err) }
	})
}

func (w *watcher) stopTouch() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// touched shows what the touch settled, if its card is still the one that is shown.
func (w *watcher) touched(key cardKey, lines []SyncLine, err error) {
	if key == w.read && !w.busy {
		w.stop = nil
		w.state.Settling, w.state.Settled, w.state.Unsettled = false, lines, Explain(err)
	}
	w.lookIntoStore()
	w.show()
}
