// Package platformtest is the one conformance suite for implementations of the
// platform interface (docs/openapi.json). It drives a platform over real TLS with
// the real client and a chip whose keys the platform knows, and checks what the
// client relies on where money is concerned.
package platformtest

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// openingBalance is what the suite's cards hold.
const openingBalance = 1234

// Chip is a card that the platform knows: powered, answering commands with
// data ‖ SW1 SW2.
type Chip interface {
	PowerOn() (atr []byte, err error)
	PowerOff()
	Transmit(command []byte) ([]byte, error)
}

// Subject is a platform under test with one person who has a main account with
// money for several loads.
type Subject struct {
	Profile         api.Profile // complete, with the platform's address
	Phone           string
	LoginPassword   string
	PaymentPassword string
	// SMSCode tells the code that the platform sent under this identifier.
	SMSCode func(ctx context.Context, codeID string) (string, error)
	// Card gives a card of profile pboc-ep that belongs to the person, holds this
	// much and has no open order.
	Card func(t *testing.T, balance wallet.Fen) Chip
	// Merchant is the name of a merchant and MerchantKey what it signs with.
	Merchant    string
	MerchantKey ed25519.PrivateKey
	// Staff makes a member of staff of this role, of another name each time.
	Staff func(t *testing.T, role string) (name, password string)
	// Voucher gives a voucher that was never used, and what it is worth.
	Voucher func(t *testing.T) (serial, pin string, value wallet.Fen)
	// Observe sees every exchange; may be nil.
	Observe func(Exchange)
}

// Exchange is one request and its answer.
type Exchange struct {
	Method, Path  string
	RequestHeader http.Header
	RequestBody   []byte // nil: none
	Status        int
	AnswerHeader  http.Header
	AnswerBody    []byte
}

// testCase is one case; each has a platform of its own.
type testCase struct {
	name string
	run  func(w *world)
}

// Run runs the suite. The function start makes a platform for each case and cleans
// up after it with t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Subject) {
	cases := []testCase{
		{"greeting", testGreeting},
		{"login", testLogin},
		{"login is renewed", testRenew},
		{"wrong password", testWrongPassword},
		{"add a card", testAddCard},
		{"top-up", testTopUp},
		{"answer is repeated byte for byte", testReplay},
		{"one key is one order", testKeyReused},
		{"one open order per card", testPending},
		{"settle moves nothing without proof", testSettleNotLoaded},
		{"settle after a lost answer of the card", testSettleLoaded},
		{"cancel", testCancel},
		{"complete", testComplete},
		{"a probe dies with its attempt", testSuperseded},
		{"abandon an unseen key", testAbandon},
		{"abandon a granted key", testAbandonGranted},
		{"result without a session", testResultWithoutSession},
		{"wrong TAC", testWrongTAC},
		{"signed refusals", testRefusals},
		{"payment password", testPaymentPassword},
		{"signature", testSignature},
		{"nonce", testNonce},
		{"token belongs to its device", testForeignToken},
		{"form of requests", testForm},
	}
	for _, c := range slices.Concat(cases, purchaseCases, staffCases, stateCases, fundingCases, bankCases, recordCases, personCases) {
		t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, start)) })
	}
}

func testGreeting(w *world) {
	err := w.client.Connect(w.t.Context())
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err))
	var hello api.Hello
	open(w, w.lastExchange().AnswerBody, wallet.DomainHello, &hello)
	require.WithinDuration(w.t, time.Now(), hello.Time, time.Minute)
	require.NotEmpty(w.t, hello.Nonce)
	require.NotEmpty(w.t, hello.MinVersion)
	require.Positive(w.t, hello.Epoch)
	require.Equal(w.t, w.subject.Profile.Demo, hello.Demo)
}

func testLogin(w *world) {
	w.login()
	session := w.client.Session()
	require.NotEmpty(w.t, session.User)
	require.NotEmpty(w.t, session.Device)
	require.True(w.t, slices.ContainsFunc(session.Cards, func(card api.Card) bool { return card.ASN == w.asn() }))
	require.NotEmpty(w.t, w.script().Steps)
	seen := map[wallet.TerminalNumber]bool{}
	for range 8 {
		tid := w.lease()
		require.False(w.t, seen[tid], "a terminal number was leased twice")
		seen[tid] = true
	}
	require.NoError(w.t, w.client.Logout(w.t.Context()))
	_, err := w.client.Account(w.t.Context())
	require.Equal(w.t, platformclient.KindNotLoggedIn, platformclient.KindOf(err))
}

