package rules

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
)

// TestLists_EveryTransition writes the whole table of subject × standing × event down a
// second time, as people would read it: – is refused. Rows are events, columns where
// the subject stands before.
func TestLists_EveryTransition(t *testing.T) {
	type row struct {
		event              ListEvent
		clear, grey, black string
	}
	for subject, rows := range map[Subject][]row{
		SubjectCard: {
			{ListWrongMACs, "GREY", "GREY", "BLACK"},
			{ListVelocity, "–", "–", "–"},
			{ListChargeback, "–", "–", "–"},
			{ListLoss, "BLACK", "BLACK", "BLACK"},
			{ListFraud, "BLACK", "BLACK", "BLACK"},
			{ListValueCreated, "BLACK", "BLACK", "BLACK"},
			{ListStaffGrey, "GREY", "GREY", "–"},
			{ListStaffClear, "–", "NONE", "–"},
			{ListTwoClear, "–", "–", "NONE"},
			{ListCleanDays, "–", "NONE", "BLACK"},
		},
		SubjectUser: {
			{ListWrongMACs, "–", "–", "–"},
			{ListVelocity, "GREY", "GREY", "BLACK"},
			{ListChargeback, "GREY", "GREY", "BLACK"},
			{ListLoss, "–", "–", "–"},
			{ListFraud, "BLACK", "BLACK", "BLACK"},
			{ListValueCreated, "–", "–", "–"},
			{ListStaffGrey, "GREY", "GREY", "–"},
			{ListStaffClear, "–", "NONE", "–"},
			{ListTwoClear, "–", "–", "NONE"},
			{ListCleanDays, "–", "NONE", "BLACK"},
		},
		SubjectDevice: {
			{ListWrongMACs, "–", "–", "–"},
			{ListVelocity, "GREY", "GREY", "BLACK"},
			{ListChargeback, "–", "–", "–"},
			{ListLoss, "–", "–", "–"},
			{ListFraud, "BLACK", "BLACK", "BLACK"},
			{ListValueCreated, "–", "–", "–"},
			{ListStaffGrey, "GREY", "GREY", "–"},
			{ListStaffClear, "–", "NONE", "–"},
			{ListTwoClear, "–", "–", "NONE"},
			{ListCleanDays, "–", "NONE", "BLACK"},
		},
	} {
		require.Len(t, rows, len(ListEvents), subject)
		for i, row := range rows {
			require.Equal(t, ListEvents[i], row.event)
			for standing, want := range map[Standing]string{Clear: row.clear, Grey: row.grey, Black: row.black} {
				next, code := NextStanding(subject, standing, row.event)
				about := fmt.Sprint(subject, " ", standing, " ", row.event)
				if want == "–" {
					require.Equal(t, api.CodeListRefused, code, about)
					require.Equal(t, standing, next, about)
				} else {
					require.Empty(t, code, about)
					require.Equal(t, Standing(want), next, about)
				}
			}
		}
	}
	_, code := NextStanding("shop", Clear, ListFraud)
	require.Equal(t, api.CodeListRefused, code)
	_, code = NextStanding(SubjectCard, Clear, "RAIN")
	require.Equal(t, api.CodeListRefused, code)
}

// Nothing but two persons leads from the black list, and nothing automatic makes
// anybody black but value that nobody loaded.
func TestLists_BlackIsLeftByTwoPersonsOnly(t *testing.T) {
	for _, subject := range Subjects {
		for _, event := range ListEvents {
			next, _ := NextStanding(subject, Black, event)
			require.Equal(t, event == ListTwoClear, next != Black, event)
			for _, standing := range []Standing{Clear, Grey} {
				next, _ := NextStanding(subject, standing, event)
				require.Equal(t, next == Black, (event == ListFraud) || subject == SubjectCard && (event == ListLoss || event == ListValueCreated), event)
			}
		}
	}
}

func TestLists_EveryUse(t *testing.T) {
	for use, row := range map[Use][3]bool{ // none, grey, black
		UseLoad:     {true, false, false},
		UseComplete: {true, false, false},
		UsePurchase: {true, true, false},
		UsePayIn:    {true, true, false},
		UsePayOut:   {true, false, false},
		UseEvidence: {true, true, true},
		UseLook:     {true, true, true},
	} {
		require.Contains(t, Uses, use)
		for i, standing := range Standings {
			require.Equal(t, row[i], MayUse(standing, use), "%s %s", standing, use)
		}
	}
	require.Len(t, Uses, 7)
}
