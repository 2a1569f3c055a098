package reader

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Exchange is one command and its answer as the trace keeps them.
type Exchange struct {
	At       time.Time
	Reader   string
	Command  string // upper-case hex, hidden bytes as "**"
	Answer   string // data, without the status word; likewise
	SW       uint16 // status word; 0 without an answer
	Took     time.Duration
	Trouble  Class // why there is no answer; empty when there is one
	Sequence int   // counts the exchanges of a Trace from 1
}

// String is the line of an exchange: time, reader, command, status word, data and
// duration. The reader's name is quoted, since it comes from outside.
func (e Exchange) String() string {
	outcome := fmt.Sprintf("%04X", e.SW)
	if e.Trouble != "" {
		outcome = string(e.Trouble)
	}
	return fmt.Sprintf("%s %q %s -> %s %s %.1fms", e.At.UTC().Format(time.RFC3339Nano), e.Reader,
		e.Command, outcome, e.Answer, float64(e.Took.Microseconds())/1000)
}

// Redact writes a command and its answer (with status word; empty without one) as
// hex, with "**" for every byte that must not be kept. The shown answer leaves the
// status word out. It runs on the goroutine of Transmit and may keep state.
type Redact func(command, answer []byte) (shownCommand, shownAnswer string)

// Trace records what sessions say, redacted before it is kept: the last exchanges in
// memory and, if there is a writer, one line for each.
type Trace struct {
	redact Redact
	now    func() time.Time

	mu     sync.Mutex
	ring   []Exchange
	next   int // place of the next exchange in ring once it is full
	count  int
	writer io.Writer
	err    error // first failure of the writer
	told   func(Exchange)
}

// NewTrace returns a trace that remembers the last size exchanges. The writer may be
// nil; redact nil means RedactPurse.
func NewTrace(size int, writer io.Writer, redact Redact) *Trace {
	if redact == nil {
		redact = RedactPurse
	}
	return &Trace{redact: redact, now: time.Now, ring: make([]Exchange, 0, max(size, 1)), writer: writer}
}

// Wrap returns a session that does what the given one does and records it.
func (t *Trace) Wrap(session Session, readerName string) Session {
	return &tracedSession{Session: session, trace: t, reader: readerName}
}

// Tell lets told have every exchange, redacted, on the goroutine of Transmit and after
// the card has answered. It is set before the first Wrap, and must be quick.
func (t *Trace) Tell(told func(Exchange)) { t.told = told }

// Recent returns the remembered exchanges, oldest first.
func (t *Trace) Recent() []Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	recent := make([]Exchange, 0, len(t.ring))
	recent = append(recent, t.ring[t.next:]...)
	return append(recent, t.ring[:t.next]...)
}

// Err is the first failure of the writer. The trace goes on in memory: a full disk
// must not stop a conversation with a card.
func (t *Trace) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Trace) record(e Exchange) Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	e.Sequence = t.count
	if len(t.ring) < cap(t.ring) {
		t.ring = append(t.ring, e)
	} else {
		t.ring[t.next] = e
		t.next = (t.next + 1) % len(t.ring)
	}
	if t.writer != nil && t.err == nil {
		_, t.err = fmt.Fprintln(t.writer, e)
	}
	return e
}

type tracedSession struct {
	Session
	trace  *Trace
	reader string
	// asked is the command whose whole answer GET RESPONSE will bring: it was answered
	// by 61xx without data. nil otherwise.
	asked []byte
}

// Transmit implements Session.
func (s *tracedSession) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	e := Exchange{At: s.trace.now(), Reader: s.reader}
	answer, err := s.Session.Transmit(ctx, command)
	e.Took = s.trace.now().Sub(e.At)
	if err != nil {
		e.Trouble = ClassOf(err)
		if e.Trouble == "" {
			e.Trouble = Class("closed")
		}
		answer = nil
	}
	e.Command, e.Answer = s.show(command, answer)
	if n := len(answer); n >= 2 {
		e.SW = uint16(answer[n-2])<<8 | uint16(answer[n-1])
	}
	e = s.trace.record(e)
	if s.trace.told != nil {
		s.trace.told(e)
	}
	return answer, err
}

// show redacts an exchange. What GET RESPONSE (00 C0, card dossier §1.8) brings is
// redacted as the answer to the command that it continues.
func (s *tracedSession) show(command, answer []byte) (shownCommand, shownAnswer string) {
	asked := s.asked
	s.asked = nil
	if len(command) > 1 && command[1] == insGetResponse && asked != nil {
		shownCommand, _ = s.trace.redact(command, nil)
		_, shownAnswer = s.trace.redact(asked, answer)
		return shownCommand, shownAnswer
	}
	if len(answer) == 2 && answer[0] == 0x61 {
		s.asked = append([]byte(nil), command...)
	}
	return s.trace.redact(command, answer)
}
