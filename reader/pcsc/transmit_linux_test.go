//go:build cgo && linux

package pcsc

import (
	"reflect"
	"testing"

	"github.com/ebfe/scard"
	"github.com/stretchr/testify/require"
)

// A newer binding with other insides must be noticed here, and not as a slow driver.
func TestTheBindingsHandleIsWhereWeReadIt(t *testing.T) {
	card := &scard.Card{}
	field, found := reflect.TypeOf(*card).FieldByName("handle")
	require.True(t, found)
	require.Equal(t, reflect.Uintptr, field.Type.Kind())
	require.Zero(t, handleOf(card), "a card that is not connected")
}
