package mockplatform

import (
	"fmt"
	"io"
)

// What holds keys prints none of them, whatever the verb: fmt does not ask the
// unexported fields of a structure for their own form, so that each structure with
// such a field needs one.

const redacted = "[keys]"

// Format hides the keys of a card.
func (cardKeySet) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// Format hides the master keys.
func (*hsm) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// Format hides everything that a platform's key file protects.
func (*secrets) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// Format hides the signer keys.
func (*Platform) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[platform]") }
