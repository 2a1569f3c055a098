package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
)

// TestFaultsInWords: every named fault says to somebody who is no developer what
// happens, what the command says and how it ends, in both languages.
func TestFaultsInWords(t *testing.T) {
	seen := map[string]string{}
	for _, fault := range wire.Faults() {
		en, zh := fault.Text["en"], fault.Text["zh"]
		require.GreaterOrEqual(t, strings.Count(en, ". "), 2, "%s: %s", fault.Name, en)
		require.GreaterOrEqual(t, strings.Count(zh, "。"), 3, "%s: %s", fault.Name, zh)
		require.Contains(t, en+zh, "ou see", fault.Name)
		require.Contains(t, zh, "您", fault.Name)
		for _, jargon := range []string{"MAC", "GRANTED", "CREDITING", "DEBITING", "PINTENT", "commit"} {
			require.NotContains(t, en+zh, jargon, fault.Name)
		}
		require.Empty(t, seen[fault.Flow+en], "%s says the same as %s", fault.Name, seen[fault.Flow+en])
		seen[fault.Flow+en] = fault.Name
	}
	require.Greater(t, len(seen), 60)
}
