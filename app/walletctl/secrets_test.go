package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/diag"
	"walletcompanion/app/store"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/platformclient/mockplatform/mocktest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

const (
	runPhone = "13952704861"
	runPIN   = "731984620573"
)

// customer is a person at a computer with a platform that is no demo for this client:
// passwords are typed, and nothing is allowed to know them. Everything that the
// programs print is kept under out, beside the profile.
type customer struct {
	t        *testing.T
	dir      string // profile/ and out/: all that is searched
	card     *virtualcard.Card
	cardFile string
	url      string
	platform *mockplatform.Platform
	bank     *wire.OwnBank
	home     string // the platform's directory
	login    string // the lines typed for a login
	pay      string // for a payment with PIN
	hunt     hunter
	runs     int
}

func newCustomer(t *testing.T) *customer {
	c := &customer{t: t, dir: t.TempDir(), home: filepath.Join(t.TempDir(), "platform")}
	require.NoError(t, os.MkdirAll(filepath.Join(c.dir, "out"), 0o700))
	var err error
	c.bank = wire.NewOwnBank(c.home, nil)
	t.Cleanup(func() { _ = c.bank.Close() })
	c.platform, err = mockplatform.Open(mockplatform.Config{Dir: c.home, Demo: true, Bank: c.bank.Partner})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.platform.Close() })
	require.NoError(t, c.platform.Seed(t.Context(), runPhone, 500_00, nil, ""))
	server, err := c.platform.Serve(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	c.url = server.URL

	profile := c.platform.Profile()
	profile.URL = server.URL
	typed := *profile.DemoCredentials
	profile.Demo, profile.DemoCredentials = false, nil
	raw, err := profile.Marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "ca.pem"), raw, 0o600))
	c.login, c.pay = typed.LoginPassword+"\n"+typed.SMSCode+"\n", typed.PaymentPassword+"\n"+runPIN+"\n"
	c.newCard()

	number := c.card.ASN().String()
	c.hunt.plant("the login password", []byte(typed.LoginPassword))
	c.hunt.plant("the payment password", []byte(typed.PaymentPassword))
	c.hunt.plant("the SMS code", []byte(typed.SMSCode))
	c.hunt.plant("the card's PIN", []byte(runPIN))
	c.hunt.plant("the phone number", []byte(runPhone), "out/*login.stdout", "out/*account.stdout")
	// The history is kept by card, so the database has to know it whole.
	c.hunt.plant("the card number", []byte(number), "profile/wallet.db*", "out/*reveal.stdout")
	c.hunt.plant("the card number's key factor", []byte(number[4:]), "profile/wallet.db*", "out/*reveal.stdout")
	keys := c.card.Keys()
	for name, key := range map[string]epcrypto.Key16{"DLK": keys.DLK, "DPK": keys.DPK, "DTK": keys.DTK} {
		c.hunt.plant("the card's "+name, key[:])
	}
	return c
}

// newCard makes a card that wants its PIN before a load, of this platform.
func (c *customer) newCard() {
	asn, err := wallet.ParseASN("00008317465092831746")
	require.NoError(c.t, err)
	c.card, err = virtualcard.New(virtualcard.Spec{ASN: asn, Balance: 40_00, Records: 3, PIN: runPIN, Variant: virtualcard.PINForLoad}, rand.Reader)
	require.NoError(c.t, err)
	exported, err := c.card.ExportKeys()
	require.NoError(c.t, err)
	var keys mockplatform.CardKeys
	require.NoError(c.t, json.Unmarshal(exported, &keys))
	require.NoError(c.t, c.platform.AdoptCard(c.t.Context(), runPhone, asn, keys, 40_00, "pboc-ep"))
	image, err := c.card.Image()
	require.NoError(c.t, err)
	c.cardFile = filepath.Join(c.t.TempDir(), "card.json")
	require.NoError(c.t, os.WriteFile(c.cardFile, image, 0o600))
}

// run runs walletctl, keeps what it printed and notes the tokens that it got.
func (c *customer) run(exit int, name, typed string, arguments ...string) {
	c.t.Helper()
	command, stdout, stderr := c.command(name, typed, arguments...)
	err := command.Run()
	require.NotNil(c.t, command.ProcessState, "%v", err)
	c.keep(name, stdout, stderr)
	require.Equal(c.t, exit, command.ProcessState.ExitCode(), "%v\n%s%s", arguments, stdout, stderr)
	c.noteTokens()
}

