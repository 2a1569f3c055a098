package platformclient

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// tokenMargin is how long before its end an access token is renewed.
const tokenMargin = 10 * time.Second

// Names of the scripts that a session answer brings.
const (
	openScript         = "load-open"
	openPurchaseScript = "purchase-open"
)

// Connect greets the platform and renews a kept login. It fails with KindNetwork,
// with KindProfile (PROFILE_INCOMPLETE, after the platform was reached), or with
// KindNotLoggedIn where no login is kept or the kept one is over.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.greet(ctx); err != nil {
		return err
	}
	return c.renew(ctx, "", true)
}

// greet asks for the signed hello, which brings nonce, time and epoch.
func (c *Client) greet(ctx context.Context) error {
	question := call{method: http.MethodGet, route: api.PathHello, path: api.PathHello}
	result, err := c.transmit(ctx, question, nil, nil, "", "")
	if err != nil {
		return err
	}
	if err := c.needProfile(); err != nil {
		return err
	}
	var carrier wallet.Signed
	if err := decode(result, &carrier); err != nil {
		return err
	}
	var hello api.Hello
	if err := c.signers.Open(wallet.DomainHello, carrier, &hello); err != nil {
		return unsigned(CodeAnswerUnsigned, "the greeting is not signed by the platform")
	}
	c.mu.Lock()
	c.hello, c.nonce, c.nonceAt = hello, hello.Nonce, c.now()
	c.ahead = hello.Time.Sub(c.now())
	c.session.Demo = c.config.Profile.Demo || hello.Demo
	c.mu.Unlock()
	return c.noticeEpoch(ctx, hello.Epoch)
}

// Login logs a person in. Where the platform does not know this device yet, it is
// enrolled: sms is asked for the code that was sent to the phone. The password is
// sealed and not kept.
func (c *Client) Login(ctx context.Context, phone, password string, sms func(ctx context.Context, codeID string) (string, error)) error {
	if err := c.needProfile(); err != nil {
		return err
	}
	if err := c.greet(ctx); err != nil {
		return err
	}
	err := c.openSession(ctx, phone, password)
	if code := CodeOf(err); code != api.CodeDeviceUnknown && code != api.CodeJournalConflict {
		return err
	}
	if sms == nil {
		return err
	}
	if err := c.enrol(ctx, phone, password, sms); err != nil {
		return err
	}
	return c.openSession(ctx, phone, password)
}

func (c *Client) openSession(ctx context.Context, phone, password string) error {
	mark, text, err := c.journalMark(ctx)
	if err != nil {
		return localError(err)
	}
	result, err := c.do(ctx, call{
		method: http.MethodPost, route: api.PathSession, path: api.PathSession, mark: text,
		sealed: func(nonce string) (any, error) {
			seal, err := c.sealLogin(ctx, api.PathSession, nonce, phone, password)
			return api.SessionRequest{Phone: phone, LoginPWSeal: seal, ClientVer: c.config.Version, Journal: mark}, err
		},
	})
	if err != nil {
		return err
	}
	return c.adopt(ctx, result)
}

// enrol makes this device's key known to the platform for a phone number.
func (c *Client) enrol(ctx context.Context, phone, password string, sms func(context.Context, string) (string, error)) error {
	code, err := c.askCode(ctx, phone, api.PurposeDevice, sms)
	if err != nil {
		return err
	}
	key, err := c.deviceKey(ctx)
	if err != nil {
		return localError(err)
	}
	public, _ := key.Public().(ed25519.PublicKey)
	result, err := c.do(ctx, call{
		method: http.MethodPost, route: api.PathDevices, path: api.PathDevices,
		sealed: func(nonce string) (any, error) {
			seal, err := c.sealLogin(ctx, api.PathDevices, nonce, phone, password)
			return api.DeviceRequest{Phone: phone, SMS: code, LoginPWSeal: seal,
				DeviceKey: wallet.Hex(public), DeviceName: c.config.DeviceName, CompanionSN: c.companion(ctx)}, err
		},
	})
	if err != nil {
		return err
	}
	return decode(result, &api.DeviceAnswer{})
}

