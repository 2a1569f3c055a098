package mockplatform

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

const (
	testPhone = "13800000001"
	testHost  = "platform.test"
)

// world is a platform over a directory, with a clock that tests move.
type world struct {
	t     testing.TB
	dir   string
	clock time.Time
	p     *Platform
	hooks Hooks
	keyNo int
	edit  func(*Config)
}

func newWorld(t testing.TB, edit ...func(*Config)) *world {
	w := &world{t: t, dir: t.TempDir(), clock: time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)}
	if len(edit) > 0 {
		w.edit = edit[0]
	}
	w.open()
	t.Cleanup(func() { _ = w.p.Close() })
	require.NoError(t, w.p.Seed(context.Background(), testPhone, 500000, nil, ""))
	return w
}

func (w *world) open() {
	// Clocks of these tests stand still, and everybody is one host: limits of codes have
	// tests of their own.
	unlimited := SMSLimits{PhoneHour: 1 << 30, HostMinute: 1 << 30}
	config := Config{Dir: w.dir, Demo: true, Now: func() time.Time { return w.clock }, SMSLimits: unlimited, Hooks: Hooks{
		BeforeCommit: func(route string) error {
			if w.hooks.BeforeCommit != nil {
				return w.hooks.BeforeCommit(route)
			}
			return nil
		},
		AfterCommit: func(route string) error {
			if w.hooks.AfterCommit != nil {
				return w.hooks.AfterCommit(route)
			}
			return nil
		},
	}}
	if w.edit != nil {
		w.edit(&config)
	}
	p, err := Open(config)
	require.NoError(w.t, err)
	w.p = p
}

func (w *world) reopen() {
	require.NoError(w.t, w.p.Close())
	w.open()
}

// newKey is an idempotency key; only its being new matters here.
func (w *world) newKey() string {
	w.keyNo++
	return fmt.Sprintf("0195f000-0000-7000-8000-%012d", w.keyNo)
}

// card makes a chip whose keys the platform's masters give, in the user's account.
func (w *world) card(serial string, spec virtualcard.Spec) *chip {
	w.t.Helper()
	asn, err := wallet.ParseASN(serial)
	require.NoError(w.t, err)
	exported, err := w.p.IssueCard(context.Background(), asn)
	require.NoError(w.t, err)
	spec.ASN, spec.Keys = asn, parseKeys(w.t, exported)
	made, err := virtualcard.New(spec, rand.Reader)
	require.NoError(w.t, err)
	require.NoError(w.t, w.p.Seed(context.Background(), testPhone, 0, []wallet.ASN{asn}, ""))
	return &chip{t: w.t, Card: made}
}

func parseKeys(t testing.TB, exported CardKeys) *virtualcard.Keys {
	keys := &virtualcard.Keys{}
	for text, key := range map[*string]*epcrypto.Key16{&exported.DLK: &keys.DLK, &exported.DPK: &keys.DPK, &exported.DTK: &keys.DTK} {
		parsed, err := epcrypto.ParseKey16(*text)
		require.NoError(t, err)
		*key = parsed
	}
	return keys
}

// check audits the books; every test ends with it.
func (w *world) check() CheckReport {
	w.t.Helper()
	report, err := w.p.Check(context.Background())
	require.NoError(w.t, err)
	require.True(w.t, report.OK(), "books: %+v", report)
	return report
}

func (w *world) balance(account string) (sum wallet.Fen) {
	require.NoError(w.t, w.p.store.View(context.Background(), func(tx *Tx) (err error) {
		sum, err = balance(tx, account)
		return err
	}))
	return sum
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	require.NoError(w.t, w.p.store.Update(context.Background(), func(tx *Tx) error { return tx.exec(query, args...) }))
}

// chip is a virtual card with the conversations of these tests.
type chip struct {
	t testing.TB
	*virtualcard.Card
}

func (k *chip) send(command string) (wallet.StepResult, error) {
	raw, err := hex.DecodeString(command)
	require.NoError(k.t, err)
	answer, err := k.Transmit(raw)
	if err != nil {
		return wallet.StepResult{}, err
	}
	end := len(answer) - 2
	return wallet.StepResult{SW: answer[end:], Data: answer[:end]}, nil
}

