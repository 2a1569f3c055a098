package wallet

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
)

// Problems of a view.
const (
	ProblemViewCutShort = "VIEW_CUT_SHORT" // the card left, or had more than is asked for
)

// maxFileRecords bounds the records that are read of one file: the longest log that
// is known, the journeys of T-Union, has 30 (card dossier §4.1).
const maxFileRecords = 64

// View is everything that one look by service staff gave: what every reading gives,
// and behind it the applications of the card with all files that may be read.
type View struct {
	Reading      Reading
	Trouble      Code // why the reading found no purse: CodeCardNoPurse, CodeCardBlocked; empty if it did
	Directories  []Directory
	Applications []Application
	Commands     int // all that were sent, GET RESPONSE not counted
	Problems     []string
}

// Directory is a payment system environment: 2PAY.SYS.DDF01 of cards without
// contacts, 1PAY.SYS.DDF01 of those with contacts.
type Directory struct {
	Name    Hex
	SW      SW
	FCI     Hex
	Entries []DirectoryEntry
}

// DirectoryEntry is one application template (tag 61) of a directory.
type DirectoryEntry struct {
	AID      Hex
	Label    string
	Priority int // 0: not said
}

// Source says why an application was asked for.
type Source string

// The sources of applications.
const (
	SourceDirectory Source = "directory"   // the card's own directory names it
	SourceKnown     Source = "known"       // this program knows the name
	SourceMaster    Source = "master-file" // the MF, by its identifier 3F00
	SourceFile      Source = "file"        // selected by a file identifier
)

// Application is one application, or the MF, with what it lets be read.
type Application struct {
	Name     Hex    // as it was selected; empty for SourceMaster and SourceFile
	FileID   uint16 // instead of a name
	Source   Source
	Label    string   // of the directory; for names that this program knows, its own
	Profile  *Profile // nil: none of the built-in ones
	SW       SW
	FCI      Hex
	Files    []File
	Balances []Balance
	Data     []DataObject
}

// Balance is an answer to GET BALANCE 80 5C ‹P1› ‹P2› 04.
type Balance struct {
	P1, P2  byte
	Amount  Fen // without the top bit, in units of the card
	HighBit bool
}

// DataObject is an answer to GET DATA 80 CA ‹tag›, without tag and length.
type DataObject struct {
	Tag   uint16
	Value Hex
}

// File is one file by its short identifier.
type File struct {
	SFI     byte
	SW      SW  // 9000, or why it cannot be read
	Content Hex // of a transparent file
	Records []FileRecord
}

// FileRecord is one record as it is, and its number in the file.
type FileRecord struct {
	Index int
	Raw   Hex
}

// Unused reports a record that was never written: all 00 or all FF.
func (r FileRecord) Unused() bool { return unusedRecord(r.Raw) }

// knownApplications are names beside those of the profiles (card dossier §4.1, §4.4):
// what a card may carry that is no purse of ours.
var knownApplications = []struct {
	name  Hex
	label string
}{
	{aid("A000000632010106"), "MOT_T_CASH"},
	{aid("A000000333010101"), "PBOC debit"},
	{aid("A000000333010102"), "PBOC credit"},
	{aid("A000000333010103"), "PBOC quasi-credit"},
	{aid("A000000333010106"), "PBOC e-cash"},
	{aid("D1560001018000000000000100000000"), "one-card"},
}

// Names of the two directories.
var (
	namePPSE = Hex("2PAY.SYS.DDF01")
	namePSE  = Hex("1PAY.SYS.DDF01")
)

// ViewCard reads a card as Read does, and then everything else that it gives without
// a PIN: directories, applications, their files, balances and data objects. It sends
// SELECT, READ BINARY, READ RECORD, GET BALANCE and GET DATA, which change nothing.
//
// A card that leaves after the reading leaves a View with ProblemViewCutShort and no
// error. Errors: those of Read but CodeCardNoPurse and CodeCardBlocked, which stand
// in Trouble, for such a card is what staff look at.
func ViewCard(ctx context.Context, card Card, trace func(TraceLine)) (View, error) {
	v := &viewing{card: card, trace: trace}
	var err error
	v.out.Reading, err = Read(ctx, card, ReadOptions{Trace: trace})
	v.out.Commands = v.out.Reading.APDUs + v.out.Reading.APDUsProbe
	switch code := CodeOf(err); code {
	case "":
	case CodeCardNoPurse, CodeCardBlocked:
		v.out.Trouble = code
	default:
		return v.out, err
	}
	if err := v.look(ctx); err != nil {
		v.problem(ProblemViewCutShort)
		if CodeOf(err) == CodeCancelled {
			return v.out, err
		}
	}
	return v.out, nil
}

