package mockplatform

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

const (
	voucherTries    = 5         // wrong PINs per person and per serial
	voucherTryTime  = time.Hour // within this time
	voucherLife     = 3         // years of vouchers that a demo makes
	voucherParty    = "demo"
	voucherRowsOnce = 400 // rows of one INSERT
)

// Errors of the administration of vouchers.
var (
	ErrVoucherBatch  = errors.New("another file was imported under this batch number")
	ErrVoucherSerial = errors.New("a serial of this file is known from another batch")
	ErrVoucherNone   = errors.New("there is no such voucher or batch")
	ErrVoucherValue  = errors.New("vouchers are worth 10, 20, 30, 50 or 100 yuan")
	ErrVoucherCount  = fmt.Errorf("a file holds 1 to %d vouchers", recordsMax)
	ErrVoucherWhich  = errors.New("either a serial or a batch has to be named")
)

// voucherSource redeems vouchers. It knows at once, in the transaction that credits,
// and is never asked later.
type voucherSource struct{ p *Platform }

// start redeems a voucher. That a serial exists is told to nobody who has not got its
// PIN: an unknown serial and a wrong PIN are one refusal, and count alike.
func (s voucherSource) start(ask *fundingAsk) (fundingNews, error) {
	p, tx, source := s.p, ask.tx, ask.request.Source
	ask.funding.ref = source.Serial
	if !voucherNumber(source.Serial) {
		return refuseFunding(api.CodeVoucherWrong), nil
	}
	locked, err := p.voucherLocked(tx, ask.account.id, source.Serial)
	if err != nil || locked != nil {
		return fundingNews{event: rules.FundingRefused, refusal: locked}, err
	}
	if !ask.pin.opened {
		// A seal of another voucher, device or key tests no PIN, and costs no try.
		return refuseFunding(api.CodeDeclined), nil
	}
	v, err := findVoucher(tx, source.Serial)
	if err != nil {
		return fundingNews{}, err
	}
	if !p.voucherPIN(v, source.Serial, ask.pin.digits) {
		wrong, err := p.countWrongPIN(tx, ask.account.id, source.Serial)
		return fundingNews{event: rules.FundingRefused, refusal: wrong}, err
	}
	if code, err := p.redeem(tx, v, ask); err != nil || code != "" {
		return refuseFunding(code), err
	}
	ask.funding.amount = v.value
	return fundingNews{event: rules.FundingPaid}, nil
}

func (s voucherSource) ask(context.Context, funding) (fundingNews, error) {
	return fundingNews{event: rules.FundingSilent}, nil
}

func (s voucherSource) giveUp(context.Context, funding) (fundingNews, error) {
	return fundingNews{event: rules.FundingSilent}, nil
}

// voucher is a row of vouchers.
type voucher struct {
	serial  string
	value   wallet.Fen
	pinMAC  []byte
	state   rules.VoucherState
	expires time.Time
}

func findVoucher(tx *Tx, serial string) (*voucher, error) {
	v := &voucher{}
	var state string
	var expires int64
	found, err := tx.row(`SELECT serial, value, pin_mac, state, expires FROM vouchers WHERE serial = ?`, []any{serial},
		&v.serial, &v.value, &v.pinMAC, &state, &expires)
	if err != nil || !found {
		return nil, err
	}
	v.state, v.expires = rules.VoucherState(state), time.UnixMilli(expires).UTC()
	return v, nil
}

// voucherPIN compares in the time that an unknown serial takes as well.
func (p *Platform) voucherPIN(v *voucher, serial, pin string) bool {
	wanted := make([]byte, 32)
	if v != nil {
		wanted = v.pinMAC
	}
	same := subtle.ConstantTimeCompare(p.peppered("voucher", []byte(serial), pin), wanted) == 1
	return v != nil && same
}

// redeem uses the voucher up, or gives the code of the refusal. The state is compared
// once more in the statement that changes it.
func (p *Platform) redeem(tx *Tx, v *voucher, ask *fundingAsk) (code string, err error) {
	now := p.now()
	if next, allowed := rules.NextVoucher(v.state, rules.VoucherExpire); allowed && !now.Before(v.expires) {
		if _, err := setVoucher(tx, v, next, "", now); err != nil {
			return "", err
		}
		v.state = next
	}
	next, allowed := rules.NextVoucher(v.state, rules.VoucherRedeem)
	switch {
	case !allowed:
		return voucherRefusals[v.state], nil
	case ask.request.Amount != 0 && ask.request.Amount != v.value:
		return api.CodeVoucherValue, nil
	}
	done, err := setVoucher(tx, v, next, ask.funding.id, now)
	if err == nil && !done {
		err = errors.New("the voucher changed while it was redeemed")
	}
	return "", err
}

