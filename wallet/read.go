package wallet

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Problems of a purse and of a reading.
const (
	ProblemInfoUnreadable   = "INFO_UNREADABLE" // neither SFI 15 nor tag 9F0C of the FCI
	ProblemInfoDamaged      = "INFO_DAMAGED"    // the card warned that data may be damaged
	ProblemBalance          = "BALANCE_UNREADABLE"
	ProblemPINNeeded        = "PIN_NEEDED"        // the records lie behind the card's PIN
	ProblemRecordsCutShort  = "RECORDS_CUT_SHORT" // the log could not be read to its end
	ProblemApplicationBlock = "APPLICATION_BLOCKED"
	ProblemProbeIncomplete  = "PROBE_INCOMPLETE" // the search for further applications was cut short
)

// Purse is one purse application as it was read.
type Purse struct {
	Profile        *Profile
	AID            Hex // as selected; empty where the file was selected by identifier
	ASN            ASN
	Number         string    // as people read it on the card
	ValidFrom      time.Time // zero where the card holds no date
	ValidUntil     time.Time
	Info           Hex // SFI 15, or its copy from the FCI; empty if unreadable
	Balance        Fen // without the top bit, in the unit that the profile says
	BalanceHighBit bool
	BalanceKnown   bool
	Records        []Record // newest first
	Complete       bool     // everything the profile lists was read
	Blocked        bool     // the card says that the application is blocked
	Problems       []string
}

// Reading is everything that one look at a card gave.
type Reading struct {
	Purses         []Purse
	APDUs          int // up to the complete first purse, GET RESPONSE not counted
	APDUsToBalance int // up to the first balance
	APDUsProbe     int // afterwards, for the search for further applications
	Problems       []string
}

// ReadOptions say how to read.
type ReadOptions struct {
	// OnBalance is told the first balance as soon as it is known; AID, balance and
	// provisional profile are set. May be nil.
	OnBalance func(Purse)
	// PIN asks for the card's PIN where records lie behind it. Set it only when the
	// person asked for those records; nil: they are left out and PIN_NEEDED says so.
	PIN          func(triesLeft int) ([]byte, error)
	PINTriesLeft int             // what this card said after the last wrong PIN; 0: not known
	FirstOnly    bool            // do not search for further applications
	Brief        bool            // balance and basic information of the first purse alone: which card is this?
	Trace        func(TraceLine) // may be nil
}

// Read reads every purse application of a card without changing it (requirements
// R1). It sends SELECT, GET BALANCE, READ BINARY and READ RECORD, and VERIFY only
// with a PIN that the person typed for this reading.
//
// A standard card with ten records takes 13 commands, the balance after 2. On an
// error the Reading holds what was read until then. Errors: CodeCardNoPurse,
// CodeCardBlocked, CodeCardLost, CodeCardProtocol, CodeCancelled.
func Read(ctx context.Context, card Card, opts ReadOptions) (Reading, error) {
	r := &reading{card: card, opts: opts}
	// Some cards refuse SELECT with Le and some without (card dossier §1.6). Those
	// that answer 6700 are asked again by the guard; a card that says "absent" to
	// one form gets a second pass only if nothing at all was found.
	for _, le := range []int{LeAny, NoLe} {
		if err := r.pass(ctx, le); err != nil {
			return r.result(), err
		}
		if len(r.out.Purses) > 0 {
			return r.result(), nil
		}
	}
	if r.blocked {
		return r.result(), fail(CodeCardBlocked, "read", nil)
	}
	return r.result(), fail(CodeCardNoPurse, "read", nil)
}

// reading is the state of one Read.
type reading struct {
	card    Card
	opts    ReadOptions
	guard   *Guard
	past    int // commands of earlier guards
	out     Reading
	blocked bool
}

func (r *reading) sent() int {
	if r.guard == nil {
		return r.past
	}
	return r.past + r.guard.Sent()
}

func (r *reading) result() Reading {
	if r.out.APDUs == 0 {
		r.out.APDUs = r.sent()
	}
	r.out.APDUsProbe = r.sent() - r.out.APDUs
	return r.out
}

// session begins a new query session. Each application is read in one of its own,
// so that a card with many purses stays within the bound of commands.
func (r *reading) session() {
	r.past = r.sent()
	r.guard = NewQueryGuard(r.card, r.opts.Trace)
}

