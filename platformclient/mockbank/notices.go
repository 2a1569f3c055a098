package mockbank

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"walletcompanion/platformclient/bankapi"
)

const (
	noticeTimeout = 5 * time.Second
	noticePause   = time.Second // after the first failure, doubled after each further one
	noticeLongest = 15 * time.Minute
	noticeTries   = 20 // then the partner has to ask
	noticeIdle    = time.Hour
)

// putNotice signs the callback of a paid order and puts it into the outbox, in the
// transaction that pays. Success alone is told.
func (b *Bank) putNotice(tx *tx, o *operation) error {
	if o.notify == "" {
		return nil
	}
	callback := bankapi.Callback{
		MerchantID: o.partner, OrderID: o.serial, Payment: o.amount, Journal: o.journal, Success: true, Profile: bankapi.ProfileStrong,
	}
	if b.keys.Legacy {
		callback.Profile = bankapi.ProfileLegacy
	}
	signed, err := bankapi.SignCallback(callback, b.keys.gateway)
	if err != nil {
		return err
	}
	return tx.exec(`INSERT INTO notices (partner, serial, url, ca, body, tries, next, delivered) VALUES (?, ?, ?, ?, ?, 0, ?, 0)`,
		o.partner, o.serial, o.notify, append([]byte{}, o.ca...), signed.Form(), b.now().UnixMilli())
}

// DeliverNotices sends the callbacks that are due and tells how many were taken.
// Serve calls it all the time; tests may as well.
func (b *Bank) DeliverNotices(ctx context.Context) (delivered int, err error) {
	type due struct {
		partner, serial, url, body string
		ca                         []byte
		tries                      int
	}
	var rows []due
	err = b.store.update(ctx, func(tx *tx) error {
		return tx.each(`SELECT partner, serial, url, body, ca, tries FROM notices WHERE delivered = 0 AND tries < ? AND next <= ? ORDER BY next LIMIT 20`,
			[]any{noticeTries, b.now().UnixMilli()}, func(found *sql.Rows) error {
				var one due
				err := found.Scan(&one.partner, &one.serial, &one.url, &one.body, &one.ca, &one.tries)
				rows = append(rows, one)
				return err
			})
	})
	for _, one := range rows {
		told := b.notify(ctx, one.url, one.body, one.ca)
		done, next := int64(0), b.now().Add(min(noticePause<<min(one.tries, 16), noticeLongest)).UnixMilli()
		if told {
			delivered++
			done = b.now().UnixMilli()
		}
		err = errors.Join(err, b.store.update(ctx, func(tx *tx) error {
			return tx.exec(`UPDATE notices SET delivered = ?, next = ?, tries = tries + 1 WHERE partner = ? AND serial = ?`, done, next, one.partner, one.serial)
		}))
	}
	return delivered, err
}

// notify tells a partner once. Redirections are not followed.
func (b *Bank) notify(ctx context.Context, address, body string, ca []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	if certificate, err := x509.ParseCertificate(ca); err == nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(certificate)
	}
	var through http.RoundTripper = transport
	if b.config.Notify != nil {
		through = b.config.Notify(transport)
	}
	client := &http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	return response.StatusCode/100 == 2
}

// attend delivers callbacks and releases what nobody captures, until ctx ends.
func (b *Bank) attend(ctx context.Context) {
	for {
		_, _ = b.DeliverNotices(ctx) // the rows stay and are tried again
		_, _ = b.ReleaseOld(ctx)     // likewise
		var next sql.NullInt64
		pause := noticeIdle
		err := b.store.update(ctx, func(tx *tx) error {
			_, err := tx.row(`SELECT MIN(next) FROM notices WHERE delivered = 0 AND tries < ?`, []any{noticeTries}, &next)
			return err
		})
		if err == nil && next.Valid {
			pause = min(max(time.UnixMilli(next.Int64).Sub(b.now()), noticePause/10), noticeIdle)
		}
		sleep := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			sleep.Stop()
			return
		case <-b.wake:
		case <-sleep.C:
		}
		sleep.Stop()
	}
}

func (b *Bank) wakeNotices() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake already
	}
}
