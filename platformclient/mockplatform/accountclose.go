package mockplatform

import (
	"database/sql"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/states"
	"walletcompanion/wallet"
)

// owedTo is everything that keeps an account from being closed.
func owedTo(tx *Tx, user string) (owed api.Owed, err error) {
	if owed.Main, err = balance(tx, mainAccount(user)); err != nil {
		return owed, err
	}
	if owed.Held, err = balance(tx, heldAccount(user)); err != nil {
		return owed, err
	}
	_, err = tx.row(`SELECT (SELECT COUNT(*) FROM orders WHERE `+isOpen+` AND (user = ?1 OR asn IN (SELECT asn FROM cards WHERE user = ?1)))
		+ (SELECT COUNT(*) FROM purchases WHERE `+isOpenPurchase+` AND (user = ?1 OR asn IN (SELECT asn FROM cards WHERE user = ?1)))
		+ (SELECT COUNT(*) FROM fundings WHERE user = ?1 AND state IN ('RECEIVED', 'PENDING', 'REVERSING'))
		+ (SELECT COUNT(*) FROM bank_returns WHERE user = ?1 AND state = 'PENDING')`,
		[]any{user}, &owed.OpenOrders)
	if err != nil {
		return owed, err
	}
	cards, err := ownedCards(tx, user)
	for _, k := range cards {
		if err != nil {
			return owed, err
		}
		var left wallet.Fen
		left, err = shadowBalance(tx, k)
		owed.Purse += max(left, 0)
	}
	return owed, err
}

// ownedCards are all cards of a person, those that were replaced too.
func ownedCards(tx *Tx, user string) (cards []*card, err error) {
	var numbers []wallet.ASN
	err = tx.each(`SELECT asn FROM cards WHERE user = ? ORDER BY asn`, []any{user}, func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		asn, err := wallet.ParseASN(text)
		numbers = append(numbers, asn)
		return err
	})
	for _, asn := range numbers {
		if err != nil {
			return nil, err
		}
		var k *card
		if k, err = findCard(tx, asn); k != nil {
			cards = append(cards, k)
		}
	}
	return cards, err
}

// closeIfNothingOwed ends an account in CLOSING to which nothing is owed any more.
func (p *Platform) closeIfNothingOwed(tx *Tx, user string) error {
	a, err := findAccount(tx, "user", user)
	if err != nil || a == nil || a.state != string(states.Closing) {
		return err
	}
	owed, err := owedTo(tx, user)
	if err != nil || owed != (api.Owed{}) {
		return err
	}
	return p.endAccount(tx, a)
}

// endAccount closes an account for good: its cards are returned, its computers end.
func (p *Platform) endAccount(tx *Tx, a *account) error {
	if _, err := p.changeAccount(tx, a, accountChange{event: states.NothingOwed, by: byPlatform}); err != nil {
		return err
	}
	cards, err := ownedCards(tx, a.id)
	if err != nil {
		return err
	}
	for _, k := range cards {
		if err := p.moveCard(tx, k, states.CardReturned); err != nil {
			return err
		}
		if err := saveCard(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// owedAgain opens a closed account as far as an order needs it that came back after a
// restore: what it gives back can be paid out.
func (p *Platform) owedAgain(tx *Tx, user string) error {
	a, err := findAccount(tx, "user", user)
	if err != nil || a == nil {
		return err
	}
	_, err = p.changeAccount(tx, a, accountChange{event: states.OwedAgain, by: byPlatform})
	return err
}
