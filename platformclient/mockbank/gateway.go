package mockbank

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"time"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// The gateway: a partner makes an order over the signed channel and shows a person
// the address of its page. The page itself is opened with the request of old, whose
// MAGIC anybody can compute: the bank lets people pay the amount that stands there,
// as such gateways do, and tells the partner what was paid. To compare that with its
// order is the partner's part.

// kindPage is a try to pay at the page: it holds the code that was sent.
const kindPage = "PAGE"

// page is the address of an order's page.
func (b *Bank) page(o *operation) string {
	payment := o.amount.Yuan()
	return b.address() + bankapi.PathGateway + "?" + bankapi.GatewayRequest{
		MerchantID: o.partner, OrderID: o.serial, Payment: payment, InvalidTime: time.UnixMilli(o.expires).In(shanghai).Format("20060102150405"),
		Remark1: o.goods, WapVer: "1.2", Magic: bankapi.Magic(o.partner, o.serial, payment),
	}.Query()
}

// address is where this bank is reached; that of another process where it serves.
func (b *Bank) address() string {
	partner, err := b.Partner()
	if err != nil {
		return ""
	}
	return partner.URL
}

// order makes an order.
func (b *Bank) order(tx *tx, partner string, r bankapi.OrderRequest) (*operation, error) {
	return b.once(tx, partner, kindOrder, r.Serial, r, func(o *operation) error {
		o.amount, o.goods, o.notify, o.ca, o.expires = r.Amount, r.Goods, r.Notify, r.NotifyCA, r.Expires.UnixMilli()
		o.state = bankapi.StateOpen
		return nil
	})
}

