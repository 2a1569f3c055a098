package core

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"walletcompanion/assets/lang"
	"walletcompanion/wallet"
)

// Exit codes of the console program. A script may rely on them.
const (
	ExitOK       = 0
	ExitInternal = 1 // something of our own: a defect, a full disk, a person who stopped
	ExitUsage    = 2
	ExitReader   = 3 // card or reader
	ExitNetwork  = 4 // network, or the platform cannot be reached
	ExitDeclined = 5 // the platform's refusal
	ExitOpen     = 6 // an order is or may be open, sync needed
	ExitUpdate   = 7 // update refused
)

// ErrorInfo is one line of the error table: a stable code, which window, console
// and manual look up, and the exit code of a command that fails with it. The texts
// stand in the catalogue under error.CODE.
type ErrorInfo struct {
	Code string
	Exit int
}

// ErrorTable holds every code that the program or the reference platform may show.
// A line is never removed and never changes its meaning.
var ErrorTable = []ErrorInfo{
	{"READER_NONE", ExitReader},
	{"READER_SERVICE_STOPPED", ExitReader},
	{"READER_DENIED", ExitReader},
	{"READER_BUSY", ExitReader},
	{"READER_STUCK", ExitReader},
	{"READER_GONE", ExitReader},
	{"CARD_NONE", ExitReader},
	{"CARD_LOST", ExitReader},
	{"CARD_RESET", ExitReader},
	{"CARD_PROTOCOL", ExitReader},
	{"CARD_NO_PURSE", ExitReader},
	{"CARD_OTHER", ExitReader},
	{"CARD_BLOCKED", ExitReader},
	{"CARD_COUNTER", ExitDeclined},
	{"CARD_EVIDENCE", ExitDeclined},
	{"CARD_TYPE_REFUSED", ExitDeclined},
	{"CARD_NOT_OWNED", ExitDeclined},
	{"CARD_STATE", ExitDeclined},
	{"PIN_NEEDED", ExitReader},
	{"PIN_WRONG", ExitReader},
	{"PIN_LOCKED", ExitReader},
	{"CAP_EXCEEDED", ExitDeclined},
	{"GUARD_REFUSED", ExitInternal},
	{"GRANT_FORGED", ExitOpen},
	{"GRANT_EXPIRED", ExitOpen},
	{"OUTCOME_UNKNOWN", ExitOpen},
	{"BALANCE_UNEXPECTED", ExitOpen},
	{"ORDER_OPEN", ExitOpen},
	{"ORDER_SUSPENSE", ExitOpen},
	{"ORDER_UNKNOWN", ExitUsage},
	{"PENDING_LOAD", ExitOpen},
	{"JOURNAL_FAILED", ExitInternal},
	{"PROFILE_BUSY", ExitInternal},
	{"PROFILE_INCOMPLETE", ExitUsage},
	{"PROFILE_DAMAGED", ExitInternal},
	{"PROFILE_FOLDER", ExitUsage},
	{"PLATFORM_UNREACHABLE", ExitNetwork},
	{"PLATFORM_UNTRUSTED", ExitNetwork},
	{"PLATFORM_ANSWER", ExitNetwork},
	{"PLATFORM_BUSY", ExitNetwork},
	{"NOT_LOGGED_IN", ExitDeclined},
	{"LOGIN_WRONG", ExitDeclined},
	{"LOGIN_LOCKED", ExitDeclined},
	{"PASSWORD_WRONG", ExitDeclined},
	{"PASSWORD_LOCKED", ExitDeclined},
	{"SMS_CODE_WRONG", ExitDeclined},
	{"BALANCE_SHORT", ExitDeclined},
	{"FEE_CHANGED", ExitDeclined},
	{"SOURCE_REFUSED", ExitDeclined},
	{"LIMIT_LOAD_MIN", ExitDeclined},
	{"LIMIT_LOAD_MAX", ExitDeclined},
	{"LIMIT_PURSE_CAP", ExitDeclined},
	{"LIMIT_CARD_DAY_COUNT", ExitDeclined},
	{"LIMIT_CARD_DAY_SUM", ExitDeclined},
	{"LIMIT_ACCOUNT_DAY_SUM", ExitDeclined},
	{"LIMIT_DEVICE_DAY_SUM", ExitDeclined},
	{"LIMIT_LIFE_SUM", ExitDeclined},
	{"LIMIT_NEW_DEVICE", ExitDeclined},
	{"LIMIT_TOO_HIGH", ExitDeclined},
	{"LIMIT_NEEDS_PASSWORD", ExitDeclined},
	{"TIER_REFUSED", ExitDeclined},
	{"RISK_WATCH", ExitDeclined},
	{"RISK_BLOCKED", ExitDeclined},
	{"STALE_CARD_STATE", ExitDeclined},
	{"TID_USED", ExitDeclined},
	{"LEASE_INVALID", ExitDeclined},
	{"KEY_REUSED", ExitDeclined},
	{"ABANDONED", ExitDeclined},
	{"ATTEMPT_SUPERSEDED", ExitOpen},
	{"PROBE_UNKNOWN", ExitOpen},
	{"EPOCH_CHANGED", ExitOpen},
	{"NOT_PAYER", ExitDeclined},
	{"TOO_MANY_WRONG", ExitOpen},
	{"NOT_FOUND", ExitDeclined},
	{"DECLINED", ExitDeclined},
	{"ACCOUNT_STATE", ExitDeclined},
	{"SERVICE_CLOSED", ExitDeclined},
	{"NONCE_EXPIRED", ExitDeclined},
	{"TOKEN_FOREIGN", ExitDeclined},
	{"SIGNATURE", ExitDeclined},
	{"DEVICE_UNKNOWN", ExitDeclined},
	{"DEVICE_LIMIT", ExitDeclined},
	{"JOURNAL_CONFLICT", ExitDeclined},
	{"VERSION_TOO_OLD", ExitDeclined},
	{"BAD_REQUEST", ExitDeclined},
	{"TOO_LARGE", ExitDeclined},
	{"DEMO_REAL_CARD", ExitReader},
	{"DEMO_RECORDED_CARD", ExitReader},
	{"DEMO_CREDENTIALS_REFUSED", ExitUsage},
	{"AMOUNT_FORMAT", ExitUsage},
	{"AMOUNT_NEEDS_POINT", ExitUsage},
	{"CONFIRM_NEEDED", ExitUsage},
	{"CANCELLED", ExitInternal},
	{"TIMEOUT", ExitReader},
	{"CARD_FILE", ExitReader},
	{"PLATFORM_DIR", ExitInternal},
	{"USAGE", ExitUsage},
	{"INTERNAL", ExitInternal},
	{"CARD_BALANCE_SHORT", ExitDeclined},
	{"MERCHANT_ORDER", ExitDeclined},
	{"AMOUNT_DIFFERS", ExitDeclined},
	{"PENDING_PURCHASE", ExitOpen},
	{"NOT_IN_SUSPENSE", ExitDeclined},
	{"DECISION_REFUSED", ExitDeclined},
	{"SECOND_PERSON", ExitDeclined},
	{"STAFF_ROLE", ExitDeclined},
	{"PROPOSAL_OPEN", ExitDeclined},
	{"PROPOSAL_CLOSED", ExitDeclined},
	{"PROPOSAL_STALE", ExitDeclined},
	{"COMPANION_REFUSED", ExitDeclined},
	{"COMPANION_TAKEN", ExitDeclined},
	{"LIST_REFUSED", ExitDeclined},
	{"PURCHASE_UNDELIVERED", ExitOpen},
	{"PURCHASE_DOUBTFUL", ExitOpen},
	{"PURCHASE_REFUNDED", ExitDeclined},
	{"BUNDLE_UNSAVED", ExitInternal},
	{"BUNDLE_DAMAGED", ExitUsage},
	{"BUNDLE_UNREADABLE", ExitUsage},
	{"REPLAY_NOTHING", ExitUsage},
	{"REPLAY_DIFFERS", ExitInternal},
	{"CLOSE_REFUSED", ExitDeclined},
	{"DATE_PAST", ExitUsage},
	{"PHONE_TAKEN", ExitDeclined},
	{"WINDOW_OPEN", ExitDeclined},
	{"VOUCHER_WRONG", ExitDeclined},
	{"VOUCHER_LOCKED", ExitDeclined},
	{"VOUCHER_USED", ExitDeclined},
	{"VOUCHER_BLOCKED", ExitDeclined},
	{"VOUCHER_EXPIRED", ExitDeclined},
	{"VOUCHER_INACTIVE", ExitDeclined},
	{"VOUCHER_VALUE", ExitDeclined},
	{"VOUCHER_FORM", ExitUsage},
	{"BANK_UNREACHABLE", ExitNetwork},
	{"BANK_CARD_DATA", ExitDeclined},
	{"BANK_CREDIT_CARD", ExitDeclined},
	{"BANK_CODE_NEEDED", ExitDeclined},
	{"BANK_CODE_WRONG", ExitDeclined},
	{"BANK_LOCKED", ExitDeclined},
	{"BANK_FUNDS_SHORT", ExitDeclined},
	{"BANK_BINDING", ExitDeclined},
	{"BANK_IN_USE", ExitDeclined},
	{"BANK_RETURN_OVER", ExitDeclined},
	{"BANK_RETURN_OPEN", ExitOpen},
	{"BANK_REFUSED", ExitDeclined},
	{"FUNDING_PENDING", ExitOpen},
	{"FUNDING_REVERSED", ExitDeclined},
	{"PHONE_REGISTERED", ExitDeclined},
	{"PASSWORD_WEAK", ExitDeclined},
	{"AGREEMENT_CHANGED", ExitDeclined},
	{"SMS_TOO_SOON", ExitDeclined},
}

