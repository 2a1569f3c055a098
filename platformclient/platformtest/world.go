package platformtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// profileName is the card profile that the suite's cards have.
const profileName = "pboc-ep"

// world is a platform, one logged-in person and one card.
type world struct {
	t       *testing.T
	subject Subject
	wire    *wire
	vault   *vault
	client  *platformclient.Client
	chip    Chip
	journal *wallettest.Journal
	profile *wallet.Profile
	amount  wallet.Fen // the smallest load, so that no limit is in the way
}

// newWorld starts a platform and gives a person who is not logged in yet.
func newWorld(t *testing.T, start func(t *testing.T) Subject) *world {
	w := &world{t: t, subject: start(t), vault: newVault(), journal: &wallettest.Journal{}}
	w.chip = w.subject.Card(t, openingBalance)
	w.profile, _ = wallet.ProfileByName(profileName)
	require.NotNil(t, w.profile)
	w.wire = &wire{observe: w.subject.Observe}
	w.client = w.newClient(w.vault)
	return w
}

func (w *world) newClient(vault *vault) *platformclient.Client {
	client, err := platformclient.New(platformclient.Config{
		Profile: w.subject.Profile, Vault: vault, Version: "1.0.0", DeviceName: "conformance",
		WrapTransport: func(inner http.RoundTripper) http.RoundTripper { w.wire.inner = inner; return w.wire },
	})
	require.NoError(w.t, err)
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) login() {
	w.t.Helper()
	require.NoError(w.t, w.client.Login(w.t.Context(), w.subject.Phone, w.subject.LoginPassword, w.subject.SMSCode))
	w.amount = w.client.Session().Policy.Limits.LoadMin
	require.Positive(w.t, w.amount)
}

func (w *world) script() wallet.Script {
	script, published := w.client.Session().Scripts[profileName]
	require.True(w.t, published, "no open script for %s", profileName)
	return script
}

func (w *world) lease() wallet.TerminalNumber {
	w.t.Helper()
	lease, err := w.client.TakeLease(w.t.Context())
	require.NoError(w.t, err)
	return lease.TID
}

// main is what the main account holds.
func (w *world) main() wallet.Fen {
	w.t.Helper()
	account, err := w.client.Account(w.t.Context())
	require.NoError(w.t, err)
	return account.Main
}

// order is a confirmed order of the smallest amount.
func (w *world) order() wallet.Order {
	key, err := platformclient.NewKey(time.Now(), rand.Reader)
	require.NoError(w.t, err)
	return wallet.Order{
		Key: key, ASN: w.asn(), Amount: w.amount, Fee: w.client.Session().Policy.LoadFee("main", w.amount), Source: "main",
		Cap: w.client.Session().Policy.Limits.PurseCap,
	}
}

// asn reads which card is on the reader.
func (w *world) asn() wallet.ASN {
	reading, err := wallet.Read(w.t.Context(), w.field(), wallet.ReadOptions{Brief: true})
	require.NoError(w.t, err)
	require.NotEmpty(w.t, reading.Purses)
	return reading.Purses[0].ASN
}

// balance reads what is on the card.
func (w *world) balance() wallet.Fen {
	reading, err := wallet.Read(w.t.Context(), w.field(), wallet.ReadOptions{FirstOnly: true})
	require.NoError(w.t, err)
	require.True(w.t, reading.Purses[0].BalanceKnown)
	return reading.Purses[0].Balance
}

// issuer asks for nothing: it has the payment password.
func (w *world) issuer() wallet.Issuer {
	return w.client.Issuer(func(context.Context) (string, error) { return w.subject.PaymentPassword, nil })
}

func (w *world) desk(card wallet.Card) wallet.Desk {
	session := w.client.Session()
	return wallet.Desk{Card: card, Issuer: w.issuer(), Journal: w.journal, Signers: session.Signers, Epoch: session.Epoch}
}

func (w *world) topUp(card wallet.Card, order wallet.Order) (wallet.Outcome, error) {
	return w.desk(card).TopUp(w.t.Context(), order, w.profile, w.script(), w.lease())
}

