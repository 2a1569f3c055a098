package main

import (
	"context"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

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
	Source    string           `json:"source,omitempty"`   // of fundings and returns
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
		if line.Kind == wallet.KindFunding || line.Kind == core.KindBankReturn {
			each.ASNMasked, each.Source = "", line.Source
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
			next := con.t("console.next." + each.Next)
			if each.Kind == wallet.KindFunding {
				one, two, next = con.fact("console.arrived", &each.Paid), con.sourceName(each.Source), con.t("console.fundingNext."+each.Next)
			}
			if each.Kind == core.KindBankReturn {
				one, two, next = con.named("console.bank.returnState.", string(each.State)), con.sourceName(each.Source), con.t("console.bank.returnNext."+each.Next)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(lines[i].Created), con.t("console.kind."+each.Kind), orNumberless(each.Order),
				padded(amountOrDash(each.AmountFen), amountWidth), one, two, next)
		}
	})
}
