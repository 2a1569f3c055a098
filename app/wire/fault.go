package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Fault is a named accident, for demos, training and tests. It acts from outside:
// on the wire, in the card, on the process or on the disk; the program itself does
// not know that it exists.
type Fault struct {
	Name        string
	Row         string // of the crash table
	Flow        string // "load", "purchase" or "funding"
	ExpectExit  int    // of the command that it cuts
	ExpectState string // of the order after one later sync; "" where no order was made
	Text        map[string]string

	point    string          // process faults: kill -9 at this point
	silent   bool            // stays silent instead of cutting at once
	embedded bool            // needs the embedded platform
	arm      func(*accident) // sets the hooks below
}

// accident is an armed fault: at most one hook per boundary.
type accident struct {
	fault Fault
	hit   atomic.Bool
	once  sync.Once

	mu       sync.Mutex
	netDown  bool // nothing reaches the platform any more
	cardGone bool // the card is out of the field

	request  func(a *accident, route string) error                          // before a request leaves
	answer   func(a *accident, route string, response *http.Response) error // when its answer has come
	commit   func(a *accident, before bool, route string) error             // inside the platform
	command  func(a *accident, ins byte) cardFault                          // at a card command
	fullDisk wallet.Stage                                                   // the disk is full while this stage is written
	restore  bool                                                           // the platform is restored to before the order
	late     atomic.Bool                                                    // the platform's clock has run past a merchant's reservation
	blocks   bool                                                           // the card is blocked when it leaves
	comeBack bool                                                           // the card is put back at once
	bank     *mockbank.Faults                                               // of the embedded platform's bank
	delays   bool                                                           // the cut request arrives after the abandon
	held     *http.Request
}

// cardFault is what happens to one command.
type cardFault int

const (
	cardFine   cardFault = iota
	cardBefore           // the card leaves before it executes the command
	cardInside           // power is lost before the chip's commit
	cardAfter            // the chip executes, its answer is lost
	cardSilent           // the chip never answers
	card9302             // the chip refuses: MAC wrong
	card6581             // the chip reports an EEPROM error and has done nothing
)

var (
	errCut  = errors.New("the connection was cut by the fault")
	errTorn = errors.New("the card was taken away by the fault")
)

// current is the fault of this process; the command line arms at most one.
var current atomic.Pointer[accident]

// FaultHit tells whether a fault is armed and whether it was reached.
func FaultHit() (hit, armed bool) {
	a := current.Load()
	if a == nil {
		return false, false
	}
	return a.hit.Load(), true
}

// strike marks the fault as reached; it reports true the first time only.
func (a *accident) strike() (first bool) {
	a.once.Do(func() { first = true; a.hit.Store(true) })
	return first
}

func (a *accident) cutNetwork() {
	a.mu.Lock()
	a.netDown = true
	a.mu.Unlock()
}

func (a *accident) networkDown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.netDown
}

// newAccident arms the fault of that name; "" arms none.
func newAccident(name string) (*accident, error) {
	if name == "" {
		return nil, nil
	}
	for _, fault := range Faults() {
		if fault.Name == name {
			a := &accident{fault: fault}
			if fault.arm != nil {
				fault.arm(a)
			}
			return a, nil
		}
	}
	return nil, fmt.Errorf("no fault is named %q", name)
}

// faultyTransport is the hook on the wire.
type faultyTransport struct {
	next http.RoundTripper
	a    *accident
}

func (t faultyTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	route := request.Method + " " + routeOf(request.URL.Path)
	if t.a.networkDown() {
		return nil, t.a.cut(request)
	}
	if t.a.request != nil {
		if err := t.a.request(t.a, route); err != nil {
			t.a.hold(request)
			return nil, t.a.cut(request)
		}
	}
	response, err := t.next.RoundTrip(request)
	if err == nil && (route == "POST abandon" || route == "POST purchases/abandon" || route == "POST fundings/abandon") {
		t.deliverHeld()
	}
	if err == nil && t.a.answer != nil {
		if err := t.a.answer(t.a, route, response); err != nil {
			response.Body.Close()
			return nil, t.a.cut(request)
		}
	}
	return response, err
}

// hold keeps a copy of the first cut request, to be delivered late.
func (a *accident) hold(request *http.Request) {
	if !a.delays || a.held != nil || request.GetBody == nil {
		return
	}
	body, err := request.GetBody()
	if err != nil {
		return
	}
	a.held = request.Clone(context.WithoutCancel(request.Context()))
	a.held.Body = body
}

// deliverHeld sends the late request; nobody waits for its answer.
func (t faultyTransport) deliverHeld() {
	if t.a.held == nil {
		return
	}
	if response, err := t.next.RoundTrip(t.a.held); err == nil {
		response.Body.Close()
	}
	t.a.held = nil
}

// cut ends a request as the fault wants it: at once, or by silence.
func (a *accident) cut(request *http.Request) error {
	if a.fault.silent {
		<-request.Context().Done()
		return request.Context().Err()
	}
	return errCut
}

// routeOf names the money routes without their numbers: loads, load, result,
// attempts and abandon, and the same of purchases and fundings under their names.
func routeOf(path string) string {
	path = path[strings.IndexByte(path, '/'):]
	if rest, is := strings.CutPrefix(path, api.PathPurchases); is {
		return routeBelow(rest, "purchases", "purchase", "purchases/")
	}
	if rest, is := strings.CutPrefix(path, api.PathFundings); is {
		return routeBelow(rest, "fundings", "funding", "fundings/")
	}
	if rest, is := strings.CutPrefix(path, api.PathLoads); is {
		return routeBelow(rest, "loads", "load", "")
	}
	return path
}

func routeBelow(rest, all, one, prefix string) string {
	switch {
	case rest == "":
		return all
	case strings.Count(rest, "/") == 1:
		return one
	}
	return prefix + rest[strings.LastIndexByte(rest, '/')+1:]
}

// faultyChip is the hook in the card.
type faultyChip struct {
	reader.Chip
	a     *accident
	block func() error // blocks the application, for a card of ours
	tear  func(byte)   // makes the next command with this INS lose its power inside
}

func (c *faultyChip) PowerOn() ([]byte, error) {
	if c.a.isCardGone() {
		return nil, errTorn
	}
	return c.Chip.PowerOn()
}

func (c *faultyChip) Transmit(command []byte) ([]byte, error) {
	if c.a.isCardGone() {
		return nil, errTorn
	}
	if c.a.command == nil || len(command) < 2 {
		return c.Chip.Transmit(command)
	}
	switch c.a.command(c.a, command[1]) {
	case cardBefore:
		return nil, c.leave()
	case cardInside:
		c.tear(command[1])
		answer, err := c.Chip.Transmit(command)
		if err == nil {
			return answer, nil
		}
		return nil, c.leave()
	case cardAfter:
		_, _ = c.Chip.Transmit(command)
		return nil, c.leave()
	case cardSilent:
		select {} // the watchdog of the reader gives up
	case card9302:
		return []byte{0x93, 0x02}, nil
	case card6581:
		return []byte{0x65, 0x81}, nil
	}
	return c.Chip.Transmit(command)
}

// leave takes the card out of the field for the rest of this process, unless the
// fault puts it back.
func (c *faultyChip) leave() error {
	if c.a.blocks && c.block != nil {
		_ = c.block()
	}
	c.Chip.PowerOff()
	c.a.mu.Lock()
	c.a.cardGone = !c.a.comeBack
	c.a.mu.Unlock()
	return errTorn
}

func (a *accident) isCardGone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cardGone
}
