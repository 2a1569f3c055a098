package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type staffListsCmd struct {
	Show     staffListsShowCmd     `cmd:"" default:"withargs" help:"Who stands on the grey and the black list, why, until when."`
	Add      staffListsAddCmd      `cmd:"" help:"Put a card, an account or a device on a list."`
	Clear    staffListsClearCmd    `cmd:"" help:"Take it off the grey list."`
	Remove   staffListsRemoveCmd   `cmd:"" help:"Propose that it leaves the black list."`
	Removals staffListsRemovalsCmd `cmd:"" help:"Proposals that wait for a second person."`
	Confirm  staffListsConfirmCmd  `cmd:"" help:"Confirm a removal that somebody else proposed (supervisors)."`
	Reject   staffListsRejectCmd   `cmd:"" help:"Reject a removal."`
}

// subjectFlags name a card, an account or a device.
type subjectFlags struct {
	Card   string `placeholder:"SERIAL" help:"16 or 20 hex digits."`
	Phone  string `placeholder:"P" help:"The account of a phone number."`
	Device string `placeholder:"N" help:"A device by the name that limits and audit tell."`
}

// subject gives kind and subject; none where the flags need not name one.
func (f subjectFlags) subject() (kind, subject string, err error) {
	named := 0
	for _, each := range []struct{ kind, subject string }{{"card", f.Card}, {"user", f.Phone}, {"device", f.Device}} {
		if each.subject != "" {
			kind, subject, named = each.kind, each.subject, named+1
		}
	}
	if named > 1 {
		return "", "", &core.Failure{Code: "USAGE", Err: errors.New("one of --card, --phone, --device")}
	}
	if kind == "card" {
		asn, err := wallet.ParseASN(subject)
		if err != nil {
			return "", "", &core.Failure{Code: "USAGE", Err: err}
		}
		subject = asn.String()
	}
	return kind, subject, nil
}

// one insists on a subject.
func (f subjectFlags) one() (kind, subject string, err error) {
	kind, subject, err = f.subject()
	if err == nil && kind == "" {
		err = &core.Failure{Code: "USAGE", Err: errors.New("one of --card, --phone, --device")}
	}
	return kind, subject, err
}

type listedObject struct {
	Kind    string  `json:"kind"`
	Subject string  `json:"subject"` // a card masked
	List    string  `json:"list"`    // NONE, GREY, BLACK
	Cause   *string `json:"cause"`
	Since   *string `json:"since"`
	Until   *string `json:"until"`
	By      *string `json:"by"`
}

func listedOf(one api.StaffListed) listedObject {
	object := listedObject{Kind: one.Kind, Subject: maskedSubject(one.Kind, one.Subject), List: one.Standing, Cause: orNull(one.Cause), By: orNull(one.By)}
	if one.Since != nil {
		since := stamp(*one.Since)
		object.Since = &since
	}
	if one.Until != nil {
		until := stamp(*one.Until)
		object.Until = &until
	}
	return object
}

func maskedSubject(kind, subject string) string {
	if asn, err := wallet.ParseASN(subject); kind == "card" && err == nil {
		return asn.Masked()
	}
	return subject
}

func (c *console) printListed(w io.Writer, listed []api.StaffListed) {
	for _, one := range listed {
		until := "-"
		if one.Until != nil {
			until = local(*one.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.t("console.listKind."+one.Kind), maskedSubject(one.Kind, one.Subject), c.t("console.list."+one.Standing),
			c.named("console.listCause.", one.Cause), until, one.By)
	}
}

type staffListsShowCmd struct{ subjectFlags }

func (cmd staffListsShowCmd) Run(ctx context.Context, con *console) error {
	kind, subject, err := cmd.subject()
	if err != nil {
		return err
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Lists(ctx, kind, subject)
		if err != nil {
			return err
		}
		lines := []listedObject{}
		for _, one := range told.Listed {
			lines = append(lines, listedOf(one))
		}
		return con.print(map[string]any{"listed": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			if len(lines) == 0 {
				fmt.Fprintln(w, con.t("console.nobodyListed"))
				return
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", con.t("console.kind"), con.t("console.subject"), con.t("console.list"), con.t("console.cause"),
				con.t("console.until"), con.t("console.by"))
			con.printListed(w, told.Listed)
		})
	})
}

