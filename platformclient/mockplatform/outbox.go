package mockplatform

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// The outbox of messages to persons: a row is written in the transaction of what it
// tells and stays for good. A person reads the own messages; a channel, where there is
// one, carries them to the telephone, again and again until it has taken each; a demo
// has no telephone network, and shows what a telephone would.

const (
	messagesAtOnce  = 100
	deliverTimeout  = 5 * time.Second
	deliverPause    = time.Second      // after the first failure, doubled after each further one
	deliverLongest  = 15 * time.Minute // and never longer
	noticeUsable    = 3 * 24 * time.Hour
	largeLoad       = wallet.Fen(200_00) // a top-up above it is told as one that the person should know of
	metaSMS         = "sms"              // set once a channel carries messages
	metaSMSCarried  = "carried"
	delivererIdle   = time.Minute // other processes of the directory make messages as well
	deliverAtOnce   = 20
	messagePrefix   = "M"
	messageNameForm = "M%d-%d"
)

// SMSChannel carries messages to telephones. Send returns nil when the message is
// taken; after an error the same message comes again, so that whoever takes one twice
// knows it by its identifier. The message is data: the channel puts it into words.
// Facts.Code of an SMS code holds the code, and must be kept nowhere.
type SMSChannel interface {
	Send(ctx context.Context, phone string, message api.Message) error
}

// tell puts one message for a user into the outbox.
func (p *Platform) tell(tx *Tx, user, kind string, facts api.MessageFacts) error {
	raw, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	now := p.now().UnixMilli()
	return tx.exec(`INSERT INTO messages (epoch, user, phone, kind, facts, created, next, delivered)
		SELECT ?, user, phone, ?, ?, ?, ?, ? FROM users WHERE user = ?`, p.epoch, kind, string(raw), now, now, p.deliveredAtOnce(), user)
}

// tellBalance tells of one transfer that changed a main account; post alone calls it.
func (p *Platform) tellBalance(tx *Tx, t transfer, l leg, balance wallet.Fen) error {
	user := strings.TrimPrefix(l.account, prefixMain)
	err := p.tell(tx, user, api.NoticeBalance, api.MessageFacts{Posting: t.kind, Amount: l.amount, Balance: balance, Order: t.order})
	if err != nil || t.kind != postingLoadHold || -l.amount <= largeLoad {
		return err
	}
	return p.tell(tx, user, api.NoticeLargeLoad, api.MessageFacts{Amount: l.amount, Order: t.order})
}

// deliveredAtOnce is what stands in delivered of a new message: its time where nobody
// has to carry it, 0 where a channel does.
func (p *Platform) deliveredAtOnce() int64 {
	if p.carried {
		return 0
	}
	return p.now().UnixMilli()
}

// openOutbox learns whether messages are carried. A directory whose platform had a
// channel once keeps them for it, also while it is opened without one.
func (p *Platform) openOutbox(ctx context.Context) error {
	if p.config.SMS != nil {
		err := p.store.Update(ctx, func(tx *Tx) error { return setMeta(tx, metaSMS, metaSMSCarried) })
		if err != nil {
			return err
		}
	}
	return p.store.View(ctx, func(tx *Tx) error {
		value, err := meta(tx, metaSMS)
		p.carried = value == metaSMSCarried
		return err
	})
}

// messageRow is a row of messages.
type messageRow struct {
	seq, epoch, created int64
	phone, kind, facts  string
	codeID              string
	sealed              []byte
	tries               int
}

const messageColumns = `seq, epoch, created, phone, kind, facts, code_id, sealed, tries`

func scanMessage(rows *sql.Rows) (m messageRow, err error) {
	err = rows.Scan(&m.seq, &m.epoch, &m.created, &m.phone, &m.kind, &m.facts, &m.codeID, &m.sealed, &m.tries)
	return m, err
}

