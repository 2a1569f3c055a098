package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tree = "../.."

var licenceLine = regexp.MustCompile(`(?m)^License: .*$`)

// releaseTags makes the go command see what a release links: tests run with the tag
// "ci", which leaves the window's driver out.
func releaseTags(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(tree, "dev"))
	require.NoError(t, err)
	tags := regexp.MustCompile(`(?m)^tags=(\S+)$`).FindSubmatch(script)
	require.NotNil(t, tags, "dev names the build tags")
	t.Setenv("GOFLAGS", "-tags="+string(tags[1]))
}

// Every module that is linked into a program must bring terms that are known, and the
// package must carry them.
func TestCopyrightNamesEveryLinkedModule(t *testing.T) {
	releaseTags(t)
	for program, some := range map[string][]string{
		"./app/walletctl": {"std", "github.com/alecthomas/kong", "modernc.org/sqlite", "github.com/ebfe/scard"},
		".":               {"std", "fyne.io/fyne/v2", "github.com/go-gl/glfw/v3.4/glfw", "assets/fonts"},
	} {
		text, err := copyright(tree, program)
		require.NoError(t, err, program)
		for _, name := range some {
			require.Contains(t, text, "\nFiles: "+name+"/*\n", program)
		}
		parts, font, err := linked(tree, program)
		require.NoError(t, err)
		require.Equal(t, program == ".", font, "the Chinese font is linked into the window only")
		for _, p := range parts {
			paragraph := paragraphOf(text, p.name)
			require.NotEmpty(t, paragraph, p.name)
			files, err := licences(p)
			require.NoError(t, err)
			for _, file := range files {
				if file.kind != "" {
					require.Contains(t, licenceLine.FindString(paragraph), file.kind, "%s %s", p.name, file.file)
				}
			}
		}
	}
}

// Every paragraph of the form has its fields, every line of a text its indent.
func TestCopyrightForm(t *testing.T) {
	releaseTags(t)
	text, err := copyright(tree, "./app/walletctl")
	require.NoError(t, err)
	named := map[string]bool{}
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if name := licenceLine.FindString(paragraph); strings.Contains(paragraph, name+"\n ") {
			require.False(t, named[name], "%q names two texts", name)
			named[name] = true
		}
		for i, line := range strings.Split(paragraph, "\n") {
			require.Regexp(t, `^( \S| {11}\S|  +\S|\t|[A-Z][A-Za-z-]*: \S)`, line, "line %d of %q", i, paragraph[:min(60, len(paragraph))])
		}
		if strings.HasPrefix(paragraph, "Files: ") {
			require.Contains(t, paragraph, "\nCopyright: ")
			require.Contains(t, paragraph, "\nLicense: ")
		}
	}
	require.NotContains(t, text, "END OF TERMS AND CONDITIONS", "Debian refers to its own copy of the Apache licence")
}

func TestLicencesOfAPartThatHasNone(t *testing.T) {
	p := part{name: "example.org/none", dir: t.TempDir()}
	_, err := licences(p)
	require.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "LICENSE"), []byte("All rights reserved. You may do nothing."), 0o600))
	_, err = licences(p)
	require.Error(t, err, "terms that nobody knows need a person to read them")
	require.NoError(t, os.Mkdir(filepath.Join(p.dir, "testdata"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "testdata", "LICENSE"), []byte(isc), 0o600))
	_, err = licences(p)
	require.Error(t, err, "what lies in testdata is linked into nothing")
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "COPYING"), []byte(isc), 0o600))
	files, err := licences(p)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.Equal(t, []string{"Copyright (c) 2020 Some One"}, holders(p, files))
}

const isc = "Copyright (c) 2020 Some One\n\nPermission to use, copy, modify, and/or distribute this software\nfor any purpose with or without fee is hereby granted."

func paragraphOf(text, name string) string {
	_, rest, found := strings.Cut(text, "\nFiles: "+name+"/*\n")
	if !found {
		return ""
	}
	paragraph, _, _ := strings.Cut(rest, "\n\n")
	return paragraph + "\n"
}
