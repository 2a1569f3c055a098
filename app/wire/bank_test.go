package wire_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// bankCode reads the demo bank's latest message.
func bankCode(t *testing.T, program *wire.Program) string {
	demo, err := program.Core.BankDemo(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, demo.Messages)
	return demo.Messages[0].Code
}

// bindBank binds the demo's bank card.
func bindBank(t *testing.T, program *wire.Program) api.BankBinding {
	demo, err := program.Core.BankDemo(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, demo.Cards, "the demo's person owns a bank card without any preparation")
	own := demo.Cards[0]
	bound, err := program.Core.BindBank(t.Context(), api.BankCard{Number: own.Card, Name: own.Name, Phone: own.Phone},
		func(context.Context, api.BankBinding, bool) (string, error) { return bankCode(t, program), nil })
	require.NoError(t, err)
	return bound
}

// fromBank is a bound card as a source of money; the person types the bank's code
// where one is wanted.
func fromBank(t *testing.T, program *wire.Program, id string) core.MoneySource {
	password := program.DemoCredentials().PaymentPassword
	return core.MoneySource{
		Source: api.FundingSource{Kind: api.FundingBank, ID: id},
		Secret: func(context.Context) (string, error) { return password, nil },
		Code: func(ctx context.Context, binding string, amount wallet.Fen) (*api.SMSCode, error) {
			banks, err := program.Core.Banks(ctx)
			if err != nil || len(banks.Bindings) == 0 || amount <= banks.Bindings[0].CodeAbove {
				return nil, err
			}
			sent, err := program.Core.Platform.BankCode(ctx, binding, amount)
			return &api.SMSCode{CodeID: sent.CodeID, Code: bankCode(t, program)}, err
		},
	}
}

func payIn(t *testing.T, program *wire.Program, id string, amount wallet.Fen) error {
	_, err := program.Core.Fund(t.Context(), core.FundAsk{
		Amount: amount, From: fromBank(t, program, id), Confirm: func(context.Context, core.FundConfirmation) error { return nil },
	})
	return err
}

func sendBack(t *testing.T, program *wire.Program, amount wallet.Fen) error {
	_, err := program.Core.ReturnToBank(t.Context(), core.BankReturnAsk{
		Amount: amount, Confirm: func(context.Context, wallet.Fen, api.BankBinding) error { return nil },
		Secret: func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil },
	})
	return err
}

// bankBooks audits the bank of the embedded platform.
func (w *world) bankBooks() mockbank.CheckReport {
	w.t.Helper()
	bank, err := mockbank.Open(mockbank.Config{Dir: filepath.Join(w.platform, "bank")})
	require.NoError(w.t, err)
	defer bank.Close()
	report, err := bank.Check(w.t.Context())
	require.NoError(w.t, err)
	require.True(w.t, report.OK(), "%+v", report)
	return report
}

// newPoorWorld is a world whose person has so much in the main account.
func newPoorWorld(t *testing.T, balance wallet.Fen) *world {
	dir := t.TempDir()
	w := &world{t: t, home: t, platform: filepath.Join(dir, "platform"), profile: filepath.Join(dir, "profile")}
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(t, err)
	require.NoError(t, p.Seed(t.Context(), "13800000000", balance, nil, ""))
	require.NoError(t, p.Close())
	return w
}

// TestE2E_ShortfallFromTheBankItself: the main account holds too little, and the missing part
// comes from the bank and is loaded in one confirmation.
func TestE2E_ShortfallFromTheBankItself(t *testing.T) {
	w := newPoorWorld(t, 10_00)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "")
	defer program.Close()
	bound := bindBank(t, program)
	require.NoError(t, payIn(t, program, bound.ID, 10_00)) // the first payment, with a code
	const amount, missing = wallet.Fen(50_00), wallet.Fen(30_00)
	confirmed := 0
	result, err := program.Core.TopUp(t.Context(), core.TopUpAsk{
		Amount: amount, Source: "main",
		Shortfall: func(_ context.Context, needs wallet.Fen) (*core.MoneySource, error) {
			require.Equal(t, missing, needs)
			from := fromBank(t, program, bound.ID)
			return &from, nil
		},
		Confirm: func(_ context.Context, what core.Confirmation) error {
			confirmed++
			require.Equal(t, missing, what.FundAmount)
			return nil
		},
		Password: func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil },
	})
	require.NoError(t, err)
	require.Equal(t, 1, confirmed)
	require.Equal(t, missing, result.Funding.Entry.Amount)
	require.Equal(t, opening+amount, w.chip().Balance)
	account, err := program.Core.Account(t.Context())
	require.NoError(t, err)
	require.Zero(t, account.Main)
	require.Equal(t, wallet.Fen(40_00), w.bankBooks().PartnersFen)
}

// TestE2E_BankFaults cuts the wire between platform and bank: a payment is made once,
// money on its way back is held, and both settle by themselves.
func TestE2E_BankFaults(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "")
	bound := bindBank(t, program)
	require.NoError(t, payIn(t, program, bound.ID, 100_00))
	program.Close()
	sum := wallet.Fen(100_00)
	for _, fault := range wire.Faults() {
		if fault.Row != "F2" {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			w.t = t
			program := w.open(w.profile, fault.Name)
			err := payIn(t, program, bound.ID, 5_00)
			hit, _ := wire.FaultHit()
			program.Close()
			require.True(t, hit)
			require.Equal(t, fault.ExpectExit, exitOf(err), "%v", err)
			sum += 5_00

			program = w.open(w.profile, "")
			defer program.Close()
			require.Eventually(t, func() bool {
				_, err := settle(program, wallet.IntentSettle)
				require.NoError(t, err)
				lines, err := program.Core.Orders(t.Context(), false)
				require.NoError(t, err)
				return string(lines[0].State) == fault.ExpectState && lines[0].Next == "none"
			}, time.Minute, 100*time.Millisecond)
			require.Equal(t, sum, w.bankBooks().PartnersFen, "taken once")
		})
	}
	t.Run("money back while the bank is down", func(t *testing.T) {
		w.t = t
		before := w.main()
		program := w.open(w.profile, "bank-down")
		err := sendBack(t, program, 50_00)
		require.Equal(t, "BANK_RETURN_OPEN", core.Explain(err).Code)
		require.Equal(t, core.ExitOpen, core.Explain(err).Exit())
		lines, err := program.Core.Orders(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, core.KindBankReturn, lines[0].Kind)
		require.Equal(t, "wait", lines[0].Next)
		_, err = program.Core.UnbindBank(t.Context(), bound.ID)
		require.Equal(t, "BANK_IN_USE", core.Explain(err).Code)
		account, err := program.Core.Account(t.Context())
		require.NoError(t, err)
		require.Equal(t, before-50_00, account.Main)
		require.Equal(t, wallet.Fen(50_00), account.Held)
		program.Close()

		program = w.open(w.profile, "")
		defer program.Close()
		require.Eventually(t, func() bool {
			lines, err := program.Core.Orders(t.Context(), true)
			require.NoError(t, err)
			return len(lines) == 0
		}, time.Minute, 100*time.Millisecond)
		require.Equal(t, sum-50_00, w.bankBooks().PartnersFen)
		require.Equal(t, before-50_00, w.main())
		require.NoError(t, sendBack(t, program, 10_00))
		require.Equal(t, "BANK_RETURN_OVER", core.Explain(sendBack(t, program, 1000_00-1)).Code)
	})
}
