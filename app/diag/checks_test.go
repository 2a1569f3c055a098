package diag

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/assets/lang"
	"walletcompanion/platformclient"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

var testNow = time.Date(2026, 6, 15, 4, 0, 0, 0, time.UTC)

// file, link and folder are entries of a made-up file system.
func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

// debian is a machine on which everything is as it should be: a reader on USB, the
// service active, a card on the reader, a platform that answers, a profile in use.
func debian() (*Computer, fstest.MapFS) {
	root := fstest.MapFS{
		"usr/lib/x86_64-linux-gnu/libpcsclite.so.1":                file(""),
		"usr/lib/x86_64-linux-gnu/libGL.so.1":                      file(""),
		"usr/sbin/pcscd":                                           file(""),
		"run/pcscd/pcscd.comm":                                     file(""),
		"run/systemd/system/x":                                     file(""),
		"usr/lib/systemd/system/pcscd.socket":                      file(""),
		"etc/systemd/system/sockets.target.wants/pcscd.socket":     link("/usr/lib/systemd/system/pcscd.socket"),
		"usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist": file(""),
		"usr/share/polkit-1/actions/org.debian.pcsc-lite.policy":   file(""),
		"usr/share/polkit-1/rules.d/50-wallet.rules":               file(`a.id=="org.debian.pcsc-lite.access_card"`),
		"proc/modules":                                file("xhci_hcd 1 0 - Live\n"),
		"proc/77/comm":                                file("pcscd\n"),
		"proc/80/comm":                                file("walletctl\n"),
		"proc/80/maps":                                file("7f00 r-xp /usr/lib/x86_64-linux-gnu/libpcsclite.so.1.0.0\n"),
		"sys/bus/usb/devices/1-2/idVendor":            file("072f\n"),
		"sys/bus/usb/devices/1-2/idProduct":           file("2200\n"),
		"sys/bus/usb/devices/1-2/manufacturer":        file("ACS\n"),
		"sys/bus/usb/devices/1-2/product":             file("ACR122U PICC Interface\n"),
		"sys/bus/usb/devices/1-2:1.0/bInterfaceClass": file("0b\n"),
		"sys/bus/usb/devices/1-2:1.0/driver":          link("../../../bus/usb/drivers/usbfs"),
		"sys/bus/usb/devices/1-3:1.0/bInterfaceClass": file("03\n"),
		"dev/dri/card0":                               file(""),
		"etc/os-release":                              file("NAME=Debian\nPRETTY_NAME=\"Debian 12\"\n"),
		"proc/sys/kernel/osrelease":                   file("6.1.0\n"),
		"var/lib/dpkg/status":                         file("\nPackage: pcscd\nStatus: install ok installed\nVersion: 1.9.9-2\n\nPackage: libccid\nStatus: deinstall ok config-files\nVersion: 1.5\n\n"),
	}
	present := reader.Info{Name: "ACS ACR122U 00 00", Driver: "pcsc", State: reader.StatePresent}
	profile, _ := wallet.ProfileByName("pboc-ep")
	m := &Computer{
		System: "linux", Root: root, Env: func(name string) string { return map[string]string{"DISPLAY": ":0", "HOME": "/home/li"}[name] },
		Groups: func() ([]string, error) { return []string{"li", "plugdev"}, nil }, Now: func() time.Time { return testNow }, Self: 80,
		List:        func(context.Context) ([]reader.Info, error) { return []reader.Info{present}, nil },
		ServiceCode: func(err error) (uint32, bool) { var code coded; return uint32(code), errors.As(err, &code) },
		Dial:        func(context.Context, string) error { return nil },
		ReadCard: func(context.Context) (wallet.Reading, error) {
			return wallet.Reading{Purses: []wallet.Purse{{Profile: profile, Number: "6210000012345678", BalanceKnown: true}}}, nil
		},
		ProfileDir: "/home/li/.config/wallet-companion", Profile: fstest.MapFS{".": {Mode: fs.ModeDir | 0o700}, "device.key": {Data: make([]byte, 32), Mode: 0o600}},
		Inspect: func(context.Context) (store.Inspection, error) {
			return store.Inspection{Exists: true, Version: 1, Known: 1, JournalMode: "wal", Secrets: 1, LastWrite: testNow.Add(-time.Hour)}, nil
		},
		Free:     func() (uint64, error) { return 1 << 40, nil },
		Platform: Platform{URL: "https://pay.example:443", Complete: true, Proxy: "http://proxy.example:3128"},
		Probe: func(context.Context, bool) platformclient.Probe {
			return platformclient.Probe{Status: 200, PlatformTime: testNow, Signed: true, Ahead: 2 * time.Second}
		},
	}
	return m, root
}

