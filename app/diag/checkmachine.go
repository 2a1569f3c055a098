package diag

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"walletcompanion/app/store"
	"walletcompanion/platformclient"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// Limits of the questions that take time.
const (
	readersLimit  = 6 * time.Second
	cardLimit     = 12 * time.Second
	probeLimit    = 10 * time.Second
	databaseLimit = 15 * time.Second
)

// Computer is what the checks look at. Every field is a fact or a small function, so
// that a test can put another machine in its place. A Computer serves one Run: what
// several checks want to know is asked once.
type Computer struct {
	System string                   // runtime.GOOS
	Root   fs.FS                    // the root of the file system; paths without the first slash
	Env    func(name string) string // environment
	Groups func() ([]string, error) // names of the groups of this process
	Now    func() time.Time

	// Virtual: the chosen reader is a card in a file; the system's readers do not matter.
	Virtual bool
	// List asks for all readers; Wanted says which of them count, nil: all.
	List   func(ctx context.Context) ([]reader.Info, error)
	Wanted func(reader.Info) bool
	// ServiceCode is the number that the smart card service answered with.
	ServiceCode func(err error) (code uint32, known bool)
	// Dial connects to a local socket of the file system and closes it again.
	Dial func(ctx context.Context, path string) error
	// ReadCard reads which card is on the reader; it changes nothing.
	ReadCard func(ctx context.Context) (wallet.Reading, error)
	// Self is the number of this process.
	Self int

	ProfileDir string // the program's own data
	Profile    fs.FS  // the same
	// Inspect looks into the database without changing it.
	Inspect func(ctx context.Context) (store.Inspection, error)
	// Free is the space that is left for the profile.
	Free func() (bytes uint64, err error)

	Platform Platform
	// Probe greets the platform. proxied: through the proxy of the environment.
	Probe func(ctx context.Context, proxied bool) platformclient.Probe

	readers  memo[[]reader.Info]
	reading  memo[wallet.Reading]
	database memo[store.Inspection]
	direct   memo[platformclient.Probe]
	proxied  memo[platformclient.Probe]
}

// Platform is the platform that is configured.
type Platform struct {
	Demo     bool   // the embedded one, inside this program
	URL      string // https://HOST:PORT
	Complete bool   // CA, pins, signer and sealing keys are there
	Err      error  // why there is no usable profile
	Proxy    string // of the environment for this address, without user and password; empty: none
}

// memo asks once and lets several wait, each with its own patience.
type memo[T any] struct {
	once  sync.Once
	done  chan struct{}
	value T
	err   error
}

// errNotAsked stands for a machine that lacks the part that would be asked.
var errNotAsked = errors.New("not available")

// get returns what ask says. A panic of ask is an error for everybody who waits.
func (m *memo[T]) get(ctx context.Context, limit time.Duration, ask func(ctx context.Context) (T, error)) (T, error) {
	m.once.Do(func() {
		m.done = make(chan struct{})
		go func() {
			defer close(m.done)
			defer func() {
				if cause := recover(); cause != nil {
					m.err = fmt.Errorf("panic: %v", cause)
				}
			}()
			if ask == nil {
				m.err = errNotAsked
				return
			}
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
			defer cancel()
			m.value, m.err = ask(limited)
		}()
	})
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (m *Computer) list(ctx context.Context) ([]reader.Info, error) {
	return m.readers.get(ctx, readersLimit, m.List)
}

// wanted are the readers that count.
func (m *Computer) wanted(ctx context.Context) ([]reader.Info, error) {
	infos, err := m.list(ctx)
	return slices.DeleteFunc(slices.Clone(infos), func(info reader.Info) bool { return m.Wanted != nil && !m.Wanted(info) }), err
}

func (m *Computer) read(ctx context.Context) (wallet.Reading, error) {
	return m.reading.get(ctx, cardLimit, m.ReadCard)
}

func (m *Computer) inspect(ctx context.Context) (store.Inspection, error) {
	return m.database.get(ctx, databaseLimit, m.Inspect)
}

// probe greets the platform once on each way. An error means that it was not asked;
// what went wrong on the way stands in the probe.
func (m *Computer) probe(ctx context.Context, proxied bool) (platformclient.Probe, error) {
	way := &m.direct
	if proxied {
		way = &m.proxied
	}
	return way.get(ctx, probeLimit, func(ctx context.Context) (platformclient.Probe, error) {
		if m.Probe == nil {
			return platformclient.Probe{}, errNotAsked
		}
		return m.Probe(ctx, proxied), nil
	})
}

// maxText bounds what is read of a file of the system.
const maxText = 1 << 20

// text reads a file of the system; what cannot be read is empty.
func (m *Computer) text(name string) string {
	file, err := m.Root.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	raw, _ := io.ReadAll(io.LimitReader(file, maxText))
	return string(raw)
}

// exists reports a file, folder or socket.
func (m *Computer) exists(name string) bool {
	_, err := fs.Stat(m.Root, name)
	return err == nil
}

// glob finds files; a pattern that is none finds nothing.
func (m *Computer) glob(patterns ...string) []string {
	var found []string
	for _, pattern := range patterns {
		names, err := fs.Glob(m.Root, pattern)
		if err == nil {
			found = append(found, names...)
		}
	}
	return found
}

// libraryDirs are where the dynamic linker of the usual distributions looks.
var libraryDirs = []string{"usr/lib/*-linux-*", "usr/lib64", "usr/lib", "lib/*-linux-*", "lib64", "lib", "usr/local/lib", "usr/local/lib64", "nix/store/*/lib"}

// library finds a shared library by its name.
func (m *Computer) library(name string) (string, bool) {
	for _, dir := range libraryDirs {
		if found := m.glob(dir + "/" + name); len(found) > 0 {
			return "/" + found[0], true
		}
	}
	return "", false
}

// processes calls look for every process with its number and short name.
func (m *Computer) processes(look func(pid, name string)) {
	entries, err := fs.ReadDir(m.Root, "proc")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if pid := entry.Name(); strings.Trim(pid, "0123456789") == "" {
			if name := strings.TrimSpace(m.text("proc/" + pid + "/comm")); name != "" {
				look(pid, name)
			}
		}
	}
}

// running reports a process of that short name.
func (m *Computer) running(name string) (found bool) {
	m.processes(func(_, comm string) { found = found || comm == name })
	return found
}

// release is a field of os-release, such as PRETTY_NAME.
func (m *Computer) release(field string) string {
	text := m.text("etc/os-release")
	if text == "" {
		text = m.text("usr/lib/os-release")
	}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && name == field {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// dpkgVersions reads the versions of installed packages of Debian and its relatives.
func (m *Computer) dpkgVersions(names ...string) map[string]string {
	versions := map[string]string{}
	file, err := m.Root.Open("var/lib/dpkg/status")
	if err != nil {
		return versions
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, 64<<20))
	if err != nil {
		return versions
	}
	for _, name := range names {
		_, rest, found := bytes.Cut(raw, []byte("\nPackage: "+name+"\n"))
		if !found {
			continue
		}
		paragraph, _, _ := bytes.Cut(rest, []byte("\n\n"))
		lines := bufio.NewScanner(bytes.NewReader(paragraph))
		installed, version := false, ""
		for lines.Scan() {
			installed = installed || strings.HasPrefix(lines.Text(), "Status:") && strings.HasSuffix(lines.Text(), " installed")
			if value, is := strings.CutPrefix(lines.Text(), "Version: "); is {
				version = value
			}
		}
		if installed && version != "" {
			versions[name] = version
		}
	}
	return versions
}

// base is the last part of a path.
func base(name string) string { return path.Base(name) }
