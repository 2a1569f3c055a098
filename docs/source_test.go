package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is what the generator knows of the packages that hold the messages: their
// declarations with the comments that explain them.
type source struct {
	types  map[string]*typeDecl // "wallet.Grant"
	consts []constDecl
	funcs  map[string]string // doc comments: "wallet.Guard.checkSelect"
}

// typeDecl is one declared type.
type typeDecl struct {
	pkg, name, doc string
	expr           ast.Expr
	isText         bool // has a MarshalText, so that it is a string in JSON
}

// constDecl is one declared constant; value is the unquoted string or, for anything
// but a literal string, empty. expr is as written.
type constDecl struct {
	pkg, name, typ, value string
	expr                  ast.Expr
	comment               string
}

// root is the project's folder, seen from this package.
const root = ".."

// readSource parses the non-test files of the packages that the documents describe.
func readSource(t testing.TB) *source {
	s := &source{types: map[string]*typeDecl{}, funcs: map[string]string{}}
	for _, folder := range []string{
		"wallet", "platformclient/api", "platformclient", "platformclient/mockplatform", "platformclient/mockplatform/rules",
		"reader", "reader/internal/conversation", "reader/pcsc",
	} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		require.NoError(t, err)
		slices.Sort(files)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			s.add(filepath.Base(folder), parsed)
		}
	}
	return s
}

func (s *source) add(pkg string, file *ast.File) {
	var texts []string
	for _, declared := range file.Decls {
		switch declared := declared.(type) {
		case *ast.FuncDecl:
			name := pkg + "." + receiver(declared) + declared.Name.Name
			s.funcs[name] = oneLine(declared.Doc.Text())
			if declared.Name.Name == "MarshalText" {
				texts = append(texts, pkg+"."+strings.TrimSuffix(receiver(declared), "."))
			}
		case *ast.GenDecl:
			for _, spec := range declared.Specs {
				s.addSpec(pkg, declared, spec)
			}
		}
	}
	for _, name := range texts {
		s.types[name].isText = true
	}
}

func (s *source) addSpec(pkg string, group *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		doc := spec.Doc.Text()
		if doc == "" {
			doc = group.Doc.Text()
		}
		s.types[pkg+"."+spec.Name.Name] = &typeDecl{pkg: pkg, name: spec.Name.Name, doc: oneLine(doc), expr: spec.Type}
	case *ast.ValueSpec:
		if group.Tok != token.CONST || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return
		}
		found := constDecl{pkg: pkg, name: spec.Names[0].Name, expr: spec.Values[0], comment: oneLine(spec.Comment.Text())}
		if named, ok := spec.Type.(*ast.Ident); ok {
			found.typ = named.Name
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			found.value, _ = strconv.Unquote(literal.Value)
		}
		s.consts = append(s.consts, found)
	}
}

// constant finds a constant; a name that has gone is a stale document.
func (s *source) constant(t testing.TB, name string) constDecl {
	for _, c := range s.consts {
		if c.pkg+"."+c.name == name {
			return c
		}
	}
	require.FailNow(t, "the documents name a constant that is gone", name)
	return constDecl{}
}

// shown writes a constant as people read it: 5 * time.Second is "5 s".
func (c constDecl) shown(t testing.TB) string {
	switch expr := c.expr.(type) {
	case *ast.BasicLit:
		if c.value != "" {
			return c.value
		}
		return expr.Value
	case *ast.SelectorExpr:
		return "1 " + unitOf(t, expr)
	case *ast.BinaryExpr:
		if literal, ok := expr.X.(*ast.BasicLit); ok && expr.Op == token.MUL {
			return literal.Value + " " + unitOf(t, expr.Y)
		}
		if product, ok := expr.X.(*ast.BinaryExpr); ok && expr.Op == token.MUL { // 30 * 24 * time.Hour
			days, isNumber := product.X.(*ast.BasicLit)
			hours, isDay := product.Y.(*ast.BasicLit)
			if isNumber && isDay && hours.Value == "24" && unitOf(t, expr.Y) == "h" {
				return days.Value + " d"
			}
		}
		shift, isShift := expr.X.(*ast.BasicLit)
		bits, isBits := expr.Y.(*ast.BasicLit)
		if isShift && isBits && expr.Op == token.SHL {
			base, err := strconv.Atoi(shift.Value)
			require.NoError(t, err)
			by, err := strconv.Atoi(bits.Value)
			require.NoError(t, err)
			return strconv.Itoa(base << by)
		}
	}
	require.FailNow(t, "this constant cannot be shown", c.name)
	return ""
}

func unitOf(t testing.TB, expr ast.Expr) string {
	unit, ok := expr.(*ast.SelectorExpr)
	require.True(t, ok)
	short := map[string]string{"Hour": "h", "Minute": "min", "Second": "s", "Millisecond": "ms"}[unit.Sel.Name]
	require.NotEmpty(t, short)
	return short
}

func receiver(declared *ast.FuncDecl) string {
	if declared.Recv == nil {
		return ""
	}
	typ := declared.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if named, ok := typ.(*ast.Ident); ok {
		return named.Name + "."
	}
	return ""
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// testNames are all tests and fuzz targets of the project.
func testNames(t testing.TB) map[string]bool {
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..":
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, data, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declared := range parsed.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok && function.Recv == nil {
				names[function.Name.Name] = true
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(names), 100)
	return names
}
