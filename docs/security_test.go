package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// TestEveryFuzzTargetKeepsInputs wants kept inputs beside every fuzz target, so that
// what a search once found is tried in every run of the tests.
func TestEveryFuzzTargetKeepsInputs(t *testing.T) {
	targets := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllSubmatch(data, -1) {
			targets++
			kept, err := filepath.Glob(filepath.Join(filepath.Dir(path), "testdata", "fuzz", string(match[1]), "*"))
			require.NoError(t, err)
			require.NotEmpty(t, kept, "%s in %s", match[1], path)
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, targets, 12)
}
