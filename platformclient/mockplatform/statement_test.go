package mockplatform

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// manyEntries is how many postings the account of the tests below has.
const manyEntries = 100_000

// seedLedger writes balanced transfers of several kinds over two years, and as many
// orders as one in ten of them. What they hold comes from their number, so that a
// failure can be looked at again.
func (w *world) seedLedger(user string, entries int) {
	w.t.Helper()
	main, held := mainAccount(user), heldAccount(user)
	w.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?),
		x AS (SELECT i, CASE WHEN i % 7 = 1 THEN 20000 + i * 37 % 90000 ELSE -(100 + i * 7919 % 9000) END AS amount,
			CASE i % 7 WHEN 1 THEN 'cash-in' WHEN 2 THEN 'load-void' ELSE 'load-hold' END AS type,
			CASE WHEN i % 7 = 1 THEN '' ELSE printf('%08d-01-%06d', 20240101 + i % 28, i) END AS order_id,
			1704067200000 + i * 600000 AS time FROM n),
		y AS (SELECT i, CASE type WHEN 'load-void' THEN -amount ELSE amount END AS amount, type, order_id, time FROM x)
		INSERT INTO postings (transfer, account, amount, type, order_id, day, time)
		SELECT 'S' || i, CASE side WHEN 0 THEN ? WHEN 1 THEN CASE type WHEN 'cash-in' THEN 'cash-in' ELSE ? END END,
			CASE side WHEN 0 THEN amount ELSE -amount END, type, order_id, strftime('%Y%m%d', time / 1000 + 28800, 'unixepoch'), time
		FROM y CROSS JOIN (SELECT 0 AS side UNION ALL SELECT 1) ORDER BY i, side`, entries, main, held)
	w.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO orders (id, key, user, device, asn, profile, key_index, amount, fee, source, state, attempt, probe_tid, probe_epoch, created, day)
		SELECT printf('20240101-01-%06d', i), 'K' || i, ?, 'D', printf('%020X', i % 5), 'pboc-ep', 1, 1000 + i * 7919 % 49000, 0, 'main',
			CASE i % 4 WHEN 0 THEN 'VOIDED' ELSE 'LOADED' END, 1, printf('C1%010X', i), 1, 1704067200000 + i / 3 * 6000000,
			strftime('%Y%m%d', (1704067200 + i / 3 * 6000) + 28800, 'unixepoch') FROM n`, entries/10, user)
}

// reference reads every posting of an account in the order of the books and adds them
// up, with nothing but addition.
func (w *world) reference(account string) (lines []api.StatementLine) {
	w.t.Helper()
	var running wallet.Fen
	require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
		return tx.each(`SELECT account, amount, type, order_id, time FROM postings ORDER BY id`, nil, func(rows *sql.Rows) error {
			var whose string
			var line api.StatementLine
			var millis int64
			if err := rows.Scan(&whose, &line.Amount, &line.Type, &line.Order, &millis); err != nil || whose != account {
				return err
			}
			running += line.Amount
			line.Balance, line.Time = running, time.UnixMilli(millis).UTC()
			lines = append(lines, line)
			return nil
		})
	}))
	slices.Reverse(lines)
	return lines
}

func abs(amount wallet.Fen) int64 { return int64(max(amount, -amount)) }

// keeps is a selection written as plainly as possible.
func keeps(s api.Selection, line api.StatementLine) bool {
	day := line.Time.In(shanghai).Format("2006-01-02")
	return (s.From == "" || day >= s.From) && (s.To == "" || day <= s.To) && (s.Type == "" || line.Type == s.Type) &&
		(s.Min == 0 || abs(line.Amount) >= s.Min) && (s.Max == 0 || abs(line.Amount) <= s.Max) &&
		(s.Order == "" || line.Order == s.Order) && strings.Contains(line.Order, s.Text)
}

// query writes a selection as a client does.
func query(s api.Selection) string {
	values := url.Values{}
	for name, value := range map[string]any{
		"from": s.From, "to": s.To, "type": s.Type, "state": s.State, "text": s.Text, "order": s.Order, "card": s.Card, "cursor": s.Cursor,
		"min": s.Min, "max": s.Max, "limit": s.Limit,
	} {
		if text := fmt.Sprint(value); text != "" && text != "0" {
			values.Set(name, text)
		}
	}
	if s.Open {
		values.Set("open", "true")
	}
	return "?" + values.Encode()
}