func (c *customer) command(name, typed string, arguments ...string) (command *exec.Cmd, stdout, stderr *bytes.Buffer) {
	all := append([]string{"--profile", filepath.Join(c.dir, "profile"), "--reader", "virtual:" + c.cardFile, "--platform", c.url,
		"--ca", filepath.Join(c.dir, "ca.pem"), "--verbose", "--timeout", "2s"}, arguments...)
	command = exec.Command("walletctl", all...)
	command.Dir = filepath.Join(c.dir, "out")
	command.Stdin = strings.NewReader(typed)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	command.Stdout, command.Stderr = stdout, stderr
	return command, stdout, stderr
}

func (c *customer) keep(name string, stdout, stderr *bytes.Buffer) {
	c.runs++
	for suffix, text := range map[string]*bytes.Buffer{"stdout": stdout, "stderr": stderr} {
		path := filepath.Join(c.dir, "out", fmt.Sprintf("%02d-%s.%s", c.runs, name, suffix))
		require.NoError(c.t, os.WriteFile(path, text.Bytes(), 0o600))
	}
}

// noteTokens plants the secrets that the client itself keeps, as they are now.
func (c *customer) noteTokens() {
	kept, err := store.Open(filepath.Join(c.dir, "profile"), store.Options{})
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, kept.Close()) }()
	names, err := kept.SecretNames(c.t.Context())
	require.NoError(c.t, err)
	for _, name := range names {
		value, err := kept.Get(c.t.Context(), name)
		require.NoError(c.t, err)
		if strings.HasSuffix(name, "/device-key") {
			c.hunt.plant("the device's private key", value)
			continue
		}
		var session map[string]any
		require.NoError(c.t, json.Unmarshal(value, &session))
		for _, token := range []string{"access", "refresh"} {
			if text, is := session[token].(string); is && text != "" {
				c.hunt.plant("the "+token+" token", []byte(text))
			}
		}
	}
	raw, err := os.ReadFile(filepath.Join(c.dir, "profile", "device.key"))
	require.NoError(c.t, err)
	c.hunt.plant("the key of the profile", raw, "profile/device.key")
}

// noteCodes works out, from the trace and the card's keys, the session keys and the
// codes that the trace leaves out, and plants them. It returns how many writes it saw.
func (c *customer) noteCodes() (writes int) {
	lines, _, err := diag.ReadTrace(filepath.Join(c.dir, "profile"))
	require.NoError(c.t, err)
	keys := c.card.Keys()
	var command, answer []byte
	for _, line := range lines {
		if line.Kind != diag.KindCard {
			continue
		}
		shown, err := hex.DecodeString(strings.ReplaceAll(line.Command, "**", "00"))
		require.NoError(c.t, err)
		switch {
		case shown[1] == 0x50 && line.SW == "9000": // INITIALIZE
			answer, err = hex.DecodeString(line.Answer)
			require.NoError(c.t, err)
			command = shown
			session := epcrypto.LoadSessionKey(keys.DLK, [4]byte(answer[8:12]), binary.BigEndian.Uint16(answer[4:6]))
			if shown[2] == 0x00 {
				c.hunt.plant("the session key of a load", session[:])
			}
		case shown[1] == 0x52: // CREDIT FOR LOAD
			session := epcrypto.LoadSessionKey(keys.DLK, [4]byte(answer[8:12]), binary.BigEndian.Uint16(answer[4:6]))
			mac := epcrypto.LoadMAC2(session, binary.BigEndian.Uint32(command[6:10]), 2, wallet.TerminalNumber(command[10:16]), epcrypto.CardTime(shown[5:12]))
			c.hunt.plant("MAC2 of a load", mac[:])
			writes++
		case shown[1] == 0x54: // DEBIT FOR PURCHASE
			serial := binary.BigEndian.Uint32(shown[5:9])
			session := epcrypto.PurchaseSessionKey(keys.DPK, [4]byte(answer[11:15]), binary.BigEndian.Uint16(answer[4:6]), serial)
			amount := binary.BigEndian.Uint32(command[6:10])
			c.hunt.plant("the session key of a purchase", session[:])
			one := epcrypto.PurchaseMAC1(session, amount, 6, wallet.TerminalNumber(command[10:16]), epcrypto.CardTime(shown[9:16]))
			c.hunt.plant("MAC1 of a purchase", one[:])
			two := epcrypto.PurchaseMAC2(session, amount)
			c.hunt.plant("MAC2 of a purchase", two[:], "profile/wallet.db*") // the card's proof: the journal keeps it for the platform
			writes++
		}
	}
	return writes
}

