package wallet

import (
	"slices"
	"time"
)

// AnomalyCode names one thing that is odd about a card. Codes are stable; the texts
// stand in the catalogue under cardview.anomaly.CODE.
type AnomalyCode string

// The anomalies of a purse.
const (
	AnomalyBlocked        AnomalyCode = "BLOCKED"
	AnomalyExpired        AnomalyCode = "EXPIRED"         // Until
	AnomalyNotYetValid    AnomalyCode = "NOT_YET_VALID"   // From
	AnomalyNoValidity     AnomalyCode = "NO_VALIDITY"     // the dates are no dates
	AnomalyValidityTurned AnomalyCode = "VALIDITY_TURNED" // ends before it begins
	AnomalyHighBit        AnomalyCode = "BALANCE_FLAG"    // top bit of the balance
	AnomalyCounterGap     AnomalyCode = "COUNTER_GAP"     // Record, Older, Expected, Found
	AnomalyCounterBack    AnomalyCode = "COUNTER_BACK"    // a newer record has a lower or the same number
	AnomalyTimeBack       AnomalyCode = "TIME_BACK"       // a newer record has an earlier time
	AnomalyFuture         AnomalyCode = "RECORD_FUTURE"   // Record
	AnomalyGarbage        AnomalyCode = "RECORD_GARBAGE"  // Record, Problem
	AnomalyTerminalZero   AnomalyCode = "TERMINAL_ZERO"   // Record
	AnomalyArithmetic     AnomalyCode = "ARITHMETIC"      // Record, Expected, Found: balances of the log
	AnomalyNegativeBefore AnomalyCode = "NEGATIVE_BEFORE" // Record, Found: what the purse would have held
	AnomalyPINLocked      AnomalyCode = "PIN_LOCKED"      // no PIN try is left
	AnomalyPINLastTry     AnomalyCode = "PIN_LAST_TRY"
)

// Severity says how much an anomaly matters.
type Severity string

// The severities.
const (
	SeverityNote    Severity = "note"    // worth knowing, and innocent as often as not
	SeverityWarning Severity = "warning" // the card cannot be used, or its log is not what it should be
)

// Anomaly is one finding. Fields that a code does not name are zero.
type Anomaly struct {
	Code     AnomalyCode
	Severity Severity
	SFI      byte // of the record
	Record   int  // number of the record in its file, 1 is the newest
	Older    int  // number of the record that it is compared with
	Online   bool // COUNTER_…: of loads
	Expected int64
	Found    int64 // counters, or fen
	From     time.Time
	Until    time.Time
	Problem  string // RECORD_GARBAGE: of the record
}

// clockTolerance is by how much the clocks of terminals may differ from ours.
const clockTolerance = 24 * time.Hour

// Anomalies looks at one purse as it was read, at the time now. It draws no
// conclusions: every finding has innocent causes too, and the texts name them.
func Anomalies(purse Purse, now time.Time) []Anomaly {
	list := validityAnomalies(purse, now)
	if purse.Blocked {
		list = append([]Anomaly{{Code: AnomalyBlocked, Severity: SeverityWarning}}, list...)
	}
	if purse.BalanceHighBit {
		list = append(list, Anomaly{Code: AnomalyHighBit, Severity: SeverityNote, Found: int64(purse.Balance)})
	}
	for _, log := range logsOf(purse.Records) {
		list = append(list, recordAnomalies(log, now)...)
		list = append(list, counterAnomalies(log, purse.Profile != nil && purse.Profile.SharedCounter)...)
		list = append(list, timeAnomalies(log)...)
		list = append(list, arithmeticAnomalies(log, purse)...)
	}
	return list
}

// PINAnomalies judges the tries that an application says are left.
func PINAnomalies(triesLeft int) []Anomaly {
	switch triesLeft {
	case 0:
		return []Anomaly{{Code: AnomalyPINLocked, Severity: SeverityWarning}}
	case 1:
		return []Anomaly{{Code: AnomalyPINLastTry, Severity: SeverityWarning, Found: 1}}
	}
	return nil
}

