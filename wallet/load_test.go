package wallet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

var (
	testASN   = must(wallet.ParseASN("6210000112345678"))
	otherASN  = must(wallet.ParseASN("6210000112345699"))
	leasedTID = must(wallet.ParseTerminalNumber("313233343536"))
	errNet    = errors.New("connection reset")
	errDisk   = errors.New("disk full")
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func profile(name string) *wallet.Profile {
	p, found := wallet.ProfileByName(name)
	if !found {
		panic(name)
	}
	return p
}

// stage is a whole little world: one chip, one issuer, one journal, one desk.
type stage struct {
	chip    *wallettest.Chip
	issuer  *wallettest.Issuer
	journal *wallettest.Journal
	desk    wallet.Desk
	trace   []wallet.TraceLine
	profile *wallet.Profile
	order   wallet.Order
}

func newStage() *stage {
	s := &stage{
		chip:    wallettest.NewChip(testASN, 1234, 3),
		issuer:  wallettest.NewIssuer(),
		journal: &wallettest.Journal{},
		profile: profile("pboc-ep"),
		order:   wallet.Order{Key: "key-1", ASN: testASN, Amount: 5000, Fee: 0, Source: "main", Cap: 100000},
	}
	s.desk = wallet.Desk{
		Card: s.chip, Issuer: s.issuer, Journal: s.journal, Signers: s.issuer.Signers(), Epoch: 1,
		Trace: func(line wallet.TraceLine) { s.trace = append(s.trace, line) },
	}
	return s
}

func (s *stage) topUp() (wallet.Outcome, error) {
	return s.desk.TopUp(context.Background(), s.order, s.profile, wallettest.OpenScript(s.profile), leasedTID)
}

func (s *stage) sync(kept wallet.Entry, intent wallet.Intent) (wallet.Outcome, error) {
	open := s.issuer.Open("20260301-01")
	return s.desk.Sync(context.Background(), open, kept, intent, s.profile, wallettest.OpenScript(s.profile))
}

// credits counts the CREDIT commands that reached the chip.
func (s *stage) credits() int { return countINS(s.chip.Sent, "52") }

func countINS(sent []string, ins string) int {
	n := 0
	for _, command := range sent {
		if command[2:4] == ins {
			n++
		}
	}
	return n
}

func TestTopUp_Golden(t *testing.T) {
	s := newStage()
	out, err := s.topUp()
	require.NoError(t, err)
	require.Equal(t, []string{
		"00A4040009A0000000038698070100",
		"00B095001E",
		"805000020B010000138831323334353610",
	}, s.chip.Sent[:3])
	require.True(t, strings.HasPrefix(s.chip.Sent[3], "805200000B20260315093045"))
	require.Equal(t, []string{"805C000204", "00B201C417"}, s.chip.Sent[4:])

	require.EqualValues(t, 6234, s.chip.Balance)
	require.EqualValues(t, 1234, out.BalanceBefore)
	require.EqualValues(t, 6234, out.BalanceAfter)
	require.Len(t, out.TAC, 4)
	require.Empty(t, out.Warning)
	require.True(t, out.OnCardLog)
	require.Equal(t, 6, out.APDUs)

	entry := s.journal.Entry("key-1")
	require.Equal(t, wallet.StageCredited, entry.Stage)
	require.Equal(t, out.Entry, entry)
	require.Equal(t, out.TAC, entry.TAC)
	require.Equal(t, 1, entry.Executed)
	require.NotNil(t, entry.Grant)
	require.Equal(t, []wallet.Stage{
		wallet.StageIntent, wallet.StageOpened, wallet.StageAsked,
		wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited,
	}, s.journal.Stages())

	ask := s.issuer.Asks[0]
	require.Equal(t, "pboc-ep", ask.Profile)
	require.Len(t, ask.Steps, 3, "one answer for each step of the script")
	require.Len(t, ask.Steps[2].Data, 16)
}

// Whoever shows progress shows what is on disk: success is never told before CREDITED
// has been written.
func TestTopUp_ProgressIsOnDisk(t *testing.T) {
	s := newStage()
	var told []wallet.Stage
	s.desk.Progress = func(progress wallet.Progress) {
		require.Equal(t, progress.Stage, s.journal.Entry(progress.Key).Stage)
		told = append(told, progress.Stage)
	}
	_, err := s.topUp()
	require.NoError(t, err)
	require.Equal(t, s.journal.Stages(), told)
}

func TestTopUp_T0(t *testing.T) {
	s := newStage()
	s.chip.T0 = true
	out, err := s.topUp()
	require.NoError(t, err)
	require.EqualValues(t, 6234, s.chip.Balance)
	require.Equal(t, 6, out.APDUs, "GET RESPONSE is not counted")
	require.Equal(t, 1, s.credits())
	require.NotZero(t, countINS(s.chip.Sent, "C0"))
}

func TestTopUp_PIN(t *testing.T) {
	typed := func(pin string) func(int) ([]byte, error) {
		return func(int) ([]byte, error) { return []byte(pin), nil }
	}
	tests := []struct {
		name   string
		pin    func(int) ([]byte, error)
		left   int
		code   wallet.Code
		verify int
	}{
		{"right", typed("\x12\x34\x56"), 0, "", 1},
		{"wrong", typed("\x99\x99\x99"), 0, wallet.CodePINWrong, 1},
		{"nobody to ask", nil, 0, wallet.CodePINNeeded, 0},
		{"only one try left", typed("\x12\x34\x56"), 1, wallet.CodePINLocked, 0},
		{"too long", typed("\x12\x34\x56\x78\x90\x12\x34"), 0, wallet.CodeGuardRefused, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage()
			s.chip.PIN = []byte{0x12, 0x34, 0x56}
			s.desk.PIN, s.desk.PINTriesLeft = tt.pin, tt.left
			_, err := s.topUp()
			require.Equal(t, tt.code, wallet.CodeOf(err))
			require.False(t, wallet.IsOpen(err))
			require.Equal(t, tt.verify, countINS(s.chip.Sent, "20"))
			require.Equal(t, err == nil, s.chip.Balance == 6234)
			for _, line := range s.trace {
				require.NotContains(t, line.Command, "123456", "the PIN stays out of the transcript")
			}
		})
	}
}

