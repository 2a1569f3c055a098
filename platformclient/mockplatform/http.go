package mockplatform

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// reply is one answer: status and exact bytes.
type reply struct {
	status int
	body   []byte
}

// handlerFunc answers one request. An error is an internal failure: the answer is
// 500, not signed, and means "unknown".
type handlerFunc func(*call) (reply, error)

// errDied means that a hook let the platform die: no answer leaves.
var errDied = errors.New("the platform died")

// call is one request on its way through the platform.
type call struct {
	p      *Platform
	ctx    context.Context
	route  string
	req    *http.Request
	body   []byte
	key    string // Idempotency-Key
	sender sender
}

// routes lists every route once, with what it asks of the sender.
func (p *Platform) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, auth authFunc, handler handlerFunc) {
		p.list(method, path, auth)
		mux.Handle(method+" "+path, p.serve(path, auth, handler))
	}
	handle("GET", api.PathHello, authNone, hello)
	p.personRoutes(handle)
	handle("POST", api.PathSession, authDevice, openSession)
	handle("POST", api.PathRefresh, authDevice, refreshSession)
	handle("POST", api.PathSessionEnd, authSession, endSession)
	handle("GET", api.PathAccount, authSession, showAccount)
	handle("GET", api.PathStatement, authSession, showStatement)
	handle("GET", api.PathCards, authSession, listCards)
	handle("POST", api.PathCards, authSession, addCard)
	handle("GET", api.PathPending, authSession, listPending)
	handle("POST", api.PathLoads, authSession, requestLoad)
	handle("GET", api.PathLoads, authSession, listLoads)
	handle("GET", api.PathLoad, authSession, showLoad)
	handle("POST", api.PathAbandon, authSession, abandonLoad)
	handle("POST", api.PathResult, authEvidence, reportResult)
	handle("POST", api.PathAttempts, authEvidence, settleLoad)
	handle("GET", api.PathMerchantOrder, authSession, lookUpOrder)
	handle("POST", api.PathUnloads, authSession, requestUnload)
	handle("POST", api.PathPurchases, authSession, requestPurchase)
	handle("GET", api.PathPurchases, authSession, listPurchases)
	handle("GET", api.PathPurchase, authSession, showPurchase)
	handle("GET", api.PathPendingPurchases, authSession, listPendingPurchases)
	handle("POST", api.PathPurchaseAbandon, authSession, abandonPurchase)
	handle("POST", api.PathPurchaseResult, authEvidence, reportDebit)
	handle("POST", api.PathPurchaseAttempts, authEvidence, settlePurchase)
	fundingRoutes(handle)
	bankRoutes(handle)
	cashRoutes(handle)
	handle("POST", api.PathStaffSession, authNone, openStaffSession) // signed by the key that it brings
	handle("GET", api.PathStaffSession, authStaff, showStaffSession)
	handle("POST", api.PathStaffSessionEnd, authStaff, endStaffSession)
	handle("GET", api.PathStaffOrders, authStaff, listStaffOrders)
	handle("GET", api.PathStaffPending, authStaff, listPending)
	handle("GET", api.PathStaffPendingPurchases, authStaff, listPendingPurchases)
	handle("GET", api.PathStaffLoad, authStaff, showStaffLoad)
	handle("POST", api.PathStaffAttempts, authStaff, settleLoad)
	handle("GET", api.PathStaffPurchase, authStaff, showStaffPurchase)
	handle("POST", api.PathStaffPurchaseAttempts, authStaff, settlePurchase)
	handle("POST", api.PathStaffProposals, authStaff, proposeDecision)
	handle("GET", api.PathStaffProposals, authStaff, listProposals)
	handle("POST", api.PathStaffConfirm, authStaff, confirmDecision)
	handle("POST", api.PathStaffReject, authStaff, rejectDecision)
	handle("POST", api.PathStaffCompanions, authStaff, changeCompanion)
	handle("POST", api.PathStaffServices, authStaff, changeService)
	p.limitRoutes(handle)
	p.listRoutes(handle)
	handle("POST", api.PathShopOrders, authMerchant, createShopOrder)
	handle("GET", api.PathShopOrder, authMerchant, showShopOrder)
	p.stateRoutes(handle)
	mux.Handle("POST "+BankCallbackPath, p.serve(BankCallbackPath, authNone, bankCallback))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p.write(w, failure(http.StatusNotFound, api.CodeNotFound, "there is no such route"))
	})
	return mux
}

