package docs

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
)

// exits are the exit codes of the console in both languages.
var exits = []struct {
	code   int
	zh, en string
}{
	{core.ExitInternal, "程序内部错误", "internal error"},
	{core.ExitUsage, "用法错误", "usage"},
	{core.ExitReader, "卡片或读卡器", "card or reader"},
	{core.ExitNetwork, "网络不通或平台无法连接", "network, or the platform cannot be reached"},
	{core.ExitDeclined, "平台拒绝", "declined by the platform"},
	{core.ExitOpen, "有订单未结清或可能未结清：请放回同一张卡并同步", "an order is or may be open: put the same card back and sync"},
	{core.ExitUpdate, "拒绝更新", "update refused"},
}

func exitTable(testing.TB, *source) string {
	var rows [][]string
	for _, exit := range exits {
		count := 0
		for _, line := range core.ErrorTable {
			if line.Exit == exit.code {
				count++
			}
		}
		rows = append(rows, []string{strconv.Itoa(exit.code), exit.zh, exit.en, strconv.Itoa(count)})
	}
	return table([]string{"退出码 Exit", "含义", "Meaning", "错误码数 Codes"}, rows)
}

// errorIndex is one line per code.
func errorIndex(testing.TB, *source) string {
	zh, en := lang.Texts(lang.Chinese), lang.Texts(lang.English)
	var rows [][]string
	for _, line := range core.ErrorTable {
		key := "error." + line.Code + ".title"
		rows = append(rows, []string{fmt.Sprintf("[%s](#%s)", line.Code, strings.ToLower(line.Code)), strconv.Itoa(line.Exit), zh.T(key, nil), en.T(key, nil)})
	}
	return table([]string{"错误码 Code", "退出码 Exit", "标题", "Title"}, rows)
}

// errorTexts is everything that people are told, code by code.
func errorTexts(t testing.TB, _ *source) string {
	var out strings.Builder
	for _, line := range core.ErrorTable {
		fmt.Fprintf(&out, "### %s\n\n", line.Code)
		for _, name := range []string{lang.Chinese, lang.English} {
			texts := lang.Texts(name)
			told := core.Tell(texts, line.Code, false, placeholders)
			require.NotEmpty(t, told.Text, line.Code)
			fmt.Fprintf(&out, "**%s** %s\n", told.Title, told.Text)
			list(&out, map[string]string{"zh": "可能的原因", "en": "Causes"}[name], collected(texts, "error."+line.Code+".cause."))
			remedies := collected(texts, "error."+line.Code+".remedy.")
			for _, system := range []string{"linux", "windows", "darwin"} {
				for _, one := range collected(texts, "error."+line.Code+".remedy."+system+".") {
					remedies = append(remedies, "("+system+") "+one)
				}
			}
			list(&out, map[string]string{"zh": "怎么办", "en": "What to do"}[name], remedies)
			out.WriteString("\n")
		}
	}
	return out.String()
}

// placeholders stand for the facts that a text may show.
var placeholders = map[string]any{
	"holder": "‹program›", "order": "‹order›", "wanted": "‹card›", "found": "‹card›", "triesLeft": "‹n›",
	"limit":     "‹n›",
	"amountFen": "‹amount›", "limitFen": "‹limit›", "capFen": "‹cap›", "balanceFen": "‹balance›", "resets": "‹time›",
}

func collected(texts *lang.Localizer, prefix string) (found []string) {
	for i := 1; texts.Has(prefix + strconv.Itoa(i)); i++ {
		found = append(found, texts.T(prefix+strconv.Itoa(i), placeholders))
	}
	return found
}

func list(out *strings.Builder, heading string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(out, "\n- %s:\n", heading)
	for _, item := range items {
		fmt.Fprintf(out, "  - %s\n", item)
	}
}

// platformCodes lists the codes on the wire beside the line of the table that people
// see for them.
func platformCodes(t testing.TB, s *source) string {
	var rows [][]string
	for _, c := range s.consts {
		if c.pkg == "api" && strings.HasPrefix(c.name, "Code") && c.value != "" {
			rows = append(rows, []string{code(c.value), c.comment, code(core.InfoOf(c.value).Code), strconv.Itoa(core.InfoOf(c.value).Exit)})
		}
	}
	require.Greater(t, len(rows), 40)
	return table([]string{"代码 Code on the wire", "Meaning", "用户看到 Shown as", "退出码 Exit"}, rows)
}
