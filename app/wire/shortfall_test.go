package wire_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// boundBank is a platform on which a bank card is bound. What the bank pays is booked
// by the platform's own ledger, as money that the bank has received for the person.
type boundBank struct {
	core.Platform
	books   *mockplatform.Platform
	answers []wallet.FundingState // in turn; the last one stays
	asked   []api.FundingRequest
	secrets []string
	number  string
	lost    bool // the answer to the request does not arrive
}

var errNoAnswer = errors.New("the answer was lost")

func (b *boundBank) Fund(ctx context.Context, key string, request api.FundingRequest, secret string) (wallet.FundingStatement, wallet.Signed, error) {
	b.asked, b.secrets, b.number = append(b.asked, request), append(b.secrets, secret), "F-"+key
	told, err := b.statement(ctx, key)
	if b.lost {
		return wallet.FundingStatement{}, wallet.Signed{}, errNoAnswer
	}
	return told, wallet.Signed{}, err
}

func (b *boundBank) AbandonFunding(ctx context.Context, key string) (wallet.FundingStatement, wallet.Signed, error) {
	told, err := b.statement(ctx, key)
	return told, wallet.Signed{}, err
}

func (b *boundBank) Funding(ctx context.Context, number string) (wallet.FundingStatement, wallet.Signed, error) {
	told, err := b.statement(ctx, number[2:])
	return told, wallet.Signed{}, err
}

func (b *boundBank) statement(ctx context.Context, key string) (wallet.FundingStatement, error) {
	request := b.asked[len(b.asked)-1]
	told := wallet.FundingStatement{Key: key, Funding: b.number, State: b.answers[0], Amount: request.Amount, Source: request.Source.Name()}
	if len(b.answers) > 1 {
		b.answers = b.answers[1:]
	}
	if told.State != wallet.FundingDone {
		return told, nil
	}
	_, err := b.books.BookTransfer(ctx, mockplatform.Transfer{Bank: "BANK", Serial: key, AmountFen: request.Amount, Phone: "13800000000"})
	told.ReceiptBody = &wallet.FundingReceipt{Funding: told.Funding, Amount: told.Amount, Source: told.Source}
	return told, err
}

// shortWorld is a person whose main account holds 20 yuan, with a card and a bank.
func shortWorld(t *testing.T, fault string, answers ...wallet.FundingState) (*world, *wire.Program, *boundBank) {
	dir := t.TempDir()
	w := &world{t: t, home: t, platform: filepath.Join(dir, "platform"), profile: filepath.Join(dir, "profile")}
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(t, err)
	require.NoError(t, p.Seed(t.Context(), "13800000000", 20_00, nil, ""))
	require.NoError(t, p.Close())
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, fault)
	bank := &boundBank{Platform: program.Core.Platform, books: program.Demo, answers: answers}
	program.Core.Platform = bank
	return w, program, bank
}

// shortAsk loads 50 yuan from a main account that does not hold them.
func shortAsk(program *wire.Program, shown *[]core.Confirmation, passwords *int) core.TopUpAsk {
	from := &core.MoneySource{Source: api.FundingSource{Kind: api.FundingBank, ID: "card1"}}
	return core.TopUpAsk{
		Amount: amount, Source: "main",
		Shortfall: func(context.Context, wallet.Fen) (*core.MoneySource, error) { return from, nil },
		Confirm: func(_ context.Context, what core.Confirmation) error {
			*shown = append(*shown, what)
			return nil
		},
		Password: func(context.Context) (string, error) {
			*passwords++
			return program.DemoCredentials().PaymentPassword, nil
		},
	}
}

