package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A code of the table is *caused* when a test brings the program, the purse or the
// reference platform into the trouble and then looks at the code that came out. That
// a test names the code is not enough: the test that checks the texts names all of
// them. What counts:
//
//   - in a script of the console, `json error.code X` or `json warning X`;
//   - in a Go test, an assertion (a call whose name is in asserting) that reads an
//     observed code (observing) and names X;
//   - in a Go test, X in a table of cases, when an assertion of the same function
//     reads an observed code and compares it with a value of that table.
//
// What never counts: a failure that the test has made up itself (fabricated), and the
// tests of texts and pages (textTests).

// notCaused are the codes that no test causes yet, each with the reason. The list
// only shrinks: a code that stands here and is caused fails the test, too.
var notCaused = map[string]string{}

// textTests lie where codes are only put into words.
var textTests = []string{"app/core/errortable_test.go", "app/core/caused_test.go", "app/ui/", "assets/", "docs/"}

// observing are the names by which a test reads a code that the code under test gave.
var observing = []string{"Code", "CodeOf", "ErrorCode", "Explain", "codeOf", "code"}

// asserting are the functions that fail a test.
var asserting = []string{"Equal", "Equalf", "EqualValues", "Contains", "ElementsMatch", "refusedWith", "refuses", "code", "requireCode"}

// fabricated are types whose literals a test uses to make a failure up.
var fabricated = []string{"Failure", "Error", "Refused", "OrderState", "PurchaseStatement"}

var (
	scriptCode = regexp.MustCompile(`(?m)^json (?:error\.code|warning) ([A-Z_]+)$`)
	notScanned = []string{"testdata", "bin", "out", ".git"}
)

func TestEveryCodeIsCausedByATest(t *testing.T) {
	names := constantCodes(t)
	found := map[string][]string{}
	note := func(code, file string) {
		code = InfoOf(code).Code
		if !slices.Contains(found[code], file) {
			found[code] = append(found[code], file)
		}
	}
	scanTests(t, "../..", func(file string, content []byte) {
		if strings.HasSuffix(file, ".txtar") {
			for _, match := range scriptCode.FindAllSubmatch(content, -1) {
				note(string(match[1]), file)
			}
			return
		}
		for _, code := range causedIn(t, content, names) {
			note(code, file)
		}
	})
	var missing []string
	for _, line := range ErrorTable {
		reason, excused := notCaused[line.Code]
		if excused {
			require.NotEmpty(t, reason, line.Code)
			require.Empty(t, found[line.Code], "%s is caused now: take it off the list", line.Code)
		} else if len(found[line.Code]) == 0 {
			missing = append(missing, line.Code)
		}
	}
	require.Empty(t, missing, "no test causes these codes")
	for code := range notCaused {
		require.Contains(t, byCode, code)
	}
}

// constantCodes maps the names of constants, such as CodeCardLost, to their codes.
// The purse and the messages call some codes alike, and then mean the same line.
func constantCodes(t *testing.T) map[string]string {
	names := map[string]string{}
	for _, folder := range []string{"../../wallet", "../../platformclient", "../../platformclient/api"} {
		files, err := filepath.Glob(folder + "/*.go")
		require.NoError(t, err)
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			ast.Inspect(parsed, func(node ast.Node) bool {
				spec, isSpec := node.(*ast.ValueSpec)
				if isSpec && strings.HasPrefix(spec.Names[0].Name, "Code") && len(spec.Values) == 1 {
					if value, ok := literal(spec.Values[0]); ok && codeForm.MatchString(value) {
						names[spec.Names[0].Name] = value
					}
				}
				return true
			})
		}
	}
	require.Greater(t, len(names), 40)
	return names
}

// scanTests calls use for every test and script below root.
func scanTests(t *testing.T, root string, use func(file string, content []byte)) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if entry.IsDir() {
			if slices.Contains(notScanned, entry.Name()) && !strings.HasPrefix(file, "app/walletctl/") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, "_test.go") && !strings.HasSuffix(file, ".txtar") && file != "platformclient/platformtest/suite.go" ||
			slices.ContainsFunc(textTests, func(prefix string) bool { return strings.HasPrefix(file, prefix) }) {
			return nil
		}
		content, err := os.ReadFile(path)
		if err == nil {
			seen++
			use(file, content)
		}
		return err
	})
	require.NoError(t, err)
	require.Greater(t, seen, 50)
}

