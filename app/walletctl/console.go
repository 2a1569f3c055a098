package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/assets/lang"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// console is what every command writes to and asks.
type console struct {
	globals
	in    io.Reader
	out   io.Writer
	err   io.Writer
	texts *lang.Localizer
	lines *bufio.Reader
}

// t is a text of the catalogue; pairs alternate names and values.
func (c *console) t(key string, pairs ...any) string {
	data := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		data[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return c.texts.T(key, data)
}

// say writes progress for people; scripts read standard output only.
func (c *console) say(text string) {
	if !c.Quiet && text != "" {
		fmt.Fprintln(c.err, text)
	}
}

// print gives the one JSON object, or calls people for the same facts.
func (c *console) print(object any, people func(w io.Writer)) error {
	if c.JSON {
		encoder := json.NewEncoder(c.out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(object)
	}
	w := newTable(c.out)
	people(w)
	return w.Flush()
}

// errorObject is the JSON of a failure.
type errorObject struct {
	Error struct {
		Code     string         `json:"code"`
		Title    string         `json:"title"`
		Text     string         `json:"text"`
		Remedies []string       `json:"remedies"`
		Detail   map[string]any `json:"detail"`
	} `json:"error"`
}

// fail prints err in the form that was asked for and returns the exit code.
func (c *console) fail(err error) int {
	if err == nil {
		return core.ExitOK
	}
	if code, only := isExit(err); only {
		return code
	}
	failure := core.Explain(err)
	code := core.InfoOf(failure.Code).Code
	text := core.Tell(c.texts, failure.Code, failure.Open(), failure.Detail)
	if !c.JSON {
		fmt.Fprintf(c.err, "%s (%s)\n%s\n", text.Title, code, text.Text)
		for _, remedy := range text.Remedies {
			fmt.Fprintf(c.err, "  - %s\n", remedy)
		}
		if failure.Order != nil {
			fmt.Fprintf(c.err, "%s: %s, %s, %s\n", c.t("console.order"), orderName(*failure.Order), amountOrDash(failure.Order.Amount), c.subjectOf(*failure.Order))
		}
		c.hint(failure)
		if c.Verbose || code == "USAGE" || code == "COMPANION_REFUSED" || code == "INTERNAL" || code == "CARD_FILE" {
			fmt.Fprintf(c.err, "  (%v)\n", err)
		}
		return failure.Exit()
	}
	var object errorObject
	object.Error.Code, object.Error.Title, object.Error.Text, object.Error.Remedies = code, text.Title, text.Text, text.Remedies
	object.Error.Detail = c.detail(failure, err)
	if object.Error.Remedies == nil {
		object.Error.Remedies = []string{}
	}
	_ = json.NewEncoder(c.out).Encode(object)
	return failure.Exit()
}

func (c *console) detail(failure *core.Failure, err error) map[string]any {
	detail := map[string]any{"cause": err.Error()}
	maps.Copy(detail, failure.Detail)
	if failure.Order != nil {
		detail["order"] = orderObject{
			Order: failure.Order.Order, Key: failure.Order.Key, Kind: kindOf(*failure.Order), Stage: failure.Order.Stage,
			AmountFen: failure.Order.Amount, ASNMasked: failure.Order.ASN.Masked(), Attempt: failure.Order.Attempt,
		}
	}
	if hit := faultHit(); hit != nil {
		detail["faultHit"] = *hit
	}
	return detail
}

// orderObject is an open order inside a failure's detail.
type orderObject struct {
	Order     string       `json:"order"`
	Key       string       `json:"key"`
	Kind      string       `json:"kind"`
	Stage     wallet.Stage `json:"stage"`
	AmountFen wallet.Fen   `json:"amountFen"`
	ASNMasked string       `json:"asnMasked"`
	Attempt   int          `json:"attempt"`
}

func kindOf(entry wallet.Entry) string {
	if entry.Kind != "" {
		return entry.Kind
	}
	return wallet.KindLoad
}

// subjectOf is what an order is about: a card, or the source of a funding.
func (c *console) subjectOf(entry wallet.Entry) string {
	if entry.IsFunding() {
		return c.sourceName(entry.Source)
	}
	return entry.ASN.Masked()
}

func orderName(entry wallet.Entry) string {
	if entry.Order != "" {
		return entry.Order
	}
	return entry.Key
}

// open wires the program for a command. online says whether a platform is needed.
func (c *console) open(ctx context.Context, online bool) (*wire.Program, error) {
	return wire.Open(ctx, c.options(online))
}

// openCard wires the program for a command that only looks at readers and cards.
func (c *console) openCard(ctx context.Context) (*wire.Program, error) {
	options := c.options(false)
	options.CardOnly = true
	return wire.Open(ctx, options)
}

func (c *console) options(online bool) wire.Options {
	options := wire.Options{
		Reader: c.Reader, Platform: c.Platform, CA: c.CA, ProfileDir: c.Profile, CardWait: c.Timeout, Fault: c.Fault,
		DemoCredentials: c.DemoCredentials, Online: online,
		Notice:  func(key string, data map[string]any) { c.say(c.texts.T(key, data)) },
		Waiting: func(reader.State) { c.say(c.t("console.placeCard")) },
	}
	if c.Verbose {
		options.Trace = func(line wallet.TraceLine) {
			fmt.Fprintf(c.err, "%-22s %s → %s %v %s\n", line.Name, line.Command, line.Answer, line.Took.Round(10*time.Microsecond), line.Err)
		}
	}
	return options
}
