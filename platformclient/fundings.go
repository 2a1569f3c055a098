package platformclient

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// fundingSubject is what a signed statement about a funding must be about. What is
// empty is not compared.
type fundingSubject struct {
	request string // idempotency key of the question
	key     string // of the funding
	funding string // the platform's number
	amount  wallet.Fen
	source  string
}

// Fund sends POST /v1/fundings under the funding's key, and once more after silence.
// secret is the payment password for a bank and the PIN for a voucher: it is sealed to
// this very request and kept nowhere. The signed statement is returned with its bytes,
// to be kept; a refusal is a statement too. An error means "unknown".
func (c *Client) Fund(ctx context.Context, key string, request api.FundingRequest, secret string) (wallet.FundingStatement, wallet.Signed, error) {
	if err := c.needProfile(); err != nil {
		return wallet.FundingStatement{}, wallet.Signed{}, err
	}
	if err := c.sealFunding(ctx, key, &request, secret); err != nil {
		return wallet.FundingStatement{}, wallet.Signed{}, localError(err)
	}
	request.CompanionSN = c.companion(ctx)
	return c.funding(ctx, call{method: http.MethodPost, route: api.PathFundings, path: api.PathFundings, key: key, access: accessToken,
		retry: true, body: request}, fundingSubject{key: key, amount: request.Amount, source: request.Source.Name()})
}

func (c *Client) sealFunding(ctx context.Context, key string, request *api.FundingRequest, secret string) (err error) {
	hpke := c.config.Profile.HPKE
	if request.Source.Kind == api.FundingBank && request.Source.ID == api.BankGateway {
		return nil // the person pays at the bank itself
	}
	if request.Source.Kind != api.FundingVoucher {
		core := api.FundingCore{Amount: request.Amount, Source: request.Source.Name(), Key: key}
		request.PaySeal, err = api.SealFunding(hpke, core, secret)
		return err
	}
	device, err := c.deviceKey(ctx)
	if err != nil {
		return err
	}
	public, _ := device.Public().(ed25519.PublicKey)
	binding := api.VoucherBinding{Serial: request.Source.Serial, Thumbprint: api.Thumbprint(public), Key: key}
	request.Source.PINSeal, err = api.SealVoucher(hpke, binding, secret)
	return err
}

// AbandonFunding asks the platform to close a key whose answer never came. An unseen
// key becomes DECLINED with ABANDONED for ever; a seen one tells how it stands.
func (c *Client) AbandonFunding(ctx context.Context, key string) (wallet.FundingStatement, wallet.Signed, error) {
	return c.funding(ctx, call{method: http.MethodPost, route: api.PathFundingAbandon, path: fill(api.PathFundingAbandon, key),
		access: accessToken, body: struct{}{}}, fundingSubject{key: key})
}

// Funding asks how a funding stands, by the platform's number. The platform asks the
// source first, where that is still open.
func (c *Client) Funding(ctx context.Context, funding string) (wallet.FundingStatement, wallet.Signed, error) {
	return c.funding(ctx, call{method: http.MethodGet, route: api.PathFunding, path: fill(api.PathFunding, funding), access: accessToken},
		fundingSubject{funding: funding})
}

// Fundings lists the person's fundings, newest first. They are shown and decide
// nothing about money, so they come unsigned over TLS.
func (c *Client) Fundings(ctx context.Context) (api.Fundings, error) {
	var told api.Fundings
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathFundings, path: api.PathFundings}, &told)
	return told, err
}

// funding sends a question whose answer is one signed statement. The status means
// nothing where a statement comes with it; an answer without one closes nothing.
func (c *Client) funding(ctx context.Context, question call, about fundingSubject) (wallet.FundingStatement, wallet.Signed, error) {
	refuse := func(err error) (wallet.FundingStatement, wallet.Signed, error) {
		return wallet.FundingStatement{}, wallet.Signed{}, err
	}
	result, err := c.do(ctx, question)
	if err != nil {
		return refuse(err)
	}
	var told api.FundingAnswer
	err = json.Unmarshal(result.body, &told)
	switch {
	case result.status/100 != 2 && (err != nil || told.State == nil):
		failure := statusError(result)
		c.lookForEpoch(ctx, failure.Code)
		return refuse(failure)
	case err != nil || told.State == nil:
		return refuse(unsigned(CodeAnswerBroken, "the answer holds no statement"))
	}
	about.request = result.key
	statement, err := c.verifyFunding(*told.State, about)
	if err != nil {
		return refuse(unsigned(CodeAnswerForeign, err.Error()))
	}
	if statement.ReceiptBody != nil && c.config.OnReceipt != nil {
		c.config.OnReceipt(statement.Funding, *told.State)
	}
	return statement, *told.State, nil
}

// verifyFunding checks the signature, that the statement answers this very question
// about this very funding, and that a receipt says what was confirmed.
func (c *Client) verifyFunding(carrier wallet.Signed, about fundingSubject) (wallet.FundingStatement, error) {
	var told wallet.FundingStatement
	if err := c.signers.Open(wallet.DomainFunding, carrier, &told); err != nil {
		return told, errors.New("the statement is not signed by the platform")
	}
	receipt := told.ReceiptBody
	switch {
	case told.Request == "" || told.Request != about.request:
		return told, errors.New("the statement answers another question")
	case told.Key == "" && told.Funding == "" || about.key != "" && told.Key != about.key || about.funding != "" && told.Funding != about.funding:
		return told, errors.New("the statement is about another funding")
	case (told.State == wallet.FundingDone) != (receipt != nil):
		return told, errors.New("a statement has a receipt where the money has arrived, and only there")
	case receipt == nil:
		return told, nil
	case receipt.Funding != told.Funding || receipt.Amount != told.Amount || receipt.Amount <= 0:
		return told, errors.New("the receipt is for another funding")
	case about.amount != 0 && receipt.Amount != about.amount:
		return told, errors.New("the receipt is over another amount")
	case about.source != "" && receipt.Source != about.source:
		return told, errors.New("the receipt has another source")
	}
	return told, nil
}

// CashIn books cash that was counted at the counter. The till's receipt number makes
// it one booking: it may be asked again.
func (s Staff) CashIn(ctx context.Context, booking api.StaffCashIn) (told api.StaffCash, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffCashIns, path: api.PathStaffCashIns, retry: true, body: booking}, &told)
	return told, err
}

// CashIns lists what waits for a second person.
func (s Staff) CashIns(ctx context.Context) (told api.StaffCashIns, err error) {
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffCashIns, path: api.PathStaffCashIns}, &told)
	return told, err
}

// ConfirmCash is the second person's word for a large amount of cash.
func (s Staff) ConfirmCash(ctx context.Context, funding, reason string) (told api.StaffCash, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffCashConfirm, path: fill(api.PathStaffCashConfirm, funding),
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}

// RejectCash ends a booking of cash that waits; nothing moves.
func (s Staff) RejectCash(ctx context.Context, funding, reason string) (told api.StaffCash, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffCashReject, path: fill(api.PathStaffCashReject, funding),
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}
