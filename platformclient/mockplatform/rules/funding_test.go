package rules

import (
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// The whole table, state × event. What is expected is written down here in other
// words than in the rules: a row per state, a column per event, "!" for an alarm and
// "+" for a credit; "." leaves everything as it is.
func TestFunding_EveryStateAndEvent(t *testing.T) {
	columns := []FundingEvent{FundingAsked, FundingPaid, FundingRefused, FundingSilent, FundingExpired, FundingUndone, FundingKept}
	require.ElementsMatch(t, FundingEvents, columns)
	table := map[wallet.FundingState][]string{
		"RECEIVED":  {"PENDING", "DONE+", "DECLINED", ".", "DECLINED", "!", "!"},
		"PENDING":   {".", "DONE+", "DECLINED", ".", "REVERSING", "REVERSED", "DONE+"},
		"DONE":      {".", ".", "!", ".", ".", "!", "."},
		"DECLINED":  {".", "!", ".", ".", ".", ".", "!"},
		"REVERSING": {".", ".", "REVERSED", ".", ".", "REVERSED", "DONE+"},
		"REVERSED":  {".", "!", ".", ".", ".", ".", "!"},
	}
	require.Len(t, table, len(wallet.FundingStates))
	for _, state := range wallet.FundingStates {
		for i, event := range columns {
			cell := table[state][i]
			want := FundingStep{Next: state}
			switch cell {
			case ".":
			case "!":
				want.Alarm = true
			case "DONE+":
				want = FundingStep{Next: wallet.FundingDone, Credit: true}
			default:
				want.Next = wallet.FundingState(cell)
			}
			require.Equal(t, want, NextFunding(state, event), "%s, %s", state, event)
		}
	}
}

// Whatever happens in whatever order, a funding is credited once at most, only on the
// way into DONE, and a final state is never left.
func TestFunding_NoOrderOfEventsCreditsTwice(t *testing.T) {
	type world struct {
		state   wallet.FundingState
		credits int
	}
	seen := map[world]bool{{wallet.FundingReceived, 0}: true}
	for queue := []world{{wallet.FundingReceived, 0}}; len(queue) > 0; queue = queue[1:] {
		for _, event := range FundingEvents {
			step := NextFunding(queue[0].state, event)
			next := world{step.Next, queue[0].credits}
			if step.Credit {
				next.credits++
			}
			require.LessOrEqual(t, next.credits, 1)
			require.Equal(t, next.state == wallet.FundingDone, next.credits == 1, "%v after %s", next, event)
			if queue[0].state.Final() {
				require.Equal(t, queue[0], next, event)
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	require.Len(t, seen, len(wallet.FundingStates), "every state can be reached")
}

func TestVoucher_EveryStateAndEvent(t *testing.T) {
	columns := []VoucherEvent{VoucherActivate, VoucherRedeem, VoucherBlock, VoucherUnblock, VoucherExpire}
	require.ElementsMatch(t, VoucherEvents, columns)
	table := map[VoucherState][]VoucherState{
		"NEW":     {"ACTIVE", "", "BLOCKED", "", "EXPIRED"},
		"ACTIVE":  {"", "USED", "BLOCKED", "", "EXPIRED"},
		"USED":    {"", "", "", "", ""},
		"BLOCKED": {"", "", "", "ACTIVE", "EXPIRED"},
		"EXPIRED": {"", "", "", "", ""},
	}
	require.Len(t, table, len(VoucherStates))
	for _, state := range VoucherStates {
		for i, event := range columns {
			next, allowed := NextVoucher(state, event)
			want := table[state][i]
			require.Equal(t, want != "", allowed, "%s, %s", state, event)
			if !allowed {
				want = state
			}
			require.Equal(t, want, next, "%s, %s", state, event)
		}
	}
}
