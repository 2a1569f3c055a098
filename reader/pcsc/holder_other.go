//go:build !linux

package pcsc

// holderOfCard knows nobody: only Linux shows who is connected to the service.
func holderOfCard() string { return "" }
