package rules_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// phase is how far the journal of an honest client is.
type phase uint8

const (
	idle phase = iota
	intended
	openedCard
	asked
	holdsGrant // the grant is in the journal, its MAC2 in memory only
	crediting
	credited // the TAC is in the journal
	unknown
	closed
)

// honest is the world of one order of a client that follows the protocol while
// everything around it fails: card, network, its own computer.
type honest struct {
	w          world
	phase      phase
	running    bool
	inMemory   bool // MAC2
	underway   bool // a copy of the request for a load is still in the network
	tombstone  bool // the platform has closed the key unseen
	opening    uint8
	grantIndex uint8
}

// honestSetting: proves tells whether GET TRANSACTION PROVE gives the TAC.
type honestSetting struct {
	setting
	proves bool
}

func (g honestSetting) judge(s honest) violation {
	if kind := g.setting.judge(s.w); kind != none {
		return kind
	}
	o := s.w.books.orders[0]
	switch {
	case s.phase == closed && o.state == isGranted:
		return "an open order that the client has closed"
	case s.phase == closed && s.w.credits > 0 && o.state != isLoaded:
		return gain
	case o.state == isSuspense:
		return "SUSPENSE without a contradiction"
	}
	return none
}

func (g honestSetting) moves(s honest) (list []move[honest]) {
	add := func(verb string, to honest) {
		if to != s {
			list = append(list, move[honest]{step{verb: verb}, to})
		}
	}
	if s.underway {
		next := s
		next.underway = false
		add("the network loses the request", next)
		if !s.tombstone && s.w.opened == 0 {
			if w, ok := g.open(s.w, s.opening); ok {
				next.w = w
				add("the request arrives, its answer is lost", next)
				if s.running && s.phase == asked && s.w.session == s.opening+1 {
					next.phase, next.inMemory, next.grantIndex = holdsGrant, true, 0
					add("the request arrives, and so does its answer", next)
				}
			}
		}
	}
	if !s.running {
		add("the client starts", g.begin(s))
		return list
	}
	crash := s
	crash.running, crash.inMemory, crash.w.session = false, false, 0
	add("the client dies", crash)
	torn := s
	torn.w.session, torn.inMemory = 0, false
	if s.phase == holdsGrant {
		torn.phase = unknown
	}
	add("the card leaves", torn)
	g.clientMoves(s, add)
	return list
}

// begin is the client's start: what was never sent is given up, and the session
// answer lists the order if the platform has it.
func (g honestSetting) begin(s honest) honest {
	s.running = true
	switch s.phase {
	case intended, openedCard:
		s.phase = closed
	case asked, holdsGrant, crediting:
		if s.w.opened > 0 {
			s.phase = unknown
		}
	}
	return s
}

func (g honestSetting) clientMoves(s honest, add func(string, honest)) {
	next := s
	switch s.phase {
	case idle:
		next.phase = intended
		add("the person confirms", next)
	case intended:
		if w, ok := g.init(s.w, s.w.madeInits); ok {
			next.w, next.phase, next.opening = w, openedCard, s.w.madeInits
			add("INIT", next)
			next.phase, next.w.session = intended, 0
			add("the card leaves during INIT", next)
		}
	case openedCard:
		if s.w.session == 0 {
			next.phase = intended
			add("from SELECT again", next)
			return
		}
		next.phase, next.underway = asked, true
		add("the request leaves", next)
	case asked:
		if !s.underway && s.w.session == s.opening+1 && s.w.opened > 0 && s.w.books.orders[0].attempt == 1 {
			next.phase, next.inMemory = holdsGrant, true
			add("the same key again, the stored answer arrives", next)
		}
		add("abandon is lost", s)
		done := g.abandon(s)
		add("abandon and its answer arrive", done)
		done.phase = asked
		add("abandon arrives, its answer is lost", done)
	case holdsGrant:
		if s.inMemory && s.w.session != 0 {
			next.phase = crediting
			add("CREDITING is written", next)
		}
	case crediting:
		g.creditMoves(s, add)
	case credited:
		done := g.report(s)
		add("the result arrives, and so does its answer", done)
		done.phase = credited
		add("the result arrives, its answer is lost", done)
	case unknown:
		g.touchMoves(s, add)
	}
}

func (g honestSetting) init(w world, name uint8) (world, bool) {
	if w.madeInits >= g.inits {
		return w, false
	}
	w.inits[w.madeInits] = initAnswer{name, w.seq, w.balance, w.madeInits + 1, w.books.epoch}
	w.madeInits++
	w.session = w.madeInits
	return w, true
}

func (g honestSetting) abandon(s honest) honest {
	if s.w.opened > 0 {
		s.phase = unknown
		return s
	}
	s.tombstone, s.phase = true, closed
	return s
}

func (g honestSetting) creditMoves(s honest, add func(string, honest)) {
	next := s
	next.phase, next.inMemory, next.w.session = unknown, false, 0
	add("the card is torn before it commits", next)
	w, ok := g.credit(s.w, s.grantIndex)
	if !ok {
		return
	}
	next.w = w
	add("the card commits, its answer is lost", next)
	next.phase = credited
	add("CREDIT", next)
}

func (g honestSetting) report(s honest) honest {
	w, _ := g.decide(s.w, 0, 0, rules.Evidence{
		Attempt: int(s.w.books.orders[0].attempt), Intent: wallet.IntentSettle, Payer: true, Counts: true, TAC: &rules.TAC{Valid: true},
	}, s.w.books.floor)
	s.w, s.phase = w, closed
	return s
}

