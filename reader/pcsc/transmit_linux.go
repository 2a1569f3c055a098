//go:build cgo && linux

package pcsc

// The binding's Transmit makes a new 64 KiB buffer for every command, which costs as
// much as the command's own way through the service. This is the same call with one
// buffer for the whole conversation.

/*
#cgo pkg-config: libpcsclite
#include <winscard.h>

static LONG transmit(SCARDHANDLE card, DWORD protocol, const unsigned char *command, DWORD length, unsigned char *answer, DWORD *answerLength) {
	SCARD_IO_REQUEST send = {protocol, sizeof(SCARD_IO_REQUEST)};
	return SCardTransmit(card, &send, command, length, NULL, answer, answerLength);
}
*/
import "C"

import (
	"reflect"

	"github.com/ebfe/scard"
)

// answerRoom is the longest answer that the service passes on.
const answerRoom = 65536 + 2 + 12

// handleOf reads the service's handle of a card. The binding keeps it to itself;
// 0 means that a newer binding has other insides.
func handleOf(card *scard.Card) uintptr {
	field := reflect.ValueOf(card).Elem().FieldByName("handle")
	if !field.IsValid() || field.Kind() != reflect.Uintptr {
		return 0
	}
	return uintptr(field.Uint())
}

// transmit is SCardTransmit (PC/SC part 5) into the wire's own buffer. Command must
// not be empty.
func (w *wire) transmit(command []byte) ([]byte, error) {
	handle := handleOf(w.card)
	if handle == 0 {
		return w.card.Transmit(command)
	}
	if w.answer == nil {
		w.answer = make([]byte, answerRoom)
	}
	length := C.DWORD(len(w.answer))
	result := C.transmit(C.SCARDHANDLE(handle), C.DWORD(w.card.ActiveProtocol()),
		(*C.uchar)(&command[0]), C.DWORD(len(command)), (*C.uchar)(&w.answer[0]), &length)
	if result != C.SCARD_S_SUCCESS {
		return nil, scard.Error(uint32(result))
	}
	return append([]byte(nil), w.answer[:length]...), nil
}
