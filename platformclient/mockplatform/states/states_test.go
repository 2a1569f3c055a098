package states

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reached is how the account of each state of the matrix came there: nothing but its
// weightiest hold stands.
var reached = map[string]Account{
	"OPENING": {Phase: PhaseOpening}, "NORMAL": {Phase: PhaseOpen},
	"FROZEN_BY_USER": {PhaseOpen, HoldUser}, "FROZEN_BY_STAFF": {PhaseOpen, HoldStaff},
	"LOST_ORAL": {PhaseOpen, HoldOral}, "LOST_WRITTEN": {PhaseOpen, HoldWritten}, "SILENT": {PhaseOpen, HoldSilent},
	"PHONE_SUSPENDED": {PhaseOpen, HoldPhone}, "CLOSING": {Phase: PhaseClosing}, "CLOSED": {Phase: PhaseClosed},
}

// accountMatrix is the whole table as people would write it on paper: a row for each
// event, a column for each state. "-" is refused, "." changes nothing.
const accountMatrix = `
event              OPENING NORMAL          FROZEN_BY_USER  FROZEN_BY_STAFF LOST_ORAL    LOST_WRITTEN SILENT          PHONE_SUSPENDED CLOSING CLOSED
verified           NORMAL  -               -               -               -            -            -               -               -       -
frozen-by-user     -       FROZEN          .               .               .            .            FROZEN          FROZEN          -       -
thawed-by-user     -       -               NORMAL          -               NORMAL       -            NORMAL          -               -       -
thaw-due           -       -               NORMAL          -               -            -            -               -               -       -
frozen-by-staff    -       FROZEN          FROZEN          .               .            .            FROZEN          FROZEN          -       -
thawed-by-staff    -       -               NORMAL          NORMAL          -            -            -               -               -       -
loss-reported      -       LOST_ORAL       LOST_ORAL       LOST_ORAL       .            -            LOST_ORAL       LOST_ORAL       -       -
loss-written       -       LOST_WRITTEN    LOST_WRITTEN    LOST_WRITTEN    LOST_WRITTEN .            LOST_WRITTEN    LOST_WRITTEN    -       -
loss-expired       -       -               -               -               NORMAL       -            -               -               -       -
found-at-counter   -       -               -               -               NORMAL       NORMAL       -               -               -       -
fell-silent        -       SILENT          .               .               .            .            .               .               -       -
strong-login       .       .               .               .               .            .            NORMAL          .               .       -
phone-suspended    .       PHONE_SUSPENDED .               .               .            .            PHONE_SUSPENDED .               .       .
phone-resumed      .       .               .               .               .            .            .               NORMAL          .       .
phone-cancelled    CLOSING CLOSING         CLOSING         CLOSING         CLOSING      CLOSING      CLOSING         CLOSING         .       .
owner-changed      CLOSING CLOSING         CLOSING         CLOSING         CLOSING      CLOSING      CLOSING         CLOSING         .       .
close-asked        -       CLOSING         -               -               -            -            -               -               -       -
close-at-counter   -       CLOSING         CLOSING         -               CLOSING      CLOSING      CLOSING         CLOSING         -       -
nothing-owed       -       -               -               -               -            -            -               -               CLOSED  -
owed-again         .       .               .               .               .            .            .               .               .       CLOSING
`

func TestAccount_EveryStateAndEvent(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(accountMatrix), "\n")
	columns := strings.Fields(rows[0])[1:]
	require.Len(t, columns, len(reached))
	require.Len(t, rows[1:], len(AccountEvents()))
	for i, row := range rows[1:] {
		cells := strings.Fields(row)
		event := AccountEvent(cells[0])
		require.Equal(t, AccountEvents()[i], event)
		require.Len(t, cells[1:], len(columns), row)
		for j, name := range columns {
			before, known := reached[name]
			require.True(t, known, name)
			after, ok := NextAccount(before, event)
			at := fmt.Sprintf("%s in %s", event, name)
			switch want := cells[1+j]; want {
			case "-":
				require.False(t, ok, at)
				require.Equal(t, before, after, at)
			case ".":
				require.True(t, ok, at)
				require.Equal(t, before.State(), after.State(), at)
			default:
				require.True(t, ok, at)
				require.Equal(t, AccountState(want), after.State(), at)
			}
		}
	}
}