// viewing is the state of one ViewCard.
type viewing struct {
	card  Card
	trace func(TraceLine)
	guard *Guard
	out   View
}

func (v *viewing) problem(code string) {
	if !slices.Contains(v.out.Problems, code) {
		v.out.Problems = append(v.out.Problems, code)
	}
}

// session begins a new guarded session: one for each directory and application.
func (v *viewing) session() { v.guard = NewViewGuard(v.card, v.trace) }

// send counts what was sent.
func (v *viewing) send(ctx context.Context, c Command) (Response, error) {
	before := v.guard.Sent()
	response, err := v.guard.Send(ctx, c)
	v.out.Commands += v.guard.Sent() - before
	return response, err
}

func (v *viewing) look(ctx context.Context) error {
	for _, name := range []Hex{namePPSE, namePSE} {
		if err := v.directory(ctx, name); err != nil {
			return err
		}
	}
	if err := v.byFile(ctx, fileMF, SourceMaster); err != nil {
		return err
	}
	for _, candidate := range v.candidates() {
		if err := v.application(ctx, candidate); err != nil {
			return err
		}
	}
	return v.byFile(ctx, fileBeijing, SourceFile)
}

// candidates are the names to try: the card's own, then those that we know.
func (v *viewing) candidates() []Application {
	var list []Application
	add := func(candidate Application) {
		if !slices.ContainsFunc(list, func(known Application) bool { return string(known.Name) == string(candidate.Name) }) {
			list = append(list, candidate)
		}
	}
	for _, directory := range v.out.Directories {
		for _, entry := range directory.Entries {
			if len(entry.AID) >= 5 && len(entry.AID) <= 16 {
				add(Application{Name: entry.AID, Source: SourceDirectory, Label: entry.Label})
			}
		}
	}
	for _, profile := range profiles {
		for _, name := range profile.AIDs {
			if profile.searched() {
				add(Application{Name: name, Source: SourceKnown, Label: profile.Name})
			}
		}
	}
	for _, known := range knownApplications {
		add(Application{Name: known.name, Source: SourceKnown, Label: known.label})
	}
	return list
}

// directory reads an environment: its entries stand in the FCI (PPSE), or in the
// records of the file that tag 88 names (PSE).
func (v *viewing) directory(ctx context.Context, name Hex) error {
	v.session()
	response, err := v.selectEither(ctx, name)
	if err != nil {
		return err
	}
	if !readable(response.SW) {
		return nil
	}
	directory := Directory{Name: name, SW: response.SW, FCI: response.Data, Entries: directoryEntries(response.Data)}
	if sfi := directorySFI(response.Data); isShortFile(sfi) {
		records, _, err := v.records(ctx, sfi)
		if err != nil {
			return err
		}
		for _, record := range records {
			directory.Entries = append(directory.Entries, directoryEntries(record.Raw)...)
		}
	}
	v.out.Directories = append(v.out.Directories, directory)
	return nil
}

// selectEither sends SELECT with Le and, to a card that knows no such name then, once
// without (card dossier §1.6).
func (v *viewing) selectEither(ctx context.Context, name Hex) (Response, error) {
	response, err := v.send(ctx, selectCommand(name, LeAny))
	if err != nil || response.SW != SWFileNotFound || len(v.out.Applications) > 0 {
		return response, err
	}
	return v.send(ctx, selectCommand(name, NoLe))
}

// byFile looks at the MF, and at the purse of the old Beijing card, which have no name.
func (v *viewing) byFile(ctx context.Context, id uint16, source Source) error {
	v.session()
	response, err := v.send(ctx, selectFileCommand(id, LeAny))
	if err != nil || !readable(response.SW) {
		return err
	}
	found := Application{FileID: id, Source: source, SW: response.SW, FCI: response.Data}
	if fci, _ := ParseFCI(response.Data); len(fci.AID) > 0 {
		found.Name, found.Label = fci.AID, printable(fci.AID)
	}
	return v.take(ctx, found)
}