// TestStatement_Filters holds the lists against a plain reference over 10⁵ postings and
// 10⁴ orders: the same lines, on every page, with balances that are sums of postings.
func TestStatement_Filters(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	w.seedLedger(c.session.User, manyEntries)
	all := w.reference(mainAccount(c.session.User))
	require.Greater(t, len(all), manyEntries)
	for name, selection := range map[string]api.Selection{
		"everything":       {},
		"a month":          {From: "2024-05-01", To: "2024-05-31"},
		"one day":          {From: "2024-02-29", To: "2024-02-29"},
		"from a day on":    {From: "2025-11-20"},
		"no such day":      {From: "2030-01-01"},
		"the oldest":       {To: "2024-01-10"},
		"a kind":           {Type: "load-void"},
		"unknown kind":     {Type: "rain"},
		"an amount":        {Min: 5000, Max: 5100},
		"large ones":       {Min: 100000},
		"text":             {Text: "-0999"},
		"text in few":      {Text: "099998"},
		"one order":        {Order: "20240110-01-099997"},
		"everything at it": {From: "2024-03-01", To: "2025-03-01", Type: "load-hold", Min: 2000, Max: 3000, Text: "01-01"},
	} {
		t.Run(name, func(t *testing.T) {
			want := []api.StatementLine{}
			for _, line := range all {
				if keeps(selection, line) {
					want = append(want, line)
				}
			}
			if !strings.HasPrefix(name, "no such") && !strings.HasPrefix(name, "unknown") {
				require.NotEmpty(t, want, "a selection that selects nothing tests nothing")
			}
			for pages := 0; ; pages++ { // some small pages, then some large ones
				selection.Limit = 97
				if pages >= 4 {
					selection.Limit = api.PageMax
				}
				var page api.Statement
				c.must(http.StatusOK, c.get(api.PathStatement+query(selection)), &page)
				count := min(len(want), selection.Limit)
				require.Equal(t, want[:count], page.Lines, "page %d", pages)
				want = want[count:]
				if page.Page.Next == "" {
					require.Empty(t, want)
					break
				}
				if pages == 8 {
					require.NotEmpty(t, want)
					break
				}
				selection.Cursor = page.Page.Next
			}
		})
	}
	t.Run("orders", func(t *testing.T) { w.filterOrders(t, c) })
	report, err := w.p.Check(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.ImbalanceFen)
}

// filterOrders does the same for loads.
func (w *world) filterOrders(t *testing.T, c *teller) {
	var all []*order
	require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) (err error) {
		all, err = findOrders(tx, `user = ?`, c.session.User)
		return err
	}))
	require.Len(t, all, manyEntries/10)
	for name, selection := range map[string]api.Selection{
		"everything": {},
		"a state":    {State: "VOIDED"},
		"a card":     {Card: "00000000000000000003"},
		"a range":    {From: "2024-03-01", To: "2024-04-30", Min: 2000, Max: 9000},
		"text":       {Text: "-0042"},
		"open":       {Open: true},
		"one":        {Order: "20240101-01-000777"},
	} {
		t.Run(name, func(t *testing.T) {
			want := []string{}
			for _, o := range all {
				day := o.created.In(shanghai).Format("2006-01-02")
				if (selection.State == "" || string(o.state) == selection.State) && (selection.Card == "" || o.asn.String() == selection.Card) &&
					(selection.From == "" || day >= selection.From) && (selection.To == "" || day <= selection.To) &&
					(selection.Min == 0 || int64(o.amount) >= selection.Min) && (selection.Max == 0 || int64(o.amount) <= selection.Max) &&
					strings.Contains(o.id, selection.Text) && (selection.Order == "" || o.id == selection.Order) && !selection.Open {
					want = append(want, o.id)
				}
			}
			require.Equal(t, name == "open", len(want) == 0)
			found := []string{}
			selection.Limit = api.PageMax
			for {
				var page api.Orders
				c.must(http.StatusOK, c.get(api.PathLoads+query(selection)), &page)
				for _, o := range page.Orders {
					found = append(found, o.Order)
				}
				if page.Page.Next == "" {
					break
				}
				require.Len(t, page.Orders, api.PageMax)
				selection.Cursor = page.Page.Next
			}
			require.Equal(t, want, found)
		})
	}
}

