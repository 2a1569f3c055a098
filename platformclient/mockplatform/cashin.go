package mockplatform

import (
	"net/http"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// Cash at the counter (M7). The money has changed hands before the platform hears of
// it, so a booking is never lost: below a limit the teller's word credits it, above it
// a supervisor who is somebody else confirms first.
const (
	cashAlone wallet.Fen = 200_000   // up to this one person books alone
	cashMax   wallet.Fen = 5_000_000 // no more in one booking
)

// cashRoutes registers the routes of cash.
func cashRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("POST", api.PathStaffCashIns, authStaff, bookCash)
	handle("GET", api.PathStaffCashIns, authStaff, listCash)
	handle("POST", api.PathStaffCashConfirm, authStaff, confirmCash)
	handle("POST", api.PathStaffCashReject, authStaff, rejectCash)
}

// bookCash is POST /v1/staff/cash-ins. The till's receipt number is the key: the same
// booking again is answered as it stands, another one under the number is refused.
func bookCash(c *call) (reply, error) {
	var request api.StaffCashIn
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if request.Amount <= 0 || request.Amount > cashMax || !plainName(request.Receipt) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "an amount up to 50000.00 and the till's receipt number are needed"), nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		payee, err := findAccount(tx, "phone", request.Phone)
		if err != nil {
			return err
		}
		if payee == nil {
			answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no account with this phone number")
			return nil
		}
		f, err := findFunding(tx, `kind = ? AND bank_serial = ?`, api.FundingCash, request.Receipt)
		if err != nil {
			return err
		}
		if f != nil && (f.user != payee.id || f.amount != request.Amount) {
			answer = failure(http.StatusUnprocessableEntity, api.CodeKeyReused, "this receipt number belongs to another booking")
			return nil
		}
		if f == nil {
			code, err := cashRefused(tx, payee)
			if err != nil || code != "" {
				answer = failure(statusOf(code), code, refusalText(code))
				return err
			}
			if f, err = c.newCash(tx, payee, request); err != nil {
				return err
			}
		}
		answer, err = shownCash(tx, f)
		return err
	})
	return answer, err
}

// cashRefused tells why no cash is taken for an account.
func cashRefused(tx *Tx, payee *account) (code string, err error) {
	if !payee.allows(actCreditIn) {
		return api.CodeAccountState, nil
	}
	closed, err := serviceClosed(tx, payee.phone)
	if closed {
		code = api.CodeServiceClosed
	}
	return code, err
}

func (c *call) newCash(tx *Tx, payee *account, request api.StaffCashIn) (*funding, error) {
	id, err := c.p.newOrderID(tx)
	if err != nil {
		return nil, err
	}
	f := &funding{
		id: id, key: "cash:" + request.Receipt, user: payee.id, device: c.sender.staff, core: []byte{}, amount: request.Amount,
		kind: api.FundingCash, source: "cash:" + request.Receipt, ref: c.sender.staffName, serial: request.Receipt,
		state: wallet.FundingReceived, created: c.p.now(),
	}
	if err := insertFunding(tx, f); err != nil {
		return nil, err
	}
	if err := c.p.audit(tx, c.sender.actor(), "cash-in", f.id, f.amount.Yuan()+" "+request.Receipt); err != nil {
		return nil, err
	}
	if f.amount > cashAlone {
		return f, nil
	}
	return f, c.p.noteFunding(tx, f, fundingNews{event: rules.FundingPaid})
}

func shownCash(tx *Tx, f *funding) (reply, error) {
	line, err := cashLine(tx, f)
	if err != nil {
		return reply{}, err
	}
	return success(line)
}

func cashLine(tx *Tx, f *funding) (api.StaffCash, error) {
	line := api.StaffCash{Funding: f.id, State: f.state, Amount: f.amount, Receipt: f.serial, Teller: f.ref, Created: f.created}
	payee, err := findAccount(tx, "user", f.user)
	if payee != nil {
		line.Payee = maskedPhone(payee.phone)
	}
	return line, err
}

// listCash lists what waits for a second person, oldest last.
func listCash(c *call) (reply, error) {
	list := api.StaffCashIns{CashIns: []api.StaffCash{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		waiting, err := findFundings(tx, `kind = ? AND state = ?`, api.FundingCash, string(wallet.FundingReceived))
		if err != nil {
			return err
		}
		for _, f := range waiting {
			line, err := cashLine(tx, f)
			if err != nil {
				return err
			}
			list.CashIns = append(list.CashIns, line)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(list)
}

func confirmCash(c *call) (reply, error) { return c.decideCash(rules.FundingPaid, "cash-confirmed") }
func rejectCash(c *call) (reply, error)  { return c.decideCash(rules.FundingRefused, "cash-rejected") }

// decideCash is the second person's word: a supervisor, and not the teller.
func (c *call) decideCash(event rules.FundingEvent, action string) (reply, error) {
	var request api.StaffReason
	if refusal := firstOf(c.needSupervisor(), c.decode(&request), needReason(request.Reason)); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		f, err := findFunding(tx, `kind = ? AND id = ?`, api.FundingCash, c.req.PathValue("id"))
		if err != nil {
			return err
		}
		switch {
		case f == nil:
			answer = failure(http.StatusNotFound, api.CodeNotFound, "there is no such order")
			return nil
		case f.device == c.sender.staff:
			answer = failure(statusOf(api.CodeSecondPerson), api.CodeSecondPerson, refusalText(api.CodeSecondPerson))
			return nil
		case f.state != wallet.FundingReceived:
			answer = failure(statusOf(api.CodeProposalClosed), api.CodeProposalClosed, refusalText(api.CodeProposalClosed))
			return nil
		}
		if err := c.act(tx, action, f.id, request.Reason, string(f.state), string(event)); err != nil {
			return err
		}
		if err := c.p.noteFunding(tx, f, fundingNews{event: event}); err != nil {
			return err
		}
		answer, err = shownCash(tx, f)
		return err
	})
	return answer, err
}
