package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
)

// Without any reader a person can see the program at work on a virtual card.
func TestUseDemoCard(t *testing.T) {
	program, err := wire.Open(t.Context(), wire.Options{Reader: "auto", ProfileDir: t.TempDir(), Platform: "demo"})
	require.NoError(t, err)
	defer program.Close()
	require.NoError(t, program.UseDemoCard())
	result, err := program.Core.Query(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 86_50, result.Reading.Purses[0].Balance)
	require.Equal(t, "virtual", result.Reader.Driver)

	chosen, err := wire.Open(t.Context(), wire.Options{Reader: wire.ReaderDemo, ProfileDir: t.TempDir(), Platform: "demo"})
	require.NoError(t, err)
	defer chosen.Close()
	require.Error(t, chosen.UseDemoCard(), "a reader was chosen already")
}
