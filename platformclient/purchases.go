package platformclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// purchaseSubject is what a signed statement must be about. What is empty is not
// compared.
type purchaseSubject struct {
	request  string // idempotency key of the question
	key      string // of the purchase
	purchase string // the platform's number
	asn      *wallet.ASN
	amount   wallet.Fen
	order    string // the merchant order's code
}

// MerchantOrder looks a merchant's order up by its code, before anything is
// confirmed. The answer is signed, and it is about this code and this question.
func (c *Client) MerchantOrder(ctx context.Context, code string) (wallet.MerchantOrder, error) {
	offer, err := c.offer(ctx, call{method: http.MethodGet, route: api.PathMerchantOrder, path: fill(api.PathMerchantOrder, code)})
	if err == nil && offer.Code != code {
		return wallet.MerchantOrder{}, unsigned(CodeAnswerForeign, "the offer is for another order code")
	}
	return offer, err
}

// Unload asks for an order of the platform itself, by which the card gives amount
// back to the main account (protocol §2.19).
func (c *Client) Unload(ctx context.Context, asn wallet.ASN, amount wallet.Fen) (wallet.MerchantOrder, error) {
	offer, err := c.offer(ctx, call{method: http.MethodPost, route: api.PathUnloads, path: api.PathUnloads,
		body: api.UnloadRequest{ASN: asn, Amount: amount, CompanionSN: c.companion(ctx)}})
	if err == nil && (!offer.Unload || offer.Amount != amount) {
		return wallet.MerchantOrder{}, unsigned(CodeAnswerForeign, "the offer is not for this return of balance")
	}
	return offer, err
}

// offer verifies a signed merchant order: that it answers this question, and that
// it is over an amount.
func (c *Client) offer(ctx context.Context, question call) (wallet.MerchantOrder, error) {
	question.access = accessToken
	result, err := c.do(ctx, question)
	if err != nil {
		return wallet.MerchantOrder{}, err
	}
	var told api.Offer
	if err := decode(result, &told); err != nil {
		return wallet.MerchantOrder{}, err
	}
	var offer wallet.MerchantOrder
	if err := c.signers.Open(wallet.DomainOffer, told.Offer, &offer); err != nil {
		return wallet.MerchantOrder{}, unsigned(CodeAnswerUnsigned, "the offer is not signed by the platform")
	}
	if offer.Request == "" || offer.Request != result.key {
		return wallet.MerchantOrder{}, unsigned(CodeAnswerForeign, "the offer answers another question")
	}
	if offer.Code == "" || offer.Amount <= 0 {
		return wallet.MerchantOrder{}, unsigned(CodeAnswerBroken, "the offer has no code or no amount")
	}
	return offer, nil
}

// Cashier returns the platform as purchases see it.
func (c *Client) Cashier() wallet.Cashier { return cashier{c} }

type cashier struct{ client *Client }

// RequestPurchase sends POST /v1/purchases under the purchase's key, and once more
// after silence. The grant that comes back is signed, belongs to this key and covers
// its script; whether it fits the card and the confirmed order is the guard's matter.
func (d cashier) RequestPurchase(ctx context.Context, ask wallet.PurchaseAsk) (wallet.PurchaseVerdict, error) {
	payment := ask.Payment
	result, err := d.client.do(ctx, call{
		method: http.MethodPost, route: api.PathPurchases, path: api.PathPurchases, key: payment.Key,
		access: accessToken, retry: true,
		body: api.PurchaseRequest{MerchantOrder: payment.MerchantOrder, Amount: payment.Amount,
			Card: api.LoadCard{ASN: payment.ASN, KeyIndex: ask.KeyIndex, Profile: ask.Profile},
			Open: api.Open{TID: ask.TID, Amount: payment.Amount, Steps: ask.Steps}, CompanionSN: d.client.companion(ctx)},
	})
	if err != nil {
		return wallet.PurchaseVerdict{}, err
	}
	told, err := d.client.purchaseAnswer(ctx, result)
	if err != nil {
		return wallet.PurchaseVerdict{}, err
	}
	about := purchaseSubject{request: payment.Key, key: payment.Key, asn: &payment.ASN, amount: payment.Amount, order: payment.MerchantOrder}
	switch {
	case told.Grant != nil && told.State == nil:
		if err := d.client.verifyPurchaseGrant(ctx, *told.Grant, about); err != nil {
			return wallet.PurchaseVerdict{}, err
		}
		return wallet.PurchaseVerdict{Granted: told.Grant}, nil
	case told.State != nil && told.Grant == nil:
		statement, err := d.client.verifyStatement(*told.State, about)
		if err != nil {
			return wallet.PurchaseVerdict{}, err
		}
		d.client.lookForEpoch(ctx, statement.Code)
		return wallet.PurchaseVerdict{State: &statement}, nil
	}
	return wallet.PurchaseVerdict{}, unsigned(CodeAnswerBroken, "the answer holds neither one grant nor one statement")
}