func (c *Client) sealLogin(ctx context.Context, route, nonce, phone, password string) ([]byte, error) {
	key, err := c.deviceKey(ctx)
	if err != nil {
		return nil, err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	binding := api.LoginBinding{Route: route, Thumbprint: api.Thumbprint(public), Nonce: nonce, Phone: phone}
	return api.SealLogin(c.config.Profile.HPKE, binding, password)
}

// Logout ends the session. What is kept of it here is removed first, so that it is
// gone also when the platform cannot be reached; the device stays enrolled.
func (c *Client) Logout(ctx context.Context) error {
	state, err := c.loadKept(ctx)
	if err != nil {
		return localError(err)
	}
	c.mu.Lock()
	access := c.access
	c.mu.Unlock()
	if err := c.forgetLogin(ctx); err != nil {
		return err
	}
	if access == "" {
		access = state.Access
	}
	if access == "" || !c.config.Profile.Complete() {
		return nil
	}
	key, err := c.deviceKey(ctx)
	if err != nil {
		return localError(err)
	}
	if err := c.needNonce(ctx); err != nil {
		return err
	}
	question := call{method: http.MethodPost, route: api.PathSessionEnd, path: api.PathSessionEnd}
	if question.key, err = NewKey(c.now(), c.config.Random); err != nil {
		return localError(err)
	}
	_, err = c.repeat(ctx, question, []byte("{}"), key, access)
	if KindOf(err) == KindNotLoggedIn {
		return nil
	}
	return err
}

func (c *Client) forgetLogin(ctx context.Context) error {
	state, err := c.loadKept(ctx)
	if err == nil {
		err = c.storeKept(ctx, kept{Epoch: state.Epoch})
	}
	c.dropSession()
	if err != nil {
		return localError(err)
	}
	return nil
}

func (c *Client) dropSession() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access, c.expires = "", time.Time{}
	c.session = Session{Signers: c.signers, Demo: c.session.Demo}
}

