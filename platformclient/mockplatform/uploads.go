package mockplatform

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// OfflinePurchase is one line of a shop's upload (对账文件 e, §2.17). The card's own
// number stands in such files as well; nothing authenticates it, and it is not used.
type OfflinePurchase struct {
	ASN            wallet.ASN            `json:"asn"`
	Terminal       wallet.TerminalNumber `json:"terminal"`
	TerminalSerial uint32                `json:"terminal_serial"`
	Amount         wallet.Fen            `json:"amountFen"`
	Time           time.Time             `json:"time"` // of the terminal; whole seconds are under the TAC
	TAC            wallet.Hex            `json:"tac"`
}

// UploadReport counts what became of the lines.
type UploadReport struct {
	Accepted  int `json:"accepted"`
	Duplicate int `json:"duplicate"` // (asn, terminal, terminal serial) came before: paid once
	Refused   int `json:"refused"`   // wrong TAC, unknown card, or a terminal of this platform
}

// UploadOffline enters purchases that shops made offline. Each line that verifies
// lowers the card's shadow balance and is owed to the shop; a line counts once,
// however often it comes. A TAC over a terminal number of this platform is an online
// purchase, which is paid where it was authorised and nowhere else.
func (p *Platform) UploadOffline(ctx context.Context, lines []OfflinePurchase) (UploadReport, error) {
	var report UploadReport
	err := p.store.Update(ctx, func(tx *Tx) error {
		report = UploadReport{}
		for _, line := range lines {
			if err := p.uploadLine(tx, line, &report); err != nil {
				return err
			}
		}
		return p.audit(tx, "admin", "upload", "offline purchases", fmt.Sprintf("%+v", report))
	})
	return report, err
}

func (p *Platform) uploadLine(tx *Tx, line OfflinePurchase, report *UploadReport) error {
	asn, terminal := line.ASN.String(), line.Terminal.String()
	var found int
	known, err := tx.row(`SELECT 1 FROM cards WHERE asn = ?`, []any{asn}, &found)
	if err != nil {
		return err
	}
	ours, err := tx.row(`SELECT 1 FROM card_tids WHERE asn = ? AND tid = ?`, []any{asn, terminal}, &found)
	if err != nil {
		return err
	}
	good := false
	if known && !ours && line.Amount > 0 && line.Amount <= maxCardFen {
		sent := debitCommand{amount: line.Amount, terminal: line.Terminal, serial: line.TerminalSerial, at: line.Time}
		if good, _, err = p.hsm.verifyDebit(tx, line.ASN, sent, line.TAC, nil); err != nil {
			return err
		}
	}
	if !good {
		report.Refused++
		return nil
	}
	received, err := p.afterTouches(tx, asn)
	if err != nil {
		return err
	}
	fresh, err := tx.changed(`INSERT INTO uploads (asn, terminal, terminal_serial, amount, time, tac, received) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (asn, terminal, terminal_serial) DO NOTHING`, asn, terminal, line.TerminalSerial, int64(line.Amount),
		line.Time.UnixMilli(), []byte(line.TAC), received.UnixMilli())
	if err != nil {
		return err
	}
	if fresh == 0 {
		report.Duplicate++
		return nil
	}
	report.Accepted++
	return p.postUpload(tx, line)
}

// afterwards is now, or later where the clock has gone back behind a moment that the
// books know: touches and uploads of a card keep their order, whatever the clock says.
func (p *Platform) afterwards(tx *Tx, latest, asn string) (time.Time, error) {
	var known int64
	if _, err := tx.row(latest, []any{asn}, &known); err != nil {
		return time.Time{}, err
	}
	if moment := time.UnixMilli(known + 1).UTC(); moment.After(p.now()) {
		return moment, nil
	}
	return p.now(), nil
}

// afterBookings is now, or later, so that every upload and every finished purchase of the
// card that the books know is before it.
func (p *Platform) afterBookings(tx *Tx, asn string) (time.Time, error) {
	return p.afterwards(tx, `SELECT MAX(COALESCE((SELECT MAX(received) FROM uploads WHERE asn = ?1), 0),
		COALESCE((SELECT MAX(finished) FROM purchases WHERE asn = ?1), 0))`, asn)
}

