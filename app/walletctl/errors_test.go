package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
)

// TestErrorsIsTheTable: `errors --json` shows every line of the one table, in its
// order, with the words that a failing command shows; the help page is made from the
// same table and the same words (docs, TestDocumentsAreUpToDate).
func TestErrorsIsTheTable(t *testing.T) {
	for _, language := range []string{lang.Chinese, lang.English} {
		var out, errs bytes.Buffer
		require.Equal(t, core.ExitOK, run([]string{"--lang", language, "errors", "--json"}, strings.NewReader(""), &out, &errs), errs.String())
		var object struct {
			Errors []struct {
				Code     string
				Exit     int
				Title    string
				Text     string
				Causes   []string
				Remedies []string
			}
		}
		require.NoError(t, json.Unmarshal(out.Bytes(), &object))
		require.Len(t, object.Errors, len(core.ErrorTable))
		for i, line := range core.ErrorTable {
			shown := object.Errors[i]
			told := core.Tell(lang.Texts(language), line.Code, false, nil)
			require.Equal(t, line, core.ErrorInfo{Code: shown.Code, Exit: shown.Exit})
			require.Equal(t, []string{told.Title, told.Text}, []string{shown.Title, shown.Text}, line.Code)
			require.Equal(t, told.Remedies, shown.Remedies, line.Code)
			require.Equal(t, notNil(told.Causes), shown.Causes, line.Code)
		}
	}
}
