package platformclient

import (
	"context"
	"net/http"

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

// Orders lists all of the person's load orders, newest first, page by page.
func (c *Client) Orders(ctx context.Context) (all api.Orders, err error) {
	selection := api.Selection{Limit: api.PageMax}
	for {
		page, err := c.FindOrders(ctx, selection)
		if err != nil {
			return api.Orders{}, err
		}
		all.Orders = append(all.Orders, page.Orders...)
		if page.Page.Next == "" || page.Page.Next == selection.Cursor {
			return all, nil
		}
		selection.Cursor = page.Page.Next
	}
}

func (c *Client) ask(ctx context.Context, question call, target any) error {
	question.access = accessToken
	result, err := c.do(ctx, question)
	if err != nil {
		return err
	}
	return decode(result, target)
}
