package wallettest

import (
	"context"
	"slices"
	"sync"

	"walletcompanion/wallet"
)

// Journal is a wallet.Journal in memory. It keeps the rule of the table of stages
// and, where Fail says so, refuses like a full disk.
type Journal struct {
	Fail func(wallet.Entry) error // may be nil

	mu      sync.Mutex
	entries map[string]wallet.Entry
	log     []wallet.Entry
}

// Write implements wallet.Journal.
func (j *Journal) Write(ctx context.Context, entry wallet.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := wallet.CheckFollows(j.entries[entry.Key].Stage, entry); err != nil {
		return err
	}
	if j.Fail != nil {
		if err := j.Fail(entry); err != nil {
			return err
		}
	}
	if j.entries == nil {
		j.entries = map[string]wallet.Entry{}
	}
	entry = copied(entry)
	j.entries[entry.Key] = entry
	j.log = append(j.log, entry)
	return nil
}

// copied shares no bytes with the entry.
func copied(entry wallet.Entry) wallet.Entry {
	entry.TAC = slices.Clone(entry.TAC)
	entry.Steps = slices.Clone(entry.Steps)
	for i, step := range entry.Steps {
		entry.Steps[i] = wallet.StepResult{SW: slices.Clone(step.SW), Data: slices.Clone(step.Data)}
	}
	if entry.Grant != nil {
		grant := *entry.Grant
		entry.Grant = &grant
	}
	return entry
}

// Latest returns the last entry of a key; false if there is none.
func (j *Journal) Latest(_ context.Context, key string) (wallet.Entry, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entry, found := j.entries[key]
	return entry, found, nil
}

// Entry returns the last entry of a key; the zero Entry if there is none.
func (j *Journal) Entry(key string) wallet.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[key]
}

// Stages returns every stage that was written, oldest first.
func (j *Journal) Stages() []wallet.Stage {
	j.mu.Lock()
	defer j.mu.Unlock()
	var stages []wallet.Stage
	for _, entry := range j.log {
		stages = append(stages, entry.Stage)
	}
	return stages
}
