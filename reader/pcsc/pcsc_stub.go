//go:build !cgo && !windows

package pcsc

import (
	"context"
	"errors"

	"walletcompanion/reader"
)

// Driver is the driver of a program that was built without the system's library: it
// has no readers and says why.
type Driver struct{}

// New returns the driver.
func New() *Driver { return &Driver{} }

func missing(op string) error {
	return &reader.Error{Class: reader.NoService, Op: op,
		Err: errors.New("this program was built without smart card support (cgo)")}
}

// Released has nothing to wait for.
func (*Driver) Released(context.Context) {}

// List implements reader.Driver.
func (*Driver) List(context.Context) ([]reader.Info, error) { return nil, missing("list") }

// Watch implements reader.Driver.
func (*Driver) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	changed(nil, missing("list"))
	<-ctx.Done()
	return ctx.Err()
}

// Open implements reader.Driver.
func (*Driver) Open(context.Context, string) (reader.Session, error) { return nil, missing("open") }

// Code has no numbers to tell.
func Code(error) (uint32, bool) { return 0, false }
