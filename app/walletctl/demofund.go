package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// demoVoucher is a voucher that the demo's platform has just put into use.
type demoVoucher struct{ serial, pin string }

func (d *demo) newVoucher(ctx context.Context) (bought demoVoucher, err error) {
	platform, err := openPlatformDir(filepath.Join(d.dir, "platform"))
	if err != nil {
		return bought, err
	}
	defer platform.Close()
	var file bytes.Buffer
	if _, err := platform.MakeVouchers(&file, demoAmount, 1); err != nil {
		return bought, err
	}
	for line := range strings.Lines(file.String()) {
		if fields := strings.Split(line, "|"); fields[0] == "D" {
			bought = demoVoucher{fields[1], fields[2]}
		}
	}
	_, err = platform.ImportVouchers(ctx, &file, false)
	return bought, err
}

// interruptedFund cuts the redemption of a voucher with the fault and settles it
// without a card. What counts are the books: the voucher's money is there once, or the
// voucher was not used.
func (d *demo) interruptedFund(ctx context.Context, fault string) error {
	before, err := d.look(ctx)
	if err != nil {
		return err
	}
	bought, err := d.newVoucher(ctx)
	if err != nil {
		return err
	}
	if err := d.cutFund(ctx, fault, bought); err != nil {
		return err
	}
	during, err := d.look(ctx)
	if err != nil {
		return err
	}
	d.step("interruptedFund", d.hit && during.balanced, "Fault", fault, "Amount", demoAmount.Yuan())

	program, err := d.open(ctx, true, "")
	if err != nil {
		return err
	}
	lines, err := program.Core.Sync(ctx, core.SyncAsk{Intent: wallet.IntentSettle})
	requests := program.Core.Platform.Requests()
	orders, ordersErr := program.Core.Orders(ctx, false)
	program.Close()
	if err == nil {
		err = ordersErr
	}
	if err != nil {
		return err
	}
	after, err := d.look(ctx)
	if err != nil {
		return err
	}
	state := wallet.FundingState(orders[0].State)
	redeemed := after.redeemed - before.redeemed
	ok := after.balanced && len(lines) <= 1 && orders[0].Kind == wallet.KindFunding && state.Final() && after.balance == before.balance &&
		(redeemed == demoAmount) == (state == wallet.FundingDone) && (redeemed == 0 || redeemed == demoAmount)
	d.step("settledFund", ok, "State", d.con.t("console.settled."+string(state)), "Requests", requests)
	return nil
}

// cutFund redeems into the fault; ending with an error is the point.
func (d *demo) cutFund(ctx context.Context, fault string, bought demoVoucher) error {
	if wire.IsProcessFault(fault) {
		args := []string{"fund", "--source", api.FundingVoucher, "--voucher-stdin", "--yes", "--demo-credentials", "--quiet", "--json", "--fault", fault,
			"--platform", "demo:" + filepath.Join(d.dir, "platform"), "--profile", filepath.Join(d.dir, "profile")}
		typed := strings.NewReader(bought.serial + "\n" + bought.pin + "\n")
		d.hit = wire.Supervise(fault, args, typed, discard{}, d.con.err) == exitKilled
		return nil
	}
	program, err := d.open(ctx, true, fault)
	if err != nil {
		return err
	}
	defer program.Close()
	_, err = program.Core.Fund(ctx, core.FundAsk{
		From: core.MoneySource{
			Source: api.FundingSource{Kind: api.FundingVoucher, Serial: bought.serial},
			Secret: func(context.Context) (string, error) { return bought.pin, nil },
		},
		Confirm: func(context.Context, core.FundConfirmation) error { return nil },
	})
	d.hit, _ = wire.FaultHit()
	d.con.say(d.con.t("demo.cut", "Cause", core.Tell(d.con.texts, codeOf(err), false, nil).Title))
	return nil
}
