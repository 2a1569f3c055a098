package wallet_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// These tests hold the project's import rules (ARCHITECTURE.md, "Import rules").
// They stand beside the purse because the purse is what the rules protect.

const module = "walletcompanion"

// imports is one package as `go list` tells it.
type imports struct {
	Standard     bool
	DepOnly      bool // not of this module
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// graph holds packages by import path.
type graph map[string]*imports

// rule forbids imports. A package breaks it when from holds for the package and
// never holds for what it imports.
type rule struct {
	name string
	from func(path string) bool
	// never receives an import path and whether it belongs to the standard library.
	never func(path string, standard bool) bool
	deep  bool // also what imports import, and so on, counts
	tests bool // imports of test files count as well
}

// in matches packages by path below the module; "x/..." also matches what stands below.
func in(patterns ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			full := strings.TrimSuffix(module+"/"+pattern, "/")
			if base, below := strings.CutSuffix(full, "/..."); below {
				return path == base || strings.HasPrefix(path, base+"/")
			}
			return path == full
		})
	}
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// outside matches this module's packages that none of the patterns names.
func outside(patterns ...string) func(string) bool {
	named := in(patterns...)
	return func(path string) bool { return ours(path) && !named(path) }
}

// importing lifts a match of paths to what rule.never wants.
func importing(match func(string) bool) func(string, bool) bool {
	return func(path string, _ bool) bool { return match(path) }
}

// library matches the packages of a module from elsewhere.
func library(prefix string) func(string, bool) bool {
	return func(path string, _ bool) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
}

func except(never func(string, bool) bool, allowed func(string) bool) func(string, bool) bool {
	return func(path string, standard bool) bool { return never(path, standard) && !allowed(path) }
}

func notStandard(_ string, standard bool) bool { return !standard }

// rules are the import rules. A package that does not exist breaks none.
var rules = []rule{
	{name: "the purse needs the standard library only", from: in("wallet"), never: notStandard, deep: true},
	{
		name: "the arithmetic of keys needs nothing but the purse's types", from: in("wallet/epcrypto"),
		never: except(notStandard, in("wallet")), deep: true,
	},
	{
		name: "nothing of the purse knows wires or program", from: in("wallet/..."),
		never: importing(in("reader/...", "platformclient/...", "app/...", "assets/...")), deep: true,
	},
	{
		name: "a reader does not know the purse",
		from: func(path string) bool { return in("reader/...")(path) && !in("reader/readertest/...")(path) }, never: importing(in("wallet/...")), deep: true,
	},
	{name: "the wires do not know the program", from: in("reader/...", "platformclient/..."), never: importing(in("app/...")), deep: true, tests: true},
	{name: "the wires do not know each other", from: in("reader/..."), never: importing(in("platformclient/...")), deep: true},
	{name: "the platform's wire does not know readers", from: in("platformclient/..."), never: importing(in("reader/...")), deep: true},
	{name: "messages are data", from: in("platformclient/api"), never: except(notStandard, in("wallet")), deep: true},
	{name: "messages of a bank are data", from: in("platformclient/bankapi"), never: except(notStandard, in("wallet", "platformclient/api")), deep: true},
	{
		name: "a bank and its partners share messages only", from: in("platformclient/mockbank/..."),
		never: except(importing(in("platformclient/...")), in("platformclient/api", "platformclient/bankapi", "platformclient/mockbank")), deep: true,
	},
	{
		name: "a platform does not know the virtual bank", from: in("platformclient/mockplatform", "platformclient/mockplatform/rules"),
		never: importing(in("platformclient/mockbank/...")), deep: true,
	},
	{
		name: "the core gets interfaces", from: in("app/core/..."),
		never: except(importing(in("app/store/...", "app/ui/...", "app/wire/...", "app/walletctl/...", "platformclient/...")), in("platformclient/api")), deep: true,
	},
	{name: "Fyne is known in the window only", from: outside("", "app/ui/..."), never: library("fyne.io/fyne"), tests: true},
	{name: "no window is linked into core, wire and console", from: in("app/core/...", "app/wire/...", "app/store/...", "app/walletctl/..."), never: library("fyne.io"), deep: true},
	{name: "one package talks to the smart card service", from: outside("reader/pcsc/..."), never: library("github.com/ebfe/scard"), tests: true},
	{name: "one package talks to USB", from: outside("reader/ccid/..."), never: library("github.com/google/gousb"), tests: true},
	{name: "one package talks to the database of a client, others to those of platform and bank", from: outside("app/store/...", "platformclient/mockplatform/...", "platformclient/mockbank/..."), never: library("modernc.org/sqlite")},
	{
		name: "key arithmetic stays in chip and reference platform",
		from: outside("wallet/epcrypto/...", "wallet/virtualcard/...", "wallet/wallettest/...", "platformclient/mockplatform/..."), never: importing(in("wallet/epcrypto/...")),
	},
	{
		name: "no client code computes a MAC of a card",
		from: outside("wallet/epcrypto/...", "wallet/virtualcard/...", "wallet/wallettest/...", "platformclient/mockplatform/..."), never: library("crypto/des"),
	},
	{
		// The console makes cards and serves platforms by name; the window does not.
		name:  "chip, reference platform and virtual bank meet the program in wire and console",
		from:  outside("app/wire/...", "app/walletctl/...", "wallet/virtualcard/...", "wallet/wallettest/...", "reader/readertest/...", "platformclient/mockplatform/...", "platformclient/mockbank/..."),
		never: importing(in("wallet/virtualcard/...", "platformclient/mockplatform/...", "platformclient/mockbank/...")),
	},
	{
		name: "helpers of tests are not linked into programs", from: in("", "app/walletctl"),
		never: importing(in("wallet/wallettest/...", "reader/readertest/...", "app/store/storetest/...", "platformclient/platformtest/...", "platformclient/mockplatform/mocktest/...")), deep: true,
	},
}

