package wallet

import (
	"encoding/hex"
	"slices"
	"strconv"
)

// OverdraftMeaning says what bytes 2–4 of a log record are on a profile.
type OverdraftMeaning string

// The meanings met in the field (card dossier §1.4, disagreement 2).
const (
	OverdraftIsLimit   OverdraftMeaning = "limit"
	OverdraftIsBalance OverdraftMeaning = "balance" // after the transaction
	OverdraftUnknown   OverdraftMeaning = ""        // not shown
)

// NumberRule says how the number that people read on the card is made.
type NumberRule string

// The rules of card numbers; offsets are those of SFI 15 from 0.
const (
	NumberASN         NumberRule = "asn"        // 10–19, without leading 0000
	NumberTUnion      NumberRule = "t-union"    // 10–19 without the first digit: 19 digits
	NumberFactor      NumberRule = "factor"     // 12–19 as digits
	NumberBigEndian   NumberRule = "big-endian" // 16–19 as a big-endian number
	NumberMFInfo      NumberRule = "mf-info"    // 0–3 of the MF's own file
	NumberMacau       NumberRule = "macau"      // 35–39 of a 45-byte 9F0C
	mfInfoNumberBytes            = 4
	mfInfoDatesAt                = 24
)

// Profile is one kind of card, as data. Nothing from a network changes it.
type Profile struct {
	Name string
	// Base names the profile whose published open script serves this one too.
	Base string

	AIDs       []Hex  // full names; each may select the purse application
	AIDFirst   []Hex  // names to select before, in this order
	FileID     uint16 // select by file identifier instead of a name; only after MFInfoSFI could be read
	MFInfoSFI  byte   // file in the MF with number and dates; 0: none
	InfoSFI    byte   // public basic information
	InfoLength int    // bytes to ask for first

	P2              byte // purse: 01 ED, 02 EP
	KeyIndex        byte // of the load key
	LogSFIs         []byte
	FallbackLogSFIs []byte // read where the LogSFIs hold nothing
	MaxRecords      int    // per file

	Number        NumberRule
	BalanceScale  Fen // shown balance = value × scale + offset; scale 0 means 1
	BalanceOffset Fen
	LogOverdraft  OverdraftMeaning
	LoadType      byte
	PurchaseType  byte

	Cities        []uint16 // a card of profile Base with one of these city codes is of this profile
	Interlinked   bool     // a card of profile Base with flag 0001 at 10–11 of SFI 15 is of this profile
	Loadable      bool     // INITIALIZE FOR LOAD is allowed at all; the platform's policy may still refuse
	SharedCounter bool     // purchases move the online counter too (protocol §2.7)
}

func aid(text string) Hex {
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic("profile table: " + text)
	}
	return raw
}

// File identifiers that a query may select (protocol §2.9).
const (
	fileMF      = 0x3F00
	fileBeijing = 0x1001
)

var aidEP = aid("A00000000386980701")

// pbocEP is the purse of JR/T 0025 and the pattern for its relatives.
var pbocEP = Profile{
	Name: "pboc-ep", AIDs: []Hex{aidEP},
	InfoSFI: 0x15, InfoLength: 30, P2: 0x02, KeyIndex: 0x01,
	LogSFIs: []byte{0x18}, FallbackLogSFIs: []byte{0x1A, 0x10, 0x06}, MaxRecords: 10,
	Number: NumberASN, LogOverdraft: OverdraftIsLimit,
	LoadType: TypeLoadEP, PurchaseType: TypePurchaseEP, Loadable: true,
}

// like copies a profile under another name and changes the copy.
func like(base Profile, name string, change func(*Profile)) *Profile {
	base.Name = name
	change(&base)
	return &base
}

// profiles is the table of built-in profiles in the order of search (card
// dossier §4). Those with a Base are recognised by SFI 15, not by a name.
var profiles = buildProfiles()

