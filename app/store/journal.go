package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

var _ core.Store = (*Store)(nil)

// Write implements wallet.Journal: the entry, its place in the hash chain and, for
// CREDITED and DEBITED, the row of the outbox reach the disk in one transaction.
//
// After an error the entry is not in the store. One thing can bring it back: the
// flush failed and the computer stops before the next write, for then the log may
// hold the whole commit after all. That is harmless: the caller went no further,
// and a stage that is one too high only asks the card once more (crash table, row 28).
func (s *Store) Write(ctx context.Context, entry wallet.Entry) error {
	if entry.Key == "" {
		return errors.New("journal: an entry without a key")
	}
	encoded, err := encodeEntry(entry)
	if err != nil {
		return fmt.Errorf("journal of %s: %w", entry.Key, err)
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return appendEntry(ctx, tx, entry, encoded)
	})
	if err != nil {
		return fmt.Errorf("journal of %s at %s: %w", entry.Key, entry.Stage, err)
	}
	return nil
}

func appendEntry(ctx context.Context, tx *sql.Tx, entry wallet.Entry, encoded []byte) error {
	var stored string
	err := tx.QueryRowContext(ctx, `SELECT j.stage FROM journal_head h JOIN journal j ON j.seq = h.last_seq WHERE h.key = ?`, entry.Key).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err := wallet.CheckFollows(wallet.Stage(stored), entry); err != nil {
		return err
	}
	mark, err := readMark(ctx, tx)
	if err != nil {
		return err
	}
	seq, hash := mark.Seq+1, chain(mark.Hash, encoded)
	_, err = tx.ExecContext(ctx, `INSERT INTO journal (seq, key, stage, asn, order_no, tid, entry, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		seq, entry.Key, string(entry.Stage), entry.ASN.String(), entry.Order, terminalText(entry.TID), encoded, hash)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO journal_head (key, first_seq, last_seq, is_final, asn, order_no) VALUES (?1, ?2, ?2, ?3, ?4, ?5)
		ON CONFLICT (key) DO UPDATE SET last_seq = ?2, is_final = ?3, asn = ?4, order_no = ?5`,
		entry.Key, seq, entry.Stage.Final(), entry.ASN.String(), entry.Order)
	if err != nil {
		return err
	}
	return changeOutbox(ctx, tx, entry, seq)
}

// changeOutbox adds a result when the card has answered, and drops it when the
// platform has settled the order. It is due at once.
func changeOutbox(ctx context.Context, tx *sql.Tx, entry wallet.Entry, seq int64) (err error) {
	switch entry.Stage {
	case wallet.StageCredited, wallet.StageDebited:
		_, err = tx.ExecContext(ctx, `INSERT INTO outbox (key, seq, tries, next_ns) VALUES (?, ?, 0, 0)
			ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, tries = 0, next_ns = 0`, entry.Key, seq)
	case wallet.StageConfirmed, wallet.StageVoided, wallet.StageNotTaken, wallet.StageRefunded:
		_, err = tx.ExecContext(ctx, `DELETE FROM outbox WHERE key = ?`, entry.Key)
	}
	return err
}

// encodeEntry gives the bytes that the hash chain covers: JSON in the order of the
// fields, with the time in UTC.
func encodeEntry(entry wallet.Entry) ([]byte, error) {
	entry.At = entry.At.UTC()
	return json.Marshal(entry)
}

// decodeEntry reads the bytes of a journal row.
func decodeEntry(encoded []byte) (wallet.Entry, error) {
	var entry wallet.Entry
	if err := json.Unmarshal(encoded, &entry); err != nil {
		return wallet.Entry{}, fmt.Errorf("%w: journal row: %w", ErrCorrupt, err)
	}
	return entry, nil
}

// chain is SHA-256(previous hash ‖ entry).
func chain(previous, encoded []byte) []byte {
	digest := sha256.New()
	digest.Write(previous)
	digest.Write(encoded)
	return digest.Sum(nil)
}