// open runs the published script up to INITIALIZE FOR LOAD.
func (k *chip) open(script wallet.Script, amount wallet.Fen, tid wallet.TerminalNumber) *api.Open {
	_, err := k.PowerOn()
	require.NoError(k.t, err)
	open := &api.Open{TID: tid, Amount: amount}
	fill := strings.NewReplacer("{key_idx}", "01", "{amount}", fmt.Sprintf("%08X", int64(amount)), "{tid}", tid.String())
	for _, step := range script.Steps {
		result, err := k.send(fill.Replace(step.APDU))
		require.NoError(k.t, err)
		require.Equal(k.t, wallet.Hex{0x90, 0x00}, result.SW, step.APDU)
		open.Steps = append(open.Steps, result)
	}
	return open
}

// credit runs a grant's script and reports what the card answered to CREDIT.
func (k *chip) credit(granted *wallet.GrantedScript) (wallet.StepResult, error) {
	var steps []wallet.Step
	require.NoError(k.t, json.Unmarshal(granted.Script, &steps))
	return k.send(steps[0].APDU)
}

// prove is GET TRANSACTION PROVE right after a new start.
func (k *chip) prove(script wallet.Script, number uint16) *wallet.StepResult {
	_, err := k.PowerOn()
	require.NoError(k.t, err)
	_, err = k.send(script.Steps[0].APDU)
	require.NoError(k.t, err)
	result, err := k.send(fmt.Sprintf("805A000202%04X08", number))
	require.NoError(k.t, err)
	return &result
}

// teller is a client that signs by itself: what it can do, anybody can.
type teller struct {
	w       *world
	key     ed25519.PrivateKey
	phone   string
	session api.SessionAnswer
	leases  []wallet.Lease
	scripts map[string]wallet.Script // load-open, by profile
	journal string
	nonce   string

	payScripts map[string]wallet.Script // purchase-open, by profile
}

func (w *world) teller(phone string) *teller {
	w.t.Helper()
	c := w.stranger(phone)
	c.enrol()
	c.login()
	return c
}

// stranger is a client with a key that nobody knows.
func (w *world) stranger(phone string) *teller {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(w.t, err)
	return &teller{w: w, key: key, phone: phone}
}

func (c *teller) public() ed25519.PublicKey { return c.key.Public().(ed25519.PublicKey) }

func (c *teller) enrol() api.DeviceAnswer {
	c.w.t.Helper()
	var sent api.SMSSent
	c.must(http.StatusOK, c.post(api.PathSMSCodes, "", api.SMSRequest{Phone: c.phone, Purpose: "device"}), &sent)
	c.freshNonce()
	credentials := c.w.p.Profile().DemoCredentials
	var enrolled api.DeviceAnswer
	c.must(http.StatusOK, c.post(api.PathDevices, "", api.DeviceRequest{
		Phone: c.phone, SMS: api.SMSCode{CodeID: sent.CodeID, Code: credentials.SMSCode}, LoginPWSeal: c.loginSeal(api.PathDevices, credentials.LoginPassword),
		DeviceKey: wallet.Hex(c.public()), DeviceName: "test",
	}), &enrolled)
	return enrolled
}

func (c *teller) loginSeal(route, password string) []byte {
	seal, err := api.SealLogin(c.w.p.Profile().HPKE, api.LoginBinding{
		Route: route, Thumbprint: api.Thumbprint(c.public()), Nonce: c.nonce, Phone: c.phone,
	}, password)
	require.NoError(c.w.t, err)
	return seal
}

func (c *teller) login() {
	c.w.t.Helper()
	answer := c.tryLogin(c.w.p.Profile().DemoCredentials.LoginPassword)
	c.must(http.StatusOK, answer, &c.session)
	c.readSession()
}

func (c *teller) tryLogin(password string) *httptest.ResponseRecorder {
	c.freshNonce()
	c.session.AccessToken = ""
	return c.post(api.PathSession, "", api.SessionRequest{Phone: c.phone, LoginPWSeal: c.loginSeal(api.PathSession, password), ClientVer: "1.0.0"})
}

func (c *teller) readSession() {
	c.scripts, c.payScripts, c.leases = map[string]wallet.Script{}, map[string]wallet.Script{}, nil
	for _, signed := range c.session.Scripts {
		var script wallet.Script
		require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainScript, signed, &script))
		if script.Name == "load-open" {
			c.scripts[script.Profile] = script
		} else {
			c.payScripts[script.Profile] = script
		}
	}
	c.addLeases(c.session.Leases)
	c.nonce = c.session.Nonce
}

