package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
)

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
	return con.settled(program, lines, err)
}

// settled prints what became of the orders of a card; one that stays open fails.
func (c *console) settled(program *wire.Program, lines []core.SyncLine, err error) error {
	object := syncObject{Orders: []syncedObject{}, FaultHit: faultHit()}
	for _, line := range lines {
		object.Orders = append(object.Orders, syncedOf(line))
		object.Requests += line.Requests
		object.RequestsWaited += line.RequestsWaited
	}
	if err == nil {
		err = stillOpen(lines)
	}
	if err != nil {
		failure := *core.Explain(err)
		failure.Detail = withOrders(failure.Detail, object.Orders)
		return &failure
	}
	return c.print(object, func(w io.Writer) {
		c.demoMark(w, program.IsDemo())
		if len(object.Orders) == 0 {
			fmt.Fprintln(w, c.t("console.nothingOpen"))
		}
		for _, each := range object.Orders {
			fmt.Fprintf(w, "%s\t%s\t%s\n", each.Order, c.yuan(each.AmountFen), c.t("console.settled."+string(each.To)))
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
		if line.Refused != "" {
			failure.Detail["refused"] = line.Refused
			if line.Standing != "" {
				failure.Detail["standing"] = line.Standing
			}
			if line.Until != nil {
				failure.Detail["resets"] = *line.Until
			}
		}
		switch line.To {
		case wallet.LoadState(wallet.PurchaseDoubtful):
			failure.Code = "PURCHASE_DOUBTFUL"
			if line.DoubtEnds != nil {
				failure.Detail["resets"] = *line.DoubtEnds
			}
		case wallet.StateSuspense:
			failure.Code = "ORDER_SUSPENSE"
		case wallet.LoadState(wallet.FundingPending), wallet.LoadState(wallet.FundingReversing):
			failure.Code = "FUNDING_PENDING"
		}
		return failure
	}
	return nil
}

func withOrders(detail map[string]any, orders []syncedObject) map[string]any {
	merged := map[string]any{"orders": orders}
	maps.Copy(merged, detail)
	return merged
}
