// Package faultfs is a file layer under SQLite that fails on command: a full disk,
// or a disk that reports an error when it is flushed. It wraps the open function of
// SQLite's own file system and, in every file opened after Install, the functions
// that write and flush. Everything else, locks and shared memory included,
// is SQLite's own.
//
// Only tests and the named faults of the demo link it. Until a fault is armed it
// passes every call on.
package faultfs

import (
	"errors"
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Kind is what goes wrong.
type Kind int

// The faults. SQLite sees the codes that its own file system gives for these errors.
const (
	ENOSPC Kind = iota // a write stops half way: no space left on the device (SQLITE_FULL)
	EIO                // a flush fails (SQLITE_IOERR_FSYNC); what was written may or may not last
)

// ErrNoVFS means that SQLite has no file system to wrap.
var ErrNoVFS = errors.New("faultfs: SQLite has no default file system")

// fault is one armed fault.
type fault struct {
	prefix string
	kind   Kind
	when   func() bool
}

// The C side knows plain functions only, so what they share is held here.
var (
	installOnce sync.Once
	installErr  error
	openBelow   uintptr // SQLite's own xOpen

	mutex   sync.Mutex
	armed   = map[*fault]bool{}
	paths   = map[uintptr]string{}                       // open files by address
	below   = map[uintptr]*sqlite3.Tsqlite3_io_methods{} // their own functions
	wrapped = map[uintptr]uintptr{}                      // own functions → functions with ours put in
)

// Install puts the layer under SQLite, for all databases that this process opens
// from now on. Call it before the first one; later calls do nothing.
func Install() error {
	installOnce.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		address := sqlite3.Xsqlite3_vfs_find(tls, 0)
		if address == 0 {
			installErr = ErrNoVFS
			return
		}
		vfs := at[sqlite3.Tsqlite3_vfs](address)
		openBelow = vfs.FxOpen
		vfs.FxOpen = function(xOpen)
	})
	return installErr
}

// Arm makes the files whose full path begins with pathPrefix fail while when
// returns true; it is asked at every write (ENOSPC) or flush (EIO). A nil when
// means always. disarm ends the fault.
func Arm(pathPrefix string, kind Kind, when func() bool) (disarm func()) {
	if when == nil {
		when = func() bool { return true }
	}
	f := &fault{prefix: pathPrefix, kind: kind, when: when}
	mutex.Lock()
	defer mutex.Unlock()
	armed[f] = true
	return func() {
		mutex.Lock()
		defer mutex.Unlock()
		delete(armed, f)
	}
}

// fails reports whether an armed fault of this kind hits the file.
func fails(file uintptr, kind Kind) bool {
	mutex.Lock()
	path := paths[file]
	var candidates []*fault
	for f := range armed {
		if f.kind == kind && path != "" && strings.HasPrefix(path, f.prefix) {
			candidates = append(candidates, f)
		}
	}
	mutex.Unlock()
	for _, f := range candidates { // outside the mutex: when may call anything
		if f.when() {
			return true
		}
	}
	return false
}

// xOpen opens a file as SQLite does, notes its path and puts our functions before
// its own. Temporary files have no name and are left alone.
func xOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	type open = func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	code := call[open](openBelow)(tls, vfs, name, file, flags, outFlags)
	if code != sqlite3.SQLITE_OK || name == 0 {
		return code
	}
	opened := at[sqlite3.Tsqlite3_file](file)
	mutex.Lock()
	defer mutex.Unlock()
	own := opened.FpMethods
	if wrapped[own] == 0 {
		// The memory is SQLite's, since C must not hold addresses of Go's.
		copied := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		if copied == 0 {
			return sqlite3.SQLITE_NOMEM
		}
		methods := at[sqlite3.Tsqlite3_io_methods](copied)
		*methods = *at[sqlite3.Tsqlite3_io_methods](own)
		methods.FxClose = function(xClose)
		methods.FxWrite = function(xWrite)
		methods.FxSync = function(xSync)
		wrapped[own] = copied // kept for the life of the process
	}
	paths[file] = libc.GoString(name)
	below[file] = at[sqlite3.Tsqlite3_io_methods](own)
	opened.FpMethods = wrapped[own]
	return code
}

func methodsOf(file uintptr) *sqlite3.Tsqlite3_io_methods {
	mutex.Lock()
	defer mutex.Unlock()
	return below[file]
}

// xClose forgets the file before SQLite may use its memory for another.
func xClose(tls *libc.TLS, file uintptr) int32 {
	mutex.Lock()
	own := below[file]
	delete(paths, file)
	delete(below, file)
	mutex.Unlock()
	return call[func(*libc.TLS, uintptr) int32](own.FxClose)(tls, file)
}

// xWrite on a full disk writes the first half of the bytes, as a real one may.
func xWrite(tls *libc.TLS, file, data uintptr, amount int32, offset int64) int32 {
	write := call[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](methodsOf(file).FxWrite)
	if !fails(file, ENOSPC) {
		return write(tls, file, data, amount, offset)
	}
	if amount > 1 {
		if code := write(tls, file, data, amount/2, offset); code != sqlite3.SQLITE_OK {
			return code
		}
	}
	return sqlite3.SQLITE_FULL
}

func xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	if fails(file, EIO) {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return call[func(*libc.TLS, uintptr, int32) int32](methodsOf(file).FxSync)(tls, file, flags)
}

// at views C memory as a value of type T.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// call turns the address of a function into the function: C code translated to Go
// holds functions as the address of their description.
func call[F any](address uintptr) F {
	holder := struct{ address uintptr }{address}
	return *(*F)(unsafe.Pointer(&holder))
}

// function is the reverse of call. It takes only functions of the package's top
// level, whose descriptions never move and are never freed.
func function[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }
