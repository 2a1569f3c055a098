package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// distribution is where the packages are built and tried.
const distribution = "bookworm"

// entry is one version of CHANGELOG.md.
type entry struct {
	version string // "" is what has not been released
	date    time.Time
	items   []string // without line breaks
}

// heading of a version: "## Unreleased" or "## 0.1.0 (2026-12-24)".
var heading = regexp.MustCompile(`^## (?:Unreleased|(\S+) \((\d{4}-\d{2}-\d{2})\))$`)

// changelog turns CHANGELOG.md into the form of deb-changelog(5). The newest part
// gets version and date of the package, whatever it is called there; the others need
// both. Errors: a heading or a line of another form, since it would be lost.
func changelog(markdown, name, version, maintainer string, date time.Time) (string, error) {
	entries, err := entriesOf(markdown)
	if err != nil {
		return "", err
	}
	entries[0].version, entries[0].date = version, date
	var out strings.Builder
	for i, each := range entries {
		if i > 0 {
			each.version += "-1"
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "%s (%s) %s; urgency=medium\n\n", name, each.version, distribution)
		for _, item := range each.items {
			out.WriteString(wrapped(item, "  * ", "    "))
		}
		fmt.Fprintf(&out, "\n -- %s  %s\n", maintainer, each.date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
	return out.String(), nil
}

func entriesOf(markdown string) (entries []entry, err error) {
	for number, line := range strings.Split(markdown, "\n") {
		last := len(entries) - 1
		switch {
		case strings.HasPrefix(line, "#"):
			if found := heading.FindStringSubmatch(line); found != nil {
				next := entry{version: found[1]}
				if found[2] != "" {
					if next.date, err = time.Parse(time.DateOnly, found[2]); err != nil {
						return nil, err
					}
				}
				if next.version == "" && last >= 0 {
					return nil, fmt.Errorf("CHANGELOG.md:%d: only the newest part may be unreleased", number+1)
				}
				entries = append(entries, next)
			} else if last >= 0 || !strings.HasPrefix(line, "# ") {
				return nil, fmt.Errorf("CHANGELOG.md:%d: %q is neither ## Unreleased nor ## VERSION (YYYY-MM-DD)", number+1, line)
			}
		case last < 0 || strings.TrimSpace(line) == "": // the introduction; empty lines
		case strings.HasPrefix(line, "- "):
			entries[last].items = append(entries[last].items, strings.TrimPrefix(line, "- "))
		case strings.HasPrefix(line, "  ") && len(entries[last].items) > 0:
			entries[last].items[len(entries[last].items)-1] += " " + strings.TrimSpace(line)
		default:
			return nil, fmt.Errorf("CHANGELOG.md:%d: %q belongs to no item of a list", number+1, line)
		}
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("CHANGELOG.md holds no version")
	}
	return entries, nil
}

// wrapped breaks text into lines of at most 79 characters.
func wrapped(text, first, others string) string {
	var out strings.Builder
	line, begun := first, false
	for _, word := range strings.Fields(text) {
		switch {
		case !begun:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > 79:
			out.WriteString(line + "\n")
			line = others + word
		default:
			line += " " + word
		}
		begun = true
	}
	return out.String() + line + "\n"
}
