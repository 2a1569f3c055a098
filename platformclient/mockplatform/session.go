package mockplatform

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

const (
	minVersion      = "0.0.0"
	maxDevices      = 3
	loginFails      = 5
	loginLock       = 30 * time.Minute
	smsLife         = 5 * time.Minute
	smsTries        = 5
	smsResendAfterS = 60
	policyLife      = 7 * 24 * time.Hour
)

// HashCost is what one password hash with Argon2id costs.
type HashCost struct {
	MemoryKiB uint32
	Passes    uint32
}

// DefaultHashCost is 19 MiB and two passes, the least that OWASP advises for
// Argon2id with one thread (Password Storage Cheat Sheet).
func DefaultHashCost() HashCost { return HashCost{MemoryKiB: 19 * 1024, Passes: 2} }

// hashPassword is Argon2id at the configured cost. Two run at a time, so that a
// flood of logins cannot take the memory of the platform.
func (p *Platform) hashPassword(password string, salt []byte) []byte {
	p.hashing <- struct{}{}
	defer func() { <-p.hashing }()
	cost := p.config.HashCost
	return argon2.IDKey([]byte(password), salt, cost.Passes, cost.MemoryKiB, 1, 32)
}

// peppered is HMAC-SHA-256 under a key that is not in the database. For six digits
// a slow hash would protect nothing, the pepper does.
func (p *Platform) peppered(purpose string, salt []byte, secret string) []byte {
	mac := hmac.New(sha256.New, p.secrets.Pepper)
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write(salt)
	mac.Write([]byte(secret))
	return mac.Sum(nil)
}

func hello(c *call) (reply, error) {
	now := c.p.now()
	greeting, err := c.p.sign(wallet.DomainHello, api.Hello{
		Time: now, Nonce: c.p.newNonce(now, c.p.epoch), Epoch: c.p.epoch, MinVersion: minVersion, Demo: c.p.secrets.Demo,
	})
	if err != nil {
		return reply{}, err
	}
	return success(greeting)
}

// sendSMSCode makes a code. A demo has no telephone network: its code is the one
// that stands in the platform profile. A new code voids the former one.
func sendSMSCode(c *call) (reply, error) {
	var request api.SMSRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if !c.p.secrets.Demo {
		return failure(http.StatusServiceUnavailable, api.CodeServiceClosed, "this platform has no channel for SMS"), nil
	}
	if request.Phone == "" || request.Purpose == "" {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "phone and purpose are needed"), nil
	}
	sent := api.SMSSent{CodeID: c.p.newID("S"), ResendAfterS: smsResendAfterS}
	err := c.update(func(tx *Tx) error {
		if err := tx.exec(`UPDATE sms_codes SET used = 1 WHERE phone = ? AND purpose = ?`, request.Phone, request.Purpose); err != nil {
			return err
		}
		return tx.exec(`INSERT INTO sms_codes (id, phone, purpose, mac, sent) VALUES (?, ?, ?, ?, ?)`, sent.CodeID, request.Phone,
			request.Purpose, c.p.peppered("sms", []byte(sent.CodeID), c.p.secrets.Credentials.SMSCode), c.p.now().UnixMilli())
	})
	if err != nil {
		return reply{}, err
	}
	return success(sent)
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
	if subtle.ConstantTimeCompare(mac, p.peppered("sms", []byte(code.CodeID), code.Code)) != 1 {
		return false, tx.exec(`UPDATE sms_codes SET tries = tries + 1 WHERE id = ?`, code.CodeID)
	}
	return true, tx.exec(`UPDATE sms_codes SET used = 1 WHERE id = ?`, code.CodeID)
}

