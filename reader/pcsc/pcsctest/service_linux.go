package pcsctest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	socketPath    = "/run/pcscd/pcscd.comm"
	driverPattern = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so*"
	readyLimit    = 10 * time.Second
	friendlyName  = "Virtual PCD"
	// Slots is the number of readers that one vpcd has.
	Slots = 2
)

// Service is a pcscd with one vpcd of two readers.
type Service struct {
	t      testing.TB
	config string
	port   int

	mu     sync.Mutex
	daemon *exec.Cmd
	ended  chan struct{}
	log    bytes.Buffer
}

// missingParts names what the machine lacks, or "".
func missingParts() string {
	if _, err := findDaemon(); err != nil {
		return "pcscd is not installed"
	}
	if _, err := findDriver(); err != nil {
		return err.Error()
	}
	return ""
}

func findDaemon() (string, error) {
	path, err := exec.LookPath("pcscd")
	if err != nil {
		return exec.LookPath("/usr/sbin/pcscd")
	}
	return path, nil
}

func findDriver() (string, error) {
	found, err := filepath.Glob(driverPattern)
	if err != nil || len(found) == 0 {
		return "", errors.New("vsmartcard-vpcd is not installed")
	}
	return found[0], nil
}

// Require skips the test with the reason where there can be no service, and fails it
// when CI=true: a run that judges must not pass by having tested nothing.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv(stageVariable) == stageReady {
		return
	}
	reason := os.Getenv(reasonVariable)
	if reason == "" {
		reason = "the package's TestMain does not call pcsctest.Main"
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("a smart card service is needed when CI=true: %s", reason)
	}
	t.Skip(reason)
}

// Start runs a service until the end of the test. Tests that use it cannot run in
// parallel: there is one /run.
func Start(t testing.TB) *Service {
	t.Helper()
	Require(t)
	s := &Service{t: t, config: t.TempDir(), port: freePorts(t)}
	s.configure(friendlyName, s.port)
	s.Restart()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("pcscd said:\n%s", s.log.String())
		}
	})
	return s
}

// freePorts finds two neighbouring ports.
func freePorts(t testing.TB) int {
	for range 50 {
		first, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", ":"+strconv.Itoa(port+1))
		_ = first.Close()
		if err == nil {
			_ = second.Close()
			return port
		}
	}
	t.Fatal("no two neighbouring ports are free")
	return 0
}

// Restart starts the service and waits until it takes connections.
func (s *Service) Restart() {
	s.t.Helper()
	path, err := findDaemon()
	if err != nil {
		s.t.Fatal(err)
	}
	_ = os.MkdirAll(filepath.Dir(socketPath), 0o755)
	started := make(chan error)
	ended := make(chan struct{})
	command := exec.Command(path, "--foreground", "--config", s.config)
	command.Stdout, command.Stderr = &s.log, &s.log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		// The death signal follows the thread that started the daemon.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait()
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.daemon, s.ended = command, ended
	s.mu.Unlock()
	s.awaitReady(ended)
}

func (s *Service) awaitReady(ended <-chan struct{}) {
	s.t.Helper()
	for deadline := time.Now().Add(readyLimit); time.Now().Before(deadline); {
		conn, err := net.Dial("unix", socketPath)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			s.t.Fatal("pcscd ended: " + s.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.t.Fatal("pcscd does not take connections")
}

// Kill ends the service with SIGKILL and waits until it has gone. Its socket stays
// behind, as after a crash. A service that has ended is left alone.
func (s *Service) Kill() {
	s.mu.Lock()
	daemon, ended := s.daemon, s.ended
	s.daemon = nil
	s.mu.Unlock()
	if daemon == nil {
		return
	}
	_ = daemon.Process.Kill()
	<-ended
}

// Stop ends the service as a system does that shuts it down, with SIGTERM, and waits
// until it has gone. It takes its socket with it.
func (s *Service) Stop() {
	s.mu.Lock()
	daemon, ended := s.daemon, s.ended
	s.daemon = nil
	s.mu.Unlock()
	if daemon == nil {
		return
	}
	_ = daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(readyLimit):
		_ = daemon.Process.Kill()
		<-ended
	}
}

// RestartWithOthers ends the service and starts it with two other readers in place of
// its own. Taking a reader of this kind away while the service runs is not possible:
// SIGUSR1 makes it look at USB alone (measured with pcscd 1.9.9).
func (s *Service) RestartWithOthers() {
	s.t.Helper()
	s.Stop()
	s.configure("Other PCD", freePorts(s.t))
	s.Restart()
}

// configure writes the file of readers.
func (s *Service) configure(name string, port int) {
	s.t.Helper()
	driver, err := findDriver()
	if err != nil {
		s.t.Fatal(err)
	}
	content := fmt.Sprintf("FRIENDLYNAME \"%s\"\nDEVICENAME /dev/null:%d\nLIBPATH %s\nCHANNELID %d\n", name, port, driver, port)
	if err := os.WriteFile(filepath.Join(s.config, "vpcd"), []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// Socket is the path of the service's socket.
func (s *Service) Socket() string { return socketPath }

// Addr is where a card of reader 0 or 1 dials.
func (s *Service) Addr(slot int) string { return "127.0.0.1:" + strconv.Itoa(s.port+slot) }

// Name is the name of reader 0 or 1.
func (s *Service) Name(slot int) string { return fmt.Sprintf("%s 00 %02X", friendlyName, slot) }
