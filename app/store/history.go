package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

// cardZone is the zone of the times on cards, which name none.
var cardZone = time.FixedZone("+08:00", 8*60*60)

// SaveReading merges the records into the history, whose identity of a record is
// (ASN, SFI, raw bytes), and keeps the card's values unless a newer reading is here.
// An empty list of records takes nothing away.
func (s *Store) SaveReading(ctx context.Context, reading core.SavedReading) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO card (asn, read_ns, number, profile, aid, balance, valid_from, valid_until, complete)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (asn) DO UPDATE SET read_ns = excluded.read_ns, number = excluded.number, profile = excluded.profile,
				aid = excluded.aid, balance = excluded.balance, valid_from = excluded.valid_from,
				valid_until = excluded.valid_until, complete = excluded.complete
			WHERE excluded.read_ns >= card.read_ns`,
			reading.ASN.String(), reading.At.UnixNano(), reading.Number, reading.Profile, notNil(reading.AID),
			int64(reading.Balance), reading.ValidFrom, reading.ValidUntil, reading.Complete)
		if err != nil {
			return err
		}
		if err := mergeRecords(ctx, tx, reading); err != nil || len(reading.Records) == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE history_version SET version = version + 1`)
		return err
	})
	if err != nil {
		return fmt.Errorf("save a reading: %w", err)
	}
	return nil
}

// mergeRecords inserts the oldest record first, so that among records of the same
// second the higher row number is the newer. What a record's bytes mean is written
// anew every time, because a later version of the program may know better.
func mergeRecords(ctx context.Context, tx *sql.Tx, reading core.SavedReading) error {
	if len(reading.Records) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO record (asn, sfi, raw, counter, type, amount, terminal, time_s, sort_s, problem)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (asn, sfi, raw) DO UPDATE SET counter = excluded.counter, type = excluded.type, amount = excluded.amount,
			terminal = excluded.terminal, time_s = excluded.time_s, problem = excluded.problem,
			sort_s = CASE WHEN excluded.time_s IS NULL THEN record.sort_s ELSE excluded.sort_s END`)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }() // the transaction ends right after
	sortS := sortTimes(reading)
	for i, record := range slices.Backward(reading.Records) {
		var timeS sql.NullInt64
		if !record.Time.IsZero() {
			timeS = sql.NullInt64{Int64: record.Time.Unix(), Valid: true}
		}
		_, err := insert.ExecContext(ctx, reading.ASN.String(), record.SFI, notNil(record.Raw), record.Counter, record.Type,
			int64(record.Amount), record.Terminal.String(), timeS, sortS[i], record.Problem)
		if err != nil {
			return err
		}
	}
	return nil
}

// sortTimes gives each record the Unix time by which it is ordered and filtered:
// its own, or that of the next older dated record, or of the next newer one, or of
// the reading. So a record with a broken date stays at its place in the log.
func sortTimes(reading core.SavedReading) []int64 {
	times := make([]int64, len(reading.Records))
	near := reading.At
	for _, record := range reading.Records { // the oldest dated one, for those behind it
		if !record.Time.IsZero() {
			near = record.Time
		}
	}
	for i, record := range slices.Backward(reading.Records) {
		if !record.Time.IsZero() {
			near = record.Time
		}
		times[i] = near.Unix()
	}
	return times
}

// Cards returns the newest reading of every card that was ever read here, without
// records, the card read last first.
func (s *Store) Cards(ctx context.Context) ([]core.SavedReading, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT asn, read_ns, number, profile, aid, balance, valid_from, valid_until, complete
		FROM card ORDER BY read_ns DESC, asn`)
	if err != nil {
		return nil, fmt.Errorf("read the cards: %w", explain(err))
	}
	var cards []core.SavedReading
	err = each(rows, func(row scanner) error {
		var card core.SavedReading
		var asn string
		var readNS int64
		err := row.Scan(&asn, &readNS, &card.Number, &card.Profile, (*[]byte)(&card.AID), &card.Balance, &card.ValidFrom, &card.ValidUntil, &card.Complete)
		if err != nil {
			return err
		}
		card.At = time.Unix(0, readNS).UTC()
		card.ASN, err = wallet.ParseASN(asn)
		cards = append(cards, card)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the cards: %w", explain(err))
	}
	return cards, nil
}

// orderOfRecord finds the order that a load's terminal number was leased for, where
// this computer's journal knows it. The number is for one use, hence no doubt.
const orderOfRecord = `CASE WHEN r.type IN (1, 2) THEN coalesce((SELECT j.order_no FROM journal j
	WHERE j.tid = r.terminal AND j.asn = r.asn AND j.tid <> '' AND j.order_no <> '' ORDER BY j.seq DESC LIMIT 1), '') ELSE '' END`

