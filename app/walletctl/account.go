package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

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

type accountCmd struct{}

func (accountCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	account, err := program.Core.Account(ctx)
	if err != nil {
		return err
	}
	object := map[string]any{"account": map[string]any{
		"phone": account.Phone, "state": account.State, "tier": account.Tier, "mainFen": account.Main, "heldFen": account.Held,
		"limits": map[string]any{
			"purseCapFen": account.Limits.PurseCap, "loadMinFen": account.Limits.LoadMin, "loadMaxFen": account.Limits.LoadMax,
			"cardDayCount": account.Limits.CardDayCount, "cardDaySumFen": account.Limits.CardDaySum,
			"accountDaySumFen": account.Limits.AccountDaySum, "deviceDaySumFen": account.Limits.DeviceDaySum,
			"loadedTodayFen": account.LoadedToday, "resets": account.LimitsReset.In(shanghai).Format(time.RFC3339),
		},
	}}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		con.rows(w,
			row{"console.phone", account.Phone},
			row{"console.state", con.named("console.accountState.", account.State)},
			row{"console.mainAccount", con.yuan(account.Main)},
			row{"console.held", con.yuan(account.Held)})
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

type cardsCmd struct {
	List cardsListCmd `cmd:"" default:"1" help:"Cards of the account."`
	Add  cardsAddCmd  `cmd:"" help:"Add the card on the reader."`
}

type cardsListCmd struct{}

func (cardsListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	account, err := program.Core.Account(ctx)
	if err != nil {
		return err
	}
	cards := []map[string]any{}
	for _, card := range account.Cards {
		cards = append(cards, map[string]any{"asnMasked": card.ASN.Masked(), "numberMasked": card.ASN.Masked(), "state": card.State, "profile": card.Profile, "openOrder": orNull(card.OpenOrder)})
	}
	return con.print(map[string]any{"cards": cards}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(cards) == 0 {
			fmt.Fprintln(w, con.t("console.noCards"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", con.t("console.card"), con.t("console.state"), con.t("console.openOrder"))
		for _, card := range account.Cards {
			fmt.Fprintf(w, "%s\t%s\t%s\n", card.ASN.Masked(), con.named("console.cardState.", card.State), orNumberless(card.OpenOrder))
		}
	})
}

type cardsAddCmd struct{}

func (cardsAddCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	card, err := program.Core.AddCard(ctx)
	if err != nil {
		return err
	}
	object := map[string]any{"cards": []map[string]any{{"asnMasked": card.ASN.Masked(), "state": card.State, "profile": card.Profile}}}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.cardAdded", "Card", card.ASN.Masked()))
	})
}
