package platformclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// What follows is shown to people and decides nothing about money, so it comes
// unsigned over TLS.

// Pending lists the open orders of a card, whoever pays them.
func (c *Client) Pending(ctx context.Context, asn wallet.ASN) ([]wallet.OpenOrder, error) {
	var told api.PendingAnswer
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathPending, path: fill(api.PathPending, asn.String())}, &told)
	return told.Orders, err
}

// AddCard adds a card to the account. Its MAC1 over a leased terminal number proves
// that the card is here.
func (c *Client) AddCard(ctx context.Context, request api.CardRequest) (api.Card, error) {
	var told api.Card
	err := c.ask(ctx, call{method: http.MethodPost, route: api.PathCards, path: api.PathCards, body: request}, &told)
	return told, err
}

// Cards lists the cards of the account.
func (c *Client) Cards(ctx context.Context) ([]api.Card, error) {
	var told []api.Card
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathCards, path: api.PathCards}, &told)
	return told, err
}

// Account shows state, balances and limits.
func (c *Client) Account(ctx context.Context) (api.Account, error) {
	var told api.Account
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathAccount, path: api.PathAccount}, &told)
	return told, err
}

// Statement lists postings on the main account, newest first. A zero time and an
// empty kind select everything; to is exclusive.
func (c *Client) Statement(ctx context.Context, from, to time.Time, kind string) (api.Statement, error) {
	query := url.Values{}
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339))
		}
	}
	if kind != "" {
		query.Set("type", kind)
	}
	var told api.Statement
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathStatement, path: api.PathStatement, query: query}, &told)
	return told, err
}

// Orders lists the person's load orders, newest first.
func (c *Client) Orders(ctx context.Context) (api.Orders, error) {
	var told api.Orders
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathLoads, path: api.PathLoads}, &told)
	return told, err
}

func (c *Client) ask(ctx context.Context, question call, target any) error {
	question.access = accessToken
	result, err := c.do(ctx, question)
	if err != nil {
		return err
	}
	return decode(result, target)
}
