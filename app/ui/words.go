package ui

import (
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
	"walletcompanion/wallet"
)

// cardZone is the zone of cards and business days; it has no summer time.
var cardZone = time.FixedZone("+08:00", 8*60*60)

// amount shows yuan with a comma between thousands: "1,286.50".
func amount(fen wallet.Fen) string {
	text := fen.Yuan()
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:] // U+2212, as wide as a digit
	}
	whole, cents, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return sign + whole + "." + cents
}

// moved shows what a record did to the balance: "+100.00", "−2.00".
func moved(record wallet.Record) string {
	if record.IsLoad() {
		return "+" + amount(record.Amount)
	}
	return "−" + amount(record.Amount)
}

// when shows a time as people say it: today, yesterday, else month and day.
func when(texts *lang.Localizer, at, now time.Time) string {
	at, now = at.In(cardZone), now.In(cardZone)
	clock := map[string]any{"Time": at.Format("15:04")}
	switch at.Format(time.DateOnly) {
	case now.Format(time.DateOnly):
		return texts.T("ui.today", clock)
	case now.AddDate(0, 0, -1).Format(time.DateOnly):
		return texts.T("ui.yesterday", clock)
	}
	if at.Year() == now.Year() {
		return at.Format("01-02 15:04")
	}
	return at.Format("2006-01-02 15:04")
}

// age shows how old a reading is.
func age(texts *lang.Localizer, at, now time.Time) string {
	past := now.Sub(at)
	switch {
	case past < time.Minute:
		return texts.T("ui.age.now", nil)
	case past < time.Hour:
		return texts.N("ui.age.minutes", int(past/time.Minute), nil)
	case past < 24*time.Hour:
		return texts.N("ui.age.hours", int(past/time.Hour), nil)
	}
	return texts.N("ui.age.days", int(past/(24*time.Hour)), nil)
}

// tail is the end of a number that may be shown.
func tail(number string) string { return number[max(0, len(number)-4):] }

// groups cuts a number into fours: "6217 0000 1234".
func groups(number string) string {
	var parts []string
	for len(number) > 4 {
		parts, number = append(parts, number[:4]), number[4:]
	}
	return strings.Join(append(parts, number), " ")
}

// recordName is what a record is called, of its kind alone: a card knows no names
// of places.
func recordName(texts *lang.Localizer, record wallet.Record) string {
	switch record.Type {
	case wallet.TypeLoadED, wallet.TypeLoadEP:
		return texts.T("ui.record.load", nil)
	case wallet.TypePurchaseED, wallet.TypePurchaseEP:
		return texts.T("ui.record.purchase", nil)
	}
	const digits = "0123456789ABCDEF"
	key := "record.type." + string([]byte{digits[record.Type>>4], digits[record.Type&0x0F]})
	if !texts.Has(key) {
		key = "record.type.other"
	}
	name := []rune(texts.T(key, nil))
	return strings.ToUpper(string(name[:1])) + string(name[1:])
}

// orderWords are title and text of an open order: where the money is, as far as
// this computer knows, and what to do.
func orderWords(texts *lang.Localizer, state core.State, line core.OrderLine) (title, text string) {
	kind := map[wallet.Stage]string{
		wallet.StageAsked: "asked", wallet.StageGranted: "granted", wallet.StageCredited: "credited",
	}[line.Stage]
	switch {
	case line.Kind == wallet.KindFunding: // no card can help
		facts := map[string]any{"Amount": amount(line.Amount)}
		return texts.T("ui.open.funding.title", facts), texts.T("ui.open.funding.text", facts)
	case line.Kind == wallet.KindPurchase && line.Stage == wallet.StageDebited:
		kind = "debited"
	case line.Kind == wallet.KindPurchase:
		kind = "purchase"
	case kind == "":
		kind = "unknown"
	}
	title = texts.T("ui.open."+kind+".title", map[string]any{"Amount": amount(line.Amount)})
	sentences := []string{texts.T("ui.open."+kind+".text", nil)}
	facts := map[string]any{"Tail": tail(line.ASN.String())}
	here := state.Purse != nil && state.Purse.ASN == line.ASN
	finish := "ui.open.finish"
	if line.Kind == wallet.KindPurchase { // nothing is written any more, the card is only asked
		finish = "ui.open.settle"
	}
	switch {
	case here && state.Settling:
		sentences = append(sentences, texts.T("ui.open.settling", nil))
	case kind == "credited", kind == "debited":
	case here && state.Unsettled != nil && state.Unsettled.Code != "ORDER_OPEN":
		told := core.Tell(texts, state.Unsettled.Code, false, state.Unsettled.Detail)
		sentences = append(sentences, texts.T("ui.open.untouched", map[string]any{"Reason": told.Title}))
	case here && state.Unsettled != nil:
		cause := core.Explain(state.Unsettled.Err)
		if cause != nil && cause.Code != "INTERNAL" {
			told := core.Tell(texts, cause.Code, false, cause.Detail)
			sentences = append(sentences, texts.T("ui.open.untouched", map[string]any{"Reason": told.Title}))
		}
		sentences = append(sentences, texts.T(finish, nil))
	case here:
		sentences = append(sentences, texts.T(finish, nil))
	case state.Card == core.CardRead:
		sentences = append(sentences, texts.T("ui.open.otherCard", facts))
	default:
		sentences = append(sentences, texts.T("ui.open.placeCard", facts))
	}
	return title, join(texts, sentences)
}

// join puts sentences together: Chinese has no space between them.
func join(texts *lang.Localizer, sentences []string) string {
	space := " "
	if texts.Name() == lang.Chinese {
		space = ""
	}
	return strings.Join(sentences, space)
}
