package diag

import (
	"slices"
	"sort"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// Sentence is a text of the catalogue with its facts. Amounts are yuan.
type Sentence struct {
	Key  string         `json:"key"`
	Data map[string]any `json:"data,omitempty"`
}

func say(key string, pairs ...any) Sentence {
	data := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		data[pairs[i].(string)] = pairs[i+1]
	}
	return Sentence{Key: "explain." + key, Data: data}
}

// Sources of a step.
const (
	SourceJournal = "journal"
	SourceTrace   = "trace"
)

// Step is one thing that happened.
type Step struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"`
	Op     string    `json:"op,omitempty"`
	Text   Sentence  `json:"-"`
	Broke  bool      `json:"broke,omitempty"` // here it broke
}

// Break says at which point a run of an order broke.
type Break string

// The points at which an order can break (protocol dossier §2.7 and §2.19).
const (
	BreakNone          Break = "none"           // it did not
	BreakBeforeAsking  Break = "before-asking"  // nobody was asked for money
	BreakRequestLost   Break = "request-lost"   // the request may have arrived, no answer came
	BreakRequestUnsure Break = "request-unsure" // not even known whether the request left
	BreakRefused       Break = "refused"        // by the platform
	BreakAnswer        Break = "answer-refused" // the platform's answer did not pass the program's checks
	BreakBeforeWrite   Break = "before-write"   // granted, the card was not written
	BreakWriteUnsure   Break = "write-unsure"   // not known whether the card was written to at all
	BreakWriteTorn     Break = "write-torn"     // the card was written to, its answer is missing
	BreakWriteRefused  Break = "write-refused"  // the card refused to be written
	BreakWriteFault    Break = "write-fault"    // the card reported a fault: written or not
	BreakProofUnkept   Break = "proof-unkept"   // the card answered, its proof did not reach this disk
	BreakUnreported    Break = "unreported"     // the card is written, the platform has not confirmed
)

// Story is what happened to one order, or in operations that belong to none.
type Story struct {
	Order     string     `json:"order,omitempty"`
	Key       string     `json:"key,omitempty"`
	Kind      string     `json:"kind,omitempty"`
	Card      string     `json:"card,omitempty"`
	AmountFen wallet.Fen `json:"amountFen,omitempty"`
	// Stage is the journal's newest; where there is no journal, what the trace shows.
	Stage wallet.Stage `json:"stage,omitempty"`
	Open  bool         `json:"open"`
	Broke Break        `json:"broke"`
	Code  string       `json:"code,omitempty"`  // that the person was told last
	Cause string       `json:"cause,omitempty"` // the code beneath it
	Steps []Step       `json:"steps"`
	Known []Sentence   `json:"-"`
	Doubt []Sentence   `json:"-"`
	Next  []Sentence   `json:"-"`
}

// Stories tells a case order by order, the one that the person asks about first, then
// what is open, then the rest, the youngest first. Operations of no order come last.
func (c *Case) Stories() []Story {
	ops := operationsOf(c.Trace)
	var stories []Story
	for _, order := range c.orders(ops) {
		stories = append(stories, order.story())
	}
	sort.SliceStable(stories, func(i, j int) bool { return c.rank(stories[i]) < c.rank(stories[j]) })
	var others []*operation
	for _, op := range ops {
		if !op.told {
			others = append(others, op)
		}
	}
	if len(others) > 0 {
		stories = append(stories, otherStory(others))
	}
	return stories
}

func (c *Case) rank(story Story) int {
	switch {
	case c.Order != "" && (story.Order == c.Order || story.Key == c.Order):
		return 0
	case story.Open:
		return 1
	}
	return 2
}

// operation is the lines of one operation of one run of the program. Lines that
// belong to none stand in one without a name.
type operation struct {
	run, name string
	lines     []Line // the answers of GET RESPONSE joined with their commands
	raw       []Line // as they are in the trace
	told      bool   // it belongs to an order
}

// operationsOf groups a trace, in the order of first lines.
func operationsOf(trace []Line) []*operation {
	var ops []*operation
	byName := map[string]*operation{}
	for _, line := range trace {
		name := line.Run + "/" + line.Op
		op := byName[name]
		if op == nil {
			op = &operation{run: line.Run, name: line.Op}
			byName[name], ops = op, append(ops, op)
		}
		op.add(line)
	}
	return ops
}

// add appends a line. On T=0 cards 61xx and GET RESPONSE (card dossier §1.8) are one
// exchange.
func (o *operation) add(line Line) {
	o.raw = append(o.raw, line)
	if n := len(o.lines); n > 0 && line.Kind == KindCard && line.ins() == insGetResponse {
		if last := &o.lines[n-1]; last.Kind == KindCard && strings.HasPrefix(last.SW, "61") {
			last.Answer += line.Answer
			last.SW, last.Trouble = line.SW, line.Trouble
			last.TookUS += line.TookUS
			return
		}
	}
	o.lines = append(o.lines, line)
}

