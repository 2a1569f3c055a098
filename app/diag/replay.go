package diag

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// ErrNothingToReplay means that a case holds no operation that can be played.
var ErrNothingToReplay = errors.New("the record holds no reading, top-up or purchase with card commands")

// Ended is how an operation ended.
type Ended struct {
	Code  string       `json:"code"` // empty: without trouble
	Exit  int          `json:"exit"`
	Stage wallet.Stage `json:"stage,omitempty"` // the journal's newest
	Inner string       `json:"inner,omitempty"` // code of the cause, where it tells more than Code
	Cause string       `json:"cause,omitempty"`
}

// Replayed is what a replay showed.
type Replayed struct {
	Op       string
	At       time.Time
	Recorded Ended
	Here     Ended
	Stages   []wallet.Stage // that the journal went through here
	Answered int            // commands that the record answered
	Filled   int            // of them, with hidden bytes, which are 00 here
	// Unmatched are commands that the record does not hold, redacted; Skipped is how
	// many of the record's commands this program did not send.
	Unmatched []string
	Skipped   int
	// Same reports that it ended with the same code and exit, for the same cause. nil:
	// the record has no end to compare with, or what came first cannot be played.
	Same *bool
	// Limits say what a replay of this record cannot show.
	Limits []Sentence
}

// Replay plays the card's side of the newest operation that went wrong, or of the
// newest one, against this program. The platform's side is a stand-in that answers as
// the recorded requests were answered: granted, refused, or not at all. It signs with a
// key of its own, computes no code of a card, and is asked for nothing that a real
// platform or card would hear of.
//
// store is an empty one of the replay's own. Errors: ErrNothingToReplay, the system's.
func (c *Case) Replay(ctx context.Context, store core.Store) (*Replayed, error) {
	op := c.toReplay()
	if op == nil {
		return nil, ErrNothingToReplay
	}
	stand := newStandIn(op)
	card := &recordedCard{lines: cardLines(op), ends: op.end() != nil}
	result := &Replayed{Op: op.name, At: op.first(), Recorded: c.recorded(op)}
	program := core.New(core.Config{
		Readers: card, Store: store, Platform: stand,
		LockMoney: func(context.Context) (func(), error) { return func() {}, nil },
		Prepare:   func(context.Context, wallet.Purse) (string, error) { return "", nil },
		NewKey:    func() string { return stand.key },
		AfterStage: func(stage wallet.Stage) {
			if n := len(result.Stages); n == 0 || result.Stages[n-1] != stage {
				result.Stages = append(result.Stages, stage)
			}
		},
	})
	err := stand.run(ctx, program)
	if failure := core.Explain(err); failure != nil {
		result.Here = Ended{Code: core.InfoOf(failure.Code).Code, Exit: failure.Exit(), Cause: printable(failure.Error())}
		result.Here.Inner = innerCode(result.Here.Code, result.Here.Cause)
	}
	if n := len(result.Stages); n > 0 {
		result.Here.Stage = result.Stages[n-1]
	}
	result.Answered, result.Filled, result.Unmatched, result.Skipped = card.answered, card.filled, card.unmatched, card.skipped
	result.compare(op, stand)
	return result, nil
}

// toReplay is the newest operation with trouble that the card took part in, else the
// newest with card commands; of the order that the person asks about, where there is
// one.
func (c *Case) toReplay() *operation {
	var chosen *operation
	rank := -1
	for _, op := range operationsOf(c.Trace) {
		if !slices.Contains([]string{core.OperationQuery, core.OperationTopUp, core.OperationPay, core.OperationUnload}, op.kind()) || len(cardLines(op)) == 0 {
			continue
		}
		value := 0
		end := op.end()
		if end == nil || end.Code != "" {
			value = 1
		}
		if c.Order != "" && op.concerns(c.names()) {
			value += 2
		}
		if value >= rank {
			chosen, rank = op, value
		}
	}
	return chosen
}

// names are the number and the key of the order that the person asks about.
func (c *Case) names() []string {
	names := []string{c.Order}
	for _, line := range c.Journal {
		if line.Order == c.Order {
			names = append(names, line.Key)
		}
	}
	return names
}

func (o *operation) concerns(names []string) bool {
	return slices.ContainsFunc(o.lines, func(l Line) bool { return l.concerns(names) })
}

// settlesFirst reports that the operation asked the card about an earlier order before
// it asked the platform about its own.
func (o *operation) settlesFirst() bool {
	for _, line := range o.lines {
		if line.asksForGrant() {
			return false
		}
		if line.Kind == KindCard && line.ins() == insProve {
			return true
		}
	}
	return false
}

func cardLines(op *operation) []Line {
	var lines []Line
	for _, line := range op.raw {
		if line.Kind == KindCard {
			lines = append(lines, line)
		}
	}
	return lines
}

// recorded is how the operation ended on the other computer.
func (c *Case) recorded(op *operation) Ended {
	var ended Ended
	if end := op.end(); end != nil {
		ended = Ended{Code: end.Code, Exit: end.Exit, Cause: end.Cause, Inner: innerCode(end.Code, end.Cause)}
	}
	for _, line := range c.Journal {
		if op.concerns([]string{line.Key}) && !line.At.After(op.last().Add(time.Second)) {
			ended.Stage = line.Stage
		}
	}
	return ended
}

