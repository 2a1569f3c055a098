//go:build cgo || windows

package pcsc

import "sync/atomic"

// Bare opens the card as Open does, and gives the service's own call for a command,
// without owner goroutine, watchdog and keep-alive.
func Bare(name string) (transmit func(command []byte) ([]byte, error), release func(), err error) {
	var waitsForOther atomic.Bool
	w, _, err := connect(name, &waitsForOther)
	if err != nil {
		return nil, nil, err
	}
	return w.Exchange, w.Release, nil
}

// Holds tells whether this process has not yet given back the card of the reader.
func (d *Driver) Holds(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	talk := d.talks[name]
	return talk != nil && !isDone(talk)
}
