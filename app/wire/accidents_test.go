package wire_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/readertest"
	"walletcompanion/reader/vpcd"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// Accidents with the system's smart card service, as the whole program tells them:
// each is brought about, and the code is the one that people and scripts see.

// slot puts cards into the first reader of a service.
func slot(t *testing.T, service *pcsctest.Service) *vpcd.Control {
	control := vpcd.New(nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = control.Serve(ctx, service.Addr(0))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return control
}

// present waits until the reader shows a card that can be opened.
func present(t *testing.T, service *pcsctest.Service) {
	t.Helper()
	readertest.Await(t, pcsc.New(), service.Name(0), reader.StatePresent)
}

// reading is a program that only reads.
func reading(t *testing.T, wanted string, wait time.Duration) *wire.Program {
	program, err := wire.Open(t.Context(), wire.Options{Reader: wanted, ProfileDir: t.TempDir(), CardOnly: true, CardWait: wait})
	require.NoError(t, err)
	t.Cleanup(program.Close)
	return program
}

// query gives what a query fails with.
func query(program *wire.Program) *core.Failure {
	_, err := program.Core.Query(context.Background(), nil)
	return core.Explain(err)
}

// silentChip never answers its commands until it is woken.
type silentChip struct {
	*virtualcard.Card
	wake chan struct{}
}

func (c silentChip) Transmit([]byte) ([]byte, error) {
	<-c.wake
	return nil, errors.New("woken")
}

// shortChip answers with one byte.
type shortChip struct{ *virtualcard.Card }

func (shortChip) Transmit([]byte) ([]byte, error) { return []byte{0x90}, nil }

func testCard(t *testing.T, last byte) *virtualcard.Card {
	card, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{2: 0x10, 9: last}, Balance: opening}, rand.Reader)
	require.NoError(t, err)
	return card
}

func TestAccidentsOfTheServiceHaveTheirCodes(t *testing.T) {
	service := pcsctest.Start(t)
	control := slot(t, service)
	program := reading(t, "auto", 100*time.Millisecond)

	requireCode(t, "CARD_NONE", query(program))
	requireCode(t, "READER_NONE", query(reading(t, "pcsc:No such reader", 100*time.Millisecond)))

	control.Insert(testCard(t, 1))
	present(t, service)
	require.Nil(t, query(program))

	// Another session of this computer holds the card; the refusal names the program.
	session, err := pcsc.New().Open(t.Context(), service.Name(0))
	require.NoError(t, err)
	p := processes{t: t, console: buildConsole(t)}
	object := p.json(3, "query", "--profile", t.TempDir())["error"].(map[string]any)
	comm, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	require.Equal(t, "READER_BUSY", object["code"])
	require.Equal(t, string(comm), object["detail"].(map[string]any)["holder"].(string)+"\n")
	require.NoError(t, session.Close())

	service.Stop()
	requireCode(t, "READER_SERVICE_STOPPED", query(program))
	service.Restart()
	present(t, service)
	require.Nil(t, query(program), "nothing had to be done in the program")

	control.Remove()
	readertest.Await(t, pcsc.New(), service.Name(0), reader.StateEmpty)
	control.Insert(shortChip{testCard(t, 2)})
	present(t, service)
	requireCode(t, "CARD_PROTOCOL", query(program))

	control.Remove()
	readertest.Await(t, pcsc.New(), service.Name(0), reader.StateEmpty)
	silent := silentChip{testCard(t, 3), make(chan struct{})}
	control.Insert(silent)
	present(t, service)
	requireCode(t, "READER_STUCK", query(program)) // after the 5 s of a reading command
	close(silent.wake)
}

func requireCode(t *testing.T, code string, failure *core.Failure) {
	t.Helper()
	require.NotNil(t, failure)
	require.Equal(t, code, failure.Code, "%v", failure.Err)
	require.Equal(t, core.ExitReader, failure.Exit())
}

