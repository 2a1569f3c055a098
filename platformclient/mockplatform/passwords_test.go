package mockplatform

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
)

// A platform that is told nothing hashes passwords with at least 19 MiB: only tests
// take less, and they say so.
func TestHashCost_OfAPlatformThatIsToldNothing(t *testing.T) {
	salt := make([]byte, 16)
	w := newWorld(t)
	cost := w.p.config.HashCost
	require.GreaterOrEqual(t, cost.MemoryKiB, uint32(19*1024))
	require.GreaterOrEqual(t, cost.Passes, uint32(2))
	require.Equal(t, argon2.IDKey([]byte("password"), salt, cost.Passes, cost.MemoryKiB, 1, 32), w.p.hashPassword("password", salt))

	cheap := newWorld(t, func(c *Config) { c.HashCost = HashCost{MemoryKiB: 8, Passes: 1} })
	require.Equal(t, argon2.IDKey([]byte("password"), salt, 1, 8, 1, 32), cheap.p.hashPassword("password", salt))
}