// coded is an error with a number of the service.
type coded uint32

func (c coded) Error() string { return fmt.Sprintf("service answered %08X", uint32(c)) }

func classed(class reader.Class, cause error) error {
	return &reader.Error{Class: class, Op: "list", Err: cause}
}

// alter is a fault, put into a machine on which everything is as it should be.
type alter func(m *Computer, root fstest.MapFS)

func listing(err error, infos ...reader.Info) alter {
	return func(m *Computer, _ fstest.MapFS) {
		m.List = func(context.Context) ([]reader.Info, error) { return infos, err }
	}
}

func without(names ...string) alter {
	return func(_ *Computer, root fstest.MapFS) {
		for _, name := range names {
			for path := range root {
				if path == name || strings.HasPrefix(path, name+"/") {
					delete(root, path)
				}
			}
		}
	}
}

func with(name string, entry *fstest.MapFile) alter {
	return func(_ *Computer, root fstest.MapFS) { root[name] = entry }
}

func env(pairs ...string) alter {
	return func(m *Computer, _ fstest.MapFS) {
		before := m.Env
		m.Env = func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return before(name)
		}
	}
}

func all(changes ...alter) alter {
	return func(m *Computer, root fstest.MapFS) {
		for _, one := range changes {
			one(m, root)
		}
	}
}

func machine(what func(m *Computer)) alter { return func(m *Computer, _ fstest.MapFS) { what(m) } }

func reading(reading wallet.Reading, err error) alter {
	return machine(func(m *Computer) {
		m.ReadCard = func(context.Context) (wallet.Reading, error) { return reading, err }
	})
}

func inspected(found store.Inspection, err error) alter {
	return machine(func(m *Computer) {
		m.Inspect = func(context.Context) (store.Inspection, error) { return found, err }
	})
}

func probing(direct, proxied platformclient.Probe) alter {
	return machine(func(m *Computer) {
		m.Probe = func(_ context.Context, through bool) platformclient.Probe {
			if through {
				return proxied
			}
			return direct
		}
	})
}

func keyFile(mode fs.FileMode, size int, folder fs.FileMode) alter {
	return machine(func(m *Computer) {
		m.Profile = fstest.MapFS{".": {Mode: fs.ModeDir | folder}, "device.key": {Data: make([]byte, size), Mode: mode}}
	})
}

// row is one machine and what a check finds on it.
type row struct {
	check  string
	status Status
	want   string
	alter  alter
}

func busyReader(state reader.State) reader.Info { return reader.Info{Name: "R", State: state} }

