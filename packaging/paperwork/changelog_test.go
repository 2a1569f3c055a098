package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChangelogInDebiansForm(t *testing.T) {
	got, err := changelog(`# Changelog

What people notice.

## Unreleased

- A first thing that is long enough to be broken, because it does not fit into
  one line of the file that Debian wants 圈存.
- A second.

## 0.1.0 (2026-12-24)

- The beginning.
`, "walletctl", "0.2.0~dev-1", "Some One <one@example.org>", time.Unix(1_700_000_000, 0).UTC())
	require.NoError(t, err)
	require.Equal(t, `walletctl (0.2.0~dev-1) bookworm; urgency=medium

  * A first thing that is long enough to be broken, because it does not fit
    into one line of the file that Debian wants 圈存.
  * A second.

 -- Some One <one@example.org>  Tue, 14 Nov 2023 22:13:20 +0000

walletctl (0.1.0-1) bookworm; urgency=medium

  * The beginning.

 -- Some One <one@example.org>  Thu, 24 Dec 2026 00:00:00 +0000
`, got)
}

func TestChangelogLosesNothing(t *testing.T) {
	for name, markdown := range map[string]string{
		"no version":           "# Changelog\n\n- a thing\n",
		"a heading between":    "## Unreleased\n\n### Fixed\n- a thing\n",
		"no date":              "## Unreleased\n- a\n\n## 0.1.0\n- b\n",
		"text outside a list":  "## Unreleased\nSome words.\n",
		"unreleased, not new":  "## 0.1.0 (2026-12-24)\n- a\n## Unreleased\n- b\n",
		"a day that is not so": "## 0.1.0 (2026-13-24)\n- a\n",
	} {
		_, err := changelog(markdown, "x", "1", "y", time.Time{})
		require.Error(t, err, name)
	}
}

func TestChangelogOfThisTree(t *testing.T) {
	markdown, err := os.ReadFile("../../CHANGELOG.md")
	require.NoError(t, err)
	got, err := changelog(string(markdown), "walletctl", "1-1", "One <one@example.org>", time.Time{})
	require.NoError(t, err)
	require.Equal(t, strings.Count(string(markdown), "\n- "), strings.Count(got, "\n  * "))
	for line := range strings.Lines(got) {
		require.LessOrEqual(t, len([]rune(line)), 80)
	}
}
