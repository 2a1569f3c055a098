package main

import (
	"context"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type staffAccountCmd struct {
	Show        staffAccountShowCmd   `cmd:"" help:"State of an account, what holds it, what is still in it, its cards."`
	PhoneState  staffPhoneStateCmd    `cmd:"" name:"phone-state" help:"What the operator says of the phone number."`
	RenamePhone staffRenamePhoneCmd   `cmd:"" name:"rename-phone" help:"Change of number: the same person, another phone number."`
	ChangeSIM   staffChangeSIMCmd     `cmd:"" name:"change-sim" help:"Another SIM under the same number: every computer is enrolled again."`
	ChangeOwner staffChangeOwnerCmd   `cmd:"" name:"change-owner" help:"The number has another owner: the former one's account is being closed."`
	Upgrade     staffUpgradeCmd       `cmd:"" help:"To real-name, after an identity document was checked."`
	Freeze      staffAccountFreezeCmd `cmd:"" help:"Freeze an account."`
	Thaw        staffAccountThawCmd   `cmd:"" help:"Thaw an account, whoever froze it."`
	Loss        staffAccountLossCmd   `cmd:"" help:"Take a report of loss in writing, of the account with all its cards."`
	Found       staffAccountFoundCmd  `cmd:"" help:"Lift a report of loss, the one in writing too."`
	Close       staffAccountCloseCmd  `cmd:"" help:"Begin to close an account; it is closed when nothing is owed any more."`
}

// accountFlags name an account and why something is done with it.
type accountFlags struct {
	Phone  string `required:"" placeholder:"P" help:"Phone number, or user identifier where the number is somebody else's by now."`
	Reason string `required:"" placeholder:"TEXT"`
}

func (f accountFlags) act(name string) api.StaffAccountAct {
	return api.StaffAccountAct{Phone: f.Phone, Act: name, Reason: f.Reason}
}

type staffAccountShowCmd struct {
	Phone string `required:"" placeholder:"P" help:"Phone number or user identifier."`
}

func (cmd staffAccountShowCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Account(ctx, cmd.Phone)
		return con.printStaffAccount(program, told, err)
	})
}

type staffPhoneStateCmd struct {
	accountFlags
	State string `required:"" enum:"active,suspended,cancelled" placeholder:"STATE" help:"active, suspended or cancelled."`
}

func (cmd staffPhoneStateCmd) Run(ctx context.Context, con *console) error {
	act := cmd.act(api.ActPhoneState)
	act.PhoneState = cmd.State
	return con.actOnAccount(ctx, act)
}

type staffRenamePhoneCmd struct {
	accountFlags
	To string `required:"" placeholder:"P" help:"The new phone number."`
}

func (cmd staffRenamePhoneCmd) Run(ctx context.Context, con *console) error {
	act := cmd.act(api.ActRenamePhone)
	act.NewPhone = cmd.To
	return con.actOnAccount(ctx, act)
}

type staffUpgradeCmd struct {
	accountFlags
	IDCheck string `name:"id-check" required:"" placeholder:"TEXT" help:"Which document was checked, in words; not its number."`
}

func (cmd staffUpgradeCmd) Run(ctx context.Context, con *console) error {
	act := cmd.act(api.ActUpgrade)
	act.IDCheck = cmd.IDCheck
	return con.actOnAccount(ctx, act)
}

type (
	staffChangeSIMCmd     struct{ accountFlags }
	staffChangeOwnerCmd   struct{ accountFlags }
	staffAccountFreezeCmd struct{ accountFlags }
	staffAccountThawCmd   struct{ accountFlags }
	staffAccountLossCmd   struct{ accountFlags }
	staffAccountFoundCmd  struct{ accountFlags }
	staffAccountCloseCmd  struct{ accountFlags }
)

func (cmd staffChangeSIMCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActChangeSIM))
}

func (cmd staffChangeOwnerCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActChangeOwner))
}

func (cmd staffAccountFreezeCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActFreeze))
}

func (cmd staffAccountThawCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActThaw))
}

