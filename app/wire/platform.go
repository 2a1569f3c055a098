package wire

import (
	"walletcompanion/app/core"
	"walletcompanion/platformclient"
	"walletcompanion/wallet"
)

// clientPlatform shows the platform client as core wants to see it.
type clientPlatform struct {
	*platformclient.Client
	signers wallet.SignerKeys
}

// Session copies what login told.
func (p clientPlatform) Session() core.Session {
	session := p.Client.Session()
	return core.Session{
		LoggedIn: session.LoggedIn, User: session.User, Phone: session.Phone, Device: session.Device, Cards: session.Cards,
		Policy: session.Policy, Scripts: session.Scripts, OpenOrders: session.OpenOrders, Epoch: session.Epoch,
		Watermark: session.Watermark, Demo: session.Demo,
	}
}

// Signers are the platform's keys from its profile.
func (p clientPlatform) Signers() wallet.SignerKeys { return p.signers }
