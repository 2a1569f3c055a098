package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type bankCmd struct {
	List   bankListCmd   `cmd:"" default:"1" help:"Bound bank cards; in a demo, also the bank card that it has for you."`
	Bind   bankBindCmd   `cmd:"" help:"Bind a bank card: the bank sends a code to your phone."`
	Unbind bankUnbindCmd `cmd:"" help:"End a binding."`
	Return bankReturnCmd `cmd:"" help:"Send money from the main account back to a bound bank card."`
}

// bindingObject is a bound card in JSON.
func bindingObject(one api.BankBinding) map[string]any {
	return map[string]any{
		"id": one.ID, "bank": one.Bank, "name": one.Name, "last4": one.Last4, "state": one.State, "version": one.Version,
		"codeAboveFen": one.CodeAbove, "returnableFen": one.Returnable, "created": stamp(one.Created),
	}
}

type bankListCmd struct{}

func (bankListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	banks, err := program.Core.Banks(ctx)
	if err != nil {
		return err
	}
	object := map[string]any{"banks": []map[string]any{}, "bindings": []map[string]any{}}
	names, bindings := []map[string]any{}, []map[string]any{}
	for _, one := range banks.Banks {
		names = append(names, map[string]any{"bank": one.Bank, "name": one.Name, "reachable": one.Reachable})
	}
	for _, one := range banks.Bindings {
		bindings = append(bindings, bindingObject(one))
	}
	object["banks"], object["bindings"] = names, bindings
	var demo api.BankDemo
	if program.IsDemo() && len(banks.Banks) > 0 && banks.Banks[0].Reachable {
		if demo, err = program.Core.BankDemo(ctx); err == nil { // without it the list is still right
			cards := []map[string]any{}
			for _, one := range demo.Cards {
				cards = append(cards, map[string]any{"card": one.Card, "name": one.Name, "phone": one.Phone})
			}
			object["demoCards"] = cards
		}
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		con.printBindings(w, banks, demo)
	})
}

func (c *console) printBindings(w io.Writer, banks api.Banks, demo api.BankDemo) {
	switch {
	case len(banks.Banks) == 0:
		fmt.Fprintln(w, c.t("console.bank.none"))
	case !banks.Banks[0].Reachable:
		fmt.Fprintln(w, c.t("console.bank.unreachable"))
	}
	if len(banks.Bindings) == 0 {
		fmt.Fprintln(w, c.t("console.bank.noCards"))
	} else {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.t("console.bank.id"), c.t("console.bank.bank"), c.t("console.bank.card"), c.t("console.state"),
			padded(c.t("console.bank.returnable"), amountWidth))
	}
	for _, one := range banks.Bindings {
		fmt.Fprintf(w, "%s\t%s\t…%s\t%s\t%s\n", one.ID, one.Name, one.Last4, c.named("console.bank.state.", one.State), padded(one.Returnable.Yuan(), amountWidth))
	}
	for _, one := range demo.Cards {
		if slices.ContainsFunc(banks.Bindings, func(b api.BankBinding) bool { return b.State == api.BankBound && strings.HasSuffix(one.Card, b.Last4) }) {
			continue
		}
		fmt.Fprintln(w, c.t("console.bank.demoCard", "Card", one.Card, "Name", one.Name, "Phone", one.Phone))
	}
}

type bankBindCmd struct {
	Card      string `placeholder:"N" help:"Number of the bank card; asked for without it, the demo bank's own with --demo-credentials."`
	Name      string `placeholder:"NAME" help:"Name of its holder."`
	Phone     string `placeholder:"P" help:"Phone number that the bank knows."`
	CodeStdin bool   `name:"code-stdin" help:"Read the bank's code from standard input."`
}

func (cmd bankBindCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	card, err := cmd.facts(ctx, con, program)
	if err != nil {
		return err
	}
	bound, err := program.Core.BindBank(ctx, card, func(ctx context.Context, begun api.BankBinding, again bool) (string, error) {
		if again {
			con.say(con.t("error.BANK_CODE_WRONG.title"))
			if program.DemoCredentials() != nil || cmd.CodeStdin {
				return "", &core.Failure{Code: "BANK_CODE_WRONG"}
			}
		} else {
			con.say(con.t("console.bank.codeSent", "Bank", begun.Name, "Last4", begun.Last4))
		}
		return con.bankMessageCode(ctx, program, cmd.CodeStdin)
	})
	if err != nil {
		return err
	}
	return con.print(map[string]any{"binding": bindingObject(bound)}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.bank.bound", "Bank", bound.Name, "Last4", bound.Last4, "ID", bound.ID))
	})
}

