package mockplatform

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// DemoMerchant is the merchant that a demo platform has from its first start.
const DemoMerchant = "示例商店"

// unloadMerchant is the platform itself, where a purse's balance returns to the main
// account (取回余额).
const (
	unloadMerchant = "钱包平台"
	unloadGoods    = "取回余额"
)

const (
	shopOrderLife = 24 * time.Hour   // a merchant's order may be paid for so long
	reservation   = 30 * time.Minute // the merchant keeps the goods for an authorised purchase (§2.11)
	maxShopText   = 200              // bytes of names, goods and callback addresses
)

// Errors of the merchants' administration.
var (
	ErrNoMerchant = errors.New("there is no such merchant")
	ErrShopOrder  = errors.New("an order needs goods, an amount above zero, and a callback over https (or loopback), if any")
)

// merchantOrder is a row of merchant_orders.
type merchantOrder struct {
	code, merchant, goods, callback string
	amount                          wallet.Fen
	unload                          bool
	user, asn                       string // who alone may pay a return of balance, and with which card
	state                           wallet.PurchaseStateName
	purchase                        string
	expires, created                time.Time
}

func findMerchantOrder(tx *Tx, code string) (*merchantOrder, error) {
	o := &merchantOrder{}
	var expires, created int64
	var state string
	found, err := tx.row(`SELECT code, merchant, goods, amount, callback, unload, user, asn, state, purchase, expires, created
		FROM merchant_orders WHERE code = ?`, []any{code}, &o.code, &o.merchant, &o.goods, &o.amount, &o.callback, &o.unload,
		&o.user, &o.asn, &state, &o.purchase, &expires, &created)
	if err != nil || !found {
		return nil, err
	}
	o.state, o.expires, o.created = wallet.PurchaseStateName(state), time.UnixMilli(expires).UTC(), time.UnixMilli(created).UTC()
	return o, nil
}

func insertMerchantOrder(tx *Tx, o *merchantOrder) error {
	return tx.exec(`INSERT INTO merchant_orders (code, merchant, goods, amount, callback, unload, user, asn, state, purchase, expires, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, o.code, o.merchant, o.goods, int64(o.amount), o.callback, o.unload, o.user, o.asn,
		string(o.state), o.purchase, o.expires.UnixMilli(), o.created.UnixMilli())
}

// holdMerchantOrder writes the state of an order and which purchase gave it.
func holdMerchantOrder(tx *Tx, code string, state wallet.PurchaseStateName, purchase string) error {
	return tx.exec(`UPDATE merchant_orders SET state = ?, purchase = ? WHERE code = ?`, string(state), purchase, code)
}

// newOrderCode draws twelve digits, which people can read out and type.
func (p *Platform) newOrderCode(tx *Tx) (string, error) {
	for {
		code := fmt.Sprintf("%012d", binary.BigEndian.Uint64(p.draw(8))%1e12)
		var found int
		known, err := tx.row(`SELECT 1 FROM merchant_orders WHERE code = ?`, []any{code}, &found)
		if err != nil || !known {
			return code, err
		}
	}
}

// callbackAllowed lets the platform call https, and plain http on this very machine.
func callbackAllowed(address string) bool {
	if address == "" {
		return true
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.User != nil || len(address) > maxShopText {
		return false
	}
	host := parsed.Hostname()
	ip := net.ParseIP(host)
	return parsed.Scheme == "https" || parsed.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// seedDemoMerchant gives a demo its shop at first start.
func (p *Platform) seedDemoMerchant(ctx context.Context) error {
	var known int
	err := p.store.View(ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT COUNT(*) FROM merchants WHERE name = ?`, []any{DemoMerchant}, &known)
		return err
	})
	if err != nil || known > 0 || !p.secrets.Demo {
		return err
	}
	return p.RegisterMerchant(ctx, DemoMerchant, nil)
}

