package core

import (
	"context"

	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// PersonPlatform is what the platform offers a person about the own account: opening it,
// passwords, computers and messages. None of it moves money. sms answers the code that
// was sent under an identifier.
type PersonPlatform interface {
	Agreement(ctx context.Context, language string) (api.Agreement, error)
	// Register opens an account, enrols this computer and logs in.
	Register(ctx context.Context, phone, loginPassword, paymentPassword, agreement string,
		sms func(ctx context.Context, codeID string) (string, error)) error

	ChangeLoginPassword(ctx context.Context, phone, old, fresh string) error
	ResetLoginPassword(ctx context.Context, phone, fresh string, sms func(ctx context.Context, codeID string) (string, error)) error
	ChangePaymentPassword(ctx context.Context, old, fresh string) error
	ResetPaymentPassword(ctx context.Context, loginPassword, fresh string, sms func(ctx context.Context, codeID string) (string, error)) error

	Devices(ctx context.Context) ([]api.Device, error)
	RevokeDevice(ctx context.Context, device string) (api.Device, error)
	RenameDevice(ctx context.Context, device, name string) (api.Device, error)

	// Messages are those behind the one that after names, oldest first; without a name
	// the newest. Inbox is what a telephone shows, which only a demo tells.
	Messages(ctx context.Context, after string) ([]api.Message, error)
	Inbox(ctx context.Context, phone string) ([]api.Message, error)
}

// Register opens an account for a phone number; the person has accepted this version of
// the agreement. This computer is logged in afterwards.
func (c *Core) Register(ctx context.Context, phone, loginPassword, paymentPassword, agreement string,
	sms func(ctx context.Context, codeID string) (string, error)) error {
	if c.Platform == nil {
		return &Failure{Code: "PROFILE_INCOMPLETE"}
	}
	return c.Platform.Register(ctx, phone, loginPassword, paymentPassword, agreement, sms)
}

// Devices lists the computers of the account, those that may spend first.
func (c *Core) Devices(ctx context.Context) ([]api.Device, error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return c.Platform.Devices(ctx)
}

// Messages are the newest messages to the person, oldest first.
func (c *Core) Messages(ctx context.Context, after string) ([]api.Message, error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return c.Platform.Messages(ctx, after)
}

// TellMessage puts a message into words. A kind that this version does not know is told
// by its name, so that nothing is kept from the person.
func TellMessage(texts *lang.Localizer, message api.Message) string {
	facts := message.Facts
	shown := map[string]any{
		"Amount": absolute(facts.Amount).Yuan(), "Balance": facts.Balance.Yuan(), "Device": facts.Device, "Replaced": facts.Replaced,
		"Order": facts.Order, "Code": facts.Code, "Kind": message.Kind, "What": facts.Posting,
	}
	if facts.Until != nil {
		shown["Until"] = facts.Until.In(businessZone).Format("2006-01-02 15:04")
	}
	if movement := "console.movement." + facts.Posting; texts.Has(movement) {
		shown["What"] = texts.T(movement, nil)
	}
	if purpose := "message.purpose." + facts.Purpose; texts.Has(purpose) {
		shown["Purpose"] = texts.T(purpose, nil)
	}
	key := "message." + message.Kind
	switch {
	case message.Kind == api.NoticeBalance && facts.Amount < 0:
		key += ".out"
	case message.Kind == api.NoticeBalance:
		key += ".in"
	case message.Kind == api.NoticeSMSCode && facts.Code == "":
		key += ".over"
	}
	if !texts.Has(key) {
		key = "message.other"
	}
	return texts.T(key, shown)
}

func absolute(amount wallet.Fen) wallet.Fen {
	if amount < 0 {
		return -amount
	}
	return amount
}
