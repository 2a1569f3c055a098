// Package storetest is the one conformance suite for every implementation of
// core.Store: what the journal, the outbox, the history and the settings promise.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// start is the time at which the suite's stories begin.
var start = time.Date(2026, 3, 15, 1, 30, 45, 123456789, time.UTC)

// cardZone is the zone of records.
var cardZone = time.FixedZone("+08:00", 8*60*60)

var (
	asnA = wallet.ASN{0x00, 0x01, 0x31, 0x00, 0x01, 0x02, 0x00, 0x00, 0x12, 0x34}
	asnB = wallet.ASN{0x00, 0x01, 0x31, 0x00, 0x01, 0x02, 0x00, 0x00, 0x56, 0x78}
)

// Run runs the suite. open gives an empty store; the suite does not close it.
func Run(t *testing.T, open func(t *testing.T) core.Store) {
	tests := []struct {
		name string
		test func(t *testing.T, store core.Store)
	}{
		{"journal keeps whole entries", journalKeeps},
		{"journal obeys the stages", journalStages},
		{"journal filters", journalFilters},
		{"mark moves with every entry", markMoves},
		{"outbox follows the journal", outboxFollows},
		{"outbox delays and forgets", outboxDelays},
		{"purchases have stages of their own", purchaseStages},
		{"outbox follows purchases", purchaseOutbox},
		{"receipts", receipts},
		{"settings", settings},
		{"cards", cards},
		{"history merges", historyMerges},
		{"history filters and pages", historyFilters},
		{"history knows orders", historyOrders},
		{"history gaps", historyGaps},
		{"bad records keep their place", historyBadRecords},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
	t.Run("any sequence of writes", func(t *testing.T) { anySequence(t, open) })
}

// Entry builds a journal entry with every field filled that the stage could have.
func Entry(key string, stage wallet.Stage) wallet.Entry {
	entry := wallet.Entry{
		Key: key, Stage: stage, ASN: asnA, Amount: 5000, Fee: 10, Source: "main",
		TID: wallet.TerminalNumber{1, 2, 3, 4, 5, 6}, ProbeTID: wallet.TerminalNumber{6, 5, 4, 3, 2, 1},
		Seq: 0x21, Epoch: 2, BalanceBefore: 1234, At: start,
	}
	if stage == wallet.StageCredited {
		entry.Order, entry.Attempt, entry.BalanceAfter = "260315-01-000001", 1, 6234
		entry.TAC = wallet.Hex{0xA5, 0xC7, 0xEA, 0x2B}
		entry.Grant = &wallet.Signed{Payload: []byte(`{"order":"x"}`), Sig: []byte{1, 2, 3}, KID: "0011223344556677"}
		entry.Executed, entry.Note = 1, "NOTE"
		entry.Steps = []wallet.StepResult{{SW: wallet.Hex{0x90, 0x00}, Data: wallet.Hex{0xA5, 0xC7, 0xEA, 0x2B}}}
	}
	return entry
}

func write(t *testing.T, store core.Store, key string, stages ...wallet.Stage) {
	t.Helper()
	for _, stage := range stages {
		require.NoError(t, store.Write(t.Context(), Entry(key, stage)))
	}
}

// toCredited are the stages of a load that goes well, up to the card's answer.
var toCredited = []wallet.Stage{wallet.StageIntent, wallet.StageOpened, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited}

// toDebited are the stages of a purchase that goes well, up to the card's answer.
var toDebited = []wallet.Stage{wallet.StagePurchaseIntent, wallet.StageAsked, wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited}

// purchaseEntry builds an entry of a purchase with every field filled.
func purchaseEntry(key string, stage wallet.Stage) wallet.Entry {
	entry := Entry(key, stage)
	entry.Kind, entry.Fee, entry.Source = wallet.KindPurchase, 0, ""
	entry.MerchantOrder, entry.Merchant, entry.Goods, entry.Unload = "823365543629", "Tea House", "一杯茶", true
	if stage == wallet.StageDebited {
		entry.Order, entry.TerminalSerial, entry.BalanceAfter = "P260315-01-000001", 0xC0FFEE, 1
		entry.TAC, entry.MAC2 = wallet.Hex{0xA5, 0xC7, 0xEA, 0x2B}, wallet.Hex{1, 2, 3, 4}
		entry.Grant = &wallet.Signed{Payload: []byte(`{"purchase":"x"}`), Sig: []byte{1, 2, 3}, KID: "0011223344556677"}
	}
	return entry
}

func writePurchase(t *testing.T, store core.Store, key string, stages ...wallet.Stage) {
	t.Helper()
	for _, stage := range stages {
		require.NoError(t, store.Write(t.Context(), purchaseEntry(key, stage)))
	}
}

func purchaseStages(t *testing.T, store core.Store) {
	writePurchase(t, store, "p", toDebited[:3]...)
	require.Error(t, store.Write(t.Context(), purchaseEntry("p", wallet.StageDebited)), "DEBITED without DEBITING")
	require.Error(t, store.Write(t.Context(), Entry("p", wallet.StageCrediting)), "a stage of loads")
	require.Error(t, store.Write(t.Context(), Entry("l", wallet.StageAuthorised)), "a stage of purchases")
	require.Error(t, store.Write(t.Context(), purchaseEntry("p", wallet.StageAbandoned)))
	writePurchase(t, store, "p", toDebited[3:]...)
	entry, found, err := store.Latest(t.Context(), "p")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, purchaseEntry("p", wallet.StageDebited), entry)
	writePurchase(t, store, "p", wallet.StageDoubtful, wallet.StageConfirmed)
	require.Error(t, store.Write(t.Context(), purchaseEntry("p", wallet.StageRefunded)), "PAID and REFUNDED exclude each other")
	open, err := store.Entries(t.Context(), core.EntryFilter{OpenOnly: true})
	require.NoError(t, err)
	require.Empty(t, open)
	if verifier, ok := store.(interface{ VerifyChain(context.Context) error }); ok {
		require.NoError(t, verifier.VerifyChain(t.Context()))
	}
}