// message makes the form that leaves the platform. withCode adds the digits of a code
// that can still be used.
func (p *Platform) message(m messageRow, withCode bool) (api.Message, error) {
	shown := api.Message{ID: fmt.Sprintf(messageNameForm, m.epoch, m.seq), Time: time.UnixMilli(m.created).UTC(), Kind: m.kind}
	if err := json.Unmarshal([]byte(m.facts), &shown.Facts); err != nil {
		return shown, err
	}
	if withCode && m.sealed != nil && !p.codeExpired(m) {
		code, err := p.sealer.open("sms "+m.codeID, m.sealed)
		if err != nil {
			return shown, err
		}
		shown.Facts.Code = string(code)
	}
	return shown, nil
}

func (p *Platform) codeExpired(m messageRow) bool {
	return p.now().Sub(time.UnixMilli(m.created)) > smsLife
}

// readMessages reads at most messagesAtOnce messages that fit where, oldest first:
// those behind the one that after names, or the newest ones.
func (p *Platform) readMessages(tx *Tx, where string, args []any, after string, withCode bool) ([]api.Message, error) {
	order := "DESC"
	if after != "" {
		epoch, seq, ok := parseMessageName(after)
		if !ok {
			return nil, errMessageName
		}
		where, order = where+` AND (seq > ? OR epoch > ?)`, "ASC"
		args = append(args, seq, epoch)
	}
	found := []api.Message{}
	err := tx.each(`SELECT `+messageColumns+` FROM messages WHERE `+where+` ORDER BY seq `+order+` LIMIT `+strconv.Itoa(messagesAtOnce), args,
		func(rows *sql.Rows) error {
			m, err := scanMessage(rows)
			if err != nil {
				return err
			}
			one, err := p.message(m, withCode)
			if order == "DESC" {
				found = append([]api.Message{one}, found...)
			} else {
				found = append(found, one)
			}
			return err
		})
	return found, err
}

var errMessageName = errors.New("no message has this name")

func parseMessageName(name string) (epoch, seq int64, ok bool) {
	first, second, found := strings.Cut(strings.TrimPrefix(name, messagePrefix), "-")
	epoch, err1 := strconv.ParseInt(first, 10, 64)
	seq, err2 := strconv.ParseInt(second, 10, 64)
	return epoch, seq, found && errors.Join(err1, err2) == nil && strings.HasPrefix(name, messagePrefix)
}

// listMessages is GET /v1/messages: the person's own, of which none is a code.
func listMessages(c *call) (reply, error) {
	return c.showMessages(`user = ?`, []any{c.sender.user}, false)
}

// listDemoMessages is GET /v1/demo/messages: what the telephone with this number shows.
// It needs no login, as a telephone in one's hand does not; only a demo has it.
func listDemoMessages(c *call) (reply, error) {
	phone := c.req.URL.Query().Get("phone")
	if !c.p.secrets.Demo {
		return failure(http.StatusNotFound, api.CodeNotFound, "only a demo shows what telephones receive"), nil
	}
	if !api.ValidPhone(phone) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "phone is a mobile number"), nil
	}
	return c.showMessages(inboxWhere, []any{phone, phone}, true)
}

// inboxWhere finds the messages to a telephone: those of the account that has its number,
// and those that belong to no account. What went to a number that the person has given
// up stays there.
const inboxWhere = `user IN ('', (SELECT user FROM users WHERE phone = ?)) AND phone = ?`

func (c *call) showMessages(where string, args []any, withCode bool) (reply, error) {
	var told api.Messages
	err := c.p.store.View(c.ctx, func(tx *Tx) (err error) {
		told.Messages, err = c.p.readMessages(tx, where, args, c.req.URL.Query().Get("after"), withCode)
		return err
	})
	if errors.Is(err, errMessageName) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "after is the name of a message"), nil
	}
	if err != nil {
		return reply{}, err
	}
	return success(told)
}

