package mockplatform

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// addCard proves a card and asks for it.
func (c *teller) addCard(k *chip) *httptest.ResponseRecorder {
	c.w.t.Helper()
	open := k.open(c.scripts[profilePBOC], 1, c.lease())
	return c.post(api.PathCards, c.w.newKey(), api.CardRequest{ASN: k.ASN(), Profile: profilePBOC, Open: *open})
}

// Every state of a card against every act, on the routes themselves.
func TestCard_StateMatrix(t *testing.T) {
	for _, place := range states.Places() {
		t.Run(string(place), func(t *testing.T) {
			w := newWorld(t, noDayLimits)
			c := w.teller(testPhone)
			cards := map[states.Act]*chip{}
			for i, act := range states.Acts() {
				cards[act] = w.card(fmt.Sprintf("62200001000000%02d", i+10), virtualcard.Spec{Balance: 5000})
			}
			c.login()
			for _, act := range []states.Act{states.Load, states.Pay, states.CreditIn} {
				c.known(cards[act])
			}
			grants := map[states.Act]wallet.Grant{}
			var proof wallet.StepResult
			for _, act := range []states.Act{states.Complete, states.Cancel, states.Evidence} {
				script, grant := c.order(cards[act], 2000).init().granted()
				grants[act] = grant
				if act == states.Evidence {
					var err error
					proof, err = cards[act].credit(script)
					require.NoError(t, err)
				}
			}
			state := string(place.State())
			w.exec(`UPDATE cards SET state = ?`, state)
			if place == states.AtLostWritten {
				w.exec(`UPDATE card_life SET written = 1`)
				w.exec(`INSERT INTO card_life (asn, written) SELECT asn, 1 FROM cards WHERE true ON CONFLICT (asn) DO NOTHING`)
			}
			expect := func(act states.Act, answer *httptest.ResponseRecorder) {
				t.Helper()
				code := refusalOf(t, answer)
				if states.CardAllows(states.CardState(state), act) {
					require.Empty(t, code, "%s in %s", act, place)
					return
				}
				require.Contains(t, []string{api.CodeCardState, api.CodeAccountState}, code, "%s in %s", act, place)
			}
			load := c.order(cards[states.Load], 2000).init().send()
			expect(states.Load, load)
			if place != states.AtActive {
				require.Equal(t, string(place), c.stateOf(load).Standing)
			}
			expect(states.Pay, c.pay(cards[states.Pay], w.shopOrder(100), 100).send())
			expect(states.CreditIn, c.post(api.PathUnloads, w.newKey(), api.UnloadRequest{ASN: cards[states.CreditIn].ASN(), Amount: 100}))
			complete, _ := c.evidence(cards[states.Complete], openOf(grants[states.Complete]), wallet.IntentComplete)
			if place != states.AtRecover { // the touch itself explains what it holds
				expect(states.Complete, complete)
			}
			cancel, _ := c.evidence(cards[states.Cancel], openOf(grants[states.Cancel]), wallet.IntentCancel)
			require.Equal(t, wallet.StateVoided, c.stateOf(cancel).State, "%s: what is open is cancelled in every state", place)
			require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grants[states.Evidence], nil, proof)).State, "%s: evidence counts in every state", place)
			w.check()
		})
	}
}

// A card's life by its owner: named, suspended, resumed, lost, found, removed, added.
func TestCard_Life(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 3000})
	c := w.teller(testPhone)
	c.must(http.StatusOK, c.onCard(api.PathCardRename, k, api.CardLabel{Label: "地铁卡"}), nil)
	require.Equal(t, "地铁卡", c.cardState(k, "ACTIVE").Label)
	for _, label := range []string{strings.Repeat("卡", api.MaxLabel+1), "two\nlines", " blank before", "\u202egnorw", string([]byte{0xFF})} {
		answer := c.onCard(api.PathCardRename, k, api.CardLabel{Label: label})
		if label == string([]byte{0xFF}) { // JSON itself replaces it
			continue
		}
		refusedAs(t, api.CodeBadRequest, answer)
	}
	c.must(http.StatusOK, c.onCard(api.PathCardRename, k, api.CardLabel{Label: strings.Repeat("卡", api.MaxLabel)}), nil)

	c.must(http.StatusOK, c.onCard(api.PathCardSuspend, k, struct{}{}), nil)
	require.Equal(t, "SUSPENDED", c.order(k, 2000).init().refusedWith(api.CodeCardState).Standing)
	refusedAs(t, api.CodeCardState, c.found(k)) // it was never lost
	c.must(http.StatusOK, c.onCard(api.PathCardResume, k, struct{}{}), nil)

	// While an order is open the card stays; then it goes, and comes back with its books.
	script, grant := c.order(k, 2000).init().granted()
	refusedAs(t, api.CodePendingLoad, c.onCard(api.PathCardRemove, k, struct{}{}))
	step, err := k.credit(script)
	require.NoError(t, err)
	c.must(http.StatusOK, c.result(grant, nil, step), nil)
	c.must(http.StatusOK, c.onCard(api.PathCardRemove, k, struct{}{}), nil)
	var cards []api.Card
	c.must(http.StatusOK, c.get(api.PathCards), &cards)
	require.Empty(t, cards)
	c.order(k, 2000).init().refusedWith(api.CodeCardState)
	refusedAs(t, api.CodeCardState, c.onCard(api.PathCardSuspend, k, struct{}{}))
	var back api.Card
	c.must(http.StatusOK, c.addCard(k), &back)
	require.Equal(t, "ACTIVE", back.State)
	require.Empty(t, back.Label, "a label goes with its owner")
	require.Equal(t, wallet.Fen(5000), w.check().Cards[0].ExpectedBalanceFen)
	c.order(k, 2000).init().granted()
}

