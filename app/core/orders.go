package core

import (
	"context"
	"sort"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// OrderLine answers "where is my money" for one order: paid and on the card are
// two facts.
type OrderLine struct {
	Order   string
	Key     string
	Kind    string // "load"
	State   wallet.LoadState
	Stage   wallet.Stage // of this computer's journal, if it knows the order
	ASN     wallet.ASN
	Amount  wallet.Fen
	Fee     wallet.Fen
	Created time.Time
	Paid    bool   // the money left the main account
	OnCard  *bool  // nil: nobody knows yet
	Next    string // "none", "sync", "counter", "wait"
	Receipt *wallet.Receipt
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
		Order: order.Order, Key: order.Key, Kind: "load", State: order.State, Stage: stage, ASN: order.ASN,
		Amount: order.Amount, Fee: order.Fee, Created: order.Created, Receipt: order.ReceiptBody,
	}
	line.decide()
	return line
}

// lineOfEntry speaks for an order whose platform cannot be asked.
func lineOfEntry(entry wallet.Entry) OrderLine {
	line := OrderLine{
		Order: entry.Order, Key: entry.Key, Kind: "load", Stage: entry.Stage, State: stateOfStage[entry.Stage],
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
