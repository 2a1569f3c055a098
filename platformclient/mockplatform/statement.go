package mockplatform

import (
	"database/sql"
	"net/http"
	"strconv"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// A statement shows the postings on a person's main account with the balance after
// each. No balance is stored anywhere: those of a page are sums of postings, one for
// its first line and one for every stretch between two lines, all walked in one index.

// statementLine is a line before its balance is known.
type statementLine struct {
	id   int64
	line api.StatementLine
}

// showStatement is GET /v1/statement: a page, newest first.
func showStatement(c *call) (answer reply, err error) {
	s, refusal := c.selected("from", "to", "type", "min", "max", "text", "order", "limit", "cursor")
	if refusal != nil {
		return *refusal, nil
	}
	var before int64
	if s.Cursor != "" {
		if before, err = strconv.ParseInt(s.Cursor, 10, 64); err != nil || before <= 0 {
			return failure(http.StatusBadRequest, api.CodeBadRequest, "the cursor is not one of this list"), nil
		}
	}
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		statement, err := statementPage(tx, mainAccount(c.sender.user), s, before)
		if err != nil {
			return err
		}
		answer, err = success(statement)
		return err
	})
	return answer, err
}

// statementPage reads the page of an account below a posting (0: the newest).
func statementPage(tx *Tx, account string, s *selection, before int64) (api.Statement, error) {
	s.and(`account = ?`, account)
	if before > 0 {
		s.and(`id < ?`, before)
	}
	if !s.from.IsZero() {
		s.and(`day >= ?`, businessDay(s.from))
	}
	if !s.to.IsZero() {
		s.and(`day < ?`, businessDay(s.to))
	}
	if s.Type != "" {
		s.and(`type = ?`, s.Type)
	}
	if s.Order != "" {
		s.and(`order_id = ?`, s.Order)
	}
	if s.Text != "" {
		s.and(`instr(order_id, ?) > 0`, s.Text)
	}
	s.amounts("amount")
	statement := api.Statement{Lines: []api.StatementLine{}}
	var lines []statementLine
	err := tx.each(`SELECT id, amount, type, order_id, time FROM postings WHERE `+s.condition()+` ORDER BY id DESC LIMIT ?`,
		append(s.args, s.Limit+1), func(rows *sql.Rows) error {
			var one statementLine
			var millis int64
			err := rows.Scan(&one.id, &one.line.Amount, &one.line.Type, &one.line.Order, &millis)
			one.line.Time = time.UnixMilli(millis).UTC()
			lines = append(lines, one)
			return err
		})
	if err != nil {
		return statement, err
	}
	if len(lines) > s.Limit {
		lines = lines[:s.Limit]
		statement.Page.Next = strconv.FormatInt(lines[s.Limit-1].id, 10)
	}
	return statement, addBalances(tx, account, lines, &statement)
}

// addBalances sums what lies between the lines of a page, from the newest down.
func addBalances(tx *Tx, account string, lines []statementLine, statement *api.Statement) error {
	var running wallet.Fen
	for i, one := range lines {
		low, high := int64(0), one.id
		if i > 0 {
			low, high = one.id, lines[i-1].id
		}
		var stretch wallet.Fen
		_, err := tx.row(`SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = ? AND id > ? AND id <= ?`, []any{account, low, high}, &stretch)
		if err != nil {
			return err
		}
		if i == 0 {
			running = stretch
		} else {
			running -= stretch
		}
		one.line.Balance = running
		statement.Lines = append(statement.Lines, one.line)
	}
	return nil
}