// A later program with the same vault goes on without a password, and the token
// that it was renewed with is used up.
func testRenew(w *world) {
	w.login()
	device := w.client.Session().Device
	later := w.newClient(w.vault)
	require.NoError(w.t, later.Connect(w.t.Context()))
	require.True(w.t, later.Session().LoggedIn)
	require.Equal(w.t, device, later.Session().Device)
	require.Equal(w.t, api.PathRefresh, w.lastExchange().Path)
	status, _ := w.again()
	require.Equal(w.t, http.StatusUnauthorized, status, "a refresh token serves once")
}

func testWrongPassword(w *world) {
	w.login()
	err := w.client.Login(w.t.Context(), w.subject.Phone, w.subject.LoginPassword+"x", w.subject.SMSCode)
	require.Equal(w.t, api.CodeLoginWrong, platformclient.CodeOf(err))
}

// A card is added by a MAC1 of 1 fen over a leased number; a card that is the
// person's already stays so.
func testAddCard(w *world) {
	w.login()
	tid := w.lease()
	request := api.CardRequest{ASN: w.asn(), Profile: profileName, Open: api.Open{TID: tid, Amount: 1, Steps: w.opened(1, tid)}}
	added, err := w.client.AddCard(w.t.Context(), request)
	require.NoError(w.t, err)
	require.Equal(w.t, request.ASN, added.ASN)
	require.Equal(w.t, "ACTIVE", added.State)
	cards, err := w.client.Cards(w.t.Context())
	require.NoError(w.t, err)
	require.True(w.t, slices.ContainsFunc(cards, func(card api.Card) bool { return card.ASN == request.ASN }))

	tid = w.lease()
	request.Open = api.Open{TID: tid, Amount: 1, Steps: w.opened(1, tid)}
	request.Open.Steps[len(request.Open.Steps)-1].Data[15] ^= 1
	_, err = w.client.AddCard(w.t.Context(), request)
	require.Equal(w.t, api.CodeCardEvidence, platformclient.CodeOf(err), "a MAC1 that does not verify proves no possession")
}

func testTopUp(w *world) {
	w.login()
	before, order := w.main(), w.order()
	requests := w.client.Requests()
	out, err := w.topUp(w.field(), order)
	require.NoError(w.t, err)
	require.Equal(w.t, openingBalance+order.Amount, out.BalanceAfter)
	require.Equal(w.t, 1, w.client.Requests()-requests, "one request is waited for")

	state, receipt, err := w.client.Result(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, state.State)
	require.Equal(w.t, "tac", state.Evidence)
	require.NotEmpty(w.t, receipt.Sig)
	paper := state.ReceiptBody
	require.NotNil(w.t, paper)
	require.Equal(w.t, out.TAC, paper.TAC)
	require.Equal(w.t, order.Amount, paper.Amount)
	require.EqualValues(w.t, openingBalance, paper.BalanceBefore)
	require.Equal(w.t, out.BalanceAfter, paper.BalanceAfter)
	require.Equal(w.t, before-order.Amount-order.Fee, paper.MainBalance)
	require.Equal(w.t, paper.MainBalance, w.main())

	again, _, err := w.client.Result(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, paper, again.ReceiptBody, "the same result is the same receipt")
	require.Equal(w.t, paper.MainBalance, w.main())
	told, err := w.client.Load(w.t.Context(), out.Entry.Order)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, told.State)
	checkLists(w, out.Entry.Order, order)
}

// checkLists looks for a loaded order where people look for their money.
func checkLists(w *world, number string, order wallet.Order) {
	orders, err := w.client.Orders(w.t.Context())
	require.NoError(w.t, err)
	found := slices.IndexFunc(orders.Orders, func(o api.Order) bool { return o.Order == number })
	require.GreaterOrEqual(w.t, found, 0)
	require.Equal(w.t, order.Key, orders.Orders[found].Key)
	require.Equal(w.t, wallet.StateLoaded, orders.Orders[found].State)
	statement, err := w.client.FindStatement(w.t.Context(), api.Selection{})
	require.NoError(w.t, err)
	var moved wallet.Fen
	for _, line := range statement.Lines {
		if line.Order == number {
			moved += line.Amount
		}
	}
	require.Equal(w.t, -(order.Amount + order.Fee), moved)
	pending, err := w.client.Pending(w.t.Context(), order.ASN)
	require.NoError(w.t, err)
	require.Empty(w.t, pending)
}

