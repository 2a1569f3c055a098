package mockplatform

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Staff are persons with accounts of their own, apart from customers: other table,
// other passwords, other tokens, other routes. A session of one kind opens no route
// of the other.

const (
	staffLife        = 30 * time.Minute // of a session; it is not renewed
	staffPasswordMin = 10
	staffNameMax     = 40
	reasonMax        = 200
	stateDismissed   = "DISMISSED"
)

// Errors of the administration of staff.
var (
	ErrStaffName     = errors.New("a name has 1 to 40 letters, digits, dots or dashes")
	ErrStaffRole     = errors.New("a role is clerk or supervisor")
	ErrStaffPassword = fmt.Errorf("a password of staff has %d to %d bytes", staffPasswordMin, api.MaxPasswordLen)
	ErrStaffKnown    = errors.New("there is a member of staff of this name already")
	ErrStaffUnknown  = errors.New("there is no member of staff of this name")
)

// AddStaff makes an account of staff. Only the platform's own directory makes one:
// no route does.
func (p *Platform) AddStaff(ctx context.Context, name, role, password string) error {
	switch {
	case !staffName(name):
		return ErrStaffName
	case role != api.RoleClerk && role != api.RoleSupervisor:
		return ErrStaffRole
	case len(password) < staffPasswordMin || len(password) > api.MaxPasswordLen:
		return ErrStaffPassword
	}
	salt := p.draw(16)
	hash := p.hashPassword(password, salt)
	return p.store.Update(ctx, func(tx *Tx) error {
		known, err := findStaff(tx, "name", name)
		if err != nil {
			return err
		}
		if known != nil {
			return ErrStaffKnown
		}
		err = tx.exec(`INSERT INTO staff (staff, name, role, state, salt, hash, created) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			p.newID("P"), name, role, stateActive, salt, hash, p.now().UnixMilli())
		if err != nil {
			return err
		}
		return p.audit(tx, "admin", "staff-added", name, role)
	})
}

// DismissStaff ends an account of staff and its sessions. What the person did keeps
// the name.
func (p *Platform) DismissStaff(ctx context.Context, name string) error {
	return p.store.Update(ctx, func(tx *Tx) error {
		found, err := findStaff(tx, "name", name)
		if err != nil {
			return err
		}
		if found == nil || found.state != stateActive {
			return ErrStaffUnknown
		}
		if err := tx.exec(`UPDATE staff SET state = ? WHERE staff = ?`, stateDismissed, found.id); err != nil {
			return err
		}
		if err := tx.exec(`DELETE FROM staff_tokens WHERE staff = ?`, found.id); err != nil {
			return err
		}
		return p.audit(tx, "admin", "staff-dismissed", name, found.role)
	})
}

func staffName(name string) bool {
	if name == "" || utf8.RuneCountInString(name) > staffNameMax {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-'
	})
}

// staffMember is a row of staff.
type staffMember struct {
	id, name, role, state string
	salt, hash            []byte
	lockedUntil           int64
}

func findStaff(tx *Tx, where, value string) (*staffMember, error) {
	m := &staffMember{}
	found, err := tx.row(`SELECT staff, name, role, state, salt, hash, locked_until FROM staff WHERE `+where+` = ?`, []any{value},
		&m.id, &m.name, &m.role, &m.state, &m.salt, &m.hash, &m.lockedUntil)
	if err != nil || !found {
		return nil, err
	}
	return m, nil
}

// openStaffSession is POST /v1/staff/session.
func openStaffSession(c *call) (reply, error) {
	var request api.StaffLogin
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if len(request.DeviceKey) != ed25519.PublicKeySize {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the device key has another form"), nil
	}
	public := ed25519.PublicKey(request.DeviceKey)
	if refusal, err := c.verify(func(string) (ed25519.PublicKey, error) { return public, nil }); err != nil || refusal != nil {
		return deref(refusal), err
	}
	member, refusal, err := c.checkStaffLogin(request)
	if err != nil || refusal != nil {
		return deref(refusal), err
	}
	var answer reply
	err = c.update(func(tx *Tx) error {
		now := c.p.now()
		session := api.StaffSession{
			AccessToken: base64.RawURLEncoding.EncodeToString(c.p.draw(32)), Expires: now.Add(staffLife),
		}
		hash := sha256.Sum256([]byte(session.AccessToken))
		if err := tx.exec(`DELETE FROM staff_tokens WHERE expires <= ? OR thumbprint = ?`, now.UnixMilli(), c.sender.thumbprint); err != nil {
			return err
		}
		err := tx.exec(`INSERT INTO staff_tokens (hash, staff, thumbprint, public_key, expires) VALUES (?, ?, ?, ?, ?)`,
			hash[:], member.id, c.sender.thumbprint, []byte(public), session.Expires.UnixMilli())
		if err != nil {
			return err
		}
		if err := c.p.audit(tx, staffActor(member.name), "staff-login", member.name, member.role); err != nil {
			return err
		}
		if err := c.p.fillStaffSession(&session, *member); err != nil {
			return err
		}
		answer, err = success(session)
		return err
	})
	return answer, err
}

// checkStaffLogin is checkLogin for staff: the same hash, lock and silence about
// which half was wrong.
func (c *call) checkStaffLogin(request api.StaffLogin) (*staffMember, *reply, error) {
	wrong := refused(http.StatusForbidden, api.CodePasswordWrong, "name or password is not right")
	password, err := api.OpenLogin(c.p.sealKey, api.LoginBinding{
		Route: c.req.URL.Path, Thumbprint: c.sender.thumbprint, Nonce: c.sender.nonce, Phone: request.Name,
	}, request.PWSeal)
	if err != nil {
		return nil, wrong, nil
	}
	var found *staffMember
	if err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { found, err = findStaff(tx, "name", request.Name); return err }); err != nil {
		return nil, nil, err
	}
	if found == nil || found.state != stateActive {
		c.p.hashPassword(password, make([]byte, 16)) // an unknown name takes as long as a known one
		return nil, wrong, nil
	}
	if c.p.now().UnixMilli() < found.lockedUntil {
		return nil, refused(http.StatusForbidden, api.CodePasswordLocked, "too many wrong passwords; try again in 30 minutes"), nil
	}
	good := subtle.ConstantTimeCompare(c.p.hashPassword(password, found.salt), found.hash) == 1
	err = c.p.store.Update(c.ctx, func(tx *Tx) error {
		if good {
			return tx.exec(`UPDATE staff SET fails = 0, locked_until = 0 WHERE staff = ?`, found.id)
		}
		if err := tx.exec(`UPDATE staff SET fails = fails + 1 WHERE staff = ?`, found.id); err != nil {
			return err
		}
		locked, err := tx.changed(`UPDATE staff SET fails = 0, locked_until = ? WHERE staff = ? AND fails >= ?`,
			c.p.now().Add(loginLock).UnixMilli(), found.id, loginFails)
		if err != nil || locked == 0 {
			return err
		}
		return c.p.alarm(tx, "STAFF_LOCKED", found.name)
	})
	if err != nil || !good {
		return nil, wrong, err
	}
	return found, nil, nil
}

// fillStaffSession adds who is logged in and the scripts that settle at the counter.
func (p *Platform) fillStaffSession(session *api.StaffSession, member staffMember) error {
	session.Staff, session.Name, session.Role, session.Epoch = member.id, member.name, member.role, p.epoch
	for _, profile := range cardProfiles {
		for _, script := range []wallet.Script{openScript(profile), purchaseScript(profile)} {
			signed, err := p.sign(wallet.DomainScript, script)
			if err != nil {
				return err
			}
			session.Scripts = append(session.Scripts, signed)
		}
	}
	return nil
}

// authStaff wants a request signed by the key of a session of staff, with the token
// of this very session. Keys and tokens of customers are in other tables.
func authStaff(c *call) (*reply, error) {
	token, found := strings.CutPrefix(c.req.Header.Get(authorization), bearer)
	if !found {
		return refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "log in as staff first"), nil
	}
	hash := sha256.Sum256([]byte(token))
	var staff, thumbprint string
	var key []byte
	var expires int64
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT staff, thumbprint, public_key, expires FROM staff_tokens WHERE hash = ?`, []any{hash[:]},
			&staff, &thumbprint, &key, &expires)
		return err
	})
	if err != nil {
		return nil, err
	}
	if staff == "" || c.p.now().UnixMilli() >= expires {
		return refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "the session of staff has ended; log in again"), nil
	}
	refusal, err := c.verify(func(keyID string) (ed25519.PublicKey, error) {
		if keyID != thumbprint {
			return nil, errUnknownDevice
		}
		return key, nil
	})
	if err != nil || refusal != nil {
		return refusal, err
	}
	var member *staffMember
	if err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { member, err = findStaff(tx, "staff", staff); return err }); err != nil {
		return nil, err
	}
	if member == nil || member.state != stateActive {
		return refused(http.StatusUnauthorized, api.CodeNotLoggedIn, "this account of staff has ended"), nil
	}
	c.sender.staff, c.sender.staffName, c.sender.role = member.id, member.name, member.role
	c.sender.until = time.UnixMilli(expires).UTC()
	return nil, nil
}

