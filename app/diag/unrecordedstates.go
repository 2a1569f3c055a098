package diag

import (
	"context"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// A replay changes no state of an account or a card.

func (unrecorded) Freeze(context.Context, time.Time) (api.Account, error) {
	return api.Account{}, errNotRecorded
}
func (unrecorded) Thaw(context.Context, string, func(context.Context, string) (string, error)) (api.Account, error) {
	return api.Account{}, errNotRecorded
}
func (unrecorded) LoseAccount(context.Context, string) (api.Account, error) {
	return api.Account{}, errNotRecorded
}
func (unrecorded) CloseAccount(context.Context, string, bool, bool, func(context.Context, string) (string, error)) (api.Account, error) {
	return api.Account{}, errNotRecorded
}
func (unrecorded) RemoveCard(context.Context, wallet.ASN) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) RenameCard(context.Context, wallet.ASN, string) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) SuspendCard(context.Context, wallet.ASN) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) ResumeCard(context.Context, wallet.ASN) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) LoseCard(context.Context, wallet.ASN, string) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) FindCard(context.Context, wallet.ASN, func(context.Context, string) (string, error)) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
