package wire

import (
	"context"
	"path/filepath"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/platformclient"
	"walletcompanion/reader"
)

// tracedDriver records what is said to the cards that it opens.
type tracedDriver struct {
	reader.Driver
	trace *reader.Trace
}

// traced puts the trace between the core and the readers. The recorder keeps the
// lines, so the trace itself remembers one.
func (p *Program) traced(driver reader.Driver) reader.Driver {
	trace := reader.NewTrace(1, nil, reader.RedactPurse)
	trace.Tell(func(e reader.Exchange) {
		p.recorder.Add(diag.CardLine(e))
	})
	return tracedDriver{driver, trace}
}

// Open implements reader.Driver.
func (d tracedDriver) Open(ctx context.Context, name string) (reader.Session, error) {
	session, err := d.Driver.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return d.trace.Wrap(session, shortReader(name)), nil
}

// shortReader leaves the folder out of the name of a virtual reader: it may hold a
// person's name.
func shortReader(name string) string {
	if path, virtual := strings.CutPrefix(name, "Virtual "); virtual {
		return "Virtual " + filepath.Base(path)
	}
	return name
}

func (p *Program) recordRequest(facts platformclient.RequestFacts) {
	if facts.Route == "leases" {
		return // not a request
	}
	p.recorder.Add(diag.Line{Kind: diag.KindRequest, At: facts.Started, Method: facts.Method, Route: facts.Route, Subject: facts.Subject,
		Status: facts.Status, Code: facts.Code, Sent: facts.Sent, Received: facts.Received, TookUS: facts.Duration.Microseconds()})
}

// began records an operation and how it ended.
func (p *Program) began(operation core.Operation) func(core.Ending) {
	end := p.recorder.Begin(operation.Name, diag.Line{Version: Version, AmountFen: operation.Amount, Intent: string(operation.Intent)})
	return func(ending core.Ending) { end(diag.EndLine(ending)) }
}
