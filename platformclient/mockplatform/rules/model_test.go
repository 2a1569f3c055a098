package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/mockplatform/rules"
)

// The searches of protocol §2.5 drive the decisions of this package through every
// interleaving of a small world. The world: one card, whose holder may reset it,
// replay everything ever seen and delay or drop any message. MACs cannot be
// forged, every load is one unit, and messages never leave the hands of the holder,
// so that delay and loss are the choice not to send. Staff decisions, key search,
// time and amounts are left out; purchases by card come with their own order type.
//
// The platform of the model lacks what only makes it stricter: limits, lists and
// the comparison of the balance with the books.

// violation is what must never happen.
type violation string

const (
	none         violation = ""
	gain         violation = "gain"          // credits on the card exceed the orders still charged
	loss         violation = "loss"          // an order is LOADED though none of its MAC2 ran
	valueCreated violation = "value created" // a valid TAC after VOIDED
)

// step is one move; its numbers are those of INITs, grants and orders.
type step struct {
	verb    string
	a, b, c uint8
}

func (s step) String() string {
	switch s.verb {
	case "INIT":
		return fmt.Sprintf("card: INIT %d over number %d", s.a, s.b)
	case "open":
		return fmt.Sprintf("platform: order %d requested with INIT %d", s.a, s.b)
	case "CREDIT":
		return fmt.Sprintf("card: CREDIT with MAC2 of grant %d", s.a)
	case "settle", "complete", "cancel":
		return fmt.Sprintf("platform: %s order %d with INIT %d, attempt %d", s.verb, s.a, s.b, s.c)
	case "TAC":
		return fmt.Sprintf("platform: TAC of grant %d for order %d", s.b, s.a)
	case "rebuild":
		return fmt.Sprintf("platform: order %d again from signed grant %d", s.a, s.b)
	case "word", "age":
		return fmt.Sprintf("platform: %s, order %d", s.verb, s.a)
	}
	return s.verb
}

type move[S any] struct {
	step step
	to   S
}

// finding is what a search came to.
type finding struct {
	states int
	kind   violation
	steps  []string // shortest way to it
}

func (f finding) String() string {
	if f.kind == none {
		return fmt.Sprintf("%d states, exhausted, safe", f.states)
	}
	return fmt.Sprintf("%d states, %s in %d steps:\n  %s", f.states, f.kind, len(f.steps), strings.Join(f.steps, "\n  "))
}

// maxStates ends a search that its bounds do not end: a mistake in the model.
const maxStates = 2_000_000

// search visits every state that can be reached, nearest first, until judge finds
// a violation. It fails the test where the bounds do not bound.
func search[S comparable](t *testing.T, start S, moves func(S) []move[S], judge func(S) violation) finding {
	t.Helper()
	type visit struct {
		parent int
		step   step
	}
	type arrival struct {
		state S
		visit int
	}
	known := map[S]struct{}{start: {}}
	visits, level := []visit{{parent: -1}}, []arrival{{start, 0}}
	for len(level) > 0 {
		var next []arrival
		for _, here := range level {
			if kind := judge(here.state); kind != none {
				found := finding{states: len(visits), kind: kind}
				for i := here.visit; visits[i].parent >= 0; i = visits[i].parent {
					found.steps = append([]string{visits[i].step.String()}, found.steps...)
				}
				return found
			}
			for _, m := range moves(here.state) {
				if _, seen := known[m.to]; seen {
					continue
				}
				known[m.to] = struct{}{}
				next = append(next, arrival{m.to, len(visits)})
				visits = append(visits, visit{here.visit, m.step})
			}
			require.Less(t, len(visits), maxStates, "the bounds do not end the search")
		}
		level = next
	}
	return finding{states: len(visits)}
}

// safe asserts an exhausted search that was about something: orders were loaded,
// voided and, where the rules can do it, granted again.
func safe(t *testing.T, w setting, atLeast int) {
	t.Helper()
	var loaded, voided, credited bool
	found := search(t, w.start(), w.moves, func(s world) violation {
		for _, o := range s.books.orders {
			loaded = loaded || o.state == isLoaded
			voided = voided || o.state == isVoided
		}
		credited = credited || s.credits > 0
		return w.judge(s)
	})
	t.Log(found)
	require.Equal(t, none, found.kind, "%s", found)
	require.GreaterOrEqual(t, found.states, atLeast, "the search was about nothing")
	require.True(t, loaded && voided && credited, "loaded %v, voided %v, credited %v", loaded, voided, credited)
}

// broken asserts a counter-example of one kind with so many steps at the least.
func broken(t *testing.T, w setting, kind violation, steps int) {
	t.Helper()
	found := search(t, w.start(), w.moves, w.judge)
	t.Log(found)
	require.Equal(t, kind, found.kind)
	require.Len(t, found.steps, steps, "%s", found)
}

// TestModel_Load holds the rows "dishonest client" of protocol §2.5.
func TestModel_Load(t *testing.T) {
	small := setting{orders: 2, inits: 4, grants: 4}
	t.Run("client says not loaded", func(t *testing.T) {
		w := small
		w.rules.TrustClient = true
		broken(t, w, gain, 4)
	})
	t.Run("any MAC1 with the same counter", func(t *testing.T) {
		w := small
		w.rules.AnyMAC1 = true
		broken(t, w, gain, 4) // the very answer that opened the order will do
		w.notOpening = true
		broken(t, w, gain, 5) // and so does one that was made beforehand
	})
	t.Run("probe issued with the grant", func(t *testing.T) { safe(t, small, 1000) })
	t.Run("probe, three orders, five INITs", func(t *testing.T) {
		safe(t, setting{orders: 3, inits: 5, grants: 5}, 10_000)
	})
	t.Run("orders grow old", func(t *testing.T) {
		w := small
		w.ageing = true
		safe(t, w, 1000)
	})
	t.Run("purchases with a counter of their own", func(t *testing.T) {
		w := small
		w.rides, w.opening = 2, 2
		safe(t, w, 1000)
	})
	t.Run("card keeps its session after CREDIT", func(t *testing.T) {
		w := small
		w.staysOpen = true
		broken(t, w, gain, 4)
		w.guarded = true // the client's guard: one CREDIT after one INIT
		safe(t, w, 1000)
		w.guarded, w.refused = false, true // once known, the kind of card is refused
		found := search(t, w.start(), w.moves, w.judge)
		require.Equal(t, none, found.kind)
		// And what happened before that is seen: the counter ran past the grants.
		order := rules.Order{State: "GRANTED", Attempt: 1, Seq: 3, Probe: number(20), Grants: 1}
		decision := rules.Decide(order, rules.Evidence{Attempt: 1, MAC1: &rules.MAC1{Terminal: number(20), Valid: true, Seq: 5}}, rules.Rules{})
		require.Equal(t, rules.CauseJump, decision.Cause)
		require.True(t, decision.Alarm)
	})
}
