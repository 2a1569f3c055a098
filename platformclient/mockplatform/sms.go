package mockplatform

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"walletcompanion/platformclient/api"
)

const (
	smsLife        = 5 * time.Minute
	smsTries       = 5
	smsResendAfter = time.Minute
	smsKept        = 24 * time.Hour // how long a code's row counts
	smsPerHour     = 10             // codes to one phone number within an hour
	smsPerHost     = 30             // requests for codes, registrations and resets of one host within a minute
)

// SMSLimits bound how many codes are asked for. The zero value takes the defaults, 10
// and 30; only a platform whose person moves between many computers, or whose hosts are
// a load generator, takes more.
type SMSLimits struct {
	PhoneHour  int // codes to one phone number within an hour
	HostMinute int // requests of one host within a minute that need no account
}

func (l SMSLimits) orDefault() SMSLimits {
	if l.PhoneHour <= 0 {
		l.PhoneHour = smsPerHour
	}
	if l.HostMinute <= 0 {
		l.HostMinute = smsPerHost
	}
	return l
}

// sendSMSCode is POST /v1/sms-codes. Within a minute the code that was sent is named
// again and nothing more is sent; after it a new code voids the former one. Whether a
// phone number has an account cannot be seen from the answer.
func sendSMSCode(c *call) (reply, error) {
	var request api.SMSRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if !c.p.secrets.Demo && c.p.config.SMS == nil {
		return failure(http.StatusServiceUnavailable, api.CodeServiceClosed, "this platform has no channel for SMS"), nil
	}
	if !api.ValidPhone(request.Phone) || !slices.Contains(api.SMSPurposes, request.Purpose) || len(c.key) > 64 {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a mobile number and a purpose are needed"), nil
	}
	if refusal := c.limitHost(); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) (err error) {
		answer, err = c.once(tx, "sms "+request.Phone, func() (reply, bool, error) {
			return c.p.sendCode(tx, request)
		})
		return err
	})
	return answer, err
}

// limitHost refuses a host that asks too often for what needs no account.
func (c *call) limitHost() *reply {
	host, _, err := net.SplitHostPort(c.req.RemoteAddr)
	if err != nil {
		host = c.req.RemoteAddr
	}
	if c.p.visitors.allowUpTo(host, c.p.now(), c.p.config.SMSLimits.orDefault().HostMinute) {
		return nil
	}
	refusal := tooSoon(api.CodeBusy, "too many requests; try again in a minute", time.Minute)
	return &refusal
}

// tooSoon is a refusal that says when to come back.
func tooSoon(code, text string, wait time.Duration) reply {
	seconds := int((wait + time.Second - 1) / time.Second)
	answer, _ := encoded(http.StatusTooManyRequests, api.ErrorBody{Error: api.Error{Code: code, Text: text, RetryAfterS: seconds}})
	return answer
}

// once makes a change at most once under the request's key: a second request gets the
// stored bytes, and one with another body KEY_REUSED. A request without a key, or whose
// answer says that nothing is to be kept, is made anew each time.
func (c *call) once(tx *Tx, scope string, change func() (answer reply, keep bool, err error)) (reply, error) {
	if c.key == "" {
		answer, _, err := change()
		return answer, err
	}
	core := bodyCore(c.body)
	kept, err := c.p.stored(tx, scope, c.req.URL.Path, c.key)
	if err != nil {
		return reply{}, err
	}
	if kept != nil {
		return kept.replay(core[:]), nil
	}
	answer, keep, err := change()
	if err != nil || !keep {
		return answer, err
	}
	return answer, c.p.storeAnswer(tx, scope, c.req.URL.Path, c.key, core[:], answer)
}

// bodyCore is what tells a repeated request from another one under the same key.
func bodyCore(body []byte) [sha256.Size]byte { return sha256.Sum256(body) }

// sendCode makes a code and its message, unless one is young enough. Only what was
// sent is kept under the request's key.
func (p *Platform) sendCode(tx *Tx, request api.SMSRequest) (answer reply, sentNow bool, err error) {
	now := p.now()
	if err := tx.exec(`DELETE FROM sms_codes WHERE phone = ? AND sent < ?`, request.Phone, now.Add(-smsKept).UnixMilli()); err != nil {
		return reply{}, false, err
	}
	var former string
	var sent int64
	var tries int
	living, err := tx.row(`SELECT id, sent, tries FROM sms_codes WHERE phone = ? AND purpose = ? AND used = 0 ORDER BY sent DESC LIMIT 1`,
		[]any{request.Phone, request.Purpose}, &former, &sent, &tries)
	if err != nil {
		return reply{}, false, err
	}
	if wait := time.UnixMilli(sent).Add(smsResendAfter).Sub(now); living && wait > 0 {
		if tries >= smsTries {
			return tooSoon(api.CodeSMSTooSoon, "this code was tried too often; ask for another one in a minute", wait), false, nil
		}
		answer, err = success(api.SMSSent{CodeID: former, ResendAfterS: int((wait + time.Second - 1) / time.Second)})
		return answer, false, err
	}
	if wait, err := p.smsWait(tx, request.Phone, now); err != nil || wait > 0 {
		return tooSoon(api.CodeSMSTooSoon, "too many codes were sent to this number; try again later", wait), false, err
	}
	if living {
		if err := p.voidCode(tx, former); err != nil {
			return reply{}, false, err
		}
	}
	id, code := p.newID("S"), p.drawCode()
	err = tx.exec(`INSERT INTO sms_codes (id, phone, purpose, mac, sent) VALUES (?, ?, ?, ?, ?)`,
		id, request.Phone, request.Purpose, p.peppered("sms", []byte(id), code), now.UnixMilli())
	if err != nil {
		return reply{}, false, err
	}
	if err := p.queueCode(tx, request, id, code); err != nil {
		return reply{}, false, err
	}
	answer, err = success(api.SMSSent{CodeID: id, ResendAfterS: int(smsResendAfter / time.Second)})
	return answer, true, err
}

