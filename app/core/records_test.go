package core

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// shelf is a platform that only lists, in pages, and a store that only remembers.
type shelf struct {
	Platform
	Store
	loads     []api.Order // newest first
	purchases []api.Purchase
	fundings  []api.Funding
	returns   []api.BankReturnState
	entries   []wallet.Entry
	down      error
	asked     int
}

func (s *shelf) Connect(context.Context) error { return s.down }

func (s *shelf) Entries(context.Context, EntryFilter) ([]wallet.Entry, error) { return s.entries, nil }

// page cuts a page out of what fits; the cursor is a place in it.
func page[T any](s *shelf, all []T, selection api.Selection, fits func(T) bool) (lines []T, info api.PageInfo) {
	s.asked++
	var chosen []T
	for _, one := range all {
		if fits(one) {
			chosen = append(chosen, one)
		}
	}
	from, _ := strconv.Atoi(selection.Cursor)
	to := min(from+selection.Limit, len(chosen))
	if to < len(chosen) {
		info.Next = strconv.Itoa(to)
	}
	return chosen[from:to], info
}

func (s *shelf) FindOrders(_ context.Context, selection api.Selection) (told api.Orders, err error) {
	told.Orders, told.Page = page(s, s.loads, selection, func(o api.Order) bool {
		return (selection.State == "" || selection.State == string(o.State)) && (selection.Order == "" || selection.Order == o.Order)
	})
	return told, s.down
}

func (s *shelf) FindPurchases(_ context.Context, selection api.Selection) (told api.Purchases, err error) {
	told.Purchases, told.Page = page(s, s.purchases, selection, func(p api.Purchase) bool {
		return (selection.State == "" || selection.State == string(p.State)) && (selection.Order == "" || selection.Order == p.Purchase)
	})
	return told, s.down
}

func (s *shelf) Fundings(context.Context) (api.Fundings, error) {
	return api.Fundings{Fundings: s.fundings}, s.down
}

func (s *shelf) BankReturns(context.Context) (api.BankReturns, error) {
	return api.BankReturns{Returns: s.returns}, s.down
}

var dayOfOrders = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

func (s *shelf) core() *Core { return New(Config{Platform: s, Store: s}) }

// add puts an order on the shelf, older than those before it.
func (s *shelf) add(number, kind, state string) {
	created := dayOfOrders.Add(-time.Duration(len(s.loads)+len(s.purchases)+len(s.fundings)+len(s.returns)) * time.Minute)
	switch kind {
	case wallet.KindPurchase:
		s.purchases = append(s.purchases, api.Purchase{Purchase: number, Key: "K" + number, State: wallet.PurchaseStateName(state), Created: created.Format(time.RFC3339)})
	case wallet.KindFunding:
		s.fundings = append(s.fundings, api.Funding{Funding: number, Key: "K" + number, State: wallet.FundingState(state), Source: "bank:K1", Created: created})
	case KindBankReturn:
		s.returns = append(s.returns, api.BankReturnState{Return: number, Key: "K" + number, State: state, Created: created})
	default:
		s.loads = append(s.loads, api.Order{Order: number, Key: "K" + number, State: wallet.LoadState(state), Created: created})
	}
}

func numbers(lines []OrderLine) (all []string) {
	for _, line := range lines {
		all = append(all, line.Order)
	}
	return all
}

var orderKinds = []string{wallet.KindLoad, wallet.KindPurchase, wallet.KindFunding, KindBankReturn}

// However the kinds of orders lie between each other, the newest ones are found, and
// whether there are more.
func TestFindOrders_TheNewestOfAllKinds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := &shelf{}
		var all []string
		for i := range rapid.IntRange(0, 1200).Draw(r, "orders") {
			number := fmt.Sprint("N", i)
			s.add(number, rapid.SampledFrom(orderKinds).Draw(r, "kind"), "LOADED")
			all = append(all, number)
		}
		limit := rapid.SampledFrom([]int{0, 1, 7, 100, 499, 500, 501, 2000}).Draw(r, "limit")
		found, err := s.core().FindOrders(r.Context(), OrderSelection{}, limit)
		require.NoError(r, err)
		require.NoError(r, found.Stale)
		want := all
		if limit > 0 && len(all) > limit {
			want = all[:limit]
		}
		require.Equal(r, want, numbers(found.Lines))
		require.Equal(r, len(want) < len(all), found.More)
	})
}

