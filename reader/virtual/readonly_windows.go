package virtual

import (
	"errors"
	"syscall"
)

// errorWriteProtect is ERROR_WRITE_PROTECT of winerror.h.
const errorWriteProtect = syscall.Errno(19)

// readOnly tells whether an error says that the medium cannot be written.
func readOnly(err error) bool { return errors.Is(err, errorWriteProtect) }
