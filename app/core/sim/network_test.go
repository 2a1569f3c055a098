package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

var (
	errCut  = errors.New("the connection was cut")
	errDied = errors.New("the platform died")
)

// lateRequest is on its way for longer than anybody waits.
type lateRequest struct {
	method, url, route string
	header             http.Header
	body               []byte
}

// wire is the network between one computer and the platform: an http.RoundTripper
// that calls the platform's handler.
type wire struct {
	w *world
	c *computer
}

// RoundTrip implements http.RoundTripper.
func (n wire) RoundTrip(request *http.Request) (*http.Response, error) {
	w := n.w
	late := lateRequest{method: request.Method, url: request.URL.String(), route: routeOf(request), header: request.Header.Clone()}
	if request.Body != nil {
		late.body, _ = io.ReadAll(request.Body)
		request.Body.Close()
	}
	if w.rogue != nil && (w.rogue.c == n.c || w.rogue.second == n.c) {
		w.rogue.recorded = append(w.rogue.recorded, late)
	}
	if w.downFor > 0 {
		w.downFor--
		w.say("  %s finds no network", late.route)
		return nil, errCut
	}
	rate := 10
	if late.route == "hello" || late.route == "session" {
		rate = 3 // everything begins with them
	}
	if err := n.before(request, late, rate); err != nil {
		return nil, err
	}
	answer, err := w.deliver(late)
	if err != nil {
		return nil, err
	}
	return n.after(request, late, answer, rate)
}

// before is what can happen to a request on its way.
func (n wire) before(request *http.Request, late lateRequest, rate int) error {
	w := n.w
	switch {
	case w.happens("kill before request", rate):
		n.c.die("before " + late.route)
	case w.happens("request lost", 2*rate):
		return errCut
	case w.happens("request delayed", 2*rate):
		w.late = append(w.late, late)
		return errCut
	case w.happens("network cut", rate):
		w.downFor = w.luck.IntN(12)
		return errCut
	case w.happens("request twice", 2*rate):
		_, _ = w.deliver(late)
	case w.happens("request slow", rate):
		pause := []time.Duration{2700 * time.Millisecond, 6100 * time.Millisecond, 17300 * time.Millisecond, 64100 * time.Millisecond}[w.luck.IntN(4)]
		select {
		case <-time.After(pause):
		case <-request.Context().Done():
			w.late = append(w.late, late)
			return request.Context().Err()
		}
	case w.happens("platform dies before commit", rate):
		w.dieAt = "before"
	case w.happens("platform dies after commit", rate):
		w.dieAt = "after"
	case w.nesting == 0 && w.happens("another computer meanwhile", rate):
		n.meanwhile()
	}
	return request.Context().Err()
}

