package rules

import (
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Causes of SUSPENSE that only purchases have.
const (
	CauseLateTAC   Cause = "LATE_TAC"   // valid TAC after NOT_TAKEN; staff only
	CauseSum       Cause = "SUM"        // after the upload window the books do not explain the balance
	CauseOtherOpen Cause = "OTHER_OPEN" // came back after a restore while another purchase of the card was open; evidence after that resolves it
)

// Purchase is what the platform knows of an online purchase when evidence arrives
// (protocol §2.19). INITIALIZE FOR PURCHASE carries no MAC, so nothing of its answer
// is here.
type Purchase struct {
	State  wallet.PurchaseStateName
	Cause  Cause // of SUSPENSE
	Amount wallet.Fen
	Unload bool // return of balance: PAID also needs the MAC1 that shows the lower balance
	Lapsed bool // the merchant's reservation is gone: proof refunds instead of paying

	Probe      wallet.TerminalNumber
	ProbeEpoch int
	Epoch      int
	Floor      uint16 // counter that the card has proven

	TACSeen  bool // verified in an earlier contact
	MAC2Seen bool

	// What the books say about the card's balance.
	Shadow      wallet.Fen // opening + posted loads − known purchases
	ShadowKnown bool       // false: the card never authenticated a balance, Shadow is its own claim
	Uploaded    wallet.Fen // of the known purchases: those that shops uploaded since it was authorised
	Incomplete  bool       // a restore may have lost loads of this card
	OpenLoad    bool       // a credit not yet posted would hide a debit
	OtherDoubt  bool       // another purchase of this card is in SUSPENSE and may be the missing money
	OtherOpen   bool       // another purchase of this card is AUTHORISED or DOUBTFUL and is judged first
	Overtaken   bool       // since the probe was drawn the books heard of other purchases, perhaps made after its answer
	OldProbe    bool       // the probe was drawn so long ago that its answer may be older than clocks of shops can tell

	// The authenticated balance of an earlier contact over the probe: Shadow − balance
	// then, less what was made before it and uploaded since. UnexplainedLeast also takes
	// away what the clocks of shops cannot place before or after that contact.
	Probed           bool
	Unexplained      wallet.Fen
	UnexplainedLeast wallet.Fen

	NumberUploaded bool // an upload carries this offline number; only RefundByNumber looks at it
	Wrongs         int
}

// MAC2 is the code with which the card proves to the terminal that it was debited,
// as it was checked.
type MAC2 struct{ Valid bool }

// PurchaseEvidence is one contact with the card, as somebody sent it.
type PurchaseEvidence struct {
	TAC    *TAC
	MAC2   *MAC2
	MAC1   *MAC1 // INITIALIZE FOR LOAD over the probe
	Counts bool  // wrong evidence of this sender counts against the purchase
}

// The outcomes that only purchases have; Present, Keep, Suspend, Superseded and
// Refuse are those of loads.
const (
	Pay      Outcome = "pay"       // → PAID
	Refund   Outcome = "refund"    // → REFUNDED
	NotTaken Outcome = "not-taken" // → NOT_TAKEN
	Doubt    Outcome = "doubt"     // → DOUBTFUL
)

// PurchaseDecision is what DecidePurchase and DecideSum found.
type PurchaseDecision struct {
	Outcome  Outcome
	Code     string
	Cause    Cause
	Evidence string // tac, prove, balance, uploads, none
	Alarm    bool

	KeepTAC     bool        // the TAC verified: remember it
	KeepMAC2    bool        // MAC2 verified: remember it
	Unexplained *wallet.Fen // remember the authenticated balance, which leaves so much unexplained
	CountWrong  bool
	RaiseFloor  uint16
	RefuseCard  bool
	RenewProbe  bool // draw another probe: the answer over this one cannot be placed in time
}

// DecidePurchase says what evidence does to a purchase. Nothing is paid, refunded or
// closed on a word of the client or on a timer:
//
//   - TAC and MAC2 together prove the debit: PAID, or REFUNDED where the merchant's
//     reservation is gone; a return of balance also wants the lower balance proven;
//   - a TAC alone hangs on one 56-bit key and leaves the purchase in doubt;
//   - a valid MAC1 over the live probe authenticates the balance and ends the
//     purchase session for ever: when less than the amount is unexplained, the card
//     was not debited, otherwise only uploads can tell (DecideSum). It says nothing of
//     when it was given, but that the probe existed. Where that matters, the card is
//     asked again over another probe.
func DecidePurchase(p Purchase, e PurchaseEvidence, rules Rules) PurchaseDecision {
	validTAC := e.TAC != nil && e.TAC.Valid
	switch p.State {
	case wallet.PurchaseAuthorised, wallet.PurchaseDoubtful:
	case wallet.PurchaseSuspense:
		if p.Cause == CauseLateTAC || p.Cause == CauseWrongEvidence || p.Cause == CauseBalance && p.Unload {
			return PurchaseDecision{Outcome: Present, Evidence: "none"}
		}
	case wallet.PurchaseNotTaken:
		if validTAC {
			return PurchaseDecision{Outcome: Suspend, Cause: CauseLateTAC, Evidence: "tac", Alarm: true, KeepTAC: true, KeepMAC2: e.MAC2 != nil && e.MAC2.Valid}
		}
		return PurchaseDecision{Outcome: Present, Evidence: "none"}
	default: // PAID, REFUNDED and DECLINED are final
		return PurchaseDecision{Outcome: Present, Evidence: "none"}
	}
	if e.MAC1 != nil {
		if stop, found := checkProbe(p, e, rules); found {
			stop.KeepTAC, stop.KeepMAC2 = validTAC, validTAC && e.MAC2 != nil && e.MAC2.Valid
			return stop
		}
	}
	d := PurchaseDecision{
		Evidence: "none", KeepTAC: validTAC, KeepMAC2: validTAC && e.MAC2 != nil && e.MAC2.Valid,
	}
	if e.MAC1 != nil && e.MAC1.Valid {
		d.RaiseFloor = e.MAC1.Seq
	}
	debited, both := p.TACSeen || validTAC, (p.TACSeen || validTAC) && (p.MAC2Seen || d.KeepMAC2 || rules.PayWithoutMAC2)
	switch {
	case both:
		return proofComplete(p, e, d)
	case p.State == wallet.PurchaseSuspense && (p.OtherOpen || p.Cause != CauseAge && p.Cause != CauseOtherOpen):
		d.Outcome = Present // less than the whole proof moves nothing that people look at
	case wrongDebit(e):
		d = countWrong(p, e, d)
		if validTAC && d.Outcome != Suspend {
			d.Outcome, d.Evidence = Doubt, "tac"
		}
		return d
	case e.MAC1 != nil:
		return judgeBalance(p, e, d, debited, rules)
	case validTAC:
		d.Outcome, d.Evidence = Doubt, "tac"
	default:
		d.Outcome = Present
	}
	return d
}

// wrongDebit tells whether DEBIT FOR PURCHASE is said to have answered something
// that does not verify. What GET TRANSACTION PROVE answers is garbage on some cards
// and never counted.
func wrongDebit(e PurchaseEvidence) bool {
	if e.TAC == nil || e.TAC.FromProve {
		return false
	}
	return !e.TAC.Valid || e.MAC2 != nil && !e.MAC2.Valid
}

func countWrong(p Purchase, e PurchaseEvidence, d PurchaseDecision) PurchaseDecision {
	d.Outcome, d.Code = Refuse, CodeWrongEvidence
	if !e.Counts {
		return d
	}
	d.CountWrong = true
	if p.Wrongs+1 >= MaxWrong {
		d.Outcome, d.Cause, d.Alarm = Suspend, CauseWrongEvidence, true
	}
	return d
}

// checkProbe stops at an INITIALIZE FOR LOAD answer that proves nothing about this
// purchase. A complete proof of debit beside it is judged all the same.
func checkProbe(p Purchase, e PurchaseEvidence, rules Rules) (PurchaseDecision, bool) {
	proof := !p.Unload && (p.TACSeen || e.TAC != nil && e.TAC.Valid) && (p.MAC2Seen || e.MAC2 != nil && e.MAC2.Valid)
	live := e.MAC1.Terminal == p.Probe && (p.ProbeEpoch == p.Epoch || rules.KeepProbesAcrossEpoch)
	switch {
	case proof:
		return PurchaseDecision{}, false
	case !live && !rules.AnyMAC1:
		return PurchaseDecision{Outcome: Superseded, Code: CodeSuperseded, Evidence: "none"}, true
	case !e.MAC1.Valid:
		return countWrong(p, e, PurchaseDecision{Evidence: "none"}), true
	case e.MAC1.RepeatedRandom && !rules.AllowRepeatedRandom:
		// The purchase session may live again: the probe has not ended it.
		return PurchaseDecision{Outcome: Suspend, Cause: CauseRepeatedRandom, Evidence: "none", Alarm: true, RefuseCard: true}, true
	case e.MAC1.Seq < p.Floor && !rules.IgnoreFloor:
		// Given before a load that the books know by now, and late on its way: its
		// balance cannot be compared with theirs any more. The card speaks again.
		return PurchaseDecision{Outcome: Superseded, Code: CodeSuperseded, Evidence: "none"}, true
	case p.OpenLoad:
		return PurchaseDecision{Outcome: Refuse, Code: api.CodePendingLoad, Evidence: "none", RaiseFloor: e.MAC1.Seq}, true
	}
	return PurchaseDecision{}, false
}

// proofComplete decides where TAC and MAC2 have verified, now or earlier.
func proofComplete(p Purchase, e PurchaseEvidence, d PurchaseDecision) PurchaseDecision {
	d.Evidence = "tac"
	if e.TAC != nil && e.TAC.FromProve {
		d.Evidence = "prove"
	}
	switch {
	case !p.Unload && p.Lapsed:
		d.Outcome = Refund
		return d
	case !p.Unload:
		d.Outcome = Pay
		return d
	}
	unexplained, known := p.Unexplained, p.Probed
	if e.MAC1 != nil && e.MAC1.Valid {
		// The answer may be older than what the card has paid in shops since.
		unexplained, known = p.Shadow+p.Uploaded-e.MAC1.Balance, true
		d.Unexplained = &unexplained
	}
	switch {
	case !known || !p.ShadowKnown || p.Incomplete && unexplained < p.Amount:
		d.Outcome, d.Unexplained = Keep, nil // the lower balance is still to be shown
	case unexplained < p.Amount:
		d.Outcome, d.Cause, d.Alarm = Suspend, CauseBalance, true
	default:
		d.Outcome = Pay
	}
	return d
}

// judgeBalance decides by the balance that the probe authenticated. It is that of
// the moment, and purchases only lower it: less than the amount unexplained now can
// only become less by later uploads.
func judgeBalance(p Purchase, e PurchaseEvidence, d PurchaseDecision, tac bool, rules Rules) PurchaseDecision {
	unexplained := p.Shadow - e.MAC1.Balance
	d.Evidence = "balance"
	switch {
	case p.Probed && (p.Incomplete || p.Unexplained <= unexplained):
		unexplained = p.Unexplained // the earlier touch says more
	case p.Incomplete: // a lost credit may hide the debit: this touch says nothing
		d.Outcome = Doubt
		if p.State == wallet.PurchaseSuspense {
			d.Outcome, d.Evidence = Present, "none" // and takes nothing out of people's hands
		}
		return d
	case (p.Overtaken || p.OldProbe && unexplained >= p.Amount) && !rules.TrustOldAnswer:
		// What the card paid after this answer would explain a debit away.
		d.Outcome, d.Code, d.Evidence, d.RenewProbe = Superseded, CodeSuperseded, "none", true
		return d
	default:
		d.Unexplained = &unexplained
	}
	switch {
	case unexplained >= p.Amount:
		d.Outcome = Doubt
		if rules.RefundOnBalance && !tac {
			d.Outcome = Refund
		}
	case tac || unexplained < 0 && p.ShadowKnown:
		d.Outcome, d.Cause, d.Alarm = Suspend, CauseBalance, true
	default:
		d.Outcome = NotTaken
	}
	return d
}

// DecideSum decides a purchase once the upload window has closed: by then whatever
// the card spent in shops is in the books, and what is still unexplained is this
// purchase or a matter for people. Two equal sums are one sum: that the card was not
// debited for something else is known because everything else was uploaded.
func DecideSum(p Purchase, rules Rules) PurchaseDecision {
	d := PurchaseDecision{Outcome: Suspend, Cause: CauseSum, Evidence: "none", Alarm: true}
	if p.State != wallet.PurchaseDoubtful && p.State != wallet.PurchaseAuthorised {
		return PurchaseDecision{Outcome: Present, Evidence: "none"}
	}
	if rules.RefundByNumber && p.State == wallet.PurchaseDoubtful && !p.NumberUploaded {
		return PurchaseDecision{Outcome: Refund, Evidence: "uploads"}
	}
	switch {
	case !p.Probed: // the card never came back: only people can weigh that
		d.Cause, d.Alarm = CauseAge, false
	case p.Unexplained < p.Amount && !p.TACSeen && (p.Unexplained >= 0 || !p.ShadowKnown):
		return PurchaseDecision{Outcome: NotTaken, Evidence: "uploads"}
	case p.Unexplained == p.Amount && p.UnexplainedLeast == p.Amount && p.ShadowKnown && !p.OtherDoubt:
		return PurchaseDecision{Outcome: Refund, Evidence: "uploads"}
	}
	return d
}
