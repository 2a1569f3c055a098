package mockplatform

import (
	"errors"
	"net"
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// Order pay at the bank's gateway (requirements B1–B4). What we believe is our own
// order and what the bank tells over the signed channel. The address of the page has
// the form of old, whose MAGIC proves nothing; a callback is believed where its
// signature covers lines that cannot run into each other, and only for the amount of
// the order. Every other callback is a reason to ask the bank, and no more. Silence
// means nothing: the bank is asked anyway.

// BankCallbackPath is where the bank tells of paid orders: a POST of the form that
// package bankapi describes, which is no part of the clients' interface.
const BankCallbackPath = "/gateway/v1/callbacks"

// gatewayGoods is what the bank's page shows.
const gatewayGoods = "手机钱包充值"

// order is the request for a page.
func (s bankSource) order(f funding) bankapi.OrderRequest {
	s.p.mu.Lock()
	address := s.p.url
	s.p.mu.Unlock()
	request := bankapi.OrderRequest{Serial: f.id, Amount: f.amount, Goods: gatewayGoods, Expires: f.created.Add(fundingLimit)}
	if address != "" {
		// The bank compares a repeated request with the first one, so that a page which
		// was asked for before a restart is found by its query, not by this.
		request.Notify, request.NotifyCA = address+BankCallbackPath, s.p.secrets.CACert
	}
	return request
}

// bankCallback is POST /gateway/v1/callbacks.
func bankCallback(c *call) (reply, error) {
	host, _, err := net.SplitHostPort(c.req.RemoteAddr)
	if err != nil {
		host = c.req.RemoteAddr
	}
	if !c.p.senders.allow("bank "+host, c.p.now()) {
		return failure(http.StatusTooManyRequests, api.CodeBusy, "too many requests; try again in a minute"), nil
	}
	callback, err := bankapi.ParseCallback(c.body)
	if err != nil {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "this is no callback of the bank"), nil
	}
	channel, err := c.p.bank(c.ctx)
	if err != nil {
		return bankUnreachable(), nil
	}
	facts := channel.facts()
	if callback.MerchantID != facts.MerchantID || callback.Verify(facts.CallbackKey()) != nil {
		return failure(http.StatusForbidden, api.CodeSignature, "SIGNBANK does not verify"), nil
	}
	var known bool
	err = c.p.update(c.ctx, c.route, func(tx *Tx) error {
		f, err := findFunding(tx, `id = ? AND kind = ?`, callback.OrderID, api.FundingBank)
		if err != nil || f == nil {
			return err
		}
		known = true
		return c.p.believeCallback(tx, f, callback)
	})
	if err == nil && known {
		err = c.p.askNow(c, callback.OrderID)
	}
	if err != nil {
		return reply{}, err
	}
	if !known {
		return failure(http.StatusNotFound, api.CodeNotFound, "there is no such order"), nil
	}
	return success(struct{}{})
}

// believeCallback credits an order where the callback alone proves its payment.
func (p *Platform) believeCallback(tx *Tx, f *funding, callback bankapi.Callback) error {
	if callback.Profile != bankapi.ProfileStrong || !callback.Success || callback.Payment != f.amount || f.state.Final() {
		return nil
	}
	// A number of the bank's journal is one payment. One that was booked already for
	// another order is somebody's second try with it.
	var other string
	booked, err := tx.row(`SELECT id FROM fundings WHERE kind = ? AND bank_serial = ? AND id <> ?`, []any{api.FundingBank, callback.Journal, f.id}, &other)
	if err != nil {
		return err
	}
	if booked {
		return p.alarm(tx, "BANK_JOURNAL_REPEATED", f.id)
	}
	return p.noteFunding(tx, f, fundingNews{event: rules.FundingPaid, serial: callback.Journal})
}

// askNow asks the bank about an order that is still open, whenever its turn would be.
func (p *Platform) askNow(c *call, id string) error {
	var open bool
	err := p.store.View(c.ctx, func(tx *Tx) error {
		f, err := findFunding(tx, `id = ?`, id)
		open = f != nil && f.state == wallet.FundingPending
		return err
	})
	if err != nil || !open {
		return err
	}
	if err := p.pursueFunding(c.ctx, c.route, id); err != nil && !errors.Is(err, errBank) {
		return err
	}
	return nil
}
