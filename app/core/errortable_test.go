package core

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets"
	"walletcompanion/assets/lang"
	"walletcompanion/wallet"
)

var codeForm = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)

func TestErrorTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, info := range ErrorTable {
		require.Regexp(t, codeForm, info.Code)
		require.False(t, seen[info.Code], "%s stands twice", info.Code)
		seen[info.Code] = true
		require.GreaterOrEqual(t, info.Exit, ExitInternal, info.Code)
		require.LessOrEqual(t, info.Exit, ExitUpdate, info.Code)
		for _, name := range []string{lang.Chinese, lang.English} {
			for _, system := range []string{"linux", "windows", "darwin"} {
				told := tellOn(system, lang.Texts(name), info.Code, false, nil)
				require.NotContains(t, told.Title, "error.", info.Code)
				require.NotContains(t, told.Text, "error.", info.Code)
				require.NotEqual(t, told.Title, told.Text, info.Code)
				require.NotEmpty(t, told.Remedies, "%s says what to do", info.Code)
				require.NotContains(t, strings.Join(append(told.Remedies, told.Text), " "), "<no value>", info.Code)
			}
		}
	}
	require.Greater(t, len(seen), 60)
}

// No text stands in the catalogue for a code that the table lacks.
func TestNoTextWithoutACode(t *testing.T) {
	file, err := assets.Languages.ReadFile("lang/en.json")
	require.NoError(t, err)
	found := regexp.MustCompile(`"error\.([A-Z_]+)\.`).FindAllStringSubmatch(string(file), -1)
	require.NotEmpty(t, found)
	for _, match := range found {
		require.Contains(t, byCode, match[1])
	}
}

// A synonym leads to a line of the table and is none itself.
func TestSynonyms(t *testing.T) {
	for name, code := range synonyms {
		require.Contains(t, byCode, code, name)
		require.NotContains(t, byCode, name)
		require.Equal(t, code, InfoOf(name).Code)
		require.Equal(t, Tell(lang.Texts("en"), code, false, nil), Tell(lang.Texts("en"), name, false, nil))
	}
}

// Every code that the purse and the messages define has a line with texts.
func TestErrorTableKnowsEveryDefinedCode(t *testing.T) {
	for _, folder := range []string{"../../wallet", "../../platformclient", "../../platformclient/api"} {
		files, err := filepath.Glob(folder + "/*.go")
		require.NoError(t, err)
		for _, file := range files {
			for _, code := range definedCodes(t, file, nil) {
				require.Contains(t, byCode, InfoOf(code).Code, file)
			}
		}
	}
	require.Equal(t, []string{"NEW_CODE"}, definedCodes(t, "x.go", "package p\nconst CodeNew Code = \"NEW_CODE\"\nconst other = \"X_Y\""))
}

// definedCodes returns the values of constants whose name begins with Code.
func definedCodes(t *testing.T, file string, source any) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
	require.NoError(t, err)
	var codes []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, isSpec := node.(*ast.ValueSpec)
		if !isSpec || !strings.HasPrefix(spec.Names[0].Name, "Code") || len(spec.Values) == 0 {
			return true
		}
		if literal, isLiteral := spec.Values[0].(*ast.BasicLit); isLiteral {
			if value, err := strconv.Unquote(literal.Value); err == nil && codeForm.MatchString(value) {
				codes = append(codes, value)
			}
		}
		return true
	})
	return codes
}

func TestOpenBeatsReaderAndNetwork(t *testing.T) {
	for _, test := range []struct {
		code string
		open bool
		exit int
	}{
		{"CARD_LOST", false, ExitReader},
		{"CARD_LOST", true, ExitOpen},
		{"PLATFORM_UNREACHABLE", false, ExitNetwork},
		{"PLATFORM_UNREACHABLE", true, ExitOpen},
		{"JOURNAL_FAILED", true, ExitOpen},
		{"BALANCE_SHORT", true, ExitDeclined},
		{"USAGE", true, ExitUsage},
		{"NETWORK", false, ExitNetwork},
		{"OUTCOME_UNKNOWN", false, ExitOpen},
		{"A_CODE_OF_TOMORROW", false, ExitDeclined},
	} {
		require.Equal(t, test.exit, ExitOf(test.code, test.open), test)
	}
}

