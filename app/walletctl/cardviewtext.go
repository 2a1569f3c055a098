package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// recordLine is one record in words, as far as it is described.
func (c *console) recordLine(a wallet.Application, file wallet.File, record wallet.FileRecord) string {
	if record.Unused() {
		return c.t("cardview.unused")
	}
	switch file.Kind() {
	case wallet.FileLog:
		meaning := wallet.OverdraftUnknown
		if a.Profile != nil {
			meaning = a.Profile.LogOverdraft
		}
		parsed := wallet.ParseRecord(record.Raw, file.SFI, record.Index, meaning)
		text := fmt.Sprintf("%d  %s  %s  %s  %s", parsed.Counter, clock(parsed.Time), c.typeName(parsed.Type), parsed.Amount.Yuan(), parsed.Terminal)
		if parsed.HasBalanceAfter {
			text += "  " + c.t("cardview.balanceAfter", "Amount", parsed.BalanceAfter.Yuan())
		}
		if parsed.Problem != "" {
			text += "  ! " + parsed.Problem
		}
		return text
	case wallet.FileJourneys:
		journey, err := wallet.ParseJourney(record.Raw, record.Index)
		if err != nil {
			return ""
		}
		return c.t("cardview.journey", "Time", clock(journey.Time), "Type", fmt.Sprintf("%02X", journey.Type), "Mode", fmt.Sprintf("%02X", journey.Mode),
			"Terminal", journey.Terminal, "Station", journey.Station, "Amount", journey.Amount.Yuan(), "Balance", journey.Balance.Yuan(), "City", journey.City)
	case wallet.FileECashLog:
		format, _ := a.DataObject(0x9F4F)
		fields, err := wallet.ParseDOL(format)
		if err != nil {
			return ""
		}
		parsed := wallet.ParseECashRecord(fields, record.Raw, record.Index)
		if !parsed.Known {
			return ""
		}
		return fmt.Sprintf("%d  %s  %s  %s", parsed.Counter, clock(parsed.Time), parsed.Amount.Yuan(), gbk(parsed.Merchant))
	}
	return ""
}

// clock is a time of the card, or a dash.
func clock(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Format(time.DateTime)
}

// anomalies puts what is odd about each purse into words.
func (c *console) anomalies(view wallet.View, now time.Time) []anomalyObject {
	list := []anomalyObject{}
	for _, purse := range view.Reading.Purses {
		for _, found := range wallet.Anomalies(purse, now) {
			list = append(list, c.anomaly(purse.AID, purse.Profile.Name, found))
		}
	}
	for _, application := range view.Applications {
		if tries, known := application.PINTries(); known {
			for _, found := range wallet.PINAnomalies(tries) {
				list = append(list, c.anomaly(application.Name, application.Title(), found))
			}
		}
	}
	return list
}

func (c *console) anomaly(aid wallet.Hex, application string, found wallet.Anomaly) anomalyObject {
	object := anomalyObject{Code: found.Code, Severity: found.Severity, AIDOf: aid}
	kind := "purchase"
	if found.Online {
		kind = "load"
	}
	facts := []any{
		"Application", application, "Record", found.Record, "Older", found.Older, "SFI", fmt.Sprintf("%02X", found.SFI), "Kind", c.t("cardview.kind." + kind),
		"Expected", found.Expected, "Found", found.Found, "Last", found.Found - 1,
		"ExpectedYuan", wallet.Fen(found.Expected).Yuan(), "FoundYuan", wallet.Fen(found.Found).Yuan(),
		"From", clock(found.From), "Until", clock(found.Until), "FirstDay", cardDate(found.From), "LastDay", cardDate(found.Until),
	}
	key := "cardview.anomaly." + string(found.Code)
	if found.Problem != "" {
		facts = append(facts, "Problem", c.t("cardview.garbage."+found.Problem))
	}
	if found.Code == wallet.AnomalyArithmetic && found.Older == 0 {
		key += ".newest" // the log beside the balance, and not two records
	}
	if found.Record != 0 {
		object.Record, object.SFI = &found.Record, orNull(fmt.Sprintf("%02X", found.SFI))
	}
	object.Text = c.t(key, facts...)
	return object
}

// people prints the view for people.
func (cmd cardViewCmd) people(con *console, view viewObject) func(io.Writer) {
	return func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\n", con.t("cardview.reader"), view.Reader)
		con.printATR(w, view.ATR)
		for _, directory := range view.Directories {
			fmt.Fprintf(w, "\n%s\n", con.t("cardview.directory", "Name", directory.Name))
			for _, entry := range directory.Entries {
				fmt.Fprintf(w, "  %s\t%s\n", entry.AID, entry.Label)
			}
		}
		for _, purse := range view.Purses {
			var counters []string
			fmt.Fprintln(w)
			con.printPurse(w, purse.purseObject)
			online := "online"
			if purse.SharedCounter {
				online = "shared"
			}
			for key, counter := range map[string]*uint16{online: purse.OnlineLogged, "offline": purse.OfflineLogged} {
				if counter != nil {
					counters = append(counters, con.t("cardview.counter."+key, "Counter", *counter))
				}
			}
			if len(counters) > 0 {
				slices.Sort(counters)
				fmt.Fprintln(w, con.t("cardview.counters", "Counters", strings.Join(counters, con.t("cardview.comma"))))
			}
		}
		for _, application := range view.Applications {
			fmt.Fprintln(w)
			cmd.printApplication(con, w, application)
		}
		fmt.Fprintln(w)
		con.printAnomalies(w, view)
	}
}