// RegisterMerchant makes a merchant or gives one another key; nil leaves the key of
// a merchant that exists. key signs the merchant's requests under /shop/v1; without
// one its orders come from ShopOrder.
func (p *Platform) RegisterMerchant(ctx context.Context, name string, key ed25519.PublicKey) error {
	if name == "" || name == unloadMerchant || len(name) > maxShopText || len(key) != 0 && len(key) != ed25519.PublicKeySize {
		return errors.New("a merchant needs a name of its own, and an Ed25519 key or none")
	}
	thumbprint := ""
	if len(key) > 0 {
		thumbprint = api.Thumbprint(key)
	}
	return p.store.Update(ctx, func(tx *Tx) error {
		err := tx.exec(`INSERT INTO merchants (name, public_key, thumbprint, created) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET public_key = excluded.public_key, thumbprint = excluded.thumbprint
			WHERE excluded.thumbprint <> ''`,
			name, append([]byte{}, key...), thumbprint, p.now().UnixMilli())
		if err != nil {
			return err
		}
		return p.audit(tx, "admin", "merchant", name, thumbprint)
	})
}

// ShopOrder makes an order of a merchant ("" is the demo's own) and gives its code.
// callback is told of the payment: https, or http on loopback, or "".
func (p *Platform) ShopOrder(ctx context.Context, merchant, goods string, amountFen wallet.Fen, callback string) (code string, err error) {
	if merchant == "" {
		merchant = DemoMerchant
	}
	err = p.store.Update(ctx, func(tx *Tx) error {
		o, err := p.newShopOrder(tx, merchant, goods, amountFen, callback)
		if err != nil {
			return err
		}
		code = o.code
		return p.audit(tx, "admin", "shop-order", o.code, amountFen.Yuan())
	})
	return code, err
}

func (p *Platform) newShopOrder(tx *Tx, merchant, goods string, amount wallet.Fen, callback string) (*merchantOrder, error) {
	var known int
	found, err := tx.row(`SELECT 1 FROM merchants WHERE name = ?`, []any{merchant}, &known)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNoMerchant
	case goods == "" || len(goods) > maxShopText || amount <= 0 || amount > maxCardFen || !callbackAllowed(callback):
		return nil, ErrShopOrder
	}
	return p.offer(tx, &merchantOrder{merchant: merchant, goods: goods, amount: amount, callback: callback})
}

func (p *Platform) offer(tx *Tx, o *merchantOrder) (_ *merchantOrder, err error) {
	if o.code, err = p.newOrderCode(tx); err != nil {
		return nil, err
	}
	o.state, o.created = wallet.PurchaseOffered, p.now()
	o.expires = o.created.Add(shopOrderLife)
	return o, insertMerchantOrder(tx, o)
}

// signedOffer is what a person confirms before paying.
func (p *Platform) signedOffer(o *merchantOrder, request string) (reply, error) {
	signed, err := p.sign(wallet.DomainOffer, wallet.MerchantOrder{
		Code: o.code, Merchant: o.merchant, Goods: o.goods, Amount: o.amount, State: o.state, Expires: o.expires,
		Issued: p.now(), Request: request, Unload: o.unload,
	})
	if err != nil {
		return reply{}, err
	}
	return success(api.Offer{Offer: signed})
}

func noMerchantOrder() reply {
	return failure(http.StatusNotFound, api.CodeNotFound, "there is no such order of a merchant")
}

// lookUpOrder is GET /v1/merchant-orders/{code}. A return of balance is shown to its
// own person only.
func lookUpOrder(c *call) (answer reply, err error) {
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		o, err := findMerchantOrder(tx, c.req.PathValue("code"))
		if err != nil {
			return err
		}
		if o == nil || o.unload && o.user != c.sender.user {
			answer = noMerchantOrder()
			return nil
		}
		answer, err = c.p.signedOffer(o, c.key)
		return err
	})
	return answer, err
}

