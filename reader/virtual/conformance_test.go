package virtual_test

import (
	"testing"
	"time"

	"walletcompanion/reader"
	"walletcompanion/reader/readertest"
	"walletcompanion/reader/virtual"
)

const (
	patience = 20 * time.Second
	tick     = time.Millisecond
)

type field struct{ *virtual.Slot }

func (f field) Remove()               { f.Slot.Remove() }
func (f field) Swap(chip reader.Chip) { f.Slot.Insert(chip) }

func TestConformance(t *testing.T) {
	readertest.Run(t, func(t *testing.T) readertest.Subject {
		driver := virtual.New()
		first, second := driver.AddSlot("Virtual 1"), driver.AddSlot("Virtual 2")
		return readertest.Subject{
			Driver: driver,
			Fields: [2]readertest.Field{field{first}, field{second}},
			Unplug: func() { driver.Unplug(first.Name()) },
		}
	})
}