func buildProfiles() []*Profile {
	readOnly := func(name string, change func(*Profile)) *Profile {
		return like(pbocEP, name, func(p *Profile) {
			p.Loadable, p.FallbackLogSFIs, p.LogOverdraft = false, nil, OverdraftUnknown
			change(p)
		})
	}
	refined := func(name string, change func(*Profile)) *Profile {
		return like(pbocEP, name, func(p *Profile) {
			p.Base, p.Number, p.LogOverdraft = pbocEP.Name, NumberFactor, OverdraftUnknown
			change(p)
		})
	}
	standard := pbocEP
	return []*Profile{
		&standard,
		like(pbocEP, "t-union", func(p *Profile) {
			p.AIDs = []Hex{
				aid("A000000632010105"),
				aid("A00000063201010510009156000014A1"),
				aid("A0000006320101055358434154"),
			}
			p.Number, p.LogOverdraft = NumberTUnion, OverdraftUnknown
			p.FallbackLogSFIs = []byte{0x1F, 0x06}
		}),
		readOnly("shenzhen", func(p *Profile) {
			p.AIDs, p.Number = []Hex{aid("5041592E535A54")}, NumberBigEndian
		}),
		readOnly("wuhan", func(p *Profile) {
			p.AIDs, p.Number = []Hex{[]byte("AP1.WHCTC")}, NumberFactor
		}),
		readOnly("lingnan", func(p *Profile) {
			p.AIDFirst, p.AIDs, p.Number = []Hex{[]byte("PAY.APPY")}, []Hex{[]byte("PAY.TICL")}, NumberFactor
		}),
		readOnly("suzhou", func(p *Profile) {
			p.AIDs, p.Number = []Hex{aid("535558494E2E4444463031")}, NumberFactor
		}),
		readOnly("macau", func(p *Profile) {
			p.AIDs, p.Number = []Hex{aid("B0C4C3C5CDA8C7AEB0FC")}, NumberMacau
			p.BalanceScale, p.BalanceOffset = 10, -1000
		}),
		like(pbocEP, "wallet-d156", func(p *Profile) {
			p.AIDs = []Hex{aid("D1560001018003800000000100000000"), aid("D1560001018003800000000100001002")}
		}),
		readOnly("beijing", func(p *Profile) {
			p.AIDs, p.FileID, p.MFInfoSFI, p.Number = nil, fileBeijing, 0x04, NumberMFInfo
		}),
		// Recognised by what an application of pboc-ep says of itself.
		refined("shanghai", func(p *Profile) {
			p.Cities, p.LogSFIs, p.FallbackLogSFIs = []uint16{0x2900}, []byte{0x18, 0x06}, nil
			p.LogOverdraft, p.SharedCounter = OverdraftIsBalance, true
			p.Number = NumberBigEndian
		}),
		refined("chongqing", func(p *Profile) { p.Cities = []uint16{0x4000} }),
		refined("changsha", func(p *Profile) {
			p.Cities, p.LogSFIs, p.FallbackLogSFIs = []uint16{0x4100}, []byte{0x18, 0x10, 0x1A}, nil
		}),
		refined("city-union", func(p *Profile) { p.Interlinked = true }),
		// ED instead of EP: recognised by a card that has no EP balance.
		readOnly("tsinghua", func(p *Profile) {
			p.P2, p.LoadType, p.PurchaseType = 0x01, TypeLoadED, TypePurchaseED
			p.Base, p.LogOverdraft = pbocEP.Name, OverdraftIsLimit
		}),
	}
}

// Profiles returns the built-in profiles in the order of search.
func Profiles() []*Profile { return slices.Clone(profiles) }

// ProfileByName returns a built-in profile.
func ProfileByName(name string) (*Profile, bool) {
	for _, p := range profiles {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// searched reports whether the profile is found by selecting its name, and not
// by refining another.
func (p *Profile) searched() bool { return p.Base == "" }

// Accepts reports whether a script published for the named profile serves p.
func (p *Profile) Accepts(scriptProfile string) bool {
	return scriptProfile == p.Name || p.Base != "" && scriptProfile == p.Base
}

// LoadName is the name under which a platform loads the card: that of the profile
// it refines, except where the refined one behaves differently in a load.
func (p *Profile) LoadName() string {
	if p.Base == "" || p.SharedCounter {
		return p.Name
	}
	return p.Base
}

// refine returns the profile that info shows a card of p to be.
func (p *Profile) refine(info Info) *Profile {
	for _, candidate := range profiles {
		if candidate.Base == p.Name && slices.Contains(candidate.Cities, info.City()) {
			return candidate
		}
	}
	for _, candidate := range profiles {
		if candidate.Base == p.Name && candidate.Interlinked && info.City() != 0 && info.ASN[0] == 0 && info.ASN[1] == 1 {
			return candidate
		}
	}
	return p
}

// otherPurse returns the profile of the same application with the other purse.
func (p *Profile) otherPurse() *Profile {
	for _, candidate := range profiles {
		if candidate.Base == p.Name && candidate.P2 != p.P2 {
			return candidate
		}
	}
	return nil
}

// allLogSFIs are all files that may hold records, also on the relatives of p.
func (p *Profile) allLogSFIs() []byte {
	all := append(slices.Clone(p.LogSFIs), p.FallbackLogSFIs...)
	for _, candidate := range profiles {
		if candidate.Base == p.Name {
			all = append(all, candidate.LogSFIs...)
			all = append(all, candidate.FallbackLogSFIs...)
		}
	}
	return all
}

// number makes the number that people read on the card.
func (p *Profile) number(asn ASN, issuerData, mfInfo Hex) string {
	digits := asn.String()
	switch p.Number {
	case NumberTUnion:
		return digits[1:]
	case NumberFactor:
		return digits[4:]
	case NumberBigEndian:
		return decimal(asn[6:])
	case NumberMFInfo:
		if len(mfInfo) >= mfInfoNumberBytes {
			return mfInfo[:mfInfoNumberBytes].String()
		}
		return ""
	case NumberMacau:
		if len(issuerData) >= 40 {
			return issuerData[35:40].String()
		}
	}
	if digits[:4] == "0000" {
		return digits[4:]
	}
	return digits
}

func decimal(raw []byte) string {
	value := uint64(0)
	for _, b := range raw {
		value = value<<8 | uint64(b)
	}
	return strconv.FormatUint(value, 10)
}

// shown turns the card's value into the amount that people see.
func (p *Profile) shown(value Fen) Fen {
	if p.BalanceScale > 0 {
		value *= p.BalanceScale
	}
	return value + p.BalanceOffset
}

// hasAID reports whether name is one of the profile's full names.
func (p *Profile) hasAID(name []byte) bool {
	same := func(known Hex) bool { return string(known) == string(name) }
	return slices.ContainsFunc(p.AIDs, same) || slices.ContainsFunc(p.AIDFirst, same)
}