// broken returns one line for every import that breaks a rule, sorted.
func broken(packages graph, rules []rule) []string {
	var lines []string
	for _, rule := range rules {
		for path, pkg := range packages {
			if pkg.DepOnly || !rule.from(path) {
				continue
			}
			for _, chain := range chains(packages, path, rule) {
				lines = append(lines, rule.name+": "+strings.Join(chain, " → "))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// chains finds the forbidden imports of a package, each with the way that leads to it.
func chains(packages graph, path string, rule rule) [][]string {
	direct := packages[path].Imports
	if rule.tests {
		direct = slices.Concat(direct, packages[path].TestImports, packages[path].XTestImports)
	}
	var found [][]string
	seen := map[string]bool{path: true}
	var visit func(way []string, imported []string)
	visit = func(way []string, imported []string) {
		for _, next := range imported {
			if seen[next] {
				continue
			}
			seen[next] = true
			pkg, known := packages[next]
			standard := known && pkg.Standard
			if !known {
				first, _, _ := strings.Cut(next, "/")
				standard = !ours(next) && !strings.Contains(first, ".")
			}
			extended := append(slices.Clone(way), next)
			if rule.never(next, standard) {
				found = append(found, extended)
				continue
			}
			if rule.deep && known && !standard {
				visit(extended, pkg.Imports)
			}
		}
	}
	visit([]string{path}, direct)
	return found
}

// load asks the go command for every package of the module and what it needs, as
// built for each system: a rule must hold in files for Windows, too. It downloads
// nothing.
func load(t *testing.T) graph {
	packages := graph{}
	for _, system := range []string{"linux", "windows", "darwin"} {
		list := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports,Standard,DepOnly", "./...")
		list.Dir = root(t)
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=1", "GOPROXY=off")
		var stderr strings.Builder
		list.Stderr = &stderr
		out, err := list.Output()
		require.NoError(t, err, stderr.String())
		for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
			var pkg struct {
				ImportPath string
				imports
			}
			if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err)
			}
			known := packages[pkg.ImportPath]
			if known == nil {
				known = &imports{Standard: pkg.Standard, DepOnly: pkg.DepOnly}
				packages[pkg.ImportPath] = known
			}
			known.Imports = append(known.Imports, pkg.Imports...)
			known.TestImports = append(known.TestImports, pkg.TestImports...)
			known.XTestImports = append(known.XTestImports, pkg.XTestImports...)
		}
	}
	return packages
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	require.NoError(t, err)
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func TestImportRules(t *testing.T) {
	packages := load(t)
	require.Contains(t, packages, module+"/wallet", "the list of packages holds the purse")
	require.Contains(t, packages, module+"/platformclient/api")
	require.Greater(t, len(packages), 20, "the list holds what the packages need")
	require.Empty(t, broken(packages, rules))
}

// Every module that this one imports has a line in ARCHITECTURE.md: what for, and
// why this one.
func TestImportRulesDependenciesAreExplained(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(root(t), "ARCHITECTURE.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(document), "\n## Dependencies\n")
	require.True(t, found)
	packages := load(t)
	explained := 0
	for path, pkg := range packages {
		if pkg.DepOnly {
			continue
		}
		for _, imported := range slices.Concat(pkg.Imports, pkg.TestImports, pkg.XTestImports) {
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				require.True(t, hasLine(section, imported), "%s imports %s, which ARCHITECTURE.md does not explain", path, imported)
				explained++
			}
		}
	}
	require.Positive(t, explained)
	require.False(t, hasLine("| github.com/a/b | x |", "github.com/a/bc"))
	require.True(t, hasLine("| github.com/x/y, github.com/a/b | x |", "github.com/a/b/c"))
}

// hasLine reports whether a table of modules names the module of an import path in
// its first column.
func hasLine(table, imported string) bool {
	for line := range strings.Lines(table) {
		columns := strings.Split(line, "|")
		if len(columns) < 3 {
			continue
		}
		for name := range strings.SplitSeq(columns[1], ",") {
			if name = strings.TrimSpace(name); name != "" && (imported == name || strings.HasPrefix(imported, name+"/")) {
				return true
			}
		}
	}
	return false
}

// Every rule must be able to fail: each line adds one import to a graph in which
// all rules hold.
func TestImportRulesCanFail(t *testing.T) {
	const fyne, scard = "fyne.io/fyne/v2/app", "github.com/ebfe/scard"
	tests := []struct{ from, imports, breaks string }{
		{"wallet", "github.com/x/y", "the purse needs the standard library only"},
		{"wallet", module + "/reader", "the purse needs the standard library only"},
		{"wallet/epcrypto", "golang.org/x/crypto/ed25519", "the arithmetic of keys needs nothing but the purse's types"},
		{"wallet/virtualcard", module + "/reader", "nothing of the purse knows wires or program"},
		{"reader/virtual", module + "/wallet", "a reader does not know the purse"},
		{"reader/virtual", module + "/wallet/virtualcard", "a reader does not know the purse"},
		{"reader/pcsc", module + "/app/core", "the wires do not know the program"},
		{"platformclient", module + "/app/store", "the wires do not know the program"},
		{"reader", module + "/platformclient/api", "the wires do not know each other"},
		{"platformclient", module + "/reader", "the platform's wire does not know readers"},
		{"platformclient/api", "github.com/x/y", "messages are data"},
		{"platformclient/bankapi", "github.com/x/y", "messages of a bank are data"},
		{"platformclient/mockbank", module + "/platformclient/mockplatform", "a bank and its partners share messages only"},
		{"platformclient/mockplatform", module + "/platformclient/mockbank", "a platform does not know the virtual bank"},
		{"app/core", module + "/app/store", "the core gets interfaces"},
		{"app/core", module + "/platformclient", "the core gets interfaces"},
		{"app/core", fyne, "Fyne is known in the window only"},
		{"app/wire", fyne, "no window is linked into core, wire and console"},
		{"app/walletctl", module + "/app/ui", "no window is linked into core, wire and console"},
		{"app/wire", scard, "one package talks to the smart card service"},
		{"reader/pcsc", "github.com/google/gousb", "one package talks to USB"},
		{"app/core", "modernc.org/sqlite", "one package talks to the database of a client, others to those of platform and bank"},
		{"platformclient", module + "/wallet/epcrypto", "key arithmetic stays in chip and reference platform"},
		{"app/wire", "crypto/des", "no client code computes a MAC of a card"},
		{"wallet", "crypto/des", "no client code computes a MAC of a card"},
		{"app/ui", module + "/platformclient/mockplatform", "chip, reference platform and virtual bank meet the program in wire and console"},
		{"platformclient", module + "/wallet/virtualcard", "chip, reference platform and virtual bank meet the program in wire and console"},
		{"app/walletctl", module + "/wallet/wallettest", "helpers of tests are not linked into programs"},
	}
	proven := map[string]bool{}
	for _, test := range tests {
		t.Run(test.from+" imports "+test.imports, func(t *testing.T) {
			packages := soundGraph()
			require.Empty(t, broken(packages, rules), "the graph is sound before the import is added")
			from := packages[module+"/"+test.from]
			from.Imports = append(from.Imports, test.imports)
			require.Contains(t, strings.Join(broken(packages, rules), "\n"), test.breaks+": ")
		})
		proven[test.breaks] = true
	}
	for _, rule := range rules {
		require.True(t, proven[rule.name], "no line shows that %q can fail", rule.name)
	}
}

// Imports of tests count where a rule says so, and not elsewhere.
func TestImportRulesInTestFiles(t *testing.T) {
	packages := soundGraph()
	packages[module+"/wallet"].XTestImports = []string{"github.com/stretchr/testify/require", module + "/wallet/epcrypto"}
	require.Empty(t, broken(packages, rules))
	packages[module+"/wallet"].XTestImports = []string{"fyne.io/fyne/v2"}
	require.Len(t, broken(packages, rules), 1)
}

// soundGraph is a made-up project in which every rule holds.
func soundGraph() graph {
	packages := graph{
		"fyne.io/fyne/v2/app":                   {DepOnly: true},
		"github.com/ebfe/scard":                 {DepOnly: true},
		"modernc.org/sqlite":                    {DepOnly: true},
		module:                                  {Imports: []string{module + "/app/ui", "fyne.io/fyne/v2/app"}},
		module + "/wallet":                      {Imports: []string{"context", "crypto/sha256"}},
		module + "/wallet/epcrypto":             {Imports: []string{"crypto/des", module + "/wallet"}},
		module + "/wallet/virtualcard":          {Imports: []string{module + "/wallet/epcrypto"}},
		module + "/wallet/wallettest":           {Imports: []string{module + "/wallet/virtualcard"}},
		module + "/reader":                      {Imports: []string{"context"}},
		module + "/reader/pcsc":                 {Imports: []string{module + "/reader", "github.com/ebfe/scard"}},
		module + "/reader/virtual":              {Imports: []string{module + "/reader"}},
		module + "/reader/readertest":           {Imports: []string{module + "/reader", module + "/wallet/virtualcard"}},
		module + "/platformclient":              {Imports: []string{module + "/platformclient/api"}},
		module + "/platformclient/api":          {Imports: []string{module + "/wallet"}},
		module + "/platformclient/bankapi":      {Imports: []string{module + "/platformclient/api", module + "/wallet"}},
		module + "/platformclient/mockbank":     {Imports: []string{module + "/platformclient/bankapi", "modernc.org/sqlite"}},
		module + "/platformclient/mockplatform": {Imports: []string{module + "/platformclient/api", module + "/platformclient/bankapi", module + "/wallet/epcrypto", "modernc.org/sqlite"}},
		module + "/app/core":                    {Imports: []string{module + "/wallet", module + "/reader", module + "/platformclient/api"}},
		module + "/app/store":                   {Imports: []string{module + "/app/core", "modernc.org/sqlite"}},
		module + "/app/wire":                    {},
		module + "/app/ui":                      {Imports: []string{module + "/app/core", "fyne.io/fyne/v2/app"}},
		module + "/app/walletctl":               {Imports: []string{module + "/app/wire"}},
	}
	packages[module+"/app/wire"].Imports = []string{
		module + "/app/core", module + "/app/store", module + "/reader/pcsc", module + "/wallet/virtualcard",
		module + "/platformclient", module + "/platformclient/mockplatform", module + "/platformclient/mockbank",
	}
	return packages
}

// The guard is the last function before the card: in the purse nobody else may
// mention Transmit, and the program may do so only in a method of that name, which
// is a session around another one and can but pass commands on.
func TestImportRulesTransmit(t *testing.T) {
	top := root(t)
	checked := 0
	for _, folder := range []string{"wallet", "app", "platformclient"} {
		err := filepath.WalkDir(filepath.Join(top, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			short, err := filepath.Rel(top, path)
			require.NoError(t, err)
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			checked++
			require.Empty(t, transmits(t, filepath.ToSlash(short), string(source)))
			return nil
		})
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
	}
	require.Greater(t, checked, 5)
}

func TestImportRulesTransmitCanFail(t *testing.T) {
	const call = "package p\nfunc f(c Card) { c.Transmit(nil) }"
	const value = "package p\nfunc f(c Card) { send := c.Transmit; send(nil) }"
	const wrapped = "package p\nfunc (s session) Transmit() { s.inner.Transmit() }"
	tests := []struct {
		file, source string
		breaks       bool
	}{
		{"wallet/topup.go", call, true},
		{"wallet/topup.go", value, true},
		{"wallet/topup.go", wrapped, true},
		{"wallet/guard.go", call, false},
		{"wallet/wallettest/player.go", call, false},
		{"app/core/core.go", call, true},
		{"app/core/core.go", value, true},
		{"app/wire/faults.go", wrapped, false},
		{"platformclient/client.go", call, true},
	}
	for _, test := range tests {
		require.Equal(t, test.breaks, len(transmits(t, test.file, test.source)) > 0, "%s: %s", test.file, test.source)
	}
}

// transmits finds the places where a file mentions Transmit of something without
// being allowed to.
func transmits(t *testing.T, file, source string) []string {
	inPurse := filepath.ToSlash(filepath.Dir(file)) == "wallet"
	inTools := strings.HasPrefix(file, "wallet/") && !inPurse
	if file == "wallet/guard.go" || inTools {
		return nil
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	require.NoError(t, err)
	var places []string
	for _, declaration := range parsed.Decls {
		function, isFunction := declaration.(*ast.FuncDecl)
		if !inPurse && isFunction && function.Recv != nil && function.Name.Name == "Transmit" {
			continue
		}
		ast.Inspect(declaration, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok && selector.Sel.Name == "Transmit" {
				places = append(places, files.Position(selector.Pos()).String())
			}
			return true
		})
	}
	return places
}