// enrolDevice binds the key that signs this request to a phone number.
func enrolDevice(c *call) (reply, error) {
	var request api.DeviceRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if len(request.DeviceKey) != ed25519.PublicKeySize {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the device key has another form"), nil
	}
	public := ed25519.PublicKey(request.DeviceKey)
	if refusal, err := c.verify(func(string) (ed25519.PublicKey, error) { return public, nil }); err != nil || refusal != nil {
		if refusal != nil {
			return *refusal, err
		}
		return reply{}, err
	}
	user, refusal, err := c.checkLogin(request.Phone, request.LoginPWSeal)
	if err != nil || refusal != nil {
		if refusal != nil {
			return *refusal, err
		}
		return reply{}, err
	}
	var answer reply
	err = c.update(func(tx *Tx) error {
		good, err := c.p.useSMSCode(tx, request.Phone, "device", request.SMS)
		if err != nil {
			return err
		}
		if !good {
			answer = failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right")
			return nil
		}
		if fits, err := companionFits(tx, user.phone, request.CompanionSN, c.sender.thumbprint); err != nil || !fits {
			answer = refuseCompanion(request.CompanionSN, c.sender.thumbprint)
			return err
		}
		if err := c.p.strongLogin(tx, user); err != nil {
			return err
		}
		enrolled, err := c.p.addDevice(tx, user.id, request, public)
		if err != nil {
			return err
		}
		answer, err = success(enrolled)
		return err
	})
	return answer, err
}

