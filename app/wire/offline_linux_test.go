package wire_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestE2E_OfflineQuery_NoNetwork reads a card in a process that has no network at
// all, not even a loopback: whatever tried to reach anything would fail.
func TestE2E_OfflineQuery_NoNetwork(t *testing.T) {
	console := buildConsole(t)
	dir := t.TempDir()
	card := fullCard(t, dir)
	command := exec.Command(console, "query", "--json", "--reader", "virtual:"+card, "--profile", filepath.Join(dir, "profile"))
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil && command.ProcessState == nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a network namespace is needed when CI=true: %v", err)
		}
		t.Skipf("no network namespace: %v", err)
	}
	require.NoError(t, err, "%s%s", out, stderr.String())
	require.Contains(t, string(out), `"balanceFen":2000`)
	require.Contains(t, string(out), `"apdus":13`)
	require.Empty(t, stderr.String())
}
