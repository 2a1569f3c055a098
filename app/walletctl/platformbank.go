package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

type platformBankCmd struct {
	Serve     bankServeCmd     `cmd:"" help:"Run the virtual bank as a process."`
	Card      bankCardCmd      `cmd:"" help:"Bank cards."`
	PayOrder  bankPayCmd       `cmd:"" name:"pay-order" help:"Pay an order of the gateway at the bank's own counter."`
	Check     bankCheckCmd     `cmd:"" help:"Audit the bank's books."`
	Statement bankStatementCmd `cmd:"" help:"Print a day's statement file."`
}

type bankCardCmd struct {
	New bankCardNewCmd `cmd:"" help:"Open an account with a card and print its made-up number."`
}

// existingBank opens a directory that holds a bank.
func existingBank(dir string) (*mockbank.Bank, error) {
	if !mockbank.Exists(dir) {
		return nil, &core.Failure{Code: "USAGE", Err: fmt.Errorf("%s holds no bank", dir)}
	}
	return openBankDir(mockbank.Config{Dir: dir})
}

func openBankDir(config mockbank.Config) (*mockbank.Bank, error) {
	bank, err := mockbank.Open(config)
	if err != nil {
		return nil, &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return bank, nil
}

type bankServeCmd struct {
	Dir        string `required:"" type:"path" placeholder:"DIR"`
	Listen     string `default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Freeze     bool   `help:"At first start: payments are frozen and captured instead of debited at once."`
	RefundOnce bool   `name:"refund-once" help:"At first start: every payment can be refunded once."`
	Legacy     bool   `help:"At first start: callbacks are signed as of old."`
}

func (cmd bankServeCmd) Run(ctx context.Context, con *console) error {
	config := mockbank.Config{Dir: cmd.Dir, Freeze: cmd.Freeze, RefundOnce: cmd.RefundOnce, Legacy: cmd.Legacy}
	if con.Fault != "" {
		faults := mockbank.NewFaults()
		if err := faults.Arm(mockbank.Fault(con.Fault), 1); err != nil {
			return &core.Failure{Code: "USAGE", Err: fmt.Errorf("%w: %v", err, mockbank.AllFaults)}
		}
		faults.Into(&config)
	}
	bank, err := openBankDir(config)
	if err != nil {
		return err
	}
	defer bank.Close()
	server, err := bank.Serve(ctx, cmd.Listen)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	defer server.Close()
	fmt.Fprintf(con.out, "ready %s partner=%s\n", server.URL, server.PartnerFile)
	<-ctx.Done()
	return nil
}

type bankCardNewCmd struct {
	Dir     string `required:"" type:"path" placeholder:"DIR"`
	Name    string `required:"" placeholder:"NAME"`
	Phone   string `required:"" placeholder:"P"`
	Balance string `required:"" placeholder:"YUAN"`
	Credit  bool   `help:"A credit card, which is no source of money here."`
}

func (cmd bankCardNewCmd) Run(ctx context.Context, con *console) error {
	balance, err := wallet.ParseYuan(cmd.Balance)
	if err != nil {
		return amountFailure(err)
	}
	bank, err := openBankDir(mockbank.Config{Dir: cmd.Dir})
	if err != nil {
		return err
	}
	defer bank.Close()
	number, err := bank.NewCard(ctx, cmd.Name, cmd.Phone, balance, cmd.Credit)
	if errors.Is(err, mockbank.ErrNewCard) {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return con.print(map[string]any{"card": number, "name": cmd.Name, "phone": cmd.Phone, "balanceFen": balance, "credit": cmd.Credit}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.bank.cardMade", "Card", number, "Name", cmd.Name, "Phone", cmd.Phone, "Balance", balance.Yuan()))
	})
}

type bankPayCmd struct {
	Dir   string `required:"" type:"path" placeholder:"DIR"`
	Order string `required:"" placeholder:"N" help:"Order number as fund --source gateway and orders show it."`
	Card  string `required:"" placeholder:"N" help:"Number of the bank card that pays."`
}

func (cmd bankPayCmd) Run(ctx context.Context, con *console) error {
	bank, err := existingBank(cmd.Dir)
	if err != nil {
		return err
	}
	defer bank.Close()
	amount, err := bank.PayOrder(ctx, cmd.Order, cmd.Card)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	return con.print(map[string]any{"order": cmd.Order, "amountFen": amount}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.bank.orderPaid", "Order", cmd.Order, "Amount", amount.Yuan()))
	})
}

type bankCheckCmd struct {
	Dir string `required:"" type:"path" placeholder:"DIR"`
}

func (cmd bankCheckCmd) Run(ctx context.Context, con *console) error {
	bank, err := existingBank(cmd.Dir)
	if err != nil {
		return err
	}
	defer bank.Close()
	report, err := bank.Check(ctx)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	err = con.print(report, func(w io.Writer) {
		con.rows(w,
			row{"console.imbalance", con.yuan(report.ImbalanceFen)},
			row{"console.bank.customers", con.yuan(report.CustomersFen)},
			row{"console.bank.frozen", con.yuan(report.FrozenFen)},
			row{"console.bank.partners", con.yuan(report.PartnersFen)},
			row{"console.bank.opening", con.yuan(report.OpeningFen)},
			row{"console.bank.cards", fmt.Sprint(report.Cards)})
	})
	if err == nil && !report.OK() {
		return &core.Failure{Code: "PLATFORM_DIR", Err: errors.New("the bank's books do not balance")}
	}
	return err
}

type bankStatementCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	Date string `required:"" placeholder:"DATE" help:"Business day, such as 2026-03-15."`
	To   string `type:"path" placeholder:"FILE" help:"Write the file, and its signature beside it as FILE.sig."`
}

func (cmd bankStatementCmd) Run(ctx context.Context, con *console) error {
	at, err := day(cmd.Date)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	bank, err := existingBank(cmd.Dir)
	if err != nil {
		return err
	}
	defer bank.Close()
	file, signature, err := bank.Statement(ctx, at.Format("20060102"))
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	if cmd.To != "" {
		if err := errors.Join(os.WriteFile(cmd.To, file, 0o600), os.WriteFile(cmd.To+".sig", signature, 0o600)); err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	object := map[string]any{"day": at.Format("2006-01-02"), "lines": strings.Count(string(file), "\nD|"), "file": orNull(cmd.To), "text": string(file), "signature": wallet.Hex(signature)}
	return con.print(object, func(w io.Writer) { fmt.Fprint(w, string(file)) })
}
