package diag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"walletcompanion/app/store"
)

// Bounds of the disk: a journal entry is a few hundred bytes, a backup before an
// update some ten megabytes.
const (
	diskFailed  = 10 << 20
	diskWarning = 200 << 20
)

// checkDatabase looks into the database without changing it: whether it opens, is
// whole, is of a version that this program knows, keeps its journal as it must, and
// whether another process moves money with it.
func checkDatabase(ctx context.Context, m *Computer) Finding {
	found, err := m.inspect(ctx)
	facts := map[string]any{"version": found.Version, "known": found.Known, "journalMode": found.JournalMode, "Process": found.MoneyHolder}
	if err != nil {
		facts["Cause"] = err.Error()
	}
	switch {
	case err == nil && !found.Exists:
		return Finding{Status: OK, Outcome: "new"}
	case errors.Is(err, store.ErrNewer):
		return Finding{Status: Failed, Outcome: "newer", Facts: facts}
	case errors.Is(err, store.ErrCorrupt):
		return Finding{Status: Failed, Outcome: "corrupt", Facts: facts}
	case errors.Is(err, store.ErrLocked):
		return Finding{Status: Failed, Outcome: "locked", Facts: facts}
	case errors.Is(err, fs.ErrPermission):
		return Finding{Status: Failed, Outcome: "denied", Facts: facts}
	case err != nil:
		return Finding{Status: Failed, Outcome: "trouble", Facts: facts}
	case found.JournalMode != "wal":
		facts["Mode"] = found.JournalMode
		return Finding{Status: Warning, Outcome: "mode", Facts: facts}
	case found.MoneyHeld:
		return Finding{Status: Warning, Outcome: "held", Facts: facts}
	case found.OpenOrders > 0:
		facts["Orders"] = found.OpenOrders
		return Finding{Status: OK, Outcome: "open-orders", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// checkDeviceKey looks whether others may read what unlocks the kept login.
func checkDeviceKey(ctx context.Context, m *Computer) Finding {
	facts := map[string]any{"Dir": m.ProfileDir}
	folder, err := fs.Stat(m.Profile, ".")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Finding{Status: OK, Outcome: "new"}
	case err != nil:
		facts["Cause"] = err.Error()
		return Finding{Status: Failed, Outcome: "denied", Facts: facts}
	}
	facts["Rights"] = rights(folder.Mode())
	key, err := fs.Stat(m.Profile, "device.key")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if inspected, err := m.inspect(ctx); err == nil && inspected.Secrets > 0 {
			return Finding{Status: Failed, Outcome: "missing", Facts: facts}
		}
		return Finding{Status: OK, Outcome: "none", Facts: facts}
	case err != nil:
		facts["Cause"] = err.Error()
		return Finding{Status: Failed, Outcome: "denied", Facts: facts}
	case key.Mode().Perm()&0o077 != 0:
		facts["Rights"] = rights(key.Mode())
		return Finding{Status: Failed, Outcome: "open", Facts: facts}
	case key.Size() != 32:
		return Finding{Status: Failed, Outcome: "damaged", Facts: facts}
	case folder.Mode().Perm()&0o022 != 0: // whoever may write there can put another key in its place
		return Finding{Status: Failed, Outcome: "folder-open", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

func rights(mode fs.FileMode) string { return fmt.Sprintf("%04o", mode.Perm()) }

// checkDisk looks whether the journal can still be written.
func checkDisk(_ context.Context, m *Computer) Finding {
	if m.Free == nil {
		return Finding{Status: Skipped, Outcome: outcomeSystem, Facts: map[string]any{"System": m.System}}
	}
	free, err := m.Free()
	if err != nil {
		return Finding{Status: Warning, Outcome: "unknown", Facts: map[string]any{"Cause": err.Error()}}
	}
	facts := map[string]any{"FreeMB": free >> 20}
	switch {
	case free < diskFailed:
		return Finding{Status: Failed, Outcome: "full", Facts: facts}
	case free < diskWarning:
		return Finding{Status: Warning, Outcome: "little", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// checkDisplay looks for what the window needs. The console needs none of it.
func checkDisplay(_ context.Context, m *Computer) Finding {
	facts := map[string]any{"display": m.Env("DISPLAY"), "wayland": m.Env("WAYLAND_DISPLAY"), "remote": m.Env("SSH_CONNECTION") != ""}
	library, found := m.library("libGL.so.1")
	facts["File"] = library
	switch {
	case m.Env("DISPLAY") == "" && m.Env("WAYLAND_DISPLAY") == "":
		return Finding{Status: Warning, Outcome: "none", Facts: facts}
	case m.Env("DISPLAY") == "": // the window is drawn through X11, also under Wayland
		return Finding{Status: Warning, Outcome: "no-x11", Facts: facts}
	case !found:
		return Finding{Status: Warning, Outcome: "no-opengl", Facts: facts}
	case !m.exists("dev/dri"):
		return Finding{Status: OK, Outcome: "software", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}
