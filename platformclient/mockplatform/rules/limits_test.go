package rules

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Whatever is used up and asked for: a payment passes exactly when it keeps each limit,
// reckoned here without the table, and the limit that is named is one that it breaks.
func TestLimits_PassExactlyWhatKeepsEachOfThem(t *testing.T) {
	fen := func(r *rapid.T, name string) wallet.Fen { return wallet.Fen(rapid.Int64Range(0, 300).Draw(r, name)) }
	maybe := func(r *rapid.T, name string) *wallet.Fen {
		if rapid.Bool().Draw(r, name+" set") {
			value := fen(r, name)
			return &value
		}
		return nil
	}
	rapid.Check(t, func(r *rapid.T) {
		now := time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)
		f := LimitFacts{
			Policy: api.Limits{
				PurseCap: fen(r, "cap"), PurseCapNamed: fen(r, "named cap"), LoadMin: fen(r, "min"), LoadMax: fen(r, "max"),
				CardDayCount: rapid.IntRange(0, 4).Draw(r, "count"), CardDaySum: fen(r, "card"), AccountDaySum: fen(r, "account"),
				AccountDaySumOne: fen(r, "one"), DeviceDaySum: fen(r, "device"), WeakLifeSum: fen(r, "weak"), NewDeviceSum: fen(r, "new"),
			},
			Tier: rapid.SampledFrom([]string{"weak", "real", ""}).Draw(r, "tier"), Named: rapid.Bool().Draw(r, "is named"),
			Factors: rapid.IntRange(0, 2).Draw(r, "factors"), UserDay: maybe(r, "own"), DeviceDay: maybe(r, "own device"), Now: now,
			NewUntil: now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(r, "new for")) * time.Hour),
			Used: Used{CardCount: rapid.IntRange(0, 4).Draw(r, "loads"), CardDay: fen(r, "used card"), UserDay: fen(r, "used"), DeviceDay: fen(r, "used device"),
				NewDevice: fen(r, "used new"), Life: fen(r, "used ever")},
		}
		p := Payment{Amount: fen(r, "amount"), OnCard: fen(r, "on card")}
		most := f.Policy.PurseCap
		if f.Named && f.Policy.PurseCapNamed > 0 {
			most = f.Policy.PurseCapNamed
		}
		account := f.Policy.AccountDaySum
		if f.Factors < 2 && f.Policy.AccountDaySumOne > 0 {
			account = f.Policy.AccountDaySumOne
		}
		l, u := f.Policy, f.Used
		keeps := map[string]bool{
			api.CodeLimitLoadMin:    p.Amount >= l.LoadMin,
			api.CodeLimitLoadMax:    p.Amount <= l.LoadMax,
			api.CodeLimitPurseCap:   p.OnCard+p.Amount <= most,
			api.CodeLimitCardCount:  l.CardDayCount == 0 || u.CardCount < l.CardDayCount,
			api.CodeLimitCardSum:    l.CardDaySum == 0 || u.CardDay+p.Amount <= l.CardDaySum,
			api.CodeLimitLifeSum:    f.Tier != "weak" || l.WeakLifeSum == 0 || u.Life+p.Amount <= l.WeakLifeSum,
			api.CodeLimitAccountSum: (account == 0 || u.UserDay+p.Amount <= account) && (f.UserDay == nil || u.UserDay+p.Amount <= *f.UserDay),
			api.CodeLimitDeviceSum:  (l.DeviceDaySum == 0 || u.DeviceDay+p.Amount <= l.DeviceDaySum) && (f.DeviceDay == nil || u.DeviceDay+p.Amount <= *f.DeviceDay),
			api.CodeLimitNewDevice:  !now.Before(f.NewUntil) || l.NewDeviceSum == 0 || u.NewDevice+p.Amount <= l.NewDeviceSum,
		}
		require.Len(r, keeps, len(limitTable))
		all := true
		for _, kept := range keeps {
			all = all && kept
		}
		broken := Broken(f, p)
		require.Equal(r, all, broken == nil)
		if broken != nil {
			require.False(r, keeps[broken.Code])
			if broken.Resets != nil {
				require.True(r, broken.Resets.After(now), "a reset lies ahead")
			}
		}
	})
}

// A day ends at midnight in Shanghai, wherever the computer is.
func TestLimits_NextDay(t *testing.T) {
	for moment, want := range map[string]string{
		"2026-03-15T15:59:59.999Z":  "2026-03-16T00:00:00+08:00",
		"2026-03-15T16:00:00Z":      "2026-03-17T00:00:00+08:00",
		"2026-12-31T23:00:00+08:00": "2027-01-01T00:00:00+08:00",
	} {
		at, err := time.Parse(time.RFC3339Nano, moment)
		require.NoError(t, err)
		require.Equal(t, want, NextDay(at).Format(time.RFC3339))
	}
}

func TestLimits_Raises(t *testing.T) {
	low, high := new(wallet.Fen(1)), new(wallet.Fen(2))
	for _, row := range []struct {
		now, wanted *wallet.Fen
		raises      bool
	}{{nil, low, false}, {nil, nil, false}, {low, high, true}, {high, low, false}, {low, low, false}, {low, nil, true}} {
		require.Equal(t, row.raises, Raises(row.now, row.wanted))
	}
}
