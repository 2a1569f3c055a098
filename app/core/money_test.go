package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/platformclient/api"
	"walletcompanion/reader"
	"walletcompanion/reader/virtual"
	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

var errSilent = errors.New("no answer")

// counter is a platform of which a test says what it answers. What no test here
// expects to be asked is nil and would panic.
type counter struct {
	core.Platform
	session  core.Session
	issuer   *wallettest.Issuer
	result   func(wallet.Entry) (wallet.OrderState, error)
	abandon  func(key string) (wallet.OrderState, error)
	connects int

	cashier *wallettest.Cashier // nil where nobody pays
	offer   wallet.MerchantOrder
	tombs   func(ctx context.Context, key string) (wallet.PurchaseStatement, error) // AbandonPurchase
	leases  byte
}

func (c *counter) Connect(context.Context) error { c.connects++; return nil }
func (c *counter) Session() core.Session         { return c.session }
func (c *counter) Signers() wallet.SignerKeys    { return c.issuer.Signers() }
func (c *counter) Requests() int                 { return 0 }

func (c *counter) TakeLease(context.Context) (wallet.Lease, error) {
	c.leases++
	return wallet.Lease{TID: wallet.TerminalNumber{0x31, 0, 0, 0, 0, c.leases}, Epoch: c.session.Epoch}, nil
}

func (c *counter) Cashier() wallet.Cashier { return c.cashier }

func (c *counter) MerchantOrder(context.Context, string) (wallet.MerchantOrder, error) {
	return c.offer, nil
}

func (c *counter) AbandonPurchase(ctx context.Context, key string) (wallet.PurchaseStatement, error) {
	return c.tombs(ctx, key)
}

func (c *counter) Issuer(func(context.Context) (string, error)) wallet.Issuer { return c.issuer }

func (c *counter) Result(_ context.Context, entry wallet.Entry) (wallet.OrderState, wallet.Signed, error) {
	state, err := c.result(entry)
	return state, wallet.Signed{}, err
}

func (c *counter) Abandon(_ context.Context, key string) (wallet.OrderState, error) {
	return c.abandon(key)
}

// plainChip is the small purse chip as a reader holds it.
type plainChip struct{ *wallettest.Chip }

func (c plainChip) PowerOn() ([]byte, error) { return []byte{0x3B, 0x00}, nil }
func (c plainChip) PowerOff()                {}
func (c plainChip) Reset() ([]byte, error)   { return c.PowerOn() }

func (c plainChip) Transmit(command []byte) ([]byte, error) {
	return c.Chip.Transmit(context.Background(), command)
}

var _ reader.Chip = plainChip{}

// till is a core with a card on its reader and a platform of the test's own.
type till struct {
	t         *testing.T
	core      *core.Core
	store     *store.Store
	platform  *counter
	chip      *wallettest.Chip
	slot      *virtual.Slot
	lock      error // why the money lock is not given
	confirmed int   // how often the person was asked
}

func newTill(t *testing.T) *till {
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kept.Close()) })
	profile, known := wallet.ProfileByName("pboc-ep")
	require.True(t, known)
	l := &till{t: t, store: kept, chip: wallettest.NewChip(serialA, 1234, 3), platform: &counter{
		result:  func(wallet.Entry) (wallet.OrderState, error) { return wallet.OrderState{}, errSilent },
		abandon: func(string) (wallet.OrderState, error) { return wallet.OrderState{}, errSilent },
		issuer:  wallettest.NewIssuer(),
		session: core.Session{LoggedIn: true, Epoch: 1, Cards: []api.Card{{ASN: serialA}}, Scripts: map[string]wallet.Script{
			profile.LoadName(): wallettest.OpenScript(profile),
		}},
	}}
	driver := virtual.New()
	l.slot = driver.AddSlot("Slot")
	l.slot.Insert(plainChip{l.chip})
	keys := 0
	l.core = core.New(core.Config{
		Readers: driver, Store: kept, Platform: l.platform,
		LockMoney: func(context.Context) (func(), error) { return func() {}, l.lock },
		Prepare:   func(context.Context, wallet.Purse) (string, error) { return "", nil },
		NewKey:    func() string { keys++; return fmt.Sprintf("key-%d", keys) },
	})
	return l
}

