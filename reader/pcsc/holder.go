package pcsc

import (
	"bufio"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Who holds a card: the service tells that somebody does, not who. On Linux every
// program that uses it has the service's library mapped and a connected socket
// without a name of its own, and /proc shows both to the same user. With several
// such programs all of them are named; whoever it is, is among them. Programs of
// other users cannot be seen and are not named.

const (
	// holderLibrary is the client library of the service (proc_pid_maps(5)).
	holderLibrary = "libpcsclite"
	// holderSocket is the name of the service's end of every connection
	// (proc_net_unix): its clients are there as long as it is.
	holderSocket = "pcscd.comm"

	holderProcesses = 8192                   // more are not looked at
	holderFiles     = 4096                   // of one process
	holderMaps      = 1 << 20                // bytes read of the maps of one process
	holderNames     = 3                      // more are not named
	holderLimit     = 500 * time.Millisecond // for one search
	holderLetters   = 40                     // of one name

	// unixConnected is the state of a connected socket in /proc/net/unix.
	unixConnected = "03"
)

// holders names the programs, other than the process own, that are connected to the
// service, by what a tree like /proc shows; nil where it shows none. It reads no more
// than the bounds above, and stops when late says so.
func holders(proc fs.FS, own int, late func() bool) []string {
	sockets, service := unixSockets(proc)
	if !service {
		return nil
	}
	entries, err := fs.ReadDir(proc, ".")
	if err != nil {
		return nil
	}
	var names []string
	for i, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == own {
			continue
		}
		if i >= holderProcesses || late() || len(names) >= holderNames {
			break
		}
		if !hasSocket(proc, entry.Name(), sockets) || !mapsLibrary(proc, entry.Name()) {
			continue
		}
		if name := processName(proc, entry.Name()); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// unixSockets collects the inodes of connected sockets without a name, which a
// client's are, and tells whether the service has any client at all. A line is
// Num RefCount Protocol Flags Type St Inode [Path].
func unixSockets(proc fs.FS) (clients map[string]bool, service bool) {
	file, err := proc.Open("net/unix")
	if err != nil {
		return nil, false
	}
	defer file.Close()
	clients = map[string]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || fields[5] != unixConnected {
			continue
		}
		if len(fields) == 7 {
			clients[fields[6]] = true
		} else if strings.HasSuffix(fields[7], "/"+holderSocket) {
			service = true
		}
	}
	return clients, service
}

// hasSocket tells whether a process has one of the sockets open: a link such as
// fd/7 -> socket:[4711].
func hasSocket(proc fs.FS, pid string, sockets map[string]bool) bool {
	files, err := fs.ReadDir(proc, pid+"/fd")
	if err != nil {
		return false
	}
	for i, file := range files {
		if i >= holderFiles {
			return false
		}
		target, err := fs.ReadLink(proc, pid+"/fd/"+file.Name())
		if err != nil {
			continue
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if isSocket && sockets[strings.TrimSuffix(inode, "]")] {
			return true
		}
	}
	return false
}

func mapsLibrary(proc fs.FS, pid string) bool {
	file, err := proc.Open(pid + "/maps")
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, holderMaps))
	for lines.Scan() {
		if strings.Contains(lines.Text(), "/"+holderLibrary) {
			return true
		}
	}
	return false
}

// processName is the name of a process as the system shows it, cut to size and
// without anything that a terminal would obey: the process chooses it itself.
func processName(proc fs.FS, pid string) string {
	raw, err := fs.ReadFile(proc, pid+"/comm")
	if err != nil {
		return ""
	}
	name := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0xFFFD || 0x80 <= r && r < 0xA0 {
			return -1
		}
		return r
	}, string(raw))))
	return string(name[:min(len(name), holderLetters)])
}

// findHolder searches within holderLimit. A search that hangs, as reading another
// process's maps can, is left behind.
func findHolder(proc fs.FS, own int) string {
	found := make(chan []string, 1)
	deadline := time.Now().Add(holderLimit)
	go func() { found <- holders(proc, own, func() bool { return time.Now().After(deadline) }) }()
	timer := time.NewTimer(holderLimit)
	defer timer.Stop()
	select {
	case names := <-found:
		return strings.Join(names, " / ")
	case <-timer.C:
		return ""
	}
}
