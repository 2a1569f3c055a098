// Command wallet-companion is the window of the wallet companion. It stands at the
// root because Fyne's tool writes icon and metadata beside FyneApp.toml.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"walletcompanion/app/core"
	"walletcompanion/app/manpage"
	"walletcompanion/app/ui"
	"walletcompanion/app/wire"
	"walletcompanion/assets/lang"
)

// flags choose what the settings would; empty ones are as last time.
type flags struct {
	Reader   string `default:"auto" placeholder:"R" help:"auto, pcsc:NAME, virtual:FILE, or demo (a virtual card of one's own)."`
	Profile  string `placeholder:"DIR" help:"Folder of this client's own data."`
	Platform string `placeholder:"P" help:"demo, demo:DIR, or https://HOST:PORT."`
	CA       string `name:"ca" placeholder:"FILE" help:"Platform profile file: CA, pins, signer and HPKE keys."`
	Lang     string `placeholder:"zh|en" help:"Language of texts."`
	Theme    string `placeholder:"light|dark|system" help:"Colours."`

	Version kong.VersionFlag `help:"Print the version and end; needs no display."`
	Man     manFlag          `hidden:"" help:"Print the manual page; packages are made with it."`
}

// manFlag prints the manual page and ends.
type manFlag bool

// BeforeReset runs before other flags are looked at.
func (manFlag) BeforeReset(parser *kong.Kong) error {
	err := manpage.Write(parser.Stdout, parser.Model, manpage.Page{
		Name: "wallet-companion", Version: wire.Version, Summary: "read and top up a stored-value wallet card in a window",
		Synopsis: []string{"[OPTIONS]"},
		Before: []manpage.Section{{Title: "DESCRIPTION", Text: []string{
			"wallet-companion shows what is on a PBOC electronic purse without any network, tops it up online, and settles what was interrupted. It needs a display with OpenGL; walletctl does the same without one.",
			"The first start uses a virtual card and a reference platform inside the program and is marked as a demo.",
		}}},
		After: []manpage.Section{
			{Title: "FILES", Terms: []manpage.Term{{Word: "~/.config/wallet-companion", Meaning: "Journal, history, settings and the key of this computer, shared with walletctl."}}},
			{Title: "SEE ALSO", Text: []string{"walletctl(1), pcscd(8)"}},
		},
	})
	parser.Exit(core.ExitOK)
	return err
}

func main() {
	var chosen flags
	kong.Parse(&chosen, kong.Name("wallet-companion"), kong.Description("Wallet Companion: the window. Its console is walletctl."), kong.Vars{"version": "wallet-companion " + wire.Version})
	os.Exit(run(chosen))
}

// run shows the window and returns the exit code.
func run(chosen flags) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options := wire.Options{Reader: chosen.Reader, ProfileDir: chosen.Profile, Platform: chosen.Platform, CA: chosen.CA, Online: true}
	look := ui.Options{Language: chosen.Lang, Theme: chosen.Theme}
	program, err := wire.Open(ctx, options)
	if failure := core.Explain(err); err != nil && failure.Code != "USAGE" {
		// A card can be read without a platform.
		options.Online, look.Platform = false, failure
		program, err = wire.Open(ctx, options)
	}
	if err != nil {
		code := refuse(chosen, err)
		if code != core.ExitUsage {
			_ = ui.Complain(ctx, core.Explain(err), look) // the console has said it already
		}
		return code
	}
	defer program.Close()
	if chosen.Reader == "auto" {
		look.TryCard = program.UseDemoCard
	}
	if err := ui.Run(ctx, program.Core, look); err != nil {
		return refuse(chosen, err)
	}
	return core.ExitOK
}

// refuse says on standard error why there is no window.
func refuse(chosen flags, err error) int {
	texts := lang.Texts(chosen.Lang)
	if errors.Is(err, ui.ErrNoDisplay) {
		fmt.Fprintln(os.Stderr, texts.T("ui.noDisplay", nil))
		return core.ExitInternal
	}
	failure := core.Explain(err)
	told := core.Tell(texts, failure.Code, failure.Open(), failure.Detail)
	fmt.Fprintf(os.Stderr, "%s\n%s\n", told.Title, told.Text)
	for _, remedy := range told.Remedies {
		fmt.Fprintln(os.Stderr, "-", remedy)
	}
	if failure.Err != nil {
		fmt.Fprintln(os.Stderr, failure.Err)
	}
	return failure.Exit()
}
