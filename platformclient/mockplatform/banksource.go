package mockplatform

import (
	"context"
	"strings"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// When a payment from a bank card needs a code of the bank: always the first time,
// then above these (§2.14).
const (
	bankCodeOrder wallet.Fen = 200_00 // per order
	bankCodeDay   wallet.Fen = 500_00 // per business day and card
)

// bankSource is money from a bound bank card, or from the bank's gateway. The
// funding's number is our serial at the bank.
type bankSource struct{ p *Platform }

// bankAsk is a row of bank_asks.
type bankAsk struct {
	binding, cardRef, codeOf string
	code                     []byte // sealed; empty without one, or when it was used
}

func findBankAsk(tx *Tx, funding string) (*bankAsk, error) {
	a := &bankAsk{}
	found, err := tx.row(`SELECT binding, card_ref, code_of, code FROM bank_asks WHERE funding = ?`, []any{funding}, &a.binding, &a.cardRef, &a.codeOf, &a.code)
	if err != nil || !found {
		return nil, err
	}
	return a, nil
}

// noteAsk keeps what the bank is to be asked for, in the commit that stores the funding.
func (s bankSource) noteAsk(tx *Tx, f *funding, a bankAsk) error {
	return tx.exec(`INSERT INTO bank_asks (funding, bank, binding, card_ref, code_of, code, day) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		f.id, "", a.binding, a.cardRef, a.codeOf, append([]byte{}, a.code...), businessDay(f.created))
}

// start judges a payment by quick pay, or begins an order at the gateway.
func (s bankSource) start(ask *fundingAsk) (fundingNews, error) {
	request := ask.request
	if request.Amount <= 0 {
		return refuseFunding(api.CodeDeclined), nil
	}
	if request.Source.ID == api.BankGateway {
		return fundingNews{event: rules.FundingAsked}, s.noteAsk(ask.tx, ask.funding, bankAsk{})
	}
	b, err := findBinding(ask.tx, ask.account.id, request.Source.ID)
	if err != nil {
		return fundingNews{}, err
	}
	if b == nil || b.state != api.BankBound {
		return refuseFunding(api.CodeBankBinding), nil
	}
	if wrong, err := s.p.judgePassword(ask.tx, ask.account, ask.password); err != nil || wrong != nil {
		return fundingNews{event: rules.FundingRefused, refusal: wrong}, err
	}
	above, err := s.p.codeAbove(ask.tx, b)
	if err != nil {
		return fundingNews{}, err
	}
	row := bankAsk{binding: b.id, cardRef: b.cardRef}
	switch code := request.Source.Code; {
	case code != nil && (!bankapi.ValidSerial(code.CodeID) || len(code.Code) == 0 || len(code.Code) > 16):
		return refuseFunding(api.CodeBankCodeWrong), nil
	case code != nil:
		row.codeOf, row.code = code.CodeID, s.p.sealer.seal("bank-code "+ask.funding.id, []byte(code.Code))
	case request.Amount > above:
		return refuseFunding(api.CodeBankCodeNeeded), nil
	}
	ask.funding.ref = b.id
	return fundingNews{event: rules.FundingAsked}, s.noteAsk(ask.tx, ask.funding, row)
}

// codeAbove is the largest payment that needs no code of the bank now.
func (p *Platform) codeAbove(tx *Tx, b *binding) (wallet.Fen, error) {
	var paid, today wallet.Fen
	if _, err := tx.row(`SELECT COALESCE(SUM(f.amount), 0) FROM bank_asks a JOIN fundings f ON f.id = a.funding WHERE a.binding = ? AND f.state = 'DONE'`,
		[]any{b.id}, &paid); err != nil || paid == 0 {
		return 0, err // always the first time
	}
	_, err := tx.row(`SELECT COALESCE(SUM(f.amount), 0) FROM bank_asks a JOIN fundings f ON f.id = a.funding
		WHERE a.binding = ? AND a.day = ? AND f.state NOT IN ('DECLINED', 'REVERSED')`, []any{b.id, businessDay(p.now())}, &today)
	return max(0, min(bankCodeOrder, bankCodeDay-today)), err
}

// ask pays the first time, and asks how the payment stands after that. A bank that
// has not seen our serial is asked for the same payment under the same serial again,
// never under another one.
func (s bankSource) ask(ctx context.Context, f funding) (fundingNews, error) {
	channel, err := s.p.bank(ctx)
	if err != nil {
		return fundingNews{}, err
	}
	outcome := bankapi.Outcome{State: bankapi.StateUnknown}
	if f.tries > 0 {
		if outcome, err = channel.do(ctx, bankapi.PathQueries, bankapi.QueryRequest{Serial: f.id}); err != nil {
			return fundingNews{}, err
		}
	}
	if outcome.State == bankapi.StateUnknown {
		if outcome, err = s.first(ctx, channel, f); err != nil {
			return fundingNews{}, err
		}
	}
	if outcome.State == bankapi.StateFrozen && outcome.Amount == f.amount {
		outcome, err = channel.do(ctx, bankapi.PathCaptures, bankapi.FollowRequest{Serial: f.id + "C", Of: f.id, Amount: f.amount})
		if err != nil {
			return fundingNews{}, err
		}
		if outcome.State == bankapi.StateRefused {
			return fundingNews{event: rules.FundingSilent}, nil // something else happened to it: the next query tells
		}
	}
	news := fundingOutcome(f, outcome)
	if news.event != rules.FundingSilent {
		err = s.forgetCode(ctx, f.id)
	}
	return news, err
}

// forgetCode drops the code of a payment that the bank has decided: nobody asks for
// that payment again.
func (s bankSource) forgetCode(ctx context.Context, funding string) error {
	return s.p.store.Update(ctx, func(tx *Tx) error {
		return tx.exec(`UPDATE bank_asks SET code = ? WHERE funding = ? AND code <> ?`, []byte{}, funding, []byte{})
	})
}

// first asks for the payment itself.
func (s bankSource) first(ctx context.Context, channel bankChannel, f funding) (bankapi.Outcome, error) {
	var a *bankAsk
	var b *binding
	err := s.p.store.View(ctx, func(tx *Tx) (err error) {
		if a, err = findBankAsk(tx, f.id); err != nil || a == nil || a.binding == "" {
			return err
		}
		b, err = findBinding(tx, f.user, a.binding)
		return err
	})
	if err != nil {
		return bankapi.Outcome{}, err
	}
	if a == nil || a.binding == "" {
		return channel.do(ctx, bankapi.PathOrders, s.order(f))
	}
	request := bankapi.DebitRequest{Serial: f.id, Amount: f.amount, Freeze: channel.facts().Freeze, CodeOf: a.codeOf}
	if b != nil {
		if request.Token, err = s.p.bankToken(b); err != nil {
			return bankapi.Outcome{}, err
		}
	}
	if len(a.code) > 0 {
		code, err := s.p.sealer.open("bank-code "+f.id, a.code)
		if err != nil {
			return bankapi.Outcome{}, err
		}
		request.Code = string(code)
	}
	return channel.do(ctx, bankapi.PathDebits, request)
}

// fundingOutcome is what the bank's word means for a funding. An amount that is not
// the one of our order is never believed: the funding is given up, and what was paid
// goes back.
func fundingOutcome(f funding, outcome bankapi.Outcome) fundingNews {
	switch outcome.State {
	case bankapi.StatePaid, bankapi.StateCaptured:
		if outcome.Amount != f.amount {
			return fundingNews{event: rules.FundingExpired, refusal: refuse(api.CodeAmountDiffers)}
		}
		return fundingNews{event: rules.FundingPaid, serial: outcome.Journal}
	case bankapi.StateRefused:
		return fundingNews{event: rules.FundingRefused, refusal: bankRefusal(outcome)}
	case bankapi.StateExpired, bankapi.StateReleased:
		return fundingNews{event: rules.FundingRefused, refusal: refuse(api.CodeBankRefused)}
	case bankapi.StateReversed:
		return fundingNews{event: rules.FundingUndone}
	case bankapi.StateOpen:
		return fundingNews{event: rules.FundingSilent, page: outcome.Page}
	}
	return fundingNews{event: rules.FundingSilent}
}

// giveUp sends the reversal advice, always under the same serial. The bank keeps it
// for a payment that it has not seen, too, so that none can come late.
func (s bankSource) giveUp(ctx context.Context, f funding) (fundingNews, error) {
	channel, err := s.p.bank(ctx)
	if err != nil {
		return fundingNews{}, err
	}
	outcome, err := channel.do(ctx, bankapi.PathReversals, bankapi.FollowRequest{Serial: f.id + "R", Of: f.id})
	if err != nil {
		return fundingNews{}, err
	}
	if outcome.State == bankapi.StateReversed {
		return fundingNews{event: rules.FundingUndone}, nil
	}
	// It refuses to undo. Only money that is there in full is ours then.
	if outcome, err = channel.do(ctx, bankapi.PathQueries, bankapi.QueryRequest{Serial: f.id}); err != nil {
		return fundingNews{}, err
	}
	if news := fundingOutcome(f, outcome); news.event == rules.FundingPaid {
		return fundingNews{event: rules.FundingKept, serial: news.serial}, nil
	}
	return fundingNews{event: rules.FundingSilent}, nil
}

// isPage tells a funding's page at the gateway from a binding.
func isPage(ref string) bool { return strings.HasPrefix(ref, "https://") }
