package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

type readersCmd struct {
	List readersListCmd `cmd:"" default:"withargs" help:"Readers and their state; the same without a word. --watch prints one object per line on every change."`
	Try  readersTryCmd  `cmd:"" help:"Check a reader with any card: waits for it, reads it, lets you take it away and put it back."`
}

type readersListCmd struct {
	Watch bool `help:"Print one object per line on every change."`
}

type readersObject struct {
	Service string         `json:"service"`
	Readers []readerObject `json:"readers"`
}

type readerObject struct {
	Name   string       `json:"name"`
	Driver string       `json:"driver"`
	State  reader.State `json:"state"`
	ATR    wallet.Hex   `json:"atr"`
	Serial *string      `json:"serial"`
	Holder *string      `json:"holder"`
}

func (cmd readersListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.openCard(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	if cmd.Watch {
		err := program.Core.WatchReaders(ctx, func(infos []reader.Info, err error) {
			line, _ := json.Marshal(readersOf(infos, err))
			fmt.Fprintln(con.out, string(line))
		})
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	infos, err := program.Core.Readers(ctx)
	if class := reader.ClassOf(err); err != nil && class != reader.NoService && class != reader.NoAccess {
		return err
	}
	object := readersOf(infos, err)
	return con.print(object, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\n", con.t("console.service"), con.t("console.service."+object.Service))
		fmt.Fprintln(w)
		for _, each := range object.Readers {
			state := con.t("console.reader." + string(each.State))
			if each.Holder != nil {
				state += ", " + con.t("console.heldBy", "Holder", *each.Holder)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", each.Name, state, each.ATR)
		}
		if len(object.Readers) == 0 {
			fmt.Fprintln(w, con.t("error.READER_NONE.title"))
		}
	})
}

func readersOf(infos []reader.Info, err error) readersObject {
	object := readersObject{Service: "ok", Readers: []readerObject{}}
	switch reader.ClassOf(err) {
	case reader.NoService:
		object.Service = "not-running"
	case reader.NoAccess:
		object.Service = "denied"
	}
	for _, info := range infos {
		object.Readers = append(object.Readers, readerObject{
			Name: info.Name, Driver: info.Driver, State: info.State, ATR: info.ATR, Serial: orNull(info.Serial), Holder: orNull(info.Holder),
		})
	}
	return object
}

type queryCmd struct {
	Offline bool `help:"Accepted for clarity: query never touches the network."`
	Reveal  bool `help:"Show the card number in full."`
}

type cardObject struct {
	Profile      string     `json:"profile"`
	AID          wallet.Hex `json:"aid"`
	ASNMasked    string     `json:"asnMasked"`
	NumberMasked string     `json:"numberMasked"`
	ASN          string     `json:"asn,omitempty"`
	Number       string     `json:"number,omitempty"`
	ValidFrom    string     `json:"validFrom"`
	ValidUntil   string     `json:"validUntil"`
}

type recordObject struct {
	Index     int        `json:"index"`
	SFI       string     `json:"sfi"`
	Counter   uint16     `json:"counter"`
	Type      string     `json:"type"`
	TypeCode  string     `json:"typeCode"`
	AmountFen wallet.Fen `json:"amountFen"`
	Terminal  string     `json:"terminal"`
	Time      *string    `json:"time"`
	Raw       wallet.Hex `json:"raw"`
	Problem   *string    `json:"problem"`
}

type purseObject struct {
	Card       cardObject     `json:"card"`
	BalanceFen wallet.Fen     `json:"balanceFen"`
	HighBit    bool           `json:"balanceHighBit,omitempty"`
	Records    []recordObject `json:"records"`
	Complete   bool           `json:"complete"`
	Problems   []string       `json:"problems"`
}

type queryObject struct {
	purseObject
	Reader         string        `json:"reader"`
	ReadAt         string        `json:"readAt"`
	APDUs          int           `json:"apdus"`
	APDUsToBalance int           `json:"apdusToBalance"`
	APDUsProbe     int           `json:"apdusProbe"`
	ElapsedMS      float64       `json:"elapsedMS"`
	More           []purseObject `json:"more"`
	Warning        string        `json:"warning,omitempty"` // why the reading is not in the history
	FaultHit       *bool         `json:"faultHit,omitempty"`
}

func (cmd queryCmd) Run(ctx context.Context, con *console) error {
	program, err := con.openCard(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	result, err := program.Core.Query(ctx, nil)
	if err != nil {
		return err
	}
	reading := result.Reading
	object := queryObject{
		purseObject: con.purse(reading.Purses[0], cmd.Reveal), Reader: result.Reader.Name, ReadAt: stamp(result.At),
		APDUs: reading.APDUs, APDUsToBalance: reading.APDUsToBalance, APDUsProbe: reading.APDUsProbe,
		ElapsedMS: milliseconds(result.Elapsed), More: []purseObject{}, FaultHit: faultHit(),
	}
	object.Problems = append(object.Problems, reading.Problems...)
	object.Problems = append(object.Problems, program.CardProblems()...)
	for _, purse := range reading.Purses[1:] {
		object.More = append(object.More, con.purse(purse, cmd.Reveal))
	}
	if result.Warning != nil {
		object.Warning = core.Explain(result.Warning).Code
		con.say(con.t("console.historyNotKept", "Cause", result.Warning.Error()))
	}
	return con.print(object, func(w io.Writer) {
		con.printPurse(w, object.purseObject)
		for _, more := range object.More {
			fmt.Fprintln(w)
			con.printPurse(w, more)
		}
	})
}

func (c *console) purse(purse wallet.Purse, reveal bool) purseObject {
	object := purseObject{
		Card: cardObject{
			Profile: purse.Profile.Name, AID: purse.AID, ASNMasked: purse.ASN.Masked(), NumberMasked: wallet.MaskNumber(purse.Number),
			ValidFrom: cardDate(purse.ValidFrom), ValidUntil: cardDate(purse.ValidUntil),
		},
		BalanceFen: purse.Balance, HighBit: purse.BalanceHighBit, Records: []recordObject{}, Complete: purse.Complete, Problems: []string{},
	}
	if reveal {
		object.Card.ASN, object.Card.Number = purse.ASN.String(), purse.Number
	}
	for _, record := range purse.Records {
		object.Records = append(object.Records, recordObject{
			Index: record.Index, SFI: fmt.Sprintf("%02X", record.SFI), Counter: record.Counter,
			Type: c.typeName(record.Type), TypeCode: fmt.Sprintf("%02X", record.Type), AmountFen: record.Amount,
			Terminal: record.Terminal.String(), Time: cardTime(record.Time), Raw: record.Raw, Problem: orNull(record.Problem),
		})
	}
	object.Problems = append(object.Problems, purse.Problems...)
	return object
}

func (c *console) printPurse(w io.Writer, purse purseObject) {
	number := purse.Card.NumberMasked
	if purse.Card.Number != "" {
		number = purse.Card.Number
	}
	fmt.Fprintf(w, "%s\t%s\n", c.t("console.card"), number)
	fmt.Fprintf(w, "%s\t%s\n", c.t("console.profile"), purse.Card.Profile)
	fmt.Fprintf(w, "%s\t%s – %s\n", c.t("console.valid"), purse.Card.ValidFrom, purse.Card.ValidUntil)
	fmt.Fprintf(w, "%s\t%s\n", c.t("console.balance"), c.yuan(purse.BalanceFen))
	if len(purse.Records) > 0 {
		fmt.Fprintln(w)
		c.printRecordHead(w, "")
	}
	for _, record := range purse.Records {
		c.printRecord(w, record, "")
	}
	if len(purse.Records) == 0 && purse.Complete {
		fmt.Fprintln(w, c.t("console.noRecords"))
	}
	if !purse.Complete {
		fmt.Fprintln(w, c.t("console.incomplete"))
	}
	for _, problem := range purse.Problems {
		fmt.Fprintf(w, "! %s\n", problem)
	}
}

// printRecordHead names the columns of printRecord; card is empty where all records
// are of one card.
func (c *console) printRecordHead(w io.Writer, card string) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", padded(c.t("console.counter"), 5), c.t("console.time"), c.t("console.type"),
		padded(c.t("console.amountYuan"), amountWidth), c.t("console.terminal"), card)
}

// printRecord shows one record; card is empty where all records are of one card.
func (c *console) printRecord(w io.Writer, record recordObject, card string) {
	when, problem := "-", ""
	if record.Time != nil {
		when = strings.Replace((*record.Time)[:19], "T", " ", 1)
	}
	if record.Problem != nil {
		problem = "! " + *record.Problem
	}
	amount := padded(directed(record), amountWidth)
	fmt.Fprintf(w, "%5d\t%s\t%s\t%s\t%s\t%s\t%s\n", record.Counter, when, record.Type, amount, record.Terminal, card, problem)
}

// directed is the amount with its direction: loads raise the balance, everything
// else that is logged lowers it. Entering a metro station is logged with 0.00.
func directed(record recordObject) string {
	switch {
	case record.AmountFen == 0:
		return record.AmountFen.Yuan()
	case record.TypeCode == "01" || record.TypeCode == "02":
		return "+" + record.AmountFen.Yuan()
	}
	return "-" + record.AmountFen.Yuan()
}

type historyCmd struct {
	From   string `placeholder:"DATE" help:"First day, YYYY-MM-DD (Asia/Shanghai)."`
	To     string `placeholder:"DATE" help:"Last day, inclusive."`
	Type   string `help:"Two hex digits as logged, such as 02; several with commas."`
	Min    string `placeholder:"YUAN"`
	Max    string `placeholder:"YUAN"`
	Text   string `help:"In terminal or order number."`
	Card   string `placeholder:"SERIAL" help:"16 or 20 hex digits."`
	Export string `placeholder:"FILE" help:"Write the selected records as .csv or .json."`
}

type historyObject struct {
	Records []historyRecord `json:"records"`
	Gaps    []gapObject     `json:"gaps"`
	Totals  totalsObject    `json:"totals"`
	File    string          `json:"file,omitempty"`
}

type historyRecord struct {
	recordObject
	ASNMasked string  `json:"asnMasked"`
	Order     *string `json:"order"`
}

type gapObject struct {
	ASNMasked string `json:"asnMasked"`
	Kind      string `json:"kind"` // load, purchase
	From      uint16 `json:"from"`
	To        uint16 `json:"to"`
}

type totalsObject struct {
	Records int        `json:"records"`
	InFen   wallet.Fen `json:"inFen"`
	OutFen  wallet.Fen `json:"outFen"`
}

func (cmd historyCmd) Run(ctx context.Context, con *console) error {
	filter, err := cmd.filter()
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	program, err := con.open(ctx, false)
	if err != nil {
		return err
	}
	defer program.Close()
	history, err := program.Core.Store.History(ctx, filter)
	if err != nil {
		return err
	}
	object := con.history(history)
	if cmd.Export != "" {
		if err := exportHistory(cmd.Export, object); err != nil {
			return err
		}
		object.File = cmd.Export
	}
	return con.print(object, func(w io.Writer) {
		if len(object.Records) == 0 {
			fmt.Fprintln(w, con.t("console.noHistory"))
			return
		}
		con.printRecordHead(w, con.t("console.card"))
		for _, record := range object.Records {
			con.printRecord(w, record.recordObject, record.ASNMasked)
		}
		for _, gap := range object.Gaps {
			fmt.Fprintf(w, "! %s\n", con.t("console.gap", "Card", gap.ASNMasked, "Kind", con.t("console.gap."+gap.Kind), "From", gap.From, "To", gap.To))
		}
		fmt.Fprintln(w, con.t("console.totals", "Records", object.Totals.Records, "In", object.Totals.InFen.Yuan(), "Out", object.Totals.OutFen.Yuan()))
	})
}

func (cmd historyCmd) filter() (filter core.HistoryFilter, err error) {
	filter.Text = cmd.Text
	if filter.From, err = day(cmd.From); err != nil {
		return filter, err
	}
	if filter.To, err = day(cmd.To); err != nil {
		return filter, err
	}
	if !filter.To.IsZero() {
		filter.To = filter.To.AddDate(0, 0, 1)
	}
	for _, code := range strings.FieldsFunc(cmd.Type, func(r rune) bool { return r == ',' }) {
		value, err := strconv.ParseUint(code, 16, 8)
		if err != nil || len(code) != 2 {
			return filter, fmt.Errorf("type %q is not two hex digits", code)
		}
		filter.Types = append(filter.Types, byte(value))
	}
	if filter.Min, err = bound(cmd.Min); err != nil {
		return filter, err
	}
	if filter.Max, err = bound(cmd.Max); err != nil {
		return filter, err
	}
	if cmd.Card != "" {
		asn, err := wallet.ParseASN(cmd.Card)
		if err != nil {
			return filter, err
		}
		filter.ASN = &asn
	}
	return filter, nil
}

// bound reads an amount that only selects: 5000 without a point does no harm here.
func bound(text string) (wallet.Fen, error) {
	if text == "" {
		return 0, nil
	}
	amount, err := wallet.ParseYuan(text)
	if errors.Is(err, wallet.ErrAmountNeedsPoint) {
		err = nil
	}
	return amount, err
}

func (c *console) history(history core.History) historyObject {
	object := historyObject{Records: []historyRecord{}, Gaps: []gapObject{}, Totals: totalsObject{history.Total, history.InFen, history.OutFen}}
	for i, record := range history.Records {
		object.Records = append(object.Records, historyRecord{
			recordObject: recordObject{
				Index: i + 1, SFI: fmt.Sprintf("%02X", record.SFI), Counter: record.Counter, Type: c.typeName(record.Type),
				TypeCode: fmt.Sprintf("%02X", record.Type), AmountFen: record.Amount, Terminal: record.Terminal.String(),
				Time: cardTime(record.Time), Raw: record.Raw, Problem: orNull(record.Problem),
			},
			ASNMasked: record.ASN.Masked(), Order: orNull(record.Order),
		})
	}
	for _, gap := range history.Gaps {
		kind := "purchase"
		if gap.Online {
			kind = "load"
		}
		object.Gaps = append(object.Gaps, gapObject{gap.ASN.Masked(), kind, gap.From, gap.To})
	}
	return object
}

// exportHistory writes the selected records; the suffix chooses the form.
func exportHistory(file string, object historyObject) error {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".json":
		raw, err := json.MarshalIndent(object, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(file, append(raw, '\n'), 0o600)
	case ".csv":
		return os.WriteFile(file, historyCSV(object), 0o600)
	}
	return &core.Failure{Code: "USAGE", Err: fmt.Errorf("export to %q: the file must end in .csv or .json", file)}
}
