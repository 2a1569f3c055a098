package wallet

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatusKey(t *testing.T) {
	require.Equal(t, "status.credit.9302", StatusKey("CREDIT FOR LOAD", SWMACWrong))
	require.Equal(t, "status.debit.9302", StatusKey("DEBIT FOR PURCHASE", SWMACWrong))
	require.Equal(t, "status.any.6D00", StatusKey("CREDIT FOR LOAD", SWUnknownINS))
	require.Equal(t, "status.any.63Cx", StatusKey("VERIFY", 0x63C2))
	require.Equal(t, "status.unknown", StatusKey("SELECT", 0x1234))
	require.Equal(t, "status.any.6985", StatusKey("INS 99", SWConditions))
}

// Every command with meanings of its own is one that the purse sends, under the name
// that its errors carry.
func TestStatusCommandsAreTheGuards(t *testing.T) {
	var sent []string
	for _, ins := range []byte{insVerify, insCredit, insDebit, insProve, insGetBalance, insSelect, insReadBinary, insReadRecord} {
		sent = append(sent, Command{INS: ins}.Name())
	}
	sent = append(sent, Command{INS: insInitialize, P1: initForLoad}.Name(), Command{INS: insInitialize, P1: initForPurchase}.Name())
	for command, words := range statusByCommand {
		require.Contains(t, sent, command)
		require.NotEmpty(t, commandSlugs[command])
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(words))), len(words), command)
		for _, sw := range words {
			require.NotEqual(t, "unknown status", sw.Meaning(), "%s %v", command, sw)
		}
	}
	require.Len(t, statusByCommand, len(sent))
	require.Len(t, commandSlugs, len(sent))
}

// The error of a refused command carries what was refused, and how.
func TestStatusErrorKeepsTheStatus(t *testing.T) {
	err := error(statusError("INITIALIZE FOR LOAD", SWCounterFull))
	var bad *BadStatus
	require.True(t, errors.As(err, &bad))
	require.Equal(t, BadStatus{"INITIALIZE FOR LOAD", SWCounterFull}, *bad)
	require.Equal(t, "INITIALIZE FOR LOAD: CARD_PROTOCOL: 9402, transaction counter at its end", err.Error())
}