// TestSwappedCardIsNeverLoaded: this virtual reader does not notice a card that is
// exchanged between two of its looks, and an open handle then talks to the new card.
// The card's number, read again, and the card's own cryptography notice it.
func TestSwappedCardIsNeverLoaded(t *testing.T) {
	pcsctest.Require(t)
	for _, moment := range []string{"after the confirmation", "while the platform is asked"} {
		t.Run(moment, func(t *testing.T) {
			service := pcsctest.Start(t) // of its own: a reader shows a card that has left for another 400 ms
			w := newWorld(t)
			control := slot(t, service)
			confirmed, other := testCard(t, 1), testCard(t, 2)
			program, err := wire.Open(t.Context(), wire.Options{
				Reader: "pcsc:" + service.Name(0), Platform: "demo:" + w.platform, ProfileDir: w.profile,
				DemoCredentials: true, Online: true, CardWait: 20 * time.Second,
			})
			require.NoError(t, err)
			defer program.Close()
			adopt(t, program, confirmed)
			control.Insert(confirmed)
			present(t, service)

			swap := func(now string) {
				if now == moment {
					control.Swap(other)
				}
			}
			_, err = program.Core.TopUp(t.Context(), core.TopUpAsk{
				Amount: amount, Source: "main",
				Confirm: func(context.Context, core.Confirmation) error { swap("after the confirmation"); return nil },
				Password: func(context.Context) (string, error) {
					swap("while the platform is asked")
					return program.DemoCredentials().PaymentPassword, nil
				},
			})
			require.Error(t, err)
			require.Equal(t, opening, confirmed.Balance())
			require.Equal(t, opening, other.Balance(), "the other card is not touched")
			failure := core.Explain(err)
			if moment == "after the confirmation" {
				require.Equal(t, "CARD_OTHER", failure.Code, "%v", err)
				require.False(t, failure.Open())
				return
			}
			require.Equal(t, core.ExitOpen, failure.Exit(), "%v", err)
			control.Remove()
			readertest.Await(t, pcsc.New(), service.Name(0), reader.StateEmpty)
			control.Insert(confirmed)
			present(t, service)
			lines, err := settle(program, wallet.IntentCancel)
			require.NoError(t, err)
			require.Len(t, lines, 1)
			require.Equal(t, wallet.StateVoided, lines[0].To)
			require.Equal(t, opening, confirmed.Balance())
		})
	}
}

// adopt makes the embedded platform know a card that lies on a real reader.
func adopt(t *testing.T, program *wire.Program, card *virtualcard.Card) {
	t.Helper()
	exported, err := card.ExportKeys()
	require.NoError(t, err)
	var keys mockplatform.CardKeys
	require.NoError(t, json.Unmarshal(exported, &keys))
	reading, err := wallet.Read(t.Context(), powered(t, card), wallet.ReadOptions{Brief: true})
	require.NoError(t, err)
	require.NoError(t, program.Demo.AdoptCard(t.Context(), "13800000000", card.ASN(), keys, card.Balance(), reading.Purses[0].Profile.LoadName()))
	card.PowerOff()
}

// chipSession talks to a chip without any reader.
type chipSession struct{ *virtualcard.Card }

func (c chipSession) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return c.Card.Transmit(command)
}

func powered(t *testing.T, card *virtualcard.Card) chipSession {
	_, err := card.PowerOn()
	require.NoError(t, err)
	return chipSession{card}
}

// TestDemoLeavesRealCardsAlone: the demo that nobody chose reads a card on a real
// reader and does not load it.
func TestDemoLeavesRealCardsAlone(t *testing.T) {
	service := pcsctest.Start(t)
	control := slot(t, service)
	card := testCard(t, 1)
	control.Insert(card)
	present(t, service)
	program, err := wire.Open(t.Context(), wire.Options{
		Reader: "auto", ProfileDir: filepath.Join(t.TempDir(), "profile"), DemoCredentials: true, Online: true, CardWait: 20 * time.Second,
	})
	require.NoError(t, err)
	defer program.Close()
	_, err = topUp(program, amount)
	requireCode(t, "DEMO_REAL_CARD", core.Explain(err))
	require.Equal(t, opening, card.Balance())
}

// stallingChip never answers CREDIT FOR LOAD, and does not execute it, until it is woken.
type stallingChip struct {
	*virtualcard.Card
	wake chan struct{}
}

func (c stallingChip) Transmit(command []byte) ([]byte, error) {
	if command[1] == 0x52 {
		<-c.wake
		return nil, errors.New("woken")
	}
	return c.Card.Transmit(command)
}

// TestSilentCreditLeavesTheOrderOpen: the watchdog of a money command ends the waiting,
// the order stays open, and once the reader is free again the card settles it.
func TestSilentCreditLeavesTheOrderOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the watchdog of a money command, 15 s")
	}
	service := pcsctest.Start(t)
	w := newWorld(t)
	control := slot(t, service)
	card := testCard(t, 1)
	program, err := wire.Open(t.Context(), wire.Options{
		Reader: "pcsc:" + service.Name(0), Platform: "demo:" + w.platform, ProfileDir: w.profile,
		DemoCredentials: true, Online: true, CardWait: 20 * time.Second,
	})
	require.NoError(t, err)
	defer program.Close()
	adopt(t, program, card)
	stalling := stallingChip{card, make(chan struct{})}
	control.Insert(stalling)
	present(t, service)
	_, err = topUp(program, amount)
	require.Error(t, err)
	failure := core.Explain(err)
	require.True(t, failure.Open(), "%v", err)
	require.Equal(t, core.ExitOpen, failure.Exit())
	close(stalling.wake)
	control.Remove()
	readertest.Await(t, pcsc.New(), service.Name(0), reader.StateEmpty)
	require.Equal(t, opening, card.Balance())
	control.Insert(card)
	present(t, service)
	lines, err := settle(program, wallet.IntentCancel)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, wallet.StateVoided, lines[0].To)
}