func rows() []row {
	noService, noAccess := classed(reader.NoService, coded(0x8010001D)), classed(reader.NoAccess, coded(0x8010006A))
	sound := func(*Computer, fstest.MapFS) {}
	silent := classed(reader.NoService, context.DeadlineExceeded)
	broken := errors.New("the file is no card")
	virtual := machine(func(m *Computer) { m.Virtual = true })
	demo := machine(func(m *Computer) { m.Platform = Platform{Demo: true} })
	far := platformclient.Probe{Trouble: platformclient.TroubleTimeout, Err: errors.New("silence")}
	good := platformclient.Probe{Status: 200, PlatformTime: testNow}
	clock := func(ahead time.Duration) alter {
		return probing(good, platformclient.Probe{Status: 200, PlatformTime: testNow.Add(ahead), Ahead: ahead})
	}
	units := []string{"etc/systemd/system/sockets.target.wants/pcscd.socket"}
	list := []row{
		{"pcsc-library", OK, "ok", sound},
		{"pcsc-library", OK, "ok", all(without("usr/lib/x86_64-linux-gnu"), with("usr/lib64/libpcsclite.so.1", file("")))},
		{"pcsc-library", Failed, "missing", without("usr/lib/x86_64-linux-gnu/libpcsclite.so.1")},
		{"pcsc-library", Skipped, "skipped.virtual", virtual},
		{"pcsc-library", Skipped, "skipped.system", machine(func(m *Computer) { m.System = "windows" })},

		{"pcsc-service", OK, "ok", sound},
		{"pcsc-service", Failed, "denied", listing(noAccess)},
		{"pcsc-service", Failed, "trouble", listing(broken)},
		{"pcsc-service", Failed, "trouble", listing(noService)},
		{"pcsc-service", Failed, "not-installed", all(listing(noService), without("usr/sbin/pcscd", "proc/77", "run/pcscd"))},
		{"pcsc-service", Failed, "not-running", all(listing(noService), without("proc/77", "run/pcscd"))},
		{"pcsc-service", Failed, "elsewhere", all(listing(noService), env("PCSCLITE_CSOCK_NAME", "/run/user/1000/pcscd.comm"))},
		{"pcsc-service", Failed, "stale", all(listing(noService), machine(func(m *Computer) { m.Dial = func(context.Context, string) error { return net.ErrClosed } }))},
		{"pcsc-service", Failed, "mismatch", listing(classed(reader.NoService, coded(0x8010001E)))},
		{"pcsc-service", Failed, "silent", listing(silent)},
		{"pcsc-service", Failed, "stopped.windows", all(listing(noService), machine(func(m *Computer) { m.System = "windows" }))},
		{"pcsc-service", Failed, "stopped.darwin", all(listing(noService), machine(func(m *Computer) { m.System = "darwin" }))},
		{"pcsc-service", Skipped, "skipped.virtual", virtual},

		{"pcsc-activation", OK, "ok", sound},
		{"pcsc-activation", OK, "always", all(without(units...), with("etc/systemd/system/multi-user.target.wants/pcscd.service", file("")))},
		{"pcsc-activation", Skipped, "no-systemd", without("run/systemd")},
		{"pcsc-activation", Failed, "masked", with("etc/systemd/system/pcscd.socket", link("/dev/null"))},
		{"pcsc-activation", Warning, "no-unit", without("etc/systemd", "usr/lib/systemd")},
		{"pcsc-activation", Warning, "not-after-boot", without(units...)},
		{"pcsc-activation", Failed, "disabled", without(append(units, "run/pcscd")...)},

		{"ccid-driver", OK, "ok", sound},
		{"ccid-driver", Warning, "others", all(without("usr/lib/pcsc"), with("usr/lib/pcsc/drivers/serial/libifdvpcd.so", file("")))},
		{"ccid-driver", Failed, "missing", without("usr/lib/pcsc")},

		{"access", OK, "ok", sound},
		{"access", Skipped, "no-service", listing(noService)},
		{"access", Failed, "denied", listing(noAccess)},
		{"access", Failed, "remote", all(listing(noAccess), env("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"))},
		{"access", Failed, "trouble", listing(broken)},

		{"kernel-nfc", OK, "ok", sound},
		{"kernel-nfc", Failed, "grabbed", with("sys/bus/usb/devices/1-2:1.0/driver", link("../../../bus/usb/drivers/pn533_usb"))},
		{"kernel-nfc", Warning, "loaded", with("proc/modules", file("pn533_usb 20480 0 - Live 0x0\npn533 1 1 pn533_usb, Live 0x0\n"))},

		{"usb-readers", OK, "ok", sound},
		{"usb-readers", Warning, "none", without("sys/bus/usb/devices/1-2:1.0")},
		{"usb-readers", Warning, "waiting", listing(noService)},
		{"usb-readers", Failed, "unseen", listing(nil)},
		{"usb-readers", Failed, "unseen", all(listing(nil), with("usr/lib/udev/rules.d/92-x.rules", file("# ENV{PCSCLITE_IGNORE} is not set\n")))},
		{"usb-readers", Failed, "ignored", all(listing(nil), with("etc/udev/rules.d/92-x.rules", file("ENV{PCSCLITE_IGNORE}=\"1\"\n")))},
		{"usb-readers", Failed, "not-ccid", all(listing(nil), with("sys/bus/usb/devices/1-2:1.0/bInterfaceClass", file("ff\n")))},
		{"usb-readers", Skipped, "no-usb", without("sys")},

		{"readers", OK, "ok", sound},
		{"readers", Failed, "none", listing(nil)},
		{"readers", Failed, "not-named", machine(func(m *Computer) { m.Wanted = func(reader.Info) bool { return false } })},
		{"usb-readers", OK, "ok", machine(func(m *Computer) { m.Wanted = func(reader.Info) bool { return false } })},
		{"card", Skipped, "skipped.no-reader", machine(func(m *Computer) { m.Wanted = func(reader.Info) bool { return false } })},
		{"readers", Failed, "unavailable", listing(nil, busyReader(reader.StateUnavailable))},
		{"readers", Failed, "broken.readers", listing(broken)},
		{"readers", Skipped, "skipped.no-service", listing(noService)},
		{"readers", Skipped, "skipped.no-access", listing(noAccess)},

		{"holder", OK, "ok", sound},
		{"holder", OK, "others", all(with("proc/90/comm", file("scdaemon\n")), with("proc/90/maps", file("7f /usr/lib/libpcsclite.so.1\n")))},
		{"holder", Failed, "busy", all(listing(nil, busyReader(reader.StateBusy)), with("proc/90/comm", file("scdaemon\n")), with("proc/90/maps", file("7f /usr/lib/libpcsclite.so.1\n")))},
		{"holder", Failed, "busy", listing(nil, reader.Info{Name: "R", State: reader.StateBusy, Holder: "bank.exe"})},
		{"holder", Failed, "busy-unknown", listing(nil, busyReader(reader.StateBusy))},

		{"card", OK, "ok", sound},
		{"card", Warning, "none", listing(nil, busyReader(reader.StateEmpty))},
		{"card", Warning, "busy", listing(nil, busyReader(reader.StateBusy))},
		{"card", Failed, "mute", listing(nil, busyReader(reader.StateMute))},
		{"card", Skipped, "skipped.no-reader", listing(nil)},

		{"purse", OK, "ok", sound},
		{"purse", Failed, "no-purse", reading(wallet.Reading{}, &wallet.Error{Code: wallet.CodeCardNoPurse})},
		{"purse", Failed, "blocked", reading(wallet.Reading{}, &wallet.Error{Code: wallet.CodeCardBlocked})},
		{"purse", Failed, "blocked", reading(wallet.Reading{Purses: []wallet.Purse{{Profile: &wallet.Profile{}, Blocked: true}}}, nil)},
		{"purse", Failed, "lost", reading(wallet.Reading{}, &wallet.Error{Code: wallet.CodeCardLost})},
		{"purse", Failed, "trouble", reading(wallet.Reading{}, broken)},
		{"purse", Failed, "trouble", reading(wallet.Reading{Purses: []wallet.Purse{{Profile: &wallet.Profile{}}}}, nil)},
		{"purse", Warning, "busy", reading(wallet.Reading{}, classed(reader.Busy, nil))},
		{"purse", Skipped, "skipped.no-card", listing(nil, busyReader(reader.StateEmpty))},

		{"platform-profile", OK, "ok", sound},
		{"platform-profile", OK, "demo", demo},
		{"platform-profile", Failed, "incomplete", machine(func(m *Computer) { m.Platform.Complete = false })},
		{"platform-profile", Failed, "unreadable", machine(func(m *Computer) { m.Platform.Err = broken })},

		{"platform-direct", OK, "ok", sound},
		{"platform-direct", OK, "proxy-only", probing(far, good)},
		{"platform-direct", Skipped, "skipped.demo", demo},
		{"platform-direct", Skipped, "skipped.no-profile", machine(func(m *Computer) { m.Platform.Err = broken })},
		{"platform-proxy", OK, "ok", sound},
		{"platform-proxy", Skipped, "no-proxy", machine(func(m *Computer) { m.Platform.Proxy = "" })},
		{"platform-proxy", Failed, "only-direct", probing(good, far)},

		{"clock", OK, "ok", sound},
		{"clock", Warning, "slow", clock(time.Minute)},
		{"clock", Failed, "slow", clock(10 * time.Minute)},
		{"clock", Warning, "fast", clock(-time.Minute)},
		{"clock", Failed, "fast", clock(-100 * time.Hour)},
		{"clock", Failed, "set-back", all(demo, inspected(store.Inspection{Exists: true, LastWrite: testNow.Add(48 * time.Hour)}, nil))},
		{"clock", Skipped, "unknown", probing(far, far)},
		{"clock", Skipped, "skipped.demo", demo},

		{"database", OK, "ok", sound},
		{"database", OK, "new", inspected(store.Inspection{}, nil)},
		{"database", OK, "open-orders", inspected(store.Inspection{Exists: true, JournalMode: "wal", OpenOrders: 2}, nil)},
		{"database", Warning, "held", inspected(store.Inspection{Exists: true, JournalMode: "wal", MoneyHeld: true, MoneyHolder: 12}, nil)},
		{"database", Warning, "mode", inspected(store.Inspection{Exists: true, JournalMode: "delete"}, nil)},
		{"database", Failed, "newer", inspected(store.Inspection{}, store.ErrNewer)},
		{"database", Failed, "corrupt", inspected(store.Inspection{}, fmt.Errorf("x: %w", store.ErrCorrupt))},
		{"database", Failed, "locked", inspected(store.Inspection{}, fmt.Errorf("x: %w", store.ErrLocked))},
		{"database", Failed, "denied", inspected(store.Inspection{}, fs.ErrPermission)},
		{"database", Failed, "trouble", inspected(store.Inspection{}, broken)},

		{"device-key", OK, "ok", sound},
		{"device-key", OK, "new", machine(func(m *Computer) { m.Profile = absent{fs.ErrNotExist} })},
		{"device-key", Failed, "denied", machine(func(m *Computer) { m.Profile = absent{fs.ErrPermission} })},
		{"device-key", OK, "none", all(machine(func(m *Computer) { m.Profile = fstest.MapFS{".": {Mode: fs.ModeDir | 0o700}} }), inspected(store.Inspection{Exists: true}, nil))},
		{"device-key", Failed, "missing", machine(func(m *Computer) { m.Profile = fstest.MapFS{".": {Mode: fs.ModeDir | 0o700}} })},
		{"device-key", Failed, "open", keyFile(0o640, 32, 0o700)},
		{"device-key", Failed, "damaged", keyFile(0o600, 31, 0o700)},
		{"device-key", Failed, "folder-open", keyFile(0o600, 32, 0o770)},

		{"disk", OK, "ok", sound},
		{"disk", Warning, "little", machine(func(m *Computer) { m.Free = func() (uint64, error) { return 100 << 20, nil } })},
		{"disk", Failed, "full", machine(func(m *Computer) { m.Free = func() (uint64, error) { return 1 << 20, nil } })},
		{"disk", Warning, "unknown", machine(func(m *Computer) { m.Free = func() (uint64, error) { return 0, broken } })},
		{"disk", Skipped, "skipped.system", machine(func(m *Computer) { m.Free = nil })},

		{"display", OK, "ok", sound},
		{"display", OK, "software", without("dev")},
		{"display", Warning, "none", env("DISPLAY", "")},
		{"display", Warning, "no-x11", env("DISPLAY", "", "WAYLAND_DISPLAY", "wayland-0")},
		{"display", Warning, "no-opengl", without("usr/lib/x86_64-linux-gnu/libGL.so.1")},
	}
	for _, trouble := range []platformclient.Trouble{
		platformclient.TroubleDNS, platformclient.TroubleRefused, platformclient.TroubleTimeout, platformclient.TroubleNetwork, platformclient.TroubleProxy,
		platformclient.TroubleUnknown, platformclient.TroubleName, platformclient.TroubleExpired, platformclient.TroublePin, platformclient.TroubleTLS,
		platformclient.TroubleStatus, platformclient.TroubleUnsigned,
	} {
		probe := platformclient.Probe{Trouble: trouble, Err: errors.New("as it was")}
		list = append(list, row{"platform-direct", Failed, string(trouble), probing(probe, probe)}, row{"platform-proxy", Failed, string(trouble), probing(probe, probe)})
	}
	return list
}

