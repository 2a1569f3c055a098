package mockplatform

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

const (
	bankHost = "https://bank.test"
	cardName = "张三"
)

// bankWorld is a platform and a bank with one clock; the wire between them is the
// handlers themselves.
type bankWorld struct {
	*world
	bankDir string
	bank    *mockbank.Bank
	faults  *mockbank.Faults
	profile func(*mockbank.Config)
	card    string // number of the test person's bank card
	asked   map[string]int

	onNotice func(body []byte) // takes callbacks instead of the platform
}

func newBankWorld(t testing.TB, profile ...func(*mockbank.Config)) *bankWorld {
	b := &bankWorld{bankDir: t.TempDir(), faults: mockbank.NewFaults(), asked: map[string]int{}}
	if len(profile) > 0 {
		b.profile = profile[0]
	}
	b.world = newWorld(t, b.config)
	b.openBank()
	b.p.url = "https://" + testHost
	t.Cleanup(func() { _ = b.bank.Close() })
	var err error
	b.card, err = b.bank.NewCard(context.Background(), cardName, testPhone, 2000_00, false)
	require.NoError(t, err)
	return b
}

// config puts the bank behind the platform.
func (b *bankWorld) config(config *Config) {
	config.Bank = func(context.Context) (bankapi.Partner, error) { return b.bank.Partner() }
	config.BankTransport = func(bankapi.Partner) http.RoundTripper { return roundTrip(b.toBank) }
}

func (b *bankWorld) openBank() {
	config := mockbank.Config{Dir: b.bankDir, URL: bankHost, Now: func() time.Time { return b.clock }}
	if b.profile != nil {
		b.profile(&config)
	}
	b.faults.Into(&config)
	strike := config.Notify
	config.Notify = func(http.RoundTripper) http.RoundTripper {
		return strike(roundTrip(b.toPlatform))
	}
	var err error
	b.bank, err = mockbank.Open(config)
	require.NoError(b.t, err)
}

func (b *bankWorld) reopenBank() {
	require.NoError(b.t, b.bank.Close())
	b.openBank()
}

func (b *bankWorld) reopen() {
	b.world.reopen()
	b.p.url = "https://" + testHost
}

func (b *bankWorld) toBank(req *http.Request) (*http.Response, error) {
	b.asked[req.URL.Path]++
	return through(b.bank.Handler(), req)
}

func (b *bankWorld) toPlatform(req *http.Request) (*http.Response, error) {
	if b.onNotice == nil {
		return through(b.p.Handler(), req)
	}
	body, err := io.ReadAll(req.Body)
	b.onNotice(body)
	return nil, errors.Join(err, errors.New("kept"))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// through serves a request that left on a wire; a server that dies cuts it.
func through(handler http.Handler, req *http.Request) (response *http.Response, err error) {
	defer func() {
		if trouble := recover(); trouble != nil {
			if trouble != http.ErrAbortHandler {
				panic(trouble)
			}
			err = errors.New("the connection was cut")
		}
	}()
	inner := httptest.NewRequest(req.Method, req.URL.String(), req.Body).WithContext(req.Context())
	inner.Header = req.Header
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, inner)
	return recorder.Result(), nil
}

// checkBoth audits both books and what they say of each other: what the bank holds
// for its partner is what the platform's clearing account says.
func (b *bankWorld) checkBoth() {
	b.t.Helper()
	b.check()
	report, err := b.bank.Check(context.Background())
	require.NoError(b.t, err)
	require.True(b.t, report.OK(), "books of the bank: %+v", report)
	require.Equal(b.t, -b.balance(accountBankClearing), report.PartnersFen, "bank and platform agree")
}

func (b *bankWorld) atBank() wallet.Fen {
	left, err := b.bank.Balance(context.Background(), b.card)
	require.NoError(b.t, err)
	return left
}

