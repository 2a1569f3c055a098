package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
)

// proofFlags are how a person proves to be the account's own.
type proofFlags struct {
	PasswordStdin bool   `name:"password-stdin" help:"Read the login password, then an SMS code, from standard input."`
	PasswordFile  string `name:"password-file" type:"existingfile" placeholder:"FILE" help:"Read the login password from a file."`
}

// sms answers the code that was sent to the phone.
func (f proofFlags) sms(con *console, program *wire.Program) core.SMSCode {
	return func(ctx context.Context, codeID string) (string, error) {
		return con.smsCode(program, program.Core.Platform.Session().Phone, f.PasswordStdin)(ctx, codeID)
	}
}

func (f proofFlags) password(con *console, program *wire.Program) (string, error) {
	return loginCmd{PasswordStdin: f.PasswordStdin, PasswordFile: f.PasswordFile}.password(con, program)
}

// online runs work with the platform.
func (c *console) online(ctx context.Context, work func(*wire.Program) error) error {
	program, err := c.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	return work(program)
}

type freezeCmd struct {
	Until string `placeholder:"DATE" help:"Thaws by itself at the beginning of this day (YYYY-MM-DD, Asia/Shanghai)."`
}

func (cmd freezeCmd) Run(ctx context.Context, con *console) error {
	until, err := day(cmd.Until)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	return con.online(ctx, func(program *wire.Program) error {
		account, err := program.Core.Freeze(ctx, until)
		return con.printAccount(program, account, err)
	})
}

type thawCmd struct{ proofFlags }

func (cmd thawCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		password, err := cmd.password(con, program)
		if err != nil {
			return err
		}
		account, err := program.Core.Thaw(ctx, password, cmd.sms(con, program))
		return con.printAccount(program, account, err)
	})
}

type reportLossCmd struct {
	Card    string `placeholder:"N" help:"One card: its line in the list, or the end of its number. Without it the account with all its cards."`
	Written bool   `help:"In writing: the service counter lifts it, or replaces the card. Otherwise it ends after 5 days."`
	Yes     bool   `help:"Do not ask."`
}

func (cmd reportLossCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		if cmd.Card != "" {
			change := core.ChangeLoss
			if cmd.Written {
				change = core.ChangeLossWritten
			}
			return con.changeCard(ctx, program, core.CardAsk{Card: cmd.Card, Change: change})
		}
		if cmd.Written {
			if err := con.confirm(con.t("console.lossQuestion"), cmd.Yes); err != nil {
				return err
			}
		}
		account, err := program.Core.ReportLoss(ctx, cmd.Written)
		return con.printAccount(program, account, err)
	})
}

type accountCmd struct {
	Show  accountShowCmd  `cmd:"" default:"1" help:"State, money and limits of the account."`
	Close accountCloseCmd `cmd:"" help:"Close the account for good."`
}

type accountCloseCmd struct {
	WaivePurse   bool `name:"waive-purse" help:"Give up what the cards hold."`
	WaiveBalance bool `name:"waive-balance" help:"Give up the main account."`
	Yes          bool `help:"Do not ask."`
	proofFlags
}

func (cmd accountCloseCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		account, err := program.Core.Account(ctx)
		if err != nil {
			return err
		}
		question := con.t("console.closeQuestion", "Phone", account.Phone, "Main", account.Main.Yuan(), "WaiveBalance", cmd.WaiveBalance, "WaivePurse", cmd.WaivePurse)
		if err := con.confirm(question, cmd.Yes); err != nil {
			return err
		}
		password, err := cmd.password(con, program)
		if err != nil {
			return err
		}
		account, err = program.Core.CloseAccount(ctx, password, core.Closing{WaiveBalance: cmd.WaiveBalance, WaivePurse: cmd.WaivePurse}, cmd.sms(con, program))
		return con.printAccount(program, account, err)
	})
}

