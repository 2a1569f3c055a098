package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
	"walletcompanion/reader/pcsc/pcsctest"
)

// besideRounds is how often each program reads the card beside the others.
const besideRounds = 25

// python is the interpreter for which Debian installs pyscard.
const python = "/usr/bin/python3"

// sender is a program that says the same commands to a card, through the same service.
type sender struct {
	name   string
	absent error                                   // why it cannot run here
	whole  func() *exec.Cmd                        // from start to end
	judge  func(out string) (answered int)         // how many commands were answered
	inside func(out string) (time.Duration, error) // the commands alone, as the program itself says
	spoken func() time.Duration                    // the commands alone, spoken to a program that waits for them
}

// TestBench_ReadingBesideOtherPrograms reads one card with ten records through the real
// smart card service with the console program, which looks for the reader, guards every
// command, parses and stores, and with three general programs that send the very same
// commands and print the answers. Those are 13 for the purse and as many again that
// search for further applications, all of which fail.
func TestBench_ReadingBesideOtherPrograms(t *testing.T) {
	onlyBench(t)
	pcsctest.Require(t)
	dir := t.TempDir()
	card := fullCard(t, dir)
	program, err := wire.Open(t.Context(), wire.Options{Reader: "virtual:" + card, ProfileDir: t.TempDir()})
	require.NoError(t, err)
	var commands []string
	for _, command := range transcript(t, program) {
		commands = append(commands, fmt.Sprintf("%X", command))
	}
	program.Close()
	service := pcsctest.Start(t)
	s := &counter{processes: processes{t: t, console: buildStripped(t, "walletcompanion/app/walletctl")}, service: service}
	s.serve(card)

	query := func() *exec.Cmd {
		return exec.Command(s.console, "query", "--json", "--reader", "pcsc:Virtual PCD", "--profile", filepath.Join(dir, "profile"))
	}
	senders := []sender{
		{name: "walletctl query", whole: query, judge: func(out string) int { return len(commands) * len(findQuery(t, out).Records) / 10 },
			inside: func(out string) (time.Duration, error) {
				return time.Duration(findQuery(t, out).ElapsedMS * float64(time.Millisecond)), nil
			}},
		openscTool(service.Name(0), commands), scriptor(t, service.Name(0), commands), pyscard(service.Name(0), commands),
	}
	wholes, used, alone := make([][]time.Duration, len(senders)), make([][]time.Duration, len(senders)), make([][]time.Duration, len(senders))
	order := rand.New(rand.NewPCG(1, 2))
	for round := range besideRounds + 1 {
		for _, at := range order.Perm(len(senders)) {
			if senders[at].absent != nil {
				continue
			}
			// Each finds the card as this one leaves it: powered, and free.
			require.NoError(t, query().Run())
			whole, cpu, inside := senders[at].measure(t, len(commands))
			if round > 0 { // else warming up
				wholes[at], used[at], alone[at] = append(wholes[at], whole), append(used[at], cpu), append(alone[at], inside)
			}
		}
	}
	for at, each := range senders[1:] {
		title := fmt.Sprintf("offline reading, %d commands, beside %s", len(commands), each.name)
		if each.absent != nil {
			benchLine(title, "-", "-", "-", "-", "not measured: "+each.absent.Error())
			continue
		}
		compare(title+", start to end", wholes[0], each.name, wholes[at+1])
		compare(title+", processor time of the process", used[0], each.name, used[at+1])
		if alone[at+1][0] != 0 {
			compare(title+", commands alone", alone[0], each.name, alone[at+1])
		}
	}
}

// measure runs the program once: the whole of it, the processor time that it used, which
// other work on the machine hardly changes, and, if it can be told, the commands alone.
func (s sender) measure(t *testing.T, commands int) (whole, used, alone time.Duration) {
	t.Helper()
	command := s.whole()
	var stdout bytes.Buffer
	command.Stdout = &stdout
	began := time.Now()
	err := command.Run()
	whole = time.Since(began)
	require.NoError(t, err, "%s: %s", s.name, stdout.String())
	require.Equal(t, commands, s.judge(stdout.String()), "%s: %s", s.name, stdout.String())
	switch {
	case s.inside != nil:
		alone, err = s.inside(stdout.String())
		require.NoError(t, err, s.name)
	case s.spoken != nil:
		alone = s.spoken()
	}
	return whole, command.ProcessState.UserTime() + command.ProcessState.SystemTime(), alone
}

// queryFacts are what the measurement needs of the console's reading.
type queryFacts struct {
	Records   []json.RawMessage
	ElapsedMS float64
}

func findQuery(t *testing.T, out string) (facts queryFacts) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(out), &facts), "%s", out)
	return facts
}

// openscTool is the tool of OpenSC, kept from trying its card drivers.
func openscTool(reader string, commands []string) sender {
	arguments := []string{"-r", reader, "-c", "default"}
	for _, each := range commands {
		arguments = append(arguments, "-s", each)
	}
	_, absent := exec.LookPath("opensc-tool")
	return sender{name: "opensc-tool", absent: absent,
		whole: func() *exec.Cmd { return exec.Command("opensc-tool", arguments...) },
		judge: func(out string) int { return strings.Count(out, "Received (SW1=") },
	}
}

// scriptor is the tool of pcsc-tools. It reads commands from a file or, already
// connected, from its standard input.
func scriptor(t *testing.T, reader string, commands []string) sender {
	file := filepath.Join(t.TempDir(), "commands")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(commands, "\n")+"\n"), 0o600))
	answered := func(out string) int { return strings.Count("\n"+out, "\n< ") }
	_, absent := exec.LookPath("scriptor")
	return sender{name: "scriptor", absent: absent, judge: answered,
		whole: func() *exec.Cmd { return exec.Command("scriptor", "-r", reader, file) },
		spoken: func() time.Duration {
			command := exec.Command("scriptor", "-u", "-r", reader)
			stdin, err := command.StdinPipe()
			require.NoError(t, err)
			stdout, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())
			lines := bufio.NewScanner(stdout)
			require.True(t, lines.Scan(), "it says which protocol it speaks when it is connected")
			began := time.Now()
			_, err = io.WriteString(stdin, strings.Join(commands, "\n")+"\n")
			require.NoError(t, err)
			for range commands {
				for lines.Scan() && !strings.HasPrefix(lines.Text(), "< ") {
				}
			}
			took := time.Since(began)
			require.NoError(t, stdin.Close())
			for lines.Scan() {
			}
			require.NoError(t, command.Wait())
			return took
		},
	}
}

// pyscard is a short Python program; the library has no tool of its own for this.
func pyscard(reader string, commands []string) sender {
	script := filepath.Join("testdata", "pyscard.py")
	absent := exec.Command(python, script).Run()
	if absent != nil {
		absent = fmt.Errorf("%s has no pyscard: %w", python, absent)
	}
	var answered int
	var nanoseconds int64
	scan := func(out string) error {
		_, err := fmt.Sscan(out, &answered, &nanoseconds)
		return err
	}
	return sender{name: "pyscard", absent: absent,
		whole: func() *exec.Cmd { return exec.Command(python, append([]string{script, reader}, commands...)...) },
		judge: func(out string) int { _ = scan(out); return answered },
		inside: func(out string) (time.Duration, error) {
			err := scan(out)
			return time.Duration(nanoseconds), err
		},
	}
}