// topUp loads 50 yuan; answer is what the person says to the confirmation.
func (l *till) topUp(answer error) (core.TopUpResult, error) {
	return l.core.TopUp(l.t.Context(), core.TopUpAsk{
		Amount:  50_00,
		Confirm: func(context.Context, core.Confirmation) error { l.confirmed++; return answer },
	})
}

// tornAtCredit leaves an order that is granted and not on the card, and the card
// back on its reader.
func (l *till) tornAtCredit() {
	l.chip.Hook = func(command []byte) ([]byte, error, bool) { return nil, wallettest.ErrTorn, command[1] == 0x52 }
	_, err := l.topUp(nil)
	require.Equal(l.t, "ORDER_OPEN", core.Explain(err).Code)
	l.chip.Hook = nil
	l.chip.Present()
	l.slot.Insert(plainChip{l.chip})
	for number := range l.platform.issuer.Orders {
		l.platform.session.OpenOrders = []wallet.OpenOrder{l.platform.issuer.Open(number)}
	}
}

// stage is that of the newest order.
func (l *till) stage() wallet.Stage {
	entries, err := l.store.Entries(l.t.Context(), core.EntryFilter{})
	require.NoError(l.t, err)
	require.NotEmpty(l.t, entries)
	return entries[0].Stage
}

// waiting are the results that are kept to be sent, whenever their time comes.
func (l *till) waiting() []core.OutboxRow {
	rows, err := l.store.Due(l.t.Context(), time.Now().Add(24*time.Hour))
	require.NoError(l.t, err)
	return rows
}

// commands counts those with this instruction that reached the chip.
func (l *till) commands(ins string) (count int) {
	for _, sent := range l.chip.Sent {
		if sent[2:4] == ins {
			count++
		}
	}
	return count
}

// stateOf is what the platform says of a credited order.
func stateOf(entry wallet.Entry, state wallet.LoadState) wallet.OrderState {
	return wallet.OrderState{Key: entry.Key, Order: entry.Order, State: state}
}

// Success and "the platform has heard of it" are two facts, and only LOADED is the
// second one. Until then the result stays in the outbox.
func TestTopUp_AcknowledgedMeansLoaded(t *testing.T) {
	for name, answer := range map[string]func(wallet.Entry) (wallet.OrderState, error){
		"silent": func(wallet.Entry) (wallet.OrderState, error) { return wallet.OrderState{}, errSilent },
		"still granted": func(entry wallet.Entry) (wallet.OrderState, error) {
			return stateOf(entry, wallet.StateGranted), nil
		},
		"loaded": func(entry wallet.Entry) (wallet.OrderState, error) { return stateOf(entry, wallet.StateLoaded), nil },
	} {
		t.Run(name, func(t *testing.T) {
			l := newTill(t)
			l.platform.result = answer
			result, err := l.topUp(nil)
			require.NoError(t, err)
			require.EqualValues(t, 6234, l.chip.Balance)
			require.Equal(t, name == "loaded", result.Acknowledged)
			if name == "loaded" {
				require.Equal(t, wallet.StageConfirmed, l.stage())
				require.Empty(t, l.waiting())
				return
			}
			require.Equal(t, wallet.StageCredited, l.stage())
			require.Len(t, l.waiting(), 1)
		})
	}
}

// A result leaves the outbox with the platform's answer and not before.
func TestFlushOutbox_KeepsWhatIsNotAcknowledged(t *testing.T) {
	l := newTill(t)
	_, err := l.topUp(nil)
	require.NoError(t, err)

	asked := 0
	l.platform.result = func(wallet.Entry) (wallet.OrderState, error) {
		asked++
		require.Len(t, l.waiting(), 1, "it is still kept while it is under way")
		return wallet.OrderState{}, errSilent
	}
	acknowledged, err := l.core.FlushOutbox(t.Context())
	require.ErrorIs(t, err, errSilent)
	require.Empty(t, acknowledged)
	rows := l.waiting()
	require.Len(t, rows, 1)
	require.Equal(t, 1, rows[0].Tries)
	require.True(t, rows[0].Next.After(time.Now().Add(-time.Second)), "not at once again")

	require.NoError(t, l.store.Delay(t.Context(), rows[0].Key, time.Now().Add(-time.Second)))
	l.platform.result = func(entry wallet.Entry) (wallet.OrderState, error) {
		asked++
		require.Len(t, l.waiting(), 1)
		require.NotEmpty(t, entry.TAC)
		return stateOf(entry, wallet.StateLoaded), nil
	}
	acknowledged, err = l.core.FlushOutbox(t.Context())
	require.NoError(t, err)
	require.Len(t, acknowledged, 1)
	require.Empty(t, l.waiting())
	require.Equal(t, wallet.StageConfirmed, l.stage())
	require.Equal(t, 2, asked)
}