// cut begins an order whose card is taken away at CREDIT FOR LOAD, before it or
// after the chip has executed it, and returns it as the platform tells of it.
func (w *world) cut(executed bool) (wallet.OpenOrder, wallet.Order) {
	w.t.Helper()
	field := w.field()
	if executed {
		field.cutAfter = insCredit
	} else {
		field.cutBefore = insCredit
	}
	order := w.order()
	_, err := w.topUp(field, order)
	require.True(w.t, wallet.IsOpen(err), "%v", err)
	pending, err := w.client.Pending(w.t.Context(), order.ASN)
	require.NoError(w.t, err)
	require.Len(w.t, pending, 1)
	require.Equal(w.t, wallet.StateGranted, pending[0].State)
	require.Equal(w.t, order.Amount, pending[0].Amount)
	return pending[0], order
}

func (w *world) sync(open wallet.OpenOrder, order wallet.Order, intent wallet.Intent) (wallet.Outcome, error) {
	return w.desk(w.field()).Sync(w.t.Context(), open, w.journal.Entry(order.Key), intent, w.profile, w.script())
}

// ask opens a load on the card and makes the question for a grant.
func (w *world) ask(order wallet.Order, tid wallet.TerminalNumber) wallet.LoadAsk {
	return wallet.LoadAsk{Order: order, Profile: profileName, KeyIndex: w.profile.KeyIndex, TID: tid, Steps: w.opened(order.Amount, tid)}
}

// opened runs the published script up to INITIALIZE FOR LOAD, through the guard.
func (w *world) opened(amount wallet.Fen, tid wallet.TerminalNumber) []wallet.StepResult {
	w.t.Helper()
	guard := wallet.NewLoadGuard(w.field(), w.profile, wallet.Order{ASN: w.asn(), Amount: amount}, tid, 0, nil)
	return w.run(guard, w.script(), amount, tid)
}

// run sends the commands of an open script and collects the answers.
func (w *world) run(guard *wallet.Guard, script wallet.Script, amount wallet.Fen, tid wallet.TerminalNumber) []wallet.StepResult {
	w.t.Helper()
	fill := strings.NewReplacer(
		"{key_idx}", fmt.Sprintf("%02X", w.profile.KeyIndex), "{amount}", fmt.Sprintf("%08X", int64(amount)), "{tid}", tid.String())
	var steps []wallet.StepResult
	for _, step := range script.Steps {
		raw, err := hex.DecodeString(fill.Replace(step.APDU))
		require.NoError(w.t, err)
		command, err := wallet.ParseCommand(raw)
		require.NoError(w.t, err)
		response, err := guard.Send(w.t.Context(), command)
		require.NoError(w.t, err)
		steps = append(steps, response.Step())
	}
	return steps
}

// refused sends a question that must be refused with a signed and final state.
func (w *world) refused(ask wallet.LoadAsk, code string) wallet.OrderState {
	w.t.Helper()
	verdict, err := w.issuer().RequestLoad(w.t.Context(), ask)
	require.NoError(w.t, err)
	require.NotNil(w.t, verdict.State)
	require.Equal(w.t, code, verdict.State.Code)
	require.Equal(w.t, wallet.StateDeclined, verdict.State.State)
	return *verdict.State
}

// insCredit is the instruction byte of CREDIT FOR LOAD.
const insCredit = 0x52

var errGone = errors.New("the card was taken away")

// field is one conversation with the chip.
type field struct {
	chip                Chip
	cutBefore, cutAfter byte // INS at which the card is taken away; 0: never
	gone                bool
}

func (w *world) field() *field {
	w.chip.PowerOff()
	_, err := w.chip.PowerOn()
	require.NoError(w.t, err)
	return &field{chip: w.chip}
}

// Transmit implements wallet.Card.
func (f *field) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil || f.gone {
		return nil, errors.Join(err, errGone)
	}
	if f.cutBefore != 0 && command[1] == f.cutBefore {
		f.gone = true
		return nil, errGone
	}
	answer, err := f.chip.Transmit(command)
	if f.cutAfter != 0 && command[1] == f.cutAfter {
		f.gone = true
		f.chip.PowerOff()
		return nil, errGone
	}
	return answer, err
}

