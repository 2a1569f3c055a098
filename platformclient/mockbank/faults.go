package mockbank

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is a named trouble that acts from outside, on the wire or on the process; the
// bank's rules know nothing of it.
type Fault string

// The faults. Those of answers strike requests that move or bind something, not queries.
const (
	FaultLostBefore   Fault = "bank-answer-lost-before-commit" // the process dies before its commit
	FaultLostAfter    Fault = "bank-answer-lost-after-commit"  // and after it
	FaultSilent       Fault = "bank-silent"                    // it works, and never answers
	FaultSlow         Fault = "bank-slow"                      // it answers late
	FaultDown         Fault = "bank-down"                      // nobody answers anything
	FaultNoticeTwice  Fault = "bank-callback-twice"
	FaultNoticeForged Fault = "bank-callback-forged" // another amount under the old signature
	FaultNoticeLost   Fault = "bank-callback-lost"
)

// AllFaults are the names that a command line takes.
var AllFaults = []Fault{FaultLostBefore, FaultLostAfter, FaultSilent, FaultSlow, FaultDown, FaultNoticeTwice, FaultNoticeForged, FaultNoticeLost}

// Faults strikes a bank from outside: it fills the boundaries of a Config.
type Faults struct {
	Slow   time.Duration // of FaultSlow
	Struck func()        // told of every hit; may be nil

	mu    sync.Mutex
	armed map[Fault]int
	hits  int
}

// NewFaults makes a set in which nothing is armed.
func NewFaults() *Faults { return &Faults{Slow: 300 * time.Millisecond, armed: map[Fault]int{}} }

// Arm lets a fault strike so many times; a negative number is for ever, zero ends it.
func (f *Faults) Arm(fault Fault, times int) error {
	if !slices.Contains(AllFaults, fault) {
		return errors.New("the bank has no such fault")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed[fault] = times
	return nil
}

// Hits is how often faults have struck.
func (f *Faults) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

func (f *Faults) strikes(fault Fault) bool {
	f.mu.Lock()
	strikes := f.armed[fault] != 0
	if strikes {
		f.armed[fault]--
		f.hits++
	}
	f.mu.Unlock()
	if strikes && f.Struck != nil {
		f.Struck()
	}
	return strikes
}

// Into puts the faults at the boundaries of a configuration.
func (f *Faults) Into(config *Config) {
	config.Hooks = Hooks{
		BeforeCommit: func(path string) error { return f.dies(FaultLostBefore, path) },
		AfterCommit:  func(path string) error { return f.dies(FaultLostAfter, path) },
	}
	config.Wrap = f.wrap
	config.Notify = func(next http.RoundTripper) http.RoundTripper { return &faultyNotices{f, next} }
}

var errStruck = errors.New("a fault struck")

// asking tells whether a path only looks.
func asking(path string) bool {
	return strings.Contains(path, "/queries") || strings.Contains(path, "/demo/") || strings.Contains(path, "/statements")
}

func (f *Faults) dies(fault Fault, path string) error {
	if !asking(path) && f.strikes(fault) {
		return errStruck
	}
	return nil
}

// wrap acts on the wire before and behind the bank.
func (f *Faults) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if f.strikes(FaultDown) {
			panic(http.ErrAbortHandler)
		}
		switch {
		case !asking(req.URL.Path) && f.strikes(FaultSilent):
			// The request is worked on; its answer stays here for as long as the caller
			// listens.
			body, _ := io.ReadAll(io.LimitReader(req.Body, maxBody))
			inner := req.Clone(context.WithoutCancel(req.Context()))
			inner.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(&nowhere{header: http.Header{}}, inner)
			select {
			case <-req.Context().Done():
			case <-time.After(time.Minute):
			}
			panic(http.ErrAbortHandler)
		case !asking(req.URL.Path) && f.strikes(FaultSlow):
			time.Sleep(f.Slow)
		}
		next.ServeHTTP(w, req)
	})
}

// nowhere is an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header             { return n.header }
func (*nowhere) Write(content []byte) (int, error) { return len(content), nil }
func (*nowhere) WriteHeader(int)                   {}

// faultyNotices acts on callbacks as they leave.
type faultyNotices struct {
	*Faults
	next http.RoundTripper
}

func (n *faultyNotices) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	send := func(content []byte) (*http.Response, error) {
		again := req.Clone(req.Context())
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
		return n.next.RoundTrip(again)
	}
	switch {
	case n.strikes(FaultNoticeLost):
		return nil, errStruck
	case n.strikes(FaultNoticeForged):
		amount := strings.Index(string(body), "PAYMENT=")
		forged := string(body[:amount]) + "PAYMENT=9" + string(body[amount+len("PAYMENT="):])
		return send([]byte(forged))
	case n.strikes(FaultNoticeTwice):
		if response, err := send(body); err == nil {
			_ = response.Body.Close()
		}
	}
	return send(body)
}
