package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type topupCmd struct {
	Amount        string `required:"" placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00."`
	Source        string `default:"main" placeholder:"S" help:"main: the main account; voucher or bank:ID bring the money there first."`
	Shortfall     string `placeholder:"bank:ID" help:"Where the missing part comes from when the main account does not hold enough."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the payment password, and on the next line the PIN of a card that wants one, from standard input; a voucher's serial and PIN come first."`
	voucherFlags
}

type topupObject struct {
	Order            string           `json:"order"`
	State            wallet.LoadState `json:"state"`
	Stage            wallet.Stage     `json:"stage"`
	Attempt          int              `json:"attempt"`
	AmountFen        wallet.Fen       `json:"amountFen"`
	FeeFen           wallet.Fen       `json:"feeFen"`
	BalanceBeforeFen wallet.Fen       `json:"balanceBeforeFen"`
	BalanceAfterFen  wallet.Fen       `json:"balanceAfterFen"`
	TAC              wallet.Hex       `json:"tac"`
	Requests         int              `json:"requests"`
	RequestsWaited   int              `json:"requestsWaited"`
	APDUs            int              `json:"apdus"`
	ElapsedMS        float64          `json:"elapsedMS"`
	Receipt          map[string]any   `json:"receipt"`
	Acknowledged     bool             `json:"acknowledged"`
	Warning          string           `json:"warning,omitempty"`
	Demo             bool             `json:"demo"`
	FaultHit         *bool            `json:"faultHit,omitempty"`
	Funding          *topupFunding    `json:"funding,omitempty"`
}

// topupFunding is what came from outside before the card was asked.
type topupFunding struct {
	Order     string     `json:"order"`
	Source    string     `json:"source"`
	AmountFen wallet.Fen `json:"amountFen"`
}

func (cmd topupCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, cmd.Yes)
	if err != nil {
		return err
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	from, shortfall, err := cmd.money(ctx, con, program)
	if err != nil {
		return err
	}
	password, err := con.paymentPassword(program, cmd.PasswordStdin)
	if err != nil {
		return err
	}
	result, err := program.Core.TopUp(ctx, core.TopUpAsk{
		Amount: amount, Source: sourceMain, From: from, Shortfall: shortfall,
		Confirm:  func(_ context.Context, what core.Confirmation) error { return con.confirmTopUp(what, cmd.Yes) },
		Password: password,
		PIN:      con.pin(program, cmd.PasswordStdin),
		Progress: con.progress,
	})
	if err != nil {
		return err
	}
	return con.printTopUp(program, result)
}

// sourceMain is the main account.
const sourceMain = "main"

// money reads where the money comes from: before the card is asked, or only what is
// missing.
func (cmd topupCmd) money(ctx context.Context, con *console, program *wire.Program) (*core.MoneySource, func(context.Context, wallet.Fen) (*core.MoneySource, error), error) {
	if cmd.Source != sourceMain {
		if cmd.Shortfall != "" {
			return nil, nil, &core.Failure{Code: "USAGE", Err: errors.New("--shortfall belongs to --source main")}
		}
		source, err := parseSource(cmd.Source)
		if err != nil {
			return nil, nil, err
		}
		from, err := con.moneySource(source, cmd.voucherFlags)
		if err == nil {
			err = con.completeBank(ctx, program, from, cmd.PasswordStdin)
		}
		return from, nil, err
	}
	switch {
	case cmd.Shortfall != "":
	case cmd.Yes || !con.interactive():
		return nil, nil, nil // nobody sees an offer: what may be taken from a bank must be named
	default:
		return nil, con.offerBank(program), nil
	}
	source, err := parseSource(cmd.Shortfall)
	if err == nil && source.Kind != api.FundingBank {
		err = &core.Failure{Code: "USAGE", Err: errors.New("--shortfall takes bank:ID")}
	}
	from := &core.MoneySource{Source: source}
	if err == nil {
		err = con.completeBank(ctx, program, from, cmd.PasswordStdin)
	}
	return nil, func(context.Context, wallet.Fen) (*core.MoneySource, error) { return from, nil }, err
}

// offerBank offers the missing part from the first bound bank card (补款). The person
// agrees to it in the one confirmation, or to nothing.
func (c *console) offerBank(program *wire.Program) func(context.Context, wallet.Fen) (*core.MoneySource, error) {
	return func(ctx context.Context, missing wallet.Fen) (*core.MoneySource, error) {
		banks, err := program.Core.Banks(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range banks.Bindings {
			if one.State != api.BankBound {
				continue
			}
			c.say(c.t("console.shortfallOffer", "Missing", missing.Yuan(), "Bank", one.Name, "Last4", one.Last4))
			from := &core.MoneySource{Source: api.FundingSource{Kind: api.FundingBank, ID: one.ID}}
			return from, c.completeBank(ctx, program, from, false)
		}
		return nil, nil
	}
}

func (c *console) confirmTopUp(what core.Confirmation, yes bool) error {
	key, total := "console.confirmTopup", what.Total()
	switch {
	case what.FundSource == "":
	case what.FundAmount == 0:
		key = "console.confirmTopupVoucher"
	case what.FundAmount < total:
		key = "console.confirmTopupShortfall"
	default:
		key = "console.confirmTopupBank"
	}
	text := c.t(key, "Source", c.sourceName(what.FundSource), "Missing", what.FundAmount.Yuan(), "Main", (total - what.FundAmount).Yuan(),
		"Total", total.Yuan(), "Amount", what.Amount.Yuan(), "Fee", what.Fee.Yuan(), "Card", wallet.MaskNumber(what.Purse.Number),
		"Before", what.Purse.Balance.Yuan(), "After", what.BalanceAfter.Yuan())
	return c.confirm(text, yes)
}

func (c *console) printTopUp(program *wire.Program, result core.TopUpResult) error {
	object := topupObject{
		Order: result.Entry.Order, State: wallet.StateGranted, Stage: result.Entry.Stage, Attempt: result.Entry.Attempt,
		AmountFen: result.Entry.Amount, FeeFen: result.Entry.Fee, BalanceBeforeFen: result.Outcome.BalanceBefore,
		BalanceAfterFen: result.Outcome.BalanceAfter, TAC: result.Outcome.TAC, Requests: result.Requests,
		RequestsWaited: result.RequestsWaited, APDUs: result.APDUs, ElapsedMS: milliseconds(result.Elapsed),
		Acknowledged: result.Acknowledged, Warning: string(result.Warning), Demo: program.IsDemo(), FaultHit: faultHit(),
	}
	if brought := result.Funding; brought != nil {
		object.Funding = &topupFunding{Order: brought.Entry.Order, Source: brought.Entry.Source, AmountFen: brought.Entry.Amount}
	}
	if result.State != nil {
		object.State = result.State.State
		if result.State.ReceiptBody != nil {
			object.Receipt = receiptObject(*result.State.ReceiptBody)
		}
		if result.State.State == wallet.StateLoaded {
			object.Stage = wallet.StageConfirmed
		}
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, object.Demo)
		fmt.Fprintln(w, c.t("console.toppedUp", "Amount", object.AmountFen.Yuan(), "After", object.BalanceAfterFen.Yuan()))
		c.rows(w, row{"console.order", object.Order}, row{"console.proof", object.TAC.String()})
		if !object.Acknowledged {
			fmt.Fprintln(w, c.t("console.notAcknowledged"))
		}
		if object.Warning != "" {
			fmt.Fprintf(w, "! %s\n", c.t("warning."+object.Warning))
		}
	})
}
