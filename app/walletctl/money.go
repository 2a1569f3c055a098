package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
)

type topupCmd struct {
	Amount        string `required:"" placeholder:"YUAN" help:"In yuan, with a decimal point: 50.00."`
	Source        string `default:"main" help:"main: the main account."`
	Yes           bool   `help:"Do not ask for confirmation."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the payment password, and on the next line the PIN of a card that wants one, from standard input."`
}

type topupObject struct {
	Order            string           `json:"order"`
	State            wallet.LoadState `json:"state"`
	Stage            wallet.Stage     `json:"stage"`
	Attempt          int              `json:"attempt"`
	AmountFen        wallet.Fen       `json:"amountFen"`
	FeeFen           wallet.Fen       `json:"feeFen"`
	BalanceBeforeFen wallet.Fen       `json:"balanceBeforeFen"`
	BalanceAfterFen  wallet.Fen       `json:"balanceAfterFen"`
	TAC              wallet.Hex       `json:"tac"`
	Requests         int              `json:"requests"`
	RequestsWaited   int              `json:"requestsWaited"`
	APDUs            int              `json:"apdus"`
	ElapsedMS        float64          `json:"elapsedMS"`
	Receipt          map[string]any   `json:"receipt"`
	Acknowledged     bool             `json:"acknowledged"`
	Warning          string           `json:"warning,omitempty"`
	Demo             bool             `json:"demo"`
	FaultHit         *bool            `json:"faultHit,omitempty"`
}

func (cmd topupCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, cmd.Yes)
	if err != nil {
		return err
	}
	if cmd.Source != "main" {
		return &core.Failure{Code: "USAGE", Err: fmt.Errorf("source %q: this version loads from main", cmd.Source)}
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	password, err := con.paymentPassword(program, cmd.PasswordStdin)
	if err != nil {
		return err
	}
	result, err := program.Core.TopUp(ctx, core.TopUpAsk{
		Amount: amount, Source: cmd.Source,
		Confirm:  func(_ context.Context, what core.Confirmation) error { return con.confirmTopUp(what, cmd.Yes) },
		Password: password,
		PIN:      con.pin(program, cmd.PasswordStdin),
		Progress: con.progress,
	})
	if err != nil {
		return err
	}
	return con.printTopUp(program, result)
}

func (c *console) confirmTopUp(what core.Confirmation, yes bool) error {
	text := c.t("console.confirmTopup", "Amount", what.Amount.Yuan(), "Fee", what.Fee.Yuan(), "Card", wallet.MaskNumber(what.Purse.Number),
		"Before", what.Purse.Balance.Yuan(), "After", what.BalanceAfter.Yuan())
	if yes {
		c.say(text)
	}
	return c.confirm(text, yes)
}

// paymentPassword asks when the password is needed. From standard input it is read
// now: the card asks for its PIN earlier than the platform for the password, and a
// script must not have its first line tried as a PIN on some cards.
func (c *console) paymentPassword(program *wire.Program, fromStdin bool) (func(context.Context) (string, error), error) {
	known := ""
	if demo := program.DemoCredentials(); demo != nil {
		known = demo.PaymentPassword
	} else if fromStdin {
		var err error
		if known, err = c.secret("", true); err != nil {
			return nil, err
		}
	}
	return func(context.Context) (string, error) {
		if known != "" {
			return known, nil
		}
		return c.secret(c.t("console.paymentPassword"), fromStdin)
	}, nil
}

// pin asks for the card's own PIN, which is never sent anywhere but to the card.
func (c *console) pin(program *wire.Program, fromStdin bool) func(int) ([]byte, error) {
	return func(triesLeft int) ([]byte, error) {
		if pin := program.DemoPIN(); pin != nil {
			return pin, nil
		}
		text, err := c.secret(c.t("console.cardPIN", "Tries", triesLeft), fromStdin)
		if err != nil {
			return nil, err
		}
		return wallet.PINBytes(text)
	}
}

func (c *console) progress(step wallet.Progress) { c.say("  " + c.t("progress."+string(step.Stage))) }

