package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func said(value *bool) string {
	switch {
	case value == nil:
		return "?"
	case *value:
		return "yes"
	}
	return "no"
}

// Without a platform "where is my money" says what the journal knows, and no more.
func TestPurchaseLineOfEveryStage(t *testing.T) {
	for stage, want := range map[wallet.Stage]string{
		// debited, delivered, on the card, next
		wallet.StagePurchaseIntent: "no false yes none OFFERED",
		wallet.StageAsked:          "no false yes sync OFFERED",
		wallet.StageAuthorised:     "? false ? sync AUTHORISED",
		wallet.StageDebiting:       "? false ? sync AUTHORISED",
		wallet.StageDebited:        "yes false no wait AUTHORISED",
		wallet.StageDoubtful:       "? false ? sync DOUBTFUL",
		wallet.StageConfirmed:      "yes true no none PAID",
		wallet.StageRefunded:       "yes false no none REFUNDED",
		wallet.StageNotTaken:       "no false yes none NOT_TAKEN",
		wallet.StageDeclined:       "no false yes none DECLINED",
		wallet.StageAbandoned:      "no false yes none DECLINED",
	} {
		line := lineOfEntry(wallet.Entry{Kind: wallet.KindPurchase, Stage: stage})
		delivered := line.Delivered
		require.Equal(t, want, said(line.Debited)+" "+map[bool]string{true: "true", false: "false"}[delivered]+" "+said(line.OnCard)+" "+line.Next+" "+string(line.State), stage)
		require.Equal(t, said(line.Debited) == "yes", line.Paid)
		require.Equal(t, wallet.KindPurchase, line.Kind)
	}
}

// The platform's signed word stands before the journal's, except for what only the
// card has told so far.
func TestPurchaseLineOfThePlatform(t *testing.T) {
	yes := true
	line := lineOfPurchase(api.Purchase{State: wallet.PurchaseAuthorised, Created: "2026-03-15T01:30:45Z"}, wallet.StageDebited)
	require.Equal(t, []string{"yes", "no", "wait"}, []string{said(line.Debited), said(line.OnCard), line.Next})
	require.Equal(t, 2026, line.Created.Year())
	line = lineOfPurchase(api.Purchase{State: wallet.PurchaseSuspense}, "")
	require.Equal(t, []string{"?", "counter"}, []string{said(line.Debited), line.Next})
	line = lineOfPurchase(api.Purchase{State: wallet.PurchasePaid, Debited: &yes, Delivered: true}, wallet.StageDebiting)
	require.True(t, line.Delivered)
	require.Equal(t, "none", line.Next)
}

func TestSyncLineOpen(t *testing.T) {
	for state, open := range map[wallet.PurchaseStateName]bool{
		wallet.PurchaseAuthorised: true, wallet.PurchaseDoubtful: true, wallet.PurchaseSuspense: true,
		wallet.PurchasePaid: false, wallet.PurchaseRefunded: false, wallet.PurchaseNotTaken: false, wallet.PurchaseDeclined: false,
	} {
		require.Equal(t, open, SyncLine{To: wallet.LoadState(state)}.Open(), state)
	}
	for state, open := range map[wallet.LoadState]bool{
		wallet.StateGranted: true, wallet.StateReceived: true, wallet.StateSuspense: true, wallet.StateLoaded: false, wallet.StateVoided: false, wallet.StateDeclined: false,
	} {
		require.Equal(t, open, SyncLine{To: state}.Open(), state)
	}
}

// A failed purchase never sounds as if it were settled, and never hides a debit.
func TestCodesOfPurchases(t *testing.T) {
	for code, exit := range map[string]int{
		"PURCHASE_UNDELIVERED": ExitOpen, "PURCHASE_DOUBTFUL": ExitOpen, "PENDING_PURCHASE": ExitOpen,
		"PURCHASE_REFUNDED": ExitDeclined, "MERCHANT_ORDER": ExitDeclined, "AMOUNT_DIFFERS": ExitDeclined, "CARD_BALANCE_SHORT": ExitDeclined,
	} {
		require.Equal(t, exit, ExitOf(code, false), code)
	}
}
