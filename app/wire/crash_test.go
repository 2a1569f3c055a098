package wire_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store/faultfs"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

func TestMain(m *testing.M) {
	if err := faultfs.Install(); err != nil { // before the first database is opened
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(pcsctest.Main(m)) // for the tests with the system's smart card service
}

const (
	opening wallet.Fen = 20_00
	amount  wallet.Fen = 50_00
)

// world is one platform directory and one person's computer.
type world struct {
	t        *testing.T
	platform string
	profile  string
	card     string
	renew    bool // the next row gets a new world
	home     *testing.T
}

// newWorld makes a platform whose account never runs out.
func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{t: t, home: t, platform: filepath.Join(dir, "platform"), profile: filepath.Join(dir, "profile")}
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(t, err)
	require.NoError(t, p.Seed(t.Context(), "13800000000", 100_000_00, nil, ""))
	require.NoError(t, p.Close())
	return w
}

// newCard puts a new card of a variant on the reader.
func (w *world) newCard(variant string) {
	w.t.Helper()
	var asn wallet.ASN
	_, err := rand.Read(asn[2:])
	require.NoError(w.t, err)
	card, err := virtualcard.New(virtualcard.Spec{ASN: asn, Balance: opening, Records: 2, Variant: variant}, rand.Reader)
	require.NoError(w.t, err)
	image, err := card.Image()
	require.NoError(w.t, err)
	w.card = filepath.Join(w.t.TempDir(), "card.json")
	require.NoError(w.t, os.WriteFile(w.card, image, 0o600))
}

// open is one start of the program. Close it to end the process.
func (w *world) open(profile, fault string) *wire.Program {
	w.t.Helper()
	program, err := wire.Open(w.t.Context(), wire.Options{
		Reader: "virtual:" + w.card, Platform: "demo:" + w.platform, ProfileDir: profile, Fault: fault,
		DemoCredentials: true, Online: true, CardWait: 20 * time.Second,
	})
	require.NoError(w.t, err)
	program.Core.AckWait = 2 * time.Second
	return program
}

func topUp(program *wire.Program, amount wallet.Fen) (core.TopUpResult, error) {
	return program.Core.TopUp(context.Background(), core.TopUpAsk{
		Amount: amount, Source: "main",
		Confirm:  func(context.Context, core.Confirmation) error { return nil },
		Password: func(context.Context) (string, error) { return program.DemoCredentials().PaymentPassword, nil },
		PIN:      func(int) ([]byte, error) { return program.DemoPIN(), nil },
	})
}

func settle(program *wire.Program, intent wallet.Intent) ([]core.SyncLine, error) {
	return program.Core.Sync(context.Background(), core.SyncAsk{Intent: intent, PIN: func(int) ([]byte, error) { return program.DemoPIN(), nil }})
}

// chip reads the card's file: the truth about the card.
func (w *world) chip() virtualcard.Snapshot {
	w.t.Helper()
	raw, err := os.ReadFile(w.card)
	require.NoError(w.t, err)
	chip, err := virtualcard.Parse(raw)
	require.NoError(w.t, err)
	return chip.(*virtualcard.Card).Snapshot()
}

// books audits the platform and returns its view of the card on the reader.
func (w *world) books() (mockplatform.CheckReport, mockplatform.CardCheck) {
	w.t.Helper()
	p, err := mockplatform.Open(mockplatform.Config{Dir: w.platform, Demo: true})
	require.NoError(w.t, err)
	defer p.Close()
	report, err := p.Check(w.t.Context())
	require.NoError(w.t, err)
	require.True(w.t, report.OK(), "%+v", report)
	for _, card := range report.Cards {
		if card.ASN == w.chip().ASN {
			return report, card
		}
	}
	return report, mockplatform.CardCheck{}
}

// exitOf is the exit code that the console would end with.
func exitOf(err error) int {
	if err == nil {
		return core.ExitOK
	}
	return core.Explain(err).Exit()
}

// inProcess lists the faults of a flow that need no second process.
func inProcess(flow string) []wire.Fault {
	return slices.DeleteFunc(wire.Faults(), func(f wire.Fault) bool {
		return f.Flow != flow || f.Row == "F2" || wire.IsProcessFault(f.Name) || strings.HasSuffix(f.Name, "-silent") // silence takes its full time-out; TestE2E_BankFaults has F2
	})
}

