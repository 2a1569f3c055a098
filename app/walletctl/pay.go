package main

import (
	"context"
	"fmt"
	"io"
	"maps"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
)

type payCmd struct {
	OrderCode     string `name:"order-code" required:"" placeholder:"C" help:"As the merchant shows it."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read a card PIN from standard input."`
}

func (cmd payCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	result, err := program.Core.Pay(ctx, core.PayAsk{
		OrderCode: cmd.OrderCode,
		Confirm: func(_ context.Context, what core.PayConfirmation) error {
			return con.confirmPay("console.confirmPay", what, cmd.Yes)
		},
		PIN: con.pin(program, cmd.PasswordStdin), Progress: con.progress,
	})
	if err != nil {
		return withPayment(err, result)
	}
	return con.printPaid(program, "console.paidOut", result)
}

type unloadCmd struct {
	Amount        string `required:"" placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read a card PIN from standard input."`
}

func (cmd unloadCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, cmd.Yes)
	if err != nil {
		return err
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	result, err := program.Core.Unload(ctx, core.UnloadAsk{
		Amount: amount,
		Confirm: func(_ context.Context, what core.PayConfirmation) error {
			return con.confirmPay("console.confirmUnload", what, cmd.Yes)
		},
		PIN: con.pin(program, cmd.PasswordStdin), Progress: con.progress,
	})
	if err != nil {
		return withPayment(err, result)
	}
	return con.printPaid(program, "console.unloaded", result)
}

func (c *console) confirmPay(key string, what core.PayConfirmation, yes bool) error {
	pairs := []any{"Amount", what.Order.Amount.Yuan(), "Card", wallet.MaskNumber(what.Purse.Number),
		"Before", what.Purse.Balance.Yuan(), "After", what.BalanceAfter.Yuan()}
	if !what.Order.Unload {
		pairs = append(pairs, "Merchant", what.Order.Merchant, "Goods", what.Order.Goods)
	}
	return c.confirm(c.t(key, pairs...), yes)
}

// withPayment adds the two facts of a purchase to its failure.
func withPayment(err error, result core.PayResult) error {
	if result.Entry.Key == "" {
		return err
	}
	failure := *core.Explain(err)
	detail := map[string]any{"merchant": result.Order.Merchant, "debited": result.Debited, "delivered": result.Delivered}
	if result.Statement != nil {
		detail["state"] = result.Statement.State
	}
	maps.Copy(detail, failure.Detail)
	failure.Detail = detail
	return &failure
}

// payObject is the topup object of a purchase: the card is debited after
// requestsToDebit of the requests, and delivered after all of them. lookups stand
// before the confirmation and are not among them.
type payObject struct {
	Order            string                   `json:"order"`
	OrderCode        string                   `json:"orderCode"`
	State            wallet.PurchaseStateName `json:"state"`
	Stage            wallet.Stage             `json:"stage"`
	Attempt          int                      `json:"attempt"`
	AmountFen        wallet.Fen               `json:"amountFen"`
	FeeFen           wallet.Fen               `json:"feeFen"`
	BalanceBeforeFen wallet.Fen               `json:"balanceBeforeFen"`
	BalanceAfterFen  wallet.Fen               `json:"balanceAfterFen"`
	TAC              wallet.Hex               `json:"tac"`
	Merchant         string                   `json:"merchant"`
	Goods            string                   `json:"goods"`
	Debited          *bool                    `json:"debited"`
	Delivered        bool                     `json:"delivered"`
	Unload           bool                     `json:"unload,omitempty"`
	MainFen          *wallet.Fen              `json:"mainFen,omitempty"`
	Lookups          int                      `json:"lookups"`
	Requests         int                      `json:"requests"`
	RequestsToDebit  int                      `json:"requestsToDebit"`
	RequestsWaited   int                      `json:"requestsWaited"`
	APDUs            int                      `json:"apdus"`
	ElapsedMS        float64                  `json:"elapsedMS"`
	Receipt          map[string]any           `json:"receipt"`
	Warning          string                   `json:"warning,omitempty"`
	Demo             bool                     `json:"demo"`
	FaultHit         *bool                    `json:"faultHit,omitempty"`
}

func (c *console) printPaid(program *wire.Program, key string, result core.PayResult) error {
	object := payObject{
		Order: result.Entry.Order, OrderCode: result.Order.Code, Stage: result.Entry.Stage, Attempt: 1,
		AmountFen: result.Entry.Amount, BalanceBeforeFen: result.Outcome.BalanceBefore, BalanceAfterFen: result.Outcome.BalanceAfter,
		TAC: result.Outcome.TAC, Merchant: result.Order.Merchant, Goods: result.Order.Goods, Debited: result.Debited, Delivered: result.Delivered,
		Unload: result.Order.Unload, Lookups: result.Lookups, Requests: result.Requests, RequestsToDebit: result.RequestsToDebit,
		RequestsWaited: result.RequestsWaited, APDUs: result.APDUs, ElapsedMS: milliseconds(result.Elapsed),
		Warning: string(result.Warning), Demo: program.IsDemo(), FaultHit: faultHit(),
	}
	if result.Statement != nil {
		object.State = result.Statement.State
		if body := result.Statement.ReceiptBody; body != nil {
			object.Receipt, object.MainFen = purchaseReceiptObject(*body), body.MainBalance
		}
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, object.Demo)
		pairs := []any{"Amount", object.AmountFen.Yuan(), "After", object.BalanceAfterFen.Yuan()}
		if !object.Unload {
			pairs = append(pairs, "Merchant", object.Merchant)
		}
		fmt.Fprintln(w, c.t(key, pairs...))
		c.rows(w,
			row{"console.debited", c.fact("console.debited", object.Debited)},
			row{"console.delivered", c.fact("console.delivered", &object.Delivered)},
			row{"console.order", object.Order},
			row{"console.proof", object.TAC.String()})
		if object.Warning != "" {
			fmt.Fprintf(w, "! %s\n", c.t("warning.pay."+object.Warning))
		}
	})
}
