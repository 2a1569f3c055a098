//go:build unix

package wire

import "syscall"

// freeBytes is the space that this person may still use where dir lies.
func freeBytes(dir string) (uint64, error) {
	var facts syscall.Statfs_t
	if err := syscall.Statfs(dir, &facts); err != nil {
		return 0, err
	}
	return uint64(facts.Bavail) * uint64(facts.Bsize), nil
}
