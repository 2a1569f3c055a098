package virtualcard

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// Limits of a purse in memory.
const (
	logRecords      = 10         // cyclic file SFI 18, card dossier §1.4
	maxIssueRecords = 1000       // what a new card may be said to have done before
	maxBalance      = 0x7FFFFFFF // some readers take the top bit for a sign
	maxBalanceShort = 0xFFFFFF   // shared-counter logs the balance in three bytes
	pinTries        = 3
)

// Keys are the three card-level keys of a purse. They print as [key].
type Keys struct {
	DLK epcrypto.Key16 // load
	DPK epcrypto.Key16 // purchase
	DTK epcrypto.Key16 // TAC
}

// Profiles of New: which files the card has and under which name its purse is
// selected.
const (
	ProfileEP     = "pboc-ep" // A00000000386980701, the most common name
	ProfileTUnion = "t-union" // A000000632010105, with 9F08 in the FCI and SFI 17
)

// Spec says which card to make. The zero value of every field but ASN is useful.
type Spec struct {
	ASN            wallet.ASN
	Balance        wallet.Fen
	Records        int    // transactions in the past; the log keeps the last ten
	Variant        string // "": standard
	Profile        string // "": pboc-ep
	ValidFrom      string // YYYYMMDD, "": 20240101
	ValidUntil     string // YYYYMMDD, "": 20441231
	Keys           *Keys  // nil: random
	PIN            string // 4 to 12 digits, an even number; "": six random digits
	KeyIndex       byte   // of DLK and DPK, 0: 01
	OnlineCounter  uint16 // raised to the number of loads among Records
	OfflineCounter uint16 // raised to the number of purchases among Records
}

// New makes a card. random feeds the keys and PIN that the spec leaves open and,
// later, every random of the card: crypto/rand.Reader outside tests.
func New(spec Spec, random io.Reader) (*Card, error) {
	if random == nil {
		return nil, errors.New("a card needs a source of randomness")
	}
	c := &Card{random: random, delay: time.Sleep}
	if err := c.personalise(spec); err != nil {
		return nil, err
	}
	if err := c.invent(spec.Records); err != nil {
		return nil, err
	}
	return c, nil
}

// personalise fills what never changes on a card, and the counters.
func (c *Card) personalise(spec Spec) (err error) {
	c.asn = spec.ASN
	c.variant = orElse(spec.Variant, Standard)
	c.profile = orElse(spec.Profile, ProfileEP)
	c.validFrom = orElse(spec.ValidFrom, "20240101")
	c.validUntil = orElse(spec.ValidUntil, "20441231")
	c.keyIndex = max(spec.KeyIndex, 1)
	c.ee = eeprom{online: spec.OnlineCounter, offline: spec.OfflineCounter, pinTriesLeft: pinTries}
	if c.variant == SharedCounter {
		c.ee.online, c.ee.offline = max(c.ee.online, c.ee.offline), 0
	}
	if _, err := io.ReadFull(c.random, c.uid[:]); err != nil {
		return fmt.Errorf("chip number: %w", err)
	}
	if spec.Keys != nil {
		c.keys = *spec.Keys
	} else if c.keys, err = randomKeys(c.random); err != nil {
		return err
	}
	digits := spec.PIN
	if digits == "" {
		if digits, err = randomDigits(c.random); err != nil {
			return err
		}
	}
	if c.pin, err = bcd(digits); err != nil {
		return errors.New("a PIN has 4 to 12 digits, an even number")
	}
	if spec.Balance < 0 || spec.Balance > maxBalance {
		return fmt.Errorf("a purse cannot hold %s yuan", spec.Balance.Yuan())
	}
	c.ee.balance = uint32(spec.Balance)
	return c.check()
}

// check applies the rules that a new card and a card file share.
func (c *Card) check() error {
	switch {
	case !knownVariant(c.variant):
		return fmt.Errorf("unknown card variant %q", c.variant)
	case c.profile != ProfileEP && c.profile != ProfileTUnion:
		return fmt.Errorf("unknown card profile %q", c.profile)
	case c.variant == SharedCounter && c.profile != ProfileEP:
		return errors.New("the variant shared-counter has the profile pboc-ep")
	case c.ee.balance > c.limit():
		return errors.New("the purse holds more than its limit")
	case c.variant == SharedCounter && c.ee.offline != 0:
		return errors.New("the variant shared-counter has one counter: the online one")
	case len(c.pin) < 2 || len(c.pin) > 6:
		return errors.New("a PIN has 4 to 12 digits, an even number")
	case c.ee.pinTriesLeft < 0 || c.ee.pinTriesLeft > pinTries:
		return errors.New("PIN tries out of range")
	}
	for _, date := range []string{c.validFrom, c.validUntil} {
		if _, err := time.Parse("20060102", date); err != nil {
			return fmt.Errorf("date %q is not YYYYMMDD", date)
		}
	}
	return nil
}

