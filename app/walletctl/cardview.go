package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

type cardViewCmd struct {
	Raw    bool `help:"Show the bytes of all files and records."`
	Reveal bool `help:"Show numbers, the holder and unknown files in full."`
}

// viewObject is everything that one look at a card gave.
type viewObject struct {
	Reader       string              `json:"reader"`
	ReadAt       string              `json:"readAt"`
	ATR          *atrObject          `json:"atr"`
	Directories  []directoryObject   `json:"directories"`
	Purses       []viewedPurse       `json:"purses"`
	Applications []applicationObject `json:"applications"`
	Anomalies    []anomalyObject     `json:"anomalies"`
	APDUs        int                 `json:"apdus"`
	Problems     []string            `json:"problems"`
}

// viewedPurse is a purse as query shows it, and whether it is blocked.
type viewedPurse struct {
	purseObject
	Blocked bool `json:"blocked"`
	// The highest numbers in the log, null where it holds none: a counter itself cannot
	// be read without beginning a transaction.
	OnlineLogged  *uint16 `json:"onlineCounterLogged"`
	OfflineLogged *uint16 `json:"offlineCounterLogged"`
	SharedCounter bool    `json:"sharedCounter"` // loads and purchases count in one sequence, as online
}

// viewedPurse shows a purse with its counters.
func (c *console) viewedPurse(purse wallet.Purse, reveal bool) viewedPurse {
	object := viewedPurse{purseObject: c.purse(purse, reveal), Blocked: purse.Blocked, SharedCounter: purse.Profile.SharedCounter}
	online, offline, hasOnline, hasOffline := wallet.LoggedCounters(purse)
	if hasOnline {
		object.OnlineLogged = &online
	}
	if hasOffline {
		object.OfflineLogged = &offline
	}
	return object
}

type atrObject struct {
	Raw         wallet.Hex         `json:"raw"`
	Chip        *string            `json:"chip"` // null where the bytes do not tell it
	Convention  string             `json:"convention"`
	Protocols   []string           `json:"protocols"`
	Interface   []namedByte        `json:"interface"`
	Historical  wallet.Hex         `json:"historical"`
	Objects     []historicalObject `json:"objects"`
	Check       *string            `json:"check"`
	Contactless *contactlessObject `json:"contactless"`
	Problem     *string            `json:"problem"`
}

type namedByte struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Meaning string `json:"meaning"`
}

type historicalObject struct {
	Tag     string     `json:"tag"`
	Value   wallet.Hex `json:"value"`
	Meaning string     `json:"meaning"`
}

type contactlessObject struct {
	Storage  bool   `json:"storage"`
	Standard string `json:"standard"`
	Name     string `json:"name"`
}

type directoryObject struct {
	Name    string           `json:"name"`
	Entries []directoryEntry `json:"entries"`
}

type directoryEntry struct {
	AID      wallet.Hex `json:"aid"`
	Label    string     `json:"label"`
	Priority int        `json:"priority"`
}

type applicationObject struct {
	AID      *wallet.Hex     `json:"aid"` // null where a file identifier selected it
	FileID   *string         `json:"fileID"`
	Label    string          `json:"label"`
	Source   wallet.Source   `json:"source"`
	Profile  *string         `json:"profile"`
	SW       string          `json:"sw"`
	Meaning  string          `json:"meaning"`
	FCI      string          `json:"fci"`
	PINTries *int            `json:"pinTries"`
	Balances []viewedBalance `json:"balances"`
	Data     []dataObject    `json:"data"`
	Files    []fileObject    `json:"files"`
}

type viewedBalance struct {
	P1P2      string     `json:"p1p2"`
	AmountFen wallet.Fen `json:"amountFen"`
	HighBit   bool       `json:"highBit"`
}

type dataObject struct {
	Tag   string     `json:"tag"`
	Value wallet.Hex `json:"value"`
	Text  string     `json:"text"`
}

type fileObject struct {
	SFI     string       `json:"sfi"`
	Kind    string       `json:"kind"`
	SW      string       `json:"sw"`
	Bytes   int          `json:"bytes"`
	Content string       `json:"content"` // hex; hidden bytes as **
	Fields  []fieldText  `json:"fields"`
	Records []recordText `json:"records"`
}

// fieldText is one decoded field, for people and scripts alike.
type fieldText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type recordText struct {
	Index int    `json:"index"`
	Raw   string `json:"raw"` // hex; hidden bytes as **
	Text  string `json:"text"`
}

