package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/wallet"
)

type explainCmd struct {
	File   string `arg:"" help:"A bundle of diagnose, or a trace."`
	All    bool   `help:"Also the orders and operations that went well long ago, step by step."`
	Anyway bool   `help:"Read a bundle that was changed after it was made all the same."`
}

// explained is the JSON of explain.
type explained struct {
	Seal      diag.Seal          `json:"seal"`
	Devices   []string           `json:"devices"`
	Reference *string            `json:"reference"`
	Made      *string            `json:"made"`
	Order     *string            `json:"order"`
	Machine   diag.Machine       `json:"machine"`
	Checks    []diag.BundleCheck `json:"checks"`
	Skipped   int                `json:"skipped"`
	Told      *diag.Told         `json:"told"`
	Orders    []storyObject      `json:"orders"`
}

type storyObject struct {
	Order     *string      `json:"order"`
	Key       string       `json:"key"`
	Kind      string       `json:"kind"`
	Card      string       `json:"asnMasked"`
	AmountFen wallet.Fen   `json:"amountFen"`
	Stage     wallet.Stage `json:"stage"`
	Open      bool         `json:"open"`
	Broke     diag.Break   `json:"broke"`
	Code      *string      `json:"code"`
	Steps     []stepObject `json:"steps"`
	Known     []string     `json:"known"`
	Unknown   []string     `json:"unknown"`
	Next      []string     `json:"next"`
}

type stepObject struct {
	Time   string `json:"time"`
	Source string `json:"source"`
	Broke  bool   `json:"broke"`
	Text   string `json:"text"`
}

func (cmd explainCmd) Run(con *console) error {
	read, err := con.openCase(cmd.File, cmd.Anyway)
	if err != nil {
		return err
	}
	object := explained{
		Seal: read.Seal, Devices: append([]string{}, read.Devices...), Reference: orNull(read.Reference), Order: orNull(read.Order),
		Machine: read.Machine, Checks: append([]diag.BundleCheck{}, read.Checks...), Skipped: read.Skipped, Told: read.Told, Orders: []storyObject{},
	}
	if !read.Made.IsZero() {
		made := stamp(read.Made)
		object.Made = &made
	}
	stories := read.Stories()
	for _, story := range stories {
		object.Orders = append(object.Orders, con.storyObject(story))
	}
	return con.print(object, func(w io.Writer) {
		con.printSeal(w, read)
		for i, story := range stories {
			whole := cmd.All || i == 0 || story.Open
			if story.Key != "" || whole || len(story.Next) > 0 {
				con.printStory(w, story, whole)
			}
		}
		if !cmd.All && len(stories) > 1 {
			fmt.Fprintf(w, "\n%s\n", con.t("explain.more"))
		}
	})
}

func (c *console) storyObject(story diag.Story) storyObject {
	object := storyObject{
		Order: orNull(story.Order), Key: story.Key, Kind: story.Kind, Card: story.Card, AmountFen: story.AmountFen, Stage: story.Stage,
		Open: story.Open, Broke: story.Broke, Code: orNull(story.Code), Steps: []stepObject{},
		Known: c.sentences(story.Known), Unknown: c.sentences(story.Doubt), Next: c.sentences(story.Next),
	}
	for _, step := range story.Steps {
		object.Steps = append(object.Steps, stepObject{step.At.Format(time.RFC3339Nano), step.Source, step.Broke, c.sentence(step.Text)})
	}
	return object
}

func (c *console) sentences(list []diag.Sentence) []string {
	texts := []string{}
	for _, each := range list {
		texts = append(texts, c.sentence(each))
	}
	return texts
}

// sentence is a sentence in the chosen language. What stands in a trace is shown as it
// is where the catalogue has no word for it.
func (c *console) sentence(s diag.Sentence) string {
	data := map[string]any{}
	for name, value := range s.Data {
		data[name] = value
	}
	if name, is := data["Trouble"].(string); is {
		data["Trouble"] = c.named("explain.trouble.", name)
	}
	if name, is := data["Request"].(string); is {
		data["Request"] = c.named("explain.request.", name)
	}
	if sw, is := data["SW"].(string); is {
		data["Meaning"] = c.meaning(sw, s.Data["Meaning"])
	}
	if stage, is := data["Stage"].(string); is {
		data["Text"] = c.named("explain.noted.", stage)
	}
	if code, is := data["Code"].(string); is && (s.Key == "explain.step.told" || s.Key == "explain.known.cause") {
		data["Title"] = core.Tell(c.texts, code, false, nil).Title
	}
	if !c.texts.Has(s.Key) {
		return s.Key
	}
	return c.texts.T(s.Key, data)
}

// meaning says what a status word means; otherwise is what stands where the catalogue
// has no words.
func (c *console) meaning(sw string, otherwise any) any {
	if left, wrong := strings.CutPrefix(sw, "63C"); wrong {
		return c.t("explain.sw.63CX", "Left", left)
	}
	if c.texts.Has("explain.sw." + sw) {
		return c.t("explain.sw." + sw)
	}
	return otherwise
}

// printSeal says where the file comes from.
func (c *console) printSeal(w io.Writer, read *diag.Case) {
	fmt.Fprintln(w, c.t("explain.seal."+string(read.Seal), "Devices", strings.Join(read.Devices, ", ")))
	if read.Reference != "" {
		fmt.Fprintf(w, "%s\t%s\n", c.t("console.reference"), read.Reference)
		fmt.Fprintf(w, "%s\t%s\n", c.t("explain.made"), local(read.Made))
		fmt.Fprintf(w, "%s\t%s, %s/%s\n", c.t("explain.machine"), read.Machine.Version, read.Machine.OS, read.Machine.Arch)
	}
	if read.Skipped > 0 {
		fmt.Fprintln(w, c.t("explain.skipped", "Count", read.Skipped))
	}
	c.printChecks(w, read.Checks)
}

// printStory tells one order: where it broke first, then the steps.
func (c *console) printStory(w io.Writer, story diag.Story, steps bool) {
	fmt.Fprintln(w)
	switch {
	case story.Key == "":
		fmt.Fprintln(w, c.t("explain.others"))
	default:
		name := story.Order
		if name == "" {
			name = story.Key
		}
		fmt.Fprintln(w, c.t("explain.order", "Kind", c.named("console.kind.", story.Kind), "Order", name, "Amount", story.AmountFen.Yuan(), "Card", story.Card))
	}
	c.printList(w, "explain.known", c.sentences(story.Known))
	c.printList(w, "explain.unknown", c.sentences(story.Doubt))
	c.printList(w, "explain.next", c.sentences(story.Next))
	if !steps {
		return
	}
	fmt.Fprintln(w, c.t("explain.steps"))
	for _, step := range story.Steps {
		mark := " "
		if step.Broke {
			mark = "!"
		}
		fmt.Fprintf(w, "%s %s %s\n", mark, step.At.In(shanghai).Format("15:04:05.000"), c.sentence(step.Text))
	}
}

func (c *console) printList(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w, c.t(title))
	for _, line := range lines {
		fmt.Fprintf(w, "  - %s\n", line)
	}
}