// SettlePurchase sends the card's evidence to POST /v1/purchases/{id}/attempts, and
// once more after silence.
func (d cashier) SettlePurchase(ctx context.Context, evidence wallet.PurchaseEvidence) (wallet.PurchaseStatement, error) {
	return d.client.settlePurchase(ctx, evidence, api.PathPurchaseAttempts, accessToken)
}

func (c *Client) settlePurchase(ctx context.Context, evidence wallet.PurchaseEvidence, route string, wanted access) (wallet.PurchaseStatement, error) {
	open := evidence.Purchase
	request := api.PurchaseAttempt{Prove: evidence.Prove, Grant: evidence.Grant}
	if len(evidence.Steps) > 0 {
		request.Open = &api.Open{TID: open.ProbeTID, Amount: wallet.PurchaseProbeAmount, Steps: evidence.Steps}
	}
	statement, _, err := c.statement(ctx, call{
		method: http.MethodPost, route: route, path: fill(route, open.Purchase),
		access: wanted, retry: true, body: request,
	}, purchaseSubject{purchase: open.Purchase, asn: &open.ASN, amount: open.Amount})
	return statement, err
}

// PurchaseResult tells the platform what DEBIT FOR PURCHASE answered and returns the
// signed statement, with its bytes to be kept. TAC, MAC2 and grant authenticate it:
// it goes out without a login too. It is not repeated here; the caller's outbox does
// that.
func (c *Client) PurchaseResult(ctx context.Context, entry wallet.Entry) (wallet.PurchaseStatement, wallet.Signed, error) {
	return c.statement(ctx, call{
		method: http.MethodPost, route: api.PathPurchaseResult, path: fill(api.PathPurchaseResult, entry.Order), access: accessIfAny,
		body: api.PurchaseResult{Steps: entry.Steps, Executed: entry.Executed, TAC: entry.TAC, MAC2: entry.MAC2, Grant: entry.Grant},
	}, purchaseSubject{key: entry.Key, purchase: entry.Order, asn: &entry.ASN, amount: entry.Amount, order: entry.MerchantOrder})
}

// AbandonPurchase asks the platform to close a key that was never authorised. An
// unseen key becomes DECLINED with ABANDONED for ever; a seen one gives its
// purchase's statement, with Authorised where the card must settle it.
func (c *Client) AbandonPurchase(ctx context.Context, key string) (wallet.PurchaseStatement, error) {
	statement, _, err := c.statement(ctx, call{method: http.MethodPost, route: api.PathPurchaseAbandon,
		path: fill(api.PathPurchaseAbandon, key), access: accessToken, body: struct{}{}}, purchaseSubject{key: key})
	return statement, err
}

// Purchase asks for the statement about one purchase by the platform's number.
func (c *Client) Purchase(ctx context.Context, purchase string) (wallet.PurchaseStatement, error) {
	statement, _, err := c.statement(ctx, call{method: http.MethodGet, route: api.PathPurchase,
		path: fill(api.PathPurchase, purchase), access: accessToken}, purchaseSubject{purchase: purchase})
	return statement, err
}

// PendingPurchases lists the open purchases of a card, whoever began them. It is
// shown and decides nothing about money, so it comes unsigned over TLS.
func (c *Client) PendingPurchases(ctx context.Context, asn wallet.ASN) ([]wallet.OpenPurchase, error) {
	var told api.PendingPurchases
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathPendingPurchases, path: fill(api.PathPendingPurchases, asn.String())}, &told)
	return told.Purchases, err
}

// Purchases lists the person's purchases, newest first; unsigned, as above.
func (c *Client) Purchases(ctx context.Context) (all api.Purchases, err error) {
	selection := api.Selection{Limit: api.PageMax}
	for {
		page, err := c.FindPurchases(ctx, selection)
		if err != nil {
			return api.Purchases{}, err
		}
		all.Purchases = append(all.Purchases, page.Purchases...)
		if page.Page.Next == "" || page.Page.Next == selection.Cursor {
			return all, nil
		}
		selection.Cursor = page.Page.Next
	}
}

// statement sends a question whose answer is one signed statement.
func (c *Client) statement(ctx context.Context, question call, about purchaseSubject) (wallet.PurchaseStatement, wallet.Signed, error) {
	result, err := c.do(ctx, question)
	if err != nil {
		return wallet.PurchaseStatement{}, wallet.Signed{}, err
	}
	told, err := c.purchaseAnswer(ctx, result)
	if err != nil {
		return wallet.PurchaseStatement{}, wallet.Signed{}, err
	}
	if told.State == nil {
		return wallet.PurchaseStatement{}, wallet.Signed{}, unsigned(CodeAnswerBroken, "the answer holds no statement")
	}
	about.request = result.key
	statement, err := c.verifyStatement(*told.State, about)
	if err != nil {
		return wallet.PurchaseStatement{}, wallet.Signed{}, err
	}
	return statement, *told.State, nil
}

