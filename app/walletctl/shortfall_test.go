package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// What the console does for a person at a terminal whose main account is short: it
// offers a bound bank card, and shows both parts in the one confirmation. Without a
// bound card there is nothing to offer.
func TestShortfallIsOffered(t *testing.T) {
	dir := t.TempDir()
	card, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{2: 0x47, 9: 0x11}, Balance: 20_00}, rand.Reader)
	require.NoError(t, err)
	image, err := card.Image()
	require.NoError(t, err)
	file := filepath.Join(dir, "card.json")
	require.NoError(t, os.WriteFile(file, image, 0o600))
	program, err := wire.Open(t.Context(), wire.Options{
		Reader: "virtual:" + file, Platform: "demo:" + filepath.Join(dir, "platform"), ProfileDir: filepath.Join(dir, "profile"),
		DemoCredentials: true, Online: true,
	})
	require.NoError(t, err)
	defer program.Close()
	var said bytes.Buffer
	con := &console{err: &said, texts: lang.Texts("en"), globals: globals{DemoCredentials: true}}
	passwords := 0
	topUp := func(amount wallet.Fen) error {
		_, err := program.Core.TopUp(t.Context(), core.TopUpAsk{
			Amount: amount, Source: sourceMain, Shortfall: con.offerBank(program),
			Confirm: func(_ context.Context, what core.Confirmation) error { return con.confirmTopUp(what, true) },
			Password: func(context.Context) (string, error) {
				passwords++
				return program.DemoCredentials().PaymentPassword, nil
			},
		})
		return err
	}
	require.NoError(t, topUp(450_00), "500.00 stand in the demo's main account")
	require.Equal(t, "BALANCE_SHORT", core.Explain(topUp(80_00)).Code)
	require.NotContains(t, said.String(), "lacks")

	demo, err := program.Core.BankDemo(t.Context())
	require.NoError(t, err)
	own := demo.Cards[0]
	bound, err := program.Core.BindBank(t.Context(), api.BankCard{Number: own.Card, Name: own.Name, Phone: own.Phone},
		func(ctx context.Context, _ api.BankBinding, _ bool) (string, error) {
			return con.bankMessageCode(ctx, program, false)
		})
	require.NoError(t, err)
	said.Reset()
	passwords = 0
	require.NoError(t, topUp(80_00))
	require.Equal(t, 1, passwords)
	require.Contains(t, said.String(), "lacks 30.00 yuan; your "+bound.Name+" card …"+bound.Last4)
	require.Contains(t, said.String(), "80.00 yuan in all: 50.00 yuan from the main account and the missing 30.00 yuan from bank card "+bound.ID)
	require.Equal(t, 1, strings.Count(said.String(), "in all"))
	account, err := program.Core.Account(t.Context())
	require.NoError(t, err)
	require.Zero(t, account.Main)
}
