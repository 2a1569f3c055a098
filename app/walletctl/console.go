package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

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
			fmt.Fprintf(c.err, "%s: %s, %s, %s\n", c.t("console.order"), orderName(*failure.Order), failure.Order.Amount.Yuan(), failure.Order.ASN.Masked())
		}
		c.hint(failure)
		if c.Verbose || code == "USAGE" || code == "INTERNAL" || code == "CARD_FILE" {
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
	for name, value := range failure.Detail {
		detail[name] = value
	}
	if failure.Order != nil {
		detail["order"] = orderObject{
			Order: failure.Order.Order, Key: failure.Order.Key, Kind: kindOf(*failure.Order), Stage: failure.Order.Stage,
			AmountFen: failure.Order.Amount, ASNMasked: failure.Order.ASN.Masked(), Attempt: failure.Order.Attempt,
		}
	}
	if hit, armed := wire.FaultHit(); armed {
		detail["faultHit"] = hit
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
	if entry.IsPurchase() {
		return wallet.KindPurchase
	}
	return wallet.KindLoad
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

// interactive reports whether a person sits at the terminal.
func (c *console) interactive() bool {
	file, ok := c.in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// line reads one line of standard input; several prompts share the buffer.
func (c *console) line() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(io.LimitReader(c.in, 64<<10))
	}
	text, err := c.lines.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && text != "") {
		return "", err
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// secret asks for a password without echo, or takes the next line of standard
// input where there is no terminal and the command said so.
func (c *console) secret(prompt string, fromStdin bool) (string, error) {
	if fromStdin {
		text, err := c.line()
		if err != nil || text == "" {
			return "", &core.Failure{Code: "USAGE", Err: errors.New("standard input has no further line for a password")}
		}
		return text, nil
	}
	if !c.interactive() {
		return "", &core.Failure{Code: "USAGE", Err: errors.New("no terminal to ask on: use --password-stdin")}
	}
	fmt.Fprint(c.err, prompt+": ")
	text, err := term.ReadPassword(int(c.in.(*os.File).Fd()))
	fmt.Fprintln(c.err)
	return string(text), err
}

// confirm asks yes or no; without a terminal the answer must be --yes.
func (c *console) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !c.interactive() {
		return &core.Failure{Code: "CONFIRM_NEEDED"}
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	answer, err := c.line()
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "是", "好":
		return nil
	}
	return &core.Failure{Code: "CANCELLED"}
}

// amount reads yuan from the command line; a whole number of 1000 or more asks.
func (c *console) amount(text string, yes bool) (wallet.Fen, error) {
	amount, err := wallet.ParseYuan(text)
	switch {
	case errors.Is(err, wallet.ErrAmountNeedsPoint):
		if yes || !c.interactive() {
			return 0, &core.Failure{Code: "AMOUNT_NEEDS_POINT", Err: err}
		}
		return amount, c.confirm(c.t("console.amountQuestion", "Yuan", amount.Yuan()), false)
	case err != nil:
		return 0, &core.Failure{Code: "AMOUNT_FORMAT", Err: err}
	case amount <= 0:
		return 0, &core.Failure{Code: "AMOUNT_FORMAT", Err: errors.New("an amount is more than 0.00")}
	}
	return amount, nil
}

// stamp is a time of our own in RFC 3339, UTC.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// cardTime is a time of the card: Asia/Shanghai, or null where it is no date.
func cardTime(at time.Time) *string {
	if at.IsZero() {
		return nil
	}
	text := at.Format(time.RFC3339)
	return &text
}