// touch presents the card: GET TRANSACTION PROVE, then INITIALIZE FOR LOAD over the
// probe, in one request.
func (g honestSetting) touch(s honest, intent wallet.Intent) (honest, bool) {
	loadedYet := s.w.tacs != 0
	w, ok := g.init(s.w, s.w.books.orders[0].probe)
	if !ok {
		return s, false
	}
	s.w = w
	if g.proves && loadedYet {
		return g.report(s), true
	}
	before := s.w.madeGrants
	attempt := s.w.books.orders[0].attempt
	if s.w, ok = g.present(s.w, 0, s.w.madeInits-1, attempt, intent); !ok {
		return s, false
	}
	switch {
	case s.w.madeGrants > before:
		s.phase, s.inMemory, s.grantIndex = holdsGrant, true, before
	case s.w.books.orders[0].state == isLoaded || s.w.books.orders[0].state == isVoided:
		s.phase = closed
	}
	return s, true
}

func (g honestSetting) touchMoves(s honest, add func(string, honest)) {
	if o := s.w.books.orders[0]; o.state == isLoaded || o.state == isVoided {
		next := s // the answer was lost: the same question again tells the state
		next.phase = closed
		add("asked again", next)
		return
	}
	if w, ok := g.init(s.w, s.w.books.orders[0].probe); ok {
		next := s
		next.w = w
		next.w.session = 0
		add("a touch, its request is lost", next)
	}
	for _, intent := range []wallet.Intent{wallet.IntentSettle, wallet.IntentCancel, wallet.IntentComplete} {
		next, ok := g.touch(s, intent)
		if !ok {
			continue
		}
		add("a touch: "+string(intent), next)
		next.phase, next.inMemory, next.w.session = unknown, false, 0
		add("a touch: "+string(intent)+", its answer is lost", next)
	}
}

// finish goes on without any failure and counts touches of the card after the one
// that failed, requests, and requests that the person waits for.
func (g honestSetting) finish(t *testing.T, s honest, intent wallet.Intent) (end honest, touches, requests, waited int) {
	if !s.running {
		s = g.begin(s)
	}
	if s.phase == asked {
		s.phase = unknown
		if s.w.opened == 0 {
			s = g.abandon(s)
			requests, waited = 1, 1
		}
	}
	if s.phase == holdsGrant || s.phase == crediting {
		if w, ok := g.credit(s.w, s.grantIndex); ok && s.inMemory {
			s.w, s.phase = w, credited
		} else {
			s.phase = unknown
		}
	}
	if s.phase == unknown {
		requests, waited = requests+1, waited+1
		if o := s.w.books.orders[0]; o.state == isGranted {
			touches++
			var ok bool
			s, ok = g.touch(s, intent)
			require.True(t, ok)
		} else {
			s.phase = closed
		}
		if s.phase == holdsGrant {
			w, ok := g.credit(s.w, s.grantIndex)
			require.True(t, ok, "a grant for this very INIT runs")
			s.w, s.phase = w, credited
		}
	}
	if s.phase == credited {
		requests++
		s = g.report(s)
	}
	return s, touches, requests, waited
}

// TestModel_Load_HonestClient is the row "honest client" of protocol §2.5: whatever
// fails wherever, nobody gains or loses, and from every state one touch of the
// card and at most two requests, one of them waited for, finish the order.
func TestModel_Load_HonestClient(t *testing.T) {
	for name, proves := range map[string]bool{"card proves": true, "card proves nothing": false} {
		t.Run(name, func(t *testing.T) {
			g := honestSetting{setting{orders: 1, inits: 4, grants: 3}, proves}
			wide := honestSetting{setting{orders: 1, inits: maxInits, grants: maxGrants}, proves}
			reached := map[phase]int{}
			ends := map[state]int{}
			start := honest{w: g.start(), running: true}
			found := search(t, start, g.moves, func(s honest) violation {
				reached[s.phase]++
				ends[s.w.books.orders[0].state]++
				if s.phase > openedCard && s.phase != closed {
					for _, intent := range []wallet.Intent{wallet.IntentCancel, wallet.IntentComplete} {
						end, touches, requests, waited := wide.finish(t, s, intent)
						require.Equal(t, closed, end.phase, "%+v", s)
						require.Equal(t, none, wide.judge(end), "%+v", s)
						require.LessOrEqual(t, touches, 1, "%+v", s)
						require.LessOrEqual(t, requests, 2, "%+v", s)
						require.LessOrEqual(t, waited, 1, "%+v", s)
					}
				}
				return g.judge(s)
			})
			t.Log(found)
			require.Equal(t, none, found.kind, "%s", found)
			require.Greater(t, found.states, 73)
			require.Len(t, reached, int(closed)+1, "a phase was never reached")
			require.NotZero(t, ends[isLoaded])
			require.NotZero(t, ends[isVoided])

			// A client that closes an order without asking leaves money held.
			hasty := func(s honest) []move[honest] {
				list := g.moves(s)
				if s.phase == asked {
					s.phase = closed
					list = append(list, move[honest]{step{verb: "given up without abandon"}, s})
				}
				return list
			}
			require.NotEqual(t, none, search(t, start, hasty, g.judge).kind)
		})
	}
}
