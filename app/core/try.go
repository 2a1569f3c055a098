package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// TryStep is one step of the check of a reader.
type TryStep string

// The steps in their order. What a step waits for, a person does.
const (
	TryCard     TryStep = "card"     // a card is on the reader and opens
	TryCommands TryStep = "commands" // it answers commands that only read
	TryRemove   TryStep = "remove"   // the reader notices that it is taken away
	TryReturn   TryStep = "return"   // and that it is put back
	TryAgain    TryStep = "again"    // the same card answers again
)

// TryAsk is a wish to check a reader.
type TryAsk struct {
	Commands int                // how many are sent at least
	Stay     bool               // the card is not taken away
	Step     func(step TryStep) // called when a step begins; may be nil
}

// TryReport is what a check found; after a failure as far as it came.
type TryReport struct {
	Reader  reader.Info
	ATR     []byte
	Purse   *wallet.Purse // nil: a card without a purse; commands were answered all the same
	Steps   []TryDone
	Timings []time.Duration // of every command
}

// TryDone is a step that has ended.
type TryDone struct {
	Step TryStep
	Took time.Duration
	Code string // of the table; empty where it went well
}

// TryReader checks that a reader can be worked with, with any card: it waits for a
// card, sends commands that read and change nothing, and lets the person take the card
// away and put it back. Each waiting lasts CardWait at most; one that ends in vain is
// TIMEOUT. The detail of a failure names the step.
func (c *Core) TryReader(ctx context.Context, ask TryAsk) (TryReport, error) {
	var report TryReport
	release, err := c.useCard(ctx)
	if err != nil {
		return report, err
	}
	defer release()
	t := &trial{core: c, ask: ask, report: &report}
	if err = t.step(ctx, TryCard, t.open); err == nil {
		err = t.step(ctx, TryCommands, t.read)
	}
	if t.session != nil {
		_ = t.session.Close()
	}
	if err == nil && !ask.Stay {
		err = t.takeAwayAndPutBack(ctx)
	}
	return report, err
}

// trial is a check under way.
type trial struct {
	core    *Core
	ask     TryAsk
	report  *TryReport
	session reader.Session
}

// step runs one step and notes how it ended.
func (t *trial) step(ctx context.Context, step TryStep, run func(ctx context.Context) error) error {
	if t.ask.Step != nil {
		t.ask.Step(step)
	}
	began := time.Now()
	err := run(ctx)
	done := TryDone{Step: step, Took: time.Since(began)}
	failure := Explain(err)
	if failure != nil {
		done.Code = failure.Code
	}
	t.report.Steps = append(t.report.Steps, done)
	if failure == nil {
		return nil
	}
	detail := map[string]any{"step": string(step)}
	for name, value := range failure.Detail {
		detail[name] = value
	}
	return &Failure{Code: failure.Code, Detail: detail, Err: err}
}

func (t *trial) open(ctx context.Context) (err error) {
	t.session, t.report.Reader, err = t.core.openCard(ctx)
	if err == nil {
		t.report.ATR = t.session.ATR()
	}
	return err
}

// read reads the card as often as it takes to send enough commands. A card without
// a purse answers the search for one, which is as good.
func (t *trial) read(ctx context.Context) error {
	options := wallet.ReadOptions{Trace: func(line wallet.TraceLine) {
		t.report.Timings = append(t.report.Timings, line.Took)
		if t.core.Trace != nil {
			t.core.Trace(line)
		}
	}}
	for len(t.report.Timings) < t.ask.Commands {
		before := len(t.report.Timings)
		reading, err := wallet.Read(ctx, t.session, options)
		if err != nil && wallet.CodeOf(err) != wallet.CodeCardNoPurse {
			return err
		}
		if err == nil {
			purse := reading.Purses[0]
			t.report.Purse = &purse
		}
		if len(t.report.Timings) == before {
			return errors.New("no command was sent")
		}
	}
	return nil
}

func (t *trial) takeAwayAndPutBack(ctx context.Context) error {
	first, atr := t.report.Purse, t.report.ATR
	if err := t.step(ctx, TryRemove, func(ctx context.Context) error { return t.await(ctx, reader.StateEmpty) }); err != nil {
		return err
	}
	if err := t.step(ctx, TryReturn, func(ctx context.Context) error { return t.await(ctx, reader.StatePresent) }); err != nil {
		return err
	}
	return t.step(ctx, TryAgain, func(ctx context.Context) error {
		if err := t.open(ctx); err != nil {
			return err
		}
		defer t.session.Close()
		if first == nil {
			if !slices.Equal(atr, t.report.ATR) {
				return &Failure{Code: "CARD_OTHER"}
			}
			return nil
		}
		purse, err := t.core.identify(ctx, t.session)
		if err == nil && purse.ASN != first.ASN {
			return &Failure{Code: "CARD_OTHER"}
		}
		return err
	})
}

// await waits until the reader shows the state.
func (t *trial) await(ctx context.Context, state reader.State) error {
	watching, stop := context.WithTimeout(ctx, t.core.CardWait)
	defer stop()
	err := t.core.Config.Readers.Watch(watching, func(infos []reader.Info, _ error) {
		for _, info := range infos {
			if info.Name == t.report.Reader.Name && info.State == state {
				t.report.Reader = info
				stop()
			}
		}
	})
	if t.report.Reader.State == state {
		return nil
	}
	return err
}
