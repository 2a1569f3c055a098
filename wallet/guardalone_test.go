package wallet_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// The flows above the guard never ask for what these tests ask for. The guard refuses
// it by itself all the same: it is the last function before the card.

func TestGuard_NeverUsesTheLastPINTry(t *testing.T) {
	for triesLeft, code := range map[int]wallet.Code{0: "", 1: wallet.CodeGuardRefused, 2: ""} {
		s := newStage()
		s.chip.PIN = []byte{0x12, 0x34}
		guard := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
		sendAll(guard, "00A4040009A0000000038698070100")
		guard.AllowPIN([]byte{0x12, 0x34}, triesLeft)
		_, err := guard.Send(context.Background(), command("0020000002"+"1234"))
		require.Equal(t, code, wallet.CodeOf(err), "%d tries left", triesLeft)
		require.Equal(t, code == "", countINS(s.chip.Sent, "20") == 1)
	}
}

// A card is added by a session that never credits, whatever the platform signs.
func TestGuard_AddingACardAcceptsNoGrant(t *testing.T) {
	s := newStage()
	guard := wallet.NewProbeGuard(s.chip, s.profile, testASN, leasedTID, nil)
	sendAll(guard, "00A4040009A0000000038698070100", "00B095001E", "805000020B010000000131323334353610")
	s.order.Amount = 1
	s.issuer.Forge = func(grant *wallet.Grant, _ *[]wallet.Step) { grant.Attempt = 0 } // all that this session could compare
	granted := grantFor(s, guard)
	_, err := guard.Accept(granted, s.issuer.Signers(), time.Now())
	require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))

	var steps []wallet.Step
	s.issuer.Forge = func(_ *wallet.Grant, forged *[]wallet.Step) { steps = *forged }
	grantFor(s, guard)
	_, err = guard.Send(context.Background(), command(steps[0].APDU))
	require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
	require.Zero(t, s.credits())
}
