package wallet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// fillScript turns a published open script into commands. Placeholders are filled
// from what the person confirmed, never from the network. The script is at least
// SELECT and INITIALIZE, which is last and there once.
func fillScript(script Script, profile *Profile, amount Fen, tid TerminalNumber) ([]Command, error) {
	const op = "open script"
	bad := func(format string, args ...any) error {
		return fail(CodeGuardRefused, op, fmt.Errorf(format, args...))
	}
	if !profile.Accepts(script.Profile) {
		return nil, bad("it is for profile %q, the card is %q", script.Profile, profile.Name)
	}
	if len(script.Steps) < 2 || len(script.Steps) > maxCommands {
		return nil, bad("it has %d steps", len(script.Steps))
	}
	if amount <= 0 || amount > 0x7FFFFFFF {
		return nil, bad("amount out of range")
	}
	fill := strings.NewReplacer(
		"{amount}", fmt.Sprintf("%08X", int64(amount)),
		"{tid}", tid.String(),
		"{key_idx}", fmt.Sprintf("%02X", profile.KeyIndex),
	)
	commands := make([]Command, len(script.Steps))
	for i, step := range script.Steps {
		raw, err := hex.DecodeString(fill.Replace(step.APDU))
		if err != nil {
			return nil, fail(CodeGuardRefused, op, errors.New("a step is not hexadecimal"))
		}
		if commands[i], err = ParseCommand(raw); err != nil {
			return nil, fail(CodeGuardRefused, op, err)
		}
		if isLast := i == len(script.Steps)-1; (commands[i].INS == insInitialize) != isLast {
			return nil, bad("INITIALIZE must be the last step and no other")
		}
	}
	return commands, nil
}

// expected reports whether the status word fits one of the step's masks, or
// whether the step lets the script go on without it. X stands for any digit.
func expected(step Step, sw SW) bool {
	if step.OnError == "continue" {
		return true
	}
	if len(step.Expect) == 0 {
		return sw == SWOK
	}
	for _, mask := range step.Expect {
		if maskFits(strings.ToUpper(mask), sw.String()) {
			return true
		}
	}
	return false
}

func maskFits(mask, text string) bool {
	if len(mask) != len(text) {
		return false
	}
	for i := range mask {
		if mask[i] != 'X' && mask[i] != text[i] {
			return false
		}
	}
	return true
}
