// Package wire is the one place where concrete types meet: reader drivers, store,
// platform client and embedded platform become a core.Core, for the window and for
// the console alike. It also knows where files lie.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"walletcompanion/app/core"
	"walletcompanion/app/diag"
	"walletcompanion/app/store"
	"walletcompanion/app/store/faultfs"
	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Version of the program; the linker sets it.
var Version = "0.1.0-dev"

// Options are the choices of the command line or of the settings page.
type Options struct {
	Reader          string // auto, pcsc:NAME, virtual:FILE, demo
	Platform        string // "", demo, demo:DIR, https://HOST:PORT
	CA              string // platform profile file
	ProfileDir      string // "": the system's place for this program
	CardWait        time.Duration
	Fault           string
	DemoCredentials bool
	Online          bool // a platform is needed; reading alone opens none
	Staff           bool // works with the session of staff; a customer's is left alone
	CardOnly        bool // only a card is read: goes on where the profile cannot be opened
	Notice          func(key string, data map[string]any)
	Waiting         func(reader.State)
	Trace           func(wallet.TraceLine)
}

// Program is the wired program.
type Program struct {
	Core *core.Core
	Demo *mockplatform.Platform // the embedded platform, nil without one

	options  Options
	store    *store.Store // nil where it cannot be opened
	kept     core.Store   // the store, or what stands for it
	source   *cardSource
	client   *platformclient.Client
	profile  api.Profile
	server   *mockplatform.Server
	demoDir  string
	bank     *OwnBank // of the embedded platform, nil without one
	accident *accident
	points   *pointReporter
	recorder *diag.Recorder
	disarm   func() // ends the full disk
	backup   string // of the embedded platform, for the fault that restores it
}

