package mockplatform

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"walletcompanion/platformclient/api"
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

// shopsRefuse are the cards that shops must not take now, with the cause. What knows no
// list may have changed a card: its state counts, and names the cause where no list
// tells a better one.
const shopsRefuse = `SELECT c.asn AS asn, CASE WHEN c.state <> 'BLACK' THEN 'LOSS' ELSE COALESCE(l.cause, 'FRAUD') END AS cause FROM cards c
	LEFT JOIN lists l ON l.kind = 'card' AND l.subject = c.asn AND l.standing = 'BLACK' AND l.cause <> ''
	WHERE c.state IN ('BLACK', 'LOST', 'REPLACED')`

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
	var number int
	if _, err := tx.row(`SELECT COALESCE(MAX(number), 0) FROM blacklist_numbers`, nil, &number); err != nil {
		return err
	}
	// A restore loses numbers that shops may hold: those of a new epoch begin where no
	// lost one is.
	base := (p.epoch - 1) * numbersPerEpoch
	next := max(number, base) + 1
	listed, err := tx.changed(`INSERT INTO blacklist_changes (number, asn, listed, cause) SELECT ?, r.asn, 1, r.cause FROM (`+shopsRefuse+`) AS r
		LEFT JOIN blacklist_told t ON t.asn = r.asn WHERE t.asn IS NULL OR t.cause <> r.cause`, next)
	if err != nil {
		return err
	}
	gone, err := tx.changed(`INSERT INTO blacklist_changes (number, asn, listed, cause) SELECT ?, t.asn, 0, '' FROM blacklist_told t
		LEFT JOIN cards c ON c.asn = t.asn WHERE c.asn IS NULL OR c.state NOT IN ('BLACK', 'LOST', 'REPLACED')`, next)
	if err != nil || listed+gone == 0 && number > base {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM blacklist_told WHERE asn IN (SELECT asn FROM blacklist_changes WHERE number = ? AND listed = 0)`,
		`INSERT INTO blacklist_told (asn, cause) SELECT asn, cause FROM blacklist_changes WHERE number = ? AND listed <> 0
			ON CONFLICT (asn) DO UPDATE SET cause = excluded.cause`,
	} {
		if err := tx.exec(statement, next); err != nil {
			return err
		}
	}
	if err := tx.exec(`INSERT INTO blacklist_numbers (number, made) VALUES (?, ?)`, next, p.now().UnixMilli()); err != nil {
		return err
	}
	return p.audit(tx, "platform", "blacklist", strconv.Itoa(next), fmt.Sprintf("%d listed, %d gone", listed, gone))
}

// changedCards are the cards that changed after one number, as they stand at the newest,
// in the order of their serials; after 0: those that stand on the list.
func changedCards(tx *Tx, after int) (lines []api.BlacklistLine, err error) {
	query, args := `SELECT asn, 1, cause FROM blacklist_told ORDER BY asn`, []any(nil)
	if after > 0 {
		query, args = `SELECT a.asn, a.listed, a.cause FROM blacklist_changes a WHERE a.number > ?
			AND NOT EXISTS (SELECT 1 FROM blacklist_changes b WHERE b.asn = a.asn AND b.number > a.number) ORDER BY a.asn`, []any{after}
	}
	err = tx.each(query, args, func(rows *sql.Rows) error {
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
	var err error
	list.Lines, err = changedCards(tx, since)
	return list, err
}
