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
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type staffCmd struct {
	Login     staffLoginCmd     `cmd:"" help:"Log in as staff, for half an hour."`
	Logout    staffLogoutCmd    `cmd:"" help:"End the session of staff."`
	Orders    staffOrdersCmd    `cmd:"" help:"Orders of a card, or one order: state, evidence, held money, next step."`
	Settle    staffSettleCmd    `cmd:"" help:"Settle by the card on the reader, without the customer's password."`
	Decide    staffDecideCmd    `cmd:"" help:"Propose how an order in SUSPENSE ends."`
	Proposals staffProposalsCmd `cmd:"" help:"What waits for a second person."`
	Confirm   staffConfirmCmd   `cmd:"" help:"Confirm a proposal of somebody else (supervisors)."`
	Reject    staffRejectCmd    `cmd:"" help:"Reject a proposal."`
	Account   staffAccountCmd   `cmd:"" help:"State of an account: freeze, thaw, loss, change of number, SIM or owner, tier."`
	Cards     staffCardsCmd     `cmd:"" help:"Loss and replacement of cards."`
	Lists     staffListsCmd     `cmd:"" help:"Grey and black list: show, add, remove with two persons."`
	Companion staffCompanionCmd `cmd:"" help:"Register or remove a phone number's companion."`
	Service   staffServiceCmd   `cmd:"" help:"Close or open the wallet service."`
	CashIn    staffCashInCmd    `cmd:"" name:"cash-in" help:"Book cash that was counted at the counter."`
	Cash      staffCashCmd      `cmd:"" help:"Large amounts of cash that wait for a second person."`
}

// openStaff wires the program for the counter.
func (c *console) openStaff(ctx context.Context) (*wire.Program, error) {
	options := c.options(true)
	options.Staff = true
	return wire.Open(ctx, options)
}

// atCounter runs work with the counter's side of the platform.
func (c *console) atCounter(ctx context.Context, work func(*wire.Program) error) error {
	program, err := c.openStaff(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	return work(program)
}

type staffLoginCmd struct {
	Name          string `required:"" placeholder:"N"`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input."`
	PasswordFile  string `name:"password-file" type:"existingfile" placeholder:"FILE" help:"Read the password from a file."`
}

func (cmd staffLoginCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		password, err := con.staffPassword(cmd.PasswordFile, cmd.PasswordStdin)
		if err != nil {
			return err
		}
		session, err := program.Staff().Login(ctx, cmd.Name, password)
		if err != nil {
			return err
		}
		object := map[string]any{"name": session.Name, "role": session.Role, "expires": stamp(session.Expires)}
		return con.print(object, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			fmt.Fprintln(w, con.t("console.staffLoggedIn", "Name", session.Name, "Role", con.t("console.staffRole."+session.Role), "Until", local(session.Expires)))
		})
	})
}

// staffPassword takes the password from a file, a line of standard input, or the
// keyboard.
func (c *console) staffPassword(file string, fromStdin bool) (string, error) {
	if file == "" {
		return c.secret(c.t("console.staffPassword"), fromStdin)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", &core.Failure{Code: "USAGE", Err: err}
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

type staffLogoutCmd struct{}

func (staffLogoutCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		if err := program.Staff().Logout(ctx); err != nil {
			return err
		}
		return con.print(map[string]any{"loggedIn": false}, func(w io.Writer) { fmt.Fprintln(w, con.t("console.loggedOut")) })
	})
}

type staffOrdersCmd struct {
	Card  string `placeholder:"SERIAL" help:"16 or 20 hex digits."`
	Order string `placeholder:"N"`
}

type staffOrderObject struct {
	Order       string               `json:"order"`
	Kind        string               `json:"kind"`
	State       string               `json:"state"`
	Cause       *string              `json:"cause"`
	ASNMasked   string               `json:"asnMasked"`
	Payer       string               `json:"payer"`
	AmountFen   wallet.Fen           `json:"amountFen"`
	FeeFen      wallet.Fen           `json:"feeFen"`
	HeldFen     wallet.Fen           `json:"heldFen"`
	Attempt     int                  `json:"attempt"`
	Evidence    *string              `json:"evidence"`
	WrongSeen   int                  `json:"wrongSeen"`
	TACSeen     bool                 `json:"tacSeen"`
	BalanceSeen bool                 `json:"balanceSeen"`
	Created     string               `json:"created"`
	Next        string               `json:"next"`
	Proposal    *staffProposalObject `json:"proposal"`
}

