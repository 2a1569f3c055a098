package mockplatform

import (
	"crypto/subtle"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// changeLoginPassword is POST /v1/passwords/login: by the old password, on a device of
// the account, or by an SMS code, on any computer. The sessions of all other devices end.
func changeLoginPassword(c *call) (reply, error) {
	var request api.LoginPasswordChange
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	if !api.ValidPhone(request.Phone) || (request.SMS == nil) == (len(request.OldSeal) == 0) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a mobile number, and either the old password or an SMS code are needed"), nil
	}
	if refusal := c.limitHost(); refusal != nil {
		return *refusal, nil
	}
	if _, refusal, err := c.bringsKey(request.DeviceKey); err != nil || refusal != nil {
		return deref(refusal), err
	}
	if kept, err := c.keptAnswer(); err != nil || kept != nil {
		return deref(kept), err
	}
	fresh, old, refusal := c.newLogin(request)
	if refusal != nil {
		return *refusal, nil
	}
	if request.SMS == nil {
		if refusal, err := c.knowsLogin(request.Phone, old); err != nil || refusal != nil {
			return deref(refusal), err
		}
	}
	var answer reply
	err := c.update(func(tx *Tx) (err error) {
		answer, err = c.once(tx, "device "+c.sender.thumbprint, func() (reply, bool, error) { return c.setLogin(tx, request, fresh) })
		return err
	})
	return answer, err
}

// keptAnswer finds what a request of this key was answered before, so that a repeated
// one does not try the old password again, which is no longer the right one.
func (c *call) keptAnswer() (found *reply, err error) {
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		kept, err := c.p.stored(tx, "device "+c.sender.thumbprint, c.req.URL.Path, c.key)
		if err == nil && kept != nil {
			core := bodyCore(c.body)
			answer := kept.replay(core[:])
			found = &answer
		}
		return err
	})
	return found, err
}

// newLogin opens and judges the new password; old is the one that was shown.
func (c *call) newLogin(request api.LoginPasswordChange) (fresh *credentials, old string, refusal *reply) {
	chosen, opened := c.openSeal(api.UseNewLogin, request.Phone, request.NewSeal)
	if request.SMS == nil {
		var oldOpened bool
		old, oldOpened = c.openSeal(api.UseLogin, request.Phone, request.OldSeal)
		opened = opened && oldOpened
	}
	if !opened {
		return nil, "", refused(http.StatusBadRequest, api.CodeBadRequest, "a seal was made for another request")
	}
	weak := api.JudgeLoginPassword(chosen, request.Phone)
	if weak == "" && chosen == old {
		weak = api.WeakUnchanged
	}
	if weak != "" {
		return nil, "", refuseWeak("login password", weak)
	}
	fresh = &credentials{loginSalt: c.p.draw(16)}
	fresh.loginHash = c.p.hashPassword(chosen, fresh.loginSalt)
	return fresh, old, nil
}

// knowsLogin checks the old password as a login does, on an enrolled device of the
// account. Who tries on another device learns nothing and locks nobody out.
func (c *call) knowsLogin(phone, old string) (*reply, error) {
	var state, owner string
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		_, err := tx.row(`SELECT d.state, u.phone FROM devices d JOIN users u ON u.user = d.user WHERE d.thumbprint = ?`,
			[]any{c.sender.thumbprint}, &state, &owner)
		return err
	})
	if err != nil {
		return nil, err
	}
	if state != stateActive || owner != phone {
		return refused(http.StatusForbidden, api.CodeDeviceUnknown, "this device is not enrolled for this account"), nil
	}
	_, refusal, err := c.comparePassword(phone, old)
	return refusal, err
}

