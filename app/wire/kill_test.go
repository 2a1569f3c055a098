package wire_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// buildConsole makes the program that is killed.
func buildConsole(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "walletctl")
	build := exec.Command("go", "build", "-o", program, "walletcompanion/app/walletctl")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}

// TestE2E_KilledAtEveryStage ends the console with SIGKILL, sent by another
// process, at each point of a top-up. Platform and program die together, as in a
// power cut. One later touch settles the order, on the same computer and on another.
func TestE2E_KilledAtEveryStage(t *testing.T) {
	console := buildConsole(t)
	for _, variant := range []string{virtualcard.Standard, virtualcard.ProveNone, virtualcard.ProveStub, virtualcard.LogBefore, virtualcard.T0, virtualcard.PINForLoad} {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t)
			for _, fault := range wire.Faults() {
				if fault.Flow != wallet.KindLoad || !wire.IsProcessFault(fault.Name) {
					continue
				}
				t.Run(fault.Name+"/same-profile", func(t *testing.T) {
					w.t = t
					w.killRow(console, fault, variant, "", wallet.IntentComplete)
				})
				t.Run(fault.Name+"/empty-profile", func(t *testing.T) {
					w.t = t
					w.killRow(console, fault, variant, t.TempDir(), wallet.IntentCancel)
				})
			}
		})
	}
}

func (w *world) killRow(console string, fault wire.Fault, variant, touchProfile string, intent wallet.Intent) {
	t := w.t
	t.Cleanup(func() { w.renew = w.renew || t.Failed() })
	if w.renew {
		w.forgive()
	}
	sameProfile := touchProfile == ""
	if sameProfile {
		touchProfile = w.profile
	}
	w.newCard(variant)
	command := exec.Command(console, "topup", "--amount", amount.Yuan(), "--yes", "--demo-credentials", "--json", "--quiet",
		"--fault", fault.Name, "--reader", "virtual:"+w.card, "--platform", "demo:"+w.platform, "--profile", w.profile)
	command.Stderr = os.Stderr
	err := command.Run()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	require.Equal(t, fault.ExpectExit, exit.ExitCode())

	credited := w.chip().Balance == opening+amount
	require.True(t, credited || w.chip().Balance == opening)
	if !sameProfile && fault.ExpectState == "DECLINED" {
		// The request never left: the platform knows nothing, another computer neither.
		intent = wallet.IntentCancel
	}
	program := w.open(touchProfile, "")
	lines, err := settle(program, intent)
	program.Close()
	w.judge(withState(fault), variant, intent, touchProfile, credited, opening, amount, lines, err)
	for _, line := range lines {
		require.LessOrEqual(t, line.Requests, 2, "%+v", line)
	}
	w.secondTouchChangesNothing(touchProfile, intent)
}

// withState: an order that was never asked for ends like one that was declined.
func withState(fault wire.Fault) wire.Fault {
	if fault.ExpectState == "" {
		fault.ExpectState = "DECLINED"
	}
	return fault
}
