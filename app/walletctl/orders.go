package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

type ordersCmd struct {
	List   ordersListCmd   `cmd:"" default:"withargs" help:"Where is my money."`
	Report ordersReportCmd `cmd:"" help:"Report a problem with an order: a bundle with a reference number."`
}

type ordersListCmd struct {
	selectionFlags
	Open   bool   `help:"Only open orders."`
	State  string `help:"Only orders in this state, such as LOADED."`
	Kind   string `enum:",load,purchase,funding,bank-return" default:"" placeholder:"KIND" help:"Only load, purchase, funding or bank-return."`
	Card   string `placeholder:"SERIAL" help:"Only orders of one card: 16 or 20 hex digits."`
	Export string `placeholder:"FILE" help:"Write the selected orders as .csv or .json; all of them unless --limit says otherwise."`
}

func (cmd ordersListCmd) orderSelection() (selection core.OrderSelection, err error) {
	if selection.Selection, err = cmd.selection(); err != nil {
		return selection, err
	}
	selection.Open, selection.State, selection.Kind = cmd.Open, cmd.State, cmd.Kind
	if cmd.Card != "" {
		asn, err := wallet.ParseASN(cmd.Card)
		if err != nil {
			return selection, &core.Failure{Code: "USAGE", Err: err}
		}
		selection.Card = asn.String()
	}
	return selection, nil
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
	Source    string           `json:"source,omitempty"`   // of fundings and returns
	Merchant  string           `json:"merchant,omitempty"` // purchases only, as those below
	Goods     string           `json:"goods,omitempty"`
	Debited   *bool            `json:"debited,omitempty"`
	Delivered *bool            `json:"delivered,omitempty"`
}

type ordersObject struct {
	Orders []orderLineObject `json:"orders"`
	More   bool              `json:"more"` // older ones fit as well
	Stale  string            `json:"stale,omitempty"`
	File   string            `json:"file,omitempty"`
}

func (cmd ordersListCmd) Run(ctx context.Context, con *console) error {
	selection, err := cmd.orderSelection()
	if err != nil {
		return err
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	found, err := program.Core.FindOrders(ctx, selection, cmd.lines(cmd.Export))
	if err != nil {
		return err
	}
	if found.Lines == nil && found.Stale != nil {
		return found.Stale
	}
	object := ordersObject{Orders: []orderLineObject{}, More: found.More}
	if found.Stale != nil {
		object.Stale = core.Explain(found.Stale).Code
		con.say(con.t("console.ordersStale"))
	}
	object.add(found.Lines)
	if cmd.Export != "" {
		if err := object.export(cmd.Export); err != nil {
			return err
		}
		object.File = cmd.Export
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		con.printOrders(w, object, found.Lines)
	})
}

// add appends orders in the form of the console.
func (object *ordersObject) add(lines []core.OrderLine) {
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
		if line.Kind == wallet.KindFunding || line.Kind == core.KindBankReturn {
			each.ASNMasked, each.Source = "", line.Source
		}
		object.Orders = append(object.Orders, each)
	}
}

func (object ordersObject) export(file string) error {
	var rows [][]string
	for _, each := range object.Orders {
		rows = append(rows, []string{
			each.Created, each.Kind, safeCell(each.Order), string(each.State), each.AmountFen.Yuan(), each.FeeFen.Yuan(), each.ASNMasked,
			strconv.FormatBool(each.Paid), each.Next, safeCell(each.Merchant), safeCell(each.Goods),
		})
	}
	return export(file, object, []string{"created", "kind", "order", "state", "amountYuan", "feeYuan", "card", "paid", "next", "merchant", "goods"}, rows)
}

func (c *console) printOrders(w io.Writer, object ordersObject, lines []core.OrderLine) {
	if len(object.Orders) == 0 {
		fmt.Fprintln(w, c.t("console.noOrders"))
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.t("console.time"), c.t("console.kind"), c.t("console.order"), padded(c.t("console.amountYuan"), amountWidth),
		c.t("console.paid"), c.t("console.outcome"), c.t("console.next"))
	for i, each := range object.Orders {
		one, two := c.fact("console.paid", &each.Paid), c.fact("console.onCard", each.OnCard)
		if each.Kind == wallet.KindPurchase {
			one, two = c.fact("console.debited", each.Debited), c.fact("console.delivered", each.Delivered)
		}
		next := c.t("console.next." + each.Next)
		if each.Kind == wallet.KindFunding {
			one, two, next = c.fact("console.arrived", &each.Paid), c.sourceName(each.Source), c.t("console.fundingNext."+each.Next)
		}
		if each.Kind == core.KindBankReturn {
			one, two, next = c.named("console.bank.returnState.", string(each.State)), c.sourceName(each.Source), c.t("console.bank.returnNext."+each.Next)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(lines[i].Created), c.t("console.kind."+each.Kind), orNumberless(each.Order),
			padded(amountOrDash(each.AmountFen), amountWidth), one, two, next)
	}
	if object.More {
		fmt.Fprintln(w, c.t("console.moreLines"))
	}
}