// synonyms are other names for a line of the table: those that a wire gives to its
// own trouble, and the short names of limits. People and scripts see the line's code.
var synonyms = map[string]string{
	"NETWORK":           "PLATFORM_UNREACHABLE",
	"TLS_REFUSED":       "PLATFORM_UNTRUSTED",
	"ANSWER_UNSIGNED":   "PLATFORM_ANSWER",
	"ANSWER_FOREIGN":    "PLATFORM_ANSWER",
	"ANSWER_BROKEN":     "PLATFORM_ANSWER",
	"BUSY":              "PLATFORM_BUSY",
	"NO_LEASE":          "LEASE_INVALID",
	"LOCAL":             "INTERNAL",
	"LIMIT_SINGLE":      "LIMIT_LOAD_MAX",
	"LIMIT_CAP":         "LIMIT_PURSE_CAP",
	"LIMIT_CARD_DAY":    "LIMIT_CARD_DAY_SUM",
	"LIMIT_ACCOUNT_DAY": "LIMIT_ACCOUNT_DAY_SUM",
	"LIMIT_DEVICE_DAY":  "LIMIT_DEVICE_DAY_SUM",
}

// byCode finds a line of ErrorTable.
var byCode = func() map[string]ErrorInfo {
	index := make(map[string]ErrorInfo, len(ErrorTable))
	for _, info := range ErrorTable {
		index[info.Code] = info
	}
	return index
}()

