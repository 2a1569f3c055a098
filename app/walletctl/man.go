package main

import (
	"strconv"

	"github.com/alecthomas/kong"

	"walletcompanion/app/core"
	"walletcompanion/app/manpage"
	"walletcompanion/app/wire"
)

// manCmd prints the manual page; the packages are made with it.
type manCmd struct{}

// exitMeanings are the exit codes, in their order.
var exitMeanings = []struct {
	code    int
	meaning string
}{
	{core.ExitOK, "Done."},
	{core.ExitInternal, "Internal error."},
	{core.ExitUsage, "The command line was not understood."},
	{core.ExitReader, "Card or reader."},
	{core.ExitNetwork, "Network, or the platform cannot be reached."},
	{core.ExitDeclined, "Declined by the platform."},
	{core.ExitOpen, "An order is or may be open: put the same card back and run sync. This beats 1, 3 and 4."},
	{core.ExitUpdate, "Update refused."},
}

func (manCmd) Run(con *console, parser *kong.Kong) error {
	exits := manpage.Section{Title: "EXIT STATUS"}
	for _, exit := range exitMeanings {
		exits.Terms = append(exits.Terms, manpage.Term{Word: strconv.Itoa(exit.code), Meaning: exit.meaning})
	}
	return manpage.Write(con.out, parser.Model, manpage.Page{
		Name: "walletctl", Version: wire.Version, Summary: "read and top up a stored-value wallet card",
		Synopsis: []string{"COMMAND [OPTIONS]", "help [COMMAND]"},
		Before: []manpage.Section{{Title: "DESCRIPTION", Text: []string{
			"walletctl is the console of the wallet companion. It reads a PBOC electronic purse on a smart card reader without any network, tops it up online, and settles what was interrupted.",
			"Amounts on the command line are yuan (50.00), amounts in JSON are fen and their names end in Fen. Passwords come from a prompt, from standard input or from a file, never from an argument.",
			"Without a reader, \"walletctl demo\" tells the whole story on a virtual card and a reference platform inside the program.",
		}}},
		After: []manpage.Section{
			exits,
			{Title: "ENVIRONMENT", Terms: []manpage.Term{{Word: "WALLET_COMPANION_PROFILE", Meaning: "Folder of this client's own data, as with --profile."}}},
			{Title: "FILES", Terms: []manpage.Term{{Word: "~/.config/wallet-companion", Meaning: "Journal, history, settings and the key of this computer. Removing the package leaves it alone; removing it by hand loses the history, and nothing that a card or the platform knows."}}},
			{Title: "SEE ALSO", Text: []string{"wallet-companion(1), pcscd(8)"}},
		},
	})
}
