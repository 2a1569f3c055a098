package core

import (
	"context"
	"sync"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// money is what a top-up takes from outside before the card is asked: external money
// always reaches the main account first (protocol §2.16), so that a card that fails
// needs no refund and a slow bank holds no card session open.
type money struct {
	from   *MoneySource // nil: the main account has enough, or nobody looked
	amount wallet.Fen   // 0: what the voucher is worth
}

// planMoney decides what has to come from outside, before the person confirms.
func (c *Core) planMoney(ctx context.Context, ask TopUpAsk, total wallet.Fen) (money, error) {
	switch {
	case ask.From != nil && ask.From.Source.Kind == api.FundingVoucher:
		return money{from: ask.From}, nil
	case ask.From != nil:
		return money{from: ask.From, amount: total}, nil
	case ask.Shortfall == nil:
		return money{}, nil
	}
	account, err := c.Platform.Account(ctx)
	if err != nil || account.Main >= total {
		return money{}, err
	}
	missing := total - account.Main
	from, err := ask.Shortfall(ctx, missing)
	if err == nil && from == nil {
		err = &Failure{Code: "BALANCE_SHORT", Detail: map[string]any{"balanceFen": account.Main, "amountFen": total}}
	}
	return money{from: from, amount: missing}, err
}

// bringMoney brings what was planned. password stands in where the source brings no
// secret of its own: the person enters the payment password once.
func (c *Core) bringMoney(ctx context.Context, plan money, password func(context.Context) (string, error)) (*FundResult, error) {
	if plan.from == nil {
		return nil, nil
	}
	from := *plan.from
	if from.Secret == nil {
		from.Secret = password
	}
	result := &FundResult{}
	var err error
	result.Entry, result.Statement, err = c.bringIn(ctx, plan.amount, from)
	return result, err
}

// once remembers what the person entered, so that two seals need one question.
func once(ask func(context.Context) (string, error)) func(context.Context) (string, error) {
	if ask == nil {
		return nil
	}
	var mu sync.Mutex
	var known *string
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if known != nil {
			return *known, nil
		}
		text, err := ask(ctx)
		if err == nil {
			known = &text
		}
		return text, err
	}
}

// funded tells with a failed load that the money it was meant for stands in the main
// account.
func funded(err error, brought *FundResult) error {
	if err == nil || brought == nil || brought.Statement == nil || brought.Statement.State != wallet.FundingDone {
		return err
	}
	failure := *Explain(err)
	detail := map[string]any{"fundedFen": brought.Statement.Amount, "funding": brought.Statement.Funding}
	for name, value := range failure.Detail {
		detail[name] = value
	}
	failure.Detail = detail
	return &failure
}
