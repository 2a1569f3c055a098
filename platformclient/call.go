package platformclient

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"walletcompanion/platformclient/api"
)

// call is one question to the platform, however often it is transmitted.
type call struct {
	method string
	route  string // pattern of package api, for logs
	path   string // the route with its elements filled in
	query  url.Values
	body   any    // marshalled once; nil for GET
	key    string // idempotency key; "" makes one
	access access
	mark   string // Wallet-Journal, on loads and session
	retry  bool   // one retry under the same key when no answer came

	// sealed builds a body that is bound to the nonce of its signature (login). It
	// takes the place of body, and each nonce gets a key of its own.
	sealed func(nonce string) (any, error)
}

// access says what a call needs besides the device's signature.
type access int

const (
	accessNone  access = iota // hello and login
	accessToken               // a person is logged in
	accessIfAny               // evidence: with a token where there is one
	accessStaff               // a member of staff is logged in
)

// answer is what the platform said, bounded but not yet believed.
type answer struct {
	status int
	body   []byte
	key    string // idempotency key of the question
	nonce  string // from the answer's header
	after  time.Duration
}

// RequestFacts tells an observer about one transmission. It holds no card number and
// nothing of what header and body say.
type RequestFacts struct {
	Method   string
	Route    string // pattern, such as /v1/loads/{id}/result
	Subject  string // order number, or the order's key, that the path or the question names; may be empty
	Status   int    // 0 without an answer
	Code     string // of a failure
	Sent     int    // bytes of the body
	Received int    // likewise
	Started  time.Time
	Duration time.Duration
}

// do sends a call and returns the platform's answer, whatever its status. It
// repeats the call once with a fresh nonce, once with a fresh token, and, where the
// call allows it, once after silence; always under the same key.
func (c *Client) do(ctx context.Context, call call) (answer, error) {
	if err := c.needProfile(); err != nil {
		return answer{}, err
	}
	key, err := c.deviceKey(ctx)
	if err != nil {
		return answer{}, localError(err)
	}
	if err := c.needNonce(ctx); err != nil {
		return answer{}, unsent(err)
	}
	token, err := c.token(ctx, call.access, "")
	if err != nil {
		return answer{}, unsent(err)
	}
	body, err := marshalBody(call.body)
	if err != nil {
		return answer{}, localError(err)
	}
	if call.key != "" {
		return c.repeat(ctx, call, body, key, token)
	}
	name := questionName(call, body)
	if call.key, err = c.keyFor(name); err != nil {
		return answer{}, localError(err)
	}
	result, err := c.repeat(ctx, call, body, key, token)
	if err == nil || call.method == http.MethodGet || call.sealed != nil {
		c.forgetKey(name)
	}
	return result, err
}

// repeat transmits until the nonce and the token are such as the platform wants.
// Whatever an unsigned answer says, from the first transmission on the request may
// have reached the platform.
func (c *Client) repeat(ctx context.Context, call call, body []byte, key ed25519.PrivateKey, token string) (answer, error) {
	nonceTries, tokenTries, sent := 1, 1, false
	for {
		nonce, young := c.currentNonce(), c.youngNonce()
		var err error
		if call.sealed != nil {
			if body, err = sealedBody(call, nonce); err != nil {
				return answer{}, orSent(localError(err), sent)
			}
		}
		result, err := c.transmit(ctx, call, body, key, nonce, token)
		if err != nil {
			return answer{}, orSent(err, sent)
		}
		sent = true
		switch code := unsignedCode(result); {
		case code == api.CodeNonceExpired && nonceTries > 0 && result.nonce != "":
			nonceTries--
			if young {
				// A nonce that should have lived means a platform that was restored:
				// its greeting brings the new epoch.
				if err := c.greet(ctx); err != nil {
					return answer{}, orSent(err, sent)
				}
			}
			if call.sealed != nil { // another seal is another body, and asks under another key
				if call.key, err = NewKey(c.now(), c.config.Random); err != nil {
					return answer{}, orSent(localError(err), sent)
				}
			}
		case code == api.CodeNotLoggedIn && token != "" && tokenTries > 0:
			tokenTries--
			if token, err = c.token(ctx, call.access, token); err != nil {
				return answer{}, orSent(err, sent)
			}
		default:
			return result, nil
		}
	}
}

func sealedBody(call call, nonce string) ([]byte, error) {
	content, err := call.sealed(nonce)
	if err != nil {
		return nil, err
	}
	return marshalBody(content)
}

// unsent marks the failure of a preparation: the question itself never left.
func unsent(err error) error {
	if failure, ok := errors.AsType[*Error](err); ok {
		before := *failure
		before.Sent = false
		return &before
	}
	return err
}

