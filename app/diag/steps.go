package diag

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// Instructions that the steps name (card dossier §1.6).
const (
	insVerify      = 0x20
	insInitialize  = 0x50
	insCredit      = 0x52
	insDebit       = 0x54
	insProve       = 0x5A
	insGetBalance  = 0x5C
	insSelect      = 0xA4
	insReadBinary  = 0xB0
	insReadRecord  = 0xB2
	insGetResponse = 0xC0
)

// steps tells an operation. Reading commands that were answered are one step, unless
// the journal moved between them.
func (o *operation) steps(moments []time.Time) []Step {
	var steps []Step
	add := func(line Line, broke bool, text Sentence) {
		steps = append(steps, Step{At: line.At, Source: SourceTrace, Op: o.name, Text: text, Broke: broke})
	}
	reading := 0
	for i, line := range o.lines {
		if line.isReading() && line.Trouble == "" {
			if reading++; i+1 < len(o.lines) && o.lines[i+1].isReading() && o.lines[i+1].Trouble == "" && !between(moments, line.At, o.lines[i+1].At) {
				continue
			}
			add(o.lines[i+1-reading], false, say("step.read", "Count", reading, "Reader", line.Reader))
			reading = 0
			continue
		}
		switch line.Kind {
		case KindBegin:
			add(line, false, say("step.begin."+known(o.kind(), core.OperationQuery, core.OperationTopUp, core.OperationPay, core.OperationUnload, core.OperationSync, core.OperationFund),
				"Amount", line.AmountFen.Yuan(), "Version", line.Version))
		case KindEnd:
			add(line, false, line.endText())
		case KindRequest:
			add(line, line.Status == 0, line.requestText())
		case KindCard:
			add(line, line.Trouble != "", line.cardText())
		}
	}
	if o.name != "" && o.end() == nil {
		end := o.last()
		for _, moment := range moments { // the journal may have gone on after the last line
			if moment.After(end) && moment.Before(end.Add(lateJournal)) {
				end = moment
			}
		}
		steps = append(steps, Step{At: end, Source: SourceTrace, Op: o.name, Text: say("step.silent"), Broke: true})
	}
	return steps
}

// between reports a moment after from and not after to.
func between(moments []time.Time, from, to time.Time) bool {
	return slices.ContainsFunc(moments, func(m time.Time) bool { return m.After(from) && !m.After(to) })
}

// known is text where it is one of names, and "other" otherwise: what stands in a
// trace never becomes a part of a key of the catalogue unseen.
func known(text string, names ...string) string {
	for _, name := range names {
		if text == name {
			return text
		}
	}
	return "other"
}

// isReading reports a card command that only reads.
func (l Line) isReading() bool {
	if l.Kind != KindCard {
		return false
	}
	switch l.ins() {
	case insSelect, insReadBinary, insReadRecord, insGetBalance, insGetResponse:
		return true
	}
	return false
}

func (l Line) endText() Sentence {
	if l.Code == "" {
		return say("step.done", "Outcome", l.Outcome)
	}
	return say("step.told", "Code", l.Code, "Exit", l.Exit, "Cause", l.Cause)
}

func (l Line) requestText() Sentence {
	name := l.Method + " " + l.Route
	took := fmt.Sprintf("%.0f", float64(l.TookUS)/1000)
	switch {
	case l.Status == 0:
		return say("step.requestLost", "Request", name, "Code", l.Code, "MS", took)
	case l.Status/100 != 2:
		return say("step.requestRefused", "Request", name, "Status", l.Status, "Code", l.Code, "MS", took)
	}
	return say("step.request", "Request", name, "Status", l.Status, "MS", took)
}

func (l Line) cardText() Sentence {
	name := l.commandName()
	if l.Trouble != "" {
		return say("step.commandLost", "Command", name, "Trouble", l.Trouble, "MS", fmt.Sprintf("%.1f", float64(l.TookUS)/1000))
	}
	meaning := swMeaning(l.SW)
	if l.SW == "9000" {
		switch l.ins() {
		case insInitialize:
			balance, knows := l.number(0, 4)
			counter, also := l.number(4, 6)
			if knows && also {
				return say("step.initialized", "Command", name, "Balance", wallet.Fen(balance&0x7FFFFFFF).Yuan(), "Counter", counter)
			}
		case insCredit, insDebit:
			return say("step.written", "Command", name)
		}
	}
	return say("step.command", "Command", name, "SW", l.SW, "Meaning", meaning)
}

// commandName names a command in the words of its specification (card dossier §1.6).
func (l Line) commandName() string {
	command := hexBytes(l.Command)
	if len(command) < 4 || command[1].hidden {
		return "?"
	}
	return wallet.Command{CLA: command[0].value, INS: command[1].value, P1: command[2].value, P2: command[3].value}.Name()
}

func swMeaning(sw string) string {
	value, err := strconv.ParseUint(sw, 16, 16)
	if err != nil {
		return ""
	}
	return wallet.SW(value).Meaning()
}