// absent is a folder that cannot be looked at.
type absent struct{ err error }

func (a absent) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: a.err}
}

// Each check is put to a machine on which all is well, and to those on which it is not.
func TestChecks(t *testing.T) {
	seen := map[string]map[Status]bool{}
	for _, row := range rows() {
		t.Run(row.check+"/"+row.want, func(t *testing.T) {
			m, root := debian()
			row.alter(m, root)
			results := Run(t.Context(), m, Named(row.check))
			require.Len(t, results, 1)
			got := results[0]
			require.Equal(t, row.want, got.Finding.Outcome, got.Finding.Facts)
			require.Equal(t, row.status, got.Finding.Status)
			for _, name := range []string{lang.Chinese, lang.English} {
				told := got.Tell(lang.Texts(name))
				require.NotContains(t, told.Text, "doctor.", "%s has no text", name)
				require.NotContains(t, told.Text+told.Remedy, "<no value>")
				require.NotContains(t, told.Text, "{{")
				if told.Status == Failed && row.want != "broken.readers" {
					require.NotEmpty(t, told.Remedy, "whoever is told of a failure is told what to do")
				}
			}
			if seen[row.check] == nil {
				seen[row.check] = map[Status]bool{}
			}
			seen[row.check][row.status] = true
		})
	}
	for _, check := range Checks() {
		require.True(t, seen[check.Name][OK], "%s is never ok", check.Name)
		require.True(t, seen[check.Name][Failed] || seen[check.Name][Warning], "%s never fails", check.Name)
	}
}

