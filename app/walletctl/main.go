// Command walletctl is the console of the wallet companion: everything that the
// program can do, without a window. Service staff, installers and scripts rely on
// its names, units and exit codes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/assets/lang"
)

// globals are the flags that every command takes.
type globals struct {
	JSON            bool          `name:"json" help:"Print one JSON object on standard output."`
	Reader          string        `name:"reader" default:"auto" placeholder:"R" help:"auto, pcsc:NAME, virtual:FILE, or demo (a virtual card of one's own)."`
	Platform        string        `name:"platform" placeholder:"P" help:"demo, demo:DIR, or https://HOST:PORT."`
	CA              string        `name:"ca" placeholder:"FILE" help:"Platform profile file: CA, pins, signer and HPKE keys."`
	Profile         string        `name:"profile" placeholder:"DIR" help:"Folder of this client's own data."`
	Lang            string        `name:"lang" enum:",zh,en" default:"" placeholder:"zh|en" help:"Language of texts; the system's without."`
	Quiet           bool          `name:"quiet" short:"q" help:"No progress on standard error."`
	Verbose         bool          `name:"verbose" short:"v" help:"Show every card command, redacted, on standard error."`
	Timeout         time.Duration `name:"timeout" default:"10s" placeholder:"DUR" help:"How long to wait for a card."`
	Fault           string        `name:"fault" placeholder:"NAME" help:"Demo and tests: cut or distort at a named point (see: walletctl faults)."`
	DemoCredentials bool          `name:"demo-credentials" help:"Use the passwords and codes of a demo platform."`
	Seed            uint64        `name:"seed" hidden:"" help:"Accepted for the demo; its cards draw real randoms."`
}

type commands struct {
	globals

	Readers   readersCmd    `cmd:"" help:"Readers and their state."`
	Query     queryCmd      `cmd:"" help:"Read the card; never touches the network."`
	History   historyCmd    `cmd:"" help:"Records of every reading, merged."`
	Register  registerCmd   `cmd:"" help:"Open an account for a phone number."`
	Login     loginCmd      `cmd:"" help:"Log in to the account."`
	Logout    logoutCmd     `cmd:"" help:"End the session."`
	Passwd    passwdCmd     `cmd:"" help:"Change or reset a password."`
	Devices   devicesCmd    `cmd:"" help:"Computers that may use the account."`
	Messages  messagesCmd   `cmd:"" help:"Messages of the platform: money, computers, passwords."`
	Account   accountCmd    `cmd:"" help:"State, money and limits of the account; close it."`
	Statement statementCmd  `cmd:"" help:"Movements on the main account."`
	Cards     cardsCmd      `cmd:"" help:"Cards of the account."`
	Fund      fundCmd       `cmd:"" help:"Pay into the main account, from a voucher or a bank."`
	Freeze    freezeCmd     `cmd:"" help:"Freeze the account."`
	Thaw      thawCmd       `cmd:"" help:"End a freeze of one's own, an oral report of loss, or silence."`
	Loss      reportLossCmd `cmd:"" name:"report-loss" help:"Report a card, or the account with all its cards, lost."`
	Topup     topupCmd      `cmd:"" help:"Load value onto the card (圈存)."`
	Pay       payCmd        `cmd:"" help:"Pay a merchant's order from the card (消费)."`
	Unload    unloadCmd     `cmd:"" help:"Return value from the card to the main account (取回余额)."`
	Sync      syncCmd       `cmd:"" help:"Settle what is open for the card on the reader (充值同步)."`
	Orders    ordersCmd     `cmd:"" help:"Where is my money."`
	Bank      bankCmd       `cmd:"" help:"Bound bank cards, and money back to them."`
	Receipt   receiptCmd    `cmd:"" help:"Receipt of an order."`
	Staff     staffCmd      `cmd:"" help:"Service counter: settle by card, decide with two persons, companions, service."`
	Diagnose  diagnoseCmd   `cmd:"" help:"Check this computer; with --bundle put together what service staff need."`
	Explain   explainCmd    `cmd:"" help:"Say in words what a bundle or a trace shows."`
	Replay    replayCmd     `cmd:"" help:"Play a recorded trace against this program, without a reader and a platform."`
	Demo      demoCmd       `cmd:"" help:"The whole story on a virtual card and the embedded platform."`
	Card      cardCmd       `cmd:"" help:"View a card; virtual cards."`
	Platforms platformCmd   `cmd:"" name:"platform" help:"The embedded reference platform."`
	Doctor    doctorCmd     `cmd:"" help:"Checks of reader, card, platform and this computer, with what to do."`
	Errors    errorsCmd     `cmd:"" help:"Error codes with causes and remedies."`
	Faults    faultsCmd     `cmd:"" help:"Named faults."`
	Version   versionCmd    `cmd:"" help:"Build facts."`
	Help      helpCmd       `cmd:"" help:"Show help, also of one command."`
	Limits    limitsCmd     `cmd:"" help:"What may still be paid, and when it resets; day limits of one's own."`

	Completion completionCmd `cmd:"" help:"Print a completion script for bash, zsh, fish or powershell."`
	Complete   completeCmd   `cmd:"" name:"complete" hidden:"" help:"Words that may come next; completion scripts call it."`
	Man        manCmd        `cmd:"" hidden:"" help:"Print the manual page; packages are made with it."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// notExited says that the parser has not printed help yet.
const notExited = -1

// run is main without the process, so that tests can call it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli commands
	con := &console{in: stdin, out: stdout, err: stderr}
	exited := notExited
	parser, err := kong.New(&cli, kong.Name("walletctl"),
		kong.Description("Read a stored-value wallet card, top it up, settle what was interrupted."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return core.ExitInternal
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help was printed
		return exited
	}
	con.globals = cli.globals
	con.texts = lang.Texts(cli.Lang)
	if err != nil {
		con.JSON = con.JSON || slices.Contains(args, "--json") // it may stand behind what was not understood
		return con.fail(&core.Failure{Code: "USAGE", Err: err})
	}
	if wire.IsProcessFault(cli.Fault) && !wire.UnderSupervision() && kctx.Command() != "demo" { // the demo kills its own top-up
		return wire.Supervise(cli.Fault, args, stdin, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	return con.fail(con.firstAid(ctx, kctx.Run(con, parser, &exited)))
}

// helpCmd shows help of a command: walletctl help topup.
type helpCmd struct {
	Command []string `arg:"" optional:""`
}

func (h helpCmd) Run(parser *kong.Kong, exited *int) error {
	_, err := parser.Parse(append(h.Command, "--help"))
	if *exited != notExited {
		return nil // the help has been printed; what else the command needs does not matter
	}
	return &core.Failure{Code: "USAGE", Err: err}
}
