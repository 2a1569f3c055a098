package core

import (
	"context"
	"sort"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// OrderLine answers "where is my money" for one order: paid and on the card are
// two facts. For a funding Paid says that the main account has the money. For a purchase Paid says that the card is known to be debited and OnCard
// whether its money is still on the card; Debited and Delivered are its own two facts.
type OrderLine struct {
	Order   string
	Key     string
	Kind    string           // wallet.KindLoad, KindPurchase or KindFunding, or KindBankReturn
	State   wallet.LoadState // of the others: the name of their own state
	Stage   wallet.Stage     // of this computer's journal, if it knows the order
	ASN     wallet.ASN
	Amount  wallet.Fen
	Fee     wallet.Fen
	Created time.Time
	Paid    bool   // the money left the main account
	OnCard  *bool  // nil: nobody knows yet
	Next    string // "none", "sync", "counter", "wait"
	Receipt *wallet.Receipt

	Source  string                 // fundings only: where the money comes from
	Funding *wallet.FundingReceipt // fundings only

	Merchant  string // purchases only, as all below
	Goods     string
	Debited   *bool // nil: nobody knows yet
	Delivered bool
	DoubtEnds *time.Time
	Purchase  *wallet.PurchaseReceipt
}

// Orders lists orders, youngest first. Without a platform it tells what this
// computer knows; stale then says why.
func (c *Core) Orders(ctx context.Context, openOnly bool) (lines []OrderLine, stale error) {
	entries, err := c.Store.Entries(ctx, EntryFilter{})
	if err != nil {
		return nil, err
	}
	listed, stale := c.platformOrders(ctx)
	byKey := map[string]wallet.Entry{}
	for _, entry := range entries {
		byKey[entry.Key] = entry
	}
	seen := map[string]bool{}
	for _, order := range listed {
		seen[order.Key] = true
		lines = append(lines, lineOfOrder(order, byKey[order.Key].Stage))
	}
	if stale == nil {
		purchases, err := c.Platform.Purchases(ctx)
		for _, purchase := range purchases.Purchases {
			seen[purchase.Key], seen[purchase.Purchase] = true, true
			lines = append(lines, lineOfPurchase(purchase, byKey[purchase.Key].Stage))
		}
		stale = err
	}
	if stale == nil {
		fundings, err := c.Platform.Fundings(ctx)
		for _, funding := range fundings.Fundings {
			seen[funding.Key], seen[funding.Funding] = true, true
			lines = append(lines, lineOfFunding(funding, byKey[funding.Key].Stage))
		}
		stale = err
	}
	if stale == nil {
		returns, err := c.Platform.BankReturns(ctx)
		for _, told := range returns.Returns {
			lines = append(lines, lineOfReturn(told))
		}
		stale = err
	}
	for _, entry := range entries {
		if !seen[entry.Key] && !seen[entry.Order] {
			lines = append(lines, lineOfEntry(entry))
		}
	}
	sort.SliceStable(lines, func(i, j int) bool { return lines[i].Created.After(lines[j].Created) })
	if openOnly {
		lines = onlyOpen(lines)
	}
	return lines, stale
}

func (c *Core) platformOrders(ctx context.Context) ([]api.Order, error) {
	if c.Platform == nil {
		return nil, &Failure{Code: "PROFILE_INCOMPLETE"}
	}
	if err := c.Platform.Connect(ctx); err != nil {
		return nil, err
	}
	answer, err := c.Platform.Orders(ctx)
	return answer.Orders, err
}

func lineOfOrder(order api.Order, stage wallet.Stage) OrderLine {
	line := OrderLine{
		Order: order.Order, Key: order.Key, Kind: wallet.KindLoad, State: order.State, Stage: stage, ASN: order.ASN,
		Amount: order.Amount, Fee: order.Fee, Created: order.Created, Receipt: order.ReceiptBody,
	}
	line.decide()
	return line
}

// lineOfPurchase is what the platform says of a purchase. Its own debited is nil
// where only this computer knows that the card answered.
func lineOfPurchase(purchase api.Purchase, stage wallet.Stage) OrderLine {
	created, _ := time.Parse(time.RFC3339, purchase.Created)
	line := OrderLine{
		Order: purchase.Purchase, Key: purchase.Key, Kind: wallet.KindPurchase, State: wallet.LoadState(purchase.State), Stage: stage,
		ASN: purchase.ASN, Amount: purchase.Amount, Created: created, Merchant: purchase.Merchant, Goods: purchase.Goods,
		Debited: purchase.Debited, Delivered: purchase.Delivered, Purchase: purchase.ReceiptBody,
	}
	if stage == wallet.StageDebited && line.Debited == nil {
		line.Debited, _ = factsOf(stage, nil)
	}
	line.decidePurchase()
	return line
}

// lineOfEntry speaks for an order whose platform cannot be asked.
func lineOfEntry(entry wallet.Entry) OrderLine {
	if entry.IsFunding() {
		return fundingEntryLine(entry)
	}
	if entry.IsPurchase() {
		line := OrderLine{
			Order: entry.Order, Key: entry.Key, Kind: wallet.KindPurchase, Stage: entry.Stage, State: wallet.LoadState(purchaseOfStage[entry.Stage]),
			ASN: entry.ASN, Amount: entry.Amount, Created: entry.At, Merchant: entry.Merchant, Goods: entry.Goods,
		}
		line.Debited, line.Delivered = factsOf(entry.Stage, nil)
		line.decidePurchase()
		return line
	}
	line := OrderLine{
		Order: entry.Order, Key: entry.Key, Kind: wallet.KindLoad, Stage: entry.Stage, State: stateOfStage[entry.Stage],
		ASN: entry.ASN, Amount: entry.Amount, Fee: entry.Fee, Created: entry.At,
	}
	line.decide()
	return line
}

var stateOfStage = map[wallet.Stage]wallet.LoadState{
	wallet.StageIntent: wallet.StateReceived, wallet.StageOpened: wallet.StateReceived, wallet.StageAsked: wallet.StateReceived,
	wallet.StageGranted: wallet.StateGranted, wallet.StageCrediting: wallet.StateGranted, wallet.StageUnknown: wallet.StateGranted,
	wallet.StageCredited: wallet.StateGranted, wallet.StageConfirmed: wallet.StateLoaded, wallet.StageVoided: wallet.StateVoided,
	wallet.StageAbandoned: wallet.StateDeclined, wallet.StageDeclined: wallet.StateDeclined,
}

var purchaseOfStage = map[wallet.Stage]wallet.PurchaseStateName{
	wallet.StagePurchaseIntent: wallet.PurchaseOffered, wallet.StageAsked: wallet.PurchaseOffered,
	wallet.StageAuthorised: wallet.PurchaseAuthorised, wallet.StageDebiting: wallet.PurchaseAuthorised,
	wallet.StageDebited: wallet.PurchaseAuthorised, wallet.StageDoubtful: wallet.PurchaseDoubtful,
	wallet.StageConfirmed: wallet.PurchasePaid, wallet.StageRefunded: wallet.PurchaseRefunded, wallet.StageNotTaken: wallet.PurchaseNotTaken,
	wallet.StageAbandoned: wallet.PurchaseDeclined, wallet.StageDeclined: wallet.PurchaseDeclined,
}

// decidePurchase fills what follows from the two facts, and the next step.
func (l *OrderLine) decidePurchase() {
	if l.Debited != nil {
		kept := !*l.Debited
		l.Paid, l.OnCard = *l.Debited, &kept
	}
	switch wallet.PurchaseStateName(l.State) {
	case wallet.PurchaseAuthorised, wallet.PurchaseDoubtful:
		l.Next = "sync"
		if l.Stage == wallet.StageDebited {
			l.Next = "wait"
		}
	case wallet.PurchaseSuspense:
		l.Next = "counter"
	case wallet.PurchaseOffered:
		l.Next = "none"
		if l.Stage == wallet.StageAsked {
			l.Next = "sync"
		}
	default:
		l.Next = "none"
	}
}

// decide fills the two facts and the next step from state and stage.
func (l *OrderLine) decide() {
	yes, no := true, false
	switch l.State {
	case wallet.StateLoaded:
		l.Paid, l.OnCard, l.Next = true, &yes, "none"
	case wallet.StateVoided, wallet.StateDeclined:
		l.OnCard, l.Next = &no, "none"
	case wallet.StateSuspense:
		l.Paid, l.Next = true, "counter"
	case wallet.StateGranted:
		l.Paid, l.Next = true, "sync"
		if l.Stage == wallet.StageCredited {
			l.OnCard, l.Next = &yes, "wait"
		}
	default:
		l.Next = "sync"
		if l.Stage != wallet.StageAsked {
			l.OnCard, l.Next = &no, "none"
		}
	}
}

func onlyOpen(lines []OrderLine) []OrderLine {
	var open []OrderLine
	for _, line := range lines {
		if line.Next != "none" {
			open = append(open, line)
		}
	}
	return open
}

// Receipt returns the signed receipt of an order, from this computer's store or,
// where it has none, from the platform's list.
func (c *Core) Receipt(ctx context.Context, order string) (wallet.Receipt, error) {
	signed, found, err := c.Store.Receipt(ctx, order)
	if err != nil {
		return wallet.Receipt{}, err
	}
	if found && c.Platform != nil {
		var state wallet.OrderState
		if err := c.Platform.Signers().Open(wallet.DomainReceipt, signed, &state); err == nil && state.ReceiptBody != nil {
			return *state.ReceiptBody, nil
		}
	}
	listed, err := c.platformOrders(ctx)
	if err != nil {
		return wallet.Receipt{}, err
	}
	for _, each := range listed {
		if each.Order == order && each.ReceiptBody != nil {
			return *each.ReceiptBody, nil
		}
	}
	return wallet.Receipt{}, &Failure{Code: "ORDER_UNKNOWN", Detail: map[string]any{"order": order}}
}

// PurchaseReceipt returns the signed receipt of a purchase, as Receipt does of a load.
func (c *Core) PurchaseReceipt(ctx context.Context, purchase string) (wallet.PurchaseReceipt, error) {
	signed, found, err := c.Store.Receipt(ctx, purchase)
	if err != nil {
		return wallet.PurchaseReceipt{}, err
	}
	if found && c.Platform != nil {
		var statement wallet.PurchaseStatement
		if err := c.Platform.Signers().Open(wallet.DomainPurchaseReceipt, signed, &statement); err == nil && statement.ReceiptBody != nil {
			return *statement.ReceiptBody, nil
		}
	}
	if err := c.connect(ctx); err != nil {
		return wallet.PurchaseReceipt{}, err
	}
	listed, err := c.Platform.Purchases(ctx)
	if err != nil {
		return wallet.PurchaseReceipt{}, err
	}
	for _, each := range listed.Purchases {
		if each.Purchase == purchase && each.ReceiptBody != nil {
			return *each.ReceiptBody, nil
		}
	}
	return wallet.PurchaseReceipt{}, &Failure{Code: "ORDER_UNKNOWN", Detail: map[string]any{"order": purchase}}
}
