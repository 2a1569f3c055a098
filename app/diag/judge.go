package diag

import (
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// view is what the trace shows of the newest attempt to move an order's money, and of
// touches after it.
type view struct {
	kind   string
	order  string
	amount wallet.Fen
	init   *Line // last INITIALIZE before write, or of the attempt
	asked  *Line // last request for the grant
	write  *Line // CREDIT or DEBIT
	lost   *Line // last command of the attempt without an answer
	report *Line // last request with the result
	later  *Line // first INITIALIZE of a touch after the attempt
	proof  *Line // GET TRANSACTION PROVE of a touch after the attempt
	silent bool  // the attempt has no end: the program was ended
	any    bool  // there is an attempt in the trace
	times  time.Time
}

// view looks for the attempt: the newest operation that asked for a grant or wrote
// the card. What came after it are touches.
func (f *orderFacts) view() view {
	v := view{kind: wallet.KindLoad}
	if len(f.journal) > 0 {
		v.kind = f.journal[0].Kind
	}
	attempt := -1
	for i, op := range f.ops {
		if op.moves() || attempt < 0 {
			attempt = i
		}
	}
	for i, op := range f.ops {
		if i < attempt {
			continue
		}
		for j := range op.lines {
			v.look(&op.lines[j], i > attempt)
		}
		if i == attempt {
			v.any, v.silent, v.times = true, op.name != "" && op.end() == nil, op.first()
		}
	}
	return v
}

// moves reports that an operation asked for a grant or wrote a card.
func (o *operation) moves() bool {
	for _, line := range o.lines {
		if line.Kind == KindCard && (line.ins() == insCredit || line.ins() == insDebit) || line.asksForGrant() {
			return true
		}
	}
	return false
}

func (l Line) asksForGrant() bool {
	return l.Kind == KindRequest && l.Method == "POST" && (l.Route == api.PathLoads || l.Route == api.PathPurchases)
}

// look takes from a line what counts. touch says that it came after the attempt.
func (v *view) look(line *Line, touch bool) {
	switch {
	case line.Kind == KindEnd:
		if line.Subject != "" {
			v.order = line.Subject
		}
		if line.AmountFen > 0 {
			v.amount = line.AmountFen
		}
	case line.asksForGrant() && !touch:
		v.asked = line
		if line.Route == api.PathPurchases {
			v.kind = wallet.KindPurchase
		}
	case line.Kind == KindRequest && strings.HasSuffix(line.Route, "/result"):
		v.report = line
	case line.Kind != KindCard:
	case touch && line.ins() == insProve:
		v.proof = line
	case touch && line.ins() == insInitialize && v.later == nil:
		v.later = line
	case touch:
	case line.ins() == insInitialize && v.write == nil:
		v.init = line
	case line.ins() == insCredit || line.ins() == insDebit:
		v.write = line
	}
	if line.Kind == KindCard && line.Trouble != "" && !touch {
		v.lost = line
	}
}

// stage is how far the trace shows that an order came, for a trace without a journal.
func (v view) stage() wallet.Stage {
	purchase := v.kind == wallet.KindPurchase
	pick := func(load, other wallet.Stage) wallet.Stage {
		if purchase {
			return other
		}
		return load
	}
	switch {
	case v.report != nil && v.report.Status/100 == 2:
		return wallet.StageConfirmed
	case v.write != nil && v.write.SW == "9000":
		return pick(wallet.StageCredited, wallet.StageDebited)
	case v.write != nil:
		return pick(wallet.StageUnknown, wallet.StageDebiting)
	case v.asked != nil:
		return wallet.StageAsked
	case v.init != nil:
		return pick(wallet.StageOpened, wallet.StagePurchaseIntent)
	}
	return pick(wallet.StageIntent, wallet.StagePurchaseIntent)
}

// judge names the break, and what is known, doubtful and to be done.
func (v view) judge(story *Story) {
	purchase := story.Kind == wallet.KindPurchase
	story.Broke = v.broke(story.Stage)
	if story.Key == "" && story.Stage == "" {
		return
	}
	v.facts(story)
	suffix := ".load"
	if purchase {
		suffix = ".purchase"
	}
	switch story.Broke {
	case BreakWriteTorn, BreakWriteFault, BreakWriteUnsure:
		if story.Open && v.decided() == "" {
			story.Doubt = append(story.Doubt, say("doubt.written"+suffix))
		}
	case BreakRequestLost, BreakRequestUnsure:
		if story.Open {
			story.Doubt = append(story.Doubt, say("doubt.granted"+suffix))
		}
	}
	story.Next = append(story.Next, v.next(story, suffix)...)
}

// broke finds the break from the newest stage and the lines.
func (v view) broke(stage wallet.Stage) Break {
	written := v.write != nil && v.write.SW == "9000"
	switch {
	case written && (stage == wallet.StageCredited || stage == wallet.StageDebited):
		return BreakUnreported
	case written && (stage == wallet.StageCrediting || stage == wallet.StageDebiting):
		return BreakProofUnkept
	case written:
		return v.brokeReporting()
	case v.write != nil && v.write.Trouble != "":
		return BreakWriteTorn
	case v.write != nil && writeFault(v.write.SW):
		return BreakWriteFault
	case v.write != nil:
		return BreakWriteRefused
	case stage == wallet.StageCredited || stage == wallet.StageDebited:
		return BreakUnreported
	case stage == wallet.StageCrediting || stage == wallet.StageDebiting:
		return BreakWriteUnsure
	case stage == wallet.StageGranted || stage == wallet.StageAuthorised:
		return BreakBeforeWrite
	}
	return v.brokeAsking(stage)
}

// brokeReporting: the card is written and the platform may have been told.
func (v view) brokeReporting() Break {
	if v.silent || v.report != nil && v.report.Status == 0 {
		return BreakUnreported
	}
	return BreakNone
}

// brokeAsking: the card was not written, as far as the trace goes.
func (v view) brokeAsking(stage wallet.Stage) Break {
	switch {
	case v.asked != nil && v.asked.Status == 0:
		return BreakRequestLost
	case v.asked != nil && v.asked.Status/100 != 2:
		return BreakRefused
	case v.asked != nil && (stage == wallet.StageUnknown || stage == wallet.StageAsked):
		return BreakAnswer
	case v.asked != nil:
		return BreakBeforeWrite
	case stage == wallet.StageAsked:
		return BreakRequestUnsure
	case stage == wallet.StageUnknown:
		return BreakWriteUnsure
	case stage == wallet.StageDeclined:
		return BreakRefused
	case v.any && (v.lost != nil || v.silent) || stage == wallet.StageAbandoned || stage == wallet.StageIntent || stage == wallet.StageOpened || stage == wallet.StagePurchaseIntent:
		return BreakBeforeAsking
	}
	return BreakNone
}

// writeFault reports status words after which a CREDIT or DEBIT may or may not have
// been executed (card dossier §1.7).
func writeFault(sw string) bool {
	return strings.HasPrefix(sw, "64") || strings.HasPrefix(sw, "65") || strings.HasPrefix(sw, "6F") || strings.HasPrefix(sw, "62") || strings.HasPrefix(sw, "61")
}

// facts says what is known.
func (v view) facts(story *Story) {
	story.Known = append(story.Known, say("broke."+string(story.Broke), v.brokeData()...))
	if story.Cause != "" && story.Cause != string(wallet.CodeOutcomeUnknown) {
		story.Known = append(story.Known, say("known.cause", "Code", story.Cause))
	}
	if v.init != nil {
		balance, knows := v.init.number(0, 4)
		counter, also := v.init.number(4, 6)
		if knows && also {
			story.Known = append(story.Known, say("known.before", "Balance", wallet.Fen(balance&0x7FFFFFFF).Yuan(), "Counter", counter))
		}
	}
	if v.proof != nil && v.proof.SW != "" {
		key := "known.noProof"
		if v.proof.SW == "9000" {
			key = "known.proof"
		}
		story.Known = append(story.Known, say(key, "SW", v.proof.SW))
	}
	if v.later != nil {
		balance, knows := v.later.number(0, 4)
		counter, also := v.later.number(4, 6)
		if knows && also {
			story.Known = append(story.Known, say("known.later"+v.decided(), "Balance", wallet.Fen(balance&0x7FFFFFFF).Yuan(), "Counter", counter))
		}
	}
	key := "state." + string(story.Stage)
	story.Known = append(story.Known, say(key))
}

func (v view) brokeData() []any {
	var line *Line
	switch {
	case v.write != nil:
		line = v.write
	case v.lost != nil:
		line = v.lost
	case v.asked != nil:
		return []any{"Command", "", "Trouble", v.asked.Code, "SW", "", "Meaning", "", "Status", v.asked.Status, "Code", v.asked.Code}
	default:
		return []any{"Command", "", "Trouble", "", "SW", "", "Meaning", "", "Status", 0, "Code", ""}
	}
	return []any{"Command", line.commandName(), "Trouble", line.Trouble, "SW", line.SW, "Meaning", swMeaning(line.SW), "Status", 0, "Code", ""}
}

// decided compares the card's counter at the attempt with that of a later touch: "",
// ".moved" or ".same". It holds for loads, whose counter only loads move.
func (v view) decided() string {
	if v.init == nil || v.later == nil || v.kind == wallet.KindPurchase {
		return ""
	}
	before, one := v.init.number(4, 6)
	after, two := v.later.number(4, 6)
	switch {
	case !one || !two:
		return ""
	case before == after:
		return ".same"
	}
	return ".moved"
}

// next says what to do.
func (v view) next(story *Story, suffix string) []Sentence {
	if !story.Open {
		switch story.Stage {
		case wallet.StageConfirmed, wallet.StageVoided, wallet.StageNotTaken, wallet.StageRefunded:
			return []Sentence{say("next.settled")}
		}
		return []Sentence{say("next.again")}
	}
	switch story.Stage {
	case wallet.StageIntent, wallet.StageOpened, wallet.StagePurchaseIntent:
		return []Sentence{say("next.startAgain")}
	case wallet.StageCredited, wallet.StageDebited:
		return []Sentence{say("next.online")}
	case wallet.StageDoubtful:
		return []Sentence{say("next.wait")}
	}
	next := []Sentence{say("next.touch"+suffix, "Card", story.Card), say("next.notAgain")}
	if story.Code == "ORDER_SUSPENSE" {
		next = append(next, say("next.counter"))
	}
	if story.Broke == BreakWriteRefused || story.Broke == BreakAnswer {
		next = append(next, say("next.report"))
	}
	return next
}
