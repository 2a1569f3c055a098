package docs

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update writes the documents anew instead of comparing them; `./dev docs` sets it.
var update = flag.Bool("update", false, "write the generated parts of the documents")

// block finds a generated part: its marker, its name and what stands in it.
var block = regexp.MustCompile(`(?s)<!-- generated: ([a-z-]+) -->\n(.*?)<!-- end -->`)

// pages are the documents that hold generated parts.
var pages = []string{"card-interface.md", "reader-interface.md", "platform-interface.md", "errors.md", "readers.md"}

// TestDocumentsAreUpToDate compares what is committed with what the code says now.
func TestDocumentsAreUpToDate(t *testing.T) {
	s := readSource(t)
	compare(t, "openapi.json", string(document(t, s)))
	used := map[string]bool{}
	for _, page := range pages {
		before := readFile(t, page)
		after := block.ReplaceAllStringFunc(before, func(part string) string {
			name := block.FindStringSubmatch(part)[1]
			made, known := parts[name]
			require.True(t, known, "%s wants %q, which nothing generates", page, name)
			used[name] = true
			return "<!-- generated: " + name + " -->\n" + made(t, s) + "<!-- end -->"
		})
		require.Equal(t, strings.Count(before, "<!-- generated:"), len(block.FindAllString(before, -1)), page)
		compare(t, page, after)
	}
	for name := range parts {
		require.True(t, used[name], "no page shows %q", name)
	}
}

func compare(t *testing.T, file, made string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(made), 0o644))
		return
	}
	require.Equal(t, made, readFile(t, file), "docs/%s differs from the code: run ./dev docs", file)
}

// part makes one generated part of a page.
type part func(t testing.TB, s *source) string

// table writes a Markdown table.
func table(heading []string, rows [][]string) string {
	var out strings.Builder
	line := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, cell := range cells {
			escaped[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", "\\|"), "\n", " ")
		}
		out.WriteString("| " + strings.Join(escaped, " | ") + " |\n")
	}
	line(heading)
	out.WriteString(strings.Repeat("|---", len(heading)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	return out.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
