// Package vpcd puts a chip into the real smart card service: it is the card's end of
// vpcd, the virtual reader of the vsmartcard project, so that the service, its
// library and our driver are tested with nothing of theirs replaced.
//
// Protocol (reader dossier §1.2): TCP, the card dials. Both ways: length, two bytes
// big-endian, then the body. From the reader a body of one byte is a control message
// (00 off, 01 on, 02 reset, 04 ask for the answer to reset), a longer one is a
// command. Only 04 and commands are answered. The reader notices cards by asking for
// the answer to reset every 400 ms.
package vpcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"walletcompanion/reader"
)

const (
	controlOff   = 0x00
	controlOn    = 0x01
	controlReset = 0x02
	controlATR   = 0x04

	lengthBytes = 2
	longestBody = 0xFFFF

	// tearPause lies between a length that is announced and the end of the
	// connection, so that the reader is waiting for the body when it comes.
	tearPause = 3 * time.Millisecond

	lookEvery    = 400 * time.Millisecond // the reader asks for the answer to reset
	dialPauseMin = 20 * time.Millisecond
	dialPauseMax = 500 * time.Millisecond
)

// State of the card towards the reader.
type State string

// The states of a card.
const (
	StateOut       State = "out"       // not in the field
	StateDialling  State = "dialling"  // in the field, the reader cannot be reached yet
	StateConnected State = "connected" // in the field of a reader
)

// Control moves a card in and out of the field of a reader. Its methods may be
// called at any time from any goroutine; they return at once, the reader notices
// within its 400 ms.
type Control struct {
	// TearAt takes the chip's power away once, at the next command with the
	// instruction ins: "before" the chip sees it, "inside" of it, before the chip has
	// stored anything, or "after" it has stored everything and before its answer
	// leaves. It is set before ServeControl; nil where the chip has no such points.
	// It is called from the goroutines of control connections.
	TearAt func(when string, ins byte) error

	mu      sync.Mutex
	chip    reader.Chip // nil when out of the field
	last    reader.Chip // for Return
	tear    bool        // tear the card out at the next command
	link    *link
	former  *link         // the last link, whose chip may still execute a command
	outAt   time.Time     // when the last card left
	changed chan struct{} // closed and replaced when the chip comes or goes
}

// New returns a card that is in the field as soon as Serve runs. A nil chip is none.
func New(chip reader.Chip) *Control {
	return &Control{chip: chip, last: chip, changed: make(chan struct{})}
}

// Serve keeps the chip in the field of the reader at addr until ctx ends, and
// returns ctx.Err().
func Serve(ctx context.Context, addr string, chip reader.Chip) error {
	return New(chip).Serve(ctx, addr)
}

// Insert puts a chip into the field. A card that is there is removed first, so the
// reader sees an empty field for a moment; see Swap.
func (c *Control) Insert(chip reader.Chip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out()
	c.chip, c.last = chip, chip
	c.announce()
}

// Swap exchanges the card for another between two looks of the reader, which sees
// nothing of it: an open handle talks to the new card (reader dossier §1.4).
func (c *Control) Swap(chip reader.Chip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		c.out()
		c.announce()
	} else {
		c.link.swap(chip)
	}
	c.chip, c.last = chip, chip
}

// Remove takes the card out of the field. A command in flight fails as with Tear.
func (c *Control) Remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out()
	c.announce()
}

// Return puts back the card that was removed or torn last.
func (c *Control) Return() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chip == nil && c.last != nil {
		c.chip = c.last
		c.announce()
	}
}

// Tear takes the card out at the command in flight, or else at the next one: the
// chip executes it, the answer never arrives.
func (c *Control) Tear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil && c.link.commanded() {
		c.out()
		c.announce()
		return
	}
	c.tear = true
}

// State tells where the card is.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.chip == nil:
		return StateOut
	case c.link == nil:
		return StateDialling
	default:
		return StateConnected
	}
}

// out empties the field. The caller holds c.mu.
func (c *Control) out() {
	c.chip, c.tear = nil, false
	if c.link != nil {
		c.outAt = time.Now()
		c.link.cut()
		c.link = nil
	}
}

