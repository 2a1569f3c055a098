package sim

import "database/sql"

// checkTold: every transfer that changed a main account is told in one message, with the
// amount, and the last message of a person names the balance that there is. A restore
// loses postings and messages alike.
func (w *world) checkTold() {
	w.rows(`SELECT u.phone,
		(SELECT COUNT(*) FROM (SELECT 1 FROM postings WHERE account = 'main:' || u.user GROUP BY transfer HAVING SUM(amount) <> 0)),
		(SELECT COUNT(*) FROM messages m WHERE m.user = u.user AND m.kind = 'balance'),
		(SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = 'main:' || u.user),
		(SELECT COALESCE(SUM(m.facts ->> 'amount_fen'), 0) FROM messages m WHERE m.user = u.user AND m.kind = 'balance'),
		(SELECT COALESCE(m.facts ->> 'balance_fen', 0) FROM messages m WHERE m.user = u.user AND m.kind = 'balance' ORDER BY seq DESC LIMIT 1)
		FROM users u`, func(rows *sql.Rows) error {
		var phone string
		var changes, told int
		var has, sum, last int64
		if err := rows.Scan(&phone, &changes, &told, &has, &sum, &last); err != nil {
			return err
		}
		if changes != told || has != sum || has != last {
			w.fail("%s: %d changes of %d fen in all, told %d times as %d fen, the last balance as %d", phone, changes, has, told, sum, last)
		}
		return nil
	})
}