type staffListsAddCmd struct {
	subjectFlags
	Cause  string `required:"" enum:"fraud,loss,chargeback,staff" placeholder:"WHY" help:"fraud, or loss of a card: the black list. chargeback of an account, or staff: the grey one."`
	Reason string `required:"" placeholder:"TEXT"`
}

func (cmd staffListsAddCmd) Run(ctx context.Context, con *console) error {
	return con.tellList(ctx, cmd.subjectFlags, strings.ToUpper(cmd.Cause), cmd.Reason)
}

type staffListsClearCmd struct {
	subjectFlags
	Reason string `required:"" placeholder:"TEXT"`
}

func (cmd staffListsClearCmd) Run(ctx context.Context, con *console) error {
	return con.tellList(ctx, cmd.subjectFlags, "STAFF_CLEAR", cmd.Reason)
}

func (c *console) tellList(ctx context.Context, flags subjectFlags, event, reason string) error {
	kind, subject, err := flags.one()
	if err != nil {
		return err
	}
	return c.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().TellList(ctx, api.StaffListChange{Kind: kind, Subject: subject, Event: event, Reason: reason})
		if err != nil {
			return err
		}
		return c.print(listedOf(told), func(w io.Writer) {
			c.demoMark(w, program.IsDemo())
			c.printListed(w, []api.StaffListed{told})
		})
	})
}

type staffListsRemoveCmd struct {
	subjectFlags
	Reason string `required:"" placeholder:"TEXT"`
}

func (cmd staffListsRemoveCmd) Run(ctx context.Context, con *console) error {
	kind, subject, err := cmd.one()
	if err != nil {
		return err
	}
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ProposeRemoval(ctx, api.StaffListRemoval{Kind: kind, Subject: subject, Reason: cmd.Reason})
		return con.printRemoval(program, told, err)
	})
}

type removalObject struct {
	Removal  string  `json:"removal"`
	Kind     string  `json:"kind"`
	Subject  string  `json:"subject"`
	Reason   string  `json:"reason"`
	Proposer string  `json:"proposer"`
	Second   *string `json:"second"`
	State    string  `json:"state"`
	Created  string  `json:"created"`
}

func removalOf(told api.StaffListProposal) removalObject {
	return removalObject{
		told.Removal, told.Kind, maskedSubject(told.Kind, told.Subject), told.Reason, told.Proposer, orNull(told.Second), told.State, stamp(told.Created),
	}
}

func (c *console) printRemoval(program *wire.Program, told api.StaffListProposal, err error) error {
	if err != nil {
		return err
	}
	object := removalOf(told)
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, c.t("console.removal."+told.State, "Removal", told.Removal, "Subject", object.Subject))
	})
}

type staffListsRemovalsCmd struct{}

func (staffListsRemovalsCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().Removals(ctx)
		if err != nil {
			return err
		}
		lines := []removalObject{}
		for _, each := range told.Removals {
			lines = append(lines, removalOf(each))
		}
		return con.print(map[string]any{"removals": lines}, func(w io.Writer) {
			con.demoMark(w, program.IsDemo())
			if len(lines) == 0 {
				fmt.Fprintln(w, con.t("console.noProposals"))
			}
			for _, each := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", each.Removal, con.t("console.listKind."+each.Kind), each.Subject, each.Proposer, each.Reason)
			}
		})
	})
}

type staffListsConfirmCmd struct {
	Removal string `required:"" placeholder:"N"`
	Reason  string `required:"" placeholder:"TEXT"`
}

func (cmd staffListsConfirmCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().ConfirmRemoval(ctx, cmd.Removal, cmd.Reason)
		return con.printRemoval(program, told, err)
	})
}

type staffListsRejectCmd struct {
	Removal string `required:"" placeholder:"N"`
	Reason  string `required:"" placeholder:"TEXT"`
}

func (cmd staffListsRejectCmd) Run(ctx context.Context, con *console) error {
	return con.atCounter(ctx, func(program *wire.Program) error {
		told, err := program.Staff().RejectRemoval(ctx, cmd.Removal, cmd.Reason)
		return con.printRemoval(program, told, err)
	})
}
