//go:build cgo && linux

package pcsc_test

import (
	"context"
	"os"
	"testing"

	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/pcsc/pcsctest"
	"walletcompanion/reader/readertest"
	"walletcompanion/reader/vpcd"
)

func TestMain(m *testing.M) { os.Exit(pcsctest.Main(m)) }

// field is the field of a reader of the real service.
type field struct {
	*vpcd.Control
	name string
}

func (f field) Name() string { return f.name }

// newField keeps a card away from, and later in, the field of a reader.
func newField(t testing.TB, service *pcsctest.Service, slot int) field {
	control := vpcd.New(nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = control.Serve(ctx, service.Addr(slot))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return field{Control: control, name: service.Name(slot)}
}

func TestConformance(t *testing.T) {
	pcsctest.Require(t)
	readertest.Run(t, func(t *testing.T) readertest.Subject {
		service := pcsctest.Start(t)
		return readertest.Subject{
			Driver:  pcsc.New(),
			Fields:  [2]readertest.Field{newField(t, service, 0), newField(t, service, 1)},
			Kill:    service.Kill,
			Restart: service.Restart,
		}
	})
}

var _ reader.Driver = pcsc.New()
