package core

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// SMSCode asks a person for the code that was sent to the phone.
type SMSCode = func(ctx context.Context, codeID string) (string, error)

// StatePlatform is what a person does with the state of account and cards (protocol
// §2.15). A refusal is an error whose code is ACCOUNT_STATE or CARD_STATE and whose facts
// name the state.
type StatePlatform interface {
	Freeze(ctx context.Context, until time.Time) (api.Account, error)
	Thaw(ctx context.Context, password string, sms func(ctx context.Context, codeID string) (string, error)) (api.Account, error)
	LoseAccount(ctx context.Context, kind string) (api.Account, error)
	CloseAccount(ctx context.Context, password string, waiveBalance, waivePurse bool, sms func(ctx context.Context, codeID string) (string, error)) (api.Account, error)
	RemoveCard(ctx context.Context, asn wallet.ASN) (api.Card, error)
	RenameCard(ctx context.Context, asn wallet.ASN, label string) (api.Card, error)
	SuspendCard(ctx context.Context, asn wallet.ASN) (api.Card, error)
	ResumeCard(ctx context.Context, asn wallet.ASN) (api.Card, error)
	LoseCard(ctx context.Context, asn wallet.ASN, kind string) (api.Card, error)
	FindCard(ctx context.Context, asn wallet.ASN, sms func(ctx context.Context, codeID string) (string, error)) (api.Card, error)
}

// Freeze freezes the account until a moment, or until Thaw where it is zero.
func (c *Core) Freeze(ctx context.Context, until time.Time) (api.Account, error) {
	if err := c.connect(ctx); err != nil {
		return api.Account{}, err
	}
	return c.Platform.Freeze(ctx, until)
}

// Thaw ends what the person can end: a freeze of one's own, a loss that was only told,
// silence. It takes login password and SMS code.
func (c *Core) Thaw(ctx context.Context, password string, sms SMSCode) (api.Account, error) {
	if err := c.connect(ctx); err != nil {
		return api.Account{}, err
	}
	return c.Platform.Thaw(ctx, password, sms)
}

// ReportLoss reports the account lost with all its cards, in writing or only told.
func (c *Core) ReportLoss(ctx context.Context, written bool) (api.Account, error) {
	if err := c.connect(ctx); err != nil {
		return api.Account{}, err
	}
	return c.Platform.LoseAccount(ctx, lossKind(written))
}

func lossKind(written bool) string {
	if written {
		return api.LossWritten
	}
	return api.LossOral
}

// Closing says what is given up when an account is closed.
type Closing struct {
	WaiveBalance bool // the main account
	WaivePurse   bool // what the cards hold
}

// CloseAccount closes the account for good; CLOSE_REFUSED tells what is still there.
func (c *Core) CloseAccount(ctx context.Context, password string, closing Closing, sms SMSCode) (api.Account, error) {
	if err := c.connect(ctx); err != nil {
		return api.Account{}, err
	}
	return c.Platform.CloseAccount(ctx, password, closing.WaiveBalance, closing.WaivePurse, sms)
}

// CardChange is what a person does with a card of the account.
type CardChange string

// The changes.
const (
	ChangeRemove      CardChange = "remove"
	ChangeRename      CardChange = "rename"
	ChangeSuspend     CardChange = "suspend"
	ChangeResume      CardChange = "resume"
	ChangeLoss        CardChange = "loss"
	ChangeLossWritten CardChange = "loss-written"
	ChangeFound       CardChange = "found"
)

// CardAsk is a change of one card.
type CardAsk struct {
	Card   string // line of the list, or the end of the card's number
	Change CardChange
	Label  string  // rename
	SMS    SMSCode // found
}

// ChangeCard finds a card of the account and changes it.
func (c *Core) ChangeCard(ctx context.Context, ask CardAsk) (api.Card, error) {
	account, err := c.Account(ctx)
	if err != nil {
		return api.Card{}, err
	}
	card, err := CardNamed(account.Cards, ask.Card)
	if err != nil {
		return api.Card{}, err
	}
	switch ask.Change {
	case ChangeRemove:
		return c.Platform.RemoveCard(ctx, card.ASN)
	case ChangeRename:
		return c.Platform.RenameCard(ctx, card.ASN, ask.Label)
	case ChangeSuspend:
		return c.Platform.SuspendCard(ctx, card.ASN)
	case ChangeResume:
		return c.Platform.ResumeCard(ctx, card.ASN)
	case ChangeLoss, ChangeLossWritten:
		return c.Platform.LoseCard(ctx, card.ASN, lossKind(ask.Change == ChangeLossWritten))
	case ChangeFound:
		return c.Platform.FindCard(ctx, card.ASN, ask.SMS)
	}
	return api.Card{}, &Failure{Code: "USAGE", Err: errors.New("the change of the card is unknown")}
}

// linesAtMost is how many digits a line of the list has; a longer number is the end of
// a card's.
const linesAtMost = 3

// CardNamed finds a card by its line in the list, counted from 1, or by at least four
// digits at the end of its number. One that fits several cards fits none.
func CardNamed(cards []api.Card, text string) (api.Card, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	if line, err := strconv.Atoi(text); err == nil && len(text) <= linesAtMost {
		if line >= 1 && line <= len(cards) {
			return cards[line-1], nil
		}
		return api.Card{}, &Failure{Code: "USAGE", Err: errors.New("the list of cards has no such line; see: walletctl cards")}
	}
	var found []api.Card
	for _, card := range cards {
		if len(text) > linesAtMost && strings.HasSuffix(card.ASN.String(), text) {
			found = append(found, card)
		}
	}
	if len(found) != 1 {
		return api.Card{}, &Failure{Code: "USAGE", Err: errors.New("not exactly one card of the account ends like this; see: walletctl cards")}
	}
	return found[0], nil
}

// Standing puts the state of an account or a card into words: what it means and what is
// possible now, and what to do next. until is when it ends by itself, zero if it does not.
func Standing(texts interface {
	T(key string, facts map[string]any) string
	Has(key string) bool
}, ofCard bool, standing string, until time.Time) (text, next string) {
	key := standingKey(ofCard, standing)
	if !texts.Has(key + ".text") {
		return standing, texts.T("error.VERSION_TOO_OLD.remedy.1", nil)
	}
	facts := map[string]any{}
	if !until.IsZero() {
		facts["resets"] = until
	}
	facts = shown(facts)
	return texts.T(key+".text", facts), texts.T(key+".next", facts)
}

func standingKey(ofCard bool, standing string) string {
	if ofCard {
		return "standing.card." + standing
	}
	return "standing.account." + standing
}
