package mockplatform

import (
	"database/sql"
	"net/http"
	"slices"
	"strings"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// listStaffOrders is GET /v1/staff/orders: the orders of a card, or one order. That
// somebody looked is written down as well.
func listStaffOrders(c *call) (reply, error) {
	query := c.req.URL.Query()
	id, card := query.Get("order"), query.Get("asn")
	where, value := `id = ?`, id
	if id == "" {
		asn, err := wallet.ParseASN(card)
		if err != nil {
			return failure(http.StatusBadRequest, api.CodeBadRequest, "the number of an order or the serial of a card is needed"), nil
		}
		where, value = `asn = ?`, asn.String()
	}
	list := api.StaffOrders{Orders: []api.StaffOrder{}}
	err := c.update(func(tx *Tx) error {
		list.Orders = list.Orders[:0]
		loads, err := findOrders(tx, where, value)
		if err != nil {
			return err
		}
		purchases, err := findPurchases(tx, where, value)
		if err != nil {
			return err
		}
		for _, o := range loads {
			line, err := staffLoad(tx, o)
			if err != nil {
				return err
			}
			list.Orders = append(list.Orders, line)
		}
		for _, b := range purchases {
			line, err := staffPurchase(tx, b)
			if err != nil {
				return err
			}
			list.Orders = append(list.Orders, line)
		}
		slices.SortStableFunc(list.Orders, func(a, b api.StaffOrder) int { return b.Created.Compare(a.Created) })
		return c.p.audit(tx, c.sender.actor(), "staff-orders", maskedSubject(id, card), "")
	})
	if err != nil {
		return reply{}, err
	}
	if id != "" && len(list.Orders) == 0 {
		return failure(http.StatusNotFound, api.CodeNotFound, "there is no such order"), nil
	}
	return success(list)
}

func maskedSubject(id, card string) string {
	if asn, err := wallet.ParseASN(card); id == "" && err == nil {
		return asn.Masked()
	}
	return id
}

func staffLoad(tx *Tx, o *order) (api.StaffOrder, error) {
	line := api.StaffOrder{
		Order: o.id, Kind: wallet.KindLoad, State: string(o.state), Cause: string(o.cause), ASN: o.asn, Amount: o.amount, Fee: o.fee,
		Attempt: o.attempt, Evidence: o.evidence, WrongSeen: o.wrongs, Created: o.created,
		TACSeen: o.evidence == "tac" || o.evidence == "prove",
	}
	if o.state == wallet.StateGranted || o.state == wallet.StateSuspense {
		line.Held = o.amount + o.fee
	}
	attempts, err := attemptsOf(tx, o.id)
	if err != nil {
		return line, err
	}
	line.BalanceSeen = len(attempts) > 0 && attempts[0].balanceBefore != nil
	return line, finishLine(tx, &line, o.user, o.state == wallet.StateGranted)
}

func staffPurchase(tx *Tx, b *purchase) (api.StaffOrder, error) {
	line := api.StaffOrder{
		Order: b.id, Kind: wallet.KindPurchase, State: string(b.state), Cause: string(b.cause), ASN: b.asn, Amount: b.amount, Attempt: 1,
		Evidence: b.evidence, WrongSeen: b.wrongs, Created: b.created, TACSeen: len(b.tac) > 0, BalanceSeen: !b.probed.IsZero(),
	}
	return line, finishLine(tx, &line, b.user, b.state == wallet.PurchaseAuthorised || b.state == wallet.PurchaseDoubtful)
}

// finishLine adds the payer, what waits for a second person, and what comes next.
func finishLine(tx *Tx, line *api.StaffOrder, user string, touch bool) error {
	payer, err := findAccount(tx, "user", user)
	if err != nil {
		return err
	}
	if payer != nil {
		line.Payer = maskedPhone(payer.phone)
	}
	proposed, err := findProposal(tx, `order_id = ? AND state = 'OPEN'`, line.Order)
	if err != nil {
		return err
	}
	line.Next = "none"
	switch {
	case touch:
		line.Next = "touch"
	case proposed != nil:
		shown := proposed.shown()
		line.Proposal, line.Next = &shown, "confirm"
	case line.State == string(wallet.StateSuspense):
		line.Next = "decide"
	}
	return nil
}

// maskedPhone leaves the last four digits.
func maskedPhone(phone string) string {
	if len(phone) <= 4 {
		return phone
	}
	return strings.Repeat("*", len(phone)-4) + phone[len(phone)-4:]
}

// showStaffLoad is GET /v1/staff/loads/{id}: the signed state, for the counter's
// journal.
func showStaffLoad(c *call) (answer reply, err error) {
	answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such order")
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		o, err := findOrder(tx, `id = ?`, c.req.PathValue("id"))
		if err != nil || o == nil {
			return err
		}
		answer, err = c.p.answerPresent(tx, o, c, "")
		return err
	})
	return answer, err
}

// showStaffPurchase is GET /v1/staff/purchases/{id}.
func showStaffPurchase(c *call) (answer reply, err error) {
	answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such purchase")
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		b, err := findPurchase(tx, `id = ?`, c.req.PathValue("id"))
		if err != nil || b == nil {
			return err
		}
		answer, err = c.p.answerPurchase(b, c, "")
		return err
	})
	return answer, err
}

// States of a companion (§2.15). One that was never registered is in nobody's table.
const (
	companionRegistered = "REGISTERED"
	companionRevoked    = "REVOKED"
)