// pass looks for the applications of all profiles with one form of SELECT.
func (r *reading) pass(ctx context.Context, le int) error {
	for _, profile := range profiles {
		if !profile.searched() {
			continue
		}
		if len(r.out.Purses) > 0 && (r.opts.FirstOnly || r.opts.Brief) {
			return nil
		}
		if err := r.search(ctx, profile, le); err != nil {
			first := len(r.out.Purses) > 0 && r.out.Purses[0].Complete
			if !first {
				return err
			}
			// The purse that people wait for is read; a card taken away during the
			// search for others must not spoil it.
			r.out.Problems = append(r.out.Problems, ProblemProbeIncomplete)
			return nil
		}
	}
	return nil
}

// search selects each name of a profile and reads what answers.
func (r *reading) search(ctx context.Context, profile *Profile, le int) error {
	if profile.MFInfoSFI != 0 {
		return r.searchMF(ctx, profile, le)
	}
	for _, name := range profile.AIDs {
		r.session()
		for _, before := range profile.AIDFirst {
			if _, err := r.guard.Send(ctx, selectCommand(before, le)); err != nil {
				return err
			}
		}
		response, err := r.guard.Send(ctx, selectCommand(name, le))
		if err != nil {
			return err
		}
		purse := Purse{Profile: profile, AID: name}
		if !r.answered(response.SW, &purse) || r.known(r.guard.FCI().AID) {
			continue
		}
		if err := r.readPurse(ctx, purse, nil); err != nil {
			return err
		}
	}
	return nil
}

// answered reports whether SELECT found an application, blocked or not.
func (r *reading) answered(sw SW, purse *Purse) bool {
	if sw.blocked() {
		purse.Blocked, r.blocked = true, true
		// HED cards answer 6A81 with the FCI, and others still let a blocked purse be
		// read. Without an FCI this is tried only while nothing else is selected, so
		// that no purse is taken for another.
		return sw == SWInvalidated || len(r.guard.FCI().AID) > 0 || len(r.out.Purses) == 0
	}
	return sw == SWOK || sw == SWDataMayBeDamaged
}

// known reports whether an application of this name was read already: a card may
// answer a long name with the application of a short one.
func (r *reading) known(name Hex) bool {
	return len(name) > 0 && slices.ContainsFunc(r.out.Purses, func(p Purse) bool { return string(p.AID) == string(name) })
}

// searchMF reads the old Beijing card: its number lies in a file of the MF, and
// the purse is selected by identifier. Other cards may have a file 1001 as well,
// so that it counts only where the MF's file could be read (card dossier §4.2).
func (r *reading) searchMF(ctx context.Context, profile *Profile, le int) error {
	r.session()
	response, err := r.guard.Send(ctx, selectFileCommand(fileMF, le))
	if err != nil || response.SW != SWOK {
		return err
	}
	response, err = r.guard.Send(ctx, Command{INS: insReadBinary, P1: 0x80 | profile.MFInfoSFI, Le: LeAny})
	if err != nil || response.SW != SWOK || len(response.Data) < mfInfoNumberBytes {
		return err
	}
	info := Hex(response.Data)
	response, err = r.guard.Send(ctx, selectFileCommand(profile.FileID, le))
	purse := Purse{Profile: profile}
	if err != nil || !r.answered(response.SW, &purse) {
		return err
	}
	return r.readPurse(ctx, purse, info)
}

// readPurse reads the selected application: balance first, because people wait
// for it, then the basic information, then the records.
func (r *reading) readPurse(ctx context.Context, purse Purse, mfInfo Hex) (err error) {
	first := len(r.out.Purses) == 0
	defer func() {
		purse.Complete = err == nil && len(purse.Problems) == 0 && !r.opts.Brief
		if purse.Blocked {
			r.blocked = true
			purse.problem(ProblemApplicationBlock)
		}
		if err == nil && purse.empty() || r.repeated(purse) {
			return
		}
		r.out.Purses = append(r.out.Purses, purse)
		if first {
			r.out.APDUs = r.sent()
		}
	}()
	if err := r.readBalance(ctx, &purse); err != nil {
		purse.problem(ProblemBalance)
		return err
	}
	if purse.BalanceKnown && first {
		r.out.APDUsToBalance = r.sent()
		if r.opts.OnBalance != nil {
			r.opts.OnBalance(purse)
		}
	}
	if err := r.readInfo(ctx, &purse, mfInfo); err != nil {
		purse.problem(ProblemInfoUnreadable)
		return err
	}
	if r.opts.Brief || purse.empty() || r.repeated(purse) {
		return nil
	}
	if err := r.readLogs(ctx, &purse); err != nil {
		purse.problem(ProblemRecordsCutShort)
		return err
	}
	return nil
}

