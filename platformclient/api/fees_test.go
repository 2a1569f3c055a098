package api

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"walletcompanion/wallet"
)

// A fee is the exact tariff rounded half up to the fen, between its bounds; it never
// falls when the amount rises.
func TestFee_RoundsHalfUp(t *testing.T) {
	for _, row := range []struct {
		row    FeeRow
		amount wallet.Fen
		fee    wallet.Fen
	}{
		{FeeRow{RateBP: 100}, 5000, 50}, // 1 %
		{FeeRow{RateBP: 100}, 49, 0},
		{FeeRow{RateBP: 100}, 50, 1}, // half a fen
		{FeeRow{RateBP: 100}, 149, 1},
		{FeeRow{RateBP: 100}, 150, 2},
		{FeeRow{BaseFen: 30, RateBP: 38}, 10000, 68},
		{FeeRow{RateBP: 100, MinFen: 20}, 1000, 20},
		{FeeRow{RateBP: 100, MaxFen: 300}, 50000, 300},
		{FeeRow{RateBP: 10000}, 0x7FFFFFFF, 0x7FFFFFFF},
		{FeeRow{BaseFen: 10}, -5, 10},
	} {
		require.Equal(t, row.fee, row.row.Fee(row.amount), "%+v of %d", row.row, row.amount)
	}
	rapid.Check(t, func(r *rapid.T) {
		fen := func(name string, most int64) wallet.Fen { return wallet.Fen(rapid.Int64Range(0, most).Draw(r, name)) }
		row := FeeRow{Event: "load", Source: "main", BaseFen: fen("base", 1000), RateBP: rapid.IntRange(0, 10000).Draw(r, "rate"), MinFen: fen("min", 500)}
		if rapid.Bool().Draw(r, "bounded") {
			row.MaxFen = row.MinFen + 1 + fen("max", 5000)
		}
		amount := fen("amount", 0x7FFFFFFF)
		exact := new(big.Rat).Add(big.NewRat(int64(row.BaseFen), 1), new(big.Rat).Mul(big.NewRat(int64(amount), 1), big.NewRat(int64(row.RateBP), 10000)))
		rounded := new(big.Int).Div(new(big.Int).Add(new(big.Int).Mul(exact.Num(), big.NewInt(2)), exact.Denom()), new(big.Int).Mul(exact.Denom(), big.NewInt(2)))
		want := max(wallet.Fen(rounded.Int64()), row.MinFen)
		if row.MaxFen > 0 {
			want = min(want, row.MaxFen)
		}
		require.Equal(r, want, row.Fee(amount))
		require.LessOrEqual(r, row.Fee(amount), row.Fee(amount+1))
		require.NoError(r, FeeTable{Version: 1, Rows: []FeeRow{row}}.Check())
	})
}

func TestFee_SourcesAndTables(t *testing.T) {
	table := FeeTable{Version: 3, Rows: []FeeRow{
		{Event: "load", Source: "main"}, {Event: "load", Source: "bank", BaseFen: 50}, {Event: "load", Source: "*", RateBP: 100},
	}}
	require.NoError(t, table.Check())
	require.Zero(t, table.Fee("load", "main", 5000))
	require.Equal(t, wallet.Fen(50), table.Fee("load", "bank:2", 5000), "the kind of the source counts")
	require.Equal(t, wallet.Fen(50), table.Fee("load", "voucher", 5000))
	require.Zero(t, table.Fee("purchase", "main", 5000), "without a row an event is free")
	for name, wrong := range map[string]FeeTable{
		"no version":      {Rows: []FeeRow{{Event: "load", Source: "main"}}},
		"negative base":   {Version: 1, Rows: []FeeRow{{Event: "load", Source: "main", BaseFen: -1}}},
		"absurd maximum":  {Version: 1, Rows: []FeeRow{{Event: "load", Source: "main", MaxFen: 1e9}}},
		"rate over whole": {Version: 1, Rows: []FeeRow{{Event: "load", Source: "main", RateBP: 10001}}},
		"negative rate":   {Version: 1, Rows: []FeeRow{{Event: "load", Source: "main", RateBP: -1}}},
		"min above max":   {Version: 1, Rows: []FeeRow{{Event: "load", Source: "main", MinFen: 2, MaxFen: 1}}},
		"no source":       {Version: 1, Rows: []FeeRow{{Event: "load"}}},
		"field separator": {Version: 1, Rows: []FeeRow{{Event: "load|x", Source: "main"}}},
		"never reached":   {Version: 1, Rows: []FeeRow{{Event: "load", Source: "*"}, {Event: "load", Source: "main", BaseFen: 1}}},
	} {
		require.ErrorIs(t, wrong.Check(), ErrFeeTable, name)
	}
}
