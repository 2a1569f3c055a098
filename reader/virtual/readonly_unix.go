//go:build !windows

package virtual

import (
	"errors"
	"syscall"
)

// readOnly tells whether an error says that the file system cannot be written.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
