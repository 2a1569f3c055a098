package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
)

type loginCmd struct {
	Phone         string `placeholder:"P" help:"Phone number of the account; the demo's own without one."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the login password, then an SMS code, from standard input."`
	PasswordFile  string `name:"password-file" type:"existingfile" placeholder:"FILE" help:"Read the login password from a file."`
}

func (cmd loginCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	demo := program.DemoCredentials()
	phone := cmd.Phone
	if phone == "" && demo != nil {
		phone = program.DemoPhone()
	}
	if phone == "" {
		return &core.Failure{Code: "USAGE", Err: errors.New("--phone is missing")}
	}
	password, err := cmd.password(con, program)
	if err != nil {
		return err
	}
	err = program.Core.Login(ctx, phone, password, func(context.Context, string) (string, error) {
		if demo != nil {
			return demo.SMSCode, nil
		}
		return con.secret(con.t("console.smsCode"), cmd.PasswordStdin)
	})
	if err != nil {
		return err
	}
	session := program.Core.Platform.Session()
	object := map[string]any{"user": session.User, "phone": session.Phone, "demo": session.Demo, "cards": len(session.Cards), "openOrders": len(session.OpenOrders)}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, session.Demo)
		fmt.Fprintln(w, con.t("console.loggedIn", "Phone", session.Phone))
	})
}

func (cmd loginCmd) password(con *console, program *wire.Program) (string, error) {
	if demo := program.DemoCredentials(); demo != nil {
		return demo.LoginPassword, nil
	}
	if cmd.PasswordFile == "" {
		return con.secret(con.t("console.loginPassword"), cmd.PasswordStdin)
	}
	raw, err := os.ReadFile(cmd.PasswordFile)
	if err != nil {
		return "", &core.Failure{Code: "USAGE", Err: err}
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

type logoutCmd struct{}

func (logoutCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Core.Logout(ctx); err != nil {
		return err
	}
	return con.print(map[string]any{"loggedIn": false}, func(w io.Writer) { fmt.Fprintln(w, con.t("console.loggedOut")) })
}

type accountShowCmd struct{}

func (accountShowCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		account, err := program.Core.Account(ctx)
		return con.printAccount(program, account, err)
	})
}

type statementCmd struct {
	From string `placeholder:"DATE"`
	To   string `placeholder:"DATE"`
	Type string
}

func (cmd statementCmd) Run(ctx context.Context, con *console) error {
	from, err := day(cmd.From)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	to, err := day(cmd.To)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if !to.IsZero() {
		to = to.AddDate(0, 0, 1)
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	statement, err := program.Core.Statement(ctx, from, to, cmd.Type)
	if err != nil {
		return err
	}
	lines := []map[string]any{}
	for _, line := range statement.Lines {
		lines = append(lines, map[string]any{"time": stamp(line.Time), "type": line.Type, "amountFen": line.Amount, "balanceFen": line.Balance, "order": orNull(line.Order)})
	}
	return con.print(map[string]any{"lines": lines}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(lines) == 0 {
			fmt.Fprintln(w, con.t("console.noMovements"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", con.t("console.time"), con.t("console.type"), padded(con.t("console.amountYuan"), amountWidth),
			padded(con.t("console.balanceYuan"), amountWidth), con.t("console.order"))
		for _, line := range statement.Lines {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", local(line.Time), con.named("console.movement.", line.Type),
				padded(signed(line.Amount), amountWidth), padded(line.Balance.Yuan(), amountWidth), line.Order)
		}
	})
}