func (c *console) printTopUp(program *wire.Program, result core.TopUpResult) error {
	object := topupObject{
		Order: result.Entry.Order, State: wallet.StateGranted, Stage: result.Entry.Stage, Attempt: result.Entry.Attempt,
		AmountFen: result.Entry.Amount, FeeFen: result.Entry.Fee, BalanceBeforeFen: result.Outcome.BalanceBefore,
		BalanceAfterFen: result.Outcome.BalanceAfter, TAC: result.Outcome.TAC, Requests: result.Requests,
		RequestsWaited: result.RequestsWaited, APDUs: result.APDUs, ElapsedMS: milliseconds(result.Elapsed),
		Acknowledged: result.Acknowledged, Warning: string(result.Warning), Demo: program.IsDemo(),
	}
	if result.State != nil {
		object.State = result.State.State
		if result.State.ReceiptBody != nil {
			object.Receipt = receiptObject(*result.State.ReceiptBody)
		}
		if result.State.State == wallet.StateLoaded {
			object.Stage = wallet.StageConfirmed
		}
	}
	if hit, armed := wire.FaultHit(); armed {
		object.FaultHit = &hit
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, object.Demo)
		fmt.Fprintln(w, c.t("console.toppedUp", "Amount", object.AmountFen.Yuan(), "After", object.BalanceAfterFen.Yuan()))
		fmt.Fprintf(w, "%s\t%s\n%s\t%s\n", c.t("console.order"), object.Order, c.t("console.proof"), object.TAC)
		if !object.Acknowledged {
			fmt.Fprintln(w, c.t("console.notAcknowledged"))
		}
		if object.Warning != "" {
			fmt.Fprintf(w, "! %s\n", c.t("warning."+object.Warning))
		}
	})
}

func (c *console) demoMark(w io.Writer, demo bool) {
	if demo {
		fmt.Fprintln(w, c.t("console.demoMark"))
	}
}

type syncCmd struct {
	Cancel        bool   `help:"Release the money where the card proves that it has not got it."`
	Settle        bool   `help:"Only settle what the card proves to have."`
	Order         string `placeholder:"N" help:"Only this order."`
	PasswordStdin bool   `name:"password-stdin" help:"Read a card PIN from standard input."`
}

type syncObject struct {
	Orders         []syncedObject `json:"orders"`
	Requests       int            `json:"requests"`
	RequestsWaited int            `json:"requestsWaited"`
	FaultHit       *bool          `json:"faultHit,omitempty"`
}

type syncedObject struct {
	Order          string           `json:"order"`
	Kind           string           `json:"kind"`
	From           wallet.LoadState `json:"from"`
	To             wallet.LoadState `json:"to"`
	Intent         wallet.Intent    `json:"intent"`
	AmountFen      wallet.Fen       `json:"amountFen"`
	Requests       int              `json:"requests"`
	RequestsWaited int              `json:"requestsWaited"`
	Evidence       string           `json:"evidence"`
	Debited        *bool            `json:"debited,omitempty"`   // purchases only
	Delivered      *bool            `json:"delivered,omitempty"` // purchases only
}

func (cmd syncCmd) Run(ctx context.Context, con *console) error {
	intent := wallet.IntentComplete
	switch {
	case cmd.Cancel && cmd.Settle:
		return &core.Failure{Code: "USAGE", Err: errors.New("--cancel and --settle exclude each other")}
	case cmd.Cancel:
		intent = wallet.IntentCancel
	case cmd.Settle:
		intent = wallet.IntentSettle
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	lines, err := program.Core.Sync(ctx, core.SyncAsk{Intent: intent, Order: cmd.Order, PIN: con.pin(program, cmd.PasswordStdin), Progress: con.progress})
	object := syncObject{Orders: []syncedObject{}}
	for _, line := range lines {
		object.Orders = append(object.Orders, syncedOf(line))
		object.Requests += line.Requests
		object.RequestsWaited += line.RequestsWaited
	}
	if hit, armed := wire.FaultHit(); armed {
		object.FaultHit = &hit
	}
	if err == nil {
		err = stillOpen(lines)
	}
	if err != nil {
		failure := *core.Explain(err)
		failure.Detail = withOrders(failure.Detail, object.Orders)
		return &failure
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(object.Orders) == 0 {
			fmt.Fprintln(w, con.t("console.nothingOpen"))
		}
		for _, each := range object.Orders {
			fmt.Fprintf(w, "%s\t%s\t%s\n", each.Order, con.yuan(each.AmountFen), con.t("console.settled."+string(each.To)))
		}
	})
}

func syncedOf(line core.SyncLine) syncedObject {
	object := syncedObject{
		Order: line.Order, Kind: line.Kind, From: line.From, To: line.To, Intent: line.Intent, AmountFen: line.Amount,
		Requests: line.Requests, RequestsWaited: line.RequestsWaited, Evidence: line.Evidence,
	}
	if line.Kind == wallet.KindPurchase {
		object.Debited, object.Delivered = line.Debited, &line.Delivered
	}
	return object
}