// InfoOf returns the line of a code or of a synonym; show its Code, not the one that
// was asked for. A code that a newer platform sent and that
// this version does not know counts as a refusal.
func InfoOf(code string) ErrorInfo {
	if line, named := synonyms[code]; named {
		code = line
	}
	if info, known := byCode[code]; known {
		return info
	}
	return ErrorInfo{Code: code, Exit: ExitDeclined}
}

// ExitOf returns the exit code of a command that fails with code; open says that an
// order is or may be open because of it. "Open" beats trouble with card, reader,
// network and the program itself: whoever reads only the exit code must learn that
// money is on its way.
func ExitOf(code string, open bool) int {
	exit := InfoOf(code).Exit
	if open && slices.Contains([]int{ExitInternal, ExitReader, ExitNetwork}, exit) {
		return ExitOpen
	}
	return exit
}

// Told is an error as people read it.
type Told struct {
	Title    string   // a few words
	Text     string   // what happened and where the money is
	Causes   []string // what may have led to it; often empty
	Remedies []string // what to do next, those for this system first
}

// Tell puts a code into words. detail holds facts that the texts may use:
// holder, order, wanted and found (text), triesLeft and limit (int), amountFen, limitFen,
// capFen and balanceFen (wallet.Fen, shown in yuan), resets (time.Time, shown in
// the business time zone), waitS (int, seconds); standing (text: of account or card, in
// ACCOUNT_STATE and CARD_STATE), mainFen, heldFen, purseFen (wallet.Fen) and openOrders
// (int); command, sw and statusKey (text) add what the card's status word means after
// that command; fundedFen and returnedFen (wallet.Fen) add what has happened all the
// same; reasonKey (text) adds a text. open adds where the money of an open order is.
func Tell(texts *lang.Localizer, code string, open bool, detail map[string]any) Told {
	return tellOn(runtime.GOOS, texts, code, open, detail)
}