// empty reports an application that answers to the name of a purse and has
// nothing of one in it.
func (p *Purse) empty() bool { return !p.BalanceKnown && p.Info == nil }

// repeated reports a purse that was read already under another name. Only the name
// in the FCI shows that two equal purses are two.
func (r *reading) repeated(purse Purse) bool {
	if len(purse.Info) == 0 || string(r.guard.FCI().AID) == string(purse.AID) {
		return false
	}
	return slices.ContainsFunc(r.out.Purses, func(p Purse) bool {
		return string(p.Info) == string(purse.Info)
	})
}

func (p *Purse) problem(code string) {
	if !slices.Contains(p.Problems, code) {
		p.Problems = append(p.Problems, code)
	}
}

// readBalance sends GET BALANCE 80 5C 00 ‹purse› 04 (card dossier §1.6).
func (r *reading) readBalance(ctx context.Context, purse *Purse) error {
	response, err := r.guard.Send(ctx, balanceCommand(purse.Profile.P2))
	if err != nil {
		return err
	}
	if other := purse.Profile.otherPurse(); other != nil && purseAbsent(response.SW) {
		second, err := r.guard.Send(ctx, balanceCommand(other.P2))
		if err != nil {
			return err
		}
		if second.SW == SWOK {
			response, purse.Profile = second, other
		}
	}
	switch {
	case readable(response.SW) && len(response.Data) == 4:
		value, high := splitHighBit(response.Data)
		purse.Balance, purse.BalanceHighBit, purse.BalanceKnown = purse.Profile.shown(value), high, true
	case response.SW.blocked():
		purse.Blocked = true
		purse.problem(ProblemBalance)
	case response.SW == SWSecurity:
		purse.problem(ProblemPINNeeded)
	default:
		purse.problem(ProblemBalance)
	}
	return nil
}

func purseAbsent(sw SW) bool {
	return sw == SWNotSupported || sw == SWFileNotFound || sw == SWWrongP1P2 || sw == 0x6A88
}

// readInfo sends READ BINARY of SFI 15, 00 B0 95 00 1E, and takes the copy in the
// FCI where that fails (card dossier §1.1).
func (r *reading) readInfo(ctx context.Context, purse *Purse, mfInfo Hex) error {
	profile := purse.Profile
	response, err := r.guard.Send(ctx, Command{INS: insReadBinary, P1: 0x80 | profile.InfoSFI, Le: profile.InfoLength})
	if err != nil {
		return err
	}
	issuerData := r.guard.FCI().IssuerData
	info, parseErr := ParseInfo(response.Data)
	switch {
	case readable(response.SW) && parseErr == nil:
		if response.SW == SWDataMayBeDamaged {
			purse.problem(ProblemInfoDamaged)
		}
	default:
		if response.SW == SWInvalidated || response.SW == SWApplicationLocked {
			purse.Blocked = true
		}
		if info, parseErr = ParseInfo(issuerData); parseErr == nil {
			break
		}
		purse.Number = profile.number(ASN{}, issuerData, mfInfo)
		if profile.Number != NumberMFInfo && profile.Number != NumberMacau {
			purse.Number = ""
			purse.problem(ProblemInfoUnreadable)
		}
	}
	if parseErr == nil {
		if profile.searched() {
			profile = profile.refine(info)
		}
		purse.Profile, purse.ASN, purse.Info = profile, info.ASN, info.Raw
		purse.ValidFrom, purse.ValidUntil = info.ValidFrom, info.ValidUntil
		purse.Number = profile.number(info.ASN, issuerData, mfInfo)
	}
	if len(mfInfo) >= mfInfoDatesAt+8 {
		purse.ValidFrom, _ = parseBCDDate(mfInfo[mfInfoDatesAt:])
		purse.ValidUntil, _ = parseBCDDate(mfInfo[mfInfoDatesAt+4:])
	}
	return nil
}

