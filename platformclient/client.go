// Package platformclient is the wire to the payment platform: signed requests over
// pinned TLS, retries that cannot double anything, and answers that are believed
// only when the platform's signer signed them (protocol §2.3, §2.6, §2.10).
package platformclient

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Config is what New needs. Profile and Vault must be set.
type Config struct {
	Profile    api.Profile
	Vault      Vault
	Version    string // of this program, without spaces
	DeviceName string // as the person will see it in the list of devices

	// Transport replaces the real network, for a platform in the same process.
	// nil means TLS 1.3 with the CA and pins of the profile.
	Transport http.RoundTripper
	// WrapTransport is the one place where a test cuts or distorts the wire. An
	// error that it makes itself counts as "may have been sent".
	WrapTransport func(http.RoundTripper) http.RoundTripper
	// Proxy chooses a proxy; nil means the one of the environment.
	Proxy func(*http.Request) (*url.URL, error)

	// Journal gives the mark of the client's journal for session and loads; nil
	// where there is no journal.
	Journal func(ctx context.Context) (api.JournalMark, error)
	// Companion tells the serial of the reader in use, "" where there is none; the
	// device key stands for it then. nil means none.
	Companion func(ctx context.Context) string
	// OnEpoch tells that the platform was restored from a backup (protocol §2.7.1).
	// It only takes note: it must not call the client.
	OnEpoch func(old, new int)
	// OnReceipt hands over every verified receipt to be kept.
	OnReceipt func(order string, receipt wallet.Signed)
	// OnRequest observes transmissions, for logs.
	OnRequest func(RequestFacts)

	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
}

// Session is what the platform told at login, every signature verified.
type Session struct {
	LoggedIn   bool
	User       string
	Phone      string
	Device     string
	Cards      []api.Card
	Policy     api.Policy
	Scripts    map[string]wallet.Script // load-open scripts by card profile
	OpenOrders []wallet.OpenOrder

	PurchaseScripts map[string]wallet.Script // purchase-open scripts by card profile
	OpenPurchases   []wallet.OpenPurchase

	Signers   wallet.SignerKeys
	Epoch     int
	Watermark time.Time // backups elsewhere reach up to here
	Demo      bool
}

// Client talks to one platform for one person. It is safe for concurrent use.
type Client struct {
	config      Config
	base        *url.URL
	signers     wallet.SignerKeys
	counter     *counter
	deviceName  string // in the vault
	sessionName string // in the vault

	renewing sync.Mutex // one refresh at a time

	mu         sync.Mutex
	device     ed25519.PrivateKey
	nonce      string
	nonceAt    time.Time // when it arrived
	hello      api.Hello
	ahead      time.Duration // platform's clock minus ours
	epoch      int
	session    Session
	access     string
	expires    time.Time         // of access
	unanswered map[string]string // question → idempotency key
}

// New prepares a client; it sends nothing. A profile that is only a certificate is
// accepted, if its URL was set, and then answers PROFILE_INCOMPLETE to everything
// that needs keys.
func New(config Config) (*Client, error) {
	if config.Vault == nil {
		return nil, errors.New("platform client: no vault")
	}
	base, err := url.Parse(config.Profile.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" || config.Profile.CA == nil {
		return nil, errors.New("platform client: the profile has no address or no CA certificate")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	transport := config.Transport
	if transport == nil {
		transport = newTransport(config.Profile, config.Proxy)
	}
	if config.WrapTransport != nil {
		transport = config.WrapTransport(transport)
	}
	device, session := vaultNames(config.Profile.Signers)
	client := &Client{
		config: config, base: base, signers: config.Profile.SignerKeys(),
		counter:    &counter{inner: transport, keys: map[string]bool{}},
		deviceName: device, sessionName: session, unanswered: map[string]string{},
	}
	client.session = Session{Signers: client.signers, Demo: config.Profile.Demo}
	return client, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	type idler interface{ CloseIdleConnections() }
	if transport, ok := c.counter.inner.(idler); ok {
		transport.CloseIdleConnections()
	}
}

// Requests counts requests since the client was made, in the transport, after
// login: without greeting and login, without repeats under one idempotency key.
func (c *Client) Requests() int {
	requests, _ := c.counter.counts()
	return requests
}

// Transmissions counts the same with every repeat.
func (c *Client) Transmissions() int {
	_, transmissions := c.counter.counts()
	return transmissions
}

// Session returns what is known now; the caller may keep and change it.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	session := c.session
	session.Epoch = c.epoch
	session.Cards = slices.Clone(session.Cards)
	session.OpenOrders = slices.Clone(session.OpenOrders)
	session.Scripts = maps.Clone(session.Scripts)
	session.PurchaseScripts = maps.Clone(session.PurchaseScripts)
	session.OpenPurchases = slices.Clone(session.OpenPurchases)
	session.Signers = maps.Clone(session.Signers)
	return session
}