// application looks at one name, if the card has it.
func (v *viewing) application(ctx context.Context, candidate Application) error {
	v.session()
	for _, profile := range profiles {
		if profile.searched() && profile.hasAID(candidate.Name) {
			candidate.Profile = profile
			for _, before := range profile.AIDFirst {
				if _, err := v.send(ctx, selectCommand(before, LeAny)); err != nil {
					return err
				}
			}
		}
	}
	response, err := v.selectEither(ctx, candidate.Name)
	if err != nil {
		return err
	}
	candidate.SW, candidate.FCI = response.SW, response.Data
	read := slices.IndexFunc(v.out.Reading.Purses, func(p Purse) bool { return string(p.AID) == string(candidate.Name) })
	if read >= 0 {
		candidate.Profile = v.out.Reading.Purses[read].Profile // as its basic information refined it
	}
	blocked := response.SW.blocked() && len(response.Data) > 0 || response.SW == SWInvalidated
	switch {
	case readable(response.SW) || blocked:
	case read >= 0 && response.SW.blocked(): // not selected: what could be read would be of the MF
		v.out.Applications = append(v.out.Applications, candidate)
		return nil
	default:
		return nil
	}
	if fci := v.guard.FCI(); v.seen(fci.AID) { // the card answers a long name with the application of a short one
		return nil
	}
	return v.take(ctx, candidate)
}

func (v *viewing) seen(name Hex) bool {
	return len(name) > 0 && slices.ContainsFunc(v.out.Applications, func(a Application) bool {
		fci, _ := ParseFCI(a.FCI)
		return a.Source != SourceMaster && string(fci.AID) == string(name)
	})
}

// take reads what the selected application gives. What was read is kept where the
// card leaves in the middle.
func (v *viewing) take(ctx context.Context, found Application) (err error) {
	defer func() {
		if CodeOf(err) == CodeGuardRefused { // more than a session may ask for
			v.problem(ProblemViewCutShort)
			err = nil
		}
		v.out.Applications = append(v.out.Applications, found)
	}()
	for sfi := byte(1); sfi <= 30; sfi++ {
		file, err := v.file(ctx, sfi)
		if file != nil {
			found.Files = append(found.Files, *file)
		}
		if err != nil {
			return err
		}
	}
	if found.Source == SourceMaster {
		return nil
	}
	for _, which := range [][2]byte{{0, 1}, {0, 2}, {1, 2}, {2, 2}, {3, 2}} { // card dossier §4.1, negative balance
		response, err := v.send(ctx, Command{CLA: 0x80, INS: insGetBalance, P1: which[0], P2: which[1], Le: 4})
		if err != nil {
			return err
		}
		if readable(response.SW) && len(response.Data) == 4 {
			amount, high := splitHighBit(response.Data)
			found.Balances = append(found.Balances, Balance{P1: which[0], P2: which[1], Amount: amount, HighBit: high})
		}
	}
	return v.data(ctx, &found)
}

// data sends GET DATA for every tag that a view lists.
func (v *viewing) data(ctx context.Context, found *Application) error {
	for _, tag := range viewDataObjects {
		response, err := v.send(ctx, Command{CLA: 0x80, INS: insGetData, P1: byte(tag >> 8), P2: byte(tag), Le: LeAny})
		if err != nil {
			return err
		}
		if !readable(response.SW) || len(response.Data) == 0 {
			continue
		}
		value := Hex(response.Data)
		if got, inner, _, ok := cutTLV(response.Data); ok && got == int(tag) {
			value = inner
		}
		found.Data = append(found.Data, DataObject{Tag: tag, Value: value})
	}
	return nil
}

