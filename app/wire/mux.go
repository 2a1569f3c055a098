package wire

import (
	"context"
	"sync"

	"walletcompanion/reader"
	"walletcompanion/reader/virtual"
)

// twoDrivers is the system's readers and, after them, virtual ones that the person
// asked for. Trouble of the system's service is told only while there is no virtual
// reader to work with.
type twoDrivers struct {
	system reader.Driver
	ours   *virtual.Driver
}

// List implements reader.Driver.
func (d twoDrivers) List(ctx context.Context) ([]reader.Info, error) {
	ours, err := d.ours.List(ctx)
	if err != nil {
		return nil, err
	}
	system, err := d.system.List(ctx)
	return joined(system, err, ours)
}

func joined(system []reader.Info, err error, ours []reader.Info) ([]reader.Info, error) {
	if err != nil && len(ours) == 0 {
		return nil, err
	}
	all := append([]reader.Info{}, system...)
	return append(all, ours...), nil
}

// Watch implements reader.Driver.
func (d twoDrivers) Watch(ctx context.Context, changed func([]reader.Info, error)) error {
	var mu sync.Mutex
	var system, ours []reader.Info
	var trouble error
	var told bool // the system's readers are known
	tell := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
		if told {
			changed(joined(system, trouble, ours))
		}
	}
	var watchers sync.WaitGroup
	watchers.Go(func() {
		_ = d.ours.Watch(ctx, func(infos []reader.Info, _ error) { tell(func() { ours = infos }) })
	})
	err := d.system.Watch(ctx, func(infos []reader.Info, err error) {
		tell(func() { system, trouble, told = infos, err, true })
	})
	watchers.Wait()
	return err
}

// Open implements reader.Driver.
func (d twoDrivers) Open(ctx context.Context, name string) (reader.Session, error) {
	ours, err := d.ours.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range ours {
		if info.Name == name {
			return d.ours.Open(ctx, name)
		}
	}
	return d.system.Open(ctx, name)
}
