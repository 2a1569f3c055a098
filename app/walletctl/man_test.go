package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
)

// The page is made from the model, so what can go missing is what the model does not
// say, and what the page leaves out by mistake.
func TestManualPageHoldsEveryCommandAndExitCode(t *testing.T) {
	var out, problems bytes.Buffer
	require.Zero(t, run([]string{"man"}, strings.NewReader(""), &out, &problems), problems.String())
	page := strings.ReplaceAll(out.String(), `\-`, "-")

	var cli commands
	parser, err := kong.New(&cli, kong.Name("walletctl"))
	require.NoError(t, err)
	leaves := parser.Model.Leaves(true)
	require.NotEmpty(t, leaves)
	for _, leaf := range leaves {
		require.Regexp(t, `(?m)^\.B `+regexp.QuoteMeta(strings.TrimPrefix(leaf.Path(), "walletctl "))+`( [A-Z\[]|$)`, page)
		for _, flag := range leaf.Flags {
			require.Equal(t, !flag.Hidden, strings.Contains(page, "--"+flag.Name), flag.Name)
		}
	}
	require.NotContains(t, page, "--seed", "a hidden flag")
	require.NotRegexp(t, `(?m)^\.B (complete|man)( |$)`, page, "hidden commands")

	require.Len(t, exitMeanings, core.ExitUpdate+1)
	for code, exit := range exitMeanings {
		require.Equal(t, code, exit.code)
		require.Contains(t, page, ".B "+string(rune('0'+code))+"\n"+strings.ReplaceAll(exit.meaning, `\-`, "-")+"\n")
	}
}
