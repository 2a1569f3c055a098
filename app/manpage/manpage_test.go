package manpage

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

func TestPageHoldsCommandsAndFlags(t *testing.T) {
	var cli struct {
		Lang   string `enum:"zh,en" default:"zh" placeholder:"zh|en" help:"Language."`
		Quiet  bool   `short:"q" help:"No progress."`
		Secret string `hidden:"" help:"Not for people."`
		Card   struct {
			New struct {
				File    string `arg:"" help:"The file."`
				Balance string `placeholder:"YUAN" help:"Opening balance."`
				Records int    `placeholder:"N"`
			} `cmd:"" help:"Make a card."`
		} `cmd:"" help:"Cards."`
		Inner struct{} `cmd:"" hidden:"" help:"Not for people."`
	}
	parser, err := kong.New(&cli, kong.Name("thing"))
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, Write(&out, parser.Model, Page{
		Name: "thing", Version: "1.0-dev", Summary: "does things", Synopsis: []string{"COMMAND", "--help"},
		Before: []Section{{Title: "DESCRIPTION", Text: []string{".dot and \\back-slash", "'quote"}}},
		After:  []Section{{Title: "EXIT STATUS", Terms: []Term{{"0", "done"}}}},
	}))
	require.Equal(t, `.TH "THING" 1 "" "thing 1.0\-dev" "Wallet Companion"
.SH NAME
thing \- does things
.SH SYNOPSIS
.B thing
COMMAND
.br
.B thing
\-\-help
.SH DESCRIPTION
.PP
\&.dot and \eback\-slash
.PP
\&'quote
.SH COMMANDS
.TP
.B card new FILE
Make a card.
.RS
.TP
.B \-\-balance=YUAN
Opening balance.
.TP
.B \-\-records=N
\&
.RE
.SH OPTIONS
.TP
.B \-h, \-\-help
Show context\-sensitive help.
.TP
.B \-\-lang=zh|en
Language. Default: zh.
.TP
.B \-q, \-\-quiet
No progress.
.SH EXIT STATUS
.TP
.B 0
done
`, out.String())
}
