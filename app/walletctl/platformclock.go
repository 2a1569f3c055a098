package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockplatform"
)

type platformAdvanceCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	Days int    `required:"" placeholder:"N"`
}

func (cmd platformAdvanceCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	now, err := platform.Advance(ctx, cmd.Days)
	switch {
	case errors.Is(err, mockplatform.ErrAdvance):
		return &core.Failure{Code: "USAGE", Err: err}
	case err != nil:
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return con.print(map[string]any{"time": stamp(now)}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.advanced", "Time", local(now)))
	})
}

type platformPhoneStateCmd struct {
	Dir   string `required:"" type:"path" placeholder:"DIR"`
	Phone string `required:"" placeholder:"P"`
	State string `required:"" enum:"active,suspended,cancelled" placeholder:"STATE" help:"active, suspended or cancelled."`
}

func (cmd platformPhoneStateCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	state, err := platform.PhoneState(ctx, cmd.Phone, cmd.State)
	switch {
	case errors.Is(err, mockplatform.ErrPhoneState):
		return &core.Failure{Code: "USAGE", Err: err}
	case err != nil:
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return con.print(map[string]any{"phone": cmd.Phone, "phoneState": cmd.State, "state": state}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.phoneStateTold", "Phone", cmd.Phone, "State", cmd.State, "Account", con.named("console.accountState.", state)))
	})
}