// stillOpen: an order that stays open, in doubt or in SUSPENSE is exit 6.
func stillOpen(lines []core.SyncLine) error {
	for _, line := range lines {
		if !line.Open() {
			continue
		}
		failure := &core.Failure{Code: "ORDER_OPEN", Detail: map[string]any{"order": line.Order}}
		switch line.To {
		case wallet.LoadState(wallet.PurchaseDoubtful):
			failure.Code = "PURCHASE_DOUBTFUL"
			if line.DoubtEnds != nil {
				failure.Detail["resets"] = *line.DoubtEnds
			}
		case wallet.StateSuspense:
			failure.Code = "ORDER_SUSPENSE"
		}
		return failure
	}
	return nil
}

func withOrders(detail map[string]any, orders []syncedObject) map[string]any {
	merged := map[string]any{"orders": orders}
	for name, value := range detail {
		merged[name] = value
	}
	return merged
}

type ordersCmd struct {
	List   ordersListCmd   `cmd:"" default:"withargs" help:"Where is my money."`
	Report ordersReportCmd `cmd:"" help:"Report a problem with an order: a bundle with a reference number."`
}

type ordersListCmd struct {
	Open bool `help:"Only open orders."`
}

type orderLineObject struct {
	Order     string           `json:"order"`
	Key       string           `json:"key"`
	Kind      string           `json:"kind"`
	State     wallet.LoadState `json:"state"`
	Stage     *wallet.Stage    `json:"stage"`
	AmountFen wallet.Fen       `json:"amountFen"`
	FeeFen    wallet.Fen       `json:"feeFen"`
	ASNMasked string           `json:"asnMasked"`
	Created   string           `json:"created"`
	Paid      bool             `json:"paid"`
	OnCard    *bool            `json:"onCard"`
	Next      string           `json:"next"`
	Merchant  string           `json:"merchant,omitempty"` // purchases only, as those below
	Goods     string           `json:"goods,omitempty"`
	Debited   *bool            `json:"debited,omitempty"`
	Delivered *bool            `json:"delivered,omitempty"`
}