func (cmd staffAccountLossCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActLoss))
}

func (cmd staffAccountFoundCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActFound))
}

func (cmd staffAccountCloseCmd) Run(ctx context.Context, con *console) error {
	return con.actOnAccount(ctx, cmd.act(api.ActClose))
}

func (c *console) actOnAccount(ctx context.Context, act api.StaffAccountAct) error {
	return c.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ActOnAccount(ctx, act)
		return c.printStaffAccount(program, told, err)
	})
}

func owedObject(owed api.Owed) map[string]any {
	return map[string]any{"mainFen": owed.Main, "heldFen": owed.Held, "purseFen": owed.Purse, "openOrders": owed.OpenOrders}
}

func staffCardObject(card api.StaffCard) map[string]any {
	return map[string]any{
		"asnMasked": card.ASN.Masked(), "state": card.State, "standing": card.Standing, "since": orNoTime(card.StateSince),
		"until": orNoTime(card.StateUntil), "provenFen": card.Proven, "openOrders": card.OpenOrders,
	}
}

func (c *console) printStaffAccount(program *wire.Program, told api.StaffAccount, err error) error {
	if err != nil {
		return err
	}
	holds, cards := []map[string]any{}, []map[string]any{}
	for _, hold := range told.Holds {
		holds = append(holds, map[string]any{"hold": hold.Hold, "since": stamp(hold.Since), "until": orNoTime(hold.Until), "by": hold.By, "reason": hold.Reason})
	}
	for _, card := range told.Cards {
		cards = append(cards, staffCardObject(card))
	}
	object := map[string]any{
		"user": told.User, "phone": told.Phone, "state": told.State, "standing": told.Standing, "since": orNoTime(told.StateSince),
		"until": orNoTime(told.StateUntil), "by": orNull(told.By), "holds": holds, "tier": told.Tier, "idCheck": orNull(told.IDCheck),
		"owed": owedObject(told.Owed), "cards": cards,
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		shown := api.Account{State: told.State, By: told.By, StateSince: told.StateSince}
		c.rows(w,
			row{"console.phone", told.Phone + "  " + told.User},
			row{"console.tier", c.named("console.tier.", told.Tier)},
			row{"console.state", c.stateWords(shown)},
			row{"console.owed", c.t("console.owedText", "Main", told.Owed.Main.Yuan(), "Held", told.Owed.Held.Yuan(), "Purse", told.Owed.Purse.Yuan(), "Orders", told.Owed.OpenOrders)})
		for _, hold := range told.Holds {
			until := ""
			if hold.Until != nil {
				until = " – " + local(*hold.Until)
			}
			c.rows(w, row{"console.holds", fmt.Sprintf("%s, %s, %s%s  %s", hold.Hold, c.named("console.by.", hold.By), local(hold.Since), until, hold.Reason)})
		}
		c.printStanding(w, false, told.Standing, told.StateUntil)
		for _, card := range told.Cards {
			c.printStaffCard(w, card)
		}
	})
}

func (c *console) printStaffCard(w io.Writer, card api.StaffCard) {
	fmt.Fprintf(w, "%s\t%s, %s, %s %s\n", c.t("console.card"), card.ASN.Masked(), c.named("console.cardState.", card.State), c.t("console.proven"), c.yuan(card.Proven))
}

type staffCardsCmd struct {
	Loss         staffCardLossCmd     `cmd:"" help:"Take a report of loss of one card in writing."`
	Found        staffCardFoundCmd    `cmd:"" help:"Lift a report of loss of one card."`
	Replace      staffReplaceCmd      `cmd:"" help:"A fresh card in the place of one lost in writing (补卡)."`
	Replacements staffReplacementsCmd `cmd:"" help:"Replacements that wait, or those of one card."`
	Move         staffMoveCmd         `cmd:"" help:"Propose that the proven balance of a replaced card moves; a second person confirms."`
}

// cardFlags name a card by its serial and why something is done with it.
type cardFlags struct {
	Card   string `required:"" placeholder:"SERIAL" help:"16 or 20 hex digits."`
	Reason string `required:"" placeholder:"TEXT"`
}