func purchaseOutbox(t *testing.T, store core.Store) {
	for _, end := range []wallet.Stage{wallet.StageConfirmed, wallet.StageRefunded, wallet.StageNotTaken} {
		key := string(end)
		writePurchase(t, store, key, toDebited[:4]...)
		due, err := store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Empty(t, due)
		writePurchase(t, store, key, wallet.StageDebited, wallet.StageDebited)
		due, err = store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, purchaseEntry(key, wallet.StageDebited), due[0].Entry)
		writePurchase(t, store, key, end)
		due, err = store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Empty(t, due)
	}
}

func journalKeeps(t *testing.T, store core.Store) {
	_, found, err := store.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, found)
	write(t, store, "k", toCredited...)
	entry, found, err := store.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, Entry("k", wallet.StageCredited), entry)
	trail, err := store.Trail(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, trail, len(toCredited))
	for i, stage := range toCredited {
		require.Equal(t, Entry("k", stage), trail[i])
	}
}

func journalStages(t *testing.T, store core.Store) {
	require.Error(t, store.Write(t.Context(), Entry("k", wallet.StageCrediting)), "nothing may begin with CREDITING")
	_, found, err := store.Latest(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, found, "a refused entry was stored")
	write(t, store, "k", wallet.StageIntent, wallet.StageIntent, wallet.StageAsked, wallet.StageGranted, wallet.StageCrediting)
	require.Error(t, store.Write(t.Context(), Entry("k", wallet.StageCrediting)), "a second CREDITING would allow a second CREDIT")
	require.Error(t, store.Write(t.Context(), Entry("k", wallet.StageAbandoned)))
	write(t, store, "k", wallet.StageCredited, wallet.StageConfirmed)
	require.Error(t, store.Write(t.Context(), Entry("k", wallet.StageUnknown)), "CONFIRMED is final")
	trail, err := store.Trail(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, trail, 7)
}

