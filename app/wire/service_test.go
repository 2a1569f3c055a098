package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

const (
	servedSerial = "1000000000000042"
	servedPhone  = "13900000000"
)

// processes runs the console program as people do: one process a command.
type processes struct {
	t       *testing.T
	console string
	global  []string // flags of every command
}

// run gives standard output and exit code.
func (p processes) run(arguments ...string) ([]byte, int) {
	p.t.Helper()
	command := exec.Command(p.console, append(append([]string{}, arguments...), p.global...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	if testing.Verbose() && os.Getenv("CI") != "true" {
		p.t.Logf("%v: exit %d\n%s%s", arguments, command.ProcessState.ExitCode(), stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), command.ProcessState.ExitCode()
}

// json runs a command with --json, requires the exit code and decodes the object.
func (p processes) json(exit int, arguments ...string) map[string]any {
	p.t.Helper()
	out, code := p.run(append(arguments, "--json")...)
	require.Equal(p.t, exit, code, "%v: %s", arguments, out)
	decoder := json.NewDecoder(bytes.NewReader(out))
	var object map[string]any
	require.NoError(p.t, decoder.Decode(&object), "%v: %s", arguments, out)
	require.False(p.t, decoder.More(), "%v prints more than one object: %s", arguments, out)
	return object
}

// start keeps a command running until the end of the test, or until stop.
func (p processes) start(arguments ...string) (firstLine string, stop func()) {
	p.t.Helper()
	command := exec.Command(p.console, arguments...)
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, command.Start())
	ended := make(chan struct{})
	first := make(chan string, 1)
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			select {
			case first <- lines.Text():
			default:
			}
		}
		_ = command.Wait()
	}()
	stop = func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	p.t.Cleanup(stop)
	if arguments[0] == "platform" {
		select {
		case firstLine = <-first:
		case <-ended:
			p.t.Fatalf("%v ended at once", arguments)
		}
	}
	return firstLine, stop
}

// field talks to the control port of `card serve`.
type field struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// controlField connects to a `card serve` that may still be starting.
func controlField(t *testing.T, port int) field {
	t.Helper()
	var conn net.Conn
	require.Eventually(t, func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	t.Cleanup(func() { conn.Close() })
	return field{t, conn, bufio.NewReader(conn)}
}

func (f field) say(word string) string {
	f.t.Helper()
	_, err := fmt.Fprintln(f.conn, word)
	require.NoError(f.t, err)
	answer, err := f.in.ReadString('\n')
	require.NoError(f.t, err)
	return strings.TrimSpace(answer)
}

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// counter is a desk with everything that a shop has: the system's smart card service
// with a reader, a platform in a process of its own behind TLS, and a card that the
// platform personalised and somebody else made.
type counter struct {
	processes
	service  *pcsctest.Service
	platform string
	card     string
	profile  string
	other    string // another computer's profile
	url, ca  string

	stopPlatform func()
}

func openCounter(t *testing.T) *counter {
	service := pcsctest.Start(t)
	dir := t.TempDir()
	s := &counter{
		processes: processes{t: t, console: buildConsole(t)}, service: service, platform: filepath.Join(dir, "platform"),
		card: filepath.Join(dir, "card.json"), profile: filepath.Join(dir, "profile"), other: filepath.Join(dir, "other"),
	}
	keys := filepath.Join(dir, "keys.json")
	s.json(0, "platform", "issue-card", "--dir", s.platform, "--serial", servedSerial, "--export-keys", keys)
	s.json(0, "platform", "seed", "--dir", s.platform, "--phone", servedPhone, "--balance", "500.00", "--card", servedSerial)
	s.json(0, "card", "new", s.card, "--serial", servedSerial, "--balance", "0.00", "--keys", keys)
	ready, stop := s.start("platform", "serve", "--dir", s.platform, "--listen", "127.0.0.1:0")
	_, err := fmt.Sscanf(ready, "ready %s ca=%s", &s.url, &s.ca)
	require.NoError(t, err, "%q", ready)
	s.stopPlatform = stop
	return s
}

// on gives the flags of a command at one of the two computers.
func (s *counter) on(profile string, arguments ...string) []string {
	return append(arguments, "--reader", "pcsc:Virtual PCD", "--platform", s.url, "--ca", s.ca, "--profile", profile, "--demo-credentials")
}

// image is the truth about the card: its file.
func (s *counter) image() virtualcard.Snapshot {
	s.t.Helper()
	raw, err := os.ReadFile(s.card)
	require.NoError(s.t, err)
	chip, err := virtualcard.Parse(raw)
	require.NoError(s.t, err)
	return chip.(*virtualcard.Card).Snapshot()
}

// audit asks the books, while the platform is served, and compares the card.
func (s *counter) audit(heldFen float64) {
	s.t.Helper()
	report := s.json(0, "platform", "check", "--dir", s.platform)
	require.EqualValues(s.t, 0, report["imbalanceFen"])
	require.Equal(s.t, heldFen, report["heldFen"])
	require.Equal(s.t, "ok", report["auditChain"])
	if heldFen != 0 {
		return
	}
	for _, each := range report["cards"].([]any) {
		if card := each.(map[string]any); card["asn"] == "0000"+servedSerial {
			require.EqualValues(s.t, s.image().Balance, card["expectedBalanceFen"], "the books say what the card holds")
			return
		}
	}
	s.t.Fatal("the books do not know the card")
}

// putBack puts the card into the reader's field again.
func (f field) putBack() {
	f.t.Helper()
	require.Contains(f.t, []string{"ok dialling", "ok connected"}, f.say("insert"))
}

// tearAt tells the process that serves the card to take its power away once, at the
// next command with the instruction, which is given in hex: "before" it reaches the
// chip, "inside" of it, before the chip's commit, or "after" that.
func (f field) tearAt(when, instruction string) {
	f.t.Helper()
	require.Equal(f.t, "ok connected", f.say("tear "+when+" "+instruction))
}

// serve runs `card serve` and waits until the card is in the reader's field.
func (s *counter) serve(cardFile string) (field, func()) {
	s.t.Helper()
	port := freePort(s.t)
	_, stop := s.start("card", "serve", cardFile, "--vpcd", s.service.Addr(0), "--control", strconv.Itoa(port), "--quiet")
	control := controlField(s.t, port)
	s.awaitCard("present")
	return control, func() {
		stop()
		s.awaitCard("empty")
	}
}

// awaitCard waits until the service has noticed that a card came or went: this
// virtual reader looks every 400 ms.
func (s *counter) awaitCard(state string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		for _, each := range s.json(0, "readers", "--profile", s.t.TempDir())["readers"].([]any) {
			if info := each.(map[string]any); info["name"] == s.service.Name(0) {
				return info["state"] == state
			}
		}
		return false
	}, 10*time.Second, 20*time.Millisecond)
}

