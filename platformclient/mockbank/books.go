package mockbank

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// Errors of the administration.
var (
	ErrNoCard  = errors.New("the bank has no such card")
	ErrNewCard = errors.New("a card needs a name, a phone number and a balance of 0 or more")
)

// What a demo customer is given without being asked.
const (
	DemoName    = "演示用户"
	demoBalance = wallet.Fen(2000_00)
	cardPrefix  = "623051" // made up; debit cards have 19 digits, credit cards 16
	creditBIN   = "439051"
)

// NewCard opens an account with its card and prints a made-up number, whose last
// digit is a Luhn check digit.
func (b *Bank) NewCard(ctx context.Context, name, phone string, balanceFen wallet.Fen, credit bool) (number string, err error) {
	if name == "" || phone == "" || len(name) > maxText || len(phone) > maxText || balanceFen < 0 {
		return "", ErrNewCard
	}
	err = b.store.update(ctx, func(tx *tx) (err error) {
		number, err = b.newCard(tx, name, phone, balanceFen, credit)
		return err
	})
	return number, err
}

func (b *Bank) newCard(tx *tx, name, phone string, balanceFen wallet.Fen, credit bool) (string, error) {
	prefix, digits := cardPrefix, 19
	if credit {
		prefix, digits = creditBIN, 16
	}
	number := prefix
	for len(number) < digits-1 {
		number += randomCode()
	}
	number = number[:digits-1]
	number += string(luhnDigit(number))
	id := fmt.Sprintf("A%x", randomBytes(8))
	err := tx.exec(`INSERT INTO accounts (account, card_mac, sealed, last4, credit, name, phone, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id, b.keys.mac("card", number), b.keys.seal("card", number), number[digits-4:], credit, name, phone, b.now().UnixMilli())
	if err != nil || balanceFen == 0 {
		return number, err
	}
	_, err = b.post(tx, movement{kind: "OPENING", serial: id, from: accountVault, to: prefixCustomer + id, amount: balanceFen})
	return number, err
}

// luhnDigit is the check digit behind a number (ISO/IEC 7812-1, annex B).
func luhnDigit(number string) byte {
	sum, double := 0, true
	for i := len(number) - 1; i >= 0; i-- {
		d := int(number[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double = sum+d, !double
	}
	return byte('0' + (10-sum%10)%10)
}

// validCard tells whether a text can be the number of a card.
func validCard(number string) bool {
	if len(number) < 12 || len(number) > 19 || strings.Trim(number, "0123456789") != "" {
		return false
	}
	last := len(number) - 1
	return luhnDigit(number[:last]) == number[last]
}

// demoCards lists the cards of a customer; who has none gets one.
func (b *Bank) demoCards(q *question) (any, error) {
	var request bankapi.DemoRequest
	if err := strict(q.body, &request); err != nil || request.Phone == "" || len(request.Phone) > maxText {
		return nil, errForm
	}
	told := bankapi.DemoCards{Request: q.nonce, Cards: []bankapi.DemoCard{}}
	err := b.change(q.ctx, q.path, func(tx *tx) error {
		for range 2 {
			err := tx.each(`SELECT sealed, name, phone FROM accounts WHERE phone = ? AND credit = 0 ORDER BY created, account LIMIT 5`, []any{request.Phone}, func(rows *sql.Rows) error {
				var sealed []byte
				var card bankapi.DemoCard
				if err := rows.Scan(&sealed, &card.Name, &card.Phone); err != nil {
					return err
				}
				var err error
				card.Card, err = b.keys.unseal("card", sealed)
				told.Cards = append(told.Cards, card)
				return err
			})
			if err != nil || len(told.Cards) > 0 {
				return err
			}
			if _, err := b.newCard(tx, DemoName, request.Phone, demoBalance, false); err != nil {
				return err
			}
		}
		return nil
	})
	return told, err
}

// demoTexts lists the latest messages to a phone.
func (b *Bank) demoTexts(q *question) (any, error) {
	var request bankapi.DemoRequest
	if err := strict(q.body, &request); err != nil || request.Phone == "" || len(request.Phone) > maxText {
		return nil, errForm
	}
	told := bankapi.DemoMessages{Request: q.nonce, Messages: []bankapi.DemoMessage{}}
	err := b.store.update(q.ctx, func(tx *tx) error {
		return tx.each(`SELECT of, sealed, time FROM messages WHERE phone = ? ORDER BY id DESC LIMIT 10`, []any{request.Phone}, func(rows *sql.Rows) error {
			var message bankapi.DemoMessage
			var sealed []byte
			var millis int64
			if err := rows.Scan(&message.Of, &sealed, &millis); err != nil {
				return err
			}
			plain, err := b.keys.unseal("message", sealed)
			message.Code, message.Text, _ = strings.Cut(plain, "\n")
			message.Time = time.UnixMilli(millis).UTC()
			told.Messages = append(told.Messages, message)
			return err
		})
	})
	return told, err
}

// query tells how the operation with a serial stands.
func (b *Bank) query(q *question) (any, error) {
	var request bankapi.QueryRequest
	if err := strict(q.body, &request); err != nil || !bankapi.ValidSerial(request.Serial) {
		return nil, errForm
	}
	told := bankapi.Outcome{Serial: request.Serial, State: bankapi.StateUnknown, Time: b.now()}
	err := b.change(q.ctx, q.path, func(tx *tx) error {
		o, err := findOperation(tx, q.partner, request.Serial)
		if err != nil || o == nil {
			return err
		}
		told, err = b.outcome(o)
		return err
	})
	told.Request = q.nonce
	return told, err
}

// askStatement answers with the statement of a day.
func (b *Bank) askStatement(q *question) (any, error) {
	var request bankapi.StatementRequest
	if err := strict(q.body, &request); err != nil {
		return nil, errForm
	}
	if _, err := time.Parse("20060102", request.Day); err != nil {
		return nil, errForm
	}
	var told bankapi.Statement
	err := b.change(q.ctx, q.path, func(tx *tx) (err error) {
		told.File, told.Sig, err = b.statement(tx, q.partner, request.Day)
		return err
	})
	told.Request = q.nonce
	return told, err
}

// Statement is the statement file of a day (YYYYMMDD) for the bank's partner, with
// its detached signature.
func (b *Bank) Statement(ctx context.Context, day string) (file, signature []byte, err error) {
	err = b.store.update(ctx, func(tx *tx) (err error) {
		file, signature, err = b.statement(tx, PartnerID, day)
		return err
	})
	return file, signature, err
}

// lineKinds are the postings that stand in a statement.
var lineKinds = map[string]string{
	kindDebit: bankapi.LineDebit, kindCapture: bankapi.LineDebit, kindOrder: bankapi.LineOrder,
	kindReversal: bankapi.LineReversal, kindRefund: bankapi.LineRefund, kindPayout: bankapi.LinePayout,
}

func (b *Bank) statement(tx *tx, partner, day string) (file, signature []byte, err error) {
	content := bankapi.Day{Bank: BankID, Merchant: partner, Day: day}
	err = tx.each(`SELECT journal, ABS(amount), kind, serial, of, time FROM postings WHERE day = ? AND partner = ? AND account = ? ORDER BY id`,
		[]any{day, partner, prefixPartner + partner}, func(rows *sql.Rows) error {
			var line bankapi.Line
			var kind string
			var millis int64
			if err := rows.Scan(&line.Journal, &line.Amount, &kind, &line.Serial, &line.Of, &millis); err != nil {
				return err
			}
			line.Kind, line.Time = lineKinds[kind], time.UnixMilli(millis).UTC()
			content.Lines = append(content.Lines, line)
			return nil
		})
	content.Batch = len(content.Lines) + 1 // it grows with the day and says which of two files is newer
	file = content.Marshal()
	return file, bankapi.SignStatement(file, b.keys.answerKey()), err
}

// CheckReport is what an audit of the bank's books found.
type CheckReport struct {
	ImbalanceFen wallet.Fen `json:"imbalanceFen"` // sum of every movement that is not zero
	CustomersFen wallet.Fen `json:"customersFen"`
	FrozenFen    wallet.Fen `json:"frozenFen"`
	PartnersFen  wallet.Fen `json:"partnersFen"`
	OpeningFen   wallet.Fen `json:"openingFen"` // what the vault gave out
	Negative     int        `json:"negative"`   // customers below zero
	UnpostedFen  wallet.Fen `json:"unpostedFen"`
	Cards        int        `json:"cards"`
}

// OK tells whether the books are in order.
func (r CheckReport) OK() bool {
	return r.ImbalanceFen == 0 && r.Negative == 0 && r.UnpostedFen == 0 && r.CustomersFen+r.FrozenFen+r.PartnersFen == r.OpeningFen
}

// Check audits the books: every movement is zero, and what the states of operations
// say is what stands on the partners' accounts.
func (b *Bank) Check(ctx context.Context) (CheckReport, error) {
	var report CheckReport
	err := b.store.update(ctx, func(tx *tx) error {
		for _, sum := range []struct {
			target any
			query  string
		}{
			{&report.ImbalanceFen, `SELECT COALESCE(SUM(ABS(total)), 0) FROM (SELECT SUM(amount) AS total FROM postings GROUP BY journal)`},
			{&report.CustomersFen, `SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account LIKE 'customer:%'`},
			{&report.FrozenFen, `SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account LIKE 'frozen:%'`},
			{&report.PartnersFen, `SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account LIKE 'partner:%'`},
			{&report.OpeningFen, `SELECT COALESCE(-SUM(amount), 0) FROM postings WHERE account = 'vault'`},
			{&report.Negative, `SELECT COUNT(*) FROM (SELECT account FROM postings WHERE account LIKE 'customer:%' OR account LIKE 'frozen:%'
				GROUP BY account HAVING SUM(amount) < 0)`},
			{&report.UnpostedFen, `SELECT ABS(COALESCE((SELECT SUM(amount - refunded) FROM operations WHERE kind IN ('DEBIT', 'ORDER') AND state IN ('PAID', 'CAPTURED')), 0)
				- COALESCE((SELECT SUM(amount) FROM operations WHERE kind = 'PAYOUT' AND state = 'REFUNDED'), 0)
				- COALESCE((SELECT SUM(amount) FROM postings WHERE account LIKE 'partner:%'), 0))
				+ ABS(COALESCE((SELECT SUM(amount) FROM operations WHERE kind = 'DEBIT' AND state = 'FROZEN'), 0)
				- COALESCE((SELECT SUM(amount) FROM postings WHERE account LIKE 'frozen:%'), 0))`},
			{&report.Cards, `SELECT COUNT(*) FROM accounts`},
		} {
			if _, err := tx.row(sum.query, nil, sum.target); err != nil {
				return err
			}
		}
		return nil
	})
	return report, err
}

// Balance is what a card's account holds.
func (b *Bank) Balance(ctx context.Context, card string) (balanceFen wallet.Fen, err error) {
	err = b.store.update(ctx, func(tx *tx) error {
		holder, err := b.accountOfCard(tx, card)
		if err != nil || holder == nil {
			return errors.Join(err, ErrNoCard)
		}
		balanceFen, err = balance(tx, prefixCustomer+holder.id)
		return err
	})
	return balanceFen, err
}
