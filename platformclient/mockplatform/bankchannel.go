package mockplatform

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// bankChannel is the wire to one bank. Every operation has a serial of ours, and the
// bank does it once however often it is asked. An error means that nothing is known,
// never that nothing was done; a refusal is an Outcome.
type bankChannel interface {
	facts() bankFacts
	// do sends one request of package bankapi and gives the outcome that the bank
	// signed for this very request and serial.
	do(ctx context.Context, path string, request bankRequest) (bankapi.Outcome, error)
	// statement gives the statement of a business day (YYYYMMDD), its signature
	// verified.
	statement(ctx context.Context, day string) (bankapi.Day, error)
	// demoCards and demoTexts are answered by demo banks only.
	demoCards(ctx context.Context, phone string) ([]bankapi.DemoCard, error)
	demoTexts(ctx context.Context, phone string) ([]bankapi.DemoMessage, error)
}

// bankFacts is what a platform knows of a bank before it asks.
type bankFacts = bankapi.Partner

// bankRequest is any request of package bankapi.
type bankRequest interface{ CallerSerial() string }

// errBank means that the bank did not answer, or not so that it could be believed.
var errBank = errors.New("the bank has not answered")

const (
	bankTimeout = 5 * time.Second
	bankConnect = 2 * time.Second
	maxBankBody = 2 * bankapi.MaxStatement // a statement in base64
)

// bankLink finds the bank when it is first needed, so that a platform starts without
// one, and finds it anew when its address has gone.
type bankLink struct {
	open      func(context.Context) (bankapi.Partner, error) // nil: there is none
	transport func(bankapi.Partner) http.RoundTripper        // nil: the network

	mu      sync.Mutex
	channel bankChannel
}

// errNoBank means that the platform has no bank at all.
var errNoBank = errors.New("this platform has no bank")

// bank gives the channel. An error means that there is none at present: only what
// needs a bank suffers (module rule R14).
func (p *Platform) bank(ctx context.Context) (bankChannel, error) {
	l := &p.banks
	if l.open == nil {
		return nil, errNoBank
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.channel != nil {
		return l.channel, nil
	}
	partner, err := l.open(ctx)
	if err != nil {
		return nil, errors.Join(errBank, err)
	}
	channel := newSignedBank(partner, l.transport, p.now)
	channel.lost = func() { // its address may be another after a restart
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.channel == bankChannel(channel) {
			l.channel = nil
		}
	}
	l.channel = channel
	return channel, nil
}

// signedBank asks a bank over HTTPS: requests signed by us, answers by the bank.
type signedBank struct {
	partner bankapi.Partner
	key     ed25519.PrivateKey
	answers wallet.SignerKeys
	client  *http.Client
	now     func() time.Time
	lost    func() // told of a broken connection
}

func newSignedBank(partner bankapi.Partner, transport func(bankapi.Partner) http.RoundTripper, now func() time.Time) *signedBank {
	if transport == nil {
		transport = bankTransport
	}
	return &signedBank{
		partner: partner, key: partner.PrivateKey(), answers: wallet.NewSignerKeys(ed25519.PublicKey(partner.AnswerKey)), now: now, lost: func() {},
		client: &http.Client{Transport: transport(partner), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// bankTransport is TLS 1.3 under the bank's own authority.
func bankTransport(partner bankapi.Partner) http.RoundTripper {
	roots := x509.NewCertPool()
	if ca, err := x509.ParseCertificate(partner.CA); err == nil {
		roots.AddCert(ca)
	}
	return &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}, TLSHandshakeTimeout: bankConnect,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
	}
}

func (b *signedBank) facts() bankFacts { return b.partner }

func (b *signedBank) do(ctx context.Context, path string, request bankRequest) (bankapi.Outcome, error) {
	var told bankapi.Outcome
	nonce, err := b.ask(ctx, path, request, &told)
	if err != nil {
		return bankapi.Outcome{}, err
	}
	if told.Request != nonce || told.Serial != request.CallerSerial() || told.State == "" {
		return bankapi.Outcome{}, errBank // signed, but for another question
	}
	return told, nil
}

func (b *signedBank) statement(ctx context.Context, day string) (bankapi.Day, error) {
	var told bankapi.Statement
	nonce, err := b.ask(ctx, bankapi.PathStatements, bankapi.StatementRequest{Day: day}, &told)
	if err != nil {
		return bankapi.Day{}, err
	}
	if told.Request != nonce || !bankapi.VerifyStatement(told.File, told.Sig, b.partner.AnswerKey) {
		return bankapi.Day{}, errBank
	}
	content, err := bankapi.ParseDay(told.File)
	if err == nil && (content.Bank != b.partner.Bank || content.Merchant != b.partner.MerchantID || content.Day != day) {
		err = bankapi.ErrStatement
	}
	return content, err
}

func (b *signedBank) demoCards(ctx context.Context, phone string) ([]bankapi.DemoCard, error) {
	var told bankapi.DemoCards
	nonce, err := b.ask(ctx, bankapi.PathDemoCards, bankapi.DemoRequest{Phone: phone}, &told)
	if err == nil && told.Request != nonce {
		err = errBank
	}
	return told.Cards, err
}

func (b *signedBank) demoTexts(ctx context.Context, phone string) ([]bankapi.DemoMessage, error) {
	var told bankapi.DemoMessages
	nonce, err := b.ask(ctx, bankapi.PathDemoTexts, bankapi.DemoRequest{Phone: phone}, &told)
	if err == nil && told.Request != nonce {
		err = errBank
	}
	return told.Messages, err
}

// ask sends one request and verifies the answer's bytes before it parses them. The
// nonce, drawn for this request, stands in the answer.
func (b *signedBank) ask(ctx context.Context, path string, request, answer any) (nonce string, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, bankTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.partner.URL+path, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	nonce = base64.RawURLEncoding.EncodeToString(randomBytes(16))
	if err := api.SignRequest(req, body, b.key, nonce, b.now()); err != nil {
		return "", err
	}
	response, err := b.client.Do(req)
	if err != nil {
		b.lost()
		return "", errBank // what went wrong on the wire is nothing that people could use
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBankBody+1))
	if err != nil || len(raw) > maxBankBody || response.StatusCode != http.StatusOK {
		return "", errBank
	}
	var signed wallet.Signed
	if err := json.Unmarshal(raw, &signed); err != nil {
		return "", errBank
	}
	if err := b.answers.Open(bankapi.DomainAnswer, signed, answer); err != nil {
		return "", errBank
	}
	return nonce, nil
}
