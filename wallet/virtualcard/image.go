package virtualcard

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// Kinds of card files.
const (
	KindVirtual  = "virtual-card"
	KindRecorded = "apdu-replay"
)

// maxImage bounds what Parse looks at.
const maxImage = 1 << 20

// image is the file of a virtual card. Bytes are upper-case hex. It holds the
// card's own keys and PIN: it is the card.
type image struct {
	Kind           string       `json:"kind"`
	Version        int          `json:"version"`
	Variant        string       `json:"variant"`
	Profile        string       `json:"profile"`
	ASN            wallet.Hex   `json:"asn"`
	UID            wallet.Hex   `json:"uid"`
	ValidFrom      string       `json:"validFrom"`
	ValidUntil     string       `json:"validUntil"`
	KeyIndex       byte         `json:"keyIndex"`
	DLK            wallet.Hex   `json:"DLK"`
	DPK            wallet.Hex   `json:"DPK"`
	DTK            wallet.Hex   `json:"DTK"`
	PIN            wallet.Hex   `json:"pin"`
	PINTriesLeft   int          `json:"pinTriesLeft"`
	Blocked        blocking     `json:"blocked,omitempty"`
	BalanceFen     uint32       `json:"balanceFen"`
	OnlineCounter  uint16       `json:"onlineCounter"`
	OfflineCounter uint16       `json:"offlineCounter"`
	Log            []wallet.Hex `json:"log"`
	Loads          []wallet.Hex `json:"loads,omitempty"`
	LastLoad       *imageProof  `json:"lastLoad,omitempty"`
	LastPurchase   *imageProof  `json:"lastPurchase,omitempty"`
}

// imageProof is one transaction that GET TRANSACTION PROVE knows.
type imageProof struct {
	Counter uint16     `json:"counter"`
	MAC     wallet.Hex `json:"mac"`
	TAC     wallet.Hex `json:"tac"`
}

// Image returns the card's file as SaveTo's function would get it.
func (c *Card) Image() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.imageOf(c.ee)
}

func (c *Card) imageOf(e eeprom) ([]byte, error) {
	encoded, err := json.MarshalIndent(image{
		Kind: KindVirtual, Version: 1, Variant: c.variant, Profile: c.profile,
		ASN: c.asn[:], UID: c.uid[:], ValidFrom: c.validFrom, ValidUntil: c.validUntil,
		KeyIndex: c.keyIndex, DLK: c.keys.DLK[:], DPK: c.keys.DPK[:], DTK: c.keys.DTK[:],
		PIN: c.pin, PINTriesLeft: e.pinTriesLeft, Blocked: e.blocked,
		BalanceFen: e.balance, OnlineCounter: e.online, OfflineCounter: e.offline,
		Log: hexRecords(e.log), Loads: hexRecords(e.loads),
		LastLoad: hexProof(e.lastLoad), LastPurchase: hexProof(e.lastPurchase),
	}, "", " ")
	if err != nil {
		return nil, err
	}
	return append(encoded, '\n'), nil
}

func hexRecords(log []Record) []wallet.Hex {
	out := make([]wallet.Hex, 0, len(log))
	for _, record := range log {
		out = append(out, bytes.Clone(record[:]))
	}
	return out
}

func hexProof(p *proof) *imageProof {
	if p == nil {
		return nil
	}
	return &imageProof{Counter: p.counter, MAC: p.mac[:], TAC: p.tac[:]}
}

