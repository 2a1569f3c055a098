package core

import (
	"context"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// BankPlatform is the wire to the platform for bound bank cards and for money that
// goes back to them.
type BankPlatform interface {
	Banks(ctx context.Context) (api.Banks, error)
	// BindBank begins a binding; the bank sends a code, which ConfirmBank brings.
	BindBank(ctx context.Context, card api.BankCard) (api.BankBinding, error)
	ConfirmBank(ctx context.Context, binding, code string) (api.BankBinding, error)
	UnbindBank(ctx context.Context, binding string) (api.BankBinding, error)
	// BankCode makes the bank send a code for one payment of this amount.
	BankCode(ctx context.Context, binding string, amount wallet.Fen) (api.SMSSent, error)
	// BankDemo is what a demo bank has for the person.
	BankDemo(ctx context.Context) (api.BankDemo, error)
	// ReturnToBank asks under the key; the answer is signed and verified. A refusal is
	// an answer; an error means that nobody knows.
	ReturnToBank(ctx context.Context, key, binding string, amount wallet.Fen, paymentPassword string) (api.BankReturnState, error)
	// BankReturn tells how a return stands, by number or key.
	BankReturn(ctx context.Context, id string) (api.BankReturnState, error)
	BankReturns(ctx context.Context) (api.BankReturns, error)
}

// KindBankReturn is money on its way from the main account to a bank card.
const KindBankReturn = "bank-return"

// Banks lists banks and bound bank cards.
func (c *Core) Banks(ctx context.Context) (api.Banks, error) {
	if err := c.connect(ctx); err != nil {
		return api.Banks{}, err
	}
	return c.Platform.Banks(ctx)
}

// BankDemo is what a demo bank has for the person: made-up cards and its messages.
func (c *Core) BankDemo(ctx context.Context) (api.BankDemo, error) {
	if err := c.connect(ctx); err != nil {
		return api.BankDemo{}, err
	}
	return c.Platform.BankDemo(ctx)
}

// BindBank binds a bank card. code is asked when the bank has sent one, again after a
// wrong one, and gives up by an error.
func (c *Core) BindBank(ctx context.Context, card api.BankCard, code func(ctx context.Context, begun api.BankBinding, again bool) (string, error)) (api.BankBinding, error) {
	if err := c.connect(ctx); err != nil {
		return api.BankBinding{}, err
	}
	begun, err := c.Platform.BindBank(ctx, card)
	if err != nil {
		return api.BankBinding{}, err
	}
	for again := false; ; again = true {
		text, err := code(ctx, begun, again)
		if err != nil {
			return api.BankBinding{}, err
		}
		bound, err := c.Platform.ConfirmBank(ctx, begun.ID, text)
		if err == nil || Explain(err).Code != "BANK_CODE_WRONG" {
			return bound, err
		}
	}
}

// UnbindBank ends a binding.
func (c *Core) UnbindBank(ctx context.Context, binding string) (api.BankBinding, error) {
	if err := c.connect(ctx); err != nil {
		return api.BankBinding{}, err
	}
	return c.Platform.UnbindBank(ctx, binding)
}

// BankReturnAsk is a wish to send money back to a bound bank card.
type BankReturnAsk struct {
	Binding string // "": the only one
	Amount  wallet.Fen
	Confirm func(ctx context.Context, amount wallet.Fen, to api.BankBinding) error
	Secret  func(ctx context.Context) (string, error) // the payment password
}

// returnPoll is how often an open return is looked at, for AckWait.
const returnPoll = 300 * time.Millisecond

// ReturnToBank sends money from the main account back to a bank card. It returns
// without error only when the bank has confirmed the whole amount. While nobody knows,
// the money is held, and Orders shows it.
func (c *Core) ReturnToBank(ctx context.Context, ask BankReturnAsk) (api.BankReturnState, error) {
	unlock, err := c.beginMoney(ctx)
	if err != nil {
		return api.BankReturnState{}, err
	}
	defer unlock()
	if err := c.Platform.Connect(ctx); err != nil {
		return api.BankReturnState{}, err
	}
	to, err := c.boundCard(ctx, ask.Binding)
	if err != nil {
		return api.BankReturnState{}, err
	}
	if err := ask.Confirm(ctx, ask.Amount, to); err != nil {
		return api.BankReturnState{}, err
	}
	password, err := ask.Secret(ctx)
	if err != nil {
		return api.BankReturnState{}, err
	}
	key := c.NewKey()
	told, err := c.Platform.ReturnToBank(ctx, key, to.ID, ask.Amount, password)
	if err != nil {
		return told, unknownReturn(key, ask.Amount, err)
	}
	waiting, stop := context.WithTimeout(ctx, c.AckWait)
	defer stop()
	for told.State == api.BankReturnPending {
		select {
		case <-waiting.Done():
			return told, returnEnd(told)
		case <-time.After(returnPoll):
		}
		next, err := c.Platform.BankReturn(waiting, told.Return)
		if err != nil {
			return told, returnEnd(told)
		}
		told = next
	}
	return told, returnEnd(told)
}

// boundCard finds a bound card; a person with one needs no name for it.
func (c *Core) boundCard(ctx context.Context, id string) (api.BankBinding, error) {
	banks, err := c.Platform.Banks(ctx)
	if err != nil {
		return api.BankBinding{}, err
	}
	var bound []api.BankBinding
	for _, one := range banks.Bindings {
		if one.State == api.BankBound && (id == "" || one.ID == id) {
			bound = append(bound, one)
		}
	}
	if len(bound) != 1 {
		return api.BankBinding{}, &Failure{Code: "BANK_BINDING"}
	}
	return bound[0], nil
}

// unknownReturn is the failure of a return whose answer did not come: the money may be
// on its way. A platform that cannot reach its bank has begun nothing.
func unknownReturn(key string, amount wallet.Fen, err error) error {
	failure := Explain(err)
	if InfoOf(failure.Code).Exit != ExitNetwork || failure.Code == "BANK_UNREACHABLE" {
		return err
	}
	return &Failure{Code: "BANK_RETURN_OPEN", Detail: map[string]any{"order": key, "amountFen": amount}, Err: err}
}

func returnEnd(told api.BankReturnState) error {
	detail := map[string]any{"amountFen": told.Amount}
	if told.Return != "" {
		detail["order"] = told.Return
	}
	if told.Returned > 0 {
		detail["returnedFen"] = told.Returned
	}
	if told.LimitFen > 0 {
		detail["limitFen"] = told.LimitFen
	}
	if told.RetryAfter != nil {
		detail["resets"] = *told.RetryAfter
	}
	if told.Standing != "" {
		detail["standing"] = told.Standing
	}
	if told.WrongsLeft != nil {
		detail["triesLeft"] = *told.WrongsLeft
	}
	switch {
	case told.State == api.BankReturnPending:
		return &Failure{Code: "BANK_RETURN_OPEN", Detail: detail}
	case told.State == api.BankReturnDone && told.Returned == told.Amount:
		return nil
	}
	return &Failure{Code: told.Code, Detail: detail}
}

// lineOfReturn is what the platform says of a return. Paid says that the money has
// left the main account for good.
func lineOfReturn(told api.BankReturnState) OrderLine {
	no := false
	line := OrderLine{
		Order: told.Return, Key: told.Key, Kind: KindBankReturn, State: wallet.LoadState(told.State), Amount: told.Amount, Created: told.Created,
		Paid: told.Returned > 0, OnCard: &no, Next: "none", Source: "bank:" + told.Binding,
	}
	switch told.State {
	case api.BankReturnPending:
		line.Next = "wait"
	case api.BankReturnDone:
		line.Amount = told.Returned // what the bank did not take is in the main account again
	}
	return line
}