func tellOn(system string, texts *lang.Localizer, code string, open bool, detail map[string]any) Told {
	facts := shown(detail)
	code = InfoOf(code).Code
	key := "error." + code
	told := Told{}
	if texts.Has(key + ".title") {
		told.Title, told.Text = texts.T(key+".title", facts), texts.T(key+".text", facts)
		told.Causes = numbered(texts, key+".cause.", facts)
		told.Remedies = append(numbered(texts, key+".remedy."+system+".", facts), numbered(texts, key+".remedy.", facts)...)
	} else {
		facts["code"] = code
		told.Title, told.Text = texts.T("error.DECLINED.title", nil), texts.T("error.unknown", facts)
		told.Remedies = numbered(texts, "error.VERSION_TOO_OLD.remedy.", nil)
	}
	tellStanding(texts, &told, code, detail, facts)
	if status, refused := detail["statusKey"].(string); refused && texts.Has(status) {
		told.Text += separator(texts) + texts.T("error.status", map[string]any{"command": detail["command"], "sw": detail["sw"], "meaning": texts.T(status, nil)})
	}
	if _, brought := detail["fundedFen"]; brought {
		told.Text += separator(texts) + texts.T("error.money.funded", facts)
	}
	if _, returned := detail["returnedFen"]; returned {
		told.Text += separator(texts) + texts.T("error.money.returned", facts)
	}
	if reason, given := detail["reasonKey"].(string); given && texts.Has(reason) {
		told.Text += separator(texts) + texts.T(reason, facts)
	}
	if open && InfoOf(code).Exit != ExitOpen {
		told.Text += separator(texts) + texts.T("error.money.open", facts)
	}
	return told
}

// tellStanding says which state of account or card refused, and what to do about it; of
// an order that stays open, why it was not completed.
func tellStanding(texts *lang.Localizer, told *Told, code string, detail, facts map[string]any) {
	standing, _ := detail["standing"].(string)
	refused, _ := detail["refused"].(string)
	if refused == "" {
		refused = code
	}
	ofCard := refused == "CARD_STATE"
	stateRefused := (ofCard || refused == "ACCOUNT_STATE") && texts.Has(standingKey(ofCard, standing)+".text")
	switch {
	case code == "ORDER_OPEN" && refused != code:
		why := texts.T("error."+refused+".title", facts)
		if stateRefused {
			why = texts.T(standingKey(ofCard, standing)+".text", facts)
			told.Remedies = append([]string{texts.T(standingKey(ofCard, standing)+".next", facts)}, told.Remedies...)
		}
		told.Text += separator(texts) + texts.T("error.ORDER_OPEN.refused", map[string]any{"why": why})
		told.Remedies = append(told.Remedies, texts.T("error.ORDER_OPEN.cancel", nil))
	case !stateRefused:
	case standing == "ACTIVE" || standing == "NORMAL":
		told.Text = texts.T("error."+code+".asUsual", nil)
	case refused == code:
		told.Text = texts.T(standingKey(ofCard, standing)+".text", facts) + separator(texts) + texts.T("error."+code+".money", nil)
		told.Remedies = append([]string{texts.T(standingKey(ofCard, standing)+".next", facts)}, told.Remedies...)
	}
}

// separator stands between two sentences: Chinese has none.
func separator(texts *lang.Localizer) string {
	if texts.Name() == lang.Chinese {
		return ""
	}
	return " "
}

// numbered collects the texts of prefix1, prefix2 and so on.
func numbered(texts *lang.Localizer, prefix string, facts map[string]any) []string {
	var found []string
	for i := 1; texts.Has(fmt.Sprint(prefix, i)); i++ {
		found = append(found, texts.T(fmt.Sprint(prefix, i), facts))
	}
	return found
}

// businessZone is the zone of business days, whatever this computer is set to.
var businessZone = time.FixedZone("+08:00", 8*60*60)

// shown turns facts into what people read: yuan for fen, business time for times.
func shown(detail map[string]any) map[string]any {
	facts := make(map[string]any, len(detail)+1)
	for name, value := range detail {
		switch value := value.(type) {
		case wallet.Fen:
			facts[name] = value.Yuan()
		case time.Time:
			facts[name] = value.In(businessZone).Format("2006-01-02 15:04")
		default:
			facts[name] = value
		}
	}
	return facts
}