func TestTell(t *testing.T) {
	chinese, english := lang.Texts("zh"), lang.Texts("en")

	told := tellOn("linux", english, "READER_SERVICE_STOPPED", false, nil)
	require.Contains(t, told.Remedies[0], "systemctl")
	require.Contains(t, tellOn("windows", english, "READER_SERVICE_STOPPED", false, nil).Remedies[0], "services.msc")
	require.NotContains(t, strings.Join(tellOn("darwin", english, "READER_SERVICE_STOPPED", false, nil).Remedies, " "), "systemctl")

	told = Tell(english, "CAP_EXCEEDED", false, map[string]any{"capFen": wallet.Fen(100000), "balanceFen": wallet.Fen(98050)})
	require.Contains(t, told.Text, "(1000.00 yuan)")
	require.Contains(t, told.Remedies[0], "980.50 yuan")

	resets := time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC)
	require.Contains(t, Tell(chinese, "LIMIT_CARD_DAY_SUM", false, map[string]any{"resets": resets}).Remedies[0], "2026-03-02 00:00")

	require.Contains(t, Tell(english, "CARD_LOST", true, nil).Text, "do not pay again")
	require.NotContains(t, Tell(english, "CARD_LOST", false, nil).Text, "pay")
	require.NotContains(t, Tell(english, "ORDER_OPEN", true, nil).Text, "may not be settled", "a code that says so itself is not told twice")

	told = Tell(english, "A_CODE_OF_TOMORROW", false, nil)
	require.Contains(t, told.Text, "A_CODE_OF_TOMORROW")
	require.NotEmpty(t, told.Remedies)
}

// Every status word that has a meaning after a command has it in both languages, and an
// error with such a status word tells it.
func TestStatusWordsAreTold(t *testing.T) {
	for _, name := range []string{lang.Chinese, lang.English} {
		texts := lang.Texts(name)
		for _, key := range wallet.StatusKeys() {
			require.True(t, texts.Has(key), "%s in %s", key, name)
		}
	}
	refused := &wallet.Error{Code: wallet.CodeOutcomeUnknown, Op: "topup", Open: true, Err: &wallet.BadStatus{Command: "CREDIT FOR LOAD", SW: wallet.SWMACWrong}}
	failure := Explain(refused)
	require.Equal(t, "9302", failure.Detail["sw"])
	told := Tell(lang.Texts("en"), failure.Code, failure.Open(), failure.Detail)
	require.Contains(t, told.Text, "The card said 9302 to CREDIT FOR LOAD: The card did not accept the permission to load")
	require.NotContains(t, Tell(lang.Texts("en"), failure.Code, true, nil).Text, "The card said")
}

// Every class of reader trouble says why it may have come and what to do, on every
// system; where a system has its own way, that comes first.
func TestReaderTroubleHasCausesAndRemedies(t *testing.T) {
	own := map[string][]string{
		"linux":   {"READER_NONE", "READER_SERVICE_STOPPED", "READER_DENIED", "READER_BUSY", "READER_STUCK"},
		"windows": {"READER_NONE", "READER_SERVICE_STOPPED", "READER_DENIED"},
		"darwin":  {"READER_NONE", "READER_SERVICE_STOPPED", "READER_DENIED", "CARD_LOST"},
	}
	for _, name := range []string{lang.Chinese, lang.English} {
		texts := lang.Texts(name)
		for class, code := range readerCodes {
			for system, special := range own {
				told := tellOn(system, texts, code, false, nil)
				require.NotEmpty(t, told.Causes, "%s %s", class, name)
				require.NotEmpty(t, told.Remedies, "%s %s", class, name)
				first := fmt.Sprintf("error.%s.remedy.%s.1", code, system)
				require.Equal(t, slices.Contains(special, code), texts.Has(first), "%s %s", first, name)
				if texts.Has(first) {
					require.Equal(t, texts.T(first, map[string]any{}), told.Remedies[0])
				}
			}
		}
	}
	require.Len(t, readerCodes, 10)
	require.Contains(t, Tell(lang.Texts("en"), "READER_BUSY", false, map[string]any{"holder": "scdaemon"}).Text, "scdaemon")
}
