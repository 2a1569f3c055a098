package wire_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// testVoucher is a voucher as somebody bought it.
type testVoucher struct{ serial, pin string }

// vouchers puts new vouchers of 50 yuan into use.
func (w *world) vouchers(count int) (bought []testVoucher) {
	w.t.Helper()
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(w.t, err)
	defer p.Close()
	var file bytes.Buffer
	_, err = p.MakeVouchers(&file, amount, count)
	require.NoError(w.t, err)
	for line := range strings.Lines(file.String()) {
		if fields := strings.Split(line, "|"); fields[0] == "D" {
			bought = append(bought, testVoucher{fields[1], fields[2]})
		}
	}
	_, err = p.ImportVouchers(w.t.Context(), &file, false)
	require.NoError(w.t, err)
	require.Len(w.t, bought, count)
	return bought
}

func (v testVoucher) source() core.MoneySource {
	return core.MoneySource{
		Source: api.FundingSource{Kind: api.FundingVoucher, Serial: v.serial},
		Secret: func(context.Context) (string, error) { return v.pin, nil },
	}
}

func fund(program *wire.Program, v testVoucher) (core.FundResult, error) {
	return program.Core.Fund(context.Background(), core.FundAsk{
		From: v.source(), Confirm: func(context.Context, core.FundConfirmation) error { return nil },
	})
}

// fundingIs asks for the newest funding, here and at the platform.
func (w *world) fundingIs(state wallet.FundingState, stage wallet.Stage) {
	w.t.Helper()
	program := w.open(w.profile, "")
	defer program.Close()
	lines, err := program.Core.Orders(w.t.Context(), false)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, lines)
	require.Equal(w.t, wallet.KindFunding, lines[0].Kind)
	require.Equal(w.t, string(state), string(lines[0].State))
	require.Equal(w.t, stage, lines[0].Stage)
	require.Equal(w.t, "none", lines[0].Next)
	require.Equal(w.t, state == wallet.FundingDone, lines[0].Paid)
}

// TestE2E_FundingFaults cuts the redemption of a voucher at every in-process fault, and
// lets one sync without a card settle it: the main account has the money once, or the
// voucher can still be used.
func TestE2E_FundingFaults(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	faults := inProcess(wallet.KindFunding)
	vouchers := w.vouchers(len(faults))
	for i, fault := range faults {
		t.Run(fault.Name, func(t *testing.T) {
			w.t = t
			before := w.main()
			program := w.open(w.profile, fault.Name)
			_, err := fund(program, vouchers[i])
			hit, _ := wire.FaultHit()
			program.Close()
			require.True(t, hit)
			require.Equal(t, fault.ExpectExit, exitOf(err), "%v", err)
			if fault.ExpectExit == core.ExitOpen {
				failure := core.Explain(err)
				require.Equal(t, "FUNDING_PENDING", failure.Code)
				require.NotNil(t, failure.Order)
			}
			w.fundingEnds(fault, vouchers[i], before)
		})
	}
}

// fundingEnds settles without a card and compares what books, journal and voucher say.
func (w *world) fundingEnds(fault wire.Fault, v testVoucher, before wallet.Fen) {
	w.t.Helper()
	program, err := wire.Open(w.t.Context(), wire.Options{ // without a reader
		Platform: "demo:" + w.platform, ProfileDir: w.profile, Reader: "pcsc:no reader is called so", DemoCredentials: true, Online: true,
	})
	require.NoError(w.t, err)
	lines, err := settle(program, wallet.IntentSettle)
	again, errAgain := settle(program, wallet.IntentSettle)
	program.Close()
	require.NoError(w.t, err)
	require.NoError(w.t, errAgain)
	require.Empty(w.t, again, "a second sync has nothing to do")
	if open := fault.ExpectExit == core.ExitOpen || fault.ExpectExit == 137; open {
		require.Len(w.t, lines, 1)
		require.Equal(w.t, wallet.KindFunding, lines[0].Kind)
		require.Equal(w.t, fault.ExpectState, string(lines[0].To))
		require.Equal(w.t, 1, lines[0].Requests)
	} else {
		require.Empty(w.t, lines)
	}
	report, _ := w.books()
	require.Zero(w.t, report.FundingPendingFen)
	if fault.ExpectState == string(wallet.FundingDone) {
		require.Equal(w.t, before+amount, w.main())
		w.fundingIs(wallet.FundingDone, wallet.StageConfirmed)
		return
	}
	require.Equal(w.t, before, w.main())
	w.fundingIs(wallet.FundingDeclined, wallet.StageDeclined)
	program = w.open(w.profile, "")
	_, err = fund(program, v)
	program.Close()
	require.NoError(w.t, err, "the voucher can still be used")
	require.Equal(w.t, before+amount, w.main())
}