// Every text of a check is one that some machine brings about.
func TestEveryTextOfAChecksIsReached(t *testing.T) {
	reached := map[string]bool{}
	for _, row := range rows() {
		reached["doctor."+row.check+"."+row.want] = true
		reached["doctor."+row.want] = true
	}
	raw, err := os.ReadFile("../../assets/lang/en.json")
	require.NoError(t, err)
	var texts map[string]any
	require.NoError(t, json.Unmarshal(raw, &texts))
	other := regexp.MustCompile(`^doctor\.(status|fact|summary|hint|more|broken)\b`)
	count := 0
	for key := range texts {
		if strings.HasPrefix(key, "doctor.") && !other.MatchString(key) {
			require.True(t, reached[strings.TrimSuffix(key, ".remedy")], key)
			count++
		}
	}
	require.Greater(t, count, 100)
}

// On a machine on which all is well, doctor says so.
func TestAllIsWell(t *testing.T) {
	m, _ := debian()
	results := Run(t.Context(), m, Checks())
	for _, result := range results {
		require.Equal(t, OK, result.Finding.Status, "%s: %v", result.Check, result.Finding)
	}
	require.Equal(t, core.ExitOK, Exit(results))
	facts := GatherFacts(t.Context(), m, "1.2.3")
	require.Equal(t, "~/.config/wallet-companion", facts.Profile)
	require.Equal(t, map[string]string{"pcscd": "1.9.9-2"}, facts.Packages, "a package that was removed is not installed")
	require.Equal(t, "Debian 12", facts.Release)
	require.Equal(t, "linux/"+runtime.GOARCH, facts.System)
}