// announce wakes Serve. The caller holds c.mu.
func (c *Control) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// tearNow tells whether the answer at hand must not leave, once.
func (c *Control) tearNow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	armed := c.tear
	c.tear = false
	return armed
}

// gone removes the card whose link tore it out, unless another is there by now.
func (c *Control) gone(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.out()
		c.announce()
	}
}

// Serve keeps the card, as far as it is inserted, in the field of the reader at addr
// (HOST:PORT) until ctx ends, and returns ctx.Err(). A service that stops and starts
// again is dialled again.
func (c *Control) Serve(ctx context.Context, addr string) error {
	defer c.Remove()
	pause := dialPauseMin
	for ctx.Err() == nil {
		c.mu.Lock()
		chip, changed := c.chip, c.changed
		c.mu.Unlock()
		if chip == nil {
			wait(ctx, changed, 0)
			continue
		}
		if !c.resting(ctx, chip, changed) || !c.unseen(ctx, changed) {
			continue
		}
		dialler := net.Dialer{Timeout: dialPauseMax}
		conn, err := dialler.DialContext(ctx, "tcp", addr)
		if err != nil {
			wait(ctx, changed, pause)
			pause = min(2*pause, dialPauseMax)
			continue
		}
		pause = dialPauseMin
		if lived := c.attach(ctx, conn.(*net.TCPConn), chip); !lived {
			// The reader has one place; whoever is second is hung up on.
			wait(ctx, changed, dialPauseMax)
		}
	}
	return ctx.Err()
}

