package mockplatform

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"walletcompanion/platformclient/api"
)

// sender is who sent a request, as far as it proved it.
type sender struct {
	user       string // set with a session only
	device     string
	thumbprint string
	nonce      string
	timersDue  bool // something of the person ends by itself now

	// Of staff alone, who are nobody's user and have no enrolled device.
	staff, staffName, role string
	until                  time.Time // end of the session
}

// authFunc checks the sender; a reply is a refusal.
type authFunc func(*call) (*reply, error)

const (
	nonceLife       = 5 * time.Minute
	accessLife      = 15 * time.Minute
	refreshLife     = 30 * 24 * time.Hour
	nonceSize       = 8 + 4 + 16
	stateActive     = "ACTIVE"
	stateReplaced   = "REPLACED"
	stateCloned     = "CLONED"
	bearer          = "Bearer "
	authorization   = "Authorization"
	evidencePerHost = 60 // requests without a session, per host and minute
)

// newNonce makes a nonce that needs no table: time ‖ epoch ‖ HMAC. Replay is not
// its task; keys and terminal numbers stop replays (§2.10).
func (p *Platform) newNonce(now time.Time, epoch int) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	raw = binary.BigEndian.AppendUint32(raw, uint32(epoch))
	return base64.RawURLEncoding.EncodeToString(append(raw, p.nonceMAC(raw)...))
}

func (p *Platform) nonceMAC(raw []byte) []byte {
	mac := hmac.New(sha256.New, p.secrets.NonceKey)
	mac.Write(raw)
	return mac.Sum(nil)[:16]
}

func (p *Platform) validNonce(nonce string, now time.Time, epoch int) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(raw) != nonceSize || subtle.ConstantTimeCompare(raw[12:], p.nonceMAC(raw[:12])) != 1 {
		return false
	}
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(raw))))
	return age >= 0 && age <= nonceLife && int(binary.BigEndian.Uint32(raw[8:])) == epoch
}

// authNone lets everybody pass; the handler checks what it needs.
func authNone(*call) (*reply, error) { return nil, nil }

// authDevice wants a request that an enrolled device signed.
func authDevice(c *call) (*reply, error) {
	return c.verify(func(keyID string) (key ed25519.PublicKey, err error) {
		err = c.p.store.View(c.ctx, func(tx *Tx) error { key, err = c.findDevice(tx, keyID); return err })
		return key, err
	})
}

// findDevice gives the key of an enrolled device and notes whose it is.
func (c *call) findDevice(tx *Tx, keyID string) (ed25519.PublicKey, error) {
	var key []byte
	var state string
	_, err := tx.row(`SELECT device, user, public_key, state FROM devices WHERE thumbprint = ?`, []any{keyID},
		&c.sender.device, &c.sender.user, &key, &state)
	if err == nil && (key == nil || state != stateActive) {
		err = errUnknownDevice
	}
	if err == nil {
		c.sender.timersDue, err = timersDue(tx, c.sender.user, c.p.now())
	}
	return key, err
}

// endDue ends what ends by itself before the request looks at any state: a freeze with a
// date, a loss that nobody made written.
func (c *call) endDue() error {
	if !c.sender.timersDue {
		return nil
	}
	return c.p.store.Update(c.ctx, func(tx *Tx) error { return c.p.settleTimers(tx, c.sender.user) })
}

var errUnknownDevice = errors.New("no enrolled device has this key")

// verify checks signature and nonce. The user that the device belongs to is not
// logged in by that alone: callers that need a session check the token.
func (c *call) verify(lookup func(string) (ed25519.PublicKey, error)) (*reply, error) {
	facts, err := api.VerifyRequest(c.req, c.body, lookup)
	switch {
	case errors.Is(err, errUnknownDevice):
		return refused(http.StatusForbidden, api.CodeDeviceUnknown, "this device is not enrolled"), nil
	case errors.Is(err, api.ErrRequestSignature):
		return refused(http.StatusUnauthorized, api.CodeSignature, "the request is not signed by its device"), nil
	case err != nil:
		return nil, err
	}
	if !c.p.validNonce(facts.Nonce, c.p.now(), c.p.epoch) {
		return refused(http.StatusUnauthorized, api.CodeNonceExpired, "the nonce has expired; this answer carries a fresh one"), nil
	}
	c.sender.thumbprint, c.sender.nonce = facts.KeyID, facts.Nonce
	return nil, nil
}

// authSession wants a device's signature and an access token of this very device.
// Both rows are read in one snapshot; the signature is judged first.
func authSession(c *call) (*reply, error) {
	token, found := strings.CutPrefix(c.req.Header.Get(authorization), bearer)
	hash := sha256.Sum256([]byte(token))
	var device string
	var expires int64
	refusal, err := c.verify(func(keyID string) (key ed25519.PublicKey, err error) {
		err = c.p.store.View(c.ctx, func(tx *Tx) error {
			if key, err = c.findDevice(tx, keyID); err != nil || !found {
				return err
			}
			_, err = tx.row(`SELECT device, expires FROM tokens WHERE hash = ? AND kind = 'access'`, []any{hash[:]}, &device, &expires)
			return err
		})
		return key, err
	})
	switch {
	case err != nil || refusal != nil:
		return refusal, err
	case !found:
		return refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "log in first"), nil
	case device == "" || c.p.now().UnixMilli() >= expires:
		return refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "the session has ended; log in again"), nil
	case device != c.sender.device:
		return refused(http.StatusUnauthorized, api.CodeTokenForeign, "the session belongs to another device"), nil
	}
	return nil, c.endDue()
}

// authEvidence accepts evidence with a session, and without one as well: the TAC
// and the signed grant authenticate themselves then, and the handler insists on
// the grant. Such requests are rate limited by their host (§2.6).
func authEvidence(c *call) (*reply, error) {
	if c.req.Header.Get(authorization) != "" {
		refusal, err := authSession(c)
		if err != nil || refusal == nil {
			return nil, err
		}
		if !strings.Contains(string(c.body), `"grant"`) {
			return refusal, nil // nothing but a session could have carried it
		}
	}
	c.sender = sender{}
	host, _, err := net.SplitHostPort(c.req.RemoteAddr)
	if err != nil {
		host = c.req.RemoteAddr
	}
	if !c.p.senders.allow(host, c.p.now()) {
		return refused(http.StatusTooManyRequests, api.CodeBusy, "too many requests; try again in a minute"), nil
	}
	return nil, nil
}

// senderLimit counts requests per host and minute. It protects, it decides nothing
// about money, and may therefore forget everything at a restart.
type senderLimit struct {
	mu     sync.Mutex
	minute int64
	counts map[string]int
}

func newSenderLimit() *senderLimit { return &senderLimit{counts: map[string]int{}} }

func (s *senderLimit) allow(host string, now time.Time) bool {
	return s.allowUpTo(host, now, evidencePerHost)
}

// allowUpTo counts one request and tells whether the minute's limit still covers it.
func (s *senderLimit) allowUpTo(host string, now time.Time, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if minute := now.Unix() / 60; minute != s.minute {
		s.minute = minute
		clear(s.counts)
	}
	s.counts[host]++
	return s.counts[host] <= limit
}