// everyAccount is every phase with every set of holds.
func everyAccount() (all []Account) {
	for _, phase := range []Phase{PhaseOpening, PhaseOpen, PhaseClosing, PhaseClosed} {
		for holds := Hold(0); holds <= everyHold; holds++ {
			all = append(all, Account{phase, holds})
		}
	}
	return all
}

// What the table promises whatever else holds an account.
func TestAccount_EverySetOfHolds(t *testing.T) {
	seen := map[AccountState]bool{}
	for _, before := range everyAccount() {
		seen[before.State()] = true
		for _, event := range AccountEvents() {
			after, ok := NextAccount(before, event)
			at := fmt.Sprintf("%v %s %v", before, event, after)
			if !ok {
				require.Equal(t, before, after, at)
				continue
			}
			lifted := before.Holds &^ after.Holds
			if lifted&HoldStaff != 0 {
				require.Contains(t, []AccountEvent{ThawedByStaff}, event, at)
			}
			if lifted&HoldWritten != 0 {
				require.Contains(t, []AccountEvent{FoundAtCounter, PhoneIsCancelled, OwnerChanged, CloseAtCounter}, event, at)
			}
			if lifted&HoldPhone != 0 {
				require.Contains(t, []AccountEvent{PhoneIsResumed, PhoneIsCancelled, OwnerChanged, CloseAtCounter}, event, at)
			}
			// Only what was held and closed money may be freed, never by an event that
			// lays something.
			if after.State() == Normal && before.State() != Normal {
				require.Zero(t, Lays(event), at)
			}
			if before.Phase == PhaseClosed {
				require.Contains(t, []Phase{PhaseClosed, PhaseClosing}, after.Phase, at)
			}
			if after.Phase == PhaseClosed && before.Phase != PhaseClosed {
				require.Equal(t, NothingOwed, event, at)
			}
			// Suspending a phone number and resuming it leaves an account as it was.
			if event == PhoneIsSuspended && before.Holds&HoldPhone == 0 {
				back, _ := NextAccount(after, PhoneIsResumed)
				require.Equal(t, before, back, at)
			}
		}
	}
	for _, state := range AccountStates() {
		require.True(t, seen[state], state)
	}
	_, ok := NextAccount(Account{Phase: PhaseOpen}, "no such event")
	require.False(t, ok)
}

func TestAccount_HoldsHaveNames(t *testing.T) {
	var all Hold
	for _, hold := range Holds() {
		all |= hold
		found, known := HoldNamed(hold.String())
		require.True(t, known)
		require.Equal(t, hold, found)
	}
	require.Equal(t, everyHold, all)
	_, known := HoldNamed("")
	require.False(t, known)
}

// cardMatrix is the table of cards in the same way.
const cardMatrix = `
event            ISSUED  ACTIVE       SUSPENDED    LOST_ORAL    LOST_WRITTEN BLACK  RECOVER      REPLACED RETURNED
added            ACTIVE  .            .            .            .            .      .            -        -
removed          -       ISSUED       ISSUED       -            -            -      -            -        -
released         .       ISSUED       ISSUED       .            .            .      .            .        .
suspended        -       SUSPENDED    .            -            -            -      -            -        -
resumed          -       .            ACTIVE       -            -            -      -            -        -
loss-reported    -       LOST_ORAL    LOST_ORAL    .            -            -      LOST_ORAL    -        -
loss-written     -       LOST_WRITTEN LOST_WRITTEN LOST_WRITTEN .            -      LOST_WRITTEN -        -
loss-expired     -       -            -            ACTIVE       -            -      -            -        -
found            -       -            -            ACTIVE       -            -      -            -        -
found-at-counter -       -            -            ACTIVE       ACTIVE       -      -            -        -
blacklisted      BLACK   BLACK        BLACK        BLACK        BLACK        .      BLACK        .        .
cleared          -       -            -            -            -            ACTIVE -            -        -
books-short      RECOVER RECOVER      RECOVER      .            .            .      .            .        .
books-explained  .       .            .            .            .            .      ACTIVE       .        .
value-created    BLACK   BLACK        BLACK        BLACK        BLACK        .      BLACK        .        .
replaced         -       -            -            -            REPLACED     -      -            -        -
returned         RETURNED RETURNED    RETURNED     RETURNED     RETURNED     .      RETURNED     .        .
`