func TestTopUp_TranscriptHoldsNoSecret(t *testing.T) {
	s := newStage()
	_, err := s.topUp()
	require.NoError(t, err)
	require.Len(t, s.trace, 6)
	credit := s.chip.Sent[3]
	mac2 := credit[len(credit)-10 : len(credit)-2]
	for _, line := range s.trace {
		require.NotContains(t, line.Command+line.Answer, mac2)
		require.NotContains(t, line.Answer, testASN.String())
	}
	require.Equal(t, "805200000B20260315093045********04", s.trace[3].Command)
	require.Contains(t, s.trace[1].Answer, "****************5678")
}

func TestTopUp_Refused(t *testing.T) {
	s := newStage()
	s.issuer.Refuse = &wallet.OrderState{State: wallet.StateDeclined, Code: "PENDING_LOAD", Pending: &wallet.OpenOrder{Order: "o9"}}
	_, err := s.topUp()
	var refused *wallet.Refused
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "o9", refused.State.Pending.Order)
	require.Equal(t, wallet.CodePendingLoad, wallet.CodeOf(err))
	require.False(t, wallet.IsOpen(err))
	require.Equal(t, wallet.StageDeclined, s.journal.Entry("key-1").Stage)
	require.Zero(t, s.credits())
}

func TestTopUp_RefusalOfAnotherOrderMeansUnknown(t *testing.T) {
	s := newStage()
	s.desk.Issuer = verdicts{wallet.Verdict{State: &wallet.OrderState{Key: "key-2", State: wallet.StateDeclined, Code: "LIMIT"}}}
	_, err := s.topUp()
	require.True(t, wallet.IsOpen(err))
	require.Equal(t, wallet.CodeOutcomeUnknown, wallet.CodeOf(err))
	require.Equal(t, wallet.StageAsked, s.journal.Entry("key-1").Stage)
}

// verdicts is an issuer that always says the same.
type verdicts struct{ verdict wallet.Verdict }

func (v verdicts) RequestLoad(context.Context, wallet.LoadAsk) (wallet.Verdict, error) {
	return v.verdict, nil
}
func (v verdicts) Settle(context.Context, wallet.Evidence) (wallet.Verdict, error) {
	return v.verdict, nil
}