type staffProposalObject struct {
	Proposal string  `json:"proposal"`
	Order    string  `json:"order"`
	As       string  `json:"as"`
	Reason   string  `json:"reason"`
	Proposer string  `json:"proposer"`
	Second   *string `json:"second"`
	State    string  `json:"state"`
	Created  string  `json:"created"`
}

func proposalOf(told api.StaffProposal) staffProposalObject {
	return staffProposalObject{told.Proposal, told.Order, told.As, told.Reason, told.Proposer, orNull(told.Second), told.State, stamp(told.Created)}
}

func (cmd staffOrdersCmd) Run(ctx context.Context, con *console) error {
	var asn wallet.ASN
	if (cmd.Card == "") == (cmd.Order == "") {
		return &core.Failure{Code: "USAGE", Err: errors.New("either --card or --order")}
	}
	if cmd.Card != "" {
		var err error
		if asn, err = wallet.ParseASN(cmd.Card); err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Orders(ctx, asn, cmd.Order)
		if err != nil {
			return err
		}
		lines := []staffOrderObject{}
		for _, o := range told.Orders {
			line := staffOrderObject{
				o.Order, o.Kind, o.State, orNull(o.Cause), o.ASN.Masked(), o.Payer, o.Amount, o.Fee, o.Held, o.Attempt, orNull(o.Evidence),
				o.WrongSeen, o.TACSeen, o.BalanceSeen, stamp(o.Created), o.Next, nil,
			}
			if o.Proposal != nil {
				proposed := proposalOf(*o.Proposal)
				line.Proposal = &proposed
			}
			lines = append(lines, line)
		}
		return con.print(map[string]any{"orders": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			con.printStaffOrders(w, told.Orders)
		})
	})
}

func (c *console) printStaffOrders(w io.Writer, orders []api.StaffOrder) {
	if len(orders) == 0 {
		fmt.Fprintln(w, c.t("console.noOrders"))
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.t("console.time"), c.t("console.order"), padded(c.t("console.amountYuan"), amountWidth),
		padded(c.t("console.held"), amountWidth), c.t("console.state"), c.t("console.evidence"), c.t("console.next"))
	for _, o := range orders {
		state := o.State
		if o.Cause != "" {
			state += " " + o.Cause
		}
		next := c.t("console.staffNext." + o.Next)
		if o.Proposal != nil {
			next += " " + o.Proposal.Proposal + " → " + o.Proposal.As
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(o.Created), o.Order, padded(o.Amount.Yuan(), amountWidth),
			padded(o.Held.Yuan(), amountWidth), state, orNumberless(o.Evidence), next)
	}
}

type staffSettleCmd struct {
	Cancel        bool   `help:"Give the money back to the payer where the card proves that it has not got it."`
	Order         string `placeholder:"N" help:"Only this order."`
	PasswordStdin bool   `name:"password-stdin" help:"Read a card PIN from standard input."`
}

func (cmd staffSettleCmd) Run(ctx context.Context, con *console) error {
	intent := wallet.IntentSettle
	if cmd.Cancel {
		intent = wallet.IntentCancel
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		lines, err := program.Core.SettleAtCounter(ctx, core.SyncAsk{
			Intent: intent, Order: cmd.Order, PIN: con.pin(program, cmd.PasswordStdin), Progress: con.progress,
		})
		return con.settled(program, lines, err)
	})
}

type staffDecideCmd struct {
	Order       string `required:"" placeholder:"N"`
	As          string `required:"" enum:"LOADED,VOIDED,PAID,REFUNDED,NOT_TAKEN,MOVED" placeholder:"STATE" help:"LOADED or VOIDED; PAID, REFUNDED or NOT_TAKEN for a purchase; MOVED for a replacement."`
	Reason      string `required:"" placeholder:"TEXT"`
	WithoutCard string `name:"without-card" enum:",blocked,lost" default:"" placeholder:"WHY" help:"A top-up whose card can prove nothing any more: blocked or lost."`
}

func (cmd staffDecideCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Propose(ctx, api.StaffDecision{Order: cmd.Order, As: cmd.As, Reason: cmd.Reason, WithoutCard: cmd.WithoutCard})
		return con.printProposal(program, told, err)
	})
}

type staffProposalsCmd struct{}

func (staffProposalsCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Proposals(ctx)
		if err != nil {
			return err
		}
		lines := []staffProposalObject{}
		for _, each := range told.Proposals {
			lines = append(lines, proposalOf(each))
		}
		return con.print(map[string]any{"proposals": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			if len(lines) == 0 {
				fmt.Fprintln(w, con.t("console.noProposals"))
			}
			if len(lines) > 0 {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", con.t("console.proposal"), con.t("console.order"), con.t("console.proposedAs"), con.t("console.proposer"), con.t("console.reason"))
			}
			for _, each := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", each.Proposal, each.Order, each.As, each.Proposer, each.Reason)
			}
		})
	})
}

