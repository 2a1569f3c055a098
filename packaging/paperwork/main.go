// Command paperwork writes the texts that a Debian package must carry and that
// nobody should write by hand:
//
//	paperwork copyright PACKAGE                       licences of all that is linked into the program PACKAGE
//	paperwork changelog NAME VERSION MAINTAINER DATE  CHANGELOG.md as debian/changelog; DATE is in Unix seconds
//
// It runs in the root of the tree and prints to standard output.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	text, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "paperwork:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 2 && args[0] == "copyright":
		return copyright(".", args[1])
	case len(args) == 5 && args[0] == "changelog":
		seconds, err := strconv.ParseInt(args[4], 10, 64)
		if err != nil {
			return "", fmt.Errorf("DATE: %w", err)
		}
		markdown, err := os.ReadFile("CHANGELOG.md")
		if err != nil {
			return "", err
		}
		return changelog(string(markdown), args[1], args[2], args[3], time.Unix(seconds, 0).UTC())
	}
	return "", fmt.Errorf("usage: paperwork copyright PACKAGE | changelog NAME VERSION MAINTAINER DATE")
}
