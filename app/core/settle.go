package core

import (
	"context"
	"strconv"
	"time"

	"walletcompanion/wallet"
)

// journal is the store with the one hook that tells a watcher which stage is on
// disk.
func (c *Core) journal() wallet.Journal { return stageWatcher{c} }

type stageWatcher struct{ core *Core }

func (w stageWatcher) Write(ctx context.Context, entry wallet.Entry) error {
	if w.core.BeforeStage != nil {
		w.core.BeforeStage(entry.Stage)
	}
	err := w.core.Store.Write(ctx, entry)
	if err == nil && (entry.Stage == wallet.StageCredited || entry.Stage == wallet.StageDebited) {
		select {
		case w.core.credited <- struct{}{}:
		default: // somebody is told already
		}
	}
	if w.core.AfterStage != nil {
		w.core.AfterStage(entry.Stage)
	}
	return err
}

// close moves an entry to a final stage. Its failure loses nothing: the platform
// or the next start says the same again.
func (c *Core) close(ctx context.Context, entry wallet.Entry, stage wallet.Stage, note string) {
	entry.Stage, entry.Note, entry.At = stage, note, c.Now()
	_ = c.journal().Write(ctx, entry)
}

// abandonUnasked closes entries of a process that died before it asked the
// platform (rows 2 and 4 of the crash table). The money lock is held, so no other
// process can be between those stages.
func (c *Core) abandonUnasked(ctx context.Context) error {
	entries, err := c.Store.Entries(ctx, EntryFilter{OpenOnly: true})
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Stage.MayHaveMoney() {
			c.close(ctx, entry, wallet.StageAbandoned, "")
		}
	}
	return nil
}

// FlushOutbox sends results whose time has come. It returns how many the platform
// acknowledged; what fails is tried again later, from 1 s up to 15 min.
func (c *Core) FlushOutbox(ctx context.Context) (acknowledged []wallet.OrderState, err error) {
	rows, err := c.Store.Due(ctx, c.Now())
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		state, sendErr := c.deliver(ctx, row.Entry)
		if sendErr != nil {
			err = sendErr
			_ = c.Store.Delay(ctx, row.Key, c.Now().Add(outboxDelay(row.Tries)))
			continue
		}
		_ = c.Store.Sent(ctx, row.Key)
		acknowledged = append(acknowledged, state)
	}
	return acknowledged, err
}

// keepSending sends results until ctx ends: what an earlier process left behind, and
// whatever is credited later. It also asks about fundings whose end nobody knows here. It sleeps while nothing waits to be sent.
func (c *Core) keepSending(ctx context.Context) {
	for failures := 0; ; {
		_, err := c.FlushOutbox(ctx)
		open, fundingErr := c.settleFundingsAlone(ctx)
		var again <-chan time.Time
		if err != nil || fundingErr != nil || open || c.holdsResults(ctx) {
			again = time.After(outboxDelay(failures))
			failures++
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-c.credited:
		case <-again:
		}
	}
}

// holdsResults reports whether a result waits for its next try.
func (c *Core) holdsResults(ctx context.Context) bool {
	rows, err := c.Store.Due(ctx, c.Now().Add(24*time.Hour)) // whenever their time comes
	return err == nil && len(rows) > 0
}

// outboxDelay doubles from one second to fifteen minutes.
func outboxDelay(tries int) time.Duration {
	return min(time.Second<<min(tries, 20), 15*time.Minute)
}

const settingEpoch = "platform.epoch"

// resendAfterRestore: a platform with a new epoch was restored from a backup and
// may have lost orders. Before any new money it gets the grants and card answers
// kept here (protocol §2.7.1).
func (c *Core) resendAfterRestore(ctx context.Context) {
	session := c.Platform.Session()
	known, _ := c.Store.Setting(ctx, settingEpoch)
	now := strconv.Itoa(session.Epoch)
	if known == now {
		return
	}
	if known != "" && !c.resendKept(ctx, session.Epoch) {
		return // tried again at the next contact
	}
	_ = c.Store.PutSetting(ctx, settingEpoch, now)
}

// resendKept sends every confirmed load and purchase of an earlier epoch, and every
// refund: one that a restore lost has left the card without coming back. The watermark of
// backups does not shorten the list: it says how far copies of the present books
// reach, and backups made after the restore raise it over what the restore lost.
//
// What was proven without a TAC that is kept here goes with its grant alone: an order
// that is missing comes back as GRANTED or AUTHORISED then, and the card's next touch
// proves it.
func (c *Core) resendKept(ctx context.Context, epoch int) bool {
	entries, err := c.Store.Entries(ctx, EntryFilter{})
	if err != nil {
		return false
	}
	all := true
	for _, entry := range entries {
		settled := entry.Stage == wallet.StageConfirmed || entry.Stage == wallet.StageRefunded
		if !settled || entry.Grant == nil || entry.Epoch >= epoch {
			continue // credited ones are in the outbox, open ones bring their grant with the evidence
		}
		send := func() (err error) { _, _, err = c.Platform.Result(ctx, entry); return err }
		if entry.IsPurchase() {
			send = func() (err error) { _, _, err = c.Platform.PurchaseResult(ctx, entry); return err }
		}
		if send() != nil {
			all = false
		}
	}
	return all
}
