package core

import (
	"context"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// ViewResult is one look at a card by service staff.
type ViewResult struct {
	View   wallet.View
	Reader reader.Info
	ATR    []byte // of the session, which is newer than what the reader told
	At     time.Time
}

// ViewCard reads everything that the card gives without a PIN. It needs no platform,
// changes nothing on the card and keeps nothing: what staff look at is somebody
// else's card.
func (c *Core) ViewCard(ctx context.Context) (ViewResult, error) {
	var result ViewResult
	err := c.withCard(ctx, func(session reader.Session, info reader.Info) error {
		view, err := wallet.ViewCard(ctx, session, c.Trace)
		result = ViewResult{View: view, Reader: info, ATR: session.ATR(), At: c.Now()}
		return err
	})
	return result, err
}