// TestE2E_RealService reads, loads and settles a card through the system's own
// smart card service, every party a process of its own.
func TestE2E_RealService(t *testing.T) {
	pcsctest.Require(t)
	s := openCounter(t)
	control, stop := s.serve(s.card)

	reading := s.json(0, s.on(s.profile, "query")...)
	require.EqualValues(t, 0, reading["balanceFen"])
	require.EqualValues(t, 2, reading["apdusToBalance"])
	require.Contains(t, reading["reader"], "Virtual PCD")
	require.Equal(t, "ok", s.json(0, "readers", "--profile", s.profile)["service"])

	require.Equal(t, "ok out", control.say("remove"))
	s.awaitCard("empty")
	failure := s.json(3, s.on(s.profile, "query", "--timeout", "600ms")...)
	require.Equal(t, "CARD_NONE", failure["error"].(map[string]any)["code"])
	control.putBack()
	s.awaitCard("present")

	s.json(0, s.on(s.profile, "login", "--phone", servedPhone)...)
	loaded := s.json(0, s.on(s.profile, "topup", "--amount", "50.00", "--yes")...)
	require.Equal(t, "LOADED", loaded["state"])
	require.EqualValues(t, 2, loaded["requests"])
	require.EqualValues(t, 1, loaded["requestsWaited"])
	require.EqualValues(t, 5000, loaded["balanceAfterFen"])
	require.EqualValues(t, 5000, s.image().Balance)
	s.audit(0)
	stop()

	s.json(0, s.on(s.other, "login", "--phone", servedPhone)...)
	balance := wallet.Fen(50_00)
	for _, row := range []struct {
		name     string
		when     string
		profile  string
		flags    []string
		credited bool // the card has the money already when it leaves
		to       string
	}{
		{"before the command, completed on the same computer", "before", s.profile, nil, false, "LOADED"},
		{"before the chip's commit, completed on another computer", "inside", s.other, nil, false, "LOADED"},
		{"before the chip's commit, cancelled on another computer", "inside", s.other, []string{"--cancel"}, false, "VOIDED"},
		{"after the commit, settled on the same computer", "after", s.profile, nil, true, "LOADED"},
		{"after the commit, cancelled in vain on another computer", "after", s.other, []string{"--cancel"}, true, "LOADED"},
	} {
		passed := t.Run(row.name, func(t *testing.T) {
			s.t = t
			control, stop := s.serve(s.card)
			control.tearAt(row.when, "52") // CREDIT FOR LOAD, PBOC part 2 §7.4
			failure := s.json(6, s.on(s.profile, "topup", "--amount", "50.00", "--yes")...)["error"].(map[string]any)
			require.Equal(t, "ORDER_OPEN", failure["code"])
			order := failure["detail"].(map[string]any)["order"].(map[string]any)["order"]
			require.Equal(t, "ok out", control.say("state"), "the card was not torn")
			if row.credited {
				balance += 50_00
			}
			require.Equal(t, balance, s.image().Balance)
			s.audit(5000)
			open := s.json(0, s.on(s.profile, "orders", "--open")...)["orders"].([]any)
			require.Len(t, open, 1)
			require.Equal(t, "GRANTED", open[0].(map[string]any)["state"])

			s.awaitCard("empty")
			control.putBack()
			s.awaitCard("present")
			synced := s.json(0, s.on(row.profile, append([]string{"sync"}, row.flags...)...)...)["orders"].([]any)
			require.Len(t, synced, 1)
			line := synced[0].(map[string]any)
			require.Equal(t, order, line["order"])
			require.Equal(t, row.to, line["to"])
			require.LessOrEqual(t, line["requests"], 2.0)
			if !row.credited && row.to == "LOADED" {
				balance += 50_00
			}
			require.Equal(t, balance, s.image().Balance)
			s.audit(0)
			require.Empty(t, s.json(0, s.on(row.profile, "sync")...)["orders"])
			if row.profile != s.profile { // the first computer hears what became of its order
				heard := s.json(0, s.on(s.profile, "sync")...)["orders"].([]any)
				require.Len(t, heard, 1)
				require.Equal(t, order, heard[0].(map[string]any)["order"])
				require.Equal(t, row.to, heard[0].(map[string]any)["to"])
			}
			require.Empty(t, s.json(0, s.on(s.profile, "sync")...)["orders"])
			require.Equal(t, balance, s.image().Balance)
			stop()
		})
		if !passed {
			return // the next row begins where this one ended
		}
	}
}

