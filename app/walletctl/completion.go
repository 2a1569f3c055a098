package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"walletcompanion/app/wire"
	"walletcompanion/wallet/virtualcard"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash, zsh, fish or powershell."`
}

// completionScripts ask the program itself which words may come next, so that they
// never grow stale. Where it names none the shell offers files. The one for zsh serves
// two ways: read by hand (source) it announces itself; found by zsh in its own folder it
// is called as the function.
var completionScripts = map[string]string{
	"bash": `_walletctl() {
  local IFS=$'\n'
  COMPREPLY=($(walletctl complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _walletctl walletctl
`,
	"zsh": `#compdef walletctl
_walletctl() {
  local -a found
  found=("${(@f)$(walletctl complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" == _walletctl ]]; then _walletctl "$@"; else compdef _walletctl walletctl; fi
`,
	"fish": `complete -c walletctl -a '(walletctl complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
	"powershell": `Register-ArgumentCompleter -Native -CommandName walletctl -ScriptBlock {
  param($word, $line, $cursor)
  $words = @($line.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
  if ($word -eq '') { $words += '' }
  walletctl complete -- @words 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`,
}

func (cmd completionCmd) Run(con *console) error {
	if con.JSON {
		return con.print(map[string]any{"shell": cmd.Shell, "script": completionScripts[cmd.Shell]}, nil)
	}
	_, err := fmt.Fprint(con.out, completionScripts[cmd.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

func (cmd completeCmd) Run(con *console, parser *kong.Kong) error {
	for _, word := range candidates(parser.Model.Node, cmd.Words) {
		fmt.Fprintln(con.out, word)
	}
	return nil
}

// candidates are the words that may stand in place of the last one, which the
// person has begun to type.
func candidates(node *kong.Node, words []string) (found []string) {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	last, before := words[len(words)-1], ""
	if len(words) > 1 {
		before = words[len(words)-2]
	}
	for _, word := range words[:len(words)-1] {
		for _, child := range node.Children {
			if child.Name == word && !child.Hidden {
				node = child
				break
			}
		}
	}
	offer := flagValues(before)
	switch {
	case offer != nil:
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				offer = append(offer, "--"+flag.Name)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				offer = append(offer, child.Name)
			}
		}
	}
	return slices.DeleteFunc(offer, func(word string) bool { return !strings.HasPrefix(word, last) })
}

// flagValues are the values of flags that take one of a list.
func flagValues(flag string) (values []string) {
	switch flag {
	case "--lang":
		return []string{"en", "zh"}
	case "--fault":
		for _, fault := range wire.Faults() {
			values = append(values, fault.Name)
		}
	case "--variant":
		for _, variant := range virtualcard.Variants() {
			values = append(values, variant.Name)
		}
	}
	return values
}