// requestUnload is POST /v1/unloads: an order of the platform's own, to be paid like
// any other, by this person and this card only. A card whose balance was never
// authenticated has nothing to compare the lower balance with.
func requestUnload(c *call) (reply, error) {
	var request api.UnloadRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Amount <= 0 || request.Amount > maxCardFen {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	hash := coreHash(request)
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, c.sender.user, api.PathUnloads, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		if refused, err := c.unloadRefused(tx, request); err != nil || refused != nil {
			answer = deref(refused)
			return err
		}
		k, err := findCard(tx, request.ASN)
		if err != nil {
			return err
		}
		if refused, err := c.p.cardFailure(tx, k, c.sender.user, actCreditIn); err != nil || refused != nil {
			answer = deref(refused)
			return err
		}
		if k.opening == nil {
			answer = failure(http.StatusForbidden, api.CodeCardState, "the balance of this card cannot be returned in its present state")
			return nil
		}
		o, err := c.p.offer(tx, &merchantOrder{
			merchant: unloadMerchant, goods: unloadGoods, amount: request.Amount, unload: true, user: c.sender.user, asn: request.ASN.String(),
		})
		if err != nil {
			return err
		}
		if answer, err = c.p.signedOffer(o, c.key); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.user, "unload-offered", o.code, o.amount.Yuan()); err != nil {
			return err
		}
		return c.p.storeAnswer(tx, c.sender.user, api.PathUnloads, c.key, hash, answer)
	})
	return answer, err
}

// unloadRefused asks the account's state and moneyRefused about a return of balance.
func (c *call) unloadRefused(tx *Tx, request api.UnloadRequest) (*reply, error) {
	holder, err := findAccount(tx, "user", c.sender.user)
	if err != nil {
		return nil, err
	}
	if refused, err := c.p.accountFailure(tx, holder, actCreditIn); err != nil || refused != nil {
		return refused, err
	}
	code, err := c.p.moneyRefused(tx, holder.phone, request.CompanionSN, c.sender.thumbprint)
	if err != nil || code == "" {
		return nil, err
	}
	return refused(statusOf(code), code, refusalText(code)), nil
}

// authMerchant wants a request that a registered merchant signed. sender.user is the
// merchant's name then, and no route of persons is behind it.
func authMerchant(c *call) (*reply, error) {
	return c.verify(func(keyID string) (ed25519.PublicKey, error) {
		var key []byte
		err := c.p.store.View(c.ctx, func(tx *Tx) error {
			_, err := tx.row(`SELECT name, public_key FROM merchants WHERE thumbprint = ?`, []any{keyID}, &c.sender.user, &key)
			return err
		})
		if err == nil && key == nil {
			err = errUnknownDevice
		}
		return key, err
	})
}

// shopScope keeps the keys of merchants apart from those of persons.
const shopScope = "merchant "

// createShopOrder is POST /shop/v1/orders.
func createShopOrder(c *call) (reply, error) {
	var request api.ShopOrderRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	if request.Merchant != c.sender.user {
		return failure(http.StatusForbidden, api.CodeDeviceUnknown, "the key belongs to another merchant"), nil
	}
	hash := coreHash(request)
	var answer reply
	err := c.update(func(tx *Tx) error {
		kept, err := c.p.stored(tx, shopScope+c.sender.user, api.PathShopOrders, c.key)
		if err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(hash)
			return nil
		}
		o, err := c.p.newShopOrder(tx, request.Merchant, request.Goods, request.Amount, request.Callback)
		if errors.Is(err, ErrShopOrder) {
			answer = failure(http.StatusBadRequest, api.CodeBadRequest, err.Error())
			return nil
		}
		if err != nil {
			return err
		}
		if answer, err = c.p.signedOffer(o, c.key); err != nil {
			return err
		}
		if err := c.p.audit(tx, shopScope+c.sender.user, "shop-order", o.code, o.amount.Yuan()); err != nil {
			return err
		}
		return c.p.storeAnswer(tx, shopScope+c.sender.user, api.PathShopOrders, c.key, hash, answer)
	})
	return answer, err
}

// showShopOrder is GET /shop/v1/orders/{code}: a merchant's own orders.
func showShopOrder(c *call) (answer reply, err error) {
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		o, err := findMerchantOrder(tx, c.req.PathValue("code"))
		if err != nil {
			return err
		}
		if o == nil || o.merchant != c.sender.user {
			answer = noMerchantOrder()
			return nil
		}
		answer, err = c.p.signedOffer(o, c.key)
		return err
	})
	return answer, err
}