// causedIn returns the codes that the Go tests of one file cause.
func causedIn(t *testing.T, source []byte, names map[string]string) (codes []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "test.go", source, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, declared := range file.Decls {
		function, ok := declared.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		tabled := false // an assertion compares an observed code with what is no code itself
		ast.Inspect(function.Body, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || !slices.Contains(asserting, nameOf(call.Fun)) || !observes(call) {
				return true
			}
			inside := codesIn(call, names)
			codes = append(codes, inside...)
			tabled = tabled || len(inside) == 0
			return true
		})
		if tabled {
			ast.Inspect(function.Body, func(node ast.Node) bool {
				if table, ok := node.(*ast.CompositeLit); ok {
					codes = append(codes, codesIn(table, names)...)
					return false
				}
				return true
			})
		}
	}
	return codes
}

// observes tells whether an assertion reads a code that came out of the code under
// test. A helper whose own name says what it does reads it inside.
func observes(call *ast.CallExpr) bool {
	if name := nameOf(call.Fun); name == "refusedWith" || name == "requireCode" || name == "refuses" {
		return true
	}
	seen := false
	for _, argument := range call.Args {
		ast.Inspect(argument, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.SelectorExpr:
				seen = seen || slices.Contains(observing, node.Sel.Name)
			case *ast.CallExpr:
				seen = seen || slices.Contains(observing, nameOf(node.Fun))
			case *ast.Ident:
				seen = seen || node.Name == "code"
			case *ast.IndexExpr: // a decoded JSON object
				name, _ := literal(node.Index)
				seen = seen || name == "code"
			}
			return true
		})
	}
	return seen
}

// codesIn collects the codes that an expression names, except in failures that the
// test has made up.
func codesIn(root ast.Node, names map[string]string) (codes []string) {
	ast.Inspect(root, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CompositeLit:
			if node.Type != nil && slices.Contains(fabricated, nameOf(node.Type)) {
				return false
			}
		case *ast.BasicLit:
			if value, ok := literal(node); ok {
				if _, known := byCode[InfoOf(value).Code]; known {
					codes = append(codes, value)
				}
			}
		case *ast.Ident:
			if value, known := names[node.Name]; known {
				codes = append(codes, value)
			}
		}
		return true
	})
	return codes
}

// nameOf is the last part of a name: Equal of require.Equal.
func nameOf(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr.Name
	case *ast.SelectorExpr:
		return expr.Sel.Name
	case *ast.StarExpr:
		return nameOf(expr.X)
	}
	return ""
}

func literal(expr ast.Expr) (string, bool) {
	basic, ok := expr.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(basic.Value)
	return value, err == nil
}

// The scan itself can tell causing from mentioning.
func TestWhatCountsAsCaused(t *testing.T) {
	names := map[string]string{"CodeCardLost": "CARD_LOST"}
	in := func(body string) []string {
		return causedIn(t, []byte("package p\nfunc TestX(t *testing.T) {\n"+body+"\n}"), names)
	}
	require.Equal(t, []string{"READER_GONE"}, in(`require.Equal(t, "READER_GONE", core.Explain(err).Code)`))
	require.Equal(t, []string{"CARD_LOST"}, in(`require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))`))
	require.Equal(t, []string{"CARD_LOST"}, in(`for _, c := range []c{{"a", wallet.CodeCardLost}} { require.Equal(t, c.want, wallet.CodeOf(err)) }`))
	require.Equal(t, []string{"CARD_LOST"}, in(`c.order().refusedWith(api.CodeCardLost)`))
	require.Equal(t, []string{"READER_BUSY"}, in(`require.Equal(t, "READER_BUSY", object["code"])`))
	for _, mention := range []string{
		`told := Tell(texts, "READER_GONE", false, nil)`,
		`require.NotEmpty(t, Tell(texts, "READER_GONE", false, nil).Remedies)`,
		`for _, c := range []c{{"READER_GONE"}} { require.NotEmpty(t, told(c.text)) }`,
		`state.Trouble = &core.Failure{Code: "READER_GONE"}`,
		`require.Equal(t, 3, ExitOf("READER_GONE", false))`,
		`_ = wallet.CodeCardLost`,
	} {
		require.Empty(t, in(mention), mention)
	}
	require.Empty(t, scriptCode.FindStringSubmatch("# json error.code READER_GONE"))
	require.Equal(t, "READER_GONE", scriptCode.FindStringSubmatch("json error.code READER_GONE")[1])
}
