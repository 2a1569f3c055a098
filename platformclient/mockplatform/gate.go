package mockplatform

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
)

// The gate bounds what the platform works on at once, and how long anybody waits to
// be worked on. A load beyond what the platform can carry is refused quickly, with
// 503 and Retry-After, instead of making every card on every reader wait until it
// has to be given up.
//
// Money that is under way comes first: results and attempts settle orders whose money
// is held already, while an order that is not begun loses nothing by waiting. They
// wait longer, too, since their card has taken its value and nobody stands beside it
// any more. Abandoning a key is not among them: most of those keys were refused here,
// and as many of them would come as orders were refused.
//
// How many requests are worked on at once follows from how long the work takes: what
// is right for a fast disk would hold a slow one's requests for longer than a client
// listens.

const (
	defaultAtOnce  = 64                     // requests worked on at most at once, as many as one commit holds
	leastAtOnce    = 4                      // and at least, however slow the work is
	workTarget     = 400 * time.Millisecond // work that takes longer than this has too many beside it
	loginsAtOnce   = 8                      // of those that hash passwords, two of them at a time
	waitingPerWork = 4                      // requests that may wait for each place
	settlingShare  = 4                      // times as many where they settle orders
	maxWait        = 2 * time.Second        // of a request that begins something
	maxWaitSettle  = 5 * time.Second        // of a request that settles something
	ordinaryTurn   = 4                      // every fourth place that becomes free is for those that begin something
)

// lane says which queue of which gate a route waits in.
type lane int

const (
	laneBegin  lane = iota // whatever begins an order or only looks
	laneSettle             // what settles an order that is under way
	laneLogin              // what hashes a password
)

// laneOf is the lane of a route.
func laneOf(path string) lane {
	switch path {
	case api.PathResult, api.PathAttempts, api.PathPurchaseResult, api.PathPurchaseAttempts, api.PathStaffAttempts, api.PathStaffPurchaseAttempts, BankCallbackPath:
		return laneSettle
	case api.PathDevices, api.PathSession, api.PathStaffSession, api.PathRegistrations, api.PathPasswordLogin, api.PathPasswordPayment:
		return laneLogin
	}
	return laneBegin
}

// gate lets a number of requests through at once.
type gate struct {
	most int // places when work is quick

	mu      sync.Mutex
	places  int // at present
	working int
	waiting [2][]chan struct{} // by lane, oldest first; closed when a place is given
	given   int                // places that were given to somebody who waited
	refused int
	quick   int       // pieces of work within workTarget since the places last changed
	shrunk  time.Time // when they last became fewer
}

func newGate(places int) *gate { return &gate{most: places, places: places} }

// enter waits for a place and reports whether there was one. Who got one must leave.
func (g *gate) enter(ctx context.Context, in lane) bool {
	patience, room, queue := maxWait, g.most*waitingPerWork, 0
	if in == laneSettle {
		patience, room, queue = maxWaitSettle, room*settlingShare, 1
	}
	g.mu.Lock()
	if g.working < g.places {
		g.working++
		g.mu.Unlock()
		return true
	}
	if len(g.waiting[queue]) >= room {
		g.refused++
		g.mu.Unlock()
		return false
	}
	turn := make(chan struct{})
	g.waiting[queue] = append(g.waiting[queue], turn)
	g.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-turn:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting[queue], turn)
	if i < 0 {
		return true // the place was given just now
	}
	g.waiting[queue] = slices.Delete(g.waiting[queue], i, i+1)
	g.refused++
	return false
}

// leave gives the place to whoever waits, those that settle first. took is how long
// the work needed it.
func (g *gate) leave(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.working--
	g.adapt(took)
	for g.working < g.places {
		queue := 1
		if len(g.waiting[1]) == 0 || g.given%ordinaryTurn == ordinaryTurn-1 && len(g.waiting[0]) > 0 {
			queue = 0
		}
		if len(g.waiting[queue]) == 0 {
			return
		}
		close(g.waiting[queue][0])
		g.waiting[queue][0], g.waiting[queue] = nil, g.waiting[queue][1:]
		g.given++
		g.working++
	}
}

// adapt takes half of the places away when work takes too long, at most once in
// the time that the work should take, and gives one back after as many quick pieces
// of work as there are places.
func (g *gate) adapt(took time.Duration) {
	if took <= workTarget {
		if g.quick++; g.quick >= g.places && g.places < g.most {
			g.places, g.quick = g.places+1, 0
		}
		return
	}
	if now := time.Now(); now.Sub(g.shrunk) >= workTarget {
		g.places, g.quick, g.shrunk = min(g.most, max(leastAtOnce, g.places/2)), 0, now
	}
}

// retryAfter is how many seconds a refused request should stay away: one to three in
// turn, so that those who were refused together do not come back together.
func (g *gate) retryAfter() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strconv.Itoa(1 + g.refused%3)
}

// gateOf is the gate that a lane leads to: logins have one of their own, because a
// crowd that hashes passwords must not keep money waiting.
func (p *Platform) gateOf(in lane) *gate {
	if in == laneLogin {
		return p.logins
	}
	return p.work
}
