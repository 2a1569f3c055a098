package diag

import (
	"context"
	"errors"
	"slices"
	"strings"

	"walletcompanion/reader"
)

// Codes of pc/sc that tell more than their class (reader dossier §1.4).
const (
	codeServiceStopped = 0x8010001E // on Linux: library and service speak different versions
)

// socketPath is where pcscd listens: compiled in, or moved by the environment.
func socketPath(m *Computer) string {
	if moved := m.Env("PCSCLITE_CSOCK_NAME"); moved != "" {
		return moved
	}
	return "/run/pcscd/pcscd.comm"
}

func (m *Computer) socketExists() bool {
	return m.exists(strings.TrimPrefix(socketPath(m), "/"))
}

// daemonPath finds pcscd where distributions keep it.
func (m *Computer) daemonPath() (string, bool) {
	found := m.glob("usr/sbin/pcscd", "usr/bin/pcscd", "sbin/pcscd", "usr/local/sbin/pcscd", "nix/store/*/bin/pcscd")
	if len(found) == 0 {
		return "", false
	}
	return "/" + found[0], true
}

func virtualOnly() Finding { return Finding{Status: Skipped, Outcome: outcomeVirtual} }

// checkLibrary looks for libpcsclite.so.1, without which the program would not even
// start; a program that was built without it has no readers.
func checkLibrary(_ context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	if where, found := m.library("libpcsclite.so.1"); found {
		return Finding{Status: OK, Outcome: "ok", Facts: map[string]any{"File": where}}
	}
	return Finding{Status: Failed, Outcome: "missing"}
}

// checkService asks the smart card service for its readers and tells apart why it
// does not answer.
func checkService(ctx context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	infos, err := m.list(ctx)
	switch reader.ClassOf(err) {
	case "":
		if err == nil {
			return Finding{Status: OK, Outcome: "ok", Facts: map[string]any{"Readers": len(infos)}}
		}
	case reader.NoAccess:
		return Finding{Status: Failed, Outcome: "denied", Facts: m.serviceFacts(err)}
	case reader.NoService:
		return m.stoppedService(ctx, err)
	}
	return Finding{Status: Failed, Outcome: "trouble", Facts: m.serviceFacts(err)}
}

func (m *Computer) serviceFacts(err error) map[string]any {
	facts := map[string]any{"Cause": err.Error()}
	if m.ServiceCode != nil {
		if code, known := m.ServiceCode(err); known {
			facts["code"] = hex32(code)
		}
	}
	return facts
}

func hex32(code uint32) string {
	const digits = "0123456789ABCDEF"
	text := []byte("0x00000000")
	for i := range 8 {
		text[9-i] = digits[code>>(4*i)&0xF]
	}
	return string(text)
}

// stoppedService tells why nobody answers.
func (m *Computer) stoppedService(ctx context.Context, err error) Finding {
	facts := m.serviceFacts(err)
	if m.System != "linux" {
		return Finding{Status: Failed, Outcome: "stopped." + m.System, Facts: facts}
	}
	facts["Socket"] = socketPath(m)
	if m.ServiceCode != nil {
		if code, known := m.ServiceCode(err); known && code == codeServiceStopped {
			return Finding{Status: Failed, Outcome: "mismatch", Facts: facts}
		}
	}
	_, installed := m.daemonPath()
	running := m.running("pcscd")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Finding{Status: Failed, Outcome: "silent", Facts: facts}
	case !installed && !running:
		return Finding{Status: Failed, Outcome: "not-installed", Facts: facts}
	case running && !m.socketExists():
		return Finding{Status: Failed, Outcome: "elsewhere", Facts: facts}
	case !m.socketExists():
		return Finding{Status: Failed, Outcome: "not-running", Facts: facts}
	case m.Dial != nil && m.Dial(ctx, socketPath(m)) != nil:
		return Finding{Status: Failed, Outcome: "stale", Facts: facts}
	}
	return Finding{Status: Failed, Outcome: "trouble", Facts: facts}
}