// Whatever is asked for, and however the pages are cut, a statement is the reference.
func TestStatement_AnySelectionAndPage(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	w.seedLedger(c.session.User, 250)
	all := w.reference(mainAccount(c.session.User))
	day := func(r *rapid.T, name string) string {
		if rapid.Bool().Draw(r, name+" given") {
			return time.Date(2024, 1, 1+rapid.IntRange(-1, 8).Draw(r, name), 0, 0, 0, 0, shanghai).Format("2006-01-02")
		}
		return ""
	}
	rapid.Check(t, func(r *rapid.T) {
		selection := api.Selection{
			From: day(r, "from"), To: day(r, "to"), Type: rapid.SampledFrom([]string{"", "", "load-hold", "load-void", "cash-in"}).Draw(r, "type"),
			Min: rapid.Int64Range(0, 9000).Draw(r, "min"), Text: rapid.SampledFrom([]string{"", "", "-01-", "5", "%", "_"}).Draw(r, "text"),
			Limit: rapid.IntRange(3, 60).Draw(r, "limit"),
		}
		if rapid.Bool().Draw(r, "bounded") {
			selection.Max = rapid.Int64Range(1, 99999).Draw(r, "max")
		}
		want := []api.StatementLine{}
		for _, line := range all {
			if keeps(selection, line) {
				want = append(want, line)
			}
		}
		found := []api.StatementLine{}
		for {
			var page api.Statement
			c.must(http.StatusOK, c.get(api.PathStatement+query(selection)), &page)
			require.LessOrEqual(r, len(page.Lines), selection.Limit)
			found = append(found, page.Lines...)
			if page.Page.Next == "" {
				break
			}
			selection.Cursor = page.Page.Next
		}
		require.Equal(r, want, found)
	})
}

// New postings shift no page, and change no balance that was told.
func TestStatement_PagesStandStill(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	for range 3 {
		c.order(k, 1000).loaded()
	}
	var first, second, later api.Statement
	c.must(http.StatusOK, c.get(api.PathStatement+"?limit=2"), &first)
	c.must(http.StatusOK, c.get(api.PathStatement+"?limit=2&cursor="+first.Page.Next), &second)
	require.Len(t, second.Lines, 2)
	require.Empty(t, second.Page.Next)
	c.login()
	c.order(k, 1000).loaded()
	c.must(http.StatusOK, c.get(api.PathStatement+"?limit=2&cursor="+first.Page.Next), &later)
	require.Equal(t, second, later)
}

// What a list does not know is refused, and a page is never larger than it may be.
func TestStatement_RefusesWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	for _, path := range []string{api.PathStatement, api.PathLoads, api.PathPurchases} {
		for _, query := range []string{
			"?limit=0", "?limit=501", "?limit=x", "?min=-1", "?max=1.5", "?from=20260315", "?to=yesterday", "?cursor=x", "?colour=red",
			"?from=2026-03-15&from=2026-03-16", "?text=" + strings.Repeat("x", api.MaxSelectionText+1), "?text=%FF", "?min=99999999999999999999",
		} {
			require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(path+query)), path+query)
		}
	}
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathStatement+"?state=LOADED")))
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathLoads+"?type=load-hold")))
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathLoads+"?card=1")))
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathLoads+"?open=perhaps")))
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.get(api.PathStatement+"?cursor=-1")))
	c.must(http.StatusOK, c.get(api.PathStatement+"?from=2026-03-15T23:30:00Z"), nil) // a moment means its business day
}

// benchmarked are the first pages that people ask for of a long statement.
var benchmarked = []struct {
	name      string
	selection api.Selection
}{
	{"newest 100", api.Selection{}},
	{"one month, a kind", api.Selection{From: "2024-05-01", To: "2024-05-31", Type: "load-hold"}},
	{"amounts that few have", api.Selection{Min: 109000}},
	{"text that nothing has", api.Selection{Text: "no such order"}},
}

// TestBench_Statement measures filtered first pages of 10⁵ postings through the handler,
// signature and JSON included; the aim is 200 ms.
func TestBench_Statement(t *testing.T) {
	if os.Getenv("WALLET_BENCH") == "" {
		t.Skip("a measurement: ./dev bench")
	}
	w := newWorld(t)
	c := w.teller(testPhone)
	w.seedLedger(c.session.User, manyEntries)
	for _, path := range []string{api.PathStatement, api.PathLoads} {
		for _, row := range benchmarked {
			selection := row.selection
			if path == api.PathLoads {
				selection.Type = ""
			}
			var took []time.Duration
			for range 21 {
				began := time.Now()
				c.must(http.StatusOK, c.get(path+query(selection)), nil)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			fmt.Printf("bench: %s of 10^5 entries, %s|%.1f ms|-|median of 21|%.1f–%.1f ms|≤ 200 ms\n", path, row.name,
				float64(took[10].Microseconds())/1000, float64(took[0].Microseconds())/1000, float64(took[20].Microseconds())/1000)
		}
	}
}

// BenchmarkStatement is the newest page of 10⁵ postings.
func BenchmarkStatement(b *testing.B) {
	w := newWorld(b)
	c := w.teller(testPhone)
	w.seedLedger(c.session.User, manyEntries)
	for b.Loop() {
		c.must(http.StatusOK, c.get(api.PathStatement), nil)
	}
}