func (o *operation) first() time.Time { return o.lines[0].At }
func (o *operation) last() time.Time {
	line := o.lines[len(o.lines)-1]
	return line.At.Add(time.Duration(line.TookUS) * time.Microsecond)
}

// kind is the operation's name without its number.
func (o *operation) kind() string {
	name, _, _ := strings.Cut(o.name, "-")
	return name
}

func (o *operation) end() *Line {
	if last := &o.lines[len(o.lines)-1]; last.Kind == KindEnd {
		return last
	}
	for i := range o.lines {
		if o.lines[i].Kind == KindEnd {
			return &o.lines[i]
		}
	}
	return nil
}

// orderFacts is everything that a case knows of one order.
type orderFacts struct {
	key     string
	journal []JournalLine
	ops     []*operation
}

// orders finds the orders of the journal and those that only the trace knows.
func (c *Case) orders(ops []*operation) []*orderFacts {
	var found []*orderFacts
	byKey := map[string]*orderFacts{}
	get := func(key string) *orderFacts {
		if byKey[key] == nil {
			byKey[key] = &orderFacts{key: key}
			found = append(found, byKey[key])
		}
		return byKey[key]
	}
	numbers := map[string]string{} // order number to key
	for _, line := range c.Journal {
		get(line.Key).journal = append(get(line.Key).journal, line)
		if line.Order != "" {
			numbers[line.Order] = line.Key
		}
	}
	for _, op := range ops {
		for _, key := range op.keys(byKey, numbers) {
			facts := get(key)
			facts.ops, op.told = append(facts.ops, op), true
		}
	}
	slices.Reverse(found)
	return found
}

// lateJournal is how long after its last line an operation may still have written its
// journal.
const lateJournal = 5 * time.Second

// keys are the orders that an operation was about: those that its end or its requests
// name and, where it has no end, those whose journal moved while it ran.
func (o *operation) keys(known map[string]*orderFacts, numbers map[string]string) []string {
	var keys []string
	note := func(subject string) {
		if key, has := numbers[subject]; has {
			subject = key
		}
		if subject != "" && !slices.Contains(keys, subject) {
			keys = append(keys, subject)
		}
	}
	for _, line := range o.lines {
		switch {
		case line.Kind == KindEnd && line.Key != "":
			note(line.Key)
		case line.Kind == KindRequest && line.Method == "POST" && o.name != "":
			note(line.Subject)
		}
	}
	if o.end() == nil && o.name != "" {
		for key, facts := range known {
			for _, line := range facts.journal {
				if !line.At.Before(o.first()) && line.At.Before(o.last().Add(lateJournal)) {
					note(key)
				}
			}
		}
	}
	sort.Strings(keys)
	return keys
}

// moments are when the journal moved.
func (f *orderFacts) moments() []time.Time {
	var moments []time.Time
	for _, line := range f.journal {
		moments = append(moments, line.At)
	}
	return moments
}

// story tells an order.
func (f *orderFacts) story() Story {
	story := Story{Key: f.key, Broke: BreakNone}
	for _, line := range f.journal {
		story.Kind, story.Card, story.AmountFen, story.Stage = line.Kind, line.Card, line.AmountFen, line.Stage
		if line.Order != "" {
			story.Order = line.Order
		}
		story.Steps = append(story.Steps, Step{At: line.At, Source: SourceJournal, Text: say("stage", "Stage", string(line.Stage), "Note", line.Note)})
	}
	view := f.view()
	if len(f.journal) == 0 {
		story.Stage, story.Kind, story.AmountFen = view.stage(), view.kind, view.amount
		story.Order = view.order
	}
	for _, op := range f.ops {
		story.Steps = append(story.Steps, op.steps(f.moments())...)
		if end := op.end(); end != nil && end.Code != "" {
			story.Code, story.Cause = end.Code, innerCode(end.Code, end.Cause)
		}
	}
	sort.SliceStable(story.Steps, func(i, j int) bool { return story.Steps[i].At.Before(story.Steps[j].At) })
	story.Open = !story.Stage.Final() && story.Stage != ""
	view.judge(&story)
	return story
}

func otherStory(ops []*operation) Story {
	story := Story{Broke: BreakNone}
	for _, op := range ops {
		story.Steps = append(story.Steps, op.steps(nil)...)
		if end := op.end(); end != nil && end.Code != "" {
			story.Code = end.Code
		}
	}
	sort.SliceStable(story.Steps, func(i, j int) bool { return story.Steps[i].At.Before(story.Steps[j].At) })
	if story.Code != "" && core.InfoOf(story.Code).Exit == core.ExitReader {
		story.Next = append(story.Next, say("next.reader"))
	}
	return story
}
