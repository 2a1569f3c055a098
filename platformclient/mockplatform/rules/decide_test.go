package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
)

var (
	probeA = wallet.TerminalNumber{0xC1, 1}
	probeB = wallet.TerminalNumber{0xC1, 2}
)

// granted is an order of 50.00 at counter 7, proven as far as 7, balance 10.00.
func granted() Order {
	return Order{
		State: wallet.StateGranted, Attempt: 2, Amount: 5000, Seq: 7, Floor: 7, BalanceKnown: true, BalanceBefore: 1000,
		Probe: probeA, ProbeEpoch: 1, Epoch: 1, Retired: []wallet.TerminalNumber{probeB},
	}
}

// touch is a valid MAC1 of the payer over the live probe.
func touch(intent wallet.Intent, seq uint16, balance wallet.Fen) Evidence {
	return Evidence{
		Attempt: 2, Intent: intent, Payer: true, Counts: true,
		MAC1: &MAC1{Terminal: probeA, Valid: true, Seq: seq, Balance: balance},
	}
}

func TestDecide_Table(t *testing.T) {
	order := func(change func(*Order)) Order {
		o := granted()
		change(&o)
		return o
	}
	with := func(e Evidence, change func(*Evidence)) Evidence {
		if e.MAC1 != nil {
			mac1 := *e.MAC1
			e.MAC1 = &mac1
		}
		change(&e)
		return e
	}
	const settle, complete, cancel = wallet.IntentSettle, wallet.IntentComplete, wallet.IntentCancel
	tac := func(valid, prove bool) Evidence {
		return Evidence{Attempt: 2, Intent: settle, Payer: true, Counts: true, TAC: &TAC{Valid: valid, FromProve: prove}}
	}
	for name, row := range map[string]struct {
		order    Order
		evidence Evidence
		rules    Rules
		outcome  Outcome
		cause    Cause
		code     string
	}{
		"TAC of CREDIT":                   {order: granted(), evidence: tac(true, false), outcome: Load},
		"TAC of PROVE":                    {order: granted(), evidence: tac(true, true), outcome: Load},
		"wrong TAC of CREDIT":             {order: granted(), evidence: tac(false, false), outcome: Refuse, code: CodeWrongEvidence},
		"fifth wrong TAC":                 {order: order(func(o *Order) { o.Wrongs = 4 }), evidence: tac(false, false), outcome: Suspend, cause: CauseWrongEvidence, code: CodeWrongEvidence},
		"fifth wrong TAC of a stranger":   {order: order(func(o *Order) { o.Wrongs = 4 }), evidence: with(tac(false, false), func(e *Evidence) { e.Counts = false }), outcome: Refuse, code: CodeWrongEvidence},
		"wrong TAC of PROVE":              {order: order(func(o *Order) { o.Wrongs = 4 }), evidence: tac(false, true), outcome: Present},
		"wrong TAC of PROVE, counted":     {order: order(func(o *Order) { o.Wrongs = 4 }), evidence: tac(false, true), rules: Rules{CountProveStub: true}, outcome: Suspend, cause: CauseWrongEvidence, code: CodeWrongEvidence},
		"same counter, settle":            {order: granted(), evidence: touch(settle, 7, 1000), outcome: Keep},
		"same counter, lower balance":     {order: granted(), evidence: touch(cancel, 7, 900), outcome: Void},
		"same counter, complete":          {order: granted(), evidence: touch(complete, 7, 1000), outcome: Regrant},
		"same counter, cancel":            {order: granted(), evidence: touch(cancel, 7, 1000), outcome: Void},
		"complete by somebody else":       {order: granted(), evidence: with(touch(complete, 7, 1000), func(e *Evidence) { e.Payer = false }), outcome: Refuse, code: CodeNotPayer},
		"complete of a frozen payer":      {order: order(func(o *Order) { o.CompleteRefused = "X" }), evidence: touch(complete, 7, 1000), outcome: Refuse, code: "X"},
		"same counter, more on the card":  {order: granted(), evidence: touch(cancel, 7, 1001), outcome: Suspend, cause: CauseBalance},
		"the same, balance not looked at": {order: granted(), evidence: touch(cancel, 7, 1001), rules: Rules{IgnoreBalance: true}, outcome: Void},
		"advanced":                        {order: granted(), evidence: touch(cancel, 8, 6000), outcome: Load},
		"advanced, spent since":           {order: granted(), evidence: touch(cancel, 8, 20), outcome: Load},
		"advanced, too much on the card":  {order: granted(), evidence: touch(cancel, 8, 6001), outcome: Suspend, cause: CauseBalance},
		"advanced by two":                 {order: granted(), evidence: touch(settle, 9, 6000), outcome: Suspend, cause: CauseJump},
		"advanced by two, rule off":       {order: granted(), evidence: touch(settle, 9, 6000), rules: Rules{IgnoreJump: true}, outcome: Load},
		"advanced by two grants":          {order: order(func(o *Order) { o.Grants = 2 }), evidence: touch(settle, 9, 9000), outcome: Load},
		"below the grant":                 {order: granted(), evidence: touch(cancel, 6, 1000), outcome: Suspend, cause: CauseBelowGrant},
		"grant below the floor":           {order: order(func(o *Order) { o.Floor = 8 }), evidence: touch(settle, 8, 6000), outcome: Suspend, cause: CauseBelowFloor},
		"grant below the floor, rule off": {order: order(func(o *Order) { o.Floor = 8 }), evidence: touch(settle, 8, 6000), rules: Rules{IgnoreFloor: true}, outcome: Load},
		"another host loads":              {order: order(func(o *Order) { o.OtherHost = true }), evidence: touch(settle, 8, 6000), outcome: Suspend, cause: CauseOtherHost},
		"granted before a restore":        {order: order(func(o *Order) { o.GrantEpoch, o.Epoch, o.ProbeEpoch = 1, 2, 2 }), evidence: touch(settle, 8, 6000), outcome: Suspend, cause: CauseRestored},
		"the same, not loaded":            {order: order(func(o *Order) { o.GrantEpoch, o.Epoch, o.ProbeEpoch = 1, 2, 2 }), evidence: touch(cancel, 7, 1000), outcome: Void},
		"the same, counter believed":      {order: order(func(o *Order) { o.GrantEpoch, o.Epoch, o.ProbeEpoch = 1, 2, 2 }), evidence: touch(settle, 8, 6000), rules: Rules{CounterAcrossEpoch: true}, outcome: Load},
		"shared, balance lower":           {order: order(func(o *Order) { o.SharedCounter = true }), evidence: touch(settle, 8, 900), outcome: Suspend, cause: CauseSharedCounter},
		"shared, balance higher":          {order: order(func(o *Order) { o.SharedCounter = true }), evidence: touch(settle, 9, 5900), outcome: Load},
		"shared, rule off":                {order: order(func(o *Order) { o.SharedCounter = true }), evidence: touch(settle, 8, 900), rules: Rules{CounterProvesShared: true}, outcome: Load},
		"shared, same counter":            {order: order(func(o *Order) { o.SharedCounter = true }), evidence: touch(cancel, 7, 1000), outcome: Void},
		"repeated random":                 {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.MAC1.RepeatedRandom = true }), outcome: Suspend, cause: CauseRepeatedRandom},
		"forged MAC1":                     {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.MAC1.Valid = false }), outcome: Refuse, code: CodeWrongEvidence},
		"former attempt":                  {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.Attempt = 1 }), outcome: Superseded, code: CodeSuperseded},
		"former probe":                    {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.MAC1.Terminal = probeB }), outcome: Superseded, code: CodeSuperseded},
		"former probe, rule off":          {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.MAC1.Terminal = probeB }), rules: Rules{KeepProbesAcrossGrant: true}, outcome: Void},
		"any number, rule off":            {order: granted(), evidence: with(touch(cancel, 7, 1000), func(e *Evidence) { e.MAC1.Terminal = wallet.TerminalNumber{9} }), rules: Rules{AnyMAC1: true}, outcome: Void},
		"probe of a former epoch":         {order: order(func(o *Order) { o.Epoch = 2 }), evidence: touch(cancel, 7, 1000), outcome: Superseded, code: CodeSuperseded},
		"the same, rule off":              {order: order(func(o *Order) { o.Epoch = 2 }), evidence: touch(cancel, 7, 1000), rules: Rules{KeepProbesAcrossEpoch: true}, outcome: Void},
		"a bare no":                       {order: granted(), evidence: Evidence{Intent: cancel, Payer: true, SaysNo: true}, outcome: Present},
		"a bare no, believed":             {order: granted(), evidence: Evidence{Intent: cancel, Payer: true, SaysNo: true}, rules: Rules{TrustClient: true}, outcome: Void},
		"LOADED is final":                 {order: order(func(o *Order) { o.State = wallet.StateLoaded }), evidence: touch(cancel, 7, 1000), outcome: Present},
		"VOIDED is final":                 {order: order(func(o *Order) { o.State = wallet.StateVoided }), evidence: touch(complete, 7, 1000), outcome: Present},
		"TAC after VOIDED":                {order: order(func(o *Order) { o.State = wallet.StateVoided }), evidence: tac(true, false), outcome: Suspend, cause: CauseValueCreated},
		"wrong TAC after VOIDED":          {order: order(func(o *Order) { o.State = wallet.StateVoided }), evidence: tac(false, false), outcome: Present},
		"SUSPENSE by age, cancel":         {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseAge }), evidence: touch(cancel, 7, 1000), outcome: Void},
		"SUSPENSE by age, complete":       {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseAge }), evidence: touch(complete, 7, 1000), outcome: Refuse, code: CodeInSuspense},
		"SUSPENSE by jump, MAC1":          {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseJump }), evidence: touch(cancel, 7, 1000), outcome: Present},
		"SUSPENSE by jump, TAC":           {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseJump }), evidence: tac(true, false), outcome: Load},
		"SUSPENSE by guesses, TAC":        {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseWrongEvidence }), evidence: tac(true, false), outcome: Present},
		"SUSPENSE by value, TAC":          {order: order(func(o *Order) { o.State, o.Cause = wallet.StateSuspense, CauseValueCreated }), evidence: tac(true, false), outcome: Present},
	} {
		t.Run(name, func(t *testing.T) {
			decision := Decide(row.order, row.evidence, row.rules)
			require.Equal(t, row.outcome, decision.Outcome)
			require.Equal(t, row.cause, decision.Cause)
			require.Equal(t, row.code, decision.Code)
		})
	}
}

