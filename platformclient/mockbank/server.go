package mockbank

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

const maxBody = 64 << 10

// errForm means that a request is not of the published form.
var errForm = errors.New("the request has another form")

// question is one verified request of a partner.
type question struct {
	ctx     context.Context
	path    string
	partner string
	nonce   string
	body    []byte
}

// routes lists every route once.
func (b *Bank) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, answer func(*question) (any, error)) {
		mux.Handle("POST "+path, b.serve(path, answer))
	}
	register(b, handle, bankapi.PathBindings, b.bind, func(r bankapi.BindRequest) bool {
		return validCard(r.Card) && r.Name != "" && len(r.Name) <= maxText && r.Phone != "" && len(r.Phone) <= maxText
	})
	register(b, handle, bankapi.PathBindConfirm, b.confirm, func(r bankapi.BindConfirm) bool {
		return bankapi.ValidSerial(r.Of) && len(r.Code) <= maxText
	})
	register(b, handle, bankapi.PathUnbind, b.unbind, func(r bankapi.UnbindRequest) bool { return len(r.Token) <= maxText })
	register(b, handle, bankapi.PathCodes, b.payCode, func(r bankapi.CodeRequest) bool { return validAmount(r.Amount) && len(r.Token) <= maxText })
	register(b, handle, bankapi.PathDebits, b.debit, func(r bankapi.DebitRequest) bool {
		return validAmount(r.Amount) && len(r.Token) <= maxText && len(r.Code) <= maxText && (r.CodeOf == "" || bankapi.ValidSerial(r.CodeOf))
	})
	follow := func(path string, rule func(*tx, string, bankapi.FollowRequest) (*operation, error), money bool) {
		register(b, handle, path, rule, func(r bankapi.FollowRequest) bool {
			return bankapi.ValidSerial(r.Of) && r.Of != r.Serial && (money && validAmount(r.Amount) || !money && r.Amount == 0)
		})
	}
	follow(bankapi.PathCaptures, b.capture, true)
	follow(bankapi.PathReleases, b.release, false)
	follow(bankapi.PathReversals, b.reverse, false)
	follow(bankapi.PathRefunds, b.refund, true)
	register(b, handle, bankapi.PathPayouts, b.payout, func(r bankapi.PayoutRequest) bool { return validAmount(r.Amount) && len(r.Token) <= maxText })
	register(b, handle, bankapi.PathOrders, b.order, func(r bankapi.OrderRequest) bool {
		return validAmount(r.Amount) && r.Goods != "" && len(r.Goods) <= maxText && len(r.NotifyCA) <= maxBody && notifyAllowed(r.Notify)
	})
	handle(bankapi.PathQueries, b.query)
	handle(bankapi.PathStatements, b.askStatement)
	handle(bankapi.PathDemoCards, b.demoCards)
	handle(bankapi.PathDemoTexts, b.demoTexts)
	mux.HandleFunc("GET "+bankapi.PathGateway, b.showPage)
	mux.HandleFunc("POST "+bankapi.PathGatewayPay, b.payPage)
	if b.config.Wrap != nil {
		return b.config.Wrap(mux)
	}
	return mux
}

const maxText = 128

// serve verifies a partner's signature, answers, and signs the answer.
func (b *Bank) serve(path string, answer func(*question) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
		if err != nil {
			http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), 30*time.Second)
		defer cancel()
		q := &question{ctx: ctx, path: path, body: body}
		facts, err := api.VerifyRequest(req, body, func(keyID string) (ed25519.PublicKey, error) {
			var key []byte
			err := b.store.update(ctx, func(tx *tx) error {
				_, err := tx.row(`SELECT partner, public_key FROM partners WHERE thumbprint = ?`, []any{keyID}, &q.partner, &key)
				return err
			})
			if err == nil && key == nil {
				err = api.ErrRequestSignature
			}
			return key, err
		})
		if err != nil {
			http.Error(w, "the request is not signed by a partner", http.StatusUnauthorized)
			return
		}
		q.nonce = facts.Nonce
		value, err := answer(q)
		switch {
		case errors.Is(err, errDied):
			panic(http.ErrAbortHandler)
		case errors.Is(err, errForm):
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		case errors.Is(err, errSerial):
			http.Error(w, err.Error(), http.StatusConflict)
			return
		case err != nil:
			http.Error(w, "the bank could not answer", http.StatusInternalServerError)
			return
		}
		signed, err := wallet.Sign(bankapi.DomainAnswer, value, b.keys.answerKey())
		if err != nil {
			http.Error(w, "the bank could not answer", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(signed) // a partner that has gone away asks again
	})
}

