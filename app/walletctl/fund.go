package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// voucherFlags say where serial and PIN of a voucher are read from. They are never
// arguments: every user of a machine sees those.
type voucherFlags struct {
	VoucherFile  string `name:"voucher-file" type:"existingfile" placeholder:"FILE" help:"Read a voucher's serial and PIN from a file: two lines, or one with a space or | between."`
	VoucherStdin bool   `name:"voucher-stdin" help:"Read a voucher's serial and PIN from the first lines of standard input."`
}

type fundCmd struct {
	Amount        string `placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00. A voucher needs none."`
	Source        string `required:"" placeholder:"S" help:"voucher, bank:ID (bank alone: the only bound card), or gateway (the bank's page in a browser)."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the payment password from standard input; a voucher needs none."`
	voucherFlags
}

type fundObject struct {
	Order          string              `json:"order"`
	Kind           string              `json:"kind"`
	State          wallet.FundingState `json:"state"`
	Stage          wallet.Stage        `json:"stage"`
	Source         string              `json:"source"`
	AmountFen      wallet.Fen          `json:"amountFen"`
	MainFen        wallet.Fen          `json:"mainFen"`
	Requests       int                 `json:"requests"`
	RequestsWaited int                 `json:"requestsWaited"`
	ElapsedMS      float64             `json:"elapsedMS"`
	Receipt        map[string]any      `json:"receipt"`
	Demo           bool                `json:"demo"`
	FaultHit       *bool               `json:"faultHit,omitempty"`
}

func (cmd fundCmd) Run(ctx context.Context, con *console) error {
	var amount wallet.Fen
	if cmd.Amount != "" {
		var err error
		if amount, err = con.amount(cmd.Amount, cmd.Yes); err != nil {
			return err
		}
	}
	source, err := parseSource(cmd.Source)
	switch {
	case err != nil:
		return err
	case source.Kind == api.FundingBank && amount == 0:
		return &core.Failure{Code: "USAGE", Err: errors.New("--amount is missing: only a voucher knows what it is worth")}
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	from, err := con.moneySource(source, cmd.voucherFlags)
	if err != nil {
		return err
	}
	if err := con.completeBank(ctx, program, from, cmd.PasswordStdin); err != nil {
		return err
	}
	if from.Source.ID == api.BankGateway {
		from.Secret = func(context.Context) (string, error) { return "", nil } // the person pays at the bank itself
	}
	if from.Secret == nil {
		if from.Secret, err = con.paymentPassword(program, cmd.PasswordStdin); err != nil {
			return err
		}
	}
	result, err := program.Core.Fund(ctx, core.FundAsk{
		Amount: amount, From: *from,
		Confirm: func(_ context.Context, what core.FundConfirmation) error { return con.confirmFund(what, cmd.Yes) },
	})
	if err != nil {
		return err
	}
	return con.printFunded(program, result)
}

// parseSource reads voucher or bank:ID.
func parseSource(text string) (api.FundingSource, error) {
	id, bank := strings.CutPrefix(text, api.FundingBank+":")
	switch {
	case text == api.BankGateway:
		return api.FundingSource{Kind: api.FundingBank, ID: api.BankGateway}, nil
	case text == api.FundingBank: // the only bound card
		return api.FundingSource{Kind: api.FundingBank}, nil
	case text == api.FundingVoucher:
		return api.FundingSource{Kind: api.FundingVoucher}, nil
	case bank && id != "":
		return api.FundingSource{Kind: api.FundingBank, ID: id}, nil
	}
	return api.FundingSource{}, &core.Failure{Code: "USAGE", Err: fmt.Errorf("source %q is none of voucher, bank:ID, gateway", text)}
}

// moneySource completes a source: a voucher's serial and PIN are read now, so that the
// confirmation can name it; a bank takes the payment password later.
func (c *console) moneySource(source api.FundingSource, flags voucherFlags) (*core.MoneySource, error) {
	from := &core.MoneySource{Source: source}
	if source.Kind != api.FundingVoucher {
		return from, nil
	}
	serial, pin, err := c.voucher(flags)
	if err != nil {
		return nil, err
	}
	from.Source.Serial = serial
	from.Secret = func(context.Context) (string, error) { return pin, nil }
	return from, nil
}

// voucherFileMax is far more than two numbers.
const voucherFileMax = 4096

func (c *console) voucher(flags voucherFlags) (serial, pin string, err error) {
	switch {
	case flags.VoucherFile != "":
		file, err := os.Open(flags.VoucherFile)
		if err != nil {
			return "", "", &core.Failure{Code: "USAGE", Err: err}
		}
		defer file.Close()
		raw, err := io.ReadAll(io.LimitReader(file, voucherFileMax))
		if err != nil {
			return "", "", &core.Failure{Code: "USAGE", Err: err}
		}
		return twoNumbers(string(raw))
	case flags.VoucherStdin:
		first, err := c.line()
		if err != nil {
			return "", "", &core.Failure{Code: "USAGE", Err: errors.New("standard input has no line for the voucher")}
		}
		if serial, pin, err = twoNumbers(first); err == nil {
			return serial, pin, nil
		}
		second, err := c.line()
		if err != nil {
			return "", "", &core.Failure{Code: "VOUCHER_FORM"}
		}
		return twoNumbers(first + "\n" + second)
	case !c.interactive():
		return "", "", &core.Failure{Code: "USAGE", Err: errors.New("no terminal to ask on: use --voucher-file or --voucher-stdin")}
	}
	fmt.Fprint(c.err, c.t("console.voucherSerial")+": ")
	if serial, err = c.line(); err != nil {
		return "", "", err
	}
	if pin, err = c.secret(c.t("console.voucherPIN"), false); err != nil {
		return "", "", err
	}
	return twoNumbers(serial + "\n" + pin)
}

// voucherDigits is the length of serial and PIN.
const voucherDigits = 18

// twoNumbers reads serial and PIN. People type them in groups: dashes do not count,
// and neither do spaces where lines or a bar keep the numbers apart.
func twoNumbers(text string) (serial, pin string, err error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r", ""))
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '|' })
	if len(parts) == 1 {
		parts = strings.Fields(text)
	}
	numbers := make([]string, len(parts))
	for i, part := range parts {
		numbers[i] = strings.NewReplacer(" ", "", "\t", "", "-", "").Replace(part)
	}
	if len(numbers) != 2 || !isVoucherNumber(numbers[0]) || !isVoucherNumber(numbers[1]) {
		return "", "", &core.Failure{Code: "VOUCHER_FORM"}
	}
	return numbers[0], numbers[1], nil
}