// Whatever arrives, money moves by what the card authenticated and by nothing else.
func TestDecide_MovesMoneyByProofOnly(t *testing.T) {
	states := []wallet.LoadState{wallet.StateReceived, wallet.StateGranted, wallet.StateLoaded, wallet.StateVoided, wallet.StateDeclined, wallet.StateSuspense}
	causes := []Cause{CauseAge, CauseWrongEvidence, CauseBelowGrant, CauseJump, CauseValueCreated, CauseRepeatedRandom}
	rapid.Check(t, func(r *rapid.T) {
		order := granted()
		order.State = rapid.SampledFrom(states).Draw(r, "state")
		if order.State == wallet.StateSuspense {
			order.Cause = rapid.SampledFrom(causes).Draw(r, "cause")
		}
		order.Epoch = rapid.IntRange(1, 2).Draw(r, "epoch")
		order.Floor = rapid.Uint16Range(6, 8).Draw(r, "floor")
		order.SharedCounter = rapid.Bool().Draw(r, "shared")
		order.Wrongs = rapid.IntRange(0, 5).Draw(r, "wrongs")
		evidence := Evidence{
			Attempt: rapid.IntRange(1, 3).Draw(r, "attempt"), Payer: rapid.Bool().Draw(r, "payer"), Counts: rapid.Bool().Draw(r, "counts"),
			SaysNo: rapid.Bool().Draw(r, "no"),
			Intent: rapid.SampledFrom([]wallet.Intent{wallet.IntentSettle, wallet.IntentComplete, wallet.IntentCancel}).Draw(r, "intent"),
		}
		if rapid.Bool().Draw(r, "has TAC") {
			evidence.TAC = &TAC{Valid: rapid.Bool().Draw(r, "TAC"), FromProve: rapid.Bool().Draw(r, "prove")}
		}
		if rapid.Bool().Draw(r, "has MAC1") {
			evidence.MAC1 = &MAC1{
				Terminal: rapid.SampledFrom([]wallet.TerminalNumber{probeA, probeB}).Draw(r, "terminal"), Valid: rapid.Bool().Draw(r, "MAC1"),
				Seq: rapid.Uint16Range(5, 9).Draw(r, "seq"), Balance: wallet.Fen(rapid.IntRange(0, 7000).Draw(r, "balance")),
				RepeatedRandom: rapid.Bool().Draw(r, "repeated"),
			}
		}
		decision := Decide(order, evidence, Rules{})
		validTAC := evidence.TAC != nil && evidence.TAC.Valid
		probe := evidence.MAC1 != nil && evidence.MAC1.Valid && !evidence.MAC1.RepeatedRandom && evidence.MAC1.Terminal == order.Probe &&
			evidence.Attempt == order.Attempt && order.Epoch == order.ProbeEpoch
		open := order.State == wallet.StateGranted || order.State == wallet.StateSuspense
		switch decision.Outcome {
		case Load:
			require.True(r, open && (validTAC || probe && evidence.MAC1.Seq > order.Seq))
		case Void, Regrant:
			require.True(r, open && !validTAC && probe && evidence.MAC1.Seq == order.Seq)
			require.Equal(r, decision.Outcome == Void, evidence.Intent == wallet.IntentCancel)
			require.NotEqual(r, wallet.IntentSettle, evidence.Intent, "settle moves nothing but LOADED")
			if decision.Outcome == Regrant {
				require.True(r, evidence.Payer)
			}
		case Suspend:
			require.NotEmpty(r, decision.Cause)
			if decision.Cause == CauseWrongEvidence {
				require.True(r, evidence.Counts)
			}
		}
		if decision.RaiseFloor > 0 {
			require.True(r, validTAC || probe, "nothing unproven raises the floor")
		}
	})
}