// latestCode is the last code that the bank sent to the test person.
func (b *bankWorld) latestCode() string {
	demo, err := b.p.bankDemo(context.Background(), testPhone)
	require.NoError(b.t, err)
	require.NotEmpty(b.t, demo.Messages)
	return demo.Messages[0].Code
}

func (c *teller) cardSeal(key, number, name, phone string) []byte {
	seal, err := api.SealBankCard(c.w.p.Profile().HPKE, api.BankCardBinding{Thumbprint: api.Thumbprint(c.public()), Key: key},
		api.BankCard{Number: number, Name: name, Phone: phone})
	require.NoError(c.w.t, err)
	return seal
}

func (c *teller) beginBind(number string) (answer *httptest.ResponseRecorder) {
	key := c.w.newKey()
	return c.post(api.PathBanks, key, api.BankBindRequest{CardSeal: c.cardSeal(key, number, cardName, testPhone)})
}

// bind binds the test person's bank card and gives the binding's name.
func (c *teller) bind(b *bankWorld) string {
	c.w.t.Helper()
	var begun, bound api.BankBinding
	c.must(http.StatusOK, c.beginBind(b.card), &begun)
	c.must(http.StatusOK, c.post("/v1/banks/"+begun.ID+"/confirm", c.w.newKey(), api.BankConfirmRequest{Code: b.latestCode()}), &bound)
	require.Equal(c.w.t, api.BankBound, bound.State)
	return bound.ID
}

func (c *teller) fundingRequest(key, id string, amount wallet.Fen, code *api.SMSCode) api.FundingRequest {
	request := api.FundingRequest{Amount: amount, Source: api.FundingSource{Kind: api.FundingBank, ID: id, Code: code}}
	seal, err := api.SealFunding(c.w.p.Profile().HPKE, api.FundingCore{Amount: amount, Source: request.Source.Name(), Key: key},
		c.w.p.Profile().DemoCredentials.PaymentPassword)
	require.NoError(c.w.t, err)
	request.PaySeal = seal
	return request
}

// bankCode asks the bank for a code for one payment.
func (c *teller) bankCode(b *bankWorld, id string, amount wallet.Fen) *api.SMSCode {
	var sent api.SMSSent
	c.must(http.StatusOK, c.post("/v1/banks/"+id+"/codes", c.w.newKey(), api.BankCodeRequest{Amount: amount}), &sent)
	return &api.SMSCode{CodeID: sent.CodeID, Code: b.latestCode()}
}

// told reads the signed state of a funding.
func (c *teller) told(answer *httptest.ResponseRecorder) (state wallet.FundingStatement) {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer)
	var carried api.FundingAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &carried), answer.Body.String())
	require.NotNil(c.w.t, carried.State, answer.Body.String())
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainFunding, *carried.State, &state))
	return state
}

// payBank funds from the bound card, with a code.
func (c *teller) payBank(b *bankWorld, id string, amount wallet.Fen) wallet.FundingStatement {
	c.w.t.Helper()
	code := c.bankCode(b, id, amount)
	key := c.w.newKey()
	return c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, amount, code)))
}

// later moves the clock and lets both sides do what waits.
func (b *bankWorld) later(pause time.Duration) {
	b.t.Helper()
	b.clock = b.clock.Add(pause)
	_, err := b.p.PursueFundings(context.Background())
	require.NoError(b.t, err)
	require.NoError(b.t, b.p.PursueReturns(context.Background()))
	_, err = b.bank.DeliverNotices(context.Background())
	require.NoError(b.t, err)
}

// forgetful is a bank that has lost a payment.
type forgetful struct {
	bankChannel
	serial string
	asked  int
}

func (f *forgetful) do(ctx context.Context, path string, request bankRequest) (bankapi.Outcome, error) {
	if path == bankapi.PathQueries && request.CallerSerial() == f.serial {
		f.asked++
		return bankapi.Outcome{Serial: f.serial, State: bankapi.StateUnknown}, nil
	}
	return f.bankChannel.do(ctx, path, request)
}
