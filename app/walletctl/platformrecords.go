package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

type platformPolicyCmd struct {
	Dir string `required:"" type:"path" placeholder:"DIR"`
	Set string `type:"existingfile" placeholder:"FILE" help:"JSON with what is to change; what it does not name stays. Raises the version; a platform that is serving follows it from its next start."`
}

func (cmd platformPolicyCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	policy := platform.Policy()
	if cmd.Set != "" {
		raw, err := os.ReadFile(cmd.Set)
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		policy, err = platform.SetPolicy(ctx, raw)
		if errors.Is(err, mockplatform.ErrPolicy) {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		if err != nil {
			return &core.Failure{Code: "PLATFORM_DIR", Err: err}
		}
	}
	return con.print(map[string]any{"policy": policy}, func(w io.Writer) { con.printPolicy(w, policy) })
}

// printPolicy shows what a platform allows and charges.
func (c *console) printPolicy(w io.Writer, policy api.Policy) {
	limits := policy.Limits
	amount := func(fen wallet.Fen) string { return orNumberless(map[bool]string{true: fen.Yuan()}[fen > 0]) } // 0: no limit
	fmt.Fprintf(w, "%s\t%d\n", c.t("console.policyVersion"), policy.Version)
	for _, line := range []struct {
		name  string
		value string
	}{
		{"load-min", limits.LoadMin.Yuan()}, {"load-max", limits.LoadMax.Yuan()}, {"purse-cap", limits.PurseCap.Yuan()},
		{"purse-cap-named", amount(limits.PurseCapNamed)}, {"card-day-count", strconv.Itoa(limits.CardDayCount) + "×"},
		{"card-day-sum", amount(limits.CardDaySum)}, {"account-day-sum", amount(limits.AccountDaySum)},
		{"account-day-sum-one", amount(limits.AccountDaySumOne)}, {"device-day-sum", amount(limits.DeviceDaySum)},
		{"weak-life-sum", amount(limits.WeakLifeSum)}, {"new-device", amount(limits.NewDeviceSum)},
		{"new-device-time", seconds(limits.NewDeviceS)}, {"declines", strconv.Itoa(limits.Velocity.Declines) + "× ⁄ " + seconds(limits.Velocity.DeclineWindowS)},
		{"device-cards", strconv.Itoa(limits.Velocity.DeviceCards)}, {"watch-time", seconds(limits.Velocity.WatchS)}, {"grey-time", seconds(limits.Velocity.GreyS)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", c.named("console.limit.", line.name), line.value)
	}
	fmt.Fprintf(w, "%s\t%d\n", c.t("console.feeVersion"), policy.Fees.Version)
	for _, row := range policy.Fees.Rows {
		most := "-"
		if row.MaxFen > 0 {
			most = row.MaxFen.Yuan()
		}
		fmt.Fprintf(w, "%s\t%s\n", c.t("console.feeOf", "Event", row.Event, "Source", row.Source),
			c.t("console.feeRow", "Base", row.BaseFen.Yuan(), "Rate", wallet.Fen(row.RateBP).Yuan(), "Min", row.MinFen.Yuan(), "Max", most))
	}
}

func seconds(count int) string { return (time.Duration(count) * time.Second).String() }

type platformCDRCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	From string `placeholder:"DATE" help:"First business day, YYYY-MM-DD."`
	To   string `placeholder:"DATE" help:"Last business day, inclusive."`
	Out  string `placeholder:"FILE" help:"Write the records as .csv or .json."`
}

func (cmd platformCDRCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	object := struct {
		Records []mockplatform.CDR `json:"records"`
		FeeFen  wallet.Fen         `json:"feeFen"` // sum
		File    string             `json:"file,omitempty"`
	}{Records: []mockplatform.CDR{}}
	var rows [][]string
	err = platform.CDRs(ctx, cmd.From, cmd.To, func(one mockplatform.CDR) error {
		object.Records, object.FeeFen = append(object.Records, one), object.FeeFen+one.FeeFen
		rows = append(rows, []string{
			strconv.FormatInt(one.ID, 10), one.Order, one.Party, one.Event, one.Source, one.BaseFen.Yuan(), strconv.Itoa(one.Version), one.FeeFen.Yuan(),
			strconv.FormatInt(one.Reverses, 10), one.Day, one.Time.In(shanghai).Format(time.RFC3339),
		})
		return nil
	})
	if errors.Is(err, mockplatform.ErrDay) {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	if cmd.Out != "" {
		head := []string{"id", "order", "party", "event", "source", "baseYuan", "version", "feeYuan", "reverses", "day", "time"}
		if err := export(cmd.Out, object, head, rows); err != nil {
			return err
		}
		object.File = cmd.Out
	}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", con.t("console.time"), con.t("console.order"), con.t("console.event"),
			padded(con.t("console.amountYuan"), amountWidth), padded(con.t("console.feeYuan"), amountWidth))
		for _, one := range object.Records {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", local(one.Time), one.Order, one.Event+" "+one.Source, padded(one.BaseFen.Yuan(), amountWidth),
				padded(signed(one.FeeFen), amountWidth))
		}
		fmt.Fprintln(w, con.t("console.cdrTotal", "Records", len(object.Records), "Fee", object.FeeFen.Yuan()))
	})
}