// voucherRefusals say why a voucher of a state cannot be redeemed, to who has its PIN.
var voucherRefusals = map[rules.VoucherState]string{
	rules.VoucherNew: api.CodeVoucherInactive, rules.VoucherUsed: api.CodeVoucherUsed,
	rules.VoucherBlocked: api.CodeVoucherBlocked, rules.VoucherExpired: api.CodeVoucherExpired,
}

// setVoucher changes a voucher that still is in the state that was read.
func setVoucher(tx *Tx, v *voucher, next rules.VoucherState, funding string, now time.Time) (bool, error) {
	changed, err := tx.changed(`UPDATE vouchers SET state = ?, funding = ?, changed = ? WHERE serial = ? AND state = ?`,
		string(next), funding, now.UnixMilli(), v.serial, string(v.state))
	return changed == 1, err
}

// voucherSubjects are what wrong PINs are counted by: a person who tries many
// vouchers, and a voucher that many persons try.
func voucherSubjects(user, serial string) []string {
	return []string{"user " + user, "serial " + serial}
}

// wrongPINs counts the wrong PINs of a subject within the last hour, and tells when
// the oldest of them is forgotten.
func (p *Platform) wrongPINs(tx *Tx, subject string) (count int, free time.Time, err error) {
	var oldest int64
	_, err = tx.row(`SELECT COUNT(*), COALESCE(MIN(time), 0) FROM voucher_wrongs WHERE subject = ? AND time > ?`,
		[]any{subject, p.now().Add(-voucherTryTime).UnixMilli()}, &count, &oldest)
	return count, time.UnixMilli(oldest).UTC().Add(voucherTryTime), err
}

// voucherLocked refuses further tries after too many wrong PINs.
func (p *Platform) voucherLocked(tx *Tx, user, serial string) (*refusal, error) {
	for _, subject := range voucherSubjects(user, serial) {
		count, free, err := p.wrongPINs(tx, subject)
		if err != nil {
			return nil, err
		}
		if count >= voucherTries {
			none := 0
			return &refusal{code: api.CodeVoucherLocked, state: wallet.OrderState{RetryAfter: &free, WrongsLeft: &none}}, nil
		}
	}
	return nil, nil
}

func (p *Platform) countWrongPIN(tx *Tx, user, serial string) (*refusal, error) {
	now := p.now()
	if err := tx.exec(`DELETE FROM voucher_wrongs WHERE time <= ?`, now.Add(-voucherTryTime).UnixMilli()); err != nil {
		return nil, err
	}
	left := voucherTries
	found := &refusal{code: api.CodeVoucherWrong}
	for _, subject := range voucherSubjects(user, serial) {
		if err := tx.exec(`INSERT INTO voucher_wrongs (subject, time) VALUES (?, ?)`, subject, now.UnixMilli()); err != nil {
			return nil, err
		}
		count, free, err := p.wrongPINs(tx, subject)
		if err != nil {
			return nil, err
		}
		left = min(left, max(0, voucherTries-count))
		if left == 0 {
			found.state.RetryAfter = &free
		}
	}
	found.state.WrongsLeft = &left
	if left > 0 {
		return found, nil
	}
	return found, p.alarm(tx, api.CodeVoucherLocked, serial)
}

// MakeVouchers writes a file of new vouchers of a face value with their PINs. Only a
// demo makes vouchers; they are worth something once the file is imported.
func (p *Platform) MakeVouchers(target io.Writer, valueFen wallet.Fen, count int) (batch string, err error) {
	switch {
	case !p.secrets.Demo:
		return "", ErrNotDemo
	case !slices.Contains(VoucherValues, valueFen):
		return "", ErrVoucherValue
	case count < 1 || count > recordsMax:
		return "", ErrVoucherCount
	}
	now := p.now()
	file := &voucherFile{
		recordHeader: recordHeader{party: voucherParty, date: businessDay(now), batch: businessDay(now) + "-" + p.newID("")},
		expires:      nextDay(now).AddDate(voucherLife, 0, 0),
	}
	seen := map[string]bool{}
	for len(file.vouchers) < count {
		serial := randomDigits(voucherDigits)
		if !seen[serial] {
			seen[serial] = true
			file.vouchers = append(file.vouchers, fileVoucher{serial: serial, pin: randomDigits(voucherDigits), value: valueFen})
		}
	}
	return file.batch, writeVoucherFile(target, file)
}

