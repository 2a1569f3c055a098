//go:build unix

package loadtest

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the processors, in user and kernel.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
