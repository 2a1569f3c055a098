package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestFee_LoadAndVoid charges by a table through the whole program: shown, confirmed,
// posted, returned, and recorded (requirement R5).
func TestFee_LoadAndVoid(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/fee",
		Cmds: scriptCommands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("WALLET_COMPANION_PROFILE", filepath.Join(env.WorkDir, "profile"))
			env.Setenv("LC_ALL", "en_US.UTF-8")
			return nil
		},
	})
}