func notifyAllowed(address string) bool {
	if address == "" {
		return true
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.User != nil || len(address) > 512 {
		return false
	}
	ip := net.ParseIP(parsed.Hostname())
	return parsed.Scheme == "https" || parsed.Scheme == "http" && (parsed.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

var pages = template.Must(template.New("page").Parse(`<!doctype html><html lang="zh"><meta charset="utf-8"><title>{{.Bank}}</title>
<meta name="viewport" content="width=device-width"><body style="font-family:sans-serif;max-width:32em;margin:2em auto">
<h1>{{.Bank}}</h1>{{if .Text}}<p id="text">{{.Text}}</p>{{end}}{{with .Order}}
<p>订单 Order {{.OrderID}}<br>{{.Remark1}}<br>金额 Amount <b>{{.Payment}}</b></p>{{end}}{{if .Card}}
<form method="post" action="` + bankapi.PathGatewayPay + `">
<input type="hidden" name="ORDER" value="{{.Query}}">
<p><label>卡号 Card <input name="CARD" inputmode="numeric" autocomplete="off"></label></p>
<p><label>姓名 Name <input name="NAME"></label></p>
<p><label>预留手机 Phone <input name="PHONE" inputmode="tel"></label></p>
<button>获取验证码 Get code</button></form>{{end}}{{if .Attempt}}
<form method="post" action="` + bankapi.PathGatewayPay + `">
<input type="hidden" name="ATTEMPT" value="{{.Attempt}}">
<p><label>验证码 Code <input name="CODE" inputmode="numeric" autocomplete="off"></label></p>
<button>付款 Pay</button></form>{{end}}</body></html>`))

// pageFacts is what a page shows.
type pageFacts struct {
	Bank, Text, Query, Attempt string
	Order                      *bankapi.GatewayRequest
	Card                       bool
}

func (b *Bank) write(w http.ResponseWriter, status int, facts pageFacts) {
	facts.Bank = BankName
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	w.WriteHeader(status)
	_ = pages.Execute(w, facts) // a browser that has gone away comes back
}

const noOrder = "没有可付款的订单。 There is no order to be paid."

// payable reads the request of old and finds who it is for.
func (b *Bank) payable(tx *tx, query string) (bankapi.GatewayRequest, *operation, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(query) > 2048 {
		return bankapi.GatewayRequest{}, nil, nil
	}
	g, err := bankapi.ParseGateway(values)
	if err != nil {
		return bankapi.GatewayRequest{}, nil, nil
	}
	o, err := findOperation(tx, g.MerchantID, g.OrderID)
	if err != nil || o == nil || o.kind != kindOrder || o.state != bankapi.StateOpen || b.now().UnixMilli() >= o.expires {
		return g, nil, err
	}
	return g, o, nil
}

// showPage is GET of the gateway.
func (b *Bank) showPage(w http.ResponseWriter, req *http.Request) {
	var g bankapi.GatewayRequest
	var o *operation
	err := b.store.update(req.Context(), func(tx *tx) (err error) {
		g, o, err = b.payable(tx, req.URL.RawQuery)
		return err
	})
	switch {
	case err != nil:
		b.write(w, http.StatusInternalServerError, pageFacts{Text: "请稍后再试。 Try again later."})
	case o == nil:
		b.write(w, http.StatusNotFound, pageFacts{Text: noOrder})
	default:
		b.write(w, http.StatusOK, pageFacts{Order: &g, Card: true, Query: req.URL.RawQuery})
	}
}

// payPage takes the page's two forms: who pays, and then the code.
func (b *Bank) payPage(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, 8<<10)
	if err := req.ParseForm(); err != nil {
		b.write(w, http.StatusBadRequest, pageFacts{Text: noOrder})
		return
	}
	var facts pageFacts
	status := http.StatusOK
	err := b.change(context.WithoutCancel(req.Context()), bankapi.PathGatewayPay, func(tx *tx) (err error) {
		if attempt := req.PostForm.Get("ATTEMPT"); attempt != "" {
			status, facts, err = b.payWithCode(tx, attempt, req.PostForm.Get("CODE"))
		} else {
			status, facts, err = b.beginPage(tx, req.PostForm)
		}
		return err
	})
	switch {
	case errors.Is(err, errDied):
		panic(http.ErrAbortHandler)
	case err != nil:
		b.write(w, http.StatusInternalServerError, pageFacts{Text: "请稍后再试。 Try again later."})
		return
	}
	b.wakeNotices()
	b.write(w, status, facts)
}

func (b *Bank) beginPage(tx *tx, form url.Values) (int, pageFacts, error) {
	g, o, err := b.payable(tx, form.Get("ORDER"))
	if err != nil || o == nil {
		return http.StatusNotFound, pageFacts{Text: noOrder}, err
	}
	holder, err := b.accountOfCard(tx, form.Get("CARD"))
	if err != nil {
		return 0, pageFacts{}, err
	}
	again := pageFacts{Order: &g, Card: true, Query: form.Get("ORDER")}
	if !holder.belongs(form.Get("NAME"), form.Get("PHONE")) {
		again.Text = "卡号、姓名或手机不符。 Card, name and phone do not belong together."
		return http.StatusForbidden, again, nil
	}
	if holder.credit {
		again.Text = "不接受信用卡。 Credit cards are not accepted."
		return http.StatusForbidden, again, nil
	}
	amount, err := wallet.ParseYuan(g.Payment)
	if err != nil {
		return http.StatusNotFound, pageFacts{Text: noOrder}, nil
	}
	attempt := &operation{
		partner: o.partner, serial: "P" + hex.EncodeToString(randomBytes(10)), kind: kindPage, core: []byte{0}, of: o.serial, account: holder.id, amount: amount,
		created: b.now().UnixMilli(),
	}
	if err := b.sendCode(tx, attempt, holder, fmt.Sprintf("支付订单 %s，金额 %s 元", o.serial, g.Payment)); err != nil {
		return 0, pageFacts{}, err
	}
	return http.StatusOK, pageFacts{Order: &g, Attempt: attempt.partner + "/" + attempt.serial}, saveOperation(tx, attempt)
}

func (b *Bank) payWithCode(tx *tx, attempt, code string) (int, pageFacts, error) {
	var try *operation
	var err error
	for i := range attempt {
		if attempt[i] == '/' {
			try, err = findOperation(tx, attempt[:i], attempt[i+1:])
			break
		}
	}
	if err != nil || try == nil || try.kind != kindPage || try.state != bankapi.StateSent || b.now().Sub(time.UnixMilli(try.created)) > codeLife {
		return http.StatusForbidden, pageFacts{Text: "验证码已失效。 The code is no longer valid."}, err
	}
	if !b.rightCode(try, code) {
		try.tries++
		facts := pageFacts{Text: "验证码不正确。 The code is not right.", Attempt: attempt}
		if try.tries >= maxCodeTries {
			try.state, facts.Attempt = bankapi.StateLocked, ""
		}
		return http.StatusForbidden, facts, saveOperation(tx, try)
	}
	try.state = bankapi.StateExpired
	if err := saveOperation(tx, try); err != nil {
		return 0, pageFacts{}, err
	}
	o, err := findOperation(tx, try.partner, try.of)
	if err != nil {
		return 0, pageFacts{}, err
	}
	refused, err := b.payOrder(tx, o, try.account, try.amount)
	if err != nil {
		return 0, pageFacts{}, err
	}
	if refused != "" {
		return http.StatusConflict, pageFacts{Text: refused}, nil
	}
	return http.StatusOK, pageFacts{Text: "付款成功。 Paid."}, nil
}

// payOrder takes the money for an order and puts the callback into the outbox. What
// was paid is what the page said, and stands in the order from then on. refused says
// why nothing was paid.
func (b *Bank) payOrder(tx *tx, o *operation, account string, amount wallet.Fen) (refused string, err error) {
	if o == nil || o.kind != kindOrder || o.state != bankapi.StateOpen || b.now().UnixMilli() >= o.expires {
		return noOrder, nil
	}
	paid := *o
	err = b.move(tx, &paid, bankapi.StatePaid, movement{
		partner: o.partner, kind: kindOrder, serial: o.serial, from: prefixCustomer + account, to: prefixPartner + o.partner, amount: amount,
	}, bankapi.CodeFunds)
	if err != nil {
		return "", err
	}
	if paid.state != bankapi.StatePaid {
		return "余额不足。 The account does not cover this.", nil
	}
	paid.amount, paid.account = amount, account
	*o = paid
	if err := saveOperation(tx, o); err != nil {
		return "", err
	}
	return "", b.putNotice(tx, o)
}

// PayOrder pays an order at the bank's own counter, as its customer: an order number
// shown elsewhere, and a card (requirements B8).
func (b *Bank) PayOrder(ctx context.Context, serial, card string) (amountFen wallet.Fen, err error) {
	err = b.store.update(ctx, func(tx *tx) error {
		o, err := findOperation(tx, PartnerID, serial)
		if err != nil {
			return err
		}
		holder, err := b.accountOfCard(tx, card)
		switch {
		case err != nil:
			return err
		case holder == nil:
			return ErrNoCard
		case holder.credit:
			return errors.New("credit cards are not accepted")
		case o == nil:
			return errors.New("there is no such order")
		}
		refused, err := b.payOrder(tx, o, holder.id, o.amount)
		if err == nil && refused != "" {
			err = errors.New(refused)
		}
		amountFen = o.amount
		return err
	})
	if err == nil {
		b.wakeNotices()
	}
	return amountFen, err
}