func variants() []string {
	var names []string
	for _, variant := range virtualcard.Variants() {
		switch variant.Name {
		case virtualcard.SharedCounter: // refused for loads: TestE2E_SharedCounterIsRefused
		case virtualcard.Slow: // takes its time: a few rows in TestE2E_CrashMatrix_Slow
		default:
			names = append(names, variant.Name)
		}
	}
	return names
}

// TestE2E_CrashMatrix cuts a top-up at every in-process fault, on every card
// variant, and lets one later touch settle it: once on the same computer,
// completing, and once on another one with nothing but the login, cancelling. Card,
// books and journal must then agree, and a second touch must change nothing.
func TestE2E_CrashMatrix(t *testing.T) {
	for _, variant := range variants() {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t)
			for _, fault := range inProcess(wallet.KindLoad) {
				w.t = t
				t.Run(fault.Name+"/same-profile", func(t *testing.T) {
					w.t = t
					w.crashRow(fault, variant, "", wallet.IntentComplete)
				})
				t.Run(fault.Name+"/empty-profile", func(t *testing.T) {
					w.t = t
					w.crashRow(fault, variant, t.TempDir(), wallet.IntentCancel)
				})
			}
		})
	}
}

// crashRow is one cell of the matrix.
func (w *world) crashRow(fault wire.Fault, variant, touchProfile string, intent wallet.Intent) {
	t := w.t
	t.Cleanup(func() {
		if t.Failed() { // what this row left behind must not fail the next ones
			w.renew = true
		}
	})
	if w.renew {
		w.forgive()
	}
	if touchProfile == "" {
		touchProfile = w.profile
	}
	w.newCard(variant)
	wish := amount
	switch fault.Name {
	case "refusal-answer-lost":
		wish = 600_00 // above the limit for one load
	case "platform-restored":
		if touchProfile != w.profile {
			return // only the computer that made the order still knows of it
		}
		w.makeKnown() // the backup knows the card, but not the order
	}
	start := w.chip().Balance
	program := w.open(w.profile, fault.Name)
	_, err := topUp(program, wish)
	program.Close()
	hit, armed := wire.FaultHit()
	if !w.reaches(fault, variant) {
		w.renew = true // the order stays open: it is no row of this fault
		return
	}
	require.True(t, armed && hit, "the fault was not reached: %v", err)
	if variant == virtualcard.Standard {
		require.Equal(t, fault.ExpectExit, exitOf(err), "%v", err)
	}
	credited := w.chip().Balance == start+wish
	require.True(t, credited || w.chip().Balance == start, "the card holds %s", w.chip().Balance.Yuan())
	require.False(t, err == nil && !credited, "success was shown, but the card has nothing")

	program = w.open(touchProfile, "")
	lines, err := settle(program, intent)
	program.Close()
	w.judge(fault, variant, intent, touchProfile, credited, start, wish, lines, err)
	for _, line := range lines {
		require.LessOrEqual(t, line.Requests, 2, "%+v", line)
	}
	w.secondTouchChangesNothing(touchProfile, intent)
}

// makeKnown tops the card up once, undisturbed.
func (w *world) makeKnown() {
	program := w.open(w.profile, "")
	_, _ = topUp(program, 10_00)
	_, err := settle(program, wallet.IntentSettle)
	require.NoError(w.t, err)
	program.Close()
}

// reaches: a card that answers 6581 to a credit that it executed never shows
// success, so faults behind the success are not met.
func (w *world) reaches(fault wire.Fault, variant string) bool {
	behind := []string{"result-lost", "result-answer-lost", "result-dies-before-commit", "disk-full-after-tac"}
	return variant != virtualcard.EEPROMButCredited || !slices.Contains(behind, fault.Name)
}

