package mockplatform

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

const serial = "6210000112345678"

func TestPlatform_TopUpIsTwoRequests(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 1234})
	c := w.teller(testPhone)
	before := w.balance(mainAccount(c.session.User))

	granted, grant := c.order(k, 5000).init().granted()
	require.Equal(t, wallet.Fen(5000), w.balance(heldAccount(c.session.User)))
	require.Equal(t, wallet.Fen(5000), w.check().GrantedFen)
	answer, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.Hex{0x90, 0x00}, answer.SW)
	require.Equal(t, wallet.Fen(6234), k.Balance())

	state := c.stateOf(c.result(grant, &granted.Grant, answer))
	require.Equal(t, wallet.StateLoaded, state.State)
	require.Equal(t, "tac", state.Evidence)
	receipt := state.ReceiptBody
	require.Equal(t, answer.Data, receipt.TAC)
	require.Equal(t, wallet.Fen(1234), receipt.BalanceBefore)
	require.Equal(t, wallet.Fen(6234), receipt.BalanceAfter)
	require.Equal(t, before-5000, receipt.MainBalance)
	require.True(t, receipt.Demo)

	report := w.check()
	require.Zero(t, report.HeldFen)
	require.Equal(t, k.Balance(), report.Cards[0].ExpectedBalanceFen)
	require.Equal(t, wallet.Fen(5000), report.Cards[0].LoadedFen)
	require.Equal(t, before-5000, w.balance(mainAccount(c.session.User)))

	// The same result again is the same receipt.
	again := c.stateOf(c.result(grant, nil, answer))
	require.Equal(t, state.ReceiptBody, again.ReceiptBody)
	require.Equal(t, wallet.Fen(0), w.check().HeldFen)
}

func TestPlatform_LostAnswerIsReplayedByteForByte(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	order := c.order(k, 5000).init()

	w.hooks.AfterCommit = func(route string) error { return map[bool]error{true: errDied}[route == api.PathLoads] }
	require.Nil(t, order.send(), "the platform died after the commit")
	w.hooks.AfterCommit = nil
	first := order.send()
	granted, grant := c.grantOf(first)
	w.reopen()
	second := order.send()
	require.Equal(t, first.Body.String(), second.Body.String())
	require.Equal(t, 1, w.check().OpenOrders)

	answer, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, answer)).State)
}

func TestPlatform_DyingBeforeTheCommitLeavesNothing(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	order := c.order(k, 5000).init()
	w.hooks.BeforeCommit = func(route string) error { return map[bool]error{true: errDied}[route == api.PathLoads] }
	require.Nil(t, order.send())
	w.hooks.BeforeCommit = nil
	require.Zero(t, w.check().OpenOrders)
	order.granted()
}

func TestPlatform_KeepsNoMAC2InClear(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	c := w.teller(testPhone)
	granted, _ := c.order(k, 5000).init().granted()
	var steps []wallet.Step
	require.NoError(t, json.Unmarshal(granted.Script, &steps))
	mac2 := steps[0].APDU[len(steps[0].APDU)-10 : len(steps[0].APDU)-2]
	raw, err := hex.DecodeString(mac2)
	require.NoError(t, err)
	found := false
	for _, name := range []string{fileDatabase, fileDatabase + "-wal"} {
		data, err := os.ReadFile(filepath.Join(w.dir, name))
		require.NoError(t, err)
		found = found || strings.Contains(string(data), k.ASN().String())
		require.NotContains(t, string(data), mac2)
		require.NotContains(t, string(data), string(raw))
		require.NotContains(t, string(data), c.session.AccessToken)
	}
	require.True(t, found, "the order is in these files")
}
