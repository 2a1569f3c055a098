//go:build cgo || windows

package pcsc

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebfe/scard"
	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
)

// faultyContext has the faults of the binding (reader dossier §1.5). Every list and
// every look takes the next fault of its queue, if there is one.
type faultyContext struct {
	mu      sync.Mutex
	lists   []func() error
	looks   []func() error
	asking  int // calls of GetStatusChange under way
	most    int
	calls   int
	release int
	cancel  chan struct{}
}

func newFaulty() *faultyContext { return &faultyContext{cancel: make(chan struct{}, 1)} }

func next(queue *[]func() error) func() error {
	if len(*queue) == 0 {
		return func() error { return nil }
	}
	fault := (*queue)[0]
	*queue = (*queue)[1:]
	return fault
}

func (f *faultyContext) ListReaders() ([]string, error) {
	f.mu.Lock()
	fault := next(&f.lists)
	f.mu.Unlock()
	if err := fault(); err != nil {
		return nil, err
	}
	return []string{"Reader"}, nil
}

func (f *faultyContext) GetStatusChange(states []scard.ReaderState, timeout time.Duration) error {
	f.mu.Lock()
	f.calls++
	f.asking++
	f.most = max(f.most, f.asking)
	var fault func() error
	if timeout == 0 {
		fault = next(&f.looks)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asking--
	}()
	if fault == nil {
		select {
		case <-f.cancel:
			return scard.ErrCancelled
		case <-time.After(timeout):
			return scard.ErrTimeout
		}
	}
	for i := range states {
		states[i].EventState = scard.StateEmpty
	}
	return fault()
}

func (f *faultyContext) Cancel() error {
	select {
	case f.cancel <- struct{}{}:
	default:
	}
	return nil
}

func (f *faultyContext) Release() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release++
	return nil
}

func times(count int, fault func() error) (queue []func() error) {
	for range count {
		queue = append(queue, fault)
	}
	return queue
}

func says(err error) func() error { return func() error { return err } }

func breaks() error { panic("index out of range") }

// faultyMonitor is a monitor over one such context at a time.
func faultyMonitor(contexts ...*faultyContext) *monitor {
	var mu sync.Mutex
	return &monitor{overlay: func(*reader.Info) {}, establish: func() (stateContext, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(contexts) == 0 {
			return nil, scard.ErrNoService
		}
		made := contexts[0]
		contexts = contexts[1:]
		return made, nil
	}}
}

func TestListSurvivesTheBinding(t *testing.T) {
	for _, c := range []struct {
		name     string
		lists    []func() error
		looks    []func() error
		class    reader.Class // of the first list
		contexts int          // that the list used up
	}{
		{"no fault", nil, nil, "", 1},
		{"a reader that comes between length and names", times(4, says(scard.ErrInsufficientBuffer)), nil, "", 1},
		{"one false unknown reader", nil, times(1, says(scard.ErrUnknownReader)), "", 1},
		{"two false unknown readers", nil, times(2, says(scard.ErrUnknownReader)), "", 1},
		{"a reader that is really unknown", nil, times(3, says(scard.ErrUnknownReader)), reader.NoReader, 1},
		{"a panic in the list", times(1, breaks), nil, "", 2},
		{"a panic in the look", nil, times(1, breaks), "", 2},
		{"a dead context", times(1, says(scard.ErrNoService)), nil, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := newFaulty(), newFaulty()
			first.lists, first.looks = c.lists, c.looks
			m := faultyMonitor(first, second)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			infos, err := m.list(ctx)
			require.Equal(t, c.class, reader.ClassOf(err), "%v", err)
			if c.class == "" {
				require.NoError(t, err)
				require.Len(t, infos, 1)
			}
			second.mu.Lock() // the monitor may still be on its way out
			defer second.mu.Unlock()
			require.Equal(t, c.contexts == 2, second.calls > 0)
		})
	}
}

// TestOneAskerAtATime: however many list and watch, one call alone asks the service.
func TestOneAskerAtATime(t *testing.T) {
	f := newFaulty()
	m := faultyMonitor(f)
	ctx, cancel := context.WithCancel(context.Background())
	var people sync.WaitGroup
	for range 4 {
		people.Go(func() { _ = m.watch(ctx, func([]reader.Info, error) {}) })
	}
	var listing sync.WaitGroup
	for range 8 {
		listing.Go(func() {
			for range 25 {
				infos, err := m.list(ctx)
				if err != nil || len(infos) != 1 {
					t.Errorf("list: %v %v", infos, err)
				}
			}
		})
	}
	listing.Wait()
	cancel()
	people.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, 1, f.most, "the binding hands names to C in a way that one caller at a time survives")
	require.Greater(t, f.calls, 1)
}

// TestOnlyTheMonitorAsks: no other code of the package calls GetStatusChange.
func TestOnlyTheMonitorAsks(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var callers []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declared := range parsed.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(function, func(node ast.Node) bool {
				if call, ok := node.(*ast.CallExpr); ok {
					if selected, ok := call.Fun.(*ast.SelectorExpr); ok && selected.Sel.Name == "GetStatusChange" {
						callers = append(callers, function.Name.Name)
					}
				}
				return true
			})
		}
	}
	require.ElementsMatch(t, []string{"look", "wait"}, callers, "both run on the monitor's goroutine alone")
}

// TestEveryErrorHasAClass: the class of every answer of the service (winscard.h,
// pcsclite.h), while opening and in a conversation (reader dossier §1.4). A line that
// changes here changes what people are told to do.
func TestEveryErrorHasAClass(t *testing.T) {
	special := map[scard.Error]reader.Class{
		0x80100002: reader.NoService, 0x80100003: reader.NoService, 0x80100012: reader.NoService, 0x80100013: reader.NoService,
		0x80100018: reader.NoService, 0x8010001D: reader.NoService, 0x8010001E: reader.NoService, 0x80100031: reader.NoService,
		0x8010006A: reader.NoAccess, 0x80100027: reader.NoAccess,
		0x80100009: reader.NoReader, 0x80100010: reader.NoReader, 0x80100011: reader.NoReader, 0x80100017: reader.NoReader, 0x8010002E: reader.NoReader,
		0x8010000C: reader.NoCard, 0x80100016: reader.NoCard, 0x8010002F: reader.NoCard, 0x80100067: reader.NoCard, 0x80100069: reader.NoCard,
		0x80100068: reader.CardReset,
		0x8010000B: reader.Busy,
		0x8010000A: reader.Unresponsive, 0x80100007: reader.Unresponsive, 0x80100066: reader.Unresponsive,
	}
	inTalk := map[reader.Class]reader.Class{reader.NoCard: reader.CardGone, reader.NoReader: reader.ReaderGone}
	seen := 0
	for _, span := range [][2]scard.Error{{0x80100001, 0x80100031}, {0x80100065, 0x80100072}} {
		for code := span[0]; code <= span[1]; code++ {
			want, known := special[code]
			if !known {
				want = reader.Protocol
			} else {
				seen++
			}
			for _, op := range []string{"list", "open"} {
				require.Equal(t, want, reader.ClassOf(classify(op, code)), "%08X %s", uint32(code), op)
			}
			if later, changes := inTalk[want]; changes {
				want = later
			}
			for _, op := range []string{"transmit", "keep alive"} {
				require.Equal(t, want, reader.ClassOf(classifyTalk(op, code)), "%08X %s", uint32(code), op)
			}
		}
	}
	require.Equal(t, len(special), seen)
	require.Equal(t, reader.Protocol, reader.ClassOf(classify("list", errors.New("no code at all"))))
}