func journalFilters(t *testing.T, store core.Store) {
	write(t, store, "old", toCredited...)
	other := Entry("other", wallet.StageUnknown)
	other.ASN, other.Order = asnB, "N2"
	require.NoError(t, store.Write(t.Context(), other))
	write(t, store, "young", wallet.StageIntent)
	write(t, store, "done", wallet.StageIntent, wallet.StageAbandoned)
	write(t, store, "old", wallet.StageUnknown) // a later stage does not make an order younger

	tests := []struct {
		name   string
		filter core.EntryFilter
		keys   []string
	}{
		{"all", core.EntryFilter{}, []string{"done", "young", "other", "old"}},
		{"open", core.EntryFilter{OpenOnly: true}, []string{"young", "other", "old"}},
		{"card", core.EntryFilter{ASN: &asnB}, []string{"other"}},
		{"order", core.EntryFilter{Order: "N2"}, []string{"other"}},
		{"order of another card", core.EntryFilter{Order: "N2", ASN: &asnA}, nil},
	}
	for _, test := range tests {
		entries, err := store.Entries(t.Context(), test.filter)
		require.NoError(t, err, test.name)
		var keys []string
		for _, entry := range entries {
			keys = append(keys, entry.Key)
		}
		require.Equal(t, test.keys, keys, test.name)
	}
}

func markMoves(t *testing.T, store core.Store) {
	mark, err := store.Mark(t.Context())
	require.NoError(t, err)
	require.Zero(t, mark.Seq)
	seen := map[string]bool{mark.Hash.String(): true}
	for i, stage := range toCredited {
		write(t, store, "k", stage)
		mark, err = store.Mark(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, i+1, mark.Seq)
		require.Len(t, mark.Hash, 32)
		require.False(t, seen[mark.Hash.String()], "a hash came twice")
		seen[mark.Hash.String()] = true
	}
	require.Error(t, store.Write(t.Context(), Entry("k", wallet.StageIntent)))
	after, err := store.Mark(t.Context())
	require.NoError(t, err)
	require.Equal(t, mark, after, "a refused entry moved the mark")
}

func outboxFollows(t *testing.T, store core.Store) {
	ends := []wallet.Stage{wallet.StageConfirmed, wallet.StageVoided}
	for _, end := range ends {
		key := "k" + string(end)
		write(t, store, key, toCredited[:5]...)
		due, err := store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Empty(t, due)
		write(t, store, key, wallet.StageCredited)
		due, err = store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, key, due[0].Key)
		require.Zero(t, due[0].Tries)
		require.Equal(t, Entry(key, wallet.StageCredited), due[0].Entry)
		write(t, store, key, wallet.StageUnknown) // not settled: the TAC still has to be told
		due, err = store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Len(t, due, 1)
		write(t, store, key, end)
		due, err = store.Due(t.Context(), start)
		require.NoError(t, err)
		require.Empty(t, due)
	}
}

func outboxDelays(t *testing.T, store core.Store) {
	write(t, store, "a", toCredited...)
	write(t, store, "b", toCredited...)
	next := start.Add(time.Minute)
	require.NoError(t, store.Delay(t.Context(), "a", next))
	due, err := store.Due(t.Context(), next.Add(-time.Nanosecond))
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "b", due[0].Key)
	due, err = store.Due(t.Context(), next)
	require.NoError(t, err)
	require.Len(t, due, 2)
	for _, row := range due {
		if row.Key == "a" {
			require.Equal(t, 1, row.Tries)
			require.True(t, next.Equal(row.Next))
		}
	}
	require.NoError(t, store.Sent(t.Context(), "b"))
	require.NoError(t, store.Sent(t.Context(), "b"), "sent twice is no error")
	require.NoError(t, store.Delay(t.Context(), "b", next), "settled meanwhile is no error")
	due, err = store.Due(t.Context(), next)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "a", due[0].Key)
}

func receipts(t *testing.T, store core.Store) {
	_, found, err := store.Receipt(t.Context(), "N1")
	require.NoError(t, err)
	require.False(t, found)
	receipt := wallet.Signed{Payload: []byte("{ \"state\" :\"LOADED\"}"), Sig: []byte{0, 1, 2}, KID: "aa"}
	require.NoError(t, store.PutReceipt(t.Context(), "N1", receipt))
	require.NoError(t, store.PutReceipt(t.Context(), "N1", receipt))
	kept, found, err := store.Receipt(t.Context(), "N1")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, receipt, kept, "a signed receipt must stay byte for byte")
}

