package wire

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

// demoPhone is the account that the embedded demo opens by itself.
const demoPhone = "13800000000"

// demoBalance is what its main account begins with.
const demoBalance wallet.Fen = 500_00

// DemoPhone is the phone number of the embedded demo's account.
func (p *Program) DemoPhone() string {
	if p.Demo == nil {
		return ""
	}
	return demoPhone
}

// openDemo starts the embedded platform over real TLS on loopback. A platform that
// has no account for the demo's phone number gets one: at the first start, also when
// an earlier one ended before that, and in a directory that somebody else made.
func (p *Program) openDemo(ctx context.Context) (err error) {
	p.bank = NewOwnBank(p.demoDir, p.bankFaults())
	config := mockplatform.Config{
		Dir: p.demoDir, Demo: true, Hooks: p.demoHooks(), Now: p.demoClock(), Bank: p.bank.Partner,
		// Nobody pays for its messages, and a script may enrol one profile after the other.
		SMSLimits: mockplatform.SMSLimits{PhoneHour: 10_000, HostMinute: 10_000},
	}
	if p.Demo, err = mockplatform.Open(config); err != nil {
		return err
	}
	policy, fresh, err := p.Demo.FirstPolicy(ctx, []byte(demoPolicy))
	if err != nil {
		return err
	}
	if fresh {
		p.tellPolicy(policy)
	}
	known, err := p.Demo.KnowsPhone(ctx, demoPhone)
	if err != nil {
		return err
	}
	if !known {
		if err := p.Demo.Seed(ctx, demoPhone, demoBalance, nil, ""); err != nil {
			return err
		}
	}
	if p.server, err = p.Demo.Serve(context.WithoutCancel(ctx), "127.0.0.1:0"); err != nil {
		return err
	}
	p.profile = p.Demo.Profile()
	p.profile.URL = p.server.URL
	return p.backupDemo(ctx)
}

// demoPolicy is what an embedded demo allows beyond other platforms: its one computer
// tries as many virtual cards as it makes.
const demoPolicy = `{"limits": {"velocity": {"device_cards": 0}}}`

// tellPolicy says what a new demo allows and charges (protocol §2.14).
func (p *Program) tellPolicy(policy api.Policy) {
	limits := policy.Limits
	p.notice("console.demoPolicy", map[string]any{
		"Min": limits.LoadMin.Yuan(), "Max": limits.LoadMax.Yuan(), "Cap": limits.PurseCap.Yuan(), "CardDay": limits.CardDaySum.Yuan(),
		"AccountDay": limits.AccountDaySum.Yuan(), "Fee": policy.LoadFee("main", 100_00).Yuan(),
	})
}

// demoClock is the platform's clock. The fault of a late result lets it run ahead.
func (p *Program) demoClock() func() time.Time {
	if p.accident == nil {
		return nil
	}
	return func() time.Time {
		if p.accident.late.Load() {
			return time.Now().Add(pastReservation)
		}
		return time.Now()
	}
}

func (p *Program) demoHooks() mockplatform.Hooks {
	if p.accident == nil || p.accident.commit == nil {
		return mockplatform.Hooks{}
	}
	return mockplatform.Hooks{
		BeforeCommit: func(route string) error { return p.accident.commit(p.accident, true, route) },
		AfterCommit:  func(route string) error { return p.accident.commit(p.accident, false, route) },
	}
}

// backupDemo and restoreDemo are the two ends of the fault platform-restored.
func (p *Program) backupDemo(ctx context.Context) error {
	if p.accident == nil || !p.accident.restore {
		return nil
	}
	dir, err := os.MkdirTemp("", "wallet-demo-backup-")
	if err != nil {
		return err
	}
	p.backup = filepath.Join(dir, "backup.db")
	_, err = p.Demo.Backup(ctx, p.backup)
	return err
}

func (p *Program) restoreDemo() {
	if p.backup == "" {
		return
	}
	if _, err := mockplatform.Restore(p.demoDir, p.backup); err == nil {
		p.accident.strike()
	}
	os.RemoveAll(filepath.Dir(p.backup))
	p.backup = ""
}

// autoLogin logs in to an embedded demo with its own credentials, where the person
// asked for that.
func (p *Program) autoLogin(ctx context.Context) error {
	demo := p.DemoCredentials()
	if p.Demo == nil || demo == nil || p.options.Staff {
		return nil
	}
	if err := p.client.Connect(ctx); err == nil && p.client.Session().User != "" {
		return nil
	}
	return p.Core.Login(ctx, demoPhone, demo.LoginPassword, func(context.Context, string) (string, error) { return demo.SMSCode, nil })
}

// prepare decides whether money functions may touch the card on the reader.
func (p *Program) prepare(ctx context.Context, purse wallet.Purse) (notice string, err error) {
	if p.source.recorded() {
		return "", &core.Failure{Code: "DEMO_RECORDED_CARD"}
	}
	card := p.source.virtualCard()
	if card == nil || card.ASN() != purse.ASN { // a real card beside a virtual reader
		if p.Demo != nil && p.options.Platform == "" {
			return "", &core.Failure{Code: "DEMO_REAL_CARD"}
		}
		return "", nil
	}
	if p.Demo == nil {
		return "", nil
	}
	known, err := p.Demo.KnowsCard(ctx, purse.ASN)
	if err != nil || known {
		return "", err
	}
	exported, err := card.ExportKeys()
	if err != nil {
		return "", err
	}
	var keys mockplatform.CardKeys
	if err := json.Unmarshal(exported, &keys); err != nil {
		return "", err
	}
	if err := p.Demo.AdoptCard(ctx, demoPhone, purse.ASN, keys, card.Balance(), purse.Profile.LoadName()); err != nil {
		return "", err
	}
	return "console.adopted", nil
}