// printAccount shows an account: its state, since when, what is possible now, and what to
// do next.
func (c *console) printAccount(program *wire.Program, account api.Account, err error) error {
	if err != nil {
		return err
	}
	object := map[string]any{"account": map[string]any{
		"phone": account.Phone, "state": account.State, "standing": account.Standing, "since": orNoTime(account.StateSince), "until": orNoTime(account.StateUntil),
		"by": orNull(account.By), "allowed": account.Allowed, "tier": account.Tier, "mainFen": account.Main, "heldFen": account.Held,
		"limits": map[string]any{
			"purseCapFen": account.Limits.PurseCap, "loadMinFen": account.Limits.LoadMin, "loadMaxFen": account.Limits.LoadMax,
			"cardDayCount": account.Limits.CardDayCount, "cardDaySumFen": account.Limits.CardDaySum,
			"accountDaySumFen": account.Limits.AccountDaySum, "deviceDaySumFen": account.Limits.DeviceDaySum,
			"loadedTodayFen": account.LoadedToday, "resets": account.LimitsReset.In(shanghai).Format(time.RFC3339),
		},
		"limitStates": limitObjects(account.LimitStates),
	}}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		c.rows(w,
			row{"console.phone", account.Phone},
			row{"console.tier", c.named("console.tier.", account.Tier)},
			row{"console.state", c.stateWords(account)},
			row{"console.mainAccount", c.yuan(account.Main)},
			row{"console.held", c.yuan(account.Held)})
		c.printStanding(w, false, account.Standing, account.StateUntil)
		fmt.Fprintln(w)
		c.printLimitTable(w, account.LimitStates)
	})
}

// stateWords are state, who laid it, and since when.
func (c *console) stateWords(account api.Account) string {
	text := c.named("console.accountState.", account.State)
	if account.By != "" {
		text += c.t("console.comma") + c.named("console.by.", account.By)
	}
	if account.StateSince != nil && account.State != "NORMAL" {
		text += c.t("console.comma") + c.t("console.stateSince", "Time", local(*account.StateSince))
	}
	return text
}

// printStanding says what is possible now and what to do next.
func (c *console) printStanding(w io.Writer, ofCard bool, standing string, until *time.Time) {
	text, next := core.Standing(c.texts, ofCard, standing, timeOf(until))
	c.rows(w, row{"console.standing", text}, row{"console.next", next})
}

func timeOf(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// orNoTime is a time in RFC 3339, or null.
func orNoTime(at *time.Time) *string {
	if at == nil {
		return nil
	}
	text := stamp(*at)
	return &text
}

type cardsCmd struct {
	List    cardsListCmd    `cmd:"" default:"1" help:"Cards of the account."`
	Add     cardsAddCmd     `cmd:"" help:"Add the card on the reader."`
	Rename  cardsRenameCmd  `cmd:"" help:"Give a card a word of your own."`
	Remove  cardsRemoveCmd  `cmd:"" help:"Take a card out of the account."`
	Suspend cardsSuspendCmd `cmd:"" help:"Suspend a card (钱包暂停)."`
	Resume  cardsResumeCmd  `cmd:"" help:"Resume a card."`
	Found   cardsFoundCmd   `cmd:"" help:"A card that was reported lost is here again."`
}

// cardArg names a card of the account.
type cardArg struct {
	Card string `arg:"" name:"n" help:"Line of the list, or the end of the card's number (at least four digits)."`
}

type cardsRenameCmd struct {
	cardArg
	Label string `arg:"" optional:"" help:"At most 32 characters; without it the card has no name."`
}

type (
	cardsRemoveCmd  struct{ cardArg }
	cardsSuspendCmd struct{ cardArg }
	cardsResumeCmd  struct{ cardArg }
)

type cardsFoundCmd struct {
	cardArg
	CodeStdin bool `name:"code-stdin" help:"Read the SMS code from standard input."`
}

func (cmd cardsRenameCmd) Run(ctx context.Context, con *console) error {
	return con.changeCardOnline(ctx, core.CardAsk{Card: cmd.Card, Change: core.ChangeRename, Label: cmd.Label})
}

func (cmd cardsRemoveCmd) Run(ctx context.Context, con *console) error {
	return con.changeCardOnline(ctx, core.CardAsk{Card: cmd.Card, Change: core.ChangeRemove})
}

func (cmd cardsSuspendCmd) Run(ctx context.Context, con *console) error {
	return con.changeCardOnline(ctx, core.CardAsk{Card: cmd.Card, Change: core.ChangeSuspend})
}

func (cmd cardsResumeCmd) Run(ctx context.Context, con *console) error {
	return con.changeCardOnline(ctx, core.CardAsk{Card: cmd.Card, Change: core.ChangeResume})
}

func (cmd cardsFoundCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		sms := proofFlags{PasswordStdin: cmd.CodeStdin}.sms(con, program)
		return con.changeCard(ctx, program, core.CardAsk{Card: cmd.Card, Change: core.ChangeFound, SMS: sms})
	})
}

