// Package diag is what service staff work with: the trace of a program's commands
// and requests, the bundle that a person sends in, what a bundle says in words, and
// its replay.
//
// Nothing here holds a secret. The trace is redacted before it is kept (package
// reader), and a bundle is made from what may be shown alone.
package diag

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"walletcompanion/wallet"
)

// Kinds of lines in a trace.
const (
	KindBegin   = "begin"   // an operation began
	KindEnd     = "end"     // how it ended, as people were told
	KindCard    = "card"    // one command and its answer, redacted
	KindRequest = "request" // one transmission to the platform
)

// Line is one line of a trace, in JSON. At is when its command, request or operation
// began, UTC. Run is one start of the program, N counts its lines from 1; a number
// that is missing was lost. Op names the operation that was under way, "topup-1".
// Hidden bytes stand as "**".
type Line struct {
	At   time.Time `json:"at"`
	Run  string    `json:"run"`
	N    int       `json:"n"`
	Op   string    `json:"op,omitempty"`
	Kind string    `json:"kind"`

	Reader  string `json:"reader,omitempty"`
	Command string `json:"command,omitempty"` // upper-case hex
	Answer  string `json:"answer,omitempty"`  // data without the status word
	SW      string `json:"sw,omitempty"`      // four hex digits; empty without an answer
	Trouble string `json:"trouble,omitempty"` // reader.Class of a command without an answer
	TookUS  int64  `json:"tookUS,omitempty"`

	Method   string `json:"method,omitempty"`
	Route    string `json:"route,omitempty"` // pattern, such as /v1/loads/{id}/result
	Status   int    `json:"status,omitempty"`
	Sent     int    `json:"sent,omitempty"` // bytes
	Received int    `json:"received,omitempty"`

	// Subject is an order's number or key. Code is a code of the error table, or of
	// the wire to the platform.
	Subject string `json:"subject,omitempty"`
	Code    string `json:"code,omitempty"`

	Version   string     `json:"version,omitempty"`
	AmountFen wallet.Fen `json:"amountFen,omitempty"`
	Intent    string     `json:"intent,omitempty"`
	Key       string     `json:"key,omitempty"` // of the journal's entry
	Exit      int        `json:"exit,omitempty"`
	Cause     string     `json:"cause,omitempty"`
	Outcome   string     `json:"outcome,omitempty"`
}

// Bounds of a trace that is read: what somebody sent in may be anything.
const (
	maxTraceBytes = 8 << 20
	maxLineBytes  = 16 << 10
	maxTraceLines = 60_000
	maxTextRunes  = 400
)

// ErrNoTrace means that the bytes are no trace.
var ErrNoTrace = errors.New("this is no trace")

// ParseTrace reads a trace, one JSON object a line. A program that is killed leaves a
// line that is cut short, and two programs may write into one file: lines that are
// none are counted and left out. It fails with ErrNoTrace where hardly any line is
// one, or where the whole is larger than this program ever writes.
func ParseTrace(raw []byte) (lines []Line, skipped int, err error) {
	if len(raw) > maxTraceBytes {
		return nil, 0, fmt.Errorf("%w: larger than %d bytes", ErrNoTrace, maxTraceBytes)
	}
	for each := range bytes.Lines(raw) {
		each = bytes.TrimSpace(each)
		if len(each) == 0 {
			continue
		}
		line, ok := parseLine(each)
		if !ok {
			skipped++
			continue
		}
		lines = append(lines, line)
		if len(lines)+skipped > maxTraceLines {
			return nil, 0, fmt.Errorf("%w: more than %d lines", ErrNoTrace, maxTraceLines)
		}
	}
	if skipped > len(lines) {
		return nil, skipped, fmt.Errorf("%w: %d of %d lines are none", ErrNoTrace, skipped, skipped+len(lines))
	}
	return lines, skipped, nil
}

func parseLine(raw []byte) (Line, bool) {
	var line Line
	if len(raw) > maxLineBytes || json.Unmarshal(raw, &line) != nil || line.At.IsZero() || line.At.Year() < 2000 || line.At.Year() > 9999 {
		return Line{}, false
	}
	switch line.Kind {
	case KindBegin, KindEnd, KindRequest:
	case KindCard:
		if !redactedHex(line.Command, 4) || !redactedHex(line.Answer, 0) || line.SW != "" && (!redactedHex(line.SW, 2) || len(line.SW) != 4) {
			return Line{}, false
		}
	default:
		return Line{}, false
	}
	for _, text := range []*string{&line.Run, &line.Op, &line.Reader, &line.Trouble, &line.Method, &line.Route, &line.Subject,
		&line.Code, &line.Version, &line.Intent, &line.Key, &line.Cause, &line.Outcome} {
		*text = printable(*text)
	}
	line.At = line.At.UTC()
	return line, true
}

// redactedHex reports upper-case hex of at least so many bytes, in which "**" stands
// for a hidden byte.
func redactedHex(text string, least int) bool {
	if len(text)%2 != 0 || len(text) < 2*least {
		return false
	}
	for i := 0; i < len(text); i += 2 {
		if text[i:i+2] == "**" {
			continue
		}
		if !isHexDigit(text[i]) || !isHexDigit(text[i+1]) {
			return false
		}
	}
	return true
}

func isHexDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// printable keeps text from elsewhere from filling a screen or steering a terminal.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxTextRunes {
		return string(runes[:maxTextRunes]) + "…"
	}
	return text
}

// ins is the instruction byte of a command as a trace shows it, 0 where it is hidden.
func (l Line) ins() byte {
	command := hexBytes(l.Command)
	if len(command) < 2 || command[1].hidden {
		return 0
	}
	return command[1].value
}

// data is the answer's byte from…to-1 as a number, and false where one is hidden or
// missing.
func (l Line) number(from, to int) (int64, bool) {
	answer := hexBytes(l.Answer)
	if len(answer) < to {
		return 0, false
	}
	var value int64
	for _, b := range answer[from:to] {
		if b.hidden {
			return 0, false
		}
		value = value<<8 | int64(b.value)
	}
	return value, true
}

// traceByte is a byte of a command or an answer, or one that the trace hides.
type traceByte struct {
	value  byte
	hidden bool
}

// hexBytes reads what redactedHex accepts.
func hexBytes(text string) []traceByte {
	all := make([]traceByte, 0, len(text)/2)
	for i := 0; i+1 < len(text); i += 2 {
		if text[i] == '*' {
			all = append(all, traceByte{hidden: true})
			continue
		}
		all = append(all, traceByte{value: hexValue(text[i])<<4 | hexValue(text[i+1])})
	}
	return all
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'A' + 10
}
