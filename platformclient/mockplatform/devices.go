package mockplatform

import (
	"database/sql"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"walletcompanion/platformclient/api"
)

// deviceNameMax is how many characters the name of a device has at most.
const deviceNameMax = 64

// validDeviceName: what a person can read in a list.
func validDeviceName(name string) bool {
	return strings.TrimSpace(name) != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= deviceNameMax &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

const deviceColumns = `device, name, state, thumbprint, enrolled, last_used`

// listDevices is GET /v1/devices: those that may spend first, the oldest of them first.
func listDevices(c *call) (reply, error) {
	told := api.Devices{Devices: []api.Device{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		return tx.each(`SELECT `+deviceColumns+` FROM devices WHERE user = ? ORDER BY state <> ?, enrolled, device`,
			[]any{c.sender.user, stateActive}, func(rows *sql.Rows) error {
				one, err := c.scanDevice(rows.Scan)
				told.Devices = append(told.Devices, one)
				return err
			})
	})
	if err != nil {
		return reply{}, err
	}
	return success(told)
}

func (c *call) scanDevice(scan func(...any) error) (one api.Device, err error) {
	var enrolled, lastUsed int64
	err = scan(&one.Device, &one.Name, &one.State, &one.Thumbprint, &enrolled, &lastUsed)
	one.Enrolled, one.LastUsed = time.UnixMilli(enrolled).UTC(), time.UnixMilli(lastUsed).UTC()
	one.Current = one.Device == c.sender.device
	return one, err
}

// ownDevice finds the device that the path names, of this account alone.
func (c *call) ownDevice(tx *Tx) (one api.Device, found bool, err error) {
	found, err = tx.row(`SELECT 1 FROM devices WHERE device = ? AND user = ?`, []any{c.req.PathValue("id"), c.sender.user}, new(int))
	if err != nil || !found {
		return one, false, err
	}
	err = tx.each(`SELECT `+deviceColumns+` FROM devices WHERE device = ?`, []any{c.req.PathValue("id")}, func(rows *sql.Rows) (err error) {
		one, err = c.scanDevice(rows.Scan)
		return err
	})
	return one, true, err
}

// revokeDevice is POST /v1/devices/{id}/revoke. Its tokens die in the same transaction.
// What its cards still have to prove is taken without a session, as from anybody.
func revokeDevice(c *call) (reply, error) {
	return c.changeDevice(func(tx *Tx, one *api.Device) error {
		if one.State == api.DeviceRevoked {
			return nil // revoked once already
		}
		one.State = api.DeviceRevoked
		if err := tx.exec(`UPDATE devices SET state = ? WHERE device = ?`, api.DeviceRevoked, one.Device); err != nil {
			return err
		}
		if err := tx.exec(`DELETE FROM tokens WHERE device = ?`, one.Device); err != nil {
			return err
		}
		if err := c.p.audit(tx, c.sender.user, "device-revoked", one.Device, ""); err != nil {
			return err
		}
		return c.p.tell(tx, c.sender.user, api.NoticeDeviceRevoked, api.MessageFacts{Device: one.Name})
	})
}

// renameDevice is POST /v1/devices/{id}/rename.
func renameDevice(c *call) (reply, error) {
	var request api.DeviceName
	if refusal := c.decode(&request); refusal != nil {
		return *refusal, nil
	}
	if !validDeviceName(request.Name) {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "a name has 1 to 64 characters"), nil
	}
	return c.changeDevice(func(tx *Tx, one *api.Device) error {
		one.Name = request.Name
		return tx.exec(`UPDATE devices SET name = ? WHERE device = ?`, request.Name, one.Device)
	})
}

// changeDevice changes a device of the own account and answers how it stands then. Both
// changes do the same however often they are asked for.
func (c *call) changeDevice(change func(*Tx, *api.Device) error) (reply, error) {
	if refusal := c.needKey(); refusal != nil {
		return *refusal, nil
	}
	var answer reply
	err := c.update(func(tx *Tx) error {
		one, found, err := c.ownDevice(tx)
		if err != nil {
			return err
		}
		if !found {
			answer = failure(http.StatusNotFound, api.CodeNotFound, "this account has no such device")
			return nil
		}
		if err := change(tx, &one); err != nil {
			return err
		}
		answer, err = success(one)
		return err
	})
	return answer, err
}
