package main

import (
	"context"
	"errors"
	"io"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

type receiptCmd struct {
	Order string `required:"" placeholder:"N"`
	PDF   string `name:"pdf" placeholder:"FILE" hidden:"" help:"Joins with the receipts page."`
}

func (cmd receiptCmd) Run(ctx context.Context, con *console) error {
	if cmd.PDF != "" {
		return &core.Failure{Code: "USAGE", Err: errors.New("this version prints receipts as text")}
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	receipt, err := program.Core.Receipt(ctx, cmd.Order)
	if err != nil {
		if purchase, other := program.Core.PurchaseReceipt(ctx, cmd.Order); other == nil {
			return con.printPurchaseReceipt(purchase)
		}
		if funding, other := program.Core.FundingReceipt(ctx, cmd.Order); other == nil {
			return con.printFundingReceipt(funding)
		}
		return err
	}
	return con.print(map[string]any{"file": nil, "receipt": receiptObject(receipt)}, func(w io.Writer) {
		con.demoMark(w, receipt.Demo)
		con.rows(w,
			row{"console.order", receipt.Order},
			row{"console.card", receipt.ASN.Masked()},
			row{"console.amount", con.yuan(receipt.Amount)},
			row{"console.fee", con.yuan(receipt.Fee)},
			row{"console.state", con.t("console.settled." + string(receipt.State))},
			row{"console.balanceAfter", con.yuan(receipt.BalanceAfter)},
			row{"console.time", local(receipt.Time)},
			row{"console.terminal", receipt.TID.String()},
			row{"console.proof", receipt.TAC.String()})
	})
}

// receiptObject shows a receipt with the card masked, as on paper.
func receiptObject(receipt wallet.Receipt) map[string]any {
	return map[string]any{
		"order": receipt.Order, "asnMasked": receipt.ASN.Masked(), "amountFen": receipt.Amount, "feeFen": receipt.Fee, "source": receipt.Source,
		"attempt": receipt.Attempt, "terminal": receipt.TID, "tac": receipt.TAC, "balanceBeforeFen": receipt.BalanceBefore,
		"balanceAfterFen": receipt.BalanceAfter, "mainBalanceFen": receipt.MainBalance, "state": receipt.State,
		"time": receipt.Time.In(shanghai).Format(time.RFC3339), "demo": receipt.Demo,
	}
}

// purchaseReceiptObject shows a receipt with the card masked, as on paper.
func purchaseReceiptObject(receipt wallet.PurchaseReceipt) map[string]any {
	return map[string]any{
		"order": receipt.Purchase, "kind": wallet.KindPurchase, "asnMasked": receipt.ASN.Masked(), "amountFen": receipt.Amount,
		"orderCode": receipt.MerchantOrder, "merchant": receipt.Merchant, "goods": receipt.Goods, "terminal": receipt.Terminal,
		"terminalSerial": receipt.TerminalSerial, "tac": receipt.TAC, "balanceAfterFen": receipt.BalanceAfter,
		"mainBalanceFen": receipt.MainBalance, "state": receipt.State,
		"time": receipt.Time.In(shanghai).Format(time.RFC3339), "demo": receipt.Demo,
	}
}

func (c *console) printPurchaseReceipt(receipt wallet.PurchaseReceipt) error {
	return c.print(map[string]any{"file": nil, "receipt": purchaseReceiptObject(receipt)}, func(w io.Writer) {
		c.demoMark(w, receipt.Demo)
		c.rows(w,
			row{"console.order", receipt.Purchase},
			row{"console.orderCode", receipt.MerchantOrder},
			row{"console.merchant", receipt.Merchant},
			row{"console.goods", receipt.Goods},
			row{"console.card", receipt.ASN.Masked()},
			row{"console.amount", c.yuan(receipt.Amount)},
			row{"console.state", c.t("console.settled." + string(receipt.State))},
			row{"console.balanceAfter", c.yuan(receipt.BalanceAfter)},
			row{"console.time", local(receipt.Time)},
			row{"console.terminal", receipt.Terminal.String()},
			row{"console.proof", receipt.TAC.String()})
	})
}