// Open wires a program. Close it.
func Open(ctx context.Context, options Options) (*Program, error) {
	p := &Program{options: options, points: newPointReporter()}
	if err := p.open(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Program) open(ctx context.Context) (err error) {
	if p.options.ProfileDir == "" {
		if p.options.ProfileDir, err = defaultProfileDir(); err != nil {
			return err
		}
	}
	if p.accident, err = newAccident(p.options.Fault); err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	current.Store(p.accident)
	p.recorder = diag.NewRecorder(p.options.ProfileDir)
	if err := p.installDisk(); err != nil {
		return err
	}
	if p.source, err = p.openReader(); err != nil {
		return err
	}
	if err := p.openStore(); err != nil && (p.options.Online || !p.options.CardOnly) {
		return err
	}
	if p.options.Online {
		if err := p.openPlatform(ctx); err != nil {
			return err
		}
	}
	p.Core = core.New(p.coreConfig())
	return p.autoLogin(ctx)
}

// openStore opens what this computer keeps. Without it a card can still be read.
func (p *Program) openStore() (err error) {
	if p.store, err = store.Open(p.options.ProfileDir, store.Options{}); err == nil {
		p.kept = p.store
		return nil
	}
	failure := &core.Failure{Code: "PROFILE_DAMAGED", Err: err}
	var inTheFolder *fs.PathError // not in the database: it cannot be made, read or written
	if errors.As(err, &inTheFolder) {
		failure.Code = "PROFILE_FOLDER"
	}
	p.kept = lostStore{failure: failure}
	return failure
}

// lostStore stands for a store that cannot be opened while a card is only read.
type lostStore struct {
	core.Store
	failure *core.Failure
}

// SaveReading says why the reading is not kept.
func (s lostStore) SaveReading(context.Context, core.SavedReading) error { return s.failure }

func (p *Program) coreConfig() core.Config {
	config := core.Config{
		Readers: p.traced(p.source.driver), Began: p.began, Wanted: p.source.wanted, Store: p.kept, LockMoney: p.lockMoney, Prepare: p.prepare,
		NewKey: func() string { return uuid.Must(uuid.NewV7()).String() }, CardWait: p.options.CardWait,
		Notice: func(key string) { p.notice(key, nil) }, Waiting: p.options.Waiting, Trace: p.options.Trace,
		BeforeStage: p.beforeStage, AfterStage: p.afterStage, Demo: p.profile.Demo,
	}
	if p.client != nil {
		customer := clientPlatform{p.client, p.profile.SignerKeys(), p.store}
		config.Platform = customer
		if p.options.Staff {
			config.Platform = newStaffPlatform(customer)
		}
	}
	return config
}

func (p *Program) notice(key string, data map[string]any) {
	if p.options.Notice != nil && key != "" {
		p.options.Notice(key, data)
	}
}

// Close ends everything that Open began, in reverse order.
func (p *Program) Close() {
	if p.server != nil {
		p.server.Close()
	}
	if p.Demo != nil {
		p.Demo.Close()
	}
	if p.bank != nil {
		p.bank.Close()
	}
	p.restoreDemo()
	if p.source != nil {
		p.source.close()
	}
	if p.recorder != nil {
		p.recorder.Close()
	}
	if p.store != nil {
		p.store.Close()
	}
}

// lockMoney names a held profile in the program's own words.
func (p *Program) lockMoney(ctx context.Context) (func(), error) {
	unlock, err := p.store.LockMoney(ctx)
	if errors.Is(err, store.ErrBusy) {
		return nil, &core.Failure{Code: "PROFILE_BUSY", Err: err}
	}
	return unlock, err
}

// beforeStage and afterStage are the hooks at the journal's boundary: they let a
// second process kill this one at a named point, and fill the disk.
func (p *Program) beforeStage(stage wallet.Stage) {
	p.points.reached("before:" + string(stage))
	p.fillDisk(stage)
}

func (p *Program) afterStage(stage wallet.Stage) {
	p.emptyDisk()
	p.points.reached("after:" + string(stage))
}

// defaultProfileDir is where the system keeps a program's own data.
func defaultProfileDir() (string, error) {
	if dir := os.Getenv("WALLET_COMPANION_PROFILE"); dir != "" {
		return dir, nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		return "", &core.Failure{Code: "USAGE", Err: fmt.Errorf("no place for the program's data (%w): use --profile", err)}
	}
	return filepath.Join(base, "wallet-companion"), nil
}

// openPlatform chooses the platform: the embedded demo, or one on the network.
func (p *Program) openPlatform(ctx context.Context) error {
	choice := p.options.Platform
	if choice == "" {
		choice = p.keptPlatform(ctx)
	}
	switch {
	case choice == "demo":
		p.demoDir = filepath.Join(p.options.ProfileDir, "demo")
	case strings.HasPrefix(choice, "demo:"):
		p.demoDir = strings.TrimPrefix(choice, "demo:")
	case strings.HasPrefix(choice, "https://"):
		return p.openRemote(ctx, choice)
	default:
		return &core.Failure{Code: "USAGE", Err: fmt.Errorf("platform %q is none of demo, demo:DIR, https://HOST:PORT", choice)}
	}
	if err := p.openDemo(ctx); err != nil {
		return err
	}
	return p.openClient()
}

const (
	settingPlatformURL     = "platform.url"
	settingPlatformProfile = "platform.profile"
)

// keptPlatform is the platform that was last named with its profile file.
func (p *Program) keptPlatform(ctx context.Context) string {
	if url, err := p.store.Setting(ctx, settingPlatformURL); err == nil && url != "" {
		return url
	}
	return "demo"
}

func (p *Program) openRemote(ctx context.Context, url string) error {
	raw, err := p.profileFile(ctx)
	if err != nil {
		return err
	}
	if p.profile, err = api.ParseProfile(raw); err != nil {
		return &core.Failure{Code: "PROFILE_INCOMPLETE", Err: err}
	}
	if !p.profile.Complete() {
		return &core.Failure{Code: "PROFILE_INCOMPLETE", Err: errors.New("the file holds a certificate, but no platform keys")}
	}
	p.profile.URL = url
	if p.accident != nil && p.accident.fault.embedded {
		return &core.Failure{Code: "USAGE", Err: errors.New("this fault needs the embedded platform")}
	}
	if err := p.openClient(); err != nil {
		return err
	}
	_ = p.store.PutSetting(ctx, settingPlatformProfile, string(raw))
	return p.store.PutSetting(ctx, settingPlatformURL, url)
}

func (p *Program) profileFile(ctx context.Context) ([]byte, error) {
	if p.options.CA != "" {
		raw, err := os.ReadFile(p.options.CA)
		if err != nil {
			return nil, &core.Failure{Code: "USAGE", Err: err}
		}
		return raw, nil
	}
	kept, err := p.store.Setting(ctx, settingPlatformProfile)
	if err != nil || kept == "" {
		return nil, &core.Failure{Code: "PROFILE_INCOMPLETE", Err: errors.New("no platform profile: name its file with --ca")}
	}
	return []byte(kept), nil
}

func (p *Program) openClient() (err error) {
	if p.options.DemoCredentials && !p.profile.Demo {
		return &core.Failure{Code: "DEMO_CREDENTIALS_REFUSED"}
	}
	config := platformclient.Config{Profile: p.profile, Vault: p.store, Version: Version, DeviceName: deviceName(), Journal: p.store.Mark, OnRequest: p.recordRequest, Companion: p.companion,
		OnReceipt: func(order string, receipt wallet.Signed) {
			_ = p.store.PutReceipt(context.Background(), order, receipt)
		}}
	if p.accident != nil {
		config.WrapTransport = func(next http.RoundTripper) http.RoundTripper { return faultyTransport{next, p.accident} }
	}
	p.client, err = platformclient.New(config)
	return err
}

func deviceName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "wallet-companion"
	}
	if runes := []rune(name); len(runes) > 64 { // as long as a platform takes
		return string(runes[:64])
	}
	return name
}

// DemoCredentials are the passwords of a demo platform, if the person asked to use
// them.
func (p *Program) DemoCredentials() *api.DemoCredentials {
	if !p.options.DemoCredentials {
		return nil
	}
	return p.profile.DemoCredentials
}

// IsDemo reports whether the platform is a demo.
func (p *Program) IsDemo() bool { return p.profile.Demo }

// DemoPIN is the PIN of the virtual card on the reader, if the person asked to use
// demo credentials.
func (p *Program) DemoPIN() []byte {
	card := p.source.virtualCard()
	if card == nil || !p.options.DemoCredentials {
		return nil
	}
	pin, err := wallet.PINBytes(card.PIN())
	if err != nil {
		return nil
	}
	return pin
}

// installDisk puts the failing file layer under SQLite, for the faults that fill
// the disk.
func (p *Program) installDisk() error {
	if p.accident == nil || p.accident.fullDisk == "" {
		return nil
	}
	return faultfs.Install()
}

// fillDisk and emptyDisk stand around the write of one stage.
func (p *Program) fillDisk(stage wallet.Stage) {
	if p.accident != nil && p.accident.fullDisk == stage && p.accident.strike() {
		p.disarm = faultfs.Arm(p.store.Dir(), faultfs.ENOSPC, nil)
	}
}

func (p *Program) emptyDisk() {
	if p.disarm != nil {
		p.disarm()
		p.disarm = nil
	}
}
