package mockplatform

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// BenchmarkTopUp is one complete top-up through the handler: grant, CREDIT on the
// virtual card, result with a TAC that must verify. Limits are those of a policy of
// its own, which is what measurements of rate run with.
func BenchmarkTopUp(b *testing.B) {
	policy := DefaultPolicy()
	policy.Limits = api.Limits{PurseCap: 1 << 30, LoadMin: 1, LoadMax: 1000}
	b.Logf("policy of this measurement: %+v", policy)
	w := newWorld(b, func(config *Config) { config.Policy = &policy })
	tellers, chips := make([]*teller, 16), make([]*chip, 16)
	for i := range tellers {
		phone := fmt.Sprintf("1390000%04d", i)
		chips[i] = w.card(fmt.Sprintf("62100001%08d", i), virtualcard.Spec{})
		w.exec(`UPDATE cards SET user = '' WHERE asn = ?`, chips[i].ASN().String())
		require.NoError(b, w.p.Seed(b.Context(), phone, math.MaxInt32, []wallet.ASN{chips[i].ASN()}, ""))
		tellers[i] = w.teller(phone)
	}
	round := 0
	for b.Loop() {
		c, k := tellers[round%len(tellers)], chips[round%len(chips)]
		round++
		granted, grant := c.order(k, 100).init().granted()
		step, err := k.credit(granted)
		require.NoError(b, err)
		require.Equal(b, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
	}
	b.StopTimer()
	w.check()
}

func FuzzReadOpen(f *testing.F) {
	info := make([]byte, 30)
	f.Add(info, make([]byte, 16), []byte{0x90, 0x00})
	f.Add(info[:27], make([]byte, 15), []byte{0x61, 0x10})
	f.Fuzz(func(t *testing.T, info, init, sw []byte) {
		open := &api.Open{Steps: []wallet.StepResult{{}, {SW: wallet.Hex{0x90, 0}, Data: info}, {SW: sw, Data: init}}}
		asn, answer, ok := readOpen(open)
		require.Equal(t, len(info) >= 28 && len(info) <= 34 && len(init) == 16 && string(sw) == "\x90\x00", ok)
		if ok {
			require.Equal(t, info[10:20], asn[:])
			require.Equal(t, fmt.Sprintf("%X", init[:4]), fmt.Sprintf("%08X", int64(answer.balance)))
			require.Equal(t, init[12:], answer.mac1[:])
		}
	})
}