// History returns merged records, newest first. InFen counts loads (types 01 02),
// OutFen purchases, withdrawals and unloads (03 04 05 06 08 09); an overdraft
// change (07) is neither. A record without a date is filtered by its neighbour's.
func (s *Store) History(ctx context.Context, filter core.HistoryFilter) (core.History, error) {
	var history core.History
	err := s.read(ctx, func(tx *sql.Tx) error {
		where, args := recordConditions(filter)
		err := tx.QueryRowContext(ctx, `SELECT count(*),
				coalesce(sum(CASE WHEN r.type IN (1, 2) THEN r.amount END), 0),
				coalesce(sum(CASE WHEN r.type IN (3, 4, 5, 6, 8, 9) THEN r.amount END), 0)
			FROM record r WHERE `+where, args...).Scan(&history.Total, &history.InFen, &history.OutFen)
		if err != nil {
			return err
		}
		if history.Records, err = readRecords(ctx, tx, filter, where, args); err != nil {
			return err
		}
		history.Gaps, err = s.readGaps(ctx, tx, filter)
		return err
	})
	if err != nil {
		return core.History{}, fmt.Errorf("read the history: %w", err)
	}
	return history, nil
}

// recordConditions turns a filter into SQL over the table record, named r.
func recordConditions(filter core.HistoryFilter) (string, []any) {
	conditions, args := []string{"1"}, []any{}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if filter.ASN != nil {
		add("r.asn = ?", filter.ASN.String())
	}
	if !filter.From.IsZero() {
		add("r.sort_s >= ?", secondFrom(filter.From))
	}
	if !filter.To.IsZero() {
		add("r.sort_s < ?", secondFrom(filter.To))
	}
	if len(filter.Types) > 0 {
		marks := strings.TrimSuffix(strings.Repeat("?,", len(filter.Types)), ",")
		values := make([]any, len(filter.Types))
		for i, kind := range filter.Types {
			values[i] = int64(kind)
		}
		add("r.type IN ("+marks+")", values...)
	}
	if filter.Min != 0 {
		add("r.amount >= ?", int64(filter.Min))
	}
	if filter.Max != 0 {
		add("r.amount <= ?", int64(filter.Max))
	}
	if text := strings.TrimSpace(filter.Text); text != "" {
		// instr compares plainly: a typed % or _ is no pattern.
		add("(instr(r.terminal, upper(?)) > 0 OR instr(upper("+orderOfRecord+"), upper(?)) > 0)", text, text)
	}
	return strings.Join(conditions, " AND "), args
}