func validityAnomalies(purse Purse, now time.Time) []Anomaly {
	from, until := purse.ValidFrom, purse.ValidUntil
	today := now.In(Shanghai).Format(time.DateOnly)
	var list []Anomaly
	add := func(code AnomalyCode, severity Severity) {
		list = append(list, Anomaly{Code: code, Severity: severity, From: from, Until: until})
	}
	switch {
	case len(purse.Info) > 0 && (from.IsZero() || until.IsZero()):
		add(AnomalyNoValidity, SeverityNote)
	case !from.IsZero() && !until.IsZero() && until.Before(from):
		add(AnomalyValidityTurned, SeverityWarning)
	}
	if !until.IsZero() && until.Format(time.DateOnly) < today { // the last day counts
		add(AnomalyExpired, SeverityWarning)
	}
	if !from.IsZero() && from.Format(time.DateOnly) > today {
		add(AnomalyNotYetValid, SeverityWarning)
	}
	return list
}

// logsOf parts the records by file, each newest first: numbers and order mean
// something within one file only.
func logsOf(records []Record) [][]Record {
	byFile := map[byte][]Record{}
	var order []byte
	for _, record := range records {
		if _, known := byFile[record.SFI]; !known {
			order = append(order, record.SFI)
		}
		byFile[record.SFI] = append(byFile[record.SFI], record)
	}
	var logs [][]Record
	for _, sfi := range order {
		log := byFile[sfi]
		slices.SortStableFunc(log, func(a, b Record) int { return a.Index - b.Index })
		logs = append(logs, log)
	}
	return logs
}

// garbled reports a record whose fields cannot be trusted.
func garbled(record Record) bool {
	return record.Problem == ProblemRecordLength || record.Problem == ProblemRecordType
}

func recordAnomalies(log []Record, now time.Time) []Anomaly {
	var list []Anomaly
	for _, record := range log {
		at := Anomaly{SFI: record.SFI, Record: record.Index, Severity: SeverityNote}
		switch {
		case record.Problem != "":
			at.Code, at.Severity, at.Problem = AnomalyGarbage, SeverityWarning, record.Problem
			list = append(list, at)
		case record.Time.After(now.Add(clockTolerance)):
			at.Code, at.Until = AnomalyFuture, record.Time
			list = append(list, at)
		}
		if record.Terminal == (TerminalNumber{}) && record.Problem != ProblemRecordLength {
			at.Code, at.Severity, at.Problem, at.Until = AnomalyTerminalZero, SeverityNote, "", time.Time{}
			list = append(list, at)
		}
	}
	return list
}

// numberedOnline reports whether the online counter numbers the type (card dossier
// §1.4); ok is false for types of neither counter.
func numberedOnline(kind byte) (online, ok bool) {
	switch kind {
	case TypeLoadED, TypeLoadEP, TypeUnload, TypeOverdraftChange:
		return true, true
	case TypeCashWithdrawal, TypePurchaseED, TypePurchaseEP, TypeComposite:
		return false, true
	}
	return false, false
}

// counterAnomalies compares the numbers of neighbours of one kind. Cards that log
// the entrance to a station give it the number of the journey it belongs to, so that
// a repeated number counts only where neither amount is zero.
func counterAnomalies(log []Record, shared bool) []Anomaly {
	var list []Anomaly
	newer := map[bool]*Record{}
	for i := range log {
		record := &log[i]
		online, numbered := numberedOnline(record.Type)
		if garbled(*record) || !numbered {
			continue
		}
		online = online || shared
		if last := newer[online]; last != nil {
			at := Anomaly{SFI: record.SFI, Record: last.Index, Older: record.Index, Online: online, Expected: int64(record.Counter) + 1, Found: int64(last.Counter)}
			entrance := last.Counter == record.Counter && (last.Amount == 0 || record.Amount == 0)
			switch {
			case last.Counter > record.Counter+1:
				at.Code, at.Severity = AnomalyCounterGap, SeverityNote
				list = append(list, at)
			case last.Counter <= record.Counter && !entrance:
				at.Code, at.Severity = AnomalyCounterBack, SeverityWarning
				list = append(list, at)
			}
		}
		newer[online] = record
	}
	return list
}

// timeAnomalies finds records that stand before (are newer than) one with a later time.
func timeAnomalies(log []Record) []Anomaly {
	var list []Anomaly
	var newer *Record
	for i := range log {
		record := &log[i]
		if record.Time.IsZero() {
			continue
		}
		if newer != nil && newer.Time.Before(record.Time) {
			list = append(list, Anomaly{Code: AnomalyTimeBack, Severity: SeverityNote, SFI: record.SFI, Record: newer.Index, Older: record.Index,
				From: newer.Time, Until: record.Time})
		}
		newer = record
	}
	return list
}

