package rules_test

import (
	"math/bits"

	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

const (
	maxInits  = 7
	maxGrants = 5
	maxOrders = 3
	firstSeq  = 1

	// Names of terminal numbers: a lease is called after its INIT, a probe after
	// the grant that it came with, or after the restore that it was drawn in.
	probeNames = 16
	freshNames = 32
)

type state uint8

const (
	absent state = iota
	isGranted
	isLoaded
	isVoided
	isSuspense
)

var (
	stateWords = [...]wallet.LoadState{"", wallet.StateGranted, wallet.StateLoaded, wallet.StateVoided, wallet.StateSuspense}
	causes     = [...]rules.Cause{
		"", rules.CauseAge, rules.CauseWrongEvidence, rules.CauseBelowGrant, rules.CauseBelowFloor, rules.CauseJump, rules.CauseSharedCounter,
		rules.CauseOtherHost, rules.CauseBalance, rules.CauseRepeatedRandom, rules.CauseValueCreated, rules.CauseRestored,
	}
)

func causeNumber(cause rules.Cause) uint8 {
	for i, known := range causes {
		if known == cause {
			return uint8(i)
		}
	}
	panic("the model does not know the cause " + cause)
}

func number(name uint8) wallet.TerminalNumber { return wallet.TerminalNumber{name} }

// setting is one row: the rules, the kind of card, and the bounds.
type setting struct {
	rules                 rules.Rules
	orders, inits, grants uint8
	opening               uint8 // balance of the card at the start
	rides                 uint8 // purchases in shops
	shared                bool  // purchases move the online counter
	staysOpen             bool  // the card keeps its session after CREDIT
	randoms               uint8 // the card knows so many randoms; 0: never repeats one
	restores              uint8
	oldLeases             bool // leases of before a restore stay valid
	ageing                bool // orders become 55 days old
	notOpening            bool // the answer that opened an order is no evidence
	guarded               bool // one CREDIT after one INIT
	refused               bool // the kind of card is refused
	otherHost, toldOfHost bool // another host loads the card, and the platform knows it
}

// initAnswer is a signed answer to INITIALIZE FOR LOAD.
type initAnswer struct{ name, seq, balance, random, epoch uint8 }

// grant is a MAC2 with its signed grant.
type grant struct{ order, attempt, init, epoch, seq uint8 }

// row is an order in the books.
type row struct {
	state                            state
	cause, attempt, seq, floor       uint8
	known                            bool
	before, probe, probeEpoch, since uint8 // since: epoch of the grant
	opened                           uint8
	retired                          uint64
}

// books are what the platform stores, and what a restore takes back.
type books struct {
	orders  [maxOrders]row
	floor   uint8
	refused bool
	epoch   uint8
	used    uint16 // leases, by the INIT that they are named after
	seen    uint16 // INIT answers that were verified
}

// world is everything: the card, the messages in the holder's hands, the platform.
type world struct {
	seq, balance, session uint8 // session: INIT number + 1; 0: none
	spent                 bool  // CREDIT was sent in this session
	credits, rides        uint8
	inits                 [maxInits]initAnswer
	madeInits             uint8
	grants                [maxGrants]grant
	madeGrants            uint8
	tacs                  uint8 // grants whose TAC the card has given
	ran                   uint8 // orders of which a MAC2 ran
	opened                uint8 // orders
	hostLoads             uint8
	books, backup         books
	hasBackup             bool
	restores, fresh       uint8
}

func (g setting) start() world {
	return world{seq: firstSeq, balance: g.opening, books: books{floor: firstSeq, epoch: 1, refused: g.refused}}
}

// judge finds the violation in a state. An order that a restore has taken from the
// books and that nobody has brought back is the loss that §2.7.1 admits: its one
// credit is not counted here.
func (g setting) judge(w world) violation {
	charged, lostCredits := 0, 0
	for i, o := range w.books.orders {
		ran := w.ran>>i&1 == 1
		switch {
		case o.state == isLoaded && !ran:
			return loss
		case o.state == isSuspense && causes[o.cause] == rules.CauseValueCreated:
			return valueCreated
		case o.state == absent && ran:
			lostCredits++
		case o.state != absent && o.state != isVoided:
			charged++
		}
	}
	if int(w.credits)-lostCredits > charged {
		return gain
	}
	return none
}

func (g setting) moves(w world) (list []move[world]) {
	add := func(verb string, a, b, c uint8, to world) {
		if to != w {
			list = append(list, move[world]{step{verb, a, b, c}, to})
		}
	}
	g.cardMoves(w, add)
	g.platformMoves(w, add)
	return list
}

type adder func(verb string, a, b, c uint8, to world)

// cardMoves are what the holder can do with the card alone.
func (g setting) cardMoves(w world, add adder) {
	if w.session != 0 {
		next := w
		next.session, next.spent = 0, false
		add("card: reset", 0, 0, 0, next)
	}
	if w.madeInits < g.inits {
		for _, name := range g.numbers(w) {
			for random := uint8(1); random <= max(g.randoms, 1); random++ {
				next := w
				answer := initAnswer{name, w.seq, w.balance, random, w.books.epoch}
				if g.randoms == 0 {
					answer.random = w.madeInits + 1
				}
				next.inits[w.madeInits] = answer
				next.madeInits++
				next.session, next.spent = next.madeInits, false
				add("INIT", w.madeInits, name, 0, next)
			}
		}
	}
	for i := range w.madeGrants {
		if next, ok := g.credit(w, i); ok {
			add("CREDIT", i, 0, 0, next)
		}
	}
	if w.rides < g.rides && w.balance > 0 {
		next := w
		next.rides, next.balance, next.session, next.spent = w.rides+1, w.balance-1, 0, false
		if g.shared {
			next.seq++
		}
		add("card: a purchase in a shop", 0, 0, 0, next)
	}
	if g.otherHost && w.hostLoads == 0 {
		next := w
		next.hostLoads, next.session, next.spent = 1, 0, false
		next.seq, next.balance = w.seq+1, w.balance+1
		add("card: loaded by another host", 0, 0, 0, next)
	}
}

// numbers are the terminal numbers that the holder can name: a fresh lease and
// everything that was ever handed out. An old lease again is another answer only
// where the random is the same.
func (g setting) numbers(w world) []uint8 {
	names := []uint8{w.madeInits}
	if g.randoms > 0 {
		for i := range w.madeInits {
			if w.inits[i].name == i {
				names = append(names, i)
			}
		}
	}
	for i := range w.madeGrants {
		names = append(names, probeNames+i)
	}
	for i := range w.fresh {
		names = append(names, freshNames+i)
	}
	return names
}

// credit runs a MAC2 on the card, where its session is the one that it was made for.
func (g setting) credit(w world, i uint8) (world, bool) {
	if w.session == 0 || g.guarded && w.spent {
		return w, false
	}
	made, live := w.inits[w.grants[i].init], w.inits[w.session-1]
	if made.random != live.random || made.seq != live.seq || made.name != live.name || made.balance != live.balance {
		return w, false
	}
	if w.credits >= g.grants {
		return w, false
	}
	w.seq, w.balance, w.credits = w.seq+1, w.balance+1, w.credits+1
	w.tacs |= 1 << i
	w.ran |= 1 << w.grants[i].order
	w.spent = true
	if !g.staysOpen {
		w.session, w.spent = 0, false
	}
	return w, true
}

// platformMoves are the messages that the holder can send, and what can happen to
// the books by themselves.
func (g setting) platformMoves(w world, add adder) {
	for m := range w.madeInits {
		if next, ok := g.open(w, m); ok {
			add("open", w.opened, m, 0, next)
		}
	}
	for i := range w.opened {
		if w.books.orders[i].state == absent {
			continue
		}
		g.evidenceMoves(w, i, add)
		if o := w.books.orders[i]; g.ageing && o.state == isGranted {
			next := w
			next.books.orders[i].state, next.books.orders[i].cause = isSuspense, causeNumber(rules.CauseAge)
			add("age", i, 0, 0, next)
		}
	}
	if g.restores == 0 {
		return
	}
	for i := range w.madeGrants {
		if next, ok := g.rebuild(w, i); ok {
			add("rebuild", w.grants[i].order, i, 0, next)
		}
	}
	if !w.hasBackup {
		next := w
		next.backup, next.hasBackup = w.books, true
		add("platform: backup", 0, 0, 0, next)
	}
	if w.hasBackup && w.restores < g.restores {
		add("platform: restore", 0, 0, 0, g.restore(w))
	}
}

func (g setting) evidenceMoves(w world, i uint8, add adder) {
	for _, intent := range []wallet.Intent{wallet.IntentSettle, wallet.IntentCancel, wallet.IntentComplete} {
		for m := range w.madeInits {
			for attempt := uint8(1); attempt <= w.books.orders[i].attempt; attempt++ {
				if next, ok := g.present(w, i, m, attempt, intent); ok {
					add(string(intent), i, m, attempt, next)
				}
			}
		}
	}
	for j := range w.madeGrants {
		if w.tacs>>j&1 == 1 && w.grants[j].order == i {
			evidence := rules.Evidence{Intent: wallet.IntentSettle, Payer: true, Counts: true, TAC: &rules.TAC{Valid: true}}
			if next, ok := g.decide(w, i, 0, evidence, w.books.floor); ok {
				add("TAC", i, j, 0, next)
			}
		}
	}
	if g.rules.TrustClient {
		evidence := rules.Evidence{Intent: wallet.IntentCancel, Payer: true, Counts: true, SaysNo: true}
		if next, ok := g.decide(w, i, 0, evidence, w.books.floor); ok {
			add("word", i, 0, 0, next)
		}
	}
}

// see keeps a verified answer; repeated: another one had the same random.
func (b *books) see(w world, m uint8) (repeated bool) {
	answer := w.inits[m]
	for i := range w.madeInits {
		other := w.inits[i]
		if b.seen>>i&1 == 1 && other.seq == answer.seq && other.random == answer.random &&
			(other.name != answer.name || other.balance != answer.balance) {
			repeated = true
		}
	}
	b.seen |= 1 << m
	b.floor = max(b.floor, answer.seq)
	return repeated
}

// open asks for a load with an answer that was made at any time before.
func (g setting) open(w world, m uint8) (world, bool) {
	answer := w.inits[m]
	leased := answer.name < probeNames && w.books.used>>answer.name&1 == 0 && (answer.epoch == w.books.epoch || g.oldLeases)
	if !leased || w.books.refused || w.opened >= g.orders || w.madeGrants >= g.grants {
		return w, false
	}
	floor := w.books.floor
	w.books.used |= 1 << answer.name
	repeated := w.books.see(w, m)
	pending := -1
	for i, o := range w.books.orders {
		if o.state == isGranted || o.state == isSuspense {
			pending = i
		}
	}
	w.books.refused = w.books.refused || repeated && !g.rules.AllowRepeatedRandom
	facts := rules.CardFacts{Floor: uint16(floor), OpenOrder: pending >= 0, Refused: w.books.refused && !g.rules.AllowRepeatedRandom}
	code := rules.MayOpen(facts, rules.Init{Seq: uint16(answer.seq), RepeatedRandom: repeated}, g.rules)
	if code != "" {
		if pending >= 0 && repeated && code == rules.CodeCardType {
			o := &w.books.orders[pending]
			o.state, o.cause = isSuspense, causeNumber(rules.CauseRepeatedRandom)
		}
		return w, true
	}
	w.books.orders[w.opened] = row{state: isGranted, opened: m + 1}
	w.opened++
	w.grant(w.opened-1, m, floor)
	return w, true
}

// grant gives the next attempt of an order, with a new probe; the old one retires.
func (w *world) grant(i, m, floor uint8) {
	o, answer := &w.books.orders[i], w.inits[m]
	if o.probe != 0 {
		o.retired |= 1 << o.probe
	}
	o.attempt++
	o.seq, o.floor, o.known, o.before = answer.seq, floor, true, answer.balance
	o.probe, o.probeEpoch, o.since = probeNames+w.madeGrants, w.books.epoch, w.books.epoch
	w.grants[w.madeGrants] = grant{i, o.attempt, m, w.books.epoch, answer.seq}
	w.madeGrants++
}

// present sends an INITIALIZE FOR LOAD answer as evidence.
func (g setting) present(w world, i, m, attempt uint8, intent wallet.Intent) (world, bool) {
	o, answer, floor := w.books.orders[i], w.inits[m], w.books.floor
	if g.notOpening && o.opened == m+1 {
		return w, false
	}
	live := answer.name == o.probe && o.probeEpoch == w.books.epoch && attempt == o.attempt
	repeated := false
	if live || g.rules != (rules.Rules{}) {
		repeated = w.books.see(w, m)
	}
	return g.decide(w, i, m, rules.Evidence{
		Attempt: int(attempt), Intent: intent, Payer: true, Counts: true,
		MAC1: &rules.MAC1{
			Terminal: number(answer.name), Valid: true, Seq: uint16(answer.seq), Balance: wallet.Fen(answer.balance), RepeatedRandom: repeated,
		},
	}, floor)
}

// decide asks the rules under test and carries their decision out.
func (g setting) decide(w world, i, m uint8, evidence rules.Evidence, floor uint8) (world, bool) {
	o := &w.books.orders[i]
	facts := rules.Order{
		State: stateWords[o.state], Cause: causes[o.cause], Attempt: int(o.attempt), Amount: 1, Seq: uint16(o.seq), Floor: uint16(o.floor),
		BalanceKnown: o.known, BalanceBefore: wallet.Fen(o.before), Probe: number(o.probe), ProbeEpoch: int(o.probeEpoch),
		GrantEpoch: int(o.since), Epoch: int(w.books.epoch), Grants: 1, SharedCounter: g.shared, OtherHost: g.toldOfHost,
	}
	for left := o.retired; left != 0; left &= left - 1 {
		facts.Retired = append(facts.Retired, number(uint8(bits.TrailingZeros64(left))))
	}
	if w.books.refused {
		facts.CompleteRefused = rules.CodeCardType
	}
	decision := rules.Decide(facts, evidence, g.rules)
	w.books.refused = w.books.refused || decision.RefuseCard
	w.books.floor = max(w.books.floor, uint8(decision.RaiseFloor))
	switch decision.Outcome {
	case rules.Load:
		o.state, o.cause = isLoaded, 0
	case rules.Void:
		o.state, o.cause = isVoided, 0
	case rules.Suspend:
		o.state, o.cause = isSuspense, causeNumber(decision.Cause)
	case rules.Regrant:
		if w.madeGrants >= g.grants {
			return w, false
		}
		w.grant(i, m, floor)
	}
	return w, true
}

// restore puts the backup in the place of the books and raises the epoch. Without
// the rule for epochs it leaves the probes as they are.
func (g setting) restore(w world) world {
	epoch := w.books.epoch + 1
	w.books = w.backup
	w.books.epoch = epoch
	w.restores++
	for i := range w.books.orders {
		o := &w.books.orders[i]
		if (o.state == isGranted || o.state == isSuspense) && !g.rules.KeepProbesAcrossEpoch {
			o.probe, o.probeEpoch = freshNames+w.fresh, epoch
			w.fresh++
		}
	}
	return w
}

// rebuild brings an order back from a signed grant of an earlier epoch.
func (g setting) rebuild(w world, j uint8) (world, bool) {
	signed := w.grants[j]
	o := &w.books.orders[signed.order]
	open := o.state == isGranted || o.state == isSuspense
	if signed.epoch >= w.books.epoch || o.state != absent && (o.attempt >= signed.attempt || !open) {
		return w, false
	}
	if o.state == absent {
		for _, other := range w.books.orders {
			if other.state == isGranted || other.state == isSuspense {
				return w, false
			}
		}
		*o = row{state: isGranted}
	}
	if o.probe != 0 {
		o.retired |= 1 << o.probe
	}
	o.attempt, o.seq, o.floor, o.known, o.before = signed.attempt+1, signed.seq, w.books.floor, false, 0
	o.probe, o.probeEpoch, o.since = freshNames+w.fresh, w.books.epoch, signed.epoch
	w.fresh++
	return w, true
}
