package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
)

// SMSSpool is a channel for SMS: it puts one file for each message into the folder from
// which a gateway program sends, in the form of SMS Server Tools 3 (headers To and
// Alphabet, an empty line, the text). The file bears the message's name, so that a
// message that comes twice before the gateway took it is one file. It implements
// mockplatform.SMSChannel.
type SMSSpool struct {
	Dir   string // must exist; the gateway's own
	Texts *lang.Localizer
}

// countryCode of the numbers that the platform knows; gateways want it.
const countryCode = "86"

// Send implements mockplatform.SMSChannel. Nothing of a message that was not written as
// a whole is ever seen by the gateway.
func (s SMSSpool) Send(ctx context.Context, phone string, message api.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !api.ValidPhone(phone) || message.ID == "" || strings.ContainsAny(message.ID, "/\\.") {
		return errors.New("a message needs a mobile number and a name")
	}
	text := fmt.Sprintf("To: %s%s\nAlphabet: UTF-8\n\n%s\n", countryCode, phone, strings.ReplaceAll(core.TellMessage(s.Texts, message), "\n", " "))
	temporary := filepath.Join(s.Dir, "."+message.ID)
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(s.Dir, message.ID))
}