func (c *Card) limit() uint32 {
	if c.variant == SharedCounter {
		return maxBalanceShort
	}
	return maxBalance
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func randomKeys(random io.Reader) (keys Keys, err error) {
	for _, key := range []*epcrypto.Key16{&keys.DLK, &keys.DPK, &keys.DTK} {
		if _, err := io.ReadFull(random, key[:]); err != nil {
			return keys, fmt.Errorf("card keys: %w", err)
		}
	}
	return keys, nil
}

func randomDigits(random io.Reader) (string, error) {
	number, err := rand.Int(random, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	return fmt.Sprintf("%06d", number), nil
}

// bcd packs an even number of decimal digits.
func bcd(digits string) ([]byte, error) {
	if len(digits)%2 != 0 {
		return nil, errors.New("odd number of digits")
	}
	packed := make([]byte, len(digits)/2)
	for i, r := range []byte(digits) {
		if r < '0' || r > '9' {
			return nil, errors.New("not a digit")
		}
		packed[i/2] = packed[i/2]<<4 | (r - '0')
	}
	return packed, nil
}

// pastBegins is the moment of the newest invented record. It is fixed so that two
// cards of one spec have equal logs.
var pastBegins = time.Date(2026, 3, 1, 0, 41, 7, 0, time.UTC)

// invent writes a past of n transactions that adds up: from the present balance
// backwards, every fifth transaction is a load where the balance allows it.
func (c *Card) invent(n int) error {
	if n < 0 || n > maxIssueRecords {
		return fmt.Errorf("a new card has 0 to %d records", maxIssueRecords)
	}
	type event struct {
		kind          byte
		amount, after uint32
	}
	past := make([]event, n)
	balance := c.ee.balance
	loads := 0
	for i := range past {
		e := event{kind: typePurchase, amount: uint32(200 + 100*(i%4) + 30*(i%3)), after: balance}
		if i%5 == 4 && balance >= 5000 {
			e.kind, e.amount = typeLoad, 5000
		}
		if e.kind == typePurchase && balance+e.amount > c.limit() {
			return errors.New("the balance leaves no room for past purchases")
		}
		if e.kind == typeLoad {
			balance -= e.amount
			loads++
		} else {
			balance += e.amount
		}
		past[i] = e
	}
	if c.variant == SharedCounter {
		c.ee.online = max(c.ee.online, uint16(n))
	} else {
		c.ee.online = max(c.ee.online, uint16(loads))
		c.ee.offline = max(c.ee.offline, uint16(n-loads))
	}
	online, offline := c.ee.online, c.ee.offline
	for i, e := range past {
		counter := &offline
		if e.kind == typeLoad || c.variant == SharedCounter {
			counter = &online
		}
		*counter--
		terminal := wallet.TerminalNumber{0x00, 0x00, 0x00, 0x99, 0x05, byte(0x01 + i%3)}
		at := epcrypto.CardTimeOf(pastBegins.Add(-time.Duration(i) * 557 * time.Minute))
		record := c.record(*counter, e.after, e.amount, e.kind, terminal, at)
		if len(c.ee.log) < logRecords {
			c.ee.log = append(c.ee.log, record)
		}
		if c.variant == SharedCounter && e.kind == typeLoad && len(c.ee.loads) < logRecords {
			c.ee.loads = append(c.ee.loads, record)
		}
	}
	return nil
}

// record builds the 23 bytes of card dossier §1.4 for a transaction that began
// at the number counterBefore.
func (c *Card) record(counterBefore uint16, balanceAfter, amount uint32, kind byte, terminal wallet.TerminalNumber, at epcrypto.CardTime) (r Record) {
	number := counterBefore + 1
	if c.variant == LogBefore {
		number = counterBefore
	}
	binary.BigEndian.PutUint16(r[0:], number)
	if c.variant == SharedCounter {
		r[2], r[3], r[4] = byte(balanceAfter>>16), byte(balanceAfter>>8), byte(balanceAfter)
	}
	binary.BigEndian.PutUint32(r[5:], amount)
	r[9] = kind
	copy(r[10:], terminal[:])
	copy(r[16:], at[:])
	return r
}