// afterTouches is now, or later, so that every balance that the card showed, and every
// probe that was drawn for its purchases, is before it.
func (p *Platform) afterTouches(tx *Tx, asn string) (time.Time, error) {
	return p.afterwards(tx, `SELECT COALESCE(MAX(MAX(probed, probe_since)), 0) FROM purchases WHERE asn = ?`, asn)
}

// A restore loses uploads, and shops have an upload window to send them again. Until it
// has closed, what a card spent in shops is not all in the books, and whatever rests on
// the sum of a card waits. The row holds afterRestore until the platform is opened, then
// the moment from which sums are whole again, in Unix milliseconds.
const (
	metaSumsFrom = "sums_from"
	afterRestore = "after restore"
)

// waitForUploads reads from when on sums are whole. The window begins with the first
// opening after a restore, in the platform's own clock.
func (p *Platform) waitForUploads(ctx context.Context) error {
	var from string
	err := p.store.View(ctx, func(tx *Tx) (err error) { from, err = meta(tx, metaSumsFrom); return err })
	if err != nil || from == "" {
		return err
	}
	if from == afterRestore {
		from = strconv.FormatInt(p.now().Add(uploadWindow).UnixMilli(), 10)
		if err := p.store.Update(ctx, func(tx *Tx) error { return setMeta(tx, metaSumsFrom, from) }); err != nil {
			return err
		}
	}
	moment, err := strconv.ParseInt(from, 10, 64)
	p.sumsFrom = time.UnixMilli(moment).UTC()
	return err
}

// windowCloses is when shops have had their time to upload what a card spent before a
// moment, also what a restore lost.
func (p *Platform) windowCloses(moment time.Time) time.Time {
	if closes := moment.Add(uploadWindow); closes.After(p.sumsFrom) {
		return closes
	}
	return p.sumsFrom
}

// SettleReport counts what the sum rule decided.
type SettleReport struct {
	Refunded int `json:"refunded"`
	NotTaken int `json:"notTaken"`
	Suspense int `json:"suspense"`
}

// SettleDoubtful applies the sum rule to purchases whose upload window has closed
// (§2.19). A purchase whose card never came back goes to SUSPENSE, where a later
// touch still resolves it. After a restore it decides nothing before shops have had a
// whole window to send again what the restore lost. Serve calls it by itself.
func (p *Platform) SettleDoubtful(ctx context.Context) (SettleReport, error) {
	var report SettleReport
	var waiting int
	now := p.now()
	if now.Before(p.sumsFrom) {
		return report, nil
	}
	closed := now.Add(-uploadWindow).UnixMilli()
	const due = `state IN ('AUTHORISED', 'DOUBTFUL') AND CASE probed WHEN 0 THEN created ELSE probed END < ?`
	err := p.store.View(ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT COUNT(*) FROM purchases WHERE `+due, []any{closed}, &waiting)
		return err
	})
	if err != nil || waiting == 0 {
		return report, err
	}
	err = p.store.Update(ctx, func(tx *Tx) error {
		report = SettleReport{}
		purchases, err := findPurchases(tx, due, closed)
		if err != nil {
			return err
		}
		for _, b := range purchases {
			if err := p.settleBySum(tx, b, &report); err != nil {
				return err
			}
		}
		return nil
	})
	return report, err
}

func (p *Platform) settleBySum(tx *Tx, b *purchase, report *SettleReport) error {
	k, err := findCard(tx, b.asn)
	if err != nil {
		return err
	}
	if k == nil {
		k = &card{asn: b.asn, state: cardIssued}
	}
	facts, err := p.purchaseFacts(tx, b, k)
	if err != nil {
		return err
	}
	decision := rules.DecideSum(facts, p.config.Rules)
	if decision.Alarm {
		if err := p.alarm(tx, string(decision.Cause), b.id); err != nil {
			return err
		}
	}
	switch decision.Outcome {
	case rules.Refund:
		report.Refunded++
		if err := p.finishPurchase(tx, b, k, wallet.PurchaseRefunded, decision.Evidence, "platform"); err != nil {
			return err
		}
		return saveCard(tx, k)
	case rules.NotTaken:
		report.NotTaken++
		return p.finishPurchase(tx, b, k, wallet.PurchaseNotTaken, decision.Evidence, "platform")
	case rules.Suspend:
		report.Suspense++
		return p.suspendPurchase(tx, b, decision.Cause, "platform")
	}
	return nil
}