// terminalText is empty for the number that stands for "none yet", so that no
// record of a card ever matches it.
func terminalText(tid wallet.TerminalNumber) string {
	if tid == (wallet.TerminalNumber{}) {
		return ""
	}
	return tid.String()
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readMark(ctx context.Context, q queryer) (api.JournalMark, error) {
	var mark api.JournalMark
	var hash []byte
	err := q.QueryRowContext(ctx, `SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1`).Scan(&mark.Seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return api.JournalMark{Hash: make([]byte, sha256.Size)}, nil
	}
	mark.Hash = hash
	return mark, err
}

// Mark returns the journal's last sequence number and hash. An empty journal has
// number 0 and 32 zero bytes.
func (s *Store) Mark(ctx context.Context) (api.JournalMark, error) {
	mark, err := readMark(ctx, s.db)
	return mark, explain(err)
}

// Latest returns the newest entry of a key, and false where there is none.
func (s *Store) Latest(ctx context.Context, key string) (wallet.Entry, bool, error) {
	entries, err := s.entries(ctx, `SELECT j.entry FROM journal_head h JOIN journal j ON j.seq = h.last_seq WHERE h.key = ?`, key)
	if err != nil || len(entries) == 0 {
		return wallet.Entry{}, false, err
	}
	return entries[0], true, nil
}

// Entries returns the newest entry of every key that the filter lets through, the
// youngest order first.
func (s *Store) Entries(ctx context.Context, filter core.EntryFilter) ([]wallet.Entry, error) {
	conditions, args := []string{"1"}, []any{}
	if filter.OpenOnly {
		conditions = append(conditions, "NOT h.is_final")
	}
	if filter.ASN != nil {
		conditions, args = append(conditions, "h.asn = ?"), append(args, filter.ASN.String())
	}
	if filter.Order != "" {
		conditions, args = append(conditions, "h.order_no = ?"), append(args, filter.Order)
	}
	return s.entries(ctx, `SELECT j.entry FROM journal_head h JOIN journal j ON j.seq = h.last_seq
		WHERE `+strings.Join(conditions, " AND ")+` ORDER BY h.first_seq DESC`, args...)
}

// Trail returns all entries of one key, oldest first.
func (s *Store) Trail(ctx context.Context, key string) ([]wallet.Entry, error) {
	return s.entries(ctx, `SELECT entry FROM journal WHERE key = ? ORDER BY seq`, key)
}

func (s *Store) entries(ctx context.Context, query string, args ...any) ([]wallet.Entry, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", explain(err))
	}
	var entries []wallet.Entry
	err = each(rows, func(row scanner) error {
		var encoded []byte
		if err := row.Scan(&encoded); err != nil {
			return err
		}
		entry, err := decodeEntry(encoded)
		entries = append(entries, entry)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", explain(err))
	}
	return entries, nil
}

// VerifyChain reads the whole journal and checks that no row is missing or changed:
// numbers without holes, every hash, every transition, and that the columns by which
// entries are found say what the entries say. An error is ErrCorrupt with the place.
func (s *Store) VerifyChain(ctx context.Context) error {
	return s.read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT seq, key, stage, asn, order_no, tid, entry, hash FROM journal ORDER BY seq`)
		if err != nil {
			return err
		}
		check := chainCheck{last: make([]byte, sha256.Size), stages: map[string]wallet.Stage{}, heads: map[string]int64{}}
		if err := each(rows, check.row); err != nil {
			return err
		}
		return check.compareHeads(ctx, tx)
	})
}

// chainCheck is what VerifyChain remembers from row to row.
type chainCheck struct {
	seq    int64
	last   []byte
	stages map[string]wallet.Stage
	heads  map[string]int64
}

func (c *chainCheck) row(row scanner) error {
	var seq int64
	var key, stage, asn, order, tid string
	var encoded, hash []byte
	if err := row.Scan(&seq, &key, &stage, &asn, &order, &tid, &encoded, &hash); err != nil {
		return err
	}
	if seq != c.seq+1 {
		return fmt.Errorf("%w: journal row %d is missing", ErrCorrupt, c.seq+1)
	}
	if !bytes.Equal(hash, chain(c.last, encoded)) {
		return fmt.Errorf("%w: journal row %d does not fit its hash", ErrCorrupt, seq)
	}
	entry, err := decodeEntry(encoded)
	if err != nil {
		return err
	}
	if entry.Key != key || string(entry.Stage) != stage || entry.ASN.String() != asn || entry.Order != order || terminalText(entry.TID) != tid {
		return fmt.Errorf("%w: journal row %d is filed under another name", ErrCorrupt, seq)
	}
	if err := wallet.CheckFollows(c.stages[key], entry); err != nil {
		return fmt.Errorf("%w: journal row %d: %w", ErrCorrupt, seq, err)
	}
	c.seq, c.last, c.stages[key], c.heads[key] = seq, hash, entry.Stage, seq
	return nil
}

func (c *chainCheck) compareHeads(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT key, last_seq, is_final FROM journal_head`)
	if err != nil {
		return err
	}
	found := 0
	err = each(rows, func(row scanner) error {
		var key string
		var last int64
		var final bool
		if err := row.Scan(&key, &last, &final); err != nil {
			return err
		}
		if c.heads[key] != last || c.stages[key].Final() != final {
			return fmt.Errorf("%w: the newest journal row of %s is not the one noted", ErrCorrupt, key)
		}
		found++
		return nil
	})
	if err == nil && found != len(c.heads) {
		err = fmt.Errorf("%w: %d orders noted, %d in the journal", ErrCorrupt, found, len(c.heads))
	}
	return err
}

