package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// TestE2E_CompletedElsewhere: an order that one computer began is completed on
// another one, which knows it by its number only. The first one hears of it.
func TestE2E_CompletedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "credit-torn")
	_, err := topUp(program, amount)
	program.Close()
	require.Error(t, err)
	require.Equal(t, opening, w.chip().Balance)

	program = w.open(t.TempDir(), "")
	lines, err := settle(program, wallet.IntentComplete)
	program.Close()
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, wallet.StateLoaded, lines[0].To, "the other computer believes the receipt")
	require.Equal(t, "tac", lines[0].Evidence)
	require.Equal(t, opening+amount, w.chip().Balance)

	program = w.open(w.profile, "")
	lines, err = settle(program, wallet.IntentComplete)
	program.Close()
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, wallet.StateGranted, lines[0].From)
	require.Equal(t, wallet.StateLoaded, lines[0].To)
	require.Equal(t, opening+amount, w.chip().Balance)
	w.journalIsClosed(w.profile, lines)
}
