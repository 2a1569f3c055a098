package wallet

import "fmt"

// BadStatus is a status word that refused a command: the cause under the code of the
// failure. What it means depends on the command; StatusKey finds the words.
type BadStatus struct {
	Command string // as Command.Name gives it
	SW      SW
}

// Error tells status word and meaning; the command stands in the error around it.
func (b *BadStatus) Error() string { return fmt.Sprintf("%v, %s", b.SW, b.SW.Meaning()) }

// commandSlugs are the names of commands in keys of texts.
var commandSlugs = map[string]string{
	"SELECT": "select", "READ BINARY": "info", "READ RECORD": "record", "GET BALANCE": "balance", "VERIFY": "verify",
	"INITIALIZE FOR LOAD": "initLoad", "CREDIT FOR LOAD": "credit",
	"INITIALIZE FOR PURCHASE": "initPurchase", "DEBIT FOR PURCHASE": "debit", "GET TRANSACTION PROVE": "prove",
}

// statusByCommand are the status words whose meaning depends on the command: the rows
// of the card dossier §1.6 and §1.7.
var statusByCommand = map[string][]SW{
	"SELECT":                  {SWInvalidated, SWNotSupported, SWFileNotFound, SWApplicationLocked},
	"READ BINARY":             {SWSecurity, SWConditions, SWNotSupported, SWFileNotFound, SWOffsetOutside},
	"READ RECORD":             {SWSecurity, SWConditions, SWFileNotFound, SWRecordNotFound},
	"GET BALANCE":             {SWSecurity, SWConditions, SWNotSupported, SWFileNotFound},
	"VERIFY":                  {SWPINLocked, SWApplicationLocked},
	"INITIALIZE FOR LOAD":     {SWSecurity, SWConditions, SWNotSupported, SWCounterFull, SWKeyAbsent},
	"CREDIT FOR LOAD":         {SWMemory, SWWrongState, SWSecurity, SWConditions, SWMACWrong},
	"INITIALIZE FOR PURCHASE": {SWSecurity, SWConditions, SWNotSupported, SWBalanceTooSmall, SWCounterFull, SWKeyAbsent},
	"DEBIT FOR PURCHASE":      {SWMemory, SWWrongState, SWSecurity, SWConditions, SWMACWrong, SWBalanceTooSmall},
	"GET TRANSACTION PROVE":   {SWSecurity, SWConditions, SWNotSupported, SWNoProof},
}

// statusAnywhere mean the same after every command.
var statusAnywhere = []SW{
	SWDataMayBeDamaged, SWEndOfFile, SWInvalidated, SWMemory, SWWrongLength, SWWrongState, SWWrongFileType, SWSecurity, SWPINLocked,
	SWConditions, SWNotSupported, SWFileNotFound, SWRecordNotFound, SWWrongP1P2, SWOffsetOutside, SWUnknownINS, SWUnknownCLA,
	SWMACWrong, SWApplicationLocked, SWBalanceTooSmall, SWCounterFull, SWKeyAbsent, SWNoProof, 0x6F00, 0x9301,
}

// StatusKey names the text of the catalogue that says what a status word means after a
// command: that of the pair, else that of the status word, else "status.unknown". The
// tries left of 63Cx stand in the word itself and are told by the code PIN_WRONG.
func StatusKey(command string, sw SW) string {
	for _, each := range statusByCommand[command] {
		if each == sw {
			return fmt.Sprintf("status.%s.%v", commandSlugs[command], sw)
		}
	}
	for _, each := range statusAnywhere {
		if each == sw {
			return fmt.Sprintf("status.any.%v", sw)
		}
	}
	if _, wrongPIN := sw.triesLeft(); wrongPIN {
		return "status.any.63Cx"
	}
	return "status.unknown"
}

// StatusKeys are all keys that StatusKey may give, for whoever checks a catalogue.
func StatusKeys() []string {
	keys := []string{"status.unknown", "status.any.63Cx"}
	for command, words := range statusByCommand {
		for _, sw := range words {
			keys = append(keys, StatusKey(command, sw))
		}
	}
	for _, sw := range statusAnywhere {
		keys = append(keys, StatusKey("", sw))
	}
	return keys
}