// changeCompanion is POST /v1/staff/companions.
func changeCompanion(c *call) (reply, error) {
	var request api.StaffCompanionChange
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	if !plain(request.Phone, 32) || !plain(request.Serial, 64) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a phone number and a serial without blanks are needed"), nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		var phone, state string
		if _, err := tx.row(`SELECT phone, state FROM companions WHERE serial = ?`, []any{request.Serial}, &phone, &state); err != nil {
			return err
		}
		mine := phone == request.Phone && state == companionRegistered
		switch {
		case request.Register && state == companionRegistered && !mine:
			answer = failure(http.StatusConflict, api.CodeCompanionTaken, refusalText(api.CodeCompanionTaken))
			return nil
		case !request.Register && !mine:
			answer = failure(http.StatusNotFound, api.CodeNotFound, "this companion is not registered for this phone number")
			return nil
		}
		after := companionRevoked
		if request.Register {
			after = companionRegistered
		}
		err := tx.exec(`INSERT INTO companions (serial, phone, state, changed) VALUES (?, ?, ?, ?)
			ON CONFLICT (serial) DO UPDATE SET phone = excluded.phone, state = excluded.state, changed = excluded.changed`,
			request.Serial, request.Phone, after, c.p.now().UnixMilli())
		if err != nil {
			return err
		}
		if err := c.act(tx, "companion", request.Serial, request.Reason, phone+" "+state, request.Phone+" "+after); err != nil {
			return err
		}
		serials, err := companionsOf(tx, request.Phone)
		if err != nil {
			return err
		}
		answer, err = success(api.StaffCompanions{Phone: request.Phone, Serials: serials})
		return err
	})
	return answer, err
}

// plain is a word of printable ASCII.
func plain(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

func companionsOf(tx *Tx, phone string) ([]string, error) {
	serials := []string{}
	err := tx.each(`SELECT serial FROM companions WHERE phone = ? AND state = ? ORDER BY serial`, []any{phone, companionRegistered},
		func(rows *sql.Rows) error {
			var serial string
			err := rows.Scan(&serial)
			serials = append(serials, serial)
			return err
		})
	return serials, err
}

// companionFits tells whether this phone number has no companion, or has the one
// that is shown. A client whose reader tells no serial shows its device key, by the
// signature of the request: its thumbprint may be registered like a serial.
//
// A serial is the client's word. It keeps honest programs to the device that the
// counter handed over; the key, which signs, is the stronger of the two.
func companionFits(tx *Tx, phone, serial, thumbprint string) (bool, error) {
	serials, err := companionsOf(tx, phone)
	if serial == "" {
		serial = thumbprint
	}
	return len(serials) == 0 || slices.Contains(serials, serial), err
}

// refuseCompanion says what the computer shows, so that staff can register it.
func refuseCompanion(serial, thumbprint string) reply {
	shown := "companion " + serial
	if !plain(serial, 64) {
		shown = "key " + thumbprint
	}
	return failure(http.StatusForbidden, api.CodeCompanionRefused, refusalText(api.CodeCompanionRefused)+"; this one is "+shown)
}

// moneyRefused gives the code why this account may ask for no money now, or "":
// its service is closed, or this is not its companion.
func (p *Platform) moneyRefused(tx *Tx, phone, serial, thumbprint string) (string, error) {
	closed, err := serviceClosed(tx, phone)
	if err != nil || closed {
		return api.CodeServiceClosed, err
	}
	fits, err := companionFits(tx, phone, serial, thumbprint)
	if err != nil || fits {
		return "", err
	}
	return api.CodeCompanionRefused, nil
}

// serviceClosed tells whether the wallet service of a phone number, or the whole
// service, is closed (W9).
func serviceClosed(tx *Tx, phone string) (bool, error) {
	var found string
	return tx.row(`SELECT phone FROM closed_services WHERE phone IN ('', ?)`, []any{phone}, &found)
}

// changeService is POST /v1/staff/services. The whole service is a supervisor's.
func changeService(c *call) (reply, error) {
	var request api.StaffServiceChange
	if refusal := firstOf(c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	if request.All == (request.Phone != "") || !request.All && !plain(request.Phone, 32) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "either a phone number or the whole service"), nil
	}
	if request.All {
		if refusal := c.needSupervisor(); refusal != nil {
			return *refusal, nil
		}
	}
	err := c.update(func(tx *Tx) error {
		names := map[bool]string{true: "OPEN", false: "CLOSED"}
		var since int64
		closed, err := tx.row(`SELECT since FROM closed_services WHERE phone = ?`, []any{request.Phone}, &since)
		if err != nil {
			return err
		}
		if request.Open {
			err = tx.exec(`DELETE FROM closed_services WHERE phone = ?`, request.Phone)
		} else {
			err = tx.exec(`INSERT INTO closed_services (phone, since, staff, reason) VALUES (?, ?, ?, ?) ON CONFLICT (phone) DO NOTHING`,
				request.Phone, c.p.now().UnixMilli(), c.sender.staff, request.Reason)
		}
		if err != nil {
			return err
		}
		subject := request.Phone
		if request.All {
			subject = "all services"
		}
		return c.act(tx, "service", subject, request.Reason, names[!closed], names[request.Open])
	})
	if err != nil {
		return reply{}, err
	}
	return success(api.StaffService{Phone: request.Phone, All: request.All, Open: request.Open})
}