// A platform that is silent may have granted: nothing is closed without its word,
// not now and not at the next start.
func TestTopUp_SilentPlatformLeavesItOpen(t *testing.T) {
	l := newTill(t)
	l.platform.issuer.Lost = errSilent
	_, err := l.topUp(nil)
	require.Equal(t, "ORDER_OPEN", core.Explain(err).Code)
	require.Equal(t, wallet.StageAsked, l.stage())

	_, err = l.topUp(nil)
	require.Equal(t, "ORDER_OPEN", core.Explain(err).Code)
	require.Equal(t, wallet.StageAsked, l.stage(), "the next start abandons only what nobody was asked")
	require.Len(t, l.platform.issuer.Asks, 1)

	l.platform.abandon = func(key string) (wallet.OrderState, error) {
		return wallet.OrderState{Key: key, State: wallet.StateDeclined, Code: "ABANDONED"}, nil
	}
	_, err = l.core.Sync(t.Context(), core.SyncAsk{Intent: wallet.IntentSettle})
	require.NoError(t, err)
	require.Equal(t, wallet.StageDeclined, l.stage(), "the tombstone closes it")
	require.Zero(t, l.commands("52"))
}

// A person who stops while the platform is asked (Ctrl+C) does not stop what follows:
// the journal is read, and the key is abandoned.
func TestTopUp_StoppedWhileAsking(t *testing.T) {
	for _, test := range []struct {
		name    string
		abandon func(key string) (wallet.OrderState, error)
		open    bool
		stage   wallet.Stage
	}{
		{"the platform never granted it", func(key string) (wallet.OrderState, error) {
			return wallet.OrderState{Key: key, State: wallet.StateDeclined, Code: "ABANDONED"}, nil
		}, false, wallet.StageDeclined},
		{"the platform is silent", func(string) (wallet.OrderState, error) { return wallet.OrderState{}, errSilent }, true, wallet.StageAsked},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTill(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			l.platform.issuer.Lost = context.Canceled
			l.platform.issuer.Forge = func(*wallet.Grant, *[]wallet.Step) { stop() }
			l.platform.abandon = test.abandon
			_, err := l.core.TopUp(ctx, core.TopUpAsk{Amount: 50_00, Confirm: func(context.Context, core.Confirmation) error { return nil }})
			require.Equal(t, test.open, core.Explain(err).Open(), "%v", err)
			require.Equal(t, test.stage, l.stage())
		})
	}
}

// The same for a purchase.
func TestPay_StoppedWhileAsking(t *testing.T) {
	for _, test := range []struct {
		name  string
		lost  error
		open  bool
		stage wallet.Stage
	}{
		{"the platform never authorised it", nil, false, wallet.StageDeclined},
		{"the platform is silent", errSilent, true, wallet.StageAsked},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTill(t)
			profile, _ := wallet.ProfileByName("pboc-ep")
			l.platform.session.PurchaseScripts = map[string]wallet.Script{profile.LoadName(): wallettest.OpenPurchaseScript(profile)}
			l.platform.offer = wallet.MerchantOrder{Code: "664944703942", Amount: 500, State: wallet.PurchaseOffered}
			l.platform.cashier = wallettest.NewCashier(l.platform.issuer.Key)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			l.platform.cashier.Lost = context.Canceled
			l.platform.cashier.Forge = func(*wallet.PurchaseGrant, *[]wallet.Step) { stop() }
			l.platform.tombs = func(ctx context.Context, key string) (wallet.PurchaseStatement, error) {
				require.NoError(t, ctx.Err(), "the key is abandoned all the same")
				return wallet.PurchaseStatement{Key: key, State: wallet.PurchaseDeclined, Code: "ABANDONED"}, test.lost
			}
			result, err := l.core.Pay(ctx, core.PayAsk{OrderCode: "664944703942", Confirm: func(context.Context, core.PayConfirmation) error { return nil }})
			require.Len(t, l.platform.cashier.Asks, 1)
			require.Equal(t, test.open, core.Explain(err).Open(), "%v", err)
			require.Equal(t, test.stage, l.stage())
			require.Equal(t, test.stage, result.Entry.Stage)
			require.Zero(t, l.commands("54"))
		})
	}
}

