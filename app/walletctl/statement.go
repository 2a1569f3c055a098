package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// selectionFlags narrow statements and lists of orders.
type selectionFlags struct {
	From  string `placeholder:"DATE" help:"First business day, YYYY-MM-DD (Asia/Shanghai)."`
	To    string `placeholder:"DATE" help:"Last business day, inclusive."`
	Min   string `placeholder:"YUAN" help:"Smallest amount, whatever its direction."`
	Max   string `placeholder:"YUAN" help:"Largest amount."`
	Text  string `help:"A part of the order's number, of a shop's name or of its goods."`
	Limit int    `default:"100" placeholder:"N" help:"How many lines at most, the newest; 0: all."`
}

func (f selectionFlags) selection() (selection api.Selection, err error) {
	for _, date := range []string{f.From, f.To} {
		if _, err := day(date); err != nil {
			return selection, &core.Failure{Code: "USAGE", Err: err}
		}
	}
	least, err := bound(f.Min)
	if err != nil {
		return selection, amountFailure(err)
	}
	most, err := bound(f.Max)
	if err != nil {
		return selection, amountFailure(err)
	}
	if f.Limit < 0 {
		return selection, &core.Failure{Code: "USAGE", Err: fmt.Errorf("--limit %d: 0 or more", f.Limit)}
	}
	if len(f.Text) > api.MaxSelectionText {
		return selection, &core.Failure{Code: "USAGE", Err: fmt.Errorf("--text: at most %d bytes", api.MaxSelectionText)}
	}
	return api.Selection{From: f.From, To: f.To, Min: int64(least), Max: int64(most), Text: f.Text}, nil
}

// lines is how many are wanted: a file gets all that fit, unless it was said otherwise.
func (f selectionFlags) lines(export string) int {
	if export != "" && f.Limit == 100 {
		return 0
	}
	return f.Limit
}

type statementCmd struct {
	selectionFlags
	Type   string `help:"Kind of movement, such as load-hold; --json shows them."`
	Order  string `placeholder:"N" help:"Movements of one order."`
	Export string `placeholder:"FILE" help:"Write the selected lines as .csv or .json; all of them unless --limit says otherwise."`
}

type statementObject struct {
	Lines []statementLineObject `json:"lines"`
	More  bool                  `json:"more"` // older ones fit as well
	File  string                `json:"file,omitempty"`
}

type statementLineObject struct {
	Time       string     `json:"time"`
	Type       string     `json:"type"`
	AmountFen  wallet.Fen `json:"amountFen"`
	BalanceFen wallet.Fen `json:"balanceFen"`
	Order      *string    `json:"order"`
}

func (cmd statementCmd) Run(ctx context.Context, con *console) error {
	selection, err := cmd.selection()
	if err != nil {
		return err
	}
	selection.Type, selection.Order = cmd.Type, cmd.Order
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	statement, err := program.Core.Statement(ctx, selection, cmd.lines(cmd.Export))
	if err != nil {
		return err
	}
	object := statementObject{Lines: []statementLineObject{}, More: statement.More}
	var rows [][]string
	for _, line := range statement.Lines {
		object.Lines = append(object.Lines, statementLineObject{stamp(line.Time), line.Type, line.Amount, line.Balance, orNull(line.Order)})
		rows = append(rows, []string{line.Time.In(shanghai).Format(time.RFC3339), line.Type, line.Amount.Yuan(), line.Balance.Yuan(), safeCell(line.Order)})
	}
	if cmd.Export != "" {
		if err := export(cmd.Export, object, []string{"time", "type", "amountYuan", "balanceYuan", "order"}, rows); err != nil {
			return err
		}
		object.File = cmd.Export
	}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		con.printStatement(w, statement)
	})
}

func (c *console) printStatement(w io.Writer, statement core.Statement) {
	if len(statement.Lines) == 0 {
		fmt.Fprintln(w, c.t("console.noMovements"))
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.t("console.time"), c.t("console.type"), padded(c.t("console.amountYuan"), amountWidth),
		padded(c.t("console.balanceYuan"), amountWidth), c.t("console.order"))
	for _, line := range statement.Lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", local(line.Time), c.named("console.movement.", line.Type),
			padded(signed(line.Amount), amountWidth), padded(line.Balance.Yuan(), amountWidth), line.Order)
	}
	if statement.More {
		fmt.Fprintln(w, c.t("console.moreLines"))
	}
}