type staffConfirmCmd struct {
	Proposal string `required:"" placeholder:"N"`
	Reason   string `required:"" placeholder:"TEXT"`
}

func (cmd staffConfirmCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Confirm(ctx, cmd.Proposal, cmd.Reason)
		return con.printProposal(program, told, err)
	})
}

type staffRejectCmd struct {
	Proposal string `required:"" placeholder:"N"`
	Reason   string `required:"" placeholder:"TEXT"`
}

func (cmd staffRejectCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Reject(ctx, cmd.Proposal, cmd.Reason)
		return con.printProposal(program, told, err)
	})
}

func (c *console) printProposal(program *wire.Program, told api.StaffProposal, err error) error {
	if err != nil {
		return err
	}
	return c.print(proposalOf(told), func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		key := "console.staffProposal." + told.State
		if own := key + "." + string(told.As); c.texts.Has(own) {
			key = own
		}
		fmt.Fprintln(w, c.t(key, "Proposal", told.Proposal, "Order", told.Order, "As", told.As))
	})
}

type staffCompanionCmd struct {
	Add    staffCompanionAddCmd    `cmd:"" help:"Register a companion for a phone number."`
	Remove staffCompanionRemoveCmd `cmd:"" help:"Take a companion away from a phone number."`
}

type companionFlags struct {
	Phone  string `required:"" placeholder:"P"`
	Serial string `required:"" placeholder:"S" help:"Of the reader, or the key that COMPANION_REFUSED names."`
	Reason string `required:"" placeholder:"TEXT"`
}

type staffCompanionAddCmd struct{ companionFlags }
type staffCompanionRemoveCmd struct{ companionFlags }

func (cmd staffCompanionAddCmd) Run(ctx context.Context, con *console) error {
	return con.changeCompanion(ctx, cmd.companionFlags, true)
}

func (cmd staffCompanionRemoveCmd) Run(ctx context.Context, con *console) error {
	return con.changeCompanion(ctx, cmd.companionFlags, false)
}

func (c *console) changeCompanion(ctx context.Context, flags companionFlags, register bool) error {
	return c.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Companion(ctx, api.StaffCompanionChange{Phone: flags.Phone, Serial: flags.Serial, Register: register, Reason: flags.Reason})
		if err != nil {
			return err
		}
		return c.print(map[string]any{"phone": told.Phone, "serials": told.Serials}, func(w io.Writer) {
			c.demoMark(w, program.IsDemo())
			fmt.Fprintln(w, c.t("console.companions", "Phone", told.Phone, "Serials", orNumberless(strings.Join(told.Serials, ", "))))
		})
	})
}

type staffServiceCmd struct {
	Close staffServiceCloseCmd `cmd:"" help:"Every request for money answers SERVICE_CLOSED; open orders still settle."`
	Open  staffServiceOpenCmd  `cmd:"" help:"Open it again."`
}

type serviceFlags struct {
	Phone  string `placeholder:"P" help:"Of one phone number."`
	All    bool   `help:"The whole service (supervisors)."`
	Reason string `required:"" placeholder:"TEXT"`
}

type staffServiceCloseCmd struct{ serviceFlags }
type staffServiceOpenCmd struct{ serviceFlags }

func (cmd staffServiceCloseCmd) Run(ctx context.Context, con *console) error {
	return con.changeService(ctx, cmd.serviceFlags, false)
}

func (cmd staffServiceOpenCmd) Run(ctx context.Context, con *console) error {
	return con.changeService(ctx, cmd.serviceFlags, true)
}

func (c *console) changeService(ctx context.Context, flags serviceFlags, open bool) error {
	if flags.All == (flags.Phone != "") {
		return &core.Failure{Code: "USAGE", Err: errors.New("either --phone or --all")}
	}
	return c.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Service(ctx, api.StaffServiceChange{Phone: flags.Phone, All: flags.All, Open: open, Reason: flags.Reason})
		if err != nil {
			return err
		}
		key := "console.serviceClosed"
		if told.Open {
			key = "console.serviceOpen"
		}
		return c.print(map[string]any{"phone": orNull(told.Phone), "all": told.All, "open": told.Open}, func(w io.Writer) {
			c.demoMark(w, program.IsDemo())
			fmt.Fprintln(w, c.t(key, "Phone", orNumberless(told.Phone)))
		})
	})
}
