package core_test

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/reader"
	"walletcompanion/reader/virtual"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

var (
	serialA = wallet.ASN{0, 0, 0x62, 0x17, 0, 0, 0, 0, 0x12, 0x34}
	serialB = wallet.ASN{0, 0, 0x62, 0x17, 0, 0, 0, 0, 0x56, 0x78}
)

// watched is a running core whose states a test waits for.
type watched struct {
	t      *testing.T
	core   *core.Core
	store  *store.Store
	driver *virtual.Driver
	slot   *virtual.Slot

	mu     sync.Mutex
	states []core.State
	more   chan struct{}
}

// watch runs a core over one virtual reader until the test ends.
func watch(t *testing.T, change func(*core.Config)) *watched {
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	w := &watched{t: t, store: kept, driver: virtual.New(), more: make(chan struct{}, 1)}
	w.slot = w.driver.AddSlot("Slot")
	config := core.Config{Readers: w.driver, Store: kept}
	if change != nil {
		change(&config)
	}
	w.core = core.New(config)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.core.Run(ctx, w.note) }()
	t.Cleanup(func() {
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, kept.Close())
	})
	return w
}

func (w *watched) note(state core.State) {
	w.mu.Lock()
	w.states = append(w.states, state)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// until waits for a state after the number of states that were seen before, and
// returns it with all that came before it.
func (w *watched) until(from int, wanted func(core.State) bool) (core.State, []core.State) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		for i := from; i < len(w.states); i++ {
			if wanted(w.states[i]) {
				found, before := w.states[i], w.states[from:i]
				w.mu.Unlock()
				return found, before
			}
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-deadline:
			w.mu.Lock()
			defer w.mu.Unlock()
			require.FailNow(w.t, "the state did not come", "%d states", len(w.states))
		}
	}
}

func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.states)
}

func inPhase(phase core.CardPhase) func(core.State) bool {
	return func(state core.State) bool { return state.Card == phase }
}

func ofCard(asn wallet.ASN) func(core.State) bool {
	return func(state core.State) bool { return state.Card == core.CardRead && state.Purse.ASN == asn }
}

func newCard(t *testing.T, asn wallet.ASN, balance wallet.Fen, records int) *virtualcard.Card {
	card, err := virtualcard.New(virtualcard.Spec{ASN: asn, Balance: balance, Records: records}, rand.Reader)
	require.NoError(t, err)
	return card
}

func TestRunReadsACardThatComes(t *testing.T) {
	w := watch(t, nil)
	first, _ := w.until(0, inPhase(core.CardNone))
	require.Equal(t, core.ServiceOK, first.Service)
	require.Nil(t, first.Cached)
	empty, _ := w.until(0, func(s core.State) bool { return s.Trouble != nil })
	require.Equal(t, "CARD_NONE", empty.Trouble.Code)
	require.Equal(t, "Slot", empty.Reader.Name)

	from := w.count()
	w.slot.Insert(newCard(t, serialA, 86_50, 8))
	read, before := w.until(from, inPhase(core.CardRead))
	require.Len(t, before, 2, "reading, then the balance alone, then everything")
	require.Equal(t, core.CardReading, before[0].Card)
	require.Nil(t, before[0].Purse)
	require.Equal(t, core.CardReading, before[1].Card)
	require.Equal(t, wallet.Fen(86_50), before[1].Purse.Balance)
	require.Empty(t, before[1].Purse.Records)

	require.Nil(t, read.Trouble)
	require.NoError(t, read.Warning)
	require.Equal(t, serialA, read.Purse.ASN)
	require.Equal(t, wallet.Fen(86_50), read.Purse.Balance)
	require.Len(t, read.Purse.Records, 8)
	require.Equal(t, serialA, read.Cached.ASN)

	from = w.count()
	w.slot.Remove()
	gone, _ := w.until(from, inPhase(core.CardNone))
	require.Nil(t, gone.Purse, "values of a card that left are not shown as present")
	require.Nil(t, gone.Reading)
	require.Equal(t, wallet.Fen(86_50), gone.Cached.Balance)
	require.True(t, read.ReadAt.Equal(gone.Cached.At))
	require.Equal(t, core.CardReading, before[1].Card, "a published state does not change")

	history, err := w.store.History(t.Context(), core.HistoryFilter{})
	require.NoError(t, err)
	require.Equal(t, 8, history.Total)
}