// showStaffSession is GET /v1/staff/session: who works here, and the scripts.
func showStaffSession(c *call) (reply, error) {
	session := api.StaffSession{Expires: c.sender.until}
	err := c.p.fillStaffSession(&session, staffMember{id: c.sender.staff, name: c.sender.staffName, role: c.sender.role})
	if err != nil {
		return reply{}, err
	}
	return success(session)
}

func endStaffSession(c *call) (reply, error) {
	err := c.update(func(tx *Tx) error {
		if err := tx.exec(`DELETE FROM staff_tokens WHERE thumbprint = ?`, c.sender.thumbprint); err != nil {
			return err
		}
		return c.p.audit(tx, c.sender.actor(), "staff-logout", c.sender.staffName, "")
	})
	return reply{http.StatusOK, json.RawMessage(`{}`)}, err
}

func staffActor(name string) string { return "staff " + name }

// actor names the sender in the audit log.
func (s sender) actor() string {
	switch {
	case s.staff != "":
		return staffActor(s.staffName)
	case s.user == "":
		return "bearer of the grant"
	}
	return s.user
}

// needSupervisor refuses what a clerk may not do.
func (c *call) needSupervisor() *reply {
	if c.sender.role == api.RoleSupervisor {
		return nil
	}
	return refused(http.StatusForbidden, api.CodeStaffRole, refusalText(api.CodeStaffRole))
}

// needReason refuses an act whose reason is missing or no line of text.
func needReason(reason string) *reply {
	if strings.TrimSpace(reason) == "" || len(reason) > reasonMax || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return refused(http.StatusBadRequest, api.CodeBadRequest, "a reason of one line, at most 200 bytes, is needed")
	}
	return nil
}

// act writes what a member of staff did: who, what, why, before and after.
func (c *call) act(tx *Tx, action, subject, reason, before, after string) error {
	return c.p.audit(tx, c.sender.actor(), action, subject, fmt.Sprintf("%s: %q -> %q", reason, before, after))
}
