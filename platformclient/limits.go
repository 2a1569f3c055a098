package platformclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"walletcompanion/platformclient/api"
)

// Limits tells every limit of the account and of this device, with what is used up.
func (c *Client) Limits(ctx context.Context) (api.LimitsShown, error) {
	var told api.LimitsShown
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathLimits, path: api.PathLimits}, &told)
	return told, err
}

// SetLimit sets one day limit of the person's own. password is asked only where it is
// not nil, and sealed to this very change: raising a limit needs it.
func (c *Client) SetLimit(ctx context.Context, change api.LimitsChange, password func(ctx context.Context) (string, error)) (api.LimitsShown, error) {
	if err := c.needProfile(); err != nil {
		return api.LimitsShown{}, err
	}
	key, err := NewKey(c.now(), c.config.Random)
	if err != nil {
		return api.LimitsShown{}, localError(err)
	}
	if password != nil {
		digits, err := password(ctx)
		if err != nil {
			return api.LimitsShown{}, err
		}
		if change.PaySeal, err = api.SealPayment(c.config.Profile.HPKE, api.LimitCore(change, key), digits); err != nil {
			return api.LimitsShown{}, localError(err)
		}
	}
	var told api.LimitsShown
	err = c.ask(ctx, call{method: http.MethodPost, route: api.PathLimits, path: api.PathLimits, body: change, key: key, retry: true}, &told)
	return told, err
}

// FindStatement gives a page of postings on the main account, newest first.
func (c *Client) FindStatement(ctx context.Context, selection api.Selection) (api.Statement, error) {
	var told api.Statement
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathStatement, path: api.PathStatement, query: queryOf(selection)}, &told)
	return told, err
}

// FindOrders gives a page of the person's loads, newest first.
func (c *Client) FindOrders(ctx context.Context, selection api.Selection) (api.Orders, error) {
	var told api.Orders
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathLoads, path: api.PathLoads, query: queryOf(selection)}, &told)
	return told, err
}

// FindPurchases gives a page of the person's purchases, newest first.
func (c *Client) FindPurchases(ctx context.Context, selection api.Selection) (api.Purchases, error) {
	var told api.Purchases
	err := c.ask(ctx, call{method: http.MethodGet, route: api.PathPurchases, path: api.PathPurchases, query: queryOf(selection)}, &told)
	return told, err
}

// queryOf writes a selection as the query of a list.
func queryOf(s api.Selection) url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		"from": s.From, "to": s.To, "type": s.Type, "state": s.State, "text": s.Text, "order": s.Order, "card": s.Card, "cursor": s.Cursor,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range map[string]int64{"min": s.Min, "max": s.Max, "limit": int64(s.Limit)} {
		if value > 0 {
			query.Set(name, strconv.FormatInt(value, 10))
		}
	}
	if s.Open {
		query.Set("open", "true")
	}
	return query
}