// serve wraps a handler: body, sender, answer, and the cut when the platform dies.
func (p *Platform) serve(route string, auth authFunc, handler handlerFunc) http.Handler {
	in := laneOf(route)
	gate := p.gateOf(in)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// The body first: a sender that is slow to tell what it wants takes no place.
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, api.MaxBody))
		if err != nil {
			p.write(w, failure(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "the body is too large"))
			return
		}
		if !gate.enter(req.Context(), in) {
			w.Header().Set("Retry-After", gate.retryAfter())
			p.write(w, failure(http.StatusServiceUnavailable, api.CodeBusy, "the platform is busy; try again in a few seconds"))
			return
		}
		began := time.Now()
		defer func() { gate.leave(time.Since(began)) }()
		// A client that goes away does not stop a transaction half-way.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), 30*time.Second)
		defer cancel()
		c := &call{p: p, ctx: ctx, route: route, req: req, body: body, key: req.Header.Get(api.HeaderIdempotencyKey)}
		answer, err := c.answer(auth, handler)
		switch {
		case errors.Is(err, errDied):
			panic(http.ErrAbortHandler)
		case errors.Is(err, context.DeadlineExceeded):
			answer = failure(http.StatusServiceUnavailable, api.CodeBusy, "the platform is busy; try again in a second")
		case err != nil:
			answer = failure(http.StatusInternalServerError, api.CodeInternal, "the platform could not answer")
		}
		p.write(w, answer)
	})
}

func (c *call) answer(auth authFunc, handler handlerFunc) (reply, error) {
	if refusal, err := auth(c); err != nil || refusal != nil {
		if refusal != nil {
			return *refusal, err
		}
		return reply{}, err
	}
	return handler(c)
}

func (p *Platform) write(w http.ResponseWriter, answer reply) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set(api.HeaderNonce, p.newNonce(p.now(), p.epoch))
	if overloaded := answer.status == http.StatusServiceUnavailable || answer.status == http.StatusTooManyRequests; overloaded && header.Get("Retry-After") == "" {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body) // a client that has gone away asks again
}

// update runs the transaction of a route between the two hooks.
func (c *call) update(change func(*Tx) error) error {
	return c.p.update(c.ctx, c.route, change)
}

func (p *Platform) update(ctx context.Context, route string, change func(*Tx) error) error {
	err := p.store.Update(ctx, func(tx *Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		if hook := p.config.Hooks.BeforeCommit; hook != nil && hook(route) != nil {
			return errDied
		}
		return nil
	})
	if err != nil {
		return err
	}
	if hook := p.config.Hooks.AfterCommit; hook != nil && hook(route) != nil {
		return errDied
	}
	p.wakeCarrier()
	return nil
}

// decode reads the body strictly: a field that nobody knows is refused, so that no
// client believes that it was heard.
func (c *call) decode(target any) *reply {
	decoder := json.NewDecoder(strings.NewReader(string(c.body)))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(target)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return refused(http.StatusBadRequest, api.CodeBadRequest, "the body cannot be read")
}

// needKey refuses a request without an idempotency key.
func (c *call) needKey() *reply {
	if c.key == "" || len(c.key) > 64 {
		return refused(http.StatusBadRequest, api.CodeBadRequest, "the request carries no idempotency key")
	}
	return nil
}

func success(value any) (reply, error) { return encoded(http.StatusOK, value) }

func encoded(status int, value any) (reply, error) {
	body, err := json.Marshal(value)
	return reply{status, body}, err
}

// failure is an answer without signature: it means "unknown" where money is concerned.
func failure(status int, code, text string) reply {
	answer, _ := encoded(status, api.ErrorBody{Error: api.Error{Code: code, Text: text}}) // two strings always encode
	return answer
}

func refused(status int, code, text string) *reply {
	answer := failure(status, code, text)
	return &answer
}

// stateDomain is the domain of a signed state: receipts have their own.
func stateDomain(state wallet.LoadState) wallet.Domain {
	if state == wallet.StateLoaded || state == wallet.StateVoided {
		return wallet.DomainReceipt
	}
	return wallet.DomainOrder
}

// signedState is a LoadAnswer that holds one signed state.
func (p *Platform) signedState(status int, state wallet.OrderState) (reply, error) {
	state.Issued = p.now()
	signed, err := p.sign(stateDomain(state.State), state)
	if err != nil {
		return reply{}, err
	}
	return encoded(status, api.LoadAnswer{State: &signed})
}