// Parse reads a card file of either kind: a virtual card (*Card) or a recorded
// one (*Recorded). Errors never repeat what the file holds.
func Parse(file []byte) (Chip, error) {
	if len(file) > maxImage {
		return nil, errors.New("card file: larger than 1 MiB")
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(file, &head); err != nil {
		return nil, errors.New("card file: not JSON")
	}
	switch head.Kind {
	case KindVirtual:
		return parseCard(file)
	case KindRecorded:
		return parseRecorded(file)
	}
	return nil, errors.New("card file: neither a virtual nor a recorded card")
}

func parseCard(file []byte) (*Card, error) {
	var in image
	if err := strict(file, &in); err != nil {
		return nil, err
	}
	if in.Version != 1 {
		return nil, fmt.Errorf("card file: version %d is not known", in.Version)
	}
	c := &Card{
		random: rand.Reader, delay: time.Sleep,
		variant: in.Variant, profile: in.Profile, validFrom: in.ValidFrom, validUntil: in.ValidUntil,
		keyIndex: in.KeyIndex, pin: in.PIN,
		ee: eeprom{
			balance: in.BalanceFen, online: in.OnlineCounter, offline: in.OfflineCounter,
			pinTriesLeft: in.PINTriesLeft, blocked: in.Blocked,
		},
	}
	for name, field := range map[string]struct{ from, to []byte }{
		"asn": {in.ASN, c.asn[:]}, "uid": {in.UID, c.uid[:]},
		"DLK": {in.DLK, c.keys.DLK[:]}, "DPK": {in.DPK, c.keys.DPK[:]}, "DTK": {in.DTK, c.keys.DTK[:]},
	} {
		if !fill(field.to, field.from) {
			return nil, fmt.Errorf("card file: %s has not %d bytes", name, len(field.to))
		}
	}
	var ok [4]bool
	c.ee.log, ok[0] = parseRecords(in.Log)
	c.ee.loads, ok[1] = parseRecords(in.Loads)
	c.ee.lastLoad, ok[2] = parseProof(in.LastLoad)
	c.ee.lastPurchase, ok[3] = parseProof(in.LastPurchase)
	if ok != [4]bool{true, true, true, true} {
		return nil, errors.New("card file: a log record or proof is damaged")
	}
	if in.Blocked != notBlocked && in.Blocked != blockedForNow && in.Blocked != blockedForEver {
		return nil, errors.New("card file: unknown kind of blocking")
	}
	if c.keyIndex == 0 {
		return nil, errors.New("card file: key index 0")
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("card file: %w", err)
	}
	return c, nil
}

// strict decodes one JSON value and nothing after it, without unknown fields.
func strict(file []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(file))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return errors.New("card file: a field is unknown or of the wrong type")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("card file: something follows the card")
	}
	return nil
}

func fill(to, from []byte) bool { return copy(to, from) == len(to) && len(from) == len(to) }

func parseRecords(in []wallet.Hex) (log []Record, ok bool) {
	for _, raw := range in {
		if len(raw) != len(Record{}) {
			return nil, false
		}
		log = append(log, Record(raw))
	}
	return log, len(log) <= logRecords
}

func parseProof(in *imageProof) (p *proof, ok bool) {
	if in == nil {
		return nil, true
	}
	p = &proof{counter: in.Counter}
	return p, fill(p.mac[:], in.MAC) && fill(p.tac[:], in.TAC)
}

// keyExport is the file of card-level keys that a demo platform writes when it
// issues a card: {"serial","aid","DLK","DPK","DTK"}.
type keyExport struct {
	Serial string `json:"serial"`
	AID    string `json:"aid"`
	DLK    string `json:"DLK"`
	DPK    string `json:"DPK"`
	DTK    string `json:"DTK"`
}

// ParseKeys reads a file of card-level keys, so that a card made here can carry
// keys that a platform issued.
func ParseKeys(file []byte) (asn wallet.ASN, keys Keys, err error) {
	var in keyExport
	if len(file) > maxImage || json.Unmarshal(file, &in) != nil {
		return asn, keys, errors.New("key file: not JSON")
	}
	if asn, err = wallet.ParseASN(in.Serial); err != nil {
		return asn, keys, errors.New("key file: serial is not 16 or 20 hexadecimal digits")
	}
	for _, field := range []struct {
		text string
		key  *epcrypto.Key16
	}{{in.DLK, &keys.DLK}, {in.DPK, &keys.DPK}, {in.DTK, &keys.DTK}} {
		if *field.key, err = epcrypto.ParseKey16(field.text); err != nil {
			return asn, Keys{}, fmt.Errorf("key file: %w", err)
		}
	}
	return asn, keys, nil
}

// ExportKeys writes the card's keys in the form that ParseKeys reads.
func (c *Card) ExportKeys() ([]byte, error) {
	return json.Marshal(keyExport{
		Serial: c.asn.String(), AID: wallet.Hex(c.AID()).String(),
		DLK: c.keys.DLK.Hex(), DPK: c.keys.DPK.Hex(), DTK: c.keys.DTK.Hex(),
	})
}
