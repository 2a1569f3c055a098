package wire_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/wallet/virtualcard"
)

// A result that could not be sent is sent by the next program that watches the
// card, without anybody asking for it.
func TestE2E_OutboxIsSentByItself(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "result-lost")
	_, err := topUp(program, amount)
	program.Close()
	require.NoError(t, err)
	report, _ := w.books()
	require.Equal(t, 1, report.OpenOrders)

	program = w.open(w.profile, "")
	defer program.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = program.Core.Run(ctx, func(core.State) {})
	}()
	require.Eventually(t, func() bool {
		entries, err := program.Core.Store.Entries(ctx, core.EntryFilter{OpenOnly: true})
		return err == nil && len(entries) == 0
	}, 10*time.Second, 20*time.Millisecond)
	stop()
	<-done
	report, _ = w.books()
	require.Zero(t, report.OpenOrders+int(report.HeldFen))
}
