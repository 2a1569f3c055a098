package mockplatform

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// BackupReport tells epoch and watermark of a backup or a restore.
type BackupReport struct {
	Epoch     int       `json:"epoch"`
	Watermark time.Time `json:"watermark"` // copies exist of everything up to here
}

// Backup writes a snapshot of the live platform. It holds the books, not the keys:
// hsm.key and keys.sealed are kept elsewhere, by other people.
func (p *Platform) Backup(ctx context.Context, to string) (BackupReport, error) {
	report := BackupReport{Epoch: p.epoch, Watermark: p.now()}
	temporary := to + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return report, err
	}
	if err := p.store.Backup(ctx, temporary); err != nil {
		return report, err
	}
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, to)); err != nil {
		return report, err
	}
	return report, p.store.Update(ctx, func(tx *Tx) error {
		if err := setMeta(tx, "watermark", report.Watermark.Format(time.RFC3339Nano)); err != nil {
			return err
		}
		return p.audit(tx, "admin", "backup", filepath.Base(to), "")
	})
}

// Restore puts a backup in the place of the books of a directory that nobody uses,
// and raises the epoch: leases, nonces and probes of before are void, and every
// open order gets a fresh probe (§2.7.1). The keys of the directory stay.
func Restore(dir, from string) (BackupReport, error) {
	lock := flock.New(filepath.Join(dir, fileLock))
	if locked, err := lock.TryLock(); err != nil || !locked {
		return BackupReport{}, errors.Join(ErrInUse, err)
	}
	defer func() { _ = lock.Unlock() }()
	highest, err := highestEpoch(dir)
	if err != nil {
		return BackupReport{}, err
	}
	temporary := filepath.Join(dir, fileDatabase+".restored")
	if err := copyFile(from, temporary); err != nil {
		return BackupReport{}, err
	}
	report, err := startEpoch(temporary, highest)
	if err != nil {
		return report, errors.Join(err, os.Remove(temporary))
	}
	if err := writeSecret(filepath.Join(dir, fileEpoch), []byte(strconv.Itoa(report.Epoch))); err != nil {
		return report, err
	}
	database := filepath.Join(dir, fileDatabase)
	for _, file := range []string{database + "-wal", database + "-shm"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return report, err
		}
	}
	return report, os.Rename(temporary, database)
}

