package virtual_test

import (
	"os"
	"testing"

	"walletcompanion/reader/readertest"
	"walletcompanion/reader/virtual"
)

// TestBenchSoak taps a card on the virtual reader: 100,000 times with
// WALLET_BENCH_SOAK=1, else 2,000 times.
func TestBenchSoak(t *testing.T) {
	if os.Getenv("WALLET_BENCH") != "1" {
		t.Skip("a measurement; WALLET_BENCH=1 runs it")
	}
	taps := 2000
	if os.Getenv("WALLET_BENCH_SOAK") == "1" {
		taps = 100_000
	}
	driver := virtual.New()
	readertest.Soak(t, "the virtual reader", taps, driver, field{driver.AddSlot("Virtual 1")})
}
