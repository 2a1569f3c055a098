package mockplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"walletcompanion/platformclient/api"
)

// The policy of a platform is that of its configuration, else the one that was set in
// its directory, else DefaultPolicy. Every change raises its version. A process that
// serves goes on with the one that it began with.

const metaPolicy = "policy"

// ErrPolicy means that a policy cannot be followed.
var ErrPolicy = errors.New("this is no policy that a platform can follow")

// checkPolicy refuses what cannot be meant.
func checkPolicy(policy api.Policy) error {
	limits := policy.Limits
	for _, limit := range []int64{
		int64(limits.PurseCap), int64(limits.LoadMin), int64(limits.LoadMax), int64(limits.CardDayCount), int64(limits.CardDaySum),
		int64(limits.AccountDaySum), int64(limits.DeviceDaySum), int64(limits.PurseCapNamed), int64(limits.AccountDaySumOne), int64(limits.WeakLifeSum),
		int64(limits.NewDeviceSum), int64(limits.NewDeviceS), int64(limits.Velocity.Declines), int64(limits.Velocity.DeclineWindowS),
		int64(limits.Velocity.DeviceCards), int64(limits.Velocity.WatchS), int64(limits.Velocity.GreyS),
	} {
		if limit < 0 || limit > int64(maxCardFen) {
			return fmt.Errorf("%w: a limit is below 0 or too large", ErrPolicy)
		}
	}
	if err := policy.Fees.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return nil
}

// loadPolicy reads the policy that was set in the directory, if any.
func (p *Platform) loadPolicy(ctx context.Context) error {
	if p.config.Policy != nil {
		p.policy = *p.config.Policy
		return checkPolicy(p.policy)
	}
	var kept string
	if err := p.store.View(ctx, func(tx *Tx) (err error) { kept, err = meta(tx, metaPolicy); return err }); err != nil || kept == "" {
		return err
	}
	policy, err := readPolicy(DefaultPolicy(), []byte(kept))
	if err != nil {
		return err
	}
	p.policy = policy
	return checkPolicy(policy)
}

// readPolicy lays what a file says over a policy. A list in the file takes the place of
// the whole list.
func readPolicy(policy api.Policy, raw []byte) (api.Policy, error) {
	fees, refused := policy.Fees.Rows, policy.LoadRefuse
	policy.Fees.Rows, policy.LoadRefuse = nil, nil
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policy); err != nil {
		return policy, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return policy, fmt.Errorf("%w: something follows it", ErrPolicy)
	}
	if policy.Fees.Rows == nil {
		policy.Fees.Rows = fees
	}
	if policy.LoadRefuse == nil {
		policy.LoadRefuse = refused
	}
	return policy, nil
}

// Policy is what this platform allows and charges.
func (p *Platform) Policy() api.Policy { return p.policy }

// FirstPolicy does as SetPolicy does where nobody has set a policy in this directory yet, and
// tells whether it did.
func (p *Platform) FirstPolicy(ctx context.Context, raw []byte) (api.Policy, bool, error) {
	var kept string
	err := p.store.View(ctx, func(tx *Tx) (err error) { kept, err = meta(tx, metaPolicy); return err })
	if err != nil || kept != "" || p.config.Policy != nil {
		return p.policy, false, err
	}
	policy, err := p.SetPolicy(ctx, raw)
	return policy, err == nil, err
}

// SetPolicy lays what a file says over the present policy and keeps the result in the
// directory, for every process that opens it from now on. The version, and with a new
// tariff that of the fee table, is the former one plus one, whatever the file says.
func (p *Platform) SetPolicy(ctx context.Context, raw []byte) (api.Policy, error) {
	policy, err := readPolicy(p.policy, raw)
	if err != nil {
		return policy, err
	}
	policy.Version, policy.Fees.Version = p.policy.Version+1, p.policy.Fees.Version
	if !sameRows(policy.Fees.Rows, p.policy.Fees.Rows) {
		policy.Fees.Version++
	}
	if err := checkPolicy(policy); err != nil {
		return policy, err
	}
	kept, err := json.Marshal(policy)
	if err != nil {
		return policy, err
	}
	err = p.store.Update(ctx, func(tx *Tx) error {
		if err := setMeta(tx, metaPolicy, string(kept)); err != nil {
			return err
		}
		return p.audit(tx, "admin", "policy", fmt.Sprint("version ", policy.Version), string(kept))
	})
	if err == nil {
		p.policy = policy
	}
	return policy, err
}

func sameRows(a, b []api.FeeRow) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
