package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

type platformCmd struct {
	Serve     platformServeCmd      `cmd:"" help:"Run the embedded platform as a process."`
	Seed      platformSeedCmd       `cmd:"" help:"Make a ready user with demo credentials."`
	IssueCard platformIssueCmd      `cmd:"" name:"issue-card" help:"Personalise a card and export its card-level keys (demo platforms only)."`
	ShopOrder platformShopOrderCmd  `cmd:"" name:"shop-order" help:"Make a merchant's order, to be paid with pay."`
	Staff     platformStaffCmd      `cmd:"" help:"Accounts of staff."`
	Messages  platformMessagesCmd   `cmd:"" help:"What a telephone would show: notices and SMS codes of a demo."`
	Bank      platformBankCmd       `cmd:"" help:"The virtual bank."`
	Voucher   platformVoucherCmd    `cmd:"" help:"Recharge vouchers: make, import, block."`
	Transfer  platformTransferCmd   `cmd:"" help:"Net-bank transfers: import a bank's file, assign what nobody was found for."`
	Advance   platformAdvanceCmd    `cmd:"" help:"Move the clock of a demo platform forward, also while another process serves it."`
	Phone     platformPhoneStateCmd `cmd:"" name:"phone-state" help:"What the operator tells of a phone number (BOSS)."`
	Check     platformCheckCmd      `cmd:"" help:"Audit the books, also while another process serves them."`
	Policy    platformPolicyCmd     `cmd:"" help:"Limits and fees: show or change them."`
	CDR       platformCDRCmd        `cmd:"" name:"cdr" help:"Charging records."`
	Blacklist platformBlacklistCmd  `cmd:"" help:"The list of cards that shops must not take, numbered and signed."`
	Report    platformReportCmd     `cmd:"" help:"Top-ups of a business day, compared with the ledger."`
	Backup    platformBackupCmd     `cmd:"" help:"Take a snapshot of a live platform."`
	Restore   platformRestoreCmd    `cmd:"" help:"Restore a snapshot; starts a new epoch."`
}

// existingPlatform opens a directory that holds a platform: looking must not make one
// where a name was mistyped.
func existingPlatform(dir string) (*mockplatform.Platform, error) {
	if !mockplatform.Exists(dir) {
		return nil, &core.Failure{Code: "USAGE", Err: fmt.Errorf("%s holds no platform", dir)}
	}
	return openPlatformDir(dir)
}

func openPlatformDir(dir string) (*mockplatform.Platform, error) {
	return openPlatformWith(mockplatform.Config{Dir: dir, Demo: true})
}

func openPlatformWith(config mockplatform.Config) (*mockplatform.Platform, error) {
	platform, err := mockplatform.Open(config)
	if err != nil {
		return nil, &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return platform, nil
}

type platformServeCmd struct {
	Dir    string `required:"" type:"path" placeholder:"DIR"`
	Listen string `default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Bank   string `placeholder:"FILE" help:"Another bank than its own: the file that the bank gives to its partner, or none."`

	SMSSpool string `name:"sms-spool" type:"existingdir" placeholder:"DIR" help:"Also put messages as files into this folder, for a gateway that sends SMS."`
}

// bankNone serves a platform without a bank.
const bankNone = "none"

func (cmd platformServeCmd) Run(ctx context.Context, con *console) error {
	config := mockplatform.Config{Dir: cmd.Dir, Demo: true}
	switch cmd.Bank {
	case "":
		bank := wire.NewOwnBank(cmd.Dir, nil)
		defer bank.Close()
		config.Bank = bank.Partner
	case bankNone:
	default:
		config.Bank = wire.BankFile(cmd.Bank)
		if _, err := config.Bank(ctx); err != nil { // a wrong name is told now, a bank that is down is not
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	if cmd.SMSSpool != "" {
		config.SMS = wire.SMSSpool{Dir: cmd.SMSSpool, Texts: con.texts}
	}
	platform, err := openPlatformWith(config)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	defer platform.Close()
	server, err := platform.Serve(ctx, cmd.Listen)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	defer server.Close()
	if platform.Profile().Demo {
		con.policyLines(platform.Policy())
	}
	fmt.Fprintf(con.out, "ready %s ca=%s\n", server.URL, server.ProfileFile)
	<-ctx.Done()
	return nil
}

type platformSeedCmd struct {
	Dir       string   `required:"" type:"path" placeholder:"DIR"`
	Phone     string   `required:"" placeholder:"P"`
	Balance   string   `required:"" placeholder:"YUAN"`
	Card      []string `placeholder:"SERIAL" help:"16 or 20 hex digits; may be repeated."`
	Companion string   `placeholder:"SERIAL"`
}

func (cmd platformSeedCmd) Run(ctx context.Context, con *console) error {
	balance, err := wallet.ParseYuan(cmd.Balance)
	if err != nil {
		return amountFailure(err)
	}
	var cards []wallet.ASN
	for _, text := range cmd.Card {
		asn, err := wallet.ParseASN(text)
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		cards = append(cards, asn)
	}
	platform, err := openPlatformDir(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	if err := platform.Seed(ctx, cmd.Phone, balance, cards, cmd.Companion); err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return con.print(map[string]any{"phone": cmd.Phone, "balanceFen": balance, "cards": len(cards)}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.seeded", "Phone", cmd.Phone, "Balance", balance.Yuan()))
	})
}

type platformIssueCmd struct {
	Dir        string `required:"" type:"path" placeholder:"DIR"`
	Serial     string `required:"" placeholder:"HEX"`
	ExportKeys string `name:"export-keys" required:"" placeholder:"FILE"`
	Named      bool   `help:"The issuer knows who holds the card: it may hold more."`
}

func (cmd platformIssueCmd) Run(ctx context.Context, con *console) error {
	asn, err := wallet.ParseASN(cmd.Serial)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	platform, err := openPlatformDir(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	keys, err := platform.IssueCard(ctx, asn)
	if err == nil && cmd.Named {
		err = platform.NameCard(ctx, asn)
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	raw, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return err
	}
	if err := exportKeys(cmd.ExportKeys, append(raw, '\n')); err != nil {
		return err
	}
	return con.print(map[string]any{"asn": asn.String(), "file": cmd.ExportKeys}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.issued", "Card", asn.Masked(), "File", cmd.ExportKeys))
	})
}

type platformCheckCmd struct {
	Dir string `required:"" type:"path" placeholder:"DIR"`
}

func (cmd platformCheckCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	report, err := platform.Check(ctx)
	if err != nil {
		return err
	}
	cards := []map[string]any{}
	for _, card := range report.Cards {
		cards = append(cards, map[string]any{"asn": card.ASN.String(), "loadedFen": card.LoadedFen, "purchasedFen": card.PurchasedFen, "movedFen": card.MovedFen, "expectedBalanceFen": card.ExpectedBalanceFen})
	}
	object := map[string]any{
		"imbalanceFen": report.ImbalanceFen, "heldFen": report.HeldFen, "grantedFen": report.GrantedFen, "suspenseFen": report.SuspenseFen,
		"openOrders": report.OpenOrders, "suspense": report.Suspense, "auditChain": report.AuditChain, "epoch": report.Epoch, "cards": cards,
		"fundingPendingFen": report.FundingPendingFen, "fundingUnbookedFen": report.FundingUnbookedFen,
		"voucherLiabilityFen": report.VoucherLiabilityFen, "cashInHallFen": report.CashInHallFen,
		"bankClearingFen": report.BankClearingFen, "unclaimedFen": report.UnclaimedFen,
	}
	err = con.print(object, func(w io.Writer) {
		con.printCheck(w, report)
	})
	if err == nil && (report.ImbalanceFen != 0 || report.FundingUnbookedFen != 0 || report.AuditChain != "ok") {
		return &core.Failure{Code: "PLATFORM_DIR", Err: errors.New("the books do not balance or the audit chain is broken")}
	}
	return err
}

func (c *console) printCheck(w io.Writer, report mockplatform.CheckReport) {
	for _, row := range []struct {
		name  string
		value any
	}{
		{"console.imbalance", c.yuan(report.ImbalanceFen)}, {"console.held", c.yuan(report.HeldFen)}, {"console.granted", c.yuan(report.GrantedFen)},
		{"console.suspense", c.yuan(report.SuspenseFen)}, {"console.openOrders", report.OpenOrders}, {"console.suspenseOrders", report.Suspense},
		{"console.fundingPending", c.yuan(report.FundingPendingFen)}, {"console.fundingUnbooked", c.yuan(report.FundingUnbookedFen)},
		{"console.voucherLiability", c.yuan(report.VoucherLiabilityFen)}, {"console.cashInHall", c.yuan(report.CashInHallFen)},
		{"console.bankClearing", c.yuan(report.BankClearingFen)}, {"console.unclaimed", c.yuan(report.UnclaimedFen)},
		{"console.auditChain", c.named("console.audit.", report.AuditChain)}, {"console.epoch", report.Epoch},
	} {
		fmt.Fprintf(w, "%s\t%v\n", c.t(row.name), row.value)
	}
	if len(report.Cards) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\t%s\t%s\t%s\n", c.t("console.card"), padded(c.t("console.loaded"), amountWidth),
		padded(c.t("console.purchased"), amountWidth), padded(c.t("console.expected"), amountWidth))
	for _, card := range report.Cards {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", card.ASN.Masked(), padded("+"+card.LoadedFen.Yuan(), amountWidth),
			padded("-"+card.PurchasedFen.Yuan(), amountWidth), padded(card.ExpectedBalanceFen.Yuan(), amountWidth))
	}
}

type platformBackupCmd struct {
	Dir string `required:"" type:"path" placeholder:"DIR"`
	To  string `required:"" type:"path" placeholder:"FILE"`
}

func (cmd platformBackupCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	report, err := platform.Backup(ctx, cmd.To)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	object := map[string]any{"epoch": report.Epoch, "watermark": stamp(report.Watermark)}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.backedUp", "File", cmd.To, "Epoch", report.Epoch))
	})
}

type platformRestoreCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	From string `required:"" type:"existingfile" placeholder:"FILE"`
}

func (cmd platformRestoreCmd) Run(con *console) error {
	report, err := mockplatform.Restore(cmd.Dir, cmd.From)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	object := map[string]any{"epoch": report.Epoch, "watermark": stamp(report.Watermark)}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.restored", "Epoch", report.Epoch))
	})
}

type platformShopOrderCmd struct {
	Dir      string `required:"" type:"path" placeholder:"DIR"`
	Merchant string `placeholder:"M" help:"The demo's own shop without one."`
	Goods    string `required:"" placeholder:"G"`
	Amount   string `required:"" placeholder:"YUAN"`
	Callback string `placeholder:"URL" help:"Told of the payment: https, or http on loopback."`
}

func (cmd platformShopOrderCmd) Run(ctx context.Context, con *console) error {
	amount, err := con.amount(cmd.Amount, true)
	if err != nil {
		return err
	}
	platform, err := openPlatformDir(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	merchant := cmd.Merchant
	if merchant == "" {
		merchant = mockplatform.DemoMerchant
	}
	code, err := platform.ShopOrder(ctx, merchant, cmd.Goods, amount, cmd.Callback)
	if errors.Is(err, mockplatform.ErrNoMerchant) {
		if err = platform.RegisterMerchant(ctx, merchant, nil); err == nil {
			code, err = platform.ShopOrder(ctx, merchant, cmd.Goods, amount, cmd.Callback)
		}
	}
	if errors.Is(err, mockplatform.ErrShopOrder) {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	object := map[string]any{"orderCode": code, "merchant": merchant, "goods": cmd.Goods, "amountFen": amount, "state": wallet.PurchaseOffered}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.shopOrder", "Code", code, "Merchant", merchant, "Goods", cmd.Goods, "Amount", amount.Yuan()))
	})
}