// facts completes what stands on the command line: from the demo bank, or by asking.
func (cmd bankBindCmd) facts(ctx context.Context, con *console, program *wire.Program) (api.BankCard, error) {
	card := api.BankCard{Number: cmd.Card, Name: cmd.Name, Phone: cmd.Phone}
	if cmd.Card == "" && program.DemoCredentials() != nil {
		demo, err := program.Core.BankDemo(ctx)
		if err != nil {
			return card, err
		}
		if len(demo.Cards) > 0 {
			own := demo.Cards[0]
			return api.BankCard{Number: own.Card, Name: own.Name, Phone: own.Phone}, nil
		}
	}
	for _, missing := range []struct {
		text *string
		key  string
		flag string
	}{{&card.Number, "console.bank.askCard", "--card"}, {&card.Name, "console.bank.askName", "--name"}, {&card.Phone, "console.bank.askPhone", "--phone"}} {
		if *missing.text != "" {
			continue
		}
		if !con.interactive() {
			return card, &core.Failure{Code: "USAGE", Err: errors.New(missing.flag + " is missing, and there is no terminal to ask on")}
		}
		fmt.Fprint(con.err, con.t(missing.key)+": ")
		text, err := con.line()
		if err != nil {
			return card, err
		}
		*missing.text = text
	}
	return card, nil
}

// bankMessageCode is the code that the bank has just sent: a demo reads the demo
// bank's message, a person types it.
func (c *console) bankMessageCode(ctx context.Context, program *wire.Program, fromStdin bool) (string, error) {
	if program.DemoCredentials() == nil {
		return c.secret(c.t("console.bank.code"), fromStdin)
	}
	demo, err := program.Core.BankDemo(ctx)
	if err != nil {
		return "", err
	}
	if len(demo.Messages) == 0 {
		return "", &core.Failure{Code: "BANK_CODE_NEEDED"}
	}
	return demo.Messages[0].Code, nil
}

type bankUnbindCmd struct {
	ID string `arg:"" help:"As bank list shows it."`
}

func (cmd bankUnbindCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	unbound, err := program.Core.UnbindBank(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return con.print(map[string]any{"binding": bindingObject(unbound)}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.bank.unbound", "Bank", unbound.Name, "Last4", unbound.Last4))
	})
}

type bankReturnCmd struct {
	Amount        string `required:"" placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00."`
	ID            string `placeholder:"ID" help:"As bank list shows it; the only bound card without it."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the payment password from standard input."`
}

func (cmd bankReturnCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, cmd.Yes)
	if err != nil {
		return err
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	secret, err := con.paymentPassword(program, cmd.PasswordStdin)
	if err != nil {
		return err
	}
	told, err := program.Core.ReturnToBank(ctx, core.BankReturnAsk{
		Binding: cmd.ID, Amount: amount, Secret: secret,
		Confirm: func(_ context.Context, amount wallet.Fen, to api.BankBinding) error {
			return con.confirm(con.t("console.bank.confirmReturn", "Amount", amount.Yuan(), "Bank", to.Name, "Last4", to.Last4), cmd.Yes)
		},
	})
	if err != nil {
		return err
	}
	object := map[string]any{
		"order": told.Return, "kind": core.KindBankReturn, "state": told.State, "amountFen": told.Amount, "returnedFen": told.Returned,
		"binding": told.Binding, "last4": told.Last4, "created": stamp(told.Created), "demo": program.IsDemo(),
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.bank.returned", "Amount", told.Returned.Yuan(), "Bank", told.Bank, "Last4", told.Last4))
		con.rows(w, row{"console.order", told.Return})
	})
}

// gatewayWait is for how long a payment at the bank's page is waited for.
const gatewayWait = 10 * time.Minute

// completeBank adds what a payment from a bank asks the person for.
func (c *console) completeBank(ctx context.Context, program *wire.Program, from *core.MoneySource, fromStdin bool) error {
	if from == nil || from.Source.Kind != api.FundingBank {
		return nil
	}
	if from.Source.ID == api.BankGateway {
		from.Wait = gatewayWait
		from.Page = func(address string) { fmt.Fprintln(c.err, c.t("console.bank.page", "URL", address)) }
		return nil
	}
	if from.Source.ID == "" {
		banks, err := program.Core.Banks(ctx)
		if err != nil {
			return err
		}
		for _, one := range banks.Bindings {
			if one.State == api.BankBound {
				from.Source.ID = one.ID
			}
		}
		if from.Source.ID == "" {
			return &core.Failure{Code: "BANK_BINDING"}
		}
	}
	from.Code = func(ctx context.Context, binding string, amount wallet.Fen) (*api.SMSCode, error) {
		banks, err := program.Core.Banks(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range banks.Bindings {
			if one.ID == binding && amount > one.CodeAbove && one.State == api.BankBound {
				return c.payCode(ctx, program, one, amount, fromStdin)
			}
		}
		return nil, nil
	}
	return nil
}

// payCode asks the bank for a code for one payment, and the person for what came.
func (c *console) payCode(ctx context.Context, program *wire.Program, card api.BankBinding, amount wallet.Fen, fromStdin bool) (*api.SMSCode, error) {
	sent, err := program.Core.Platform.BankCode(ctx, card.ID, amount)
	if err != nil {
		return nil, err
	}
	c.say(c.t("console.bank.codeSent", "Bank", card.Name, "Last4", card.Last4))
	code, err := c.bankMessageCode(ctx, program, fromStdin)
	return &api.SMSCode{CodeID: sent.CodeID, Code: code}, err
}