type (
	staffCardLossCmd  struct{ cardFlags }
	staffCardFoundCmd struct{ cardFlags }
)

func (cmd staffCardLossCmd) Run(ctx context.Context, con *console) error {
	return con.actOnCard(ctx, cmd.cardFlags, api.ActLoss)
}

func (cmd staffCardFoundCmd) Run(ctx context.Context, con *console) error {
	return con.actOnCard(ctx, cmd.cardFlags, api.ActFound)
}

func (c *console) actOnCard(ctx context.Context, flags cardFlags, act string) error {
	asn, err := wallet.ParseASN(flags.Card)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	return c.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ActOnCard(ctx, asn, api.StaffCardAct{Act: act, Reason: flags.Reason})
		if err != nil {
			return err
		}
		return c.print(map[string]any{"card": staffCardObject(told)}, func(w io.Writer) {
			c.demoMark(w, program.IsDemo())
			c.printStaffCard(w, told)
			c.printStanding(w, true, told.Standing, told.StateUntil)
		})
	})
}

type staffReplaceCmd struct {
	Lost   string `required:"" placeholder:"SERIAL" help:"The card that was reported lost in writing."`
	Fresh  string `required:"" placeholder:"SERIAL" help:"The new card: issued and in nobody's account, or in the same one."`
	Reason string `required:"" placeholder:"TEXT"`
}

func (cmd staffReplaceCmd) Run(ctx context.Context, con *console) error {
	request := api.StaffReplace{Reason: cmd.Reason}
	for text, asn := range map[string]*wallet.ASN{cmd.Lost: &request.Lost, cmd.Fresh: &request.Fresh} {
		var err error
		if *asn, err = wallet.ParseASN(text); err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ReplaceCard(ctx, request)
		if err != nil {
			return err
		}
		return con.print(replacementObject(told), func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			con.printReplacement(w, told)
		})
	})
}

type staffReplacementsCmd struct {
	Card string `placeholder:"SERIAL" help:"The lost card or the fresh one."`
}

func (cmd staffReplacementsCmd) Run(ctx context.Context, con *console) error {
	var card *wallet.ASN
	if cmd.Card != "" {
		asn, err := wallet.ParseASN(cmd.Card)
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		card = &asn
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Replacements(ctx, card)
		if err != nil {
			return err
		}
		lines := []map[string]any{}
		for _, each := range told.Replacements {
			lines = append(lines, replacementObject(each))
		}
		return con.print(map[string]any{"replacements": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			if len(lines) == 0 {
				fmt.Fprintln(w, con.t("console.noReplacements"))
			}
			for _, each := range told.Replacements {
				con.printReplacement(w, each)
			}
		})
	})
}

type staffMoveCmd struct {
	Replacement string `required:"" placeholder:"N"`
	Reason      string `required:"" placeholder:"TEXT"`
}

func (cmd staffMoveCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Propose(ctx, api.StaffDecision{Order: cmd.Replacement, As: api.TargetMoved, Reason: cmd.Reason})
		return con.printProposal(program, told, err)
	})
}

func replacementObject(r api.StaffReplacement) map[string]any {
	return map[string]any{
		"replacement": r.Replacement, "lostMasked": r.Lost.Masked(), "freshMasked": r.Fresh.Masked(), "state": r.State, "windowEnds": stamp(r.WindowEnds),
		"provenFen": r.Proven, "movedFen": r.Moved, "openOrders": r.OpenOrders, "created": stamp(r.Created),
	}
}

func (c *console) printReplacement(w io.Writer, r api.StaffReplacement) {
	fmt.Fprintf(w, "%s %s\t%s → %s\t%s\n", c.t("console.replacement"), r.Replacement, r.Lost.Masked(), r.Fresh.Masked(),
		c.t("console.replacement."+r.State, "Until", local(r.WindowEnds), "Orders", r.OpenOrders, "Proven", r.Proven.Yuan(), "Moved", r.Moved.Yuan()))
}