// Without the person's yes, or without the money lock, nobody is asked for money and
// the card is not opened for a load.
func TestTopUp_NothingWithoutConfirmationOrLock(t *testing.T) {
	refuse := errors.New("no")
	t.Run("not confirmed", func(t *testing.T) {
		l := newTill(t)
		_, err := l.topUp(refuse)
		require.ErrorIs(t, err, refuse)
		require.Equal(t, 1, l.confirmed)
		require.Zero(t, l.commands("50"))
		require.Empty(t, l.platform.issuer.Asks)
		entries, err := l.store.Entries(t.Context(), core.EntryFilter{})
		require.NoError(t, err)
		require.Empty(t, entries)
	})
	t.Run("not locked", func(t *testing.T) {
		l := newTill(t)
		l.lock = store.ErrBusy
		_, err := l.topUp(nil)
		require.ErrorIs(t, err, store.ErrBusy)
		_, err = l.core.Sync(t.Context(), core.SyncAsk{Intent: wallet.IntentComplete})
		require.ErrorIs(t, err, store.ErrBusy)
		require.Zero(t, l.platform.connects+l.confirmed+len(l.chip.Sent))
	})
}

// What the program does by itself is settling. Completing an open order is the
// person's choice, also when the person wants another top-up.
func TestTopUp_OnlySettlesTheOpenOrder(t *testing.T) {
	l := newTill(t)
	l.tornAtCredit()
	_, err := l.topUp(nil)
	require.Equal(t, "PENDING_LOAD", core.Explain(err).Code)
	require.Equal(t, 1, l.confirmed, "the person is not asked for a second one")
	require.Len(t, l.platform.issuer.Evidence, 1)
	require.Equal(t, wallet.IntentSettle, l.platform.issuer.Evidence[0].Intent)
	require.EqualValues(t, 1234, l.chip.Balance)
	require.Len(t, l.platform.issuer.Asks, 1)
}

func TestRunTouchOnlySettles(t *testing.T) {
	l := newTill(t)
	l.tornAtCredit()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	settled := make(chan core.State, 1)
	err := l.core.Run(ctx, func(state core.State) {
		if len(state.Settled) > 0 || state.Unsettled != nil {
			select {
			case settled <- state:
			default:
			}
			stop()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	state := <-settled
	require.Nil(t, state.Unsettled)
	require.Equal(t, wallet.StateGranted, state.Settled[0].To)
	require.Equal(t, wallet.IntentSettle, l.platform.issuer.Evidence[0].Intent)
	require.EqualValues(t, 1234, l.chip.Balance)
}

// A restored platform gets every confirmed load of before, and until it has them all
// this computer does not count its epoch as known.
func TestSync_ResendsUntilTheRestoredPlatformHasAll(t *testing.T) {
	l := newTill(t)
	l.platform.result = func(entry wallet.Entry) (wallet.OrderState, error) { return stateOf(entry, wallet.StateLoaded), nil }
	_, err := l.topUp(nil)
	require.NoError(t, err)
	require.Equal(t, wallet.StageConfirmed, l.stage())

	epoch := func() string {
		value, err := l.store.Setting(t.Context(), "platform.epoch")
		require.NoError(t, err)
		return value
	}
	require.Equal(t, "1", epoch())
	l.platform.session.Epoch = 2
	sent := 0
	for _, failing := range []bool{true, false, false} {
		l.platform.result = func(entry wallet.Entry) (wallet.OrderState, error) {
			sent++
			require.NotNil(t, entry.Grant)
			if failing {
				return wallet.OrderState{}, errSilent
			}
			return stateOf(entry, wallet.StateLoaded), nil
		}
		_, err := l.core.Sync(t.Context(), core.SyncAsk{Intent: wallet.IntentSettle})
		require.NoError(t, err)
		require.Equal(t, map[bool]string{true: "1", false: "2"}[failing], epoch())
	}
	require.Equal(t, 2, sent, "again after the failure, and not once more after success")
}
