package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"walletcompanion/wallet"
)

// deviceKeySize is the length of the AES-256 key in device.key.
const deviceKeySize = 32

// deviceKey is the content of device.key, ready for use.
type deviceKey struct {
	id   string // first 8 bytes of SHA-256("wallet/device-key" ‖ key), hex
	aead cipher.AEAD
}

// Get returns a secret, and nil where there is none. The error is ErrDeviceKey
// where the secret is there but device.key does not open it.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	var keyID string
	var sealed []byte
	err := s.db.QueryRowContext(ctx, `SELECT key_id, sealed FROM secret WHERE name = ?`, name).Scan(&keyID, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret %s: %w", name, explain(err))
	}
	key, err := s.readDeviceKey()
	if err != nil {
		return nil, err
	}
	if key == nil || key.id != keyID || len(sealed) < key.aead.NonceSize() {
		return nil, ErrDeviceKey
	}
	nonce, ciphertext := sealed[:key.aead.NonceSize()], sealed[key.aead.NonceSize():]
	value, err := key.aead.Open([]byte{}, nonce, ciphertext, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%w: secret %s", ErrDeviceKey, name)
	}
	return value, nil
}

// Put keeps a secret, sealed with AES-256-GCM under device.key and bound to its
// name; nil deletes it. Where device.key is missing a new one is made: secrets that
// the old one sealed stay unreadable (ErrDeviceKey) until a login has put them anew.
func (s *Store) Put(ctx context.Context, name string, value []byte) error {
	if value == nil {
		return s.exec(ctx, "secret", `DELETE FROM secret WHERE name = ?`, name)
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The transaction excludes every other process, so only one makes the key.
		key, err := s.makeDeviceKey()
		if err != nil {
			return err
		}
		nonce := make([]byte, key.aead.NonceSize())
		if _, err := rand.Read(nonce); err != nil {
			return err
		}
		sealed := key.aead.Seal(nonce, nonce, value, []byte(name))
		_, err = tx.ExecContext(ctx, `INSERT INTO secret (name, key_id, sealed) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed`, name, key.id, sealed)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the secret %s: %w", name, err)
	}
	return nil
}

// SecretNames lists the names of the kept secrets.
func (s *Store) SecretNames(ctx context.Context) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT name FROM secret ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", explain(err))
	}
	var names []string
	err = each(rows, func(row scanner) error {
		var name string
		err := row.Scan(&name)
		names = append(names, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", explain(err))
	}
	return names, nil
}

// CheckSecrets reports whether every kept secret can be read: nil, or ErrDeviceKey.
// It tells diagnosis, and a login that is to begin with ForgetSecrets.
func (s *Store) CheckSecrets(ctx context.Context) error {
	names, err := s.SecretNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := s.Get(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// ForgetSecrets deletes all secrets, readable or not: what a logout, or a login
// after ErrDeviceKey, begins with.
func (s *Store) ForgetSecrets(ctx context.Context) error {
	return s.exec(ctx, "secret", `DELETE FROM secret`)
}

func (s *Store) deviceKeyPath() string { return filepath.Join(s.dir, deviceKeyName) }

// readDeviceKey returns nil without an error where the file is missing or was not
// written to its end.
func (s *Store) readDeviceKey() (*deviceKey, error) {
	raw, err := os.ReadFile(s.deviceKeyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
	}
	if len(raw) != deviceKeySize {
		return nil, nil
	}
	if err := ownerOnly(s.deviceKeyPath(), 0o600, s.warn); err != nil {
		return nil, err
	}
	return newDeviceKey(raw)
}

// makeDeviceKey reads device.key, or makes it. A file of another length is what a
// crash left while the key was made (no secret can depend on it) or a damaged key;
// it is moved aside, never overwritten.
func (s *Store) makeDeviceKey() (*deviceKey, error) {
	key, err := s.readDeviceKey()
	if err != nil || key != nil {
		return key, err
	}
	path := s.deviceKeyPath()
	if err := os.Rename(path, path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	raw := make([]byte, deviceKeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(raw)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", deviceKeyName, err)
	}
	return newDeviceKey(raw)
}

func newDeviceKey(raw []byte) (*deviceKey, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("wallet/device-key"), raw...))
	return &deviceKey{id: hex.EncodeToString(sum[:8]), aead: aead}, nil
}

// PutLeases keeps leased terminal numbers. One that was here before, used or not,
// is left as it is, so that a repeated answer cannot give a number a second use.
func (s *Store) PutLeases(ctx context.Context, leases []wallet.Lease) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, lease := range leases {
			_, err := tx.ExecContext(ctx, `INSERT INTO lease (tid, device, epoch, expires_ns) VALUES (?, ?, ?, ?)
				ON CONFLICT (tid) DO NOTHING`, lease.TID.String(), lease.Device, lease.Epoch, lease.Expires.UnixNano())
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the leases: %w", err)
	}
	return nil
}

// TakeLease uses up the lease of this epoch that expires first and is still valid
// at now. No number is given out twice, by whatever process, not even after a power
// cut. The error is ErrNoLease where none is left.
func (s *Store) TakeLease(ctx context.Context, epoch int, now time.Time) (wallet.Lease, error) {
	var lease wallet.Lease
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var tid string
		var expiresNS int64
		err := tx.QueryRowContext(ctx, `UPDATE lease SET used = 1 WHERE tid = (
				SELECT tid FROM lease WHERE used = 0 AND epoch = ? AND expires_ns > ? ORDER BY expires_ns, tid LIMIT 1)
			RETURNING tid, device, epoch, expires_ns`, epoch, now.UnixNano()).
			Scan(&tid, &lease.Device, &lease.Epoch, &expiresNS)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoLease
		}
		if err != nil {
			return err
		}
		lease.Expires = time.Unix(0, expiresNS).UTC()
		lease.TID, err = wallet.ParseTerminalNumber(tid)
		return err
	})
	if err != nil {
		return wallet.Lease{}, fmt.Errorf("take a lease: %w", err)
	}
	return lease, nil
}

// LeaseCount is the number of leases that TakeLease could still give out.
func (s *Store) LeaseCount(ctx context.Context, epoch int, now time.Time) (int, error) {
	var count int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM lease WHERE used = 0 AND epoch = ? AND expires_ns > ?`, epoch, now.UnixNano()).Scan(&count)
	return count, explain(err)
}
