package api

import (
	"errors"
	"fmt"
	"strings"

	"walletcompanion/wallet"
)

// Billable events of the fee table.
const FeeEventLoad = "load" // value goes onto a card

// FeeTable says what is charged, by event and source of money (requirement R5). It
// stands in the signed policy; Version goes into every charging record.
type FeeTable struct {
	Version int      `json:"version"`
	Rows    []FeeRow `json:"rows"` // the first row that fits counts; without one an event is free and not recorded
}

// FeeRow is the tariff of one event: BaseFen plus amount · RateBP ⁄ 10,000, rounded
// half up to the fen (四舍五入), then held between MinFen and MaxFen.
type FeeRow struct {
	Event   string     `json:"event"`
	Source  string     `json:"source"` // main, bank, voucher …; "*" fits every source
	BaseFen wallet.Fen `json:"base_fen"`
	RateBP  int        `json:"rate_bp"` // 1 ⁄ 10,000 of the amount: 100 is 1 %
	MinFen  wallet.Fen `json:"min_fen"`
	MaxFen  wallet.Fen `json:"max_fen"` // 0: none
}

// maxFeeFen bounds every amount of a tariff: more is a slip of whoever wrote it.
const maxFeeFen wallet.Fen = 1_000_000_00

// ErrFeeTable means that a fee table cannot be charged by.
var ErrFeeTable = errors.New("the fee table is not one that can be charged by")

// Check refuses a table with negative or absurd amounts, a rate above 100 %, a minimum
// above the maximum, or a row that can never be reached.
func (t FeeTable) Check() error {
	if t.Version < 1 && len(t.Rows) > 0 {
		return fmt.Errorf("%w: it has no version", ErrFeeTable)
	}
	for i, row := range t.Rows {
		for _, amount := range []wallet.Fen{row.BaseFen, row.MinFen, row.MaxFen} {
			if amount < 0 || amount > maxFeeFen {
				return fmt.Errorf("%w: row %d has an impossible amount", ErrFeeTable, i+1)
			}
		}
		switch {
		case row.Event == "" || row.Source == "" || strings.ContainsAny(row.Event+row.Source, "|\r\n:"):
			return fmt.Errorf("%w: row %d names no event or no source", ErrFeeTable, i+1)
		case row.RateBP < 0 || row.RateBP > 10_000:
			return fmt.Errorf("%w: row %d has an impossible rate", ErrFeeTable, i+1)
		case row.MaxFen > 0 && row.MinFen > row.MaxFen:
			return fmt.Errorf("%w: row %d has its minimum above its maximum", ErrFeeTable, i+1)
		}
		if first, _ := t.Row(row.Event, row.Source); first != row {
			return fmt.Errorf("%w: row %d stands behind one that fits as well", ErrFeeTable, i+1)
		}
	}
	return nil
}

// Row finds the tariff of an event. A source such as bank:2 is of the kind bank.
func (t FeeTable) Row(event, source string) (FeeRow, bool) {
	kind, _, _ := strings.Cut(source, ":")
	for _, row := range t.Rows {
		if row.Event == event && (row.Source == kind || row.Source == "*") {
			return row, true
		}
	}
	return FeeRow{}, false
}

// Fee is what an event of this amount costs; 0 where no row fits.
func (t FeeTable) Fee(event, source string, amount wallet.Fen) wallet.Fen {
	row, found := t.Row(event, source)
	if !found {
		return 0
	}
	return row.Fee(amount)
}

// Fee computes the tariff. Half a fen is rounded up. A row that Check refuses never
// gives less than 0.
func (r FeeRow) Fee(amount wallet.Fen) wallet.Fen {
	const whole = 10_000
	amount = max(amount, 0)
	fee := r.BaseFen + amount/whole*wallet.Fen(r.RateBP) + (amount%whole*wallet.Fen(r.RateBP)+whole/2)/whole
	fee = max(fee, r.MinFen, 0)
	if r.MaxFen > 0 {
		fee = min(fee, r.MaxFen)
	}
	return fee
}

// LoadFee is what a load of this amount from this source costs.
func (p Policy) LoadFee(source string, amount wallet.Fen) wallet.Fen {
	return p.Fees.Fee(FeeEventLoad, source, amount)
}

// FlatFee is a table by which every load costs the same.
func FlatFee(fee wallet.Fen) FeeTable {
	return FeeTable{Version: 1, Rows: []FeeRow{{Event: FeeEventLoad, Source: "*", BaseFen: fee}}}
}