// TestTopUp_Faults cuts a top-up at every place and says what must be true then.
func TestTopUp_Faults(t *testing.T) {
	answer := func(ins byte, raw string) func(*stage) {
		return func(s *stage) {
			s.chip.Hook = func(c []byte) ([]byte, error, bool) {
				return mustHex(raw), nil, c[1] == ins
			}
		}
	}
	tests := []struct {
		name    string
		arrange func(*stage)
		code    wallet.Code
		open    bool
		stage   wallet.Stage
		credits int
		balance uint32
	}{
		{"card lost at INITIALIZE", func(s *stage) { s.chip.TearAfter = 0x50 }, wallet.CodeCardLost, false, wallet.StageIntent, 0, 1234},
		{"other card", func(s *stage) { s.order.ASN = otherASN }, wallet.CodeCardOther, false, wallet.StageAbandoned, 0, 1234},
		{"above the cap", func(s *stage) { s.order.Cap = 6233 }, wallet.CodeCapExceeded, false, wallet.StageAbandoned, 0, 1234},
		{"blocked application", answer(0xA4, "6A81"), wallet.CodeCardBlocked, false, wallet.StageAbandoned, 0, 1234},
		{"blocked for ever", answer(0x50, "9303"), wallet.CodeCardBlocked, false, wallet.StageAbandoned, 0, 1234},
		{"network lost", func(s *stage) { s.issuer.Lost = errNet }, wallet.CodeOutcomeUnknown, true, wallet.StageAsked, 0, 1234},
		{"card lost inside CREDIT", func(s *stage) { s.chip.TearAfter = 0x52 }, wallet.CodeCardLost, true, wallet.StageUnknown, 1, 6234},
		{"9302", answer(0x52, "9302"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"6901", answer(0x52, "6901"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"6581", answer(0x52, "6581"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"6700 is not repeated", answer(0x52, "6700"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"6C04 is not repeated", answer(0x52, "6C04"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"6985 is not answered by a PIN", answer(0x52, "6985"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"9000 without TAC", answer(0x52, "9000"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"9000 with too much TAC", answer(0x52, "01020304059000"), wallet.CodeOutcomeUnknown, true, wallet.StageUnknown, 1, 1234},
		{"one byte", answer(0x52, "90"), wallet.CodeCardProtocol, true, wallet.StageUnknown, 1, 1234},
		{"wrong balance afterwards", answer(0x5C, "000004D29000"), wallet.CodeBalanceWrong, true, wallet.StageUnknown, 1, 6234},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage()
			tt.arrange(s)
			_, err := s.topUp()
			require.Error(t, err)
			require.Equal(t, tt.code, wallet.CodeOf(err), err)
			require.Equal(t, tt.open, wallet.IsOpen(err), err)
			require.Equal(t, tt.stage, s.journal.Entry("key-1").Stage)
			require.Equal(t, tt.credits, s.credits())
			require.Equal(t, tt.balance, s.chip.Balance)
			require.NotContains(t, err.Error(), s.order.ASN.String())
		})
	}
}

func TestTopUp_JournalFails(t *testing.T) {
	tests := []struct {
		stage   wallet.Stage
		open    bool
		asks    int
		credits int
	}{
		{wallet.StageIntent, false, 0, 0},
		{wallet.StageOpened, false, 0, 0},
		{wallet.StageAsked, false, 0, 0},
		{wallet.StageGranted, true, 1, 0},
		{wallet.StageCrediting, true, 1, 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.stage), func(t *testing.T) {
			s := newStage()
			s.journal.Fail = failAt(tt.stage)
			_, err := s.topUp()
			require.Equal(t, wallet.CodeJournalFailed, wallet.CodeOf(err))
			require.Equal(t, tt.open, wallet.IsOpen(err))
			require.Len(t, s.issuer.Asks, tt.asks)
			require.Equal(t, tt.credits, s.credits())
			require.EqualValues(t, 1234, s.chip.Balance)
			if tt.stage == wallet.StageIntent {
				require.Empty(t, s.chip.Sent, "the card is not touched without a journal")
			}
		})
	}
	t.Run("CREDITED", func(t *testing.T) {
		s := newStage()
		s.journal.Fail = failAt(wallet.StageCredited)
		out, err := s.topUp()
		require.NoError(t, err, "the card has the value")
		require.Equal(t, wallet.CodeJournalFailed, out.Warning)
		require.Len(t, out.Entry.TAC, 4)
		require.Equal(t, wallet.StageCredited, out.Entry.Stage)
		require.Equal(t, wallet.StageCrediting, s.journal.Entry("key-1").Stage)
	})
}

func failAt(stage wallet.Stage) func(wallet.Entry) error {
	return func(e wallet.Entry) error {
		if e.Stage == stage {
			return errDisk
		}
		return nil
	}
}

func TestTopUp_FailuresAfterTheTACAreNoFailure(t *testing.T) {
	for _, ins := range []byte{0x5C, 0xB2} {
		t.Run(fmt.Sprintf("%02X", ins), func(t *testing.T) {
			s := newStage()
			s.chip.TearAfter = ins
			out, err := s.topUp()
			require.NoError(t, err)
			require.Len(t, out.TAC, 4)
			require.Equal(t, wallet.StageCredited, s.journal.Entry("key-1").Stage)
		})
	}
}

func TestTopUp_CancelAfterCreditingChangesNothing(t *testing.T) {
	s := newStage()
	ctx, cancel := context.WithCancel(context.Background())
	s.desk.Progress = func(p wallet.Progress) {
		if p.Stage == wallet.StageCrediting {
			cancel()
		}
	}
	_, err := s.desk.TopUp(ctx, s.order, s.profile, wallettest.OpenScript(s.profile), leasedTID)
	require.NoError(t, err)
	require.Equal(t, wallet.StageCredited, s.journal.Entry("key-1").Stage)
}

func TestTopUp_CancelBeforeCreditingSendsNoCredit(t *testing.T) {
	s := newStage()
	ctx, cancel := context.WithCancel(context.Background())
	s.desk.Progress = func(p wallet.Progress) {
		if p.Stage == wallet.StageGranted {
			cancel()
		}
	}
	_, err := s.desk.TopUp(ctx, s.order, s.profile, wallettest.OpenScript(s.profile), leasedTID)
	require.True(t, wallet.IsOpen(err))
	require.Zero(t, s.credits())
}

func TestTopUp_AgainWithTheSameKeyAfterALostCard(t *testing.T) {
	s := newStage()
	s.chip.TearAfter = 0x50
	_, err := s.topUp()
	require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))
	s.chip.Present()
	_, err = s.topUp()
	require.NoError(t, err)
	require.EqualValues(t, 6234, s.chip.Balance)
}

func TestTopUp_SlowPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.issuer.Slow = 14 * time.Second
		_, err := s.topUp()
		require.NoError(t, err, "14 s are within the 15 s of a card session")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.issuer.Slow = 16 * time.Second
		_, err := s.topUp()
		require.True(t, wallet.IsOpen(err))
		require.Equal(t, wallet.CodeOutcomeUnknown, wallet.CodeOf(err))
		require.Zero(t, s.credits())
	})
}

