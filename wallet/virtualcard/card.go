// Package virtualcard is a purse chip in memory, byte for byte (card dossier §1):
// the same files, commands, status words, keys and counters, and the
// peculiarities of real cards as variants. It can be torn out of the field
// before, inside or after any command.
//
// A card never touches files: it keeps its state through a save function that it
// is given (SaveTo), and a command that changes the chip is answered only after
// that function has returned.
package virtualcard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// Errors of the field, as opposed to status words of the chip.
var (
	ErrTorn    = errors.New("the card left the field")
	ErrNoPower = errors.New("the card has no power")
)

// Chip is what a slot needs of a card. Card and Recorded implement it.
type Chip interface {
	// PowerOn powers the chip and returns its answer to reset.
	PowerOn() (atr []byte, err error)
	// PowerOff takes the power away; everything volatile is gone.
	PowerOff()
	// Reset is PowerOff and PowerOn.
	Reset() (atr []byte, err error)
	// Transmit executes one command APDU and returns data ‖ SW1 SW2. After an
	// error the chip has no power.
	Transmit(command []byte) ([]byte, error)
}

// Record is one record of a transaction log, 23 bytes (card dossier §1.4).
type Record [23]byte

// Counter is the number as logged: bytes 1-2.
func (r Record) Counter() uint16 { return binary.BigEndian.Uint16(r[0:]) }

// Amount is bytes 6-9.
func (r Record) Amount() wallet.Fen { return wallet.Fen(binary.BigEndian.Uint32(r[5:])) }

// Type is byte 10: 02 load, 06 purchase.
func (r Record) Type() byte { return r[9] }

// Terminal is bytes 11-16.
func (r Record) Terminal() wallet.TerminalNumber { return wallet.TerminalNumber(r[10:16]) }

// Time is bytes 17-23.
func (r Record) Time() epcrypto.CardTime { return epcrypto.CardTime(r[16:]) }

// Transaction types, card dossier §1.5.
const (
	typeLoad     byte = 0x02
	typePurchase byte = 0x06
)

// proof is what GET TRANSACTION PROVE tells of the last transaction of a type.
type proof struct {
	counter uint16 // after +1
	mac     epcrypto.MAC4
	tac     epcrypto.MAC4
}

// blocking is how far the application is blocked.
type blocking string

const (
	notBlocked     blocking = ""
	blockedForNow  blocking = "temporary"
	blockedForEver blocking = "permanent"
	keyVersion     byte     = 0x01
	algorithm3DES  byte     = 0x00
)

// eeprom is all that survives a loss of power. It changes only in commit.
type eeprom struct {
	balance         uint32
	online, offline uint16   // shared-counter uses online alone
	log             []Record // newest first
	loads           []Record // SFI 06 of shared-counter
	lastLoad        *proof
	lastPurchase    *proof
	pinTriesLeft    int
	blocked         blocking
}

// clone returns a copy that a command may change before it commits.
func (e eeprom) clone() eeprom {
	e.log, e.loads = slices.Clone(e.log), slices.Clone(e.loads)
	return e
}

// ram is all that a loss of power takes away.
type ram struct {
	powered   bool
	inPurse   bool // selected DF: the purse, otherwise the MF
	currentEF byte // short identifier of a file selected by its own, 0: none
	pinDone   bool
	session   *session
	pending   []byte // T=0: what GET RESPONSE will fetch
}

// Card is a purse chip. All methods may be called from several goroutines; a
// command that runs is finished first.
type Card struct {
	mu sync.Mutex

	asn                   wallet.ASN
	variant, profile      string
	validFrom, validUntil string // YYYYMMDD
	uid                   [8]byte
	keys                  Keys
	pin                   []byte
	keyIndex              byte

	ee  eeprom
	ram ram

	random  io.Reader
	delay   func(time.Duration)
	save    func(image []byte) error
	tears   []Tear
	tearing bool // the running command loses power inside its commit
	torn    int
}

// SaveTo gives the card the function that makes its image durable. It is called
// before the answer of every command that changes the chip, never by a command
// that only reads. When it fails the card keeps its old state and answers 6581.
func (c *Card) SaveTo(save func(image []byte) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.save = save
}

// SetRandom replaces the source of randomness, for golden transcripts.
func (c *Card) SetRandom(random io.Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.random = random
}

// SetDelay replaces time.Sleep, with which the variant slow waits; nil: no wait.
func (c *Card) SetDelay(delay func(time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = delay
}

// commit makes next the state of the chip, all or nothing.
func (c *Card) commit(next eeprom) error {
	if c.tearing {
		return ErrTorn
	}
	if c.save != nil {
		image, err := c.imageOf(next)
		if err != nil {
			return err
		}
		if err := c.save(image); err != nil {
			return err
		}
	}
	c.ee = next
	return nil
}

// PowerOn powers the chip and returns its answer to reset (card dossier §1.8).
// The MF is selected then.
func (c *Card) PowerOn() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ram = ram{powered: true}
	return c.atr(), nil
}

// PowerOff takes the power away.
func (c *Card) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ram = ram{}
}

// Reset takes the power away and gives it back.
func (c *Card) Reset() ([]byte, error) { return c.PowerOn() }

// ATR is the answer that PowerOn gives.
func (c *Card) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.atr()
}

func (c *Card) atr() []byte {
	if c.variant == T0 {
		return slices.Clone(atrT0)
	}
	return contactlessATR(c.uid)
}