// A report that leaves this computer does not name the home folder.
func TestMasked(t *testing.T) {
	m, _ := debian()
	m.List = func(context.Context) ([]reader.Info, error) {
		return []reader.Info{{Name: "Virtual /home/li/card.json", State: reader.StatePresent}}, nil
	}
	raw, err := json.Marshal(m.Masked(TellAll(Run(t.Context(), m, Checks()), lang.Texts("en"))))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "/home/li")
	require.Contains(t, string(raw), "Virtual ~/card.json")
	require.Contains(t, string(raw), "~/.config/wallet-companion")
}

// A bare machine: no file system, no functions. Nothing panics.
func TestBareMachine(t *testing.T) {
	for _, system := range []string{"linux", "windows", "darwin", "plan9"} {
		m := &Computer{System: system, Root: fstest.MapFS{}, Profile: fstest.MapFS{}, Env: func(string) string { return "" }, Now: time.Now}
		for _, result := range Run(t.Context(), m, Checks()) {
			require.NotContains(t, result.Finding.Outcome, "broken.panic", "%s on %s: %v", result.Check, system, result.Finding.Facts)
			require.NotContains(t, result.Tell(lang.Texts("en")).Text, "doctor.", "%s on %s", result.Check, system)
		}
		_ = GatherFacts(t.Context(), m, "")
	}
}

