package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/wire"
)

type doctorCmd struct {
	ExitCode bool `name:"exit-code" help:"End with 0 where nothing failed, else with 3, 4 or 1 for the first that did."`
}

// exitOnly ends the program with a code and prints nothing: everything was said.
type exitOnly int

// Error tells the code, for whoever prints it all the same.
func (e exitOnly) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func (cmd doctorCmd) Run(ctx context.Context, con *console) error {
	machine, release, err := wire.Computer(ctx, con.options(false))
	if err != nil {
		return err
	}
	defer release()
	results := diag.Run(ctx, machine, diag.Checks())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	checks := diag.TellAll(results, con.texts)
	if err := con.print(map[string]any{"checks": checks}, func(w io.Writer) { con.printDoctor(w, checks) }); err != nil {
		return err
	}
	if code := diag.Exit(results); cmd.ExitCode && code != core.ExitOK {
		return exitOnly(code)
	}
	return nil
}

// printDoctor shows one line a check, and below it what to do.
func (c *console) printDoctor(w io.Writer, checks []diag.ToldCheck) {
	counts := map[diag.Status]int{}
	for _, check := range checks {
		counts[check.Status]++
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.t("doctor.status."+string(check.Status)), check.Name, check.Text)
		if check.Remedy != "" && check.Status != diag.OK {
			for line := range strings.SplitSeq(check.Remedy, "\n") {
				fmt.Fprintf(w, "\t\t→ %s\n", line)
			}
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, c.t("doctor.summary", "OK", counts[diag.OK], "Warnings", counts[diag.Warning], "Failed", counts[diag.Failed], "Skipped", counts[diag.Skipped]))
}

// machineReport is what this computer says of itself: the checks, and its facts.
type machineReport struct {
	At     string           `json:"at"`
	Facts  diag.Facts       `json:"facts"`
	Checks []diag.ToldCheck `json:"checks"`
}

// diagnose runs all checks and gathers the facts of the machine.
func (c *console) diagnose(ctx context.Context) (machineReport, error) {
	machine, release, err := wire.Computer(ctx, c.options(false))
	if err != nil {
		return machineReport{}, err
	}
	defer release()
	object := machineReport{At: stamp(time.Now())}
	object.Checks = machine.Masked(diag.TellAll(diag.Run(ctx, machine, diag.Checks()), c.texts))
	object.Facts = diag.GatherFacts(ctx, machine, wire.Version)
	return object, nil
}

func (c *console) printFacts(w io.Writer, object machineReport) {
	facts := object.Facts
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.t("doctor.fact."+key), value)
		}
	}
	line("time", object.At)
	line("program", "walletctl "+facts.Program+", "+facts.Go)
	line("system", strings.Trim(facts.Release+", "+facts.System, ", "))
	line("kernel", facts.Kernel)
	line("desktop", facts.Desktop)
	line("locale", facts.Locale)
	for _, name := range slices.Sorted(maps.Keys(facts.Packages)) {
		line("package", name+" "+facts.Packages[name])
	}
	for _, reader := range facts.Readers {
		line("reader", reader.Name+" ("+c.t("console.reader."+string(reader.State))+")")
	}
	line("profile", facts.Profile)
	line("platform", facts.Platform)
}

// inBundle are the checks in the form of a bundle.
func (r machineReport) inBundle() []diag.BundleCheck {
	checks := []diag.BundleCheck{}
	for _, check := range r.Checks {
		checks = append(checks, diag.BundleCheck{Name: check.Name, Status: string(check.Status), Text: check.Text, Remedy: check.Remedy})
	}
	return checks
}

// Checks that are put to a profile with which nothing has worked yet, when reader or
// platform fail.
var (
	readerChecks   = []string{"pcsc-library", "pcsc-service", "pcsc-activation", "ccid-driver", "access", "kernel-nfc", "usb-readers", "holder"}
	platformChecks = []string{"platform-profile", "platform-direct", "platform-proxy", "clock"}
)

// firstAidLimit is what a command that has failed already may take longer.
const firstAidLimit = 4 * time.Second

// firstAid looks for the cause where nothing has ever worked: most first trouble is a
// missing package or right, which the checks name and an error code cannot.
func (c *console) firstAid(ctx context.Context, err error) error {
	failure := core.Explain(err)
	if failure == nil || failure.Open() || ctx.Err() != nil {
		return err
	}
	ofReader := strings.HasPrefix(failure.Code, "READER_")
	ofPlatform := strings.HasPrefix(failure.Code, "PLATFORM_") && failure.Code != "PLATFORM_DIR"
	if !ofReader && !ofPlatform {
		return err
	}
	inspection, inspectErr := wire.Inspect(ctx, c.options(false))
	if inspectErr != nil || ofReader && inspection.Cards > 0 || ofPlatform && inspection.Secrets > 0 {
		return err // something has worked already
	}
	names := readerChecks
	if ofPlatform {
		names = platformChecks
	}
	limited, cancel := context.WithTimeout(ctx, firstAidLimit)
	defer cancel()
	machine, release, machineErr := wire.Computer(limited, c.options(false))
	if machineErr != nil {
		return err
	}
	defer release()
	failed := []diag.ToldCheck{}
	for _, result := range diag.Run(limited, machine, diag.Named(names...)) {
		if result.Finding.Status == diag.Failed && !strings.HasPrefix(result.Finding.Outcome, "broken.") {
			failed = append(failed, result.Tell(c.texts))
		}
	}
	explained := *failure
	explained.Detail = maps.Clone(failure.Detail)
	if explained.Detail == nil {
		explained.Detail = map[string]any{}
	}
	explained.Detail[detailChecks] = failed
	return &explained
}

// detailChecks is the field of an error's detail with the checks that failed.
const detailChecks = "checks"

// hint names the first check that failed, below an error.
func (c *console) hint(failure *core.Failure) {
	failed, asked := failure.Detail[detailChecks].([]diag.ToldCheck)
	if !asked {
		return
	}
	if len(failed) > 0 {
		fmt.Fprintln(c.err, c.t("doctor.hint", "Check", failed[0].Name, "Text", failed[0].Text))
		for line := range strings.SplitSeq(failed[0].Remedy, "\n") {
			if line != "" {
				fmt.Fprintf(c.err, "  - %s\n", line)
			}
		}
	}
	fmt.Fprintln(c.err, c.t("doctor.more"))
}

// isExit reports an end without words.
func isExit(err error) (int, bool) {
	var exit exitOnly
	found := errors.As(err, &exit)
	return int(exit), found
}
