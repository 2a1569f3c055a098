package lang

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets"
)

// catalogue reads one language as it stands in its file: plural forms by name, a
// text without forms under "".
func catalogue(t *testing.T, name string) map[string]map[string]string {
	file, err := assets.Languages.ReadFile("lang/" + name + ".json")
	require.NoError(t, err)
	var raw map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(file, &raw))
	texts := map[string]map[string]string{}
	for key, value := range raw {
		var plain string
		if json.Unmarshal(value, &plain) == nil {
			texts[key] = map[string]string{"": plain}
			continue
		}
		var forms map[string]string
		require.NoError(t, json.Unmarshal(value, &forms), key)
		texts[key] = forms
	}
	return texts
}

// lacking returns the keys that one catalogue has and the other lacks.
func lacking(has, lacks map[string]map[string]string) []string {
	var keys []string
	for key := range has {
		if _, found := lacks[key]; !found {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func TestBothLanguagesHaveEveryText(t *testing.T) {
	chinese, english := catalogue(t, Chinese), catalogue(t, English)
	require.Greater(t, len(chinese), 100)
	require.Empty(t, lacking(chinese, english), "missing in English")
	require.Empty(t, lacking(english, chinese), "missing in Chinese")

	delete(english, "error.CARD_NONE.title")
	require.Equal(t, []string{"error.CARD_NONE.title"}, lacking(chinese, english), "the check can fail")
}

var fact = regexp.MustCompile(`\{\{[^}]*?\.(\w+)[^}]*\}\}`)

func factsOf(forms map[string]string) []string {
	found := map[string]bool{}
	for _, text := range forms {
		for _, match := range fact.FindAllStringSubmatch(text, -1) {
			found[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestBothLanguagesTellTheSameFacts(t *testing.T) {
	english := catalogue(t, English)
	for key, forms := range catalogue(t, Chinese) {
		require.Equal(t, factsOf(forms), factsOf(english[key]), key)
	}
}

func TestNoTextIsEmptyOrBroken(t *testing.T) {
	for _, name := range []string{Chinese, English} {
		texts := Texts(name)
		for key, forms := range catalogue(t, name) {
			require.True(t, texts.Has(key), "%s in %s", key, name)
			_, plural := forms["other"]
			require.Equal(t, plural && name == English, forms["one"] != "", "%s: English has two forms, Chinese one", key)
			for form, text := range forms {
				require.NotEmpty(t, strings.TrimSpace(text), key+form)
			}
			shown := texts.T(key, nil)
			if plural {
				shown = texts.N(key, 2, nil)
			}
			require.NotEqual(t, key, shown)
			require.NotContains(t, shown, "{{")
		}
	}
}

// The pages must not show a key where a text belongs: every key that the program
// names in a call of T or N is in the catalogue.
func TestEveryKeyInTheProgramExists(t *testing.T) {
	known := catalogue(t, English)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != "." && entry.Name() != ".." {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, key := range namedKeys(t, string(source)) {
			require.Contains(t, known, key, path)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a.b"}, namedKeys(t, `package p; func f() { l.T("a.b", nil); l.N(key, 1, nil); l.T("word", nil) }`))
}

// namedKeys returns the literal keys in calls of methods T and N; a key has a dot.
func namedKeys(t *testing.T, source string) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	require.NoError(t, err)
	var keys []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		call, isCall := node.(*ast.CallExpr)
		if !isCall || len(call.Args) == 0 {
			return true
		}
		method, isMethod := call.Fun.(*ast.SelectorExpr)
		literal, isLiteral := call.Args[0].(*ast.BasicLit)
		if isMethod && isLiteral && literal.Kind == token.STRING && (method.Sel.Name == "T" || method.Sel.Name == "N") {
			if key, err := strconv.Unquote(literal.Value); err == nil && strings.Contains(key, ".") {
				keys = append(keys, key)
			}
		}
		return true
	})
	return keys
}

func TestTexts(t *testing.T) {
	for name, want := range map[string]string{"zh": Chinese, "zh-CN": Chinese, "zh_CN.UTF-8": Chinese, "en": English, "en_GB.UTF-8": English, "C.UTF-8": English} {
		require.Equal(t, want, Texts(name).Name(), name)
	}
	require.Equal(t, "读卡器上没有卡片", Texts("zh").T("error.CARD_NONE.title", nil))
	require.Equal(t, "There is no card on the reader", Texts("en").T("error.CARD_NONE.title", nil))
	require.Equal(t, "no.such.key", Texts("en").T("no.such.key", nil))
	require.False(t, Texts("en").Has("no.such.key"))
	require.Equal(t, "1 order is not settled yet", Texts("en").N("order.openCount", 1, nil))
	require.Equal(t, "3 orders are not settled yet", Texts("en").N("order.openCount", 3, nil))
	require.Equal(t, "3 笔订单尚未结清", Texts("zh").N("order.openCount", 3, nil))
	require.Contains(t, Texts("en").T("error.READER_BUSY.text", map[string]any{"holder": "bank.exe"}), "“bank.exe”")
}

func TestSystem(t *testing.T) {
	for _, test := range []struct{ all, messages, lang, want string }{
		{"", "", "", Chinese},
		{"", "", "zh_CN.UTF-8", Chinese},
		{"", "", "C.UTF-8", English},
		{"", "en_US.UTF-8", "zh_CN.UTF-8", English},
		{"zh_TW", "en_US.UTF-8", "", Chinese},
	} {
		t.Setenv("LC_ALL", test.all)
		t.Setenv("LC_MESSAGES", test.messages)
		t.Setenv("LANG", test.lang)
		require.Equal(t, test.want, System())
	}
}
