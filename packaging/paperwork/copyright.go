package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// part is something that is linked into a program and has a licence of its own.
type part struct {
	name    string // import path of the module
	version string
	dir     string // its files
}

// licence is one file of a part.
type licence struct {
	file string // relative to the part's folder
	kind string // SPDX name, "" if not recognised
	text string
}

// linked lists the modules of which packages are linked into a program, the standard
// library among them, and says whether the Chinese font is. tree is the project's
// root; the go command is asked with the build tags of its environment.
func linked(tree, program string) (parts []part, font bool, err error) {
	out, err := command(tree, "go", "list", "-deps", "-json=ImportPath,Standard,Module", program)
	if err != nil {
		return nil, false, err
	}
	root, err := command(tree, "go", "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, false, err
	}
	lines := strings.Fields(string(root))
	parts = []part{{name: "std", version: lines[1], dir: lines[0]}}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var found struct {
			ImportPath string
			Module     *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := decoder.Decode(&found); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, false, err
		}
		module := found.Module
		if module == nil {
			continue
		}
		if module.Main {
			font = font || found.ImportPath == module.Path+"/assets/fonts"
			continue
		}
		next := part{name: module.Path, version: module.Version, dir: module.Dir}
		if !slices.Contains(parts, next) {
			parts = append(parts, next)
		}
	}
	slices.SortFunc(parts[1:], func(a, b part) int { return strings.Compare(a.name, b.name) })
	return parts, font, nil
}

func command(dir, name string, args ...string) ([]byte, error) {
	var problems bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, problems.String())
	}
	return out, nil
}

// licenceName matches the files that hold terms or notices.
var licenceName = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice|^patents`)

// unbuilt are folders of a module from which nothing is linked. None of the three is
// the name of a package that a program imports.
var unbuilt = []string{"testdata", "cmd", "examples"}

// licences finds the terms of a part: every licence file in its folder and below,
// because parts of other people's lie below (C sources, fonts). Of the standard
// library only the file at the top counts. Errors: none found at the top.
func licences(p part) (found []licence, err error) {
	err = filepath.WalkDir(p.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != p.dir && (p.name == "std" || slices.Contains(unbuilt, entry.Name())):
			return filepath.SkipDir
		case entry.IsDir() || !licenceName.MatchString(entry.Name()) || strings.HasSuffix(path, ".go"):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(p.dir, path)
		found = append(found, licence{file: filepath.ToSlash(file), kind: kindOf(string(raw)), text: string(raw)})
		return err
	})
	if err == nil && !slices.ContainsFunc(found, func(l licence) bool { return l.kind != "" && !strings.Contains(l.file, "/") }) {
		err = errors.New("no licence that is known at the top")
	}
	if err != nil {
		return nil, fmt.Errorf("licence of %s in %s: %w", p.name, p.dir, err)
	}
	return found, nil
}

// kinds recognise a licence by words of it; the first match counts.
var kinds = []struct {
	spdx  string
	words []string
}{
	{"Unlicense or BSD-3-Clause", []string{"under the terms of the unlicense or the bsd license"}},
	{"Apache-2.0", []string{"apache license", "version 2.0, january 2004"}},
	{"OFL-1.1", []string{"sil open font license", "version 1.1"}},
	{"MPL-2.0", []string{"mozilla public license", "2.0"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the above copyright notice and this permission notice"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "neither the name"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "names of its contributors may be used"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}},
	{"MIT-Modern-Variant", []string{"permission is hereby granted, without written agreement and without license or royalty fees"}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"ISC", []string{"permission to use, copy, modify, and distribute this software for any purpose"}},
	{"Zlib", []string{"this software is provided 'as-is'", "altered source versions"}},
}

func kindOf(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, kind := range kinds {
		if !slices.ContainsFunc(kind.words, func(word string) bool { return !strings.Contains(text, word) }) {
			return kind.spdx
		}
	}
	return ""
}

// holder matches a line that names who holds the rights.
var holder = regexp.MustCompile(`(?i)^[\s*#/-]*((?:original work |modified work |portions )?(?:copyright|©)\s.*\d{4}.*)$`)

// holders are the copyright lines of licence files, each once.
func holders(p part, files []licence) (lines []string) {
	for _, file := range files {
		if strings.Contains(file.file, "3RD-PARTY") {
			continue // it lists what is not linked, too; its text follows in full
		}
		for _, line := range strings.Split(file.text, "\n") {
			if found := holder.FindStringSubmatch(line); found != nil && !slices.Contains(lines, found[1]) {
				lines = append(lines, strings.TrimSpace(found[1]))
			}
		}
	}
	if len(lines) == 0 {
		lines = []string{"the authors of " + p.name + " (its licence file names none)"}
	}
	return lines
}

// copyright writes the file that Debian wants, in its machine-readable form: the
// project's own licence, then each part with its files in full. The Apache licence,
// which every Debian system carries, is referred to instead.
func copyright(tree, program string) (string, error) {
	parts, font, err := linked(tree, program)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n" +
		"Upstream-Name: Wallet Companion\n" +
		"Comment: The programs are linked from the parts below; each stands with the terms that came with it.\n\n" +
		"Files: *\nCopyright: 2026 The Wallet Companion authors\nLicense: Apache-2.0\n")
	for _, p := range parts {
		files, err := licences(p)
		if err != nil {
			return "", err
		}
		writePart(&out, p, holders(p, files), files)
	}
	if font {
		terms, err := os.ReadFile(filepath.Join(tree, "assets/fonts/OFL.txt"))
		if err != nil {
			return "", err
		}
		noto := part{name: "assets/fonts"}
		files := []licence{{file: "OFL.txt", kind: kindOf(string(terms)), text: string(terms)}}
		writePart(&out, noto, holders(noto, files), files)
	}
	out.WriteString("\nLicense: Apache-2.0\n The full text stands in /usr/share/common-licenses/Apache-2.0.\n")
	return out.String(), nil
}

// writePart writes the paragraph of one part. Where all is Apache, the paragraph at
// the end of the file is meant.
func writePart(out *strings.Builder, p part, holders []string, files []licence) {
	names, body := []string{}, strings.Builder{}
	for _, file := range files {
		if file.kind != "" && !slices.Contains(names, file.kind) {
			names = append(names, file.kind)
		}
		if file.kind == "Apache-2.0" && strings.Contains(file.text, "END OF TERMS AND CONDITIONS") {
			continue
		}
		fmt.Fprintf(&body, " == %s\n", file.file)
		for _, line := range strings.Split(strings.TrimSpace(file.text), "\n") {
			if line = strings.TrimRight(line, " \t\r"); line == "" {
				line = "."
			}
			fmt.Fprintf(&body, " %s\n", strings.ReplaceAll(line, "\f", ""))
		}
	}
	name := strings.Join(names, " and ")
	if body.Len() > 0 {
		// A name of its own for each text: Debian's form wants one text for one name.
		name += " as in " + strings.NewReplacer("/", "-").Replace(p.name)
	}
	fmt.Fprintf(out, "\nFiles: %s/*\nCopyright: %s\nLicense: %s\n%s", p.name, strings.Join(holders, "\n           "), name, body.String())
	if p.version != "" {
		fmt.Fprintf(out, "Comment: version %s\n", p.version)
	}
}
