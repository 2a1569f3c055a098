package mockplatform

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"walletcompanion/wallet"
)

// Server is a platform that listens.
type Server struct {
	URL         string // https://HOST:PORT
	ProfileFile string // the platform profile with this address

	server *http.Server
	done   chan error
	stop   func() bool
	once   sync.Once
	attend sync.WaitGroup
	closed error
}

// Serve listens with TLS 1.3 until ctx ends or Close, and writes the platform
// profile with the real address. listen is HOST:PORT; port 0 takes a free one.
func (p *Platform) Serve(ctx context.Context, listen string) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if asked, _, err := net.SplitHostPort(listen); err == nil && asked != "" {
		host = asked
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	certificate, err := p.leaf(host)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &Server{
		URL: "https://" + net.JoinHostPort(host, port), ProfileFile: filepath.Join(p.config.Dir, fileProfile),
		done: make(chan error, 1),
		server: &http.Server{
			Handler:           p.handler,
			TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}},
			ErrorLog:          log.New(io.Discard, "", 0), // broken handshakes of strangers are no news
			ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		},
	}
	if err := p.writeProfile(s.URL, s.ProfileFile); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if _, err := p.SuspendOld(ctx); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() { s.done <- s.server.ServeTLS(listener, "", "") }()
	attending, rest := context.WithCancel(ctx)
	s.attend.Go(func() { p.attend(attending) })
	s.attend.Go(func() { p.carry(attending) })
	stop := context.AfterFunc(ctx, func() { _ = s.server.Close() })
	s.stop = func() bool { rest(); return stop() }
	return s, nil
}

// Close finishes what is being answered, for at most five seconds. It may be called
// again, and then tells the same.
func (s *Server) Close() error {
	s.once.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Server) close() error {
	s.stop()
	defer s.attend.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (p *Platform) writeProfile(url, file string) error {
	p.mu.Lock()
	p.url = url
	p.mu.Unlock()
	data, err := p.Profile().Marshal()
	if err != nil {
		return err
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

// leaf makes a certificate for this start; its key is the pinned one.
func (p *Platform) leaf(host string) (tls.Certificate, error) {
	ca, err := x509.ParseCertificate(p.secrets.CACert)
	if err != nil {
		return tls.Certificate{}, err
	}
	caKey, err := x509.ParsePKCS8PrivateKey(p.secrets.CAKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := parseSigner(p.secrets.LeafKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Wallet Platform"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
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
	return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}, nil
}

func parseSigner(pkcs8 []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the server key cannot sign")
	}
	return signer, nil
}

// spkiOf is the pin of a server key: SHA-256 of its SubjectPublicKeyInfo.
func spkiOf(pkcs8 []byte) wallet.Hex {
	key, err := parseSigner(pkcs8)
	if err != nil {
		return nil
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(spki)
	return sum[:]
}