func (cmd ordersListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	lines, stale := program.Core.Orders(ctx, cmd.Open)
	if lines == nil && stale != nil {
		return stale
	}
	object := struct {
		Orders []orderLineObject `json:"orders"`
		Stale  string            `json:"stale,omitempty"`
	}{Orders: []orderLineObject{}}
	if stale != nil {
		object.Stale = core.Explain(stale).Code
		con.say(con.t("console.ordersStale"))
	}
	for _, line := range lines {
		each := orderLineObject{
			Order: line.Order, Key: line.Key, Kind: line.Kind, State: line.State, AmountFen: line.Amount, FeeFen: line.Fee,
			ASNMasked: line.ASN.Masked(), Created: stamp(line.Created), Paid: line.Paid, OnCard: line.OnCard, Next: line.Next,
		}
		if line.Stage != "" {
			each.Stage = &line.Stage
		}
		if line.Kind == wallet.KindPurchase {
			each.Merchant, each.Goods, each.Debited, each.Delivered = line.Merchant, line.Goods, line.Debited, &line.Delivered
		}
		object.Orders = append(object.Orders, each)
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(object.Orders) == 0 {
			fmt.Fprintln(w, con.t("console.noOrders"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", con.t("console.time"), con.t("console.kind"), con.t("console.order"), padded(con.t("console.amountYuan"), amountWidth),
			con.t("console.paid"), con.t("console.outcome"), con.t("console.next"))
		for i, each := range object.Orders {
			one, two := con.fact("console.paid", &each.Paid), con.fact("console.onCard", each.OnCard)
			if each.Kind == wallet.KindPurchase {
				one, two = con.fact("console.debited", each.Debited), con.fact("console.delivered", each.Delivered)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(lines[i].Created), con.t("console.kind."+each.Kind), orNumberless(each.Order),
				padded(each.AmountFen.Yuan(), amountWidth), one, two, con.t("console.next."+each.Next))
		}
	})
}

// orNumberless stands for an order whose number has not reached this computer.
func orNumberless(order string) string {
	if order == "" {
		return "-"
	}
	return order
}

// local is a time of our own as people at the counter read it: Asia/Shanghai.
func local(at time.Time) string { return at.In(shanghai).Format(time.DateTime) }

// fact says yes, no or not known of one fact.
func (c *console) fact(name string, value *bool) string {
	switch {
	case value == nil:
		return c.t(name + ".unknown")
	case *value:
		return c.t(name + ".yes")
	}
	return c.t(name + ".no")
}

type receiptCmd struct {
	Order string `required:"" placeholder:"N"`
	PDF   string `name:"pdf" placeholder:"FILE" hidden:"" help:"Joins with the receipts page."`
}

func (cmd receiptCmd) Run(ctx context.Context, con *console) error {
	if cmd.PDF != "" {
		return &core.Failure{Code: "USAGE", Err: errors.New("this version prints receipts as text")}
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	receipt, err := program.Core.Receipt(ctx, cmd.Order)
	if err != nil {
		if purchase, other := program.Core.PurchaseReceipt(ctx, cmd.Order); other == nil {
			return con.printPurchaseReceipt(purchase)
		}
		return err
	}
	return con.print(map[string]any{"file": nil, "receipt": receiptObject(receipt)}, func(w io.Writer) {
		con.demoMark(w, receipt.Demo)
		for _, row := range [][2]string{
			{"console.order", receipt.Order}, {"console.card", receipt.ASN.Masked()}, {"console.amount", con.yuan(receipt.Amount)}, {"console.fee", con.yuan(receipt.Fee)},
			{"console.state", con.t("console.settled." + string(receipt.State))}, {"console.balanceAfter", con.yuan(receipt.BalanceAfter)},
			{"console.time", local(receipt.Time)}, {"console.terminal", receipt.TID.String()}, {"console.proof", receipt.TAC.String()},
		} {
			fmt.Fprintf(w, "%s\t%s\n", con.t(row[0]), row[1])
		}
	})
}

// receiptObject shows a receipt with the card masked, as on paper.
func receiptObject(receipt wallet.Receipt) map[string]any {
	return map[string]any{
		"order": receipt.Order, "asnMasked": receipt.ASN.Masked(), "amountFen": receipt.Amount, "feeFen": receipt.Fee, "source": receipt.Source,
		"attempt": receipt.Attempt, "terminal": receipt.TID, "tac": receipt.TAC, "balanceBeforeFen": receipt.BalanceBefore,
		"balanceAfterFen": receipt.BalanceAfter, "mainBalanceFen": receipt.MainBalance, "state": receipt.State,
		"time": receipt.Time.In(shanghai).Format(time.RFC3339), "demo": receipt.Demo,
	}
}

// signed shows a movement with its direction.
func signed(amount wallet.Fen) string {
	if amount > 0 {
		return "+" + amount.Yuan()
	}
	return amount.Yuan()
}

// named shows a state or type of the platform in the chosen language; one that is
// not in the catalogue stays as it is.
func (c *console) named(prefix, name string) string {
	if c.texts.Has(prefix + name) {
		return c.t(prefix + name)
	}
	return name
}

type loginCmd struct {
	Phone         string `placeholder:"P" help:"Phone number of the account; the demo's own without one."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the login password, then an SMS code, from standard input."`
	PasswordFile  string `name:"password-file" type:"existingfile" placeholder:"FILE" help:"Read the login password from a file."`
}

func (cmd loginCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	demo := program.DemoCredentials()
	phone := cmd.Phone
	if phone == "" && demo != nil {
		phone = program.DemoPhone()
	}
	if phone == "" {
		return &core.Failure{Code: "USAGE", Err: errors.New("--phone is missing")}
	}
	password, err := cmd.password(con, program)
	if err != nil {
		return err
	}
	err = program.Core.Login(ctx, phone, password, func(context.Context, string) (string, error) {
		if demo != nil {
			return demo.SMSCode, nil
		}
		return con.secret(con.t("console.smsCode"), cmd.PasswordStdin)
	})
	if err != nil {
		return err
	}
	session := program.Core.Platform.Session()
	object := map[string]any{"user": session.User, "phone": session.Phone, "demo": session.Demo, "cards": len(session.Cards), "openOrders": len(session.OpenOrders)}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, session.Demo)
		fmt.Fprintln(w, con.t("console.loggedIn", "Phone", session.Phone))
	})
}

func (cmd loginCmd) password(con *console, program *wire.Program) (string, error) {
	if demo := program.DemoCredentials(); demo != nil {
		return demo.LoginPassword, nil
	}
	if cmd.PasswordFile == "" {
		return con.secret(con.t("console.loginPassword"), cmd.PasswordStdin)
	}
	raw, err := os.ReadFile(cmd.PasswordFile)
	if err != nil {
		return "", &core.Failure{Code: "USAGE", Err: err}
	}
	return trimLine(string(raw)), nil
}

