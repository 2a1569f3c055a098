package rules

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// The model of protocol §2.5, purchase rows: one card, one online purchase of one
// unit, one purchase of the same amount in a shop. The customer owns the card and
// the client: asks the card whatever can be asked, keeps every answer and sends it
// whenever it suits, or never. Codes cannot be forged. The search goes through all
// interleavings, and every decision is that of DecidePurchase and DecideSum, as the
// live handlers call them.

// modelState is one world; it is comparable, so that none is visited twice.
type modelState struct {
	// The card.
	balance  int8
	session  bool // INITIALIZE FOR PURCHASE is answered and nothing has ended it
	debited  bool
	shop     bool  // the shop's purchase was made
	shopTell int8  // number that the shop will write on its upload
	recorded uint8 // balances in answers over the probe
	early    uint8 // the same over numbers of the customer's own choice

	// What the customer claimed, and did.
	claimed int8 // offline number of INITIALIZE FOR PURCHASE as it was sent
	delayed bool // an answer of the card was kept back while the card paid in a shop

	// The platform.
	state      wallet.PurchaseStateName
	cause      Cause
	tac, mac2  bool
	lapsed     bool
	probed     bool
	unexpl     int8
	shopBefore bool // the shop's purchase is older than the authenticated balance
	uploaded   bool
	uploadedIn bool // the upload was in the books when the balance was authenticated
	closed     bool
	paid       bool
	refunded   bool
}

const (
	modelStart  = 3
	modelAmount = 1
)

var modelProbe = wallet.TerminalNumber{0xC1, 1}

// model is a variant of the rules and of the merchant.
type model struct {
	rules     Rules
	anyNumber bool // the shop writes any number on its upload
}

// facts are what the platform would read from its database.
func (m model) facts(s modelState) Purchase {
	shadow := modelStart
	if s.uploaded {
		shadow--
	}
	if s.paid || s.refunded {
		shadow--
	}
	p := Purchase{
		State: s.state, Cause: s.cause, Amount: modelAmount, Lapsed: s.lapsed, Probe: modelProbe, ProbeEpoch: 1, Epoch: 1,
		TACSeen: s.tac, MAC2Seen: s.mac2, Shadow: wallet.Fen(shadow), ShadowKnown: true, Probed: s.probed,
		Unexplained: wallet.Fen(s.unexpl), UnexplainedLeast: wallet.Fen(s.unexpl), NumberUploaded: s.uploaded && s.shopTell == s.claimed,
	}
	if s.probed && s.uploaded && !s.uploadedIn && s.shopBefore {
		p.Unexplained--
		p.UnexplainedLeast--
	}
	return p
}

// contact sends evidence and carries the decision out, as debiting does.
func (m model) contact(s modelState, e PurchaseEvidence) modelState {
	e.Counts = true
	d := DecidePurchase(m.facts(s), e, m.rules)
	s.tac, s.mac2 = s.tac || d.KeepTAC, s.mac2 || d.KeepMAC2
	if d.Unexplained != nil {
		s.probed, s.unexpl, s.shopBefore, s.uploadedIn = true, int8(*d.Unexplained), s.shop, s.uploaded
	}
	return m.carryOut(s, d)
}

func (m model) carryOut(s modelState, d PurchaseDecision) modelState {
	switch d.Outcome {
	case Pay:
		s.state, s.paid = wallet.PurchasePaid, true
	case Refund:
		s.state, s.refunded = wallet.PurchaseRefunded, true
	case NotTaken:
		s.state = wallet.PurchaseNotTaken
	case Doubt:
		s.state = wallet.PurchaseDoubtful
	case Suspend:
		s.state, s.cause = wallet.PurchaseSuspense, d.Cause
	}
	return s
}

// step names a move, for the counter-example.
type step struct {
	name string
	next modelState
}

// moves lists everything that can happen next.
func (m model) moves(s modelState) (moves []step) {
	add := func(name string, next modelState) { moves = append(moves, step{name, next}) }
	if s.state == wallet.PurchaseOffered {
		for _, claimed := range []int8{0, 1} { // nothing authenticates the number
			n := s
			n.state, n.session, n.claimed = wallet.PurchaseAuthorised, true, claimed
			add(fmt.Sprintf("authorise, number %d", claimed), n)
		}
	}
	m.cardMoves(s, add)
	if s.state != wallet.PurchaseOffered {
		m.sendMoves(s, add)
	}
	if s.shop && !s.uploaded {
		n := s
		n.uploaded = true
		add("upload", n)
		if m.anyNumber {
			n.shopTell = 1 - n.shopTell
			add("upload, another number", n)
		}
	}
	if s.state == wallet.PurchaseAuthorised && !s.lapsed {
		n := s
		n.lapsed = true
		add("reservation lapses", n)
	}
	// By the end of the window whatever was sold has been uploaded.
	if !s.closed && s.shop == s.uploaded && s.state != wallet.PurchaseOffered {
		n := m.carryOut(s, DecideSum(m.facts(s), m.rules))
		n.closed = true
		add("window closes", n)
	}
	return moves
}

func (m model) cardMoves(s modelState, add func(string, modelState)) {
	if s.session && s.claimed == 0 && s.balance > 0 { // MAC1 over a wrong number does not fit the card's session
		n := s
		n.session, n.debited, n.balance = false, true, s.balance-modelAmount
		add("debit", n)
	}
	if !s.shop && s.balance > 0 {
		n := s
		n.session, n.shop, n.balance, n.shopTell = false, true, s.balance-modelAmount, 0
		if s.debited {
			n.shopTell = 1
		}
		n.delayed = s.delayed || s.recorded != 0
		add("pay in a shop", n)
	}
	n := s
	n.session, n.early = false, s.early|1<<s.balance
	if n != s {
		add("INITIALIZE FOR LOAD over another number", n)
	}
	n = s
	n.session, n.recorded = false, s.recorded|1<<s.balance
	if n != s && s.state != wallet.PurchaseOffered { // the probe's number does not exist before
		add("INITIALIZE FOR LOAD over the probe", n)
	}
}