// smsWait is how long a phone number gets no further code.
func (p *Platform) smsWait(tx *Tx, phone string, now time.Time) (time.Duration, error) {
	var count int
	var oldest int64
	_, err := tx.row(`SELECT COUNT(*), COALESCE(MIN(sent), 0) FROM sms_codes WHERE phone = ? AND sent > ?`,
		[]any{phone, now.Add(-time.Hour).UnixMilli()}, &count, &oldest)
	if err != nil || count < p.config.SMSLimits.orDefault().PhoneHour {
		return 0, err
	}
	return time.UnixMilli(oldest).Add(time.Hour).Sub(now), nil
}

// queueCode puts the message with the code into the outbox, sealed. A number without an
// account gets codes to register only, so that nobody is pestered; the answer to the
// request is the same.
func (p *Platform) queueCode(tx *Tx, request api.SMSRequest, id, code string) error {
	found, err := findAccount(tx, "phone", request.Phone)
	if err != nil || found == nil && request.Purpose != api.PurposeRegister {
		return err
	}
	facts, err := json.Marshal(api.MessageFacts{Purpose: request.Purpose, CodeID: id})
	if err != nil {
		return err
	}
	// No user: what a code is for is no business of whoever has the account later.
	return tx.exec(`INSERT INTO messages (epoch, user, phone, kind, facts, code_id, sealed, created, next, delivered)
		VALUES (?, '', ?, ?, ?, ?, ?, ?, ?, ?)`, p.epoch, request.Phone, api.NoticeSMSCode, string(facts), id,
		p.sealer.seal("sms "+id, []byte(code)), p.now().UnixMilli(), p.now().UnixMilli(), p.deliveredAtOnce())
}

// drawCode draws six digits, each as likely as any other.
func (p *Platform) drawCode() string {
	const codes, whole = 1_000_000, 4_294_000_000 // the largest multiple of codes below 2³²
	for {
		if drawn := binary.BigEndian.Uint32(p.draw(4)); drawn < whole {
			return fmt.Sprintf("%06d", drawn%codes)
		}
	}
}

// useSMSCode checks a code once; wrong tries are counted.
func (p *Platform) useSMSCode(tx *Tx, phone, purpose string, code api.SMSCode) (bool, error) {
	var mac []byte
	var sent int64
	found, err := tx.row(`SELECT mac, sent FROM sms_codes WHERE id = ? AND phone = ? AND purpose = ? AND used = 0 AND tries < ?`,
		[]any{code.CodeID, phone, purpose, smsTries}, &mac, &sent)
	if err != nil || !found || p.now().Sub(time.UnixMilli(sent)) > smsLife {
		return false, err
	}
	good := subtle.ConstantTimeCompare(mac, p.peppered("sms", []byte(code.CodeID), code.Code)) == 1
	if !good {
		if good, err = p.isDemoCode(tx, phone, code.Code); err != nil {
			return false, err
		}
	}
	if !good {
		return false, tx.exec(`UPDATE sms_codes SET tries = tries + 1 WHERE id = ?`, code.CodeID)
	}
	return true, p.voidCode(tx, code.CodeID)
}

// isDemoCode: a user whom the administration of a demo made has demo credentials, the
// well-known code among them. It stands for a code that was asked for and is alive. Who
// registered has the code of the own telephone alone.
func (p *Platform) isDemoCode(tx *Tx, phone, code string) (bool, error) {
	if p.secrets.Credentials == nil || subtle.ConstantTimeCompare([]byte(p.secrets.Credentials.SMSCode), []byte(code)) != 1 {
		return false, nil
	}
	var seeded bool
	_, err := tx.row(`SELECT seeded FROM users WHERE phone = ?`, []any{phone}, &seeded)
	return seeded, err
}

// voidCode ends a code and forgets its digits.
func (p *Platform) voidCode(tx *Tx, id string) error {
	if err := tx.exec(`UPDATE sms_codes SET used = 1 WHERE id = ?`, id); err != nil {
		return err
	}
	return tx.exec(`UPDATE messages SET sealed = NULL WHERE code_id = ?`, id)
}
