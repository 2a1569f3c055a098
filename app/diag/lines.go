package diag

import (
	"fmt"
	"slices"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/reader"
)

// CardLine is the line of an exchange with a card.
func CardLine(e reader.Exchange) Line {
	line := Line{Kind: KindCard, At: e.At, Reader: e.Reader, Command: e.Command, Answer: e.Answer, TookUS: e.Took.Microseconds(), Trouble: string(e.Trouble)}
	if e.Trouble == "" {
		line.SW = fmt.Sprintf("%04X", e.SW)
	}
	return line
}

// EndLine is the line of an operation's end. Its code is the one that people are told.
func EndLine(ending core.Ending) Line {
	line := Line{Key: ending.Entry.Key, Subject: ending.Entry.Order, AmountFen: ending.Entry.Amount}
	if ending.Failure != nil {
		line.Code, line.Exit = core.InfoOf(ending.Failure.Code).Code, ending.Failure.Exit()
		line.Cause = printable(ending.Failure.Error())
	}
	var settled []string
	for _, each := range ending.Lines {
		settled = append(settled, strings.TrimSpace(fmt.Sprintf("%s %s %s", each.Order, each.To, each.Evidence)))
	}
	line.Outcome = strings.Join(settled, ", ")
	return line
}

// LastTold is the newest trouble that a trace knows: of an order, by its number or its
// key, or, without names, of anything.
func LastTold(lines []Line, names ...string) *Told {
	for i := len(lines) - 1; i >= 0; i-- {
		line := lines[i]
		if line.Kind != KindEnd || line.Code == "" || len(names) > 0 && !line.concerns(names) {
			continue
		}
		return &Told{At: line.At, Op: line.Op, Code: line.Code, Exit: line.Exit, Cause: line.Cause, Order: line.Subject}
	}
	return nil
}

// concerns reports whether a line is about an order with one of these names.
func (l Line) concerns(names []string) bool {
	return l.Subject != "" && slices.Contains(names, l.Subject) || l.Key != "" && slices.Contains(names, l.Key)
}
