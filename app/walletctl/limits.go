package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

type limitsCmd struct {
	List limitsListCmd `cmd:"" default:"1" help:"Every limit of the account and this device: used, left, reset."`
	Set  limitsSetCmd  `cmd:"" help:"Set a day limit of one's own; raising it needs the payment password."`
}

type limitObject struct {
	Name      string      `json:"name"`
	Code      string      `json:"code"`
	ASNMasked *string     `json:"asnMasked,omitempty"`
	LimitFen  *wallet.Fen `json:"limitFen,omitempty"`
	UsedFen   *wallet.Fen `json:"usedFen,omitempty"`
	LeftFen   *wallet.Fen `json:"leftFen,omitempty"`
	Limit     *int        `json:"limit,omitempty"` // a number of times, as the two below
	Used      *int        `json:"used,omitempty"`
	Left      *int        `json:"left,omitempty"`
	Resets    *string     `json:"resets"`
	Own       bool        `json:"own"`
}

type deviceLimitObject struct {
	N       int         `json:"number"`
	Device  string      `json:"device"`
	Name    string      `json:"name"`
	This    bool        `json:"this"`
	DayFen  *wallet.Fen `json:"dayFen"`
	UsedFen wallet.Fen  `json:"usedFen"`
}

type limitsObject struct {
	Limits     []limitObject       `json:"limits"`
	UserDayFen *wallet.Fen         `json:"userDayFen"`
	Devices    []deviceLimitObject `json:"devices"`
}

func limitObjects(states []api.LimitState) []limitObject {
	objects := []limitObject{}
	for _, state := range states {
		object := limitObject{Name: state.Name, Code: state.Code, Own: state.Own}
		if state.Card != nil {
			masked := state.Card.Masked()
			object.ASNMasked = &masked
		}
		if state.Resets != nil {
			moment := state.Resets.In(shanghai).Format(time.RFC3339) // a business day's
			object.Resets = &moment
		}
		if state.Count {
			object.Limit, object.Used, object.Left = times(&state.Limit), times(state.Used), times(state.Left)
		} else {
			limit := state.Limit
			object.LimitFen, object.UsedFen, object.LeftFen = &limit, state.Used, state.Left
		}
		objects = append(objects, object)
	}
	return objects
}

func times(count *wallet.Fen) *int {
	if count == nil {
		return nil
	}
	whole := int(*count)
	return &whole
}

type limitsListCmd struct{}

func (limitsListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	shown, err := program.Core.Limits(ctx)
	if err != nil {
		return err
	}
	return con.printLimits(program, shown)
}

func (c *console) printLimits(program *wire.Program, shown api.LimitsShown) error {
	object := limitsObject{Limits: limitObjects(shown.Limits), UserDayFen: shown.UserDay, Devices: []deviceLimitObject{}}
	for i, device := range shown.Devices {
		object.Devices = append(object.Devices, deviceLimitObject{i + 1, device.Device, device.Name, device.This, device.Day, device.Used})
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		c.printLimitTable(w, shown.Limits)
		fmt.Fprintln(w)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.t("console.device"), c.t("console.name"), padded(c.t("console.ownDayLimit"), amountWidth),
			padded(c.t("console.usedToday"), amountWidth))
		for _, device := range object.Devices {
			name := device.Name
			if device.This {
				name += " (" + c.t("console.thisDevice") + ")"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", device.N, name, padded(yuanOr(device.DayFen), amountWidth), padded(device.UsedFen.Yuan(), amountWidth))
		}
	})
}

// printLimitTable shows limits with what is used up, left, and when they reset.
func (c *console) printLimitTable(w io.Writer, limits []api.LimitState) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.t("console.limit"), padded(c.t("console.allowed"), amountWidth), padded(c.t("console.used"), amountWidth),
		padded(c.t("console.left"), amountWidth), c.t("console.resets"))
	for _, limit := range limits {
		name := c.named("console.limit.", limit.Name)
		if limit.Card != nil {
			name += " " + limit.Card.Masked()
		}
		if limit.Own {
			name += " (" + c.t("console.limitOwn") + ")"
		}
		show := yuanOr
		if limit.Count {
			show = timesOr
		}
		resets := "-"
		if limit.Resets != nil {
			resets = local(*limit.Resets)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, padded(show(&limit.Limit), amountWidth), padded(show(limit.Used), amountWidth),
			padded(show(limit.Left), amountWidth), resets)
	}
}

func yuanOr(amount *wallet.Fen) string {
	if amount == nil {
		return "-"
	}
	return amount.Yuan()
}

func timesOr(count *wallet.Fen) string {
	if count == nil {
		return "-"
	}
	return strconv.Itoa(int(*count)) + "×"
}

type limitsSetCmd struct {
	UserDay       string `name:"user-day" placeholder:"YUAN" help:"Of the whole account, for a business day; none: as the platform allows."`
	DeviceDay     string `name:"device-day" placeholder:"YUAN" help:"Of one device; none: as the platform allows."`
	Device        string `placeholder:"N" help:"Number in the list of limits, or the device's own name there; this device without one."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the payment password from standard input."`
}

func (cmd limitsSetCmd) Run(ctx context.Context, con *console) error {
	change, err := cmd.change()
	if err != nil {
		return err
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	if cmd.DeviceDay != "" {
		shown, err := program.Core.Limits(ctx)
		if err != nil {
			return err
		}
		if change.Device, err = cmd.device(shown.Devices); err != nil {
			return err
		}
	}
	password, err := con.paymentPassword(program, cmd.PasswordStdin)
	if err != nil {
		return err
	}
	shown, err := program.Core.SetLimit(ctx, change, password)
	if err != nil {
		return err
	}
	return con.printLimits(program, shown)
}

// change reads what is to be set; none takes the own limit away.
func (cmd limitsSetCmd) change() (change api.LimitsChange, err error) {
	if (cmd.UserDay == "") == (cmd.DeviceDay == "") || cmd.Device != "" && cmd.DeviceDay == "" {
		return change, &core.Failure{Code: "USAGE", Err: errors.New("either --user-day, or --device-day with or without --device")}
	}
	text := cmd.UserDay + cmd.DeviceDay
	if text == "none" {
		return change, nil
	}
	amount, err := wallet.ParseYuan(text)
	if errors.Is(err, wallet.ErrAmountNeedsPoint) {
		return change, &core.Failure{Code: "AMOUNT_NEEDS_POINT", Err: err}
	}
	if err != nil || amount < 0 {
		return change, &core.Failure{Code: "AMOUNT_FORMAT", Err: fmt.Errorf("%q is no limit: an amount such as 200.00, or none", text)}
	}
	change.Day = &amount
	return change, nil
}

// device finds the device that is meant.
func (cmd limitsSetCmd) device(devices []api.DeviceLimit) (string, error) {
	for i, device := range devices {
		if cmd.Device == strconv.Itoa(i+1) || cmd.Device == device.Device || cmd.Device == "" && device.This {
			return device.Device, nil
		}
	}
	return "", &core.Failure{Code: "USAGE", Err: fmt.Errorf("no device %q in the list of limits", cmd.Device)}
}
