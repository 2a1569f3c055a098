package main

import (
	"fmt"
	"io"
	"time"

	"walletcompanion/app/wire"
	"walletcompanion/wallet"
)

func (c *console) demoMark(w io.Writer, demo bool) {
	if demo {
		fmt.Fprintln(w, c.t("console.demoMark"))
	}
}

func (c *console) progress(step wallet.Progress) { c.say("  " + c.t("progress."+string(step.Stage))) }

// yuan shows an amount with its unit.
func (c *console) yuan(amount wallet.Fen) string { return amount.Yuan() + " " + c.t("console.yuan") }

// amountWidth holds "+99999999.99", more than a purse can, and the longest heading.
const amountWidth = 13

// signed shows a movement with its direction.
func signed(amount wallet.Fen) string {
	if amount > 0 {
		return "+" + amount.Yuan()
	}
	return amount.Yuan()
}

// named shows a state or type of the platform in the chosen language; one that is
// not in the catalogue stays as it is.
func (c *console) named(prefix, name string) string {
	if c.texts.Has(prefix + name) {
		return c.t(prefix + name)
	}
	return name
}

// typeName is the kind of a transaction in the chosen language (card dossier §1.5).
func (c *console) typeName(code byte) string {
	switch code {
	case 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09:
		return c.t(fmt.Sprintf("record.type.%02X", code))
	}
	return c.t("record.type.other")
}

// row is a value with its name, a key of the catalogue.
type row struct{ name, value string }

// rows shows named values, one in a line.
func (c *console) rows(w io.Writer, rows ...row) {
	for _, each := range rows {
		fmt.Fprintf(w, "%s\t%s\n", c.t(each.name), each.value)
	}
}

// faultHit tells whether the fault that was asked for was reached; nil without one.
func faultHit() *bool {
	hit, armed := wire.FaultHit()
	if !armed {
		return nil
	}
	return &hit
}

// fact says yes, no or not known of one fact.
func (c *console) fact(name string, value *bool) string {
	switch {
	case value == nil:
		return c.t(name + ".unknown")
	case *value:
		return c.t(name + ".yes")
	}
	return c.t(name + ".no")
}

// amountOrDash stands for an amount that only a voucher knows yet.
func amountOrDash(amount wallet.Fen) string {
	if amount == 0 {
		return "-"
	}
	return amount.Yuan()
}

// orNumberless stands for an order whose number has not reached this computer.
func orNumberless(order string) string {
	if order == "" {
		return "-"
	}
	return order
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// local is a time of our own as people at the counter read it: Asia/Shanghai.
func local(at time.Time) string { return at.In(shanghai).Format(time.DateTime) }

// stamp is a time of our own in RFC 3339, UTC.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// shanghai is the zone of cards and business days; it has no summer time.
var shanghai = time.FixedZone("+08:00", 8*3600)

func day(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.ParseInLocation(time.DateOnly, text, shanghai)
}

// cardTime is a time of the card: Asia/Shanghai, or null where it is no date.
func cardTime(at time.Time) *string {
	if at.IsZero() {
		return nil
	}
	text := at.Format(time.RFC3339)
	return &text
}

// cardDate is YYYY-MM-DD, or empty where the card holds no date.
func cardDate(date time.Time) string {
	if date.IsZero() {
		return ""
	}
	return date.Format(time.DateOnly)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