// TestE2E_RecordedThroughService: a recorded card gives the same facts through the
// system's smart card service as from its file.
func TestE2E_RecordedThroughService(t *testing.T) {
	pcsctest.Require(t)
	files, err := filepath.Glob("../../wallet/testdata/cards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	service := pcsctest.Start(t)
	s := &counter{processes: processes{t: t, console: buildConsole(t)}, service: service}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s.t = t
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			copied := filepath.Join(t.TempDir(), filepath.Base(file)) // the lock lies beside it
			require.NoError(t, os.WriteFile(copied, raw, 0o600))
			profile := t.TempDir()
			direct := s.json(0, "query", "--reveal", "--reader", "virtual:"+copied, "--profile", profile)
			_, stop := s.serve(copied)
			served := s.json(0, "query", "--reveal", "--reader", "pcsc:Virtual PCD", "--profile", profile)
			stop()
			for _, object := range []map[string]any{direct, served} {
				for _, differs := range []string{"reader", "readAt", "elapsedMS"} {
					require.Contains(t, object, differs)
					delete(object, differs)
				}
			}
			// Only who holds the recording itself knows what it lacks.
			direct["problems"] = without(direct["problems"].([]any), "NOT_RECORDED")
			require.Equal(t, direct, served)
		})
	}
}

func without(problems []any, prefix string) []any {
	kept := []any{}
	for _, each := range problems {
		if !strings.HasPrefix(each.(string), prefix) {
			kept = append(kept, each)
		}
	}
	return kept
}

// TestE2E_ReadersWatch: `readers --watch` prints one object a line, at the start and
// whenever something changes.
func TestE2E_ReadersWatch(t *testing.T) {
	pcsctest.Require(t)
	service := pcsctest.Start(t)
	s := &counter{processes: processes{t: t, console: buildConsole(t)}, service: service}
	card := fullCard(t, t.TempDir())
	watch := exec.Command(s.console, "readers", "--watch", "--json", "--profile", t.TempDir())
	stdout, err := watch.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, watch.Start())
	lines := bufio.NewScanner(stdout)
	next := func() (state string) {
		t.Helper()
		require.True(t, lines.Scan(), "the watch ended")
		var object struct {
			Service string
			Readers []struct{ Name, State string }
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &object), "%s", lines.Text())
		require.Equal(t, "ok", object.Service)
		for _, each := range object.Readers {
			if each.Name == service.Name(0) {
				return each.State
			}
		}
		return "missing"
	}
	require.Equal(t, "empty", next())
	_, stop := s.serve(card)
	state := next()
	for state == "empty" || state == "busy" { // another reader's change, or our own look
		state = next()
	}
	require.Equal(t, "present", state)
	stop()
	for state != "empty" {
		state = next()
	}
	require.NoError(t, watch.Process.Signal(os.Interrupt))
	require.NoError(t, watch.Wait(), "a watch that a person ends is no failure")
}
