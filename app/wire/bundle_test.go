package wire_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/store"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// bundle makes a bundle as another process does later, without platform and card.
func (w *world) bundle(order string) *diag.Case {
	w.t.Helper()
	program, err := wire.Open(w.t.Context(), wire.Options{Reader: "virtual:" + w.card, ProfileDir: w.profile, CardOnly: true})
	require.NoError(w.t, err)
	defer program.Close()
	bundle, err := program.Bundle(w.t.Context(), wire.BundleAsk{Order: order, Language: "en"})
	require.NoError(w.t, err)
	require.True(w.t, bundle.Signed)
	path := filepath.Join(w.t.TempDir(), "bundle.zip")
	require.NoError(w.t, bundle.Save(path))
	read, err := diag.Open(path)
	require.NoError(w.t, err)
	require.Equal(w.t, diag.SealSigned, read.Seal)
	return read
}

// replay plays a case in a profile of its own.
func (w *world) replay(read *diag.Case) *diag.Replayed {
	w.t.Helper()
	kept, err := store.Open(w.t.TempDir(), store.Options{})
	require.NoError(w.t, err)
	defer kept.Close()
	result, err := read.Replay(w.t.Context(), kept)
	require.NoError(w.t, err)
	return result
}

// TestDiag_BundleReplay: a bundle that is made after an accident names where the
// order broke, and its replay ends with the same code for the same cause.
func TestDiag_BundleReplay(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		fault string
		broke diag.Break
		code  string // that the person was told
		same  bool
	}{
		{"credit-torn", diag.BreakWriteTorn, "ORDER_OPEN", true},
		{"credit-answer-lost", diag.BreakWriteTorn, "ORDER_OPEN", true},
		{"credit-refused", diag.BreakWriteRefused, "ORDER_OPEN", true},
		{"credit-eeprom-error", diag.BreakWriteFault, "ORDER_OPEN", true},
		{"card-removed-before-credit", diag.BreakWriteTorn, "ORDER_OPEN", true},
		{"request-lost", diag.BreakRequestLost, "ORDER_OPEN", true},
		{"grant-answer-lost", diag.BreakRequestLost, "ORDER_OPEN", true},
		{"request-delayed", diag.BreakRequestLost, "PLATFORM_UNREACHABLE", true},
		{"result-lost", diag.BreakUnreported, "", true},
		{"card-leaves-in-init", diag.BreakNone, "", true},
		{"disk-full-at-crediting", diag.BreakBeforeWrite, "ORDER_OPEN", false}, // the disk here is sound
	} {
		t.Run(test.fault, func(t *testing.T) {
			w.t = t
			w.newCard(virtualcard.Standard)
			program := w.open(w.profile, test.fault)
			began := time.Now()
			result, err := topUp(program, 10_00)
			program.Close()
			read := w.bundle(result.Entry.Key)
			story := read.Stories()[0]
			require.Equal(t, result.Entry.Key, story.Key)
			require.Equal(t, test.broke, story.Broke)
			require.Equal(t, test.code, story.Code)
			require.Equal(t, wallet.Fen(10_00), story.AmountFen)
			require.NotEmpty(t, story.Next)
			broken := 0
			for _, step := range story.Steps {
				if step.Broke {
					broken++
				}
			}
			require.Equal(t, strings.HasSuffix(string(test.broke), "torn") || test.broke == diag.BreakRequestLost || test.broke == diag.BreakUnreported || test.fault == "card-leaves-in-init", broken > 0)

			played := w.replay(read)
			require.NotNil(t, played.Same)
			require.Equal(t, test.same, *played.Same, "%+v", played)
			require.Equal(t, test.code, played.Recorded.Code)
			require.WithinRange(t, played.At, began.Add(-time.Second), time.Now())
			if test.same {
				require.Empty(t, played.Unmatched)
				require.Equal(t, core.Explain(err) != nil, played.Here.Code != "")
				require.Equal(t, exitOf(err), played.Here.Exit)
			}
			w.settleAll()
		})
	}
}

// settleAll closes what the last accident left open.
func (w *world) settleAll() {
	w.t.Helper()
	program := w.open(w.profile, "")
	defer program.Close()
	_, err := settle(program, wallet.IntentComplete)
	require.NoError(w.t, err)
}

// TestDiag_ReplayCanFail: a record that says something else does not pass for the same.
func TestDiag_ReplayCanFail(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "credit-torn")
	_, err := topUp(program, amount)
	program.Close()
	require.Error(t, err)
	read := w.bundle("")
	require.True(t, *w.replay(read).Same)

	at := 0
	for i, line := range read.Trace {
		if strings.HasPrefix(line.Command, "8052") {
			at = i
		}
	}
	require.NotZero(t, at)
	torn := read.Trace[at]
	read.Trace[at].Trouble, read.Trace[at].SW = "", "9302" // the card refused
	require.False(t, *w.replay(read).Same)
	read.Trace[at] = torn
	read.Trace[at].Command = strings.Replace(torn.Command, "8052", "8053", 1) // another command
	played := w.replay(read)
	require.False(t, *played.Same)
	require.Len(t, played.Unmatched, 1)
	require.True(t, strings.HasSuffix(played.Unmatched[0], "********04"), "the report hides MAC2, too: %s", played.Unmatched[0])
	read.Trace = read.Trace[:1]
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	defer kept.Close()
	_, err = read.Replay(context.Background(), kept)
	require.ErrorIs(t, err, diag.ErrNothingToReplay)
}

// TestDiag_PurchaseReplay is TestDiag_BundleReplay for a return of balance, which is a
// purchase at the platform itself.
func TestDiag_PurchaseReplay(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	for fault, broke := range map[string]diag.Break{
		"debit-torn": diag.BreakWriteTorn, "debit-refused": diag.BreakWriteRefused, "pay-request-lost": diag.BreakRequestLost, "pay-result-lost": diag.BreakUnreported,
	} {
		w.t = t
		program := w.open(w.profile, fault)
		_, err := program.Core.Unload(t.Context(), core.UnloadAsk{Amount: 1_00, Confirm: func(context.Context, core.PayConfirmation) error { return nil }})
		program.Close()
		require.Error(t, err, fault)
		read := w.bundle("")
		require.Equal(t, broke, read.Stories()[0].Broke, fault)
		played := w.replay(read)
		require.True(t, *played.Same, "%s: %+v", fault, played)
		require.Equal(t, exitOf(err), played.Here.Exit)
		w.settleAll()
	}
}

// TestDiag_BundleOfABrokenProfile: the worse the trouble, the more a bundle is needed.
func TestDiag_BundleOfABrokenProfile(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "credit-torn")
	_, err := topUp(program, amount)
	program.Close()
	require.Error(t, err)
	spoil(t, filepath.Join(w.profile, "wallet.db"))
	program, err = wire.Open(t.Context(), wire.Options{Reader: "virtual:" + w.card, ProfileDir: w.profile, CardOnly: true})
	require.NoError(t, err)
	defer program.Close()
	bundle, err := program.Bundle(t.Context(), wire.BundleAsk{})
	require.NoError(t, err)
	require.False(t, bundle.Signed)
	path := filepath.Join(t.TempDir(), "bundle.zip")
	require.NoError(t, bundle.Save(path))
	read, err := diag.Open(path)
	require.NoError(t, err)
	require.Equal(t, diag.SealUnsigned, read.Seal)
	require.Equal(t, diag.BreakWriteTorn, read.Stories()[0].Broke, "the trace alone tells it")
}

// spoil overwrites a database with something that is none.
func spoil(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("this was a database ", 500)), 0o600))
}