func TestRunSeesASwapBetweenTwoLooks(t *testing.T) {
	w := watch(t, nil)
	w.slot.Insert(newCard(t, serialA, 1_00, 0))
	w.until(0, ofCard(serialA))
	w.slot.Insert(newCard(t, serialB, 2_00, 0)) // the slot is never seen empty
	read, _ := w.until(0, ofCard(serialB))
	require.Equal(t, wallet.Fen(2_00), read.Purse.Balance)
}

// A card that comes while another one is read is read afterwards.
func TestRunQueuesACardDuringAReading(t *testing.T) {
	w := watch(t, nil)
	slow := newCard(t, serialA, 1_00, 0)
	held, goOn := make(chan struct{}), make(chan struct{})
	w.slot.Insert(&heldChip{Card: slow, held: held, goOn: goOn})
	<-held
	go func() {
		w.slot.Insert(newCard(t, serialB, 2_00, 0))
		close(goOn)
	}()
	read, _ := w.until(0, ofCard(serialB))
	require.Equal(t, wallet.Fen(2_00), read.Purse.Balance)
}

// heldChip waits in its first command.
type heldChip struct {
	*virtualcard.Card
	once sync.Once
	held chan struct{}
	goOn chan struct{}
}

func (c *heldChip) Transmit(command []byte) ([]byte, error) {
	c.once.Do(func() { close(c.held); <-c.goOn })
	return c.Card.Transmit(command)
}

func TestRunTellsOfATornCard(t *testing.T) {
	w := watch(t, nil)
	card := newCard(t, serialA, 86_50, 8)
	card.TearAt(virtualcard.Tear{INS: 0xB2, When: virtualcard.Before})
	w.slot.Insert(card)
	lost, before := w.until(0, inPhase(core.CardLost))
	require.Equal(t, "CARD_LOST", lost.Trouble.Code)
	require.Equal(t, wallet.Fen(86_50), lost.Purse.Balance, "what was read stays true")
	require.NotEmpty(t, before)

	from := w.count()
	w.slot.Return()
	read, _ := w.until(from, inPhase(core.CardRead))
	require.Len(t, read.Purse.Records, 8)
}

func TestRunTellsOfABlockedCard(t *testing.T) {
	w := watch(t, nil)
	card := newCard(t, serialA, 86_50, 2)
	w.slot.Insert(card)
	w.until(0, inPhase(core.CardRead))
	require.NoError(t, card.Block())
	w.core.Reread()
	blocked, _ := w.until(0, inPhase(core.CardBlocked))
	require.Equal(t, "CARD_BLOCKED", blocked.Trouble.Code)
}

func TestRunTellsOfReaders(t *testing.T) {
	w := watch(t, nil)
	w.until(0, func(s core.State) bool { return s.Reader.Name == "Slot" })
	from := w.count()
	w.driver.Unplug("Slot")
	none, _ := w.until(from, func(s core.State) bool { return len(s.Readers) == 0 })
	require.Equal(t, "READER_NONE", none.Trouble.Code)
	from = w.count()
	w.driver.AddSlot("Other").Insert(newCard(t, serialB, 3_00, 1))
	read, _ := w.until(from, inPhase(core.CardRead))
	require.Equal(t, "Other", read.Reader.Name)
}

func TestRunTellsOfAStoppedService(t *testing.T) {
	service := &stoppedService{Driver: virtual.New(), reports: make(chan error)}
	w := watch(t, func(config *core.Config) { config.Readers = service })
	service.reports <- &reader.Error{Class: reader.NoService, Op: "list"}
	state, _ := w.until(0, func(s core.State) bool { return s.Service == core.ServiceNotRunning })
	require.Equal(t, "READER_SERVICE_STOPPED", state.Trouble.Code)
	require.Equal(t, core.CardNone, state.Card)
	service.reports <- &reader.Error{Class: reader.NoAccess, Op: "list"}
	state, _ = w.until(0, func(s core.State) bool { return s.Service == core.ServiceDenied })
	require.Equal(t, "READER_DENIED", state.Trouble.Code)
	service.reports <- nil
	state, _ = w.until(w.count()-1, func(s core.State) bool { return s.Service == core.ServiceOK })
	require.Equal(t, "READER_NONE", state.Trouble.Code)
}

