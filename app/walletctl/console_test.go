package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"walletcompanion/app/store"
	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"walletctl": main})
}

// TestScripts runs the console as a stranger's scripts do. testdata/script holds
// one story a file; the commands beside testscript's own are those of scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: scriptCommands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("WALLET_COMPANION_PROFILE", filepath.Join(env.WorkDir, "profile"))
			env.Setenv("LC_ALL", "en_US.UTF-8")
			return copyRecordings(filepath.Join(env.WorkDir, "recorded"))
		},
	})
}

func copyRecordings(folder string) error {
	files, err := filepath.Glob("../../wallet/testdata/cards/*.json")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no recorded cards: %w", err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// code N PROGRAM ARGUMENTS: the program ends with exactly this exit code.
	"code": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: code N PROGRAM ARGUMENTS")
		}
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		got := 0
		err = ts.Exec(args[1], args[2:]...)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
		if got != want {
			ts.Fatalf("exit code %d, not %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	},
	// json PATH [VALUE]: standard output is exactly one JSON object, and the value at
	// the path (names and indexes with dots; len is a length) is there, or is this one.
	"json": func(ts *testscript.TestScript, neg bool, args []string) {
		found, known := at(oneObject(ts), args[0])
		switch {
		case neg && known && len(args) == 1:
			ts.Fatalf("%s is there: %v", args[0], found)
		case neg && len(args) == 1:
			return
		case !known:
			ts.Fatalf("%s is missing in %s", args[0], ts.ReadFile("stdout"))
		case len(args) > 1 && (text(found) == args[1]) == neg:
			ts.Fatalf("%s is %s, wanted %s (negated: %v)", args[0], text(found), args[1], neg)
		}
	},
	// fields PATH NAME...: the object at the path ("." is the whole) has these fields.
	"fields": func(ts *testscript.TestScript, neg bool, args []string) {
		found, known := at(oneObject(ts), args[0])
		object, isObject := found.(map[string]any)
		if neg || !known || !isObject {
			ts.Fatalf("%s is no object in %s", args[0], ts.ReadFile("stdout"))
		}
		for _, name := range args[1:] {
			if _, has := object[name]; !has {
				ts.Fatalf("%s lacks the field %s: %v", args[0], name, object)
			}
		}
	},
	// keep NAME PATH: puts a value of the last object into an environment variable.
	"keep": func(ts *testscript.TestScript, _ bool, args []string) {
		found, known := at(oneObject(ts), args[1])
		if !known {
			ts.Fatalf("%s is missing", args[1])
		}
		ts.Setenv(args[0], text(found))
	},
	// lines FILE LINE...: writes what a person would type.
	"lines": func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n"), 0o600))
	},
	"books":     auditBooks,
	"serve":     servePlatform,
	"lockmoney": lockMoney,
	"bareca":    bareCertificate,
	"notdemo":   notDemo,
	"secrets":   secrets,
	"unzip":     unzipOne,
	"damage":    damageOne,
}

// auditBooks: books DIR [PATH VALUE]... audits a platform's books: they balance, the
// audit chain is whole, and the values at these paths of the report are these.
func auditBooks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args)%2 != 1 {
		ts.Fatalf("usage: books DIR [PATH VALUE]...")
	}
	ts.Check(ts.Exec("walletctl", "platform", "check", "--json", "--dir", ts.MkAbs(args[0])))
	report := oneObject(ts)
	wanted := append([]string{"imbalanceFen", "0", "auditChain", "ok"}, args[1:]...)
	for i := 0; i < len(wanted); i += 2 {
		if found, _ := at(report, wanted[i]); text(found) != wanted[i+1] {
			ts.Fatalf("%s is %s, wanted %s, in %s", wanted[i], text(found), wanted[i+1], ts.ReadFile("stdout"))
		}
	}
}

// oneObject decodes standard output, which must be one JSON object and no more.
func oneObject(ts *testscript.TestScript) map[string]any {
	out := ts.ReadFile("stdout")
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		ts.Fatalf("no JSON object: %v: %q", err, out)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) || !strings.HasSuffix(out, "}\n") {
		ts.Fatalf("more than one JSON object: %q", out)
	}
	return object
}

// at follows names and indexes.
func at(value any, path string) (any, bool) {
	for _, step := range strings.Split(path, ".") {
		if step == "" {
			continue
		}
		switch inside := value.(type) {
		case map[string]any:
			next, known := inside[step]
			if !known {
				return nil, false
			}
			value = next
		case []any:
			if step == "len" {
				return json.Number(strconv.Itoa(len(inside))), true
			}
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(inside) {
				return nil, false
			}
			value = inside[index]
		default:
			return nil, false
		}
	}
	return value, true
}

func text(value any) string {
	if value == nil {
		return "null"
	}
	return fmt.Sprint(value)
}

// servePlatform: serve DIR runs `platform serve` until the script ends; the
// variables URL and CA say where it is.
func servePlatform(ts *testscript.TestScript, _ bool, args []string) {
	command := exec.Command("walletctl", "platform", "serve", "--dir", ts.MkAbs(args[0]), "--listen", "127.0.0.1:0")
	out, err := command.StdoutPipe()
	ts.Check(err)
	ts.Check(command.Start())
	ts.Defer(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	})
	var url, ca string
	if _, err := fmt.Fscanf(out, "ready %s ca=%s\n", &url, &ca); err != nil {
		ts.Fatalf("platform serve did not say ready: %v", err)
	}
	ts.Setenv("URL", url)
	ts.Setenv("CA", ca)
}

