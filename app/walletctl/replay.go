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
	"walletcompanion/app/store"
	"walletcompanion/wallet"
)

type replayCmd struct {
	File   string `arg:"" help:"A bundle of diagnose, or a trace."`
	Anyway bool   `help:"Play a bundle that was changed after it was made all the same."`
}

// replayObject is the JSON of replay.
type replayObject struct {
	Operation  string         `json:"operation"`
	Same       *bool          `json:"same"` // null: the record has no end to compare with
	Recorded   diag.Ended     `json:"recorded"`
	Replayed   diag.Ended     `json:"replayed"`
	Stages     []wallet.Stage `json:"stages"`
	Answered   int            `json:"answered"`
	Hidden     int            `json:"hidden"`
	Skipped    int            `json:"skipped"`
	Unmatched  []string       `json:"unmatched"`
	Limits     []string       `json:"limits"`
	Conclusion string         `json:"conclusion"`
}

// Run plays the record in a folder of its own, which it removes.
func (cmd replayCmd) Run(ctx context.Context, con *console) error {
	read, err := con.openCase(cmd.File, cmd.Anyway)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "walletctl-replay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	journal, err := store.Open(folder, store.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = journal.Close() }()
	result, err := read.Replay(ctx, journal)
	if errors.Is(err, diag.ErrNothingToReplay) {
		return &core.Failure{Code: "REPLAY_NOTHING", Err: err}
	}
	if err != nil {
		return err
	}
	object := replayObject{
		Operation: result.Op, Same: result.Same, Recorded: result.Recorded, Replayed: result.Here, Stages: append([]wallet.Stage{}, result.Stages...),
		Answered: result.Answered, Hidden: result.Filled, Skipped: result.Skipped, Unmatched: append([]string{}, result.Unmatched...),
		Limits: con.sentences(result.Limits), Conclusion: con.t("replay." + verdictOf(result)),
	}
	if result.Same != nil && !*result.Same {
		if !con.JSON {
			if err := con.print(nil, func(w io.Writer) { con.printReplay(w, read, result) }); err != nil {
				return err
			}
		}
		return &core.Failure{Code: "REPLAY_DIFFERS", Detail: map[string]any{"recorded": result.Recorded, "replayed": result.Here,
			"stages": object.Stages, "unmatched": object.Unmatched, "limits": object.Limits}, Err: fmt.Errorf("recorded %s %s, here %s %s", orOK(result.Recorded.Code), result.Recorded.Inner, orOK(result.Here.Code), result.Here.Inner)}
	}
	return con.print(object, func(w io.Writer) { con.printReplay(w, read, result) })
}

func verdictOf(result *diag.Replayed) string {
	switch {
	case result.Same == nil && result.Recorded.Code != "":
		return "earlier"
	case result.Same == nil:
		return "noEnd"
	case *result.Same:
		return "same"
	}
	return "differs"
}

func orOK(code string) string {
	if code == "" {
		return "ok"
	}
	return code
}

func (c *console) printReplay(w io.Writer, read *diag.Case, result *diag.Replayed) {
	fmt.Fprintln(w, c.t("explain.seal."+string(read.Seal), "Devices", strings.Join(read.Devices, ", ")))
	fmt.Fprintln(w, c.t("replay.what", "Operation", result.Op, "Time", local(result.At)))
	fmt.Fprintf(w, "\t%s\t%s\n", c.t("replay.recorded"), c.t("replay.here"))
	fmt.Fprintf(w, "%s\t%s\t%s\n", c.t("replay.code"), orOK(result.Recorded.Code), orOK(result.Here.Code))
	fmt.Fprintf(w, "%s\t%d\t%d\n", c.t("replay.exit"), result.Recorded.Exit, result.Here.Exit)
	fmt.Fprintf(w, "%s\t%s\t%s\n", c.t("replay.cause"), orNumberless(result.Recorded.Inner), orNumberless(result.Here.Inner))
	fmt.Fprintf(w, "%s\t%s\t%s\n", c.t("replay.stage"), orNumberless(string(result.Recorded.Stage)), orNumberless(string(result.Here.Stage)))
	fmt.Fprintln(w, c.t("replay.commands", "Answered", result.Answered, "Unmatched", len(result.Unmatched), "Skipped", result.Skipped))
	for _, command := range result.Unmatched {
		fmt.Fprintf(w, "  ? %s\n", command)
	}
	fmt.Fprintln(w, c.t("replay."+verdictOf(result)))
	c.printList(w, "replay.limits", c.sentences(result.Limits))
}
