package mockbank

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

const (
	maxCodeTries = 3
	codeLife     = 5 * time.Minute
	codeDigits   = 6
)

// account is a customer's account with its one card.
type account struct {
	id, last4, name, phone string
	credit                 bool
}

const accountColumns = `SELECT account, last4, name, phone, credit FROM accounts `

func (b *Bank) findAccount(tx *tx, where string, args ...any) (*account, error) {
	a := &account{}
	found, err := tx.row(accountColumns+where, args, &a.id, &a.last4, &a.name, &a.phone, &a.credit)
	if err != nil || !found {
		return nil, err
	}
	return a, nil
}

func (b *Bank) accountOfCard(tx *tx, number string) (*account, error) {
	return b.findAccount(tx, `WHERE card_mac = ?`, b.keys.mac("card", number))
}

func (b *Bank) boundAccount(tx *tx, partner, token string) (*account, error) {
	hash := sha256.Sum256([]byte(token))
	return b.findAccount(tx, `WHERE account = (SELECT account FROM bindings WHERE hash = ? AND partner = ? AND state = ?)`,
		hash[:], partner, bankapi.StateBound)
}

// belongs compares what a person typed with what the customer left at the bank.
func (a *account) belongs(name, phone string) bool {
	return a != nil && subtle.ConstantTimeCompare([]byte(a.name), []byte(name)) == 1 && subtle.ConstantTimeCompare([]byte(a.phone), []byte(phone)) == 1
}

// bind begins a binding: card number, name and phone must be those of one customer,
// and a code goes to that phone. Which of the three was wrong is not told.
func (b *Bank) bind(tx *tx, partner string, r bankapi.BindRequest) (*operation, error) {
	// What is kept of the request is a keyed hash of the number, not the number.
	core := r
	core.Card = base64.RawURLEncoding.EncodeToString(b.keys.mac("card", r.Card))
	return b.once(tx, partner, kindBind, r.Serial, core, func(o *operation) error {
		holder, err := b.accountOfCard(tx, r.Card)
		if err != nil {
			return err
		}
		if !holder.belongs(r.Name, r.Phone) {
			o.refuse(bankapi.CodeCardData)
			return nil
		}
		o.account, o.goods = holder.id, holder.last4
		if holder.credit {
			o.refuse(bankapi.CodeCreditCard)
			return nil
		}
		return b.sendCode(tx, o, holder, fmt.Sprintf("绑定尾号 %s 的银行卡", holder.last4))
	})
}

// sendCode draws a code and sends it to the customer's phone.
func (b *Bank) sendCode(tx *tx, o *operation, holder *account, what string) error {
	code := randomCode()
	o.state, o.codeMAC = bankapi.StateSent, b.keys.mac("code", o.partner, o.serial, code)
	text := fmt.Sprintf("【%s】%s，验证码 %s，5 分钟内有效。请勿告诉他人。", BankName, what, code)
	return tx.exec(`INSERT INTO messages (phone, of, sealed, time) VALUES (?, ?, ?, ?)`, holder.phone, o.serial,
		b.keys.seal("message", code+"\n"+text), b.now().UnixMilli())
}

func (b *Bank) rightCode(sent *operation, code string) bool {
	return subtle.ConstantTimeCompare(sent.codeMAC, b.keys.mac("code", sent.partner, sent.serial, code)) == 1
}

// randomCode draws digits from the system's random source.
func randomCode() string {
	source := rand.NewChaCha8([32]byte(randomBytes(32)))
	return fmt.Sprintf("%0*d", codeDigits, source.Uint64()%1e6)
}

// confirm ends a binding with the code; three wrong codes lock it.
func (b *Bank) confirm(tx *tx, partner string, r bankapi.BindConfirm) (*operation, error) {
	return b.once(tx, partner, kindConfirm, r.Serial, r, func(o *operation) error {
		o.of = r.Of
		begun, err := findOperation(tx, partner, r.Of)
		switch {
		case err != nil:
			return err
		case begun == nil || begun.kind != kindBind:
			o.refuse(bankapi.CodeState)
			return nil
		case begun.state == bankapi.StateLocked:
			o.refuse(bankapi.CodeCodeLocked)
			return nil
		case begun.state != bankapi.StateSent || b.now().Sub(time.UnixMilli(begun.created)) > codeLife:
			o.refuse(bankapi.CodeCodeOld)
			return nil
		}
		o.account, o.goods = begun.account, begun.goods
		if !b.rightCode(begun, r.Code) {
			begun.tries++
			o.tries = begun.tries
			o.refuse(bankapi.CodeWrongCode)
			if begun.tries >= maxCodeTries {
				begun.state = bankapi.StateLocked
				o.refuse(bankapi.CodeCodeLocked)
			}
			return saveOperation(tx, begun)
		}
		begun.state = bankapi.StateBound
		if err := saveOperation(tx, begun); err != nil {
			return err
		}
		token := base64.RawURLEncoding.EncodeToString(randomBytes(24))
		hash := sha256.Sum256([]byte(token))
		o.state, o.token = bankapi.StateBound, b.keys.seal("token", token)
		return tx.exec(`INSERT INTO bindings (hash, partner, account, state, created) VALUES (?, ?, ?, ?, ?)`,
			hash[:], partner, o.account, bankapi.StateBound, b.now().UnixMilli())
	})
}

func (b *Bank) unbind(tx *tx, partner string, r bankapi.UnbindRequest) (*operation, error) {
	return b.once(tx, partner, kindUnbind, r.Serial, r, func(o *operation) error {
		holder, err := b.boundAccount(tx, partner, r.Token)
		if err != nil {
			return err
		}
		if holder == nil {
			o.refuse(bankapi.CodeNoBinding)
			return nil
		}
		hash := sha256.Sum256([]byte(r.Token))
		o.account, o.state = holder.id, bankapi.StateUnbound
		return tx.exec(`UPDATE bindings SET state = ? WHERE hash = ?`, bankapi.StateUnbound, hash[:])
	})
}

// payCode sends a code for one payment.
func (b *Bank) payCode(tx *tx, partner string, r bankapi.CodeRequest) (*operation, error) {
	return b.once(tx, partner, kindCode, r.Serial, r, func(o *operation) error {
		holder, err := b.boundAccount(tx, partner, r.Token)
		if err != nil {
			return err
		}
		if holder == nil {
			o.refuse(bankapi.CodeNoBinding)
			return nil
		}
		o.account, o.amount = holder.id, r.Amount
		return b.sendCode(tx, o, holder, fmt.Sprintf("向%s支付 %s 元", partnerName, r.Amount.Yuan()))
	})
}

func validAmount(amount wallet.Fen) bool { return amount > 0 && amount <= maxAmount }

// maxAmount of one operation.
const maxAmount wallet.Fen = 1_000_000_00