// highestEpoch is the highest epoch that the directory has seen, in its books or in
// the note of an earlier restore: restoring one backup twice makes two epochs.
func highestEpoch(dir string) (int, error) {
	highest := 0
	note, err := os.ReadFile(filepath.Join(dir, fileEpoch))
	if err == nil {
		if highest, err = strconv.Atoi(strings.TrimSpace(string(note))); err != nil {
			return 0, fmt.Errorf("the epoch file of the platform is damaged: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	database := filepath.Join(dir, fileDatabase)
	if _, err := os.Stat(database); err != nil {
		return highest, nil // the disk is gone, which is why there is a restore
	}
	store, err := openStore(context.Background(), database)
	if err != nil {
		return highest, nil // damaged books are the other reason for a restore
	}
	defer store.Close()
	err = store.View(context.Background(), func(tx *Tx) error {
		current, err := readEpoch(tx)
		highest = max(highest, current)
		return err
	})
	return highest, err
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}

// startEpoch changes the restored books before they take the place of the old ones.
func startEpoch(database string, highest int) (BackupReport, error) {
	var report BackupReport
	store, err := openStore(context.Background(), database)
	if err != nil {
		return report, err
	}
	p := &Platform{
		config: Config{Now: time.Now, Random: rand.Reader}, store: store,
		clock: &demoClock{file: filepath.Join(filepath.Dir(database), fileClock)}, // no other platform has the file
	}
	err = store.Update(context.Background(), func(tx *Tx) error {
		restored, err := readEpoch(tx)
		if err != nil {
			return err
		}
		p.epoch = max(restored, highest) + 1
		report.Epoch = p.epoch
		if err := setMeta(tx, "epoch", strconv.Itoa(p.epoch)); err != nil {
			return err
		}
		if err := setMeta(tx, metaSumsFrom, afterRestore); err != nil {
			return err
		}
		// Sessions end, so that every client hears of the epoch before new money.
		if err := tx.exec(`DELETE FROM tokens WHERE kind = 'access'`); err != nil {
			return err
		}
		if err := tx.exec(`DELETE FROM staff_tokens`); err != nil {
			return err
		}
		open, err := findOrders(tx, isOpen)
		if err != nil {
			return err
		}
		for _, o := range open {
			if err := p.freshProbe(tx, o); err != nil {
				return err
			}
		}
		if err := tx.exec(`UPDATE cards SET restored_seq = COALESCE(restored_seq, floor_seq)`); err != nil {
			return err
		}
		if err := p.restorePurchases(tx); err != nil {
			return err
		}
		return p.audit(tx, "admin", "restore", strconv.Itoa(p.epoch), fmt.Sprintf("%d open orders", len(open)))
	})
	return report, errors.Join(err, store.Close())
}

// freshProbe gives an open order a probe of the present epoch.
func (p *Platform) freshProbe(tx *Tx, o *order) error {
	probe, err := p.newTID(tx, o.asn.String())
	if err != nil {
		return err
	}
	o.probe, o.probeEpoch = probe, p.epoch
	if err := saveOrder(tx, o, p.now()); err != nil {
		return err
	}
	return p.noteProbe(tx, o)
}

// orderAge is how long an order may be open before people look at it.
const orderAge = 55 * 24 * time.Hour

// SuspendOld moves orders that nobody settled for 55 days to SUSPENSE, where people
// see them and a later touch still resolves them. No money moves by time alone.
func (p *Platform) SuspendOld(ctx context.Context) (count int, err error) {
	err = p.store.Update(ctx, func(tx *Tx) error {
		old, err := findOrders(tx, `state = 'GRANTED' AND created < ?`, p.now().Add(-orderAge).UnixMilli())
		if err != nil {
			return err
		}
		for _, o := range old {
			o.state, o.cause = wallet.StateSuspense, rules.CauseAge
			if err := saveOrder(tx, o, p.now()); err != nil {
				return err
			}
			if err := p.audit(tx, "platform", "load-suspense AGE", o.id, ""); err != nil {
				return err
			}
		}
		count = len(old)
		return nil
	})
	return count, err
}

// errOtherOpen: a lost order cannot come back while another one of its card is open.
var errOtherOpen = errors.New("another order of this card is open")

// rebuild brings back what a restore lost, from a grant that this platform signed in
// an earlier epoch. A missing order comes back as GRANTED with the attempt after the
// highest one seen and a fresh probe; an order whose later attempts are missing gets
// the same. Only a TAC or a MAC1 over that probe moves it; an older grant brings no
// older probe back.
func (p *Platform) rebuild(tx *Tx, o *order, grant wallet.Grant) (*order, error) {
	if grant.Epoch >= p.epoch || o != nil && (o.attempt >= grant.Attempt || o.state != wallet.StateGranted && o.state != wallet.StateSuspense) {
		return o, nil
	}
	k, err := findCard(tx, grant.ASN)
	if err != nil {
		return nil, err
	}
	if k == nil {
		k = &card{asn: grant.ASN, state: cardIssued}
		if err := saveCard(tx, k); err != nil {
			return nil, err
		}
	}
	if o == nil {
		if o, err = p.rebuildOrder(tx, k, grant); err != nil {
			return nil, err
		}
	}
	o.attempt = grant.Attempt + 1
	if err := p.freshProbe(tx, o); err != nil {
		return nil, err
	}
	err = insertAttempt(tx, o.id, attemptRow{
		number: o.attempt, tid: grant.TID, seq: grant.Seq, floor: k.floor, cardTime: grant.Issued, probe: o.probe,
		epoch:   grant.Epoch, // of its MAC2, not of the probe: what the counter proves hangs on it
		granted: p.now(),
	})
	if err != nil {
		return nil, err
	}
	return o, p.audit(tx, "platform", "load-rebuilt", o.id, strconv.Itoa(o.attempt))
}

func (p *Platform) rebuildOrder(tx *Tx, k *card, grant wallet.Grant) (*order, error) {
	other, err := findOrder(tx, isOpen+` AND asn = ?`, grant.ASN.String())
	if err != nil {
		return nil, err
	}
	if other != nil {
		return nil, errOtherOpen
	}
	o := &order{
		id: grant.Order, key: grant.Key, user: grant.User, asn: grant.ASN, profile: k.profile, keyIndex: 1, amount: grant.Amount,
		fee: grant.Fee, source: grant.Source, state: wallet.StateGranted, cause: rules.Cause(""), attempt: grant.Attempt,
		probeEpoch: p.epoch, created: grant.Issued,
	}
	// The same key may have been granted again after the restore.
	again, err := findOrder(tx, `user = ? AND key = ?`, o.user, o.key)
	if err != nil {
		return nil, err
	}
	if again != nil {
		o.key += "/" + o.id
	}
	if err := p.insertOrder(tx, o); err != nil {
		return nil, err
	}
	if err := p.holdAgain(tx, o, true); err != nil {
		return nil, err
	}
	return o, p.owedAgain(tx, o.user)
}

// restoredOn notes from where on the loads of the card may be missing in the books.
// It is where the first restore left the card's counter, not where it is now: a later
// load may come back before an earlier one, and the one that is still missing would
// hide a debit.
func (b *purchase) restoredOn(k *card) {
	b.floor = k.floor
	if k.restoredSeq != nil {
		b.restored, b.floor = true, *k.restoredSeq
	}
}

// restorePurchases gives every open purchase a probe of the present epoch. What the
// card was proven to be before the restore is kept: loads may have been lost since.
func (p *Platform) restorePurchases(tx *Tx) error {
	open, err := findPurchases(tx, isOpenPurchase)
	if err != nil {
		return err
	}
	for _, b := range open {
		if !b.restored {
			k, err := findCard(tx, b.asn)
			if err != nil {
				return err
			}
			if k != nil {
				b.restoredOn(k)
			}
			b.restored = true
		}
		if err := p.freshPurchaseProbe(tx, b); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) freshPurchaseProbe(tx *Tx, b *purchase) (err error) {
	if b.probe, err = p.newTID(tx, b.asn.String()); err != nil {
		return err
	}
	b.probeEpoch = p.epoch
	if b.probeSince, err = p.afterBookings(tx, b.asn.String()); err != nil {
		return err
	}
	if err := savePurchase(tx, b, p.now()); err != nil {
		return err
	}
	return p.notePurchaseProbe(tx, b)
}

// rebuildPurchase brings back a purchase that a restore lost, from a grant that this
// platform signed in an earlier epoch: AUTHORISED, with a fresh probe. TAC and MAC2
// can be verified again, since the grant names the card's random. The merchant's
// order may be another's by now; the proof of debit is refunded then. Beside another
// open purchase of the card it comes back in SUSPENSE, where a complete proof still
// settles it, and keeps the other one from being given the money that it took.
func (p *Platform) rebuildPurchase(tx *Tx, grant wallet.PurchaseGrant) (*purchase, error) {
	if grant.Epoch >= p.epoch || len(grant.Random) != 4 {
		return nil, nil
	}
	other, err := findPurchase(tx, `state IN ('AUTHORISED', 'DOUBTFUL') AND asn = ?`, grant.ASN.String())
	if err != nil {
		return nil, err
	}
	k, err := findCard(tx, grant.ASN)
	if err != nil {
		return nil, err
	}
	if k == nil {
		k = &card{asn: grant.ASN, state: cardIssued}
		if err := saveCard(tx, k); err != nil {
			return nil, err
		}
	}
	b := &purchase{
		id: grant.Purchase, key: grant.Key, user: grant.User, asn: grant.ASN, profile: k.profile, merchantOrder: grant.MerchantOrder,
		merchant: grant.Merchant, goods: grant.Goods, amount: grant.Amount, unload: grant.Unload, state: wallet.PurchaseAuthorised,
		claimed: grant.Balance, probeEpoch: p.epoch, unopened: k.opening == nil, created: grant.Issued,
		debit: debitCommand{
			amount: grant.Amount, terminal: grant.Terminal, serial: grant.TerminalSerial, number: grant.Number,
			random: [4]byte(grant.Random), at: grant.Issued,
		},
	}
	b.restoredOn(k)
	b.restored = true
	again, err := findPurchase(tx, `user = ? AND key = ?`, b.user, b.key)
	if err != nil {
		return nil, err
	}
	if again != nil { // the same key may have been used again after the restore
		b.key += "/" + b.id
	}
	if err := p.holdRebuilt(tx, b); err != nil {
		return nil, err
	}
	if b.probe, err = p.newTID(tx, b.asn.String()); err != nil {
		return nil, err
	}
	if b.probeSince, err = p.afterBookings(tx, b.asn.String()); err != nil {
		return nil, err
	}
	if other != nil {
		b.state = wallet.PurchaseSuspense
	}
	if err := insertPurchase(tx, b); err != nil {
		return nil, err
	}
	if err := p.notePurchaseProbe(tx, b); err != nil {
		return nil, err
	}
	if err := p.audit(tx, "platform", "purchase-rebuilt", b.id, ""); err != nil || other == nil {
		return b, err
	}
	return b, p.suspendPurchase(tx, b, rules.CauseOtherOpen, "platform")
}

// holdRebuilt takes the merchant's order for a rebuilt purchase, where nobody else
// has it. An order that was lost as well comes back, without its callback.
func (p *Platform) holdRebuilt(tx *Tx, b *purchase) error {
	o, err := findMerchantOrder(tx, b.merchantOrder)
	switch {
	case err != nil:
		return err
	case o != nil && o.state == wallet.PurchaseOffered:
		return holdMerchantOrder(tx, o.code, wallet.PurchaseAuthorised, b.id)
	case o != nil:
		// Someone else has it. The index of open purchases per order leaves room for
		// one, so that this one stands beside the order under a name of its own.
		b.merchantOrder += "/" + b.id
		return nil
	}
	asn := ""
	if b.unload {
		asn = b.asn.String()
	}
	return insertMerchantOrder(tx, &merchantOrder{
		code: b.merchantOrder, merchant: b.merchant, goods: b.goods, amount: b.amount, unload: b.unload, user: b.user, asn: asn,
		state: wallet.PurchaseAuthorised, purchase: b.id, expires: b.created.Add(shopOrderLife), created: b.created,
	})
}
