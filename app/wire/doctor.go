package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/store"
	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/virtual"
	"walletcompanion/wallet"
)

// inspectLimit bounds the look into the database that decides which platform is meant.
const inspectLimit = 10 * time.Second

// Inspect looks into the profile that the options name, without making or changing one.
func Inspect(ctx context.Context, options Options) (store.Inspection, error) {
	dir := options.ProfileDir
	if dir == "" {
		var err error
		if dir, err = defaultProfileDir(); err != nil {
			return store.Inspection{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	return store.Inspect(ctx, dir)
}

// Computer is this computer for the checks of package diag, as the options choose
// reader, platform and profile. It opens no platform and makes no profile; release
// gives the reader back.
func Computer(ctx context.Context, options Options) (m *diag.Computer, release func(), err error) {
	if options.ProfileDir == "" {
		if options.ProfileDir, err = defaultProfileDir(); err != nil {
			return nil, nil, err
		}
	}
	inspection, inspectErr := Inspect(ctx, options)
	m = &diag.Computer{
		System: runtime.GOOS, Root: os.DirFS(systemRoot()), Env: os.Getenv, Groups: groupNames, Now: time.Now, Self: os.Getpid(),
		ServiceCode: pcsc.Code, Dial: dialSocket, ProfileDir: options.ProfileDir, Profile: os.DirFS(options.ProfileDir),
		Inspect: func(context.Context) (store.Inspection, error) { return inspection, inspectErr },
		Free:    func() (uint64, error) { return freeBytes(existing(options.ProfileDir)) },
	}
	release, err = machineReader(m, options)
	if err != nil {
		return nil, nil, err
	}
	profile, err := machinePlatform(m, options, inspection)
	if err != nil {
		release()
		return nil, nil, err
	}
	m.Probe = func(ctx context.Context, proxied bool) platformclient.Probe {
		proxy := func(*http.Request) (*url.URL, error) { return nil, nil }
		if proxied {
			proxy = http.ProxyFromEnvironment
		}
		return platformclient.NewProbe(ctx, profile, Version, proxy, time.Now)
	}
	return m, release, nil
}

// systemRoot is the root of the file system; of the current drive on Windows.
func systemRoot() string { return string(filepath.Separator) }

// machineReader gives the machine the chosen reader. A card file that cannot be
// opened is a finding, not the end of diagnosis.
func machineReader(m *diag.Computer, options Options) (release func(), err error) {
	kind, _, _ := strings.Cut(options.Reader, ":")
	m.Virtual = kind == "virtual" || kind == ReaderDemo
	p := &Program{options: options, points: newPointReporter()}
	if kind == ReaderDemo {
		if _, err := os.Stat(filepath.Join(options.ProfileDir, demoCardName)); err != nil {
			slot := reader.Info{Name: demoReaderName, Driver: virtual.DriverName, State: reader.StateEmpty} // the card is made when it is used
			m.List = func(context.Context) ([]reader.Info, error) { return []reader.Info{slot}, nil }
			return func() {}, nil
		}
	}
	p.source, err = p.openReader()
	if err != nil {
		if failure := core.Explain(err); failure.Code == "USAGE" {
			return nil, err
		}
		cause := err
		m.List = func(context.Context) ([]reader.Info, error) { return nil, cause }
		return func() {}, nil
	}
	m.List, m.Wanted = p.source.driver.List, p.source.wanted
	m.ReadCard = func(ctx context.Context) (wallet.Reading, error) { return p.glance(ctx) }
	return p.source.close, nil
}

// glance reads which purse the first card has.
func (p *Program) glance(ctx context.Context) (wallet.Reading, error) {
	infos, err := p.source.driver.List(ctx)
	if err != nil {
		return wallet.Reading{}, err
	}
	for _, info := range infos {
		if info.State != reader.StatePresent || !p.source.wanted(info) {
			continue
		}
		session, err := p.source.driver.Open(ctx, info.Name)
		if err != nil {
			return wallet.Reading{}, err
		}
		defer session.Close()
		return wallet.Read(ctx, session, wallet.ReadOptions{Brief: true, Trace: p.options.Trace})
	}
	return wallet.Reading{}, &reader.Error{Class: reader.NoCard, Op: "open"}
}

// machinePlatform finds out which platform is meant, as openPlatform does, and reads
// its profile file. The error is a misspelt choice.
func machinePlatform(m *diag.Computer, options Options, kept store.Inspection) (profile api.Profile, err error) {
	choice := options.Platform
	if choice == "" {
		choice = kept.PlatformURL
	}
	switch {
	case choice == "", choice == "demo", strings.HasPrefix(choice, "demo:"):
		m.Platform.Demo = true
		return profile, nil
	case !strings.HasPrefix(choice, "https://"):
		return profile, &core.Failure{Code: "USAGE", Err: errors.New("the platform is none of demo, demo:DIR, https://HOST:PORT")}
	}
	m.Platform.URL = choice
	m.Platform.Proxy = proxyOf(choice)
	raw := []byte(kept.PlatformProfile)
	if options.CA != "" {
		if raw, err = os.ReadFile(options.CA); err != nil {
			m.Platform.Err = err
			return profile, nil
		}
	}
	if len(raw) == 0 {
		m.Platform.Err = errors.New("no platform profile: name its file with --ca")
		return profile, nil
	}
	if profile, err = api.ParseProfile(raw); err != nil {
		m.Platform.Err = err
		return profile, nil
	}
	m.Platform.Complete = profile.Complete()
	profile.URL = choice
	return profile, nil
}

// proxyOf is the proxy that the environment names for an address, without user and
// password; empty where there is none.
func proxyOf(address string) string {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return ""
	}
	proxy, err := http.ProxyFromEnvironment(request)
	if err != nil {
		return "?" // there is one, in a form that nobody reads
	}
	if proxy == nil {
		return ""
	}
	return proxy.Scheme + "://" + proxy.Host
}

// groupNames are the groups of this process.
func groupNames() ([]string, error) {
	numbers, err := os.Getgroups()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, number := range numbers {
		if group, err := user.LookupGroupId(strconv.Itoa(number)); err == nil {
			names = append(names, group.Name)
		}
	}
	return names, nil
}

func dialSocket(ctx context.Context, path string) error {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return connection.Close()
}

// existing is the folder, or the nearest one above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
