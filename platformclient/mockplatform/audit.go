package mockplatform

import (
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/binary"
	"fmt"
)

// The audit log is append-only, and every row's hash covers the hash of the row
// before, so that a row that was edited, removed or put in between shows. It holds
// no password, seal, token, key or MAC2.

// auditRow is one row before it is chained.
type auditRow struct {
	seq     int64
	millis  int64
	actor   string // user, device or "admin"
	action  string
	subject string // order, card or user
	detail  string
}

// chain hashes the row behind its predecessor. Every text stands behind its length,
// so that no two rows have the same bytes.
func (r auditRow) chain(before []byte) []byte {
	hash := sha256.New()
	hash.Write(before)
	var number [8]byte
	for _, n := range []int64{r.seq, r.millis} {
		binary.BigEndian.PutUint64(number[:], uint64(n))
		hash.Write(number[:])
	}
	for _, text := range []string{r.actor, r.action, r.subject, r.detail} {
		binary.BigEndian.PutUint64(number[:], uint64(len(text)))
		hash.Write(number[:])
		hash.Write([]byte(text))
	}
	return hash.Sum(nil)
}

// audit appends one row in the transaction of what it tells.
func (p *Platform) audit(tx *Tx, actor, action, subject, detail string) error {
	row := auditRow{millis: p.now().UnixMilli(), actor: actor, action: action, subject: subject, detail: detail}
	var before []byte
	if _, err := tx.row(`SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`, nil, &row.seq, &before); err != nil {
		return err
	}
	row.seq++
	return tx.exec(`INSERT INTO audit (seq, time, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		row.seq, row.millis, row.actor, row.action, row.subject, row.detail, row.chain(before))
}

// alarm notes what people must look at, in the audit log and in a list of its own.
func (p *Platform) alarm(tx *Tx, code, subject string) error {
	if err := tx.exec(`INSERT INTO alarms (time, code, subject) VALUES (?, ?, ?)`, p.now().UnixMilli(), code, subject); err != nil {
		return err
	}
	return p.audit(tx, "platform", "alarm", subject, code)
}

// auditChain recomputes the chain: "ok", or the first row that is not as written.
func auditChain(tx *Tx) (string, error) {
	verdict := "ok"
	var before []byte
	next := int64(1)
	err := tx.each(`SELECT seq, time, actor, action, subject, detail, hash FROM audit ORDER BY seq`, nil, func(rows *sql.Rows) error {
		var row auditRow
		var hash []byte
		if err := rows.Scan(&row.seq, &row.millis, &row.actor, &row.action, &row.subject, &row.detail, &hash); err != nil {
			return err
		}
		want := row.chain(before)
		if verdict == "ok" && (row.seq != next || subtle.ConstantTimeCompare(hash, want) != 1) {
			verdict = fmt.Sprintf("row %d is not as it was written", min(row.seq, next))
		}
		before, next = want, row.seq+1
		return nil
	})
	return verdict, err
}
