package sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/app/store/faultfs"
	"walletcompanion/platformclient"
	"walletcompanion/reader/virtual"
	"walletcompanion/wallet"
)

// readerName is the one reader of every computer.
const readerName = "simulated"

// computer is one person's machine: the real program over a real store, with a
// reader into which cards are put. Its process can die at any moment.
type computer struct {
	w      *world
	number int
	owner  *person
	dir    string
	skew   time.Duration // of its clock
	starts int

	driver *virtual.Driver
	slot   *virtual.Slot
	card   *chip        // on the reader, as far as its person knows
	moved  atomic.Int32 // counts what its person does with cards

	core   *core.Core
	store  *store.Store
	client *platformclient.Client
	disarm func()
	random interface{ Read([]byte) (int, error) }
}

// dead is how a process ends in the middle of something.
type dead struct{ at string }

func newComputer(w *world, number int, owner *person) *computer {
	c := &computer{w: w, number: number, owner: owner, dir: filepath.Join(w.dir, fmt.Sprintf("computer-%d", number))}
	c.random = w.stream(10 + uint64(number))
	c.driver = virtual.New()
	c.slot = c.driver.AddSlot(readerName)
	c.open()
	return c
}

// open starts the program.
func (c *computer) open() {
	var err error
	c.store, err = store.Open(c.dir, store.Options{})
	c.w.must(err)
	c.starts++
	c.client, err = platformclient.New(platformclient.Config{
		Profile: c.w.profile, Vault: c.store, Version: "sim", DeviceName: "simulated", Transport: wire{c.w, c},
		Journal: c.store.Mark, Now: c.now, Random: c.random,
		OnReceipt: func(order string, receipt wallet.Signed) {
			_ = c.store.PutReceipt(context.Background(), order, receipt)
		},
	})
	c.w.must(err)
	c.core = core.New(core.Config{
		Readers: c.driver, Store: c.store, Platform: platform{c.client, c}, LockMoney: c.lockMoney,
		Prepare:  func(context.Context, wallet.Purse) (string, error) { return "", nil },
		Now:      c.now,
		CardWait: time.Second, AckWait: 3 * time.Second, BeforeStage: c.beforeStage, AfterStage: c.afterStage, Trace: c.afterCommand,
		NewKey: func() string {
			key, err := platformclient.NewKey(c.now(), c.random)
			c.w.must(err)
			c.w.begins(key)
			return key
		},
	})
}

// lockMoney says of a lock that another process holds what the program says.
func (c *computer) lockMoney(ctx context.Context) (unlock func(), err error) {
	unlock, err = c.store.LockMoney(ctx)
	if errors.Is(err, store.ErrBusy) {
		err = &core.Failure{Code: "PROFILE_BUSY", Err: err}
	}
	return unlock, err
}

// beside runs a second process of the same person on the same machine, with the same
// profile and reader, for as long as do takes or until it dies.
func (c *computer) beside(do func(second *computer)) {
	second := &computer{
		w: c.w, number: c.number, owner: c.owner, dir: c.dir, skew: c.skew, starts: c.starts,
		driver: c.driver, slot: c.slot, card: c.card, random: c.random,
	}
	c.w.say("  a second process")
	second.open()
	defer func() {
		trouble := recover()
		second.writable()
		c.w.must(second.store.Close())
		if _, is := trouble.(dead); trouble != nil && !is {
			panic(trouble)
		}
	}()
	do(second)
}

func (c *computer) now() time.Time { return time.Now().Add(c.skew) }

func (c *computer) close() {
	c.writable()
	if c.store != nil {
		c.store.Close()
	}
	c.slot.Remove()
}

// restart begins the program anew. After a death the disk may be that of another
// machine, as a copy of all files at that moment.
func (c *computer) restart(moved bool) {
	c.writable()
	if moved {
		to := filepath.Join(c.w.dir, fmt.Sprintf("computer-%d-%d", c.number, c.starts))
		c.w.must(os.CopyFS(to, os.DirFS(c.dir)))
		c.w.must(c.store.Close())
		c.w.must(os.RemoveAll(c.dir))
		c.dir = to
	} else {
		c.w.must(c.store.Close())
	}
	c.open()
}

// die ends the process here.
func (c *computer) die(at string) {
	c.w.count("kill", at)
	c.w.say("  computer %d dies %s", c.number, at)
	panic(dead{at})
}

// live runs what a person does, and starts the program again if it dies over it.
func (c *computer) live(do func()) {
	defer func() {
		trouble := recover()
		if trouble == nil {
			return
		}
		if _, is := trouble.(dead); !is {
			panic(trouble)
		}
		c.restart(c.w.luck.IntN(4) == 0)
	}()
	do()
}

// beforeStage and afterStage stand around every write of the journal.
func (c *computer) beforeStage(stage wallet.Stage) {
	w := c.w
	if w.happens("kill before stage", 12) {
		c.die("before " + string(stage))
	}
	for kind, failure := range []string{"disk full", "disk error"} {
		if w.happens(failure, 12) {
			w.count("kill", failure+" at "+string(stage))
			c.disarm = faultfs.Arm(c.dir+string(filepath.Separator), faultfs.Kind(kind), nil)
			return
		}
	}
}

func (c *computer) afterStage(stage wallet.Stage) {
	c.writable()
	c.w.say("  stage %s", stage)
	if c.w.happens("kill after stage", 12) {
		c.die("after " + string(stage))
	}
}

// writable ends a full disk.
func (c *computer) writable() {
	if c.disarm != nil {
		c.disarm()
		c.disarm = nil
	}
}

// afterCommand is where the process may die between a card's answer and its reading.
func (c *computer) afterCommand(line wallet.TraceLine) {
	perMille := 3
	switch line.Name {
	case "CREDIT FOR LOAD", "INITIALIZE FOR LOAD", "DEBIT FOR PURCHASE", "INITIALIZE FOR PURCHASE":
		perMille = 20
	}
	if line.Session != wallet.SessionQuery && c.w.happens("kill after command", perMille) {
		c.die("after " + line.Name)
	}
}

// place puts a card on this computer's reader; it leaves the one where it was.
func (c *computer) place(k *chip) {
	if c.card != nil && c.card != k {
		c.card.in = nil
	}
	if k.in != nil && k.in != c {
		k.in.moved.Add(1)
		k.in.slot.Remove()
		k.in.card = nil
	}
	c.moved.Add(1)
	time.Sleep(time.Second) // whatever a card was doing, it has done
	c.card, k.in = k, c
	c.slot.Insert(k)
}

// platform shows the platform client as core wants to see it.
type platform struct {
	*platformclient.Client
	c *computer
}

func (p platform) Session() core.Session {
	s := p.Client.Session()
	return core.Session{
		LoggedIn: s.LoggedIn, User: s.User, Phone: s.Phone, Device: s.Device, Cards: s.Cards, Policy: s.Policy, Scripts: s.Scripts,
		OpenOrders: s.OpenOrders, OpenPurchases: s.OpenPurchases, PurchaseScripts: s.PurchaseScripts, Epoch: s.Epoch, Watermark: s.Watermark, Demo: s.Demo,
	}
}

func (p platform) Signers() wallet.SignerKeys { return p.c.w.profile.SignerKeys() }

var _ http.RoundTripper = wire{}
