package main

import (
	"context"
	"fmt"
	"io"

	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type staffCashInCmd struct {
	Phone   string `required:"" placeholder:"P" help:"Whose main account."`
	Amount  string `required:"" placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00."`
	Receipt string `required:"" placeholder:"N" help:"Number of the till's receipt: the same number is booked once."`
	Yes     bool   `help:"Do not ask about a whole number of 1000 or more."`
}

type cashObject struct {
	Order     string              `json:"order"`
	State     wallet.FundingState `json:"state"`
	Payee     string              `json:"payee"`
	AmountFen wallet.Fen          `json:"amountFen"`
	Receipt   string              `json:"receipt"`
	Teller    string              `json:"teller"`
	Created   string              `json:"created"`
}

func cashOf(told api.StaffCash) cashObject {
	return cashObject{told.Funding, told.State, told.Payee, told.Amount, told.Receipt, told.Teller, stamp(told.Created)}
}

func (cmd staffCashInCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, cmd.Yes)
	if err != nil {
		return err
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().CashIn(ctx, api.StaffCashIn{Phone: cmd.Phone, Amount: amount, Receipt: cmd.Receipt})
		return con.printCash(program, told, err)
	})
}

func (c *console) printCash(program *wire.Program, told api.StaffCash, err error) error {
	if err != nil {
		return err
	}
	return c.print(cashOf(told), func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, c.t("console.cash."+string(told.State), "Amount", told.Amount.Yuan(), "Payee", told.Payee, "Order", told.Funding))
	})
}

type staffCashCmd struct {
	List    staffCashListCmd    `cmd:"" default:"1" help:"What waits for a second person."`
	Confirm staffCashConfirmCmd `cmd:"" help:"Confirm cash that somebody else counted (supervisors)."`
	Reject  staffCashRejectCmd  `cmd:"" help:"Reject it: the cash goes back to the customer."`
}

type staffCashListCmd struct{}

func (staffCashListCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().CashIns(ctx)
		if err != nil {
			return err
		}
		lines := []cashObject{}
		for _, each := range told.CashIns {
			lines = append(lines, cashOf(each))
		}
		return con.print(map[string]any{"cashIns": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			if len(lines) == 0 {
				fmt.Fprintln(w, con.t("console.noProposals"))
			}
			for i, each := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", local(told.CashIns[i].Created), each.Order, padded(each.AmountFen.Yuan(), amountWidth),
					each.Payee, each.Receipt, each.Teller)
			}
		})
	})
}

type cashDecision struct {
	Order  string `required:"" placeholder:"N" help:"Number of the booking."`
	Reason string `required:"" placeholder:"TEXT"`
}

type staffCashConfirmCmd struct{ cashDecision }
type staffCashRejectCmd struct{ cashDecision }

func (cmd staffCashConfirmCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ConfirmCash(ctx, cmd.Order, cmd.Reason)
		return con.printCash(program, told, err)
	})
}

func (cmd staffCashRejectCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().RejectCash(ctx, cmd.Order, cmd.Reason)
		return con.printCash(program, told, err)
	})
}