// A lost card cannot be removed: whoever holds it could add it.
func TestCard_LostOnesStay(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	c.must(http.StatusOK, c.onCard(api.PathCardLoss, k, api.LossRequest{Kind: api.LossOral}), nil)
	refusedAs(t, api.CodeCardState, c.onCard(api.PathCardRemove, k, struct{}{}))
	refusedAs(t, api.CodeCardState, c.onCard(api.PathCardResume, k, struct{}{}))
	wrong := api.FoundRequest{SMS: api.SMSCode{CodeID: c.code(api.PurposeLoss).CodeID, Code: "no"}}
	refusedAs(t, api.CodeSMSCodeWrong, c.onCard(api.PathCardFound, k, wrong))
	refusedAs(t, api.CodeBadRequest, c.onCard(api.PathCardLoss, k, api.LossRequest{Kind: "maybe"}))
	c.must(http.StatusOK, c.freeze(nil), nil)
	c.must(http.StatusOK, c.found(k), nil) // what protects is possible in a frozen account, what opens is not
	refusedAs(t, api.CodeAccountState, c.onCard(api.PathCardRemove, k, struct{}{}))
	c.must(http.StatusOK, c.onCard(api.PathCardSuspend, k, struct{}{}), nil)
	refusedAs(t, api.CodeAccountState, c.onCard(api.PathCardResume, k, struct{}{}))
}

// Somebody else's card tells nothing about its owner: not who, not in which state.
func TestCard_ForeignOnesTellNothing(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	const other = "13800000002"
	require.NoError(t, w.p.Seed(t.Context(), other, 10000, nil, ""))
	c := w.teller(other)
	answers := []string{}
	ask := func(asn wallet.ASN) {
		for _, path := range []string{api.PathCardRemove, api.PathCardSuspend, api.PathCardResume} {
			answer := c.post(strings.Replace(path, "{asn}", asn.String(), 1), w.newKey(), struct{}{})
			refusedAs(t, api.CodeCardState, answer)
			answers = append(answers, answer.Body.String())
		}
	}
	ask(k.ASN())
	w.exec(`UPDATE cards SET state = 'BLACK'`)
	ask(k.ASN())
	ask(wallet.ASN{9, 9, 9}) // a card that nobody knows
	for _, answer := range answers {
		require.Equal(t, answers[0], answer)
		require.NotContains(t, answer, testPhone)
	}
	refused := c.addCard(k)
	refusedAs(t, api.CodeCardState, refused)
	require.NotContains(t, refused.Body.String(), testPhone)
	require.Contains(t, refused.Body.String(), standingForeign)
}

// replaced is a card with 40 yuan that was lost in writing and replaced at once.
func (w *world) replaced() (c *teller, lost, fresh *chip, clerk, boss person, told api.StaffReplacement) {
	w.t.Helper()
	lost = w.card(serial, virtualcard.Spec{Balance: 4000})
	fresh = w.issued("6220000100000077")
	c = w.teller(testPhone)
	c.known(lost)
	c.must(http.StatusOK, c.onCard(api.PathCardLoss, lost, api.LossRequest{Kind: api.LossWritten}), nil)
	clerk, boss = w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	clerk.must(http.StatusOK, clerk.replace(lost, fresh), &told)
	return c, lost, fresh, clerk, boss, told
}

// issued is a card in nobody's account.
func (w *world) issued(serial string) *chip {
	w.t.Helper()
	asn, err := wallet.ParseASN(serial)
	require.NoError(w.t, err)
	exported, err := w.p.IssueCard(w.t.Context(), asn)
	require.NoError(w.t, err)
	made, err := virtualcard.New(virtualcard.Spec{ASN: asn, Keys: parseKeys(w.t, exported)}, rand.Reader)
	require.NoError(w.t, err)
	return &chip{t: w.t, Card: made}
}

