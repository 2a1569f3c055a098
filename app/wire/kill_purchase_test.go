package wire_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// TestE2E_PurchaseKilledAtEveryStage ends the console with SIGKILL at each point of a
// purchase. Platform and program die together, as in a power cut.
func TestE2E_PurchaseKilledAtEveryStage(t *testing.T) {
	console := buildConsole(t)
	for _, variant := range []string{virtualcard.Standard, virtualcard.ProveNone, virtualcard.ProveStub, virtualcard.T0, virtualcard.PINForLoad} {
		t.Run(variant, func(t *testing.T) {
			w, s := newWorld(t), newMerchantHost(t)
			for _, fault := range wire.Faults() {
				if fault.Flow != wallet.KindPurchase || !wire.IsProcessFault(fault.Name) {
					continue
				}
				t.Run(fault.Name+"/same-profile", func(t *testing.T) {
					w.t = t
					w.purchaseKillRow(s, console, fault, variant, "")
				})
				t.Run(fault.Name+"/empty-profile", func(t *testing.T) {
					w.t = t
					w.purchaseKillRow(s, console, fault, variant, t.TempDir())
				})
			}
		})
	}
}

func (w *world) purchaseKillRow(s *merchantHost, console string, fault wire.Fault, variant, touchProfile string) {
	t := w.t
	t.Cleanup(func() { w.renew = w.renew || t.Failed() })
	if w.renew {
		w.forgive()
	}
	same := touchProfile == ""
	if same {
		touchProfile = w.profile
	}
	w.newCard(variant)
	code, main := w.offer(s, price), w.main()
	command := exec.Command(console, "pay", "--order-code", code, "--yes", "--demo-credentials", "--json", "--quiet",
		"--fault", fault.Name, "--reader", "virtual:"+w.card, "--platform", "demo:"+w.platform, "--profile", w.profile)
	command.Stderr = os.Stderr
	err := command.Run()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	require.Equal(t, fault.ExpectExit, exit.ExitCode())
	w.touchPurchase(purchaseTouch{shop: s, fault: fault, variant: variant, profile: touchProfile, same: same, code: code, start: opening, main: main})
}
