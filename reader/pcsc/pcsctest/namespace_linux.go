// Package pcsctest gives tests a smart card service of their own. The service's
// socket has a fixed place in /run, so the test program starts itself again in a
// mount namespace with a /run of its own and, where that is allowed, in a network
// namespace, since vpcd listens on all interfaces.
package pcsctest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

const (
	// stageVariable tells a test program that was started again what it is to do:
	// stageProbe only tries the namespace, stageInside runs the tests in it, and
	// stageReady is what programs see that are started by such tests.
	stageVariable = "PCSCTEST_STAGE"
	stageProbe    = "probe"
	stageInside   = "inside"
	stageReady    = "ready"
	// reasonVariable carries why there is no namespace to tests that skip for it.
	reasonVariable = "PCSCTEST_REASON"
)

// Main runs the tests of a package that uses Start, inside namespaces of their own
// where the system allows any. Call it from TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(pcsctest.Main(m)) }
//
// It returns the exit code.
func Main(m *testing.M) int {
	switch os.Getenv(stageVariable) {
	case stageProbe:
		if err := arrange(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case stageInside:
		if err := arrange(); err != nil {
			fmt.Fprintln(os.Stderr, "pcsctest:", err)
			return 1
		}
		_ = os.Setenv(stageVariable, stageReady)
		return m.Run()
	case stageReady:
		return m.Run()
	}
	if reason := missingParts(); reason != "" {
		_ = os.Setenv(reasonVariable, reason)
		return m.Run()
	}
	var reasons []string
	for _, flags := range candidates() {
		if err := probe(flags); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		return inside(flags)
	}
	_ = os.Setenv(reasonVariable, "no namespace for a service of our own: "+strings.Join(reasons, "; "))
	return m.Run()
}

// candidates are the namespaces to try, best first. Only root may make a mount
// namespace without a user namespace, and in a chroot nobody may make the latter.
func candidates() []uintptr {
	base := uintptr(syscall.CLONE_NEWNS)
	if os.Geteuid() != 0 {
		base |= syscall.CLONE_NEWUSER
	}
	return []uintptr{base | syscall.CLONE_NEWNET, base}
}

// again prepares the test program to be started again with the same arguments.
func again(flags uintptr, stage string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Args[0] = os.Args[0]
	command.Env = append(os.Environ(), stageVariable+"="+stage)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return command
}

func probe(flags uintptr) error {
	runtime.LockOSThread() // the death signal follows the thread that started it
	defer runtime.UnlockOSThread()
	out, err := again(flags, stageProbe).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func inside(flags uintptr) int {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := again(flags, stageInside)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "pcsctest:", err)
		return 1
	}
	return command.ProcessState.ExitCode()
}

// arrange makes the namespace ready: a /run of its own and a loopback that is up.
func arrange() error {
	// In a chroot the root is no mount point and its propagation cannot be changed;
	// then it must not be shared either, or the outside would get our /run.
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err != nil {
		shared, reading := runIsShared()
		if reading != nil || shared {
			return fmt.Errorf("mounts would be seen outside: %w", errors.Join(err, reading))
		}
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return loopbackUp()
}

// runIsShared tells whether a mount under /run would propagate: the mount that holds
// /run is the last listed one whose mount point is a prefix, and the optional field
// "shared:N" marks it (proc_pid_mountinfo(5)).
func runIsShared() (bool, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	defer file.Close()
	shared, longest := false, -1
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 {
			continue
		}
		point := fields[4]
		if point != "/" && point != "/run" || len(point) < longest {
			continue
		}
		longest = len(point)
		shared = false
		for _, field := range fields[6:] {
			if field == "-" {
				break
			}
			shared = shared || strings.HasPrefix(field, "shared:")
		}
	}
	return shared, lines.Err()
}

// loopbackUp switches the loopback on with SIOCSIFFLAGS (netdevice(7)); a new
// network namespace has it down. Where it is up already nothing is changed.
func loopbackUp() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer syscall.Close(socket)
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	ioctl := func(operation uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), operation, uintptr(unsafe.Pointer(&request)))
		return errno
	}
	if errno := ioctl(syscall.SIOCGIFFLAGS); errno != 0 {
		return fmt.Errorf("loopback: %w", errno)
	}
	if request.flags&syscall.IFF_UP != 0 {
		return nil
	}
	request.flags |= syscall.IFF_UP
	if errno := ioctl(syscall.SIOCSIFFLAGS); errno != 0 {
		return fmt.Errorf("loopback up: %w", errno)
	}
	return nil
}