func (s person) replace(lost, fresh *chip) *httptest.ResponseRecorder {
	return s.post(api.PathStaffReplacements, s.w.newKey(), api.StaffReplace{Lost: lost.ASN(), Fresh: fresh.ASN(), Reason: "phone fell into the sea"})
}

func (s person) replacement(asn wallet.ASN) api.StaffReplacement {
	s.w.t.Helper()
	var told api.StaffReplacements
	s.must(http.StatusOK, s.get(api.PathStaffReplacements+"?asn="+asn.String()), &told)
	require.Len(s.w.t, told.Replacements, 1)
	return told.Replacements[0]
}

// TestCard_Replacement: the proven balance moves once, after the window, by two persons.
func TestCard_Replacement(t *testing.T) {
	w := newWorld(t)
	c, lost, fresh, clerk, _, told := w.replaced()
	require.Equal(t, replacementWaiting, told.State)
	require.Equal(t, w.clock.Add(uploadWindow), told.WindowEnds)
	require.Equal(t, wallet.Fen(4000), told.Proven)
	c.cardState(lost, "REPLACED")
	c.cardState(fresh, "ACTIVE")
	require.Equal(t, "REPLACED", c.order(lost, 2000).init().refusedWith(api.CodeCardState).Standing)
	c.order(fresh, 2000).init().granted() // the new card works from the first day
	refusedAs(t, api.CodeCardState, c.found(lost))
	clerk.refusedWith(api.CodeCardState, clerk.replace(lost, w.issued("6220000100000078")))

	// A shop uploads inside the window; then the window closes.
	corner := &shop{terminal: cornerShop}
	line := corner.sell(w, lost, 1500)
	clerk.refusedWith(api.CodeWindowOpen, clerk.propose(told.Replacement, api.TargetMoved))
	w.clock = w.clock.Add(uploadWindow)
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(line))
	clerk = w.staff("mei2", api.RoleClerk)
	clerk.refusedWith(api.CodeWindowOpen, clerk.propose(told.Replacement, api.TargetMoved))
	w.clock = w.clock.Add(time.Millisecond)
	require.Equal(t, replacementReady, clerk.replacement(lost.ASN()).State)
	clerk.refusedWith(api.CodeDecisionRefused, clerk.propose(told.Replacement, "VOIDED"))

	proposed := clerk.proposed(told.Replacement, api.TargetMoved)
	clerk.refusedWith(api.CodeSecondPerson, clerk.end(api.PathStaffConfirm, proposed.Proposal))
	boss := w.staff("lin2", api.RoleSupervisor)
	before := w.balance(mainAccount(c.session.User))
	for range 2 { // a lost answer is asked for again
		boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, proposed.Proposal), nil)
	}
	require.Equal(t, wallet.Fen(2500), w.balance(mainAccount(c.session.User))-before)
	clerk.refusedWith(api.CodeNotInSuspense, clerk.propose(told.Replacement, api.TargetMoved))
	moved := clerk.replacement(fresh.ASN())
	require.Equal(t, replacementMoved, moved.State)
	require.Equal(t, wallet.Fen(2500), moved.Moved)
	require.Zero(t, moved.Proven)
	w.check()

	// What comes in later is paid to the shop, and is a receivable: nobody goes below zero.
	late := corner.sell(w, lost, 1000)
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(late))
	require.Equal(t, UploadReport{Duplicate: 1}, w.upload(late))
	require.Equal(t, wallet.Fen(-1000), w.balance(accountLateUse))
	require.Equal(t, wallet.Fen(2500), w.balance(accountOffline))
	require.Contains(t, w.alarms(), "LATE_USE")
	w.check()

	// The card turns up with 15 yuan on it, which moved long ago.
	c.login()
	require.NotContains(t, w.alarms(), "VALUE_CREATED")
	c.order(lost, 2000).init().refusedWith(api.CodeCardState)
	c.order(lost, 2000).init().refusedWith(api.CodeCardState)
	found := 0
	for _, alarm := range w.alarms() {
		if alarm == "VALUE_CREATED" {
			found++
		}
	}
	require.Equal(t, 1, found, "the alarm is raised once")
	refusedAs(t, api.CodeCardState, c.addCard(lost))
	c.cardState(lost, "REPLACED")
	w.check()
}