func orSent(err error, sent bool) error {
	if failure, ok := errors.AsType[*Error](err); ok && sent {
		after := *failure
		after.Sent = true
		return &after
	}
	return err
}

// transmit sends the same bytes once, and once more after silence where the call
// allows it. A connection that had been idle and broke without an answer is the
// usual case of silence, and harmless under one key: it is tried again for every
// call. A platform that is busy and says when to come back is believed, for as long
// as an answer may take; one that does not say is asked once more.
func (c *Client) transmit(ctx context.Context, call call, body []byte, key ed25519.PrivateKey, nonce, token string) (answer, error) {
	request, err := c.build(call, body, key, nonce, token)
	if err != nil {
		return answer{}, localError(err)
	}
	growing := backoff.NewExponentialBackOff()
	growing.InitialInterval = 200 * time.Millisecond
	wait := &politeBackOff{BackOff: growing}
	began, sentBefore, vague := time.Now(), false, 0 // vague: failures after which nobody said when to come back
	result, err := backoff.Retry(ctx, func() (answer, error) {
		result, reused, err := c.once(ctx, call, request, body)
		if err == nil && !(call.retry && isOverload(result.status)) {
			return result, nil
		}
		if err == nil {
			err, sentBefore = statusError(result), true
		} else {
			sentBefore = sentBefore || err.Sent
			err.Sent = sentBefore
			if err.Kind != KindNetwork || !(call.retry || reused) {
				return answer{}, backoff.Permanent(err)
			}
		}
		if wait.asked = err.RetryAfter; wait.asked == 0 {
			vague++
		}
		if vague > 1 || wait.asked > 0 && time.Since(began)+wait.asked > busyPatience {
			return answer{}, backoff.Permanent(err)
		}
		return answer{}, err
	}, backoff.WithBackOff(wait))
	if err == nil {
		return result, nil
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return answer{}, failure
	}
	return answer{}, &Error{Kind: KindNetwork, Code: CodeNetwork, Sent: sentBefore, Err: err}
}

// politeBackOff waits at least as long as the platform asked.
type politeBackOff struct {
	backoff.BackOff
	asked time.Duration
}

// NextBackOff implements backoff.BackOff.
func (p *politeBackOff) NextBackOff() time.Duration {
	return max(p.asked, p.BackOff.NextBackOff())
}

// build makes and signs the request that transmit sends.
func (c *Client) build(call call, body []byte, key ed25519.PrivateKey, nonce, token string) (*http.Request, error) {
	target := *c.base
	target.Path, target.RawPath = "", ""
	text := target.String() + call.path
	if len(call.query) > 0 {
		text += "?" + call.query.Encode()
	}
	request, err := http.NewRequest(call.method, text, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "wallet-companion/"+c.config.Version)
	if call.key != "" {
		request.Header.Set(api.HeaderIdempotencyKey, call.key)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if call.mark != "" {
		request.Header.Set(api.HeaderJournal, call.mark)
	}
	if call.path == api.PathHello {
		return request, nil
	}
	return request, api.SignRequest(request, body, key, nonce, c.now())
}

// once is one transmission. reused reports that an idle connection was used again.
func (c *Client) once(ctx context.Context, call call, prepared *http.Request, body []byte) (answer, bool, *Error) {
	timeout := answerTimeout
	switch call.route {
	case api.PathLoads, api.PathPurchases:
		if call.method == http.MethodPost {
			timeout = moneyTimeout
		}
	case api.PathAttempts, api.PathPurchaseAttempts, api.PathStaffAttempts, api.PathStaffPurchaseAttempts:
		timeout = moneyTimeout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The time for the answer begins anew when a connection stands; before that the
	// transport has its own limits for connecting, 3 s and 3 s.
	silent := fmt.Errorf("no answer within %v", timeout)
	timer := time.AfterFunc(timeout, func() { cancel(silent) })
	defer timer.Stop()
	var seeking, stood, reused atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { seeking.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			stood.Store(true)
			reused.Store(info.Reused)
			timer.Reset(timeout)
		},
	})
	request := prepared.Clone(traced)
	if body != nil {
		// Without GetBody net/http never repeats the request by itself.
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	start := c.now()
	result, failure := c.receive(ctx, request, func() bool { return !seeking.Load() || stood.Load() })
	if failure == nil {
		result.key = call.key
	}
	c.observe(call, len(body), result, failure, start)
	return result, reused.Load() && failure != nil, failure
}

// receive reads a bounded answer. Redirects are not followed: they are answers
// with a status that nobody expects.
func (c *Client) receive(ctx context.Context, request *http.Request, sent func() bool) (answer, *Error) {
	if err := ctx.Err(); err != nil {
		return answer{}, networkError(ctx, err, false)
	}
	response, err := c.counter.RoundTrip(request)
	if err != nil {
		return answer{}, networkError(ctx, err, sent())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, api.MaxBody+1))
	if err != nil {
		return answer{}, networkError(ctx, err, true)
	}
	if len(body) > api.MaxBody {
		return answer{}, unsigned(CodeAnswerBroken, "the answer is too long")
	}
	result := answer{status: response.StatusCode, body: body, nonce: response.Header.Get(api.HeaderNonce)}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		result.after = time.Duration(min(seconds, 24*3600)) * time.Second
	}
	c.keepNonce(result.nonce)
	return result, nil
}