func TestCard_EveryStateAndEvent(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(cardMatrix), "\n")
	columns := strings.Fields(rows[0])[1:]
	require.Len(t, columns, len(Places()))
	require.Len(t, rows[1:], len(CardEvents()))
	for i, row := range rows[1:] {
		cells := strings.Fields(row)
		event := CardEvent(cells[0])
		require.Equal(t, CardEvents()[i], event)
		require.Len(t, cells[1:], len(columns), row)
		for j, name := range columns {
			before := Place(name)
			require.Equal(t, Places()[j], before)
			after, ok := NextCard(before, event)
			want := Place(cells[1+j])
			if want == "." || want == "-" {
				require.Equal(t, want == ".", ok, "%s in %s", event, name)
				want = before
			} else {
				require.True(t, ok, "%s in %s", event, name)
			}
			require.Equal(t, want, after, "%s in %s", event, name)
		}
	}
	_, ok := NextCard(AtActive, "no such event")
	require.False(t, ok)
}

func TestCard_PlacesAndStates(t *testing.T) {
	for _, place := range Places() {
		require.Equal(t, place, PlaceOf(place.State(), place == AtLostWritten))
	}
}

// permissionMatrix is protocol §2.15 with its column "sync" in three: complete, cancel
// and evidence.
const permissionMatrix = `
state           load pay credit-in pay-out query complete cancel evidence
OPENING         -    -   -         -       yes   -        -      yes
NORMAL          yes  yes yes       yes     yes   yes      yes    yes
FROZEN          -    -   yes       -       yes   -        yes    yes
LOST_ORAL       -    -   yes       -       yes   -        yes    yes
LOST_WRITTEN    -    -   yes       -       yes   -        yes    yes
SILENT          -    -   yes       -       yes   yes      yes    yes
PHONE_SUSPENDED -    -   yes       -       yes   yes      yes    yes
CLOSING         -    -   -         yes     yes   -        yes    yes
CLOSED          -    -   -         -       yes   -        yes    yes
unheard-of      -    -   -         -       -     -        -      yes
`

const cardPermissionMatrix = `
state      load pay credit-in pay-out query complete cancel evidence
ISSUED     -    -   -         -       yes   yes      yes    yes
ACTIVE     yes  yes yes       -       yes   yes      yes    yes
SUSPENDED  -    -   -         -       yes   -        yes    yes
LOST       -    -   -         -       yes   -        yes    yes
BLACK      -    -   -         -       yes   -        yes    yes
RECOVER    -    -   -         -       yes   -        yes    yes
REPLACED   -    -   -         -       yes   -        yes    yes
RETURNED   -    -   -         -       yes   -        yes    yes
unheard-of -    -   -         -       -     -        -      yes
`

func TestPermissions_EveryStateAndAct(t *testing.T) {
	for _, matrix := range []struct {
		text   string
		states int
		allows func(state string, act Act) bool
	}{
		{permissionMatrix, len(AccountStates()), func(s string, a Act) bool { return AccountAllows(AccountState(s), a) }},
		{cardPermissionMatrix, len(cardMay), func(s string, a Act) bool { return CardAllows(CardState(s), a) }},
	} {
		rows := strings.Split(strings.TrimSpace(matrix.text), "\n")
		acts := strings.Fields(rows[0])[1:]
		require.Len(t, acts, len(Acts()))
		require.Len(t, rows[1:], matrix.states+1)
		for _, row := range rows[1:] {
			cells := strings.Fields(row)
			for i, act := range acts {
				require.Equal(t, Acts()[i], Act(act))
				require.Equal(t, cells[1+i] == "yes", matrix.allows(cells[0], Act(act)), "%s %s", cells[0], act)
			}
		}
	}
}
