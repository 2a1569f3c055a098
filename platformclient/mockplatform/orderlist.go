package mockplatform

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// orderSelection reads the query of a list of orders and narrows it by what loads and
// purchases have in common.
func (c *call) orderSelection(open string) (*selection, *reply) {
	s, refusal := c.selected("from", "to", "state", "open", "min", "max", "text", "order", "card", "limit", "cursor")
	if refusal != nil {
		return nil, refusal
	}
	s.and(`user = ?`, c.sender.user)
	if s.Cursor != "" {
		millis, id, found := strings.Cut(s.Cursor, "/")
		created, err := strconv.ParseInt(millis, 10, 64)
		if err != nil || !found {
			return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "the cursor is not one of this list")
		}
		s.and(`(created < ? OR created = ? AND id < ?)`, created, created, id)
	}
	if !s.from.IsZero() {
		s.and(`created >= ?`, s.from.UnixMilli())
	}
	if !s.to.IsZero() {
		s.and(`created < ?`, s.to.UnixMilli())
	}
	if s.State != "" {
		s.and(`state = ?`, s.State)
	}
	if s.Open {
		s.and(open)
	}
	if s.Order != "" {
		s.and(`id = ?`, s.Order)
	}
	if s.asn != nil {
		s.and(`asn = ?`, s.asn.String())
	}
	s.amounts("amount")
	return s, nil
}

// cursorOf names the place behind an order.
func cursorOf(created time.Time, id string) string {
	return strconv.FormatInt(created.UnixMilli(), 10) + "/" + id
}

// listLoads is GET /v1/loads: a page of the person's loads, newest first.
func listLoads(c *call) (reply, error) {
	s, refusal := c.orderSelection(isOpen)
	if refusal != nil {
		return *refusal, nil
	}
	if s.Text != "" {
		s.and(`instr(id, ?) > 0`, s.Text)
	}
	list := api.Orders{Orders: []api.Order{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		orders, err := someOrders(tx, s.condition(), s.Limit+1, s.args...)
		if err != nil {
			return err
		}
		if len(orders) > s.Limit {
			orders = orders[:s.Limit]
			last := orders[s.Limit-1]
			list.Page.Next = cursorOf(last.created, last.id)
		}
		for _, o := range orders {
			line, err := o.line()
			if err != nil {
				return err
			}
			list.Orders = append(list.Orders, line)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

func (o *order) line() (api.Order, error) {
	line := api.Order{
		Order: o.id, Key: o.key, Kind: "load", State: o.state, ASN: o.asn, Amount: o.amount, Fee: o.fee,
		Created: o.created, Attempt: o.attempt, Evidence: o.evidence,
	}
	if len(o.receipt) == 0 {
		return line, nil
	}
	line.ReceiptBody = &wallet.Receipt{}
	return line, json.Unmarshal(o.receipt, line.ReceiptBody)
}

// listPurchases is GET /v1/purchases: a page of the person's purchases, newest first.
func listPurchases(c *call) (reply, error) {
	s, refusal := c.orderSelection(isOpenPurchase)
	if refusal != nil {
		return *refusal, nil
	}
	if s.Text != "" {
		s.and(`(instr(id, ?) > 0 OR instr(merchant, ?) > 0 OR instr(goods, ?) > 0)`, s.Text, s.Text, s.Text)
	}
	list := api.Purchases{Purchases: []api.Purchase{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		purchases, err := somePurchases(tx, s.condition(), s.Limit+1, s.args...)
		if err != nil {
			return err
		}
		if len(purchases) > s.Limit {
			purchases = purchases[:s.Limit]
			last := purchases[s.Limit-1]
			list.Page.Next = cursorOf(last.created, last.id)
		}
		for _, b := range purchases {
			line, err := c.p.purchaseLine(b, c)
			if err != nil {
				return err
			}
			list.Purchases = append(list.Purchases, line)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}