// innerCode is the code of the error table that stands deepest in the words of a
// cause: under ORDER_OPEN it tells a card that left from a journal that could not be
// written.
func innerCode(code, cause string) string {
	inner := ""
	for _, word := range strings.FieldsFunc(cause, func(r rune) bool { return r == ':' || r == ' ' }) {
		if word != code && slices.ContainsFunc(core.ErrorTable, func(info core.ErrorInfo) bool { return info.Code == word }) {
			inner = word
		}
	}
	return inner
}

// compare judges the replay and names its limits.
func (r *Replayed) compare(op *operation, stand *standIn) {
	limit := func(key string, pairs ...any) { r.Limits = append(r.Limits, say("limit."+key, pairs...)) }
	end := op.end()
	if end == nil {
		limit("killed")
	} else {
		same := r.Here.Code == r.Recorded.Code && r.Here.Exit == r.Recorded.Exit && r.Here.Inner == r.Recorded.Inner
		if r.Same = &same; !same && op.settlesFirst() {
			r.Same = nil
			limit("earlier")
		}
	}
	if r.Filled > 0 {
		limit("hidden", "Count", r.Filled)
	}
	if len(r.Unmatched) > 0 {
		limit("unmatched", "Count", len(r.Unmatched))
	}
	if r.Skipped > 0 {
		limit("skipped", "Count", r.Skipped)
	}
	if stand.used {
		limit("platform")
	}
	if stand.refused {
		limit("refusal")
	}
	if end == nil {
		return
	}
	switch {
	case end.Code == string(wallet.CodeCapExceeded):
		limit("policy")
	case strings.Contains(end.Cause, string(wallet.CodeJournalFailed)):
		limit("disk")
	case strings.Contains(end.Cause, string(wallet.CodeGrantForged)) || strings.Contains(end.Cause, "UNSIGNED"):
		limit("signature")
	}
}

// recordedCard is a reader whose card answers from a trace. A command is matched by
// what the trace shows of it; hidden bytes fit anything.
type recordedCard struct {
	lines     []Line
	ends      bool // the operation came to its end, so that the record is whole
	next      int
	answered  int
	filled    int
	skipped   int
	unmatched []string
}

const recordedReader = "record"

// List implements reader.Driver: one reader, with a card as long as the record goes on.
func (c *recordedCard) List(context.Context) ([]reader.Info, error) {
	state := reader.StatePresent
	if c.next >= len(c.lines) {
		state = reader.StateEmpty
	}
	return []reader.Info{{Name: recordedReader, Driver: "record", State: state}}, nil
}

// Watch implements reader.Driver; nothing ever changes here.
func (c *recordedCard) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	changed(c.List(ctx))
	<-ctx.Done()
	return ctx.Err()
}

// Open implements reader.Driver.
func (c *recordedCard) Open(context.Context, string) (reader.Session, error) {
	return &recordedSession{card: c}, nil
}

type recordedSession struct {
	card *recordedCard
	gone error
}

// ATR implements reader.Session; a trace holds none.
func (s *recordedSession) ATR() []byte { return nil }

// Close implements reader.Session.
func (s *recordedSession) Close() error { return nil }

// Transmit answers from the record: the next line that fits. A command that the
// record does not hold is answered as recorded cards answer, 6A82 or 6D00; after the
// record's last line the card has left.
func (s *recordedSession) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if s.gone != nil {
		return nil, s.gone
	}
	card := s.card
	for i := card.next; i < len(card.lines); i++ {
		if !fits(card.lines[i].Command, command) {
			continue
		}
		card.skipped += i - card.next
		card.next = i + 1
		return s.answer(card.lines[i])
	}
	shown, _ := reader.RedactPurse(command, nil)
	if card.next >= len(card.lines) {
		s.gone = &reader.Error{Class: reader.CardGone, Op: "transmit", Err: errors.New("the record ends here")}
		if card.ends {
			card.unmatched = append(card.unmatched, shown)
		}
		return nil, s.gone
	}
	card.unmatched = append(card.unmatched, shown)
	if len(command) > 1 && (command[1] == insSelect || command[1] == insReadBinary || command[1] == insReadRecord) {
		return []byte{0x6A, 0x82}, nil
	}
	return []byte{0x6D, 0x00}, nil
}

func (s *recordedSession) answer(line Line) ([]byte, error) {
	s.card.answered++
	if line.Trouble != "" {
		s.gone = &reader.Error{Class: reader.Class(line.Trouble), Op: "transmit", Err: errors.New("as recorded")}
		return nil, s.gone
	}
	shown := hexBytes(line.Answer)
	answer := make([]byte, 0, len(shown)+2)
	hidden := false
	for _, b := range shown {
		answer = append(answer, b.value)
		hidden = hidden || b.hidden
	}
	if hidden {
		s.card.filled++
	}
	for _, b := range hexBytes(line.SW) {
		answer = append(answer, b.value)
	}
	return answer, nil
}

// fits compares a command with what a trace shows of one.
func fits(shown string, command []byte) bool {
	bytes := hexBytes(shown)
	if len(bytes) != len(command) {
		return false
	}
	for i, b := range bytes {
		if !b.hidden && b.value != command[i] {
			return false
		}
	}
	return true
}
