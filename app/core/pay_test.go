package core

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// teller answers every result of a purchase with one state, or with none.
type teller struct {
	Platform
	state wallet.PurchaseStateName
}

func (p teller) PurchaseResult(_ context.Context, entry wallet.Entry) (wallet.PurchaseStatement, wallet.Signed, error) {
	if p.state == "" {
		return wallet.PurchaseStatement{}, wallet.Signed{}, errors.New("no answer")
	}
	return wallet.PurchaseStatement{Key: entry.Key, Purchase: entry.Order, State: p.state}, wallet.Signed{}, nil
}

// drawer takes every entry.
type drawer struct{ Store }

func (drawer) Write(context.Context, wallet.Entry) error { return nil }

// Only PAID is success: a card that is debited is not yet a purchase that is delivered.
func TestSendPurchase_OnlyPaidIsSuccess(t *testing.T) {
	for state, code := range map[wallet.PurchaseStateName]string{
		wallet.PurchasePaid: "", wallet.PurchaseRefunded: "PURCHASE_REFUNDED", wallet.PurchaseDoubtful: "PURCHASE_DOUBTFUL",
		wallet.PurchaseSuspense: "ORDER_SUSPENSE", wallet.PurchaseAuthorised: "ORDER_OPEN", "": "PURCHASE_UNDELIVERED",
	} {
		entry := wallet.Entry{Key: "k", Kind: wallet.KindPurchase, Order: "P1", Stage: wallet.StageDebited}
		_, err := New(Config{Platform: teller{state: state}, Store: drawer{}}).sendPurchase(t.Context(), entry)
		if code == "" {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, state)
		require.Equal(t, code, Explain(err).Code)
	}
}