func testReplay(w *world) {
	w.login()
	before := w.main()
	verdict, err := w.issuer().RequestLoad(w.t.Context(), w.ask(w.order(), w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
	first := w.lastExchange()
	for range 2 {
		status, body := w.again()
		require.Equal(w.t, first.Status, status)
		require.Equal(w.t, string(first.AnswerBody), string(body), "the second answer is the stored bytes")
	}
	require.Equal(w.t, before-w.amount-w.client.Session().Policy.LoadFee("main", w.amount), w.main(), "money was held once")
}

func testKeyReused(w *world) {
	w.login()
	order, issuer := w.order(), w.issuer()
	verdict, err := issuer.RequestLoad(w.t.Context(), w.ask(order, w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
	more := order
	more.Amount++
	_, err = issuer.RequestLoad(w.t.Context(), w.ask(more, w.lease()))
	require.Equal(w.t, api.CodeKeyReused, platformclient.CodeOf(err))
	require.Equal(w.t, platformclient.KindStatus, platformclient.KindOf(err), "it says nothing about the first order")
}

func testPending(w *world) {
	w.login()
	open, _ := w.cut(false)
	after := w.main()
	_, err := w.topUp(w.field(), w.order())
	require.Equal(w.t, wallet.CodePendingLoad, wallet.CodeOf(err))
	var refusal *wallet.Refused
	require.ErrorAs(w.t, err, &refusal)
	require.NotNil(w.t, refusal.State.Pending)
	require.Equal(w.t, open.Order, refusal.State.Pending.Order)
	require.Equal(w.t, open.ProbeTID, refusal.State.Pending.ProbeTID)
	require.Equal(w.t, after, w.main(), "the second order holds nothing")
}

func testSettleNotLoaded(w *world) {
	w.login()
	open, order := w.cut(false)
	held := w.main()
	for range 2 { // settling leaves the probe alive
		out, err := w.sync(open, order, wallet.IntentSettle)
		require.NoError(w.t, err)
		require.Equal(w.t, wallet.StateGranted, out.State.State)
		require.NotNil(w.t, out.State.OnCard)
		require.False(w.t, *out.State.OnCard)
	}
	require.Equal(w.t, held, w.main())
	require.EqualValues(w.t, openingBalance, w.balance())
}

func testSettleLoaded(w *world) {
	w.login()
	open, order := w.cut(true)
	out, err := w.sync(open, order, wallet.IntentSettle)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, out.State.State)
	require.Contains(w.t, []string{"prove", "counter-advanced"}, out.State.Evidence)
	require.Equal(w.t, openingBalance+order.Amount, w.balance())
}

func testCancel(w *world) {
	w.login()
	before := w.main()
	open, order := w.cut(false)
	require.Equal(w.t, before-order.Amount-order.Fee, w.main())
	out, err := w.sync(open, order, wallet.IntentCancel)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateVoided, out.State.State)
	require.Equal(w.t, "counter-same", out.State.Evidence)
	require.Equal(w.t, before, w.main(), "amount and fee are back")
	require.EqualValues(w.t, openingBalance, w.balance())
}

func testComplete(w *world) {
	w.login()
	before := w.main()
	open, order := w.cut(false)
	out, err := w.sync(open, order, wallet.IntentComplete)
	require.NoError(w.t, err)
	require.Equal(w.t, open.Attempt+1, out.Entry.Attempt)
	require.Equal(w.t, openingBalance+order.Amount, w.balance())
	state, _, err := w.client.Result(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, state.State)
	require.Equal(w.t, before-order.Amount-order.Fee, w.main(), "charged once")
}

func testSuperseded(w *world) {
	w.login()
	open, _ := w.cut(false)
	evidence := wallet.Evidence{Order: open, Steps: w.opened(open.Amount, open.ProbeTID)}
	evidence.Intent = wallet.IntentComplete
	verdict, err := w.issuer().Settle(w.t.Context(), evidence)
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
	held := w.main()
	evidence.Intent = wallet.IntentCancel // the same MAC1 must not void what it has opened
	verdict, err = w.issuer().Settle(w.t.Context(), evidence)
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.State)
	require.Equal(w.t, api.CodeAttemptSuperseded, verdict.State.Code)
	require.Equal(w.t, wallet.StateGranted, verdict.State.State)
	require.Equal(w.t, held, w.main())
}

func testAbandon(w *world) {
	w.login()
	before, order := w.main(), w.order()
	state, err := w.client.Abandon(w.t.Context(), order.Key)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateDeclined, state.State)
	require.Equal(w.t, api.CodeAbandoned, state.Code)
	w.refused(w.ask(order, w.lease()), api.CodeAbandoned) // the late request
	require.Equal(w.t, before, w.main())
}

func testAbandonGranted(w *world) {
	w.login()
	open, order := w.cut(false)
	held := w.main()
	state, err := w.client.Abandon(w.t.Context(), order.Key)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateGranted, state.State, "no word of a client closes a granted order")
	require.Equal(w.t, open.Order, state.Order)
	require.Equal(w.t, held, w.main())
}