func (c *teller) addLeases(signed []wallet.Signed) {
	for _, one := range signed {
		var lease wallet.Lease
		require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainLease, one, &lease))
		c.leases = append(c.leases, lease)
	}
}

func (c *teller) lease() wallet.TerminalNumber {
	require.NotEmpty(c.w.t, c.leases, "no lease left")
	tid := c.leases[0].TID
	c.leases = c.leases[1:]
	return tid
}

func (c *teller) freshNonce() {
	request := httptest.NewRequest(http.MethodGet, "https://"+testHost+api.PathHello, nil)
	recorder := httptest.NewRecorder()
	c.w.p.Handler().ServeHTTP(recorder, request)
	c.nonce = recorder.Header().Get(api.HeaderNonce)
}

func (c *teller) post(path, key string, value any) *httptest.ResponseRecorder {
	body, err := json.Marshal(value)
	require.NoError(c.w.t, err)
	return c.do(c.request(http.MethodPost, path, key, body))
}

func (c *teller) get(path string) *httptest.ResponseRecorder {
	return c.do(c.request(http.MethodGet, path, "", nil))
}

// request builds and signs one request.
func (c *teller) request(method, path, key string, body []byte) *http.Request {
	request := httptest.NewRequest(method, "https://"+testHost+path, bytes.NewReader(body))
	if key != "" {
		request.Header.Set(api.HeaderIdempotencyKey, key)
	}
	if c.session.AccessToken != "" {
		request.Header.Set("Authorization", "Bearer "+c.session.AccessToken)
	}
	if c.journal != "" {
		request.Header.Set(api.HeaderJournal, c.journal)
	}
	if c.nonce == "" {
		c.freshNonce()
	}
	require.NoError(c.w.t, api.SignRequest(request, body, c.key, c.nonce, c.w.clock))
	return request
}

// do serves the request; nil means that the platform died and no answer came.
func (c *teller) do(request *http.Request) (answer *httptest.ResponseRecorder) {
	defer func() {
		if trouble := recover(); trouble != nil {
			if trouble != http.ErrAbortHandler {
				panic(trouble)
			}
			answer = nil
		}
	}()
	recorder := httptest.NewRecorder()
	c.w.p.Handler().ServeHTTP(recorder, request)
	return recorder
}

func (c *teller) must(status int, answer *httptest.ResponseRecorder, target any) {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer, "no answer")
	require.Equal(c.w.t, status, answer.Code, answer.Body.String())
	if target != nil {
		require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), target))
	}
}

// topUp is one confirmed order on its way.
type topUp struct {
	c       *teller
	k       *chip
	core    api.OrderCore
	request api.LoadRequest
	profile string
}

func (c *teller) order(k *chip, amount wallet.Fen) *topUp {
	return c.orderAs(k, amount, profilePBOC)
}

func (c *teller) orderAs(k *chip, amount wallet.Fen, profile string) *topUp {
	order := &topUp{c: c, k: k, profile: profile, core: api.OrderCore{ASN: k.ASN(), Amount: amount, Fee: c.w.p.policy.LoadFee("main", amount), Source: "main", Key: c.w.newKey()}}
	order.request = api.LoadRequest{
		Amount: amount, Fee: order.core.Fee, Source: "main", Card: api.LoadCard{ASN: k.ASN(), KeyIndex: 1, Profile: profile},
		PaySeal: order.seal(c.w.p.Profile().DemoCredentials.PaymentPassword),
	}
	return order
}

func (o *topUp) seal(digits string) []byte {
	seal, err := api.SealPayment(o.c.w.p.Profile().HPKE, o.core, digits)
	require.NoError(o.c.w.t, err)
	return seal
}

// init asks the card, with a new lease.
func (o *topUp) init() *topUp {
	o.request.Open = *o.k.open(o.c.scripts[o.profile], o.core.Amount, o.c.lease())
	return o
}

func (o *topUp) send() *httptest.ResponseRecorder {
	return o.c.post(api.PathLoads, o.core.Key, o.request)
}

// granted sends and expects a grant.
func (o *topUp) granted() (*wallet.GrantedScript, wallet.Grant) {
	o.c.w.t.Helper()
	return o.c.grantOf(o.send())
}