// setLogin writes the new password and ends the sessions of the other devices.
func (c *call) setLogin(tx *Tx, request api.LoginPasswordChange, fresh *credentials) (reply, bool, error) {
	kind := api.NoticeLoginChanged
	if request.SMS != nil {
		kind = api.NoticeLoginReset
		good, err := c.p.useSMSCode(tx, request.Phone, api.PurposePassword, *request.SMS)
		if err != nil || !good {
			return failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), true, err
		}
	}
	account, err := findAccount(tx, "phone", request.Phone)
	if err != nil || account == nil { // a code for a number without account is never sent, and never right
		return failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), true, err
	}
	err = tx.exec(`UPDATE users SET login_salt = ?, login_hash = ?, login_fails = 0, login_locked_until = 0 WHERE user = ?`,
		fresh.loginSalt, fresh.loginHash, account.id)
	if err != nil {
		return reply{}, false, err
	}
	err = tx.exec(`DELETE FROM tokens WHERE device IN (SELECT device FROM devices WHERE user = ? AND thumbprint <> ?)`, account.id, c.sender.thumbprint)
	if err != nil {
		return reply{}, false, err
	}
	return c.toldPassword(tx, account.id, kind)
}

// toldPassword writes down that a password is another one, and tells its owner.
func (c *call) toldPassword(tx *Tx, user, kind string) (reply, bool, error) {
	if err := c.p.audit(tx, user, kind, user, c.sender.thumbprint); err != nil {
		return reply{}, false, err
	}
	if err := c.p.tell(tx, user, kind, api.MessageFacts{}); err != nil {
		return reply{}, false, err
	}
	return reply{http.StatusOK, []byte(`{}`)}, true, nil
}

// changePaymentPassword is POST /v1/passwords/payment: by the old password, which is
// counted as in a payment, or by an SMS code together with the login password.
func changePaymentPassword(c *call) (reply, error) {
	var request api.PaymentPasswordChange
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	if (request.SMS == nil) == (len(request.OldSeal) == 0) || (request.SMS == nil) != (len(request.LoginPWSeal) == 0) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "either the old password, or an SMS code with the login password is needed"), nil
	}
	if kept, err := c.keptAnswer(); err != nil || kept != nil {
		return deref(kept), err
	}
	var owner *account
	if err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { owner, err = findAccount(tx, "user", c.sender.user); return err }); err != nil {
		return reply{}, err
	}
	old, fresh, refusal := c.newPayment(request, owner.phone)
	if refusal != nil {
		return *refusal, nil
	}
	if request.SMS != nil {
		password, opened := c.openSeal(api.UseLogin, owner.phone, request.LoginPWSeal)
		if !opened {
			return failure(http.StatusBadRequest, api.CodeBadRequest, "a seal was made for another request"), nil
		}
		if _, refusal, err := c.comparePassword(owner.phone, password); err != nil || refusal != nil {
			return deref(refusal), err
		}
	}
	var answer reply
	err := c.update(func(tx *Tx) (err error) {
		answer, err = c.once(tx, "device "+c.sender.thumbprint, func() (reply, bool, error) { return c.setPayment(tx, request, old, fresh) })
		return err
	})
	return answer, err
}

// newPayment opens and judges the new digits; old are those that were shown.
func (c *call) newPayment(request api.PaymentPasswordChange, phone string) (old string, fresh *credentials, refusal *reply) {
	digits, opened := c.openSeal(api.UseNewPayment, phone, request.NewSeal)
	if request.SMS == nil {
		var oldOpened bool
		old, oldOpened = c.openSeal(api.UsePayment, phone, request.OldSeal)
		opened = opened && oldOpened
	}
	if !opened {
		return "", nil, refused(http.StatusBadRequest, api.CodeBadRequest, "a seal was made for another request")
	}
	weak := api.JudgePaymentPassword(digits, phone)
	if weak == "" && digits == old {
		weak = api.WeakUnchanged
	}
	if weak != "" {
		return "", nil, refuseWeak("payment password", weak)
	}
	fresh = &credentials{paySalt: c.p.draw(16)}
	fresh.payMAC = c.p.peppered("payment", fresh.paySalt, digits)
	return old, fresh, nil
}

