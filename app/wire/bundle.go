package wire

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/store"
	"walletcompanion/platformclient"
	"walletcompanion/wallet"
)

// BundleAsk says what a bundle is to hold. Order is an order's number, its key or the
// beginning of one; empty takes what is open and what was last.
type BundleAsk struct {
	Order    string
	Language string
	Checks   []diag.BundleCheck
}

const (
	// lastOrders is how many orders a bundle holds where none was named.
	lastOrders = 10
	// traceAround is how much of the trace is taken before and after a named order.
	traceAround = 10 * time.Minute
)

// shownSettings are the preferences that a bundle tells. Whatever is not listed stays
// here: the platform's profile, for one, may hold the passwords of a demo.
var shownSettings = []string{settingPlatformURL, "platform.epoch", "ui.language", "ui.theme"}

// Bundle puts together what service staff need to see. It needs no network and no
// card, and no more of the profile than can be read: without the database it holds
// the trace and the checks. Errors: ORDER_UNKNOWN.
func (p *Program) Bundle(ctx context.Context, ask BundleAsk) (*diag.Bundle, error) {
	in := diag.Input{
		Machine: diag.Machine{Version: Version, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), Language: ask.Language, Processors: runtime.NumCPU()},
		Checks:  ask.Checks, Now: time.Now(),
	}
	lines, skipped, err := diag.ReadTrace(p.options.ProfileDir)
	if err != nil {
		lines = p.recorder.Recent()
	}
	in.Trace, in.Machine.TraceSkip, in.Machine.TraceLost = lines, skipped, p.recorder.Lost()
	if p.store != nil {
		if err := p.fromStore(ctx, ask, &in); err != nil {
			return nil, err
		}
	}
	if in.Told = diag.LastTold(in.Trace); in.Order != "" {
		in.Told = diag.LastTold(in.Trace, in.Order, in.Trails[0][0].Key)
	}
	return diag.MakeBundle(in)
}

// fromStore adds journal, settings and keys.
func (p *Program) fromStore(ctx context.Context, ask BundleAsk, in *diag.Input) error {
	entries, err := p.store.Entries(ctx, core.EntryFilter{})
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	chosen := chooseOrders(entries, ask.Order)
	if ask.Order != "" && len(chosen) == 0 {
		return &core.Failure{Code: "ORDER_UNKNOWN", Detail: map[string]any{"order": ask.Order}}
	}
	for _, entry := range chosen {
		trail, err := p.store.Trail(ctx, entry.Key)
		if err != nil {
			return err
		}
		in.Trails = append(in.Trails, trail)
	}
	if ask.Order != "" {
		in.Order = orderOrKey(chosen[0])
		in.Trace = traceOf(in.Trace, in.Trails[0])
	}
	in.Settings = map[string]string{}
	if kept, err := p.store.Settings(ctx); err == nil {
		for _, name := range shownSettings {
			if value, has := kept[name]; has {
				in.Settings[name] = value
			}
		}
	}
	names, err := p.store.SecretNames(ctx)
	if err == nil { // a bundle that cannot be signed is better than none; it says so itself
		in.Keys, _ = platformclient.DeviceKeys(ctx, p.store, names)
	}
	return nil
}

func orderOrKey(entry wallet.Entry) string {
	if entry.Order != "" {
		return entry.Order
	}
	return entry.Key
}

// chooseOrders takes the order that was named, or those that are open and the last
// ones. The entries come with the youngest order first.
func chooseOrders(entries []wallet.Entry, named string) []wallet.Entry {
	var chosen []wallet.Entry
	for i, entry := range entries {
		switch {
		case named != "" && (entry.Order == named || entry.Key == named || len(named) >= 8 && strings.HasPrefix(entry.Key, named)):
			return []wallet.Entry{entry}
		case named == "" && (i < lastOrders || !entry.Stage.Final() && len(chosen) < 10*lastOrders):
			chosen = append(chosen, entry)
		}
	}
	return chosen
}

// traceOf leaves out what has nothing to do with an order: what came long before it,
// and, once it is settled, long after.
func traceOf(lines []diag.Line, trail []wallet.Entry) []diag.Line {
	from, to := trail[0].At.Add(-traceAround), trail[len(trail)-1].At.Add(traceAround)
	settled := trail[len(trail)-1].Stage.Final()
	var kept []diag.Line
	for _, line := range lines {
		if line.At.Before(from) || settled && line.At.After(to) {
			continue
		}
		kept = append(kept, line)
	}
	return kept
}