// judge compares card, books and journal after the touch.
func (w *world) judge(fault wire.Fault, variant string, intent wallet.Intent, profile string, credited bool, start, wish wallet.Fen, lines []core.SyncLine, err error) {
	t := w.t
	report, books := w.books()
	chip := w.chip()
	if w.mayNeedStaff(fault, variant, credited) {
		require.True(t, exitOf(err) == core.ExitOpen || staysOpen(lines), "%v %+v", err, lines)
		require.Equal(t, wish, report.HeldFen, "money stays held until staff have decided")
		w.renew = true
		return
	}
	if variant == virtualcard.EEPROMButCredited && !credited && intent == wallet.IntentComplete && chip.Balance != start {
		// The completing CREDIT is again answered with 6581: a further touch proves it.
		program := w.open(profile, "")
		lines, err = settle(program, wallet.IntentSettle)
		program.Close()
		report, books = w.books()
	}
	require.NoError(t, err)
	require.Zero(t, report.HeldFen)
	require.Zero(t, report.OpenOrders+report.Suspense)
	require.Equal(t, chip.Balance, books.ExpectedBalanceFen, "the books say what the card holds")
	switch {
	case credited:
		require.Equal(t, start+wish, chip.Balance)
	case fault.ExpectState == "DECLINED", intent == wallet.IntentCancel:
		require.Equal(t, start, chip.Balance)
	default:
		require.Equal(t, start+wish, chip.Balance)
	}
	w.journalIsClosed(profile, lines)
}

// staysOpen: the touch told that the order is still open.
func staysOpen(lines []core.SyncLine) bool {
	return slices.ContainsFunc(lines, func(line core.SyncLine) bool {
		return line.To == wallet.StateGranted || line.To == wallet.StateSuspense
	})
}

// mayNeedStaff: rows and variants whose end is the service counter.
func (w *world) mayNeedStaff(fault wire.Fault, variant string, credited bool) bool {
	if fault.Name == "card-blocked" {
		return !credited
	}
	// A card that repeats its random proves nothing about a load it has not got.
	granted := fault.ExpectState != "DECLINED"
	return variant == virtualcard.SameRandom && granted && !credited
}

// forgive forgets the platform's open order, so that the next row starts clean.
func (w *world) forgive() {
	fresh := newWorld(w.home) // it outlives this row
	w.platform, w.profile, w.renew = fresh.platform, fresh.profile, false
}

// journalIsClosed: what this computer knows is settled, too.
func (w *world) journalIsClosed(profile string, lines []core.SyncLine) {
	t := w.t
	program := w.open(profile, "")
	defer program.Close()
	entries, err := program.Core.Store.Entries(t.Context(), core.EntryFilter{OpenOnly: true})
	require.NoError(t, err)
	require.Empty(t, entries, "open entries after %+v", lines)
}

func (w *world) secondTouchChangesNothing(profile string, intent wallet.Intent) {
	if w.chip().Blocked {
		return
	}
	t := w.t
	before := w.chip()
	reportBefore, _ := w.books()
	program := w.open(profile, "")
	lines, err := settle(program, intent)
	program.Close()
	after, _ := w.books()
	if reportBefore.OpenOrders+reportBefore.Suspense > 0 {
		return
	}
	require.NoError(t, err)
	require.Empty(t, lines)
	require.Equal(t, before, w.chip())
	require.Equal(t, reportBefore, after)
}

func TestE2E_SharedCounterIsRefused(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.SharedCounter)
	program := w.open(w.profile, "")
	defer program.Close()
	_, err := topUp(program, amount)
	require.Equal(t, "CARD_TYPE_REFUSED", core.Explain(err).Code, "%v", err)
	require.Equal(t, opening, w.chip().Balance)
}

func TestE2E_CrashMatrix_Slow(t *testing.T) {
	w := newWorld(t)
	for _, fault := range inProcess(wallet.KindLoad) {
		if !slices.Contains([]string{"credit-answer-lost", "credit-torn", "grant-answer-lost"}, fault.Name) {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			w.t = t
			w.crashRow(fault, virtualcard.Slow, "", wallet.IntentComplete)
		})
	}
}

func TestE2E_Topup_TwoRequests(t *testing.T) {
	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program := w.open(w.profile, "")
	defer program.Close()
	result, err := topUp(program, amount)
	require.NoError(t, err)
	require.Equal(t, 2, result.Requests)
	require.Equal(t, 1, result.RequestsWaited)
	require.True(t, result.Acknowledged)
	require.Equal(t, opening+amount, w.chip().Balance)
	report, books := w.books()
	require.Zero(t, report.HeldFen)
	require.Equal(t, opening+amount, books.ExpectedBalanceFen)
}
