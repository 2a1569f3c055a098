//go:build !linux

package pcsc

// socketRefused is false where the service is not reached through a socket of the
// file system.
func socketRefused() bool { return false }
