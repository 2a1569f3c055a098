//go:build cgo || windows

package pcsc

import (
	"errors"

	"github.com/ebfe/scard"

	"walletcompanion/reader"
)

// classify turns what the service said while listing or opening, when no
// conversation is lost by it, into a *reader.Error (reader dossier §1.4).
func classify(op string, err error) error {
	if err == nil || reader.ClassOf(err) != "" {
		return err
	}
	return &reader.Error{Class: classOf(err), Op: op, Err: err}
}

// classifyTalk does the same inside a conversation, where a card or reader that is
// not there has gone away.
func classifyTalk(op string, err error) error {
	if err == nil || reader.ClassOf(err) != "" {
		return err
	}
	class := classOf(err)
	switch class {
	case reader.NoCard:
		class = reader.CardGone
	case reader.NoReader:
		class = reader.ReaderGone
	}
	return &reader.Error{Class: class, Op: op, Err: err}
}

// classOf gives the class of an error of the service.
func classOf(err error) reader.Class {
	var code scard.Error
	if !errors.As(err, &code) {
		return reader.Protocol
	}
	switch code {
	case scard.ErrNoService, scard.ErrServiceStopped, scard.ErrCommError,
		scard.ErrInvalidHandle, scard.ErrSystemCancelled, scard.ErrShutdown,
		scard.ErrCancelled, scard.ErrServerTooBusy:
		return reader.NoService
	case scard.ErrSecurityViolation, scard.ErrNoAccess:
		return reader.NoAccess
	case scard.ErrNoReadersAvailable, scard.ErrUnknownReader, scard.ErrReaderUnavailable,
		// After a reader was unplugged its handle is "invalid value".
		scard.ErrInvalidValue, scard.ErrNotReady:
		return reader.NoReader
	case scard.ErrNoSmartcard, scard.ErrRemovedCard,
		// A card torn out of the field during a command.
		scard.ErrNotTransacted, scard.ErrCommDataLost, scard.ErrUnpoweredCard:
		return reader.NoCard
	case scard.ErrResetCard:
		return reader.CardReset
	case scard.ErrSharingViolation:
		return reader.Busy
	case scard.ErrUnresponsiveCard, scard.ErrTimeout, scard.ErrWaitedTooLong:
		return reader.Unresponsive
	case errorInvalidHandle:
		return reader.NoService
	case errorBadCommand, errorGenFailure, errorDeviceNotConnected, errorOperationAborted,
		errorNoSuchDevice:
		return reader.NoReader
	case errorSemaphoreTimeout, errorIODevice:
		return reader.Unresponsive
	}
	return reader.Protocol
}

// Windows lets errors of the reader's kernel driver through as they are (winerror.h).
const (
	errorInvalidHandle      scard.Error = 6
	errorBadCommand         scard.Error = 22
	errorGenFailure         scard.Error = 31
	errorSemaphoreTimeout   scard.Error = 121
	errorNoSuchDevice       scard.Error = 433
	errorOperationAborted   scard.Error = 995
	errorIODevice           scard.Error = 1117
	errorDeviceNotConnected scard.Error = 1167
)

// contextIsDead tells whether a context must be dropped after the error.
func contextIsDead(err error) bool {
	class := classOf(err)
	return class == reader.NoService || class == reader.NoAccess
}

// Code is the number with which the service answered, for diagnosis; false where err
// is not from the service.
func Code(err error) (uint32, bool) {
	var code scard.Error
	if !errors.As(err, &code) {
		return 0, false
	}
	return uint32(code), true
}