// lockMoney: lockmoney PROFILE holds the profile's money lock until the script ends,
// as another process does that is loading a card.
func lockMoney(ts *testscript.TestScript, _ bool, args []string) {
	held, err := store.Open(ts.MkAbs(args[0]), store.Options{})
	ts.Check(err)
	unlock, err := held.LockMoney(context.Background())
	ts.Check(err)
	ts.Defer(func() {
		unlock()
		_ = held.Close()
	})
}

// bareCertificate: bareca PROFILEFILE OUT keeps the CA certificate only.
func bareCertificate(ts *testscript.TestScript, _ bool, args []string) {
	raw := []byte(ts.ReadFile(args[0]))
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem.EncodeToMemory(block), 0o600))
			return
		}
	}
	ts.Fatalf("no certificate in %s", args[0])
}

// notDemo: notdemo PROFILEFILE OUT writes the profile of a platform that is no demo.
func notDemo(ts *testscript.TestScript, _ bool, args []string) {
	profile, err := api.ParseProfile([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	profile.Demo, profile.DemoCredentials = false, nil
	raw, err := profile.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// secrets: secrets PROFILEFILE writes the demo's passwords as a person would type
// them: login.txt (password, SMS code), login.pass (password) and pay.txt.
func secrets(ts *testscript.TestScript, _ bool, args []string) {
	profile, err := api.ParseProfile([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	demo := profile.DemoCredentials
	for name, content := range map[string]string{
		"login.txt":  demo.LoginPassword + "\n" + demo.SMSCode + "\n",
		"login.pass": demo.LoginPassword + "\r\n",
		"sms.txt":    demo.SMSCode + "\n",
		"pay.txt":    demo.PaymentPassword + "\n",
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(content), 0o600))
	}
	ts.Setenv("PAYPASS", demo.PaymentPassword)
	ts.Setenv("LOGINPASS", demo.LoginPassword)
	ts.Setenv("SMSCODE", demo.SMSCode)
}

// unzipOne: unzip BUNDLE MEMBER OUT takes one file out of a bundle.
func unzipOne(ts *testscript.TestScript, _ bool, args []string) {
	archive, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer archive.Close()
	raw, err := fs.ReadFile(archive, args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), raw, 0o600))
}

// damageOne: damage BUNDLE OUT MEMBER writes the bundle again with one digit of a
// member changed.
func damageOne(ts *testscript.TestScript, _ bool, args []string) {
	archive, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer archive.Close()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, member := range archive.File {
		raw, err := fs.ReadFile(archive, member.Name)
		ts.Check(err)
		if member.Name == args[2] {
			raw = bytes.Replace(raw, []byte(`"sw":"9000"`), []byte(`"sw":"9001"`), 1)
		}
		written, err := w.Create(member.Name)
		ts.Check(err)
		_, err = written.Write(raw)
		ts.Check(err)
	}
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// TestEveryTextOfTheConsoleExists: no command shows a key in place of a text.
func TestEveryTextOfTheConsoleExists(t *testing.T) {
	named := regexp.MustCompile(`\.t\("([^"]+)"[,)]|"(console\.[A-Za-z.]+[A-Za-z])"`)
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	seen := 0
	for _, source := range slices.DeleteFunc(sources, func(name string) bool { return strings.HasSuffix(name, "_test.go") }) {
		raw, err := os.ReadFile(source)
		require.NoError(t, err)
		for _, match := range named.FindAllStringSubmatch(string(raw), -1) {
			for _, language := range []string{lang.Chinese, lang.English} {
				key := match[1] + match[2]
				require.True(t, lang.Texts(language).Has(key) || key == "console.paid" || key == "console.onCard", "%s: %s in %s", source, key, language)
			}
			seen++
		}
	}
	require.Greater(t, seen, 50)
}

// TestTablesLineUp: a terminal gives a Chinese character two columns.
func TestTablesLineUp(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out)
	fmt.Fprintf(table, "%s\t%s\t\n%s\t%s\t\n", "余额（元）", padded("充值", 6), "No.", padded("+1.00", 6))
	require.NoError(t, table.Flush())
	require.Equal(t, "余额（元）    充值\nNo.          +1.00\n", out.String())
	require.Equal(t, 6, columns("a余b额"))
	require.Equal(t, 3, columns("…→–"), "ambiguous characters are narrow")
}

func TestCandidates(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, kong.Name("walletctl"))
	require.NoError(t, err)
	for _, test := range []struct {
		typed []string
		want  []string
	}{
		{[]string{"--", "to"}, []string{"topup"}},
		{[]string{"--", "platform", "b"}, []string{"backup", "bank", "blacklist"}},
		{[]string{"--", "--json", "card", ""}, []string{"new", "serve", "view"}},
		{[]string{"--", "topup", "--amo"}, []string{"--amount"}},
		{[]string{"--", "--lang", ""}, []string{"en", "zh"}},
		{[]string{"--", "card", "new", "--variant", "prove-n"}, []string{"prove-none"}},
		{[]string{"--", "comple"}, []string{"completion"}},
		{[]string{"--", "query", "x"}, []string{}},
	} {
		require.ElementsMatch(t, test.want, candidates(parser.Model.Node, test.typed), "%q", test.typed)
	}
}

func TestHistoryCSVHoldsNoFormula(t *testing.T) {
	order := "=cmd|' /C calc'!A0"
	raw := string(historyCSV(historyObject{Records: []historyRecord{{Order: &order}}}))
	require.Contains(t, raw, "'=cmd")
	require.True(t, strings.HasPrefix(raw, "\ufeff"))
}
