package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/reader/virtual"
	"walletcompanion/reader/vpcd"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

type cardCmd struct {
	New   cardNewCmd   `cmd:"" help:"Make a virtual card with random keys of its own."`
	View  cardViewCmd  `cmd:"" help:"Everything that the card on the reader gives without a PIN, for service staff."`
	Serve cardServeCmd `cmd:"" help:"Put a card into the system's smart card service (vpcd)."`
}

type cardNewCmd struct {
	File    string `arg:"" type:"path"`
	Serial  string `placeholder:"HEX" help:"16 or 20 hex digits; random without."`
	Balance string `default:"0.00" placeholder:"YUAN"`
	Records int    `default:"0" help:"Records in the card's log."`
	Variant string `default:"standard" help:"Peculiarity of the card."`
	Keys    string `placeholder:"FILE" type:"existingfile" help:"Card-level keys that a platform exported."`
}

func (cmd cardNewCmd) Run(con *console) error {
	spec := virtualcard.Spec{Records: cmd.Records, Variant: cmd.Variant}
	balance, err := con.amountOrZero(cmd.Balance)
	if err != nil {
		return err
	}
	spec.Balance = balance
	if spec.ASN, err = serialOrRandom(cmd.Serial); err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	if cmd.Keys != "" {
		raw, err := os.ReadFile(cmd.Keys)
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		asn, keys, err := virtualcard.ParseKeys(raw)
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		spec.ASN, spec.Keys = asn, &keys
	}
	card, err := virtualcard.New(spec, rand.Reader)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	image, err := card.Image()
	if err != nil {
		return err
	}
	if err := writeNew(cmd.File, image); err != nil {
		return err
	}
	object := map[string]any{"file": cmd.File, "asn": card.ASN().String(), "variant": card.Variant(), "balanceFen": card.Balance(), "pin": card.PIN()}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.cardMade", "File", cmd.File, "Variant", card.Variant(), "Balance", card.Balance().Yuan(), "PIN", card.PIN()))
	})
}

// writeNew never replaces a file: it may be a card with money on it.
func writeNew(path string, image []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return &core.Failure{Code: "USAGE", Err: fmt.Errorf("%s exists: a card's file is not overwritten", path)}
	}
	if err != nil {
		return &core.Failure{Code: "CARD_FILE", Err: err}
	}
	file.Close()
	return virtual.WriteFile(path, image)
}

func (c *console) amountOrZero(text string) (wallet.Fen, error) {
	amount, err := wallet.ParseYuan(text)
	if err != nil {
		return 0, &core.Failure{Code: core.Explain(amountFailure(err)).Code, Err: err}
	}
	return amount, nil
}

func amountFailure(err error) error {
	if errors.Is(err, wallet.ErrAmountNeedsPoint) {
		return &core.Failure{Code: "AMOUNT_NEEDS_POINT", Err: err}
	}
	return &core.Failure{Code: "AMOUNT_FORMAT", Err: err}
}

func serialOrRandom(text string) (wallet.ASN, error) {
	if text != "" {
		return wallet.ParseASN(text)
	}
	// 8 BCD bytes: what a real card carries.
	var asn wallet.ASN
	if _, err := rand.Read(asn[2:]); err != nil {
		return asn, err
	}
	for i := range asn[2:] {
		asn[2+i] = asn[2+i]/16%10<<4 | asn[2+i]%16%10
	}
	return asn, nil
}

type cardServeCmd struct {
	File    string `arg:"" type:"existingfile"`
	VPCD    string `name:"vpcd" default:"127.0.0.1:35963" placeholder:"HOST:PORT" help:"Where the service's virtual reader listens."`
	Control int    `placeholder:"PORT" help:"Take commands on this loopback port: insert, remove, tear, tear before|inside|after INS, state."`
}

func (cmd cardServeCmd) Run(ctx context.Context, con *console) error {
	var tears tearPoints
	file, err := virtual.OpenFile(cmd.File, func(image []byte, save func([]byte) error) (reader.Chip, error) {
		chip, err := virtualcard.Parse(image)
		if card, ours := chip.(*virtualcard.Card); ours {
			card.SaveTo(save)
			return &tornCard{card, &tears}, err
		}
		return chip, err
	})
	if err != nil {
		return &core.Failure{Code: "CARD_FILE", Err: err}
	}
	control := vpcd.New(file)
	control.TearAt = tears.arm
	if cmd.Control != 0 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", cmd.Control))
		if err != nil {
			return &core.Failure{Code: "USAGE", Err: err}
		}
		go func() { _ = control.ServeControl(ctx, listener) }()
	}
	con.say(con.t("console.serving", "File", cmd.File, "Address", cmd.VPCD))
	if err := control.Serve(ctx, cmd.VPCD); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

type errorsCmd struct{}

func (errorsCmd) Run(con *console) error {
	type object struct {
		Code     string   `json:"code"`
		Exit     int      `json:"exit"`
		Title    string   `json:"title"`
		Text     string   `json:"text"`
		Causes   []string `json:"causes"`
		Remedies []string `json:"remedies"`
	}
	list := []object{}
	for _, info := range core.ErrorTable {
		told := core.Tell(con.texts, info.Code, false, nil)
		list = append(list, object{info.Code, info.Exit, told.Title, told.Text, notNil(told.Causes), notNil(told.Remedies)})
	}
	return con.print(map[string]any{"errors": list}, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", con.t("console.code"), con.t("console.exit"), con.t("console.meaning"))
		for _, each := range list {
			fmt.Fprintf(w, "%s\t%d\t%s\n", each.Code, each.Exit, each.Title)
		}
	})
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// exportKeys writes the card-level keys of a demo platform for a card made by
// someone else.
func exportKeys(path string, keys []byte) error {
	if strings.TrimSpace(path) == "" {
		return &core.Failure{Code: "USAGE", Err: errors.New("--export-keys needs a file name")}
	}
	return os.WriteFile(path, keys, 0o600)
}