func isVoucherNumber(text string) bool {
	return len(text) == voucherDigits && strings.Trim(text, "0123456789") == ""
}

func (c *console) confirmFund(what core.FundConfirmation, yes bool) error {
	key := "console.confirmFund"
	if what.Amount == 0 {
		key = "console.confirmVoucher"
	}
	return c.confirm(c.t(key, "Amount", what.Amount.Yuan(), "Source", c.sourceName(what.Source)), yes)
}

// sourceName is where money comes from, in words: of a voucher the last digits.
func (c *console) sourceName(source string) string {
	kind, id, _ := strings.Cut(source, ":")
	if kind == api.FundingVoucher && len(id) > 4 {
		id = "…" + id[len(id)-4:]
	}
	if kind == api.FundingBank && id == api.BankGateway {
		kind = id
	}
	if !c.texts.Has("console.source." + kind) {
		return source
	}
	return c.t("console.source."+kind, "ID", id)
}

func (c *console) printFunded(program *wire.Program, result core.FundResult) error {
	object := fundObject{
		Order: result.Entry.Order, Kind: wallet.KindFunding, State: result.Statement.State, Stage: result.Entry.Stage, Source: result.Entry.Source,
		AmountFen: result.Statement.Amount, Requests: result.Requests, RequestsWaited: result.Requests,
		ElapsedMS: milliseconds(result.Elapsed), Demo: program.IsDemo(), FaultHit: faultHit(),
	}
	if body := result.Statement.ReceiptBody; body != nil {
		object.MainFen, object.Receipt = body.MainBalance, fundingReceiptObject(*body)
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, object.Demo)
		fmt.Fprintln(w, c.t("console.funded", "Amount", object.AmountFen.Yuan(), "Source", c.sourceName(object.Source), "Main", object.MainFen.Yuan()))
		c.rows(w, row{"console.order", object.Order})
	})
}

// fundingReceiptObject shows a receipt as on paper.
func fundingReceiptObject(receipt wallet.FundingReceipt) map[string]any {
	return map[string]any{
		"order": receipt.Funding, "kind": wallet.KindFunding, "amountFen": receipt.Amount, "source": receipt.Source,
		"reference": orNull(receipt.Reference), "mainBalanceFen": receipt.MainBalance, "state": wallet.FundingDone,
		"time": receipt.Time.In(shanghai).Format(time.RFC3339), "demo": receipt.Demo,
	}
}

func (c *console) printFundingReceipt(receipt wallet.FundingReceipt) error {
	return c.print(map[string]any{"file": nil, "receipt": fundingReceiptObject(receipt)}, func(w io.Writer) {
		c.demoMark(w, receipt.Demo)
		c.rows(w,
			row{"console.order", receipt.Funding},
			row{"console.amount", c.yuan(receipt.Amount)},
			row{"console.sourceOf", c.sourceName(receipt.Source)},
			row{"console.sourceReference", orNumberless(receipt.Reference)},
			row{"console.state", c.t("console.settled." + string(wallet.FundingDone))},
			row{"console.mainAfter", c.yuan(receipt.MainBalance)},
			row{"console.time", local(receipt.Time)})
	})
}