func (c *console) printATR(w io.Writer, atr *atrObject) {
	if atr == nil {
		return
	}
	fmt.Fprintf(w, "ATR\t%s\n", atr.Raw)
	if atr.Chip != nil {
		fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.chip"), *atr.Chip)
	}
	if card := atr.Contactless; card != nil {
		kind := c.t("cardview.contactless.processor")
		if card.Storage {
			kind = c.t("cardview.contactless.storage")
		}
		fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.contactless"), kind+c.t("cardview.comma")+card.Standard)
	} else {
		fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.contactless"), c.t("cardview.contactless.no"))
	}
	fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.protocols"), strings.Join(atr.Protocols, ", "))
	var bytes []string
	for _, b := range atr.Interface {
		bytes = append(bytes, strings.TrimSpace(b.Name+"="+b.Value+" "+parenthesis(b.Meaning)))
	}
	if len(bytes) > 0 {
		fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.interface"), strings.Join(bytes, ", "))
	}
	fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.historical"), atr.Historical)
	for _, object := range atr.Objects {
		fmt.Fprintf(w, "\t%s: %s\n", object.Meaning, object.Value)
	}
	if atr.Check != nil && atr.Problem == nil {
		fmt.Fprintf(w, "%s\t%s\n", c.t("cardview.check"), c.t("cardview.check.right", "Value", *atr.Check))
	}
	if atr.Problem != nil {
		fmt.Fprintf(w, "! %s\n", *atr.Problem)
	}
}

func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

func (cmd cardViewCmd) printApplication(con *console, w io.Writer, a applicationObject) {
	name := ""
	switch {
	case a.AID != nil && a.Source != wallet.SourceMaster:
		name = a.AID.String()
	case a.FileID != nil:
		name = *a.FileID
	}
	fmt.Fprintln(w, con.t("cardview.application", "Name", name, "Label", a.Label, "Source", con.t("cardview.source."+string(a.Source))))
	if a.SW != "9000" {
		fmt.Fprintf(w, "  ! %s %s\n", a.SW, a.Meaning)
	}
	if a.Profile != nil {
		fmt.Fprintf(w, "  %s\t%s\n", con.t("cardview.profile"), *a.Profile)
	}
	for _, balance := range a.Balances {
		flag := ""
		if balance.HighBit {
			flag = "  " + con.t("cardview.highBit")
		}
		fmt.Fprintf(w, "  %s\t%s%s\n", con.t("cardview.balance", "Which", balance.P1P2), con.yuan(balance.AmountFen), flag)
	}
	for _, data := range a.Data {
		fmt.Fprintf(w, "  %s\t%s\n", con.t("cardview.data", "Tag", data.Tag), orElse(data.Text, data.Value.String()))
	}
	for _, file := range a.Files {
		cmd.printFile(con, w, file, a.Profile != nil)
	}
	if cmd.Raw && a.FCI != "" {
		fmt.Fprintf(w, "  FCI\t%s\n", a.FCI)
	}
	if len(a.Files) == 0 {
		fmt.Fprintf(w, "  %s\n", con.t("cardview.noFiles"))
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (cmd cardViewCmd) printFile(con *console, w io.Writer, file fileObject, purse bool) {
	kind := con.t("cardview.file." + orElse(file.Kind, "unknown"))
	size := con.texts.N("cardview.bytes", file.Bytes, nil)
	if len(file.Records) > 0 {
		size = con.texts.N("cardview.records", len(file.Records), nil)
	}
	if file.Bytes == 0 && len(file.Records) == 0 {
		size = con.t("cardview.locked", "SW", file.SW)
	}
	fmt.Fprintf(w, "  %s\t%s\n", con.t("cardview.sfi", "SFI", file.SFI), kind+con.t("cardview.comma")+size)
	for _, field := range file.Fields {
		fmt.Fprintf(w, "\t  %s%s%s\n", con.t("cardview.field."+field.Name), con.t("cardview.colon"), orElse(field.Text, con.t("cardview.empty")))
	}
	if cmd.Raw && file.Bytes > 0 {
		fmt.Fprintf(w, "\t  %s\n", file.Content)
	}
	for _, record := range file.Records {
		if shown := purse && file.Kind == string(wallet.FileLog); record.Text != "" && (!shown || cmd.Raw) { // the purse above shows its log
			fmt.Fprintf(w, "\t  %s\n", con.t("cardview.record", "Index", record.Index, "Text", record.Text))
		}
		if cmd.Raw {
			fmt.Fprintf(w, "\t  %s\n", con.t("cardview.record", "Index", record.Index, "Text", record.Raw))
		}
	}
}

func (c *console) printAnomalies(w io.Writer, view viewObject) {
	for _, problem := range view.Problems {
		key, _, _ := strings.Cut(problem, ":")
		if text := "cardview.problem." + key; c.texts.Has(text) {
			problem = c.t(text)
		}
		fmt.Fprintf(w, "! %s\n", problem)
	}
	if len(view.Anomalies) == 0 {
		fmt.Fprintln(w, c.t("cardview.nothingOdd"))
		return
	}
	fmt.Fprintln(w, c.t("cardview.odd"))
	sorted := slices.Clone(view.Anomalies)
	slices.SortStableFunc(sorted, func(a, b anomalyObject) int { return strings.Compare(string(b.Severity), string(a.Severity)) })
	for _, one := range sorted {
		fmt.Fprintf(w, "  %s\t%s\n", c.t("cardview.severity."+string(one.Severity)), one.Text)
	}
}
