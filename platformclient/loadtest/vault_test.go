package loadtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"walletcompanion/wallet"
)

// vault keeps one client's secrets and leases in memory, so that the disk that is
// measured is the platform's alone.
type vault struct {
	mu     sync.Mutex
	values map[string][]byte
	leases []wallet.Lease
	seen   map[wallet.TerminalNumber]bool
}

func newVault() *vault {
	return &vault{values: map[string][]byte{}, seen: map[wallet.TerminalNumber]bool{}}
}

// Get implements platformclient.Vault.
func (v *vault) Get(_ context.Context, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.values[name]), nil
}

// Put implements platformclient.Vault.
func (v *vault) Put(_ context.Context, name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values[name] = bytes.Clone(value)
	return nil
}

// PutLeases implements platformclient.Vault.
func (v *vault) PutLeases(_ context.Context, leases []wallet.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range leases {
		if !v.seen[lease.TID] {
			v.seen[lease.TID] = true
			v.leases = append(v.leases, lease)
		}
	}
	return nil
}

// TakeLease implements platformclient.Vault.
func (v *vault) TakeLease(_ context.Context, epoch int, now time.Time) (wallet.Lease, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.leases, func(l wallet.Lease) bool { return usable(l, epoch, now) })
	if i < 0 {
		return wallet.Lease{}, errors.New("no lease is left")
	}
	lease := v.leases[i]
	v.leases = slices.Delete(v.leases, i, i+1)
	return lease, nil
}

// LeaseCount implements platformclient.Vault.
func (v *vault) LeaseCount(_ context.Context, epoch int, now time.Time) (count int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range v.leases {
		if usable(lease, epoch, now) {
			count++
		}
	}
	return count, nil
}

func usable(lease wallet.Lease, epoch int, now time.Time) bool {
	return lease.Epoch == epoch && lease.Expires.After(now)
}