func (m model) sendMoves(s modelState, add func(string, modelState)) {
	good := &TAC{Valid: true}
	send := func(name string, e PurchaseEvidence) {
		if n := m.contact(s, e); n != s {
			add(name, n)
		}
	}
	send("a bare no", PurchaseEvidence{})
	if s.debited {
		send("TAC", PurchaseEvidence{TAC: good})
		send("TAC and MAC2", PurchaseEvidence{TAC: good, MAC2: &MAC2{Valid: true}})
		send("PROVE without MAC2", PurchaseEvidence{TAC: &TAC{Valid: true, FromProve: true}, MAC2: &MAC2{}})
	}
	for balance := range int8(modelStart + 1) {
		if s.early&(1<<balance) != 0 {
			mac1 := &MAC1{Terminal: wallet.TerminalNumber{9}, Valid: true, Balance: wallet.Fen(balance)}
			send(fmt.Sprintf("MAC1 over balance %d and another number", balance), PurchaseEvidence{MAC1: mac1})
		}
		if s.recorded&(1<<balance) == 0 {
			continue
		}
		mac1 := &MAC1{Terminal: modelProbe, Valid: true, Balance: wallet.Fen(balance)}
		send(fmt.Sprintf("MAC1 over balance %d", balance), PurchaseEvidence{MAC1: mac1})
		if s.debited {
			send(fmt.Sprintf("MAC1 over balance %d and TAC", balance), PurchaseEvidence{MAC1: mac1, TAC: good})
		}
	}
}

// violation says what went wrong, if anything.
func violation(s modelState) string {
	switch {
	case s.paid && s.refunded:
		return "paid and refunded"
	case (s.paid || s.refunded) && !s.debited:
		return "gain: goods or money without a debit"
	case s.state == wallet.PurchaseNotTaken && s.debited && !s.delayed:
		return "loss: debited, and told that it was not"
	case s.state == wallet.PurchaseNotTaken && s.session:
		return "loss: not taken, and the card may still be debited"
	}
	return ""
}

// search visits every reachable world; it ends at the first violation.
func (m model) search() (states int, trace []string, broken string) {
	type visit struct {
		before modelState
		name   string
	}
	start := modelState{balance: modelStart, state: wallet.PurchaseOffered}
	seen := map[modelState]visit{start: {}}
	queue := []modelState{start}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if broken = violation(s); broken != "" {
			for s != start {
				trace = append([]string{seen[s].name}, trace...)
				s = seen[s].before
			}
			return len(seen), trace, broken
		}
		for _, move := range m.moves(s) {
			if _, known := seen[move.next]; !known {
				seen[move.next] = visit{s, move.name}
				queue = append(queue, move.next)
			}
		}
	}
	return len(seen), nil, ""
}

func TestModel_Purchase(t *testing.T) {
	for name, row := range map[string]struct {
		model  model
		broken string
	}{
		"refund on a lower balance and no TAC":           {model{rules: Rules{RefundOnBalance: true}}, "gain: goods or money without a debit"},
		"refund when no upload carries the number":       {model{rules: Rules{RefundByNumber: true}}, "gain: goods or money without a debit"},
		"a MAC1 over any terminal number":                {model{rules: Rules{AnyMAC1: true}}, "loss: not taken, and the card may still be debited"},
		"sum rule":                                       {model{}, ""},
		"sum rule, a merchant who writes any number":     {model{anyNumber: true}, ""},
		"number rule, a merchant who writes any number":  {model{rules: Rules{RefundByNumber: true}, anyNumber: true}, "gain: goods or money without a debit"},
		"balance rule, a merchant who writes any number": {model{rules: Rules{RefundOnBalance: true}, anyNumber: true}, "gain: goods or money without a debit"},
	} {
		t.Run(name, func(t *testing.T) {
			states, trace, broken := row.model.search()
			require.Equal(t, row.broken, broken, "%d states: %v", states, trace)
			t.Logf("%d states, %s %v", states, map[bool]string{true: "safe", false: "broken:"}[broken == ""], trace)
			if broken == "" {
				require.Greater(t, states, 90, "the search went nowhere")
			}
		})
	}
}

// Every end that the rules know is reached: a model in which nothing happens would
// be safe as well.
func TestModel_PurchaseReachesEveryEnd(t *testing.T) {
	m := model{}
	start := modelState{balance: modelStart, state: wallet.PurchaseOffered}
	seen, queue := map[modelState]bool{start: true}, []modelState{start}
	ends := map[wallet.PurchaseStateName]bool{}
	refundedBySum := false
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		ends[s.state] = true
		refundedBySum = refundedBySum || s.refunded && !s.tac
		for _, move := range m.moves(s) {
			if !seen[move.next] {
				seen[move.next] = true
				queue = append(queue, move.next)
			}
		}
	}
	for _, state := range []wallet.PurchaseStateName{
		wallet.PurchaseOffered, wallet.PurchaseAuthorised, wallet.PurchaseDoubtful, wallet.PurchasePaid, wallet.PurchaseRefunded,
		wallet.PurchaseNotTaken, wallet.PurchaseSuspense,
	} {
		require.True(t, ends[state], state)
	}
	require.True(t, refundedBySum)
}
