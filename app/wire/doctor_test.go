package wire_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/diag"
	"walletcompanion/app/wire"
	"walletcompanion/reader"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/vpcd"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// diagnosed runs the named checks on this machine and gives each one's outcome.
func diagnosed(t *testing.T, options wire.Options, names ...string) map[string]string {
	t.Helper()
	machine, release, err := wire.Computer(t.Context(), options)
	require.NoError(t, err)
	defer release()
	outcomes := map[string]string{}
	for _, result := range diag.Run(t.Context(), machine, diag.Named(names...)) {
		outcomes[result.Check] = result.Finding.Outcome
	}
	return outcomes
}

// The real smart card service: with a card, without one, and killed.
func TestComputer_RealService(t *testing.T) {
	service := pcsctest.Start(t)
	options := wire.Options{Reader: "pcsc:" + service.Name(0), ProfileDir: filepath.Join(t.TempDir(), "profile")}
	names := []string{"pcsc-library", "pcsc-service", "access", "readers", "card", "purse", "database"}
	require.Equal(t, map[string]string{
		"pcsc-library": "ok", "pcsc-service": "ok", "access": "ok", "readers": "ok", "card": "none", "purse": "skipped.no-card", "database": "new",
	}, diagnosed(t, options, names...))

	card, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{9: 1}, Balance: 1234, Records: 3}, rand.Reader)
	require.NoError(t, err)
	before, err := card.Image()
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = vpcd.Serve(ctx, service.Addr(0), card)
	}()
	defer func() { stop(); <-served }()
	require.Eventually(t, func() bool { return diagnosed(t, options, "card")["card"] == "ok" }, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "ok", diagnosed(t, options, "purse")["purse"])
	after, err := card.Image()
	require.NoError(t, err)
	require.Equal(t, before, after, "no check changes a card")

	options.Reader = "pcsc:no such reader"
	require.Equal(t, "not-named", diagnosed(t, options, "readers")["readers"])

	service.Kill()
	options.Reader = "auto"
	require.Equal(t, map[string]string{"pcsc-service": "stale", "readers": "skipped.no-service", "access": "no-service"},
		diagnosed(t, options, "pcsc-service", "readers", "access"))
	require.NoDirExists(t, options.ProfileDir, "looking makes no profile")
}

// Whatever is chosen, diagnosis makes no file and starts no platform.
func TestComputer_MakesNothing(t *testing.T) {
	for _, options := range []wire.Options{
		{Reader: "demo"}, {Reader: "virtual:/no/such/card.json"}, {Reader: "demo", Platform: "demo"}, {Reader: "demo", Platform: "demo:/no/such/dir"},
		{Reader: "demo", Platform: "https://127.0.0.1:1", CA: "/no/such/file"},
	} {
		options.ProfileDir = filepath.Join(t.TempDir(), "profile")
		machine, release, err := wire.Computer(t.Context(), options)
		require.NoError(t, err)
		results := diag.Run(t.Context(), machine, diag.Checks())
		release()
		require.Len(t, results, len(diag.Checks()))
		require.NoDirExists(t, options.ProfileDir)
		for _, result := range results {
			require.NotEqual(t, "broken.panic", result.Finding.Outcome, result.Check)
		}
	}
	_, _, err := wire.Computer(t.Context(), wire.Options{Reader: "nonsense", ProfileDir: t.TempDir()})
	require.Error(t, err)
}

// The demo's own card is checked once it is there.
func TestComputer_DemoCard(t *testing.T) {
	options := wire.Options{Reader: wire.ReaderDemo, ProfileDir: t.TempDir(), CardOnly: true}
	require.Equal(t, map[string]string{"readers": "ok", "card": "none"}, diagnosed(t, options, "readers", "card"), "made at first use")
	program, err := wire.Open(t.Context(), options)
	require.NoError(t, err)
	_, err = program.Core.Query(t.Context(), nil)
	require.NoError(t, err)
	infos, err := program.Core.Readers(t.Context())
	require.NoError(t, err)
	require.Equal(t, reader.StatePresent, infos[0].State)
	program.Close()
	require.Equal(t, map[string]string{"readers": "ok", "card": "ok", "purse": "ok", "database": "ok"}, diagnosed(t, options, "readers", "card", "purse", "database"))
}