// readLogs reads the records of all log files of the profile, newest first.
func (r *reading) readLogs(ctx context.Context, purse *Purse) error {
	for _, sfi := range purse.Profile.LogSFIs {
		if err := r.readLog(ctx, purse, sfi, true); err != nil {
			return err
		}
	}
	empty := len(purse.Records) == 0 && len(purse.Problems) == 0
	if empty {
		for _, sfi := range purse.Profile.FallbackLogSFIs {
			if err := r.readLog(ctx, purse, sfi, false); err != nil {
				return err
			}
		}
	}
	if several := len(purse.Profile.LogSFIs) > 1 || empty; several {
		slices.SortStableFunc(purse.Records, func(a, b Record) int { return b.Time.Compare(a.Time) })
	}
	return nil
}

// readLog sends READ RECORD 00 B2 ‹n› ‹SFI·8+4› 17 until the profile's number of
// records or the end mark: 6A83, 6A82, or a record of 00 or FF bytes (card dossier
// §1.4). A record that is wrong in itself does not end the reading. listed says
// that the profile promises the file, so that its absence of access is a problem.
func (r *reading) readLog(ctx context.Context, purse *Purse, sfi byte, listed bool) error {
	for n := 1; n <= purse.Profile.MaxRecords; n++ {
		if err := r.refresh(ctx, purse); err != nil {
			return err
		}
		response, err := r.guard.Send(ctx, readRecordCommand(sfi, n))
		if err != nil {
			return err
		}
		if response.SW == SWSecurity && listed && r.opts.PIN != nil && !r.guard.pinUsed {
			if err := verifyPIN(ctx, r.guard, r.opts.PIN, r.opts.PINTriesLeft); err != nil {
				purse.problem(ProblemPINNeeded)
				return onlyBroken(err)
			}
			if response, err = r.guard.Send(ctx, readRecordCommand(sfi, n)); err != nil {
				return err
			}
		}
		switch {
		case readable(response.SW):
		case !listed || endOfLog(response.SW):
			return nil
		default:
			purse.noteLogStatus(response.SW)
			return nil
		}
		if unusedRecord(response.Data) {
			return nil
		}
		record := ParseRecord(response.Data, sfi, n, purse.Profile.LogOverdraft)
		if !purse.has(record) {
			purse.Records = append(purse.Records, record)
		}
	}
	return nil
}

// onlyBroken keeps an error that ends the conversation and drops a wrong PIN,
// without which the rest of the card can still be read.
func onlyBroken(err error) error {
	switch CodeOf(err) {
	case CodeCardLost, CodeCancelled:
		return err
	}
	return nil
}

func endOfLog(sw SW) bool { return sw == SWRecordNotFound || sw == SWFileNotFound }

func (p *Purse) noteLogStatus(sw SW) {
	switch {
	case sw == SWSecurity || sw == SWPINLocked:
		p.problem(ProblemPINNeeded)
	case sw.blocked():
		p.Blocked = true
		p.problem(ProblemRecordsCutShort)
	default:
		p.problem(ProblemRecordsCutShort)
	}
}

// has reports a record that another file of the same card already gave: some
// cards keep their loads in a second file as well.
func (p *Purse) has(record Record) bool {
	return slices.ContainsFunc(p.Records, func(known Record) bool {
		return known.SFI != record.SFI && string(known.Raw) == string(record.Raw)
	})
}

// refresh selects the application anew in a fresh session when this one has used
// up its commands; three log files of ten records go beyond them.
func (r *reading) refresh(ctx context.Context, purse *Purse) error {
	if r.guard.Sent() < maxCommands-3 || len(purse.AID) == 0 {
		return nil
	}
	r.session()
	response, err := r.guard.Send(ctx, selectCommand(purse.AID, LeAny))
	if err != nil {
		return err
	}
	if response.SW == SWFileNotFound {
		response, err = r.guard.Send(ctx, selectCommand(purse.AID, NoLe))
	}
	if err == nil && r.guard.selected == nil {
		err = fail(CodeCardProtocol, "SELECT", errors.New(response.SW.Meaning()))
	}
	return err
}

func selectCommand(name Hex, le int) Command {
	return Command{INS: insSelect, P1: 0x04, Data: name, Le: le}
}

func selectFileCommand(id uint16, le int) Command {
	return Command{INS: insSelect, Data: binary.BigEndian.AppendUint16(nil, id), Le: le}
}

func balanceCommand(p2 byte) Command {
	return Command{CLA: 0x80, INS: insGetBalance, P2: p2, Le: 4}
}

func readRecordCommand(sfi byte, n int) Command {
	return Command{INS: insReadRecord, P1: byte(n), P2: sfi<<3 | 0x04, Le: RecordBytes}
}