// wire observes every exchange, and changes requests where a case says so.
type wire struct {
	inner   http.RoundTripper
	observe func(Exchange)
	change  func(request *http.Request, body []byte) []byte // returns the body to send

	mu   sync.Mutex
	last *sent
	log  []Exchange
}

// sent is a request that can be sent again, byte for byte.
type sent struct {
	request *http.Request
	body    []byte
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	request = request.Clone(request.Context())
	if w.change != nil {
		body = w.change(request, body)
	}
	return w.send(request, body)
}

func (w *wire) send(request *http.Request, body []byte) (*http.Response, error) {
	copied := request.Clone(request.Context())
	if body != nil {
		copied.Body, copied.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	response, err := w.inner.RoundTrip(copied)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	exchange := Exchange{
		Method: request.Method, Path: request.URL.Path, RequestHeader: request.Header, RequestBody: body,
		Status: response.StatusCode, AnswerHeader: response.Header, AnswerBody: answer,
	}
	w.mu.Lock()
	w.last = &sent{request, body}
	w.log = append(w.log, exchange)
	w.mu.Unlock()
	if w.observe != nil {
		w.observe(exchange)
	}
	return response, nil
}

// again sends the last request once more, byte for byte, and returns status and body.
func (w *world) again() (int, []byte) {
	w.t.Helper()
	w.wire.mu.Lock()
	last := w.wire.last
	w.wire.mu.Unlock()
	require.NotNil(w.t, last)
	response, err := w.wire.send(last.request.Clone(w.t.Context()), last.body)
	require.NoError(w.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return response.StatusCode, body
}

// lastExchange is what happened last on the wire.
func (w *world) lastExchange() Exchange {
	w.wire.mu.Lock()
	defer w.wire.mu.Unlock()
	require.NotEmpty(w.t, w.wire.log)
	return w.wire.log[len(w.wire.log)-1]
}

// vault keeps the secrets of a client in memory.
type vault struct {
	mu     sync.Mutex
	values map[string][]byte
	leases []wallet.Lease
	used   map[wallet.TerminalNumber]bool
}

func newVault() *vault {
	return &vault{values: map[string][]byte{}, used: map[wallet.TerminalNumber]bool{}}
}

// Get implements platformclient.Vault.
func (v *vault) Get(_ context.Context, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.values[name]), nil
}

// Put implements platformclient.Vault.
func (v *vault) Put(_ context.Context, name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value == nil {
		delete(v.values, name)
		return nil
	}
	v.values[name] = bytes.Clone(value)
	return nil
}

// PutLeases implements platformclient.Vault.
func (v *vault) PutLeases(_ context.Context, leases []wallet.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range leases {
		if !v.used[lease.TID] {
			v.used[lease.TID] = true
			v.leases = append(v.leases, lease)
		}
	}
	return nil
}

// TakeLease implements platformclient.Vault.
func (v *vault) TakeLease(_ context.Context, epoch int, now time.Time) (wallet.Lease, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, lease := range v.leases {
		if lease.Epoch == epoch && lease.Expires.After(now) {
			v.leases = append(v.leases[:i:i], v.leases[i+1:]...)
			return lease, nil
		}
	}
	return wallet.Lease{}, errors.New("no lease is left")
}

// LeaseCount implements platformclient.Vault.
func (v *vault) LeaseCount(_ context.Context, epoch int, now time.Time) (count int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range v.leases {
		if lease.Epoch == epoch && lease.Expires.After(now) {
			count++
		}
	}
	return count, nil
}

// deviceKey is the key with which the client of this vault signs.
func (v *vault) deviceKey(t *testing.T) ed25519.PrivateKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, value := range v.values {
		if strings.HasSuffix(name, "device-key") {
			return ed25519.NewKeyFromSeed(value)
		}
	}
	require.FailNow(t, "the client has no device key")
	return nil
}

// resign signs a request as the client would, with another nonce.
func (w *world) resign(request *http.Request, body []byte, nonce string) {
	require.NoError(w.t, api.SignRequest(request, body, w.vault.deviceKey(w.t), nonce, time.Now()))
}

func decode(w *world, body []byte, target any) {
	w.t.Helper()
	require.NoError(w.t, json.Unmarshal(body, target), string(body))
}
