package mockplatform

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

func (s person) tell(kind, subject, event string) *httptest.ResponseRecorder {
	return s.post(api.PathStaffLists, s.w.newKey(), api.StaffListChange{Kind: kind, Subject: subject, Event: event, Reason: "the customer's report"})
}

func (s person) removal(kind, subject string) *httptest.ResponseRecorder {
	return s.post(api.PathStaffListRemovals, s.w.newKey(), api.StaffListRemoval{Kind: kind, Subject: subject, Reason: "found again"})
}

func (s person) listed(query string) []api.StaffListed {
	s.w.t.Helper()
	var told api.StaffLists
	s.must(http.StatusOK, s.get(api.PathStaffLists+query), &told)
	return told.Listed
}

// One member of staff puts on a list and takes off the grey one; the black one is left
// by two persons, the second a supervisor, and only as the first one saw it.
func TestLists_Staff(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{Balance: 1000}), w.teller(testPhone)
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	asn := k.ASN().String()
	require.Empty(t, clerk.listed(""))

	clerk.refusedWith(api.CodeListRefused, clerk.tell("card", asn, "STAFF_CLEAR"))
	clerk.refusedWith(api.CodeListRefused, clerk.tell("card", asn, "CHARGEBACK"))
	clerk.refusedWith(api.CodeBadRequest, clerk.tell("card", asn, "VALUE_CREATED"))
	clerk.refusedWith(api.CodeNotFound, clerk.tell("card", "not a serial", "FRAUD"))
	clerk.refusedWith(api.CodeNotFound, clerk.tell("shop", asn, "FRAUD"))
	clerk.refusedWith(api.CodeNotFound, clerk.tell("user", "13999999999", "FRAUD"))
	require.Equal(t, http.StatusUnauthorized, c.post(api.PathStaffLists, w.newKey(), api.StaffListChange{}).Code, "no customer's route")

	var told api.StaffListed
	clerk.must(http.StatusOK, clerk.tell("card", asn, "STAFF"), &told)
	require.Equal(t, "GREY", told.Standing)
	require.Equal(t, w.clock.AddDate(0, 0, 30), told.Until.UTC())
	require.Equal(t, "staff mei", told.By)
	c.order(k, 1000).init().refusedWith(api.CodeCardState)
	clerk.must(http.StatusOK, clerk.tell("card", asn, "STAFF_CLEAR"), &told)
	require.Equal(t, "NONE", told.Standing)
	c.order(k, 1000).loaded()

	// The same key gets the same answer, whatever happened since.
	key, change := w.newKey(), api.StaffListChange{Kind: "user", Subject: testPhone, Event: "FRAUD", Reason: "x"}
	first := clerk.post(api.PathStaffLists, key, change)
	require.Equal(t, http.StatusOK, first.Code, first.Body)
	c.order(k, 1000).init().refusedWith(api.CodeRiskBlocked)
	clerk.refusedWith(api.CodeListRefused, clerk.tell("user", testPhone, "STAFF_CLEAR"))

	clerk.refusedWith(api.CodeListRefused, clerk.removal("card", asn))
	var wanted api.StaffListProposal
	clerk.must(http.StatusOK, clerk.removal("user", testPhone), &wanted)
	again := wanted
	clerk.must(http.StatusOK, clerk.removal("user", testPhone), &again)
	require.Equal(t, wanted, again, "asked again after a lost answer")
	boss.refusedWith(api.CodeProposalOpen, boss.removal("user", testPhone))
	clerk.refusedWith(api.CodeSecondPerson, clerk.end(api.PathStaffListConfirm, wanted.Removal))
	other := w.staff("wu", api.RoleClerk)
	other.refusedWith(api.CodeStaffRole, other.end(api.PathStaffListConfirm, wanted.Removal))
	boss.refusedWith(api.CodeNotFound, boss.end(api.PathStaffListConfirm, "R-none"))
	require.Equal(t, "BLACK", clerk.listed("?kind=user&subject=" + testPhone)[0].Standing, "nothing has changed")
	var waiting api.StaffListProposals
	boss.must(http.StatusOK, boss.get(api.PathStaffListRemovals), &waiting)
	require.Len(t, waiting.Removals, 1)
	boss.must(http.StatusOK, boss.end(api.PathStaffListConfirm, wanted.Removal), &wanted)
	require.Equal(t, "CONFIRMED", wanted.State)
	require.Equal(t, "lin", wanted.Second)
	boss.must(http.StatusOK, boss.end(api.PathStaffListConfirm, wanted.Removal), nil) // again after a lost answer
	require.Empty(t, clerk.listed(""))
	c.order(k, 1000).loaded()
	require.Equal(t, first.Body.String(), clerk.post(api.PathStaffLists, key, change).Body.String())
	require.Empty(t, clerk.listed(""), "the answer was repeated, not the deed")
	w.check()
}

