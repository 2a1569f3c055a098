package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/store/faultfs"
	"walletcompanion/app/store/storetest"
	"walletcompanion/wallet"
)

// The test on which "no journal write, no CREDIT" rests: where the disk is full or
// cannot be flushed at the commit of a stage, Write returns an error, the stage
// before it is the latest one, here and in the next process, and the store works
// again once the fault is gone.
func TestFailingDisk(t *testing.T) {
	kinds := map[string]faultfs.Kind{"no space": faultfs.ENOSPC, "flush fails": faultfs.EIO}
	for kindName, kind := range kinds {
		for i, stage := range allStages {
			t.Run(kindName+" at "+string(stage), func(t *testing.T) {
				dir, err := filepath.EvalSymlinks(t.TempDir())
				require.NoError(t, err)
				s := open(t, dir)
				writeStages(t, s, "k", allStages[:i]...)
				markBefore, err := s.Mark(t.Context())
				require.NoError(t, err)
				dueBefore, err := s.Due(t.Context(), time.Now())
				require.NoError(t, err)

				hits := 0
				disarm := faultfs.Arm(dir, kind, func() bool { hits++; return true })
				t.Cleanup(disarm)
				for range 2 { // a repeat fails as well
					require.Error(t, s.Write(t.Context(), storetest.Entry("k", stage)), "the entry is not on disk")
				}
				require.NotZero(t, hits, "the fault never came to pass")
				before := wallet.Stage("")
				if i > 0 {
					before = allStages[i-1]
				}
				require.Equal(t, before, stageOf(t, s, "k"))
				disarm()

				require.NoError(t, s.Close())
				s = open(t, dir)
				require.Equal(t, before, stageOf(t, s, "k"), "a failed commit was there after reopening")
				markAfter, err := s.Mark(t.Context())
				require.NoError(t, err)
				require.Equal(t, markBefore, markAfter)
				dueAfter, err := s.Due(t.Context(), time.Now())
				require.NoError(t, err)
				require.Equal(t, dueBefore, dueAfter, "the outbox must agree with the journal")
				require.NoError(t, s.VerifyChain(t.Context()))
				writeStages(t, s, "k", allStages[i:]...)
				require.NoError(t, s.VerifyChain(t.Context()))
			})
		}
	}
}

// The same store goes on after the fault without being opened anew.
func TestFaultThatPasses(t *testing.T) {
	for name, kind := range map[string]faultfs.Kind{"no space": faultfs.ENOSPC, "flush fails": faultfs.EIO} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			s := open(t, dir)
			writeStages(t, s, "k", allStages[:4]...)
			disarm := faultfs.Arm(dir, kind, nil)
			t.Cleanup(disarm)
			require.Error(t, s.Write(t.Context(), storetest.Entry("k", wallet.StageCrediting)))
			_, err = s.TakeLease(t.Context(), 1, time.Now())
			require.Error(t, err)
			require.Error(t, s.Put(t.Context(), "refresh", []byte("x")))
			disarm()
			writeStages(t, s, "k", allStages[4:]...)
			require.NoError(t, s.VerifyChain(t.Context()))
			require.NoError(t, s.Put(t.Context(), "refresh", []byte("x")))
		})
	}
}

// A power cut right after a failed commit may leave the stage or not, since an error
// was returned; what it leaves must be whole, and the order must go on from there.
func TestPowerCutAfterFailedCommit(t *testing.T) {
	for name, kind := range map[string]faultfs.Kind{"no space": faultfs.ENOSPC, "flush fails": faultfs.EIO} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			s := open(t, dir)
			writeStages(t, s, "k", allStages[:4]...)
			disarm := faultfs.Arm(dir, kind, nil)
			t.Cleanup(disarm)
			require.Error(t, s.Write(t.Context(), storetest.Entry("k", wallet.StageCrediting)))
			left := t.TempDir() // the files as they are, without the shared memory
			for _, name := range []string{"wallet.db", "wallet.db-wal"} {
				content, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(left, name), content, 0o600))
			}
			again := open(t, left)
			require.Contains(t, []wallet.Stage{wallet.StageGranted, wallet.StageCrediting}, stageOf(t, again, "k"))
			require.NoError(t, again.VerifyChain(t.Context()))
			writeStages(t, again, "k", wallet.StageUnknown, wallet.StageGranted, wallet.StageCrediting, wallet.StageCredited)
			require.NoError(t, again.VerifyChain(t.Context()))
		})
	}
}

// A fault on another directory is none of this store's business.
func TestFaultKeepsToItsDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	disarm := faultfs.Arm(t.TempDir(), faultfs.ENOSPC, nil)
	defer disarm()
	writeStages(t, s, "k", allStages...)
}