// resting waits until a chip that was torn out has ended its last command. It gives
// up when something changes: another chip need not wait for one that is silent.
func (c *Control) resting(ctx context.Context, chip reader.Chip, changed <-chan struct{}) bool {
	c.mu.Lock()
	former := c.former
	c.mu.Unlock()
	if former == nil || former.current() != chip {
		return true
	}
	select {
	case <-former.finished:
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// unseen keeps a card out of the field until the reader must have looked there. A
// card that leaves and comes back between two looks was never away for the service's
// event thread; when a reset failed meanwhile, the service calls the slot empty and
// never powers it again (measured with pcscd 1.9.9). It gives up when something
// changes.
func (c *Control) unseen(ctx context.Context, changed <-chan struct{}) bool {
	c.mu.Lock()
	rest := time.Until(c.outAt.Add(lookEvery + lookEvery/4))
	c.mu.Unlock()
	if rest <= 0 {
		return true
	}
	wait(ctx, changed, rest)
	return false
}

// wait ends with ctx, with a change, or after the pause if there is one.
func wait(ctx context.Context, changed <-chan struct{}, pause time.Duration) {
	var after <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-after:
	}
}

// attach serves one connection and tells whether the reader said anything on it.
func (c *Control) attach(ctx context.Context, conn *net.TCPConn, chip reader.Chip) bool {
	l := &link{conn: conn, control: c, chip: chip, work: make(chan []byte, 16), finished: make(chan struct{})}
	if err := l.learn(); err != nil {
		_ = conn.Close()
		c.Remove() // a card that does not start is no card
		return false
	}
	c.mu.Lock()
	if c.chip != chip {
		c.mu.Unlock()
		_ = conn.Close()
		return true
	}
	c.link, c.former = l, l
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	lived := l.serve()
	c.mu.Lock()
	if c.link == l {
		c.link = nil
	}
	c.mu.Unlock()
	return lived
}

// link is one connection to a reader.
type link struct {
	conn    *net.TCPConn
	control *Control
	work    chan []byte // what the chip's goroutine has to do, in order

	mu      sync.Mutex
	chip    reader.Chip
	atr     []byte
	pending bool // a command has arrived that is not answered
	isCut   bool

	finished chan struct{} // closed when the chip is left alone
}

// learn powers the chip once for its answer to reset, which the reader asks for
// before it gives power.
func (l *link) learn() error {
	atr, err := l.chip.PowerOn()
	if err != nil {
		return err
	}
	l.chip.PowerOff()
	l.atr = slices.Clone(atr)
	return nil
}

// serve reads messages until the connection ends. The chip works in a goroutine of
// its own, so that the answer to reset is told at once while a command takes long.
func (l *link) serve() (lived bool) {
	go l.execute()
	defer close(l.work)
	defer l.cut()
	for {
		body, err := l.receive()
		if err != nil {
			return lived
		}
		lived = true
		if len(body) == 1 && body[0] == controlATR {
			l.mu.Lock()
			atr := l.atr
			l.mu.Unlock()
			if l.send(atr) != nil {
				return lived
			}
			continue
		}
		if len(body) > 1 {
			l.mu.Lock()
			l.pending = true
			l.mu.Unlock()
		}
		l.work <- body
	}
}

// receive reads one message. The reader sends length and body in two packets, and
// without a quick acknowledgement of the first the second waits 44 ms for it.
func (l *link) receive() ([]byte, error) {
	var length [lengthBytes]byte
	if _, err := io.ReadFull(l.conn, length[:]); err != nil {
		return nil, err
	}
	acknowledgeNow(l.conn)
	body := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(l.conn, body)
	return body, err
}

// send writes one message in one packet.
func (l *link) send(body []byte) error {
	if len(body) > longestBody {
		return fmt.Errorf("vpcd: an answer of %d bytes does not fit", len(body))
	}
	message := make([]byte, lengthBytes, lengthBytes+len(body))
	binary.BigEndian.PutUint16(message, uint16(len(body)))
	_, err := l.conn.Write(append(message, body...))
	return err
}

// execute is the chip's goroutine.
func (l *link) execute() {
	defer close(l.finished)
	for body := range l.work {
		chip := l.current()
		switch {
		case len(body) > 1:
			l.command(chip, body)
		case len(body) == 1 && body[0] == controlOff:
			chip.PowerOff()
		case len(body) == 1 && body[0] == controlOn:
			l.started(chip.PowerOn())
		case len(body) == 1 && body[0] == controlReset:
			l.started(chip.Reset())
		}
	}
	l.current().PowerOff()
}

// started keeps the answer to reset, or tears a chip that does not start.
func (l *link) started(atr []byte, err error) {
	if err != nil {
		l.control.gone(l)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.atr = slices.Clone(atr)
}

func (l *link) command(chip reader.Chip, command []byte) {
	answer, err := chip.Transmit(command)
	if err != nil || l.control.tearNow() {
		l.control.gone(l)
		return
	}
	if !l.answer(answer) {
		l.cut()
	}
}

// answer sends the chip's answer unless the card is out already. It holds the lock
// meanwhile: a cut comes either before the answer, and then as a tear, or after it.
func (l *link) answer(answer []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		return true
	}
	if len(answer) == 0 {
		// The reader waits for ever for the body of a message of length 0
		// (measured with vpcd 3.3). A connection that ends in the middle of a
		// command is what it takes for an empty answer.
		l.isCut = true
		_ = l.conn.Close()
		return true
	}
	err := l.send(answer)
	l.pending = err != nil
	return err == nil
}

// current is the chip behind the link.
func (l *link) current() reader.Chip {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chip
}

// commanded tells whether a command is in flight.
func (l *link) commanded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

// swap exchanges the chip behind the open connection. The new one gets power.
func (l *link) swap(chip reader.Chip) {
	atr, err := chip.PowerOn()
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chip, l.atr = chip, slices.Clone(atr)
}

// cut ends the connection. The reader takes a connection that closes during a
// command for success with an empty answer, so then a length is announced first and
// the connection reset, which it reports as a card that was torn out. It must never
// close after one of the two bytes of a length.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		return
	}
	l.isCut = true
	if l.pending {
		_, _ = l.conn.Write([]byte{0x00, 0x10})
		time.Sleep(tearPause)
		_ = l.conn.SetLinger(0)
	}
	_ = l.conn.Close()
}

// ServeControl lets another program move the card, one command in a line over a
// connection to listener: insert (the card that was there last), remove, tear,
// tear before|inside|after INS (the instruction byte in hex; see TearAt), state. Each
// is answered with "ok STATE" or "error TEXT". It ends with ctx.
func (c *Control) ServeControl(ctx context.Context, listener net.Listener) error {
	var conversations sync.WaitGroup
	defer conversations.Wait()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		conversations.Add(1)
		go func() {
			defer conversations.Done()
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer end()
			defer conn.Close()
			c.obey(conn)
		}()
	}
}
