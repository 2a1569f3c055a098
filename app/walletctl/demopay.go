package main

import (
	"context"
	"path/filepath"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

// offer makes an order of the demo's shop.
func (d *demo) offer(ctx context.Context) (code string, err error) {
	platform, err := openPlatformDir(filepath.Join(d.dir, "platform"))
	if err != nil {
		return "", err
	}
	defer platform.Close()
	return platform.ShopOrder(ctx, mockplatform.DemoMerchant, d.con.t("demo.goods"), demoPrice, "")
}

func (d *demo) buy(ctx context.Context, program *wire.Program, code string) (core.PayResult, error) {
	return program.Core.Pay(ctx, core.PayAsk{
		OrderCode: code,
		Confirm:   func(context.Context, core.PayConfirmation) error { return nil },
		PIN:       func(int) ([]byte, error) { return program.DemoPIN(), nil },
	})
}

// pay buys something from the card. What counts is the card's file, the books and
// what the merchant sees.
func (d *demo) pay(ctx context.Context) error {
	before, err := d.look(ctx)
	if err != nil {
		return err
	}
	code, err := d.offer(ctx)
	if err != nil {
		return err
	}
	program, err := d.open(ctx, true, "")
	if err != nil {
		return err
	}
	result, err := d.buy(ctx, program, code)
	seen, lookErr := program.Core.Platform.MerchantOrder(ctx, code)
	program.Close()
	if err != nil {
		return err
	}
	if lookErr != nil {
		return lookErr
	}
	after, err := d.look(ctx)
	if err != nil {
		return err
	}
	ok := after.balance == before.balance-demoPrice && after.expected == after.balance && after.bought == before.bought+demoPrice &&
		after.balanced && seen.State == wallet.PurchasePaid
	d.step("pay", ok, "Amount", demoPrice.Yuan(), "Merchant", result.Order.Merchant, "Balance", after.balance.Yuan(), "Requests", result.Requests)
	return nil
}

// interruptedPay cuts a purchase with the fault and settles it at the next touch.
func (d *demo) interruptedPay(ctx context.Context, fault string) error {
	before, err := d.look(ctx)
	if err != nil {
		return err
	}
	code, err := d.offer(ctx)
	if err != nil {
		return err
	}
	if err := d.cutPay(ctx, fault, code); err != nil {
		return err
	}
	during, err := d.look(ctx)
	if err != nil {
		return err
	}
	d.step("interruptedPay", d.hit && during.balanced, "Fault", fault, "Balance", during.balance.Yuan())

	program, err := d.open(ctx, true, "")
	if err != nil {
		return err
	}
	lines, err := program.Core.Sync(ctx, core.SyncAsk{Intent: wallet.IntentSettle, PIN: func(int) ([]byte, error) { return program.DemoPIN(), nil }})
	seen, lookErr := program.Core.Platform.MerchantOrder(ctx, code)
	program.Close()
	if err != nil {
		return err
	}
	if lookErr != nil {
		return lookErr
	}
	after, err := d.look(ctx)
	if err != nil {
		return err
	}
	debited := before.balance - after.balance
	final := seen.State == wallet.PurchasePaid || seen.State == wallet.PurchaseRefunded || seen.State == wallet.PurchaseOffered
	ok := final && after.balanced && after.expected == after.balance && after.bought-before.bought == debited && after.balance == during.balance &&
		(debited == demoPrice) == (seen.State != wallet.PurchaseOffered)
	evidence, requests := "none", 0
	if len(lines) > 0 {
		evidence, requests = lines[len(lines)-1].Evidence, lines[len(lines)-1].Requests
	}
	d.step("settledPay", ok, "State", d.con.t("console.settled."+string(seen.State)), "Balance", after.balance.Yuan(), "Evidence", evidence, "Requests", requests)
	return nil
}

// cutPay runs a purchase into the fault; ending with an error is the point.
func (d *demo) cutPay(ctx context.Context, fault, code string) error {
	if wire.IsProcessFault(fault) {
		args := []string{"pay", "--order-code", code, "--yes", "--demo-credentials", "--quiet", "--json", "--fault", fault,
			"--reader", "virtual:" + d.card, "--platform", "demo:" + filepath.Join(d.dir, "platform"), "--profile", filepath.Join(d.dir, "profile")}
		d.hit = wire.Supervise(fault, args, d.con.in, discard{}, d.con.err) == exitKilled
		return nil
	}
	program, err := d.open(ctx, true, fault)
	if err != nil {
		return err
	}
	_, err = d.buy(ctx, program, code)
	program.Close()
	d.hit, _ = wire.FaultHit()
	d.con.say(d.con.t("demo.cut", "Cause", core.Tell(d.con.texts, codeOf(err), false, nil).Title))
	return nil
}
