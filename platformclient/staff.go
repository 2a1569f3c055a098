package platformclient

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Staff is the platform as the service counter sees it: another login, other routes.
// It shares the client's device key, pins and rules of repeating, and nothing of a
// customer's session.
type Staff struct{ client *Client }

// Staff gives the counter's side of this client.
func (c *Client) Staff() Staff { return Staff{c} }

// keptStaff is the login of staff as the vault keeps it, until it ends.
type keptStaff struct {
	Access  string    `json:"access"`
	Expires time.Time `json:"expires"`
}

func (c *Client) staffName() string { return c.sessionName + "/staff" }

// staffToken gives the access token of staff. failed is the token that the platform
// has just refused, or "": a session of staff is never renewed.
func (c *Client) staffToken(ctx context.Context, failed string) (string, error) {
	over := &Error{Kind: KindNotLoggedIn, Code: api.CodeNotLoggedIn, Err: errors.New("no member of staff is logged in")}
	raw, err := c.config.Vault.Get(ctx, c.staffName())
	if err != nil {
		return "", localError(err)
	}
	var state keptStaff
	if raw == nil || json.Unmarshal(raw, &state) != nil || state.Access == "" {
		return "", over
	}
	if state.Access == failed || !c.platformNow().Before(state.Expires) {
		return "", errors.Join(over, c.config.Vault.Put(ctx, c.staffName(), nil))
	}
	return state.Access, nil
}

// Login logs a member of staff in for half an hour. The password is sealed and not
// kept.
func (s Staff) Login(ctx context.Context, name, password string) (api.StaffSession, error) {
	c := s.client
	if err := c.greet(ctx); err != nil {
		return api.StaffSession{}, err
	}
	key, err := c.deviceKey(ctx)
	if err != nil {
		return api.StaffSession{}, localError(err)
	}
	public, _ := key.Public().(ed25519.PublicKey)
	result, err := c.do(ctx, call{
		method: http.MethodPost, route: api.PathStaffSession, path: api.PathStaffSession,
		sealed: func(nonce string) (any, error) {
			seal, err := c.sealLogin(ctx, api.PathStaffSession, nonce, name, password)
			return api.StaffLogin{Name: name, PWSeal: seal, DeviceKey: wallet.Hex(public)}, err
		},
	})
	if err != nil {
		return api.StaffSession{}, err
	}
	var told api.StaffSession
	if err := decode(result, &told); err != nil {
		return told, err
	}
	if told.AccessToken == "" {
		return told, unsigned(CodeAnswerBroken, "the session of staff lacks its token")
	}
	raw, err := json.Marshal(keptStaff{told.AccessToken, told.Expires})
	if err == nil {
		err = c.config.Vault.Put(ctx, c.staffName(), raw)
	}
	told.AccessToken = ""
	if err != nil {
		return told, localError(err)
	}
	return told, nil
}

// Logout ends the session of staff; it is gone here also when the platform cannot be
// reached.
func (s Staff) Logout(ctx context.Context) error {
	c := s.client
	token, err := c.staffToken(ctx, "")
	if KindOf(err) == KindNotLoggedIn {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.config.Vault.Put(ctx, c.staffName(), nil); err != nil {
		return localError(err)
	}
	key, err := c.deviceKey(ctx)
	if err != nil {
		return localError(err)
	}
	if err := c.needNonce(ctx); err != nil {
		return err
	}
	question := call{method: http.MethodPost, route: api.PathStaffSessionEnd, path: api.PathStaffSessionEnd, access: accessStaff}
	if question.key, err = NewKey(c.now(), c.config.Random); err != nil {
		return localError(err)
	}
	_, err = c.repeat(ctx, question, []byte("{}"), key, token)
	if KindOf(err) == KindNotLoggedIn {
		return nil
	}
	return err
}

// Connect greets the platform and gives what the counter works with: the open
// scripts, every signature verified, and the epoch.
func (s Staff) Connect(ctx context.Context) (Session, error) {
	c := s.client
	if err := c.greet(ctx); err != nil {
		return Session{}, err
	}
	var told api.StaffSession
	if err := s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffSession, path: api.PathStaffSession}, &told); err != nil {
		return Session{}, err
	}
	session := Session{LoggedIn: true, Signers: c.signers, Scripts: map[string]wallet.Script{}, PurchaseScripts: map[string]wallet.Script{}}
	for _, carrier := range told.Scripts {
		var script wallet.Script
		if err := c.signers.Open(wallet.DomainScript, carrier, &script); err != nil {
			return Session{}, unsigned(CodeAnswerUnsigned, "a script is not signed by the platform")
		}
		newest := map[string]map[string]wallet.Script{openScript: session.Scripts, openPurchaseScript: session.PurchaseScripts}[script.Name]
		if newest != nil && script.Version >= newest[script.Profile].Version {
			newest[script.Profile] = script
		}
	}
	if err := c.noticeEpoch(ctx, told.Epoch); err != nil {
		return Session{}, err
	}
	session.Epoch, session.Demo = c.knownEpoch(), c.Session().Demo
	return session, nil
}

