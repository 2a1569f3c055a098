package platformclient

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// Vault keeps the secrets of this client, encrypted at rest, and its leased
// terminal numbers. Two processes may share one vault.
//
// Get returns nil without an error where there is no such value. Put with nil
// removes it; what Put stored is on disk when it returns. PutLeases leaves a
// number that it saw before as it is, used or not. TakeLease uses up one lease of
// the epoch that is valid at now; no number is ever given out twice, by whatever
// process. LeaseCount is how many TakeLease could still give out.
type Vault interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, value []byte) error
	PutLeases(ctx context.Context, leases []wallet.Lease) error
	TakeLease(ctx context.Context, epoch int, now time.Time) (wallet.Lease, error)
	LeaseCount(ctx context.Context, epoch int, now time.Time) (int, error)
}

// kept is what outlives the process besides the device key.
type kept struct {
	Epoch         int       `json:"epoch"`
	Refresh       string    `json:"refresh,omitempty"`
	Access        string    `json:"access,omitempty"`
	AccessExpires time.Time `json:"access_expires,omitzero"`
}

// Names in the vault are platform/‹hash›/device-key and platform/‹hash›/session.
const (
	vaultPrefix     = "platform/"
	deviceKeySuffix = "/device-key"
)

// vaultNames gives each platform names of its own, so that a token or device key
// is never shown to another platform than the one it belongs to.
func vaultNames(signers []wallet.Hex) (device, session string) {
	hash := sha256.New()
	for _, signer := range signers {
		hash.Write(signer)
	}
	platform := hex.EncodeToString(hash.Sum(nil)[:8])
	return vaultPrefix + platform + deviceKeySuffix, vaultPrefix + platform + "/session"
}

// loadDeviceKey reads the Ed25519 key of this computer (its 32-byte seed is what
// the vault holds) or makes it. After making it the vault is asked again, so that
// two processes that start together end with the same key.
func loadDeviceKey(ctx context.Context, vault Vault, name string, random io.Reader) (ed25519.PrivateKey, error) {
	seed, err := vault.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if seed == nil {
		fresh := make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(random, fresh); err != nil {
			return nil, err
		}
		if err := vault.Put(ctx, name, fresh); err != nil {
			return nil, err
		}
		if seed, err = vault.Get(ctx, name); err != nil {
			return nil, err
		}
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("the device key in the vault is damaged")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// DeviceKeys are the keys by which platforms know this computer, one for each
// platform that it has met, among the vault's names. It makes none.
func DeviceKeys(ctx context.Context, vault Vault, names []string) ([]ed25519.PrivateKey, error) {
	var keys []ed25519.PrivateKey
	for _, name := range names {
		if !strings.HasPrefix(name, vaultPrefix) || !strings.HasSuffix(name, deviceKeySuffix) {
			continue
		}
		seed, err := vault.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(seed) == ed25519.SeedSize {
			keys = append(keys, ed25519.NewKeyFromSeed(seed))
		}
	}
	return keys, nil
}

func (c *Client) loadKept(ctx context.Context) (kept, error) {
	raw, err := c.config.Vault.Get(ctx, c.sessionName)
	if err != nil || raw == nil {
		return kept{}, err
	}
	var state kept
	if err := json.Unmarshal(raw, &state); err != nil {
		return kept{}, fmt.Errorf("the kept login is damaged: %w", err)
	}
	return state, nil
}

func (c *Client) storeKept(ctx context.Context, state kept) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return c.config.Vault.Put(ctx, c.sessionName, raw)
}