// atrT0 is that of a contact card with T=0 alone, which has no check byte.
var atrT0 = []byte{0x3B, 0x9F, 0x95, 0x80, 0x3F, 0xC6, 0xA0, 0x80, 0x31, 0xE0, 0x73, 0xFE,
	0x21, 0x13, 0x57, 0xC2, 0x05, 0x1B, 0x86, 0x98, 0x60, 0x19, 0xD1}

// contactlessATR is what a PC/SC reader builds for an ISO 14443-4 card: 3B 8n 80
// 01, the n historical bytes, and the XOR of everything after the 3B.
func contactlessATR(uid [8]byte) []byte {
	atr := append([]byte{0x3B, 0x8C, 0x80, 0x01, 0x20, 0x90, 0x00, 0x00}, uid[:]...)
	var check byte
	for _, b := range atr[1:] {
		check ^= b
	}
	return append(atr, check)
}

// ASN is the application serial number.
func (c *Card) ASN() wallet.ASN { return c.asn }

// Variant is the name of the card's peculiarity.
func (c *Card) Variant() string { return c.variant }

// Keys returns the card-level keys, for a demo platform that adopts the card.
func (c *Card) Keys() Keys { return c.keys }

// Format prints the masked number whatever the verb: fmt would otherwise look
// into the struct and print keys and PIN.
func (c *Card) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "%s card %s", c.variant, c.asn.Masked())
}

// PIN returns the digits of the PIN, for whoever made the card.
func (c *Card) PIN() string { return wallet.Hex(c.pin).String() }

// Snapshot is what the chip holds, for tests and demos that compare it with the
// books.
type Snapshot struct {
	ASN            wallet.ASN
	Variant        string
	Balance        wallet.Fen
	OnlineCounter  uint16
	OfflineCounter uint16 // equal to OnlineCounter on shared-counter
	Log            []Record
	Loads          []Record // SFI 06, shared-counter alone
	PINTriesLeft   int
	Blocked        bool
}

// Snapshot returns a copy of the chip's memory.
func (c *Card) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.ee.clone()
	return Snapshot{
		ASN: c.asn, Variant: c.variant, Balance: wallet.Fen(e.balance),
		OnlineCounter: e.online, OfflineCounter: c.offlineNumber(e),
		Log: e.log, Loads: e.loads, PINTriesLeft: e.pinTriesLeft, Blocked: e.blocked != notBlocked,
	}
}

// Balance is what the purse holds.
func (c *Card) Balance() wallet.Fen { return c.Snapshot().Balance }

// OnlineCounter is the number that the next INITIALIZE FOR LOAD answers.
func (c *Card) OnlineCounter() uint16 { return c.Snapshot().OnlineCounter }

// OfflineCounter is the number that the next INITIALIZE FOR PURCHASE answers.
func (c *Card) OfflineCounter() uint16 { return c.Snapshot().OfflineCounter }

// Log is the transaction log SFI 18, newest first.
func (c *Card) Log() []Record { return c.Snapshot().Log }

func (c *Card) offlineNumber(e eeprom) uint16 {
	if c.variant == SharedCounter {
		return e.online
	}
	return e.offline
}

// Block blocks the application for now: SELECT and whatever moves money or
// checks a PIN answer 6A81; reading and GET TRANSACTION PROVE still work.
func (c *Card) Block() error { return c.setBlocked(blockedForNow) }

// BlockForEver blocks the application for good: as Block, with 9303.
func (c *Card) BlockForEver() error { return c.setBlocked(blockedForEver) }

// Unblock ends Block, not BlockForEver.
func (c *Card) Unblock() error { return c.setBlocked(notBlocked) }

func (c *Card) setBlocked(to blocking) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ee.blocked == blockedForEver && to != blockedForEver {
		return errors.New("the application is blocked for ever")
	}
	next := c.ee.clone()
	next.blocked = to
	c.ram.session = nil
	return c.commit(next)
}

// TearWhen is where a command loses power.
type TearWhen int

// The places of card dossier §3.4.
const (
	Before TearWhen = iota // the chip never saw the command
	Inside                 // in the middle: the chip rolls back
	After                  // committed, the answer is lost
)

// Tear is one loss of power to come.
type Tear struct {
	INS  byte // 00: any command
	When TearWhen
	Nth  int // counted from TearAt on, the first is 1; 0 means 1
}

// TearAt arms one tear. It happens once; several may be armed.
func (c *Card) TearAt(tear Tear) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tear.Nth = max(tear.Nth, 1)
	c.tears = append(c.tears, tear)
}

// TearsHit counts the tears that happened.
func (c *Card) TearsHit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.torn
}

// nextTear counts ins and returns the tear that is due, if any.
func (c *Card) nextTear(ins byte) *Tear {
	var due *Tear
	for i := 0; i < len(c.tears); i++ {
		if c.tears[i].INS != 0 && c.tears[i].INS != ins {
			continue
		}
		c.tears[i].Nth--
		if c.tears[i].Nth == 0 && due == nil {
			tear := c.tears[i]
			due = &tear
			c.tears = slices.Delete(c.tears, i, i+1)
			i--
		}
	}
	return due
}

// Transmit executes one command APDU and returns data ‖ SW1 SW2. ErrTorn means
// that power was lost on the way and nobody outside knows how far the chip came.
func (c *Card) Transmit(command []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ram.powered {
		return nil, ErrNoPower
	}
	var tear *Tear
	if len(command) > 1 {
		tear = c.nextTear(command[1])
	}
	if tear == nil {
		return c.answer(command), nil
	}
	if tear.When != Before {
		c.tearing = tear.When == Inside
		c.answer(command)
		c.tearing = false
	}
	c.torn++
	c.ram = ram{}
	return nil, ErrTorn
}