func TestMayOpen(t *testing.T) {
	for name, row := range map[string]struct {
		card  CardFacts
		init  Init
		rules Rules
		code  string
	}{
		"at the floor":         {card: CardFacts{Floor: 7}, init: Init{Seq: 7}},
		"below the floor":      {card: CardFacts{Floor: 7}, init: Init{Seq: 6}, code: CodeStale},
		"below, rule off":      {card: CardFacts{Floor: 7}, init: Init{Seq: 6}, rules: Rules{IgnoreFloor: true}},
		"last but one":         {init: Init{Seq: LastSeq - 1}},
		"counter used up":      {init: Init{Seq: LastSeq}, code: CodeExhausted},
		"an order is open":     {card: CardFacts{OpenOrder: true}, code: CodePending},
		"stale beside open":    {card: CardFacts{OpenOrder: true, Floor: 7}, init: Init{Seq: 6}, code: CodeStale},
		"repeated random":      {init: Init{RepeatedRandom: true}, code: CodeCardType},
		"repeated, rule off":   {init: Init{RepeatedRandom: true}, rules: Rules{AllowRepeatedRandom: true}},
		"refused kind of card": {card: CardFacts{Refused: true}, code: CodeCardType},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, row.code, MayOpen(row.card, row.init, row.rules)) })
	}
}