// Due returns the results that wait to be sent and whose time has come, those that
// wait longest first.
func (s *Store) Due(ctx context.Context, now time.Time) ([]core.OutboxRow, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT o.key, j.entry, o.tries, o.next_ns FROM outbox o JOIN journal j ON j.seq = o.seq
		WHERE o.next_ns <= ? ORDER BY o.next_ns, o.seq`, now.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", explain(err))
	}
	var due []core.OutboxRow
	err = each(rows, func(row scanner) error {
		outboxRow, err := scanOutboxRow(row)
		due = append(due, outboxRow)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", explain(err))
	}
	return due, nil
}

func scanOutboxRow(row scanner) (core.OutboxRow, error) {
	var outboxRow core.OutboxRow
	var encoded []byte
	var nextNS int64
	if err := row.Scan(&outboxRow.Key, &encoded, &outboxRow.Tries, &nextNS); err != nil {
		return core.OutboxRow{}, err
	}
	entry, err := decodeEntry(encoded)
	if err != nil {
		return core.OutboxRow{}, err
	}
	outboxRow.Entry = entry
	if nextNS != 0 {
		outboxRow.Next = time.Unix(0, nextNS).UTC()
	}
	return outboxRow, nil
}

// Delay notes a failed try of a result and when the next one may be made. A row
// that is no longer there was settled meanwhile, which is no error.
func (s *Store) Delay(ctx context.Context, key string, next time.Time) error {
	return s.exec(ctx, "outbox", `UPDATE outbox SET tries = tries + 1, next_ns = ? WHERE key = ?`, next.UnixNano(), key)
}

// Sent removes the row of a result that the platform has acknowledged.
func (s *Store) Sent(ctx context.Context, key string) error {
	return s.exec(ctx, "outbox", `DELETE FROM outbox WHERE key = ?`, key)
}

// exec runs one statement in a transaction of its own.
func (s *Store) exec(ctx context.Context, what, statement string, args ...any) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the %s: %w", what, err)
	}
	return nil
}

// PutReceipt keeps the platform's signed receipt of an order; a later receipt of
// the same order takes its place.
func (s *Store) PutReceipt(ctx context.Context, order string, receipt wallet.Signed) error {
	return s.exec(ctx, "receipt", `INSERT INTO receipt (order_no, payload, sig, kid) VALUES (?, ?, ?, ?)
		ON CONFLICT (order_no) DO UPDATE SET payload = excluded.payload, sig = excluded.sig, kid = excluded.kid`,
		order, notNil(receipt.Payload), notNil(receipt.Sig), receipt.KID)
}

// Receipt finds the kept receipt of an order, byte for byte as it was signed.
func (s *Store) Receipt(ctx context.Context, order string) (wallet.Signed, bool, error) {
	var receipt wallet.Signed
	err := s.db.QueryRowContext(ctx, `SELECT payload, sig, kid FROM receipt WHERE order_no = ?`, order).
		Scan(&receipt.Payload, &receipt.Sig, &receipt.KID)
	if errors.Is(err, sql.ErrNoRows) {
		return wallet.Signed{}, false, nil
	}
	if err != nil {
		return wallet.Signed{}, false, fmt.Errorf("read the receipt: %w", explain(err))
	}
	return receipt, true, nil
}

// notNil keeps an empty byte string from becoming NULL.
func notNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Setting returns a preference; an unknown name is "".
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.db.QueryRowContext(ctx, `SELECT value FROM setting WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, explain(err)
}

// PutSetting keeps a preference.
func (s *Store) PutSetting(ctx context.Context, name, value string) error {
	return s.exec(ctx, "setting", `INSERT INTO setting (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
}

// Settings returns all preferences by name.
func (s *Store) Settings(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT name, value FROM setting`)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", explain(err))
	}
	settings := map[string]string{}
	err = each(rows, func(row scanner) error {
		var name, value string
		err := row.Scan(&name, &value)
		settings[name] = value
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", explain(err))
	}
	return settings, nil
}