// A proposal is about the subject as it stood: what was told since makes it stale, and
// a rejected one is closed.
func TestLists_RemovalsGoStale(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 1000})
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	asn := k.ASN().String()
	clerk.must(http.StatusOK, clerk.tell("card", asn, "FRAUD"), nil)
	var wanted api.StaffListProposal
	clerk.must(http.StatusOK, clerk.removal("card", asn), &wanted)
	w.exec(`UPDATE lists SET cause = 'LOSS'`)
	boss.refusedWith(api.CodeProposalStale, boss.end(api.PathStaffListConfirm, wanted.Removal))
	boss.refusedWith(api.CodeProposalClosed, boss.end(api.PathStaffListReject, wanted.Removal))
	clerk.must(http.StatusOK, clerk.removal("card", asn), &wanted)
	boss.must(http.StatusOK, boss.end(api.PathStaffListReject, wanted.Removal), &wanted)
	require.Equal(t, "REJECTED", wanted.State)
	boss.must(http.StatusOK, boss.end(api.PathStaffListReject, wanted.Removal), nil)
	boss.refusedWith(api.CodeProposalClosed, boss.end(api.PathStaffListConfirm, wanted.Removal))
}

// A card that holds more than was loaded is black by itself, five wrong MAC1 make it
// grey, and thirty clean days end that: each bad event begins them anew.
func TestLists_ByThemselves(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	clerk := w.staff("mei", api.RoleClerk)
	forge := func() {
		order := c.order(k, 5000).init()
		order.request.Open.Steps[2].Data[15] ^= 1
		order.refusedWith(api.CodeCardEvidence)
	}
	for range wrongMAC1PerDay {
		forge()
	}
	w.exec(`DELETE FROM lists WHERE kind = 'user'`) // the account is not what this is about
	listed := clerk.listed("?kind=card")
	require.Len(t, listed, 1)
	require.Equal(t, "WRONG_MACS", listed[0].Cause)
	until := *listed[0].Until
	require.Equal(t, w.clock.AddDate(0, 0, 30), until.UTC())
	c.login()
	w.clock = w.clock.Add(time.Hour)
	c.login()
	forge()
	clerk = w.staff("wu", api.RoleClerk)
	require.Equal(t, until.Add(time.Hour), *clerk.listed("?kind=card")[0].Until, "not a clean day")
	until = until.Add(time.Hour)
	w.clock = until.Add(-time.Millisecond)
	c.login()
	state := c.order(k, 5000).init().refusedWith(api.CodeCardState)
	require.Equal(t, until, *state.RetryAfter)
	w.clock = until
	c.login()
	c.order(k, 5000).loaded()

	w.exec(`UPDATE orders SET amount = amount - 100 WHERE state = 'LOADED'`)
	c.order(k, 5000).init().refusedWith(api.CodeCardState)
	w.exec(`UPDATE orders SET amount = amount + 100 WHERE state = 'LOADED'`)
	boss := w.staff("lin", api.RoleSupervisor)
	listed = boss.listed("")
	require.Len(t, listed, 1)
	require.Equal(t, "VALUE_CREATED", listed[0].Cause)
	require.Equal(t, "BLACK", listed[0].Standing)
	require.Nil(t, listed[0].Until)
	w.clock = w.clock.AddDate(10, 0, 0)
	c = w.teller(testPhone)                                // the account fell silent: a new login with a code wakes it
	c.order(k, 5000).init().refusedWith(api.CodeCardState) // no time ends it
	w.check()
}

// Haste is forgiven in a day, but shortens no longer stay that something worse began.
func TestLists_HasteShortensNothing(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	day, month := w.clock.AddDate(0, 0, 1), w.clock.AddDate(0, 0, 30)
	require.Equal(t, day, w.list(c, k, rules.SubjectUser, rules.ListVelocity).until)
	require.Equal(t, month, w.list(c, k, rules.SubjectUser, rules.ListChargeback).until)
	require.Equal(t, month, w.list(c, k, rules.SubjectUser, rules.ListVelocity).until)
	require.Zero(t, w.list(c, k, rules.SubjectUser, rules.ListFraud).until)
	black := w.list(c, k, rules.SubjectUser, rules.ListVelocity)
	require.Equal(t, rules.Black, black.standing)
	require.Equal(t, rules.ListFraud, black.cause)
}

// opened reads a blacklist file as a shop would.
func (w *world) opened(since int) (BlacklistFile, api.Blacklist) {
	w.t.Helper()
	made, err := w.p.Blacklist(w.t.Context(), since)
	require.NoError(w.t, err)
	list, err := api.OpenBlacklist(w.p.signerKeys(), made.File, made.Signature)
	require.NoError(w.t, err)
	require.Equal(w.t, made.Number, list.Number)
	require.Equal(w.t, since, list.Since)
	return made, list
}

