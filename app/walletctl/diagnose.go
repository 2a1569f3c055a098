package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/wire"
)

type diagnoseCmd struct {
	Bundle string `placeholder:"FILE" help:"Put everything that service staff need into one file."`
	Order  string `placeholder:"N" help:"What concerns this order only: its number, or its key."`
	Yes    bool   `help:"Do not ask before the bundle is saved."`
}

// Run without --bundle shows the checks and what a bundle would hold.
func (cmd diagnoseCmd) Run(ctx context.Context, con *console) error {
	bundle, report, err := con.makeBundle(ctx, cmd.Order)
	if err != nil {
		return err
	}
	if cmd.Bundle == "" {
		return con.print(diagnosis{machineReport: report, Bundle: bundleOf(bundle, "")}, func(w io.Writer) {
			con.printFacts(w, report)
			fmt.Fprintln(w)
			con.printDoctor(w, report.Checks)
			fmt.Fprintln(w)
			con.listBundle(w, bundle)
			fmt.Fprintln(w, con.t("console.bundleHow"))
		})
	}
	return con.saveBundle(bundle, report, cmd.Bundle, cmd.Yes)
}

type ordersReportCmd struct {
	Order  string `arg:"" name:"order" help:"The order's number, or its key."`
	Bundle string `placeholder:"FILE" help:"Where to save it; report-REFERENCE.zip without."`
	Yes    bool   `help:"Do not ask before the bundle is saved."`
}

func (cmd ordersReportCmd) Run(ctx context.Context, con *console) error {
	bundle, report, err := con.makeBundle(ctx, cmd.Order)
	if err != nil {
		return err
	}
	path := cmd.Bundle
	if path == "" {
		path = "report-" + bundle.Reference + ".zip"
	}
	return con.saveBundle(bundle, report, path, cmd.Yes)
}

// diagnosis is the JSON of diagnose and of orders report.
type diagnosis struct {
	machineReport
	Bundle bundleObject `json:"bundle"`
}

type bundleObject struct {
	File      *string        `json:"file"` // null while nothing was saved
	Reference string         `json:"reference"`
	Bytes     int            `json:"bytes"`
	Signed    bool           `json:"signed"`
	Members   []memberObject `json:"members"`
}

type memberObject struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
	Count int    `json:"count"`
}

func bundleOf(bundle *diag.Bundle, file string) bundleObject {
	object := bundleObject{File: orNull(file), Reference: bundle.Reference, Bytes: bundle.Bytes(), Signed: bundle.Signed, Members: []memberObject{}}
	for _, member := range bundle.Members {
		object.Members = append(object.Members, memberObject{member.Name, member.Bytes, member.Lines})
	}
	return object
}

// makeBundle needs neither card nor network nor a sound profile.
func (c *console) makeBundle(ctx context.Context, order string) (*diag.Bundle, machineReport, error) {
	report, err := c.diagnose(ctx)
	if err != nil {
		return nil, report, err
	}
	program, err := c.openCard(ctx)
	if err != nil {
		return nil, report, err
	}
	defer program.Close()
	bundle, err := program.Bundle(ctx, wire.BundleAsk{Order: order, Language: c.texts.Name(), Checks: report.inBundle()})
	return bundle, report, err
}

// saveBundle shows what is in the bundle before it asks whether to save it.
func (c *console) saveBundle(bundle *diag.Bundle, report machineReport, path string, yes bool) error {
	if !c.Quiet && !c.JSON {
		w := newTable(c.err)
		c.listBundle(w, bundle)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := c.confirm(c.t("console.bundleQuestion", "File", path), yes); err != nil {
		failure := *core.Explain(err)
		failure.Detail = map[string]any{"bundle": bundleOf(bundle, "")} // what there is to agree to
		return &failure
	}
	if err := bundle.Save(path); err != nil {
		return &core.Failure{Code: "BUNDLE_UNSAVED", Detail: map[string]any{"file": path}, Err: err}
	}
	return c.print(diagnosis{machineReport: report, Bundle: bundleOf(bundle, path)}, func(w io.Writer) {
		fmt.Fprintln(w, c.t("console.bundleSaved", "File", path))
		fmt.Fprintf(w, "%s\t%s\n", c.t("console.reference"), bundle.Reference)
		fmt.Fprintln(w, c.t("console.bundleSend"))
	})
}

// listBundle tells what a bundle holds, file by file.
func (c *console) listBundle(w io.Writer, bundle *diag.Bundle) {
	fmt.Fprintln(w, c.t("console.bundleHolds"))
	for _, member := range bundle.Members {
		name := strings.TrimSuffix(strings.TrimSuffix(member.Name, ".jsonl"), ".json")
		fmt.Fprintf(w, "  %s\t%s\t%s\n", member.Name, padded(fmt.Sprintf("%d B", member.Bytes), 9), c.t("console.member."+name, "Count", member.Lines))
	}
	fmt.Fprintln(w, c.t("console.bundleWithout"))
	if !bundle.Signed {
		fmt.Fprintln(w, c.t("console.bundleUnsigned"))
	}
}

// printChecks shows the checks of a bundle.
func (c *console) printChecks(w io.Writer, checks []diag.BundleCheck) {
	for _, check := range checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", check.Name, check.Status, check.Text)
	}
}

// openCase reads a bundle or a trace from a file and names what is wrong with it.
func (c *console) openCase(path string, anyway bool) (*diag.Case, error) {
	read, err := diag.Open(path)
	switch {
	case errors.Is(err, diag.ErrDamaged) && anyway:
		return read, nil
	case errors.Is(err, diag.ErrDamaged):
		return nil, &core.Failure{Code: "BUNDLE_DAMAGED", Err: err}
	case errors.Is(err, diag.ErrNoBundle):
		return nil, &core.Failure{Code: "BUNDLE_UNREADABLE", Err: err}
	case errors.Is(err, os.ErrNotExist) || err != nil:
		return nil, &core.Failure{Code: "BUNDLE_UNREADABLE", Err: err}
	}
	return read, nil
}
