package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// demoCmd tells the whole story in a folder of its own. Each step is judged by the
// card's file and the platform's books after it, not by the absence of an error.
type demoCmd struct {
	Keep string `placeholder:"DIR" help:"Keep card, profile and platform in this folder."`
}

type demoStep struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// demoWorld is the state that a step is judged by.
type demoWorld struct {
	balance  wallet.Fen // in the card's file
	counter  uint16
	loaded   wallet.Fen // in the books
	held     wallet.Fen
	main     wallet.Fen
	bought   wallet.Fen // in the books: paid from the card
	redeemed wallet.Fen // in the books: value of used vouchers
	balanced bool
	expected wallet.Fen // what the books say the card holds
}

type demo struct {
	con   *console
	dir   string
	card  string
	hit   bool // the fault was reached
	steps []demoStep
}

// exitKilled is the shell's exit code of a process ended by SIGKILL.
const exitKilled = 128 + 9

const (
	demoCardBalance wallet.Fen = 20_00
	demoAmount      wallet.Fen = 50_00
	demoMain        wallet.Fen = 500_00
	demoPrice       wallet.Fen = 12_50
)

func (cmd demoCmd) Run(ctx context.Context, con *console) error {
	dir := cmd.Keep
	if dir == "" {
		temporary, err := os.MkdirTemp("", "wallet-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	story := &demo{con: con, dir: dir, card: filepath.Join(dir, "card.json")}
	con.say(con.t("console.demoMark"))
	err := story.tell(ctx)
	return story.finish(err)
}

func (d *demo) finish(err error) error {
	object := map[string]any{"steps": d.steps, "demo": true}
	if d.con.Fault != "" {
		object["faultHit"] = d.hit
	}
	for _, step := range d.steps {
		if !step.OK && err == nil {
			err = &core.Failure{Code: "INTERNAL", Err: fmt.Errorf("step %s did not come out as expected", step.Name)}
		}
	}
	if err != nil { // one object only: the steps stand in the failure's detail
		failure := *core.Explain(err)
		failure.Detail = map[string]any{"steps": d.steps}
		return &failure
	}
	return d.con.print(object, func(io.Writer) {}) // people have read each step as it came
}

// tell runs the story.
func (d *demo) tell(ctx context.Context) error {
	new := cardNewCmd{File: d.card, Balance: demoCardBalance.Yuan(), Records: 5, Variant: virtualcard.Standard}
	quiet := *d.con
	quiet.out = discard{}
	if err := new.Run(&quiet); err != nil {
		return err
	}
	if err := d.read(ctx, "read", demoCardBalance); err != nil {
		return err
	}
	fault, flow := d.con.Fault, flowOf(d.con.Fault)
	if err := d.topUp(ctx, "topup", "", fault == "" || flow != wallet.KindLoad, demoCardBalance+demoAmount); err != nil {
		return err
	}
	if fault == "" {
		fault = "credit-answer-lost"
	}
	interrupted := d.interrupted
	switch flow {
	case wallet.KindPurchase:
		interrupted = d.interruptedPay
	case wallet.KindFunding:
		interrupted = d.interruptedFund
	}
	if err := interrupted(ctx, fault); err != nil {
		return err
	}
	if err := d.pay(ctx); err != nil {
		return err
	}
	return d.history(ctx)
}

// flowOf is what a fault cuts; a name that nobody knows is told by who arms it.
func flowOf(name string) string {
	for _, fault := range wire.Faults() {
		if fault.Name == name {
			return fault.Flow
		}
	}
	return wallet.KindLoad
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (d *demo) open(ctx context.Context, online bool, fault string) (*wire.Program, error) {
	return wire.Open(ctx, wire.Options{
		Reader: "virtual:" + d.card, Platform: "demo:" + filepath.Join(d.dir, "platform"), ProfileDir: filepath.Join(d.dir, "profile"),
		DemoCredentials: true, Online: online, Fault: fault,
	})
}

// look reads the card's file and the books.
func (d *demo) look(ctx context.Context) (demoWorld, error) {
	var world demoWorld
	raw, err := os.ReadFile(d.card)
	if err != nil {
		return world, err
	}
	chip, err := virtualcard.Parse(raw)
	if err != nil {
		return world, err
	}
	card, ours := chip.(*virtualcard.Card)
	if !ours {
		return world, errors.New("the demo's card is not a virtual card")
	}
	world.balance, world.counter = card.Balance(), card.OnlineCounter()
	platform, err := existingPlatform(filepath.Join(d.dir, "platform"))
	if err != nil {
		return world, err
	}
	defer platform.Close()
	report, err := platform.Check(ctx)
	if err != nil {
		return world, err
	}
	world.balanced = report.ImbalanceFen == 0 && report.FundingUnbookedFen == 0 && report.AuditChain == "ok"
	world.held, world.redeemed = report.HeldFen, report.VoucherLiabilityFen
	for _, each := range report.Cards {
		if each.ASN == card.ASN() {
			world.loaded, world.bought, world.expected = each.LoadedFen, each.PurchasedFen, each.ExpectedBalanceFen
		}
	}
	return world, nil
}

// step judges and tells.
func (d *demo) step(name string, ok bool, pairs ...any) {
	text := d.con.t("demo."+name, pairs...)
	d.steps = append(d.steps, demoStep{name, ok, text})
	mark := d.con.t("demo.ok")
	if !ok {
		mark = d.con.t("demo.wrong")
	}
	if !d.con.JSON {
		fmt.Fprintf(d.con.out, "[%s] %s\n", mark, text)
	} else {
		d.con.say(fmt.Sprintf("[%s] %s", mark, text))
	}
}

func (d *demo) read(ctx context.Context, name string, want wallet.Fen) error {
	program, err := d.open(ctx, false, "")
	if err != nil {
		return err
	}
	defer program.Close()
	result, err := program.Core.Query(ctx, nil)
	if err != nil {
		return err
	}
	purse := result.Reading.Purses[0]
	d.step(name, purse.Balance == want && purse.Complete, "Balance", purse.Balance.Yuan(), "Records", len(purse.Records), "APDUs", result.Reading.APDUs)
	return nil
}

// topUp loads the demo amount; the step is told only when it is not to be cut.
func (d *demo) topUp(ctx context.Context, name, fault string, told bool, want wallet.Fen) error {
	if !told {
		return nil
	}
	program, err := d.open(ctx, true, fault)
	if err != nil {
		return err
	}
	result, err := d.load(ctx, program)
	program.Close()
	if err != nil {
		return err
	}
	world, err := d.look(ctx)
	if err != nil {
		return err
	}
	ok := world.balance == want && world.expected == want && world.loaded == demoAmount && world.held == 0 && world.balanced
	d.step(name, ok, "Amount", demoAmount.Yuan(), "Balance", world.balance.Yuan(), "Requests", result.Requests, "Waited", result.RequestsWaited)
	return nil
}

func (d *demo) load(ctx context.Context, program *wire.Program) (core.TopUpResult, error) {
	return program.Core.TopUp(ctx, core.TopUpAsk{
		Amount: demoAmount, Source: "main",
		Confirm:  func(context.Context, core.Confirmation) error { return nil },
		Password: func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil },
		PIN:      func(int) ([]byte, error) { return program.DemoPIN(), nil },
	})
}

// interrupted cuts a top-up with the fault and settles it at the next touch.
func (d *demo) interrupted(ctx context.Context, fault string) error {
	before, err := d.look(ctx)
	if err != nil {
		before = demoWorld{balance: demoCardBalance}
	}
	if err := d.cut(ctx, fault); err != nil {
		return err
	}
	during, err := d.look(ctx)
	if err != nil {
		return err
	}
	d.step("interrupted", d.hit && during.balanced, "Fault", fault, "Balance", during.balance.Yuan(), "Held", during.held.Yuan())

	program, err := d.open(ctx, true, "")
	if err != nil {
		return err
	}
	lines, err := program.Core.Sync(ctx, core.SyncAsk{Intent: wallet.IntentComplete, PIN: func(int) ([]byte, error) { return program.DemoPIN(), nil }})
	requests := program.Core.Platform.Requests()
	program.Close()
	if err != nil {
		return err
	}
	after, err := d.look(ctx)
	if err != nil {
		return err
	}
	moved := after.balance - before.balance
	ok := after.held == 0 && after.balanced && after.expected == after.balance && (moved == demoAmount || moved == 0) && after.loaded-before.loaded == moved
	evidence := "none"
	if len(lines) > 0 {
		evidence = lines[len(lines)-1].Evidence
	}
	d.step("settled", ok, "Balance", after.balance.Yuan(), "Evidence", evidence, "Requests", requests)
	return nil
}

// cut runs a top-up into the fault; ending with an error is the point.
func (d *demo) cut(ctx context.Context, fault string) error {
	if wire.IsProcessFault(fault) {
		args := []string{"topup", "--amount", demoAmount.Yuan(), "--yes", "--demo-credentials", "--quiet", "--json", "--fault", fault,
			"--reader", "virtual:" + d.card, "--platform", "demo:" + filepath.Join(d.dir, "platform"), "--profile", filepath.Join(d.dir, "profile")}
		d.hit = wire.Supervise(fault, args, d.con.in, discard{}, d.con.err) == exitKilled
		return nil
	}
	program, err := d.open(ctx, true, fault)
	if err != nil {
		return err
	}
	defer program.Close()
	_, err = d.load(ctx, program)
	d.hit, _ = wire.FaultHit()
	d.con.say(d.con.t("demo.cut", "Cause", core.Tell(d.con.texts, codeOf(err), false, nil).Title))
	return nil
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return core.Explain(err).Code
}

func (d *demo) history(ctx context.Context) error {
	program, err := d.open(ctx, false, "")
	if err != nil {
		return err
	}
	defer program.Close()
	if _, err := program.Core.Query(ctx, nil); err != nil {
		return err
	}
	history, err := program.Core.Store.History(ctx, core.HistoryFilter{})
	if err != nil {
		return err
	}
	world, err := d.look(ctx)
	if err != nil {
		return err
	}
	d.step("history", history.Total >= 6 && world.balanced, "Records", history.Total, "Gaps", len(history.Gaps))
	return nil
}