// file reads one short file identifier as a transparent file, and as records where it
// is none; nil where there is no such file.
func (v *viewing) file(ctx context.Context, sfi byte) (*File, error) {
	response, err := v.send(ctx, Command{INS: insReadBinary, P1: 0x80 | sfi, Le: binaryLe(sfi)})
	if err != nil {
		return nil, err
	}
	if response.SW == SWFileNotFound && sfi == sfiRegion {
		// The form in which public readers ask for it; recordings know no other.
		if response, err = v.send(ctx, Command{INS: insReadBinary, P1: 0x80 | sfi, Le: regionBytes}); err != nil {
			return nil, err
		}
	}
	if readable(response.SW) && len(response.Data) > 0 {
		return &File{SFI: sfi, SW: response.SW, Content: response.Data}, nil
	}
	records, sw, err := v.records(ctx, sfi)
	if len(records) > 0 {
		return &File{SFI: sfi, SW: sw, Records: records}, err
	}
	for _, refusal := range []SW{response.SW, sw} { // there, but not for everybody
		if refusal == SWSecurity || refusal == SWPINLocked || refusal == SWConditions {
			return &File{SFI: sfi, SW: refusal}, err
		}
	}
	return nil, err
}

// binaryLe is how many bytes are asked for: all, but of SFI 15 as everybody asks.
func binaryLe(sfi byte) int {
	if sfi == sfiInfo {
		return pbocEP.InfoLength
	}
	return LeAny
}

// records reads the records of a file until the card has no more. Logs are asked for
// as everybody asks, with the length of a record; the guard repeats what the card
// wants in another length.
func (v *viewing) records(ctx context.Context, sfi byte) (list []FileRecord, last SW, err error) {
	le := LeAny
	if slices.Contains(logSFIs, sfi) {
		le = RecordBytes
	}
	for n := 1; n <= maxFileRecords; n++ {
		command := readRecordCommand(sfi, n)
		command.Le = le
		response, err := v.send(ctx, command)
		if err != nil {
			return list, last, err
		}
		last = response.SW
		if !readable(response.SW) || len(response.Data) == 0 {
			return list, last, nil
		}
		list = append(list, FileRecord{Index: n, Raw: response.Data})
	}
	v.problem(ProblemViewCutShort)
	return list, last, nil
}

// directoryEntries finds the application templates of a directory: 61 ‹4F AID, 50
// label, 87 priority›, in BF0C of an FCI or in a record 70.
func directoryEntries(raw []byte) []DirectoryEntry {
	var entries []DirectoryEntry
	walkTLV(raw, 0, func(tag int, value []byte) {
		if tag != 0x61 {
			return
		}
		var entry DirectoryEntry
		walkTLV(value, 0, func(tag int, value []byte) {
			switch {
			case tag == 0x4F:
				entry.AID = value
			case tag == 0x50:
				entry.Label = printable(value)
			case tag == 0x87 && len(value) == 1:
				entry.Priority = int(value[0] & 0x0F)
			}
		})
		entries = append(entries, entry)
	})
	return entries
}

// directorySFI is tag 88 of an FCI: the file of a PSE's directory.
func directorySFI(fci []byte) (sfi byte) {
	walkTLV(fci, 0, func(tag int, value []byte) {
		if tag == 0x88 && len(value) == 1 {
			sfi = value[0]
		}
	})
	return sfi
}

// walkTLV tells every object, also those inside the templates that a directory has.
func walkTLV(raw []byte, depth int, found func(tag int, value []byte)) {
	for len(raw) > 0 {
		if raw[0] == 0x00 || raw[0] == 0xFF {
			raw = raw[1:]
			continue
		}
		tag, value, rest, ok := cutTLV(raw)
		if !ok {
			return
		}
		found(tag, value)
		if inner := tag == 0x6F || tag == 0xA5 || tag == 0xBF0C || tag == 0x70; inner && depth < maxTLVDepth {
			walkTLV(value, depth+1, found)
		}
		raw = rest
	}
}

// printable is a label as people may read it: what is no visible ASCII becomes a dot.
func printable(raw []byte) string {
	text := make([]byte, len(raw))
	for i, b := range raw {
		text[i] = b
		if b < 0x20 || b > 0x7E {
			text[i] = '.'
		}
	}
	return string(text)
}

// fileIDOf is the identifier as two bytes, for whoever shows it.
func (a Application) fileIDOf() Hex { return binary.BigEndian.AppendUint16(nil, a.FileID) }

// Title is what to call an application: its label, its name in letters, or its
// identifier.
func (a Application) Title() string {
	switch {
	case a.Label != "":
		return a.Label
	case len(a.Name) > 0:
		return a.Name.String()
	}
	return a.fileIDOf().String()
}

// errNoField means that a file is too short for what it should hold.
var errNoField = errors.New("the file is shorter than its fields")
