//go:build cgo || windows

package pcsc

import (
	"errors"
	"testing"

	"github.com/ebfe/scard"
	"github.com/stretchr/testify/require"

	"walletcompanion/reader"
	"walletcompanion/reader/internal/conversation"
)

// TestClasses is the table of accidents of the reader dossier §1.4.
func TestClasses(t *testing.T) {
	cases := []struct {
		code            scard.Error
		opening, inTalk reader.Class
	}{
		{0x8010001D, reader.NoService, reader.NoService},       // no service
		{0x8010001E, reader.NoService, reader.NoService},       // service stopped
		{0x80100013, reader.NoService, reader.NoService},       // service killed
		{0x80100003, reader.NoService, reader.NoService},       // handle of a dead context
		{0x8010006A, reader.NoAccess, reader.NoAccess},         // refused by policy
		{0x80100027, reader.NoAccess, reader.NoAccess},         // refused on Windows
		{0x8010002E, reader.NoReader, reader.ReaderGone},       // no readers
		{0x80100009, reader.NoReader, reader.ReaderGone},       // unknown reader
		{0x80100017, reader.NoReader, reader.ReaderGone},       // unplugged
		{0x80100011, reader.NoReader, reader.ReaderGone},       // unplugged, later calls
		{0x8010000C, reader.NoCard, reader.CardGone},           // no card
		{0x80100069, reader.NoCard, reader.CardGone},           // removed
		{0x80100016, reader.NoCard, reader.CardGone},           // torn in a command
		{0x80100068, reader.CardReset, reader.CardReset},       // reset by another
		{0x8010000B, reader.Busy, reader.Busy},                 // held by another
		{0x80100066, reader.Unresponsive, reader.Unresponsive}, // mute
		{0x8010000A, reader.Unresponsive, reader.Unresponsive}, // time-out
		{0x8010000F, reader.Protocol, reader.Protocol},         // nonsense in the ATR
		{0x80100001, reader.Protocol, reader.Protocol},         // internal error
		{1167, reader.NoReader, reader.ReaderGone},             // Windows: not connected
	}
	for _, c := range cases {
		require.Equal(t, c.opening, reader.ClassOf(classify("open", c.code)), "%X opening", uint32(c.code))
		err := classifyTalk("transmit", c.code)
		require.Equal(t, c.inTalk, reader.ClassOf(err), "%X in a conversation", uint32(c.code))
		require.ErrorIs(t, err, c.code)
	}
	require.NoError(t, classify("open", nil))
	own := &reader.Error{Class: reader.Busy, Op: "open"}
	require.Same(t, own, classify("list", own), "an error that has a class keeps it")
	require.Equal(t, reader.Protocol, reader.ClassOf(classifyTalk("transmit", errors.Join(conversation.ErrPanic))))
}

func TestStateOf(t *testing.T) {
	const counted = 7 << eventShift
	cases := map[scard.StateFlag]reader.State{
		counted | scard.StateEmpty:                      reader.StateEmpty,
		counted | scard.StatePresent:                    reader.StatePresent,
		counted | scard.StatePresent | scard.StateInuse: reader.StatePresent,
		counted | 0xA2 | scard.StatePresent:             reader.StateBusy,
		counted | scard.StatePresent | scard.StateMute:  reader.StateMute,
		0x0E:               reader.StateUnavailable,
		scard.StateUnknown: reader.StateUnavailable,
		scard.StatePresent | scard.StateUnpowered | scard.StateChanged:     reader.StatePresent,
		scard.StatePresent | scard.StateExclusive | scard.StateUnavailable: reader.StateUnavailable,
	}
	for flags, state := range cases {
		require.Equal(t, state, stateOf(flags), "%X", uint32(flags))
	}
}

func TestCode(t *testing.T) {
	code, known := Code(classify("list", scard.ErrServiceStopped))
	require.True(t, known)
	require.Equal(t, uint32(0x8010001E), code)
	_, known = Code(errors.New("something else"))
	require.False(t, known)
}