type platformBlacklistCmd struct {
	Dir   string `required:"" type:"path" placeholder:"DIR"`
	Out   string `required:"" type:"path" placeholder:"FILE" help:"The signature is written beside it, as FILE.sig."`
	Since int    `placeholder:"N" help:"Only what changed after file number N."`
}

func (cmd platformBlacklistCmd) Run(ctx context.Context, con *console) error {
	if cmd.Since < 0 {
		return &core.Failure{Code: "USAGE", Err: fmt.Errorf("--since %d: the number of an earlier file", cmd.Since)}
	}
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	made, err := platform.Blacklist(ctx, cmd.Since)
	if errors.Is(err, mockplatform.ErrBlacklistNumber) {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	signature := cmd.Out + ".sig"
	for file, content := range map[string][]byte{cmd.Out: made.File, signature: made.Signature} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	object := map[string]any{"file": cmd.Out, "signature": signature, "number": made.Number, "since": made.Since, "count": made.Count}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.blacklist", "File", cmd.Out, "Number", made.Number, "Count", made.Count))
	})
}

type platformReportCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	Date string `required:"" placeholder:"DATE" help:"Business day, YYYY-MM-DD."`
}

func (cmd platformReportCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	report, err := platform.DayReport(ctx, cmd.Date)
	if errors.Is(err, mockplatform.ErrDay) {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	err = con.print(report, func(w io.Writer) {
		for _, line := range []struct {
			name   string
			count  int
			amount wallet.Fen
		}{
			{"console.report.granted", report.Granted.Count, report.Granted.AmountFen}, {"console.report.loaded", report.Loaded.Count, report.Loaded.AmountFen},
			{"console.report.voided", report.Voided.Count, report.Voided.AmountFen}, {"console.report.fees", report.Fees.Count, report.Fees.AmountFen},
		} {
			fmt.Fprintf(w, "%s\t%6d\t%s\n", con.t(line.name), line.count, padded(line.amount.Yuan(), amountWidth))
		}
		fmt.Fprintf(w, "%s\t\t%s\n", con.t("console.report.difference"), padded(report.DifferenceFen.Yuan(), amountWidth))
	})
	if err == nil && report.DifferenceFen != 0 {
		return &core.Failure{Code: "PLATFORM_DIR", Err: errors.New("the report of the day differs from the ledger")}
	}
	return err
}

// policyLines prints the policy of a demo for whoever starts it, on standard error.
func (c *console) policyLines(policy api.Policy) {
	if c.Quiet {
		return
	}
	if c.JSON {
		raw, _ := json.Marshal(policy) // a structure of package api always encodes
		fmt.Fprintf(c.err, "policy %s\n", raw)
		return
	}
	w := newTable(c.err)
	c.printPolicy(w, policy)
	_ = w.Flush()
}