// stoppedService reports what a test says.
type stoppedService struct {
	*virtual.Driver
	reports chan error
}

func (s *stoppedService) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	for {
		select {
		case err := <-s.reports:
			changed(nil, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// platform stands for one that cannot be reached: reading must not care.
type platform struct {
	core.Platform
	asked chan struct{}
	goOn  chan error
	ended chan struct{} // closed when a Connect was given up
}

func (p *platform) Connect(ctx context.Context) error {
	select {
	case p.asked <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.goOn:
		return err
	case <-ctx.Done():
		if p.ended != nil {
			close(p.ended)
		}
		return ctx.Err()
	}
}

// openOrder keeps an order that was granted and never written to the card.
func openOrder(t *testing.T, kept *store.Store, asn wallet.ASN) {
	entry := wallet.Entry{Key: "k1", ASN: asn, Amount: 50_00, Source: "main", At: time.Now()}
	for _, stage := range []wallet.Stage{wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted} {
		entry.Stage = stage
		if stage == wallet.StageGranted {
			entry.Order, entry.Grant = "260315-01-000001", &wallet.Signed{Payload: []byte("{}"), Sig: []byte{1}, KID: "0011223344556677"}
		}
		require.NoError(t, kept.Write(t.Context(), entry))
	}
}

func TestRunTouchesACardWithOpenOrders(t *testing.T) {
	line := &platform{asked: make(chan struct{}), goOn: make(chan error)}
	w := watch(t, func(config *core.Config) {
		config.Platform = line
		config.LockMoney = func(context.Context) (func(), error) { return func() {}, nil }
	})
	openOrder(t, w.store, serialA)

	w.slot.Insert(newCard(t, serialB, 2_00, 0))
	other, _ := w.until(0, ofCard(serialB))
	require.False(t, other.Settling, "only the order's own card can prove anything")
	require.Len(t, other.Open, 1)
	require.Equal(t, wallet.Fen(50_00), other.Open[0].Amount)
	require.True(t, other.Open[0].Paid)

	w.slot.Insert(newCard(t, serialA, 1_00, 3))
	read, _ := w.until(0, ofCard(serialA))
	require.True(t, read.Settling)
	require.Len(t, read.Purse.Records, 3, "the reading is complete while the platform is silent")
	<-line.asked
	line.goOn <- &reader.Error{Class: reader.CardGone, Op: "transmit"}
	settled, _ := w.until(0, func(s core.State) bool { return s.Unsettled != nil })
	require.False(t, settled.Settling)
	require.Equal(t, "ORDER_OPEN", settled.Unsettled.Code)
	require.Equal(t, core.CardRead, settled.Card, "the card's values stay")
	require.Len(t, settled.Open, 1)
}

// A platform that never answers must not keep the next card from being read.
func TestRunReadsWhileThePlatformIsSilent(t *testing.T) {
	line := &platform{asked: make(chan struct{}), goOn: make(chan error), ended: make(chan struct{})}
	w := watch(t, func(config *core.Config) {
		config.Platform = line
		config.LockMoney = func(context.Context) (func(), error) { return func() {}, nil }
	})
	openOrder(t, w.store, serialA)
	w.slot.Insert(newCard(t, serialA, 1_00, 0))
	<-line.asked
	w.slot.Insert(newCard(t, serialB, 2_00, 0))
	read, _ := w.until(0, ofCard(serialB))
	require.False(t, read.Settling)
	require.Nil(t, read.Unsettled)
	select {
	case <-line.ended:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "the touch outlives its card, and would hold the reader")
	}
}

func TestRunShowsWhatWasReadBefore(t *testing.T) {
	dir := t.TempDir()
	kept, err := store.Open(dir, store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	at := time.Now().Add(-72 * time.Hour)
	require.NoError(t, kept.SaveReading(t.Context(), core.SavedReading{At: at, ASN: serialA, Number: "62170000000000001234", Balance: 12_34}))
	w := watch(t, func(config *core.Config) { config.Store = kept })
	state, _ := w.until(0, func(s core.State) bool { return s.Cached != nil })
	require.Equal(t, wallet.Fen(12_34), state.Cached.Balance)
	require.True(t, at.Equal(state.Cached.At))
}

func TestRunShowsOnlyOrdersThatMayHaveMoney(t *testing.T) {
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	openOrder(t, kept, serialA)
	require.NoError(t, kept.Write(t.Context(), wallet.Entry{Key: "k2", Stage: wallet.StageIntent, ASN: serialB, Amount: 70_00, At: time.Now()}))
	w := watch(t, func(config *core.Config) { config.Store = kept })
	state, _ := w.until(0, inPhase(core.CardNone))
	require.Len(t, state.Open, 1)
	require.Equal(t, wallet.Fen(50_00), state.Open[0].Amount)
}

// A purse that hides its balance must not turn the last known one into zero.
func TestRunKeepsTheLastKnownBalance(t *testing.T) {
	w := watch(t, nil)
	card := &shyChip{Card: newCard(t, serialA, 86_50, 2)}
	w.slot.Insert(card)
	w.until(0, inPhase(core.CardRead))
	card.hides.Store(true)
	w.core.Reread()
	hidden, _ := w.until(0, func(s core.State) bool { return s.Card == core.CardRead && !s.Purse.BalanceKnown })
	require.Len(t, hidden.Purse.Records, 2)
	require.Equal(t, wallet.Fen(86_50), hidden.Cached.Balance)
}

// shyChip refuses GET BALANCE once it is told to.
type shyChip struct {
	*virtualcard.Card
	hides atomic.Bool
}

func (c *shyChip) Transmit(command []byte) ([]byte, error) {
	if c.hides.Load() && command[1] == 0x5C {
		return []byte{0x69, 0x85}, nil
	}
	return c.Card.Transmit(command)
}

// deadline is a context whose deadline passes when the test says so.
type deadline struct {
	context.Context
	passed chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.passed }

func (d deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A card that nobody lays down within the caller's own time.
func TestQueryEndsWithItsDeadline(t *testing.T) {
	driver := virtual.New()
	driver.AddSlot("Slot")
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	ctx := deadline{t.Context(), make(chan struct{})}
	c := core.New(core.Config{Readers: driver, Store: kept, CardWait: time.Hour, Waiting: func(reader.State) { close(ctx.passed) }})
	_, err = c.Query(ctx, nil)
	require.Equal(t, "TIMEOUT", core.Explain(err).Code, "%v", err)
	require.Equal(t, core.ExitReader, core.Explain(err).Exit())
}

// accident is a chip that brings trouble about at a command.
type accident struct {
	*virtualcard.Card
	ins    byte
	strike func()
}

func (c *accident) Transmit(command []byte) ([]byte, error) {
	if command[1] == c.ins {
		c.strike()
	}
	return c.Card.Transmit(command)
}

// The reader is unplugged while the card is read.
func TestQueryTellsOfAnUnpluggedReader(t *testing.T) {
	driver := virtual.New()
	slot := driver.AddSlot("Slot")
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	slot.Insert(&accident{newCard(t, serialA, 86_50, 8), 0xB2, func() { driver.Unplug("Slot") }})
	c := core.New(core.Config{Readers: driver, Store: kept})
	_, err = c.Query(t.Context(), nil)
	require.Equal(t, "READER_GONE", core.Explain(err).Code, "%v", err)
}

// resetting is a driver whose cards are reset by somebody else at a READ RECORD. The
// real service cannot be brought to do that to a session of ours, which is exclusive;
// that its answer has this class is tested beside the service.
type resetting struct{ *virtual.Driver }

func (d resetting) Open(ctx context.Context, name string) (reader.Session, error) {
	session, err := d.Driver.Open(ctx, name)
	return resetSession{session}, err
}

type resetSession struct{ reader.Session }

func (s resetSession) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[1] == 0xB2 {
		return nil, &reader.Error{Class: reader.CardReset, Op: "transmit"}
	}
	return s.Session.Transmit(ctx, command)
}

func TestQueryTellsOfAReset(t *testing.T) {
	driver := virtual.New()
	driver.AddSlot("Slot").Insert(newCard(t, serialA, 86_50, 8))
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	_, err = core.New(core.Config{Readers: resetting{driver}, Store: kept}).Query(t.Context(), nil)
	require.Equal(t, "CARD_RESET", core.Explain(err).Code, "%v", err)
}