func settings(t *testing.T, store core.Store) {
	value, err := store.Setting(t.Context(), "lang")
	require.NoError(t, err)
	require.Empty(t, value)
	require.NoError(t, store.PutSetting(t.Context(), "lang", "zh"))
	require.NoError(t, store.PutSetting(t.Context(), "lang", "en"))
	value, err = store.Setting(t.Context(), "lang")
	require.NoError(t, err)
	require.Equal(t, "en", value)
}

// record builds a record; minute is its time after the start.
func record(asn wallet.ASN, counter uint16, recordType byte, amount wallet.Fen, minute int) core.SavedRecord {
	at := start.Add(time.Duration(minute) * time.Minute).Truncate(time.Second).In(cardZone)
	raw := fmt.Sprintf("%04X000000%08X%02X%012X%s", counter, int64(amount), recordType, 0x313233343536, at.Format("20060102150405"))
	var bytes wallet.Hex
	if err := bytes.UnmarshalText([]byte(raw)); err != nil {
		panic(err) // the suite's own format is wrong
	}
	return core.SavedRecord{
		ASN: asn, SFI: 0x18, Counter: counter, Type: recordType, Amount: amount,
		Terminal: wallet.TerminalNumber{0x31, 0x32, 0x33, 0x34, 0x35, 0x36}, Time: at, Raw: bytes,
	}
}

// reading builds a reading; records come newest first, as on the card.
func reading(asn wallet.ASN, minute int, records ...core.SavedRecord) core.SavedReading {
	return core.SavedReading{
		At: start.Add(time.Duration(minute) * time.Minute), ASN: asn, Number: "3104900000000012345", Profile: "tunion",
		AID: wallet.Hex{0xA0, 0x01}, Balance: wallet.Fen(1000 + minute), ValidFrom: "20200101", ValidUntil: "20301231",
		Records: records, Complete: true,
	}
}

func save(t *testing.T, store core.Store, readings ...core.SavedReading) {
	t.Helper()
	for _, reading := range readings {
		require.NoError(t, store.SaveReading(t.Context(), reading))
	}
}

func history(t *testing.T, store core.Store, filter core.HistoryFilter) core.History {
	t.Helper()
	history, err := store.History(t.Context(), filter)
	require.NoError(t, err)
	return history
}

func cards(t *testing.T, store core.Store) {
	late, early := reading(asnA, 10, record(asnA, 1, 2, 5, 1)), reading(asnA, 5)
	save(t, store, late, early, reading(asnB, 7))
	cards, err := store.Cards(t.Context())
	require.NoError(t, err)
	require.Len(t, cards, 2)
	late.Records = nil
	require.Contains(t, cards, late, "an older reading took the place of a newer one")
}

func historyMerges(t *testing.T, store core.Store) {
	r1, r2, r3, r4 := record(asnA, 1, 6, 100, 1), record(asnA, 2, 6, 200, 2), record(asnA, 1, 2, 5000, 3), record(asnA, 3, 6, 300, 3)
	save(t, store, reading(asnA, 4, r3, r2, r1))
	save(t, store, reading(asnA, 6, r4, r3, r2), reading(asnA, 7))
	merged := history(t, store, core.HistoryFilter{})
	require.Equal(t, []core.SavedRecord{r4, r3, r2, r1}, merged.Records)
	require.Equal(t, 4, merged.Total)
	require.EqualValues(t, 5000, merged.InFen)
	require.EqualValues(t, 600, merged.OutFen)
	require.Empty(t, merged.Gaps)

	twin := r1
	twin.ASN = asnB
	save(t, store, reading(asnB, 8, twin))
	require.Equal(t, 5, history(t, store, core.HistoryFilter{}).Total, "another card's record has the same bytes")
	elsewhere := r1
	elsewhere.SFI = 0x1A
	save(t, store, reading(asnA, 9, elsewhere))
	require.Equal(t, 6, history(t, store, core.HistoryFilter{}).Total, "another file's record has the same bytes")
}