// silent is a card that never answers: only the watchdog ends the wait.
type silent struct{ ins byte }

func (c silent) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTopUp_SilentCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.desk.Card = silent{}
		started := time.Now()
		_, err := s.topUp()
		require.Equal(t, wallet.CodeCardLost, wallet.CodeOf(err))
		require.Equal(t, 5*time.Second, time.Since(started))
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		var waited time.Duration
		s.desk.Card = cardFunc(func(ctx context.Context, c []byte) ([]byte, error) {
			if c[1] != 0x52 {
				return s.chip.Transmit(ctx, c)
			}
			started := time.Now()
			<-ctx.Done()
			waited = time.Since(started)
			return nil, ctx.Err()
		})
		_, err := s.topUp()
		require.True(t, wallet.IsOpen(err))
		require.Equal(t, wallet.StageUnknown, s.journal.Entry("key-1").Stage)
		require.Equal(t, 15*time.Second, waited)
	})
}

type cardFunc func(context.Context, []byte) ([]byte, error)

func (f cardFunc) Transmit(ctx context.Context, c []byte) ([]byte, error) { return f(ctx, c) }

func mustHex(text string) []byte {
	var h wallet.Hex
	if err := h.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return h
}

func TestOpenForCard(t *testing.T) {
	s := newStage()
	steps, asn, err := s.desk.OpenForCard(context.Background(), wallet.ASN{}, s.profile, wallettest.OpenScript(s.profile), leasedTID)
	require.NoError(t, err)
	require.Equal(t, testASN, asn)
	require.Len(t, steps, 3)
	require.Equal(t, "805000020B010000000131323334353610", s.chip.Sent[2])
	require.Zero(t, s.credits())

	_, _, err = s.desk.OpenForCard(context.Background(), otherASN, s.profile, wallettest.OpenScript(s.profile), leasedTID)
	require.Equal(t, wallet.CodeCardOther, wallet.CodeOf(err))
}
