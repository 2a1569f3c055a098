package mockplatform

import "walletcompanion/wallet"

// FundingCheck is what an audit of the books found about money that was paid in.
type FundingCheck struct {
	FundingPendingFen   wallet.Fen `json:"fundingPendingFen"`   // asked for, and not decided
	FundingUnbookedFen  wallet.Fen `json:"fundingUnbookedFen"`  // fundings and vouchers whose state and posting differ
	VoucherLiabilityFen wallet.Fen `json:"voucherLiabilityFen"` // value of redeemed vouchers
	CashInHallFen       wallet.Fen `json:"cashInHallFen"`       // cash taken at counters
	BankClearingFen     wallet.Fen `json:"bankClearingFen"`     // owed by banks, less what is owed to them
	UnclaimedFen        wallet.Fen `json:"unclaimedFen"`        // money in suspense: nobody knows whose it is
}

// fundingUnbooked sums how far postings differ from states: every funding that is DONE
// has one posting of its amount from its source, every other none; what stands in
// suspense is what nobody was found for; and what left the voucher account is what
// vouchers were used up for.
const fundingUnbooked = `SELECT COALESCE((SELECT SUM(ABS(f.want + COALESCE(
		(SELECT SUM(t.amount) FROM postings t WHERE t.order_id = f.id AND t.type = 'funding-' || f.kind AND t.amount < 0), 0)))
		FROM (SELECT id, kind, CASE WHEN state = 'DONE' THEN amount ELSE 0 END AS want FROM fundings) AS f), 0)
	+ ABS(COALESCE((SELECT SUM(amount) FROM postings WHERE account = 'suspense'), 0)
		- COALESCE((SELECT SUM(amount) FROM fundings WHERE state = 'DONE' AND "user" = ''), 0))
	+ ABS(COALESCE((SELECT SUM(amount) FROM postings WHERE account = 'voucher-liability'), 0)
		+ COALESCE((SELECT SUM(value) FROM vouchers WHERE state = 'USED'), 0))`

func (r *FundingCheck) read(tx *Tx) error {
	for query, target := range map[string]*wallet.Fen{
		`SELECT COALESCE(SUM(amount), 0) FROM fundings WHERE state IN ('RECEIVED', 'PENDING', 'REVERSING')`: &r.FundingPendingFen,
		fundingUnbooked: &r.FundingUnbookedFen,
		`SELECT -COALESCE(SUM(amount), 0) FROM postings WHERE account = 'voucher-liability'`: &r.VoucherLiabilityFen,
		`SELECT -COALESCE(SUM(amount), 0) FROM postings WHERE account = 'cash-in-hall'`:      &r.CashInHallFen,
		`SELECT -COALESCE(SUM(amount), 0) FROM postings WHERE account = 'bank-clearing'`:     &r.BankClearingFen,
		`SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = 'suspense'`:           &r.UnclaimedFen,
	} {
		if _, err := tx.row(query, nil, target); err != nil {
			return err
		}
	}
	return nil
}