func historyFilters(t *testing.T, store core.Store) {
	var records []core.SavedRecord
	for i := 9; i >= 0; i-- {
		records = append(records, record(asnA, uint16(i+1), 6, wallet.Fen(100*(i+1)), i))
	}
	load := record(asnB, 1, 2, 5000, 20)
	load.Terminal = wallet.TerminalNumber{0xAB, 0xCD, 0, 0, 0, 1}
	save(t, store, reading(asnA, 30, records...), reading(asnB, 30, load))
	minute := func(n int) time.Time { return start.Truncate(time.Second).Add(time.Duration(n) * time.Minute) }

	tests := []struct {
		name   string
		filter core.HistoryFilter
		total  int
		count  int
		first  wallet.Fen
	}{
		{"card", core.HistoryFilter{ASN: &asnB}, 1, 1, 5000},
		{"from is inclusive", core.HistoryFilter{ASN: &asnA, From: minute(8)}, 2, 2, 1000},
		{"to is exclusive", core.HistoryFilter{To: minute(2)}, 2, 2, 200},
		{"types", core.HistoryFilter{Types: []byte{2, 9}}, 1, 1, 5000},
		{"bounds", core.HistoryFilter{Min: 300, Max: 500}, 3, 3, 500},
		{"terminal", core.HistoryFilter{Text: "abcd"}, 1, 1, 5000},
		{"no pattern", core.HistoryFilter{Text: "%"}, 0, 0, 0},
		{"first page", core.HistoryFilter{Limit: 4}, 11, 4, 5000},
		{"second page", core.HistoryFilter{Limit: 4, Offset: 4}, 11, 4, 700},
		{"behind the end", core.HistoryFilter{Limit: 4, Offset: 40}, 11, 0, 0},
		{"offset alone", core.HistoryFilter{Offset: 10}, 11, 1, 100},
	}
	for _, test := range tests {
		page := history(t, store, test.filter)
		require.Equal(t, test.total, page.Total, test.name)
		require.Len(t, page.Records, test.count, test.name)
		if test.count > 0 {
			require.Equal(t, test.first, page.Records[0].Amount, test.name)
		}
	}
	require.EqualValues(t, 5500, history(t, store, core.HistoryFilter{ASN: &asnA, Limit: 1}).OutFen, "sums cover what is selected, not the page")
}

func historyOrders(t *testing.T, store core.Store) {
	load, purchase := record(asnA, 1, 2, 5000, 1), record(asnA, 1, 6, 100, 2)
	foreign := record(asnB, 1, 2, 5000, 3)
	load.Terminal, purchase.Terminal, foreign.Terminal = wallet.TerminalNumber{1, 2, 3, 4, 5, 6}, wallet.TerminalNumber{1, 2, 3, 4, 5, 6}, wallet.TerminalNumber{1, 2, 3, 4, 5, 6}
	nobody := record(asnA, 2, 2, 700, 4)
	nobody.Terminal = wallet.TerminalNumber{}
	save(t, store, reading(asnA, 5, nobody, purchase, load), reading(asnB, 5, foreign))
	write(t, store, "k", toCredited...)
	unknown := Entry("u", wallet.StageUnknown)
	unknown.TID, unknown.Order = wallet.TerminalNumber{}, "N9"
	require.NoError(t, store.Write(t.Context(), unknown))

	order := Entry("k", wallet.StageCredited).Order
	orders := map[wallet.Fen]string{}
	for _, record := range history(t, store, core.HistoryFilter{ASN: &asnA}).Records {
		orders[record.Amount] = record.Order
	}
	require.Equal(t, map[wallet.Fen]string{5000: order, 100: "", 700: ""}, orders)
	found := history(t, store, core.HistoryFilter{Text: order[3:]})
	require.Equal(t, 1, found.Total, "an order number finds its load on its card only")
}