type anomalyObject struct {
	Code     wallet.AnomalyCode `json:"code"`
	Severity wallet.Severity    `json:"severity"`
	AIDOf    wallet.Hex         `json:"aid"`
	SFI      *string            `json:"sfi"`
	Record   *int               `json:"record"`
	Text     string             `json:"text"`
}

func (cmd cardViewCmd) Run(ctx context.Context, con *console) error {
	program, err := con.openCard(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	con.say(con.t("cardview.reading"))
	result, err := program.Core.ViewCard(ctx)
	if err != nil {
		return err
	}
	object := viewObject{
		Reader: result.Reader.Name, ReadAt: stamp(result.At), ATR: con.atr(result.ATR), Directories: []directoryObject{},
		Purses: []viewedPurse{}, Applications: []applicationObject{}, Anomalies: con.anomalies(result.View, result.At), APDUs: result.View.Commands,
		Problems: []string{},
	}
	if result.View.Trouble != "" {
		object.Problems = append(object.Problems, string(result.View.Trouble))
	}
	object.Problems = append(append(object.Problems, result.View.Problems...), result.View.Reading.Problems...)
	if recorded := program.CardProblems(); len(recorded) > 0 && object.ATR != nil {
		object.Problems = append(object.Problems, recorded...)
		object.ATR.Chip = nil // the recording's stand-in tells nothing about the card
	}
	for _, directory := range result.View.Directories {
		object.Directories = append(object.Directories, directoryOf(directory))
	}
	for _, purse := range result.View.Reading.Purses {
		object.Purses = append(object.Purses, con.viewedPurse(purse, cmd.Reveal))
	}
	for _, application := range result.View.Applications {
		object.Applications = append(object.Applications, con.application(application, cmd.Reveal))
	}
	return con.print(object, cmd.people(con, object))
}

func (c *console) atr(raw []byte) *atrObject {
	if len(raw) == 0 {
		return nil
	}
	atr, err := reader.ParseATR(raw)
	object := &atrObject{
		Raw: raw, Chip: orNull(atr.Kind()), Convention: "direct", Protocols: []string{}, Interface: []namedByte{},
		Historical: atr.Historical, Objects: []historicalObject{},
	}
	if atr.Inverse {
		object.Convention = "inverse"
	}
	for _, protocol := range atr.Protocols {
		object.Protocols = append(object.Protocols, fmt.Sprintf("T=%d", protocol))
	}
	for _, b := range atr.Interface {
		object.Interface = append(object.Interface, namedByte{b.Name, fmt.Sprintf("%02X", b.Value), b.Meaning})
	}
	for _, one := range atr.Objects {
		object.Objects = append(object.Objects, historicalObject{fmt.Sprintf("%X", one.Tag), one.Value, one.Meaning})
	}
	if atr.HasCheck {
		object.Check = orNull(fmt.Sprintf("%02X", atr.Check))
	}
	if card := atr.Contactless; card != nil {
		object.Contactless = &contactlessObject{card.Storage, card.Standard, card.Name}
	}
	if err != nil {
		object.Problem = orNull(err.Error())
	}
	return object
}

func directoryOf(directory wallet.Directory) directoryObject {
	object := directoryObject{Name: string(directory.Name), Entries: []directoryEntry{}}
	for _, entry := range directory.Entries {
		object.Entries = append(object.Entries, directoryEntry{entry.AID, entry.Label, entry.Priority})
	}
	return object
}

func (c *console) application(a wallet.Application, reveal bool) applicationObject {
	object := applicationObject{
		Label: a.Label, Source: a.Source, SW: a.SW.String(), Meaning: a.SW.Meaning(), FCI: a.MaskedFCI(),
		Balances: []viewedBalance{}, Data: []dataObject{}, Files: []fileObject{},
	}
	if reveal {
		object.FCI = a.FCI.String()
	}
	if len(a.Name) > 0 {
		object.AID = &a.Name
	}
	if a.FileID != 0 {
		object.FileID = orNull(fmt.Sprintf("%04X", a.FileID))
	}
	if a.Profile != nil {
		object.Profile = &a.Profile.Name
	}
	if tries, known := a.PINTries(); known {
		object.PINTries = &tries
	}
	for _, balance := range a.Balances {
		object.Balances = append(object.Balances, viewedBalance{fmt.Sprintf("%02X%02X", balance.P1, balance.P2), balance.Amount, balance.HighBit})
	}
	for _, data := range a.Data {
		object.Data = append(object.Data, dataObject{fmt.Sprintf("%04X", data.Tag), data.Value, c.dataText(data)})
	}
	for _, file := range a.Files {
		object.Files = append(object.Files, c.file(a, file, reveal))
	}
	return object
}

// dataText says what a data object means (card dossier §4.4).
func (c *console) dataText(data wallet.DataObject) string {
	switch data.Tag {
	case 0x9F79:
		if amount, ok := wallet.ParseBCDAmount(data.Value); ok {
			return c.t("cardview.data.9F79", "Amount", amount.Yuan())
		}
	case 0x9F4D:
		if len(data.Value) == 2 {
			return c.t("cardview.data.9F4D", "File", fmt.Sprintf("%02X", data.Value[0]), "Records", int(data.Value[1]))
		}
	case 0x9F4F:
		if fields, err := wallet.ParseDOL(data.Value); err == nil {
			return c.t("cardview.data.9F4F", "Fields", len(fields))
		}
	case 0x9F36:
		return c.t("cardview.data.9F36", "Counter", number(data.Value))
	case 0x9F13:
		return c.t("cardview.data.9F13", "Counter", number(data.Value))
	case 0x9F17:
		return c.t("cardview.data.9F17", "Tries", number(data.Value))
	}
	return ""
}

// number reads up to eight bytes as one number.
func number(raw []byte) uint64 {
	var value uint64
	for _, b := range raw[:min(len(raw), 8)] {
		value = value<<8 | uint64(b)
	}
	return value
}

func (c *console) file(a wallet.Application, file wallet.File, reveal bool) fileObject {
	object := fileObject{
		SFI: fmt.Sprintf("%02X", file.SFI), Kind: string(file.Kind()), SW: file.SW.String(), Bytes: len(file.Content), Content: file.MaskedContent(),
		Fields: c.fields(file, reveal), Records: []recordText{},
	}
	if reveal {
		object.Content = file.Content.String()
	}
	for _, record := range file.Records {
		text := recordText{Index: record.Index, Raw: file.MaskedRecord(record), Text: c.recordLine(a, file, record)}
		if reveal {
			text.Raw = record.Raw.String()
		}
		object.Records = append(object.Records, text)
	}
	return object
}

// fields decodes a transparent file as far as it is described.
func (c *console) fields(file wallet.File, reveal bool) []fieldText {
	list := []fieldText{}
	add := func(name, text string) { list = append(list, fieldText{name, text}) }
	switch file.Kind() {
	case wallet.FileInfo:
		info, err := wallet.ParseInfo(file.Content)
		if err != nil {
			return list
		}
		serial := info.ASN.Masked()
		if reveal {
			serial = info.ASN.String()
		}
		add("issuer", wallet.Hex(info.Issuer[:]).String())
		add("type", fmt.Sprintf("%02X", info.Type))
		add("version", fmt.Sprintf("%02X", info.Version))
		add("serial", serial)
		add("validFrom", dateOr(info.ValidFrom, file.Content[20:24]))
		add("validUntil", dateOr(info.ValidUntil, file.Content[24:28]))
	case wallet.FileHolder:
		holder, err := wallet.ParseHolder(file.Content)
		if err != nil {
			return list
		}
		name, document := hiddenText(holder.Name), hiddenText(holder.Document)
		if reveal {
			name, document = gbk(holder.Name), gbk(holder.Document)
		}
		add("cardType", fmt.Sprintf("%02X", holder.CardType))
		add("staff", fmt.Sprintf("%02X", holder.Staff))
		add("name", name)
		add("document", document)
		add("documentType", fmt.Sprintf("%02X", holder.DocumentType))
	case wallet.FileRegion:
		region, err := wallet.ParseRegion(file.Content)
		if err != nil {
			return list
		}
		add("country", region.Country.String())
		add("province", region.Province.String())
		add("city", region.City.String())
		add("cardType", fmt.Sprintf("%02X", region.CardType))
	}
	return list
}

// dateOr is a date, or its digits where they are none.
func dateOr(date time.Time, raw []byte) string {
	if date.IsZero() {
		return wallet.Hex(raw).String()
	}
	return date.Format(time.DateOnly)
}

// hiddenText shows that something is there.
func hiddenText(raw []byte) string { return strings.Repeat("*", len(raw)) }

// gbk is a text of the card as people read it; what is no GBK shows as dots.
func gbk(raw []byte) string {
	text, err := simplifiedchinese.GBK.NewDecoder().Bytes(raw)
	if err != nil {
		return wallet.Hex(raw).String()
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == '\uFFFD' {
			return '.'
		}
		return r
	}, string(text))
}