// purchaseAnswer reads an answer about a purchase. Its status means nothing where a
// signed statement comes with it; an answer without one is a refusal that closes
// nothing.
func (c *Client) purchaseAnswer(ctx context.Context, result answer) (api.PurchaseAnswer, error) {
	var told api.PurchaseAnswer
	err := json.Unmarshal(result.body, &told)
	if result.status/100 != 2 && (err != nil || told.State == nil) {
		failure := statusError(result)
		c.lookForEpoch(ctx, failure.Code)
		return api.PurchaseAnswer{}, failure
	}
	if err != nil {
		return api.PurchaseAnswer{}, unsigned(CodeAnswerBroken, "the answer is not the JSON that was expected")
	}
	if len(told.Leases) > 0 {
		// Fewer leases only mean another login later; the answer about money counts.
		if err := c.keepLeases(ctx, told.Leases, c.Session().Device); err != nil {
			c.observe(call{route: "leases"}, 0, answer{}, localError(err), c.now())
		}
	}
	return told, nil
}

// verifyPurchaseGrant checks signature, subject and script of a purchase grant.
func (c *Client) verifyPurchaseGrant(ctx context.Context, granted wallet.PurchaseGrantedScript, about purchaseSubject) error {
	var grant wallet.PurchaseGrant
	if err := c.signers.Open(wallet.DomainPurchaseGrant, granted.Grant, &grant); err != nil {
		return unsigned(CodeAnswerUnsigned, "the grant is not signed by the platform")
	}
	if sum := sha256.Sum256(granted.Script); !bytes.Equal(sum[:], grant.ScriptSHA256) {
		return unsigned(CodeAnswerUnsigned, "the grant is for another script")
	}
	if grant.Key != about.key {
		return unsigned(CodeAnswerForeign, "the grant is for another purchase")
	}
	if grant.Epoch > c.knownEpoch() {
		return orSent(c.noticeEpoch(ctx, grant.Epoch), true)
	}
	return nil
}

// verifyStatement checks signature and domain, that the statement answers this very
// question about this very purchase, and that a receipt says what was confirmed.
func (c *Client) verifyStatement(carrier wallet.Signed, about purchaseSubject) (wallet.PurchaseStatement, error) {
	refuse := func(text string) (wallet.PurchaseStatement, error) {
		return wallet.PurchaseStatement{}, unsigned(CodeAnswerForeign, text)
	}
	var statement wallet.PurchaseStatement
	withReceipt := c.signers.Open(wallet.DomainPurchaseReceipt, carrier, &statement) == nil
	if !withReceipt && c.signers.Open(wallet.DomainPurchaseState, carrier, &statement) != nil {
		return wallet.PurchaseStatement{}, unsigned(CodeAnswerUnsigned, "the statement is not signed by the platform")
	}
	settled := statement.State == wallet.PurchasePaid || statement.State == wallet.PurchaseRefunded
	switch {
	case settled && !withReceipt || withReceipt != (statement.ReceiptBody != nil):
		return refuse("the statement is signed as something else")
	case statement.Request == "" || statement.Request != about.request:
		return refuse("the statement answers another question")
	case !about.matches(statement):
		return refuse("the statement is about another purchase")
	case statement.Delivered && statement.State != wallet.PurchasePaid:
		return refuse("the statement delivers without payment")
	}
	if withReceipt {
		if err := about.checkReceipt(statement); err != nil {
			return refuse(err.Error())
		}
		if c.config.OnReceipt != nil {
			c.config.OnReceipt(statement.Purchase, carrier)
		}
	}
	return statement, nil
}

// matches compares what is known on both sides. A statement names its key or its
// purchase; where the question named only the other one, Request ties them together.
func (s purchaseSubject) matches(statement wallet.PurchaseStatement) bool {
	if statement.Key == "" && statement.Purchase == "" {
		return false
	}
	if statement.Key != "" && s.key != "" && statement.Key != s.key && !wallet.MetUnder(s.key, s.purchase) {
		return false
	}
	return statement.Purchase == "" || s.purchase == "" || statement.Purchase == s.purchase
}

func (s purchaseSubject) checkReceipt(statement wallet.PurchaseStatement) error {
	receipt := statement.ReceiptBody
	switch {
	case receipt.Purchase != statement.Purchase || receipt.State != statement.State:
		return errors.New("the receipt is for another purchase or state")
	case s.asn != nil && receipt.ASN != *s.asn:
		return errors.New("the receipt is for another card")
	case s.amount != 0 && receipt.Amount != s.amount:
		return errors.New("the receipt is over another amount")
	case s.order != "" && receipt.MerchantOrder != s.order:
		return errors.New("the receipt is for another merchant order")
	}
	return nil
}
