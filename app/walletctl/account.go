package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
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
	err = program.Core.Login(ctx, phone, password, con.smsCode(program, phone, cmd.PasswordStdin))
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
	if cmd.PasswordFile != "" {
		return filePassword(cmd.PasswordFile)
	}
	return con.knownPassword(program, "console.loginPassword", cmd.PasswordStdin, func(d *api.DemoCredentials) string { return d.LoginPassword })
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
