package wire

import (
	"context"
	"errors"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/platformclient"
	"walletcompanion/wallet"
)

// clientPlatform shows the platform client as core wants to see it.
type clientPlatform struct {
	*platformclient.Client
	signers wallet.SignerKeys
	store   *store.Store
}

// Login begins anew where the key of the kept secrets is lost: only a login can
// bring new ones, and it must not fail over the old.
func (p clientPlatform) Login(ctx context.Context, phone, password string, sms func(context.Context, string) (string, error)) error {
	err := p.Client.Login(ctx, phone, password, sms)
	if !errors.Is(err, store.ErrDeviceKey) {
		return err
	}
	if err := p.store.ForgetSecrets(ctx); err != nil {
		return err
	}
	return p.Client.Login(ctx, phone, password, sms)
}

// Session copies what login told.
func (p clientPlatform) Session() core.Session {
	session := p.Client.Session()
	return core.Session{
		LoggedIn: session.LoggedIn, User: session.User, Phone: session.Phone, Device: session.Device, Cards: session.Cards,
		Policy: session.Policy, Scripts: session.Scripts, OpenOrders: session.OpenOrders,
		PurchaseScripts: session.PurchaseScripts, OpenPurchases: session.OpenPurchases, Epoch: session.Epoch,
		Watermark: session.Watermark, Demo: session.Demo,
	}
}

// Signers are the platform's keys from its profile.
func (p clientPlatform) Signers() wallet.SignerKeys { return p.signers }