// after is what can happen to an answer on its way.
func (n wire) after(request *http.Request, late lateRequest, answer *http.Response, rate int) (*http.Response, error) {
	w := n.w
	switch {
	case w.happens("answer lost", 3*rate):
		return nil, errCut
	case w.happens("kill before answer", rate):
		n.c.die("before the answer to " + late.route)
	case signedRoutes[late.route] && w.happens("answer damaged", rate):
		body, _ := io.ReadAll(answer.Body)
		if len(body) > 0 {
			body[w.luck.IntN(len(body))] ^= 1 << w.luck.IntN(8)
		}
		answer.Body = io.NopCloser(bytes.NewReader(body))
	case w.happens("answer unsigned", rate):
		body := `{"error":{"code":"DECLINED","text":"somebody in the middle"}}`
		return &http.Response{StatusCode: []int{402, 409, 500, 502, 503}[w.luck.IntN(5)], Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	case w.happens("late request arrives", 2*rate):
		w.arrive()
	}
	return answer, nil
}

// signedRoutes are those whose answers the client need not believe TLS for.
var signedRoutes = map[string]bool{"hello": true, "loads": true, "loads/one": true, "abandon": true, "result": true, "attempts": true,
	"purchases": true, "purchases/one": true, "merchant-orders/one": true, "unloads": true}

// meanwhile lets another computer work between a request and its answer, also with
// the very card that lies on the reader here.
func (n wire) meanwhile() {
	w := n.w
	other := w.computers[w.luck.IntN(len(w.computers))]
	w.nesting++
	defer func() { w.nesting-- }()
	if other == n.c {
		n.c.beside(w.anything)
		return
	}
	card := n.c.card
	if card != nil && w.luck.IntN(2) == 0 {
		other.place(card)
	}
	w.say("  meanwhile computer %d", other.number)
	w.touch(other, other.card)
}

// arrive delivers one late request; nobody waits for its answer.
func (w *world) arrive() {
	if len(w.late) == 0 {
		return
	}
	i := w.luck.IntN(len(w.late))
	late := w.late[i]
	w.late = append(w.late[:i], w.late[i+1:]...)
	w.count("fault", "late request delivered")
	w.say("  late %s arrives", late.route)
	_, _ = w.deliver(late)
}

// deliver hands a request to the platform, and starts it again if it died over it.
func (w *world) deliver(late lateRequest) (answer *http.Response, err error) {
	request := httptest.NewRequest(late.method, late.url, bytes.NewReader(late.body))
	request.Header = late.header.Clone()
	recorder := httptest.NewRecorder()
	func() {
		defer func() {
			if trouble := recover(); trouble != nil && trouble != http.ErrAbortHandler {
				panic(trouble)
			} else if trouble != nil {
				err = errCut
			}
		}()
		w.platform.Handler().ServeHTTP(recorder, request)
	}()
	answer = recorder.Result()
	body, _ := io.ReadAll(answer.Body)
	w.noteGrant(body)
	if err != nil {
		w.say("  %s: the platform died", late.route)
		w.stopPlatform()
		w.openPlatform()
	} else {
		w.say("  %s: %d%s", late.route, answer.StatusCode, codeIn(body))
	}
	w.dieAt = ""
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, err
}

// noteGrant remembers every MAC2 and every MAC1 that left the platform.
func (w *world) noteGrant(body []byte) {
	var told api.LoadAnswer
	var grant wallet.Grant
	if json.Unmarshal(body, &told) == nil && told.Grant != nil && json.Unmarshal(told.Grant.Grant.Payload, &grant) == nil && grant.Order != "" {
		w.grants[grant.TID] = grant
	}
	var answer api.PurchaseAnswer
	var authorised wallet.PurchaseGrant
	if json.Unmarshal(body, &answer) == nil && answer.Grant != nil && json.Unmarshal(answer.Grant.Grant.Payload, &authorised) == nil && authorised.Purchase != "" {
		w.authorised[authorised.Terminal] = authorised
	}
}

// codeIn shows an answer in the trace: code of a refusal, or the order's state.
func codeIn(body []byte) string {
	var failed api.ErrorBody
	if json.Unmarshal(body, &failed) == nil && failed.Error.Code != "" {
		return " " + failed.Error.Code
	}
	var told api.LoadAnswer
	if json.Unmarshal(body, &told) != nil {
		return ""
	}
	if told.Grant != nil {
		var grant wallet.Grant
		_ = json.Unmarshal(told.Grant.Grant.Payload, &grant)
		return fmt.Sprintf(" grant %s/%d", grant.Order, grant.Attempt)
	}
	var bought api.PurchaseAnswer
	if json.Unmarshal(body, &bought) == nil && bought.Grant != nil {
		var grant wallet.PurchaseGrant
		_ = json.Unmarshal(bought.Grant.Grant.Payload, &grant)
		return " authorised " + grant.Purchase
	}
	if told.State == nil {
		return ""
	}
	var state wallet.OrderState
	var bill wallet.PurchaseStatement
	if json.Unmarshal(told.State.Payload, &state) != nil || json.Unmarshal(told.State.Payload, &bill) != nil {
		return ""
	}
	return " " + string(state.State) + " " + state.Code + " " + state.Evidence + " " + state.Order + bill.Purchase
}

// routeOf names a route in a word.
func routeOf(request *http.Request) string {
	path := strings.TrimPrefix(request.URL.Path, "/v1/")
	parts := strings.Split(path, "/")
	if parts[0] == "session" || len(parts) == 1 {
		return parts[0]
	}
	if len(parts) == 2 {
		return parts[0] + "/one"
	}
	return parts[len(parts)-1]
}