// Shops that follow by changes know what a shop knows that takes the whole list, also
// where a state was changed by what knows no list; and a list that has not changed is
// the same file again.
func TestLists_BlacklistForShops(t *testing.T) {
	w := newWorld(t)
	var cards []*chip
	for _, number := range []string{"6210000100000001", "6210000100000002", "6210000100000003"} {
		cards = append(cards, w.card(number, virtualcard.Spec{Balance: 1000}))
	}
	c := w.teller(testPhone)
	empty, list := w.opened(0)
	require.Equal(t, 1, list.Number)
	require.Empty(t, list.Lines)
	w.clock = w.clock.Add(time.Hour)
	again, _ := w.opened(0)
	require.Equal(t, empty.File, again.File, "nothing has changed")

	w.list(c, cards[0], rules.SubjectCard, rules.ListFraud)
	w.exec(`UPDATE cards SET state = 'LOST' WHERE asn = ?`, cards[1].ASN().String())
	_, list = w.opened(0)
	require.Equal(t, 2, list.Number)
	require.Equal(t, []api.BlacklistLine{{ASN: cards[0].ASN(), Listed: true, Cause: "FRAUD"}, {ASN: cards[1].ASN(), Listed: true, Cause: "LOSS"}}, list.Lines)
	w.list(c, cards[0], rules.SubjectCard, rules.ListTwoClear)
	w.list(c, cards[2], rules.SubjectCard, rules.ListStaffGrey) // a grey card may pay in shops
	_, delta := w.opened(2)
	require.Equal(t, 3, delta.Number)
	require.Equal(t, []api.BlacklistLine{{ASN: cards[0].ASN()}}, delta.Lines)
	_, err := w.p.Blacklist(t.Context(), 4)
	require.ErrorIs(t, err, ErrBlacklistNumber)

	states := []string{cardActive, cardBlack, "LOST", "SUSPENDED"}
	known := []api.Blacklist{}
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(r, "changes") {
			k := rapid.SampledFrom(cards).Draw(r, "card")
			w.exec(`UPDATE cards SET state = ? WHERE asn = ?`, rapid.SampledFrom(states).Draw(r, "state"), k.ASN().String())
		}
		_, full := w.opened(0)
		if len(known) > 0 {
			former := rapid.SampledFrom(known).Draw(r, "known")
			_, changes := w.opened(former.Number)
			after, err := former.Apply(changes)
			require.NoError(r, err)
			require.Equal(r, full, after)
		}
		known = append(known, full)
	})
}

// A restore loses numbers that shops may hold: they never stand for another list, and
// changes after a lost one are refused.
func TestLists_BlacklistAfterARestore(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{Balance: 1000}), w.teller(testPhone)
	_, first := w.opened(0)
	backup := w.backup()
	w.list(c, k, rules.SubjectCard, rules.ListFraud)
	_, lost := w.opened(0)
	require.Equal(t, 2, lost.Number)
	w.restore(backup)
	w.clock = w.clock.Add(time.Hour)
	_, restored := w.opened(0)
	require.Greater(t, restored.Number, lost.Number)
	require.Empty(t, restored.Lines)
	_, err := w.p.Blacklist(t.Context(), lost.Number)
	require.ErrorIs(t, err, ErrBlacklistNumber)
	_, changes := w.opened(first.Number)
	after, err := first.Apply(changes)
	require.NoError(t, err)
	require.Equal(t, restored, after)
}

// TestBench_Blacklist measures the export of a million cards; the aim is 10 s.
func TestBench_Blacklist(t *testing.T) {
	if os.Getenv("WALLET_BENCH") == "" {
		t.Skip("a measurement: ./dev bench")
	}
	w := newWorld(t)
	w.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
		INSERT INTO cards (asn, user, state, profile) SELECT printf('%020X', i), '', 'BLACK', 'pboc-ep' FROM n`)
	for _, name := range []string{"first", "unchanged"} {
		began := time.Now()
		made, err := w.p.Blacklist(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, 1_000_000, made.Count)
		exported := time.Since(began)
		began = time.Now()
		_, err = api.OpenBlacklist(w.p.signerKeys(), made.File, made.Signature)
		require.NoError(t, err)
		fmt.Printf("bench: blacklist of 10^6 cards, %s export|%.1f s|-|%.0f MB|read and verified in %.1f s|≤ 10 s\n", name,
			exported.Seconds(), float64(len(made.File))/1e6, time.Since(began).Seconds())
	}
}

// The signature is over the bytes of the file: nobody else's list passes for it.
func TestLists_BlacklistOfAnotherPlatform(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	made, _ := w.opened(0)
	foreign, _ := other.opened(0)
	_, err := api.OpenBlacklist(w.p.signerKeys(), foreign.File, foreign.Signature)
	require.ErrorIs(t, err, wallet.ErrSignature)
	_, err = api.OpenBlacklist(w.p.signerKeys(), bytes.Replace(made.File, []byte("|1|0|"), []byte("|2|0|"), 1), made.Signature)
	require.ErrorIs(t, err, wallet.ErrSignature)
}
