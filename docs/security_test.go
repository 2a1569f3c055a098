package docs

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// testName is how a page names a test: in backticks.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")

// TestClaimsNameTestsThatExist holds security.md to its word: every line of a table
// of claims names at least one test, and every test that a page names exists.
func TestClaimsNameTestsThatExist(t *testing.T) {
	names := testNames(t)
	for _, page := range append([]string{"security.md"}, pages...) {
		for _, match := range testName.FindAllStringSubmatch(readFile(t, page), -1) {
			require.True(t, names[match[1]], "%s names %s, which does not exist", page, match[1])
		}
	}
	claims := regexp.MustCompile(`(?m)^\| (.+) \|$`).FindAllString(readFile(t, "security.md"), -1)
	require.Greater(t, len(claims), 30)
	for _, claim := range claims {
		if regexp.MustCompile(`^\| 主张|^\|---`).MatchString(claim) {
			continue
		}
		require.Regexp(t, testName, claim, "a claim without a test")
	}
	require.False(t, names["TestThatDoesNotExist"])
}