func (s Staff) ask(ctx context.Context, question call, target any) error {
	question.access = accessStaff
	result, err := s.client.do(ctx, question)
	if err != nil {
		return err
	}
	return decode(result, target)
}

// Orders lists the orders of a card, or the one order where its number is given.
// Nothing that is shown decides about money: it comes unsigned over TLS, as all that
// follows but the states.
func (s Staff) Orders(ctx context.Context, asn wallet.ASN, order string) (api.StaffOrders, error) {
	query := url.Values{}
	if order != "" {
		query.Set("order", order)
	} else {
		query.Set("asn", asn.String())
	}
	var told api.StaffOrders
	err := s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffOrders, path: api.PathStaffOrders, query: query}, &told)
	return told, err
}

// Pending lists the open top-ups of a card, whoever pays them.
func (s Staff) Pending(ctx context.Context, asn wallet.ASN) ([]wallet.OpenOrder, error) {
	var told api.PendingAnswer
	err := s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffPending, path: fill(api.PathStaffPending, asn.String())}, &told)
	return told.Orders, err
}

// PendingPurchases lists the open purchases of a card.
func (s Staff) PendingPurchases(ctx context.Context, asn wallet.ASN) ([]wallet.OpenPurchase, error) {
	var told api.PendingPurchases
	err := s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffPendingPurchases,
		path: fill(api.PathStaffPendingPurchases, asn.String())}, &told)
	return told.Purchases, err
}

// Load asks for the signed state of an order.
func (s Staff) Load(ctx context.Context, order string) (wallet.OrderState, error) {
	result, err := s.client.do(ctx, call{method: http.MethodGet, route: api.PathStaffLoad, path: fill(api.PathStaffLoad, order), access: accessStaff})
	if err != nil {
		return wallet.OrderState{}, err
	}
	state, _, err := s.client.stateOf(ctx, result, subject{request: result.key, order: order})
	return state, err
}

// Purchase asks for the signed statement about a purchase.
func (s Staff) Purchase(ctx context.Context, purchase string) (wallet.PurchaseStatement, error) {
	statement, _, err := s.client.statement(ctx, call{method: http.MethodGet, route: api.PathStaffPurchase,
		path: fill(api.PathStaffPurchase, purchase), access: accessStaff}, purchaseSubject{purchase: purchase})
	return statement, err
}

// Issuer settles top-ups at the counter. It asks for no money.
func (s Staff) Issuer() wallet.Issuer { return counterDesk(s) }

// Cashier settles purchases at the counter.
func (s Staff) Cashier() wallet.Cashier { return counterDesk(s) }

type counterDesk Staff

// errCounter: the counter settles, it begins nothing.
var errCounter = errors.New("the counter begins no top-up and no purchase")

// RequestLoad never leaves.
func (counterDesk) RequestLoad(context.Context, wallet.LoadAsk) (wallet.Verdict, error) {
	return wallet.Verdict{}, localError(errCounter)
}

// RequestPurchase never leaves.
func (counterDesk) RequestPurchase(context.Context, wallet.PurchaseAsk) (wallet.PurchaseVerdict, error) {
	return wallet.PurchaseVerdict{}, localError(errCounter)
}

// Settle sends the card's evidence, as the customer's own client would.
func (d counterDesk) Settle(ctx context.Context, evidence wallet.Evidence) (wallet.Verdict, error) {
	return d.client.settle(ctx, evidence, api.PathStaffAttempts, accessStaff)
}

// SettlePurchase sends the card's evidence about a purchase.
func (d counterDesk) SettlePurchase(ctx context.Context, evidence wallet.PurchaseEvidence) (wallet.PurchaseStatement, error) {
	return d.client.settlePurchase(ctx, evidence, api.PathStaffPurchaseAttempts, accessStaff)
}

// Propose proposes how an order in SUSPENSE ends.
func (s Staff) Propose(ctx context.Context, decision api.StaffDecision) (told api.StaffProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffProposals, path: api.PathStaffProposals, body: decision}, &told)
	return told, err
}

// Proposals lists what waits for a second person.
func (s Staff) Proposals(ctx context.Context) (told api.StaffProposals, err error) {
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffProposals, path: api.PathStaffProposals}, &told)
	return told, err
}

// Confirm carries a proposal of somebody else out. It may be asked again: a proposal
// ends once.
func (s Staff) Confirm(ctx context.Context, proposal, reason string) (told api.StaffProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffConfirm, path: fill(api.PathStaffConfirm, proposal), retry: true,
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}

// Reject ends a proposal; nothing moves.
func (s Staff) Reject(ctx context.Context, proposal, reason string) (told api.StaffProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffReject, path: fill(api.PathStaffReject, proposal),
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}

// Companion registers a companion for a phone number, or takes it away.
func (s Staff) Companion(ctx context.Context, change api.StaffCompanionChange) (told api.StaffCompanions, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffCompanions, path: api.PathStaffCompanions, body: change}, &told)
	return told, err
}

// Service opens or closes the wallet service of a phone number, or the whole.
func (s Staff) Service(ctx context.Context, change api.StaffServiceChange) (told api.StaffService, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffServices, path: api.PathStaffServices, body: change}, &told)
	return told, err
}