// setPayment writes the new digits. A reset also ends a lock.
func (c *call) setPayment(tx *Tx, request api.PaymentPasswordChange, old string, fresh *credentials) (reply, bool, error) {
	owner, err := findAccount(tx, "user", c.sender.user)
	if err != nil || owner == nil {
		return reply{}, false, errOr(err, errUnknownDevice)
	}
	kind := api.NoticePaymentChanged
	if request.SMS != nil {
		kind = api.NoticePaymentReset
		good, err := c.p.useSMSCode(tx, owner.phone, api.PurposePassword, *request.SMS)
		if err != nil || !good {
			return failure(http.StatusForbidden, api.CodeSMSCodeWrong, "the SMS code is not right"), true, err
		}
	} else {
		left, err := c.p.tryPayment(tx, owner, old)
		if err != nil || left != payRight {
			return refusePayment(c.p, left), true, err
		}
	}
	err = tx.exec(`UPDATE users SET pay_salt = ?, pay_mac = ?, pay_wrongs = 0, pay_wrong_day = '' WHERE user = ?`,
		fresh.paySalt, fresh.payMAC, owner.id)
	if err != nil {
		return reply{}, false, err
	}
	return c.toldPassword(tx, owner.id, kind)
}

// What tryPayment returns besides the number of tries that are left.
const (
	payRight  = -1
	payLocked = -2
)

// tryPayment compares six digits with the payment password of an account: payRight,
// payLocked (nothing was compared), or how many tries are left until the next business
// day. The third wrong try of a day locks, and is told to the owner.
func (p *Platform) tryPayment(tx *Tx, owner *account, digits string) (left int, err error) {
	now := p.now()
	today, wrongs := businessDay(now), owner.payWrongs
	if owner.payWrongDay != today {
		wrongs = 0
	}
	if wrongs >= payTries {
		return payLocked, nil
	}
	if subtle.ConstantTimeCompare(p.peppered("payment", owner.paySalt, digits), owner.payMAC) == 1 {
		if owner.payWrongs == 0 {
			return payRight, nil
		}
		return payRight, tx.exec(`UPDATE users SET pay_wrongs = 0, pay_wrong_day = '' WHERE user = ?`, owner.id)
	}
	wrongs++
	if err := tx.exec(`UPDATE users SET pay_wrongs = ?, pay_wrong_day = ? WHERE user = ?`, wrongs, today, owner.id); err != nil {
		return 0, err
	}
	if left = payTries - wrongs; left > 0 {
		return left, nil
	}
	until := nextDay(now).UTC()
	return 0, p.tell(tx, owner.id, api.NoticePaymentLocked, api.MessageFacts{Until: &until})
}

// judgePassword compares the six digits that a seal of an order held. The third wrong
// try locks until the next business day.
func (p *Platform) judgePassword(tx *Tx, of *account, password openedSeal) (*refusal, error) {
	if of.payWrongDay == businessDay(p.now()) && of.payWrongs >= payTries {
		return lockedUntil(p), nil
	}
	if !password.opened {
		// A seal of another order tests no password, and costs no try.
		return refuse(api.CodeDeclined), nil
	}
	left, err := p.tryPayment(tx, of, password.digits)
	if err != nil || left == payRight {
		return nil, err
	}
	found := &refusal{code: api.CodePasswordWrong, state: wallet.OrderState{WrongsLeft: &left}}
	if left == 0 {
		reset := nextDay(p.now())
		found.state.RetryAfter = &reset
	}
	return found, nil
}

// refusePayment is the unsigned refusal of a payment password outside of an order.
func refusePayment(p *Platform, left int) reply {
	code, status := api.CodePasswordWrong, http.StatusForbidden
	failed := api.Error{TriesLeft: &left}
	if left == payLocked {
		code, status = api.CodePasswordLocked, http.StatusLocked
		failed.TriesLeft = nil
	}
	if left <= 0 {
		failed.RetryAfterS = int(nextDay(p.now()).Sub(p.now()) / time.Second)
	}
	failed.Code, failed.Text = code, refusalText(code)
	answer, _ := encoded(status, api.ErrorBody{Error: failed})
	return answer
}
