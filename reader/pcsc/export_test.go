//go:build cgo || windows

package pcsc

// Holds tells whether this process has not yet given back the card of the reader.
func (d *Driver) Holds(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	talk := d.talks[name]
	return talk != nil && !isDone(talk)
}
