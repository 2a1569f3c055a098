package mockplatform

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
)

// The outbox of callbacks: a row is written in the transaction that pays, and stays
// until the merchant has answered 2xx. A merchant may hear of one purchase several
// times and knows it by its Idempotency-Key.

const (
	callbackTimeout = 5 * time.Second
	callbackLast    = 2 * time.Second  // for all that is due when the platform stops
	callbackPause   = time.Second      // after the first failure, doubled after each further one
	callbackLongest = 15 * time.Minute // and never longer
	settleTick      = time.Hour        // how often a serving platform looks for closed upload windows
)

// tellMerchant puts what was paid into the outbox.
func (p *Platform) tellMerchant(tx *Tx, o *merchantOrder, b *purchase) error {
	if o == nil || o.callback == "" {
		return nil
	}
	signed, err := p.sign(api.DomainShopCallback, api.ShopCallback{
		Purchase: b.id, Code: o.code, Merchant: o.merchant, Amount: b.amount, State: b.state, Time: p.now(),
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	return tx.exec(`INSERT INTO callbacks (purchase, url, body, next) VALUES (?, ?, ?, ?) ON CONFLICT (purchase) DO NOTHING`,
		b.id, o.callback, body, p.now().UnixMilli())
}

// DeliverCallbacks sends what is due and tells how much the merchants took. Serve
// calls it all the time; tests and the console may as well.
func (p *Platform) DeliverCallbacks(ctx context.Context) (delivered int, err error) {
	type due struct {
		purchase, url string
		body          []byte
		tries         int
	}
	var rows []due
	err = p.store.View(ctx, func(tx *Tx) error {
		return tx.each(`SELECT purchase, url, body, tries FROM callbacks WHERE delivered = 0 AND next <= ? ORDER BY next LIMIT 20`,
			[]any{p.now().UnixMilli()}, func(found *sql.Rows) error {
				var one due
				err := found.Scan(&one.purchase, &one.url, &one.body, &one.tries)
				rows = append(rows, one)
				return err
			})
	})
	if err != nil {
		return 0, err
	}
	for _, one := range rows {
		told := p.postCallback(ctx, one.url, one.purchase, one.body)
		if told {
			delivered++
		}
		now := p.now()
		err = errors.Join(err, p.store.Update(ctx, func(tx *Tx) error {
			if told {
				return tx.exec(`UPDATE callbacks SET delivered = ?, tries = tries + 1 WHERE purchase = ?`, now.UnixMilli(), one.purchase)
			}
			pause := min(callbackPause<<min(one.tries, 16), callbackLongest)
			return tx.exec(`UPDATE callbacks SET next = ?, tries = tries + 1 WHERE purchase = ?`, now.Add(pause).UnixMilli(), one.purchase)
		}))
	}
	return delivered, err
}

// postCallback tells a merchant once. Redirections are not followed: the address was
// checked when the order was made, another one was not.
func (p *Platform) postCallback(ctx context.Context, address, purchase string, body []byte) bool {
	if !callbackAllowed(address) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(api.HeaderIdempotencyKey, purchase)
	transport := p.config.Callbacks
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true}
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, api.MaxBody))
	return response.StatusCode/100 == 2
}

// attend does what a serving platform does besides answering, until ctx ends. It
// sleeps until a purchase is paid, a repetition is due, or an hour has passed. What
// was paid at the very end is still told, since a demo ends with its program.
func (p *Platform) attend(ctx context.Context) {
	for {
		_, _ = p.SettleDoubtful(ctx)   // what fails now is tried again in an hour
		_ = p.SettleStates(ctx)        // likewise; a request does it for its own person
		_, _ = p.DeliverCallbacks(ctx) // the rows stay and are tried again
		_, _ = p.PursueFundings(ctx)   // likewise
		p.attendBanks(ctx)
		sleep := time.NewTimer(p.callbackPauseNow(ctx))
		select {
		case <-ctx.Done():
			sleep.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), callbackLast)
			defer cancel()
			_, _ = p.DeliverCallbacks(last) // what is not delivered waits for the next start
			return
		case <-p.paid:
		case <-sleep.C:
		}
		sleep.Stop()
	}
}

// callbackPauseNow is how long nothing is due.
func (p *Platform) callbackPauseNow(ctx context.Context) time.Duration {
	var next sql.NullInt64
	err := p.store.View(ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT MIN(next) FROM (SELECT next FROM callbacks WHERE delivered = 0 UNION ALL
			SELECT next FROM fundings WHERE state IN ('RECEIVED', 'PENDING', 'REVERSING') AND next > 0 UNION ALL
			SELECT next FROM bank_returns WHERE state = 'PENDING') AS due`, nil, &next)
		return err
	})
	if err != nil || !next.Valid {
		return settleTick
	}
	return min(max(time.UnixMilli(next.Int64).Sub(p.now()), callbackPause/10), settleTick)
}

// wakeCallbacks lets attend look at the outbox now.
func (p *Platform) wakeCallbacks() {
	select {
	case p.paid <- struct{}{}:
	default: // it is awake already
	}
}
