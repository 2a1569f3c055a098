package wire

import (
	"context"
	"errors"

	"walletcompanion/app/core"
	"walletcompanion/platformclient"
	"walletcompanion/wallet"
)

// Staff is the platform as the service counter sees it; Options.Online must be set.
func (p *Program) Staff() platformclient.Staff { return p.client.Staff() }

// staffPlatform lets core settle with the session of staff. What only a customer
// does fails as it would without a login.
type staffPlatform struct {
	clientPlatform
	staff   platformclient.Staff
	session *core.Session // what Connect told
}

func newStaffPlatform(customer clientPlatform) staffPlatform {
	return staffPlatform{customer, customer.Client.Staff(), &core.Session{}}
}

// Connect greets the platform with the login of staff.
func (p staffPlatform) Connect(ctx context.Context) error {
	session, err := p.staff.Connect(ctx)
	if err == nil {
		*p.session = core.Session{LoggedIn: true, Scripts: session.Scripts, PurchaseScripts: session.PurchaseScripts, Epoch: session.Epoch, Demo: session.Demo}
	}
	return err
}

// Session is that of staff.
func (p staffPlatform) Session() core.Session { return *p.session }

// Pending lists the open top-ups of any card.
func (p staffPlatform) Pending(ctx context.Context, asn wallet.ASN) ([]wallet.OpenOrder, error) {
	return p.staff.Pending(ctx, asn)
}

// PendingPurchases lists the open purchases of any card.
func (p staffPlatform) PendingPurchases(ctx context.Context, asn wallet.ASN) ([]wallet.OpenPurchase, error) {
	return p.staff.PendingPurchases(ctx, asn)
}

// Issuer settles and asks for nothing.
func (p staffPlatform) Issuer(func(context.Context) (string, error)) wallet.Issuer {
	return p.staff.Issuer()
}

// Cashier settles purchases.
func (p staffPlatform) Cashier() wallet.Cashier { return p.staff.Cashier() }

// Load asks for the state of any order.
func (p staffPlatform) Load(ctx context.Context, order string) (wallet.OrderState, error) {
	return p.staff.Load(ctx, order)
}

// Purchase asks for the statement about any purchase.
func (p staffPlatform) Purchase(ctx context.Context, purchase string) (wallet.PurchaseStatement, error) {
	return p.staff.Purchase(ctx, purchase)
}

// Abandon is the payer's alone.
func (staffPlatform) Abandon(context.Context, string) (wallet.OrderState, error) {
	return wallet.OrderState{}, errNotAtCounter
}

// AbandonPurchase is the payer's alone.
func (staffPlatform) AbandonPurchase(context.Context, string) (wallet.PurchaseStatement, error) {
	return wallet.PurchaseStatement{}, errNotAtCounter
}

var errNotAtCounter = &core.Failure{Code: "NOT_PAYER", Err: errors.New("only who pays an order gives it up")}

// companion is the serial of the reader in use, or "" where the system does not
// tell: the device key stands for it then.
func (p *Program) companion(ctx context.Context) string {
	infos, err := p.source.driver.List(ctx)
	if err != nil {
		return ""
	}
	for _, info := range infos {
		if p.source.wanted(info) && info.Serial != "" {
			return info.Serial
		}
	}
	return ""
}