// A check that panics is one that failed, and the others do not notice.
func TestRun_Panic(t *testing.T) {
	m, _ := debian()
	checks := append([]Check{{Name: "bad", Exit: 1, Run: func(context.Context, *Computer) Finding { panic("out of order") }}}, Named("disk", "display")...)
	results := Run(t.Context(), m, checks)
	require.Equal(t, Failed, results[0].Finding.Status)
	told := results[0].Tell(lang.Texts("en"))
	require.Contains(t, told.Text, "out of order")
	require.Contains(t, told.Detail["stack"], "panic")
	require.Equal(t, OK, results[1].Finding.Status)
	require.Equal(t, OK, results[2].Finding.Status)
	require.Equal(t, 1, Exit(results))

	m, _ = debian() // a panic in what several checks ask for is an error for each of them
	m.List = func(context.Context) ([]reader.Info, error) { panic("driver") }
	for _, result := range Run(t.Context(), m, Named("readers", "card", "holder", "purse")) {
		require.Equal(t, "broken.readers", result.Finding.Outcome)
		require.Contains(t, result.Finding.Facts["Cause"], "driver")
	}
}

// A check that does not come back is left behind, and the others do not wait for it.
func TestRun_Watchdog(t *testing.T) {
	m, _ := debian()
	release := make(chan struct{})
	defer close(release)
	stuck := Check{Name: "stuck", Exit: 4, Limit: 10 * time.Millisecond, Run: func(context.Context, *Computer) Finding {
		<-release
		return Finding{}
	}}
	results := Run(t.Context(), m, append(Named("disk"), stuck))
	require.Equal(t, OK, results[0].Finding.Status)
	require.Equal(t, outcomeTimeout, results[1].Finding.Outcome)
	require.Equal(t, Failed, results[1].Finding.Status)
	require.Equal(t, 4, Exit(results))
	require.NotContains(t, results[1].Tell(lang.Texts("zh")).Text, "doctor.")

	m.List = func(context.Context) ([]reader.Info, error) { <-release; return nil, nil } // a driver that ignores its context
	checks := Named("readers", "disk")
	for i := range checks {
		checks[i].Limit = 10 * time.Millisecond
	}
	results = Run(t.Context(), m, checks)
	require.Equal(t, Failed, results[0].Finding.Status)
	require.Equal(t, OK, results[1].Finding.Status)
}

// What several checks want to know is asked once, and every check has its own line.
func TestRun_AsksOnce(t *testing.T) {
	m, _ := debian()
	lists, reads := 0, 0
	list, read := m.List, m.ReadCard
	m.List = func(ctx context.Context) ([]reader.Info, error) { lists++; return list(ctx) }
	m.ReadCard = func(ctx context.Context) (wallet.Reading, error) { reads++; return read(ctx) }
	results := Run(t.Context(), m, Checks())
	require.Equal(t, 1, lists)
	require.Equal(t, 1, reads)
	names := map[string]bool{}
	for _, told := range TellAll(results, lang.Texts("en")) {
		require.False(t, names[told.Name])
		names[told.Name] = true
	}
	require.Len(t, names, len(Checks()))
}

// Whoever stops diagnosis does not wait for a check that hangs.
func TestRun_Cancelled(t *testing.T) {
	m, _ := debian()
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stuck := Check{Name: "stuck", Limit: time.Hour, Run: func(context.Context, *Computer) Finding {
		<-release
		return Finding{}
	}}
	require.Equal(t, Failed, Run(ctx, m, []Check{stuck})[0].Finding.Status)
}

func TestDetailNames(t *testing.T) {
	require.Equal(t, map[string]any{"url": 1, "freeMB": 2, "readers": "list", "code": 3},
		detailOf(map[string]any{"URL": 1, "FreeMB": 2, "Readers": "text", "readers": "list", "code": 3}))
}

func TestExit(t *testing.T) {
	failed := func(exit int) Result { return Result{Exit: exit, Finding: Finding{Status: Failed}} }
	require.Equal(t, 0, Exit([]Result{{Exit: 3, Finding: Finding{Status: Warning}}, {Exit: 4, Finding: Finding{Status: Skipped}}}))
	require.Equal(t, 4, Exit([]Result{{Exit: 3}, failed(4), failed(1)}))
}

func TestSpoken(t *testing.T) {
	for span, want := range map[time.Duration]string{45 * time.Second: "45s", 90 * time.Second: "1m30s", 100 * time.Minute: "1h40m", 100*time.Hour + 3*time.Minute: "100h"} {
		require.Equal(t, want, spoken(span))
	}
}