// However many confirm at once, the balance moves once.
func TestCard_ReplacementMovesOnce(t *testing.T) {
	w := newWorld(t)
	c, _, _, _, _, told := w.replaced()
	w.clock = w.clock.Add(uploadWindow + time.Second)
	proposed := w.staff("mei2", api.RoleClerk).proposed(told.Replacement, api.TargetMoved)
	before := w.balance(mainAccount(c.session.User))
	var bosses []person
	for _, name := range []string{"lin2", "wu", "he", "qian"} {
		bosses = append(bosses, w.staff(name, api.RoleSupervisor))
	}
	requests := []*http.Request{}
	for _, boss := range bosses {
		path := strings.Replace(api.PathStaffConfirm, "{id}", proposed.Proposal, 1)
		requests = append(requests, boss.request(http.MethodPost, path, w.newKey(), mustJSON(t, api.StaffReason{Reason: "seen"})))
	}
	var group sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, len(bosses))
	for i, boss := range bosses {
		group.Go(func() { answers[i] = boss.do(requests[i]) })
	}
	group.Wait()
	confirmed := 0
	for _, answer := range answers {
		if answer.Code == http.StatusOK {
			confirmed++
			continue
		}
		refusedAs(t, api.CodeProposalClosed, answer)
	}
	require.Equal(t, 1, confirmed)
	require.Equal(t, wallet.Fen(4000), w.balance(mainAccount(c.session.User))-before)
	w.check()
}

// An order of the lost card is settled first, and an upload between the two persons
// voids what the first one saw.
func TestCard_ReplacementWaits(t *testing.T) {
	w := newWorld(t)
	lost, fresh := w.card(serial, virtualcard.Spec{Balance: 4000}), w.issued("6220000100000077")
	c := w.teller(testPhone)
	c.known(lost)
	_, grant := c.order(lost, 2000).init().granted()
	clerk := w.staff("mei", api.RoleClerk)
	clerk.refusedWith(api.CodeCardState, clerk.replace(lost, fresh)) // nobody reported it lost
	clerk.must(http.StatusOK, clerk.onCard(api.PathStaffCardState, lost, api.StaffCardAct{Act: api.ActLoss, Reason: "signed form"}), nil)
	clerk.refusedWith(api.CodeNotFound, clerk.replace(lost, lost))
	var told api.StaffReplacement
	clerk.must(http.StatusOK, clerk.replace(lost, fresh), &told)
	require.Equal(t, 1, told.OpenOrders)
	w.clock = w.clock.Add(uploadWindow + time.Second)
	clerk, boss := w.staff("mei2", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	clerk.refusedWith(api.CodePendingLoad, clerk.propose(told.Replacement, api.TargetMoved))

	// The order ends by the rules that there are: two persons, after the same window.
	var void api.StaffProposal
	clerk.must(http.StatusOK, clerk.post(api.PathStaffProposals, w.newKey(), api.StaffDecision{
		Order: grant.Order, As: "VOIDED", Reason: "the card is in the sea", WithoutCard: "lost"}), &void)
	boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, void.Proposal), nil)
	proposed := clerk.proposed(told.Replacement, api.TargetMoved)
	corner := &shop{terminal: cornerShop}
	require.Equal(t, UploadReport{Accepted: 1}, w.upload(corner.sell(w, lost, 500)))
	boss.refusedWith(api.CodeProposalStale, boss.end(api.PathStaffConfirm, proposed.Proposal))
	again := clerk.proposed(told.Replacement, api.TargetMoved)
	boss.must(http.StatusOK, boss.end(api.PathStaffConfirm, again.Proposal), nil)
	require.Equal(t, wallet.Fen(3500), clerk.replacement(lost.ASN()).Moved)
	c.login()
	c.account("NORMAL")
	w.check()
}

// A blacklisted card is replaced by nobody before two persons have cleared it.
func TestCard_ReplacementNeedsALoss(t *testing.T) {
	w := newWorld(t)
	lost, fresh := w.card(serial, virtualcard.Spec{}), w.issued("6220000100000077")
	clerk := w.staff("mei", api.RoleClerk)
	w.exec(`UPDATE cards SET state = 'BLACK' WHERE asn = ?`, lost.ASN().String())
	clerk.refusedWith(api.CodeCardState, clerk.onCard(api.PathStaffCardState, lost, api.StaffCardAct{Act: api.ActLoss, Reason: "signed form"}))
	clerk.refusedWith(api.CodeCardState, clerk.replace(lost, fresh))
	require.Equal(t, http.StatusNotFound, clerk.onCard(api.PathStaffCardState, w.stray(), api.StaffCardAct{Act: api.ActLoss, Reason: "signed form"}).Code)
}

// stray is a card that the platform has never heard of.
func (w *world) stray() *chip {
	made, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{1, 2, 3}}, rand.Reader)
	require.NoError(w.t, err)
	return &chip{t: w.t, Card: made}
}
