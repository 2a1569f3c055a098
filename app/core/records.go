package core

import (
	"context"
	"slices"
	"sort"
	"strings"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Records is what the platform has written down about an account. It decides nothing
// about money.
type Records interface {
	// Limits tells what the account and this device may still pay.
	Limits(ctx context.Context) (api.LimitsShown, error)
	// SetLimit sets a day limit of the person's own; password may be nil.
	SetLimit(ctx context.Context, change api.LimitsChange, password func(ctx context.Context) (string, error)) (api.LimitsShown, error)
	// FindStatement, FindOrders and FindPurchases give one page each, newest first.
	FindStatement(ctx context.Context, selection api.Selection) (api.Statement, error)
	FindOrders(ctx context.Context, selection api.Selection) (api.Orders, error)
	FindPurchases(ctx context.Context, selection api.Selection) (api.Purchases, error)
}

// capOf is what a card may hold, by the policy and by what the issuer knows of it.
func capOf(session Session, asn wallet.ASN) wallet.Fen {
	i := slices.IndexFunc(session.Cards, func(k api.Card) bool { return k.ASN == asn })
	return session.Policy.Limits.Cap(i >= 0 && session.Cards[i].Named)
}

// Limits tells every limit of the account, with what is used up and when it resets.
func (c *Core) Limits(ctx context.Context) (api.LimitsShown, error) {
	if err := c.connect(ctx); err != nil {
		return api.LimitsShown{}, err
	}
	return c.Platform.Limits(ctx)
}

// SetLimit sets a day limit of the person's own, of the account or of a device. The
// payment password is asked for only where the limit would be raised.
func (c *Core) SetLimit(ctx context.Context, change api.LimitsChange, password func(ctx context.Context) (string, error)) (api.LimitsShown, error) {
	shown, err := c.Limits(ctx)
	if err != nil {
		return shown, err
	}
	now := shown.UserDay
	if change.Device != "" {
		i := slices.IndexFunc(shown.Devices, func(d api.DeviceLimit) bool { return d.Device == change.Device })
		if i < 0 {
			return shown, &Failure{Code: "NOT_FOUND"}
		}
		now = shown.Devices[i].Day
	}
	if now == nil || change.Day != nil && *change.Day <= *now {
		password = nil
	}
	return c.Platform.SetLimit(ctx, change, password)
}

// Statement is some of the postings on the main account, newest first.
type Statement struct {
	Lines []api.StatementLine
	More  bool // older ones fit the selection as well
}

// Statement gives at most limit postings that fit a selection; 0: all of them.
func (c *Core) Statement(ctx context.Context, selection api.Selection, limit int) (Statement, error) {
	var found Statement
	if err := c.connect(ctx); err != nil {
		return found, err
	}
	more, err := eachPage(selection, limit, func(selection api.Selection) (int, string, error) {
		page, err := c.Platform.FindStatement(ctx, selection)
		found.Lines = append(found.Lines, page.Lines...)
		return len(page.Lines), page.Page.Next, err
	})
	found.More = more
	return found, err
}

// eachPage asks for page after page until limit lines were told (0: all), and tells
// whether there are more.
func eachPage(selection api.Selection, limit int, ask func(api.Selection) (lines int, next string, err error)) (more bool, err error) {
	for told := 0; ; {
		selection.Limit = api.PageMax
		if limit > 0 {
			selection.Limit = min(limit-told, api.PageMax)
		}
		lines, next, err := ask(selection)
		told += lines
		switch {
		case err != nil || next == "" || next == selection.Cursor:
			return false, err
		case limit > 0 && told >= limit:
			return true, nil
		}
		selection.Cursor = next
	}
}

// OrderSelection narrows a list of orders; the zero value selects all.
type OrderSelection struct {
	api.Selection
	Kind string // wallet.KindLoad, KindPurchase or KindFunding, or KindBankReturn; empty: all
}

// FoundOrders are some orders, youngest first.
type FoundOrders struct {
	Lines []OrderLine
	More  bool
	Stale error // why the platform could not be asked: Lines is what this computer knows
}

// FindOrders gives at most limit orders that fit a selection, 0: all. What this
// computer began and the platform has not heard of is among them.
func (c *Core) FindOrders(ctx context.Context, selection OrderSelection, limit int) (found FoundOrders, err error) {
	entries, err := c.Store.Entries(ctx, EntryFilter{})
	if err != nil {
		return found, err
	}
	stages := map[string]wallet.Stage{}
	for _, entry := range entries {
		stages[entry.Key] = entry.Stage
	}
	seen := map[string]bool{}
	found.Lines, found.More, found.Stale = c.platformLines(ctx, selection, limit, stages, seen)
	whole := found.Stale == nil && !found.More && selection == OrderSelection{}
	for _, entry := range entries {
		line := lineOfEntry(entry)
		if seen[entry.Key] || entry.Order != "" && seen[entry.Order] || !selection.fits(line) {
			continue
		}
		if whole || found.Stale != nil || c.onlyHere(ctx, entry) {
			found.Lines = append(found.Lines, line)
		}
	}
	sort.SliceStable(found.Lines, func(i, j int) bool { return found.Lines[i].Created.After(found.Lines[j].Created) })
	if limit > 0 && len(found.Lines) > limit {
		found.Lines, found.More = found.Lines[:limit], true
	}
	return found, nil
}

// onlyHere tells whether the platform does not list an order because it does not know
// it, as after a restore, and not because it does not fit there. Only what may still
// hold money is asked about.
func (c *Core) onlyHere(ctx context.Context, entry wallet.Entry) bool {
	if entry.Order == "" {
		return true
	}
	if entry.Stage.Final() {
		return false
	}
	one := api.Selection{Order: entry.Order, Limit: 1}
	if entry.IsPurchase() {
		page, err := c.Platform.FindPurchases(ctx, one)
		return err == nil && len(page.Purchases) == 0
	}
	page, err := c.Platform.FindOrders(ctx, one)
	return err == nil && len(page.Orders) == 0
}

// platformLines asks the platform for the newest orders of every kind that fit.
func (c *Core) platformLines(ctx context.Context, selection OrderSelection, limit int, stages map[string]wallet.Stage, seen map[string]bool) (lines []OrderLine, more bool, err error) {
	if err := c.connect(ctx); err != nil {
		return nil, false, err
	}
	if selection.asksFor(wallet.KindLoad) {
		loadsMore, err := eachPage(selection.Selection, limit, func(s api.Selection) (int, string, error) {
			page, err := c.Platform.FindOrders(ctx, s)
			for _, order := range page.Orders {
				seen[order.Key] = true
				lines = append(lines, lineOfOrder(order, stages[order.Key]))
			}
			return len(page.Orders), page.Page.Next, err
		})
		if err != nil {
			return lines, false, err
		}
		more = loadsMore
	}
	if selection.asksFor(wallet.KindPurchase) {
		purchasesMore, err := eachPage(selection.Selection, limit, func(s api.Selection) (int, string, error) {
			page, err := c.Platform.FindPurchases(ctx, s)
			for _, purchase := range page.Purchases {
				seen[purchase.Key] = true
				lines = append(lines, lineOfPurchase(purchase, stages[purchase.Key]))
			}
			return len(page.Purchases), page.Page.Next, err
		})
		if err != nil {
			return lines, more, err
		}
		more = more || purchasesMore
	}
	moved, err := c.accountLines(ctx, selection, stages, seen)
	return append(lines, moved...), more, err
}

// accountLines are the orders that no card takes part in: fundings and returns to a
// bank. The platform tells all of them, and they are narrowed here.
func (c *Core) accountLines(ctx context.Context, selection OrderSelection, stages map[string]wallet.Stage, seen map[string]bool) (lines []OrderLine, err error) {
	if selection.Card != "" {
		return nil, nil
	}
	keep := func(line OrderLine) {
		if selection.fits(line) {
			lines = append(lines, line)
		}
	}
	if selection.asksFor(wallet.KindFunding) {
		fundings, err := c.Platform.Fundings(ctx)
		if err != nil {
			return nil, err
		}
		for _, funding := range fundings.Fundings {
			seen[funding.Key], seen[funding.Funding] = true, true
			keep(lineOfFunding(funding, stages[funding.Key]))
		}
	}
	if selection.asksFor(KindBankReturn) {
		returns, err := c.Platform.BankReturns(ctx)
		if err != nil {
			return lines, err
		}
		for _, told := range returns.Returns {
			keep(lineOfReturn(told))
		}
	}
	return lines, nil
}

func (s OrderSelection) asksFor(kind string) bool { return s.Kind == "" || s.Kind == kind }

// fits narrows what only this computer knows as the platform narrows its own.
func (s OrderSelection) fits(line OrderLine) bool {
	day := line.Created.In(businessZone).Format(api.DayForm)
	text := line.Order + "\x00" + line.Merchant + "\x00" + line.Goods + "\x00" + line.Source
	switch {
	case s.Kind != "" && s.Kind != line.Kind,
		s.Open && line.Next == "none",
		s.State != "" && s.State != string(line.State),
		s.From != "" && day < s.From, s.To != "" && day > s.To,
		s.Min > 0 && int64(line.Amount) < s.Min, s.Max > 0 && int64(line.Amount) > s.Max,
		s.Order != "" && s.Order != line.Order,
		s.Card != "" && !strings.EqualFold(s.Card, line.ASN.String()),
		s.Text != "" && !strings.Contains(text, s.Text):
		return false
	}
	return true
}