// secondFrom is the first whole second that is not before t.
func secondFrom(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

func readRecords(ctx context.Context, tx *sql.Tx, filter core.HistoryFilter, where string, args []any) ([]core.SavedRecord, error) {
	limit := filter.Limit
	if limit <= 0 {
		limit = -1 // SQLite's word for all
	}
	rows, err := tx.QueryContext(ctx, `SELECT r.asn, r.sfi, r.counter, r.type, r.amount, r.terminal, r.time_s, r.raw, r.problem, `+orderOfRecord+`
		FROM record r WHERE `+where+` ORDER BY r.sort_s DESC, r.id DESC LIMIT ? OFFSET ?`,
		append(slices.Clone(args), limit, max(filter.Offset, 0))...)
	if err != nil {
		return nil, err
	}
	var records []core.SavedRecord
	err = each(rows, func(row scanner) error {
		var record core.SavedRecord
		var asn, terminal string
		var timeS sql.NullInt64
		err := row.Scan(&asn, &record.SFI, &record.Counter, &record.Type, &record.Amount, &terminal, &timeS,
			(*[]byte)(&record.Raw), &record.Problem, &record.Order)
		if err != nil {
			return err
		}
		if timeS.Valid {
			record.Time = time.Unix(timeS.Int64, 0).In(cardZone)
		}
		if record.ASN, err = wallet.ParseASN(asn); err != nil {
			return err
		}
		if _, err := hex.Decode(record.Terminal[:], []byte(terminal)); err != nil {
			return fmt.Errorf("%w: terminal number of a record: %w", ErrCorrupt, err)
		}
		records = append(records, record)
		return nil
	})
	return records, err
}

// Values of the column record.kind.
const (
	kindOnline  = 1
	kindOffline = 2
)

// hole is a jump of one counter of one card between two sound records.
type hole struct {
	asn          wallet.ASN
	kind         int
	below, above int        // the counters on both sides
	fromS, toS   int64      // the times on both sides
	gaps         []core.Gap // what is missing between them
}

// readGaps finds the counters that no record shows. Only jumps between two records
// count, so that it does not matter whether a card logs its counter before or after
// adding one. Counters do not wrap: a card stops at FFFF (card dossier §2.7).
//
// A doubtful record fills a gap and never makes one. Some cards number loads and
// purchases in one sequence (card dossier §1.4): there a record of the other kind
// fills a gap too. Gaps are selected by card, by time and by types alone, since
// nobody knows the amount of what is missing.
//
// The search reads every record, so its result is kept until a reading changes it.
func (s *Store) readGaps(ctx context.Context, tx *sql.Tx, filter core.HistoryFilter) ([]core.Gap, error) {
	var version int64
	if err := tx.QueryRowContext(ctx, `SELECT version FROM history_version`).Scan(&version); err != nil {
		return nil, err
	}
	s.holesMutex.Lock()
	defer s.holesMutex.Unlock()
	if s.holes == nil || s.holesVersion != version {
		holes, err := findHoles(ctx, tx)
		if err != nil {
			return nil, err
		}
		s.holes, s.holesVersion = holes, version
	}
	var gaps []core.Gap
	for _, hole := range s.holes {
		if hole.selected(filter) {
			gaps = append(gaps, hole.gaps...)
		}
	}
	return gaps, nil
}

// findHoles returns all holes of all cards with the gaps that are in them.
func findHoles(ctx context.Context, tx *sql.Tx) ([]hole, error) {
	holes, err := readHoles(ctx, tx)
	if err != nil {
		return nil, err
	}
	shared := map[wallet.ASN]bool{}
	for i, hole := range holes {
		oneSequence, known := shared[hole.asn]
		if !known {
			if oneSequence, err = sharesCounter(ctx, tx, hole.asn); err != nil {
				return nil, err
			}
			shared[hole.asn] = oneSequence
		}
		filled, err := fillers(ctx, tx, hole, oneSequence)
		if err != nil {
			return nil, err
		}
		from := hole.below + 1
		for _, counter := range append(filled, hole.above) {
			if counter > from {
				holes[i].gaps = append(holes[i].gaps, core.Gap{ASN: hole.asn, Online: hole.kind == kindOnline, From: uint16(from), To: uint16(counter - 1)})
			}
			from = counter + 1
		}
	}
	return holes, nil
}

func readHoles(ctx context.Context, tx *sql.Tx) ([]hole, error) {
	rows, err := tx.QueryContext(ctx, `SELECT asn, kind, counter, next_counter, sort_s, next_sort_s FROM (
			SELECT asn, kind, counter, sort_s, lead(counter) OVER w AS next_counter, lead(sort_s) OVER w AS next_sort_s
			FROM record WHERE kind > 0 AND problem = '' WINDOW w AS (PARTITION BY asn, kind ORDER BY counter))
		WHERE next_counter > counter + 1 ORDER BY asn, kind, counter`)
	if err != nil {
		return nil, err
	}
	holes := []hole{} // not nil: "none" is a result that is kept, too
	err = each(rows, func(row scanner) error {
		var h hole
		var asn string
		if err := row.Scan(&asn, &h.kind, &h.below, &h.above, &h.fromS, &h.toS); err != nil {
			return err
		}
		var err error
		h.asn, err = wallet.ParseASN(asn)
		holes = append(holes, h)
		return err
	})
	return holes, err
}

func (h hole) selected(filter core.HistoryFilter) bool {
	if filter.ASN != nil && *filter.ASN != h.asn {
		return false
	}
	if !filter.From.IsZero() && h.toS < filter.From.Unix() || !filter.To.IsZero() && h.fromS >= secondFrom(filter.To) {
		return false
	}
	return len(filter.Types) == 0 || slices.ContainsFunc(filter.Types, func(kind byte) bool { return kindOf(kind) == h.kind })
}

// kindOf is the rule of the column record.kind.
func kindOf(recordType byte) int {
	switch recordType {
	case 0x01, 0x02, 0x03, 0x07:
		return kindOnline
	case 0x04, 0x05, 0x06, 0x09:
		return kindOffline
	}
	return 0
}

// sharesCounter reports whether a card's records look like one sequence: both kinds
// occur, no counter is in both, and their times rise with the counter across kinds.
func sharesCounter(ctx context.Context, tx *sql.Tx, asn wallet.ASN) (bool, error) {
	var kinds, disorder int
	err := tx.QueryRowContext(ctx, `SELECT count(DISTINCT kind), coalesce(sum(disorder), 0) FROM (
			SELECT kind, (lead(kind) OVER w <> kind AND lead(counter) OVER w = counter) OR lead(sort_s) OVER w < sort_s AS disorder
			FROM record WHERE asn = ? AND kind > 0 AND problem = '' WINDOW w AS (ORDER BY counter, sort_s))`, asn.String()).Scan(&kinds, &disorder)
	return kinds == 2 && disorder == 0, err
}

// fillers returns the counters inside a hole that some record shows after all.
func fillers(ctx context.Context, tx *sql.Tx, h hole, oneSequence bool) ([]int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT counter FROM record WHERE asn = ? AND counter > ? AND counter < ?
			AND (kind = ? OR (? AND kind > 0)) ORDER BY counter`, h.asn.String(), h.below, h.above, h.kind, oneSequence)
	if err != nil {
		return nil, err
	}
	var counters []int
	err = each(rows, func(row scanner) error {
		var counter int
		err := row.Scan(&counter)
		counters = append(counters, counter)
		return err
	})
	return counters, err
}
