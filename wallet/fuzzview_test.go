package wallet_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// hostileChip answers what a fuzzer wrote: length, data, status; and "absent" when
// that is used up. Three bytes in a row may be one short answer.
type hostileChip struct {
	rest []byte
	sent [][]byte
}

func (h *hostileChip) Transmit(_ context.Context, command []byte) ([]byte, error) {
	h.sent = append(h.sent, append([]byte(nil), command...))
	if len(h.rest) == 0 {
		return []byte{0x6A, 0x82}, nil
	}
	length := min(int(h.rest[0])%250, len(h.rest)-1)
	data := append([]byte(nil), h.rest[1:1+length]...)
	h.rest = h.rest[1+length:]
	switch {
	case len(h.rest) == 0:
		return append(data, 0x90, 0x00), nil
	case h.rest[0] < 0x80: // most answers are good ones
		h.rest = h.rest[1:]
		return append(data, 0x90, 0x00), nil
	case len(h.rest) == 1:
		h.rest = nil
		return data, nil
	}
	status := h.rest[:2]
	h.rest = h.rest[2:]
	return append(data, status...), nil
}

// FuzzViewCard: whatever a card answers, a view ends, sends nothing but reading
// commands, and everything that it found can be shown.
func FuzzViewCard(f *testing.F) {
	ep := []byte{0x0B, 0x6F, 0x09, 0x84, 0x07, 0xA0, 0, 0, 3, 0x86, 0x98, 7, 0}
	f.Add(ep)
	f.Add(append(append([]byte{}, ep...), 4, 0x80, 0, 0, 1, 0, 30, 1, 2, 3))
	f.Add([]byte{0x61, 0x10, 0x6C, 0x05, 0xBF, 0x0C, 0x61, 0x02, 0x4F, 0x00})
	f.Fuzz(func(t *testing.T, input []byte) {
		chip := &hostileChip{rest: input}
		view, _ := wallet.ViewCard(t.Context(), chip, func(wallet.TraceLine) {})
		require.Less(t, len(chip.sent), 20_000)
		for _, command := range chip.sent {
			require.Contains(t, []byte{0xA4, 0xB0, 0xB2, 0x5C, 0xC0, 0xCA}, command[1])
		}
		for _, purse := range view.Reading.Purses {
			_ = wallet.Anomalies(purse, lookedAt)
		}
		for _, application := range view.Applications {
			_, _ = application.PINTries()
			_ = application.Title() + application.MaskedFCI()
			format, _ := application.DataObject(0x9F4F)
			fields, _ := wallet.ParseDOL(format)
			for _, file := range application.Files {
				_ = file.MaskedContent()
				_, _ = wallet.ParseHolder(file.Content)
				_, _ = wallet.ParseRegion(file.Content)
				for _, record := range file.Records {
					_ = file.MaskedRecord(record)
					_, _ = wallet.ParseJourney(record.Raw, record.Index)
					_ = wallet.ParseECashRecord(fields, record.Raw, record.Index)
				}
			}
		}
	})
}
