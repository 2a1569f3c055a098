package sim

import (
	"bytes"
	"context"
	"database/sql"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// voucher is one that somebody bought. Two persons may try the same one.
type voucher struct{ serial, pin string }

// voucherValue and vouchersMade are what a world begins with.
const (
	voucherValue wallet.Fen = 50_00
	vouchersMade            = 20
)

// addVouchers puts vouchers into use. A world that is restored has none: after a
// restore a voucher can be redeemed again, which the loads that it paid for cannot know.
func (w *world) addVouchers() {
	if w.mayRestore {
		return
	}
	var file bytes.Buffer
	_, err := w.platform.MakeVouchers(&file, voucherValue, vouchersMade)
	w.must(err)
	for line := range strings.Lines(file.String()) {
		if fields := strings.Split(line, "|"); fields[0] == "D" {
			w.vouchers = append(w.vouchers, voucher{fields[1], fields[2]})
		}
	}
	_, err = w.platform.ImportVouchers(ctx(), &file, false)
	w.must(err)
}

// redeem uses a voucher, perhaps one that was used before, and compares what the person
// is told with what is true.
func (w *world) redeem(c *computer) {
	if len(w.vouchers) == 0 {
		return
	}
	number := w.luck.IntN(len(w.vouchers))
	v := w.vouchers[number]
	ask := core.FundAsk{
		From: core.MoneySource{
			Source: api.FundingSource{Kind: api.FundingVoucher, Serial: v.serial},
			Secret: func(context.Context) (string, error) {
				if w.happens("wrong voucher PIN", 30) {
					return "000000000000000000", nil
				}
				return v.pin, nil
			},
		},
		Confirm: func(context.Context, core.FundConfirmation) error { return nil },
	}
	w.say("  voucher %d", number)
	var result core.FundResult
	var err error
	w.wishes("fund", func() { result, err = c.core.Fund(ctx(), ask) })
	w.note(err)
	paid := w.fundingDone(result.Entry.Key)
	switch {
	case err == nil:
		w.count("end", "funding success")
		if paid != voucherValue {
			w.fail("the person was told that a voucher's money has arrived, and the books say %d", paid)
		}
	case result.Entry.Key != "" && !core.Explain(err).Open() && paid != 0:
		w.fail("the person was told %s with nothing open, but the voucher's money has arrived", core.Explain(err).Code)
	}
}

// fundingDone is what the books credited under a key.
func (w *world) fundingDone(key string) (paid wallet.Fen) {
	err := w.books.QueryRow(`SELECT COALESCE(SUM(amount), 0) FROM fundings WHERE key = ? AND state = 'DONE'`, key).Scan(&paid)
	w.must(err)
	return paid
}

// redeemed is what vouchers brought into a person's main account, as the vouchers have
// it: a used one counts once, for who redeemed it.
func (w *world) redeemed(p *person) (sum wallet.Fen) {
	w.rows(`SELECT f.user, v.value FROM vouchers v JOIN fundings f ON f.id = v.funding WHERE v.state = 'USED'`, func(rows *sql.Rows) error {
		var user string
		var value wallet.Fen
		err := rows.Scan(&user, &value)
		if user == p.user {
			sum += value
		}
		return err
	})
	return sum
}

// checkFundingsQuiet: in a quiet world no computer waits for a funding any more, and
// what each of them says of its fundings is what the books say.
func (w *world) checkFundingsQuiet() {
	for _, c := range w.computers {
		entries, err := c.store.Entries(ctx(), core.EntryFilter{})
		w.must(err)
		for _, entry := range entries {
			if !entry.IsFunding() {
				continue
			}
			w.count("end", "funding "+string(entry.Stage))
			paid := w.fundingDone(entry.Key)
			if w.restores > 0 && paid == 0 {
				continue // a restore lost it: the money came back as nobody's, see checkBankQuiet
			}
			if !entry.Stage.Final() || (entry.Stage == wallet.StageConfirmed) != (paid > 0) || paid > 0 && paid != entry.Amount {
				w.fail("computer %d has a funding at %s, and the books credited %d", c.number, entry.Stage, paid)
			}
		}
	}
}
