package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// tryCommands is how many commands the check of a reader sends at least.
const tryCommands = 20

type readersTryCmd struct {
	Stay bool `help:"Do not ask for the card to be taken away and put back."`
}

// tryObject is the verdict of a reader that works; one that does not is an error
// whose detail names the step.
type tryObject struct {
	Verdict  string          `json:"verdict"` // works
	Reader   string          `json:"reader"`
	Driver   string          `json:"driver"`
	Model    *string         `json:"model"`    // of the table of known models
	Position *string         `json:"position"` // top, front, slot
	ATR      wallet.Hex      `json:"atr"`
	Purse    bool            `json:"purse"`
	Steps    []tryStepObject `json:"steps"`
	Commands tryTimes        `json:"commands"`
}

type tryStepObject struct {
	Step string  `json:"step"`
	MS   float64 `json:"ms"`
}

type tryTimes struct {
	Count    int     `json:"count"`
	MinMS    float64 `json:"minMS"`
	MedianMS float64 `json:"medianMS"`
	MaxMS    float64 `json:"maxMS"`
}

func (cmd readersTryCmd) Run(ctx context.Context, con *console) error {
	program, err := con.openCard(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	report, err := program.Core.TryReader(ctx, core.TryAsk{Commands: tryCommands, Stay: cmd.Stay, Step: func(step core.TryStep) {
		con.say(con.t("console.try." + string(step)))
	}})
	if err != nil {
		con.say(con.t("console.try.report"))
		return err
	}
	object := tryObject{
		Verdict: "works", Reader: report.Reader.Name, Driver: report.Reader.Driver, ATR: report.ATR, Purse: report.Purse != nil,
		Position: orNull(string(reader.PositionOf(report.Reader.Name))), Commands: timesOf(report.Timings),
	}
	if model, known := reader.ModelOf(report.Reader.Name); known {
		object.Model = &model.Name
	}
	for _, done := range report.Steps {
		object.Steps = append(object.Steps, tryStepObject{string(done.Step), milliseconds(done.Took)})
	}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.try.works"))
		fmt.Fprintf(w, "%s\t%s\n", con.t("console.try.reader"), object.Reader)
		fmt.Fprintf(w, "ATR\t%s\n", object.ATR)
		fmt.Fprintln(w, con.t("console.try.times", "Count", object.Commands.Count, "Min", fmt.Sprintf("%.1f", object.Commands.MinMS),
			"Median", fmt.Sprintf("%.1f", object.Commands.MedianMS), "Max", fmt.Sprintf("%.1f", object.Commands.MaxMS)))
		for _, step := range object.Steps {
			fmt.Fprintf(w, "  %s\t%.0f ms\n", step.Step, step.MS)
		}
		if !object.Purse {
			fmt.Fprintln(w, con.t("console.try.noPurse"))
		}
		if object.Model == nil {
			fmt.Fprintln(w, con.t("console.try.unknownModel"))
		}
	})
}

func timesOf(timings []time.Duration) tryTimes {
	if len(timings) == 0 {
		return tryTimes{}
	}
	sorted := slices.Sorted(slices.Values(timings))
	return tryTimes{len(sorted), milliseconds(sorted[0]), milliseconds(sorted[len(sorted)/2]), milliseconds(sorted[len(sorted)-1])}
}