func (c *teller) grantOf(answer *httptest.ResponseRecorder) (*wallet.GrantedScript, wallet.Grant) {
	c.w.t.Helper()
	var load api.LoadAnswer
	c.must(http.StatusOK, answer, &load)
	require.NotNil(c.w.t, load.Grant, answer.Body.String())
	var grant wallet.Grant
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainGrant, load.Grant.Grant, &grant))
	c.addLeases(load.Leases)
	return load.Grant, grant
}

// stateOf verifies and reads a signed state.
func (c *teller) stateOf(answer *httptest.ResponseRecorder) wallet.OrderState {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer, "no answer")
	var load api.LoadAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &load), answer.Body.String())
	require.NotNil(c.w.t, load.State, answer.Body.String())
	var state wallet.OrderState
	keys := c.w.p.signerKeys()
	if err := keys.Open(wallet.DomainReceipt, *load.State, &state); err != nil {
		require.NoError(c.w.t, keys.Open(wallet.DomainOrder, *load.State, &state))
	}
	return state
}

// refusedWith sends and expects a signed, final refusal.
func (o *topUp) refusedWith(code string) wallet.OrderState {
	o.c.w.t.Helper()
	answer := o.send()
	state := o.c.stateOf(answer)
	require.Equal(o.c.w.t, wallet.StateDeclined, state.State)
	require.Equal(o.c.w.t, code, state.Code)
	require.Equal(o.c.w.t, o.core.Key, state.Key)
	require.Equal(o.c.w.t, o.core.Key, state.Request)
	require.GreaterOrEqual(o.c.w.t, answer.Code, 400)
	return state
}

func (c *teller) result(grant wallet.Grant, signed *wallet.Signed, answer wallet.StepResult) *httptest.ResponseRecorder {
	return c.post(strings.Replace(api.PathResult, "{id}", grant.Order, 1), c.w.newKey(), api.ResultRequest{
		Attempt: grant.Attempt, Steps: []wallet.StepResult{answer}, Executed: 1, TAC: answer.Data, Grant: signed,
	})
}

// evidence presents the card over the probe.
func (c *teller) evidence(k *chip, open wallet.OpenOrder, intent wallet.Intent) (*httptest.ResponseRecorder, api.AttemptRequest) {
	request := api.AttemptRequest{Attempt: open.Attempt, Intent: intent, Open: k.open(c.scripts[profilePBOC], open.Amount, open.ProbeTID)}
	return c.attempt(open.Order, request), request
}

func (c *teller) attempt(order string, request api.AttemptRequest) *httptest.ResponseRecorder {
	return c.post(strings.Replace(api.PathAttempts, "{id}", order, 1), c.w.newKey(), request)
}

func openOf(grant wallet.Grant) wallet.OpenOrder {
	return wallet.OpenOrder{
		Order: grant.Order, ASN: grant.ASN, Attempt: grant.Attempt, Seq: grant.Seq, Amount: grant.Amount, ProbeTID: grant.ProbeTID, Epoch: grant.Epoch,
	}
}

func mustJSON(t testing.TB, value any) []byte {
	body, err := json.Marshal(value)
	require.NoError(t, err)
	return body
}

// shopPurchase pays 1.00 yuan in a shop: the test is the terminal.
func shopPurchase(t testing.TB, w *world, k *chip) {
	_, err := k.PowerOn()
	require.NoError(t, err)
	for _, command := range []string{"00A4040009A0000000038698070100", "805001020B0100000064000000990501" + "0F"} {
		answer, err := k.send(command)
		require.NoError(t, err)
		require.Equal(t, wallet.Hex{0x90, 0x00}, answer.SW, command)
		if strings.HasPrefix(command, "8050") {
			var terminal wallet.TerminalNumber
			copy(terminal[:], []byte{0, 0, 0, 0x99, 0x05, 0x01})
			at := epcrypto.CardTimeOf(w.clock)
			counter := uint16(answer.Data[4])<<8 | uint16(answer.Data[5])
			session := epcrypto.PurchaseSessionKey(k.Keys().DPK, [4]byte(answer.Data[11:15]), counter, 7)
			mac1 := epcrypto.PurchaseMAC1(session, 100, 0x06, terminal, at)
			debit, err := k.send("805401000F00000007" + wallet.Hex(at[:]).String() + wallet.Hex(mac1[:]).String() + "08")
			require.NoError(t, err)
			require.Equal(t, wallet.Hex{0x90, 0x00}, debit.SW)
		}
	}
}