// token gives an access token for a call. failed is the token that the platform
// has just refused, or "".
func (c *Client) token(ctx context.Context, wanted access, failed string) (string, error) {
	if wanted == accessNone {
		return "", nil
	}
	if err := c.needProfile(); err != nil {
		return "", err
	}
	if wanted == accessStaff {
		return c.staffToken(ctx, failed)
	}
	c.mu.Lock()
	access, expires := c.access, c.expires
	c.mu.Unlock()
	if access == "" || access == failed || !c.platformNow().Add(tokenMargin).Before(expires) {
		err := c.renew(ctx, access, false)
		if err != nil && wanted == accessIfAny && KindOf(err) == KindNotLoggedIn {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		c.mu.Lock()
		access = c.access
		c.mu.Unlock()
	}
	return access, nil
}

// renew asks for a new session with the kept refresh token. Unless whole is set it
// is content when somebody else renewed the token meanwhile, in this process or in
// another one that shares the vault: stale is the token that is no longer good.
func (c *Client) renew(ctx context.Context, stale string, whole bool) error {
	if err := c.needProfile(); err != nil {
		return err
	}
	c.renewing.Lock()
	defer c.renewing.Unlock()
	used, refused := "", error(nil)
	for {
		state, err := c.loadKept(ctx)
		if err != nil {
			return localError(err)
		}
		if state.Refresh == "" || state.Refresh == used {
			return c.loginOver(ctx, refused)
		}
		fresh := state.Access != "" && state.Access != stale && c.platformNow().Add(tokenMargin).Before(state.AccessExpires)
		if fresh && !whole && c.Session().LoggedIn {
			c.mu.Lock()
			c.access, c.expires = state.Access, state.AccessExpires
			c.mu.Unlock()
			return nil
		}
		used = state.Refresh
		refused = c.refresh(ctx, used)
		if KindOf(refused) != KindNotLoggedIn {
			return refused
		}
		// The platform refused this token. Another process may have used it a moment
		// ago and kept its successor: look once more.
	}
}

// loginOver forgets a login that the platform refused; refused is nil where there
// was none.
func (c *Client) loginOver(ctx context.Context, refused error) error {
	if refused == nil {
		// Another process of this profile may have ended it: the session in memory is
		// of no use any more, and says so.
		c.dropSession()
		return &Error{Kind: KindNotLoggedIn, Code: api.CodeNotLoggedIn}
	}
	if err := c.forgetLogin(ctx); err != nil {
		return err
	}
	return refused
}

func (c *Client) refresh(ctx context.Context, token string) error {
	mark, text, err := c.journalMark(ctx)
	if err != nil {
		return localError(err)
	}
	result, err := c.do(ctx, call{method: http.MethodPost, route: api.PathRefresh, path: api.PathRefresh, mark: text,
		body: api.RefreshRequest{Refresh: token, ClientVer: c.config.Version, Journal: mark}})
	if err != nil {
		return err
	}
	switch code := unsignedCode(result); code {
	case api.CodeTokenForeign, api.CodeDeviceUnknown, api.CodeJournalConflict:
		failure := statusError(result)
		failure.Kind = KindNotLoggedIn
		return failure
	}
	return c.adopt(ctx, result)
}

// adopt verifies a session answer as a whole before any of it is used.
func (c *Client) adopt(ctx context.Context, result answer) error {
	var told api.SessionAnswer
	if err := decode(result, &told); err != nil {
		return err
	}
	if told.AccessToken == "" || told.Refresh == "" || told.Device == "" {
		return unsigned(CodeAnswerBroken, "the session answer lacks its tokens")
	}
	session := Session{LoggedIn: true, User: told.User, Phone: told.Phone, Device: told.Device, Cards: told.Cards,
		OpenOrders: told.OpenOrders, Watermark: told.BackupWatermark, Signers: c.signers, Scripts: map[string]wallet.Script{},
		OpenPurchases: told.OpenPurchases, PurchaseScripts: map[string]wallet.Script{}}
	if err := c.signers.Open(wallet.DomainPolicy, told.Policy, &session.Policy); err != nil {
		return unsigned(CodeAnswerUnsigned, "the policy is not signed by the platform")
	}
	if !session.Policy.Expires.After(c.platformNow()) {
		return unsigned(CodeAnswerForeign, "the policy has expired")
	}
	for _, carrier := range told.Scripts {
		var script wallet.Script
		if err := c.signers.Open(wallet.DomainScript, carrier, &script); err != nil {
			return unsigned(CodeAnswerUnsigned, "a script is not signed by the platform")
		}
		newest := map[string]map[string]wallet.Script{openScript: session.Scripts, openPurchaseScript: session.PurchaseScripts}[script.Name]
		if newest != nil && script.Version >= newest[script.Profile].Version {
			newest[script.Profile] = script
		}
	}
	if err := c.noticeEpoch(ctx, told.Epoch); err != nil {
		return err
	}
	if err := c.keepLeases(ctx, told.Leases, told.Device); err != nil {
		return err
	}
	state := kept{Epoch: told.Epoch, Refresh: told.Refresh, Access: told.AccessToken, AccessExpires: told.AccessExpires}
	if err := c.storeKept(ctx, state); err != nil {
		return localError(err)
	}
	c.keepNonce(told.Nonce)
	c.mu.Lock()
	defer c.mu.Unlock()
	session.Demo = c.session.Demo
	c.session, c.access, c.expires = session, told.AccessToken, told.AccessExpires
	return nil
}

// keepLeases stores leases that are signed and meant for this device and epoch.
// Others are of no use and dropped: without a lease no load begins.
func (c *Client) keepLeases(ctx context.Context, carriers []wallet.Signed, device string) error {
	var leases []wallet.Lease
	epoch := c.knownEpoch()
	for _, carrier := range carriers {
		var lease wallet.Lease
		if c.signers.Open(wallet.DomainLease, carrier, &lease) == nil && lease.Device == device && lease.Epoch == epoch {
			leases = append(leases, lease)
		}
	}
	if len(leases) == 0 {
		return nil
	}
	if err := c.config.Vault.PutLeases(ctx, leases); err != nil {
		return localError(err)
	}
	return nil
}

// TakeLease uses up one terminal number. Where none is left the login is renewed,
// which brings eight more and is not counted as a request.
func (c *Client) TakeLease(ctx context.Context) (wallet.Lease, error) {
	if err := c.needProfile(); err != nil {
		return wallet.Lease{}, err
	}
	for renewed := false; ; {
		count, err := c.config.Vault.LeaseCount(ctx, c.knownEpoch(), c.platformNow())
		if err != nil {
			return wallet.Lease{}, localError(err)
		}
		if count == 0 && renewed {
			return wallet.Lease{}, &Error{Kind: KindLocal, Code: CodeNoLease, Err: errors.New("the platform leased no terminal number")}
		}
		if count == 0 {
			if err := c.renew(ctx, "", true); err != nil {
				return wallet.Lease{}, unsent(err)
			}
			renewed = true
			continue
		}
		lease, err := c.config.Vault.TakeLease(ctx, c.knownEpoch(), c.platformNow())
		if err != nil {
			return wallet.Lease{}, localError(err)
		}
		if device := c.Session().Device; device == "" || lease.Device == device {
			return lease, nil
		}
		// A number that was leased to another login of this computer: it is used up
		// and the next one taken.
	}
}

// journalMark gives the mark for a body and its text "seq:hash" for the header.
func (c *Client) journalMark(ctx context.Context) (api.JournalMark, string, error) {
	if c.config.Journal == nil {
		return api.JournalMark{}, "", nil
	}
	mark, err := c.config.Journal(ctx)
	if err != nil {
		return api.JournalMark{}, "", err
	}
	return mark, markText(mark), nil
}
