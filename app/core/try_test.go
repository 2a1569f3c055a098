package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/reader/readertest"
	"walletcompanion/reader/virtual"
)

// tried checks a virtual reader; at each step the test does what a person would.
func tried(t *testing.T, wait time.Duration, person func(slot *virtual.Slot, step core.TryStep)) (core.TryReport, error) {
	driver := virtual.New()
	slot := driver.AddSlot("Slot")
	c := core.New(core.Config{Readers: driver, CardWait: wait})
	return c.TryReader(t.Context(), core.TryAsk{Commands: 20, Step: func(step core.TryStep) { person(slot, step) }})
}

func stepsOf(report core.TryReport) (names []core.TryStep) {
	for _, done := range report.Steps {
		names = append(names, done.Step)
	}
	return names
}

func TestTryReader(t *testing.T) {
	card := newCard(t, serialA, 86_50, 8)
	report, err := tried(t, time.Minute, func(slot *virtual.Slot, step core.TryStep) {
		switch step {
		case core.TryCard, core.TryReturn:
			slot.Insert(card)
		case core.TryRemove:
			slot.Remove()
		}
	})
	require.NoError(t, err)
	require.Equal(t, []core.TryStep{core.TryCard, core.TryCommands, core.TryRemove, core.TryReturn, core.TryAgain}, stepsOf(report))
	require.Equal(t, "Slot", report.Reader.Name)
	require.Equal(t, serialA, report.Purse.ASN)
	require.NotEmpty(t, report.ATR)
	require.GreaterOrEqual(t, len(report.Timings), 20)
}

// A card of another kind shows as well that the reader works.
func TestTryReaderWithoutAPurse(t *testing.T) {
	chip := readertest.NewParrot(1)
	report, err := tried(t, time.Minute, func(slot *virtual.Slot, step core.TryStep) {
		switch step {
		case core.TryCard, core.TryReturn:
			slot.Insert(noPurse{chip})
		case core.TryRemove:
			slot.Remove()
		}
	})
	require.NoError(t, err)
	require.Nil(t, report.Purse)
	require.GreaterOrEqual(t, len(report.Timings), 20)
}

// noPurse knows no application.
type noPurse struct{ *readertest.Parrot }

func (noPurse) Transmit([]byte) ([]byte, error) { return []byte{0x6A, 0x82}, nil }

func TestTryReaderFails(t *testing.T) {
	const soon, patient = 100 * time.Millisecond, time.Minute
	for _, c := range []struct {
		name   string
		wait   time.Duration
		person func(slot *virtual.Slot, step core.TryStep)
		step   core.TryStep
		code   string
	}{
		{"nobody lays a card down", soon, func(*virtual.Slot, core.TryStep) {}, core.TryCard, "CARD_NONE"},
		{"the card comes off", patient, func(slot *virtual.Slot, step core.TryStep) {
			slot.Insert(newCard(t, serialA, 1_00, 0))
			if step == core.TryCommands {
				slot.Remove()
			}
		}, core.TryCommands, "CARD_LOST"},
		{"nobody takes it away", soon, func(slot *virtual.Slot, step core.TryStep) {
			if step == core.TryCard {
				slot.Insert(newCard(t, serialA, 1_00, 0))
			}
		}, core.TryRemove, "TIMEOUT"},
		{"another card comes back", patient, func(slot *virtual.Slot, step core.TryStep) {
			switch step {
			case core.TryCard:
				slot.Insert(newCard(t, serialA, 1_00, 0))
			case core.TryRemove:
				slot.Remove()
			case core.TryReturn:
				slot.Insert(newCard(t, serialB, 1_00, 0))
			}
		}, core.TryAgain, "CARD_OTHER"},
	} {
		report, err := tried(t, c.wait, c.person)
		failure := core.Explain(err)
		require.Equal(t, c.code, failure.Code, "%s: %v", c.name, err)
		require.Equal(t, string(c.step), failure.Detail["step"], c.name)
		last := report.Steps[len(report.Steps)-1]
		require.Equal(t, core.TryDone{Step: c.step, Took: last.Took, Code: c.code}, last, c.name)
	}
}

var _ reader.Chip = noPurse{}
