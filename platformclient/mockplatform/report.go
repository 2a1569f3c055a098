package mockplatform

import (
	"context"

	"walletcompanion/wallet"
)

// ReportLine is a number of events with their sum.
type ReportLine struct {
	Count     int        `json:"count"`
	AmountFen wallet.Fen `json:"amountFen"`
}

// DayReport is what happened to top-ups on one business day, counted from the orders.
type DayReport struct {
	Date    string     `json:"date"`
	Granted ReportLine `json:"granted"` // held: amount and fee
	Loaded  ReportLine `json:"loaded"`  // onto cards
	Voided  ReportLine `json:"voided"`  // returned: amount and fee
	Fees    ReportLine `json:"fees"`    // earned

	// DifferenceFen is how far the ledger of the day is from it, line by line; 0 or
	// something is wrong.
	DifferenceFen wallet.Fen `json:"differenceFen"`
}

// DayReport reports a business day, YYYY-MM-DD, from the orders that began or ended on
// it, and compares with the postings of the day.
func (p *Platform) DayReport(ctx context.Context, date string) (DayReport, error) {
	report := DayReport{Date: date}
	day, err := dayOf(date, "")
	if err != nil || day == "" {
		return report, ErrDay
	}
	s := selection{}
	s.From, s.To = date, date
	if !s.readDays() {
		return report, ErrDay
	}
	from, to := s.from.UnixMilli(), s.to.UnixMilli()
	err = p.store.View(ctx, func(tx *Tx) error {
		for _, line := range []struct {
			target *ReportLine
			query  string
			args   []any
		}{
			{&report.Granted, `SELECT COUNT(*), COALESCE(SUM(amount + fee), 0) FROM orders WHERE day = ?`, []any{day}},
			{&report.Loaded, `SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM orders WHERE state = 'LOADED' AND finished >= ? AND finished < ?`, []any{from, to}},
			{&report.Voided, `SELECT COUNT(*), COALESCE(SUM(amount + fee), 0) FROM orders WHERE state = 'VOIDED' AND finished >= ? AND finished < ?`, []any{from, to}},
			{&report.Fees, `SELECT COUNT(*), COALESCE(SUM(fee), 0) FROM orders WHERE state = 'LOADED' AND fee > 0 AND finished >= ? AND finished < ?`, []any{from, to}},
		} {
			if _, err := tx.row(line.query, line.args, &line.target.Count, &line.target.AmountFen); err != nil {
				return err
			}
		}
		for _, side := range []struct {
			reported wallet.Fen
			query    string
		}{
			{report.Granted.AmountFen, `account LIKE 'held:%' AND type IN ('load-hold', 'recovery')`},
			{-report.Loaded.AmountFen - report.Fees.AmountFen, `account LIKE 'held:%' AND type = 'load-post'`},
			{-report.Voided.AmountFen, `account LIKE 'held:%' AND type = 'load-void'`},
			{report.Fees.AmountFen, `account = '` + accountFeeIncome + `'`},
		} {
			var posted wallet.Fen
			if _, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM postings WHERE day = ? AND `+side.query, []any{day}, &posted); err != nil {
				return err
			}
			report.DifferenceFen += max(posted-side.reported, side.reported-posted)
		}
		return nil
	})
	return report, err
}
