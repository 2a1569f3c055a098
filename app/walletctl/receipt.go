package main

import (
	"context"
	"errors"
	"fmt"
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
		return err
	}
	return con.print(map[string]any{"file": nil, "receipt": receiptObject(receipt)}, func(w io.Writer) {
		con.demoMark(w, receipt.Demo)
		for _, row := range [][2]string{
			{"console.order", receipt.Order}, {"console.card", receipt.ASN.Masked()}, {"console.amount", con.yuan(receipt.Amount)}, {"console.fee", con.yuan(receipt.Fee)},
			{"console.state", con.t("console.settled." + string(receipt.State))}, {"console.balanceAfter", con.yuan(receipt.BalanceAfter)},
			{"console.time", local(receipt.Time)}, {"console.terminal", receipt.TID.String()}, {"console.proof", receipt.TAC.String()},
		} {
			fmt.Fprintf(w, "%s\t%s\n", con.t(row[0]), row[1])
		}
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
		for _, row := range [][2]string{
			{"console.order", receipt.Purchase}, {"console.orderCode", receipt.MerchantOrder}, {"console.merchant", receipt.Merchant},
			{"console.goods", receipt.Goods}, {"console.card", receipt.ASN.Masked()}, {"console.amount", c.yuan(receipt.Amount)},
			{"console.state", c.t("console.settled." + string(receipt.State))}, {"console.balanceAfter", c.yuan(receipt.BalanceAfter)},
			{"console.time", local(receipt.Time)}, {"console.terminal", receipt.Terminal.String()}, {"console.proof", receipt.TAC.String()},
		} {
			fmt.Fprintf(w, "%s\t%s\n", c.t(row[0]), row[1])
		}
	})
}
