package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
)

// bankFolder is where a platform's own bank lives, below the platform's directory.
const bankFolder = "bank"

// OwnBank is the virtual bank of a demo platform, in the same process and reached
// over loopback like any other. It starts when it is first needed: most commands need
// none, and a platform whose bank does not start does everything else.
type OwnBank struct {
	dir    string
	faults *mockbank.Faults

	mu     sync.Mutex
	bank   *mockbank.Bank
	server *mockbank.Server
	closed bool
}

// NewOwnBank is the bank below a platform's directory; Close it. faults may be nil.
func NewOwnBank(platformDir string, faults *mockbank.Faults) *OwnBank {
	return &OwnBank{dir: filepath.Join(platformDir, bankFolder), faults: faults}
}

// Partner starts the bank and gives what a platform needs to reach it.
func (o *OwnBank) Partner(ctx context.Context) (bankapi.Partner, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return bankapi.Partner{}, errors.New("the bank is closed")
	}
	if o.server == nil {
		config := mockbank.Config{Dir: o.dir}
		if o.faults != nil {
			o.faults.Into(&config)
		}
		bank, err := mockbank.Open(config)
		if err != nil {
			return bankapi.Partner{}, err
		}
		if o.server, err = bank.Serve(context.WithoutCancel(ctx), "127.0.0.1:0"); err != nil {
			return bankapi.Partner{}, errors.Join(err, bank.Close())
		}
		o.bank = bank
	}
	return o.bank.Partner()
}

// Close ends the bank, if it was started.
func (o *OwnBank) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.server == nil {
		return nil
	}
	return errors.Join(o.server.Close(), o.bank.Close())
}

// BankFile finds another bank by the file that it gave to its partner. The file is
// read again when the bank has gone: it tells a new address.
func BankFile(file string) func(context.Context) (bankapi.Partner, error) {
	return func(context.Context) (bankapi.Partner, error) {
		raw, err := os.ReadFile(file)
		if err != nil {
			return bankapi.Partner{}, err
		}
		return bankapi.ParsePartner(raw)
	}
}