// change is what a record did to the balance; false where its type does not say.
func change(record Record) (Fen, bool) {
	switch record.Type {
	case TypeLoadED, TypeLoadEP:
		return record.Amount, true
	case TypeUnload, TypeCashWithdrawal, TypePurchaseED, TypePurchaseEP, TypeComposite:
		return -record.Amount, true
	}
	return 0, false
}

// arithmeticAnomalies checks the log against itself and the balance.
func arithmeticAnomalies(log []Record, purse Purse) []Anomaly {
	if len(log) > 0 && log[0].HasBalanceAfter {
		return balancesAnomalies(log, purse)
	}
	return negativeAnomalies(log, purse)
}

// balancesAnomalies: where a record holds the balance after it, the older one's
// balance and the newer one's amount give the newer one's balance, and the newest is
// the purse's. A gap in the numbers explains a difference and ends the comparison.
func balancesAnomalies(log []Record, purse Purse) []Anomaly {
	var list []Anomaly
	whole := len(logsOf(purse.Records)) == 1 || log[0].SFI == 0x18 // other files hold loads alone
	if !whole {
		return nil
	}
	if newest := log[0]; purse.BalanceKnown && !purse.BalanceHighBit && newest.BalanceAfter != purse.Balance&0xFFFFFF {
		list = append(list, Anomaly{Code: AnomalyArithmetic, Severity: SeverityWarning, SFI: newest.SFI, Record: newest.Index,
			Expected: int64(newest.BalanceAfter), Found: int64(purse.Balance)})
	}
	for i := 0; i+1 < len(log); i++ {
		newer, older := log[i], log[i+1]
		moved, known := change(newer)
		if !known || garbled(newer) || garbled(older) || newer.Counter != older.Counter+1 {
			continue
		}
		if expected := older.BalanceAfter + moved; expected != newer.BalanceAfter {
			list = append(list, Anomaly{Code: AnomalyArithmetic, Severity: SeverityWarning, SFI: newer.SFI, Record: newer.Index, Older: older.Index,
				Expected: int64(expected), Found: int64(newer.BalanceAfter)})
		}
	}
	return list
}

// negativeAnomalies walks back from the balance: before no transaction can the purse
// have held less than nothing. It needs a log that holds loads and purchases alike,
// and ends where the numbers have a gap, behind which nothing is known.
func negativeAnomalies(log []Record, purse Purse) []Anomaly {
	purchases := slices.ContainsFunc(log, func(r Record) bool {
		return r.Type == TypePurchaseEP || r.Type == TypePurchaseED || r.Type == TypeComposite
	})
	if !purse.BalanceKnown || purse.BalanceHighBit || !purchases || purse.Profile != nil && purse.Profile.BalanceScale > 0 {
		return nil
	}
	held := purse.Balance
	last := map[bool]uint16{}
	for _, record := range log {
		moved, known := change(record)
		online, numbered := numberedOnline(record.Type)
		if !known || !numbered || record.Problem != "" {
			return nil
		}
		if newer, seen := last[online]; seen && newer != record.Counter+1 {
			return nil
		}
		last[online] = record.Counter
		if held -= moved; held < 0 {
			return []Anomaly{{Code: AnomalyNegativeBefore, Severity: SeverityWarning, SFI: record.SFI, Record: record.Index, Found: int64(held)}}
		}
	}
	return nil
}

// LoggedCounters are the highest numbers in the log: how far the card had counted when
// it wrote them. Cards disagree on whether that is the number before or after the
// transaction (card dossier §1.4). False where the log holds none of the kind; with a
// shared counter both kinds count as online.
func LoggedCounters(purse Purse) (online, offline uint16, hasOnline, hasOffline bool) {
	shared := purse.Profile != nil && purse.Profile.SharedCounter
	for _, record := range purse.Records {
		kind, numbered := numberedOnline(record.Type)
		switch {
		case !numbered || garbled(record):
		case kind || shared:
			online, hasOnline = max(online, record.Counter), true
		default:
			offline, hasOffline = max(offline, record.Counter), true
		}
	}
	return online, offline, hasOnline, hasOffline
}