// Inbox is what the telephone with this number would show, oldest first, SMS codes that
// can still be used included. Only a demo has it.
func (p *Platform) Inbox(ctx context.Context, phone string) (found []api.Message, err error) {
	if !p.secrets.Demo {
		return nil, ErrNotDemo
	}
	err = p.store.View(ctx, func(tx *Tx) error {
		found, err = p.readMessages(tx, inboxWhere, []any{phone, phone}, "", true)
		return err
	})
	return found, err
}

// DeliverMessages hands what is due to the channel and tells how much it took. Serve
// calls it all the time; tests may as well. A code that can no longer be used and a
// notice that is days old are given up.
func (p *Platform) DeliverMessages(ctx context.Context) (delivered int, err error) {
	if p.config.SMS == nil {
		return 0, nil
	}
	var due []messageRow
	err = p.store.View(ctx, func(tx *Tx) error {
		return tx.each(`SELECT `+messageColumns+` FROM messages WHERE delivered = 0 AND next <= ? ORDER BY next, seq LIMIT `+strconv.Itoa(deliverAtOnce),
			[]any{p.now().UnixMilli()}, func(rows *sql.Rows) error {
				m, err := scanMessage(rows)
				due = append(due, m)
				return err
			})
	})
	if err != nil {
		return 0, err
	}
	for _, m := range due {
		taken, failed := p.deliver(ctx, m)
		if taken {
			delivered++
		}
		err = errors.Join(err, failed)
	}
	return delivered, err
}

// deliver tries one message and writes down how it went.
func (p *Platform) deliver(ctx context.Context, m messageRow) (taken bool, err error) {
	age := p.now().Sub(time.UnixMilli(m.created))
	useless := age > noticeUsable || m.codeID != "" && (m.sealed == nil || p.codeExpired(m))
	if !useless {
		message, err := p.message(m, true)
		if err != nil {
			return false, err
		}
		sending, cancel := context.WithTimeout(ctx, deliverTimeout)
		taken = p.config.SMS.Send(sending, m.phone, message) == nil
		cancel()
	}
	now := p.now()
	return taken, p.store.Update(ctx, func(tx *Tx) error {
		if taken || useless {
			return tx.exec(`UPDATE messages SET delivered = ?, tries = tries + ? WHERE seq = ?`, now.UnixMilli(), map[bool]int{true: 1}[taken], m.seq)
		}
		pause := min(deliverPause<<min(m.tries, 16), deliverLongest)
		return tx.exec(`UPDATE messages SET next = ?, tries = tries + 1 WHERE seq = ?`, now.Add(pause).UnixMilli(), m.seq)
	})
}

// carry hands messages to the channel until ctx ends. It has nothing to do with the
// callbacks of merchants: a channel that is slow or broken holds up nothing else.
func (p *Platform) carry(ctx context.Context) {
	if p.config.SMS == nil {
		return
	}
	for {
		taken, _ := p.DeliverMessages(ctx) // the rows stay and are tried again
		pause := p.deliverPauseNow(ctx)
		if taken == deliverAtOnce {
			pause = 0
		}
		sleep := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			sleep.Stop()
			return
		case <-p.queued:
		case <-sleep.C:
		}
		sleep.Stop()
	}
}

func (p *Platform) deliverPauseNow(ctx context.Context) time.Duration {
	var next sql.NullInt64
	err := p.store.View(ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT MIN(next) FROM messages WHERE delivered = 0`, nil, &next)
		return err
	})
	if err != nil || !next.Valid {
		return delivererIdle
	}
	return min(max(time.UnixMilli(next.Int64).Sub(p.now()), deliverPause/10), delivererIdle)
}

// wakeCarrier lets carry look at the outbox now.
func (p *Platform) wakeCarrier() {
	if p.config.SMS == nil {
		return
	}
	select {
	case p.queued <- struct{}{}:
	default: // it is awake already
	}
}