// register adds the route of one kind of operation: strict form, one
// transaction between the two hooks, signed outcome.
func register[R interface{ CallerSerial() string }](b *Bank, handle func(string, func(*question) (any, error)), path string, rule func(*tx, string, R) (*operation, error), valid func(R) bool) {
	handle(path, func(q *question) (any, error) {
		var request R
		if err := strict(q.body, &request); err != nil || !bankapi.ValidSerial(request.CallerSerial()) || !valid(request) {
			return nil, errForm
		}
		var told bankapi.Outcome
		err := b.change(q.ctx, path, func(tx *tx) error {
			o, err := rule(tx, q.partner, request)
			if err != nil {
				return err
			}
			told, err = b.outcome(o)
			return err
		})
		told.Request = q.nonce
		return told, err
	})
}

// change runs a transaction between the two hooks.
func (b *Bank) change(ctx context.Context, path string, change func(*tx) error) error {
	err := b.store.update(ctx, func(tx *tx) error {
		if err := change(tx); err != nil {
			return err
		}
		if hook := b.config.Hooks.BeforeCommit; hook != nil && hook(path) != nil {
			return errDied
		}
		return nil
	})
	if err == nil && b.config.Hooks.AfterCommit != nil && b.config.Hooks.AfterCommit(path) != nil {
		return errDied
	}
	return err
}

func strict(body []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return errForm
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errForm
	}
	return nil
}

// Server is a bank that listens.
type Server struct {
	URL         string
	PartnerFile string // what the bank gives to its partner

	server *http.Server
	done   chan error
	rest   context.CancelFunc
	once   sync.Once
	work   sync.WaitGroup
	closed error
}

// Serve listens with TLS 1.3 until Close and writes the partner's file with the real
// address. listen is HOST:PORT; port 0 takes a free one.
func (b *Bank) Serve(ctx context.Context, listen string) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	certificate, err := b.leaf(host)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	b.url = "https://" + net.JoinHostPort(host, port)
	file, err := b.keys.partner(b.url).Marshal()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &Server{
		URL: b.url, PartnerFile: filepath.Join(b.config.Dir, filePartner), done: make(chan error, 1),
		server: &http.Server{
			Handler: b.handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
			IdleTimeout: 2 * time.Minute, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}},
		},
	}
	if err := writeSecret(s.PartnerFile, file); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() { s.done <- s.server.ServeTLS(listener, "", "") }()
	attending, rest := context.WithCancel(context.WithoutCancel(ctx))
	s.rest = rest
	s.work.Go(func() { b.attend(attending) })
	return s, nil
}

// Close finishes what is being answered, for at most five seconds. It may be called
// again.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.rest()
		defer s.work.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s.closed = s.server.Shutdown(ctx); s.closed != nil {
			s.closed = s.server.Close()
		}
		if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
			s.closed = errors.Join(s.closed, served)
		}
	})
	return s.closed
}

// leaf makes a certificate for this start; the bank's authority signs it.
func (b *Bank) leaf(host string) (tls.Certificate, error) {
	ca, err := x509.ParseCertificate(b.keys.CACert)
	if err != nil {
		return tls.Certificate{}, err
	}
	caKey, err := x509.ParsePKCS8PrivateKey(b.keys.CAKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(b.keys.Leaf)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, errors.New("the server key of the bank cannot sign")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Demo Bank"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: parsed}, nil
}