// unitDirs are where systemd looks for units.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// checkActivation looks whether systemd starts the service when somebody connects:
// pcscd ends when nobody has used it for a while, and nobody else starts it again.
func checkActivation(_ context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	if !m.exists("run/systemd/system") {
		return Finding{Status: Skipped, Outcome: "no-systemd"}
	}
	has := func(unit string) bool {
		return slices.ContainsFunc(unitDirs, func(dir string) bool { return m.exists(dir + "/" + unit) })
	}
	if target, err := readLink(m.Root, "etc/systemd/system/pcscd.socket"); err == nil && target == "/dev/null" {
		return Finding{Status: Failed, Outcome: "masked"}
	}
	enabled := len(m.glob("etc/systemd/system/*.wants/pcscd.socket", "usr/lib/systemd/system/*.wants/pcscd.socket", "lib/systemd/system/*.wants/pcscd.socket")) > 0
	always := len(m.glob("etc/systemd/system/*.wants/pcscd.service")) > 0
	switch {
	case enabled && has("pcscd.socket"):
		return Finding{Status: OK, Outcome: "ok"}
	case always:
		return Finding{Status: OK, Outcome: "always"}
	case !has("pcscd.socket"):
		return Finding{Status: Warning, Outcome: "no-unit"}
	case m.socketExists():
		return Finding{Status: Warning, Outcome: "not-after-boot"}
	}
	return Finding{Status: Failed, Outcome: "disabled"}
}

// driverDirs are where pcscd looks for drivers.
var driverDirs = []string{"usr/lib/pcsc/drivers", "usr/lib64/pcsc/drivers", "usr/lib/*-linux-*/pcsc/drivers", "usr/local/lib/pcsc/drivers", "usr/local/pcsc/drivers", "nix/store/*/pcsc/drivers"}

// checkDriver looks for the driver of USB readers, a package of its own beside pcscd.
func checkDriver(_ context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	var bundles, serial []string
	for _, dir := range driverDirs {
		bundles = append(bundles, m.glob(dir+"/*.bundle")...)
		serial = append(serial, m.glob(dir+"/serial/*.so*")...)
	}
	names := []string{}
	for _, found := range append(slices.Clone(bundles), serial...) {
		names = append(names, base(found))
	}
	facts := map[string]any{"Drivers": strings.Join(names, ", "), "drivers": names}
	ccid := slices.IndexFunc(bundles, func(name string) bool { return strings.Contains(base(name), "ccid") })
	switch {
	case ccid >= 0:
		facts["Drivers"] = base(bundles[ccid])
		return Finding{Status: OK, Outcome: "ok", Facts: facts}
	case len(names) > 0:
		return Finding{Status: Warning, Outcome: "others", Facts: facts}
	}
	return Finding{Status: Failed, Outcome: "missing"}
}

// checkAccess looks whether this person may use the service: polkit lets whoever sits
// at the screen, and nobody who came through the network, unless a rule says so
// (reader dossier §2).
func checkAccess(ctx context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	facts := map[string]any{"remote": m.Env("SSH_CONNECTION") != "", "polkit": m.exists("usr/share/polkit-1/actions/org.debian.pcsc-lite.policy"), "rules": m.polkitRules()}
	groups, err := m.groups()
	if err == nil {
		facts["groups"] = usefulGroups(groups)
	}
	infos, err := m.list(ctx)
	switch reader.ClassOf(err) {
	case reader.NoAccess:
		if m.Env("SSH_CONNECTION") != "" {
			return Finding{Status: Failed, Outcome: "remote", Facts: facts}
		}
		return Finding{Status: Failed, Outcome: "denied", Facts: facts}
	case reader.NoService:
		return Finding{Status: Skipped, Outcome: "no-service", Facts: facts}
	}
	if err != nil {
		return Finding{Status: Failed, Outcome: "trouble", Facts: m.serviceFacts(err)}
	}
	facts["readers"] = len(infos)
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

func (m *Computer) groups() ([]string, error) {
	if m.Groups == nil {
		return nil, errNotAsked
	}
	return m.Groups()
}

// usefulGroups are those that distributions give readers to.
func usefulGroups(all []string) []string {
	useful := []string{}
	for _, group := range all {
		if slices.Contains([]string{"plugdev", "scard", "pcscd", "uucp", "root"}, group) {
			useful = append(useful, group)
		}
	}
	return useful
}

// polkitRules are the rule files that speak of the service, as far as this person may
// read them: many systems let only polkit look.
func (m *Computer) polkitRules() []string {
	found := []string{}
	for _, name := range m.glob("etc/polkit-1/rules.d/*.rules", "usr/share/polkit-1/rules.d/*.rules") {
		if strings.Contains(m.text(name), "org.debian.pcsc-lite") {
			found = append(found, "/"+name)
		}
	}
	return found
}