// TestE2E_ShortfallFromBank: the main account holds too little, and the missing part
// comes from the bank (补款): one confirmation names both parts, the payment password
// is entered once, and the money is in the main account before the card is asked.
func TestE2E_ShortfallFromBank(t *testing.T) {
	w, program, bank := shortWorld(t, "", wallet.FundingPending, wallet.FundingDone)
	var shown []core.Confirmation
	passwords := 0
	ask := shortAsk(program, &shown, &passwords)
	result, err := program.Core.TopUp(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, shown, 1)
	require.Equal(t, "bank:card1", shown[0].FundSource)
	require.Equal(t, amount-20_00, shown[0].FundAmount)
	require.Equal(t, amount, shown[0].Total())
	require.Equal(t, 1, passwords)
	require.Len(t, bank.asked, 1)
	require.Equal(t, amount-20_00, bank.asked[0].Amount)
	require.Equal(t, program.DemoCredentials().PaymentPassword, bank.secrets[0])
	require.Equal(t, amount-20_00, result.Funding.Entry.Amount)
	require.Equal(t, wallet.StageConfirmed, result.Funding.Entry.Stage)
	require.Equal(t, opening+amount, w.chip().Balance)
	account, err := program.Core.Account(t.Context())
	require.NoError(t, err)
	require.Zero(t, account.Main)

	// Enough money asks no bank.
	_, err = program.Demo.BookTransfer(t.Context(), mockplatform.Transfer{Bank: "B", Serial: uuid.NewString(), AmountFen: amount, Phone: "13800000000"})
	require.NoError(t, err)
	_, err = program.Core.TopUp(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, bank.asked, 1)
	require.Empty(t, shown[1].FundSource)

	// Nowhere to take it from: refused before anybody is asked for anything.
	ask.Shortfall = func(context.Context, wallet.Fen) (*core.MoneySource, error) { return nil, nil }
	_, err = program.Core.TopUp(t.Context(), ask)
	require.Equal(t, "BALANCE_SHORT", core.Explain(err).Code)
	require.Len(t, shown, 2)
	program.Close()
	w.books()
}

// The load fails after the bank has paid: the money stands in the main account, and the
// person is told so.
func TestE2E_ShortfallThenCardFails(t *testing.T) {
	w, program, _ := shortWorld(t, "card-removed-before-credit", wallet.FundingDone)
	var shown []core.Confirmation
	passwords := 0
	_, err := program.Core.TopUp(t.Context(), shortAsk(program, &shown, &passwords))
	program.Close()
	failure := core.Explain(err)
	require.Equal(t, core.ExitOpen, failure.Exit())
	require.Equal(t, amount-20_00, failure.Detail["fundedFen"])
	program = w.open(w.profile, "")
	_, err = settle(program, wallet.IntentCancel)
	require.NoError(t, err)
	account, err := program.Core.Account(t.Context())
	program.Close()
	require.NoError(t, err)
	require.Equal(t, amount, account.Main)
	require.Equal(t, opening, w.chip().Balance)
	w.books()
}

// The bank does not pay: the card is not asked, and what is known is said.
func TestE2E_ShortfallBankDoesNotPay(t *testing.T) {
	for _, row := range []struct {
		state wallet.FundingState
		code  string
		exit  int
		lost  bool
	}{
		{wallet.FundingDeclined, "DECLINED", core.ExitDeclined, false},
		{wallet.FundingReversed, "FUNDING_REVERSED", core.ExitDeclined, false},
		{wallet.FundingReversed, "FUNDING_REVERSED", core.ExitDeclined, true},
		{wallet.FundingPending, "FUNDING_PENDING", core.ExitOpen, false},
		{wallet.FundingReversing, "FUNDING_PENDING", core.ExitOpen, true},
	} {
		w, program, bank := shortWorld(t, "", row.state)
		program.Core.AckWait = 1
		bank.lost = row.lost
		var shown []core.Confirmation
		passwords := 0
		result, err := program.Core.TopUp(t.Context(), shortAsk(program, &shown, &passwords))
		failure := core.Explain(err)
		code := failure.Code
		if row.code == "DECLINED" {
			code = string(result.Funding.Statement.State)
		}
		require.Equal(t, row.code, code)
		require.Equal(t, row.exit, failure.Exit())
		require.NotContains(t, failure.Detail, "fundedFen")
		require.Zero(t, result.APDUs)
		require.Equal(t, opening, w.chip().Balance)
		if row.exit == core.ExitOpen { // the bank ends it later; sync hears of it
			bank.answers = []wallet.FundingState{wallet.FundingDone}
			lines, err := settle(program, wallet.IntentSettle)
			require.NoError(t, err)
			require.Equal(t, string(wallet.FundingDone), string(lines[0].To))
			account, err := program.Core.Account(t.Context())
			require.NoError(t, err)
			require.Equal(t, amount, account.Main)
		}
		program.Close()
		w.books()
	}
}
