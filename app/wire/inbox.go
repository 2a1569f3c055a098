package wire

import (
	"context"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
)

// DemoCode answers an SMS code by itself, where the person asked to use demo credentials:
// with what the demo's telephone shows, or with the demo's well-known code, which serves
// the accounts that its administration made.
func (p *Program) DemoCode(ctx context.Context, phone, codeID string) (string, error) {
	demo := p.DemoCredentials()
	if demo == nil {
		return "", &core.Failure{Code: "DEMO_CREDENTIALS_REFUSED"}
	}
	if code, err := p.client.DemoAnswer(phone)(ctx, codeID); err == nil {
		return code, nil
	}
	return demo.SMSCode, nil
}

// Inbox is what the telephone with this number shows; only a demo tells. Nobody needs to
// be logged in.
func (p *Program) Inbox(ctx context.Context, phone string) ([]api.Message, error) {
	return p.client.Inbox(ctx, phone)
}
