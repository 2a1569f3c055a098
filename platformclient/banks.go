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

// Banks lists the banks and the person's bound bank cards. A list moves no money, so
// it comes unsigned over TLS.
func (c *Client) Banks(ctx context.Context) (told api.Banks, err error) {
	err = c.ask(ctx, call{method: http.MethodGet, route: api.PathBanks, path: api.PathBanks}, &told)
	return told, err
}

// BindBank begins the binding of a bank card: the bank sends a code to its customer's
// phone. The facts are sealed to the platform and to this request.
func (c *Client) BindBank(ctx context.Context, card api.BankCard) (told api.BankBinding, err error) {
	if err := c.needProfile(); err != nil {
		return told, err
	}
	device, err := c.deviceKey(ctx)
	if err != nil {
		return told, localError(err)
	}
	key, err := NewKey(c.now(), c.config.Random)
	if err != nil {
		return told, localError(err)
	}
	public, _ := device.Public().(ed25519.PublicKey)
	seal, err := api.SealBankCard(c.config.Profile.HPKE, api.BankCardBinding{Thumbprint: api.Thumbprint(public), Key: key}, card)
	if errors.Is(err, api.ErrBankCard) {
		return told, &Error{Kind: KindLocal, Code: api.CodeBankCardData, Err: err}
	}
	if err != nil {
		return told, localError(err)
	}
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathBanks, path: api.PathBanks, key: key, retry: true, body: api.BankBindRequest{CardSeal: seal}}, &told)
	return told, err
}

// ConfirmBank ends a binding with the bank's code.
func (c *Client) ConfirmBank(ctx context.Context, binding, code string) (told api.BankBinding, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathBankConfirm, path: fill(api.PathBankConfirm, binding), retry: true,
		body: api.BankConfirmRequest{Code: code}}, &told)
	return told, err
}

// UnbindBank ends a binding. One whose payment is still open is refused.
func (c *Client) UnbindBank(ctx context.Context, binding string) (told api.BankBinding, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathBankUnbind, path: fill(api.PathBankUnbind, binding), retry: true, body: struct{}{}}, &told)
	return told, err
}

// BankCode makes the bank send a code for one payment of this amount.
func (c *Client) BankCode(ctx context.Context, binding string, amount wallet.Fen) (told api.SMSSent, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathBankCodes, path: fill(api.PathBankCodes, binding), body: api.BankCodeRequest{Amount: amount}}, &told)
	return told, err
}

// BankDemo tells what a demo bank has for the person: cards and messages.
func (c *Client) BankDemo(ctx context.Context) (told api.BankDemo, err error) {
	err = c.ask(ctx, call{method: http.MethodGet, route: api.PathBankDemo, path: api.PathBankDemo}, &told)
	return told, err
}

// ReturnToBank sends POST /v1/bank-returns under the return's key, and once more
// after silence. The answer is signed; a refusal is an answer. An error means
// "unknown": BankReturn with the key tells.
func (c *Client) ReturnToBank(ctx context.Context, key, binding string, amount wallet.Fen, paymentPassword string) (api.BankReturnState, error) {
	if err := c.needProfile(); err != nil {
		return api.BankReturnState{}, err
	}
	seal, err := api.SealBankReturn(c.config.Profile.HPKE, api.BankReturnCore{Binding: binding, Amount: amount, Key: key}, paymentPassword)
	if err != nil {
		return api.BankReturnState{}, localError(err)
	}
	request := api.BankReturnRequest{Binding: binding, Amount: amount, PaySeal: seal, CompanionSN: c.companion(ctx)}
	told, err := c.bankReturn(ctx, call{method: http.MethodPost, route: api.PathBankReturns, path: api.PathBankReturns, key: key, access: accessToken, retry: true, body: request})
	if err == nil && (told.Key != key || told.Amount != amount || told.Binding != binding) {
		return api.BankReturnState{}, unsigned(CodeAnswerForeign, "the answer is about another return")
	}
	return told, err
}

// BankReturn asks how a return stands, by the platform's number or by its key. The
// platform asks the bank first, where that is still open.
func (c *Client) BankReturn(ctx context.Context, id string) (api.BankReturnState, error) {
	told, err := c.bankReturn(ctx, call{method: http.MethodGet, route: api.PathBankReturn, path: fill(api.PathBankReturn, id), access: accessToken})
	if err == nil && told.Return != id && told.Key != id {
		return api.BankReturnState{}, unsigned(CodeAnswerForeign, "the answer is about another return")
	}
	return told, err
}

// BankReturns lists the person's returns, newest first.
func (c *Client) BankReturns(ctx context.Context) (told api.BankReturns, err error) {
	err = c.ask(ctx, call{method: http.MethodGet, route: api.PathBankReturns, path: api.PathBankReturns}, &told)
	return told, err
}

// bankReturn sends a question whose answer is one signed statement about a return,
// made for this very question.
func (c *Client) bankReturn(ctx context.Context, question call) (told api.BankReturnState, err error) {
	result, err := c.do(ctx, question)
	if err != nil {
		return told, err
	}
	var carried api.BankReturnAnswer
	err = json.Unmarshal(result.body, &carried)
	switch {
	case result.status/100 != 2 && (err != nil || carried.State == nil):
		failure := statusError(result)
		c.lookForEpoch(ctx, failure.Code)
		return told, failure
	case err != nil || carried.State == nil:
		return told, unsigned(CodeAnswerBroken, "the answer holds no statement")
	}
	if err := c.signers.Open(api.DomainBankReturn, *carried.State, &told); err != nil {
		return api.BankReturnState{}, unsigned(CodeAnswerForeign, "the statement is not signed by the platform")
	}
	if told.Request != result.key {
		return api.BankReturnState{}, unsigned(CodeAnswerForeign, "the statement answers another question")
	}
	return told, nil
}
