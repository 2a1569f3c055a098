// Package rules holds the decisions of the platform about money on cards as pure
// functions: facts in, decision out, no storage, no clock, no cryptography. The
// live handlers call them inside their transaction, and exhaustive searches over
// all interleavings call the very same functions (protocol §2.5, §2.7).
package rules

import (
	"slices"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Rules switches single rules off, so that a search can show what each of them is
// there for. The zero value is the platform's own set: every rule in force.
type Rules struct {
	TrustClient           bool // a client's bare "not loaded" counts as proof
	AnyMAC1               bool // a MAC1 over any terminal number counts, not only over the live probe
	KeepProbesAcrossEpoch bool // probes of before a restore stay valid
	CounterAcrossEpoch    bool // "advanced" proves a load of before a restore, although a lost one may have moved the counter
	KeepProbesAcrossGrant bool // probes of earlier attempts stay valid
	IgnoreFloor           bool // a load may open, and "advanced" may prove, below the proven counter
	CounterProvesShared   bool // "advanced" proves a load although purchases move the counter too
	IgnoreJump            bool // a counter advanced by more than the grants still proves
	IgnoreBalance         bool // the authenticated balance is not compared with the expected one
	AllowRepeatedRandom   bool // a card that repeats its random is believed
	CountProveStub        bool // a wrong TAC from GET TRANSACTION PROVE counts as wrong evidence
	RefundOnBalance       bool // a purchase is refunded on a lower balance when the client has no TAC
	RefundByNumber        bool // a purchase is refunded when no upload carries its offline number
	PayWithoutMAC2        bool // a TAC alone pays a purchase
	TrustOldAnswer        bool // a balance over a probe is taken for that of the moment when it arrives
}

// MaxWrong is how often wrong MAC1 or TAC may arrive for one order in its life.
const MaxWrong = 5

// Cause says why an order is in SUSPENSE. It decides what may still resolve it.
type Cause string

// The causes of SUSPENSE.
const (
	CauseAge            Cause = "AGE"            // 55 days without evidence; any evidence resolves it
	CauseWrongEvidence  Cause = "WRONG_EVIDENCE" // five wrong MAC1 or TAC; staff only, since guesses must end
	CauseBelowGrant     Cause = "COUNTER_BELOW"  // counter below that of the grant: wrong card or clone
	CauseBelowFloor     Cause = "GRANT_BELOW_FLOOR"
	CauseJump           Cause = "COUNTER_JUMP"           // advanced by more than the grants
	CauseSharedCounter  Cause = "SHARED_COUNTER"         // advanced, and purchases may have done it
	CauseOtherHost      Cause = "OTHER_HOST"             // advanced, and another host may have done it
	CauseBalance        Cause = "BALANCE"                // authenticated balance contradicts the counter
	CauseRestored       Cause = "GRANTED_BEFORE_RESTORE" // advanced, and a load that the restore lost may have done it
	CauseRepeatedRandom Cause = "REPEATED_RANDOM"        // the card's old MAC2 can live again
	CauseValueCreated   Cause = "VALUE_CREATED"          // valid TAC after VOIDED; staff only
)

// Order is what the platform knows of an order when evidence arrives.
type Order struct {
	State   wallet.LoadState
	Cause   Cause // of SUSPENSE
	Attempt int
	Amount  wallet.Fen
	Seq     uint16 // online counter of the INITIALIZE FOR LOAD that was granted
	Floor   uint16 // counter that the card had proven when that was granted

	BalanceKnown  bool       // false for an order rebuilt from its signed grant
	BalanceBefore wallet.Fen // authenticated by the granted MAC1

	Probe      wallet.TerminalNumber   // the live probe, bound to (order, attempt)
	ProbeEpoch int                     // epoch in which it was drawn
	Retired    []wallet.TerminalNumber // probes of earlier attempts; only KeepProbesAcrossGrant looks at them
	GrantEpoch int                     // epoch in which the live attempt's MAC2 was given; 0 reads as the present one
	Epoch      int                     // the platform's present epoch

	Grants        int // loads that this platform may have caused since Seq; 0 reads as 1
	SharedCounter bool
	OtherHost     bool // another host loads this card as well
	Wrongs        int  // wrong evidence counted so far

	CompleteRefused string // code why the payer may not have a new grant now (frozen account, listed card)
}

// TAC is a transaction authentication code as it was checked. From CREDIT FOR LOAD
// or from GET TRANSACTION PROVE, whose answer on some cards is garbage.
type TAC struct {
	Valid     bool
	FromProve bool
}

// MAC1 is an INITIALIZE FOR LOAD answer as it was checked.
type MAC1 struct {
	Terminal       wallet.TerminalNumber
	Valid          bool
	Seq            uint16
	Balance        wallet.Fen
	RepeatedRandom bool // the same random under the same counter in another answer of this card
}

// Evidence is one contact with the card, as somebody sent it.
type Evidence struct {
	Attempt int
	Intent  wallet.Intent
	Payer   bool // the sender pays this order
	Counts  bool // wrong evidence of this sender counts against the order (payer, holder or grant)
	TAC     *TAC
	MAC1    *MAC1
	SaysNo  bool // the client merely says that the card was not loaded
}

// Outcome is what happens to the order.
type Outcome string

// The outcomes.
const (
	Present    Outcome = "present"    // nothing changes; the present state is the answer
	Keep       Outcome = "keep"       // GRANTED stays, the card proves that it was not loaded
	Load       Outcome = "load"       // → LOADED
	Void       Outcome = "void"       // → VOIDED
	Regrant    Outcome = "regrant"    // → GRANTED, attempt + 1, for this very INIT
	Suspend    Outcome = "suspend"    // → SUSPENSE
	Superseded Outcome = "superseded" // this attempt or probe is not the live one
	Refuse     Outcome = "refuse"     // nothing changes; Code says why
)

// Codes that Decide and MayOpen give; one list with the interface.
const (
	CodeSuperseded    = api.CodeAttemptSuperseded
	CodeNotPayer      = api.CodeNotPayer
	CodeWrongEvidence = api.CodeCardEvidence
	CodeInSuspense    = api.CodeDeclined
	CodeStale         = api.CodeStaleCardState
	CodeExhausted     = api.CodeCardCounter
	CodePending       = api.CodePendingLoad
	CodeCardType      = api.CodeCardTypeRefused
)

// Decision is what Decide found.
type Decision struct {
	Outcome  Outcome
	Code     string
	Cause    Cause  // of Suspend
	Evidence string // tac, prove, counter-same, counter-advanced, balance, none
	OnCard   *bool  // what the card proves, where it proves something
	Alarm    bool   // people must look at it

	CountWrong bool   // one more wrong evidence against the order
	RaiseFloor uint16 // the card has proven at least this counter; 0: nothing proven
	RefuseCard bool   // this card may not be loaded any more
}

// Decide says what evidence does to an order. It never moves anything on a word of
// the client, on a timer, or on a "no" that the card did not authenticate:
//
//   - a valid TAC proves LOADED, in whichever attempt;
//   - a valid MAC1 over the live probe of this attempt and epoch proves "not loaded"
//     when the counter is that of the grant, and LOADED when it has advanced by one
//     and nothing but this platform's loads, none of them lost by a restore, moves it;
//   - everything that contradicts goes to SUSPENSE.
func Decide(order Order, evidence Evidence, rules Rules) Decision {
	validTAC := evidence.TAC != nil && evidence.TAC.Valid
	switch order.State {
	case wallet.StateGranted:
	case wallet.StateSuspense:
		if order.Cause == CauseValueCreated || order.Cause == CauseWrongEvidence {
			return Decision{Outcome: Present, Evidence: "none"}
		}
	case wallet.StateVoided:
		if validTAC {
			return Decision{Outcome: Suspend, Cause: CauseValueCreated, Evidence: "tac", OnCard: proven(true), Alarm: true, RaiseFloor: order.Seq + 1}
		}
		return Decision{Outcome: Present, Evidence: "none"}
	default: // LOADED and DECLINED are final, RECEIVED holds nothing
		return Decision{Outcome: Present, Evidence: "none"}
	}
	if validTAC {
		word := "tac"
		if evidence.TAC.FromProve {
			word = "prove"
		}
		return Decision{Outcome: Load, Evidence: word, OnCard: proven(true), RaiseFloor: order.Seq + 1}
	}
	if evidence.TAC != nil && (!evidence.TAC.FromProve || rules.CountProveStub) {
		return wrong(order, evidence)
	}
	if evidence.MAC1 == nil {
		if rules.TrustClient && evidence.SaysNo {
			return notLoaded(order, evidence, order.Seq)
		}
		return Decision{Outcome: Present, Evidence: "none"}
	}
	return decideMAC1(order, evidence, rules)
}

// decideMAC1 judges an INITIALIZE FOR LOAD answer over the probe.
func decideMAC1(order Order, evidence Evidence, rules Rules) Decision {
	mac1 := evidence.MAC1
	if !liveProbe(order, evidence, rules) {
		return Decision{Outcome: Superseded, Code: CodeSuperseded, Evidence: "none"}
	}
	if !mac1.Valid {
		return wrong(order, evidence)
	}
	if mac1.RepeatedRandom && !rules.AllowRepeatedRandom {
		return Decision{Outcome: Suspend, Cause: CauseRepeatedRandom, Evidence: "none", Alarm: true, RefuseCard: true}
	}
	if order.State == wallet.StateSuspense && order.Cause != CauseAge {
		return Decision{Outcome: Present, Evidence: "none", RaiseFloor: mac1.Seq}
	}
	switch {
	case mac1.Seq < order.Seq:
		return suspend(CauseBelowGrant, mac1.Seq, true)
	case mac1.Seq > order.Seq:
		return advanced(order, *mac1, rules)
	case order.BalanceKnown && mac1.Balance > order.BalanceBefore && !rules.IgnoreBalance:
		// Purchases only lower the balance and every load moves the counter.
		return suspend(CauseBalance, mac1.Seq, true)
	default:
		return notLoaded(order, evidence, mac1.Seq)
	}
}

// liveProbe tells whether the answer was made over the one number that did not
// exist before MAC2 did and that died with nothing since.
func liveProbe(order Order, evidence Evidence, rules Rules) bool {
	if rules.AnyMAC1 {
		return true
	}
	if rules.KeepProbesAcrossGrant && slices.Contains(order.Retired, evidence.MAC1.Terminal) {
		return true
	}
	if order.ProbeEpoch != order.Epoch && !rules.KeepProbesAcrossEpoch {
		return false
	}
	return evidence.Attempt == order.Attempt && evidence.MAC1.Terminal == order.Probe
}

// advanced judges a counter above that of the grant.
func advanced(order Order, mac1 MAC1, rules Rules) Decision {
	if order.GrantEpoch != 0 && order.GrantEpoch != order.Epoch && !rules.CounterAcrossEpoch {
		// In the window that the restore lost, this order may have been voided and
		// another one of the card loaded: only a TAC tells which of them it was.
		return suspend(CauseRestored, mac1.Seq, false)
	}
	if order.SharedCounter && !rules.CounterProvesShared {
		if order.BalanceKnown && mac1.Balance > order.BalanceBefore {
			return Decision{Outcome: Load, Evidence: "balance", OnCard: proven(true), RaiseFloor: mac1.Seq}
		}
		return suspend(CauseSharedCounter, mac1.Seq, false)
	}
	if order.OtherHost {
		return suspend(CauseOtherHost, mac1.Seq, false)
	}
	if order.Seq < order.Floor && !rules.IgnoreFloor {
		return suspend(CauseBelowFloor, mac1.Seq, false)
	}
	if int(mac1.Seq-order.Seq) > max(order.Grants, 1) && !rules.IgnoreJump {
		return suspend(CauseJump, mac1.Seq, true)
	}
	if order.BalanceKnown && order.Grants <= 1 && mac1.Balance > order.BalanceBefore+order.Amount && !rules.IgnoreBalance {
		return suspend(CauseBalance, mac1.Seq, true)
	}
	return Decision{Outcome: Load, Evidence: "counter-advanced", OnCard: proven(true), RaiseFloor: mac1.Seq}
}

// notLoaded carries out the intent where the card proves that it was not loaded.
func notLoaded(order Order, evidence Evidence, seq uint16) Decision {
	decision := Decision{Outcome: Keep, Evidence: "counter-same", OnCard: proven(false), RaiseFloor: seq}
	switch evidence.Intent {
	case wallet.IntentCancel:
		decision.Outcome = Void
	case wallet.IntentComplete:
		switch {
		case !evidence.Payer:
			decision.Outcome, decision.Code = Refuse, CodeNotPayer
		case order.State == wallet.StateSuspense:
			decision.Outcome, decision.Code = Refuse, CodeInSuspense
		case order.CompleteRefused != "":
			decision.Outcome, decision.Code = Refuse, order.CompleteRefused
		default:
			decision.Outcome = Regrant
		}
	}
	return decision
}

// wrong judges evidence whose code does not verify. Strangers cannot push an order
// of somebody else into SUSPENSE.
func wrong(order Order, evidence Evidence) Decision {
	decision := Decision{Outcome: Refuse, Code: CodeWrongEvidence, Evidence: "none"}
	if !evidence.Counts {
		return decision
	}
	decision.CountWrong = true
	if order.Wrongs+1 >= MaxWrong {
		decision.Outcome, decision.Cause, decision.Alarm = Suspend, CauseWrongEvidence, true
	}
	return decision
}

func suspend(cause Cause, seq uint16, alarm bool) Decision {
	return Decision{Outcome: Suspend, Cause: cause, Evidence: "none", Alarm: alarm, RaiseFloor: seq}
}

func proven(loaded bool) *bool { return &loaded }
