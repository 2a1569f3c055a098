package diag

import (
	"context"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Bank cards take no part in what is replayed.

func (unrecorded) Banks(context.Context) (api.Banks, error) { return api.Banks{}, errNotRecorded }
func (unrecorded) BindBank(context.Context, api.BankCard) (api.BankBinding, error) {
	return api.BankBinding{}, errNotRecorded
}
func (unrecorded) ConfirmBank(context.Context, string, string) (api.BankBinding, error) {
	return api.BankBinding{}, errNotRecorded
}
func (unrecorded) UnbindBank(context.Context, string) (api.BankBinding, error) {
	return api.BankBinding{}, errNotRecorded
}
func (unrecorded) BankCode(context.Context, string, wallet.Fen) (api.SMSSent, error) {
	return api.SMSSent{}, errNotRecorded
}
func (unrecorded) BankDemo(context.Context) (api.BankDemo, error) {
	return api.BankDemo{}, errNotRecorded
}
func (unrecorded) ReturnToBank(context.Context, string, string, wallet.Fen, string) (api.BankReturnState, error) {
	return api.BankReturnState{}, errNotRecorded
}
func (unrecorded) BankReturn(context.Context, string) (api.BankReturnState, error) {
	return api.BankReturnState{}, errNotRecorded
}
func (unrecorded) BankReturns(context.Context) (api.BankReturns, error) {
	return api.BankReturns{}, errNotRecorded
}