func testResultWithoutSession(w *world) {
	w.login()
	out, err := w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
	stranger := w.newClient(newVault())
	state, _, err := stranger.Result(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Empty(w.t, w.lastExchange().RequestHeader.Get("Authorization"))
	require.Equal(w.t, wallet.StateLoaded, state.State, "TAC and signed grant authenticate themselves")
}

func testWrongTAC(w *world) {
	w.login()
	out, err := w.topUp(w.field(), w.order())
	require.NoError(w.t, err)
	wrong := out.Entry
	wrong.TAC = slices.Clone(wrong.TAC)
	wrong.TAC[0] ^= 1
	wrong.Steps = slices.Clone(wrong.Steps)
	wrong.Steps[0].Data = wrong.TAC
	state, _, err := w.client.Result(w.t.Context(), wrong)
	if err == nil {
		require.NotEqual(w.t, wallet.StateLoaded, state.State)
	}
	told, err := w.client.Load(w.t.Context(), out.Entry.Order)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateGranted, told.State)
	state, _, err = w.client.Result(w.t.Context(), out.Entry)
	require.NoError(w.t, err)
	require.Equal(w.t, wallet.StateLoaded, state.State)
}

func testRefusals(w *world) {
	w.login()
	before, limits := w.main(), w.client.Session().Policy.Limits
	changed := func(change func(*wallet.Order)) wallet.LoadAsk {
		order := w.order()
		change(&order)
		return w.ask(order, w.lease())
	}
	w.refused(changed(func(o *wallet.Order) { o.Amount = limits.LoadMin - 1 }), api.CodeLimitLoadMin)
	state := w.refused(changed(func(o *wallet.Order) { o.Amount = limits.LoadMax + 1 }), api.CodeLimitLoadMax)
	require.Equal(w.t, limits.LoadMax, state.LimitFen)
	w.refused(changed(func(o *wallet.Order) { o.Fee++ }), api.CodeFeeChanged)
	w.refused(changed(func(o *wallet.Order) { o.Source = "elsewhere" }), api.CodeSourceRefused)
	w.refused(w.ask(w.order(), wallet.TerminalNumber{0xEE, 1, 2, 3, 4, 5}), api.CodeLeaseInvalid)

	forged := w.ask(w.order(), w.lease())
	forged.Steps[len(forged.Steps)-1].Data[15] ^= 1
	w.refused(forged, api.CodeCardEvidence)
	require.Equal(w.t, before, w.main(), "a refusal holds nothing")

	used := w.ask(w.order(), w.lease())
	verdict, err := w.issuer().RequestLoad(w.t.Context(), used)
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted, "after all these refusals a right order is granted")
}

func testPaymentPassword(w *world) {
	w.login()
	order := w.order()
	wrong := w.client.Issuer(func(context.Context) (string, error) { return flipped(w.subject.PaymentPassword), nil })
	verdict, err := wrong.RequestLoad(w.t.Context(), w.ask(order, w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.State)
	require.Equal(w.t, api.CodePasswordWrong, verdict.State.Code)
	require.NotNil(w.t, verdict.State.WrongsLeft)
	require.Positive(w.t, *verdict.State.WrongsLeft)
	w.refused(w.ask(order, w.lease()), api.CodePasswordWrong) // final for its key
	verdict, err = w.issuer().RequestLoad(w.t.Context(), w.ask(w.order(), w.lease()))
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.Granted)
}

// flipped is another password of the same length.
func flipped(password string) string {
	last := password[len(password)-1]
	return password[:len(password)-1] + string(rune('0'+(last-'0'+1)%10))
}

func testSignature(w *world) {
	w.login()
	damage := map[string]func(*http.Request, []byte) []byte{
		"body": func(_ *http.Request, body []byte) []byte { return append(body, ' ') },
		"key": func(r *http.Request, body []byte) []byte {
			r.Header.Set(api.HeaderIdempotencyKey, "other")
			return body
		},
		"query":           func(r *http.Request, body []byte) []byte { r.URL.RawQuery = "a=b"; return body },
		"no signature":    func(r *http.Request, body []byte) []byte { r.Header.Del("Signature"); return body },
		"journal":         func(r *http.Request, body []byte) []byte { r.Header.Set(api.HeaderJournal, "1:AB"); return body },
		"no content hash": func(r *http.Request, body []byte) []byte { r.Header.Del("Content-Digest"); return body },
	}
	for name, change := range damage {
		w.wire.change = change
		_, err := w.client.Abandon(w.t.Context(), w.order().Key)
		require.Equal(w.t, api.CodeSignature, platformclient.CodeOf(err), name)
		require.Equal(w.t, http.StatusUnauthorized, w.lastExchange().Status, name)
		w.wire.change = nil
	}
	_, err := w.client.Abandon(w.t.Context(), w.order().Key)
	require.NoError(w.t, err)
}

