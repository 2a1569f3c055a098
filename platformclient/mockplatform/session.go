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
	minVersion = "0.0.0"
	maxDevices = 3
	loginFails = 5
	loginLock  = 30 * time.Minute
	policyLife = 7 * 24 * time.Hour
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

// enrolDevice binds the key that signs this request to a phone number.
func enrolDevice(c *call) (reply, error) {
	var request api.DeviceRequest
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if !validDeviceName(request.DeviceName) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the name of the computer has 1 to 64 characters"), nil
	}
	public, refusal, err := c.bringsKey(request.DeviceKey)
	if err != nil || refusal != nil {
		return deref(refusal), err
	}
	user, refusal, err := c.checkLogin(request.Phone, request.LoginPWSeal)
	if err != nil || refusal != nil {
		if refusal != nil {
			return *refusal, err
		}
		return reply{}, err
	}
	var answer reply
	err = c.update(func(tx *Tx) (err error) {
		answer, err = c.once(tx, "device "+c.sender.thumbprint, func() (reply, bool, error) { return c.enrol(tx, user, request, public) })
		return err
	})
	return answer, err
}

// enrol is the part of enrolDevice that changes something.
func (c *call) enrol(tx *Tx, user *account, request api.DeviceRequest, public ed25519.PublicKey) (reply, bool, error) {
	good, err := c.p.useSMSCode(tx, request.Phone, api.PurposeDevice, request.SMS)
	if err != nil || !good {
		return failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), true, err
	}
	if fits, err := companionFits(tx, user.phone, request.CompanionSN, c.sender.thumbprint); err != nil || !fits {
		return refuseCompanion(request.CompanionSN, c.sender.thumbprint), true, err
	}
	if err := c.p.strongLogin(tx, user); err != nil {
		return reply{}, false, err
	}
	enrolled, err := c.p.addDevice(tx, user.id, request, public)
	if err != nil {
		return reply{}, false, err
	}
	replaced, err := deviceNamed(tx, enrolled.Replaced)
	if err != nil {
		return reply{}, false, err
	}
	if err := c.p.tell(tx, user.id, api.NoticeDeviceAdded, api.MessageFacts{Device: request.DeviceName, Replaced: replaced}); err != nil {
		return reply{}, false, err
	}
	answer, err := success(enrolled)
	return answer, true, err
}

// addDevice enrols a key. A fourth device replaces the one that was idle longest;
// a key that is enrolled already is only renewed, which also ends a suspicion of
// cloning. A key that comes from another account, or that was revoked, counts as new.
func (p *Platform) addDevice(tx *Tx, user string, request api.DeviceRequest, public ed25519.PublicKey) (api.DeviceAnswer, error) {
	var answer api.DeviceAnswer
	now, thumbprint := p.now().UnixMilli(), api.Thumbprint(public)
	var owner, state string
	var enrolled int64
	known, err := tx.row(`SELECT device, user, state, enrolled FROM devices WHERE thumbprint = ?`, []any{thumbprint},
		&answer.Device, &owner, &state, &enrolled)
	if err != nil {
		return answer, err
	}
	if known {
		if owner != user {
			err = p.takeDevice(tx, answer.Device, owner)
		}
		if owner != user || state == api.DeviceRevoked || state == stateReplaced {
			enrolled = now
		}
		if err == nil {
			err = tx.exec(`DELETE FROM device_journals WHERE device = ?`, answer.Device)
		}
		if err == nil {
			err = tx.exec(`UPDATE devices SET user = ?, name = ?, state = ?, enrolled = ?, last_used = ? WHERE device = ?`,
				user, request.DeviceName, stateActive, enrolled, now, answer.Device)
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

// takeDevice ends what a key has with the account that it leaves for another one.
func (p *Platform) takeDevice(tx *Tx, device, owner string) error {
	if err := tx.exec(`DELETE FROM tokens WHERE device = ?`, device); err != nil {
		return err
	}
	name, err := deviceNamed(tx, device)
	if err != nil {
		return err
	}
	return p.tell(tx, owner, api.NoticeDeviceRevoked, api.MessageFacts{Device: name})
}

// deviceNamed is the name that people gave a device; "" where there is none.
func deviceNamed(tx *Tx, device string) (name string, err error) {
	_, err = tx.row(`SELECT name FROM devices WHERE device = ?`, []any{device}, &name)
	return name, err
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

// checkLogin opens the seal of a login and compares the password.
func (c *call) checkLogin(phone string, seal []byte) (*account, *reply, error) {
	password, err := api.OpenLogin(c.p.sealKey, api.LoginBinding{
		Route: c.req.URL.Path, Thumbprint: c.sender.thumbprint, Nonce: c.sender.nonce, Phone: phone,
	}, seal)
	if err != nil {
		return nil, wrongLogin(), nil
	}
	return c.comparePassword(phone, password)
}

func wrongLogin() *reply {
	return refused(http.StatusForbidden, api.CodeLoginWrong, "phone number or password is not right")
}

// comparePassword compares a login password outside of any transaction, since Argon2id
// takes its time; the counters are written in one of their own. The fifth wrong one
// locks, and is told to the owner.
func (c *call) comparePassword(phone, password string) (*account, *reply, error) {
	var found *account
	if err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { found, err = findAccount(tx, "phone", phone); return err }); err != nil {
		return nil, nil, err
	}
	if found == nil {
		c.p.hashPassword(password, make([]byte, 16)) // an unknown number takes as long as a known one
		return nil, wrongLogin(), nil
	}
	if c.p.now().UnixMilli() < found.loginLockedUntil {
		return nil, refused(http.StatusForbidden, api.CodeLoginLocked, "too many wrong passwords; try again in 30 minutes"), nil
	}
	good := subtle.ConstantTimeCompare(c.p.hashPassword(password, found.loginSalt), found.loginHash) == 1
	err := c.p.store.Update(c.ctx, func(tx *Tx) error {
		if good {
			return tx.exec(`UPDATE users SET login_fails = 0, login_locked_until = 0 WHERE user = ?`, found.id)
		}
		return c.p.countWrongLogin(tx, found.id)
	})
	if err != nil || !good {
		return nil, wrongLogin(), err
	}
	return found, nil, nil
}

func (p *Platform) countWrongLogin(tx *Tx, user string) error {
	if err := tx.exec(`UPDATE users SET login_fails = login_fails + 1 WHERE user = ?`, user); err != nil {
		return err
	}
	until := p.now().Add(loginLock)
	locked, err := tx.changed(`UPDATE users SET login_fails = 0, login_locked_until = ? WHERE user = ? AND login_fails >= ?`,
		until.UnixMilli(), user, loginFails)
	if err != nil || locked == 0 {
		return err
	}
	return p.tell(tx, user, api.NoticeLoginLocked, api.MessageFacts{Until: &until})
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
	if err := p.tellSuspected(tx, device); err != nil {
		return true, err
	}
	return true, p.alarm(tx, api.CodeJournalConflict, device)
}

func (p *Platform) tellSuspected(tx *Tx, device string) error {
	var user, name string
	if _, err := tx.row(`SELECT user, name FROM devices WHERE device = ?`, []any{device}, &user, &name); err != nil {
		return err
	}
	return p.tell(tx, user, api.NoticeDeviceSuspected, api.MessageFacts{Device: name})
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
