package platformclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// What a person and the counter do with the state of account and cards (protocol §2.15).
// Nothing here moves money on a card; the answers come unsigned over TLS.

// Freeze freezes the account; a zero time leaves it frozen until it is thawed.
func (c *Client) Freeze(ctx context.Context, until time.Time) (api.Account, error) {
	request := api.FreezeRequest{}
	if !until.IsZero() {
		request.Until = &until
	}
	var told api.Account
	err := c.ask(ctx, call{method: http.MethodPost, route: api.PathFreeze, path: api.PathFreeze, body: request, retry: true}, &told)
	return told, err
}

// Thaw ends what the person can end: a freeze of one's own, a loss that was only told,
// silence. The password is sealed; sms is asked for the code that was sent.
func (c *Client) Thaw(ctx context.Context, password string, sms func(ctx context.Context, codeID string) (string, error)) (api.Account, error) {
	var told api.Account
	err := c.strongly(ctx, api.PathThaw, api.PurposeThaw, password, sms, func(code api.SMSCode, seal []byte) any {
		return api.ThawRequest{SMS: code, LoginPWSeal: seal}
	}, &told)
	return told, err
}

// LoseAccount reports the account lost with all its cards; kind is api.LossOral or
// api.LossWritten.
func (c *Client) LoseAccount(ctx context.Context, kind string) (api.Account, error) {
	var told api.Account
	err := c.ask(ctx, call{method: http.MethodPost, route: api.PathAccountLoss, path: api.PathAccountLoss,
		body: api.LossRequest{Kind: kind}, retry: true}, &told)
	return told, err
}

// CloseAccount closes the account for good. A balance is given up only where its flag
// says so; otherwise the platform answers CLOSE_REFUSED.
func (c *Client) CloseAccount(ctx context.Context, password string, waiveBalance, waivePurse bool, sms func(ctx context.Context, codeID string) (string, error)) (api.Account, error) {
	var told api.Account
	err := c.strongly(ctx, api.PathAccountClose, api.PurposeClose, password, sms, func(code api.SMSCode, seal []byte) any {
		return api.CloseRequest{SMS: code, LoginPWSeal: seal, WaiveBalance: waiveBalance, WaivePurse: waivePurse}
	}, &told)
	return told, err
}

// strongly asks with login password and SMS code.
func (c *Client) strongly(ctx context.Context, route, purpose, password string, sms func(context.Context, string) (string, error), body func(api.SMSCode, []byte) any, target any) error {
	code, err := c.smsCode(ctx, purpose, sms)
	if err != nil {
		return err
	}
	phone := c.Session().Phone
	return c.ask(ctx, call{method: http.MethodPost, route: route, path: route, sealed: func(nonce string) (any, error) {
		seal, err := c.sealLogin(ctx, route, nonce, phone, password)
		return body(code, seal), err
	}}, target)
}

// smsCode has a code sent to the phone of the session, and asks for it.
func (c *Client) smsCode(ctx context.Context, purpose string, sms func(context.Context, string) (string, error)) (api.SMSCode, error) {
	if _, err := c.token(ctx, accessToken, ""); err != nil { // who is logged in names the phone
		return api.SMSCode{}, err
	}
	result, err := c.do(ctx, call{method: http.MethodPost, route: api.PathSMSCodes, path: api.PathSMSCodes,
		body: api.SMSRequest{Phone: c.Session().Phone, Purpose: purpose}})
	if err != nil {
		return api.SMSCode{}, err
	}
	var sent api.SMSSent
	if err := decode(result, &sent); err != nil {
		return api.SMSCode{}, err
	}
	code, err := sms(ctx, sent.CodeID)
	if err != nil {
		return api.SMSCode{}, localError(err)
	}
	return api.SMSCode{CodeID: sent.CodeID, Code: code}, nil
}

// RemoveCard takes a card out of the account; PENDING_LOAD while an order of it is open.
func (c *Client) RemoveCard(ctx context.Context, asn wallet.ASN) (api.Card, error) {
	return c.cardAct(ctx, api.PathCardRemove, asn, struct{}{})
}

// RenameCard gives a card a word of the person's own; "" takes it away.
func (c *Client) RenameCard(ctx context.Context, asn wallet.ASN, label string) (api.Card, error) {
	return c.cardAct(ctx, api.PathCardRename, asn, api.CardLabel{Label: label})
}

// SuspendCard suspends a card (钱包暂停).
func (c *Client) SuspendCard(ctx context.Context, asn wallet.ASN) (api.Card, error) {
	return c.cardAct(ctx, api.PathCardSuspend, asn, struct{}{})
}

// ResumeCard resumes a card.
func (c *Client) ResumeCard(ctx context.Context, asn wallet.ASN) (api.Card, error) {
	return c.cardAct(ctx, api.PathCardResume, asn, struct{}{})
}

// LoseCard reports one card lost; kind is api.LossOral or api.LossWritten.
func (c *Client) LoseCard(ctx context.Context, asn wallet.ASN, kind string) (api.Card, error) {
	return c.cardAct(ctx, api.PathCardLoss, asn, api.LossRequest{Kind: kind})
}

// FindCard lifts a loss that was only told.
func (c *Client) FindCard(ctx context.Context, asn wallet.ASN, sms func(ctx context.Context, codeID string) (string, error)) (api.Card, error) {
	code, err := c.smsCode(ctx, api.PurposeLoss, sms)
	if err != nil {
		return api.Card{}, err
	}
	return c.cardAct(ctx, api.PathCardFound, asn, api.FoundRequest{SMS: code})
}

func (c *Client) cardAct(ctx context.Context, route string, asn wallet.ASN, body any) (api.Card, error) {
	var told api.Card
	err := c.ask(ctx, call{method: http.MethodPost, route: route, path: fill(route, asn.String()), body: body, retry: true}, &told)
	return told, err
}

// Account shows the account of a phone number, or of a user identifier.
func (s Staff) Account(ctx context.Context, phone string) (told api.StaffAccount, err error) {
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffAccounts, path: api.PathStaffAccounts, query: url.Values{"phone": {phone}}}, &told)
	return told, err
}

// ActOnAccount does one act of the counter on an account.
func (s Staff) ActOnAccount(ctx context.Context, act api.StaffAccountAct) (told api.StaffAccount, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffAccounts, path: api.PathStaffAccounts, body: act, retry: true}, &told)
	return told, err
}

// ActOnCard does one act of the counter on a card.
func (s Staff) ActOnCard(ctx context.Context, asn wallet.ASN, act api.StaffCardAct) (told api.StaffCard, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffCardState, path: fill(api.PathStaffCardState, asn.String()), body: act, retry: true}, &told)
	return told, err
}

// ReplaceCard puts a fresh card in the place of a lost one (补卡).
func (s Staff) ReplaceCard(ctx context.Context, request api.StaffReplace) (told api.StaffReplacement, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffReplacements, path: api.PathStaffReplacements, body: request, retry: true}, &told)
	return told, err
}

// Replacements lists the replacements of a card, or all that have not moved yet.
func (s Staff) Replacements(ctx context.Context, asn *wallet.ASN) (told api.StaffReplacements, err error) {
	query := url.Values{}
	if asn != nil {
		query.Set("asn", asn.String())
	}
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffReplacements, path: api.PathStaffReplacements, query: query}, &told)
	return told, err
}