func historyGaps(t *testing.T, store core.Store) {
	online := func(n int, minute int) core.SavedRecord { return record(asnA, uint16(n), 2, wallet.Fen(n), minute) }
	offline := func(n int, minute int) core.SavedRecord { return record(asnA, uint16(n), 6, wallet.Fen(n), minute) }
	save(t, store, reading(asnA, 100, offline(0x0110, 50), offline(0x010F, 40), online(3, 30), offline(0x0107, 20), online(1, 10), online(0, 5)))
	// The other card uses one sequence for both; number 9 alone was never read.
	save(t, store, reading(asnB, 100, record(asnB, 10, 2, 1, 60), record(asnB, 8, 6, 1, 50), record(asnB, 7, 2, 1, 40), record(asnB, 6, 6, 1, 30)))

	gaps := history(t, store, core.HistoryFilter{ASN: &asnA, Limit: 1}).Gaps
	require.ElementsMatch(t, []core.Gap{
		{ASN: asnA, Online: true, From: 2, To: 2},
		{ASN: asnA, Online: false, From: 0x0108, To: 0x010E},
	}, gaps)
	require.Equal(t, []core.Gap{{ASN: asnB, Online: true, From: 9, To: 9}}, history(t, store, core.HistoryFilter{ASN: &asnB}).Gaps)
	require.Len(t, history(t, store, core.HistoryFilter{}).Gaps, 3)
	require.Len(t, history(t, store, core.HistoryFilter{ASN: &asnA, Types: []byte{2}}).Gaps, 1)
	require.Empty(t, history(t, store, core.HistoryFilter{ASN: &asnA, From: start.Add(45 * time.Minute)}).Gaps)

	save(t, store, reading(asnA, 101, online(2, 20)))
	require.Len(t, history(t, store, core.HistoryFilter{ASN: &asnA}).Gaps, 1, "a record found later closes its gap")
}

func historyBadRecords(t *testing.T, store core.Store) {
	newer, bad, older := record(asnA, 7, 6, 7, 30), record(asnA, 6, 6, 6, 20), record(asnA, 5, 6, 5, 10)
	bad.Time, bad.Problem, bad.Raw = time.Time{}, "DATE", append(wallet.Hex{}, append(bad.Raw[:16:16], make([]byte, 7)...)...)
	wild := record(asnA, 0xEEEE, 6, 1, 40)
	wild.Problem = "COUNTER"
	save(t, store, reading(asnA, 60, wild, newer, bad, older))
	merged := history(t, store, core.HistoryFilter{})
	require.Equal(t, []core.SavedRecord{wild, newer, bad, older}, merged.Records)
	require.Empty(t, merged.Gaps, "a doubtful record fills a gap and never makes one")
}

// anySequence writes random stages: the journal must accept exactly those that the
// table allows, and its newest entries must be those of a plain map.
func anySequence(t *testing.T, open func(t *testing.T) core.Store) {
	store := open(t)
	round := 0
	stages := append([]wallet.Stage{wallet.StageConfirmed, wallet.StageAbandoned, wallet.StageDeclined, wallet.StageUnknown, wallet.StageVoided}, toCredited...)
	rapid.Check(t, func(r *rapid.T) {
		round++
		ctx := context.Background()
		latest := map[string]wallet.Stage{}
		before, err := store.Mark(ctx)
		require.NoError(r, err)
		accepted := 0
		for _, stage := range rapid.SliceOfN(rapid.SampledFrom(stages), 1, 12).Draw(r, "stages") {
			key := fmt.Sprintf("%d-%d", round, rapid.IntRange(1, 2).Draw(r, "key"))
			allowed := latest[key].CanFollow(wallet.KindLoad, stage)
			err := store.Write(ctx, Entry(key, stage))
			require.Equal(r, allowed, err == nil, "%s after %q: %v", stage, latest[key], err)
			if allowed {
				latest[key] = stage
				accepted++
			}
		}
		after, err := store.Mark(ctx)
		require.NoError(r, err)
		require.EqualValues(r, accepted, after.Seq-before.Seq)
		for key, stage := range latest {
			entry, found, err := store.Latest(ctx, key)
			require.NoError(r, err)
			require.True(r, found)
			require.Equal(r, stage, entry.Stage)
		}
		if verifier, ok := store.(interface{ VerifyChain(context.Context) error }); ok {
			require.NoError(r, verifier.VerifyChain(ctx))
		}
	})
}