// VoucherImport is what became of a file.
type VoucherImport struct {
	Batch    string     `json:"batch"`
	Count    int        `json:"count"`    // vouchers in the file
	Imported int        `json:"imported"` // of them new; 0: this very file was imported before
	SumFen   wallet.Fen `json:"sumFen"`   // of the file
	State    string     `json:"state"`    // of the imported ones
}

// ImportVouchers takes a file of vouchers in, whole or not at all. hold leaves them
// NEW; otherwise they may be redeemed at once. The same file again imports nothing.
func (p *Platform) ImportVouchers(ctx context.Context, source io.Reader, hold bool) (VoucherImport, error) {
	file, err := readVoucherFile(source)
	if err != nil {
		return VoucherImport{}, err
	}
	state := rules.VoucherActive
	if hold {
		state = rules.VoucherNew
	}
	result := VoucherImport{Batch: file.batch, Count: len(file.vouchers), SumFen: file.sum, State: string(state)}
	macs := make([][]byte, len(file.vouchers)) // before others have to wait for the write lock
	for i, v := range file.vouchers {
		macs[i] = p.peppered("voucher", []byte(v.serial), v.pin)
	}
	return result, p.store.Update(ctx, func(tx *Tx) error {
		result.Imported = 0
		var known string
		found, err := tx.row(`SELECT sha256 FROM voucher_batches WHERE batch = ?`, []any{file.batch}, &known)
		switch {
		case err != nil:
			return err
		case found && known == file.sha256:
			return nil
		case found:
			return ErrVoucherBatch
		}
		if err := p.insertVouchers(tx, file, macs, state); err != nil {
			return err
		}
		result.Imported = len(file.vouchers)
		return p.audit(tx, "admin", "voucher-import", file.batch, fmt.Sprintf("%d, %s", result.Imported, file.sum.Yuan()))
	})
}

func (p *Platform) insertVouchers(tx *Tx, file *voucherFile, macs [][]byte, state rules.VoucherState) error {
	now, expires := p.now().UnixMilli(), file.expires.UnixMilli()
	err := tx.exec(`INSERT INTO voucher_batches (batch, sha256, count, sum, expires, imported) VALUES (?, ?, ?, ?, ?, ?)`,
		file.batch, file.sha256, len(file.vouchers), int64(file.sum), expires, now)
	if err != nil {
		return err
	}
	for start := 0; start < len(file.vouchers); start += voucherRowsOnce {
		rows := file.vouchers[start:min(start+voucherRowsOnce, len(file.vouchers))]
		args := make([]any, 0, 7*len(rows))
		for i, v := range rows {
			args = append(args, v.serial, file.batch, int64(v.value), macs[start+i], string(state), expires, now)
		}
		inserted, err := tx.changed(`INSERT INTO vouchers (serial, batch, value, pin_mac, state, expires, changed) VALUES `+
			strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?), ", len(rows)), ", ")+` ON CONFLICT (serial) DO NOTHING`, args...)
		if err != nil {
			return err
		}
		if inserted != int64(len(rows)) {
			return ErrVoucherSerial
		}
	}
	return nil
}

// ChangeVouchers activates, blocks or unblocks one voucher or a batch, and tells how
// many were changed: those that their state does not let through stay as they are.
func (p *Platform) ChangeVouchers(ctx context.Context, event rules.VoucherEvent, serial, batch, reason string) (changed int, err error) {
	where, subject := `serial = ?`, serial
	if serial == "" {
		where, subject = `batch = ?`, batch
	}
	if (serial == "") == (batch == "") {
		return 0, ErrVoucherWhich
	}
	err = p.store.Update(ctx, func(tx *Tx) error {
		changed = 0
		var known int
		if _, err := tx.row(`SELECT COUNT(*) FROM vouchers WHERE `+where, []any{subject}, &known); err != nil {
			return err
		}
		if known == 0 {
			return ErrVoucherNone
		}
		for _, state := range rules.VoucherStates {
			next, allowed := rules.NextVoucher(state, event)
			if !allowed {
				continue
			}
			count, err := tx.changed(`UPDATE vouchers SET state = ?, changed = ? WHERE `+where+` AND state = ?`,
				string(next), p.now().UnixMilli(), subject, string(state))
			if err != nil {
				return err
			}
			changed += int(count)
		}
		return p.audit(tx, "admin", "voucher-"+string(event), subject, reason)
	})
	return changed, err
}