// What the platform has lost or never heard of is not lost here, also where the list is
// narrowed; what it lists elsewhere is not listed by the journal's older word.
func TestFindOrders_WhatOnlyThisComputerKnows(t *testing.T) {
	s := &shelf{}
	s.add("voided", wallet.KindLoad, "VOIDED")
	s.add("loaded", wallet.KindLoad, "LOADED")
	s.entries = []wallet.Entry{
		{Key: "Kvoided", Order: "voided", Stage: wallet.StageGranted, At: dayOfOrders},  // the platform knows better
		{Key: "Klost", Order: "lost", Stage: wallet.StageGranted, At: dayOfOrders},      // a restore took it
		{Key: "Kold", Order: "old", Stage: wallet.StageConfirmed, At: dayOfOrders},      // and this one
		{Key: "Kasked", Stage: wallet.StageAsked, At: dayOfOrders.Add(-24 * time.Hour)}, // no answer came
		{Key: "Kbuy", Order: "buy", Kind: wallet.KindPurchase, Stage: wallet.StageAuthorised, Merchant: "Tea House", At: dayOfOrders},
	}
	find := func(selection OrderSelection) []string {
		t.Helper()
		found, err := s.core().FindOrders(t.Context(), selection, 0)
		require.NoError(t, err)
		return numbers(found.Lines)
	}
	with := func(selection api.Selection) OrderSelection { return OrderSelection{Selection: selection} }
	require.ElementsMatch(t, []string{"voided", "loaded", "lost", "old", "", "buy"}, find(OrderSelection{}))
	require.ElementsMatch(t, []string{"lost"}, find(with(api.Selection{State: "GRANTED"})))
	require.ElementsMatch(t, []string{"voided", "loaded", "lost", ""}, find(OrderSelection{Kind: wallet.KindLoad}))
	require.ElementsMatch(t, []string{"buy"}, find(OrderSelection{Kind: wallet.KindPurchase}))
	s.loads = nil // this platform narrows by nothing else
	require.ElementsMatch(t, []string{"buy"}, find(with(api.Selection{Text: "Tea"})))
	require.ElementsMatch(t, []string{""}, find(with(api.Selection{To: "2026-03-14"})))
	require.ElementsMatch(t, []string{"voided", "lost", "buy"}, find(with(api.Selection{From: "2026-03-15", Open: true})), "nobody else knows it now")

	s.down = errors.New("no line")
	found, err := s.core().FindOrders(t.Context(), with(api.Selection{Open: true}), 2)
	require.NoError(t, err)
	require.Error(t, found.Stale)
	require.Len(t, found.Lines, 2)
	require.True(t, found.More)
}

// Money that no card takes part in is listed with the rest: narrowed in the same way, as
// the platform knows it, and not again by the journal's older word.
func TestFindOrders_FundingsAndReturns(t *testing.T) {
	s := &shelf{}
	s.add("load", wallet.KindLoad, "LOADED")
	s.add("funded", wallet.KindFunding, "DONE")
	s.add("asked", wallet.KindFunding, "PENDING")
	s.add("back", KindBankReturn, api.BankReturnDone)
	s.add("held", KindBankReturn, api.BankReturnPending)
	s.returns[0].Amount, s.returns[0].Returned = 60_00, 50_00
	s.entries = []wallet.Entry{
		{Key: "Kfunded", Kind: wallet.KindFunding, Stage: wallet.StageAsked, At: dayOfOrders}, // no answer came; it was done
		{Key: "Kcut", Kind: wallet.KindFunding, Stage: wallet.StageAsked, At: dayOfOrders},    // never arrived
	}
	find := func(selection OrderSelection) []string {
		t.Helper()
		found, err := s.core().FindOrders(t.Context(), selection, 0)
		require.NoError(t, err)
		return numbers(found.Lines)
	}
	require.ElementsMatch(t, []string{"load", "funded", "asked", "back", "held", ""}, find(OrderSelection{}))
	require.ElementsMatch(t, []string{"funded", "asked", ""}, find(OrderSelection{Kind: wallet.KindFunding}))
	require.Equal(t, []string{"back", "held"}, find(OrderSelection{Kind: KindBankReturn}))
	require.Equal(t, []string{"load"}, find(OrderSelection{Kind: wallet.KindLoad}))
	narrowed := func(selection api.Selection) OrderSelection {
		return OrderSelection{Selection: selection, Kind: wallet.KindFunding}
	}
	require.ElementsMatch(t, []string{"asked", ""}, find(narrowed(api.Selection{Open: true})))
	require.Equal(t, []string{"funded"}, find(narrowed(api.Selection{State: "DONE"})))
	require.Empty(t, find(narrowed(api.Selection{Card: wallet.ASN{9: 1}.String()})), "no card takes part")
	back, err := s.core().FindOrders(t.Context(), OrderSelection{Kind: KindBankReturn}, 1)
	require.NoError(t, err)
	require.True(t, back.More)
	require.Equal(t, wallet.Fen(50_00), back.Lines[0].Amount, "what went back")
}

// A platform that hands out the same cursor for ever ends no program.
func TestEachPage_Ends(t *testing.T) {
	asked := 0
	more, err := eachPage(api.Selection{}, 0, func(api.Selection) (int, string, error) { asked++; return 1, "again", nil })
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, 2, asked)
}
