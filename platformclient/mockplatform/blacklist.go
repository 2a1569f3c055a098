package mockplatform

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// ErrBlacklistNumber means that no blacklist file has this number, or that a restore
// has lost it: the whole list is needed then.
var ErrBlacklistNumber = errors.New("no blacklist file has this number; take the whole list")

// numbersPerEpoch is how many files an epoch has room for.
const numbersPerEpoch = 1_000_000

// BlacklistFile is a blacklist file with its detached signature.
type BlacklistFile struct {
	File, Signature []byte
	Number, Since   int
	Count           int
}

// refusedByShops are the states of a card that no shop may take, with the cause that
// the file names where no list tells a better one.
var refusedByShops = map[string]rules.ListEvent{
	cardBlack:  rules.ListFraud,
	"LOST":     rules.ListLoss,
	"REPLACED": rules.ListLoss,
}

// Blacklist writes the file for terminals in shops: the whole list, or with since the
// changes after that number. A list that has not changed keeps its number, so that the
// same state of the list gives the same bytes, however often it is asked for.
func (p *Platform) Blacklist(ctx context.Context, since int) (BlacklistFile, error) {
	var list api.Blacklist
	err := p.store.Update(ctx, func(tx *Tx) error {
		if err := p.numberBlacklist(tx); err != nil {
			return err
		}
		var err error
		list, err = readBlacklist(tx, since)
		return err
	})
	if err != nil {
		return BlacklistFile{}, err
	}
	raw, err := list.Encode()
	if err != nil {
		return BlacklistFile{}, err
	}
	signed := wallet.SignBytes(api.DomainBlacklist, raw, p.signers[0])
	signature, err := json.Marshal(api.BlacklistSignature{Domain: api.DomainBlacklist, KID: signed.KID, Sig: signed.Sig})
	return BlacklistFile{File: raw, Signature: append(signature, '\n'), Number: list.Number, Since: list.Since, Count: len(list.Lines)}, err
}

// numberBlacklist compares the cards with what shops were told last. Whoever changed a
// card, and how, does not matter: a difference makes a new number.
func (p *Platform) numberBlacklist(tx *Tx) error {
	now, err := listedCards(tx)
	if err != nil {
		return err
	}
	number, told, err := toldCards(tx)
	if err != nil {
		return err
	}
	var changes []api.BlacklistLine
	for asn, cause := range now {
		if before, known := told[asn]; !known || before != cause {
			changes = append(changes, api.BlacklistLine{ASN: asn, Listed: true, Cause: cause})
		}
	}
	for asn := range told {
		if _, still := now[asn]; !still {
			changes = append(changes, api.BlacklistLine{ASN: asn})
		}
	}
	// A restore loses numbers that shops may hold: those of a new epoch begin where no
	// lost one is.
	base := (p.epoch - 1) * numbersPerEpoch
	if len(changes) == 0 && number > base {
		return nil
	}
	number = max(number, base) + 1
	if err := tx.exec(`INSERT INTO blacklist_numbers (number, made) VALUES (?, ?)`, number, p.now().UnixMilli()); err != nil {
		return err
	}
	for _, line := range changes {
		if err := tx.exec(`INSERT INTO blacklist_changes (number, asn, listed, cause) VALUES (?, ?, ?, ?)`,
			number, line.ASN.String(), line.Listed, line.Cause); err != nil {
			return err
		}
	}
	return p.audit(tx, "platform", "blacklist", "", "")
}

// listedCards are the cards that shops must not take now, with the cause.
func listedCards(tx *Tx) (map[wallet.ASN]string, error) {
	listed := map[wallet.ASN]string{}
	err := tx.each(`SELECT c.asn, c.state, COALESCE(l.cause, '') FROM cards c
		LEFT JOIN lists l ON l.kind = 'card' AND l.subject = c.asn AND l.standing = 'BLACK'
		WHERE c.state NOT IN ('ISSUED', 'ACTIVE')`, nil, func(rows *sql.Rows) error {
		var text, state, cause string
		if err := rows.Scan(&text, &state, &cause); err != nil {
			return err
		}
		otherwise, refused := refusedByShops[state]
		if !refused {
			return nil
		}
		if cause == "" || state != cardBlack {
			cause = string(otherwise)
		}
		asn, err := wallet.ParseASN(text)
		listed[asn] = cause
		return err
	})
	return listed, err
}

// toldCards is what the file of the newest number says; number 0: there is none yet.
func toldCards(tx *Tx) (number int, told map[wallet.ASN]string, err error) {
	if _, err = tx.row(`SELECT COALESCE(MAX(number), 0) FROM blacklist_numbers`, nil, &number); err != nil {
		return number, nil, err
	}
	lines, err := changedCards(tx, 0, number)
	told = map[wallet.ASN]string{}
	for _, line := range lines {
		if line.Listed {
			told[line.ASN] = line.Cause
		}
	}
	return number, told, err
}

// changedCards are the cards that changed after one number and up to another, as they
// stood at the end, in the order of their serials.
func changedCards(tx *Tx, after, upTo int) (lines []api.BlacklistLine, err error) {
	err = tx.each(`SELECT a.asn, a.listed, a.cause FROM blacklist_changes a WHERE a.number > ? AND a.number <= ?
		AND NOT EXISTS (SELECT 1 FROM blacklist_changes b WHERE b.asn = a.asn AND b.number > a.number AND b.number <= ?)
		ORDER BY a.asn`, []any{after, upTo, upTo}, func(rows *sql.Rows) error {
		var text string
		var line api.BlacklistLine
		if err := rows.Scan(&text, &line.Listed, &line.Cause); err != nil {
			return err
		}
		var err error
		line.ASN, err = wallet.ParseASN(text)
		lines = append(lines, line)
		return err
	})
	return lines, err
}

func readBlacklist(tx *Tx, since int) (api.Blacklist, error) {
	list := api.Blacklist{Since: since}
	var made int64
	if _, err := tx.row(`SELECT number, made FROM blacklist_numbers ORDER BY number DESC LIMIT 1`, nil, &list.Number, &made); err != nil {
		return list, err
	}
	list.Made = time.UnixMilli(made).UTC().Truncate(time.Second)
	var found int
	if known, err := tx.row(`SELECT 1 FROM blacklist_numbers WHERE number = ?`, []any{since}, &found); err != nil || !known && since != 0 {
		return list, errOr(err, ErrBlacklistNumber)
	}
	lines, err := changedCards(tx, since, list.Number)
	if err != nil {
		return list, err
	}
	for _, line := range lines {
		if line.Listed || since > 0 {
			list.Lines = append(list.Lines, line)
		}
	}
	slices.SortFunc(list.Lines, func(a, b api.BlacklistLine) int { return bytes.Compare(a.ASN[:], b.ASN[:]) })
	return list, nil
}
