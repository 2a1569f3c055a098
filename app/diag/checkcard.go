package diag

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// notListed is the finding of every check that needs the list of readers and has none.
func notListed(err error) Finding {
	switch reader.ClassOf(err) {
	case reader.NoService:
		return Finding{Status: Skipped, Outcome: "skipped.no-service"}
	case reader.NoAccess:
		return Finding{Status: Skipped, Outcome: "skipped.no-access"}
	}
	return Finding{Status: Failed, Outcome: "broken.readers", Facts: map[string]any{"Cause": err.Error()}}
}

// checkReaders lists the readers that the program may use.
func checkReaders(ctx context.Context, m *Computer) Finding {
	infos, err := m.wanted(ctx)
	if err != nil {
		return notListed(err)
	}
	if len(infos) == 0 {
		if others, err := m.list(ctx); err == nil && len(others) > 0 {
			return Finding{Status: Failed, Outcome: "not-named", Facts: map[string]any{"Readers": readerNames(others)}}
		}
		return Finding{Status: Failed, Outcome: "none"}
	}
	names, states := []string{}, []string{}
	for _, info := range infos {
		names = append(names, info.Name)
		states = append(states, string(info.State))
	}
	facts := map[string]any{"Readers": strings.Join(names, ", "), "readers": names, "states": states}
	if !slices.ContainsFunc(infos, func(info reader.Info) bool { return info.State != reader.StateUnavailable }) {
		return Finding{Status: Failed, Outcome: "unavailable", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

func readerNames(infos []reader.Info) string {
	var names []string
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return strings.Join(names, ", ")
}

// checkHolder looks whether another program keeps a card to itself, and which
// programs could be the one.
func checkHolder(ctx context.Context, m *Computer) Finding {
	infos, err := m.wanted(ctx)
	if err != nil {
		return notListed(err)
	}
	holders := m.smartCardPrograms()
	facts := map[string]any{"Programs": strings.Join(holders, ", "), "programs": holders}
	for _, info := range infos {
		if info.State != reader.StateBusy {
			continue
		}
		facts["Reader"] = info.Name
		if info.Holder != "" {
			facts["Programs"] = info.Holder
		}
		if facts["Programs"] == "" {
			return Finding{Status: Failed, Outcome: "busy-unknown", Facts: facts}
		}
		return Finding{Status: Failed, Outcome: "busy", Facts: facts}
	}
	if len(holders) > 0 && !m.Virtual {
		return Finding{Status: OK, Outcome: "others", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// smartCardPrograms are the other programs that have loaded the library of the smart
// card service; those of other people cannot be seen.
func (m *Computer) smartCardPrograms() []string {
	if m.System != "linux" {
		return []string{}
	}
	names := []string{}
	m.processes(func(pid, name string) {
		if pid == strconv.Itoa(m.Self) || name == "pcscd" || slices.Contains(names, name) {
			return
		}
		if strings.Contains(m.text("proc/"+pid+"/maps"), "/libpcsclite.so") {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}

// checkCard looks whether a card lies on a reader.
func checkCard(ctx context.Context, m *Computer) Finding {
	infos, err := m.wanted(ctx)
	if err != nil {
		return notListed(err)
	}
	if len(infos) == 0 {
		return Finding{Status: Skipped, Outcome: "skipped.no-reader"}
	}
	for _, state := range []reader.State{reader.StatePresent, reader.StateBusy, reader.StateMute} {
		for _, info := range infos {
			if info.State != state {
				continue
			}
			facts := map[string]any{"Reader": info.Name, "atr": wallet.Hex(info.ATR).String()}
			switch state {
			case reader.StatePresent:
				return Finding{Status: OK, Outcome: "ok", Facts: facts}
			case reader.StateBusy:
				return Finding{Status: Warning, Outcome: "busy", Facts: facts}
			}
			return Finding{Status: Failed, Outcome: "mute", Facts: facts}
		}
	}
	return Finding{Status: Warning, Outcome: "none"}
}

// checkPurse reads which purse the card has. It sends what every reading sends, and
// nothing that changes a card.
func checkPurse(ctx context.Context, m *Computer) Finding {
	infos, err := m.wanted(ctx)
	if err != nil {
		return notListed(err)
	}
	if !slices.ContainsFunc(infos, func(info reader.Info) bool { return info.State == reader.StatePresent }) {
		return Finding{Status: Skipped, Outcome: "skipped.no-card"}
	}
	reading, err := m.read(ctx)
	class, code := reader.ClassOf(err), wallet.CodeOf(err)
	facts := map[string]any{}
	if err != nil {
		facts["Cause"] = err.Error()
	}
	switch {
	case code == wallet.CodeCardNoPurse:
		return Finding{Status: Failed, Outcome: "no-purse", Facts: facts}
	case code == wallet.CodeCardBlocked:
		return Finding{Status: Failed, Outcome: "blocked", Facts: facts}
	case class == reader.Busy:
		return Finding{Status: Warning, Outcome: "busy", Facts: facts}
	case class == reader.NoCard || class == reader.CardGone || class == reader.CardReset || code == wallet.CodeCardLost:
		return Finding{Status: Failed, Outcome: "lost", Facts: facts}
	case err != nil || len(reading.Purses) == 0:
		return Finding{Status: Failed, Outcome: "trouble", Facts: facts}
	}
	purse := reading.Purses[0]
	facts["Profile"], facts["Number"] = purse.Profile.Name, wallet.MaskNumber(purse.Number)
	if purse.Blocked {
		return Finding{Status: Failed, Outcome: "blocked", Facts: facts}
	}
	if !purse.BalanceKnown {
		facts["Cause"] = fmt.Sprint(purse.Problems)
		return Finding{Status: Failed, Outcome: "trouble", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}
