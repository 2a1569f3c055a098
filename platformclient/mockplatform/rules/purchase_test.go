package rules

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// openPurchase is an authorised purchase of 100 on a card that held 1000.
func openPurchase(edit ...func(*Purchase)) Purchase {
	p := Purchase{
		State: wallet.PurchaseAuthorised, Amount: 100, Probe: wallet.TerminalNumber{1}, ProbeEpoch: 3, Epoch: 3, Floor: 7,
		Shadow: 1000, ShadowKnown: true,
	}
	for _, one := range edit {
		one(&p)
	}
	return p
}

// shows is an answer over the probe with this balance.
func shows(balance wallet.Fen, edit ...func(*MAC1)) *MAC1 {
	m := &MAC1{Terminal: wallet.TerminalNumber{1}, Valid: true, Seq: 7, Balance: balance}
	for _, one := range edit {
		one(m)
	}
	return m
}

func TestDecidePurchase(t *testing.T) {
	tac, mac2, prove := &TAC{Valid: true}, &MAC2{Valid: true}, &TAC{Valid: true, FromProve: true}
	for name, row := range map[string]struct {
		purchase Purchase
		evidence PurchaseEvidence
		outcome  Outcome
		cause    Cause
		code     string
	}{
		"nothing":                   {openPurchase(), PurchaseEvidence{}, Present, "", ""},
		"TAC and MAC2":              {openPurchase(), PurchaseEvidence{TAC: tac, MAC2: mac2}, Pay, "", ""},
		"TAC and MAC2 from PROVE":   {openPurchase(), PurchaseEvidence{TAC: prove, MAC2: mac2}, Pay, "", ""},
		"TAC alone":                 {openPurchase(), PurchaseEvidence{TAC: tac}, Doubt, "", ""},
		"MAC2 alone":                {openPurchase(), PurchaseEvidence{MAC2: mac2}, Present, "", ""},
		"PROVE without MAC2":        {openPurchase(), PurchaseEvidence{TAC: prove, MAC2: &MAC2{}}, Doubt, "", ""},
		"PROVE is garbage":          {openPurchase(), PurchaseEvidence{TAC: &TAC{FromProve: true}, MAC2: &MAC2{}}, Present, "", ""},
		"late":                      {openPurchase(func(p *Purchase) { p.Lapsed = true }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Refund, "", ""},
		"MAC2 after TAC":            {openPurchase(func(p *Purchase) { p.TACSeen = true }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Pay, "", ""},
		"balance as before":         {openPurchase(), PurchaseEvidence{MAC1: shows(1000)}, NotTaken, "", ""},
		"a little less":             {openPurchase(), PurchaseEvidence{MAC1: shows(901)}, NotTaken, "", ""},
		"less by the amount":        {openPurchase(), PurchaseEvidence{MAC1: shows(900)}, Doubt, "", ""},
		"much less":                 {openPurchase(), PurchaseEvidence{MAC1: shows(10)}, Doubt, "", ""},
		"more than the books":       {openPurchase(), PurchaseEvidence{MAC1: shows(1001)}, Suspend, CauseBalance, ""},
		"balance contradicts a TAC": {openPurchase(), PurchaseEvidence{TAC: prove, MAC1: shows(1000)}, Suspend, CauseBalance, ""},
		"contradicts an old TAC":    {openPurchase(func(p *Purchase) { p.TACSeen = true }), PurchaseEvidence{MAC1: shows(1000)}, Suspend, CauseBalance, ""},
		"a lost load may hide it":   {openPurchase(func(p *Purchase) { p.Incomplete = true }), PurchaseEvidence{MAC1: shows(1000)}, Doubt, "", ""},
		"a lost load may hide it, and people look at it": {
			openPurchase(func(p *Purchase) { p.Incomplete, p.State, p.Cause = true, wallet.PurchaseSuspense, CauseAge }),
			PurchaseEvidence{MAC1: shows(1000)}, Present, "", "",
		},
		"an open load may hide it": {openPurchase(func(p *Purchase) { p.OpenLoad = true }), PurchaseEvidence{MAC1: shows(1000)}, Refuse, "", api.CodePendingLoad},
		"an open load hides no proof": {
			openPurchase(func(p *Purchase) { p.OpenLoad = true }), PurchaseEvidence{TAC: tac, MAC2: mac2, MAC1: shows(1000)}, Pay, "", "",
		},
		"another number": {
			openPurchase(), PurchaseEvidence{MAC1: shows(1000, func(m *MAC1) { m.Terminal[0] = 2 })}, Superseded, "", CodeSuperseded,
		},
		"probe of another epoch": {
			openPurchase(func(p *Purchase) { p.ProbeEpoch = 2 }), PurchaseEvidence{MAC1: shows(1000)}, Superseded, "", CodeSuperseded,
		},
		"wrong MAC1": {openPurchase(), PurchaseEvidence{MAC1: shows(1000, func(m *MAC1) { m.Valid = false })}, Refuse, "", CodeWrongEvidence},
		"repeated random": {
			openPurchase(), PurchaseEvidence{MAC1: shows(1000, func(m *MAC1) { m.RepeatedRandom = true })}, Suspend, CauseRepeatedRandom, "",
		},
		"below the floor": {
			openPurchase(), PurchaseEvidence{MAC1: shows(1000, func(m *MAC1) { m.Seq = 6 })}, Superseded, "", CodeSuperseded,
		},
		"overtaken by an upload":         {openPurchase(func(p *Purchase) { p.Overtaken = true }), PurchaseEvidence{MAC1: shows(1000)}, Superseded, "", CodeSuperseded},
		"in doubt over an old probe":     {openPurchase(func(p *Purchase) { p.OldProbe = true }), PurchaseEvidence{MAC1: shows(900)}, Superseded, "", CodeSuperseded},
		"not debited, over an old probe": {openPurchase(func(p *Purchase) { p.OldProbe = true }), PurchaseEvidence{MAC1: shows(901)}, NotTaken, "", ""},
		"wrong TAC":                      {openPurchase(), PurchaseEvidence{TAC: &TAC{}, MAC2: mac2}, Refuse, "", CodeWrongEvidence},
		"TAC, wrong MAC2":                {openPurchase(), PurchaseEvidence{TAC: tac, MAC2: &MAC2{}}, Doubt, "", CodeWrongEvidence},
		"the fifth wrong":                {openPurchase(func(p *Purchase) { p.Wrongs = 4 }), PurchaseEvidence{TAC: &TAC{}, Counts: true}, Suspend, CauseWrongEvidence, CodeWrongEvidence},
		"of a stranger":                  {openPurchase(func(p *Purchase) { p.Wrongs = 4 }), PurchaseEvidence{TAC: &TAC{}}, Refuse, "", CodeWrongEvidence},
		"earlier says more": {
			openPurchase(func(p *Purchase) { p.State, p.Probed, p.Unexplained = wallet.PurchaseDoubtful, true, 60 }),
			PurchaseEvidence{MAC1: shows(10)}, NotTaken, "", "",
		},
		"unload, proof alone":     {openPurchase(func(p *Purchase) { p.Unload = true }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Keep, "", ""},
		"unload, with balance":    {openPurchase(func(p *Purchase) { p.Unload = true }), PurchaseEvidence{TAC: tac, MAC2: mac2, MAC1: shows(900)}, Pay, "", ""},
		"unload, balance is high": {openPurchase(func(p *Purchase) { p.Unload = true }), PurchaseEvidence{TAC: tac, MAC2: mac2, MAC1: shows(901)}, Suspend, CauseBalance, ""},
		"unload, other number": {
			openPurchase(func(p *Purchase) { p.Unload = true }),
			PurchaseEvidence{TAC: tac, MAC2: mac2, MAC1: shows(900, func(m *MAC1) { m.Terminal[0] = 2 })}, Superseded, "", CodeSuperseded,
		},
		"unload, late":           {openPurchase(func(p *Purchase) { p.Unload, p.Lapsed = true, true }), PurchaseEvidence{TAC: tac, MAC2: mac2, MAC1: shows(900)}, Pay, "", ""},
		"paid":                   {openPurchase(func(p *Purchase) { p.State = wallet.PurchasePaid }), PurchaseEvidence{MAC1: shows(1000)}, Present, "", ""},
		"refunded":               {openPurchase(func(p *Purchase) { p.State = wallet.PurchaseRefunded }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Present, "", ""},
		"not taken, late TAC":    {openPurchase(func(p *Purchase) { p.State = wallet.PurchaseNotTaken }), PurchaseEvidence{TAC: tac}, Suspend, CauseLateTAC, ""},
		"not taken, nothing new": {openPurchase(func(p *Purchase) { p.State = wallet.PurchaseNotTaken }), PurchaseEvidence{TAC: &TAC{}}, Present, "", ""},
		"late TAC is for people": {
			openPurchase(func(p *Purchase) { p.State, p.Cause = wallet.PurchaseSuspense, CauseLateTAC }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Present, "", "",
		},
		"sum is for people, or for proof": {
			openPurchase(func(p *Purchase) { p.State, p.Cause = wallet.PurchaseSuspense, CauseSum }), PurchaseEvidence{MAC1: shows(1000)}, Present, "", "",
		},
		"proof ends SUSPENSE": {
			openPurchase(func(p *Purchase) { p.State, p.Cause = wallet.PurchaseSuspense, CauseSum }), PurchaseEvidence{TAC: tac, MAC2: mac2}, Pay, "", "",
		},
		"an aged one may be touched": {
			openPurchase(func(p *Purchase) { p.State, p.Cause = wallet.PurchaseSuspense, CauseAge }), PurchaseEvidence{MAC1: shows(1000)}, NotTaken, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := DecidePurchase(row.purchase, row.evidence, Rules{})
			require.Equal(t, row.outcome, d.Outcome)
			require.Equal(t, row.cause, d.Cause)
			require.Equal(t, row.code, d.Code)
			require.Equal(t, d.Outcome == Suspend, d.Alarm)
		})
	}
}

func TestDecideSum(t *testing.T) {
	doubt := func(edit func(*Purchase)) Purchase {
		return openPurchase(func(p *Purchase) {
			p.State, p.Probed, p.Unexplained, p.UnexplainedLeast = wallet.PurchaseDoubtful, true, 100, 100
		}, edit)
	}
	for name, row := range map[string]struct {
		purchase Purchase
		outcome  Outcome
		cause    Cause
	}{
		"the amount":            {doubt(func(*Purchase) {}), Refund, ""},
		"the amount, and a TAC": {doubt(func(p *Purchase) { p.TACSeen = true }), Refund, ""},
		"perhaps less":          {doubt(func(p *Purchase) { p.UnexplainedLeast = 60 }), Suspend, CauseSum},
		"perhaps the amount":    {doubt(func(p *Purchase) { p.Unexplained = 140 }), Suspend, CauseSum},
		"less":                  {doubt(func(p *Purchase) { p.Unexplained = 99 }), NotTaken, ""},
		"nothing":               {doubt(func(p *Purchase) { p.Unexplained = 0 }), NotTaken, ""},
		"less, but a TAC":       {doubt(func(p *Purchase) { p.Unexplained, p.TACSeen = 99, true }), Suspend, CauseSum},
		"more":                  {doubt(func(p *Purchase) { p.Unexplained = 101 }), Suspend, CauseSum},
		"less than nothing":     {doubt(func(p *Purchase) { p.Unexplained = -1 }), Suspend, CauseSum},
		"two missing sums":      {doubt(func(p *Purchase) { p.OtherDoubt = true }), Suspend, CauseSum},
		"only the card says so": {doubt(func(p *Purchase) { p.ShadowKnown = false }), Suspend, CauseSum},
		"never came back":       {doubt(func(p *Purchase) { p.Probed = false }), Suspend, CauseAge},
		"paid":                  {doubt(func(p *Purchase) { p.State = wallet.PurchasePaid }), Present, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := DecideSum(row.purchase, Rules{})
			require.Equal(t, row.outcome, d.Outcome)
			require.Equal(t, row.cause, d.Cause)
		})
	}
}