func (c *console) changeCardOnline(ctx context.Context, ask core.CardAsk) error {
	return c.online(ctx, func(program *wire.Program) error { return c.changeCard(ctx, program, ask) })
}

// cardChanged are the words for each change.
var cardChanged = map[core.CardChange]string{
	core.ChangeRemove: "console.cardRemoved", core.ChangeRename: "console.cardRenamed", core.ChangeSuspend: "console.cardSuspended",
	core.ChangeResume: "console.cardResumed", core.ChangeLoss: "console.cardLost", core.ChangeLossWritten: "console.cardLost",
	core.ChangeFound: "console.cardFound",
}

func (c *console) changeCard(ctx context.Context, program *wire.Program, ask core.CardAsk) error {
	card, err := program.Core.ChangeCard(ctx, ask)
	if err != nil {
		return err
	}
	return c.print(map[string]any{"cards": []ownCard{cardOf(card)}}, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		key, until := cardChanged[ask.Change], ""
		if ask.Change == core.ChangeRename && card.Label == "" {
			key = "console.cardUnnamed"
		}
		if card.StateUntil != nil {
			until = local(*card.StateUntil)
		}
		fmt.Fprintln(w, c.t(key, "Card", card.ASN.Masked(), "Label", card.Label, "Until", until))
		if card.Standing != "ACTIVE" && ask.Change != core.ChangeRemove {
			c.printStanding(w, true, card.Standing, card.StateUntil)
		}
	})
}

// ownCard is a card of the account.
type ownCard struct {
	ASNMasked    string   `json:"asnMasked"`
	NumberMasked string   `json:"numberMasked"`
	Label        *string  `json:"label"`
	State        string   `json:"state"`
	Standing     string   `json:"standing"`
	Since        *string  `json:"since"`
	Until        *string  `json:"until"`
	Allowed      []string `json:"allowed"`
	Profile      string   `json:"profile"`
	OpenOrder    *string  `json:"openOrder"`
}

func cardOf(card api.Card) ownCard {
	allowed := card.Allowed
	if allowed == nil {
		allowed = []string{}
	}
	return ownCard{
		ASNMasked: card.ASN.Masked(), NumberMasked: card.ASN.Masked(), Label: orNull(card.Label), State: card.State, Standing: card.Standing,
		Since: orNoTime(card.StateSince), Until: orNoTime(card.StateUntil), Allowed: allowed, Profile: card.Profile, OpenOrder: orNull(card.OpenOrder),
	}
}

type cardsListCmd struct{}

func (cardsListCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		account, err := program.Core.Account(ctx)
		if err != nil {
			return err
		}
		cards := []ownCard{}
		for _, card := range account.Cards {
			cards = append(cards, cardOf(card))
		}
		return con.print(map[string]any{"cards": cards}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			con.printCards(w, account.Cards)
		})
	})
}

// printCards lists the cards, and under them what those can do that do not work as usual.
func (c *console) printCards(w io.Writer, cards []api.Card) {
	if len(cards) == 0 {
		fmt.Fprintln(w, c.t("console.noCards"))
		return
	}
	fmt.Fprintf(w, "N\t%s\t%s\t%s\t%s\t%s\n", c.t("console.card"), c.t("console.label"), c.t("console.state"), c.t("console.since"), c.t("console.openOrder"))
	for i, card := range cards {
		since := "-"
		if card.StateSince != nil {
			since = local(*card.StateSince)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", i+1, card.ASN.Masked(), orNumberless(card.Label), c.named("console.cardState.", card.State), since, orNumberless(card.OpenOrder))
	}
	for i, card := range cards {
		if card.Standing != "ACTIVE" {
			text, next := core.Standing(c.texts, true, card.Standing, timeOf(card.StateUntil))
			fmt.Fprintf(w, "\n%d  %s\n   → %s\n", i+1, text, next)
		}
	}
}

type cardsAddCmd struct {
	PasswordStdin bool `name:"password-stdin" help:"Read a card PIN from standard input."`
}

func (cmd cardsAddCmd) Run(ctx context.Context, con *console) error {
	return con.online(ctx, func(program *wire.Program) error {
		card, err := program.Core.AddCard(ctx, con.pin(program, cmd.PasswordStdin))
		if err != nil {
			return err
		}
		return con.print(map[string]any{"cards": []ownCard{cardOf(card)}}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			fmt.Fprintln(w, con.t("console.cardAdded", "Card", card.ASN.Masked()))
		})
	})
}
