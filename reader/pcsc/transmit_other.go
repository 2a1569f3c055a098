//go:build (cgo && !linux) || windows

package pcsc

// transmit is the binding's own call.
func (w *wire) transmit(command []byte) ([]byte, error) { return w.card.Transmit(command) }
