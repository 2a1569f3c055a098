package wire

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// A process fault needs a second process that sends SIGKILL. The command starts
// itself again under supervision: the child names each point that it reaches on
// one pipe and waits for a byte on another, the parent answers or kills.

const supervisedEnv = "WALLET_SUPERVISED"

// The child's ends of the two pipes.
const (
	fdPoints = 3
	fdGo     = 4
)

// IsProcessFault reports whether a fault of that name ends the process.
func IsProcessFault(name string) bool {
	for _, fault := range Faults() {
		if fault.Name == name {
			return fault.point != ""
		}
	}
	return false
}

// UnderSupervision reports whether this process is the child.
func UnderSupervision() bool { return os.Getenv(supervisedEnv) != "" }

// Supervise runs this program again with the same arguments and kills it at the
// fault's point. It returns the child's exit code, 137 when it was killed.
func Supervise(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	code, err := supervise(name, args, stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "supervising the fault:", err)
		return 1
	}
	return code
}

func supervise(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	var target string
	for _, fault := range Faults() {
		if fault.Name == name {
			target = fault.point
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	pointsRead, pointsWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer pointsRead.Close()
	goRead, goWrite, err := os.Pipe()
	if err != nil {
		pointsWrite.Close()
		return 0, err
	}
	defer goWrite.Close()
	child := exec.Command(self, args...)
	child.Env = append(os.Environ(), supervisedEnv+"=1")
	child.Stdin, child.Stdout, child.Stderr = stdin, stdout, stderr
	child.ExtraFiles = []*os.File{pointsWrite, goRead}
	err = child.Start()
	pointsWrite.Close()
	goRead.Close()
	if err != nil {
		return 0, err
	}
	killed := watchPoints(child.Process, pointsRead, goWrite, target)
	err = child.Wait()
	if killed {
		return exitKilled, nil
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return 0, err
	}
	return child.ProcessState.ExitCode(), nil
}

// watchPoints lets the child go on at every point but the target.
func watchPoints(child *os.Process, points io.Reader, goOn io.Writer, target string) (killed bool) {
	lines := bufio.NewScanner(points)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == target {
			return child.Kill() == nil
		}
		if _, err := goOn.Write([]byte{'\n'}); err != nil {
			return false
		}
	}
	return false
}

// pointReporter is the child's side.
type pointReporter struct {
	mu     sync.Mutex
	points *os.File
	goOn   *os.File
}

func newPointReporter() *pointReporter {
	if !UnderSupervision() {
		return nil
	}
	return &pointReporter{points: os.NewFile(fdPoints, "points"), goOn: os.NewFile(fdGo, "go")}
}

// reached names a point and waits for permission to go on, or for the end.
func (p *pointReporter) reached(point string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.points, point); err != nil {
		return
	}
	_, _ = p.goOn.Read(make([]byte, 1))
}