// TestDiag_NoSecrets lets a person do everything that goes wrong, and searches all
// that is left: the profile with its database and write-ahead log, the trace, what was
// printed with --verbose, dumps of a crash, bundles, and what explain and replay say.
func TestDiag_NoSecrets(t *testing.T) {
	c := newCustomer(t)
	wrong := "no-" + strings.SplitN(c.login, "\n", 2)[0] + "\n000000\n"
	c.run(5, "wrong-login", wrong, "login", "--phone", runPhone, "--password-stdin")
	c.run(0, "login", c.login, "login", "--phone", runPhone, "--password-stdin")
	c.run(0, "query", "", "query", "--json")
	c.run(0, "reveal", "", "query", "--reveal")
	c.run(0, "account", "", "account")
	c.run(6, "torn", c.pay, "topup", "--amount", "50.00", "--yes", "--password-stdin", "--fault", "credit-torn")
	c.run(0, "orders", "", "orders", "--json")
	c.run(0, "sync", strings.SplitN(c.pay, "\n", 2)[1], "sync", "--password-stdin")
	c.run(5, "wrong-payment", "135791\n"+runPIN+"\n", "topup", "--amount", "50.00", "--yes", "--password-stdin")
	c.run(3, "wrong-pin", strings.SplitN(c.pay, "\n", 2)[0]+"\n"+"482915\n", "topup", "--amount", "50.00", "--yes", "--password-stdin")
	c.run(137, "killed", c.pay, "topup", "--amount", "50.00", "--yes", "--password-stdin", "--fault", "killed-in-credit")
	c.run(0, "sync-2", strings.SplitN(c.pay, "\n", 2)[1], "sync", "--password-stdin", "--json")
	code, err := c.platform.ShopOrder(t.Context(), "", "tea", 2_50, "")
	require.NoError(t, err)
	c.run(6, "torn-purchase", strings.SplitN(c.pay, "\n", 2)[1], "pay", "--order-code", code, "--yes", "--password-stdin", "--fault", "debit-answer-lost")
	c.funds()
	c.binds()
	c.run(0, "history", "", "history", "--json")
	c.run(0, "statement", "", "statement", "--json")
	c.dump()

	c.run(0, "diagnose", "", "diagnose", "--bundle", "bundle.zip", "--yes", "--json")
	c.run(0, "explain", "", "explain", "bundle.zip", "--all")
	c.run(0, "replay", "", "replay", "bundle.zip")
	kept := c.holdOpen() // the write-ahead log goes when the last program closes the database
	defer kept()
	c.run(0, "open", "", "orders", "--open")

	require.Equal(t, 3, c.noteCodes(), "the torn load, the one that completed it, the purchase; a killed program tells no more")
	names := map[string]bool{}
	for _, each := range c.hunt.secrets {
		names[each.name] = true
	}
	for _, wanted := range []string{"the login password", "the payment password", "the SMS code", "the card's PIN", "the phone number", "the card number",
		"the card's DLK", "the device's private key", "the access token", "the refresh token", "the key of the profile", "MAC2 of a load",
		"the session key of a load", "the PIN of a voucher", "the number of a bank card", "the code of a bank", "MAC1 of a purchase", "MAC2 of a purchase", "the session key of a purchase"} {
		require.True(t, names[wanted], "%s was never planted", wanted)
	}
	found, files := c.hunt.folder(t, c.dir)
	require.Empty(t, found)
	require.Greater(t, files, 40)
	for _, name := range []string{"profile/wallet.db", "profile/wallet.db-wal", "profile/trace.jsonl", "out/bundle.zip"} {
		require.FileExists(t, filepath.Join(c.dir, name))
	}

	// The same search finds what a careless line of code would leave behind.
	trace, err := os.OpenFile(filepath.Join(c.dir, "profile", diag.TraceName), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	for _, each := range c.hunt.secrets {
		_, err = fmt.Fprintf(trace, "{\"careless\":\"%x\"}\n", each.raw)
		require.NoError(t, err)
	}
	require.NoError(t, trace.Close())
	found, _ = c.hunt.folder(t, c.dir)
	require.GreaterOrEqual(t, len(found), len(c.hunt.secrets))
}

// funds redeems vouchers: well, with a wrong PIN, killed in the middle, and answered
// too late.
func (c *customer) funds() {
	for i, run := range []struct {
		exit  int
		fault string
	}{{0, ""}, {137, "fund-killed-before-confirmed"}, {6, "fund-answer-lost"}} {
		serial, pin, _ := mocktest.Voucher(c.t, c.platform)
		c.hunt.plant("the PIN of a voucher", []byte(pin))
		arguments := []string{"fund", "--source", "voucher", "--voucher-stdin", "--yes"}
		if run.fault != "" {
			arguments = append(arguments, "--fault", run.fault)
		} else {
			wrong := pin[1:] + pin[:1]
			c.hunt.plant("the PIN of a voucher", []byte(wrong))
			c.run(5, "wrong-voucher", serial+"\n"+wrong+"\n", arguments...)
		}
		c.run(run.exit, fmt.Sprint("voucher-", i), serial+"\n"+pin+"\n", arguments...)
	}
	c.run(0, "sync-vouchers", "", "sync", "--settle", "--json")
}

// binds types the number of a bank card, and a code that is not the bank's.
func (c *customer) binds() {
	_, err := c.bank.Partner(c.t.Context())
	require.NoError(c.t, err)
	bank, err := mockbank.Open(mockbank.Config{Dir: filepath.Join(c.home, "bank")})
	require.NoError(c.t, err)
	defer bank.Close()
	number, err := bank.NewCard(c.t.Context(), "Somebody", runPhone, 100_00, false)
	require.NoError(c.t, err)
	const typed = "8213597046"
	c.hunt.plant("the number of a bank card", []byte(number))
	c.hunt.plant("the code of a bank", []byte(typed))
	arguments := []string{"bank", "bind", "--card", number, "--name", "Somebody", "--phone", runPhone, "--code-stdin"}
	c.run(5, "wrong-code", typed+"\n", arguments...)
	c.run(5, "wrong-name", "", "bank", "bind", "--card", number, "--name", "Nobody", "--phone", runPhone, "--code-stdin", "--json")
	c.run(0, "banks", "", "bank", "list", "--json")
}

// dump stops a program in the middle of a top-up, while it holds everything in memory,
// the way that makes the runtime print every stack.
func (c *customer) dump() {
	c.t.Helper()
	command, stdout, stderr := c.command("dump", "", "topup", "--amount", "50.00", "--yes", "--password-stdin", "--fault", "request-lost-silent")
	typed, err := command.StdinPipe()
	if err != nil { // command has set Stdin
		command.Stdin = nil
		typed, err = command.StdinPipe()
	}
	require.NoError(c.t, err)
	command.Stderr = nil
	progress, err := command.StderrPipe()
	require.NoError(c.t, err)
	require.NoError(c.t, command.Start())
	_, err = io.WriteString(typed, c.pay)
	require.NoError(c.t, err)
	buffer := make([]byte, 4096)
	stopped := false
	for {
		n, err := progress.Read(buffer)
		stderr.Write(buffer[:n])
		if !stopped && bytes.Contains(stderr.Bytes(), []byte("INITIALIZE FOR LOAD")) && bytes.Contains(stderr.Bytes(), []byte("  ")) {
			stopped = true
			require.NoError(c.t, command.Process.Signal(syscall.SIGQUIT))
		}
		if err != nil {
			break
		}
	}
	_ = command.Wait()
	c.keep("dump", stdout, stderr)
	require.True(c.t, stopped, "%s", stderr)
	require.Contains(c.t, stderr.String(), "goroutine ")
}

// holdOpen keeps the database open with a change that only the write-ahead log holds.
func (c *customer) holdOpen() (closed func()) {
	kept, err := store.Open(filepath.Join(c.dir, "profile"), store.Options{})
	require.NoError(c.t, err)
	require.NoError(c.t, kept.PutSetting(context.Background(), "ui.theme", "dark"))
	return func() { _ = kept.Close() }
}