// TestE2E_FundingKilled ends the console with SIGKILL, sent by another process.
func TestE2E_FundingKilled(t *testing.T) {
	console := buildConsole(t)
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	killed := 0
	vouchers := w.vouchers(4)
	for _, fault := range wire.Faults() {
		if fault.Flow != wallet.KindFunding || !wire.IsProcessFault(fault.Name) {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			w.t = t
			v, before := vouchers[killed], w.main()
			killed++
			command := exec.Command(console, "fund", "--source", "voucher", "--voucher-stdin", "--yes", "--demo-credentials", "--json", "--quiet",
				"--fault", fault.Name, "--platform", "demo:"+w.platform, "--profile", w.profile)
			command.Stdin, command.Stderr = strings.NewReader(v.serial+"\n"+v.pin+"\n"), os.Stderr
			err := command.Run()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit), "%v", err)
			require.Equal(t, fault.ExpectExit, exit.ExitCode())
			w.fundingEnds(fault, v, before)
		})
	}
	require.Equal(t, 2, killed)
}

// A voucher pays for a top-up: its money is in the main account before the card is
// asked, and the count of requests is one more.
func TestE2E_TopUpFromVoucher(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	v := w.vouchers(2)
	before := w.main()
	program := w.open(w.profile, "")
	source := v[0].source()
	var shown core.Confirmation
	ask := core.TopUpAsk{
		Amount: 30_00, From: &source,
		Confirm:  func(_ context.Context, what core.Confirmation) error { shown = what; return nil },
		Password: func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil },
	}
	result, err := program.Core.TopUp(t.Context(), ask)
	program.Close()
	require.NoError(t, err)
	require.Equal(t, "voucher:"+v[0].serial, shown.FundSource)
	require.Equal(t, 3, result.Requests)
	require.Equal(t, 2, result.RequestsWaited)
	require.Equal(t, amount, result.Funding.Entry.Amount)
	require.Equal(t, opening+30_00, w.chip().Balance)
	require.Equal(t, before+amount-30_00, w.main())

	// The card leaves before it is written: the voucher's money is safe, and the person
	// is told where.
	program = w.open(w.profile, "card-removed-before-credit")
	source = v[1].source()
	ask.Password = func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil }
	_, err = program.Core.TopUp(t.Context(), ask)
	program.Close()
	failure := core.Explain(err)
	require.Equal(t, core.ExitOpen, failure.Exit())
	require.Equal(t, amount, failure.Detail["fundedFen"])
	program = w.open(w.profile, "")
	_, err = settle(program, wallet.IntentCancel)
	program.Close()
	require.NoError(t, err)
	require.Equal(t, opening+30_00, w.chip().Balance)
	require.Equal(t, before+2*amount-30_00, w.main())
	w.books()

	// A voucher that is refused leaves the card alone.
	program = w.open(w.profile, "")
	_, err = program.Core.TopUp(t.Context(), ask)
	program.Close()
	require.Equal(t, "VOUCHER_USED", core.Explain(err).Code)
	require.Equal(t, opening+30_00, w.chip().Balance)
}

// A funding whose end nobody heard of is settled at the next start, with no card and
// nobody who asks.
func TestE2E_FundingSettlesAtStart(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "fund-answer-lost")
	_, err := fund(program, w.vouchers(1)[0])
	program.Close()
	require.Equal(t, core.ExitOpen, exitOf(err))

	program = w.open(w.profile, "")
	defer program.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = program.Core.Run(ctx, func(core.State) {})
	}()
	require.Eventually(t, func() bool {
		entries, err := program.Core.Store.Entries(t.Context(), core.EntryFilter{})
		return err == nil && entries[0].Stage == wallet.StageConfirmed
	}, 10*time.Second, 20*time.Millisecond)
	stop()
	<-done
	w.books()
}
