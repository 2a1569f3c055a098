package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
	"walletcompanion/reader"
)

// classTable says what each class of trouble is, and what people are told.
func classTable(t testing.TB, s *source) string {
	var rows [][]string
	for _, c := range s.consts {
		if c.pkg == "reader" && c.typ == "Class" {
			told := core.Explain(&reader.Error{Class: reader.Class(c.value), Op: "transmit"})
			require.NotEmpty(t, told.Code, "%s has no code", c.value)
			rows = append(rows, []string{code(c.value), c.comment, code(told.Code), strconv.Itoa(told.Exit())})
		}
	}
	require.Len(t, rows, 10, "a class was added: describe it above the table, too")
	return table([]string{"类别 Class", "含义 Meaning", "错误码 Code", "退出码 Exit"}, rows)
}

// modelTable lists the models that the program knows by name.
func modelTable(t testing.TB, _ *source) string {
	zh, en := lang.Texts(lang.Chinese), lang.Texts(lang.English)
	var rows [][]string
	for _, model := range reader.Models {
		note := ""
		if model.Note != "" {
			require.True(t, zh.Has(model.Note) && en.Has(model.Note), model.Note)
			note = zh.T(model.Note, nil) + " " + en.T(model.Note, nil)
		}
		rows = append(rows, []string{model.Name, code(model.USB), code(string(model.Position)), "未试 not tried", note})
	}
	return table([]string{"型号 Model", "USB", "放卡位置 Position", "试用 Tried", "说明 Note"}, rows)
}

// parsed reads one file of the project.
func parsed(t testing.TB, file string) *ast.File {
	tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return tree
}

func function(t testing.TB, tree *ast.File, name string) *ast.FuncDecl {
	for _, declared := range tree.Decls {
		if found, ok := declared.(*ast.FuncDecl); ok && found.Name.Name == name {
			return found
		}
	}
	require.FailNow(t, "the documents name a function that is gone", name)
	return nil
}

// serviceErrors reads from the driver which answer of the system's smart card
// service has which class.
func serviceErrors(t testing.TB, _ *source) string {
	var rows [][]string
	ast.Inspect(function(t, parsed(t, "reader/pcsc/classify.go"), "classOf"), func(node ast.Node) bool {
		clause, ok := node.(*ast.CaseClause)
		if !ok {
			return true
		}
		var names []string
		for _, expr := range clause.List {
			switch expr := expr.(type) {
			case *ast.SelectorExpr:
				names = append(names, code(strings.TrimPrefix(expr.Sel.Name, "Err")))
			case *ast.Ident:
				names = append(names, code(strings.TrimPrefix(expr.Name, "error"))+" (Windows)")
			}
		}
		result := clause.Body[len(clause.Body)-1].(*ast.ReturnStmt).Results[0].(*ast.SelectorExpr).Sel.Name
		for _, row := range rows {
			if row[0] == result {
				row[1] += ", " + strings.Join(names, ", ")
				return false
			}
		}
		rows = append(rows, []string{result, strings.Join(names, ", ")})
		return false
	})
	require.Greater(t, len(rows), 5)
	rows = append(rows, []string{"Protocol", "everything else"})
	return table([]string{"类别 Class", "服务的回答 Answer of the service"}, rows)
}

// suiteCases lists the cases of the conformance suite of readers with what the
// functions say of themselves.
func suiteCases(t testing.TB, _ *source) string {
	tree := parsed(t, "reader/readertest/suite.go")
	var rows [][]string
	ast.Inspect(function(t, tree, "Run"), func(node ast.Node) bool {
		pair, ok := node.(*ast.CompositeLit)
		if !ok || len(pair.Elts) != 2 {
			return true
		}
		name, isText := pair.Elts[0].(*ast.BasicLit)
		called, isName := pair.Elts[1].(*ast.Ident)
		if !isText || !isName {
			return true
		}
		remark := oneLine(strings.TrimPrefix(function(t, tree, called.Name).Doc.Text(), called.Name+" "))
		require.NotEmpty(t, remark, "%s says nothing of itself", called.Name)
		text, err := strconv.Unquote(name.Value)
		require.NoError(t, err)
		rows = append(rows, []string{code(text), remark})
		return false
	})
	require.Greater(t, len(rows), 20)
	return table([]string{"用例 Case", "说明 Remark"}, rows)
}

var readerTimes = bounds([]string{"时限 Time", "值 Value"}, [][2]string{
	{"keep-alive of an open card that idles", "pcsc.keepAlive"},
	{"a call of the service that is not a command", "pcsc.callLimit"},
	{"longest wait in the service for a change of state", "pcsc.longestWait"},
	{"first pause before a stopped service is looked for again", "pcsc.retryFirst"},
	{"longest such pause", "pcsc.retryMax"},
	{"watchdog of a driver without a deadline of the caller", "conversation.Watchdog"},
	{"watchdog of a reading command", "wallet.readTimeout"},
	{"watchdog of CREDIT FOR LOAD", "wallet.creditTimeout"},
})