// MinVersion is the oldest client version that the platform still lets log in, as
// its signed greeting says; "" before Connect.
func (c *Client) MinVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello.MinVersion
}

func (c *Client) now() time.Time { return c.config.Now() }

func (c *Client) companion(ctx context.Context) string {
	if c.config.Companion == nil {
		return ""
	}
	return c.config.Companion(ctx)
}

// platformNow is the platform's clock as its greeting showed it: leases and
// policies expire by that, because clocks of computers are wrong.
func (c *Client) platformNow() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Add(c.ahead)
}

func (c *Client) currentNonce() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nonce
}

func (c *Client) keepNonce(nonce string) {
	if nonce == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nonce, c.nonceAt = nonce, c.now()
}

// youngNonce reports that the present nonce should still be good.
func (c *Client) youngNonce() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Sub(c.nonceAt) < nonceLife-time.Minute
}

func (c *Client) needNonce(ctx context.Context) error {
	if c.currentNonce() != "" {
		return nil
	}
	return c.greet(ctx)
}

func (c *Client) deviceKey(ctx context.Context) (ed25519.PrivateKey, error) {
	if !c.config.Profile.Complete() {
		return nil, nil // only the greeting goes out, which is not signed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.device == nil {
		key, err := loadDeviceKey(ctx, c.config.Vault, c.deviceName, c.config.Random)
		if err != nil {
			return nil, err
		}
		c.device = key
	}
	return c.device, nil
}

// needProfile refuses what cannot be done without pins, signer and HPKE key.
func (c *Client) needProfile() error {
	if c.config.Profile.Complete() {
		return nil
	}
	return &Error{Kind: KindProfile, Code: api.CodeProfileIncomplete,
		Err: errors.New("the platform profile holds no pins and keys")}
}

// noticeEpoch keeps the epoch that a signed object or the session names and tells
// when it rose. An epoch never goes back: an answer that says so is an old one.
func (c *Client) noticeEpoch(ctx context.Context, epoch int) error {
	state, err := c.loadKept(ctx)
	if err != nil {
		return localError(err)
	}
	old := max(state.Epoch, c.knownEpoch())
	if epoch < old {
		return unsigned(CodeAnswerForeign, fmt.Sprintf("the platform's epoch went back from %d to %d", old, epoch))
	}
	if epoch > state.Epoch {
		state.Epoch = epoch
		if err := c.storeKept(ctx, state); err != nil {
			return localError(err)
		}
	}
	c.mu.Lock()
	told := c.epoch
	c.epoch = epoch
	c.mu.Unlock()
	if from := max(old, told); from > 0 && epoch > from && c.config.OnEpoch != nil {
		c.config.OnEpoch(from, epoch)
	}
	return nil
}

func (c *Client) knownEpoch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// NewKey makes a UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, 74 random bits.
func NewKey(now time.Time, random io.Reader) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(random, raw[6:]); err != nil {
		return "", err
	}
	for i, ms := 5, now.UnixMilli(); i >= 0; i-- {
		raw[i] = byte(ms)
		ms >>= 8
	}
	raw[6] = raw[6]&0x0F | 0x70
	raw[8] = raw[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]), nil
}
