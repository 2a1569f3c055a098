package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

type platformVoucherCmd struct {
	Make     platformVoucherMakeCmd     `cmd:"" help:"Write a file of new vouchers with their PINs (demo platforms only)."`
	Import   platformVoucherImportCmd   `cmd:"" help:"Take a file of vouchers in, whole or not at all."`
	Activate platformVoucherActivateCmd `cmd:"" help:"Put held vouchers into use."`
	Block    platformVoucherBlockCmd    `cmd:"" help:"Take vouchers out of use."`
	Unblock  platformVoucherUnblockCmd  `cmd:"" help:"Put blocked vouchers back into use."`
}

type platformVoucherMakeCmd struct {
	Dir   string `required:"" type:"path" placeholder:"DIR"`
	Value string `required:"" placeholder:"YUAN" help:"10, 20, 30, 50 or 100."`
	Count int    `required:"" placeholder:"N"`
	Out   string `required:"" type:"path" placeholder:"FILE" help:"Must not exist; readable by its owner only."`
}

func (cmd platformVoucherMakeCmd) Run(con *console) error {
	value, err := con.amount(cmd.Value, true)
	if err != nil {
		return err
	}
	platform, err := openPlatformDir(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	file, err := os.OpenFile(cmd.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	batch, err := platform.MakeVouchers(file, value, cmd.Count)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(moneyFailure(err), os.Remove(cmd.Out))
	}
	object := map[string]any{"file": cmd.Out, "batch": batch, "count": cmd.Count, "valueFen": value}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.vouchersMade", "Count", cmd.Count, "Value", value.Yuan(), "File", cmd.Out))
	})
}

type platformVoucherImportCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	Hold bool   `help:"Leave them NEW: not for use until they are activated."`
	File string `arg:"" type:"existingfile"`
}

func (cmd platformVoucherImportCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	file, err := os.Open(cmd.File)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	defer file.Close()
	told, err := platform.ImportVouchers(ctx, file, cmd.Hold)
	if err != nil {
		return moneyFailure(err)
	}
	return con.print(told, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.vouchersImported", "Imported", told.Imported, "Count", told.Count, "Batch", told.Batch, "Sum", told.SumFen.Yuan()))
	})
}

// voucherChange says which vouchers, and why.
type voucherChange struct {
	Dir    string `required:"" type:"path" placeholder:"DIR"`
	Serial string `placeholder:"N" help:"One voucher."`
	Batch  string `placeholder:"B" help:"All of a batch."`
	Reason string `required:"" placeholder:"TEXT"`
}

type platformVoucherActivateCmd struct{ voucherChange }
type platformVoucherBlockCmd struct{ voucherChange }
type platformVoucherUnblockCmd struct{ voucherChange }

func (cmd platformVoucherActivateCmd) Run(ctx context.Context, con *console) error {
	return cmd.apply(ctx, con, rules.VoucherActivate)
}

func (cmd platformVoucherBlockCmd) Run(ctx context.Context, con *console) error {
	return cmd.apply(ctx, con, rules.VoucherBlock)
}

func (cmd platformVoucherUnblockCmd) Run(ctx context.Context, con *console) error {
	return cmd.apply(ctx, con, rules.VoucherUnblock)
}

func (change voucherChange) apply(ctx context.Context, con *console, event rules.VoucherEvent) error {
	platform, err := existingPlatform(change.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	changed, err := platform.ChangeVouchers(ctx, event, change.Serial, change.Batch, change.Reason)
	if err != nil {
		return moneyFailure(err)
	}
	return con.print(map[string]any{"event": event, "changed": changed}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.vouchersChanged", "Count", changed))
	})
}

type platformTransferCmd struct {
	Import platformTransferImportCmd `cmd:"" help:"Book a bank's file; every line once by its serial number."`
	Assign platformTransferAssignCmd `cmd:"" help:"Give a transfer in suspense to whose it turned out to be."`
}

type platformTransferImportCmd struct {
	Dir  string `required:"" type:"path" placeholder:"DIR"`
	File string `arg:"" type:"existingfile"`
}

func (cmd platformTransferImportCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	file, err := os.Open(cmd.File)
	if err != nil {
		return &core.Failure{Code: "USAGE", Err: err}
	}
	defer file.Close()
	told, err := platform.ImportTransfers(ctx, file)
	if err != nil {
		return moneyFailure(err)
	}
	return con.print(told, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.transfersImported", "Credited", told.Credited, "Sum", told.CreditedFen.Yuan(), "Suspense", told.Suspense,
			"Again", told.Again, "Differing", told.Differing))
		for _, each := range told.InSuspense {
			fmt.Fprintf(w, "%s\t%s\n", each, con.t("console.unclaimed"))
		}
	})
}

type platformTransferAssignCmd struct {
	Dir    string `required:"" type:"path" placeholder:"DIR"`
	Order  string `required:"" placeholder:"N" help:"As the import or orders name it."`
	Phone  string `required:"" placeholder:"P"`
	Reason string `required:"" placeholder:"TEXT"`
}

func (cmd platformTransferAssignCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	if err := platform.AssignTransfer(ctx, cmd.Order, cmd.Phone, cmd.Reason); err != nil {
		return moneyFailure(err)
	}
	return con.print(map[string]any{"order": cmd.Order, "phone": cmd.Phone, "state": wallet.FundingDone}, func(w io.Writer) {
		fmt.Fprintln(w, con.t("console.transferAssigned", "Order", cmd.Order, "Phone", cmd.Phone))
	})
}

// moneyFailure tells a wrong file or word from trouble of the directory.
func moneyFailure(err error) error {
	for _, wrong := range []error{
		mockplatform.ErrRecordFile, mockplatform.ErrVoucherBatch, mockplatform.ErrVoucherSerial, mockplatform.ErrVoucherNone,
		mockplatform.ErrVoucherValue, mockplatform.ErrVoucherCount, mockplatform.ErrVoucherWhich, mockplatform.ErrNotDemo,
		mockplatform.ErrNotSuspended, mockplatform.ErrPayeeUnknown,
	} {
		if errors.Is(err, wrong) {
			return &core.Failure{Code: "USAGE", Err: err}
		}
	}
	return &core.Failure{Code: "PLATFORM_DIR", Err: err}
}
