package diag

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"

	"walletcompanion/reader"
)

// Facts are what a report says of the machine beside the checks. Nothing in it names
// a person: the home folder is shown as ~.
type Facts struct {
	Program    string            `json:"program"` // version
	Go         string            `json:"go"`
	System     string            `json:"system"` // linux/amd64
	Release    string            `json:"release"`
	Kernel     string            `json:"kernel"`
	Desktop    string            `json:"desktop"`
	Locale     string            `json:"locale"`
	Packages   map[string]string `json:"packages"` // versions of what belongs to smart cards
	Readers    []ReaderFact      `json:"readers"`
	Profile    string            `json:"profile"`
	Platform   string            `json:"platform"`
	ProxyIsSet bool              `json:"proxyIsSet"`
}

// ReaderFact is one reader of a report.
type ReaderFact struct {
	Name   string       `json:"name"`
	Driver string       `json:"driver"`
	State  reader.State `json:"state"`
}

// GatherFacts asks the machine; what cannot be had stays empty.
func GatherFacts(ctx context.Context, m *Computer, version string) Facts {
	ctx, cancel := context.WithTimeout(ctx, readersLimit)
	defer cancel()
	facts := Facts{
		Program: version, Go: runtime.Version(), System: m.System + "/" + runtime.GOARCH, Release: m.release("PRETTY_NAME"),
		Kernel:  strings.TrimSpace(m.text("proc/sys/kernel/osrelease")),
		Desktop: strings.Trim(m.Env("XDG_CURRENT_DESKTOP")+" "+m.Env("XDG_SESSION_TYPE"), " "),
		Locale:  firstOf(m.Env("LC_ALL"), m.Env("LC_MESSAGES"), m.Env("LANG")), Packages: m.dpkgVersions("pcscd", "libpcsclite1", "libccid", "vsmartcard-vpcd"),
		Readers: []ReaderFact{}, Profile: m.maskHome(m.ProfileDir), Platform: "demo", ProxyIsSet: m.Platform.Proxy != "",
	}
	if !m.Platform.Demo {
		facts.Platform = m.Platform.URL
	}
	if infos, err := m.list(ctx); err == nil {
		for _, info := range infos {
			facts.Readers = append(facts.Readers, ReaderFact{m.maskHome(info.Name), info.Driver, info.State})
		}
	}
	return facts
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// maskHome replaces the home folder, whose name is often that of a person.
func (m *Computer) maskHome(text string) string {
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := filepath.Clean(m.Env(name)); len(home) > 3 {
			text = strings.ReplaceAll(text, home, "~")
		}
	}
	return text
}

// Masked are results as they may leave this computer: the home folder is shown as ~
// in texts and details.
func (m *Computer) Masked(told []ToldCheck) []ToldCheck {
	masked := make([]ToldCheck, 0, len(told))
	for _, one := range told {
		one.Text, one.Remedy = m.maskHome(one.Text), m.maskHome(one.Remedy)
		detail := map[string]any{}
		for name, value := range one.Detail {
			switch value := value.(type) {
			case string:
				detail[name] = m.maskHome(value)
			case []string:
				texts := []string{}
				for _, text := range value {
					texts = append(texts, m.maskHome(text))
				}
				detail[name] = texts
			default:
				detail[name] = value
			}
		}
		one.Detail = detail
		masked = append(masked, one)
	}
	return masked
}
