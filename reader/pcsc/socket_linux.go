package pcsc

import (
	"errors"
	"os"
	"syscall"
)

const (
	// socketPath is where pcsc-lite's service listens; socketVariable moves the
	// client's end (pcscd(8), libpcsclite's own documentation).
	socketPath     = "/run/pcscd/pcscd.comm"
	socketVariable = "PCSCLITE_CSOCK_NAME"

	writeAccess = 2 // W_OK of access(2); a client must be able to write to a socket
)

// socketRefused tells whether the service's socket is there and this user may not
// use it.
func socketRefused() bool {
	path := os.Getenv(socketVariable)
	if path == "" {
		path = socketPath
	}
	return errors.Is(syscall.Access(path, writeAccess), syscall.EACCES)
}
