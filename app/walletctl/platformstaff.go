package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockplatform"
)

type platformStaffCmd struct {
	Add     platformStaffAddCmd     `cmd:"" help:"Make an account of staff."`
	Dismiss platformStaffDismissCmd `cmd:"" help:"End an account of staff and its sessions."`
}

type platformStaffAddCmd struct {
	Dir           string `required:"" type:"path" placeholder:"DIR"`
	Name          string `required:"" placeholder:"N"`
	Role          string `required:"" enum:"clerk,supervisor" placeholder:"R" help:"clerk or supervisor."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input."`
	PasswordFile  string `name:"password-file" type:"existingfile" placeholder:"FILE" help:"Read the password from a file."`
}

func (cmd platformStaffAddCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	password, err := con.staffPassword(cmd.PasswordFile, cmd.PasswordStdin)
	if err != nil {
		return err
	}
	if err := platform.AddStaff(ctx, cmd.Name, cmd.Role, password); err != nil {
		return staffFailure(err)
	}
	return con.print(map[string]any{"name": cmd.Name, "role": cmd.Role}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.staffAdded", "Name", cmd.Name, "Role", con.t("console.staffRole."+cmd.Role)))
	})
}

type platformStaffDismissCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	Name string `required:"" placeholder:"N"`
}

func (cmd platformStaffDismissCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	if err := platform.DismissStaff(ctx, cmd.Name); err != nil {
		return staffFailure(err)
	}
	return con.print(map[string]any{"name": cmd.Name, "dismissed": true}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.staffDismissed", "Name", cmd.Name))
	})
}

// staffFailure tells a wrong word on the command line from trouble of the directory.
func staffFailure(err error) error {
	for _, wrong := range []error{mockplatform.ErrStaffName, mockplatform.ErrStaffRole, mockplatform.ErrStaffPassword, mockplatform.ErrStaffKnown, mockplatform.ErrStaffUnknown} {
		if errors.Is(err, wrong) {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	return &core.Failure{Code: "PLATFORM_DIR", Err: err}
}