func testNonce(w *world) {
	w.login()
	w.wire.change = func(r *http.Request, body []byte) []byte { w.resign(r, body, "foreign"); return body }
	_, err := w.client.Account(w.t.Context())
	require.Equal(w.t, api.CodeNonceExpired, platformclient.CodeOf(err))
	require.NotEmpty(w.t, w.lastExchange().AnswerHeader.Get(api.HeaderNonce), "the refusal brings a fresh one")
	// One stale nonce costs one repetition and nothing else.
	stale := 1
	w.wire.change = func(r *http.Request, body []byte) []byte {
		if r.URL.Path == api.PathAccount && stale > 0 {
			stale--
			w.resign(r, body, "foreign")
		}
		return body
	}
	_, err = w.client.Account(w.t.Context())
	require.NoError(w.t, err)
	require.Zero(w.t, stale)
	for range 3 { // a nonce serves any number of requests
		status, _ := w.again()
		require.Equal(w.t, http.StatusOK, status)
	}
}

func testForeignToken(w *world) {
	w.login()
	_, err := w.client.Account(w.t.Context())
	require.NoError(w.t, err)
	token := w.lastExchange().RequestHeader.Get("Authorization")
	require.True(w.t, strings.HasPrefix(token, "Bearer "))
	other := newVault()
	second := w.newClient(other)
	require.NoError(w.t, second.Login(w.t.Context(), w.subject.Phone, w.subject.LoginPassword, w.subject.SMSCode))
	w.wire.change = func(r *http.Request, body []byte) []byte {
		r.Header.Set("Authorization", token)
		require.NoError(w.t, api.SignRequest(r, body, other.deviceKey(w.t), w.lastExchange().AnswerHeader.Get(api.HeaderNonce), time.Now()))
		return body
	}
	_, err = second.Account(w.t.Context())
	require.Equal(w.t, api.CodeTokenForeign, platformclient.CodeOf(err))
}

func testForm(w *world) {
	w.login()
	refuses := func(status int, code string, change func(r *http.Request, body []byte) []byte) {
		w.t.Helper()
		w.wire.change = func(r *http.Request, body []byte) []byte {
			body = change(r, body)
			w.resign(r, body, w.lastExchange().AnswerHeader.Get(api.HeaderNonce))
			return body
		}
		_, err := w.issuer().RequestLoad(w.t.Context(), w.ask(w.order(), w.lease()))
		require.Equal(w.t, code, platformclient.CodeOf(err))
		require.Equal(w.t, status, w.lastExchange().Status)
		w.wire.change = nil
	}
	refuses(http.StatusBadRequest, api.CodeBadRequest, func(_ *http.Request, body []byte) []byte {
		return []byte(strings.Replace(string(body), "{", `{"unheard_of":1,`, 1))
	})
	refuses(http.StatusBadRequest, api.CodeBadRequest, func(_ *http.Request, body []byte) []byte { return append(body, body...) })
	refuses(http.StatusBadRequest, api.CodeBadRequest, func(_ *http.Request, body []byte) []byte { return body[:len(body)/2] })
	refuses(http.StatusBadRequest, api.CodeBadRequest, func(r *http.Request, body []byte) []byte {
		r.Header.Del(api.HeaderIdempotencyKey)
		return body
	})
	refuses(http.StatusRequestEntityTooLarge, api.CodeTooLarge, func(_ *http.Request, body []byte) []byte {
		return append(body, make([]byte, api.MaxBody)...)
	})
	refuses(http.StatusNotFound, api.CodeNotFound, func(r *http.Request, body []byte) []byte {
		r.URL.Path = "/v1/no-such-route"
		return body
	})
}

// open verifies and reads a signed answer.
func open(w *world, body []byte, domain wallet.Domain, target any) {
	w.t.Helper()
	var carrier wallet.Signed
	decode(w, body, &carrier)
	require.NoError(w.t, w.subject.Profile.SignerKeys().Open(domain, carrier, target))
	for i := range carrier.Payload {
		changed := carrier
		changed.Payload = slices.Clone(carrier.Payload)
		changed.Payload[i] ^= 1
		require.ErrorIs(w.t, w.subject.Profile.SignerKeys().Open(domain, changed, &struct{}{}), wallet.ErrSignature)
	}
}