func (c *Client) observe(call call, sent int, result answer, failure *Error, started time.Time) {
	if c.config.OnRequest == nil {
		return
	}
	facts := RequestFacts{Method: call.method, Route: call.route, Subject: subjectOf(call), Status: result.status,
		Sent: sent, Received: len(result.body), Started: started, Duration: c.now().Sub(started)}
	switch {
	case failure != nil:
		facts.Code = failure.Code
	case result.status/100 != 2:
		facts.Code = statusError(result).Code
	}
	c.config.OnRequest(facts)
}

// subjectOf is the order that a call is about: {id} of its path or, where a request
// makes an order, the order's key. Other elements of paths are numbers of cards and
// codes of merchants, which no observer needs.
func subjectOf(call call) string {
	switch call.route {
	case api.PathLoads, api.PathPurchases:
		if call.method == http.MethodPost {
			return call.key
		}
		return ""
	case api.PathDeviceRevoke, api.PathDeviceRename: // {id} is a computer there
		return ""
	}
	before, after, has := strings.Cut(call.route, "{id}")
	if !has || len(call.path) < len(before)+len(after) {
		return ""
	}
	return call.path[len(before) : len(call.path)-len(after)]
}

// questionName is the same for the same question.
func questionName(call call, body []byte) string {
	sum := sha256.Sum256(append([]byte(call.method+" "+call.path+"?"+call.query.Encode()+"\n"), body...))
	return hex.EncodeToString(sum[:])
}

// keyFor gives a question that has no key of its own a fresh one, and the same one
// again while it was never answered: a lost answer is then asked for again, under
// one key, instead of asked anew.
func (c *Client) keyFor(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, known := c.unanswered[name]; known {
		return key, nil
	}
	key, err := NewKey(c.now(), c.config.Random)
	if err == nil {
		c.unanswered[name] = key
	}
	return key, err
}

func (c *Client) forgetKey(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unanswered, name)
}

func marshalBody(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	return json.Marshal(body)
}

// decode reads a 2xx answer into target; any other status is an *Error.
func decode(result answer, target any) error {
	if result.status/100 != 2 {
		return statusError(result)
	}
	if target == nil {
		return nil
	}
	if err := json.Unmarshal(result.body, target); err != nil {
		return unsigned(CodeAnswerBroken, "the answer is not the JSON that was expected")
	}
	return nil
}

// statusError maps an answer that is not 2xx and carries no signed state.
func statusError(result answer) *Error {
	failure := &Error{Kind: KindStatus, Code: CodeAnswerBroken, Sent: true, Status: result.status, RetryAfter: result.after,
		Err: fmt.Errorf("HTTP status %d", result.status)}
	var body api.ErrorBody
	if json.Unmarshal(result.body, &body) == nil && validCode(body.Error.Code) {
		failure.Code, failure.Text = body.Error.Code, shorten(body.Error.Text)
		failure.Until, failure.Owed = body.Error.Until, body.Error.Owed
		if validCode(body.Error.Standing) {
			failure.Standing = body.Error.Standing
		}
		if seconds := body.Error.RetryAfterS; seconds > 0 { // says more than the header, which every refusal of its status has
			failure.RetryAfter = time.Duration(min(seconds, 24*3600)) * time.Second
		}
		failure.TriesLeft = body.Error.TriesLeft
	}
	if failure.Code == api.CodeCompanionRefused {
		failure.Err = errors.New(failure.Text) // names what this computer shows, which staff can register
	}
	if failure.Code == api.CodeNotLoggedIn {
		failure.Kind = KindNotLoggedIn
	}
	return failure
}

func unsignedCode(result answer) string {
	if result.status/100 == 2 {
		return ""
	}
	return statusError(result).Code
}

func isOverload(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

func validCode(code string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	return code != "" && len(code) <= 64 && strings.Trim(code, letters) == ""
}

// shorten keeps text of an unsigned answer from filling a screen or steering a
// terminal.
func shorten(text string) string {
	const longest = 300
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest])
	}
	return text
}
