// Package manpage writes manual pages from the definition of a command line, so that
// a page never knows other commands and flags than the program.
package manpage

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Page is what a manual page says beyond commands and flags.
type Page struct {
	Name     string // of the program
	Version  string
	Summary  string // stands behind the name, without a full stop
	Before   []Section
	After    []Section // behind commands and flags
	Synopsis []string  // what follows the name, one line each
}

// Section is a part of the page. Text holds paragraphs, Terms a list below them.
type Section struct {
	Title string // in capitals, as manual pages have it
	Text  []string
	Terms []Term
}

// Term is a word and what it means.
type Term struct{ Word, Meaning string }

// Write writes the page in section 1, in the man(7) macros. Hidden commands and flags
// do not appear.
func Write(w io.Writer, model *kong.Application, page Page) error {
	var out strings.Builder
	fmt.Fprintf(&out, ".TH %s 1 \"\" %s \"Wallet Companion\"\n", quoted(strings.ToUpper(page.Name)), quoted(page.Name+" "+page.Version))
	fmt.Fprintf(&out, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", escaped(page.Name), escaped(page.Summary))
	for i, line := range page.Synopsis {
		if i > 0 {
			out.WriteString(".br\n")
		}
		fmt.Fprintf(&out, ".B %s\n%s\n", escaped(page.Name), escaped(line))
	}
	for _, section := range page.Before {
		writeSection(&out, section)
	}
	if leaves := model.Leaves(true); len(leaves) > 0 {
		out.WriteString(".SH COMMANDS\n")
		for _, leaf := range leaves {
			writeCommand(&out, leaf)
		}
	}
	out.WriteString(".SH OPTIONS\n")
	writeFlags(&out, model.Flags)
	for _, section := range page.After {
		writeSection(&out, section)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func writeSection(out *strings.Builder, section Section) {
	fmt.Fprintf(out, ".SH %s\n", escaped(section.Title))
	for _, paragraph := range section.Text {
		fmt.Fprintf(out, ".PP\n%s\n", escaped(paragraph))
	}
	for _, term := range section.Terms {
		fmt.Fprintf(out, ".TP\n.B %s\n%s\n", escaped(term.Word), escaped(term.Meaning))
	}
}

// writeCommand writes one command with the flags that no other command has.
func writeCommand(out *strings.Builder, leaf *kong.Node) {
	words := []string{}
	for node := leaf; node.Type == kong.CommandNode; node = node.Parent {
		words = append([]string{node.Name}, words...)
	}
	fmt.Fprintf(out, ".TP\n.B %s\n", escaped(strings.Join(append(words, positionals(leaf)...), " ")))
	out.WriteString(escaped(leaf.Help) + "\n")
	if leaf.Detail != "" {
		fmt.Fprintf(out, ".IP\n%s\n", escaped(leaf.Detail))
	}
	own := []*kong.Flag{}
	for node := leaf; node.Type == kong.CommandNode; node = node.Parent {
		own = append(own, node.Flags...)
	}
	if len(own) > 0 {
		out.WriteString(".RS\n")
		writeFlags(out, own)
		out.WriteString(".RE\n")
	}
}

func positionals(node *kong.Node) (words []string) {
	for _, each := range node.Positional {
		words = append(words, strings.ReplaceAll(each.Summary(), "<", "")) // <file> is FILE on a page
	}
	for i, word := range words {
		words[i] = strings.ToUpper(strings.ReplaceAll(word, ">", ""))
	}
	return words
}

func writeFlags(out *strings.Builder, flags []*kong.Flag) {
	for _, flag := range flags {
		if flag.Hidden {
			continue
		}
		name := "--" + flag.Name
		if flag.Short != 0 {
			name = fmt.Sprintf("-%c, %s", flag.Short, name)
		}
		if !flag.IsBool() && !flag.IsCounter() {
			name += "=" + strings.Trim(flag.FormatPlaceHolder(), `"`)
		}
		help := strings.TrimSpace(flag.Help)
		if flag.HasDefault && flag.Default != "" && !flag.IsBool() {
			help += " Default: " + flag.Default + "."
		}
		if help == "" {
			help = "\x00" // the name says it all, but the list needs a body
		}
		fmt.Fprintf(out, ".TP\n.B %s\n%s\n", escaped(name), escaped(help))
	}
}

// quoted is an argument of a macro.
func quoted(text string) string { return `"` + strings.ReplaceAll(escaped(text), `"`, `\(dq`) + `"` }

// escaped keeps text from being read as macros: every minus could be typed by a
// person and so is one, and no line begins with a dot or an apostrophe.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "\x00", `\&`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