func trimLine(text string) string {
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	return text
}

type logoutCmd struct{}

func (logoutCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Core.Logout(ctx); err != nil {
		return err
	}
	return con.print(map[string]any{"loggedIn": false}, func(w io.Writer) { fmt.Fprintln(w, con.t("console.loggedOut")) })
}

type accountCmd struct{}

func (accountCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	account, err := program.Core.Account(ctx)
	if err != nil {
		return err
	}
	object := map[string]any{"account": map[string]any{
		"phone": account.Phone, "state": account.State, "tier": account.Tier, "mainFen": account.Main, "heldFen": account.Held,
		"limits": map[string]any{
			"purseCapFen": account.Limits.PurseCap, "loadMinFen": account.Limits.LoadMin, "loadMaxFen": account.Limits.LoadMax,
			"cardDayCount": account.Limits.CardDayCount, "cardDaySumFen": account.Limits.CardDaySum,
			"accountDaySumFen": account.Limits.AccountDaySum, "deviceDaySumFen": account.Limits.DeviceDaySum,
			"loadedTodayFen": account.LoadedToday, "resets": account.LimitsReset.In(shanghai).Format(time.RFC3339),
		},
	}}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintf(w, "%s\t%s\n%s\t%s\n%s\t%s\n%s\t%s\n", con.t("console.phone"), account.Phone, con.t("console.state"), con.named("console.accountState.", account.State),
			con.t("console.mainAccount"), con.yuan(account.Main), con.t("console.held"), con.yuan(account.Held))
	})
}

type statementCmd struct {
	From string `placeholder:"DATE"`
	To   string `placeholder:"DATE"`
	Type string
}

func (cmd statementCmd) Run(ctx context.Context, con *console) error {
	from, err := day(cmd.From)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	to, err := day(cmd.To)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if !to.IsZero() {
		to = to.AddDate(0, 0, 1)
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	statement, err := program.Core.Statement(ctx, from, to, cmd.Type)
	if err != nil {
		return err
	}
	lines := []map[string]any{}
	for _, line := range statement.Lines {
		lines = append(lines, map[string]any{"time": stamp(line.Time), "type": line.Type, "amountFen": line.Amount, "balanceFen": line.Balance, "order": orNull(line.Order)})
	}
	return con.print(map[string]any{"lines": lines}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(lines) == 0 {
			fmt.Fprintln(w, con.t("console.noMovements"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", con.t("console.time"), con.t("console.type"), padded(con.t("console.amountYuan"), amountWidth),
			padded(con.t("console.balanceYuan"), amountWidth), con.t("console.order"))
		for _, line := range statement.Lines {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", local(line.Time), con.named("console.movement.", line.Type),
				padded(signed(line.Amount), amountWidth), padded(line.Balance.Yuan(), amountWidth), line.Order)
		}
	})
}

type cardsCmd struct {
	List cardsListCmd `cmd:"" default:"1" help:"Cards of the account."`
	Add  cardsAddCmd  `cmd:"" help:"Add the card on the reader."`
}

type cardsListCmd struct{}

func (cardsListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	account, err := program.Core.Account(ctx)
	if err != nil {
		return err
	}
	cards := []map[string]any{}
	for _, card := range account.Cards {
		cards = append(cards, map[string]any{"asnMasked": card.ASN.Masked(), "numberMasked": card.ASN.Masked(), "state": card.State, "profile": card.Profile, "openOrder": orNull(card.OpenOrder)})
	}
	return con.print(map[string]any{"cards": cards}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		if len(cards) == 0 {
			fmt.Fprintln(w, con.t("console.noCards"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", con.t("console.card"), con.t("console.state"), con.t("console.openOrder"))
		for _, card := range account.Cards {
			fmt.Fprintf(w, "%s\t%s\t%s\n", card.ASN.Masked(), con.named("console.cardState.", card.State), orNumberless(card.OpenOrder))
		}
	})
}

type cardsAddCmd struct{}

func (cardsAddCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	card, err := program.Core.AddCard(ctx)
	if err != nil {
		return err
	}
	object := map[string]any{"cards": []map[string]any{{"asnMasked": card.ASN.Masked(), "state": card.State, "profile": card.Profile}}}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.cardAdded", "Card", card.ASN.Masked()))
	})
}