// addDevice enrols a key. A fourth device replaces the one that was idle longest;
// a key that is enrolled already is only renewed, which also ends a suspicion of
// cloning.
func (p *Platform) addDevice(tx *Tx, user string, request api.DeviceRequest, public ed25519.PublicKey) (api.DeviceAnswer, error) {
	var answer api.DeviceAnswer
	now, thumbprint := p.now().UnixMilli(), api.Thumbprint(public)
	var owner string
	known, err := tx.row(`SELECT device, user FROM devices WHERE thumbprint = ?`, []any{thumbprint}, &answer.Device, &owner)
	if err != nil {
		return answer, err
	}
	if known {
		if owner != user {
			err = tx.exec(`DELETE FROM tokens WHERE device = ?`, answer.Device)
		}
		if err == nil {
			err = tx.exec(`DELETE FROM device_journals WHERE device = ?`, answer.Device)
		}
		if err == nil {
			// In the hands of another account it is a new device.
			err = tx.exec(`UPDATE devices SET enrolled = CASE WHEN user = ? THEN enrolled ELSE ? END, user = ?, name = ?, state = ?, last_used = ?
				WHERE device = ?`, user, now, user, request.DeviceName, stateActive, now, answer.Device)
		}
	} else {
		answer.Device = p.newID("D")
		err = tx.exec(`INSERT INTO devices (device, user, name, thumbprint, public_key, state, enrolled, last_used) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			answer.Device, user, request.DeviceName, thumbprint, []byte(public), stateActive, now, now)
	}
	if err != nil {
		return answer, err
	}
	if answer.Replaced, err = replaceIdleDevice(tx, user, answer.Device); err != nil {
		return answer, err
	}
	return answer, p.audit(tx, user, "device-enrolled", answer.Device, answer.Replaced)
}

func replaceIdleDevice(tx *Tx, user, fresh string) (string, error) {
	var active []string
	err := tx.each(`SELECT device FROM devices WHERE user = ? AND state = ? AND device <> ? ORDER BY last_used, enrolled`,
		[]any{user, stateActive, fresh}, func(rows *sql.Rows) error {
			var device string
			err := rows.Scan(&device)
			active = append(active, device)
			return err
		})
	if err != nil || len(active) < maxDevices {
		return "", err
	}
	if err := tx.exec(`UPDATE devices SET state = ? WHERE device = ?`, stateReplaced, active[0]); err != nil {
		return "", err
	}
	return active[0], tx.exec(`DELETE FROM tokens WHERE device = ?`, active[0])
}

// account is a row of users.
type account struct {
	id, phone, state, tier, companion string
	loginSalt, loginHash              []byte
	loginFails                        int
	loginLockedUntil                  int64
	paySalt, payMAC                   []byte
	payWrongs                         int
	payWrongDay                       string
}

const accountColumns = `user, phone, state, tier, companion, login_salt, login_hash, login_fails, login_locked_until,
	pay_salt, pay_mac, pay_wrongs, pay_wrong_day`

func findAccount(tx *Tx, where string, value string) (*account, error) {
	a := &account{}
	found, err := tx.row(`SELECT `+accountColumns+` FROM users WHERE `+where+` = ?`, []any{value},
		&a.id, &a.phone, &a.state, &a.tier, &a.companion, &a.loginSalt, &a.loginHash, &a.loginFails, &a.loginLockedUntil,
		&a.paySalt, &a.payMAC, &a.payWrongs, &a.payWrongDay)
	if err != nil || !found {
		return nil, err
	}
	return a, nil
}

// checkLogin opens the seal and compares the password outside of any transaction,
// since Argon2id takes its time; the counters are written in one of their own.
func (c *call) checkLogin(phone string, seal []byte) (*account, *reply, error) {
	wrong := refused(http.StatusForbidden, api.CodePasswordWrong, "phone number or password is not right")
	password, err := api.OpenLogin(c.p.sealKey, api.LoginBinding{
		Route: c.req.URL.Path, Thumbprint: c.sender.thumbprint, Nonce: c.sender.nonce, Phone: phone,
	}, seal)
	if err != nil {
		return nil, wrong, nil
	}
	var found *account
	if err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { found, err = findAccount(tx, "phone", phone); return err }); err != nil {
		return nil, nil, err
	}
	if found == nil {
		c.p.hashPassword(password, make([]byte, 16)) // an unknown number takes as long as a known one
		return nil, wrong, nil
	}
	if c.p.now().UnixMilli() < found.loginLockedUntil {
		return nil, refused(http.StatusForbidden, api.CodePasswordLocked, "too many wrong passwords; try again in 30 minutes"), nil
	}
	good := subtle.ConstantTimeCompare(c.p.hashPassword(password, found.loginSalt), found.loginHash) == 1
	err = c.p.store.Update(c.ctx, func(tx *Tx) error {
		if good {
			return tx.exec(`UPDATE users SET login_fails = 0, login_locked_until = 0 WHERE user = ?`, found.id)
		}
		if err := tx.exec(`UPDATE users SET login_fails = login_fails + 1 WHERE user = ?`, found.id); err != nil {
			return err
		}
		return tx.exec(`UPDATE users SET login_fails = 0, login_locked_until = ? WHERE user = ? AND login_fails >= ?`,
			c.p.now().Add(loginLock).UnixMilli(), found.id, loginFails)
	})
	if err != nil || !good {
		return nil, wrong, err
	}
	return found, nil, nil
}

func openSession(c *call) (reply, error) {
	var request api.SessionRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	user, refusal, err := c.checkLogin(request.Phone, request.LoginPWSeal)
	if err != nil || refusal != nil {
		if refusal != nil {
			return *refusal, err
		}
		return reply{}, err
	}
	if user.id != c.sender.user {
		return failure(http.StatusForbidden, api.CodeDeviceUnknown, "this device is enrolled for another account"), nil
	}
	return c.grantSession(request.Journal, nil)
}

func refreshSession(c *call) (reply, error) {
	var request api.RefreshRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	hash := sha256.Sum256([]byte(request.Refresh))
	return c.grantSession(request.Journal, hash[:])
}

// grantSession makes the session answer. A refresh token is used once.
func (c *call) grantSession(journal api.JournalMark, refresh []byte) (reply, error) {
	var answer reply
	err := c.update(func(tx *Tx) error {
		if refresh != nil {
			used, err := tx.changed(`DELETE FROM tokens WHERE hash = ? AND kind = 'refresh' AND device = ? AND expires > ?`,
				refresh, c.sender.device, c.p.now().UnixMilli())
			if err != nil {
				return err
			}
			if used == 0 {
				answer = failure(http.StatusUnauthorized, api.CodeNotLoggedIn, "the session has ended; log in again")
				return nil
			}
		}
		conflict, err := c.p.noteJournal(tx, c.sender.device, journal)
		if err != nil {
			return err
		}
		if conflict {
			answer = failure(http.StatusForbidden, api.CodeJournalConflict, "this profile exists twice; enrol the device again with an SMS code")
			return nil
		}
		if err := c.p.settleTimers(tx, c.sender.user); err != nil {
			return err
		}
		if err := c.p.noteActivity(tx, c.sender.user); err != nil {
			return err
		}
		session, err := c.p.newSession(tx, c.sender)
		if err != nil {
			return err
		}
		answer, err = success(session)
		return err
	})
	return answer, err
}

// noteJournal keeps (seq, hash) of a device's journal. The same seq with another
// hash is a cloned profile; a merely lower one is a late request and means nothing.
func (p *Platform) noteJournal(tx *Tx, device string, mark api.JournalMark) (conflict bool, err error) {
	if mark.Seq <= 0 || len(mark.Hash) == 0 {
		return false, nil
	}
	var kept []byte
	known, err := tx.row(`SELECT hash FROM device_journals WHERE device = ? AND seq = ?`, []any{device, mark.Seq}, &kept)
	switch {
	case err != nil:
		return false, err
	case !known:
		return false, tx.exec(`INSERT INTO device_journals (device, seq, hash) VALUES (?, ?, ?)`, device, mark.Seq, []byte(mark.Hash))
	case hmac.Equal(kept, mark.Hash):
		return false, nil
	}
	if err := tx.exec(`UPDATE devices SET state = ? WHERE device = ?`, stateCloned, device); err != nil {
		return true, err
	}
	if err := tx.exec(`DELETE FROM tokens WHERE device = ?`, device); err != nil {
		return true, err
	}
	return true, p.alarm(tx, api.CodeJournalConflict, device)
}

// journalMark reads the Wallet-Journal header, "seq:hash".
func journalMark(header string) (mark api.JournalMark) {
	seq, hash, found := strings.Cut(header, ":")
	number, err := strconv.ParseInt(seq, 10, 64)
	if !found || err != nil || mark.Hash.UnmarshalText([]byte(hash)) != nil {
		return api.JournalMark{}
	}
	mark.Seq = number
	return mark
}

func (p *Platform) newSession(tx *Tx, who sender) (api.SessionAnswer, error) {
	now := p.now()
	user, err := findAccount(tx, "user", who.user)
	if err != nil || user == nil {
		return api.SessionAnswer{}, err
	}
	answer := api.SessionAnswer{
		AccessExpires: now.Add(accessLife), Device: who.device, User: who.user, Phone: user.phone, Epoch: p.epoch,
	}
	answer.Nonce = p.newNonce(now, p.epoch)
	if err := tx.exec(`DELETE FROM tokens WHERE expires <= ?`, now.UnixMilli()); err != nil {
		return answer, err
	}
	if err := tx.exec(`DELETE FROM leases WHERE device = ? AND expires <= ?`, who.device, now.UnixMilli()); err != nil {
		return answer, err
	}
	if answer.AccessToken, err = p.newToken(tx, "access", who.device, answer.AccessExpires); err != nil {
		return answer, err
	}
	if answer.Refresh, err = p.newToken(tx, "refresh", who.device, now.Add(refreshLife)); err != nil {
		return answer, err
	}
	if err := tx.exec(`UPDATE devices SET last_used = ? WHERE device = ?`, now.UnixMilli(), who.device); err != nil {
		return answer, err
	}
	watermark, err := meta(tx, "watermark")
	if err != nil {
		return answer, err
	}
	if watermark != "" {
		if answer.BackupWatermark, err = time.Parse(time.RFC3339Nano, watermark); err != nil {
			return answer, err
		}
	}
	return answer, p.fillSession(tx, &answer)
}

// fillSession adds what the client caches: policy, scripts, leases, cards, orders.
func (p *Platform) fillSession(tx *Tx, answer *api.SessionAnswer) (err error) {
	policy := p.policy
	policy.Expires = p.now().Add(policyLife)
	if answer.Policy, err = p.sign(wallet.DomainPolicy, policy); err != nil {
		return err
	}
	answer.Scripts = p.scripts
	if answer.Leases, err = p.newLeases(tx, answer.Device, leasesPerSession); err != nil {
		return err
	}
	if answer.Cards, err = cardsOf(tx, answer.User); err != nil {
		return err
	}
	if answer.OpenOrders, err = openOrders(tx, `user = ?`, answer.User); err != nil {
		return err
	}
	answer.OpenPurchases, err = openPurchases(tx, `(user = ? OR asn IN (SELECT asn FROM cards WHERE user = ?))`, answer.User, answer.User)
	return err
}

func (p *Platform) newToken(tx *Tx, kind, device string, expires time.Time) (string, error) {
	token := base64.RawURLEncoding.EncodeToString(p.draw(32))
	hash := sha256.Sum256([]byte(token))
	return token, tx.exec(`INSERT INTO tokens (hash, kind, device, expires) VALUES (?, ?, ?, ?)`, hash[:], kind, device, expires.UnixMilli())
}

func endSession(c *call) (reply, error) {
	err := c.update(func(tx *Tx) error { return tx.exec(`DELETE FROM tokens WHERE device = ?`, c.sender.device) })
	return reply{http.StatusOK, json.RawMessage(`{}`)}, err
}
